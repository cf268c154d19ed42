"""What each later chance costs a line: by hand, against the one chance that clears, and the laws it must keep."""

import numpy as np
import pytest

from decisions.chances import NEVER
from decisions.cost_by_chance import cost_by_chance
from decisions.cost_of_waiting import CHUNK_LINES, cost_of_waiting
from decisions.later_goods import LaterGoods
from decisions.policy import Policy
from tests.decisions.open_lines import open_lines, surely_on_day, wanted_at_daily_hazard
from tests.decisions.test_cost_of_waiting import HANDLING, KAPPA_ONLY, random_lines

EVERYTHING = Policy(cancel_handling_cost=3, late_penalty_share_per_day=0.002, won_back_share=0.1)


def on_days(*days, n_pools=1):
    """Chances that come on these days in every scenario, 5 units each."""
    day = np.tile(np.array(days, dtype=float)[None, :, None], (n_pools, 1, 60))
    return LaterGoods(day, np.full((n_pools, len(days)), 5.0), 180)


def costs_at(lines, survival, arrival, later, policy=KAPPA_ONLY, pool=None, has_own=None):
    pool = np.zeros(len(lines), dtype=np.int64) if pool is None else pool
    has_own = np.zeros(len(lines), dtype=bool) if has_own is None else has_own
    return cost_by_chance(lines, survival, arrival, later, pool, has_own, 0.35, policy)


def random_chances(n_pools, n_chances, seed):
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(1, 240, (n_pools, n_chances, 60)).astype(float), axis=1)
    return LaterGoods(np.where(day > 180, NEVER, day), rng.integers(0, 9, (n_pools, n_chances)) * 1.0, 180)


def test_each_chance_loses_by_the_day_on_which_it_comes():
    lines = open_lines(1, account_id="a", line_margin=40.0, lifetime_value=300.0)
    costs = costs_at(lines, wanted_at_daily_hazard(0.03), surely_on_day(10), on_days(10, 20))
    gone = 1 - 0.97 ** np.array([10.0, 20.0])
    np.testing.assert_allclose(costs.total[0], [*gone * (40 + 0.1 * 300), 70.0])  # never: all of it
    np.testing.assert_allclose(costs.wanted[0], 1 - gone)


def test_the_first_chance_is_the_next_receipt_of_the_arrival_model_to_the_last_digit():
    lines, survival, arrival = random_lines(200, seed=901)
    pool = np.arange(200) % 7
    costs = costs_at(lines, survival, arrival, random_chances(7, 3, 901), EVERYTHING, pool)
    alone = cost_of_waiting(lines, survival, arrival, 0.35, EVERYTHING)
    np.testing.assert_array_equal(np.minimum(costs.total[:, 0], costs.total[:, -1]), alone["loss_if_waits"])
    np.testing.assert_array_equal(costs.said["future_share"], alone["future_share"])


def test_no_chance_loses_less_than_the_one_before_it_by_cancelling_nor_is_likelier_to_find_the_line_wanted():
    lines, survival, arrival = random_lines(300, seed=902)
    costs = costs_at(lines, survival, arrival, random_chances(9, 4, 902), HANDLING, np.arange(300) % 9)
    assert (np.diff(costs.terms[:, :, 0], axis=1) >= -1e-12).all()
    assert (np.diff(costs.wanted, axis=1) <= 1e-12).all()
    assert ((costs.wanted >= 0) & (costs.wanted <= 1)).all()


def test_a_chance_that_never_comes_is_no_better_than_going_without():
    lines = open_lines(1, line_margin=40.0, days_late=-3.0)
    costs = costs_at(lines, wanted_at_daily_hazard(0.03), surely_on_day(10), on_days(10, NEVER), EVERYTHING)
    np.testing.assert_allclose(costs.total[0, 1], costs.total[0, 2])
    assert costs.wanted[0, 1] == pytest.approx(0, abs=1e-15)


def test_goods_meant_for_a_line_are_what_it_has_without_its_pool():
    lines = open_lines(2, line_margin=40.0)
    survival, arrival = wanted_at_daily_hazard(0.03, 0.03), surely_on_day(4, 10)
    costs = costs_at(lines, survival, arrival, on_days(10, 20), HANDLING, has_own=np.array([True, False]))
    gone = 1 - 0.97 ** np.array([4.0, 10.0, 20.0])
    np.testing.assert_allclose(costs.total[0], 48 * gone[[1, 2, 0]])  # 40 and 8 for handling
    np.testing.assert_allclose(costs.total[1], [48 * gone[1], 48 * gone[2], 48])


def test_lines_of_more_than_one_block_in_any_order_cost_the_same():
    n_lines = CHUNK_LINES + 300
    lines, survival, arrival = random_lines(n_lines, seed=903)
    later, pool = random_chances(40, 2, 903), np.random.default_rng(903).integers(0, 40, n_lines)
    costs = costs_at(lines, survival, arrival, later, EVERYTHING, pool)
    order = np.random.default_rng(904).permutation(n_lines)
    shuffled = costs_at(
        lines.iloc[order].reset_index(drop=True), survival[order], arrival[order], later, EVERYTHING, pool[order]
    )
    np.testing.assert_allclose(shuffled.total, costs.total[order], rtol=1e-12)


@pytest.mark.parametrize("joint", [0.0, 0.35, 1.0])
def test_splitting_lines_and_orders_changes_no_customers_loss_at_any_chance(joint):
    lines, survival, arrival = random_lines(60, seed=905)
    lines = lines.assign(root_order_id=[f"O{i // 3}" for i in range(60)])
    half = np.repeat(np.arange(60), 2)
    parts = lines.iloc[half].reset_index(drop=True)
    parts["order_line_id"] = [f"part{i}" for i in range(120)]
    share = np.where(np.arange(120) % 2, 0.25, 0.75)
    for name in ("open_quantity", "line_margin", "line_value"):
        parts[name] *= share
    later, pool = random_chances(5, 3, 905), np.arange(60) % 5
    none = np.zeros(120, dtype=bool)
    whole = cost_by_chance(lines, survival, arrival, later, pool, none[:60], joint, EVERYTHING)
    split = cost_by_chance(parts, survival[half], arrival[half], later, pool[half], none, joint, EVERYTHING)
    np.testing.assert_allclose(split.total[::2] + split.total[1::2], whole.total, rtol=0, atol=1e-9)
