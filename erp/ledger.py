"""The store's memory: who holds it, which runs there were, what each published, which model was champion when."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erp.fingerprint import fingerprint
from erp.kept_files import fill_folder
from erp.ledger_database import LedgerDatabase, Row
from erp.ledger_database import LedgerError as LedgerError
from erp.ledger_place import forget_place, open_database, place_of, settle_place
from erp.settings import Site
from erp.store_lock import StoreBusy as StoreBusy
from erp.store_lock import hold, is_held_here

PUBLISHED = ("published", "sent", "confirmed")  # states of a run whose queue went out
# A statement's words for "stays what it is if its queue went out, else failed".
FAILED_UNLESS_PUBLISHED = f"case when state in {PUBLISHED} then state else 'failed' end"


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
def lock_store(store: Path, site: Site | None = None) -> "Iterator[Ledger]":
    """Hold the store alone; create its ledger if need be and mark runs of dead processes as failed.

    The operating system drops the lock with the process that held it, so a killed run leaves none behind.

    Parameters
    ----------
    site : says where the ledger is; None: wherever the store has it, in the store if it has none yet

    Raises
    ------
    StoreBusy
        Within a second, if another process (or this one, twice) holds it.
    LedgerError
        If the store keeps its ledger elsewhere than the site says, or its database cannot be reached.
    """
    with hold(store):
        ledger = Ledger(store)
        with ledger.created(site):
            ledger.fail_leftovers()
            yield ledger


class Ledger:
    """What the store remembers. Reading needs no lock and no ledger to be there; writing needs `lock_store`."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._database: LedgerDatabase | None = None
        self.leftovers: list[dict[str, Any]] = []  # runs of dead processes, as they were found when it was locked

    @contextmanager
    def created(self, site: Site | None) -> Iterator[None]:
        """Create the database, whole or not at all, or bring an older one to this version; connected within."""
        is_new = place_of(self.store) is None
        database = open_database(self.store, settle_place(self.store, site))
        try:
            database.make()
        except BaseException:
            if is_new:
                forget_place(self.store)
            raise
        self._database = database
        with database.kept_open():
            yield

    @property
    def store_id(self) -> str:
        """Names the store where several share a place; empty before it was locked once."""
        place = place_of(self.store)
        return place.store_id if place else ""

    def read(self, query: str, *values: object) -> list[Row]:
        """Rows of a query, with `?` for each value; none if the store has no ledger yet."""
        database = self._opened()
        return database.read(query, values) if database else []

    def write(self, statement: str, *values: object) -> int:
        """Carry out one statement for good and give the id that its `returning id` says, else 0.

        Raises
        ------
        LedgerError
            If this process does not hold the store.
        """
        return self._writable().write(statement, [values])

    def write_all(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement for every row in one transaction: all of them stand, or none."""
        database = self._writable()
        if rows:
            database.write(statement, rows)

    def _opened(self) -> LedgerDatabase | None:
        if self._database is None and (place := place_of(self.store)) is not None:
            # Whoever holds the store has reached its server when it took it.
            database = open_database(self.store, place, was_there=is_held_here(self.store))
            self._database = database if database.is_made() else None
        return self._database

    def _writable(self) -> LedgerDatabase:
        database = self._opened() if is_held_here(self.store) else None
        if database is None:
            raise LedgerError("this process does not hold the store; write to it within `with lock_store(store)`")
        return database

    def fail_leftovers(self) -> None:
        """Mark as failed every run that has not ended: whoever holds the lock knows that its process is gone.

        What was published stays published: only what followed it is missing.
        """
        self.leftovers = self.read("select * from runs where ended_at is null order by id")
        if not self.leftovers:
            return
        left = "the process ended before the run did; open it again to resume"
        statement = f"update runs set state = {FAILED_UNLESS_PUBLISHED}, error = ?, ended_at = ? where ended_at is null"
        self.write(statement, left, utc_text(datetime.now(UTC)))

    def runs(self) -> list[dict[str, Any]]:
        """Every opened run, newest first, by the columns of the table `runs`."""
        return self.read("select * from runs order by id desc")

    def last_published(self, before: datetime) -> PublishedRun | None:
        """Find the published run with the newest as_of earlier than `before`; of two, the later published.

        A run whose queue was cleared away has no history to give and is passed over.
        """
        query = f"select * from runs where state in {PUBLISHED} and as_of < ? order by as_of desc, id desc"
        runs = (self._published(row) for row in self.read(query, utc_text(before)))
        return next((run for run in runs if run.queue.exists()), None)

    def last_run(self) -> PublishedRun | None:
        """Find the run published last by the clock, whatever its as_of."""
        rows = self.read(f"select * from runs where state in {PUBLISHED} order by id desc limit 1")
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

    def _published(self, row: Row) -> PublishedRun:
        counts = json.loads(row["counts"] or "{}")
        return PublishedRun(row["run_id"], utc_time(row["as_of"]), self.store / row["queue"], counts)

    def _version(self, row: Row) -> ModelVersion:
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
