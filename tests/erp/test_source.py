import decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from erp.contract import TABLES, ContractError
from erp.source import open_folder, stage
from tests.erp.small_company import small_tables, write_tables


def staged(folder, name, columns="*"):
    """The rows of one table as they were read, and what could not be read."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        stage(connection, open_folder(folder))
        rows = connection.execute(f"select {columns} from staged_{name}").fetchall()
        broken = connection.execute("select file_name, file_row, column_name, rule, value from breaches").fetchall()
    return rows, broken


@pytest.fixture
def folder(tmp_path):
    return write_tables(small_tables(), tmp_path / "data")


@pytest.fixture
def texts(tmp_path):
    return write_tables(small_tables(), tmp_path / "texts", "csv")


def replace_table(folder: Path, name: str, content: str | bytes | pa.Table) -> None:
    for old in folder.glob(f"{name}.*"):
        old.unlink()
    if isinstance(content, pa.Table):
        pq.write_table(content, folder / f"{name}.parquet")
    else:
        (folder / f"{name}.csv").write_bytes(content.encode() if isinstance(content, str) else content)


def test_parquet_and_csv_say_the_same(folder, texts):
    for name in TABLES:
        columns = ", ".join(TABLES[name].columns)
        assert staged(folder, name, columns) == staged(texts, name, columns)


def test_a_table_may_come_in_parts_of_both_kinds(folder):
    lines = small_tables()["shipments"]
    (folder / "shipments.parquet").unlink()
    (folder / "shipments").mkdir()
    lines.iloc[:1].to_parquet(folder / "shipments" / "a.parquet")
    lines.iloc[1:].drop(columns="event_id").to_csv(folder / "shipments" / "b.csv", index=False)
    rows, broken = staged(folder, "shipments", "file_name, file_row, order_line_id, quantity, event_id")
    assert rows == [
        ("shipments/a.parquet", 1, "L1", 4.0, "S1"),
        ("shipments/b.csv", 1, "L2", 5.0, None),
        ("shipments/b.csv", 2, "L7", 2.0, None),
    ]
    assert broken == []


def test_a_table_that_is_there_twice_is_refused(folder):
    (folder / "shipments.csv").write_text("order_line_id,shipped_at,quantity\n")
    with pytest.raises(
        ContractError, match=r"shipments is there 2 times \(shipments.parquet, shipments.csv\); keep one"
    ):
        open_folder(folder)


def test_every_missing_required_table_is_named(folder):
    (folder / "stock.parquet").unlink()
    (folder / "customers.parquet").unlink()
    with pytest.raises(ContractError, match="2 required tables are missing in .*: customers, stock; export each as"):
        open_folder(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ContractError, match="no folder .*nowhere; --data names a folder"):
        open_folder(tmp_path / "nowhere")


def test_optional_tables_may_be_absent(folder):
    (folder / "promises.parquet").unlink()
    assert "promises" not in open_folder(folder).files
    assert staged(folder, "promises") == ([], [])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_missing_columns_are_named_with_their_file(tmp_path, kind):
    tables = small_tables()
    tables["shipments"] = tables["shipments"].drop(columns=["quantity", "shipped_at"])
    folder = write_tables(tables, tmp_path, kind)
    with pytest.raises(
        ContractError, match=f"shipments.{kind}: required columns are missing: shipped_at, quantity; found event_id"
    ):
        staged(folder, "shipments")


# --- CSV --------------------------------------------------------------------------------------------------------------

CUSTOMERS = "customer_id,created_at,name,segment,credit_hold\n"


def test_csv_byte_order_mark_quotes_commas_and_lines_within_quotes(texts):
    replace_table(
        texts,
        "customers",
        ("\ufeff" + CUSTOMERS).replace("customer_id", '"customer_id"')
        + '"007","2023-01-01T09:00:00Z","Ash, ""The"" Shop\nNorth Road",,true\n8,2023-01-02,,"",\n',
    )
    rows, broken = staged(
        texts, "customers", "file_row, customer_id, cast(created_at as varchar), name, segment, credit_hold"
    )
    assert rows == [
        (1, "007", "2023-01-01 09:00:00", 'Ash, "The" Shop\nNorth Road', None, True),
        (2, "8", "2023-01-02 00:00:00", None, None, None),
    ]
    assert broken == []


def test_csv_with_windows_line_ends_reads_alike(texts):
    plain = (texts / "order_lines.csv").read_text()
    before = staged(texts, "order_lines")
    (texts / "order_lines.csv").write_bytes(plain.replace("\n", "\r\n").encode())
    assert staged(texts, "order_lines") == before


def test_an_empty_quoted_cell_is_empty_whatever_its_kind(texts):
    replace_table(
        texts,
        "products",
        'product_id,list_price,unit_cost,name,discontinued_on,quantity_step\nP1,10,"","","",""\n',
    )
    rows, broken = staged(texts, "products", "unit_cost, name, discontinued_on, quantity_step")
    assert (rows, broken) == ([(None, None, None, None)], [])


def test_csv_of_a_header_alone_is_an_empty_table(texts):
    replace_table(texts, "returns", "order_line_id,returned_at,quantity\n")
    assert staged(texts, "returns") == ([], [])
    replace_table(texts, "returns", "order_line_id,returned_at,quantity")
    assert staged(texts, "returns") == ([], [])


def test_csv_without_a_header_is_refused(texts):
    replace_table(texts, "returns", "")
    with pytest.raises(ContractError, match=r"returns.csv is empty; a table without rows still has its header line"):
        staged(texts, "returns")


@pytest.mark.parametrize("place", ["header", "body"])
def test_csv_that_is_not_utf8_is_refused(texts, place):
    body = CUSTOMERS + "C1,2023-01-01,Ash,trade,true\n" * 3000 + "C2,2023-01-01,M\u00fcller,trade,true\n"
    if place == "header":
        body = CUSTOMERS.replace("segment", "gr\u00f6\u00dfe")
    replace_table(texts, "customers", body.encode("latin-1"))
    with pytest.raises(ContractError, match=r"customers.csv (is not UTF-8|cannot be read as csv).*UTF-8"):
        staged(texts, "customers")


@pytest.mark.parametrize("row", ["C1,2023-01-01", "C1,2023-01-01,Ash,trade,true,more", 'C1,2023-01-01,"Ash,trade,true'])
def test_ragged_csv_rows_are_refused(texts, row):
    replace_table(texts, "customers", CUSTOMERS + row + "\n")
    with pytest.raises(ContractError, match=r"customers.csv cannot be read as csv: .*double quotes"):
        staged(texts, "customers")


@pytest.mark.parametrize("header", ["order_line_id;shipped_at;quantity", '"order_line_id";"shipped_at";"quantity"'])
def test_csv_separated_by_semicolons_is_told_what_to_do(texts, header):
    replace_table(texts, "shipments", header + "\nL1;2024-03-01;1,5\n")
    with pytest.raises(
        ContractError, match=r"it looks separated by ';'; the contract asks for comma; the contract names"
    ):
        staged(texts, "shipments")


def test_a_comma_file_without_its_columns_hears_nothing_of_semicolons(texts):
    replace_table(texts, "shipments", "a;b,quantity\nL1,1\n")
    with pytest.raises(ContractError, match="required columns are missing") as refusal:
        staged(texts, "shipments")
    assert "separated" not in str(refusal.value)


def test_mixed_line_ends_are_named_in_plain_words(texts):
    replace_table(texts, "suppliers", "supplier_id,name\nV1,Vale\r\nV2,Wold\n")
    plain = "suppliers.csv cannot be read as csv: mixed line ends or a broken quote; save it again as CSV UTF-8"
    with pytest.raises(ContractError, match=plain) as refusal:
        staged(texts, "suppliers")
    assert "state machine" not in str(refusal.value)


def test_extra_columns_are_ignored_even_without_a_name_or_named_alike(texts):
    replace_table(
        texts, "suppliers", ",supplier_id,Name,name,NAME,file_row,x,x\n0,V1,a,Vale,b,9,1,2\n1,V2,a,Wold,b,9,1,2\n"
    )
    rows, broken = staged(texts, "suppliers", "file_row, supplier_id, name")
    assert (rows, broken) == ([(1, "V1", "Vale"), (2, "V2", "Wold")], [])


def test_a_column_of_the_contract_named_twice_is_refused(texts):
    replace_table(texts, "suppliers", "supplier_id,name,name\nV1,Vale,Vale\n")
    with pytest.raises(ContractError, match="suppliers.csv names name twice; each column once"):
        staged(texts, "suppliers")


def test_cells_that_cannot_be_read_are_listed_with_file_row_and_text(texts):
    replace_table(
        texts,
        "order_lines",
        "order_line_id,order_id,customer_id,product_id,ordered_at,quantity,unit_price,requested_on,may_split\n"
        "L1,O1,C1,P1,2024-03-01 10:00,ten,9,2024-02-30,perhaps\n"
        'L2,O1,C1,P1,yesterday,inf,"1,5",2024-03-01,true\n',
    )
    rows, broken = staged(
        texts, "order_lines", "order_line_id, ordered_at, quantity, unit_price, requested_on, may_split"
    )
    assert rows[0][2:] == (None, 9.0, None, None)
    assert rows[1][1:4] == (None, None, None)
    assert sorted(broken) == [
        ("order_lines.csv", 1, "may_split", "is true or false", "perhaps"),
        ("order_lines.csv", 1, "quantity", "is a number", "ten"),
        ("order_lines.csv", 1, "requested_on", "is an ISO date", "2024-02-30"),
        ("order_lines.csv", 2, "ordered_at", "is a UTC timestamp", "yesterday"),
        ("order_lines.csv", 2, "quantity", "is a number", "inf"),
        ("order_lines.csv", 2, "unit_price", "is a number", "1,5"),
    ]


def test_a_priority_is_a_whole_number(texts):
    replace_table(
        texts,
        "customers",
        "customer_id,created_at,priority_class\nC1,2023-01-01,1.5\nC2,2023-01-01,2.0\nC3,2023-01-01,3\n",
    )
    rows, broken = staged(texts, "customers", "priority_class")
    assert rows == [(None,), (2,), (3,)]
    assert broken == [("customers.csv", 1, "priority_class", "is a whole number", "1.5")]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-01T06:00:00+01:00", "2024-03-01 05:00:00"),
        ("2024-03-01T05:00:00Z", "2024-03-01 05:00:00"),
        ("2024-03-01 05:00:00.25", "2024-03-01 05:00:00.25"),
        ("2024-03-01", "2024-03-01 00:00:00"),
    ],
)
def test_times_are_utc_with_or_without_a_zone(texts, text, utc):
    replace_table(texts, "receipts", f"po_line_id,received_at,quantity\nB1,{text},1\n")
    assert staged(texts, "receipts", "cast(received_at as varchar)") == ([(utc,)], [])


# --- Parquet ----------------------------------------------------------------------------------------------------------


def table_of(**columns):
    return pa.table(columns)


LINE = {
    "order_line_id": pa.array([101]),
    "order_id": pa.array([7]),
    "customer_id": pa.array([None], pa.int64()),
    "product_id": pa.array(["P1"]).dictionary_encode(),
    "ordered_at": pa.array([1_709_283_600], pa.timestamp("s", "Europe/Berlin")),  # 10:00 there, 09:00 UTC
    "quantity": pa.array([decimal.Decimal("2.50")]),
    "unit_price": pa.array([9], pa.int32()),
}


def test_parquet_ids_of_any_type_are_text_and_numbers_of_any_type_are_numbers(folder):
    replace_table(folder, "order_lines", table_of(**LINE))
    rows, broken = staged(
        folder, "order_lines", "order_line_id, order_id, customer_id, product_id, cast(ordered_at as varchar), quantity"
    )
    assert rows == [("101", "7", None, "P1", "2024-03-01 09:00:00", 2.5)]
    assert broken == []


def test_whole_ids_that_pandas_turned_into_floats_are_the_same_ids(folder):
    # One anonymous line turns pandas' whole customer numbers into 101.0 and NaN.
    replace_table(folder, "order_lines", table_of(**(LINE | {"customer_id": pa.array([101.0])})))
    assert staged(folder, "order_lines", "customer_id") == ([("101",)], [])
    replace_table(folder, "order_lines", table_of(**(LINE | {"customer_id": pa.array([np.nan])})))
    assert staged(folder, "order_lines", "customer_id") == ([(None,)], [])


def test_nan_is_empty_in_every_kind_of_column(folder):
    nan = pa.array([np.nan])
    products = {"product_id": pa.array(["P1"]), "list_price": pa.array([1.0]), "unit_cost": nan, "quantity_step": nan}
    replace_table(folder, "products", table_of(**products, discontinued_on=nan, name=nan))
    customers = {"customer_id": pa.array(["C1"]), "created_at": pa.array([pd.Timestamp("2023-01-01")])}
    replace_table(folder, "customers", table_of(**customers, credit_hold=nan, priority_class=nan))
    found = staged(folder, "products", "unit_cost, quantity_step, discontinued_on, name")
    assert found == ([(None, None, None, None)], [])
    assert staged(folder, "customers", "credit_hold, priority_class") == ([(None, None)], [])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_precision_and_dates_are_times(folder, unit):
    moment = pa.array([pd.Timestamp("2024-03-01 10:00")], pa.timestamp(unit))
    replace_table(folder, "order_lines", table_of(**(LINE | {"ordered_at": moment})))
    assert staged(folder, "order_lines", "cast(ordered_at as varchar)") == ([("2024-03-01 10:00:00",)], [])
    day = pa.array([pd.Timestamp("2024-03-01").date()])
    replace_table(folder, "order_lines", table_of(**(LINE | {"ordered_at": day})))
    assert staged(folder, "order_lines", "cast(ordered_at as varchar)") == ([("2024-03-01 00:00:00",)], [])


def test_a_day_may_come_as_a_timestamp_or_text(folder):
    for column in (
        pa.array([pd.Timestamp("2024-03-09")], pa.timestamp("ns")),
        pa.array(["2024-03-09"]),
        pa.array([pd.Timestamp("2024-03-09").date()]),
    ):
        replace_table(folder, "order_lines", table_of(**LINE, promised_on=column))
        assert staged(folder, "order_lines", "cast(promised_on as varchar)") == ([("2024-03-09",)], [])


def test_a_number_is_no_time(folder):
    replace_table(folder, "order_lines", table_of(**(LINE | {"ordered_at": pa.array([20240301])})))
    rows, broken = staged(folder, "order_lines", "ordered_at")
    assert rows == [(None,)]
    assert broken == [("order_lines.parquet", 1, "ordered_at", "is a UTC timestamp", "20240301")]


def test_a_broken_parquet_file_is_refused(folder):
    (folder / "stock.parquet").write_bytes(b"not a table")
    with pytest.raises(ContractError, match="stock.parquet cannot be read as Parquet: .*; write it again"):
        staged(folder, "stock")
