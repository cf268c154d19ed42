"""Scores of what was foreseen against what came, all on the same resamples of customers.

A score takes `copies`, how often each customer is in a resample, shape (n_resamples, n_customers), and gives one number
per resample; one row of ones gives the figure itself. Ways that are compared see the same copies: the bootstrap is
paired. Customers of equal prediction share one place in every order. NaN in a prediction makes the score NaN.

orders deviance : mean Poisson deviance; predictions of all ways count as at least `FEWEST_ORDERS`
orders RMSE : root of the mean squared distance
orders bias, spend bias : sum foreseen / sum that came - 1
spend nGini : Gini of what came, in the order foreseen, over that in its own order; 1 is perfect, 0 is chance
spend top 10 % : share of all spend that came from the tenth foreseen to spend most
spend decile error : distance of sums foreseen and come over ten bands of equally many customers, over all that came
buys again AUC, Brier : of the chance of an order within the horizon
one-time buyers' nGini : of customers with one order so far
spend coverage, orders coverage : share of customers whose outcome lies in the 90 % interval, its ends included
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

FEWEST_ORDERS = 1e-6
TOP_SHARE, N_BANDS = 0.1, 10
AT_ONCE = 25  # resamples; of 23,570 customers 5 MB a column
INTERVALS = {"spend": ("spend_low", "spend_high"), "orders": ("orders_low", "orders_high")}


@dataclass(frozen=True)
class Judged:
    """What the ways said of one cut-off's customers and what came, a row per customer in one order for all."""

    orders: np.ndarray
    spend: np.ndarray
    is_one_time: np.ndarray
    said: Mapping[str, pd.DataFrame]

    @property
    def once(self) -> np.ndarray:
        """Copies that are the customers themselves, (1, n_customers)."""
        return np.ones((1, len(self.orders)))


Score = Callable[[Judged, str, np.ndarray], np.ndarray]


def deviance(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Mean Poisson deviance of orders, 2 (y log(y/m) - y + m)."""
    expected, came = np.maximum(judged.said[way]["expected_orders"].to_numpy(), FEWEST_ORDERS), judged.orders
    surprise = came * np.log(np.where(came > 0, came, 1.0) / expected)
    return _mean(2 * (np.where(came > 0, surprise, 0.0) - came + expected), copies)


def rmse(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Root of the mean squared distance of orders."""
    return np.sqrt(_mean((judged.said[way]["expected_orders"].to_numpy() - judged.orders) ** 2, copies))


def orders_bias(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Sum of orders foreseen over those that came, less 1."""
    return copies @ judged.said[way]["expected_orders"].to_numpy() / (copies @ judged.orders) - 1


def spend_bias(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Sum of spend foreseen over what came, less 1."""
    return copies @ judged.said[way]["expected_spend"].to_numpy() / (copies @ judged.spend) - 1


def spend_gini(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Normalised Gini of spend."""
    return normalised_gini(judged.said[way]["expected_spend"].to_numpy(), judged.spend, copies)


def one_time_gini(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Normalised Gini of spend among those with one order so far."""
    part = judged.is_one_time
    return normalised_gini(judged.said[way]["expected_spend"].to_numpy()[part], judged.spend[part], copies[:, part])


def top_share(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Share of the spend that came from the tenth foreseen to spend most."""
    size, spend = in_order(judged.said[way]["expected_spend"].to_numpy(), judged.spend, copies)
    before = np.cumsum(size, axis=1) - size
    taken = np.clip((TOP_SHARE * size.sum(axis=1, keepdims=True) - before) / np.maximum(size, 1e-9), 0, 1)
    return (taken * spend).sum(axis=1) / spend.sum(axis=1)


def decile_error(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Distance of sums of spend foreseen and come over ten bands by what was foreseen, over all that came."""
    expected = judged.said[way]["expected_spend"].to_numpy()
    order = np.argsort(expected, kind="stable")
    here = copies[:, order]
    end = np.cumsum(here, axis=1)
    band = np.minimum((N_BANDS * (end - here / 2) / end[:, -1:]).astype(int), N_BANDS - 1)
    place = band + N_BANDS * np.arange(len(copies))[:, None]
    gap = np.bincount(place.ravel(), (here * (expected - judged.spend)[order]).ravel(), N_BANDS * len(copies))
    return np.abs(gap.reshape(-1, N_BANDS)).sum(axis=1) / (copies @ judged.spend)


def auc(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Chance that who orders again was given a greater chance than who does not."""
    size, buys = in_order(-judged.said[way]["p_no_order"].to_numpy(), (judged.orders > 0) * 1.0, copies)
    quiet = size - buys
    below = np.cumsum(quiet[:, ::-1], axis=1)[:, ::-1] - quiet / 2
    return (buys * below).sum(axis=1) / (buys.sum(axis=1) * quiet.sum(axis=1))


def brier(judged: Judged, way: str, copies: np.ndarray) -> np.ndarray:
    """Mean squared distance of the chance of no order to whether there was none."""
    return _mean((judged.said[way]["p_no_order"].to_numpy() - (judged.orders == 0)) ** 2, copies)


def coverage(of: str) -> Score:
    """Share of customers within the interval for `of`, spend or orders."""
    return lambda judged, way, copies: _mean(covered(judged, way, of), copies)


def one_time_coverage(of: str) -> Score:
    """The same of those with one order so far."""
    return lambda judged, way, copies: _mean(
        covered(judged, way, of)[judged.is_one_time], copies[:, judged.is_one_time]
    )


SCORES: Mapping[str, Score] = {
    "orders deviance": deviance,
    "orders RMSE": rmse,
    "orders bias": orders_bias,
    "spend nGini": spend_gini,
    "spend top 10 %": top_share,
    "spend decile error": decile_error,
    "spend bias": spend_bias,
    "buys again AUC": auc,
    "buys again Brier": brier,
    "one-time buyers' nGini": one_time_gini,
    "spend coverage": coverage("spend"),
    "orders coverage": coverage("orders"),
    "one-time buyers' spend coverage": one_time_coverage("spend"),
    "one-time buyers' orders coverage": one_time_coverage("orders"),
}
NEEDS = {
    "orders deviance": "expected_orders", "orders RMSE": "expected_orders", "orders bias": "expected_orders",
    "buys again AUC": "p_no_order", "buys again Brier": "p_no_order", "spend coverage": "spend_low",
    "orders coverage": "orders_low", "one-time buyers' spend coverage": "spend_low",
    "one-time buyers' orders coverage": "orders_low",
}  # fmt: skip


def scored(judged: Judged, n_resamples: int, seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """Each (score, way): the figure itself, then one number per resample; ways without an answer are left out."""
    pairs = [(score, way) for score in SCORES for way in judged.said if _has_answer(judged.said[way], score)]
    blocks = [judged.once, *resamples(len(judged.orders), n_resamples, seed)]
    parts = [{pair: _score(judged, *pair, copies) for pair in pairs} for copies in blocks]
    return {pair: np.concatenate([part[pair] for part in parts]) for pair in pairs}


def with_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The figure and its 95 % interval from the resamples behind it; none of fewer than two, or where one is no number.

    >>> [float(round(end, 3)) for end in with_interval(np.array([7.0, *range(101)]))]
    [7.0, 2.5, 97.5]
    """
    again = values[1:]
    if len(again) < 2 or not np.isfinite(again).all():
        return float(values[0]), float("nan"), float("nan")
    return float(values[0]), float(np.quantile(again, 0.025)), float(np.quantile(again, 0.975))


def resamples(n_customers: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Copies of each customer when as many are drawn with replacement as there are; rows of a block are resamples."""
    draw = np.random.default_rng(seed)
    for start in range(0, n_resamples, AT_ONCE):
        n = min(AT_ONCE, n_resamples - start)
        drawn = draw.integers(0, n_customers, (n, n_customers)) + n_customers * np.arange(n)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n * n_customers).reshape(n, n_customers).astype(float)


def normalised_gini(predicted: np.ndarray, outcome: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Gini by prediction over Gini by outcome, for each resample.

    >>> normalised_gini(np.array([3.0, 2.0, 1.0]), np.array([0.0, 1.0, 5.0]), np.ones((1, 3))).tolist()
    [-1.0]
    """
    with np.errstate(invalid="ignore"):  # nothing came: no order is right
        return _gini(predicted, outcome, copies) / _gini(outcome, outcome, copies)


def in_order(score: np.ndarray, outcome: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many customers have each place, and what came of them, (n_resamples, n_places): the greatest score first.

    Equal scores share a place.

    >>> size, came = in_order(np.array([1.0, 2.0, 2.0]), np.array([5.0, 1.0, 2.0]), np.ones((1, 3)))
    >>> size.tolist(), came.tolist()
    ([[2.0, 1.0]], [[3.0, 5.0]])
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    here = copies[:, order]
    return np.add.reduceat(here, starts, axis=1), np.add.reduceat(here * outcome[order], starts, axis=1)


def covered(judged: Judged, way: str, of: str) -> np.ndarray:
    """Whether each customer's outcome lies in the interval, as 0 and 1."""
    low, high = (judged.said[way][name].to_numpy() for name in INTERVALS[of])
    came = judged.spend if of == "spend" else judged.orders
    return ((low <= came) & (came <= high)) * 1.0


def coverage_by_decile(judged: Judged, way: str, of: str) -> np.ndarray:
    """Coverage of ten bands of equally many customers by what was expected, the least first."""
    expected = judged.said[way][f"expected_{of}"].to_numpy()
    bands = np.array_split(np.argsort(expected, kind="stable"), N_BANDS)
    inside = covered(judged, way, of)
    return np.array([inside[band].mean() for band in bands])


def n_not_finite(said: pd.DataFrame) -> int:
    """Numbers that are none, among all that a way should say."""
    return int((~np.isfinite(said.drop(columns="customer_id").to_numpy(dtype=float))).sum())


def _gini(predicted: np.ndarray, outcome: np.ndarray, copies: np.ndarray) -> np.ndarray:
    size, came = in_order(predicted, outcome, copies)
    gain = np.cumsum(came, axis=1)
    return ((2 * gain - came) * size).sum(axis=1) / (gain[:, -1] * size.sum(axis=1)) - 1


def _mean(values: np.ndarray, copies: np.ndarray) -> np.ndarray:
    return copies @ values / copies.sum(axis=1)


def _has_answer(said: pd.DataFrame, score: str) -> bool:
    column = NEEDS.get(score, "expected_spend")
    if column not in said or said[column].isna().all():
        return False
    return score != "buys again Brier" or bool(said[column].max() <= 1)  # idle days rank customers and are no chance


def _score(judged: Judged, score: str, way: str, copies: np.ndarray) -> np.ndarray:
    if not np.isfinite(judged.said[way][NEEDS.get(score, "expected_spend")]).all():
        return np.full(len(copies), np.nan)
    return SCORES[score](judged, way, copies)
