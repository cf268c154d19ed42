"""Kaplan-Meier tables: the chance that goods come (or are ordered) on each day of a clock, shrunk to wider groups'.

The clock counts days from the expected day (negative before it), from the day of ordering or from the last order (0 at
first). `ReceiptCurves` are by supplier; `NestedCurves` go on to groups within it, each shrunk to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PSEUDO_LINES = 10.0  # a supplier's hazard counts this many lines at risk of all suppliers' hazard
TAIL_MEAN_DAYS = 14.0  # assumed wait once the clock runs past what was seen; one pseudo-receipt, soon outweighed
LAST_DAYS = 90  # of a nested clock, whose mean hazard goes on past its end: of one day it would be chance
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
    found = learn_counts(supplier_ids, entry, last, received, first_day, last_day)
    counts = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in found.cells)
    return from_counts(first_day, last_day, found.names, counts)


@dataclass(frozen=True, eq=False)
class Counts:
    """Events and rows at risk of each name and day of a clock.

    Parameters
    ----------
    first_day, last_day : the clock's range
    names : sorted
    cells : (n_cells, 4), sorted: place in `names` (past its end: of unknown name), day since `first_day`, events,
        change of the number at risk
    """

    first_day: int
    last_day: int
    names: tuple[str, ...]
    cells: np.ndarray

    def place(self, ids: np.ndarray) -> np.ndarray:
        """Place of each id in `names`, -1 where it is not there."""
        known = {name: row for row, name in enumerate(self.names)}
        return np.array([known.get(name, -1) for name in ids], dtype=np.int64)

    def on_days(self, place: np.ndarray, n_days: int) -> tuple[np.ndarray, np.ndarray]:
        """Events and numbers at risk on the clock's first `n_days` days at each place, 0 at -1; (n_places, n_days)."""
        asked = np.full(len(self.names) + 2, -1)
        asked[place] = np.arange(len(place))
        asked[[-1, -2]] = -1  # -1 counts from the end: nobody's, and those of unknown name
        row, day = asked[self.cells[:, 0].astype(np.int64)], self.cells[:, 1].astype(np.int64)
        kept = (row >= 0) & (day < n_days)
        cell, shape = row[kept] * n_days + day[kept], (len(place), n_days)
        events, change = (np.bincount(cell, self.cells[kept, i], len(place) * n_days).reshape(shape) for i in (2, 3))
        return events, np.cumsum(change, axis=1)

    def of_all(self) -> tuple[np.ndarray, np.ndarray]:
        """Events and numbers at risk on each of the clock's days, all names together; (n_clock_days,) each."""
        n_days = self.last_day - self.first_day + 1
        day = self.cells[:, 1].astype(np.int64)
        events, change = (np.bincount(day, self.cells[:, i], n_days + 1)[:n_days] for i in (2, 3))
        return events, np.cumsum(change)

    def to_json(self) -> dict[str, Any]:
        """Give the cells column by column, each as one text: of many products there are many."""
        columns = [" ".join(f"{value:.17g}" for value in column) for column in self.cells.T.tolist()]
        return {"first_day": self.first_day, "last_day": self.last_day, "names": list(self.names), "cells": columns}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Counts:
        """Undo `to_json`."""
        cells = np.array([column.split() for column in saved["cells"]], dtype=float).T
        return cls(saved["first_day"], saved["last_day"], tuple(saved["names"]), cells)


def learn_counts(
    ids: np.ndarray,
    entry: np.ndarray,
    last: np.ndarray,
    received: np.ndarray,
    first_day: int,
    last_day: int,
    weight: np.ndarray | None = None,
) -> Counts:
    """Count as `learn_curves` does, by any name; `weight` says how many rows each stands for.

    None is one each; else whole parts of a power of two, whose sums are exact.
    """
    names = tuple(sorted({str(name) for name in ids if isinstance(name, str)}))
    known = {name: row for row, name in enumerate(names)}
    row = np.array([known.get(name, len(names)) for name in ids], dtype=np.int64)
    watched = last >= entry
    # What comes after the clock's end was still open at its end: else all of it would seem to come on the last day.
    row, received = row[watched], (received & (last <= last_day))[watched]
    width = last_day - first_day + 2
    begins = np.clip(entry[watched], first_day, last_day).astype(np.int64) - first_day
    ends = np.clip(last[watched], first_day, last_day).astype(np.int64) - first_day
    stands_for = np.ones(len(row)) if weight is None else weight[watched]
    both = np.r_[row * width + begins, row * width + ends + 1]
    cell, place = np.unique(both, return_inverse=True)
    change = np.bincount(place, np.r_[stands_for, -stands_for], len(cell))
    # An event falls on a line's last day, the day before it leaves: that cell may have no change of its own.
    came, came_place = np.unique((row * width + ends)[received], return_inverse=True)
    filled = np.union1d(cell[change != 0], came)
    cells = np.zeros((len(filled), 4))
    cells[:, 0], cells[:, 1] = filled // width, filled % width
    cells[np.searchsorted(filled, came), 2] = np.bincount(came_place, stands_for[received], len(came))
    cells[np.searchsorted(filled, cell[change != 0]), 3] = change[change != 0]
    return Counts(first_day, last_day, names, cells)


@dataclass(frozen=True, eq=False)
class NestedCurves:
    """Chances by day of a clock that starts at 0, for ever narrower groups.

    Parameters
    ----------
    levels : counts by supplier, by lane and so on; a group's hazard is shrunk to that of the level before it, the first
        level's to all
    pseudo_rows : of each level, how many rows at risk of the hazard before it count beside its own
    """

    levels: tuple[Counts, ...]
    pseudo_rows: tuple[float, ...]

    def log_not_yet(self, places: Sequence[np.ndarray], from_day: np.ndarray, n_days: int) -> np.ndarray:
        """Log of the chance that nothing has come by the end of day `from_day` + u; (n, n_days + 1).

        Parameters
        ----------
        places : of each level, place of each row's name (`Counts.place`)
        from_day : nothing had come before it; past the clock's end the mean hazard of its last days goes on
        """
        last_day = self.levels[0].last_day
        start = np.clip(from_day, 0, last_day + 1).astype(np.int64)
        n_clock_days = min(int(start.max(initial=0)) + n_days, last_day) + 1
        all_events, all_at_risk = self.levels[0].of_all()
        hazard = np.broadcast_to(_overall_hazard(all_events, all_at_risk, 0)[:n_clock_days], (len(start), n_clock_days))
        for counts, place, pseudo in zip(self.levels, places, self.pseudo_rows, strict=True):
            group, row = np.unique(place, return_inverse=True)
            events, at_risk = counts.on_days(group, n_clock_days)
            hazard = (events[row] + pseudo * hazard) / (at_risk[row] + pseudo)
        log_stays = np.log1p(-np.minimum(hazard, MOST_HAZARD))
        beyond = log_stays[:, -LAST_DAYS:].mean(axis=1, keepdims=True)
        log_stays = np.concatenate([log_stays, beyond], axis=1)
        steps = np.minimum(start[:, None] + np.arange(n_days + 1)[None, :], n_clock_days)
        return np.asarray(np.cumsum(np.take_along_axis(log_stays, steps, axis=1), axis=1))

    def to_json(self) -> dict[str, Any]:
        """Give the counts of each level."""
        return {"levels": [counts.to_json() for counts in self.levels], "pseudo_rows": list(self.pseudo_rows)}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> NestedCurves:
        """Undo `to_json`."""
        return cls(tuple(Counts.from_json(level) for level in saved["levels"]), tuple(saved["pseudo_rows"]))


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
