"""This project's arrival model as the benchmark asks it: through the tables and features of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from decisions.policy import Policy
from features.feature_tables import build
from models import arrival
from tests.benchmarks.lifetime_value_data import RUN, facts_on
from tests.benchmarks.promises_data import Book, company
from tests.benchmarks.promises_scores import Foreseen, from_curve

N_DAYS = 730  # of which the chance of a first receipt is asked


@contextmanager
def inbound_dates_on(book: Book, days: Sequence[pd.Timestamp]) -> Iterator[Mapping[pd.Timestamp, pd.DataFrame]]:
    """The feature table `inbound_dates` on the morning of each day, as a run of that day would build it."""
    with TemporaryDirectory(prefix="backorder-bench-") as place:
        company(book, Path(place))
        last = max(days)
        with facts_on(Path(place), last.date()) as facts, facts.connect() as connection:
            yield {day: build(connection, facts, (day + RUN).to_pydatetime(), "inbound_dates") for day in days}


def ours(inbound_dates: pd.DataFrame, rows: pd.DataFrame, day: pd.Timestamp) -> Foreseen:
    """Foresee the next goods of open lines; `rows` says which, `inbound_dates` all that a run knows."""
    latest = inbound_dates[inbound_dates["is_latest"]].set_index("po_line_id").loc[rows["po_line_id"]].reset_index()
    model = arrival.fit(inbound_dates, day)
    has_come = -np.expm1(arrival.open_curves(model, latest, day, N_DAYS, inbound_dates))
    return from_curve(has_come, (latest["expected_on"] - day).dt.days.to_numpy())


def seconds_of(book: Book, day: pd.Timestamp, n_lines: int) -> tuple[float, float]:
    """CPU seconds to learn from what a run knows on `day` and to foresee that many copies of open lines as a run does.

    The copies are among what is learned from.
    """
    with inbound_dates_on(book, [day]) as inbound:
        known = inbound[day]
    owes = known[known["is_latest"] & (known["received_quantity"] < known["quantity"])]
    many = pd.concat([owes] * (n_lines // len(owes) + 1), ignore_index=True).iloc[:n_lines]
    many = many.assign(po_line_id=[f"copy {row}" for row in range(n_lines)])
    known = pd.concat([known, many], ignore_index=True)
    start = time.process_time()
    model = arrival.fit(known, day)
    learned = time.process_time()
    arrival.open_curves(model, many, day, Policy().horizon_days, known)
    return learned - start, time.process_time() - learned
