"""Scenarios of later goods as a few chances: nothing lost, nothing invented."""

import numpy as np
import pandas as pd

from decisions.chances import N_SCENARIOS, NEVER, Chances
from decisions.later_goods import later_goods


def chances(day, quantity):
    """Chances of pools whose scenarios repeat those given: (n_pools, n_chances, a divisor of 60)."""
    day, quantity = np.asarray(day, float), np.asarray(quantity, float)
    times = (1, 1, N_SCENARIOS // day.shape[2])
    pools = pd.DataFrame({"product_id": [f"p{i}" for i in range(len(day))], "warehouse_id": "w"})
    none = np.zeros((0, N_SCENARIOS))
    return Chances(pools, np.tile(day, times), np.tile(quantity, times), none, np.zeros(0), np.zeros(0, dtype=object))


def test_days_and_goods_are_means_over_the_scenarios():
    later = later_goods(chances([[[3, 5]], [[4, NEVER]]], [[[10, 20]], [[7, 0]]]), np.array([50.0, 50.0]), 30)
    arrival = later.arrival(np.arange(len(later.goods)))
    assert later.goods.tolist() == [[15], [3.5]]
    assert arrival[0, 0, [3, 5]].tolist() == [0.5, 0.5]
    assert arrival[1, 0, [4, 31]].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(arrival.sum(axis=2), 1)


def test_after_the_backlog_is_cleared_everyone_is_served_that_day():
    later = later_goods(chances([[[3, 3], [NEVER, 9]]], [[[np.inf, 4], [0, np.inf]]]), np.array([12.0]), 30)
    arrival = later.arrival(np.arange(len(later.goods)))
    assert later.goods[0].tolist() == [8, np.inf]  # half of the time all 12 units wanted, half of the time 4
    assert arrival[0, 1, [3, 9]].tolist() == [0.5, 0.5]


def test_a_day_past_those_foreseen_is_never():
    later = later_goods(chances([[[31, 30]]], [[[1, 1]]]), np.array([2.0]), 30)
    arrival = later.arrival(np.arange(len(later.goods)))
    assert arrival[0, 0, [30, 31]].tolist() == [0.5, 0.5]
