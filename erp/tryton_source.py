"""Reading the contract's tables from a live Tryton 8.2: what its orders, moves, shipments and purchases say now.

docs/tryton.md says which field becomes which column and what Tryton cannot tell. Ids are record ids as text,
quantities are in the product's default unit, money in the company's currency.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from erp.contract import ARROW_TYPES, TABLES, ContractError
from erp.tryton_inbound import purchase_lines, receipts, supplier_products, suppliers
from erp.tryton_moves import Moves, read_moves
from erp.tryton_rpc import Record, Tryton, TrytonError, tryton_session
from erp.tryton_stock import read_zones, stock_rows
from erp.tryton_words import ORDERED, Row, Words, read_words

_BATCH = 20_000  # rows written at once
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "customers": ("name", "language"),
    "products": ("name", "unit_cost", "unit", "quantity_step"),
    "order_lines": ("warehouse_id", "promised_on", "requested_on", "customer_reference"),
    "shipments": ("event_id",),
    "cancellations": ("event_id",),
    "stock": ("warehouse_id", "reserved"),
    "purchase_orders": ("warehouse_id", "unit_cost", "kind", "for_order_line_id"),
    "receipts": ("event_id",),
    "suppliers": ("name",),
    "supplier_products": ("min_quantity",),
    "reservations": ("warehouse_id", "is_firm"),
}


def read_tables(url: str, password: str | None, folder: Path) -> None:
    """Write NAME.parquet of each table that Tryton can tell, and extract.json, into a folder.

    Parameters
    ----------
    url : tryton+https://user@host:port/database

    Raises
    ------
    ContractError
        If the server cannot be used or says something that the contract has no place for.
    """
    begun = datetime.now(UTC).replace(tzinfo=None)
    try:
        with tryton_session(url, password) as session:
            _write_all(session, folder, begun)
    except TrytonError as error:
        raise ContractError(str(error)) from None
    (folder / "extract.json").write_text(json.dumps({"taken_at": begun.isoformat() + "Z"}), encoding="utf-8")


def _write_all(session: Tryton, folder: Path, counted_at: datetime) -> None:
    words = read_words(session)
    moves = read_moves(session, words)
    warehouses: dict[str, str] = {}
    first_orders: dict[int, datetime] = {}
    prices: dict[str, float] = {}
    _write(folder, "order_lines", _order_lines(session, words, moves, warehouses, first_orders, prices))
    _write(folder, "customers", _customers(session, first_orders))
    _write(folder, "products", _products(words, prices))
    _write(folder, "shipments", moves.shipments(words, warehouses))
    _write(folder, "cancellations", moves.cancellations(words, warehouses))
    _write(folder, "reservations", moves.reservations(warehouses))
    _write(folder, "stock", stock_rows(session, read_zones(session), words, moves, warehouses, counted_at))
    buyers: set[int] = set()
    _write(folder, "purchase_orders", purchase_lines(session, words, _claims(session, warehouses), buyers))
    _write(folder, "receipts", receipts(session, words))
    _write(folder, "supplier_products", supplier_products(session, words, buyers))
    _write(folder, "suppliers", suppliers(session, buyers))


def _order_lines(
    session: Tryton,
    words: Words,
    moves: Moves,
    warehouses: dict[str, str],
    first_orders: dict[int, datetime],
    prices: dict[str, float],
) -> Iterator[Row]:
    """One row per line of a confirmed sale; notes each line's warehouse, each customer's first order, prices."""
    sale = ("party", "sale_date", "create_date", "shipping_date", "warehouse", "reference", "currency")
    fields = ["product", "quantity", "unit", "unit_price", "sale", *(f"sale.{name}" for name in sale)]
    domain = [
        ["type", "=", "line"],
        ["quantity", ">", 0],
        ["product.type", "in", ["goods", "assets"]],
        ["sale.state", "in", list(ORDERED)],
        ["sale.company", "=", session.context["company"]],
    ]
    for record in session.pages("sale.line", domain, fields):
        order, line, product = record["sale."], str(record["id"]), record["product"]
        ordered_on = order["sale_date"] or order["create_date"].date()
        ordered_at = words.clock.of_order(ordered_on, order["create_date"])
        quantity = words.in_default_unit(product, record["quantity"], record["unit"])
        unit_price = words.price(product, record["unit_price"], record["unit"], order["currency"], ordered_on)
        warehouses[line] = str(order["warehouse"])
        first_orders[order["party"]] = min(ordered_at, first_orders.get(order["party"], ordered_at))
        prices[str(product)] = max(unit_price, prices.get(str(product), 0.0))
        yield {
            "order_line_id": line,
            "order_id": str(record["sale"]),
            "customer_id": str(order["party"]),
            "product_id": str(product),
            "ordered_at": ordered_at,
            "quantity": quantity,
            "unit_price": unit_price,
            "warehouse_id": str(order["warehouse"]),
            "promised_on": moves.first_planned.get(line),
            "requested_on": order["shipping_date"],
            "customer_reference": order["reference"] or None,
        }


def _customers(session: Tryton, first_orders: Mapping[int, datetime]) -> Iterator[Row]:
    """One row per party that ordered; an account is never younger than its first order."""
    for party in session.read_where("party.party", "id", sorted(first_orders), ["name", "lang.code", "create_date"]):
        yield {
            "customer_id": str(party["id"]),
            "created_at": min(party["create_date"], first_orders[party["id"]]),
            "name": party["name"],
            "language": (party["lang."] or {}).get("code"),
        }


def _products(words: Words, prices: Mapping[str, float]) -> Iterator[Row]:
    """One row per product; one without list price takes the highest that it was sold at."""
    for product in words.products.values():
        name = str(product["id"])
        listed = product["list_price"]
        yield {
            "product_id": name,
            "list_price": prices.get(name, 0.0) if listed is None else float(listed),
            "name": product["rec_name"],
            "unit_cost": float(product["cost_price"] or 0) or None,
            "unit": words.units[product["default_uom"]]["symbol"],
            "quantity_step": float(words.units[product["default_uom"]]["rounding"]),
        }


def _claims(session: Tryton, warehouses: Mapping[str, str]) -> dict[str, str]:
    """Purchase lines that one order line alone asked for, where goods are bought on sale."""
    if "purchase_request" not in session.model("sale.line", "fields_get", ["product", "purchase_request"]):
        return {}
    domain = [["purchase_request.purchase_line", "!=", None]]
    claims: dict[str, str] = {}
    asked_twice: set[str] = set()
    for line in session.pages("sale.line", domain, ["purchase_request.purchase_line"]):
        bought = str(line["purchase_request."]["purchase_line"])
        if bought in claims:
            asked_twice.add(bought)
        if str(line["id"]) in warehouses:
            claims[bought] = str(line["id"])
    return {bought: line for bought, line in claims.items() if bought not in asked_twice}


def _write(folder: Path, name: str, rows: Iterable[Record]) -> None:
    """Write rows of one of the contract's tables, batch by batch."""
    table = TABLES[name]
    columns = [*table.required, *_COLUMNS[name]]
    schema = pa.schema([(column, ARROW_TYPES[table.kind(column)]) for column in columns])
    remaining = iter(rows)
    with pq.ParquetWriter(folder / f"{name}.parquet", schema) as writer:
        while batch := list(islice(remaining, _BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema))
