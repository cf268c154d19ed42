"""Days at risk as rows: what a daily hazard of leaving the queue is learned from.

A stretch (a row of the samples) is at risk from its start until its line leaves, its state changes or nobody watches
any longer. Its days fall into bins: daily ones first, wider ones later, in waiting time and in days past each date
told, so that no bin reaches across a promise. The inputs of a bin are those at its beginning and its hazard is one
number, so its quiet days are one row that weighs as many days as were watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.inputs import Inputs, as_numbers

CUSTOMER = "customer"  # the one end that is the customer's own; all others censor
MOST_QUIET_DAYS = 150_000  # quiet days kept; more change the fit little and cost seconds in proportion
WAIT_BANDS_DAYS = (0, 7, 14, 30, 60)  # a band runs from its number to the next, the last one on for ever
WAIT_EDGES_DAYS = np.concatenate([np.arange(30), np.arange(30, 60, 3), np.arange(60, 120, 6), np.arange(120, 3720, 30)])
LATE_EDGES_DAYS = np.concatenate([np.arange(14), np.arange(14, 44, 3), np.arange(44, 104, 6), np.arange(104, 3704, 30)])
YEAR_DAYS = 365.25  # the calendar's years differ by a day: a season that moves on by days must not jump with them
ADVANCING = ("waited_days", "days_late", "days_past_latest")  # what moves on with the day


@dataclass(frozen=True)
class LineDays:
    """Rows at risk; all arrays have one entry per row.

    Parameters
    ----------
    sample : place of the stretch in the samples
    day : first day of the bin, counted from 1 at the stretch's start; below 1 where the bin began before it
    event : 1.0 for what left, 0.0 for what stayed
    weight : days at risk, or lines that left, that the row stands for
    """

    sample: np.ndarray
    day: np.ndarray
    event: np.ndarray
    weight: np.ndarray


def line_days(
    samples: pd.DataFrame, seed: int = 0, most_quiet_days: int = MOST_QUIET_DAYS, causes: Sequence[str] = (CUSTOMER,)
) -> LineDays:
    """Every bin at risk; of very many quiet days a random share that stands for all of them.

    Parameters
    ----------
    samples : stretches with at_risk_days, ended_by, cancelled_share and those of `ADVANCING` that the data have
    causes : the ends that count as the event; any other censors

    Two quiet days, and two and a half before the customer cancels all:

    >>> samples = pd.DataFrame({"at_risk_days": [2.0, 2.5], "ended_by": [None, "customer"],
    ...     "cancelled_share": [0.0, 1.0], "waited_days": [40, 0]})
    >>> days = line_days(samples)
    >>> days.sample.tolist(), days.day.tolist(), days.event.tolist(), days.weight.tolist()
    ([0, 1, 1, 1], [0, 1, 2, 3], [0.0, 0.0, 0.0, 1.0], [2.0, 1.0, 1.0, 1.0])
    """
    at_risk, share = as_numbers(samples["at_risk_days"]), event_shares(samples, causes)
    left = np.flatnonzero(share > 0)
    event_day = np.floor(at_risk[left]).astype(np.int64) + 1
    sample, day, weight = _quiet_days(at_risk, share > 0, seed, most_quiet_days)
    partly = share[left] < 1
    sample = np.concatenate([sample, left[partly]])
    day = np.concatenate([day, event_day[partly]])
    weight = np.concatenate([weight, 1 - share[left][partly]])
    sample, day, weight = _merged(sample, _bin_start(samples, sample, day), weight)
    sample, day = np.concatenate([sample, left]), np.concatenate([day, _bin_start(samples, left, event_day)])
    event = np.concatenate([np.zeros(len(weight)), np.ones(len(left))])
    weight = np.concatenate([weight, share[left]])
    order = np.lexsort((event, day, sample))
    return LineDays(sample[order], day[order], event[order], weight[order])


def event_shares(samples: pd.DataFrame, causes: Sequence[str] = (CUSTOMER,)) -> np.ndarray:
    """Share of each stretch that its end took away for these causes; 0 where it ended otherwise."""
    by_customer = (samples["ended_by"] == CUSTOMER).to_numpy(dtype=bool)
    is_event = samples["ended_by"].isin(causes).to_numpy(dtype=bool)
    return np.where(is_event, np.where(by_customer, as_numbers(samples["cancelled_share"]), 1.0), 0.0)


def _quiet_days(
    at_risk: np.ndarray, has_event: np.ndarray, seed: int, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, days and weights of days on which nothing happened; the last day counts for its part at risk."""
    # The day of an event is not quiet; a day that ends half way through, censored, is half a quiet day.
    n_days = np.where(has_event, np.floor(at_risk), np.ceil(at_risk)).astype(np.int64)
    ends = np.cumsum(n_days)
    total = int(ends[-1]) if len(ends) else 0
    if total > most:
        # A day drawn twice counts twice, as the weights below say.
        drawn = np.sort(np.random.default_rng(seed).integers(0, total, most))
    else:
        drawn = np.arange(total)
    sample = np.searchsorted(ends, drawn, side="right")
    day = drawn - (ends[sample] - n_days[sample]) + 1
    part = np.minimum(at_risk[sample] - (day - 1), 1.0)
    return sample, day, part * (total / max(len(drawn), 1))


def _merged(sample: np.ndarray, day: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row per stretch and bin with its summed weight."""
    if not len(sample):
        return sample, day, weight
    least = int(day.min())
    width = int(day.max()) - least + 1
    key, place = np.unique(sample.astype(np.int64) * width + (day - least), return_inverse=True)
    return key // width, key % width + least, np.bincount(place, weight)


def _bin_start(samples: pd.DataFrame, sample: np.ndarray, day: np.ndarray) -> np.ndarray:
    """First day of the bin that each day lies in."""
    clocks = {name: as_numbers(samples[name])[sample] + (day - 1) for name in ADVANCING if name in samples}
    return day - days_into_bin(clocks)


def days_into_bin(clocks: dict[str, np.ndarray]) -> np.ndarray:
    """Days since the bin's beginning, given the waiting time and the days past each date told at a day's start.

    After 31 days of waiting the bin of the 30th to the 33rd runs, 1 day old; where the promise passed today, a new one
    has begun:

    >>> days_into_bin({"waited_days": np.array([31.0, 31.0]), "days_late": np.array([np.nan, 0.0])}).tolist()
    [1, 0]
    """
    into = np.full(len(next(iter(clocks.values()))), np.inf)
    for name, value in clocks.items():
        edges = WAIT_EDGES_DAYS if name == "waited_days" else LATE_EDGES_DAYS
        with np.errstate(invalid="ignore"):
            known = value >= 0
        place = np.searchsorted(edges, np.where(known, value, 0.0), side="right") - 1
        into = np.where(known, np.minimum(into, value - edges[place]), into)
    return np.where(np.isfinite(into), into, 0).astype(np.int64)


def as_seen_on(samples: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Take the samples back to what was known at the start of `day`: no later look, no later outcome."""
    seen = samples[samples["cutoff_on"] < day].copy()
    known_days = (day - seen["cutoff_on"]).dt.days.to_numpy()
    is_later = as_numbers(seen["at_risk_days"]) > known_days
    seen["at_risk_days"] = np.minimum(as_numbers(seen["at_risk_days"]), known_days)
    seen["ended_by"] = seen["ended_by"].where(~is_later)
    seen["cancelled_share"] = seen["cancelled_share"].where(~is_later, 0.0)
    return seen.reset_index(drop=True)


def open_on(samples: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Lines that wait on the morning of `day`, as the stretch that holds it tells them: only time has passed since."""
    passed_days = (day - samples["cutoff_on"]).dt.days
    is_open = (passed_days >= 0) & (passed_days < samples["at_risk_days"])
    lines = samples[is_open].assign(cutoff_on=day)
    for name in ADVANCING:
        if name in lines:
            lines[name] = as_numbers(lines[name]) + passed_days[is_open]
    return lines.reset_index(drop=True)


def matrix_on(
    inputs: Inputs, at_start: np.ndarray, sample: np.ndarray, day: np.ndarray, most: dict[str, float]
) -> np.ndarray:
    """Build the inputs on given days: wait and lateness move on with the day, all else stays as at the start.

    Parameters
    ----------
    at_start : (n_samples, n_inputs) from `Inputs.matrix`
    sample, day : places and days u, of one length
    most : greatest wait and lateness seen in training; beyond them nothing is known and they are held
    """
    values = at_start[sample]
    for name, limit in most.items():
        place = inputs.columns.index(name)
        values[:, place] = np.minimum(values[:, place] + (day - 1), limit)
    if "day_of_year" in inputs.columns:
        place = inputs.columns.index("day_of_year")
        values[:, place] = (values[:, place] + day - 1) % YEAR_DAYS
    return values


def wait_band(waited_days: np.ndarray) -> np.ndarray:
    """Place of each wait in `WAIT_BANDS_DAYS`.

    >>> wait_band(np.array([0, 6, 7, 400])).tolist()
    [0, 0, 1, 4]
    """
    return np.clip(np.searchsorted(WAIT_BANDS_DAYS, waited_days, side="right") - 1, 0, None)


def customers_of(samples: pd.DataFrame) -> np.ndarray:
    """Name the customer of each row; where nobody is named an order, or a line without one, stands alone."""
    names = pd.Series(None, index=samples.index, dtype=object)
    for column in ("customer_id", "order_id", "order_line_id"):
        if column in samples:
            names = names.where(names.notna(), column + " " + samples[column].astype(object))
    return names.to_numpy(dtype=str)
