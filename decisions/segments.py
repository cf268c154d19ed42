"""Segments: the lines for which a site has rules of its own, and what these rules are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

# In the order in which they are served. The names and the order are those of SAP's back-order processing in advanced
# available-to-promise; docs/rules.md defines each in terms of our lines, with a worked case.
STRATEGIES = ("skip", "win", "gain", "improve", "redistribute", "fill", "lose")
BY_MONEY = "redistribute"

# Columns of the open lines that a rule may name, by kind.
TEXTS = (
    *("segment", "channel", "owner", "country", "category", "warehouse_id", "product_id", "customer_id", "account_id"),
    *("order_id", "order_line_id", "supplier_id", "ship_group", "customer_reference"),
)
FLAGS = ("may_split", "is_discontinued", "contact_allowed", "credit_hold", "group_waits_elsewhere")
NUMBERS = (
    *("priority_class", "waited_days", "days_late", "days_past_latest", "n_slips", "is_partly_shipped"),
    *("open_quantity", "soft_reserved_quantity", "unit_price", "price_ratio", "line_value", "line_margin"),
    *("order_value", "order_n_lines", "lifetime_value"),
    *("customer_tenure_days", "customer_n_orders", "customer_spend_365d", "customer_late_share"),
)
DATES = ("due_on", "ordered_on", "ordered_at", "requested_on", "promised_on", "latest_promised_on", "promise_told_on")
KINDS = {"text": TEXTS, "true or false": FLAGS, "number": NUMBERS}


@dataclass(frozen=True)
class Segment:
    """Lines that a site treats alike, and how; a line belongs to the first segment that it fits.

    Parameters
    ----------
    name : what reasons and tables call it
    where : columns and the values that the line has one of; all columns must fit; empty: every line
    at_least : columns of numbers and the least the line has of them
    turn : place in the order in which segments are served; None: after those that have one
    sort : columns by which its lines are served in place of money, - before a name for falling; empty cells last
    strategy : one of STRATEGIES: what becomes of units confirmed before [soft_reserved_quantity]
    share : of each pool's goods, at least, as far as its lines want them
    protected_units : of each pool, that only its lines may take; what they leave is kept for demand yet to come
    protected_days_of_demand : the same, in days of all that is ordered from the pool [units_per_day]

    Raises
    ------
    ValueError
        If a column, strategy or value cannot be used.

    >>> Segment("web", where={"channel": ("web",)}, sort=("requested_on", "-line_value")).strategy
    'redistribute'
    """

    name: str
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    turn: int | None = None
    sort: tuple[str, ...] = ()
    strategy: str = BY_MONEY
    share: float = 0.0
    protected_units: float = 0.0
    protected_days_of_demand: float = 0.0

    def __post_init__(self) -> None:
        """Check once, so that nothing behind this door has to."""
        problems = [*_names(self), *_values(self), *_amounts(self)]
        if problems:
            raise ValueError(f"segment {self.name!r}: {'; '.join(problems)}")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Segment":
        """Build a segment from one table of the settings' list `policy.segments`.

        Raises
        ------
        ValueError
            If a key is unknown (the message names the nearest one), the name is missing or a value cannot be used.
        """
        names = [item.name for item in fields(cls)]
        if unknown := sorted(set(table) - set(names)):
            hints = ", ".join(f"{name!r}{nearest(name, names)}" for name in unknown)
            raise ValueError(f"segment {table.get('name')!r}: {hints} is unknown; use one of {', '.join(names)}")
        if not isinstance(table.get("name"), str) or not table["name"].strip():
            raise ValueError(f"a segment has no name: {dict(table)}; give it one, for the reasons that lines get")
        for key, kind in (("where", Mapping), ("at_least", Mapping), ("sort", list | tuple)):
            if key in table and not isinstance(table[key], kind):
                shown = 'a list such as ["requested_on"]' if key == "sort" else "a table of columns"
                raise ValueError(f"segment {table['name']!r}: {key} = {table[key]!r} is not {shown}")
        where = {name: tuple(v) if isinstance(v, list) else v for name, v in table.get("where", {}).items()}
        return cls(**{**table, "where": where, "sort": tuple(table.get("sort", ()))})

    @property
    def is_protected(self) -> bool:
        """Whether some of a pool's goods are for this segment alone."""
        return self.share > 0 or self.keeps_goods

    @property
    def keeps_goods(self) -> bool:
        """Whether what it leaves of them stays on the shelf for demand yet to come."""
        return self.protected_units > 0 or self.protected_days_of_demand > 0


def segments_from(tables: object) -> tuple[Segment, ...]:
    """Build the segments of the settings' list of tables `policy.segments`.

    Raises
    ------
    ValueError
        If it is no list of tables, a segment cannot be used, a name stands twice or the shares exceed 1.
    """
    if not isinstance(tables, list | tuple) or not all(isinstance(table, Mapping | Segment) for table in tables):
        raise ValueError(f"segments = {tables!r} is no list of tables; write each under [[policy.segments]]")
    found = tuple(table if isinstance(table, Segment) else Segment.from_table(table) for table in tables)
    names = [segment.name for segment in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"segments {twice} stand more than once; give each its own name")
    if (total := sum(segment.share for segment in found)) > 1 + 1e-9:
        raise ValueError(f"the shares of all segments sum to {total:g}; they are shares of the same goods, at most 1")
    return found


def nearest(name: str, names: Sequence[str]) -> str:
    """Name the closest of the names that can be used: " (did you mean 'x'?)", or nothing."""
    match = get_close_matches(name, names, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _names(segment: Segment) -> list[str]:
    """Columns and strategies that do not exist."""
    listed = [name for names in KINDS.values() for name in names]
    asked = [("where", name, listed) for name in segment.where]
    asked += [("at_least", name, list(NUMBERS)) for name in segment.at_least]
    asked += [("sort", name.removeprefix("-"), [*listed, *DATES]) for name in segment.sort]
    problems = [
        f"{key} names {name!r}{nearest(name, names)}, which is none of {', '.join(names)}"
        for key, name, names in asked
        if name not in names
    ]
    if segment.strategy not in STRATEGIES:
        hint = nearest(str(segment.strategy), STRATEGIES)
        problems.append(f"strategy = {segment.strategy!r}{hint} is none of {', '.join(STRATEGIES)}")
    return problems


def _values(segment: Segment) -> list[str]:
    """Values that no line of that kind of column can have: an id typed as a number would never fit."""
    problems = []
    for name, values in segment.where.items():
        kind = next((kind for kind, names in KINDS.items() if name in names), None)
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            problems.append(f"where.{name} = {values!r} is no list of values")
        elif kind and (wrong := [value for value in values if not _is(value, kind)]):
            problems.append(f"where.{name} lists {wrong}, but the column is {kind}")
    for name, least in segment.at_least.items():
        if not _is(least, "number"):
            problems.append(f"at_least.{name} = {least!r} is no finite number")
    return problems


def _is(value: object, kind: str) -> bool:
    if kind == "number":
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, bool if kind == "true or false" else str)


def _amounts(segment: Segment) -> list[str]:
    problems = []
    if segment.turn is not None and (isinstance(segment.turn, bool) or not isinstance(segment.turn, int)):
        problems.append(f"turn = {segment.turn!r} is no whole number")
    for name, most in (("share", 1.0), ("protected_units", math.inf), ("protected_days_of_demand", math.inf)):
        value = getattr(segment, name)
        if not _is(value, "number") or not 0 <= value <= most:
            problems.append(f"{name} = {value!r} is no number from 0 to {most:g}")
    if not problems and segment.share > 0 and segment.keeps_goods:
        problems.append("it has a share, which goes back to all, and protected units, which do not; choose one")
    return problems
