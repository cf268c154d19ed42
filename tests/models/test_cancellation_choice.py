from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models import cancellation, cancellation_choice
from models.cancellation import fit, survival
from models.cancellation_choice import FEWEST_CANCELLATIONS, banded_hazard
from models.line_days import WAIT_BANDS_DAYS, wait_band

NUMERIC, TEXT = ("waited_days", "days_late", "size", "noise"), ("segment",)


def _book(n_lines: int, seed: int, watch, log_odds) -> pd.DataFrame:
    """Lines that begin to wait over a year; `log_odds` of cancelling, (n_lines, n_days), from lines and days."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": draw.normal(0, 1, n_lines), "noise": draw.normal(0, 1, n_lines), "waited_days": 0.0})
    frame["days_late"] = -draw.integers(0, 30, n_lines).astype(float)
    frame["segment"] = draw.choice(["a", "b"], n_lines)
    frame["order_line_id"] = [f"L{i:06d}" for i in range(n_lines)]
    frame["cutoff_on"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(draw.integers(0, 360, n_lines), unit="D")
    odds = log_odds(frame, np.arange(40)[None, :])
    return watch(frame, 1 / (1 + np.exp(-np.broadcast_to(odds, (n_lines, 40)))), 0.03, seed)


def _line(frame: pd.DataFrame, day: np.ndarray) -> np.ndarray:
    late = (frame["days_late"].to_numpy()[:, None] + day) >= 0
    return -5.0 + 0.9 * frame["size"].to_numpy()[:, None] + 1.2 * late + 0 * day


def _patches(frame: pd.DataFrame, day: np.ndarray) -> np.ndarray:
    """No line can follow it: only middling sizes, and sizes and segments that cross."""
    size, is_b = frame["size"].to_numpy()[:, None], (frame["segment"] == "b").to_numpy()[:, None]
    return -5.0 + 2.5 * (np.abs(size) < 0.5) + 2.5 * ((size > 0) == is_b) + 0 * day


def _losses(facts: dict[str, float]) -> dict[str, float]:
    return {n.removeprefix("log_loss_later_"): v for n, v in facts.items() if n.startswith("log_loss_later_")}


def test_a_small_book_that_follows_a_line_takes_the_ridge_or_a_mixture_with_it(watch):
    model = fit(_book(500, 0, watch, _line), 0, NUMERIC, TEXT)
    losses = _losses(model.facts)
    assert model.kind in ("ridge", "mixed")
    assert max(losses["chosen"], losses["ridge"]) < min(losses["boosted"], losses["by_wait"])


def test_a_small_book_that_only_waiting_tells_apart_gets_one_hazard_per_wait_band(watch):
    book = _book(500, 2, watch, lambda frame, day: np.where(day < 7, -5.0, -3.0))
    model = fit(book, 0, NUMERIC, TEXT)
    losses = _losses(model.facts) or {"by_wait": 0.0}
    assert model.kind == "pooled"
    assert "tell lines apart by their wait alone" in model.why
    assert losses["by_wait"] == min(losses.values())
    assert survival(model, book.assign(size=9.0), 14).tolist() == survival(model, book, 14).tolist()


def test_the_rate_by_wait_answers_where_it_beat_the_form_that_would_serve_if_not_every_form(watch, monkeypatch):
    losses = {"boosted": 0.82, "ridge": 0.79, "chosen": 0.81, "by_wait": 0.80}
    choice = cancellation_choice.Choice(0.5, 5, 0.3, log_losses=losses)
    monkeypatch.setattr(cancellation, "choose", lambda *_: choice)
    model = fit(_book(300, 0, watch, _line), 0, NUMERIC, TEXT)
    assert model.kind == "pooled"
    assert _losses(model.facts) == losses


def test_what_no_line_can_follow_is_left_to_trees(watch):
    model = fit(_book(2500, 2, watch, _patches), 0, NUMERIC, TEXT)
    losses = _losses(model.facts)
    assert losses["boosted"] < losses["ridge"] < losses["by_wait"]
    assert model.booster is not None
    assert model.boosted_share >= 0.5


def test_one_origin_judges_a_big_book_as_three_do_a_small_one(watch, monkeypatch):
    book = _book(2500, 2, watch, _patches)
    monkeypatch.setattr(cancellation_choice, "ENOUGH_FOR_ONE", 300)
    one = fit(book, 0, NUMERIC, TEXT)
    losses = _losses(one.facts)
    assert losses["boosted"] < losses["ridge"] < losses["by_wait"]
    assert one.boosted_share >= 0.5


@pytest.mark.parametrize("n_cancelled", [FEWEST_CANCELLATIONS - 1, FEWEST_CANCELLATIONS])
def test_below_a_stated_number_of_cancellations_nothing_but_the_wait_is_read(watch, n_cancelled):
    book = _book(400, 4, watch, _line)
    is_beyond = (book["ended_by"] == "customer").cumsum() > n_cancelled
    by_customer = (book["ended_by"] == "customer") & is_beyond
    book = book.assign(ended_by=book["ended_by"].mask(by_customer, "seller"))
    book["cancelled_share"] = (book["ended_by"] == "customer").astype(float)
    model = fit(book, 0, NUMERIC, TEXT)
    is_few = n_cancelled < FEWEST_CANCELLATIONS
    assert model.facts["n_cancelled"] == n_cancelled
    assert (f"fewer than {FEWEST_CANCELLATIONS}" in model.why) == is_few
    assert bool(_losses(model.facts) or model.inputs or "by their wait alone" in model.why) == (not is_few)


def test_corrections_mend_what_later_days_show_to_be_off(watch):
    # Twice as many cancel from the middle of the year on as before.
    def drifting(frame: pd.DataFrame, day: np.ndarray) -> np.ndarray:
        later = (frame["cutoff_on"] > pd.Timestamp("2026-07-01")).to_numpy()[:, None]
        return _line(frame, day) + 0.7 * later

    true, uncorrected, corrected = {}, {}, {}
    for odds in (_line, drifting):
        book = _book(4000, 5, watch, odds)
        model = fit(book, 0, NUMERIC, TEXT)
        assert len(model.corrections) == len(WAIT_BANDS_DAYS)
        newest = book[book["cutoff_on"] > pd.Timestamp("2026-10-01")]
        daily = 1 / (1 + np.exp(-odds(newest, np.arange(14)[None, :])))
        true[odds] = (1 - np.prod(1 - daily, axis=1)).mean()
        bare = replace(model, slope=1.0, corrections=())  # corrections hold the level that goes with the slope
        uncorrected[odds], corrected[odds] = (1 - survival(m, newest, 14)[:, 14].mean() for m in (bare, model))
    assert corrected[_line] == pytest.approx(true[_line], rel=0.08)
    # Uncorrected it would be too low, and with what the refit has followed counted again, too high.
    assert uncorrected[drifting] < 0.92 * true[drifting]
    assert corrected[drifting] == pytest.approx(true[drifting], rel=0.12)


def test_without_a_later_day_there_is_nothing_to_choose_by(watch):
    book = _book(300, 6, watch, _line).assign(cutoff_on=pd.Timestamp("2026-01-01"))
    model = fit(book.assign(at_risk_days=np.where(book["ended_by"] == "customer", 0.5, 1.0)), 0, NUMERIC, TEXT)
    assert model.facts["n_cancelled"] >= FEWEST_CANCELLATIONS
    assert _losses(model.facts) == {}
    assert model.corrections == ()


def test_hazards_by_band_are_events_over_days_and_lean_on_the_rate_of_all_worked_by_hand():
    # 40 cancellations in 1,000 days of the first week, 10 in 1,000 of the second: all (50 + 1) / (2000 + 1 / .003)
    # with the assumed hazard; each band as if it had seen five cancellations more at that rate.
    band = wait_band(np.array([0.0, 3.0, 9.0, 9.0]))
    found = banded_hazard(band, np.array([1.0, 0, 1, 0]), np.array([40.0, 960, 10, 990]))
    overall = 51 / (2000 + 1 / 0.003)
    first, second = 45 / (1000 + 5 / overall), 15 / (1000 + 5 / overall)
    assert found.tolist() == pytest.approx([first, second, overall, overall, overall])
