"""Inbound goods of the simulated company: periodic review, late, disrupted and partial deliveries."""

from dataclasses import dataclass

import numpy as np

from erp.simulated_chance import Columns, Floats, Ints, Stream, normal, stack, take, uniform
from erp.simulated_demand import DAY
from erp.simulated_truth import CompanyShape, Products

LEAD_OVERRUN = 0.05  # mean logarithm of a delivery's lead time over its usual one
LEAST_LEAD_DAYS = 2.0
SPELL_DAYS = (30.0, 60.0)  # shortest and longest
AFTER_SPELL_DAYS = 6.0  # within which goods held up by a spell come once it ends
SLIP_SHARE = 0.3  # of the days on which a date has passed: a new one is told
HOPE = (0.4, 1.2)  # of the time that goods still take, what a new date says
PART_GAP_DAYS = (4, 13)  # between the parts of a delivery
MOST_PARTS = 6
_N_DISRUPTIONS = 60  # a supplier; at 260 days apart more than forty years


@dataclass(frozen=True)
class Disruptions:
    """Spells in which a supplier delivers nothing: 30 to 60 days each, (n_suppliers, n_spells)."""

    starts: Floats
    ends: Floats

    @classmethod
    def draw(cls, shape: CompanyShape) -> "Disruptions":
        """Spells of every supplier, hidden from the tables."""
        who, spell = np.arange(shape.n_suppliers)[:, None], np.arange(_N_DISRUPTIONS)[None, :]
        calm = -np.log(uniform(shape.seed, Stream.SUPPLIER, who, spell, 0)) * shape.disruption_gap_days
        length = SPELL_DAYS[0] + (SPELL_DAYS[1] - SPELL_DAYS[0]) * uniform(shape.seed, Stream.SUPPLIER, who, spell, 1)
        ends = np.cumsum(calm + length, axis=1)
        return cls(ends - length, ends)

    def delay(self, supplier: Ints, day: Floats, jitter: Floats) -> Floats:
        """Return the day on which goods planned for `day` come: after the spell they fall into, if any."""
        starts, ends = self.starts[supplier], self.ends[supplier]
        inside = (starts <= day[:, None]) & (day[:, None] < ends)
        until = np.where(inside, ends, 0.0).max(axis=1)
        return np.where(inside.any(axis=1), until + AFTER_SPELL_DAYS * jitter, day)


def no_purchases() -> Columns:
    """Inbound lines of a company that has ordered nothing yet."""
    whole = ["key", "product", "supplier", "ordered_second", "expected_day", "quantity", "received"]
    whole += ["first_day", "n_parts", "gap_days"]
    return {name: np.zeros(0, dtype=np.int64) for name in whole} | {"unit_cost": np.zeros(0)}


def place(
    shape: CompanyShape, products: Products, spells: Disruptions, daily_units: Floats, position: Ints, day: int
) -> Columns:
    """Inbound lines ordered on `day`: each product on its review day, up to what lead time and review will use."""
    ids = np.arange(shape.n_products)
    level = daily_units * (products.lead_days + products.review_days + shape.safety_days)
    need = np.ceil(level - position)
    is_due = ((day + ids) % products.review_days == 0) & (need >= 1) & (day + products.lead_days < products.ends_day)
    product = ids[is_due]
    u = [uniform(shape.seed, Stream.PURCHASE, product, day, i) for i in range(5)]
    quantity = np.maximum(need[is_due], np.ceil(5.0 * daily_units[is_due])).astype(np.int64)
    supplier = np.where(u[0] < 0.2, products.second_supplier[product], products.supplier[product])
    lead = products.lead_days[product]
    takes = np.maximum(
        lead * np.exp(LEAD_OVERRUN + shape.lead_spread * normal(shape.seed, Stream.PURCHASE, product, day, 9)),
        LEAST_LEAD_DAYS,
    )
    first = np.floor(spells.delay(supplier, day + takes, u[1])).astype(np.int64)
    in_parts = u[2] < shape.instalment_share
    return {
        "key": product * 100_000 + day,
        "product": product,
        "supplier": supplier,
        "ordered_second": np.full(len(product), day * DAY + 17 * 3600, dtype=np.int64),
        "expected_day": (day + lead).astype(np.int64),
        "quantity": quantity,
        "received": np.zeros(len(product), dtype=np.int64),
        "first_day": first,
        "n_parts": np.where(in_parts, np.minimum(2 + np.floor((MOST_PARTS - 1) * u[3]).astype(np.int64), quantity), 1),
        "gap_days": PART_GAP_DAYS[0] + np.floor((1 + PART_GAP_DAYS[1] - PART_GAP_DAYS[0]) * u[4]).astype(np.int64),
        "unit_cost": products.unit_cost[product],
    }


def arriving(purchases: Columns, day: int) -> Ints:
    """Units of each inbound line that come on `day`: equal parts, `gap_days` apart.

    10 units in 3 parts, day 5 and every 4 days: 3 on day 5, 3 on day 9, 4 on day 13.
    """
    came = np.clip((day - purchases["first_day"]) // purchases["gap_days"] + 1, 0, purchases["n_parts"])
    return np.asarray(purchases["quantity"] * came // purchases["n_parts"] - purchases["received"], dtype=np.int64)


def still_open(purchases: Columns) -> Columns:
    """Inbound lines that have not come in full."""
    return take(purchases, purchases["received"] < purchases["quantity"])


def slip(shape: CompanyShape, purchases: Columns, day: int) -> Columns:
    """Return new dates told in the evening of `day`: key, product, expected_day. The dates in `purchases` move along.

    A supplier that has let its date pass says so with 30 % a day, and its new date leans to the hopeful side.
    """
    said = uniform(shape.seed, Stream.SLIP, purchases["key"], day, 0) < SLIP_SHARE
    slips = said & (purchases["expected_day"] <= day)
    hope = HOPE[0] + (HOPE[1] - HOPE[0]) * uniform(shape.seed, Stream.SLIP, purchases["key"], day, 1)
    gap = purchases["gap_days"]
    comes = purchases["first_day"] + np.maximum((day - purchases["first_day"]) // gap + 1, 0) * gap
    told = day + np.maximum(np.ceil((comes - day) * hope), 2).astype(np.int64)
    purchases["expected_day"] = np.where(slips, told, purchases["expected_day"])
    return take({name: purchases[name] for name in ("key", "product", "expected_day")}, slips)


def soonest_expected(purchases: Columns, n_products: int, day: int) -> Floats:
    """Earliest date told for each product after `day`; inf where nothing is on its way."""
    soonest = np.full(n_products, np.inf)
    ahead = purchases["expected_day"] > day
    np.minimum.at(soonest, purchases["product"][ahead], purchases["expected_day"][ahead].astype(np.float64))
    return soonest


def add(purchases: Columns, more: Columns) -> Columns:
    """Inbound lines together with newly ordered ones."""
    return stack([purchases, more]) if len(more["key"]) else purchases
