"""What the arrival model says about itself: it is judged on past days against what came."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.arrival import fit, open_curves, open_inbound, quantile_days
from models.judging import finite, ratio_interval, with_interval
from models.report import Report, calibration_plot


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


def evaluate(inbound_dates: pd.DataFrame, today: pd.Timestamp, n_days: int = 180, seed: int = 0) -> Report:
    """Judge on past days: learn from what was known, predict each open inbound line, compare with what came.

    Coverage counts lines still open today as late if their interval has passed and leaves them out if it has not.
    """
    judged = [_judge_on(inbound_dates, day, today, n_days) for day in _past_days(inbound_dates, today)]
    rows = pd.concat(judged, ignore_index=True) if judged else pd.DataFrame()
    if not len(rows):
        return Report(notes=["too little purchase history to judge by past days: nothing was measured"])
    group = rows["group"].to_numpy()
    metrics: dict[str, float] = {"n_predicted": len(rows), "n_still_open": float((~rows["came"]).sum())}
    for name in ("50", "90"):
        known = rows[rows[f"known_{name}"]]
        covered = ratio_interval(
            known[f"in_{name}"].to_numpy(float), np.ones(len(known)), known["group"].to_numpy(), seed
        )
        metrics |= with_interval(f"coverage_{name}", covered)
        metrics[f"coverage_{name}_expected"] = float(known[f"mass_{name}"].mean())
    ours, theirs = rows["pinball"].to_numpy(), rows["pinball_supplier"].to_numpy()
    metrics |= {"pinball_days": float(ours.mean()), "pinball_days_supplier_date": float(theirs.mean())}
    metrics |= with_interval("pinball_saved_share", ratio_interval(theirs - ours, theirs, group, seed))
    figure = calibration_plot(rows["mean_days"], rows["outcome_days"], "Days until goods come")
    notes = [
        f"judged on {len(judged)} past days, learning from what was known then; intervals resample supplier and day",
        "whole days make intervals wider than asked for: compare coverage with coverage_expected",
        "an overdue supplier date counts as tomorrow; a line still open counts as coming today in pinball",
    ]
    return Report({"n_days": n_days, "n_past_days": len(judged)}, finite(metrics), {"calibration": figure}, notes)


def _past_days(inbound_dates: pd.DataFrame, today: pd.Timestamp) -> list[pd.Timestamp]:
    """Up to six days evenly spread over the later half of the history, the last 30 days before today."""
    known = inbound_dates.loc[inbound_dates["told_on"] < today, "told_on"]
    if not len(known):
        return []
    first, last = known.min() + (today - known.min()) / 2, today - pd.Timedelta(days=30)
    return list(pd.date_range(first, last, periods=6).normalize().unique()) if first < last else []


def _judge_on(inbound_dates: pd.DataFrame, day: pd.Timestamp, today: pd.Timestamp, n_days: int) -> pd.DataFrame:
    """One row per inbound line open on a past day: what was predicted, what came and how far off it was."""
    known = as_told_on(inbound_dates, day)
    inbound = open_inbound(known)
    inbound = inbound[inbound["expected_on"].notna()].reset_index(drop=True)
    log_open = open_curves(fit(known, day), inbound, day, n_days, known)
    later = inbound_dates[inbound_dates["received_on"] >= day].groupby("po_line_id")["received_on"].min()
    came_on = inbound["po_line_id"].map(later)
    came = (came_on < today).to_numpy()
    outcome = np.maximum((came_on.where(came, today) - day).dt.days.to_numpy(), 1)
    told = np.maximum((inbound["expected_on"] - day).dt.days.to_numpy(), 1)
    low_high = {"50": (0.25, 0.75), "90": (0.05, 0.95)}
    rows = {"came": came, "outcome_days": outcome, "mean_days": np.exp(log_open).sum(axis=1)}
    has_come = np.c_[-np.expm1(log_open), np.ones(len(inbound))]
    line = np.arange(len(inbound))
    for name, (low_share, high_share) in low_high.items():
        low, high = quantile_days(log_open, low_share), quantile_days(log_open, high_share)
        rows[f"known_{name}"] = came | (high < outcome)
        rows[f"in_{name}"] = came & (low <= outcome) & (outcome <= high)
        rows[f"mass_{name}"] = has_come[line, high] - has_come[line, low - 1]
    rows["pinball"] = sum(_pinball(outcome, quantile_days(log_open, q), q) for q in (0.5, 0.9)) / 2
    rows["pinball_supplier"] = sum(_pinball(outcome, told, q) for q in (0.5, 0.9)) / 2
    rows["group"] = inbound["supplier_id"].astype(str).to_numpy(dtype=object) + f" {day:%Y-%m-%d}"
    return pd.DataFrame(rows)


def _pinball(outcome: np.ndarray, predicted: np.ndarray, share: float) -> np.ndarray:
    gap = outcome - predicted
    return np.asarray(np.maximum(share * gap, (share - 1) * gap))
