"""Line-days against counting by day, one day after the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from models.cancellation_choice import banded_hazard
from models.inputs import learn_inputs
from models.line_days import as_seen_on, days_into_bin, line_days, matrix_on, open_on, wait_band

FIRST_DAY = pd.Timestamp("2026-01-01")
# Days on which a bin begins, written out the other way round: how wide the bin is that holds a given day.
WIDTHS_BY_WAIT = ((30, 1), (60, 3), (120, 6), (3000, 30))
WIDTHS_BY_LATENESS = ((14, 1), (44, 3), (104, 6), (3000, 30))


def _samples(at_risk, ended_by, share, **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"at_risk_days": at_risk, "ended_by": ended_by, "cancelled_share": share, **columns})
    frame = frame if "waited_days" in frame else frame.assign(waited_days=0.0)
    return frame.assign(cutoff_on=FIRST_DAY, order_line_id=[f"L{i}" for i in range(len(frame))])


def _rows(days) -> list[tuple[int, int, float, float]]:
    return list(zip(*(part.tolist() for part in (days.sample, days.day, days.event, days.weight)), strict=True))


def test_a_line_is_at_risk_until_it_leaves_or_is_no_longer_watched():
    samples = _samples([3.0, 1.5, 2.25, 0.0], [None, "customer", "shipment", None], [0.0, 1.0, 0.0, 0.0])
    assert _rows(line_days(samples)) == [
        *[(0, 1, 0, 1), (0, 2, 0, 1), (0, 3, 0, 1)],  # watched to the end
        *[(1, 1, 0, 1), (1, 2, 1, 1)],  # cancelled in the second day: that day is the event's
        *[(2, 1, 0, 1), (2, 2, 0, 1), (2, 3, 0, 0.25)],  # shipped six hours into the third day
    ]


def test_a_line_cancelled_by_a_quarter_is_a_quarter_of_an_event():
    days = line_days(_samples([0.5], ["customer"], [0.25]))
    assert _rows(days) == [(0, 1, 0, 0.75), (0, 1, 1, 0.25)]


@pytest.mark.parametrize("cause", ["seller", "change", "shipment"])
def test_what_is_not_the_customers_own_censors(cause):
    samples = _samples([1.5], [cause], [1.0])
    assert _rows(line_days(samples)) == [(0, 1, 0, 1), (0, 2, 0, 0.5)]
    assert _rows(line_days(samples, causes=(cause,))) == [(0, 1, 0, 1), (0, 2, 1, 1)]


def test_the_days_of_a_wide_bin_are_one_row_that_weighs_them_all():
    # 58 days waited: bins begin on day 57 (one day ago), 60 and 66, so after 2 and after 8 more days.
    days = line_days(_samples([9.5], ["shipment"], [0.0], waited_days=[58.0]))
    assert _rows(days) == [(0, 0, 0, 2), (0, 3, 0, 6), (0, 9, 0, 1.5)]
    # Promised for 4 days from now: that day begins a bin, and so do the days after it.
    days = line_days(_samples([7.0], [None], [0.0], waited_days=[60.0], days_late=[-4.0]))
    assert _rows(days) == [(0, 1, 0, 4), (0, 5, 0, 1), (0, 6, 0, 1), (0, 7, 0, 1)]


def _widest(width_by_edge: tuple[tuple[int, int], ...], value: float) -> int:
    """Begin of the bin that holds the value, found by walking from 0 on."""
    start = 0
    while True:
        width = next(width for edge, width in width_by_edge if start < edge)
        if value < start + width:
            return start
        start += width


@pytest.mark.parametrize("seed", range(3))
def test_a_bin_begins_where_walking_day_by_day_finds_its_beginning_and_never_reaches_across_a_date_told(seed):
    draw = np.random.default_rng(seed)
    waited = draw.integers(0, 400, 300).astype(float)
    clocks = {"waited_days": waited}
    for name in ("days_late", "days_past_latest"):
        clocks[name] = np.where(draw.random(300) < 0.3, np.nan, waited - draw.integers(0, 450, 300))
    into = days_into_bin(clocks)
    for line in range(300):
        since = [waited[line] - _widest(WIDTHS_BY_WAIT, waited[line])]
        late = [clocks[name][line] for name in ("days_late", "days_past_latest")]
        since += [days - _widest(WIDTHS_BY_LATENESS, days) for days in late if days >= 0]
        assert into[line] == min(since)
        assert all(days - into[line] >= 0 for days in late if days >= 0)


def test_the_weight_of_all_rows_is_the_time_at_risk_whatever_is_sampled(make_samples, watch):
    samples = watch(make_samples(2000), np.full((2000, 60), 0.01), 0.0, seed=1)  # the day of an event counts in full
    by_day = np.ceil(samples["at_risk_days"]).sum()
    for most in (10**6, 20_000, 500):
        assert line_days(samples, most_quiet_days=most).weight.sum() == pytest.approx(by_day, abs=1e-6)
    part_days = samples.assign(ended_by=None, at_risk_days=np.linspace(0, 40, 2000))
    assert line_days(part_days).weight.sum() == pytest.approx(part_days["at_risk_days"].sum())
    drawn = line_days(part_days, most_quiet_days=20_000).weight.sum()
    assert drawn == pytest.approx(part_days["at_risk_days"].sum(), rel=0.005)


def test_sampling_keeps_every_cancellation(samples):
    everything, some = line_days(samples), line_days(samples, most_quiet_days=5_000)
    assert len(some.day) < len(everything.day) / 2
    for name in ("sample", "day", "weight"):
        here, there = (getattr(days, name)[days.event > 0] for days in (everything, some))
        np.testing.assert_array_equal(here, there)


def _by_line_and_bin(samples: pd.DataFrame) -> Counter:
    days = line_days(samples)
    line = samples["order_line_id"].to_numpy()[days.sample]
    on = samples["cutoff_on"].to_numpy()[days.sample] + (days.day - 1) * np.timedelta64(1, "D")
    sums: Counter = Counter()
    for key, weight in zip(zip(line, on, days.event, strict=True), days.weight, strict=True):
        sums[key] += weight
    return sums


@pytest.mark.parametrize("every_days", [1, 3, 14])
def test_looking_at_a_line_anew_moves_no_day_to_another_bin(make_samples, cut, every_days):
    samples = make_samples(300)
    samples["waited_days"] += np.arange(300)  # into the wide bins
    whole, in_parts = _by_line_and_bin(samples), _by_line_and_bin(cut(samples, every_days))
    assert whole.keys() == in_parts.keys()
    assert all(in_parts[key] == pytest.approx(whole[key]) for key in whole)


def test_lines_that_wait_already_when_the_data_begin_tell_the_same_hazard():
    # By wait .02 a day in the first week and .06 in the second. Half of the lines are seen from their fifth day on
    # only, those of them that still wait then.
    draw = np.random.default_rng(0)
    hazard = np.where(np.arange(14) < 7, 0.02, 0.06)
    cancels = draw.random((40_000, 14)) < hazard
    left = np.where(cancels.any(axis=1), cancels.argmax(axis=1) + 0.5, 14.0)
    from_day = np.where(np.arange(40_000) % 2, 5.0, 0.0)
    for entered in (np.zeros(40_000), from_day):
        seen = left > entered
        ended_by = np.where(left[seen] < 14, "customer", "").astype(object)
        samples = _samples((left - entered)[seen], ended_by, ended_by == "customer", waited_days=entered[seen])
        days = line_days(samples)
        band = wait_band(samples["waited_days"].to_numpy()[days.sample] + days.day - 1)
        assert banded_hazard(band, days.event, days.weight)[:2] == pytest.approx([0.02, 0.06], rel=0.03)


def test_the_samples_as_seen_on_a_day_hide_whatever_came_later():
    samples = _samples([9.5, 2.5, 30.0], ["customer", "customer", None], [1.0, 0.5, 0.0])
    seen = as_seen_on(samples, FIRST_DAY + pd.Timedelta(days=5))
    assert seen["at_risk_days"].tolist() == [5, 2.5, 5]
    assert seen["cancelled_share"].tolist() == [0, 0.5, 0]
    assert seen["ended_by"].fillna("").tolist() == ["", "customer", ""]
    assert len(as_seen_on(samples, FIRST_DAY)) == 0


def test_only_wait_and_lateness_move_on():
    frame = pd.DataFrame({"waited_days": [4.0], "days_late": [np.nan], "line_value": [9.0]})
    inputs = learn_inputs(frame, list(frame.columns), [])
    values = matrix_on(
        inputs, inputs.matrix(frame), np.array([0, 0]), np.array([1, 8]), {"waited_days": 10.0, "days_late": 5.0}
    )
    np.testing.assert_array_equal(values, [[4, np.nan, 9], [10, np.nan, 9]])


def test_no_samples_give_no_rows(samples):
    days = line_days(samples.iloc[:0])
    assert [len(part) for part in vars(days).values()] == [0, 0, 0, 0]


def test_the_lines_open_on_a_day_have_waited_on_since_their_stretch_began():
    samples = _samples(
        [9.0, 4.0, 4.5, 9.0], None, 0.0, waited_days=[2.0, 0.0, 0.0, 5.0], days_late=[-1.0, 3.0, 3.0, np.nan]
    )
    samples.loc[3, "cutoff_on"] += pd.Timedelta(days=5)  # begins after the day
    lines = open_on(samples, FIRST_DAY + pd.Timedelta(days=4))
    assert lines["order_line_id"].tolist() == ["L0", "L2"]
    assert lines[["waited_days", "days_late"]].to_numpy().tolist() == [[6, 3], [4, 7]]
    assert (lines["cutoff_on"] == FIRST_DAY + pd.Timedelta(days=4)).all()
