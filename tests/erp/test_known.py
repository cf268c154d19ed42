from datetime import datetime, timedelta

import pandas as pd
import pytest

from erp.known import check, last_due_day
from erp.settings import Site
from features.feature_tables import build
from tests.erp.small_company import T, Company, add, ask, small_site, small_tables, version, write_tables


@pytest.fixture
def tables():
    return small_tables()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


def back_orders(facts, moment=None):
    """Open quantity by back-ordered line."""
    with facts.connect() as connection:
        lines = build(connection, facts, moment or facts.as_of, "backorder_lines")
    return dict(zip(lines["order_line_id"], lines["open_quantity"], strict=True))


def line_of(facts, order_line_id, moment=None):
    with facts.connect() as connection:
        lines = build(connection, facts, moment or facts.as_of, "known_lines")
    return lines.set_index("order_line_id").loc[order_line_id]


def pool(facts, product_id, warehouse_id="main"):
    query = f"""select on_hand, available_now from known_pools
                where product_id = '{product_id}' and warehouse_id = '{warehouse_id}'"""
    return ask(facts, query)[0]


# --- open back orders -------------------------------------------------------------------------------------------------


def test_the_small_company_has_three_back_orders(tables, company):
    assert back_orders(company.facts(tables)) == {"L1": 6.0, "L5": 1.0, "L6": 7.0}


@pytest.mark.parametrize(
    ("requested_on", "is_late"), [("2024-03-13", True), ("2024-03-14", True), ("2024-03-15", False), ("2024-03-20", False)]
)
def test_a_line_is_late_once_its_requested_day_has_passed(tables, company, requested_on, is_late):
    tables["order_lines"].loc[3, "requested_on"] = datetime.fromisoformat(requested_on).date()
    assert ("L4" in back_orders(company.facts(tables))) == is_late


@pytest.mark.parametrize(
    ("timezone", "late"),
    [
        ("UTC", {"L1", "L5", "L6"}),
        # Ordered on Thursday 22:30 UTC: already Friday in Berlin and Tokyo, still Thursday in New York.
        ("Europe/Berlin", {"L1", "L5", "L6"}),
        ("Asia/Tokyo", {"L1", "L5"}),
        ("America/New_York", {"L1", "L5", "L6"}),
        # 05:00 UTC is still Thursday in Honolulu, the day it was ordered there.
        ("Pacific/Honolulu", {"L1", "L5"}),
    ],
)
def test_days_end_at_the_sites_midnight(tables, company, timezone, late):
    assert set(back_orders(company.facts(tables, timezone=timezone))) == late


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({}, "2024-07-07"),  # T is Monday 8 July
        ({"handling_days": 1}, "2024-07-04"),  # due Thursday, worked on Friday; due Friday would end on Monday
        ({"handling_days": 3}, "2024-07-02"),
        ({"handling_days": 1, "holidays": (datetime(2024, 7, 5).date(),)}, "2024-07-03"),
        ({"handling_days": 1, "working_days": (0, 1, 2, 3, 4, 5, 6)}, "2024-07-06"),
        ({"handling_days": 1, "working_days": (5,)}, "2024-07-05"),
    ],
)
def test_handling_takes_working_days(settings, last):
    assert str(last_due_day(datetime(2024, 7, 8).date(), Site(**settings))) == last


def test_handling_days_keep_young_lines_out(tables, company):
    # L5 was ordered on Tuesday: one working day ends on Wednesday, two on Thursday, three on Friday, which is today.
    assert set(back_orders(company.facts(tables, handling_days=2))) == {"L1", "L5"}
    assert set(back_orders(company.facts(tables, handling_days=3))) == {"L1"}


def test_a_split_off_line_counts_from_the_line_it_comes_from_in_the_end(tables, company):
    later = {"order_id": "O1", "ordered_at": "2024-03-15 03:00", "promised_on": None, "requested_on": None}
    add(tables, "order_lines", order_line_id="L8", split_from_id="L2", **later)
    add(tables, "order_lines", order_line_id="L9", split_from_id="L8", **later)
    facts = company.facts(tables)
    assert back_orders(facts).keys() == {"L1", "L5", "L6", "L8", "L9"}
    root = ask(facts, "select order_line_id, root_id, cast(due_on as varchar) from known_order_lines where root_id = 'L2'")
    assert sorted(root) == [(line, "L2", "2024-03-01") for line in ("L2", "L8", "L9")]


def test_lines_split_from_one_another_in_a_circle_do_not_hang(tables, company):
    tables["order_lines"]["split_from_id"] = ["L2", "L1", "L3", None, None, None, None]
    assert set(back_orders(company.facts(tables))) == {"L1", "L5", "L6"}


def test_firm_reservations_leave_the_open_quantity_and_soft_ones_do_not(tables, company):
    assert back_orders(company.facts(tables))["L1"] == 6.0
    tables["reservations"].loc[0, "is_firm"] = True
    assert back_orders(company.facts(tables))["L1"] == 4.0
    tables["reservations"].loc[0, "quantity"] = 6.0
    assert "L1" not in back_orders(company.facts(tables))


def test_over_shipment_leaves_nothing_open(tables, company):
    tables["shipments"].loc[0, "quantity"] = 12.0
    facts = company.facts(tables)
    assert "L1" not in back_orders(facts)
    assert line_of(facts, "L1")["open_quantity"] == 0.0


def test_fractions_that_add_up_leave_nothing_open(tables, company):
    tables["order_lines"].loc[0, "quantity"] = 0.3 + 1e-16
    tables["shipments"].loc[0, "quantity"] = 0.1
    for event in ("S8", "S9"):
        add(tables, "shipments", order_line_id="L1", shipped_at="2024-03-06 15:00", quantity=0.1, event_id=event)
    assert "L1" not in back_orders(company.facts(tables))


def test_a_product_that_was_deleted_still_has_its_waiting_lines(tables, company):
    version(tables, "products", "P1", "2024-03-10 09:00", is_deleted=True, list_price=None, name=None)
    facts = company.facts(tables)
    assert set(back_orders(facts)) == {"L1", "L5", "L6"}
    query = "select list_price, is_discontinued from known_products where product_id = 'P1'"
    assert ask(facts, query) == [(10.0, True)]
    assert ask(facts, query, datetime(2024, 3, 9)) == [(10.0, False)]


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
    add(tables, "cancellations", order_line_id="L1", cancelled_at=cancelled_at, quantity=3.0, event_id="X2", reason="said")
    facts = company.facts(tables)
    assert cancellations(facts, "L1") == [(3.0, "said")]
    assert line_of(facts, "L1")["open_quantity"] == 3.0
    # Whichever the ERP wrote first, at no moment does it count twice.
    assert sum(quantity for quantity, _ in cancellations(facts, "L1", datetime(2024, 3, 8, 9, 0, 30))) == 3.0


def test_what_a_cancellation_does_not_explain_of_a_fall_stays_changed(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=6.0)
    add(tables, "cancellations", order_line_id="L1", cancelled_at="2024-03-08 09:30", quantity=1.0, event_id="X2", reason="said")
    assert cancellations(company.facts(tables), "L1") == [(1.0, "said"), (3.0, "changed")]


def test_two_falls_and_one_written_cancellation(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=8.0)
    version(tables, "order_lines", "L1", "2024-03-10 09:00", quantity=5.0)
    add(tables, "cancellations", order_line_id="L1", cancelled_at="2024-03-10 08:00", quantity=3.0, event_id="X2", reason="said")
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
    add(tables, "cancellations", order_line_id="L1", cancelled_at="2024-03-08 09:01", quantity=6.0, event_id="X2", cancelled_by="seller")
    line = line_of(company.facts(tables), "L1")
    assert (line["cancelled_quantity"], line["net_amount"], line["ended_by"]) == (6.0, 36.0, "seller")


def test_a_line_that_falls_and_then_vanishes_is_cancelled_in_full_once(tables, company):
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=7.0)
    version(tables, "order_lines", "L1", "2024-03-09 09:00", is_deleted=True)
    assert cancellations(company.facts(tables), "L1") == [(3.0, "changed"), (3.0, "vanished")]


# --- dates told -------------------------------------------------------------------------------------------------------


def told(facts, order_line_id="L1", moment=None):
    line = line_of(facts, order_line_id, moment)
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
    query = "select cast(told_on as varchar), cast(expected_on as varchar) from known_expected_dates where po_line_id = 'B1' order by 1"
    assert ask(company.facts(tables), query) == [("2024-03-01", "2024-03-10"), ("2024-03-08", "2024-03-22")]


def test_columns_that_change_serve_todays_decision_only_unless_versioned(tables, company):
    query = "select credit_hold, contact_allowed from known_customers where customer_id = 'C3'"
    facts = company.facts(tables)
    assert ask(facts, query) == [(True, False)]
    assert ask(facts, query, T - timedelta(days=1)) == [(False, True)]
    tables["customers"]["recorded_at"] = pd.to_datetime([None, None, "2024-03-01 09:00"])
    assert ask(company.facts(tables), query, T - timedelta(days=1)) == [(True, False)]


def test_a_parent_shares_value_only_once_it_is_known(tables, company):
    tables["customers"].loc[0, "created_at"] = pd.Timestamp("2023-09-01")
    tables["order_lines"] = tables["order_lines"].copy()
    facts = company.facts(tables)
    account = "select account_id from known_customers where customer_id = 'C2'"
    assert ask(facts, account) == [("C1",)]
    assert ask(facts, account, datetime(2023, 8, 1)) == [("C2",)]


# --- stock ------------------------------------------------------------------------------------------------------------


def test_stock_is_the_latest_count_plus_receipts_minus_shipments_since(tables, company):
    # P1: 9 counted on 4 March, 4 shipped on the 5th, 3 received on the 12th; 1 reserved for others.
    assert pool(company.facts(tables), "P1") == (8.0, 7.0)


def test_no_count_is_no_stock(tables, company):
    assert pool(company.facts(tables), "P2", "main") == (0.0, 0.0)
    tables["stock"] = tables["stock"].iloc[1:]
    assert pool(company.facts(tables), "P1")[1] == 0.0


def test_the_latest_count_known_holds(tables, company):
    add(tables, "stock", snapshot_at="2024-03-12 08:00", product_id="P1", on_hand=2.0, warehouse_id=None, reserved=0.0)
    assert pool(company.facts(tables), "P1") == (2.0, 2.0)
    tables["stock"]["recorded_at"] = pd.to_datetime([None, None, None, "2024-03-16"])
    assert pool(company.facts(tables), "P1") == (8.0, 7.0)


def test_warehouses_are_pools_of_their_own_and_the_default_takes_the_rest(tables, company):
    facts = company.facts(tables, default_warehouse="south")
    assert pool(facts, "P1", "south") == (8.0, 7.0)
    assert pool(facts, "P2", "north") == (6.0, 6.0)
    add(tables, "stock", snapshot_at="2024-03-12 08:00", product_id="P1", on_hand=50.0, warehouse_id="north", reserved=0.0)
    facts = company.facts(tables)
    assert (pool(facts, "P1"), pool(facts, "P1", "north")) == ((8.0, 7.0), (50.0, 50.0))


@pytest.mark.parametrize(("snapshot_at", "on_hand"), [("2024-03-05 14:00", 8.0), ("2024-03-05 16:00", 12.0)])
def test_only_what_moved_after_the_count_moves_it(tables, company, snapshot_at, on_hand):
    tables["stock"].loc[0, "snapshot_at"] = pd.Timestamp(snapshot_at)
    assert pool(company.facts(tables), "P1")[0] == on_hand


def test_day_only_events_count_if_their_day_is_later_than_the_counts(tables, company):
    tables["shipments"]["shipped_at"] = tables["shipments"]["shipped_at"].dt.normalize()
    for snapshot_at, on_hand in (("2024-03-05 04:00", 12.0), ("2024-03-04 23:00", 8.0)):
        tables["stock"].loc[0, "snapshot_at"] = pd.Timestamp(snapshot_at)
        assert pool(company.facts(tables), "P1")[0] == on_hand


def test_a_count_that_is_only_a_day_holds_what_moved_on_that_day(tables, company):
    tables["stock"]["snapshot_at"] = pd.Timestamp("2024-03-05")
    assert pool(company.facts(tables), "P1")[0] == 12.0
    tables["stock"]["snapshot_at"] = pd.Timestamp("2024-03-04")
    assert pool(company.facts(tables), "P1")[0] == 8.0


def test_firm_reservations_leave_the_pool_where_the_line_lies(tables, company):
    tables["reservations"]["is_firm"] = True
    facts = company.facts(tables)
    assert pool(facts, "P1") == (8.0, 5.0)
    tables["reservations"].loc[0, "order_line_id"] = "L2"
    assert pool(company.facts(tables), "P2", "north") == (6.0, 4.0)


def test_available_now_is_never_negative(tables, company):
    tables["stock"].loc[0, "reserved"] = 30.0
    assert pool(company.facts(tables), "P1") == (8.0, 0.0)


def test_goods_of_a_line_set_aside_have_left_the_shelf_all_the_same(tables, company):
    add(tables, "returns", order_line_id="L1", quantity=-1.0, event_id="Q2", returned_at="2024-03-09 09:00")
    tables["reservations"].loc[0, "is_firm"] = True
    facts = company.facts(tables)
    assert "L1" not in back_orders(facts)
    assert pool(facts, "P1") == (8.0, 5.0)


def test_returns_count_from_the_next_count_only(tables, company):
    add(tables, "returns", order_line_id="L1", quantity=1.0, event_id="Q2", returned_at="2024-03-09 09:00")
    assert pool(company.facts(tables), "P1") == (8.0, 7.0)


def test_overrides_hold_until_their_last_day(tables, company):
    facts = company.facts(tables, datetime(2024, 3, 22))
    count = "select count(*) from known_overrides"
    moments = [datetime(2024, 3, 13), datetime(2024, 3, 14), datetime(2024, 3, 20, 23), datetime(2024, 3, 21)]
    assert [ask(facts, count, moment)[0][0] for moment in moments] == [0, 1, 1, 0]


# --- invariance -------------------------------------------------------------------------------------------------------


def frames(facts):
    with facts.connect() as connection:
        return [build(connection, facts, facts.as_of, name) for name in ("backorder_lines", "accounts", "inbound_dates")]


def assert_same(one, other):
    for left, right in zip(frames(one), frames(other), strict=True):
        pd.testing.assert_frame_equal(left, right)
    assert one.fingerprint == other.fingerprint


def rich_tables():
    """The small company with versions, a fall, a vanished line, a split and a slip."""
    tables = small_tables()
    version(tables, "order_lines", "L1", "2024-03-08 09:00", quantity=9.0, promised_on="2024-03-30")
    version(tables, "order_lines", "L5", "2024-03-13 09:00", is_deleted=True)
    add(tables, "order_lines", order_line_id="L8", split_from_id="L1", recorded_at=None, is_deleted=None, quantity=2.0)
    version(tables, "purchase_orders", "B1", "2024-03-08 09:00", expected_on="2024-03-22")
    version(tables, "customers", "C1", "2024-03-08 09:00", name="Ash & Ash", credit_hold=True)
    return tables


def test_row_order_file_splits_and_copies_do_not_matter(company, tmp_path):
    tables = rich_tables()
    plain = company.facts(tables)
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in tables.items()}
    assert_same(plain, company.facts(shuffled))
    copied = {name: pd.concat([table, table.iloc[::-1]]) for name, table in tables.items()}
    assert_same(plain, company.facts(copied))
    for name, table in tables.items():
        (tmp_path / "parts" / name).mkdir(parents=True)
        table.iloc[1:].to_csv(tmp_path / "parts" / name / "a.csv", index=False)
        table.iloc[:1].to_parquet(tmp_path / "parts" / name / "b.parquet", index=False)
    assert_same(plain, company.facts_of(tmp_path / "parts"))


def with_a_future(tables):
    """Every table goes on after T, in law and out of it."""
    after = pd.Timestamp("2024-03-15 05:00:01")
    times = {"order_lines": "ordered_at", "shipments": "shipped_at", "cancellations": "cancelled_at", "stock": "snapshot_at"}
    times |= {"receipts": "received_at", "promises": "told_at", "returns": "returned_at", "overrides": "made_at"}
    times |= {"purchase_orders": "ordered_at", "customers": "created_at"}
    for name, time in times.items():
        first = tables[name].columns[0]
        key = {first: "L1" if first == "order_line_id" and name != "order_lines" else "new"}
        key |= {"po_line_id": "B2"} if name == "receipts" else {}
        key |= {"product_id": "P1"} if name == "stock" else {}
        event = {"event_id": "future"} if "event_id" in tables[name].columns else {}
        add(tables, name, **(key | event | {time: after}))
        bad = {"quantity": -1.0} if "quantity" in tables[name].columns else {}
        add(tables, name, **(key | event | bad | {time: after + pd.Timedelta(days=3, microseconds=1)}))
    for name, key in (("customers", "C3"), ("products", "P1"), ("order_lines", "L1"), ("purchase_orders", "B1")):
        version(tables, name, key, "2024-03-15 05:00:01", is_deleted=True)
    version(tables, "order_lines", "L6", "2024-03-15 05:00:01", quantity=-1.0, ordered_at="2024-03-14 11:11:11")
    version(tables, "shipments", "L2", "2024-03-15 05:00:01", is_deleted=True)
    version(tables, "reservations", "L1", "2024-03-15 05:00:01", is_firm=True)
    version(tables, "suppliers", "V1", "2024-03-15 05:00:01", is_deleted=True)
    return tables


def test_what_comes_after_t_changes_nothing(company):
    assert_same(company.facts(rich_tables()), company.facts(with_a_future(rich_tables())))


def test_what_comes_after_t_does_not_turn_days_into_times(company):
    def days():
        tables = rich_tables()
        for name, table in tables.items():
            for column in table.columns[table.columns.str.endswith("_at")]:
                tables[name][column] = table[column].dt.normalize()
        return tables

    assert_same(company.facts(days()), company.facts(with_a_future(days())))


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


def test_csv_and_parquet_hold_the_same_facts(tables, company):
    assert_same(company.facts(tables), company.facts(tables, kind="csv"))


def test_the_door_stops_before_the_first_fact(tables, tmp_path):
    assert check(small_site(write_tables(tables, tmp_path)), datetime(2020, 1, 1)).stops == [
        "no order line is known at 2020-01-01 00:00:00 (the first was ordered at 2024-01-10 10:00:00); choose a later --as-of"
    ]
