"""A ridge logit: the log-odds as a penalised straight line in a few readable terms, for books too small for trees.

Terms are standardised and share one penalty, so the values of a text column (segment, category, ...) act as groups
that lean on the whole: a group with few rows stays near the average (partial pooling). Waiting time enters by its
logarithm and bands, each clock past a date told as a step and a logarithm, and every other numeric term may change its
weight once the promise has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from models.inputs import Inputs
from models.line_days import YEAR_DAYS

LATE_CLOCKS = ("days_late", "days_past_latest")
LATE_SHARE = 0.7  # scale of the terms that hold after the promise only: penalised twice as hard as the terms themselves
SKEWED = 5.0  # greatest over median from which on a column is read by its logarithm
MOST_ROWS = 8_000  # of events, and of quiet days: a line of some sixty weights learns little more from more
RARE_SHARE = 0.002  # text values of fewer rows have no term of their own


@dataclass(frozen=True)
class Term:
    """How one numeric input becomes standard numbers: log first if skewed, then cut at its usual range and scaled."""

    is_log: bool
    low: float
    high: float
    mean: float
    spread: float
    has_gaps: bool

    def numbers(self, values: np.ndarray) -> list[np.ndarray]:
        """Standardised column and, where some are unknown, a column that says so."""
        read = np.log1p(np.maximum(values, 0)) if self.is_log else values
        standard = (np.clip(read, self.low, self.high) - self.mean) / self.spread
        known = np.isfinite(standard)
        return [np.where(known, standard, 0.0)] + ([(~known).astype(float)] if self.has_gaps else [])


@dataclass(frozen=True)
class Form:
    """How inputs become columns: standard terms, levels of text, and the clocks.

    Parameters
    ----------
    terms : per numeric input, clocks excepted
    levels : per text input the codes that have a term
    """

    terms: dict[str, Term]
    levels: dict[str, tuple[int, ...]]

    def design(self, inputs: Inputs, values: np.ndarray) -> np.ndarray:
        """Columns of the line side by side, (n_rows, n_columns)."""
        columns = self.columns(inputs, values)
        return np.column_stack(columns).astype(float, copy=False) if columns else np.zeros((len(values), 0))

    def columns(self, inputs: Inputs, values: np.ndarray) -> list[np.ndarray]:
        """Columns of the line, each (n_rows,): clocks, terms, levels, and the terms again past the promise.

        Parameters
        ----------
        values : (n_rows, n_inputs) in the order of `inputs.columns`
        """
        place = {name: column for column, name in enumerate(inputs.columns)}
        clocks = _clock_columns({name: values[:, place[name]].astype(float) for name in _clocks(inputs)})
        plain = [c for name, term in self.terms.items() for c in term.numbers(values[:, place[name]].astype(float))]
        levels = [values[:, place[name]] == code for name, codes in self.levels.items() for code in codes]
        late = _is_late(values, place)
        after = [LATE_SHARE * column * late for column in plain] if late is not None else []
        return [*clocks, *plain, *levels, *after]


@dataclass(frozen=True, eq=False)
class Ridge:
    """A fitted line of log-odds.

    Parameters
    ----------
    weights : one per column of `form.design`
    level : log-odds where every column is 0
    """

    form: Form
    weights: np.ndarray
    level: float

    def log_odds(self, inputs: Inputs, values: np.ndarray) -> np.ndarray:
        """Log-odds of each row of `values`, (n_rows, n_inputs) in the order of `inputs.columns`."""
        # Column by column, not `@`: a matrix of them all costs more than the sum, and BLAS rounds a row by its place
        # among the others, when the order of rows must not matter.
        odds = np.full(len(values), self.level)
        for column, weight in zip(self.form.columns(inputs, values), self.weights, strict=True):
            odds += weight * column
        return odds

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {
            "terms": [[name, *vars(term).values()] for name, term in self.form.terms.items()],
            "levels": [[name, list(codes)] for name, codes in self.form.levels.items()],
            "weights": self.weights.tolist(),
            "level": self.level,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Ridge:
        """Undo `to_json`."""
        terms = {name: Term(*numbers) for name, *numbers in saved["terms"]}
        levels = {name: tuple(codes) for name, codes in saved["levels"]}
        return cls(Form(terms, levels), np.array(saved["weights"]), saved["level"])


def learn_form(inputs: Inputs, values: np.ndarray) -> Form:
    """Usual range and spread of each input; they know no outcome, so rows that judge may be among them."""
    terms = {name: _learn_term(values[:, place]) for place, name in enumerate(inputs.columns) if name in _plain(inputs)}
    codes = {name: _learn_levels(values[:, inputs.columns.index(name)]) for name in inputs.codes}
    return Form(terms, codes)


def fit(
    inputs: Inputs, values: np.ndarray, event: np.ndarray, weight: np.ndarray, strength: float, form: Form
) -> Ridge:
    """Fit by penalised maximum likelihood (Hoerl & Kennard 1970; le Cessie & van Houwelingen 1992).

    Parameters
    ----------
    strength : the inverse of the penalty; the weights' prior variance if terms are of unit spread
    """
    kept, mass = _thinned(event, weight)
    solver = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-3, max_iter=50)
    solver.fit(form.design(inputs, values[kept]), event[kept], sample_weight=mass)
    return Ridge(form, solver.coef_[0], float(solver.intercept_[0]))


def _thinned(event: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of at most so many events and quiet rows, and weights in which they stand for all."""
    places, masses = [], []
    draw = np.random.default_rng(0)  # which rows stand for all is no choice of the caller
    for rows in (np.flatnonzero(event > 0), np.flatnonzero(event == 0)):
        # At random: rows come in a rhythm, and every third may be the first day after a look.
        kept = rows if len(rows) <= MOST_ROWS else np.sort(draw.choice(rows, MOST_ROWS, replace=False))
        places.append(kept)
        masses.append(weight[kept] * (weight[rows].sum() / max(weight[kept].sum(), 1e-12)))
    return np.concatenate(places), np.concatenate(masses)


def _clocks(inputs: Inputs) -> list[str]:
    return [name for name in ("waited_days", *LATE_CLOCKS, "day_of_year") if name in inputs.usual]


def _plain(inputs: Inputs) -> list[str]:
    return [name for name in inputs.usual if name not in _clocks(inputs)]


def _clock_columns(clocks: dict[str, np.ndarray]) -> list[np.ndarray]:
    columns = []
    for name, days in clocks.items():
        known = np.nan_to_num(days, nan=-1.0)
        if name == "waited_days":
            columns += [np.log1p(np.maximum(known, 0)), (known >= 7).astype(float), (known >= 30).astype(float)]
        elif name == "day_of_year":
            angle = 2 * np.pi * known / YEAR_DAYS
            columns += [np.sin(angle), np.cos(angle)]
        else:
            columns += [(known >= 0).astype(float), np.log1p(np.maximum(known, 0)), np.clip(known, -30, 0) / 30]
            columns += [np.isnan(days).astype(float)]
    return columns


def _is_late(values: np.ndarray, place: dict[str, int]) -> np.ndarray | None:
    late = [np.nan_to_num(values[:, place[name]], nan=-1.0) >= 0 for name in LATE_CLOCKS if name in place]
    return np.logical_or.reduce(late).astype(float) if late else None


def _learn_term(values: np.ndarray) -> Term:
    known = values[np.isfinite(values)].astype(float)
    if not len(known):
        return Term(False, 0.0, 0.0, 0.0, 1.0, True)
    is_log = bool(known.min() >= 0 and known.max() > SKEWED * (np.median(known) + 1))
    read = np.log1p(known) if is_log else known
    low, high = np.quantile(read, [0.01, 0.99])
    cut = np.clip(read, low, high)
    spread = float(cut.std())
    has_gaps = len(known) < len(values)
    return Term(is_log, float(low), float(high), float(cut.mean()), spread if spread > 1e-9 else 1.0, has_gaps)


def _learn_levels(codes: np.ndarray) -> tuple[int, ...]:
    known, counts = np.unique(codes[np.isfinite(codes)], return_counts=True)
    return tuple(int(code) for code in known[counts >= max(RARE_SHARE * len(codes), 2)])
