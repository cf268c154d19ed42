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
from models.line_days import WAIT_BANDS_DAYS, line_days, matrix_on, wait_band

OUR_ACTS = ("shipment", "seller", "change")
SUPPORT_DAYS = 14
LEAST_STILL_OPEN = 0.05  # below this share the pooled hazard answers
PSEUDO_ENDS = 5.0  # ends at the band's rate that each class is shrunk by
NO_CLASS = ""
# Shallow and short: it corrects weights and ranks nobody, so its cost counts more than its last digit.
PARAMS: dict[str, Any] = {"objective": "binary", "learning_rate": 0.2, "num_leaves": 8, "min_data_in_leaf": 100}
N_ROUNDS = 40
MOST_QUIET_DAYS = 50_000


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
    most = {name: float("inf") for name in ("waited_days", "days_late", "days_past_latest") if name in named}
    values = matrix_on(inputs, inputs.matrix(samples), days.sample, days.day, most)
    rows = TrainingRows(inputs, values, days.event, days.weight)
    params = {**PARAMS, "seed": seed}
    return Censoring(inputs, boost(rows.dataset(params), params, N_ROUNDS), most)


def shipping_rates(samples: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """Ends by our own acts per day, by class and band of `WAIT_BANDS_DAYS`; `NO_CLASS` holds those of all classes.

    A class leans on all classes of its band, so that three lines of a class prove nothing, and a band on all bands.
    """
    ends, days = _by_class_and_band(samples)
    overall = (ends.to_numpy().sum() + 1) / (days.to_numpy().sum() + SUPPORT_DAYS)
    by_band = (ends.sum(axis=0) + PSEUDO_ENDS) / (days.sum(axis=0) + PSEUDO_ENDS / overall)
    rates = {name: (ends.loc[name] + PSEUDO_ENDS) / (days.loc[name] + PSEUDO_ENDS / by_band) for name in ends.index}
    return {NO_CLASS: tuple(by_band.tolist())} | {
        str(name): tuple(rate.tolist()) for name, rate in rates.items() if name != NO_CLASS
    }


def still_open(rates: dict[str, tuple[float, ...]], lines: pd.DataFrame, n_days: int = SUPPORT_DAYS) -> np.ndarray:
    """Chance that each line would still be in the queue after so many days, as lines of its class and wait were.

    >>> lines = pd.DataFrame({"waited_days": [0.0], "priority_class": [1.0]})
    >>> still_open({"": (0.1,) * 5, "1.0": (0.5,) * 5}, lines, n_days=2).round(3).tolist()
    [0.368]
    """
    code, names = pd.factorize(_classes(lines))
    table = np.array([rates.get(name, rates[NO_CLASS]) for name in names]).reshape(len(names), len(WAIT_BANDS_DAYS))
    waited = as_numbers(lines["waited_days"])
    passed = np.zeros(len(lines))
    for day in range(n_days):
        passed += table[code, wait_band(waited + day)]
    return np.exp(-passed)


def _by_class_and_band(samples: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ends by our own acts, and days at risk, one row per class and one column per band."""
    waited, at_risk = as_numbers(samples["waited_days"]), as_numbers(samples["at_risk_days"])
    starts = np.array(WAIT_BANDS_DAYS, dtype=float)
    stops = np.append(starts[1:], np.inf)
    until = waited + at_risk
    days = np.clip(np.minimum(until[:, None], stops) - np.maximum(waited[:, None], starts), 0, None)
    ended = samples["ended_by"].isin(OUR_ACTS).to_numpy(dtype=float)
    ends = np.zeros_like(days)
    ends[np.arange(len(samples)), wait_band(until)] = ended
    names = _classes(samples)
    return pd.DataFrame(ends).groupby(names).sum(), pd.DataFrame(days).groupby(names).sum()


def _classes(lines: pd.DataFrame) -> np.ndarray:
    if "priority_class" not in lines:
        return np.full(len(lines), NO_CLASS, dtype=object)
    code, values = pd.factorize(lines["priority_class"])  # -1, the last name, where there is none
    return np.array([*(str(value) for value in values), NO_CLASS], dtype=object)[code]
