from __future__ import annotations

import numpy as np
import pandas as pd

from models.inputs import learn_inputs
from models.line_days import as_seen_on, line_days, matrix_on, split_day


def _samples(observed, cancelled, closed) -> pd.DataFrame:
    frame = pd.DataFrame({"observed_days": observed, "cancelled_day": cancelled, "closed_day": closed})
    return frame.assign(cutoff_on=pd.Timestamp("2026-01-01"))


def test_a_line_is_at_risk_until_it_cancels_closes_or_is_no_longer_watched():
    days = line_days(_samples([5, 5, 3, 0], [2.0, np.nan, 7.0, np.nan], [np.nan, 3.0, np.nan, np.nan]))
    assert days.sample.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert days.day.tolist() == [1, 2, 1, 2, 3, 1, 2, 3]
    assert days.cancelled.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert days.weight.tolist() == [1, 1, 1, 1, 0.5, 1, 1, 1]


def test_sampling_quiet_days_keeps_every_cancellation_and_the_total_weight(samples):
    everything, some = line_days(samples), line_days(samples, most_quiet_days=20_000)
    assert len(some.day) < len(everything.day) / 2
    assert some.cancelled.sum() == everything.cancelled.sum()
    assert abs(some.weight.sum() / everything.weight.sum() - 1) < 0.02


def test_the_samples_as_seen_on_a_day_hide_whatever_came_later():
    samples = _samples([30, 30], [10.0, 3.0], [np.nan, np.nan])
    seen = as_seen_on(samples, pd.Timestamp("2026-01-06"))
    assert seen["observed_days"].tolist() == [5, 5]
    assert line_days(seen).cancelled.sum() == 1
    assert len(as_seen_on(samples, pd.Timestamp("2026-01-01"))) == 0


def test_the_split_leaves_most_cancellations_before_it(samples):
    day = split_day(samples)
    happened = samples.loc[samples["cancelled_day"].notna(), "cutoff_on"]
    assert 0.6 < (happened < day).mean() < 0.8


def test_only_wait_and_lateness_move_on():
    frame = pd.DataFrame({"waited_days": [4.0], "days_late": [np.nan], "line_value": [9.0]})
    inputs = learn_inputs(frame, list(frame.columns), [])
    values = matrix_on(
        inputs, inputs.matrix(frame), np.array([0, 0]), np.array([1, 8]), {"waited_days": 10.0, "days_late": 5.0}
    )
    np.testing.assert_array_equal(values, [[4, np.nan, 9], [10, np.nan, 9]])
