"""What rules cost: fairness at four levels, and each confirmation strategy, on generated back orders.

Run `python tests/benchmarks/rules.py [--quick] [--json FILE]`. Lines of three segments want 1 to 20 units; goods are a
random part of what each pool's lines want. Two kinds of book: 10 lines a pool whose segments are alike, and 100 lines a
pool whose segments' money per unit stands 4 : 2 : 1. Every figure is a share of the money that giving out by money
alone saves this morning, prices of later goods as they are: the mean over books, and its 95 % t interval.

Seeds 21 to 30; what was developed used 901 and above. The protocol of the peer's figures (one pool of orders, a linear
programme; protecting a segment's fair share cost .07, .44, 1.28, 4.99 % of value) is not this one: they stand beside
for orientation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import t as student

from decisions.allocation import give_out
from decisions.policy import Policy
from decisions.price_of_rules import fairness_table
from decisions.rules import limits_of
from decisions.segments import STRATEGIES, Segment
from tests.figures import Figure, measure

SEEDS = tuple(range(21, 31))
PUBLISHED = {0.25: 0.0007, 0.5: 0.0044, 0.75: 0.0128, 1.0: 0.0499}
WORTH = {"key": 2.0, "trade": 1.0, "web": 0.5}


@dataclass(frozen=True)
class Book:
    """A kind of back orders."""

    name: str
    n_lines: int
    lines_per_pool: int
    worth: Mapping[str, float]  # money per unit of a segment's lines, beside the others'


BOOKS = (
    Book("10 lines a pool", 20_000, 10, dict.fromkeys(WORTH, 1.0)),
    Book("100 lines a pool, 4 : 2 : 1", 20_000, 100, WORTH),
)


def main() -> None:
    """Measure, print, write."""
    small = [replace(book, n_lines=1_000) for book in BOOKS]
    measure(str(__doc__), lambda: every(small, SEEDS[:3]), lambda: every(BOOKS, SEEDS))


def every(books: tuple[Book, ...] | list[Book], seeds: tuple[int, ...]) -> Iterator[Figure]:
    """Fairness and strategies of every kind of book."""
    for book in books:
        drawn = [back_orders(book, seed) for seed in seeds]
        tables = [fairness_table(lines, pools, Policy()).set_index("protected_share") for lines, pools in drawn]
        for share, published in PUBLISHED.items():
            costs = np.array([table["cost_share"][share] for table in tables])
            text = f"{book.name}: cost of protecting {share:.0%} of each segment's fair share"
            yield mean_of(text, costs, peer="another protocol's", peer_value=published)
        for strategy in STRATEGIES:
            costs = np.array([cost_of(strategy, lines, pools) for lines, pools in drawn])
            yield mean_of(f"{book.name}: cost of strategy {strategy} for segment key", costs)


def back_orders(book: Book, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines that may be split, a quarter of their units confirmed before, and the goods of their pools."""
    rng = np.random.default_rng(seed)
    n_lines, n_pools = book.n_lines, book.n_lines // book.lines_per_pool
    segment = rng.choice(list(WORTH), n_lines)
    wanted = rng.integers(1, 21, n_lines).astype(float)
    per_unit = rng.lognormal(1, 1, n_lines) * pd.Series(segment).map(book.worth).to_numpy()
    names = pd.Series([f"p{i:05d}" for i in range(n_pools)], dtype="str")
    lines = pd.DataFrame(
        {
            "order_line_id": pd.Series([f"L{i:06d}" for i in range(n_lines)], dtype="str"),
            "product_id": names.to_numpy()[rng.integers(0, n_pools, n_lines)],
            "warehouse_id": pd.Series("w", index=range(n_lines), dtype="str"),
            "segment": pd.Series(segment, dtype="str"),
            "ship_group": pd.Series(None, index=range(n_lines), dtype="str"),
            "group_waits_elsewhere": False,
            "loss_if_waits": wanted * per_unit,
            "open_quantity": wanted,
            "quantity_step": 1.0,
            "may_split": True,
            "due_on": np.datetime64("2026-01-05", "s"),
            "waited_days": 10,
            "credit_hold": False,
            "override": pd.Series(None, index=range(n_lines), dtype="str"),
            "override_quantity": np.nan,
            "soft_reserved_quantity": np.floor(wanted / 4),
        }
    )
    goods = np.floor(rng.uniform(0, 1, n_pools) * book.lines_per_pool * wanted.mean())
    pools = pd.DataFrame({"product_id": names, "warehouse_id": "w", "available_now": goods, "units_per_day": 1.0})
    return lines, pools


def cost_of(strategy: str, lines: pd.DataFrame, pools: pd.DataFrame) -> float:
    """Money saved less by one segment's strategy, as a share of what is saved without it."""
    ruled = Policy(segments=(Segment("key", where={"segment": ("key",)}, strategy=strategy),))
    free, bound = (saved(lines, pools, policy) for policy in (Policy(), ruled))
    return 1 - bound / free


def saved(lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy) -> float:
    """Money that this morning's goods save."""
    given = give_out(lines, pools, policy, limits_of(lines, pools, policy)).ship_now_quantity
    return float((lines["loss_if_waits"] * given / lines["open_quantity"]).sum())


def mean_of(text: str, values: np.ndarray, peer: str = "", peer_value: float = np.nan) -> Figure:
    """Mean over books and its 95 % t interval."""
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return Figure(text, mean, mean - half, mean + half, better="lower", peer=peer, peer_value=peer_value)


if __name__ == "__main__":
    main()
