"""What the arrival model says about itself: it is judged on past mornings against what came.

To learn costs seconds, to foresee hardly any: models of three past days foresee the lines open on four mornings each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.arrival import ArrivalModel, fit, open_curves, open_inbound, quantile_days
from models.judging import finite, pinball, ratio_interval, with_interval
from models.reorder_report import fresh_metrics
from models.report import Report, calibration_plot, shares_over_time_plot, waits_plot, widths_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_LEARNED, N_MORNINGS, MORNING_EVERY_DAYS = 3, 4, 15
SHARES = {"50": (0.25, 0.75), "90": (0.05, 0.95)}  # intervals: chances at both ends
MOST_SUPPLIERS = 15  # the widest, in the picture


def as_told_on(inbound_dates: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Take the table back to how it stood at the start of `day`: no later date told, no later receipt."""
    keys = ["po_line_id", "told_on", "expected_on", "received_on"]
    known = inbound_dates[inbound_dates["told_on"] < day].copy()
    came = known["received_on"] < day
    for name in ("received_on", "part_quantity"):
        known[name] = known[name].where(came)
    known = known.sort_values(keys, kind="stable")
    is_first = ~known.duplicated(keys[:3])  # a date that goods came under has no row without them
    known = known[is_first | known["received_on"].notna()].copy()
    known["first_received_on"] = known["first_received_on"].where(known["first_received_on"] < day)
    so_far = known["part_quantity"].fillna(0.0).groupby(known["po_line_id"]).transform("sum")
    known["received_quantity"] = so_far
    known["is_latest"] = ~known.duplicated("po_line_id", keep="last")
    return known.reset_index(drop=True)


def evaluate(inbound_dates: pd.DataFrame, today: pd.Timestamp, n_days: int = 365, seed: int = 0) -> Report:
    """Judge on past mornings: learn from what was known, foresee each open inbound line, compare with what came.

    Coverage counts lines still open today as late if their interval has passed and leaves them out if it has not.
    """
    rows = _judged(inbound_dates, today, n_days, seed)
    if not len(rows):
        return Report(notes=["too little purchase history to judge by past days: nothing was measured"])
    group = rows["group"].to_numpy()
    metrics: dict[str, float] = {"n_predicted": len(rows), "n_still_open": float((~rows["came"]).sum())}
    for name in SHARES:
        known = rows[rows[f"known_{name}"]]
        metrics |= with_interval(f"coverage_{name}", _share(known, f"in_{name}", seed))
        metrics[f"coverage_{name}_expected"] = float(known[f"mass_{name}"].mean())
    metrics |= with_interval("met_by_90_date", _share(rows[rows["is_due_90"]], "met_90", seed))
    ours, theirs = rows["pinball"].to_numpy(), rows["pinball_supplier"].to_numpy()
    metrics |= {"pinball_days": float(ours.mean()), "pinball_days_supplier_date": float(theirs.mean())}
    metrics |= with_interval("pinball_saved_share", ratio_interval(theirs - ours, theirs, group, seed))
    metrics |= fresh_metrics(inbound_dates, today, seed=seed)
    n_mornings = rows["morning"].nunique()
    notes = [
        f"judged on {n_mornings} past mornings by models of {rows['learned_on'].nunique()} days, learning from what was"
        " known then; intervals resample supplier and model",
        "whole days make intervals wider than asked for: compare coverage with coverage_expected",
        "an overdue supplier date counts as tomorrow; a line still open counts as coming today in pinball",
        "fresh_... is of goods that nobody had ordered yet, in pools that nothing was on order for",
        "met_by_90_date is of 90 % dates that have passed; pictures of waits leave out what is still open",
    ]
    return Report({"n_days": n_days, "n_past_days": n_mornings}, finite(metrics), _figures(rows, seed), notes)


def _figures(rows: pd.DataFrame, seed: int) -> dict[str, Figure]:
    came = rows[rows["came"]]
    foreseen = came[["low_90", "low_50", "median", "high_50", "high_90"]].to_numpy()
    due = rows[rows["is_due_90"]]
    mornings = {day: _share(part, "met_90", seed) for day, part in due.groupby("morning")}
    width = (rows["high_90"] - rows["low_90"]).groupby(rows["supplier"]).mean()
    n_receipts = came.drop_duplicates("po_line_id").groupby("supplier").size().reindex(width.index, fill_value=0)
    widest = np.lexsort((width.index.to_numpy(dtype=str), -width.to_numpy()))[:MOST_SUPPLIERS]
    return {
        "calibration": calibration_plot(rows["mean_days"], rows["outcome_days"], "Days until goods come"),
        "promised_against_actual": waits_plot(foreseen, came["outcome_days"].to_numpy()),
        "coverage_over_time": shares_over_time_plot(mornings, "Inbound lines that came by their 90 % date"),
        "widest_suppliers": widths_plot(width.iloc[widest], n_receipts.iloc[widest]),
    }


def _share(rows: pd.DataFrame, name: str, seed: int) -> tuple[float, float, float]:
    return ratio_interval(rows[name].to_numpy(float), np.ones(len(rows)), rows["group"].to_numpy(), seed)


def _past_mornings(inbound_dates: pd.DataFrame, today: pd.Timestamp) -> list[pd.DatetimeIndex]:
    """Mornings of each model: from the days they are learned on, evenly spread over the later half of the history."""
    known = inbound_dates.loc[inbound_dates["told_on"] < today, "told_on"]
    if not len(known):
        return []
    first, last = known.min() + (today - known.min()) / 2, today - pd.Timedelta(days=2 * MORNING_EVERY_DAYS)
    if first >= last:
        return []
    learned = pd.date_range(first, last, periods=N_LEARNED).normalize().unique()
    ends = [*learned[1:], today - pd.Timedelta(days=MORNING_EVERY_DAYS - 1)]
    every = pd.Timedelta(days=MORNING_EVERY_DAYS)
    spans = [pd.date_range(day, periods=N_MORNINGS, freq=every) for day in learned]
    return [mornings[mornings < end] for mornings, end in zip(spans, ends, strict=True)]


def _judged(inbound_dates: pd.DataFrame, today: pd.Timestamp, n_days: int, seed: int) -> pd.DataFrame:
    """One row per past morning and inbound line that was open then."""
    judged = []
    for mornings in _past_mornings(inbound_dates, today):
        model = fit(as_told_on(inbound_dates, mornings[0]), mornings[0], seed)
        for morning in mornings:
            rows = _judged_on(model, inbound_dates, morning, today, n_days)
            group = rows["supplier"] + f" {mornings[0]:%Y-%m-%d}"
            judged.append(rows.assign(morning=morning, learned_on=mornings[0], group=group))
    return pd.concat(judged, ignore_index=True) if judged else pd.DataFrame()


def _judged_on(
    model: ArrivalModel, inbound_dates: pd.DataFrame, day: pd.Timestamp, today: pd.Timestamp, n_days: int
) -> pd.DataFrame:
    """One row per inbound line open on a past day: what was foreseen, what came and how far off it was."""
    known = as_told_on(inbound_dates, day)
    inbound = open_inbound(known)
    inbound = inbound[inbound["expected_on"].notna()].reset_index(drop=True)
    log_open = open_curves(model, inbound, day, n_days, known)
    later = inbound_dates[inbound_dates["received_on"] >= day].groupby("po_line_id")["received_on"].min()
    came_on = later.reindex(inbound["po_line_id"]).set_axis(inbound.index)
    came = (came_on < today).to_numpy()
    outcome = np.maximum((came_on.where(came, today) - day).dt.days.to_numpy(), 1)
    told = np.maximum((inbound["expected_on"] - day).dt.days.to_numpy(), 1)
    by_90 = quantile_days(log_open, 0.9)
    rows = {
        "po_line_id": inbound["po_line_id"].to_numpy(dtype=object),
        "supplier": inbound["supplier_id"].astype(str).to_numpy(dtype=object),
        "came": came,
        "outcome_days": outcome,
        "mean_days": np.exp(log_open).sum(axis=1),
        "median": quantile_days(log_open, 0.5),
        "is_due_90": by_90 < (today - day).days,
        "met_90": came & (outcome <= by_90),
        "pinball": sum(pinball(outcome, quantile_days(log_open, q), q) for q in (0.5, 0.9)) / 2,
        "pinball_supplier": sum(pinball(outcome, told, q) for q in (0.5, 0.9)) / 2,
    }
    has_come = np.c_[-np.expm1(log_open), np.ones(len(inbound))]
    line = np.arange(len(inbound))
    for name, shares in SHARES.items():
        low, high = (quantile_days(log_open, share) for share in shares)
        rows |= {f"low_{name}": low, f"high_{name}": high, f"known_{name}": came | (high < outcome)}
        rows[f"in_{name}"] = came & (low <= outcome) & (outcome <= high)
        rows[f"mass_{name}"] = has_come[line, high] - has_come[line, low - 1]
    return pd.DataFrame(rows)
