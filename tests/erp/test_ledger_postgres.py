"""The ledger in PostgreSQL: what the one in SQLite remembers, and it survives whatever befalls the connection."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from erp import ledger_postgres
from erp import outbox as outbox_module
from erp.destination import Item
from erp.fingerprint import fingerprint
from erp.ledger import Ledger, LedgerError, lock_store
from erp.outbox import Outbox
from erp.runs import open_run
from erp.settings import SettingsError, Site
from tests.postgres_server import PASSWORD

T = datetime(2026, 3, 9, 5, tzinfo=UTC)
KEY = fingerprint("facts, policy, site and code")
ADD = "insert into promotions(name, version_hash, folder, trained_as_of, as_of, metrics, who, promoted_at) values (?, 'h', 'f', 't', 'a', '{}', 'w', 'p')"  # noqa: E501
HOLD_THE_STORE = """
import sys, time
from datetime import datetime
from pathlib import Path
from erp.ledger import lock_store
from erp.runs import open_run
from erp.settings import Site
store = Path(sys.argv[1])
with lock_store(store, Site(ledger=sys.argv[2])), open_run(store, datetime(2026, 3, 9, 5), "0" * 64):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def site(postgres, tmp_path, monkeypatch):
    """A site whose ledger is in an empty database."""
    monkeypatch.setenv("BACKORDER_LEDGER_PASSWORD", PASSWORD)
    return Site(store=str(tmp_path / "store"), ledger=postgres.new_database() + "?schema=books")


def lock(site):
    return lock_store(Path(site.store), site)


def items(n, payload="x"):
    return [
        Item("R1", line, 1, place, {"note": payload, "ship_now_quantity": 1.5}, None, None)
        for place, line in enumerate([f"l{i}" for i in range(n)], start=1)
    ]


def a_morning_and_its_delivery(store, site):
    """Use every query that the ledger and the outbox have; gives what they answer, clocks left out."""
    with lock_store(store, site) as ledger, open_run(store, T, KEY) as run:
        run.keep("numbers", lambda: {"a": 1})
        run.keep("numbers", lambda n: {"a": n}, 2)  # the step's row is replaced
        run.note(facts="50 % of f?", policy={"b": 1})
        ledger.write("update runs set state = 'published', run_id = 'R1', queue = 'q' where id = ?", run.id)
        trained = Path(store) / "trained"
        trained.mkdir()
        (trained / "booster.txt").write_text("tree")
        version_hash, home = ledger.adopt_model("risk", trained)
        ledger.promote({"risk": (version_hash, home, {"auc": 0.7})}, T, T)
        outbox = Outbox(ledger)
        delivery = outbox.begin("R1", "table", "apply", "Ada")
        outbox.add(delivery, [replace(item, sequence=delivery.id) for item in items(4)])
        keys = [item.key for item in outbox.items(delivery)]
        outbox.mark(keys[:2], "accepted", "it's there")
        outbox.mark(keys[2:3], "unknown")
        answered = [outbox.counts(delivery), outbox.answers(delivery, "accepted"), outbox.remembered("table")]
        answered += [[item.order_line_id for item in outbox.items(delivery, "unknown", "pending")]]
        answered += [outbox.waiting("unknown", "pending")]
        outbox.close(delivery)
        answered += [outbox.newest("table").state, outbox.unfinished("table")]
    ledger = Ledger(store)
    answered += [ledger.champion("risk", T).version_hash, ledger.last_run().run_id]
    clocks = {"started_at", "ended_at", "made_at", "seconds", "promoted_at", "changed_at"}
    for table in ("runs", "steps", "promotions", "deliveries", "outbox"):
        rows = ledger.read(f"select * from {table}")
        answered += [sorted(str({k: v for k, v in row.items() if k not in clocks}) for row in rows)]
    return answered


class Clock(datetime):
    """Stands still: deliveries are numbered by it."""

    @classmethod
    def now(cls, tz=None):
        return T


def test_it_answers_as_the_one_in_sqlite_does(site, tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "datetime", Clock)
    ours = a_morning_and_its_delivery(Path(site.store), site)
    assert ours == a_morning_and_its_delivery(tmp_path / "sqlite", None)
    assert ours[0] == {"accepted": 2, "pending": 1, "unknown": 1}
    assert len(ours[-1]) == 4
    assert not (Path(site.store) / "ledger.sqlite").exists()


def test_texts_sort_by_their_characters_as_in_sqlite(site, tmp_path):
    names = ["b", "A", "a", "_", "B-1", "B 1", "é", "z"]
    sorted_names = []
    for store, where in ((Path(site.store), site), (tmp_path / "sqlite", None)):
        with lock_store(store, where) as ledger:
            ledger.write_all(ADD, [(name,) for name in names])
            sorted_names.append([row["name"] for row in ledger.read("select name from promotions order by name")])
    assert sorted_names[0] == sorted_names[1] == sorted(names)


def test_the_store_remembers_where_its_ledger_is_and_no_password(site):
    with lock(site):
        pass
    assert Ledger(Path(site.store)).runs() == []
    with lock_store(Path(site.store)) as ledger:  # whoever has no settings at hand
        ledger.write_all(ADD, [("a",), ("b",)])
    with lock(site) as ledger:
        assert [row["name"] for row in ledger.read("select name from promotions")] == ["a", "b"]
    for path in Path(site.store).rglob("*"):
        assert path.is_dir() or PASSWORD not in path.read_text()


def test_a_ledger_elsewhere_than_the_settings_say_is_refused(site, tmp_path):
    with lock(site):
        pass
    for other in ("", site.ledger.replace("books", "others")):
        with pytest.raises(
            LedgerError, match=r"keeps its ledger in schema books of postgresql://.*set `ledger` to what"
        ):
            lock_store(Path(site.store), Site(ledger=other)).__enter__()
    with lock_store(tmp_path / "plain"):
        pass
    with pytest.raises(LedgerError, match="keeps its ledger in a file of its own folder"):
        lock_store(tmp_path / "plain", site).__enter__()


def test_two_stores_cannot_share_one_ledger(site, tmp_path):
    with lock(site) as ledger:
        ledger.write_all(ADD, [("a",)])
    with pytest.raises(
        LedgerError, match="the ledger in schema books of .* is that of another store; name another schema"
    ):
        lock_store(tmp_path / "second", site).__enter__()
    with lock_store(tmp_path / "second", Site(ledger=site.ledger.replace("books", "second"))) as ledger:
        assert ledger.models() == []


def test_what_cannot_be_used_is_refused_by_name_and_without_the_password(site, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="ledger is oracle://x; it is an address such as postgresql"):
        lock_store(tmp_path / "a", Site(ledger="oracle://x")).__enter__()
    with pytest.raises(SettingsError, match="the schema of `ledger` is 'a;drop'"):
        lock_store(tmp_path / "a", Site(ledger="postgresql://u@127.0.0.1/x?schema=a;drop")).__enter__()
    monkeypatch.setenv("BACKORDER_LEDGER_PASSWORD", "wrong-canary-88")
    with pytest.raises(LedgerError, match="password authentication failed.*see to it that it answers") as refused:
        lock_store(tmp_path / "a", site).__enter__()
    assert "wrong-canary-88" not in str(refused.value)
    assert not (tmp_path / "a" / "ledger.json").exists(), "nothing was made, so nothing is remembered"
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r'pip install "backorder\[postgres\]"'):
        lock_store(tmp_path / "a", site).__enter__()


def test_the_password_may_stand_in_a_file_that_the_store_remembers(site, tmp_path, monkeypatch):
    monkeypatch.delenv("BACKORDER_LEDGER_PASSWORD")
    (tmp_path / "pw").write_text(PASSWORD + "\n")
    with lock_store(Path(site.store), Site(ledger=site.ledger, ledger_password_file=str(tmp_path / "pw"))):
        pass
    assert Ledger(Path(site.store)).runs() == []


def test_a_killed_run_is_marked_failed_by_the_next_holder(site):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_STORE, site.store, site.ledger],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout.readline() == "held\n"
    assert Ledger(Path(site.store)).runs()[0]["state"] == "started"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with lock(site) as ledger:
        assert [run["state"] for run in ledger.runs()] == ["failed"]


def test_a_newer_ledger_is_refused(site, postgres):
    with lock(site):
        pass
    with postgres.connect(site.ledger.split("?")[0]) as connection:
        connection.execute("update books.ledger_about set version = 9")
    with pytest.raises(LedgerError, match="of version 9, this program reads 2"):
        Ledger(Path(site.store)).runs()


def test_a_restart_in_the_middle_of_a_run_loses_nothing_and_doubles_nothing(site, postgres):
    with lock(site) as ledger, open_run(Path(site.store), T, KEY) as run:
        ledger.write_all(ADD, [("before",)])
        postgres.restart()
        ledger.write_all(ADD, [("after",), ("and more",)])
        run.reach("planned")
        postgres.restart()
        assert [row["name"] for row in ledger.read("select name from promotions order by id")] == [
            "before",
            "after",
            "and more",
        ]
    assert [(row["state"], row["error"]) for row in Ledger(Path(site.store)).runs()] == [("planned", None)]


def test_who_holds_the_store_waits_for_a_server_that_restarts_also_where_it_looks_anew(site, postgres):
    with lock(site):
        postgres.stop("immediate")
        starting = threading.Timer(1.0, postgres.start)
        starting.start()
        assert Ledger(Path(site.store)).runs() == []
        starting.join()


def test_a_server_that_stays_away_stops_the_run_with_a_word_and_the_next_one_goes_on(site, postgres, monkeypatch):
    monkeypatch.setattr(ledger_postgres, "PATIENCE_SECONDS", 1)
    with lock(site) as ledger:
        ledger.write_all(ADD, [("before",)])
        postgres.stop("immediate")
        try:
            with pytest.raises(LedgerError, match="the ledger: .*see to it that it answers, then run this again"):
                ledger.write_all(ADD, [("during",)])
        finally:
            postgres.start()
    with lock(site) as ledger:
        assert [row["name"] for row in ledger.read("select name from promotions")] == ["before"]


@contextmanager
def cutting_proxy(url, word, passes_on):
    """Forward to the server, and cut the connection once: when a client's message holds this word.

    `passes_on`: the server gets the message and answers, and only the answer is lost.
    """
    target = urlsplit(url).port
    listening = socket.create_server(("127.0.0.1", 0))
    cut = threading.Event()
    done = []

    def serve(client):
        with client, socket.create_connection(("127.0.0.1", target)) as server:
            answers = threading.Thread(target=pump, args=(server, client))
            answers.start()
            with suppress(OSError):
                while chunk := client.recv(65536):
                    if word in chunk.lower() and not cut.is_set():
                        cut.set()
                        client.shutdown(socket.SHUT_RDWR)
                        if passes_on:
                            server.sendall(chunk)
                            answers.join(1)
                        break
                    server.sendall(chunk)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            answers.join()

    def pump(server, client):
        with suppress(OSError):
            while chunk := server.recv(65536):
                client.sendall(chunk)

    def accept():
        with suppress(OSError):
            while True:
                done.append(threading.Thread(target=serve, args=(listening.accept()[0],)))
                done[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield url.replace(f":{target}/", f":{listening.getsockname()[1]}/"), cut
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *done):
            thread.join(5)


@pytest.mark.parametrize("passes_on", [True, False], ids=["the answer is lost", "the commit is lost"])
@pytest.mark.parametrize("word", [b"commit", b"insert into promotions", b"last_write ="])
def test_a_connection_cut_at_any_moment_of_a_write_leaves_it_done_once(site, word, passes_on):
    with cutting_proxy(site.ledger, word, passes_on) as (url, cut):
        store, away = Path(site.store), Site(ledger=url)
        with lock_store(store, away) as ledger:
            cut.clear()  # making the tables committed, too
            first = ledger.write(ADD + " returning id", "once")
            assert cut.is_set()
            second = ledger.write(ADD + " returning id", "then")
            assert ledger.read("select id, name from promotions order by id") == [
                {"id": first, "name": "once"},
                {"id": second, "name": "then"},
            ]
