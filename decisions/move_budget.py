"""How a limited number of moves is spent over the parts of a book, so that they save most money together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

EXACT_CELLS = 50_000_000  # ways x moves: up to there the choice is exact, beyond it within `linear_bound`
SAME_MONEY = 1e-9  # of the amount: money that differs by rounding alone is the same


@dataclass(frozen=True)
class Frontier:
    """Ways to change one part of the book, of which none saves less with more moves; arrays of (n_ways,).

    The first one needs no move.
    """

    moves: Codes  # lines, rising
    gain: Floats  # money saved, rising
    way: Codes  # which one it is

    @classmethod
    def of(cls, moves: Codes, gain: Floats, way: Codes) -> "Frontier":
        """Leave out what saves no more than another way with as few moves; one of them has to need none.

        >>> Frontier.of(np.array([0, 3, 2, 2]), np.array([0.0, 7.0, 4.0, 9.0]), np.arange(4)).way.tolist()
        [0, 3]
        """
        order = np.lexsort((way, -gain, moves))
        kept: list[int] = []
        best = -np.inf
        for row, money in zip(order.tolist(), gain[order].tolist(), strict=True):
            if not kept or money > best + SAME_MONEY * max(1.0, abs(best)):
                kept.append(row)
                best = money
        return cls(moves[kept], gain[kept], way[kept])

    def beyond(self, place: int) -> "Frontier":
        """The same from this way on, which needs no move any more."""
        return Frontier(self.moves[place:] - self.moves[place], self.gain[place:] - self.gain[place], self.way[place:])

    def steps(self) -> list[int]:
        """Places of the ways on the concave hull: each step to the next saves less per move than the one before.

        >>> Frontier(np.array([0, 1, 2, 3]), np.array([0.0, 1.0, 6.0, 7.0]), np.arange(4)).steps()
        [0, 2, 3]
        """
        hull: list[int] = []
        for place in range(len(self.moves)):
            while len(hull) > 1 and self._slope(hull[-2], hull[-1]) < self._slope(hull[-1], place):
                hull.pop()
            hull.append(place)
        return hull

    def _slope(self, one: int, other: int) -> float:
        return float((self.gain[other] - self.gain[one]) / (self.moves[other] - self.moves[one]))

    def worth_more_than(self, money: float) -> int:
        """Place of the last way that an exchange, a step of the hull, of more than this money leads to; else 0.

        >>> Frontier(np.array([0, 2, 3]), np.array([0.0, 60.0, 70.0]), np.arange(3)).worth_more_than(50)
        1
        """
        steps = self.steps()
        saved = np.diff(self.gain[steps])
        return max((steps[place + 1] for place in np.flatnonzero(saved > money)), default=0)


def best_within(frontiers: Sequence[Frontier], n_moves: int) -> Codes:
    """Choose a way of every frontier so that most money is saved by at most so many moves.

    A multiple-choice knapsack: by dynamic programming over the moves (Kellerer, Pferschy & Pisinger 2004, ch. 11), or
    by falling money per move where its table would be too large. Of equals the fewest moves.

    Returns
    -------
    (n_frontiers,) places in the frontiers.
    """
    all_moves = int(sum(front.moves[-1] for front in frontiers))
    if all_moves <= n_moves:
        return np.array([len(front.moves) - 1 for front in frontiers], dtype=np.int64)
    n_ways = sum(len(front.moves) for front in frontiers)
    exact = (n_moves + 1) * n_ways <= EXACT_CELLS
    return _by_table(frontiers, n_moves) if exact else _by_money_per_move(frontiers, n_moves)


def is_exact(frontiers: Sequence[Frontier], n_moves: int) -> bool:
    """Whether `best_within` finds the best choice for sure."""
    all_moves = int(sum(front.moves[-1] for front in frontiers))
    n_ways = sum(len(front.moves) for front in frontiers)
    return all_moves <= n_moves or (n_moves + 1) * n_ways <= EXACT_CELLS


def linear_bound(frontiers: Sequence[Frontier], n_moves: int) -> float:
    """Money that no choice of so many moves exceeds: steps of all hulls by falling money per move, the last one cut.

    >>> linear_bound([Frontier(np.array([0, 2]), np.array([1.0, 9.0]), np.arange(2))], n_moves=1)
    5.0
    """
    slope, moves, gain, _ = _all_steps(frontiers)
    order = np.argsort(-slope, kind="stable")
    before = np.cumsum(moves[order]) - moves[order]
    part = np.clip((n_moves - before) / moves[order], 0, 1)
    return float(sum(front.gain[0] for front in frontiers) + part @ gain[order])


def _all_steps(frontiers: Sequence[Frontier]) -> tuple[Floats, Codes, Floats, Codes]:
    """Money per move, moves and money of every step of every hull, and the frontier it belongs to."""
    moves, gain, owner = [np.zeros(0, dtype=np.int64)], [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for place, front in enumerate(frontiers):
        steps = front.steps()
        moves.append(np.diff(front.moves[steps]))
        gain.append(np.diff(front.gain[steps]))
        owner.append(np.full(len(steps) - 1, place))
    all_moves, all_gain = np.concatenate(moves), np.concatenate(gain)
    return all_gain / all_moves, all_moves, all_gain, np.concatenate(owner)


def _by_table(frontiers: Sequence[Frontier], n_moves: int) -> Codes:
    """Most money for every number of moves, frontier by frontier, and how it came about."""
    saved = np.zeros(n_moves + 1)
    taken = np.zeros((len(frontiers), n_moves + 1), dtype=np.int16)
    for row, front in enumerate(frontiers):
        best = saved + front.gain[0]
        for place in range(1, int(np.searchsorted(front.moves, n_moves, side="right"))):
            moves = int(front.moves[place])
            with_it = saved[: n_moves + 1 - moves] + front.gain[place]
            better = with_it > best[moves:]
            best[moves:][better] = with_it[better]
            taken[row, moves:][better] = place
        saved = best
    chosen, left = np.zeros(len(frontiers), dtype=np.int64), int(saved.argmax())
    for row in range(len(frontiers) - 1, -1, -1):
        chosen[row] = taken[row, left]
        left -= int(frontiers[row].moves[chosen[row]])
    return chosen


def _by_money_per_move(frontiers: Sequence[Frontier], n_moves: int) -> Codes:
    """Take steps by falling money per move while they fit; after one that does not, none of its frontier."""
    slope, moves, _, owner = _all_steps(frontiers)
    hulls = [front.steps() for front in frontiers]
    chosen, is_open = np.zeros(len(frontiers), dtype=np.int64), np.ones(len(frontiers), dtype=np.bool_)
    left = n_moves
    for step in np.argsort(-slope, kind="stable").tolist():
        here = int(owner[step])
        is_open[here] &= moves[step] <= left
        if is_open[here]:
            chosen[here] += 1
            left -= int(moves[step])
    return np.array([hull[place] for hull, place in zip(hulls, chosen.tolist(), strict=True)], dtype=np.int64)
