"""What becomes of each word, in statuses, numbers and sentences."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.fulfilment_queue import RunFacts
from decisions.override_columns import OVERRIDE_COLUMNS, STATUSES
from decisions.override_costs import cost_of_words
from decisions.override_list import override_facts, override_list
from decisions.overrides import apply_overrides, in_order
from decisions.policy import Policy
from tests.decisions.open_lines import TODAY, at_prices, open_lines, pools
from tests.decisions.test_override_costs import a_book
from tests.decisions.test_overrides import ruling_word
from tests.decisions.words_said import words_said

RUN = RunFacts(run_id="r1", as_of=datetime(2026, 1, 15, 5, tzinfo=UTC), currency="EUR")


def listed(lines, goods, words, with_facts=False):
    """The list of these words on a morning with these lines and goods."""
    words = in_order(words)
    ruled = apply_overrides(lines, words)
    given = give_out(ruled, goods, Policy()).ship_now_quantity
    costs = cost_of_words(ruled, goods, Policy(), words, given, at_prices(lines, goods))
    table = override_list(ruled.assign(ship_now_quantity=given), words, costs, goods, RUN, pd.Timestamp(TODAY))
    return (table, override_facts(table, costs)) if with_facts else table


def only(lines, goods, *words):
    """The list's row of the first of these words."""
    table = listed(lines, goods, words_said(*words))
    scope, value = next(iter(words[0].items()))
    return table[(table[scope] == value) & (table["who"] == words[0].get("who", "Ada"))].iloc[0]


def test_a_word_in_force_says_what_it_rules_until_when_and_what_it_costs():
    row = only(open_lines(2, loss_if_waits=[18.38, 8.61]), pools(1.0), {"order_line_id": "L1"})
    assert row["status"] == "in force"
    assert row["said"] == "The pin of line L1 by Ada (fair) rules 1 line until 2026-01-31; it costs 9.77 EUR."
    assert [row["n_lines"], row["n_lines_ruled"], row["n_lines_short"], row["units_moved"]] == [1, 1, 0, 1.0]
    assert [row["cost"], row["days_left"]] == [pytest.approx(9.77), 16]


def test_an_expired_word_is_told_and_moves_nothing():
    until = {"until_on": pd.Timestamp("2026-01-14")}
    row = only(open_lines(2, loss_if_waits=[18.38, 8.61]), pools(1.0), {"order_line_id": "L1"} | until)
    assert [row["status"], row["days_left"], row["n_lines"], row["cost"]] == ["expired", -1, 0, 0.0]
    assert row["said"] == "The pin of line L1 by Ada (fair) ended on 2026-01-14, 1 day ago."


def test_a_word_about_nothing_that_waits_is_told():
    row = only(open_lines(1), pools(1.0), {"order_id": "4711", "action": "hold"})
    assert row["status"] == "names no waiting line"
    assert row["said"] == "The hold of order 4711 by Ada (fair) names no waiting line today; it holds until 2026-01-31."


@pytest.mark.parametrize(
    ("action", "status", "said"),
    [
        (
            "exclude",
            "contradicted by a later word",
            "gives way to the exclusion of the same that Bob said on 2026-01-12",
        ),
        ("pin", "replaced by a later word", "is replaced by the pin of the same that Bob said on 2026-01-12"),
    ],
)
def test_a_later_word_about_the_same_outdoes_an_earlier_one(action, status, said):
    later = {"order_id": "L0", "who": "Bob", "action": action, "made_at": pd.Timestamp("2026-01-12 08:00")}
    row = only(open_lines(1), pools(1.0), {"order_id": "L0"}, later)
    assert [row["status"], row["n_lines"], row["n_lines_ruled"]] == [status, 1, 0]
    assert row["said"] == f"The pin of order L0 by Ada (fair) {said}."


def test_a_narrower_word_takes_lines_away_from_a_wider_one():
    lines = open_lines(3, order_id=["O", "O", "P"], loss_if_waits=[30.0, 20.0, 10.0])
    wide = {"order_id": "O", "action": "hold"}
    some = only(lines, pools(1.0), wide, {"order_line_id": "L0"})
    assert [some["status"], some["n_lines"], some["n_lines_ruled"]] == ["overruled in part by a narrower word", 2, 1]
    assert "rules 1 line until 2026-01-31; 1 of its 2 lines obey words that name them more closely" in some["said"]
    every = only(lines, pools(1.0), wide, {"order_line_id": "L0"}, {"order_line_id": "L1"})
    assert [every["status"], every["n_lines_ruled"], every["cost"]] == ["overruled by a narrower word", 0, 0.0]
    assert every["said"].endswith("moves nothing: 2 of its 2 lines obey words that name them more closely.")


PIN = {"order_line_id": "L0"}
CANNOT = {
    "no goods": ({}, 0.0, PIN, "no goods are here"),
    "credit hold": (
        {"credit_hold": [True, False]},
        9.0,
        PIN,
        "the customer is on credit hold, which a pin does not lift",
    ),
    "whole": ({"open_quantity": 5.0}, 3.0, PIN, "it ships only in whole, and 3 of the 5 units are here"),
    "too many": (
        {"open_quantity": 5.0, "may_split": True},
        2.0,
        PIN | {"quantity": 4.0},
        "2 of the 4 units that it asks for are here",
    ),
    "a step": (
        {"open_quantity": 9.0, "may_split": True, "quantity_step": 3.0},
        9.0,
        PIN | {"quantity": 2.0},
        "it ships in steps of 3 units, and fewer are asked for",
    ),
    "group short": (
        {"ship_group": "g", "product_id": ["p", "p1"]},
        1.0,
        PIN,
        "its ship group does not fit into the goods of all its pools",
    ),
    "group held": (
        {"ship_group": "g", "credit_hold": [False, True]},
        9.0,
        PIN,
        "a line that must ship with it may have no goods",
    ),
    "group elsewhere": (
        {"ship_group": "g", "group_waits_elsewhere": True},
        9.0,
        PIN,
        "a line that must ship with it is open and not in the queue",
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_a_pin_that_cannot_be_met_says_why(case):
    columns, goods, word, why = CANNOT[case]
    lines = open_lines(
        2, **{**columns, "ship_group": pd.Series(columns.get("ship_group"), index=range(2), dtype="str")}
    )
    row = only(lines, pools(goods, 0.0), word)
    assert [row["status"], row["n_lines_short"]] == ["cannot be met", 1]
    assert f"cannot be met for 1 of 1 line: {why}; it costs" in row["said"]


def test_pins_that_take_each_others_goods_say_so():
    lines = open_lines(3, customer_id="c")
    row = only(lines, pools(2.0), {"customer_id": "c"})
    assert "cannot be met for 1 of 3 lines: other pins of its product go first; it costs nothing" in row["said"]


def test_a_quantity_is_told_by_line():
    lines = open_lines(2, order_id="O", open_quantity=5.0, may_split=True)
    row = only(lines, pools(9.0), {"order_id": "O", "quantity": 2.0})
    assert row["said"].startswith("The pin of 2 units of each line of order O by Ada (fair) rules 2 lines")


@pytest.mark.parametrize("seed", range(971, 976))
def test_numbers_and_statuses_agree_with_a_reading_word_by_word(seed):
    lines, goods, words = a_book(seed)
    table, facts = listed(lines, goods, words, with_facts=True)
    spoken = words.astype(object).where(words.notna(), None).to_dict("records")
    ruling = [ruling_word(line, spoken) for line in lines.to_dict("records")]
    for word in spoken:
        scope = next(s for s in ("order_line_id", "order_id", "customer_id", "product_id") if word[s])
        row = table[(table[scope] == word[scope]) & (table["made_at"] == word["made_at"])]
        assert len(row) == 1, "two words of one minute: choose another seed"
        row = row.iloc[0]
        assert row["n_lines"] == (lines[scope] == word[scope]).sum() * word["holds_today"]
        assert row["n_lines_ruled"] == sum(word in words_of_line for words_of_line in ruling)
        assert (row["status"] == "expired") == (word["until_on"] < pd.Timestamp(TODAY))
        later = [w for w in spoken if w[scope] == word[scope] and w["made_at"] > word["made_at"] and w["holds_today"]]
        if word["holds_today"]:
            assert row["status"].endswith("by a later word") == bool(later)
    assert table["status"].map(list(STATUSES).index).is_monotonic_increasing
    assert facts["n"] == len(words) == sum(facts["by_status"].values())
    assert facts["n_not_priced"] == 0


def test_the_list_has_the_declared_columns_also_without_words():
    table, facts = listed(open_lines(1), pools(1.0), words_said(), with_facts=True)
    assert [(name, str(dtype)) for name, dtype in table.dtypes.items()] == [(c.name, c.dtype) for c in OVERRIDE_COLUMNS]
    assert [len(table), facts["n"], facts["cost"]] == [0, 0, 0.0]


def test_the_order_of_lines_and_words_changes_no_digit():
    lines, goods, words = a_book(981)
    lines = lines.sort_values("order_line_id", ignore_index=True)
    one = listed(lines, goods, words)
    other = listed(lines, goods.sample(frac=1, random_state=1), words.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert np.isfinite(one["cost"]).all()
