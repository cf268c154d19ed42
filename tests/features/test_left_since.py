"""What left between two moments, against sums of the tables' own rows."""

from datetime import timedelta

import pandas as pd
import pytest

from features.left_since import (
    left_between,
    left_since,
    lines_not_told,
    on_the_shelf,
    shipments_carry_days_only,
    words_said,
)
from tests.erp.small_company import Company, small_tables
from tests.erp.small_company import T as SMALL_T
from tests.features.grown_company import T, grown_tables

BEFORE = T - timedelta(days=60)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    return Company(tmp_path_factory.mktemp("left"))


def known_between(frame, time, since, until):
    """Sum of quantities per line whose own time lies after `since` and at or before `until`."""
    at = pd.to_datetime(frame[time])
    return frame[(at > since) & (at <= until)].groupby("order_line_id")["quantity"].sum()


def test_shipped_and_withdrawn_are_the_sums_of_the_rows_in_between(company):
    tables = grown_tables(seed=3)
    got = left_since(company.facts(tables, T), BEFORE).set_index("order_line_id")
    shipped = known_between(tables["shipments"], "shipped_at", BEFORE, T)
    shipped = shipped[shipped.index.isin(got.index)]
    assert len(shipped) > 10
    pd.testing.assert_series_equal(
        got["shipped_quantity"][got["shipped_quantity"] > 0], shipped.sort_index(), check_names=False, check_dtype=False
    )
    cancelled = known_between(tables["cancellations"], "cancelled_at", BEFORE, T)
    told = got["withdrawn_quantity"].reindex(cancelled.index)
    assert len(cancelled) > 3
    assert (told >= cancelled - 1e-9).all(), "quantities that fell and lines that vanished come on top"
    of_line = tables["order_lines"].drop_duplicates("order_line_id").set_index("order_line_id")["product_id"]
    assert (got["product_id"] == of_line.reindex(got.index)).all()


def test_nothing_leaves_in_no_time(company):
    assert left_since(company.facts(grown_tables(seed=3), T), T).empty


def test_two_runs_facts_say_the_same_as_one_runs_facts_at_two_moments_but_for_what_lies_picked(company):
    tables = grown_tables(seed=3)
    tables.pop("reservations", None)
    morning, evening = company.facts(tables, BEFORE), company.facts(tables, T)
    pd.testing.assert_frame_equal(left_between(morning, evening), left_since(evening, BEFORE))


def test_goods_picked_in_between_have_left_and_those_picked_before_leave_no_second_time(company):
    def picked(**quantities):
        held = pd.DataFrame({"order_line_id": list(quantities), "quantity": list(quantities.values()), "is_firm": True})
        return small_tables() | {"reservations": held}

    shipped = small_tables()["shipments"]
    shipped = pd.concat([shipped, shipped.head(1).assign(order_line_id="L1", quantity=2.0, event_id="new")])
    morning = company.facts(picked(L1=2.0), SMALL_T)
    evening = company.facts(picked(L6=3.0) | {"shipments": shipped}, SMALL_T)
    moved = left_between(morning, evening).set_index("order_line_id")
    assert moved["shipped_quantity"].to_dict() == {"L6": 3.0}, "two of L1 were picked, and are shipped"


def test_days_and_times_of_shipments_are_told_apart(company):
    tables = grown_tables(seed=3)
    is_day = pd.to_datetime(tables["shipments"]["shipped_at"]).dt.normalize() == pd.to_datetime(
        tables["shipments"]["shipped_at"]
    )
    assert shipments_carry_days_only(company.facts(tables, T)) == bool(is_day.all())
    shipped = pd.to_datetime(tables["shipments"]["shipped_at"])
    other = shipped.dt.normalize() + (pd.Timedelta(hours=23) if is_day.all() else pd.Timedelta(0))
    tables["shipments"] = tables["shipments"].assign(shipped_at=other)
    assert shipments_carry_days_only(company.facts(tables, T)) != bool(is_day.all())


def test_goods_received_for_one_line_and_the_hour_of_its_last_shipment_stand_beside_what_left(company):
    tables = small_tables()
    since = SMALL_T - timedelta(days=300)
    got = left_since(company.facts(tables, SMALL_T), since).set_index("order_line_id")
    shipped = tables["shipments"].assign(at=pd.to_datetime(tables["shipments"]["shipped_at"]))
    last = shipped[shipped["at"] <= SMALL_T].groupby("order_line_id")["at"].max()
    told = got["last_left_at"].dropna()
    assert len(told) > 1
    assert (told == last.reindex(told.index)).all()
    assert (got["received_quantity"] == 0).all()
    orders = tables["purchase_orders"].assign(for_order_line_id="L1")
    mine = left_since(company.facts(tables | {"purchase_orders": orders}, SMALL_T), since).set_index("order_line_id")
    product = tables["order_lines"].set_index("order_line_id").loc["L1", "product_id"]
    came = tables["receipts"].merge(orders[orders["product_id"] == product][["po_line_id"]])
    came = came[pd.to_datetime(came["received_at"]).between(since, SMALL_T)]
    assert mine["received_quantity"].sum() == mine.loc["L1", "received_quantity"] == came["quantity"].sum() > 0


def test_lines_are_known_by_product_and_time_too_and_the_shelf_holds_every_pool(company):
    facts = company.facts(grown_tables(seed=3), T)
    with facts.connect() as connection:
        lines = connection.execute("select order_line_id, product_id, ordered_at from known_order_lines").df().head(3)
        pools = connection.execute("select * from known_pools").df()
    assert lines_not_told(facts, lines) == []
    assert lines_not_told(facts, lines.assign(product_id=[*lines["product_id"][:2], "other"])) == [
        lines["order_line_id"][2]
    ]
    assert on_the_shelf(facts)["available_now"].sum() == pools["available_now"].sum() > 0


def test_a_word_taken_back_says_when(company):
    tables = small_tables()
    line = tables["order_lines"]["order_line_id"].iloc[0]
    said_at, lifted_at = SMALL_T - timedelta(hours=9), SMALL_T - timedelta(hours=2)
    word = {"order_line_id": line, "order_id": None, "customer_id": None, "product_id": None, "action": "pin"}
    word |= {"who": "Ada", "why": "a rush", "made_at": said_at, "until_on": SMALL_T.date() + timedelta(days=9)}
    rows = [word | {"recorded_at": said_at, "is_deleted": False}, word | {"recorded_at": lifted_at, "is_deleted": True}]
    facts = company.facts(tables | {"overrides": pd.DataFrame(rows)}, SMALL_T)
    assert words_said(facts)[["why", "lifted_at"]].to_numpy().tolist() == [["a rush", pd.Timestamp(lifted_at)]]
    stands = company.facts(tables | {"overrides": pd.DataFrame(rows[:1])}, SMALL_T)
    assert words_said(stands)["lifted_at"].isna().tolist() == [True]
