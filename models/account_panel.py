"""Accounts at past cut-offs with what they did next: what both customer models learn from, and how it is split by time.

A row is an account at a cut-off, watched up to an origin, which is a day on which a model could have been trained (see
`features.samples.account_samples`). The newest origin is T. What an earlier one learned foretells the next one, and is
judged by what came: a rehearsal of what the model of T will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from models import customer_base
from models.customer_base import EXPECTATIONS, CustomerBase
from models.inputs import as_numbers
from models.season import NO_SEASON, learn, repeats_by_day, stretches

# Not here: the cut-off's month. A few cut-offs a year would let it stand for single past days.
NUMERIC = (
    "tenure_days", "recency_days", "n_orders", "n_orders_28d", "n_orders_91d", "n_orders_365d", "mean_gap_days",
    "sd_gap_days", "longest_gap_days", "spend_amount", "spend_28d", "spend_91d", "spend_365d", "margin_amount",
    "margin_91d", "margin_365d", "mean_order_amount", "last_order_amount", "first_order_amount", "first_order_n_lines",
    "first_order_quantity", "n_products", "discount_share", "n_lines", "n_cancelled_lines", "cancel_share",
    "late_share", "mean_wait_days", "returned_share", "n_open_lines", "n_waiting_lines", "open_amount",
)  # fmt: skip
TEXT = ("segment", "channel", "country")
INPUTS = (*NUMERIC, *EXPECTATIONS)
VALUE_HORIZON_DAYS = 365
MOST_FITTED = 20_000  # accounts of a day: seven parameters learn no more from more of them


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What an origin had learned from, and what it would have foretold up to the next.

    Parameters
    ----------
    past : rows whose outcomes were complete by the origin
    judged : the accounts at the origin, with what came by the next
    """

    past: pd.DataFrame
    judged: pd.DataFrame

    @property
    def days(self) -> int:
        """Days over which the judged accounts were watched."""
        return int(self.judged["horizon_days"].max())


def with_expectations(samples: pd.DataFrame) -> pd.DataFrame:
    """Rows in order, with what the classical models expected of each: those of its cut-off and what went before alone.

    Returns
    -------
    The rows by origin, cut-off and account, with the columns of `customer_base.expect` over each row's horizon.
    """
    ordered = samples.sort_values(["origin_on", "cutoff_on", "account_id"], kind="stable").reset_index(drop=True)
    parts = [ordered.iloc[:0].assign(expected_orders=0.0, p_no_order=0.0, **dict.fromkeys(EXPECTATIONS, 0.0))]
    totals = repeats_by_day(ordered)
    for cutoff, rows in ordered.groupby("cutoff_on"):
        base = base_of(rows.drop_duplicates("account_id"), totals[totals["cutoff_on"] <= cutoff])
        parts.append(rows.join(customer_base.expect(base, rows, as_numbers(rows["horizon_days"]))))
    return pd.concat(parts[1:] or parts).sort_index()


def base_of(accounts: pd.DataFrame, totals: pd.DataFrame) -> CustomerBase:
    """The classical models of one day's accounts, of every so many where there are very many.

    Parameters
    ----------
    totals : `season.repeats_by_day` of the cut-offs up to that day; where they show a season, the accounts are learned
        again in its days
    """
    some = accounts.iloc[:: -(-len(accounts) // MOST_FITTED)]
    base = customer_base.fit(some)
    season = learn(stretches(totals, accounts, base.expected_orders))
    return base if season == NO_SEASON else customer_base.fit(some, season)


def origins_of(panel: pd.DataFrame) -> list[pd.Timestamp]:
    """Days on which a model could have been trained, T first."""
    return sorted(panel["origin_on"].unique(), reverse=True)


def rows_that_train(panel: pd.DataFrame) -> pd.DataFrame:
    """Rows watched up to T for at least a day."""
    return _learned_by(panel, origins_of(panel)[0])


def accounts_of_today(panel: pd.DataFrame) -> pd.DataFrame:
    """The accounts at T, of which nothing came yet."""
    today = origins_of(panel)[0]
    return panel[(panel["origin_on"] == today) & (panel["cutoff_on"] == today)].reset_index(drop=True)


def rehearsal(panel: pd.DataFrame) -> Rehearsal | None:
    """The last origin before T, None if the history is too short for one or leaves nothing to learn from before it."""
    newest = origins_of(panel)
    if len(newest) < 2:
        return None
    past, seen = _learned_by(panel, newest[1]), _learned_by(panel, newest[0])
    judged = seen[seen["cutoff_on"] == newest[1]].reset_index(drop=True)
    return Rehearsal(past, judged) if len(past) and len(judged) else None


def as_known_before(panel: pd.DataFrame) -> pd.DataFrame:
    """The panel as the last origin before T saw it."""
    return panel[panel["origin_on"] < panel["origin_on"].max()].reset_index(drop=True)


def watched_days(panel: pd.DataFrame) -> float:
    """Days over which the longest outcomes were watched, 0 without any."""
    return float(panel["horizon_days"].max()) if len(panel) else 0.0


def horizon_note(panel: pd.DataFrame) -> str:
    """Words for outcomes watched for less than a year; empty if some were watched in full."""
    days = watched_days(panel)
    if days >= VALUE_HORIZON_DAYS:
        return ""
    return (
        f"; outcomes were watched for {days:.0f} days, the rest of the {VALUE_HORIZON_DAYS} is assumed to go on alike"
    )


def _learned_by(panel: pd.DataFrame, origin: pd.Timestamp) -> pd.DataFrame:
    return panel[(panel["origin_on"] == origin) & (panel["horizon_days"] > 0)].reset_index(drop=True)
