"""Scenarios of later goods as the few chances of the stated programme: when each comes, and what it brings."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.chances import NEVER, Chances

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LaterGoods:
    """The first later chance of each pool, the one after it, and so on, over all scenarios.

    Parameters
    ----------
    day : (n_pools, n_chances, n_scenarios), days from today on which it comes; `NEVER` beyond those foreseen
    goods : (n_pools, n_chances), units it brings in expectation; infinite where it always brings enough for everyone
    n_days : days foreseen
    """

    day: Floats
    goods: Floats
    n_days: int

    def arrival(self, pools: Codes) -> Floats:
        """Chance that each chance of these pools comes in day u, (n, n_chances, n_days + 2); the last is never."""
        day = self.day[pools]
        column = np.where(day <= self.n_days, day, self.n_days + 1).astype(np.int64)
        n, n_chances, n_scenarios = day.shape
        place = np.arange(n * n_chances).reshape(n, n_chances, 1) * (self.n_days + 2) + column
        counts = np.bincount(place.ravel(), minlength=n * n_chances * (self.n_days + 2))
        return np.asarray((counts / n_scenarios).reshape(n, n_chances, self.n_days + 2))


def later_goods(chances: Chances, units_wanted: Floats, n_days: int) -> LaterGoods:
    """Take the k-th chance of every scenario together as chance k of the programme.

    Where the backlog of a scenario is cleared, its later chances come with that one: whoever was planned for them is
    served then. A scenario in which all that is wanted comes counts with the units wanted; one without a k-th chance
    with none, and as never. One plan then stands for all scenarios, as if nobody could change it once it is seen how
    much came: each morning it is made anew.

    Parameters
    ----------
    units_wanted : (n_pools,), all that open lines of the pool want
    n_days : days foreseen
    """
    day, quantity = _cleared(chances.day, chances.quantity)
    counted = np.where(np.isinf(quantity), units_wanted[:, None, None], quantity).mean(axis=2)
    return LaterGoods(day, np.where(np.isinf(quantity).all(axis=2), np.inf, counted), n_days)


def _cleared(day: Floats, quantity: Floats) -> tuple[Floats, Floats]:
    """Chances after that which clears the backlog come with it and bring no less."""
    clears = np.isinf(quantity) & np.isfinite(day)
    has_cleared = np.maximum.accumulate(clears, axis=1)
    on = np.where(clears, day, NEVER).min(axis=1, keepdims=True)
    return np.where(has_cleared & ~clears, on, day), np.where(has_cleared, np.inf, quantity)
