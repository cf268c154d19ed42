"""Goods on their way to us in Tryton: purchases, what came of them, and who can deliver what at which price."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from erp.tryton_rpc import Record, Tryton
from erp.tryton_words import ORDERED, Row, Words


def purchase_lines(session: Tryton, words: Words, claims: Mapping[str, str], buyers: set[int]) -> Iterator[Row]:
    """One row per line of a confirmed purchase; notes its suppliers.

    Parameters
    ----------
    claims : the order line that a purchase line is for alone
    """
    expected = _expected(session)
    ignored = _ignored(session)
    purchase = ("party", "purchase_date", "create_date", "warehouse", "currency", "state")
    fields = ["product", "quantity", "unit", "unit_price", "delivery_date", *(f"purchase.{name}" for name in purchase)]
    domain = [
        ["type", "=", "line"],
        ["quantity", ">", 0],
        ["product.type", "in", ["goods", "assets"]],
        ["purchase.state", "in", list(ORDERED)],
        ["purchase.company", "=", session.context["company"]],
    ]
    for record in session.pages("purchase.line", domain, fields):
        order, line, product = record["purchase."], str(record["id"]), record["product"]
        quantity = words.in_default_unit(product, record["quantity"], record["unit"]) - ignored.get(line, 0.0)
        if quantity <= 0:
            continue
        day = order["purchase_date"] or order["create_date"].date()
        buyers.add(order["party"])
        yield {
            "po_line_id": line,
            "supplier_id": str(order["party"]),
            "product_id": str(product),
            "ordered_at": words.clock.of_order(day, order["create_date"]),
            "expected_on": expected.get(line) or record["delivery_date"],
            "quantity": round(quantity, 6),
            "warehouse_id": str(order["warehouse"]) if order["warehouse"] else None,
            "unit_cost": words.price(product, record["unit_price"], record["unit"], order["currency"], day),
            "kind": "bought",
            "for_order_line_id": claims.get(line),
        }


def receipts(session: Tryton, words: Words) -> Iterator[Row]:
    """One row per move of a purchase that came."""
    fields = ["origin", "internal_quantity", "effective_date", "create_date", "write_date"]
    for move in session.pages("stock.move", [*_inbound(session), ["state", "=", "done"]], fields):
        if move["internal_quantity"] > 0:
            yield {
                "po_line_id": move["origin"].partition(",")[2],
                "received_at": words.clock.of_event(move["effective_date"], move["write_date"] or move["create_date"]),
                "quantity": move["internal_quantity"],
                "event_id": str(move["id"]),
            }


def suppliers(session: Tryton, buyers: set[int]) -> Iterator[Row]:
    """One row per party that we buy from or could buy from."""
    for party in session.read_where("party.party", "id", sorted(buyers), ["name"]):
        yield {"supplier_id": str(party["id"]), "name": party["name"]}


def supplier_products(session: Tryton, words: Words, buyers: set[int]) -> Iterator[Row]:
    """One row per supplier and product with a price and a lead time; what is told of a template holds for each product.

    The price is that of the smallest quantity; the supplier named first counts where one is named twice.
    """
    fields = ["product", "template.products", "party", "lead_time", "currency", "unit"]
    prices: dict[int, list[Record]] = {}
    for price in session.pages("purchase.product_supplier.price", [], ["product_supplier", "quantity", "unit_price"]):
        prices.setdefault(price["product_supplier"], []).append(price)
    told: set[tuple[int, int]] = set()
    for record in session.pages("purchase.product_supplier", [], fields):
        if record["lead_time"] is None or record["id"] not in prices:
            continue
        smallest = min(prices[record["id"]], key=lambda price: price["quantity"] or 0)
        of_template = (record["template."] or {}).get("products") or ()
        for product in [record["product"]] if record["product"] else of_template:
            if product not in words.products or (record["party"], product) in told:
                continue
            told.add((record["party"], product))
            buyers.add(record["party"])
            unit = record["unit"] or words.products[product]["default_uom"]
            least = words.in_default_unit(product, smallest["quantity"] or 0, unit)
            yield {
                "supplier_id": str(record["party"]),
                "product_id": str(product),
                "unit_cost": words.price(product, smallest["unit_price"], unit, record["currency"], date.today()),
                "lead_time_days": record["lead_time"] / timedelta(days=1),
                "min_quantity": least or None,
            }


def _inbound(session: Tryton) -> list[list[object]]:
    return [
        ["company", "=", session.context["company"]],
        ["from_location.type", "=", "supplier"],
        ["origin", "like", "purchase.line,%"],
    ]


def _expected(session: Tryton) -> dict[str, date]:
    """The earliest planned date of each purchase line's moves; later reads may say another: that is a slip."""
    days: dict[str, date] = {}
    domain = [*_inbound(session), ["state", "!=", "cancelled"], ["planned_date", "!=", None]]
    for move in session.pages("stock.move", domain, ["origin", "planned_date"]):
        line = move["origin"].partition(",")[2]
        days[line] = min(move["planned_date"], days.get(line, move["planned_date"]))
    return days


def _ignored(session: Tryton) -> dict[str, float]:
    """Quantity of each purchase line that was cancelled and that the purchase does not ask for again."""
    found: dict[str, float] = {}
    moves = {
        move: str(line["id"])
        for line in session.pages("purchase.line", [["moves_ignored", "!=", None]], ["moves_ignored"])
        for move in line["moves_ignored"]
    }
    for move in session.read_where("stock.move", "id", sorted(moves), ["internal_quantity"]):
        line = moves[move["id"]]
        found[line] = found.get(line, 0.0) + move["internal_quantity"]
    return found
