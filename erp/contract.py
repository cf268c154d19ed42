"""The data contract: the tables an ERP hands over, their columns, units and laws, as one declared schema.

Each table is a pandera schema; what pandera cannot say (keys, references, order in time) stands beside it and is
judged in `erp.laws`. A column's `kind` says how its cells are read:

    id      text, never parsed          amount  number >= 0, money of the site's currency or a share
    text    text                        count   number > 0, the product's stocking unit
    flag    true or false               time    UTC timestamp
    whole   whole number                day     ISO date
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pandera.pandas as pa
import pyarrow

SQL_TYPES = MappingProxyType(
    {
        "id": "varchar",
        "text": "varchar",
        "flag": "boolean",
        "whole": "bigint",
        "amount": "double",
        "count": "double",
        "time": "timestamp",
        "day": "date",
    }
)
_ARROW_NAMES = {"varchar": "string", "bigint": "int64", "timestamp": "timestamp[us]", "date": "date32"}
ARROW_TYPES = MappingProxyType(
    {kind: pyarrow.type_for_alias(_ARROW_NAMES.get(sql, sql)) for kind, sql in SQL_TYPES.items()}
)
KIND_WORDS = MappingProxyType(
    {
        "flag": "is true or false",
        "whole": "is a whole number",
        "amount": "is a number",
        "count": "is a number",
        "time": "is a UTC timestamp",
        "day": "is an ISO date",
    }
)


class ContractError(Exception):
    """The tables cannot be used; the message says what, how many, which, and what to do."""


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    `key` are the columns that name a row; an event's key is `event_id`, else the whole row. `own_time` is when the
    fact happened; None: known from the start. `parents` maps a column to the table that it must be found in.
    `not_before` maps this table's time to the parent time that it may not precede.
    """

    name: str
    grain: str
    schema: pa.DataFrameSchema
    key: tuple[str, ...]
    own_time: str | None = None
    is_event: bool = False
    is_optional: bool = False
    parents: Mapping[str, str] = field(default_factory=dict)
    not_before: tuple[str, str] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of all columns, required first."""
        return list(self.schema.columns)

    @property
    def required(self) -> list[str]:
        """Columns without which the table cannot be read."""
        return [name for name, column in self.schema.columns.items() if column.required]

    def kind(self, column: str) -> str:
        """How the column's cells are read."""
        return str(self.schema.columns[column].metadata["kind"])


_CHECKS = {"amount": ("is not negative", pa.Check.ge), "count": ("is greater than 0", pa.Check.gt)}


_ACTIONS = ("pin", "hold", "exclude")


def _column(kind: str, meaning: str, required: bool, nullable: bool) -> pa.Column:
    checks = [build(0, error=rule) for rule, build in [_CHECKS[kind]]] if kind in _CHECKS else []
    if meaning == "pin, hold or exclude":
        checks = [pa.Check.isin(_ACTIONS, error="is pin, hold or exclude")]
    return pa.Column(
        None, checks, nullable=nullable, required=required, description=meaning, metadata={"kind": kind}, title=kind
    )


# Cells of a required column may be empty only here: anonymous customers, goods made in house, no date told.
_MAY_BE_EMPTY = {
    ("order_lines", "customer_id"),
    ("purchase_orders", "supplier_id"),
    ("purchase_orders", "expected_on"),
}
# Every table may say when a fact became known and that it was deleted.
_VERSIONS = {"recorded_at": ("time", "when the fact became known"), "is_deleted": ("flag", "the row was deleted then")}


def _table(name: str, grain: str, required: dict[str, tuple[str, str]], optional: dict[str, tuple[str, str]], **laws):  # type: ignore[no-untyped-def]
    columns = {c: _column(kind, why, True, (name, c) in _MAY_BE_EMPTY) for c, (kind, why) in required.items()}
    columns |= {c: _column(kind, why, False, True) for c, (kind, why) in (optional | _VERSIONS).items()}
    return Table(name=name, grain=grain, schema=pa.DataFrameSchema(columns, name=name), **laws)


_LINE = ("id", "the order line")
_PRODUCT = ("id", "the product")
_QUANTITY = ("count", "in the product's stocking unit")
_EVENT_ID = {"event_id": ("id", "names one event, so that two equal part events differ")}
_WAREHOUSE = {"warehouse_id": ("id", "where; the site's default_warehouse without it")}

_DECLARED = [
    _table(
        "customers",
        "customer",
        {"customer_id": ("id", "the customer"), "created_at": ("time", "when the account was opened")},
        {
            "name": ("text", "for people"),
            "segment": ("text", "typed group"),
            "channel": ("text", "usual channel"),
            "priority_class": ("whole", "typed rank, 1 = first"),
            "country": ("text", "country"),
            "language": ("text", "language of messages"),
            "owner": ("text", "inside sales"),
            "parent_id": ("id", "customer whose value this one shares"),
            "credit_hold": ("flag", "no goods today"),
            "contact_allowed": ("flag", "may be written to"),
        },
        key=("customer_id",),
        own_time="created_at",
        parents={"parent_id": "customers"},
    ),
    _table(
        "products",
        "product",
        {"product_id": _PRODUCT, "list_price": ("amount", "money per unit")},
        {
            "name": ("text", "for people"),
            "unit_cost": ("amount", "money per unit"),
            "unit": ("text", "stocking unit"),
            "category": ("text", "group"),
            "quantity_step": ("count", "smallest quantity shipped, default 1"),
            "holding_cost_rate": ("amount", "share of cost a year"),
            "substitute_id": ("id", "product offered instead"),
            "discontinued_on": ("day", "no goods come after it"),
        },
        key=("product_id",),
        parents={"substitute_id": "products"},
    ),
    _table(
        "order_lines",
        "ordered schedule line",
        {
            "order_line_id": _LINE,
            "order_id": ("id", "the order"),
            "customer_id": ("id", "the customer; empty: anonymous"),
            "product_id": _PRODUCT,
            "ordered_at": ("time", "when it was ordered"),
            "quantity": _QUANTITY,
            "unit_price": ("amount", "money per unit after discount"),
        },
        _WAREHOUSE
        | {
            "list_price": ("amount", "money per unit before discount"),
            "promised_on": ("day", "date told when it was ordered"),
            "requested_on": ("day", "date the customer asked for"),
            "may_split": ("flag", "may ship in parts, default false"),
            "ship_group": ("id", "lines that ship together"),
            "split_from_id": ("id", "line this one was split from"),
            "channel": ("text", "channel of the order"),
            "customer_reference": ("text", "the customer's own number"),
        },
        key=("order_line_id",),
        own_time="ordered_at",
        parents={"customer_id": "customers", "product_id": "products", "split_from_id": "order_lines"},
    ),
    _table(
        "shipments",
        "shipped quantity",
        {"order_line_id": _LINE, "shipped_at": ("time", "when it left"), "quantity": _QUANTITY},
        _EVENT_ID,
        key=("event_id",),
        own_time="shipped_at",
        is_event=True,
        parents={"order_line_id": "order_lines"},
        not_before=("shipped_at", "ordered_at"),
    ),
    _table(
        "cancellations",
        "cancelled quantity",
        {"order_line_id": _LINE, "cancelled_at": ("time", "when it was cancelled"), "quantity": _QUANTITY},
        _EVENT_ID | {"cancelled_by": ("text", "customer or seller"), "reason": ("text", "code of the ERP")},
        key=("event_id",),
        own_time="cancelled_at",
        is_event=True,
        parents={"order_line_id": "order_lines"},
        not_before=("cancelled_at", "ordered_at"),
    ),
    _table(
        "stock",
        "product, warehouse and count",
        {
            "snapshot_at": ("time", "when it was counted"),
            "product_id": _PRODUCT,
            "on_hand": ("amount", "units on the shelf"),
        },
        _WAREHOUSE | {"reserved": ("amount", "units blocked or held for what is not in order_lines")},
        key=("snapshot_at", "product_id", "warehouse_id"),
        own_time="snapshot_at",
        parents={"product_id": "products"},
    ),
    _table(
        "purchase_orders",
        "inbound line (bought, made or in transfer)",
        {
            "po_line_id": ("id", "the inbound line"),
            "supplier_id": ("id", "who delivers"),
            "product_id": _PRODUCT,
            "ordered_at": ("time", "when it was ordered"),
            "expected_on": ("day", "date told by the supplier"),
            "quantity": _QUANTITY,
        },
        _WAREHOUSE
        | {
            "unit_cost": ("amount", "money per unit"),
            "kind": ("text", "bought, made, transfer"),
            "for_order_line_id": ("id", "the one line these goods are for"),
        },
        key=("po_line_id",),
        own_time="ordered_at",
        is_optional=True,
        parents={"product_id": "products", "supplier_id": "suppliers", "for_order_line_id": "order_lines"},
    ),
    _table(
        "receipts",
        "received quantity",
        {
            "po_line_id": ("id", "the inbound line"),
            "received_at": ("time", "when it came"),
            "quantity": _QUANTITY,
        },
        _EVENT_ID,
        key=("event_id",),
        own_time="received_at",
        is_event=True,
        is_optional=True,
        parents={"po_line_id": "purchase_orders"},
        not_before=("received_at", "ordered_at"),
    ),
    _table(
        "suppliers",
        "supplier",
        {"supplier_id": ("id", "the supplier")},
        {"name": ("text", "for people"), "country": ("text", "country")},
        key=("supplier_id",),
        is_optional=True,
    ),
    _table(
        "supplier_products",
        "what a supplier can deliver",
        {
            "supplier_id": ("id", "the supplier"),
            "product_id": _PRODUCT,
            "unit_cost": ("amount", "money per unit"),
            "lead_time_days": ("amount", "days from order to receipt"),
        },
        {"min_quantity": ("count", "smallest order")},
        key=("supplier_id", "product_id"),
        is_optional=True,
        parents={"supplier_id": "suppliers", "product_id": "products"},
    ),
    _table(
        "reservations",
        "goods held for a line",
        {"order_line_id": _LINE, "quantity": _QUANTITY},
        _WAREHOUSE | {"is_firm": ("flag", "picked or packed: leaves pool and open quantity")},
        key=("order_line_id", "warehouse_id"),
        is_optional=True,
        parents={"order_line_id": "order_lines"},
    ),
    _table(
        "promises",
        "date told to a customer",
        {"order_line_id": _LINE, "told_at": ("time", "when it was told"), "promised_on": ("day", "the date")},
        {},
        key=("order_line_id", "told_at"),
        own_time="told_at",
        is_optional=True,
        parents={"order_line_id": "order_lines"},
    ),
    _table(
        "returns",
        "returned quantity",
        {"order_line_id": _LINE, "returned_at": ("time", "when it came back"), "quantity": _QUANTITY},
        _EVENT_ID,
        key=("event_id",),
        own_time="returned_at",
        is_event=True,
        is_optional=True,
        parents={"order_line_id": "order_lines"},
    ),
    _table(
        "offers",
        "goodwill offer",
        {
            "order_line_id": _LINE,
            "offered_at": ("time", "when it was made"),
            "kind": ("text", "what was offered"),
            "cost": ("amount", "money"),
        },
        {"accepted_at": ("time", "when it was taken"), "propensity": ("amount", "chance of being offered")},
        key=("order_line_id", "offered_at"),
        own_time="offered_at",
        is_optional=True,
        parents={"order_line_id": "order_lines"},
    ),
    _table(
        "promotions",
        "planned price action",
        {"product_id": _PRODUCT, "starts_on": ("day", "first day"), "ends_on": ("day", "last day")},
        {"announced_at": ("time", "when it became known"), "discount_share": ("amount", "share of list price")},
        key=("product_id", "starts_on"),
        own_time="announced_at",
        is_optional=True,
        parents={"product_id": "products"},
    ),
    _table(
        "overrides",
        "planner's word",
        {
            "action": ("text", "pin, hold or exclude"),
            "who": ("text", "who said it"),
            "why": ("text", "the reason"),
            "made_at": ("time", "when it was said"),
            "until_on": ("day", "last day it holds"),
        },
        {
            "order_line_id": _LINE,
            "order_id": ("id", "the order"),
            "customer_id": ("id", "the customer"),
            "product_id": _PRODUCT,
            "quantity": _QUANTITY,
        },
        key=("order_line_id", "order_id", "customer_id", "product_id", "made_at"),
        own_time="made_at",
        is_optional=True,
        parents={"order_line_id": "order_lines", "customer_id": "customers", "product_id": "products"},
    ),
]

TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _DECLARED})

# Columns whose broken reference costs only themselves: the cell is emptied and listed, the row stays. Setting the row
# aside would take a customer with all its orders away because its parent was created a day later.
OPTIONAL_PARENTS = frozenset(
    (table.name, column) for table in _DECLARED for column in table.parents if column not in table.required
) - {("overrides", "order_line_id"), ("overrides", "customer_id"), ("overrides", "product_id")}

# What goes dark without a table or column, in the words of `backorder check`.
SWITCHES_OFF: Mapping[str, str] = MappingProxyType(
    {
        "purchase_orders": "arrival of goods is assumed (policy.default_wait_days) instead of learned",
        "receipts": "suppliers' punctuality is unknown; arrival of goods is assumed",
        "suppliers": "suppliers are told apart by their id alone",
        "supplier_products": "no second source is considered",
        "reservations": "nothing is held back for a line",
        "promises": "dates told after the order are unknown",
        "returns": "every shipped unit is taken as kept",
        "offers": "goodwill offers are off",
        "promotions": "planned price actions are unknown",
        "overrides": "no planner's word is applied",
        "customers.parent_id": "every customer is valued alone",
        "customers.priority_class": "no typed priority to compare with",
        "products.unit_cost": "margins are assumed (assumed_margin_share)",
        "order_lines.promised_on": "days late are unknown; cancellation is learned from the wait alone",
        "order_lines.requested_on": "every line is due on the day it was ordered",
        "order_lines.may_split": "every line ships whole",
        "order_lines.list_price": "discounts are taken against the product's list price",
        "cancellations.cancelled_by": "a cancellation is the customer's own unless other signs speak against it",
    }
)
