"""One row per open line and day at risk: what a hazard of cancelling is learned from.

Day u is the u-th 24 hours after a sample's cut-off. A line is at risk on the days it was watched, until it was
cancelled by the customer (the event) or closed in another way (shipped in full, cancelled by us), which censors it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.inputs import Inputs, as_numbers

MOST_QUIET_DAYS = 150_000  # quiet days kept; more change the fit little and cost seconds in proportion
WAIT_BANDS_DAYS = (0, 7, 14, 30, 60)  # a band runs from its number to the next, the last one on for ever


@dataclass(frozen=True)
class LineDays:
    """Days at risk; all arrays have one entry per line and day.

    Parameters
    ----------
    sample : place of the row in the samples
    day : u, counted from 1
    cancelled : 1.0 if the customer cancelled that day
    weight : days at risk the entry stands for
    """

    sample: np.ndarray
    day: np.ndarray
    cancelled: np.ndarray
    weight: np.ndarray


def line_days(samples: pd.DataFrame, seed: int = 0, most_quiet_days: int = MOST_QUIET_DAYS) -> LineDays:
    """Every day at risk; of very many quiet ones a random share that stands for all of them.

    >>> samples = pd.DataFrame({"observed_days": [5], "cancelled_day": [np.nan], "closed_day": [2.0]})
    >>> line_days(samples).weight.tolist()
    [1.0, 0.5]
    """
    last, is_cancelled, is_closed = days_at_risk(samples)
    sample = np.repeat(np.arange(len(samples), dtype=np.int32), last)
    before = (np.cumsum(last) - last - 1).astype(np.int32)
    day = np.arange(len(sample), dtype=np.int32) - before[sample]
    is_last = day == last[sample]
    cancelled = is_last & is_cancelled[sample]
    # A line that closes leaves the risk set half way through its last day on average, so that day counts half.
    weight = np.where(is_last & is_closed[sample], np.float32(0.5), np.float32(1.0))
    n_quiet = len(day) - int(cancelled.sum())
    if n_quiet > most_quiet_days:
        share = most_quiet_days / n_quiet
        kept = cancelled | (np.random.default_rng(seed).random(len(day), dtype=np.float32) < share)
        weight = np.where(cancelled, weight, weight / share)
        sample, day, cancelled, weight = sample[kept], day[kept], cancelled[kept], weight[kept]
    return LineDays(sample, day, cancelled.astype(float), weight.astype(float))


def days_at_risk(samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per sample: number of days at risk, whether the last ends in a cancellation, whether it ends by closing."""
    observed = as_numbers(samples["observed_days"])
    cancelled = np.nan_to_num(as_numbers(samples["cancelled_day"]), nan=np.inf)
    closed = np.nan_to_num(as_numbers(samples["closed_day"]), nan=np.inf)
    last = np.minimum(observed, np.minimum(cancelled, closed))
    is_cancelled = (cancelled <= observed) & (cancelled <= closed)
    return last.astype(np.int64), is_cancelled, (closed <= observed) & ~is_cancelled


def as_seen_on(samples: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Take the samples back to what was known at the start of `day`: no later cut-off, no later outcome."""
    seen = samples[samples["cutoff_on"] < day].copy()
    known_days = (day - seen["cutoff_on"]).dt.days.to_numpy()
    seen["observed_days"] = np.minimum(seen["observed_days"].to_numpy(), known_days)
    return seen.reset_index(drop=True)


def split_day(samples: pd.DataFrame, share_before: float = 0.7) -> pd.Timestamp | None:
    """First cut-off that judges: `share_before` of the cancellations come before it; None if there is none such."""
    happened = samples.loc[days_at_risk(samples)[1], "cutoff_on"].sort_values()
    if not len(happened):
        return None
    day = happened.iloc[int(share_before * len(happened))]
    return day if (happened < day).sum() >= len(happened) / 4 else None


def matrix_on(
    inputs: Inputs, at_cutoff: np.ndarray, sample: np.ndarray, day: np.ndarray, most: dict[str, float]
) -> np.ndarray:
    """Build the inputs on given days: wait and lateness move on with the day, all else stays as of the cut-off.

    Parameters
    ----------
    at_cutoff : (n_samples, n_inputs) from `Inputs.matrix`
    sample, day : places and days u, of one length
    most : greatest wait and lateness seen in training; beyond them nothing is known and they are held
    """
    values = at_cutoff[sample]
    for name, limit in most.items():
        place = inputs.columns.index(name)
        values[:, place] = np.minimum(values[:, place] + (day - 1), limit)
    return values


def wait_band(waited_days: np.ndarray) -> np.ndarray:
    """Place of each wait in `WAIT_BANDS_DAYS`.

    >>> wait_band(np.array([0, 6, 7, 400])).tolist()
    [0, 0, 1, 4]
    """
    return np.clip(np.searchsorted(WAIT_BANDS_DAYS, waited_days, side="right") - 1, 0, None)
