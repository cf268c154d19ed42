"""From a published queue to the ERP, and back: shown first, written through the outbox, read back.

Whatever happens in between, nothing is sent twice and nothing is lost: an item is noted before it is sent, and one
whose answer was lost is asked for by its key before anything else is done at that destination.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from erp.destination import Destination, Held, Item, Outcome, open_destination
from erp.ledger import PUBLISHED, Ledger, LedgerError, lock_store
from erp.outbox import OPEN_STATES, UNCERTAIN_STATES, Delivery, Kind, Outbox
from erp.queue_files import PublishError, verify
from erp.settings import Site
from pipelines.delivery_plan import Plan, holds, plan_apply, plan_undo
from pipelines.progress import stage
from pipelines.reopened import Reopened, reopen

_log = logging.getLogger("backorder")
ROUNDS = 8  # of asking and sending again before a delivery is left for the next apply
NOTED_AT_ONCE = 50  # items marked as being sent in one stroke of the ledger, where each can be asked for
PATIENCE = 0.05  # seconds before the first round is repeated; each further one waits twice as long

Ending = Literal["nothing to write", "shown", "refused", "written", "unfinished"]


@dataclass(frozen=True)
class Delivered:
    """How an apply or undo ended."""

    plan: Plan
    as_of: str
    ending: Ending
    beyond: tuple[str, ...] = ()  # limits that were exceeded
    counts: Mapping[str, int] | None = None  # items by their state, where something was written
    not_taken: Mapping[str, str] | None = None  # lines skipped or refused on the way, and the answer
    differ: tuple[str, ...] = ()  # lines that read back as something else
    resumed: bool = False  # an earlier delivery of this run was finished first


def apply(
    site: Site,
    which: str = "last",
    approve: str | None = None,
    who: str = "backorder",
    arrived: bool | None = None,
) -> Delivered:
    """Write a published queue to the destination: shown, or written where that is approved or within the limits.

    Parameters
    ----------
    which : as in `pipelines.reopened.reopen`; the newest published morning, unless nothing was published later
    approve : code of the changes as they were shown; None: go by the site's `apply`
    arrived : a person's word on items whose answer was lost and that nobody else can tell of

    Raises
    ------
    LedgerError
        If that queue is not the newest, or was never published, or what is approved is not what would be written.
    PublishError
        If the queue's files are not those that were written.
    DeliveryError
        If the destination cannot be used.
    """
    with _desk(site, which) as desk:
        desk.refuse_older()

        def planned() -> Plan:
            return plan_apply(*desk.terms, desk.wishes, desk.held(), desk.on_their_way)

        return desk.deliver("apply", planned, approve, who, arrived)


def undo(
    site: Site,
    which: str = "last",
    approve: str | None = None,
    who: str = "backorder",
    arrived: bool | None = None,
) -> Delivered:
    """Restore what the destination said before a run was applied, line by line where it still says what we wrote.

    Raises
    ------
    LedgerError
        If the run was not the last one applied there.
    """
    with _desk(site, which) as desk:
        return desk.deliver(
            "undo",
            lambda: plan_undo(*desk.terms, desk.written(), desk.held(), desk.on_their_way),
            approve,
            who,
            arrived,
        )


def settle_unknown(site: Site) -> dict[str, int]:
    """Ask the destination what became of every item whose answer was lost, and note it; nothing is sent.

    Returns
    -------
    How many items were asked for, and how many nobody can tell of still; empty without a destination.
    """
    if not site.destination:
        return {}
    destination = open_destination(site)
    with lock_store(Path(site.store), site) as ledger:
        outbox = Outbox(ledger)
        delivery = outbox.unfinished(destination.name)
        if delivery is None or not outbox.items(delivery, *UNCERTAIN_STATES):
            return {"asked": 0, "unknown": 0}
        with destination.opened():
            return _ask(outbox, destination, delivery)


@dataclass
class _Desk:
    """A queue, its destination and the outbox between them, while the store is held and the destination connected."""

    site: Site
    ledger: Ledger
    morning: Reopened
    destination: Destination
    outbox: Outbox

    def __post_init__(self) -> None:
        self.rows = rows_of(self.morning.queue)
        self.wishes = self.destination.wishes(self.rows)
        self.is_read = False  # whether the destination itself said what it holds

    @property
    def terms(self) -> tuple[str, str, str | None, list[dict[str, Any]]]:
        """What every plan is told first."""
        return self.morning.run_id, self.destination.name, self.destination.date_column, self.rows

    @property
    def on_their_way(self) -> set[str]:
        """Lines that are written even if they say the same, so that nothing older can arrive after it."""
        return self.outbox.on_their_way(self.destination.name)

    def refuse_older(self) -> None:
        """Refuse a queue that was not published, or after which another one was published or written."""
        newest = reopen(self.morning.store)
        if newest.run_id != self.morning.run_id:
            raise LedgerError(
                f"the queue as of {self.morning.as_of} is not the newest published one, which is as of {newest.as_of};"
                f" apply that, or `backorder undo` what it wrote"
            )

    def held(self) -> dict[str, Held]:
        """What the destination says of its lines, by itself or, if it cannot be read, by what it accepted last."""
        read = self.destination.held(list(self.wishes))
        self.is_read = read is not None
        if read is not None:
            return read
        return {line: Held(values) for line, values in self.outbox.remembered(self.destination.name).items()}

    def written(self) -> list[Item]:
        """Items of this run that hold there, oldest first."""
        newest = self.outbox.newest(self.destination.name)
        if newest is None or newest.run_id != self.morning.run_id:
            what = f"the run applied last is {newest.run_id[:12]}" if newest else "nothing was ever applied there"
            raise LedgerError(f"run {self.morning.run_id[:12]} is not the last one at {self.destination.name}: {what}")
        items: list[Item] = []
        for delivery in self.outbox.of_run(self.morning.run_id, self.destination.name):
            accepted = self.outbox.items(delivery, "accepted")
            if delivery.kind == "undo":  # what it restored is history; only what was applied since then still holds
                restored = {item.order_line_id for item in accepted}
                items = [item for item in items if item.order_line_id not in restored]
            else:
                items += accepted
        return items

    def deliver(
        self, kind: Kind, planned: Callable[[], Plan], approve: str | None, who: str, arrived: bool | None
    ) -> Delivered:
        """Settle what was left open, then plan by what the destination says after that, and show or write it."""
        resumed = self.settle(kind, arrived)
        if resumed == "unsettled":
            return self.unfinished()
        return replace(self.carry_out(planned(), approve, who), resumed=resumed == "finished")

    def settle(self, kind: Kind, arrived: bool | None) -> Literal["nothing", "finished", "unsettled"]:
        """Come to an end with the delivery that an earlier apply or undo left open, before anything new is written.

        What is resumed sends what it did not come to; of another run or kind that is never sent.
        """
        delivery = self.outbox.unfinished(self.destination.name)
        if delivery is None:
            return "nothing"
        stage("settle", "settling the %s of run %s that was left open", delivery.kind, delivery.run_id[:12])
        if _ask(self.outbox, self.destination, delivery)["unknown"]:
            if arrived is None:
                return "unsettled"
            # A person's word counts only where the destination has none: what it knows, it knows better.
            uncertain = [item.key for item in self.outbox.items(delivery, *UNCERTAIN_STATES)]
            self.outbox.mark(uncertain, "accepted" if arrived else "pending", "by a person's word")
        if (delivery.run_id, delivery.kind) != (self.morning.run_id, kind):
            self.outbox.give_up(delivery)
        elif not self.work_off(delivery):
            return "unsettled"
        self.outbox.close(delivery)
        return "finished"

    def unfinished(self) -> Delivered:
        """What can be said while an earlier delivery has items that nobody can tell of."""
        delivery = self.outbox.unfinished(self.destination.name)
        assert delivery is not None
        plan = Plan(delivery.run_id, self.destination.name, delivery.kind, (), 0, {})
        return self._delivered(plan, "unfinished", delivery)

    def carry_out(self, plan: Plan, approve: str | None, who: str) -> Delivered:
        """Show a plan, or write it where it is approved or may be written without asking."""
        if not plan.changes:
            self._note_state(plan, whole=self.is_read and not plan.left_alone)
            return Delivered(plan, str(self.morning.as_of), "nothing to write")
        if approve is not None and approve != plan.code:
            raise LedgerError(
                f"what would be written now is {plan.code}, not {approve}: the destination or the queue changed since;"
                " look at it again, then approve that"
            )
        # An undo is a person's own word, and goes back to what was there: limits are for what nobody asked for.
        theirs = self.destination.newest_sequence() or 0
        beyond = [*self._foreign(theirs), *plan.beyond(self.site)] if plan.kind == "apply" else []
        if approve is None and (self.site.apply == "ask" or beyond):
            ending: Ending = "shown" if self.site.apply == "ask" else "refused"
            return Delivered(plan, str(self.morning.as_of), ending, tuple(beyond))
        delivery = self.outbox.begin(plan.run_id, plan.destination, plan.kind, who, above=theirs)
        self.outbox.add(delivery, [replace(item, sequence=delivery.id) for item in plan.changes])
        return self._finish(plan, delivery)

    def _foreign(self, theirs: int) -> list[str]:
        """Say that somebody else delivers there: an old ledger or a second store would put its queue over theirs."""
        ours = self.outbox.newest(self.destination.name)
        if theirs <= (ours.id if ours else 0):
            return []
        since = datetime.fromtimestamp(theirs / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        return [
            f"a delivery of {since} UTC stands there that this store's ledger does not know: another store delivers"
            " there, or the ledger was restored from an older copy"
        ]

    def _finish(self, plan: Plan, delivery: Delivery) -> Delivered:
        if not self.work_off(delivery):
            return self._delivered(plan, "unfinished", delivery)
        self.outbox.close(delivery)
        self.outbox.forget(plan.destination)
        self._note_state(plan, whole=False)
        differ = self._read_back(delivery)
        delivered = replace(self._delivered(plan, "written", delivery), differ=differ)
        whole = self.is_read and not (differ or delivered.not_taken or plan.left_alone)
        self._note_state(plan, whole)
        return delivered

    def work_off(self, delivery: Delivery) -> bool:
        """Send what is pending and ask for what is uncertain until every item is final; False if some still is not."""
        for turn in range(ROUNDS):
            if _ask(self.outbox, self.destination, delivery)["unknown"] and not self.destination.knows_keys:
                return False  # never sent blindly: a person must say whether they arrived
            pending = self.outbox.items(delivery, "pending")
            stage("send", "sending %d lines to %s", len(pending), self.destination.name)
            for items in _batches(pending, self._at_once):
                self._send(items)
            if not self.outbox.items(delivery, *OPEN_STATES):
                return True
            time.sleep(PATIENCE * 2**turn)
        _ask(self.outbox, self.destination, delivery)
        return not self.outbox.items(delivery, *OPEN_STATES)

    @property
    def _at_once(self) -> int | None:
        """How many items a crash may leave uncertain: many where each can be asked for, else a person must look."""
        batch = self.destination.batch
        return batch if batch is None or not self.destination.knows_keys else max(batch, NOTED_AT_ONCE)

    def _send(self, items: Sequence[Item]) -> None:
        self.outbox.mark([item.key for item in items], "sending")
        batches = _batches(items, self.destination.batch)
        _note(self.outbox, [outcome for batch in batches for outcome in self.destination.send(batch)])

    def _read_back(self, delivery: Delivery) -> tuple[str, ...]:
        """Lines that the destination accepted and that now say something else all the same."""
        items = self.outbox.items(delivery, "accepted")
        held = self.held()
        return tuple(item.order_line_id for item in items if not holds(held.get(item.order_line_id), item.values))

    def _note_state(self, plan: Plan, whole: bool) -> None:
        """Note how far the run came: sent once every item is final, confirmed when all of its queue reads back."""
        state = "published" if plan.kind == "undo" else "confirmed" if whole else "sent"
        marks = ", ".join("?" * len(PUBLISHED))
        statement = f"update runs set state = ? where run_id = ? and state in ({marks})"
        self.ledger.write(statement, state, plan.run_id, *PUBLISHED)

    def _delivered(self, plan: Plan, ending: Ending, delivery: Delivery) -> Delivered:
        counts, answers = self.outbox.counts(delivery), self.outbox.answers(delivery, "skipped", "refused")
        return Delivered(plan, str(self.morning.as_of), ending, counts=counts, not_taken=answers)


@contextmanager
def _desk(site: Site, which: str) -> Iterator[_Desk]:
    destination = open_destination(site)
    store = Path(site.store)
    with lock_store(store, site) as ledger:
        morning = reopen(store, which)
        if mismatches := verify(morning.folder / "queue"):
            raise PublishError(f"run {morning.run_id[:12]}: {'; '.join(mismatches)}; run that morning again")
        stage("look", "asking %s what it holds", destination.name)
        with destination.opened():
            yield _Desk(site, ledger, morning, destination, Outbox(ledger))


def rows_of(queue: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a queue as Python values: None where nothing is known, times in UTC without zone."""
    objects = queue.astype(object).where(queue.notna(), None)
    columns = {name: [_python(value) for value in objects[name]] for name in queue.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _python(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.item() if hasattr(value, "item") else value


def _ask(outbox: Outbox, destination: Destination, delivery: Delivery) -> dict[str, int]:
    uncertain = outbox.items(delivery, *UNCERTAIN_STATES)
    if not uncertain:
        return {"asked": 0, "unknown": 0}
    outcomes = destination.ask(uncertain)
    _note(outbox, outcomes)
    return {"asked": len(uncertain), "unknown": sum(outcome.state == "unknown" for outcome in outcomes)}


def _note(outbox: Outbox, outcomes: Sequence[Outcome]) -> None:
    """Note outcomes; what surely did not arrive is pending again."""
    groups: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        is_absent = outcome.state == "absent"
        state = "pending" if is_absent else outcome.state
        # Whoever is pending with an answer was on its way once.
        answer = outcome.answer or ("it did not arrive" if is_absent else "")
        groups.setdefault((state, answer), []).append(outcome.key)
    for (state, answer), keys in groups.items():
        outbox.mark(keys, state, answer)


def _batches(items: Sequence[Item], size: int | None) -> Iterator[list[Item]]:
    if size is None:
        size = max(len(items), 1)
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
