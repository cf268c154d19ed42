"""A company small enough to know by heart, for tests that change a cell and say what must follow.

As of `T` (a Friday, 05:00 UTC) three lines are back orders: L1 (6 of 10 open, 14 days), L5 (1, anonymous, 3 days) and
L6 (7, due yesterday). L2 and L7 are shipped, L3 is cancelled by the customer, L4 is asked for next week.
"""

from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from erp.known import Facts, gather, show
from erp.settings import Site
from features.feature_tables import build

T = datetime(2024, 3, 15, 5)


def rows(columns: str, *cells: tuple) -> pd.DataFrame:
    """Rows under the named columns; "2024-03-01 10:00" becomes a time in `*_at`, a day in `*_on`."""
    frame = pd.DataFrame(list(cells), columns=columns.split(), dtype=object)
    for name in frame.columns:
        if name.endswith("_at"):
            frame[name] = pd.to_datetime(frame[name], format="ISO8601")
        elif name.endswith("_on"):
            frame[name] = [date.fromisoformat(cell) if isinstance(cell, str) else cell for cell in frame[name]]
        else:
            frame[name] = frame[name].infer_objects()
    return frame


def small_tables() -> dict[str, pd.DataFrame]:
    """Every table of the company; tests may change them freely."""
    return {
        "customers": rows(
            "customer_id created_at name segment parent_id credit_hold contact_allowed",
            ("C1", "2023-01-01 09:00", "Ash", "trade", None, False, True),
            ("C2", "2023-06-01 09:00", "Birch", "trade", "C1", False, True),
            ("C3", "2024-01-15 09:00", "Cedar", "web", None, True, False),
        ),
        "products": rows(
            "product_id list_price unit_cost name category quantity_step discontinued_on",
            ("P1", 10.0, 6.0, "Lamp", "light", 1.0, None),
            ("P2", 20.0, None, "Chair", "seat", 1.0, None),
            ("P3", 5.0, 2.0, "Shade", "light", 0.5, "2024-03-01"),
        ),
        "order_lines": rows(
            "order_line_id order_id customer_id product_id ordered_at quantity unit_price promised_on requested_on"
            " may_split warehouse_id",
            ("L1", "O1", "C1", "P1", "2024-03-01 10:00", 10.0, 9.0, "2024-03-08", None, True, None),
            ("L2", "O1", "C1", "P2", "2024-03-01 10:00", 5.0, 20.0, "2024-03-04", None, False, "north"),
            ("L3", "O2", "C2", "P1", "2024-03-04 08:00", 3.0, 10.0, "2024-03-05", None, False, None),
            ("L4", "O3", "C3", "P2", "2024-03-10 12:00", 2.0, 18.0, None, "2024-03-20", False, None),
            ("L5", "O4", None, "P1", "2024-03-12 12:00", 1.0, 10.0, None, None, False, None),
            ("L6", "O5", "C3", "P3", "2024-03-14 22:30", 7.0, 4.0, None, None, False, None),
            ("L7", "O6", "C1", "P1", "2024-01-10 10:00", 2.0, 10.0, None, None, False, None),
        ),
        "shipments": rows(
            "order_line_id shipped_at quantity event_id",
            ("L1", "2024-03-05 15:00", 4.0, "S1"),
            ("L2", "2024-03-02 15:00", 5.0, "S2"),
            ("L7", "2024-01-12 15:00", 2.0, "S3"),
        ),
        "cancellations": rows(
            "order_line_id cancelled_at quantity event_id cancelled_by reason",
            ("L3", "2024-03-06 11:00", 3.0, "X1", "customer", "too late"),
        ),
        "stock": rows(
            "snapshot_at product_id on_hand warehouse_id reserved",
            ("2024-03-04 04:00", "P1", 9.0, None, 1.0),
            ("2024-03-04 04:00", "P3", 2.0, None, 0.0),
            ("2024-03-04 04:00", "P2", 6.0, "north", 0.0),
        ),
        "purchase_orders": rows(
            "po_line_id supplier_id product_id ordered_at expected_on quantity warehouse_id kind for_order_line_id",
            ("B1", "V1", "P1", "2024-03-01 09:00", "2024-03-10", 8.0, None, "bought", None),
            ("B2", "V1", "P3", "2024-03-01 09:00", "2024-03-20", 9.0, None, "bought", "L6"),
        ),
        "receipts": rows("po_line_id received_at quantity event_id", ("B1", "2024-03-12 07:00", 3.0, "R1")),
        "suppliers": rows("supplier_id name", ("V1", "Vale")),
        "reservations": rows(
            "order_line_id quantity warehouse_id is_firm", ("L1", 2.0, None, False), ("L6", 1.0, None, False)
        ),
        "promises": rows("order_line_id told_at promised_on", ("L1", "2024-03-07 09:00", "2024-03-18")),
        "returns": rows("order_line_id returned_at quantity event_id", ("L7", "2024-01-20 09:00", 1.0, "Q1")),
        "overrides": rows(
            "order_line_id action who why made_at until_on",
            ("L5", "pin", "Kim", "fair", "2024-03-13 09:00", "2024-03-20"),
        ),
    }


def add(tables: dict[str, pd.DataFrame], name: str, /, **cells: object) -> None:
    """Append one row to a table: a copy of its last row with these cells; new columns are empty elsewhere."""
    table = tables[name]
    row = (table.iloc[-1].to_dict() if len(table) else {}) | cells
    columns = [*table.columns, *(c for c in cells if c not in table.columns)]
    kept = [tuple(record.get(c) for c in columns) for record in [*table.to_dict("records"), row]]
    tables[name] = rows(" ".join(columns), *(tuple(None if cell is pd.NaT else cell for cell in r) for r in kept))


def version(tables: dict[str, pd.DataFrame], name: str, key: str, recorded_at: str, /, **cells: object) -> None:
    """Append a later version of the row whose first column is `key`."""
    table = tables[name]
    known = table[table[table.columns[0]] == key].iloc[-1].to_dict()
    add(tables, name, **(known | {"is_deleted": None} | cells | {"recorded_at": recorded_at}))


def write_tables(tables: dict[str, pd.DataFrame], folder: Path, kind: str = "parquet") -> Path:
    """Write each table as NAME.parquet or NAME.csv into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if kind == "csv":
            table.to_csv(folder / f"{name}.csv", index=False)
        else:
            table.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def small_site(folder: Path, **given: object) -> Site:
    """A site that reads this folder, tolerates rows that break a law, and does not ask how old the tables are."""
    return Site(**({"data": str(folder), "tolerated_share": 0.9, "max_lag_hours": 1e6} | given))


class Company:
    """Gathers tables into facts below a folder, as often as a test likes."""

    def __init__(self, home: Path):
        self.home, self.n_gathered = home, 0

    def facts(
        self, tables: dict[str, pd.DataFrame], as_of: datetime = T, kind: str = "parquet", **given: object
    ) -> Facts:
        """The facts of these tables as of a moment."""
        self.n_gathered += 1
        place = self.home / str(self.n_gathered)
        return self.facts_of(write_tables(tables, place / "data", kind), as_of, **given)

    def facts_of(self, data: Path, as_of: datetime = T, **given: object) -> Facts:
        """The facts of a folder as of a moment."""
        self.n_gathered += 1
        folder = self.home / f"facts{self.n_gathered}"
        folder.mkdir(parents=True)
        site = small_site(data, **given)
        gather(folder, site, as_of)
        return Facts(folder, as_of, site)


def ask(facts: Facts, query: str, moment: datetime | None = None) -> list[tuple]:
    """The rows of a query over the `known_*` views, as of T or an earlier moment."""
    with ExitStack() as stack:
        connection = stack.enter_context(facts.connect())
        if moment is not None:
            show(connection, facts, moment)
        return connection.execute(query).fetchall()


def back_orders(facts, moment=None):
    """Open quantity by back-ordered line."""
    with facts.connect() as connection:
        lines = build(connection, facts, moment or facts.as_of, "backorder_lines")
    return dict(zip(lines["order_line_id"], lines["open_quantity"], strict=True))


def line_of(facts, order_line_id, moment=None):
    with facts.connect() as connection:
        lines = build(connection, facts, moment or facts.as_of, "known_lines")
    return lines.set_index("order_line_id").loc[order_line_id]
