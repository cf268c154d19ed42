from datetime import datetime

import pytest

from erp.known import last_due_day
from erp.settings import Site
from tests.erp.small_company import Company, add, ask, back_orders, line_of, small_tables, version


@pytest.fixture
def tables():
    return small_tables()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


# --- open back orders -------------------------------------------------------------------------------------------------


def test_the_small_company_has_three_back_orders(tables, company):
    assert back_orders(company.facts(tables)) == {"L1": 6.0, "L5": 1.0, "L6": 7.0}


@pytest.mark.parametrize(
    ("requested_on", "is_late"),
    [("2024-03-13", True), ("2024-03-14", True), ("2024-03-15", False), ("2024-03-20", False)],
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
    root = ask(
        facts, "select order_line_id, root_id, cast(due_on as varchar) from known_order_lines where root_id = 'L2'"
    )
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
