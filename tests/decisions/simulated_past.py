"""The last mornings of a simulated company as a past to replay, with the hidden truth for its yardstick."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from decisions.outlooks import Outlooks
from decisions.replay_past import Past, goods_up_for_choice
from erp.simulated_chance import Columns, take
from erp.simulated_hazard import cancel_hazard, seller_hazard
from erp.simulated_losses import account_value
from erp.simulated_oracle import days_to_next_receipt
from erp.simulated_rules import Morning, Rule, product_id
from erp.simulated_tables import line_ids, order_ids
from erp.simulated_truth import on_credit_hold
from erp.simulator import Company, fork, step

CURVE_DAYS = 60


@dataclass
class Recorder:
    """What a company's desk sees and gives out while it lives on."""

    company: Company
    rule: Rule
    lines: list[pd.DataFrame] = field(default_factory=list)
    hazards: list[np.ndarray] = field(default_factory=list)
    waits: list[pd.DataFrame] = field(default_factory=list)
    shelf: list[pd.DataFrame] = field(default_factory=list)
    given: list[pd.DataFrame] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    waiting: list[pd.DataFrame] = field(default_factory=list)
    units: list[np.ndarray] = field(default_factory=list)

    def __call__(self, morning: Morning) -> np.ndarray:
        """Give out by the rule, and write down the morning."""
        on, columns = day_of(self.company), morning.columns
        is_new = np.array([key not in self.known for key in columns["key"].tolist()], dtype=bool)
        self.known |= set(columns["key"].tolist())
        self.lines.append(came_to_wait(self.company, take(columns, is_new), on))
        self.hazards.append(true_curves(self.company)[is_new])
        days = days_to_next_receipt(self.company)
        self.waits.append(
            pd.DataFrame({"product_id": [product_id(i) for i in range(len(days))], "made_on": on, "wait_days": days})
        )
        ids = [product_id(i) for i in range(len(morning.on_hand))]
        pools = pd.DataFrame({"product_id": ids, "warehouse_id": "main", "morning_on": on})
        units = self.rule(morning)
        ids = line_ids(self.company, columns["key"])
        self.waiting.append(pd.DataFrame({"order_line_id": ids, "open_quantity": columns["open"].astype(float)}))
        self.units.append(np.asarray(units, dtype=float))
        self.shelf.append(pools.assign(available_now=morning.on_hand.astype(float)))
        self.given.append(
            pools.assign(quantity=np.bincount(columns["product"], units, minlength=len(pools)).astype(float))
        )
        return units

    def shipped(self, past: Past) -> pd.DataFrame:
        """Units that left for lines that waited."""
        days = [past.first_on + pd.Timedelta(days=day) for day in range(len(self.units))]
        rows = [
            names.assign(shipped_on=on, quantity=units)
            for names, on, units in zip(self.waiting, days, self.units, strict=True)
        ]
        left = pd.concat(rows, ignore_index=True)
        return left[left["quantity"] > 0]


def day_of(company: Company) -> pd.Timestamp:
    return pd.Timestamp(company.as_of.date())


def came_to_wait(company: Company, columns: Columns, on: pd.Timestamp) -> pd.DataFrame:
    """Lines that wait for the first time this morning, as `Past.lines` takes them; `value` is their customer's."""
    start = pd.Timestamp(company.shape.start_on)
    who = columns["customer"]
    is_known = who < company.customers.n_known
    account = company.customers.account[who]
    ids = line_ids(company, columns["key"])
    price = columns["unit_price"].astype(float)
    units = columns["open"].astype(float)
    return pd.DataFrame(
        {
            "order_line_id": ids,
            "root_id": ids,
            "root_order_id": order_ids(company, columns["key"]),
            "account_id": pd.Series(
                [f"A{a}" if known else None for a, known in zip(account, is_known, strict=True)], dtype="str"
            ),
            "product_id": pd.Series([product_id(i) for i in columns["product"].tolist()], dtype="str"),
            "warehouse_id": "main",
            "ordered_at": start + pd.to_timedelta(columns["ordered_second"], unit="s"),
            "due_on": start + pd.to_timedelta(columns["due_day"], unit="D"),
            "promised_on": start + pd.to_timedelta(columns["promised_day"], unit="D"),
            "enters_on": on,
            "open_quantity": units,
            "line_value": units * price,
            "line_margin": units * (price - columns["unit_cost"]),
            "paid_share": 1.0,
            "quantity_step": 1.0,
            "may_split": columns["may_split"].astype(bool),
            "ship_group": pd.Series(None, index=range(len(ids)), dtype="str"),
            "priority_class": columns["priority_class"].astype(float),
            "customer": who,
            "value": np.where(is_known, account_value(company)[account], 0.0),
        }
    )


def true_curves(company: Company) -> np.ndarray:
    """Chance that each waiting line goes on each of the next days, dates told as they are; (n_lines, CURVE_DAYS)."""
    lines = company.open
    found = np.zeros((len(lines["key"]), CURVE_DAYS))
    is_ended = company.products.ends_day[lines["product"]]
    for ahead in range(CURVE_DAYS):
        day = company.day + ahead
        by_seller = seller_hazard(company.shape, day - lines["due_day"], is_ended < day)
        found[:, ahead] = 1 - (1 - cancel_hazard(company.shape, lines, day)) * (1 - by_seller)
    return found[lines["due_day"] < company.day]


def recorded(company: Company, rule: Rule, n_days: int) -> tuple[Past, Outlooks]:
    """The next mornings of a company under `rule` as a past, and what a rule that knows everything would foresee.

    The company itself stays where it is.
    """
    return recorded_by(company, rule, n_days)[:2]


def recorded_by(company: Company, rule: Rule, n_days: int) -> tuple[Past, Outlooks, Recorder]:
    """The same, and who recorded it."""
    twin = fork(company)
    recorder = Recorder(twin, rule)
    first_on = day_of(twin)
    twin.rule = recorder
    for _ in range(n_days):
        step(twin)
    lines = pd.concat(recorder.lines, ignore_index=True)
    hazard = np.concatenate(recorder.hazards)
    survival = np.concatenate([np.ones((len(hazard), 1)), np.cumprod(1 - hazard, axis=1)], axis=1)
    said = lines.rename(columns={"enters_on": "made_on", "value": "lifetime_value"})
    yardstick = Outlooks(said[["order_line_id", "made_on", "lifetime_value"]], survival)
    goods = goods_up_for_choice(pd.concat(recorder.shelf), pd.concat(recorder.given))
    holds = credit_holds(twin, lines, first_on, n_days)
    past = Past(first_on, n_days, lines.drop(columns=["customer", "value"]), goods, yardstick, 0.0, holds)
    return past, foreseen_each_morning(past, pd.concat(recorder.waits, ignore_index=True)), recorder


def foreseen_each_morning(past: Past, waits: pd.DataFrame) -> Outlooks:
    """The truth of every line that has come, told anew each morning with the day on which its next goods come."""
    ids, enters = past.lines["order_line_id"], past.lines["enters_on"]
    rows, curves = [], []
    for on, today in waits.groupby("made_on"):
        here = past.lines[enters <= on]
        row = past.yardstick.in_force(ids[enters <= on], on)
        value = past.yardstick.rows["lifetime_value"].to_numpy()[row]
        wait = here["product_id"].map(today.set_index("product_id")["wait_days"])
        rows.append(
            pd.DataFrame(
                {"order_line_id": here["order_line_id"], "made_on": on, "lifetime_value": value, "wait_days": wait}
            )
        )
        curves.append(past.yardstick.wanted_from(row, on, CURVE_DAYS))
    return Outlooks(pd.concat(rows, ignore_index=True), np.concatenate(curves))


def credit_holds(company: Company, lines: pd.DataFrame, first_on: pd.Timestamp, n_days: int) -> pd.DataFrame:
    """Days on which lines of customers on credit hold may have no goods."""
    start = pd.Timestamp(company.shape.start_on)
    found = []
    for on in pd.date_range(first_on, periods=n_days):
        held = on_credit_hold(company.shape, company.customers.n_known, lines["customer"].to_numpy(), (on - start).days)
        found.append(pd.DataFrame({"order_line_id": lines["order_line_id"][held], "from_on": on, "until_on": on}))
    return pd.concat(found, ignore_index=True)
