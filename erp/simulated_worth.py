"""What a customer of the simulated company is worth, given what the books tell of it: its posterior by Bayes' rule.

Known are the laws by which customers were drawn, not the draws. Three standard normal numbers make a customer's worth:
how often it orders (z0), in how many lines (z1), in what size (z2). Each has its own evidence - gaps and silence, lines
per order, quantities - and what somebody typed, the discount and the patience lean on their weighted sum alone. So the
posterior is three one-dimensional grids whose sum's distribution is a convolution: exact but for the grids' steps, the
trapezoid rule's error falls with exp(-2 (pi x width / step)^2).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln
from scipy.stats import norm

from erp.simulated_books import Books
from erp.simulated_chance import Floats, Ints
from erp.simulated_histories import Histories
from erp.simulated_patience import GRID
from erp.simulated_sizes import Assortments, category_money, size_log_chances
from erp.simulated_truth import (
    CHANNEL_LAW,
    DISCOUNT_LAW,
    FURTHER_SPREAD,
    GAP_SHAPES,
    GONE_BEFORE_SHARE,
    PATIENCE_LAW,
    PRIORITY_LAW,
    PROMOTED_SHARE,
    PROMOTION_DISCOUNT,
    SEGMENT_LAW,
    SIZE_SPREAD,
    STAY_SPREAD,
    WORTH,
    CompanyShape,
    mean_one,
    season,
)

STEP = 0.05  # of the sum
Z0: Floats = np.arange(-60, 61, dtype=np.float64) * (STEP / WORTH[0])
Z1: Floats = np.arange(-45, 46, dtype=np.float64) * (STEP / WORTH[1])
Z2: Floats = np.arange(-45, 46, dtype=np.float64) * (STEP / WORTH[2])
SUM: Floats = np.arange(-150, 151, dtype=np.float64) * STEP
_BIN = 7  # steps of the sum that share a mean patience: .1 apart where patience spreads by .75
_STAYS = np.polynomial.hermite_e.hermegauss(7)


@dataclass(frozen=True)
class Worth:
    """Posterior of customers, up to a factor each, on the grid of impatience (`erp.simulated_patience.GRID`).

    Parameters
    ----------
    mass : weight of each impatience, (n_customers, n_grid)
    value : the same times the mean margin over the next 365 days (0 for who is gone) at that impatience, money
    """

    mass: Floats
    value: Floats


def read_worth(shape: CompanyShape, books: Books, told: Assortments, histories: Histories) -> Worth:
    """Posterior of the histories' customers, before what their waits tell of their patience."""
    p0, g0 = order_rhythm(shape, books.day, histories)
    p1 = _normal(Z1) * np.exp(_scaled(_further_log_chances(shape, histories)))
    sizes = mean_one(Z2, SIZE_SPREAD)
    p2 = _normal(Z2) * np.exp(_scaled(size_log_chances(books, told.typical_quantity, histories.who, sizes)))
    g1 = p1 * (1.0 + shape.mean_further_lines * mean_one(Z1, FURTHER_SPREAD)) * (1.0 - shape.returned_share)
    price, cost = category_money(told, histories.n_lines_of)
    mass = _sum_of(p0, p1, p2)
    brings = _sum_of(g0, g1, p2 * (price[:, :1] + price[:, 1:] * sizes))
    costs = _sum_of(g0, g1, p2 * (cost[:, :1] + cost[:, 1:] * sizes))
    typed = _typed_chances(books, histories.who)
    chance, discount, patience = _discounts_told(histories)
    chance = chance * typed
    value = ((1.0 - discount - PROMOTED_SHARE * PROMOTION_DISCOUNT) * brings - costs) * chance
    return Worth(_by_impatience(mass * chance, patience), _by_impatience(value, patience))


def order_rhythm(shape: CompanyShape, day: int, histories: Histories) -> tuple[Floats, Floats]:
    """Weight of each z0 given the orders and the silence since, and the same times the years of orders still expected.

    Years: 0 for who is gone, else the mean part of the next 365 days, in gaps, until it drops out. (n_customers, 121)
    """
    known = histories
    gap = _gap_days(shape)
    n_gaps = np.maximum(known.n_orders - 1, 0)[:, None]
    silence = _Silence(day, known)
    log_chance = np.stack([_gaps_log_chance(gap, shape_k, n_gaps, known) for shape_k in GAP_SHAPES])
    top = log_chance.max(axis=(0, 2))[None, :, None]
    gaps = np.exp(log_chance - top) / len(GAP_SHAPES)
    seen, lives = np.zeros(gaps.shape[1:]), np.zeros(gaps.shape[1:])
    for z, weight in zip(_STAYS[0], _STAYS[1] / _STAYS[1].sum(), strict=True):
        hazard = 1.0 / float(np.clip(shape.median_stay_days * np.exp(STAY_SPREAD * z), 120.0, 6000.0))
        stayed = np.exp(-hazard * (known.last_at - np.where(known.is_new, known.first_at, 0.0)))[:, None] * weight
        years = (1.0 - np.exp(-365.0 * hazard)) / hazard
        for k, chance in zip(GAP_SHAPES, gaps, strict=True):
            here = stayed * chance
            seen += here * silence.chance(k, gap, hazard)
            lives += here * silence.alive(k, gap, hazard) * years / gap
    before, after = _first_order(shape, gap, day, known, seen, lives, np.exp(-top[0]))
    return _normal(Z0) * before, _normal(Z0) * after


def _gap_days(shape: CompanyShape) -> Floats:
    return np.asarray(np.clip(shape.median_gap_days * np.exp(-shape.gap_spread * Z0), 4.0, 2000.0), dtype=np.float64)


def _gaps_log_chance(gap: Floats, k: int, n_gaps: Ints, known: Histories) -> Floats:
    rate = k / gap
    of_gaps = n_gaps * (k * np.log(rate) - gammaln(k)) + (k - 1) * known.sum_log_gap[:, None]
    return np.asarray(of_gaps - rate * known.sum_gap[:, None], dtype=np.float64)


class _Silence:
    """Chances of no order since the last one, and of being a customer all the same."""

    def __init__(self, day: int, known: Histories):
        self.pace = season(np.floor(known.last_at))[:, None]
        self.days = np.maximum(day - known.last_at, 0.0)[:, None]
        self.until_lost = np.clip(known.lost_at[:, None] - known.last_at[:, None], 0.0, self.days)
        self.kept = known.kept[:, None]

    def alive(self, k: int, gap: Floats, hazard: float) -> Floats:
        """Neither dropped out nor lost, and the next order is yet to come."""
        return np.asarray(
            self.kept * np.exp(-hazard * self.days) * _not_yet(k, k / gap * self.pace * self.days), dtype=np.float64
        )

    def chance(self, k: int, gap: Floats, hazard: float) -> Floats:
        """No order came: one less the chance that it came due while the customer was still there."""
        rate = k / gap * self.pace
        there = (rate / (rate + hazard)) ** k
        early = there * (1.0 - _not_yet(k, (rate + hazard) * self.until_lost))
        whole = there * (1.0 - _not_yet(k, (rate + hazard) * self.days))
        return np.asarray(1.0 - early - self.kept * (whole - early), dtype=np.float64)


def _not_yet(k: int, x: Floats) -> Floats:
    """Chance that a gamma variable of whole shape k and rate 1 exceeds x: exp(-x) sum of x^i / i! for i below k."""
    term, total = np.ones_like(x), np.ones_like(x)
    for i in range(1, k):
        term = term * x / i
        total = total + term
    return np.asarray(np.exp(-x) * total, dtype=np.float64)


def _first_order(
    shape: CompanyShape, gap: Floats, day: int, known: Histories, seen: Floats, lives: Floats, scale: Floats
) -> tuple[Floats, Floats]:
    """Bring in how the first order came about: at once for new customers, of whom some never come back.

    An old customer's first order falls evenly into its first gap; a new one without any order was lost before it.
    """
    one_time = np.where(known.n_orders == 1, shape.one_time_share, 0.0)[:, None] * scale
    new = (1.0 - shape.one_time_share) * seen + one_time, (1.0 - shape.one_time_share) * lives
    first = (gap > known.first_at[:, None]) / gap
    old = first * seen, first * lives
    waits = np.maximum(1.0 - day / gap, 0.0)  # no order yet: its first gap is not over
    years = (1.0 - np.exp(-365.0 / shape.median_stay_days)) * shape.median_stay_days
    none = GONE_BEFORE_SHARE + (1.0 - GONE_BEFORE_SHARE) * waits
    still = (1.0 - GONE_BEFORE_SHARE) * waits * np.exp(-day / shape.median_stay_days) * years / gap
    is_new, has = known.is_new[:, None], (known.n_orders > 0)[:, None]
    before = np.where(has, np.where(is_new, new[0], old[0]), np.where(is_new, 1.0, none))
    after = np.where(has, np.where(is_new, new[1], old[1]), np.where(is_new, 0.0, still * known.kept[:, None]))
    return before, after


def _further_log_chances(shape: CompanyShape, known: Histories) -> Floats:
    mean = shape.mean_further_lines * mean_one(Z1, FURTHER_SPREAD)
    n_further, n_orders = known.n_further[:, None], known.n_orders[:, None]
    return np.asarray(n_further * np.log(mean) - (n_further + n_orders) * np.log1p(mean), dtype=np.float64)


def _typed_chances(books: Books, who: Ints) -> Floats:
    """Chance of what somebody typed about each customer by the sum, (n_customers, n_sum)."""
    ranks = (2 - books.channel, 2 - books.segment, 3 - books.priority_class)
    chance = np.ones((len(who), len(SUM)))
    for (weight, cuts), rank in zip((CHANNEL_LAW, SEGMENT_LAW, PRIORITY_LAW), ranks, strict=True):
        below = norm.cdf(np.array([-np.inf, *cuts, np.inf])[:, None] - weight * SUM)
        chance *= np.diff(below, axis=0)[rank[who]]
    return chance


def _discounts_told(known: Histories) -> tuple[Floats, Floats, Floats]:
    """Chance of the discounts seen, mean discount share and mean impatience given them, each (n_customers, n_sum).

    Either the lowest discount seen is the customer's, or all its orders so far were promoted and it is lower.
    """
    lowest, n_low, n_high = known.lowest_discount[:, None], known.n_low[:, None], known.n_high[:, None]
    plain = np.where(lowest < DISCOUNT_LAW[3][1] + _CENT, (1.0 - PROMOTED_SHARE) ** n_low * PROMOTED_SHARE**n_high, 0.0)
    lower = lowest - PROMOTION_DISCOUNT
    promoted = np.where((n_high == 0) & (lower > -_CENT), PROMOTED_SHARE**n_low, 0.0)
    first, of_first = _discount_chance(lowest)
    second, of_second = _discount_chance(np.maximum(lower, 0.0))
    first, second = first * plain, second * promoted
    total = first + second
    share = np.divide(second, total, out=np.zeros_like(total), where=total > 0)
    bargains = (1.0 - share) * of_first + share * of_second
    has = known.n_orders[:, None] > 0
    discount = np.where(has, lowest - PROMOTION_DISCOUNT * share, DISCOUNT_LAW[0] + DISCOUNT_LAW[2] * SUM)
    patience = PATIENCE_LAW[1] * np.where(has, bargains, 0.0) + PATIENCE_LAW[2] * SUM
    return np.where(has, total, 1.0), discount, patience


_CENT = 0.002  # discounts are known to this much: prices are rounded


def _discount_chance(discount: Floats) -> tuple[Floats, Floats]:
    """Chance of a discount within `_CENT` by the sum, and the mean talent for bargaining that it takes."""
    mean, by_bargain, by_worth, (least, most) = DISCOUNT_LAW
    takes = (np.clip(discount, least, most) - mean - by_worth * SUM) / by_bargain
    density = norm.pdf(takes)
    below, above = norm.cdf(takes), norm.sf(takes)
    is_least, is_most = discount < least + _CENT, discount > most - _CENT
    chance = np.where(is_least, below, np.where(is_most, above, density * 2 * _CENT / by_bargain))
    at_bound = np.where(is_least, -density / np.maximum(below, 1e-300), density / np.maximum(above, 1e-300))
    bargains = np.where(is_least | is_most, at_bound, takes)
    return chance, bargains


def _by_impatience(weight: Floats, patience: Floats) -> Floats:
    """Weights by the sum turned into weights by impatience, whose mean given the sum is `patience`."""
    n = len(weight)
    binned = weight.reshape(n, -1, _BIN).sum(axis=2)
    middle = patience[:, _BIN // 2 :: _BIN]
    density = np.exp(-0.5 * ((GRID - middle[:, :, None]) / PATIENCE_LAW[0]) ** 2)
    return np.asarray(np.einsum("cs,csg->cg", binned, density), dtype=np.float64)


def _normal(z: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * z**2), dtype=np.float64)


def _scaled(log_chance: Floats) -> Floats:
    return np.asarray(log_chance - log_chance.max(axis=1, keepdims=True), dtype=np.float64)


def _sum_of(first: Floats, second: Floats, third: Floats) -> Floats:
    """Weights of the sum of three independent numbers from weights on their grids: a convolution, (n, n_sum)."""
    size = 512  # at least as long as the sum's grid
    product = np.fft.rfft(first, size) * np.fft.rfft(second, size) * np.fft.rfft(third, size)
    return np.asarray(np.maximum(np.fft.irfft(product, size)[:, : len(SUM)], 0.0), dtype=np.float64)
