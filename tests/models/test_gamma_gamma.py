import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma as gamma_law

from models import gamma_gamma
from models.gamma_gamma import GammaGamma, fit
from tests.models.simulated_buyers import cdnow

MODEL = GammaGamma(p=4.0, q=3.0, gamma=20.0)


def accounts(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orders, mean amounts and true mean of accounts that live by `MODEL`."""
    rng = np.random.default_rng(seed)
    scale = rng.gamma(MODEL.q, 1 / MODEL.gamma, n)
    orders = rng.geometric(0.4, n).astype(float)
    return orders, rng.gamma(MODEL.p * orders, 1 / (scale * orders)), MODEL.p / scale


def test_published_parameters_are_found_on_the_cdnow_sample() -> None:
    # Fader & Hardie (2013), the 946 customers with a repeat order: p 6.25, q 3.74, gamma 15.44.
    table = cdnow("cdnow_customers_summary_with_transactions.csv")
    table = table[table["x"] > 0]
    assert len(table) == 946
    found = fit(table["x"], table["zbar"])
    assert (found.p, found.q) == pytest.approx((6.25, 3.74), abs=0.006)
    assert found.gamma == pytest.approx(15.44, abs=0.015)


@pytest.mark.parametrize("n", [1.0, 3.0, 40.0])
def test_the_density_and_the_expected_amount_are_integrals_over_the_scale(n: float) -> None:
    for z in (5.0, 20.0, 60.0):

        def height(log_scale: float, power: float, z: float = z) -> float:
            scale = np.exp(log_scale)
            prior = gamma_law.pdf(scale, MODEL.q, scale=1 / MODEL.gamma)
            amount = gamma_law.pdf(z, MODEL.p * n, scale=1 / (scale * n))
            return float(prior * amount * scale ** (1 + power))

        density, inverse = (quad(height, -12, 5, args=(power,), limit=500, epsabs=1e-13)[0] for power in (0, -1))
        assert MODEL.log_likelihood(np.array([n]), np.array([z]))[0] == pytest.approx(np.log(density), rel=1e-7)
        amount = MODEL.expected_amount(np.array([n]), np.array([z]))[0]
        assert amount == pytest.approx(MODEL.p * inverse / density, rel=1e-7)


def test_planted_parameters_are_found_again() -> None:
    n, z, _ = accounts(40_000, seed=0)
    found = fit(n, z)
    # Twice the gain in log-likelihood over the truth is chi-squared with 3 degrees of freedom: above 21.1 once in 10^4.
    assert 0 <= 2 * (found.log_likelihood(n, z).sum() - MODEL.log_likelihood(n, z).sum()) < 21.1
    assert (found.p, found.q, found.gamma) == pytest.approx((4.0, 3.0, 20.0), rel=0.1)


def test_expected_amounts_come_true_among_accounts_alike() -> None:
    n, z, truth = accounts(200_000, seed=1)
    expected = MODEL.expected_amount(n, z)
    for low, high in ((0, 5), (5, 10), (10, 30), (30, np.inf)):
        for few in (n == 1, n > 1):
            off = (truth - expected)[few & (z >= low) & (z < high)]
            assert abs(off.mean()) < 4 * off.std() / np.sqrt(len(off))


def test_the_gradient_equals_central_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []

    def caught(log_likelihood: object, n_parameters: int, n_accounts: float) -> np.ndarray:
        searched.append(log_likelihood)
        return np.ones(n_parameters)

    monkeypatch.setattr(gamma_gamma, "maximise", caught)
    fit(*accounts(300, seed=2)[:2])
    rng = np.random.default_rng(3)
    for _ in range(20):
        at = np.exp(rng.uniform(-2, 2, 3))
        _, gradient = searched[0](at)
        for k in range(3):
            step = np.eye(3)[k] * at[k] * 1e-5
            difference = (searched[0](at + step)[0] - searched[0](at - step)[0]) / (2 * step[k])
            assert gradient[k] == pytest.approx(difference, rel=1e-5, abs=1e-4)


def test_row_order_does_not_matter() -> None:
    n, z, _ = accounts(400, seed=4)
    assert tuple(vars(fit(n[::-1], z[::-1])).values()) == pytest.approx(tuple(vars(fit(n, z)).values()), rel=1e-5)


def test_cents_instead_of_dollars_change_gamma_alone() -> None:
    n, z, _ = accounts(2000, seed=6)
    dollars, cents = fit(n, z), fit(n, 100 * z)
    assert (cents.p, cents.q, cents.gamma / 100) == pytest.approx((dollars.p, dollars.q, dollars.gamma), rel=1e-4)


def test_without_orders_the_amount_is_all_accounts_mean_and_many_orders_speak_for_themselves() -> None:
    amounts = MODEL.expected_amount(np.array([0, 0, 1e9]), np.array([np.nan, 7.0, 7.0]))
    assert amounts == pytest.approx([40.0, 40.0, 7.0])


@pytest.mark.parametrize("bad", [0.0, -3.0, np.nan, np.inf])
def test_amounts_not_above_zero_are_refused_with_their_rows(bad: float) -> None:
    with pytest.raises(ValueError, match="mean_amount is not above 0 and finite in 1 of 3 rows, e.g. rows \\[1\\]"):
        fit(np.ones(3), np.array([5.0, bad, 7.0]))


def test_means_of_no_order_are_refused() -> None:
    with pytest.raises(ValueError, match="n_orders is not finite or below 1 in 2 of 3 rows"):
        fit(np.array([0.0, 1.0, np.nan]), np.array([5.0, 6.0, 7.0]))


@pytest.mark.parametrize(
    ("n", "z"),
    [
        ([], []),
        ([1], [30.0]),
        ([1] * 50, [30.0] * 50),
        ([30_000] * 5, [1e-6, 1e9, 1.0, 2.0, 3.0]),
        ([1, 30_000], [1e9, 1e-6]),
        ([1] * 100, list(np.exp(np.random.default_rng(7).standard_cauchy(100).clip(-13, 20)))),
    ],
    ids=["nobody", "one", "all alike", "many orders", "two extremes", "amounts without a mean"],
)
def test_extreme_amounts_keep_a_finite_mean(n: list[float], z: list[float]) -> None:
    found = fit(np.array(n), np.array(z))
    assert np.isfinite(list(vars(found).values())).all()
    assert found.q > 1
    asked = np.array([0, 1, 30_000, 30_000]), np.array([np.nan, 1e-6, 1e9, 1e-6])
    amounts = found.expected_amount(*asked)
    assert np.isfinite(amounts).all()
    assert (amounts > 0).all()
    assert np.isfinite(found.log_likelihood(asked[0][1:], asked[1][1:])).all()


def test_accounts_all_alike_are_expected_to_stay_so() -> None:
    found = fit(np.ones(50), np.full(50, 30.0))
    assert found.expected_amount(np.array([0, 3]), np.array([np.nan, 30.0])) == pytest.approx([30.0, 30.0], rel=0.02)
