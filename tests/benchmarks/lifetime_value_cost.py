"""Seconds and memory of learning a customer base and of scoring a million customers, each in a process of its own.

Seconds are CPU of all its threads (one, as `FEW_THREADS` asks). Memory is the most it held, Python and all packages
included, read as in `cancellation_cost`. A million histories are drawn by the story that BG/NBD tells: order rates by a
gamma law, a chance of leaving after each order by a beta law, ages of 0 to 39 weeks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.benchmarks.cancellation_cost import FEW_THREADS, most_megabytes_held

LONGEST_SECONDS = 900
MANY = 1_000_000
R, ALPHA, A, B = 0.243, 4.414 * 7, 0.793, 2.426  # of the CDNOW sample, days; Fader, Hardie & Lee 2005
AGE_DAYS = 273


def cost(what: str) -> dict[str, float]:
    """Measure one of `MEASURES` in a fresh process: cpu_s, mb."""
    command = [sys.executable, "-m", "tests.benchmarks.lifetime_value_cost", what]
    folder = Path(__file__).parents[2]
    ended = subprocess.run(
        command, cwd=folder, env=os.environ | FEW_THREADS, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    if ended.returncode:
        raise RuntimeError(f"{what} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def drawn_histories(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Repeat orders, days from the first order to the last, and age in days, of customers who live by BG/NBD.

    >>> [column.tolist() for column in drawn_histories(2, seed=3)]
    [[0.0, 0.0], [0.0, 0.0], [222.0, 23.0]]
    """
    draw = np.random.default_rng(seed)
    age = draw.integers(0, AGE_DAYS + 1, n).astype(float)
    rate, leaves = draw.gamma(R, 1 / ALPHA, n), draw.beta(A, B, n)
    n_repeats, last, clock = np.zeros(n), np.zeros(n), np.zeros(n)
    there = np.arange(n)
    while len(there):
        with np.errstate(divide="ignore", over="ignore"):  # a rate of all but 0: no order ever
            clock[there] += draw.exponential(1.0, len(there)) / rate[there]
        there = there[clock[there] <= age[there]]
        n_repeats[there] += 1
        last[there] = np.ceil(clock[there])
        there = there[draw.random(len(there)) >= leaves[there]]
    return n_repeats, np.minimum(last, age), age


def three_fits() -> Callable[[], object]:
    """BG/NBD, Pareto/NBD and Gamma-Gamma on CDNOW's 23,570 customers."""
    from datetime import date

    from models import beta_geometric, gamma_gamma, pareto
    from models.order_histories import Histories
    from tests.benchmarks.lifetime_value_data import cdnow
    from tests.benchmarks.lifetime_value_peers import WEEK, histories

    past = histories(cdnow(), date(1997, 9, 30))
    columns = [past["frequency"].to_numpy(), *((past[name] * WEEK).round().to_numpy() for name in ("recency", "age"))]
    paid = past[past["n_amounts"] > 0]
    amounts = paid["n_amounts"].to_numpy(), paid["mean_amount"].to_numpy()

    def fits() -> object:
        given = Histories.of(*columns)
        return beta_geometric.fit(given), pareto.fit(given), gamma_gamma.fit(*amounts)

    return fits


def many_histories() -> Callable[[], object]:
    """BG/NBD on a million customers."""
    from models import beta_geometric
    from models.order_histories import Histories

    columns = drawn_histories(MANY, seed=0)
    return lambda: beta_geometric.fit(Histories.of(*columns))


def many_scored() -> Callable[[], object]:
    """Value with its interval, and chance of no order, of a million customers, by models learned from CDNOW."""
    from datetime import date

    import pandas as pd

    from features.feature_tables import build
    from features.samples import account_samples
    from models import lifetime_value, next_order
    from models.account_panel import with_expectations
    from tests.benchmarks.lifetime_value_data import cdnow, company, facts_on

    with TemporaryDirectory(prefix="backorder-bench-") as folder:
        company(cdnow(), Path(folder))
        with facts_on(Path(folder), date(1997, 9, 30)) as facts:
            panel = with_expectations(account_samples(facts, AGE_DAYS))
            with facts.connect() as connection:
                accounts = build(connection, facts, facts.as_of, "accounts")
    value, order = lifetime_value.fit(panel), next_order.fit(panel)
    rows = pd.concat([accounts] * (MANY // len(accounts) + 1), ignore_index=True).head(MANY)
    return lambda: (
        lifetime_value.predict(value, rows, AGE_DAYS),
        lifetime_value.predict_interval(value, rows, AGE_DAYS),
        next_order.predict(order, rows, AGE_DAYS),
    )


MEASURES: dict[str, Callable[[], Callable[[], object]]] = {
    "three fits": three_fits,
    "many histories": many_histories,
    "many scored": many_scored,
}


def _measure(what: str) -> dict[str, float]:
    job = MEASURES[what]()
    start = time.process_time()
    job()
    return {"cpu_s": time.process_time() - start, "mb": most_megabytes_held()}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
