"""The columns of `followed.csv`: what a morning advised each line and what was shipped by the evening."""

from decisions.queue_columns import MONEY, TEXT, TIME, UNITS, Column

AS_ADVISED, WAITED, LESS, MORE, AGAINST = (
    "as advised",
    "waited as advised",
    "less than advised",
    "more than advised",
    "against the advice",
)
IN_TURN, OUT_OF_TURN, PASSED_OVER = "in its turn", "out of turn", "passed over"
WITHDRAWN, NO_GOODS = "wanted no more", "no goods"

VERDICTS = {
    AGAINST: "it should have waited, and goods left for it that others should have had",
    MORE: "beside what it should get, goods left for it that others should have had",
    OUT_OF_TURN: "goods that came or were set free left for it before its turn, or though it is held",
    LESS: "fewer units left for it than it should get, though they were wanted and there",
    PASSED_OVER: "it was its turn to get goods that came or were set free, and they left out of turn",
    IN_TURN: "goods that came or were set free left for it by the pool's rank",
    NO_GOODS: "some of what it should get was not there after all",
    WITHDRAWN: "it was cancelled, in so far as it did not get what it should",
    AS_ADVISED: "the units that it should get left for it",
    WAITED: "it should wait, and nothing left for it",
}

DEVIATIONS = (AGAINST, MORE, OUT_OF_TURN, LESS, PASSED_OVER)

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
    Column("in_turn_quantity", "float64", UNITS, "of it beyond the advice: goods that came or were set free, by rank"),
    Column("out_of_turn_quantity", "float64", UNITS, "of it beyond the advice: such goods, past others' turn"),
    Column("against_quantity", "float64", UNITS, "of it beyond the advice: goods that others should have had"),
    Column("passed_over_quantity", "float64", UNITS, "went without in its turn, and the shelf cannot give it now"),
    Column("verdict", "str", TEXT, "one of those below"),
    Column("loss_if_waits", "float64", MONEY, "lost in expectation by leaving it without goods, as the queue said"),
    Column("money", "float64", MONEY, "saved by what deviates on this line: below 0 where it went without"),
    Column("action", "str", TEXT, "a planner's word after the morning that names it: pin, hold, exclude; else null"),
    Column("who", "str", TEXT, "who said it"),
    Column("why", "str", TEXT, "the reason given; null: none was"),
    Column("currency", "str", TEXT, "currency of all money"),
    Column("run_id", "str", TEXT, "the run that made the queue"),
    Column("as_of", TIME, "UTC time", "the morning"),
    Column("shipped_by_at", TIME, "UTC time", "the evening: what was known then was counted"),
)
