"""Which ship groups block, and what they lack, case by case."""

import pandas as pd
import pytest

from decisions.blocking_groups import blocking_groups
from tests.decisions.published_queues import day, published_queue


def blocking(queue, group="g", elsewhere=False, credit_hold=False):
    lines = queue[["order_line_id"]].assign(ship_group=group, group_waits_elsewhere=elsewhere, credit_hold=credit_hold)
    rows = blocking_groups(queue, lines.sample(frac=1, random_state=0))
    return {row["ship_group"]: row for row in rows.to_dict("records")}


def test_a_group_with_goods_idle_for_one_line_and_none_for_the_other_says_what_is_missing():
    queue = published_queue(2, product_id=["p", "q"], available_now=[12.0, 3.0], next_inbound_on=[day(2), day(5)])
    row = blocking(queue)["g"]
    assert (row["product_id"], row["warehouse_id"], row["money"]) == ("q", "w", 80.0)
    assert row["said"] == (
        "2 lines of this ship group wait for 7 more of q in w, expected on 2026-01-20; 13 units lie idle for it."
    )
    assert row["do"] == "hasten the missing goods, or part the group"


def test_goods_that_others_take_are_not_idle():
    queue = published_queue(
        3, product_id=["p", "q", "p"], available_now=[10.0, 0.0, 10.0], ship_now_quantity=[0.0, 0.0, 10.0]
    )
    assert blocking(queue, group=["g", "g", None]) == {}, "it waits for two products, and nothing lies ready"


def test_two_lines_of_a_group_that_want_the_same_goods_share_what_is_idle():
    queue = published_queue(2, available_now=15.0)
    assert "wait for 5 more of p in w, of which none is expected; 15 units lie idle" in blocking(queue)["g"]["said"]


def test_a_group_that_lacks_one_product_alone_is_listed_even_where_nothing_is_idle():
    queue = published_queue(2, available_now=0.0)
    assert "20 more of p in w" in blocking(queue)["g"]["said"]
    assert "idle" not in blocking(queue)["g"]["said"]
    assert blocking(published_queue(1)) == {}, "a line alone just waits for its goods"


@pytest.mark.parametrize(
    ("columns", "given", "cause", "do"),
    [
        ({"override": ["hold", None]}, {}, "L0, which may not ship", "lift the hold"),
        ({}, {"credit_hold": [True, False]}, "L0, which may not ship", "lift the hold"),
        ({}, {"elsewhere": True}, "a line of it that is not due yet or was set aside", "take that line out"),
    ],
)
def test_a_group_that_has_its_goods_and_waits_for_a_line_that_may_not_ship_names_it(columns, given, cause, do):
    queue = published_queue(2, available_now=20.0, **columns)
    row = blocking(queue, **given)["g"]
    assert f"wait for {cause}; 20 units lie idle for it." in row["said"]
    assert row["do"].startswith(do)
    assert pd.isna(row["product_id"])


def test_groups_that_leave_and_groups_held_as_a_whole_do_not_block():
    leaves = published_queue(2, available_now=20.0, ship_now_quantity=10.0)
    assert blocking(leaves) == {}
    assert blocking(published_queue(2, available_now=20.0, override="hold")) == {}
    assert blocking(published_queue(2, available_now=20.0), group=None) == {}
    assert blocking(published_queue(0), group=None) == {}
