from datetime import datetime

import pandas as pd
import pytest

from features.feature_tables import build
from tests.erp.small_company import Company, add, ask, small_tables


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


def pool(facts, product_id, warehouse_id="main"):
    query = f"""select on_hand, available_now from known_pools
                where product_id = '{product_id}' and warehouse_id = '{warehouse_id}'"""
    return ask(facts, query)[0]


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
    add(
        tables,
        "stock",
        snapshot_at="2024-03-12 08:00",
        product_id="P1",
        on_hand=50.0,
        warehouse_id="north",
        reserved=0.0,
    )
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


@pytest.mark.parametrize("cells", [{"unit_price": -1.0}, {"quantity": 0.0}, {"order_id": None}, {"ordered_at": None}])
def test_goods_of_a_line_whose_own_row_breaks_a_law_have_left_too(tables, company, cells):
    line = {"order_line_id": "L9", "product_id": "P1", "quantity": 4.0, "ordered_at": "2024-03-05 10:00"}
    add(tables, "order_lines", **(line | cells))
    add(tables, "shipments", order_line_id="L9", shipped_at="2024-03-10 10:00", quantity=4.0, event_id="S9")
    add(tables, "reservations", order_line_id="L9", quantity=2.0, is_firm=True)
    facts = company.facts(tables)
    assert list(facts.not_ranked["order_line_id"]) == ["L9"]
    assert list(facts.rejected["table"]) == ["order_lines"]
    assert pool(facts, "P1") == (4.0, 1.0)  # 8 without the line, 1 reserved for others, 2 picked
    assert "L9" not in back_orders(facts)


def test_goods_of_two_rows_that_contradict_each_other_leave_one_shelf_in_any_row_order(tables, company):
    for product_id in ("P3", "P1"):
        add(tables, "order_lines", order_line_id="L9", product_id=product_id, ordered_at="2024-03-05 10:00")
    add(tables, "shipments", order_line_id="L9", shipped_at="2024-03-10 10:00", quantity=1.0, event_id="S9")
    one = company.facts(tables)
    tables["order_lines"] = tables["order_lines"].iloc[::-1]
    other = company.facts(tables)
    assert one.fingerprint == other.fingerprint
    assert (pool(one, "P1"), pool(one, "P3")) == ((8.0, 7.0), (1.0, 1.0))


def test_receipts_of_an_inbound_line_set_aside_lie_on_the_shelf(tables, company):
    tables["purchase_orders"].loc[0, "quantity"] = 0.0
    facts = company.facts(tables)
    assert list(facts.rejected["table"]) == ["purchase_orders"]
    assert pool(facts, "P1") == (8.0, 7.0)
    assert ask(facts, "select po_line_id from known_purchase_orders") == [("B2",)]


def test_returns_count_from_the_next_count_only(tables, company):
    add(tables, "returns", order_line_id="L1", quantity=1.0, event_id="Q2", returned_at="2024-03-09 09:00")
    assert pool(company.facts(tables), "P1") == (8.0, 7.0)


def test_overrides_hold_until_their_last_day(tables, company):
    facts = company.facts(tables, datetime(2024, 3, 22))
    held = "select holds_today from known_overrides"
    moments = [datetime(2024, 3, 13), datetime(2024, 3, 14), datetime(2024, 3, 20, 23), datetime(2024, 3, 21)]
    assert [ask(facts, held, moment) for moment in moments] == [[], [(True,)], [(True,)], [(False,)]]
