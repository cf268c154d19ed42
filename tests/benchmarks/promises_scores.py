"""Scores of foreseen days of arrival against the days on which goods came.

A way gives the days by which goods have come with the chances `LEVELS`, whole days or not, and the chance that they
come after the date told; the days start at 1. It may give the chance of arrival by every day, its curve. Goods come on
whole days and often on the very date told: the day of the quantile then holds more than its chance. So beside the share
that came by the 90 % date stands the share that came before it, and where there is a curve the share with ties counted
in part (non-randomised probability integral transform; Czado, Gneiting & Held 2009, Biometrics 65, eq. 2): a right
curve has it at .9 whatever the ties.

Intervals are 95 % of resamples of receipts (lines of one order with one date), ways on the same resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from models.judging import area_under_curve

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.9, 0.95])
MEDIAN, NINE_TENTHS = 2, 4  # places in LEVELS
INTERVALS = {"50 %": (1, 3), "90 %": (0, 5)}
N_RESAMPLES = 400
FEWEST_RECEIPTS = 50  # of a supplier whose own share is told


@dataclass(frozen=True, eq=False)
class Foreseen:
    """What a way says of some open lines.

    Parameters
    ----------
    days : (n_lines, n_levels), rising along a row, 1 at least
    p_late : (n_lines,), chance to come after the date told, or what ranks lines by it; NaN: the way does not say
    curve : (n_lines, n_days + 1) chance to have come within 0, 1, ... days, or None
    """

    days: np.ndarray
    p_late: np.ndarray
    curve: np.ndarray | None = None


def from_curve(has_come: np.ndarray, told_days: np.ndarray) -> Foreseen:
    """Quantiles and the chance of being late of chances by day; a quantile past the last day is the day after it.

    >>> said = from_curve(np.array([[0.0, 0.1, 0.6, 1.0]]), np.array([2]))
    >>> said.days[0].tolist(), said.p_late.tolist()
    ([1.0, 2.0, 2.0, 3.0, 3.0, 3.0], [0.4])
    """
    n_lines, n_days = has_come.shape
    days = np.empty((n_lines, len(LEVELS)))
    for place, level in enumerate(LEVELS):
        reached = has_come >= level - 1e-12
        days[:, place] = np.where(reached.any(axis=1), reached.argmax(axis=1), n_days)
    by = has_come[np.arange(n_lines), np.clip(told_days, 0, n_days - 1)]
    return Foreseen(np.maximum(days, 1.0), 1.0 - by, has_come)


def joined(parts: list[Foreseen]) -> tuple[np.ndarray, np.ndarray]:
    """Days and chances of being late of several days' lines."""
    return np.concatenate([part.days for part in parts]), np.concatenate([part.p_late for part in parts])


def pinball(came: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Pinball loss of each line at each level, in days; (n_lines, n_levels).

    >>> pinball(np.array([3.0]), np.full((1, 6), 5.0)).round(2).tolist()
    [[1.9, 1.5, 1.0, 0.5, 0.2, 0.1]]
    """
    gap = came[:, None] - days
    return np.maximum(LEVELS * gap, (LEVELS - 1) * gap)


def share_with_ties(came: np.ndarray, curve: np.ndarray, level: float = 0.9) -> np.ndarray:
    """Part of each line's day that lies within the chance `level`; its mean is `level` under the right curve.

    A line that comes on a day with .2 before it and 1 by it counts (.9 - .2) / .8 of a line.

    >>> share_with_ties(np.array([1.0]), np.array([[0.2, 1.0]])).round(3).tolist()
    [0.875]
    """
    line, last = np.arange(len(came)), curve.shape[1] - 1
    day = came.astype(int)
    by = np.where(day <= last, curve[line, np.minimum(day, last)], 1.0)
    before = curve[line, np.minimum(day - 1, last)]
    # A line on a day that was given no chance at all lies on one side of the level or the other.
    part = (level - before) / np.maximum(by - before, 1e-12)
    return np.where(by - before > 1e-12, np.clip(part, 0, 1), (before < level) * 1.0)


def line_scores(came: np.ndarray, days: np.ndarray) -> pd.DataFrame:
    """One row per line: pinball of all levels, of the median and of .9; whether intervals hold; widths in days."""
    loss = pinball(came, days)
    scores = {
        "pinball": loss.mean(axis=1),
        "pinball .5": loss[:, MEDIAN],
        "pinball .9": loss[:, NINE_TENTHS],
        "met by the 90 % date": (came <= days[:, NINE_TENTHS]) * 1.0,
        "came before the 90 % date": (came < np.ceil(days[:, NINE_TENTHS])) * 1.0,
    }
    for name, (low, high) in INTERVALS.items():
        scores[f"coverage {name}"] = ((days[:, low] <= came) & (came <= days[:, high])) * 1.0
        scores[f"width {name}"] = days[:, high] - days[:, low]
    return pd.DataFrame(scores)


class Resamples:
    """Receipts drawn again and again, with all their lines; Poisson(1) copies of each.

    >>> same = Resamples(np.array(["a", "a", "b"]), seed=0)
    >>> same.mean(np.array([2.0, 2.0, 2.0]))
    (2.0, 2.0, 2.0)
    """

    def __init__(self, receipt: np.ndarray, seed: int = 0) -> None:
        """Draw."""
        names, self.code = np.unique(receipt.astype(str), return_inverse=True)
        self.copies = np.random.default_rng(seed).poisson(1.0, (N_RESAMPLES, len(names))).astype(float)

    def mean(self, values: np.ndarray) -> tuple[float, float, float]:
        """Mean over lines with its interval."""
        return self.ratio(values, np.ones(len(values)))

    def ratio(self, top: np.ndarray, bottom: np.ndarray) -> tuple[float, float, float]:
        """Sum over sum with its interval."""
        n = self.copies.shape[1]
        drawn = self.copies @ np.column_stack([np.bincount(self.code, part, minlength=n) for part in (top, bottom)])
        drawn = drawn[drawn[:, 1] > 0]  # of very few receipts a resample can hold none
        return float(top.sum() / bottom.sum()), *_ends(drawn[:, 0] / drawn[:, 1])

    def auc(self, score: np.ndarray, event: np.ndarray) -> tuple[float, float, float]:
        """Area under the curve with its interval; NaN if a line has no score or all lines are alike."""
        if np.isnan(score).any() or not 0 < event.sum() < len(event):
            return float("nan"), float("nan"), float("nan")
        again = []
        for copies in self.copies:
            drawn = copies[self.code] > 0
            again.append(area_under_curve(score[drawn], event[drawn], copies[self.code][drawn]))
        return area_under_curve(score, event, np.ones(len(score))), *_ends(np.array(again))


def by_supplier(rows: pd.DataFrame, met: np.ndarray, before: np.ndarray) -> pd.DataFrame:
    """One row per supplier with 50 receipts or more, most first: shares met, interval, whether it holds 90 %.

    Parameters
    ----------
    rows : supplier_id and receipt_id of each line; the first line of a receipt speaks for it
    met, before : 1 where the line came by its 90 % date, and where it came before that day

    Returns
    -------
    n, share_met, share_before, low and high (binomial 95 % interval of share_met; Clopper & Pearson 1934), holds_90,
    ties_hold_90: .9 lies between the lower end for what came before and the upper end for what came by the date, as it
    must for right dates on days that many goods come on.
    """
    given = pd.DataFrame({"supplier_id": rows["supplier_id"].to_numpy(), "met": met, "before": before})
    sums = given[~rows.duplicated("receipt_id").to_numpy()].groupby("supplier_id").agg(["size", "sum"])
    n = sums["met", "size"]
    shown = pd.DataFrame({"n": n, "met": sums["met", "sum"], "before": sums["before", "sum"]})[n >= FEWEST_RECEIPTS]
    low, high = _binomial(shown["met"], shown["n"])
    before_low, _ = _binomial(shown["before"], shown["n"])
    shares = {"share_met": shown["met"] / shown["n"], "share_before": shown["before"] / shown["n"]}
    holds = {"holds_90": (low <= 0.9) & (high >= 0.9), "ties_hold_90": (before_low <= 0.9) & (high >= 0.9)}
    table = pd.DataFrame({"n": shown["n"], **shares, "low": low, "high": high, **holds}, index=shown.index)
    return table.sort_values("n", ascending=False, kind="stable")


def binomial(n_met: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper & Pearson 1934); unknown of none.

    >>> [round(end, 3) for end in binomial(9, 10)]
    [0.555, 0.997]
    """
    if not n:
        return float("nan"), float("nan")
    ends = binomtest(n_met, n).proportion_ci(0.95)
    return ends.low, ends.high


def _binomial(n_met: pd.Series, n: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    ends = [binomial(int(k), int(of)) for k, of in zip(n_met, n, strict=True)]
    return np.array(ends).reshape(-1, 2).T


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(np.nanquantile(values, 0.025)), float(np.nanquantile(values, 0.975))
