from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from models import tilt
from models.account_panel import Rehearsal, accounts_of_today, origins_of, rehearsal
from models.lifetime_value import MARGIN
from models.next_order import NO_ORDER, ORDERS
from models.tilt import MOST_LEVEL, PSEUDO_EVENTS, Tilt, total_level, trusted_level
from tests.models.simulated_accounts import simulated_book


@pytest.fixture(scope="module")
def tilted(panel):
    return tilt.fit(panel, ORDERS)


def draws(weight, level, n=20_000):
    """Scores, offsets and uniform draws, with what lies `weight` x score + `level` off the offset."""
    draw = np.random.default_rng(3)
    score, offset = draw.normal(0, 0.8, n), draw.normal(0.5, 1.0, n)
    return score, offset, offset + weight * score + level, draw


@pytest.mark.parametrize("level", [-0.3, 0.0, 0.3])
def test_the_weight_with_which_orders_were_drawn_is_found_whatever_their_level(level):
    score, offset, log_orders, draw = draws(0.6, level)
    orders = draw.poisson(np.exp(log_orders)).astype(float)
    assert tilt._weight(score, offset, orders, np.ones(len(score)), ORDERS) == pytest.approx(0.6, abs=0.03)
    foretold = offset + 0.6 * score
    assert trusted_level(foretold, orders, ORDERS, 365) == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize("level", [-0.3, 0.0, 0.3])
def test_the_weight_with_which_chances_were_drawn_is_found_whatever_their_level(level):
    score, offset, log_odds, draw = draws(0.6, level)
    happened = (draw.random(len(score)) < expit(log_odds)).astype(float)
    assert tilt._weight(score, offset, happened, np.ones(len(score)), NO_ORDER) == pytest.approx(0.6, abs=0.05)
    foretold = offset + 0.6 * score
    assert trusted_level(foretold, happened, NO_ORDER, 365) == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize(("drawn", "found"), [(-0.5, 0.0), (1.8, 1.0)])
def test_a_correction_is_never_turned_round_nor_carried_further_than_learned(drawn, found):
    score, offset, log_orders, draw = draws(drawn, 0.0)
    orders = draw.poisson(np.exp(log_orders)).astype(float)
    assert tilt._weight(score, offset, orders, np.ones(len(score)), ORDERS) == found


def test_a_level_makes_totals_agree_and_is_at_most_twofold():
    log_prediction, outcome = np.log([2.0, 3.0, 5.0]), np.array([9.0, 0.0, 4.0])
    assert np.exp(log_prediction + total_level(log_prediction, outcome)).sum() == pytest.approx(13)
    assert total_level(log_prediction, 1000 * outcome) == MOST_LEVEL
    assert total_level(log_prediction, 0 * outcome) == -MOST_LEVEL


def test_a_level_is_trusted_by_its_events_and_by_the_part_of_a_year_that_showed_it():
    n_events = int(PSEUDO_EVENTS)
    log_prediction, twice = np.zeros(2 * n_events), np.repeat([2.0, 0.0], n_events) * np.exp(0.4)
    for target in (ORDERS, MARGIN):
        assert trusted_level(log_prediction, twice, target, 365) == pytest.approx(0.2)
        trusted = [trusted_level(log_prediction, twice, target, days) for days in (14, 182, 200, 300, 365, 730)]
        assert trusted[:2] == [0, 0]  # half a year may be the better half
        assert np.all(np.diff(trusted[1:5]) > 0)
        assert trusted[4] == trusted[5]
        many = (np.tile(array, 5000) for array in (log_prediction, twice))
        assert trusted_level(*many, target, 365) == pytest.approx(0.4, rel=1e-3)


def test_one_giant_sets_nobody_elses_level_of_money():
    log_prediction, margin = np.zeros(400), np.r_[np.ones(399), 400.0]
    assert total_level(log_prediction, margin) == pytest.approx(np.log(799 / 400))
    assert trusted_level(log_prediction, margin, MARGIN, 365) < 0.02


@pytest.mark.parametrize(("days", "learned"), [(153, 0.0), (365, np.log(1.5))])
def test_a_booster_learns_the_level_of_windows_of_a_year_and_not_that_of_a_season(panel, days, learned):
    newest = panel[panel["origin_on"] == panel["origin_on"].max()]
    rows = newest[newest["horizon_days"] == days].reset_index(drop=True)
    more = rows.assign(next_n_orders=1.5 * rows["next_n_orders"])
    plain, raised = (tilt._train(part, ORDERS, 0)._score(rows) for part in (rows, more))
    orders = rows["next_n_orders"]
    assert np.average(raised - plain, weights=orders) == pytest.approx(learned, abs=0.1)


def test_without_a_rehearsal_the_expectation_stands_exactly(panel):
    newest = panel[panel["origin_on"] == panel["origin_on"].max()]
    found, rehearsed = tilt.fit(newest, ORDERS)
    assert rehearsed is None
    assert found.booster is None
    np.testing.assert_array_equal(np.exp(found.apply(ORDERS, newest)), np.exp(np.log(newest["expected_orders"])))


def test_a_rehearsal_of_few_events_tells_nothing_and_the_expectation_stands(make_book):
    panel = make_book(90).panel
    n_buyers = int((rehearsal(panel).judged["next_n_orders"] > 0).sum())
    found, rehearsed = tilt.fit(panel, ORDERS)
    assert 0 < n_buyers < tilt.FEWEST_EVENTS
    assert (found.weight, found.level, found.booster) == (0.0, 0.0, None)
    np.testing.assert_array_equal(rehearsed.prediction, ORDERS.offset(rehearsed.rehearsal.judged))


def test_the_rehearsed_correction_learns_from_what_came_before_it_alone(panel, monkeypatch):
    seen, train = [], tilt._train
    monkeypatch.setattr(tilt, "_train", lambda rows, *given: seen.append(rows) or train(rows, *given))
    tilt.fit(panel, ORDERS)
    before, now = seen
    newest, last, _ = origins_of(panel)
    assert (before["cutoff_on"] + pd.to_timedelta(before["horizon_days"], unit="D")).max() <= last
    assert (now["cutoff_on"] + pd.to_timedelta(now["horizon_days"], unit="D")).max() == newest


def test_what_is_said_of_the_rehearsal_is_what_a_model_of_that_day_would_have_foretold(panel, tilted):
    found, rehearsed = tilted
    judged = rehearsed.rehearsal.judged
    before = tilt._train(rehearsed.rehearsal.past, ORDERS, 0)
    again = Tilt(found.weight, found.level, before.inputs, before.booster).apply(ORDERS, judged)
    np.testing.assert_allclose(rehearsed.prediction, again)


def test_the_planted_segment_is_found(panel, tilted):
    # Segment b stays ten times as long as a, which a new account's rhythm cannot tell yet.
    today = accounts_of_today(panel)
    rows = today.assign(expected_orders=today["expected_orders_365d"])
    young = rows["tenure_days"] < 91
    change = tilted[0].apply(ORDERS, rows) - ORDERS.offset(rows)
    by_segment = pd.Series(change)[young].groupby(rows["segment"][young]).mean()
    assert tilted[0].weight > 0.5
    assert by_segment["b"] - by_segment["a"] > 0.5


def test_where_the_classical_models_tell_all_a_correction_gets_little_weight_and_does_no_harm():
    book = simulated_book(1500, lives={"a": 500.0, "b": 500.0})
    today = accounts_of_today(book.panel)
    rows = today.assign(expected_orders=today["expected_orders_365d"])
    came = book.later.loc[today["account_id"], "next_n_orders"].to_numpy()
    found, _ = tilt.fit(book.panel, ORDERS)
    corrected, alone = (ORDERS.losses(at, came).mean() for at in (found.apply(ORDERS, rows), ORDERS.offset(rows)))
    assert found.weight < 0.3
    assert corrected < alone + 0.01 * abs(alone)


def test_a_level_that_the_rehearsal_shows_is_taken_over_in_part(panel, tilted):
    more = panel.copy()
    more.loc[more["origin_on"] == more["origin_on"].max(), "next_n_orders"] *= 1.5
    plain, raised = tilted[1], tilt.fit(more, ORDERS)[1]
    ratio = np.exp(raised.prediction).sum() / np.exp(plain.prediction).sum()
    n_buyers = int((plain.rehearsal.judged["next_n_orders"] > 0).sum())
    assert ratio == pytest.approx(1.5 ** (n_buyers / (n_buyers + PSEUDO_EVENTS)), rel=0.03)


def test_a_saved_correction_applies_the_same_to_rows_in_any_order(panel, tilted):
    found, rows = tilted[0], panel.sample(200, random_state=1)
    again = Tilt.from_json(found.to_json(), found.booster)
    np.testing.assert_array_equal(found.apply(ORDERS, rows)[::-1], again.apply(ORDERS, rows.iloc[::-1]))
    alone = Tilt.from_json(Tilt(0.0, 0.1).to_json(), None)
    np.testing.assert_allclose(alone.apply(ORDERS, rows), ORDERS.offset(rows) + 0.1)


def test_money_in_another_currency_is_corrected_alike(panel):
    dearer = panel.assign(next_margin=160 * panel["next_margin"])
    dearer["expected_order_margin"] *= 160
    euro, yen = (tilt.fit(rows, MARGIN) for rows in (panel, dearer))
    assert yen[0].weight == pytest.approx(euro[0].weight, abs=0.002)
    np.testing.assert_allclose(yen[1].prediction, euro[1].prediction + np.log(160), atol=0.02)


def test_words_say_each_booster_and_never_deny_one_that_answers(tilted):
    rehearsed = tilted[1]
    some = tilt.in_words({"margin": 0.0, "orders": 0.72}, 0.1, rehearsed)
    assert "without trees" not in some
    assert "margin at 0%, orders at 72%" in some
    assert "level moved by +11%" in some
    none = tilt.in_words({"margin": 0.0, "orders": 0.0}, 0.001, rehearsed)
    assert "without trees" in none
    assert "level" not in none


def test_a_level_may_move_as_far_as_the_part_of_the_year_that_was_not_rehearsed(tilted):
    rehearsed = tilted[1]
    assert (rehearsed.rehearsal.days, rehearsed.level_log_sd) == (365, 0.0)
    half = Rehearsal(rehearsed.rehearsal.past, rehearsed.rehearsal.judged.assign(horizon_days=180))
    assert tilt.Rehearsed(half, rehearsed.prediction).level_log_sd == tilt.UNKNOWN_SEASON_LOG_SD
