"""Kaplan-Meier tables by supplier: the chance that goods come on each day of a clock, shrunk to all suppliers'.

The clock counts days from the expected day (negative before it) or from the day of ordering (0 at first).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PSEUDO_LINES = 10.0  # a supplier's hazard counts this many lines at risk of all suppliers' hazard
TAIL_MEAN_DAYS = 14.0  # assumed wait once the clock runs past what was seen; one pseudo-receipt, soon outweighed
MOST_HAZARD = 0.999  # no day is certain, so a line later than all before it still has a next day


@dataclass(frozen=True)
class ReceiptCurves:
    """Chances of receipt by supplier and day of the clock.

    Parameters
    ----------
    first_day, last_day : the clock's range; earlier and later days are held at its ends
    suppliers : known suppliers, sorted
    log_survival : (n_suppliers + 1, n_clock_days + 1), log of the chance that goods have not come before each day;
        the last row is all suppliers together
    n_received : receipts learned from
    counts : sparse (supplier, day, n_received, n_at_risk_change) from which all is rebuilt
    """

    first_day: int
    last_day: int
    suppliers: tuple[str, ...]
    log_survival: np.ndarray
    n_received: int
    counts: tuple[tuple[int, int, int, int], ...]

    def conditional(self, supplier_ids: np.ndarray, from_day: np.ndarray, n_days: int) -> np.ndarray:
        """Log of the chance that goods have not come u days on, given none before `from_day`; (n, n_days + 1).

        Column 0 is 0. Column u covers the clock's days up to `from_day` + u, that of today included: what is due
        today and not here yet comes within the next day or later.
        """
        place = self.place(supplier_ids)
        start = np.clip(from_day - self.first_day, 0, self.last_day - self.first_day).astype(np.int64)
        steps = start[:, None] + np.arange(1, n_days + 2)[None, :]
        beyond = np.maximum(steps - (self.last_day - self.first_day + 1), 0)
        inside = steps - beyond
        # Past the clock's end its last day's hazard goes on.
        last_log = self.log_survival[place, -1] - self.log_survival[place, -2]
        so_far = self.log_survival[place[:, None], inside] + beyond * last_log[:, None]
        later = so_far - self.log_survival[place, start][:, None]
        later[:, 0] = 0.0
        return np.asarray(later)

    def place(self, supplier_ids: np.ndarray) -> np.ndarray:
        """Row of each supplier in `log_survival`; one nobody knows gets all suppliers'."""
        known = {name: row for row, name in enumerate(self.suppliers)}
        return np.array([known.get(name, len(known)) for name in supplier_ids], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """Give the sparse counts; the curves follow from them."""
        return {
            "first_day": self.first_day,
            "last_day": self.last_day,
            "suppliers": list(self.suppliers),
            "counts": [list(row) for row in self.counts],
        }


def learn_curves(
    supplier_ids: np.ndarray, entry: np.ndarray, last: np.ndarray, received: np.ndarray, first_day: int, last_day: int
) -> ReceiptCurves:
    """Count receipts and lines at risk by supplier and day of the clock.

    Parameters
    ----------
    supplier_ids : text, None if unknown
    entry : day of the clock from which a row is watched (delayed entry)
    last : last day it was watched; rows with `last` < `entry` count nowhere
    received : whether goods came on the last day, else it was still open then
    """
    suppliers = tuple(sorted({str(name) for name in supplier_ids if isinstance(name, str)}))
    known = {name: row for row, name in enumerate(suppliers)}
    row = np.array([known.get(name, len(suppliers)) for name in supplier_ids], dtype=np.int64)
    watched = last >= entry
    # What comes after the clock's end was still open at its end: else all of it would seem to come on the last day.
    row, received = row[watched], (received & (last <= last_day))[watched]
    width = last_day - first_day + 2
    begins = np.clip(entry[watched], first_day, last_day).astype(np.int64) - first_day
    ends = np.clip(last[watched], first_day, last_day).astype(np.int64) - first_day
    cells = (len(suppliers) + 1) * width
    change = np.bincount(row * width + begins, minlength=cells) - np.bincount(row * width + ends + 1, minlength=cells)
    events = np.bincount((row * width + ends)[received], minlength=cells)
    filled = np.flatnonzero((change != 0) | (events != 0))
    found = zip(filled // width, filled % width, events[filled], change[filled], strict=True)
    counts = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in found)
    return from_counts(first_day, last_day, suppliers, counts)


def from_counts(
    first_day: int, last_day: int, suppliers: tuple[str, ...], counts: tuple[tuple[int, int, int, int], ...]
) -> ReceiptCurves:
    """Curves from sparse counts: overall hazards first, then each supplier's shrunk to them."""
    n_days = last_day - first_day + 1
    events, change = np.zeros((len(suppliers) + 1, n_days + 1)), np.zeros((len(suppliers) + 1, n_days + 1))
    if counts:
        row, day, n_received, n_change = np.array(counts).T
        events[row, day], change[row, day] = n_received, n_change
    events, at_risk = events[:, :-1], np.cumsum(change, axis=1)[:, :-1]
    overall = _overall_hazard(events.sum(axis=0), at_risk.sum(axis=0), first_day)
    hazard = (events + PSEUDO_LINES * overall) / (at_risk + PSEUDO_LINES)
    hazard[-1] = overall
    log_survival = np.zeros((len(suppliers) + 1, n_days + 1))
    log_survival[:, 1:] = np.cumsum(np.log1p(-np.minimum(hazard, MOST_HAZARD)), axis=1)
    return ReceiptCurves(first_day, last_day, suppliers, log_survival, int(events.sum()), counts)


def _overall_hazard(events: np.ndarray, at_risk: np.ndarray, first_day: int) -> np.ndarray:
    """All suppliers' hazard by day; where few are at risk late on the clock it leans on one rate for all late days."""
    is_late = np.arange(len(events)) + first_day > 0
    late_rate = (events[is_late].sum() + 1) / (at_risk[is_late].sum() + TAIL_MEAN_DAYS)
    return np.asarray((events + is_late * late_rate) / np.maximum(at_risk + is_late, 1e-12))
