"""Delivering a queue to Tryton 8.2: goods assigned to customer shipments, their planned dates, a note with the reason.

What is asked of a line: `ship_now_quantity` is what is assigned to it in shipments that are not picked yet; the date
column that the settings name is the planned date of its shipment, which is that of the shipment's earliest line;
`reason` stands in a note on the shipment, with the item's key.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Self

from erp.credentials import password
from erp.destination import DeliveryError, Held, Item, Outcome, Scalar, Values
from erp.queue_fields import reason_without_people
from erp.settings import SettingsError, Site, refuse_password_in
from erp.settings_table import read_settings
from erp.tryton_assignment import Assigned, Target, assign
from erp.tryton_rpc import (
    PAGE,
    Tryton,
    TrytonError,
    TrytonLostError,
    TrytonRefusedError,
    TrytonStaleError,
    tryton_address,
    tryton_session,
)
from erp.tryton_shipments import SHIPMENT, Book, read_lines

GOODS, REASON = "ship_now_quantity", "reason"
DATE_COLUMNS = ("", "expected_on", "expected_latest_on", "promised_on", "requested_on")
STALE_TRIES = 3  # times that what somebody changed in mid-call is read anew before the delivery is left
_NOTE = re.compile(r"^order line (\d+): .*\n(.*)\nkey ([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class TrytonSettings:
    """The settings' table `destination` of kind tryton."""

    url: str  # tryton+https://user@host:port/database
    planned_date: str = "expected_latest_on"  # column of the queue for shipments' planned dates; "" leaves them alone
    notes: bool = True  # a note on each shipment with run, reason and key
    timeout_seconds: float = 300.0  # of one call; it covers every shipment of a delivery

    def __post_init__(self) -> None:
        refuse_password_in(self.url, "destination.url")
        try:
            tryton_address(self.url)
        except TrytonError as error:
            raise SettingsError(f"destination.url: {error}") from error
        if self.planned_date not in DATE_COLUMNS:
            names = ", ".join(DATE_COLUMNS[1:])
            raise SettingsError(f'destination.planned_date is {self.planned_date!r}; it is "" or one of {names}')
        if not self.timeout_seconds > 0:
            raise SettingsError(f"destination.timeout_seconds is {self.timeout_seconds:g}; it is above 0")


class TrytonQueue:
    """Tryton as a destination."""

    batch = None  # one call gives out all goods, so that the order decides
    knows_keys = True

    def __init__(self, settings: TrytonSettings, secret: str | None) -> None:
        self.settings, self._password = settings, secret
        self._session: Tryton | None = None

    @classmethod
    def from_table(cls, table: Mapping[str, Any], site: Site) -> Self:
        """Read the settings; the password is the destination's.

        Raises
        ------
        SettingsError
            If a key is unknown, or a value cannot be used.
        """
        return cls(read_settings(TrytonSettings, table, "destination"), password("destination", site))

    @property
    def name(self) -> str:
        """Kind and place, for the ledger."""
        return f"tryton {tryton_address(self.settings.url).name}"

    @property
    def date_column(self) -> str | None:
        """The queue's column that planned dates come from."""
        return self.settings.planned_date or None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Log in, and out again at the end.

        Raises
        ------
        DeliveryError
            If the server does not answer or does not let us in.
        """
        try:
            with tryton_session(self.settings.url, self._password, self.settings.timeout_seconds) as self._session:
                yield
        except TrytonError as error:
            raise DeliveryError(str(error)) from None
        finally:
            self._session = None

    @property
    def session(self) -> Tryton:
        """The open session."""
        assert self._session is not None, "not opened"
        return self._session

    def wishes(self, rows: Iterable[Mapping[str, object]]) -> dict[str, Values]:
        """Goods of every line, the date of its shipment, and the reason where it gets goods or had some."""
        table = {str(row["order_line_id"]): row for row in rows}
        book = read_lines(self.session, table)
        days = self._shipment_days(table, book)
        wishes: dict[str, Values] = {}
        for line, row in table.items():
            wish: dict[str, Scalar] = {GOODS: round(float(str(row[GOODS] or 0)), 6)}
            if planned := min((days[s.id] for s, _ in book.changeable(line) if s.id in days), default=None):
                wish[self.settings.planned_date] = planned.isoformat()
            if self.settings.notes and (wish[GOODS] or book.assigned(line)):
                wish[REASON] = " ".join((reason_without_people(row) or "").split())
            wishes[line] = wish
        return wishes

    def _shipment_days(self, rows: Mapping[str, Mapping[str, object]], book: Book) -> dict[int, date]:
        """The date of each shipment's earliest line."""
        days: dict[int, date] = {}
        for line, row in rows.items():
            if self.settings.planned_date and (cell := row[self.settings.planned_date]) is not None:
                day = date.fromisoformat(str(cell)[:10])
                for shipment, _ in book.changeable(line):
                    days[shipment.id] = min(day, days.get(shipment.id, day))
        return days

    def held(self, order_line_ids: Sequence[str]) -> dict[str, Held]:
        """What Tryton says of these lines; one that has left for good, or that no shipment holds, is missing."""
        book = read_lines(self.session, order_line_ids)
        reasons = self._noted(book)
        return {line: self._held_line(line, book, reasons) for line in order_line_ids if line in book.by_line}

    def _held_line(self, line: str, book: Book, notes: Mapping[str, tuple[str, str]]) -> Held:
        values: dict[str, Scalar] = {GOODS: book.assigned(line)}
        if self.settings.planned_date:
            planned = book.planned_on(line)
            values[self.settings.planned_date] = planned.isoformat() if planned else None
        if line in notes:
            values[REASON] = notes[line][0]
        if book.changeable(line):
            return Held(values, book.version(line))
        states = sorted({shipment.state for shipment, _ in book.by_line[line]})
        return Held(values, None, may_change=False, why_not=f"its shipment is {' and '.join(states)} in Tryton")

    def _noted(self, book: Book) -> dict[str, tuple[str, str]]:
        """Reason and key of the newest note on each line."""
        if not self.settings.notes:
            return {}
        resources = [f"{SHIPMENT},{shipment}" for shipment in sorted(book.shipments)]
        found = self.session.read_where("ir.note", "resource", resources, ["message"])
        newest = sorted(found, key=lambda note: int(note["id"]))
        return {line: (why, key) for note in newest for line, why, key in _NOTE.findall(note["message"] or "")}

    def newest_sequence(self) -> int | None:
        """None: Tryton keeps no sequences."""
        return None

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """Give out the goods of all items in their order; what somebody changed since it was read is skipped."""
        try:
            for _ in range(STALE_TRIES):
                try:
                    return self._send(items)
                except TrytonStaleError:
                    continue
        except TrytonLostError as error:
            return [Outcome(item.key, "unknown", str(error)) for item in items]
        except TrytonRefusedError as error:
            return [Outcome(item.key, "refused", str(error)) for item in items]
        return [Outcome(item.key, "absent", "Tryton's shipments change faster than they are read") for item in items]

    def _send(self, items: Sequence[Item]) -> list[Outcome]:
        book = read_lines(self.session, [item.order_line_id for item in items])
        outcomes, asked = _sorted_out(items, book)
        target = self._target(asked, book)
        assigned = assign(self.session, book, target)
        judged = [self._judge(item, assigned) for item in asked]
        if self.settings.notes:
            self._note(asked, judged, assigned)
        return outcomes + judged

    def _target(self, items: Sequence[Item], book: Book) -> Target:
        target = Target()
        for item in sorted(items, key=lambda item: item.place):
            values = item.values or {}
            left = float(values.get(GOODS) or 0)
            day = values.get(self.settings.planned_date)
            for shipment, move in book.changeable(item.order_line_id):
                target.goods[move.id] = round(min(left, move.in_default_unit), 6)
                left -= target.goods[move.id]
                if day is not None:
                    planned = date.fromisoformat(str(day))
                    target.days[shipment.id] = min(planned, target.days.get(shipment.id, planned))
                if target.goods[move.id] > 0 and shipment.id not in target.order:
                    target.order.append(shipment.id)
        return target

    def _judge(self, item: Item, assigned: Assigned) -> Outcome:
        """Accepted where it reads back; the reason why not otherwise."""
        line, values = item.order_line_id, item.values or {}
        for shipment, _ in assigned.book.changeable(line):
            if shipment.id in assigned.refused:
                return Outcome(item.key, "refused", assigned.refused[shipment.id])
        got, wish = assigned.book.assigned(line), values.get(GOODS)
        if got != wish:
            asked = sum(move.in_default_unit for _, move in assigned.book.changeable(line))
            return Outcome(item.key, "refused", f"Tryton assigned {got:g} of {wish:g}; its shipments hold {asked:g}")
        planned = assigned.book.planned_on(line)
        if (day := values.get(self.settings.planned_date)) and str(planned) != day:
            why = next(
                (assigned.undated[s.id] for s, _ in assigned.book.changeable(line) if s.id in assigned.undated), ""
            )
            return Outcome(item.key, "refused", why or f"its shipment is planned for {planned}, not {day}")
        return Outcome(item.key, "accepted")

    def _note(self, items: Sequence[Item], outcomes: Sequence[Outcome], assigned: Assigned) -> None:
        """Say on each shipment what was given to its lines and why, unless its notes say so already."""
        there = self._noted(assigned.book)
        said: dict[int, list[str]] = {}
        for item, outcome in zip(items, outcomes, strict=True):
            reason = (item.values or {}).get(REASON)
            if outcome.state != "accepted" or reason is None or there.get(item.order_line_id) == (reason, item.key):
                continue
            text = f"order line {item.order_line_id}: {assigned.book.assigned(item.order_line_id):g} assigned"
            for shipment, _ in assigned.book.changeable(item.order_line_id):
                said.setdefault(shipment.id, [f"Backorder, run {item.run_id[:12]}"])
                said[shipment.id].append(f"{text}\n{reason}\nkey {item.key}")
        notes = [{"resource": f"{SHIPMENT},{s}", "message": "\n".join(parts)} for s, parts in sorted(said.items())]
        for start in range(0, len(notes), PAGE):
            self.session.model("ir.note", "create", notes[start : start + PAGE])

    def ask(self, items: Sequence[Item]) -> list[Outcome]:
        """Accepted where Tryton says what the item says, or has a note of its key; else it did not arrive whole."""
        try:
            book = read_lines(self.session, [item.order_line_id for item in items])
            notes = self._noted(book)
        except TrytonError as error:
            return [Outcome(item.key, "unknown", str(error)) for item in items]
        keys = {key for _, key in notes.values()}
        return [Outcome(item.key, "accepted" if self._holds(item, book, notes, keys) else "absent") for item in items]

    def _holds(self, item: Item, book: Book, notes: Mapping[str, tuple[str, str]], keys: set[str]) -> bool:
        line = item.order_line_id
        if item.values is None:
            return True
        if line not in book.by_line or any(s.is_short or s.state == "draft" for s, _ in book.changeable(line)):
            return False
        values = self._held_line(line, book, notes).values
        return item.key in keys or all(values.get(name) == value for name, value in item.values.items())


def _sorted_out(items: Sequence[Item], book: Book) -> tuple[list[Outcome], list[Item]]:
    """What can be said before anything is written, and the items that are left."""
    outcomes, asked = [], []
    for item in items:
        line = item.order_line_id
        if item.values is None:
            outcomes.append(Outcome(item.key, "accepted", "nothing stands there for a line that left the queue"))
        elif line not in book.by_line:
            why = "Tryton has no open shipment of it: shipped, cancelled, or its sale makes shipments later or by hand"
            outcomes.append(Outcome(item.key, "refused", why))
        elif not book.changeable(line):
            outcomes.append(
                Outcome(item.key, "skipped", "its shipment is picked, packed, shipped or a draft in Tryton")
            )
        elif item.version is not None and Decimal(book.version(line)) > Decimal(item.version):
            outcomes.append(Outcome(item.key, "skipped", "somebody changed its shipment since it was read"))
        else:
            asked.append(item)
    return outcomes, asked
