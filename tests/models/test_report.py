from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from models.report import (
    Report,
    by_band,
    calibration_plot,
    coverage_plot,
    curves_plot,
    gain_curve,
    gain_plot,
    hazard_plot,
    importance_plot,
    orders_by_frequency_plot,
    ratio_plot,
    shares_over_time_plot,
    waits_plot,
    widths_plot,
)


def test_plots_are_figures_that_can_be_saved(tmp_path):
    numbers = np.random.default_rng(0).random(100)
    figures = {
        "calibration": calibration_plot(numbers, numbers, "title"),
        "gain": gain_plot(numbers, numbers, "title"),
        "importance": importance_plot(["a", "b"], [1, 3], "title"),
        "hazard": hazard_plot(100 * numbers - 50, numbers, numbers, np.ones(100)),
        "ratio": ratio_plot(["0-6", "7-13"], [(3.0, 2.5), (0.0, 0.0)], "title"),
        "curves": curves_plot(np.array([[1.0, 0.9], [1.0, 0.5]]), ["one", "two"], "title"),
        "orders": orders_by_frequency_plot([1, 1, 9], [0.2, 0.4, 6], [0, 1, 5]),
        "coverage": coverage_plot(["1", "wholesale"], [0.9, 0.8], [0.88, 0.7], [0.92, 0.9]),
        "waits": waits_plot(np.sort(100 * np.random.default_rng(1).random((100, 5))), 100 * numbers),
        "shares": shares_over_time_plot({pd.Timestamp("2025-01-01"): (0.9, 0.8, 0.95)}, "title"),
        "widths": widths_plot(pd.Series([9.0, 2.0], ["S1", "a long name" * 9]), pd.Series([3, 1])),
    }
    for name, figure in Report(figures=figures).figures.items():
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_plots_of_nothing_are_drawn_empty():
    titled = (calibration_plot([], [], "title"), gain_plot([], [], "title"), importance_plot([], [], "title"))
    none = pd.Series([], dtype=float)
    inbound = waits_plot(np.zeros((0, 5)), []), shares_over_time_plot({}, "title"), widths_plot(none, none)
    for figure in (*titled, *inbound, orders_by_frequency_plot([], [], []), coverage_plot([], [], [], [])):
        assert isinstance(figure, Figure)


def test_waits_are_drawn_in_bands_with_what_was_foreseen_and_what_came():
    foreseen = np.repeat([[1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0]], 5, axis=0)
    actual = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 11.0, 12.0, 20.0, 21.0, 22.0])
    (axes,) = waits_plot(foreseen, actual, n_bands=2).axes
    medians = next(line for line in axes.lines if line.get_label() == "median actual")
    assert medians.get_xydata().tolist() == [[3.0, 3.0], [13.0, 20.0]]
    nine_tenths = axes.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in nine_tenths} == {(3.0, 1.0), (3.0, 5.0), (13.0, 11.0), (13.0, 15.0)}


def test_the_gain_curve_of_a_perfect_order_is_never_below_another():
    outcome = np.array([5.0, 0.0, 2.0, 1.0])
    best, other = gain_curve(outcome, outcome)[1], gain_curve([1, 2, 3, 4], outcome)[1]
    assert (best >= other).all()
    assert best[-1] == other[-1] == 1


def test_a_row_of_weight_two_bends_the_gain_curve_and_the_bands_like_two_rows():
    predicted, outcome, weight = np.array([3.0, 2.0, 1.0]), np.array([1.0, 4.0, 0.0]), np.array([2.0, 1.0, 1.0])
    rows, found = gain_curve(predicted, outcome, weight)
    assert rows.tolist() == [0, 0.5, 0.75, 1]
    assert found.tolist() == pytest.approx([0, 2 / 6, 1, 1])
    assert by_band(predicted, outcome, 2, weight)[1].tolist() == [2.0, 1.0]


def test_observed_over_expected_is_drawn_with_two_poisson_errors():
    (axes,) = ratio_plot(["0-6", "7-13"], [(100.0, 80.0), (4.0, 8.0)], "title").axes
    (bars,) = axes.containers
    assert bars.lines[0].get_ydata().tolist() == [1.25, 0.5]
    low, high = (np.array([segment[place, 1] for segment in bars.lines[2][0].get_segments()]) for place in (0, 1))
    assert (high - low).tolist() == pytest.approx([2 * 2 * 10 / 80, 2 * 2 * 2 / 8])


def test_the_hazard_by_lateness_is_the_weighted_mean_of_each_week():
    late, event, weight = (
        np.array([0.0, 6.0, 7.0, np.nan]),
        np.array([1.0, 0.0, 1.0, 1.0]),
        np.array([1.0, 3.0, 2.0, 9.0]),
    )
    (axes,) = hazard_plot(late, event / 2, event, weight).axes
    predicted, observed = axes.lines
    assert predicted.get_xdata().tolist() == [3.5, 10.5]
    assert observed.get_ydata().tolist() == [0.25, 1.0]
    assert predicted.get_ydata().tolist() == [0.125, 0.5]


def test_orders_to_come_are_means_over_accounts_with_as_many_orders_and_seven_stands_for_more():
    figure = orders_by_frequency_plot([1, 1, 7, 30, 3], [0.25, 0.75, 4.0, 8.0, 1.0], [0, 2, 5, 8, 1])
    (axes,) = figure.axes
    expected, actual = axes.lines
    assert expected.get_xdata().tolist() == actual.get_xdata().tolist() == [0, 2, 6]
    assert expected.get_ydata().tolist() == [0.5, 1.0, 6.0]
    assert actual.get_ydata().tolist() == [1.0, 1.0, 6.5]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert [labels[place] for place in (0, 1, 2, 6)] == ["1\n(2)", "2\n(0)", "3\n(1)", "7+\n(2)"]


def test_coverage_is_drawn_from_the_top_down_with_its_interval_and_the_goal():
    (axes,) = coverage_plot(["1", "2", "trade"], [0.9, 0.85, 0.5], [0.8, 0.8, 0.3], [0.95, 0.9, 0.7], goal=0.9).axes
    goal, points = axes.lines
    assert goal.get_xdata() == [0.9, 0.9]
    assert points.get_xdata().tolist() == [0.9, 0.85, 0.5]
    (bars,) = axes.collections
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert ends.tolist() == [[0.8, 0.95], [0.8, 0.9], [0.3, 0.7]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "trade"]
    assert axes.yaxis_inverted()
    assert axes.get_xlim()[0] < 0.3


def test_bands_keep_the_mean_of_all_rows():
    predicted, observed = by_band(np.arange(100.0), np.arange(100.0)[::-1], 10)
    assert predicted.mean() == observed.mean() == 49.5


def test_reports_do_not_touch_pyplot():
    assert "models.report" in sys.modules
    with open(sys.modules["models.report"].__file__, encoding="utf-8") as source:
        assert "matplotlib.pyplot" not in source.read()
