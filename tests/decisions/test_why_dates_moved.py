"""Which of a line's dates moved since the last queue, and the causes that are said."""

import pandas as pd
import pytest

from decisions.why_dates_moved import date_moves

DAYS = ("expected_on", "expected_latest_on", "promise_on", "next_inbound_on")


def row(**changed):
    days = {name: pd.Timestamp("2026-01-20") for name in DAYS}
    usual = {
        "action": "wait",
        "ship_now_quantity": 0.0,
        "available_now": 5.0,
        "pool_rank": 3,
        "open_quantity": 4.0,
        "override": None,
        "next_inbound_po_line_id": "PO1",
        "promise_changed_because": None,
    }
    return pd.Series({**days, **usual, **changed}, dtype=object)


def test_dates_that_stay_or_stay_unknown_have_not_moved():
    assert date_moves(row(), row(), model_changed=True) == ()
    assert date_moves(row(promise_on=pd.NaT), row(promise_on=pd.NaT), model_changed=True) == ()


def test_a_move_is_counted_in_days_and_a_date_that_came_or_went_is_not():
    (later,) = date_moves(row(expected_on=pd.Timestamp("2026-01-23")), row(), model_changed=False)
    assert (later.name, later.days) == ("expected_on", 3)
    (gone,) = date_moves(row(expected_on=pd.NaT), row(), model_changed=False)
    assert (gone.before, gone.now, gone.days) == (pd.Timestamp("2026-01-20"), None, None)
    (found,) = date_moves(row(), row(expected_on=pd.NaT), model_changed=False)
    assert (found.before, found.now) == (None, pd.Timestamp("2026-01-20"))


@pytest.mark.parametrize(
    ("now", "then", "because"),
    [
        ({"ship_now_quantity": 2.0, "action": "ship_part"}, {}, "it gets goods now"),
        ({}, {"ship_now_quantity": 4.0}, "it lost goods that the last queue gave it"),
        ({"available_now": 8.0}, {}, "goods here rose by 3"),
        ({"available_now": 0.0}, {}, "goods here fell by 5"),
        ({"next_inbound_po_line_id": "PO2"}, {}, "another inbound line is next"),
        ({"pool_rank": 5}, {}, "its place in the pool went from 3 to 5"),
        ({"open_quantity": 2.0}, {}, "its open quantity went from 4 to 2"),
        ({"override": "hold"}, {}, "a planner's word was set or lifted"),
        ({"pool_rank": 1, "available_now": 6.0}, {}, "goods here rose by 1; its place in the pool went from 3 to 1"),
        ({}, {}, "days have passed, and lines ahead of it or later goods are foreseen differently"),
        ({"action": "ship"}, {"action": "ship"}, "it had its goods in the last queue, too, and has not left"),
    ],
)
def test_why_the_expected_day_moved(now, then, because):
    (move,) = date_moves(row(expected_on=pd.Timestamp("2026-01-21"), **now), row(**then), model_changed=False)
    assert move.because == because


def test_the_next_goods_move_by_their_own_causes_alone_and_the_models_are_named():
    later = {"next_inbound_on": pd.Timestamp("2026-01-25")}
    (move,) = date_moves(row(**later, pool_rank=9), row(), model_changed=False)
    assert move.because == "the same goods are foreseen for another day"
    (move,) = date_moves(row(**later, next_inbound_po_line_id=None), row(), model_changed=True)
    assert move.because == "another inbound line is next; the models changed"


def test_a_date_to_tell_moves_for_the_reason_that_the_queue_gives():
    moved = row(promise_on=pd.Timestamp("2026-01-30"), promise_changed_because="PO1 is late", pool_rank=9)
    (move,) = date_moves(moved, row(), model_changed=False)
    assert (move.name, move.because) == ("promise_on", "PO1 is late")
