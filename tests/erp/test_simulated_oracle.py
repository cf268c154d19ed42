"""The rule that knows the truth: its rank is the simulator's own loss added up, and no plain sort does better."""

import numpy as np
import pytest

from erp.simulated_chance import take
from erp.simulated_hazard import order_of
from erp.simulated_losses import losses_of_day
from erp.simulated_oracle import LONGEST_DAYS, days_to_next_receipt, roll_forward_knowing, true_loss_per_unit
from erp.simulated_rules import by_margin, by_promise_date, by_typed_priority, first_come_first_served
from erp.simulator import CompanyShape, fork, roll_forward, simulate, step

COLUMNS = ["cancel_margin", "cancel_future", "late_future"]


@pytest.fixture(scope="module")
def company():
    return simulate(
        CompanyShape(n_customers=600, n_products=25, n_suppliers=6, n_days=400, seed=11, partial_cancel_share=0.0)
    )


def ship_nothing(seen):
    return np.zeros(len(seen.columns["key"]), dtype=np.int64)


def test_goods_come_on_the_day_that_is_known(company):
    known, twin = days_to_next_receipt(company), fork(company)
    twin.rule = ship_nothing
    came = np.full(len(known), LONGEST_DAYS)
    for ahead in range(20):
        before = sum(len(part["key"]) for part in twin.log["receipts"])
        step(twin)
        keys = np.concatenate([part["key"] for part in twin.log["receipts"]])[before:]
        came[keys // 100_000] = np.minimum(came[keys // 100_000], ahead + 1)
    old = company.purchases["key"] // 100_000  # orders placed later are not known yet
    sure = np.isin(np.arange(len(known)), old) & (known <= 8)
    assert sure.sum() >= 5
    np.testing.assert_array_equal(came[sure], known[sure])


def test_a_lines_loss_is_what_the_simulator_counts_for_it_on_each_day_until_goods_come(company):
    lines = take(company.open, company.open["due_day"] < company.day)
    n_days = days_to_next_receipt(company)[lines["product"]]
    account, order = company.customers.account[lines["customer"]], lines["key"] // 100
    # Lines that share neither customer nor order with another one, of customers who will not drop out meanwhile.
    alone = (np.bincount(account)[account] == 1) & (np.unique(order, return_counts=True)[1][order_of(lines)] == 1)
    stays = company.customers.leaves_day[lines["customer"]] > company.day + LONGEST_DAYS
    rows = np.flatnonzero(alone & stays)[:10]
    assert len(rows) == 10
    for row in rows:
        line, expected, wanted = take(lines, np.array([row])), 0.0, 1.0
        margin = float(((line["unit_price"] - line["unit_cost"]) * line["open"])[0])
        for ahead in range(n_days[row]):
            twin = fork(company)
            twin.day += ahead
            count = losses_of_day(twin, line, np.array([False]), np.array([0]))
            expected += wanted * sum(count[name] for name in COLUMNS)
            wanted *= 1 - count["cancel_margin"] / margin
        assert true_loss_per_unit(company)[row] * line["open"][0] == pytest.approx(expected, rel=1e-6)


def test_no_plain_sort_loses_less_than_who_knows_the_truth(company):
    best = roll_forward_knowing(company, 40)[COLUMNS].to_numpy().sum()
    for rule in (first_come_first_served, by_promise_date, by_typed_priority, by_margin):
        assert best < roll_forward(company, rule, 40)[COLUMNS].to_numpy().sum()


def test_rolling_forward_leaves_the_company_where_it_is(company):
    day, n_open = company.day, len(company.open["key"])
    assert len(roll_forward_knowing(company, 3)) == 3
    assert (company.day, len(company.open["key"])) == (day, n_open)
