from __future__ import annotations

import numpy as np
import pytest

from models.judging import (
    area_under_curve,
    calibration_error,
    calibration_slope,
    finite,
    normalised_gini,
    ratio_and_error,
    ratio_interval,
    slope_and_error,
)


def test_the_slope_finds_how_much_too_sure_a_forecast_is():
    draw = np.random.default_rng(0)
    log_odds = draw.normal(-2, 1, 40_000)
    event = (draw.random(40_000) < 1 / (1 + np.exp(-log_odds))).astype(float)
    too_sure = 1 / (1 + np.exp(-2 * log_odds))
    slope, low, high = calibration_slope(too_sure, event, np.ones(40_000), np.arange(40_000), seed=0)
    assert low < 0.5 < high
    assert slope == pytest.approx(0.5, abs=0.02)


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    chance, event = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 1.0, 0.0, 1.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in chance[event == 1] for b in chance[event == 0]]
    assert area_under_curve(chance, event, np.ones(4)) == pytest.approx(np.mean(pairs))


def test_a_row_of_weight_two_counts_like_two_rows():
    chance, event = np.array([0.2, 0.7]), np.array([0.0, 1.0])
    twice = np.array([0.2, 0.2, 0.7]), np.array([0.0, 0.0, 1.0])
    assert calibration_error(chance, event, np.array([2.0, 1.0]), 1) == pytest.approx(
        calibration_error(*twice, np.ones(3), 1)
    )


def test_a_gini_of_equal_predictions_is_nought_in_any_order_of_rows():
    outcome = np.array([0.0, 0.0, 9.0, 1.0])
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        assert normalised_gini(np.ones(4), outcome[order]) == pytest.approx(0)
    assert normalised_gini(-outcome, outcome) < 0


def test_intervals_of_whole_groups_are_wider_than_of_single_rows():
    draw = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 50)
    top = np.repeat(draw.poisson(5, 40), 50).astype(float)
    _, low, high = ratio_interval(top, np.ones(2000), group, seed=0)
    _, row_low, row_high = ratio_interval(top, np.ones(2000), np.arange(2000), seed=0)
    assert high - low > 3 * (row_high - row_low)


def test_the_error_of_a_ratio_is_that_of_redrawing_the_groups_and_of_counting():
    # 400 groups of one count each: Poisson's 1 / sqrt(400). Twenty groups of twenty that come together: 1 / sqrt(20).
    top, bottom = np.repeat([1.0, 0.0], 400), np.repeat([0.0, 1.0], 400)
    single, grouped = (ratio_and_error(top, bottom, np.arange(800) // size, seed=0) for size in (1, 20))
    assert single[0] == grouped[0] == 1
    # Both the counts and what they are divided by are redrawn here, hence the square root of two.
    assert single[1] == pytest.approx(np.sqrt(2 / 400), rel=0.2)
    assert grouped[1] == pytest.approx(np.sqrt(2 / 20), rel=0.4)


def test_the_slope_of_weighted_rows_is_that_of_the_rows_they_stand_for():
    draw = np.random.default_rng(2)
    chance, weight = draw.beta(1, 9, 3000), draw.integers(1, 4, 3000)
    event = (draw.random(3000) < chance**1.3).astype(float)
    places = np.repeat(np.arange(3000), weight)
    weighted = calibration_slope(chance, event, weight.astype(float), np.arange(3000), seed=0)
    repeated = calibration_slope(chance[places], event[places], np.ones(len(places)), places, seed=0)
    assert weighted == pytest.approx(repeated, rel=1e-6)


def test_the_error_of_a_slope_is_how_far_it_strays_when_whole_groups_are_drawn_anew():
    found = []
    for seed in range(150):
        draw = np.random.default_rng(seed)
        log_odds = np.repeat(draw.normal(-1, 1, 100), 5)  # five lines of a customer go or stay together
        event = np.repeat(draw.random(100), 5) < 1 / (1 + np.exp(-log_odds))
        found.append(slope_and_error(log_odds, event.astype(float), np.ones(500), np.arange(500) // 5))
    slopes, errors = np.array(found).T
    assert slopes.mean() == pytest.approx(1, abs=0.1)
    assert errors.mean() == pytest.approx(slopes.std(), rel=0.2)
    nothing = slope_and_error(np.zeros(3), np.array([0.0, 1.0, 0.0]), np.ones(3), np.arange(3))
    assert np.isnan(nothing).all()


def test_figures_that_could_not_be_computed_are_left_out():
    assert finite({"a": 1, "b": float("nan")}) == {"a": 1.0}
