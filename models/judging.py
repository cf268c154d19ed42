"""Scores that compare predictions with what happened, each with a 90 % interval from resampling whole groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.metrics import roc_auc_score

N_RESAMPLES = 200
SMALLEST = 1e-9  # a chance of exactly 0 or 1 would make one surprise cost everything


def log_losses(chance: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Minus the log of the chance given to what happened, row by row.

    >>> log_losses(np.array([0.5]), np.array([1.0])).round(4).tolist()
    [0.6931]
    """
    p = np.clip(chance, SMALLEST, 1 - SMALLEST)
    return np.asarray(-(event * np.log(p) + (1 - event) * np.log1p(-p)))


def area_under_curve(chance: np.ndarray, event: np.ndarray, weight: np.ndarray) -> float:
    """Chance that a row with the event was predicted above one without; NaN if all rows are alike."""
    if not 0 < event.sum() < len(event):
        return float("nan")
    return float(roc_auc_score(event, chance, sample_weight=weight))


def calibration_error(chance: np.ndarray, event: np.ndarray, weight: np.ndarray, n_bands: int = 10) -> float:
    """Mean distance between predicted and observed share over bands of equal weight [ECE].

    >>> calibration_error(np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.ones(2), n_bands=1)
    0.0
    """
    order = np.argsort(chance, kind="stable")
    running = np.cumsum(weight[order])
    band = np.minimum((n_bands * (running - weight[order] / 2) / running[-1]).astype(int), n_bands - 1)
    gap = np.bincount(band, (weight * (chance - event))[order], minlength=n_bands)
    return float(np.abs(gap).sum() / running[-1])


def calibration_slope(
    chance: np.ndarray, event: np.ndarray, weight: np.ndarray, group: np.ndarray, seed: int
) -> tuple[float, float, float]:
    """Slope of the event on the predicted log-odds with its interval: 1 is right, below 1 too sure of itself.

    The interval resamples groups and takes one Newton step from the estimate, which costs no second fit.
    """
    if not 0 < event.sum() < len(event) or np.ptp(chance) < SMALLEST:
        return float("nan"), float("nan"), float("nan")
    p = np.clip(chance, SMALLEST, 1 - SMALLEST)
    design = np.column_stack([np.ones(len(p)), np.log(p / (1 - p))])
    line = logistic_line(design, event, weight)
    score, information = _steps(design, event, weight, line)
    code, n_groups = _groups(group)
    per_group = np.column_stack([np.bincount(code, part, minlength=n_groups) for part in (*score.T, *information.T)])
    drawn = _draws(n_groups, seed) @ per_group
    hessian = drawn[:, [2, 3, 3, 4]].reshape(-1, 2, 2) + 1e-9 * np.eye(2)
    slopes = line[1] + np.linalg.solve(hessian, drawn[:, :2, None])[:, 1, 0]
    return float(line[1]), *interval(slopes)


def slope_and_error(
    log_odds: np.ndarray, event: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> tuple[float, float]:
    """Slope of the event on predicted log-odds with its standard error, groups as units (Liang & Zeger 1986).

    NaN where there is nothing to compare.
    """
    if not 0 < event.sum() < len(event) or np.ptp(log_odds) < SMALLEST:
        return float("nan"), float("nan")
    design = np.column_stack([np.ones(len(log_odds)), log_odds])
    line = logistic_line(design, event, weight)
    score, information = _steps(design, event, weight, line)
    code, n_groups = _groups(group)
    by_group = np.column_stack([np.bincount(code, part, minlength=n_groups) for part in score.T])
    total = information.sum(axis=0)
    bread = np.linalg.inv(np.array([[total[0], total[1]], [total[1], total[2]]]) + 1e-9 * np.eye(2))
    return float(line[1]), float(np.sqrt((bread @ by_group.T @ by_group @ bread)[1, 1]))


def logistic_line(design: np.ndarray, event: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Intercept and slope of the event's log-odds on the second column of `design`, by Newton steps."""
    share = np.clip(np.average(event, weights=weight), SMALLEST, 1 - SMALLEST)
    line = np.array(
        [np.log(share / (1 - share)), 0.0]
    )  # from here Newton's steps do not overshoot, from slope 1 they can
    for _ in range(50):
        score, information = _steps(design, event, weight, line)
        total = information.sum(axis=0)
        hessian = np.array([[total[0], total[1]], [total[1], total[2]]]) + 1e-9 * np.eye(2)
        move = np.linalg.solve(hessian, score.sum(axis=0))
        line = line + move / max(1.0, np.abs(move).max())
        if np.abs(move).max() < 1e-10:
            break
    return line


def ratio_interval(top: np.ndarray, bottom: np.ndarray, group: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Sum of `top` over sum of `bottom` with the interval from resampling groups.

    >>> ratio_interval(np.array([1.0, 1.0]), np.array([2.0, 2.0]), np.array(["a", "b"]), seed=0)
    (0.5, 0.5, 0.5)
    """
    code, n_groups = _groups(group)
    sums = np.column_stack([np.bincount(code, part, minlength=n_groups) for part in (top, bottom)])
    drawn = _draws(n_groups, seed) @ sums
    drawn = drawn[drawn[:, 1] > 0]  # of very few groups a resample can hold none
    ratio = drawn[:, 0] / drawn[:, 1]
    return float(top.sum() / max(bottom.sum(), 1e-12)), *interval(ratio)


def ratio_and_error(top: np.ndarray, bottom: np.ndarray, group: np.ndarray, seed: int) -> tuple[float, float]:
    """Sum of `top` over sum of `bottom` with its standard error from resampling groups.

    >>> ratio_and_error(np.array([1.0, 1.0]), np.array([2.0, 2.0]), np.array(["a", "b"]), seed=0)
    (0.5, 0.0)
    """
    code, n_groups = _groups(group)
    sums = np.column_stack([np.bincount(code, part, minlength=n_groups) for part in (top, bottom)])
    drawn = _draws(n_groups, seed) @ sums
    drawn = drawn[drawn[:, 1] > 0]
    return float(top.sum() / max(bottom.sum(), 1e-12)), float((drawn[:, 0] / drawn[:, 1]).std())


def resampled(figures: Callable[[np.ndarray], Mapping[str, float]], n_rows: int, seed: int) -> dict[str, float]:
    """Figures of the rows at given places: their values on all rows and NAME_low, NAME_high from resampling rows."""
    draw = np.random.default_rng(seed)
    again = [figures(np.sort(draw.integers(0, n_rows, n_rows))) for _ in range(N_RESAMPLES)]
    metrics: dict[str, float] = {}
    for name, value in figures(np.arange(n_rows)).items():
        metrics |= with_interval(name, (value, *interval(np.array([one[name] for one in again]))))
    return metrics


def pinball(outcome: np.ndarray, predicted: np.ndarray, share: float) -> np.ndarray:
    """Loss of each predicted quantile (Koenker & Bassett 1978, Econometrica 46: 33-50).

    >>> pinball(np.array([3.0, 3.0]), np.array([1.0, 5.0]), 0.9).round(1).tolist()
    [1.8, 0.2]
    """
    gap = outcome - predicted
    return np.asarray(np.maximum(share * gap, (share - 1) * gap))


def normalised_gini(predicted: np.ndarray, outcome: np.ndarray) -> float:
    """Gini of the outcome ordered by prediction over that of the perfect order: 1 is perfect, 0 is chance.

    >>> normalised_gini(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 5.0]))
    1.0
    """
    best = _gini(outcome, outcome)
    return _gini(predicted, outcome) / best if best > 0 else float("nan")


def with_interval(name: str, value: tuple[float, float, float]) -> dict[str, float]:
    """Name the three numbers as metrics NAME, NAME_low, NAME_high."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), value, strict=True))


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics without those that could not be computed: MLflow takes no NaN."""
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 5 % and 95 % quantile."""
    if not len(values) or not np.isfinite(values).all():
        return float("nan"), float("nan")
    return float(np.quantile(values, 0.05)), float(np.quantile(values, 0.95))


def _gini(predicted: np.ndarray, outcome: np.ndarray) -> float:
    # Rows with the same prediction share one mean outcome, else the order of the rows would count.
    values, place = np.unique(-predicted, return_inverse=True)
    size = np.bincount(place, minlength=len(values)).astype(float)
    gain = np.concatenate([[0.0], np.cumsum(np.bincount(place, outcome, minlength=len(values)))])
    if gain[-1] <= 0:
        return 0.0
    return float(((gain[1:] + gain[:-1]) * size).sum() / (gain[-1] * len(outcome)) - 1)


def _groups(group: np.ndarray) -> tuple[np.ndarray, int]:
    names, code = np.unique(group.astype(str), return_inverse=True)
    return code, len(names)


def _draws(n_groups: int, seed: int) -> np.ndarray:
    # Poisson(1) copies of each group: the bootstrap without drawing places, one matrix product for all resamples.
    return np.random.default_rng(seed).poisson(1.0, (N_RESAMPLES, n_groups)).astype(float)


def _steps(
    design: np.ndarray, event: np.ndarray, weight: np.ndarray, line: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Per row the gradient (2 columns) and the information matrix (its 3 distinct entries)."""
    fitted = 1 / (1 + np.exp(-np.clip(design @ line, -500, 500)))
    score = design * (weight * (event - fitted))[:, None]
    mass = weight * fitted * (1 - fitted)
    x = design[:, 1]
    return score, np.column_stack([mass, mass * x, mass * x * x])
