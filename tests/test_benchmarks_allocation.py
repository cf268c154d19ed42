"""What the benchmark of giving out goods rests on: its cases, the peers' statements, and the rows."""

import json
from itertools import product

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csc_array

import tests.benchmarks.allocation as bench
from decisions.plans import best_plan
from decisions.programme import NOW, excess, kept_from_now, loss_if_waits, money_lost
from tests.benchmarks.allocation_cases import (
    N_SCENARIOS,
    Case,
    conservative,
    frame_of,
    programme_of,
    ship_groups,
    typed_order,
)
from tests.benchmarks.allocation_peers import plan_by_flow, stated, stated_now
from tests.benchmarks.allocation_runs import Measured, _measure, measured
from tests.benchmarks.allocation_ways import WAYS, most_beyond
from tests.decisions.programmes import random_programme

SMALL = [
    Case(300, 30, n_later=1),
    Case(300, 30),
    Case(300, 150, seed=902),
    Case(300, 3, seed=903),
    Case(40, 4, n_later=2, seed=904),
]
NAMES = [case.name for case in SMALL]


def matrix_of(problem):
    entries = problem.entry, problem.row, problem.starts
    return csc_array(entries, shape=(len(problem.limit), len(problem.cost)))


def in_process(way, case, n_times=1):
    """Only HiGHS needs a process of its own: highspy cannot be imported beside OR-tools."""
    return measured(way, case, 1) if way in ("highs", "highs_whole") else _measure(way, case, n_times)


@pytest.mark.parametrize("case", SMALL, ids=NAMES)
def test_what_is_lost_rises_over_the_chances_and_what_is_still_wanted_falls(case):
    programme = programme_of(case)
    assert (np.diff(np.column_stack([programme.cost, programme.cost_without]), axis=1) >= 0).all()
    assert (np.diff(programme.units, axis=1) <= 0).all()
    assert (programme.units[:, -1] > 0).all()
    assert (np.diff(programme.pool) >= 0).all()
    assert programme.units[:, NOW].sum() > programme.goods[:, NOW].sum() > 0
    again = programme_of(case)
    np.testing.assert_array_equal(programme.cost, again.cost)


def test_with_one_chance_it_clears_every_pool_and_with_more_it_does_so_in_some():
    assert np.isinf(programme_of(SMALL[0]).goods[:, 1]).all()
    share = np.isinf(programme_of(Case(5000, 2000)).goods[:, -1]).mean()
    assert share == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("tied", [0.0, 0.3, 1.0])
def test_ship_groups_have_two_to_four_lines_and_as_many_lines_are_tied_as_asked(tied):
    group = ship_groups(Case(2000, 100, tied=tied))
    assert (group >= 0).mean() == pytest.approx(tied)
    sizes = np.bincount(group[group >= 0]) if tied else np.array([2, 3, 4])
    assert set(sizes[:-1]) <= {2, 3, 4}
    assert sizes[-1] <= 4


def test_the_frame_states_the_programme_line_by_line_in_the_order_of_entry():
    case = Case(500, 50, tied=0.3)
    programme = programme_of(case)
    lines, goods = frame_of(case, programme)
    row = lines.index.to_numpy()
    assert not (np.diff(row) > 0).all()
    assert sorted(row) == list(range(500))
    assert lines["order_line_id"].is_unique
    np.testing.assert_array_equal(lines["open_quantity"], programme.units[row, NOW])
    assert (goods["product_id"].iloc[programme.pool[row]].to_numpy() == lines["product_id"].to_numpy()).all()
    np.testing.assert_array_equal(goods["available_now"], programme.goods[:, NOW])
    group = ship_groups(case)[row]
    assert (lines["ship_group"].notna().to_numpy() == (group >= 0)).all()
    assert (lines["may_split"].to_numpy() == (group < 0)).all()


@pytest.mark.parametrize("case", SMALL, ids=NAMES)
def test_highs_is_told_the_programme_that_our_plan_solves(case):
    programme = programme_of(case)
    problem, _ = stated(programme)
    found = linprog(problem.cost, matrix_of(problem), problem.limit, method="highs-ipm")
    assert found.status == 0
    plan = best_plan(programme)
    assert found.fun + programme.cost_without.sum() == pytest.approx(plan.value.sum(), rel=1e-8)
    assert plan.bound.sum() == pytest.approx(plan.value.sum(), rel=1e-8)


def test_highs_is_told_of_held_lines_and_of_goods_that_no_line_may_take_today():
    programme = random_programme(seed=911)
    programme.cost[::3, NOW] = np.inf
    assert kept_from_now(programme).sum() > 0
    problem, _ = stated(programme)
    found = linprog(problem.cost, matrix_of(problem), problem.limit, method="highs-ds")
    lost = found.fun + programme.cost_without.sum()
    assert lost == pytest.approx(best_plan(programme).bound.sum(), rel=1e-8)


def test_highs_in_its_own_process_finds_our_optimum():
    case = SMALL[1]
    found = measured("highs", case).found
    assert found["value"] == pytest.approx(best_plan(programme_of(case)).bound.sum(), rel=1e-8)


@pytest.mark.parametrize("case", SMALL, ids=NAMES)
def test_the_flow_keeps_to_the_goods_and_reaches_our_plan_of_the_conservative_variant(case):
    programme = programme_of(case)
    variant = conservative(programme)
    served = plan_by_flow(variant, N_SCENARIOS, lines_at_once=100)
    assert excess(variant, served).max() < 1e-9
    assert served.min() >= 0
    assert served.sum(axis=1).max() <= 1 + 1e-12
    plan = best_plan(variant)
    assert money_lost(variant, served).sum() == pytest.approx(plan.bound.sum(), rel=1e-5)
    assert money_lost(variant, served).sum() >= plan.bound.sum() * (1 - 1e-9)
    # What keeps to these goods keeps to the programme's, which counts on fewer units.
    assert excess(programme, served).max() < 1e-9
    assert plan.value.sum() >= best_plan(programme).bound.sum() * (1 - 1e-9)


@pytest.mark.parametrize("tied", [0.4, 1.0])
def test_todays_giving_with_groups_is_stated_as_trying_out_all_groups_says(tied):
    case = Case(24, 3, tied=tied, seed=905)
    programme, group = programme_of(case), ship_groups(case)
    waits = loss_if_waits(programme, best_plan(programme).price)
    units, goods = programme.units[:, NOW], programme.goods[:, NOW]
    problem = stated_now(waits, units, programme.pool, goods, group)
    whole = np.arange(len(problem.cost)) >= (group < 0).sum()
    found = milp(
        problem.cost,
        constraints=LinearConstraint(matrix_of(problem), -np.inf, problem.limit),
        bounds=(0, 1),
        integrality=whole.astype(int),
        options={"mip_rel_gap": 0},
    )
    best = 0.0
    for chosen in product([False, True], repeat=group.max() + 1):
        ships = (group >= 0) & np.array([*chosen, False])[group]
        left = goods - np.bincount(programme.pool, units * ships, minlength=3)
        if (left < 0).any():
            continue
        saved = waits[ships].sum()
        for line in np.argsort(-waits / units):
            if group[line] < 0:
                take = min(units[line], left[programme.pool[line]])
                left[programme.pool[line]] -= take
                saved += waits[line] * take / units[line]
        best = max(best, saved)
    assert best > 0
    assert -found.fun == pytest.approx(best, rel=1e-6)


def test_the_serial_rule_goes_by_typed_priority_and_gives_no_more_than_there_is():
    case = Case(400, 20, n_later=4)
    programme = programme_of(case)
    assert sorted(typed_order(case)) == list(range(400))
    way = WAYS["serial"](case)
    served = np.array(way.run()) / programme.units[:, :1]
    assert excess(conservative(programme), served).max() < 1e-9
    assert way.found(way.run())["value"] > best_plan(programme).bound.sum()


def test_giving_more_than_there_is_or_than_is_wanted_is_seen():
    programme = programme_of(Case(50, 5, seed=906))
    plan = best_plan(programme)
    assert most_beyond(programme, plan.served[:, NOW]) < 1e-9
    assert most_beyond(programme, np.ones(50)) >= 1
    assert most_beyond(programme, np.full(50, -0.5)) == 0.5


def test_where_one_chance_clears_giving_out_loses_no_more_than_the_optimum():
    case = SMALL[0]
    found = _measure("given_out", case, 1).found
    assert found["value"] == pytest.approx(best_plan(programme_of(case)).bound.sum(), rel=1e-9)
    assert found["excess"] < 1e-9


def test_growth_is_the_exponent_of_the_medians_with_the_extremes_of_first_and_last(monkeypatch):
    cpu_s = {100: [0.9, 1.0, 1.2], 1000: [20.0], 10_000: [90.0, 100.0, 130.0]}
    monkeypatch.setattr(bench, "run", lambda way, case: Measured(cpu_s[case.n_lines], 1.0, {}))
    row = bench.growth("plan", "planned", [Case(n, 10) for n in cpu_s])
    assert row.value == pytest.approx(1.0)
    assert row.low == pytest.approx(np.log10(90 / 1.2) / 2)
    assert row.high == pytest.approx(np.log10(130 / 0.9) / 2)
    assert row.goal == 1.1
    assert row.met is True


def test_the_quick_look_gives_every_row_and_ours_are_optimal(monkeypatch, capsys):
    monkeypatch.setattr(bench, "measured", in_process)
    bench.run.cache_clear()
    small = ((200, 20), (300, 30))
    size = bench.Size(small[1:], small[1:], (4,), small, small)
    rows = {row.figure: row for row in bench.every(size)}
    bench.run.cache_clear()
    json.dumps([row.row() for row in rows.values()], allow_nan=False)
    assert all(np.isfinite(row.value) for row in rows.values())
    assert all(row.peer == "" or np.isfinite(row.peer_value) for row in rows.values())
    proofs = [row for row in rows.values() if row.goal == bench.OPTIMAL and "flow" not in row.figure]
    assert len(proofs) == 5
    assert all(row.met for row in proofs)
    assert rows["300 lines, 30 products, 4 chances: lost above what is proven"].peer_value > 0.1
    assert "measured 300 lines, 30 products, 4 chances, 100% tied" in capsys.readouterr().out
