"""Order histories of a book of accounts, and the search for the parameters under which they are likeliest.

An account's history is all that BG/NBD and Pareto/NBD read: how many repeat orders it placed [x], when the last one
came [t_x] and how long it has been watched [T], both counted from its first order. Any unit of time will do, as long
as it is one; horizons are then in that unit too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

# Each log parameter leans on 0 as under a normal law with standard deviation 30: a hundred accounts do not feel it,
# but a book that tells nothing about a parameter (all accounts alike, or nobody came back) keeps it finite.
LEANING = 1 / 30**2
WIDEST = 16.0  # log parameters stay within +-16: no step of the search can overflow
ROWS_AT_ONCE = 2048  # rows x nodes of a quadrature then stay within the processor's cache, and memory is no matter
STIRLING_FROM = 1e4  # from here on Stirling's series is exact to 1e-14 after 1 / (12 z)


@dataclass(frozen=True, eq=False)
class Histories:
    """One row per order history.

    Parameters
    ----------
    n_repeats : orders after the first [x]; whole numbers kept as float
    last_days : days from the first order to the last [t_x], 0 without repeats
    age_days : days from the first order to the day of the question [T]
    count : accounts that share the history
    """

    n_repeats: np.ndarray
    last_days: np.ndarray
    age_days: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, n_repeats: np.ndarray, last_days: np.ndarray, age_days: np.ndarray) -> Histories:
        """Check histories of one account each.

        Raises
        ------
        ValueError
            If a number is not finite, `n_repeats` is negative or broken, or not 0 <= `last_days` <= `age_days`, or
            `last_days` is above 0 without a repeat order.

        >>> Histories.of([2, 0], [30.0, 0.0], [39.0, 39.0]).n_accounts
        2.0
        """
        x, last, age = (np.atleast_1d(np.asarray(c, dtype=np.float64)) for c in (n_repeats, last_days, age_days))
        if not x.shape == last.shape == age.shape or x.ndim != 1:
            raise ValueError(f"histories: columns of unequal shapes {x.shape}, {last.shape}, {age.shape}")
        finite = np.isfinite(x) & np.isfinite(last) & np.isfinite(age)
        _refuse("a number is not finite", ~finite)
        _refuse("n_repeats is negative or no whole number", (x < 0) | (x != np.floor(x)))
        _refuse("not 0 <= last_days <= age_days", (last < 0) | (last > age))
        _refuse("last_days is above 0 without a repeat order", (x == 0) & (last > 0))
        return cls(x, last, age, np.ones(len(x)))

    @property
    def n_accounts(self) -> float:
        """Accounts behind all rows."""
        return float(self.count.sum())

    def grouped(self) -> Histories:
        """Equal histories as one row each, ordered by `n_repeats`; `count` adds up.

        >>> Histories.of([1, 0, 1], [3, 0, 3], [9, 9, 9]).grouped().count
        array([1., 2.])
        """
        order = np.lexsort((self.age_days, self.last_days, self.n_repeats))
        columns = [column[order] for column in (self.n_repeats, self.last_days, self.age_days)]
        is_new = np.zeros(len(order), dtype=bool)
        is_new[:1] = True
        for column in columns:
            is_new[1:] |= column[1:] != column[:-1]
        starts = np.flatnonzero(is_new)
        count = np.add.reduceat(self.count[order], starts) if len(starts) else self.count
        return Histories(*(column[starts] for column in columns), count)

    def after(self, days: np.ndarray | float) -> Histories:
        """The same histories `days` later, no order having come."""
        return replace(self, age_days=self.age_days + days)

    def in_units_of(self, days: float) -> Histories:
        """Times divided by `days`."""
        return replace(self, last_days=self.last_days / days, age_days=self.age_days / days)

    def pieces(self) -> Iterator[Histories]:
        """The same rows, `ROWS_AT_ONCE` at a time."""
        for start in range(0, max(len(self.count), 1), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            yield Histories(self.n_repeats[rows], self.last_days[rows], self.age_days[rows], self.count[rows])

    def mean_age_days(self) -> float:
        """Mean of `age_days` over accounts, 1 if nobody has any age: the unit in which fits reckon."""
        mean = float(self.count @ self.age_days / max(self.n_accounts, 1.0))
        return mean if mean > 0 else 1.0


def _refuse(what: str, is_bad: np.ndarray) -> None:
    if is_bad.any():
        rows = np.flatnonzero(is_bad)
        raise ValueError(f"histories: {what} in {len(rows)} of {len(is_bad)} rows, e.g. rows {rows[:3].tolist()}")


def maximise(
    log_likelihood: Callable[[np.ndarray], tuple[float, np.ndarray]], n_parameters: int, n_accounts: float
) -> np.ndarray:
    """Positive parameters under which the accounts are likeliest, by L-BFGS-B on their logarithms.

    Every log parameter is weakly drawn to 0 (`LEANING`); scale the data so that 1 is a plausible value of each.

    Parameters
    ----------
    log_likelihood : parameters (n_parameters,) -> sum over accounts, and its gradient (n_parameters,)
    n_accounts : accounts in the sum; the search works on their mean, so that its tolerances mean the same everywhere
    """
    weight = 1.0 / max(n_accounts, 1.0)

    def loss(log_parameters: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = np.exp(log_parameters)
        value, gradient = log_likelihood(parameters)
        leaning = 0.5 * LEANING * float(log_parameters @ log_parameters)
        return weight * (leaning - value), weight * (LEANING * log_parameters - gradient * parameters)

    found = minimize(
        loss,
        np.zeros(n_parameters),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-WIDEST, WIDEST)] * n_parameters,
        options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-7},
    )
    return np.exp(found.x)


def log_rising(start: np.ndarray | float, steps: np.ndarray | float) -> np.ndarray:
    """Log of Gamma(start + steps) / Gamma(start), without the loss of digits where `start` is large.

    >>> float(np.exp(log_rising(3.0, 2.0)).round(9))  # 3 x 4
    12.0
    """
    start, steps = np.broadcast_arrays(np.asarray(start, dtype=np.float64), np.asarray(steps, dtype=np.float64))
    is_large = start > STIRLING_FROM
    if not is_large.any():
        return np.asarray(gammaln(start + steps) - gammaln(start))
    big = np.where(is_large, start, STIRLING_FROM)
    end = big + steps
    stirling = (big - 0.5) * np.log1p(steps / big) + steps * (np.log(end) - 1) + (1 / end - 1 / big) / 12
    small = np.where(is_large, 1.0, start)
    return np.where(is_large, stirling, gammaln(small + steps) - gammaln(small))
