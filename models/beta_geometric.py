"""BG/NBD: accounts that order at random while active and may leave for good after any repeat order.

An active account orders at rate lambda ~ Gamma(r, alpha) and leaves after each repeat order with chance
p ~ Beta(a, b). Fader, Hardie & Lee (2005), "Counting your customers" the easy way: an alternative to the Pareto/NBD
model, Marketing Science 24(2), 275-284.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit

from models.order_histories import ROWS_AT_ONCE, Histories, log_rising, maximise

STEP = 0.4  # of the log-odds of leaving in `expected_orders`, which is then right to 1e-9
CORE = 12.0  # equal steps up to here on both sides
TAIL = 40.0  # exp(-40) of the law's height is left out


@dataclass(frozen=True)
class BetaGeometric:
    """Parameters of BG/NBD; `alpha` is in the unit of time of the histories that it was fitted on.

    Parameters
    ----------
    r, alpha : shape and rate of the order rate's gamma law
    a, b : of the beta law of leaving after a repeat order
    """

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, h: Histories) -> np.ndarray:
        """Log-likelihood of each history (eq. 6).

        >>> model = BetaGeometric(r=0.243, alpha=4.414, a=0.793, b=2.426)
        >>> float(model.log_likelihood(Histories.of([2], [30.43], [38.86]))[0].round(4))
        -9.4586
        """
        return self._of_count(h.n_repeats) + self._of_clock(h)

    def p_alive(self, h: Histories) -> np.ndarray:
        """Chance that the account has not left (Fader & Hardie 2008, Computing P(alive) using the BG/NBD model).

        1 without repeat orders, for nobody leaves before the first one: not a measure of churn.
        """
        return np.asarray(expit(-self._log_odds_left(h)))

    def p_no_order(self, h: Histories, days: np.ndarray | float) -> np.ndarray:
        """Chance that no order comes within `days`: the account has left, or is active and stays quiet.

        Equals exp(log_likelihood(x, t_x, T + days) - log_likelihood(x, t_x, T)).

        Parameters
        ----------
        days : one horizon, or one per history
        """
        quiet = -(self.r + h.n_repeats) * np.log1p(days / (self.alpha + h.age_days))
        return 1.0 + self.p_alive(h) * np.expm1(quiet)

    def expected_orders(self, h: Histories, days: np.ndarray | float) -> np.ndarray:
        """Orders expected within `days` (eq. 10).

        Parameters
        ----------
        days : one horizon, or one per history

        >>> model = BetaGeometric(r=0.243, alpha=4.414, a=0.793, b=2.426)
        >>> float(model.expected_orders(Histories.of([2], [30.43], [38.86]), 39.0)[0].round(3))
        1.226
        """
        stretch = np.broadcast_to(days / (self.alpha + h.age_days), h.n_repeats.shape)
        x, place = np.unique(h.n_repeats, return_inverse=True)
        p, weights = _leaving_chances(self.a, self.b + x)
        active = np.zeros(len(place))
        for start in range(0, len(place), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            active[rows] = _orders_if_active(
                p[place[rows]], weights[place[rows]], h.n_repeats[rows] + self.r, stretch[rows]
            )
        return self.p_alive(h) * active

    def _of_count(self, x: np.ndarray) -> np.ndarray:
        """Terms of the log-likelihood that know the number of repeat orders only."""
        return log_rising(self.r, x) + log_rising(self.b, x) - log_rising(self.a + self.b, x)

    def _of_clock(self, h: Histories) -> np.ndarray:
        """Terms of the log-likelihood that know times too."""
        quiet = -self.r * np.log1p(h.age_days / self.alpha) - h.n_repeats * np.log(self.alpha + h.age_days)
        return quiet + np.logaddexp(0.0, self._log_odds_left(h))

    def _log_odds_left(self, h: Histories) -> np.ndarray:
        """Log-odds that the account left with its last order, -inf without repeats."""
        silence = np.log1p((h.age_days - h.last_days) / (self.alpha + h.last_days))
        odds = np.log(self.a / (self.b + np.maximum(h.n_repeats, 1.0) - 1.0)) + (self.r + h.n_repeats) * silence
        return np.where(h.n_repeats > 0, odds, -np.inf)

    def _gradient_of_count(self, x: np.ndarray) -> np.ndarray:
        """Derivatives of `_of_count` by r, alpha, a and b, (4, n)."""
        both = digamma(self.a + self.b) - digamma(self.a + self.b + x)
        by_b = both + digamma(self.b + x) - digamma(self.b)
        return np.stack([digamma(self.r + x) - digamma(self.r), np.zeros_like(x), both, by_b])

    def _gradient_of_clock(self, h: Histories) -> np.ndarray:
        """Derivatives of the sum of `_of_clock` over accounts by r, alpha, a and b, (4,)."""
        left = h.count * expit(self._log_odds_left(h))
        n, at_end, at_last = self.r + h.n_repeats, self.alpha + h.age_days, self.alpha + h.last_days
        by_r = left @ np.log1p((h.age_days - h.last_days) / at_last) - h.count @ np.log1p(h.age_days / self.alpha)
        by_alpha = h.count @ (self.r / self.alpha - n / at_end) + left @ (n * (1 / at_end - 1 / at_last))
        by_b = -(left @ (1 / (self.b + np.maximum(h.n_repeats, 1.0) - 1.0)))
        return np.array([by_r, by_alpha, left.sum() / self.a, by_b])


def _leaving_chances(a: float, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of Beta(a, b) for a quadrature, and their weights: each (n, n_nodes), a row per element of `b`.

    Equal steps of the log-odds of p, as wide as the law but at most `STEP`, out to `CORE` on both sides of a / b, then
    ever wider ones until the tails are done: for smooth functions of log p the error falls exponentially in 1 / STEP.
    """
    width = np.minimum(np.sqrt(1 / a + 1 / b), 1.0)[:, None]
    end = CORE + np.log1p(TAIL / (min(a, float(b.min(initial=1.0))) * float(width.min(initial=1.0))))
    tau = STEP * np.arange(-np.ceil(end / STEP), np.ceil(end / STEP) + 1)
    log_odds = np.log(a / b)[:, None] + width * (tau + 2 * np.exp(-CORE) * np.sinh(tau))
    height = a * log_odds - (a + b)[:, None] * np.logaddexp(0.0, log_odds)
    weights = np.exp(height - height.max(axis=1, keepdims=True)) * (1 + 2 * np.exp(-CORE) * np.cosh(tau))
    return np.asarray(expit(log_odds)), weights / weights.sum(axis=1, keepdims=True)


def _orders_if_active(p: np.ndarray, weights: np.ndarray, n: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Mean over the chance p of leaving of (1 - (1 + p stretch)^-n) / p, the orders of an account active now.

    Parameters
    ----------
    n : r + x
    stretch : horizon / (alpha + T)
    """
    # Below 1e-30 the fraction has long reached its limit, n x stretch.
    share = np.maximum(p * stretch[:, None], 1e-30)
    return stretch * -(weights * np.expm1(-n[:, None] * np.log1p(share)) / share).sum(axis=1)


def fit(h: Histories) -> BetaGeometric:
    """Parameters under which the histories are likeliest (eq. 7), see `maximise` for the weak pull to 1."""
    unit_days = h.mean_age_days()
    scaled = h.grouped().in_units_of(unit_days)
    x, place = np.unique(scaled.n_repeats, return_inverse=True)
    accounts = np.bincount(place, weights=scaled.count)

    def log_likelihood(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        model = BetaGeometric(*parameters.tolist())
        value = accounts @ model._of_count(x) + scaled.count @ model._of_clock(scaled)
        return float(value), model._gradient_of_count(x) @ accounts + model._gradient_of_clock(scaled)

    r, alpha, a, b = maximise(log_likelihood, 4, h.n_accounts).tolist()
    return BetaGeometric(r, alpha * unit_days, a, b)
