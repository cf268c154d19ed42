"""Rules for giving out goods rolled through past mornings, with nightly re-ranking and the demand that came.

Orders, receipts and what left the shelf for others are those of the past. What a rule ships leaves, what it passes over
waits on, until the day on which its customer cancels: that day is drawn by ids and the same under every rule. So a
rule meets whole lines and whole units on every morning, as it would at work, and any rule can be put in. (Lines
weighted by the chance that they are still wanted would need no draws, but no planner ever sees such a line.)

Who is cancelled when is never taken from the past, not even where a cancellation was seen (the direct method). It was
seen of lines that the past passed over, and never of those that it served: to count the first as they came about and
the others by a model would measure the rule that differs most from the past by two yardsticks, and hand it what these
differ by.

Money is booked every day as expected of that day, given who still waits: hazard x (margin + handling), what the
customer's later orders lose by a cancellation or by one more day, penalties. That has the mean of what the draws make
of it, and far less noise. For a line served on one day or another the days add up to `decisions.cost_of_waiting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.chances import N_SCENARIOS, even_draws, hashed
from decisions.outlooks import day_number
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS
from decisions.replay_losses import MONEY, Ledger
from decisions.replay_past import Past, Today
from decisions.ship_groups import ships_whole

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COUNTS = ["units_given", "units_left", "units_cancelled", "lines_waiting", "units_waiting", "longest_wait_days"]


@dataclass(frozen=True, eq=False)
class PastMorning:
    """What a rule sees: nothing that was not known that morning.

    Parameters
    ----------
    on : the day
    lines : the waiting lines by order_line_id, in the columns that `decisions.allocation.give_out` takes, but for
        loss_if_waits; open_quantity, line_value and line_margin of what is still open, waited_days and days_late today;
        credit_hold where the line may have no goods
    pools : product_id, warehouse_id, available_now
    """

    on: pd.Timestamp
    lines: pd.DataFrame
    pools: pd.DataFrame


# Units that each of the morning's lines gets, in their order; not asked on mornings on which nobody waits.
Rule = Callable[[PastMorning], Floats]


@dataclass(frozen=True, eq=False)
class Replayed:
    """What rules made of the same past, means over the draws.

    Parameters
    ----------
    days : one row per rule and day: money_lost and its terms loss_cancel, loss_future_orders, loss_service;
        units_wanted, units_given, units_left (on the shelf), lines_waiting, units_waiting and longest_wait_days after
        goods were given out, units_cancelled later that day, fill (share of the units wanted that morning that were
        given)
    pools : one row per rule and pool: money_lost and its terms, units_given
    totals : one row per rule: sums, fill (units given of all that came to wait), loss_if_never_served (what the lines
        still waiting at the end lose if they never get goods: how much the end of the replay may hide)
    draws : one row per rule and scenario: money_lost
    """

    days: pd.DataFrame
    pools: pd.DataFrame
    totals: pd.DataFrame
    draws: pd.DataFrame


@dataclass(eq=False)
class Life:
    """One rule in one draw of who cancels when; arrays of (n_lines,), shelf of (n_pools,)."""

    rule: str
    scenario: int
    gone_on: Codes  # number of the morning before which the line is cancelled if nobody ships it
    open_units: Floats
    shelf: Floats
    ledger: Ledger
    days: list[dict[str, float]] = field(default_factory=list)
    given: Floats = field(default_factory=lambda: np.zeros(0))  # units by pool


def replay(past: Past, rules: Mapping[str, Rule], policy: Policy, n_scenarios: int = 10) -> Replayed:
    """Let every rule give out the goods of the same past mornings, and count what waiting costs.

    Raises
    ------
    ValueError
        If the past cannot be used, a rule gives what a line cannot take or the pool does not have, or `n_scenarios` is
        not from 1 to 60.
    """
    if not 1 <= n_scenarios <= N_SCENARIOS:
        raise ValueError(f"replay: n_scenarios {n_scenarios} is not from 1 to {N_SCENARIOS}; choose one that is")
    past = past.in_order()
    gone_on, event = fates(past, n_scenarios)
    quantity = past.lines["open_quantity"].to_numpy(np.float64)
    lives = [
        Life(
            name,
            scenario,
            gone_on[:, scenario],
            quantity.copy(),
            np.zeros(len(past.pools)),
            Ledger.opened(past, event[:, scenario], policy),
            given=np.zeros(len(past.pools)),
        )
        for name in rules
        for scenario in range(n_scenarios)
    ]
    for today in past.mornings():
        for life in lives:
            _live(life, rules[life.rule], past, today)
    return _gathered(lives, past)


def fates(past: Past, n_scenarios: int) -> tuple[Codes, Codes]:
    """Number of the morning before which each line is cancelled if nobody ships it, and the event it goes with.

    A line goes as soon as the chance that it is still wanted falls below its draw. Roots have one draw for all their
    lines; with chance rho all roots of an order share one, so that they go together as often as they can at all.
    Events are numbered: of an order that goes together one, else one for each root. Both (n_lines, n_scenarios), past
    the last morning where a line stays.
    """
    lines, kept = past.lines, slice(0, n_scenarios)
    of_order = lines["root_order_id"].astype(object)
    together = even_draws(hashed(of_order, "goes together"))[:, kept] < past.joint_cancel_share
    alone = even_draws(hashed(lines["root_id"].astype(object), "cancels"))[:, kept]
    draw = np.where(together, even_draws(hashed(of_order, "order cancels"))[:, kept], alone)
    order, root = (pd.factorize(lines[name], sort=True)[0] for name in ("root_order_id", "root_id"))
    event = np.where(together, order[:, None], len(lines) + root[:, None])
    wanted = np.ones(len(lines))
    gone_on = np.full(draw.shape, past.n_days + 1, dtype=np.int64)
    for today in past.mornings():
        wanted = np.where(today.has_come, wanted * (1 - today.hazard), wanted)
        is_new = (wanted[:, None] < draw) & (gone_on > past.n_days)
        gone_on[is_new] = today.day + 1
    return gone_on, event


def _live(life: Life, rule: Rule, past: Past, today: Today) -> None:
    """One morning: goods come, the rule gives them out, what is left waits a day longer, and some of it goes."""
    life.shelf = life.shelf + today.goods
    waits = np.flatnonzero(today.has_come & (life.gone_on > today.day) & (life.open_units > QUANTITY_TOLERANCE))
    if not len(waits):
        nothing = dict.fromkeys([*MONEY, "units_wanted", *COUNTS], 0.0)
        life.days.append({"day": float(today.day), **nothing, "units_left": float(life.shelf.sum())})
        return
    morning = _seen(life, past, today, waits)
    wanted, pool = life.open_units[waits], past.pool[waits]
    units = np.asarray(rule(morning), dtype=np.float64)
    _check(morning, units, pool, life.rule)
    by_pool = np.bincount(pool, units, minlength=len(life.shelf))
    life.given = life.given + by_pool
    life.shelf = np.maximum(life.shelf - by_pool, 0.0)
    left = np.where(wanted - units > QUANTITY_TOLERANCE, wanted - units, 0.0)
    life.open_units[waits] = left
    rest, left = waits[left > 0], left[left > 0]
    money = life.ledger.wait_a_day(rest, left, today, life.gone_on)
    counts = {
        "units_wanted": float(wanted.sum()),
        "units_given": float(units.sum()),
        "units_left": float(life.shelf.sum()),
        "units_cancelled": float(left[life.gone_on[rest] == today.day + 1].sum()),
        "lines_waiting": float(len(rest)),
        "units_waiting": float(left.sum()),
        "longest_wait_days": float((day_number(today.on) - past.figures["due_day"][rest]).max(initial=0)),
    }
    life.days.append({"day": float(today.day), **money, **counts})


def _seen(life: Life, past: Past, today: Today, waits: Codes) -> PastMorning:
    """The morning as the rule sees it in this draw."""
    figures, units, day = past.figures, life.open_units[waits], day_number(today.on)
    share = units / figures["open_quantity"][waits]
    lines = past.seen.take(waits).reset_index(drop=True)
    lines = lines.assign(
        open_quantity=units,
        line_value=figures["line_value"][waits] * share,
        line_margin=figures["line_margin"][waits] * share,
        waited_days=(day - figures["due_day"][waits]).astype(np.int64),
        days_late=day - figures["promised_day"][waits],
        credit_hold=today.is_held[waits],
        group_waits_elsewhere=today.is_torn[waits],
    )
    return PastMorning(today.on, lines, past.pools.assign(available_now=life.shelf))


def _check(morning: PastMorning, units: Floats, pool: Codes, rule: str) -> None:
    """Refuse what no planner could do."""
    lines, said = morning.lines, f"replay: on {morning.on:%Y-%m-%d} rule {rule!r} gives"
    if units.shape != (len(lines),):
        raise ValueError(f"{said} {units.shape} quantities for {len(lines)} waiting lines; one each")
    wanted, step = (lines[name].to_numpy(np.float64) for name in ("open_quantity", "quantity_step"))
    is_part = (units > QUANTITY_TOLERANCE) & (units < wanted - QUANTITY_TOLERANCE)
    off_step = np.abs(units / step - np.rint(units / step)) > QUANTITY_TOLERANCE
    bad = {
        "less than nothing or more than they want": ~((units >= 0) & (units <= wanted + QUANTITY_TOLERANCE)),
        "a part that they cannot take": is_part & (ships_whole(lines) | off_step),
        "goods though they may have none": (units > 0) & lines["credit_hold"].to_numpy(np.bool_),
        "goods without the rest of their ship group": (units > 0) & _is_torn(lines, units),
    }
    for what, flags in bad.items():
        if flags.any():
            ids = lines.loc[flags, "order_line_id"].tolist()
            raise ValueError(f"{said} {len(ids)} of {len(lines)} lines {what}, e.g. order_line_id {ids[:3]}")
    shelf = morning.pools["available_now"].to_numpy(np.float64)
    over = np.bincount(pool, units, minlength=len(shelf)) > shelf + QUANTITY_TOLERANCE * np.maximum(1.0, shelf)
    if over.any():
        names = morning.pools.loc[over, POOL_IDS].to_numpy().tolist()
        raise ValueError(f"{said} more than {int(over.sum())} of {len(shelf)} pools have, e.g. {names[:3]}")


def _is_torn(lines: pd.DataFrame, units: Floats) -> Flags:
    """Lines of a ship group that does not leave complete."""
    group = lines["ship_group"]
    if group.isna().all():
        return np.zeros(len(lines), dtype=np.bool_)
    stays = (lines["open_quantity"] - units > QUANTITY_TOLERANCE) | lines["group_waits_elsewhere"]
    return group.isin(group[stays].dropna()).to_numpy(np.bool_)


def _gathered(lives: Sequence[Life], past: Past) -> Replayed:
    """Means over the draws, in the order of the rules."""
    names = list(dict.fromkeys(life.rule for life in lives))
    all_days = pd.concat([pd.DataFrame(life.days).assign(rule=life.rule) for life in lives], ignore_index=True)
    days = all_days.groupby(["rule", "day"], sort=False, as_index=False)[[*MONEY, "units_wanted", *COUNTS]].mean()
    days["on"] = past.first_on + pd.to_timedelta(days["day"], unit="D")
    days["fill"] = (days["units_given"] / days["units_wanted"]).where(days["units_wanted"] > 0, 1.0)
    pools = pd.concat([past.pools.assign(**_of_pools(lives, name), rule=name) for name in names], ignore_index=True)
    draws = [
        {"rule": life.rule, "scenario": life.scenario, "money_lost": life.ledger.by_pool[0].sum()} for life in lives
    ]
    return Replayed(
        days[["rule", "on", *MONEY, "units_wanted", *COUNTS, "fill"]],
        pools[["rule", *POOL_IDS, *MONEY, "units_given"]],
        _totals(days, lives, float(past.figures["open_quantity"].sum())),
        pd.DataFrame(draws),
    )


def _totals(days: pd.DataFrame, lives: Sequence[Life], units_came: float) -> pd.DataFrame:
    by_rule = days.groupby("rule", sort=False)
    sums = by_rule[[*MONEY, "units_given", "units_cancelled"]].sum()
    ends = by_rule[["lines_waiting", "units_waiting", "units_left"]].last()
    rest = [{"rule": life.rule, "rest": life.ledger.if_never_served(life.open_units, life.gone_on)} for life in lives]
    return (
        sums.join(ends)
        .assign(
            longest_wait_days=by_rule["longest_wait_days"].max(),
            fill=sums["units_given"] / units_came,
            loss_if_never_served=pd.DataFrame(rest).groupby("rule")["rest"].mean(),
        )
        .reset_index()
    )


def _of_pools(lives: Sequence[Life], rule: str) -> dict[str, Floats]:
    """Mean money and units of each pool under a rule."""
    mine = [life for life in lives if life.rule == rule]
    money = np.mean([life.ledger.by_pool for life in mine], axis=0)
    return dict(zip(MONEY, money, strict=True)) | {"units_given": np.mean([life.given for life in mine], axis=0)}
