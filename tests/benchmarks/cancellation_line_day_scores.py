"""Scores of hazards against what happened day by day; every interval is 95 % and resamples customers.

A resample takes each customer a Poisson(1) number of times, so whole customers come and go together. The slope's
interval is the sandwich estimate over customers, which needs no second fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.judging import SMALLEST, area_under_curve, log_losses, logistic_line

N_RESAMPLES = 1000
TOP_SHARE = 0.1
PER = 1000.0  # log-loss is told per so many line-days

Interval = tuple[float, float, float]
NONE = float("nan")


@dataclass(frozen=True, eq=False)
class Judged:
    """Line-days and what each way said of them; all arrays have one entry per line-day.

    Parameters
    ----------
    weight : days at risk that the row stands for, or the share of the line that was cancelled on its day
    is_later : the line began to wait after the cut-off
    chance : hazard per day by way
    """

    event: np.ndarray
    weight: np.ndarray
    customer: np.ndarray
    is_later: np.ndarray
    chance: Mapping[str, np.ndarray]

    @classmethod
    def together(cls, parts: Sequence[Judged]) -> Judged:
        """Join the line-days of several cut-offs."""
        rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return cls(
            **rows, chance={way: np.concatenate([part.chance[way] for part in parts]) for way in parts[0].chance}
        )

    @property
    def later(self) -> Judged:
        """Only lines that began to wait after the cut-off."""
        rows = {name: getattr(self, name)[self.is_later] for name in _ARRAYS}
        return Judged(**rows, chance={way: chance[self.is_later] for way, chance in self.chance.items()})


_ARRAYS = ("event", "weight", "customer", "is_later")


def log_loss(judged: Judged, way: str) -> Interval:
    """Log-loss per 1,000 line-days."""
    lost = PER * judged.weight * log_losses(judged.chance[way], judged.event)
    return ratio(lost, judged.weight, judged.customer)


def less_lost(judged: Judged, way: str, peer: str) -> Interval:
    """How much more log-loss per 1,000 line-days the peer has, line-day by line-day: above 0 the way is better."""
    peers, ways = (log_losses(judged.chance[name], judged.event) for name in (peer, way))
    return ratio(PER * judged.weight * (peers - ways), judged.weight, judged.customer)


def observed_over_expected(judged: Judged, way: str) -> Interval:
    """Cancelled lines (parts count as parts) over the sum of the hazards."""
    return ratio(judged.event * judged.weight, judged.chance[way] * judged.weight, judged.customer)


def lift(judged: Judged, way: str) -> Interval:
    """Cancelled share of the tenth of the line-days with the highest hazards over that of all."""
    in_top = share_in_top(judged.chance[way], judged.weight, TOP_SHARE)
    gone = judged.event * judged.weight
    value, low, high = ratio(gone * in_top, gone, judged.customer)
    return value / TOP_SHARE, low / TOP_SHARE, high / TOP_SHARE


def auc(judged: Judged, way: str) -> Interval:
    """Chance that a cancelled line-day had a higher hazard than a quiet one; without interval."""
    return area_under_curve(judged.chance[way], judged.event, judged.weight), NONE, NONE


def slope(judged: Judged, way: str) -> Interval:
    """Slope of what happened on the predicted log-odds: below 1 too sure of itself; NaN for one hazard for all."""
    chance, event, weight = np.clip(judged.chance[way], SMALLEST, 1 - SMALLEST), judged.event, judged.weight
    if np.ptp(chance) < SMALLEST or not 0 < event.sum() < len(event):
        return NONE, NONE, NONE
    design = np.column_stack([np.ones(len(chance)), np.log(chance / (1 - chance))])
    line = logistic_line(design, event, weight)
    fitted = 1 / (1 + np.exp(-design @ line))
    bend = np.linalg.inv(design.T @ (design * (weight * fitted * (1 - fitted))[:, None]))
    pull = _sums_by(judged.customer, design * (weight * (event - fitted))[:, None])
    half = 1.96 * np.sqrt((bend @ (pull.T @ pull) @ bend)[1, 1])
    return float(line[1]), float(line[1] - half), float(line[1] + half)


SCORES: dict[str, Callable[[Judged, str], Interval]] = {
    "log-loss": log_loss,
    "observed / expected": observed_over_expected,
    "calibration slope": slope,
    "lift of the top tenth": lift,
    "AUC": auc,
}


def ratio(top: np.ndarray, bottom: np.ndarray, customer: np.ndarray) -> Interval:
    """Sum of `top` over sum of `bottom` with its interval.

    >>> ratio(np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array(["a", "b"]))
    (0.5, 0.5, 0.5)
    """
    sums = _sums_by(customer, np.column_stack([top, bottom]))
    drawn = np.random.default_rng(0).poisson(1.0, (N_RESAMPLES, len(sums))) @ sums
    drawn = drawn[drawn[:, 1] > 0]  # of very few customers a resample can hold none
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(top.sum() / bottom.sum()), float(low), float(high)


def share_in_top(chance: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """How far each row belongs to the given share of all weight with the highest chances; ties share what is left.

    >>> share_in_top(np.array([0.3, 0.1, 0.1]), np.ones(3), share=2 / 3).round(2).tolist()
    [1.0, 0.5, 0.5]
    """
    order = np.argsort(-chance, kind="stable")
    wanted = share * weight.sum()
    edge = chance[order][min(np.searchsorted(np.cumsum(weight[order]), wanted), len(chance) - 1)]
    above, at = chance > edge, chance == edge
    return above + at * (wanted - weight[above].sum()) / weight[at].sum()


def _sums_by(customer: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sums of each column by customer, (n_customers, n_columns)."""
    names, code = np.unique(customer, return_inverse=True)
    return np.column_stack([np.bincount(code, column, minlength=len(names)) for column in columns.T])
