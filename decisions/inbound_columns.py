"""The columns of `inbound.csv`: name, type, unit and meaning, in the order in which they are published."""

from decisions.queue_columns import DATE, DAY, DAYS, MONEY, SHARE, TEXT, TIME, UNITS, Column

INBOUND_COLUMNS = (
    Column("po_line_id", "str", TEXT, "the inbound line: bought, made or in transfer"),
    Column("supplier_id", "str", TEXT, "who delivers; null if unknown"),
    Column("product_id", "str", TEXT, "what comes"),
    Column("warehouse_id", "str", TEXT, "where it comes"),
    Column("for_order_line_id", "str", TEXT, "the order line it is meant for alone; null: for all of its pool"),
    Column("kind", "str", TEXT, "bought, made or transfer"),
    Column("ordered_on", DATE, DAY, "when it was ordered"),
    Column("first_expected_on", DATE, DAY, "first date told by the supplier; null if it was none"),
    Column("expected_on", DATE, DAY, "latest date told by the supplier; null if there is none"),
    Column("n_slips", "int64", "times", "how often the date told was changed"),
    Column("days_overdue", "Int64", DAYS, "day of as_of minus expected_on, 0 up to that day, null without a date"),
    Column("open_quantity", "float64", UNITS, "ordered and not received yet"),
    Column("arrives_on", DATE, DAY, "median of when the next of it comes; null beyond the horizon"),
    Column("arrives_latest_on", DATE, DAY, "promise quantile of when the next of it comes; null beyond the horizon"),
    Column("p_late", "float64", SHARE, "chance that nothing comes by expected_on; 1 if overdue; null if unknown"),
    Column("p_comes_14d", "float64", SHARE, "chance that some of it comes within 14 days"),
    Column(
        "supplier_idle_days",
        "Int64",
        DAYS,
        "days since its supplier last began to deliver an order; null if it has begun all",
    ),
    Column("is_disrupted", "boolean", "yes or no", "its supplier seems to have stopped delivering; null if unknown"),
    Column("n_lines_waiting", "int64", "lines", "open order lines that its goods would serve, whole or in part"),
    Column("units_waiting", "float64", UNITS, "units of it that they wait for"),
    Column("value_waiting", "float64", MONEY, "those units' share of line_value"),
    Column("loss_waiting", "float64", MONEY, "those units' share of loss_if_waits: the money waiting on it"),
    Column("currency", "str", TEXT, "currency of all money"),
    Column("run_id", "str", TEXT, "the run that made the list"),
    Column("as_of", TIME, "UTC time", "the facts known then were used"),
)
