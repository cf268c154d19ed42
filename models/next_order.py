"""The chance that an account places no order in the next 365 days."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from models.account_panel import (
    VALUE_HORIZON_DAYS,
    Trained,
    full_horizon,
    horizon_note,
    judging_panel,
    split,
    thirds,
    train,
    watched_days,
)
from models.boosting import load_files, predict_rows, save_files
from models.inputs import Inputs, as_numbers
from models.judging import (
    area_under_curve,
    calibration_error,
    calibration_slope,
    finite,
    log_loss,
    logistic_line,
    resampled,
    with_interval,
)
from models.report import Report, calibration_plot, gain_plot, importance_plot

FEWEST_OF_EACH = 50  # rows with and rows without an order below which a booster learns noise
PSEUDO_ACCOUNTS = 20.0  # accounts at the overall share that each recency band is shrunk by
ASSUMED_NO_ORDER_SHARE = 0.3  # assumed where nothing was seen; two pseudo-accounts, soon outweighed
RECENCY_BANDS_DAYS = (0, 30, 91, 182, 365)
SMALLEST_CHANCE = 1e-6
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 12,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.6,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "cat_smooth": 20.0,
}


@dataclass(frozen=True, eq=False)
class NextOrderModel:
    """Chance of no order within 365 days.

    Parameters
    ----------
    kind : boosted, pooled (by days since the last order) or assumed
    why : plain words for the kind, the split and what was assumed
    pooled : chance in each band of `RECENCY_BANDS_DAYS`
    line : intercept and slope on the booster's log-odds (Platt); (0, 1) leaves it as it is
    """

    kind: str
    why: str
    pooled: tuple[float, ...]
    line: tuple[float, float] = (0.0, 1.0)
    inputs: Inputs | None = None
    booster: lgb.Booster | None = None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def is_assumed(self) -> bool:
        """Whether the chance is that of a shorter time, or not learned at all."""
        return self.kind == "assumed" or self.facts.get("horizon_days", 0) < VALUE_HORIZON_DAYS

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns `predict` needs."""
        return self.inputs.columns if self.inputs else ("recency_days",)

    def save(self, folder: Path) -> None:
        """Write model.json and booster.txt."""
        inputs = self.inputs.to_json() if self.inputs else None
        saved = {"kind": self.kind, "why": self.why, "pooled": list(self.pooled), "line": list(self.line)}
        save_files(folder, {**saved, "inputs": inputs, "facts": self.facts}, self.booster)

    @classmethod
    def load(cls, folder: Path) -> NextOrderModel:
        """Undo `save`."""
        saved, booster = load_files(folder)
        inputs = Inputs.from_json(saved["inputs"]) if saved["inputs"] else None
        line = (saved["line"][0], saved["line"][1])
        return cls(saved["kind"], saved["why"], tuple(saved["pooled"]), line, inputs, booster, saved["facts"])


def fit(account_samples: pd.DataFrame, seed: int = 0) -> NextOrderModel:
    """Learn from accounts at past cut-offs and whether an order followed; row order does not matter."""
    full = full_horizon(account_samples)
    silent = no_order(full)
    n_silent, n_back = int(silent.sum()), int((1 - silent).sum())
    facts = {"n_samples": len(silent), "n_no_order": n_silent, "horizon_days": watched_days(full)}
    pooled = _pooled(full, silent)
    young = horizon_note(account_samples)
    # A longer watch can only see more orders, so the shorter one's share is too high if anything.
    assumed = f"; {young}, so the chance is rather too high" if young else ""
    if not len(silent):
        return NextOrderModel("assumed", "no past cut-off with an outcome: the chance is assumed", pooled, facts=facts)
    if min(n_silent, n_back) < FEWEST_OF_EACH:
        why = f"{n_silent} rows without and {n_back} with an order: one chance by days since the last order{assumed}"
        return NextOrderModel("pooled", why, pooled, facts=facts)
    trained = train(account_samples, no_order, {**PARAMS, "seed": seed})
    line, facts["n_rounds"] = _recalibration(trained), trained.n_rounds
    told = "recalibrated" if line != (0.0, 1.0) else "not recalibrated: it would not help"
    why = f"{n_silent} rows without an order; {trained.n_rounds} boosted trees, {told}; split {trained.how}{assumed}"
    return NextOrderModel("boosted", why, pooled, line, trained.inputs, trained.booster, facts)


def predict(model: NextOrderModel, accounts: pd.DataFrame) -> np.ndarray:
    """Chance of no order in 365 days, strictly between 0 and 1, one per row of `accounts`.

    >>> model = NextOrderModel("pooled", "", (0.1, 0.2, 0.4, 0.6, 0.8))
    >>> predict(model, pd.DataFrame({"recency_days": [5, 400]})).tolist()
    [0.1, 0.8]
    """
    if model.booster is None or model.inputs is None:
        return np.array(model.pooled)[_recency_band(accounts)]
    return _on_line(predict_rows(model.booster, model.inputs, model.inputs.matrix(accounts)), np.array(model.line))


def no_order(samples: pd.DataFrame) -> np.ndarray:
    """1 where no order followed, else 0."""
    return np.asarray((as_numbers(samples["next_n_orders"]) == 0).astype(float))


def evaluate(account_samples: pd.DataFrame, seed: int = 0) -> Report:
    """Judge on the newest cut-off what was learned from outcomes complete by then, beside one chance per recency band.

    Intervals are 90 % and resample accounts.
    """
    if not len(account_samples):
        return Report(notes=["no past cut-off with an outcome: nothing was measured"])
    ordered = judging_panel(account_samples)
    is_past, is_judged, how = split(ordered)
    judged = ordered[is_judged].reset_index(drop=True)
    silent = no_order(judged)
    if not is_past.any() or not 0 < silent.sum() < len(silent):
        return Report(notes=["too few accounts, or all alike: nothing was measured"])
    model = fit(ordered[is_past], seed)
    chance, by_recency = predict(model, judged), np.array(model.pooled)[_recency_band(judged)]
    metrics = resampled(lambda at: _scores(chance[at], silent[at]), len(judged), seed)
    before = _scores(by_recency, silent)
    metrics |= {f"by_recency_{name}": number for name, number in before.items()}
    accounts = judged["account_id"].to_numpy(dtype=str)
    slope = calibration_slope(chance, silent, np.ones(len(silent)), accounts, seed)
    figures = {
        "calibration": calibration_plot(chance, silent, "No order over the horizon"),
        "gain": gain_plot(chance, silent, "Accounts without an order found"),
    }
    if model.booster is not None and model.inputs is not None:
        gains = model.booster.feature_importance("gain")
        figures["importance"] = importance_plot(model.inputs.columns, gains, "What tells who stays away")
    notes = [f"split {how}; {len(judged)} accounts judged"]
    params = {"kind": model.kind, **model.facts, **PARAMS}
    return Report(params, finite(metrics | with_interval("calibration_slope", slope)), figures, notes)


def _scores(chance: np.ndarray, silent: np.ndarray) -> dict[str, float]:
    one = np.ones(len(silent))
    return {
        "auc": area_under_curve(chance, silent, one),
        "brier": float(np.mean((chance - silent) ** 2)),
        "calibration_error": calibration_error(chance, silent, one),
        "bias": float(chance.sum() / max(silent.sum(), 1.0) - 1),
    }


def _recalibration(trained: Trained) -> tuple[float, float]:
    """Platt's line on the newest cut-off, kept only if lines from some accounts help on the others.

    The chance of no order in a shorter time is another chance: its line would be none for the full horizon.
    """
    if not trained.is_full_horizon:
        return 0.0, 1.0
    silent, chance = no_order(trained.judged), trained.prediction
    part = thirds(trained.judged["account_id"])
    corrected = chance.copy()
    for one in np.unique(part):
        others = part != one
        if not 0 < silent[others].sum() < others.sum():
            return 0.0, 1.0
        corrected[~others] = _on_line(chance[~others], _platt(chance[others], silent[others]))
    weight = np.ones(len(silent))
    if log_loss(corrected, silent, weight) >= log_loss(chance, silent, weight):
        return 0.0, 1.0
    line = _platt(chance, silent)
    return float(line[0]), float(line[1])


def _platt(chance: np.ndarray, silent: np.ndarray) -> np.ndarray:
    return logistic_line(np.column_stack([np.ones(len(chance)), _log_odds(chance)]), silent, np.ones(len(chance)))


def _on_line(chance: np.ndarray, line: np.ndarray) -> np.ndarray:
    log_odds = line[0] + line[1] * _log_odds(chance)
    return np.clip(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))), SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)


def _log_odds(chance: np.ndarray) -> np.ndarray:
    p = np.clip(chance, SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
    return np.asarray(np.log(p / (1 - p)))


def _recency_band(accounts: pd.DataFrame) -> np.ndarray:
    recency = np.nan_to_num(as_numbers(accounts["recency_days"]), nan=RECENCY_BANDS_DAYS[-1])
    return np.clip(np.searchsorted(RECENCY_BANDS_DAYS, recency, side="right") - 1, 0, None)


def _pooled(samples: pd.DataFrame, silent: np.ndarray) -> tuple[float, ...]:
    overall = (silent.sum() + 2 * ASSUMED_NO_ORDER_SHARE) / (len(silent) + 2)
    band = _recency_band(samples)
    n_silent, n_all = np.bincount(band, silent, minlength=5), np.bincount(band, minlength=5)
    return tuple(((n_silent + PSEUDO_ACCOUNTS * overall) / (n_all + PSEUDO_ACCOUNTS)).tolist())
