"""The ledger's tables: of an older program, of this one, and what a crash between them leaves."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from erp import ledger_database
from erp.ledger import Ledger, LedgerError, lock_store
from erp.outbox import Outbox

T = datetime(2026, 3, 9, 5, tzinfo=UTC)
# The ledger as version 1 of the program made it.
VERSION_1 = """
create table runs (
    id integer primary key autoincrement, run_id text, key text not null, as_of text not null, state text not null,
    folder text not null, started_at text not null, ended_at text, facts text, models text, policy text, code text,
    out text, queue text, n_lines integer, counts text, error text
);
create table steps (
    folder text not null, name text not null, file text not null, inputs text not null, output text not null,
    seconds real not null, made_because text not null, made_at text not null, primary key (folder, name)
);
create table promotions (
    id integer primary key autoincrement, name text not null, version_hash text not null, folder text not null,
    trained_as_of text not null, as_of text not null, metrics text not null, who text not null,
    promoted_at text not null
);
insert into runs(run_id, key, as_of, state, folder, started_at, ended_at, queue) values
    ('R1', 'k', '2026-03-08T05:00:00.000000+00:00', 'published', 'runs/a', 'then', 'later', 'runs/a/queue.parquet'),
    (null, 'k', '2026-03-09T05:00:00.000000+00:00', 'started', 'runs/b', 'then', null, null);
insert into steps values ('runs/a', 'facts', 'facts', 'i', 'o', 0.5, 'new', 'then');
pragma user_version = 1;
"""


@pytest.fixture
def old_store(tmp_path):
    """A store whose ledger is of version 1."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.executescript("pragma journal_mode = wal;" + VERSION_1)
    return tmp_path


def version_and_tables(store):
    with closing(sqlite3.connect(store / "ledger.sqlite")) as connection:
        names = connection.execute("select name from sqlite_master where name not like 'sqlite%' order by 1")
        return connection.execute("pragma user_version").fetchone()[0], [row[0] for row in names]


def test_an_older_ledger_is_brought_to_this_version_with_all_it_remembers(old_store):
    with lock_store(old_store) as ledger:
        outbox = Outbox(ledger)
        outbox.close(outbox.begin("R1", "table", "apply", "Ada"))
        assert [(run["id"], run["run_id"], run["state"]) for run in ledger.runs()] == [
            (2, None, "failed"),
            (1, "R1", "published"),
        ]
        assert ledger.read("select seconds from steps") == [{"seconds": 0.5}]
        assert ledger.write("insert into runs(key, as_of, state, folder, started_at) values ('k', 't', 's', 'f', 'n')"
                            " returning id") == 3  # fmt: skip
    assert version_and_tables(old_store) == (
        2,
        ["deliveries", "outbox", "outbox_of_delivery", "outbox_of_line", "promotions", "runs", "steps"],
    )


def test_an_older_ledger_can_be_looked_into_without_changing_it(old_store):
    ledger = Ledger(old_store)
    assert [run["run_id"] for run in ledger.runs()] == [None, "R1"]
    assert ledger.last_run().run_id == "R1"
    assert Outbox(ledger).newest("table") is None
    assert version_and_tables(old_store) == (1, ["promotions", "runs", "steps"])


def test_a_migration_that_breaks_off_leaves_the_older_ledger_whole(old_store, monkeypatch):
    whole = ledger_database.statements_from

    def broken(version, id_type):
        return [*whole(version, id_type), "this is no statement"]

    monkeypatch.setattr(ledger_database, "statements_from", broken)
    with pytest.raises(sqlite3.OperationalError), lock_store(old_store):
        pass
    assert version_and_tables(old_store) == (1, ["promotions", "runs", "steps"])
    monkeypatch.undo()
    with lock_store(old_store) as ledger:
        assert ledger.last_run().run_id == "R1"


def test_a_new_and_a_migrated_ledger_have_the_same_columns(old_store, tmp_path_factory):
    new = tmp_path_factory.mktemp("new")
    for store in (old_store, new):
        with lock_store(store):
            pass

    def columns(store):
        with closing(sqlite3.connect(store / "ledger.sqlite")) as connection:
            query = 'select m.name, c.name, c."notnull", c.pk from sqlite_master m, pragma_table_info(m.name) c'
            return sorted(connection.execute(query + " where m.type = 'table'").fetchall())

    assert columns(old_store) == columns(new)
    assert len(columns(new)) > 40


@pytest.mark.parametrize("state", ["published", "sent", "confirmed"])
def test_a_queue_that_went_on_to_the_erp_is_history_like_any_published_one(old_store, state):
    with lock_store(old_store) as ledger:
        ledger.write("update runs set state = ?, ended_at = null where run_id = 'R1'", state)
    (old_store / "runs/a").mkdir(parents=True)
    (old_store / "runs/a/queue.parquet").touch()
    with lock_store(old_store) as ledger:  # and a crash after it was sent does not make it a failed run
        assert [run["state"] for run in ledger.leftovers] == [state]
        assert ledger.runs()[-1]["state"] == state
        assert ledger.last_run().run_id == ledger.last_published(T).run_id == "R1"


def test_every_store_bears_a_name_of_its_own_that_stays(tmp_path):
    names = []
    for name in ("a", "a", "b"):
        with lock_store(tmp_path / name) as ledger:
            names.append(ledger.store_id)
    assert names[0] == names[1] != names[2]
    (tmp_path / "a" / "ledger.json").write_text("{")
    with pytest.raises(LedgerError, match="ledger.json in the store a is damaged; restore it"):
        Ledger(tmp_path / "a").runs()
