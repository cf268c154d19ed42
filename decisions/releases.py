"""Which lines give up what the last queue gave them: sets that are tried, and what each would move and save."""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from decisions.kept_plan import NO_ONE, KeptPlan
from decisions.move_budget import Frontier

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Counts, not seconds, bound the work: the same facts must give the same bytes.
EVERY_SET_OF = 6  # lines or ship groups of a part of the book; of more, likely sets
MOST_RUNGS = 30  # of each order, and of those alone


@dataclass(frozen=True, eq=False)
class Keepers:
    """Lines, or ship groups, that keep goods; arrays of (n_keepers,), in money."""

    number: Codes  # (n_lines,), -1: keeps nothing
    part: Codes  # part of the book
    per_unit: Floats  # lost per unit if it gives up its goods
    could_save: Floats  # saved at best by who gets them, that loss paid
    per_move: Floats  # that today's optimum saves per move in its pool, or the best of its pools

    @classmethod
    def of(cls, plan: KeptPlan) -> "Keepers":
        """Number them, and see what their goods are worth to others."""
        number, pool = plan.keepers(), plan.book.pool
        has = np.flatnonzero(number >= 0)
        who, n_keepers, n_pools = number[has], int(number.max(initial=NO_ONE)) + 1, len(plan.book.pools)
        units, lost, at_best = (
            np.bincount(who, each[has], n_keepers).astype(np.float64)
            for each in (plan.planned, plan.planned * plan.book.worth, plan.planned * plan.best_use()[pool])
        )
        part, per_move = np.full(n_keepers, NO_ONE, dtype=np.int64), np.full(n_keepers, -np.inf)
        part[who] = plan.book.part_of_line[has]
        n_moves = np.maximum(np.bincount(pool, plan.moved(plan.free), n_pools), 1)
        of_pool = np.bincount(pool, plan.money(plan.free), n_pools) / n_moves
        np.maximum.at(per_move, who, of_pool[pool[has]])
        return cls(number, part, lost / units, at_best - lost, per_move)

    def likely_sets(self, keepers: Codes) -> list[Codes]:
        """Sets of many keepers: those who could save most, each alone, and the first ones by three orders.

        Least money per unit first, most money to be saved first, and most money per move in today's optimum first.
        """
        useful = keepers[self.could_save[keepers] > 0]
        could_save = -self.could_save[useful]
        keys = ((self.per_unit[useful],), (could_save,), (could_save, -self.per_move[useful]))
        orders = [useful[np.lexsort(key)] for key in keys]
        found = [orders[1][[place]] for place in range(min(MOST_RUNGS, len(useful)))]
        found += [order[:end] for order in orders for end in rungs(len(useful))]
        each_once = dict.fromkeys(tuple(sorted(each.tolist())) for each in found)
        return [np.array(each, dtype=np.int64) for each in each_once if len(each) < len(keepers)]


def rungs(n_keepers: int) -> list[int]:
    """Sizes of the sets that are tried: all of few, else close for few moves and as close as they can be for many.

    >>> rungs(3), rungs(1000)[:4], len(rungs(1000)) <= MOST_RUNGS
    ([1, 2, 3], [1, 2, 3, 4], True)
    """
    if n_keepers <= MOST_RUNGS:
        return list(range(1, n_keepers + 1))
    half = MOST_RUNGS // 2
    ends = np.concatenate([np.geomspace(1, n_keepers, half), np.linspace(1, n_keepers, half)])
    return [int(end) for end in np.unique(ends.round())]


@dataclass(frozen=True, eq=False)
class Releases:
    """Sets of keepers that may be released, part by part of the book."""

    parts: Codes
    keeper: Codes  # (n_lines,), -1: keeps nothing
    sets: list[list[Codes]]  # of each part: sets of keepers, all of them together not among them
    tries_every: Flags  # (n_parts,), no set is left out

    @classmethod
    def of(cls, plan: KeptPlan) -> "Releases":
        """List the sets of keepers to try: every set of few, else some alone and the first ones by three orders."""
        keepers, parts = Keepers.of(plan), plan.parts_that_differ()
        of_part = _grouped(keepers.part)
        here = [of_part.get(part, np.zeros(0, dtype=np.int64)) for part in parts.tolist()]
        every = np.array([len(some) <= EVERY_SET_OF for some in here], dtype=np.bool_)
        sets = [every_set(some) if len(some) <= EVERY_SET_OF else keepers.likely_sets(some) for some in here]
        return cls(parts, keepers.number, sets, every)

    @property
    def n_sets(self) -> Codes:
        """Number of sets of each part; as a way, the number stands for today's optimum."""
        return np.array([len(sets) for sets in self.sets], dtype=np.int64)

    def kept_after(self, plan: KeptPlan, ways: Codes) -> Floats:
        """Units that are kept if each part goes this way; (n_lines,)."""
        pairs = list(zip(self.sets, ways.tolist(), strict=True))
        gone = [sets[way] for sets, way in pairs if 0 <= way < len(sets)]
        is_gone = np.isin(plan.book.part_of_line, self.parts[ways == self.n_sets])
        is_gone |= np.isin(self.keeper, np.concatenate([np.zeros(0, dtype=np.int64), *gone]))
        return np.where(is_gone, 0.0, plan.kept)


def _grouped(part: Codes) -> dict[int, Codes]:
    """Keepers of each part."""
    order = np.argsort(part, kind="stable")
    starts = np.flatnonzero(np.diff(part[order], prepend=-2))
    return {int(part[rows[0]]): rows for rows in np.split(order, starts[1:])} if len(order) else {}


def every_set(keepers: Codes) -> list[Codes]:
    """All sets of them but none and all: these are the last queue's plan and today's optimum."""
    sizes = range(1, len(keepers))
    return [np.array(each, dtype=np.int64) for size in sizes for each in combinations(keepers.tolist(), size)]


@dataclass(frozen=True)
class Tried:
    """What came of the sets tried, one by one; arrays of (n_tried,)."""

    part: Codes  # place in Releases.parts
    way: Codes  # place in the part's sets; their number: today's optimum; -1: nothing is released
    moves: Codes
    gain: Floats

    @classmethod
    def of(cls, plan: KeptPlan, releases: Releases) -> "Tried":
        """Give goods out with each set released, the n-th set of all parts at once; parts do not touch each other."""
        places, n_sets = np.arange(len(releases.parts)), releases.n_sets
        rows = [_came_of(plan, releases, places, plan.planned, np.full(len(places), NO_ONE))]
        rows.append(_came_of(plan, releases, places, plan.free, n_sets))
        for turn in range(int(n_sets.max(initial=0))):
            here = np.flatnonzero(n_sets > turn)
            some, of_line = plan.book.only(releases.parts[here])
            released = np.concatenate([releases.sets[each][turn] for each in here.tolist()])
            kept = np.where(np.isin(releases.keeper, released), 0.0, plan.kept)
            given = plan.planned.copy()
            given[of_line] = some.given(kept[of_line])
            rows.append(_came_of(plan, releases, here, given, np.full(len(here), turn)))
        columns = ("part", "way", "moves", "gain")
        return cls(*(np.concatenate([getattr(row, name) for row in rows]) for name in columns))

    def of_way(self, ways: Codes) -> tuple[Codes, Floats]:
        """Moves and money of one way for each part; (n_parts,) each."""
        rows = np.flatnonzero(self.way == ways[self.part])
        rows = rows[np.argsort(self.part[rows], kind="stable")]
        return self.moves[rows], self.gain[rows]

    def frontiers(self, n_parts: int) -> list[Frontier]:
        """Best ways of each part."""
        order = np.argsort(self.part, kind="stable")
        ends = np.searchsorted(self.part[order], np.arange(n_parts + 1)).tolist()
        rows = [order[start:end] for start, end in pairwise(ends)]
        return [Frontier.of(self.moves[here], self.gain[here], self.way[here]) for here in rows]


def _came_of(plan: KeptPlan, releases: Releases, places: Codes, given: Floats, way: Codes) -> Tried:
    """Moves and money of these parts."""
    of_line, n_parts = plan.book.part_of_line, int(plan.book.part.max(initial=0)) + 1
    moves = np.bincount(of_line, plan.moved(given), n_parts)[releases.parts[places]]
    gain = np.bincount(of_line, plan.money(given), n_parts)[releases.parts[places]].astype(np.float64)
    return Tried(places, way, moves.astype(np.int64), gain)
