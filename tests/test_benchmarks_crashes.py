"""The proof of crashes finds what it looks for, and a short one of it holds."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from erp.ledger import lock_store
from erp.settings import Site
from pipelines.delivery import apply
from tests.benchmarks.crashes import NONE
from tests.benchmarks.crashes_proof import AUTO, ChildError, _seen, disturbed, in_child, kill
from tests.faulty_receiver import faulty_receiver
from tests.pipelines.half_done import publish
from tests.pipelines.small_company import FILES

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_kills_lose_nothing_double_nothing_and_leave_nothing_running(tmp_path):
    command = [sys.executable, "tests/benchmarks/crashes.py", "--quick", "--json", str(tmp_path / "rows.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row for row in rows if row["met"] is False] == []
    assert sum(row["met"] is True for row in rows) == 2 * 8
    kills = {row["figure"]: row["value"] for row in rows if "kills (-9)" in row["figure"]}
    assert kills == {"ledger in SQLite: kills (-9)": 8, "ledger in PostgreSQL: kills (-9)": 1}
    assert any(row["figure"].startswith("restarts of the server") for row in rows)


@pytest.fixture
def after(tmp_path):
    """A morning that was delivered whole, its receiver, and what its undisturbed files are."""
    with faulty_receiver(tmp_path / "receiver") as receiver:
        site = Site(store=str(tmp_path / "store"), out=str(tmp_path / "out"), destination=receiver.table(), **AUTO)
        publish(site)
        assert apply(site).ending == "written"
        mlflow_of(site, ("FINISHED", "run_id", "R1"))
        for name in FILES:
            (Path(site.out) / name).touch()
        yield site, receiver, {name: (Path(site.out) / name).read_bytes() for name in FILES}


def mlflow_of(site, *runs):
    """The part of MLflow's database that is looked at."""
    (Path(site.store) / "mlflow.db").unlink(missing_ok=True)
    with closing(sqlite3.connect(Path(site.store) / "mlflow.db")) as database, database:
        database.executescript("create table runs (run_uuid, status); create table tags (run_uuid, key, value);")
        for number, (status, key, value) in enumerate(runs):
            database.execute("insert into runs values (?, ?)", (number, status))
            database.execute("insert into tags values (?, ?, ?)", (number, key, value))


def wrong(seen):
    return {name: n for name, n in seen.items() if n and name != "lines"}


def test_a_whole_morning_has_nothing_wrong(after):
    seen = _seen(*after)
    assert wrong(seen) == {}
    assert seen["lines"] == 2


def test_every_trace_of_a_crash_is_seen(after):
    site, receiver, undisturbed = after
    with closing(sqlite3.connect(receiver.folder / "receiver.sqlite")) as database, database:
        database.execute("delete from lines where order_line_id = 'a'")
        database.execute("""update lines set said = '{"rank": 7, "ship_now_quantity": 0}'""")
        database.execute("insert into lines select 'gone', 1, said from lines")
        database.execute("insert into effects select * from effects where order_line_id = 'a'")
    assert receiver.doubles() == 1
    mlflow_of(site, ("RUNNING", "run_id", "R1"), *[("FINISHED", "run_id", "R1")] * 2, ("FINISHED", "version", "v"))
    (Path(site.out) / "queue.csv").write_text("other")
    with lock_store(Path(site.store), site) as ledger:
        ledger.write("update runs set ended_at = null")
        ledger.write("update outbox set state = 'sending' where order_line_id = 'b'")
        ledger.write("update deliveries set state = 'open'")
    assert wrong(_seen(site, receiver, undisturbed)) == {
        "lost": 1,
        "differing": 2,
        "bytes_differ": 1,
        "runs_left": 1,
        "deliveries_left": 2,
        "mlflow_left": 1,
        "mlflow_wrong": 2,
    }
    assert set(wrong(_seen(site, receiver, undisturbed))) | {"doubled"} == set(NONE)


def test_a_process_is_killed_in_its_middle_or_has_ended_before(tmp_path):
    log, done = tmp_path / "log", tmp_path / "done"
    started = time.monotonic()
    assert disturbed(lambda: time.sleep(30) or done.touch(), 0.2, kill, log)
    assert time.monotonic() - started < 5
    assert not done.exists()
    assert not disturbed(done.touch, 5.0, kill, log)
    assert done.exists()
    with pytest.raises(ChildError, match="ZeroDivisionError"):
        disturbed(lambda: 1 / 0, 5.0, kill, log)
    assert in_child(lambda: [1, {"a": 2}], log) == [1, {"a": 2}]
