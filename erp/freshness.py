"""Whether the extract is fresh and whole: a table that lags or lost rows would make shipped goods look open."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from erp.contract import TABLES, ContractError
from erp.settings import Site, utc_moment

# If one of these lags the run stops; others are only said.
MUST_BE_FRESH = ("shipments", "cancellations", "stock")

# What stands today and nothing else: picked goods and words that ran out leave these tables every day.
MAY_SHRINK = ("reservations", "overrides")

DayCounts = Mapping[str, Mapping[str, int]]


def read_extract(path: Path) -> dict[str, dict[str, datetime]]:
    """Read `extract.json`: per table, from when and until when it is complete; empty without the file.

    The tables stand under "tables" or beside `taken_at`.

    Raises
    ------
    ContractError
        If the file is no JSON or a time in it is none.
    """
    if not path.exists():
        return {}
    try:
        extract: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tables = extract.get("tables", extract)
        taken = {"complete_to": extract["taken_at"]} if "taken_at" in extract else {}
        said = {name: taken | tables[name] for name in TABLES if isinstance(tables.get(name), dict)}
        return {
            name: {key: utc_moment(text) for key, text in times.items() if text is not None}
            for name, times in said.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise ContractError(
            f"extract.json cannot be read: {error}; it holds taken_at and, per table, covers_from and complete_to"
        ) from error


def lagging(
    connection: duckdb.DuckDBPyConnection, site: Site, as_of: datetime, extract: Mapping[str, Mapping[str, datetime]]
) -> tuple[list[str], list[str]]:
    """Tables that trail: (what stops the run, what is only said)."""
    stops: list[str] = []
    notes: list[str] = []
    newest_order = _newest(connection, "order_lines")
    if newest_order is None:
        return [], []
    if as_of - newest_order > timedelta(days=7):
        notes.append(
            f"the newest order line is from {newest_order:%Y-%m-%d}, {(as_of - newest_order).days} days before T"
        )
    for name in ("shipments", "cancellations", "stock", "receipts"):
        word = _lag_of(connection, site, as_of, name, newest_order, extract.get(name, {}).get("complete_to"))
        if word:
            (stops if name in MUST_BE_FRESH else notes).append(word)
    return stops, notes


def _lag_of(
    connection: duckdb.DuckDBPyConnection,
    site: Site,
    as_of: datetime,
    name: str,
    newest_order: datetime,
    complete_to: datetime | None,
) -> str | None:
    if complete_to is not None:
        trails = (as_of - complete_to).total_seconds() / 3600
        return (
            None
            if trails <= site.max_lag_hours
            else (
                f"{name} is complete only to {complete_to:%Y-%m-%d %H:%M} (extract.json), {trails:.0f} hours before T,"
                f" more than max_lag_hours = {site.max_lag_hours:g};"
                " extract it again: what shipped since would look open"
            )
        )
    newest = _newest(connection, name)
    if newest is None:
        return _empty_shipments(connection, as_of, site) if name == "shipments" else None
    allowed = site.max_lag_hours + _usual_gap_hours(connection, name)
    trails = (newest_order - newest).total_seconds() / 3600
    if trails <= allowed:
        return None
    return (
        f"the newest row of {name} is from {newest:%Y-%m-%d %H:%M}, {trails:.0f} hours before the newest order line;"
        f" {allowed:.0f} are usual (max_lag_hours {site.max_lag_hours:g} + its own longest gap);"
        " extract it again: what happened since would look undone"
    )


def _empty_shipments(connection: duckdb.DuckDBPyConnection, as_of: datetime, site: Site) -> str | None:
    """Without any shipment every line not cancelled looks open; that is believed only if extract.json says so."""
    row = connection.execute(
        f"""select count(*), min(ordered_at) from lawful_order_lines where not is_deleted
            and ordered_at < timestamp '{as_of.isoformat(sep=" ")}' - interval 1 hour * {site.max_lag_hours}
            and order_line_id not in (select order_line_id from lawful_cancellations)"""
    ).fetchall()[0]
    if not row[0]:
        return None
    return (
        f"shipments is empty while {row[0]} order lines since {row[1]:%Y-%m-%d} are neither shipped nor cancelled;"
        " extract it again, or say in extract.json up to when it is complete"
    )


def _newest(connection: duckdb.DuckDBPyConnection, name: str) -> datetime | None:
    """When the table's newest fact happened; a day counts with its end, as the contract knows it."""
    time = f"case when is_day_only then known_at else {TABLES[name].own_time} end"
    return connection.execute(f"select max({time}) from lawful_{name}").fetchall()[0][0]  # type: ignore[no-any-return]


def _usual_gap_hours(connection: duckdb.DuckDBPyConnection, name: str) -> float:
    """The table's own longest usual gap in hours: all but 1 % of the time lies in gaps no longer than it.

    Each gap counts with its length: with 200 shipments a day, Monday to Friday from 8 to 16 h, one gap in a thousand is
    a weekend's 64 hours, but a weekend is where 38 % of all moments fall.
    """
    time = TABLES[name].own_time
    gap = connection.execute(
        f"""with times as (select distinct {time} as moment from lawful_{name}),
            gaps as (select date_diff('microsecond', lag(moment) over (order by moment), moment) / 3.6e9 as hours
                     from times),
            shares as (select hours, sum(hours) over (order by hours) / sum(hours) over () as share_of_time
                       from gaps where hours is not null)
            select min(hours) from shares where share_of_time >= 0.99"""
    ).fetchall()[0][0]
    return float(gap or 0.0)


def day_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Rows known per table and day of becoming known; of stock, pools by the day of their newest count.

    An extract that holds the latest counts only replaces yesterday's rows, but not what they were counts of.
    """
    counts = {}
    for name in TABLES:
        known = f"seen_{name}"
        if name == "stock":
            known = "(select max(known_at) as known_at from seen_stock group by product_id, warehouse_id)"
        rows = connection.execute(
            f"select cast(cast(known_at as date) as varchar), count(*) from {known} where known_at is not null"
            " group by 1 order by 1"
        ).fetchall()
        counts[name] = dict(rows)
    return counts


def lost_rows(
    now: DayCounts,
    last: DayCounts,
    last_as_of: datetime,
    as_of: datetime,
    site: Site,
    extract: Mapping[str, Mapping[str, datetime]],
) -> list[str]:
    """Tables that lost more than the tolerated share since the last run.

    Both runs are counted up to the earlier as_of's day, and from the day after `covers_from` where the extract gives
    one. A pool's newest count may be of today, so its day says only whether the last run's pool must still be there:
    100 pools in the last run and 79 now, of whichever day, are 21 lost.
    """
    until = min(as_of, last_as_of).date().isoformat()
    words = []
    for name, days in last.items():
        if name in MAY_SHRINK:
            continue
        start = extract.get(name, {}).get("covers_from")
        since = "" if start is None else start.date().isoformat()
        is_stock = name == "stock"
        is_last_earlier = last_as_of <= as_of
        before = sum(n for day, n in days.items() if since < day and (day < until or (is_stock and is_last_earlier)))
        left = sum(n for day, n in now.get(name, {}).items() if since < day and (day < until or is_stock))
        if before and 1 - left / before > site.tolerated_loss_share:
            what = "products and warehouses counted" if is_stock else "rows"
            words.append(
                f"{name} lost {before - left} of the {before} {what} that it had before {until} in the last run"
                f" ({1 - left / before:.0%}, tolerated {site.tolerated_loss_share:.0%}); extract it again"
            )
    return words
