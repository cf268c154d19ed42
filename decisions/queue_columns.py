"""The queue's columns: name, type, unit and meaning, in the order in which they are published."""

from dataclasses import dataclass

import pandas as pd

SHARE, MONEY, UNITS, DAYS, DAY, TEXT = "probability", "money", "stocking units", "days", "date", "text"
DATE, TIME = "datetime64[s]", "datetime64[us]"


@dataclass(frozen=True)
class Column:
    """One column of the queue."""

    name: str
    dtype: str
    unit: str
    meaning: str


QUEUE_COLUMNS = (
    Column("rank", "int64", "place", "1.. dense, by worth (how: below); who gets goods is ship_now_quantity"),
    Column("pool_rank", "int64", "place", "place within the pool (a product in a warehouse)"),
    Column("pool_size", "int64", "lines", "open back-ordered lines of the pool"),
    Column("order_line_id", "str", TEXT, "the waiting order line"),
    Column("order_id", "str", TEXT, "its order"),
    Column("customer_id", "str", TEXT, "who ordered; null if anonymous"),
    Column("product_id", "str", TEXT, "what was ordered"),
    Column("warehouse_id", "str", TEXT, "where it ships from"),
    Column("customer_reference", "str", TEXT, "the customer's own order number"),
    Column("customer_name", "str", TEXT, "name of the customer"),
    Column("product_name", "str", TEXT, "name of the product"),
    Column("owner", "str", TEXT, "inside sales"),
    Column("segment", "str", TEXT, "segment of the customer"),
    Column("ordered_at", TIME, "UTC time", "when it was ordered"),
    Column("requested_on", DATE, DAY, "day the customer asked for"),
    Column("promised_on", DATE, DAY, "first date told"),
    Column("waited_days", "int64", DAYS, "days since it was due"),
    Column("days_late", "Int64", DAYS, "day of as_of minus promised_on, negative before it, null without one"),
    Column("open_quantity", "float64", UNITS, "still to ship"),
    Column("available_now", "float64", UNITS, "goods in the pool now"),
    Column("ship_now_quantity", "float64", UNITS, "goods this line gets now"),
    Column("next_inbound_po_line_id", "str", TEXT, "inbound line expected first in the pool"),
    Column("next_inbound_on", DATE, DAY, "median of when its goods come; null beyond the horizon"),
    Column("expected_on", DATE, DAY, "median of when it ships in full; null if held or beyond the horizon"),
    Column("expected_latest_on", DATE, DAY, "promise quantile of when it ships in full; null as expected_on"),
    Column("promise_on", DATE, DAY, "date to tell: the one told last while it holds; null if none can be told"),
    Column("promise_chance", "float64", SHARE, "chance that it ships in full by promise_on"),
    Column("action", "str", TEXT, "ship, ship_part, wait, hold"),
    Column("advice", "str", TEXT, "none, tell, offer, expedite, substitute, transfer"),
    Column("advice_quantity", "float64", UNITS, "of transfer or substitute: units to move or to offer; else null"),
    Column("advice_product_id", "str", TEXT, "the product to move or to offer"),
    Column("advice_warehouse_id", "str", TEXT, "where it lies"),
    Column("advice_gain", "float64", MONEY, "lost less by it, its cost paid"),
    Column("p_cancel_14d", "float64", SHARE, "chance of cancelling within 14 days if nobody ships"),
    Column("lifetime_value", "float64", MONEY, "expected margin over 365 days after as_of, open lines excluded"),
    Column("lifetime_value_low", "float64", MONEY, "lower end of its 90 % interval; null for anonymous customers"),
    Column("lifetime_value_high", "float64", MONEY, "upper end; both null too where nothing could be rehearsed"),
    Column("p_no_order_365d", "float64", SHARE, "chance of no order within 365 days if served as planned"),
    Column("loss_if_waits", "float64", MONEY, "lost in expectation if passed over now and the rest goes as planned"),
    Column("loss_cancel", "float64", MONEY, "of it: this order's margin and the handling of its cancellation"),
    Column("loss_future_orders", "float64", MONEY, "of it: the customer's later orders"),
    Column("loss_service", "float64", MONEY, "of it: penalties for being late"),
    Column("loss_later_goods", "float64", MONEY, "of it: what the later goods that would serve it save other lines"),
    Column("line_value", "float64", MONEY, "open quantity x price"),
    Column("currency", "str", TEXT, "currency of all money"),
    Column(
        "stock_price",
        "float64",
        "money per unit",
        "loss per unit of the pool's best line left without that may have more; 0 if goods are left for all",
    ),
    Column("reason", "str", TEXT, "one plain sentence"),
    Column("assumed", "str", TEXT, "inputs that were assumed, not measured; null if none"),
    Column("override", "str", TEXT, "pin, hold or exclude by a planner"),
    Column("override_who", "str", TEXT, "who said so"),
    Column("override_why", "str", TEXT, "the reason given"),
    Column("override_until_on", DATE, DAY, "last day it holds"),
    Column("override_cost", "float64", MONEY, "what that word costs on all its lines together; null if not computed"),
    Column("previous_rank", "Int64", "place", "rank in the last published queue"),
    Column("changed_because", "str", TEXT, "why the rank moved; null if it did not"),
    Column("promise_changed_because", "str", TEXT, "why promise_on is not the date told last; null if it is"),
    Column("promise_told_on", DATE, DAY, "when the customer was last told a date"),
    Column("run_id", "str", TEXT, "the run that made the queue"),
    Column("as_of", TIME, "UTC time", "the facts known then were used"),
)


def in_published_form(queue: pd.DataFrame) -> pd.DataFrame:
    """Order the columns as published, each with its declared type, and the rows by rank.

    Raises
    ------
    ValueError
        If columns are missing.
    """
    names = [column.name for column in QUEUE_COLUMNS]
    missing = [name for name in names if name not in queue.columns]
    if missing:
        raise ValueError(f"queue: {len(missing)} of {len(names)} columns are missing: {missing}; add them to `lines`")
    columns = {column.name: typed(queue[column.name], column.dtype) for column in QUEUE_COLUMNS}
    return pd.DataFrame(columns).sort_values("rank", kind="stable", ignore_index=True)


def typed(values: pd.Series, dtype: str) -> pd.Series:
    """Give a column its declared type; times in a zone become UTC."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if dtype == "str":
        return values.astype("str").where(values.notna())
    return values.astype(dtype)  # type: ignore[call-overload,no-any-return]
