"""What a Tryton server says of customer shipments: their order lines, the goods assigned to each, and who wrote last.

A shipment in two steps has an outgoing move per order line and, while it waits, inventory moves that fetch its goods
from the storage; assigning splits those. In a warehouse without an output zone the outgoing moves are assigned
themselves. Quantities here are in the product's default unit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property

from erp.tryton_rpc import Record, Tryton

SHIPMENT = "stock.shipment.out"
WAITING = ("waiting", "assigned")  # states in which goods may still be given and taken
GONE = ("done", "cancelled")
_STAMPS = ["create_uid", "write_uid", "_timestamp"]


@dataclass(frozen=True)
class Move:
    """One stock move of a shipment that is neither done nor cancelled."""

    id: int
    origin: str  # sale.line,ID of an outgoing move; stock.move,ID of an inventory move
    state: str
    unit: int
    quantity: float  # in its own unit
    in_default_unit: float
    stamp: Decimal  # seconds since 1970 of its last change
    is_own: bool  # last written by the user of this session

    @property
    def order_line_id(self) -> str | None:
        """The order line of an outgoing move; None for what no sale asked for."""
        model, _, record = self.origin.partition(",")
        return record if model == "sale.line" else None


@dataclass
class Shipment:
    """A customer shipment with its open moves."""

    id: int
    state: str
    planned_on: date | None
    has_two_steps: bool
    stamp: Decimal
    is_own: bool
    outgoing: list[Move] = field(default_factory=list)
    inventory: list[Move] = field(default_factory=list)

    @property
    def may_change(self) -> bool:
        """Whether goods may still be given and taken; a draft only if we took it back there and did not come on."""
        return self.state in WAITING or (self.state == "draft" and self.is_own)

    @property
    def is_short(self) -> bool:
        """Ready to be picked by our doing though some of its goods are not asked for: to be put back to waiting."""
        return (
            self.state == "assigned"
            and self.is_own
            and self.has_two_steps
            and any(self.fetched(move) < move.in_default_unit - 1e-6 for move in self.outgoing)
        )

    @property
    def is_fresh(self) -> bool:
        """Waiting, with nothing assigned and all of its goods asked for: nothing has to be taken back."""
        return self.state == "waiting" and all(
            self.assigned(move) == 0 and (not self.has_two_steps or self.fetched(move) == move.in_default_unit)
            for move in self.outgoing
        )

    def fetches(self, move: Move) -> list[Move]:
        """Moves by which the goods of an outgoing move are assigned."""
        if not self.has_two_steps:
            return [move]
        return [fetch for fetch in self.inventory if fetch.origin == f"stock.move,{move.id}"]

    def fetched(self, move: Move) -> float:
        """Quantity of an outgoing move that is asked for, assigned or not."""
        return round(sum(fetch.in_default_unit for fetch in self.fetches(move)), 6)

    def assigned(self, move: Move) -> float:
        """Quantity of an outgoing move that is assigned."""
        return round(sum(f.in_default_unit for f in self.fetches(move) if f.state == "assigned"), 6)

    @property
    def newest_of_others(self) -> Decimal:
        """When somebody else than this session's user changed it last, as far as it still shows."""
        records: list[Shipment | Move] = [self, *self.outgoing, *self.inventory]
        return max((record.stamp for record in records if not record.is_own), default=Decimal(0))


@dataclass(frozen=True)
class Book:
    """Shipments by id."""

    shipments: dict[int, Shipment]

    @cached_property
    def by_line(self) -> dict[str, list[tuple[Shipment, Move]]]:
        """Outgoing moves of each order line, that which is planned first before the others."""
        found: dict[str, list[tuple[Shipment, Move]]] = {}
        for shipment in sorted(self.shipments.values(), key=lambda s: (s.planned_on or date.max, s.id)):
            for move in sorted(shipment.outgoing, key=lambda move: move.id):
                if move.order_line_id is not None:
                    found.setdefault(move.order_line_id, []).append((shipment, move))
        return found

    def changeable(self, line: str) -> list[tuple[Shipment, Move]]:
        """Outgoing moves of a line whose goods may be given and taken; what is staged waits for its own purchase."""
        return [(s, move) for s, move in self.by_line.get(line, []) if s.may_change and move.state != "staging"]

    def assigned(self, line: str) -> float:
        """Quantity of a line that is assigned and not yet picked."""
        return round(sum(shipment.assigned(move) for shipment, move in self.changeable(line)), 6)

    def planned_on(self, line: str) -> date | None:
        """The earliest planned date of the line's shipments."""
        days = [shipment.planned_on for shipment, _ in self.changeable(line) if shipment.planned_on]
        return min(days, default=None)

    def version(self, line: str) -> str:
        """When somebody else changed the line's shipments last."""
        return str(max((s.newest_of_others for s, _ in self.changeable(line)), default=Decimal(0)))


def read_lines(session: Tryton, order_line_ids: Iterable[str]) -> Book:
    """Every open shipment with goods of these order lines, whole; lines without one are missing."""
    origins = [f"sale.line,{line}" for line in order_line_ids if line.isdigit()]
    moves = session.read_where("stock.move", "origin", origins, ["shipment"], ["state", "not in", list(GONE)])
    found = {shipment for move in moves if (shipment := shipment_of(move)) is not None}
    return read_shipments(session, sorted(found))


def shipment_of(move: Record) -> int | None:
    """The customer shipment that a move belongs to; None for a move of anything else."""
    model, _, record = (move["shipment"] or "").partition(",")
    return int(record) if model == SHIPMENT else None


def read_shipments(session: Tryton, ids: Sequence[int]) -> Book:
    """These shipments as they are now."""
    fields = ["state", "planned_date", "warehouse_storage", "warehouse_output", *_STAMPS]
    records = session.read_where(SHIPMENT, "id", list(ids), fields)
    book = {record["id"]: _shipment(session, record) for record in records}
    outputs = {record["id"]: record["warehouse_output"] for record in records}
    for move, record in _moves(session, list(book)):
        shipment = int(record["shipment"].partition(",")[2])
        if record["to_location"] == outputs[shipment]:
            book[shipment].inventory.append(move)
        else:
            book[shipment].outgoing.append(move)
    return Book(book)


def _moves(session: Tryton, shipments: Sequence[int]) -> list[tuple[Move, Record]]:
    fields = ["origin", "shipment", "state", "unit", "quantity", "internal_quantity", "to_location", *_STAMPS]
    owners = [f"{SHIPMENT},{shipment}" for shipment in shipments]
    records = session.read_where("stock.move", "shipment", owners, fields)
    return [(_move(session, record), record) for record in records if record["state"] not in GONE]


def _shipment(session: Tryton, record: Record) -> Shipment:
    return Shipment(
        id=record["id"],
        state=record["state"],
        planned_on=record["planned_date"],
        has_two_steps=record["warehouse_storage"] != record["warehouse_output"],
        stamp=Decimal(record["_timestamp"]),
        is_own=_is_own(session, record),
    )


def _move(session: Tryton, record: Record) -> Move:
    return Move(
        id=record["id"],
        origin=record["origin"] or "",
        state=record["state"],
        unit=record["unit"],
        quantity=record["quantity"],
        in_default_unit=record["internal_quantity"],
        stamp=Decimal(record["_timestamp"]),
        is_own=_is_own(session, record),
    )


def _is_own(session: Tryton, record: Record) -> bool:
    return bool((record["write_uid"] or record["create_uid"]) == session.uid)
