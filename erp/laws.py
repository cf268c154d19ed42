"""The contract's laws, judged on the facts known at T: what is broken, what is set aside, when a run must stop.

Reads `staged_NAME` (see `erp.source`) and leaves `lawful_NAME`: the distinct rows known at T that break no law, with
`known_at`, `happened_at` (a day counts with its end), the day `X_on` of every time `X_at`, `is_day_only` (the fact's
own time holds only midnights, so laws compare days), `is_recorded_by_day` (so does its `recorded_at`), `version` (1 =
the first of its key) and `superseded_at` (when the next version became known).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pandas as pd
import pandera.errors
import pandera.pandas as pa

from erp.contract import OPTIONAL_PARENTS, TABLES, Table
from erp.moments import ALWAYS, IN_EXTRACT, day_name, holds_only_days, moment, time_sql
from erp.settings import Site

# Tables whose rows are known to what names them also while they are set aside.
_LINES = ("order_lines", "purchase_orders")


@dataclass
class TableFinding:
    """What was found in one table, in rows known at T."""

    n_rows: int  # distinct rows
    n_identical: int  # further copies of those rows
    n_set_aside: int
    columns: set[str]
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def share_set_aside(self) -> float:
        """Share of the table's rows that break a law."""
        return self.n_set_aside / self.n_rows if self.n_rows else 0.0


@dataclass
class Findings:
    """What `backorder check` reports: per table, per broken rule, and what stops the run."""

    as_of: datetime
    tables: dict[str, TableFinding] = field(default_factory=dict)
    rejected: pd.DataFrame = field(default_factory=pd.DataFrame)
    not_ranked: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    causes: pd.DataFrame = field(default_factory=pd.DataFrame)  # of cancellations, counted by `features`


def judge(connection: duckdb.DuckDBPyConnection, site: Site, as_of: datetime, present: dict[str, set[str]]) -> Findings:
    """Judge every table and set broken rows aside, parents before children."""
    findings = Findings(as_of)
    connection.execute("create table set_aside_lines (order_line_id varchar, why varchar)")
    connection.execute("create table set_aside_inbound (po_line_id varchar)")
    for table in _parents_first():
        n_staged = _see(connection, table, site, as_of, present[table.name])
        _judge_cells(connection, table)
        _judge_keys(connection, table)
        _judge_parents(connection, table, present)
        _judge_times(connection, table)
        if table.name == "overrides":
            _judge_overrides(connection)
        findings.tables[table.name] = _close(connection, table, n_staged, present[table.name])
    findings.rejected = _rejected(connection)
    findings.not_ranked = _not_ranked(connection)
    findings.stops += _beyond_tolerance(findings, site)
    return findings


def _parents_first() -> list[Table]:
    first = ["suppliers", "customers", "products", "order_lines", "purchase_orders"]
    return [TABLES[name] for name in first] + [table for name, table in TABLES.items() if name not in first]


# --- what is known at T ----------------------------------------------------------------------------------------------


def _see(connection: duckdb.DuckDBPyConnection, table: Table, site: Site, as_of: datetime, columns: set[str]) -> int:
    """Create `seen_NAME`: the distinct rows known at T. Returns the number of rows before copies were collapsed."""
    times = [column for column in table.columns if table.kind(column) == "time" and column in columns]
    zone = site.timezone.replace("'", "''")
    recorded_by_day, is_local = holds_only_days(connection, table, "recorded_at", as_of, "true", zone)
    recorded = time_sql("recorded_at", recorded_by_day, is_local, zone)
    visible = f"(recorded_at is null or {recorded.known} <= {moment(as_of)})"
    days, own_known, own_starts, is_day_only = [], ALWAYS, ALWAYS, False
    for column in times:
        day_only, is_local = holds_only_days(connection, table, column, as_of, visible, zone)
        time = time_sql(column, day_only, is_local, zone)
        days.append(f"{time.day} as {day_name(column)}")
        if column == table.own_time:
            own_known, own_starts, is_day_only = time.known, column, day_only
    # A fact recorded before it happened is known when it happens.
    known = f"case when recorded_at is not null then greatest({recorded.known}, {own_starts}) else {own_known} end"
    cells = ", ".join(_cell(table, column, site) for column in table.columns)
    missing_days = [
        f"cast(null as date) as {day_name(c)}" for c in table.columns if table.kind(c) == "time" and c not in columns
    ]
    connection.execute(
        f"""create table seen_{table.name} as
            with read as (select file_name, file_row, {cells} from staged_{table.name})
            select *, {known} as known_at, {own_known} as happened_at, {", ".join([*days, *missing_days])},
                   {str(is_day_only).lower()} as is_day_only, {str(recorded_by_day).lower()} as is_recorded_by_day
            from read where {known} <= {moment(as_of)} or {known} is null"""
    )
    return _collapse_copies(connection, table)


def _collapse_copies(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """Keep the first of identical rows of `seen_NAME`; returns the number of rows before."""
    name, content = f"seen_{table.name}", ", ".join(table.columns)
    n_rows, n_different = connection.execute(
        f"select count(*), count(distinct hash({content})) from {name}"
    ).fetchall()[0]
    if n_different < n_rows:
        connection.execute(
            f"""create or replace table {name} as
                select place.file_name, place.file_row, * exclude (place)
                from (select min(struct_pack(file_name := file_name, file_row := file_row)) as place,
                             * exclude (file_name, file_row) from {name} group by all)"""
        )
    return int(n_rows)


def _cell(table: Table, column: str, site: Site) -> str:
    if column == "warehouse_id" and table.name != "reservations":  # goods held lie where their line's goods lie
        warehouse = site.default_warehouse.replace("'", "''")
        return f"coalesce(warehouse_id, '{warehouse}') as warehouse_id"
    return f"coalesce({column}, false) as is_deleted" if column == "is_deleted" else f'"{column}"'


def _key_columns(table: Table) -> list[str]:
    """What names a row through its versions; an event without `event_id` is named by its whole content."""
    return [c for c in table.columns if c not in {"recorded_at", "is_deleted"}] if table.is_event else list(table.key)


def _row_key(table: Table) -> str:
    """SQL of a text that names a row through its versions."""
    parts = ", ".join(f"coalesce(cast({c} as varchar), chr(30))" for c in _key_columns(table))
    named = f"concat_ws(chr(31), {parts})"
    return f"coalesce('event ' || event_id, {named})" if table.is_event else named


# --- the laws --------------------------------------------------------------------------------------------------------


def _judge_cells(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Null and range laws of the declared schema; cells that could not be read count only in rows known at T."""
    connection.execute(
        f"""delete from breaches b where table_name = '{table.name}' and not exists (
              select 1 from seen_{table.name} s where s.file_name = b.file_name and s.file_row = b.file_row)"""
    )
    judged = {name: column for name, column in table.schema.columns.items() if not column.nullable or column.checks}
    cells = ", ".join(f'"{name}"' for name in judged)
    frame = connection.execute(
        f"""select rowid as seen_row, {cells} from seen_{table.name}
            where not is_deleted and ({_suspicious(table, judged)}) order by rowid"""
    ).df()
    broken = _failures(pa.DataFrameSchema(judged), frame.drop(columns="seen_row")) if len(frame) else frame
    if broken.empty:
        return
    broken["seen_row"] = frame["seen_row"].to_numpy()[broken["index"].astype(int)]
    broken["check"] = broken["check"].replace("not_nullable", "is present")
    broken["failure_case"] = broken["failure_case"].astype(str)
    connection.register("broken", broken[["seen_row", "column", "check", "failure_case"]])
    # An unreadable cell is empty after reading: one rule per cell, the one that says why.
    connection.execute(
        f"""insert into breaches
            select '{table.name}', s.file_name, s.file_row, n."column", n."check", n.failure_case
            from broken n join seen_{table.name} s on s.rowid = n.seen_row where not exists (
              select 1 from breaches b where b.table_name = '{table.name}' and b.file_name = s.file_name
              and b.file_row = s.file_row and b.column_name = n."column")"""
    )
    connection.unregister("broken")


def _suspicious(table: Table, judged: Mapping[str, pa.Column]) -> str:
    """SQL that holds for every row the schema could refuse, so that only those travel to it."""
    empty = [f'"{name}" is null' for name, column in judged.items() if not column.nullable]
    low = [f'"{name}" <= 0' for name in judged if table.kind(name) in {"amount", "count"}]
    words = [f'"{name}" is not null' for name, column in judged.items() if column.checks and table.kind(name) == "text"]
    return " or ".join([*empty, *low, *words])


def _failures(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per broken cell: index, column, check, failure_case."""
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return pd.DataFrame(errors.failure_cases)
    return pd.DataFrame()


def _judge_keys(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """One key with different content and no `recorded_at` to tell the versions apart is a breach, of every such row."""
    key = f"hash({', '.join(_key_columns(table))}, recorded_at)"
    if table.is_event:
        key = f"case when event_id is null then {key} else hash(event_id, recorded_at) end"
    if _one(connection, f"select count(*) - count(distinct {key}) from seen_{table.name}") == 0:
        return  # the usual case, told without writing out a key per row
    connection.execute(
        f"""insert into breaches
            select '{table.name}', file_name, file_row, '{" + ".join(table.key)}', 'key is unique',
                   replace(row_key, chr(31), ' ')
            from (select file_name, file_row, recorded_at, {_row_key(table)} as row_key from seen_{table.name})
            qualify count(*) over (partition by row_key, recorded_at) > 1"""
    )


def _judge_parents(connection: duckdb.DuckDBPyConnection, table: Table, present: dict[str, set[str]]) -> None:
    for column, parent in table.parents.items():
        if not present[parent]:
            continue  # without the optional table what depends on it is dark, not broken
        name = TABLES[parent].key[0]
        if table.own_time is None and (table.name, column) not in OPTIONAL_PARENTS:
            # Without a time of its own a row is known once what it is about is known.
            connection.execute(
                f"""delete from seen_{table.name} where recorded_at is null
                    and {column} in (select {name} from staged_{parent})
                    and {column} not in (select {name} from seen_{parent} where {name} is not null)"""
            )
        # What happens to a line set aside is lawful: its goods have moved all the same.
        rows = f"seen_{parent}" if parent in {table.name, *_LINES} else f"lawful_{parent}"
        orphan = f"{column} is not null and {column} not in (select {name} from {rows} where {name} is not null)"
        if table.name == "overrides":
            orphan += f" and {IN_EXTRACT}"
        connection.execute(
            f"""insert into breaches select '{table.name}', file_name, file_row, '{column}',
                       'references exist', {column} from seen_{table.name} where {orphan}"""
        )
        if (table.name, column) in OPTIONAL_PARENTS:
            connection.execute(f"update seen_{table.name} set {column} = null where {orphan}")


def _judge_times(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Nothing ships, is cancelled or is received before it was ordered; days are compared where one side is a day."""
    if table.not_before is None:
        return
    own, parent_time = table.not_before
    link, parent = next(iter(table.parents.items()))
    connection.execute(
        f"""insert into breaches
            with ordered as (select {link}, min({parent_time}) as moment, min({day_name(parent_time)}) as day,
                                    bool_or(is_day_only) as is_day_only from lawful_{parent} group by {link})
            select '{table.name}', s.file_name, s.file_row, '{own}', '{own} is not before {parent_time}',
                   cast(s.{own} as varchar)
            from seen_{table.name} s join ordered o using ({link})
            where case when s.is_day_only or o.is_day_only then s.{day_name(own)} < o.day
                       else s.{own} < o.moment end"""
    )


def _judge_overrides(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """insert into breaches
           select 'overrides', file_name, file_row, 'order_line_id',
                  'names exactly one of line, order, customer, product',
                  concat_ws(' ', order_line_id, order_id, customer_id, product_id)
           from seen_overrides where not is_deleted and
                 cast(order_line_id is not null as int) + cast(order_id is not null as int)
               + cast(customer_id is not null as int) + cast(product_id is not null as int) <> 1
           union all
           select 'overrides', file_name, file_row, 'order_id', 'references exist', order_id
           from seen_overrides where not is_deleted and order_id is not null and """
        + IN_EXTRACT
        + " and order_id not in (select order_id from seen_order_lines where order_id is not null)"
    )


def _close(connection: duckdb.DuckDBPyConnection, table: Table, n_staged: int, columns: set[str]) -> TableFinding:
    """Create `lawful_NAME` and note whole lines that lost an event."""
    name = table.name
    emptied = " and ".join(f"b.column_name <> '{c}'" for t, c in sorted(OPTIONAL_PARENTS) if t == name) or "true"
    is_broken = f"""exists (select 1 from breaches b where b.table_name = '{name}' and {emptied}
                            and b.file_name = s.file_name and b.file_row = s.file_row)"""
    n_rows = int(_one(connection, f"select count(*) from seen_{name}"))
    n_set_aside = int(_one(connection, f"select count(*) from seen_{name} s where {is_broken}"))
    versions = only = "1 as version, cast(null as timestamp) as superseded_at"
    if _one(connection, f"select bool_or(recorded_at is not null or is_deleted) from seen_{name}"):
        order = f"(partition by {_row_key(table)} order by known_at, recorded_at nulls first)"
        versions = f"row_number() over {order} as version, lead(known_at) over {order} as superseded_at"
    kept = f"where not {is_broken}" if n_set_aside else ""
    # Usually all rows are lawful and unversioned: then the table need not be written a second time.
    kind = "view" if not kept and versions == only else "table"
    connection.execute(f"create {kind} lawful_{name} as select *, {versions} from seen_{name} s {kept}")
    if n_set_aside and (table.is_event or name == "order_lines"):
        link, target, why = "order_line_id", "set_aside_lines", f", 'a row of {name} breaks a law'"
        if name == "receipts":
            link, target, why = "po_line_id", "set_aside_inbound", ""
        # A broken row that was corrected or taken back since breaks no law any more.
        newest = "" if versions == only else f"qualify lead(known_at) over {order} is null"
        connection.execute(
            f"insert into {target} select distinct {link}{why} from (select * from seen_{name} {newest}) s"
            f" where {link} is not null and {is_broken}"
        )
    ends = f"select min({table.own_time}), max({table.own_time}) from lawful_{name}"
    oldest, newest = connection.execute(ends).fetchall()[0] if table.own_time else (None, None)
    return TableFinding(n_rows, n_staged - n_rows, n_set_aside, columns, oldest, newest)


def _rejected(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    return connection.execute(
        """select table_name as "table", file_name as file, file_row as "row", column_name as "column", rule, value
           from breaches order by all"""
    ).df()


def _not_ranked(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    return connection.execute(
        """select order_line_id, string_agg(distinct why, '; ' order by why) as reason
           from set_aside_lines where order_line_id in (select order_line_id from seen_order_lines)
           group by order_line_id order by order_line_id"""
    ).df()


def _beyond_tolerance(findings: Findings, site: Site) -> list[str]:
    stops = []
    for name, found in findings.tables.items():
        if found.share_set_aside <= site.tolerated_share:
            continue
        broken = findings.rejected[findings.rejected["table"] == name]
        rules = broken.groupby(["column", "rule"]).agg(n=("value", "size"), e=("value", "first")).reset_index()
        words = "; ".join(f"{r.column}: {r.rule} fails {r.n} times, e.g. {r.e!r}" for r in rules.itertuples())
        stops.append(
            f"{name}: {found.n_set_aside} of {found.n_rows} rows break a law ({words});"
            " correct the extract, or raise tolerated_share to set such rows aside"
        )
    return stops


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]
