"""A booster that corrects an expectation: what the classical models say, times what accounts of this kind did since.

The booster starts from the expectation (its offset), so it holds for any horizon that the expectation holds for, and
knows only how reality differs from it. How far it is trusted is decided by the last rehearsal: with weight 0 the
expectation stands, with weight 1 the booster's correction in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar

from models.account_panel import INPUTS, TEXT, VALUE_HORIZON_DAYS, Rehearsal, rehearsal, rows_that_train
from models.boosting import TrainingRows, boost, predict_rows
from models.inputs import Inputs, as_numbers, learn_inputs

# Capacity is fixed and the weight shrinks it: on past cut-offs of four books the number of trees chosen by early
# stopping was no better, and in young books a rehearsal of weeks says little about how many trees a year can feed.
N_ROUNDS = 150
FEWEST_EVENTS = 50  # accounts of each kind in a rehearsal below which it cannot tell what a booster is worth
PSEUDO_EVENTS = 200.0  # events that say "the level is right" against those of the rehearsal
MOST_LEVEL = float(np.log(2))
# The outcomes of a window rise or fall together: by so much where less than a year was rehearsed. Assumed; on past
# cut-offs of four books .89 of the accounts on average, and without it .87, ended within their intervals.
UNKNOWN_SEASON_LOG_SD = 0.2
PARAMS: Mapping[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 12,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.6,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "cat_smooth": 20.0,
}


@dataclass(frozen=True, eq=False)
class Target:
    """What is foretold.

    Parameters
    ----------
    params : LightGBM's objective
    outcome : what came, one number per row
    offset : the expectation on the booster's scale, its logarithm or log-odds
    kind : count and money are on the scale of logarithms, a chance on that of log-odds
    losses : (prediction on that scale, outcome) -> loss of each row; the weight makes its mean least
    counts : how much each row tells, 0 for nothing; None: all alike
    """

    params: Mapping[str, Any]
    outcome: Callable[[pd.DataFrame], np.ndarray]
    offset: Callable[[pd.DataFrame], np.ndarray]
    kind: Literal["count", "money", "chance"]
    losses: Callable[[np.ndarray, np.ndarray], np.ndarray]
    counts: Callable[[pd.DataFrame], np.ndarray] | None = None

    def telling(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that tell something."""
        return rows if self.counts is None else rows[self.counts(rows) > 0]

    def weights(self, rows: pd.DataFrame) -> np.ndarray:
        """How much each row tells, 1 on average."""
        if self.counts is None:
            return np.ones(len(rows))
        counts = self.counts(rows)
        return np.asarray(counts / max(float(counts.mean()), 1e-12))


@dataclass(frozen=True, eq=False)
class Tilt:
    """Correction of an expectation: offset + weight x score + level, on the booster's scale.

    Parameters
    ----------
    booster, inputs : None where the expectation stands alone
    weight : share of the booster's correction that the rehearsal confirmed, 0 to 1
    level : shift that the rehearsal found, see `trusted_level`
    """

    weight: float = 0.0
    level: float = 0.0
    inputs: Inputs | None = None
    booster: lgb.Booster | None = None

    def apply(self, target: Target, rows: pd.DataFrame) -> np.ndarray:
        """Predict on the booster's scale; `rows` hold the expectations over the horizon that is asked."""
        return np.asarray(target.offset(rows) + self.weight * self._score(rows) + self.level)

    def _score(self, rows: pd.DataFrame) -> np.ndarray:
        if self.booster is None or self.inputs is None:
            return np.zeros(len(rows))
        return predict_rows(self.booster, self.inputs, self.inputs.matrix(rows), raw_score=True)

    def to_json(self) -> dict[str, Any]:
        """Everything but the booster."""
        return {
            "weight": self.weight,
            "level": self.level,
            "inputs": self.inputs.to_json() if self.inputs else None,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], booster: lgb.Booster | None) -> Tilt:
        """Undo `to_json`."""
        inputs = Inputs.from_json(saved["inputs"]) if saved["inputs"] else None
        return cls(saved["weight"], saved["level"], inputs, booster)


@dataclass(frozen=True, eq=False)
class Rehearsed:
    """What the rehearsal said: predictions on the booster's scale for the judged rows."""

    rehearsal: Rehearsal
    prediction: np.ndarray

    @property
    def level_log_sd(self) -> float:
        """How far the level of all outcomes may move from these to those to come: their season may be another."""
        return UNKNOWN_SEASON_LOG_SD * (1 - trust_in_level(self.rehearsal.days))


def fit(panel: pd.DataFrame, target: Target, seed: int = 0) -> tuple[Tilt, Rehearsed | None]:
    """Learn from the panel; without a rehearsal that can tell what a booster is worth the expectation stands alone."""
    tried = rehearsal(panel)
    if tried is None:
        return Tilt(), None
    judged = target.telling(tried.judged)
    outcome, offset = target.outcome(judged), target.offset(judged)
    if _n_events(outcome, target) < FEWEST_EVENTS or not target.outcome(tried.past).any():
        return Tilt(), Rehearsed(tried, target.offset(tried.judged))
    before = _train(tried.past, target, seed)
    score = before._score(judged)
    weight = _weight(score, offset, outcome, target.weights(judged), target)
    trusted = trusted_level(offset + weight * score, outcome, target, tried.days)
    then = Tilt(weight, trusted, before.inputs, before.booster)
    rehearsed = Rehearsed(tried, then.apply(target, tried.judged))
    if weight == 0:
        return Tilt(0.0, trusted), rehearsed
    now = _train(rows_that_train(panel), target, seed)
    return Tilt(weight, trusted, now.inputs, now.booster), rehearsed


def in_words(weights: Mapping[str, float], level: float, rehearsed: Rehearsed | None) -> str:
    """How far boosters are trusted, each by what it corrects, and why."""
    if rehearsed is None:
        return "without trees: the history is too short to rehearse them"
    over = f"a rehearsal over {rehearsed.rehearsal.days} days"
    moved = f"; level moved by {np.expm1(level):+.0%}" if abs(level) >= 0.005 else ""
    if not any(weights.values()):
        return f"without trees: in {over} they were no better, or events too few{moved}"
    shares = ", ".join(f"{name} at {weight:.0%}" for name, weight in weights.items())
    return f"corrected by {N_ROUNDS} boosted trees ({shares}) as {over} confirms{moved}"


def _train(rows: pd.DataFrame, target: Target, seed: int) -> Tilt:
    rows = target.telling(rows)
    inputs, outcome = learn_inputs(rows, INPUTS, TEXT), target.outcome(rows)
    offset = target.offset(rows) + _untrusted_levels(rows, target, outcome)
    # Money in units of its mean: a booster's penalties would else mean another thing in another currency.
    unit = max(float(outcome.mean()), 1e-12) if target.kind == "money" else 1.0
    table = TrainingRows(inputs, inputs.matrix(rows), outcome / unit, target.weights(rows), offset - np.log(unit))
    params = {**PARAMS, **target.params, "seed": seed}
    return Tilt(1.0, 0.0, inputs, boost(table.dataset(params), params, N_ROUNDS))


def _weight(score: np.ndarray, offset: np.ndarray, outcome: np.ndarray, counts: np.ndarray, target: Target) -> float:
    """How much of the correction makes the rehearsal's outcomes likeliest, whatever their level."""

    def loss(pair: np.ndarray) -> float:
        return float(target.losses(offset + pair[0] * score + pair[1], outcome) @ counts) / len(counts)

    bounds = [(0.0, 1.0), (-MOST_LEVEL, MOST_LEVEL)]
    return round(float(minimize(loss, np.array([0.5, 0.0]), method="L-BFGS-B", bounds=bounds).x[0]), 3)


def _n_events(outcome: np.ndarray, target: Target) -> float:
    """Accounts that tell about a level: those of the rarer kind; of money as many as would scatter its total alike."""
    if target.kind == "chance":
        return float(min(outcome.sum(), len(outcome) - outcome.sum()))
    if target.kind == "count":
        return float((outcome > 0).sum())
    return float(outcome.sum() ** 2 / max((outcome**2).sum(), 1e-12))


def _level(prediction: np.ndarray, outcome: np.ndarray, target: Target) -> float:
    """Shift that makes the predictions add up to the outcomes."""
    if target.kind != "chance":
        return total_level(prediction, outcome)

    def loss(level: float) -> float:
        return float(target.losses(prediction + level, outcome).mean())

    return float(minimize_scalar(loss, bounds=(-MOST_LEVEL, MOST_LEVEL), method="bounded").x)


def _untrusted_levels(rows: pd.DataFrame, target: Target, outcome: np.ndarray) -> np.ndarray:
    """How much more came in each window than expected, as far as that may be its season: not the booster's to learn."""
    offset, shift = target.offset(rows), np.zeros(len(rows))
    days = as_numbers(rows["horizon_days"])
    for window in rows.groupby("cutoff_on").indices.values():
        doubt = 1.0 - trust_in_level(float(days[window[0]]))
        shift[window] = doubt * _level(offset[window], outcome[window], target) if doubt > 0 else 0.0
    return shift


def total_level(log_prediction: np.ndarray, outcome: np.ndarray) -> float:
    """Shift that makes the predictions add up to the outcomes, at most twofold: a level is judged by its total.

    >>> round(total_level(np.log([1.0, 3.0]), np.array([2.0, 4.0])), 4)  # log 1.5
    0.4055
    """
    ratio = float(outcome.sum()) / max(float(np.exp(log_prediction).sum()), 1e-12)
    return float(np.clip(np.log(max(ratio, 1e-12)), -MOST_LEVEL, MOST_LEVEL))


def trusted_level(prediction: np.ndarray, outcome: np.ndarray, target: Target, days: int) -> float:
    """Shift that a rehearsal found, shrunk to none by the events it rests on and the part of a year it was seen in."""
    n_events = _n_events(outcome, target)
    return _level(prediction, outcome, target) * n_events / (n_events + PSEUDO_EVENTS) * trust_in_level(days)


def trust_in_level(days: float) -> float:
    """How far a level that was seen for so many days may be taken for more than their season, 0 to 1.

    Not at all up to half a year, which may have been the better half or the worse; in full over a year. On past
    cut-offs of four young books, 8 to 14 weeks each, levels did not hold from one origin to the next.

    >>> [trust_in_level(days) for days in (91, 182.5, 273.75, 365)]
    [0.0, 0.0, 0.5, 1.0]
    """
    return float(np.clip(2 * days / VALUE_HORIZON_DAYS - 1, 0.0, 1.0))
