"""90 % intervals of what an account brings: exactly 0 if it does not order again, else money or a number of orders.

Split conformal prediction (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World"; Lei, G'Sell,
Rinaldo, Tibshirani & Wasserman 2018, JASA 113: 1094-1111, section 2.2) on nested sets that are cut from each account's
own predictive law, with one level per band of expected outcome (their Mondrian form).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

GOAL = 0.9  # share of outcomes that the intervals hold
TWO_SIDED_BELOW = 0.05  # chance of 0 from which an interval starts at 0 and misses above only
LEAST_ACCOUNTS, LEAST_POSITIVE = 100, 50  # of a band; fewer positive outcomes in all make one band
MOST_BANDS = 10
GRID = np.concatenate([[0.0, 0.005], np.arange(1, 100) / 100, [0.995, 1.0]])  # probabilities of a ratio law's quantiles

# Before there is data: outcome / mean is lognormal of mean 1, with 90 % of it below 2.3 and 99 % below 7.9; assumed.
ASSUMED_LOG_SD = 1.2
ASSUMED_RATIOS = np.exp(ASSUMED_LOG_SD * ndtri(np.clip(GRID, 0.001, 0.999)) - ASSUMED_LOG_SD**2 / 2)
# Accounts (positive outcomes for a ratio law) that a prior counts as; assumed.
PRIOR_OF_LAW, PRIOR_OF_BAND_LAW, PRIOR_OF_LEVEL, PRIOR_OF_BAND_LEVEL = 5.0, 50.0, 10.0, 100.0


@dataclass(frozen=True)
class Intervals:
    """How outcomes scatter about their prediction, and how far an interval has to reach to hold 90 % of them.

    Parameters
    ----------
    edges : expected outcomes at which the next band begins (n_bands - 1)
    ratios : quantiles at GRID of outcome / mean of a positive outcome, by band (n_bands, n_grid)
    levels : share of its predictive law that an account's interval spans, by band (n_bands)
    """

    edges: tuple[float, ...]
    ratios: tuple[tuple[float, ...], ...]
    levels: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The intervals as lists of numbers."""
        return {"edges": list(self.edges), "ratios": [list(law) for law in self.ratios], "levels": list(self.levels)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Intervals:
        """Undo `to_json`."""
        return cls(tuple(saved["edges"]), tuple(tuple(law) for law in saved["ratios"]), tuple(saved["levels"]))


@dataclass(frozen=True, eq=False)
class PredictiveLaws:
    """What may come of each account: 0 with chance p_zero, else its positive mean times a ratio of its band's law."""

    band: np.ndarray
    p_zero: np.ndarray
    positive_mean: np.ndarray
    ratios: np.ndarray

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """Least value that the law does not exceed with probability `share`, one per account."""
        is_positive = share > self.p_zero
        of_positive = np.where(is_positive, (share - self.p_zero) / np.where(is_positive, 1 - self.p_zero, 1), 0)
        ratio = np.zeros(len(share))
        for b, law in enumerate(self.ratios):
            rows = self.band == b
            ratio[rows] = np.interp(of_positive[rows], GRID, law)
        return np.where(is_positive, ratio * self.positive_mean, 0)

    def shares(self, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest share whose quantile is the outcome; they differ by the mass that lies on it."""
        ratio = outcome / self.positive_mean
        ends = np.zeros((2, len(ratio)))
        for b, law in enumerate(self.ratios):
            rows = self.band == b
            ends[:, rows] = [_share_of_law(law, ratio[rows], side) for side in ("left", "right")]
        least, greatest = self.p_zero + (1 - self.p_zero) * ends
        return np.where(outcome > 0, least, 0), np.where(outcome > 0, greatest, self.p_zero)

    def tails(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The set of a level: [0, F^-1(level)], or equal tails where hardly anyone stays away. Nested in `level`."""
        is_two_sided = self.p_zero < TWO_SIDED_BELOW
        low = np.where(is_two_sided, self.quantile((1 - level) / 2), 0)
        return low, self.quantile(np.where(is_two_sided, (1 + level) / 2, level))

    def least_level(self, least: np.ndarray, greatest: np.ndarray) -> np.ndarray:
        """Least level whose set holds an outcome at these shares of its law: the conformal score."""
        is_two_sided = self.p_zero < TWO_SIDED_BELOW
        of_tails = np.maximum(np.maximum(1 - 2 * greatest, 2 * least - 1), 0)
        return np.where(is_two_sided, of_tails, least)


def learn(
    prediction: ArrayLike,
    p_zero: ArrayLike,
    outcome: ArrayLike,
    account_ids: Sequence[Any],
    level_log_sd: float = 0.0,
) -> Intervals:
    """Intervals from accounts whose predictions were made without their outcomes, one row each.

    Each account is scored by the ratio law of the other half of the accounts, so that its score is as one of a new
    account. The law kept is the mean of the two halves' quantiles: it uses all, and scatters as widely as they do.

    Parameters
    ----------
    prediction : expected outcome, 0 for an account that stays away included
    p_zero : chance of an outcome of exactly 0
    outcome : what came; a net refund counts as 0
    account_ids : names; a checksum of them deals out the halves, so that the order of rows does not matter
    level_log_sd : how far the level of all outcomes may move from this window to the one foretold: each outcome counts
        twice, once so much higher and once so much lower
    """
    mean, chance = _checked(prediction, p_zero)
    value = np.maximum(np.asarray(outcome, dtype=np.float64), 0)
    edges = _edges(mean, int((value > 0).sum()))
    if level_log_sd > 0:
        mean, chance, account_ids = np.tile(mean, 2), np.tile(chance, 2), [*account_ids, *account_ids]
        value = np.concatenate([value * np.exp(level_log_sd), value * np.exp(-level_log_sd)])
    band, half = _band(edges, mean), halves(account_ids)
    positive_mean = _positive_mean(mean, chance)
    laws = []
    for h in (0, 1):
        rows = (half == h) & (value > 0)
        laws.append(_ratio_laws((value / positive_mean)[rows], band[rows], len(edges) + 1))
    score, split_score = np.zeros(len(mean)), np.zeros((len(mean), 10))
    for h in (0, 1):
        rows = half == h
        law = PredictiveLaws(band[rows], chance[rows], positive_mean[rows], laws[1 - h])
        score[rows], split_score[rows] = _scores(law, value[rows])
    levels = _levels(score, split_score, band, len(edges) + 1)
    ratios = (laws[0] + laws[1]) / 2
    return Intervals(tuple(edges.tolist()), tuple(tuple(law) for law in ratios.tolist()), tuple(levels))


def bounds(
    intervals: Intervals, prediction: ArrayLike, p_zero: ArrayLike, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of each account's 90 % interval; 0 <= low <= high, finite.

    With `whole` (numbers of orders) the ends move inwards to whole numbers: the lower up, the upper down. That drops
    no whole number: the interval holds the counts that it held before. Where it holds none,
    the whole number nearest to its middle stands for both ends.
    """
    mean, chance = _checked(prediction, p_zero)
    band = _band(np.array(intervals.edges), mean)
    law = PredictiveLaws(band, chance, _positive_mean(mean, chance), np.array(intervals.ratios))
    low, high = law.tails(np.array(intervals.levels)[band])
    return _inwards(low, high) if whole else (low, high)


class Coverage(NamedTuple):
    """Share of outcomes within their interval, and the 95 % interval of that share."""

    n_accounts: int
    share: float
    low: float
    high: float


def coverage(low: ArrayLike, high: ArrayLike, outcome: ArrayLike) -> Coverage:
    """How many outcomes lie within their interval, with the interval of Wilson (1927, JASA 22: 209-212).

    A net refund counts as 0, as in `learn`. Without any account the share is NaN.

    >>> held = coverage(low=[0] * 10, high=[1] * 10, outcome=[1] * 9 + [2])
    >>> held.n_accounts, held.share, round(held.low, 3), round(held.high, 3)
    (10, 0.9, 0.596, 0.982)
    """
    value = np.maximum(np.asarray(outcome, dtype=np.float64), 0)
    n, n_held = len(value), int(((np.asarray(low) <= value) & (value <= np.asarray(high))).sum())
    if not n:
        return Coverage(0, float("nan"), 0.0, 1.0)
    share, z = n_held / n, float(ndtri(0.975))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return Coverage(n, share, max(middle - reach, 0.0), min(middle + reach, 1.0))


def coverage_by(groups: ArrayLike, low: ArrayLike, high: ArrayLike, outcome: ArrayLike) -> dict[str, Coverage]:
    """Coverage in each group, by its name, in order of the groups (`tenths` of the prediction, segments)."""
    group, ends = np.asarray(groups), [np.asarray(values) for values in (low, high, outcome)]
    return {str(name): coverage(*(values[group == name] for values in ends)) for name in np.unique(group)}


def tenths(prediction: ArrayLike) -> np.ndarray:
    """Which tenth of the accounts (1 lowest to 10 highest) each belongs to by its prediction; equal ones stay together.

    >>> tenths([5, 1, 3, 3]).tolist()
    [8, 1, 3, 3]
    """
    value = np.asarray(prediction, dtype=np.float64)
    n_below = np.searchsorted(np.sort(value), value, side="left")
    return 10 * n_below // max(len(value), 1) + 1


def halves(account_ids: Sequence[Any]) -> np.ndarray:
    """Which half (0, 1) of the accounts each belongs to: dealt out by a checksum of the id, equal in size.

    >>> halves(["a", "b", "a", "c"]).tolist()
    [0, 1, 0, 0]
    """
    names = sorted({str(name) for name in account_ids}, key=lambda name: (zlib.crc32(name.encode()), name))
    place = {name: at % 2 for at, name in enumerate(names)}
    return np.array([place[str(name)] for name in account_ids], dtype=np.int64)


def _checked(prediction: ArrayLike, p_zero: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Expected outcomes and chances as numbers."""
    mean, chance = np.asarray(prediction, dtype=np.float64), np.asarray(p_zero, dtype=np.float64)
    is_bad = ~(np.isfinite(mean) & (mean >= 0) & (chance >= 0) & (chance <= 1))
    if is_bad.any():
        raise ValueError(
            f"intervals: a prediction is not a number from 0 up, or a chance not within 0 to 1, in {is_bad.sum()}"
            f" of {len(is_bad)} accounts, e.g. rows {np.flatnonzero(is_bad)[:3].tolist()}"
        )
    return mean, chance


def _positive_mean(mean: np.ndarray, p_zero: np.ndarray) -> np.ndarray:
    """Expected outcome of an account that does order; kept above 0, because outcomes are divided by it."""
    return np.maximum(mean, 1e-9) / np.maximum(1 - p_zero, 1e-9)


def _edges(mean: np.ndarray, n_positive: int) -> np.ndarray:
    """Where bands of equally many accounts begin; none where accounts or positive outcomes are few."""
    n_bands = min(MOST_BANDS, len(mean) // LEAST_ACCOUNTS) if n_positive >= LEAST_POSITIVE else 1
    if n_bands < 2:
        return np.zeros(0)
    return np.unique(np.quantile(mean, np.arange(1, n_bands) / n_bands))


def _band(edges: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.searchsorted(edges, mean, side="right")


def _ratio_laws(ratio: np.ndarray, band: np.ndarray, n_bands: int) -> np.ndarray:
    """Quantiles of the ratios of each band at GRID (n_bands, n_grid), drawn to those of all where a band has few."""
    overall = _drawn_to(ASSUMED_RATIOS, ratio, PRIOR_OF_LAW)
    laws = np.array([_drawn_to(overall, ratio[band == b], PRIOR_OF_BAND_LAW) for b in range(n_bands)])
    laws[:, 0] = 0  # the whole law spans everything from 0 up to its top
    return laws


def _drawn_to(prior: np.ndarray, ratio: np.ndarray, weight: float) -> np.ndarray:
    """Quantiles of the ratios at GRID, averaged with a prior's that counts as `weight` ratios."""
    if not len(ratio):
        return prior
    own = np.quantile(ratio, GRID, method="weibull")  # a new one exceeds the i-th of n with chance 1 - i / (n + 1)
    return (len(ratio) * own + weight * prior) / (len(ratio) + weight)


def _share_of_law(law: np.ndarray, ratio: np.ndarray, side: str) -> np.ndarray:
    """Least (left) or greatest (right) probability whose quantile is the ratio; 1 beyond the law's top."""
    above = np.searchsorted(law, ratio, side="left" if side == "left" else "right")
    at = np.clip(above, 1, len(law) - 1)
    width = law[at] - law[at - 1]
    part = np.divide(ratio - law[at - 1], width, out=np.zeros(len(ratio)), where=width > 0)
    share = GRID[at - 1] + np.clip(part, 0, 1) * (GRID[at] - GRID[at - 1])
    return np.where(above == 0, 0.0, np.where(above == len(law), 1.0, share))


def _scores(law: PredictiveLaws, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Conformal scores (n,), and those with the mass on the outcome split into ten equal parts (n, 10)."""
    least, greatest = law.shares(outcome)
    parts = [least + part * (greatest - least) for part in np.arange(0.05, 1, 0.1)]
    return law.least_level(least, greatest), np.array([law.least_level(share, share) for share in parts]).T


def _levels(score: np.ndarray, split_score: np.ndarray, band: np.ndarray, n_bands: int) -> list[float]:
    """Level of each band, drawn to that of all accounts where it has few.

    The level of all is taken with the mass at 0 split: a set cannot hold half of it, so that accounts that hardly ever
    come back are held too often, and would otherwise draw the others' level down to make up for it.
    """
    overall = _shrunk_level(split_score, len(score), GOAL, PRIOR_OF_LEVEL)
    rows = [band == b for b in range(n_bands)]
    return [_shrunk_level(score[row], int(row.sum()), overall, PRIOR_OF_BAND_LEVEL) for row in rows]


def _shrunk_level(score: np.ndarray, n: int, prior: float, weight: float) -> float:
    """The ceil(0.9 (n + 1))-th of n scores, averaged with a prior that counts as `weight` accounts."""
    if not n:
        return prior
    share = min(np.ceil(GOAL * (n + 1) - 1e-9) / n, 1.0)
    return float((n * np.quantile(score, share, method="inverted_cdf") + weight * prior) / (n + weight))


def _inwards(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest whole number within each interval."""
    least, greatest = np.ceil(low - 1e-9), np.floor(high + 1e-9)
    middle, is_empty = np.floor((low + high) / 2 + 0.5), least > greatest
    return np.where(is_empty, middle, np.maximum(least, 0)), np.where(is_empty, middle, greatest)
