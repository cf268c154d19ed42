"""A morning around one line: with one thing changed, the goods are given out again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import Allocation, give_out
from decisions.morning import GivenTo
from decisions.policy import Policy
from decisions.ranking import is_excluded, loss_per_unit
from decisions.rules import limits_of
from decisions.tied_pools import tied_pools

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TRIED_ONE_BY_ONE = 16


def given_again(given_to: GivenTo) -> Allocation:
    """Give the goods out once more as they were."""
    lines, pools, policy = given_to.lines, given_to.pools, given_to.policy
    return give_out(lines, pools, policy, limits_of(lines, pools, policy))


@dataclass(frozen=True, eq=False)
class Trial:
    """The lines and pools that what happens to one line is decided among, and what they gave.

    Parameters
    ----------
    given_to : lines and pools that ship groups tie to the line's pool
    row : of the line
    allocation : what was given
    """

    given_to: GivenTo
    row: int
    allocation: Allocation

    @classmethod
    def of(cls, given_to: GivenTo, order_line_id: str) -> "Trial":
        """Give out as it was, in the pools that are tied to the line's.

        Raises
        ------
        ValueError
            If the line is not among the lines.
        """
        concerned = (given_to.lines["order_line_id"] == order_line_id).to_numpy(np.bool_)
        if not concerned.any():
            raise ValueError(f"line {order_line_id!r} is not among the {len(concerned)} lines that wait")
        lines, pools = tied_pools(given_to.lines, given_to.pools, concerned)
        rows = np.flatnonzero(given_to.lines["order_line_id"].isin(lines["order_line_id"]))
        here = replace(given_to, lines=lines, pools=pools, loss=given_to.loss.only(rows))
        row = int(np.flatnonzero((lines["order_line_id"] == order_line_id).to_numpy(np.bool_))[0])
        return cls(here, row, given_again(here))

    @property
    def lines(self) -> pd.DataFrame:
        """The lines around it."""
        return self.given_to.lines

    @property
    def given(self) -> Floats:
        """Units of every line, (n_lines,)."""
        return _units(self.allocation)

    @property
    def units(self) -> float:
        """What the line gets."""
        return float(self.given[self.row])

    @property
    def wanted(self) -> float:
        """What it wants."""
        return float(self.lines["open_quantity"].iloc[self.row])

    @property
    def loss_per_unit(self) -> Floats:
        """W / q of every line."""
        return loss_per_unit(self.lines)

    @property
    def ships_together(self) -> Flags:
        """The line and those of its ship group."""
        groups = self.lines["ship_group"]
        mine = groups.iloc[self.row]
        is_line: Flags = np.arange(len(groups)) == self.row
        return is_line if pd.isna(mine) else (groups == mine).to_numpy(np.bool_)

    def given_if(self, **changed: Any) -> Floats:
        """Units of every line with some columns of this line changed."""
        is_line = np.arange(len(self.lines)) == self.row
        return self.given_by({name: self.lines[name].mask(is_line, value) for name, value in changed.items()})

    def units_if(self, **changed: Any) -> float:
        """What the line gets with some of its own columns changed."""
        return float(self.given_if(**changed)[self.row])

    def given_by(self, columns: dict[str, Any]) -> Floats:
        """Units of every line with whole columns changed."""
        return _units(given_again(replace(self.given_to, lines=self.lines.assign(**columns))))

    def lost_more_pinned(self, given: Floats) -> float:
        """Money lost more in expectation, now and at later receipts, if the line is pinned and these units go out.

        A line that was excluded then waits for later goods again.
        """
        loss, is_out = self.given_to.loss, is_excluded(self.lines)
        pinned = is_out & (np.arange(len(is_out)) != self.row)
        return float(loss.by_pool(given, pinned).sum() - loss.by_pool(self.given, is_out).sum())

    def units_under(self, lines: pd.DataFrame, policy: Policy) -> float:
        """What the line gets under another policy, or with other words on the lines."""
        return float(_units(given_again(replace(self.given_to, lines=lines, policy=policy)))[self.row])

    def ships_with(self, more: Floats) -> bool:
        """Whether the line ships in full with so many more units in the pools; (n_pools,)."""
        goods = self.given_to.pools["available_now"].to_numpy(np.float64) + more
        pools = self.given_to.pools.assign(available_now=goods)
        given = _units(given_again(replace(self.given_to, pools=pools)))
        return is_reached(float(given[self.row]), self.wanted)


def is_reached(units: float, aim: float) -> bool:
    """Whether so many units are what was aimed at, up to rounding."""
    return units >= aim - 1e-9 * max(aim, 1.0)


def least_that(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Least number in (low, high] from which on it holds, by halving; None if it does not hold at `high`.

    >>> least_that(lambda n: n >= 37, 0, 1000)
    37
    """
    if not holds(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def fewest(holds: Callable[[int], bool], least: int, most: int) -> int | None:
    """Fewest of `least` to `most` for which it holds; None if it does not hold at `most`.

    The first ones are tried one by one, as it may hold at a number and not at the next: with a unit more another whole
    line may fit. Beyond, by halving.

    >>> fewest(lambda n: n in (2, 5) or n > 90, 0, 1000), fewest(lambda n: n > 90, 0, 1000)
    (2, 91)
    """
    if not holds(most):
        return None
    first = range(least, min(least + TRIED_ONE_BY_ONE, most))
    found = next((n for n in first if holds(n)), None)
    return least_that(holds, first.stop - 1, most) if found is None else found


def _units(allocation: Allocation) -> Floats:
    return allocation.ship_now_quantity.to_numpy(np.float64)
