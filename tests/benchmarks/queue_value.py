"""Money lost to waiting under the queue and under the ranks that companies use today, on simulated companies.

Each company lives through two years under its planners' habits, the models learn from its tables, and then every rule
gives out the goods of the same 45 mornings: all chance is drawn by ids, so the rules meet the same orders and
deliveries. What is lost is counted in expectation by the hidden truth: margins cancelled and future orders lost.

Saved by the queue: 1 - its loss / the rule's loss, per company; the mean and its 95 % t interval over companies, which
are paired because both rules live in the same one. Share of the gap: (first come first served - rule) / (first come
first served - truth), sums over companies, 95 % bootstrap of companies. "Truth" ranks by every true hazard and value.
No rule may ship to a customer on credit hold. `--quick` has two small companies: no interval worth its name.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from erp.simulated_oracle import roll_forward_knowing
from erp.simulated_rules import (
    Rule,
    by_line_value,
    by_margin,
    by_promise_date,
    by_typed_priority,
    first_come_first_served,
    planner_habits,
)
from erp.simulator import Company, CompanyShape, roll_forward, simulate
from pipelines.simulation import TrainedDesk, money_lost
from tests.figures import Figure, options, show

# Seeds that nothing here was developed with.
SEEDS = (4101, 4202, 4303, 4404, 4505)
QUEUE, TRUTH, FIFO = "the queue", "knows the truth", "first come first served"
LIFETIME_VALUE = "lifetime value"
PLAIN: dict[str, Rule] = {
    FIFO: first_come_first_served,
    "promise date": by_promise_date,
    "margin": by_margin,
    "typed priority": by_typed_priority,
}
FOR_ORIENTATION: dict[str, Rule] = {"open amount": by_line_value, "past planners": planner_habits}
PEERS = (*PLAIN, LIFETIME_VALUE)


@dataclass(frozen=True)
class Size:
    """How many companies, how large, and how long they are rolled forward."""

    seeds: tuple[int, ...] = SEEDS
    n_customers: int = 8000
    n_products: int = 300
    n_days: int = 45


QUICK = Size(SEEDS[:2], 1500, 60, 15)


def main() -> None:
    """Measure, print, write."""
    asked = options(str(__doc__).splitlines()[0])
    size = QUICK if asked.quick else Size()
    lost = pd.DataFrame([losses_in(seed, size) for seed in size.seeds], index=size.seeds)
    print(
        f"{len(lost)} companies of {size.n_customers} customers and {size.n_products} products, {size.n_days} mornings"
    )
    print(f"EUR lost to waiting, by company (seed):\n{lost.T.round().astype(int).to_string()}\n")
    show([*savings(lost), *gap_shares(lost)], asked.json)


def losses_in(seed: int, size: Size) -> dict[str, float]:
    """Money lost under every rule in one company from the same morning on."""
    start = time.perf_counter()
    company = simulate(CompanyShape(n_customers=size.n_customers, n_products=size.n_products, seed=seed))
    lost = {name: _lost(company, rule, size) for name, rule in (PLAIN | FOR_ORIENTATION).items()}
    desk = TrainedDesk.at(company)
    lost[QUEUE] = _lost(company, desk.queue, size)
    lost[LIFETIME_VALUE] = _lost(company, desk.lifetime_value, size)
    lost[TRUTH] = money_lost(roll_forward_knowing(company, size.n_days))
    print(f"company {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return lost


def _lost(company: Company, rule: Rule, size: Size) -> float:
    return money_lost(roll_forward(company, rule, size.n_days))


def savings(lost: pd.DataFrame) -> list[Figure]:
    """What the queue saves of each peer's loss; the goal is that the whole interval lies above 0."""
    rows = []
    for peer in PEERS:
        saved = (1 - lost[QUEUE] / lost[peer]).to_numpy()
        mean, half = float(saved.mean()), half_width(saved)
        name = f"saved by the queue, share of the EUR lost by {peer}"
        rows.append(
            Figure(name, mean, mean - half, mean + half, 0.0, "higher", peer, float(lost[peer].mean()), "interval")
        )
    return rows


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % t interval of a mean.

    >>> round(half_width(np.array([1.0, 2.0, 3.0])), 3)
    2.484
    """
    n = len(values)
    return float(student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))


def gap_shares(lost: pd.DataFrame) -> list[Figure]:
    """What each rule closes of the gap from first come first served to the truth, the queue beside the best peer."""
    shares = {name: _share(lost, name) for name in (QUEUE, *PEERS, *FOR_ORIENTATION)}
    best = max(PEERS, key=lambda name: shares[name])
    draws = np.random.default_rng(0).integers(0, len(lost), (2000, len(lost)))
    rows = []
    for name in (QUEUE, *PEERS[1:], *FOR_ORIENTATION):
        low, high = np.quantile([_share(lost.iloc[at], name) for at in draws], [0.025, 0.975])
        beside = (best, shares[best]) if name == QUEUE else (QUEUE, shares[QUEUE])
        rows.append(
            Figure(
                f"share of the gap to the truth closed by {name}",
                shares[name],
                float(low),
                float(high),
                peer=beside[0],
                peer_value=beside[1],
            )
        )
    return rows


def _share(lost: pd.DataFrame, name: str) -> float:
    total = lost.sum()
    return float((total[FIFO] - total[name]) / (total[FIFO] - total[TRUTH]))


if __name__ == "__main__":
    main()
