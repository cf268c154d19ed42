from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from models import beta_geometric, customer_base, pareto
from models.beta_geometric import BetaGeometric
from models.customer_base import CustomerBase, expect, fit, is_enough
from models.gamma_gamma import GammaGamma
from models.order_histories import Histories
from models.pareto import ParetoNBD
from tests.models.simulated_buyers import watched

PARETO = ParetoNBD(r=0.6, alpha=60.0, s=0.7, beta=150.0)
BASE = CustomerBase((PARETO,), GammaGamma(p=6.25, q=3.74, gamma=15.44))


def accounts(n_orders, tenure, recency, margin=100.0):
    columns = {"n_orders": n_orders, "tenure_days": tenure, "recency_days": recency, "margin_amount": margin}
    found = pd.DataFrame(columns, index=np.arange(len(n_orders)) + 7).astype(float)
    gap = (found["tenure_days"] - found["recency_days"]) / (found["n_orders"] - 1).where(found["n_orders"] > 1)
    # As if orders came evenly, the last days alike: what they are changes no expectation, only what stands beside it.
    recent = {f"n_orders_{days}d": np.minimum(found["n_orders"], days / gap.fillna(1e9)) for days in (28, 91)}
    return found.assign(mean_gap_days=gap, cutoff_on=pd.Timestamp("2024-03-15"), **recent)


def lived(process, n_accounts=2000, seed=1):
    """Accounts whose rhythm is that of the process, watched for up to two years; each order brings about 20."""
    draw = np.random.default_rng(seed)
    histories, _ = watched(process, draw.integers(100, 730, n_accounts).astype(float), 1.0, seed)
    n_orders = histories.n_repeats + 1
    margin = n_orders * draw.lognormal(3, 0.4, n_accounts)
    return accounts(n_orders, histories.age_days.round(), (histories.age_days - histories.last_days).round(), margin)


@pytest.fixture(scope="module")
def base():
    return fit(lived(PARETO))


def test_an_account_is_expected_to_do_what_its_history_makes_likely():
    # 3 orders, the first 100 days ago and the last 30: 2 repeats, the last at 70 of 100 days.
    row = expect(BASE, accounts([3.0], [100.0], [30.0], [120.0]), 50.0).iloc[0]
    history = Histories.of([2.0], [70.0], [100.0])
    assert row["expected_orders"] == pytest.approx(PARETO.expected_orders(history, 50.0)[0])
    assert row["p_no_order"] == pytest.approx(PARETO.p_no_order(history, 50.0)[0])
    assert row["expected_orders_365d"] == pytest.approx(PARETO.expected_orders(history, 365.0)[0])
    assert row["order_rate_per_day"] == pytest.approx((0.6 + 2) / (60 + 100))
    # Gamma-Gamma, 3 orders of 40 on average: 6.25 (15.44 + 120) / (6.25 x 3 + 2.74) = 39.39
    assert row["expected_order_margin"] == pytest.approx(39.39, abs=0.005)


def test_the_last_days_are_told_against_the_rhythm():
    # 5 orders in 100 days, the last 10 days ago, so a gap of 22.5 days; 3 of them in the last 28 days, all in 91.
    own = accounts([5.0, 1.0], [100.0, 14.0], [10.0, 14.0]).assign(n_orders_28d=[3.0, 1.0], n_orders_91d=[5.0, 1.0])
    row, once = (row for _, row in expect(BASE, own, 50.0).iterrows())
    rate = (0.6 + 4) / (60 + 100)
    assert row["pace_28d"] == pytest.approx(3 / (28 * rate))
    assert row["pace_91d"] == pytest.approx(5 / (91 * rate))
    assert row["orders_missed"] == pytest.approx(10 * rate)
    assert row["gaps_silent"] == pytest.approx(10 / 22.5)
    assert row["silent_share"] == pytest.approx(0.1)
    # One order 14 days ago: known for 15 days with today, and no gap to go by.
    assert once["pace_28d"] == pytest.approx(1 / (15 * 0.6 / (60 + 14)))
    assert np.isnan(once["gaps_silent"])
    assert once["silent_share"] == 1


def test_the_orders_expected_are_a_sum_over_all_rates_and_lifetimes():
    # Of a new account: rate r / alpha times the expected days it stays of 50, each day's chance integrated over mu.
    stays = quad(lambda day: (PARETO.beta / (PARETO.beta + day)) ** PARETO.s, 0, 50)[0]
    found = expect(BASE, accounts([1.0], [0.0], [0.0]), 50.0)["expected_orders"].iloc[0]
    assert found == pytest.approx(0.6 / 60 * stays)


def test_two_processes_answer_with_their_mean(base):
    book = lived(PARETO, 50, seed=4)
    both = expect(base, book, 90.0)
    alone = [expect(replace(base, processes=(process,)), book, 90.0) for process in base.processes]
    assert [type(process) for process in base.processes] == [ParetoNBD, BetaGeometric]
    is_above = np.minimum(*(table["expected_orders"] for table in alone)) > customer_base.LEAST_ORDERS
    assert is_above.sum() > 30
    for name in ("expected_orders", "p_no_order", "p_alive", "order_rate_per_day", "expected_orders_365d"):
        one, other, mean = (table.loc[is_above, name] for table in (*alone, both))
        assert not np.allclose(one, other, rtol=1e-3)
        np.testing.assert_allclose(mean, (one + other) / 2, rtol=1e-12)


@pytest.mark.parametrize("process", [PARETO, BetaGeometric(r=0.6, alpha=60.0, a=0.8, b=2.5)])
def test_each_process_is_the_one_that_makes_the_histories_likeliest(process):
    book = lived(process)
    last = book["tenure_days"] - book["recency_days"]
    histories = Histories.of(book["n_orders"] - 1, last, book["tenure_days"])
    for learned, of_its_kind in zip(fit(book).processes, (pareto.fit, beta_geometric.fit), strict=True):
        likeliest = of_its_kind(histories).log_likelihood(histories).sum()
        assert learned.log_likelihood(histories).sum() == pytest.approx(likeliest)


def test_the_level_of_a_book_that_lives_by_the_model_is_found(base):
    histories, later = watched(PARETO, np.random.default_rng(5).integers(100, 730, 4000).astype(float), 200.0, 8)
    book = accounts(histories.n_repeats + 1, histories.age_days, histories.age_days - histories.last_days)
    foretold = expect(base, book, 200.0)
    assert foretold["expected_orders"].sum() == pytest.approx(later.sum(), rel=0.1)
    assert foretold["p_no_order"].mean() == pytest.approx((later == 0).mean(), abs=0.03)


def test_a_longer_horizon_never_lowers_orders_nor_raises_the_chance_of_none(base):
    book = lived(PARETO, 300, seed=4)
    tables = [expect(base, book, days) for days in (0.0, 1.0, 30.0, 365.0, 3650.0)]
    orders, silent = (np.array([table[name] for table in tables]) for name in ("expected_orders", "p_no_order"))
    assert (np.diff(orders, axis=0) >= 0).all()
    assert (np.diff(silent, axis=0) <= 0).all()
    assert (silent[0] == 1).all()
    assert (orders >= 1 - silent - 1e-9).all()  # at least one order in each case that is not silent


def test_a_horizon_for_each_row_is_each_rows_own(base):
    book, days = lived(PARETO, 20, seed=4), np.arange(20) * 13.0
    together = expect(base, book, days)
    alone = pd.concat([expect(base, book.iloc[[place]], float(days[place])) for place in range(20)])
    pd.testing.assert_frame_equal(together, alone)


def test_the_strangest_histories_have_finite_expectations_above_nought(base):
    n_orders, tenure = [1.0, 30_000.0, 30_000.0, 1.0, 900.0, 2.0], [0.0, 30_000.0, 30_000.0, 9e4, 2000.0, 1.0]
    strange = accounts(n_orders, tenure, [0.0, 0.0, 1.0, 9e4, 1100.0, 0.0])
    for days in (0.0, 365.0, 1e5):
        found = expect(base, strange, days)
        assert np.isfinite(found.drop(columns="gaps_silent")).all(axis=None)
        assert (found[["expected_orders", "expected_order_margin"]] > 0).all(axis=None)
        assert found["p_no_order"].between(0, 1).all()
    assert expect(base, strange, 365.0)["expected_orders"].iloc[1] == pytest.approx(365, rel=0.05)


def test_a_regular_gone_silent_for_years_keeps_a_little_hope(base):
    gone = accounts([900.0], [2000.0], [1100.0])
    assert expect(base, gone, 365.0)["expected_orders"].iloc[0] == customer_base.LEAST_ORDERS


def test_an_account_that_lost_money_leans_on_everybodys_margin_as_one_that_earned_nothing(base):
    lost, nothing, one = expect(base, accounts([5.0] * 3, [90.0] * 3, [9.0] * 3, [-1e9, 0.0, 5.0]), 365.0)[
        "expected_order_margin"
    ]
    assert lost == nothing
    assert 0 < nothing < one


def test_a_book_that_never_earned_anything_is_worth_next_to_nothing():
    book = lived(PARETO, 100).assign(margin_amount=-3.0)
    learned = fit(book)
    assert learned.margin is None
    assert (expect(learned, book, 365.0)["expected_order_margin"] == customer_base.LEAST_MARGIN_SHARE).all()


@pytest.mark.parametrize(
    "base", [BASE, CustomerBase((PARETO, BetaGeometric(r=0.3, alpha=8.0, a=0.7, b=2.0)), None)], ids=["one", "both"]
)
def test_saved_parameters_are_the_same_again(base):
    again = CustomerBase.from_json(base.to_json())
    assert asdict(again) == asdict(base)
    assert [type(process) for process in again.processes] == [type(process) for process in base.processes]


@pytest.mark.parametrize(
    ("n", "n_repeaters", "enough"), [(29, 20, False), (30, 10, True), (30, 9, False), (0, 0, False)]
)
def test_a_rhythm_takes_thirty_accounts_of_which_ten_ordered_again(n, n_repeaters, enough):
    book = accounts([2.0] * n_repeaters + [1.0] * (n - n_repeaters), [50.0] * n, [50.0] * n)
    assert is_enough(book) is enough


def test_the_order_of_accounts_does_not_matter(base):
    mixed = fit(lived(PARETO).sample(frac=1, random_state=2))
    for one, other in zip(mixed.processes, base.processes, strict=True):
        assert asdict(one) == pytest.approx(asdict(other), rel=1e-4)
    assert asdict(mixed.margin) == pytest.approx(asdict(base.margin), rel=1e-4)
