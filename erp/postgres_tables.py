"""The tables of a queue in PostgreSQL: made where they are missing, checked where they are there.

backorder_queue has one row per line, also of those that left the queue; backorder_queue_history one per line and
delivery; the view backorder_queue_current shows the lines in the queue now. Names come from here or were checked.
"""

from typing import TYPE_CHECKING, Any, LiteralString

from erp.destination import DeliveryError
from erp.postgres_address import PLAIN_NAME
from erp.queue_fields import ALLOWED, QueueFields
from erp.settings import SettingsError

if TYPE_CHECKING:
    from psycopg import Connection, sql

_TYPES = {"whole": "bigint", "number": "double precision", "text": "text", "day": "date"}
_OWN = ("order_line_id", "run_id", "sequence", "key", "in_queue", "delivered_at")

_QUEUE: LiteralString = """
create table {schema}.backorder_queue (
    order_line_id text primary key, run_id text not null, sequence bigint not null, key text not null,
    in_queue boolean not null, delivered_at timestamptz not null
);
comment on table {schema}.backorder_queue is
    'One row per order line that was ever in the queue: what its newest delivery says.';
"""
_HISTORY: LiteralString = """
create table {schema}.backorder_queue_history (
    key text primary key, order_line_id text not null, run_id text not null, sequence bigint not null,
    in_queue boolean not null, delivered_at timestamptz not null
);
create index on {schema}.backorder_queue_history (order_line_id, sequence);
comment on table {schema}.backorder_queue_history is
    'One row per order line and delivery that changed it: what it said from delivered_at on.';
"""
_VIEW: LiteralString = (
    "create or replace view {schema}.backorder_queue_current as"
    " select {columns} from {schema}.backorder_queue where in_queue"
)
_ADD: LiteralString = "alter table {schema}.{table} add column {column} {type}"
_COLUMNS = """
select column_name, data_type from information_schema.columns
where table_schema = %s and table_name = %s order by ordinal_position
"""
_NOW: LiteralString = "select order_line_id, xmin::text, {fields} from {schema}.backorder_queue where in_queue"
LOCK: LiteralString = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"
KEYS: LiteralString = "select key from {schema}.backorder_queue_history where key = any(%s)"
NEWEST: LiteralString = "select max(sequence) from {schema}.backorder_queue_history"
INCOMING: LiteralString = """
create temporary table backorder_incoming (
    key text, order_line_id text, sequence bigint, run_id text, in_queue boolean, version text, {typed}
) on commit drop
"""
DELIVER: LiteralString = """
with judged as (
    select i.*, case
        when h.key is not null then 'held'
        when q.sequence > i.sequence then 'newer'
        when case when q.in_queue then q.xmin::text end is distinct from i.version then 'changed'
        else 'new' end as verdict
    from pg_temp.backorder_incoming i
    left join {schema}.backorder_queue_history h on h.key = i.key
    left join {schema}.backorder_queue q on q.order_line_id = i.order_line_id
), noted as (
    insert into {schema}.backorder_queue_history
        (key, order_line_id, run_id, sequence, in_queue, delivered_at, {fields})
    select key, order_line_id, run_id, sequence, in_queue, now(), {fields} from judged where verdict = 'new'
), kept as (
    insert into {schema}.backorder_queue (key, order_line_id, run_id, sequence, in_queue, delivered_at, {fields})
    select key, order_line_id, run_id, sequence, in_queue, now(), {fields} from judged where verdict = 'new'
    on conflict (order_line_id) do update set
        key = excluded.key, run_id = excluded.run_id, sequence = excluded.sequence, in_queue = excluded.in_queue,
        delivered_at = excluded.delivered_at, {updates}
)
select key, verdict from judged
"""


class QueueTables:
    """The statements of one schema and one choice of fields."""

    def __init__(self, schema: str, fields: QueueFields) -> None:
        self.schema, self.fields = schema, fields
        for name in (schema, *fields.names.values()):
            if not PLAIN_NAME.fullmatch(name) or name in _OWN:
                raise SettingsError(
                    f"destination: {name!r} cannot name a schema or a column; take small letters, digits and _,"
                    f" and none of {', '.join(_OWN)}"
                )

    def make(self, connection: "Connection[Any]") -> None:
        """Make whatever is missing; what is there stays as it is.

        Raises
        ------
        DeliveryError
            If a column has another type than the settings say, or would go stale.
        """
        connection.execute(LOCK, [f"backorder_queue {self.schema}"])
        if not connection.execute("select 1 from pg_namespace where nspname = %s", [self.schema]).fetchone():
            connection.execute(self.filled("create schema {schema}"))
        for table, statement in (("backorder_queue", _QUEUE), ("backorder_queue_history", _HISTORY)):
            there = self._columns(connection, table)
            if not there:
                connection.execute(self.filled(statement))
            self._add_fields(connection, table, there)
        self._show(connection)

    def filled(self, statement: LiteralString, **more: "sql.Composable") -> "sql.Composed":
        """A statement with its names filled in."""
        from psycopg import sql

        names = [sql.Identifier(name) for name in self.fields.names.values()]
        known: dict[str, sql.Composable] = {
            "schema": sql.Identifier(self.schema),
            "fields": sql.SQL(", ").join(names),
            "updates": sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in names),
            "typed": sql.SQL(", ").join(
                sql.SQL("{} {}").format(name, sql.SQL(_type(self.fields, column)))
                for name, column in zip(names, self.fields.names, strict=True)
            ),
        }
        used = {key: value for key, value in (known | more).items() if "{" + key + "}" in statement}
        return sql.SQL(statement).format(**used)

    def now(self) -> "sql.Composed":
        """The query of line, version and fields of every line in the queue."""
        return self.filled(_NOW)

    def _columns(self, connection: "Connection[Any]", table: str) -> dict[str, str]:
        return dict(connection.execute(_COLUMNS, [self.schema, table]).fetchall())

    def _add_fields(self, connection: "Connection[Any]", table: str, there: dict[str, str]) -> None:
        from psycopg import sql

        names = self.fields.names
        if stale := sorted(set(there) & set(ALLOWED) - set(names.values())):
            raise DeliveryError(
                f"{self.schema}.{table} has the columns {', '.join(stale)}, which `fields` no longer names: they would"
                " go stale; drop them there (drop column ... cascade; the view is made anew) or name them again"
            )
        for column, name in names.items():
            wanted = _type(self.fields, column)
            if name not in there:
                given = {"table": sql.Identifier(table), "column": sql.Identifier(name), "type": sql.SQL(wanted)}
                connection.execute(self.filled(_ADD, **given))
            elif there[name] != wanted:
                raise DeliveryError(
                    f"{self.schema}.{table}.{name} is {there[name]}, but the settings make it {wanted}; drop the column"
                    " there (drop column ... cascade; the view is made anew) or change the encoding of the rank"
                )

    def _show(self, connection: "Connection[Any]") -> None:
        """Make the view where columns are missing from it; those that it shows keep their places."""
        from psycopg import sql

        shown = list(self._columns(connection, "backorder_queue_current"))
        wanted = ["order_line_id", *self.fields.names.values(), "run_id", "sequence", "delivered_at"]
        if missing := [name for name in wanted if name not in shown]:
            columns = sql.SQL(", ").join(sql.Identifier(name) for name in [*shown, *missing])
            connection.execute(self.filled(_VIEW, columns=columns))


def _type(fields: QueueFields, column: str) -> LiteralString:
    return _TYPES[fields.kind(column)]
