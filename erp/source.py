"""Reading a folder of the contract's tables, as Parquet or CSV, into typed tables that remember file and row.

A staged table `staged_NAME` holds the contract's columns in their types, `file_name`, `file_row` (1 = first data row),
and for every `X_at` column the day `X_on` in the site's timezone. Cells that cannot be read become breaches.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import duckdb

from erp.contract import KIND_WORDS, SQL_TYPES, TABLES, ContractError, Table


@dataclass(frozen=True)
class Source:
    """What a folder holds: files per table, and which of the contract's columns each table has."""

    folder: Path
    files: dict[str, list[Path]]

    @property
    def missing_optional(self) -> list[str]:
        """Optional tables that the folder does not hold."""
        return [name for name, table in TABLES.items() if table.is_optional and name not in self.files]


def open_folder(folder: str | Path) -> Source:
    """Find the tables of a folder: `NAME.parquet`, `NAME.csv` or a folder `NAME/` of such parts.

    Raises
    ------
    ContractError
        If the folder or a required table is missing, or a table is there twice.
    """
    folder = Path(folder)
    if "://" in str(folder) or not folder.is_dir():
        raise ContractError(f"no folder {folder}; --data names a folder that holds the contract's tables")
    files = {name: found for name in TABLES if (found := _files_of(folder, name))}
    missing = [name for name, table in TABLES.items() if not table.is_optional and name not in files]
    if missing:
        raise ContractError(
            f"{len(missing)} required tables are missing in {folder}: {', '.join(missing)};"
            " export each as NAME.parquet, NAME.csv or a folder NAME/ of such parts (an empty table still has its header)"
        )
    return Source(folder, files)


def _files_of(folder: Path, name: str) -> list[Path]:
    singles = [path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.is_file()]
    parts = sorted(p for p in (folder / name).glob("*") if p.suffix in {".parquet", ".csv"} and p.is_file())
    if len(singles) + bool(parts) > 1:
        found = [path.name for path in singles] + ([f"{name}/"] if parts else [])
        raise ContractError(
            f"{name} is there {len(found)} times ({', '.join(found)}); keep one, so that no row counts twice"
        )
    return singles or parts


def stage(connection: duckdb.DuckDBPyConnection, source: Source) -> dict[str, set[str]]:
    """Load every table of the source into `staged_NAME`; list unreadable cells in `breaches`.

    Returns
    -------
    The contract's columns that each table has; a table that the folder does not hold is staged empty, without columns.
    """
    connection.execute(
        "create table breaches (table_name varchar, file_name varchar, file_row bigint, column_name varchar,"
        " rule varchar, value varchar)"
    )
    present = {}
    for table in TABLES.values():
        parts = {path: _columns_of(connection, path) for path in source.files.get(table.name, [])}
        present[table.name] = set.union(set(), *parts.values()) & set(table.columns)
        if parts:
            _check_columns(table, parts, source.folder)
        _stage_table(connection, table, parts, source.folder)
    return present


def _check_columns(table: Table, parts: dict[Path, set[str]], folder: Path) -> None:
    for path, columns in parts.items():
        if missing := [name for name in table.required if name not in columns]:
            raise ContractError(
                f"{path.relative_to(folder)}: required columns are missing: {', '.join(missing)};"
                f" found {', '.join(sorted(columns)) or 'none'}; the contract names what each holds"
            )


def _columns_of(connection: duckdb.DuckDBPyConnection, path: Path) -> set[str]:
    return set(_header(path)) if path.suffix == ".csv" else set(_parquet_types(connection, path))


def _parquet_types(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    try:
        rows = connection.execute("describe select * from read_parquet($file)", {"file": str(path)}).fetchall()
    except duckdb.Error as error:
        raise ContractError(f"{path.name} cannot be read as Parquet: {_first_line(error)}; write it again") from error
    return {row[0]: row[1] for row in rows}


def _header(path: Path) -> list[str]:
    """Column names of a CSV file; a byte order mark is no part of the first."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
    except UnicodeDecodeError as error:
        raise ContractError(
            f"{path.name} is not UTF-8 ({error.reason} at byte {error.start}); export it as UTF-8"
        ) from error
    if not header:
        raise ContractError(f"{path.name} is empty; a table without rows still has its header line")
    if len(set(header)) < len(header):
        raise ContractError(f"{path.name} names a column twice; each column once")
    return header


def _stage_table(
    connection: duckdb.DuckDBPyConnection, table: Table, parts: dict[Path, set[str]], folder: Path
) -> None:
    typed = ", ".join(f'"{column}" {SQL_TYPES[table.kind(column)]}' for column in table.columns)
    connection.execute(f"create table staged_{table.name} (file_name varchar, file_row bigint, {typed})")
    for path, columns in parts.items():
        label = path.relative_to(folder).as_posix()
        _load_part(connection, path)
        cells = [_typed(table.kind(c), c) if c in columns else "null" for c in table.columns]
        connection.execute(
            f"insert into staged_{table.name} select $label, file_row, {', '.join(cells)} from part", {"label": label}
        )
        for column in table.columns:
            if column in columns and table.kind(column) in KIND_WORDS:
                _list_unreadable(connection, table, column, label)
    connection.execute("drop table if exists part")


def _relation(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, dict[str, object]]:
    if path.suffix == ".parquet":
        return "read_parquet($file)", {"file": str(path)}
    columns = ", ".join("'" + name.replace("'", "''") + "': 'varchar'" for name in _header(path))
    options = "header=true, delim=',', quote='\"', escape='\"', nullstr='', auto_detect=false, parallel=false"
    return f"read_csv($file, columns={{{columns}}}, {options})", {"file": str(path)}


def _load_part(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    relation, values = _relation(connection, path)
    try:
        connection.execute(
            f"create or replace temp table part as select row_number() over () as file_row, * from {relation}", values
        )
    except duckdb.Error as error:
        raise ContractError(
            f"{path.name} cannot be read as {path.suffix[1:]}: {_first_line(error)};"
            " the contract asks for Parquet, or CSV in UTF-8 with header, comma and double quotes"
        ) from error


def _typed(kind: str, column: str) -> str:
    """SQL that reads a cell in its kind, null where it cannot be read; times are UTC, with or without a zone."""
    cell = f'"{column}"'
    if kind in {"id", "text"}:
        return f"nullif(cast({cell} as varchar), '')"
    if kind == "time":
        moment = f"try_cast({cell} as timestamptz)"
        return f"case when isfinite({moment}) then {moment} at time zone 'UTC' end"
    if kind == "day":
        return f"case when isfinite(try_cast({cell} as timestamp)) then cast(try_cast({cell} as timestamp) as date) end"
    if kind in {"amount", "count"}:
        number = f"try_cast({cell} as double)"
        return f"case when isfinite({number}) then {number} end"
    return f"try_cast({cell} as {SQL_TYPES[kind]})"


def _list_unreadable(connection: duckdb.DuckDBPyConnection, table: Table, column: str, label: str) -> None:
    kind = table.kind(column)
    # A missing number in Parquet often travels as NaN: empty, not unreadable.
    empty = "lower(cast({0} as varchar)) in ('nan', '')" if kind in {"amount", "count", "whole"} else "false"
    connection.execute(
        f"""insert into breaches
            select $table, $label, file_row, $column, $rule, cast("{column}" as varchar)
            from part where "{column}" is not null and {_typed(kind, column)} is null and not {empty.format(f'"{column}"')}""",
        {"table": table.name, "label": label, "column": column, "rule": KIND_WORDS[kind]},
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
