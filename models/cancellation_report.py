"""How well the hazard of cancelling would have served past mornings: what the report and the gate go by.

Snapshots roll through the past. For each, the model learns from what was known one horizon earlier, so that hardly any
line is in both, and is judged on the days from the snapshot to the next. Every line-day counts, of lines that were
shipped in the end as much as of others: judged on closed lines only, a constant would win.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from models import judging
from models.cancellation import (
    NUMERIC,
    TEXT,
    CancellationModel,
    fit,
    hazards,
    in_order,
    params_of,
    survival,
)
from models.cancellation_choice import ASSUMED_HAZARD_PER_DAY, FEWEST_CANCELLATIONS
from models.cancellation_horizons import HORIZONS_DAYS, followed, horizon_scores
from models.inputs import as_numbers
from models.line_days import WAIT_BANDS_DAYS, as_seen_on, customers_of, event_shares, line_days, open_on, wait_band
from models.report import Report, calibration_plot, curves_plot, gain_plot, hazard_plot, importance_plot, ratio_plot
from models.shipping import fit_censoring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SNAPSHOT_SHARES = (0.5, 0.65, 0.8)  # of the cancellations that lie before each snapshot
GAP_DAYS = max(HORIZONS_DAYS)
# A snapshot's model must have seen as many cancellations as let it tell lines apart.
FEWEST_BEFORE = FEWEST_CANCELLATIONS
MOST_OFF, MOST_OFF_IN_BAND, ENOUGH_IN_BAND = 0.05, 0.10, 100  # observed over expected, and cancellations of a band
ERRORS_OFF = 2.0  # standard errors that the ratio must be off by too


@dataclass(frozen=True)
class Judged:
    """Line-days of one or more snapshots; all arrays have one entry per line and bin."""

    event: np.ndarray
    weight: np.ndarray
    chance: np.ndarray
    constant: np.ndarray  # the past's one rate
    by_wait: np.ndarray  # the past's rate in each wait band
    customer: np.ndarray
    waited: np.ndarray
    late: np.ndarray
    line_class: np.ndarray
    quarter: np.ndarray
    is_new: np.ndarray  # the line began to wait after the snapshot

    @classmethod
    def together(cls, parts: Sequence[Judged]) -> Judged:
        """Join the line-days of several snapshots."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


@threadpool_limits.wrap(limits=1)  # sums of more threads differ in their last digits
def evaluate(
    samples: pd.DataFrame, seed: int = 0, numeric: Sequence[str] = NUMERIC, text: Sequence[str] = TEXT
) -> Report:
    """Judge by time at rolling snapshots; intervals are 90 % and resample customers.

    The baselines are one constant hazard and one hazard per wait band, learned from the same past.
    """
    ordered = in_order(samples)
    days = list(_snapshots(ordered))
    if not days:
        return Report(notes=["too few cancellations or looks to judge by time: nothing was measured"])
    parts, horizons, models = [], [], []
    for day, until in days:
        past = as_seen_on(ordered, day - pd.Timedelta(days=GAP_DAYS))
        model = fit(past, seed, numeric, text)
        parts.append(_judged(ordered, model, day, until, seed))
        horizons.append(followed(ordered, model, fit_censoring(past, seed, numeric, text), day, until))
        models.append(model)
    judged = Judged.together(parts)
    metrics = _compared(judged, seed) | _of_level(judged, seed) | _joint(models[-1])
    metrics |= horizon_scores([lines for lines in horizons if len(lines)], seed)
    n_learned = float(np.mean([model.facts["n_cancelled"] for model in models]))
    refused = refusals(judged, n_learned, seed)
    return Report(
        params_of(models[-1]),
        judging.finite(metrics),
        _figures(models[-1], judged, open_on(ordered, days[-1][0])),
        _notes(days, models, judged, ordered),
        refused,
    )


def refusals(judged: Judged, n_learned: float, seed: int) -> tuple[str, ...]:
    """Say where observed over expected is off by more than chance and more than the queue can bear.

    Parameters
    ----------
    n_learned : cancellations that the judged models learned from: their own chance is part of the error
    """
    # Few to learn from add as much as few to judge by: errors widen by the root of 1 + judged / learned.
    errors = ERRORS_OFF * np.sqrt(1 + (judged.event > 0).sum() / max(n_learned, 1))
    reasons = [_refusal(judged, np.ones(len(judged.event), bool), MOST_OFF, errors, "on later days", seed)]
    band = wait_band(judged.waited)
    for place, name in enumerate(_band_names()):
        of_band = band == place
        if (judged.event * judged.weight)[of_band].sum() >= ENOUGH_IN_BAND:
            reasons.append(_refusal(judged, of_band, MOST_OFF_IN_BAND, errors, f"for waits of {name} days", seed))
    return tuple(reason for reason in reasons if reason)


def _refusal(judged: Judged, which: np.ndarray, most: float, errors: float, where: str, seed: int) -> str | None:
    observed, expected = _observed_expected(judged, which)
    ratio, error = judging.ratio_and_error(observed, expected, judged.customer[which], seed)
    # Of few cancellations or none a resample varies less than so small a count does: at least as Poisson's.
    error = max(error, 1 / np.sqrt(max(expected.sum(), 1e-9)))
    if not abs(ratio - 1) > max(most, errors * error):
        return None
    # Seen from the prediction: twice as many cancelled as predicted is 50 % too low.
    return f"{100 * abs(1 / max(ratio, 1e-9) - 1):.0f} % too {'low' if ratio > 1 else 'high'} {where}"


def _observed_expected(judged: Judged, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (judged.event * judged.weight)[which], (judged.chance * judged.weight)[which]


def _snapshots(samples: pd.DataFrame) -> Iterator[tuple[pd.Timestamp, pd.Timestamp]]:
    """Looks that judge, each with the day on which the next one begins."""
    looks = np.sort(samples["cutoff_on"].unique())
    happened = samples.loc[event_shares(samples) > 0, "cutoff_on"].sort_values().to_numpy()
    if not len(happened):
        return
    wanted = [happened[int(share * len(happened))] for share in SNAPSHOT_SHARES]
    gap = np.timedelta64(GAP_DAYS, "D")
    days = [day for day in sorted(set(wanted)) if (happened < day - gap).sum() >= FEWEST_BEFORE]
    untils = [*days[1:], looks[-1] + np.timedelta64(1, "D")] if days else []
    for day, until in zip(days, untils, strict=True):
        yield pd.Timestamp(day), pd.Timestamp(until)


def _judged(
    samples: pd.DataFrame, model: CancellationModel, day: pd.Timestamp, until: pd.Timestamp, seed: int
) -> Judged:
    """Predict the line-days of the looks from `day` to `until`."""
    rows = samples[(samples["cutoff_on"] >= day) & (samples["cutoff_on"] < until)].reset_index(drop=True)
    known = set(samples.loc[samples["cutoff_on"] <= day, "order_line_id"])
    days = line_days(rows, seed)
    facts = model.facts
    rate = (facts["n_cancelled"] + 1) / (facts["n_line_days"] + 1 / ASSUMED_HAZARD_PER_DAY)
    waited = as_numbers(rows["waited_days"])[days.sample] + days.day - 1
    late = as_numbers(rows["days_late"])[days.sample] + days.day - 1 if "days_late" in rows else waited * np.nan
    return Judged(
        event=days.event,
        weight=days.weight,
        chance=hazards(model, rows, days.sample, days.day),
        constant=np.full(len(days.event), rate),
        by_wait=np.array(model.pooled)[wait_band(waited)],
        customer=customers_of(rows)[days.sample],
        waited=waited,
        late=late,
        line_class=_text(rows, "priority_class")[days.sample],
        quarter=rows["cutoff_on"].dt.quarter.astype(str).to_numpy(dtype=object)[days.sample],
        is_new=~rows["order_line_id"].isin(known).to_numpy()[days.sample],
    )


def _compared(judged: Judged, seed: int) -> dict[str, float]:
    """Log-loss per line-day beside the two baselines; the share saved, for all and for lines new since the snapshot."""
    losses = {
        "log_loss": judging.log_losses(judged.chance, judged.event) * judged.weight,
        "log_loss_constant": judging.log_losses(judged.constant, judged.event) * judged.weight,
        "log_loss_wait_only": judging.log_losses(judged.by_wait, judged.event) * judged.weight,
    }
    metrics = {name: float(loss.sum() / judged.weight.sum()) for name, loss in losses.items()}
    saved = losses["log_loss_wait_only"] - losses["log_loss"]
    for name, which in (("", np.ones(len(saved), bool)), ("_new_lines", judged.is_new)):
        if which.any():
            share = judging.ratio_interval(
                saved[which], losses["log_loss_wait_only"][which], judged.customer[which], seed
            )
            metrics |= judging.with_interval(f"log_loss_saved_share{name}", share)
    return metrics


def _of_level(judged: Judged, seed: int) -> dict[str, float]:
    """Order and level of the predicted hazards, and observed over expected by band, class and quarter."""
    slope = judging.calibration_slope(judged.chance, judged.event, judged.weight, judged.customer, seed)
    metrics = {
        "auc": judging.area_under_curve(judged.chance, judged.event, judged.weight),
        "calibration_error": judging.calibration_error(judged.chance, judged.event, judged.weight),
        **judging.with_interval("calibration_slope", slope),
        **_ratio(judged, np.ones(len(judged.event), bool), "observed_over_expected", seed),
    }
    for what, groups in _groups(judged).items():
        for name in sorted(set(groups)):
            metrics |= _ratio(judged, groups == name, f"observed_over_expected_{what}_{name}", seed)
    return metrics


def _ratio(judged: Judged, which: np.ndarray, name: str, seed: int) -> dict[str, float]:
    ratio = judging.ratio_interval(*_observed_expected(judged, which), judged.customer[which], seed)
    return judging.with_interval(name, ratio)


def _groups(judged: Judged) -> dict[str, np.ndarray]:
    bands = np.array(_band_names(), dtype=object)[wait_band(judged.waited)]
    return {"wait": bands, "class": judged.line_class, "quarter": judged.quarter}


def _band_names() -> list[str]:
    """Names of the wait bands, as MLflow takes them: 0-6, 7-13, ..., 60-."""
    return [f"{a}-{b - 1}" for a, b in zip(WAIT_BANDS_DAYS, WAIT_BANDS_DAYS[1:], strict=False)] + [
        f"{WAIT_BANDS_DAYS[-1]}-"
    ]


def _joint(model: CancellationModel) -> dict[str, float]:
    joint = model.joint
    return {"joint_cancel_share": joint.share, "joint_cancel_pairs": float(joint.n_pairs)}


def _text(rows: pd.DataFrame, name: str) -> np.ndarray:
    if name not in rows:
        return np.full(len(rows), "none", dtype=object)
    return np.array(["none" if pd.isna(value) else f"{value:g}" for value in rows[name]], dtype=object)


def _figures(model: CancellationModel, judged: Judged, open_lines: pd.DataFrame) -> dict[str, Figure]:
    # By line-day: a line that cancels stops being watched, so sums over its days would band it by its own outcome.
    event, weight, chance = judged.event, judged.weight, judged.chance
    observed, expected = event * weight, chance * weight
    bands = _groups(judged)["wait"]
    names = [name for name in _band_names() if (bands == name).any()]
    ratios = [(observed[bands == n].sum(), expected[bands == n].sum()) for n in names]
    figures = {
        "calibration": calibration_plot(chance, event, "Cancellations per line-day", weight=weight),
        "calibration_by_wait": ratio_plot(names, ratios, "Observed over expected cancellations by days waited"),
        "gain": gain_plot(chance, event, "Cancellations found, by line-day", weight),
        "hazard_by_days_late": hazard_plot(judged.late, chance, event, weight),
    }
    if len(open_lines):
        figures["example_lines"] = curves_plot(*_examples(model, open_lines), "Still wanted if nobody ships")
    if model.booster is not None and model.inputs is not None:
        gains = model.booster.feature_importance("gain")
        figures["importance"] = importance_plot(model.inputs.columns, gains, "What tells who cancels")
    return figures


def _examples(model: CancellationModel, lines: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Curves of five lines, from the safest to the most likely to go, and what they are."""
    curves = survival(model, lines, 90)
    order = np.argsort(curves[:, -1], kind="stable")[::-1]
    chosen = order[np.linspace(0, len(order) - 1, min(5, len(order))).round().astype(int)]
    rows = lines.iloc[chosen]
    late = as_numbers(rows["days_late"]) if "days_late" in rows else np.full(len(rows), np.nan)
    said = zip(rows["order_line_id"], as_numbers(rows["waited_days"]), late, strict=True)
    names = [f"{line}: waited {waited:.0f} d{_promise(past)}" for line, waited, past in said]
    return curves[chosen], names


def _promise(days_late: float) -> str:
    if np.isnan(days_late):
        return ""
    return f", promise {days_late:.0f} d ago" if days_late > 0 else f", promise in {-days_late:.0f} d"


def _notes(
    days: Sequence[tuple[pd.Timestamp, pd.Timestamp]],
    models: Sequence[CancellationModel],
    judged: Judged,
    samples: pd.DataFrame,
) -> list[str]:
    when = ", ".join(f"{day:%Y-%m-%d}" for day, _ in days)
    ends = samples["ended_by"].value_counts()
    causes = ", ".join(f"{ends.get(cause, 0)} by {cause}" for cause in ("shipment", "customer", "seller", "change"))
    return [
        f"judged at {when}, each by a model of the facts {GAP_DAYS} days earlier, causes as of now ({models[-1].why});"
        f" {(judged.event > 0).sum()} cancellations on {judged.weight.sum():.0f} line-days",
        "intervals are 90 % and resample customers; a shipped line counts for a part of its last day, then it is gone",
        f"stretches of waiting ended: {causes}; only the customer's own cancellations are events, all else censors",
        f"of {models[-1].joint.n_pairs} pairs of waiting lines of one order of which one was cancelled,"
        f" {models[-1].joint.n_together} went the same day",
    ]
