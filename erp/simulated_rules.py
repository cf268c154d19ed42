"""Rules that give out goods in the simulated company's morning: past planners' habits and plain sorts.

A rule takes the `Morning` and returns the quantity to ship of each waiting line, in the order of `morning.lines`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd

from erp.simulated_chance import Bools, Columns, Floats, Ints, Stream, uniform


@dataclass(frozen=True)
class Morning:
    """What a planner sees at 05:00 UTC: the waiting lines, the shelf and, on request, all tables so far.

    `columns` are the waiting lines as arrays, the cheap way for rules that run every day; customer and product are
    indexes there. `lines` is the same as a frame with the contract's ids, `on_hand` counts units by product index.
    """

    at: datetime
    day: int
    columns: Columns
    on_hand: Ints
    make_frame: Callable[[Columns], pd.DataFrame]
    make_tables: Callable[[], dict[str, pd.DataFrame]]

    @cached_property
    def lines(self) -> pd.DataFrame:
        """One row per open back-ordered line, in the order of `columns`."""
        return self.make_frame(self.columns)

    @cached_property
    def stock(self) -> pd.Series:
        """Units on the shelf by product_id."""
        return pd.Series(self.on_hand, index=[product_id(i) for i in range(len(self.on_hand))], name="on_hand")

    def tables(self) -> dict[str, pd.DataFrame]:
        """Contract tables of everything known this morning."""
        return self.make_tables()


Rule = Callable[[Morning], Ints]


def product_id(product: int) -> str:
    """Id of a product in the tables."""
    return f"P{product:04d}"


def give_out(on_hand: Ints, product: Ints, wanted: Ints, may_split: Bools, order: Ints) -> Ints:
    """Quantities shipped when lines are served one after the other in `order`.

    A line that may not be split ships whole or not at all; the next ones may still fit. With 5 on the shelf and
    wishes of 3, 4 and 2, none to be split, 3 and 2 ship:

    >>> no = np.array([False] * 3)
    >>> give_out(np.array([5]), np.zeros(3, int), np.array([3, 4, 2]), no, np.arange(3)).tolist()
    [3, 0, 2]
    """
    left = on_hand.tolist()
    shipped = np.zeros(len(product), dtype=np.int64)
    for i in order[on_hand[product[order]] > 0].tolist():
        have, want = left[product[i]], int(wanted[i])
        goes = want if want <= have else have if may_split[i] else 0
        shipped[i] = goes
        left[product[i]] = have - goes
    return shipped


def by_priority(morning: Morning, score: Floats) -> Ints:
    """Quantities to ship when the highest score of each product comes first; NaN and a credit hold ship nothing.

    Ties go to the earlier due day, then to the smaller line number.
    """
    columns = morning.columns
    order = np.lexsort((columns["key"], columns["due_day"], -score))
    order = order[~np.isnan(score[order]) & ~columns["credit_hold"][order]]
    return give_out(morning.on_hand, columns["product"], columns["open"], columns["may_split"], order)


def by_line(morning: Morning, quantities: Mapping[str, float]) -> Ints:
    """Quantities by order_line_id, as a published queue states them, in the order of the morning's lines."""
    told = [quantities.get(line, 0) for line in morning.lines["order_line_id"]]
    return np.asarray(told, dtype=np.float64).astype(np.int64)


def first_come_first_served(morning: Morning) -> Ints:
    """Oldest order first."""
    return by_priority(morning, -morning.columns["ordered_second"].astype(np.float64))


def by_promise_date(morning: Morning) -> Ints:
    """Earliest first promise first; lines without one last."""
    return by_priority(morning, -np.nan_to_num(morning.columns["promised_day"], nan=1e9))


def by_margin(morning: Morning) -> Ints:
    """Greatest margin of the open quantity first."""
    columns = morning.columns
    return by_priority(morning, columns["open"] * (columns["unit_price"] - columns["unit_cost"]))


def by_line_value(morning: Morning) -> Ints:
    """Greatest open amount first."""
    return by_priority(morning, morning.columns["open"] * morning.columns["unit_price"])


def by_typed_priority(morning: Morning) -> Ints:
    """Smallest typed class first, then the oldest; anonymous customers last."""
    return by_priority(morning, -morning.columns["priority_class"].astype(np.float64))


def planner_habits(morning: Morning) -> Ints:
    """Give out as past planners did: by their product's habit, and one product in five is not looked at today.

    One habit goes by the typed class, one by who calls the loudest, one by the amount; all lean to the oldest line.
    """
    columns = morning.columns
    product = columns["product"]
    habit = np.floor(3 * uniform(0, Stream.HABIT, product, 1))
    loud = uniform(0, Stream.HABIT, columns["customer"], 2)
    big = np.log(columns["open"] * columns["unit_price"]) / 8.0
    score = np.choose(habit.astype(np.int64), [1.0 - columns["priority_class"] / 4.0, loud, big])
    waited = np.minimum(morning.day - columns["due_day"], 60) / 60.0
    is_asleep = uniform(0, Stream.HABIT, product, morning.day, 3) < 0.2
    return by_priority(morning, np.where(is_asleep, np.nan, score + 0.5 * waited))
