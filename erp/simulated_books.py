"""What the simulated company's tables show, as arrays: all that somebody without a view of its truth may use."""

from dataclasses import dataclass

import numpy as np

from erp.simulated_chance import Bools, Columns, Floats, Ints, stack, take
from erp.simulated_company import Company
from erp.simulated_demand import DAY, OPEN_SECONDS, OPENS
from erp.simulated_tables import ANNOUNCED_DAYS
from erp.simulated_truth import NEVER, CompanyShape

_LINE = ("key", "customer", "product", "ordered_second", "quantity", "unit_price", "list_price", "unit_cost")
LINE_SEEN = (*_LINE, "requested_day", "due_day", "channel", "promised_day")  # of the table `order_lines`
WAITING_SEEN = (*_LINE, "open", "due_day", "channel", "latest_promised_day", "n_slips")  # of the planner's morning
PURCHASE_SEEN = ("key", "product", "supplier", "ordered_second", "expected_day", "quantity")  # `purchase_orders`


@dataclass(frozen=True)
class Books:
    """The contract's tables of one morning as arrays; customers and products are indexes, days count from the start.

    Parameters
    ----------
    lines : every order line so far, sorted by key (customer, order, line): columns `LINE_SEEN`
    shipments, cancellations, promises : events with the `row` of their line, `day`, and quantity or date told
    waiting : the morning's open lines past their due day, in the order of the morning: columns `WAITING_SEEN`
    purchases, slips, receipts : inbound lines, later dates told for them, goods received, by purchase key
    is_new : customers opened within the history, (n_customers_so_far,)
    ends_day : last day each product is sold, `NEVER` unless announced, (n_products,)
    """

    day: int
    n_known: int
    lines: Columns
    shipments: Columns
    cancellations: Columns
    promises: Columns
    waiting: Columns
    purchases: Columns
    slips: Columns
    receipts: Columns
    is_new: Bools
    channel: Ints
    segment: Ints
    priority_class: Ints
    account: Ints
    list_price: Floats
    unit_cost: Floats
    category: Ints
    lead_days: Floats
    ends_day: Ints

    @property
    def at_day(self) -> Floats:
        """Moment at which each line was ordered, in days of 13 open hours."""
        second = self.lines["ordered_second"]
        day = second // DAY
        return np.asarray(day + (second - day * DAY - OPENS) / OPEN_SECONDS, dtype=np.float64)

    def customer_of(self, lines: Columns) -> Ints:
        """Customer of each line, -1 for the anonymous."""
        return np.where(lines["customer"] < self.n_known, lines["customer"], -1)


def read(company: Company) -> Books:
    """Everything known this morning; no hidden column is touched."""
    lines = _lines(company)
    true, products = company.customers, company.products
    so_far = np.flatnonzero(true.created_day[: true.n_known] < company.day)
    announced = products.ends_day - ANNOUNCED_DAYS < company.day
    return Books(
        day=company.day,
        n_known=true.n_known,
        lines=lines,
        shipments=_events(company, "shipments", lines, "quantity"),
        cancellations=_events(company, "cancellations", lines, "quantity", "by_seller"),
        promises=_events(company, "promises", lines, "promised_day"),
        waiting=_seen(take(company.open, company.open["due_day"] < company.day), WAITING_SEEN),
        purchases=_logged(company, "purchases", PURCHASE_SEEN),
        slips=_dated(_logged(company, "slips", ("key", "expected_day", "second"))),
        receipts=_dated(_logged(company, "receipts", ("key", "quantity", "second"))),
        is_new=true.created_day[so_far] >= 0,
        channel=true.channel[so_far],
        segment=true.segment[so_far],
        priority_class=true.priority_class[so_far],
        account=true.account[so_far],
        list_price=products.list_price,
        unit_cost=products.unit_cost,
        category=products.category,
        lead_days=products.lead_days,
        ends_day=np.where(announced, products.ends_day, NEVER),
    )


def historic_margin(_: CompanyShape, books: Books, n_days: int = 365) -> Floats:
    """Margin of what each waiting line's account was shipped in the past `n_days`; 0 for anonymous buyers, (n_lines,).

    Three units at a margin of 4 shipped last week and one at 4 shipped 400 days ago: 12.
    """
    sold, lines = books.shipments, books.lines
    who = books.customer_of(lines)[sold["row"]]
    counts = (who >= 0) & (sold["day"] >= books.day - n_days)
    margin = sold["quantity"] * (lines["unit_price"] - lines["unit_cost"])[sold["row"]]
    n = len(books.account)
    of_account = np.bincount(books.account[who[counts]], weights=margin[counts], minlength=n)
    waits = books.customer_of(books.waiting)
    return np.asarray(np.where(waits >= 0, of_account[books.account[waits]], 0.0), dtype=np.float64)


def _seen(columns: Columns, names: tuple[str, ...]) -> Columns:
    return {name: columns[name] for name in names}


def _logged(company: Company, name: str, columns: tuple[str, ...]) -> Columns:
    parts = [_seen(part, columns) for part in company.log[name]]
    return stack(parts) if parts else {column: np.zeros(0, dtype=np.int64) for column in columns}


def _dated(events: Columns) -> Columns:
    return events | {"day": events["second"] // DAY}


def _lines(company: Company) -> Columns:
    lines = _logged(company, "lines", LINE_SEEN)
    return take(lines, np.argsort(lines["key"], kind="stable"))


def _events(company: Company, name: str, lines: Columns, *columns: str) -> Columns:
    """Events in the order of their lines and, of one line, of time."""
    events = _dated(_logged(company, name, ("key", "second", *columns)))
    events = take(events, np.lexsort((events["second"], events["key"])))
    return events | {"row": np.searchsorted(lines["key"], events["key"])}
