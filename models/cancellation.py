"""The chance that a customer cancels a waiting line on a given day if nobody ships it.

A hazard per day, learned on line-days: shipping is our own act and censors (it is no competing outcome to be learned
from past planners), and stock is not an input, so the answer does not depend on who was served in the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from models import judging
from models.boosting import TrainingRows, best_rounds, boost, load_files, predict_rows, save_files
from models.inputs import Inputs, as_numbers, learn_inputs
from models.line_days import LineDays, as_seen_on, line_days, matrix_on, split_day, wait_band
from models.report import Report, calibration_plot, gain_plot, hazard_plot, importance_plot

# Not here: stock (see above); credit_hold and contact_allowed (they change, so past values are unknown without
# versions); months (a young history would take them for the trend).
NUMERIC = (
    "waited_days", "days_late", "days_past_latest", "n_slips", "quantity", "open_quantity", "is_partly_shipped",
    "quantity_step", "may_split", "unit_price", "list_price", "price_ratio", "line_value", "line_margin", "order_value",
    "order_n_lines", "is_discontinued", "customer_tenure_days", "customer_n_orders", "customer_days_since_order",
    "customer_mean_gap_days", "customer_spend_365d", "customer_mean_wait_days", "customer_late_share",
    "customer_cancel_share", "customer_n_cancelled", "customer_n_open_lines", "product_cancel_share",
    "product_mean_wait_days", "product_n_lines_91d", "product_n_waiting_lines", "supplier_mean_delay_days",
    "supplier_late_share",
)  # fmt: skip
TEXT = ("segment", "channel", "country", "category", "priority_class")
ADVANCING = ("waited_days", "days_late", "days_past_latest")

ASSUMED_HAZARD_PER_DAY = 0.003  # assumed: 1 in 11 cancels within a month; one pseudo-event, so data soon outweigh it
FEWEST_CANCELLATIONS = 50  # below this a booster learns noise
PSEUDO_EVENTS = 5.0  # cancellations at the overall rate that each wait band is shrunk by
DEFAULT_ROUNDS = 80  # trees where the history is too short to choose by time
MOST_ROUNDS = 400
ROUNDS_ON_ALL = 1.2  # the refit sees about half as many days again as the rows the number was chosen on
DAILY_DAYS = 30  # the curve is computed day by day so far, then every COARSE_DAYS days
COARSE_DAYS = 10
LINES_AT_ONCE = 10_000  # bounds memory: 10,000 lines x 45 days x 40 inputs x 4 bytes = 72 MB
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "min_sum_hessian_in_leaf": 5.0,  # about five expected cancellations in each leaf
    "feature_fraction": 0.7,
    "lambda_l2": 2.0,
    "max_bin": 127,
    "cat_smooth": 20.0,
}


@dataclass(frozen=True, eq=False)
class CancellationModel:
    """Hazards of cancelling.

    Parameters
    ----------
    kind : boosted, pooled (by wait alone) or assumed
    why : plain words for the kind
    pooled : hazard per day in each band of `WAIT_BANDS_DAYS`; also serves anonymous customers
    inputs, booster : None unless boosted
    most : greatest wait and lateness seen at risk; longer ones are held there
    facts : counts of the training rows
    """

    kind: str
    why: str
    pooled: tuple[float, ...]
    inputs: Inputs | None = None
    booster: lgb.Booster | None = None
    most: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns `survival` needs."""
        return self.inputs.columns if self.inputs else ("waited_days",)

    def save(self, folder: Path) -> None:
        """Write model.json and booster.txt."""
        inputs = self.inputs.to_json() if self.inputs else None
        saved = {"kind": self.kind, "why": self.why, "pooled": list(self.pooled), "inputs": inputs}
        save_files(folder, {**saved, "most": self.most, "facts": self.facts}, self.booster)

    @classmethod
    def load(cls, folder: Path) -> CancellationModel:
        """Undo `save`."""
        saved, booster = load_files(folder)
        inputs = Inputs.from_json(saved["inputs"]) if saved["inputs"] else None
        pooled = tuple(saved["pooled"])
        return cls(saved["kind"], saved["why"], pooled, inputs, booster, saved["most"], saved["facts"])


def fit(
    samples: pd.DataFrame, seed: int = 0, numeric: Sequence[str] = NUMERIC, text: Sequence[str] = TEXT
) -> CancellationModel:
    """Learn from open lines at past cut-offs and what became of them; row order does not matter.

    Parameters
    ----------
    samples : one row per line and past cut-off with `numeric`, `text` and observed_days, cancelled_day, closed_day
    """
    ordered = samples.sort_values(["cutoff_on", "order_line_id"], kind="stable").reset_index(drop=True)
    days = line_days(ordered, seed)
    n_cancelled = int(days.cancelled.sum())
    facts = {"n_samples": len(ordered), "n_cancelled": n_cancelled, "n_line_days": float(days.weight.sum())}
    pooled = _pooled_hazard(ordered, days)
    if n_cancelled == 0:
        why = f"no customer cancellation in {facts['n_line_days']:.0f} line-days: the hazard is assumed"
        return CancellationModel("assumed", why, pooled, facts=facts)
    if n_cancelled < FEWEST_CANCELLATIONS:
        why = f"{n_cancelled} customer cancellations are fewer than {FEWEST_CANCELLATIONS}: one hazard per wait band"
        return CancellationModel("pooled", why, pooled, facts=facts)
    most = {name: _greatest(ordered, days, name) for name in ADVANCING if name in numeric}
    inputs = learn_inputs(ordered, numeric, text)
    values = matrix_on(inputs, inputs.matrix(ordered), days.sample, days.day, most)
    rows = TrainingRows(inputs, values, days.cancelled, days.weight)
    params = {**PARAMS, "seed": seed}
    n_rounds = _rounds(ordered, days, rows, params)
    why = f"{n_cancelled} customer cancellations in {facts['n_line_days']:.0f} line-days: {n_rounds} boosted trees"
    facts["n_rounds"] = n_rounds
    return CancellationModel("boosted", why, pooled, inputs, boost(rows, params, n_rounds), most, facts)


def survival(model: CancellationModel, lines: pd.DataFrame, n_days: int) -> np.ndarray:
    """Chance that each line is still wanted after 0, 1, ..., n_days more days if nobody ships it.

    Returns
    -------
    (n_lines, n_days + 1): the first column is 1 and no row ever rises.

    >>> model = CancellationModel("pooled", "", (0.1, 0.1, 0.2, 0.2, 0.2))
    >>> survival(model, pd.DataFrame({"waited_days": [13]}), 2).round(2).tolist()
    [[1.0, 0.9, 0.72]]
    """
    starts = _grid(n_days)
    curves = np.ones((len(lines), n_days + 1))
    for first in range(0, len(lines), LINES_AT_ONCE):
        part = lines.iloc[first : first + LINES_AT_ONCE]
        sample, day = np.repeat(np.arange(len(part)), len(starts)), np.tile(starts, len(part))
        hazard = hazards(model, part, sample, day).reshape(len(part), len(starts))
        by_day = hazard[:, np.searchsorted(starts, np.arange(1, n_days + 1), side="right") - 1]
        curves[first : first + len(part), 1:] = np.cumprod(1 - by_day, axis=1)
    return curves


def hazards(model: CancellationModel, lines: pd.DataFrame, sample: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Chance of cancelling on day `day` (1 = the next 24 h) given still waiting then, for lines at places `sample`."""
    pooled = np.array(model.pooled)[wait_band(as_numbers(lines["waited_days"])[sample] + day - 1)]
    if model.booster is None or model.inputs is None:
        return pooled
    values = matrix_on(model.inputs, model.inputs.matrix(lines), sample, day, model.most)
    chance = predict_rows(model.booster, model.inputs, values)
    if "customer_id" not in lines.columns:
        return chance
    # Patience is learned at the customer: where nobody is named only the pooled hazard is honest.
    return np.where(lines["customer_id"].isna().to_numpy()[sample], pooled, chance)


def evaluate(
    samples: pd.DataFrame, seed: int = 0, numeric: Sequence[str] = NUMERIC, text: Sequence[str] = TEXT
) -> Report:
    """Judge by time: learn from what was known on a past day, predict the line-days of cut-offs from that day on.

    Intervals resample customers. The baselines are one constant hazard and one hazard per wait band.
    """
    ordered = samples.sort_values(["cutoff_on", "order_line_id"], kind="stable").reset_index(drop=True)
    day = split_day(ordered)
    if day is None:
        return Report(notes=["too few cancellations or cut-offs to judge by time: nothing was measured"])
    past = as_seen_on(ordered, day)
    judged = ordered[ordered["cutoff_on"] >= day].reset_index(drop=True)
    model = fit(past, seed, numeric, text)
    days = line_days(judged, seed)
    chance = hazards(model, judged, days.sample, days.day)
    metrics = _compared(model, judged, days, chance, seed)
    if model.booster is not None:
        metrics |= _judged(judged, days, chance, seed)
    notes = [
        f"learned from what was known on {day:%Y-%m-%d} ({model.why});"
        f" judged on {len(judged)} lines at later cut-offs with {days.cancelled.sum():.0f} cancellations",
        "intervals are 90 % and resample customers; a shipped line counts half on its last day and is then gone",
    ]
    return Report(params_of(model), judging.finite(metrics), _figures(model, judged, days, chance), notes)


def p_cancel(curves: np.ndarray, within_days: int = 14) -> np.ndarray:
    """Chance of cancelling within so many days if nobody ships, from the curves of `survival`.

    >>> p_cancel(np.array([[1.0, 0.9, 0.8]]), within_days=2).round(2).tolist()
    [0.2]
    """
    return np.asarray(1 - curves[:, min(within_days, curves.shape[1] - 1)])


def params_of(model: CancellationModel) -> dict[str, Any]:
    """List what was set and counted, for a report."""
    return {"kind": model.kind, **model.facts, **({} if model.booster is None else PARAMS)}


def _compared(
    model: CancellationModel, judged: pd.DataFrame, days: LineDays, chance: np.ndarray, seed: int
) -> dict[str, float]:
    """Log-loss per line-day beside the two baselines learned from the same past."""
    rate = (model.facts["n_cancelled"] + 1) / (model.facts["n_line_days"] + 1 / ASSUMED_HAZARD_PER_DAY)
    by_wait = np.array(model.pooled)[wait_band(as_numbers(judged["waited_days"])[days.sample] + days.day - 1)]
    losses = [
        days.weight * judging.log_losses(p, days.cancelled) for p in (chance, np.full(len(chance), rate), by_wait)
    ]
    group = _customers(judged)[days.sample]
    names = ("log_loss", "log_loss_constant", "log_loss_wait_only")
    metrics = {name: float(loss.sum() / days.weight.sum()) for name, loss in zip(names, losses, strict=True)}
    saved = judging.ratio_interval(losses[2] - losses[0], losses[2], group, seed)
    return metrics | judging.with_interval("log_loss_saved_share", saved)


def _judged(judged: pd.DataFrame, days: LineDays, chance: np.ndarray, seed: int) -> dict[str, float]:
    """Order and level of the predicted hazards on line-days."""
    group = _customers(judged)[days.sample]
    ratio = judging.ratio_interval(days.weight * days.cancelled, days.weight * chance, group, seed)
    slope = judging.calibration_slope(chance, days.cancelled, days.weight, group, seed)
    return {
        "auc": judging.area_under_curve(chance, days.cancelled, days.weight),
        "calibration_error": judging.calibration_error(chance, days.cancelled, days.weight),
        **judging.with_interval("observed_over_expected", ratio),
        **judging.with_interval("calibration_slope", slope),
    }


def _figures(model: CancellationModel, judged: pd.DataFrame, days: LineDays, chance: np.ndarray) -> dict[str, Figure]:
    late = as_numbers(judged["days_late"])[days.sample] + days.day - 1
    # By line-day: a line that cancels stops being watched, so sums over its days would band it by its own outcome.
    event, weight = days.cancelled, days.weight
    figures = {
        "calibration": calibration_plot(chance, event, "Cancellations per line-day", weight=weight),
        "gain": gain_plot(chance, event, "Cancellations found, by line-day", weight),
        "hazard_by_days_late": hazard_plot(late, chance, days.cancelled, days.weight),
    }
    if model.booster is not None and model.inputs is not None:
        gains = model.booster.feature_importance("gain")
        figures["importance"] = importance_plot(model.inputs.columns, gains, "What tells who cancels")
    return figures


def _customers(samples: pd.DataFrame) -> np.ndarray:
    """Name the customer of each sample; a line nobody is named for stands alone."""
    if "customer_id" not in samples.columns:
        return samples["order_line_id"].to_numpy(dtype=str)
    return (
        samples["customer_id"]
        .astype(object)
        .where(samples["customer_id"].notna(), samples["order_line_id"])
        .to_numpy(dtype=str)
    )


def _grid(n_days: int) -> np.ndarray:
    """First day of each stretch over which the hazard is held: daily, then coarser."""
    daily = np.arange(1, min(n_days, DAILY_DAYS) + 1)
    return np.concatenate([daily, np.arange(DAILY_DAYS + 1, n_days + 1, COARSE_DAYS)])


def _pooled_hazard(samples: pd.DataFrame, days: LineDays) -> tuple[float, ...]:
    """Events over days at risk by wait band; bands lean on the overall rate, that one on the assumed rate."""
    overall = (days.cancelled.sum() + 1) / (days.weight.sum() + 1 / ASSUMED_HAZARD_PER_DAY)
    band = wait_band(as_numbers(samples["waited_days"])[days.sample] + days.day - 1)
    events = np.bincount(band, days.cancelled, minlength=5)
    exposure = np.bincount(band, days.weight, minlength=5)
    return tuple(((events + PSEUDO_EVENTS) / (exposure + PSEUDO_EVENTS / overall)).tolist())


def _greatest(samples: pd.DataFrame, days: LineDays, name: str) -> float:
    seen = as_numbers(samples[name])[days.sample] + days.day - 1
    return float(np.nanmax(seen)) if np.isfinite(seen).any() else 0.0


def _rounds(samples: pd.DataFrame, days: LineDays, rows: TrainingRows, params: dict[str, Any]) -> int:
    """Trees chosen by time: days before the split day train, samples cut off on it or later judge."""
    day = split_day(samples)
    if day is None:
        return DEFAULT_ROUNDS
    cutoff = samples["cutoff_on"]
    before_days = (day - cutoff).dt.days.to_numpy()[days.sample]
    # A sample that straddles the split trains with its days before it and judges with none.
    trains, judges = np.flatnonzero(days.day <= before_days), np.flatnonzero(before_days <= 0)
    if not days.cancelled[trains].any() or not days.cancelled[judges].any():
        return DEFAULT_ROUNDS
    return round(ROUNDS_ON_ALL * best_rounds(rows, trains, judges, params, MOST_ROUNDS))
