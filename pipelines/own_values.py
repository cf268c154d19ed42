"""A line's and its customer's own inputs in a planner's words, group by group of `models.contributions`."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from pipelines.queue_report import counted

Row = Mapping[str, Any]


def risk_values(line: Row) -> dict[str, str]:
    """The line's own values, by the name of each of `RISK_GROUPS`."""
    return {name: words(line) for name, words in _OF_LINE.items()}


def worth_values(account: Row) -> dict[str, str]:
    """The account's own values, by the name of each of `VALUE_GROUPS`."""
    return {name: words(account) for name, words in _OF_ACCOUNT.items()}


def _is_known(value: object) -> bool:
    return bool(pd.notna(value))


def _days(value: object) -> str:
    return counted(round(float(value)), "day") if _is_known(value) else "unknown"  # type: ignore[arg-type]


def _share(value: object, of_what: str) -> str:
    return f"{value:.0%} {of_what}" if _is_known(value) else f"{of_what}: not known yet"


def _money(value: object) -> str:
    return f"{value:,.2f}" if _is_known(value) else "unknown"


def _named(row: Row, *names: str) -> str:
    """The values that are known, in this order."""
    return ", ".join(str(row[name]) for name in names if _is_known(row.get(name))) or "nothing is known"


def _wait(line: Row) -> str:
    return f"waits {_days(line['waited_days'])} since the requested day or the order day"


def _dates_told(line: Row) -> str:
    """How late the line is by the first and the last date told.

    >>> _dates_told({"days_late": 5.0, "days_past_latest": -2.0, "n_slips": 1.0})
    'due by the first date told 5 days ago, by the last one in 2 days, moved once'
    >>> _dates_told({"days_late": None, "days_past_latest": None, "n_slips": 0.0})
    'no date told'
    """
    if not _is_known(line["days_late"]) and not _is_known(line["days_past_latest"]):
        return "no date told"
    first, last, n_slips = line["days_late"], line["days_past_latest"], line["n_slips"]
    if not n_slips:
        return f"due by the date told {_ago(first if _is_known(first) else last)}, never moved"
    times = {1: "once", 2: "twice"}.get(n_slips, f"{n_slips:g} times")
    begun = f"due by the first date told {_ago(first)}, by the last one" if _is_known(first) else "due by the last date"
    return f"{begun} {_ago(last)}, moved {times}"


def _ago(days: float) -> str:
    if days == 0:
        return "today"
    return f"{_days(days)} ago" if days > 0 else f"in {_days(-days)}"


def _ordered(line: Row) -> str:
    split = "may be split" if line["may_split"] else "ships whole"
    price = f"at {_money(line['unit_price'])}, margin {_money(line['line_margin'])}"
    order = f"of an order of {counted(line['order_n_lines'], 'line')} for {_money(line['order_value'])}"
    return f"{counted(line['open_quantity'], 'open unit')} {price}, {split}, {order}"


def _product(line: Row) -> str:
    ends = ", discontinued" if line["is_discontinued"] else ""
    cancelled = _share(line["product_cancel_share"], "of its ended lines cancelled by customers")
    waiting = f"{counted(line['product_n_waiting_lines'], 'line')} waiting"
    ordered = f"{counted(line['product_n_lines_91d'], 'line')} ordered in 91 days"
    kind = f"{line['category']}: " if _is_known(line["category"]) else ""
    return f"{kind}{cancelled}, usual wait {_days(line['product_mean_wait_days'])}, {ordered}, {waiting}{ends}"


def _supplier(line: Row) -> str:
    if not _is_known(line["supplier_mean_delay_days"]):
        return "no receipt of a supplier known yet"
    delay = line["supplier_mean_delay_days"]
    usual = f"{abs(delay):.1f} days {'after' if delay >= 0 else 'before'} the date told on average"
    return f"{usual}, {_share(line['supplier_late_share'], 'late')}"


def _customers_orders(line: Row) -> str:
    if not _is_known(line["customer_id"]):
        return "nobody is named"
    orders = counted(line["customer_n_orders"], "order")
    rhythm = _rhythm(line["customer_days_since_order"], line["customer_mean_gap_days"])
    return f"{orders}, {rhythm}, {_money(line['customer_spend_365d'])} in the last 365 days"


def _rhythm(since_days: object, gap_days: object) -> str:
    """When the last order was, and how far apart they are.

    >>> _rhythm(12.0, 20.8), _rhythm(0.0, None)
    ('last 12 days ago, one every 21 days', 'last today')
    """
    last = "last today" if since_days == 0 else f"last {_days(since_days)} ago"
    return f"{last}, one every {_days(gap_days)}" if _is_known(gap_days) else last


def _waited_before(line: Row) -> str:
    if not _is_known(line["customer_mean_wait_days"]):
        return "no line of the customer has ended yet"
    cancelled = f"{counted(line['customer_n_cancelled'], 'line')} cancelled"
    share = f" ({line['customer_cancel_share']:.0%} of ended ones)" if _is_known(line["customer_cancel_share"]) else ""
    late = _share(line["customer_late_share"], "of lines late")
    return f"waited {_days(line['customer_mean_wait_days'])} on average, {late}, {cancelled}{share}"


def _who_ordered(line: Row) -> str:
    typed = f", priority class {line['priority_class']:g}" if _is_known(line["priority_class"]) else ""
    return f"{_named(line, 'segment', 'channel', 'country')}{typed}"


def _orders_so_far(account: Row) -> str:
    orders = f"{counted(account['n_orders'], 'order')} in {_days(account['tenure_days'])}"
    recent = f"{account['n_orders_91d']:g} of them in the last 91"
    return f"{orders}, {recent}, {_rhythm(account['recency_days'], account['mean_gap_days'])}"


def _order_brings(account: Row) -> str:
    margin = account["margin_amount"] / account["n_orders"]
    year = f"{_money(account['margin_365d'])} in the last 365 days"
    return f"{_money(account['mean_order_amount'])} an order, margin {_money(margin)} an order, {year}"


def _what_it_orders(account: Row) -> str:
    return f"{counted(account['n_lines'], 'line')} of {counted(account['n_products'], 'product')}"


def _cancelled(account: Row) -> str:
    returned = account["returned_share"]
    sent_back = f"{returned:.1%} of units sent back" if _is_known(returned) else "nothing shipped yet"
    return f"{counted(account['n_cancelled_lines'], 'line')} cancelled, {sent_back}"


def _waited(account: Row) -> str:
    if not _is_known(account["mean_wait_days"]):
        return "no line has ended yet"
    return f"{_days(account['mean_wait_days'])} on average, {_share(account['late_share'], 'of lines late')}"


def _open_now(account: Row) -> str:
    waiting = f"{account['n_waiting_lines']:g} of them waiting"
    return f"{counted(account['n_open_lines'], 'line')} open, {waiting}, worth {_money(account['open_amount'])}"


_OF_LINE: Mapping[str, Callable[[Row], str]] = {
    "the wait so far": _wait,
    "the dates told": _dates_told,
    "what was ordered": _ordered,
    "the product": _product,
    "its supplier": _supplier,
    "the customer's orders so far": _customers_orders,
    "how the customer waited before": _waited_before,
    "who the customer is": _who_ordered,
}
_OF_ACCOUNT: Mapping[str, Callable[[Row], str]] = {
    "its orders so far": _orders_so_far,
    "what an order brings": _order_brings,
    "what it orders": _what_it_orders,
    "what it cancelled and sent back": _cancelled,
    "how long it waited": _waited,
    "what is open now": _open_now,
    "who the customer is": lambda account: _named(account, "segment", "channel", "country"),
}
