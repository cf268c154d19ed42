"""Who gets goods that lie elsewhere, against every choice tried out and against a second statement of the programme."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from decisions import alternative_programme, alternative_search
from decisions.alternative_programme import best_choice
from decisions.alternative_ways import Ways

SEEDS = range(901, 961)


def ways_of(*rows, is_whole=True, step=1.0, fixed_cost=0.0):
    """Ways from (line, pool, wanted, worth)."""
    line, pool, wanted, worth = (np.array(column) for column in zip(*rows, strict=True))
    n = len(line)
    flags, fixed = np.broadcast_to(is_whole, n).copy(), np.full(n, fixed_cost)
    return Ways(line, pool, wanted.astype(float), np.full(n, step), flags, worth.astype(float), fixed)


def drawn(seed, n_lines=5, n_pools=3):
    """Ways between some lines and pools; steps that do not divide what is wanted, and costs of taking anything."""
    draw = np.random.default_rng(seed)
    pairs = [(i, k) for i in range(n_lines) for k in range(n_pools) if draw.random() < 0.7] or [(0, 0)]
    line, pool = np.array(pairs).T
    wanted, is_whole = draw.integers(1, 7, n_lines) * 1.0, draw.random(n_lines) < 0.5
    step, fixed = draw.choice([1.0, 2.0], n_pools), draw.choice([0.0, 3.0], n_pools)
    worth = draw.integers(1, 20, len(line)) * 1.0
    ways = Ways(line, pool, wanted[line], step[pool], is_whole[line], worth, fixed[pool])
    return ways, draw.integers(0, 9, n_pools) * 1.0


def amounts(ways, way, spare):
    """Units that a way may take at all."""
    most = spare[ways.pool[way]]
    found = {ways.wanted[way]} if ways.wanted[way] <= most else set()
    if not ways.is_whole[way]:
        found |= set(np.arange(ways.step[way], min(ways.wanted[way], most) + 1e-9, ways.step[way]).tolist())
    return found


def best_by_trying_all(ways, spare):
    options = []
    for line in np.unique(ways.line):
        of_line = [(way, units) for way in np.flatnonzero(ways.line == line) for units in amounts(ways, way, spare)]
        options.append([None, *of_line])
    best = 0.0
    for choice in product(*options):
        taken, money = np.zeros(len(spare)), 0.0
        for way, units in (option for option in choice if option):
            taken[ways.pool[way]] += units
            money += ways.worth[way] * units - ways.fixed_cost[way]
        if (taken <= spare + 1e-9).all():
            best = max(best, money)
    return best


def check_lawful(ways, spare, units):
    """No pool gives more than it can spare, no line has two pools, whole lines are whole and parts are in steps."""
    assert (np.bincount(ways.pool, units, minlength=len(spare)) <= spare + 1e-9).all()
    assert np.bincount(ways.line, units > 0).max() <= 1
    allowed = [units[way] in {0.0, *amounts(ways, way, spare)} for way in range(len(units))]
    assert all(allowed)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_choice_saves_more_than_the_one_found(seed):
    ways, spare = drawn(seed)
    choice = best_choice(ways, spare)
    assert choice.value == pytest.approx(best_by_trying_all(ways, spare), abs=1e-9)
    assert choice.value == pytest.approx(ways.money(choice.units).sum())
    assert choice.bound == pytest.approx(choice.value)
    check_lawful(ways, spare, choice.units)


def by_highs(ways, spare):
    """The programme stated again, with steps taken, all taken and used as three whole numbers for each way."""
    n = len(ways.line)
    steps = np.where(ways.is_whole, 0.0, np.floor(ways.wanted / ways.step))
    line, pool = np.eye(ways.line.max() + 1)[:, ways.line], np.eye(len(spare))[:, ways.pool]
    each, zero = np.eye(n), np.zeros((n, n))
    limits = [
        LinearConstraint(np.hstack([0 * line, 0 * line, line]), ub=1),
        LinearConstraint(np.hstack([pool * ways.wanted, pool * ways.step, 0 * pool]), ub=spare),
        LinearConstraint(np.hstack([each, zero, -each]), ub=0),
        LinearConstraint(np.hstack([np.diag(steps), each, -np.diag(steps)]), ub=0),
    ]
    saved = np.concatenate([ways.worth * ways.wanted, ways.worth * ways.step, -ways.fixed_cost])
    upper = np.concatenate([np.ones(n), steps, np.ones(n)])
    found = milp(-saved, integrality=np.ones(3 * n), bounds=Bounds(0, upper), constraints=limits)
    return -found.fun


@pytest.mark.parametrize("seed", range(961, 973))
def test_larger_problems_agree_with_a_second_statement_within_the_gap_that_is_said(seed):
    ways, spare = drawn(seed, n_lines=14, n_pools=4)
    choice, best = best_choice(ways, spare * 3), by_highs(ways, spare * 3)
    assert choice.value - 1e-6 <= best <= choice.bound + 1e-6 * best
    if choice.n_proven == choice.n_problems:
        assert choice.value == pytest.approx(best, rel=1e-6)
    check_lawful(ways, spare * 3, choice.units)


@pytest.mark.parametrize("limit", ["MOST_NODES", "MOST_SEARCHED_WAYS"])
def test_a_search_that_is_cut_short_still_says_how_far_it_can_be_from_the_best(limit, monkeypatch):
    module = alternative_search if limit == "MOST_NODES" else alternative_programme
    monkeypatch.setattr(module, limit, 2)
    n_open = 0
    for seed in SEEDS:
        ways, spare = drawn(seed)
        choice, best = best_choice(ways, spare), best_by_trying_all(ways, spare)
        assert choice.value <= best + 1e-9
        assert choice.bound >= best - 1e-9
        n_open += choice.n_proven < choice.n_problems
        check_lawful(ways, spare, choice.units)
    assert n_open > 0


def test_enough_for_everyone_gives_each_line_its_best_pool():
    ways = ways_of((0, 0, 3, 5.0), (0, 1, 3, 6.0), (1, 0, 2, 4.0))
    choice = best_choice(ways, np.array([5.0, 3.0]))
    assert choice.units.tolist() == [0, 3, 2]
    assert (choice.value, choice.bound, choice.n_problems, choice.n_proven) == (26, 26, 1, 1)


def test_a_line_that_may_be_cut_takes_what_is_left_in_whole_steps():
    ways = ways_of((0, 0, 3, 9.0), (1, 0, 6, 5.0), is_whole=False, step=2.0)
    assert best_choice(ways, np.array([7.0])).units.tolist() == [3, 4]


def test_a_cost_of_taking_anything_keeps_small_takes_away():
    ways = ways_of((0, 0, 4, 2.0), (1, 0, 4, 2.0), is_whole=False, fixed_cost=5.0)
    choice = best_choice(ways, np.array([6.0]))
    assert sorted(choice.units.tolist()) == [0, 4]
    assert choice.value == 3


def test_what_saves_nothing_is_left_where_it_lies():
    ways = ways_of((0, 0, 1, -2.0), (1, 0, 1, 0.0))
    assert best_choice(ways, np.array([5.0])).units.tolist() == [0, 0]


def test_more_goods_never_save_less():
    for seed in SEEDS[:20]:
        ways, spare = drawn(seed)
        less, more = best_choice(ways, spare), best_choice(ways, spare + 1)
        assert more.value >= less.value - 1e-9


def test_problems_that_do_not_hang_together_do_not_change_each_other():
    (one, spare_one), (two, spare_two) = drawn(905), drawn(911)
    both = Ways(
        np.concatenate([one.line, two.line + 5]),
        np.concatenate([one.pool, two.pool + 3]),
        *(np.concatenate([getattr(one, name), getattr(two, name)]) for name in list(one.__dataclass_fields__)[2:]),
    )
    together = best_choice(both, np.concatenate([spare_one, spare_two]))
    alone = best_choice(one, spare_one), best_choice(two, spare_two)
    assert together.value == pytest.approx(alone[0].value + alone[1].value)
    assert together.n_problems == alone[0].n_problems + alone[1].n_problems


def test_without_ways_nothing_is_chosen():
    none = Ways(*(np.zeros(0, kind) for kind in (int, int, float, float, bool, float, float)))
    choice = best_choice(none, np.array([3.0]))
    assert (choice.units.tolist(), choice.value, choice.bound, choice.n_problems) == ([], 0, 0, 0)
