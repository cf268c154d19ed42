"""A small simulated company for the jobs' tests: its tables, a morning, and helpers that run a job in a folder."""

import shutil
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from erp.settings import Site
from erp.simulator import CompanyShape, close, simulate, step, write_tables

# Little safety stock and few products: some 90 lines wait, and in half of the pools there are goods to give out.
SHAPE = CompanyShape(n_customers=200, n_products=8, n_days=300, safety_days=-8, median_gap_days=20.0, seed=1)
TINY = CompanyShape(n_customers=60, n_products=5, n_days=150, safety_days=-8, median_gap_days=15.0, seed=2)
T = datetime(2024, 10, 27, 5)
TINY_T = datetime(2024, 5, 30, 5)
LATER = TINY_T + timedelta(days=1)
WEEK = timedelta(days=7)
FILES = ("queue.parquet", "queue.csv", "queue.xlsx", "exceptions.csv", "inbound.csv", "manifest.json")

# What names a time after which nothing of a table's row was known; tables without one are always known.
OWN_TIMES = {
    "customers": "created_at",
    "order_lines": "ordered_at",
    "shipments": "shipped_at",
    "cancellations": "cancelled_at",
    "stock": "snapshot_at",
    "purchase_orders": "ordered_at",
    "receipts": "received_at",
    "promises": "told_at",
    "returns": "returned_at",
    "offers": "offered_at",
    "promotions": "announced_at",
    "overrides": "made_at",
}
Tables = dict[str, pd.DataFrame]


@cache
def _company_tables(days_on: int) -> Tables:
    company = simulate(SHAPE)
    for _ in range(days_on):
        step(company)
    return close(company)


def company_tables(days_on: int = 0) -> Tables:
    """The company's tables as of T, or as many days later."""
    return {name: frame.copy() for name, frame in _company_tables(days_on).items()}


@cache
def _tiny_tables(days_on: int) -> Tables:
    company = simulate(TINY)
    for _ in range(days_on):
        step(company)
    return close(company)


def tiny_tables(days_on: int = 0) -> Tables:
    """A tenth of that, as of TINY_T or as many days later: where only whether the job copes with them matters."""
    return {name: frame.copy() for name, frame in _tiny_tables(days_on).items()}


def site_of(folder: Path, tables: Tables | None = None, **settings: object) -> Site:
    """A site below `folder`, its data written there if tables are given."""
    if tables is not None:
        write_tables(tables, folder / "data")
    return Site(data=str(folder / "data"), store=str(folder / "store"), out=str(folder / "out"), **settings)


def copied_site(site: Site, folder: Path) -> Site:
    """A copy of the site's data and store below `folder`."""
    shutil.copytree(site.data, folder / "data")
    shutil.copytree(site.store, folder / "store")
    return site_of(folder)


def published_bytes(site: Site) -> dict[str, bytes]:
    """What stands in the published files."""
    return {name: (Path(site.out) / name).read_bytes() for name in FILES}


def different_files(one: Site, other: Site) -> list[str]:
    """Published files that differ by a byte; named, since a diff of workbooks says nothing."""
    first, second = published_bytes(one), published_bytes(other)
    return [name for name in FILES if first[name] != second[name]]


def queue_of(site: Site) -> pd.DataFrame:
    """The published queue."""
    return pd.read_parquet(Path(site.out) / "queue.parquet")


def with_planners_work(tables: Tables) -> Tables:
    """The company's tables with what its simulator does not know: overrides, holds, reservations, groups, odd names."""
    lines, waiting = tables["order_lines"], waiting_lines(tables)
    ids = waiting["order_line_id"].tolist()
    lines["ship_group"] = pd.Series([None] * len(lines), dtype="str")
    lines.loc[lines["order_line_id"].isin(ids[6:8]), "ship_group"] = "together"
    lines.loc[lines["order_line_id"] == ids[9], "customer_reference"] = '=HYPERLINK("x"), "y"'
    lines.loc[lines["order_line_id"] == ids[10], "customer_reference"] = "+49 170"
    named = waiting["customer_id"].dropna().drop_duplicates().tolist()
    customers = tables["customers"]
    customers.loc[customers["customer_id"] == named[0], "name"] = 'Müller; "Söhne",\nBonn'
    customers["credit_hold"] = customers["customer_id"].isin(named[1:3])
    customers["parent_id"] = pd.Series(np.where(customers["customer_id"] == named[3], named[4], None), dtype="str")
    products = tables["products"]
    busiest = waiting["product_id"].value_counts(sort=False).sort_index().sort_values(kind="stable").index
    products.loc[products["product_id"] == busiest[1], "discontinued_on"] = pd.Timestamp("2024-10-01")
    tables["overrides"] = _overrides(ids, named, waiting)
    tables["reservations"] = pd.DataFrame(
        {"order_line_id": ids[20:23], "quantity": [1.0, 1.0, 2.0], "is_firm": [True, False, False]}
    )
    return tables


def _overrides(ids: list[str], named: list[str], waiting: pd.DataFrame) -> pd.DataFrame:
    order = waiting.loc[waiting["order_line_id"] == ids[30], "order_id"].iloc[0]
    words = [
        {"order_line_id": ids[0], "action": "pin", "until_on": "2024-10-31"},
        {"order_line_id": ids[1], "action": "hold", "until_on": "2024-10-27"},
        {"order_line_id": ids[2], "action": "exclude", "until_on": "2024-12-31"},
        {"order_line_id": ids[3], "action": "pin", "until_on": "2024-10-26"},  # expired
        {"order_line_id": ids[40], "action": "pin", "until_on": "2024-12-31", "quantity": 1.0},
        {"customer_id": named[5], "action": "hold", "until_on": "2024-12-31"},
        {"order_id": order, "action": "pin", "until_on": "2024-12-31"},
    ]
    empty = {"order_line_id": None, "order_id": None, "customer_id": None, "product_id": None, "quantity": np.nan}
    said = {"who": "Ada", "why": "agreed with the customer", "made_at": pd.Timestamp("2024-10-20 09:30")}
    frame = pd.DataFrame([empty | said | word for word in words])
    texts = ["order_line_id", "order_id", "customer_id", "product_id"]
    return frame.astype(dict.fromkeys(texts, "str")).assign(until_on=pd.to_datetime(frame["until_on"]))


def waiting_lines(tables: Tables, moment: datetime = T) -> pd.DataFrame:
    """Open back-ordered lines by the contract's words, computed apart from the project: sorted by order_line_id.

    For tables without versions, in UTC, without handling days. Adds open_quantity, due_on, and days as `*_on`.
    """
    lines = known(tables["order_lines"], "ordered_at", moment)
    lines = lines.assign(due_on=lines.get("requested_on", pd.Series(pd.NaT, index=lines.index)))
    lines["due_on"] = pd.to_datetime(lines["due_on"]).fillna(pd.to_datetime(lines["ordered_at"]).dt.normalize())
    if "split_from_id" in lines:
        root = lines.set_index("order_line_id")["due_on"]
        lines["due_on"] = lines["split_from_id"].map(root).fillna(lines["due_on"])
    gone = pd.concat(
        [known(tables[name], OWN_TIMES[name], moment) for name in ("shipments", "cancellations")]
        + [firm_reservations(tables)]
    )
    taken = gone.groupby("order_line_id")["quantity"].sum()
    left = lines["quantity"] - lines["order_line_id"].map(taken.to_dict()).astype(float).fillna(0.0)
    lines = lines.assign(open_quantity=left.clip(lower=0.0))
    waits = (lines["open_quantity"] > 0) & (lines["due_on"] < pd.Timestamp(moment).normalize())
    return lines[waits].sort_values("order_line_id", ignore_index=True)


def firm_reservations(tables: Tables) -> pd.DataFrame:
    """Rows of reservations for goods picked or packed."""
    held = tables.get("reservations", pd.DataFrame({"order_line_id": [], "quantity": [], "is_firm": []}))
    return held[held["is_firm"].astype(bool)]


def known(frame: pd.DataFrame, time: str, moment: datetime) -> pd.DataFrame:
    """Rows whose time lies at or before the moment; a column of midnights alone is days, known at their end."""
    at = pd.to_datetime(frame[time])
    past = at[at < pd.Timestamp(moment)]
    is_day_only = len(past) > 0 and bool((past == past.dt.normalize()).all())
    return frame[(at.dt.normalize() + pd.Timedelta(days=1) if is_day_only else at) <= pd.Timestamp(moment)]


def goods_at(tables: Tables, moment: datetime = T) -> pd.Series:
    """Available units per product in the one warehouse: newest count + receipts - shipments since - reserved - firm."""
    stock = known(tables["stock"], "snapshot_at", moment).sort_values("snapshot_at", kind="stable")
    newest = stock.drop_duplicates("product_id", keep="last").set_index("product_id")
    of_line = tables["order_lines"].set_index("order_line_id")["product_id"]
    inbound = tables["purchase_orders"].drop_duplicates("po_line_id").set_index("po_line_id")["product_id"]
    goods = newest["on_hand"].astype(float) - newest.get("reserved", pd.Series(0.0, newest.index)).fillna(0.0)
    for name, link, products, sign in (
        ("shipments", "order_line_id", of_line, -1),
        ("receipts", "po_line_id", inbound, 1),
    ):
        moves = known(tables[name], OWN_TIMES[name], moment)
        moves = moves.assign(product_id=moves[link].map(products), at=pd.to_datetime(moves[OWN_TIMES[name]]))
        counted = pd.to_datetime(moves["product_id"].map(newest["snapshot_at"].to_dict()))
        days_only = bool((moves["at"] == moves["at"].dt.normalize()).all())
        since = moves["at"] > (counted.dt.normalize() if days_only else counted)
        goods = goods.add(sign * moves[since].groupby("product_id")["quantity"].sum(), fill_value=0.0)
    firm = firm_reservations(tables)
    goods = goods.sub(firm.groupby(firm["order_line_id"].map(of_line))["quantity"].sum(), fill_value=0.0)
    return goods[goods.index.isin(newest.index)].clip(lower=0.0)  # what was never counted is not there
