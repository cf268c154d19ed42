"""A queue delivered to PostgreSQL: a table with one row per line, its history, and a view of the queue as it is now.

A delivery is one transaction that also records its keys: it holds whole or not at all, and whoever lost its answer
finds out by sending it again, since a key that holds already is left as it is.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from erp.addresses import shown
from erp.credentials import password
from erp.destination import DeliveryError, Held, Item, Outcome, State, Values
from erp.postgres_address import PostgresError, is_postgres, open_postgres, schema_of
from erp.postgres_tables import DELIVER, INCOMING, KEYS, LOCK, NEWEST, QueueTables
from erp.queue_fields import QueueFields
from erp.settings import SettingsError, Site
from erp.settings_table import read_settings

if TYPE_CHECKING:
    from psycopg import Connection

Done = TypeVar("Done")
_SETTING = "destination"
_DEFAULT_FIELDS = (
    *("rank", "pool_rank", "order_id", "customer_id", "product_id", "warehouse_id", "open_quantity"),
    *("ship_now_quantity", "action", "promise_on", "expected_on", "loss_if_waits", "currency", "reason"),
)
_VERDICTS: Mapping[str, tuple[State, str]] = {
    "new": ("accepted", "written"),
    "held": ("accepted", "it holds already"),
    "newer": ("skipped", "a newer delivery is there"),
    "changed": ("skipped", "somebody changed it there since it was read"),
}


@dataclass(frozen=True)
class PostgresSettings:
    """The settings' table `destination` of kind "postgresql"."""

    url: str  # postgresql://user@host:port/database?schema=name, without the password
    fields: object = _DEFAULT_FIELDS  # columns of the queue, or column = name in the table
    rank: Mapping[str, object] = field(default_factory=dict)  # how the rank is written: docs/erp-fields.md
    lock_seconds: float = 30.0  # to wait for whoever else writes to the table
    reconnect_seconds: float = 60.0  # to wait for a server that went away in mid-delivery

    def __post_init__(self) -> None:
        """Refuse what no delivery could use."""
        if not is_postgres(self.url):
            raise SettingsError(f"{_SETTING}.url must begin with postgresql://")
        if min(self.lock_seconds, self.reconnect_seconds) <= 0:
            raise SettingsError(f"{_SETTING}: lock_seconds and reconnect_seconds are above 0")
        QueueTables(self.schema, self.queue_fields)

    @property
    def schema(self) -> str:
        """Where the tables lie."""
        return schema_of(self.url)

    @property
    def queue_fields(self) -> QueueFields:
        """The columns sent, by their names in the table."""
        return QueueFields.from_tables(self.fields, self.rank, _SETTING)


class PostgresQueue:
    """A destination of kind "postgresql"; docs/delivery.md shows its tables."""

    batch = None
    knows_keys = True

    def __init__(self, settings: PostgresSettings, secret: str | None = None) -> None:
        self.settings = settings
        self._secret = secret
        self._fields = settings.queue_fields
        self._tables = QueueTables(settings.schema, self._fields)
        self._open: Connection[Any] | None = None

    @classmethod
    def from_table(cls, table: Mapping[str, object], site: Site) -> "PostgresQueue":
        """The destination of the settings' table, with the password of the site.

        Raises
        ------
        SettingsError
            If the settings cannot be used.
        """
        return cls(read_settings(PostgresSettings, table, _SETTING), password("destination", site))

    @property
    def name(self) -> str:
        """Kind and place."""
        return f"postgresql {shown(self.settings.url)} {self.settings.schema}"

    @property
    def date_column(self) -> str | None:
        """The date that customers go by."""
        return self._fields.date_column

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect, and make the tables where they are missing.

        Raises
        ------
        DeliveryError
            If the server cannot be reached, or the tables are not ours to write or of other types.
        """
        import psycopg

        self._connect()
        try:
            self._carried_out(self._tables.make)
        except psycopg.Error as error:
            self._close()
            raise DeliveryError(f"{self.name}: the tables cannot be made: {_said(error)}") from None
        except DeliveryError:
            self._close()
            raise
        try:
            yield
        finally:
            self._close()

    def wishes(self, rows: Iterable[Mapping[str, object]]) -> dict[str, Values]:
        """What each line shall say there."""
        return self._fields.wishes(rows, lambda: self.held([]))

    def held(self, order_line_ids: Sequence[str]) -> dict[str, Held]:
        """Every line in the queue there; its version changes with every change of its row."""
        import psycopg

        try:
            rows = self._carried_out(lambda connection: connection.execute(self._tables.now()).fetchall())
        except psycopg.Error as error:
            raise DeliveryError(f"{self.name} cannot be read: {_said(error)}") from None
        names = list(self._fields.names.values())
        return {
            line: Held(self._fields.inward(dict(zip(names, values, strict=True))), version)
            for line, version, *values in rows
        }

    def newest_sequence(self) -> int | None:
        """The largest sequence of its history."""
        import psycopg

        try:
            rows = self._carried_out(lambda connection: connection.execute(self._tables.filled(NEWEST)).fetchall())
        except psycopg.Error as error:
            raise DeliveryError(f"{self.name} cannot be read: {_said(error)}") from None
        return int(rows[0][0]) if rows[0][0] is not None else None

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """Write all items in one transaction; sent again by itself where the connection broke.

        Raises
        ------
        DeliveryError
            If the table is not ours to write: nothing was written.
        """
        import psycopg

        try:
            return self._carried_out(lambda connection: self._deliver(connection, items))
        except psycopg.ProgrammingError as error:
            raise DeliveryError(f"{self.name} cannot be written: {_said(error)}") from None
        except psycopg.Error as error:
            state: State = "absent"
            if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
                state = "refused"
            elif self._is_lost():
                state = "unknown"
            return [Outcome(item.key, state, _said(error)) for item in items]

    def ask(self, items: Sequence[Item]) -> list[Outcome]:
        """Which keys are recorded, once no delivery is under way any more."""
        import psycopg

        keys = [item.key for item in items]
        try:
            found = self._carried_out(lambda connection: self._recorded(connection, keys))
        except psycopg.Error as error:
            return [Outcome(key, "unknown", _said(error)) for key in keys]
        return [Outcome(key, "accepted" if key in found else "absent") for key in keys]

    def _recorded(self, connection: "Connection[Any]", keys: Sequence[str]) -> set[str]:
        self._lock(connection)
        return {row[0] for row in connection.execute(self._tables.filled(KEYS), [keys])}

    def _deliver(self, connection: "Connection[Any]", items: Sequence[Item]) -> list[Outcome]:
        self._lock(connection)
        connection.execute(self._tables.filled(INCOMING))
        with connection.cursor() as cursor:
            with cursor.copy("copy pg_temp.backorder_incoming from stdin") as copy:
                for item in items:
                    copy.write_row(self._row(item))
            verdicts = cursor.execute(self._tables.filled(DELIVER)).fetchall()
        return [Outcome(key, *_VERDICTS[verdict]) for key, verdict in verdicts]

    def _row(self, item: Item) -> list[object]:
        said = item.values or {}
        own = [item.key, item.order_line_id, item.sequence, item.run_id, item.values is not None, item.version]
        return [*own, *(said.get(column) for column in self._fields.names)]

    def _lock(self, connection: "Connection[Any]") -> None:
        """Wait until nobody else is at it: a delivery whose answer was lost may still be about to hold."""
        connection.execute("select set_config('lock_timeout', %s, true)", [f"{self.settings.lock_seconds * 1000:.0f}"])
        connection.execute(LOCK, [f"backorder_queue {self.settings.schema}"])

    def _carried_out(self, work: "Callable[[Connection[Any]], Done]") -> Done:
        """Do something in one transaction, and again where the connection broke: nothing here counts twice."""
        import psycopg

        until = time.monotonic() + self.settings.reconnect_seconds
        while True:
            connection = self._open or self._connect()  # anew where the server had been gone for too long
            try:
                with connection.transaction():
                    return work(connection)
            except psycopg.Error:
                if not self._is_lost() or not self._reconnected(until):
                    raise

    def _is_lost(self) -> bool:
        return self._open is None or self._open.closed

    def _reconnected(self, until: float) -> bool:
        """Whether the server came back in time."""
        self._close()
        while time.monotonic() < until:
            try:
                self._connect()
            except DeliveryError:
                time.sleep(0.2)
            else:
                return True
        return False

    def _connect(self) -> "Connection[Any]":
        try:
            connection = open_postgres(self.settings.url, self._secret)
        except PostgresError as error:
            raise DeliveryError(str(error)) from None
        connection.autocommit = True  # transactions begin and end where they are written
        self._open = connection
        return connection

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _said(error: Any) -> str:
    """The database's word, without the rows that it may repeat in its details."""
    return f"{error.diag.message_primary or type(error).__name__} ({error.sqlstate or 'no code'})"
