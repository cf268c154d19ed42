"""The morning's programme: prices worked by hand, who takes part, and how today's choice is judged."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from decisions.allocation import give_out
from decisions.cost_by_chance import ChanceCosts, cost_by_chance
from decisions.cost_of_waiting import COLUMNS, cost_of_waiting
from decisions.later_goods import LaterGoods
from decisions.limits import Limits
from decisions.policy import Policy
from decisions.waiting_programme import judged, priced_waits
from tests.decisions.open_lines import open_lines, pools, surely_on_day, wanted_at_daily_hazard
from tests.decisions.test_cost_by_chance import on_days, random_chances
from tests.decisions.test_cost_of_waiting import random_lines

NO_FUTURE = Policy(cancel_lost_share=0, late_lost_share=0)
ALL_COUNTED = 1.0


def waits_of(lines, hazards, days, units, goods, policy=NO_FUTURE, cancel_share=ALL_COUNTED, later=None):
    """Waits of lines of one pool whose chances come on these days with these units."""
    survival = wanted_at_daily_hazard(*hazards)
    arrival = surely_on_day(*[days[0]] * len(lines))
    later = later or LaterGoods(on_days(*days).day, np.array([units], dtype=float), 180)
    pool = np.zeros(len(lines), dtype=np.int64)
    costs = cost_by_chance(lines, survival, arrival, later, pool, np.zeros(len(lines), dtype=bool), 0.0, policy)
    return priced_waits(
        lines, costs, later, np.array([goods], dtype=float), pool, Limits.none(len(lines), 1), cancel_share
    )


def three_lines(**columns):
    return open_lines(3, line_margin=[100.0, 80.0, 60.0], **columns)


def test_a_line_pays_for_the_goods_it_takes_from_others_later():
    # One unit now, one in ten days, none after; .97^10 = .7374 are still wanted then. The last unit of day 10 goes to
    # the third line and saves 60 a unit: that is the price of that day, 60 x .7374 = 44.25 a line.
    waits = waits_of(three_lines(may_split=True), [0.03] * 3, (10,), (1.0,), goods=1)
    still = 0.97**10
    assert waits.plan.price[0].tolist() == pytest.approx([(1 - still) * 80 + still * 60, 60.0])
    lost = waits.costs["loss_if_waits"].tolist()
    assert lost == pytest.approx([(1 - still) * 100 + still * 60, (1 - still) * 80 + still * 60, 60.0])
    assert waits.costs["loss_later_goods"].tolist()[:2] == pytest.approx([44.2455, 44.2455], abs=1e-4)
    assert waits.planned["planned_quantity"].tolist() == pytest.approx([1, 0, 0], abs=1e-6)


def test_goods_that_suffice_later_have_no_price():
    lines, survival, arrival = random_lines(80, seed=911)
    later = LaterGoods(random_chances(4, 1, 911).day, np.full((4, 1), np.inf), 180)
    pool = np.arange(80) % 4
    costs = cost_by_chance(lines, survival, arrival, later, pool, np.zeros(80, dtype=bool), 0.35, Policy())
    priced = priced_waits(lines, costs, later, np.full(4, 7.0), pool, Limits.none(80, 4), ALL_COUNTED).costs
    alone = cost_of_waiting(lines, survival, arrival, 0.35, Policy())
    np.testing.assert_array_equal(priced[alone.columns], alone)


def random_waits(n_lines, seed, n_pools=6, **columns):
    lines, survival, arrival = random_lines(n_lines, seed=seed, **columns)
    later, pool = random_chances(n_pools, 3, seed), np.arange(n_lines) % n_pools
    lines = lines.assign(product_id=[f"p{k}" for k in pool])
    costs = cost_by_chance(lines, survival, arrival, later, pool, np.zeros(n_lines, dtype=bool), 0.35, Policy())
    goods = np.random.default_rng(seed).integers(0, 2 * n_lines // n_pools, n_pools).astype(float)
    return lines, costs, later, goods, pool


def test_the_four_terms_make_up_the_loss():
    priced = priced_waits(*random_waits(240, seed=912), Limits.none(240, 6), ALL_COUNTED).costs
    np.testing.assert_allclose(priced[list(COLUMNS[1:])].sum(axis=1), priced["loss_if_waits"], rtol=0, atol=1e-9)
    assert (priced["loss_later_goods"] > 0.1).sum() > 20


def test_the_order_of_the_lines_changes_nothing():
    lines, costs, later, goods, pool = random_waits(240, seed=913)
    order = np.random.default_rng(1).permutation(240)
    shuffled = ChanceCosts(costs.terms[order], costs.wanted[order], costs.said.iloc[order].reset_index(drop=True))
    once = priced_waits(lines, costs, later, goods, pool, Limits.none(len(lines), 6), ALL_COUNTED).costs
    again = priced_waits(
        lines.iloc[order].reset_index(drop=True), shuffled, later, goods, pool[order], Limits.none(240, 6), ALL_COUNTED
    ).costs
    assert again["loss_if_waits"].to_numpy().tobytes() == once["loss_if_waits"].to_numpy()[order].tobytes()


def test_splitting_lines_changes_no_price_and_no_sum():
    lines, costs, later, goods, pool = random_waits(120, seed=914, may_split=True)
    half = np.repeat(np.arange(120), 2)
    share = np.where(np.arange(240) % 2, 0.3, 0.7)
    parts = lines.iloc[half].reset_index(drop=True)
    parts["order_line_id"], parts["open_quantity"] = [f"part{i}" for i in range(240)], parts["open_quantity"] * share
    halves = ChanceCosts(
        costs.terms[half] * share[:, None, None], costs.wanted[half], costs.said.iloc[half].reset_index(drop=True)
    )
    whole = priced_waits(lines, costs, later, goods, pool, Limits.none(len(lines), 6), ALL_COUNTED)
    split = priced_waits(parts, halves, later, goods, pool[half], Limits.none(240, 6), ALL_COUNTED)
    np.testing.assert_allclose(split.plan.price, whole.plan.price, rtol=1e-6, atol=1e-6)
    both = split.costs["loss_if_waits"].to_numpy().reshape(-1, 2).sum(axis=1)
    np.testing.assert_allclose(both, whole.costs["loss_if_waits"], rtol=1e-6, atol=1e-9)


def test_a_held_line_gets_nothing_today_and_later_goods_are_kept_for_it():
    free, held = (
        waits_of(three_lines(override=word, may_split=True), [0.01] * 3, (10,), (0.9,), goods=1)
        for word in (None, ["hold", None, None])
    )
    assert free.planned["planned_quantity"].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert held.planned["planned_quantity"].tolist() == pytest.approx([0, 1, 0], abs=1e-6)
    assert held.plan.served[0, 1] > 0.99  # .9 units and 90 % of the customers are left


def test_an_excluded_line_is_out_of_the_programme_and_has_its_price_all_the_same():
    out = waits_of(three_lines(override=[None, "exclude", None]), [0.03] * 3, (10,), (1.0,), goods=1)
    alone = waits_of(three_lines().drop(index=1), [0.03] * 2, (10,), (1.0,), goods=1)
    np.testing.assert_allclose(out.plan.price, alone.plan.price)
    still = 0.97**10
    assert alone.plan.price[0, 1] == 0  # both that are left are served
    assert out.costs["loss_if_waits"].tolist() == pytest.approx([(1 - still) * m for m in (100, 80, 60)])


def test_a_pin_has_its_goods_before_anybody_else():
    pinned = waits_of(three_lines(override=[None, None, "pin"]), [0.01] * 3, (10,), (0.5,), goods=1)
    assert pinned.planned["planned_quantity"].tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    # A alone wants the half unit of day 10 that saves 100 a unit; half of A and all of B go without.
    assert pinned.plan.price[0, 1] == pytest.approx(100)
    assert pinned.plan.value[0] == pytest.approx(180 - 0.5 * 100)
    assert pinned.costs["loss_if_waits"].tolist() == pytest.approx([100, 80, 60])


def test_a_pin_that_cannot_leave_takes_no_goods_of_others():
    lines = open_lines(3, open_quantity=[5.0, 1.0, 1.0], may_split=[False, True, True], line_margin=[100.0, 80.0, 60.0])
    waits = [
        waits_of(lines.assign(override=word), [0.02] * 3, (10,), (1.0,), goods=4)
        for word in (["pin", None, None], None)
    ]
    assert waits[0].costs.equals(waits[1].costs)  # five units do not leave where four are
    assert waits[0].planned["planned_quantity"].tolist() == pytest.approx([0, 1, 1], abs=1e-6)


def test_a_confirmation_that_is_kept_and_a_line_that_may_have_nothing_are_planned_for_like_pins_and_holds():
    lines = three_lines(may_split=True)
    free = Limits.none(3, 1)
    kept = replace(free, least=np.array([0.0, 0.0, 1.0]))
    nothing = replace(free, most=np.array([0.0, np.inf, np.inf]))
    later = LaterGoods(on_days(10).day, np.array([[0.5]]), 180)
    alone = np.zeros(3, dtype=np.int64)
    survival, arrival = wanted_at_daily_hazard(*[0.01] * 3), surely_on_day(10, 10, 10)
    costs = cost_by_chance(lines, survival, arrival, later, alone, alone.astype(bool), 0.0, NO_FUTURE)
    by_kept, by_none = (
        priced_waits(lines, costs, later, np.array([1.0]), alone, limits, ALL_COUNTED) for limits in (kept, nothing)
    )
    assert by_kept.plan.price[0, 1] == pytest.approx(100)  # as for a pin of the third line
    assert by_none.planned["planned_quantity"].tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_goods_kept_for_lines_that_will_have_gone_save_less():
    lines = open_lines(6, line_margin=np.linspace(20, 90, 6), may_split=True)
    values = [
        waits_of(lines, [0.05] * 6, (10, 20), (2.0, 1.0), goods=1, cancel_share=share).plan.value[0]
        for share in (1.0, 0.5, 0.0)
    ]
    assert values[0] < values[1] - 1
    assert values[1] < values[2] - 1


def test_lines_that_may_be_split_are_given_out_to_the_bound():
    lines, costs, later, goods, pool = random_waits(400, seed=915, may_split=True, quantity_step=2.0**-20)
    waits = priced_waits(lines, costs, later, goods, pool, Limits.none(len(lines), 6), ALL_COUNTED)
    wanting = lines.assign(loss_if_waits=waits.costs["loss_if_waits"]).join(waits.planned)
    names = pools(*goods).assign(product_id=[f"p{k}" for k in range(6)])
    given = give_out(wanting, names, Policy()).ship_now_quantity
    said = judged(waits, wanting.assign(ship_now_quantity=given))
    assert said.gap <= 1e-6 * said.lost
    assert said.methods["planned"] >= 4


def test_a_choice_is_judged_as_all_choices_tried_out_say():
    lines = three_lines(may_split=False)
    waits = waits_of(lines, [0.03, 0.02, 0.01], (10, 25), (1.0, 0.5), goods=1)
    lost = {}
    for chosen in [*itertools.product((0.0, 1.0), repeat=3)]:
        if sum(chosen) == 1:
            said = judged(waits, lines.assign(ship_now_quantity=chosen))
            lost[chosen] = said.lost
            assert said.gap == pytest.approx(said.lost - waits.plan.bound[0], abs=1e-6)
    best = waits.planned["planned_quantity"].round(6).tolist()
    assert lost[tuple(best)] == min(lost.values()) == pytest.approx(waits.plan.bound[0])


def every_whole_choice(quantity, goods):
    """All choices of whole lines that fit into the goods; what they leave serves later."""
    chosen = np.array(list(itertools.product((0.0, 1.0), repeat=len(quantity)))) * quantity
    return chosen[chosen.sum(axis=1) <= goods]


@pytest.mark.parametrize("seed", [282, 626, *range(901, 931)])
def test_no_whole_choice_loses_less_than_the_bound_goods_that_it_leaves_for_later_included(seed):
    # With seeds 282 and 626 leaving goods is better than giving them out.
    rng = np.random.default_rng(seed)
    n_lines = int(rng.integers(2, 6))
    quantity = rng.integers(1, 6, n_lines) * 1.0
    margin = np.round(quantity * (10 + rng.random(n_lines) * 10), 2)
    lines = open_lines(n_lines, open_quantity=quantity, line_margin=margin)
    goods = float(rng.integers(1, int(quantity.sum()) + 1))
    days, units = sorted(rng.integers(1, 60, 2).tolist()), rng.integers(0, 5, 2) * 1.0
    waits = waits_of(lines, rng.random(n_lines) * 0.08, days, units, goods)
    said = [judged(waits, lines.assign(ship_now_quantity=chosen)) for chosen in every_whole_choice(quantity, goods)]
    least = min(each.lost for each in said)
    assert all(each.bound <= least + 1e-6 * margin.sum() for each in said)
    assert all(each.gap >= 0 for each in said)


def test_no_lines_are_no_programme():
    lines = open_lines(0, line_margin=np.zeros(0))
    later = LaterGoods(np.zeros((0, 1, 60)), np.zeros((0, 1)), 180)
    nobody, none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    costs = cost_by_chance(lines, np.ones((0, 181)), np.ones((0, 182)), later, nobody, none, 0.0, Policy())
    waits = priced_waits(lines, costs, later, np.zeros(0), nobody, Limits.none(0, 0), ALL_COUNTED)
    assert len(waits.costs) == 0
    said = judged(waits, lines.assign(ship_now_quantity=np.zeros(0)))
    assert (said.lost, said.gap, said.n_pools) == (0.0, 0.0, 0)
