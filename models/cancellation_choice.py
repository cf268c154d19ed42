"""Which form of hazard the data can carry, and how it is set: by log-loss on line-days later than it learned from.

Origins are past days. At each, forms are fitted on the line-days before it and judged on those from it to the next;
the sums over origins decide the number of trees, the ridge's penalty, the mixture of the two, and how far each wait
band was off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from models import judging, ridge
from models.boosting import TrainingRows, loss_by_rounds, raw_scores
from models.inputs import as_numbers
from models.judging import log_losses
from models.line_days import WAIT_BANDS_DAYS, LineDays, customers_of, wait_band

FEWEST_CANCELLATIONS = 20  # below this nothing but one rate per wait band can be told from chance
ORIGIN_SHARES = (0.4, 0.6, 0.8)  # of the cancellations that lie before each origin
ENOUGH_FOR_ONE = 3000  # cancellations from which on one origin judges as surely as three by a hundred
ONE_ORIGIN_SHARE = (0.7,)
MOST_ROUNDS = 400
ASSUMED_HAZARD_PER_DAY = 0.003  # assumed: 1 in 11 cancels within a month; one pseudo-event, so data soon outweigh it
PSEUDO_EVENTS = 5.0  # cancellations at the overall rate that each wait band is shrunk by
STRENGTHS = (0.03, 0.3, 3.0)  # of the ridge; prior variances of a standardised term's weight
BOOSTED_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the trees in the mixture's log-odds
USUAL_SHARE = 0.5  # kept unless another is surely better: half and half is seldom far from the best
# How far levels and slopes are usually off, in log-odds: what later days show is shrunk by its own error against this.
USUAL_LEVEL_OFF = 0.1
USUAL_SLOPE_OFF = 0.15


@dataclass(frozen=True)
class Choice:
    """What was chosen out of time.

    Parameters
    ----------
    boosted_share : of the trees in the log-odds, the rest is the ridge; 0 without trees, 1 without ridge
    n_rounds : trees
    strength : of the ridge
    later : what the later days showed of the mixture; None where none judged
    log_losses : per line-day of each form that was tried, on the same later days
    """

    boosted_share: float
    n_rounds: int
    strength: float
    later: Later | None = None
    log_losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Later:
    """Predictions of the chosen mixture on later days, and what is to be put right by them.

    Parameters
    ----------
    slope : that log-odds are to be multiplied by; below 1 the mixture was too sure
    level : log-odds to add then to expect as much as before
    origins : where learning ended and judging began
    log_odds, band, customer : of the judged rows, one origin's after the other
    """

    slope: float
    level: float
    origins: Sequence[Origin]
    log_odds: np.ndarray
    band: np.ndarray
    customer: np.ndarray

    def corrections(self, rows: TrainingRows, refit: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
        """Log-odds to add, after the slope, in each of `WAIT_BANDS_DAYS` to a refit on all rows.

        What was off later is partly drift, and the refit has seen the later days: by as much as it expects too much of
        the days before an origin, it has followed. That part is taken off, else drift would be put right twice.
        """
        followed, expected = [], _chance(refit(rows.values)) * rows.weight
        for origin in self.origins:
            seen = (rows.target * rows.weight)[origin.trains].sum()
            followed.append(np.full(len(origin.judges), np.log(expected[origin.trains].sum() / max(seen, 1e-12))))
        judged = np.concatenate([origin.judges for origin in self.origins])
        event, weight = rows.target[judged], rows.weight[judged]
        chance = _chance(self.level + self.slope * self.log_odds + np.concatenate(followed))
        return tuple((self.level + _corrections(chance, event, weight, self.band, self.customer)).tolist())


@dataclass(frozen=True)
class Origin:
    """Places of the rows that train and of those that judge."""

    trains: np.ndarray
    judges: np.ndarray


def choose(
    samples: pd.DataFrame, days: LineDays, rows: TrainingRows, data: lgb.Dataset, params: Mapping[str, Any]
) -> Choice | None:
    """Choose form and settings; None where no later day can judge.

    Parameters
    ----------
    rows, data : inputs of `days`, and the same in LightGBM's bins
    """
    origins = list(_origins(samples, days))
    if not origins:
        return None
    judged = np.concatenate([origin.judges for origin in origins])
    event, weight = rows.target[judged], rows.weight[judged]
    n_rounds, boosted = _boosted(rows, data, origins, params)
    strength, lined = _lined(rows, origins)
    mixtures = {share: share * boosted + (1 - share) * lined for share in BOOSTED_SHARES}
    by_row = {share: _losses(odds, event) * weight for share, odds in mixtures.items()}
    customer = np.unique(customers_of(samples)[days.sample[judged]], return_inverse=True)[1]
    best = _surely_best(by_row, customer)
    losses = {share: float(loss.sum() / weight.sum()) for share, loss in by_row.items()}
    waited = as_numbers(samples["waited_days"])[days.sample[judged]] + days.day[judged] - 1
    slope = _slope(mixtures[best], event, weight, customer)
    level = _level_kept(mixtures[best], slope, weight)
    later = Later(slope, level, origins, mixtures[best], wait_band(waited), customer)
    by_wait = float(np.average(_by_wait_losses(samples, days, origins), weights=weight))
    tried = {"boosted": losses[1.0], "ridge": losses[0.0], "chosen": losses[best], "by_wait": by_wait}
    return Choice(best, n_rounds, strength, later, tried)


def _surely_best(losses: Mapping[float, np.ndarray], customer: np.ndarray) -> float:
    """The mixture with the least loss if it beats half and half by a standard error, else half and half.

    The rule of one standard error (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3), customers as units.
    """
    best = min(losses, key=lambda share: (losses[share].sum(), share))
    gain = np.bincount(customer, losses[USUAL_SHARE] - losses[best])
    return best if gain.sum() > np.sqrt(len(gain)) * gain.std() else USUAL_SHARE


def _origins(samples: pd.DataFrame, days: LineDays) -> Iterator[Origin]:
    start = samples["cutoff_on"].to_numpy().astype("datetime64[D]").astype(np.int64)
    # A bin that began before its stretch holds days from the stretch's start on, and none before.
    on = start[days.sample] + np.maximum(days.day, 1) - 1
    is_event = days.event > 0
    happened = np.sort(on[is_event])
    shares = ONE_ORIGIN_SHARE if len(happened) >= ENOUGH_FOR_ONE else ORIGIN_SHARES
    edges = [happened[int(share * len(happened))] for share in shares]
    for first, last in zip(edges, [*edges[1:], on.max() + 1], strict=True):
        trains, judges = np.flatnonzero(on < first), np.flatnonzero((on >= first) & (on < last))
        is_learnable = is_event[trains].sum() >= len(happened) / 4 and not is_event[trains].all()
        if is_learnable and is_event[judges].any():
            yield Origin(trains, judges)


def _boosted(
    rows: TrainingRows, data: lgb.Dataset, origins: list[Origin], params: Mapping[str, Any]
) -> tuple[int, np.ndarray]:
    """Number of trees with the least loss over all origins, and the log-odds then, judged rows one after the other."""
    fitted = [loss_by_rounds(data, origin.trains, origin.judges, params, MOST_ROUNDS) for origin in origins]
    shortest = min(len(curve) for _, curve in fitted)
    mass = [rows.weight[origin.judges].sum() for origin in origins]
    total = np.sum([curve[:shortest] * m for (_, curve), m in zip(fitted, mass, strict=True)], axis=0)
    n_rounds = int(np.argmin(total)) + 1
    odds = [raw_scores(booster, rows, o.judges, n_rounds) for (booster, _), o in zip(fitted, origins, strict=True)]
    return n_rounds, np.concatenate(odds)


def _lined(rows: TrainingRows, origins: list[Origin]) -> tuple[float, np.ndarray]:
    """Penalty with the least loss over all origins, and the ridge's log-odds then."""
    judged = np.concatenate([origin.judges for origin in origins])
    form = ridge.learn_form(rows.inputs, rows.values)
    columns = [form.design(rows.inputs, rows.values[origin.judges]) for origin in origins]
    tried = {}
    for strength in STRENGTHS:
        odds = []
        for origin, later in zip(origins, columns, strict=True):
            train = origin.trains
            line = ridge.fit(rows.inputs, rows.values[train], rows.target[train], rows.weight[train], strength, form)
            odds.append(later @ line.weights + line.level)
        together = np.concatenate(odds)
        loss = np.average(_losses(together, rows.target[judged]), weights=rows.weight[judged])
        tried[strength] = (float(loss), together)
    best = min(tried, key=lambda strength: (tried[strength][0], strength))
    return best, tried[best][1]


def _by_wait_losses(samples: pd.DataFrame, days: LineDays, origins: list[Origin]) -> np.ndarray:
    """Loss of one hazard per wait band, learned before each origin."""
    band = wait_band(as_numbers(samples["waited_days"])[days.sample] + days.day - 1)
    losses = []
    for origin in origins:
        train = origin.trains
        hazard = banded_hazard(band[train], days.event[train], days.weight[train])
        losses.append(log_losses(hazard[band[origin.judges]], days.event[origin.judges]))
    return np.concatenate(losses)


def banded_hazard(band: np.ndarray, event: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Events over days at risk by wait band; bands lean on the overall rate, that one on the assumed one."""
    gone = np.bincount(band, event * weight, minlength=len(WAIT_BANDS_DAYS))
    exposure = np.bincount(band, weight, minlength=len(WAIT_BANDS_DAYS))
    overall = (gone.sum() + 1) / (exposure.sum() + 1 / ASSUMED_HAZARD_PER_DAY)
    return np.asarray((gone + PSEUDO_EVENTS) / (exposure + PSEUDO_EVENTS / overall))


def _slope(log_odds: np.ndarray, event: np.ndarray, weight: np.ndarray, customer: np.ndarray) -> float:
    """Slope of the event's log-odds on the predicted ones, shrunk to 1 by its error over customers."""
    slope, error = judging.slope_and_error(log_odds, event, weight, customer)
    if not np.isfinite(slope):
        return 1.0
    return float(max(1 + (slope - 1) * _trust(error, USUAL_SLOPE_OFF), 0.1))


def _level_kept(log_odds: np.ndarray, slope: float, weight: np.ndarray) -> float:
    """Log-odds to add after multiplying by `slope`, so that as many events are expected as before (Newton's steps)."""
    level, wanted = (1 - slope) * float(np.average(log_odds, weights=weight)), (_chance(log_odds) * weight).sum()
    for _ in range(20):
        chance = _chance(level + slope * log_odds)
        level += float((wanted - (chance * weight).sum()) / max((chance * (1 - chance) * weight).sum(), 1e-12))
    return level


def _corrections(
    chance: np.ndarray, event: np.ndarray, weight: np.ndarray, band: np.ndarray, customer: np.ndarray
) -> np.ndarray:
    """Logarithm of observed over expected by wait band, shrunk to that of all, that to 0, by errors over customers."""
    observed, expected = event * weight, chance * weight
    level, error = _log_ratio(observed, expected, customer)
    level *= _trust(error, USUAL_LEVEL_OFF)
    corrections = []
    for place in range(len(WAIT_BANDS_DAYS)):
        of_band = band == place
        own, error = _log_ratio(observed[of_band], expected[of_band], customer[of_band])
        corrections.append(level + (own - level) * _trust(error, USUAL_LEVEL_OFF))
    return np.array(corrections)


def _log_ratio(observed: np.ndarray, expected: np.ndarray, customer: np.ndarray) -> tuple[float, float]:
    """Logarithm of the sums' ratio and its error, customers as units; half an event more each lets a 0 speak."""
    seen, thought = observed.sum() + 0.5, expected.sum() + 0.5
    ratio = seen / thought
    off = np.bincount(customer, observed - ratio * expected)
    return float(np.log(ratio)), float(np.sqrt((off**2).sum() + 0.5) / min(seen, thought))


def _trust(error: float, usual: float) -> float:
    return usual**2 / (usual**2 + error**2)


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _losses(log_odds: np.ndarray, event: np.ndarray) -> np.ndarray:
    return log_losses(_chance(log_odds), event)
