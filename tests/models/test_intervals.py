from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from models.intervals import (
    ASSUMED_RATIOS,
    GRID,
    Intervals,
    PredictiveLaws,
    bounds,
    coverage,
    coverage_by,
    halves,
    learn,
    tenths,
)

# Outcome / mean is uniform from 0 to 2.
UNIFORM = Intervals(edges=(), ratios=(tuple((2 * GRID).tolist()),), levels=(0.9,))


def accounts(n, rng, kind="lognormal", stays_away=(1.2, 0.8)):
    """Expected outcome, chance of 0 and outcome of n accounts, each with its own mean and chance."""
    p_zero, mean = rng.beta(*stays_away, n), np.exp(rng.normal(4, 1, n))
    if kind == "lognormal":
        log_sd = 0.5 + 0.5 * rng.random(n)
        outcome = mean * np.exp(rng.normal(-(log_sd**2) / 2, log_sd))
    elif kind == "gamma":
        outcome = rng.gamma(1.5, mean / 1.5)
    else:
        mean = 1 + np.exp(rng.normal(0.5, 1, n))
        outcome = 1 + rng.negative_binomial(1.5, 1.5 / (0.5 + mean))
    return mean * (1 - p_zero), p_zero, np.where(rng.random(n) < p_zero, 0, outcome)


def names(n):
    return [f"A{i}" for i in range(n)]


@pytest.mark.parametrize("kind", ["lognormal", "gamma", "counts"])
@pytest.mark.parametrize(("p_factor", "mean_factor"), [(1, 1), (1.2, 1), (0.8, 1), (1, 1.15), (1, 0.85)])
def test_ninety_percent_of_new_accounts_lie_within_however_wrong_chances_and_means_are(kind, p_factor, mean_factor):
    rng = np.random.default_rng(4)

    def told(n):
        mean, p_zero, outcome = accounts(n, rng, kind)
        return mean * mean_factor, np.minimum(p_zero * p_factor, 1), outcome

    n_learned, n_new = 10_000, 20_000
    intervals = learn(*told(n_learned), names(n_learned))
    mean, p_zero, outcome = told(n_new)
    low, high = bounds(intervals, mean, p_zero, whole=kind == "counts")
    assert 0.88 <= coverage(low, high, outcome).share <= 0.92
    # The level of a band was learned from a tenth of the accounts, and is checked on a tenth of the new ones.
    error = 4 * (0.09 * (10 / n_learned + 10 / n_new)) ** 0.5
    for tenth, held in coverage_by(tenths(mean), low, high, outcome).items():
        share_zero = np.mean(outcome[tenths(mean) == int(tenth)] == 0)
        assert 0.9 - error <= held.share <= max(0.9, share_zero) + error + 0.01


def test_loyal_accounts_are_missed_as_often_below_as_above():
    rng = np.random.default_rng(5)
    intervals = learn(*accounts(20_000, rng, stays_away=(0.2, 20)), names(20_000))
    mean, p_zero, outcome = accounts(20_000, rng, stays_away=(0.2, 20))
    is_loyal = p_zero < 0.001
    low, high = bounds(intervals, mean, p_zero)
    assert np.mean((outcome < low)[is_loyal]) == pytest.approx(0.05, abs=0.01)
    assert np.mean((outcome > high)[is_loyal]) == pytest.approx(0.05, abs=0.01)


def test_accounts_that_hardly_ever_come_back_get_the_interval_of_zero_alone_and_its_coverage_is_reported():
    rng = np.random.default_rng(6)
    mean, p_zero, outcome = accounts(4_000, rng, stays_away=(970, 30))
    low, high = bounds(learn(mean, p_zero, outcome, names(4_000)), mean, p_zero)
    assert not low.any()
    assert not high.any()
    assert coverage(low, high, outcome).share == np.mean(outcome == 0) > 0.95


def test_small_books_are_held_too_because_no_account_is_scored_by_a_law_that_knows_it():
    rng, n = np.random.default_rng(7), 40
    shares = []
    for _ in range(150):
        intervals = learn(*accounts(n, rng, stays_away=(1, 30)), names(n))
        mean, p_zero, outcome = accounts(400, rng, stays_away=(1, 30))
        shares.append(coverage(*bounds(intervals, mean, p_zero), outcome).share)
    assert 0.89 <= np.mean(shares) <= 0.94


def test_a_hand_worked_account():
    # Mean of a positive outcome 50 / .5 = 100; (.9 - .5) / .5 = .8 of its law lies below .8 x 2 x 100.
    low, high = bounds(UNIFORM, [50, 100, 5], [0.5, 0, 0.95])
    assert low.tolist() == pytest.approx([0, 10, 0])
    assert high.tolist() == pytest.approx([160, 190, 0])


def test_a_chance_of_staying_away_of_five_percent_ends_the_lower_end():
    low, high = bounds(UNIFORM, [96, 95], [0.04, 0.05])
    assert low.tolist() == pytest.approx([100 * 2 * 0.01 / 0.96, 0])
    assert high.tolist() == pytest.approx([100 * 2 * 0.91 / 0.96, 100 * 2 * 0.85 / 0.95])


def test_whole_ends_hold_the_same_counts_as_the_ends_they_came_from():
    rng = np.random.default_rng(8)
    mean, p_zero, _ = accounts(500, rng, "counts")
    p_zero[:200] /= 30
    low, high = bounds(UNIFORM, mean, p_zero)
    least, greatest = bounds(UNIFORM, mean, p_zero, whole=True)
    assert (least == np.round(least)).all()
    assert (greatest == np.round(greatest)).all()
    assert (low[:200] > 0).any()
    counts = np.arange(200)[:, None]
    is_held = (low <= counts) & (counts <= high)
    some = is_held.any(axis=0)
    assert (is_held == ((least <= counts) & (counts <= greatest)))[:, some].all()


def test_the_nearest_count_stands_for_an_interval_without_any():
    narrow = replace(UNIFORM, levels=(0.05,))
    assert [end.tolist() for end in bounds(narrow, [2.6, 2.3], [0, 0], whole=True)] == [[3, 2], [3, 2]]


def test_a_higher_level_holds_all_that_a_lower_one_holds():
    mean, p_zero, outcome = accounts(2_000, np.random.default_rng(9))
    p_zero[:500] /= 30
    intervals = learn(mean, p_zero, outcome, names(2_000))
    n_bands = len(intervals.levels)
    ends = [bounds(replace(intervals, levels=(c,) * n_bands), mean, p_zero) for c in np.linspace(0, 1, 41)]
    low, high = (np.array(values) for values in zip(*ends, strict=True))
    assert (np.diff(low, axis=0) <= 0).all()
    assert (np.diff(high, axis=0) >= 0).all()


def test_an_account_is_scored_by_the_least_level_that_holds_it():
    rng, n = np.random.default_rng(10), 300
    law = np.concatenate([[0], np.sort(rng.gamma(2, 0.5, len(GRID) - 1))])
    law[20:40] = law[20]  # a mass on one value
    p_zero = np.where(np.arange(n) % 2, 0.04, 0.5) * rng.random(n)
    laws = PredictiveLaws(np.zeros(n, dtype=int), p_zero, np.full(n, 10.0), law[None])
    outcome = rng.choice([0, 10 * law[20], 3, 8, 20], n)
    low_level, high_level = np.zeros(n), np.ones(n)
    for _ in range(50):
        level = (low_level + high_level) / 2
        low, high = laws.tails(level)
        is_held = (low <= outcome) & (outcome <= high)
        low_level, high_level = np.where(is_held, low_level, level), np.where(is_held, level, high_level)
    assert laws.least_level(*laws.shares(outcome)) == pytest.approx(high_level, abs=1e-9)


def test_the_order_of_rows_does_not_matter():
    mean, p_zero, outcome = accounts(1_500, np.random.default_rng(11))
    ids, order = np.array(names(1_500)), np.random.default_rng(12).permutation(1_500)
    shuffled = learn(mean[order], p_zero[order], outcome[order], ids[order].tolist())
    assert shuffled == learn(mean, p_zero, outcome, ids.tolist())


def test_intervals_survive_json():
    intervals = learn(*accounts(700, np.random.default_rng(13)), names(700))
    assert len(intervals.levels) == 7
    assert Intervals.from_json(json.loads(json.dumps(intervals.to_json(), allow_nan=False))) == intervals


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9, 30])
@pytest.mark.parametrize("value", [0, 1, 1e6])
def test_books_of_few_or_equal_accounts_have_finite_intervals(n, value):
    intervals = learn(np.full(n, 2.0), np.full(n, 0.3), np.full(n, value), names(n))
    low, high = bounds(intervals, [0, 1e-12, 2, 1e9], [1, 1, 0.3, 0])
    assert np.isfinite(high).all()
    assert (low >= 0).all()
    assert (low <= high).all()
    assert low[2] <= min(value, 1) <= high[2]


def test_without_any_account_the_assumed_law_serves():
    low, high = bounds(learn([], [], [], []), [10], [0])
    assert low.tolist() == pytest.approx([10 * ASSUMED_RATIOS[6]])
    assert high.tolist() == pytest.approx([10 * ASSUMED_RATIOS[-7]])
    assert GRID[[6, -7]].tolist() == [0.05, 0.95]


def test_a_book_of_few_positive_outcomes_is_one_band():
    mean, p_zero, outcome = accounts(2_000, np.random.default_rng(14))
    outcome[np.flatnonzero(outcome)[49:]] = 0
    assert learn(mean, p_zero, outcome, names(2_000)).edges == ()


def test_numbers_that_are_none_are_refused_by_row():
    with pytest.raises(ValueError, match=r"in 2 of 3 accounts, e\.g\. rows \[0, 2\]"):
        bounds(UNIFORM, [np.nan, 1, 1], [0.5, 0.5, 1.1])


def test_wilsons_interval_is_scipys():
    for n_held, n in ((0, 7), (7, 7), (88, 100)):
        held = coverage(np.zeros(n), np.ones(n), np.where(np.arange(n) < n_held, 0.5, 2))
        theirs = binomtest(n_held, n).proportion_ci(0.95, method="wilson")
        assert (held.share, held.low, held.high) == pytest.approx((n_held / n, theirs.low, theirs.high))


def test_coverage_of_groups_adds_up_and_of_none_is_unknown():
    low, high, outcome = np.zeros(4), np.array([1, 1, 0, 5]), np.array([1, 2, -3, 4])
    held = coverage_by(["b", "b", "a", "a"], low, high, outcome)
    assert {name: (c.n_accounts, c.share) for name, c in held.items()} == {"a": (2, 1), "b": (2, 0.5)}
    assert np.isnan(coverage([], [], []).share)


def test_both_halves_shape_the_law_and_the_law_begins_at_zero():
    mean, p_zero, outcome = accounts(400, np.random.default_rng(15))
    ids = names(400)
    law = np.array(learn(mean, p_zero, outcome, ids).ratios)
    assert (law[:, 0] == 0).all()
    for half in (0, 1):
        raised = learn(mean, p_zero, np.where(halves(ids) == half, 3 * outcome, outcome), ids)
        assert (np.array(raised.ratios)[:, 1:] > law[:, 1:]).all()


def test_accounts_that_hardly_ever_come_back_do_not_draw_the_level_of_the_others_down():
    rng = np.random.default_rng(16)

    def book(n):
        is_gone = np.arange(n) % 4 > 0
        p_zero, mean = np.where(is_gone, 0.98, 0.1), np.where(is_gone, 1.0, 100.0)
        outcome = np.where(rng.random(n) < p_zero, 0, rng.gamma(2, mean / 2))
        return is_gone, mean * (1 - p_zero), p_zero, outcome

    shares = []
    for _ in range(60):
        intervals = learn(*book(1_000)[1:], names(1_000))
        is_gone, mean, p_zero, outcome = book(2_000)
        low, high = bounds(intervals, mean, p_zero)
        shares.append(coverage(low[~is_gone], high[~is_gone], outcome[~is_gone]).share)
    assert 0.89 <= np.mean(shares) <= 0.92


def test_an_account_stays_in_its_half_whatever_the_order():
    ids = names(101)
    dealt = dict(zip(ids, halves(ids), strict=True))
    assert sum(dealt.values()) == 50
    assert halves(ids[::-1] * 2).tolist() == [dealt[name] for name in ids[::-1] * 2]


def test_nine_of_ten_are_held_on_average_where_the_level_of_all_moves():
    rng, log_sd = np.random.default_rng(9), 0.6
    mean, p_zero, outcome = accounts(20_000, rng)
    still, moving = (learn(mean, p_zero, outcome, names(20_000), level_log_sd=sd) for sd in (0.0, log_sd))
    assert moving.edges == still.edges
    mean, p_zero, outcome = accounts(20_000, rng)
    held = [coverage(*bounds(moving, mean, p_zero), outcome * np.exp(way * log_sd)).share for way in (-1, 1)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.01)
    of_still = [coverage(*bounds(still, mean, p_zero), outcome * np.exp(way * log_sd)).share for way in (-1, 1)]
    assert np.mean(of_still) < 0.88
    assert min(held) > min(of_still)
