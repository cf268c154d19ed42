"""Runs the feature queries over the facts as of a moment; each query is one table, named by its file.

The queries read `known_*` views and one another, in the order of `QUERIES`, and nothing else.
"""

from datetime import datetime
from importlib.resources import files
from pathlib import Path

import duckdb
import pandas as pd

from erp.kept_files import read_kept, write_kept
from erp.known import Facts, show

QUERIES = (
    "told_dates",
    "cancellation_causes",
    "known_lines",
    "customers",
    "accounts",
    "suppliers",
    "products",
    "backorder_lines",
    "pool_demand",
    "alternative_goods",
    "inbound_dates",
    "left_goods",
)


def query(name: str) -> str:
    """The text of a feature query."""
    return files("features").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def build(connection: duckdb.DuckDBPyConnection, facts: Facts, moment: datetime, upto: str) -> pd.DataFrame:
    """Build the feature tables as of `moment` and return the one named `upto`.

    Parameters
    ----------
    connection : an open connection to the facts (`Facts.connect`)
    moment : not after the facts' T
    upto : a name of `QUERIES`; later ones are not built

    Returns
    -------
    The table in its own order, dates as datetime64[s], ids as str.
    """
    prepare(connection, facts, moment, upto)
    return fetch(connection, f"select * from {upto}")


def prepare(connection: duckdb.DuckDBPyConnection, facts: Facts, moment: datetime, upto: str) -> None:
    """Build the feature tables as of `moment` inside the connection, up to the one named."""
    show(connection, facts, moment)
    for name in QUERIES[: QUERIES.index(upto) + 1]:
        if name not in _NOT_NEEDED_BY.get(upto, ()):
            connection.execute(f"create or replace temp table {name} as {query(name)}")


# Queries that a later table does not read: building them again at every cut-off would be time lost.
_NOT_NEEDED_BY = {
    "accounts": ("customers",),
    "backorder_lines": ("accounts",),
    "alternative_goods": ("accounts",),
    "inbound_dates": QUERIES[:-2],
    "left_goods": QUERIES[:-1],
}


def fetch(connection: duckdb.DuckDBPyConnection, statement: str) -> pd.DataFrame:
    """A query's rows with the types that all frames here share: dates as datetime64[s], text as str."""
    result = connection.execute(statement)
    dates = [column[0] for column in result.description or () if str(column[1]) == "DATE"]
    texts = [column[0] for column in result.description or () if str(column[1]) == "VARCHAR"]
    frame = result.df()
    return frame.astype(dict.fromkeys(dates, "datetime64[s]") | dict.fromkeys(texts, "str"))


def count_causes(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Cancellations known at the moment shown: cause, is_cause_unknown, unmapped_reason, n; the most frequent first."""
    connection.execute(f"create or replace temp table cancellation_causes as {query('cancellation_causes')}")
    return fetch(
        connection,
        """select cause, is_cause_unknown, unmapped_reason, count(*) as n from cancellation_causes
           group by all order by n desc, cause, is_cause_unknown, unmapped_reason""",
    )


NOW = ("lines", "accounts", "inbound_dates", "pools", "alternative_goods", "overrides", "kept_share")


def write_features_now(folder: Path, facts: Facts) -> None:
    """Write the tables that a morning's decision reads, as of the facts' T; `read_features` reads them back.

    `lines` (one row per open back-ordered line), `accounts`, `inbound_dates`, `pools` (goods and new demand per
    product and warehouse of those lines), `alternative_goods` (goods of other pools that could serve them), `overrides`
    (the planner's words that hold), `kept_share` (one row: share of shipped units kept).
    """
    with facts.connect() as connection:
        lines = build(connection, facts, facts.as_of, "backorder_lines")
        for name in ("accounts", "inbound_dates", "pool_demand", "alternative_goods"):
            connection.execute(f"create or replace temp table {name} as {query(name)}")
        rows = {
            "accounts": "select * from accounts",
            "inbound_dates": "select * from inbound_dates",
            "pools": _POOLS,
            "alternative_goods": "select * from alternative_goods",
            "overrides": "select * from known_overrides order by all",
            "kept_share": _KEPT_SHARE,
        }
        frames = {"lines": lines} | {name: fetch(connection, statement) for name, statement in rows.items()}
    for name in NOW:
        write_kept(folder / name, frames[name])


def read_features(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that `write_features_now` wrote, by name."""
    return {name: read_kept(folder / f"{name}.parquet") for name in NOW}


_POOLS = """
select p.product_id, p.warehouse_id, p.available_now, coalesce(d.units_per_day, 0.0) as units_per_day,
       coalesce(d.units_per_line, 1.0) as units_per_line
from known_pools p
left join pool_demand d on d.product_id = p.product_id and d.warehouse_id = p.warehouse_id
where (p.product_id, p.warehouse_id) in (select product_id, warehouse_id from backorder_lines)
order by p.product_id, p.warehouse_id
"""
_KEPT_SHARE = """
select 1 - coalesce(sum(returned_quantity), 0.0) / nullif(sum(shipped_quantity), 0.0) as kept_share from known_lines
where shipped_quantity > 0
"""
