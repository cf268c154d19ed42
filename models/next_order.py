"""How often an account will order in the next 365 days, and the chance that it does not order at all.

Churn is the chance of no order over the horizon, never the chance of being alive: a customer who may still be alive and
buys once in three years is as good as lost to a year.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from models import customer_base, tilt
from models.account_panel import VALUE_HORIZON_DAYS, accounts_of_today, base_of, horizon_note, watched_days
from models.boosting import load_files, save_files
from models.customer_base import CustomerBase
from models.inputs import as_numbers
from models.intervals import Intervals, bounds
from models.intervals import learn as learn_intervals
from models.season import repeats_by_day
from models.tilt import Rehearsed, Target, Tilt

PSEUDO_ACCOUNTS = 20.0  # accounts at the overall share that each recency band is shrunk by
ASSUMED_NO_ORDER_SHARE = 0.3  # assumed where nothing was seen; two pseudo-accounts, soon outweighed
RECENCY_BANDS_DAYS = (0, 30, 91, 182, 365)
SMALLEST_CHANCE = 1e-4  # by the classical models an old regular can be past all hope, or past all doubt


def _order_losses(log_orders: np.ndarray, orders: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(np.minimum(log_orders, 20.0)) - orders * log_orders)


def _chance_losses(log_odds: np.ndarray, happened: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0.0, log_odds) - happened * log_odds)


def n_orders_next(rows: pd.DataFrame) -> np.ndarray:
    """Orders that followed."""
    return as_numbers(rows["next_n_orders"])


def no_order(rows: pd.DataFrame) -> np.ndarray:
    """1 where no order followed, else 0."""
    return np.asarray((n_orders_next(rows) == 0).astype(float))


ORDERS = Target(
    {"objective": "poisson"},
    n_orders_next,
    lambda rows: np.asarray(np.log(as_numbers(rows["expected_orders"]))),
    "count",
    _order_losses,
)
NO_ORDER = Target(
    {"objective": "binary"},
    no_order,
    lambda rows: _log_odds(as_numbers(rows["p_no_order"])),
    "chance",
    _chance_losses,
)


@dataclass(frozen=True, eq=False)
class NextOrderModel:
    """Orders of an account over a horizon, and the chance that there is none.

    Parameters
    ----------
    kind : boosted, classical (Pareto/NBD and BG/NBD without trees), pooled (by days since the last order) or assumed
    why : plain words for the kind, how it was rehearsed and what was assumed
    pooled : chance of no order in each band of `RECENCY_BANDS_DAYS`, over the days that were watched
    base, silence, orders : the classical models of T's accounts, and what corrects them
    intervals : of the number of orders; None without a rehearsal
    """

    kind: str
    why: str
    pooled: tuple[float, ...]
    base: CustomerBase | None = None
    silence: Tilt = field(default_factory=Tilt)
    orders: Tilt = field(default_factory=Tilt)
    intervals: Intervals | None = None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def is_assumed(self) -> bool:
        """Whether the chance was carried on from a shorter time, or not learned at all."""
        return self.kind == "assumed" or self.facts.get("horizon_days", 0) < VALUE_HORIZON_DAYS

    def save(self, folder: Path) -> None:
        """Write model.json, and booster.txt (of no order) and orders.txt where there are boosters."""
        saved = {
            "kind": self.kind,
            "why": self.why,
            "pooled": list(self.pooled),
            "base": self.base.to_json() if self.base else None,
            "silence": self.silence.to_json(),
            "orders": self.orders.to_json(),
            "intervals": self.intervals.to_json() if self.intervals else None,
            "facts": self.facts,
        }
        save_files(folder, saved, booster=self.silence.booster, orders=self.orders.booster)

    @classmethod
    def load(cls, folder: Path) -> NextOrderModel:
        """Undo `save`."""
        saved, boosters = load_files(folder)
        return cls(
            saved["kind"],
            saved["why"],
            tuple(saved["pooled"]),
            CustomerBase.from_json(saved["base"]) if saved["base"] else None,
            Tilt.from_json(saved["silence"], boosters.get("booster")),
            Tilt.from_json(saved["orders"], boosters.get("orders")),
            Intervals.from_json(saved["intervals"]) if saved["intervals"] else None,
            saved["facts"],
        )


def fit(panel: pd.DataFrame, seed: int = 0) -> NextOrderModel:
    """Learn from accounts at past cut-offs and the orders that followed (`account_panel.with_expectations`)."""
    watched = panel[panel["horizon_days"] > 0]
    facts = {"n_samples": len(watched), "n_no_order": int(no_order(watched).sum()), "horizon_days": watched_days(panel)}
    pooled = _pooled(watched)
    accounts = accounts_of_today(panel) if len(panel) else panel
    if not customer_base.is_enough(accounts):
        kind, why = ("pooled", "one chance by days since the last order") if len(watched) else ("assumed", "no outcome")
        return NextOrderModel(kind, f"too few accounts ordered again: {why}", pooled, facts=facts)
    silence, told = tilt.fit(panel, NO_ORDER, seed)
    orders, counted = tilt.fit(panel, ORDERS, seed)
    facts |= {"weight": silence.weight, "orders_weight": orders.weight}
    kind = "boosted" if silence.weight > 0 else "classical"
    why = f"classical models {tilt.in_words({'none': silence.weight, 'orders': orders.weight}, silence.level, told)}"
    intervals = _intervals(told, counted)
    return NextOrderModel(
        kind,
        why + horizon_note(panel),
        pooled,
        base_of(accounts, repeats_by_day(panel)),
        silence,
        orders,
        intervals,
        facts,
    )


def predict(model: NextOrderModel, accounts: pd.DataFrame, horizon_days: float = VALUE_HORIZON_DAYS) -> np.ndarray:
    """Chance of no order over a horizon of a day or more, strictly between 0 and 1, one per row of `accounts`.

    >>> model = NextOrderModel("pooled", "", (0.1, 0.2, 0.4, 0.6, 0.8))
    >>> predict(model, pd.DataFrame({"recency_days": [5, 400]})).tolist()
    [0.1, 0.8]
    """
    if model.base is None:
        return by_recency(model, accounts, horizon_days)
    rows = _expected(model.base, accounts, horizon_days)
    return _chance(model.silence.apply(NO_ORDER, rows))


def predict_orders(
    model: NextOrderModel, accounts: pd.DataFrame, horizon_days: float = VALUE_HORIZON_DAYS
) -> pd.DataFrame:
    """Foresee the orders of each account over the horizon.

    Returns
    -------
    One row per account: expected_orders; orders_low, orders_high, between which 90 % of accounts end; NaN where
    nothing was ever rehearsed.
    """
    if model.base is None:
        expected = -np.log(predict(model, accounts))  # as if orders came at random: all that a chance of none can tell
        return pd.DataFrame({"expected_orders": expected, "orders_low": np.nan, "orders_high": np.nan})
    rows = _expected(model.base, accounts, horizon_days)
    expected, silent = np.exp(model.orders.apply(ORDERS, rows)), _chance(model.silence.apply(NO_ORDER, rows))
    low = high = np.full(len(rows), np.nan)
    if model.intervals is not None:
        low, high = bounds(model.intervals, expected, silent, whole=True)
    return pd.DataFrame({"expected_orders": expected, "orders_low": low, "orders_high": high})


def by_recency(model: NextOrderModel, accounts: pd.DataFrame, horizon_days: float) -> np.ndarray:
    """Chance of no order by days since the last one alone, carried on from the days that were watched."""
    watched_days = model.facts.get("horizon_days") or VALUE_HORIZON_DAYS
    return np.asarray(np.array(model.pooled)[_recency_band(accounts)] ** (horizon_days / watched_days))


def _expected(base: CustomerBase, accounts: pd.DataFrame, horizon_days: float) -> pd.DataFrame:
    return accounts.assign(**customer_base.expect(base, accounts, horizon_days))


def _intervals(told: Rehearsed | None, counted: Rehearsed | None) -> Intervals | None:
    if told is None or counted is None:
        return None
    judged = told.rehearsal.judged
    expected, silent = np.exp(counted.prediction), _chance(told.prediction)
    return learn_intervals(expected, silent, n_orders_next(judged), judged["account_id"], told.level_log_sd)


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -15, 15))))


def _log_odds(chance: np.ndarray) -> np.ndarray:
    p = np.clip(chance, SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
    return np.asarray(np.log(p / (1 - p)))


def _recency_band(accounts: pd.DataFrame) -> np.ndarray:
    recency = np.nan_to_num(as_numbers(accounts["recency_days"]), nan=RECENCY_BANDS_DAYS[-1])
    return np.clip(np.searchsorted(RECENCY_BANDS_DAYS, recency, side="right") - 1, 0, None)


def _pooled(watched: pd.DataFrame) -> tuple[float, ...]:
    longest = watched[watched["horizon_days"] == watched["horizon_days"].max()]
    silent = no_order(longest)
    overall = (silent.sum() + 2 * ASSUMED_NO_ORDER_SHARE) / (len(silent) + 2)
    band = _recency_band(longest)
    n_silent, n_all = np.bincount(band, silent, minlength=5), np.bincount(band, minlength=5)
    return tuple(((n_silent + PSEUDO_ACCOUNTS * overall) / (n_all + PSEUDO_ACCOUNTS)).tolist())
