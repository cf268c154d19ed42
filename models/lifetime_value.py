"""The margin an account will bring in the next 365 days.

One booster on rolling past cut-offs. Its outcome counts accounts that never come back as 0, so the chance that a
customer is still alive is included once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import mean_tweedie_deviance

from models.account_panel import (
    VALUE_HORIZON_DAYS,
    Trained,
    full_horizon,
    horizon_note,
    judging_panel,
    scale_to_horizon,
    split,
    train,
    watched_days,
)
from models.boosting import load_files, predict_rows, save_files
from models.inputs import Inputs, as_numbers
from models.judging import finite, normalised_gini, resampled
from models.report import Report, by_band, calibration_plot, gain_plot, importance_plot

FEWEST_BUYERS = 100  # rows with an outcome above 0 below which a booster learns noise
PSEUDO_DAYS = 180.0  # days at the average margin rate that every account's own history is shrunk by
PSEUDO_BUYERS = 200.0  # buyers that say "the level is right" against those of the newest cut-off
TWEEDIE_POWER = 1.5
PARAMS = {
    "objective": "tweedie",
    "tweedie_variance_power": TWEEDIE_POWER,
    "learning_rate": 0.05,
    "num_leaves": 12,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.6,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "cat_smooth": 20.0,
}


@dataclass(frozen=True, eq=False)
class LifetimeValueModel:
    """Margin of the next 365 days.

    Parameters
    ----------
    kind : boosted, pooled (each account's own margin rate, shrunk) or assumed (the same without any past outcome)
    why : plain words for the kind, the split and what was assumed
    level : factor on every prediction, from the newest cut-off, shrunk to 1
    margin_per_day : average rate that small histories are shrunk to; None: that of the accounts asked for
    """

    kind: str
    why: str
    level: float = 1.0
    margin_per_day: float | None = None
    inputs: Inputs | None = None
    booster: lgb.Booster | None = None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def is_assumed(self) -> bool:
        """Whether the value was scaled up from a shorter time, or not learned at all."""
        return self.kind == "assumed" or self.facts.get("horizon_days", 0) < VALUE_HORIZON_DAYS

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns `predict` needs."""
        return self.inputs.columns if self.inputs else ("margin_365d", "tenure_days")

    def save(self, folder: Path) -> None:
        """Write model.json and booster.txt."""
        inputs = self.inputs.to_json() if self.inputs else None
        saved = {"kind": self.kind, "why": self.why, "level": self.level, "margin_per_day": self.margin_per_day}
        save_files(folder, {**saved, "inputs": inputs, "facts": self.facts}, self.booster)

    @classmethod
    def load(cls, folder: Path) -> LifetimeValueModel:
        """Undo `save`."""
        saved, booster = load_files(folder)
        inputs = Inputs.from_json(saved.pop("inputs")) if saved["inputs"] else saved.pop("inputs")
        return cls(**saved, inputs=inputs, booster=booster)


def fit(account_samples: pd.DataFrame, seed: int = 0) -> LifetimeValueModel:
    """Learn from accounts at past cut-offs and the margin that followed; row order does not matter."""
    full = full_horizon(account_samples)
    n_buyers = int((full["next_margin"] > 0).sum())
    facts = {"n_samples": len(full), "n_buyers": n_buyers, "horizon_days": watched_days(full)}
    young = horizon_note(account_samples)
    assumed = f"; {young} and scaled up in proportion: assumed" if young else ""
    if not len(full):
        return LifetimeValueModel(
            "assumed", "no past cut-off with an outcome: past margin is assumed to go on", facts=facts
        )
    if n_buyers < FEWEST_BUYERS:
        why = f"{n_buyers} rows with later margin are fewer than {FEWEST_BUYERS}: own past margin, shrunk{assumed}"
        return _own_history(full, why, facts)
    trained = train(account_samples, next_margin, {**PARAMS, "seed": seed})
    level, facts["n_rounds"] = _level(trained), trained.n_rounds
    why = f"{n_buyers} rows with later margin; {trained.n_rounds} boosted trees; split {trained.how}{assumed}"
    return LifetimeValueModel("boosted", why, level, None, trained.inputs, trained.booster, facts)


def predict(model: LifetimeValueModel, accounts: pd.DataFrame) -> np.ndarray:
    """Predict the margin over 365 days, money, one per row of `accounts`, finite and never below 0.

    >>> model = LifetimeValueModel("pooled", "", margin_per_day=1.0)
    >>> accounts = pd.DataFrame({"margin_365d": [0.0, 730.0], "tenure_days": [180, 900]})
    >>> predict(model, accounts).round(1).tolist()
    [182.5, 609.4]
    """
    missing = [name for name in model.columns if name not in accounts.columns]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(model.columns)} inputs of the model are not in the frame, e.g. {missing[:3]};"
            " build the frame with the features the model was trained on, or train again"
        )
    if model.booster is None or model.inputs is None:
        value = _from_own_history(model.margin_per_day, accounts)
    else:
        value = predict_rows(model.booster, model.inputs, model.inputs.matrix(accounts))
    return np.maximum(model.level * value, 0.0)


def next_margin(samples: pd.DataFrame) -> np.ndarray:
    """Margin that followed, over 365 days, losses counted as 0."""
    return np.maximum(as_numbers(samples["next_margin"]), 0.0) * scale_to_horizon(samples)


def evaluate(account_samples: pd.DataFrame, seed: int = 0) -> Report:
    """Judge on the newest cut-off what was learned from outcomes complete by then, beside last year's margin.

    Bias is predicted over actual less 1; the decile error is the mean gap between predicted and actual deciles over
    the mean outcome. Intervals are 90 % and resample accounts.
    """
    if not len(account_samples):
        return Report(notes=["no past cut-off with an outcome: nothing was measured"])
    ordered = judging_panel(account_samples)
    is_past, is_judged, how = split(ordered)
    judged = ordered[is_judged].reset_index(drop=True)
    actual = next_margin(judged)
    if not is_past.any() or actual.sum() <= 0:
        return Report(notes=["too few accounts or no later margin to judge: nothing was measured"])
    model = fit(ordered[is_past], seed)
    value = predict(model, judged)
    last_year = np.maximum(np.nan_to_num(as_numbers(judged["margin_365d"])), 0.0)
    metrics = resampled(lambda at: _scores(value[at], actual[at]), len(judged), seed)
    before = resampled(lambda at: _scores(last_year[at], actual[at]), len(judged), seed)
    metrics |= {f"last_year_margin_{name}": number for name, number in before.items()}
    figures = {
        "calibration": calibration_plot(value, actual, "Margin over 365 days by decile"),
        "gain": gain_plot(value, actual, "Margin found"),
    }
    if model.booster is not None and model.inputs is not None:
        gains = model.booster.feature_importance("gain")
        figures["importance"] = importance_plot(model.inputs.columns, gains, "What tells who will bring margin")
    notes = [f"split {how}; {len(judged)} accounts judged"]
    return Report({"kind": model.kind, **model.facts, **PARAMS}, finite(metrics), figures, notes)


def _level(trained: Trained) -> float:
    """Actual over predicted on the newest cut-off, shrunk to 1 by the number of buyers it rests on, at most twofold.

    A shorter horizon than the full one sees a part of the year, whose season is no matter of level: then it is 1.
    """
    if not trained.is_full_horizon:
        return 1.0
    actual = next_margin(trained.judged)
    n_buyers = int((actual > 0).sum())
    if n_buyers == 0 or trained.prediction.sum() <= 0:
        return 1.0
    log_ratio = np.log(actual.sum() / trained.prediction.sum())
    return float(np.exp(np.clip(log_ratio, -np.log(2), np.log(2)) * n_buyers / (n_buyers + PSEUDO_BUYERS)))


def _own_history(samples: pd.DataFrame, why: str, facts: Mapping[str, float]) -> LifetimeValueModel:
    """Own past margin rate, its average and level taken from the outcomes there are."""
    rate = _margin_per_day(samples)
    predicted, actual = _from_own_history(rate, samples), next_margin(samples)
    # Buyers and people who did not buy count alike here: that nobody came back is a fact about the level too.
    trust = len(samples) / (len(samples) + PSEUDO_BUYERS)
    ratio = actual.sum() / predicted.sum() if predicted.sum() > 0 else 1.0
    return LifetimeValueModel("pooled", why, float(1 + trust * (min(ratio, 2.0) - 1)), rate, facts=dict(facts))


def _from_own_history(margin_per_day: float | None, accounts: pd.DataFrame) -> np.ndarray:
    rate = _margin_per_day(accounts) if margin_per_day is None else margin_per_day
    margin, days = _own_margin_and_days(accounts)
    return np.asarray(VALUE_HORIZON_DAYS * (margin + PSEUDO_DAYS * rate) / (days + PSEUDO_DAYS))


def _margin_per_day(accounts: pd.DataFrame) -> float:
    margin, days = _own_margin_and_days(accounts)
    return float(margin.sum() / max(days.sum(), 1.0))


def _own_margin_and_days(accounts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    days = np.clip(np.nan_to_num(as_numbers(accounts["tenure_days"])), 1.0, VALUE_HORIZON_DAYS)
    return np.maximum(np.nan_to_num(as_numbers(accounts["margin_365d"])), 0.0), days


def _scores(value: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    total = max(float(actual.sum()), 1e-12)
    # The deviance knows no prediction of 0; a hundredth of the mean stands for "next to nothing" in both rivals.
    above_zero = np.maximum(value, 0.01 * total / len(actual))
    predicted_mean, actual_mean = by_band(value, actual)
    top = np.argsort(-value, kind="stable")[: max(len(value) // 10, 1)]
    return {
        "tweedie_deviance": float(mean_tweedie_deviance(actual, above_zero, power=TWEEDIE_POWER)),
        "bias": float(value.sum() / total - 1),
        "normalised_gini": normalised_gini(value, actual),
        "top_decile_share": float(actual[top].sum() / total),
        "decile_error": float(np.abs(predicted_mean - actual_mean).mean() / (total / len(actual))),
    }
