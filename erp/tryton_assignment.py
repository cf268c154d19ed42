"""Making a Tryton server assign exactly given quantities to customer shipments, in a given order, in few calls.

Tryton assigns whole shipments: `assign_try` gives every move of the shipments named, in their order, whatever is still
there. That a shipment gets the goods of one line and not of another takes four steps, each one call for all shipments:

1. `wait` takes goods back and asks for all quantities again (a planned date is written in between, as a draft);
2. what a line shall not get is taken out of the shipment's inventory moves;
3. `assign_try` in the order in which goods are to be given out finds stock for the rest;
4. `wait` with no moves to reset leaves what is assigned and asks for the other quantities again.

A connection that dies between two steps leaves shipments that no one loses goods by: they wait without goods, or
after step 3 a shipment is ready to be picked with a part of its goods, for the rest of which Tryton makes another one.
Doing it again from what is there then completes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from math import floor

from erp.tryton_rpc import PAGE, Record, Tryton, TrytonRefusedError, TrytonStaleError
from erp.tryton_shipments import SHIPMENT, Book, Move, Shipment, read_shipments

# Shipments taken back in one call: Tryton keeps 2,000 records in mind, and reads more of them again and again.
PART = 100


@dataclass
class Target:
    """What shipments shall hold."""

    goods: dict[int, float] = field(default_factory=dict)  # quantity by outgoing move, default unit; others keep theirs
    days: dict[int, date] = field(default_factory=dict)  # planned date by shipment; others keep theirs
    order: list[int] = field(default_factory=list)  # shipments in the order in which goods are given out

    def quantity(self, shipment: Shipment, move: Move) -> float:
        """What an outgoing move shall have assigned."""
        return self.goods.get(move.id, shipment.assigned(move))


@dataclass(frozen=True)
class Limit:
    """What an inventory move may fetch, in its own unit."""

    shipment: int
    move: int
    quantity: float

    @property
    def pair(self) -> tuple[list[int], Record]:
        """As Tryton's `write` takes it."""
        return [self.move], {"quantity": self.quantity}


@dataclass
class Assigned:
    """What came of it: shipments as they are now, written to, refused by Tryton, refused as to their date."""

    book: Book
    touched: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    undated: dict[int, str] = field(default_factory=dict)


def assign(session: Tryton, book: Book, target: Target) -> Assigned:
    """Bring shipments to their targets; writes nothing where they hold already.

    Parameters
    ----------
    book : the shipments, read just before

    Raises
    ------
    TrytonStaleError
        If somebody changed one of them since it was read; nothing of that step happened.
    TrytonLostError
        If an answer was lost; doing it again completes it.
    """
    job = _Job(session, book, target)
    job.redate()
    job.take_back()
    job.limit()
    job.give_out()
    return job.finish()


class _Job:
    """One assignment under way."""

    def __init__(self, session: Tryton, book: Book, target: Target) -> None:
        self.session, self.book, self.target = session, book, target
        shipments = [shipment for shipment in book.shipments.values() if shipment.may_change]
        self.late = {s.id for s in shipments if target.days.get(s.id, s.planned_on) != s.planned_on}
        moved = {s.id for s in shipments if any(s.assigned(m) != target.quantity(s, m) for m in s.outgoing)}
        drafts = {s.id for s in shipments if s.state == "draft"}  # left so by a connection that died
        short = {s.id for s in shipments if s.is_short}
        self.reset = self.late | moved | drafts
        self.result = Assigned(book, set(self.reset | short))
        self.written: set[int] = set()

    def redate(self) -> None:
        """Write planned dates, which Tryton takes in draft only."""
        states = {shipment: self.book.shipments[shipment].state for shipment in self.late}
        self.click("wait", [shipment for shipment in self.late if states[shipment] == "assigned"])
        self.click("draft", [shipment for shipment in self.late if states[shipment] != "draft"])
        by_day: dict[date, list[int]] = {}
        for shipment in sorted(self.late - set(self.result.refused)):
            by_day.setdefault(self.target.days[shipment], []).append(shipment)
        pairs = [pair for day, ids in by_day.items() for pair in (ids, {"planned_date": day})]
        if not pairs:
            return
        try:
            self.session.model(SHIPMENT, "write", *pairs, context=self.guard(sorted(self.late)))
        except TrytonStaleError:
            raise
        except TrytonRefusedError as error:  # the dates stay, and the shipments go back to waiting
            self.result.undated |= dict.fromkeys(self.late, str(error))

    def take_back(self) -> None:
        """Take goods back and ask for everything again."""
        fresh = {s for s in self.reset - self.late if self.book.shipments[s].is_fresh}
        self.click("wait", sorted(self.reset - fresh))
        self.book = read_shipments(self.session, sorted(self.reset)) if self.reset - fresh else self.book

    def limit(self) -> None:
        """Take out of the inventory moves what a line shall not get, where others of its shipment get something."""
        limits: list[Limit] = []
        for shipment in self.giving():
            for move in shipment.outgoing:
                wish = self.wanted[move.id]
                if shipment.fetched(move) <= wish + 1e-6:
                    continue
                if not shipment.has_two_steps:
                    self.result.refused[shipment.id] = "its warehouse has no output zone, so it gets all goods or none"
                    continue
                limits += _limits(shipment, move, wish, self.steps)
        # None is left of a move with quantity 0: Tryton would call it assigned.
        for part in ([limit for limit in limits if limit.quantity > 0], [x for x in limits if x.quantity <= 0]):
            for start in range(0, len(part), PAGE):
                self.write_limits(part[start : start + PAGE])

    def write_limits(self, limits: Sequence[Limit]) -> None:
        """Write or delete inventory moves at once; where Tryton refuses, those alone that it does not refuse."""
        try:
            if limits[0].quantity > 0:
                self.session.model("stock.move", "write", *(cell for limit in limits for cell in limit.pair))
            else:
                self.session.model("stock.move", "delete", [limit.move for limit in limits])
        except TrytonRefusedError as error:
            if len(limits) == 1:
                self.result.refused[limits[0].shipment] = str(error)
                return
            middle = len(limits) // 2
            self.write_limits(limits[:middle])
            self.write_limits(limits[middle:])

    def give_out(self) -> None:
        """Let Tryton find stock, in our order."""
        places = {shipment: place for place, shipment in enumerate(self.target.order)}
        giving = sorted((s.id for s in self.giving()), key=lambda s: (places.get(s, len(places)), s))
        self.click("assign_try", giving)

    def finish(self) -> Assigned:
        """Read back, and put shipments that hold a part of their goods back to waiting."""
        touched = sorted(self.result.touched)
        if not touched:
            return self.result
        now = read_shipments(self.session, touched)
        if short := [s.id for s in now.shipments.values() if s.is_short]:
            self.click("wait", short, [])
            now = read_shipments(self.session, touched)
        self.result.book = Book({**self.result.book.shipments, **now.shipments})
        return self.result

    @cached_property
    def wanted(self) -> dict[int, float]:
        """What each outgoing move of the shipments that were reset shall have: read before goods were taken back."""
        before = self.result.book.shipments
        return {m.id: self.target.quantity(before[s], m) for s in self.reset for m in before[s].outgoing}

    @cached_property
    def steps(self) -> dict[int, float]:
        """The smallest step of each unit of measure, by its id."""
        units = self.session.search_read("product.uom", [], ["rounding"])
        return {unit["id"]: float(unit["rounding"]) for unit in units}

    def giving(self) -> list[Shipment]:
        """Shipments that were reset and are to get something."""
        wanted = self.wanted
        shipments = [self.book.shipments[s] for s in sorted(self.reset) if s not in self.result.refused]
        return [s for s in shipments if any(wanted.get(move.id, 0) > 0 for move in s.outgoing)]

    def click(self, button: str, shipments: Sequence[int], *arguments: object) -> None:
        """Press a button on shipments, in parts where the order does not matter."""
        size = len(shipments) if button == "assign_try" else PART
        for start in range(0, len(shipments), max(size, 1)):
            self.press(button, shipments[start : start + size], *arguments)

    def press(self, button: str, shipments: Sequence[int], *arguments: object) -> None:
        """Press a button on shipments at once; where Tryton refuses, on those alone that it does not refuse."""
        ids = [shipment for shipment in shipments if shipment not in self.result.refused]
        if not ids:
            return
        try:
            self.session.model(SHIPMENT, button, ids, *arguments, context=self.guard(ids))
        except TrytonStaleError:
            raise
        except TrytonRefusedError as error:
            if len(ids) == 1:
                self.result.refused[ids[0]] = str(error)
                return
            middle = len(ids) // 2
            self.press(button, ids[:middle], *arguments)
            self.press(button, ids[middle:], *arguments)
            return
        self.written |= set(ids)

    def guard(self, ids: Sequence[int]) -> Record:
        """Context by which Tryton refuses to write what changed since it was read; our own first write ends it."""
        read = self.result.book.shipments
        return {"_timestamp": {f"{SHIPMENT},{s}": str(read[s].stamp) for s in ids if s not in self.written}}


def _limits(shipment: Shipment, move: Move, wish: float, steps: Mapping[int, float]) -> list[Limit]:
    """What leaves the wish in the first inventory moves of an outgoing move and nothing in the others."""
    limits = []
    left = wish
    for fetch in shipment.fetches(move):
        keep = min(left, fetch.in_default_unit)
        left -= keep
        if keep < fetch.in_default_unit:
            quantity, step = keep * fetch.quantity / fetch.in_default_unit, steps[fetch.unit]
            limits.append(Limit(shipment.id, fetch.id, round(floor(quantity / step + 1e-6) * step, 9)))
    return limits
