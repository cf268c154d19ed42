"""Programmes to solve, and an oracle that states them anew: one column per line, chance and stock carried over."""

from itertools import product

import numpy as np
from scipy.optimize import linprog

from decisions.programme import Programme


def random_programme(seed, n_lines=200, n_pools=20, n_later=4, whole_units=True):
    """Hazards, margins and customers' futures of their own; goods of a pool are short in most chances."""
    rng = np.random.default_rng(seed)
    pool = np.sort(rng.integers(0, n_pools, n_lines))
    quantity = rng.lognormal(1, 1, n_lines)
    quantity = np.ceil(quantity) if whole_units else quantity
    margin = quantity * rng.lognormal(1, 0.8, n_lines)
    future = rng.lognormal(4, 1.5, n_lines)
    day = np.cumsum(rng.integers(3, 25, (n_pools, n_later)), axis=1)[pool]
    wanted = np.exp(-rng.gamma(1, 0.02, n_lines)[:, None] * day)
    lost = (1 - wanted) * 0.06 + wanted * 0.06 * (1 - np.exp(-day / 10))
    asked = np.bincount(pool, quantity, minlength=n_pools)
    goods = np.floor(asked[:, None] * rng.uniform(0, 0.5, (n_pools, n_later + 1)))
    goods[:, 1:][rng.random((n_pools, n_later)) < 0.2] = 0
    goods[rng.random(n_pools) < 0.2, 0] = 0
    goods[rng.random(n_pools) < 0.3, -1] = np.inf
    return Programme(
        pool,
        np.column_stack([np.zeros(n_lines), (1 - wanted) * margin[:, None] + future[:, None] * lost]),
        np.column_stack([quantity, quantity[:, None] * wanted]),
        margin + 0.06 * future,
        goods,
    )


def least_loss(programme, pool, is_whole=False):
    """Least money lost in one pool, with stock carried over as columns of its own, or by trying out all whole plans."""
    lines = np.flatnonzero(programme.pool == pool)
    cost, units = programme.cost[lines], programme.units[lines]
    goods = programme.goods[pool].copy()
    may = np.isfinite(cost)
    over = max(goods[0] - units[may[:, 0], 0].sum(), 0.0)
    if len(goods) > 1:
        goods[1] += over
    if is_whole:
        return _by_trying_out(cost, units, programme.cost_without[lines], goods)
    n_lines, n_chances = cost.shape
    carried = n_lines * n_chances
    objective = np.append(np.where(may, cost - programme.cost_without[lines, None], 0).ravel(), np.zeros(n_chances))
    once = np.zeros((n_lines, len(objective)))
    for i in range(n_lines):
        once[i, i * n_chances : (i + 1) * n_chances] = 1
    balance = np.zeros((n_chances, len(objective)))
    for b in range(n_chances):
        balance[b, b:carried:n_chances] = units[:, b]
        balance[b, carried + b] = 1  # stock left over after chance b
        if b > 1:
            balance[b, carried + b - 1] = -1
    limits = [(0, 1 if allowed else 0) for allowed in may.ravel()] + [(0, None)] * n_chances
    supply = np.where(np.isfinite(goods), goods, 1e7)
    result = linprog(objective, once, np.ones(n_lines), balance, supply, limits, method="highs-ds")
    assert result.status == 0
    return result.fun + programme.cost_without[lines].sum()


def _by_trying_out(cost, units, without, goods):
    n_lines, n_chances = cost.shape
    least = np.inf
    for chosen in product(range(n_chances + 1), repeat=n_lines):
        left, lost = goods.copy(), 0.0
        for i, b in enumerate(chosen):
            lost += without[i] if b == n_chances else cost[i, b]
        later = 0.0
        is_kept = sum(units[i, 0] for i, b in enumerate(chosen) if b == 0) <= goods[0] + 1e-9
        for b in range(1, n_chances):
            later += left[b] - sum(units[i, b] for i, of_line in enumerate(chosen) if of_line == b)
            is_kept &= later >= -1e-9
        least = min(least, lost) if is_kept else least
    return least
