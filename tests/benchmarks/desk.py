"""How fast the planner's desk answers, and what a steady plan forgoes.

Run `python tests/benchmarks/desk.py [--quick] [--json FILE]`. The commands are processes of their own, timed from
outside, on the demo's company; what the desk reckons is timed in CPU seconds on generated books: 20 lines a pool, goods
for two fifths of what is wanted, two later receipts a pool. Every figure is the mean, the interval the least and the
greatest of the repetitions (commands) or of the books (seeds 21 to 23; what was developed used 901 and above).
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pandas as pd

from decisions.allocation import give_out
from decisions.loss_of_choice import LossOfChoice
from decisions.override_costs import cost_of_words
from decisions.overrides import SCOPES, apply_overrides, in_order
from decisions.policy import Policy
from decisions.ranking import loss_per_unit, sorted_pools
from decisions.stability import hold_steady
from models.arrival import places_in
from tests.decisions.open_lines import open_lines
from tests.decisions.words_said import words_said
from tests.figures import Figure, measure

Answer = TypeVar("Answer")
SEEDS = (21, 22, 23)
HELP_GOAL = 0.5
BACKORDER = [sys.executable, "-m", "pipelines.command"]
ANY_WORTH = 1e9  # so that max_moves alone decides


@dataclass(frozen=True)
class Book:
    """A size of back orders, with planners' words about them."""

    n_lines: int
    n_words: int
    tied_share: float = 0.0  # of the lines stand in ship groups of three

    @property
    def name(self) -> str:
        """The book in words."""
        tied = f", {self.tied_share:.0%} in ship groups" if self.tied_share else ""
        return f"{self.n_words:,} words on {self.n_lines:,} lines{tied}"


WORDS = (Book(100_000, 10_000), Book(20_000, 2_000, tied_share=0.05))
STEADY, MOVES = Book(10_000, 0), (0, 20, 200)


def main() -> None:
    """Measure, print, write."""
    measure(
        str(__doc__),
        lambda: [*helped(3), *priced([Book(500, 50)], SEEDS[:2]), *steady(Book(500, 0), SEEDS[:2])],
        lambda: [*helped(7), *asked(7), *priced(WORDS, SEEDS), *steady(STEADY, SEEDS)],
    )


def helped(n_times: int) -> Iterator[Figure]:
    """How fast the command answers that needs nothing."""
    yield mean_of("backorder --help: wall seconds", [seconds(["--help"]) for _ in range(n_times)], HELP_GOAL)


def asked(n_times: int) -> Iterator[Figure]:
    """How fast single lines of the demo's queue are explained, and two queues compared."""
    with TemporaryDirectory() as folder:
        place = ["--store", f"{folder}/store"]
        seconds(["demo", *place, "--out", f"{folder}/queue", "--quiet"])
        lines = pd.read_parquet(Path(folder) / "queue" / "queue.parquet")["order_line_id"].iloc[:n_times]
        explains = [seconds(["explain", line, *place, "--quiet"]) for line in lines]
        yield mean_of("backorder explain, demo: wall seconds", explains)
        diffs = [seconds(["diff", "last", "last", *place, "--quiet"]) for _ in range(n_times)]
        yield mean_of("backorder diff of a queue with itself, demo: wall seconds", diffs)


def priced(books: Sequence[Book], seeds: Sequence[int]) -> Iterator[Figure]:
    """What it takes to price planners' words, and how many are left unpriced."""
    for book in books:
        spent, unpriced = [], []
        for seed in seeds:
            lines, pools = back_orders(book, seed)
            words = some_words(book, lines, seed)
            ruled = apply_overrides(lines, words)
            given = give_out(ruled, pools, Policy()).ship_now_quantity
            loss = loss_of(lines, pools, seed)
            costs, took = timed(
                lambda r=ruled, p=pools, w=words, g=given, o=loss: cost_of_words(r, p, Policy(), w, g, o)
            )
            spent.append(took)
            unpriced.append(float(np.isnan(costs.cost).mean()))
        yield mean_of(f"{book.name}: CPU seconds to price them", spent)
        yield mean_of(f"{book.name}: share left unpriced", unpriced)


def steady(book: Book, seeds: Sequence[int]) -> Iterator[Figure]:
    """Money that a plan of few moves forgoes of what today's goods could save, after losses have drifted by 20 %."""
    books = [after_a_night(book, seed) for seed in seeds]
    for moves in MOVES:
        policy = Policy(max_moves=moves, move_worth=ANY_WORTH)
        held = [timed(hold_steady, lines, pools, policy) for lines, pools in books]
        best = [saved(lines, give_out(lines, pools, Policy()).ship_now_quantity) for lines, pools in books]
        pairs = list(zip(held, best, strict=True))
        text = f"{book.n_lines:,} lines, at most {moves} moves"
        yield mean_of(
            f"{text}: forgone of what could be saved", [float(s.facts["forgone"]) / most for (s, _), most in pairs]
        )
        yield mean_of(f"{text}: left unproven of it", [float(s.facts["bound"]) / most for (s, _), most in pairs])
        yield mean_of(f"{text}: CPU seconds", [took for (_, took), _ in pairs])


def back_orders(book: Book, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines of 1 to 8 units, three in five of which may be split, and the goods of their pools."""
    rng = np.random.default_rng(seed)
    n, n_pools = book.n_lines, book.n_lines // 20
    products = np.array([f"p{i:05}" for i in range(n_pools)])
    group = np.full(n, None, dtype=object)
    tied = rng.permutation(n)[: 3 * int(n * book.tied_share / 3)]
    group[tied] = [f"g{place // 3}" for place in range(len(tied))]
    wanted = rng.integers(1, 9, n).astype(float)
    lines = open_lines(
        n,
        order_id=[f"O{i}" for i in rng.integers(0, n // 2, n)],
        customer_id=[f"C{i}" for i in rng.integers(0, n // 20, n)],
        product_id=rng.choice(products, n),
        ship_group=pd.Series(group, dtype="str"),
        open_quantity=wanted,
        loss_if_waits=rng.gamma(1, 60, n),
        may_split=rng.random(n) < 0.6,
    )
    of_pool = lines.groupby("product_id")["open_quantity"].sum().reindex(products).fillna(0.0).to_numpy()
    goods = {
        "product_id": products,
        "warehouse_id": "w",
        "available_now": np.floor(0.4 * of_pool),
        "units_per_day": 1.0,
    }
    return lines, pd.DataFrame(goods)


def some_words(book: Book, lines: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Pins, holds and exclusions, most of single lines, some of orders, customers and products."""
    rng = np.random.default_rng(seed + 1000)
    scopes = rng.choice(SCOPES, book.n_words, p=[0.7, 0.15, 0.1, 0.05])
    said = [
        {scope: lines[scope].iloc[rng.integers(len(lines))], "action": rng.choice(["pin", "hold", "exclude"])}
        for scope in scopes
    ]
    return in_order(words_said(*said))


def loss_of(lines: pd.DataFrame, pools: pd.DataFrame, seed: int) -> LossOfChoice:
    """Two later receipts, of which the second clears the pool: what waiting for each loses is a part of W."""
    rng = np.random.default_rng(seed + 2000)
    quantity, loss = (lines[name].to_numpy(np.float64) for name in ("open_quantity", "loss_if_waits"))
    share = np.sort(rng.uniform(0.2, 1.0, (len(lines), 2)), axis=1)
    pool = places_in(sorted_pools(pools), lines)
    wanted = np.bincount(pool, quantity, minlength=len(pools))
    goods = np.column_stack([sorted_pools(pools)["available_now"], np.floor(0.3 * wanted), wanted])
    units = quantity[:, None] * np.array([[0.9, 0.7]])
    return LossOfChoice(pool, quantity, loss[:, None] * share, units, 1.5 * loss, goods)


def after_a_night(book: Book, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines of a book whose goods were given out yesterday to nine in ten of them, at other losses."""
    lines, pools = back_orders(book, seed)
    rng = np.random.default_rng(seed + 3000)
    was_there = rng.random(len(lines)) < 0.9
    then = give_out(lines[was_there], pools, Policy()).ship_now_quantity.reindex(lines.index)
    drifted = lines["loss_if_waits"] * rng.lognormal(0, 0.2, len(lines))
    return lines.assign(loss_if_waits=drifted, last_given_quantity=then), pools


def saved(lines: pd.DataFrame, given: pd.Series) -> float:
    """Money that units given today save."""
    return float((loss_per_unit(lines) * given.to_numpy(np.float64)).sum())


def seconds(arguments: Sequence[str]) -> float:
    """Wall seconds of the command, from outside."""
    started = time.perf_counter()
    subprocess.run([*BACKORDER, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def timed(do: Callable[..., Answer], *given: object) -> tuple[Answer, float]:
    """What it gives, and the CPU seconds that it takes."""
    started = time.process_time()
    done = do(*given)
    return done, time.process_time() - started


def mean_of(text: str, values: Sequence[float], goal: float = np.nan) -> Figure:
    """The mean, between the least and the greatest."""
    return Figure(text, float(np.mean(values)), min(values), max(values), goal=goal, better="lower")


if __name__ == "__main__":
    main()
