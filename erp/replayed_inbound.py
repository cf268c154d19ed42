"""The simulated suppliers of `erp.replayed_supply`: what is on order there, what they promise and when goods come.

Suppliers differ in lead time and punctuality. A late delivery is announced in most cases, a supplier has a disruption
now and then in which nothing leaves, and some deliveries come in two parts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

N_SUPPLIERS = 40
NEAR_SHARE = 0.3  # of suppliers, who are near: lead time 5 to 10 days, else 14 to 45
SPLIT_SHARE = 0.2  # of deliveries, which come in two parts
TOLD_LATE_SHARE = 0.7  # of deliveries three days late or more, whose new date is told
MEAN_DAYS_BETWEEN_DISRUPTIONS = 300
ORDER_SECOND = 22 * 3600  # of the day on which a purchase is ordered
RECEIPT_SECOND = 21 * 3600
DAY_SECONDS = 86400


@dataclass(frozen=True)
class Suppliers:
    """Simulated suppliers, arrays by supplier number, and who delivers each product."""

    lead_days: Ints  # told by the supplier, order to receipt
    late_share: Floats  # of deliveries, which come late
    late_scale_days: Floats  # mean days late of those
    of_product: Ints  # supplier number by product number
    disruptions: list[tuple[int, int, int]]  # supplier, first day, days; days count from the first day of history

    @classmethod
    def draw(cls, n_products: int, seed: int, n_days: int = 800) -> "Suppliers":
        """Forty suppliers of unequal size, drawn from the seed alone."""
        rng = np.random.default_rng([seed, 4])
        is_near = rng.random(N_SUPPLIERS) < NEAR_SHARE
        lead = np.where(is_near, rng.integers(5, 11, N_SUPPLIERS), rng.integers(14, 46, N_SUPPLIERS))
        size = 1 / np.arange(1, N_SUPPLIERS + 1) ** 0.7
        n_disruptions = rng.poisson(n_days / MEAN_DAYS_BETWEEN_DISRUPTIONS, N_SUPPLIERS)
        return cls(
            lead_days=lead,
            late_share=rng.beta(2, 4, N_SUPPLIERS),
            late_scale_days=rng.uniform(3, 15, N_SUPPLIERS),
            of_product=rng.choice(N_SUPPLIERS, n_products, p=size / size.sum()),
            disruptions=[
                (supplier, int(rng.integers(0, n_days)), int(rng.integers(14, 43)))
                for supplier in range(N_SUPPLIERS)
                for _ in range(n_disruptions[supplier])
            ],
        )

    @property
    def number(self) -> Ints:
        """0, 1, 2, ... one per supplier."""
        return np.arange(len(self.lead_days))

    def after_disruption(self, supplier: Ints, day: Ints) -> Ints:
        """Put a day on which goods were to come off to the end of the disruption it falls into."""
        day = day.copy()
        for who, first, n_days in self.disruptions:
            is_hit = (supplier == who) & (day >= first) & (day < first + n_days)
            day[is_hit] = first + n_days
        return day


class Inbound:
    """Purchases on the way. Days are working days by number, `*_date` counts days since 1970."""

    def __init__(self, suppliers: Suppliers, days: Ints, rng: np.random.Generator) -> None:
        self.suppliers, self.days, self.rng = suppliers, days, rng
        self.on_order = np.zeros(len(suppliers.of_product), dtype="int64")
        self.n_orders = 0
        self.orders: list[pd.DataFrame] = []
        self.parts: list[pd.DataFrame] = []
        self.arriving: list[list[tuple[Ints, Ints]]] = [[] for _ in days]
        self.open: dict[int, list[tuple[int, int, int]]] = {}  # product: (expected date, receipt day, quantity)

    def launch(self, products: Ints, quantities: Ints, launch_days: Ints) -> None:
        """First goods of new products, which come on the working day before their first order."""
        arrive_dates = self.days[launch_days - 1]
        lead = self.suppliers.lead_days[self.suppliers.of_product[products]]
        self._enter(products, quantities, arrive_dates - lead, arrive_dates, arrive_dates)

    def order(self, products: Ints, quantities: Ints, day: int) -> None:
        """Order goods in the evening of a working day; the delay is drawn now and unknown to the company."""
        supplier = self.suppliers.of_product[products]
        ordered = np.full(len(products), self.days[day])
        expected = ordered + self.suppliers.lead_days[supplier]
        is_late = self.rng.random(len(products)) < self.suppliers.late_share[supplier]
        late_days = np.ceil(self.rng.exponential(size=len(products)) * self.suppliers.late_scale_days[supplier])
        early_days = self.rng.integers(0, 3, len(products))
        planned = expected + np.where(is_late, late_days, -early_days).astype("int64")
        arrives = self.suppliers.after_disruption(supplier, planned - self.days[0]) + self.days[0]
        self._enter(products, quantities, ordered, expected, arrives)

    def _enter(self, products: Ints, quantities: Ints, ordered: Ints, expected: Ints, arrives: Ints) -> None:
        """Write orders down and plan their receipts on working days, one or two per order."""
        n = len(products)
        order = np.arange(self.n_orders, self.n_orders + n)
        is_split = (self.rng.random(n) < SPLIT_SHARE) & (quantities > 1)
        first = np.where(is_split, np.ceil(quantities * self.rng.uniform(0.4, 0.8, n)), quantities).astype("int64")
        first = np.where(is_split, np.minimum(first, quantities - 1), first)
        rest_date = arrives + self.rng.integers(3, 21, n)
        self.n_orders += n
        self.on_order[products] += quantities
        self.orders.append(
            pd.DataFrame(
                {
                    "order": order,
                    "product": products,
                    "ordered_date": ordered,
                    "expected_date": expected,
                    "arrives_date": arrives,
                    "quantity": quantities,
                }
            )
        )
        self._plan(order, products, first, arrives, expected)
        rest = (quantities - first)[is_split]
        self._plan(order[is_split], products[is_split], rest, rest_date[is_split], expected[is_split])

    def _plan(self, order: Ints, products: Ints, quantities: Ints, dates: Ints, expected: Ints) -> None:
        day = np.searchsorted(self.days, dates)
        for number in np.unique(day[day < len(self.days)]).tolist():
            chosen = day == number
            self.arriving[number].append((products[chosen], quantities[chosen]))
        self.parts.append(pd.DataFrame({"order": order, "day": day, "quantity": quantities}))
        columns = (products.tolist(), expected.tolist(), day.tolist(), quantities.tolist())
        for product, date, when, quantity in zip(*columns, strict=True):
            self.open.setdefault(product, []).append((date, when, quantity))

    def receive(self, day: int, n_products: int) -> Ints:
        """Units booked in the evening of a working day, by product."""
        received = np.zeros(n_products, dtype="int64")
        for products, quantities in self.arriving[day]:
            np.add.at(received, products, quantities)
        self.on_order -= received
        return received

    def expected_day(self, product: int, missing: int, day: int, review_days: int) -> int:
        """Date on which the suppliers' first dates cover the missing units; a fresh order's date if none does."""
        coming = sorted(part for part in self.open.get(product, []) if part[1] >= day)
        self.open[product] = coming
        for expected, _, quantity in coming:
            missing -= quantity
            if missing <= 0:
                return expected
        return int(self.days[day] + review_days + self.suppliers.lead_days[self.suppliers.of_product[product]])

    def tables(self, product_ids: "pd.Index[str]") -> dict[str, pd.DataFrame]:
        """Purchase orders with the new dates told, receipts and suppliers."""
        orders = pd.concat(self.orders, ignore_index=True)
        orders["po_line_id"] = "replayed-" + (orders["order"] + 1).astype("str").str.zfill(6)
        supplier_ids = np.array([f"replayed-{number + 1:02d}" for number in self.suppliers.number], dtype=object)
        orders["supplier_id"] = supplier_ids[self.suppliers.of_product[orders["product"]]]
        orders["product_id"] = product_ids[orders["product"]]
        orders["ordered_at"] = _times(orders["ordered_date"] * DAY_SECONDS + ORDER_SECOND)
        orders["recorded_at"] = orders["ordered_at"]
        versions = pd.concat([orders, self._slips(orders)], ignore_index=True)
        versions["expected_on"] = _times(versions["expected_date"] * DAY_SECONDS)
        names = [f"replayed supplier {number + 1:02d}" for number in self.suppliers.number]
        return {
            "purchase_orders": versions.sort_values(["po_line_id", "recorded_at"], kind="stable", ignore_index=True),
            "receipts": self._receipts(orders),
            "suppliers": pd.DataFrame({"supplier_id": supplier_ids, "name": names}),
        }

    def _slips(self, orders: pd.DataFrame) -> pd.DataFrame:
        """One row per new date told: up to a week before the old one, and about right."""
        n = len(orders)
        is_told = self.rng.random(n) < TOLD_LATE_SHARE
        told_date = orders["expected_date"] - self.rng.integers(0, 8, n)
        guess = orders["arrives_date"] + np.rint(self.rng.normal(0, 3, n)).astype("int64")
        told_at = told_date * DAY_SECONDS + 9 * 3600
        is_told &= (orders["arrives_date"] - orders["expected_date"] >= 3).to_numpy()
        is_told &= (told_date.between(orders["ordered_date"] + 1, self.days[-1])).to_numpy()
        slips = orders.assign(recorded_at=_times(told_at), expected_date=np.maximum(guess, orders["expected_date"] + 1))
        return slips[is_told]

    def _receipts(self, orders: pd.DataFrame) -> pd.DataFrame:
        parts = pd.concat(self.parts, ignore_index=True)
        parts = parts[parts["day"] < len(self.days)].sort_values(["day", "order"], kind="stable", ignore_index=True)
        parts["po_line_id"] = orders["po_line_id"].to_numpy(dtype=object)[parts["order"]]
        parts["event_id"] = parts["po_line_id"] + "-" + (parts.groupby("order").cumcount() + 1).astype("str")
        parts["received_at"] = _times(self.days[parts["day"]] * DAY_SECONDS + RECEIPT_SECOND)
        return parts


def _times(seconds: "pd.Series[int] | Ints") -> npt.NDArray[np.datetime64]:
    return np.asarray(seconds, dtype="int64").astype("datetime64[s]")
