"""The columns of `exceptions.csv`, and the kinds of exceptions in the order in which they make a queue doubtful."""

from decisions.queue_columns import MONEY, TEXT, TIME, Column

EXCEPTION_COLUMNS = (
    Column("priority", "int64", "place", "1.. dense, worst first (how: below)"),
    Column("kind", "str", TEXT, "what is wrong: one of those below"),
    Column("order_line_id", "str", TEXT, "the order line; null where it is about several, or about none"),
    Column("customer_name", "str", TEXT, "name of the customer"),
    Column("product_name", "str", TEXT, "name of the product"),
    Column("money", "float64", MONEY, "what is at stake, of each kind as stated below; null where nobody can say"),
    Column("currency", "str", TEXT, "currency of all money"),
    Column("said", "str", TEXT, "one plain sentence"),
    Column("do", "str", TEXT, "what to do about it"),
    Column("owner", "str", TEXT, "inside sales"),
    Column("order_id", "str", TEXT, "its order, or that of a planner's word"),
    Column("customer_id", "str", TEXT, "its customer, or that of a planner's word"),
    Column("product_id", "str", TEXT, "its product, or that of a planner's word, or the one that a group lacks"),
    Column("warehouse_id", "str", TEXT, "where it ships from"),
    Column("ship_group", "str", TEXT, "lines that leave together"),
    Column("run_id", "str", TEXT, "the run that made the queue"),
    Column("as_of", TIME, "UTC time", "the facts known then were used"),
)

# Each kind's meaning and, after the colon, its money.
QUEUE_KINDS = {
    "set_aside": "rows that break a law, and order lines neither ranked nor learned from: none",
    "assumed": "an answer that is newly assumed, or of a model that its report refused: as large_loss, its lines",
}
WIDE_KINDS = {
    "override_not_met": "a planner's word that cannot be met: what it costs",
    "override_contradicted": "a planner's word that another one overrules: what it costs",
    "override_expired": "a planner's word that has ended since the last queue: what it costs, 0 now",
    "override_expires": "a planner's word that ends within `expiry_notice_days`: what it costs",
    "plan_kept": "goods left where the last queue had put them: the money forgone by it",
    "dates_to_tell": "lines whose date has not moved, but is not the one told last, in one row: as large_loss",
}
LINE_KINDS = {
    "lost_goods": "a line that has fewer units than the last queue gave it: the lost units' share of loss_if_waits",
    "group_blocks": "a ship group that waits although goods lie ready for it, or for one product, or for a held line:"
    " loss_if_waits of its lines",
    "whole_line": "a line that ships only in whole and waits although idle goods would serve a part of it: that part's"
    " share of loss_if_waits",
    "large_loss": "a line whose waiting costs `large_loss` or more: the waiting units' share of loss_if_waits",
    "date_moved": "a line whose date has moved since the last queue: as large_loss",
}
KINDS = QUEUE_KINDS | WIDE_KINDS | LINE_KINDS
