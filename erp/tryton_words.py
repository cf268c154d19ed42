"""What Tryton's records mean in the contract's terms: products, units, money and times of one company."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from erp.contract import ContractError
from erp.tryton_rpc import Record, Tryton

Row = dict[str, Any]  # of one of the contract's tables
ORDERED = ("confirmed", "processing", "done")  # states in which a sale or purchase is agreed


@dataclass(frozen=True)
class Clock:
    """Tryton dates what happens by the day; the moment is told where the record was written on that very day."""

    zone: ZoneInfo

    def of_order(self, day: date, written_at: datetime) -> datetime:
        """When something was ordered, naive UTC; the day's first instant where no better is known."""
        return written_at if self._day(written_at) == day else self._utc(day, time.min)

    def of_event(self, day: date | None, written_at: datetime) -> datetime:
        """When goods moved, naive UTC; the day's last second where no better is known, since it was not known before.

        Without a day, when it was written.

        >>> Clock(ZoneInfo("UTC")).of_event(date(2026, 3, 1), datetime(2026, 3, 2, 8))
        datetime.datetime(2026, 3, 1, 23, 59, 59)
        """
        if day is None or self._day(written_at) == day:
            return written_at
        return self._utc(day, time(23, 59, 59))

    def _day(self, moment: datetime) -> date:
        return moment.replace(tzinfo=UTC).astimezone(self.zone).date()

    def _utc(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, self.zone).astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Words:
    """Products, units of measure, exchange rates and clock of the user's company."""

    clock: Clock
    currency: int
    products: Mapping[int, Record]
    units: Mapping[int, Record]
    rates: Mapping[int, list[tuple[date, Decimal]]]

    def in_default_unit(self, product: int, quantity: float, unit: int) -> float:
        """A quantity in the product's default unit."""
        return round(quantity * self._ratio(product, unit), 6)

    def price(self, product: int, price: Decimal, unit: int, currency: int, day: date) -> float:
        """Money of the company per default unit, at the day's rate."""
        return float(self.money(price, currency, day)) / self._ratio(product, unit)

    def money(self, amount: Decimal, currency: int, day: date) -> Decimal:
        """Money of the company, at the day's rate.

        Raises
        ------
        ContractError
            If Tryton knows no rate.
        """
        if currency == self.currency:
            return amount
        return amount / self._rate(currency, day) * self._rate(self.currency, day)

    def _rate(self, currency: int, day: date) -> Decimal:
        rates = self.rates.get(currency)
        if not rates:
            raise ContractError(f"Tryton has no rate of currency {currency}, which orders are in; enter one there")
        place = bisect_right(rates, day, key=lambda rate: rate[0])
        return rates[max(place - 1, 0)][1]

    def _ratio(self, product: int, unit: int) -> float:
        """Default units in one unit."""
        default = self.products[product]["default_uom"]
        return 1.0 if unit == default else float(self.units[unit]["factor"] / self.units[default]["factor"])


def read_words(session: Tryton) -> Words:
    """Read what the company's records are told in; products that are no longer active too."""
    company = session.context.get("company")
    if company is None:
        raise ContractError("the Tryton user has no company; set one in its preferences")
    (record,) = session.search_read("company.company", [["id", "=", company]], ["currency", "timezone"])
    fields = ["rec_name", "list_price", "cost_price", "default_uom"]
    domain = [["type", "in", ["goods", "assets"]], ["active", "in", [True, False]]]
    products = {product["id"]: product for product in session.pages("product.product", domain, fields)}
    units = session.search_read("product.uom", [["active", "in", [True, False]]], ["symbol", "factor", "rounding"])
    rates: dict[int, list[tuple[date, Decimal]]] = {}
    for rate in session.search_read("currency.currency.rate", [], ["currency", "date", "rate"]):
        rates.setdefault(rate["currency"], []).append((rate["date"], rate["rate"]))
    return Words(
        clock=Clock(ZoneInfo(record["timezone"] or "UTC")),
        currency=record["currency"],
        products=products,
        units={unit["id"]: unit for unit in units},
        rates={currency: sorted(told) for currency, told in rates.items()},
    )
