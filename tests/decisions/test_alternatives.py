"""Advice to move goods or to offer others: the money by hand, the limits, and who is left alone."""

import numpy as np
import pandas as pd
import pytest

from decisions.alternatives import advice_clauses, alternatives
from decisions.policy import Policy
from decisions.transfers import Transfer
from tests.decisions.other_goods import goods_elsewhere, nothing_foreseen, pools_given, waiting_lines

# The customer is lost by a cancellation alone, so that money is checked by hand.
PLAIN = {"cancel_lost_share": 0.1, "late_lost_share": 0}
POLICY = Policy(**PLAIN, transfer_cost_per_unit=2)


def advised(lines, waits, goods, policy=POLICY, given=None, forecast=None):
    pools = pools_given(w=0.0) if given is None else given
    return alternatives(lines, waits, goods, pools, forecast or nothing_foreseen(), policy)


def test_moving_goods_saves_what_is_lost_after_they_could_be_here_less_the_cost():
    # A: margin 40, value 300, kappa .1, 3 % cancel a day. By waiting 10 days it loses (1 - .97^10) x 70 = 18.38, until
    # the goods of x are here in 3 days (1 - .97^3) x 70 = 6.11. The move costs 2.
    lines, waits = waiting_lines(1, POLICY, lifetime_value=300.0)
    assert lines["loss_if_waits"].round(2).tolist() == [18.38]
    advice = advised(lines, waits, goods_elsewhere(1)).advice.iloc[0]
    assert (advice["advice"], advice["from_product_id"], advice["from_warehouse_id"]) == ("transfer", "p", "x")
    assert (advice["units"], advice["days"], advice["cost"]) == (1, 3, 2)
    assert advice["saved"] == pytest.approx((0.97**3 - 0.97**10) * 70)
    assert round(advice["gain"], 2) == 10.27


def test_a_substitute_saves_the_whole_wait_of_those_who_accept_less_the_margin_given_up():
    # 18.38 x .45 = 8.27. The line earns 100 - 60 = 40; q is bought at 65 and sold at the 100 ordered at, so 5 are given
    # up by those who accept: 2.25.
    lines, waits = waiting_lines(1, POLICY, lifetime_value=300.0)
    goods = goods_elsewhere(1, from_product_id="q", from_warehouse_id="w", from_list_price=120.0, from_unit_cost=65.0)
    advice = advised(lines, waits, goods).advice.iloc[0]
    assert (advice["advice"], advice["from_product_id"], advice["from_warehouse_id"]) == ("substitute", "q", "w")
    assert (round(advice["saved"], 2), round(advice["cost"], 2), round(advice["gain"], 2)) == (8.27, 2.25, 6.02)
    assert advice["days"] == 0


def test_a_cheaper_substitute_is_sold_at_its_own_price_with_the_discount_of_the_order():
    # Ordered at 90 of 100. q's list price is 80, so it sells at 72; bought at 50 it earns 22 where the line earns 40.
    lines, waits = waiting_lines(1, POLICY, lifetime_value=300.0, line_value=90.0, price_ratio=0.9)
    goods = goods_elsewhere(1, from_product_id="q", from_warehouse_id="w", from_list_price=80.0, from_unit_cost=50.0)
    assert advised(lines, waits, goods).advice["cost"].iloc[0] == pytest.approx(0.45 * 18)


def test_what_loses_is_not_advised():
    lines, waits = waiting_lines(1, POLICY, lifetime_value=300.0)
    for goods, policy in (
        (goods_elsewhere(1), Policy(**PLAIN, transfer_cost_per_unit=12.3)),
        (goods_elsewhere(1), Policy(**PLAIN, transfer_cost_per_line=12.3)),
        (goods_elsewhere(1), Policy(**PLAIN, transfer_days=10)),  # no sooner than the next receipt
        (goods_elsewhere(1), Policy(**PLAIN, transfer_days=181)),  # beyond the days foreseen
        (goods_elsewhere(1, from_product_id="q", from_warehouse_id="w", from_unit_cost=90.0), POLICY),
    ):
        found = advised(lines, waits, goods, policy)
        assert found.advice["advice"].isna().all()
        assert (found.choice.value, found.choice.bound) == (0, 0)


def test_goods_meant_to_be_moved_are_never_more_than_what_is_left_after_all_that_is_kept():
    # Of 30 units in x its lines get 10 today and want 4 more, 5 are for lines not due yet; that leaves 11.
    lines, waits = waiting_lines(6, POLICY, lifetime_value=300.0, open_quantity=4.0, line_margin=160.0, may_split=True)
    lines.loc[5, "warehouse_id"] = "x"
    goods = goods_elsewhere(1, available_now=30.0, units_due_later=5.0)
    found = advised(lines, waits, goods, given=pools_given(w=0.0, x=10.0))
    assert found.advice["units"].sum() == 11
    assert found.advice["advice"].notna().sum() == 3
    assert found.advice["advice"].isna()[5]
    assert found.choice.value == pytest.approx(found.advice["gain"].sum())


def test_a_line_that_ships_whole_gets_all_it_wants_or_nothing():
    lines, waits = waiting_lines(2, POLICY, lifetime_value=300.0, open_quantity=[6.0, 5.0], line_margin=[300.0, 240.0])
    units = advised(lines, waits, goods_elsewhere(1)).advice["units"]
    assert units.tolist()[0] == 6
    assert np.isnan(units[1])
    cut = advised(lines.assign(may_split=True), waits, goods_elsewhere(1)).advice["units"]
    assert cut.sum() == 10


def test_of_a_line_served_in_part_the_rest_is_advised():
    lines, waits = waiting_lines(1, POLICY, open_quantity=8.0, ship_now_quantity=5.0, line_margin=320.0, may_split=True)
    advice = advised(lines, waits, goods_elsewhere(1)).advice.iloc[0]
    assert advice["units"] == 3
    assert advice["saved"] == pytest.approx((0.97**3 - 0.97**10) * 320 * 3 / 8)


@pytest.mark.parametrize(
    "left_alone",
    [{"override": "hold"}, {"override": "exclude"}, {"credit_hold": True}, {"line_margin": -9.0}],
)
def test_lines_that_could_not_leave_or_lose_nothing_are_left_alone(left_alone):
    lines, waits = waiting_lines(1, POLICY, **left_alone)
    assert advised(lines, waits, goods_elsewhere(1)).advice["advice"].isna().all()


def test_lines_that_wait_for_others_of_their_group_are_left_alone():
    lines, waits = waiting_lines(3, POLICY, lifetime_value=300.0, ship_group=["g", "g", "h"], may_split=True)
    found = advised(lines, waits, goods_elsewhere(1)).advice
    assert found["advice"].notna().tolist() == [False, False, True]
    elsewhere = lines.assign(group_waits_elsewhere=True)
    assert advised(elsewhere, waits, goods_elsewhere(1)).advice["advice"].isna().all()


def test_a_line_alone_in_its_group_ships_whole():
    lines, waits = waiting_lines(1, POLICY, open_quantity=8.0, line_margin=320.0, ship_group="g", may_split=True)
    assert advised(lines, waits, goods_elsewhere(1, available_now=7.0)).advice["advice"].isna().all()
    assert advised(lines, waits, goods_elsewhere(1, available_now=8.0)).advice["units"].tolist() == [8]


def test_nothing_is_offered_to_customers_who_may_not_be_written_to():
    lines, waits = waiting_lines(1, POLICY, lifetime_value=300.0, contact_allowed=False)
    instead = goods_elsewhere(1, from_product_id="q", from_warehouse_id="w", from_unit_cost=10.0)
    assert advised(lines, waits, instead).advice["advice"].isna().all()
    assert advised(lines, waits, goods_elsewhere(1)).advice["advice"].tolist() == ["transfer"]


def test_goods_of_a_discontinued_product_are_replaced_by_its_substitute():
    lines, waits = waiting_lines(1, POLICY, days=181, is_discontinued=True, lifetime_value=300.0)
    goods = goods_elsewhere(1, from_product_id="q", from_warehouse_id="w")
    advice = advised(lines, waits, goods).advice.iloc[0]
    assert advice["advice"] == "substitute"
    assert advice["saved"] == pytest.approx(0.45 * 70)


def test_the_line_that_gains_most_has_the_goods_and_the_other_goes_where_it_gains_less():
    # Both want the 4 units of x; y is dearer to move from. Only one can have x: the sum is what counts.
    policy = Policy(**PLAIN, transfers=(Transfer("x", "w", 3), Transfer("y", "w", 6, 0.1)))
    lines, waits = waiting_lines(2, policy, open_quantity=4.0, line_margin=[400.0, 200.0])
    goods = goods_elsewhere(2, from_warehouse_id=["x", "y"], available_now=4.0)
    advice = advised(lines, waits, goods, policy).advice
    assert advice["from_warehouse_id"].tolist() == ["x", "y"]
    assert advice["days"].tolist() == [3, 6]


def test_where_the_site_names_ways_there_are_no_others():
    policy = Policy(**PLAIN, transfers=(Transfer("w", "x", 1),))
    lines, waits = waiting_lines(1, policy, lifetime_value=300.0)
    assert advised(lines, waits, goods_elsewhere(1), policy).advice["advice"].isna().all()


@pytest.mark.parametrize("days", [0, 1, 5, 9])
def test_moving_saves_the_difference_of_two_waits_as_each_is_priced_alone(days):
    policy = Policy(transfer_days=days, late_penalty_share_per_day=0.002, cancel_handling_cost=7)
    said = {"account_id": ["a", "b", None], "lifetime_value": [900.0, 0.0, 0.0], "days_late": [-3.0, 4.0, np.nan]}
    lines, waits = waiting_lines(3, policy, waited_days=[1, 30, 8], **said)
    sooner = waiting_lines(3, policy, days=days, waited_days=[1, 30, 8], **said)[0]["loss_if_waits"]
    saved = advised(lines, waits, goods_elsewhere(1), policy).advice["saved"]
    np.testing.assert_allclose(saved, lines["loss_if_waits"] - sooner, rtol=1e-9)


def test_a_late_penalty_is_saved_too():
    policy = Policy(cancel_lost_share=0, late_lost_share=0, late_penalty_share_per_day=0.01)
    lines, waits = waiting_lines(1, policy, hazard=0.0, days_late=0.0)
    # 1 % of 100 a day from today on: 10 days lost by waiting, 3 until the goods are here.
    assert advised(lines, waits, goods_elsewhere(1), policy).advice["saved"].tolist() == pytest.approx([7.0])


def test_without_goods_elsewhere_nothing_is_said():
    lines, waits = waiting_lines(2, POLICY)
    found = advised(lines.drop(columns="price_ratio"), waits, goods_elsewhere(0))
    assert found.advice["advice"].isna().all()
    assert found.advice.index.equals(lines.index)
    assert (advice_clauses(lines, found.advice, "EUR", POLICY) == "").all()


def mixed_company(seed):
    """40 lines in three warehouses, with goods and substitutes in some of their pools."""
    draw = np.random.default_rng(seed)
    lines, waits = waiting_lines(
        40,
        POLICY,
        product_id=draw.choice(["0010", "10"], 40),
        warehouse_id=draw.choice(["01", "1", "2"], 40),
        open_quantity=draw.integers(1, 6, 40) * 1.0,
        line_margin=draw.integers(20, 200, 40) * 1.0,
        may_split=draw.random(40) < 0.5,
    )
    places = [(p, w) for p in ("0010", "10") for w in ("01", "1", "2")]
    rows = [(p, w, p, other) for p, w in places for other in ("01", "1", "2") if other != w]
    rows += [("10", w, "0010", w) for w in ("01", "1", "2")]
    product, warehouse, from_product, from_warehouse = zip(*rows, strict=True)
    left = {place: float(draw.integers(0, 50)) for place in places}
    goods = goods_elsewhere(
        len(rows),
        product_id=product,
        warehouse_id=warehouse,
        from_product_id=from_product,
        from_warehouse_id=from_warehouse,
        available_now=[left[row[2:]] for row in rows],
    )
    return lines, waits, goods, left


@pytest.mark.parametrize("seed", [901, 902, 903])
def test_row_order_changes_nothing_and_ids_stay_text(seed):
    lines, waits, goods, _ = mixed_company(seed)
    advice = advised(lines, waits, goods, given=pools_given()).advice
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(lines))
    shuffled = type(waits)(waits.survival[order], waits.future_share[order], waits.joint_cancel_share)
    other = advised(lines.iloc[order], shuffled, goods.sample(frac=1, random_state=seed), given=pools_given()).advice
    pd.testing.assert_frame_equal(other.loc[advice.index], advice)
    assert advice["advice"].notna().sum() > 5
    assert set(advice["from_product_id"].dropna()) <= {"0010", "10"}
    assert set(advice["from_warehouse_id"].dropna()) <= {"01", "1", "2"}


@pytest.mark.parametrize("seed", [901, 902, 903])
def test_no_pool_gives_more_than_lies_there_beyond_what_its_own_lines_want(seed):
    lines, waits, goods, left = mixed_company(seed)
    advice = advised(lines, waits, goods, given=pools_given()).advice
    wanted = lines.groupby(["product_id", "warehouse_id"])["open_quantity"].sum()
    moved = advice.groupby(["from_product_id", "from_warehouse_id"])["units"].sum()
    for place, units in moved.items():
        assert units <= left[place] - wanted.get(place, 0.0) + 1e-9


def test_the_words_name_the_place_the_days_and_the_money():
    policy = Policy(**PLAIN, transfer_cost_per_unit=2)
    lines, waits = waiting_lines(2, policy, lifetime_value=300.0, open_quantity=[6.0, 1.0], may_split=True)
    both = pd.concat([goods_elsewhere(1, available_now=5.0), goods_elsewhere(1, from_product_id="q")])
    goods = both.assign(from_warehouse_id=["x", "w"], available_now=[5.0, 1.0], from_unit_cost=[60.0, 63.0])
    lines = lines.assign(loss_if_waits=[120.0, 20.0])
    advice = advised(lines, waits, goods, policy).advice
    first, second = advice_clauses(lines, advice, "EUR", policy)
    saved, cost = advice["saved"].round(2), advice["cost"].round(2)
    assert first == (
        "5 of the 6 units missing lie in warehouse x: moving them takes 3 days,"
        f" costs {cost[0]:.2f} EUR and saves {saved[0]:.2f} EUR"
    )
    assert second == (
        f"1 unit of product q lies here: offering it instead saves {saved[1]:.2f} EUR"
        f" and gives up {cost[1]:.2f} EUR of margin, as 45% of customers are taken to accept"
    )


def test_a_move_without_a_cost_says_that_none_is_set():
    policy = Policy(**PLAIN, transfer_days=1)
    lines, waits = waiting_lines(1, policy, lifetime_value=300.0)
    advice = advised(lines, waits, goods_elsewhere(1), policy).advice
    said = advice_clauses(lines, advice, "EUR", policy).iloc[0]
    assert said == "1 unit lies in warehouse x: moving it takes 1 day, has no cost set and saves 16.28 EUR"
