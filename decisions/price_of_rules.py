"""What each rule of the site costs in money, and what it costs to give every segment its fair share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import give_out
from decisions.limits import Limits
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import is_held, sorted_pools
from decisions.reasons import NOUNS
from decisions.rules import keeping, limits_of, standing_of
from decisions.segments import BY_MONEY
from models.arrival import places_in

Floats = npt.NDArray[np.float64]

COLUMNS = {
    "rule": "str",
    "segment": "str",
    "n_lines": "int64",
    "n_lines_moved": "int64",
    "units_moved": "float64",
    "saved_with": "float64",
    "saved_without": "float64",
    "cost": "float64",
}
FAIR_COLUMNS = {
    "protected_share": "float64",
    "saved": "float64",
    "cost": "float64",
    "cost_share": "float64",
    "n_lines_moved": "int64",
    "least_served_share": "float64",
}
PROTECTED_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
WORDS = {action: f"{noun}s" for action, noun in NOUNS.items()}


@dataclass(frozen=True)
class WithoutRule:
    """One rule, and the lines and the policy as they would be without it."""

    rule: str
    segment: str | None
    concerns: npt.NDArray[np.bool_]  # (n_lines,) lines that it names
    lines: pd.DataFrame
    policy: Policy


def price_of_rules(lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Price every rule by giving the goods out again without it, all other rules kept.

    loss_if_waits and so the prices of later goods stay what they are: the price is that of this morning's goods. A rule
    can cost less than nothing beside others, where it undoes a part of what they cost.

    Parameters
    ----------
    lines : open lines with loss_if_waits, as they are given to `give_out`
    pools : product_id, warehouse_id, available_now, units_per_day
    policy : its segments and longest_wait_days; pins, holds, exclusions and credit holds stand in the lines

    Returns
    -------
    One row per rule, in the order of the segments, and at last "all rules" together; none if there are no rules:
        rule : turn, sort, strategy, share or protection of a segment, or longest wait, pins, holds, exclusions or
            credit hold
        segment : its name; null for rules of no segment
        n_lines : lines that the rule names
        n_lines_moved, units_moved : lines that get more or less than without the rule; units they get more
        saved_with, saved_without : sum of loss_if_waits x share shipped now (money)
        cost : saved_without - saved_with
    """
    variants = list(without_each(lines, policy))
    if not variants:
        return _typed([], COLUMNS)
    given = _given(lines, pools, policy)
    rows = []
    for variant in [*variants, without_any(variants, lines, policy)]:
        without = _given(variant.lines, pools, variant.policy)
        with_money, without_money = _money(lines, given), _money(lines, without)
        rows.append(
            {
                "rule": variant.rule,
                "segment": variant.segment,
                "n_lines": int(variant.concerns.sum()),
                "n_lines_moved": _n_moved(given, without),
                "units_moved": float(np.maximum(given - without, 0).sum()),
                "saved_with": with_money,
                "saved_without": without_money,
                "cost": without_money - with_money,
            }
        )
    return _typed(rows, COLUMNS)


def fairness_table(lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy, by: str = "segment") -> pd.DataFrame:
    """Price fairness: goods kept in each pool for each segment in proportion to what its lines want there.

    A segment's fair share of a pool is its part of the units that lines which may have goods want there. Goods that
    are protected for it and that its lines do not take go back to all. The site's own segments and longest wait are
    left aside, so that fairness is compared with money alone; pins, holds, credit holds and goods kept of the last
    queue's plan stay.

    Parameters
    ----------
    lines, pools, policy : as in `price_of_rules`
    by : column of the lines whose values are the segments here; empty cells are a segment, too

    Returns
    -------
    One row per protected share of the fair share (0, .25, .5, .75, 1); none if fewer than two segments are open:
        protected_share : of the fair share
        saved : sum of loss_if_waits x share shipped now (money)
        cost : money saved less than without protection
        cost_share : the same as a share of the money saved without protection; 0 if none was saved
        n_lines_moved : lines that get more or less than without protection
        least_served_share : of the units wanted in pools with goods, what the segment served worst was given
    """
    plain = replace(policy, segments=(), longest_wait_days=0)
    segment, names = pd.factorize(lines[by], sort=True, use_na_sentinel=False)
    if len(names) < 2:
        return _typed([], FAIR_COLUMNS)
    ordered = sorted_pools(pools)
    fair, counts = _fair_units(lines, ordered, segment)
    none, is_kept = keeping(Limits.none(len(lines), len(pools)), lines), np.zeros(len(names), dtype=np.bool_)
    given = {}
    for share in PROTECTED_SHARES:
        limits = replace(none, segment=segment.astype(np.int64), protected=fair * share, is_kept=is_kept)
        given[share] = give_out(lines, ordered, plain, limits).ship_now_quantity.to_numpy(np.float64)
    free = _money(lines, given[0.0])
    rows = [
        {
            "protected_share": share,
            "saved": _money(lines, units),
            "cost": free - _money(lines, units),
            "cost_share": (free - _money(lines, units)) / free if free else 0.0,
            "n_lines_moved": _n_moved(units, given[0.0]),
            "least_served_share": _least_served(lines[counts], segment[counts], units[counts]),
        }
        for share, units in given.items()
    ]
    return _typed(rows, FAIR_COLUMNS)


def _fair_units(
    lines: pd.DataFrame, pools: pd.DataFrame, segment: npt.NDArray[np.intp]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Each segment's part of each pool's goods, (n_segments, n_pools), and the lines that have a part in them."""
    may_have, pool = ~is_held(lines), places_in(pools, lines)
    wanted = np.zeros((int(segment.max(initial=0)) + 1, len(pools)))
    np.add.at(wanted, (segment[may_have], pool[may_have]), lines["open_quantity"].to_numpy(np.float64)[may_have])
    total, goods = wanted.sum(axis=0), pools["available_now"].to_numpy(np.float64)
    part = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0)
    return np.asarray(part * np.minimum(goods, total)), np.asarray(may_have & (goods > 0)[pool])


def _least_served(lines: pd.DataFrame, segment: npt.NDArray[np.intp], given: Floats) -> float:
    """Units given by units wanted, of the segment where that is least; NaN without lines."""
    wanted = np.bincount(segment, lines["open_quantity"].to_numpy(np.float64))
    served = np.bincount(segment, given)
    return float((served[wanted > 0] / wanted[wanted > 0]).min()) if len(lines) else np.nan


def without_each(lines: pd.DataFrame, policy: Policy) -> Iterator[WithoutRule]:
    """Each rule of the site that is in force, and the lines and policy without it."""
    standing = standing_of(lines, policy)
    for place, segment in enumerate(policy.segments):
        rules = (
            ("turn", segment.turn is not None, {"turn": None}),
            ("sort", bool(segment.sort), {"sort": ()}),
            ("strategy", segment.strategy != BY_MONEY, {"strategy": BY_MONEY}),
            ("share", segment.share > 0, {"share": 0.0}),
            ("protection", segment.keeps_goods, {"protected_units": 0.0, "protected_days_of_demand": 0.0}),
        )
        for rule, holds, without in rules:
            if holds:
                others = list(policy.segments)
                others[place] = replace(segment, **without)
                less = replace(policy, segments=tuple(others))
                yield WithoutRule(rule, segment.name, standing.segment == place, lines, less)
    if policy.longest_wait_days:
        less = replace(policy, longest_wait_days=0)
        yield WithoutRule("longest wait", None, standing.has_waited_too_long, lines, less)
    for word, rule in WORDS.items():
        said = (lines["override"] == word).fillna(False).to_numpy(np.bool_)
        if said.any():
            yield WithoutRule(rule, None, said, _without_words(lines, said), policy)
    stopped = lines["credit_hold"].to_numpy(np.bool_)
    if stopped.any():
        yield WithoutRule("credit hold", None, stopped, lines.assign(credit_hold=False), policy)


def _without_words(lines: pd.DataFrame, said: npt.NDArray[np.bool_]) -> pd.DataFrame:
    return lines.assign(
        override=lines["override"].where(~said), override_quantity=lines["override_quantity"].where(~said)
    )


def without_any(variants: list[WithoutRule], lines: pd.DataFrame, policy: Policy) -> WithoutRule:
    """All of these rules away at once."""
    concerned = np.logical_or.reduce([variant.concerns for variant in variants])
    bare = _without_words(lines, np.ones(len(lines), dtype=np.bool_)).assign(credit_hold=False)
    return WithoutRule("all rules", None, concerned, bare, replace(policy, segments=(), longest_wait_days=0))


def _given(lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy) -> Floats:
    """Units that each line gets under the policy's rules; (n_lines,)."""
    allocation = give_out(lines, pools, policy, limits_of(lines, pools, policy))
    return allocation.ship_now_quantity.to_numpy(np.float64)


def _money(lines: pd.DataFrame, given: Floats) -> float:
    """Money saved: loss_if_waits x share shipped now, summed in an order that does not hang on that of the rows."""
    share = given / lines["open_quantity"].to_numpy(np.float64)
    return float(np.sort(lines["loss_if_waits"].to_numpy(np.float64) * share).sum())


def _n_moved(given: Floats, other: Floats) -> int:
    return int((np.abs(given - other) > QUANTITY_TOLERANCE).sum())


def _typed(rows: Sequence[Mapping[str, object]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
