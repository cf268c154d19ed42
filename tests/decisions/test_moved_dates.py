"""Which dates moved since the last queue, case by case."""

import pandas as pd
import pytest

from decisions.moved_dates import moved_dates
from decisions.policy import Policy
from tests.decisions.open_lines import NO_DAY
from tests.decisions.published_queues import day, published_queue, the_day_before

WHY = "2026-01-10, the date told, has passed"


def moved(now, then=None, **policy):
    """Rows by order_line_id; the one of dates to tell by its kind."""
    rows = moved_dates(now, then, now["loss_if_waits"], Policy(**policy))
    if rows.empty:
        return {}
    keys = rows["order_line_id"].fillna(rows["kind"])
    return dict(zip(keys, rows.to_dict("records"), strict=True))


def dated(expected, promise=None, why=None, **columns):
    promise = expected if promise is None else promise
    dates = {"expected_on": expected, "promise_on": promise, "promise_changed_because": why}
    return published_queue(1, **dates, **columns)


def test_a_date_told_that_held_yesterday_and_does_so_no_more_has_moved_by_however_little():
    then = the_day_before(dated(day(5), day(6)))
    rows = moved(dated(day(5), day(7), WHY), then)
    assert list(rows) == ["L0"]
    assert rows["L0"]["said"] == f"Expected to ship on 2026-01-20; the date to tell is 2026-01-22: {WHY}."
    assert rows["L0"]["money"] == 40.0
    assert rows["L0"]["do"] == "tell the customer the date to tell"


@pytest.mark.parametrize(("days", "is_listed"), [(7, False), (8, True), (-7, False), (-8, True)])
def test_an_expected_day_has_moved_if_it_is_further_off_than_the_policy_lets_dates_be(days, is_listed):
    then = the_day_before(dated(day(20), day(40)))
    rows = moved(dated(day(20 + days), day(40)), then)
    assert ("L0" in rows) == is_listed
    if is_listed:
        assert "before on 2026-02-04; the date told still holds." in rows["L0"]["said"]
        assert rows["L0"]["do"] == "nothing, if the new date will do"
    assert "L0" in moved(dated(day(20 + days), day(40)), then, promise_move_days=3)


def test_a_day_that_is_known_no_more_has_moved():
    then = the_day_before(dated(day(20), day(40)))
    rows = moved(dated(NO_DAY, NO_DAY, WHY), then)
    said = f"Expected to ship on no known day, before on 2026-02-04; no date can be told: {WHY}."
    assert rows["L0"]["said"] == said


def test_a_date_to_tell_that_was_news_yesterday_is_no_new_exception_while_it_stays():
    then = the_day_before(dated(day(20), day(30), WHY))
    rows = moved(dated(day(21), day(32), WHY), then)
    assert list(rows) == ["dates_to_tell"]
    assert rows["dates_to_tell"]["money"] == 40.0
    assert rows["dates_to_tell"]["said"].startswith("1 line has a date to tell that is not the one told last")
    assert "L0" in moved(dated(day(21), day(38), WHY), then), "eight days further off"


@pytest.mark.parametrize("action", ["ship", "hold"])
def test_a_line_that_ships_or_is_held_is_said_elsewhere(action):
    then = the_day_before(dated(day(20), day(30)))
    assert moved(dated(day(0), day(0), WHY, action=action), then) == {}


def test_a_line_that_was_held_or_is_new_has_no_date_that_moved():
    now = dated(day(5), day(9), WHY)
    assert list(moved(now, the_day_before(dated(NO_DAY, NO_DAY, action="hold")))) == ["dates_to_tell"]
    assert list(moved(now, the_day_before(published_queue(0)))) == ["dates_to_tell"]


def test_without_a_last_queue_all_that_must_be_told_stands_in_one_row():
    now = published_queue(3, promise_on=day(9), promise_changed_because=[WHY, None, WHY], expected_on=day(5))
    rows = moved(now)
    assert list(rows) == ["dates_to_tell"]
    assert rows["dates_to_tell"]["money"] == 80.0
    said = "2 lines have a date to tell that is not the one told last, or no date any more."
    assert rows["dates_to_tell"]["said"] == said
    assert moved(published_queue(0)) == {}
    assert pd.DataFrame(rows.values())["order_line_id"].isna().all()
