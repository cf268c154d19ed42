"""Which waiting lines take which inbound goods: lines in the order of their pool, goods in the order they come."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, is_excluded, pool_codes

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """Units of inbound lines that waiting lines take; one entry per pair, arrays of (n_pairs,)."""

    line: Codes  # row of the queue
    inbound: Codes  # row of the inbound lines
    units: Floats


def waiting_units(queue: pd.DataFrame) -> Floats:
    """Units that each line of the queue still waits for: what it does not get now, 0 if a planner excluded it.

    A held line waits, too: it is served once it is free again.
    """
    left = queue["open_quantity"].to_numpy(np.float64) - queue["ship_now_quantity"].to_numpy(np.float64)
    return np.where(is_excluded(queue) | (left <= QUANTITY_TOLERANCE), 0.0, left)


def idle_units(queue: pd.DataFrame) -> pd.Series:
    """Units in each line's pool that no line takes today, indexed like the queue."""
    taken = queue.groupby(POOL_IDS)["ship_now_quantity"].transform("sum")
    return (queue["available_now"] - taken).clip(lower=0.0)


def shares_of_inbound(queue: pd.DataFrame, inbound: pd.DataFrame, coming: Codes) -> Shares:
    """Give every inbound line's goods to the lines that wait for them.

    Goods pegged to a line serve that line alone, before any others; what it still wants and what the other lines of
    the pool (a product in a warehouse) want is served by the pool's other goods, in the order of pool_rank.

    Parameters
    ----------
    queue : open lines: order_line_id, product_id, warehouse_id, pool_rank, open_quantity, ship_now_quantity, override
    inbound : lines that owe goods: product_id, warehouse_id, for_order_line_id, open_quantity
    coming : rows of `inbound` in the order in which they are expected
    """
    wanted, offered = waiting_units(queue), inbound["open_quantity"].to_numpy(np.float64)
    is_pegged = inbound["for_order_line_id"].notna().to_numpy(np.bool_)
    meant_for = pd.Index(queue["order_line_id"]).get_indexer(inbound["for_order_line_id"]).astype(np.int64)
    pegged = take_in_turn(
        Side(np.arange(len(queue)), np.arange(len(queue)), wanted),
        Side(coming, meant_for, offered).only(is_pegged & (meant_for >= 0)),
    )
    wanted = wanted - np.bincount(pegged.line, pegged.units, len(queue))
    pool = pool_codes(pd.concat([queue[POOL_IDS], inbound[POOL_IDS]], ignore_index=True))
    in_turn = np.argsort(queue["pool_rank"].to_numpy(), kind="stable")
    shared = take_in_turn(
        Side(in_turn, pool[: len(queue)], wanted), Side(coming, pool[len(queue) :], offered).only(~is_pegged)
    )
    return Shares(*(np.concatenate([getattr(pegged, n), getattr(shared, n)]) for n in ("line", "inbound", "units")))


@dataclass(frozen=True)
class Side:
    """Those who want, or those who offer: rows in turn, and of each row the place where it does so and its units."""

    in_turn: Codes  # (n_rows,)
    place: Codes  # (n_rows,)
    units: Floats  # (n_rows,)

    def only(self, these: npt.NDArray[np.bool_]) -> "Side":
        """Leave out the units of all other rows."""
        return Side(self.in_turn, self.place, np.where(these, self.units, 0.0))

    def ends(self) -> tuple[Codes, Codes, Floats]:
        """Rows with units in turn, their places, and the running sum of units within the place up to each."""
        rows = self.in_turn[self.units[self.in_turn] > QUANTITY_TOLERANCE]
        place = self.place[rows]
        so_far = pd.Series(self.units[rows]).groupby(place).cumsum()
        return rows, place, np.asarray(so_far, dtype=np.float64)


def take_in_turn(wants: Side, offers: Side) -> Shares:
    """Lay wants and offers of each place end to end, first come first: what lies over each other belongs together.

    >>> lines, goods = Side(np.arange(2), np.zeros(2, int), np.array([3.0, 2.0])), np.array([4.0, 5.0])
    >>> take_in_turn(lines, Side(np.arange(2), np.zeros(2, int), goods))
    Shares(line=array([0, 1, 1]), inbound=array([0, 0, 1]), units=array([3., 1., 1.]))
    """
    want_row, want_place, want_end = wants.ends()
    offer_row, offer_place, offer_end = offers.ends()
    place, end = np.concatenate([want_place, offer_place]), np.concatenate([want_end, offer_end])
    order = np.lexsort((end, place))
    place, end, is_want = place[order], end[order], order < len(want_row)
    begins = np.r_[True, place[1:] != place[:-1]][: len(place)]
    start = np.where(begins, 0.0, np.r_[0.0, end[:-1]][: len(end)])
    # The stretch up to an end belongs to the first want and to the first offer that end there or later.
    want, has_want = _next_of(np.flatnonzero(is_want), is_want, place)
    offer, has_offer = _next_of(np.flatnonzero(~is_want), ~is_want, place)
    # Two running sums of the same units differ by some 1e-16 of themselves.
    is_real = end - start > QUANTITY_TOLERANCE * np.maximum(end, 1.0)
    both = has_want & has_offer & is_real
    line, inbound = want_row[order[want[both]]], offer_row[order[offer[both]] - len(want_row)]
    return Shares(line, inbound, (end - start)[both])


def _next_of(kind_at: Codes, is_kind: npt.NDArray[np.bool_], place: Codes) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Position of the next of a kind at or after each position, and whether it is there in the same place."""
    n_before: Codes = np.cumsum(is_kind) - is_kind
    found = np.append(kind_at, -1)[n_before]
    return found, (found >= 0) & (place[found] == place)
