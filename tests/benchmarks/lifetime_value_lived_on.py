"""Customer value and churn foretold at T, against the year that simulated companies then lived on.

Six companies of about 4,000 accounts known at T, three with 2 and three with 3 years of history before it. What is
foretold sees the tables as known on the morning of T; the companies live on for 365 days and for `SETTLED_DAYS` more,
in which what was ordered last is served, cancelled or returned. What came are the days with an order after T's own and
the margin of those orders, by the account that the customer had at T. Lines open at T were ordered before: no part.

Figures are means over companies with their 95 % t intervals; beside them stands Pareto/NBD + Gamma-Gamma, learned from
the same accounts. Customers who wait, with an overdue open line at T, are a selected group and stand apart, as do
one-time buyers. A size is a bias without its sign; groups are small, so the size that chance alone brings stands below
it. Churn is P(no order within 365 days): its mean over the share that came (1 is right), and its distance to that share
over ten bands [ECE]. Coverage is of 90 % intervals.

The models were developed on seeds from 900 on. `--quick` has two small companies: goals not meant.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from erp.simulator import CompanyShape, close, simulate, step, write_tables
from features.feature_tables import build, fetch
from models import customer_base
from models.judging import calibration_error
from tests.benchmarks.lifetime_value import say
from tests.benchmarks.lifetime_value_data import facts_on
from tests.benchmarks.lifetime_value_ours import ours
from tests.benchmarks.lifetime_value_peers import BETA_GEOMETRIC, OURS, PARETO
from tests.benchmarks.lifetime_value_scores import (
    Judged,
    Score,
    auc,
    brier,
    coverage,
    deviance,
    orders_bias,
    spend_bias,
    spend_gini,
)
from tests.benchmarks.queue_value import half_width
from tests.figures import Better, Figure, options, show

HORIZON_DAYS = 365
SETTLED_DAYS = 60  # a return comes within 25 days of its shipment; of 6,900 lines of a year one is still open then
LEAST_COVERED, MOST_COVERED = 0.88, 0.92
MEAN_SIZE, GREATEST_SIZE = 0.05, 0.10


@dataclass(frozen=True)
class Size:
    """Each company's seed and days before T, and how large they are; two accounts in three have ordered by T."""

    days: Mapping[int, int]
    n_customers: int
    n_products: int


FULL = Size({seed: 730 if seed % 2 else 1095 for seed in range(1, 7)}, 6000, 240)
QUICK = Size({1: 730, 2: 1095}, 1500, 60)


@dataclass(frozen=True, eq=False)
class LivedOn:
    """A company's accounts known at T: what was said of them by way, what came (spend is margin), and who waits."""

    judged: Judged
    is_waiting: np.ndarray


def main() -> None:
    """Measure, print, write."""
    asked = options(str(__doc__).splitlines()[0])
    size = QUICK if asked.quick else FULL
    with threadpool_limits(1):
        scores = pd.DataFrame({seed: scores_of(company(seed, size)) for seed in size.days}).T
    print(f"by company (seed), {OURS}:\n{scores.xs(OURS, axis=1, level=1).T.round(3).to_string()}\n")
    print(f"means by way:\n{scores.mean().unstack(sort=False).round(4).to_string(na_rep='')}\n")
    show(list(figures(scores)), asked.json)


def company(seed: int, size: Size) -> LivedOn:
    """Let one company live through its history, the year after T and until that year is settled; ask and judge."""
    start = time.process_time()
    days = size.days[seed] + HORIZON_DAYS
    lived = simulate(CompanyShape(n_customers=size.n_customers, n_products=size.n_products, seed=seed, n_days=days))
    origin = lived.as_of.date() - timedelta(days=HORIZON_DAYS)
    for _ in range(SETTLED_DAYS):
        step(lived)
    with TemporaryDirectory(prefix="backorder-bench-") as place:
        write_tables(close(lived), Path(place))
        found = judged_on(Path(place), origin, lived.as_of.date())
    n, waiting, seconds = len(found.is_waiting), int(found.is_waiting.sum()), time.process_time() - start
    say(f"company {seed}: {size.days[seed]} days before T, {n} accounts, {waiting} of them wait; {seconds:.0f} CPU s")
    return found


def judged_on(folder: Path, origin: date, settled_on: date) -> LivedOn:
    """Ask every way on the morning of the origin, and look up what came."""
    accounts, account_of = known_on(folder, origin)
    came = outcome(folder, origin, settled_on, account_of).reindex(accounts["account_id"], fill_value=0.0)
    said = {OURS: ours(folder, origin, HORIZON_DAYS), **classical(accounts)}
    said = {way: answer.set_index("customer_id").loc[came.index].reset_index() for way, answer in said.items()}
    is_one_time = (accounts["n_orders"] == 1).to_numpy()
    judged = Judged(came["orders"].to_numpy(), came["margin"].to_numpy(), is_one_time, said)
    return LivedOn(judged, (accounts["n_waiting_lines"] > 0).to_numpy())


def known_on(folder: Path, origin: date) -> tuple[pd.DataFrame, pd.Series]:
    """Accounts with an order by the morning of the origin, and each customer's account at that time."""
    with facts_on(folder, origin) as facts, facts.connect() as connection:
        accounts = build(connection, facts, facts.as_of, "accounts")
        customers = fetch(connection, "select customer_id, account_id from known_customers")
    return accounts, customers.set_index("customer_id")["account_id"]


def outcome(folder: Path, origin: date, settled_on: date, account_of: pd.Series) -> pd.DataFrame:
    """One row per account that ordered in the 365 days after the origin: orders (days with one), margin (money, net).

    A customer who got a parent since keeps its account; a new customer's orders count for the parent it came with.
    """
    with facts_on(folder, settled_on) as facts, facts.connect() as connection:
        lines = build(connection, facts, facts.as_of, "known_lines")
    after = (lines["ordered_on"] - pd.Timestamp(origin)).dt.days
    lines = lines[lines["account_id"].notna() & after.between(1, HORIZON_DAYS)]
    account = lines["customer_id"].map(account_of).fillna(lines["account_id"]).rename("account_id")
    return lines.groupby(account).agg(orders=("ordered_on", "nunique"), margin=("net_margin", "sum")).astype(float)


def classical(accounts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The two classical models of an account's rhythm, each with what an order brings by Gamma-Gamma."""
    base, answers = customer_base.fit(accounts), {}
    for way, process in zip((PARETO, BETA_GEOMETRIC), base.processes, strict=True):
        said = customer_base.expect(replace(base, processes=(process,)), accounts, float(HORIZON_DAYS))
        spend = said["expected_orders"] * said["expected_order_margin"]
        columns = said[["expected_orders", "p_no_order"]].assign(expected_spend=spend)
        answers[way] = columns.assign(customer_id=accounts["account_id"])
    return answers


def size_by_chance(judged: Judged, way: str, _: np.ndarray) -> np.ndarray:
    """Expected size of the value bias if every value were right and customers only differed from it as they did.

    Of a normal law with this standard deviation the mean size is sqrt(2 / pi) of it.
    """
    residual = judged.said[way]["expected_spend"] - judged.spend
    return np.atleast_1d(np.sqrt(2 / np.pi * (residual**2).sum()) / judged.spend.sum())


def churn_ratio(judged: Judged, way: str, _: np.ndarray) -> np.ndarray:
    """Mean chance of no order over the share of customers without one; infinite where all ordered."""
    with np.errstate(divide="ignore"):
        return np.atleast_1d(judged.said[way]["p_no_order"].mean() / (judged.orders == 0).mean())


def churn_error(judged: Judged, way: str, _: np.ndarray) -> np.ndarray:
    """Mean distance of the chance of no order to the share without one over ten bands of equally many customers."""
    chance, quiet = judged.said[way]["p_no_order"].to_numpy(), (judged.orders == 0) * 1.0
    return np.atleast_1d(calibration_error(chance, quiet, np.ones(len(quiet))))


SCORES: Mapping[str, tuple[Score, str]] = {  # by name: the score, and the column it needs
    "value bias": (spend_bias, "expected_spend"),
    "value bias, mean size by chance alone": (size_by_chance, "expected_spend"),
    "value nGini": (spend_gini, "expected_spend"),
    "orders bias": (orders_bias, "expected_orders"),
    "orders deviance": (deviance, "expected_orders"),
    "churn, foretold / came": (churn_ratio, "p_no_order"),
    "churn ECE": (churn_error, "p_no_order"),
    "churn AUC": (auc, "p_no_order"),
    "churn Brier": (brier, "p_no_order"),
    "value coverage": (coverage("spend"), "spend_low"),
    "orders coverage": (coverage("orders"), "orders_low"),
}
ALL, WAITING, ONE_TIME = "all", "who wait", "one-time buyers"
OF_GROUPS = (
    "value bias", "value bias, mean size by chance alone", "value nGini", "churn, foretold / came", "value coverage",
    "orders coverage",
)  # fmt: skip
ASKED: Mapping[str, Sequence[str]] = {ALL: tuple(SCORES), WAITING: OF_GROUPS, ONE_TIME: OF_GROUPS}
LOWER = {"orders deviance", "churn ECE", "churn Brier"}
COMPARED = ("value nGini", "orders deviance", "churn ECE", "churn AUC", "churn Brier")


def scores_of(company: LivedOn) -> dict[tuple[str, str], float]:
    """Each ("group: score", way) of one company; a way without an interval has no coverage."""
    found, everybody = {}, company.judged
    members = {ALL: np.ones(len(everybody.orders), bool), WAITING: company.is_waiting, ONE_TIME: everybody.is_one_time}
    for group, names in ASKED.items():
        judged = part(everybody, members[group])
        for name in names:
            score, column = SCORES[name]
            for way in (way for way in judged.said if column in judged.said[way]):
                found[f"{group}: {name}", way] = float(score(judged, way, judged.once)[0])
    return found


def part(judged: Judged, chosen: np.ndarray) -> Judged:
    """Some of the customers alone."""
    said = {way: answer[chosen] for way, answer in judged.said.items()}
    return Judged(judged.orders[chosen], judged.spend[chosen], judged.is_one_time[chosen], said)


def figures(scores: pd.DataFrame) -> Iterator[Figure]:
    """Ours beside Pareto/NBD + Gamma-Gamma.

    Parameters
    ----------
    scores : one row per company, columns (score, way) as of `scores_of`
    """
    for text in scores.columns.get_level_values(0).unique():
        mine, name = scores[text, OURS].to_numpy(), text.split(": ")[1]
        if "coverage" in name:
            yield Figure(f"{text}, from below", *with_interval(mine), goal=LEAST_COVERED)
            yield Figure(f"{text}, from above", *with_interval(mine), goal=MOST_COVERED, better="lower")
            continue
        theirs = scores[text, PARETO].to_numpy()
        yield Figure(text, *with_interval(mine), better=better(name), peer=PARETO, peer_value=float(theirs.mean()))
        if name == "value bias":
            yield from sizes(text, mine, theirs)
    for name in COMPARED:
        yield from leads(scores, name)


def sizes(text: str, mine: np.ndarray, theirs: np.ndarray) -> Iterator[Figure]:
    """How far off each company is to either side, on average and at most; goals are for all customers together."""
    off, beside = abs(mine), abs(theirs)
    mean_goal, greatest_goal = (MEAN_SIZE, GREATEST_SIZE) if text.startswith(ALL) else (math.nan, math.nan)
    mean, low, high = with_interval(off)
    yield Figure(f"{text}, mean size", mean, low, high, mean_goal, "lower", PARETO, float(beside.mean()))
    greatest, their_greatest = float(off.max()), float(beside.max())
    yield Figure(
        f"{text}, greatest size", greatest, goal=greatest_goal, better="lower", peer=PARETO, peer_value=their_greatest
    )


def leads(scores: pd.DataFrame, name: str) -> Iterator[Figure]:
    """By how much ours is better than each peer in the same companies, with the peer's own."""
    for way in (PARETO, BETA_GEOMETRIC):
        mine, theirs = (scores[f"{ALL}: {name}", who].to_numpy() for who in (OURS, way))
        gain = theirs - mine if better(name) == "lower" else mine - theirs
        text = f"{ALL}: {name}, better than {way} by"
        yield Figure(text, *with_interval(gain), peer=way, peer_value=float(theirs.mean()))


def with_interval(by_company: np.ndarray) -> tuple[float, float, float]:
    """The mean over companies and its 95 % t interval.

    >>> [round(end, 3) for end in with_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    mean, half = float(by_company.mean()), half_width(by_company)
    return mean, mean - half, mean + half


def better(name: str) -> Better:
    """Which way a score is good; biases are good near 0 and ratios near 1, and stand as they are."""
    return "lower" if name in LOWER else "higher"


if __name__ == "__main__":
    main()
