"""The evening beside the morning: verdicts unit by unit, money by hand, reasons as planners gave them."""

from datetime import UTC, datetime
from itertools import product

import numpy as np
import pandas as pd
import pytest

from decisions.followed import Units, followed, followed_facts
from decisions.followed_columns import AGAINST, AS_ADVISED, FOLLOWED_COLUMNS, LESS, MORE, VERDICTS, WAITED, WITHDRAWN
from tests.decisions.published_queues import left, published_queue
from tests.decisions.words_said import words_said

EVENING = datetime(2026, 1, 15, 19, tzinfo=UTC)
AFTER, BEFORE = pd.Timestamp("2026-01-15 09:00"), pd.Timestamp("2026-01-15 04:00")


def reviewed(queue, moved=None, words=None):
    table = followed(queue, left() if moved is None else moved, words_said() if words is None else words, EVENING)
    return table.set_index("order_line_id", drop=False)


def unit_by_unit(n_open, n_advised, n_shipped, n_withdrawn):
    """Advised units done, wanted no more and not done, and units beyond: each unit of the line in turn.

    Units of the line are counted off: the first were shipped, the last withdrawn; those in between are wanted still.
    """
    done = min(n_advised, n_shipped)
    still_wanted = sum(1 for unit in range(n_open) if unit >= n_shipped and unit < n_open - n_withdrawn)
    missing = n_advised - done
    not_done = min(missing, still_wanted)
    return done, missing - not_done, not_done, sum(1 for unit in range(n_shipped) if unit >= n_advised)


def test_units_are_divided_as_by_counting_them_off_one_by_one():
    cases = [case for case in product(range(1, 6), range(6), range(6), range(6)) if max(case[1], case[2]) <= case[0]]
    queue = published_queue(
        len(cases),
        open_quantity=[float(case[0]) for case in cases],
        ship_now_quantity=[float(case[1]) for case in cases],
    )
    moved = left(**{f"L{i}": (float(case[2]), float(case[3])) for i, case in enumerate(cases)})
    units = Units.of(queue, moved)
    got = np.stack([units.done, units.withdrawn, units.not_done, units.beyond], axis=1)
    assert got.tolist() == [list(unit_by_unit(*case)) for case in cases]
    assert np.array_equal(units.advised, units.done + units.withdrawn + units.not_done)


@pytest.mark.parametrize(
    ("advised", "moved", "verdict", "money"),
    [
        (10.0, (10.0, 0.0), AS_ADVISED, 0.0),
        (0.0, (0.0, 0.0), WAITED, 0.0),
        (0.0, (0.0, 3.0), WAITED, 0.0),  # cancelled, and nothing was due to it
        (0.0, (4.0, 0.0), AGAINST, 16.0),
        (6.0, (7.0, 0.0), MORE, 4.0),
        (6.0, (2.0, 0.0), LESS, -16.0),
        (6.0, (0.0, 0.0), LESS, -24.0),
        (6.0, (0.0, 10.0), WITHDRAWN, 0.0),
        (6.0, (4.0, 6.0), WITHDRAWN, 0.0),
        (6.0, (0.0, 5.0), LESS, -20.0),  # five are wanted still, and were not shipped
        (4.0, (14.0, 0.0), MORE, 24.0),  # four of them were picked before: what was open counts
    ],
)
def test_each_line_has_its_verdict_and_the_money_of_the_units_that_differ(advised, moved, verdict, money):
    row = reviewed(published_queue(1, ship_now_quantity=advised), left(L0=moved)).loc["L0"]
    assert (row["verdict"], row["money"]) == (verdict, money)
    assert row["shipped_quantity"] == min(moved[0], 10.0)


def test_totals_add_up_and_goods_of_the_pools_that_went_to_other_lines_are_counted():
    queue = published_queue(4, ship_now_quantity=[10.0, 10.0, 4.0, 0.0], loss_if_waits=[40.0, 30.0, 20.0, 10.0])
    moved = left(L0=(10.0, 0.0), L1=(0.0, 8.0), L3=(5.0, 0.0), new=(3.0, 0.0), elsewhere=(9.0, 0.0))
    moved.loc[moved["order_line_id"] == "elsewhere", "product_id"] = "q"
    said = followed_facts(queue, moved, reviewed(queue, moved))
    assert said["advised"] == {"lines": 3, "units": 24.0, "money": 40 + 30 + 8}
    assert said["advised_and_done"] == {"lines": 1, "units": 10.0, "money": 40.0}
    assert said["advised_not_done"] == {"lines": 2, "units": 6.0, "money": 6 + 8}
    assert said["advised_withdrawn"] == {"lines": 1, "units": 8.0, "money": 24.0}
    assert said["done_against_advice"] == {"lines": 1, "units": 5.0, "money": 5.0}
    assert said["money"] == 5 - (6 + 8)
    assert said["shipped_to_other_lines"] == {"lines": 1, "units": 3.0}
    assert said["verdicts"] == dict.fromkeys(VERDICTS, 0) | {AGAINST: 1, LESS: 2, AS_ADVISED: 1}
    assert (said["deviations"], said["deviations_with_reason"]) == (3, 0)


def test_the_reason_is_the_narrowest_then_latest_word_after_the_morning_that_names_the_line():
    queue = published_queue(4, customer_id=["c0", "c1", "c1", None], order_id=["o", "o", "x", "y"])
    words = words_said(
        {"order_line_id": "L0", "action": "pin", "why": "before the morning", "made_at": BEFORE},
        {"order_id": "o", "action": "hold", "why": "the order", "made_at": AFTER},
        {"customer_id": "c1", "action": "pin", "why": "the customer", "made_at": AFTER + pd.Timedelta(hours=2)},
        {"order_id": "o", "action": "pin", "who": "Bo", "why": "later", "made_at": AFTER + pd.Timedelta(hours=1)},
    )
    rows = reviewed(queue, words=words.sample(frac=1, random_state=2))
    assert rows["why"].fillna("none").to_dict() == {"L0": "later", "L1": "later", "L2": "the customer", "L3": "none"}
    assert rows.loc["L0", ["action", "who"]].tolist() == ["pin", "Bo"]
    moved = left(L0=(10.0, 0.0), L3=(10.0, 0.0))
    said = followed_facts(queue, moved, reviewed(queue, moved, words))
    assert (said["deviations"], said["deviations_with_reason"]) == (2, 1)


def test_deviations_stand_first_by_the_size_of_their_money_then_the_rest_by_rank():
    queue = published_queue(4, ship_now_quantity=[0.0, 10.0, 10.0, 0.0], loss_if_waits=[40.0, 30.0, 50.0, 35.0])
    rows = reviewed(queue, left(L1=(10.0, 0.0), L3=(10.0, 0.0)))
    assert rows.index.tolist() == ["L2", "L3", "L0", "L1"]
    assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == {c.name: c.dtype for c in FOLLOWED_COLUMNS}
    assert (rows["shipped_by_at"] == pd.Timestamp("2026-01-15 19:00")).all()


def test_the_order_of_rows_does_not_matter():
    draw = np.random.default_rng(0)
    queue = published_queue(30, ship_now_quantity=draw.choice([0.0, 5.0, 10.0], 30), loss_if_waits=draw.random(30))
    moved = left(**{f"L{i}": (float(draw.integers(0, 10)), float(draw.integers(0, 10))) for i in range(0, 40, 2)})
    one = followed(queue, moved, words_said(), EVENING)
    shuffled = [frame.sample(frac=1, random_state=4) for frame in (queue, moved)]
    other = followed(*shuffled, words_said(), EVENING)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert followed_facts(queue, moved, one) == followed_facts(*shuffled, other)


def test_a_morning_without_lines_has_nothing_to_follow():
    empty = published_queue(0)
    table = followed(empty, left(L0=(1.0, 0.0)), words_said({"order_line_id": "L0"}), EVENING)
    assert table.empty
    assert followed_facts(empty, left(L0=(1.0, 0.0)), table)["advised"] == {"lines": 0, "units": 0.0, "money": 0.0}
