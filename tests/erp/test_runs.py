import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from erp.fingerprint import fingerprint
from erp.ledger import Ledger, LedgerError, lock_store
from erp.queue_files import PublishError, verify, write_queue
from erp.runs import open_run

T = datetime(2026, 3, 9, 5, tzinfo=UTC)
KEY = fingerprint("facts, policy, site and code")


@pytest.fixture
def run(tmp_path):
    with lock_store(tmp_path), open_run(tmp_path, T, KEY) as opened:
        yield opened


class Counted:
    """A step that notes how often it was made."""

    def __init__(self, make):
        self.make, self.n_made = make, 0

    def __call__(self, *args):
        self.n_made += 1
        return self.make(*args)


def some_lines(n_lines):
    ordered_on = pd.to_datetime(["2026-03-01"] * n_lines).astype("datetime64[s]")
    return pd.DataFrame({"order_line_id": [str(i) for i in range(n_lines)], "ordered_on": ordered_on})


def fill_model(folder, depth):
    (folder / "booster.txt").write_text(f"depth {depth}")


def state(store):
    run = Ledger(store).runs()[0]
    return run["state"], run["error"]


def fail_run(store, error, before):
    """Open a run, do what comes before, and let it fail; return the run's folder."""
    with lock_store(store), contextlib.suppress(type(error)), open_run(store, T, KEY) as run:
        before(run)
        raise error
    return run.folder


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (some_lines, "step.parquet"),
        (lambda n_lines: {"n_lines": n_lines, "pair": (1, 2)}, "step.json"),
        (lambda n_lines: np.linspace(0, 1, n_lines), "step.npy"),
    ],
)
def test_a_kept_step_is_made_once_and_reads_the_same_ever_after(run, make, file):
    step = Counted(make)
    first, second = run.keep("step", step, 3), run.keep("step", step, 3)
    assert step.n_made == 1
    assert fingerprint(first) == fingerprint(second)
    assert (run.folder / file).exists()


def test_other_inputs_make_a_step_again(run):
    step = Counted(some_lines)
    assert [len(run.keep("lines", step, n_lines)) for n_lines in (3, 4, 3)] == [3, 4, 3]
    assert step.n_made == 3


def test_a_frame_passed_on_counts_as_input_by_its_content(run):
    double = Counted(lambda lines: pd.concat([lines, lines]))
    run.keep("doubled", double, run.keep("lines", some_lines, 2))
    run.keep("doubled", double, some_lines(2))
    assert double.n_made == 1


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"half"), lambda path: path.unlink()])
def test_a_damaged_or_lost_file_is_made_again_and_said(run, damage, caplog):
    run.keep("lines", some_lines, 2)
    damage(run.folder / "lines.parquet")
    with caplog.at_level(logging.WARNING):
        assert len(run.keep("lines", some_lines, 2)) == 2
    assert "step lines is made again: lines.parquet" in caplog.text
    assert "lines.parquet" in run.ledger.read("select * from steps")[0]["made_because"]


def test_a_kept_folder_is_filled_once_and_again_when_a_file_in_it_changes(run):
    fill = Counted(fill_model)
    folder = run.keep_folder("model", fill, 3)
    assert run.keep_folder("model", fill, 3) == folder
    assert fill.n_made == 1
    (folder / "booster.txt").write_text("depth 9")
    assert (run.keep_folder("model", fill, 3) / "booster.txt").read_text() == "depth 3"
    (folder / "stray.txt").write_text("")
    assert [path.name for path in run.keep_folder("model", fill, 3).iterdir()] == ["booster.txt"]


def test_a_step_that_fails_half_way_leaves_nothing_that_looks_kept(run):
    def fail(folder):
        (folder / "booster.txt").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run.keep_folder("model", fail)
    assert not (run.folder / "model").exists()
    assert run.ledger.read("select * from steps") == []


def test_every_step_is_noted_in_the_ledger_and_beside_its_files(run):
    run.keep("lines", some_lines, 2)
    run.keep_folder("model", fill_model, 3)
    beside = json.loads((run.folder / "steps.json").read_text())
    assert beside == [dict(row) for row in run.ledger.read("select * from steps")]
    assert [(step["name"], step["file"], step["made_because"]) for step in beside] == [
        ("lines", "lines.parquet", "new"),
        ("model", "model", "new"),
    ]
    assert beside[0]["output"] == fingerprint(run.folder / "lines.parquet")
    assert beside[0]["inputs"] == fingerprint((2,))


def test_a_run_that_failed_goes_on_where_it_stopped(tmp_path):
    lines = Counted(some_lines)
    folder = fail_run(tmp_path, ValueError("no stock\nat all"), lambda run: run.keep("lines", lines, 3))
    assert state(tmp_path) == ("failed", "ValueError: no stock")
    with lock_store(tmp_path), open_run(tmp_path, T, KEY) as resumed:
        assert resumed.folder == folder
        resumed.keep("lines", lines, 3)
        resumed.reach("planned")
    assert lines.n_made == 1
    assert state(tmp_path) == ("planned", None)
    assert len(Ledger(tmp_path).runs()) == 2


def test_a_run_that_ended_is_not_taken_for_a_leftover(tmp_path):
    with lock_store(tmp_path), open_run(tmp_path, T, KEY) as run:
        run.reach("planned")
    with lock_store(tmp_path):
        assert state(tmp_path) == ("planned", None)


def test_another_time_or_key_is_another_folder(tmp_path):
    with lock_store(tmp_path):
        opened = [(T, KEY), (T + timedelta(microseconds=5), KEY), (T, fingerprint("other"))]
        names = [open_run(tmp_path, as_of, key).folder.name for as_of, key in opened]
    assert names[0] == f"20260309T050000Z-{KEY[:12]}"
    assert names[1] == f"20260309T050000000005Z-{KEY[:12]}"
    assert len(set(names)) == 3


def test_a_key_that_is_no_fingerprint_is_refused(tmp_path):
    with lock_store(tmp_path), pytest.raises(LedgerError, match="the key 'abc' is no fingerprint"):
        open_run(tmp_path, T, "abc")


def written_queue(run, run_id):
    none = pd.DataFrame({"order_line_id": []})
    facts = {"as_of": T, "run_id": run_id, "models": {}}
    return run.keep_folder("queue", write_queue, some_lines(2), {"rejected": none}, facts)


def publish_damaged(run, out):
    folder = written_queue(run, "r1")
    (folder / "queue.csv").unlink()
    run.publish(folder, out)


def test_publishing_notes_run_id_lines_and_place(run, tmp_path):
    run.note(facts="f", models={"cancellation": "abc"}, code="c")
    run.publish(written_queue(run, "r1"), tmp_path / "out")
    row = run.ledger.runs()[0]
    assert verify(tmp_path / "out") == []
    assert [row[name] for name in ("state", "run_id", "n_lines", "facts", "models", "policy", "code")] == [
        *("published", "r1", 2, "f", '{"cancellation": "abc"}', None, "c")
    ]
    assert row["queue"] == f"runs/{run.folder.name}/queue/queue.parquet"


def test_what_fails_after_publishing_does_not_unpublish(tmp_path):
    failure = RuntimeError("the report failed")
    fail_run(tmp_path, failure, lambda run: run.publish(written_queue(run, "r1"), tmp_path / "out"))
    assert state(tmp_path) == ("published", "RuntimeError: the report failed")


def test_a_queue_damaged_before_publishing_fails_the_run(tmp_path):
    with lock_store(tmp_path), pytest.raises(PublishError), open_run(tmp_path, T, KEY) as run:
        publish_damaged(run, tmp_path / "out")
    assert state(tmp_path)[0] == "failed"
    assert not (tmp_path / "out").exists()
