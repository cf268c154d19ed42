"""Goods on their way to customers in Tryton: what was shipped, cancelled, and what is held for a line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from erp.tryton_rpc import Record, Tryton
from erp.tryton_shipments import SHIPMENT, shipment_of
from erp.tryton_words import Row, Words

FIRM = ("picked", "packed", "shipped")  # states of a shipment whose goods have left the storage


@dataclass
class Moves:
    """Moves to customers by what became of them, and everything that is held."""

    done: list[Record] = field(default_factory=list)
    dropped: list[Record] = field(default_factory=list)  # cancelled, and the sale will not send them again
    first_planned: dict[str, date] = field(default_factory=dict)  # by line: when it was to ship, as first planned
    firm: list[Record] = field(default_factory=list)  # open moves of shipments that are picked or further
    assigned: list[Record] = field(default_factory=list)  # of shipments not picked, and of everything else
    lines: dict[int, str] = field(default_factory=dict)  # order line of each open move to a customer

    def shipments(self, words: Words, warehouses: Mapping[str, str]) -> Iterator[Row]:
        """One row per move that left."""
        return _events(self.done, "shipped_at", words, warehouses)

    def cancellations(self, words: Words, warehouses: Mapping[str, str]) -> Iterator[Row]:
        """One row per cancelled move that the sale ignores."""
        return _events(self.dropped, "cancelled_at", words, warehouses)

    def reservations(self, warehouses: Mapping[str, str]) -> Iterator[Row]:
        """One row per line that goods are held for: picked ones if there are any, else assigned ones."""
        for is_firm, held in self._held(warehouses).items():
            for line, quantity in held.items():
                row = {"order_line_id": line, "quantity": round(quantity, 6), "warehouse_id": warehouses[line]}
                yield row | {"is_firm": is_firm}

    def _held(self, warehouses: Mapping[str, str]) -> dict[bool, dict[str, float]]:
        firm: dict[str, float] = {}
        soft: dict[str, float] = {}
        for moves, held in ((self.firm, firm), (self.assigned, soft)):
            for move in moves:
                line = self.line_of(move)
                if line in warehouses and move["internal_quantity"] > 0:
                    held[line] = held.get(line, 0.0) + move["internal_quantity"]
        return {True: firm, False: {line: quantity for line, quantity in soft.items() if line not in firm}}

    def line_of(self, move: Record) -> str:
        """The order line that a move serves, by itself or through the move that it fetches goods for; empty: none."""
        model, _, record = (move["origin"] or "").partition(",")
        if model == "sale.line":
            return str(record)
        return self.lines.get(int(record), "") if model == "stock.move" else ""


def read_moves(session: Tryton, words: Words) -> Moves:
    """Read the company's moves to customers, and everything assigned."""
    moves = Moves()
    ignored = {
        move
        for line in session.pages("sale.line", [["moves_ignored", "!=", None]], ["moves_ignored"])
        for move in line["moves_ignored"]
    }
    firm = {s["id"] for s in session.pages(SHIPMENT, [["state", "in", list(FIRM)]], ["state"])}
    fields = ["origin", "state", "product", "internal_quantity", "effective_date", "origin_planned_date"]
    fields += ["planned_date", "shipment", "from_location", "to_location", "create_date", "write_date"]
    company = ["company", "=", session.context["company"]]
    to_customers = [company, ["to_location.type", "=", "customer"], ["origin", "like", "sale.line,%"]]
    for move in session.pages("stock.move", to_customers, fields):
        _sort_in(move, moves, ignored)
    held = [company, ["state", "in", ["draft", "assigned"]]]
    for move in session.pages("stock.move", [*held, ["shipment", "like", f"{SHIPMENT},%"]], fields):
        if shipment_of(move) in firm:
            moves.firm.append(move)
    for move in session.pages("stock.move", [company, ["state", "=", "assigned"]], fields):
        if shipment_of(move) not in firm:
            moves.assigned.append(move)
    return moves


def _sort_in(move: Record, moves: Moves, ignored: set[int]) -> None:
    line = move["origin"].partition(",")[2]
    if move["state"] == "done":
        moves.done.append(move)
    elif move["state"] == "cancelled":
        if move["id"] in ignored:
            moves.dropped.append(move)
    else:
        moves.lines[move["id"]] = line
    if planned := move["origin_planned_date"] or move["planned_date"]:
        moves.first_planned[line] = min(planned, moves.first_planned.get(line, planned))


def _events(moves: list[Record], column: str, words: Words, warehouses: Mapping[str, str]) -> Iterator[Row]:
    for move in moves:
        line = move["origin"].partition(",")[2]
        if line not in warehouses or move["internal_quantity"] <= 0:
            continue
        day = move["effective_date"] if column == "shipped_at" else None
        yield {
            "order_line_id": line,
            column: words.clock.of_event(day, move["write_date"] or move["create_date"]),
            "quantity": move["internal_quantity"],
            "event_id": str(move["id"]),
        }
