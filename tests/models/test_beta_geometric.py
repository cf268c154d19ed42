import numpy as np
import pytest
from scipy.special import gammaln, hyp2f1, roots_genlaguerre, roots_jacobi

from models.beta_geometric import BetaGeometric, fit
from models.order_histories import Histories
from tests.models.simulated_buyers import cdnow


def test_published_parameters_are_found_on_the_cdnow_sample() -> None:
    # Fader, Hardie & Lee (2005), table 1.
    table = cdnow("cdnow_customers_summary.csv")
    h = Histories.of(table["frequency"], table["recency"], table["T"])
    assert h.n_accounts == 2357
    found = fit(h)
    assert [round(value, 3) for value in vars(found).values()] == [0.243, 4.414, 0.793, 2.426]
    assert found.log_likelihood(h).sum() == pytest.approx(-9582.4, abs=0.05)


def test_likelihoods_of_all_histories_sum_to_one() -> None:
    model, age = BetaGeometric(0.7, 5.0, 0.8, 2.5), 3.0
    nodes, weights = np.polynomial.legendre.leggauss(60)
    last, width = age * (0.5 + 0.5 * nodes), 0.5 * age * weights
    total = np.exp(model.log_likelihood(Histories.of([0], [0], [age])))[0]
    for x in range(1, 60):
        h = Histories.of(np.full(60, x), last, np.full(60, age))
        # The x - 1 orders before the last may lie anywhere before it.
        total += width @ np.exp(model.log_likelihood(h) + (x - 1) * np.log(last) - gammaln(x))
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("x", "last"), [(0, 0.0), (1, 12.0), (4, 25.0)])
@pytest.mark.parametrize("days", [5.0, 40.0])
def test_forecasts_equal_integrals_over_rate_and_chance_of_leaving(x: int, last: float, days: float) -> None:
    model, age = BetaGeometric(1.3, 20.0, 1.7, 2.2), 30.0
    rate, rate_weights = roots_genlaguerre(100, model.r - 1)
    rate, rate_weights = (rate / model.alpha)[:, None], rate_weights[:, None]
    node, chance_weights = roots_jacobi(100, model.b - 1, model.a - 1)
    p, weights = (0.5 + 0.5 * node)[None, :], rate_weights * chance_weights
    active = (1 - p) ** x * rate**x * np.exp(-rate * age)
    left = p * (1 - p) ** (x - 1) * rate**x * np.exp(-rate * last) if x else 0.0 * active
    seen = (weights * (active + left)).sum()
    h = Histories.of([x], [last], [age])
    assert model.p_alive(h)[0] == pytest.approx((weights * active).sum() / seen, rel=1e-8)
    silent = (weights * (active * np.exp(-rate * days) + left)).sum() / seen
    assert model.p_no_order(h, days)[0] == pytest.approx(silent, rel=1e-8)
    orders = (weights * active * (1 - np.exp(-rate * p * days)) / p).sum() / seen
    assert model.expected_orders(h, days)[0] == pytest.approx(orders, rel=1e-8)


def test_expected_orders_equal_equation_10_where_it_can_be_reckoned() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        r, a, b = np.exp(rng.uniform(-2, 1.5, 3))
        x, age, days = float(rng.choice([0, 1, 2, 10, 50])), rng.uniform(1, 50), rng.uniform(1, 50)
        if min(abs(a - 1), abs(a + b + x - 1)) < 0.01:
            continue  # 0 / 0 in the published form
        model, h = BetaGeometric(r, 7.0, a, b), Histories.of([x], [age * (x > 0) * 0.8], [age])
        z = days / (7.0 + age + days)
        series = hyp2f1(r + x, b + x, a + b + x - 1, z) * (1 - z) ** (r + x)
        published = (a + b + x - 1) / (a - 1) * (1 - series) * model.p_alive(h)[0]
        assert model.expected_orders(h, days)[0] == pytest.approx(published, rel=1e-6)


@pytest.mark.parametrize("x", [0, 1, 200, 30_000])
def test_expected_orders_pass_smoothly_through_a_equal_to_one(x: int) -> None:
    h = Histories.of([x], [60.0 * (x > 0)], [60.0])
    below, at, above = (BetaGeometric(0.5, 8.0, a, 2.0).expected_orders(h, 365.0)[0] for a in (1 - 1e-4, 1.0, 1 + 1e-4))
    assert below > at > above
    assert (below + above) / 2 == pytest.approx(at, rel=1e-7)


def test_hardly_anybody_leaving_is_the_negative_binomial() -> None:
    h = Histories.of([0, 3, 30_000], [0, 10, 7305], [50, 50, 7305])
    model = BetaGeometric(0.8, 12.0, 1e-6, 1e6)  # one in 10^12 orders
    assert model.expected_orders(h, 90.0) == pytest.approx((0.8 + h.n_repeats) * 90 / (12.0 + h.age_days), rel=1e-5)


def test_nobody_has_left_before_a_repeat_order() -> None:
    model, h = BetaGeometric(0.3, 5.0, 0.8, 2.0), Histories.of(np.zeros(3), np.zeros(3), [0.0, 40.0, 7305.0])
    assert (model.p_alive(h) == 1).all()
    assert (model.p_no_order(h, 30.0)[1:] > 0.8).all()
