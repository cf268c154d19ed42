"""The state of a simulated company: what its people, shelves and books hold between two days."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

import pandas as pd

from erp.simulated_chance import Bools, Columns, Floats, Ints
from erp.simulated_demand import Assortment, Calendar
from erp.simulated_rules import Rule
from erp.simulated_supply import Disruptions
from erp.simulated_truth import CompanyShape, Customers, Products

LOGS = ("lines", "shipments", "cancellations", "promises", "purchases", "slips", "receipts")


@dataclass
class Company:
    """State of a simulated company between two days; `day` is the next one to live through."""

    shape: CompanyShape
    rule: Rule
    customers: Customers
    products: Products
    assortment: Assortment
    spells: Disruptions
    calendar: Calendar
    is_lost: Bools  # by account
    on_hand: Ints
    daily_units: Floats  # the planner's estimate of demand
    open: Columns  # lines with something left to ship, due or not
    purchases: Columns  # inbound lines not yet complete
    day: int = 0
    log: dict[str, list[Columns]] = field(default_factory=lambda: {name: [] for name in LOGS})
    shelf: list[Ints] = field(default_factory=list)  # on hand at 04:00 of every day so far, `day` included
    money: list[dict[str, float]] = field(default_factory=list)  # one entry per day lived through

    @property
    def as_of(self) -> datetime:
        """The morning that comes next: 05:00 UTC of `day`."""
        return datetime.combine(self.shape.start_on, time(5), UTC) + timedelta(days=self.day)

    @property
    def losses(self) -> pd.DataFrame:
        """One row per day: money lost to waiting. Columns: `erp.simulated_losses.losses_of_day`."""
        return pd.DataFrame(self.money)
