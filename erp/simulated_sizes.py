"""How large lines are and what they bring, as far as the simulated company's books tell: products and favourites."""

from dataclasses import dataclass

import numpy as np

from erp.simulated_books import Books
from erp.simulated_chance import Bools, Floats, Ints
from erp.simulated_truth import (
    FAVOURITE_SHARE,
    LIST_PRICE_LAW,
    N_CATEGORIES,
    QUANTITY_LAW,
    SIZE_SPREAD,
    CompanyShape,
)

# Of products given customers and customers given products: the first has the scale right, the others sharpen what lies
# between products; many more drift along the scale that products share with sizes (5 % after forty).
_N_ROUNDS = 3
_N_ROUNDS_OF_SHARES = 12
_NODES = np.polynomial.hermite_e.hermegauss(3)
_TINY = 1e-300


@dataclass(frozen=True)
class Assortments:
    """What the books tell of products.

    Parameters
    ----------
    typical_quantity : of a line beyond its first unit, by product
    share : of order lines, by category
    price, cost : of a line drawn from each category: (N_CATEGORIES, 2), a constant and a part that grows with the
        customer's size factor; the row of a category without products is the whole assortment's
    whole_price, whole_cost : of a line drawn from all, (2,)
    """

    typical_quantity: Floats
    share: Floats
    price: Floats
    cost: Floats
    whole_price: Floats
    whole_cost: Floats


def read_assortments(shape: CompanyShape, books: Books) -> Assortments:
    """Products as their order lines show them."""
    typical, weight = _typical_quantities(shape, books), _weights(books)
    parts = np.stack([np.ones(len(typical)), typical], axis=1)
    in_category = (books.category == np.arange(N_CATEGORIES)[:, None]) * weight
    share = in_category.sum(axis=1, keepdims=True)

    def by_category(each: Floats) -> tuple[Floats, Floats]:
        money = parts * each[:, None]
        return np.where(share > 0, in_category @ money / np.maximum(share, _TINY), weight @ money), weight @ money

    price, whole_price = by_category(books.list_price)
    cost, whole_cost = by_category(books.unit_cost)
    return Assortments(typical, share[:, 0], price, cost, whole_price, whole_cost)


def _weights(books: Books) -> Floats:
    """Share of each product among lines that no favourite has drawn to its category."""
    product = books.lines["product"]
    n_lines = np.bincount(product, minlength=len(books.category)).astype(np.float64)
    # A product that has ended was on sale for a part of the history only.
    n_lines *= books.day / np.clip(books.ends_day + 1, 1, books.day)
    of_category = np.bincount(books.category, weights=n_lines, minlength=N_CATEGORIES)
    share = _category_shares(books, of_category > 0)
    return np.asarray((share / np.maximum(of_category, _TINY))[books.category] * n_lines, dtype=np.float64)


def _category_shares(books: Books, exists: Bools) -> Floats:
    """Share of each category among those lines: most likely given who ordered what (EM over customers' favourites)."""
    lines, who = books.lines, books.customer_of(books.lines)
    n_lines_of = np.zeros((len(books.account), N_CATEGORIES))
    np.add.at(n_lines_of, (who[who >= 0], books.category[lines["product"][who >= 0]]), 1.0)
    share = exists / max(int(exists.sum()), 1)
    for _ in range(_N_ROUNDS_OF_SHARES):
        favours, chance = _favours(share, n_lines_of)
        drawn = favours @ (_unled(share) / np.maximum(chance, _TINY))
        share = (n_lines_of * drawn).sum(axis=0)
        share /= share.sum()
    return np.asarray(share, dtype=np.float64)


def _unled(share: Floats) -> Floats:
    """Chance by favourite and category of a line that its customer's favourite has not drawn there."""
    stays = FAVOURITE_SHARE * (share > 0)
    return np.asarray((1.0 - stays)[:, None] * share, dtype=np.float64)


def _favours(share: Floats, n_lines_of: Floats) -> tuple[Floats, Floats]:
    """Chance of each customer's favourite given its lines by category, and of each category given a favourite."""
    chance = _unled(share) + FAVOURITE_SHARE * np.diag(share > 0)
    log_chance = n_lines_of @ np.log(np.maximum(chance, _TINY)).T
    favours = np.exp(log_chance - log_chance.max(axis=1, keepdims=True))
    return favours / favours.sum(axis=1, keepdims=True), chance


def _typical_quantities(shape: CompanyShape, books: Books) -> Floats:
    """Quantity of a line beyond its first unit by product: posterior mode, customers' sizes being uncertain.

    A line's further units are geometric with mean size x typical; the log of either has a normal law.
    """
    lines = books.lines
    rows = np.flatnonzero(books.customer_of(lines) >= 0)
    customer, product = lines["customer"][rows], lines["product"][rows]
    further = (lines["quantity"][rows] - 1).astype(np.float64)
    price_weight, own_weight, spread, (least, most) = QUANTITY_LAW
    median, price_spread = LIST_PRICE_LAW[:2]
    z = np.log(books.list_price / median) / price_spread
    prior = np.log(shape.median_quantity) + spread * price_weight * z
    n, typical = len(books.account), np.exp(prior)
    # To begin with every customer has the mean size: a product's mean quantity is then its own without bias.
    log_size, variance = np.zeros(n), np.zeros(n)
    for _ in range(_N_ROUNDS):
        size = np.exp(log_size + np.sqrt(variance) * _NODES[0][:, None])[:, customer]
        log_typical, _ = _fitted(further, product, size, prior, spread * own_weight)
        typical = np.clip(np.exp(log_typical), least, most)
        sizes = typical[product][None, :]
        log_size, variance = _fitted(further, customer, sizes, np.full(n, -(SIZE_SPREAD**2) / 2), SIZE_SPREAD)
    return np.asarray(typical, dtype=np.float64)


def _fitted(further: Floats, of: Ints, times: Floats, prior: Floats, spread: float) -> tuple[Floats, Floats]:
    """Logarithm of what geometric `further` have in common by group, and its variance: Fisher scoring from the prior.

    The mean of `further` is that common factor times `times`, (n_nodes, n_lines): one row if known, else Gauss-Hermite
    nodes of what is uncertain.
    """
    n, found = len(prior), prior.copy()
    weight = _NODES[1] / _NODES[1].sum() if len(times) > 1 else np.ones(1)
    for _ in range(6):
        mean = np.exp(found)[of] * times
        slope = np.bincount(of, weights=weight @ ((further - mean) / (1 + mean)), minlength=n)
        known = np.bincount(of, weights=weight @ (mean / (1 + mean)), minlength=n)
        variance = 1 / (known + 1 / spread**2)
        found = found + np.clip(variance * (slope - (found - prior) / spread**2), -1.0, 1.0)
    return found, variance


def size_log_chances(books: Books, typical: Floats, who: Ints, size_factors: Floats) -> Floats:
    """Log chance of the quantities that each customer ordered, by its size factor, (n_customers, n_factors)."""
    place = np.full(len(books.account) + 1, -1)
    place[who] = np.arange(len(who))
    own = place[books.customer_of(books.lines)]
    rows = np.flatnonzero(own >= 0)
    found = np.zeros((len(who), len(size_factors)))
    if not len(rows):
        return found
    further = (books.lines["quantity"][rows] - 1).astype(np.float64)[:, None]
    mean = typical[books.lines["product"][rows]][:, None] * size_factors
    chance = further * np.log(mean) - (further + 1.0) * np.log1p(mean)
    starts = np.flatnonzero(np.r_[True, np.diff(own[rows]) != 0])  # lines are sorted by customer
    found[own[rows[starts]]] = np.add.reduceat(chance, starts, axis=0)
    return found


def category_money(told: Assortments, n_lines_of: Floats) -> tuple[Floats, Floats]:
    """List price and cost of a line of each customer: a constant and a part per unit of size factor, (n_customers, 2).

    Its favourite category is known as far as its lines by category, `n_lines_of`, tell.
    """
    favours, _ = _favours(told.share, n_lines_of)
    price = FAVOURITE_SHARE * told.price + (1 - FAVOURITE_SHARE) * told.whole_price
    cost = FAVOURITE_SHARE * told.cost + (1 - FAVOURITE_SHARE) * told.whole_cost
    return favours @ price, favours @ cost
