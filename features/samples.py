"""Training rows: the same feature queries at past cut-offs, and what became known later but before the training T."""

from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from erp.known import Facts, local_day
from features.feature_tables import build, fetch, prepare
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


MOST_ORIGINS = 3  # T; the day from which T can be foretold; the day from which that one can
# Cut-offs of small books are many: on past cut-offs of a book of 2,400 accounts 26 foretold better than 12.
FEWEST_CUTOFFS, MOST_CUTOFFS, ROWS_WANTED = 12, 26, 60_000
FEWEST_DAYS = 14  # of history before a cut-off, and of outcomes after it
MOST_ACCOUNT_ROWS = 250_000  # of one origin: a booster of this size learns no more from more of them


def account_samples(facts: Facts, horizon_days: int = 365, at_most: int | None = None) -> pd.DataFrame:
    """Accounts at past cut-offs, with what they ordered after each, as an origin knew it.

    An origin is a day on which a model could have been trained: T itself, and before it days from which the next
    origin can be foretold (`origins`), so that what is learned by one is judged by what came before the next.

    Parameters
    ----------
    horizon_days : outcomes are counted no longer than this
    at_most : cut-offs besides the origins, evenly between the first order and T; None: 12, and up to 26 of small books

    Returns
    -------
    One row per account, cut-off and origin: the columns of `accounts`, and
        origin_on : outcomes are counted up to this day
        horizon_days : days from the cut-off over which they are; 0 at the origin itself, where nothing came yet
        next_margin, next_amount : money, net of what was cancelled or returned
        next_n_orders : days with an order
    What was ordered on the cut-off's own day after T's time of day counts in neither. An origin does not know yet what
    of its last orders will be cancelled or returned: short windows bring somewhat more than will last.
    Of more than `MOST_ACCOUNT_ROWS` rows of an origin the same accounts are kept at each cut-off, by a hash of the id.
    """
    with facts.connect() as connection:
        prepare(connection, facts, facts.as_of, "known_lines")
        first = _first_order(connection) or facts.as_of
        orders = {origin: _orders(connection, facts, origin) for origin in origins(first, facts.as_of, horizon_days)}
        n_accounts = max(orders[facts.as_of]["account_id"].nunique(), 1)
        at_most = at_most if at_most is not None else min(max(ROWS_WANTED // n_accounts, FEWEST_CUTOFFS), MOST_CUTOFFS)
        moments = _account_cutoffs(first, list(orders), at_most)
        kept_share = min(1.0, MOST_ACCOUNT_ROWS / (len(moments) * n_accounts))
        parts = []
        for moment in moments:
            accounts = build(connection, facts, moment, "accounts")
            accounts = accounts[_of_share(accounts["account_id"], kept_share)]
            account_of = fetch(connection, "select customer_id, account_id from known_customers")
            for origin, ordered in orders.items():
                if moment == origin or moment + timedelta(days=FEWEST_DAYS) <= origin:
                    days = min((origin - moment).days, horizon_days)
                    own = _by_account(ordered, account_of)
                    part = _with_next_orders(accounts, own, local_day(moment, facts.site), days)
                    parts.append(part.assign(origin_on=pd.Timestamp(str(local_day(origin, facts.site))).as_unit("s")))
    return pd.concat(parts, ignore_index=True)


def _orders(connection: duckdb.DuckDBPyConnection, facts: Facts, moment: datetime) -> pd.DataFrame:
    """Order lines of known customers with what they brought, net of what was cancelled or returned by then."""
    prepare(connection, facts, moment, "known_lines")
    wanted = "customer_id, account_id, ordered_on, net_margin, net_amount"
    # In one order, so that sums of money are the same to the last bit.
    return fetch(connection, f"select {wanted} from known_lines where account_id is not null order by order_line_id")


def _by_account(orders: pd.DataFrame, account_of: pd.DataFrame) -> pd.DataFrame:
    """The orders under the accounts of the cut-off: who got a parent since would else seem to have fallen silent."""
    then = orders["customer_id"].map(account_of.set_index("customer_id")["account_id"])
    return orders.assign(account_id=then.fillna(orders["account_id"]))


def origins(first: datetime, as_of: datetime, horizon_days: int) -> list[datetime]:
    """Days on which models could have been trained, newest first, `rehearsed_days` apart.

    >>> [day.date().isoformat() for day in origins(datetime(2022, 1, 1), datetime(2024, 1, 1), 365)]
    ['2024-01-01', '2023-01-01', '2022-09-02']
    """
    found = [as_of]
    while len(found) < MOST_ORIGINS:
        step = rehearsed_days((found[-1] - first).days, horizon_days)
        if not step:
            break
        found.append(found[-1] - timedelta(days=step))
    return found


def rehearsed_days(history_days: int, horizon_days: int = 365) -> int:
    """Days from an earlier origin to one with so long a history; 0 if that is too short for an earlier one.

    A horizon, where the history holds two of them. Else so many that a horizon of history is left to the earlier one,
    or two thirds of all: a model of two thirds tells more of one of the whole than one of half of it does, though it
    is judged over less.

    >>> [rehearsed_days(history) for history in (1000, 700, 400, 50, 27)]
    [365, 335, 133, 16, 0]
    """
    days = min(horizon_days, max(history_days // 3, history_days - horizon_days, FEWEST_DAYS))
    return days if days >= FEWEST_DAYS and history_days >= 2 * FEWEST_DAYS else 0


def _account_cutoffs(first: datetime, until: list[datetime], at_most: int) -> list[datetime]:
    """The origins, and days evenly between them at T's time of day, oldest first."""
    span_days = (until[0] - first).days - 2 * FEWEST_DAYS
    ages = np.unique(np.linspace(0, span_days, at_most).astype(int)) if span_days >= 0 else []
    return sorted({*until, *(until[0] - timedelta(days=FEWEST_DAYS + int(age)) for age in ages)})


def _of_share(account_ids: pd.Series, share: float) -> np.ndarray:
    """Whether each account is among a share of all, by a hash of its id: the same whatever others there are."""
    hashed = pd.util.hash_array(account_ids.to_numpy(dtype=object), categorize=False)
    return np.asarray(hashed < share * 2.0**64)


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
