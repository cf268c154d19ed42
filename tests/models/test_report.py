from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from models.report import Report, by_band, calibration_plot, gain_curve, gain_plot, hazard_plot, importance_plot


def test_plots_are_figures_that_can_be_saved(tmp_path):
    numbers = np.random.default_rng(0).random(100)
    figures = {
        "calibration": calibration_plot(numbers, numbers, "title"),
        "gain": gain_plot(numbers, numbers, "title"),
        "importance": importance_plot(["a", "b"], [1, 3], "title"),
        "hazard": hazard_plot(100 * numbers - 50, numbers, numbers, np.ones(100)),
    }
    for name, figure in Report(figures=figures).figures.items():
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_plots_of_nothing_are_drawn_empty():
    for figure in (calibration_plot([], [], "title"), gain_plot([], [], "title"), importance_plot([], [], "title")):
        assert isinstance(figure, Figure)


def test_the_gain_curve_of_a_perfect_order_is_never_below_another():
    outcome = np.array([5.0, 0.0, 2.0, 1.0])
    best, other = gain_curve(outcome, outcome)[1], gain_curve([1, 2, 3, 4], outcome)[1]
    assert (best >= other).all()
    assert best[-1] == other[-1] == 1


def test_bands_keep_the_mean_of_all_rows():
    predicted, observed = by_band(np.arange(100.0), np.arange(100.0)[::-1], 10)
    assert predicted.mean() == observed.mean() == 49.5


def test_reports_do_not_touch_pyplot():
    assert "models.report" in sys.modules
    with open(sys.modules["models.report"].__file__, encoding="utf-8") as source:
        assert "matplotlib.pyplot" not in source.read()
