import csv
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import erp.queue_files
from erp.fingerprint import file_sha256
from erp.queue_files import PublishError, publish, verify, write_queue

AS_OF = "2026-03-09T05:00:00Z"
FACTS = {"as_of": datetime(2026, 3, 9, 5, tzinfo=UTC), "run_id": "r1", "models": {"cancellation": "abc"}}
NAMES = ["inbound.csv", "manifest.json", "not_ranked.csv", "queue.csv", "queue.parquet", "queue.xlsx", "rejected.csv"]
REJECTED = pd.DataFrame({"file": ["stock.csv"], "row": [7], "rule": ["on_hand >= 0"], "value": ["-5"]})
NOT_RANKED = pd.DataFrame({"order_line_id": pd.Series([], dtype="str")})
INBOUND = pd.DataFrame(
    {
        "po_line_id": ["=P", "P2", "P3"],
        "expected_on": pd.to_datetime(["2026-03-01", None, "2026-04-01"]).astype("datetime64[s]"),
        "days_overdue": pd.array([8, None, 0], dtype="Int64"),
        "is_disrupted": pd.array([True, None, False], dtype="boolean"),
        "loss_waiting": [12.5, 0.0, -1.0],
    }
)
BESIDE = {"rejected": REJECTED, "not_ranked": NOT_RANKED, "inbound": INBOUND}


def some_queue():
    return pd.DataFrame(
        {
            "rank": [1, 2],
            "order_line_id": ["=1+1", "007"],
            "customer_id": pd.Series([None, "-c"], dtype="str"),
            "promised_on": pd.to_datetime(["2026-03-01", None]).astype("datetime64[s]"),
            "ordered_at": pd.to_datetime(["2026-02-01 10:30", "2026-02-02 00:00"]).astype("datetime64[s]"),
            "as_of": pd.to_datetime(["2026-03-09 06:00+01:00"] * 2),
            "days_late": pd.array([8, None], dtype="Int64"),
            "loss_if_waits": [18.38, -0.5],
            "is_partly_shipped": [True, False],
            "reason": ['says "now", or\nnever', "plain"],
        }
    )


def written(folder, queue=None, **facts):
    write_queue(folder, some_queue() if queue is None else queue, BESIDE, {**FACTS, **facts})
    return folder


def csv_rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def imported(cell):
    """What a reader that knows the rule makes of a text cell: an apostrophe before a formula's sign is taken away."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'")[:1] in set("=+-@") else cell


def test_the_csv_is_quoted_marked_as_utf8_and_safe_from_formulas(tmp_path):
    lines = (written(tmp_path) / "queue.csv").read_bytes()
    assert lines.startswith(b'\xef\xbb\xbf"rank","order_line_id"')
    assert csv_rows(tmp_path / "queue.csv")[1:] == [
        ["1", "'=1+1", "", "2026-03-01", "2026-02-01T10:30:00Z", AS_OF, "8", "18.38", "true", 'says "now", or\nnever'],
        ["2", "007", "'-c", "", "2026-02-02T00:00:00Z", AS_OF, "", "-0.5", "false", "plain"],
    ]
    assert csv_rows(tmp_path / "rejected.csv")[1] == ["stock.csv", "7", "on_hand >= 0", "-5"]
    assert csv_rows(tmp_path / "not_ranked.csv") == [["order_line_id"]]


def test_every_table_beside_the_queue_is_a_csv_file_written_like_the_queues(tmp_path):
    text = (written(tmp_path) / "inbound.csv").read_bytes()
    assert text.startswith(b'\xef\xbb\xbf"po_line_id","expected_on"')
    assert csv_rows(tmp_path / "inbound.csv")[1:] == [
        ["'=P", "2026-03-01", "8", "true", "12.5"],
        ["P2", "", "", "", "0.0"],
        ["P3", "2026-04-01", "0", "false", "-1.0"],
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("-5.0", "-5.0"),
        ("12.25", "12.25"),
        ("-", "'-"),
        ("-5.", "'-5."),
        ("-5+1", "'-5+1"),
        ("-5\n", "'-5\n"),
        ("--5", "'--5"),
        ("+5", "'+5"),
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("'-5", "''-5"),
        ("\u0665", "\u0665"),
    ],
)
def test_a_rejected_value_that_is_a_number_gets_no_apostrophe_and_any_other_text_keeps_the_rule(tmp_path, value, shown):
    rejected = REJECTED.assign(value=value, rule="-5")
    write_queue(tmp_path, some_queue().assign(customer_id="-5", value="-5"), BESIDE | {"rejected": rejected}, FACTS)
    assert csv_rows(tmp_path / "rejected.csv")[1] == ["stock.csv", "7", "'-5", shown]
    row = dict(zip(*csv_rows(tmp_path / "queue.csv")[:2], strict=True))
    assert [row["customer_id"], row["value"]] == ["'-5", "'-5"], "the exception is for rejected values only"


@given(
    st.lists(st.text(st.sampled_from("=+-@'\",;a0\n\r\t é"), max_size=6), min_size=1, max_size=5), st.floats(-1e9, 1e9)
)
@settings(max_examples=60, deadline=None)
def test_every_text_and_number_comes_back_from_the_csv_and_no_text_looks_like_a_formula(
    tmp_path_factory, texts, number
):
    path = tmp_path_factory.mktemp("csv") / "cells.csv"
    frame = pd.DataFrame({"text": pd.Series(texts, dtype="str"), "number": [number] * len(texts)})
    erp.queue_files.write_csv(frame, path)
    rows = csv_rows(path)[1:]
    assert [imported(text) for text, _ in rows] == texts
    assert {float(cell) for _, cell in rows} == {number}
    assert not any(text.startswith(tuple("=+-@")) for text, _ in rows)


def test_other_readers_agree_about_the_csv(tmp_path):
    read = pd.read_csv(written(tmp_path) / "queue.csv", dtype={"order_line_id": str})
    assert read["order_line_id"].tolist() == ["'=1+1", "007"]
    assert read["loss_if_waits"].tolist() == [18.38, -0.5]


def test_parquet_keeps_ids_untouched(tmp_path):
    read = pd.read_parquet(written(tmp_path) / "queue.parquet")
    assert read["order_line_id"].tolist() == ["=1+1", "007"]
    assert read["days_late"].dtype == "Int64"


def test_the_workbook_shows_ids_as_text_days_as_days_and_no_formula(tmp_path):
    sheet = openpyxl.load_workbook(written(tmp_path) / "queue.xlsx").active
    at_five = datetime(2026, 3, 9, 5)
    first, second = ([cell.value for cell in row] for row in sheet.iter_rows(min_row=2))
    assert first[:6] == [1, "=1+1", None, datetime(2026, 3, 1), datetime(2026, 2, 1, 10, 30), at_five]
    assert [sheet["B2"].data_type, sheet["D2"].number_format] == ["s", "yyyy-mm-dd"]
    assert second[1:] == ["007", "-c", None, datetime(2026, 2, 2), at_five, None, -0.5, False, "plain"]
    assert [sheet.freeze_panes, sheet.auto_filter.ref] == ["C2", "A1:J3"], "header, rank and order_line_id stay"


def test_the_workbook_shows_money_with_cents_and_shares_in_per_cent(tmp_path):
    queue = pd.DataFrame(
        {
            "order_line_id": ["7"],
            "p_cancel_14d": [0.125],
            "p_no_order_365d": pd.Series([None], dtype="float64"),
            "pool_rank": [1],
            "promised_on": pd.to_datetime(["2026-03-01"]),
            "lifetime_value": [1234.5],
            "loss_if_waits": [18],
            "stock_price": [np.inf],
            "open_quantity": [2.5],
            "run_id": ["f" * 64],
        }
    )
    sheet = openpyxl.load_workbook(written(tmp_path, queue) / "queue.xlsx").active
    formats = {name.value: cell.number_format for name, cell in zip(sheet[1], sheet[2], strict=True)}
    assert formats == {
        "order_line_id": "@",
        "p_cancel_14d": "0%",
        "p_no_order_365d": "General",  # no cell was written; what is typed there takes the column's format
        "pool_rank": "General",
        "promised_on": "yyyy-mm-dd",
        "lifetime_value": "#,##0.00",
        "loss_if_waits": "#,##0.00",
        "stock_price": "@",  # no number that a sheet can hold
        "open_quantity": "General",
        "run_id": "@",
    }
    assert sheet.column_dimensions["C"].number_format == "0%"
    assert [sheet["B2"].value, sheet["F2"].value, sheet["J2"].value] == [0.125, 1234.5, "f" * 64]
    assert sheet.column_dimensions["J"].width == pytest.approx(12, abs=1)
    assert sheet.freeze_panes == "B2"


def test_the_workbook_takes_what_a_sheet_cannot_hold_as_text(tmp_path):
    queue = pd.DataFrame({"x": [np.inf, 1.0], "on": [date(1850, 1, 1), None], "text": ["a" * 40_000, ""]})
    sheet = openpyxl.load_workbook(written(tmp_path, queue) / "queue.xlsx").active
    assert [sheet["A2"].value, sheet["A3"].value, sheet["B2"].value] == ["inf", 1, "1850-01-01"]
    assert len(sheet["C2"].value) == 32_767


def test_an_empty_queue_is_written_with_its_columns(tmp_path):
    written(tmp_path, some_queue().head(0))
    assert len(csv_rows(tmp_path / "queue.csv")) == 1
    assert verify(tmp_path) == []


def test_the_manifest_names_every_file_with_rows_and_sha256(tmp_path):
    manifest = json.loads((written(tmp_path, note="x") / "manifest.json").read_text())
    assert sorted([*manifest["files"], "manifest.json"]) == NAMES == sorted(path.name for path in tmp_path.iterdir())
    assert {name: entry["rows"] for name, entry in manifest["files"].items()} == {
        "queue.parquet": 2,
        "queue.csv": 2,
        "queue.xlsx": 2,
        "rejected.csv": 1,
        "not_ranked.csv": 0,
        "inbound.csv": 3,
    }
    assert all(entry["sha256"] == file_sha256(tmp_path / name) for name, entry in manifest["files"].items())
    assert [manifest[key] for key in ("as_of", "run_id", "note")] == [AS_OF, "r1", "x"]


def test_the_manifest_wants_its_facts_and_keeps_its_own_words(tmp_path):
    with pytest.raises(ValueError, match="the manifest lacks run_id, models; add them"):
        write_queue(tmp_path, some_queue(), BESIDE, {"as_of": "x"})
    with pytest.raises(ValueError, match="the manifest says files itself"):
        written(tmp_path, files={})
    with pytest.raises(ValueError, match="a table beside the queue is called queue"):
        write_queue(tmp_path, some_queue(), {"queue": REJECTED}, FACTS)
    assert list(tmp_path.iterdir()) == [], "nothing is written by halves"


def test_the_same_queue_gives_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    one = written(tmp_path / "one")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    other = written(tmp_path / "other")
    assert [(one / name).read_bytes() for name in NAMES] == [(other / name).read_bytes() for name in NAMES]


def test_publishing_brings_every_file_and_leaves_those_of_others(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "planner.txt").write_text("mine")
    folder = written(tmp_path / "run")
    publish(folder, out)
    publish(folder, out)
    assert sorted(path.name for path in out.iterdir()) == sorted([*NAMES, "planner.txt"])
    assert all((out / name).read_bytes() == (folder / name).read_bytes() for name in NAMES)
    assert verify(out) == []


class PulledPlugError(BaseException):
    """Stands for a process that dies: no code of ours catches it."""


@pytest.mark.parametrize("n_replaced", range(len(NAMES)))
def test_a_crash_while_publishing_leaves_one_manifest_and_tells_every_file_that_is_not_its(
    tmp_path, monkeypatch, n_replaced
):
    out = tmp_path / "out"
    old, new = written(tmp_path / "old"), written(tmp_path / "new", some_queue().iloc[::-1], run_id="r2")
    publish(old, out)
    replaced, replace = [], os.replace

    def dying(source, target):
        if len(replaced) == n_replaced:
            raise PulledPlugError
        replaced.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr("os.replace", dying)
    with pytest.raises(PulledPlugError):
        publish(new, out)
    monkeypatch.undo()
    assert (out / "manifest.json").read_bytes() == (old / "manifest.json").read_bytes()
    changed = [name for name in sorted(replaced) if (old / name).read_bytes() != (new / name).read_bytes()]
    assert verify(out) == [f"{name} differs from the manifest" for name in changed]
    publish(new, out)
    assert verify(out) == []
    assert json.loads((out / "manifest.json").read_text())["run_id"] == "r2"
    assert sorted(path.name for path in out.iterdir()) == NAMES


def test_a_full_disk_leaves_the_old_queue_whole(tmp_path, monkeypatch):
    out = tmp_path / "out"
    publish(written(tmp_path / "old"), out)

    def full(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        publish(written(tmp_path / "new", some_queue().head(1)), out)
    assert sorted(path.name for path in out.iterdir()) == NAMES
    assert verify(out) == []


def test_a_damaged_folder_is_not_published(tmp_path):
    folder = written(tmp_path / "run")
    (folder / "queue.csv").write_text("")
    (folder / "queue.xlsx").unlink()
    with pytest.raises(PublishError, match=r"queue.csv differs from the manifest; queue.xlsx is missing; run it again"):
        publish(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_readable_manifest_says_so(tmp_path):
    assert verify(tmp_path) == ["manifest.json is missing"]
    (tmp_path / "manifest.json").write_text('{"files"')
    assert verify(tmp_path) == ["manifest.json is damaged"]
