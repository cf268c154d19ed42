"""A boosted hazard of arrival by day: one distribution per inbound line, given that its goods have not come yet.

Learned on looks at past mornings (models/arrival_looks.py): the inputs stay as they were at the look, the clock moves
on. The likelihood is that of a chance per day (discrete-time hazard; Allison 1982): lines still open are censored, and
overdue ones need no rule of their own, since only days not yet over are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from models.arrival_inputs import NUMERIC, joined_codes, look_inputs
from models.arrival_looks import CLOCK_MIDDLES, DaysAtRisk, InboundBook, days_at_risk, looks_on
from models.arrival_recalibration import SINCE_DAYS, Recalibration, learn_recalibration
from models.boosting import TrainingRows, boost, predict_rows
from models.inputs import Inputs, learn_inputs

HISTORY_DAYS = 1095  # older looks describe suppliers that are gone
LOOK_EVERY_DAYS = 15
FEWEST_TO_BOOST = 300  # receipts after past looks; of fewer, trees learn chance
MOST_CHECKED = 10_000  # looks that tell how the forerunner erred
MOST_ROWS = 350_000  # bins at risk; leaving consignments out costs more than seconds
FORERUNNERS_ROWS = 150_000  # SCMS: as good as with all, and two seconds sooner
LINES_AT_ONCE = 10_000  # bounds memory: 10,000 lines x 365 days x 8 bytes = 29 MB
LOG_HARDLY = float(np.log(0.01))  # of a chance whose further days no date hangs on
LONGEST_RATIO = 9.0
MOST_HAZARD = 0.999  # no day is certain
MOVING = (
    "clock_days", "u_days", "told_ratio", "age_ratio", "since_came_then_days", "gap_left_days",
    "past_told_again_days", "past_told_again_most_days",
)  # fmt: skip
ROUNDS = 75
PARAMS = {
    "objective": "cross_entropy",  # takes the share of a bin's days on which goods came
    "learning_rate": 0.075,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 20.0,
    # A new half for each tree: looks at one line are alike, and so are lines of an order. Up to a half LightGBM copies
    # the rows of each tree, which takes longer than the tree.
    "bagging_fraction": 0.51,
    "bagging_freq": 1,
    "feature_fraction_bynode": 0.5,  # by node and not by tree: no tree can do without the clock
    "max_bin": 127,
    "bin_construct_sample_cnt": 50_000,
}


@dataclass(frozen=True, eq=False)
class ArrivalHazard:
    """Chance per day that the next goods of an inbound line come.

    Parameters
    ----------
    inputs : `NUMERIC` as at the look, then `MOVING` as on the day asked
    booster : gives the chance per day of a bin of the clock
    n_looks, n_rows : learned from
    recalibration : how its forerunner's chances turned out by supplier; None: no change
    """

    inputs: Inputs
    booster: lgb.Booster
    n_looks: int
    n_rows: int
    recalibration: Recalibration | None = None

    def to_json(self) -> dict[str, Any]:
        """All but the booster."""
        saved = {"inputs": self.inputs.to_json(), "n_looks": self.n_looks, "n_rows": self.n_rows}
        return saved if self.recalibration is None else saved | {"recalibration": self.recalibration.to_json()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], booster: lgb.Booster) -> ArrivalHazard:
        """Undo `to_json`."""
        change = Recalibration.from_json(saved["recalibration"]) if "recalibration" in saved else None
        return cls(Inputs.from_json(saved["inputs"]), booster, saved["n_looks"], saved["n_rows"], change)

    def log_not_come(self, lines: pd.DataFrame, n_days: int) -> np.ndarray:
        """Log of the chance that nothing has come u days on; (n_lines, n_days + 1).

        Column 0 is 0. Column 1 holds two days, today's goods and tomorrow's: what is not here yet comes later.

        Parameters
        ----------
        lines : `NUMERIC`, due_days and, where there is a recalibration, supplier_id
        """
        curves = np.empty((len(lines), n_days + 1))
        for first in range(0, len(lines), LINES_AT_ONCE):
            part = lines.iloc[first : first + LINES_AT_ONCE]
            due = part["due_days"].to_numpy()
            rows = days_at_risk(due, np.full(len(part), n_days), np.zeros(len(part), dtype=bool))
            by_day = self._log_stays(part, rows)
            if self.recalibration is not None:
                row = self.recalibration.rows_of(part["supplier_id"].to_numpy(dtype=object))
                by_day = _recalibrated(by_day, rows, self.recalibration, row)
            by_day = np.repeat(by_day, rows.n_days).reshape(len(part), n_days + 1)
            np.cumsum(by_day, axis=1, out=curves[first : first + len(part)])
        curves[:, 0] = 0.0
        return curves

    def _log_stays(self, lines: pd.DataFrame, rows: DaysAtRisk) -> np.ndarray:
        """Log of the chance per day of each bin that nothing comes; bin by bin, not of lines long come.

        Where hardly a chance is left the hazard of the line's last bin goes on: a third of all bins are not asked.
        """
        at_look = self.inputs.matrix(lines.assign(**dict.fromkeys(MOVING, np.nan)))
        own = {name: lines[name].to_numpy(dtype=float) for name in _MOVED}
        by_day, last = np.zeros(len(rows.look)), np.zeros(len(lines))
        so_far = np.zeros(len(lines))
        order = np.argsort(rows.bin, kind="stable")
        ends = np.searchsorted(rows.bin[order], np.arange(len(CLOCK_MIDDLES) + 1))
        for first, end in zip(ends[:-1], ends[1:], strict=True):
            place = order[first:end]
            look = rows.look[place]
            asked = so_far[look] > LOG_HARDLY
            if asked.any():
                values = matrix(self.inputs, own, _part_of(rows, place[asked]), at_look)
                hazard = predict_rows(self.booster, self.inputs, values)
                last[look[asked]] = np.log1p(-np.minimum(hazard, MOST_HAZARD))
            by_day[place] = last[look]
            so_far[look] += last[look] * rows.n_days[place]
        return by_day


def _recalibrated(by_day: np.ndarray, rows: DaysAtRisk, recalibration: Recalibration, row: np.ndarray) -> np.ndarray:
    """The log of each bin's chance per day after the change of the chances at the ends of bins."""
    at_end = np.zeros((len(row), len(CLOCK_MIDDLES)))
    at_end[rows.look, rows.bin] = by_day * rows.n_days
    np.cumsum(at_end, axis=1, out=at_end)
    changed = np.zeros((len(row), len(CLOCK_MIDDLES) + 1))
    changed[:, 1:] = recalibration.changed(at_end, np.broadcast_to(row[:, None], at_end.shape))
    return np.asarray((changed[:, 1:] - changed[:, :-1])[rows.look, rows.bin] / rows.n_days)


def past_looks(book: InboundBook, today: int) -> pd.DataFrame:
    """Lines with a date that owed goods on mornings before `today` (days since 1970-01-01), the earliest first."""
    looks = looks_on(book, np.arange(today - LOOK_EVERY_DAYS, today - HISTORY_DAYS, -LOOK_EVERY_DAYS)[::-1])
    return looks[looks["expected_day"].notna()].reset_index(drop=True)


def n_receipts_after(looks: pd.DataFrame) -> int:
    """How many receipts the looks were followed to."""
    came = looks["wait_days"].notna()
    return len(np.unique(np.column_stack([looks["line"], looks["day"] + looks["wait_days"]])[came], axis=0))


def learn_hazard(
    book: InboundBook, looks: pd.DataFrame, today: int, seed: int = 0, most_rows: int = MOST_ROWS
) -> ArrivalHazard:
    """Learn from `past_looks` and what became of them until yesterday."""
    lines = look_inputs(book, looks)
    inputs = learn_inputs(lines.assign(**dict.fromkeys(MOVING, np.nan)), (*NUMERIC, *MOVING), ())
    rows = _some(book, looks, followed(looks, today), seed, most_rows)
    n_days = rows.n_days.astype(float)
    at_look = inputs.matrix(lines.assign(**dict.fromkeys(MOVING, np.nan)))
    values = matrix(inputs, {name: lines[name].to_numpy(dtype=float) for name in _MOVED}, rows, at_look)
    data = TrainingRows(inputs, values, rows.event / n_days, n_days).dataset(PARAMS)
    booster = boost(data, {**PARAMS, "seed": seed}, ROUNDS)
    return ArrivalHazard(inputs, booster, len(np.unique(rows.look)), len(n_days))


def learn_from_forerunner(
    book: InboundBook, earlier: InboundBook, suppliers: np.ndarray, today: int, seed: int = 0
) -> Recalibration | None:
    """How a model learned `SINCE_DAYS` ago erred since; None if there was too little to learn from then.

    Parameters
    ----------
    book, earlier : as known today, and as known then
    suppliers : name of each line of `book`
    """
    then = today - SINCE_DAYS
    past = past_looks(earlier, then)
    if n_receipts_after(past) < FEWEST_TO_BOOST:
        return None
    forerunner = learn_hazard(earlier, past, then, seed, FORERUNNERS_ROWS)
    looks = looks_on(book, np.arange(today - LOOK_EVERY_DAYS, then - 1, -LOOK_EVERY_DAYS)[::-1])
    looks = looks[looks["expected_day"].notna()]
    kept = _drawn(book, looks["line"].to_numpy(), MOST_CHECKED / max(len(looks), 1), seed)
    looks = looks[kept].reset_index(drop=True)
    has_come = -np.expm1(forerunner.log_not_come(look_inputs(book, looks), SINCE_DAYS))
    return learn_recalibration(book, suppliers, looks, has_come, today)


def _some(book: InboundBook, looks: pd.DataFrame, rows: DaysAtRisk, seed: int, most_rows: int) -> DaysAtRisk:
    """Of very many bins those of some consignments: lines ordered together come together and tell the same twice."""
    if len(rows.look) <= most_rows:
        return rows
    kept = _drawn(book, looks["line"].to_numpy(), most_rows / len(rows.look), seed)[rows.look]
    return _part_of(rows, kept)


def _part_of(rows: DaysAtRisk, kept: np.ndarray) -> DaysAtRisk:
    return DaysAtRisk(rows.look[kept], rows.bin[kept], rows.n_days[kept], rows.event[kept])


def _drawn(book: InboundBook, line: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Whether each line's consignment is one of the drawn share: those of a supplier, warehouse and day of ordering."""
    together = joined_codes(*(book.lines[name].to_numpy() for name in ("supplier_id", "warehouse_id", "ordered_day")))
    return np.asarray((np.random.default_rng(seed).random(len(together)) < share)[together[line]])


def followed(looks: pd.DataFrame, today: int) -> DaysAtRisk:
    """Days at risk of each look until its next goods, or until yesterday."""
    wait = looks["wait_days"].to_numpy()
    came = ~np.isnan(wait)
    last = np.where(came, wait, today - 1 - looks["day"].to_numpy())
    return days_at_risk((looks["expected_day"] - looks["day"]).to_numpy(), last, came)


def matrix(inputs: Inputs, lines: Mapping[str, np.ndarray], rows: DaysAtRisk, at_look: np.ndarray) -> np.ndarray:
    """Inputs of each bin at risk, as at its middle; float32.

    Parameters
    ----------
    lines : `_MOVED` of each line
    at_look : (n_lines, n_inputs) with `MOVING` unknown
    """
    values = at_look[rows.look]
    look = {name: lines[name][rows.look] for name in _MOVED}
    clock = CLOCK_MIDDLES[rows.bin]
    u = np.maximum(clock + look["due_days"], 0)
    told_span = np.maximum(look["since_told_days"] + look["due_days"], 1)
    since_came = look["since_came_days"] + u
    moving: dict[str, Any] = {
        "clock_days": clock,
        "u_days": u,
        "told_ratio": np.clip((look["since_told_days"] + u) / told_span, 0, LONGEST_RATIO),
        "age_ratio": np.clip((look["age_days"] + u) / np.maximum(look["promised_days"], 1), 0, LONGEST_RATIO),
        "since_came_then_days": since_came,
        "gap_left_days": look["last_gap_days"] - since_came,
        "past_told_again_days": u - look["supplier_told_again_days"],
        "past_told_again_most_days": u - look["supplier_told_again_most_days"],
    }
    for name, column in moving.items():
        values[:, inputs.columns.index(name)] = column
    return np.asarray(values)


_MOVED = (
    "due_days", "since_told_days", "age_days", "promised_days", "since_came_days", "last_gap_days",
    "supplier_told_again_days", "supplier_told_again_most_days",
)  # fmt: skip
