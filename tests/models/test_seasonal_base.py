"""A customer base with a season: learned in seasonal days, asked in them, and kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models import beta_geometric, pareto
from models.account_panel import base_of
from models.customer_base import CustomerBase, expect
from models.season import NO_SEASON, learn, repeats_by_day
from tests.models.test_season import TODAY, WAVE, known, lived, newest


@pytest.fixture(scope="module")
def seasonal():
    orders = lived(1500, 900, WAVE, seed=8)
    samples = known(orders, 900, np.linspace(14, 900, 12).astype(int))
    gaps = (samples["tenure_days"] - samples["recency_days"]) / (samples["n_orders"] - 1).where(samples["n_orders"] > 1)
    samples = samples.assign(margin_amount=10.0 * samples["n_orders"], mean_gap_days=gaps)
    accounts = newest(samples)
    came = orders[:, 901 : 901 + 91].sum(axis=1)[accounts["account_id"].astype(int)]
    return base_of(accounts, repeats_by_day(samples)), accounts, came


def test_a_book_with_a_season_is_learned_and_asked_in_seasonal_days(seasonal):
    base, accounts, came = seasonal
    histories = base.season.histories(accounts)
    assert base.season != NO_SEASON
    assert base.processes == (pareto.fit(histories), beta_geometric.fit(histories))
    found = expect(base, accounts, 91.0)
    assert found["expected_orders"].sum() == pytest.approx(came.sum(), rel=0.15)
    ahead = base.season.horizon(accounts, 91.0)
    silent = [process.p_no_order(histories, ahead) for process in base.processes]
    assert found["p_no_order"].to_numpy() == pytest.approx(np.mean(silent, axis=0))
    year = expect(base, accounts, 365.0)["expected_orders"]
    assert found["expected_orders_365d"].to_numpy()[year > 0.02] == pytest.approx(year[year > 0.02])


def test_the_last_days_are_told_against_the_rhythm_of_their_season(seasonal):
    base, accounts, _ = seasonal
    found = expect(base, accounts, 91.0)
    for days in (28, 91):
        past = TODAY - pd.to_timedelta(np.arange(days), unit="D")
        passed = np.array(base.season.pace)[past.month - 1].sum()
        old = (accounts["tenure_days"] >= days).to_numpy()
        expected = (accounts[f"n_orders_{days}d"] / (found["order_rate_per_day"] * passed))[old]
        assert found[f"pace_{days}d"][old].to_numpy() == pytest.approx(expected.to_numpy())


def test_a_season_survives_the_file_of_its_customer_base(seasonal):
    base = seasonal[0]
    assert CustomerBase.from_json(base.to_json()) == base


def test_months_in_which_a_shop_is_closed_hardly_pass():
    starts = pd.date_range("2022-01-01", periods=36, freq="MS")
    is_open = ~starts.month.isin(range(4, 10))
    tracked = pd.DataFrame(
        {
            "from_on": starts,
            "to_on": starts + pd.offsets.MonthBegin(1),
            "n_orders": 200.0 * is_open,
            "n_expected": 100.0,
        }
    )
    pace = np.array(learn(tracked).pace)
    assert pace[3:9].max() < 0.15
    assert pace[[0, 1, 2, 9, 10, 11]].min() > 1.7
