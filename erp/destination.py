"""What every place that a queue is delivered to must be able to do, whatever it is: a table, an ERP, a receiver.

A delivery says for each line what it shall say there (`Item`). Whoever takes it answers with an `Outcome` per item. The
keys make it safe to ask what became of an item whose answer was lost: the same item has the same key for ever, and an
item with another content has another key.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from erp.settings import SettingsError, Site

KINDS = ("postgresql", "rest", "tryton")
Scalar = str | int | float | bool | None
# Columns of the queue and what they shall say, days and times in ISO form, `rank` as the destination's settings encode
# it. Only on the way out a destination calls them by its own names.
Values = Mapping[str, Scalar]
State = Literal["accepted", "skipped", "refused", "absent", "unknown"]


class DeliveryError(Exception):
    """The destination cannot be used; the message says what, and what to do."""


@dataclass(frozen=True)
class Held:
    """What the destination says of one line now."""

    values: Values
    version: str | None = None  # differs as soon as anybody changes the line there; None: the destination has none
    may_change: bool = True  # False: picked, packed or shipped there, so that it is left alone
    why_not: str = ""  # in words, where it may not change


@dataclass(frozen=True)
class Item:
    """What one line shall say there."""

    run_id: str
    order_line_id: str
    sequence: int  # of the delivery; a receiver ignores an item that is older than the line's newest
    place: int  # 1.. in the order in which goods are to be given out
    values: Values | None  # None: the line is no longer in the queue
    previous: Values | None = None  # what it said before; None: nothing was there
    version: str | None = None  # of what it said before

    @property
    def key(self) -> str:
        """Names this item for ever: sha256 of run, delivery, line and content."""
        content = [self.run_id, self.sequence, self.order_line_id, None if self.values is None else dict(self.values)]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    accepted: it holds there. skipped: left alone, since somebody changed it or it may not change. refused: it will not
    be taken as it is. absent: it surely did not arrive. unknown: nobody can say; it may hold or not.
    """

    key: str
    state: State
    answer: str = ""  # in words, without secrets and names


class Destination(Protocol):
    """A place that takes a queue. Connecting happens within `opened`."""

    @property
    def name(self) -> str:
        """Kind and place, without secrets; names it in the ledger."""

    @property
    def batch(self) -> int | None:
        """How many items go at once; None: all of them, in one call."""

    @property
    def knows_keys(self) -> bool:
        """Whether `ask` can tell what became of a key."""

    @property
    def date_column(self) -> str | None:
        """The column whose date customers go by there, for the limit on slips; None: it takes no date.

        Goods are `ship_now_quantity` everywhere.
        """

    def opened(self) -> AbstractContextManager[None]:
        """Connect, and disconnect.

        Raises
        ------
        DeliveryError
            If it cannot be reached or will not let us in.
        """

    def wishes(self, rows: Iterable[Mapping[str, object]]) -> dict[str, Values]:
        """What each line shall say there, by order_line_id, in the order given.

        Parameters
        ----------
        rows : of the queue by rank, as read from queue.parquet: Python values, None where nothing is known
        """

    def held(self, order_line_ids: Sequence[str]) -> dict[str, Held] | None:
        """What it says now of these lines, and of all others that we delivered and that still stand in its queue.

        A line that it does not know is missing. None: it cannot be read; what was delivered last counts.
        """

    def newest_sequence(self) -> int | None:
        """The largest sequence that was ever accepted there, of any store; None where it does not tell."""

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """Deliver items, at most `batch` of them; one outcome each, in any order."""

    def ask(self, items: Sequence[Item]) -> list[Outcome]:
        """What became of items whose answer was lost: accepted, absent, or unknown where it cannot tell."""


def open_destination(site: Site) -> Destination:
    """The destination of the settings' table `destination`, not connected yet.

    Raises
    ------
    SettingsError
        If there is none, its kind is unknown, or its settings cannot be used.
    """
    table = dict(site.destination)
    if not table:
        raise SettingsError(
            'no destination is set; name one in the table [destination] of the settings, such as kind = "postgresql"'
            ' and url = "postgresql://backorder@host/erp"'
        )
    kind = table.pop("kind", None)
    if kind == "postgresql":
        from erp.postgres_queue import PostgresQueue

        return PostgresQueue.from_table(table, site)
    if kind == "rest":
        from erp.rest_queue import RestQueue

        return RestQueue.from_table(table, site)
    if kind == "tryton":
        from erp.tryton_queue import TrytonQueue

        return TrytonQueue.from_table(table, site)
    raise SettingsError(f"destination.kind is {kind!r}; it is one of {', '.join(KINDS)}")
