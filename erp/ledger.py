"""The store's memory: who holds it, which runs there were, what each published, which model was champion when."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from erp.fingerprint import fingerprint
from erp.kept_files import fill_folder, write_text

_SCHEMA_VERSION = 2
PUBLISHED = ("published", "sent", "confirmed")  # states of a run whose queue went out
_SCHEMA = f"""
-- One row per opened run; a resumed run is a new row with the same folder.
create table runs (
    id integer primary key autoincrement, run_id text, key text not null, as_of text not null, state text not null,
    folder text not null, started_at text not null, ended_at text, facts text, models text, policy text, code text,
    out text, queue text, n_lines integer, counts text, error text
);
-- One row per kept step of a run folder: what went in, what came out.
create table steps (
    folder text not null, name text not null, file text not null, inputs text not null, output text not null,
    seconds real not null, made_because text not null, made_at text not null, primary key (folder, name)
);
-- One row per promotion of a model version; as_of is the time from which it is champion.
create table promotions (
    id integer primary key autoincrement, name text not null, version_hash text not null, folder text not null,
    trained_as_of text not null, as_of text not null, metrics text not null, who text not null,
    promoted_at text not null
);
-- One row per apply or undo of a run at one destination; its id is the sequence of its items. At most one is open.
create table deliveries (
    id integer primary key autoincrement, run_id text not null, destination text not null, kind text not null,
    state text not null, who text not null, started_at text not null, ended_at text
);
-- One row per line and payload of a delivery: what it shall say (null: taken out), what it said before.
create table outbox (
    key text primary key, delivery_id integer not null, order_line_id text not null, place integer not null,
    payload text, previous text, version text, state text not null, answer text not null, changed_at text not null
);
create index outbox_of_delivery on outbox(delivery_id, state);
create index outbox_of_line on outbox(order_line_id, state);
pragma user_version = {_SCHEMA_VERSION};
"""


class StoreBusy(Exception):  # noqa: N818 - a state to wait for, not an error of anybody
    """Another process holds the store."""


class LedgerError(Exception):
    """The ledger cannot answer, or was asked for something that would make it wrong."""


@dataclass(frozen=True)
class PublishedRun:
    """One run whose queue was published."""

    run_id: str
    as_of: datetime  # with zone UTC
    queue: Path  # queue.parquet in the store, as it was published
    counts: dict[str, dict[str, int]]  # table -> day -> rows known; empty if the run noted none


@dataclass(frozen=True)
class ModelVersion:
    """One promotion of a version of a model."""

    name: str
    version_hash: str
    folder: Path
    trained_as_of: datetime  # with zone UTC, like every time here
    as_of: datetime  # champion from then on
    metrics: dict[str, Any]
    who: str
    promoted_at: datetime  # by the clock


@contextmanager
def lock_store(store: Path) -> "Iterator[Ledger]":
    """Hold the store alone; create its ledger if need be and mark runs of dead processes as failed.

    The operating system drops the lock with the process that held it, so a killed run leaves none behind.

    Raises
    ------
    StoreBusy
        Within a second, if another process (or this one, twice) holds it.
    """
    store.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(store / "store.lock"), _holder_file(store)
    try:
        lock.acquire(timeout=0.3)
    except Timeout:
        raise StoreBusy(_busy_text(store)) from None
    try:
        write_text(holder, json.dumps({"pid": os.getpid(), "since": utc_text(datetime.now(UTC))}))
        ledger = Ledger(store)
        ledger.create()
        ledger.fail_leftovers()
        yield ledger
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


class Ledger:
    """What the store remembers. Reading needs no lock and no ledger to be there; writing needs `lock_store`."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._file = store / "ledger.sqlite"

    def create(self) -> None:
        """Create the database, whole or not at all, unless it is there."""
        if self._file.exists():
            return
        part = self._file.with_name("ledger.sqlite.part")
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part)) as connection:
            connection.executescript("pragma journal_mode = wal;" + _SCHEMA)
        os.replace(part, self._file)

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Rows of a query; none if the store has no ledger yet."""
        if not self._file.exists():
            return []
        with self._connected() as connection:
            return connection.execute(query, values).fetchall()

    def write(self, statement: str, *values: object) -> int:
        """Carry out one statement for good and return the id of the row it inserted.

        Raises
        ------
        LedgerError
            If this process does not hold the store.
        """
        self._check_holder()
        with self._connected() as connection, connection:
            return connection.execute(statement, values).lastrowid or 0

    def write_all(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement for every row in one transaction: all of them stand, or none."""
        self._check_holder()
        with self._connected() as connection, connection:
            connection.executemany(statement, rows)

    def _check_holder(self) -> None:
        if _holder(self.store).get("pid") != os.getpid():
            raise LedgerError("this process does not hold the store; write to it within `with lock_store(store)`")

    def fail_leftovers(self) -> None:
        """Mark as failed every run that has not ended: whoever holds the lock knows that its process is gone.

        What was published stays published: only what followed it is missing.
        """
        left = "the process ended before the run did; open it again to resume"
        failed = "state = case state when 'published' then state else 'failed' end"
        statement = f"update runs set {failed}, error = ?, ended_at = ? where ended_at is null"
        self.write(statement, left, utc_text(datetime.now(UTC)))

    def runs(self) -> list[dict[str, Any]]:
        """Every opened run, newest first, by the columns of the table `runs`."""
        return [dict(row) for row in self.read("select * from runs order by id desc")]

    def last_published(self, before: datetime) -> PublishedRun | None:
        """Find the published run with the newest as_of earlier than `before`; of two, the later published.

        A run whose queue was cleared away has no history to give and is passed over.
        """
        query = "select * from runs where state = 'published' and as_of < ? order by as_of desc, id desc"
        runs = (self._published(row) for row in self.read(query, utc_text(before)))
        return next((run for run in runs if run.queue.exists()), None)

    def last_run(self) -> PublishedRun | None:
        """Find the run published last by the clock, whatever its as_of."""
        rows = self.read("select * from runs where state = 'published' order by id desc limit 1")
        return self._published(rows[0]) if rows else None

    def adopt_model(self, name: str, folder: Path) -> tuple[str, Path]:
        """Copy a finished model folder to models/NAME/HASH in the store; the same files always land in the same place.

        Returns
        -------
        The version's hash, which is the sha256 of the names and bytes of its files, and its folder in the store.
        """
        version_hash = fingerprint(folder)
        home = self.store / "models" / name / version_hash[:12]
        if not home.exists() or fingerprint(home) != version_hash:
            fill_folder(home, lambda part: shutil.copytree(folder, part, dirs_exist_ok=True))
        return version_hash, home

    def promote(
        self,
        versions: Mapping[str, tuple[str, Path, dict[str, Any]]],
        trained_as_of: datetime,
        as_of: datetime,
        who: str = "run",
    ) -> None:
        """Make versions champions from `as_of` on, all or none of them; saying it twice changes nothing.

        Parameters
        ----------
        versions : by name of the model: the version's hash, its folder and its figures

        Raises
        ------
        LedgerError
            If they were trained on facts later than `as_of`, or a folder lies outside the store.
        """
        if utc_text(trained_as_of) > utc_text(as_of):
            names = ", ".join(versions)
            raise LedgerError(f"{names}: trained as of {trained_as_of}, later than {as_of}: they would know the future")
        rows = [
            (name, version_hash, self.below(folder), utc_text(trained_as_of), utc_text(as_of))
            + (json.dumps(metrics, sort_keys=True), who, utc_text(datetime.now(UTC)))
            for name, (version_hash, folder, metrics) in versions.items()
            if version_hash != self._newest_promotion(name, as_of)
        ]
        self.write_all(
            "insert into promotions(name, version_hash, folder, trained_as_of, as_of, metrics, who, promoted_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _newest_promotion(self, name: str, as_of: datetime) -> str | None:
        query = "select version_hash from promotions where name = ? and as_of = ? order by id desc limit 1"
        rows = self.read(query, name, utc_text(as_of))
        return rows[0]["version_hash"] if rows else None

    def champion(self, name: str, as_of: datetime) -> ModelVersion | None:
        """Find the version that serves `as_of`: promoted last for a time not later, and trained on no later facts.

        Raises
        ------
        LedgerError
            If its files are no longer those that were promoted.
        """
        query = (
            "select * from promotions where name = ? and as_of <= ? and trained_as_of <= ?"
            " order by as_of desc, id desc limit 1"
        )
        rows = self.read(query, name, utc_text(as_of), utc_text(as_of))
        if not rows:
            return None
        version = self._version(rows[0])
        if not version.folder.is_dir() or fingerprint(version.folder) != version.version_hash:
            raise LedgerError(
                f"model {name} {version.version_hash[:12]}: its files in {self.below(version.folder)} are missing or"
                " changed since it was promoted; restore them, or train again"
            )
        return version

    def models(self) -> list[ModelVersion]:
        """Every promotion, in the order in which they were made."""
        return [self._version(row) for row in self.read("select * from promotions order by id")]

    def below(self, path: Path) -> str:
        """Write a path as the ledger notes it: relative to the store, so that the store may move."""
        try:
            return path.resolve().relative_to(self.store.resolve()).as_posix()
        except ValueError:
            raise LedgerError(f"{path.name} lies outside the store; the ledger only notes what it keeps") from None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            version = connection.execute("pragma user_version").fetchone()[0]
            if version != _SCHEMA_VERSION:
                raise LedgerError(f"the ledger is of version {version}, this program reads {_SCHEMA_VERSION}")
            yield connection

    def _published(self, row: sqlite3.Row) -> PublishedRun:
        counts = json.loads(row["counts"] or "{}")
        return PublishedRun(row["run_id"], utc_time(row["as_of"]), self.store / row["queue"], counts)

    def _version(self, row: sqlite3.Row) -> ModelVersion:
        return ModelVersion(
            name=row["name"],
            version_hash=row["version_hash"],
            folder=self.store / row["folder"],
            trained_as_of=utc_time(row["trained_as_of"]),
            as_of=utc_time(row["as_of"]),
            metrics=json.loads(row["metrics"]),
            who=row["who"],
            promoted_at=utc_time(row["promoted_at"]),
        )


def utc_text(moment: datetime) -> str:
    """Write a time as the ledger notes it: UTC and equally long, so that texts sort like times; no zone means UTC.

    >>> utc_text(datetime(2026, 3, 9, 5))
    '2026-03-09T05:00:00.000000+00:00'
    """
    in_utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return in_utc.isoformat(timespec="microseconds")


def utc_time(text: str) -> datetime:
    """Read the time, with zone UTC, that `utc_text` wrote."""
    return datetime.fromisoformat(text)


def _holder_file(store: Path) -> Path:
    return store / "store-holder.json"


def _holder(store: Path) -> dict[str, Any]:
    """Who says to hold the store; a killed holder's word stays until the next one takes the lock."""
    try:
        said: dict[str, Any] = json.loads(_holder_file(store).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return said


def _busy_text(store: Path) -> str:
    holder = _holder(store)
    who = f"process {holder['pid']} since {holder['since'][:19]} UTC" if holder else "another process"
    return f"the store {store.name} is held by {who}; wait until it has ended, or stop it, and try again"
