"""Which columns of the queue a destination takes, and what it calls them.

Names of customers and products, and who sells to them or spoke for them, are not among them: the ERP has them.
Nor are `run_id` and `as_of`, which go with every item and would make every line differ every morning.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import Any

from erp.destination import Held, Scalar, Values
from erp.rank_encoding import FieldKind, RankEncoding
from erp.settings import SettingsError
from erp.settings_table import refuse_unknown

_WHOLE = "rank pool_rank pool_size waited_days days_late"
_TEXTS = (
    "order_id customer_id product_id warehouse_id next_inbound_po_line_id action advice advice_product_id"
    " advice_warehouse_id currency reason assumed override"
)
_NUMBERS = (
    "open_quantity available_now ship_now_quantity advice_quantity promise_chance p_cancel_14d loss_if_waits"
    " line_value stock_price"
)
_DAYS = (
    "requested_on promised_on next_inbound_on expected_on expected_latest_on promise_on override_until_on"
    " promise_told_on"
)
ALLOWED: Mapping[str, FieldKind] = {
    **dict.fromkeys(_WHOLE.split(), "whole"),
    **dict.fromkeys(_TEXTS.split(), "text"),
    **dict.fromkeys(_NUMBERS.split(), "number"),
    **dict.fromkeys(_DAYS.split(), "day"),
}
# Without these two a receiver could not do what the queue says.
REQUIRED = ("rank", "ship_now_quantity")
# The date that customers go by, the first of these that is sent.
_PROMISES = ("promise_on", "expected_on")


@dataclass(frozen=True)
class QueueFields:
    """Columns sent, in order, each with the destination's name for it, and how the rank is written."""

    names: Mapping[str, str]  # column of the queue -> name there
    rank: RankEncoding

    @classmethod
    def from_tables(cls, fields: object, rank: object, setting: str = "destination") -> "QueueFields":
        """Read the settings' `fields` (a list of columns, or a table column = name there) and `rank`.

        Raises
        ------
        SettingsError
            If a column is none that may be sent, one that is needed is missing, or two have the same name there.
        """
        if not isinstance(rank, Mapping):
            raise SettingsError(f'{setting}.rank is {rank!r}; it is a table such as {{encoding = "dense"}}')
        names = {str(name): str(name) for name in fields} if isinstance(fields, list | tuple) else fields
        if not isinstance(names, Mapping) or not all(isinstance(name, str) and name for name in names.values()):
            raise SettingsError(f"{setting}.fields is a list of the queue's columns, or a table column = name there")
        refuse_unknown(names, ALLOWED, f"{setting}.fields")
        if missing := [name for name in REQUIRED if name not in names]:
            raise SettingsError(f"{setting}.fields lacks {', '.join(missing)}")
        if len(set(names.values())) < len(names):
            raise SettingsError(f"{setting}.fields gives two columns the same name")
        return cls(dict(names), RankEncoding.from_table(rank, f"{setting}.rank"))

    @property
    def date_column(self) -> str | None:
        """The column whose date customers go by, among those sent."""
        return next((name for name in _PROMISES if name in self.names), None)

    def kind(self, column: str) -> FieldKind:
        """What a column holds as it is sent."""
        return self.rank.kind if column == "rank" else ALLOWED[column]

    def wishes(
        self, rows: Iterable[Mapping[str, object]], read_held: Callable[[], Mapping[str, Held] | None]
    ) -> dict[str, Values]:
        """What each line shall say, by order_line_id, in the order given.

        Parameters
        ----------
        rows : of the queue by rank
        read_held : tells what lines say now; asked only by an encoding that goes by it
        """
        given = {str(row["order_line_id"]): row for row in rows}
        held = (read_held() or {}) if self.rank.goes_by_held else {}
        ranks = self.rank.encode(list(given), {line: there.values.get("rank") for line, there in held.items()})
        return {
            line: {name: ranks[line] if name == "rank" else _told(name, row) for name in self.names}
            for line, row in given.items()
        }

    def outward(self, values: Values) -> dict[str, Scalar]:
        """Values by the destination's names."""
        return {self.names[name]: value for name, value in values.items()}

    def inward(self, there: Mapping[str, object]) -> dict[str, Scalar]:
        """Values by the queue's names of what the destination holds; a field that it does not show is missing."""
        return {
            name: as_scalar(self.kind(name), there[theirs]) for name, theirs in self.names.items() if theirs in there
        }


def reason_without_people(row: Mapping[str, object]) -> str | None:
    """The line's reason without who pinned or held it and why: both are a planner's own words, and may name anybody.

    >>> reason_without_people({"reason": "Ships: pinned by Ann: Mr Doe called.", "override_who": "Ann",
    ...     "override_why": "Mr Doe called"})
    'Ships: pinned.'
    """
    said = as_scalar("text", row["reason"])
    if not isinstance(said, str):
        return None
    who, why = (as_scalar("text", row.get(name)) for name in ("override_who", "override_why"))
    by_whom = (f" by {who}" if who else "") + (f": {str(why).rstrip('. ')}" if why else "")
    return said.replace(by_whom, "", 1) if by_whom else said


def _told(column: str, row: Mapping[str, object]) -> Scalar:
    return reason_without_people(row) if column == "reason" else as_scalar(ALLOWED[column], row[column])


def as_scalar(kind: FieldKind, value: Any) -> Scalar:
    """A value as destinations are told it: days in ISO form, numbers as numbers; what is no such thing as text.

    >>> as_scalar("day", date(2026, 3, 9)), as_scalar("day", "2026-03-09T00:00:00Z"), as_scalar("number", "1.5")
    ('2026-03-09', '2026-03-09', 1.5)
    """
    if value is None or value != value:
        return None
    if kind == "text":
        return str(value)
    if kind == "day":
        return (value.isoformat() if isinstance(value, date) else str(value))[:10]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if not isfinite(number):
        return str(value)
    return int(number) if kind == "whole" and number.is_integer() else number
