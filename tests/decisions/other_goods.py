"""Goods that lie elsewhere, for the tests of the advice: every column with a plain default."""

from typing import Any

import numpy as np
import pandas as pd

from decisions.alternatives import Waits
from decisions.cost_of_waiting import cost_of_waiting
from models.arrival import InboundForecast
from tests.decisions.open_lines import inbound_lines, open_lines, surely_on_day, wanted_at_daily_hazard

TEXTS = ("product_id", "warehouse_id", "from_product_id", "from_warehouse_id")


def goods_elsewhere(n_rows: int, **columns: Any) -> pd.DataFrame:
    """10 units of product p in warehouse x, which nobody there wants, for the lines in w; `columns` replace that."""
    usual = {
        "product_id": "p",
        "warehouse_id": "w",
        "from_product_id": "p",
        "from_warehouse_id": "x",
        "available_now": 10.0,
        "units_due_later": 0.0,
        "units_per_day": 0.0,
        "units_per_line": 1.0,
        "from_list_price": 100.0,
        "from_unit_cost": 60.0,
        "from_quantity_step": 1.0,
    }
    return pd.DataFrame(usual | columns, index=range(n_rows)).astype(dict.fromkeys(TEXTS, "str"))


def pools_given(protected: float = 0.0, **given: float) -> pd.DataFrame:
    """What pools of product p give today, by warehouse, and what each keeps for demand yet to come."""
    units = {"given": list(given.values()), "protected": protected}
    return pd.DataFrame({"product_id": "p", "warehouse_id": list(given), **units}).astype(dict.fromkeys(units, float))


def nothing_foreseen(n_days: int = 180, fresh_days: int = 30, product_id: str = "p") -> InboundForecast:
    """Nothing on order; what is ordered today comes to that product's pool in w on one day for sure."""
    fresh = (np.arange(n_days + 1) < fresh_days)[None, :].astype(float)
    pool = pd.DataFrame({"product_id": [product_id], "warehouse_id": ["w"]})
    none = inbound_lines(0)
    source = np.array(["fresh lead time"], dtype=object)
    return InboundForecast(none, np.zeros((0, n_days + 1)), pool, fresh, source)


def waiting_lines(n_lines, policy, days=10, hazard=0.03, **columns):
    """Lines that wait for goods that surely come some days on, their W, and what their waits are made of."""
    usual = {"ship_now_quantity": 0.0, "price_ratio": 1.0, "line_margin": 40.0}
    lines = open_lines(n_lines, **(usual | columns))
    survival = wanted_at_daily_hazard(*[hazard] * n_lines)
    costs = cost_of_waiting(lines, survival, surely_on_day(*[days] * n_lines), 0.35, policy)
    lines = lines.assign(loss_if_waits=costs["loss_if_waits"])
    return lines, Waits(survival, costs["future_share"].to_numpy(), 0.35)
