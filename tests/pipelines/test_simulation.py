"""The queue and its lifetime value as rules of the simulated company, and the dates that a desk tells."""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from erp.simulated_rules import by_priority
from erp.simulator import CompanyShape, fork, morning, simulate, step
from pipelines.simulation import TellingDesk, TrainedDesk, money_lost, simulate_company


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


@pytest.fixture(scope="module")
def two_mornings(company, desk):
    """A telling desk after two mornings, what it decided on them, and the company between them."""
    telling, twin = TellingDesk(desk), fork(company)
    decided = []

    def rule(seen):
        decided.append(telling.decided(seen))
        return decided[-1].ship_now(seen)

    twin.rule = rule
    step(twin)
    between = fork(twin)
    step(twin)
    return telling, decided, between


def test_the_first_morning_of_a_telling_desk_gives_out_what_the_queue_does(company, desk, two_mornings):
    seen = morning(company)
    np.testing.assert_array_equal(two_mornings[1][0].ship_now(seen), desk.queue(seen))


def test_a_date_to_tell_is_the_date_told_on_the_next_morning(two_mornings):
    _, (first, second), _ = two_mornings
    waits = first.queue[first.queue["action"].isin(["wait", "ship_part"]) & first.queue["promise_on"].notna()]
    told = waits.set_index("order_line_id")["promise_on"]
    last = second.features["lines"].set_index("order_line_id")["latest_promised_on"]
    still_open = told.index.intersection(last.index)
    assert len(still_open) > 10
    assert (last[still_open] == told[still_open]).all()
    before = first.features["lines"].set_index("order_line_id")["latest_promised_on"]
    assert (before[still_open] != told[still_open]).any()


def test_only_dates_that_differ_from_the_last_one_told_are_told_and_none_to_lines_that_ship(two_mornings):
    telling, decided, _ = two_mornings
    for each, told in zip(decided, telling.told, strict=True):
        before = each.features["lines"].set_index("order_line_id")["latest_promised_on"]
        assert (before[told["order_line_id"]].to_numpy() != told["promised_on"].to_numpy()).all()
        queue = each.queue.set_index("order_line_id").loc[told["order_line_id"]]
        assert queue["action"].isin(["wait", "ship_part"]).all()
        assert (queue["promise_on"].to_numpy() == told["promised_on"].to_numpy()).all()
    assert len(telling.told[0]) > len(telling.told[1]) > 0


def test_what_the_planners_tell_after_the_desk_began_is_not_in_its_tables(company, two_mornings):
    telling, _, between = two_mornings
    seen = morning(between)
    # As if the planners had told every waiting line a date last night.
    last_night = pd.Timestamp(between.as_of).tz_localize(None) - pd.Timedelta(hours=8)
    never = pd.Timestamp("2030-01-01")
    said = seen.lines[["order_line_id"]].assign(told_at=last_night, promised_on=never)
    tables = seen.tables()
    spoken = pd.concat([tables["promises"], said], ignore_index=True)
    found = telling.tables(replace(seen, make_tables=lambda: tables | {"promises": spoken}))["promises"]
    assert (spoken["promised_on"] == never).any()
    assert not (found["promised_on"] == never).any()
    began = pd.Timestamp(company.as_of).tz_localize(None)
    kept = tables["promises"][tables["promises"]["told_at"] < began]
    assert len(found) == len(kept) + sum(len(rows) for rows in telling.told)


def test_days_on_are_days_of_the_same_company(tmp_path):
    def written(days_on):
        out = tmp_path / str(days_on)
        options = {"customers": 40, "products": 5, "days": 60, "seed": 4, "rule": "planners", "rule_days": 0}
        simulate_company(argparse.Namespace(out=str(out), days_on=days_on, **options))
        return {name: pd.read_parquet(out / f"{name}.parquet") for name in ("order_lines", "shipments", "receipts")}

    first, then = written(0), written(9)
    for name, rows in first.items():
        assert len(then[name]) > len(rows)
        assert len(rows.merge(then[name])) == len(rows), name
