"""Which lines wait whole beside idle goods, and what a part of them would save."""

import numpy as np
import pytest

from decisions.whole_lines import whole_lines
from tests.decisions.published_queues import published_queue


def listed(queue, may_split=False, group=None, credit_hold=False, step=1.0):
    lines = queue[["order_line_id"]].assign(
        ship_group=group, credit_hold=credit_hold, may_split=may_split, quantity_step=step
    )
    rows = whole_lines(queue, lines.sample(frac=1, random_state=0), "EUR")
    return {row["order_line_id"]: row for row in rows.to_dict("records")}


def test_a_line_that_ships_whole_beside_idle_goods_says_what_a_part_would_save():
    queue = published_queue(2, available_now=12.0, ship_now_quantity=[0.0, 5.0], open_quantity=[10.0, 5.0])
    row = listed(queue)["L0"]
    assert row["money"] == pytest.approx(40 * 7 / 10)
    assert row["said"] == (
        "7 units lie idle while it waits for 10, as it ships only in whole; sent today they would save 28.00 EUR."
    )


def test_idle_goods_are_dealt_once_to_the_lines_that_lose_most_per_unit_in_their_steps():
    queue = published_queue(3, available_now=8.0, open_quantity=[10.0, 9.0, 12.0], loss_if_waits=[40.0, 90.0, 12.0])
    assert {name: row["money"] for name, row in listed(queue).items()} == {"L1": pytest.approx(80.0)}
    by_dozens = listed(published_queue(1, available_now=30.0, open_quantity=48.0), step=12.0)
    assert by_dozens["L0"]["money"] == pytest.approx(40 * 24 / 48)
    assert listed(published_queue(1, available_now=30.0, open_quantity=48.0), step=36.0) == {}


@pytest.mark.parametrize(
    ("columns", "given"),
    [
        ({}, {"may_split": True}),
        ({}, {"group": "g"}),
        ({}, {"credit_hold": True}),
        ({"override": "hold"}, {}),
        ({"available_now": 0.0}, {}),
        ({"available_now": 11.0}, {}),  # it would fit: something else keeps it
        ({"loss_if_waits": -3.0}, {}),
        ({"ship_now_quantity": 10.0}, {}),
    ],
)
def test_a_line_for_which_splitting_is_no_remedy_is_not_listed(columns, given):
    assert listed(published_queue(1, **({"available_now": 4.0} | columns)), **given) == {}
    assert list(listed(published_queue(1, available_now=4.0))) == ["L0"]


def test_no_lines_are_no_trouble():
    assert listed(published_queue(0)) == {}
    assert np.size(list(listed(published_queue(0)))) == 0
