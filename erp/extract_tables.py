"""What a database holds of the contract's tables, by an allow-list; its rows written as text, batch by batch."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from erp.contract import TABLES, ContractError

# Optional: what extract.json says of a folder, as a table of a database.
EXTRACT, EXTRACT_COLUMNS = "extract", ("table_name", "covers_from", "complete_to")
BATCH_ROWS = 50_000  # some ten megabytes of text in the widest table


@dataclass(frozen=True)
class FoundTable:
    """A table or view that bears a name of the contract: how it and its columns are spelled there."""

    name: str
    spelled: str
    columns: Mapping[str, str]  # name in the contract -> name there


def told_tables(where: str, there: Iterable[tuple[str, str]]) -> list[FoundTable]:
    """The contract's tables among those that a database holds; names count whatever their case.

    Parameters
    ----------
    where : what messages call the database
    there : every table or view and column, as they are spelled there

    Raises
    ------
    ContractError
        If a required table or column is missing, or a name is there twice.
    """
    held: dict[str, list[str]] = {}
    for spelled_table, column in there:
        held.setdefault(spelled_table, []).append(column)
    wanted = {name: table.columns for name, table in TABLES.items()} | {EXTRACT: list(EXTRACT_COLUMNS)}
    spelled = _by_name(where, held, wanted)
    missing = [name for name, table in TABLES.items() if not table.is_optional and name not in spelled]
    if missing:
        raise ContractError(
            f"{len(missing)} required tables are missing in {where}: {', '.join(missing)};"
            " make a table or view of each name with the contract's columns, and let this user read it"
        )
    found = [
        FoundTable(name, as_there, _by_name(f"{where}, {name}", held[as_there], wanted[name]))
        for name, as_there in spelled.items()
    ]
    for table in found:
        required = EXTRACT_COLUMNS[:1] if table.name == EXTRACT else TABLES[table.name].required
        if lacking := [column for column in required if column not in table.columns]:
            raise ContractError(
                f"{where}: {table.name} lacks required columns: {', '.join(lacking)}; found"
                f" {', '.join(sorted(held[table.spelled])) or 'none'}; the contract names what each holds"
            )
    return found


def _by_name(where: str, held: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """The wanted names that are there, and how each is spelled there."""
    spelled: dict[str, list[str]] = {}
    for there in held:
        spelled.setdefault(there.lower(), []).append(there)
    twice = [" and ".join(spelled[name]) for name in wanted if len(spelled.get(name, [])) > 1]
    if twice:
        raise ContractError(f"{where} holds {'; '.join(twice)}: one name in two spellings; keep one of them")
    return {name: spelled[name][0] for name in wanted if name in spelled}


def quoted(name: str) -> str:
    """A name of the allow-list as SQL quotes it.

    >>> quoted('order"lines')
    '"order""lines"'
    """
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def text_file(path: Path, columns: Sequence[str]) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file of text columns batch by batch; `erp.source` reads the cells in their kinds."""
    with pq.ParquetWriter(path, pa.schema([(column, pa.string()) for column in columns]), compression="zstd") as writer:
        yield writer


def write_extract(folder: Path, found: FoundTable, rows: Iterable[Sequence[Any]]) -> None:
    """Write extract.json: from when and up to when each table is complete.

    Parameters
    ----------
    rows : of the table `extract`, its cells in the order of `found.columns`, as text
    """
    named = [dict(zip(found.columns, row, strict=True)) for row in rows]
    table_name, *times = EXTRACT_COLUMNS
    said = {row[table_name]: {column: row.get(column) for column in times} for row in named}
    (folder / "extract.json").write_text(json.dumps({"tables": said}, indent=1), encoding="utf-8")
