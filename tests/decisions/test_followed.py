"""The evening beside the morning: verdicts and money by hand, reasons as planners gave them."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from decisions.day_units import Day
from decisions.followed import followed, followed_facts
from decisions.followed_columns import (
    AGAINST,
    AS_ADVISED,
    FOLLOWED_COLUMNS,
    IN_TURN,
    LESS,
    MORE,
    NO_GOODS,
    OUT_OF_TURN,
    PASSED_OVER,
    VERDICTS,
    WAITED,
    WITHDRAWN,
)
from tests.decisions.published_queues import day_of, left, published_queue
from tests.decisions.words_said import words_said

EVENING = datetime(2026, 1, 15, 19, tzinfo=UTC)
AFTER, BEFORE = pd.Timestamp("2026-01-15 09:00"), pd.Timestamp("2026-01-15 04:00")


def said(*words):
    """Words as they are known in the evening: each a dict, with lifted_at if it was taken back."""
    lifted = pd.Series([word.pop("lifted_at", pd.NaT) for word in words], dtype="datetime64[us]")
    return words_said(*words).assign(lifted_at=lifted)


def reviewed(queue, moved=None, words=None, **day):
    told = day_of(queue, left() if moved is None else moved, **day)
    return followed(queue, told, said() if words is None else words, EVENING).set_index("order_line_id", drop=False)


@pytest.mark.parametrize(
    ("advised", "moved", "shelf", "verdict", "money"),
    [
        (10.0, (10.0, 0.0), 0.0, AS_ADVISED, 0.0),
        (0.0, (0.0, 0.0), 0.0, WAITED, 0.0),
        (0.0, (0.0, 3.0), 0.0, WAITED, 0.0),  # cancelled, and nothing was due to it
        (0.0, (4.0, 0.0), 0.0, IN_TURN, 0.0),  # four came, and nobody stands before it
        (6.0, (7.0, 0.0), 0.0, IN_TURN, 0.0),
        (6.0, (2.0, 0.0), 4.0, LESS, -16.0),
        (6.0, (0.0, 0.0), 9.0, LESS, -24.0),
        (6.0, (2.0, 0.0), 0.0, NO_GOODS, 0.0),  # the count was wrong: nothing is there
        (6.0, (2.0, 0.0), 1.0, LESS, -4.0),  # for three there was nothing, one lies there
        (6.0, (0.0, 10.0), 6.0, WITHDRAWN, 0.0),
        (6.0, (4.0, 6.0), 2.0, WITHDRAWN, 0.0),
        (6.0, (0.0, 5.0), 6.0, LESS, -20.0),  # five are wanted still, and were not shipped
        (4.0, (14.0, 0.0), 0.0, IN_TURN, 0.0),  # four of them were picked before: what was open counts
    ],
)
def test_each_line_has_its_verdict_and_the_money_of_the_units_that_deviate(advised, moved, shelf, verdict, money):
    row = reviewed(published_queue(1, ship_now_quantity=advised), left(L0=moved), shelf=shelf).loc["L0"]
    assert (row["verdict"], row["money"]) == (verdict, money)
    assert row["shipped_quantity"] == min(moved[0], 10.0)


def test_goods_of_an_advised_line_that_left_for_others_are_against_the_advice_and_both_lines_say_it():
    queue = published_queue(3, ship_now_quantity=[10.0, 4.0, 0.0], loss_if_waits=[40.0, 30.0, 20.0])
    rows = reviewed(queue, left(L1=(9.0, 0.0), L2=(5.0, 0.0)))
    assert rows["verdict"].to_dict() == {"L0": LESS, "L1": MORE, "L2": AGAINST}
    assert rows["money"].to_dict() == {"L0": -40.0, "L1": 15.0, "L2": 10.0}


def test_goods_that_came_are_no_deviation_by_rank_and_cost_what_the_line_passed_over_loses_out_of_turn():
    queue = published_queue(3, loss_if_waits=[40.0, 30.0, 20.0])
    by_rank = reviewed(queue, left(L0=(10.0, 0.0), L1=(2.0, 0.0)))
    assert by_rank["verdict"].to_dict() == {"L0": IN_TURN, "L1": IN_TURN, "L2": WAITED}
    assert (by_rank["money"] == 0).all()
    past = reviewed(queue, left(L0=(8.0, 0.0), L2=(4.0, 0.0)))
    assert past["verdict"].to_dict() == {"L2": OUT_OF_TURN, "L0": PASSED_OVER, "L1": PASSED_OVER}
    assert past["money"].to_dict() == {"L2": 8.0, "L0": -8.0, "L1": -6.0}
    reached = reviewed(queue, left(L0=(8.0, 0.0), L2=(4.0, 0.0)), shelf=3.0)  # it can have its two of what lies there
    assert reached["money"].to_dict() == {"L2": 8.0, "L1": -12.0, "L0": 0.0}


def test_totals_add_up_and_goods_of_the_pools_that_went_to_other_lines_are_counted():
    advised, losses = [10.0, 10.0, 4.0, 0.0, 0.0], [40.0, 30.0, 20.0, 10.0, 5.0]
    queue = published_queue(5, ship_now_quantity=advised, loss_if_waits=losses, available_now=24.0)
    moved = left(L0=(10.0, 0.0), L1=(0.0, 8.0), L3=(5.0, 0.0), L4=(6.0, 0.0), new=(3.0, 0.0), elsewhere=(9.0, 0.0))
    moved.loc[moved["order_line_id"] == "elsewhere", "product_id"] = "q"
    day = day_of(queue, moved, shelf=1.0)
    told = followed_facts(queue, day, followed(queue, day, said(), EVENING))
    assert told["advised"] == {"lines": 3, "units": 24.0, "money": 40 + 30 + 8}
    assert told["advised_and_done"] == {"lines": 1, "units": 10.0, "money": 40.0}
    assert told["advised_not_done"] == {"lines": 2, "units": 6.0, "money": 6 + 8}
    assert told["advised_withdrawn"] == {"lines": 1, "units": 8.0, "money": 24.0}
    assert told["goods"] == {
        "morning": 24.0,
        "came": 1.0,
        "left_for_the_queue": 21.0,
        "left_for_others": 3.0,
        "on_the_shelf": 1.0,
    }
    # Nine units were free: six for the third line, three for the fourth. Eleven left, so two were meant for others.
    assert told["later_goods_in_turn"] == {"lines": 1, "units": 3.0, "money": 3.0}
    assert told["done_against_advice"] == {"lines": 1, "units": 2.0, "money": 1.0}
    assert told["later_goods_out_of_turn"] == {"lines": 2, "units": 6.0, "money": 2 + 2}
    assert told["passed_over"] == {"lines": 1, "units": 6.0, "money": 12.0}
    assert told["money"] == (1 + 4) - (6 + 8) - 12
    assert told["shipped_to_other_lines"] == {"lines": 1, "units": 3.0}
    verdicts = {AGAINST: 1, LESS: 2, AS_ADVISED: 1, OUT_OF_TURN: 1}
    assert told["verdicts"] == dict.fromkeys(VERDICTS, 0) | verdicts
    assert (told["deviations"], told["deviations_with_reason"]) == (4, 0)


def test_the_reason_is_the_narrowest_then_latest_word_after_the_morning_that_names_the_line():
    queue = published_queue(4, customer_id=["c0", "c1", "c1", None], order_id=["o", "o", "x", "y"])
    words = said(
        {"order_line_id": "L0", "action": "pin", "why": "before the morning", "made_at": BEFORE},
        {"order_id": "o", "action": "hold", "why": "the order", "made_at": AFTER},
        {"customer_id": "c1", "action": "pin", "why": "the customer", "made_at": AFTER + pd.Timedelta(hours=2)},
        {"order_id": "o", "action": "pin", "who": "Bo", "why": "later", "made_at": AFTER + pd.Timedelta(hours=1)},
    )
    rows = reviewed(queue, words=words.sample(frac=1, random_state=2))
    assert rows["why"].fillna("none").to_dict() == {"L0": "later", "L1": "later", "L2": "the customer", "L3": "none"}
    assert rows.loc["L0", ["action", "who"]].tolist() == ["pin", "Bo"]
    moved = left(L0=(10.0, 0.0), L3=(10.0, 0.0))
    day = day_of(queue, moved)
    told = followed_facts(queue, day, followed(queue, day, words, EVENING))
    assert (told["deviations"], told["deviations_with_reason"]) == (2, 1)


def test_deviations_stand_first_by_the_size_of_their_money_then_the_rest_by_rank():
    queue = published_queue(4, ship_now_quantity=[0.0, 10.0, 10.0, 0.0], loss_if_waits=[40.0, 30.0, 50.0, 35.0])
    rows = reviewed(queue, left(L1=(10.0, 0.0), L3=(10.0, 0.0)))
    assert rows.index.tolist() == ["L2", "L3", "L0", "L1"]
    assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == {c.name: c.dtype for c in FOLLOWED_COLUMNS}
    assert (rows["shipped_by_at"] == pd.Timestamp("2026-01-15 19:00")).all()


def test_a_word_that_was_lifted_is_the_reason_if_it_held_when_the_last_goods_left_or_none_did():
    queue = published_queue(4)
    moved = left(L0=(1.0, 0.0), L1=(1.0, 0.0), L2=(1.0, 0.0))
    moved["last_left_at"] = pd.Series([AFTER + pd.Timedelta(hours=3)] * 2 + [pd.NaT], dtype="datetime64[us]")
    hours = {"L0": 4, "L1": 2, "L2": 2, "L3": 2}  # of L2 nobody knows when its goods were picked
    words = [
        {"order_line_id": line, "why": "a rush", "made_at": AFTER, "lifted_at": AFTER + pd.Timedelta(hours=n)}
        for line, n in hours.items()
    ]
    why = reviewed(queue, moved, said(*words))["why"]
    assert why.fillna("none").to_dict() == {"L0": "a rush", "L1": "none", "L2": "a rush", "L3": "a rush"}


def test_the_order_of_rows_does_not_matter():
    draw = np.random.default_rng(0)
    queue = published_queue(30, ship_now_quantity=draw.choice([0.0, 5.0, 10.0], 30), loss_if_waits=draw.random(30))
    moved = left(**{f"L{i}": (float(draw.integers(0, 10)), float(draw.integers(0, 10))) for i in range(0, 40, 2)})
    day = day_of(queue, moved, shelf=20.0)
    one = followed(queue, day, said(), EVENING)
    shuffled, left_too, turns = (frame.sample(frac=1, random_state=4) for frame in (queue, moved, day.turns))
    same = Day(left_too, day.shelf, turns)
    other = followed(shuffled, same, said(), EVENING)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert followed_facts(queue, day, one) == followed_facts(shuffled, same, other)


def test_a_morning_without_lines_has_nothing_to_follow():
    empty = published_queue(0)
    day = day_of(empty, left(L0=(1.0, 0.0)))
    table = followed(empty, day, said({"order_line_id": "L0"}), EVENING)
    assert table.empty
    assert followed_facts(empty, day, table)["advised"] == {"lines": 0, "units": 0.0, "money": 0.0}
