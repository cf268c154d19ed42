"""Giving out goods, against brute force on small pools, hand-worked pools and the laws it must keep."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.policy import Policy
from tests.decisions.open_lines import open_lines, pools

GREEDY_ONLY = Policy(exact_pool_cells=0)


def random_pool(seed, **columns):
    rng = np.random.default_rng(seed)
    n_lines = int(rng.integers(1, 6))
    lines = open_lines(
        n_lines,
        open_quantity=rng.integers(1, 8, n_lines).astype(float),
        loss_if_waits=rng.choice([0.0, 5.0, 12.0, 30.0], n_lines) * rng.uniform(0.5, 1, n_lines).round(1),
        quantity_step=rng.choice([1.0, 1.0, 2.0, 3.0], n_lines),
        may_split=rng.random(n_lines) < 0.5,
    )
    return lines.assign(**columns), float(rng.integers(0, 20))


def best_by_brute_force(lines, goods):
    """Greatest sum of loss x share over all ways to give out the goods."""
    choices = []
    for line in lines.itertuples():
        steps = np.arange(0, line.open_quantity, line.quantity_step) if line.may_split else np.zeros(1)
        choices.append([*steps, line.open_quantity])
    worth = (lines["loss_if_waits"] / lines["open_quantity"]).to_numpy()
    return max(np.dot(given, worth) for given in product(*choices) if sum(given) <= goods)


def assert_that_no_goods_stay_on_the_shelf(lines, allocation):
    """Goods left are too few for every line that may have them."""
    left = (allocation.pools["available_now"] - allocation.pools["given"]).set_axis(allocation.pools["product_id"])
    for line, given in zip(lines.itertuples(), allocation.ship_now_quantity, strict=True):
        missing = line.open_quantity - given
        may_have = not line.credit_hold and line.override not in ("hold", "exclude") and missing > 0
        lot = min(line.quantity_step, missing) if line.may_split else missing
        assert not (may_have and left[line.product_id] >= lot), line


def test_small_pools_are_given_out_as_well_as_brute_force_can():
    for seed in range(80):
        lines, goods = random_pool(seed)
        pool = give_out(lines, pools(goods), Policy()).pools.iloc[0]
        assert pool["value"] == pytest.approx(best_by_brute_force(lines, goods), abs=1e-9), seed
        assert pool["gap"] == pytest.approx(0, abs=1e-9)


def test_without_exact_solving_the_bound_holds_and_at_least_half_of_the_best_is_saved():
    n_below = 0
    for seed in range(80):
        lines, goods = random_pool(seed)
        pool, best = give_out(lines, pools(goods), GREEDY_ONLY).pools.iloc[0], best_by_brute_force(lines, goods)
        assert best / 2 - 1e-9 <= pool["value"] <= best + 1e-9 <= pool["bound"] + 2e-9
        assert pool["gap"] >= 0
        n_below += pool["value"] < best - 1e-9
    assert n_below > 0  # otherwise the exact way would be idle


def test_no_goods_stay_on_the_shelf_while_a_line_that_may_have_them_waits():
    for seed in range(60):
        lines, goods = random_pool(seed)
        rng = np.random.default_rng(seed)
        lines["loss_if_waits"] -= rng.choice([0, 20], len(lines))
        lines["override"] = pd.Series(rng.choice([None, None, "pin", "hold"], len(lines)), dtype="str")
        lines["override_quantity"] = rng.choice([np.nan, 2.0], len(lines))
        lines["credit_hold"] = rng.random(len(lines)) < 0.2
        for policy in (Policy(), GREEDY_ONLY):
            allocation = give_out(lines, pools(goods), policy)
            assert_that_no_goods_stay_on_the_shelf(lines, allocation)
            assert allocation.pools["given"].item() <= goods
            assert allocation.certificate.gap >= 0


def test_more_stock_never_saves_less():
    for seed in range(12):
        lines, _ = random_pool(seed)
        values = [give_out(lines, pools(goods), Policy()).certificate.value for goods in range(0, 24, 2)]
        assert (np.diff(values) >= -1e-9).all()


def test_divisible_lines_are_served_by_loss_per_unit():
    lines = open_lines(3, open_quantity=[4.0, 2.0, 5.0], loss_if_waits=[20.0, 30.0, 5.0], may_split=True)
    allocation = give_out(lines, pools(5), Policy())
    assert allocation.ship_now_quantity.tolist() == [3.0, 2.0, 0.0]
    pool = allocation.pools.iloc[0]
    assert (pool["value"], pool["stock_price"], pool["method"]) == (45.0, 5.0, "sorted")  # L0 is served in part


def test_input_order_changes_nothing():
    rng = np.random.default_rng(2)
    n_lines = 300
    lines = open_lines(
        n_lines,
        product_id=rng.choice(["p", "p1", "p2"], n_lines),
        open_quantity=rng.integers(1, 6, n_lines).astype(float),
        loss_if_waits=rng.integers(-2, 4, n_lines).astype(float),  # many ties
        may_split=rng.random(n_lines) < 0.5,
        due_on=np.datetime64("2026-01-01", "s") + rng.integers(0, 3, n_lines).astype("timedelta64[D]"),
    )
    first = give_out(lines, pools(100, 60, 200), Policy())
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(n_lines)
        again = give_out(lines.iloc[order], pools(100, 60, 200).iloc[::-1], Policy())
        pd.testing.assert_series_equal(first.ship_now_quantity, again.ship_now_quantity.sort_index())
        pd.testing.assert_frame_equal(first.pools, again.pools)


def test_many_pools_at_once_get_what_each_gets_alone():
    rng, names = np.random.default_rng(4), ["p", "p1", "p2", "p3"]
    lines = open_lines(
        80,
        product_id=rng.choice(names, 80),
        open_quantity=rng.choice([1.0, 2.0, 3.0, 2.5], 80),
        loss_if_waits=rng.uniform(-5, 30, 80),
        may_split=rng.random(80) < 0.5,
    )
    goods = pools(20, 7.5, 0, 300)
    together = give_out(lines, goods, Policy())
    for name in names:
        alone = give_out(lines[lines["product_id"] == name], goods[goods["product_id"] == name], Policy())
        pd.testing.assert_series_equal(
            together.ship_now_quantity[alone.ship_now_quantity.index], alone.ship_now_quantity
        )
        same_pool = together.pools[together.pools["product_id"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(same_pool, alone.pools)


def test_equal_lines_are_served_by_earlier_due_day_then_id():
    due = np.array(["2026-01-05", "2026-01-04", "2026-01-05"], dtype="datetime64[s]")
    lines = open_lines(3, due_on=due)
    assert give_out(lines, pools(1), Policy()).ship_now_quantity.tolist() == [0.0, 1.0, 0.0]
    assert give_out(lines, pools(2), Policy()).ship_now_quantity.tolist() == [1.0, 1.0, 0.0]


def test_a_whole_line_that_does_not_fit_leaves_the_goods_to_later_lines():
    lines = open_lines(2, open_quantity=[5.0, 2.0], loss_if_waits=[50.0, 1.0])
    allocation = give_out(lines, pools(4), Policy())
    assert allocation.ship_now_quantity.tolist() == [0.0, 2.0]
    assert allocation.pools["stock_price"].item() == 0.0  # two units are left


def test_a_large_line_is_not_crowded_out_by_a_small_one_where_the_pool_is_too_large_to_solve():
    lines = open_lines(2, open_quantity=[1.0, 10.0], loss_if_waits=[2.0, 10.0])
    pool = give_out(lines, pools(10), GREEDY_ONLY).pools.iloc[0]
    assert (pool["value"], pool["bound"], pool["method"]) == (10.0, 11.0, "greedy")


def test_a_line_that_loses_nothing_gets_what_the_best_choice_leaves():
    lines = open_lines(3, open_quantity=[3.0, 5.0, 1.0], loss_if_waits=[12.0, 15.0, 0.0])
    allocation = give_out(lines, pools(6), Policy())
    assert allocation.ship_now_quantity.tolist() == [0.0, 5.0, 1.0]


def test_serving_lines_at_a_loss_does_not_widen_the_gap():
    lines = open_lines(3, open_quantity=[3.0, 5.0, 2.0], loss_if_waits=[12.0, 1.0, -1.0])
    certificate = give_out(lines, pools(5), GREEDY_ONLY).certificate
    assert (certificate.value, certificate.bound) == (11.0, pytest.approx(11.4))


def test_a_stepped_line_ships_steps_or_its_whole_rest():
    lines = open_lines(1, open_quantity=7.0, quantity_step=3.0, may_split=True)
    shipped = [give_out(lines, pools(goods), Policy()).ship_now_quantity.item() for goods in range(9)]
    assert shipped == [0, 0, 0, 3, 3, 3, 6, 7, 7]


def test_fractions_of_a_unit_are_given_out_too():
    lines = open_lines(2, open_quantity=[0.7, 0.5], quantity_step=0.1, may_split=True, loss_if_waits=[7.0, 1.0])
    assert give_out(lines, pools(1.0), Policy()).ship_now_quantity.to_numpy() == pytest.approx([0.7, 0.3])


def test_pins_come_first_and_holds_exclusions_and_credit_holds_get_nothing():
    lines = open_lines(
        5,
        loss_if_waits=[1.0, 90.0, 80.0, 70.0, 60.0],
        override=["pin", "hold", "exclude", None, None],
        credit_hold=[False, False, False, True, False],
    )
    allocation = give_out(lines, pools(1), Policy())
    assert allocation.ship_now_quantity.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert allocation.pools["stock_price"].item() == 60.0  # not 90: another unit would not go to a held line
    assert give_out(lines, pools(9), Policy()).pools["given"].item() == 2.0


def test_a_pin_for_some_units_leaves_the_rest_to_compete():
    lines = open_lines(
        2, open_quantity=5.0, loss_if_waits=[5.0, 50.0], may_split=True, override=["pin", None], override_quantity=2.0
    )
    assert give_out(lines, pools(4), Policy()).ship_now_quantity.tolist() == [2.0, 2.0]
    assert give_out(lines, pools(8), Policy()).ship_now_quantity.tolist() == [3.0, 5.0]


def test_lines_that_cost_more_to_serve_come_last_but_before_an_idle_shelf():
    lines = open_lines(2, loss_if_waits=[-5.0, 0.0])
    assert give_out(lines, pools(1), Policy()).ship_now_quantity.tolist() == [0.0, 1.0]
    both = give_out(lines, pools(2), Policy())
    assert both.ship_now_quantity.tolist() == [1.0, 1.0]
    assert (both.certificate.value, both.certificate.gap) == (-5.0, 0.0)
    assert give_out(lines.iloc[:1], pools(0), Policy()).pools["stock_price"].item() == 0.0  # never below 0


def test_lines_of_a_ship_group_ship_together_or_not_at_all():
    lines = open_lines(3, product_id=["p", "p1", "p"], ship_group=["g", "g", None], loss_if_waits=[50.0, 50.0, 1.0])
    assert give_out(lines, pools(1, 1), Policy()).ship_now_quantity.tolist() == [1.0, 1.0, 0.0]
    apart = give_out(lines, pools(1, 0), Policy())
    assert apart.ship_now_quantity.tolist() == [0.0, 0.0, 1.0]
    assert (apart.certificate.value, apart.certificate.bound) == (1.0, 1.0)


def test_a_pin_on_one_line_of_a_group_serves_the_whole_group_first():
    lines = open_lines(
        4,
        product_id=["p", "p1", "p1", "p"],
        ship_group=pd.Series(["g", "g", None, None], dtype="str"),
        override=pd.Series(["pin", None, None, None], dtype="str"),
        loss_if_waits=[1.0, 1.0, 100.0, 50.0],
    )
    assert give_out(lines, pools(1.0, 1.0), Policy()).ship_now_quantity.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_line_whose_group_waits_elsewhere_is_not_sent_alone():
    lines = open_lines(2, ship_group=pd.Series(["g", None], dtype="str"), group_waits_elsewhere=[True, False])
    assert give_out(lines, pools(1.0), Policy()).ship_now_quantity.tolist() == [0.0, 1.0]


def test_random_ship_groups_are_never_torn_and_leave_no_goods_they_could_share():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lines = open_lines(
            8,
            product_id=rng.choice(["p", "p1"], 8),
            ship_group=pd.Series(rng.choice(["g", "h", "i", None], 8), dtype="str"),
            open_quantity=rng.integers(1, 5, 8).astype(float),
            loss_if_waits=rng.integers(-5, 30, 8).astype(float),
            credit_hold=rng.random(8) < 0.1,
        )
        allocation = give_out(lines, pools(*rng.integers(0, 12, 2)), Policy())
        is_full = allocation.ship_now_quantity == lines["open_quantity"]
        assert (is_full | (allocation.ship_now_quantity == 0)).all()
        assert (is_full.groupby(lines["ship_group"]).nunique() == 1).all()
        assert_that_no_goods_stay_on_the_shelf(lines[lines["ship_group"].isna()], _only(allocation, lines))
        left = (allocation.pools["available_now"] - allocation.pools["given"]).set_axis(["p", "p1"])
        for _, group in lines[~is_full].groupby("ship_group"):
            needed = group.groupby("product_id")["open_quantity"].sum()
            assert group["credit_hold"].any() or (needed > left[needed.index]).any()


def _only(allocation, lines):
    """Show the allocation to the lines outside ship groups alone."""
    outside = allocation.ship_now_quantity[lines["ship_group"].isna()]
    return replace(allocation, ship_now_quantity=outside)


def test_nothing_to_give_and_nobody_to_give_to():
    nobody = give_out(open_lines(0), pools(3), Policy())
    assert len(nobody.ship_now_quantity) == 0
    assert nobody.pools[["given", "value", "stock_price"]].to_numpy().tolist() == [[0.0, 0.0, 0.0]]
    nothing = give_out(open_lines(2, loss_if_waits=[3.0, 4.0]), pools(0), Policy())
    assert nothing.ship_now_quantity.tolist() == [0.0, 0.0]
    assert nothing.pools[["stock_price", "method"]].to_numpy().tolist() == [[4.0, "idle"]]
    assert len(give_out(open_lines(0), pools(1).iloc[:0], Policy()).pools) == 0


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("loss_if_waits", np.nan, r"loss_if_waits is missing or infinite in 1 of 2 lines, e.g. order_line_id \['L1'\]"),
        ("quantity_step", 0.0, "quantity_step is not above 0 in 1 of 2 lines"),
        ("override", "pins", "override is none of pin, hold, exclude in 1 of 2 lines"),
        ("product_id", "p9", "is not in the table of pools in 1 of 2 lines"),
    ],
)
def test_lines_that_cannot_be_given_goods_are_refused(column, value, text):
    lines = open_lines(2)
    lines[column] = [lines[column][0], value]
    with pytest.raises(ValueError, match=text):
        give_out(lines, pools(1), Policy())


def test_pools_that_are_no_pools_are_refused():
    with pytest.raises(ValueError, match="of 2 pools 1 stand twice and 1 have no available_now >= 0"):
        give_out(open_lines(1), pools(1, -1).assign(product_id="p"), Policy())
