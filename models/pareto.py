"""Pareto/NBD: accounts that order at random while active and leave for good at some unseen moment.

An active account orders at rate lambda ~ Gamma(r, alpha) and lives an exponential time of rate mu ~ Gamma(s, beta).
Schmittlein, Morrison & Colombo (1987), Counting your customers: who are they and what will they do next?, Management
Science 33(1), 1-24; equations as in Fader & Hardie (2005), A note on deriving the Pareto/NBD model and related
expressions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, exprel

from models.order_histories import Histories, log_rising, maximise

N_NODES = 20  # log-odds of leaving are then right to 1e-13 near usual parameters, to 1e-7 far from them


@dataclass(frozen=True)
class ParetoNBD:
    """Parameters of Pareto/NBD; `alpha` and `beta` are in the unit of time of the histories.

    Parameters
    ----------
    r, alpha : shape and rate of the order rate's gamma law
    s, beta : shape and rate of the gamma law of leaving
    """

    r: float
    alpha: float
    s: float
    beta: float

    def log_likelihood(self, h: Histories) -> np.ndarray:
        """Log-likelihood of each history (eq. 18, as one integral over the moment of leaving).

        >>> model = ParetoNBD(r=0.553, alpha=10.578, s=0.606, beta=11.669)
        >>> float(model.log_likelihood(Histories.of([2], [30.43], [38.86]))[0].round(4))
        -9.5543
        """
        return log_rising(self.r, h.n_repeats) + self._of_clock(h)

    def p_alive(self, h: Histories) -> np.ndarray:
        """Chance that the account has not left (eq. 36): says little about churn, see `p_no_order`."""
        return np.asarray(expit(-self._log_odds_left(h)))

    def p_no_order(self, h: Histories, days: np.ndarray | float) -> np.ndarray:
        """Chance that no order comes within `days`: the account has left, leaves, or stays quiet.

        Equals exp(log_likelihood(x, t_x, T + days) - log_likelihood(x, t_x, T)).

        Parameters
        ----------
        days : one horizon, or one per history

        >>> model = ParetoNBD(r=0.553, alpha=10.578, s=0.606, beta=11.669)
        >>> model.p_no_order(Histories.of([2, 0], [30.43, 0.0], [38.86, 38.86]), 39.0).round(3)
        array([0.408, 0.931])
        """
        return np.minimum(np.exp(self._of_clock(h.after(days)) - self._of_clock(h)), 1.0)

    def expected_orders(self, h: Histories, days: np.ndarray | float) -> np.ndarray:
        """Orders expected within `days` (eq. 41).

        Parameters
        ----------
        days : one horizon, or one per history

        >>> model = ParetoNBD(r=0.553, alpha=10.578, s=0.606, beta=11.669)
        >>> float(model.expected_orders(Histories.of([2], [30.43], [38.86]), 39.0)[0].round(3))
        1.455
        """
        stretch = np.log1p(days / (self.beta + h.age_days))
        # (1 - e^-(s-1)stretch) / (s - 1), whole also where s = 1.
        active = (self.beta + h.age_days) * stretch * exprel((1 - self.s) * stretch)
        return self.p_alive(h) * active * (self.r + h.n_repeats) / (self.alpha + h.age_days)

    def _of_clock(self, h: Histories) -> np.ndarray:
        """Terms of the log-likelihood that know times."""
        return self._of_staying(h) + np.logaddexp(0.0, self._log_odds_left(h))

    def _of_staying(self, h: Histories) -> np.ndarray:
        """Log-likelihood, terms of `n_repeats` apart, that an account orders so and is still active."""
        quiet = -self.r * np.log1p(h.age_days / self.alpha) - h.n_repeats * np.log(self.alpha + h.age_days)
        return quiet - self.s * np.log1p(h.age_days / self.beta)

    def _log_odds_left(self, h: Histories) -> np.ndarray:
        """Log-odds that the account has left."""
        return np.concatenate([_leaving(self, piece).log_odds for piece in h.pieces()])

    def _sum_and_gradient(self, h: Histories) -> np.ndarray:
        """Sum of `_of_clock` over accounts and its derivatives by r, alpha, s and beta, (5,)."""
        leaving = _leaving(self, h)
        value = h.count @ (self._of_staying(h) + np.logaddexp(0.0, leaving.log_odds))
        left = h.count * expit(leaving.log_odds)
        stays, n = h.count - left, self.r + h.n_repeats
        by_r = -(stays @ np.log1p(h.age_days / self.alpha)) - left @ (leaving.log_alpha - np.log(self.alpha))
        by_s = -(stays @ np.log1p(h.age_days / self.beta)) - left @ (leaving.log_beta - np.log(self.beta))
        by_alpha = h.count.sum() * self.r / self.alpha
        by_alpha -= stays @ (n / (self.alpha + h.age_days)) + left @ (n * leaving.over_alpha)
        by_beta = h.count.sum() * self.s / self.beta
        by_beta -= stays @ (self.s / (self.beta + h.age_days)) + left @ ((self.s + 1) * leaving.over_beta)
        return np.array([value, by_r, by_alpha, by_s + left.sum() / self.s, by_beta])


@dataclass(frozen=True, eq=False)
class _Leaving:
    """One row per history: the odds that the account has left, and means over the moment u at which it then did.

    Parameters
    ----------
    log_odds : -inf where no time has passed since the last order
    log_alpha, log_beta : means of log(alpha + u) and log(beta + u)
    over_alpha, over_beta : means of 1 / (alpha + u) and 1 / (beta + u)
    """

    log_odds: np.ndarray
    log_alpha: np.ndarray
    log_beta: np.ndarray
    over_alpha: np.ndarray
    over_beta: np.ndarray


def _leaving(model: ParetoNBD, h: Histories) -> _Leaving:
    """Integrate over the moment of leaving, between the last order and now.

    The odds are s (alpha + T)^(r+x) (beta + T)^s times the integral over u from t_x to T of
    (alpha + u)^-(r+x) (beta + u)^-(s+1), the likelihood of leaving at u over that of staying. Published forms write
    the integral as a difference of two 2F1, which overflow; Legendre's nodes on a stretched u do not.
    """
    n, s, idle = model.r + h.n_repeats, model.s, h.age_days - h.last_days
    is_alpha_low = model.alpha <= model.beta
    low, high = sorted((model.alpha, model.beta))
    low_power, high_power = (n, s + 1) if is_alpha_low else (s + 1, n)
    low_start, high_start = low + h.last_days, high + h.last_days
    # In v = log((low + u) / (low + t_x)) the integrand falls about as exp(-steep v), ever steeper. In exp(-fall v) it
    # is then the power steep / fall, smooth enough at 0 for few nodes if that is about 6.
    steep = low_power + high_power * low_start / high_start - 1.0
    fall = np.maximum(steep, 0.5) / 6.0
    reach = -np.expm1(-fall * np.log1p(idle / low_start))
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    v = np.log1p(reach[:, None] * (-0.5 - 0.5 * nodes)) / -fall[:, None]
    low_now = low_start[:, None] * np.exp(v)
    high_now = low_now + (high - low)
    high_grown = np.log(high_now / high_start[:, None])
    share = 0.5 * weights * np.exp(_column(1.0 + fall - low_power) * v - _column(high_power) * high_grown)
    total = share.sum(axis=1)
    share /= total[:, None]
    grown = n * np.log1p(idle / (model.alpha + h.last_days)) + s * np.log1p(idle / (model.beta + h.last_days))
    with np.errstate(divide="ignore"):  # reach is 0 where no time has passed
        log_odds = grown + np.log(reach / fall * s * low_start / (model.beta + h.last_days)) + np.log(total)
    low_means = (np.log(low_start) + (share * v).sum(axis=1), (share / low_now).sum(axis=1))
    high_means = (np.log(high_start) + (share * high_grown).sum(axis=1), (share / high_now).sum(axis=1))
    by_alpha, by_beta = (low_means, high_means) if is_alpha_low else (high_means, low_means)
    return _Leaving(log_odds, by_alpha[0], by_beta[0], by_alpha[1], by_beta[1])


def _column(values: np.ndarray | float) -> np.ndarray:
    return np.asarray(values)[..., None]


def fit(h: Histories) -> ParetoNBD:
    """Parameters under which the histories are likeliest, see `maximise` for the weak pull to 1."""
    unit_days = h.mean_age_days()
    scaled = h.grouped().in_units_of(unit_days)
    x, place = np.unique(scaled.n_repeats, return_inverse=True)
    accounts = np.bincount(place, weights=scaled.count)

    def log_likelihood(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        model = ParetoNBD(*parameters.tolist())
        value, *gradient = np.sum([model._sum_and_gradient(piece) for piece in scaled.pieces()], axis=0)
        value += accounts @ log_rising(model.r, x)
        gradient[0] += accounts @ (digamma(model.r + x) - digamma(model.r))
        return float(value), np.array(gradient)

    r, alpha, s, beta = maximise(log_likelihood, 4, h.n_accounts).tolist()
    return ParetoNBD(r, alpha * unit_days, s, beta * unit_days)
