"""Rules to roll through past mornings: the plain ranks that companies use, the cost of waiting, a published queue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import give_out
from decisions.cost_of_waiting import cost_of_waiting
from decisions.limits import Limits
from decisions.outlooks import Outlooks
from decisions.policy import Policy
from decisions.ranking import due_order, places_of
from decisions.replay import PastMorning, Rule

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

UNNAMED = np.inf  # of whom the rank says nothing: after all others
PLAIN = Policy()  # typed ranks do not look at money


def first_come_first_served(morning: PastMorning) -> Floats:
    """Give goods to the oldest order first."""
    return in_turn(morning, _seconds(morning.lines["ordered_at"]))


def by_promise_date(morning: PastMorning) -> Floats:
    """Give goods to the earliest first promise first; lines without one last."""
    return in_turn(morning, _seconds(morning.lines["promised_on"]))


def by_typed_priority(morning: PastMorning) -> Floats:
    """Give goods to the smallest priority_class first; lines without one last."""
    return in_turn(morning, morning.lines["priority_class"].to_numpy(np.float64, na_value=np.nan))


def by_line_value(morning: PastMorning) -> Floats:
    """Give goods to the greatest open amount first."""
    return in_turn(morning, -morning.lines["line_value"].to_numpy(np.float64))


def in_turn(morning: PastMorning, key: Floats) -> Floats:
    """Units when the least key of each pool is served first; ties by the earlier due day, then order_line_id.

    A line whose key is missing stands last. One that ships whole and does not fit is passed over.
    """
    limits = _limits(morning, _places(morning.lines, key))
    return _given(morning.lines.assign(loss_if_waits=0.0), morning, PLAIN, limits)


def by_loss_if_waits(foreseen: Outlooks, joint_cancel_share: float, policy: Policy) -> Rule:
    """Rule that gives goods to those who lose most by waiting for the next goods at given prices [W / q].

    Parameters
    ----------
    foreseen : what was predicted as of each morning; its rows also hold wait_days (days from made_on until the next
        goods were expected; once they are past, tomorrow) and, if those goods had a price [v], later_price (money per
        unit). A line of which nothing was said loses nothing.
    """

    def rule(morning: PastMorning) -> Floats:
        row = foreseen.in_force(morning.lines["order_line_id"], morning.on)
        loss = np.zeros(len(row))
        said = np.flatnonzero(row >= 0)
        if len(said):
            lines = morning.lines.iloc[said]
            loss[said] = _loss_if_waits(lines, foreseen, row[said], morning.on, joint_cancel_share, policy)
        limits = Limits.none(len(row), len(morning.pools))
        return _given(morning.lines.assign(loss_if_waits=loss), morning, policy, limits)

    return rule


def as_published(queues: pd.DataFrame) -> Rule:
    """Rule that gives out what the queue published that morning says, and what that leaves by its rank.

    Goods are left where a line that was to have them has gone in this draw, or had them on an earlier day. On a morning
    without a queue, and for lines that it does not name, the last rank that each line had stands.

    Parameters
    ----------
    queues : made_on, order_line_id, rank, ship_now_quantity
    """
    last = Outlooks(queues.reset_index(drop=True), np.ones((len(queues), 2)))
    rank, units = (last.rows[name].to_numpy(np.float64) for name in ("rank", "ship_now_quantity"))

    def rule(morning: PastMorning) -> Floats:
        row = last.in_force(morning.lines["order_line_id"], morning.on)
        is_named = row >= 0
        is_todays = is_named & (last.days_since(row, morning.on) == 0)
        open_units = morning.lines["open_quantity"].to_numpy(np.float64)
        told = np.where(is_todays, np.minimum(units[row], open_units), 0.0)
        key = _places(morning.lines, np.where(is_named, rank[row], np.nan))
        return _given(
            morning.lines.assign(loss_if_waits=0.0), morning, PLAIN, replace(_limits(morning, key), least=told)
        )

    return rule


def _loss_if_waits(
    lines: pd.DataFrame, foreseen: Outlooks, row: Codes, on: pd.Timestamp, joint_cancel_share: float, policy: Policy
) -> Floats:
    """W of lines whose next goods come on one certain day, at the price that those goods then have."""
    said = foreseen.rows.iloc[row]
    lines = lines.assign(lifetime_value=said["lifetime_value"].to_numpy(np.float64))
    wait = said["wait_days"].to_numpy(np.float64) - foreseen.days_since(row, on)
    arrival = np.zeros((len(lines), policy.horizon_days + 2))
    arrival[np.arange(len(lines)), np.clip(np.ceil(wait), 1, policy.horizon_days + 1).astype(np.int64)] = 1
    wanted = foreseen.wanted_from(row, on, policy.horizon_days)
    price = said["later_price"].to_numpy(np.float64) if "later_price" in said else None
    costs = cost_of_waiting(lines, wanted, arrival, joint_cancel_share, policy, price)
    return costs["loss_if_waits"].to_numpy(np.float64)


def _given(lines: pd.DataFrame, morning: PastMorning, policy: Policy, limits: Limits) -> Floats:
    given = give_out(lines, morning.pools, policy, limits).ship_now_quantity
    return np.asarray(given.to_numpy(np.float64))


def _limits(morning: PastMorning, key: Floats) -> Limits:
    return replace(Limits.none(len(key), len(morning.pools)), sort_key=key)


def _places(lines: pd.DataFrame, key: Floats) -> Floats:
    """Place of each line by its key, then by due day and id; without a key last."""
    order = np.lexsort((due_order(lines), np.where(np.isnan(key), UNNAMED, key)))
    return places_of(order).astype(np.float64)


def _seconds(times: pd.Series) -> Floats:
    """Seconds since 1970, NaN where there is no time."""
    seconds = times.to_numpy().astype("datetime64[s]")
    return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64).astype(np.float64))
