"""Files and databases tell the same company as a folder does; what cannot be used is refused by name."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from erp.contract import ContractError
from erp.extract import as_folder, kind_of, read_source
from erp.freshness import read_extract
from erp.known import Facts, gather
from erp.settings import Site
from tests.erp.small_company import T, small_site, small_tables, write_tables


def as_sqlite(tables, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for name, frame in tables.items():
            frame.to_sql(name, connection, index=False)
        connection.commit()
    return path


def as_duckdb(tables, path: Path) -> Path:
    with duckdb.connect(str(path)) as connection:
        for name, frame in tables.items():
            connection.register("given", frame)
            connection.execute(f"create table {name} as select * from given")
            connection.unregister("given")
    return path


WRITERS = {"sqlite": as_sqlite, "duckdb": as_duckdb}


def fingerprint_of(site: Site, folder: Path) -> str:
    folder.mkdir()
    with as_folder(site, T) as read:
        gather(folder, read, T)
    return Facts(folder, T, site).fingerprint


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_tells_the_facts_that_a_folder_tells(tmp_path, kind):
    folder = small_site(write_tables(small_tables(), tmp_path / "data"))
    file = WRITERS[kind](small_tables(), tmp_path / "erp.db")
    assert kind_of(str(file)) == kind
    told = fingerprint_of(replace(folder, data=str(file)), tmp_path / "of the file")
    assert told == fingerprint_of(folder, tmp_path / "of the folder")


def test_sqlites_numbers_times_and_names_are_read_as_the_contract_means_them(tmp_path):
    tables = small_tables()
    tables["customers"] = tables["customers"].assign(customer_id=[1, 2, 3], parent_id=[None, 1.0, None])
    of_lines = tables["order_lines"]["customer_id"].map({"C1": 1.0, "C2": 2.0, "C3": 3.0})
    tables["order_lines"]["customer_id"] = of_lines
    file = as_sqlite(tables, tmp_path / "erp.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("alter table order_lines rename to kept")
        connection.execute("alter table kept rename column quantity to Quantity")
        connection.execute("create view Order_Lines as select *, 'not the contract''s' as shelf from kept")
        connection.commit()
    site = Site(data=str(file))
    read_source(site, tmp_path / "read", T)
    lines = pd.read_parquet(tmp_path / "read" / "order_lines.parquet")
    assert set(lines["customer_id"].dropna()) == {"1", "2", "3"}
    assert pd.read_parquet(tmp_path / "read" / "customers.parquet")["parent_id"].dropna().tolist() == ["1"]
    assert "shelf" not in lines
    assert lines["quantity"].astype(float).tolist() == tables["order_lines"]["quantity"].tolist()


def test_a_float_of_sqlite_keeps_its_last_digit(tmp_path):
    tables = small_tables()
    tables["products"]["list_price"] = [0.1 + 0.2, 1 / 3, 1e22]
    read_source(Site(data=str(as_sqlite(tables, tmp_path / "erp.sqlite"))), tmp_path / "read", T)
    read = pd.read_parquet(tmp_path / "read" / "products.parquet")["list_price"].astype(float)
    assert read.tolist() == [0.1 + 0.2, 1 / 3, 1e22]


@pytest.mark.parametrize("kind", WRITERS)
def test_the_table_extract_says_from_when_and_up_to_when_tables_are_complete(tmp_path, kind):
    said = pd.DataFrame({"table_name": ["stock"], "complete_to": [pd.Timestamp("2024-03-15 04:00")]})
    file = WRITERS[kind](small_tables() | {"extract": said}, tmp_path / "erp.db")
    read_source(Site(data=str(file)), tmp_path / "read", T)
    assert read_extract(tmp_path / "read" / "extract.json") == {"stock": {"complete_to": datetime(2024, 3, 15, 4)}}


@pytest.mark.parametrize("kind", WRITERS)
def test_missing_tables_and_columns_are_refused_by_name(tmp_path, kind):
    tables = small_tables()
    few = WRITERS[kind]({"customers": tables["customers"], "stock": tables["stock"]}, tmp_path / "few.db")
    with pytest.raises(ContractError, match="4 required tables are missing in .*few.db: products, order_lines, ship"):
        read_source(Site(data=str(few)), tmp_path / "read", T)
    tables["stock"] = tables["stock"].drop(columns=["on_hand", "snapshot_at"])
    narrow = WRITERS[kind](tables, tmp_path / "narrow.db")
    with pytest.raises(ContractError, match="narrow.db: stock lacks required columns: snapshot_at, on_hand; found"):
        read_source(Site(data=str(narrow)), tmp_path / "read", T)


def test_a_view_that_fails_is_named_and_its_cells_are_not(tmp_path):
    file = as_duckdb({n: t for n, t in small_tables().items() if n != "stock"}, tmp_path / "erp.duckdb")
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "create view stock as select cast(name as integer) as on_hand, created_at as snapshot_at,"
            " customer_id as product_id from customers"
        )
    with pytest.raises(ContractError, match="stock cannot be read") as refused:
        read_source(Site(data=str(file)), tmp_path / "read", T)
    assert not any(name in str(refused.value) for name in ("Ash", "Birch", "Cedar"))
    assert refused.value.__suppress_context__, "a traceback would show the engine's words beside ours"


def test_a_file_that_is_written_to_meanwhile_is_read_as_it_was_when_reading_began(tmp_path, monkeypatch):
    from erp import extract_files

    file = as_sqlite(small_tables(), tmp_path / "erp.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma journal_mode = wal")
    real, writes = extract_files._write, []

    def write_and_meanwhile(connection, found, folder):
        real(connection, found, folder)
        if not writes:
            with closing(sqlite3.connect(file)) as other:
                writes.append(other.execute("delete from shipments").rowcount)
                other.commit()

    monkeypatch.setattr(extract_files, "_write", write_and_meanwhile)
    read_source(Site(data=str(file)), tmp_path / "read", T)
    assert writes == [3]
    assert len(pd.read_parquet(tmp_path / "read" / "shipments.parquet")) == 3


def test_what_is_no_source_is_refused_with_what_may_be_named(tmp_path):
    (tmp_path / "tables.xlsx").write_bytes(b"PK\x03\x04")
    for data in (str(tmp_path / "tables.xlsx"), "https://erp/tables", "mysql://erp/sales"):
        with pytest.raises(ContractError, match="--data names a folder of the contract's tables, a DuckDB or SQLite"):
            kind_of(data)
