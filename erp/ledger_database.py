"""What a ledger is kept in: its tables by version, and SQLite; erp/ledger_postgres.py keeps the same in PostgreSQL."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]  # by the names of the columns
Values = Sequence[object]

# What brings a ledger to version 1, 2, ... from the one before. `id` is filled by the database, and grows.
_VERSIONS = (
    (
        # One row per opened run; a resumed run is a new row with the same folder.
        """create table runs (
            id {id}, run_id text, key text not null, as_of text not null, state text not null,
            folder text not null, started_at text not null, ended_at text, facts text, models text, policy text,
            code text, out text, queue text, n_lines integer, counts text, error text)""",
        # One row per kept step of a run folder: what went in, what came out.
        """create table steps (
            folder text not null, name text not null, file text not null, inputs text not null, output text not null,
            seconds double precision not null, made_because text not null, made_at text not null,
            primary key (folder, name))""",
        # One row per promotion of a model version; as_of is the time from which it is champion.
        """create table promotions (
            id {id}, name text not null, version_hash text not null, folder text not null, trained_as_of text not null,
            as_of text not null, metrics text not null, who text not null, promoted_at text not null)""",
    ),
    (
        # One row per apply or undo of a run at one destination; its id, milliseconds of the clock, is the sequence of
        # its items. At most one is open.
        """create table deliveries (
            id {id}, run_id text not null, destination text not null, kind text not null, state text not null,
            who text not null, started_at text not null, ended_at text)""",
        # One row per line and payload of a delivery: what it shall say (null: taken out), what it said before.
        """create table outbox (
            key text primary key, delivery_id bigint not null, order_line_id text not null, place integer not null,
            payload text, previous text, version text, state text not null, answer text not null,
            changed_at text not null)""",
        "create index outbox_of_delivery on outbox(delivery_id, state)",
        "create index outbox_of_line on outbox(order_line_id, state)",
    ),
)
VERSION = len(_VERSIONS)


class LedgerError(Exception):
    """The ledger cannot answer, or was asked for something that would make it wrong."""


class LedgerDatabase(Protocol):
    """Where the tables lie. Statements are those that SQLite and PostgreSQL read alike, with `?` for each value."""

    def is_made(self) -> bool:
        """Whether there is a ledger to read."""

    def make(self) -> None:
        """Make the tables, or bring those of an older version to this one: whole or not at all."""

    def kept_open(self) -> AbstractContextManager[None]:
        """Context within which a connection may be kept."""

    def read(self, query: str, values: Values) -> list[Row]:
        """Rows of a query."""

    def write(self, statement: str, rows: Sequence[Values]) -> int:
        """Carry out a statement for every row in one transaction; gives what a single row's `returning id` says."""


def statements_from(version: int, id_type: str) -> list[str]:
    """What brings a ledger of this version (0: none) to the newest."""
    return [statement.format(id=id_type) for step in _VERSIONS[version:] for statement in step]


def refuse_newer(version: int) -> None:
    """Refuse a ledger that a newer program wrote.

    Raises
    ------
    LedgerError
        If it did.
    """
    if version > VERSION:
        raise LedgerError(
            f"the ledger is of version {version}, this program reads {VERSION}; use the program that wrote it, or newer"
        )


class SqliteDatabase:
    """A ledger in one file."""

    _ID = "integer primary key autoincrement"

    def __init__(self, file: Path) -> None:
        self.file = file

    def is_made(self) -> bool:
        """Whether the file is there."""
        return self.file.exists()

    def make(self) -> None:
        """Make the file, or migrate it."""
        if self.is_made():
            self._migrate()
            return
        part = self.file.with_name(f"{self.file.name}.part")
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part)) as connection:
            connection.execute("pragma journal_mode = wal")
            self._carry_out(connection, 0)
        os.replace(part, self.file)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Nothing to keep: opening a file is quick."""
        yield

    def read(self, query: str, values: Values) -> list[Row]:
        """Rows of a query; what an older ledger does not have yet is empty."""
        with closing(self._connected()) as connection:
            for statement in statements_from(_version(connection), self._ID):
                if statement.startswith("create table"):
                    connection.execute(statement.replace("create table", "create temp table", 1))
            return [dict(row) for row in connection.execute(query, values).fetchall()]

    def write(self, statement: str, rows: Sequence[Values]) -> int:
        """Carry out a statement for every row."""
        with closing(self._connected()) as connection, connection:
            if len(rows) != 1:
                connection.executemany(statement, rows)
                return 0
            returned = connection.execute(statement, rows[0]).fetchone()
            return int(returned[0]) if returned else 0

    def _migrate(self) -> None:
        with closing(self._connected()) as connection:
            if (version := _version(connection)) < VERSION:
                self._carry_out(connection, version)

    def _carry_out(self, connection: sqlite3.Connection, version: int) -> None:
        connection.isolation_level = None  # or Python would commit before each statement that makes a table
        connection.execute("begin immediate")
        for statement in statements_from(version, self._ID):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            refuse_newer(_version(connection))
        except BaseException:
            connection.close()
            raise
        return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])
