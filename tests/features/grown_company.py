"""A company drawn at random, in law: a year of lines, part shipments, cancellations, returns, slips and splits."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

T = datetime(2024, 3, 15, 5)
N_LINES, N_CUSTOMERS, N_PRODUCTS = 400, 25, 12
START = pd.Timestamp("2023-03-01 06:00")


def grown_tables(seed: int) -> dict[str, pd.DataFrame]:
    """Tables without versions: nothing was recorded later than it happened."""
    rng = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {
            "customer_id": [f"C{i:02}" for i in range(N_CUSTOMERS)],
            "created_at": START - pd.to_timedelta(rng.integers(1, 900, N_CUSTOMERS), "D"),
            "name": [f"Customer {i}" for i in range(N_CUSTOMERS)],
            "segment": rng.choice(["trade", "web"], N_CUSTOMERS),
            "country": rng.choice(["DE", "FR"], N_CUSTOMERS),
            "channel": rng.choice(["shop", "phone"], N_CUSTOMERS),
            "owner": rng.choice(["Kim", "Lou"], N_CUSTOMERS),
            "priority_class": rng.integers(1, 4, N_CUSTOMERS),
            "credit_hold": rng.random(N_CUSTOMERS) < 0.2,
            "parent_id": [None if i % 5 else "C01" for i in range(N_CUSTOMERS)],
        }
    )
    products = pd.DataFrame(
        {
            "product_id": [f"P{i:02}" for i in range(N_PRODUCTS)],
            "list_price": rng.integers(5, 40, N_PRODUCTS) * 1.0,
            "unit_cost": np.where(rng.random(N_PRODUCTS) < 0.3, np.nan, rng.integers(1, 12, N_PRODUCTS)),
            "name": [f"Product {i}" for i in range(N_PRODUCTS)],
            "category": rng.choice(["light", "seat"], N_PRODUCTS),
            "quantity_step": rng.choice([1.0, 0.5], N_PRODUCTS),
            "discontinued_on": [pd.Timestamp("2024-01-01").date() if i % 7 == 3 else None for i in range(N_PRODUCTS)],
        }
    )
    lines = _order_lines(rng, products)
    events = _events(rng, lines)
    return {"customers": customers, "products": products, "order_lines": lines, "stock": _stock(products)} | (
        events | _inbound(rng) | {"promises": _promises(rng, lines), "reservations": _confirmations(lines)}
    )


def _order_lines(rng: np.random.Generator, products: pd.DataFrame) -> pd.DataFrame:
    minutes = np.sort(rng.integers(0, 379 * 24 * 60, N_LINES))
    ordered_at = START + pd.to_timedelta(minutes, "min")
    product = rng.integers(0, N_PRODUCTS, N_LINES)
    ids = np.array([f"L{i:03}" for i in range(N_LINES)], dtype=object)
    days = pd.Series(ordered_at).dt.normalize()
    frame = pd.DataFrame(
        {
            "order_line_id": ids,
            "order_id": [f"O{2 * i // 3:03}" for i in range(N_LINES)],
            "customer_id": [
                None if rng.random() < 0.1 else f"C{rng.integers(0, N_CUSTOMERS):02}" for _ in range(N_LINES)
            ],
            "product_id": products["product_id"].to_numpy()[product],
            "ordered_at": ordered_at,
            "quantity": rng.integers(1, 12, N_LINES) * 1.0,
            "unit_price": np.round(products["list_price"].to_numpy()[product] * rng.uniform(0.6, 1.05, N_LINES), 2),
            "warehouse_id": rng.choice(["main", "north"], N_LINES),
            "channel": np.where(rng.random(N_LINES) < 0.5, None, "mail"),
            "may_split": rng.random(N_LINES) < 0.5,
            "ship_group": [f"G{i % 8}" if i % 5 else None for i in range(N_LINES)],
        }
    )
    told = days + pd.to_timedelta(rng.integers(2, 20, N_LINES), "D")
    asked = days + pd.to_timedelta(rng.integers(0, 15, N_LINES), "D")
    frame["promised_on"] = told.dt.date.where(rng.random(N_LINES) < 0.7, None)
    frame["requested_on"] = asked.dt.date.where(rng.random(N_LINES) < 0.3, None)
    root = np.where(rng.random(N_LINES) < 0.05, np.arange(N_LINES) - 1, -1)
    frame["split_from_id"] = [ids[k] if k > 0 else None for k in root]
    return frame


def _events(rng: np.random.Generator, lines: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Each line ships in one or two parts, or is cancelled by customer or seller, after days or weeks; or waits on."""
    shipped, cancelled, returned = [], [], []
    for number, line in enumerate(lines.itertuples()):
        fate, wait = (
            rng.choice(["ship", "parts", "cancel", "seller", "both"], p=[0.4, 0.2, 0.2, 0.1, 0.1]),
            rng.exponential(25),
        )
        first = line.ordered_at + timedelta(minutes=int(wait * 1440))
        second = first + timedelta(minutes=int(rng.exponential(20) * 1440))
        half = max(1.0, line.quantity // 2)
        by = "seller" if fate == "seller" else rng.choice(["customer", None])
        if fate in {"ship", "parts", "both"}:
            shipped.append((line.order_line_id, first, line.quantity if fate == "ship" else half, f"S{number}"))
        if fate == "parts" and line.quantity > half:
            shipped.append((line.order_line_id, second, line.quantity - half, f"S{number}b"))
        if fate in {"cancel", "seller"} or (fate == "both" and line.quantity > half):
            rest = line.quantity - half if fate == "both" else line.quantity
            cancelled.append((line.order_line_id, second if fate == "both" else first, rest, f"X{number}", by))
        if fate == "ship" and rng.random() < 0.15:
            returned.append((line.order_line_id, second, 1.0, f"Q{number}"))
    return {
        "shipments": pd.DataFrame(shipped, columns=["order_line_id", "shipped_at", "quantity", "event_id"]),
        "cancellations": pd.DataFrame(
            cancelled, columns=["order_line_id", "cancelled_at", "quantity", "event_id", "cancelled_by"]
        ),
        "returns": pd.DataFrame(returned, columns=["order_line_id", "returned_at", "quantity", "event_id"]),
    }


def _stock(products: pd.DataFrame) -> pd.DataFrame:
    frame = products[["product_id"]].assign(snapshot_at=pd.Timestamp("2024-03-14 04:00"), on_hand=5.0)
    return pd.concat([frame.assign(warehouse_id="main"), frame.assign(warehouse_id="north")], ignore_index=True)


def _inbound(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    n = 60
    ordered_at = START + pd.to_timedelta(rng.integers(0, 379 * 24 * 60, n), "min")
    orders = pd.DataFrame(
        {
            "po_line_id": [f"B{i:02}" for i in range(n)],
            "supplier_id": rng.choice(["V1", "V2", "V3"], n),
            "product_id": [f"P{i:02}" for i in rng.integers(0, N_PRODUCTS - 1, n)],
            "ordered_at": ordered_at,
            "expected_on": (ordered_at + pd.to_timedelta(rng.integers(5, 40, n), "D")).date,
            "quantity": rng.integers(5, 60, n) * 1.0,
            "kind": rng.choice(["bought", "made"], n),
        }
    )
    receipts = orders[["po_line_id", "quantity"]].assign(
        received_at=ordered_at + pd.to_timedelta(rng.integers(3, 60, n), "D"), event_id=[f"R{i}" for i in range(n)]
    )
    return {
        "suppliers": pd.DataFrame({"supplier_id": ["V1", "V2", "V3"]}),
        "purchase_orders": orders,
        "receipts": receipts[rng.random(n) < 0.8],
    }


def _confirmations(lines: pd.DataFrame) -> pd.DataFrame:
    """Two units held for every third line, none of them picked."""
    return pd.DataFrame({"order_line_id": lines["order_line_id"].iloc[::3], "quantity": 2.0, "is_firm": False})


def _promises(rng: np.random.Generator, lines: pd.DataFrame) -> pd.DataFrame:
    chosen = lines[rng.random(N_LINES) < 0.3]
    told_at = chosen["ordered_at"] + pd.to_timedelta(rng.integers(60, 20 * 24 * 60, len(chosen)), "min")
    days = pd.to_timedelta(rng.integers(1, 30, len(chosen)), "D")
    return pd.DataFrame(
        {"order_line_id": chosen["order_line_id"], "told_at": told_at, "promised_on": (told_at + days).dt.date}
    ).reset_index(drop=True)


TIMES = {
    "customers": "created_at",
    "order_lines": "ordered_at",
    "shipments": "shipped_at",
    "cancellations": "cancelled_at",
    "returns": "returned_at",
    "stock": "snapshot_at",
    "purchase_orders": "ordered_at",
    "receipts": "received_at",
    "promises": "told_at",
}


def cut_at(tables: dict[str, pd.DataFrame], moment: datetime) -> dict[str, pd.DataFrame]:
    """The tables as they stood at a moment: rows whose own time is not later."""
    return {
        name: table[table[TIMES[name]] <= pd.Timestamp(moment)] if name in TIMES else table
        for name, table in tables.items()
    }
