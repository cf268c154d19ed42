"""A PostgreSQL schema, on a real server, tells what a folder tells: one snapshot, within memory, no password said."""

import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest

from erp import extract_postgres
from erp.collected import collect
from erp.contract import ContractError
from erp.extract import read_source
from erp.postgres_address import open_postgres, schema_of
from erp.settings import Site
from tests.erp.small_company import T, small_site, small_tables, write_tables
from tests.erp.test_extract import fingerprint_of
from tests.postgres_server import PASSWORD

SQL_TYPES = {"M": "timestamptz", "f": "numeric", "i": "integer", "b": "boolean"}
CANARY = "Kanarienvogel & Söhne"


@pytest.fixture
def schema(postgres, monkeypatch):
    """Write tables into a schema of a new database; gives its address. The password is in the environment."""
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", PASSWORD)
    url = postgres.new_database()

    def filled(tables, name="erp"):
        with postgres.connect(url) as connection:
            connection.execute(f'create schema "{name}"')
            for table, frame in tables.items():
                columns = ", ".join(f"{column} {_sql_type(column, frame)}" for column in frame)
                connection.execute(f'create table "{name}".{table} ({columns})')
                with connection.cursor().copy(f'copy "{name}".{table} from stdin (format csv)') as rows:
                    rows.write(frame.to_csv(index=False, header=False))
        return f"{url}?schema={name}"

    filled.connect = lambda: postgres.connect(url)
    filled.server = postgres
    return filled


def _sql_type(column, frame):
    return "date" if column.endswith("_on") else SQL_TYPES.get(frame[column].dtype.kind, "text")


def test_a_schema_tells_the_facts_that_a_folder_tells(schema, tmp_path):
    folder = small_site(write_tables(small_tables(), tmp_path / "data"))
    told = fingerprint_of(replace(folder, data=schema(small_tables())), tmp_path / "of the schema")
    assert told == fingerprint_of(folder, tmp_path / "of the folder")


def test_types_names_and_times_are_read_as_the_contract_means_them(schema, tmp_path):
    url = schema(small_tables())
    with schema.connect() as connection:
        connection.execute("set search_path = erp")
        connection.execute("set timezone = 'Asia/Tokyo'")  # a reader's clock changes nothing
        connection.execute("alter table customers rename to kept")
        connection.execute(
            """create materialized view customers as
               select row_number() over (order by customer_id)::int as customer_id,
                      created_at, E'a "b",\\n;' as name, ''::text as segment,
                      true as credit_hold, 'hidden' as tax_number from kept"""
        )
        connection.execute("create table notes (text text)")
    read_source(small_site(Path(url), data=url), tmp_path / "read", T)
    read = pd.read_parquet(tmp_path / "read" / "customers.parquet")
    assert read.columns.tolist() == ["customer_id", "created_at", "name", "segment", "credit_hold"]
    assert read["customer_id"].tolist() == ["1", "2", "3"]
    assert read["created_at"].tolist() == [
        "2023-01-01 09:00:00+00",
        "2023-06-01 09:00:00+00",
        "2024-01-15 09:00:00+00",
    ]
    assert set(read["name"]) == {'a "b",\n;'}
    assert read["segment"].isna().all(), "empty is null"
    assert set(read["credit_hold"]) == {"true"}
    assert not (tmp_path / "read" / "notes.parquet").exists()


def test_all_tables_are_read_as_they_were_when_reading_began(schema, tmp_path, monkeypatch):
    url, real, writes = schema(small_tables()), extract_postgres._read, []

    def read_and_meanwhile(connection, *values):
        real(connection, *values)
        if not writes:
            with schema.connect() as other:
                writes.append(other.execute("delete from erp.shipments").rowcount)

    monkeypatch.setattr(extract_postgres, "_read", read_and_meanwhile)
    read_source(small_site(Path(url), data=url), tmp_path / "read", T)
    assert writes == [3]
    assert len(pd.read_parquet(tmp_path / "read" / "shipments.parquet")) == 3


def test_nothing_can_be_written_by_reading(schema, tmp_path):
    url = schema(small_tables())
    with schema.connect() as connection:
        connection.execute("set search_path = erp")
        connection.execute("create table looks (at timestamptz)")
        connection.execute(
            "create function look() returns text language sql as 'insert into erp.looks select now() returning null'"
        )
        connection.execute("alter table stock rename to counted")
        connection.execute(
            "create view stock as select product_id, on_hand, snapshot_at, warehouse_id,"
            " coalesce(reserved, erp.look()::numeric) as reserved from counted"
        )
        connection.execute("update counted set reserved = null")
    with pytest.raises(ContractError, match="ReadOnlySqlTransaction, SQLSTATE 25006"):
        read_source(small_site(Path(url), data=url), tmp_path / "read", T)


def test_neither_password_nor_customers_stand_in_what_is_said_of_a_failure(schema, tmp_path, monkeypatch, caplog):
    tables = small_tables()
    tables["customers"].loc[0, "name"] = CANARY
    url = schema(tables)
    site = small_site(Path(url), data=url)
    with schema.connect() as connection:
        connection.execute("set search_path = erp")
        connection.execute("alter table stock rename to counted")
        connection.execute(
            "create view stock as select customer_id as product_id, created_at as snapshot_at,"
            " name::integer as on_hand from customers"
        )
    with pytest.raises(
        ContractError, match="stock cannot be read .InvalidTextRepresentation, SQLSTATE 22P02"
    ) as broken:
        read_source(site, tmp_path / "read", T)
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", "wrong-canary-4712")
    with pytest.raises(ContractError, match="cannot be opened: .*password authentication failed") as locked_out:
        read_source(site, tmp_path / "read", T)
    for refused in (broken.value, locked_out.value):
        said = f"{refused!r} {refused.__cause__} {caplog.text}"
        assert refused.__suppress_context__
        assert not any(secret in said for secret in (PASSWORD, "4712", CANARY, "Kanarien"))


def test_missing_tables_and_tables_that_may_not_be_read_are_refused_by_name(schema, tmp_path):
    tables = small_tables()
    url = schema({name: tables[name] for name in ("customers", "products")})
    with pytest.raises(ContractError, match="4 required tables are missing in .*schema erp: order_lines, shipments, c"):
        read_source(small_site(Path(url), data=url), tmp_path / "read", T)
    with schema.connect() as connection:
        connection.execute("drop table erp.customers, erp.products")
    nothing = url.replace("schema=erp", "schema=erp2")
    with pytest.raises(ContractError, match="6 required tables are missing in .*schema erp2"):
        read_source(small_site(Path(url), data=nothing), tmp_path / "read", T)


def test_a_name_that_closes_its_quotes_stays_a_name(schema, tmp_path):
    name = 'erp"; drop table x; --'
    tables = small_tables()
    with schema.connect() as connection:
        connection.execute('create schema "erp""; drop table x; --"')
        for table, frame in tables.items():
            columns = ", ".join(f"{column} {_sql_type(column, frame)}" for column in frame)
            connection.execute(f'create table "erp""; drop table x; --".{table} ({columns})')
        url = f"{schema.server.url(connection.info.dbname)}?schema={quote(name)}"
    assert schema_of(url) == name
    read_source(small_site(Path(url), data=url), tmp_path / "read", T)
    assert len(pd.read_parquet(tmp_path / "read" / "order_lines.parquet")) == 0


def test_stock_that_a_live_system_counts_while_it_is_read_is_the_stock_at_t(schema, tmp_path):
    url = schema(small_tables())
    with schema.connect() as connection:
        connection.execute("update erp.stock set snapshot_at = '2024-03-15 07:00:20+02' where product_id = 'P1'")
        connection.execute("update erp.stock set snapshot_at = '2024-03-15 06:00:01+00' where product_id = 'P2'")
    read_source(small_site(Path(url), data=url), tmp_path / "read", T)
    stock = pd.read_parquet(tmp_path / "read" / "stock.parquet").set_index("product_id")["snapshot_at"]
    assert pd.to_datetime(stock, utc=True, format="ISO8601").dt.tz_localize(None).to_dict() == {
        "P1": T,  # 20 seconds after T
        "P2": datetime(2024, 3, 15, 6, 0, 1),  # later than a source may be read for T
        "P3": datetime(2024, 3, 4, 4),
    }


def test_a_database_is_opened_in_utc_whatever_its_own_clock(schema):
    url = schema({})
    with schema.connect() as connection:
        connection.execute(f"alter database \"{connection.info.dbname}\" set timezone = 'Asia/Tokyo'")
    with open_postgres(url, PASSWORD) as connection:
        assert connection.execute("show timezone").fetchone() == ("UTC",)


@pytest.mark.slow
def test_a_million_order_lines_are_read_within_the_sites_memory_limit(schema, tmp_path):
    url = schema(small_tables())
    with schema.connect() as connection:
        columns = [column for column in small_tables()["order_lines"] if column != "order_line_id"]
        named = ", ".join(columns)
        connection.execute(
            f"insert into erp.order_lines (order_line_id, {named}) select 'X' || n, {named}"
            " from (select * from erp.order_lines limit 1) line, generate_series(1, 1000000) n"
        )
    code = """
import resource, sys
from datetime import datetime
from pathlib import Path
from erp.extract import read_source
from erp.settings import Site
read_source(Site(data=sys.argv[1]), Path(sys.argv[2]), datetime(2024, 3, 15, 5))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", code, url, str(tmp_path / "read")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 1024 < 1500  # megabytes: the default of Site.memory_limit
    assert len(pd.read_parquet(tmp_path / "read" / "order_lines.parquet", columns=["order_line_id"])) == 1_000_007


def test_a_server_that_stops_in_the_middle_is_said_and_leaves_nothing(schema, tmp_path, monkeypatch):
    url, real = schema(small_tables()), extract_postgres._read

    def read_and_stop(connection, *values):
        real(connection, *values)
        schema.server.restart()

    monkeypatch.setattr(extract_postgres, "_read", read_and_stop)
    site = Site(data=url, store=str(tmp_path / "store"))
    with pytest.raises(ContractError, match=r"products cannot be read \(\w+, SQLSTATE \w+\)"):
        collect(site, T, T)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    monkeypatch.setattr(extract_postgres, "_read", real)
    assert collect(site, T, T).is_first
