"""Training rows: the same feature queries at past cut-offs, and what became known later but before the training T."""

from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from erp.known import Facts, local_day
from features.feature_tables import build, fetch

DAY = np.timedelta64(1, "D")


def cutoffs(facts: Facts, first: datetime, every_days: int, at_most: int, newest_age_days: int) -> list[datetime]:
    """Past moments at T's time of day, oldest first: T - newest age, and back in steps, not before `first`.

    >>> from pathlib import Path; from erp.settings import Site
    >>> facts = Facts(Path("."), datetime(2024, 3, 1, 5), Site())
    >>> [c.day for c in cutoffs(facts, datetime(2024, 2, 1), every_days=7, at_most=3, newest_age_days=7)]
    [9, 16, 23]
    """
    newest = facts.as_of - timedelta(days=newest_age_days)
    moments = [newest - timedelta(days=every_days * k) for k in range(at_most)]
    return sorted(moment for moment in moments if moment >= first)


# Lines that wait briefly fall between wide cut-offs, so a company looks back weekly over two years; one with more order
# lines than this has plenty of them every other week, in half the time.
WEEKLY_UP_TO_LINES = 200_000


def cancellation_samples(facts: Facts, every_days: int | None = None, at_most: int | None = None) -> pd.DataFrame:
    """Open back-ordered lines at past cut-offs of two years, with when and how they left the queue.

    Parameters
    ----------
    every_days : days between cut-offs; a line is watched from one to the next; None: as the number of lines suggests
    at_most : number of cut-offs; None: those of two years

    Returns
    -------
    Columns of `backorder_lines` plus `cancelled_day` (by the customer), `closed_day` (shipped in full, cancelled by us,
    or told a new date: our own acts, after which the line is no longer the one that the cut-off describes), both NaN
    if it did not happen and 1 for the first 24 h after the cut-off, and `observed_days` (days until the next cut-off or
    the newest day whose labels are complete).
    """
    with facts.connect() as connection:
        build(connection, facts, facts.as_of, "known_lines")
        ends = fetch(connection, "select order_line_id, ended_at, ended_by from known_lines where has_ended")
        new_dates = fetch(connection, _NEW_DATES)
        first = _first_order(connection)
        if first is None:
            return _with_ends(
                build(connection, facts, facts.as_of, "backorder_lines").iloc[:0], ends, new_dates, facts.as_of, 0
            )
        lag_days = _recording_lag_days(connection)
        every_days = every_days or _usual_step_days(connection)
        moments = cutoffs(facts, first + timedelta(days=28), every_days, at_most or 730 // every_days, every_days)
        parts = []
        for moment in moments or [facts.as_of]:
            lines = build(connection, facts, moment, "backorder_lines")
            observed = min(every_days, (facts.as_of - moment).days - lag_days)
            parts.append(_with_ends(lines, ends, new_dates, moment, max(observed, 0)))
    return pd.concat(parts, ignore_index=True)


def _usual_step_days(connection: duckdb.DuckDBPyConnection) -> int:
    n_lines = connection.execute("select count(*) from known_lines").fetchall()[0][0]
    return 7 if n_lines <= WEEKLY_UP_TO_LINES else 14


_NEW_DATES = """
select t.order_line_id, t.told_at from (
    select *, lag(promised_on) over (partition by order_line_id order by told_at, promised_on) as before_on
    from known_told_dates) t
join known_order_lines l on l.order_line_id = t.order_line_id
where t.promised_on is distinct from coalesce(t.before_on, l.promised_on)
order by t.order_line_id, t.told_at
"""


def _with_ends(
    lines: pd.DataFrame, ends: pd.DataFrame, new_dates: pd.DataFrame, moment: datetime, observed_days: int
) -> pd.DataFrame:
    later = new_dates[new_dates["told_at"] > pd.Timestamp(moment)].drop_duplicates("order_line_id")
    sample = lines.merge(ends, on="order_line_id", how="left").merge(later, on="order_line_id", how="left")
    ended_day, told_day = (_day_after(sample[name], moment) for name in ("ended_at", "told_at"))
    is_own = sample["ended_by"] == "customer"
    return sample.assign(
        cancelled_day=ended_day.where(is_own),
        closed_day=np.fmin(ended_day.where(~is_own), told_day),
        observed_days=observed_days,
    ).drop(columns=["ended_at", "ended_by", "told_at"])


def _day_after(times: pd.Series, moment: datetime) -> pd.Series:
    return np.ceil((times - pd.Timestamp(moment)) / DAY).clip(lower=1).astype(float)


def account_samples(facts: Facts, every_days: int = 28, at_most: int = 14) -> pd.DataFrame:
    """Accounts at past cut-offs, with what they ordered over the horizon after each.

    Every cut-off is watched over two horizons: the full one, to learn from, and about half of it, so that one more
    cut-off, later than every outcome that is then complete, can judge by time.

    Returns
    -------
    Columns of `accounts` plus `next_margin`, `next_amount` (money, net of what was cancelled or returned),
    `next_n_orders` and `horizon_days` (the full one is 365; in young data half or a quarter of it, whatever leaves an
    earlier quarter of a year to learn from).
    """
    with facts.connect() as connection:
        last = build(connection, facts, facts.as_of, "known_lines")
        first = _first_order(connection)
        full_days = horizon_days((facts.as_of - first).days if first else 0) or 91
        shorter_days = full_days - every_days * round(full_days / (2 * every_days))
        orders = last.loc[last["account_id"].notna(), ["account_id", "ordered_on", "net_margin", "net_amount"]]
        moments = cutoffs(facts, (first or facts.as_of) + timedelta(days=60), every_days, at_most, full_days)
        parts = []
        for moment in [*moments, facts.as_of - timedelta(days=shorter_days)]:
            accounts = build(connection, facts, moment, "accounts")
            accounts = accounts if moments else accounts.iloc[:0]
            for days in (full_days, shorter_days):
                if moment + timedelta(days=days) <= facts.as_of:
                    parts.append(_with_next_orders(accounts, orders, local_day(moment, facts.site), days))
    return pd.concat(parts, ignore_index=True)


def horizon_days(seen_days: int) -> int | None:
    """Days over which past accounts can be watched: the most that leaves a quarter of a year before them to learn from.

    >>> [horizon_days(days) for days in (730, 300, 190, 100)]
    [365, 182, 91, None]
    """
    return next((days for days in (365, 182, 91) if seen_days >= days + 91), None)


def _with_next_orders(accounts: pd.DataFrame, orders: pd.DataFrame, day: object, horizon_days: int) -> pd.DataFrame:
    start = pd.Timestamp(str(day))
    window = orders[(orders["ordered_on"] > start) & (orders["ordered_on"] <= start + pd.Timedelta(days=horizon_days))]
    sums = window.groupby("account_id").agg(
        next_margin=("net_margin", "sum"), next_amount=("net_amount", "sum"), next_n_orders=("ordered_on", "nunique")
    )
    sample = accounts.merge(sums, left_on="account_id", right_index=True, how="left")
    columns = ["next_margin", "next_amount", "next_n_orders"]
    return sample.assign(**{c: sample[c].astype(float).fillna(0.0) for c in columns}, horizon_days=horizon_days)


def _first_order(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    return connection.execute("select min(ordered_at) from known_order_lines").fetchall()[0][0]


def _recording_lag_days(connection: duckdb.DuckDBPyConnection) -> int:
    """Days after which 95 % of cancellations and shipments are recorded; younger line-days are no labels."""
    lag = connection.execute(
        """select quantile_cont(date_diff('microsecond', happened_at, known_at) / 8.64e10, 0.95)
           from (select happened_at, known_at from history_cancellations union all
                 select happened_at, known_at from history_shipments)"""
    ).fetchall()[0][0]
    return int(np.ceil(lag or 0.0))
