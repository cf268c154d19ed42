import math

import numpy as np
import pytest

from models import beta_geometric, order_histories, pareto
from models.beta_geometric import BetaGeometric
from models.order_histories import Histories, log_rising
from models.pareto import ParetoNBD
from tests.models.simulated_buyers import watched

PLANTED = [BetaGeometric(0.6, 40.0, 0.9, 2.5), ParetoNBD(0.8, 60.0, 0.7, 120.0)]
FITS = {BetaGeometric: beta_geometric.fit, ParetoNBD: pareto.fit}
of_both = pytest.mark.parametrize("model", PLANTED, ids=["beta_geometric", "pareto"])


def parameters(model: BetaGeometric | ParetoNBD) -> np.ndarray:
    return np.array(list(vars(model).values()))


def some_histories(n: int = 3000, seed: int = 0) -> Histories:
    return watched(PLANTED[0], np.random.default_rng(seed).integers(1, 400, n).astype(float), 0.0, seed)[0]


def by_the_day(h: Histories) -> Histories:
    return Histories.of(h.n_repeats, np.ceil(h.last_days), np.ceil(h.age_days))


# The table of histories


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (([1.5], [2], [3]), "n_repeats is negative or no whole number in 1 of 1 rows, e.g. rows \\[0\\]"),
        (([0, -1], [0, 2], [3, 3]), "n_repeats is negative"),
        (([1, 1], [4, 2], [3, 3]), "not 0 <= last_days <= age_days in 1 of 2 rows"),
        (([1], [-1], [3]), "not 0 <= last_days"),
        (([0], [2], [3]), "last_days is above 0 without a repeat order"),
        (([1], [np.nan], [3]), "not finite"),
        (([1], [2], [np.inf]), "not finite"),
        (([1, 2], [2], [3]), "unequal shapes"),
    ],
)
def test_impossible_histories_are_refused_with_their_rows(columns: tuple[list[float], ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Histories.of(*(np.array(c, dtype=float) for c in columns))


def test_grouping_counts_what_a_dictionary_counts() -> None:
    h = by_the_day(some_histories())
    counted: dict[tuple[float, float, float], int] = {}
    for row in zip(h.n_repeats.tolist(), h.last_days.tolist(), h.age_days.tolist(), strict=True):
        counted[row] = counted.get(row, 0) + 1
    once = h.grouped().grouped()
    rows = zip(once.n_repeats.tolist(), once.last_days.tolist(), once.age_days.tolist(), strict=True)
    assert dict(zip(rows, once.count.tolist(), strict=True)) == counted
    assert len(once.count) == len(counted) < len(h.count)


def test_log_rising_is_the_sum_of_logs_from_tiny_to_huge_starts() -> None:
    for start in (1e-3, 0.7, 30.0, 9_999.0, 10_001.0, 1e6, 1e12):
        for steps in (0, 1, 2, 17, 30_000):
            oracle = math.fsum(math.log(start + step) for step in range(steps))
            assert float(log_rising(start, float(steps))) == pytest.approx(oracle, rel=1e-12, abs=2e-10)


# What both models must obey


@pytest.mark.parametrize("module", [beta_geometric, pareto])
def test_the_gradient_equals_central_differences(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []

    def caught(log_likelihood: object, n_parameters: int, n_accounts: float) -> np.ndarray:
        searched.append(log_likelihood)
        return np.ones(n_parameters)

    monkeypatch.setattr(module, "maximise", caught)
    module.fit(some_histories(300))
    rng = np.random.default_rng(1)
    for _ in range(20):
        at = np.exp(rng.uniform(-2, 2, 4))
        _, gradient = searched[0](at)
        for k in range(4):
            step = np.eye(4)[k] * at[k] * 1e-5
            difference = (searched[0](at + step)[0] - searched[0](at - step)[0]) / (2 * step[k])
            assert gradient[k] == pytest.approx(difference, rel=1e-5, abs=1e-4)


@of_both
def test_planted_parameters_are_found_again(model: BetaGeometric | ParetoNBD) -> None:
    ages = np.random.default_rng(2).integers(30, 800, 40_000).astype(float)
    h, _ = watched(model, ages, 0.0, seed=3)
    found = FITS[type(model)](h)
    # Twice the gain in log-likelihood over the truth is chi-squared with 4 degrees of freedom: above 23.5 once in 10^4.
    gain = 2 * (found.log_likelihood(h).sum() - model.log_likelihood(h).sum())
    assert 0 <= gain < 23.5
    assert parameters(found) == pytest.approx(parameters(model), rel=0.2)


@of_both
def test_forecasts_come_true_among_accounts_that_live_by_the_model(model: BetaGeometric | ParetoNBD) -> None:
    ages = np.random.default_rng(4).integers(1, 400, 200_000).astype(float)
    h, later = watched(model, ages, 90.0, seed=5)
    orders, silent = model.expected_orders(h, 90.0), model.p_no_order(h, 90.0)
    for repeats in (0, 1, 2, 3, 4):
        has_repeats = h.n_repeats == repeats if repeats < 4 else h.n_repeats >= 4
        for is_recent in (False, True):
            chosen = has_repeats & ((h.age_days - h.last_days < 60) == is_recent)
            n = chosen.sum()
            assert n > 500
            for off in ((later - orders)[chosen], ((later == 0) - silent)[chosen]):
                assert abs(off.mean()) < 4 * off.std() / np.sqrt(n)


@of_both
def test_no_order_is_the_likelihood_of_silence_until_later(model: BetaGeometric | ParetoNBD) -> None:
    h = some_histories()
    for days in (0.0, 0.5, 30.0, np.random.default_rng(6).uniform(0, 1000, len(h.count))):
        ratio = np.exp(model.log_likelihood(h.after(days)) - model.log_likelihood(h))
        assert model.p_no_order(h, days) == pytest.approx(ratio, rel=1e-9, abs=1e-12)
    assert (model.p_no_order(h, 0.0) == 1).all()


@of_both
def test_one_horizon_per_account_is_as_good_as_one_call_each(model: BetaGeometric | ParetoNBD) -> None:
    h, days = some_histories(5000), np.random.default_rng(7).choice([7.0, 90.0, 365.0], 5000)
    for ask in (model.expected_orders, model.p_no_order):
        mixed = ask(h, days)
        for horizon in (7.0, 90.0, 365.0):
            assert (mixed[days == horizon] == ask(h, horizon)[days == horizon]).all()


@of_both
def test_longer_horizons_never_mean_fewer_orders_nor_more_silence(model: BetaGeometric | ParetoNBD) -> None:
    h, horizons = some_histories(), (0.0, 0.1, 1.0, 10.0, 100.0, 1e3, 1e5)
    orders = np.stack([model.expected_orders(h, days) for days in horizons])
    silent = np.stack([model.p_no_order(h, days) for days in horizons])
    assert (orders[0] == 0).all()
    assert (np.diff(orders, axis=0) > 0).all()
    assert (np.diff(silent, axis=0) <= 1e-12).all()
    assert (np.diff(silent[:5], axis=0)[:, model.p_alive(h) > 1e-6] < 0).all()
    assert (1 - silent <= orders + 1e-9).all()  # Markov: a chance of any order is at most the mean number
    assert (1 - silent <= model.p_alive(h) + 1e-9).all()


@of_both
def test_grouping_and_order_of_rows_change_no_fit(model: BetaGeometric | ParetoNBD, monkeypatch) -> None:
    h, fit = by_the_day(some_histories()), FITS[type(model)]
    turned = Histories(h.n_repeats[::-1], h.last_days[::-1], h.age_days[::-1], h.count[::-1])
    grouped = [parameters(fit(of)) for of in (h, h.grouped(), turned)]
    monkeypatch.setattr(Histories, "grouped", lambda self: self)
    for found in grouped:
        assert found == pytest.approx(parameters(fit(h)), rel=1e-6)
    ungrouped = model.log_likelihood(h).sum()
    assert model.log_likelihood(turned).sum() == pytest.approx(ungrouped, rel=1e-10)


@of_both
def test_grouped_histories_weigh_as_much_as_their_accounts(model: BetaGeometric | ParetoNBD) -> None:
    h = by_the_day(some_histories())
    once = h.grouped()
    assert once.count @ model.log_likelihood(once) == pytest.approx(model.log_likelihood(h).sum(), rel=1e-10)


@of_both
def test_weeks_instead_of_days_change_only_what_is_counted_in_time(model: BetaGeometric | ParetoNBD) -> None:
    h, fit = some_histories(), FITS[type(model)]
    days, weeks = fit(h), fit(h.in_units_of(7.0))
    is_time = np.array([name in ("alpha", "beta") for name in vars(model)])
    assert parameters(weeks) * np.where(is_time, 7.0, 1.0) == pytest.approx(parameters(days), rel=1e-4)
    forecast = weeks.expected_orders(h.in_units_of(7.0), 13.0)
    assert forecast == pytest.approx(days.expected_orders(h, 91.0), rel=1e-4)


EDGES = Histories.of(
    np.array([0, 0, 0, 1, 1, 30_000, 30_000, 30_000, 5]),
    np.array([0, 0, 0, 1, 7305, 7305, 30_000, 1, 1e-9]),
    np.array([0, 1, 7305, 7305, 7305, 7305, 36_525, 7305, 36_525]),
)


@pytest.mark.parametrize("kind", [BetaGeometric, ParetoNBD])
def test_answers_are_finite_at_every_edge(kind: type[BetaGeometric] | type[ParetoNBD]) -> None:
    rng = np.random.default_rng(8)
    corners = [np.exp(rng.uniform(-14, 14, 4)) for _ in range(300)] + [np.ones(4), np.array([1e6, 1e-6, 1e6, 1e-6])]
    for at in corners:
        model = kind(*at.tolist())
        assert np.isfinite(model.log_likelihood(EDGES)).all()
        for days in (0.0, 1e-6, 365.0, 36_525.0):
            orders, silent = model.expected_orders(EDGES, days), model.p_no_order(EDGES, days)
            assert np.isfinite(orders).all()
            assert (orders >= 0).all()
            assert ((silent >= 0) & (silent <= 1)).all()
        assert ((model.p_alive(EDGES) >= 0) & (model.p_alive(EDGES) <= 1)).all()


DEGENERATE = {
    "nobody": ([], [], []),
    "one account that came today": ([0], [0], [0]),
    "one account": ([2], [20], [30]),
    "five one-time buyers": ([0] * 5, [0] * 5, [10, 20, 30, 40, 50]),
    "a thousand one-time buyers": ([0] * 1000, [0] * 1000, [365] * 1000),
    "all alike": ([3] * 500, [300] * 500, [365] * 500),
    "all ordered today": ([3] * 50, [365] * 50, [365] * 50),
    "one account of 30,000 orders among one-time buyers": ([30_000] + [0] * 99, [7000] + [0] * 99, [7305] * 100),
    "every day for a year": ([365] * 20, [365] * 20, [365] * 20),
}


@pytest.mark.parametrize("fit", [beta_geometric.fit, pareto.fit])
@pytest.mark.parametrize("name", DEGENERATE)
def test_books_that_tell_little_still_give_finite_parameters(fit: object, name: str) -> None:
    h = Histories.of(*(np.array(c, dtype=float) for c in DEGENERATE[name]))
    found = fit(h)
    assert np.isfinite(parameters(found)).all()
    assert (parameters(found) > 0).all()
    assert np.isfinite(found.expected_orders(h, 365.0)).all()
    assert np.isfinite(found.p_no_order(h, 365.0)).all()


@pytest.mark.parametrize("fit", [beta_geometric.fit, pareto.fit])
def test_a_book_of_one_time_buyers_foresees_next_to_no_orders(fit: object) -> None:
    h = Histories.of(np.zeros(1000), np.zeros(1000), np.full(1000, 365.0))
    assert fit(h).expected_orders(h, 365.0).max() < 0.01


def test_pieces_are_the_whole_in_its_order() -> None:
    h = some_histories(2 * order_histories.ROWS_AT_ONCE + 1)
    assert [len(piece.count) for piece in h.pieces()] == [2048, 2048, 1]
    assert (np.concatenate([piece.last_days for piece in h.pieces()]) == h.last_days).all()


def test_the_pull_to_one_keeps_five_one_time_buyers_from_ruling_a_return_out() -> None:
    h = Histories.of(np.zeros(5), np.zeros(5), [10.0, 20.0, 30.0, 40.0, 50.0])
    assert beta_geometric.fit(h).expected_orders(h, 365.0).min() > 1e-3  # without the pull below 1e-6
