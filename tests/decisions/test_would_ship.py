"""What would have to be true for a line to ship: worked by hand, and checked by giving out everything again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from decisions import trial as trial_module
from decisions.allocation import give_out
from decisions.levers import LOSS, MARGIN, VALUE, Lever, levers_of
from decisions.loss_of_choice import LossOfChoice
from decisions.morning import GivenTo
from decisions.policy import Policy
from decisions.rules import limits_of
from decisions.segments import Segment
from decisions.served_instead import served_instead
from decisions.trial import Trial
from decisions.would_ship import would_ship
from tests.decisions.open_lines import at_prices
from tests.decisions.test_morning import decision
from tests.decisions.test_rules import EVERY_RULE, goods, ruled_lines, strained

SOME_RULES = replace(EVERY_RULE, segments=EVERY_RULE.segments[:2])
KEY_FIRST = Policy(segments=(Segment("key accounts", where={"segment": ("key",)}, turn=1),))


def asked(lines, here, name, policy=None):
    """The answer for one line, its own loss the only lever."""
    given_to = GivenTo(lines, here, policy or Policy(), at_prices(lines, here))
    loss = float(lines.loc[lines["order_line_id"] == name, "loss_if_waits"].iloc[0])
    found = would_ship(Trial.of(given_to, name), (Lever(LOSS, loss, {name: 1.0}),))
    # A sum over pools in another order ends in other digits.
    return replace(found, pin=replace(found.pin, cost=round(found.pin.cost, 9)) if found.pin else None)


def rounded(found):
    """The answer with the pin's cost to nine digits: it is the difference of two sums."""
    return replace(found, pin=found.pin and replace(found.pin, cost=round(found.pin.cost, 9)))


def gets(lines, here, name, policy=None, **changed):
    """Units of one line if all goods are given out to all lines, some of its columns changed."""
    is_line = lines["order_line_id"] == name
    lines = lines.assign(**{column: lines[column].mask(is_line, value) for column, value in changed.items()})
    policy = policy or Policy()
    given = give_out(lines, here, policy, limits_of(lines, here, policy)).ship_now_quantity
    return float(given[is_line].iloc[0])


def money_saved(lines, here, policy=None, **changed):
    lines, policy = lines.assign(**changed), policy or Policy()
    given = give_out(lines, here, policy, limits_of(lines, here, policy)).ship_now_quantity
    return float((lines["loss_if_waits"] * given / lines["open_quantity"]).sum())


def three_lines():
    # 3 units. L0 loses 10 a unit (2 units), L1 8 a unit (2 units), L2 5 a unit (1 unit); all may be split.
    return ruled_lines(3, open_quantity=[2.0, 2.0, 1.0], loss_if_waits=[20.0, 16.0, 5.0], rule=None)


def test_a_line_that_waits_worked_by_hand():
    found = asked(three_lines(), goods(3), "L2")
    # L0 has 2 units, L1 has 1. From 8.00 a unit on L2 is level with L1: by due day and id L1 stays before it.
    assert (found.units, found.wanted, found.aim) == (0, 1, 1)
    (least,) = found.levers
    assert (least.now, least.least, least.units) == (5.0, 8.01, 1)
    (missing,) = found.missing
    assert (missing.product_id, missing.available_now, missing.missing) == ("p", 3, 2)
    assert found.is_enough
    # Pinned it takes the unit of L1: 8 lost there, 5 saved here.
    assert found.pin.cost == pytest.approx(8 - 5)
    (displaced,) = found.pin.displaced
    assert (displaced.order_line_id, displaced.units, displaced.loss) == ("L1", 1, 8)
    assert found.lifted == ()
    assert found.keeps_down_to is None


def test_a_line_that_ships_says_down_to_what_loss_it_keeps_its_goods():
    found = asked(three_lines(), goods(3), "L0")
    # Between 8 and 5 a unit it would share with L1 and have one unit only: it keeps both down to 8.00 a unit.
    assert found.keeps_down_to == pytest.approx(16.0, abs=0.011)
    assert (found.levers, found.missing, found.pin, found.is_enough) == ((), (), None, None)


def test_a_line_with_goods_enough_for_all_keeps_its_place_whatever_it_loses():
    assert asked(three_lines(), goods(9), "L2").keeps_down_to is None
    assert asked(three_lines(), goods(9), "L2").pin is None


def test_a_line_served_in_part_says_what_it_needs_and_what_it_keeps():
    found = asked(three_lines(), goods(3), "L1")
    assert (found.units, found.wanted, found.aim) == (1, 2, 2)
    assert found.levers[0].least == pytest.approx(20.01)  # more than 10 a unit: L0 is due no later and stands first
    assert found.missing[0].missing == 1
    assert found.keeps_down_to == pytest.approx(10.0, abs=0.011)  # 5 a unit, and it stands before L2


def test_no_loss_is_enough_where_a_turn_comes_before_and_the_rule_is_named():
    lines = ruled_lines(2, open_quantity=[2.0, 2.0], loss_if_waits=[4.0, 50.0], segment=["key", "web"], rule=None)
    found = asked(lines, goods(2), "L1", KEY_FIRST)
    assert found.levers[0].least is None
    assert [(each.rule, each.segment, each.units) for each in found.lifted] == [("turn", "key accounts", 2)]
    assert found.pin.cost == pytest.approx(4 - 50)  # the rule costs that much


def test_a_held_line_ships_if_its_hold_is_lifted_and_no_money_helps():
    lines = three_lines().assign(override=["hold", None, None]).astype({"override": "str"})
    found = asked(lines, goods(3), "L0")
    assert found.units == 0
    assert [(each.rule, each.units) for each in found.lifted] == [("own hold", 2)]
    assert found.levers[0].least is None
    assert found.missing[0].missing is None


def test_a_credit_hold_is_lifted_by_no_pin():
    found = asked(three_lines().assign(credit_hold=[True, False, False]), goods(3), "L0")
    assert found.pin is None
    assert [(each.rule, each.units) for each in found.lifted] == [("own credit hold", 2)]


def test_two_rules_that_must_both_go_are_lifted_at_once():
    lines = three_lines().assign(override=["hold", None, None], credit_hold=[True, False, False])
    found = asked(lines.astype({"override": "str"}), goods(3), "L0")
    assert [(each.rule, each.units) for each in found.lifted] == [("all rules", 2)]


def test_a_whole_line_that_does_not_fit_ships_in_part_if_it_might_be_split():
    lines = ruled_lines(2, open_quantity=[5.0, 1.0], loss_if_waits=[100.0, 1.0], may_split=False, rule=None)
    found = asked(lines, goods(3), "L0")
    assert [(each.rule, each.units) for each in found.lifted] == [("ships whole", 3)]
    assert (found.levers, found.pin) == ((), None)  # not even pinned
    assert found.missing[0].missing == 2


def test_a_group_says_what_each_pool_lacks_and_that_all_of_it_is_enough():
    lines = ruled_lines(
        3,
        product_id=["p", "p1", "p1"],
        ship_group=["g", "g", None],
        open_quantity=[2.0, 4.0, 3.0],
        loss_if_waits=[20.0, 40.0, 3.0],
        rule=None,
    )
    found = asked(lines, goods(1, 3), "L0")
    assert [(each.product_id, each.missing) for each in found.missing] == [("p", 1), ("p1", 1)]
    assert found.is_enough
    assert [(each.rule, each.units) for each in found.lifted] == [("ship group", 1)]


def test_a_group_of_which_a_line_is_not_due_yet_says_so():
    lines = ruled_lines(2, ship_group="g", group_waits_elsewhere=True, rule=None)
    found = asked(lines, goods(5), "L0")
    assert [(each.rule, each.units) for each in found.lifted] == [("group elsewhere", 1), ("ship group", 1)]
    assert [each.missing for each in found.missing] == [None]
    assert not found.is_enough


def test_a_kept_plan_is_named_where_it_holds_the_goods():
    lines = three_lines().assign(kept_quantity=[0.0, 0.0, 1.0])
    found = asked(lines, goods(2), "L0")
    assert [(each.rule, each.units) for each in found.lifted] == [("last plan", 2)]
    assert asked(lines, goods(1), "L2").lifted[0].units == 0  # which has them by the last plan alone


def test_a_pin_on_an_excluded_line_costs_nothing_for_the_units_that_then_wait_for_later_goods():
    # 2 of its 4 units are here and 2 come, where nothing is lost by waiting: pinned it is served in full.
    lines = ruled_lines(1, open_quantity=[4.0], loss_if_waits=[40.0], may_split=True, override=["exclude"], rule=None)
    lines = lines.astype({"override": "str"})
    loss = LossOfChoice(
        np.zeros(1, np.int64),
        np.array([4.0]),
        np.zeros((1, 1)),
        np.array([[4.0]]),
        np.array([40.0]),
        np.array([[2.0, 2]]),
    )
    found = would_ship(Trial.of(GivenTo(lines, goods(2), Policy(), loss), "L0"), (Lever(LOSS, 40.0, {"L0": 1.0}),))
    assert found.pin.units == 2
    assert found.pin.cost == pytest.approx(-40.0, abs=1e-6)


@pytest.mark.parametrize("seed", [901, 902])
@pytest.mark.parametrize("policy", [Policy(), EVERY_RULE], ids=["by money", "every rule"])
def test_every_answer_holds_when_everything_is_given_out_again(seed, policy):
    lines, here = strained(seed, 20)
    lines, here = lines.assign(rule=None), here.assign(available_now=[20.0, 12.0, 18.0])
    n_answers = 0
    for name, loss in zip(lines["order_line_id"][::3], lines["loss_if_waits"][::3], strict=True):
        found = asked(lines, here, name, policy)
        assert found.units == gets(lines, here, name, policy)
        for least in found.levers:
            if least.least is None:
                assert gets(lines, here, name, policy, loss_if_waits=1e7) < found.aim
                continue
            n_answers += 1
            assert gets(lines, here, name, policy, loss_if_waits=least.least) >= found.aim
            assert gets(lines, here, name, policy, loss_if_waits=least.least - 0.01) < found.aim
        if found.keeps_down_to is not None and found.keeps_down_to < loss:
            n_answers += 1
            assert gets(lines, here, name, policy, loss_if_waits=found.keeps_down_to) >= found.units
            assert gets(lines, here, name, policy, loss_if_waits=found.keeps_down_to - 0.01) < found.units
        if found.pin:
            n_answers += 1
            is_line = lines["order_line_id"] == name
            words = {"override": lines["override"].mask(is_line, "pin")}
            words["override_quantity"] = lines["override_quantity"].mask(is_line, np.nan)
            with_pin = money_saved(lines, here, policy, **words)
            assert found.pin.cost == pytest.approx(money_saved(lines, here, policy) - with_pin, abs=1e-9)
    assert n_answers > 2


@pytest.mark.parametrize("seed", [903, 904])
def test_the_missing_units_are_enough_and_the_fewest(seed):
    lines, here = strained(seed, 20)
    lines, here = lines.assign(rule=None), here.assign(available_now=[20.0, 12.0, 18.0])
    n_answers = 0
    for name in lines["order_line_id"][::2]:
        found = asked(lines, here, name)
        if len(found.missing) != 1 or not found.is_enough:
            continue
        (missing,) = found.missing
        n_answers += 1
        ships = []
        for more in np.arange(missing.missing + 1):
            at_pool = here["product_id"] == missing.product_id
            filled = here.assign(available_now=here["available_now"] + np.where(at_pool, more, 0))
            ships.append(gets(lines, filled, name) >= found.wanted)
        assert ships[-1]
        assert not any(ships[:-1])
    assert n_answers > 0


def many_pools(seed, n_lines=60, n_pools=9):
    """Lines of every kind in many pools, of which ship groups tie a few."""
    lines, _ = strained(seed, n_lines)
    rng = np.random.default_rng(seed + 1)
    names = ["p", *(f"p{i}" for i in range(1, n_pools))]
    group = np.where(np.arange(n_lines) < 4, [f"G{i // 2}" for i in range(n_lines)], None)
    lines = lines.assign(product_id=rng.choice(names, n_lines), ship_group=group, rule=None)
    return lines.astype({"ship_group": "str"}), goods(*rng.integers(2, 15, n_pools))


@pytest.mark.parametrize("policy", [Policy(), SOME_RULES], ids=["by money", "some rules"])
def test_giving_out_in_the_tied_pools_alone_answers_as_giving_out_everywhere(monkeypatch, policy):
    lines, here = many_pools(905)
    names = lines["order_line_id"].tolist()[::12]
    alone = [rounded(asked(lines, here, name, policy)) for name in names]
    sizes = {len(Trial.of(GivenTo(lines, here, policy, at_prices(lines, here)), name).given_to.pools) for name in names}
    assert 1 in sizes
    assert max(sizes) > 1
    assert max(sizes) < len(here)
    monkeypatch.setattr(trial_module, "tied_pools", lambda lines, pools, concerned: (lines, pools))
    assert [rounded(asked(lines, here, name, policy)) for name in names] == alone


def test_the_order_of_rows_changes_no_answer():
    lines, here = many_pools(906)
    shuffled = lines.sample(frac=1, random_state=901).reset_index(drop=True)
    for name in lines["order_line_id"].tolist()[::20]:
        again = rounded(asked(shuffled, here, name, SOME_RULES))
        assert again == rounded(asked(lines, here, name, SOME_RULES))


def test_a_line_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="'x' is not among the 3 lines"):
        Trial.of(GivenTo(three_lines(), goods(1), Policy(), at_prices(three_lines(), goods(1))), "x")


def test_who_has_the_goods_at_what_price_and_why():
    lines = ruled_lines(
        5,
        open_quantity=[1.0, 1.0, 1.0, 3.0, 1.0],
        loss_if_waits=[2.0, 9.0, 6.0, 30.0, 4.0],
        override=["pin", None, None, None, None],
        may_split=[True, True, True, False, True],
        rule=[None, None, None, None, "it is told so"],
    )
    given_to = GivenTo(lines, goods(4), Policy(), at_prices(lines, goods(4)))
    # L0 is pinned. L3 would save 10 a unit and takes the other three.
    said = served_instead(Trial.of(given_to, "L1"))
    assert [(each.order_line_id, each.units, each.because) for each in said] == [("L0", 1, "pin"), ("L3", 3, "more")]
    assert [each.loss_per_unit for each in said] == [2, 10]
    # With three units L3 no longer fits beside the pin: the others have them although they lose less per unit.
    said = served_instead(Trial.of(replace(given_to, pools=goods(3)), "L3"))
    assert [(each.order_line_id, each.because) for each in said] == [("L0", "pin"), ("L1", "less"), ("L2", "less")]
    taken = "goods went to a pinned line, or stay with one that keeps them"
    assert said[1].said == f"loses less per unit; why not the line asked about: {taken}"
    said = served_instead(Trial.of(replace(given_to, pools=goods(9)), "L2"))
    assert {each.order_line_id: each.because for each in said} == {
        "L0": "pin",
        "L1": "more",
        "L3": "more",
        "L4": "rule",
    }
    assert said[-1].said == "it is told so"


def test_levers_move_the_loss_as_deciding_anew_says():
    # Goods come surely on day 10; 2 % cancel a day. Nothing else is lost by waiting but margin and future orders.
    columns = {"line_margin": [40.0, 50.0], "account_id": ["a", "b"]}
    found = decision(2, lifetime_value=300.0, goods=1.0, columns=columns)
    levers = {lever.name: lever for lever in levers_of(found.queue, found.given_to, "L0", 0.0)}
    assert levers[LOSS].loss_per_money == {"L0": 1.0}
    base = found.queue.set_index("order_line_id")["loss_if_waits"]
    dearer = decision(2, lifetime_value=[310.0, 300.0], goods=1.0, columns=columns)
    rise = dearer.queue.set_index("order_line_id")["loss_if_waits"] - base
    assert levers[VALUE].loss_per_money["L0"] == pytest.approx(rise["L0"] / 10)
    richer = decision(2, lifetime_value=300.0, goods=1.0, columns=columns | {"line_margin": [45.0, 50.0]})
    rise = richer.queue.set_index("order_line_id")["loss_if_waits"] - base
    assert levers[MARGIN].loss_per_money["L0"] == pytest.approx(rise["L0"] / 5)


def test_a_margin_found_least_ships_the_line_when_the_morning_is_decided_anew():
    columns = {"line_margin": [40.0, 50.0], "account_id": ["a", "b"]}
    found = decision(2, goods=1.0, columns=columns)
    queue = found.queue.set_index("order_line_id")
    assert queue["ship_now_quantity"].to_dict() == {"L0": 0, "L1": 1}
    levers = levers_of(found.queue, found.given_to, "L0", 0.0)
    answer = {least.name: least for least in would_ship(Trial.of(found.given_to, "L0"), levers).levers}
    assert set(answer) == {LOSS, MARGIN}  # nothing is known of the customer's future
    for margin, units in ((answer[MARGIN].least + 0.01, 1), (answer[MARGIN].least - 0.02, 0)):
        anew = decision(2, goods=1.0, columns=columns | {"line_margin": [margin, 50.0]}).queue
        assert anew.set_index("order_line_id")["ship_now_quantity"]["L0"] == units


def test_a_handling_cost_belongs_to_no_margin():
    policy = Policy(cancel_handling_cost=7.0)
    found = decision(2, goods=1.0, columns={"line_margin": [40.0, 50.0]}, policy=policy)
    lever = {lever.name: lever for lever in levers_of(found.queue, found.given_to, "L0", 0.0)}[MARGIN]
    assert lever.loss_per_money["L0"] == pytest.approx(1 - 0.98**10)


def test_a_customers_value_moves_all_its_lines():
    found = decision(3, lifetime_value=300.0, goods=1.0, columns={"account_id": ["a", "b", "a"]})
    lever = {lever.name: lever for lever in levers_of(found.queue, found.given_to, "L0", 0.0)}[VALUE]
    assert set(lever.loss_per_money) == {"L0", "L2"}
    assert all(rise > 0 for rise in lever.loss_per_money.values())


def test_the_chance_that_the_loss_is_reckoned_to_is_kept_with_the_line():
    lines = decision(2, goods=1.0).given_to.lines
    assert pd.api.types.is_integer_dtype(lines["later_chance"])
    assert lines["later_chance"].tolist() == [1, 1]
