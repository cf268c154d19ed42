"""The margin an account will bring in the next 365 days.

Outcomes count accounts that never come back as 0, so the chance that a customer is still alive is included once. What
came back counts against the margin, and open lines are no part of it: they were ordered before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from models import customer_base, tilt
from models.account_panel import (
    VALUE_HORIZON_DAYS,
    accounts_of_today,
    base_of,
    horizon_note,
    rows_that_train,
    watched_days,
)
from models.boosting import load_files, save_files
from models.customer_base import CustomerBase
from models.inputs import as_numbers
from models.intervals import Intervals, bounds
from models.intervals import learn as learn_intervals
from models.next_order import ORDERS, n_orders_next
from models.season import repeats_by_day
from models.tilt import Rehearsed, Target, Tilt

PSEUDO_DAYS = 180.0  # days at the average margin rate that every account's own history is shrunk by
TWEEDIE_POWER = 1.5


def next_margin(rows: pd.DataFrame) -> np.ndarray:
    """Margin that followed, losses counted as 0."""
    return np.asarray(np.maximum(as_numbers(rows["next_margin"]), 0.0))


def _tweedie_losses(log_margin: np.ndarray, margin: np.ndarray) -> np.ndarray:
    half = np.exp(np.minimum(log_margin, 40.0) / 2)
    return np.asarray(2 * half + 2 * margin / half)


MARGIN = Target(
    {"objective": "tweedie", "tweedie_variance_power": TWEEDIE_POWER},
    next_margin,
    lambda rows: ORDERS.offset(rows) + _log_margin_per_order(rows),
    "money",
    _tweedie_losses,
)


def _gamma_losses(log_margin: np.ndarray, margin: np.ndarray) -> np.ndarray:
    return np.asarray(log_margin + margin * np.exp(-log_margin))


ORDER_MARGIN = Target(
    {"objective": "gamma"},
    lambda rows: next_margin(rows) / np.maximum(n_orders_next(rows), 1.0),
    lambda rows: _log_margin_per_order(rows),
    "money",
    _gamma_losses,
    lambda rows: np.where(next_margin(rows) > 0, n_orders_next(rows), 0.0),  # what returned in full tells no margin
)


@dataclass(frozen=True, eq=False)
class Corrections:
    """Two ways from the expectations to the margin, and their geometric mean: at once; orders times what one brings.

    On past cut-offs of four books neither way was better throughout, and rehearsals did not tell which would be.

    Parameters
    ----------
    spend : of the margin
    orders, order_margin : of the orders, and of what one brings
    level : logarithm of the factor on every value that the rehearsal found
    """

    spend: Tilt = field(default_factory=Tilt)
    orders: Tilt = field(default_factory=Tilt)
    order_margin: Tilt = field(default_factory=Tilt)
    level: float = 0.0

    @property
    def weights(self) -> dict[str, float]:
        """How far each booster is trusted."""
        return {name: getattr(self, name).weight for name in _BOOSTERS}

    def log_value(self, rows: pd.DataFrame) -> np.ndarray:
        """Logarithm of the margin expected of rows that hold the expectations."""
        at_once = self.spend.apply(MARGIN, rows)
        by_orders = self.orders.apply(ORDERS, rows) + self.order_margin.apply(ORDER_MARGIN, rows)
        return np.asarray((at_once + by_orders) / 2 + self.level)

    @property
    def heaviest(self) -> tuple[str, Tilt]:
        """The correction whose booster is trusted most, and what it corrects."""
        name = max(self.weights, key=lambda name: self.weights[name])
        return _TITLES[name], getattr(self, name)


@dataclass(frozen=True, eq=False)
class LifetimeValueModel:
    """Margin of an account over a horizon.

    Parameters
    ----------
    kind : boosted, classical (orders x margin of an order, no trees), pooled (own margin rate, shrunk) or assumed
    why : plain words for the kind, how it was rehearsed and what was assumed
    net_share : margin net of losses by that without
    margin_per_day : average rate that small histories are shrunk to; None: that of the accounts asked for
    """

    kind: str
    why: str
    base: CustomerBase | None = None
    corrections: Corrections = field(default_factory=Corrections)
    net_share: float = 1.0
    margin_per_day: float | None = None
    intervals: Intervals | None = None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def is_assumed(self) -> bool:
        """Whether the value was carried on from a shorter time, or not learned at all."""
        return self.kind == "assumed" or self.facts.get("horizon_days", 0) < VALUE_HORIZON_DAYS

    def save(self, folder: Path) -> None:
        """Write model.json; booster.txt (of the margin), orders.txt and order_margin.txt where there are boosters."""
        tilts = {name: getattr(self.corrections, name) for name in _BOOSTERS}
        saved = {name: getattr(self, name) for name in _PLAIN} | {
            "base": self.base.to_json() if self.base else None,
            "level": self.corrections.level,
            "intervals": self.intervals.to_json() if self.intervals else None,
            **{name: each.to_json() for name, each in tilts.items()},
        }
        save_files(folder, saved, **{file: tilts[name].booster for name, file in _BOOSTERS.items()})

    @classmethod
    def load(cls, folder: Path) -> LifetimeValueModel:
        """Undo `save`."""
        saved, boosters = load_files(folder)
        tilts = {name: Tilt.from_json(saved[name], boosters.get(file)) for name, file in _BOOSTERS.items()}
        return cls(
            **{name: saved[name] for name in _PLAIN},
            base=CustomerBase.from_json(saved["base"]) if saved["base"] else None,
            corrections=Corrections(**tilts, level=saved["level"]),
            intervals=Intervals.from_json(saved["intervals"]) if saved["intervals"] else None,
        )


_BOOSTERS = {"spend": "booster", "orders": "orders", "order_margin": "order_margin"}  # and the files that hold them
_TITLES = {"spend": "margin", "orders": "orders", "order_margin": "margin of one"}
_PLAIN = ("kind", "why", "net_share", "margin_per_day", "facts")


def fit(panel: pd.DataFrame, seed: int = 0) -> LifetimeValueModel:
    """Learn from accounts at past cut-offs and the margin that followed (`account_panel.with_expectations`)."""
    watched = panel[panel["horizon_days"] > 0]
    n_buyers = int((next_margin(watched) > 0).sum())
    facts = {"n_samples": len(watched), "n_buyers": n_buyers, "horizon_days": watched_days(panel)}
    accounts = accounts_of_today(panel) if len(panel) else panel
    if not customer_base.is_enough(accounts):
        kind = "pooled" if len(watched) else "assumed"
        rate = _margin_per_day(accounts) if len(watched) else None
        why = "too few accounts ordered again: own past margin, shrunk, is assumed to go on"
        return LifetimeValueModel(kind, why, margin_per_day=rate, facts=facts)
    corrections, rehearsed = _correct(panel, seed)
    said = {title: corrections.weights[name] for name, title in _TITLES.items()}
    return LifetimeValueModel(
        "boosted" if max(corrections.weights.values()) > 0 else "classical",
        f"classical models {tilt.in_words(said, corrections.level, rehearsed)}{horizon_note(panel)}",
        base_of(accounts, repeats_by_day(panel)),
        corrections,
        _net_share(rows_that_train(panel)),
        None,
        _intervals(rehearsed),
        facts | {f"weight_{name}": weight for name, weight in corrections.weights.items()},
    )


def _correct(panel: pd.DataFrame, seed: int) -> tuple[Corrections, Rehearsed | None]:
    """Learn the three corrections, and the level of what they say together."""
    spend, by_spend = tilt.fit(panel, MARGIN, seed)
    orders, counted = tilt.fit(panel, ORDERS, seed)
    order_margin, brought = tilt.fit(panel, ORDER_MARGIN, seed)
    if by_spend is None or counted is None or brought is None:
        return Corrections(), None
    foretold = (by_spend.prediction - spend.level) / 2
    foretold += (counted.prediction - orders.level + brought.prediction - order_margin.level) / 2
    tried = counted.rehearsal
    came = next_margin(tried.judged)
    level = tilt.trusted_level(foretold, came, MARGIN, tried.days)
    corrections = (replace(each, level=0.0) for each in (spend, orders, order_margin))
    return Corrections(*corrections, level), Rehearsed(tried, foretold + level)


def predict(model: LifetimeValueModel, accounts: pd.DataFrame, horizon_days: float = VALUE_HORIZON_DAYS) -> np.ndarray:
    """Predict the margin over the horizon, money, one per row of `accounts`, finite and never below 0.

    >>> model = LifetimeValueModel("pooled", "", margin_per_day=1.0)
    >>> accounts = pd.DataFrame({"margin_365d": [0.0, 730.0], "tenure_days": [180, 900]})
    >>> predict(model, accounts).round(1).tolist()
    [182.5, 609.4]
    """
    if model.base is None:
        return horizon_days / VALUE_HORIZON_DAYS * _from_own_history(model.margin_per_day, accounts)
    rows = accounts.assign(**customer_base.expect(model.base, accounts, horizon_days))
    return model.net_share * np.exp(model.corrections.log_value(rows))


def settled(model: LifetimeValueModel, accounts: pd.DataFrame) -> LifetimeValueModel:
    """The model as it answers for these accounts asked together: where no average rate was learned, theirs is it."""
    if model.base is not None or model.margin_per_day is not None:
        return model
    return replace(model, margin_per_day=_margin_per_day(accounts))


def predict_interval(
    model: LifetimeValueModel, accounts: pd.DataFrame, horizon_days: float = VALUE_HORIZON_DAYS
) -> tuple[np.ndarray, np.ndarray]:
    """Money between which 90 % of accounts end, low and high; NaN where nothing was ever rehearsed."""
    if model.base is None or model.intervals is None:
        return np.full(len(accounts), np.nan), np.full(len(accounts), np.nan)
    rows = accounts.assign(**customer_base.expect(model.base, accounts, horizon_days))
    gains = np.exp(model.corrections.log_value(rows))  # intervals know losses as 0
    return bounds(model.intervals, gains, as_numbers(rows["p_no_order"]))


def _log_margin_per_order(rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(np.log(as_numbers(rows["expected_order_margin"])))


def _net_share(rows: pd.DataFrame) -> float:
    gains = float(next_margin(rows).sum())
    return max(float(as_numbers(rows["next_margin"]).sum()) / gains, 0.0) if gains > 0 else 1.0


def _intervals(rehearsed: Rehearsed | None) -> Intervals | None:
    if rehearsed is None:
        return None
    judged = rehearsed.rehearsal.judged
    value, silent = np.exp(rehearsed.prediction), as_numbers(judged["p_no_order"])
    return learn_intervals(value, silent, next_margin(judged), judged["account_id"], rehearsed.level_log_sd)


def _from_own_history(margin_per_day: float | None, accounts: pd.DataFrame) -> np.ndarray:
    rate = _margin_per_day(accounts) if margin_per_day is None else margin_per_day
    margin, days = _own_margin_and_days(accounts)
    return np.asarray(VALUE_HORIZON_DAYS * (margin + PSEUDO_DAYS * rate) / (days + PSEUDO_DAYS))


def _margin_per_day(accounts: pd.DataFrame) -> float:
    margin, days = _own_margin_and_days(accounts)
    return float(margin.sum() / max(days.sum(), 1.0))


def _own_margin_and_days(accounts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    days = np.clip(np.nan_to_num(as_numbers(accounts["tenure_days"])), 1.0, VALUE_HORIZON_DAYS)
    return np.maximum(np.nan_to_num(as_numbers(accounts["margin_365d"])), 0.0), days
