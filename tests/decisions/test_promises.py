"""Dates to tell: from the day the goods come to a working day, kept once they were told, moved for a reason."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from decisions.chances import N_SCENARIOS, Chances
from decisions.policy import Policy
from decisions.promises import promised, when_lines_ship
from decisions.working_days import WorkCalendar
from tests.decisions.open_lines import NO_DAY, TODAY, open_lines, wanted_at_daily_hazard

EVERY_DAY = WorkCalendar()
POOL = pd.DataFrame({"product_id": ["p"], "warehouse_id": ["w"], "available_now": [0.0]})
NOTHING_PEGGED = (np.zeros((0, N_SCENARIOS)), np.zeros(0), np.zeros(0, dtype=object))
CALM = POOL.assign(units_per_day=0.0, units_per_line=1.0)


def day(number):
    return pd.Timestamp(TODAY) + pd.Timedelta(days=number)


def come(days, quantity=100.0):
    """One chance of the pool; days by scenario."""
    when = np.broadcast_to(np.asarray(days, dtype=float), (1, 1, N_SCENARIOS))
    return Chances(POOL.iloc[:, :2], when, np.full(when.shape, quantity), *NOTHING_PEGGED)


def ships(lines, chances, calendar=EVERY_DAY, policy=None):
    lines = lines.assign(ship_now_quantity=lines.get("ship_now_quantity", 0.0), pool_rank=np.arange(len(lines)) + 1)
    wanted = wanted_at_daily_hazard(*[0.0] * len(lines))
    return when_lines_ship(lines, wanted, chances, CALM, calendar, policy or Policy())


def test_goods_leave_the_morning_after_they_come_and_on_a_working_day():
    # TODAY is a Thursday: goods of Friday leave on Saturday, or on Monday where nobody works then, or after a holiday.
    friday = come(1)
    weekdays = WorkCalendar((0, 1, 2, 3, 4))
    festive = WorkCalendar((0, 1, 2, 3, 4), (date(2026, 1, 19),))
    got = [ships(open_lines(1), friday, calendar)["ship_days"].item() for calendar in (EVERY_DAY, weekdays, festive)]
    assert got == [2, 4, 5]
    assert ships(open_lines(1), friday, policy=Policy(receiving_days=0))["ship_days"].item() == 1
    here = open_lines(1, ship_now_quantity=1.0)
    assert ships(here, friday)["ship_days"].item() == 0


def test_the_median_and_the_promise_are_quantiles_of_the_scenarios():
    spread = come(np.arange(N_SCENARIOS) + 1)
    got = ships(open_lines(1), spread, policy=Policy(late_promise_cost_per_day=3, receiving_days=0)).iloc[0]
    assert got["ship_days"] == N_SCENARIOS / 2
    assert got["latest_ship_days"] == N_SCENARIOS * 3 / 4
    assert got["latest_chance"] == 0.75


def test_the_chance_of_a_date_told_is_the_share_of_scenarios_that_meet_it():
    spread = come(np.arange(N_SCENARIOS) + 1)
    lines = open_lines(3, latest_promised_on=[day(N_SCENARIOS // 4), day(-3), pd.NaT])
    chance = ships(lines, spread, policy=Policy(receiving_days=0))["told_chance"]
    assert chance.tolist()[:2] == [0.25, 0.0]
    assert np.isnan(chance[2])


def test_beyond_the_days_foreseen_there_is_no_date():
    sometimes = np.where(np.arange(N_SCENARIOS) < N_SCENARIOS * 0.7, 9.0, np.inf)
    got = ships(open_lines(1), come(sometimes)).iloc[0]
    assert got["ship_days"] == 10
    assert np.isnan(got["latest_ship_days"])


def test_dates_follow_the_ranks_and_a_ship_group_its_last_line():
    draw = np.random.default_rng(3)
    lines = open_lines(30, open_quantity=draw.integers(1, 9, 30).astype(float))
    several = Chances(
        POOL.iloc[:, :2],
        np.sort(draw.integers(1, 50, (1, 4, N_SCENARIOS)), axis=1).astype(float),
        draw.integers(10, 60, (1, 4, N_SCENARIOS)).astype(float),
        *NOTHING_PEGGED,
    )
    for name in ("ship_days", "latest_ship_days"):
        dates = ships(lines, several)[name].fillna(np.inf).to_numpy()
        assert (dates[1:] >= dates[:-1]).all()
        assert len(np.unique(dates)) > 3
    grouped = lines.assign(ship_group=[None] * 2 + ["g"] + [None] * 20 + ["g"] + [None] * 6)
    alone, together = ships(lines, several)["ship_days"], ships(grouped, several)["ship_days"]
    assert alone[2] < alone[23]
    assert together[2] == together[23] >= alone[23]
    assert together.drop([2, 23]).equals(alone.drop([2, 23]))  # lines behind do not wait for the group


def test_a_ship_group_leaves_by_a_date_only_if_both_lines_can():
    # Two pools whose goods come by day 10 with one half each, by chances of their own: together with a quarter.
    pools = pd.concat([POOL, POOL.assign(product_id="q")], ignore_index=True)
    when = np.full((2, 1, N_SCENARIOS), 20.0)
    when[0, 0, : N_SCENARIOS // 2] = 10
    when[1, 0, N_SCENARIOS // 4 : N_SCENARIOS * 3 // 4] = 10
    lines = open_lines(2, product_id=["p", "q"], latest_promised_on=day(11), ship_now_quantity=0.0, pool_rank=1)
    chances = Chances(pools.iloc[:, :2], when, np.full(when.shape, 9.0), *NOTHING_PEGGED)
    asked = (wanted_at_daily_hazard(0, 0), chances, pools.assign(units_per_day=0.0, units_per_line=1.0), EVERY_DAY)
    alone = when_lines_ship(lines, *asked, Policy())
    both = when_lines_ship(lines.assign(ship_group="g"), *asked, Policy())
    assert alone["told_chance"].tolist() == [0.5, 0.5]
    assert both["told_chance"].tolist() == [0.25, 0.25]
    assert both["ship_days"].tolist() == [21, 21]
    held = when_lines_ship(lines.assign(ship_group="g", credit_hold=[False, True]), *asked, Policy())
    assert held["ship_days"].isna().all()  # one of them may have no goods


def test_row_order_changes_no_date():
    lines = open_lines(9, open_quantity=np.arange(1.0, 10.0)).assign(pool_rank=np.arange(9) + 1, ship_now_quantity=0.0)
    wanted, chances = wanted_at_daily_hazard(*np.arange(9) / 50), come(np.arange(N_SCENARIOS) + 1, 20.0)
    order = [4, 8, 0, 3, 1, 7, 2, 6, 5]
    asked = (CALM, EVERY_DAY, Policy())
    once = when_lines_ship(lines, wanted, chances, *asked)
    again = when_lines_ship(lines.iloc[order], wanted[order], chances, *asked)
    pd.testing.assert_frame_equal(once, again.sort_index())


def told(latest_on, told_on, told_chance, action="wait"):
    """What is promised for one line of which a date was told."""
    line = open_lines(1, latest_promised_on=told_on).assign(
        expected_latest_on=pd.Series([latest_on], dtype="datetime64[s]"),
        told_chance=told_chance,
        latest_chance=0.92,
        action=action,
        wait_is_assumed=False,
        next_inbound_po_line_id="PO1",
        next_inbound_on=day(4),
        pool_rank=2,
    )
    return line


def moved(line, previous=None, model_changed=False):
    return promised(line, previous, model_changed, Policy(promise_move_days=3)).iloc[0]


@pytest.mark.parametrize(
    ("latest", "told_on", "chance", "promise", "why"),
    [
        (7, 7, 0.9, 7, None),
        (7, 4, 0.6, 4, None),  # three days too early, but likelier than not
        (7, 10, 0.99, 10, None),
        (7, 3, 0.6, 7, "2026-01-18, the date told, is 4 days too early"),
        (7, 12, 0.99, 7, "2026-01-27, the date told, is 5 days too late"),
        (7, 6, 0.49, 7, "2026-01-21, the date told, has a chance of 49%"),
        (7, -1, 0.6, 7, "2026-01-14, the date told, has passed"),
        (None, 90, 0.6, 90, None),  # the promise quantile lies beyond the horizon
        (None, 90, 0.2, None, "2026-04-15, the date told, has a chance of 20%"),
    ],
)
def test_a_date_that_was_told_moves_only_if_it_is_far_off_or_unlikely(latest, told_on, chance, promise, why):
    got = moved(told(pd.NaT if latest is None else day(latest), day(told_on), chance))
    assert got["promise_on"] == day(promise) if promise is not None else pd.isna(got["promise_on"])
    assert got["promise_changed_because"] == why if why else pd.isna(got["promise_changed_because"])
    stays = promise == told_on
    assert pd.isna(got["promise_chance"]) if promise is None else got["promise_chance"] == (chance if stays else 0.92)


def test_a_first_date_needs_no_cause_and_a_held_line_has_none():
    first = moved(told(day(7), NO_DAY, np.nan))
    assert first["promise_on"] == day(7)
    assert pd.isna(first["promise_changed_because"])
    assert moved(told(pd.NaT, day(3), 0.9, action="hold"))[["promise_on", "promise_changed_because"]].isna().all()


def test_a_wait_that_is_only_assumed_gives_no_date():
    fresh = told(day(7), NO_DAY, np.nan).assign(wait_is_assumed=True)
    assert moved(fresh)[["promise_on", "promise_chance", "promise_changed_because"]].isna().all()
    kept = moved(told(day(14), day(10), 0.0).assign(wait_is_assumed=True))
    assert kept["promise_on"] == day(10)
    assert kept[["promise_chance", "promise_changed_because"]].isna().all()
    passed = moved(told(day(14), day(-1), 0.0).assign(wait_is_assumed=True))
    assert passed["promise_changed_because"] == "2026-01-14, the date told, has passed"
    assert pd.isna(passed["promise_on"])
    here = moved(told(day(0), NO_DAY, np.nan, action="ship").assign(wait_is_assumed=True))
    assert here["promise_on"] == day(0)


def test_a_move_says_what_changed_since_the_last_queue():
    now = told(day(9), day(2), 0.1)
    same = now.assign(order_line_id="L0")
    trigger = "2026-01-17, the date told, has a chance of 10%"

    def cause(model_changed=False, now=now, **before):
        return moved(now, same.assign(**before), model_changed)["promise_changed_because"].removeprefix(trigger + "; ")

    assert moved(now)["promise_changed_because"] == trigger
    assert moved(now, same.assign(order_line_id="another"))["promise_changed_because"] == trigger
    assert cause() == "other lines or the chances of goods changed"
    assert cause(next_inbound_on=day(1)) == "PO1 is expected on 2026-01-19, before on 2026-01-16"
    assert cause(next_inbound_po_line_id="PO9") == "PO1 comes next, before PO9"
    assert cause(next_inbound_po_line_id=None) == "PO1 comes next"
    gone = now.assign(next_inbound_po_line_id=None, next_inbound_on=NO_DAY)
    assert cause(now=gone) == "no inbound line is open any longer"
    assert cause(now=gone, next_inbound_po_line_id=np.nan) == "other lines or the chances of goods changed"
    # Lines that are not in the last queue make its whole numbers fractions.
    two = pd.concat([now, now.assign(order_line_id="new")], ignore_index=True)
    both = promised(two, same.assign(pool_rank=1), False, Policy(promise_move_days=3))["promise_changed_because"]
    assert both.tolist() == [f"{trigger}; place 2 in its pool, before 1", trigger]
    assert cause(pool_rank=1, open_quantity=3.0) == "place 2 in its pool, before 1; its quantity changed"
    assert cause(model_changed=True) == "the models changed"
    ships_now = told(day(0), day(9), 1.0, action="ship")
    assert "5 days" not in moved(ships_now)["promise_changed_because"]
    assert moved(ships_now, same)["promise_changed_because"].endswith("9 days too late; its goods are here")
