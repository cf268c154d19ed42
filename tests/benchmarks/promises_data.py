"""Inbound lines of real and simulated companies: what was known of them on a day, and when their goods came.

On a day of judging every line that still owes goods is foreseen: how many days until the next of them come, given
that they have not come yet. Known on a day is what was ordered, told and received before it. Days are counted from the
day of judging; what comes on it counts as one day, as in the queue, whose morning does not know its own day.

    scms       USAID's supply chain for HIV medicines: 10,324 lines with order, scheduled and delivery day, 2006-2015;
               5,404 of them sent from its regional stocks ("From RDC"), the rest by 72 vendors. A lane is a country and
               a mode of shipment. Lines of one order with one scheduled day come together: they are one receipt.
    simulated  `erp.simulator`: suppliers who stop for 30 to 60 days, late and hopeful dates, deliveries in parts

SCMS tells one date a line; whether it was moved before the extract was taken is not on record, and 61 % of the lines
came on it to the day (87 % of the vendors'). The extract holds delivered lines only: on its last days what was still
open is missing, so that no line is judged within a year of its end. The day on which head office recorded a delivery
(2.9 days later on average) is not used: the receiving site knows at the end of the day of delivery. A line whose order
day is not recorded counts as ordered by its usual lead time before the scheduled day, and is learned from, not judged.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from erp.online_retail import Tables, write
from erp.simulated_tables import tables_of
from erp.simulator import Company, CompanyShape, simulate

SCMS = Path(os.environ.get("SCMS_DELIVERIES", "../shared/data/scms_deliveries"))
# Median days from sending the order to the scheduled day: orders to vendors, requests to the regional stocks.
USUAL_LEAD_DAYS = {"bought": 92, "transfer": 161}
LINE = (
    "po_line_id", "receipt_id", "supplier_id", "product_id", "category", "country", "mode", "kind", "ordered_on",
    "quantity", "value", "is_judged",
)  # fmt: skip


@dataclass(frozen=True)
class Book:
    """Inbound lines of one company.

    Parameters
    ----------
    lines : one row per inbound line: `LINE`; is_judged is False where the day of ordering is assumed
    told : one row per date told: po_line_id, told_on, expected_on; the first is told when the line is ordered
    receipts : one row per received quantity: po_line_id, received_on, quantity
    stops : one row per spell in which a supplier delivered nothing: supplier_id, starts_on, ends_on; None if not known
    """

    name: str
    lines: pd.DataFrame
    told: pd.DataFrame
    receipts: pd.DataFrame
    stops: pd.DataFrame | None = None


def known_on(book: Book, day: pd.Timestamp) -> Book:
    """The book as it stood at the start of `day`.

    >>> on = pd.to_datetime(["2024-01-01", "2024-01-05"])
    >>> told = pd.DataFrame({"po_line_id": ["a", "a"], "told_on": on, "expected_on": on})
    >>> came = pd.DataFrame({"po_line_id": ["a"], "received_on": on[1:], "quantity": [1.0]})
    >>> known = known_on(Book("one", pd.DataFrame({"po_line_id": ["a"], "ordered_on": on[:1]}), told, came), on[1])
    >>> len(known.lines), len(known.told), len(known.receipts)
    (1, 1, 0)
    """
    lines, told, receipts = book.lines, book.told, book.receipts
    return Book(
        book.name,
        lines[lines["ordered_on"] < day].reset_index(drop=True),
        told[told["told_on"] < day].reset_index(drop=True),
        receipts[receipts["received_on"] < day].reset_index(drop=True),
    )


def open_on(known: Book, day: pd.Timestamp) -> pd.DataFrame:
    """One row per line that owes goods on `day`, by id: `LINE`, day, and what was told and received before it.

    Further columns: expected_on (the latest told), first_expected_on, told_on (of the latest), n_slips, is_begun (part
    of it has come), last_received_on.
    """
    seen = known_on(known, day)
    came = seen.receipts.groupby("po_line_id").agg(
        received_quantity=("quantity", "sum"), last_received_on=("received_on", "max")
    )
    told = seen.told.sort_values(["po_line_id", "told_on", "expected_on"], kind="stable").groupby("po_line_id")
    dates = told.agg(
        expected_on=("expected_on", "last"),
        first_expected_on=("expected_on", "first"),
        told_on=("told_on", "last"),
        n_slips=("told_on", "size"),
    )
    rows = seen.lines.set_index("po_line_id").join(dates.assign(n_slips=dates["n_slips"] - 1)).join(came)
    received = rows["received_quantity"].fillna(0.0)
    rows = rows.assign(is_begun=received > 0, day=day).drop(columns="received_quantity")
    return rows[received < rows["quantity"]].sort_index(kind="stable").reset_index()


def wait_days(book: Book, rows: pd.DataFrame) -> pd.Series:
    """Days from each row's day to its next goods, 1 at least; NaN if none came before the end of the book.

    >>> on = pd.to_datetime(["2024-01-01", "2024-01-05"])
    >>> came = pd.DataFrame({"po_line_id": ["a", "a"], "received_on": on, "quantity": 1.0})
    >>> rows = pd.DataFrame({"po_line_id": ["a", "a", "a"], "day": pd.to_datetime(["2023-12-31", *on])})
    >>> wait_days(Book("one", rows, rows, came), rows).tolist()
    [1.0, 1.0, 1.0]
    >>> wait_days(Book("one", rows, rows, came), rows.assign(day=pd.Timestamp("2024-01-02"))).tolist()
    [3.0, 3.0, 3.0]
    """
    later = rows[["po_line_id", "day"]].reset_index(names="row").merge(book.receipts, on="po_line_id")
    later = later[later["received_on"] >= later["day"]]
    soonest = later.groupby("row")["received_on"].min().reindex(rows.index)
    return ((soonest - rows["day"]).dt.days).clip(lower=1).astype(float)


def scms(folder: Path = SCMS) -> Book:
    """SCMS's deliveries; the 14 lines delivered before they were ordered are errors of entry and left out."""
    raw = pd.read_parquet(folder / "deliveries.parquet")
    is_transfer = raw["fulfill_via"] == "From RDC"
    sent_on = raw["po_sent_to_vendor_date"].fillna(raw["pq_first_sent_to_client_date"])
    due_on, came_on = raw["scheduled_delivery_date"], raw["delivered_to_client_date"]
    kind = is_transfer.map({True: "transfer", False: "bought"})
    usual = pd.to_timedelta(kind.map(USUAL_LEAD_DAYS), unit="D")
    assumed_on = pd.concat([due_on - usual, came_on], axis=1).min(axis=1)
    lines = pd.DataFrame(
        {
            "po_line_id": "S" + raw["id"].astype(str).str.zfill(6),
            "receipt_id": raw["po_so"] + due_on.dt.strftime(" %Y-%m-%d"),
            "supplier_id": raw["vendor"],
            "product_id": raw["item_description"].str.slice(0, 80),
            "category": raw["sub_classification"],
            "country": raw["country"],
            "mode": raw["shipment_mode"].fillna("not said"),
            "kind": kind,
            "ordered_on": sent_on.fillna(assumed_on),
            "quantity": raw["line_item_quantity"].astype(float),
            "value": raw["line_item_value"],
            "is_judged": sent_on.notna(),
        }
    )[list(LINE)]
    sound = (lines["ordered_on"] <= came_on).to_numpy()
    lines, told = lines[sound].reset_index(drop=True), due_on[sound].reset_index(drop=True)
    came = lines[["po_line_id", "quantity"]].assign(received_on=came_on[sound].to_numpy())
    first = lines[["po_line_id"]].assign(told_on=lines["ordered_on"], expected_on=told)
    return Book("SCMS", lines, first, came)


def simulated(seed: int, n_days: int = 1000) -> Book:
    """Inbound lines of a simulated company with 20 suppliers, each of whom stops every 220 days or so."""
    lived = simulate(shape(seed, n_days))
    tables = tables_of(lived)
    dates = tables["purchase_orders"].assign(
        ordered_on=_day(tables["purchase_orders"]["ordered_at"]), told_on=_day(tables["purchase_orders"]["recorded_at"])
    )
    first = dates.drop_duplicates("po_line_id").reset_index(drop=True)
    lines = first.assign(
        receipt_id=first["po_line_id"],
        category="all",
        country="all",
        mode="all",
        value=first["quantity"] * first["unit_cost"],
        is_judged=True,
    )[list(LINE)]
    told = dates[["po_line_id", "told_on", "expected_on"]].assign(expected_on=pd.to_datetime(dates["expected_on"]))
    came = tables["receipts"].assign(received_on=_day(tables["receipts"]["received_at"]))
    return Book(f"simulated {seed}", lines, told, came[["po_line_id", "received_on", "quantity"]], _stops(lived))


def _stops(lived: Company) -> pd.DataFrame:
    supplier, spell = np.nonzero(lived.spells.starts < lived.shape.n_days)
    begin = pd.Timestamp(lived.shape.start_on)
    days = {"starts_on": lived.spells.starts, "ends_on": lived.spells.ends}
    dates = {name: begin + pd.to_timedelta(np.floor(of[supplier, spell]), unit="D") for name, of in days.items()}
    return pd.DataFrame({"supplier_id": [f"V{k:03}" for k in supplier], **dates})


def shape(seed: int, n_days: int) -> CompanyShape:
    """A small company with many purchases."""
    return CompanyShape(n_customers=1500, n_products=200, n_suppliers=20, n_days=n_days, seed=seed)


def company(book: Book, folder: Path) -> None:
    """Write the book as tables of the data contract: a warehouse is a country, and a line's kind names its mode.

    Nobody orders anything and nothing is on any shelf: these tables have no rows.
    """
    write(_tables(book), folder, book.receipts["received_on"].max() + pd.Timedelta(days=1))


def _tables(book: Book) -> Tables:
    lines = book.lines.drop(columns="ordered_on").assign(
        warehouse_id=book.lines["country"], kind=book.lines["kind"] + ", " + book.lines["mode"]
    )
    ordered_on = book.lines.set_index("po_line_id")["ordered_on"]
    versions = book.told.merge(lines, on="po_line_id")
    begun = {"ordered_at": versions["po_line_id"].map(ordered_on), "recorded_at": versions["told_on"]}
    products = lines.groupby("product_id", as_index=False)["category"].first().assign(list_price=1.0, unit_cost=1.0)
    no_line = pd.DataFrame({"order_line_id": [], "order_id": [], "customer_id": [], "product_id": []}, dtype="str")
    never = pd.Series([], dtype="datetime64[us]")
    none = no_line.assign(quantity=0.0, unit_price=0.0, ordered_at=never)
    return {
        "customers": no_line[["customer_id"]].assign(created_at=never),
        "products": products,
        "order_lines": none,
        "shipments": none.assign(shipped_at=never),
        "cancellations": none.assign(cancelled_at=never),
        "stock": none.assign(snapshot_at=never, on_hand=0.0),
        "purchase_orders": versions.assign(**begun),
        "receipts": book.receipts.assign(received_at=book.receipts["received_on"]),
    }


def _day(times: pd.Series) -> pd.Series:
    return pd.to_datetime(times).dt.normalize()
