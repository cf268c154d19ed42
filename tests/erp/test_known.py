from datetime import datetime, timedelta

import pandas as pd
import pytest

from erp.known import check
from features.feature_tables import build
from tests.erp.small_company import (
    Company,
    T,
    add,
    ask,
    back_orders,
    line_of,
    small_site,
    small_tables,
    version,
    write_tables,
)


@pytest.fixture
def tables():
    return small_tables()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


# --- known at T -------------------------------------------------------------------------------------------------------


def test_an_event_is_known_from_its_own_time_on(tables, company):
    facts = company.facts(tables)
    count = "select count(*) from known_shipments where order_line_id = 'L1'"
    assert ask(facts, count, datetime(2024, 3, 5, 14, 59)) == [(0,)]
    assert ask(facts, count, datetime(2024, 3, 5, 15)) == [(1,)]


def test_a_recorded_fact_is_known_from_then_on(tables, company):
    tables["shipments"]["recorded_at"] = pd.to_datetime(["2024-03-09 08:00", None, None])
    facts = company.facts(tables)
    assert line_of(facts, "L1", datetime(2024, 3, 9, 7))["open_quantity"] == 10.0
    assert line_of(facts, "L1", datetime(2024, 3, 9, 9))["open_quantity"] == 6.0
    assert line_of(facts, "L2", datetime(2024, 3, 3))["open_quantity"] == 0.0


def test_what_was_recorded_before_it_happens_is_known_when_it_happens(tables, company):
    tables["shipments"]["recorded_at"] = pd.to_datetime(["2024-03-02 08:00", None, None])
    facts = company.facts(tables)
    assert line_of(facts, "L1", datetime(2024, 3, 5, 14))["open_quantity"] == 10.0
    assert line_of(facts, "L1", datetime(2024, 3, 5, 16))["open_quantity"] == 6.0


@pytest.mark.parametrize(
    ("timezone", "end"),
    [
        ("UTC", datetime(2024, 3, 6)),
        ("Europe/Berlin", datetime(2024, 3, 5, 23)),
        ("America/New_York", datetime(2024, 3, 6, 5)),
    ],
)
def test_a_day_is_known_at_its_end(tables, company, timezone, end):
    tables["shipments"]["shipped_at"] = tables["shipments"]["shipped_at"].dt.normalize()
    facts = company.facts(tables, timezone=timezone)
    count = "select count(*) from known_shipments where order_line_id = 'L1'"
    assert ask(facts, count, end - timedelta(seconds=1)) == [(0,)]
    assert ask(facts, count, end) == [(1,)]


def test_a_day_ends_an_hour_earlier_in_utc_once_the_clocks_changed(tables, company):
    tables["order_lines"].loc[:5, "requested_on"] = None
    tables["shipments"]["shipped_at"] = pd.to_datetime(["2024-03-30", "2024-03-31", "2024-01-12"])
    facts = company.facts(tables, datetime(2024, 4, 2), timezone="Europe/Berlin")
    known = "select order_line_id from known_shipments where shipped_at > '2024-03-01' order by 1"
    assert ask(facts, known, datetime(2024, 3, 30, 22, 59)) == []
    assert ask(facts, known, datetime(2024, 3, 30, 23)) == [("L1",)]
    assert ask(facts, known, datetime(2024, 3, 31, 21, 59)) == [("L1",)]
    assert ask(facts, known, datetime(2024, 3, 31, 22)) == [("L1",), ("L2",)]


def test_the_latest_version_known_holds(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", unit_price=8.0)
    version(tables, "order_lines", "L1", "2024-03-12 09:00", unit_price=7.0)
    facts = company.facts(tables)
    price = "select unit_price from known_order_lines where order_line_id = 'L1'"
    for moment, expected in ((datetime(2024, 3, 8), 9.0), (datetime(2024, 3, 8, 9), 8.0), (T, 7.0)):
        assert ask(facts, price, moment) == [(expected,)]


def test_a_deleted_shipment_never_left(tables, company):
    version(tables, "shipments", "L1", "2024-03-07 09:00", is_deleted=True, quantity=None)
    facts = company.facts(tables)
    assert line_of(facts, "L1")["open_quantity"] == 10.0
    assert line_of(facts, "L1", datetime(2024, 3, 6))["open_quantity"] == 6.0


def test_a_corrected_shipment_counts_once(tables, company):
    version(tables, "shipments", "L1", "2024-03-07 09:00", quantity=3.0)
    assert line_of(company.facts(tables), "L1")["open_quantity"] == 7.0


# --- falls, vanished lines --------------------------------------------------------------------------------------------


def cancellations(facts, order_line_id, moment=None):
    query = f"""select quantity, reason from known_cancellations where order_line_id = '{order_line_id}' order by all"""
    return ask(facts, query, moment)


def test_a_quantity_that_falls_is_a_cancellation_then(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=7.0)
    facts = company.facts(tables)
    assert cancellations(facts, "L1") == [(3.0, "changed")]
    assert cancellations(facts, "L1", datetime(2024, 3, 8, 8)) == []
    line = line_of(facts, "L1")
    assert (line["quantity"], line["cancelled_quantity"], line["open_quantity"]) == (10.0, 3.0, 3.0)


def test_a_quantity_that_rises_and_falls_adds_up(tables, company):
    for recorded_at, quantity in (("2024-03-06", 6.0), ("2024-03-07", 9.0), ("2024-03-08", 5.0)):
        version(tables, "order_lines", "L1", f"{recorded_at} 09:00", quantity=quantity)
    facts = company.facts(tables)
    assert cancellations(facts, "L1") == [(4.0, "changed"), (4.0, "changed")]
    assert line_of(facts, "L1")["open_quantity"] == 1.0  # 5 ordered by now, 4 shipped


@pytest.mark.parametrize("cancelled_at", ["2024-03-08 08:58", "2024-03-08 09:00", "2024-03-08 09:01"])
def test_a_fall_that_the_erp_also_wrote_as_a_cancellation_counts_once(tables, company, cancelled_at):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=7.0)
    add(
        tables,
        "cancellations",
        order_line_id="L1",
        cancelled_at=cancelled_at,
        quantity=3.0,
        event_id="X2",
        reason="said",
    )
    facts = company.facts(tables)
    assert cancellations(facts, "L1") == [(3.0, "said")]
    assert line_of(facts, "L1")["open_quantity"] == 3.0
    # Whichever the ERP wrote first, at no moment does it count twice.
    assert sum(quantity for quantity, _ in cancellations(facts, "L1", datetime(2024, 3, 8, 9, 0, 30))) == 3.0


def test_what_a_cancellation_does_not_explain_of_a_fall_stays_changed(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=6.0)
    add(
        tables,
        "cancellations",
        order_line_id="L1",
        cancelled_at="2024-03-08 09:30",
        quantity=1.0,
        event_id="X2",
        reason="said",
    )
    assert cancellations(company.facts(tables), "L1") == [(1.0, "said"), (3.0, "changed")]


def test_two_falls_and_one_written_cancellation(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=8.0)
    version(tables, "order_lines", "L1", "2024-03-10 09:00", quantity=5.0)
    add(
        tables,
        "cancellations",
        order_line_id="L1",
        cancelled_at="2024-03-10 08:00",
        quantity=3.0,
        event_id="X2",
        reason="said",
    )
    facts = company.facts(tables)
    assert cancellations(facts, "L1") == [(2.0, "changed"), (3.0, "said")]
    assert line_of(facts, "L1")["open_quantity"] == 1.0


def test_a_line_that_vanishes_is_cancelled_then(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", is_deleted=True)
    facts = company.facts(tables)
    assert cancellations(facts, "L1") == [(6.0, "vanished")]
    line = line_of(facts, "L1")
    assert (line["open_quantity"], line["ended_by"]) == (0.0, "customer")
    assert line_of(facts, "L1", datetime(2024, 3, 8))["open_quantity"] == 6.0


def test_a_vanished_line_that_was_shipped_or_cancelled_is_no_cancellation(tables, company):
    version(tables, "order_lines", "L2", "2024-03-08 09:00", is_deleted=True)
    version(tables, "order_lines", "L3", "2024-03-08 09:00", is_deleted=True)
    facts = company.facts(tables)
    assert cancellations(facts, "L2") == []
    assert cancellations(facts, "L3") == [(3.0, "too late")]


def test_a_line_told_twice_to_be_gone_vanished_once_and_may_come_back(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", is_deleted=True)
    version(tables, "order_lines", "L1", "2024-03-09 09:00", is_deleted=True)
    version(tables, "order_lines", "L1", "2024-03-11 09:00", is_deleted=False)
    facts = company.facts(tables)
    assert cancellations(facts, "L1", datetime(2024, 3, 10)) == [(6.0, "vanished")]
    assert cancellations(facts, "L1") == []
    assert back_orders(facts)["L1"] == 6.0


def test_a_cancellation_written_after_the_line_vanished_does_not_count_twice(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", is_deleted=True)
    add(
        tables,
        "cancellations",
        order_line_id="L1",
        cancelled_at="2024-03-08 09:01",
        quantity=6.0,
        event_id="X2",
        cancelled_by="seller",
    )
    line = line_of(company.facts(tables), "L1")
    assert (line["cancelled_quantity"], line["net_amount"], line["ended_by"]) == (6.0, 36.0, "seller")


def test_a_line_that_falls_and_then_vanishes_is_cancelled_in_full_once(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=7.0)
    version(tables, "order_lines", "L1", "2024-03-09 09:00", is_deleted=True)
    assert cancellations(company.facts(tables), "L1") == [(3.0, "changed"), (3.0, "vanished")]


# --- dates told -------------------------------------------------------------------------------------------------------


def told(facts, order_line_id="L1", moment=None):
    with facts.connect() as connection:
        lines = build(connection, facts, moment or facts.as_of, "backorder_lines")
    line = lines.set_index("order_line_id").loc[order_line_id]
    days = [str(line[name].date()) for name in ("promised_on", "latest_promised_on", "promise_told_on")]
    return (*days, int(line["n_slips"]))


def test_promised_on_is_the_first_date_told_and_later_ones_are_slips(tables, company):
    facts = company.facts(tables)
    assert told(facts, moment=datetime(2024, 3, 7, 8)) == ("2024-03-08", "2024-03-08", "2024-03-01", 0)
    assert told(facts) == ("2024-03-08", "2024-03-18", "2024-03-07", 1)


def test_a_later_version_with_another_date_is_a_slip_and_one_with_the_same_date_is_none(tables, company):
    version(tables, "order_lines", "L1", "2024-03-09 09:00", unit_price=8.0)
    assert told(company.facts(tables)) == ("2024-03-08", "2024-03-18", "2024-03-07", 1)
    version(tables, "order_lines", "L1", "2024-03-11 09:00", promised_on="2024-03-25")
    assert told(company.facts(tables)) == ("2024-03-08", "2024-03-25", "2024-03-11", 2)


def test_a_date_first_told_after_the_order_is_the_first_date_told(tables, company):
    add(tables, "promises", order_line_id="L5", told_at="2024-03-13 09:00", promised_on="2024-03-20")
    facts = company.facts(tables)
    assert told(facts, "L5") == ("2024-03-20", "2024-03-20", "2024-03-13", 0)
    assert pd.isna(line_of(facts, "L5", datetime(2024, 3, 13))["promised_on"])


def test_expected_on_is_the_first_date_told_and_versions_are_slips(tables, company):
    version(tables, "purchase_orders", "B1", "2024-03-05 09:00", quantity=9.0)
    version(tables, "purchase_orders", "B1", "2024-03-08 09:00", expected_on="2024-03-22")
    query = """select cast(told_on as varchar), cast(expected_on as varchar) from known_expected_dates
               where po_line_id = 'B1' order by 1"""
    assert ask(company.facts(tables), query) == [("2024-03-01", "2024-03-10"), ("2024-03-08", "2024-03-22")]


def test_columns_that_change_serve_todays_decision_only_unless_versioned(tables, company):
    query = "select credit_hold, contact_allowed from known_customers where customer_id = 'C3'"
    facts = company.facts(tables)
    assert ask(facts, query) == [(True, False)]
    assert ask(facts, query, T - timedelta(days=1)) == [(False, True)]
    tables["customers"]["recorded_at"] = pd.to_datetime([None, None, "2024-03-01 09:00"])
    assert ask(company.facts(tables), query, T - timedelta(days=1)) == [(True, False)]


def test_a_customer_that_was_deleted_stands_as_it_last_was(tables, company):
    version(tables, "customers", "C1", "2024-03-08 09:00", name="Ash & Ash", credit_hold=True)
    version(tables, "customers", "C1", "2024-03-14 08:00", is_deleted=True, name=None, credit_hold=None)
    facts = company.facts(tables)
    query = "select name, account_id, credit_hold from known_customers where customer_id = 'C1'"
    assert ask(facts, query) == [("Ash & Ash", "C1", True)]
    assert ask(facts, query, datetime(2024, 3, 14, 7)) == [("Ash & Ash", "C1", True)]
    assert ask(facts, query, datetime(2024, 3, 8, 8)) == [("Ash", "C1", False)]
    assert ask(facts, "select account_id from known_customers where customer_id = 'C2'") == [("C1",)]
    assert set(back_orders(facts)) == {"L1", "L5", "L6"}


def test_a_parent_shares_value_only_once_it_is_known(tables, company):
    tables["customers"].loc[0, "created_at"] = pd.Timestamp("2023-09-01")
    tables["order_lines"] = tables["order_lines"].copy()
    facts = company.facts(tables)
    account = "select account_id from known_customers where customer_id = 'C2'"
    assert ask(facts, account) == [("C1",)]
    assert ask(facts, account, datetime(2023, 8, 1)) == [("C2",)]


def test_facts_cannot_be_shown_as_of_a_later_moment(tables, company):
    with pytest.raises(ValueError, match="the facts end at 2024-03-15 05:00:00; they cannot be shown as of"):
        ask(company.facts(tables), "select 1", T + timedelta(seconds=1))


def test_optional_tables_may_all_be_absent(tables, company):
    for name in ("purchase_orders", "receipts", "suppliers", "reservations", "promises", "returns", "overrides"):
        del tables[name]
    assert back_orders(company.facts(tables)) == {"L1": 6.0, "L5": 1.0, "L6": 7.0}


def test_a_company_without_a_row_has_no_back_order(tables, company):
    empty = {name: table.iloc[:0] for name, table in tables.items()}
    assert back_orders(company.facts(empty, kind="csv")) == {}


def test_the_door_stops_before_the_first_fact(tables, tmp_path):
    assert check(small_site(write_tables(tables, tmp_path)), datetime(2020, 1, 1)).stops == [
        "no order line is known at 2020-01-01 00:00:00 (the first was ordered at 2024-01-10 10:00:00);"
        " choose a later --as-of"
    ]
