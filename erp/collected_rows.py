"""What an extract tells anew of one table, beside what was told before: rows new, changed and vanished, as SQL.

Cells are compared as text: by what the contract reads in them, or, where it cannot read them, by what stands there. A
row belongs to a key and to the `recorded_at` that the source itself gives, if any; rows of one key and one such time
are one group, usually one row, and a group is told anew if its set of contents is another than it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from erp.contract import SQL_TYPES, Table
from erp.moments import holds_only_days, moment, time_sql

# Counts are only ever added, and what was told or offered was: that such a row is no longer listed says nothing.
NEVER_VANISH = frozenset({"stock", "promises", "offers"})
# Columns of a collected file beside the contract's, which no reader of the tables looks at.
MARKS = ("told_recorded_at", "collected_at", "is_vanished")


@dataclass(frozen=True)
class Look:
    """One collection's look at a table.

    Parameters
    ----------
    columns : of the contract that the extract has
    files : what was collected of the table before
    before : when it was collected last; None: never, this is the first extract
    covers_from : from when on the extract is complete; None: from the beginning
    """

    table: Table
    columns: frozenset[str]
    files: Sequence[Path]
    as_of: datetime
    before: datetime | None
    covers_from: datetime | None
    timezone: str


@dataclass(frozen=True)
class Difference:
    """What came of a look, in keys: told by the extract, standing before and covered by it, new, changed, vanished."""

    told: int
    standing: int
    new: int
    changed: int
    vanished: int
    lost: int  # vanished, less what came back under another key: events without event_id are named by all their cells

    @property
    def is_news(self) -> bool:
        """Whether there is anything to keep."""
        return self.new + self.changed + self.vanished > 0


def key_sql(table: Table) -> str:
    """SQL of a text that names a row through its versions; an event without `event_id` is named by all its cells."""
    whole = [column for column in table.columns if column not in {"recorded_at", "is_deleted"}]
    parts = ", ".join(f"coalesce({column}, chr(30))" for column in (whole if table.is_event else table.key))
    named = f"concat_ws(chr(31), {parts})"
    return f"coalesce('event ' || event_id, {named})" if table.is_event else named


def load(connection: duckdb.DuckDBPyConnection, look: Look) -> None:
    """Create `told_NAME`, the extract's rows, and `held_NAME`, what stands of what was collected before, as text."""
    _load_held(connection, look)
    _load_told(connection, look)


def _load_told(connection: duckdb.DuckDBPyConnection, look: Look) -> None:
    """From `staged_NAME` of `erp.source`. A column that the extract lacks keeps what was told of it last."""
    table, name = look.table, look.table.name
    joins, cells, unreadable = "", [], _unreadable(connection, name)
    for place, column in enumerate(table.columns):
        read = "coalesce(s.is_deleted, false)" if column == "is_deleted" else f"s.{column}"
        cell = f"cast({read} as varchar)"
        if column in unreadable:
            joins += (
                f" left join breaches b{place} on b{place}.table_name = '{name}' and b{place}.column_name = '{column}'"
                f" and b{place}.file_name = s.file_name and b{place}.file_row = s.file_row"
            )
            cell = f"coalesce({cell}, b{place}.value)"
        cells.append(f"{cell} as {column}")
    own, recorded = _own_time(connection, look), _known(connection, look, "recorded_at", "recorded_at")
    connection.execute(
        f"""create table told_{name} as select distinct *, {key_sql(table)} as row_key from (
              select {", ".join(cells)}, own_known_at, told_recorded_at
              from (select *, {own} as own_known_at, {recorded} as told_recorded_at from staged_{name}) s {joins})"""
    )
    missing = [c for c in table.columns if c not in {*look.columns, *table.key, "recorded_at", "is_deleted"}]
    for column in missing if "event_id" in look.columns or not table.is_event else []:
        connection.execute(
            f"""update told_{name} t set {column} = h.{column}
                from (select row_key, arg_max({column}, place) as {column} from held_{name} group by row_key) h
                where h.row_key = t.row_key and h.{column} is not null"""
        )


def _unreadable(connection: duckdb.DuckDBPyConnection, name: str) -> set[str]:
    """Columns with a cell that cannot be read in its kind."""
    query = "select distinct column_name from breaches where table_name = $table"
    return {column for (column,) in connection.execute(query, {"table": name}).fetchall()}


def _own_time(connection: duckdb.DuckDBPyConnection, look: Look, cell: str = "{}") -> str:
    """SQL of when a row is known by its own time; null for tables without one."""
    own = look.table.own_time
    return _known(connection, look, own, cell.format(own)) if own else "cast(null as timestamp)"


def _known(connection: duckdb.DuckDBPyConnection, look: Look, column: str, cell: str) -> str:
    """SQL of when a row with this time in a cell is known: a day at its end, as `erp.laws` has it."""
    zone = look.timezone.replace("'", "''")
    by_day, is_local = holds_only_days(connection, look.table, column, look.as_of, "true", zone)
    return time_sql(cell, by_day, is_local, zone).known


def _load_held(connection: duckdb.DuckDBPyConnection, look: Look) -> None:
    """Create `held_NAME`, the newest telling of every group whose key has not vanished since, and `last_NAME`.

    `place` orders the groups of a key. `last_NAME` says from when the last telling of each key counts, also of those
    that vanished: what is told next counts from later, or it would never hold.
    """
    table, name = look.table, look.table.name
    if not look.files:
        texts = ", ".join(f"cast(null as varchar) as {column}" for column in (*table.columns, "row_key"))
        connection.execute(
            f"create table held_{name} as select {texts}, cast(null as timestamp) as told_recorded_at,"
            " cast(null as timestamp) as counted_at, cast(null as timestamp) as own_known_at, 0 as place limit 0"
        )
        connection.execute(
            f"create table last_{name} as select row_key, counted_at as last_counted_at from held_{name}"
        )
        return
    there = _columns_of(connection, look.files)
    cells = ", ".join(f"cast({c if c in there else 'null'} as varchar) as {c}" for c in table.columns)
    connection.execute(
        f"""create table read_{name} as
            select * exclude (file_name), {key_sql(table)} as row_key,
                   {_own_time(connection, look, "try_cast({} as timestamp)")} as own_known_at
            from (select {cells}, {", ".join(MARKS)}, try_cast(recorded_at as timestamp) as counted_at, '' as file_name
                  from read_parquet($files, union_by_name = true))""",
        {"files": [str(path) for path in look.files]},
    )
    # Of a day that a source recorded itself, the end; of the first extract's rows without one, their own time.
    connection.execute(
        f"""create table last_{name} as
            select row_key, max(greatest(coalesce(counted_at, own_known_at), told_recorded_at)) as last_counted_at
            from read_{name} group by row_key"""
    )
    connection.execute(
        f"""create table held_{name} as
            with newest as (
                select *, max(collected_at) filter (is_vanished) over (partition by row_key) as gone_at,
                       max(collected_at) filter (not is_vanished)
                           over (partition by row_key, told_recorded_at) as newest_told_at
                from read_{name}
            )
            select * exclude (collected_at, is_vanished, gone_at, newest_told_at),
                   row_number() over (partition by row_key order by told_recorded_at nulls first, collected_at) as place
            from newest
            where not is_vanished and collected_at = newest_told_at
              and (gone_at is null or gone_at < newest_told_at)"""
    )
    connection.execute(f"drop table read_{name}")


def _columns_of(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> set[str]:
    query = "describe select * from read_parquet($files, union_by_name = true)"
    return {row[0] for row in connection.execute(query, {"files": [str(path) for path in files]}).fetchall()}


def compare(connection: duckdb.DuckDBPyConnection, look: Look) -> Difference:
    """Create `kept_NAME`: the rows to keep of this look, and when each counts from; needs `load` of its parents too."""
    name = look.table.name
    _select_fresh(connection, look)
    if look.before is not None and name not in NEVER_VANISH:
        _add_vanished(connection, look)
    known_before = f"own_known_at <= {moment(look.before)}" if look.before else "false"
    told, standing, new, changed, vanished, came_back = connection.execute(
        f"""select (select count(distinct row_key) from told_{name}),
                   (select count(distinct row_key) from held_{name} h where {_is_covered(look)}),
                   count(distinct row_key) filter (not is_vanished and not was_there),
                   count(distinct row_key) filter (not is_vanished and was_there),
                   count(distinct row_key) filter (is_vanished),
                   count(distinct row_key) filter (not is_vanished and not was_there and {known_before})
            from kept_{name}"""
    ).fetchall()[0]
    is_named_by_all = look.table.is_event and "event_id" not in look.columns
    lost = max(0, vanished - came_back) if is_named_by_all else vanished
    return Difference(told, standing, new, changed, vanished, lost)


def _select_fresh(connection: duckdb.DuckDBPyConnection, look: Look) -> None:
    """Rows of groups told anew.

    The first extract's rows count from when it says they were recorded, if it does. Later on, what a source says to
    have recorded since the last extract counts from then; what it says to have recorded earlier was not told then, so
    it counts from now on, if it is the newest of its key.
    """
    name, counts, is_kept = look.table.name, "t.told_recorded_at", "true"
    if look.before is not None:
        since = f"t.told_recorded_at > {moment(look.before)}"
        now = f"greatest({_from_now(look)}, last_counted_at + interval 1 microsecond)"
        counts, is_kept = f"case when {since} then t.told_recorded_at else {now} end", f"({since} or is_newest)"
    connection.execute(
        f"""create table kept_{name} as
            with told_groups as ({_groups(look.table, "told")}),
            held_groups as ({_groups(look.table, "held")}),
            fresh as (
                select t.row_key, t.told_recorded_at from told_groups t
                left join held_groups h on h.row_key = t.row_key and h.n = t.n and h.content = t.content
                     and h.told_recorded_at is not distinct from t.told_recorded_at
                where h.row_key is null
            ),
            there as (select distinct row_key from held_{name}),
            told as (
                select *, told_recorded_at is not distinct from max(told_recorded_at) over (partition by row_key)
                          as is_newest
                from told_{name}
            )
            select t.* exclude (is_newest), h.row_key is not null as was_there, {counts} as counts_from,
                   false as is_vanished
            from told t
            join fresh f on f.row_key = t.row_key and f.told_recorded_at is not distinct from t.told_recorded_at
            left join there h on h.row_key = t.row_key
            left join last_{name} l on l.row_key = t.row_key
            where {is_kept}"""
    )


def _groups(table: Table, which: str) -> str:
    content = ", ".join(column for column in table.columns if column != "recorded_at")
    return (
        f"select row_key, told_recorded_at, count(*) as n, bit_xor(hash({content})) as content"
        f" from {which}_{table.name} group by row_key, told_recorded_at"
    )


def _from_now(look: Look) -> str:
    """SQL of when a row told now counts from: this collection, or the end of its own day where that is not over.

    A little before that end, later collections less so: two tellings of one day stay in their order.
    """
    now = moment(look.as_of)
    left = f"date_diff('second', {now}, own_known_at)"
    return f"case when own_known_at > {now} then own_known_at - to_microseconds(1 + {left}) else {now} end"


def _add_vanished(connection: duckdb.DuckDBPyConnection, look: Look) -> None:
    """Rows whose key is no longer told, as they last were; what happened to a parent that left with it stays."""
    name = look.table.name
    left_with_parent = "false"
    if look.table.is_event:
        link, parent = next(iter(look.table.parents.items()))
        left_with_parent = f"h.{link} not in (select {link} from told_{parent} where {link} is not null)"
    connection.execute(
        f"""insert into kept_{name} by name
            select h.* exclude (counted_at, place) replace ('true' as is_deleted),
                   greatest({_from_now(look)}, l.last_counted_at + interval 1 microsecond) as counts_from,
                   true as was_there, true as is_vanished
            from held_{name} h join last_{name} l on l.row_key = h.row_key
            where h.row_key not in (select row_key from told_{name}) and coalesce(h.is_deleted, 'false') <> 'true'
              and {_is_covered(look)} and not {left_with_parent}
            qualify row_number() over (partition by h.row_key order by h.place desc) = 1"""
    )


def _is_covered(look: Look) -> str:
    """SQL of whether the extract would list a row that stands: of facts older than `covers_from` it need not."""
    if look.covers_from is None or look.table.own_time is None:
        return "true"
    return f"try_cast(h.{look.table.own_time} as timestamp) >= {moment(look.covers_from)}"


def write_kept(connection: duckdb.DuckDBPyConnection, look: Look, target: Path) -> None:
    """Write `kept_NAME` as Parquet, sorted, each column in its kind unless a cell cannot be read in it."""
    table, name = look.table, look.table.name
    zone = look.timezone.replace("'", "''")
    # A midnight would read as a day, known at its end; a microsecond earlier it is a moment whatever stands beside it.
    is_midnight = " or ".join(
        f"{local} = date_trunc('day', {local})"
        for local in ("counts_from", f"timezone('{zone}', counts_from at time zone 'UTC')")
    )
    counts = f"case when {is_midnight} then counts_from - interval 1 microsecond else counts_from end"
    cells = []
    for column in table.columns:
        if column == "recorded_at":
            unread = "not is_vanished and told_recorded_at is null and recorded_at is not null"
            cell = f"case when {unread} then recorded_at else cast({counts} as varchar) end"
        else:
            cell = column
        kind = SQL_TYPES[table.kind(column)]
        unreadable = f"select count({cell}) > count(try_cast({cell} as {kind})) from kept_{name}"
        is_text = connection.execute(unreadable).fetchall()[0][0]
        cells.append(f"{cell if is_text else f'cast({cell} as {kind})'} as {column}")
    marks = f"told_recorded_at, {moment(look.as_of)} as collected_at, is_vanished"
    file = str(target).replace("'", "''")
    connection.execute(
        f"""copy (select {", ".join(cells)}, {marks} from kept_{name} order by all)
            to '{file}' (format parquet, compression zstd)"""
    )


def forget(connection: duckdb.DuckDBPyConnection, name: str, is_needed: bool) -> None:
    """Drop what `load` and `compare` made of a table, but not the rows told of one that others still look at."""
    for made in ("held", "last", "kept") if is_needed else ("told", "held", "last", "kept"):
        connection.execute(f"drop table if exists {made}_{name}")
