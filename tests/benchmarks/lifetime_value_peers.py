"""Other ways to foresee what a customer will order and spend: `way(log, origin, horizon_days)` -> one row per customer.

Columns: customer_id, expected_orders, expected_spend, p_no_order (no order within the horizon); NaN where a way has no
answer. All see `order_days(log, origin)` and nothing else.

lifetimes 0.11.3 runs unchanged under numpy 2.4 and pandas 3.1 when it is given the histories: with these fitters the
golden parameters come out (BG/NBD of the CDNOW sample r .243, alpha 4.414, a .793, b 2.426; Pareto/NBD r .553, alpha
10.58, s .606, beta 11.67; Gamma-Gamma p 6.25, q 3.74, v 15.44). Time is in weeks, in which its start values find them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from types import ModuleType

import numpy as np
import pandas as pd

from models.beta_geometric import BetaGeometric
from models.order_histories import Histories
from models.pareto import ParetoNBD
from tests.benchmarks.lifetime_value_data import Log, actual, order_days

Way = Callable[[Log, date, int], pd.DataFrame]
WEEK = 7.0  # days
WINDOWS_DAYS = (30, 60, 90, 180)
# The booster's rolling cut-offs. Among shares of the history to watch outcomes in (a quarter to a half), steps between
# cut-offs, and losses for spend, these serve it best at the reported cut-offs themselves: chosen in its favour.
FIRST_CUTOFF_DAYS, EVERY_DAYS = 28, 28
WATCHED_SHARE = 1 / 3
DEFAULTS = {"verbosity": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 0}


def histories(log: Log, origin: date) -> pd.DataFrame:
    """One row per customer: frequency (orders after the first), recency and age (weeks), mean_amount of those orders.

    Orders for which nothing was paid in the end are orders, but no amounts.
    """
    days = order_days(log, origin)
    by_customer = days.groupby("customer_id")["day"]
    first, last = by_customer.min(), by_customer.max()
    is_repeat = (days["day"] > days["customer_id"].map(first)) & (days["amount"] > 0)
    paid = days[is_repeat].groupby("customer_id")["amount"]
    return pd.DataFrame(
        {
            "frequency": by_customer.size() - 1.0,
            "recency": (last - first).dt.days / WEEK,
            "age": (pd.Timestamp(origin) - first).dt.days / WEEK,
            "n_amounts": paid.size().reindex(first.index, fill_value=0).astype(float),
            "mean_amount": paid.mean().reindex(first.index, fill_value=0.0),
        }
    )


def beta_geometric(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """BG/NBD and Gamma-Gamma of lifetimes; it has no chance of an order, only that of being alive."""
    past = histories(log, origin)
    orders, _ = _beta_geometric(past, horizon_days)
    return _answer(past, orders, orders * _mean_amount(past))


def beta_geometric_alive(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """P(alive) of BG/NBD taken for the chance of an order, as is often done."""
    past = histories(log, origin)
    _, is_alive = _beta_geometric(past, horizon_days)
    return _answer(past, p_no_order=1 - is_alive)


def beta_geometric_basket(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """Orders of BG/NBD times the customer's own mean order so far."""
    past = histories(log, origin)
    orders, _ = _beta_geometric(past, horizon_days)
    own = order_days(log, origin).groupby("customer_id")["amount"].mean()
    return _answer(past, orders, orders * own.loc[past.index])


def pareto(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """Pareto/NBD and Gamma-Gamma of lifetimes, with its own chance of no order."""
    past = histories(log, origin)
    weeks = horizon_days / WEEK
    history = (past["frequency"], past["recency"], past["age"])
    with _lifetimes() as lifetimes:
        # Its own start is 1 with a little noise, which would move the last digits from run to run.
        fitter = lifetimes.ParetoNBDFitter().fit(*history, initial_params=np.ones(4))
        orders = fitter.conditional_expected_number_of_purchases_up_to_time(weeks, *history)
        none = fitter.conditional_probability_of_n_purchases_up_to_time(0, weeks, *history)
    same = ParetoNBD(**fitter.params_)
    orders = _filled(orders, same.expected_orders, past, weeks)
    none = _filled(none, same.p_no_order, past, weeks)
    return _answer(past, orders, orders * _mean_amount(past), none)


def historic(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """What was ordered and spent in all since the book's first order goes on, spread over its days."""
    days = order_days(log, origin)
    seen_days = (pd.Timestamp(origin) - days["day"].min()).days + 1
    sums = days.groupby("customer_id").agg(orders=("day", "size"), spend=("amount", "sum")) * horizon_days / seen_days
    return _answer(sums, sums["orders"], sums["spend"])


def idle_days(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """The longer since the last order the less likely one is: days, that rank customers and are no chance."""
    past = histories(log, origin)
    return _answer(past, p_no_order=(past["age"] - past["recency"]) * WEEK)


def booster(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """LightGBM as it comes, on rolling cut-offs of the history: Poisson losses for orders and spend, and P(none).

    Outcomes are watched for the horizon asked or, where the history is too short, for a third of it; counts and money
    are then scaled to the horizon, and the chance of none with them.
    """
    import lightgbm as lgb

    days = order_days(log, origin)
    seen_days = (pd.Timestamp(origin) - days["day"].min()).days
    watched = int(min(horizon_days, WATCHED_SHARE * seen_days))
    ages = range(watched, seen_days - FIRST_CUTOFF_DAYS, EVERY_DAYS)
    rows = pd.concat(_at_cutoff(log, origin, age, watched) for age in ages)
    now = _inputs(days, pd.Timestamp(origin))
    inputs = rows[now.columns]

    def foreseen(objective: str, outcome: pd.Series) -> np.ndarray:
        data = lgb.Dataset(inputs.to_numpy(), outcome.to_numpy())
        return lgb.train(DEFAULTS | {"objective": objective}, data, 100).predict(now.to_numpy())

    scale = horizon_days / watched
    orders = foreseen("poisson", rows["orders"]) * scale
    none = (1 - foreseen("binary", (rows["orders"] > 0) * 1.0)) ** scale
    return _answer(now, orders, foreseen("poisson", rows["spend"]) * scale, none)


def _at_cutoff(log: Log, origin: date, age_days: int, watched_days: int) -> pd.DataFrame:
    """Inputs as of a cut-off so many days before the origin, and what followed, as known at the origin."""
    cutoff = (pd.Timestamp(origin) - pd.Timedelta(days=age_days)).date()
    known = _as_known(log, origin)
    after = actual(known, cutoff, watched_days).set_index("customer_id")
    return _inputs(order_days(known, cutoff), pd.Timestamp(cutoff)).join(after)


def _as_known(log: Log, origin: date) -> Log:
    end = pd.Timestamp(origin)
    return Log(log.name, log.lines[log.lines["day"] <= end], log.returns[log.returns["returned_on"] <= end])


def _inputs(days: pd.DataFrame, today: pd.Timestamp) -> pd.DataFrame:
    """One row per customer: recency, frequency, spend, rhythm and windows, from one row per customer and day."""
    days = days.assign(age=(today - days["day"]).dt.days.astype(float))
    days["gap"] = days.groupby("customer_id")["age"].diff().abs()
    by_customer = days.groupby("customer_id")
    table = by_customer.agg(
        n_orders=("day", "size"), recency=("age", "min"), tenure=("age", "max"), spent=("amount", "sum"),
        mean_amount=("amount", "mean"), largest=("amount", "max"), last_amount=("amount", "last"),
        first_amount=("amount", "first"), mean_gap=("gap", "mean"), last_gap=("gap", "last"),
    )  # fmt: skip
    for window in WINDOWS_DAYS:
        recent = days[days["age"] < window].groupby("customer_id")["amount"]
        table[f"orders_{window}d"] = recent.size().reindex(table.index, fill_value=0)
        table[f"spend_{window}d"] = recent.sum().reindex(table.index, fill_value=0.0)
    tenure = np.maximum(table["tenure"], 1.0)
    return table.assign(
        order_rate=table["n_orders"] / tenure, spend_rate=table["spent"] / tenure, idle=table["recency"] / tenure
    ).astype(float)


def _beta_geometric(past: pd.DataFrame, horizon_days: int) -> tuple[np.ndarray, np.ndarray]:
    """Expected orders and P(alive)."""
    history = (past["frequency"], past["recency"], past["age"])
    with _lifetimes() as lifetimes:
        fitter = lifetimes.BetaGeoFitter().fit(*history)
        orders = fitter.conditional_expected_number_of_purchases_up_to_time(horizon_days / WEEK, *history)
        is_alive = np.asarray(fitter.conditional_probability_alive(*history))
    same = BetaGeometric(**fitter.params_)
    return _filled(orders, same.expected_orders, past, horizon_days / WEEK), is_alive


def _filled(
    said: pd.Series | np.ndarray, formula: Callable[..., np.ndarray], past: pd.DataFrame, weeks: float
) -> np.ndarray:
    """What lifetimes said; where its numbers overflow, 9 of 2,393 households, the same model under its parameters."""
    values = np.array(said, dtype=float)
    lost = past[~np.isfinite(values)]
    if len(lost):
        values[~np.isfinite(values)] = formula(Histories.of(lost["frequency"], lost["recency"], lost["age"]), weeks)
    return values


def _mean_amount(past: pd.DataFrame) -> pd.Series:
    """Gamma-Gamma's expected amount of an order."""
    paid = past[past["n_amounts"] > 0]
    with _lifetimes() as lifetimes:
        fitter = lifetimes.GammaGammaFitter().fit(paid["n_amounts"], paid["mean_amount"])
        return fitter.conditional_expected_average_profit(past["n_amounts"], past["mean_amount"])


@contextmanager
def _lifetimes() -> Iterator[ModuleType]:
    """The package; its warnings (an option of pandas that is gone, overflow) are no errors while it is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = import_module("lifetimes")
        warnings.simplefilter("ignore")  # on its first import it sets filters of its own
        yield package


def _answer(
    past: pd.DataFrame,
    orders: pd.Series | np.ndarray | float = np.nan,
    spend: pd.Series | np.ndarray | float = np.nan,
    p_no_order: pd.Series | np.ndarray | float = np.nan,
) -> pd.DataFrame:
    said = {"expected_orders": orders, "expected_spend": spend, "p_no_order": p_no_order}
    return pd.DataFrame(said, index=past.index.rename("customer_id"), dtype=float).reset_index()


OURS, PARETO, BETA_GEOMETRIC = "ours", "Pareto/NBD + Gamma-Gamma", "BG/NBD + Gamma-Gamma"
PEERS: Mapping[str, Way] = {
    PARETO: pareto,
    BETA_GEOMETRIC: beta_geometric,
    "LightGBM, untuned": booster,
    "BG/NBD x basket": beta_geometric_basket,
    "historic spend": historic,
    "BG/NBD's P(alive)": beta_geometric_alive,
    "idle days": idle_days,
}
