"""The README.md that travels with the tables made from Online Retail II."""

from collections.abc import Mapping
from typing import Any

from erp.replayed_supply import Habits

_SOURCE = """# Online Retail II as tables of the data contract

A British wholesaler and retailer of gifts, 2009-12-01 to 2011-12-09, prices in GBP.
Source: UCI Machine Learning Repository 502 (2009-12 to 2011-12) and 352 (its second year).
Licence: UCI lists CC BY 4.0 for 502; 352 is also published as CC0 (CRAN package `onlineretail`).
Cite: Chen, Sain & Guo (2012), Journal of Database Marketing & Customer Strategy Management 19(3), 10.1057/dbm.2012.17.
"""

_REAL = """
## Real
Orders, quantities, prices, customers (empty: anonymous), countries, product names, and the times and quantities of
credit notes. Times are the shop's local times, taken as UTC. `customers.created_at` is the first order seen (the data
begin on 2009-12-01, so older customers look new). `products.list_price` is derived: the most usual price of the
product's first 28 days of sale. `order_line_id` is the invoice and a number given by sorting its lines by content.

A credit note is matched to the same customer's latest earlier purchase of the product with units left.
There is no unit cost: margins are assumed (`assumed_margin_share`).
"""

_AT_ONCE = """
## Assumed: nobody waits
The company published no waiting and no stock. Every line leaves at 18:00 of the day it was ordered, a later order at
once. A credit note of the order's own day before then is a cancellation; any later one is in `returns`, though some of
them were cancellations in truth. `stock` is empty, nothing is open, and there is no back order to rank: convert with
replayed supply for that.
"""

_REPLAYED = """
## REPLAYED: simulated, seed {seed}
The company published neither stock nor supply nor waiting. These are simulated, never measured:
`suppliers`, `purchase_orders`, `receipts`, `stock`, every `shipments.shipped_at` and its part quantities,
`order_lines.promised_on`, `order_lines.may_split`, and cancellations with reason `replayed`.
Ids and names of suppliers and purchase orders begin with `replayed`.
Suppliers: 40, lead times of 5 to 45 days, late deliveries, disruptions, deliveries in two parts. The company orders up
to a level every {h.review_every_days} working days (days with an order) from the demand seen so far, more in the
months before Christmas; only a product's first quantity looks ahead. Goods leave at 18:00, first come, first served; a
line that ships whole and does not fit is passed over. Receipts are booked at 21:00 and lie on the shelf overnight.
The date told to a customer is the day after the supplier's first date; suppliers' later dates are in `recorded_at`
versions of `purchase_orders`.
Patience: the hazard of cancelling while waiting is {h.impatience_per_day} a day x (1 + days / growth) x the customer's
own haste; growth is {h.impatience_growth_days:g} days, haste gamma with mean 1, {h.anonymous_impatience} for anonymous
customers. A real credit note that falls before its goods have left is a cancellation with reason `published`; a later
one is in `returns`, at most what had left.
A model's skill on these waits and cancellations shows that it finds what was put in, nothing about the company.
"""

_TRAPS = """
## Traps
Credit notes mix cancellations, returns and corrections. Purchases before 2009-12-01 are unknown, so {unmatched} credit
lines have units without a purchase. The 1 to 9 December 2010 invoices stand in both sheets of the workbook; the first
copy is dropped. December 2011 is partial: the last day ends at 12:50. Invoices 541431 (74,215 units) and 581483
(80,995 units) were credited within minutes. Exact duplicate lines are kept as published. Stock codes are in capitals.
"""


def text(summary: Mapping[str, Any], seed: int) -> str:
    """Write the README of one conversion from the fields of its summary."""
    waiting = _REPLAYED.format(seed=seed, h=Habits()) if summary["replayed"] else _AT_ONCE
    traps = _TRAPS.format(unmatched=f"{summary['n_unmatched_credit_lines']:,}")
    counts = [f"\n## Counts\nSource lines: {summary['n_source_lines']:,}. Left out:"]
    counts += [f"- {n:,} {reason}" for reason, n in summary["excluded"].items()]
    counts += ["", "| table | rows |", "|---|---|"]
    counts += [f"| {table} | {n:,} |" for table, n in summary["rows"].items()]
    return _SOURCE + _REAL + waiting + traps + "\n".join(counts) + "\n"
