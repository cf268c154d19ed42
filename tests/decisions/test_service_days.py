"""The day on which each line has its goods, against the same nights lived through line by line."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from decisions.chances import N_SCENARIOS, NEVER, Chances, hashed, uniform_draws
from decisions.service_days import Claims, claims_of, service_days, share_ahead
from tests.decisions.open_lines import open_lines

N_DAYS = 60


def chances(day, quantity, n_pools=1, pegged=()):
    """The same chances in every scenario unless given by scenario."""
    pools = pd.DataFrame({"product_id": [f"p{k}" for k in range(n_pools)], "warehouse_id": "w"})
    shape = (n_pools, np.shape(day)[-2] if np.ndim(day) > 1 else len(day), N_SCENARIOS)
    day, quantity = (np.broadcast_to(np.asarray(a, float).reshape(_fit(a, shape)), shape) for a in (day, quantity))
    of_line = np.array([name for name, *_ in pegged], dtype=object)
    pegged_day = np.array([[on] * N_SCENARIOS for _, on, *_ in pegged], dtype=float).reshape(-1, N_SCENARIOS)
    units = np.array([more[0] if more else 2.0 for _, _, *more in pegged])
    return Chances(pools, day, quantity, pegged_day, units, of_line)


def _fit(values, shape):
    return (1, len(values), 1) if np.ndim(values) == 1 else shape


def claims(wants, left=0.0, per_day=0.0, share=0.0, pool=None):
    n = len(wants)
    pool = np.zeros(n, dtype=int) if pool is None else np.array(pool)
    ids = pd.Series([f"L{i}" for i in range(n)])
    pools = np.ones(pool.max() + 1)
    return Claims(ids, pool, np.array(wants, float), np.full(n, share), left * pools, per_day * pools, pools)


def all_wanted(n):
    return np.ones((n, N_DAYS + 1))


def days_of(*args):
    """Days of each line where all scenarios agree."""
    days = service_days(*args)
    assert (days == days[:, :1]).all()
    return days[:, 0].tolist()


def test_goods_go_down_the_ranks_as_far_as_they_reach():
    come = chances([5, 9, 20], [3, 2, np.inf])
    assert days_of(claims([2, 2, 1, 4]), all_wanted(4), come) == [5, 9, 9, 20]
    assert days_of(claims([2, 2, 1, 4], left=1), all_wanted(4), come) == [5, 5, 9, 20]


def test_a_line_that_misses_nothing_ships_today_and_takes_nothing():
    assert days_of(claims([0, 2]), all_wanted(2), chances([5], [2])) == [0, 5]


def test_what_never_suffices_never_serves():
    assert days_of(claims([2, 2]), all_wanted(2), chances([5], [3])) == [5, NEVER]


def test_goods_meant_for_a_line_serve_it_and_leave_the_pool_to_others():
    come = chances([5, 20], [2, np.inf], pegged=[("L0", 3), ("a line that is not waiting", 1)])
    assert days_of(claims([2, 2]), all_wanted(2), come) == [3, 5]
    late = chances([5, 20], [2, np.inf], pegged=[("L0", 7)])
    assert days_of(claims([2, 2]), all_wanted(2), late) == [5, 20]


def test_goods_meant_for_a_line_that_are_not_enough_leave_it_the_rest_to_want():
    come = chances([5, 20], [3, np.inf], pegged=[("L0", 8, 1.0)])
    assert days_of(claims([4, 2]), all_wanted(2), come) == [8, 20]  # 3 of the pool on day 5 and 1 on day 8
    twice = chances([20], [np.inf], pegged=[("L0", 9, 1.0), ("L0", 3, 1.0), ("L0", 30, 5.0)])
    assert days_of(claims([2, 2]), all_wanted(2), twice) == [9, 20]


def test_a_sum_of_fractions_that_just_suffices_serves_after_a_pool_of_many_units():
    wants, pool = [1e7, *[0.1] * 10], [0] + [1] * 10
    both = chances(np.full((2, 1, N_SCENARIOS), 5.0), np.stack([np.full((1, N_SCENARIOS), q) for q in (1e7, 1.0)]), 2)
    assert days_of(claims(wants, pool=pool), all_wanted(11), both) == [5] * 11


def test_pools_do_not_mix():
    both = chances(np.array([[[5.0] * N_SCENARIOS], [[8.0] * N_SCENARIOS]]), np.full((2, 1, N_SCENARIOS), 2.0), 2)
    assert days_of(claims([2, 2, 2], pool=[0, 1, 1]), all_wanted(3), both) == [5, 8, NEVER]


def test_lines_whose_customers_leave_free_their_goods():
    survival = np.vstack([0.5 ** (np.arange(N_DAYS + 1) >= 5), np.ones(N_DAYS + 1)])
    days = service_days(claims([2, 2]), survival, chances([5, 20], [2, np.inf]))
    assert (days[0] == 5).all()  # if it is still wanted
    assert (days[1] == 5).mean() == pytest.approx(0.5, abs=0.2)


def test_new_demand_that_ranks_before_a_line_is_served_before_it():
    # 1 unit a day ranks ahead: 4 + 10 wanted on day 10, of 12 that are there; half of it leaves enough.
    come = chances([10, 30], [12, np.inf])
    after = [(service_days(claims([4], per_day=1, share=s), all_wanted(1), come) == 10).mean() for s in (0, 0.5, 1)]
    expected = [1.0, *(NormalDist(10 * s, np.sqrt(2 * 10 * s)).cdf(8) for s in (0.5, 1))]
    assert after == pytest.approx(expected, abs=0.02)


def test_while_goods_lie_new_orders_may_take_them_whatever_their_rank():
    # Nothing new ranks ahead, but of 12 that come a day's new demand (mean 1, variance 2) may leave less than 11.5.
    come = chances([10, 30], [12, np.inf])
    asked = replace(claims([11.5], per_day=1), receiving_days=1)
    after = (service_days(asked, all_wanted(1), come) == 10).mean()
    assert after == pytest.approx(NormalDist(1, np.sqrt(2)).cdf(0.5), abs=0.02)
    assert days_of(replace(asked, receiving_days=0), all_wanted(1), come) == [10]


@pytest.mark.parametrize("seed", range(8))
def test_random_mornings_end_as_if_lived_through_line_by_line(seed, monkeypatch):
    monkeypatch.setattr("decisions.service_days.LINES_AT_ONCE", 7)
    draw = np.random.default_rng(seed)
    n, n_pools, n_chances = 25, 4, 3
    pool = np.sort(np.r_[np.arange(n_pools), draw.integers(0, n_pools, n - n_pools)])
    day = np.sort(draw.integers(1, N_DAYS, (n_pools, n_chances, N_SCENARIOS)).astype(float), axis=1)
    day[:, -1, :9] = NEVER
    quantity = draw.integers(0, 12, day.shape).astype(float)
    survival = np.cumprod(np.c_[np.ones(n), 1 - draw.random((n, N_DAYS)) * 0.05], axis=1)
    wants, left = draw.integers(0, 5, n).astype(float), draw.integers(0, 3, n_pools).astype(float)
    ids = pd.Series([f"L{i}" for i in range(n)])
    asked = Claims(ids, pool, wants, np.zeros(n), left, np.zeros(n_pools), np.ones(n_pools))
    days = service_days(asked, survival, chances(day, quantity, n_pools))
    stays = uniform_draws(hashed(ids, "stays"))
    for scenario in range(0, N_SCENARIOS, 5):
        for k in range(n_pools):
            lines = np.flatnonzero(pool == k)
            lived = _lived_through(
                lines, wants, survival, stays[:, scenario], day[k, :, scenario], quantity[k, :, scenario], left[k]
            )
            assert days[lines, scenario].tolist() == [lived[i] for i in lines]


def _lived_through(lines, wants, survival, stays, days, quantities, goods):
    """Serve one pool chance by chance; a line whose customer has left is served only in thought, and takes nothing."""
    served = {i: 0.0 if wants[i] == 0 else NEVER for i in lines}
    for day, quantity in zip(days, quantities, strict=True):
        if day == NEVER:
            continue
        goods += quantity
        needed, taken = 0.0, 0.0
        for i in lines:
            if served[i] != NEVER:
                continue
            is_wanted = stays[i] < survival[i, int(day)]
            if needed + wants[i] <= goods:
                served[i] = day
                taken += wants[i] * is_wanted
            needed += wants[i] * is_wanted
        goods -= taken
    return served


def test_claims_are_what_todays_goods_leave_wanting():
    lines = open_lines(3, open_quantity=[4.0, 2.0, 1.0], waited_days=3, line_value=[100.0, 100.0, 0.0])
    lines["ship_now_quantity"] = [1.0, 2.0, 0.0]
    pools = pd.DataFrame({"available_now": [3.5], "units_per_day": [0.5], "units_per_line": [2.0]})
    got = claims_of(lines.assign(loss_if_waits=[10.0, 20.0, 5.0]), np.zeros(3, dtype=int), pools)
    assert got.wants.tolist() == [3.0, 0.0, 1.0]
    assert got.left.tolist() == [0.5]
    assert got.ahead_share.tolist() == pytest.approx([1 / 3, 0, 2 / 3])  # 0.1, 0.2 and nothing per unit of price


def test_new_lines_are_like_those_that_wait_since_a_few_days_and_none_goes_before_a_pinned_one():
    worth = np.r_[np.full(60, 0.5), np.full(40, 0.1)]
    is_new = np.arange(100) < 60
    nobody = np.zeros(100, dtype=bool)
    assert share_ahead(worth, is_new, nobody)[-1] == 1  # all newly waiting lines are worth more
    assert share_ahead(worth, is_new & (np.arange(100) < 40), nobody)[-1] == pytest.approx(0.6)  # too few: all count
    assert share_ahead(worth, is_new, ~nobody).tolist() == [0.0] * 100
