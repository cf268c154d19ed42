import pandas as pd
import pytest

from features.feature_tables import build
from tests.erp.small_company import Company, add, small_tables, version


@pytest.fixture
def tables():
    return small_tables()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


# --- invariance -------------------------------------------------------------------------------------------------------


def frames(facts):
    with facts.connect() as connection:
        return [
            build(connection, facts, facts.as_of, name) for name in ("backorder_lines", "accounts", "inbound_dates")
        ]


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
    times = {
        "order_lines": "ordered_at",
        "shipments": "shipped_at",
        "cancellations": "cancelled_at",
        "stock": "snapshot_at",
    }
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


def test_csv_and_parquet_hold_the_same_facts(company):
    assert_same(company.facts(small_tables()), company.facts(small_tables(), kind="csv"))
