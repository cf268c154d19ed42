"""Runs the feature queries over the facts as of a moment; each query is one table, named by its file.

The queries read `known_*` views and one another, in the order of `QUERIES`, and nothing else.
"""

from datetime import datetime
from importlib.resources import files

import duckdb
import pandas as pd

from erp.known import Facts, show

QUERIES = ("known_lines", "customers", "accounts", "suppliers", "products", "backorder_lines", "inbound_dates")


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
    show(connection, facts, moment)
    needed = QUERIES[: QUERIES.index(upto) + 1]
    for name in needed:
        if name in _NOT_NEEDED_BY.get(upto, ()):
            continue
        connection.execute(f"create or replace temp table {name} as {query(name)}")
    return fetch(connection, f"select * from {upto}")


# Queries that a later table does not read: building them again at every cut-off would be time lost.
_NOT_NEEDED_BY = {
    "accounts": ("customers",),
    "backorder_lines": ("accounts",),
    "inbound_dates": ("known_lines", "customers", "accounts", "suppliers", "products", "backorder_lines"),
}


def fetch(connection: duckdb.DuckDBPyConnection, statement: str) -> pd.DataFrame:
    """A query's rows with the types that all frames here share: dates as datetime64[s], text as str."""
    result = connection.execute(statement)
    dates = [column[0] for column in result.description or () if str(column[1]) == "DATE"]
    texts = [column[0] for column in result.description or () if str(column[1]) == "VARCHAR"]
    frame = result.df()
    return frame.astype(dict.fromkeys(dates, "datetime64[s]") | dict.fromkeys(texts, "str"))


def features_now(facts: Facts) -> dict[str, pd.DataFrame]:
    """The tables that a morning's decision reads, as of the facts' T: lines, accounts, inbound dates, pools.

    Returns
    -------
    `lines` (one row per open back-ordered line), `accounts`, `inbound_dates`, `pools` (goods per product and warehouse
    of those lines), `overrides`, `kept_share` (one row: the share of shipped units that is not returned).
    """
    with facts.connect() as connection:
        lines = build(connection, facts, facts.as_of, "backorder_lines")
        connection.execute(f"create or replace temp table accounts as {query('accounts')}")
        connection.execute(f"create or replace temp table inbound_dates as {query('inbound_dates')}")
        return {
            "lines": lines,
            "accounts": fetch(connection, "select * from accounts"),
            "inbound_dates": fetch(connection, "select * from inbound_dates"),
            "pools": fetch(connection, _POOLS),
            "overrides": fetch(connection, "select * from known_overrides order by all"),
            "kept_share": fetch(connection, _KEPT_SHARE),
        }


_POOLS = """
select product_id, warehouse_id, on_hand, available_now, snapshot_at from known_pools
where (product_id, warehouse_id) in (select product_id, warehouse_id from backorder_lines)
order by product_id, warehouse_id
"""
# Half a unit is added as returned to one hundred kept, so that one early return does not decide.
_KEPT_SHARE = """
select 1 - coalesce(sum(returned_quantity), 0.0) / nullif(sum(shipped_quantity), 0.0) as kept_share from known_lines
where shipped_quantity > 0
"""
