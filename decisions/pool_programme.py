"""One pool's goods given to the lines that want them: a knapsack with whole, stepped and freely divisible lines."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Method = Literal["sorted", "exact", "greedy"]

# Quantities are entered with at most a few decimals; sums of thousands of them are off by less than this.
QUANTITY_TOLERANCE = 1e-9
DECIMALS = 10_000  # quantities with up to four decimals have a common unit


@dataclass(frozen=True)
class Claims:
    """What the lines of one pool may take, best worth first; arrays of (n_claims,)."""

    quantity: Floats  # units wanted
    step: Floats  # divisible claims ship multiples of it, or all they want
    is_whole: npt.NDArray[np.bool_]  # ships all it wants or nothing
    worth: Floats  # money saved per unit shipped
    least_part: Floats  # units below which a part does not ship; 0: any part may

    def only(self, these: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> "Claims":
        """Keep these claims."""
        lots = self.quantity[these], self.step[these], self.is_whole[these]
        return Claims(*lots, self.worth[these], self.least_part[these])


@dataclass(frozen=True)
class Share:
    """Units given to each claim, how they were found, and what no rule can exceed (money)."""

    given: Floats
    method: Method
    bound: float


def share_out(claims: Claims, available: float, cell_limit: int, first: Floats | None = None) -> Share:
    """Give `available` units to the claims so that as much money as possible is saved.

    Taking claims by worth, `first` before all else, is optimal if it meets the fractional bound ("sorted"). Else
    quantities that are multiples of one unit (pieces, halves, dozens) are solved by dynamic programming over those
    units while the table stays within `cell_limit` ("exact"), else the better of two greedy fillings stands beside the
    fractional bound ("greedy"). Goods never stay where a claim could still take them.

    5 units, and whole claims of 3 units at 4 a unit, 5 units at 3 a unit: 12 by worth, 15 by filling the pool.

    >>> claims = Claims(np.array([3.0, 5.0]), np.ones(2), np.array([True] * 2), np.array([4.0, 3.0]), np.zeros(2))
    >>> share_out(claims, available=5, cell_limit=1000)
    Share(given=array([0., 5.]), method='exact', bound=15.0)
    """
    by_worth = take_in_order(claims, np.zeros(len(claims.quantity)) if first is None else first, available)
    bound = fractional_bound(claims, available)
    if _money(by_worth, claims) >= bound - 1e-9 * max(1.0, bound):
        return Share(by_worth, "sorted", max(bound, _money(by_worth, claims)))
    lots = np.concatenate((claims.quantity, claims.step[~claims.is_whole]))
    unit = float(common_units(np.zeros(len(lots), dtype=np.int64), lots, n_pools=1)[0])
    if unit and _n_cells(claims, unit, available) <= cell_limit:
        best = take_in_order(claims, _best_units(claims, unit, available), available)
        return Share(best, "exact", _money(best, claims))
    other = _largest_first(claims, available)
    best = other if _money(other, claims) > _money(by_worth, claims) else by_worth
    return Share(best, "greedy", max(bound, _money(best, claims)))


def _money(given: Floats, claims: Claims) -> float:
    return float(np.dot(given, claims.worth))


def take_in_order(claims: Claims, given: Floats, available: float) -> Floats:
    """Let each claim in turn take what it can of the goods left beside what was `given` already."""
    left = available - given.sum()
    result = given.copy()
    lots = (claims.quantity, claims.step, claims.is_whole, claims.least_part, given)
    rows = zip(*(column.tolist() for column in lots), strict=True)
    for i, (quantity, step, is_whole, least_part, has) in enumerate(rows):
        if left <= QUANTITY_TOLERANCE:
            break
        missing = quantity - has
        if missing <= left + QUANTITY_TOLERANCE:
            take = missing
        elif is_whole:
            continue
        else:
            take = np.floor(left / step + QUANTITY_TOLERANCE) * step
            if has + take < least_part - QUANTITY_TOLERANCE:
                continue
        result[i] += take
        left -= take
    return result


def in_steps(units: Floats, step: Floats) -> Floats:
    """Units in whole steps, rounded down.

    >>> in_steps(np.array([7.0]), np.array([2.5])).tolist()
    [5.0]
    """
    return np.asarray(np.floor(units / step + QUANTITY_TOLERANCE) * step)


def fractional_bound(claims: Claims, available: float) -> float:
    """Money saved if every claim that fits at all could be cut anywhere: no rule saves more.

    >>> claims = Claims(np.array([3.0, 5.0]), np.ones(2), np.array([True] * 2), np.array([4.0, 3.0]), np.zeros(2))
    >>> fractional_bound(claims, available=5)
    18.0
    """
    fits = ~claims.is_whole | (claims.quantity <= available + QUANTITY_TOLERANCE)
    quantity = claims.quantity[fits]
    before = np.cumsum(quantity) - quantity
    return float(np.clip(available - before, 0, quantity) @ claims.worth[fits])


def _largest_first(claims: Claims, available: float) -> Floats:
    """Serve the single most valuable claim that fits, then the rest by worth.

    Filling by worth can be arbitrarily far from the best where one large claim is crowded out; the better of both
    saves at least half of the best (Dantzig's bound for the knapsack).
    """
    money = np.where(claims.quantity <= available + QUANTITY_TOLERANCE, claims.quantity * claims.worth, -np.inf)
    given = np.zeros(len(money))
    if money.max(initial=-np.inf) > 0:
        largest = int(np.argmax(money))
        given[largest] = claims.quantity[largest]
    return take_in_order(claims, given, available)


def common_units(pool: Codes, numbers: Floats, n_pools: int) -> Floats:
    """Greatest unit that all numbers of a pool are multiples of, to four decimals; 0 where there is none.

    >>> common_units(np.array([0, 0, 1]), np.array([1.5, 6.0, np.pi]), n_pools=2).tolist()
    [1.5, 0.0]
    """
    scaled = np.round(numbers * DECIMALS)
    is_exact = (np.abs(scaled - numbers * DECIMALS) <= DECIMALS * QUANTITY_TOLERANCE) & (scaled >= 1) & (scaled < 2**53)
    order = np.argsort(pool, kind="stable")
    starts = np.flatnonzero(np.diff(pool[order], prepend=-1))
    unit = np.zeros(n_pools)
    unit[pool[order][starts]] = np.gcd.reduceat(scaled[order].astype(np.int64), starts) / DECIMALS
    unit[pool[~is_exact]] = 0
    return unit


def _has_choice(claims: Claims, unit: float) -> npt.NDArray[np.bool_]:
    """Claims that cannot take just any number of units."""
    in_lots = (np.round(claims.step / unit) != 1) | (claims.least_part > claims.step)
    has_choice: npt.NDArray[np.bool_] = claims.is_whole | in_lots
    return has_choice


def _n_cells(claims: Claims, unit: float, available: float) -> float:
    choices = np.where(claims.is_whole, 1, np.ceil(np.minimum(claims.quantity, available) / claims.step))
    return float(choices[_has_choice(claims, unit)].sum() * (available / unit + 1))


def _best_units(claims: Claims, unit: float, available: float) -> Floats:
    """Quantity per claim that saves most, by dynamic programming over the units spent (Bellman 1957).

    The table starts from what the freely divisible claims make of 0 .. n_units, which sorting solves; then each claim
    with a choice of lots is offered every number of units.
    """
    n_units = int(available / unit + QUANTITY_TOLERANCE)
    free = ~_has_choice(claims, unit)
    saved = _saved_by_free_claims(claims.quantity[free] / unit, claims.worth[free] * unit, n_units)
    chosen = np.flatnonzero(~free)
    taken = np.zeros((len(chosen), n_units + 1), dtype=np.int64)
    for row, claim in enumerate(chosen):
        before = saved.copy()
        for lot in _lots(claims, int(claim), unit, n_units):
            with_lot = before[: n_units + 1 - lot] + lot * unit * claims.worth[claim]
            better = with_lot > saved[lot:]
            saved[lot:][better] = with_lot[better]
            taken[row, lot:][better] = lot
    given, units = np.zeros(len(claims.quantity)), n_units
    for row in range(len(chosen) - 1, -1, -1):
        given[chosen[row]] = taken[row, units] * unit
        units -= int(taken[row, units])
    before_free = np.cumsum(claims.quantity[free]) - claims.quantity[free]
    given[free] = np.clip(units * unit - before_free, 0, claims.quantity[free])
    return np.minimum(given, claims.quantity)


def _saved_by_free_claims(quantity: Floats, worth: Floats, n_units: int) -> Floats:
    """Money saved by giving 0 .. n_units to freely divisible claims in order of worth."""
    units = np.concatenate(([0.0], np.cumsum(quantity)))
    money = np.concatenate(([0.0], np.cumsum(quantity * worth)))
    return np.interp(np.arange(n_units + 1), units, money)


def _lots(claims: Claims, claim: int, unit: float, n_units: int) -> list[int]:
    """Numbers of units a claim can take, nothing left out: multiples of its step, and all of it."""
    quantity, step = round(float(claims.quantity[claim]) / unit), round(float(claims.step[claim]) / unit)
    parts = [] if claims.is_whole[claim] else range(step, min(quantity, n_units + 1), step)
    least = float(claims.least_part[claim]) / unit - QUANTITY_TOLERANCE
    return [lot for lot in [*(part for part in parts if part >= least), quantity] if lot <= n_units]
