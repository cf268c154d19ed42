"""Dates told in a simulated company that is rolled forward under the queue, and when the goods left.

Every morning our queue decides: new orders are in, goods came, customers changed their minds, all lines are ranked
again. A line is told its dates on the first morning on which it waits without goods. After the last morning of telling
the company lives on, still under the queue, so that dates can fall due.

What the simulator does: goods that come between 08:00 and 12:00 of a day go first, that evening, to the lines that fall
due on it, most of them just ordered, oldest first; what is left is given out by the next morning's rule and leaves
after 13:00. So a line that waits leaves on the day after a receipt at the earliest, on any day of the week.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from erp.simulated_chance import take
from erp.simulated_hazard import cancel_hazard
from erp.simulated_rules import Morning
from erp.simulated_tables import line_ids
from erp.simulator import Company, close, fork, step
from models.arrival import open_inbound
from pipelines.simulation import Decided, TellingDesk, TrainedDesk

DAY = pd.Timedelta(days=1)
SHIP_LAG = DAY  # from a receipt to the next morning's rule
WAITS = ("wait", "ship_part")


@dataclass(frozen=True)
class Mornings:
    """How many mornings new lines are told dates on, and how many more the company lives."""

    n_telling: int = 90
    n_after: int = 60


def dates_told(company: Company, mornings: Mornings, desk: TrainedDesk | None = None) -> pd.DataFrame:
    """One row per line told: its first `look`, is_backlog, end_on (last day lived), `retold`, `fates` and `spared`."""
    twin, looks, hazards = fork(company), [], []
    telling = TellingDesk(desk or TrainedDesk.at(company))

    def rule(morning: Morning) -> np.ndarray:
        decided = telling.decided(morning)
        looks.append(look(decided, morning))
        return decided.ship_now(morning)

    twin.rule = rule
    for _ in range(mornings.n_telling + mornings.n_after):
        hazards.append(customer_hazard(twin))
        step(twin)
    every = pd.concat(looks, ignore_index=True)
    began_on = _day_of(company)
    first = every.drop_duplicates("order_line_id").set_index("order_line_id")
    first = first[first["day"] < began_on + mornings.n_telling * DAY]
    told = first.assign(is_backlog=first["day"] == began_on, end_on=_day_of(twin) - DAY)
    told = told.join(retold(every)).join(fates(twin, told.index)).join(spared(told["day"], hazards))
    return pd.DataFrame(told.reset_index())


def look(decided: Decided, morning: Morning) -> pd.DataFrame:
    """One row per line that waits without goods or with a part, on one morning.

    Columns: order_line_id, day, product_id, supplier_id (usual), pool_rank, pool_size, wait_source, the queue's dates
    (expected_on, expected_latest_on, promise_on) and promise_changed_because, and the dates of others: company_on (the
    planners' latest), supplier_on (soonest of any open inbound line, tomorrow at the earliest, and a day to ship),
    receipt_on and receipt_latest_on (median and .9 of the next receipt, whatever the line's rank, and a day to ship).
    """
    lines = decided.features["lines"].reset_index(drop=True)
    today = lines["cutoff_on"]
    come = np.cumsum(decided.predictions.arrival[:, :-1], axis=1)
    soonest = open_inbound(decided.features["inbound_dates"]).groupby("product_id")["expected_on"].min()
    says = morning.lines.set_index("order_line_id")["latest_promised_on"]
    of_line = pd.DataFrame(
        {
            "order_line_id": lines["order_line_id"],
            "day": today,
            "supplier_id": lines["supplier_id"],
            "wait_source": decided.predictions.receipts["wait_source"].to_numpy(),
            "company_on": lines["order_line_id"].map(says),
            "supplier_on": lines["product_id"].map(soonest).clip(lower=today + DAY) + SHIP_LAG,
            "receipt_on": today + _first_day(come, 0.5) + SHIP_LAG,
            "receipt_latest_on": today + _first_day(come, 0.9) + SHIP_LAG,
        }
    )
    queue = decided.queue[decided.queue["action"].isin(WAITS)]
    names = ["order_line_id", "product_id", "pool_rank", "pool_size", "expected_on", "expected_latest_on"]
    names += ["promise_on", "promise_changed_because"]
    return queue[names].merge(of_line, on="order_line_id", validate="one_to_one")


def _first_day(come: np.ndarray, share: float) -> pd.TimedeltaIndex:
    reached = come >= share - 1e-9
    return pd.to_timedelta(np.where(reached[:, -1], reached.argmax(axis=1), np.nan), unit="D")


def retold(every: pd.DataFrame) -> pd.DataFrame:
    """One row per line: last_promise_on (the date to tell when last seen), n_moves and why, joined by "; ".

    Parameters
    ----------
    every : looks in the order of days: order_line_id, promise_on, promise_changed_because

    >>> on = pd.to_datetime(["2026-01-05", "2026-01-05", "2026-01-09"])
    >>> rows = {"order_line_id": "a", "promise_on": on, "promise_changed_because": [None, None, "late"]}
    >>> retold(pd.DataFrame(rows)).loc["a"].astype(str).tolist()
    ['2026-01-09 00:00:00', '1', 'late']
    """
    dated = every[every["promise_on"].notna()]
    lines = dated.groupby("order_line_id", sort=False)
    before = lines["promise_on"].shift()
    moved = dated[before.notna() & (dated["promise_on"] != before)].groupby("order_line_id", sort=False)
    why = moved["promise_changed_because"].agg(lambda causes: "; ".join(causes.fillna("").astype(str)))
    shown = pd.DataFrame({"last_promise_on": lines["promise_on"].last(), "n_moves": moved.size(), "why_moved": why})
    return shown.assign(n_moves=shown["n_moves"].fillna(0).astype(int))


def fates(company: Company, line_id: pd.Index) -> pd.DataFrame:
    """One row per line: shipped_on (in full), cancelled_on (what was left), by_customer; all null while it is open.

    A line whose last quantity was cancelled has not been shipped in full. Goods go before the day's cancellations.
    """
    tables = close(company)
    shipped = _last_day(tables["shipments"], "shipped_at").reindex(line_id)
    cancelled = _last_day(tables["cancellations"], "cancelled_at").reindex(line_id)
    last = tables["cancellations"].sort_values("cancelled_at").drop_duplicates("order_line_id", keep="last")
    by = last.set_index("order_line_id")["cancelled_by"].reindex(line_id)
    is_over = ~line_id.isin(line_ids(company, company.open["key"]))
    in_full = is_over & shipped.notna() & ~(cancelled >= shipped)
    is_cancelled = is_over & ~in_full
    return pd.DataFrame(
        {
            "shipped_on": shipped.where(in_full),
            "cancelled_on": cancelled.where(is_cancelled),
            "by_customer": (by == "customer") & is_cancelled,
        }
    )


def customer_hazard(company: Company) -> pd.DataFrame:
    """One row per waiting line: order_line_id, day, and hazard, the true chance that its customer drops it today.

    Half a line that is cancelled is still wanted.
    """
    lines = take(company.open, company.open["due_day"] < company.day)
    whole = 1.0 - company.shape.partial_cancel_share * (lines["open"] > 1)
    ids = line_ids(company, lines["key"])
    hazard = cancel_hazard(company.shape, lines, company.day) * whole
    return pd.DataFrame({"order_line_id": ids, "day": _day_of(company), "hazard": hazard})


def spared(told_on: pd.Series, hazards: Sequence[pd.DataFrame]) -> pd.Series:
    """Of each line the true chance that its customer had not dropped it by the start of day 0, 1, ... after telling.

    Parameters
    ----------
    told_on : day of telling by order_line_id
    hazards : `customer_hazard` of consecutive days; a line has no row once it is gone

    >>> on = pd.Series(pd.to_datetime(["2026-01-05"]), index=["a"])
    >>> days = [pd.DataFrame({"order_line_id": "a", "day": on, "hazard": 0.5})] * 2
    >>> spared(on, days)["a"].tolist()
    [1.0, 0.5, 0.25]
    """
    every = pd.concat(hazards, ignore_index=True)
    since = every[every["day"] >= every["order_line_id"].map(told_on)]  # no line that was not told
    paths = since.groupby("order_line_id")["hazard"].agg(lambda hazard: np.r_[1.0, np.cumprod(1.0 - hazard)])
    return paths.reindex(told_on.index).rename("spared")


def _last_day(events: pd.DataFrame, at: str) -> pd.Series:
    last: pd.Series = events.groupby("order_line_id")[at].max().dt.normalize()
    return last


def _day_of(company: Company) -> pd.Timestamp:
    return pd.Timestamp(company.as_of).tz_localize(None).normalize()


def causes(told: pd.DataFrame) -> Mapping[Hashable, int]:
    """How often each cause moved a date, the most frequent first; dates, ids and numbers are left out of its words.

    >>> causes(pd.DataFrame({"why_moved": ["B7 is late by 3 days", "B8 is late by 9 days; rank", None]}))
    {'_ is late by _ days': 2, 'rank': 1}
    """
    every = told["why_moved"].dropna().str.split("; ").explode()
    return every.str.replace(r"[^ ,]*\d[^ ,]*", "_", regex=True).value_counts().to_dict()
