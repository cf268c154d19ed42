"""Money lost to waiting under the queue and under the ranks that companies use today, on simulated companies.

Three kinds of company (`erp.simulated_kinds`), seven of each. Each lives through two years under its planners' habits,
the models learn from its tables, and then every rule gives out the goods of the same 25 mornings: all chance is drawn
by ids, so the rules meet the same orders and deliveries. What is lost is counted in expectation by the hidden truth:
margins cancelled and future orders lost. No rule may ship to a customer on credit hold.

Share of the gap: (first come first served - rule) / (first come first served - truth), sums of money over companies.
"Truth" ranks by every true hazard, value and receipt. The informed planner ranks by the posterior mean of the same
figure, given the simulator's laws and what the tables show: nobody who learns from the tables can be expected to do
better. Both are static ranks, which plan no receipt after the next; the queue plans more than one, so neither is a
bound for it. The goal is the queue's share over the informed planner's. Historic margin is the margin shipped to the
customer's account in the past 365 days. Intervals are 95 % bootstraps of companies, drawn within their kind, the same
draws for every rule. Saved by the queue: 1 - its loss / the rule's, mean over companies with its t interval.

What was chosen was chosen on companies 901 to 904. Two companies run at a time, one thread each. `--quick` shows one
small company of each kind out of those: goals not meant.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from erp.simulated_books import historic_margin
from erp.simulated_informed import roll_forward_informed, roll_forward_reading
from erp.simulated_kinds import KINDS, company_of
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
from erp.simulator import Company, roll_forward, simulate
from pipelines.simulation import TrainedDesk, money_lost
from tests.figures import Figure, options, show

QUEUE, INFORMED, TRUTH, FIFO = "the queue", "the informed planner", "knows the truth", "first come first served"
LIFETIME_VALUE, HISTORIC_MARGIN = "lifetime value", "historic margin"
PLAIN: dict[str, Rule] = {
    FIFO: first_come_first_served,
    "promise date": by_promise_date,
    "margin": by_margin,
    "typed priority": by_typed_priority,
}
FOR_ORIENTATION: dict[str, Rule] = {"open amount": by_line_value, "past planners": planner_habits}
PEERS = (*PLAIN, HISTORIC_MARGIN, LIFETIME_VALUE)
KIND, SECONDS = "kind", "CPU s"
N_DRAWS = 10_000


@dataclass(frozen=True)
class Plan:
    """Which companies, and how long they are rolled forward."""

    companies: tuple[tuple[str, int], ...]  # kind and seed
    n_mornings: int = 25
    part: float = 1.0  # of the kind's customers and products


# Seeds that nothing here was developed with.
FULL = Plan(tuple((kind, first + n) for kind, first in zip(KINDS, (5101, 5201, 5301), strict=True) for n in range(7)))
QUICK = Plan(tuple((kind, 901) for kind in KINDS), n_mornings=3, part=0.2)


def main() -> None:
    """Measure, print, write."""
    asked = options(str(__doc__).splitlines()[0])
    lost = losses(QUICK if asked.quick else FULL)
    money = lost.drop(columns=[SECONDS]).round().astype(dict.fromkeys(lost.columns.drop([KIND, SECONDS]), int))
    print(f"EUR lost to waiting, by company (seed):\n{money.T.to_string()}\n")
    print(f"{lost[SECONDS].sum():,.0f} CPU s for {len(lost)} companies, {lost[SECONDS].max():.0f} at most for one\n")
    show([*figures(lost), *savings(lost)], asked.json)


def losses(plan: Plan) -> pd.DataFrame:
    """Money lost under every rule (columns) in each company (rows, by seed), its kind and CPU seconds."""
    with ProcessPoolExecutor(2) as processes:
        rows = list(processes.map(partial(losses_in, plan=plan), plan.companies))
    return pd.DataFrame(rows, index=[seed for _, seed in plan.companies])


@threadpool_limits.wrap(limits=1)
def losses_in(company: tuple[str, int], plan: Plan) -> dict[str, object]:
    """Kind, money lost under every rule from the same morning on, CPU seconds."""
    start = time.process_time()
    kind, seed = company
    shape = company_of(kind, seed)
    smaller = {name: int(plan.part * getattr(shape, name)) for name in ("n_customers", "n_products")}
    lost = losses_by_rule(simulate(replace(shape, **smaller)), plan.n_mornings)
    seconds = time.process_time() - start
    print(f"{kind} {seed}: {seconds:.0f} CPU s", file=sys.stderr, flush=True)
    return {KIND: kind} | lost | {SECONDS: seconds}


def losses_by_rule(company: Company, n_mornings: int) -> dict[str, float]:
    """Money lost under every rule from the same morning on."""
    lost = {
        name: money_lost(roll_forward(company, rule, n_mornings)) for name, rule in (PLAIN | FOR_ORIENTATION).items()
    }
    lost[HISTORIC_MARGIN] = money_lost(roll_forward_reading(company, historic_margin, n_mornings))
    desk = TrainedDesk.at(company)
    lost[QUEUE] = money_lost(roll_forward(company, desk.queue, n_mornings))
    lost[LIFETIME_VALUE] = money_lost(roll_forward(company, desk.lifetime_value, n_mornings))
    lost[INFORMED] = money_lost(roll_forward_informed(company, n_mornings))
    lost[TRUTH] = money_lost(roll_forward_knowing(company, n_mornings))
    return lost


def figures(lost: pd.DataFrame) -> list[Figure]:
    """The goals, then what each rule closes of the gap, in all and by kind."""
    drawn = totals_drawn(lost)
    rows = [*beside_the_informed(lost, drawn), *above_peers(lost, drawn), *gap_shares(lost, drawn)]
    for kind in lost[KIND].unique():
        mine = lost[lost[KIND] == kind]
        rows += [replace(row, figure=f"{kind}: {row.figure}") for row in by_kind(mine)]
    return rows


def totals_drawn(lost: pd.DataFrame) -> pd.DataFrame:
    """Money lost under each rule, summed over companies drawn with replacement within their kind; a row per draw."""
    names = [name for name in lost.columns if name not in (KIND, SECONDS)]
    random, total = np.random.default_rng(0), np.zeros((N_DRAWS, len(names)))
    for kind in sorted(lost[KIND].unique()):
        money = lost.loc[lost[KIND] == kind, names].to_numpy(dtype=float)
        total += money[random.integers(0, len(money), (N_DRAWS, len(money)))].sum(axis=1)
    return pd.DataFrame(total, columns=names)


def share(total: pd.DataFrame | pd.Series, name: str) -> pd.Series | float:
    """Share of the gap from first come first served to the truth that a rule closes, of money summed over companies."""
    return (total[FIFO] - total[name]) / (total[FIFO] - total[TRUTH])


def beside_the_informed(lost: pd.DataFrame, drawn: pd.DataFrame) -> list[Figure]:
    """The queue's share of the gap over the informed planner's: the figure's goal, and its interval's."""
    total = lost[drawn.columns].sum()
    value = float(share(total, QUEUE) / share(total, INFORMED))
    low, high = _interval(share(drawn, QUEUE) / share(drawn, INFORMED))
    name = "share closed by the queue / by the informed planner"
    return [
        Figure(name, value, low, high, goal=0.90),
        Figure(f"{name}, lower bound", value, low, high, goal=0.82, must_hold="interval"),
    ]


def above_peers(lost: pd.DataFrame, drawn: pd.DataFrame) -> list[Figure]:
    """How much more of the gap the queue closes than each peer; the whole interval should lie above 0."""
    total, rows = lost[drawn.columns].sum(), []
    for peer in PEERS:
        value = float(share(total, QUEUE) - share(total, peer))
        low, high = _interval(share(drawn, QUEUE) - share(drawn, peer))
        beside = {"peer": peer, "peer_value": float(share(total, peer))}
        name = f"share closed by the queue less that by {peer}"
        rows.append(Figure(name, value, low, high, goal=0.0, must_hold="interval", **beside))
    return rows


def gap_shares(lost: pd.DataFrame, drawn: pd.DataFrame) -> list[Figure]:
    """What each rule closes of the gap from first come first served to the truth, for orientation."""
    total = lost[drawn.columns].sum()
    names = (QUEUE, INFORMED, *PEERS[1:], *FOR_ORIENTATION)
    return [
        Figure(f"share of the gap closed by {name}", float(share(total, name)), *_interval(share(drawn, name)))
        for name in names
    ]


def by_kind(lost: pd.DataFrame) -> Iterable[Figure]:
    """The queue's share beside the informed planner's, and their ratio, in the companies of one kind."""
    drawn = totals_drawn(lost)
    total = lost[drawn.columns].sum()
    ratio, _ = beside_the_informed(lost, drawn)
    yield replace(ratio, goal=float("nan"))
    best = max(PEERS[1:], key=lambda name: float(share(total, name)))
    for name, beside in ((QUEUE, best), (INFORMED, QUEUE)):
        found = float(share(total, name)), *_interval(share(drawn, name))
        yield Figure(f"share of the gap closed by {name}", *found, peer=beside, peer_value=float(share(total, beside)))


def _interval(values: Sequence[float] | pd.Series) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


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


if __name__ == "__main__":
    main()
