"""The policy's door: what it accepts, what it says, and what it declares about itself."""

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from decisions.policy import Policy


def test_every_assumption_declares_unit_source_basis_and_a_range_that_holds_its_default():
    for item in fields(Policy):
        low, high = item.metadata["range"]
        assert item.metadata["unit"]
        assert item.metadata["source"]
        assert item.metadata["basis"] in ("assumed", "measured")
        assert low <= item.default <= high


def test_a_cancellation_and_an_endless_wait_lose_the_same_share_by_default():
    assert Policy().late_lost_by(1e9) == pytest.approx(Policy().cancel_lost_share)
    assert Policy().late_lost_by(0) == 0


def test_the_settings_table_replaces_only_what_it_names():
    assert Policy.from_table({"cancel_lost_share": 0.2}) == Policy(cancel_lost_share=0.2)
    assert Policy.from_table({}) == Policy()


def test_an_unknown_setting_is_named_with_its_nearest_match():
    with pytest.raises(
        ValueError, match=r"2 of 2 settings are unknown: 'cancel_lost_shares' \(did you mean 'canc"
    ) as e:
        Policy.from_table({"cancel_lost_shares": 0.1, "zzz": 1})
    assert "'zzz'; remove them or use one of horizon_days" in str(e.value)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"cancel_lost_share": 1.5}, "cancel_lost_share = 1.5 is outside 0 to 1 "),
        ({"horizon_days": 90.5}, "horizon_days = 90.5 is no whole number of days"),
        ({"horizon_days": True}, "horizon_days = True is no finite number"),
        ({"promise_floor": "0.5"}, "promise_floor = '0.5' is no finite number"),
        ({"late_lost_scale_days": float("nan")}, "late_lost_scale_days = nan is no finite number"),
        ({"won_back_share": -1, "late_lost_share": 2}, "2 of 15 values cannot be used"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(table, text):
    with pytest.raises(ValueError, match=text):
        Policy.from_table(table)


def test_the_promise_quantile_is_the_day_that_costs_least_in_expectation():
    # By brute force over whole days: a late day costs 9, a long one 1, shipping is equally likely on days 1 to 100.
    policy, ships = Policy(late_promise_cost_per_day=9, long_promise_cost_per_day=1), np.arange(1, 101)
    cost = [(9 * np.maximum(ships - day, 0) + np.maximum(day - ships, 0)).sum() for day in ships]
    assert policy.promise_quantile == pytest.approx(0.9)
    assert ships[np.argmin(cost)] == 90


def test_a_policy_cannot_be_changed_on_the_way():
    with pytest.raises(FrozenInstanceError):
        Policy().horizon_days = 3
