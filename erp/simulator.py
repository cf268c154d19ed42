"""A simulated company with known truth: its tables for a demo, its hidden values and hazards for proofs.

Every night new orders are in, every morning at 05:00 UTC a rule gives the shelf out to the lines that wait, then
customers change their minds, goods come in, new orders take what is left and replenishment orders more. All chance is
drawn by (seed, stream, ids, day), so rules compared from one state meet the same world (`erp.simulated_chance`).
"""

import copy
from pathlib import Path

import numpy as np
import pandas as pd

from erp import simulated_demand, simulated_supply, simulated_tables
from erp.simulated_chance import Bools, Columns, Floats, Ints, Stream, stack, take, uniform
from erp.simulated_company import Company
from erp.simulated_demand import DAY, Assortment, Calendar
from erp.simulated_hazard import cancel_hazard, order_of, own_hazard
from erp.simulated_losses import leaving_accounts, losses_of_day, no_losses, seller_hazard_today
from erp.simulated_rules import Morning, Rule, give_out, planner_habits
from erp.simulated_supply import Disruptions
from erp.simulated_truth import (
    CompanyShape,
    draw_customers,
    draw_products,
    is_alive,
    on_credit_hold,
)

__all__ = [
    "Company",
    "CompanyShape",
    "close",
    "fork",
    "initialize",
    "morning",
    "planner_habits",
    "roll_forward",
    "simulate",
    "step",
    "true_hazard",
    "true_value",
    "write_tables",
]

SAME_DAY_UNTIL = 19 * 3600  # orders placed later leave on the next day at the earliest
QUOTED_DAYS = 2  # added to the day on which goods are expected, when a date is told
UNTOLD_SHARE = 0.03  # of lines that get no date
DEMAND_MEMORY_DAYS = 60.0  # of the planner's moving average


def initialize(shape: CompanyShape, rule: Rule = planner_habits) -> Company:
    """Return a company on the morning of its first day, its shelves filled and nothing on order."""
    products = draw_products(shape)
    customers = draw_customers(shape, products)
    active = (customers.created_day < 0) & (customers.leaves_day > 0)
    rate = np.where(active, (1.0 + customers.further_lines) / customers.gap_days, 0.0)
    mean_size = float((rate * customers.size_factor).sum() / rate.sum())
    daily_units = rate.sum() * products.weight * (1.0 + mean_size * products.typical_quantity)
    fill = uniform(shape.seed, Stream.PRODUCT, np.arange(shape.n_products), 30)
    on_hand = np.ceil(daily_units * (products.lead_days + products.review_days) * (0.6 + fill)).astype(np.int64)
    calendar = Calendar(customers.first_order_day.copy(), np.zeros(len(customers.created_day), dtype=np.int64))
    assortment = Assortment.of(products)
    nothing = simulated_demand.orders_of_day(shape, customers, calendar.copy(), np.zeros(len(rate), bool), -1)
    return Company(
        shape=shape,
        rule=rule,
        customers=customers,
        products=products,
        assortment=assortment,
        spells=Disruptions.draw(shape),
        calendar=calendar,
        is_lost=np.zeros(len(rate), dtype=bool),
        on_hand=on_hand,
        daily_units=daily_units,
        open=simulated_demand.lines_of(shape, customers, products, assortment, nothing),
        purchases=simulated_supply.no_purchases(),
        shelf=[on_hand.copy()],
    )


def simulate(shape: CompanyShape, rule: Rule = planner_habits) -> Company:
    """Return a company that has lived through `shape.n_days` under `rule`."""
    company = initialize(shape, rule)
    for _ in range(shape.n_days):
        step(company)
    return company


def step(company: Company) -> None:
    """Live through one day: morning allocation, changes of mind, receipts, new orders, replenishment."""
    waits = company.open["due_day"] < company.day
    seen = morning(company)
    shipped = np.zeros(len(waits), dtype=np.int64)
    shipped[waits] = _checked(seen, np.asarray(company.rule(seen)))
    _ship(company, shipped, _clock(company, company.open, 13 * 3600, 5 * 3600))
    _change_minds(company)
    _receive(company)
    _take_orders(company)
    _replenish(company)
    company.day += 1
    company.shelf.append(company.on_hand.copy())


def morning(company: Company) -> Morning:
    """Return what the planner sees at 05:00 UTC of `company.day`."""
    waiting = take(company.open, company.open["due_day"] < company.day)
    who = waiting["customer"]
    typed = np.where(who < company.customers.n_known, company.customers.priority_class[who], 9)
    return Morning(
        at=company.as_of,
        day=company.day,
        columns=waiting | {"priority_class": typed, "credit_hold": _held(company, who)},
        on_hand=company.on_hand.copy(),
        make_frame=lambda columns: simulated_tables.waiting_frame(company, columns),
        make_tables=lambda: close(company),
    )


def _held(company: Company, customer: Ints) -> Bools:
    return on_credit_hold(company.shape, company.customers.n_known, customer, company.day)


def _checked(seen: Morning, quantity: Ints) -> Ints:
    wanted, product = seen.columns["open"], seen.columns["product"]
    if quantity.shape != wanted.shape:
        raise ValueError(f"the rule returned {quantity.shape} quantities for {len(wanted)} waiting lines; one each")
    bad = (quantity < 0) | (quantity > wanted) | (~seen.columns["may_split"] & (quantity > 0) & (quantity < wanted))
    if bad.any():
        names = seen.lines["order_line_id"][bad].tolist()[:3]
        raise ValueError(
            f"the rule ships what {int(bad.sum())} of {len(bad)} lines cannot take (below 0, above the open quantity,"
            f" or a part of a line that ships whole), e.g. order_line_id {names}"
        )
    used = np.bincount(product, weights=quantity, minlength=len(seen.on_hand))
    if (used > seen.on_hand).any():
        short = np.flatnonzero(used > seen.on_hand)
        raise ValueError(f"the rule ships more than is on the shelf of {len(short)} products, e.g. index {short[0]}")
    if (held := (quantity > 0) & seen.columns["credit_hold"]).any():
        names = seen.lines["order_line_id"][held].tolist()[:3]
        raise ValueError(f"the rule ships {int(held.sum())} lines of customers on credit hold, e.g. {names}")
    return quantity.astype(np.int64)


def _clock(company: Company, lines: Columns, opens: int, seconds: int) -> Ints:
    # Second since the start, some time of today after `opens`.
    share = uniform(company.shape.seed, Stream.CLOCK, lines["key"], company.day, opens)
    return np.asarray(company.day * DAY + opens + np.floor(share * seconds), dtype=np.int64)


def _ship(company: Company, shipped: Ints, second: Ints) -> None:
    lines, goes = company.open, shipped > 0
    if not goes.any():
        return
    np.subtract.at(company.on_hand, lines["product"][goes], shipped[goes])
    company.log["shipments"].append({"key": lines["key"][goes], "second": second[goes], "quantity": shipped[goes]})
    _reduce(company, shipped)


def _reduce(company: Company, quantity: Ints) -> None:
    left = company.open | {"open": company.open["open"] - quantity}
    company.open = take(left, left["open"] > 0)


def _change_minds(company: Company) -> None:
    shape, day = company.shape, company.day
    waits = company.open["due_day"] < day
    lines = take(company.open, waits)
    if not len(lines["key"]):
        company.money.append(no_losses(day))
        return
    by_seller, gone = _cancelling(company, lines)
    is_part = uniform(shape.seed, Stream.CANCEL, lines["key"], day, 3) < shape.partial_cancel_share
    is_part &= (lines["open"] > 1) & ~by_seller
    quantity = np.where(gone, np.where(is_part, lines["open"] // 2, lines["open"]), 0)
    company.money.append(losses_of_day(company, lines, gone, quantity))
    company.is_lost[leaving_accounts(company, lines, gone)] = True
    second = _clock(company, lines, 6 * 3600, 16 * 3600)
    is_late = np.nan_to_num(lines["promised_day"], nan=np.inf) < day
    row = {"key": lines["key"], "second": second, "quantity": quantity, "by_seller": by_seller, "is_late": is_late}
    company.log["cancellations"].append(take(row, gone))
    every = np.zeros(len(waits), dtype=np.int64)
    every[waits] = quantity
    _reduce(company, every)


def _cancelling(company: Company, lines: Columns) -> tuple[Bools, Bools]:
    """Which lines we cancel, and which are cancelled at all, on this day."""
    shape, day, key = company.shape, company.day, lines["key"]
    own = uniform(shape.seed, Stream.CANCEL, key, day, 0) < own_hazard(shape, lines, day)
    order = order_of(lines)
    others = np.bincount(order, weights=own)[order] - own
    along = uniform(shape.seed, Stream.CANCEL, key, day, 1) < 1.0 - (1.0 - shape.joint_cancel_share) ** others
    ours = uniform(shape.seed, Stream.CANCEL, key, day, 2) < seller_hazard_today(company, lines)
    customers = own | along
    return ours & ~customers, ours | customers


def _receive(company: Company) -> None:
    purchases = company.purchases
    units = simulated_supply.arriving(purchases, company.day)
    comes = units > 0
    if comes.any():
        np.add.at(company.on_hand, purchases["product"][comes], units[comes])
        row = {"key": purchases["key"], "second": _clock(company, purchases, 8 * 3600, 4 * 3600), "quantity": units}
        company.log["receipts"].append(take(row, comes))
        company.purchases = simulated_supply.still_open(purchases | {"received": purchases["received"] + units})


def _take_orders(company: Company) -> None:
    shape, day = company.shape, company.day
    orders = simulated_demand.orders_of_day(shape, company.customers, company.calendar, company.is_lost, day)
    new = simulated_demand.lines_of(shape, company.customers, company.products, company.assortment, orders)
    units = np.bincount(new["product"], weights=new["quantity"], minlength=shape.n_products)
    company.daily_units += (units - company.daily_units) / DEMAND_MEMORY_DAYS
    company.open = stack([company.open, new])
    may_leave = (company.open["due_day"] == day) & (company.open["ordered_second"] < day * DAY + SAME_DAY_UNTIL)
    order = np.flatnonzero(may_leave & ~_held(company, company.open["customer"]))
    order = order[np.argsort(company.open["ordered_second"][order], kind="stable")]
    lines = company.open
    shipped = give_out(company.on_hand, lines["product"], lines["open"], lines["may_split"], order)
    _promise(company, shipped == lines["open"])
    company.log["lines"].append(take(company.open, company.open["ordered_second"] >= day * DAY))
    _ship(company, shipped, _clock(company, lines, SAME_DAY_UNTIL, 2 * 3600))


def _promise(company: Company, ships_now: Bools) -> None:
    """Tell new lines a date: from the shelf, else from the next delivery expected, else from the usual lead time."""
    lines, day, products = company.open, company.day, company.products
    soonest = simulated_supply.soonest_expected(company.purchases, company.shape.n_products, day)
    usual = day + products.lead_days + products.review_days / 2
    comes = np.where(np.isfinite(soonest), soonest, usual)[lines["product"]]
    waits = lines["due_day"] < day
    claimed = np.bincount(lines["product"], weights=np.where(waits, lines["open"], 0), minlength=len(products.weight))
    on_shelf = ships_now | (company.on_hand[lines["product"]] - claimed[lines["product"]] >= lines["open"])
    told = np.maximum(np.where(on_shelf, day, comes) + QUOTED_DAYS, lines["due_day"] + QUOTED_DAYS * ~on_shelf)
    told = np.where(uniform(company.shape.seed, Stream.PROMISE, lines["key"]) < UNTOLD_SHARE, np.nan, np.ceil(told))
    is_new = lines["ordered_second"] >= day * DAY
    for name in ("promised_day", "latest_promised_day"):
        lines[name] = np.where(is_new, told, lines[name])


def _replenish(company: Company) -> None:
    shape, day = company.shape, company.day
    moved = simulated_supply.slip(shape, company.purchases, day)
    if len(moved["key"]):
        company.log["slips"].append(moved | {"second": np.full(len(moved["key"]), day * DAY + 18 * 3600 + 900)})
        _tell_again(company, moved)
    n = shape.n_products
    # numpy counts nothing at all in whole numbers, whatever its weights are.
    asked = np.bincount(company.open["product"], weights=company.open["open"], minlength=n).astype(float)
    position = company.on_hand - asked
    inbound = company.purchases["quantity"] - company.purchases["received"]
    position += np.bincount(company.purchases["product"], weights=inbound, minlength=n)
    placed = simulated_supply.place(shape, company.products, company.spells, company.daily_units, position, day)
    if len(placed["key"]):
        company.log["purchases"].append(placed)
        company.purchases = simulated_supply.add(company.purchases, placed)


def _tell_again(company: Company, moved: Columns) -> None:
    """Half of the customers whose date cannot hold are told a new one on the evening of the slip."""
    lines = company.open
    soonest = simulated_supply.soonest_expected(company.purchases, company.shape.n_products, company.day)
    has_moved = np.zeros(company.shape.n_products, dtype=bool)
    has_moved[moved["product"]] = True
    date = np.ceil(soonest[lines["product"]]) + QUOTED_DAYS
    told = has_moved[lines["product"]] & (lines["latest_promised_day"] < date) & np.isfinite(date)
    told &= uniform(company.shape.seed, Stream.PROMISE, lines["key"], company.day) < 0.5
    lines["latest_promised_day"] = np.where(told, date, lines["latest_promised_day"])
    lines["n_slips"] = lines["n_slips"] + told
    row = {"key": lines["key"], "second": _clock(company, lines, 19 * 3600, 3 * 3600), "promised_day": date}
    company.log["promises"].append(take(row, told))


def true_value(company: Company) -> pd.DataFrame:
    """One row per customer so far: customer_id, account_id, is_alive, value_amount (margin over the next 365 days).

    It counts the hidden truth (who has dropped out or was lost) and no losses by waiting still to come.
    """
    return simulated_tables.value_frame(company, is_alive(company.customers, company.is_lost, company.day))


def true_hazard(company: Company, line_ids: list[str], n_days: int) -> Floats:
    """Chance that the customer cancels each open line in each of the next days if nobody ships, (n_lines, n_days).

    The line is given to be still wanted at the day's start; dates told and the rest of its order stay as they are.
    """
    row_of = {name: i for i, name in enumerate(simulated_tables.line_ids(company, company.open["key"]))}
    unknown = [name for name in line_ids if name not in row_of]
    if unknown:
        raise ValueError(f"{len(unknown)} of {len(line_ids)} lines are not open, e.g. order_line_id {unknown[:3]}")
    rows = np.array([row_of[name] for name in line_ids], dtype=np.int64)
    hazard = np.zeros((len(rows), n_days))
    for ahead in range(n_days):
        hazard[:, ahead] = cancel_hazard(company.shape, company.open, company.day + ahead)[rows]
    return hazard


def fork(company: Company) -> Company:
    """Return an independent company in the same state; what it lives through leaves the original as it is."""
    twin = copy.copy(company)
    twin.calendar = company.calendar.copy()
    twin.is_lost, twin.on_hand = company.is_lost.copy(), company.on_hand.copy()
    twin.daily_units = company.daily_units.copy()
    twin.open, twin.purchases = dict(company.open), dict(company.purchases)
    twin.log = {name: list(parts) for name, parts in company.log.items()}
    twin.shelf, twin.money = list(company.shelf), list(company.money)
    return twin


def roll_forward(company: Company, rule: Rule, n_days: int) -> pd.DataFrame:
    """Losses of the next `n_days` under `rule`, one row per day; the company itself stays where it is."""
    twin = fork(company)
    twin.rule, twin.money = rule, []
    for _ in range(n_days):
        step(twin)
    return twin.losses


def close(company: Company) -> dict[str, pd.DataFrame]:
    """Contract tables of everything that happened before `company.as_of`, by name; nothing hidden is in them."""
    return simulated_tables.tables_of(company)


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write each table as NAME.parquet into `folder`: the same tables give the same bytes."""
    simulated_tables.write(tables, folder)
