"""The simulated company's facts as the contract's tables; nothing of its hidden truth is in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from erp.simulated_chance import Bools, Columns, Ints, Stream, stack, take, uniform
from erp.simulated_company import Company
from erp.simulated_demand import DAY, order_second
from erp.simulated_rules import product_id
from erp.simulated_truth import CHANNELS, COUNTRIES, NEVER, SEGMENTS, on_credit_hold

WAREHOUSE = "main"
DAILY_SNAPSHOTS = 14  # of the last days; weekly before
ANNOUNCED_DAYS = 30  # before a product ends
_OWNERS = np.array(["Baum", "Cirillo", "Dorn", "Eder", "Falk", "Gruber", "Haas", "Ivens"])
_LANGUAGES = np.array(["de", "fr", "nl", "de", "en"])  # by country
_CUSTOMER_REASONS = np.array(["too late", "no longer needed", "bought elsewhere"])


def _text(values: list[str | None]) -> NDArray[Any]:
    return np.array(values, dtype=object)


def _where(values: NDArray[Any], which: Bools) -> NDArray[Any]:
    """`values` where `which` holds, else empty."""
    filled = values.astype(object)
    filled[~which] = None
    return filled


def _names(label: str, ids: NDArray[Any], digits: int) -> NDArray[Any]:
    return _text([f"{label}{i:0{digits}d}" for i in ids.tolist()])


def _at(company: Company, seconds: NDArray[Any]) -> NDArray[Any]:
    start = np.datetime64(company.shape.start_on, "s")
    return np.asarray(start + np.asarray(seconds, dtype=np.int64).astype("timedelta64[s]"))


def _on(company: Company, days: NDArray[Any]) -> NDArray[Any]:
    """Days since the start as dates; NaN, negative and `NEVER` days are empty."""
    known = (days >= 0) & (days < NEVER)  # NaN compares false
    dates = _at(company, np.where(known, days, 0).astype(np.int64) * DAY)
    return np.where(known, dates, np.datetime64("NaT", "s"))


def _number_of(company: Company, key: Ints) -> NDArray[Any]:
    # Anonymous orders are numbered on their own; the others carry the account, as many ERPs do.
    n_known = company.customers.n_known
    parts = zip((key // 10_000).tolist(), (key % 10_000).tolist(), strict=True)
    return _text([f"S{who:05d}-{n:04d}" if who < n_known else f"W{who - n_known:04d}-{n:04d}" for who, n in parts])


def order_ids(company: Company, key: Ints) -> NDArray[Any]:
    """Order numbers of line keys."""
    return _number_of(company, key // 100)


def line_ids(company: Company, key: Ints) -> NDArray[Any]:
    """Ids of line keys in the tables: the order's number and the line's."""
    return np.asarray(order_ids(company, key) + _text([f"-{n + 1:02d}" for n in (key % 100).tolist()]))


def _customer_ids(company: Company, customer: Ints) -> NDArray[Any]:
    ids = _names("C", customer, 5)
    return _where(ids, customer < company.customers.n_known)


def _joined(company: Company, name: str, empty: Columns) -> Columns:
    parts = company.log[name]
    return stack(parts) if parts else empty


def _no(*names: str) -> Columns:
    return {name: np.zeros(0, dtype=np.int64) for name in names}


def tables_of(company: Company) -> dict[str, pd.DataFrame]:
    """All tables as of `company.as_of`."""
    shipments = _joined(company, "shipments", _no("key", "second", "quantity"))
    return {
        "customers": _customers(company),
        "products": _products(company),
        "order_lines": _order_lines(company),
        "shipments": _events(company, shipments, "shipped_at", "D"),
        "cancellations": _cancellations(company),
        "stock": _stock(company),
        "purchase_orders": _purchase_orders(company),
        "receipts": _receipts(company),
        "suppliers": _suppliers(company),
        "supplier_products": _supplier_products(company),
        "promises": _promises(company),
        "returns": _returns(company, shipments),
    }


def _customers(company: Company) -> pd.DataFrame:
    true, seed = company.customers, company.shape.seed
    ids = np.flatnonzero(true.created_day[: true.n_known] < company.day)
    u = [uniform(seed, Stream.CUSTOMER, ids, 60 + i) for i in range(4)]
    country = np.floor(u[0] * len(COUNTRIES)).astype(np.int64)
    names = _names("C", ids, 5)
    account = true.account[ids]
    opened = true.created_day[ids]
    created = np.where(opened < 0, opened * DAY, order_second(opened) - 600)  # ten minutes before the first order
    return pd.DataFrame(
        {
            "customer_id": names,
            "created_at": _at(company, np.floor(created)),
            "name": _names("Customer ", ids, 5),
            "segment": SEGMENTS[true.segment[ids]],
            "channel": CHANNELS[true.channel[ids]],
            "priority_class": true.priority_class[ids],
            "country": COUNTRIES[country],
            "language": _LANGUAGES[country],
            "owner": _OWNERS[np.floor(u[1] * len(_OWNERS)).astype(np.int64)],
            "parent_id": _where(_names("C", account, 5), account != ids),
            "credit_hold": on_credit_hold(company.shape, true.n_known, ids, company.day),
            "contact_allowed": u[2] > 0.05,
        }
    )


def _products(company: Company) -> pd.DataFrame:
    true, seed = company.products, company.shape.seed
    ids = np.arange(company.shape.n_products)
    opened = np.datetime64(company.shape.start_on, "s") - np.timedelta64(30 * DAY - 8 * 3600, "s")
    first = pd.DataFrame(
        {
            "product_id": [product_id(i) for i in ids.tolist()],
            "list_price": true.list_price,
            "name": _names("Product ", ids, 4),
            "unit_cost": true.unit_cost,
            "unit": "piece",
            "category": _names("category ", true.category + 1, 1),
            "quantity_step": 1.0,
            "holding_cost_rate": np.round(0.15 + 0.1 * uniform(seed, Stream.PRODUCT, ids, 60), 3),
            "discontinued_on": np.datetime64("NaT", "s"),
            "recorded_at": opened,
        }
    )
    announced = true.ends_day - ANNOUNCED_DAYS
    ended = first[announced < company.day].assign(
        discontinued_on=_on(company, true.ends_day[announced < company.day]),
        recorded_at=_at(company, announced[announced < company.day] * DAY + 9 * 3600 + 1800),
    )
    return pd.concat([first, ended], ignore_index=True).sort_values(["product_id", "recorded_at"], ignore_index=True)


def _line_columns(company: Company, lines: Columns) -> dict[str, Any]:
    return {
        "order_line_id": line_ids(company, lines["key"]),
        "order_id": order_ids(company, lines["key"]),
        "customer_id": _customer_ids(company, lines["customer"]),
        "product_id": _names("P", lines["product"], 4),
        "ordered_at": _at(company, lines["ordered_second"]),
        "quantity": lines["quantity"].astype(np.float64),
        "unit_price": lines["unit_price"],
        "list_price": lines["list_price"],
        "promised_on": _on(company, lines["promised_day"]),
        "requested_on": _on(company, lines["requested_day"]),
        "may_split": lines["may_split"].astype(bool),
        "channel": CHANNELS[lines["channel"].astype(np.int64)],
    }


def _order_lines(company: Company) -> pd.DataFrame:
    lines = _joined(company, "lines", take(company.open, np.zeros(0, dtype=np.int64)))
    frame = pd.DataFrame(_line_columns(company, lines))
    says = uniform(company.shape.seed, Stream.ORDER, lines["key"] // 100, 60) < 0.4
    reference = _names("PO ", lines["key"] // 100 * 7919 % 1_000_000, 6)
    frame.insert(7, "warehouse_id", WAREHOUSE)
    frame["customer_reference"] = _where(reference, says)
    return frame


def waiting_frame(company: Company, lines: Columns) -> pd.DataFrame:
    """One row per open back-ordered line as a planner sees it this morning."""
    frame = pd.DataFrame(_line_columns(company, lines))
    who = np.minimum(lines["customer"], company.customers.n_known - 1)
    is_named = lines["customer"] < company.customers.n_known
    frame["account_id"] = _where(_names("C", company.customers.account[lines["customer"]], 5), is_named)
    frame["open_quantity"] = lines["open"].astype(np.float64)
    frame["unit_cost"] = lines["unit_cost"]
    frame["due_on"] = _on(company, lines["due_day"])
    frame["latest_promised_on"] = _on(company, lines["latest_promised_day"])
    frame["waited_days"] = company.day - lines["due_day"]
    frame["segment"] = _where(SEGMENTS[company.customers.segment[who]], is_named)
    frame["priority_class"] = np.where(is_named, company.customers.priority_class[who], np.nan)
    frame["credit_hold"] = lines["credit_hold"].astype(bool)
    return frame


def _events(company: Company, events: Columns, own_time: str, label: str) -> pd.DataFrame:
    # A line ships or is cancelled more than once in its life, but not twice in one second: the morning's allocation
    # and the evening's are hours apart, so line and second name the event.
    ids = line_ids(company, events["key"])
    seconds = events["second"].tolist()
    return pd.DataFrame(
        {
            "order_line_id": ids,
            own_time: _at(company, events["second"]),
            "quantity": events["quantity"].astype(np.float64),
            "event_id": _text([f"{label}-{line}-{at}" for line, at in zip(ids.tolist(), seconds, strict=True)]),
        }
    )


def _cancellations(company: Company) -> pd.DataFrame:
    rows = _joined(company, "cancellations", _no("key", "second", "quantity", "by_seller", "is_late"))
    by_seller = rows["by_seller"].astype(bool)
    u = uniform(company.shape.seed, Stream.CANCEL, rows["key"], rows["second"])
    # Late lines are mostly called off as late, the others for two other reasons.
    word = np.where(rows["is_late"].astype(bool) & (u < 0.7), 0, np.where(u < 0.45, 1, 2))
    frame = _events(company, rows, "cancelled_at", "X")
    frame["cancelled_by"] = np.where(by_seller, "seller", "customer")
    frame["reason"] = np.where(by_seller, "cannot supply", _CUSTOMER_REASONS[word])
    return frame


def _stock(company: Company) -> pd.DataFrame:
    days = np.arange(company.day + 1)
    days = days[(days % 7 == 0) | (days > company.day - DAILY_SNAPSHOTS)]
    n = company.shape.n_products
    return pd.DataFrame(
        {
            "snapshot_at": _at(company, np.repeat(days * DAY + 4 * 3600, n)),
            "product_id": np.tile(_names("P", np.arange(n), 4), len(days)),
            "on_hand": np.concatenate([company.shelf[day] for day in days]).astype(np.float64),
            "warehouse_id": WAREHOUSE,
        }
    )


def _purchase_ids(key: Ints) -> NDArray[Any]:
    parts = zip((key // 100_000).tolist(), (key % 100_000).tolist(), strict=True)
    return _text([f"B{day:05d}-{product:04d}" for product, day in parts])


def _purchase_orders(company: Company) -> pd.DataFrame:
    """One row per inbound line and date told for it: the first, and one version for each slip."""
    names = ("key", "product", "supplier", "ordered_second", "expected_day", "quantity", "unit_cost")
    placed = _joined(company, "purchases", _no(*names))
    slips = _joined(company, "slips", _no("key", "expected_day", "second"))
    order = np.argsort(placed["key"], kind="stable")
    row = order[np.searchsorted(placed["key"][order], slips["key"])] if len(order) else slips["key"]
    every = np.r_[np.arange(len(order)), row]
    frame = pd.DataFrame(
        {
            "po_line_id": _purchase_ids(placed["key"][every]),
            "supplier_id": _names("V", placed["supplier"][every], 3),
            "product_id": _names("P", placed["product"][every], 4),
            "ordered_at": _at(company, placed["ordered_second"][every]),
            "expected_on": _on(company, np.r_[placed["expected_day"], slips["expected_day"]]),
            "quantity": placed["quantity"][every].astype(np.float64),
            "warehouse_id": WAREHOUSE,
            "unit_cost": placed["unit_cost"][every].astype(np.float64),
            "kind": "bought",
            "recorded_at": _at(company, np.r_[placed["ordered_second"], slips["second"]]),
        }
    )
    return frame.sort_values(["po_line_id", "recorded_at"], ignore_index=True)


def _receipts(company: Company) -> pd.DataFrame:
    rows = _joined(company, "receipts", _no("key", "second", "quantity"))
    ids = _purchase_ids(rows["key"])
    seconds = rows["second"].tolist()
    return pd.DataFrame(
        {
            "po_line_id": ids,
            "received_at": _at(company, rows["second"]),
            "quantity": rows["quantity"].astype(np.float64),
            "event_id": _text([f"R-{line}-{at}" for line, at in zip(ids.tolist(), seconds, strict=True)]),
        }
    )


def _suppliers(company: Company) -> pd.DataFrame:
    ids = np.arange(company.shape.n_suppliers)
    country = np.floor(uniform(company.shape.seed, Stream.SUPPLIER, ids, -1, 9) * len(COUNTRIES)).astype(np.int64)
    names = {"supplier_id": _names("V", ids, 3), "name": _names("Supplier ", ids, 3)}
    return pd.DataFrame(names | {"country": COUNTRIES[country]})


def _supplier_products(company: Company) -> pd.DataFrame:
    true = company.products
    ids = np.arange(company.shape.n_products)
    second = ids[true.second_supplier != true.supplier]
    product = np.r_[ids, second]
    frame = pd.DataFrame(
        {
            "supplier_id": _names("V", np.r_[true.supplier, true.second_supplier[second]], 3),
            "product_id": _names("P", product, 4),
            "unit_cost": true.unit_cost[product],
            "lead_time_days": true.lead_days[product],
        }
    )
    return frame.sort_values(["supplier_id", "product_id"], ignore_index=True)


def _promises(company: Company) -> pd.DataFrame:
    rows = _joined(company, "promises", _no("key", "second", "promised_day"))
    return pd.DataFrame(
        {
            "order_line_id": line_ids(company, rows["key"]),
            "told_at": _at(company, rows["second"]),
            "promised_on": _on(company, rows["promised_day"]),
        }
    )


def _returns(company: Company, shipments: Columns) -> pd.DataFrame:
    """Shipped quantities that came back 5 to 25 days later; they are scrapped, so the shelf does not see them."""
    u = uniform(company.shape.seed, Stream.RETURN, shipments["key"])
    late = 5.0 + 20.0 * uniform(company.shape.seed, Stream.RETURN, shipments["key"], 1)
    back = shipments | {"second": shipments["second"] + np.floor(late * DAY).astype(np.int64)}
    known = back["second"] < company.day * DAY + 5 * 3600
    return _events(company, take(back, known & (u < company.shape.returned_share)), "returned_at", "T")


def value_frame(company: Company, alive: Bools) -> pd.DataFrame:
    """One row per customer so far, sorted: customer_id, account_id, is_alive, value_amount."""
    true = company.customers
    ids = np.flatnonzero(true.created_day[: true.n_known] < company.day)
    return pd.DataFrame(
        {
            "customer_id": _names("C", ids, 5),
            "account_id": _names("C", true.account[ids], 5),
            "is_alive": alive[ids],
            "value_amount": np.where(alive[ids], true.value_if_alive[ids], 0.0),
        }
    )


def write(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write NAME.parquet for each table: times in UTC to the microsecond without a zone, days as dates, ids as text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        kinds = [(field.name, _kind(field.name, field.type)) for field in table.schema]
        pq.write_table(table.cast(pa.schema(kinds)), folder / f"{name}.parquet", compression="zstd")


def _kind(name: str, kind: pa.DataType) -> pa.DataType:
    if name.endswith("_on"):
        return pa.date32()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us")
    return pa.string() if pa.types.is_null(kind) or pa.types.is_large_string(kind) else kind
