"""A declared, seeded simulation of supply for a company that published its orders but neither stock nor waiting.

Orders, prices and credit notes stay as published. Simulated are suppliers, purchase orders, receipts, stock, the wait
that follows from them, the dates told, who accepts part shipments, and customers who lose patience.

A working day is a day with an order. In the day orders come in. At dispatch (18:00) goods are given first come, first
served: a line that ships whole and does not fit is passed over, a line that may be split takes what is there. In the
evening receipts are booked, suppliers are ordered from and stock is counted; so goods that came in lie on the shelf
overnight, and the next morning has something to decide.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from erp.replayed_inbound import Inbound, Suppliers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RECEIPT_SECOND = 21 * 3600  # of the day; after dispatch
COUNT_SECOND = 24 * 3600 - 1  # never midnight: a column of midnights would be read as days
DISPATCH_SECOND = 18 * 3600
DAY_SECONDS = 86400


@dataclass(frozen=True)
class Habits:
    """How the simulated company and its customers behave. All assumed."""

    review_every_days: int = 12  # working days between two orders at one supplier
    count_every_days: int = 6  # working days between two stock counts
    demand_memory_days: float = 20.0  # working days, of the demand forecast's exponential mean
    season_months: tuple[int, ...] = (8, 9, 10, 11)  # in which planners order for the Christmas trade
    season_uplift: float = 1.7  # times the forecast in those months
    safety_factor: float = 1.2  # standard deviations of demand over lead time and review kept as safety stock
    launch_error: float = 0.35  # standard deviation of the log error of a new product's first quantity
    may_split_share: float = 0.4  # of customers, who accept part shipments
    impatience_per_day: float = 0.009  # hazard of cancelling on the first day of waiting
    impatience_growth_days: float = 14.0  # the hazard has doubled after so many days
    anonymous_impatience: float = 1.5  # times the hazard of the average customer
    least_promise_days: int = 2  # no date told is nearer than this
    overdue_promise_days: int = 7  # told when the supplier's own date has passed


@dataclass
class Waiting:
    """A line that was not shipped on its day, times in seconds since 1970."""

    line: int
    open_quantity: int
    leaves_at: int
    may_split: bool
    credits: list[tuple[int, int, int]]  # (time, quantity, row of pairs), earliest first


@dataclass
class Book:
    """What the simulation writes down while it runs; `line` is a row of the order lines."""

    shipped: list[tuple[Any, Any, Any]] = field(default_factory=list)  # arrays of line, time, quantity
    cancelled: list[tuple[int, int, int, int]] = field(default_factory=list)  # line, time, quantity, pair or -1
    counted: list[tuple[int, Ints, Ints]] = field(default_factory=list)  # time, products, units on hand


def replay(
    lines: pd.DataFrame, pairs: pd.DataFrame, seed: int = 0, habits: Habits | None = None
) -> dict[str, pd.DataFrame]:
    """Order lines with dates told, and the shipments, cancellations, returns, stock and supply that follow.

    Parameters
    ----------
    lines : by `ordered_at`: order_line_id, customer_id, product_id, ordered_at, quantity, dispatch_at
    pairs : credited quantities: line (row of `lines`), at, quantity, event_id
    seed : of every draw

    A credit that falls before its goods have left cancels (reason `published`), a later one is a return. A customer
    who loses patience cancels with reason `replayed`.
    """
    company = Company(lines, pairs, seed, habits or Habits())
    for day in range(len(company.days)):
        company.live(day)
    return company.close()


def patience_days(draws: Floats, haste: Floats, habits: Habits) -> Floats:
    """Days a customer waits before cancelling, for standard exponential draws and the customer's own haste.

    The hazard after w days is impatience x haste x (1 + w / growth). With .01 a day, growth 10 days and haste 1 it adds
    up to .01 x (10 + 100 / 20) = .15 within ten days, so who draws .15 leaves then.

    >>> habits = Habits(impatience_per_day=0.01, impatience_growth_days=10)
    >>> round(float(patience_days(np.array([0.15]), np.array([1.0]), habits)[0]), 9)
    10.0
    """
    growth = habits.impatience_growth_days
    effort = draws / (habits.impatience_per_day * haste)
    waited: Floats = growth * (np.sqrt(1 + 2 * effort / growth) - 1)
    return waited


class Company:
    """The simulated company: shelves, waiting lines and open purchases, lived day by day."""

    def __init__(self, lines: pd.DataFrame, pairs: pd.DataFrame, seed: int, habits: Habits) -> None:
        self.lines, self.pairs, self.habits = lines, pairs, habits
        self.product, self.product_ids = pd.factorize(lines["product_id"], sort=True)
        self.ordered = _seconds(lines["ordered_at"])
        self.dispatched = _seconds(lines["dispatch_at"])
        self.days, self.day_of_line = np.unique(self.ordered // DAY_SECONDS, return_inverse=True)
        self.first_line = np.searchsorted(self.day_of_line, np.arange(len(self.days) + 1))
        self._draw_customers(seed)
        self._split_credits()
        self._open_shelves(seed)
        self.queues: dict[int, list[Waiting]] = {}
        self.book = Book()
        self.promised_day = self.days[self.day_of_line].copy()
        self._count(self.days[0] - 1, np.arange(len(self.product_ids)))

    def _draw_customers(self, seed: int) -> None:
        """Patience of every line and who accepts part shipments; persons differ (gamma, mean 1, variance 1/2)."""
        rng = np.random.default_rng([seed, 1])
        codes, customers = pd.factorize(self.lines["customer_id"], sort=True)
        haste = np.append(rng.gamma(2.0, 0.5, len(customers)) + 0.05, self.habits.anonymous_impatience)
        accepts = np.append(rng.random(len(customers)) < self.habits.may_split_share, False)
        patience = patience_days(rng.exponential(size=len(self.lines)), haste[codes], self.habits)
        self.may_split = accepts[codes]
        self.leaves = self.ordered + np.ceil(patience * DAY_SECONDS).astype("int64")

    def _split_credits(self) -> None:
        """Credits before dispatch cancel whatever the stock; later ones depend on whether the goods have left."""
        line, quantity = self.pairs["line"].to_numpy(), self.pairs["quantity"].to_numpy()
        at = _seconds(self.pairs["at"])
        self.credit_left = quantity.copy()
        is_early = at < self.dispatched[line]
        self.credit_left[is_early] = 0
        self.early = np.flatnonzero(is_early)
        early_units = np.bincount(line[is_early], quantity[is_early], len(self.lines)).astype("int64")
        self.open_quantity = self.lines["quantity"].to_numpy().astype("int64") - early_units
        self.later: dict[int, list[tuple[int, int, int]]] = {}
        for pair in np.flatnonzero(~is_early):
            self.later.setdefault(int(line[pair]), []).append((int(at[pair]), int(quantity[pair]), int(pair)))

    def _open_shelves(self, seed: int) -> None:
        """Stock a product for its first weeks of sale, with an error; products on sale early open with stock."""
        n_products = len(self.product_ids)
        self.inbound = Inbound(Suppliers.draw(n_products, seed), self.days, np.random.default_rng([seed, 2]))
        first_line = np.unique(self.product, return_index=True)[1]
        self.launch_day = self.day_of_line[first_line]
        cover_days = self.inbound.suppliers.lead_days[self.inbound.suppliers.of_product] + 14
        age = (self.ordered - self.ordered[first_line][self.product]) / DAY_SECONDS
        is_early = age < cover_days[self.product]
        demand = np.bincount(self.product[is_early], self.open_quantity[is_early], n_products)
        error = np.exp(self.habits.launch_error * np.random.default_rng([seed, 3]).standard_normal(n_products))
        launch = np.ceil(np.maximum(demand * error, 1)).astype("int64")
        is_old = self.launch_day <= self.habits.review_every_days
        self.on_hand = np.where(is_old, launch, 0)
        self.inbound.launch(np.flatnonzero(~is_old), launch[~is_old], self.launch_day[~is_old])
        self.backlog = np.zeros(n_products, dtype="int64")
        self.mean = launch / cover_days * 7 / 6  # units a working day; about six a week
        self.variance = (2 * self.mean) ** 2

    def live(self, day: int) -> None:
        """One working day: orders, dispatch, then the evening's receipts, purchases and count."""
        today = np.arange(self.first_line[day], self.first_line[day + 1])
        today = today[self.open_quantity[today] > 0]
        demand = np.bincount(self.product[today], self.open_quantity[today], len(self.product_ids)).astype("int64")
        is_short = demand > self.on_hand
        is_short[list(self.queues)] = True
        is_easy = ~is_short[self.product[today]]
        self._ship_at_once(today[is_easy], np.where(is_short, 0, demand))
        self._dispatch(day, today[~is_easy])
        self.on_hand += self.inbound.receive(day, len(self.product_ids))
        self._learn_demand(day, demand)
        self._review(day)
        if day % self.habits.count_every_days == 0:
            self._count(self.days[day], np.flatnonzero(self.launch_day <= day))

    def _ship_at_once(self, today: Ints, demand: Ints) -> None:
        self.book.shipped.append((today, self.dispatched[today], self.open_quantity[today]))
        self.on_hand -= demand

    def _dispatch(self, day: int, today: Ints) -> None:
        """Give out goods where they are short, product by product, the oldest line first."""
        new: dict[int, list[int]] = {}
        for line, product in zip(today.tolist(), self.product[today].tolist(), strict=True):
            new.setdefault(product, []).append(line)
        at = int(self.days[day]) * DAY_SECONDS + DISPATCH_SECOND
        for product in sorted(self.queues.keys() | new.keys()):
            stock = int(self.on_hand[product])
            kept = []
            for waiting in self.queues.get(product, []):
                self._withdraw(waiting, at)
                stock -= self._give(waiting, stock, at)
                if waiting.open_quantity:
                    kept.append(waiting)
            for line in new.get(product, []):
                waiting = self._waiting(line)
                stock -= self._give(waiting, stock, int(self.dispatched[line]))
                if waiting.open_quantity:
                    kept.append(waiting)
                    self._promise(day, product, kept, stock)
            self._keep(product, kept, stock)

    def _keep(self, product: int, kept: list[Waiting], stock: int) -> None:
        self.on_hand[product] = stock
        self.backlog[product] = sum(waiting.open_quantity for waiting in kept)
        if kept:
            self.queues[product] = kept
        else:
            self.queues.pop(product, None)

    def _waiting(self, line: int) -> Waiting:
        return Waiting(
            line=line,
            open_quantity=int(self.open_quantity[line]),
            leaves_at=int(self.leaves[line]),
            may_split=bool(self.may_split[line]),
            credits=self.later.get(line, []),
        )

    def _give(self, waiting: Waiting, stock: int, at: int) -> int:
        """Ship the line from the stock as far as it may, and say how much went."""
        given = min(waiting.open_quantity, stock)
        if given == 0 or (given < waiting.open_quantity and not waiting.may_split):
            return 0
        waiting.open_quantity -= given
        self.book.shipped.append((waiting.line, at, given))
        return given

    def _withdraw(self, waiting: Waiting, before: int) -> None:
        """Cancel what the customer took back before a time: published credits, and at last patience."""
        while waiting.open_quantity and waiting.credits and waiting.credits[0][0] < min(before, waiting.leaves_at):
            at, quantity, pair = waiting.credits.pop(0)
            taken = min(quantity, waiting.open_quantity)
            waiting.open_quantity -= taken
            self.credit_left[pair] -= taken
            self.book.cancelled.append((waiting.line, at, taken, pair))
        if waiting.open_quantity and waiting.leaves_at < before:
            self.book.cancelled.append((waiting.line, waiting.leaves_at, waiting.open_quantity, -1))
            waiting.open_quantity = 0

    def _promise(self, day: int, product: int, queue: list[Waiting], stock: int) -> None:
        """Tell the last line of the queue the day after the supplier's date of the goods that would reach it."""
        today = int(self.days[day])
        missing = sum(waiting.open_quantity for waiting in queue) - stock
        expected = self.inbound.expected_day(product, missing, day, self.habits.review_every_days)
        soonest = today + self.habits.least_promise_days
        overdue = today + self.habits.overdue_promise_days
        self.promised_day[queue[-1].line] = overdue if expected < today else max(expected + 1, soonest)

    def _learn_demand(self, day: int, demand: Ints) -> None:
        weight = np.where(self.launch_day <= day, 1 / self.habits.demand_memory_days, 0.0)
        surprise = demand - self.mean
        self.mean = self.mean + weight * surprise
        self.variance = (1 - weight) * (self.variance + weight * surprise**2)

    def _review(self, day: int) -> None:
        """Order up to the demand of lead time and review with safety stock, at the suppliers whose turn it is."""
        habits, suppliers = self.habits, self.inbound.suppliers
        is_due = suppliers.number % habits.review_every_days == day % habits.review_every_days
        products = np.flatnonzero(is_due[suppliers.of_product] & (self.launch_day <= day))
        cover = suppliers.lead_days[suppliers.of_product[products]] * 6 / 7 + habits.review_every_days
        month = int(self.days[day].astype("datetime64[D]").astype("datetime64[M]").astype("int64")) % 12 + 1
        forecast = self.mean[products] * (habits.season_uplift if month in habits.season_months else 1.0)
        level = forecast * cover + habits.safety_factor * np.sqrt(self.variance[products] * cover)
        position = self.on_hand[products] + self.inbound.on_order[products] - self.backlog[products]
        quantity = np.ceil(level - position).astype("int64")
        # Little is not worth an order unless somebody waits for it.
        is_worth = (quantity >= self.mean[products] * habits.review_every_days / 2) | (position < 0)
        chosen = is_worth & (quantity > 0)
        self.inbound.order(products[chosen], quantity[chosen], day)

    def _count(self, day_number: int, products: Ints) -> None:
        at = int(day_number) * DAY_SECONDS + COUNT_SECOND
        self.book.counted.append((at, products, self.on_hand[products].copy()))

    def close(self) -> dict[str, pd.DataFrame]:
        """Let waiting customers decide until the end of the last day, and give the tables."""
        end = (int(self.days[-1]) + 1) * DAY_SECONDS
        for product in sorted(self.queues):
            for waiting in self.queues[product]:
                self._withdraw(waiting, end)
        shipments = self._shipments()
        tables = {
            "order_lines": self.lines.assign(promised_on=_days(self.promised_day), may_split=self.may_split),
            "shipments": shipments,
            "cancellations": self._cancellations(),
            "returns": self._returns(shipments),
            "stock": self._stock(),
        }
        return tables | self.inbound.tables(self.product_ids)

    def _shipments(self) -> pd.DataFrame:
        columns = [np.concatenate([np.atleast_1d(part[i]) for part in self.book.shipped]) for i in range(3)]
        line, at, quantity = (column.astype("int64") for column in columns)
        frame = pd.DataFrame({"line": line, "shipped_at": _times(at), "quantity": quantity})
        return self._with_ids(frame.sort_values(["shipped_at", "line"], kind="stable", ignore_index=True))

    def _cancellations(self) -> pd.DataFrame:
        early = self.pairs.iloc[self.early]
        cancelled = np.array(self.book.cancelled, dtype="int64").reshape(-1, 4)
        line, at, quantity, pair = (
            np.concatenate([first, cancelled[:, i]])
            for i, first in enumerate((early["line"], _seconds(early["at"]), early["quantity"], self.early))
        )
        frame = self._with_ids(pd.DataFrame({"line": line, "cancelled_at": _times(at), "quantity": quantity}))
        is_published = pair >= 0
        frame["event_id"] = "replayed-" + frame["order_line_id"]
        frame.loc[is_published, "event_id"] = self.pairs["event_id"].to_numpy(dtype=object)[pair[is_published]]
        frame["reason"] = np.where(is_published, "published", "replayed")
        frame["cancelled_by"] = "customer"
        return frame.sort_values(["cancelled_at", "event_id"], kind="stable", ignore_index=True)

    def _returns(self, shipments: pd.DataFrame) -> pd.DataFrame:
        """Credits after the goods had left, never more than left: who lost patience before has nothing to return."""
        shipped = shipments.groupby("line")["quantity"].sum()
        left = self.pairs.assign(quantity=self.credit_left)[self.credit_left > 0]
        before = left.groupby("line")["quantity"].cumsum() - left["quantity"]
        room = left["line"].map(shipped).fillna(0).astype("int64") - before
        frame = left.assign(quantity=np.minimum(left["quantity"], room.clip(lower=0)))
        frame = frame[frame["quantity"] > 0].rename(columns={"at": "returned_at"})
        return self._with_ids(frame.reset_index(drop=True))

    def _stock(self) -> pd.DataFrame:
        at = np.concatenate([np.full(len(products), at) for at, products, _ in self.book.counted])
        products, units = (np.concatenate([count[i] for count in self.book.counted]) for i in (1, 2))
        return pd.DataFrame({"snapshot_at": _times(at), "product_id": self.product_ids[products], "on_hand": units})

    def _with_ids(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(order_line_id=self.lines["order_line_id"].to_numpy(dtype=object)[frame["line"]])


def _seconds(times: pd.Series) -> Ints:
    return times.astype("datetime64[s]").to_numpy().astype("int64")


def _times(seconds: Ints) -> npt.NDArray[np.datetime64]:
    return seconds.astype("datetime64[s]")


def _days(days: Ints) -> npt.NDArray[np.datetime64]:
    return days.astype("datetime64[D]").astype("datetime64[s]")
