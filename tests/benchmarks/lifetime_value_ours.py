"""This project's customer models as the benchmark asks them: through the tables, features and panel of a run."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd

from features.feature_tables import build
from features.samples import account_samples
from models import lifetime_value, next_order
from models.account_panel import with_expectations
from tests.benchmarks.lifetime_value_data import facts_on


def ours(folder: Path, origin: date, horizon_days: int) -> pd.DataFrame:
    """Foresee every customer known at the origin, from the tables that `lifetime_value_data.company` wrote.

    Returns
    -------
    customer_id, expected_orders, expected_spend, p_no_order, spend_low, spend_high, orders_low, orders_high
    """
    with facts_on(folder, origin) as facts:
        panel = with_expectations(account_samples(facts, horizon_days))
        with facts.connect() as connection:
            accounts = build(connection, facts, facts.as_of, "accounts")
    value, orders = lifetime_value.fit(panel), next_order.fit(panel)
    low, high = lifetime_value.predict_interval(value, accounts, horizon_days)
    foretold = next_order.predict_orders(orders, accounts, horizon_days)
    return foretold.assign(
        customer_id=accounts["account_id"],
        expected_spend=lifetime_value.predict(value, accounts, horizon_days),
        p_no_order=next_order.predict(orders, accounts, horizon_days),
        spend_low=low,
        spend_high=high,
    )
