"""The workbook as another program reads it: LibreOffice opens it and writes down what it found in every cell."""

import shutil
import subprocess
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import openpyxl
import pandas as pd
import pytest

from erp.queue_files import write_queue

SOFFICE = shutil.which("soffice")
NO_SOFFICE = "LibreOffice is not installed: apt-get install libreoffice-calc"
FACTS = {"as_of": datetime(2026, 3, 9, 5, tzinfo=UTC), "run_id": "r1", "models": {}}
NASTY_IDS = ["00123", "1E5", "=1+1", "+49", "-5", "@x", "'7", "1/2", "2026-03-01", "TRUE", " x ", "é\n\"'"]
OFFICE, TABLE, TEXT = (f"{{urn:oasis:names:tc:opendocument:xmlns:{room}:1.0}}" for room in ("office", "table", "text"))


def nasty_queue():
    n = len(NASTY_IDS)
    days = pd.date_range("2026-03-01", periods=n).to_series(index=range(n)).astype("datetime64[s]")
    return pd.DataFrame(
        {
            "rank": range(1, n + 1),
            "order_line_id": NASTY_IDS,
            "customer_id": pd.Series([None, *NASTY_IDS[1:]], dtype="str"),
            "promised_on": days.where(days.index != 2),
            "ordered_at": days.astype("datetime64[us]") + pd.Timedelta(hours=7, minutes=30),
            "days_late": pd.array([None, *range(1, n)], dtype="Int64"),
            "open_quantity": np.linspace(0.1, 1234567.25, n),
            "loss_if_waits": np.linspace(-1234.5678, 1e-9, n),
            "p_cancel_14d": np.linspace(0, 1, n),
            "is_pinned": [True, False] * (n // 2),
        }
    )


EXCEPTIONS = pd.DataFrame(
    {
        "priority": [1, 2],
        "kind": "lost_goods",
        "order_line_id": ["00123", "=1+1"],
        "money": [1234.5, np.nan],
        "said": ["=SUM(A1:A9)", "Lost 3 of the 3 units. " * 12],
    }
)
OVERRIDES = pd.DataFrame({"order_line_id": pd.Series([], dtype="str"), "cost": pd.Series([], dtype="float64")})


def written(folder, **beside):
    write_queue(folder, nasty_queue(), beside, FACTS)
    return folder / "queue.xlsx"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Cells of every sheet as LibreOffice read them, and its file's tree."""
    if SOFFICE is None:
        pytest.skip(NO_SOFFICE)
    folder = tmp_path_factory.mktemp("office")
    book = written(folder / "queue", exceptions=EXCEPTIONS, overrides=OVERRIDES, rejected=EXCEPTIONS)
    own_settings = f"-env:UserInstallation={(folder / 'settings').as_uri()}"
    subprocess.run(
        [SOFFICE, own_settings, "--headless", "--convert-to", "fods", "--outdir", str(folder), str(book)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    tree = ElementTree.parse(folder / "queue.fods")
    return {sheet.get(f"{TABLE}name"): cells_of(sheet) for sheet in tree.iter(f"{TABLE}table")}, tree


def cells_of(sheet):
    """Rows of (type, value, text as shown); a cell that stands for several is repeated, empty ends are cut."""
    rows = []
    for row in sheet.iter(f"{TABLE}table-row"):
        cells = []
        for cell in row.findall(f"{TABLE}table-cell"):
            kind = cell.get(f"{OFFICE}value-type")
            value = cell.get(
                f"{OFFICE}{'date-value' if kind == 'date' else 'boolean-value'}", cell.get(f"{OFFICE}value")
            )
            shown = "\n".join(shown_in(part) for part in cell.findall(f"{TEXT}p"))
            # LibreOffice writes yes and no down as the functions TRUE() and FALSE().
            assert cell.get(f"{TABLE}formula") in (None, "of:=TRUE()", "of:=FALSE()"), "nothing may be computed"
            cells += [(kind, value, shown)] * min(int(cell.get(f"{TABLE}number-columns-repeated", 1)), 100)
        rows.append(cells)
    while rows and not any(kind for kind, *_ in rows[-1]):
        rows.pop()
    return rows


def shown_in(part):
    """Text of a paragraph, where a tag stands for every blank beyond the first."""
    text = part.text or ""
    for child in part:
        blanks = " " * int(child.get(f"{TEXT}c", 1)) if child.tag == f"{TEXT}s" else shown_in(child)
        text += blanks + (child.tail or "")
    return text


def column_of(sheet, name):
    place = [shown for _, _, shown in sheet[0]].index(name)
    return [row[place] if place < len(row) else (None, None, "") for row in sheet[1:]]


def test_libreoffice_finds_the_exceptions_first_then_the_queue_then_the_overrides(opened):
    sheets, tree = opened
    assert list(sheets) == ["exceptions", "queue", "overrides"]
    shown = {name: [text for _, _, text in sheet[0] if text] for name, sheet in sheets.items()}
    assert shown["queue"] == list(nasty_queue().columns)
    assert shown["overrides"] == list(OVERRIDES.columns), "a sheet without rows has its header"
    filters = {each.get(f"{TABLE}target-range-address") for each in tree.iter(f"{TABLE}database-range")}
    assert filters == {"exceptions.A1:exceptions.E3", "queue.A1:queue.J13", "overrides.A1:overrides.B1"}


@pytest.mark.parametrize("name", ["order_line_id", "customer_id"])
def test_libreoffice_reads_every_id_as_the_text_it_is(opened, name):
    want = nasty_queue()[name]
    cells = column_of(opened[0]["queue"], name)
    assert [kind for kind, *_ in cells] == ["string" if pd.notna(text) else None for text in want]
    assert [shown for *_, shown in cells] == want.fillna("").tolist()


@pytest.mark.parametrize("name", ["rank", "days_late", "open_quantity", "loss_if_waits"])
def test_libreoffice_reads_the_numbers_of_the_parquet(opened, name, tmp_path):
    written(tmp_path)
    want = pd.read_parquet(tmp_path / "queue.parquet")[name].astype("Float64").to_numpy(float, na_value=np.nan)
    cells = column_of(opened[0]["queue"], name)
    got = [float(value) if kind == "float" else np.nan for kind, value, _ in cells]
    # A sheet holds 15 digits.
    assert got == pytest.approx(want, rel=1e-14, nan_ok=True)
    assert {kind for (kind, *_), number in zip(cells, want, strict=True) if not np.isnan(number)} == {"float"}


def test_libreoffice_shows_days_as_days_times_as_times_money_with_cents_and_shares_in_per_cent(opened):
    queue = opened[0]["queue"]
    assert column_of(queue, "promised_on")[0] == ("date", "2026-03-01", "2026-03-01")
    assert column_of(queue, "promised_on")[2][0] is None
    assert column_of(queue, "ordered_at")[1] == ("date", "2026-03-02T07:30:00", "2026-03-02 07:30")
    assert column_of(queue, "loss_if_waits")[0][2] == "-1,234.57"
    assert column_of(queue, "p_cancel_14d")[-1][2] == "100%"
    assert [shown for *_, shown in column_of(queue, "is_pinned")[:2]] == ["TRUE", "FALSE"]
    assert column_of(opened[0]["exceptions"], "money") == [("float", "1234.5", "1,234.50"), (None, None, "")]


def test_libreoffice_takes_a_sentence_that_begins_like_a_formula_for_a_sentence(opened):
    assert [shown for *_, shown in column_of(opened[0]["exceptions"], "said")] == EXCEPTIONS["said"].tolist()


def test_every_sheet_has_a_frozen_header_and_a_filter_and_long_sentences_have_room(tmp_path):
    book = openpyxl.load_workbook(written(tmp_path, exceptions=EXCEPTIONS, overrides=OVERRIDES))
    assert book.active.title == "exceptions"
    assert [sheet.freeze_panes for sheet in book] == ["D2", "C2", "B2"]
    assert all(sheet.auto_filter.ref and sheet.print_title_rows == "$1:$1" for sheet in book)
    sheet = book["exceptions"]
    assert sheet["E3"].alignment.wrap_text
    assert sheet.row_dimensions[2].height is None
    width, height = sheet.column_dimensions["E"].width, sheet.row_dimensions[3].height
    assert len(EXCEPTIONS["said"][1]) <= width * height / 15, "as many characters as fit into its rows of 15 points"


def test_without_tables_beside_it_the_queue_is_the_only_sheet(tmp_path):
    assert openpyxl.load_workbook(written(tmp_path, rejected=EXCEPTIONS)).sheetnames == ["queue"]


def test_the_same_tables_give_the_same_workbook_at_any_time(tmp_path, monkeypatch):
    one = written(tmp_path / "one", exceptions=EXCEPTIONS).read_bytes()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert one == written(tmp_path / "other", exceptions=EXCEPTIONS).read_bytes()
