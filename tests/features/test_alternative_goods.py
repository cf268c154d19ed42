"""Goods of other pools that could serve waiting lines, in a company small enough to know by heart."""

import pytest

from features.feature_tables import build, read_features, write_features_now
from tests.erp.small_company import Company, T, add, small_tables, version

SOURCE = ["product_id", "warehouse_id", "from_product_id", "from_warehouse_id", "available_now"]


@pytest.fixture
def tables():
    """L1 and L5 wait for P1 in main, L6 for P3; 7 of P1 lie in north, and P3 may be replaced by P1."""
    tables = small_tables()
    tables["products"]["substitute_id"] = [None, "P1", "P1"]
    add(tables, "stock", product_id="P1", warehouse_id="north", on_hand=7.0, reserved=0.0)
    return tables


def alternatives_of(tables, home, moment=T):
    facts = Company(home).facts(tables, T)
    with facts.connect() as connection:
        return build(connection, facts, moment, "alternative_goods")


def test_the_product_elsewhere_and_the_substitute_here_stand_beside_each_waiting_pool(tables, tmp_path):
    found = alternatives_of(tables, tmp_path)
    # P1 in main: 9 counted, 1 blocked, 3 received and 4 shipped since; P2 waits nowhere.
    assert found[SOURCE].values.tolist() == [["P1", "main", "P1", "north", 7], ["P3", "main", "P1", "main", 7]]


def test_an_empty_pool_serves_nobody(tables, tmp_path):
    tables["stock"].loc[tables["stock"]["warehouse_id"] == "north", "on_hand"] = 0.0
    found = alternatives_of(tables, tmp_path)
    assert found["from_warehouse_id"].tolist() == ["main"]


def test_a_product_replaces_neither_itself_nor_anything_elsewhere(tables, tmp_path):
    tables["products"]["substitute_id"] = ["P1", None, "P2"]  # P2 lies in north alone
    assert alternatives_of(tables, tmp_path)["from_warehouse_id"].tolist() == ["north"]


def test_the_source_says_what_its_own_lines_not_due_yet_want_and_what_is_ordered_from_it(tables, tmp_path):
    new = {"order_line_id": "L8", "order_id": "O8", "product_id": "P1", "warehouse_id": "north", "quantity": 4.0}
    add(tables, "order_lines", **new, ordered_at="2024-03-10 12:00", requested_on="2024-03-20")
    first = alternatives_of(tables, tmp_path).iloc[0]
    assert first["units_due_later"] == 4
    # The first order came on 10 January, 65 days ago.
    assert (first["units_per_day"], first["units_per_line"]) == (pytest.approx(4 / 65), 4)
    assert (first["from_list_price"], first["from_unit_cost"], first["from_quantity_step"]) == (10, 6, 1)


def test_a_substitute_is_known_once_it_is_recorded(tables, tmp_path):
    tables["products"]["substitute_id"] = [None, None, None]
    version(tables, "products", "P3", "2024-03-13 10:00", substitute_id="P1")
    tables["products"]["recorded_at"] = tables["products"]["recorded_at"].fillna("2023-01-01")
    assert alternatives_of(tables, tmp_path)["from_warehouse_id"].tolist() == ["north", "main"]


def test_the_table_is_kept_for_the_mornings_decision(tables, tmp_path):
    write_features_now(tmp_path, Company(tmp_path / "company").facts(tables, T))
    kept = read_features(tmp_path)["alternative_goods"]
    assert len(kept) == 2
    assert {str(kept[name].dtype) for name in SOURCE[:4]} == {"str"}


def test_a_company_without_substitutes_and_with_one_warehouse_has_none(tmp_path):
    tables = small_tables()
    for table in tables.values():
        if "warehouse_id" in table:
            table["warehouse_id"] = None
    tables["stock"] = tables["stock"].drop_duplicates("product_id")
    assert len(alternatives_of(tables, tmp_path)) == 0
