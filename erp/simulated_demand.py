"""Orders of the simulated company: who orders what on a day, whatever rule gives the goods out."""

from dataclasses import dataclass, field

import numpy as np

from erp.simulated_chance import Bools, Columns, Floats, Ints, Stream, geometric, normal, uniform
from erp.simulated_truth import (
    FAVOURITE_SHARE,
    GUEST_PATIENCE_SPREAD,
    LINE_PATIENCE_SPREAD,
    N_CATEGORIES,
    PROMOTED_SHARE,
    PROMOTION_DISCOUNT,
    CompanyShape,
    Customers,
    Products,
    season,
)

DAY = 86_400  # seconds
OPENS = 7 * 3600  # first order of a day, seconds after midnight
OPEN_SECONDS = 13 * 3600


def order_second(at_day: Floats) -> Ints:
    """Second since the start at which an order planned for `at_day` is placed: between 07:00 and 20:00.

    >>> order_second(np.array([2.0, 2.5])).tolist() == [2 * 86400 + 7 * 3600, 2 * 86400 + 13 * 3600 + 1800]
    True
    """
    whole = np.floor(at_day)
    return (whole * DAY + OPENS + (at_day - whole) * OPEN_SECONDS).astype(np.int64)


@dataclass(frozen=True)
class Assortment:
    """Products sorted by category with their cumulated demand, so that one draw picks one."""

    product: Ints
    cumulated: Floats
    starts: Floats  # of each category
    ends: Floats

    @classmethod
    def of(cls, products: Products) -> "Assortment":
        """Lay the products out by category."""
        order = np.argsort(products.category, kind="stable")
        cumulated = np.cumsum(products.weight[order])
        per_category = np.bincount(products.category, weights=products.weight, minlength=N_CATEGORIES).astype(
            np.float64
        )
        ends = np.asarray(np.cumsum(per_category), dtype=np.float64)
        return cls(order.astype(np.int64), cumulated, ends - per_category, ends)

    def pick(self, favourite: Ints, stays: Floats, share: Floats) -> Ints:
        """Products for `share` in (0, 1): within the favourite category where `stays` says so."""
        is_own = (stays < FAVOURITE_SHARE) & (self.ends > self.starts)[favourite]
        start = np.where(is_own, self.starts[favourite], 0.0)
        width = np.where(is_own, (self.ends - self.starts)[favourite], self.cumulated[-1])
        at = np.searchsorted(self.cumulated, start + share * width, side="left")
        return np.asarray(self.product[np.minimum(at, len(self.product) - 1)], dtype=np.int64)


@dataclass
class Calendar:
    """When each customer orders next, and how often it has ordered."""

    next_order_day: Floats
    n_orders: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def copy(self) -> "Calendar":
        """Return an independent calendar."""
        return Calendar(self.next_order_day.copy(), self.n_orders.copy())


def _gaps(shape: CompanyShape, customers: Customers, who: Ints, number: Ints, day: int) -> Floats:
    # A gamma gap with whole shape k is the sum of k exponential ones.
    parts = np.arange(4)[:, None]
    waits = -np.log(uniform(shape.seed, Stream.GAP, who, number, parts))
    kept = parts < customers.gap_shape[who]
    mean = customers.gap_days[who] / season(day)
    return np.asarray((waits * kept).sum(axis=0) / customers.gap_shape[who] * mean, dtype=np.float64)


def orders_of_day(shape: CompanyShape, customers: Customers, calendar: Calendar, is_lost: Bools, day: int) -> Columns:
    """One row per order of `day`: customer, number, at_day. Moves the calendar on."""
    found = []
    due = np.flatnonzero(calendar.next_order_day < day + 1)
    while len(due):
        at = calendar.next_order_day[due]
        stays = (customers.leaves_day[due] > at) & ~is_lost[customers.account[due]]
        calendar.next_order_day[due[~stays]] = np.inf
        due, at = due[stays], at[stays]
        number = calendar.n_orders[due]
        found.append({"customer": due, "number": number, "at_day": at})
        calendar.n_orders[due] += 1
        calendar.next_order_day[due] = at + _gaps(shape, customers, due, number, day)
        due = due[calendar.next_order_day[due] < day + 1]
    if not found:
        return {"customer": np.zeros(0, np.int64), "number": np.zeros(0, np.int64), "at_day": np.zeros(0)}
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _money(products: Products, product: Ints, discount: Floats) -> Columns:
    list_price = products.list_price[product]
    unit_price = np.maximum(np.round(list_price * (1.0 - discount), 2), 0.01)
    return {"list_price": list_price, "unit_price": unit_price, "unit_cost": products.unit_cost[product]}


def _untold(n: int) -> Columns:
    # A date is told once the day's shelf has been given out.
    nowhere = np.full(n, np.nan)
    return {"promised_day": nowhere, "latest_promised_day": nowhere.copy(), "n_slips": np.zeros(n, dtype=np.int64)}


def lines_of(
    shape: CompanyShape, customers: Customers, products: Products, assortment: Assortment, orders: Columns
) -> Columns:
    """One row per order line, in the order in which they were placed; products that have ended cannot be ordered."""
    seed, who, number = shape.seed, orders["customer"], orders["number"]
    further = geometric(uniform(seed, Stream.ORDER, who, number, 1), customers.further_lines[who])
    n_lines = 1 + np.minimum(further, 39)
    which = np.repeat(np.arange(len(who)), n_lines)
    line_number = np.arange(len(which)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines)
    customer = who[which]
    key = (customer * 10_000 + number[which]) * 100 + line_number
    u = [uniform(seed, Stream.LINE, key, i) for i in range(8)]
    product = assortment.pick(customers.favourite[customer], u[0], u[1])
    second = order_second(orders["at_day"])[which]
    day = second // DAY
    asks = uniform(seed, Stream.ORDER, who, number, 2)[which]
    requested = np.where(asks < 0.15, day + 3 + np.floor(asks / 0.15 * 22).astype(np.int64), -1)
    promoted = uniform(seed, Stream.ORDER, who, number, 3)[which] < PROMOTED_SHARE
    discount = customers.discount_share[customer] + PROMOTION_DISCOUNT * promoted
    quantity = 1 + geometric(u[2], customers.size_factor[customer] * products.typical_quantity[product])
    own = np.where(
        customer >= customers.n_known,
        GUEST_PATIENCE_SPREAD * normal(seed, Stream.LINE, key, 9),
        customers.patience[customer],
    )
    lines: Columns = {
        "key": key,
        "customer": customer,
        "product": product,
        "ordered_second": second,
        "quantity": quantity,
        "open": quantity.copy(),
        "requested_day": requested,
        "due_day": np.where(requested >= 0, requested, day),
        "may_split": uniform(seed, Stream.ORDER, who, number, 4)[which] < 0.35,
        "channel": np.where(u[3] < 0.9, customers.channel[customer], 1 + (customers.channel[customer] > 0)),
        "patience": own + LINE_PATIENCE_SPREAD * normal(seed, Stream.LINE, key, 10),
    }
    lines |= _money(products, product, discount) | _untold(len(key))
    kept = np.argsort(second, kind="stable")
    kept = kept[day[kept] <= products.ends_day[product[kept]]]
    return {name: values[kept] for name, values in lines.items()}
