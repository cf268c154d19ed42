"""The columns of `overrides.csv`, and what becomes of a planner's word."""

from decisions.queue_columns import DATE, DAY, DAYS, MONEY, TEXT, TIME, UNITS, Column

OVERRIDE_COLUMNS = (
    Column("order_line_id", "str", TEXT, "the order line that the word names; of the four ids one is given"),
    Column("order_id", "str", TEXT, "the order that it names"),
    Column("customer_id", "str", TEXT, "the customer that it names"),
    Column("product_id", "str", TEXT, "the product that it names"),
    Column("action", "str", TEXT, "pin, hold, exclude"),
    Column("quantity", "float64", UNITS, "of a pin: units of each line that are served first; null: all it wants"),
    Column("who", "str", TEXT, "who said it"),
    Column("why", "str", TEXT, "the reason given"),
    Column("made_at", TIME, "UTC time", "when it was said"),
    Column("until_on", DATE, DAY, "last day it holds"),
    Column("days_left", "int64", DAYS, "until_on minus the day of as_of: 0 on its last day, negative when it is over"),
    Column("status", "str", TEXT, "what becomes of it: one of those below"),
    Column("said", "str", TEXT, "the same in one plain sentence"),
    Column("n_lines", "int64", "lines", "waiting lines that it names; 0 when it is over"),
    Column("n_lines_ruled", "int64", "lines", "of them, lines that obey it, not another word"),
    Column("n_lines_short", "int64", "lines", "of these, lines that get less than the pin asks"),
    Column("units_moved", "float64", UNITS, "units that lines get more with it than without; null if not computed"),
    Column(
        "cost",
        "float64",
        MONEY,
        "lost in expectation, today and later, with it more than without it, all else kept; null if not computed",
    ),
    Column("currency", "str", TEXT, "currency of all money"),
    Column("run_id", "str", TEXT, "the run that made the list"),
    Column("as_of", TIME, "UTC time", "the facts known then were used"),
)

IN_FORCE, CANNOT_BE_MET = "in force", "cannot be met"
OVERRULED_IN_PART, OVERRULED = "overruled in part by a narrower word", "overruled by a narrower word"
CONTRADICTED, REPLACED = "contradicted by a later word", "replaced by a later word"
NAMES_NOTHING, EXPIRED = "names no waiting line", "expired"

# In the order of the list: what needs a look first.
STATUSES = {
    CANNOT_BE_MET: "a pin, and a line that obeys it gets less than the pin asks",
    CONTRADICTED: "the same line, order, customer or product was given another action later, which holds",
    OVERRULED: "each waiting line that it names obeys a word that names it more closely: its line, order or customer",
    OVERRULED_IN_PART: "some of its lines do, the others obey it",
    IN_FORCE: "each waiting line that it names obeys it",
    REPLACED: "the same action was said again later of the same",
    NAMES_NOTHING: "nothing that it names waits today",
    EXPIRED: "its last day is over; it moves nothing",
}
