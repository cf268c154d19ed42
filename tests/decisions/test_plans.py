"""The stated programme: against a second statement of it, trying out all plans, hand-worked pools and its laws."""

from dataclasses import replace

import numpy as np
import pytest

from decisions.plans import best_plan, plan_by_sorting
from decisions.programme import Programme, bound_at, excess, loss_if_waits, money_lost
from decisions.programme_highs import plan_by_highs
from decisions.programme_interior import plan_by_interior_point
from tests.decisions.programmes import least_loss, random_programme


def one_pool(cost, units, without, goods):
    cost = np.asarray(cost, dtype=float)
    units = np.asarray(units, dtype=float)
    return Programme(
        np.zeros(len(cost), dtype=np.int64), cost, units, np.asarray(without, float), np.array([goods], float)
    )


def every_kind(seed):
    """Lines held today, lines that cost more to serve than to pass over, and units that are no whole numbers."""
    programme = random_programme(seed, whole_units=seed % 2 == 0, n_later=1 + seed % 5)
    rng = np.random.default_rng(seed)
    cost, without = programme.cost.copy(), programme.cost_without.copy()
    cost[rng.random(len(cost)) < 0.1, 0] = np.inf
    without[rng.random(len(cost)) < 0.1] *= -1
    return replace(programme, cost=cost, cost_without=without)


def test_every_pool_loses_as_little_as_a_second_statement_of_the_programme_says():
    n_sorted, n_pools = 0, 0
    for seed in range(901, 913):
        programme = every_kind(seed)
        plan = best_plan(programme)
        least = [least_loss(programme, pool) for pool in range(len(programme.goods))]
        np.testing.assert_allclose(plan.value, least, rtol=1e-7, atol=1e-6)
        n_sorted, n_pools = n_sorted + plan.is_sorted.sum(), n_pools + len(plan.is_sorted)
    assert 0 < n_sorted < n_pools


def test_a_plan_keeps_to_the_goods_and_serves_each_line_at_most_once():
    for seed in range(901, 913):
        programme = every_kind(seed)
        plan = best_plan(programme)
        assert excess(programme, plan.served).max() <= 1e-9
        assert plan.served.min() >= 0
        assert plan.served.sum(axis=1).max() <= 1 + 1e-12
        assert (plan.served[np.isinf(programme.cost)] == 0).all()


def test_the_bound_meets_the_plan_and_no_price_at_all_raises_it():
    rng = np.random.default_rng(5)
    for seed in range(901, 913):
        programme = every_kind(seed)
        plan = best_plan(programme)
        at_stake = np.bincount(programme.pool, np.abs(programme.cost_without), minlength=len(plan.bound))
        assert (plan.value - plan.bound <= 1e-8 * at_stake).all()
        for _ in range(5):
            other = plan.price * rng.uniform(0.5, 1.5, (len(plan.price), 1)) + rng.uniform(0, 1)
            other[:, 1:][np.isinf(programme.goods[:, 1:])] = 0
            other[:, 1:] = np.minimum.accumulate(other[:, 1:], axis=1)
            assert (bound_at(programme, other) <= plan.value + 1e-9 * at_stake).all()


def test_no_whole_plan_loses_less_than_the_bound():
    n_met = 0
    for seed in range(901, 931):
        programme = random_programme(seed, n_lines=4, n_pools=1, n_later=2)
        plan, whole = best_plan(programme), least_loss(programme, 0, is_whole=True)
        assert whole >= plan.bound[0] - 1e-6
        n_met += whole <= plan.value[0] + 1e-6
    assert 0 < n_met < 30


def test_the_interior_point_method_and_highs_lose_the_same():
    for seed in range(901, 905):
        programme = every_kind(seed)
        ours, price = plan_by_interior_point(programme)
        theirs, _ = plan_by_highs(programme)
        np.testing.assert_allclose(money_lost(programme, ours), money_lost(programme, theirs), rtol=1e-7, atol=1e-6)
        assert (price >= 0).all()
        assert (np.diff(price[:, 1:], axis=1) <= 1e-9).all()


def test_where_nobody_cancels_chances_differ_in_nothing_but_goods():
    for seed in range(901, 907):
        programme = random_programme(seed, n_lines=1000, n_pools=100)
        units = np.repeat(programme.units[:, :1], programme.units.shape[1], axis=1)
        programme = replace(programme, units=units)
        plan, (theirs, _) = best_plan(programme), plan_by_highs(programme)
        np.testing.assert_allclose(plan.value, money_lost(programme, theirs), rtol=1e-7, atol=1e-6)
        np.testing.assert_allclose(plan.bound, plan.value, rtol=1e-7, atol=1e-6)


def test_the_line_worked_by_hand_in_the_design_is_found_by_sorting():
    gone = 1 - np.array([0.97, 0.99]) ** 10
    loss = gone * np.array([70.0, 90.0])
    programme = one_pool(np.column_stack([[0, 0], loss]), np.column_stack([[1, 1], 1 - gone]), [70, 90], [1, np.inf])
    plan = best_plan(programme)
    assert plan.is_sorted.all()
    assert loss_if_waits(programme, plan.price).round(2).tolist() == [18.38, 8.61]
    assert plan.price.round(2).tolist() == [[8.61, 0]]
    assert plan.served.tolist() == [[1, 0], [0, 1]]


def test_later_goods_have_a_price_where_they_are_short():
    # One unit now, one later, three lines of a unit: never costs 30, waiting 10, 6 and 1; nobody cancels.
    programme = one_pool([[0, 10], [0, 6], [0, 1]], np.ones((3, 2)), [30, 25, 20], [1, 1])
    plan = best_plan(programme)
    # Without are C's 20; a unit later would save 20 - 1 = 19; so A waits for 10 + 19, B for 6 + 19, C for 20.
    assert plan.value[0] == pytest.approx(6 + 20)
    assert 19 - 1e-6 <= plan.price[0, 1] <= 19 + 1e-6
    np.testing.assert_allclose(loss_if_waits(programme, plan.price), [29, 25, 20], atol=1e-6)
    assert plan.price[0, 0] == pytest.approx(25, abs=1e-6)


def test_goods_that_wait_for_lines_likely_to_cancel_serve_more_of_them():
    # Half of each unit is expected to be cancelled by then: one unit later serves both.
    programme = one_pool([[0, 5], [0, 5]], [[1, 0.5], [1, 0.5]], [20, 20], [0, 1])
    assert best_plan(programme).value[0] == pytest.approx(10)


def test_stock_is_carried_over_but_goods_for_today_only_if_nobody_may_have_them():
    # A held line waits for what lies here; one that is free does not leave it to a cheaper plan.
    held = one_pool([[np.inf, 5]], [[1, 0.5]], [20], [3, 0])
    assert best_plan(held).value[0] == pytest.approx(5)
    free = one_pool([[0, 1], [0, 1]], [[1, 0.5], [1, 0.5]], [20, 20], [1, 0])
    assert best_plan(free).value[0] == pytest.approx(20)
    # Goods of the first chance serve at the second.
    late = one_pool([[0, np.inf, 5]], [[1, 1, 0.5]], [20], [0, 1, 0])
    assert best_plan(late).value[0] == pytest.approx(5)


def test_more_goods_never_lose_more():
    programme = random_programme(901)
    before = best_plan(programme).value
    for chance in range(programme.goods.shape[1]):
        goods = programme.goods.copy()
        goods[:, chance] += 3
        after = best_plan(replace(programme, goods=goods)).value
        assert (after <= before + 1e-6).all()
        assert (after < before - 1e-3).any()


def test_the_price_is_what_one_more_unit_saves():
    programme = random_programme(902, whole_units=False)
    plan, step = best_plan(programme), 1e-3
    for chance in range(programme.goods.shape[1]):
        goods = programme.goods.copy()
        goods[:, chance] += step
        saved = (plan.value - best_plan(replace(programme, goods=goods)).value) / step
        # Prices fall as goods grow, so a small step saves at most its price, and mostly just that.
        assert (saved <= plan.price[:, chance] + 1e-2).all()
        assert np.isclose(saved, plan.price[:, chance], atol=1e-2).mean() > 0.7


def test_a_pool_is_planned_alike_to_the_last_digit_whatever_other_pools_there_are():
    programme = random_programme(903, n_lines=300, n_pools=12)
    served, price = plan_by_interior_point(programme)
    for pool in range(12):
        alone = programme.only(np.array([pool]))
        served_alone, price_alone = plan_by_interior_point(alone)
        np.testing.assert_array_equal(served_alone, served[programme.pool == pool])
        np.testing.assert_array_equal(price_alone[0], price[pool])


def test_quantities_and_values_of_any_size_are_planned():
    for units, money in ((1e-3, 1e-4), (1e5, 1e6), (1e-2, 1e8)):
        programme = random_programme(904)
        scaled = Programme(
            programme.pool,
            programme.cost * money,
            programme.units * units,
            programme.cost_without * money,
            programme.goods * units,
        )
        np.testing.assert_allclose(best_plan(scaled).value / money, best_plan(programme).value, rtol=1e-7, atol=1e-6)


def test_pools_that_the_interior_point_method_leaves_open_are_proven_by_highs(monkeypatch):
    programme = every_kind(907)
    expected = best_plan(programme)
    monkeypatch.setattr("decisions.programme_interior.MOST_STEPS", 2)
    served, price = plan_by_interior_point(programme)
    assert (money_lost(programme, served) - bound_at(programme, price)).max() > 1
    plan = best_plan(programme)
    np.testing.assert_allclose(plan.value, expected.value, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(plan.bound, plan.value, rtol=1e-7, atol=1e-6)


def test_edges_are_planned():
    nobody = Programme(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.ones((2, 3)))
    assert best_plan(nobody).value.tolist() == [0, 0]
    assert best_plan(one_pool([[0, 1]], [[2, 1]], [5], [0, 0])).value[0] == 5
    assert best_plan(one_pool([[0]], [[2]], [5], [1])).value[0] == pytest.approx(2.5)
    alike = one_pool([[0, 2, 4]] * 8, [[1, 0.9, 0.8]] * 8, [9] * 8, [2, 1, 1])
    assert best_plan(alike).value[0] == pytest.approx(least_loss(alike, 0), abs=1e-6)
    nothing_lost = one_pool([[0, 0, 0]] * 3, [[1, 0.9, 0.8]] * 3, [0] * 3, [1, 1, 0])
    assert best_plan(nothing_lost).value[0] == pytest.approx(0, abs=1e-9)


def test_sorting_is_only_trusted_where_it_is_proven():
    for seed in range(901, 907):
        programme = every_kind(seed)
        plan = plan_by_sorting(programme)
        np.testing.assert_allclose(plan.value[plan.is_sorted], plan.bound[plan.is_sorted], rtol=1e-9, atol=1e-9)
