"""The workbook for people: one sheet per table, with types, formats, filters and a frozen header."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import xlsxwriter

# A sheet holds 1 048 576 rows, the header one of them; a cell 32 767 characters.
SHEET_ROWS, _CELL_CHARACTERS = 1_048_575, 32_767
# A fixed day: the workbook's bytes would otherwise differ with the clock.
_CREATED_AT = datetime(2000, 1, 1)
_WIDEST, _WIDEST_SENTENCE = 60, 90
# What a planner must read to its end goes on in a new line of the cell.
_SENTENCES = ("said", "do")
# Money that is not told by how its name begins or ends.
_MONEY = ("money", "advice_gain")
_A4 = 9
_ROW_HEIGHT = 15  # points
Cell = str | int | float | bool | date | None


def write_workbook(sheets: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Write one sheet per table, in this order; the first one is shown when the workbook is opened.

    Rows keep their order, and a sheet ends at its 1 048 575 rows. Ids and other texts are text and never formulas, a
    column of times named `*_on` shows days, any other UTC times (those without a zone are taken as UTC). What a sheet
    cannot hold as a number or a day (infinity, days before 1900) stands there as text.
    """
    book = xlsxwriter.Workbook(path)
    book.set_properties({"created": _CREATED_AT})
    formats = {
        name: book.add_format({"num_format": shown, "valign": "top", "text_wrap": name == "sentence"})
        for name, shown in (
            ("day", "yyyy-mm-dd"),
            ("time", "yyyy-mm-dd hh:mm"),
            ("text", "@"),  # an id edited by hand stays text
            ("sentence", "@"),
            ("money", "#,##0.00"),
            ("share", "0%"),
            ("number", "General"),
        )
    }
    header = book.add_format({"bold": True, "bottom": 1})
    for name, table in sheets.items():
        _write_sheet(book.add_worksheet(name), table.head(SHEET_ROWS), formats, header)
    book.close()


def cells_of(name: str, column: "pd.Series[Any]") -> list[Cell]:
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


def _write_sheet(sheet: Any, table: pd.DataFrame, formats: Mapping[str, Any], header: Any) -> None:
    n_rows_of_text = [1] * len(table)
    for place, name in enumerate(table.columns):
        cells = cells_of(name, table[name])
        of_column = _formats_of(name, formats)
        kind = next((type(cell) for cell in cells if cell is not None), _kind_of_none(name))
        sheet.set_column(place, place, _width(name, cells), of_column[kind])
        sheet.write_string(0, place, name, header)
        _write_cells(sheet, place, cells, of_column)
        if name in _SENTENCES:
            n_rows_of_text = [max(n, _rows_of_text(cell)) for n, cell in zip(n_rows_of_text, cells, strict=True)]
    for row, n in enumerate(n_rows_of_text, start=1):
        if n > 1:
            sheet.set_row(row, n * _ROW_HEIGHT)
    # Whoever scrolls through the columns still sees which line they read.
    sheet.freeze_panes(1, list(table.columns).index("order_line_id") + 1 if "order_line_id" in table else 0)
    sheet.repeat_rows(0)
    sheet.set_landscape()
    sheet.set_paper(_A4)
    last = max(len(table.columns) - 1, 0)
    sheet.autofilter(0, 0, len(table), last)
    # An id of digits is meant to be text: without this Excel marks each such cell as a mistake.
    sheet.ignore_errors({"number_stored_as_text": f"A1:{xlsxwriter.utility.xl_rowcol_to_cell(len(table), last)}"})


def _rows_of_text(cell: Cell) -> int:
    """Rows that a sentence takes in a column of the greatest width; a few characters short, since words stay whole."""
    return 1 + (len(cell) - 1) // (_WIDEST_SENTENCE - 6) if isinstance(cell, str) and cell else 1


def _formats_of(name: str, formats: Mapping[str, Any]) -> dict[type, Any]:
    """Format of each kind of value in a column of this name."""
    text = formats["sentence" if name in _SENTENCES else "text"]
    number = formats["money" if _is_money(name) else "share" if _is_share(name) else "number"]
    flag = formats["number"]
    return {date: formats["day"], datetime: formats["time"], str: text, int: number, float: number, bool: flag}


def _kind_of_none(name: str) -> type:
    """What may be typed into a column without a single value."""
    return float if _is_money(name) or _is_share(name) else str


def _is_share(name: str) -> bool:
    return name.startswith("p_") or name == "promise_chance"


def _is_money(name: str) -> bool:
    return (
        name in _MONEY
        or name.startswith("loss_")
        or name.endswith(("cost", "_value", "_value_low", "_value_high", "_price"))
    )


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
        writers.get(kind, sheet.write_string)(row, place, content, formats[kind])


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
    return min(max(len(name) + 3, longest + 1, 10), _WIDEST_SENTENCE if name in _SENTENCES else _WIDEST)
