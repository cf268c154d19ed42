from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.joint_cancellation import JointCancellation, joint_cancellation

FIRST_DAY = pd.Timestamp("2026-01-01")


def _stretches(*rows: tuple[str, str, int, float, str | None]) -> pd.DataFrame:
    """Order, line, day from the first, days at risk, what ended it."""
    frame = pd.DataFrame(rows, columns=["order_id", "order_line_id", "day", "at_risk_days", "ended_by"])
    share = (frame["ended_by"] == "customer").astype(float)
    return frame.assign(cutoff_on=FIRST_DAY + pd.to_timedelta(frame.pop("day"), unit="D"), cancelled_share=share)


def _counts(*rows) -> tuple[int, int]:
    found = joint_cancellation(_stretches(*rows))
    return found.n_pairs, found.n_together


def test_two_lines_that_go_together_are_two_pairs_and_one_that_goes_alone_is_one():
    assert _counts(("o", "a", 0, 2.5, "customer"), ("o", "b", 0, 2.5, "customer")) == (2, 2)
    assert _counts(("o", "a", 0, 2.5, "customer"), ("o", "b", 0, 9.0, None)) == (1, 0)
    assert _counts(("o", "a", 0, 2.5, "customer"), ("p", "b", 0, 2.5, "customer")) == (0, 0)


def test_lines_go_the_same_day_whenever_they_entered():
    # Day 4 for both: half a day after the look on day 4, and 1.9 days after that on day 3.
    assert _counts(("o", "a", 4, 0.5, "customer"), ("o", "b", 3, 1.9, "customer")) == (2, 2)
    assert _counts(("o", "a", 4, 0.5, "customer"), ("o", "b", 3, 2.1, "customer")) == (1, 0)


def test_a_line_that_was_not_waiting_that_day_is_not_asked_about():
    gone = ("o", "a", 3, 0.5, "customer")
    assert _counts(gone, ("o", "b", 0, 3.0, None)) == (0, 0)  # watched to the end of the day before
    assert _counts(gone, ("o", "b", 0, 2.5, "shipment")) == (0, 0)  # shipped the day before
    assert _counts(gone, ("o", "b", 4, 5.0, None)) == (0, 0)  # due the day after
    assert _counts(gone, ("o", "b", 0, 3.2, "shipment")) == (1, 0)  # shipped that day
    assert _counts(gone, ("o", "b", 0, 4.0, None)) == (1, 0)  # watched to the end of that day


def test_a_line_cut_into_stretches_is_still_one_line():
    gone = ("o", "a", 5, 0.5, "customer")
    looks = [("o", "b", 0, 3.0, None), ("o", "b", 3, 3.0, None), ("o", "b", 6, 3.0, None)]
    assert _counts(gone, *looks) == (1, 0)
    assert _counts(gone, looks[0], ("o", "b", 3, 2.9, "customer")) == (2, 2)
    assert _counts(("o", "a", 0, 1.5, "customer"), ("o", "a", 2, 0.5, "customer")) == (0, 0)  # in two parts


@pytest.mark.parametrize("cause", ["seller", "shipment", "change"])
def test_lines_that_others_end_together_prove_nothing(cause):
    assert _counts(("o", "a", 0, 2.5, cause), ("o", "b", 0, 2.5, cause)) == (0, 0)
    assert _counts(("o", "a", 0, 2.5, "customer"), ("o", "b", 0, 2.5, cause)) == (1, 0)


def test_lines_without_an_order_belong_to_none():
    assert _counts((None, "a", 0, 2.5, "customer"), (None, "b", 0, 2.5, "customer")) == (0, 0)
    nothing = joint_cancellation(_stretches(("o", "a", 0, 2.5, "customer")).drop(columns="order_id"))
    assert (nothing, nothing.share) == (JointCancellation(0, 0), 0.0)


@pytest.mark.parametrize("taken_along", [0.0, 0.3, 0.8])
def test_the_planted_share_is_found(taken_along):
    # When a line of two is cancelled by itself, the other one is taken along with chance s. Given that a line goes, it
    # began in 1 + s cases of which the other goes in 2 s: the chance asked for is 2 s / (1 + s).
    draw = np.random.default_rng(0)
    n_orders, n_days, hazard = 8000, 20, 0.02
    begins = draw.random((n_orders, 2, n_days)) < hazard
    along = draw.random((n_orders, 2, n_days)) < taken_along
    goes = begins | (begins[:, ::-1] & along)
    left = np.where(goes.any(axis=2), goes.argmax(axis=2) + 0.5, n_days).ravel()
    frame = pd.DataFrame({"order_id": np.repeat(np.arange(n_orders), 2).astype(str), "at_risk_days": left})
    frame["ended_by"] = np.where(left < n_days, "customer", None)
    frame["order_line_id"], frame["cutoff_on"] = np.arange(len(frame)).astype(str), FIRST_DAY
    found = joint_cancellation(frame.assign(cancelled_share=(left < n_days).astype(float)))
    # Both may also begin on one day, by chance.
    assert found.share == pytest.approx(2 * taken_along / (1 + taken_along), abs=0.03)
    assert found.n_pairs > 2000


def test_an_order_of_a_thousand_lines_that_go_one_by_one_is_counted_in_little_memory():
    rows = [("o", f"{line}", 3 * look, 3.0, None) for line in range(1000) for look in range(20)]
    rows += [("o", f"{line}", 60, line % 30 + 0.5, "customer") for line in range(1000)]
    n_left = [1000 - 1000 // 30 * day - min(day, 10) for day in range(30)]
    n_gone = [34] * 10 + [33] * 20
    expected = sum(g * (left - 1) for g, left in zip(n_gone, n_left, strict=True))
    assert _counts(*rows) == (expected, sum(g * (g - 1) for g in n_gone))
