"""In which order lines stand: within their pool by money per unit, across pools by the money of the pools' heads."""

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

POOL_IDS = ["product_id", "warehouse_id"]
DUE_BY = ["order_line_id", "due_on"]  # all that `due_order` reads: to take rows of every column would take longest


def due_order(lines: pd.DataFrame) -> Codes:
    """Place of each line by due day, then order_line_id: the order that settles every tie."""
    by_id = pd.factorize(lines["order_line_id"], sort=True)[0]
    due = lines["due_on"].to_numpy().astype("datetime64[s]").astype(np.int64)
    return places_of(np.lexsort((by_id, due)))


def pool_codes(lines: pd.DataFrame) -> Codes:
    """Give the pools (a product in a warehouse) the numbers 0, 1, ... in the order of their ids."""
    product = pd.factorize(lines["product_id"], sort=True)[0].astype(np.int64)
    warehouse = pd.factorize(lines["warehouse_id"], sort=True)[0].astype(np.int64)
    return np.unique(product * (warehouse.max(initial=0) + 1) + warehouse, return_inverse=True)[1].astype(np.int64)


def sorted_pools(pools: pd.DataFrame) -> pd.DataFrame:
    """Put pools in the order of their ids, in which limits and allocations have them."""
    return pools.sort_values(POOL_IDS, kind="stable", ignore_index=True)


def loss_per_unit(lines: pd.DataFrame) -> Floats:
    """Money that each line loses per open unit by waiting [W / q], by which a pool's lines stand; (n_lines,)."""
    return (lines["loss_if_waits"] / lines["open_quantity"]).to_numpy(np.float64)


def is_held(lines: pd.DataFrame) -> Flags:
    """Lines that get no goods today: held or excluded by a planner, or the customer is on credit hold.

    A pin does not lift a credit hold: that block is not the planner's to lift.
    """
    by_planner = lines["override"].isin(["hold", "exclude"]).to_numpy(np.bool_)
    held: Flags = by_planner | lines["credit_hold"].to_numpy(np.bool_)
    return held


def is_excluded(lines: pd.DataFrame) -> Flags:
    """Lines that a planner took out: later goods are not counted for them either."""
    return (lines["override"] == "exclude").fillna(False).to_numpy(np.bool_)


def is_pinned(lines: pd.DataFrame) -> Flags:
    """Lines that are served first because a planner said so."""
    return (lines["override"] == "pin").fillna(False).to_numpy(np.bool_) & ~is_held(lines)


def rank_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Rank every open line: rank, pool_rank and pool_size, indexed like lines.

    Within a pool: pinned lines, then by falling loss_if_waits per unit; held, excluded and discontinued lines last.
    The pools' lists are merged by always taking the head with the greatest loss_if_waits; the last ones stand after
    all others of every pool. Ties: earlier due day, then order_line_id.

    >>> lines = pd.DataFrame({"order_line_id": ["a", "b", "c"], "product_id": ["p", "p", "q"], "warehouse_id": "w",
    ...     "loss_if_waits": [30.0, 10.0, 20.0], "open_quantity": [10.0, 1.0, 1.0], "override": None,
    ...     "due_on": np.datetime64("2026-01-05", "s"), "credit_hold": False, "is_discontinued": False})
    >>> rank_lines(lines)["rank"].tolist()  # a loses most, but b goes before it for its pool's goods
    [3, 2, 1]
    """
    due, pool = due_order(lines), pool_codes(lines)
    turn = _turn(lines)
    loss = lines["loss_if_waits"].to_numpy(np.float64)
    in_pool = np.lexsort((due, -loss_per_unit(lines), turn, pool))
    place = places_of(in_pool)
    pool_size = np.bincount(pool)[pool] if len(lines) else pool
    first_place = pd.Series(place).groupby(pool).transform("min").to_numpy()
    is_last = turn == 2
    order = np.lexsort((place, _blocker(in_pool, pool, is_last, places_of(np.lexsort((due, -loss)))), is_last))
    ranks = {"rank": places_of(order) + 1, "pool_rank": place - first_place + 1, "pool_size": pool_size}
    return pd.DataFrame(ranks, index=lines.index, dtype="int64")


def _turn(lines: pd.DataFrame) -> Codes:
    """0 for pinned lines, 1 for the others, 2 for those that stand last; a pin outweighs that a product ends."""
    pinned = is_pinned(lines)
    last = is_held(lines) | (lines["is_discontinued"].to_numpy(np.bool_) & ~pinned)
    return np.where(last, 2, np.where(pinned, 0, 1)).astype(np.int64)


def _blocker(in_pool: Codes, pool: Codes, is_last: Flags, by_loss: Codes) -> Codes:
    """For each line the place (by falling loss) of the weakest line at or before it in its pool's list.

    Merging lists by always taking the best head takes a line right after the weakest line before it has gone: every
    head left is then worse than that one was. So sorting by the weakest place so far gives the merged order without
    a heap. Those that stand last are merged among themselves.
    """
    lists = pd.Series(by_loss[in_pool]).groupby(pool[in_pool] * 2 + is_last[in_pool])
    blocker = np.empty(len(in_pool), dtype=np.int64)
    blocker[in_pool] = lists.cummax().to_numpy()
    return blocker


def places_of(order: npt.NDArray[np.intp]) -> Codes:
    """Turn a sorting order into each row's place in it."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places
