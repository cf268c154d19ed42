"""The facts known at T: read, judged by the contract's laws, kept with their versions, shown as of any earlier moment.

`gather` writes one Parquet file per table into a folder: every version known at T, sorted, so that equal facts give
equal bytes however the rows were ordered or split. `Facts.connect` opens them, and `show` makes the `known_*` views as
of a moment; features read nothing else and so cannot see what came later.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from erp.contract import SWITCHES_OFF, TABLES, ContractError
from erp.engine import engine
from erp.fingerprint import fingerprint
from erp.freshness import DayCounts, day_counts, lagging, lost_rows, read_extract
from erp.laws import Findings, judge
from erp.settings import Site
from erp.source import open_source, stage


@dataclass(frozen=True)
class LastRun:
    """What the newest published run saw, to notice a table that lost rows."""

    as_of: datetime
    counts: DayCounts


@dataclass(frozen=True)
class Facts:
    """Everything known at `as_of`: a folder that `gather` filled."""

    folder: Path
    as_of: datetime
    site: Site

    @property
    def fingerprint(self) -> str:
        """Sha256 of what the tables say; independent of row order, file splits and copies."""
        return fingerprint(self.folder / "tables")

    @property
    def rejected(self) -> pd.DataFrame:
        """Cells that break a law: table, file, row, column, rule, value."""
        return pd.read_parquet(self.folder / "rejected.parquet")

    @property
    def not_ranked(self) -> pd.DataFrame:
        """Order lines set aside whole: order_line_id, reason."""
        return pd.read_parquet(self.folder / "not_ranked.parquet")

    @property
    def day_counts(self) -> dict[str, dict[str, int]]:
        """Rows known per table and day, for the next run to compare with."""
        counts: dict[str, dict[str, int]] = json.loads((self.folder / "day_counts.json").read_text(encoding="utf-8"))
        return counts

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The facts as tables `history_*` of an in-memory database, shown as of T."""
        with engine(self.site) as connection:
            for path in sorted((self.folder / "tables").glob("*.parquet")):
                connection.execute(
                    f"create table history_{path.stem} as select * from read_parquet($file)", {"file": str(path)}
                )
            _create_views(connection, self.site, self.as_of)
            yield connection


def check(site: Site, as_of: datetime, last: LastRun | None = None) -> Findings:
    """What the tables hold as of T, in law and out of it, without keeping anything."""
    with checked(site, as_of, last) as (findings, _):
        return findings


@contextmanager
def checked(
    site: Site, as_of: datetime, last: LastRun | None = None
) -> Iterator[tuple[Findings, duckdb.DuckDBPyConnection]]:
    """What `check` says, and while it lasts a connection to the lawful facts, shown as of T."""
    with engine(site) as connection:
        findings = _judged(connection, site, as_of, last)[0]
        _create_views(connection, site, as_of)
        yield findings, connection


def gather(folder: Path, site: Site, as_of: datetime, last: LastRun | None = None) -> None:
    """Write the facts known at T into `folder`: `tables/NAME.parquet`, and beside them what was found and set aside.

    Raises
    ------
    ContractError
        If a table is missing, lags, lost rows, or breaks laws beyond the tolerated share; every reason is named.
    """
    with engine(site) as connection:
        findings, counts = _judged(connection, site, as_of, last)
        if findings.stops:
            raise ContractError("\n".join(findings.stops))
        tables = folder / "tables"
        tables.mkdir()
        for (name,) in connection.execute(
            "select table_name from information_schema.tables where table_name like 'history_%' order by 1"
        ).fetchall():
            target = str(tables / f"{name.removeprefix('history_')}.parquet").replace("'", "''")
            connection.execute(f"copy (select * from {name} order by all) to '{target}' (format parquet)")
    findings.rejected.to_parquet(folder / "rejected.parquet")
    findings.not_ranked.to_parquet(folder / "not_ranked.parquet")
    (folder / "day_counts.json").write_text(json.dumps(counts, sort_keys=True), encoding="utf-8")


def _judged(
    connection: duckdb.DuckDBPyConnection, site: Site, as_of: datetime, last: LastRun | None
) -> tuple[Findings, DayCounts]:
    source = open_source(site, as_of)
    present = stage(connection, source)
    findings = judge(connection, site, as_of, present)
    counts = day_counts(connection)
    too_early = _before_the_first_fact(connection, as_of)
    for name in TABLES:
        connection.execute(f"drop table staged_{name}")  # memory: read and judged
    for statement in _statements("history.sql"):
        connection.execute(statement.replace("$assumed_margin_share", repr(site.assumed_margin_share)))
    extract = read_extract(source.extract)
    stops, notes = lagging(connection, site, as_of, extract)
    findings.stops = too_early + findings.stops + stops
    findings.notes += notes + _switched_off(connection, present) + _old_stock(connection, site, as_of)
    findings.notes += _over_shipped(connection)
    if last is not None:
        findings.stops += lost_rows(counts, last.counts, last.as_of, as_of, site, extract)
    return findings, counts


def _before_the_first_fact(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> list[str]:
    known, first = connection.execute(
        "select (select count(*) from seen_order_lines), (select min(ordered_at) from staged_order_lines)"
    ).fetchall()[0]
    if known or first is None:
        return []
    return [f"no order line is known at {as_of} (the first was ordered at {first}); choose a later --as-of"]


def _switched_off(connection: duckdb.DuckDBPyConnection, present: Mapping[str, set[str]]) -> list[str]:
    notes = []
    for name, loss in SWITCHES_OFF.items():
        table, _, column = name.partition(".")
        what = column or next(iter(TABLES[table].schema.columns))
        seen = connection.execute(f"select count({what}) from lawful_{table}").fetchall()[0][0]
        if not seen:
            word = (
                "is missing"
                if (column or table) not in (present[table] | {table}) or not present[table]
                else "is empty"
            )
            notes.append(f"{name} {word}: {loss}")
    for table in ("order_lines", "shipments", "cancellations", "stock"):
        if present[table] and not connection.execute(f"select count(*) from lawful_{table}").fetchall()[0][0]:
            notes.append(f"{table} holds no row known at T")
    return notes


def _old_stock(connection: duckdb.DuckDBPyConnection, site: Site, as_of: datetime) -> list[str]:
    n, oldest = connection.execute(
        f"""select count(*), min(newest) from (
              select max(snapshot_at) as newest from lawful_stock group by product_id, warehouse_id)
            where newest < timestamp '{as_of.isoformat(sep=" ")}' - interval {site.max_stock_age_days} day"""
    ).fetchall()[0]
    if not n:
        return []
    return [
        f"the stock of {n} products and warehouses was counted more than {site.max_stock_age_days} days ago,"
        f" oldest {oldest}"
    ]


def _over_shipped(connection: duckdb.DuckDBPyConnection) -> list[str]:
    n, example = connection.execute(
        """with shipped as (select order_line_id, sum(quantity) as quantity from history_shipments
                           where superseded_at is null and not is_deleted group by order_line_id),
                cancelled as (select order_line_id, sum(quantity) as quantity from history_cancellations
                              where superseded_at is null and not is_deleted group by order_line_id)
           select count(*), min(order_line_id)
           from history_order_lines l join shipped s using (order_line_id) left join cancelled c using (order_line_id)
           where l.superseded_at is null
             and s.quantity - (l.quantity - coalesce(c.quantity, 0.0)) > 1e-9 * l.quantity"""
    ).fetchall()[0]
    if not n:
        return []
    return [
        f"{n} order lines were shipped beyond what was ordered and not cancelled, e.g. {example}; they count as done"
    ]


def show(connection: duckdb.DuckDBPyConnection, facts: Facts, moment: datetime) -> None:
    """Let the `known_*` views tell what was known at `moment`, which is not after the facts' own T."""
    if moment > facts.as_of:
        raise ValueError(f"the facts end at {facts.as_of}; they cannot be shown as of {moment}")
    _set_moment(connection, facts.site, moment, is_now=moment == facts.as_of)


def _set_moment(connection: duckdb.DuckDBPyConnection, site: Site, moment: datetime, is_now: bool) -> None:
    today = local_day(moment, site)
    values = {
        "as_of": f"timestamp '{moment.isoformat(sep=' ')}'",
        "today": f"date '{today}'",
        "last_due_on": f"date '{last_due_day(today, site)}'",
        "is_now": str(is_now).lower(),
    }
    # Variables instead of new views: at hundreds of past mornings making views would be a tenth of the time.
    for name, value in values.items():
        connection.execute(f"set variable {name} = {value}")


def _create_views(connection: duckdb.DuckDBPyConnection, site: Site, as_of: datetime) -> None:
    """Create the `known_*` views over the `history_*` tables, as of T."""
    _set_moment(connection, site, as_of, is_now=True)
    reasons = [f"({_text(reason)}, {_text(cause)})" for reason, cause in sorted(site.cancel_reasons.items())]
    values = {f"${name}": f"getvariable('{name}')" for name in ("as_of", "today", "last_due_on", "is_now")} | {
        "$reorder_days": str(site.reorder_days),
        "$cancel_reasons": ", ".join(["(cast(null as varchar), cast(null as varchar))", *reasons]),
    }
    for statement in _statements("known.sql"):
        for name, value in values.items():
            statement = statement.replace(name, value)
        connection.execute(statement)


def _text(value: str) -> str:
    """A text in SQL.

    >>> _text("customer's")
    "'customer''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def _statements(name: str) -> list[str]:
    text = files("erp").joinpath(name).read_text(encoding="utf-8")
    return [statement for statement in text.split(";\n") if statement.strip()]


def local_day(moment: datetime, site: Site) -> date:
    """The day of a UTC moment in the site's timezone.

    >>> local_day(datetime(2024, 6, 30, 23), Site(timezone="Europe/Berlin"))
    datetime.date(2024, 7, 1)
    """
    return moment.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(site.timezone)).date()


def last_due_day(today: date, site: Site) -> date:
    """The latest due day whose lines are back orders today: due day + handling working days lies before today.

    >>> last_due_day(date(2024, 7, 1), Site(handling_days=2))  # a Monday: due on Wednesday, two more end on Friday
    datetime.date(2024, 6, 26)
    """
    day = today - timedelta(days=1)
    while _plus_working_days(day, site) >= today:
        day -= timedelta(days=1)
    return day


def _plus_working_days(day: date, site: Site) -> date:
    left = site.handling_days
    while left:
        day += timedelta(days=1)
        left -= day.weekday() in site.working_days and day not in site.holidays
    return day
