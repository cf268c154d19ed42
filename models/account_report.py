"""How well the customer models foretold: judged by what came after the last origin, knowing only what was before.

The judged model is the one that would have been trained on that day, its own rehearsal still earlier; so nothing that
is judged has chosen anything. Intervals are 90 % and resample accounts; those of coverage are Wilson's of 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import mean_poisson_deviance, mean_tweedie_deviance
from threadpoolctl import threadpool_limits

from models import customer_base, lifetime_value, next_order
from models.account_panel import Rehearsal, as_known_before, rehearsal
from models.inputs import as_numbers
from models.intervals import GOAL, coverage, coverage_by, tenths
from models.judging import (
    area_under_curve,
    calibration_error,
    calibration_slope,
    finite,
    normalised_gini,
    resampled,
    with_interval,
)
from models.lifetime_value import TWEEDIE_POWER
from models.report import (
    Report,
    by_band,
    calibration_plot,
    coverage_plot,
    gain_plot,
    importance_plot,
    orders_by_frequency_plot,
)
from models.tilt import PARAMS, Tilt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = Report(notes=["the history is too short to look back and forward: nothing was measured"])
Scores = Callable[[np.ndarray], Mapping[str, float]]


@threadpool_limits.wrap(limits=1)  # sums of more threads differ in their last digits
def evaluate_value(panel: pd.DataFrame, seed: int = 0) -> Report:
    """Judge the lifetime value, beside the classical models alone and last year's margin.

    Bias is predicted over actual less 1; the decile error is the mean gap between predicted and actual deciles over
    the mean outcome. `_waiting` are the accounts with an open back order, a selected group; `_one_time` those with one
    order so far.
    """
    tried = rehearsal(panel) if len(panel) else None
    actual = as_numbers(tried.judged["next_margin"]) if tried else np.zeros(0)
    if tried is None or actual.sum() <= 0:
        return NOTHING
    judged, days = tried.judged, tried.days
    model = lifetime_value.fit(as_known_before(panel), seed)
    asked = _as_asked(judged)
    value = lifetime_value.predict(model, asked, days)
    low, high = lifetime_value.predict_interval(model, asked, days)
    last_year = np.maximum(np.nan_to_num(as_numbers(judged["margin_365d"])), 0.0) * days / 365
    classical = as_numbers(judged["expected_orders"]) * as_numbers(judged["expected_order_margin"])
    metrics = resampled(lambda at: _value_scores(value[at], actual[at]), len(judged), seed)
    for name, rival in (("last_year_margin", last_year), ("classical", classical)):
        metrics |= {f"{name}_{key}": number for key, number in _value_scores(rival, actual).items()}
    for name, chosen in _groups(judged).items():
        metrics |= _of_group(name, chosen, lambda at: _value_scores(value[at], actual[at]), seed)
    metrics |= _coverage(judged, low, high, actual)
    corrected, correction = model.corrections.heaviest
    figures = {
        "calibration": calibration_plot(value, actual, f"Margin over {days} days by decile"),
        "gain": gain_plot(value, np.maximum(actual, 0.0), "Margin found"),
        **_coverage_plots(judged, value, low, high, actual),
        **_importance(correction, f"What changes the {corrected} expected"),
    }
    return Report(_params(model.kind, model.facts), finite(metrics), figures, _notes(model.why, tried))


@threadpool_limits.wrap(limits=1)
def evaluate_next_order(panel: pd.DataFrame, seed: int = 0) -> Report:
    """Judge the chance of no order and the number of orders, beside one chance per recency band and the classical."""
    tried = rehearsal(panel) if len(panel) else None
    silent = next_order.no_order(tried.judged) if tried else np.zeros(0)
    if tried is None or not 0 < silent.sum() < len(silent):
        return NOTHING
    judged, days = tried.judged, tried.days
    model = next_order.fit(as_known_before(panel), seed)
    asked = _as_asked(judged)
    chance, foretold = next_order.predict(model, asked, days), next_order.predict_orders(model, asked, days)
    orders, n_orders = as_numbers(foretold["expected_orders"]), next_order.n_orders_next(judged)
    metrics = resampled(lambda at: _chance_scores(chance[at], silent[at]), len(judged), seed)
    metrics |= resampled(lambda at: _order_scores(orders[at], n_orders[at]), len(judged), seed)
    by_recency = next_order.by_recency(model, judged, days)
    for name, rival in (("by_recency", by_recency), ("classical", as_numbers(judged["p_no_order"]))):
        metrics |= {f"{name}_{key}": number for key, number in _chance_scores(rival, silent).items()}
    expected = as_numbers(judged["expected_orders"])
    metrics |= {f"classical_{key}": number for key, number in _order_scores(expected, n_orders).items()}
    for name, chosen in _groups(judged).items():
        metrics |= _of_group(name, chosen, lambda at: _chance_scores(chance[at], silent[at]), seed)
    slope = calibration_slope(chance, silent, np.ones(len(silent)), judged["account_id"].to_numpy(dtype=str), seed)
    low, high = as_numbers(foretold["orders_low"]), as_numbers(foretold["orders_high"])
    metrics |= with_interval("calibration_slope", slope) | _coverage(judged, low, high, n_orders)
    figures = {
        "calibration": calibration_plot(chance, silent, f"No order in {days} days"),
        "gain": gain_plot(chance, silent, "Accounts without an order found"),
        "orders by frequency": orders_by_frequency_plot(as_numbers(judged["n_orders"]), orders, n_orders),
        **_coverage_plots(judged, orders, low, high, n_orders),
        **_importance(model.silence, "What changes the chance expected"),
    }
    return Report(_params(model.kind, model.facts), finite(metrics), figures, _notes(model.why, tried))


def _as_asked(judged: pd.DataFrame) -> pd.DataFrame:
    """The accounts as the morning's features hold them: without outcomes and expectations."""
    return judged.drop(columns=["expected_orders", "p_no_order", *customer_base.EXPECTATIONS])


def _groups(judged: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        "waiting": np.flatnonzero(as_numbers(judged["n_waiting_lines"]) > 0),
        "one_time": np.flatnonzero(as_numbers(judged["n_orders"]) == 1),
    }


def _of_group(name: str, chosen: np.ndarray, scores: Scores, seed: int) -> dict[str, float]:
    if not len(chosen):
        return {}
    found = resampled(lambda at: scores(chosen[at]), len(chosen), seed)
    return {f"n_{name}": float(len(chosen))} | {_within(key, name): number for key, number in found.items()}


def _within(key: str, group: str) -> str:
    """The group's name before `_low` or `_high`: bias_waiting_low."""
    for end in ("_low", "_high"):
        if key.endswith(end):
            return f"{key.removesuffix(end)}_{group}{end}"
    return f"{key}_{group}"


def _coverage(judged: pd.DataFrame, low: np.ndarray, high: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Share of outcomes within the 90 % intervals; none where nothing was rehearsed before."""
    if np.isnan(high).any():
        return {}
    metrics = with_interval("coverage_90", coverage(low, high, actual)[1:])
    for name, chosen in _groups(judged).items():
        if len(chosen):
            part = coverage(low[chosen], high[chosen], actual[chosen])
            metrics |= with_interval(f"coverage_90_{name}", part[1:])
    return metrics


def _coverage_plots(
    judged: pd.DataFrame, predicted: np.ndarray, low: np.ndarray, high: np.ndarray, actual: np.ndarray
) -> dict[str, Figure]:
    if np.isnan(high).any():
        return {}
    tenths_held = coverage_by(tenths(predicted), low, high, actual)
    named = judged["segment"].fillna("none").to_numpy(dtype=str)
    parts = {f"tenth {name}": part for name, part in tenths_held.items()} | coverage_by(named, low, high, actual)
    shares, lows, highs = zip(*(part[1:] for part in parts.values()), strict=True)
    return {"coverage": coverage_plot(list(parts), shares, lows, highs, GOAL)}


def _value_scores(value: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Scores of money; what an account lost counts in the totals and as nothing in the rest."""
    total = max(float(actual.sum()), 1e-12)
    gained = np.maximum(actual, 0.0)
    # The deviance knows no prediction of 0; a hundredth of the mean stands for "next to nothing" in all rivals.
    above_zero = np.maximum(value, 0.01 * total / len(actual))
    predicted_mean, actual_mean = by_band(value, actual)
    top = np.argsort(-value, kind="stable")[: max(len(value) // 10, 1)]
    return {
        "tweedie_deviance": float(mean_tweedie_deviance(gained, above_zero, power=TWEEDIE_POWER)),
        "bias": float(value.sum() / total - 1),
        "normalised_gini": normalised_gini(value, gained),
        "top_decile_share": float(actual[top].sum() / total),
        "decile_error": float(np.abs(predicted_mean - actual_mean).mean() / (total / len(actual))),
    }


def _chance_scores(chance: np.ndarray, silent: np.ndarray) -> dict[str, float]:
    one = np.ones(len(silent))
    return {
        "auc": area_under_curve(chance, silent, one),
        "brier": float(np.mean((chance - silent) ** 2)),
        "calibration_error": calibration_error(chance, silent, one),
        "bias": float(chance.sum() / max(silent.sum(), 1.0) - 1),
    }


def _order_scores(expected: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    return {
        "orders_poisson_deviance": float(mean_poisson_deviance(actual, np.maximum(expected, 1e-9))),
        "orders_rmse": float(np.sqrt(np.mean((expected - actual) ** 2))),
        "orders_bias": float(expected.sum() / max(actual.sum(), 1.0) - 1),
    }


def _importance(correction: Tilt, title: str) -> dict[str, Figure]:
    if correction.booster is None or correction.inputs is None:
        return {}
    gains = correction.booster.feature_importance("gain")
    return {"importance": importance_plot(correction.inputs.columns, gains, title)}


def _params(kind: str, facts: Mapping[str, float]) -> dict[str, object]:
    """Settings of the judged model."""
    return {"kind": kind, **facts, **PARAMS}


def _notes(why: str, tried: Rehearsal) -> list[str]:
    n_waiting = len(_groups(tried.judged)["waiting"])
    return [
        f"the judged model, trained on the facts {tried.days} days ago, not the one that serves: {why}",
        f"judged over {tried.days} days on {len(tried.judged)} accounts, {n_waiting} of them with an open back order",
    ]
