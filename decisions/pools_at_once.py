"""Many pools given out at once: by a running sum where all can be cut, by tables side by side where lines are whole."""

import numpy as np
import numpy.typing as npt

from decisions.pool_programme import QUANTITY_TOLERANCE, Claims, common_units, take_in_order
from decisions.pool_tables import MOST_UNITS, Items, best_items, blocks_of, in_units, saved_by_divisible

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def cut_anywhere(quantity: Floats, pool: Codes, left: Floats) -> Floats:
    """Give each pool's goods to its claims in order as if all could be cut anywhere."""
    before = np.cumsum(quantity) - quantity
    starts = np.flatnonzero(np.diff(pool, prepend=-1))
    lengths = np.diff(np.append(starts, len(pool)))
    before -= np.repeat(before[starts], lengths)
    return np.clip(left[pool] - before, 0, quantity)


def solve_at_once(claims: Claims, pool: Codes, left: Floats, care: Flags, given: Floats, cell_limit: int) -> Codes:
    """Solve pools of whole and freely divisible claims exactly, side by side; returns which, and sets their `given`.

    Parameters
    ----------
    pool : (n_claims,) sorted; within a pool the claims stand best first
    care : (n_pools,) pools that a running sum does not solve
    cell_limit : larger tables are left to others, as are pools with steps or parts that must beat a shipment
    """
    if not care.any():
        return np.zeros(0, dtype=np.int64)
    here = np.flatnonzero(care[pool])
    unit = common_units(pool[here], np.where(claims.is_whole, claims.quantity, claims.step)[here], len(left))
    is_simple = care & (unit > 0)
    in_lots = claims.step > unit[pool] * (1 + QUANTITY_TOLERANCE)
    has_rest = np.abs(np.round(claims.quantity / claims.step) * claims.step - claims.quantity) > QUANTITY_TOLERANCE
    is_simple[pool[~claims.is_whole & (in_lots | has_rest | (claims.least_part > claims.step))]] = False
    n_units = in_units(np.where(is_simple, left, 0), np.where(is_simple, unit, 1))
    n_whole = np.bincount(pool, weights=claims.is_whole, minlength=len(left))
    is_simple &= (n_units <= MOST_UNITS) & (n_whole * (n_units + 1) <= cell_limit)
    pools = np.flatnonzero(is_simple)
    if len(pools):
        chosen = np.flatnonzero(is_simple[pool])
        place = (np.cumsum(is_simple) - 1)[pool[chosen]]
        given[chosen] = _best_of_pools(claims.only(chosen), place, left[pools], unit[pools], n_units[pools])
    return pools


def _best_of_pools(claims: Claims, pool: Codes, left: Floats, unit: Floats, n_units: Codes) -> Floats:
    """Units of each claim that save most, by dynamic programming over whole claims beside the divisible ones."""
    whole, free = np.flatnonzero(claims.is_whole), np.flatnonzero(~claims.is_whole)
    units = in_units(claims.quantity[whole], unit[pool[whole]])
    items = Items(pool[whole], units, (claims.quantity * claims.worth)[whole])
    blocks, size = blocks_of(items, n_units), unit[pool[free]]
    base = saved_by_divisible(blocks, pool[free], claims.quantity[free] / size, claims.worth[free] * size)
    _, _, is_taken = best_items(blocks, base, items)
    given = np.zeros(len(pool))
    given[whole[is_taken]] = claims.quantity[whole[is_taken]]
    rest = np.maximum(n_units * unit - np.bincount(pool, weights=given, minlength=len(left)), 0)
    given[free] = cut_anywhere(claims.quantity[free], pool[free], rest)
    return _filled(claims, pool, left, given)


def _filled(claims: Claims, pool: Codes, left: Floats, given: Floats) -> Floats:
    """Whole claims that lose nothing by waiting are no gain to the tables, but goods must not stay while they wait."""
    rest = left - np.bincount(pool, weights=given, minlength=len(left))
    could = (given == 0) & (claims.quantity <= rest[pool] + QUANTITY_TOLERANCE)
    for k in np.unique(pool[could]):
        here = slice(*np.searchsorted(pool, [k, k + 1]))
        given[here] = take_in_order(claims.only(here), given[here], left[k])
    return given
