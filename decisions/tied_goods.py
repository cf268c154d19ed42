"""Goods given out in order where pools hang together: ship groups, and goods that are protected for a segment."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from decisions.limits import Limits
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import DUE_BY, due_order
from decisions.turns import Tally
from decisions.wishes import Wishes, is_by_worth, is_repeated, loses_by_waiting

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Shelf:
    """Units of each pool for everybody, and of each segment and pool for the segment alone."""

    common: list[float]
    own: list[list[float]]

    @classmethod
    def of(cls, tally: Tally) -> "Shelf":
        """Split what is left."""
        return cls((tally.left - tally.own.sum(axis=0)).tolist(), tally.own.tolist())

    def for_claim(self, segment: int, pool: int) -> float:
        """Units that a line of this segment may take."""
        return self.common[pool] + (self.own[segment][pool] if segment >= 0 else 0.0)

    def take(self, segment: int, pool: int, units: float) -> float:
        """Take the segment's own goods first, then those for everybody; returns how many were its own."""
        of_own = min(units, self.own[segment][pool]) if segment >= 0 else 0.0
        if of_own > 0:
            self.own[segment][pool] -= of_own
        self.common[pool] = max(self.common[pool] - (units - of_own), 0.0)
        return of_own

    def give_back(self, segment: int, pool: int, units: float, of_own: float) -> None:
        """Undo a `take`."""
        self.common[pool] += units - of_own
        if of_own > 0:
            self.own[segment][pool] += of_own


def pools_tied(wishes: Wishes, is_protected: Flags) -> tuple[Flags, Flags]:
    """Pools of one stage that ship groups tie together, and pools that are served strictly in order; (n_pools,).

    Groups compete by money only in a stage that goes by worth, and where none of the pools that they tie together has
    protected goods.
    """
    n_pools = len(is_protected)
    grouped = wishes.group >= 0
    if not grouped.any():
        return np.zeros(n_pools, dtype=np.bool_), is_protected
    tied = np.zeros(n_pools, dtype=np.bool_)
    tied[wishes.pool[grouped]] = True
    if not is_by_worth(int(wishes.stage[0])):
        return np.zeros(n_pools, dtype=np.bool_), is_protected | tied
    part = components(wishes.pool[grouped], wishes.group[grouped], n_pools)
    in_order = np.isin(part, part[is_protected])
    return tied & ~in_order, in_order


def components(pool: Codes, group: Codes, n_pools: int) -> Codes:
    """Number pools so that pools which groups tie together, directly or through others, bear the same number."""
    code = np.unique(group, return_inverse=True)[1]
    size = n_pools + code.max(initial=-1) + 1
    links = csr_array((np.ones(len(pool)), (pool, n_pools + code)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1][:n_pools], dtype=np.int64)


def protect(tally: Tally, wishes: Wishes, limits: Limits) -> Tally:
    """Set aside the segments' goods, after pins and kept confirmations.

    What a segment's lines were given so far counts as part of its goods: `wishes` are all, served or not. Where a pool
    has less than all segments should have, each gets the same share of them. A segment whose goods need not stay has no
    more set aside than its lines that lose by waiting want.
    """
    served = np.zeros_like(limits.protected)
    kept = limits.segment >= 0
    n_pools = len(tally.left)
    pool_of = np.zeros(len(tally.given), dtype=np.int64)
    pool_of[wishes.line] = wishes.pool
    np.add.at(served, (limits.segment[kept], pool_of[kept]), tally.given[kept])
    wanted = np.zeros_like(limits.protected)
    still = (wishes.segment >= 0) & loses_by_waiting(wishes.stage)
    np.add.at(wanted, (wishes.segment[still], wishes.pool[still]), wishes.claims.quantity[still])
    own = np.maximum(limits.protected - served, 0)
    own = np.where(limits.is_kept[:, None], own, np.minimum(own, wanted))
    total = own.sum(axis=0)
    share = np.divide(tally.left, total, out=np.ones(n_pools), where=total > tally.left)
    return replace(tally, own=own * share)


def release(tally: Tally, limits: Limits) -> Tally:
    """Put what segments have left of goods that need not stay back on the shelf for all."""
    return replace(tally, own=np.where(limits.is_kept[:, None], tally.own, 0.0))


def still_waiting(wishes: Wishes, before: Tally, now: Tally) -> Wishes:
    """What claims have not got since `before` any of them was served."""
    got = (now.given - before.given)[wishes.line]
    is_rest = is_repeated(wishes.line)
    planned = np.zeros(len(now.given))
    planned[wishes.line[~is_rest]] = wishes.claims.quantity[~is_rest]
    got = np.where(is_rest, got - planned[wishes.line], got)
    quantity = wishes.claims.quantity - np.clip(got, 0, wishes.claims.quantity)
    still = replace(wishes, claims=replace(wishes.claims, quantity=quantity))
    return still.only(quantity > QUANTITY_TOLERANCE)


def serve_in_order(wishes: Wishes, tally: Tally, lines: pd.DataFrame, saves: Floats) -> Tally:
    """Serve the claims of one stage strictly in their order, a ship group as one claim on several pools.

    In a stage that goes by worth, the bound lets lines of a group compete one by one and cuts every line anywhere,
    within the protected goods; for divisible lines that is what the order gives (a polymatroid; Edmonds 1970).
    """
    if not len(wishes.line):
        return tally
    after = hand_out_in_order(wishes, tally, lines, saves)
    if not is_by_worth(int(wishes.stage[0])):
        return after
    given = np.zeros(len(wishes.line))  # of a line's two claims, which are worth the same, the first stands for both
    line, first = np.unique(wishes.line, return_index=True)
    given[first] = (after.given - tally.given)[line]
    worth = np.where(wishes.group >= 0, saves[wishes.line], wishes.claims.worth)
    most = _cut_within_protection(wishes, worth, Shelf.of(tally))
    missed = np.bincount(wishes.pool, weights=(most - given) * worth, minlength=len(tally.left))
    scale = np.maximum(np.bincount(wishes.pool, weights=most * worth, minlength=len(tally.left)), 1)
    missed = np.where(missed > 1e-9 * scale, missed, 0)
    return replace(after, gap=tally.gap + missed, method=np.where(missed > 0, "greedy", after.method))


def hand_out_in_order(wishes: Wishes, tally: Tally, lines: pd.DataFrame, saves: Floats) -> Tally:
    """Serve the claims strictly in their order without asking what another choice would save."""
    if not len(wishes.line):
        return tally
    shelf = Shelf.of(tally)
    given = _in_order(_items(wishes, lines), wishes, tally, shelf)
    method = tally.method.copy()
    method[wishes.pool[given > 0]] = "sorted"
    own = np.array(shelf.own).reshape(tally.own.shape)
    return replace(tally.and_given(wishes, given, saves), own=own, method=method)


def _items(wishes: Wishes, lines: pd.DataFrame) -> list[list[int]]:
    """Claims that are served together, best first."""
    rows = np.unique(wishes.line)
    due = np.empty(len(lines), dtype=np.int64)
    due[rows] = due_order(lines[DUE_BY].iloc[rows])
    order = np.lexsort((due[wishes.line], is_repeated(wishes.line), -wishes.claims.worth, wishes.sort_key))
    items: list[list[int]] = []
    of_group: dict[int, list[int]] = {}
    for claim, group in zip(order.tolist(), wishes.group[order].tolist(), strict=True):
        if group < 0:
            items.append([claim])
        elif group in of_group:
            of_group[group].append(claim)
        else:
            items.append(of_group.setdefault(group, [claim]))
    return items


def _in_order(items: list[list[int]], wishes: Wishes, tally: Tally, shelf: Shelf) -> Floats:
    """Units of each claim."""
    given = [0.0] * len(wishes.line)
    claims, left_out = wishes.claims, set[int]()
    columns = (wishes.line, wishes.pool, wishes.segment, tally.given[wishes.line], claims.quantity, claims.step)
    rows = list(zip(*(column.tolist() for column in (*columns, claims.is_whole, claims.least_part)), strict=True))
    for item in items:
        if len(item) > 1:
            if _take_all([rows[claim][1:5:3] + rows[claim][2:3] for claim in item], shelf):
                for claim in item:
                    given[claim] = rows[claim][4]
            continue
        line, pool, segment, has, quantity, step, is_whole, least_part = rows[item[0]]
        # A line's second claim is the rest of its wish: where the plan's units did not all fit, no further step does.
        if line in left_out:
            continue
        units = _units_that_fit(quantity, shelf.for_claim(segment, pool), step, is_whole)
        if units < quantity:
            left_out.add(line)
            if has == 0 and units < least_part - QUANTITY_TOLERANCE:
                continue
        if units > 0:
            shelf.take(segment, pool, units)
            given[item[0]] = units
    return np.array(given)


def _units_that_fit(quantity: float, available: float, step: float, is_whole: bool) -> float:
    if quantity <= available + QUANTITY_TOLERANCE:
        return quantity
    return 0.0 if is_whole else math.floor(available / step + QUANTITY_TOLERANCE) * step


def _take_all(claims: list[tuple[int, float, int]], shelf: Shelf) -> bool:
    """Take the goods of a whole group, or none of them."""
    taken: list[tuple[int, int, float, float]] = []
    for pool, quantity, segment in claims:
        if quantity > shelf.for_claim(segment, pool) + QUANTITY_TOLERANCE:
            for undo in taken:
                shelf.give_back(*undo)
            return False
        taken.append((segment, pool, quantity, shelf.take(segment, pool, quantity)))
    return True


def _cut_within_protection(wishes: Wishes, worth: Floats, shelf: Shelf) -> Floats:
    """Units of each claim if all that fit at all could be cut anywhere and stood alone, best first."""
    given, claims = [0.0] * len(worth), wishes.claims
    columns = (wishes.pool, wishes.segment, claims.quantity, claims.is_whole)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    start = [shelf.for_claim(segment, pool) for pool, segment, _, _ in rows]
    for claim in np.argsort(-worth, kind="stable").tolist():
        pool, segment, quantity, is_whole = rows[claim]
        if worth[claim] > 0 and not (is_whole and quantity > start[claim] + QUANTITY_TOLERANCE):
            given[claim] = min(quantity, shelf.for_claim(segment, pool))
            shelf.take(segment, pool, given[claim])
    return np.array(given)
