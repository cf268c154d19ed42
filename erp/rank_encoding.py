"""Ranks in the form that a field of an ERP can hold: numbers, padded text, classes, days, decimals, a star.

Only star and classes (with or without days) tie: lines of one class say the same there. All others keep the order of
the queue strictly. A rank that its form cannot hold is refused; it is never cut off.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Literal

from erp.destination import Scalar
from erp.settings import SettingsError
from erp.settings_table import refuse_unknown

FieldKind = Literal["whole", "number", "text", "day"]
# What each form must be told, and what it may be told besides.
ENCODINGS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "dense": (frozenset(), frozenset({"largest"})),
    "padded": (frozenset({"width"}), frozenset()),
    "classes": (frozenset({"classes"}), frozenset({"width"})),
    "date": (frozenset({"base_on"}), frozenset({"classes"})),
    "decimal": (frozenset(), frozenset({"decimals", "largest"})),
    "star": (frozenset({"stars"}), frozenset()),
}
_MOST = {"decimals": 9, "width": 18}  # so that a number stays exact


@dataclass(frozen=True)
class RankEncoding:
    """How places 1.. are written; which fields count depends on `encoding`."""

    encoding: str = "dense"
    largest: int = 0  # biggest number that the field holds; 0: no limit
    width: int = 0  # digits of the text, filled with zeros from the left; 0: a number
    classes: int = 0  # 1 = first; each takes the same share of the lines
    base_on: date = date(2000, 1, 1)  # place or class n is the n-th day after it
    decimals: int = 4
    stars: int = 0  # lines at the head of the queue that get "1", all others "0"

    @classmethod
    def from_table(cls, table: Mapping[str, Any], setting: str = "destination.rank") -> "RankEncoding":
        """Read the settings' table, such as `{encoding = "classes", classes = 9, width = 2}`.

        Raises
        ------
        SettingsError
            If a key is unknown to this encoding, one is missing or a value cannot be used.
        """
        name = table.get("encoding", "dense")
        if name not in ENCODINGS:
            raise SettingsError(f"{setting}.encoding is {name!r}; it is one of {', '.join(ENCODINGS)}")
        needed, besides = ENCODINGS[name]
        refuse_unknown(table, needed | besides | {"encoding"}, f"{setting} ({name})")
        if missing := sorted(needed - set(table)):
            raise SettingsError(f"{setting}: encoding {name} needs {', '.join(missing)}")
        given: dict[str, Any] = {
            key: _parameter(key, value, setting) for key, value in table.items() if key != "encoding"
        }
        made = cls(encoding=name, **given)
        if name == "classes" and made.width:
            _refuse_above(made.classes, 10**made.width - 1, f"{setting}.classes", f"{made.width} digits")
        return made

    @property
    def kind(self) -> FieldKind:
        """What the encoded rank is."""
        if self.width or self.encoding == "star":
            return "text"
        return {"date": "day", "decimal": "number"}.get(self.encoding, "whole")  # type: ignore[return-value]

    @property
    def goes_by_held(self) -> bool:
        """Whether what a line says now decides what it shall say."""
        return self.encoding == "decimal"

    def encode(self, lines: Sequence[str], held: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
        """Each line's rank in this form.

        Parameters
        ----------
        lines : by rank; the first one's is 1
        held : of decimal: what lines say now; as many as possible keep it

        Raises
        ------
        SettingsError
            If there are more lines than the form can tell apart.

        >>> RankEncoding("padded", width=3).encode(["a", "b"])
        {'a': '001', 'b': '002'}
        >>> RankEncoding("decimal").encode(["a", "new", "b"], {"a": 1.0, "b": 2.0})
        {'a': 1.0, 'new': 1.5, 'b': 2.0}
        """
        if self.encoding == "decimal":
            numbers = decimal_places(lines, held or {}, self.decimals, self.largest)
            return dict(zip(lines, numbers, strict=True))
        return {line: self._written(place, len(lines)) for place, line in enumerate(lines, start=1)}

    def _written(self, place: int, n_lines: int) -> Scalar:
        if self.encoding == "star":
            return "1" if place <= self.stars else "0"
        number = place if not self.classes else 1 + (place - 1) * self.classes // n_lines
        if self.encoding == "date":
            return _day(self.base_on, number)
        if self.width:
            _refuse_above(number, 10**self.width - 1, "rank", f"{self.width} digits")
            return f"{number:0{self.width}}"
        if self.largest:
            _refuse_above(number, self.largest, "rank", "the largest number of its field")
        return number


def decimal_places(lines: Sequence[str], held: Mapping[str, Scalar], decimals: int, largest: int = 0) -> list[float]:
    """Numbers that rise from line to line; as many lines as possible keep theirs, new ones go between them.

    Where no number is left between two that stay, all lines are numbered anew: 1, 2, 3.

    Raises
    ------
    SettingsError
        If there are more lines than `largest` allows.
    """
    if largest:
        _refuse_above(len(lines), largest, "rank", "the largest number of its field")
    step = 10**decimals  # whole numbers of the last decimal, so that nothing is lost in rounding
    said = ((place, _number(held.get(line))) for place, line in enumerate(lines))
    kept = _longest_rising([(place, round(number * step)) for place, number in said if round(number * step) > 0])
    numbers = _between(kept, len(lines), step)
    limit = largest * step if largest else None
    if any(b <= a for a, b in pairwise([0, *numbers])) or (limit and max(numbers, default=0) > limit):
        numbers = [place * step for place in range(1, len(lines) + 1)]
    return [number / step for number in numbers]


def _number(value: Scalar) -> float:
    """The number that a line says; 0 where it says none that counts."""
    return max(0.0, value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _longest_rising(known: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of (place, number) pairs, by place, whose numbers rise strictly (patience sorting)."""
    tops: list[int] = []  # smallest last number of a rising part of each length
    ends: list[int] = []  # which pair that is
    before: list[int] = []  # the pair before each pair
    for index, (_, number) in enumerate(known):
        length = bisect_left(tops, number)
        before.append(ends[length - 1] if length else -1)
        tops[length : length + 1], ends[length : length + 1] = [number], [index]
    part, index = [], ends[-1] if ends else -1
    while index >= 0:
        part.append(known[index])
        index = before[index]
    return part[::-1]


def _between(kept: Sequence[tuple[int, int]], n_lines: int, step: int) -> list[int]:
    """All lines' numbers: those kept, evenly spread ones between them, whole ones after the last."""
    numbers = [0] * n_lines
    low_place, low = -1, 0
    for place, number in kept:
        gap = place - low_place
        for j in range(1, gap):
            numbers[low_place + j] = low + (number - low) * j // gap
        numbers[place] = number
        low_place, low = place, number
    for j in range(1, n_lines - low_place):
        numbers[low_place + j] = (low // step + j) * step
    return numbers


def _day(base_on: date, number: int) -> str:
    try:
        return (base_on + timedelta(days=number)).isoformat()
    except OverflowError:
        raise SettingsError(
            f"day {number} after {base_on} does not exist; take an earlier base_on or classes"
        ) from None


def _refuse_above(number: int, limit: int, what: str, field: str) -> None:
    if number > limit:
        raise SettingsError(f"{what} {number} does not fit into {field}, which end at {limit}; widen it or use classes")


def _parameter(key: str, value: object, setting: str) -> Any:
    if key == "base_on":
        try:
            return value if type(value) is date else date.fromisoformat(str(value))
        except ValueError:
            raise SettingsError(f"{setting}.base_on is {value!r}; write a day such as 2000-01-01") from None
    if type(value) is not int or not 1 <= value <= _MOST.get(key, 10**9):
        raise SettingsError(f"{setting}.{key} is {value!r}; it is a whole number from 1")
    return value
