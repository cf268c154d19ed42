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
from models.boosting import TrainingRows, boost, predict_rows
from models.inputs import Inputs, learn_inputs

HISTORY_DAYS = 1095  # older looks describe suppliers that are gone
LOOK_EVERY_DAYS = 15
MOST_ROWS = 350_000  # bins at risk; leaving consignments out costs more than seconds
LINES_AT_ONCE = 10_000  # bounds memory: 10,000 lines x 20 bins x 45 inputs x 4 bytes = 36 MB
LONGEST_RATIO = 9.0
MOST_HAZARD = 0.999  # no day is certain
MOVING = ("clock_days", "u_days", "told_ratio", "age_ratio", "since_came_then_days", "gap_left_days")
ROUNDS = 110
PARAMS = {
    "objective": "cross_entropy",  # takes the share of a bin's days on which goods came
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 20.0,
    "bagging_fraction": 0.5,  # a new half for each tree: looks at one line are alike, and so are lines of an order
    "bagging_freq": 1,
    "feature_fraction_bynode": 0.5,  # by node and not by tree: no tree can do without the clock
    "max_bin": 127,
}


@dataclass(frozen=True, eq=False)
class ArrivalHazard:
    """Chance per day that the next goods of an inbound line come.

    Parameters
    ----------
    inputs : `NUMERIC` as at the look, then `MOVING` as on the day asked
    booster : gives the chance per day of a bin of the clock
    n_looks, n_rows : learned from
    """

    inputs: Inputs
    booster: lgb.Booster
    n_looks: int
    n_rows: int

    def to_json(self) -> dict[str, Any]:
        """All but the booster."""
        return {"inputs": self.inputs.to_json(), "n_looks": self.n_looks, "n_rows": self.n_rows}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], booster: lgb.Booster) -> ArrivalHazard:
        """Undo `to_json`."""
        return cls(Inputs.from_json(saved["inputs"]), booster, saved["n_looks"], saved["n_rows"])

    def log_not_come(self, lines: pd.DataFrame, n_days: int) -> np.ndarray:
        """Log of the chance that nothing has come u days on; (n_lines, n_days + 1).

        Column 0 is 0. Column 1 holds two days, today's goods and tomorrow's: what is not here yet comes later.
        """
        curves = np.zeros((len(lines), n_days + 1))
        for first in range(0, len(lines), LINES_AT_ONCE):
            part = lines.iloc[first : first + LINES_AT_ONCE]
            due = part["due_days"].to_numpy()
            rows = days_at_risk(due, np.full(len(part), n_days), np.zeros(len(part), dtype=bool))
            hazard = predict_rows(self.booster, self.inputs, matrix(self.inputs, part, rows))
            by_day = np.repeat(np.log1p(-np.minimum(hazard, MOST_HAZARD)), rows.n_days).reshape(len(part), n_days + 1)
            np.cumsum(by_day, axis=1, out=curves[first : first + len(part)])
        curves[:, 0] = 0.0
        return curves


def past_looks(book: InboundBook, today: int) -> pd.DataFrame:
    """Lines with a date that owed goods on mornings before `today` (days since 1970-01-01), the earliest first."""
    looks = looks_on(book, np.arange(today - LOOK_EVERY_DAYS, today - HISTORY_DAYS, -LOOK_EVERY_DAYS)[::-1])
    return looks[looks["expected_day"].notna()].reset_index(drop=True)


def n_receipts_after(looks: pd.DataFrame) -> int:
    """How many receipts the looks were followed to."""
    came = looks["wait_days"].notna()
    return len(np.unique(np.column_stack([looks["line"], looks["day"] + looks["wait_days"]])[came], axis=0))


def learn_hazard(book: InboundBook, looks: pd.DataFrame, today: int, seed: int = 0) -> ArrivalHazard:
    """Learn from `past_looks` and what became of them until yesterday."""
    lines = look_inputs(book, looks)
    inputs = learn_inputs(lines.assign(**dict.fromkeys(MOVING, np.nan)), (*NUMERIC, *MOVING), ())
    rows = _some(book, looks, followed(looks, today), seed)
    n_days = rows.n_days.astype(float)
    data = TrainingRows(inputs, matrix(inputs, lines, rows), rows.event / n_days, n_days).dataset(PARAMS)
    booster = boost(data, {**PARAMS, "seed": seed}, ROUNDS)
    return ArrivalHazard(inputs, booster, len(np.unique(rows.look)), len(n_days))


def _some(book: InboundBook, looks: pd.DataFrame, rows: DaysAtRisk, seed: int) -> DaysAtRisk:
    """Of very many bins those of some consignments: lines ordered together come together and tell the same twice."""
    if len(rows.look) <= MOST_ROWS:
        return rows
    together = joined_codes(*(book.lines[name].to_numpy() for name in ("supplier_id", "warehouse_id", "ordered_day")))
    draw = np.random.default_rng(seed).random(len(together))
    kept = (draw[together[looks["line"].to_numpy()]] < MOST_ROWS / len(rows.look))[rows.look]
    return DaysAtRisk(rows.look[kept], rows.bin[kept], rows.n_days[kept], rows.event[kept])


def followed(looks: pd.DataFrame, today: int) -> DaysAtRisk:
    """Days at risk of each look until its next goods, or until yesterday."""
    wait = looks["wait_days"].to_numpy()
    came = ~np.isnan(wait)
    last = np.where(came, wait, today - 1 - looks["day"].to_numpy())
    return days_at_risk((looks["expected_day"] - looks["day"]).to_numpy(), last, came)


def matrix(inputs: Inputs, lines: pd.DataFrame, rows: DaysAtRisk) -> np.ndarray:
    """Inputs of each bin at risk, as at its middle; float32."""
    at_look = inputs.matrix(lines.assign(**dict.fromkeys(MOVING, np.nan)))
    values = at_look[rows.look]
    look = {name: lines[name].to_numpy(dtype=float)[rows.look] for name in _MOVED}
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
    }
    for name, column in moving.items():
        values[:, inputs.columns.index(name)] = column
    return np.asarray(values)


_MOVED = ("due_days", "since_told_days", "age_days", "promised_days", "since_came_days", "last_gap_days")
