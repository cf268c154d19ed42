"""How impatient customers are, as far as what they did with their waits tells: likelihoods on a grid.

A line's impatience is its customer's and a little of its own (`LINE_PATIENCE_SPREAD`). On the grid its own part is
summed over exactly: the grid's step equals that spread, where the trapezoid rule errs by some exp(-2 pi^2).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from erp.simulated_books import Books
from erp.simulated_chance import Columns, Floats, Ints
from erp.simulated_hazard import shared_log_odds
from erp.simulated_truth import LINE_PATIENCE_SPREAD, CompanyShape

GRID = np.arange(-17, 18) * 0.25  # impatience, added to the log odds of cancelling; over customers it spreads by .82
# Log density of a line's impatience (second axis) about its customer's (first axis); a grid's row sums to 1.
_LOG_SPREAD = -0.5 * ((GRID[:, None] - GRID) / LINE_PATIENCE_SPREAD) ** 2
LOG_SPREAD = _LOG_SPREAD - logsumexp(_LOG_SPREAD, axis=1, keepdims=True)


@dataclass(frozen=True)
class Waits:
    """What past waits say.

    Parameters
    ----------
    row : lines that have waited for a day or more, rising, (n_waited,)
    of_line : log chance of what the line's customer did on those days, by the line's impatience, (n_waited, n_grid)
    of_customer : the same of all lines of each customer, by the customer's impatience, (n_customers, n_grid)
    """

    row: Ints
    of_line: Floats
    of_customer: Floats


def read_waits(shape: CompanyShape, books: Books, days: Columns, n_customers: int) -> Waits:
    """Likelihoods of line-days `days` (`erp.simulated_line_days`)."""
    row, starts = np.unique(days["row"], return_index=True)
    of_line = _of_lines(shape, days, starts)
    who = books.customer_of(books.lines)[row]
    known = who >= 0
    of_customer = np.zeros((n_customers, len(GRID)))
    np.add.at(of_customer, who[known], by_customers_patience(of_line[known]))
    return Waits(row, of_line, of_customer)


def by_customers_patience(of_line: Floats) -> Floats:
    """Log chances by the customer's impatience from those by the line's, (n_lines, n_grid)."""
    top = of_line.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(of_line - top) @ np.exp(LOG_SPREAD).T) + top, dtype=np.float64)


def _of_lines(shape: CompanyShape, days: Columns, starts: Ints) -> Floats:
    if not len(starts):
        return np.zeros((0, len(GRID)))
    log_odds = shared_log_odds(shape, days, days["day"])[:, None] + GRID
    decided = _decisions(days)[:, None] * log_odds - np.logaddexp(0.0, log_odds)
    return np.asarray(np.add.reduceat(decided, starts, axis=0), dtype=np.float64)


def _decisions(days: Columns) -> Floats:
    """Decisions to cancel on each line-day: 1 for a line alone, shared where lines of one order go on one day.

    Of several that go together most were taken along by one of them, so they tell of one decision, not of several.
    """
    gone = np.flatnonzero(days["is_gone"] & ~days["by_seller"])
    event = np.unique(np.stack([days["key"][gone] // 100, days["day"][gone]]), axis=1, return_inverse=True)[1]
    decisions = np.zeros(len(days["row"]))
    decisions[gone] = 1.0 / np.bincount(event)[event] if len(gone) else 0.0
    return decisions
