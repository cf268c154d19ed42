"""What a pool can spare: beyond today's shipments, its own lines, and its demand until its next goods."""

import numpy as np
import pandas as pd
import pytest

from decisions.policy import Policy
from decisions.spare_goods import refill_days, spare_goods
from models.arrival import InboundForecast
from tests.decisions.open_lines import comes_surely_on_day, inbound_lines, open_lines
from tests.decisions.other_goods import goods_elsewhere, nothing_foreseen, pools_given

POOL_X = pd.DataFrame({"product_id": ["p"], "warehouse_id": ["x"]})


def spare(goods, policy=None, forecast=None, given=None, **of_lines):
    lines = open_lines(1, ship_now_quantity=0.0, **of_lines)
    pools = pools_given(w=0.0) if given is None else given
    return spare_goods(goods, pools, lines, forecast or nothing_foreseen(), policy or Policy())


def inbound_forecast(*days, n_days=180, **columns):
    lines = inbound_lines(len(days), **({"warehouse_id": "x"} | columns))
    fresh = nothing_foreseen(n_days)
    return InboundForecast(
        lines, comes_surely_on_day(*days, n_days=n_days), fresh.pools, fresh.fresh_not_come, fresh.fresh_source
    )


def test_a_pool_that_nobody_orders_from_spares_all_it_has():
    found = spare(goods_elsewhere(1))
    assert found[["product_id", "warehouse_id"]].values.tolist() == [["p", "x"]]
    assert found["spare"].tolist() == [10]


def test_a_pool_stands_once_however_many_it_could_serve():
    assert len(spare(goods_elsewhere(3, warehouse_id=["u", "v", "w"]))) == 1


@pytest.mark.parametrize(("of_lines", "left"), [({}, 6.0), ({"override": "hold"}, 6.0), ({"override": "exclude"}, 9.0)])
def test_what_its_own_lines_get_or_wait_for_stays_excluded_ones_aside(of_lines, left):
    given = pools_given(x=1.0)
    found = spare(goods_elsewhere(1), given=given, warehouse_id="x", open_quantity=3.0, **of_lines)
    assert found["spare"].tolist() == [left]


def test_new_demand_until_the_next_goods_is_covered_nine_times_in_ten():
    # 2 units a day for 8 days, lines of 3 units: mean 16, variance 16 x 2 x 3 = 96. By simulation of orders of
    # exponential size, what is kept covers the demand about nine times in ten.
    goods = goods_elsewhere(1, available_now=100.0, units_per_day=2.0, units_per_line=3.0)
    kept = 100 - spare(goods, forecast=inbound_forecast(8))["spare"].iloc[0]
    draw = np.random.default_rng(901)
    n_orders = draw.poisson(16 / 3, 20_000)
    demand = np.array([draw.exponential(3.0, n).sum() for n in n_orders])
    assert (demand <= kept).mean() == pytest.approx(0.9, abs=0.03)
    assert kept == pytest.approx(16 + 1.2816 * np.sqrt(96), abs=0.01)


def test_what_the_site_protects_for_demand_yet_to_come_stays_where_that_is_more():
    little, much = (pools_given(protected=units, x=0.0) for units in (2.0, 7.0))
    goods = goods_elsewhere(1, units_per_day=0.1)  # 3 in 30 days, about 6 nine times in ten
    assert spare(goods, given=little)["spare"].iloc[0] == pytest.approx(10 - 3 - 1.2816 * np.sqrt(6), abs=1e-3)
    assert spare(goods, given=much)["spare"].tolist() == [3]


def test_more_certainty_spares_no_more():
    goods = goods_elsewhere(1, available_now=60.0, units_per_day=1.0)
    spared = [spare(goods, Policy(kept_goods_cover=cover))["spare"].iloc[0] for cover in (0.5, 0.8, 0.95)]
    assert spared == sorted(spared, reverse=True)
    assert spared[0] == 60 - 30


def test_a_pool_short_of_its_own_demand_spares_nothing():
    assert spare(goods_elsewhere(1, units_per_day=5.0))["spare"].tolist() == [0]


def test_the_soonest_inbound_line_that_is_for_everyone_refills_a_pool():
    assert refill_days(POOL_X, inbound_forecast(40, 12, 25), Policy()).tolist() == [12]
    pegged = inbound_forecast(12, 25, for_order_line_id=["L9", None])
    assert refill_days(POOL_X, pegged, Policy()).tolist() == [25]


def test_with_nothing_on_order_it_takes_as_long_as_an_order_placed_today():
    assert refill_days(POOL_X, nothing_foreseen(fresh_days=30), Policy()).tolist() == [30]
    # Of a product that no line waits for the lead time is the usual one; with none known the wait assumed.
    assert refill_days(POOL_X, nothing_foreseen(fresh_days=21, product_id="q"), Policy()).tolist() == [21]
    never = nothing_foreseen(fresh_days=999, product_id="q")
    assert refill_days(POOL_X, never, Policy(default_wait_days=17)).tolist() == [17]


def test_what_never_comes_again_is_kept_for_all_days_foreseen():
    assert refill_days(POOL_X, nothing_foreseen(fresh_days=999), Policy()).tolist() == [180]


def test_a_day_counts_once_the_chance_asked_for_is_reached():
    halves = np.log(np.array([[1.0, 1.0, 0.5, 0.5, 0.1, 0.05, 0.01]]))  # come by day 4 with chance .9
    lines = inbound_lines(1, warehouse_id="x")
    fresh = nothing_foreseen(6)
    forecast = InboundForecast(lines, halves, fresh.pools, fresh.fresh_not_come, fresh.fresh_source)
    assert refill_days(POOL_X, forecast, Policy()).tolist() == [4]
    assert refill_days(POOL_X, forecast, Policy(kept_goods_cover=0.5)).tolist() == [2]
