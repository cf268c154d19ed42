"""Reading a folder of the contract's tables, as Parquet or CSV, into typed tables that remember file and row.

A staged table `staged_NAME` holds the contract's columns in their types, `file_name`, `file_row` (1 = first data row),
and for every `X_at` column the day `X_on` in the site's timezone. Cells that cannot be read become breaches.

The planner's words that the store keeps (`erp.planner_words`) count as a part of the table `overrides`.
"""

import csv
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from erp.addresses import shown
from erp.contract import KIND_WORDS, SQL_TYPES, TABLES, ContractError, Table
from erp.extract import kind_of
from erp.settings import Site

# How `file_name` calls the store's own file of words, wherever the store lies.
WORDS_LABEL = "store/overrides.csv"
# Beside the tables of the store's own history: what each collection found.
RECORDS = "collections"


@dataclass(frozen=True)
class Source:
    """What a folder holds: files per table; `words` is the store's own part of the table `overrides`, if there."""

    folder: Path
    files: dict[str, list[Path]]
    words: Path | None = None
    collected_by: datetime | None = None  # when what is read here was collected last, of the store's own history

    @property
    def extract(self) -> Path:
        """What says from when and up to when each table is complete, if it is there."""
        if self.collected_by is None:
            return self.folder / "extract.json"
        return self.folder / RECORDS / f"{moment_name(self.collected_by)}.json"

    def label(self, path: Path) -> str:
        """Name a file the same wherever folder and store lie."""
        return WORDS_LABEL if path == self.words else path.relative_to(self.folder).as_posix()


def words_file(store: str | Path) -> Path:
    """Where a store keeps the planner's words."""
    return Path(store) / "overrides.csv"


def collected_folder(store: str | Path) -> Path:
    """Where a store keeps what it collected."""
    return Path(store) / "collected"


def moment_name(moment: datetime) -> str:
    """The name of a collection's files; names sort like times.

    >>> moment_name(datetime(2026, 3, 2, 5))
    '20260302T050000.000000Z'
    """
    return moment.strftime("%Y%m%dT%H%M%S.%fZ")


def collected_at(path: Path) -> datetime:
    """When a file of a collection was collected."""
    return datetime.strptime(path.name.removesuffix(path.suffix), "%Y%m%dT%H%M%S.%fZ")


def collections(store: str | Path) -> list[datetime]:
    """When the store collected, oldest first."""
    return sorted(collected_at(path) for path in (collected_folder(store) / RECORDS).glob("*.json"))


def open_source(site: Site, as_of: datetime) -> Source:
    """Open the tables that a run as of T reads: a folder's, or of any other source what the store collected by T.

    A T before the first collection reads that one: what the source told of its own past.

    Raises
    ------
    ContractError
        If nothing was collected yet, or a table is missing.
    """
    if kind_of(site.data) == "folder":
        return open_folder(site.data, site.store)
    moments = collections(site.store)
    if not moments:
        raise ContractError(
            f"nothing was collected from {shown(site.data)} yet; `backorder collect` does it, or a run as of now"
        )
    source = open_folder(collected_folder(site.store), site.store)
    last = max((moment for moment in moments if moment <= as_of), default=moments[0])
    files = {
        name: [path for path in paths if path == source.words or collected_at(path) <= last]
        for name, paths in source.files.items()
    }
    return replace(source, files={name: paths for name, paths in files.items() if paths}, collected_by=last)


def open_folder(folder: str | Path, store: str | Path | None = None) -> Source:
    """Find the tables of a folder: `NAME.parquet`, `NAME.csv` or a folder `NAME/` of such parts.

    Parameters
    ----------
    store : the state folder, whose words count beside those of the folder's own table `overrides`; None: none do

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
            " export each as NAME.parquet, NAME.csv or a folder NAME/ of such parts; an empty table keeps its header"
        )
    words = words_file(store) if store is not None else None
    if (
        words is None
        or not words.is_file()
        or words.resolve() in (path.resolve() for path in files.get("overrides", []))
    ):
        return Source(folder, files)
    return Source(folder, files | {"overrides": [*files.get("overrides", []), words]}, words)


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
            _check_columns(table, parts, source)
        _stage_table(connection, table, parts, source)
    return present


def _check_columns(table: Table, parts: dict[Path, set[str]], source: Source) -> None:
    for path, columns in parts.items():
        names = _header(path) if path.suffix == ".csv" else []
        if twice := [name for name in table.columns if names.count(name) > 1]:
            raise ContractError(f"{source.label(path)} names {', '.join(twice)} twice; each column once")
        if missing := [name for name in table.required if name not in columns]:
            raise ContractError(
                f"{source.label(path)}: required columns are missing: {', '.join(missing)};"
                f" found {', '.join(sorted(columns)) or 'none'};"
                f"{_semicolon_hint(names)} the contract names what each holds"
            )


def _semicolon_hint(names: list[str]) -> str:
    """Excel separates by ';' where the comma is the decimal sign; the header is then one long name."""
    is_one = len(names) == 1 and ";" in names[0]
    return " it looks separated by ';'; the contract asks for comma;" if is_one else ""


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
    return header


def _stage_table(
    connection: duckdb.DuckDBPyConnection, table: Table, parts: dict[Path, set[str]], source: Source
) -> None:
    typed = ", ".join(f'"{column}" {SQL_TYPES[table.kind(column)]}' for column in table.columns)
    connection.execute(f"create table staged_{table.name} (file_name varchar, file_row bigint, {typed})")
    for path in parts:
        label = source.label(path)
        columns = _load_part(connection, table, path)
        cells = [_typed(table.kind(c), c) if c in columns else "null" for c in table.columns]
        connection.execute(
            f"insert into staged_{table.name} select $label, file_row, {', '.join(cells)} from part", {"label": label}
        )
        for column in _emptied_columns(connection, table, columns, label):
            _list_unreadable(connection, table, column, label)
    connection.execute("drop table if exists part")


def _load_part(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> list[str]:
    """Load the contract's columns of one file into `part`, missing cells as null; returns their names."""
    if path.suffix == ".csv":
        names = _header(path)
        _check_quotes(path)
        # A column that the contract does not name may bear any name, or none.
        given = [name if name in table.columns else f"ignored {place}" for place, name in enumerate(names)]
        types = dict.fromkeys(given, "VARCHAR")
        columns = ", ".join(f"'{name}': 'varchar'" for name in given)
        options = "header=true, delim=',', quote='\"', escape='\"', nullstr='', auto_detect=false, parallel=false"
        relation = f"read_csv($file, columns={{{columns}}}, {options})"
    else:
        types = _parquet_types(connection, path)
        relation = "read_parquet($file)"
    present = [column for column in table.columns if column in types]
    cells = "".join(f", {_cell(column, types[column], table.kind(column))}" for column in present)
    try:
        connection.execute(
            f"create or replace temp table part as select row_number() over () as file_row{cells} from {relation}",
            {"file": str(path)},
        )
    except duckdb.Error as error:
        raise _unreadable(path, _in_plain_words(error)) from error
    return present


def _check_quotes(path: Path) -> None:
    """Refuse a CSV file whose last quote never closes: the engine would drop every row behind it without a word."""
    if b'"' not in path.read_bytes():
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for _ in csv.reader(lines, strict=True):
                pass
    except (csv.Error, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> ContractError:
    return ContractError(
        f"{path.name} cannot be read as {path.suffix[1:]}: {why};"
        " the contract asks for Parquet, or CSV in UTF-8 with header, comma and double quotes"
    )


def _cell(column: str, sql_type: str, kind: str) -> str:
    """SQL of a raw cell, null where it is missing: empty text, or the NaN by which pandas writes a missing value."""
    cell = f'"{column}"'
    if sql_type == "VARCHAR":
        return f"nullif({cell}, '') as {cell}"
    if sql_type not in {"DOUBLE", "FLOAT"}:
        return cell
    number = f"case when not isnan({cell}) then {cell} end"
    if kind in {"id", "text"}:
        # Whole ids beside a missing one become floats in pandas; 101.0 is still the id 101.
        whole = f"cast(try_cast({cell} as hugeint) as varchar)"
        number = f"case when {cell} = floor({cell}) then {whole} else cast({number} as varchar) end"
    return f"{number} as {cell}"


def _typed(kind: str, column: str) -> str:
    """SQL that reads a cell in its kind, null where it cannot be read; times are UTC, with or without a zone."""
    cell = f'"{column}"'
    if kind in {"id", "text"}:
        return f"cast({cell} as varchar)"
    if kind == "time":
        moment = f"try_cast({cell} as timestamptz)"
        return f"case when isfinite({moment}) then {moment} at time zone 'UTC' end"
    if kind == "day":
        return f"case when isfinite(try_cast({cell} as timestamp)) then cast(try_cast({cell} as timestamp) as date) end"
    number = f"try_cast({cell} as double)"
    if kind in {"amount", "count"}:
        return f"case when isfinite({number}) then {number} end"
    if kind == "whole":
        return f"case when {number} = floor({number}) then try_cast({number} as bigint) end"
    return f"try_cast({cell} as boolean)"


def _emptied_columns(connection: duckdb.DuckDBPyConnection, table: Table, columns: list[str], label: str) -> list[str]:
    """Columns of which reading left fewer cells than the file holds."""
    judged = [column for column in columns if table.kind(column) in KIND_WORDS]
    if not judged:
        return []
    counts = ", ".join(f'count("{column}")' for column in judged)
    held = connection.execute(f"select {counts} from part").fetchall()[0]
    read = connection.execute(f"select {counts} from staged_{table.name} where file_name = $label", {"label": label})
    return [column for column, n_held, n_read in zip(judged, held, read.fetchall()[0], strict=True) if n_read < n_held]


def _list_unreadable(connection: duckdb.DuckDBPyConnection, table: Table, column: str, label: str) -> None:
    kind = table.kind(column)
    connection.execute(
        f"""insert into breaches
            select $table, $label, file_row, $column, $rule, cast("{column}" as varchar)
            from part where "{column}" is not null and {_typed(kind, column)} is null""",
        {"table": table.name, "label": label, "column": column, "rule": KIND_WORDS[kind]},
    )


def _in_plain_words(error: Exception) -> str:
    """What the engine says, unless it speaks of its own insides."""
    said = _first_line(error)
    if "state machine reached an invalid state" in said:
        return "mixed line ends or a broken quote; save it again as CSV UTF-8"
    return said


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
