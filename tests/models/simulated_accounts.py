"""Accounts that order, spend and leave for good at known rates, cut off as `features.samples.account_samples` does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.samples import FEWEST_DAYS, origins
from models.account_panel import NUMERIC, TEXT, VALUE_HORIZON_DAYS, with_expectations

TODAY = pd.Timestamp("2026-06-01").as_unit("s")
MEAN_LIFE_DAYS = {
    "a": 150.0,
    "b": 1500.0,
}  # planted: how long it lasts is seen from the segment before any rhythm tells
ORDERS_PER_YEAR, RATE_SHAPE = 9.0, 1.2
MARGIN_OF_SPEND = 0.25


@dataclass(frozen=True, eq=False)
class Book:
    """A simulated book of accounts.

    Parameters
    ----------
    samples : rows as `account_samples` gives them
    panel : the same with expectations
    later : the accounts at T by id, with next_n_orders and next_margin of the 365 days after T, and what was to be
        expected of them by who knows each account's rate and whether it left: true_orders, true_margin, true_no_order
    """

    samples: pd.DataFrame
    panel: pd.DataFrame
    later: pd.DataFrame


def simulated_book(
    n_accounts: int, n_days: int = 1000, seed: int = 0, n_cutoffs: int = 8, lives: dict[str, float] | None = None
) -> Book:
    """Watch accounts for `n_days` up to `TODAY`; each begins with an order on some day of them."""
    draw = np.random.default_rng(seed)
    lives = lives or MEAN_LIFE_DAYS
    accounts = pd.DataFrame({"account_id": pd.Series([f"A{i:05d}" for i in range(n_accounts)], dtype="str")})
    for name in TEXT:
        accounts[name] = pd.Series(draw.choice(["a", "b"], n_accounts), dtype="str")
    accounts["n_waiting_lines"] = (draw.random(n_accounts) < 0.1).astype(float)
    accounts["first_day"] = np.sort(draw.integers(0, n_days + 1, n_accounts))
    accounts["p_order"] = -np.expm1(-draw.gamma(RATE_SHAPE, ORDERS_PER_YEAR / RATE_SHAPE / 365, n_accounts))
    accounts["mean_life"] = accounts["segment"].map(lives).astype(float)
    accounts["life_days"] = np.floor(draw.exponential(accounts["mean_life"]))
    accounts["mean_margin"] = draw.lognormal(3, 0.6, n_accounts)
    orders = _orders(accounts, n_days + VALUE_HORIZON_DAYS, draw)
    samples = _samples(accounts, orders[orders["day"] <= n_days], n_days, n_cutoffs)
    return Book(samples, with_expectations(samples), _later(accounts, orders, n_days))


def _orders(accounts: pd.DataFrame, last_day: int, draw: np.random.Generator) -> pd.DataFrame:
    """Days with an order and its margin: one on the first day, then by chance on each while the account lives."""
    age = np.arange(last_day + 1) - accounts["first_day"].to_numpy()[:, None]
    is_active = (age > 0) & (age <= accounts["life_days"].to_numpy()[:, None])
    comes = is_active & (draw.random(age.shape) < accounts["p_order"].to_numpy()[:, None])
    place, day = np.nonzero(comes | (age == 0))
    margin = accounts["mean_margin"].to_numpy()[place] * draw.lognormal(-0.02, 0.2, len(day))
    return pd.DataFrame({"account_id": accounts["account_id"].to_numpy()[place], "day": day, "margin": margin})


def _samples(accounts: pd.DataFrame, orders: pd.DataFrame, n_days: int, n_cutoffs: int) -> pd.DataFrame:
    start = TODAY - pd.Timedelta(days=n_days)
    until = [(day - start.to_pydatetime()).days for day in origins(start.to_pydatetime(), TODAY.to_pydatetime(), 365)]
    between = np.linspace(FEWEST_DAYS, n_days - FEWEST_DAYS, n_cutoffs).astype(int).tolist()
    parts = []
    for cutoff in sorted({*until, *between}):
        known = _known(accounts, orders, cutoff).assign(cutoff_on=start + pd.Timedelta(days=cutoff))
        for origin in until:
            if cutoff == origin or cutoff + FEWEST_DAYS <= origin:
                part = _with_next(known, orders, cutoff, min(origin - cutoff, VALUE_HORIZON_DAYS))
                parts.append(part.assign(origin_on=start + pd.Timedelta(days=origin)))
    return pd.concat(parts, ignore_index=True)


def _known(accounts: pd.DataFrame, orders: pd.DataFrame, cutoff: int) -> pd.DataFrame:
    """One row per account with an order by the cut-off: what its history says; the rest as in a plain company."""
    past = orders[orders["day"] <= cutoff].copy()
    past["gap"] = past.groupby("account_id")["day"].diff()
    by = past.groupby("account_id")
    days, margin, gaps = by["day"], by["margin"], by["gap"]
    known = pd.DataFrame(
        {
            "tenure_days": cutoff - days.min(),
            "recency_days": cutoff - days.max(),
            "n_orders": days.size(),
            "mean_gap_days": gaps.mean(),
            "sd_gap_days": gaps.std(),
            "longest_gap_days": gaps.max(),
            "margin_amount": margin.sum(),
            "mean_order_amount": margin.mean() / MARGIN_OF_SPEND,
            "last_order_amount": margin.last() / MARGIN_OF_SPEND,
            "first_order_amount": margin.first() / MARGIN_OF_SPEND,
        }
    ).astype(float)
    for name, width in (("28d", 28), ("91d", 91), ("365d", 365)):
        recent = past[past["day"] > cutoff - width].groupby("account_id")["margin"]
        known[f"n_orders_{name}"] = recent.size().reindex(known.index, fill_value=0).astype(float)
        known[f"margin_{name}"] = recent.sum().reindex(known.index, fill_value=0.0)
    for name in ("amount", "28d", "91d", "365d"):
        known[f"spend_{name}"] = known[f"margin_{name}"] / MARGIN_OF_SPEND
    known = known.assign(n_lines=known["n_orders"], n_products=1.0, first_order_n_lines=1.0, first_order_quantity=1.0)
    known = accounts[["account_id", *TEXT, "n_waiting_lines"]].merge(known.reset_index(), on="account_id")
    known["n_open_lines"] = known["n_waiting_lines"]
    plain = [name for name in NUMERIC if name not in known]
    return known.assign(**dict.fromkeys(plain, np.nan))


def _with_next(known: pd.DataFrame, orders: pd.DataFrame, cutoff: int, horizon_days: int) -> pd.DataFrame:
    window = orders[(orders["day"] > cutoff) & (orders["day"] <= cutoff + horizon_days)]
    margin = window.groupby("account_id")["margin"]
    sums = pd.DataFrame({"next_n_orders": margin.size(), "next_margin": margin.sum()})
    sums = sums.reindex(known["account_id"], fill_value=0.0).reset_index(drop=True).astype(float)
    return known.join(sums).assign(next_amount=sums["next_margin"] / MARGIN_OF_SPEND, horizon_days=horizon_days)


def _later(accounts: pd.DataFrame, orders: pd.DataFrame, n_days: int) -> pd.DataFrame:
    """What came in the year after T, and what was to be expected: each day an account stays, and orders, by chance."""
    days, p_order = VALUE_HORIZON_DAYS, accounts["p_order"]
    stays = np.exp(-1 / accounts["mean_life"])
    quiet = stays * (1 - p_order)  # stays for a day and does not order
    is_active = accounts["life_days"] >= n_days - accounts["first_day"]
    n_orders = p_order * stays * (1 - stays**days) / (1 - stays)
    no_order = (1 - stays) * (1 - quiet**days) / (1 - quiet) + quiet**days
    true = accounts.assign(true_orders=n_orders.where(is_active, 0.0), true_no_order=no_order.where(is_active, 1.0))
    true["true_margin"] = true["true_orders"] * true["mean_margin"]
    return _with_next(true, orders, n_days, days).set_index("account_id")
