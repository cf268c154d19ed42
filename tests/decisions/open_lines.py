"""Open lines for the decision tests: every column with a plain default, so that a test names only what it is about."""

from typing import Any

import numpy as np
import pandas as pd

from decisions.loss_of_choice import LossOfChoice
from models.arrival import InboundForecast

DUE = np.datetime64("2026-01-05", "s")
TODAY = np.datetime64("2026-01-15", "s")
NO_DAY = np.datetime64("NaT", "s")

DEFAULTS: dict[str, Any] = {
    "customer_id": "c",
    "account_id": "c",
    "product_id": "p",
    "warehouse_id": "w",
    "ship_group": None,
    "group_waits_elsewhere": False,
    "customer_reference": None,
    "customer_name": None,
    "product_name": None,
    "owner": None,
    "segment": None,
    "credit_hold": False,
    "soft_reserved_quantity": 0.0,
    "rule": None,
    "contact_allowed": True,
    "is_discontinued": False,
    "cutoff_on": TODAY,
    "ordered_at": np.datetime64("2026-01-05T10:00:00", "us"),
    "due_on": DUE,
    "requested_on": NO_DAY,
    "promised_on": NO_DAY,
    "latest_promised_on": NO_DAY,
    "promise_told_on": NO_DAY,
    "waited_days": 10,
    "days_late": np.nan,
    "open_quantity": 1.0,
    "price_ratio": 1.0,
    "quantity_step": 1.0,
    "may_split": False,
    "line_value": 100.0,
    "line_margin": 40.0,
    "paid_share": 1.0,
    "lifetime_value": 0.0,
    "lifetime_value_low": 0.0,
    "lifetime_value_high": np.nan,
    "p_no_order_365d": 0.2,
    "loss_if_waits": 10.0,
    "override": None,
    "override_quantity": np.nan,
    "override_who": None,
    "override_why": None,
    "override_until_on": None,
    "override_cost": np.nan,
    "override_n_lines": 0,
    "assumed": None,
    "alternative": None,
    "alternative_said": "",
    "advice_quantity": np.nan,
    "advice_product_id": None,
    "advice_warehouse_id": None,
    "advice_gain": np.nan,
}


def open_lines(n_lines: int, **columns: Any) -> pd.DataFrame:
    """`n_lines` lines L0, L1, ... of their own orders and roots; `columns` replace the defaults."""
    ids = [f"L{i}" for i in range(n_lines)]
    values = {"order_line_id": ids, "order_id": ids, "root_id": ids, "root_order_id": ids, **DEFAULTS, **columns}
    return pd.DataFrame(values, index=range(n_lines))


def pools(*goods: float) -> pd.DataFrame:
    """Goods of product p, p1, p2, ... in warehouse w."""
    names = ["p", *(f"p{i}" for i in range(1, len(goods)))]
    return pd.DataFrame({"product_id": names, "warehouse_id": "w", "available_now": np.array(goods, dtype=float)})


def wanted_at_daily_hazard(*hazards: float, n_days: int = 180) -> np.ndarray:
    """Survival curves with a constant chance of cancelling each day."""
    return (1 - np.array(hazards))[:, None] ** np.arange(n_days + 1)


def surely_on_day(*days: int, n_days: int = 180) -> np.ndarray:
    """Arrivals that are certain; n_days + 1 stands for never."""
    arrival = np.zeros((len(days), n_days + 2))
    arrival[np.arange(len(days)), days] = 1
    return arrival


def inbound_lines(n_lines: int, **columns: Any) -> pd.DataFrame:
    """Latest dates of `n_lines` inbound lines PO0, PO1, ... of 10 units for everyone in the pool, due in a week."""
    usual = {
        "po_line_id": [f"PO{i}" for i in range(n_lines)],
        "supplier_id": "s",
        "product_id": "p",
        "warehouse_id": "w",
        "for_order_line_id": None,
        "kind": "bought",
        "told_on": DUE,
        "expected_on": TODAY + np.timedelta64(7, "D"),
        "ordered_on": DUE,
        "received_on": NO_DAY,
        "part_quantity": np.nan,
        "first_received_on": NO_DAY,
        "quantity": 10.0,
        "received_quantity": 0.0,
        "is_latest": True,
    }
    texts = ("po_line_id", "supplier_id", "product_id", "warehouse_id", "for_order_line_id", "kind")
    return pd.DataFrame(usual | columns, index=range(n_lines)).astype(dict.fromkeys(texts, "str"))


def foreseen(inbound: pd.DataFrame, log_not_come: np.ndarray) -> InboundForecast:
    """Forecast of these inbound lines and of one pool, p in w, whose goods come in 30 days if ordered today."""
    pool = pd.DataFrame({"product_id": ["p"], "warehouse_id": ["w"]})
    fresh = (np.arange(log_not_come.shape[1]) < 30)[None, :].astype(float)
    return InboundForecast(inbound, log_not_come, pool, fresh, np.array(["fresh lead time"], dtype=object))


def comes_surely_on_day(*days: int, n_days: int = 180) -> np.ndarray:
    """Logs of the chance that each inbound line has not come; a day beyond n_days is never."""
    with np.errstate(divide="ignore"):
        return np.log((np.arange(n_days + 1) < np.array(days, dtype=int)[:, None]).astype(float))


def at_prices(lines, goods):
    """Lines that lose their loss_if_waits if they get nothing now, whatever others get: no later goods are planned."""
    ids = list(zip(goods["product_id"], goods["warehouse_id"], strict=True))
    pool = np.array([ids.index(of) for of in zip(lines["product_id"], lines["warehouse_id"], strict=True)], np.int64)
    none = np.zeros((len(lines), 0))
    quantity, loss = (lines[name].to_numpy(np.float64) for name in ("open_quantity", "loss_if_waits"))
    return LossOfChoice(pool, quantity, none, none, loss, goods[["available_now"]].to_numpy(np.float64))
