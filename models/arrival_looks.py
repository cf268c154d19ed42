"""Inbound lines as they stood on past mornings, and the days each was then followed: what arrival is learned from.

A look is a line that owes goods on a morning, with what was told and received before it (landmarks; van Houwelingen
2007). It is followed until its next goods or until nobody watches any longer. Its days fall into bins of the clock,
which counts from the date told: single days around it, wider bins further off. The hazard of a bin is one number, so
its days are one row. Days are whole numbers since 1970-01-01.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.inputs import as_numbers

FAR = 10**6  # days; later than any, sooner than none if negative
CLOCK_EDGES = np.array([
    -FAR, -150, -120, -90, -75, -60, -45, -30, -21, -14, -10, -7, -5, -3, -2, -1, 0, 1, 2, 3, 4,
    7, 10, 14, 21, 30, 45, 60, 90, 150, FAR,
])  # fmt: skip
CLOCK_MIDDLES = np.r_[-180.0, (CLOCK_EDGES[1:-2] + CLOCK_EDGES[2:-1] - 1) / 2, 200.0]
_DAYS = 10**5  # more than any day's number: line x day is one sorted key


@dataclass(frozen=True, eq=False)
class InboundBook:
    """What is known of inbound lines; the rows of each table are in the order of line and day.

    Parameters
    ----------
    lines : one row per line, by po_line_id: codes of supplier, product, warehouse and kind, ordered_day, quantity,
        and done_day, the day its last goods came (`FAR` while it owes some)
    told_line, told_day, expected_day : one entry per date told; expected_day is NaN where none was said
    came_line, came_day : one entry per line and day that goods came
    """

    lines: pd.DataFrame
    told_line: np.ndarray
    told_day: np.ndarray
    expected_day: np.ndarray
    came_line: np.ndarray
    came_day: np.ndarray

    def n_told_before(self, line: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Place after the last date told for each line before that day."""
        return np.asarray(np.searchsorted(self.told_line * _DAYS + self.told_day, line * _DAYS + day))

    def n_came_before(self, line: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Place after the last goods of each line before that day."""
        return np.asarray(np.searchsorted(self.came_line * _DAYS + self.came_day, line * _DAYS + day))


def inbound_book(inbound_dates: pd.DataFrame, today: pd.Timestamp) -> InboundBook:
    """The table `inbound_dates` without what came from `today` on, as arrays."""
    rows = inbound_dates.sort_values(["po_line_id", "told_on", "expected_on", "received_on"], kind="stable")
    line, names = pd.factorize(rows["po_line_id"])
    told, expected = day_numbers(rows["told_on"]), day_numbers(rows["expected_on"])
    received = day_numbers(rows["received_on"])
    first = np.r_[True, (line[1:] != line[:-1])][: len(line)]
    again = np.r_[False, (line[1:] == line[:-1]) & (told[1:] == told[:-1]) & _same(expected)][: len(line)]
    came = received < day_number(today)
    parts = pd.DataFrame({"line": line, "day": received, "part": as_numbers(rows["part_quantity"])})[came]
    parts = parts.sort_values(["line", "day"], kind="stable")
    so_far = parts.groupby("line")["part"].cumsum().to_numpy()
    quantity = as_numbers(rows["quantity"])[first]
    # Rounding of fractions leaves nothing owed: less than a billionth of what was ordered.
    full = so_far >= quantity[parts["line"].to_numpy()] * (1 - 1e-9)
    done = np.full(len(names), float(FAR))
    np.minimum.at(done, parts["line"].to_numpy()[full], parts["day"].to_numpy()[full])
    lines = pd.DataFrame({"po_line_id": names.astype(object), "quantity": quantity, "done_day": done})
    lines["ordered_day"] = day_numbers(rows["ordered_on"])[first]
    for name in ("supplier_id", "product_id", "warehouse_id", "kind"):
        lines[name] = pd.factorize(rows[name][first].astype(object), use_na_sentinel=False)[0]
    came_line, came_day = parts["line"].to_numpy(), parts["day"].to_numpy()
    return InboundBook(lines, line[~again], told[~again], expected[~again], came_line, came_day)


def looks_on(book: InboundBook, days: np.ndarray, with_own_day: bool = False) -> pd.DataFrame:
    """One row per day and line that owed goods that morning.

    Parameters
    ----------
    with_own_day : count what was told on the day itself as known: true of today, when it is known by now, and of no
        past morning

    Returns
    -------
    line (place in `book.lines`), day, told_day, expected_day (the latest), first_expected_day, n_slips, n_came,
    last_came_day and last_gap_days (between the last two; NaN without), wait_days (to its next goods; NaN where none
    are known)
    """
    known_by = np.asarray(days) + with_own_day
    first_told = np.flatnonzero(np.r_[True, book.told_line[1:] != book.told_line[:-1]][: len(book.told_line)])
    done = book.lines["done_day"].to_numpy()
    is_open = (book.told_day[first_told] < known_by[:, None]) & (done >= np.asarray(days)[:, None])
    which, line = np.nonzero(is_open)
    day = np.asarray(days)[which]
    last_told = book.n_told_before(line, day + with_own_day) - 1
    came, first_came = book.n_came_before(line, day), book.n_came_before(line, np.full(len(line), -1))
    came_day, n_came = np.r_[book.came_day, [np.nan, np.nan]], came - first_came
    is_next = (came < len(book.came_line)) & (np.r_[book.came_line, -1][came] == line)
    last = np.where(n_came > 0, came_day[came - 1], np.nan)
    return pd.DataFrame({
        "line": line, "day": day, "told_day": book.told_day[last_told], "expected_day": book.expected_day[last_told],
        "first_expected_day": book.expected_day[first_told[line]], "n_slips": last_told - first_told[line],
        "n_came": n_came, "last_came_day": last,
        "last_gap_days": np.where(n_came > 1, last - came_day[came - 2], np.nan),
        "wait_days": np.where(is_next, came_day[came] - day, np.nan),
    })  # fmt: skip


@dataclass(frozen=True)
class DaysAtRisk:
    """Bins of the clock in which looks were followed; all arrays have one entry per row, by look and bin.

    Parameters
    ----------
    look, bin : places of the look and in `CLOCK_MIDDLES`
    n_days : days at risk
    event : 1.0 if goods came on the last of them, else 0.0
    """

    look: np.ndarray
    bin: np.ndarray
    n_days: np.ndarray
    event: np.ndarray


def days_at_risk(due_days: np.ndarray, last_day: np.ndarray, came: np.ndarray) -> DaysAtRisk:
    """Cut the day of each look and those after it, 0, 1, ..., `last_day`, into bins of the clock.

    Parameters
    ----------
    due_days : from the look to the date told, negative if that has passed
    last_day : the last day followed
    came : whether goods came on it

    Due tomorrow, they came on the day after, one day late:

    >>> rows = days_at_risk(np.array([1]), np.array([2]), np.array([True]))
    >>> CLOCK_MIDDLES[rows.bin].tolist(), rows.n_days.tolist(), rows.event.tolist()
    ([-1.0, 0.0, 1.0], [1, 1, 1], [0.0, 0.0, 1.0])
    """
    begins = np.maximum(CLOCK_EDGES[:-1], -due_days[:, None])
    ends = np.minimum(CLOCK_EDGES[1:] - 1, (last_day - due_days)[:, None])
    look, place = np.nonzero(ends >= begins)
    event = came[look] & (ends[look, place] == (last_day - due_days)[look])
    return DaysAtRisk(look, place, (ends - begins + 1)[look, place].astype(np.int64), event * 1.0)


def day_number(day: pd.Timestamp) -> int:
    """Days since 1970-01-01."""
    return int((day - pd.Timestamp(0)).days)


def day_numbers(days: pd.Series) -> np.ndarray:
    """Days since 1970-01-01 as floats, NaN where unknown."""
    return as_numbers((days - pd.Timestamp(0)).dt.days)


def _same(values: np.ndarray) -> np.ndarray:
    """Whether each value equals the one before it; unknown equals unknown."""
    return np.asarray((values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1])))
