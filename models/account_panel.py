"""Accounts at past cut-offs with what they did next: what both customer models learn from, and how it is split."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from models.boosting import TrainingRows, best_rounds, boost, predict_rows
from models.inputs import Inputs, as_numbers, learn_inputs

# Not here: the cut-off's month. A few cut-offs a year would let it stand for single past days.
NUMERIC = (
    "tenure_days", "recency_days", "n_orders", "n_orders_91d", "n_orders_365d", "mean_gap_days", "sd_gap_days",
    "longest_gap_days", "spend_amount", "spend_91d", "spend_365d", "margin_amount", "margin_91d", "margin_365d",
    "mean_order_amount", "last_order_amount", "first_order_amount", "n_products", "discount_share", "n_lines",
    "n_cancelled_lines", "cancel_share", "late_share", "mean_wait_days", "returned_share", "n_open_lines",
    "open_amount",
)  # fmt: skip
TEXT = ("segment", "channel", "country")
VALUE_HORIZON_DAYS = 365
MOST_ROUNDS = 600


@dataclass(frozen=True, eq=False)
class Trained:
    """A booster on all rows of the full horizon, and what one trained on the past alone said about later rows.

    Parameters
    ----------
    judged : rows of the newest cut-off that could be judged, over the full horizon or a shorter one
    prediction : one per judged row, by a booster that did not see them or their time
    is_full_horizon : whether they were watched as long as the rows that train
    how : plain words for the split
    """

    inputs: Inputs
    booster: lgb.Booster
    n_rounds: int
    judged: pd.DataFrame
    prediction: np.ndarray
    is_full_horizon: bool
    how: str


def train(samples: pd.DataFrame, target: Callable[[pd.DataFrame], np.ndarray], params: Mapping[str, Any]) -> Trained:
    """Choose the number of trees on a later cut-off, predict it from the past, then train on all full outcomes."""
    full, panel = full_horizon(samples), judging_panel(samples)
    is_past, is_judged, how = split(panel)
    inputs = learn_inputs(full, NUMERIC, TEXT)
    rows = _rows(inputs, panel, target)
    n_rounds = best_rounds(
        rows.dataset(params), np.flatnonzero(is_past), np.flatnonzero(is_judged), params, MOST_ROUNDS
    )
    past_booster = boost(_rows(inputs, panel[is_past], target).dataset(params), params, n_rounds)
    judged = panel[is_judged].reset_index(drop=True)
    prediction = predict_rows(past_booster, inputs, rows.values[is_judged])
    is_full = bool(panel["horizon_days"].max() == full["horizon_days"].max())
    return Trained(
        inputs,
        boost(_rows(inputs, full, target).dataset(params), params, n_rounds),
        n_rounds,
        judged,
        prediction,
        is_full,
        how,
    )


def full_horizon(samples: pd.DataFrame) -> pd.DataFrame:
    """The rows watched longest, in order: what a model learns from."""
    return in_order(samples[samples["horizon_days"] == samples["horizon_days"].max()])


def judging_panel(samples: pd.DataFrame) -> pd.DataFrame:
    """The rows of the longest horizon that can be split by time, in order; of the longest there is if none can.

    Watching for a shorter time lets outcomes be complete before a later cut-off begins, so that a history of two years
    can be judged forward in time.
    """
    for days in sorted(samples["horizon_days"].unique(), reverse=True):
        panel = in_order(samples[samples["horizon_days"] == days])
        if _is_past(panel).any():
            return panel
    return full_horizon(samples)


def split(samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, str]:
    """Which rows of one horizon train and which judge, and in plain words how they were told apart.

    The newest cut-off judges. Rows train whose outcome was complete by then; if there are none (a young history) two
    thirds of the accounts train and the others judge, which shares the season between them.
    """
    is_newest = (samples["cutoff_on"] == samples["cutoff_on"].max()).to_numpy()
    is_past = _is_past(samples)
    if is_past.any():
        days = int(samples["horizon_days"].max())
        return is_past, is_newest, f"by time over {days} days: outcomes complete by the newest cut-off train, it judges"
    judges = thirds(samples["account_id"]) == 0
    how = "by account: the history is too short to split by time, so a third of the accounts judges in the same season"
    return ~judges, judges & is_newest, how


def _is_past(samples: pd.DataFrame) -> np.ndarray:
    complete_on = samples["cutoff_on"] + pd.to_timedelta(samples["horizon_days"], unit="D")
    return np.asarray(complete_on <= samples["cutoff_on"].max())


def thirds(account_ids: pd.Series) -> np.ndarray:
    """Which third (0, 1, 2) of the accounts given each belongs to: dealt out by a checksum of the id, equal in size.

    >>> thirds(pd.Series(["a", "b", "a", "c"])).tolist()
    [2, 1, 2, 0]
    """
    names = sorted({str(name) for name in account_ids}, key=lambda name: (zlib.crc32(name.encode()), name))
    place = {name: at % 3 for at, name in enumerate(names)}
    return np.array([place[str(name)] for name in account_ids], dtype=np.int64)


def in_order(samples: pd.DataFrame) -> pd.DataFrame:
    """Rows by cut-off and account, so that the order they came in does not matter."""
    return samples.sort_values(["cutoff_on", "account_id"], kind="stable").reset_index(drop=True)


def scale_to_horizon(samples: pd.DataFrame) -> np.ndarray:
    """365 over the days each outcome was watched."""
    return np.asarray(VALUE_HORIZON_DAYS / as_numbers(samples["horizon_days"]))


def watched_days(samples: pd.DataFrame) -> float:
    """Days over which the longest outcomes were watched, 0 without any."""
    return float(samples["horizon_days"].max()) if len(samples) else 0.0


def horizon_note(samples: pd.DataFrame) -> str | None:
    """Sentence about outcomes watched for less than a year; None if some were watched in full."""
    days = watched_days(samples)
    if not len(samples) or days >= VALUE_HORIZON_DAYS:
        return None
    return f"the history is young: outcomes were watched for {days:.0f} days instead of {VALUE_HORIZON_DAYS}"


def _rows(inputs: Inputs, frame: pd.DataFrame, target: Callable[[pd.DataFrame], np.ndarray]) -> TrainingRows:
    return TrainingRows(inputs, inputs.matrix(frame), target(frame), np.ones(len(frame)))
