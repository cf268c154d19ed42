"""How fast waiting lines leave the queue by our own acts: the censoring of a cancellation hazard.

It serves two ends. Support: where nearly every line with such a wait was shipped within two weeks, nobody has seen how
patient its customer was. Weights: a line that was not censored stands for those like it that were, which a score of
later outcomes needs (inverse probability of censoring; Graf, Schmoor, Sauerbrei & Schumacher 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from models.boosting import TrainingRows, boost, predict_rows
from models.inputs import Inputs, as_numbers, learn_inputs
from models.line_days import ADVANCING, line_days, matrix_on

OUR_ACTS = ("shipment", "seller", "change")
SUPPORT_DAYS = 14
LEAST_STILL_OPEN = 0.05  # below this share the pooled hazard answers
N_DAYS = 61  # days of waiting that are told apart; the last stands for all later ones
PSEUDO_ENDS = 2.0  # ends at the rate of all that each class and day is shrunk by
NO_CLASS = ""
# Shallow and short: it corrects weights and ranks nobody, so its cost counts more than its last digit.
PARAMS: dict[str, Any] = {"objective": "binary", "learning_rate": 0.2, "num_leaves": 8, "min_data_in_leaf": 100}
N_ROUNDS = 40
MOST_QUIET_DAYS = 50_000
LINES_AT_ONCE = 10_000  # bounds memory


@dataclass(frozen=True, eq=False)
class Censoring:
    """Chance that a line is still in the queue, by a booster on line-days; the pool's goods are among its inputs."""

    inputs: Inputs
    booster: lgb.Booster
    most: dict[str, float]

    def still_watched(self, lines: pd.DataFrame, days: np.ndarray) -> np.ndarray:
        """G(t | x): chance that none of our acts has ended line i by `days[i]`; shapes (n_lines,).

        The hazard of the day that is not over counts for the part that has passed.
        """
        parts = [slice(first, first + LINES_AT_ONCE) for first in range(0, len(lines), LINES_AT_ONCE)]
        return np.concatenate([np.ones(0), *(self._still_watched(lines.iloc[part], days[part]) for part in parts)])

    def _still_watched(self, lines: pd.DataFrame, days: np.ndarray) -> np.ndarray:
        n_days = max(int(np.ceil(days.max(initial=0))), 1)
        sample, day = np.repeat(np.arange(len(lines)), n_days), np.tile(np.arange(1, n_days + 1), len(lines))
        values = matrix_on(self.inputs, self.inputs.matrix(lines), sample, day, self.most)
        chance = np.clip(predict_rows(self.booster, self.inputs, values), 0, 1 - 1e-6).reshape(len(lines), n_days)
        passed = np.clip(days[:, None] - np.arange(n_days), 0, 1)
        return np.asarray(np.exp((np.log1p(-chance) * passed).sum(axis=1)))


def fit_censoring(samples: pd.DataFrame, seed: int, numeric: Sequence[str], text: Sequence[str]) -> Censoring | None:
    """Learn G from the same stretches; None if none of our acts ended any."""
    days = line_days(samples, seed, MOST_QUIET_DAYS, OUR_ACTS)
    if not days.event.any():
        return None
    named = (*numeric, "goods_here") if "goods_here" in samples else tuple(numeric)
    inputs = learn_inputs(samples, named, text)
    most = {name: float("inf") for name in ADVANCING if name in named}
    values = matrix_on(inputs, inputs.matrix(samples), days.sample, days.day, most)
    rows = TrainingRows(inputs, values, days.event, days.weight)
    params = {**PARAMS, "seed": seed}
    return Censoring(inputs, boost(rows.dataset(params), params, N_ROUNDS), most)


def shipping_rates(samples: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """Chance per day of an end by our own acts, by class and day of waiting; `NO_CLASS` holds those of all classes.

    By single days, the last for all later ones, as a class is no even mixture: the quick ones go first, and what is
    left then is slow. A class leans on all classes of its day, so that three lines of a class prove nothing, and a day
    on all days.
    """
    names = classes_of(samples)
    counted = {name: _by_day(samples[names == name]) for name in sorted(set(names))}
    ends, days = (np.sum([pair[place] for pair in counted.values()] or [np.zeros(N_DAYS)], axis=0) for place in (0, 1))
    overall = (ends.sum() + 1) / (days.sum() + SUPPORT_DAYS)
    of_all = (ends + PSEUDO_ENDS) / (days + PSEUDO_ENDS / overall)
    rates = {NO_CLASS: of_all}
    for name, (own_ends, own_days) in counted.items():
        if name != NO_CLASS:
            rates[name] = (own_ends + PSEUDO_ENDS) / (own_days + PSEUDO_ENDS / of_all)
    return {name: tuple(np.minimum(rate, 1.0).tolist()) for name, rate in rates.items()}


def still_open(
    rates: dict[str, tuple[float, ...]], classes: np.ndarray, waited_days: np.ndarray, n_days: int = SUPPORT_DAYS
) -> np.ndarray:
    """Chance that lines would still be in the queue after so many days, as those of their class and wait were.

    Parameters
    ----------
    classes, waited_days : of each line, (n_lines,); `classes_of` gives the former

    A line of class 1 that has waited 0 days, of which half ship on the first day and one in ten on each later one:

    >>> still_open({"": (0.1, 0.1), "1.0": (0.5, 0.1)}, np.array(["1.0"]), np.zeros(1), n_days=2).round(3).tolist()
    [0.45]
    """
    code, names = pd.factorize(classes)
    table = np.array([rates.get(name, rates[NO_CLASS]) for name in names]).reshape(len(names), len(rates[NO_CLASS]))
    kept = np.log1p(-np.minimum(table, 1 - 1e-9))
    passed = np.zeros(len(classes))
    for day in range(n_days):
        passed += kept[code, np.clip(waited_days + day, 0, table.shape[1] - 1).astype(int)]
    return np.asarray(np.exp(passed))


def _by_day(samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Ends by our own acts, and lines at risk, on each day of waiting; shapes (N_DAYS,).

    A line that ends on a day was at risk on it; one that is no longer watched counts for the part that was.
    """
    waited, at_risk = as_numbers(samples["waited_days"]), as_numbers(samples["at_risk_days"])
    is_ours = samples["ended_by"].isin(OUR_ACTS).to_numpy(dtype=bool)
    until = np.where(is_ours, np.floor(waited + at_risk) + 1, waited + at_risk)
    last = np.clip(np.floor(until), 0, N_DAYS - 1).astype(int)
    first = np.clip(waited, 0, N_DAYS - 1).astype(int)
    begun, left = np.bincount(first, minlength=N_DAYS), np.bincount(last, minlength=N_DAYS)
    days = np.cumsum(begun - left).astype(float) + np.bincount(last, until - np.floor(until), minlength=N_DAYS)
    # All later days are one: what was spent beyond its beginning counts there.
    days[-1] = np.clip(until - np.maximum(waited, N_DAYS - 1), 0, None).sum()
    ended_on = np.clip(np.floor(waited + at_risk), 0, N_DAYS - 1).astype(int)
    return np.bincount(ended_on[is_ours], minlength=N_DAYS).astype(float), days


def classes_of(lines: pd.DataFrame) -> np.ndarray:
    """Name of each line's priority class, `NO_CLASS` without one."""
    if "priority_class" not in lines:
        return np.full(len(lines), NO_CLASS, dtype=object)
    code, values = pd.factorize(lines["priority_class"])  # -1, the last name, where there is none
    return np.array([*(str(value) for value in values), NO_CLASS], dtype=object)[code]
