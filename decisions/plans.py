"""The best plan of the stated programme: sorted where that is enough, else by an interior point, else by HiGHS."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.pools_at_once import cut_anywhere
from decisions.programme import NOW, Programme, bound_at, by_pool, excess, loss_if_waits, money_lost
from decisions.programme_highs import plan_by_highs
from decisions.programme_interior import plan_by_interior_point

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SERVED_IN_FULL = 1 - 1e-6
OPEN_GAP = 1e-7  # of the money at stake


@dataclass(frozen=True)
class Plan:
    """What was planned, and how well.

    Parameters
    ----------
    served : (n_lines, n_chances), share of each line planned for each chance [x]; the rest is not served
    price : (n_pools, n_chances), money that one more unit then would save [v]
    value : (n_pools,), money lost in expectation under the plan
    bound : (n_pools,), no plan loses less (the dual's value at `price`)
    is_sorted : (n_pools,), found by sorting alone: later goods have no price
    """

    served: Floats
    price: Floats
    value: Floats
    bound: Floats
    is_sorted: Flags


def best_plan(programme: Programme) -> Plan:
    """Plan every pool, and prove it: `value` and `bound` meet within some 1e-9 of the money at stake.

    Prices of later chances lie between the least and the greatest that prove the plan; that of now is the least, what
    the best line left without goods loses by waiting, per unit.
    """
    plan = plan_by_sorting(programme)
    hard = np.flatnonzero(~plan.is_sorted)
    if not len(hard):
        return plan
    of_hard = ~plan.is_sorted[programme.pool]
    part = programme.only(hard)
    served, price = _proven(part, *plan_by_interior_point(part))
    price = _with_least_price_of_now(part, served, price)
    plan.served[of_hard], plan.price[hard] = served, price
    plan.value[hard], plan.bound[hard] = money_lost(part, served), bound_at(part, price)
    return plan


def _proven(programme: Programme, served: Floats, price: Floats) -> tuple[Floats, Floats]:
    """Let HiGHS plan the few pools whose gap stayed open, where money and units of the lines differ by many powers."""
    gap = money_lost(programme, served) - bound_at(programme, price)
    at_stake = by_pool(programme, np.abs(programme.cost_without))
    is_open = ~(gap <= OPEN_GAP * np.maximum(at_stake, 1.0))
    if is_open.any():
        lines = is_open[programme.pool]
        served[lines], price[is_open] = plan_by_highs(programme.only(np.flatnonzero(is_open)))
    return served, price


def _with_least_price_of_now(programme: Programme, served: Floats, price: Floats) -> Floats:
    """What the best line left without goods now would lose per unit, wherever that proves the plan no less."""
    is_left = np.isfinite(programme.cost[:, NOW]) & (served[:, NOW] < SERVED_IN_FULL)
    worth = (loss_if_waits(programme, price) - np.where(is_left, programme.cost[:, NOW], 0.0)) / programme.units[:, NOW]
    least = price.copy()
    least[:, NOW] = 0.0
    np.maximum.at(least[:, NOW], programme.pool[is_left], worth[is_left])
    before, after = bound_at(programme, price), bound_at(programme, least)
    proves = after >= before - 1e-9 * np.maximum(np.abs(before), 1.0)
    return np.where(proves[:, None], least, price)


def plan_by_sorting(programme: Programme) -> Plan:
    """Serve who loses most by waiting, the others at the chance where they lose least, as if later goods cost nothing.

    Optimal wherever later goods suffice for what is then asked of them (`is_sorted`): the plan keeps to the goods and
    meets the bound at the price of now. So it is where one chance clears the backlog.
    """
    n_lines, n_chances = programme.cost.shape
    free = np.zeros(programme.goods.shape)
    waits = loss_if_waits(programme, free)
    worth = np.where(np.isfinite(programme.cost[:, NOW]), (waits - programme.cost[:, NOW]), -np.inf)
    worth = worth / programme.units[:, NOW]
    served = np.zeros((n_lines, n_chances))
    served[:, NOW] = _served_now(programme, worth)
    if n_chances > 1:
        # Of chances that are alike the last: it leaves the sooner goods to others.
        best = n_chances - 1 - programme.cost[:, :0:-1].argmin(axis=1)
        later = programme.cost[np.arange(n_lines), best] < programme.cost_without
        served[np.flatnonzero(later), best[later]] = 1 - served[later, NOW]
    price = free
    np.maximum.at(price[:, NOW], programme.pool, np.where(served[:, NOW] < 1, worth, 0.0))
    is_sorted: Flags = np.asarray((excess(programme, served) <= QUANTITY_TOLERANCE).all(axis=1))
    return Plan(served, price, money_lost(programme, served), bound_at(programme, price), is_sorted)


def _served_now(programme: Programme, worth: Floats) -> Floats:
    """Share of each line served now if goods go to the lines by worth, none to those that lose nothing by waiting."""
    wants = np.where(worth > 0, programme.units[:, NOW], 0.0)
    order = np.lexsort((-worth, programme.pool))
    given = cut_anywhere(wants[order], programme.pool[order], programme.goods[:, NOW])
    share = np.zeros(len(worth))
    share[order] = given / programme.units[order, NOW]
    return share
