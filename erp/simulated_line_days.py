"""Each past day on which a line of the simulated company waited, rebuilt from its books."""

import numpy as np

from erp.simulated_books import Books
from erp.simulated_chance import Bools, Columns, Floats, Ints, take

_STATE = ("key", "due_day", "unit_price", "list_price", "channel")


def line_days(books: Books, which: Bools) -> Columns:
    """One row per chosen line and past day on which it still waited once that morning's goods had left.

    Parameters
    ----------
    which : lines of `books.lines` asked for

    Returns
    -------
    row (of the line), day, the line's columns as its customer saw them on that day (`open`, `latest_promised_day`,
    `n_slips` ...), `is_gone` (cancelled on that day, at least in part) and `by_seller`; sorted by row and day.
    """
    lines = books.lines
    last = np.where(which, _last_day(books), lines["due_day"])
    n_days = np.maximum(last - lines["due_day"], 0)
    row = np.repeat(np.arange(len(n_days)), n_days)
    starts = np.cumsum(n_days) - n_days
    spot = _Spot(lines["due_day"] + 1, n_days, starts)
    days = {name: lines[name][row] for name in _STATE}
    days |= {"row": row, "day": np.arange(len(row)) - starts[row] + lines["due_day"][row] + 1}
    days["open"] = lines["quantity"][row] - _taken(books, spot)
    added_days, n_told = _told(books, spot)
    first = np.nan_to_num(lines["promised_day"], nan=np.inf)[row]
    days |= {"latest_promised_day": first + added_days, "n_slips": n_told}
    gone, by_seller = _gone(books, spot)
    return days | {"is_gone": gone[: len(row)], "by_seller": by_seller[: len(row)]}


def _last_day(books: Books) -> Ints:
    """Last day on which a line was open after the morning's goods had left, at most yesterday."""
    n = len(books.lines["key"])
    shipped = np.bincount(books.shipments["row"], weights=books.shipments["quantity"], minlength=n)
    gone = np.bincount(books.cancellations["row"], weights=books.cancellations["quantity"], minlength=n)
    is_closed = shipped + gone >= books.lines["quantity"]
    last = np.full(n, -1)
    np.maximum.at(last, books.shipments["row"], books.shipments["day"] - 1)
    np.maximum.at(last, books.cancellations["row"], books.cancellations["day"])
    return np.where(is_closed, last, books.day - 1)


class _Spot:
    """Where an event of a line falls among the line-days; events of lines without line-days fall behind the last."""

    def __init__(self, first_day: Ints, n_days: Ints, starts: Ints):
        self.first_day, self.n_days, self.starts = first_day, n_days, starts
        self.n_total = int(n_days.sum())

    def of(self, row: Ints, day: Ints) -> Ints:
        """Place of the first line-day on or after `day`."""
        ahead = np.maximum(day - self.first_day[row], 0)
        return np.where(ahead < self.n_days[row], self.starts[row] + ahead, self.n_total)

    def summed(self, at: Ints, amount: Floats) -> Floats:
        """Sum of the amounts at or before each line-day of the same line."""
        total = np.cumsum(np.bincount(at, weights=amount, minlength=self.n_total + 1))
        before = np.r_[0.0, total][self.starts]
        return np.asarray(total[: self.n_total] - np.repeat(before, self.n_days), dtype=np.float64)


def _taken(books: Books, spot: _Spot) -> Ints:
    """Units shipped up to a day's morning or cancelled before the day."""
    sold, gone = books.shipments, books.cancellations
    at = np.r_[spot.of(sold["row"], sold["day"]), spot.of(gone["row"], gone["day"] + 1)]
    units = np.r_[sold["quantity"], gone["quantity"]].astype(np.float64)
    return np.rint(spot.summed(at, units)).astype(np.int64)


def _told(books: Books, spot: _Spot) -> tuple[Floats, Ints]:
    """Days by which later dates told before a day have moved the first one, and how many were told."""
    told, first = books.promises, books.lines["promised_day"]
    row, date = told["row"], told["promised_day"]
    is_same = np.r_[False, row[1:] == row[:-1]] if len(row) else np.zeros(0, dtype=bool)
    moved = date - np.where(is_same, np.r_[0.0, date[:-1]] if len(row) else date, first[row])
    at = spot.of(row, told["day"] + 1)
    return spot.summed(at, moved), np.rint(spot.summed(at, np.ones(len(row)))).astype(np.int64)


def _gone(books: Books, spot: _Spot) -> tuple[Bools, Bools]:
    gone = take(books.cancellations, books.cancellations["day"] >= spot.first_day[books.cancellations["row"]])
    at = spot.of(gone["row"], gone["day"])
    flags = np.zeros((2, spot.n_total + 1), dtype=bool)
    flags[0, at] = True
    flags[1, at] = gone["by_seller"].astype(bool)
    return flags[0], flags[1]
