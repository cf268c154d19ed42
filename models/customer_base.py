"""What the accounts of one day will order by the classical models of a customer base: no booster, eleven numbers.

An account's rhythm tells how often it will order again: the mean of Pareto/NBD and BG/NBD, because on past cut-offs of
five books the one that made the histories likelier foretold no better than the other. Its margins so far, leaning on
everybody's, tell what an order will bring (Gamma-Gamma). Both hold for any horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from models import beta_geometric, gamma_gamma, pareto
from models.beta_geometric import BetaGeometric
from models.gamma_gamma import GammaGamma
from models.inputs import as_numbers
from models.order_histories import Histories
from models.pareto import ParetoNBD
from models.season import NO_SEASON, Season

Process = ParetoNBD | BetaGeometric
PROCESSES: Mapping[str, type[Process]] = {"pareto": ParetoNBD, "beta_geometric": BetaGeometric}
READS = (
    "cutoff_on", "n_orders", "n_orders_28d", "n_orders_91d", "tenure_days", "recency_days", "mean_gap_days",
    "margin_amount",
)  # fmt: skip
RHYTHM = ("pace_28d", "pace_91d", "orders_missed", "gaps_silent", "silent_share")
EXPECTATIONS = ("p_alive", "order_rate_per_day", "expected_orders_365d", "expected_order_margin", *RHYTHM)
FEWEST_ACCOUNTS, FEWEST_REPEATERS = 30, 10
# An account long silent after hundreds of orders is all but impossible by these models; a few come back all the same.
LEAST_ORDERS = 1e-2
LEAST_MARGIN_SHARE = 1e-3  # of what an order brings to an account whose first one brought nothing
SMALLEST_MARGIN_SHARE = 1e-6  # of the mean margin; what is left after a return is rounding, no margin to learn from


@dataclass(frozen=True)
class CustomerBase:
    """Parameters learned from the accounts of one day.

    Parameters
    ----------
    processes : how often accounts order and when they leave; seasonal days as unit. Each is as likely as the other
    margin : what an order brings; None where no account brought any
    season : turns calendar days into seasonal days
    """

    processes: tuple[Process, ...]
    margin: GammaGamma | None
    season: Season = NO_SEASON

    def expected_orders(self, histories: Histories, horizon_days: np.ndarray | float) -> np.ndarray:
        """Orders of each history over the horizon, both in seasonal days."""
        return self.mean(lambda process: process.expected_orders(histories, horizon_days))

    def mean(self, said: Callable[[Process], np.ndarray]) -> np.ndarray:
        """What the processes say on average."""
        return np.asarray(sum(said(process) for process in self.processes) / len(self.processes))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by name."""
        names = {kind: name for name, kind in PROCESSES.items()}
        return {
            "processes": {names[type(process)]: asdict(process) for process in self.processes},
            "margin": asdict(self.margin) if self.margin else None,
            "season": self.season.to_json(),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> CustomerBase:
        """Undo `to_json`."""
        processes = tuple(PROCESSES[name](**found) for name, found in sorted(saved["processes"].items(), reverse=True))
        margin = GammaGamma(**saved["margin"]) if saved["margin"] else None
        return cls(processes, margin, Season.from_json(saved["season"]))


def is_enough(accounts: pd.DataFrame) -> bool:
    """Whether there are accounts enough, and some that ordered again, to learn a rhythm from."""
    if len(accounts) < FEWEST_ACCOUNTS:
        return False
    return int((as_numbers(accounts["n_orders"]) > 1).sum()) >= FEWEST_REPEATERS


@threadpool_limits.wrap(limits=1)  # sums of more threads differ in their last digits
def fit(accounts: pd.DataFrame, season: Season = NO_SEASON) -> CustomerBase:
    """Learn from the accounts of one day, one row each, with the columns `READS`, in days of a season."""
    histories = season.histories(accounts)
    processes = (pareto.fit(histories), beta_geometric.fit(histories))
    n_orders, margin = as_numbers(accounts["n_orders"]), _margin_per_order(accounts)
    brings = margin > SMALLEST_MARGIN_SHARE * max(float(margin.mean()), 0.0)
    return CustomerBase(processes, gamma_gamma.fit(n_orders[brings], margin[brings]) if brings.any() else None, season)


def expect(base: CustomerBase, accounts: pd.DataFrame, horizon_days: np.ndarray | float) -> pd.DataFrame:
    """Foresee each account's next days.

    Parameters
    ----------
    horizon_days : one number, or one per row

    Returns
    -------
    One row per account, on its index, finite but for one: expected_orders and p_no_order over the horizon; p_alive;
    order_rate_per_day while alive; expected_orders_365d; expected_order_margin (money, above 0); and how its last days
    compare with its rhythm: pace_28d, pace_91d (orders over those that its rate brings), orders_missed (those that its
    rate would have brought since the last), gaps_silent (days since the last in usual gaps; missing after one order),
    silent_share (of its time since the first order)
    """
    histories, horizon = base.season.histories(accounts), base.season.horizon(accounts, horizon_days)
    order_rate = base.mean(lambda process: (process.r + histories.n_repeats) / (process.alpha + histories.age_days))
    year = base.season.horizon(accounts, 365.0)
    return pd.DataFrame(
        {
            "expected_orders": np.maximum(base.expected_orders(histories, horizon), LEAST_ORDERS),
            "p_no_order": base.mean(lambda process: process.p_no_order(histories, horizon)),
            "p_alive": base.mean(lambda process: process.p_alive(histories)),
            "order_rate_per_day": order_rate,
            "expected_orders_365d": base.expected_orders(histories, year),
            "expected_order_margin": _expected_margin(base.margin, accounts),
            **_against_rhythm(base.season, accounts, histories, order_rate),
        },
        index=accounts.index,
    )


def _against_rhythm(
    season: Season, accounts: pd.DataFrame, histories: Histories, order_rate: np.ndarray
) -> dict[str, np.ndarray]:
    """Ratios that trees would need many splits for."""
    tenure, recency = (as_numbers(accounts[name]) for name in ("tenure_days", "recency_days"))
    paces = {}
    for days in (28, 91):
        seasonal = -season.horizon(accounts, -np.minimum(days, tenure + 1))
        paces[f"pace_{days}d"] = as_numbers(accounts[f"n_orders_{days}d"]) / (order_rate * seasonal)
    return paces | {
        "orders_missed": order_rate * (histories.age_days - histories.last_days),
        "gaps_silent": recency / np.maximum(as_numbers(accounts["mean_gap_days"]), 1.0),
        "silent_share": recency / np.maximum(tenure, 1.0),
    }


def _margin_per_order(accounts: pd.DataFrame) -> np.ndarray:
    return np.asarray(as_numbers(accounts["margin_amount"]) / as_numbers(accounts["n_orders"]))


def _expected_margin(model: GammaGamma | None, accounts: pd.DataFrame) -> np.ndarray:
    if model is None:
        return np.full(len(accounts), LEAST_MARGIN_SHARE)
    # An account that lost money so far counts as one that earned nothing: its future leans on everybody's.
    n_orders, margin = as_numbers(accounts["n_orders"]), np.maximum(_margin_per_order(accounts), 0.0)
    # Not the mean of all accounts: where margins are spread widely that is far above what most of them bring.
    poorest = float(model.expected_amount(np.ones(1), np.zeros(1))[0])
    return np.maximum(model.expected_amount(n_orders, margin), LEAST_MARGIN_SHARE * poorest)
