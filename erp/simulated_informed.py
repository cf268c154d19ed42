"""The rule of somebody who knows the simulated company's laws but of its people and goods only what its books show.

It ranks waiting lines by the posterior mean of what `erp.simulated_oracle.true_loss_per_unit` knows: the money that
each loses until the next goods come. Value and impatience of a customer are taken jointly, since both lean on its
worth. Like the rule that knows the truth it is one static rank per morning (`erp.simulated_rules.by_priority`): it
obeys credit holds, whole lines and units as every rule does, and plans no receipt after the next.

Not quite Bayes: what other lines of an order do follows their mean impatience; customers of one account tell of each
other's loss by their last order alone; products' quantities and shares are taken as most likely; one spell a supplier.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from erp.simulated_books import Books, read
from erp.simulated_chance import Bools, Floats, Ints
from erp.simulated_company import Company
from erp.simulated_goods_expected import still_to_come
from erp.simulated_hazard import order_of, seller_hazard, shared_log_odds
from erp.simulated_histories import read_histories
from erp.simulated_line_days import line_days
from erp.simulated_oracle import LONGEST_DAYS
from erp.simulated_patience import GRID, LOG_SPREAD, Waits, by_customers_patience, read_waits
from erp.simulated_rules import by_priority
from erp.simulated_sizes import read_assortments
from erp.simulated_truth import GUEST_PATIENCE_SPREAD, CompanyShape, fragility_of, lost_by_waiting
from erp.simulated_worth import Worth, read_worth
from erp.simulator import fork, step

_FRAGILITY = np.polynomial.hermite_e.hermegauss(31)


def roll_forward_informed(company: Company, n_days: int) -> pd.DataFrame:
    """Losses of the next `n_days`, one row per day, if lines were ranked each morning by `expected_loss_per_unit`."""
    return roll_forward_reading(company, expected_loss_per_unit, n_days)


def roll_forward_reading(company: Company, score: Callable[[CompanyShape, Books], Floats], n_days: int) -> pd.DataFrame:
    """Losses of the next `n_days` if each morning's lines with the highest `score` of that morning's books go first."""
    twin = fork(company)
    twin.money = []
    twin.rule = lambda seen: by_priority(seen, score(twin.shape, read(twin)))
    for _ in range(n_days):
        step(twin)
    return twin.losses


@dataclass(frozen=True)
class Belief:
    """Posterior of the morning's waiting lines, in their order.

    Parameters
    ----------
    chance : of each impatience of the line, (n_lines, n_grid)
    value : the same times the margin expected over 365 days from its customer's account; 0 for the anonymous
    lost_by_cancelling : mean chance that its cancellation loses its customer
    """

    chance: Floats
    value: Floats
    lost_by_cancelling: Floats


def expected_loss_per_unit(shape: CompanyShape, books: Books) -> Floats:
    """Posterior mean of the money per unit that each waiting line loses until the next goods for it come."""
    if not len(books.waiting["key"]):
        return np.zeros(0)
    return loss_per_unit(shape, books, believe(shape, books))


def loss_per_unit(shape: CompanyShape, books: Books, belief: Belief) -> Floats:
    """The same for any belief about the lines' customers."""
    lines = books.waiting
    none_yet = still_to_come(shape, books)[lines["product"]]
    margin = ((lines["unit_price"] - lines["unit_cost"]) * lines["open"])[:, None]
    by_cancel = margin * belief.chance + belief.lost_by_cancelling[:, None] * belief.value
    loss, wanted = np.zeros_like(by_cancel), np.ones_like(by_cancel)
    for ahead in range(LONGEST_DAYS):
        gone = chance_gone(shape, books, belief, ahead)
        waited = (books.day + ahead - lines["due_day"]).astype(np.float64)
        late = (lost_by_waiting(shape, waited + 1.0) - lost_by_waiting(shape, waited))[:, None]
        loss += none_yet[:, [ahead]] * wanted * (gone * by_cancel + (1.0 - gone) * late * belief.value)
        wanted *= 1.0 - gone
    return np.asarray(loss.sum(axis=1) / lines["open"], dtype=np.float64)


def chance_gone(shape: CompanyShape, books: Books, belief: Belief, ahead: int) -> Floats:
    """Chance that each waiting line is cancelled `ahead` days from now, by its impatience, (n_lines, n_grid).

    Lines of its order may take it along, with the chances of their mean impatience.
    """
    lines, day = books.waiting, books.day + ahead
    own = 1.0 / (1.0 + np.exp(-shared_log_odds(shape, lines, day)[:, None] - GRID))
    spared = np.log1p(-shape.joint_cancel_share * (own * belief.chance).sum(axis=1))
    order = order_of(lines)
    others = np.bincount(order, weights=spared)[order] - spared
    by_seller = seller_hazard(shape, day - lines["due_day"], books.ends_day[lines["product"]] < day)
    return np.asarray(1.0 - (1.0 - own) * (np.exp(others) * (1.0 - by_seller))[:, None], dtype=np.float64)


def believe(shape: CompanyShape, books: Books) -> Belief:
    """Posterior of the waiting lines: their customers' worth and patience by all that the books tell."""
    who, days = _customers(books), line_days(books, _lines_of_interest(books))
    histories = read_histories(shape, books, who, days)
    worth = read_worth(shape, books, read_assortments(shape, books), histories)
    waits = read_waits(shape, books, days, len(books.account))
    fragility = mean_fragility(shape, histories.n_gone)
    place = np.zeros(len(books.account) + 1, dtype=np.int64)
    place[who] = np.arange(len(who))
    customer = books.customer_of(books.waiting)
    is_known = customer >= 0
    own = place[customer]
    chance, value = _of_lines(books, waits, worth, own, is_known, waits.of_customer[who])
    others = _value_of_siblings(books, worth, waits.of_customer[who], who)[own]
    value += np.where(is_known, others, 0.0)[:, None] * chance
    loses = np.where(is_known, np.minimum(shape.cancel_lost_share * fragility[own], 1.0), 0.0)
    return Belief(chance, value, loses)


def mean_fragility(shape: CompanyShape, n_gone: Ints) -> Floats:
    """Mean fragility of customers who stayed after that many cancellations: each one has sorted out the fragile."""
    fragility, weight = fragility_of(_FRAGILITY[0]), _FRAGILITY[1]
    stays = (1.0 - np.minimum(shape.cancel_lost_share * fragility, 1.0)) ** n_gone[:, None] * weight
    return np.asarray((stays * fragility).sum(axis=1) / stays.sum(axis=1), dtype=np.float64)


def _customers(books: Books) -> Ints:
    """Known customers of the accounts whose lines wait."""
    waiting = books.customer_of(books.waiting)
    accounts = np.unique(books.account[waiting[waiting >= 0]])
    return np.flatnonzero(np.isin(books.account, accounts))


def _lines_of_interest(books: Books) -> Bools:
    """Every line of those customers, and the anonymous ones that wait."""
    flags = np.zeros(len(books.account) + 1, dtype=bool)
    flags[_customers(books)] = True
    return flags[books.customer_of(books.lines)] | np.isin(books.lines["key"], books.waiting["key"])


def _of_lines(
    books: Books, waits: Waits, worth: Worth, own: Ints, is_known: Bools, of_customer: Floats
) -> tuple[Floats, Floats]:
    """Chances and values of the waiting lines by the line's impatience, from their customers' by the customer's."""
    row = np.searchsorted(books.lines["key"], books.waiting["key"])
    of_line = _own_waits(waits, row)
    anonymous = np.exp(-0.5 * (GRID / GUEST_PATIENCE_SPREAD) ** 2)
    if not is_known.any():
        prior, value = np.broadcast_to(anonymous, of_line.shape), np.zeros_like(of_line)
    else:
        rest = of_customer[own] - by_customers_patience(of_line)
        told = np.exp(rest - rest.max(axis=1, keepdims=True))
        prior = np.where(is_known[:, None], worth.mass[own] * told, anonymous)
        value = np.where(is_known[:, None], worth.value[own] * told, 0.0)
    waited = np.exp(of_line - of_line.max(axis=1, keepdims=True))
    chance, value = (prior @ np.exp(LOG_SPREAD)) * waited, (value @ np.exp(LOG_SPREAD)) * waited
    total = chance.sum(axis=1, keepdims=True)
    return chance / total, value / total


def _own_waits(waits: Waits, row: Ints) -> Floats:
    """Log chances of the past days of lines `row`; nothing for those whose first day of waiting is today."""
    if not len(waits.row):
        return np.zeros((len(row), len(GRID)))
    at = np.minimum(np.searchsorted(waits.row, row), len(waits.row) - 1)
    return np.asarray(np.where((waits.row[at] == row)[:, None], waits.of_line[at], 0.0), dtype=np.float64)


def _value_of_siblings(books: Books, worth: Worth, of_customer: Floats, who: Ints) -> Floats:
    """Margin expected from the other customers of each customer's account, (n_customers,)."""
    if not len(who):
        return np.zeros(1)
    told = np.exp(of_customer - of_customer.max(axis=1, keepdims=True))
    mean = (worth.value * told).sum(axis=1) / (worth.mass * told).sum(axis=1)
    account = books.account[who]
    return np.asarray(np.bincount(account, weights=mean)[account] - mean, dtype=np.float64)
