"""The policy's door: what it accepts, what it says, and what it declares about itself."""

import re
import tomllib
from dataclasses import FrozenInstanceError, fields
from importlib.resources import files

import numpy as np
import pytest

from decisions.policy import Policy
from decisions.segments import DATES, FLAGS, NUMBERS, TEXTS, Segment
from erp.fingerprint import fingerprint
from features.feature_tables import query


def test_every_assumption_declares_unit_source_basis_and_a_range_that_holds_its_default():
    for item in fields(Policy):
        assert item.metadata["unit"]
        assert item.metadata["source"]
        assert item.metadata["basis"] in ("assumed", "measured", "stated")
        if item.metadata["basis"] != "stated" or item.metadata["range"]:
            low, high = item.metadata["range"]
            assert low <= item.default <= high


def test_the_rules_that_a_site_states_are_no_assumptions():
    stated = {item.name for item in fields(Policy) if item.metadata["basis"] == "stated"}
    assert {"longest_wait_days", "segments"} <= stated


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
        ({"won_back_share": -1, "late_lost_share": 2}, r"2 of \d+ values cannot be used"),
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


SEGMENTS = """
[[policy.segments]]
name = "key accounts"
where = { segment = ["key"], priority_class = [1, 2], may_split = [true] }
at_least = { waited_days = 30 }
turn = 1
sort = ["priority_class", "-line_value"]
strategy = "gain"
share = 0.3

[[policy.segments]]
name = "web"
where = { channel = ["web"] }
protected_days_of_demand = 2
"""


def test_segments_are_read_from_the_settings_as_they_are_written():
    policy = Policy.from_table(tomllib.loads(SEGMENTS)["policy"])
    key = Segment(
        "key accounts",
        where={"segment": ("key",), "priority_class": (1, 2), "may_split": (True,)},
        at_least={"waited_days": 30},
        turn=1,
        sort=("priority_class", "-line_value"),
        strategy="gain",
        share=0.3,
    )
    assert policy == Policy(segments=(key, Segment("web", where={"channel": ("web",)}, protected_days_of_demand=2)))


def test_every_word_of_a_segment_counts_for_the_fingerprint_of_a_run():
    table = tomllib.loads(SEGMENTS)["policy"]
    seen = {fingerprint(Policy()), fingerprint(Policy.from_table(table))}
    for key, value in [("name", "x"), ("turn", 2), ("strategy", "win"), ("sort", []), ("at_least", {}), ("share", 0.2)]:
        first, second = table["segments"]
        seen.add(fingerprint(Policy.from_table({"segments": [{**first, key: value}, second]})))
    seen.add(fingerprint(Policy.from_table({"segments": table["segments"][::-1]})))
    assert len(seen) == 9


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        (
            {"name": "x", "stratgy": "win"},
            r"segment 'x': 'stratgy' \(did you mean 'strategy'\?\) is unknown; use one of",
        ),
        ({"name": "x", "strategy": "wins"}, r"strategy = 'wins' \(did you mean 'win'\?\) is none of skip, win, gain"),
        ({"name": "x", "where": {"segmnt": ["a"]}}, r"where names 'segmnt' \(did you mean 'segment'\?\)"),
        ({"name": "x", "sort": ["-requestedon"]}, r"sort names 'requestedon' \(did you mean 'requested_on'\?\)"),
        ({"name": "x", "at_least": {"channel": 3}}, "at_least names 'channel', which is none of priority_class"),
        ({"name": "x", "where": {"customer_id": [17]}}, r"where.customer_id lists \[17\], but the column is text"),
        ({"name": "x", "where": {"may_split": [1]}}, r"where.may_split lists \[1\], but the column is true or false"),
        ({"name": "x", "where": {"priority_class": ["1"]}}, "but the column is number"),
        ({"name": "x", "where": {"segment": "key"}}, "where.segment = 'key' is no list of values"),
        ({"name": "x", "where": {"segment": []}}, "is no list of values"),
        ({"name": "x", "where": ["key"]}, "is not a table of columns"),
        ({"name": "x", "sort": "requested_on"}, "is not a list such as"),
        ({"name": "x", "at_least": {"waited_days": "3"}}, "at_least.waited_days = '3' is no finite number"),
        ({"name": "x", "turn": 1.5}, "turn = 1.5 is no whole number"),
        ({"name": "x", "share": 1.2}, "share = 1.2 is no number from 0 to 1"),
        ({"name": "x", "protected_units": -1}, "protected_units = -1 is no number from 0 to inf"),
        ({"name": "x", "share": 0.2, "protected_units": 1}, "choose one"),
        ({"where": {"segment": ["key"]}}, "a segment has no name"),
        ("key", r"no list of tables; write each under \[\[policy.segments\]\]"),
    ],
)
def test_a_segment_that_cannot_be_used_is_refused_by_name(segment, text):
    with pytest.raises(ValueError, match=text) as refused:
        Policy.from_table({"segments": [segment]})
    assert str(refused.value).startswith("policy: ")
    assert str(refused.value).endswith("correct it under [[policy.segments]] in the settings")


def test_segments_of_one_name_and_shares_above_one_are_refused():
    with pytest.raises(ValueError, match=r"segments \['x'\] stand more than once"):
        Policy(segments=(Segment("x"), Segment("x")))
    with pytest.raises(ValueError, match=r"the shares of all segments sum to 1.2"):
        Policy(segments=(Segment("x", share=0.6), Segment("y", share=0.6)))


def test_segments_name_columns_that_the_open_lines_have_in_the_kind_they_say():
    dictionary = tomllib.loads(files("features").joinpath("dictionary.toml").read_text(encoding="utf-8"))
    for kind, names in (("ids", TEXTS), ("flags", FLAGS), ("numbers", NUMBERS), ("times", DATES)):
        # The value of a customer is the models' word, which decide() adds to the lines.
        assert set(names) - set(dictionary[kind]) == ({"lifetime_value"} if kind == "numbers" else set())
        assert all(re.search(rf"\b{name}\b", query("backorder_lines")) for name in set(names) - {"lifetime_value"})


def test_a_policy_cannot_be_changed_on_the_way():
    with pytest.raises(FrozenInstanceError):
        Policy().horizon_days = 3
