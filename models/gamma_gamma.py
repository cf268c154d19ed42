"""Gamma-Gamma: what an account's orders are worth on average, from few of them.

An account's orders are worth Gamma(p, nu) each and nu ~ Gamma(q, gamma) over accounts, so that the mean of few orders
leans on that of all accounts. Fader, Hardie & Lee (2005), RFM and CLV: using iso-value curves for customer base
analysis, Journal of Marketing Research 42(4), 415-430; equations as in Fader & Hardie (2013), The gamma-gamma model
of monetary value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from models.order_histories import log_rising, maximise

LEAST_Q = 1.5


@dataclass(frozen=True)
class GammaGamma:
    """Parameters of the Gamma-Gamma model; `gamma` is in the unit of money of the amounts.

    Parameters
    ----------
    p : shape of an account's orders
    q, gamma : shape and rate of the scales over accounts; q > 1
    """

    p: float
    q: float
    gamma: float

    def log_likelihood(self, n_orders: np.ndarray, mean_amount: np.ndarray) -> np.ndarray:
        """Log-density of each account's mean amount (eq. 1a).

        Parameters
        ----------
        n_orders : orders behind the mean, at least 1 [x]
        mean_amount : their mean amount, above 0 [z]

        >>> model = GammaGamma(p=6.25, q=3.74, gamma=15.44)
        >>> float(model.log_likelihood(np.array([2.0]), np.array([35.0]))[0].round(4))
        -4.0958
        """
        n, z = np.asarray(n_orders, dtype=np.float64), np.asarray(mean_amount, dtype=np.float64)
        return log_rising(self.p * n, self.q) - log_rising(1.0, self.q - 1.0) + self._of_amount(n, z)

    def expected_amount(self, n_orders: np.ndarray, mean_amount: np.ndarray) -> np.ndarray:
        """Mean amount of an account's future orders (eq. 5); without orders that of all accounts, p gamma / (q - 1).

        >>> model = GammaGamma(p=6.25, q=3.74, gamma=15.44)
        >>> model.expected_amount(np.array([0, 2]), np.array([np.nan, 35.0])).round(2)
        array([35.22, 35.04])
        """
        n = np.asarray(n_orders, dtype=np.float64)
        total = np.where(n > 0, n * np.asarray(mean_amount, dtype=np.float64), 0.0)
        return np.asarray(self.p * (self.gamma + total) / (self.p * n + self.q - 1.0))

    def _of_amount(self, n: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Terms of the log-likelihood that know the amount."""
        odds = n * z / self.gamma
        return -self.q * np.log1p(odds) - self.p * n * np.log1p(1 / odds) - np.log(z)


def fit(n_orders: np.ndarray, mean_amount: np.ndarray) -> GammaGamma:
    """Parameters under which the mean amounts are likeliest, see `maximise` for the weak pull.

    Only q > 1.5 is searched (its excess by its logarithm): with q <= 1 the law of amounts has no mean, and close above
    it the mean of all accounts is far beyond what nearly all of them spend, and so is every account's with few orders.

    Parameters
    ----------
    n_orders : orders behind each mean, at least 1
    mean_amount : above 0

    Raises
    ------
    ValueError
        If an amount is not above 0 and finite, or `n_orders` is below 1.
    """
    n, z = (np.atleast_1d(np.asarray(c, dtype=np.float64)) for c in (n_orders, mean_amount))
    _refuse("mean_amount is not above 0 and finite", ~(np.isfinite(z) & (z > 0)))
    _refuse("n_orders is not finite or below 1", ~(np.isfinite(n) & (n >= 1)))
    n_accounts = max(len(n), 1)
    unit = float(np.exp(np.log(z).sum() / n_accounts))
    levels, place = np.unique(n, return_inverse=True)
    accounts = np.bincount(place, minlength=len(levels))

    def log_likelihood(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        p, over_one, gamma = parameters.tolist()
        model = GammaGamma(p, LEAST_Q + over_one, gamma)
        return _sum_and_gradient(model, levels, accounts, n, z / unit)

    p, over_one, gamma = maximise(log_likelihood, 3, n_accounts).tolist()
    return GammaGamma(p, LEAST_Q + over_one, gamma * unit)


def _sum_and_gradient(
    m: GammaGamma, levels: np.ndarray, accounts: np.ndarray, n: np.ndarray, z: np.ndarray
) -> tuple[float, np.ndarray]:
    """Sum of the log-likelihood over accounts and its gradient by p, q and gamma.

    Parameters
    ----------
    levels, accounts : distinct `n` and the accounts at each: gamma functions are reckoned once per level
    """
    total = n * z
    of_count = log_rising(m.p * levels, m.q) - log_rising(1.0, m.q - 1.0)
    value = accounts @ of_count + m._of_amount(n, z).sum()
    end = digamma(m.p * levels + m.q)
    by_p = (accounts * levels) @ (end - digamma(m.p * levels)) - n @ np.log1p(m.gamma / total)
    by_q = accounts @ (end - digamma(m.q)) - np.log1p(total / m.gamma).sum()
    by_gamma = (m.q / m.gamma - (m.p * n + m.q) / (m.gamma + total)).sum()
    return float(value), np.array([by_p, by_q, by_gamma])


def _refuse(what: str, is_bad: np.ndarray) -> None:
    if is_bad.any():
        rows = np.flatnonzero(is_bad)
        raise ValueError(f"amounts: {what} in {len(rows)} of {len(is_bad)} rows, e.g. rows {rows[:3].tolist()}")
