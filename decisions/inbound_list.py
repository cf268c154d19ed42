"""The inbound list: one row per inbound line that owes goods, with its dates and the money waiting on it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.fulfilment_queue import RunFacts
from decisions.inbound_columns import INBOUND_COLUMNS
from decisions.policy import Policy
from decisions.waiting_goods import shares_of_inbound, waiting_units
from models.arrival import InboundForecast, quantile_days, units_owed

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

SOON_DAYS = 14


def inbound_list(
    forecast: InboundForecast,
    inbound_dates: pd.DataFrame,
    disrupted: pd.DataFrame,
    queue: pd.DataFrame,
    run: RunFacts,
    policy: Policy,
    today: pd.Timestamp,
) -> pd.DataFrame:
    """List every inbound line that still owes goods, of all products, in the published columns and order.

    Overdue lines stand first; within the overdue ones and within the rest by falling loss_waiting, then by the date
    told (a line without one last), then by po_line_id.

    The money waiting on a line is what the open order lines lose by waiting that its goods would serve: lines take
    goods in the order of pool_rank, goods in the order of their median arrival, pegged goods for their line alone, and
    a line's money is split by the units that each inbound line brings it. What no inbound line covers stands in no
    row (`inbound_facts` counts it), and so does what an excluded line is worth; held lines wait like others.

    Parameters
    ----------
    inbound_dates : the feature table of that name
    disrupted : supplier_id, idle_days, is_disrupted; suppliers not in it are not disrupted
    queue : the queue in its published columns
    """
    inbound = forecast.lines.assign(open_quantity=units_owed(forecast.lines))
    table = inbound.assign(
        **_dates(forecast, policy, today),
        **_chances(forecast, today),
        **_told(inbound, inbound_dates),
        **_money_waiting(inbound, queue, forecast.in_turn),
        days_overdue=(today - inbound["expected_on"]).dt.days.clip(lower=0).astype("Int64"),
        **_supplier(inbound, disrupted),
        currency=run.currency,
        run_id=run.run_id,
        as_of=run.utc_time,
    )
    published = table[[column.name for column in INBOUND_COLUMNS]].astype({c.name: c.dtype for c in INBOUND_COLUMNS})
    return published.iloc[_overdue_first(published)].reset_index(drop=True)


def inbound_facts(inbound: pd.DataFrame, queue: pd.DataFrame) -> Mapping[str, float]:
    """What the manifest says about the list: its lines, and the money that waits on them and on goods not ordered.

    Parameters
    ----------
    inbound : what `inbound_list` made
    """
    is_overdue = (inbound["days_overdue"] > 0).fillna(False).to_numpy(np.bool_)
    loss = inbound["loss_waiting"].to_numpy(np.float64)
    share_waiting = waiting_units(queue) / queue["open_quantity"].to_numpy(np.float64)
    waits = float((queue["loss_if_waits"].to_numpy(np.float64) * share_waiting).sum())
    return {
        "lines": len(inbound),
        "overdue": int(is_overdue.sum()),
        "loss_waiting": float(loss.sum()),
        "loss_waiting_on_overdue": float(loss[is_overdue].sum()),
        "loss_waiting_on_nothing": round(waits - float(loss.sum()), 6) + 0.0,  # no -0.0 where all is covered
    }


def _overdue_first(inbound: pd.DataFrame) -> npt.NDArray[np.intp]:
    keys = pd.DataFrame(
        {
            "is_in_time": ~(inbound["days_overdue"] > 0).fillna(False).astype(bool),
            "gain": -inbound["loss_waiting"],
            "expected_on": inbound["expected_on"],
            "po_line_id": inbound["po_line_id"],
        }
    ).reset_index(drop=True)
    return keys.sort_values(list(keys.columns), kind="stable", na_position="last").index.to_numpy()


def _dates(forecast: InboundForecast, policy: Policy, today: pd.Timestamp) -> dict[str, pd.Series]:
    n_days = forecast.log_not_come.shape[1] - 1
    dates = {}
    for name, share in (("arrives_on", 0.5), ("arrives_latest_on", policy.promise_quantile)):
        days = pd.Series(quantile_days(forecast.log_not_come, share), index=forecast.lines.index)
        dates[name] = today + pd.to_timedelta(days.where(days <= n_days), unit="D")
    return dates


def _chances(forecast: InboundForecast, today: pd.Timestamp) -> dict[str, Floats]:
    """Chance of being late by the date told, and of coming soon.

    What comes today and tomorrow is foreseen as one, so a line due today is late if it has not come by tomorrow. A
    date beyond the horizon is too far to say.
    """
    log_open = forecast.log_not_come
    n_days = log_open.shape[1] - 1
    days_left = (forecast.lines["expected_on"] - today).dt.days.to_numpy(np.float64, na_value=np.nan)
    is_ahead = (days_left >= 0) & (days_left <= n_days)
    due = np.where(is_ahead, np.maximum(days_left, 1), 0).astype(np.int64)
    not_come = np.exp(log_open[np.arange(len(due)), due])
    return {
        "p_late": np.where(is_ahead, not_come, np.where(days_left < 0, 1.0, np.nan)),
        "p_comes_14d": -np.expm1(log_open[:, min(SOON_DAYS, n_days)]) + 0.0,
    }


def _told(inbound: pd.DataFrame, inbound_dates: pd.DataFrame) -> dict[str, pd.Series]:
    """First date told for each line and how often it was changed: each row tells a date, some of them repeatedly."""
    told = inbound_dates.loc[
        inbound_dates["po_line_id"].isin(inbound["po_line_id"]), ["po_line_id", "told_on", "expected_on"]
    ]
    told = told.drop_duplicates().sort_values(["po_line_id", "told_on", "expected_on"], kind="stable")
    first = told.drop_duplicates("po_line_id").set_index("po_line_id")["expected_on"]
    n_told = told.groupby("po_line_id").size()
    return {
        "first_expected_on": first.reindex(inbound["po_line_id"]).set_axis(inbound.index),
        "n_slips": (n_told - 1).reindex(inbound["po_line_id"]).set_axis(inbound.index),
    }


def _money_waiting(inbound: pd.DataFrame, queue: pd.DataFrame, coming: Codes) -> dict[str, Floats | Codes]:
    shares = shares_of_inbound(queue, inbound, coming)
    part_of_line = shares.units / queue["open_quantity"].to_numpy(np.float64)[shares.line]

    def summed(of_pair: Floats) -> Floats:
        return np.bincount(shares.inbound, of_pair, len(inbound)).astype(np.float64)

    return {
        "n_lines_waiting": np.bincount(shares.inbound, minlength=len(inbound)),
        "units_waiting": summed(shares.units),
        "value_waiting": summed(part_of_line * queue["line_value"].to_numpy(np.float64)[shares.line]),
        "loss_waiting": summed(part_of_line * queue["loss_if_waits"].to_numpy(np.float64)[shares.line]),
    }


def _supplier(inbound: pd.DataFrame, disrupted: pd.DataFrame) -> dict[str, pd.Series]:
    """How the supplier fares; null where nobody knows who it is."""
    of_line = disrupted.set_index("supplier_id").reindex(inbound["supplier_id"]).set_axis(inbound.index)
    is_disrupted = of_line["is_disrupted"].astype("boolean").fillna(False)
    return {
        "supplier_idle_days": of_line["idle_days"].astype("Int64"),
        "is_disrupted": is_disrupted.mask(inbound["supplier_id"].isna()),
    }
