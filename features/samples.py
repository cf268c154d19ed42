"""Training rows: the same feature queries at past cut-offs, and what became known later but before the training T."""

from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from erp.known import Facts, local_day
from features.feature_tables import build, prepare
from features.stretches import look_back


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


# A line that waits briefly falls between wide looks, and a look of a company with many lines takes long: so the days
# between two looks rise with the order lines. The last step holds for all above.
STEP_DAYS_UP_TO_LINES = ((5_000, 3), (100_000, 6), (200_000, 7))
WIDEST_STEP_DAYS = 14


def cancellation_samples(facts: Facts, every_days: int | None = None, at_most: int | None = None) -> pd.DataFrame:
    """Open back-ordered lines at looks back over two years, cut into stretches in which nothing but time changed.

    Parameters
    ----------
    every_days : days between looks; a line is followed from one to the next; None: as the number of lines suggests
    at_most : number of looks; None: those of two years

    Returns
    -------
    One row per line and stretch: columns of `backorder_lines` as known at its start, on the morning of `cutoff_on`, and
        at_risk_days : to its end; a fraction where that has a time of day, .5 into the last 24 hours where only its day
            is known, whole where the stretch ends by the next look, a new state or the newest day with complete labels
        ended_by : customer (cancelled in full or in part), change, seller, shipment; null: watched no longer
        cancelled_share : of the stretch's open quantity, what the customer cancelled at its end; 0 for other ends
    A line that already waits at the first look enters there with the days it has waited. `order_line_id` and
    `cutoff_on` name a row.
    """
    with facts.connect() as connection:
        prepare(connection, facts, facts.as_of, "known_lines")
        first = _first_order(connection)
        if first is None:
            return look_back(connection, facts, [], facts.as_of)
        every_days = every_days or _usual_step_days(connection)
        at_most = at_most or 730 // every_days
        lag_days = _recording_lag_days(connection)
        for young_days in (max(lag_days, facts.site.reorder_days), lag_days):
            moments = cutoffs(facts, first + timedelta(days=28), every_days, at_most, young_days + every_days)
            if moments:
                break
        return look_back(connection, facts, moments, facts.as_of - timedelta(days=young_days))


def _usual_step_days(connection: duckdb.DuckDBPyConnection) -> int:
    n_lines = connection.execute("select count(*) from known_lines").fetchall()[0][0]
    return next((days for most, days in STEP_DAYS_UP_TO_LINES if n_lines <= most), WIDEST_STEP_DAYS)


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
