"""Lines of one ship group: they leave together, each in whole, or none of them leaves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ShipGroups:
    """The lines of each group, side by side and by order_line_id, so that sums do not hang on the order of rows."""

    code: Codes  # (n_lines,) place of the group's name, -1: none
    rows: Rows  # (n_tied,) rows of the lines, group by group
    starts: Rows  # (n_groups,) where each group begins in `rows`

    @classmethod
    def of(cls, lines: pd.DataFrame) -> "ShipGroups":
        """Find the groups of these lines."""
        code = pd.factorize(lines["ship_group"], sort=True)[0].astype(np.int64)
        tied = np.flatnonzero(code >= 0)
        by_id = pd.factorize(lines["order_line_id"].iloc[tied], sort=True)[0]
        rows = tied[np.lexsort((by_id, code[tied]))]
        return cls(code, rows, np.flatnonzero(np.diff(code[rows], prepend=-1)))

    def of_each(self, values: npt.NDArray[Any], how: np.ufunc) -> npt.NDArray[Any]:
        """Give every tied line what `how` (add, maximum, logical_or) makes of its group's values; others their own.

        >>> lines = pd.DataFrame({"order_line_id": ["a", "b", "c"], "ship_group": ["g", None, "g"]})
        >>> ShipGroups.of(lines).of_each(np.array([1.0, 2.0, 3.0]), np.add).tolist()
        [4.0, 2.0, 4.0]
        """
        result = values.copy()
        if len(self.rows):
            result[self.rows] = how.reduceat(values[self.rows], self.starts)[self.code[self.rows]]
        return result


def ships_whole(lines: pd.DataFrame) -> Flags:
    """Lines that ship all they want or nothing: they may not be split, or stand in a ship group."""
    whole: Flags = ~lines["may_split"].to_numpy(np.bool_) | lines["ship_group"].notna().to_numpy(np.bool_)
    return whole


def split_groups(lines: pd.DataFrame, is_held: Flags) -> Flags:
    """Lines whose group cannot leave: one of its lines may have no goods, or is open and not in the queue."""
    if lines["ship_group"].isna().all():
        return np.zeros(len(lines), dtype=np.bool_)
    groups = ShipGroups.of(lines)
    cannot = is_held | lines["group_waits_elsewhere"].to_numpy(np.bool_)
    split: Flags = (groups.code >= 0) & groups.of_each(cannot, np.logical_or)
    return split
