"""When each open line is served: the goods of each scenario given out in rank order, night after night."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from decisions.chances import N_SCENARIOS, NEVER, Chances, even_draws, hashed, uniform_draws
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import is_pinned

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LINES_AT_ONCE = 4096  # x 60 scenarios x 8 bytes are 2 MB an array
NEWLY_WAITING_DAYS = 14
FEWEST_NEWLY_WAITING = 50


@dataclass(frozen=True, eq=False)
class Claims:
    """Who stands in each pool; lines sorted by pool, then by pool rank; arrays of (n_lines,) or (n_pools,).

    Parameters
    ----------
    pool : place of each line's pool in the chances
    wants : units still missing
    ahead_share : share of new demand that will rank before the line
    left : units in the pool that nobody gets today
    units_per_day : new demand
    units_per_line : of it, mean size of a line
    receiving_days : from the day goods come until they are given out by rank
    """

    order_line_id: pd.Series
    pool: Codes
    wants: Floats
    ahead_share: Floats
    left: Floats
    units_per_day: Floats
    units_per_line: Floats
    receiving_days: int = 0


def claims_of(lines: pd.DataFrame, pool: Codes, pools: pd.DataFrame, receiving_days: int = 0) -> Claims:
    """Who wants what after today's goods are given out.

    Parameters
    ----------
    lines : sorted by pool, then pool_rank; with loss_if_waits and ship_now_quantity
    pool : place in `pools` of each
    pools : available_now, units_per_day, units_per_line
    """
    given = lines["ship_now_quantity"].to_numpy(np.float64)
    goods = pools["available_now"].to_numpy(np.float64)
    worth = (lines["loss_if_waits"] / lines["line_value"].where(lines["line_value"] > 0)).fillna(0.0)
    return Claims(
        lines["order_line_id"],
        pool,
        lines["open_quantity"].to_numpy(np.float64) - given,
        share_ahead(
            worth.to_numpy(np.float64),
            (lines["waited_days"] <= NEWLY_WAITING_DAYS).to_numpy(np.bool_),
            is_pinned(lines),
        ),
        np.maximum(goods - np.bincount(pool, given, minlength=len(goods)), 0.0),
        pools["units_per_day"].to_numpy(np.float64),
        pools["units_per_line"].to_numpy(np.float64),
        receiving_days,
    )


def service_days(claims: Claims, survival: Floats, chances: Chances) -> Floats:
    """Days from today until a line has all it wants if it is still wanted then; (n_lines, n_scenarios).

    At each chance the goods go to the lines by pool rank, to each only if all lines before it that are still wanted
    have theirs; that a small line may pass a large one is not counted on. A line before it counts until its customer
    cancels (drawn from its survival). So does new demand that will rank before it, and all that comes while goods lie
    for `receiving_days` and nobody keeps them for the ranks: compound Poisson by its mean and variance, twice the mean
    size of a line for each unit (as of sizes that are exponential), taken as normal. 0 for lines that miss nothing;
    `NEVER` past the last chance.

    Parameters
    ----------
    survival : chance still wanted u days on, (n_lines, n_days + 1)
    """
    days = np.full((len(claims.pool), N_SCENARIOS), NEVER)
    claims, pegged, after = _with_pegged(claims, chances)
    more_or_less = ndtri(even_draws(hashed(chances.pools["product_id"].astype(object), "new demand")))
    starts = np.flatnonzero(np.diff(claims.pool, prepend=-1))
    cuts = _cuts(starts, len(claims.pool))
    for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
        part = slice(begin, end)
        days[part] = _served(_only(claims, part), survival[part], chances, pegged[part], more_or_less)
    return np.asarray(np.maximum(days, after))


def _served(part: Claims, survival: Floats, chances: Chances, pegged: Floats, more_or_less: Floats) -> Floats:
    pool = part.pool
    first = np.searchsorted(pool, pool)  # place of the first line of each line's pool
    stays = uniform_draws(hashed(part.order_line_id, "stays"))
    line = np.arange(len(pool))[:, None]
    days = np.where((part.wants <= QUANTITY_TOLERANCE)[:, None], 0.0, NEVER) * np.ones(N_SCENARIOS)
    wants, share = part.wants[:, None], part.ahead_share[:, None]
    n_receipts = np.zeros((len(pool), N_SCENARIOS))
    # Running sums of a block are off by some 1e-16 of its total.
    slack = QUANTITY_TOLERANCE + 1e-12 * part.wants.sum()
    goods, used = np.repeat(part.left[pool][:, None], N_SCENARIOS, axis=1), np.zeros((len(pool), N_SCENARIOS))
    for chance in range(chances.day.shape[1]):
        day = chances.day[pool, chance]
        comes = np.isfinite(day)
        at = np.minimum(np.where(comes, day, 0), survival.shape[1] - 1).astype(np.int64)
        goods = goods + np.where(comes, chances.quantity[pool, chance], 0.0)
        days = np.where(np.isinf(days) & (pegged <= day), pegged, days)
        open_now = np.isinf(days)
        competes = open_now & (stays < survival[line, at])
        competing = np.where(competes, wants, 0.0)
        ahead = _running(competing, first) - competing
        n_receipts = n_receipts + comes
        lies = np.minimum(part.receiving_days * n_receipts, at + part.receiving_days)
        exposed_days = share * (at + part.receiving_days) + (1 - share) * lies
        mean = part.units_per_day[pool][:, None] * exposed_days
        spread = np.sqrt(mean * 2 * part.units_per_line[pool][:, None])
        new = np.maximum(mean + more_or_less[pool] * spread, 0.0)
        fits = open_now & comes & (used + ahead + new + wants <= goods + slack)
        days = np.where(fits, day, days)
        taken = np.where(fits & competes, wants, 0.0)
        used = used + np.add.reduceat(taken, np.unique(first), axis=0)[np.unique(first, return_inverse=True)[1]]
    return np.where(np.isinf(days), pegged, days)


def _running(values: Floats, first: Codes) -> Floats:
    """Sum of each line's values and those before it in its pool."""
    total = np.cumsum(values, axis=0)
    before = np.vstack([np.zeros((1, values.shape[1])), total])[first]
    return np.asarray(total - before)


def _with_pegged(claims: Claims, chances: Chances) -> tuple[Claims, Floats, Floats]:
    """Goods meant for one line: what it still wants of its pool, and the days that these serve it or are waited for.

    Where they are all that it wants, the day on which the last of them needed comes (first of the two arrays,
    (n_lines, n_scenarios), `NEVER` for others); where they are less, the pool gives the rest, and it waits for both.
    """
    shape = (len(claims.pool), N_SCENARIOS)
    wants, covered, after = claims.wants.copy(), np.full(shape, NEVER), np.zeros(shape)
    line = pd.Index(claims.order_line_id).get_indexer(pd.Index(chances.pegged_to))
    for place in np.unique(line[line >= 0]).tolist():
        mine = line == place
        order = np.argsort(chances.pegged_day[mine], axis=0, kind="stable")
        day = np.take_along_axis(chances.pegged_day[mine], order, axis=0)
        so_far = np.cumsum(chances.pegged_units[mine][order], axis=0)
        if so_far[-1, 0] >= wants[place] - QUANTITY_TOLERANCE:
            covered[place] = np.where(so_far >= wants[place] - QUANTITY_TOLERANCE, day, NEVER).min(axis=0)
        elif wants[place] > QUANTITY_TOLERANCE:
            wants[place], after[place] = wants[place] - so_far[-1, 0], day[-1]
    return replace(claims, wants=wants), covered, after


def _cuts(starts: Codes, n_lines: int) -> list[int]:
    """Ends of pools some thousand lines apart."""
    cuts = [0]
    for start in [*starts[1:].tolist(), n_lines]:
        if start - cuts[-1] >= LINES_AT_ONCE or start == n_lines:
            cuts.append(start)
    return cuts


def _only(claims: Claims, part: slice) -> Claims:
    of_lines = {name: getattr(claims, name)[part] for name in ("pool", "wants", "ahead_share")}
    return replace(claims, order_line_id=claims.order_line_id.iloc[part], **of_lines)


def share_ahead(worth: Floats, is_new: npt.NDArray[np.bool_], is_pinned: npt.NDArray[np.bool_]) -> Floats:
    """Share of the lines to come in each line's pool that will rank before it.

    Lines to come are taken to lose by waiting, per unit of price, what those lose that wait since a few days.

    Parameters
    ----------
    worth : loss_if_waits / line_value of each line
    is_new : waits since `NEWLY_WAITING_DAYS` or less; of fewer than `FEWEST_NEWLY_WAITING` all lines stand for them
    is_pinned : nothing new ranks before it

    >>> share_ahead(np.array([0.1, 0.3, 0.2]), np.ones(3, bool), np.zeros(3, bool)).round(2).tolist()
    [0.67, 0.0, 0.33]
    """
    others = np.sort(worth[is_new] if is_new.sum() >= FEWEST_NEWLY_WAITING else worth)
    ahead = 1 - np.searchsorted(others, worth, side="right") / max(len(others), 1)
    return np.where(is_pinned, 0.0, ahead)
