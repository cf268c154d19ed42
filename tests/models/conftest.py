"""Invented waiting lines, accounts and inbound lines whose true chances are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models import arrival, cancellation, customer_base, lifetime_value, next_order
from models.account_panel import accounts_of_today
from models.cancellation import NUMERIC, TEXT
from models.cancellation_choice import Choice
from tests.models.simulated_accounts import TODAY, Book, simulated_book

LATE_HAZARD, EARLY_HAZARD = 0.04, 0.008  # true chance of cancelling per day past the promise and before it


def days_before(day: pd.Timestamp, n_days: np.ndarray) -> pd.Series:
    return pd.Series((day - pd.to_timedelta(n_days, unit="D")).astype("datetime64[s]"))


def waiting_samples(n_lines: int, seed: int = 0, ship_chance: float = 0.03, scale: float = 1.0) -> pd.DataFrame:
    """Lines watched for up to 60 days; customers cancel at `true_hazard`, planners ship at `ship_chance` a day."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({name: np.full(n_lines, np.nan) for name in cancellation.NUMERIC})
    for name in cancellation.TEXT:
        frame[name] = pd.Series(draw.choice(["a", "b"], n_lines), dtype="str")
    frame["priority_class"] = draw.choice([1.0, 2.0], n_lines)
    frame["order_line_id"] = [f"L{i:06d}" for i in range(n_lines)]
    frame["customer_id"] = pd.Series([f"C{i:04d}" for i in draw.integers(0, n_lines // 4 + 1, n_lines)], dtype="str")
    frame["waited_days"] = draw.integers(0, 40, n_lines).astype(float)
    frame["days_late"] = frame["waited_days"] - draw.integers(5, 45, n_lines)
    frame["line_value"] = draw.lognormal(5, 1, n_lines)
    frame["cutoff_on"] = days_before(TODAY, draw.integers(60, 400, n_lines))
    return watched(frame, scale * true_hazard(frame, np.arange(1, 61)), ship_chance, seed + 1_000_000)


def watched(lines: pd.DataFrame, hazard: np.ndarray, ship_chance: float | np.ndarray, seed: int) -> pd.DataFrame:
    """Draw what becomes of lines, at any time of a day, under chances per day; `hazard` is (n_lines, n_days)."""
    draw = np.random.default_rng(seed)
    first = []
    for chance in (hazard, ship_chance):
        happens = draw.random(hazard.shape) < chance
        first.append(np.where(happens.any(axis=1), happens.argmax(axis=1) + draw.random(len(lines)), np.inf))
    cancelled, shipped = first
    at_risk = np.minimum(np.minimum(cancelled, shipped), hazard.shape[1])
    by_customer, is_shipped = cancelled == at_risk, shipped == at_risk
    ended_by = pd.Series(np.select([by_customer, is_shipped], ["customer", "shipment"], ""), index=lines.index)
    ended_by = ended_by.astype("str").replace("", None)
    return lines.assign(at_risk_days=at_risk, ended_by=ended_by, cancelled_share=by_customer.astype(float))


def fit_form(
    kind: str,
    samples: pd.DataFrame,
    columns: tuple[tuple[str, ...], tuple[str, ...]] = (NUMERIC, TEXT),
    corrections: tuple[float, ...] = (0.0,) * 5,
) -> cancellation.CancellationModel:
    """Fit the form that is named, without judging any on later days: seconds become tenths."""
    share = {"boosted": 1.0, "ridge": 0.0, "mixed": 0.4}[kind]
    choice = Choice(boosted_share=share, n_rounds=40, strength=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cancellation, "choose", lambda *_: choice)
        return replace(cancellation.fit(samples, 0, *columns), corrections=corrections)


def cut_at_looks(samples: pd.DataFrame, every_days: int) -> pd.DataFrame:
    """Cut every stretch where its line is looked at anew, so many days apart; its inputs are those of the new look."""
    n_parts = np.maximum(np.ceil(samples["at_risk_days"] / every_days), 1).astype(int).to_numpy()
    parts = samples.loc[samples.index.repeat(n_parts)]
    nth = np.arange(len(parts)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
    is_last = nth == np.repeat(n_parts, n_parts) - 1
    parts = moved_on(parts, nth * every_days).reset_index(drop=True)
    parts["at_risk_days"] = np.where(is_last, parts["at_risk_days"] - nth * every_days, every_days)
    parts["ended_by"] = parts["ended_by"].where(is_last)
    parts["cancelled_share"] = parts["cancelled_share"].where(is_last, 0.0)
    return parts


def moved_on(lines: pd.DataFrame, n_days: int | np.ndarray) -> pd.DataFrame:
    """Return the same lines so many days later, had nothing but time passed."""
    moved = {name: lines[name] + n_days for name in cancellation.ADVANCING}
    return lines.assign(cutoff_on=lines["cutoff_on"] + pd.to_timedelta(n_days, unit="D"), **moved)


def true_hazard(lines: pd.DataFrame, day: np.ndarray) -> np.ndarray:
    """Chance of cancelling on each day, (n_lines, n_days): jumps at the promise, half for segment b."""
    late = lines["days_late"].to_numpy()[:, None] + day[None, :] - 1 >= 0
    factor = np.where(lines["segment"] == "b", 0.5, 1.0)[:, None]
    return np.where(late, LATE_HAZARD, EARLY_HAZARD) * factor


def inbound_lines(n_lines: int, seed: int = 0, mean_delay_days: float = 5.0, history_days: int = 600) -> pd.DataFrame:
    """Ordered at any time before `TODAY`, told for 30 days later, late by an exponential delay; one date told each."""
    draw = np.random.default_rng(seed)
    age = draw.integers(1, history_days, n_lines)
    delay = np.floor(draw.exponential(mean_delay_days, n_lines)).astype(int)
    came = age > 30 + delay
    frame = pd.DataFrame(
        {
            "po_line_id": [f"P{i:05d}" for i in range(n_lines)],
            "supplier_id": pd.Series(draw.choice(["S1", "S2"], n_lines), dtype="str"),
            "product_id": pd.Series([f"K{i}" for i in draw.integers(0, 20, n_lines)], dtype="str"),
            "warehouse_id": pd.Series(["W"] * n_lines, dtype="str"),
            "for_order_line_id": pd.Series([None] * n_lines, dtype="str"),
            "kind": pd.Series(["bought"] * n_lines, dtype="str"),
            "told_on": days_before(TODAY, age),
            "ordered_on": days_before(TODAY, age),
            "expected_on": days_before(TODAY, age - 30),
            "received_on": days_before(TODAY, age - 30 - delay).where(came),
            "part_quantity": np.where(came, 5.0, np.nan),
            "first_received_on": days_before(TODAY, age - 30 - delay).where(came),
            "quantity": 5.0,
            "received_quantity": np.where(came, 5.0, 0.0),
            "is_latest": True,
        }
    )
    return frame


@pytest.fixture(scope="session")
def samples() -> pd.DataFrame:
    return waiting_samples(3000)


@pytest.fixture(scope="session")
def boosted(samples: pd.DataFrame) -> cancellation.CancellationModel:
    return cancellation.fit(samples)


@pytest.fixture(scope="session")
def book() -> Book:
    return simulated_book(1500)


@pytest.fixture(scope="session")
def panel(book: Book) -> pd.DataFrame:
    return book.panel


@pytest.fixture(scope="session")
def young_book() -> Book:
    return simulated_book(600, n_days=200)


@pytest.fixture(scope="session")
def small_book() -> Book:
    return simulated_book(200)


@pytest.fixture(scope="session")
def asked_of():
    """The accounts at T as the morning's features hold them: without outcomes and expectations."""

    def asked(book: Book) -> pd.DataFrame:
        known = ["expected_orders", "p_no_order", *customer_base.EXPECTATIONS]
        came = ["next_margin", "next_amount", "next_n_orders", "horizon_days", "origin_on"]
        return accounts_of_today(book.panel).drop(columns=[*known, *came])

    return asked


@pytest.fixture(scope="session")
def value_model(panel: pd.DataFrame) -> lifetime_value.LifetimeValueModel:
    return lifetime_value.fit(panel)


@pytest.fixture(scope="session")
def order_model(panel: pd.DataFrame) -> next_order.NextOrderModel:
    return next_order.fit(panel)


@pytest.fixture(scope="session")
def make_samples():
    return waiting_samples


@pytest.fixture(scope="session")
def watch():
    return watched


@pytest.fixture(scope="session")
def fit_as():
    return fit_form


@pytest.fixture(scope="session")
def cut():
    return cut_at_looks


@pytest.fixture
def move_on():
    return moved_on


@pytest.fixture
def make_book():
    return simulated_book


@pytest.fixture(scope="session")
def make_inbound():
    return inbound_lines


@pytest.fixture(scope="session")
def inbound() -> pd.DataFrame:
    return inbound_lines(2000)


@pytest.fixture(scope="session")
def model(inbound: pd.DataFrame, today: pd.Timestamp) -> arrival.ArrivalModel:
    """Learned on `inbound`."""
    return arrival.fit(inbound, today)


@pytest.fixture
def hazard_of():
    return true_hazard


@pytest.fixture(scope="session")
def today() -> pd.Timestamp:
    return TODAY
