"""When a time of the contract is known: a column that holds only midnights is a day, known at its end.

SQL over the tables `staged_NAME` of `erp.source`.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from erp.contract import Table
from erp.source import WORDS_LABEL

# A word in the store was checked when it was said; what it names may leave the extract since, and the list says so.
IN_EXTRACT, IN_STORE = f"file_name <> '{WORDS_LABEL}'", f"file_name = '{WORDS_LABEL}'"
# Facts without a time of their own count as known from the start.
ALWAYS = "timestamp '1900-01-01'"


@dataclass(frozen=True)
class TimeSql:
    """SQL of a time."""

    known: str  # when a fact with this time is known
    day: str  # its day in the site's timezone


def time_sql(column: str, day_only: bool, is_local: bool, zone: str) -> TimeSql:
    """SQL of a time; a word in the store has a moment even where all others of the column are days."""
    is_utc = zone == "UTC"
    local_day = (
        f"cast({column} as date)" if is_utc else f"cast(timezone('{zone}', {column} at time zone 'UTC') as date)"
    )
    if not day_only:
        return TimeSql(column, local_day)
    day = local_day if is_local else f"cast({column} as date)"
    # A day-only fact is known at the end of its day: 00:00 of the next one in the site's timezone.
    known = f"timezone('{zone}', cast({day} + 1 as timestamp)) at time zone 'UTC'"
    return TimeSql(
        f"case when {IN_STORE} then {column} else {known} end",
        f"case when {IN_STORE} then {local_day} else {day} end",
    )


def holds_only_days(
    connection: duckdb.DuckDBPyConnection, table: Table, column: str, as_of: datetime, visible: str, zone: str
) -> tuple[bool, bool]:
    """Whether the column holds only midnights before T, and whether they are the site's rather than UTC's."""
    utc, local, n = connection.execute(
        f"""select bool_and(date_trunc('day', {column}) = {column}),
                   bool_and(date_trunc('day', timezone('{zone}', {column} at time zone 'UTC'))
                            = timezone('{zone}', {column} at time zone 'UTC')), count({column})
            from staged_{table.name}
            where {column} < {moment(as_of)} and {visible} and {IN_EXTRACT}"""
    ).fetchall()[0]
    return bool(n and (utc or local)), bool(n and local and not utc)


def day_name(column: str) -> str:
    """Name of the day of a time.

    >>> day_name("ordered_at")
    'ordered_on'
    """
    return column.removesuffix("_at") + "_on"


def moment(as_of: datetime) -> str:
    """A moment in SQL.

    >>> moment(datetime(2026, 3, 2, 5))
    "timestamp '2026-03-02 05:00:00'"
    """
    return f"timestamp '{as_of.isoformat(sep=' ')}'"
