"""The files that go back to the ERP and to people: written into a run's folder, then published whole, manifest last."""

import csv
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from erp.fingerprint import file_sha256
from erp.kept_files import arrow_table
from erp.workbook import SHEET_ROWS, Cell, cells_of, write_workbook

SCHEMA_VERSION = "1"
MANIFEST = "manifest.json"
_REQUIRED_FACTS = ("as_of", "run_id", "models")
# Excel runs such a cell as a formula. Apostrophes before one count as well, so that taking one away always undoes this.
_LOOKS_LIKE_FORMULA = re.compile(r"'*[=+\-@]")
# In the `value` of rejected.csv: what a broken number cell held is a number, and no formula.
_NUMBERS_AS_TEXT = {"rejected": ("value",)}
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Sheets of the workbook before and after the queue's own, where such tables stand beside it.
_SHEETS_BEFORE, _SHEETS_AFTER = ("exceptions",), ("overrides",)


class PublishError(Exception):
    """The files to publish are not what their manifest says."""


def write_queue(
    folder: Path,
    queue: pd.DataFrame,
    beside: Mapping[str, pd.DataFrame],
    manifest_facts: Mapping[str, object],
) -> None:
    """Write queue.parquet, .csv and .xlsx, the tables beside them, manifest.json last; same input, same bytes.

    Rows keep their order. In the CSV and the workbook a column of times named `*_on` shows days, any other UTC times
    (those without a zone are taken as UTC). The workbook's first sheet are the exceptions, then come the queue and the
    overrides, as far as they are given; the manifest says how many rows of the queue its sheet could hold.

    Parameters
    ----------
    beside : tables written as CSV files of their names: exceptions, overrides, rejected, not_ranked, inbound, ...
    manifest_facts : goes into the manifest as it stands; times become ISO texts in UTC.

    Raises
    ------
    ValueError
        If a table beside is called queue, or the facts lack as_of, run_id or models or claim the manifest's own `files`
        or `schema_version`.
    """
    _check_facts(manifest_facts)
    if "queue" in beside:
        raise ValueError("a table beside the queue is called queue; give it another name")
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(arrow_table(queue), folder / "queue.parquet", compression="zstd")
    write_csv(queue, folder / "queue.csv")
    write_workbook(_sheets(queue, beside), folder / "queue.xlsx")
    n_rows = {"queue.parquet": len(queue), "queue.csv": len(queue), "queue.xlsx": min(len(queue), SHEET_ROWS)}
    for name, table in beside.items():
        write_csv(table, folder / f"{name}.csv", numbers_as_text=_NUMBERS_AS_TEXT.get(name, ()))
        n_rows[f"{name}.csv"] = len(table)
    files = {name: {"rows": rows, "sha256": file_sha256(folder / name)} for name, rows in n_rows.items()}
    manifest = {**manifest_facts, "files": files, "schema_version": SCHEMA_VERSION}
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False, default=_iso)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _sheets(queue: pd.DataFrame, beside: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Tables of the workbook by the names of their sheets, in order."""
    given = {**beside, "queue": queue}
    return {name: given[name] for name in (*_SHEETS_BEFORE, "queue", *_SHEETS_AFTER) if name in given}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what manifest.json in this folder says."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def verify(folder: Path) -> list[str]:
    """Say what in this folder differs from its manifest, one sentence each; empty if every file is as it says."""
    if not (folder / MANIFEST).exists():
        return [f"{MANIFEST} is missing"]
    try:
        files = read_manifest(folder)["files"]
    except (ValueError, KeyError):
        return [f"{MANIFEST} is damaged"]
    return [said for name, entry in sorted(files.items()) if (said := _mismatch(folder / name, entry["sha256"]))]


def publish(folder: Path, out: Path) -> None:
    """Bring a written queue into `out`: each file at one stroke, the manifest last; files of others stay as they are.

    Whatever interrupts it, `out` shows the old manifest or the new one, and `verify(out)` names every file that
    does not belong to the manifest shown; publishing once more mends it.

    Raises
    ------
    PublishError
        If the folder differs from its own manifest; then nothing in `out` changes.
    """
    if mismatches := verify(folder):
        raise PublishError(f"{folder.name} is not published: {'; '.join(mismatches)}; run it again")
    out.mkdir(parents=True, exist_ok=True)
    names = [*sorted(read_manifest(folder)["files"]), MANIFEST]
    parts = {name: out / f".{name}.part" for name in names}
    try:
        # All copies first: a full disk is met before anything of the old queue is replaced.
        for name, part in parts.items():
            _copy_to_disk(folder / name, part)
        for name in names[:-1]:
            os.replace(parts[name], out / name)
        _sync(out)
        os.replace(parts[MANIFEST], out / MANIFEST)
        _sync(out)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _check_facts(facts: Mapping[str, object]) -> None:
    if missing := [name for name in _REQUIRED_FACTS if name not in facts]:
        raise ValueError(f"the manifest lacks {', '.join(missing)}; add them to manifest_facts")
    if claimed := sorted({"files", "schema_version"} & set(facts)):
        raise ValueError(f"the manifest says {', '.join(claimed)} itself; take them out of manifest_facts")


def _mismatch(path: Path, sha256: str) -> str | None:
    if not path.exists():
        return f"{path.name} is missing"
    return None if file_sha256(path) == sha256 else f"{path.name} differs from the manifest"


def _copy_to_disk(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write)
        write.flush()
        os.fsync(write.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder outlast a power cut: the files' own fsync does not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _iso(value: object) -> str:
    """Write a day as 2026-03-09, a time as 2026-03-09T05:00:00Z.

    >>> _iso(datetime(2026, 3, 9, 5))
    '2026-03-09T05:00:00Z'
    """
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return in_utc.isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"the manifest cannot say {type(value).__qualname__}; pass text, numbers, times, lists or dicts")


def _csv_cell(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        return f"'{cell}" if _LOOKS_LIKE_FORMULA.match(cell) else cell
    return _iso(cell) if isinstance(cell, date) else cell


def text_as_written(cell: str) -> str:
    """Undo in a text cell what keeps Excel from running it as a formula.

    >>> text_as_written("'=1+1"), text_as_written("O'Neil")
    ('=1+1', "O'Neil")
    """
    return cell[1:] if cell.startswith("'") and _LOOKS_LIKE_FORMULA.match(cell) else cell


def _rejected_value(cell: Cell) -> Cell:
    """Leave the text of a number alone: the rule of the apostrophe is for texts."""
    return cell if isinstance(cell, str) and _PLAIN_NUMBER.fullmatch(cell) else _csv_cell(cell)


def write_csv(frame: pd.DataFrame, path: Path, numbers_as_text: Collection[str] = ()) -> None:
    """Write a table as all published CSV files are: UTF-8 with BOM, texts quoted and safe from formulas, times in UTC.

    Parameters
    ----------
    numbers_as_text : columns of texts in which a plain number needs no apostrophe
    """
    written = {name: _rejected_value if name in numbers_as_text else _csv_cell for name in frame.columns}
    columns = [map(written[name], cells_of(name, frame[name])) for name in frame.columns]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*columns, strict=True))
