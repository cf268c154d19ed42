"""What a choice of today loses: the same as deciding that the choice is made and planning the rest by hand."""

import numpy as np
import pytest
from scipy.optimize import linprog

from decisions.loss_of_choice import LossOfChoice


def random_loss(seed, n_lines=12, n_pools=3, n_later=3):
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, n_pools, n_lines)
    quantity = rng.integers(1, 8, n_lines).astype(float)
    cost = np.sort(rng.uniform(0, 60, (n_lines, n_later)), axis=1)
    wanted = np.sort(rng.uniform(0.3, 1, (n_lines, n_later)), axis=1)[:, ::-1]
    goods = rng.integers(0, 9, (n_pools, 1 + n_later)).astype(float)
    return LossOfChoice(
        pool, quantity, cost, quantity[:, None] * wanted, cost[:, -1] + rng.uniform(0, 40, n_lines), goods
    )


def planned_by_hand(loss, given, is_excluded):
    """The stated programme as one linear programme per pool, from the definition alone."""
    n_later, total = loss.cost.shape[1], []
    for pool in range(len(loss.goods)):
        rows = np.flatnonzero((loss.pool == pool) & ~is_excluded)
        rest = 1 - given[rows] / loss.quantity[rows]
        gain = (loss.cost_without[rows, None] - loss.cost[rows]).ravel()
        once = np.kron(np.eye(len(rows)), np.ones((1, n_later)))
        up_to = [(loss.units[rows] * (np.arange(n_later) <= b)).ravel() for b in range(n_later)]
        left = loss.goods[pool, 0] - given[loss.pool == pool].sum()
        have = left + np.cumsum(loss.goods[pool, 1:])
        best = 0.0
        if len(rows):
            solved = linprog(-gain, A_ub=np.vstack([once, up_to]), b_ub=np.concatenate([rest, have]), method="highs")
            best = -solved.fun
        never = loss.cost_without * (1 - given / loss.quantity)
        total.append(never[loss.pool == pool].sum() - best)
    return np.array(total)


@pytest.mark.parametrize("seed", range(901, 921))
def test_what_is_left_is_planned_as_one_linear_programme_says(seed):
    loss, rng = random_loss(seed), np.random.default_rng(seed)
    given = np.zeros(len(loss.pool))
    for line in rng.permutation(len(given)):
        here = loss.goods[loss.pool[line], 0] - given[loss.pool == loss.pool[line]].sum()
        given[line] = min(loss.quantity[line], here) * rng.integers(0, 2)
    is_excluded = rng.random(len(given)) < 0.2
    assert loss.by_pool(given, is_excluded) == pytest.approx(planned_by_hand(loss, given, is_excluded), abs=1e-5)


def test_a_line_more_is_priced_by_its_own_and_many_lines_by_more_than_the_price_of_one():
    # Two units come later and three lines could use them: the first that goes without today takes from nobody.
    loss = LossOfChoice(
        pool=np.zeros(3, dtype=np.int64),
        quantity=np.ones(3),
        cost=np.zeros((3, 1)),
        units=np.ones((3, 1)),
        cost_without=np.array([9.0, 5.0, 4.0]),
        goods=np.array([[3.0, 2.0]]),
    )
    nobody = np.zeros(3, dtype=bool)
    lost = [loss.by_pool(np.array(given), nobody)[0] for given in ([1.0, 1, 1], [0.0, 1, 1], [0.0, 0, 1], [0.0, 0, 0])]
    # What nobody takes today serves later, so with all three left there is enough for all of them.
    assert lost == pytest.approx([0, 0, 0, 0], abs=1e-6)
    scarce = LossOfChoice(loss.pool, loss.quantity, loss.cost, loss.units, loss.cost_without, np.array([[1.0, 1.0]]))
    lost = [scarce.by_pool(np.array(given), nobody)[0] for given in ([1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 1])]
    assert lost == pytest.approx([4, 4, 5], abs=1e-6)


def test_some_lines_alone_lose_what_they_lose_among_all():
    loss = random_loss(930)
    rows = np.flatnonzero(loss.pool != 1)
    given, nobody = np.zeros(len(loss.pool)), np.zeros(len(loss.pool), dtype=bool)
    whole, part = loss.by_pool(given, nobody), loss.only(rows).by_pool(given[rows], nobody[rows])
    assert part == pytest.approx(whole[np.unique(loss.pool[rows])])
