"""What a choice of today loses in expectation: later goods are planned anew for whatever it leaves unserved."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.plans import best_plan
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.programme import Programme

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LossOfChoice:
    """The stated programme with today's choice still open.

    Two choices of today differ by what `by_pool` says of them. loss_if_waits prices one line more or less, at the
    prices of later goods that one choice leads to; many lines, or a large one, move these prices.

    Parameters
    ----------
    pool : (n_lines,), 0 .. n_pools - 1
    quantity : (n_lines,), units open
    cost : (n_lines, n_later), money lost if the line is first served at a later chance [L]
    units : (n_lines, n_later), units it takes then in expectation [q S]
    cost_without : (n_lines,), money lost if the pool's goods never serve it
    goods : (n_pools, 1 + n_later), units here now, and that come at each later chance in expectation
    """

    pool: Codes
    quantity: Floats
    cost: Floats
    units: Floats
    cost_without: Floats
    goods: Floats

    def by_pool(self, given: Floats, is_excluded: Flags) -> Floats:
        """Money lost in expectation if each line gets these units today, by pool; (n_pools,).

        Excluded lines get no later goods. What is left of today's goods serves later.

        One unit at the next receipt, and two lines that lose 5 and 8 without it, nothing by waiting for it: whoever
        gets the unit that is here, the other is served in the end.

        >>> loss = LossOfChoice(np.zeros(2, np.int64), np.ones(2), np.zeros((2, 1)), np.ones((2, 1)),
        ...     np.array([5.0, 8.0]), np.ones((1, 2)))
        >>> nobody = np.zeros(2, bool)
        >>> [loss.by_pool(np.array(given), nobody).round(6).tolist() for given in ([1.0, 0.0], [0.0, 0.0])]
        [[0.0], [0.0]]
        >>> loss.by_pool(np.array([1.0, 0.0]), np.array([False, True])).round(6).tolist()
        [8.0]
        """
        rest = np.maximum(self.quantity - given, 0.0) / self.quantity
        never = rest * np.where(is_excluded, self.cost_without, 0.0)
        left = np.maximum(self.goods[:, 0] - self._sums(given), 0.0)
        waits = np.flatnonzero((rest > QUANTITY_TOLERANCE) & ~is_excluded)
        rows = waits[np.argsort(self.pool[waits], kind="stable")]
        share = rest[rows, None]
        not_today = np.full((len(rows), 1), np.inf)
        after = Programme(
            self.pool[rows],
            np.concatenate([not_today, share * self.cost[rows]], axis=1),
            share * np.concatenate([self.quantity[rows, None], self.units[rows]], axis=1),
            rest[rows] * self.cost_without[rows],
            np.concatenate([left[:, None], self.goods[:, 1:]], axis=1),
        )
        return np.asarray(best_plan(after).value + self._sums(never))

    def only(self, rows: Codes) -> "LossOfChoice":
        """Keep these lines, and their pools in the same order."""
        pools, pool = np.unique(self.pool[rows], return_inverse=True)
        of_lines = self.quantity[rows], self.cost[rows], self.units[rows], self.cost_without[rows]
        return LossOfChoice(pool.astype(np.int64), *of_lines, self.goods[pools])

    def _sums(self, of_lines: Floats) -> Floats:
        return np.bincount(self.pool, of_lines, minlength=len(self.goods)).astype(np.float64)
