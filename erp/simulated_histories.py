"""What the simulated company's books tell of each customer's orders, summed up to what its posterior needs."""

from dataclasses import dataclass

import numpy as np

from erp.simulated_books import Books
from erp.simulated_chance import Bools, Columns, Floats, Ints
from erp.simulated_truth import N_CATEGORIES, PROMOTION_DISCOUNT, CompanyShape, lost_by_waiting, season

_ROUNDED = 0.02  # discounts closer than this are the same one: prices are rounded to the cent


@dataclass(frozen=True)
class Histories:
    """One entry per customer asked for.

    Parameters
    ----------
    who : customer index, rising
    n_orders, n_further : orders, and their lines beyond the first
    first_at, last_at : moments of the first and the last order, days; 0 without one
    sum_gap, sum_log_gap : of the gaps between orders, each times the season of the day at which it began
    lowest_discount : least discount share of an order; NaN without an order
    n_low, n_high : orders at about that discount, and above it
    n_gone : cancellations
    n_lines_of : lines by category, (n_customers, N_CATEGORIES)
    kept, lost_at : chance that its account was not lost by waits since the account's last order, and the mean moment
        at which it was if it was
    """

    who: Ints
    is_new: Bools
    n_orders: Ints
    n_further: Ints
    first_at: Floats
    last_at: Floats
    sum_gap: Floats
    sum_log_gap: Floats
    lowest_discount: Floats
    n_low: Ints
    n_high: Ints
    n_gone: Ints
    n_lines_of: Floats
    kept: Floats
    lost_at: Floats


def read_histories(shape: CompanyShape, books: Books, who: Ints, days: Columns) -> Histories:
    """Histories of customers `who`; `days` are the past line-days of all lines of their accounts."""
    lines = books.lines
    place = np.full(len(books.account) + 1, -1)
    place[who] = np.arange(len(who))
    own = place[books.customer_of(lines)]  # -1, anonymous, finds the last entry
    rows = np.flatnonzero(own >= 0)
    order, first_row, n_lines = np.unique(lines["key"][rows] // 100, return_index=True, return_counts=True)
    orders = {"customer": own[rows[first_row]], "at": books.at_day[rows[first_row]]}
    orders["discount"] = _discounts(lines, rows, first_row)
    n = len(who)
    n_orders = np.bincount(orders["customer"], minlength=n)
    last_at = _extreme(np.maximum, orders, n, -np.inf)
    kept, lost_at = _kept(shape, books, who, days, np.where(n_orders > 0, last_at, -1.0))
    gone = own[days["row"][days["is_gone"]]]
    return Histories(
        who=who,
        is_new=books.is_new[who],
        n_orders=n_orders,
        n_further=np.bincount(orders["customer"], weights=n_lines - 1, minlength=n).astype(np.int64),
        first_at=np.where(n_orders > 0, _extreme(np.minimum, orders, n, np.inf), 0.0),
        last_at=np.where(n_orders > 0, last_at, 0.0),
        **_gaps(orders, n),
        **_lowest_discounts(orders, n),
        n_gone=np.bincount(gone[gone >= 0], minlength=n),
        n_lines_of=_by_category(own[rows], books.category[lines["product"][rows]], n),
        kept=kept,
        lost_at=lost_at,
    )


def _extreme(worst: np.ufunc, orders: Columns, n: int, start: float) -> Floats:
    found = np.full(n, start)
    worst.at(found, orders["customer"], orders["at"])
    return found


def _discounts(lines: Columns, rows: Ints, first_row: Ints) -> Floats:
    """Discount of each order, read off its line with the greatest price: there a cent tells least wrongly."""
    if not len(rows):
        return np.zeros(0)
    price, discount = lines["list_price"][rows], 1.0 - lines["unit_price"][rows] / lines["list_price"][rows]
    which = np.repeat(np.arange(len(first_row)), np.diff(np.r_[first_row, len(rows)]))
    best = np.lexsort((-price, which))[first_row]
    return np.asarray(discount[best], dtype=np.float64)


def _gaps(orders: Columns, n: int) -> Columns:
    customer, at = orders["customer"], orders["at"]
    follows = customer[1:] == customer[:-1]
    gap = (np.diff(at) * season(np.floor(at[:-1])))[follows]
    gap = np.maximum(gap, 1e-6)  # two orders at one moment
    who = customer[1:][follows]
    sums = {"sum_gap": gap, "sum_log_gap": np.log(gap)}
    return {name: np.bincount(who, weights=values, minlength=n) for name, values in sums.items()}


def _lowest_discounts(orders: Columns, n: int) -> Columns:
    customer, discount = orders["customer"], orders["discount"]
    lowest = np.full(n, np.inf)
    np.minimum.at(lowest, customer, discount)
    is_low = discount < lowest[customer] + min(_ROUNDED, PROMOTION_DISCOUNT / 2)
    return {
        "lowest_discount": np.where(np.isfinite(lowest), np.maximum(lowest, 0.0), np.nan),
        "n_low": np.bincount(customer[is_low], minlength=n),
        "n_high": np.bincount(customer[~is_low], minlength=n),
    }


def _by_category(own: Ints, category: Ints, n: int) -> Floats:
    found = np.zeros((n, N_CATEGORIES))
    np.add.at(found, (own, category), 1.0)
    return found


def _kept(shape: CompanyShape, books: Books, who: Ints, days: Columns, last_at: Floats) -> tuple[Floats, Floats]:
    """Chance that no wait since its last order has lost the account, and the mean moment of the loss."""
    n = len(books.account)
    last_order = np.full(n, -1.0)
    np.maximum.at(last_order, books.account[who], np.floor(last_at))
    line_customer = books.customer_of(books.lines)[days["row"]]
    account = books.account[line_customer]
    counts = (line_customer >= 0) & (days["day"] > last_order[account])
    waited = (days["day"] - days["due_day"]).astype(np.float64)
    by_wait = lost_by_waiting(shape, waited + 1.0) - lost_by_waiting(shape, waited)
    chance = np.where(days["is_gone"], shape.cancel_lost_share, by_wait)[counts]
    kept = np.exp(np.bincount(account[counts], weights=np.log1p(-chance), minlength=n))
    total = np.bincount(account[counts], weights=chance, minlength=n)
    moment = np.bincount(account[counts], weights=chance * days["day"][counts], minlength=n)
    mean = np.divide(moment, total, out=np.full(n, float(books.day)), where=total > 0)
    mine = books.account[who]
    return kept[mine], mean[mine]
