"""The simulated company put to work: the demo, written tables, and the queue as the rule that gives out its goods."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from decisions.fulfilment_queue import RunFacts
from decisions.morning import decide
from decisions.policy import Policy
from decisions.working_days import WorkCalendar
from erp.known import Facts, gather, local_day
from erp.settings import Site, utc_moment
from erp.simulated_rules import Morning, Rule, by_line, by_line_value, by_priority, first_come_first_served
from erp.simulator import Company, CompanyShape, close, planner_habits, roll_forward, simulate, step, write_tables
from features.feature_tables import read_features, write_features_now
from features.samples import account_samples, cancellation_samples
from models import lifetime_value
from models.account_panel import with_expectations
from models.champions import QUESTIONS, Predictions, predict
from pipelines.findings_report import findings_text
from pipelines.jobs import DECIDE, LEARN, READ, look, morning
from pipelines.progress import plan, stage
from pipelines.queue_report import published_text

# Few products for that many customers, so that lines compete for the same goods.
DEMO_SHAPE = CompanyShape(n_customers=1500, n_products=60, seed=7)


def demonstrate(store: str, out: str) -> str:
    """The main job on a simulated company; says where everything is and shows the first lines."""
    data = Path(store).parent / "data"
    plan(["simulate", *READ, *LEARN, *DECIDE])
    stage("simulate", "simulating a company of %d customers over %d days", DEMO_SHAPE.n_customers, DEMO_SHAPE.n_days)
    company = simulate(DEMO_SHAPE)
    write_tables(close(company), data)
    site = Site(data=str(data), store=store, out=out)
    as_of = utc_moment(company.as_of)
    found = look(site, as_of)
    published = morning(site, as_of)
    return "\n".join(
        [
            findings_text(found),
            "",
            published_text(published),
            "",
            f"the company's tables: {data}/   the queue: {out}/   ledger, runs and models: {store}/",
            f"MLflow: sqlite:///{store}/mlflow.db (`make ui` shows its page)",
        ]
    )


def simulate_company(arguments: argparse.Namespace) -> str:
    """Write a company's tables, its last days under the rule asked for, and say what waiting cost in those days."""
    shape = CompanyShape(
        n_customers=arguments.customers, n_products=arguments.products, n_days=arguments.days, seed=arguments.seed
    )
    stage("simulate", "simulating a company of %d customers over %d days", shape.n_customers, shape.n_days)
    company = simulate(shape)
    for _ in range(arguments.days_on):
        step(company)
    out = Path(arguments.out or "simulated")
    said = []
    if arguments.rule != "planners":
        n_days = arguments.rule_days
        losses = {"planners": roll_forward(company, planner_habits, n_days)}
        losses[arguments.rule] = roll_forward(company, rule_named(arguments.rule, company), n_days)
        said = [
            f"{name}: {money_lost(lost):,.0f} EUR lost to waiting in {n_days} days (expected, by the truth)"
            for name, lost in losses.items()
        ]
    write_tables(close(company), out)
    return "\n".join([f"tables as of {company.as_of:%Y-%m-%dT%H:%M:%SZ} in {out}/", *said])


def money_lost(losses: pd.DataFrame) -> float:
    """What waiting cost in expectation given the truth: margins cancelled and future orders lost, money."""
    return float(losses[["cancel_margin", "cancel_future", "late_future"]].to_numpy().sum())


def rule_named(name: str, company: Company) -> Rule:
    """The rule that a name of `backorder simulate --rule` means."""
    rules: dict[str, Callable[[], Rule]] = {
        "fifo": lambda: first_come_first_served,
        "value": lambda: by_line_value,
        "queue": lambda: TrainedDesk.at(company).queue,
    }
    return rules[name]()


@dataclass(frozen=True, eq=False)
class Decided:
    """What a desk knew, foresaw and decided on one morning.

    Parameters
    ----------
    features : tables of `features.feature_tables`; `lines` are the open back-ordered ones
    predictions : in the order of `features["lines"]`
    queue : the same lines in rank order
    """

    features: Mapping[str, pd.DataFrame]
    predictions: Predictions
    queue: pd.DataFrame

    def ship_now(self, morning: Morning) -> np.ndarray:
        """`ship_now_quantity` of the morning's lines, in their order."""
        return by_line(morning, dict(zip(self.queue["order_line_id"], self.queue["ship_now_quantity"], strict=True)))


@dataclass(frozen=True)
class TrainedDesk:
    """Models trained on a company's tables on one morning, used on later mornings as rules that give out goods.

    Parameters
    ----------
    account_values : predicted lifetime value by account_id for each day on which `queue` gave goods out
    """

    models: Mapping[str, Any]
    policy: Policy
    account_values: dict[int, pd.Series] = field(default_factory=dict)

    @classmethod
    def at(cls, company: Company, policy: Policy | None = None) -> "TrainedDesk":
        """Train on everything in the company's tables this morning, as the job does, without reports or a ledger."""
        with TemporaryDirectory(prefix="backorder-") as folder:
            facts = _facts(Path(folder), close(company), company.as_of)
            rows = {
                "lines": cancellation_samples(facts),
                "accounts": with_expectations(account_samples(facts)),
                "inbound": _features(facts)["inbound_dates"],
            }
        today = pd.Timestamp(local_day(facts.as_of, facts.site))
        models = {name: question.fit(rows[question.training], today) for name, question in QUESTIONS.items()}
        return cls(models, policy or Policy())

    def queue(self, morning: Morning) -> np.ndarray:
        """Give out what the queue says: its `ship_now_quantity` per line."""
        decided = self.decided(morning)
        self.account_values[morning.day] = self._values(decided.features["accounts"])
        return decided.ship_now(morning)

    def decided(self, morning: Morning, previous: pd.DataFrame | None = None) -> Decided:
        """The whole queue of a morning, and what it was made of; `previous` is the last one published."""
        features = self._features(morning)
        predictions = predict(self.models, features, self.policy.horizon_days, self.policy.default_wait_days)
        every_day = WorkCalendar()  # the simulated company knows no Sunday
        ran = RunFacts(run_id="simulated", as_of=morning.at, currency="EUR", calendar=every_day)
        return Decided(features, predictions, decide(features, predictions, previous, ran, self.policy).queue)

    def lifetime_value(self, morning: Morning) -> np.ndarray:
        """Give out by the customer's predicted lifetime value alone, greatest first; anonymous buyers are worth 0.

        If `queue` was rolled forward before, the values are those it predicted for the same day: a second set of tables
        each morning would double the time, and orders differ only for customers that one of the two rules has lost.
        """
        values = self.account_values.get(morning.day)
        if values is None:
            values = self._values(self._features(morning)["accounts"])
        account = morning.lines["account_id"]
        return by_priority(morning, account.map(values).fillna(0.0).to_numpy(dtype=float))

    def _values(self, accounts: pd.DataFrame) -> pd.Series:
        return pd.Series(lifetime_value.predict(self.models["lifetime-value"], accounts), accounts["account_id"])

    def _features(self, morning: Morning) -> dict[str, pd.DataFrame]:
        with TemporaryDirectory(prefix="backorder-") as folder:
            return _features(_facts(Path(folder), morning.tables(), morning.at))


@dataclass
class TellingDesk:
    """A desk that tells customers the queue's dates morning after morning, and finds in its tables what it has told.

    From its first morning on, dates come from it alone: what the company's planners would have told since is not in its
    tables. The simulated customers know nothing of that: they lose patience over the dates of their planners.

    Parameters
    ----------
    told : of each morning one row per date told: order_line_id, told_at, promised_on
    last : the queue of the last morning
    since : the first morning
    """

    desk: TrainedDesk
    told: list[pd.DataFrame] = field(default_factory=list)
    last: pd.DataFrame | None = None
    since: datetime | None = None

    def decided(self, morning: Morning) -> Decided:
        """Decide, and tell each line that waits its date to tell if that is not the last one told."""
        self.since = self.since or utc_moment(morning.at)
        decided = self.desk.decided(replace(morning, make_tables=lambda: self.tables(morning)), self.last)
        self.last = decided.queue
        self.told.append(_newly_told(decided, utc_moment(morning.at)))
        return decided

    def tables(self, morning: Morning) -> dict[str, pd.DataFrame]:
        """The morning's tables with the desk's own dates in `promises`, from its first morning on."""
        tables = morning.tables()
        before = tables["promises"][tables["promises"]["told_at"] < self.since]
        told = [rows for rows in (before, *self.told) if len(rows)]
        return tables | {"promises": pd.concat(told, ignore_index=True) if told else before}


def _newly_told(decided: Decided, at: datetime) -> pd.DataFrame:
    """Rows of the table `promises`: dates to tell this morning that differ from the last one told."""
    last_told = decided.features["lines"].set_index("order_line_id")["latest_promised_on"]
    waits = decided.queue[decided.queue["action"].isin(["wait", "ship_part"])]
    is_new = waits["promise_on"].notna() & (waits["promise_on"] != waits["order_line_id"].map(last_told))
    new = waits[is_new]
    return pd.DataFrame(
        {"order_line_id": new["order_line_id"], "told_at": pd.Timestamp(at), "promised_on": new["promise_on"]}
    ).reset_index(drop=True)


def _facts(folder: Path, tables: dict[str, pd.DataFrame], at: datetime) -> Facts:
    """The tables written, judged and gathered as a run does it."""
    site = Site(data=str(folder / "data"), store=str(folder / "store"), out=str(folder / "out"))
    write_tables(tables, Path(site.data))
    facts = Facts(folder, utc_moment(at), site)
    gather(facts.folder, site, facts.as_of)
    return facts


def _features(facts: Facts) -> dict[str, pd.DataFrame]:
    folder = facts.folder / "features"
    folder.mkdir()
    write_features_now(folder, facts)
    return read_features(folder)
