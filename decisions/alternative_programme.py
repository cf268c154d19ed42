"""Who gets goods that lie elsewhere: lines and the pools that could serve them, all in one assignment.

max sum of the money saved, each line served by one pool at most, and no pool giving more than it can spare: a
generalised assignment problem (Martello & Toth 1990, Knapsack problems, ch. 7). Lines and pools that hang together
are one problem of their own. Where every line can have its best pool nothing better exists; else the linear relaxation
bounds what can be saved and says whom to serve first, and small problems whose gap stays open are searched.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack
from scipy.sparse.csgraph import connected_components

from decisions.alternative_search import search
from decisions.alternative_ways import Ways
from decisions.pool_programme import QUANTITY_TOLERANCE

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

WAYS_AT_ONCE = 2000  # of a linear programme: HiGHS takes longer for one large one than for some of this size
MOST_SEARCHED_WAYS = 40  # of a problem that is searched for the best choice: larger ones take long and gain little
PROVEN = 1e-7  # of the bound: HiGHS keeps its limits to that


@dataclass(frozen=True)
class Choice:
    """Units that each way takes, what that saves, and what no choice can exceed (money).

    Parameters
    ----------
    units : (n_ways,)
    n_problems, n_proven : lines and pools that hang together, and those of them where nothing better exists
    """

    units: Floats
    value: float
    bound: float
    n_problems: int
    n_proven: int


def best_choice(ways: Ways, spare: Floats) -> Choice:
    """Choose by which way each line is served, and with how many units.

    Parameters
    ----------
    ways : in an order that does not depend on that of any table, as it settles ties
    spare : (n_pools,), units that each pool can spare

    Two lines of 3 whole units want the 3 that one pool can spare; the first saves 4 a unit there or 3.5 in another
    pool, the second 3.8 there alone. So the first gives way: 3 x 3.5 + 3 x 3.8.

    >>> ways = Ways(np.array([0, 0, 1]), np.array([0, 1, 0]), np.full(3, 3.0), np.ones(3), np.ones(3, bool),
    ...     np.array([4.0, 3.5, 3.8]), np.zeros(3))
    >>> choice = best_choice(ways, spare=np.array([3.0, 3.0]))
    >>> choice.units.tolist(), round(choice.value, 2), round(choice.bound, 2)
    ([0.0, 3.0, 3.0], 21.9, 21.9)
    """
    most = ways.takes(spare[ways.pool])
    kept = np.flatnonzero(ways.money(most) > 0)
    units = np.zeros(len(ways.line))
    if not len(kept):
        return Choice(units, 0.0, 0.0, 0, 0)
    found, bound, problem = _solved(ways.only(kept), spare, most[kept])
    units[kept] = found
    value = np.bincount(problem, ways.only(kept).money(found), minlength=len(bound))
    n_proven = int((bound - value <= PROVEN * np.maximum(bound, 1.0)).sum())
    return Choice(units, float(value.sum()), float(np.maximum(bound, value).sum()), len(bound), n_proven)


def _solved(ways: Ways, spare: Floats, most: Floats) -> tuple[Floats, Floats, Codes]:
    """Units of each way, the bound of each problem, and the problem of each way."""
    problem = _problems(ways, len(spare))
    units = _everyone_the_best(ways, most)
    bound = np.bincount(problem, ways.money(units)).astype(np.float64)
    asked = np.bincount(ways.pool, units, minlength=len(spare))
    too_much = (asked > spare + QUANTITY_TOLERANCE)[ways.pool]
    is_contested = np.bincount(problem, too_much) > 0
    hard = np.flatnonzero(is_contested[problem])
    if len(hard):
        part, number = ways.only(hard), np.unique(problem[hard], return_inverse=True)[1]
        shares, reduced, relaxed = _relaxed(part, spare, most[hard], number)
        found = _filled(part, spare, shares, number)
        units[hard], bound[is_contested] = _exact_where_small(part, spare, number, found, reduced, relaxed)
    return units, bound, problem


def _problems(ways: Ways, n_pools: int) -> Codes:
    """Number the lines and pools that hang together, in the order of their first way."""
    line = np.unique(ways.line, return_inverse=True)[1]
    n_lines = int(line.max()) + 1
    graph = csr_array((np.ones(len(line)), (line, n_lines + ways.pool)), shape=(n_lines + n_pools, n_lines + n_pools))
    label = connected_components(graph, directed=False)[1][line]
    first = np.unique(label, return_index=True)[1]
    number = np.argsort(np.argsort(first))
    return np.asarray(number[np.unique(label, return_inverse=True)[1]], dtype=np.int64)


def _everyone_the_best(ways: Ways, most: Floats) -> Floats:
    """Units if every line is served by its best way as if nobody else wanted the goods."""
    order = np.lexsort((-ways.money(most), ways.line))
    best = order[np.unique(ways.line[order], return_index=True)[1]]
    units = np.zeros(len(most))
    units[best] = most[best]
    return units


def _parts(number: Codes) -> list[Codes]:
    """Ways of whole problems, some thousand at a time."""
    order = np.argsort(number, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(number[order])) + 1, len(order))
    parts, start = [], 0
    for end in ends.tolist():
        if end - start >= WAYS_AT_ONCE or end == len(order):
            parts.append(order[start:end])
            start = end
    return parts


def _relaxed(ways: Ways, spare: Floats, most: Floats, number: Codes) -> tuple[Floats, Floats, Floats]:
    """Share of its most that each way has in the linear relaxation, its money at the prices, each problem's bound.

    The bound is the dual's value at the prices that HiGHS gives, which holds whatever their last digits (weak duality).
    """
    shares, reduced, bound = np.zeros(len(most)), np.zeros(len(most)), np.zeros(int(number.max()) + 1)
    money = ways.money(most)
    for rows in _parts(number):
        line = np.unique(ways.line[rows], return_inverse=True)[1]
        pools, pool = np.unique(ways.pool[rows], return_inverse=True)
        here = np.arange(len(rows))
        of_line = csr_array((np.ones(len(rows)), (line, here)))
        of_pool = csr_array((most[rows], (pool, here)))
        limit = np.concatenate([np.ones(of_line.shape[0]), spare[pools]])
        result = linprog(-money[rows], A_ub=vstack([of_line, of_pool]), b_ub=limit, bounds=(0, 1), method="highs-ds")
        if result.status != 0:
            raise RuntimeError(f"alternatives: HiGHS ended with {result.message!r} on {len(rows)} ways")
        shares[rows] = result.x
        price = np.maximum(-result.ineqlin.marginals[of_line.shape[0] :], 0.0)
        best = np.zeros(of_line.shape[0])
        reduced[rows] = money[rows] - price[pool] * most[rows]
        np.maximum.at(best, line, reduced[rows])
        bound += np.bincount(number[rows][np.unique(line, return_index=True)[1]], best, minlength=len(bound))
        bound += np.bincount(number[rows][np.unique(pool, return_index=True)[1]], price * spare[pools], len(bound))
    return shares, reduced, bound


def _filled(ways: Ways, spare: Floats, shares: Floats, number: Codes) -> Floats:
    """The better, problem by problem, of two fillings: in the order of the relaxation, and by money per unit."""
    per_unit = ways.worth - ways.fixed_cost / ways.wanted
    by_share = _in_turn(ways, spare, np.lexsort((-per_unit, -np.round(shares, 6))))
    by_worth = _in_turn(ways, spare, np.lexsort((-per_unit,)))
    saved = [np.bincount(number, ways.money(units)) for units in (by_share, by_worth)]
    return np.where((saved[1] > saved[0])[number], by_worth, by_share)


def _in_turn(ways: Ways, spare: Floats, turn: npt.NDArray[np.intp]) -> Floats:
    """Let each way in turn take what it may of what is left, if its line has nothing yet and it saves anything."""
    left, served, taken = dict[int, float](), set[int](), np.zeros(len(turn))
    columns = (ways.line, ways.pool, ways.wanted, ways.step, ways.is_whole, ways.worth, ways.fixed_cost)
    rows = zip(turn.tolist(), *(column[turn].tolist() for column in columns), strict=True)
    for way, line, pool, wanted, step, is_whole, worth, fixed_cost in rows:
        there = left.setdefault(pool, float(spare[pool]))
        if line in served or there <= QUANTITY_TOLERANCE:
            continue
        if wanted <= there + QUANTITY_TOLERANCE:
            units = wanted
        else:
            units = 0.0 if is_whole else (there / step + QUANTITY_TOLERANCE) // 1 * step
        if worth * units > fixed_cost:
            taken[way], left[pool] = units, max(there - units, 0.0)
            served.add(line)
    return taken


def _exact_where_small(
    ways: Ways, spare: Floats, number: Codes, units: Floats, reduced: Floats, bound: Floats
) -> tuple[Floats, Floats]:
    """Search the small problems whose gap is open for the best choice."""
    value = np.bincount(number, ways.money(units), minlength=len(bound))
    is_open = (bound - value > PROVEN * np.maximum(bound, 1.0)) & (np.bincount(number) <= MOST_SEARCHED_WAYS)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(len(bound) + 1))
    for problem in np.flatnonzero(is_open).tolist():
        rows = order[ends[problem] : ends[problem + 1]]
        found = search(ways.only(rows), spare, reduced[rows], float(bound[problem]), float(value[problem]))
        if found.units is not None:
            units[rows] = found.units
        bound[problem] = found.bound
    return units, bound
