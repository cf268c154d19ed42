"""A customer is lost once: lines tied into roots and orders, against enumerated outcomes and the laws of sharing."""

from itertools import product
from math import prod

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.customer_loss import Ties, future_share

CHANCES = st.sampled_from([0.0, 1e-12, 0.5, 1.0]) | st.floats(0, 1)
QUANTITIES = st.floats(0.01, 1000)
SHARES = st.sampled_from([0.0, 0.35, 1.0]) | st.floats(0, 1)


@st.composite
def waiting_lines(draw):
    """One to nine lines of up to two named accounts and anonymous ones, each account with up to three orders."""
    places = draw(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(0, 2)), min_size=1, max_size=9))
    lines = pd.DataFrame(places, columns=["account_id", "order"]).astype({"account_id": "str"})
    return lines.assign(
        # Orders of different customers bear the same numbers, roots do not.
        root_order_id="O" + lines["order"].astype("str"),
        root_id=[f"L{i}" for i in range(len(lines))],
        open_quantity=draw(st.lists(QUANTITIES, min_size=len(lines), max_size=len(lines))),
        p_lost=draw(st.lists(CHANCES, min_size=len(lines), max_size=len(lines))),
    )


def parts_of(lines, joint_cancel_share):
    """Chance of losing the customer that each line carries [p f]."""
    p_lost = lines["p_lost"].to_numpy()
    return pd.Series(p_lost * future_share(p_lost, Ties.of(lines, joint_cancel_share)), lines.index)


def totals_of(lines, joint_cancel_share):
    return parts_of(lines, joint_cancel_share).groupby(lines["account_id"]).sum()


def p_any(chances):
    return 1 - prod(1 - p for p in chances)


@given(waiting_lines(), SHARES)
@settings(max_examples=100, deadline=None)
def test_the_parts_of_an_account_add_up_to_losing_its_customer_once(lines, rho):
    totals = totals_of(lines, rho)
    for account, of_account in lines.groupby("account_id"):
        orders = [order["p_lost"] for _, order in of_account.groupby("root_order_id")]
        p_order = [rho * p.max() + (1 - rho) * p_any(p) for p in orders]
        assert totals[account] == pytest.approx(p_any(p_order), abs=1e-9)
        assert 0 <= totals[account] <= 1 + 1e-12


@given(waiting_lines(), SHARES)
@settings(max_examples=50, deadline=None)
def test_no_line_carries_more_than_its_own_chance(lines, rho):
    assert (parts_of(lines, rho) <= lines["p_lost"] + 1e-12).all()
    assert (parts_of(lines, rho) >= 0).all()


@pytest.mark.parametrize("rho", [0.0, 0.35, 1.0])
def test_the_chance_is_that_of_orders_that_go_together_or_line_by_line(rho):
    """Every outcome enumerated: per order one coin at its greatest chance, or a coin per line, as its ties fall."""
    orders = [[0.1, 0.4], [0.05], [0.3, 0.2, 0.9]]
    p_lost = [p for order in orders for p in order]
    kept = 0.0
    for together in product([True, False], repeat=len(orders)):
        coins = [[max(p)] if tied else p for p, tied in zip(orders, together, strict=True)]
        chance = prod(rho if tied else 1 - rho for tied in together)
        kept += chance * prod(1 - p for order in coins for p in order)
    names = [f"O{i}" for i, order in enumerate(orders) for _ in order]
    lines = pd.DataFrame({"account_id": "a", "root_order_id": names, "root_id": range(6), "open_quantity": 1.0})
    assert totals_of(lines.assign(p_lost=p_lost), rho)["a"] == pytest.approx(1 - kept, rel=1e-12)


@given(waiting_lines())
@settings(max_examples=50, deadline=None)
def test_lines_that_never_go_together_carry_equal_parts_per_chance_whatever_their_orders(lines):
    parts = parts_of(lines, 0.0)
    for _, of_account in lines.groupby("account_id"):
        total = of_account["p_lost"].sum()
        share = p_any(of_account["p_lost"]) / total if total > 0 else 1.0
        assert parts[of_account.index].to_numpy() == pytest.approx(share * of_account["p_lost"].to_numpy(), abs=1e-9)


@given(waiting_lines())
@settings(max_examples=50, deadline=None)
def test_one_order_that_always_goes_together_is_one_event_as_likely_as_its_likeliest_line(lines):
    lines = lines.assign(account_id="a", root_order_id="O")
    p = lines["p_lost"].to_numpy()
    parts = p * p.max() / max(p.sum(), 1e-300)
    assert parts_of(lines, 1.0).to_numpy() == pytest.approx(parts, abs=1e-12)


@given(waiting_lines(), SHARES)
@settings(max_examples=50, deadline=None)
def test_one_more_line_never_makes_a_customer_safer(lines, rho):
    fewer = totals_of(lines.iloc[:-1], rho).reindex(totals_of(lines, rho).index, fill_value=0.0)
    assert (totals_of(lines, rho) >= fewer - 1e-12).all()


@given(waiting_lines(), SHARES, SHARES)
@settings(max_examples=50, deadline=None)
def test_the_more_often_lines_go_together_the_less_is_at_stake(lines, rho, other):
    more, less = totals_of(lines, min(rho, other)), totals_of(lines, max(rho, other))
    assert (less <= more + 1e-12).all()


@given(waiting_lines(), SHARES, st.data())
@settings(max_examples=100, deadline=None)
def test_splitting_lines_and_orders_changes_no_account_total(lines, rho, data):
    """Some lines are cut in up to four, and the parts go to an order of their own, linked to where they come from."""
    n_parts = data.draw(st.lists(st.integers(1, 4), min_size=len(lines), max_size=len(lines)))
    parts = lines.loc[lines.index.repeat(n_parts)]
    cuts = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(parts), max_size=len(parts))))
    cuts = cuts / pd.Series(cuts).groupby(parts.index).transform("sum").to_numpy()
    parts = parts.assign(
        open_quantity=parts["open_quantity"].to_numpy() * cuts,
        order_id=[f"O-split-{i % 2}" for i in range(len(parts))],
    ).reset_index(drop=True)
    assert (totals_of(parts, rho) - totals_of(lines, rho)).abs().max() < 1e-9 or lines["account_id"].isna().all()


def test_parts_of_a_root_with_chances_of_their_own_count_by_quantity():
    lines = pd.DataFrame({"account_id": "a", "root_order_id": "O", "root_id": "L", "open_quantity": [1.0, 3.0]})
    assert parts_of(lines.assign(p_lost=[0.8, 0.4]), 0.35).tolist() == pytest.approx([0.2, 0.3])


def test_a_line_that_goes_with_its_order_carries_less_than_one_that_stands_alone():
    lines = pd.DataFrame({"account_id": "a", "root_order_id": ["O"] * 10 + ["P"], "root_id": range(11), "p_lost": 0.1})
    parts = parts_of(lines.assign(open_quantity=1.0), 1.0)
    assert parts.tolist() == pytest.approx([0.0095] * 10 + [0.095])  # each event carries half of 1 - .9 x .9 = .19


def test_equal_numbers_of_two_customers_are_not_one_order():
    lines = pd.DataFrame({"account_id": ["a", "b"], "root_order_id": "O", "root_id": "L", "open_quantity": 1.0})
    assert parts_of(lines.assign(p_lost=0.3), 1.0).tolist() == pytest.approx([0.3, 0.3])


def test_anonymous_lines_share_no_customer():
    lines = pd.DataFrame({"account_id": None, "root_order_id": ["O", "O", "P"], "root_id": range(3), "p_lost": 0.4})
    assert parts_of(lines.assign(open_quantity=1.0), 1.0).tolist() == pytest.approx([0.2, 0.2, 0.4])


def test_no_line_carries_nothing():
    lines = pd.DataFrame({"account_id": [], "root_order_id": [], "root_id": [], "open_quantity": []}, dtype="float64")
    assert len(future_share(np.zeros(0), Ties.of(lines, 0.35))) == len(Ties.of(lines, 0.35).event_share()) == 0
