"""The morning's open lines as the stated programme, and what its prices say of every line."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.cost_by_chance import ChanceCosts
from decisions.cost_of_waiting import frame_of
from decisions.later_goods import LaterGoods
from decisions.limits import Limits
from decisions.loss_of_choice import LossOfChoice
from decisions.plans import Plan, best_plan
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.programme import NOW, Programme, bound_at, kept_from_now
from decisions.ranking import is_excluded
from decisions.ship_groups import ShipGroups, ships_whole
from decisions.wishes import lines_that_may_have, pinned_units

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STATED = (
    "least sum of money lost in expectation if lines are served now, at their pool's later chances or never: each line"
    " once, the units taken up to every chance in expectation within the goods that have come, what lies here given out"
    " now; lines in parts, ship groups apart, lines that cost more to serve left out, so that no plan loses less than"
    " the bound"
)
PROVEN = 1e-6  # of the money that the pool's lines lose if none of them is served
AT_PRICE = 1e-6  # of the price: lines that the plan is indifferent about, up to the solver's tolerance


@dataclass(frozen=True, eq=False)
class PricedWaits:
    """What passing each line over loses at the programme's prices, and what the plan gives it now.

    Parameters
    ----------
    costs : indexed like the lines: loss_if_waits [W] and its four terms, p_cancel_14d, p_lost, future_share
    planned : indexed like the lines: planned_quantity (units that the plan gives now), is_at_price (one unit less or
        more for it changes nothing), later_chance (at which W is least: 1 the next receipt, 2 the one after, ...; 0:
        without the pool's goods)
    programme, plan : of all pools, what pins take set aside
    loss : the same with all of today's goods still to be given
    """

    costs: pd.DataFrame
    planned: pd.DataFrame
    programme: Programme
    plan: Plan
    loss: LossOfChoice


def priced_waits(
    lines: pd.DataFrame,
    costs: ChanceCosts,
    later: LaterGoods,
    goods: Floats,
    pool: Codes,
    limits: Limits,
    cancel_share: float,
) -> PricedWaits:
    """Plan now and the later chances for all lines, and price every line's wait by what later goods are worth.

    W is the least over the later chances of what the line loses until then and the price of the units it takes then;
    its terms are those of that chance, the soonest of equals. Pins and confirmations that are kept have their goods
    before anybody else and what is left of them is planned for like the others. Held lines and those that cannot ship
    today are planned for later only, excluded ones not at all; every line has its W all the same.

    Parameters
    ----------
    lines : open lines, as `give_out` takes them, but for loss_if_waits
    goods : (n_pools,), units here now
    pool : row of each line's pool
    limits : what rules allow the lines today; of them the plan knows what is kept for a line and who gets nothing
    cancel_share : part of the expected cancellations counted on when later goods are planned, 0 to 1; with 0 goods are
        kept for lines that will have gone (minimum-cost flow, the conservative variant)
    """
    order = np.lexsort((pd.factorize(lines["order_line_id"], sort=True)[0], pool))
    quantity = lines["open_quantity"].to_numpy(np.float64)
    later_units = quantity[:, None] * (1 - cancel_share * (1 - costs.wanted))
    pinned = _served_first(lines, goods, pool, limits)
    part = np.where(is_excluded(lines), 0.0, np.maximum(1 - pinned / quantity, 0.0))
    rows = order[part[order] > QUANTITY_TOLERANCE]
    left = np.maximum(goods - np.bincount(pool, pinned, minlength=len(goods)), 0.0)
    share, total = part[rows, None], costs.total
    never_now = np.where(_may_ship_now(lines, goods, pool, limits), 0.0, np.inf)
    programme = Programme(
        pool[rows],
        np.concatenate([never_now[rows, None], share * total[rows, :-1]], axis=1),
        share * np.concatenate([quantity[rows, None], np.maximum(later_units[rows], 0.0)], axis=1),
        part[rows] * total[rows, -1],
        np.concatenate([left[:, None], later.goods], axis=1),
    )
    plan = best_plan(programme)
    price = plan.price[:, NOW + 1 :]
    priced, later_chance = _at_best_chance(lines, costs, price[pool] * later_units)
    priced = priced.join(costs.said)
    planned = _planned(lines, priced, pool, plan, rows, part[rows]).assign(later_chance=later_chance)
    all_goods = np.concatenate([goods[:, None], later.goods], axis=1)
    loss = LossOfChoice(pool, quantity, total[:, :-1], later_units, total[:, -1], all_goods)
    return PricedWaits(priced, planned, programme, plan, loss)


@dataclass(frozen=True)
class Judgement:
    """How much what is given out now can lose, at most, more than the best plan of the stated programme (money)."""

    programme: str
    lost: float  # by all lines, if what is left after today is planned as well as can be
    bound: float  # no plan loses less
    gap: float
    n_pools: int
    n_proven: int  # pools where nothing better exists
    methods: dict[str, int]  # pools whose prices come from sorting alone, and from the plan of all chances


def judged(waits: PricedWaits, lines: pd.DataFrame) -> Judgement:
    """Plan the later chances anew for what the lines still want, and hold what is then lost against the bound.

    Where lines that ship whole or in steps leave goods over, these serve later; the bound allows for that. Excluded
    lines count as never served.

    Parameters
    ----------
    lines : with ship_now_quantity
    """
    now, is_out = waits.programme, is_excluded(lines)
    lost = waits.loss.by_pool(lines["ship_now_quantity"].to_numpy(np.float64), is_out)
    never = np.bincount(waits.loss.pool[is_out], waits.loss.cost_without[is_out], minlength=len(lost))
    bound = np.minimum(_bound_with_goods_left(now, waits.plan) + never, lost)
    at_stake = np.maximum(np.bincount(now.pool, np.abs(now.cost_without), minlength=len(lost)), 1.0)
    n_sorted = int(waits.plan.is_sorted.sum())
    return Judgement(
        programme=STATED,
        lost=float(lost.sum()),
        bound=float(bound.sum()),
        gap=float((lost - bound).sum()),
        n_pools=len(lost),
        n_proven=int((lost - bound <= PROVEN * at_stake).sum()),
        methods={"planned": len(lost) - n_sorted, "sorted": n_sorted},
    )


def _bound_with_goods_left(programme: Programme, plan: Plan) -> Floats:
    """No choice of today loses less, goods that it leaves for later included; (n_pools,).

    If goods may be kept, a unit now is worth no less than one at the next chance: at such prices the Lagrangian of now
    and of all goods up to each later chance bounds every choice.
    """
    price = plan.price.copy()
    price[:, NOW] = price[:, NOW : NOW + 2].max(axis=1)
    kept = price[:, NOW + 1] * kept_from_now(programme)  # bound_at counts them twice
    return np.minimum(plan.bound, bound_at(programme, price) + kept)


def _at_best_chance(lines: pd.DataFrame, costs: ChanceCosts, later_goods: Floats) -> tuple[pd.DataFrame, Codes]:
    """W and its terms at the chance where they are least, and which that is: 1 the next, 0 without the pool's goods."""
    paid = np.concatenate([later_goods, np.zeros((len(lines), 1))], axis=1)
    best = (costs.total + paid).argmin(axis=1)
    row = np.arange(len(lines))
    nth = np.where(best < later_goods.shape[1], best + 1, 0).astype(np.int64)
    return frame_of(lines, costs.terms[row, best], paid[row, best]), nth


def _planned(
    lines: pd.DataFrame, priced: pd.DataFrame, pool: Codes, plan: Plan, rows: Codes, part: Floats
) -> pd.DataFrame:
    quantity = lines["open_quantity"].to_numpy(np.float64)
    units = np.zeros(len(lines))
    units[rows] = plan.served[:, NOW] * part * quantity[rows]
    price = plan.price[pool, NOW]
    gap = np.abs(priced["loss_if_waits"].to_numpy(np.float64) / quantity - price)
    found = {"planned_quantity": units, "is_at_price": (price > 0) & (gap <= AT_PRICE * price)}
    return pd.DataFrame(found, index=lines.index)


def _served_first(lines: pd.DataFrame, goods: Floats, pool: Codes, limits: Limits) -> Floats:
    """Units of pins and kept confirmations; where a pool has too few for them, all get the same share of their wish."""
    kept = np.where(lines_that_may_have(lines, limits), limits.least, 0.0)
    asked = np.minimum(np.maximum(pinned_units(lines), kept), lines["open_quantity"].to_numpy(np.float64))
    asked = np.where(_too_large(lines, asked, goods, pool), 0.0, asked)
    of_pool = np.bincount(pool, asked, minlength=len(goods))
    share = np.divide(goods, of_pool, out=np.ones(len(goods)), where=of_pool > goods)
    return np.asarray(asked * share[pool])


def _may_ship_now(lines: pd.DataFrame, goods: Floats, pool: Codes, limits: Limits) -> Flags:
    """Lines that could leave today: allowed to, and no whole line that is too large for its pool or its limit."""
    most = np.minimum(limits.most, goods[pool]) + QUANTITY_TOLERANCE
    fits = np.where(ships_whole(lines), lines["open_quantity"].to_numpy(np.float64) <= most, limits.most > 0)
    may: Flags = lines_that_may_have(lines, limits) & fits
    return may


def _too_large(lines: pd.DataFrame, asked: Floats, goods: Floats, pool: Codes) -> Flags:
    """Lines that ship whole, and ship groups, for which a pool has too little: they cannot leave, others can."""
    groups = ShipGroups.of(lines)
    alone = groups.code.max(initial=-1) + 1 + np.arange(len(lines))
    together = np.where(groups.code >= 0, groups.code, alone) * len(goods) + pool
    place = np.unique(together, return_inverse=True)[1]
    is_short = np.bincount(place, asked)[place] > goods[pool] + QUANTITY_TOLERANCE
    found: Flags = groups.of_each(ships_whole(lines) & is_short, np.logical_or)
    return found
