"""Scores of predicted chances against true ones, written apart from the models' own so that neither hides the other.

All take predicted chances [p] and true ones [q] of cancelling within `HORIZON_DAYS` if nobody ships, or whole curves.
Nothing is censored here: the truth of every line is known, so no score needs weights.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.stats import spearmanr
from scipy.stats import t as student

HORIZON_DAYS = 14
BRIER_DAYS = 60  # curves are scored on days 1..60 from the morning of scoring
SMALLEST = 1e-6


def captured(score: np.ndarray, value: np.ndarray, truth: np.ndarray, share: float = 0.1) -> float:
    """Money saved by shipping the first tenth of the lines by `score`, as a share of what the true order saves.

    >>> captured(np.array([1.0, 3.0, 2.0]), np.array([10.0, 5.0, 8.0]), np.array([0.1, 0.2, 0.5]), share=0.34)
    0.25
    """
    saved = value * truth
    n_shipped = int(share * len(score))
    ours, best = (saved[np.argsort(-by, kind="stable")[:n_shipped]].sum() for by in (score, saved))
    return float(ours / best)


def slope(chance: np.ndarray, truth: np.ndarray) -> float:
    """Slope of the true log-odds on the predicted, by logistic regression: below 1 too sure of itself, above too timid.

    >>> round(slope(np.array([0.2, 0.5, 0.8]), np.array([1 / 3, 0.5, 2 / 3])), 3)
    0.5
    """
    p = np.clip(chance, SMALLEST, 1 - SMALLEST)
    log_odds = np.log(p / (1 - p))

    def loss(line: np.ndarray) -> float:
        fitted = line[0] + line[1] * log_odds
        return float(np.mean(np.logaddexp(0, fitted) - truth * fitted))

    return float(minimize(loss, np.array([0.0, 1.0]), method="BFGS", options={"gtol": 1e-8}).x[1])


def calibration_error(chance: np.ndarray, truth: np.ndarray, n_bands: int = 10) -> float:
    """Mean distance between the mean predicted and the mean true chance over ten bands of equally many lines [ECE].

    >>> round(calibration_error(np.array([0.1, 0.3]), np.array([0.2, 0.2]), n_bands=2), 3)
    0.1
    """
    bands = np.array_split(np.argsort(chance, kind="stable"), n_bands)
    return float(sum(abs((chance[band] - truth[band]).sum()) for band in bands) / len(chance))


def log_loss(chance: np.ndarray, truth: np.ndarray) -> float:
    """Expected minus log of the chance given to what happens, when lines cancel with their true chance.

    >>> round(log_loss(np.array([0.5]), np.array([0.1])), 4)
    0.6931
    """
    p = np.clip(chance, SMALLEST, 1 - SMALLEST)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))


def integrated_brier(curves: np.ndarray, truth: np.ndarray) -> float:
    """Expected squared distance of a curve to the line's own fate, mean over days and lines [IBS].

    Fate is 1 while the line is wanted and 0 from its cancellation on. S (1 - S) of the true curve [S] is chance and
    nobody's fault, the rest is the squared distance of the two curves.

    Parameters
    ----------
    curves, truth : (n_lines, n_days + 1), the first column, today, is 1 and does not count

    >>> round(integrated_brier(np.array([[1.0, 0.6]]), np.array([[1.0, 0.5]])), 3)
    0.26
    """
    true = truth[:, 1:]
    return float(np.mean(true * (1 - true) + (curves[:, 1:] - true) ** 2))


def n_rises(curves: np.ndarray) -> int:
    """Count days on which a curve rises, is no chance or does not start at 1: none may.

    >>> n_rises(np.array([[1.0, 0.8, 0.9], [1.0, 0.5, 0.5]]))
    1
    """
    # NaN compares false, so what must hold is asked, not what must not.
    fine = (curves[:, 1:] <= curves[:, :-1]) & (curves[:, 1:] >= 0)
    return int((~fine).sum() + (curves[:, 0] != 1).sum())


def rank_agreement(score: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of two scores' ranks.

    >>> rank_agreement(np.array([1.0, 2.0, 9.0]), np.array([1.0, 5.0, 6.0]))
    1.0
    """
    return float(spearmanr(score, other).statistic)


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds with its 95 % t interval; NaN ends if there is one seed only.

    >>> [round(end, 3) for end in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    n = len(values)
    mean = float(np.mean(values))
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return mean, mean - half, mean + half


def standard_error(values: np.ndarray) -> float:
    """Standard error of a mean.

    >>> standard_error(np.array([1.0, 3.0]))
    1.0
    """
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
