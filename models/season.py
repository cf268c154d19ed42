"""The season of a customer base: in a busy month more time passes for its accounts than the calendar says.

Orders of an account come at random in seasonal days: a month of pace 1.5 has half as many again as calendar days, a
whole year as many. Tenure, recency and horizon are turned into seasonal days before the classical models see them, as
time is changed for a Poisson process of varying rate (Kingman 1993, Poisson processes, 4.5).

The pace is learned from a tracking plot by calendar time (Fader, Hardie & Lee 2005, fig. 3): the repeat orders of all
accounts in each stretch of days against those the model expects of accounts of their age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from models.inputs import as_numbers
from models.order_histories import Histories

N_MONTHS = 12
MONTH_DAYS = np.array([31, 28.2425, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
FEWEST_DAYS = 365  # watched before a season is looked for: less shows some months never
SHORTEST_STRETCH_DAYS = 14
FEWEST_ORDERS = 10.0  # expected of a stretch; the logarithm of fewer tells little
LOOK_BACK_DAYS = {"n_orders_28d": 28, "n_orders_91d": 91}

# What the log-ratio of observed and expected orders is made of, as standard deviations of Gaussian laws. Those with
# more than one are weighed by how likely they make the ratios, so that no season is found where none is needed.
SEASONS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # of a month's log pace
NOISES = (0.02, 0.05, 0.1, 0.2)  # of 30 days, besides the chance of counts: campaigns, holidays that move
DRIFTS = (0.05, 0.2, 0.5)  # over a year, as a random walk: growth, and how accounts leave, if the model has it wrong
LEVEL = 0.5  # of all stretches alike
MONTHS_ALIKE = 0.5  # reach of the periodic law: neighbours correlate by .59, every second month by .14
SMALLEST = 0.02  # log pace; a season that keeps within is none, and the accounts need not be learned again
N_STEPS = 3  # the log of a sum of paces is not linear in their logs; each step draws a better tangent


@dataclass(frozen=True)
class Season:
    """How fast time passes for accounts.

    Parameters
    ----------
    pace : seasonal days per calendar day of each month, January first; 1 in the mean of a year
    """

    pace: tuple[float, ...] = (1.0,) * N_MONTHS

    def days(self, start_on: np.ndarray | np.datetime64, n_days: np.ndarray | float) -> np.ndarray:
        """Seasonal days within the `n_days` calendar days after `start_on`.

        Parameters
        ----------
        start_on, n_days : one of each, or one per account; the day itself does not count, the last day does

        >>> busy_march = Season((1.0, 1.0, 1.5, 0.5) + (1.0,) * 8)
        >>> busy_march.days(np.datetime64("2025-02-24"), np.array([4.0, 6.0, 9.5]))
        array([ 4.  ,  7.  , 12.25])
        """
        start = np.asarray(start_on).astype("datetime64[D]").astype(np.float64)
        end = start + n_days
        if not end.size:
            return np.asarray(end)
        first, last = np.floor(min(start.min(), end.min())), np.ceil(max(start.max(), end.max()))
        days = np.arange(first, last + 1)
        clock = np.concatenate([[0.0], np.cumsum(np.array(self.pace)[_month(days[1:])])])
        return np.asarray(np.interp(end, days, clock) - np.interp(start, days, clock))

    def histories(self, accounts: pd.DataFrame) -> Histories:
        """Histories in seasonal days of accounts with n_orders, tenure_days, recency_days and cutoff_on."""
        tenure, recency = (as_numbers(accounts[name]) for name in ("tenure_days", "recency_days"))
        first_on = _day(accounts["cutoff_on"]) - tenure.astype("timedelta64[D]")
        last, age = self.days(first_on, tenure - recency), self.days(first_on, tenure)
        return Histories.of(as_numbers(accounts["n_orders"]) - 1, last, age)

    def horizon(self, accounts: pd.DataFrame, n_days: np.ndarray | float) -> np.ndarray:
        """Seasonal days within the `n_days` after each account's cutoff_on."""
        return self.days(_day(accounts["cutoff_on"]), n_days)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by name."""
        return {"pace": list(self.pace)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Season:
        """Undo `to_json`."""
        return cls(tuple(saved["pace"]))


NO_SEASON = Season()


def repeats_by_day(samples: pd.DataFrame) -> pd.DataFrame:
    """Running totals of all accounts' repeat orders, as each cut-off knew those of its last three months.

    Parameters
    ----------
    samples : as of `features.samples.account_samples`

    Returns
    -------
    One row per cut-off and day: cutoff_on, day, n_repeats up to the end of the day
    """
    known = samples.drop_duplicates(["cutoff_on", "account_id"])
    parts = [pd.DataFrame({"cutoff_on": known["cutoff_on"], "days": 0, "n_repeats": as_numbers(known["n_orders"]) - 1})]
    for column, days in LOOK_BACK_DAYS.items():
        # An account's first order is no repeat order, be it as recent as it may.
        recent = as_numbers(known[column]) - (as_numbers(known["tenure_days"]) < days)
        parts.append(parts[0].assign(days=days, n_repeats=parts[0]["n_repeats"] - recent))
    totals = pd.concat(parts).groupby(["cutoff_on", "days"], as_index=False).agg(n_repeats=("n_repeats", "sum"))
    totals["day"] = totals["cutoff_on"] - pd.to_timedelta(totals["days"], unit="D")
    return totals[["cutoff_on", "day", "n_repeats"]]


def stretches(
    totals: pd.DataFrame, accounts: pd.DataFrame, expected_orders: Callable[[Histories, np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """Observed repeat orders beside those a model without season expects.

    Accounts that gained a parent between two cut-offs count as one from then on, and one order more is a repeat order.

    Parameters
    ----------
    totals : rows of `repeats_by_day` up to the cut-off that asks
    accounts : all accounts at that cut-off
    expected_orders : of histories over horizons, learned from them in calendar days

    Returns
    -------
    One row per stretch between two days, of `SHORTEST_STRETCH_DAYS` or more: from_on, to_on, n_orders, n_expected
    """
    kept = _days_apart(totals)
    first_on = _day(accounts["cutoff_on"]) - as_numbers(accounts["tenure_days"]).astype("timedelta64[D]")
    entries, n_accounts = np.unique(first_on, return_counts=True)
    age = np.maximum((_day(kept["day"])[:, None] - entries).astype(np.int64), 0)
    # Of an account since its first order as much is expected as of a history without repeats on its first day.
    ages = np.arange(age.max(initial=0) + 1.0)
    of_age = expected_orders(Histories.of(0 * ages, 0 * ages, 0 * ages), ages)
    days = kept["day"].to_numpy()
    columns = {"from_on": days[:-1], "to_on": days[1:], "n_orders": np.diff(as_numbers(kept["n_repeats"]))}
    return pd.DataFrame(columns | {"n_expected": np.diff(of_age[age] @ n_accounts)})


def _days_apart(totals: pd.DataFrame) -> pd.DataFrame:
    """Totals of days wide enough apart, oldest first; the newest is kept, and of one day what the day itself knew."""
    known = totals.sort_values(["day", "cutoff_on"]).drop_duplicates("day").reset_index(drop=True)
    kept = [len(known) - 1] if len(known) else []
    for row in range(len(known) - 2, -1, -1):
        if known["day"][kept[-1]] - known["day"][row] >= pd.Timedelta(days=SHORTEST_STRETCH_DAYS):
            kept.append(row)
    return known.iloc[kept[::-1]].reset_index(drop=True)


def learn(tracked: pd.DataFrame) -> Season:
    """The pace under which observed orders come nearest to those expected, leaning on no season.

    The log-ratio of a stretch is a Gaussian process: a periodic law of the months (Rasmussen & Williams 2006, Gaussian
    processes for machine learning, eq. 4.31), a drift, and noise, all of unknown widths. So a peak that came once
    counts for less than one that came back: it may have been drift.

    Parameters
    ----------
    tracked : rows of `stretches`
    """
    told = tracked[tracked["n_expected"] >= FEWEST_ORDERS]
    if not len(told) or (told["to_on"].max() - told["from_on"].min()).days < FEWEST_DAYS:
        return NO_SEASON
    shares = np.array([_month_shares(*days) for days in zip(told["from_on"], told["to_on"], strict=True)])
    n_orders = _counted(told)
    ratio = np.log(n_orders / as_numbers(told["n_expected"]))
    log_pace = np.zeros(N_MONTHS)
    for _ in range(N_STEPS):
        paced = shares * np.exp(log_pace)
        slopes = paced / paced.sum(axis=1, keepdims=True)
        log_pace = _likely_log_pace(ratio - np.log(paced.sum(axis=1)) + slopes @ log_pace, slopes, told)
    if np.abs(log_pace).max() < SMALLEST:
        return NO_SEASON
    pace = np.exp(log_pace)
    return Season(tuple((pace * MONTH_DAYS.sum() / (pace @ MONTH_DAYS)).tolist()))


def _likely_log_pace(ratio: np.ndarray, slopes: np.ndarray, told: pd.DataFrame) -> np.ndarray:
    """Mean log pace of each month given the log-ratios, over all widths of the laws, weighed by their evidence."""
    days = (told["to_on"] - told["from_on"]).dt.days.to_numpy(np.float64)
    years = ((told["from_on"] - told["from_on"].min()).dt.days.to_numpy() + days / 2) / 365
    walk, seasonal = np.minimum.outer(years, years), _months_law()
    counts = np.diag(1 / _counted(told))
    means, evidence = [], []
    for season, noise, drift in product(SEASONS, NOISES, DRIFTS):
        by_month = season**2 * seasonal @ slopes.T
        law = slopes @ by_month + LEVEL**2 + drift**2 * walk + counts + np.diag(noise**2 * 30 / days)
        pull = np.linalg.solve(law, ratio)
        means.append(by_month @ pull)
        evidence.append(-0.5 * (ratio @ pull + np.linalg.slogdet(law)[1]))
    weights = np.exp(np.array(evidence) - max(evidence))
    return np.asarray(weights @ np.array(means) / weights.sum())


def _counted(told: pd.DataFrame) -> np.ndarray:
    """Orders of each stretch, half a one where none came: a shop that closes is a season too, and has no logarithm."""
    return np.maximum(as_numbers(told["n_orders"]), 0.5)


def _months_law() -> np.ndarray:
    """Covariance of the months' log pace, of which the year's mean is taken out: a level, it is the model's own."""
    apart = np.subtract.outer(np.arange(N_MONTHS), np.arange(N_MONTHS))
    law = np.exp(-2 * np.sin(np.pi * apart / N_MONTHS) ** 2 / MONTHS_ALIKE**2)
    without_mean = np.eye(N_MONTHS) - MONTH_DAYS / MONTH_DAYS.sum()
    return np.asarray(without_mean @ law @ without_mean.T)


def _month_shares(from_on: pd.Timestamp, to_on: pd.Timestamp) -> np.ndarray:
    """Share of each month in the days after one up to the other."""
    days = np.arange(1, (to_on - from_on).days + 1) + (from_on - pd.Timestamp(0)).days
    return np.bincount(_month(days), minlength=N_MONTHS) / len(days)


def _month(days: np.ndarray) -> np.ndarray:
    """Month of days since 1970, January 0."""
    return np.asarray(days.astype(np.int64).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % N_MONTHS)


def _day(moments: pd.Series | pd.Timestamp | object) -> np.ndarray:
    return np.asarray(moments, dtype="datetime64[D]")
