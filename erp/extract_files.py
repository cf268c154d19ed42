"""Reading the contract's tables from a DuckDB or SQLite file: read-only, in one transaction."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from erp.contract import ContractError
from erp.extract_tables import BATCH_ROWS, EXTRACT, FoundTable, quoted, text_file, told_tables, write_extract
from erp.settings import Site

_SQLITE_HEADER = b"SQLite format 3\x00"
_DUCKDB_MARK = slice(8, 12)  # of the file's first bytes: DUCK


def file_kind(path: Path) -> str:
    """Say what a file's first bytes say it is: "duckdb", "sqlite" or "" for anything else."""
    with path.open("rb") as file:
        head = file.read(16)
    if head == _SQLITE_HEADER:
        return "sqlite"
    return "duckdb" if head[_DUCKDB_MARK] == b"DUCK" else ""


def read_duckdb(path: Path, site: Site, folder: Path) -> None:
    """Write NAME.parquet of each of the contract's tables in a DuckDB file, in the file's own types.

    Raises
    ------
    ContractError
        If the file cannot be opened, a required table is missing, or one cannot be read.
    """
    options: dict[str, Any] = {"threads": 1, "memory_limit": site.memory_limit, "temp_directory": str(folder / "spill")}
    options |= {"autoinstall_known_extensions": False}  # nothing is fetched from a network
    try:
        connection = duckdb.connect(str(path), read_only=True, config=options)
    except duckdb.Error as error:
        raise ContractError(f"{path} cannot be opened: {_kind(error)}; close what writes to it and try again") from None
    with connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        connection.execute("begin transaction")
        there = connection.execute(
            "select table_name, column_name from duckdb_columns()"
            " where database_name = current_database() and schema_name = 'main' and not internal"
            " order by table_name, column_index"
        ).fetchall()
        for found in told_tables(str(path), there):
            try:
                _copy(connection, found, folder)
            except duckdb.Error as error:
                raise _unreadable(path, found, error) from None


def _copy(connection: duckdb.DuckDBPyConnection, found: FoundTable, folder: Path) -> None:
    if found.name == EXTRACT:
        texts = ", ".join(f"cast({quoted(there)} as varchar)" for there in found.columns.values())
        write_extract(folder, found, connection.execute(f"select {texts} from {quoted(found.spelled)}").fetchall())
        return
    cells = ", ".join(f"{quoted(there)} as {name}" for name, there in found.columns.items())
    query = f"select {cells} from {quoted(found.spelled)}"
    target = str(folder / f"{found.name}.parquet").replace("'", "''")
    connection.execute(f"copy ({query}) to '{target}' (format parquet, compression zstd)")


def read_sqlite(path: Path, folder: Path) -> None:
    """Write NAME.parquet of each of the contract's tables in a SQLite file, its cells as text.

    Raises
    ------
    ContractError
        If the file cannot be opened, a required table is missing, or one cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            connection.isolation_level = None
            connection.execute("begin")  # what is written meanwhile is not seen
            there = connection.execute(
                "select t.name, c.name from sqlite_master t, pragma_table_xinfo(t.name) c"
                " where t.type in ('table', 'view') order by t.rowid, c.cid"
            ).fetchall()
            for found in told_tables(str(path), there):
                try:
                    _write(connection, found, folder)
                except sqlite3.Error as error:
                    raise _unreadable(path, found, error) from None
    except sqlite3.Error as error:
        raise ContractError(f"{path} cannot be opened: {_kind(error)}; close what writes to it and try again") from None


def _write(connection: sqlite3.Connection, found: FoundTable, folder: Path) -> None:
    rows = connection.execute(f"select {', '.join(map(quoted, found.columns.values()))} from {quoted(found.spelled)}")
    if found.name == EXTRACT:
        write_extract(folder, found, rows)
        return
    with text_file(folder / f"{found.name}.parquet", list(found.columns)) as out:
        while batch := rows.fetchmany(BATCH_ROWS):
            texts = [_as_text(cells) for cells in zip(*batch, strict=True)]
            out.write_batch(pa.record_batch(texts, names=list(found.columns)))


def _as_text(cells: Sequence[Any]) -> pa.Array:
    """One column's cells as text: SQLite keeps a type per cell, and a whole float is still the whole number."""
    try:
        return pa.array(cells).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.decode("utf-8", errors="replace") if isinstance(cell, bytes) else str(cell)


def _unreadable(path: Path, found: FoundTable, error: Exception) -> ContractError:
    """Say what failed without the engine's words: they may repeat a cell, and so a customer's name."""
    return ContractError(
        f"{path}: {found.name} cannot be read ({_kind(error)}); run `select * from {found.spelled}` there to see why,"
        " mend it and try again"
    )


def _kind(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
