"""One plain sentence per line: what happens to it, why, and what it costs."""

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from decisions.passed_over import MEANING
from decisions.pool_programme import QUANTITY_TOLERANCE

TERMS = {
    "loss_cancel": "this order",
    "loss_future_orders": "future orders",
    "loss_service": "late penalties",
    "loss_later_goods": "later goods that others then lack",
}
NOUNS = {"pin": "pin", "hold": "hold", "exclude": "exclusion"}


class Line(NamedTuple):
    """What a sentence says about an open line; texts may be null (None or NaN)."""

    action: str
    loss_if_waits: float  # money, as its terms
    loss_cancel: float
    loss_future_orders: float
    loss_service: float
    loss_later_goods: float
    wait_days: float  # median to the next receipt, NaN beyond the horizon
    wait_source: str  # inbound, fresh lead time, default wait
    open_quantity: float
    ship_now_quantity: float
    available_now: float
    may_split: bool
    ship_group: object
    override: object
    override_who: object
    override_why: object
    override_cost: float  # money that the word costs on all its lines together, NaN: not known
    override_n_lines: int  # lines that obey the word
    alternative_said: str  # what lies elsewhere and what it would save; '' if nothing
    rule: object  # what a rule of the site did to it; null if nothing
    passed_over: object  # key of `passed_over.MEANING`; null if nothing is to be said
    served_price: float  # least money per unit lost among the pool's unpinned lines that got goods; NaN if none did


@dataclass(frozen=True)
class Wording:
    """What the sentences need to know beside the line."""

    currency: str
    horizon_days: int
    default_wait_days: int


def reasons(lines: pd.DataFrame, wording: Wording) -> pd.Series:
    """Say in one sentence per line why it ships, waits or is held; indexed like lines, which have Line's columns."""
    rows = map(Line, *(lines[name].tolist() for name in Line._fields))
    said = [_with_alternative(_sentence(line, wording), line) for line in rows]
    return pd.Series(said, index=lines.index, dtype="str", name="reason")


def _with_alternative(sentence: str, line: Line) -> str:
    return f"{sentence.removesuffix('.')}; {line.alternative_said}." if line.alternative_said else sentence


def _sentence(line: Line, wording: Wording) -> str:
    if line.action == "hold":
        return _held(line, wording)
    if line.action == "wait":
        loss = _loss_expected(line, wording)
        pinned = f"; pinned{_by_whom(line)}" if line.override == "pin" else ""
        return f"Waits {_how_long(line, wording)}: {loss}; {_why_no_goods(line)}{_guess(line, wording)}{pinned}."
    verb = "Ships" if line.action == "ship" else f"Ships {line.ship_now_quantity:g} of {line.open_quantity:g}"
    if line.override == "pin":
        return f"{verb}: pinned{_by_whom(line)}{_cost_of_word(line, wording)}."
    if line.loss_if_waits < 0:
        why = line.rule if _is_told(line.rule) else "no other line can use these goods"
        return f"{verb}: {_costs_more(line, wording)}, but {why}."
    lost = f"{line.loss_if_waits:.2f} {wording.currency} would be lost by waiting {_how_long(line, wording)}"
    by_rule = f"; {line.rule}" if _is_told(line.rule) else _why_no_more(line)
    return f"{verb}: {lost}{_parts(line)}{by_rule}{_guess(line, wording)}."


def _why_no_more(line: Line) -> str:
    """Say why a line that is served in part gets no more, where that is not that the goods are gone."""
    is_part = line.action == "ship_part" and _is_told(line.passed_over)
    return f"; {MEANING[str(line.passed_over)]}" if is_part else ""


def _held(line: Line, wording: Wording) -> str:
    if line.override == "exclude":
        return f"Excluded{_by_whom(line)}{_cost_of_word(line, wording)}."
    if line.override == "hold":
        loss = f"{_loss_expected(line, wording)} by waiting {_how_long(line, wording)}"
        return f"Held{_by_whom(line)}; {loss}{_cost_of_word(line, wording)}."
    return "Held: the customer is on credit hold" + (", which a pin does not lift." if line.override == "pin" else ".")


def _by_whom(line: Line) -> str:
    """Name the planner and the reason as far as they are known: ' by WHO: WHY'."""
    who = f" by {line.override_who}" if _is_told(line.override_who) else ""
    why = f": {str(line.override_why).rstrip('. ')}" if _is_told(line.override_why) else ""
    return who + why


def _cost_of_word(line: Line, wording: Wording) -> str:
    if line.override_cost != line.override_cost:  # NaN: not known
        return ""
    of_lines = f" of {line.override_n_lines} lines" if line.override_n_lines > 1 else ""
    return f"; {word_costs(line.override_cost, wording.currency, f'the {NOUNS[str(line.override)]}{of_lines}')}"


def word_costs(cost: float, currency: str, word: str = "it") -> str:
    """Say what a planner's word costs against giving out the goods without it.

    >>> word_costs(12.3, "EUR"), word_costs(0.0, "EUR", "the hold")
    ('it costs 12.30 EUR', 'the hold costs nothing this morning')
    """
    if cost != cost:  # NaN
        return f"what {word} costs was not computed"
    if abs(cost) < 0.005:
        return f"{word} costs nothing this morning"
    return f"{word} costs {cost:.2f} {currency}" if cost > 0 else f"{word} saves {-cost:.2f} {currency} beside the rest"


def _is_told(text: object) -> bool:
    return isinstance(text, str) and text.strip() != ""


def _how_long(line: Line, wording: Wording) -> str:
    if line.wait_days != line.wait_days:  # NaN: more likely than not nothing comes
        return f"longer than {wording.horizon_days} days"
    return f"about {line.wait_days:.0f} day{'' if line.wait_days == 1 else 's'}"


def _loss_expected(line: Line, wording: Wording) -> str:
    if line.loss_if_waits < 0:
        return _costs_more(line, wording)
    return f"{line.loss_if_waits:.2f} {wording.currency} expected loss"


def _costs_more(line: Line, wording: Wording) -> str:
    return f"it costs {-line.loss_if_waits:.2f} {wording.currency} more to serve than to pass over"


def _parts(line: Line) -> str:
    """List the terms that make up the loss; a single term needs no list."""
    terms = [f"{value:.2f} {name}" for term, name in TERMS.items() if abs(value := getattr(line, term)) >= 0.005]
    return f" ({', '.join(terms)})" if len(terms) > 1 else ""


def _why_no_goods(line: Line) -> str:
    """Say where the goods are, or went."""
    price = line.loss_if_waits / line.open_quantity
    if line.available_now <= QUANTITY_TOLERANCE:
        return "no goods are here"
    if line.available_now < line.open_quantity and not line.may_split:
        return f"it ships only in whole, and {line.available_now:g} of the {line.open_quantity:g} units are here"
    if _is_told(line.rule):
        return str(line.rule)
    if line.passed_over in ("pin", "shipment", "step"):
        return MEANING[str(line.passed_over)]
    if _is_told(line.passed_over) and _is_told(line.ship_group):
        return "not all lines that must ship together with it can ship"
    if price <= line.served_price:
        more = "more" if price < line.served_price else "as much"
        return f"the goods go to lines that lose {more} per unit ({line.served_price:.2f} against {price:.2f})"
    if _is_told(line.ship_group):
        return "not all lines that must ship together with it can ship"
    if _is_told(line.passed_over):
        return MEANING[str(line.passed_over)]
    if line.served_price != line.served_price:
        return "the goods go to pinned lines"
    return "the goods save more on other lines together"


def _guess(line: Line, wording: Wording) -> str:
    """Say where the wait is a guess."""
    if line.wait_source == "default wait":
        return f"; no inbound line is known, so {wording.default_wait_days} days are assumed"
    if line.wait_source == "fresh lead time":
        return "; none is on order, so it is expected as such goods are usually ordered"
    return ""
