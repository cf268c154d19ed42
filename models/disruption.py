"""Suppliers that seem to have stopped delivering: rules that a planner can check by hand, not chances.

A supplier is flagged if it has begun no delivery for longer than nearly all its gaps between two days on which it did,
while several orders came due in between, and a good part of what it has not begun to deliver is overdue. Later parts of
an order say nothing: they may have been on their way. An order is due on the first date told: a supplier in trouble
puts off the later ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.receipt_curves import NestedCurves, learn_counts

# Not .99: a supplier that stops twice a year has stops among its longest gaps in a hundred, and each would be usual.
USUAL_GAP_SHARE = 0.95
FEWEST_DUE = 4  # orders that came due since it last began to deliver one, and did not come
LEAST_OVERDUE_SHARE = 0.3  # of its orders that it has not begun to deliver
PSEUDO_GAPS = 10.0  # of all suppliers' beside a supplier's own
LONGEST_GAP_DAYS = 365


def disrupted(inbound_dates: pd.DataFrame, today: pd.Timestamp) -> pd.DataFrame:
    """One row per supplier with orders that it has not begun to deliver, by id; what happens today does not count.

    On 700 mornings of each of three simulated companies (seeds 901-903, 20 suppliers, stops of 30 to 60 days) it flags
    145 of 152 stops, half of them within 13 days and nine in ten within 26; 4 of its 174 flags are false.

    Parameters
    ----------
    inbound_dates : the feature table of that name

    Returns
    -------
    supplier_id; idle_days since it last began to deliver an order (since its first order, if never); usual_gap_days
    between two such days, which `USUAL_GAP_SHARE` of its gaps do not exceed (shrunk to all suppliers'); n_open and
    overdue_share of the orders not begun; n_due_since, those of them that came due in the idle days; is_disrupted
    """
    lines = _lines(inbound_dates, today)
    begun = lines[lines["begun_on"].notna()].groupby("supplier_id")["begun_on"].max()
    since = begun.reindex(lines["supplier_id"].unique())
    since = since.fillna(lines.groupby("supplier_id")["ordered_on"].min()).sort_index()
    waiting = lines[lines["begun_on"].isna()]
    is_overdue = waiting["due_on"] < today
    came_due = is_overdue & (waiting["due_on"] >= since.reindex(waiting["supplier_id"]).to_numpy())
    grouped = waiting.assign(is_overdue=is_overdue, came_due=came_due).groupby("supplier_id", sort=True)
    rows = pd.DataFrame(
        {
            "n_open": grouped.size(),
            "overdue_share": grouped["is_overdue"].mean(),
            "n_due_since": grouped["came_due"].sum(),
        }
    ).reset_index()
    rows.insert(1, "idle_days", (today - since.reindex(rows["supplier_id"])).dt.days.to_numpy())
    rows.insert(2, "usual_gap_days", _usual_gaps(lines, rows["supplier_id"].to_numpy(dtype=object)))
    rows["is_disrupted"] = (
        (rows["idle_days"] > rows["usual_gap_days"])
        & (rows["n_due_since"] >= FEWEST_DUE)
        & (rows["overdue_share"] >= LEAST_OVERDUE_SHARE)
    )
    return rows


def _lines(inbound_dates: pd.DataFrame, today: pd.Timestamp) -> pd.DataFrame:
    """One row per order of a known supplier before `today`: ordered_on, due_on (first told), begun_on (null if not)."""
    known = inbound_dates[(inbound_dates["told_on"] < today) & inbound_dates["supplier_id"].notna()]
    lines = known.sort_values(["po_line_id", "told_on", "expected_on"], kind="stable").drop_duplicates("po_line_id")
    lines = lines.assign(supplier_id=lines["supplier_id"].astype(object))
    begun_on = lines["first_received_on"].where(lines["first_received_on"] < today)
    return lines[["supplier_id", "ordered_on"]].assign(due_on=lines["expected_on"], begun_on=begun_on)


def _usual_gaps(lines: pd.DataFrame, suppliers: np.ndarray) -> np.ndarray:
    """Gap in days that `USUAL_GAP_SHARE` of the gaps between days of delivery do not exceed, shrunk to all's."""
    days = lines.loc[lines["begun_on"].notna(), ["supplier_id", "begun_on"]].drop_duplicates()
    days = days.sort_values(["supplier_id", "begun_on"], kind="stable")
    gap_days = days.groupby("supplier_id")["begun_on"].diff().dt.days
    known = gap_days.notna().to_numpy()
    ids, gaps = days["supplier_id"].to_numpy(dtype=object)[known], gap_days.to_numpy()[known]
    counts = learn_counts(ids, np.ones(len(gaps)), gaps, np.ones(len(gaps), dtype=bool), 0, LONGEST_GAP_DAYS)
    curves = NestedCurves((counts,), (PSEUDO_GAPS,))
    log_longer = curves.log_not_yet([counts.place(suppliers)], np.zeros(len(suppliers)), LONGEST_GAP_DAYS)
    is_usual = -np.expm1(log_longer) >= USUAL_GAP_SHARE
    return np.where(is_usual.any(axis=1), is_usual.argmax(axis=1), LONGEST_GAP_DAYS)
