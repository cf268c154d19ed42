"""The last queue's plan and today's optimum: the same book given out with goods kept for their lines, and without."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import Allocation, give_out
from decisions.limits import Limits
from decisions.move_budget import Frontier
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.pools_at_once import cut_anywhere
from decisions.ranking import loss_per_unit
from decisions.rules import keeping, units_that_can_leave
from decisions.tied_pools import parts_of_book
from decisions.wishes import lines_that_may_have
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_ONE = -1


@dataclass(frozen=True, eq=False)
class Book:
    """A morning's lines, by order_line_id, and goods, by ids: ready to be given out with some of them kept."""

    lines: pd.DataFrame
    pools: pd.DataFrame
    policy: Policy
    limits: Limits  # of the site's rules
    pool: Codes  # row of each line's pool
    part: Codes  # (n_pools,), pools that ship groups tie together are one part

    @classmethod
    def of(cls, lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy, limits: Limits) -> "Book":
        """Open the book of lines and pools in this order."""
        pool = places_in(pools, lines).astype(np.int64)
        return cls(lines, pools, policy, limits, pool, parts_of_book(lines, pool, len(pools)))

    @property
    def part_of_line(self) -> Codes:
        """Part of the book that each line stands in."""
        return np.asarray(self.part[self.pool])

    @property
    def worth(self) -> Floats:
        """Money that each line loses per unit by waiting."""
        return loss_per_unit(self.lines)

    def give_out(self, kept: Floats) -> Allocation:
        """Give the goods out with these units kept; (n_lines,)."""
        limits = keeping(self.limits, self.lines.assign(kept_quantity=kept))
        return give_out(self.lines, self.pools, self.policy, limits)

    def given(self, kept: Floats) -> Floats:
        """Units of each line if these are kept; (n_lines,)."""
        return self.give_out(kept).ship_now_quantity.to_numpy(np.float64)

    def only(self, parts: Codes) -> tuple["Book", npt.NDArray[np.intp]]:
        """These parts of the book, and the rows of their lines."""
        pools = np.flatnonzero(np.isin(self.part, parts))
        rows = np.flatnonzero(np.isin(self.pool, pools))
        per_line = {name: getattr(self.limits, name)[rows] for name in ("turn", "sort_key", "least", "most", "segment")}
        limits = replace(self.limits, **per_line, protected=self.limits.protected[:, pools])
        place = np.full(len(self.pools), NO_ONE, dtype=np.int64)
        place[pools] = np.arange(len(pools))
        lines, shelves = self.lines.iloc[rows].reset_index(drop=True), self.pools.iloc[pools].reset_index(drop=True)
        return Book(lines, shelves, self.policy, limits, place[self.pool[rows]], self.part[pools]), rows


@dataclass(frozen=True, eq=False)
class KeptPlan:
    """What the last queue's plan gives today, and what today's optimum gives; arrays of (n_lines,)."""

    book: Book
    is_old: Flags  # lines of both queues
    kept: Floats  # units kept of what the last queue gave
    planned: Floats  # units given with all of that kept
    free: Floats  # units given with nothing kept
    free_gap: Floats  # (n_pools,), money that could be saved beyond that at most, the site's rules apart

    @classmethod
    def of(cls, book: Book, last: Floats) -> "KeptPlan":
        """Give out with all kept that can be, and with nothing kept.

        What cannot be kept in full is kept as far as it is: a line must not take more of the goods that others give up.
        """
        kept = units_that_can_leave(book.lines, np.nan_to_num(last))
        planned = book.given(kept)
        if (planned < kept - QUANTITY_TOLERANCE).any():
            kept = np.minimum(kept, planned)
            planned = book.given(kept)
        free = book.give_out(np.zeros(len(kept)))
        gap = free.pools["gap"].to_numpy(np.float64)
        return cls(book, ~np.isnan(last), kept, planned, free.ship_now_quantity.to_numpy(np.float64), gap)

    def moved(self, given: Floats) -> Flags:
        """Lines of both queues that get other than the plan gives them."""
        moved: Flags = self.is_old & (np.abs(given - self.planned) > QUANTITY_TOLERANCE)
        return moved

    def money(self, given: Floats) -> Floats:
        """Money that each line saves more than by the plan."""
        return np.asarray(self.book.worth * (given - self.planned))

    def parts_that_differ(self) -> Codes:
        """Parts of the book where today's optimum is another."""
        differs = np.abs(self.free - self.planned) > QUANTITY_TOLERANCE
        return np.unique(self.book.part_of_line[differs])

    def keepers(self) -> Codes:
        """Number the lines, or ship groups, that keep goods; -1 for others."""
        lines = self.book.lines
        keeps = (self.kept > QUANTITY_TOLERANCE) & (self.planned > QUANTITY_TOLERANCE)
        group = pd.factorize(lines["ship_group"], sort=True)[0].astype(np.int64)
        who = np.where(group >= 0, group, group.max(initial=NO_ONE) + 1 + np.arange(len(lines)))
        number = np.full(len(lines), NO_ONE, dtype=np.int64)
        number[keeps] = np.unique(who[keeps], return_inverse=True)[1]
        return number

    def best_use(self) -> Floats:
        """Most money per unit that a line would save which wants more than the plan gives it, 0 if none; (n_pools,)."""
        book = self.book
        wants = self.planned < book.lines["open_quantity"].to_numpy(np.float64) - QUANTITY_TOLERANCE
        wants &= lines_that_may_have(book.lines, book.limits)
        most = np.zeros(len(book.pools))
        np.maximum.at(most, book.pool[wants], book.worth[wants])
        return most


@dataclass(frozen=True, eq=False)
class MostToGain:
    """What no choice of moves can save more than the plan does, pool by pool.

    Every unit that a line loses serves at most its pool's best use, and every move is at most one line that loses
    units. Lines new in the queue lose theirs without a move, and goods left on the shelf may be used. And no pool saves
    more than if its goods could be cut anywhere and were given out by worth alone.
    """

    of_lines: list[Floats]  # of each pool: money that each of its old lines' goods could save, falling
    at_once: Floats  # (n_pools,), money that needs no move
    in_all: Floats  # (n_pools,), money however many move

    @classmethod
    def of(cls, plan: KeptPlan) -> "MostToGain":
        """Bound every pool."""
        book, best = plan.book, plan.best_use()
        goods = book.pools["available_now"].to_numpy(np.float64)
        n_pools, worth = len(goods), book.worth
        could = np.maximum(plan.planned * (best[book.pool] - worth), 0.0)
        left = np.maximum(goods - np.bincount(book.pool, plan.planned, n_pools), 0.0)
        at_once = left * best + np.bincount(book.pool, np.where(plan.is_old, 0.0, could), n_pools)
        rows = np.flatnonzero(plan.is_old & (could > 0))
        rows = rows[np.lexsort((-could[rows], book.pool[rows]))]
        ends = np.searchsorted(book.pool[rows], np.arange(1, n_pools))
        return cls(np.split(could[rows], ends), at_once, _if_cut_anywhere(plan, goods))

    def of_pools(self, pools: Codes) -> list[Frontier]:
        """Bounds of these pools by the number of moves in each."""
        return [self._of_pool(pool) for pool in pools.tolist()]

    def _of_pool(self, pool: int) -> Frontier:
        gain = self.at_once[pool] + np.concatenate([[0.0], np.cumsum(self.of_lines[pool])])
        places = np.arange(len(gain))
        return Frontier(places, np.minimum(gain, self.in_all[pool]), places)


def _if_cut_anywhere(plan: KeptPlan, goods: Floats) -> Floats:
    """Money that each pool would save more than by the plan at best: today's optimum has a bound, but for rules."""
    book, worth, n_pools = plan.book, plan.book.worth, len(goods)
    wanted = np.where(worth > 0, book.lines["open_quantity"].to_numpy(np.float64), 0.0)
    order = np.lexsort((-worth, book.pool))
    cut = np.empty(len(order))
    cut[order] = cut_anywhere(wanted[order], book.pool[order], goods)
    most = np.bincount(book.pool, plan.money(cut), n_pools).astype(np.float64)
    if book.limits.binds():
        return most
    is_alone = (np.bincount(book.part, minlength=n_pools) == 1)[book.part]
    bound = np.bincount(book.pool, plan.money(plan.free), n_pools) + plan.free_gap
    return np.where(is_alone, np.minimum(most, bound), most)
