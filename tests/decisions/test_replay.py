"""Rules replayed on past mornings: against hand-worked money, the cost of waiting and a company with known truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from decisions.cost_of_waiting import never_served, served_after, terms_of
from decisions.customer_loss import Ties, future_share
from decisions.outlooks import Outlooks
from decisions.policy import Policy
from decisions.replay import replay
from decisions.replay_past import Past
from decisions.replay_rules import (
    by_line_value,
    by_promise_date,
    by_typed_priority,
    first_come_first_served,
)
from tests.decisions.past_mornings import (
    DRAWS,
    FIRST,
    Watched,
    at_daily_hazard,
    curves_that_draws_meet,
    nothing,
    past_of,
    random_past,
    served_in,
    two_lines,
)

KAPPA_ONLY = Policy(cancel_lost_share=0.1, late_lost_share=0)
EVERYTHING = Policy(
    cancel_lost_share=0.2,
    late_lost_share=0.15,
    cancel_handling_cost=7,
    late_penalty_share_per_day=0.01,
    won_back_share=0.1,
    horizon_days=30,
)
RULES = {
    "first come": first_come_first_served,
    "promise": by_promise_date,
    "priority": by_typed_priority,
    "value": by_line_value,
}


def test_the_two_lines_of_the_design_lose_18_38_and_8_61_by_waiting_for_ten_days():
    rules = {"A first": served_in("L0", "L1"), "B first": served_in("L1", "L0")}
    lost = replay(two_lines(), rules, KAPPA_ONLY, DRAWS).totals.set_index("rule")
    # Spread evenly, the draws that a line survives differ from its chance by half a draw at most, on each of ten days.
    assert lost.loc["B first", "money_lost"] == pytest.approx(18.38, abs=10 * 0.03 * 70 / (2 * DRAWS))
    assert lost.loc["A first", "money_lost"] == pytest.approx(8.61, abs=10 * 0.01 * 90 / (2 * DRAWS))
    assert lost.loc["B first", "loss_cancel"] / lost.loc["B first", "money_lost"] == pytest.approx(40 / 70)
    assert lost.loc["A first", "loss_future_orders"] == 0


def many_lines(rng, n_lines, n_days, goods):
    names = [f"p{i}" for i in range(n_lines)]
    promised = FIRST + pd.to_timedelta(rng.integers(-3, 6, n_lines), unit="D")
    return past_of(
        n_lines,
        curves_that_draws_meet(rng, n_lines, 30),
        goods,
        n_days,
        product_id=names,
        due_on=FIRST - pd.to_timedelta(rng.integers(1, 20, n_lines), unit="D"),
        promised_on=pd.Series(promised).where(rng.random(n_lines) < 0.7),
        line_margin=rng.uniform(1, 90, n_lines),
        paid_share=rng.uniform(0.8, 1, n_lines),
        lifetime_value=rng.uniform(0, 900, n_lines),
    )


def priced(past):
    """The lines of a past as `cost_of_waiting` takes them on the first morning."""
    lines = past.lines.assign(lifetime_value=past.yardstick.rows["lifetime_value"])
    waited, late = ((FIRST - lines[name]).dt.days for name in ("due_on", "promised_on"))
    return lines.assign(waited_days=waited, days_late=late.astype(float))


def test_a_line_served_after_some_days_has_lost_what_the_cost_of_waiting_says():
    rng = np.random.default_rng(1)
    days = rng.integers(0, 11, 25)
    past = many_lines(rng, 25, 12, [(f"p{i}", int(day), 1) for i, day in enumerate(days)])
    lost = replay(past, {"all": served_in(*past.lines["order_line_id"])}, EVERYTHING, DRAWS).pools
    lines = priced(past)
    arrival = np.zeros((25, 32))
    arrival[np.arange(25), days] = 1
    outcome = served_after(lines, past.yardstick.survival, arrival, EVERYTHING)
    expected = terms_of(lines, outcome, np.ones(25), Ties.of(lines, 0.0), EVERYTHING)
    found = lost.set_index("product_id").loc[lines["product_id"]]
    np.testing.assert_allclose(found[["loss_cancel", "loss_future_orders", "loss_service"]], expected, atol=1e-9)
    np.testing.assert_allclose(found["money_lost"], expected.sum(axis=1), atol=1e-9)
    assert (expected > 0).any(axis=0).all()


def test_a_rule_that_ships_nothing_loses_what_the_cost_of_waiting_says_for_never():
    past = many_lines(np.random.default_rng(2), 25, 9, [("p0", 0, 5)])
    totals = replay(past, {"nothing": nothing}, replace(EVERYTHING, horizon_days=21), DRAWS).totals.iloc[0]
    lines = priced(past)
    never = never_served(lines, past.yardstick.survival, EVERYTHING)  # the curves' 30 days are 9 days and 21
    expected = terms_of(lines, never, np.ones(25), Ties.of(lines, 0.0), EVERYTHING).sum()
    assert totals["money_lost"] + totals["loss_if_never_served"] == pytest.approx(expected, rel=1e-9)
    assert totals["units_given"] == 0
    assert 0 < totals["loss_if_never_served"] < expected


@pytest.mark.parametrize(("orders", "rho"), [("apart", 0.5), ("one", 0.0), ("one", 0.5), ("one", 1.0)])
def test_a_customer_is_lost_once_however_many_lines_go(orders, rho):
    gone_at_once = np.zeros((2, 5)) + np.array([1.0, 0, 0, 0, 0])
    past = past_of(
        2,
        gone_at_once,
        [("p", 3, 2)],
        5,
        rho,
        account_id="a",
        root_order_id="O" if orders == "one" else ["O1", "O2"],
        lifetime_value=300.0,
        line_margin=0.0,
    )
    lost = replay(past, {"any": served_in("L0", "L1")}, Policy(cancel_lost_share=0.2, late_lost_share=0), DRAWS).totals
    share = rho if orders == "one" else 0.0
    expected = 300 * (share * 0.2 + (1 - share) * (1 - 0.8**2))
    lines = priced(past)
    p_lost = np.array([0.2, 0.2])
    assert expected == pytest.approx(300 * (p_lost * future_share(p_lost, Ties.of(lines, rho))).sum())
    assert lost["loss_future_orders"].iloc[0] == pytest.approx(expected)


def test_lines_that_go_together_go_on_one_day_and_pay_for_one_handling():
    past = past_of(2, at_daily_hazard(0.1, 0.1), [], 4, 1.0, root_order_id="O", account_id="a", line_margin=0.0)
    days = replay(past, {"nothing": nothing}, Policy(cancel_handling_cost=8, late_lost_share=0), 30).days
    assert set(days["units_cancelled"] * 30 % 2) == {0.0}
    alone = past_of(1, at_daily_hazard(0.1), [], 4, line_margin=0.0)
    policy = Policy(cancel_handling_cost=8, late_lost_share=0)
    assert days["loss_cancel"].iloc[0] == replay(alone, {"nothing": nothing}, policy, 30).days["loss_cancel"].iloc[0]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_goods_are_lost_or_made_and_no_line_gets_more_than_it_wants(name, seed):
    past, watched = random_past(seed), Watched(RULES[name])
    made = replay(past, {name: watched}, EVERYTHING, 1)
    total, came = made.totals.iloc[0], past.goods["quantity"].sum()
    reachable = past.goods[past.goods["product_id"].isin(past.lines["product_id"])]["quantity"].sum()
    assert came == reachable
    assert total["units_given"] + total["units_left"] == pytest.approx(came)
    wanted = past.lines["open_quantity"].sum()
    assert total["units_given"] + total["units_cancelled"] + made.days["units_waiting"].iloc[-1] - made.days[
        "units_cancelled"
    ].iloc[-1] == pytest.approx(wanted)
    served = pd.concat(
        [
            m.lines[["order_line_id"]].assign(units=u, on=m.on)
            for m, u in zip(watched.mornings, watched.units, strict=True)
        ]
    )
    by_line = served.groupby("order_line_id")["units"].sum()
    assert (by_line <= past.lines.set_index("order_line_id")["open_quantity"].reindex(by_line.index) + 1e-9).all()
    assert made.pools["units_given"].sum() == pytest.approx(total["units_given"])
    assert made.pools["money_lost"].sum() == pytest.approx(total["money_lost"])
    terms = made.days[["loss_cancel", "loss_future_orders", "loss_service"]]
    assert made.days["money_lost"].to_numpy() == pytest.approx(terms.sum(axis=1).to_numpy())
    held = served[(served["order_line_id"] == "L2") & (served["on"] > FIRST)]
    assert held["units"].sum() == 0
    assert total["units_given"] > 0


def test_nobody_who_may_have_goods_waits_while_they_lie_there():
    past, watched = random_past(4), Watched(first_come_first_served)
    replay(past, {"first come": watched}, EVERYTHING, 1)
    for morning, units in zip(watched.mornings, watched.units, strict=True):
        lines = morning.lines.assign(left=morning.lines["open_quantity"] - units)
        shelf = morning.pools.set_index("product_id")["available_now"] - lines.assign(units=units).groupby(
            "product_id"
        )["units"].sum().reindex(morning.pools["product_id"]).fillna(0)
        free = lines[~lines["credit_hold"] & lines["ship_group"].isna() & (lines["left"] > 0)]
        least = np.where(free["may_split"], np.minimum(1.0, free["left"]), free["left"])
        assert (least > shelf.reindex(free["product_id"]).to_numpy()).all()


def test_rules_see_nothing_that_was_not_known_that_morning():
    day = 3
    past, cut = random_past(5), FIRST + pd.Timedelta(days=day)
    past = replace(past, lines=past.lines.assign(ship_group=pd.Series(None, index=past.lines.index, dtype="str")))
    keep = (past.lines["enters_on"] <= cut).to_numpy()
    later = past.yardstick.rows.assign(made_on=cut + pd.Timedelta(days=1), lifetime_value=9e9)
    rows = pd.concat([past.yardstick.rows[keep], later[keep]], ignore_index=True)
    survival = np.concatenate([past.yardstick.survival[keep], np.tile([1.0] + [0.0] * 30, (keep.sum(), 1))])
    other = Past(
        FIRST,
        past.n_days,
        past.lines[keep],
        past.goods[past.goods["comes_on"] <= cut],
        Outlooks(rows, survival),
        past.joint_cancel_share,
        past.holds,
    )
    seen = []
    for each in (past, other):
        watched = Watched(first_come_first_served)
        replay(each, {"watched": watched}, EVERYTHING, 2)
        seen.append([m for m in watched.mornings if m.on <= cut])
    for one, two in zip(*seen, strict=True):
        assert_frame_equal(one.lines, two.lines, check_exact=True)
        goods = two.pools.merge(one.pools, on=["product_id", "warehouse_id"])
        assert goods["available_now_x"].tolist() == goods["available_now_y"].tolist()
        assert {"enters_on", "lifetime_value"}.isdisjoint(one.lines.columns)
    assert sum(len(morning.lines) for morning in seen[0]) > 20
    assert len(seen[0]) == 2 * (day + 1)


def test_the_order_of_rows_changes_nothing():
    past, rng = random_past(6), np.random.default_rng(0)
    order = rng.permutation(len(past.lines))
    shuffled = Past(
        past.first_on,
        past.n_days,
        past.lines.iloc[order],
        past.goods.sample(frac=1, random_state=1),
        Outlooks(past.yardstick.rows.iloc[order].reset_index(drop=True), past.yardstick.survival[order]),
        past.joint_cancel_share,
        past.holds[::-1],
    )
    one, two = (replay(each, RULES, EVERYTHING, 3) for each in (past, shuffled))
    for name in ("days", "pools", "totals", "draws"):
        assert_frame_equal(getattr(one, name), getattr(two, name), check_exact=True)


def test_a_rule_meets_the_same_fate_under_any_name_and_beside_any_other():
    past = random_past(7)
    both = replay(past, {"a": by_promise_date, "b": nothing, "c": by_promise_date}, EVERYTHING, 3)
    alone = replay(past, {"c": by_promise_date}, EVERYTHING, 3)
    lost = both.totals.set_index("rule")
    assert_frame_equal(lost.loc[["a"]].rename(index={"a": "c"}), lost.loc[["c"]], check_exact=True)
    assert_frame_equal(alone.totals.set_index("rule"), lost.loc[["c"]], check_exact=True)


def test_a_customer_seen_cancelling_may_still_be_served_and_one_seen_served_may_cancel():
    past = past_of(1, at_daily_hazard(0.5), [("p", 2, 1)], 4)
    made = replay(past, {"any": served_in("L0")}, KAPPA_ONLY, DRAWS)
    assert made.days["units_given"].tolist() == pytest.approx([0, 0, 0.25, 0])  # the share of draws that still wants it
    assert made.days["units_cancelled"].tolist() == pytest.approx([0.5, 0.25, 0, 0])


def test_the_days_say_what_was_wanted_given_and_left():
    past = past_of(
        2,
        np.ones((2, 9)),
        [("p", 0, 3), ("p", 1, 4)],
        3,
        open_quantity=[2.0, 4.0],
        due_on=FIRST - pd.to_timedelta([5, 9], unit="D"),
    )
    days = replay(past, {"first": served_in("L0", "L1")}, KAPPA_ONLY, 2).days
    assert days["on"].tolist() == [FIRST, FIRST + pd.Timedelta(days=1), FIRST + pd.Timedelta(days=2)]
    assert days[
        ["units_wanted", "units_given", "units_left", "lines_waiting", "units_waiting", "longest_wait_days"]
    ].to_numpy().tolist() == [
        [6, 2, 1, 1, 4, 9],
        [4, 4, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
    ]
    assert days["fill"].tolist() == pytest.approx([1 / 3, 1, 1])


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda m: np.array([2.0, 0.0]), "gives 1 of 2 lines less than nothing or more than they want"),
        (lambda m: np.array([0.5, 0.0]), r"a part that they cannot take, e.g. order_line_id \['L0'\]"),
        (lambda m: np.array([0.0, 1.0]), "goods though they may have none"),
        (lambda m: np.array([1.0]), r"gives \(1,\) quantities for 2 waiting lines; one each"),
        (lambda m: np.array([1.0, np.nan]), "more than they want"),
    ],
)
def test_what_no_planner_could_give_is_refused(rule, text):
    past = two_lines(holds=[("L1", 0, 5)])
    with pytest.raises(ValueError, match=text):
        replay(past, {"bad": rule}, KAPPA_ONLY, 1)


def test_more_than_a_pool_has_and_half_a_ship_group_are_refused():
    with pytest.raises(
        ValueError, match=r"on 2026-01-15 rule 'all' gives more than 1 of 1 pools have, e.g. \[\['p', 'w'\]\]"
    ):
        replay(two_lines(), {"all": lambda m: np.ones(len(m.lines))}, KAPPA_ONLY, 1)
    with pytest.raises(ValueError, match="goods without the rest of their ship group"):
        replay(two_lines(ship_group="g"), {"one": served_in("L0")}, KAPPA_ONLY, 1)


def test_a_ship_group_waits_for_a_line_that_is_yet_to_come():
    enters = FIRST + pd.to_timedelta([0, 2], unit="D")
    past = past_of(2, np.ones((2, 9)), [("p", 0, 2)], 4, ship_group="g", enters_on=enters)
    assert replay(past, {"first": first_come_first_served}, KAPPA_ONLY, 1).days["units_given"].tolist() == [0, 0, 2, 0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"order_line_id": "L0"}, "1 of 2 order_line_ids stand more than once"),
        ({"enters_on": FIRST + pd.Timedelta(days=99)}, "come to wait before the first or after the last morning"),
        ({"open_quantity": 0.0}, "have no open_quantity above 0"),
        ({"lifetime_value": -1.0}, "have no lifetime_value >= 0"),
    ],
)
def test_a_past_that_cannot_be_used_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        replay(two_lines(**change), {"nothing": nothing}, KAPPA_ONLY, 1)


def test_a_line_nobody_foresaw_and_too_many_draws_are_refused():
    past = two_lines()
    late = Outlooks(past.yardstick.rows.assign(made_on=FIRST + pd.Timedelta(days=1)), past.yardstick.survival)
    with pytest.raises(
        ValueError, match="2 of 2 order_line_ids are not foreseen by the yardstick when they come to wait"
    ):
        replay(replace(past, yardstick=late), {"nothing": nothing}, KAPPA_ONLY, 1)
    rising = Outlooks(past.yardstick.rows, past.yardstick.survival[:, ::-1])
    with pytest.raises(ValueError, match="does not fall from 1 towards 0"):
        replay(replace(past, yardstick=rising), {"nothing": nothing}, KAPPA_ONLY, 1)
    with pytest.raises(ValueError, match="n_scenarios 61 is not from 1 to 60"):
        replay(past, {"nothing": nothing}, KAPPA_ONLY, 61)
