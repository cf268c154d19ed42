"""The simulated company's hidden truth: its hazards and values are those that its draws obey."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from erp.simulated_chance import Stream, geometric, normal, uniform
from erp.simulated_hazard import cancel_hazard, own_hazard
from erp.simulated_losses import account_value, losses_of_day
from erp.simulated_supply import arriving
from erp.simulator import CompanyShape, close, fork, initialize, morning, simulate, step, true_hazard, true_value

SMALL = CompanyShape(n_customers=300, n_products=20, n_suppliers=5, n_days=400, seed=5)


def ship_nothing(seen):
    return np.zeros(len(seen.columns["key"]), dtype=np.int64)


@pytest.fixture(scope="module")
def company():
    return simulate(SMALL)


def test_a_draw_depends_on_its_own_ids_alone_and_is_uniform():
    ids = np.arange(20_000)
    draws = uniform(3, Stream.CANCEL, ids, 17)
    np.testing.assert_array_equal(draws[5_000:], uniform(3, Stream.CANCEL, ids[5_000:], 17))
    assert np.abs(np.bincount((draws * 10).astype(int)) - 2000).max() < 5 * np.sqrt(1800)
    others = [uniform(3, Stream.CANCEL, ids, 18), uniform(3, Stream.LEAVE, ids, 17), uniform(4, Stream.CANCEL, ids, 17)]
    assert max(abs(np.corrcoef(draws, other)[0, 1]) for other in others) < 4 / np.sqrt(20_000)


def test_normal_and_geometric_draws_have_their_moments():
    ids = np.arange(40_000)
    z = normal(1, Stream.LINE, ids)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    n = geometric(uniform(1, Stream.ORDER, ids), 2.5)
    assert abs(n.mean() - 2.5) < 5 * np.sqrt(2.5 * 3.5 / 40_000)


def test_true_hazards_are_those_by_which_lines_are_cancelled(company):
    twin = fork(company)
    twin.rule = ship_nothing
    expected = variance = 0.0
    for _ in range(80):
        hazard = true_hazard(twin, morning(twin).lines.order_line_id.tolist(), 1)[:, 0]
        expected, variance = expected + hazard.sum(), variance + (hazard * (1 - hazard)).sum()
        step(twin)
    rows = close(twin)["cancellations"]
    as_of = pd.Timestamp(company.as_of).tz_localize(None)
    counted = ((rows.cancelled_at > as_of) & (rows.cancelled_by == "customer")).sum()
    # Lines of one order go together in up to 35 % of cases, which widens the spread by less than half.
    assert abs(counted - expected) < 4 * 1.5 * np.sqrt(variance)
    assert counted > 100


def test_a_line_frozen_now_has_the_hazard_that_comes_true_if_its_date_does_not_move(company):
    ids = morning(company).lines.order_line_id.tolist()
    ahead = true_hazard(company, ids, 10)
    assert ahead.shape == (len(ids), 10)
    assert (ahead > 0).all()
    assert (ahead < 1).all()
    lines = company.open | {"due_day": company.open["due_day"] - 4}
    lines["latest_promised_day"] = lines["latest_promised_day"] - 4
    older = cancel_hazard(SMALL, lines, company.day)
    # Four days on is the same as everything four days longer ago, but for lines of one order not yet due.
    all_due = (company.open["due_day"] < company.day).all()
    mine = company.open["due_day"] < company.day
    close_enough = np.isclose(older[mine], ahead[:, 4])
    assert close_enough.all() if all_due else close_enough.mean() > 0.9


def line(**changed):
    base = {
        "key": 10_000,
        "due_day": 10,
        "latest_promised_day": 14.0,
        "unit_price": 10.0,
        "list_price": 10.0,
        "open": 1,
        "channel": 0,
        "n_slips": 0,
        "patience": 5.8 - 0.15 * (np.log(10.0) - 5.0),
    }
    return {name: np.array([value]) for name, value in (base | changed).items()}


def test_the_hazard_of_a_line_worked_by_hand():
    # The patience above cancels base and amount: log odds .25 ln(1 + 3) = .3466 on day 13, odds sqrt(2).
    assert own_hazard(SMALL, line(), 13)[0] == pytest.approx(2**0.5 / (1 + 2**0.5))
    # Day 15 is one day late after five of waiting: .25 ln 6 + 1.1 + .35 ln 2 = 1.7905.
    assert own_hazard(SMALL, line(), 15)[0] == pytest.approx(1 / (1 + np.exp(-1.7905)), abs=1e-4)
    assert own_hazard(SMALL, line(), 10)[0] == 0  # due today: not back-ordered before tomorrow


def test_a_line_may_be_taken_along_by_another_of_its_order():
    alone = line(patience=5.8 - 0.15 * (np.log(10.0) - 5.0) - np.log(9) - 0.25 * np.log(4))  # odds 1 : 9 on day 13
    both = {name: np.repeat(values, 2) for name, values in alone.items()} | {"key": np.array([10_000, 10_001])}
    apart = both | {"key": np.array([10_000, 10_100])}
    assert cancel_hazard(SMALL, alone, 13) == pytest.approx([0.1])
    assert cancel_hazard(SMALL, both, 13) == pytest.approx([0.1315] * 2)  # 1 - .9 x (1 - .35 x .1)
    assert cancel_hazard(SMALL, apart, 13) == pytest.approx([0.1] * 2)


def test_expected_losses_are_what_the_draws_bring_about():
    losses = pd.concat(
        [simulate(replace(SMALL, n_customers=1000, n_days=200, seed=seed)).losses for seed in range(3)]
    ).sum()
    assert losses.realised_margin == pytest.approx(losses.cancel_margin, rel=0.15)
    assert losses.realised_future == pytest.approx(losses.cancel_future + losses.late_future, rel=0.3)


def test_a_customer_is_lost_once_however_many_of_its_lines_wait(company):
    lines = {name: values[:1] for name, values in morning(company).columns.items()}
    value = account_value(company)
    best = int(np.flatnonzero(value == value.max())[0])
    lines["customer"] = np.array([best])
    twice = {name: np.repeat(values, 2) for name, values in lines.items()}
    twice["key"] = np.array([1_000_000, 2_000_000])
    never, none = np.zeros(2, dtype=bool), np.zeros(2, dtype=np.int64)
    one = losses_of_day(company, lines, never[:1], none[:1])
    two = losses_of_day(company, twice, never, none)
    chance = (one["cancel_future"] + one["late_future"]) / value.max()
    both = (two["cancel_future"] + two["late_future"]) / value.max()
    assert both == pytest.approx(1 - (1 - chance) ** 2)
    assert two["cancel_margin"] == pytest.approx(2 * one["cancel_margin"])


def test_true_value_is_the_margin_that_customers_bring_when_nothing_waits_or_is_lost():
    shape = replace(SMALL, n_customers=2500, n_days=400, n_products=40, base_log_odds=-30.0, late_lost_share=0.0)
    company = initialize(replace(shape, seller_cancel_hazard=0.0))
    for _ in range(30):
        step(company)
    value = true_value(company).set_index("customer_id").value_amount
    for _ in range(365):
        step(company)
    lines = close(company)["order_lines"]
    cost = close(company)["products"].drop_duplicates("product_id").set_index("product_id").unit_cost
    year = lines[lines.ordered_at >= pd.Timestamp(SMALL.start_on) + pd.Timedelta(days=30)]
    margin = year.quantity * (year.unit_price - year.product_id.map(cost)) * (1 - SMALL.returned_share)
    brought = margin.groupby(year.customer_id).sum().reindex(value.index).fillna(0.0)
    assert brought.sum() == pytest.approx(value.sum(), rel=0.1)
    assert np.corrcoef(brought, value)[0, 1] > 0.7


def test_value_and_patience_show_only_weakly_in_what_somebody_typed():
    company = initialize(replace(SMALL, n_customers=4000, n_products=100))
    customers = company.customers
    known = slice(0, 4000)
    value = pd.Series(customers.value_if_alive[known]).rank()
    for typed in (customers.priority_class, customers.segment, customers.channel):
        assert 0.03 < -np.corrcoef(value, typed[known])[0, 1] < 0.6
    assert abs(np.corrcoef(value, customers.patience[known])[0, 1]) < 0.35
    top = np.sort(customers.value_if_alive[known])[::-1]
    assert top[:400].sum() > 0.4 * top.sum()  # a heavy tail: one customer in ten is worth 40 % of all


def test_goods_arrive_in_equal_parts_that_add_up():
    ten = {"first_day": [5], "gap_days": [4], "n_parts": [3], "quantity": [10], "received": [0]}
    purchases = {name: np.array(values) for name, values in ten.items()}
    came = {}
    for day in range(20):
        units = arriving(purchases, day)
        purchases["received"] = purchases["received"] + units
        came |= {day: int(units[0])} if units[0] else {}
    assert came == {5: 3, 9: 3, 13: 4}


def test_a_supplier_delivers_nothing_it_had_planned_for_a_disruption(company):
    spells = company.spells
    length = spells.ends - spells.starts
    assert ((length >= 30) & (length <= 60)).all()
    inside = spells.starts[:, 0] + 1.0
    who = np.arange(SMALL.n_suppliers)
    delayed = spells.delay(who, inside, np.full(len(who), 0.5))
    np.testing.assert_allclose(delayed, spells.ends[:, 0] + 3.0)
    calm = spells.starts[:, 0] - 1.0
    np.testing.assert_array_equal(spells.delay(who, calm, np.zeros(len(who))), calm)


def test_the_hazard_of_a_line_that_is_not_open_is_refused(company):
    with pytest.raises(ValueError, match="1 of 1 lines are not open, e.g. order_line_id \\['S9'\\]"):
        true_hazard(company, ["S9"], 5)
