"""Many pools' tables at once, against every choice and against each pool on its own."""

from itertools import product

import numpy as np
import pytest

from decisions.pool_programme import Claims, share_out
from decisions.pool_tables import Items, best_items, blocks_of, saved_by_divisible
from decisions.pools_at_once import cut_anywhere, solve_at_once

LIMIT = 1_000_000


def random_claims(seed, n_pools=40):
    """Claims of several pools, best first, and goods."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 7, n_pools)
    pool = np.repeat(np.arange(n_pools), size)
    unit = rng.choice([1.0, 0.5, 3.0], n_pools)
    quantity, worth = (
        rng.integers(1, 9, len(pool)) * unit[pool],
        rng.choice([0.0, 1.0, 2.5], len(pool)) + rng.random(len(pool)),
    )
    order = np.lexsort((-worth, pool))
    claims = Claims(quantity, unit[pool], rng.random(len(pool)) < 0.7, worth, np.zeros(len(pool))).only(order)
    return claims, pool, np.floor(rng.random(n_pools) * 25) * unit + rng.choice([0, 0.3], n_pools)


def test_pools_side_by_side_get_as_much_as_each_on_its_own():
    for seed in range(901, 911):
        claims, pool, left = random_claims(seed)
        given = cut_anywhere(claims.quantity, pool, left)
        solved = solve_at_once(claims, pool, left, np.ones(len(left), bool), given, LIMIT)
        assert solved.tolist() == list(range(len(left)))
        for k in solved:
            alone = claims.only(pool == k)
            assert given[pool == k] @ alone.worth == pytest.approx(share_out(alone, left[k], LIMIT).bound), (seed, k)
            assert given[pool == k].sum() <= left[k] + 1e-9
            waits = (given == 0) & (pool == k)
            assert (claims.quantity[waits & claims.is_whole] > left[k] - given[pool == k].sum()).all()


def test_pools_with_steps_or_with_tables_too_large_are_left_to_others():
    claims, pool, left = random_claims(901)
    stepped = Claims(
        claims.quantity, claims.step * np.where(pool == 3, 2, 1), pool != 3, claims.worth, claims.least_part
    )
    solved = solve_at_once(stepped, pool, left, np.ones(len(left), bool), np.zeros(len(pool)), LIMIT)
    assert 3 not in solved
    assert len(solved) == len(left) - 1
    assert not len(solve_at_once(claims, pool, left, left > 0, np.zeros(len(pool)), cell_limit=-1))


def test_tables_hold_what_the_best_of_every_choice_saves_for_every_number_of_units():
    rng = np.random.default_rng(901)
    items = Items(np.repeat(np.arange(3), [4, 0, 3]), rng.integers(1, 6, 7), rng.random(7).round(3))
    n_units = np.array([12, 5, 7])
    blocks = blocks_of(items, n_units)
    free = saved_by_divisible(blocks, np.array([0, 2]), np.array([3.0, 2.0]), np.array([0.2, 0.1]))
    tables, value, taken = best_items(blocks, free, items)
    for block, table in zip(blocks, tables, strict=True):
        for row, k in zip(table, block.pools, strict=True):
            here, divisible = items.pool == k, {0: (3, 0.2), 1: (0, 0.0), 2: (2, 0.1)}[k]
            for units in range(n_units[k] + 1):
                best = 0.0
                for chosen in map(np.array, product([False, True], repeat=int(here.sum()))):
                    rest = units - items.units[here][chosen].sum() if here.any() else units
                    if rest >= 0:
                        money = items.worth[here][chosen].sum() if here.any() else 0.0
                        best = max(best, money + min(rest, divisible[0]) * divisible[1])
                assert row[units] == pytest.approx(best)
            used = items.units[here & taken].sum()
            rest = min(n_units[k] - used, divisible[0]) * divisible[1]
            assert value[k] == pytest.approx(items.worth[here & taken].sum() + rest)
