"""Reading the contract's tables from a PostgreSQL schema: one snapshot, streamed, whatever writes there meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import pyarrow.csv as arrow_csv

from erp.addresses import shown
from erp.contract import ContractError
from erp.extract_tables import EXTRACT, FoundTable, quoted, text_file, told_tables, write_extract
from erp.postgres_address import PostgresError, open_postgres, schema_of

if TYPE_CHECKING:
    from psycopg import Connection

_BLOCK_BYTES = 8 << 20
# Tables, views and what else can be read like them, and their columns that this user may read.
_HELD = """
select c.relname, a.attname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = %s and c.relkind in ('r', 'v', 'm', 'f', 'p')
  and has_column_privilege(c.oid, a.attnum, 'select')
order by c.relname, a.attnum
"""


def read_tables(address: str, password: str | None, folder: Path) -> None:
    """Write NAME.parquet of each of the contract's tables in the schema, and extract.json where it says more.

    Raises
    ------
    ContractError
        If the database cannot be opened, a required table is missing, or one cannot be read.
    """
    schema = schema_of(address)
    where = f"{shown(address)}, schema {schema}"
    try:
        connection = open_postgres(address, password)
    except PostgresError as error:
        raise ContractError(f"{error}; check the address, the user and BACKORDER_DATA_PASSWORD") from None
    import psycopg

    try:
        with connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            for found in told_tables(where, connection.execute(_HELD, (schema,)).fetchall()):
                _read_one(connection, where, schema, found, folder)
    except psycopg.Error as error:
        raise ContractError(f"{where} cannot be read to its end ({_kind(error)}); try again") from None


def _read_one(connection: "Connection", where: str, schema: str, found: FoundTable, folder: Path) -> None:
    """Read a table; what failed is said without the server's words: they may repeat a cell, a customer's name."""
    import psycopg

    try:
        _read(connection, schema, found, folder)
    except psycopg.Error as error:
        raise ContractError(
            f"{where}: {found.name} cannot be read ({_kind(error)});"
            f" run `select * from {found.spelled}` there as this user to see why, mend it and try again"
        ) from None


def _read(connection: "Connection", schema: str, found: FoundTable, folder: Path) -> None:
    cells = ", ".join(f"cast({quoted(there)} as text) as {name}" for name, there in found.columns.items())
    query = f"select {cells} from {quoted(schema)}.{quoted(found.spelled)}"
    if found.name == EXTRACT:
        write_extract(folder, found, connection.execute(query.encode()))
        return
    with TemporaryFile(dir=folder) as text, connection.cursor() as cursor:
        with cursor.copy(f"copy ({query}) to stdout (format csv)".encode()) as rows_out:
            for block in rows_out:
                text.write(block)
        with text_file(folder / f"{found.name}.parquet", list(found.columns)) as out:
            for batch in _batches(text, list(found.columns)):
                out.write_batch(batch)


def _batches(text: IO[bytes], columns: list[str]) -> Iterator[Any]:
    """Read a CSV file of text cells in blocks; a cell without quotes and without text is null."""
    if not text.tell():
        return
    text.seek(0)
    yield from arrow_csv.open_csv(
        text,
        arrow_csv.ReadOptions(column_names=columns, block_size=_BLOCK_BYTES, use_threads=False),
        arrow_csv.ParseOptions(newlines_in_values=True),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, "string"),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _kind(error: Any) -> str:
    return f"{type(error).__name__}, SQLSTATE {error.sqlstate or 'unknown'}"
