"""Later goods of each pool as a few chances in each of some scenarios: when they come and how much they bring.

A scenario draws, for every inbound line, the day of its next goods and whether they come in whole, and the day of goods
that nobody has ordered yet. Draws are spread evenly over the scenarios (stratified; Owen 2013, Monte Carlo theory,
ch. 8), one for each id, so that a pool's scenarios stay the same whatever other pools there are. Orders of a pool that
one supplier has not begun to deliver share one draw: what holds one of them up holds up all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrival import InboundForecast, places_in, units_owed
from models.part_receipts import PartReceipts
from models.reorder import pool_names

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

N_SCENARIOS = 60  # so that halves, quarters and tenths of them are whole
SLOTS_AT_ONCE = 4096  # bounds memory: x 2 x 60 scenarios x 8 bytes are 4 MB an array
MOST_CHANCES = 6  # of a pool; what comes after the last but one counts as coming with the very last
NEVER = np.inf
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Chances:
    """What comes after now, by pool, chance and scenario, the soonest chance first.

    Parameters
    ----------
    pools : product_id, warehouse_id
    day : (n_pools, n_chances, n_scenarios), days from today; `NEVER` beyond the days foreseen
    quantity : of the same shape, units; infinite where all that is still wanted will be there
    pegged_day : (n_pegged, n_scenarios), day of goods meant for one line alone
    pegged_units, pegged_to : how many, and order_line_id of each
    """

    pools: pd.DataFrame
    day: Floats
    quantity: Floats
    pegged_day: Floats
    pegged_units: Floats
    pegged_to: npt.NDArray[np.object_]


def chances_of(forecast: InboundForecast, units_wanted: Floats) -> Chances:
    """Draw the later goods of every pool that lines wait in.

    Goods not ordered yet bring what the open lines and the inbound ones leave wanting; once they and all inbound
    lines are in, nothing is wanting: whoever orders sees the backlog.

    Parameters
    ----------
    units_wanted : units that lines of each of `forecast.pools` wait for now

    Raises
    ------
    ValueError
        If there are not as many figures as pools.
    """
    if len(units_wanted) != len(forecast.pools):
        raise ValueError(f"chances: {len(units_wanted)} figures of units wanted for {len(forecast.pools)} pools")
    lines = forecast.lines
    owed = units_owed(lines)
    pool = np.asarray(places_in(forecast.pools, lines))
    is_pegged = lines["for_order_line_id"].notna().to_numpy()
    days = drawn_days(forecast.log_not_come, even_draws(_shared_keys(lines)))
    fresh = drawn_days(
        np.log(np.maximum(forecast.fresh_not_come, 1e-300)),
        even_draws(hashed(pd.Series(pool_names(forecast.pools)), "not ordered yet")),
    )
    free = np.flatnonzero((pool >= 0) & ~is_pegged)
    free = free[np.lexsort((pd.factorize(lines["po_line_id"], sort=True)[0][free], pool[free]))]
    shape = (len(units_wanted), MOST_CHANCES, N_SCENARIOS)
    day, quantity = np.full(shape, NEVER), np.zeros(shape)
    for first, end in _blocks(np.bincount(pool[free], minlength=len(units_wanted))):
        some = slice(first, end)
        of_some = free[slice(*np.searchsorted(pool[free], [first, end]))]
        goods = Goods(pool[of_some] - first, days[of_some], owed[of_some], lines["po_line_id"].iloc[of_some])
        drawn = _drawn(goods, forecast.parts, fresh[some], units_wanted[some], forecast.log_not_come.shape[1] - 1)
        day[some], quantity[some] = _few(*drawn)
    n_kept = max(int(np.isfinite(day).any(axis=(0, 2)).sum()), 1)
    pegged = (days[is_pegged], owed[is_pegged], lines["for_order_line_id"].to_numpy(dtype=object)[is_pegged])
    return Chances(forecast.pools, day[:, :n_kept], quantity[:, :n_kept], *pegged)


def _blocks(n_lines: Codes) -> list[tuple[int, int]]:
    """Pools to draw at once: as many as fit if all had as many inbound lines as the one with most."""
    blocks, first, most = [], 0, 0
    for pool, n in enumerate(n_lines.tolist()):
        most = max(most, n + 1)
        if pool > first and (pool - first + 1) * most > SLOTS_AT_ONCE:
            blocks.append((first, pool))
            first, most = pool, n + 1
    return [*blocks, (first, len(n_lines))] if len(n_lines) else []


@dataclass(frozen=True, eq=False)
class Goods:
    """Inbound lines of some pools, sorted by pool.

    Parameters
    ----------
    pool : place of each line's pool
    days : of its next goods, (n_lines, n_scenarios)
    owed : units
    po_line_id : text
    """

    pool: Codes
    days: Floats
    owed: Floats
    po_line_id: pd.Series


def _drawn(
    goods: Goods, parts: PartReceipts, fresh: Floats, units_wanted: Floats, last_day: int
) -> tuple[Floats, Floats]:
    """All chances of some pools, sorted by day; with the last of them comes whatever is wanting."""
    day, quantity = _by_pool(goods, parts, len(units_wanted), last_day)
    missing = np.maximum(units_wanted - np.bincount(goods.pool, goods.owed, minlength=len(units_wanted)), 0.0)
    day = np.concatenate([day, fresh[:, None]], axis=1)
    quantity = np.concatenate([quantity, np.broadcast_to(missing[:, None, None], fresh[:, None].shape)], axis=1)
    order = np.argsort(day, axis=1, kind="stable")
    day, quantity = np.take_along_axis(day, order, axis=1), np.take_along_axis(quantity, order, axis=1)
    last = np.isfinite(day).sum(axis=1, keepdims=True) - 1
    clears = np.isfinite(fresh)[:, None] & (np.arange(day.shape[1])[None, :, None] == last)
    return day, np.where(clears, np.inf, quantity)


def _by_pool(goods: Goods, parts: PartReceipts, n_pools: int, last_day: int) -> tuple[Floats, Floats]:
    """Two slots for each inbound line, what comes next and what follows it; (n_pools, n_slots, n_scenarios)."""
    pool, days = goods.pool, goods.days
    n_lines = np.bincount(pool, minlength=n_pools)
    n_slots = 2 * int(n_lines.max(initial=0))
    day = np.full((n_pools, n_slots, N_SCENARIOS), NEVER)
    quantity = np.zeros((n_pools, n_slots, N_SCENARIOS))
    slot = 2 * (np.arange(len(pool)) - (np.cumsum(n_lines) - n_lines)[pool])
    in_part = even_draws(hashed(goods.po_line_id, "part")) >= parts.whole_share
    first = goods.owed[:, None] * np.where(in_part, parts.part_share, 1.0)
    later = days + max(np.rint(parts.gap_days), 1.0)
    day[pool, slot], quantity[pool, slot] = days, first
    day[pool, slot + 1] = np.where(in_part & (later <= last_day), later, NEVER)
    quantity[pool, slot + 1] = goods.owed[:, None] - first
    return day, quantity


def _few(day: Floats, quantity: Floats) -> tuple[Floats, Floats]:
    """The soonest `MOST_CHANCES`; what comes after the last but one counts as coming with the very last."""
    missing = [(0, 0), (0, max(MOST_CHANCES - day.shape[1], 0)), (0, 0)]
    day = np.pad(day, missing, constant_values=NEVER)
    quantity = np.where(np.isfinite(day), np.pad(quantity, missing), 0.0)
    kept, tail = slice(0, MOST_CHANCES - 1), slice(MOST_CHANCES - 1, None)
    last = np.where(np.isfinite(day[:, tail]), day[:, tail], -1.0).max(axis=1, keepdims=True)
    rest = quantity[:, tail].sum(axis=1, keepdims=True)
    last = np.where(last >= 0, last, NEVER)
    return np.concatenate([day[:, kept], last], axis=1), np.concatenate([quantity[:, kept], rest], axis=1)


def drawn_days(log_not_come: Floats, draws: Floats) -> Floats:
    """First day by which goods have come with the chance drawn; `NEVER` past the last; (n, n_scenarios).

    Parameters
    ----------
    log_not_come : (n, n_days + 1), falling from 0
    draws : (n, n_scenarios), above 0 and below 1

    >>> drawn_days(np.log(np.array([[1.0, 0.6, 0.6, 0.2]])), np.array([[0.3, 0.5, 0.9]])).tolist()
    [[1.0, 3.0, inf]]
    """
    n, n_days = log_not_come.shape
    if not n:
        return np.zeros((0, draws.shape[1]))
    # Rows one after the other, two apart, are one sorted list.
    has_come = -np.expm1(log_not_come) + 2.0 * np.arange(n)[:, None]
    asked = draws + 2.0 * np.arange(n)[:, None]
    day = np.searchsorted(has_come.ravel(), asked.ravel()).reshape(draws.shape) - n_days * np.arange(n)[:, None]
    return np.where(day < n_days, day, NEVER)


def even_draws(keys: npt.NDArray[np.uint64]) -> Floats:
    """Each of 0.5, 1.5, ... / n_scenarios once per key, in an order of the key's own; (n_keys, n_scenarios)."""
    return np.asarray((np.argsort(np.argsort(_scattered(keys), axis=1), axis=1) + 0.5) / N_SCENARIOS)


def uniform_draws(keys: npt.NDArray[np.uint64]) -> Floats:
    """Numbers from 0 up to 1, not spread evenly but cheap; (n_keys, n_scenarios)."""
    return np.asarray((_scattered(keys) >> np.uint64(11)) * 2.0**-53)


def _scattered(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return mixed(keys[:, None] + np.arange(1, N_SCENARIOS + 1, dtype=np.uint64)[None, :] * _GOLDEN)


def mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter 64-bit numbers (the finalizer of SplitMix64; Steele, Lea & Flood 2014, OOPSLA)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def hashed(ids: pd.Series, purpose: str) -> npt.NDArray[np.uint64]:
    """64 bits per id that depend on nothing but it and the purpose."""
    both = purpose + " " + ids.astype(object).astype(str)
    return np.asarray(pd.util.hash_array(both.to_numpy(dtype=object), categorize=False), dtype=np.uint64)


def _shared_keys(lines: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """Lines of a pool that one supplier has not begun to deliver share a key."""
    begun = (lines["received_quantity"].fillna(0) > 0) | lines["supplier_id"].isna()
    alone = begun | lines["for_order_line_id"].notna()
    names = pd.Series(pool_names(lines), index=lines.index) + "\x1f" + lines["supplier_id"].astype(object).astype(str)
    return hashed(names.mask(alone, lines["po_line_id"].astype(object)), "arrival")
