"""The columns of `followed.csv`: what a morning advised each line and what was shipped by the evening."""

from decisions.queue_columns import MONEY, TEXT, TIME, UNITS, Column

AS_ADVISED, WAITED, LESS, MORE, AGAINST, WITHDRAWN = (
    "as advised",
    "waited as advised",
    "less than advised",
    "more than advised",
    "against the advice",
    "wanted no more",
)

VERDICTS = {
    AGAINST: "it should have waited, and goods left for it",
    MORE: "more units left for it than it should get",
    LESS: "fewer units left for it than it should get, though they were wanted",
    WITHDRAWN: "it was cancelled, in so far as it did not get what it should",
    AS_ADVISED: "the units that it should get left for it",
    WAITED: "it should wait, and nothing left for it",
}

DEVIATIONS = (AGAINST, MORE, LESS)

FOLLOWED_COLUMNS = (
    Column("order_line_id", "str", TEXT, "the order line of the morning's queue"),
    Column("order_id", "str", TEXT, "its order"),
    Column("customer_id", "str", TEXT, "its customer"),
    Column("product_id", "str", TEXT, "its product"),
    Column("warehouse_id", "str", TEXT, "where it ships from"),
    Column("customer_name", "str", TEXT, "name of the customer"),
    Column("product_name", "str", TEXT, "name of the product"),
    Column("owner", "str", TEXT, "inside sales"),
    Column("rank", "int64", "place", "its place in the queue"),
    Column("open_quantity", "float64", UNITS, "still to ship in the morning"),
    Column("advised_quantity", "float64", UNITS, "ship_now_quantity of the queue"),
    Column("shipped_quantity", "float64", UNITS, "left for it since the morning, as far as it was open"),
    Column("withdrawn_quantity", "float64", UNITS, "cancelled of it since the morning"),
    Column("verdict", "str", TEXT, "one of those below"),
    Column("loss_if_waits", "float64", MONEY, "lost in expectation by leaving it without goods, as the queue said"),
    Column("money", "float64", MONEY, "saved by what was done less what the advice would have saved on this line"),
    Column("action", "str", TEXT, "a planner's word after the morning that names it: pin, hold, exclude; else null"),
    Column("who", "str", TEXT, "who said it"),
    Column("why", "str", TEXT, "the reason given; null: none was"),
    Column("currency", "str", TEXT, "currency of all money"),
    Column("run_id", "str", TEXT, "the run that made the queue"),
    Column("as_of", TIME, "UTC time", "the morning"),
    Column("shipped_by_at", TIME, "UTC time", "the evening: what was known then was counted"),
)
