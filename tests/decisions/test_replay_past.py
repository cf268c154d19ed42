"""The past as it is kept for a replay: which goods were up for choice, and what was foreseen when."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from decisions.outlooks import Outlooks
from decisions.replay_past import KeptMorning, goods_up_for_choice, past_of
from erp.simulator import CompanyShape, planner_habits, simulate
from tests.decisions.past_mornings import FIRST, at_daily_hazard
from tests.decisions.simulated_past import recorded_by


def test_the_past_itself_fits_into_the_goods_that_were_up_for_choice():
    rng = np.random.default_rng(8)
    for _ in range(50):
        n_days, stock, shelf, given, sold = 12, 5, [], [], []
        for _day in range(n_days):
            shelf.append(stock)
            given.append(rng.integers(0, stock + 1))
            stock -= given[-1]
            stock += rng.integers(0, 6)
            sold.append(rng.integers(0, stock + 1))
            stock -= sold[-1]
        days = {"product_id": "p", "warehouse_id": "w", "morning_on": pd.date_range(FIRST, periods=n_days)}
        goods = goods_up_for_choice(
            pd.DataFrame(days | {"available_now": np.array(shelf, float)}),
            pd.DataFrame(days | {"quantity": np.array(given, float)}),
        )
        free = np.cumsum(goods.set_index("comes_on")["quantity"].reindex(days["morning_on"]).fillna(0.0).to_numpy())
        assert (free >= np.cumsum(given)).all()
        # Brute force: the most that can be given up to a morning so that every later shelf still covers what was sold.
        net = np.array(shelf) + np.cumsum(given) - given
        most = [max(total for total in range(200) if (net[day:] - total >= 0).all()) for day in range(n_days)]
        assert free.tolist() == most


def test_the_last_word_on_a_line_holds_until_the_next():
    made = FIRST + pd.to_timedelta([4, 0, 0], unit="D")
    rows = pd.DataFrame({"order_line_id": ["a", "a", "b"], "made_on": made, "lifetime_value": 1.0})
    said = Outlooks(rows, at_daily_hazard(0.5, 0.1, 0.2, n_days=2))
    ids = pd.Series(["b", "a", "never named"])
    for day, expected in ((-1, [-1, -1, -1]), (0, [2, 1, -1]), (3, [2, 1, -1]), (4, [2, 0, -1]), (99, [2, 0, -1])):
        assert said.in_force(ids, FIRST + pd.Timedelta(days=day)).tolist() == expected
    row = said.in_force(ids[:2], FIRST + pd.Timedelta(days=7))
    assert said.hazard(row, FIRST + pd.Timedelta(days=7)) == pytest.approx([0.2, 0.5])  # the last day's goes on


def kept_mornings(recorder, past):
    """What runs would have kept of each morning that the recorder saw, with the truth as their prediction."""
    mornings = []
    for day, shelf in enumerate(recorder.shelf):
        on = past.first_on + pd.Timedelta(days=day)
        names = recorder.waiting[day]
        lines = past.lines.set_index("order_line_id").loc[names["order_line_id"]].reset_index()
        row = past.yardstick.in_force(lines["order_line_id"], on)
        held = past.holds.loc[(past.holds["from_on"] <= on) & (on <= past.holds["until_on"]), "order_line_id"]
        said = {"lifetime_value": past.yardstick.rows["lifetime_value"].to_numpy()[row]}
        said |= {"credit_hold": lines["order_line_id"].isin(held), "open_quantity": names["open_quantity"].to_numpy()}
        lines = lines.drop(columns="enters_on").assign(**said)
        curves = past.yardstick.wanted_from(row, on, 60)
        mornings.append(KeptMorning(on, lines, curves, shelf.drop(columns="morning_on")))
    return mornings


def test_the_past_that_runs_have_kept_is_the_past_that_came_about():
    company = simulate(CompanyShape(n_customers=600, n_products=20, n_days=150, seed=912), planner_habits)
    past, _, recorder = recorded_by(company, planner_habits, 10)
    kept = past_of(kept_mornings(recorder, past), recorder.shipped(past), 0.0).in_order()
    judged = past.in_order()
    assert_frame_equal(kept.lines[judged.lines.columns], judged.lines, check_dtype=False)  # units of time differ
    assert_frame_equal(kept.goods, judged.goods, check_dtype=False)
    for one, two in zip(kept.mornings(), judged.mornings(), strict=True):
        known = kept.lines["order_line_id"].isin(recorder.waiting[one.day]["order_line_id"]).to_numpy()
        assert one.hazard[known] == pytest.approx(two.hazard[known])
        assert (one.is_held[known] == two.is_held[known]).all()
        assert (one.goods == two.goods).all()
    assert kept.holds["order_line_id"].nunique() > 5
    with pytest.raises(ValueError, match="2 mornings do not follow each other by day"):
        past_of(kept_mornings(recorder, past)[1::-1], recorder.shipped(past), 0.0)
