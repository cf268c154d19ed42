import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.fingerprint import fingerprint
from erp.ledger import Ledger, LedgerError, StoreBusy, lock_store
from erp.queue_files import verify, write_queue
from erp.runs import open_run
from erp.store_lock import refuse_if_held

T = datetime(2026, 3, 9, 5, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = fingerprint("facts, policy, site and code")
HOLD_THE_STORE = """
import sys, time
from datetime import datetime
from pathlib import Path
from erp.ledger import lock_store
from erp.runs import open_run
store = Path(sys.argv[1])
with lock_store(store), open_run(store, datetime(2026, 3, 9, 5), "0" * 64):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process in the middle of a run on this store."""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_STORE, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def publish_queue(store, as_of, out, run_id, counts=None):
    with lock_store(store), open_run(store, as_of, KEY) as run:
        queue, none = pd.DataFrame({"order_line_id": ["a", "b"], "run_id": run_id}), pd.DataFrame({"order_line_id": []})
        facts = {"as_of": as_of, "run_id": run_id, "models": {}}
        folder = run.keep_folder("queue", write_queue, queue, {"rejected": none}, facts)
        run.note_counts(counts or {})
        run.publish(folder, out)


def model_folder(tmp_path, content="tree"):
    folder = tmp_path / f"trained-{content}"
    folder.mkdir(exist_ok=True)
    (folder / "booster.txt").write_text(content)
    return folder


def promote(ledger, tmp_path, content, as_of, trained_as_of=None):
    version_hash, home = ledger.adopt_model("cancellation", model_folder(tmp_path, content))
    ledger.promote({"cancellation": (version_hash, home, {"auc": 0.7})}, trained_as_of or as_of, as_of)
    return version_hash


def test_a_second_process_hears_within_a_second_who_holds_the_store(tmp_path, holder):
    started = time.perf_counter()
    with pytest.raises(StoreBusy, match=rf"held by process {holder.pid} since 20\d\d-.* UTC; wait until it has ended"):
        lock_store(tmp_path).__enter__()
    assert time.perf_counter() - started < 1


def test_a_killed_holder_leaves_no_lock_and_its_run_is_marked_failed(tmp_path, holder):
    assert Ledger(tmp_path).runs()[0]["state"] == "started"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_store(tmp_path) as ledger:
        run = ledger.runs()[0]
    assert (run["state"], run["error"]) == ("failed", "the process ended before the run did; open it again to resume")
    assert run["ended_at"] is not None


def test_a_run_killed_after_it_published_stays_published(tmp_path, holder):
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection, connection:
        connection.execute("update runs set state = 'published', run_id = 'R1'")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_store(tmp_path) as ledger:
        run = ledger.runs()[0]
    assert (run["state"], run["run_id"]) == ("published", "R1")


def test_one_process_cannot_hold_the_store_twice(tmp_path):
    with lock_store(tmp_path):
        with pytest.raises(StoreBusy, match=f"held by process {os.getpid()}"):
            lock_store(tmp_path).__enter__()
    with lock_store(tmp_path):
        pass


def test_a_failure_inside_gives_the_store_back(tmp_path):
    with pytest.raises(RuntimeError), lock_store(tmp_path):
        raise RuntimeError
    with lock_store(tmp_path):
        pass


def test_nobody_writes_without_holding_the_store(tmp_path):
    with pytest.raises(LedgerError, match="does not hold the store; write to it within `with lock_store"):
        open_run(tmp_path, T, KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_look_at_a_store_that_nobody_ever_held_makes_nothing(tmp_path):
    refuse_if_held(tmp_path / "never")
    assert list(tmp_path.iterdir()) == []


def test_looking_whether_a_store_is_held_holds_nothing(tmp_path, holder):
    with pytest.raises(StoreBusy, match=f"held by process {holder.pid}"):
        refuse_if_held(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    refuse_if_held(tmp_path)
    with lock_store(tmp_path):
        pass


def test_a_store_without_a_ledger_knows_nothing_and_reading_creates_nothing(tmp_path):
    ledger = Ledger(tmp_path)
    assert (ledger.runs(), ledger.models(), ledger.last_run()) == ([], [], None)
    assert (ledger.last_published(T), ledger.champion("cancellation", T)) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_one_may_read_while_another_holds_the_store(tmp_path, holder):
    assert [run["state"] for run in Ledger(tmp_path).runs()] == ["started"]


def test_a_ledger_of_another_version_is_not_touched(tmp_path):
    with lock_store(tmp_path) as ledger:
        ledger.write("pragma user_version = 7")
    with pytest.raises(LedgerError, match="of version 7, this program reads 2"):
        ledger.runs()


def test_history_comes_from_the_newest_published_as_of_before_whatever_the_clock_said(tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    for n_days, run_id in [(2, "later"), (0, "first"), (1, "middle"), (1, "middle again")]:
        publish_queue(store, T + n_days * DAY, out, run_id)
    ledger = Ledger(store)
    before = [ledger.last_published(T + n_days * DAY) for n_days in range(4)]
    assert [run and run.run_id for run in before] == [None, "first", "middle again", "later"]
    assert before[1].as_of == T
    assert pd.read_parquet(before[1].queue)["run_id"].tolist() == ["first", "first"]


def test_a_failed_run_and_a_queue_that_was_cleared_away_give_no_history(tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    publish_queue(store, T, out, "first")
    publish_queue(store, T + DAY, out, "cleared")
    Ledger(store).last_published(T + 2 * DAY).queue.unlink()
    with pytest.raises(RuntimeError), lock_store(store), open_run(store, T + 2 * DAY, KEY):
        raise RuntimeError
    assert Ledger(store).last_published(T + 3 * DAY).run_id == "first"


def test_the_counts_are_those_of_the_run_published_last_by_the_clock(tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    publish_queue(store, T + DAY, out, "one", {"stock": {"2026-03-09": 4}})
    publish_queue(store, T, out, "two", {"stock": {"2026-03-08": 3}})
    assert Ledger(store).last_run().counts == {"stock": {"2026-03-08": 3}}
    assert Ledger(store).last_run().as_of == T


def test_the_store_may_move_with_all_it_remembers(tmp_path):
    store = tmp_path / "store"
    publish_queue(store, T, tmp_path / "out", "first")
    with lock_store(store) as ledger:
        promote(ledger, tmp_path, "tree", T)
    moved = Ledger(store.rename(tmp_path / "elsewhere"))
    assert verify(moved.last_published(T + DAY).queue.parent) == []
    assert moved.champion("cancellation", T) is not None


def test_a_version_is_champion_from_the_as_of_of_its_promotion_not_from_the_clock(tmp_path):
    with lock_store(tmp_path / "store") as ledger:
        newer = promote(ledger, tmp_path, "newer", T + 5 * DAY)
        older = promote(ledger, tmp_path, "older", T)
        champions = [ledger.champion("cancellation", T + n_days * DAY) for n_days in (-1, 0, 4, 5, 9)]
    assert [each and each.version_hash for each in champions] == [None, older, older, newer, newer]
    assert ledger.champion("lifetime_value", T) is None


def test_of_two_promotions_for_one_time_the_later_counts_and_saying_it_twice_adds_nothing(tmp_path):
    with lock_store(tmp_path / "store") as ledger:
        versions = [promote(ledger, tmp_path, content, T) for content in ("a", "b", "b", "a")]
        assert [each.version_hash for each in ledger.models()] == [versions[0], versions[1], versions[0]]
        assert ledger.champion("cancellation", T).version_hash == versions[0]


def test_no_version_serves_a_time_before_the_facts_it_was_trained_on(tmp_path):
    with lock_store(tmp_path / "store") as ledger:
        with pytest.raises(LedgerError, match="they would know the future"):
            promote(ledger, tmp_path, "a", T, trained_as_of=T + DAY)
        promote(ledger, tmp_path, "a", T, trained_as_of=T - 3 * DAY)
    champion = ledger.champion("cancellation", T)
    assert (champion.trained_as_of, champion.metrics, champion.who) == (T - 3 * DAY, {"auc": 0.7}, "run")


def test_times_in_any_zone_and_class_are_compared_as_moments(tmp_path):
    with lock_store(tmp_path / "store") as ledger:
        version = promote(ledger, tmp_path, "a", pd.Timestamp("2026-03-09T06:00:00+01:00"))
    naive = datetime(2026, 3, 9, 5)  # no zone: UTC
    assert ledger.champion("cancellation", naive).version_hash == version
    assert ledger.champion("cancellation", naive - timedelta(microseconds=1)) is None


def test_the_same_model_files_land_in_the_same_place_and_the_trained_folder_stays(tmp_path):
    with lock_store(tmp_path / "store") as ledger:
        trained = model_folder(tmp_path)
        version_hash, home = ledger.adopt_model("cancellation", trained)
        assert ledger.adopt_model("cancellation", trained) == (version_hash, home)
        assert home == tmp_path / "store" / "models" / "cancellation" / version_hash[:12]
        (home / "booster.txt").write_text("damaged")
        ledger.adopt_model("cancellation", trained)
    assert (home / "booster.txt").read_text() == (trained / "booster.txt").read_text() == "tree"


def test_a_model_whose_files_changed_is_refused(tmp_path):
    with lock_store(tmp_path / "store") as ledger:
        promote(ledger, tmp_path, "tree", T)
    (ledger.models()[0].folder / "booster.txt").write_text("other tree")
    with pytest.raises(LedgerError, match=r"model cancellation .*are missing or changed since it was promoted"):
        ledger.champion("cancellation", T)


def test_a_model_outside_the_store_cannot_be_promoted(tmp_path):
    with (
        lock_store(tmp_path / "store") as ledger,
        pytest.raises(LedgerError, match="trained-tree lies outside the store"),
    ):
        ledger.promote({"cancellation": ("hash", model_folder(tmp_path), {})}, T, T)
