"""What a model says about itself: its settings, its figures with intervals, its plots and its limits in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_NAME = 32  # letters of a name in a picture


@dataclass(frozen=True)
class Report:
    """One evaluation of one model; `pipelines` shows it on MLflow's page.

    Parameters
    ----------
    params : settings that were used, by name
    metrics : figures by name; NAME_low and NAME_high beside NAME are its 90 % interval
    figures : plots by name, built without pyplot, so that no window or global state is touched
    notes : plain sentences about what was done, assumed or left out
    refused : why the model may not become champion, each in a few plain words ("12 % too low on later days")
    """

    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: tuple[str, ...] = ()


def calibration_plot(
    predicted: ArrayLike, observed: ArrayLike, title: str, n_bands: int = 10, weight: ArrayLike | None = None
) -> Figure:
    """Mean outcome against mean prediction in bands of equal weight; on the diagonal they agree."""
    predicted_mean, observed_mean = by_band(predicted, observed, n_bands, weight)
    figure, axes = _blank(title, "predicted mean", "observed mean")
    top = max(float(np.max(predicted_mean, initial=0)), float(np.max(observed_mean, initial=0)))
    axes.plot([0, top], [0, top], color="grey", linestyle=":")
    axes.plot(predicted_mean, observed_mean, marker="o")
    return figure


def gain_plot(predicted: ArrayLike, outcome: ArrayLike, title: str, weight: ArrayLike | None = None) -> Figure:
    """Share of all outcome held by the share of rows predicted highest."""
    share_of_rows, share_of_outcome = gain_curve(predicted, outcome, weight)
    figure, axes = _blank(title, "share of rows, highest prediction first", "share of the outcome")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot(share_of_rows, share_of_outcome)
    return figure


def importance_plot(names: Sequence[str], gains: ArrayLike, title: str, n_shown: int = 20) -> Figure:
    """Show inputs by the share of the improvement they brought, greatest on top."""
    share = np.asarray(gains, dtype=float)
    share = share / max(float(share.sum()), 1e-12)
    shown = np.lexsort((np.asarray(names, dtype=str), -share))[:n_shown][::-1]
    figure, axes = _blank(title, "share of the improvement", "")
    axes.barh([names[i] for i in shown], share[shown])
    return figure


def hazard_plot(days_late: ArrayLike, predicted: ArrayLike, observed: ArrayLike, weight: ArrayLike) -> Figure:
    """Chance of cancelling per day by weeks past the promise, predicted and observed; the ends hold all beyond."""
    late, chance, event, mass = (np.asarray(a, dtype=float) for a in (days_late, predicted, observed, weight))
    known = np.isfinite(late)
    week = np.clip(np.floor(late[known] / 7), -6, 12).astype(int) + 6
    total = np.maximum(np.bincount(week, mass[known], minlength=19), 1e-12)
    middle_days = 7 * (np.arange(19) - 6) + 3.5
    figure, axes = _blank("Cancelling by days past the promise", "days past the promise", "chance per day")
    for label, values in (("predicted", chance), ("observed", event)):
        rate = np.bincount(week, (values * mass)[known], minlength=19) / total
        seen = total > 1e-9
        axes.plot(middle_days[seen], rate[seen], marker="o", label=label)
    axes.legend()
    return figure


def ratio_plot(names: Sequence[str], sums: Sequence[tuple[float, float]], title: str) -> Figure:
    """Observed over expected in each group with two Poisson standard errors; on the line they agree.

    Parameters
    ----------
    sums : observed and expected counts of each group
    """
    observed, expected = np.array(sums, dtype=float).T
    ratio = observed / np.maximum(expected, 1e-12)
    error = 2 * np.sqrt(np.maximum(observed, 1)) / np.maximum(expected, 1e-12)
    figure, axes = _blank(title, "", "observed / expected")
    axes.axhline(1, color="grey", linestyle=":")
    axes.errorbar(np.arange(len(names)), ratio, yerr=error, fmt="o", capsize=3)
    axes.set_xticks(np.arange(len(names)), [f"{n}\n({o:.0f})" for n, o in zip(names, observed, strict=True)])
    axes.set_ylim(0, max(2.0, float(np.nanmax(ratio, initial=0)) * 1.1))
    return figure


def curves_plot(curves: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Curves over days from now, one per name; `curves` is (n_names, n_days + 1)."""
    figure, axes = _blank(title, "days from now", "chance")
    for curve, name in zip(curves, names, strict=True):
        axes.plot(np.arange(len(curve)), curve, label=name)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize="x-small", loc="lower left", framealpha=0.6)
    return figure


def orders_by_frequency_plot(n_orders_so_far: ArrayLike, expected: ArrayLike, actual: ArrayLike) -> Figure:
    """Mean expected and actual orders in the horizon by orders so far, 7 and more together.

    The picture of the expected orders given the past (Fader, Hardie & Lee 2005, Marketing Science 24: 275-284).
    """
    so_far = np.clip(np.asarray(n_orders_so_far, dtype=np.int64), 1, 7) - 1
    n_accounts = np.bincount(so_far, minlength=7)
    names = [f"{n}\n({many:,})" for n, many in zip([*"123456", "7+"], n_accounts.tolist(), strict=True)]
    figure, axes = _blank("Orders to come by orders so far", "orders so far (accounts)", "mean orders in the horizon")
    seen = np.flatnonzero(n_accounts)
    for label, values, line, marker in (("expected", expected, "--", "o"), ("actual", actual, "-", "s")):
        total = np.bincount(so_far, np.asarray(values, dtype=float), minlength=7)
        axes.plot(seen, total[seen] / n_accounts[seen], linestyle=line, marker=marker, label=label)
    axes.set_xticks(np.arange(7), names)
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def coverage_plot(
    names: Sequence[str], shares: ArrayLike, lows: ArrayLike, highs: ArrayLike, goal: float = 0.9
) -> Figure:
    """Share of outcomes within their interval in each group, with the share's own interval and a line at the goal.

    Parameters
    ----------
    names : groups from the top down (tenths of the prediction, segments)
    lows, highs : ends of the interval of each share
    """
    share, low, high = (np.asarray(values, dtype=float) for values in (shares, lows, highs))
    place = np.arange(len(names))
    figure, axes = _blank("Outcomes within their interval", "share of accounts", "")
    figure.set_figheight(max(4.0, 1.2 + 0.22 * len(names)))
    axes.axvline(goal, color="grey", linestyle=":")
    axes.hlines(place, low, high)
    axes.plot(share, place, marker="o", linestyle="")
    axes.set_yticks(place, names, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(min(float(np.nanmin(low, initial=goal)), goal - 0.1) - 0.02, 1.01)
    return figure


def waits_plot(foreseen: np.ndarray, actual: ArrayLike, n_bands: int = 12, n_dots: int = 2000) -> Figure:
    """Actual waits against the median foreseen, and where half and nine tenths of them were foreseen to be.

    Parameters
    ----------
    foreseen : (n_waits, 5), days by which .05, .25, .5, .75 and .95 are foreseen to have ended
    actual : days, of the same waits
    n_bands : of equally many waits; bands and the observed 5, 25, 50, 75 and 95 % are of each
    n_dots : at most so many waits are shown themselves, spread evenly over the rows
    """
    foreseen, waited = np.asarray(foreseen, dtype=float), np.asarray(actual, dtype=float)
    figure, axes = _blank("Foreseen and actual waits for goods", "median foreseen, days", "days")
    if not len(waited):
        return figure
    shown = np.unique(np.linspace(0, len(waited) - 1, n_dots).astype(int))
    axes.plot(foreseen[shown, 2], waited[shown], ".", color="grey", alpha=0.15, markersize=4)
    bands = [band for band in np.array_split(np.argsort(foreseen[:, 2], kind="stable"), n_bands) if len(band)]
    middle, low_90, low_50, high_50, high_90 = (
        np.array([foreseen[band, place].mean() for band in bands]) for place in (2, 0, 1, 3, 4)
    )
    axes.fill_between(middle, low_90, high_90, alpha=0.15, color="tab:blue", label="90 % foreseen")
    axes.fill_between(middle, low_50, high_50, alpha=0.3, color="tab:blue", label="50 % foreseen")
    axes.plot(middle, middle, color="tab:blue", linewidth=1)
    seen = np.array([np.quantile(waited[band], (0.05, 0.25, 0.5, 0.75, 0.95)) for band in bands])
    axes.vlines(middle, seen[:, 0], seen[:, 4], color="black", linewidth=1, label="90 % actual")
    axes.vlines(middle, seen[:, 1], seen[:, 3], color="black", linewidth=3, label="50 % actual")
    axes.plot(middle, seen[:, 2], "o", color="black", markersize=4, label="median actual")
    axes.set_xlim(0, float(middle.max()) * 1.05 + 1)
    axes.set_ylim(0, float(max(high_90.max(), seen[:, 4].max())) * 1.05 + 1)
    axes.legend(fontsize="x-small", loc="upper left")
    return figure


def shares_over_time_plot(shares: Mapping[Any, tuple[float, float, float]], title: str, goal: float = 0.9) -> Figure:
    """A share by day with its interval, and a line at the goal.

    Parameters
    ----------
    shares : share and both ends of its interval, by day
    """
    figure, axes = _blank(title, "", "share")
    axes.axhline(goal, color="grey", linestyle=":")
    if shares:
        share, low, high = np.array(list(shares.values())).T
        axes.vlines(list(shares), low, high, color="tab:blue")
        axes.plot(list(shares), share, "o")  # no line: nothing is known between
        axes.set_ylim(min(float(np.nanmin(low)), goal - 0.1) - 0.02, 1.01)
    axes.tick_params(axis="x", labelrotation=30)
    return figure


def widths_plot(width: pd.Series, n_seen: pd.Series) -> Figure:
    """Mean days between the ends of the 90 % interval by group, widest on top, with how many outcomes were seen."""
    figure, axes = _blank("Suppliers hardest to foresee", "width of the 90 % interval, days", "")
    figure.set_figheight(max(2.5, 1.2 + 0.25 * len(width)))
    names = [f"{str(name)[:LONGEST_NAME]} ({many:,} came)" for name, many in zip(width.index, n_seen, strict=True)]
    axes.barh(np.arange(len(width)), width.to_numpy())
    axes.set_yticks(np.arange(len(width)), names, fontsize="small")
    axes.invert_yaxis()
    return figure


def by_band(
    predicted: ArrayLike, observed: ArrayLike, n_bands: int = 10, weight: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean prediction and mean outcome in bands of equal weight, ordered by prediction.

    >>> by_band([1, 2, 3, 4], [0, 2, 3, 5], n_bands=2)
    (array([1.5, 3.5]), array([1., 4.]))
    """
    prediction, outcome, mass = _weighed(predicted, observed, weight)
    order = np.argsort(prediction, kind="stable")
    middle = np.cumsum(mass[order]) - mass[order] / 2
    band = np.minimum((n_bands * middle / max(mass.sum(), 1e-12)).astype(int), n_bands - 1)
    rows = [order[band == b] for b in range(n_bands)]
    means = [[np.average(values[r], weights=mass[r]) for r in rows if len(r)] for values in (prediction, outcome)]
    return np.array(means[0]), np.array(means[1])


def gain_curve(
    predicted: ArrayLike, outcome: ArrayLike, weight: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of rows and of outcome, from (0, 0) to (1, 1), highest prediction first.

    >>> gain_curve([3, 1], [9, 1])
    (array([0. , 0.5, 1. ]), array([0. , 0.9, 1. ]))
    """
    prediction, value, mass = _weighed(predicted, outcome, weight)
    order = np.argsort(-prediction, kind="stable")
    curves = [np.concatenate([[0.0], np.cumsum(part[order])]) for part in (mass, value * mass)]
    rows, found = (curve / (curve[-1] if curve[-1] != 0 else 1.0) for curve in curves)
    return rows, found


def _weighed(predicted: ArrayLike, outcome: ArrayLike, weight: ArrayLike | None) -> tuple[np.ndarray, ...]:
    prediction, value = np.asarray(predicted, dtype=float), np.asarray(outcome, dtype=float)
    return prediction, value, np.ones(len(prediction)) if weight is None else np.asarray(weight, dtype=float)


def _blank(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # half a second that only a training needs

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes
