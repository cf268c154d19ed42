"""The ledger's outbox: what was to be written where, what it said there before, and what became of it.

An item is noted before it is sent, and marked `sending` before the first byte leaves: after a crash whatever is marked
so may or may not have arrived, and is asked for by its key.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from erp.destination import Item, Values
from erp.ledger import Ledger, LedgerError, utc_text

Kind = Literal["apply", "undo"]
# pending: noted, surely not sent. sending: sent or being sent, no answer noted. unknown: asked for in vain.
# accepted, skipped, refused: final, as in `erp.destination.Outcome`; skipped also if given up before it was sent.
# dropped: given up after it was sent and did not arrive; as it may still be on its way, the line is written anew.
KEPT_DELIVERIES = 30  # whose items are kept whole: a month of mornings
OPEN_STATES = ("pending", "sending", "unknown")
UNCERTAIN_STATES = ("sending", "unknown")


@dataclass(frozen=True)
class Delivery:
    """One apply or undo of a run at one destination."""

    id: int  # milliseconds of the clock when it began, and above every earlier one: the items' sequence
    run_id: str
    destination: str
    kind: Kind
    state: str  # open, done (every item final), dropped (a person said that its uncertain items never arrived)
    who: str
    started_at: str


class Outbox:
    """Deliveries and their items in a ledger; writing needs `lock_store`, reading does not."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def begin(self, run_id: str, destination: str, kind: Kind, who: str, above: int = 0) -> Delivery:
        """Note a new delivery, which has no items yet: `add` gives it some, all at once.

        Parameters
        ----------
        above : a sequence that the destination has seen, below which it would take nothing

        Raises
        ------
        LedgerError
            If an earlier one to this destination is still open.
        """
        if self.unfinished(destination):
            raise LedgerError(f"an earlier delivery to {destination} is not finished; settle it first")
        now = datetime.now(UTC)
        # By the clock, so that a store that was lost and made anew goes on with later numbers than receivers know.
        after = self.ledger.read("select coalesce(max(id), 0) + 1 as id from deliveries")[0]["id"]
        number = max(int(after), above + 1, int(now.timestamp() * 1000))
        self.ledger.write(
            "insert into deliveries(id, run_id, destination, kind, state, who, started_at)"
            " values (?, ?, ?, ?, 'open', ?, ?)",
            *(number, run_id, destination, kind, who, utc_text(now)),
        )
        return Delivery(number, run_id, destination, kind, "open", who, utc_text(now))

    def add(self, delivery: Delivery, items: Sequence[Item]) -> None:
        """Note the items of a delivery in one transaction: all of them stand, or none."""
        now = utc_text(datetime.now(UTC))
        self.ledger.write_all(
            "insert into outbox(key, delivery_id, order_line_id, place, payload, previous, version, state, answer,"
            " changed_at) values (?, ?, ?, ?, ?, ?, ?, 'pending', '', ?)",
            [
                (item.key, delivery.id, item.order_line_id, item.place, _json(item.values), _json(item.previous))
                + (item.version, now)
                for item in items
            ],
        )

    def mark(self, keys: Iterable[str], state: str, answer: str = "") -> None:
        """Note what became of items, in one transaction."""
        now = utc_text(datetime.now(UTC))
        rows = [(state, answer, now, key) for key in keys]
        self.ledger.write_all("update outbox set state = ?, answer = ?, changed_at = ? where key = ?", rows)

    def give_up(self, delivery: Delivery) -> None:
        """Note that what is pending will not be sent."""
        self.ledger.write(
            "update outbox set state = case when answer = '' then 'skipped' else 'dropped' end,"
            " answer = 'something else was asked for before it was sent', changed_at = ?"
            " where delivery_id = ? and state = 'pending'",
            *(utc_text(datetime.now(UTC)), delivery.id),
        )

    def close(self, delivery: Delivery, state: Literal["done", "dropped"] = "done") -> None:
        """Note that nothing more happens to a delivery."""
        now = utc_text(datetime.now(UTC))
        self.ledger.write("update deliveries set state = ?, ended_at = ? where id = ?", state, now, delivery.id)

    def forget(self, destination: str) -> None:
        """Drop items older than the last KEPT_DELIVERIES deliveries, but never what a line says there now."""
        query = "select id from deliveries where destination = ? order by id desc limit ?"
        newest = self.ledger.read(query, destination, KEPT_DELIVERIES)
        oldest_kept = min((int(row["id"]) for row in newest), default=0)
        self.ledger.write(
            "delete from outbox where delivery_id < ? and delivery_id in (select id from deliveries where"
            " destination = ?) and not (state = 'accepted' and delivery_id = (select max(n.delivery_id) from outbox n"
            " join deliveries d on d.id = n.delivery_id where d.destination = ? and n.state = 'accepted'"
            " and n.order_line_id = outbox.order_line_id))",
            *(oldest_kept, destination, destination),
        )

    def unfinished(self, destination: str) -> Delivery | None:
        """The delivery to this destination that is still open; there is at most one."""
        found = self._deliveries("where destination = ? and state = 'open' order by id desc limit 1", destination)
        return found[0] if found else None

    def newest(self, destination: str) -> Delivery | None:
        """The delivery begun last at this destination, open or not."""
        found = self._deliveries("where destination = ? order by id desc limit 1", destination)
        return found[0] if found else None

    def of_run(self, run_id: str, destination: str) -> list[Delivery]:
        """Every delivery of a run at a destination, oldest first."""
        return self._deliveries("where run_id = ? and destination = ? order by id", run_id, destination)

    def waiting(self, *states: str) -> dict[str, int]:
        """How many items of open deliveries are in one of these states, by destination."""
        rows = self.ledger.read(
            "select d.destination, count(*) as n from outbox o join deliveries d on d.id = o.delivery_id"
            f" where d.state = 'open' and o.state in ({', '.join('?' * len(states))}) group by d.destination",
            *states,
        )
        return {str(row["destination"]): int(row["n"]) for row in rows}

    def items(self, delivery: Delivery, *states: str) -> list[Item]:
        """Items of a delivery in these states (none named: in all), in their order."""
        query = "select * from outbox where delivery_id = ?"
        if states:
            query += f" and state in ({', '.join('?' * len(states))})"
        rows = self.ledger.read(query + " order by place, order_line_id", delivery.id, *states)
        return [_item(row, delivery) for row in rows]

    def counts(self, delivery: Delivery) -> dict[str, int]:
        """How many items of a delivery are in each state."""
        query = "select state, count(*) as n from outbox where delivery_id = ? group by state order by state"
        return {str(row["state"]): int(row["n"]) for row in self.ledger.read(query, delivery.id)}

    def answers(self, delivery: Delivery, *states: str) -> dict[str, str]:
        """What was answered, by order line, for items in these states."""
        query = (
            f"select * from outbox where delivery_id = ? and state in ({', '.join('?' * len(states))}) order by place"
        )
        return {str(row["order_line_id"]): str(row["answer"]) for row in self.ledger.read(query, delivery.id, *states)}

    def on_their_way(self, destination: str) -> set[str]:
        """Lines of which a dropped item may still arrive, as nothing newer was accepted that would shut it out."""
        query = (
            "select distinct o.order_line_id from outbox o join deliveries d on d.id = o.delivery_id"
            " where d.destination = ? and o.state = 'dropped' and not exists (select 1 from outbox n join deliveries e"
            " on e.id = n.delivery_id where e.destination = d.destination and n.order_line_id = o.order_line_id"
            " and n.state = 'accepted' and n.delivery_id > o.delivery_id)"
        )
        return {str(row["order_line_id"]) for row in self.ledger.read(query, destination)}

    def remembered(self, destination: str) -> dict[str, Values]:
        """What each line says at a destination by what was accepted there last; lines taken out are missing."""
        query = (
            "select o.order_line_id, o.payload from outbox o join deliveries d on d.id = o.delivery_id"
            " where d.destination = ? and o.state = 'accepted' order by o.delivery_id"
        )
        newest = {str(row["order_line_id"]): row["payload"] for row in self.ledger.read(query, destination)}
        return {line: json.loads(payload) for line, payload in newest.items() if payload is not None}

    def _deliveries(self, where: str, *values: object) -> list[Delivery]:
        return [_delivery(row) for row in self.ledger.read(f"select * from deliveries {where}", *values)]


def _delivery(row: Any) -> Delivery:
    names = ("id", "run_id", "destination", "kind", "state", "who", "started_at")
    return Delivery(**{name: row[name] for name in names})


def _item(row: Any, delivery: Delivery) -> Item:
    payload, previous = (None if row[name] is None else json.loads(row[name]) for name in ("payload", "previous"))
    return Item(
        run_id=delivery.run_id,
        order_line_id=row["order_line_id"],
        sequence=delivery.id,
        place=row["place"],
        values=payload,
        previous=previous,
        version=row["version"],
    )


def _json(values: Values | None) -> str | None:
    return None if values is None else json.dumps(dict(values), sort_keys=True)
