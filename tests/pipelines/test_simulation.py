"""The queue and its lifetime value as rules of the simulated company."""

import numpy as np
import pytest

from erp.simulated_rules import by_priority
from erp.simulator import CompanyShape, fork, morning, simulate, step
from pipelines.simulation import TrainedDesk, money_lost


@pytest.fixture(scope="module")
def company():
    return simulate(CompanyShape(n_customers=300, n_products=20, n_suppliers=5, n_days=300, seed=5))


@pytest.fixture(scope="module")
def desk(company):
    return TrainedDesk.at(company)


def test_the_queue_gives_out_what_the_company_accepts_and_leaves_no_goods_beside_a_line_that_fits(company, desk):
    seen = morning(company)
    given = desk.queue(seen)
    used = np.bincount(seen.columns["product"], weights=given, minlength=len(seen.on_hand))
    left = (seen.on_hand - used)[seen.columns["product"]]
    may_have = (given == 0) & ~seen.columns["credit_hold"]
    assert (given > 0).any()
    assert (left[may_have] < seen.columns["open"][may_have]).all()
    twin = fork(company)
    twin.rule, twin.money = desk.queue, []
    step(twin)
    assert money_lost(twin.losses) > 0


def test_lifetime_value_ranks_by_the_values_that_the_queue_saw_that_day(company, desk):
    seen = morning(company)
    desk.queue(seen)
    values = desk.account_values[seen.day]
    fresh = TrainedDesk(desk.models, desk.policy)
    np.testing.assert_array_equal(desk.lifetime_value(seen), fresh.lifetime_value(seen))
    score = [values.get(account, 0.0) for account in seen.lines["account_id"]]
    np.testing.assert_array_equal(desk.lifetime_value(seen), by_priority(seen, np.array(score)))


def test_an_anonymous_buyer_is_worth_nothing_to_the_lifetime_value_rule(company, desk):
    seen = morning(company)
    nameless = seen.lines["customer_id"].isna().to_numpy()
    assert nameless.any()
    assert seen.lines.loc[nameless, "account_id"].isna().all()
