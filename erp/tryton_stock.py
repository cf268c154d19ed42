"""What lies in Tryton's warehouses: on the shelf or fetched for a shipment, and what is held for other purposes.

Goods that were fetched for a shipment wait in the output zone until they leave: they count as on hand here, as the
contract takes them off as firm reservations. Goods received and not yet put away count once they are.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime

from erp.tryton_moves import Moves
from erp.tryton_rpc import PAGE, Record, Tryton
from erp.tryton_shipments import shipment_of
from erp.tryton_words import Row, Words

Zones = dict[int, list[int]]  # locations that goods can be shipped from or wait for shipping in, by warehouse


def read_zones(session: Tryton) -> Zones:
    """Storage and output zone of each warehouse, with everything in them."""
    fields = ["type", "parent", "storage_location", "output_location"]
    locations = {place["id"]: place for place in session.search_read("stock.location", [], fields)}
    zones: Zones = {}
    for place in locations.values():
        if place["type"] == "warehouse":
            roots = {place["storage_location"], place["output_location"]}
            zones[place["id"]] = [name for name in locations if roots & set(_ancestors(name, locations))]
    return zones


def stock_rows(
    session: Tryton, zones: Zones, words: Words, moves: Moves, warehouses: Mapping[str, str], counted_at: datetime
) -> Iterator[Row]:
    """One row per product and warehouse; counts below zero are told as zero."""
    home = {place: warehouse for warehouse, places in zones.items() for place in places}
    reserved = _reserved(moves, warehouses, home)
    for warehouse, places in zones.items():
        for product, quantity in _quantities(session, places, words).items():
            held = round(reserved.get((warehouse, product), 0.0), 6)
            yield {
                "snapshot_at": counted_at,
                "product_id": str(product),
                "on_hand": max(0.0, quantity),
                "warehouse_id": str(warehouse),
                "reserved": held,
            }


def _quantities(session: Tryton, places: list[int], words: Words) -> dict[int, float]:
    """Quantity of each product in some locations, in its default unit."""
    context = {"locations": places, "with_childs": False, "stock_date_end": date.today(), "forecast": False}
    found: dict[int, float] = {}
    products = sorted(words.products)
    for start in range(0, len(products), PAGE):
        part: list[Record] = session.model(
            "product.product", "read", products[start : start + PAGE], ["quantity"], context=context
        )
        found |= {record["id"]: round(record["quantity"] or 0.0, 6) for record in part}
    return found


def _reserved(moves: Moves, warehouses: Mapping[str, str], home: Mapping[int, int]) -> dict[tuple[int, int], float]:
    """Goods held for what is no order line, by warehouse and product."""
    held: dict[tuple[int, int], float] = {}
    for move in [*moves.firm, *moves.assigned]:
        warehouse = home.get(move["from_location"])
        is_put_elsewhere = home.get(move["to_location"]) == warehouse and shipment_of(move) is None
        if warehouse is None or is_put_elsewhere or moves.line_of(move) in warehouses:
            continue
        key = (warehouse, move["product"])
        held[key] = held.get(key, 0.0) + move["internal_quantity"]
    return held


def _ancestors(place: int | None, locations: Mapping[int, Record]) -> Iterator[int]:
    while place is not None and place in locations:
        yield place
        place = locations[place]["parent"]
