"""Back-order lines whose hazards are known day by day, so that what a model learned can be held against the truth.

Every line has two daily hazards, of being cancelled by its customer and of being shipped by planners who serve large
and loud customers first, both given its features and, if `u` is above 0, an urgency nobody recorded that raises both.
A line is watched for up to `LAST_DAY` days and leaves on a day by a cause, or is still open when watching ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

LAST_DAY = 120
NUMERIC = (
    "log_value", "qty", "tenure", "n_orders", "past_cancel_rate", "promise", "slips_before", "price_sens",
    "substitutes", "goodwill", "margin", "season", "supplier_rel",
)  # fmt: skip
TEXT = ("region", "category", "channel")
NEVER, CANCELLED, SHIPPED = 0, 1, 2
WATCHED_DAYS = 365  # a line's wait began on any of the days before the newest one with the same chance
LINES_AT_ONCE = 2000  # 2,000 x 120 days x 8 bytes = 2 MB for each intermediate array
LONGEST_WAIT_DAYS = 60  # of the open lines that are scored

Columns = Mapping[str, np.ndarray]
LogOdds = Callable[[Columns, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class World:
    """How customers cancel.

    Parameters
    ----------
    name : in a few words
    cancels : log-odds of cancelling by day, (n_lines, n_days), from columns (n_lines, 1) and days (n_days,)
    u : effect of one standard deviation of the unseen urgency on both log-odds
    """

    name: str
    cancels: LogOdds
    u: float = 0.0


@dataclass(frozen=True, eq=False)
class Book:
    """Lines and what is known of them; all arrays have one entry per line.

    Parameters
    ----------
    features : the columns `NUMERIC` and `TEXT`, `TEXT` as text
    urgency : U, in standard deviations; nobody may learn from it
    waited_days : how long each line has waited when it is first looked at
    left_on : day of its wait on which it left or was last watched, counted from 1
    cause : NEVER (still open then), CANCELLED or SHIPPED
    """

    features: pd.DataFrame
    urgency: np.ndarray
    waited_days: np.ndarray
    left_on: np.ndarray
    cause: np.ndarray

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.features)

    @property
    def value(self) -> np.ndarray:
        """Margin of each line, what a cancellation costs."""
        return np.exp(self.features["log_value"].to_numpy()) * self.features["margin"].to_numpy()

    def take(self, places: np.ndarray) -> Book:
        """Return the lines at these places."""
        features = self.features.iloc[places].reset_index(drop=True)
        return Book(features, *(a[places] for a in (self.urgency, self.waited_days, self.left_on, self.cause)))


def history(world: World, n_lines: int, seed: int) -> Book:
    """Lines watched from the first day of their wait on, as a model may learn from them."""
    features, urgency = draw_features(n_lines, seed)
    left_on, cause = draw_outcomes(world, features, urgency, seed + 500_000)
    return Book(features, urgency, np.zeros(n_lines, int), left_on, cause)


def open_lines(world: World, n_lines: int, seed: int) -> Book:
    """Lines that have waited 0 to 59 days and are still open: those that left earlier are not among them."""
    # The others' seeds count from 1: these draws are none of theirs.
    drawn = history(world, 4 * n_lines, seed + 100_000)
    waited = np.random.default_rng(seed + 200_000).integers(0, LONGEST_WAIT_DAYS, len(drawn))
    is_open = np.flatnonzero(drawn.left_on > waited)[:n_lines]
    if len(is_open) < n_lines:
        raise ValueError(
            f"{world.name}: {len(is_open)} of {n_lines} lines are still open; draw more than four times as many"
        )
    found = drawn.take(is_open)
    return Book(found.features, found.urgency, waited[is_open], found.left_on, found.cause)


def true_curves(world: World, lines: Book, n_days: int) -> np.ndarray:
    """Chance that a line which has waited so long is still wanted 0..n_days days later if nobody ships it."""
    return _in_parts(lines, lambda part: after_waiting(_still_wanted(world, part, part.urgency), part, n_days))


def best_curves_without_urgency(world: World, lines: Book, n_days: int, n_points: int = 21) -> np.ndarray:
    """Same for somebody who knows every hazard but not the urgency: averaged over it as it is among lines still open.

    Urgent lines leave sooner, so the longer a line has waited the calmer its customer is likely to be.
    """
    points, mass = np.polynomial.hermite_e.hermegauss(n_points)

    def averaged(part: Book) -> np.ndarray:
        line = np.arange(len(part))
        total, curves = np.zeros(len(part)), np.zeros((len(part), n_days + 1))
        for urgency, share in zip(points, mass, strict=True):
            given = np.full(len(part), urgency)
            cancel, ship = hazards(world, part.features, given)
            open_so_far = np.c_[np.ones(len(part)), np.cumprod((1 - cancel) * (1 - ship), axis=1)]
            weight = share * open_so_far[line, part.waited_days]
            curves += weight[:, None] * after_waiting(_still_wanted(world, part, given), part, n_days)
            total += weight
        return curves / total[:, None]

    return _in_parts(lines, averaged)


def after_waiting(curves: np.ndarray, lines: Book, n_days: int) -> np.ndarray:
    """S(w + u) / S(w) for u = 0..n_days of curves that start at the first day of the wait; held beyond their end.

    Parameters
    ----------
    curves : (n_lines, n_known_days + 1), the first column is 1
    """
    waited = lines.waited_days
    until = np.minimum(waited[:, None] + np.arange(n_days + 1), curves.shape[1] - 1)
    start = np.maximum(curves[np.arange(len(lines)), waited], 1e-9)
    return np.take_along_axis(curves, until, axis=1) / start[:, None]


def draw_features(n_lines: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Features and urgency; the order of the draws is that of the project's anchor, so the lines are the same."""
    draw, n = np.random.default_rng(seed), n_lines
    columns = {
        "log_value": draw.normal(6, 1, n),
        "qty": draw.poisson(4, n) + 1.0,
        "tenure": draw.exponential(3, n),
        "n_orders": draw.poisson(8, n) * 1.0,
        "past_cancel_rate": draw.beta(1.2, 8, n),
        "promise": draw.integers(3, 60, n) * 1.0,  # days from the order to the day it was promised for
        "slips_before": draw.poisson(0.6, n) * 1.0,
        "price_sens": draw.normal(0, 1, n),
        "substitutes": draw.integers(0, 4, n) * 1.0,
        "region": draw.integers(0, 6, n).astype("U1"),
        "category": draw.integers(0, 10, n).astype("U1"),
        "goodwill": (draw.random(n) < 0.3) * 1.0,
        "margin": draw.normal(0.3, 0.1, n),
        "channel": draw.integers(0, 3, n).astype("U1"),
        "season": draw.random(n),
        "supplier_rel": draw.beta(4, 2, n),
    }
    return pd.DataFrame(columns)[[*NUMERIC, *TEXT]], draw.normal(0, 1, n)


def draw_outcomes(
    world: World, features: pd.DataFrame, urgency: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Day on which each line leaves or is last watched, and the cause; of two causes on one day each wins half."""
    draw = np.random.default_rng(seed)
    n = len(features)
    left_on, cause = np.empty(n, int), np.empty(n, int)
    for first in range(0, n, LINES_AT_ONCE):
        part = slice(first, first + LINES_AT_ONCE)
        cancel, ship = hazards(world, features.iloc[part], urgency[part])
        cancelled, shipped = (_first_day(draw.random(h.shape) < h) for h in (cancel, ship))
        last = np.minimum(np.ceil(draw.random(len(cancel)) * WATCHED_DAYS), LAST_DAY).astype(int)
        is_first = (cancelled < shipped) | ((cancelled == shipped) & (draw.random(len(cancel)) < 0.5))
        left = np.minimum(cancelled, shipped)
        left_on[part] = np.minimum(left, last)
        cause[part] = np.where(left > last, NEVER, np.where(is_first, CANCELLED, SHIPPED))
    return left_on, cause


def hazards(world: World, features: pd.DataFrame, urgency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chance on each day 1..LAST_DAY of being cancelled, and of being shipped, given neither before."""
    day = np.arange(1, LAST_DAY + 1)
    columns = {name: features[name].to_numpy(dtype=float)[:, None] for name in features.columns}
    unseen = world.u * urgency[:, None]
    return _chance(world.cancels(columns, day) + unseen), _chance(planners_ship(columns, day) + unseen)


def planners_ship(x: Columns, day: np.ndarray) -> np.ndarray:
    """Log-odds of being shipped: value, known and complaining customers first, more once late, fewer of some goods."""
    return (
        -4.3 + 0.70 * (x["log_value"] - 6) + 0.25 * np.log1p(x["n_orders"]) + 1.8 * (x["supplier_rel"] - 0.66)
        + 2.0 * x["past_cancel_rate"] + 0.5 * (day > x["promise"]) - 0.15 * (x["category"] % 4)
        + 0.2 * np.sin(day / 7) + 0.25 * x["price_sens"]
    )  # fmt: skip


def broken_promise(x: Columns, day: np.ndarray) -> np.ndarray:
    """Patience until the promised day, then a jump that grows for the price-sensitive [the anchor's known truth]."""
    late = np.maximum(day - x["promise"], 0)
    is_late = late > 0
    return (
        -6.6 + 5.0 * x["past_cancel_rate"] + 0.35 * x["price_sens"] + 0.30 * x["substitutes"] * (x["channel"] == 0)
        - 0.25 * np.log1p(x["tenure"]) + 0.25 * x["slips_before"] + 0.08 * (x["category"] % 3 - 1) * np.log1p(day)
        + (1.6 - 0.45 * x["goodwill"]) * is_late + 0.55 * np.log1p(late) * (x["price_sens"] > 0)
        - 0.02 * np.minimum(late, 60) * (x["log_value"] > 6.5) + 0.15 * (x["log_value"] - 6)
    )  # fmt: skip


def proportional(x: Columns, day: np.ndarray) -> np.ndarray:
    """Nothing but proportional effects on a slowly rising hazard, no promise in it: Cox's own ground."""
    score = (
        4.0 * x["past_cancel_rate"] + 0.40 * x["price_sens"] - 0.30 * np.log1p(x["tenure"]) + 0.20 * x["slips_before"]
        + 0.20 * x["substitutes"] + 0.25 * (x["log_value"] - 6) + 0.30 * (x["channel"] == 0)
    )  # fmt: skip
    # The chance of a day that gives exactly proportional hazards: 1 - exp(-exp(a)), written as log-odds.
    rate = np.exp(np.clip(-6.3 + 0.25 * np.log(day) + score, -12, 2))
    return np.log(np.expm1(rate))


def early_doubt(x: Columns, day: np.ndarray) -> np.ndarray:
    """Who doubts, doubts at once: the hazard falls with the wait, fastest where there are substitutes."""
    falls = 0.55 + 0.15 * x["substitutes"]
    return (
        -4.0 + 3.0 * x["past_cancel_rate"] + 0.45 * x["substitutes"] + 0.30 * x["price_sens"] * (x["channel"] == 0)
        - falls * np.log(day) + 0.6 * (day > x["promise"])
    )  # fmt: skip


def crossing(x: Columns, day: np.ndarray) -> np.ndarray:
    """Price-sensitive customers leave early, the others late, so hazards cross after three weeks; a weekly rhythm."""
    return (
        -5.2 + 3.0 * x["past_cancel_rate"] + 0.5 * x["price_sens"] * (3.0 - np.log(day)) + 0.25 * x["slips_before"]
        + 0.8 * (day > x["promise"]) + 0.4 * np.sin(2 * np.pi * day / 7)
    )  # fmt: skip


KNOWN_TRUTH = World("known truth", broken_promise)
COX_GROUND = World("proportional hazards", proportional)
OTHER_SHAPES = (COX_GROUND, World("hazard falling with the wait", early_doubt), World("crossing hazards", crossing))


def _still_wanted(world: World, lines: Book, urgency: np.ndarray) -> np.ndarray:
    cancel, _ = hazards(world, lines.features, urgency)
    return np.c_[np.ones(len(lines)), np.cumprod(1 - cancel, axis=1)]


def _in_parts(lines: Book, curves: Callable[[Book], np.ndarray]) -> np.ndarray:
    places = (np.arange(first, min(first + LINES_AT_ONCE, len(lines))) for first in range(0, len(lines), LINES_AT_ONCE))
    return np.concatenate([curves(lines.take(part)) for part in places])


def _first_day(happens: np.ndarray) -> np.ndarray:
    return np.where(happens.any(axis=1), happens.argmax(axis=1) + 1, LAST_DAY + 1)


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))
