"""What date each customer can be told: the one that balances a late promise against a long one, kept once it is told.

A day that a line ships after its promise costs `policy.late_promise_cost_per_day`, a day that it ships before it
`policy.long_promise_cost_per_day`. The date that costs least in expectation is the quantile late / (late + long) of the
day on which the line ships (Koenker & Bassett 1978, Econometrica 46: 33-50). A date
that was told stays as long as it is near that quantile and not unlikely: a customer is told a new one for a reason, and
the reason is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.chances import Chances
from decisions.policy import Policy
from decisions.ranking import is_held
from decisions.service_days import claims_of, service_days
from decisions.ship_groups import split_groups
from decisions.working_days import WorkCalendar
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

DAY = np.timedelta64(1, "D")
COMPARED = ("pool_rank", "open_quantity", "next_inbound_po_line_id", "next_inbound_on")
_OF_LINE = (*COMPARED, "cutoff_on", "latest_promised_on", "expected_latest_on", "told_chance", "action")


def when_lines_ship(
    lines: pd.DataFrame,
    survival: Floats,
    chances: Chances,
    pools: pd.DataFrame,
    calendar: WorkCalendar,
    policy: Policy,
) -> pd.DataFrame:
    """Days from today until each line leaves in full, if it is still wanted then.

    Goods that come on a day leave `policy.receiving_days` later, on a working day. In a pool no line has a date before
    one that ranks before it, but that lines of a ship group leave with the last of them: lines behind do not wait for
    that. A group whose lines cannot all leave never does.

    Parameters
    ----------
    lines : open lines with loss_if_waits, ship_now_quantity and pool_rank added
    survival : chance still wanted u days on, (n_lines, n_days + 1)
    chances : of the pools that the lines wait in
    pools : product_id, warehouse_id, available_now, units_per_day, units_per_line

    Returns
    -------
    Indexed like lines: ship_days and latest_ship_days (by the chances of one half and of `policy.promise_quantile`; NaN
    beyond the days foreseen), latest_chance (that it leaves by the latter), told_chance (that it leaves by
    latest_promised_on; NaN where no date was told)
    """
    pool = places_in(chances.pools, lines)
    order = np.lexsort((lines["pool_rank"].to_numpy(), pool))
    ranked, pool = lines.iloc[order].reset_index(drop=True), pool[order]
    claims = claims_of(ranked, pool, pools.iloc[places_in(pools, chances.pools)], policy.receiving_days)
    days = _leaves_after(
        ranked, service_days(claims, survival[order], chances), survival.shape[1] - 1, calendar, policy
    )
    together = _with_group(ranked, days)
    median, latest = (
        np.maximum(_monotone(_quantile(days, share), pool), _quantile(together, share))
        for share in (0.5, policy.promise_quantile)
    )
    told = (ranked["latest_promised_on"] - ranked["cutoff_on"]).dt.days.to_numpy(np.float64)
    found = {
        "ship_days": _finite(median),
        "latest_ship_days": _finite(latest),
        "latest_chance": np.where(np.isinf(latest), np.nan, (together <= latest[:, None]).mean(axis=1)),
        "told_chance": np.where(np.isnan(told), np.nan, (together <= told[:, None]).mean(axis=1)),
    }
    return pd.DataFrame(found, index=lines.index[order]).reindex(lines.index)


def _leaves_after(lines: pd.DataFrame, service: Floats, n_days: int, calendar: WorkCalendar, policy: Policy) -> Floats:
    """Days from today until goods that come on those days leave; those here now leave today, if it is a working day."""
    if not len(lines):
        return service
    today = np.datetime64(lines["cutoff_on"].iloc[0], "D")
    come = np.arange(n_days + 1)
    leave = today + np.where(come > 0, come + policy.receiving_days, 0) * DAY
    after = ((calendar.at_or_after(leave) - today) / DAY).astype(np.float64)
    never = np.isinf(service)
    return np.where(never, np.inf, after[np.where(never, 0, service).astype(np.int64)])


def _with_group(lines: pd.DataFrame, days: Floats) -> Floats:
    """Days on which lines leave with the last of their ship group, in each scenario; alone without one."""
    group = pd.factorize(lines["ship_group"])[0]
    last = np.zeros((int(group.max(initial=-1)) + 1, days.shape[1]))
    np.maximum.at(last, group[group >= 0], days[group >= 0])
    together = days.copy()
    together[group >= 0] = last[group[group >= 0]]
    together[split_groups(lines, is_held(lines))] = np.inf
    return together


def _quantile(days: Floats, share: float) -> Floats:
    """Least day by which at least this share of the scenarios has shipped."""
    place = max(int(np.ceil(share * days.shape[1] - 1e-9)) - 1, 0)
    return np.asarray(np.partition(days, place, axis=1)[:, place])


def _monotone(days: Floats, pool: Codes) -> Floats:
    """No day before that of a line ahead in the pool."""
    return np.asarray(pd.Series(days).groupby(pool).cummax(), dtype=np.float64)


def _finite(days: Floats) -> Floats:
    return np.where(np.isinf(days), np.nan, days)


def promised(lines: pd.DataFrame, previous: pd.DataFrame | None, model_changed: bool, policy: Policy) -> pd.DataFrame:
    """The date to tell each customer, its chance, and why it differs from the date last told.

    A date told stays while it is within `policy.promise_move_days` of the promise quantile and has a chance of
    `policy.promise_floor` or more; else the promise quantile takes its place, or none where that lies beyond the days
    foreseen or the wait is only assumed. Dates that stay may stand in another order than the ranks.

    Parameters
    ----------
    lines : open lines with action, wait_is_assumed, expected_latest_on, told_chance, latest_chance,
        next_inbound_po_line_id, next_inbound_on and pool_rank added
    previous : the last published queue, None if there is none

    Returns
    -------
    Indexed like lines: promise_on (null where held or none can be told), promise_chance (that it leaves by then),
    promise_changed_because (null where the date told stays, or none was told)
    """
    told = lines["latest_promised_on"]
    # A wait that is only assumed is no date for a customer, nor a reason to take one back.
    is_assumed = lines["wait_is_assumed"].to_numpy(np.bool_) & (lines["action"] != "ship")
    target = lines["expected_latest_on"].mask(is_assumed)
    is_near = (target - told).abs().le(pd.Timedelta(days=policy.promise_move_days)) | target.isna()
    holds = (is_near & (lines["told_chance"] >= policy.promise_floor)) | is_assumed
    stays = holds & (told >= lines["cutoff_on"])
    may_ship = lines["action"] != "hold"
    promise_on = told.where(stays, target).where(may_ship)
    chance = lines["told_chance"].where(stays, lines["latest_chance"]).where(promise_on.notna() & ~is_assumed)
    moves = told.notna() & may_ship & (promise_on != told)
    why = pd.Series(None, index=lines.index, dtype="str")
    why[moves] = _why_moved(lines[moves], previous, model_changed, policy)
    return pd.DataFrame({"promise_on": promise_on, "promise_chance": chance, "promise_changed_because": why})


def _why_moved(lines: pd.DataFrame, previous: pd.DataFrame | None, model_changed: bool, policy: Policy) -> list[str]:
    """What made the date told untenable or needlessly late, then what changed since the last published queue."""
    if previous is None:
        before = pd.DataFrame(index=lines.index, columns=list(COMPARED))
    else:
        known = previous.set_index("order_line_id").reindex(columns=list(COMPARED))
        before = known.reindex(lines["order_line_id"]).set_axis(lines.index)
    pairs = zip(lines[list(_OF_LINE)].itertuples(index=False), before.itertuples(index=False), strict=True)
    return ["; ".join([_trigger(now, policy), *_causes(now, then, model_changed)]) for now, then in pairs]


def _trigger(now: Any, policy: Policy) -> str:
    told = f"{now.latest_promised_on:%Y-%m-%d}"
    if now.latest_promised_on < now.cutoff_on:
        return f"{told}, the date told, has passed"
    if now.told_chance < policy.promise_floor:
        return f"{told}, the date told, has a chance of {now.told_chance:.0%}"
    days = (now.expected_latest_on - now.latest_promised_on) // DAY
    off = f"{abs(days)} day{'' if abs(days) == 1 else 's'}"
    return f"{told}, the date told, is {off} too {'early' if days > 0 else 'late'}"


def _causes(now: Any, then: Any, model_changed: bool) -> list[str]:
    """What changed for the line since `then`, its row in the last queue; empty without one."""
    if pd.isna(then.pool_rank):
        return []
    causes = []
    if now.action == "ship":
        causes.append("its goods are here")
    elif not _same(now.next_inbound_po_line_id, then.next_inbound_po_line_id):
        causes.append(_next_goods(now.next_inbound_po_line_id, then.next_inbound_po_line_id))
    elif pd.notna(now.next_inbound_on) and now.next_inbound_on != then.next_inbound_on:
        was = f", before on {then.next_inbound_on:%Y-%m-%d}" if pd.notna(then.next_inbound_on) else ""
        causes.append(f"{now.next_inbound_po_line_id} is expected on {now.next_inbound_on:%Y-%m-%d}{was}")
    if now.pool_rank != then.pool_rank:
        causes.append(f"place {now.pool_rank} in its pool, before {int(then.pool_rank)}")
    if now.open_quantity != then.open_quantity:
        causes.append("its quantity changed")
    if model_changed:
        causes.append("the models changed")
    return causes or ["other lines or the chances of goods changed"]


def _same(now: Any, then: Any) -> bool:
    return bool(now == then) or bool(pd.isna(now) and pd.isna(then))


def _next_goods(now: Any, then: Any) -> str:
    if pd.isna(now):
        return "no inbound line is open any longer"
    return f"{now} comes next" + ("" if pd.isna(then) else f", before {then}")
