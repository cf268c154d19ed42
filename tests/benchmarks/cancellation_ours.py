"""This project's model as one of the ways: books in the form it learns from, its curves as an answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.cancellation import CancellationModel, fit, survival
from models.line_days import ADVANCING
from tests.benchmarks.cancellation_peers import Predictor, answer
from tests.benchmarks.cancellation_scores import BRIER_DAYS
from tests.benchmarks.cancellation_worlds import CANCELLED, NEVER, NUMERIC, TEXT, Book

FIRST_DAY = pd.Timestamp("2026-01-01")
N_START_DAYS = 300  # lines' waits begin on so many days, so that the model can judge by time
ENDED_BY = np.array([None, "customer", "shipment"], dtype=object)  # by cause: NEVER, CANCELLED, SHIPPED


def ours(past: Book, seed: int) -> Predictor:
    """The model of `models.cancellation`."""
    return predictor(learned(past, seed))


def learned(past: Book, seed: int) -> CancellationModel:
    """The model fitted to a book."""
    return fit(samples(past, seed), seed, (*ADVANCING, *NUMERIC), TEXT)


def predictor(model: CancellationModel) -> Predictor:
    """What the model says of open lines."""
    return lambda lines: answer(survival(model, as_lines(lines), BRIER_DAYS), lines)


def as_lines(lines: Book) -> pd.DataFrame:
    """Open lines as the model reads them; each customer was told one date only."""
    late = lines.waited_days - lines.features["promise"]
    return lines.features.assign(waited_days=lines.waited_days.astype(float), days_late=late, days_past_latest=late)


def samples(past: Book, seed: int) -> pd.DataFrame:
    """One row per line, watched from its first day on; a line leaves at noon of the day it leaves on."""
    start = np.random.default_rng(seed).integers(0, N_START_DAYS, len(past))
    has_left = past.cause != NEVER
    return as_lines(past).assign(
        order_line_id=np.char.add("L", np.char.zfill(np.arange(len(past)).astype(str), 7)),
        cutoff_on=FIRST_DAY + pd.to_timedelta(start, unit="D"),
        at_risk_days=past.left_on - 0.5 * has_left,
        ended_by=ENDED_BY[past.cause],
        cancelled_share=(past.cause == CANCELLED) * 1.0,
    )
