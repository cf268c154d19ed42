"""The files that go back to the ERP and to people: written into a run's folder, then published whole, manifest last."""

import csv
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import xlsxwriter

from erp.fingerprint import file_sha256
from erp.kept_files import arrow_table

SCHEMA_VERSION = "1"
MANIFEST = "manifest.json"
_REQUIRED_FACTS = ("as_of", "run_id", "models")
# Excel runs such a cell as a formula. Apostrophes before one count as well, so that taking one away always undoes this.
_LOOKS_LIKE_FORMULA = re.compile(r"'*[=+\-@]")
# In the `value` of rejected.csv: what a broken number cell held is a number, and no formula.
_NUMBERS_AS_TEXT = {"rejected": ("value",)}
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# A sheet holds 1 048 576 rows, the header one of them; a cell 32 767 characters.
_SHEET_ROWS, _CELL_CHARACTERS = 1_048_575, 32_767
# A fixed day: the workbook's bytes would otherwise differ with the clock.
_CREATED_AT = datetime(2000, 1, 1)
Cell = str | int | float | bool | date | None


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
    (those without a zone are taken as UTC). The workbook ends at a sheet's 1 048 575 rows; the manifest says how many
    it has.

    Parameters
    ----------
    beside : tables written as CSV files of their names: rejected, not_ranked, inbound, rules, fairness
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
    _write_csv(queue, folder / "queue.csv")
    _write_workbook(queue.head(_SHEET_ROWS), folder / "queue.xlsx")
    n_rows = {"queue.parquet": len(queue), "queue.csv": len(queue), "queue.xlsx": min(len(queue), _SHEET_ROWS)}
    for name, table in beside.items():
        _write_csv(table, folder / f"{name}.csv", numbers_as_text=_NUMBERS_AS_TEXT.get(name, ()))
        n_rows[f"{name}.csv"] = len(table)
    files = {name: {"rows": rows, "sha256": file_sha256(folder / name)} for name, rows in n_rows.items()}
    manifest = {**manifest_facts, "files": files, "schema_version": SCHEMA_VERSION}
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False, default=_iso)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


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


def _cells(name: str, column: "pd.Series[Any]") -> list[Cell]:
    """One column as plain Python values: None where missing, UTC times without zone, days for times named `*_on`."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    present = column.notna().tolist()
    if not pd.api.types.is_datetime64_dtype(column.dtype):
        return [value if is_known else None for value, is_known in zip(column.tolist(), present, strict=True)]
    # Microseconds are what Python's datetime holds.
    times = column.astype("datetime64[us]").dt.to_pydatetime()
    is_day = name.endswith("_on")
    return [
        (time.date() if is_day else time) if is_known else None for time, is_known in zip(times, present, strict=True)
    ]


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


def _rejected_value(cell: Cell) -> Cell:
    """Leave the text of a number alone: the rule of the apostrophe is for texts."""
    return cell if isinstance(cell, str) and _PLAIN_NUMBER.fullmatch(cell) else _csv_cell(cell)


def _write_csv(frame: pd.DataFrame, path: Path, numbers_as_text: Collection[str] = ()) -> None:
    written = {name: _rejected_value if name in numbers_as_text else _csv_cell for name in frame.columns}
    columns = [map(written[name], _cells(name, frame[name])) for name in frame.columns]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*columns, strict=True))


def _write_workbook(queue: pd.DataFrame, path: Path) -> None:
    book = xlsxwriter.Workbook(path)
    book.set_properties({"created": _CREATED_AT})
    sheet = book.add_worksheet("queue")
    header = book.add_format({"bold": True, "bottom": 1})
    formats = {
        date: book.add_format({"num_format": "yyyy-mm-dd"}),
        datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm"}),
        str: book.add_format({"num_format": "@"}),  # an id edited by hand stays text
    }
    money, share = book.add_format({"num_format": "#,##0.00"}), book.add_format({"num_format": "0%"})
    for place, name in enumerate(queue.columns):
        cells = _cells(name, queue[name])
        number = money if _is_money(name) else share if name.startswith("p_") else None
        of_column = formats | {int: number, float: number}
        kind = next((type(cell) for cell in cells if cell is not None), float if number else str)
        sheet.set_column(place, place, _width(name, cells), of_column.get(kind))
        sheet.write_string(0, place, name, header)
        _write_cells(sheet, place, cells, of_column)
    # Whoever scrolls through the columns still sees which line they read.
    sheet.freeze_panes(1, list(queue.columns).index("order_line_id") + 1 if "order_line_id" in queue else 0)
    sheet.autofilter(0, 0, len(queue), max(len(queue.columns) - 1, 0))
    book.close()


def _is_money(name: str) -> bool:
    return name.startswith("loss_") or name.endswith(("_value", "_value_low", "_value_high", "_price"))


def _write_cells(sheet: Any, place: int, cells: list[Cell], formats: Mapping[type, Any]) -> None:
    writers: dict[type, Callable[..., object]] = {
        bool: sheet.write_boolean,
        int: sheet.write_number,
        float: sheet.write_number,
        date: sheet.write_datetime,
        datetime: sheet.write_datetime,
    }
    for row, cell in enumerate(cells, start=1):
        if cell is None:
            continue
        kind = type(cell) if type(cell) in writers and _fits_sheet(cell) else str
        content = str(cell)[:_CELL_CHARACTERS] if kind is str else cell
        writers.get(kind, sheet.write_string)(row, place, content, formats.get(kind))


def _fits_sheet(cell: Cell) -> bool:
    """Whether a workbook can hold this as a number or date: no infinity, and no day before 1900."""
    if isinstance(cell, date):
        return cell.year >= 1900
    return not isinstance(cell, float) or abs(cell) != float("inf")


def _width(name: str, cells: list[Cell]) -> int:
    """Wide enough for the first rows' longest cell, within reason; the filter's arrow in the header takes 3.

    A run's id is 64 characters that nobody reads to the end.
    """
    if name == "run_id":
        return 12
    longest = max((len(str(cell)) for cell in cells[:200] if not isinstance(cell, float | date)), default=0)
    return min(max(len(name) + 3, longest + 1, 10), 60)
