"""What is true in the simulated company and stands in none of its tables: who is worth what, and who stays."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from erp.simulated_chance import Bools, Floats, Ints, Stream, normal, uniform

NEVER = 10**9  # a day that does not come
FUTURE_DAYS = 730  # new customers keep arriving this long after the history
CHANNELS = np.array(["edi", "phone", "web"])
SEGMENTS = np.array(["key account", "regular", "small"])
COUNTRIES = np.array(["DE", "FR", "NL", "AT", "PL"])
N_CATEGORIES = 8
FAVOURITE_SHARE = 0.6  # of a customer's lines that fall in its favourite category
GUEST_FURTHER_LINES = 0.3  # of an anonymous order beyond its first
PROMOTED_SHARE = 0.1  # of orders with a further discount
PROMOTION_DISCOUNT = 0.05  # of the list price
CREDIT_HOLD_SHARE = 0.015  # of customers, each for a month of 30 days
GAP_SHAPES = np.array([1, 2, 3, 4])  # of the gamma distributed gaps between orders, equally frequent
GONE_BEFORE_SHARE = 0.2  # of the customers from before the history who never order in it
# Standard deviations of logarithms over customers; means are 1.
FURTHER_SPREAD, SIZE_SPREAD, FRAGILITY_SPREAD, STAY_SPREAD = 0.5, 0.7, 0.4, 0.6
# A customer's worth is the sum of what it orders often, in many lines and in size, each a standard normal number.
WORTH = (0.7, 0.5, 0.5)
LIST_PRICE_LAW = (38.0, 0.9, (3.0, 900.0))  # median, spread of the logarithm, bounds
# Logarithm of a product's usual quantity about its median: weight of its price's z, of a number of its own, spread of
# their sum; bounds. Dear products are ordered in small numbers.
QUANTITY_LAW = (-0.5, 0.6, 0.8, (0.5, 30.0))
# What somebody typed leans on worth: weight of it beside a standard normal number, and the cuts of their sum.
CHANNEL_LAW = (0.3, (-0.4, 0.6))
SEGMENT_LAW = (0.6, (-0.3, 1.2))
PRIORITY_LAW = (0.15, (0.0, 1.3))
# Discount: mean, weight of a talent for bargaining (standard normal), weight of worth, bounds.
DISCOUNT_LAW = (0.06, 0.05, 0.02, (0.0, 0.2))
# Impatience of a customer: weight of a standard normal number of its own, of its talent for bargaining, of its worth.
PATIENCE_LAW = (0.75, 0.25, -0.2)
LINE_PATIENCE_SPREAD = 0.25  # of one line about its customer's
GUEST_PATIENCE_SPREAD = 0.8  # of an anonymous buyer's, new with every line


@dataclass(frozen=True)
class CompanyShape:
    """Size of a simulated company and the parameters of its truth. Shares are of 1, money is in the site's currency."""

    n_customers: int = 8000  # accounts opened by the end of the history
    n_products: int = 300
    n_days: int = 730  # history
    n_suppliers: int = 30
    start_on: date = date(2024, 1, 1)
    seed: int = 1
    median_gap_days: float = 75.0  # between a customer's orders
    gap_spread: float = 1.05  # standard deviation of its logarithm over customers: the heavy tail
    mean_further_lines: float = 0.8  # of an order beyond its first
    one_time_share: float = 0.2  # of new customers who never come back
    median_stay_days: float = 1500.0  # before a customer drops out without any cause we gave
    anonymous_share: float = 0.08  # of order lines
    median_quantity: float = 3.0  # of a line beyond its first unit, over products
    shortest_lead_days: float = 8.0  # usual lead times lie evenly between the two
    longest_lead_days: float = 35.0
    lead_spread: float = 0.25  # standard deviation of the logarithm of a delivery's lead time about its usual one
    safety_days: float = 3.0  # of demand that replenishment holds beyond lead time and review
    disruption_gap_days: float = 220.0  # mean time between a supplier's disruptions
    instalment_share: float = 0.6  # of inbound lines that come in 2 to 6 parts
    cancel_lost_share: float = 0.12  # customers lost by a cancelled line, on average [kappa]
    late_lost_share: float = 0.04  # customers lost by a line served very late [G at infinity]
    late_grace_days: float = 2.0  # wait that nobody minds
    late_scale_days: float = 12.0  # wait beyond it by which 63 % of `late_lost_share` is reached
    joint_cancel_share: float = 0.35  # chance that a cancelled line takes another open line of its order along
    partial_cancel_share: float = 0.04  # cancellations of half the quantity
    seller_cancel_hazard: float = 0.0008  # a day, lines waiting for more than 30 days
    returned_share: float = 0.025  # shipped lines that come back
    base_log_odds: float = -5.8  # of cancelling on a day, a patient line before its promise


@dataclass(frozen=True)
class Customers:
    """Hidden truth of each customer stream; the last `n_guests` are anonymous buyers who share no account."""

    n_known: int
    n_guests: int
    created_day: Floats
    first_order_day: Floats
    gap_days: Floats
    gap_shape: Ints  # of the gamma distributed gap: 1 erratic, 4 regular
    leaves_day: Floats  # drops out for reasons of its own
    leave_hazard: Floats  # a day
    further_lines: Floats
    size_factor: Floats
    discount_share: Floats
    patience: Floats  # added to the log odds of cancelling; below 0 is patient
    fragility: Floats  # multiplies `cancel_lost_share`, mean 1
    favourite: Ints  # category
    channel: Ints
    segment: Ints
    priority_class: Ints
    account: Ints  # index of the customer whose value and loyalty this one shares
    value_if_alive: Floats  # expected margin over 365 days while it is a customer


@dataclass(frozen=True)
class Products:
    """Each product's price, cost, demand and usual supplier."""

    list_price: Floats
    unit_cost: Floats
    weight: Floats  # share of order lines
    typical_quantity: Floats
    category: Ints
    supplier: Ints
    second_supplier: Ints
    lead_days: Floats
    review_days: Ints
    ends_day: Ints  # the last day it is sold; NEVER for most


def season(day: Floats | Ints | int) -> Floats:
    """Demand relative to its mean, by day of a year that starts in January: +15 % in December, -15 % in May."""
    return np.asarray(1.0 + 0.15 * np.sin(2.0 * np.pi * (np.asarray(day) - 240.0) / 365.0), dtype=np.float64)


def _bounded_lognormal(z: Floats, median: float, spread: float, low: float, high: float) -> Floats:
    return np.asarray(np.clip(median * np.exp(spread * z), low, high), dtype=np.float64)


def _typical_quantity(shape: CompanyShape, price_z: Floats, own_z: Floats) -> Floats:
    by_price, by_own, spread, bounds = QUANTITY_LAW
    return _bounded_lognormal(by_price * price_z + by_own * own_z, shape.median_quantity, spread, *bounds)


def draw_products(shape: CompanyShape) -> Products:
    """Products with heavy-tailed demand; one in thirty ends during the history."""
    ids = np.arange(shape.n_products)
    z = [normal(shape.seed, Stream.PRODUCT, ids, i) for i in range(5)]
    u = [uniform(shape.seed, Stream.PRODUCT, ids, 10 + i) for i in range(8)]
    list_price = np.round(_bounded_lognormal(z[0], *LIST_PRICE_LAW[:2], *LIST_PRICE_LAW[2]), 2)
    weight = np.exp(1.15 * z[1])
    ends = np.where(u[0] < 0.03, np.floor(shape.n_days * (0.4 + 0.5 * u[1])), NEVER)
    supplier = np.floor(u[2] * shape.n_suppliers).astype(np.int64)
    other = (supplier + 1 + np.floor(u[3] * (shape.n_suppliers - 1)).astype(np.int64)) % shape.n_suppliers
    return Products(
        list_price=list_price,
        unit_cost=np.round(list_price * (0.48 + 0.27 * u[4]), 2),
        weight=weight / weight.sum(),
        typical_quantity=_typical_quantity(shape, z[0], z[2]),
        category=np.minimum(np.floor(u[5] * N_CATEGORIES), N_CATEGORIES - 1).astype(np.int64),
        supplier=supplier,
        second_supplier=np.where(u[6] < 0.25, other, supplier),
        lead_days=np.round(shape.shortest_lead_days + (shape.longest_lead_days - shape.shortest_lead_days) * u[7]),
        review_days=np.where(z[3] > 0, 7, 14).astype(np.int64),
        ends_day=ends.astype(np.int64),
    )


def _arrivals(shape: CompanyShape, n_known: int, u: Floats) -> Floats:
    # 35 % were customers before the tables begin; the others come at a rate that rises by half over the history.
    n_before = int(0.35 * shape.n_customers)
    n_after = n_known - n_before
    per_history = max(shape.n_customers - n_before, 1)
    turn = (np.arange(n_after) + u[n_before:n_known]) / per_history
    during = shape.n_days * (np.sqrt(1.0 + 1.25 * turn) - 1.0) / 0.5
    return np.concatenate([np.sort(-1100.0 * u[:n_before]), np.sort(during)])


def _stays(shape: CompanyShape, created: Floats, u: list[Floats], z: Floats) -> tuple[Floats, Floats]:
    hazard = 1.0 / _bounded_lognormal(z, shape.median_stay_days, STAY_SPREAD, 120.0, 6000.0)
    leaves = np.maximum(created, 0.0) - np.log(u[0]) / hazard
    is_one_time = (created >= 0) & (u[1] < shape.one_time_share)
    was_gone = (created < 0) & (u[1] < GONE_BEFORE_SHARE)
    return np.where(was_gone, -1.0, np.where(is_one_time, created + 0.5, leaves)), hazard


def _accounts(n_total: int, n_known: int, u: Floats) -> Ints:
    # One customer in ten belongs to an earlier one that has no parent itself, so that no chain arises.
    own = np.arange(n_total)
    has_parent = (u < 0.1) & (own > 20) & (own < n_known)
    parent = np.floor(own * u / 0.1).astype(np.int64)
    usable = has_parent & ~has_parent[np.where(has_parent, parent, 0)]
    return np.where(usable, parent, own)


def _value(shape: CompanyShape, customers: dict[str, Floats], favourite: Ints, products: Products) -> Floats:
    """Return the margin expected over 365 days of a customer that is alive, less returns."""
    price, cost = _category_money(products, customers["size_factor"])
    take = customers["discount_share"] + PROMOTED_SHARE * PROMOTION_DISCOUNT
    index = np.arange(len(favourite))
    line = (1.0 - take) * price[favourite, index] - cost[favourite, index]
    years = (1.0 - np.exp(-365.0 * customers["leave_hazard"])) / customers["leave_hazard"]
    lines = 1.0 + customers["further_lines"]
    return np.maximum(years / customers["gap_days"] * lines * line * (1.0 - shape.returned_share), 0.0)


def _category_money(products: Products, size_factor: Floats) -> tuple[Floats, Floats]:
    """Return expected list price and cost of one line, (n_categories, n_customers)."""
    price = np.zeros((N_CATEGORIES, len(size_factor)))
    cost = np.zeros_like(price)
    whole = _weighted(products, products.weight, size_factor)
    for category in range(N_CATEGORIES):
        weight = np.where(products.category == category, products.weight, 0.0)
        own = _weighted(products, weight / weight.sum(), size_factor) if weight.sum() > 0 else whole
        price[category] = FAVOURITE_SHARE * own[0] + (1 - FAVOURITE_SHARE) * whole[0]
        cost[category] = FAVOURITE_SHARE * own[1] + (1 - FAVOURITE_SHARE) * whole[1]
    return price, cost


def _weighted(products: Products, weight: Floats, size_factor: Floats) -> tuple[Floats, Floats]:
    # quantity = 1 + geometric(size x typical), so its mean is 1 + size x typical.
    def money(amount: Floats) -> Floats:
        each = float((weight * amount).sum())
        typical = float((weight * amount * products.typical_quantity).sum())
        return np.asarray(each + size_factor * typical, dtype=np.float64)

    return money(products.list_price), money(products.unit_cost)


def _guest_gap_days(shape: CompanyShape, n_guests: int, n_lines: float) -> float:
    """Gap between the orders of one anonymous stream, so that together they make up the anonymous share."""
    # One known customer's order in six is never placed, because it was lost by waiting (measured at the defaults).
    n_anonymous = n_lines * 5.0 / 6.0 * shape.anonymous_share / (1.0 - shape.anonymous_share)
    return shape.n_days * n_guests * (1.0 + GUEST_FURTHER_LINES) / n_anonymous


def mean_one(z: Floats, spread: float) -> Floats:
    """Lognormal factors of mean 1 from standard normal numbers.

    >>> float(mean_one(np.array([0.35]), 0.7)[0])
    1.0
    """
    return np.asarray(np.exp(spread * z - spread**2 / 2.0), dtype=np.float64)


def fragility_of(z: Floats) -> Floats:
    """What multiplies `cancel_lost_share`, from standard normal numbers."""
    return np.asarray(np.clip(mean_one(z, FRAGILITY_SPREAD), 0.2, 3.0), dtype=np.float64)


def _discount(bargains: Floats, worth: Floats) -> Floats:
    mean, by_bargain, by_worth, bounds = DISCOUNT_LAW
    return np.asarray(np.clip(mean + by_bargain * bargains + by_worth * worth, *bounds), dtype=np.float64)


def _typed(law: tuple[float, tuple[float, float]], worth: Floats, z: Floats) -> Ints:
    return np.digitize(law[0] * worth + z, law[1]).astype(np.int64)


def draw_customers(shape: CompanyShape, products: Products) -> Customers:
    """Return customers whose value, stay and patience show only weakly in segment, channel, class and discount."""
    n_future = int(np.ceil(1.05 * shape.n_customers * FUTURE_DAYS / shape.n_days))
    n_known, n_guests = shape.n_customers + n_future, max(1, shape.n_customers // 100)
    ids = np.arange(n_known + n_guests)
    is_guest = ids >= n_known
    z = [normal(shape.seed, Stream.CUSTOMER, ids, i) for i in range(10)]
    u = [uniform(shape.seed, Stream.CUSTOMER, ids, 20 + i) for i in range(12)]
    created = np.r_[_arrivals(shape, n_known, u[0]), np.full(n_guests, -1.0)]
    leaves, hazard = _stays(shape, created, u[1:3], z[4])
    gap = _bounded_lognormal(-z[0], shape.median_gap_days, shape.gap_spread, 4.0, 2000.0)
    further = shape.mean_further_lines * mean_one(z[1], FURTHER_SPREAD)
    lives = np.clip(leaves, 0, shape.n_days) - np.clip(created, 0, shape.n_days)
    n_orders = np.maximum(lives, 0.0) / gap + ((created >= 0) & (created < shape.n_days))
    n_lines = float((n_orders * (1.0 + further))[:n_known].sum())
    guest_gap = _guest_gap_days(shape, n_guests, n_lines)
    worth = WORTH[0] * z[0] + WORTH[1] * z[1] + WORTH[2] * z[2]
    true: dict[str, Floats] = {
        "gap_days": np.where(is_guest, guest_gap, gap),
        "leave_hazard": np.where(is_guest, 1e-9, hazard),
        "further_lines": np.where(is_guest, GUEST_FURTHER_LINES, further),
        "size_factor": mean_one(z[2], SIZE_SPREAD),
        "discount_share": np.where(is_guest, 0.0, _discount(z[3], worth)),
    }
    favourite = np.minimum(np.floor(u[4] * N_CATEGORIES), N_CATEGORIES - 1).astype(np.int64)
    channel = np.where(is_guest, 2, 2 - _typed(CHANNEL_LAW, worth, z[5]))  # 0 is EDI, 2 the web shop
    value = np.where(is_guest, 0.0, _value(shape, true, favourite, products))
    return Customers(
        n_known=n_known,
        n_guests=n_guests,
        created_day=created,
        first_order_day=np.where(created >= 0, created, true["gap_days"] * u[5]),
        gap_shape=np.where(is_guest, 1, GAP_SHAPES[np.floor(4 * u[6]).astype(np.int64)]),
        leaves_day=np.where(is_guest, float(NEVER), leaves),
        patience=PATIENCE_LAW[0] * z[6] + PATIENCE_LAW[1] * z[3] + PATIENCE_LAW[2] * worth,
        fragility=fragility_of(z[7]),
        favourite=favourite,
        channel=channel.astype(np.int64),
        segment=2 - _typed(SEGMENT_LAW, worth, z[8]),
        priority_class=3 - _typed(PRIORITY_LAW, worth, z[9]),
        account=_accounts(len(ids), n_known, u[7]),
        value_if_alive=value,
        **true,
    )


def lost_by_waiting(shape: CompanyShape, waited_days: Floats) -> Floats:
    """Share of customers lost for good by waiting this long and still being served [G]: rising and bounded.

    Grace 2 days, scale 12 days, at most .04: after 14 days .04 x (1 - exp(-1)) = .0253.

    >>> lost_by_waiting(CompanyShape(), np.array([2.0, 14.0])).round(4).tolist()
    [0.0, 0.0253]
    """
    late = np.maximum(waited_days - shape.late_grace_days, 0.0)
    return np.asarray(shape.late_lost_share * -np.expm1(-late / shape.late_scale_days), dtype=np.float64)


def lost_by_cancelling(shape: CompanyShape, customers: Customers, customer: Ints) -> Floats:
    """Chance that a cancelled line costs the customer [kappa], `cancel_lost_share` times its fragility."""
    return np.minimum(shape.cancel_lost_share * customers.fragility[customer], 1.0)


def on_credit_hold(shape: CompanyShape, n_known: int, customer: Ints, day: int) -> Bools:
    """Whether each customer gets no goods on `day`, whatever rule gives them out; anonymous buyers pay first."""
    is_held = uniform(shape.seed, Stream.CUSTOMER, customer, 70, day // 30) < CREDIT_HOLD_SHARE
    return np.asarray(is_held & (customer < n_known), dtype=np.bool_)


def is_alive(customers: Customers, is_lost: Bools, day: int) -> Bools:
    """Who would still order: opened, not dropped out, not lost with its account."""
    return (customers.leaves_day > day) & (customers.created_day < day) & ~is_lost[customers.account]
