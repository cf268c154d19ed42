"""What was foreseen of waiting lines on past mornings: the last word said on each holds until the next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outlooks:
    """What was expected of lines, and on which mornings it was said.

    Parameters
    ----------
    rows : one row per line and morning: order_line_id, made_on, lifetime_value (money, 0 for anonymous customers);
        a rule's own may hold more (see `decisions.replay_rules`)
    survival : (n_rows, n_days + 1), chance still wanted u days after made_on if nobody ships it [S]; beyond its end
        the hazard of its last day goes on
    """

    rows: pd.DataFrame
    survival: Floats

    def in_force(self, order_line_id: pd.Series, on: pd.Timestamp) -> Codes:
        """Row of the last word on each line said on this morning or before, -1 where nothing was said; (n_lines,)."""
        line = self._names.get_indexer(pd.Index(order_line_id)).astype(np.int64)
        days = min(day_number(on) - self._first, self._span - 1)
        if days < 0:
            return np.full(len(line), -1, dtype=np.int64)
        last = np.searchsorted(self._key, line * self._span + days, side="right") - 1
        is_said = (line >= 0) & (last >= 0)
        is_said &= self._key[np.maximum(last, 0)] // self._span == line
        return np.where(is_said, self._order[np.maximum(last, 0)], -1).astype(np.int64)

    def days_since(self, row: Codes, on: pd.Timestamp) -> Codes:
        """Days from when each row was made until this morning."""
        return np.asarray(day_number(on) - self._made[row], dtype=np.int64)

    def hazard(self, row: Codes, on: pd.Timestamp) -> Floats:
        """Chance that each line, still wanted on this morning, is cancelled before the next one [h]; (n_rows,)."""
        at = np.minimum(self.days_since(row, on), self._hazard.shape[1] - 1)
        return np.asarray(self._hazard[row, at])

    def wanted_from(self, row: Codes, on: pd.Timestamp, n_days: int) -> Floats:
        """Chance still wanted u days after this morning, given that it is wanted now; (n_rows, n_days + 1).

        >>> made = pd.DataFrame({"order_line_id": ["a"], "made_on": pd.Timestamp("2026-01-05")})
        >>> outlooks = Outlooks(made, np.array([[1, 0.9, 0.5, 0.4]]))
        >>> outlooks.wanted_from(np.array([0]), pd.Timestamp("2026-01-07"), 2).round(2).tolist()
        [[1.0, 0.8, 0.64]]
        """
        at = np.minimum(self.days_since(row, on)[:, None] + np.arange(n_days), self._hazard.shape[1] - 1)
        stays = np.cumprod(1 - self._hazard[row[:, None], at], axis=1)
        return np.concatenate([np.ones((len(row), 1)), stays], axis=1)

    @cached_property
    def _hazard(self) -> Floats:
        before, after = self.survival[:, :-1], self.survival[:, 1:]
        return np.asarray(1 - np.divide(after, before, out=np.zeros_like(before), where=before > 0))

    @cached_property
    def _names(self) -> pd.Index[str]:
        names: pd.Index[str] = pd.Index(np.unique(self.rows["order_line_id"].to_numpy(dtype=object)))
        return names

    @cached_property
    def _made(self) -> Codes:
        return day_numbers(self.rows["made_on"])

    @cached_property
    def _first(self) -> int:
        return int(self._made.min())

    @cached_property
    def _span(self) -> int:
        return int(self._made.max()) - self._first + 1

    @cached_property
    def _place(self) -> Codes:
        # One number for line and morning, so that a sorted list of them answers for all lines at once.
        line = self._names.get_indexer(pd.Index(self.rows["order_line_id"])).astype(np.int64)
        return np.asarray(line * self._span + self._made - self._first)

    @cached_property
    def _order(self) -> Codes:
        return np.argsort(self._place, kind="stable").astype(np.int64)

    @cached_property
    def _key(self) -> Codes:
        return np.sort(self._place)


def day_numbers(dates: pd.Series) -> Codes:
    """Days since 1970."""
    return dates.to_numpy().astype("datetime64[D]").astype(np.int64)


def day_number(date: pd.Timestamp) -> int:
    """Day since 1970."""
    return int(np.datetime64(date, "D").astype(np.int64))
