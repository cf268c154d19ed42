"""The goods that are here given to the lines that lose most without them, with a proof of how well."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE, share_out, take_in_order
from decisions.ranking import is_held
from decisions.ship_groups import complete_groups, groups_that_still_fit, split_groups
from decisions.wishes import Wishes, wishes_of

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PROGRAMME = (
    "greatest sum of loss_if_waits x share shipped now; pinned lines first, then lines that lose by waiting, then, so"
    " that no goods stay on the shelf, lines that cost more to serve than to pass over"
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
    """Units each line gets now, indexed like the lines, and one row per pool."""

    ship_now_quantity: pd.Series
    pools: pd.DataFrame
    certificate: Certificate


@dataclass(frozen=True)
class Tally:
    """How far the giving has come: per line, then per pool."""

    given: Floats
    left: Floats
    value: Floats
    bound: Floats
    method: npt.NDArray[np.object_]


def give_out(lines: pd.DataFrame, available: pd.DataFrame, policy: Policy) -> Allocation:
    """Give each pool's goods to its lines so that as little as possible is lost by waiting.

    Pinned lines are served first, up to override_quantity where they may be split. Held and excluded lines and those
    of customers on credit hold get nothing. Lines with may_split ship multiples of quantity_step or all they want,
    others all or nothing; lines of one ship_group each ship in whole, together or not at all. A line that does not
    fit is skipped and later ones may take the goods, so none stay on the shelf while a line that may have them waits.

    Parameters
    ----------
    lines : open lines with loss_if_waits [W], open_quantity [q], override and override_quantity
    available : one row per pool: product_id, warehouse_id, available_now
    policy : exact_pool_cells limits how large a pool is solved exactly

    Returns
    -------
    Allocation. pools has product_id, warehouse_id, available_now, given, stock_price, value, bound, gap, method:
    "sorted" (by W / q, meets the bound), "exact" (dynamic programming) and "idle" (no goods or nobody who may have
    them) are optimal, "greedy" is at most gap from it.

    Raises
    ------
    ValueError
        If a pool is missing or twice in `available`, or a quantity or loss is no usable number.

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
    pools = available.sort_values(["product_id", "warehouse_id"], kind="stable", ignore_index=True)
    _check(lines, pools)
    pool = _pool_of(lines, pools)
    goods = pools["available_now"].to_numpy(np.float64)
    tally = _give_with_groups(lines, pool, goods, policy)
    table = pools[["product_id", "warehouse_id", "available_now"]].assign(
        given=np.bincount(pool, weights=tally.given, minlength=len(pools)),
        stock_price=_stock_price(lines, pool, tally),
        value=tally.value,
        bound=tally.bound,
        gap=tally.bound - tally.value,
        method=pd.Series(tally.method, dtype="str"),
    )
    return Allocation(pd.Series(tally.given, index=lines.index, name="ship_now_quantity"), table, _certify(table))


def _give_with_groups(lines: pd.DataFrame, pool: Codes, goods: Floats, policy: Policy) -> Tally:
    """Give out, passing over ship groups that do not come out complete, until all that ship are complete.

    The bound stays that of the first pass, where group lines compete one by one: tying them can only save less.
    """
    may_have = ~is_held(lines) & ~split_groups(lines, is_held(lines))
    first = tally = _give(wishes_of(lines, pool, may_have), goods, policy, len(lines))
    while (broken := ~complete_groups(lines, tally.given) & may_have).any():
        may_have &= ~broken
        tally = _give(wishes_of(lines, pool, may_have), goods, policy, len(lines))
    if tally is first:
        return tally
    extra = groups_that_still_fit(lines, pool, ~is_held(lines), tally.given, tally.left)
    worth = (lines["loss_if_waits"] / lines["open_quantity"]).to_numpy(np.float64)
    value = tally.value + np.bincount(pool, weights=extra * worth, minlength=len(goods))
    left = tally.left - np.bincount(pool, weights=extra, minlength=len(goods))
    bound = np.maximum(first.bound, value)
    method = np.where(bound - value > 1e-9 * np.maximum(1, bound), "greedy", tally.method)
    return replace(tally, given=tally.given + extra, left=left, value=value, bound=bound, method=method)


def _give(wishes: Wishes, goods: Floats, policy: Policy, n_lines: int) -> Tally:
    """Serve the three turns one after the other from what the turn before has left."""
    zero = np.zeros(len(goods))
    tally = Tally(np.zeros(n_lines), goods.copy(), zero, zero, np.full(len(goods), "idle", dtype=object))
    for turn in (0, 1, 2):
        tally = _serve(wishes.only(wishes.turn == turn), tally, policy.exact_pool_cells if turn == 1 else None)
    return tally


def _serve(wishes: Wishes, tally: Tally, cell_limit: int | None) -> Tally:
    """Give the goods left to one turn's claims; without a cell limit strictly in their order.

    Sorted claims and a running sum serve all pools at once; only pools where that would cut a claim that may not be
    cut there go through their claims one by one.
    """
    claims, pool = wishes.claims, wishes.pool
    given = _cut_anywhere(claims.quantity, pool, tally.left)
    value = np.bincount(pool, weights=given * claims.worth, minlength=len(tally.left))
    bound, method = value.copy(), tally.method.copy()
    method[np.unique(pool[given > 0])] = "sorted"
    for start, end in _runs(pool, _needs_care(wishes, given)):
        here, k = wishes.only(slice(start, end)).claims, pool[start]
        if cell_limit is None:
            given[start:end] = take_in_order(here, np.zeros(end - start), tally.left[k])
            bound[k] = given[start:end] @ here.worth
        else:
            share = share_out(here, tally.left[k], cell_limit)
            given[start:end], bound[k], method[k] = share.given, share.bound, share.method
        value[k] = given[start:end] @ here.worth
    left = np.maximum(tally.left - np.bincount(pool, weights=given, minlength=len(tally.left)), 0)
    per_line = tally.given + np.bincount(wishes.line, weights=given, minlength=len(tally.given))
    return Tally(per_line, left, tally.value + value, tally.bound + np.maximum(bound, value), method)


def _cut_anywhere(quantity: Floats, pool: Codes, left: Floats) -> Floats:
    """Give each pool's goods to its claims in order as if all could be cut anywhere."""
    before = np.cumsum(quantity) - quantity
    starts = np.flatnonzero(np.diff(pool, prepend=-1))
    lengths = np.diff(np.append(starts, len(pool)))
    before -= np.repeat(before[starts], lengths)
    return np.clip(left[pool] - before, 0, quantity)


def _needs_care(wishes: Wishes, given: Floats) -> Flags:
    """Claims that cannot ship what cutting anywhere would give them."""
    claims = wishes.claims
    is_cut = (given > 0) & (given < claims.quantity)
    off_step = claims.is_whole | (given % claims.step != 0)
    care: Flags = is_cut & off_step
    return care


def _runs(pool: Codes, needs_care: Flags) -> list[tuple[int, int]]:
    """Start and end of each pool in which any claim needs care."""
    concerned = np.unique(pool[needs_care])
    starts, ends = np.searchsorted(pool, concerned, side="left"), np.searchsorted(pool, concerned, side="right")
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _stock_price(lines: pd.DataFrame, pool: Codes, tally: Tally) -> Floats:
    """W per unit of the best line left without goods or served in part; 0 where goods are left, never below 0.

    Held and excluded lines set no price: one more unit would not go to them.
    """
    quantity = lines["open_quantity"].to_numpy(np.float64)
    without = ~is_held(lines) & (tally.given < quantity - QUANTITY_TOLERANCE)
    price = np.zeros(len(tally.left))
    np.maximum.at(price, pool[without], (lines["loss_if_waits"].to_numpy(np.float64) / quantity)[without])
    return np.where(tally.left > QUANTITY_TOLERANCE, 0.0, price)


def _certify(pools: pd.DataFrame) -> Certificate:
    value, bound = float(pools["value"].sum()), float(pools["bound"].sum())
    methods = {str(name): int(count) for name, count in pools["method"].value_counts().sort_index().items()}
    n_proven = int((pools["method"] != "greedy").sum())
    return Certificate(PROGRAMME, value, bound, float(pools["gap"].sum()), len(pools), n_proven, methods)


def _pool_of(lines: pd.DataFrame, pools: pd.DataFrame) -> Codes:
    """Row of each line's pool."""
    keys = ["product_id", "warehouse_id"]
    numbered = pools[keys].assign(pool=np.arange(len(pools)))
    pool = lines[keys].merge(numbered, on=keys, how="left", validate="many_to_one")["pool"].to_numpy(np.float64)
    _refuse(lines, np.isnan(pool), "the pool (product_id, warehouse_id) is not in the table of pools")
    return pool.astype(np.int64)


def _check(lines: pd.DataFrame, pools: pd.DataFrame) -> None:
    """Refuse, once and at the door, what would give goods out wrongly."""
    n_twice = int(pools.duplicated(["product_id", "warehouse_id"]).sum())
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
