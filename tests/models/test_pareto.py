import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln, hyp2f1, roots_genlaguerre

from models.order_histories import Histories
from models.pareto import ParetoNBD, fit
from tests.models.simulated_buyers import cdnow


def test_published_parameters_are_found_on_the_cdnow_sample() -> None:
    # Fader, Hardie & Lee (2005), table 1, to the last digit but beta's (11.669 there, 11.672 at the maximum).
    table = cdnow("cdnow_customers_summary.csv")
    h = Histories.of(table["frequency"], table["recency"], table["T"])
    found = fit(h)
    assert list(vars(found).values()) == pytest.approx([0.553, 10.578, 0.606, 11.67], rel=1e-3)
    assert found.log_likelihood(h).sum() == pytest.approx(-9595.0, abs=0.05)


def test_likelihoods_of_all_histories_sum_to_one() -> None:
    model, age = ParetoNBD(0.7, 5.0, 0.8, 3.0), 3.0
    nodes, weights = np.polynomial.legendre.leggauss(60)
    last, width = age * (0.5 + 0.5 * nodes), 0.5 * age * weights
    total = np.exp(model.log_likelihood(Histories.of([0], [0], [age])))[0]
    for x in range(1, 60):
        h = Histories.of(np.full(60, x), last, np.full(60, age))
        # The x - 1 orders before the last may lie anywhere before it.
        total += width @ np.exp(model.log_likelihood(h) + (x - 1) * np.log(last) - gammaln(x))
    assert total == pytest.approx(1, abs=1e-9)


def left_at_some_moment(m: ParetoNBD, x: float, last: float, age: float) -> float:
    """Adaptive integral of what `log_likelihood` integrates by few nodes, over log(low + u) in 25 pieces."""
    low = min(m.alpha, m.beta) + last

    def height(v: float) -> float:
        u = last + low * np.expm1(v)
        return float(np.exp(v - (m.r + x) * np.log((m.alpha + u) / (m.alpha + age)) - (m.s + 1) * np.log(m.beta + u)))

    top = np.log1p((age - last) / low)
    cuts = [0.0, *(top * 2.0**-k for k in range(24, -1, -1))]
    pieces = [quad(height, *ends, epsabs=0, epsrel=1e-11)[0] for ends in zip(cuts[:-1], cuts[1:], strict=True)]
    return m.s * low * sum(pieces)


def random_cases(n: int, seed: int, spread: float) -> list[tuple[ParetoNBD, float, float, float]]:
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(n):
        r, s, alpha, beta = np.exp(rng.uniform(-spread, spread, 4))
        x, age = float(rng.choice([0, 0, 1, 2, 5, 30])), rng.uniform(1, 1000)
        cases.append((ParetoNBD(r, 30 * alpha, s, 30 * beta), x, age * rng.uniform() * (x > 0), age))
    return cases


@pytest.mark.parametrize(("spread", "error"), [(2.0, 1e-10), (4.0, 1e-6)])
def test_the_likelihood_equals_an_adaptive_integral(spread: float, error: float) -> None:
    for m, x, last, age in random_cases(60, 0, spread):
        staying = (m.beta + age) ** -m.s
        norm = gammaln(m.r + x) - gammaln(m.r) + m.r * np.log(m.alpha) + m.s * np.log(m.beta)
        oracle = norm - (m.r + x) * np.log(m.alpha + age) + np.log(staying + left_at_some_moment(m, x, last, age))
        assert m.log_likelihood(Histories.of([x], [last], [age]))[0] == pytest.approx(oracle, abs=error, rel=1e-11)


def test_the_likelihood_equals_the_published_form_where_it_does_not_overflow() -> None:
    # Fader & Hardie (2005), eq. 18, with eq. 19 for alpha >= beta and eq. 20 for alpha <= beta.
    for m, x, last, age in random_cases(60, 1, 1.0):
        n, high, gap = m.r + m.s + x, max(m.alpha, m.beta), abs(m.alpha - m.beta)
        power = m.s + 1 if m.alpha >= m.beta else m.r + x
        until = high + np.array([last, age])
        terms = hyp2f1(n, power, n + 1, gap / until) * until**-n
        difference = terms[0] - terms[1]
        norm = gammaln(m.r + x) - gammaln(m.r) + m.r * np.log(m.alpha) + m.s * np.log(m.beta)
        staying = (m.alpha + age) ** -(m.r + x) * (m.beta + age) ** -m.s
        oracle = norm + np.log(staying + m.s / n * difference)
        assert m.log_likelihood(Histories.of([x], [last], [age]))[0] == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize(("x", "last"), [(0, 0.0), (1, 12.0), (4, 25.0)])
@pytest.mark.parametrize("days", [5.0, 40.0])
def test_forecasts_equal_integrals_over_rates_of_ordering_and_leaving(x: int, last: float, days: float) -> None:
    model, age = ParetoNBD(1.3, 20.0, 1.7, 25.0), 30.0
    rate, rate_weights = roots_genlaguerre(120, model.r - 1)
    leave, leave_weights = roots_genlaguerre(120, model.s - 1)
    lam, mu = (rate / model.alpha)[:, None], (leave / model.beta)[None, :]
    weights, both = rate_weights[:, None] * leave_weights[None, :], lam + mu
    active = lam**x * np.exp(-both * age)
    left = lam**x * mu / both * (np.exp(-both * last) - np.exp(-both * age))
    seen = (weights * (active + left)).sum()
    h = Histories.of([x], [last], [age])
    assert model.p_alive(h)[0] == pytest.approx((weights * active).sum() / seen, rel=1e-8)
    quiet = (mu + lam * np.exp(-both * days)) / both  # leaves before the next order, or neither happens
    silent = (weights * (active * quiet + left)).sum() / seen
    assert model.p_no_order(h, days)[0] == pytest.approx(silent, rel=1e-8)
    orders = (weights * active * lam / mu * -np.expm1(-mu * days)).sum() / seen
    assert model.expected_orders(h, days)[0] == pytest.approx(orders, rel=1e-8)


@pytest.mark.parametrize("x", [0, 1, 30_000])
def test_expected_orders_pass_smoothly_through_s_equal_to_one(x: int) -> None:
    h = Histories.of([x], [60.0 * (x > 0)], [60.0])
    below, at, above = (ParetoNBD(0.5, 8.0, s, 20.0).expected_orders(h, 365.0)[0] for s in (1 - 1e-4, 1.0, 1 + 1e-4))
    assert (below + above) / 2 == pytest.approx(at, rel=1e-6)
    assert below > at > above


def test_an_order_today_means_an_active_account() -> None:
    model, h = ParetoNBD(0.5, 8.0, 0.7, 20.0), Histories.of([0, 1, 30_000], [0, 60, 7305], [0, 60, 7305])
    assert (model.p_alive(h) == 1).all()


@pytest.mark.parametrize(("x", "last", "age"), [(0, 0.0, 400.0), (3, 10.0, 400.0), (30_000, 7304.0, 7305.0)])
def test_equal_scales_have_a_closed_form(x: int, last: float, age: float) -> None:
    # With alpha = beta the integral over the moment of leaving is that of one power.
    n = 0.7 + 0.4 + x
    odds = 0.4 / n * np.expm1(n * np.log((9.0 + age) / (9.0 + last)))
    alive = ParetoNBD(0.7, 9.0, 0.4, 9.0).p_alive(Histories.of([x], [last], [age]))[0]
    assert alive == pytest.approx(1 / (1 + odds), rel=1e-9)
