"""Rules of the site on the giving: planned units, turns, sequences, confirmations, limits, protected goods."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.limits import Limits
from decisions.passed_over import MEANING
from decisions.policy import Policy
from tests.decisions.every_choice import assert_lawful, best_of_every_choice
from tests.decisions.open_lines import open_lines, pools

SEGMENTS = ["gold", "iron"]


def limits_of(lines, n_pools=1, **rules):
    """No limits but these."""
    none = Limits.none(len(lines), n_pools)
    kinds = {"turn": np.int64, "segment": np.int64, "is_kept": np.bool_}
    return replace(none, **{name: np.array(values, dtype=kinds.get(name, float)) for name, values in rules.items()})


def random_lines(seed, n_lines=6, n_pools=1, **columns):
    rng = np.random.default_rng(seed)
    lines = open_lines(
        n_lines,
        product_id=rng.choice(["p", *(f"p{i}" for i in range(1, n_pools))], n_lines),
        open_quantity=rng.integers(1, 6, n_lines).astype(float),
        loss_if_waits=rng.uniform(0.1, 30, n_lines).round(3),
        quantity_step=rng.choice([1.0, 1.0, 2.0], n_lines),
        may_split=rng.random(n_lines) < 0.5,
        segment=pd.Series(rng.choice([*SEGMENTS, None], n_lines), dtype="str"),
    )
    return lines.assign(**columns), float(rng.integers(0, 14))


def segment_rows(lines):
    return pd.Index(SEGMENTS).get_indexer(lines["segment"])


def given_by(lines, goods, limits, policy=None):
    return give_out(lines, pools(goods), policy or Policy(), limits).ship_now_quantity.tolist()


def test_planned_units_of_lines_at_the_price_go_before_the_rest_of_their_wish():
    lines = open_lines(
        4, open_quantity=10.0, loss_if_waits=[50.0, 20.0, 20.0 + 1e-8, 5.0], may_split=True, quantity_step=0.25
    )
    assert give_out(lines, pools(18), Policy()).ship_now_quantity.tolist() == [10, 0, 8, 0]
    planned = lines.assign(planned_quantity=[10.0, 6.5, 1.5, 0.0], is_at_price=[False, True, True, False])
    allocation = give_out(planned, pools(18), Policy())
    assert allocation.ship_now_quantity.tolist() == [10, 6.5, 1.5, 0]
    assert allocation.certificate.value == pytest.approx(50 + 0.8 * 20)
    assert give_out(planned, pools(20), Policy()).ship_now_quantity.tolist() == [10, 8.5, 1.5, 0]  # by due day, then id
    assert give_out(planned, pools(13), Policy()).ship_now_quantity.tolist() == [10, 3, 0, 0]


def test_plans_are_kept_in_every_pool_that_their_units_fill():
    for seed in range(901, 931):
        rng = np.random.default_rng(seed)
        price, above = 4.0, rng.integers(0, 3)
        quantity = rng.integers(2, 9, above + 4).astype(float)
        worth = np.where(np.arange(above + 4) < above, price + 1, price + rng.uniform(-1, 1, above + 4) * 1e-9)
        planned = np.where(np.arange(above + 4) < above, quantity, np.floor(quantity * rng.random(above + 4) * 4) / 4)
        lines = open_lines(
            above + 4,
            open_quantity=quantity,
            loss_if_waits=quantity * worth,
            may_split=True,
            quantity_step=0.25,
            planned_quantity=planned,
            is_at_price=np.arange(above + 4) >= above,
        )
        order = rng.permutation(len(lines))
        allocation = give_out(lines.iloc[order], pools(planned.sum()), Policy())
        assert allocation.ship_now_quantity.sort_index().to_numpy() == pytest.approx(planned)
        assert allocation.certificate.gap <= 1e-6 * allocation.certificate.value


def test_planned_units_never_break_steps_where_a_whole_line_is_in_the_way():
    for seed in range(901, 941):
        lines, goods = random_lines(seed)
        rng = np.random.default_rng(seed)
        lines["loss_if_waits"] = np.where(rng.random(6) < 0.6, 3 * lines["open_quantity"], lines["loss_if_waits"])
        is_at_price = (lines["loss_if_waits"] == 3 * lines["open_quantity"]).to_numpy()
        planned = lines.assign(planned_quantity=lines["open_quantity"] * rng.random(6), is_at_price=is_at_price)
        allocation = give_out(planned, pools(goods), Policy())
        assert_lawful(lines, allocation)
        assert allocation.certificate.value == pytest.approx(best_of_every_choice(lines, {"p": goods}))


def test_lines_of_a_lower_turn_are_served_before_those_of_a_higher_one():
    lines = open_lines(4, loss_if_waits=[1.0, 2.0, 90.0, -1.0])
    limits = limits_of(lines, turn=[5, 5, 7, 5])
    assert [given_by(lines, goods, limits) for goods in (1, 2, 3)] == [[0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1]]
    allocation = give_out(lines, pools(2), Policy(), limits)
    assert allocation.passed_over.tolist()[2] == "turn"
    assert allocation.pools["stock_price"].item() == 90.0


def test_each_turn_is_the_best_of_every_choice_with_what_the_turn_before_left():
    for seed in range(901, 931):
        lines, goods = random_lines(seed)
        turn = np.random.default_rng(seed).integers(0, 2, 6)
        allocation = give_out(lines, pools(goods), Policy(), limits_of(lines, turn=turn))
        money = allocation.ship_now_quantity * lines["loss_if_waits"] / lines["open_quantity"]
        assert_lawful(lines, allocation)
        assert money[turn == 0].sum() == pytest.approx(best_of_every_choice(lines[turn == 0], {"p": goods}))
        left = goods - allocation.ship_now_quantity[turn == 0].sum()
        assert money[turn == 1].sum() == pytest.approx(best_of_every_choice(lines[turn == 1], {"p": left}))


def test_a_typed_sequence_is_kept_and_lines_without_a_place_come_after_it():
    lines = open_lines(4, open_quantity=2.0, loss_if_waits=[9.0, 1.0, 50.0, 5.0])
    limits = limits_of(lines, sort_key=[2.0, 1.0, np.nan, 2.0])
    assert given_by(lines, 2, limits) == [0, 2, 0, 0]
    assert given_by(lines, 5, limits) == [2, 2, 0, 0]  # of equal places the one that loses more
    assert given_by(lines, 8, limits) == [2, 2, 2, 2]
    allocation = give_out(lines, pools(5), Policy(), limits)
    assert allocation.passed_over.fillna("").tolist() == ["", "", "turn", "whole"]


def test_a_confirmation_that_is_kept_comes_after_pins_and_before_all_others():
    lines = open_lines(3, open_quantity=4.0, loss_if_waits=[1.0, 50.0, 2.0], may_split=[True, True, False])
    limits = limits_of(lines, least=[3, 0, 3])
    assert given_by(lines, 5, limits) == [3, 2, 0]  # a whole line keeps all or nothing: 3 of 4 is nothing
    assert given_by(lines, 2, limits) == [2, 0, 0]
    pinned = lines.assign(override=[None, "pin", None])
    assert given_by(pinned, 5, limits) == [1, 4, 0]
    assert given_by(lines, 9, limits_of(lines, least=[3, 0, 4])) == [3, 2, 4]
    assert give_out(lines, pools(3), Policy(), limits).passed_over[1] == "pin"


def test_no_line_gets_more_than_its_limit_and_whole_lines_then_get_nothing():
    lines = open_lines(
        4,
        open_quantity=5.0,
        loss_if_waits=[90.0, 80.0, 1.0, 9.0],
        may_split=[True, False, True, True],
        quantity_step=2.0,
    )
    limits = limits_of(lines, most=[3, 3, np.inf, 0])
    allocation = give_out(lines, pools(20), Policy(), limits)
    assert allocation.ship_now_quantity.tolist() == [2, 0, 5, 0]
    assert allocation.passed_over.fillna("").tolist() == ["limit", "limit", "", "limit"]
    pinned = lines.assign(override=["pin", "pin", None, None])
    assert given_by(pinned, 20, limits) == [5, 5, 5, 0]  # a pin outranks every limit


def test_a_group_with_a_line_that_is_limited_stays():
    lines = open_lines(3, ship_group=pd.Series(["g", "g", None], dtype="str"), open_quantity=2.0)
    assert given_by(lines, 6, limits_of(lines, most=[1, np.inf, np.inf])) == [0, 0, 2]
    assert given_by(lines, 6, limits_of(lines, most=[2, np.inf, np.inf])) == [2, 2, 2]


def test_limits_save_what_the_best_of_every_choice_within_them_saves():
    for seed in range(901, 931):
        lines, goods = random_lines(seed)
        most = np.random.default_rng(seed).choice([0, 1, 3, np.inf], 6)
        allocation = give_out(lines, pools(goods), Policy(), limits_of(lines, most=most))
        best = best_of_every_choice(lines, {"p": goods}, most=most)
        assert allocation.certificate.value == pytest.approx(best)
        assert (allocation.ship_now_quantity <= most).all()


def test_a_part_ships_only_if_it_saves_more_than_its_shipment_costs():
    lines = open_lines(2, open_quantity=10.0, loss_if_waits=[100.0, 20.0], may_split=True)
    policy = Policy(shipment_cost=30)
    shipped = [give_out(lines, pools(goods), policy).ship_now_quantity.tolist() for goods in (3, 4, 10, 19, 20)]
    assert shipped == [[0, 0], [4, 0], [10, 0], [9, 10], [10, 10]]  # three units save 30, no more than the shipment
    assert give_out(lines, pools(3), policy).passed_over.tolist() == ["shipment", "shipment"]
    pinned = lines.assign(override=["pin", None], override_quantity=2.0)
    assert give_out(pinned, pools(3), policy).ship_now_quantity.tolist() == [3, 0]  # it ships today anyway


def test_parts_that_must_beat_a_shipment_save_what_the_best_of_every_choice_saves():
    for seed in range(901, 941):
        lines, goods = random_lines(seed)
        allocation = give_out(lines, pools(goods), Policy(shipment_cost=4))
        assert_lawful(lines, allocation, shipment_cost=4)
        best = best_of_every_choice(lines, {"p": goods}, shipment_cost=4)
        assert allocation.certificate.value == pytest.approx(best), seed


@pytest.mark.parametrize("unit", [0.5, 12.0, 0.1])
def test_halves_and_dozens_are_solved_exactly_too(unit):
    for seed in range(901, 921):
        lines, goods = random_lines(seed)
        scaled = lines.assign(open_quantity=lines["open_quantity"] * unit, quantity_step=lines["quantity_step"] * unit)
        allocation = give_out(scaled, pools(goods * unit + unit / 3), Policy())
        assert allocation.certificate.value == pytest.approx(best_of_every_choice(lines, {"p": goods}))
        assert "greedy" not in allocation.certificate.methods
        assert (allocation.ship_now_quantity <= scaled["open_quantity"]).all()


def test_protected_goods_are_given_out_as_well_as_every_choice_for_divisible_lines():
    for seed in range(901, 941):
        lines, goods = random_lines(seed, may_split=True, quantity_step=1.0)
        own = np.random.default_rng(seed).integers(0, 5, 2).astype(float)
        limits = limits_of(lines, segment=segment_rows(lines), protected=own[:, None], is_kept=[True, True])
        allocation = give_out(lines, pools(goods), Policy(), limits)
        shrunk = own * min(1.0, goods / max(own.sum(), 1e-9))
        best = best_of_every_choice(lines, {"p": goods}, protected={"p": dict(zip(SEGMENTS, shrunk, strict=True))})
        if np.array_equal(shrunk, own):
            assert allocation.certificate.value == pytest.approx(best)
            assert allocation.certificate.gap == pytest.approx(0, abs=1e-9)
        assert allocation.certificate.value <= best + 1e-9
        assert_lawful(lines, allocation)


def test_protected_goods_for_whole_lines_stand_beside_a_bound_that_no_choice_exceeds():
    n_below = 0
    for seed in range(901, 941):
        lines, goods = random_lines(seed)
        limits = limits_of(lines, segment=segment_rows(lines), protected=[[2.0], [1.0]], is_kept=[True, True])
        goods += 3
        allocation = give_out(lines, pools(goods), Policy(), limits)
        best = best_of_every_choice(lines, {"p": goods}, protected={"p": {"gold": 2.0, "iron": 1.0}})
        assert_lawful(lines, allocation)
        assert allocation.certificate.value <= best + 1e-9 <= allocation.certificate.bound + 2e-9
        n_below += allocation.certificate.value < best - 1e-9
    assert n_below  # else "greedy" would be said for nothing


def test_what_a_segment_leaves_goes_back_to_all_unless_it_is_kept():
    lines = open_lines(3, open_quantity=[2.0, 9.0, 4.0], loss_if_waits=[2.0, 90.0, -4.0], may_split=True)
    rules = {"segment": [0, -1, -1], "protected": [[5.0]]}
    kept = give_out(lines, pools(10), Policy(), limits_of(lines, **rules, is_kept=[True]))
    assert kept.ship_now_quantity.tolist() == [2, 5, 0]
    assert kept.passed_over.fillna("").tolist() == ["", "segment", "segment"]
    assert kept.pools["stock_price"].item() == 10.0  # of what is not kept nothing is left
    shared = give_out(lines, pools(10), Policy(), limits_of(lines, **rules, is_kept=[False]))
    assert shared.ship_now_quantity.tolist() == [2, 8, 0]
    whole = give_out(
        lines.assign(may_split=[False, True, True]), pools(1.5), Policy(), limits_of(lines, **rules, is_kept=[False])
    )
    assert whole.ship_now_quantity.tolist() == [0, 1, 0]  # what no line of the segment can use goes back, in steps


def test_pins_take_protected_goods_and_those_of_the_segment_count_against_them():
    lines = open_lines(
        3, open_quantity=4.0, loss_if_waits=[1.0, 2.0, 90.0], may_split=True, override=["pin", None, None]
    )
    rules = {"segment": [0, 0, -1], "protected": [[6.0]], "is_kept": [True]}
    assert given_by(lines, 8, limits_of(lines, **rules)) == [4, 2, 2]
    rules["segment"] = [-1, 0, -1]
    assert given_by(lines, 8, limits_of(lines, **rules)) == [4, 4, 0]


def test_groups_compete_in_order_where_goods_are_protected_and_the_bound_holds():
    for seed in range(901, 921):
        lines, _ = random_lines(seed, n_pools=2)
        rng = np.random.default_rng(seed)
        lines["ship_group"] = pd.Series(rng.choice(["g", "h", None], 6), dtype="str")
        goods = rng.integers(3, 10, 2).astype(float)
        limits = limits_of(lines, 2, segment=segment_rows(lines), protected=[[2, 0], [1, 2]], is_kept=[True, True])
        allocation = give_out(lines, pools(*goods), Policy(), limits)
        protected = {"p": {"gold": 2.0, "iron": 1.0}, "p1": {"gold": 0.0, "iron": 2.0}}
        best = best_of_every_choice(lines, dict(zip(["p", "p1"], goods, strict=True)), protected=protected)
        assert_lawful(lines, allocation)
        assert allocation.certificate.value <= best + 1e-9 <= allocation.certificate.bound + 2e-9


def all_rules(seed, n_lines=40, n_pools=5):
    """Lines and limits with every rule at once."""
    rng = np.random.default_rng(seed)
    lines, _ = random_lines(seed, n_lines, n_pools)
    lines["loss_if_waits"] -= rng.choice([0, 15], n_lines, p=[0.8, 0.2])
    lines["ship_group"] = pd.Series(rng.choice(["g", "h", "i", None], n_lines, p=[0.1, 0.1, 0.1, 0.7]), dtype="str")
    lines["override"] = pd.Series(rng.choice([None, "pin", "hold"], n_lines, p=[0.8, 0.1, 0.1]), dtype="str")
    lines["override_quantity"] = rng.choice([np.nan, 2.0], n_lines)
    lines["credit_hold"] = rng.random(n_lines) < 0.1
    least = rng.choice([0.0, 1.0, 5.0], n_lines, p=[0.8, 0.1, 0.1])
    limits = limits_of(
        lines,
        n_pools,
        turn=rng.integers(0, 3, n_lines),
        sort_key=rng.choice([np.nan, 1.0, 2.0], n_lines),
        least=least,
        most=np.maximum(rng.choice([2.0, np.inf], n_lines, p=[0.2, 0.8]), least),
        segment=segment_rows(lines),
        protected=rng.integers(0, 4, (2, n_pools)),
        is_kept=[True, False],
    )
    return lines, pools(*rng.integers(0, 40, n_pools)), limits


def lot_that_could_ship(line, missing, most, given):
    """Fewest more units that the line may have; inf if it may have none."""
    if isinstance(line.ship_group, str) or line.override == "hold" or line.credit_hold:
        return np.inf
    if not line.may_split:
        return missing if most >= line.open_quantity else np.inf
    return (
        min(line.quantity_step, missing) if given + line.quantity_step <= most or most >= line.open_quantity else np.inf
    )


@pytest.mark.parametrize("shipment_cost", [0.0, 5.0])
def test_all_rules_at_once_leave_no_goods_that_a_line_may_have_and_pass_none_over_without_a_reason(shipment_cost):
    for seed in range(901, 921):
        lines, goods, limits = all_rules(seed)
        allocation = give_out(lines, goods, Policy(shipment_cost=shipment_cost), limits)
        left = (allocation.pools["available_now"] - allocation.pools["given"]).set_axis(
            goods["product_id"].sort_values()
        )
        given, said = allocation.ship_now_quantity, allocation.passed_over
        worth = lines["loss_if_waits"] / lines["open_quantity"]
        for i, line in enumerate(lines.itertuples()):
            missing = line.open_quantity - given[i]
            lot = lot_that_could_ship(line, missing, limits.most[i], given[i]) if missing > 0 else np.inf
            if shipment_cost == 0 and limits.protected[0, goods["product_id"].tolist().index(line.product_id)] == 0:
                assert left[line.product_id] < lot, (seed, line)
            may_have = line.override != "hold" and not line.credit_hold and not isinstance(line.ship_group, str)
            served = (lines["product_id"] == line.product_id) & (given > 0) & (worth < worth[i] - 1e-9)
            if missing > 0 and may_have and served.any():
                assert said[i] in MEANING, (seed, line)
        assert said[(given >= lines["open_quantity"])].isna().all()
        assert (given <= lines["open_quantity"] + 1e-9).all()
        assert (allocation.pools["given"] <= allocation.pools["available_now"] + 1e-9).all()


def test_divisible_lines_without_rules_are_never_passed_over():
    for seed in range(901, 921):
        lines, goods = random_lines(seed, may_split=True, quantity_step=1.0)
        assert give_out(lines, pools(goods), Policy()).passed_over.isna().all()


def test_order_of_rows_changes_no_byte_whatever_the_rules():
    for seed in range(901, 907):
        lines, goods, limits = all_rules(seed)
        first = give_out(lines, goods, Policy(), limits)
        order = np.random.default_rng(seed).permutation(len(lines))
        per_line = ("turn", "sort_key", "least", "most", "segment")
        moved = replace(limits, **{name: getattr(limits, name)[order] for name in per_line})
        again = give_out(lines.iloc[order], goods.iloc[::-1], Policy(), moved)
        assert again.ship_now_quantity.sort_index().tolist() == first.ship_now_quantity.tolist()
        pd.testing.assert_frame_equal(again.pools, first.pools, check_exact=True)


def test_limits_that_do_not_bind_change_nothing():
    for seed in range(901, 911):
        lines, goods = random_lines(seed)
        loose = limits_of(
            lines,
            turn=np.full(6, 4),
            most=np.full(6, 99.0),
            segment=segment_rows(lines),
            protected=[[0], [0]],
            is_kept=[True, False],
        )
        plain, limited = give_out(lines, pools(goods), Policy()), give_out(lines, pools(goods), Policy(), loose)
        pd.testing.assert_frame_equal(plain.pools, limited.pools)
        pd.testing.assert_series_equal(plain.ship_now_quantity, limited.ship_now_quantity)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"least": [2.0, 0.0], "most": [1.0, 1.0]}, "least is above most in 1 of 2"),
        ({"segment": [0, -1]}, r"segment is not -1 \.\. -1 in 1 of 2"),
        ({"turn": [1, 2, 3]}, r"sort_key is not \(3,\)"),
        ({"least": [np.nan, -1.0]}, "least is not a number >= 0 in 2 of 2"),
        ({"protected": [[1.0]]}, r"protected is not \(0, n_pools\)"),
    ],
)
def test_limits_that_do_not_fit_together_are_refused(rules, text):
    with pytest.raises(ValueError, match=text):
        limits_of(open_lines(2), **rules)


def test_limits_of_other_lines_or_pools_are_refused():
    with pytest.raises(ValueError, match=r"limits for \(3, 1\) lines and pools, not \(2, 1\)"):
        give_out(open_lines(2), pools(1), Policy(), Limits.none(3, 1))


def test_limits_know_whether_they_bind():
    assert not Limits.none(2, 1).binds()
    assert limits_of(open_lines(2), most=[1.0, np.inf]).binds()
    assert limits_of(open_lines(2), segment=[0, -1], protected=[[1.0]], is_kept=[True]).binds()


def test_a_group_is_not_torn_apart_where_only_one_of_its_pools_has_goods_that_its_segment_leaves():
    # Gold keeps 2 of the 3 units of p but wants 4 in whole, so all 3 are offered again; p1 lacks what the group wants.
    lines = open_lines(
        3,
        product_id=["p", "p1", "p"],
        ship_group=["g", "g", None],
        open_quantity=[3.0, 5.0, 4.0],
        segment=["iron", "iron", "gold"],
    )
    limits = limits_of(lines, 2, segment=segment_rows(lines), protected=[[2, 0], [0, 0]], is_kept=[False, False])
    assert give_out(lines, pools(3, 1), Policy(), limits).ship_now_quantity.tolist() == [0, 0, 0]
    assert give_out(lines, pools(3, 5), Policy(), limits).ship_now_quantity.tolist() == [3, 5, 0]
