"""What moved a model's answer for one line or account away from the usual one, in shares that add up exactly.

Shapley values (Shapley 1953; Štrumbelj & Kononenko 2014) of the answer as it is published, every part of a mixture and
its level included. A coalition's answer is the mean over this morning's others when some groups of inputs are the
line's own and the rest are theirs. Groups are few, so all coalitions are asked and nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np
import pandas as pd

from models.inputs import as_numbers

MOST_OTHERS = 64  # with 8 groups 16,384 rows are asked: some .6 s
MOST_GROUPS = 10


@dataclass(frozen=True)
class Group:
    """Inputs that belong together and change hands as one.

    What hangs on another group's inputs is carried over in proportion, so that no impossible customer is made up: one
    who ordered twice, with the spending of a hundred orders.

    Parameters
    ----------
    name : plain words
    columns : inputs taken over as they are
    counted_from : input in days -> an earlier group's days that it is counted from; the difference is taken over
    per : amount -> the count that it grows with, of this or an earlier group, and the total and count whose ratio
        stands in where the other has none; the amount per count is taken over
    """

    name: str
    columns: tuple[str, ...] = ()
    counted_from: Mapping[str, str] = field(default_factory=dict)
    per: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every input of the group."""
        return (*self.columns, *self.counted_from, *self.per)


def _per(count: str, *names: str) -> dict[str, tuple[str, str, str]]:
    return {name: (count, name, count) for name in names}


# Of `cancellation.NUMERIC` and `TEXT`; whether a customer is named at all belongs to the orders so far.
RISK_GROUPS = (
    Group("the wait so far", ("waited_days",)),
    Group("the dates told", ("n_slips",), {"days_late": "waited_days", "days_past_latest": "waited_days"}),
    Group(
        "what was ordered",
        (
            "quantity", "open_quantity", "is_partly_shipped", "quantity_step", "may_split", "unit_price", "list_price",
            "price_ratio", "line_value", "line_margin", "order_value", "order_n_lines",
        ),
    ),
    Group(
        "the product",
        (
            "is_discontinued", "category", "product_cancel_share", "product_mean_wait_days", "product_n_lines_91d",
            "product_n_waiting_lines",
        ),
    ),
    Group("its supplier", ("supplier_mean_delay_days", "supplier_late_share")),
    Group(
        "the customer's orders so far",
        (
            "customer_id", "customer_tenure_days", "customer_n_orders", "customer_days_since_order",
            "customer_mean_gap_days", "customer_spend_365d", "customer_n_open_lines",
        ),
    ),
    Group(
        "how the customer waited before",
        ("customer_mean_wait_days", "customer_late_share", "customer_cancel_share"),
        per=_per("customer_n_orders", "customer_n_cancelled"),
    ),
    Group("who the customer is", ("segment", "channel", "country", "priority_class")),
)  # fmt: skip
SAME_FOR_ALL = ("day_of_year",)  # of one morning

# Of `account_panel.NUMERIC` and `TEXT`; its EXPECTATIONS are worked out anew from these.
VALUE_GROUPS = (
    Group(
        "its orders so far",
        (
            "tenure_days", "recency_days", "n_orders", "n_orders_28d", "n_orders_91d", "n_orders_365d", "mean_gap_days",
            "sd_gap_days", "longest_gap_days",
        ),
    ),
    Group(
        "what an order brings",
        ("mean_order_amount", "last_order_amount", "first_order_amount", "discount_share"),
        per=_per("n_orders", "spend_amount", "margin_amount")
        | {f"spend_{days}d": (f"n_orders_{days}d", "spend_amount", "n_orders") for days in (28, 91, 365)}
        | {f"margin_{days}d": (f"n_orders_{days}d", "margin_amount", "n_orders") for days in (91, 365)},
    ),
    Group(
        "what it orders",
        ("first_order_n_lines", "first_order_quantity"),
        per=_per("n_orders", "n_lines", "n_products"),
    ),
    Group(
        "what it cancelled and sent back",
        ("cancel_share", "returned_share"),
        per=_per("n_lines", "n_cancelled_lines"),
    ),
    Group("how long it waited", ("late_share", "mean_wait_days")),
    Group("what is open now", per=_per("n_lines", "n_open_lines", "n_waiting_lines", "open_amount")),
    Group("who the customer is", ("segment", "channel", "country")),
)  # fmt: skip


@dataclass(frozen=True)
class Contributions:
    """From the usual answer to the one of this row: usual + sum of by_group = answer.

    Parameters
    ----------
    usual : mean answer of the others asked
    answer : of the row
    by_group : what each group of inputs adds, by its name
    n_others : others asked
    """

    usual: float
    answer: float
    by_group: dict[str, float]
    n_others: int

    def largest_first(self) -> list[tuple[str, float]]:
        """Groups by falling size of what they add."""
        return sorted(self.by_group.items(), key=lambda pair: (-abs(pair[1]), pair[0]))


def contributions(
    answer: Callable[[pd.DataFrame], np.ndarray], row: pd.DataFrame, others: pd.DataFrame, groups: Sequence[Group]
) -> Contributions:
    """Share out what lies between the usual answer and that of `row` among the groups of its inputs.

    Parameters
    ----------
    answer : gives one number per row, each by itself
    row : one row
    others : rows of the same morning, see `others_like`
    groups : each input of the model in one of them, a group after those that it hangs on

    Raises
    ------
    ValueError
        If there is not one row, no other, or more groups than can be asked for.

    An answer of 2 a + b, at a = 3 and b = 5 against 1 and 1:

    >>> row, other = pd.DataFrame({"a": [3.0], "b": [5.0]}), pd.DataFrame({"a": [1.0], "b": [1.0]})
    >>> groups = (Group("first", ("a",)), Group("second", ("b",)))
    >>> contributions(lambda rows: (2 * rows["a"] + rows["b"]).to_numpy(), row, other, groups)
    Contributions(usual=3.0, answer=11.0, by_group={'first': 4.0, 'second': 4.0}, n_others=1)
    """
    if len(row) != 1 or others.empty or len(groups) > MOST_GROUPS:
        raise ValueError(
            f"contributions: {len(row)} rows, {len(others)} others and {len(groups)} groups; give one row, some others"
            f" and at most {MOST_GROUPS} groups"
        )
    own = _coalitions(len(groups))
    rows = mixed(row, others, np.repeat(own, len(others), axis=0), groups)
    worth = np.asarray(answer(rows), dtype=float).reshape(len(own), len(others)).mean(axis=1)
    added = shapley_values(worth)
    by_group = {group.name: float(share) for group, share in zip(groups, added, strict=True)}
    return Contributions(float(worth[0]), float(worth[-1]), by_group, len(others))


def shapley_values(worth: np.ndarray) -> np.ndarray:
    """Each player's mean addition over all orders in which they may come (Shapley 1953), (n_players,).

    Parameters
    ----------
    worth : (2 ** n_players,), of each coalition; bit i of its place says whether player i is in it

    Two who are worth nothing alone and 10 together get 5 each:

    >>> shapley_values(np.array([0.0, 0.0, 0.0, 10.0])).tolist()
    [5.0, 5.0]
    """
    n_players = len(worth).bit_length() - 1
    is_in = _coalitions(n_players)
    n_in = is_in.sum(axis=1)
    weight = np.array([1 / (n_players * comb(n_players - 1, size)) for size in range(n_players)])
    added = np.empty(n_players)
    for player in range(n_players):
        without = np.flatnonzero(~is_in[:, player])
        added[player] = weight[n_in[without]] @ (worth[without | (1 << player)] - worth[without])
    return added


def mixed(row: pd.DataFrame, others: pd.DataFrame, own: np.ndarray, groups: Sequence[Group]) -> pd.DataFrame:
    """Rows that have some groups of inputs from `row` and the rest from an other; what no group names is the row's.

    Parameters
    ----------
    own : (n_rows, n_groups), whether the group is the row's own; row i takes the rest from others[i % len(others)]
    """
    both = pd.concat([row, others], ignore_index=True)
    theirs = 1 + np.arange(len(own)) % len(others)
    made = both.take(np.zeros(len(own), dtype=np.int64)).reset_index(drop=True)
    taken: dict[str, pd.Series | np.ndarray] = {}
    for place, group in enumerate(groups):
        source = np.where(own[:, place], 0, theirs)
        for name in (name for name in group.columns if name in both):
            taken[name] = both[name].take(source).reset_index(drop=True)
        for name, days in group.counted_from.items():
            before, now = as_numbers(both[days])[source], as_numbers(pd.Series(taken[days]))
            taken[name] = as_numbers(both[name])[source] + (now - before)
        for name, (count, total, of_all) in group.per.items():
            taken[name] = _in_proportion(
                both, source, name, as_numbers(pd.Series(taken[count])), (count, total, of_all)
            )
    return made.assign(**taken)


def _in_proportion(
    both: pd.DataFrame, source: np.ndarray, name: str, count: np.ndarray, per: tuple[str, str, str]
) -> np.ndarray:
    """An amount carried over per count: exactly where the count is the same."""
    amount, before, total, of_all = (as_numbers(both[column])[source] for column in (name, *per))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(before > 0, amount / before, total / of_all)
        return np.where(count == before, amount, rate * count)


def others_like(rows: pd.DataFrame, answers: np.ndarray, key: str) -> pd.DataFrame:
    """At most `MOST_OTHERS` rows, one from the middle of each of as many equal slices by falling answer.

    So their mean answer is close to that of all, whatever the order of the rows.

    Parameters
    ----------
    answers : of the rows, (n_rows,)
    key : column of ids, which settles ties

    >>> rows = pd.DataFrame({"id": [f"{i:03d}" for i in range(128)]})
    >>> others_like(rows, np.arange(128.0), "id")["id"].tolist()[:3]
    ['126', '124', '122']
    """
    order = np.lexsort((pd.factorize(rows[key], sort=True)[0], -answers))
    n_chosen = min(len(rows), MOST_OTHERS)
    middle = ((np.arange(n_chosen) + 0.5) * len(rows) / max(n_chosen, 1)).astype(np.int64)
    return rows.iloc[order[middle]].reset_index(drop=True)


def _coalitions(n_players: int) -> np.ndarray:
    """Who is in which coalition, (2 ** n_players, n_players)."""
    return (np.arange(1 << n_players)[:, None] >> np.arange(n_players) & 1).astype(bool)
