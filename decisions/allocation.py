"""The goods that are here given to the lines that lose most without them, with a proof of how well."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.group_programme import serve_groups
from decisions.limits import Limits
from decisions.passed_over import passed_over
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, is_held, loss_per_unit, sorted_pools
from decisions.tied_goods import pools_tied, protect, release, serve_in_order, still_waiting
from decisions.turns import Tally, serve_pools
from decisions.wishes import TYPED, Wishes, lines_that_may_have, wishes_of
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PROGRAMME = (
    "greatest sum of loss_if_waits x share shipped now, stage by stage from what the stage before has left:"
    " pinned lines, confirmations that are kept, then turn by turn typed sequences in order, lines that lose by waiting"
    " and, so that no goods stay on the shelf, lines that cost more to serve than to pass over; ship groups together or"
    " not at all; goods protected for a segment go to it alone, what it leaves of them, unless kept, is offered again"
)


@dataclass(frozen=True)
class Certificate:
    """What was solved over all pools, and how far from the best it can be at most (money)."""

    programme: str
    value: float
    bound: float
    gap: float
    n_pools: int
    n_proven: int  # pools where nothing better exists
    methods: dict[str, int]  # pools by method


@dataclass(frozen=True)
class Allocation:
    """Units each line gets now and why one was passed over, indexed like the lines, and one row per pool."""

    ship_now_quantity: pd.Series
    passed_over: pd.Series  # key of passed_over.MEANING, null: nothing to say
    pools: pd.DataFrame
    certificate: Certificate


def give_out(lines: pd.DataFrame, available: pd.DataFrame, policy: Policy, limits: Limits | None = None) -> Allocation:
    """Give each pool's goods to its lines so that as little as possible is lost by waiting.

    Pinned lines are served first, up to override_quantity where they may be split. Held and excluded lines and those
    of customers on credit hold get nothing. Lines with may_split ship multiples of quantity_step or all they want,
    others all or nothing; lines of one ship_group each ship in whole, together or not at all. A line that does not
    fit is skipped and later ones may take the goods, so none stay on the shelf while a line that may have them waits.
    A part of a line that saves no more than shipment_cost may not ship, even if its goods then stay.

    A pin outranks every limit. A whole line that is allowed less than it wants gets nothing; of a confirmation that is
    kept it gets all or nothing. Where goods are protected, lines take their segment's first, then those for all, in
    order: the best for divisible lines, at most `gap` from it for whole ones.

    Parameters
    ----------
    lines : open lines with loss_if_waits [W], open_quantity [q], override and override_quantity; planned_quantity and
        is_at_price if a plan made them: among the divisible lines that stand at their pool's price now, whose W / q
        counts as equal, those units go first
    available : one row per pool: product_id, warehouse_id, available_now
    policy : exact_pool_cells limits how large a pool is solved exactly; shipment_cost
    limits : rules of the site, in the order of the lines and of the pools' ids; None: none

    Returns
    -------
    Allocation. pools has product_id, warehouse_id, available_now, given, stock_price, value, bound, gap, method:
    "sorted" (in order, by W / q meets the bound), "exact" (dynamic programming; ship groups: meets the bound over all
    pools they tie together) and "idle" (no goods or nobody who may have them) are optimal, "greedy" is at most gap
    from it.

    Raises
    ------
    ValueError
        If a pool is missing or twice in `available`, a quantity or loss is no usable number, or limits do not fit.

    One unit, and 18.38 lost by A against 8.61 by B: A ships, and one more unit would be worth 8.61.

    >>> lines = pd.DataFrame({"order_line_id": ["A", "B"], "product_id": "p", "warehouse_id": "w", "ship_group": None,
    ...     "group_waits_elsewhere": False, "loss_if_waits": [18.38, 8.61], "open_quantity": 1.0,
    ...     "quantity_step": 1.0, "may_split": False,
    ...     "due_on": np.datetime64("2026-01-05", "s"), "credit_hold": False, "override": None,
    ...     "override_quantity": np.nan})
    >>> available = pd.DataFrame({"product_id": ["p"], "warehouse_id": ["w"], "available_now": [1.0]})
    >>> allocation = give_out(lines, available, Policy())
    >>> allocation.ship_now_quantity.tolist(), allocation.pools["stock_price"].tolist()
    ([1.0, 0.0], [8.61])
    """
    pools = sorted_pools(available)
    limits = Limits.none(len(lines), len(pools)) if limits is None else limits
    _check(lines, pools, limits)
    pool = places_in(pools, lines)
    _refuse(lines, pool < 0, "the pool (product_id, warehouse_id) is not in the table of pools")
    goods = pools["available_now"].to_numpy(np.float64)
    wishes = wishes_of(lines, pool, lines_that_may_have(lines, limits), limits, policy.shipment_cost)
    tally = _give(wishes, lines, goods, limits, policy)
    passed = passed_over(lines, pool, wishes, tally, limits)
    table = pools[["product_id", "warehouse_id", "available_now"]].assign(
        given=tally.taken,
        stock_price=_stock_price(lines, pool, tally, passed),
        value=tally.value,
        bound=tally.value + tally.gap,
        gap=tally.gap,
        method=pd.Series(tally.method, dtype="str"),
    )
    given = pd.Series(tally.given, index=lines.index, name="ship_now_quantity")
    return Allocation(given, passed, table, _certify(table))


def _give(wishes: Wishes, lines: pd.DataFrame, goods: Floats, limits: Limits, policy: Policy) -> Tally:
    """Serve one stage after the other from what those before it have left.

    Goods are protected once pins and kept confirmations are served; what is not used of goods that need not stay is
    offered to all that still wait, in the same order.
    """
    saves = loss_per_unit(lines)
    tally = Tally.of_full_shelves(goods, len(lines), len(limits.is_kept))
    if not limits.protected.any():
        return _serve_stages(wishes, tally, lines, saves, policy)
    before = wishes.stage < TYPED
    first = _serve_stages(wishes.only(before), tally, lines, saves, policy)
    kept_for_segments = protect(first, wishes, limits)
    wishes = wishes.only(~before)
    tally = _serve_stages(wishes, kept_for_segments, lines, saves, policy)
    is_freed: Flags = np.any(tally.own[~limits.is_kept] > QUANTITY_TOLERANCE, axis=0)
    # A group is offered goods of all its pools again: it leaves from all of them or from none.
    again = is_freed[wishes.pool]
    again |= (wishes.group >= 0) & np.isin(wishes.group, wishes.group[again])
    waiting, tally = wishes.only(again), release(tally, limits)
    return _serve_stages(still_waiting(waiting, first, tally), tally, lines, saves, policy)


def _serve_stages(wishes: Wishes, tally: Tally, lines: pd.DataFrame, saves: Floats, policy: Policy) -> Tally:
    """Serve pools on their own where nothing ties them, else in order or by the programme for ship groups."""
    is_protected: Flags = np.any(tally.own > 0, axis=0)
    for stage in np.unique(wishes.stage):
        here = wishes if (wishes.stage == stage).all() else wishes.only(wishes.stage == stage)
        tied, in_order = pools_tied(here, is_protected)
        alone = ~(tied | in_order)[here.pool]
        tally = serve_pools(here if alone.all() else here.only(alone), tally, saves, policy)
        tally = serve_in_order(here.only(in_order[here.pool]), tally, lines, saves)
        tally = serve_groups(here.only(tied[here.pool]), tally, lines, saves, policy)
    return tally


def _stock_price(lines: pd.DataFrame, pool: Codes, tally: Tally, passed: pd.Series) -> Floats:
    """W per unit of the best line left without goods or served in part; 0 where goods are left, never below 0.

    Held and excluded lines and those that may have no more set no price: one more unit would not go to them. Goods that
    are kept for a segment are not left.
    """
    quantity = lines["open_quantity"].to_numpy(np.float64)
    may_have_more = ~is_held(lines) & (passed != "limit").to_numpy(np.bool_)
    without = may_have_more & (tally.given < quantity - QUANTITY_TOLERANCE)
    price = np.zeros(len(tally.left))
    np.maximum.at(price, pool[without], (lines["loss_if_waits"].to_numpy(np.float64) / quantity)[without])
    return np.where(tally.left - tally.own.sum(axis=0) > QUANTITY_TOLERANCE, 0.0, price)


def _certify(pools: pd.DataFrame) -> Certificate:
    value, bound = float(pools["value"].sum()), float(pools["bound"].sum())
    methods = {str(name): int(count) for name, count in pools["method"].value_counts().sort_index().items()}
    n_proven = int((pools["method"] != "greedy").sum())
    return Certificate(PROGRAMME, value, bound, float(pools["gap"].sum()), len(pools), n_proven, methods)


def _check(lines: pd.DataFrame, pools: pd.DataFrame, limits: Limits) -> None:
    """Refuse, once and at the door, what would give goods out wrongly."""
    size = len(limits.turn), limits.protected.shape[1]
    if size != (len(lines), len(pools)):
        raise ValueError(f"allocation: limits for {size} lines and pools, not {len(lines), len(pools)}; make them anew")
    n_twice = int(pools.duplicated(POOL_IDS).sum())
    goods = pools["available_now"].to_numpy(np.float64, na_value=np.nan)
    n_bad = int((~(np.isfinite(goods) & (goods >= 0))).sum())
    if n_twice or n_bad:
        raise ValueError(
            f"allocation: of {len(pools)} pools {n_twice} stand twice and {n_bad} have no available_now >= 0;"
            " give one row per product and warehouse"
        )
    loss = lines["loss_if_waits"].to_numpy(np.float64, na_value=np.nan)
    _refuse(lines, ~np.isfinite(loss), "loss_if_waits is missing or infinite")
    for name in ("open_quantity", "quantity_step"):
        values = lines[name].to_numpy(np.float64, na_value=np.nan)
        _refuse(lines, ~(np.isfinite(values) & (values > 0)), f"{name} is not above 0")
    unknown = ~lines["override"].isin(["pin", "hold", "exclude"]) & lines["override"].notna()
    _refuse(lines, unknown.to_numpy(np.bool_), "override is none of pin, hold, exclude")


def _refuse(lines: pd.DataFrame, is_bad: Flags, what: str) -> None:
    if is_bad.any():
        ids = lines.loc[is_bad, "order_line_id"].tolist()
        raise ValueError(
            f"allocation: {what} in {len(ids)} of {len(lines)} lines, e.g. order_line_id {sorted(ids)[:3]};"
            " mend the table they come from"
        )
