"""What words cost, against giving out everything again without each of them."""

import numpy as np
import pandas as pd
import pytest

import decisions.override_costs
from decisions.allocation import give_out
from decisions.cost_by_chance import cost_by_chance
from decisions.later_goods import LaterGoods
from decisions.override_costs import cost_of_words
from decisions.overrides import SCOPES, apply_overrides, in_order
from decisions.policy import Policy
from decisions.price_of_rules import price_of_rules
from decisions.rules import limits_of
from decisions.segments import Segment
from decisions.waiting_programme import judged, priced_waits
from models.arrival import places_in
from tests.decisions.open_lines import at_prices, open_lines, pools, surely_on_day, wanted_at_daily_hazard
from tests.decisions.test_cost_by_chance import on_days, random_chances
from tests.decisions.words_said import words_said

RULES = Policy(
    segments=(
        Segment("key", where={"segment": ("key",)}, share=0.3),
        Segment("web", where={"segment": ("web",)}, sort=("waited_days",)),
    )
)


def a_book(seed, n_lines=60, n_products=8, n_words=25):
    """Lines of eight products, a few groups that tie some of them, and words of all kinds."""
    rng = np.random.default_rng(seed)
    products = ["p", *(f"p{i}" for i in range(1, n_products))]
    group = np.where(rng.random(n_lines) < 0.15, rng.choice(["g1", "g2", "g3"], n_lines), None)
    lines = open_lines(
        n_lines,
        order_id=rng.choice([f"O{i}" for i in range(25)], n_lines),
        customer_id=rng.choice([f"C{i}" for i in range(12)], n_lines),
        product_id=rng.choice(products, n_lines),
        segment=rng.choice(["key", "web", "other"], n_lines),
        ship_group=pd.Series(group, dtype="str"),
        open_quantity=rng.integers(1, 7, n_lines) * 1.0,
        loss_if_waits=np.round(rng.gamma(1, 60, n_lines) - 5, 2),
        may_split=rng.random(n_lines) < 0.6,
        credit_hold=rng.random(n_lines) < 0.05,
        waited_days=rng.integers(1, 90, n_lines),
    )
    goods = pools(*rng.integers(0, 16, n_products) * 1.0).assign(units_per_day=0.0)
    words = []
    for _ in range(n_words):
        scope = rng.choice(SCOPES, p=[0.6, 0.2, 0.15, 0.05])
        word = {scope: rng.choice(lines[scope].unique()), "action": rng.choice(["pin", "hold", "exclude"])}
        made_at = pd.Timestamp("2026-01-05") + pd.Timedelta(minutes=int(rng.integers(0, 999)))
        until_on = pd.Timestamp("2026-01-13") + pd.Timedelta(days=int(rng.integers(0, 9)))
        words.append(word | {"quantity": rng.choice([np.nan, 2.0]), "made_at": made_at, "until_on": until_on})
    return lines, goods, in_order(words_said(*words))


def given_under(lines, goods, policy, words):
    ruled = apply_overrides(lines, words)
    return give_out(ruled, goods, policy, limits_of(ruled, goods, policy)).ship_now_quantity.to_numpy()


def cost_at_prices(lines, goods, words, given, policy=None):
    """What words cost where every line left without loses its loss_if_waits, whatever others get."""
    ruled = apply_overrides(lines, words)
    return cost_of_words(ruled, goods, policy or Policy(), words, pd.Series(given), at_prices(lines, goods))


def saved(lines, given):
    return float((lines["loss_if_waits"] * given / lines["open_quantity"]).sum())


@pytest.mark.parametrize(
    ("policy", "keeps"),
    [(Policy(), False), (RULES, False), (Policy(), True)],
    ids=["money alone", "rules of the site", "a plan that is kept"],
)
@pytest.mark.parametrize("seed", range(951, 957))
def test_the_cost_of_each_word_is_that_of_giving_out_everything_again_without_it(seed, policy, keeps):
    lines, goods, words = a_book(seed)
    if keeps:
        lines = lines.assign(kept_quantity=lines["open_quantity"].where(lines["waited_days"] % 3 == 0, 0.0))
    given = given_under(lines, goods, policy, words)
    costs = cost_of_words(
        apply_overrides(lines, words), goods, policy, words, pd.Series(given), at_prices(lines, goods)
    )
    for place in range(len(words)):
        without = given_under(lines, goods, policy, words.drop(index=place))
        assert costs.cost[place] == pytest.approx(saved(lines, without) - saved(lines, given), abs=1e-9)
        assert costs.units_moved[place] == pytest.approx(np.maximum(given - without, 0).sum(), abs=1e-9)
    free = given_under(lines, goods, policy, words.iloc[:0])
    assert costs.cost_of_all == pytest.approx(saved(lines, free) - saved(lines, given), abs=1e-9)
    assert costs.units_moved_by_all == pytest.approx(np.maximum(given - free, 0).sum())
    assert costs.n_lines_moved_by_all == (np.abs(given - free) > 1e-9).sum()
    assert (costs.cost != 0).sum() >= 2 - keeps
    assert costs.cost_of_all != 0 or keeps


def test_all_pins_said_as_one_word_cost_what_the_rule_costs():
    lines, goods, words = a_book(961, n_words=0)
    words = words_said({"product_id": "p", "action": "pin", "quantity": 1.0})
    ruled, given = apply_overrides(lines, words), given_under(lines, goods, Policy(), words)
    costs = cost_at_prices(lines, goods, words, given)
    rules = price_of_rules(ruled, goods, Policy()).set_index("rule").loc["pins"]
    assert costs.cost.tolist() == pytest.approx([rules["cost"]], abs=1e-9)
    assert costs.units_moved.tolist() == pytest.approx([rules["units_moved"]])
    assert rules["cost"] > 0


def test_the_worked_line_held_costs_what_it_loses_more_than_the_line_that_is_served_instead():
    lines = open_lines(2, loss_if_waits=[18.38, 8.61])
    words = words_said({"order_line_id": "L0", "action": "hold"})
    costs = cost_of_words(
        apply_overrides(lines, words), pools(1.0), Policy(), words, pd.Series([0.0, 1.0]), at_prices(lines, pools(1.0))
    )
    assert costs.cost.tolist() == pytest.approx([18.38 - 8.61])
    assert costs.units_moved.tolist() == [1.0]


def test_a_word_that_a_wider_one_follows_is_priced_with_that_one_in_its_place():
    lines = open_lines(2, loss_if_waits=[18.38, 8.61])
    words = in_order(words_said({"order_line_id": "L0", "action": "pin"}, {"customer_id": "c", "action": "hold"}))
    costs = cost_of_words(
        apply_overrides(lines, words), pools(1.0), Policy(), words, pd.Series([1.0, 0.0]), at_prices(lines, pools(1.0))
    )
    by_action = dict(zip(words["action"], costs.cost, strict=True))
    assert by_action["pin"] == pytest.approx(-18.38)  # without the pin L0 is held too, and the unit stays
    assert by_action["hold"] == 0


def test_words_that_move_nothing_cost_nothing_without_giving_out_again(monkeypatch):
    lines = open_lines(3, product_id=["p", "p", "p1"])
    words = words_said(
        {"order_line_id": "L0", "action": "hold"},
        {"order_line_id": "nobody", "action": "hold"},
        {"order_line_id": "L2", "action": "hold", "until_on": pd.Timestamp("2026-01-14")},
    )
    monkeypatch.setattr(decisions.override_costs, "give_out", None)
    ruled, given = apply_overrides(lines, words), pd.Series([0.0, 0.0, 1.0])
    here, loss = ruled.drop(index=[0, 1]), at_prices(lines, pools(0.0, 1.0)).only(np.array([2]))
    without_goods = cost_of_words(here, pools(0.0, 1.0), Policy(), words, given.drop(index=[0, 1]), loss)
    assert without_goods.cost.tolist() == [0.0, 0.0, 0.0]
    no_words = cost_of_words(lines, pools(1.0, 1.0), Policy(), words_said(), given, at_prices(lines, pools(1.0, 1.0)))
    assert no_words.cost.tolist() == []


def test_beyond_the_bound_on_the_work_the_words_with_least_money_are_not_priced(monkeypatch):
    lines = open_lines(4, loss_if_waits=[5.0, 40.0, 20.0, 10.0])
    words = in_order(words_said(*({"order_line_id": f"L{i}", "action": "hold"} for i in range(3))))
    monkeypatch.setattr(decisions.override_costs, "MOST_TURNS", 2)
    given = pd.Series([0.0, 0.0, 0.0, 1.0])
    costs = cost_of_words(
        apply_overrides(lines, words), pools(1.0), Policy(), words, given, at_prices(lines, pools(1.0))
    )
    by_line = dict(zip(words["order_line_id"], costs.cost, strict=True))
    assert [by_line["L1"], by_line["L2"]] == [30.0, 10.0]
    assert np.isnan(by_line["L0"])
    assert costs.cost_of_all == 30.0


def test_the_bound_on_the_work_does_not_reach_small_pools_beside_a_large_one(monkeypatch):
    lines = open_lines(7, product_id=["p"] * 5 + ["p1"] * 2, loss_if_waits=[5.0, 40.0, 20.0, 10.0, 1.0, 9.0, 2.0])
    words = in_order(words_said(*({"order_line_id": f"L{i}", "action": "hold"} for i in (0, 1, 2, 5))))
    given, goods = pd.Series([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]), pools(1.0, 1.0)
    monkeypatch.setattr(decisions.override_costs, "MOST_LINES_AGAIN", 2 + 5)
    costs = cost_at_prices(lines, goods, words, given)
    by_line = dict(zip(words["order_line_id"], costs.cost, strict=True))
    assert [by_line["L5"], by_line["L1"]] == [7.0, 30.0]
    assert np.isnan([by_line["L2"], by_line["L0"]]).all()


def with_later_goods(lines, goods, words, policy, later, hazards):
    """The book with the W of a morning that knows these words, and its waits."""
    ruled, pool = apply_overrides(lines, words), places_in(goods, lines)
    survival, next_goods = wanted_at_daily_hazard(*hazards), surely_on_day(*[9] * len(lines))
    nobody = np.zeros(len(lines), dtype=bool)
    costs = cost_by_chance(ruled, survival, next_goods, later, pool, nobody, 0.35, policy)
    here, limits = goods["available_now"].to_numpy(), limits_of(ruled, goods, policy)
    waits = priced_waits(ruled, costs, later, here, pool, limits, 1.0)
    return lines.assign(loss_if_waits=waits.costs["loss_if_waits"]).join(waits.planned), waits


def lost_under(lines, goods, policy, words, waits):
    """Money lost by the whole decision under these words, at the same W, as the manifest says it."""
    given = given_under(lines, goods, policy, words)
    return judged(waits, apply_overrides(lines, words).assign(ship_now_quantity=given)).lost


@pytest.mark.parametrize("policy", [Policy(), RULES], ids=["money alone", "rules of the site"])
@pytest.mark.parametrize("seed", [971, 972, 981])
def test_with_later_goods_a_word_costs_what_two_whole_decisions_are_judged_to_lose(seed, policy):
    # Seed 981 has a pin that keeps a line of a pool without goods from an exclusion of its customer.
    lines, goods, words = a_book(seed)
    rng = np.random.default_rng(seed)
    lines = lines.assign(
        account_id=lines["customer_id"], line_margin=rng.gamma(1, 60, len(lines)), lifetime_value=rng.gamma(1, 300, 60)
    )
    hazards = rng.uniform(0, 0.05, len(lines))
    lines, waits = with_later_goods(lines, goods, words, policy, random_chances(len(goods), 3, seed), hazards)
    given, lost = given_under(lines, goods, policy, words), lost_under(lines, goods, policy, words, waits)
    costs = cost_of_words(apply_overrides(lines, words), goods, policy, words, pd.Series(given), waits.loss)
    each = [lost - lost_under(lines, goods, policy, words.drop(index=place), waits) for place in range(len(words))]
    assert costs.cost == pytest.approx(each, abs=1e-5)
    assert costs.cost_of_all == pytest.approx(lost - lost_under(lines, goods, policy, words.iloc[:0], waits), abs=1e-5)
    at_price = cost_of_words(
        apply_overrides(lines, words), goods, policy, words, pd.Series(given), at_prices(lines, goods)
    )
    assert (np.abs(costs.cost - at_price.cost) > 0.5).sum() > 2, "later goods planned anew change the costs"


def one_pool(words, goods, units, n_lines=3, **columns):
    """Lines of one unit that save nothing if they come later, but a margin of 90, 50, 40, ... if they come at all."""
    margin = [90.0, 50.0, 40.0, 30.0][:n_lines]
    lines = open_lines(n_lines, line_margin=margin, may_split=True, **columns)
    later = LaterGoods(on_days(9).day, np.array([[units]]), 180)
    lines, waits = with_later_goods(lines, pools(goods), words, Policy(), later, [0.0] * n_lines)
    given = given_under(lines, pools(goods), Policy(), words)
    return cost_of_words(apply_overrides(lines, words), pools(goods), Policy(), words, pd.Series(given), waits.loss)


def test_an_exclusion_in_a_pool_without_goods_costs_what_its_later_goods_save_less_on_others():
    # One unit comes: without the word the first line has it and saves 90, with it the second and saves 50.
    words = words_said({"order_line_id": "L0", "action": "exclude"})
    assert one_pool(words, goods=0.0, units=1.0).cost.tolist() == pytest.approx([90 - 50], abs=1e-6)


def test_a_word_that_keeps_a_line_from_an_exclusion_saves_money_where_no_goods_are():
    words = in_order(words_said({"order_line_id": "L0", "action": "hold"}, {"customer_id": "c", "action": "exclude"}))
    by_action = dict(zip(words["action"], one_pool(words, goods=0.0, units=1.0).cost, strict=True))
    assert by_action["hold"] == pytest.approx(-90, abs=1e-6)
    assert by_action["exclude"] == pytest.approx(0, abs=1e-6), "the only later unit is the first line's either way"


def test_of_two_words_that_need_the_same_later_unit_each_costs_what_both_cost():
    # Two units here, one later, four lines. Held alone, L0 has the later unit and nothing is lost by it. Held both, L2
    # and L3 ship, the later unit is L0's, and the 50 of L1 are lost instead of the 30 of L3.
    words = in_order(words_said(*({"order_line_id": f"L{i}", "action": "hold"} for i in (0, 1))))
    alone = one_pool(words.iloc[:1], goods=2.0, units=1.0, n_lines=4)
    assert alone.cost.tolist() == pytest.approx([0], abs=1e-6)
    costs = one_pool(words, goods=2.0, units=1.0, n_lines=4)
    assert costs.cost.tolist() == pytest.approx([50 - 30, 50 - 30], abs=1e-6)
    assert costs.cost_of_all == pytest.approx(50 - 30, abs=1e-6)


def test_the_word_on_a_customer_on_credit_hold_costs_nothing_as_the_block_stays():
    words = words_said({"order_line_id": "L0", "action": "hold"})
    costs = one_pool(words, goods=1.0, units=1.0, credit_hold=[True, False, False])
    assert costs.cost.tolist() == pytest.approx([0.0], abs=1e-6)
    excluded = one_pool(words.assign(action="exclude"), goods=1.0, units=1.0, credit_hold=[True, False, False])
    assert excluded.cost.tolist() == pytest.approx([90 - 40], abs=1e-6), "the block leaves its later goods"
