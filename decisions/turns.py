"""One stage's claims served, each pool on its own, and the tally of how far the giving has come."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from decisions.policy import Policy
from decisions.pool_programme import Claims, share_out, take_in_order
from decisions.pools_at_once import cut_anywhere, solve_at_once
from decisions.wishes import Wishes, is_by_worth, is_repeated

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tally:
    """How far the giving has come: units per line, then units and money per pool."""

    given: Floats
    left: Floats
    own: Floats  # (n_segments, n_pools), of these the units that only the segment may take
    taken: Floats
    value: Floats
    gap: Floats  # what could be saved beyond `value` at most
    method: npt.NDArray[np.object_]

    @classmethod
    def of_full_shelves(cls, goods: Floats, n_lines: int, n_segments: int) -> "Tally":
        """Nothing given out and nothing protected yet."""
        zero, idle = np.zeros(len(goods)), np.full(len(goods), "idle", dtype=object)
        return cls(np.zeros(n_lines), goods.copy(), np.zeros((n_segments, len(goods))), zero, zero, zero, idle)

    def and_given(self, wishes: Wishes, given: Floats, saves: Floats) -> "Tally":
        """Hand `given` units to these claims; `saves` is the money per unit of each line."""
        n_pools = len(self.left)
        units = np.bincount(wishes.pool, weights=given, minlength=n_pools)
        money = np.bincount(wishes.pool, weights=given * saves[wishes.line], minlength=n_pools)
        return replace(
            self,
            given=self.given + np.bincount(wishes.line, weights=given, minlength=len(self.given)),
            left=np.maximum(self.left - units, 0),
            taken=self.taken + units,
            value=self.value + money,
        )


def serve_pools(wishes: Wishes, tally: Tally, saves: Floats, policy: Policy) -> Tally:
    """Give the goods left to the claims of one stage, each pool on its own.

    Sorted claims and a running sum serve all pools at once; only pools where that would cut a claim that may not be
    cut there go through their claims one by one: by money in a stage that goes by worth, else strictly in order.
    """
    if not len(wishes.line):
        return tally
    wishes = _without_parts_to_beat(wishes, tally)
    claims, pool = wishes.claims, wishes.pool
    given = cut_anywhere(claims.quantity, pool, tally.left)
    gap, method = tally.gap.copy(), tally.method.copy()
    method[pool[given > 0]] = "sorted"
    care = np.zeros(len(tally.left), dtype=np.bool_)
    care[pool[_needs_care(wishes, given)]] = True
    if is_by_worth(int(wishes.stage[0])):
        solved = solve_at_once(claims, pool, tally.left, care, given, policy.exact_pool_cells)
        method[solved], care[solved] = "exact", False
    for start, end in _runs(pool, care):
        here, k = wishes.only(slice(start, end)), pool[start]
        claim, merged, planned = _one_claim_a_line(here)
        first = _planned_first(merged, planned, tally.left[k])
        if is_by_worth(int(here.stage[0])):
            share = share_out(merged, tally.left[k], policy.exact_pool_cells, first)
            units, method[k] = share.given, share.method
            gap[k] += share.bound - share.given @ merged.worth
        else:
            units = take_in_order(merged, first, tally.left[k])
        given[start:end] = _over_claims(units, claim, here.claims.quantity)
    return replace(tally.and_given(wishes, given, saves), gap=gap, method=method)


def _without_parts_to_beat(wishes: Wishes, tally: Tally) -> Wishes:
    """A line that ships today anyway needs no further shipment for what it gets beyond that."""
    if not wishes.claims.least_part.any():
        return wishes
    least_part = np.where(tally.given[wishes.line] > 0, 0, wishes.claims.least_part)
    return replace(wishes, claims=replace(wishes.claims, least_part=least_part))


def _one_claim_a_line(wishes: Wishes) -> tuple[Codes, Claims, Floats]:
    """Put what the plan gives a line and the rest of its wish together again, where the first of them stands.

    Returns the place among the merged claims of each claim, the merged claims and the units that the plan gives each.
    """
    _, first, line = np.unique(wishes.line, return_index=True, return_inverse=True)
    if len(first) == len(line):
        return np.arange(len(line)), wishes.claims, np.zeros(len(line))
    by_place = np.argsort(first)
    claim = np.argsort(by_place)[line]
    first = first[by_place]
    quantity = np.bincount(claim, weights=wishes.claims.quantity).astype(np.float64)
    planned = np.where(np.bincount(claim) > 1, wishes.claims.quantity[first], 0)
    return claim, replace(wishes.claims.only(first), quantity=quantity), planned


def _planned_first(claims: Claims, planned: Floats, available: float) -> Floats:
    """Units given if everything of more worth is served in full and then only what the plan gives."""
    at_price = np.flatnonzero(planned)
    if not len(at_price):
        return np.zeros(len(planned))
    quantity = np.where(np.arange(len(planned)) < at_price[0], claims.quantity, planned)
    return take_in_order(replace(claims, quantity=quantity), np.zeros(len(planned)), available)


def _over_claims(units: Floats, claim: Codes, quantity: Floats) -> Floats:
    """Hand each merged claim's units to its parts, the first of them first."""
    given = np.minimum(units[claim], quantity)
    is_second = is_repeated(claim)
    first_given = np.bincount(claim[~is_second], weights=given[~is_second], minlength=len(units))
    given[is_second] = np.maximum(units - first_given, 0)[claim[is_second]]
    return given


def _needs_care(wishes: Wishes, given: Floats) -> Flags:
    """Claims that cannot ship what cutting anywhere would give them."""
    claims = wishes.claims
    care: Flags = (given > 0) & (given < claims.quantity)
    cut = np.flatnonzero(care)
    here = claims.only(cut)
    care[cut] = here.is_whole | (given[cut] % here.step != 0) | (given[cut] < here.least_part)
    return care


def _runs(pool: Codes, needs_care: Flags) -> list[tuple[int, int]]:
    """Start and end of the claims of each pool that needs care."""
    concerned = np.flatnonzero(needs_care)
    starts, ends = np.searchsorted(pool, concerned, side="left"), np.searchsorted(pool, concerned, side="right")
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
