"""Ready rules on past mornings: each serves whom its name says."""

import numpy as np
import pandas as pd

from decisions.outlooks import Outlooks
from decisions.policy import Policy
from decisions.replay import replay
from decisions.replay_rules import (
    as_published,
    by_line_value,
    by_loss_if_waits,
    by_promise_date,
    by_typed_priority,
    first_come_first_served,
)
from tests.decisions.past_mornings import (
    FIRST,
    Watched,
    past_of,
    two_lines,
)

KAPPA_ONLY = Policy(cancel_lost_share=0.1, late_lost_share=0)


def given_first(past, rule):
    """Lines that get the one unit of the first morning."""
    watched = Watched(rule)
    replay(past, {"rule": watched}, KAPPA_ONLY, 1)
    return watched.mornings[0].lines["order_line_id"][watched.units[0] > 0].tolist()


def test_each_plain_rank_serves_whom_it_names():
    days = pd.to_timedelta([3, 1], unit="D")
    assert given_first(two_lines(ordered_at=FIRST - days), first_come_first_served) == ["L0"]
    assert given_first(two_lines(ordered_at=FIRST - days[::-1]), first_come_first_served) == ["L1"]
    assert given_first(two_lines(promised_on=[pd.NaT, FIRST]), by_promise_date) == ["L1"]
    assert given_first(two_lines(priority_class=[np.nan, 3.0]), by_typed_priority) == ["L1"]
    assert given_first(two_lines(line_value=[100.0, 101.0]), by_line_value) == ["L1"]
    assert given_first(two_lines(), by_line_value) == ["L0"]  # alike: the smaller id
    assert given_first(two_lines(due_on=FIRST - days[::-1]), by_line_value) == ["L1"]  # the earlier due day


def foreseen(past, **columns):
    return Outlooks(past.yardstick.rows.assign(wait_days=10.0, **columns), past.yardstick.survival)


def test_the_cost_of_waiting_gives_the_unit_to_a_unless_later_goods_are_dear():
    past = two_lines()
    assert given_first(past, by_loss_if_waits(foreseen(past), 0.0, KAPPA_ONLY)) == ["L0"]
    # A is wanted by then with chance .737, B with .904: 18.38 + .737 v against 8.61 + .904 v, alike at v = 58.5.
    for price, first in ((55.0, "L0"), (62.0, "L1")):
        dear = by_loss_if_waits(foreseen(past, later_price=price), 0.0, KAPPA_ONLY)
        assert given_first(past, dear) == [first]


def test_a_line_that_was_not_foreseen_waits_for_those_that_were():
    past = two_lines()
    said = foreseen(past)
    only_b = Outlooks(said.rows[1:].reset_index(drop=True), said.survival[1:])
    assert given_first(past, by_loss_if_waits(only_b, 0.0, KAPPA_ONLY)) == ["L1"]


def test_a_published_queue_is_given_out_as_published_then_by_rank():
    queues = pd.DataFrame(
        {
            "made_on": [FIRST, FIRST, FIRST],
            "order_line_id": ["L0", "L1", "L2"],
            "rank": [1, 2, 3],
            "ship_now_quantity": [0.0, 0.0, 2.0],
        }
    )
    past = past_of(4, np.ones((4, 9)), [("p", 0, 3), ("p", 1, 1)], 3, open_quantity=[1.0, 1.0, 2.0, 1.0])
    watched = Watched(as_published(queues))
    replay(past, {"published": watched}, KAPPA_ONLY, 1)
    assert watched.units[0].tolist() == [1, 0, 2, 0]
    assert watched.units[1].tolist() == [1, 0]  # L1 by its last rank; L3 was never named
