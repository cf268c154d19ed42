"""Moving goods between a site's warehouses: which ways there are, how long they take and what they cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.segments import nearest

Floats = npt.NDArray[np.float64]

IDS = ("from_warehouse_id", "to_warehouse_id")


@dataclass(frozen=True)
class Transfer:
    """Goods of one warehouse moved to another; the way back is one of its own.

    Parameters
    ----------
    days : from today until the goods are there, whole
    cost_per_unit : money per stocking unit
    cost_per_line : money once for each order line whose goods are moved: to pick, pack and book them

    Raises
    ------
    ValueError
        If a warehouse has no name, both are one, or a number cannot be used.

    >>> Transfer("north", "main", days=2, cost_per_unit=1.5).cost_per_line
    0.0
    """

    from_warehouse_id: str
    to_warehouse_id: str
    days: int
    cost_per_unit: float = 0.0
    cost_per_line: float = 0.0

    def __post_init__(self) -> None:
        """Check once, so that nothing behind this door has to."""
        ids = self.from_warehouse_id, self.to_warehouse_id
        problems = [f"{name} = {id_!r} is no text" for name, id_ in zip(IDS, ids, strict=True) if not _is_text(id_)]
        problems += ["it leads from a warehouse to itself"] if ids[0] == ids[1] else []
        if not _is_number(self.days) or self.days != int(self.days):
            problems.append(f"days = {self.days!r} is no whole number of 0 or more")
        costs = (("cost_per_unit", self.cost_per_unit), ("cost_per_line", self.cost_per_line))
        problems += [f"{name} = {cost!r} is no money of 0 or more" for name, cost in costs if not _is_number(cost)]
        if problems:
            raise ValueError(f"transfer {ids[0]!r} to {ids[1]!r}: {'; '.join(problems)}")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Transfer":
        """Build a transfer from one table of the settings' list `policy.transfers`.

        Raises
        ------
        ValueError
            If a key is unknown (the message names the nearest one) or missing, or a value cannot be used.
        """
        names = [item.name for item in fields(cls)]
        if unknown := sorted(set(table) - set(names)):
            hints = ", ".join(f"{name!r}{nearest(name, names)}" for name in unknown)
            raise ValueError(f"transfer {dict(table)}: {hints} is unknown; use one of {', '.join(names)}")
        if missing := [name for name in (*IDS, "days") if name not in table]:
            raise ValueError(f"transfer {dict(table)}: it names no {' and no '.join(missing)}")
        return cls(**table)


def transfers_from(tables: object) -> tuple[Transfer, ...]:
    """Build the transfers of the settings' list of tables `policy.transfers`.

    Raises
    ------
    ValueError
        If it is no list of tables, a transfer cannot be used, or one stands twice.
    """
    if not isinstance(tables, list | tuple) or not all(isinstance(table, Mapping | Transfer) for table in tables):
        raise ValueError(f"transfers = {tables!r} is no list of tables; write each under [[policy.transfers]]")
    found = tuple(table if isinstance(table, Transfer) else Transfer.from_table(table) for table in tables)
    ends = [(transfer.from_warehouse_id, transfer.to_warehouse_id) for transfer in found]
    if twice := sorted({pair for pair in ends if ends.count(pair) > 1}):
        raise ValueError(f"transfers {twice} stand more than once; give each way once")
    return found


def routes(
    origin: pd.Series, destination: pd.Series, stated: Sequence[Transfer], usual: tuple[int, float, float]
) -> dict[str, Floats]:
    """Days, cost_per_unit and cost_per_line between these warehouses, pair by pair; NaN where there is no way.

    Parameters
    ----------
    stated : the ways that the site names; where it names any, there are no others
    usual : days, cost_per_unit and cost_per_line of every way where it names none

    >>> north, main = pd.Series(["north", "main"]), pd.Series(["main", "north"])
    >>> routes(north, main, [Transfer("north", "main", 2, 1.5)], usual=(3, 0, 0))["days"].tolist()
    [2.0, nan]
    """
    names = ("days", "cost_per_unit", "cost_per_line")
    if not stated:
        return {name: np.full(len(origin), float(value)) for name, value in zip(names, usual, strict=True)}
    known = pd.DataFrame([{name: getattr(transfer, name) for name in (*IDS, *names)} for transfer in stated])
    pairs = pd.DataFrame(dict(zip(IDS, (origin.to_numpy(object), destination.to_numpy(object)), strict=True)))
    found = pairs.merge(known.astype(dict.fromkeys(IDS, object)), on=list(IDS), how="left", validate="many_to_one")
    return {name: found[name].to_numpy(np.float64) for name in names}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
