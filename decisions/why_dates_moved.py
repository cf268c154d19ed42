"""How a line's dates moved since the last queue, and what moved them."""

from dataclasses import dataclass

import pandas as pd

from decisions.pool_programme import QUANTITY_TOLERANCE

DATES = ("expected_on", "expected_latest_on", "promise_on", "next_inbound_on")


@dataclass(frozen=True)
class DateMove:
    """A date of the last queue that is another now.

    Parameters
    ----------
    before, now : null where there was or is none
    days : later by so many, below 0 earlier; None where either is missing
    because : plain words, "; " between them
    """

    name: str
    before: pd.Timestamp | None
    now: pd.Timestamp | None
    days: int | None
    because: str


def date_moves(line: pd.Series, before: pd.Series, model_changed: bool) -> tuple[DateMove, ...]:
    """Say which of a line's dates moved, and why.

    Parameters
    ----------
    line, before : its rows in the queue and in the one before
    model_changed : other models answered then
    """
    return tuple(_move(name, line, before, model_changed) for name in DATES if _date(line[name]) != _date(before[name]))


def _move(name: str, line: pd.Series, before: pd.Series, model_changed: bool) -> DateMove:
    then, now = _date(before[name]), _date(line[name])
    days = (now - then).days if then is not None and now is not None else None
    told = line["promise_changed_because"] if name == "promise_on" else None
    because = str(told) if told is not None and pd.notna(told) else _causes(name, line, before, model_changed)
    return DateMove(name, then, now, days, because)


def _causes(name: str, line: pd.Series, before: pd.Series, model_changed: bool) -> str:
    """What is another now than then and bears on this date; of all causes those that apply."""
    inbound = {
        "another inbound line is next": _text(line, "next_inbound_po_line_id")
        != _text(before, "next_inbound_po_line_id"),
        "the models changed": model_changed,
    }
    if name == "next_inbound_on":
        return _said(inbound, "the same goods are foreseen for another day")
    if line["action"] == before["action"] == "ship":
        return "it had its goods in the last queue, too, and has not left"
    gets, got = float(line["ship_now_quantity"]), float(before["ship_now_quantity"])
    goods = float(line["available_now"]) - float(before["available_now"])
    causes = {
        "it gets goods now": gets > got + QUANTITY_TOLERANCE,
        "it lost goods that the last queue gave it": gets < got - QUANTITY_TOLERANCE,
        f"goods here rose by {goods:g}": goods > QUANTITY_TOLERANCE,
        f"goods here fell by {-goods:g}": goods < -QUANTITY_TOLERANCE,
        **inbound,
        "the next goods are foreseen for another day": _date(line["next_inbound_on"])
        != _date(before["next_inbound_on"]),
        f"its place in the pool went from {before['pool_rank']} to {line['pool_rank']}": line["pool_rank"]
        != before["pool_rank"],
        f"its open quantity went from {before['open_quantity']:g} to {line['open_quantity']:g}": line["open_quantity"]
        != before["open_quantity"],
        "a planner's word was set or lifted": _text(line, "override") != _text(before, "override"),
    }
    return _said(causes, "days have passed, and lines ahead of it or later goods are foreseen differently")


def _said(causes: dict[str, bool], otherwise: str) -> str:
    return "; ".join(cause for cause, applies in causes.items() if applies) or otherwise


def _date(value: object) -> pd.Timestamp | None:
    return None if pd.isna(value) else pd.Timestamp(str(value))  # type: ignore[call-overload]


def _text(row: pd.Series, name: str) -> str:
    return "" if pd.isna(row[name]) else str(row[name])
