from datetime import datetime

import pandas as pd
import pytest

from erp.contract import ContractError
from erp.known import check, gather
from tests.erp.small_company import Company, T, add, ask, small_site, small_tables, version, write_tables


@pytest.fixture
def tables():
    return small_tables()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


@pytest.fixture
def judged(tmp_path):
    def judge(tables, as_of=T, **given):
        return check(small_site(write_tables(tables, tmp_path / "judged"), **given), as_of)

    return judge


def broken(findings, table):
    """Row, column and rule of a table's broken cells."""
    rows = findings.rejected[findings.rejected["table"] == table]
    return list(rows[["row", "column", "rule"]].itertuples(index=False, name=None))


def not_ranked(findings):
    return dict(findings.not_ranked.itertuples(index=False, name=None))


def test_the_small_company_breaks_no_law(tables, judged):
    findings = judged(tables, tolerated_share=0.01)
    assert (len(findings.rejected), len(findings.not_ranked), findings.stops) == (0, 0, [])


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["order_lines", "shipments", "stock", "customers", "promises", "products"])
def test_identical_rows_count_once_and_are_counted(tables, judged, name):
    n_rows = len(tables[name])
    tables[name] = pd.concat([tables[name], tables[name], tables[name].iloc[:1]], ignore_index=True)
    found = judged(tables).tables[name]
    assert (found.n_rows, found.n_identical, found.n_set_aside) == (n_rows, n_rows + 1, 0)


@pytest.mark.parametrize(
    ("name", "cells", "key"),
    [
        ("customers", {"customer_id": "C3", "name": "Other"}, "customer_id"),
        ("products", {"product_id": "P3", "list_price": 6.0}, "product_id"),
        ("order_lines", {"order_line_id": "L7", "quantity": 3.0}, "order_line_id"),
        ("shipments", {"event_id": "S3", "quantity": 1.0}, "event_id"),
        ("stock", {"on_hand": 7.0}, "snapshot_at + product_id + warehouse_id"),
        ("promises", {"promised_on": "2024-03-19"}, "order_line_id + told_at"),
        ("reservations", {"quantity": 2.0}, "order_line_id + warehouse_id"),
        ("purchase_orders", {"quantity": 10.0}, "po_line_id"),
    ],
)
def test_one_key_with_two_contents_breaks_the_law_in_both_rows(tables, judged, name, cells, key):
    n_rows = len(tables[name])
    add(tables, name, **cells)
    assert broken(judged(tables), name) == [(n_rows, key, "key is unique"), (n_rows + 1, key, "key is unique")]


def test_a_later_recorded_version_is_no_second_row(tables, judged):
    version(tables, "order_lines", "L1", "2024-03-03 09:00", quantity=8.0)
    version(tables, "shipments", "L1", "2024-03-06 09:00", quantity=3.0)
    findings = judged(tables)
    assert len(findings.rejected) == 0
    assert findings.tables["order_lines"].n_rows == 8


def test_two_versions_recorded_at_one_time_break_the_law(tables, judged):
    version(tables, "order_lines", "L1", "2024-03-03 09:00", quantity=8.0)
    version(tables, "order_lines", "L1", "2024-03-03 09:00", quantity=7.0)
    findings = judged(tables)
    assert broken(findings, "order_lines") == [(row, "order_line_id", "key is unique") for row in (8, 9)]
    assert not_ranked(findings) == {"L1": "a row of order_lines breaks a law"}


def test_equal_part_shipments_without_event_id_are_one_and_with_event_id_two(tables, company):
    add(tables, "shipments", order_line_id="L1", shipped_at="2024-03-06 15:00", quantity=1.0, event_id="S8")
    add(tables, "shipments", order_line_id="L1", shipped_at="2024-03-06 15:00", quantity=1.0, event_id="S9")
    query = "select sum(quantity) from known_shipments where order_line_id = 'L1'"
    assert ask(company.facts(tables), query) == [(6.0,)]
    tables["shipments"] = tables["shipments"].drop(columns="event_id")
    assert ask(company.facts(tables), query) == [(5.0,)]


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "value", "rule"),
    [
        ("order_lines", "quantity", 0.0, "is greater than 0"),
        ("order_lines", "quantity", -1.0, "is greater than 0"),
        ("order_lines", "unit_price", -0.01, "is not negative"),
        ("order_lines", "order_id", None, "is present"),
        ("order_lines", "quantity", None, "is present"),
        ("products", "list_price", -1.0, "is not negative"),
        ("products", "unit_cost", -1.0, "is not negative"),
        ("products", "quantity_step", 0.0, "is greater than 0"),
        ("stock", "on_hand", -2.0, "is not negative"),
        ("purchase_orders", "quantity", 0.0, "is greater than 0"),
        ("overrides", "action", "push", "is pin, hold or exclude"),
        ("overrides", "who", None, "is present"),
    ],
)
def test_a_cell_out_of_range_or_missing_sets_its_row_aside(tables, judged, name, column, value, rule):
    tables[name][column] = tables[name][column].astype(object)
    last = len(tables[name]) - 1
    tables[name].loc[last, column] = value
    tables[name][column] = tables[name][column].infer_objects()
    findings = judged(tables)
    assert (last + 1, column, rule) in broken(findings, name)
    assert findings.tables[name].n_set_aside == 1


def test_free_goods_break_no_law(tables, judged):
    tables["order_lines"].loc[0, "unit_price"] = 0.0
    tables["stock"].loc[0, "on_hand"] = 0.0
    assert len(judged(tables).rejected) == 0


def test_an_unreadable_cell_is_listed_once_with_its_text(tables, tmp_path):
    folder = write_tables(tables, tmp_path, "csv")
    path = folder / "shipments.csv"
    path.write_text(path.read_text().replace("4.0", "four"))
    findings = check(small_site(folder), T)
    assert findings.rejected.to_dict("records") == [
        {
            "table": "shipments",
            "file": "shipments.csv",
            "row": 1,
            "column": "quantity",
            "rule": "is a number",
            "value": "four",
        }
    ]


@pytest.mark.parametrize("cells", [{"customer_id": "C1"}, {"order_line_id": None}, {"order_id": "O4"}])
def test_an_override_names_exactly_one(tables, judged, cells):
    add(tables, "overrides", **({"made_at": "2024-03-14 09:00"} | cells))
    columns = [rule for _, _, rule in broken(judged(tables), "overrides")]
    assert columns == ["names exactly one of line, order, customer, product"]


def test_an_override_names_an_order_that_is_known(tables, judged):
    words = {"order_line_id": None, "made_at": "2024-03-14 09:00"}
    add(tables, "overrides", **words, order_id="O5")
    assert broken(judged(tables), "overrides") == []
    add(tables, "overrides", **words, order_id="nobody")
    assert broken(judged(tables), "overrides") == [(3, "order_id", "references exist")]


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("order_lines", "customer_id"),
        ("order_lines", "product_id"),
        ("shipments", "order_line_id"),
        ("cancellations", "order_line_id"),
        ("returns", "order_line_id"),
        ("stock", "product_id"),
        ("purchase_orders", "supplier_id"),
        ("purchase_orders", "product_id"),
        ("receipts", "po_line_id"),
        ("reservations", "order_line_id"),
        ("promises", "order_line_id"),
        ("overrides", "order_line_id"),
    ],
)
def test_a_reference_to_nothing_sets_the_row_aside(tables, judged, name, column):
    last = len(tables[name]) - 1
    tables[name].loc[last, column] = "nobody"
    findings = judged(tables)
    assert (last + 1, column, "references exist") in broken(findings, name)
    assert findings.tables[name].n_set_aside == 1
    assert "nobody" not in not_ranked(findings)


def test_an_event_whose_line_is_not_yet_known_is_not_known(tables, company):
    add(
        tables,
        "order_lines",
        order_line_id="L8",
        order_id="O8",
        ordered_at="2024-03-15 04:00",
        recorded_at="2024-03-15 09:00",
    )
    add(tables, "shipments", order_line_id="L8", shipped_at="2024-03-15 04:30", event_id="S8", quantity=1.0)
    early = company.facts(tables)
    assert list(early.rejected["rule"]) == ["references exist"]
    assert len(early.not_ranked) == 0
    late = company.facts(tables, datetime(2024, 3, 15, 12))
    assert len(late.rejected) == 0
    count = "select count(*) from known_shipments where order_line_id = 'L8'"
    assert ask(late, count) == [(1,)]
    assert ask(late, count, T) == [(0,)]


def test_what_happens_to_a_line_set_aside_breaks_no_law_itself(tables, judged):
    tables["order_lines"].loc[0, "unit_price"] = -1.0
    tables["purchase_orders"].loc[0, "quantity"] = 0.0
    findings = judged(tables)
    assert list(findings.rejected[["table", "rule"]].itertuples(index=False, name=None)) == [
        ("order_lines", "is not negative"),
        ("purchase_orders", "is greater than 0"),
    ]
    assert not_ranked(findings) == {"L1": "a row of order_lines breaks a law"}


@pytest.mark.parametrize("column", ["split_from_id", "parent_id"])
def test_a_broken_optional_reference_costs_only_its_cell(tables, judged, company, column):
    name = "customers" if column == "parent_id" else "order_lines"
    tables[name][column] = [None] * (len(tables[name]) - 1) + ["nobody"]
    findings = judged(tables)
    assert broken(findings, name) == [(len(tables[name]), column, "references exist")]
    assert findings.tables[name].n_set_aside == 0
    own = "customer_id = account_id" if name == "customers" else "order_line_id = root_id"
    assert ask(company.facts(tables), f"select bool_and({own}) from known_{name}") == [(True,)]


def test_without_the_parent_table_the_children_are_dark_not_broken(tables, judged):
    del tables["purchase_orders"]
    findings = judged(tables, tolerated_share=0.0)
    assert findings.stops == []
    del tables["suppliers"]
    assert judged(tables, tolerated_share=0.0).stops == []


def test_a_row_without_a_time_is_known_once_its_line_is(tables, judged):
    add(tables, "order_lines", order_line_id="L8", ordered_at="2024-03-15 06:00")
    add(tables, "reservations", order_line_id="L8", quantity=1.0)
    assert judged(tables, tolerated_share=0.0).stops == []


# --- order in time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "column"), [("shipments", "shipped_at"), ("cancellations", "cancelled_at")])
def test_nothing_happens_to_a_line_before_it_is_ordered(tables, judged, name, column):
    tables[name].loc[0, column] = (
        pd.Timestamp("2024-03-01 09:59") if name == "shipments" else pd.Timestamp("2024-03-04 07:59")
    )
    findings = judged(tables)
    assert broken(findings, name) == [(1, column, f"{column} is not before ordered_at")]
    assert not_ranked(findings) == {tables[name].loc[0, "order_line_id"]: f"a row of {name} breaks a law"}


def test_nothing_is_received_before_it_is_ordered(tables, judged):
    tables["receipts"].loc[0, "received_at"] = pd.Timestamp("2024-03-01 08:00")
    assert broken(judged(tables), "receipts") == [(1, "received_at", "received_at is not before ordered_at")]


def test_a_shipment_on_the_order_day_is_lawful_where_shipments_are_days(tables, judged):
    tables["shipments"]["shipped_at"] = pd.to_datetime(["2024-03-01", "2024-03-01", "2024-01-10"])
    assert len(judged(tables).rejected) == 0
    tables["shipments"].loc[0, "shipped_at"] = pd.Timestamp("2024-02-29")
    assert broken(judged(tables), "shipments") == [(1, "shipped_at", "shipped_at is not before ordered_at")]


def test_a_shipment_on_the_order_day_is_lawful_where_orders_are_days(tables, judged):
    tables["order_lines"]["ordered_at"] = tables["order_lines"]["ordered_at"].dt.normalize()
    tables["shipments"].loc[0, "shipped_at"] = pd.Timestamp("2024-03-01 00:30")
    assert len(judged(tables).rejected) == 0


def test_days_are_those_of_the_sites_timezone(tables, judged):
    # Ordered on 1 March 10:00 UTC: 23:00 in Auckland; 1 March in both. At 12:00 UTC it is 2 March there.
    tables["shipments"]["shipped_at"] = pd.to_datetime(["2024-03-01", "2024-03-02", "2024-01-12"])
    assert len(judged(tables, timezone="Pacific/Auckland").rejected) == 0
    tables["order_lines"].loc[0, "ordered_at"] = pd.Timestamp("2024-03-01 12:00")
    assert broken(judged(tables, timezone="Pacific/Auckland"), "shipments") == [
        (1, "shipped_at", "shipped_at is not before ordered_at")
    ]
    assert len(judged(tables, timezone="UTC").rejected) == 0


def test_midnights_of_the_site_are_days_too_on_both_sides_of_a_clock_change(tables, judged):
    # New York's midnights: 05:00 UTC until 10 March 2024, 04:00 UTC from then on.
    tables["shipments"]["shipped_at"] = pd.to_datetime(["2024-03-01 05:00", "2024-03-11 04:00", "2024-01-12 05:00"])
    assert len(judged(tables, timezone="America/New_York").rejected) == 0
    assert [row for row, _, _ in broken(judged(tables, timezone="UTC"), "shipments")] == [1]


# --- whole lines and the tolerated share ------------------------------------------------------------------------------


def test_an_event_that_breaks_a_law_takes_its_whole_line_out(tables, company):
    tables["shipments"].loc[0, "quantity"] = 0.0
    facts = company.facts(tables)
    assert dict(facts.not_ranked.itertuples(index=False, name=None)) == {"L1": "a row of shipments breaks a law"}
    assert ask(facts, "select count(*) from known_order_lines where order_line_id = 'L1'") == [(0,)]


def test_several_reasons_are_listed_in_one_row(tables, judged):
    tables["shipments"].loc[0, "quantity"] = 0.0
    add(tables, "returns", order_line_id="L1", quantity=-1.0, event_id="Q2", returned_at="2024-03-09 09:00")
    assert not_ranked(judged(tables)) == {"L1": "a row of returns breaks a law; a row of shipments breaks a law"}


def test_a_row_that_is_not_known_at_t_breaks_no_law(tables, judged):
    add(tables, "shipments", order_line_id="L1", shipped_at="2024-03-15 06:00", quantity=-1.0, event_id="S9")
    add(tables, "order_lines", order_line_id="L9", product_id="nobody", ordered_at="2024-03-16 06:00")
    add(tables, "stock", snapshot_at="2024-03-15 05:00:01", on_hand=-3.0)
    version(tables, "customers", "C1", "2024-03-15 05:00:01", created_at=None, name="Ash & Ash")
    version(tables, "products", "P1", "2024-03-15 05:00:01", list_price=-1.0)
    findings = judged(tables, tolerated_share=0.0)
    assert (len(findings.rejected), findings.stops) == (0, [])


def many_lines(tables, n_lines):
    last = tables["order_lines"].iloc[[-1]]
    more = pd.concat([last] * n_lines, ignore_index=True)
    more["order_line_id"] = [f"M{i}" for i in range(n_lines)]
    tables["order_lines"] = pd.concat([tables["order_lines"], more], ignore_index=True)


def test_exactly_the_tolerated_share_passes_and_one_row_more_stops(tables, judged):
    many_lines(tables, 193)
    tables["order_lines"].loc[[10, 11], "quantity"] = 0.0
    assert judged(tables, tolerated_share=0.01).stops == []
    tables["order_lines"].loc[12, "quantity"] = 0.0
    assert judged(tables, tolerated_share=0.01).stops == [
        "order_lines: 3 of 200 rows break a law (quantity: is greater than 0 fails 3 times, e.g. '0.0');"
        " correct the extract, or raise tolerated_share to set such rows aside"
    ]


def test_a_run_stops_with_every_broken_rule_of_every_table(tables, tmp_path):
    tables["order_lines"].loc[0, "quantity"] = 0.0
    tables["order_lines"].loc[1, "unit_price"] = -1.0
    tables["stock"].loc[0, "on_hand"] = -4.0
    tables["shipments"].loc[2, "quantity"] = 0.0
    folder = write_tables(tables, tmp_path / "data")
    (tmp_path / "facts").mkdir()
    with pytest.raises(ContractError) as stopped:
        gather(tmp_path / "facts", small_site(folder, tolerated_share=0.01), T)
    said = str(stopped.value)
    for words in (
        "order_lines: 2 of 7 rows",
        "quantity: is greater than 0 fails 1 times, e.g. '0.0'",
        "unit_price: is not negative fails 1 times, e.g. '-1.0'",
        "stock: 1 of 3 rows",
        "shipments: 1 of 3 rows break a law (quantity: is greater than 0 fails 1 times",
    ):
        assert words in said


def test_over_shipment_is_no_breach_and_is_counted(tables, judged, company):
    tables["shipments"].loc[0, "quantity"] = 12.0
    findings = judged(tables)
    assert len(findings.rejected) == 0
    assert any("1 order lines were shipped beyond what was ordered" in note for note in findings.notes)
    assert not any("beyond" in note for note in judged(small_tables()).notes)
    assert ask(company.facts(tables), "select quantity from known_shipments where order_line_id = 'L1'") == [(12.0,)]
