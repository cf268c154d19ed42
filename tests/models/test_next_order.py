from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, mean_poisson_deviance

from models import customer_base
from models.account_panel import NUMERIC, TEXT, with_expectations
from models.customer_base import READS
from models.intervals import coverage
from models.next_order import ASSUMED_NO_ORDER_SHARE, SMALLEST_CHANCE, NextOrderModel, fit, predict, predict_orders
from models.tilt import Tilt

HORIZONS = (0.0, 1.0, 30.0, 365.0, 3650.0)
COLUMNS = ["expected_orders", "orders_low", "orders_high"]


@pytest.fixture(scope="module")
def asked(book, asked_of):
    return asked_of(book)


@pytest.fixture(scope="module")
def later(book, asked):
    return book.later.loc[asked["account_id"]].reset_index(drop=True)


def classical(model, accounts, horizon_days=365.0):
    found = customer_base.expect(model.base, accounts, horizon_days)
    chance = np.clip(found["p_no_order"].to_numpy(), SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
    return chance, found["expected_orders"].to_numpy()


def test_the_chance_of_no_order_has_the_planted_level_and_order(order_model, asked, later):
    chance = predict(order_model, asked)
    assert order_model.kind == "boosted"
    assert chance.mean() == pytest.approx(later["true_no_order"].mean(), abs=0.03)
    assert np.corrcoef(chance, later["true_no_order"])[0, 1] > 0.75


def test_the_orders_expected_have_the_planted_level_and_order(order_model, asked, later):
    orders = predict_orders(order_model, asked)["expected_orders"]
    assert orders.sum() == pytest.approx(later["true_orders"].sum(), rel=0.12)
    is_active = later["true_orders"] > 0
    assert orders[is_active].corr(later["true_orders"][is_active], method="spearman") > 0.7


def test_the_boosters_add_to_the_classical_models_what_was_planted(order_model, asked, later):
    silent, n_orders = later["next_n_orders"] == 0, later["next_n_orders"]
    chance, orders = classical(order_model, asked)
    corrected = predict_orders(order_model, asked)["expected_orders"]
    assert log_loss(silent, predict(order_model, asked)) < 0.95 * log_loss(silent, chance)
    assert mean_poisson_deviance(n_orders, corrected) < 0.95 * mean_poisson_deviance(n_orders, orders)


def test_small_books_do_not_lose_to_the_classical_models(make_book, asked_of):
    ratios = []
    for seed in range(4):
        book = make_book(200, seed=seed)
        model, asked = fit(book.panel), asked_of(book)
        n_orders = book.later.loc[asked["account_id"], "next_n_orders"]
        chance, orders = classical(model, asked)
        corrected = predict_orders(model, asked)["expected_orders"]
        by_chance = log_loss(n_orders == 0, predict(model, asked)) / log_loss(n_orders == 0, chance)
        ratios.append((by_chance, mean_poisson_deviance(n_orders, corrected) / mean_poisson_deviance(n_orders, orders)))
    assert (np.mean(ratios, axis=0) < 1).all()


def test_without_weight_and_level_the_classical_models_speak(order_model, asked):
    alone = NextOrderModel("classical", "", order_model.pooled, order_model.base, Tilt(), Tilt())
    for days in HORIZONS:
        chance, orders = classical(alone, asked, days)
        np.testing.assert_allclose(predict(alone, asked, days), chance, rtol=1e-9)
        np.testing.assert_allclose(predict_orders(alone, asked, days)["expected_orders"], orders, rtol=1e-12)


def test_a_longer_horizon_never_lowers_orders_nor_raises_the_chance_of_none(order_model, young_book, asked, asked_of):
    for model, accounts in ((order_model, asked), (fit(young_book.panel), asked_of(young_book))):
        chances = np.array([predict(model, accounts, days) for days in HORIZONS])
        orders = np.array([predict_orders(model, accounts, days)["expected_orders"] for days in HORIZONS])
        assert (np.diff(chances, axis=0) <= 0).all()
        assert (np.diff(orders, axis=0) >= 0).all()
        assert chances[0].min() > 0.9 > chances[-1].mean()


def test_nine_of_ten_lively_accounts_end_within_their_interval(order_model, asked, later):
    # Of accounts that are all but gone more than nine in ten do not order, and no interval that holds 0 holds fewer.
    is_lively = classical(order_model, asked)[0] < 0.5
    found = predict_orders(order_model, asked)
    low, high, n_orders = found["orders_low"], found["orders_high"], later["next_n_orders"]
    held = coverage(low[is_lively], high[is_lively], n_orders[is_lively])
    assert held.n_accounts > 500
    assert 0.86 < held.share < 0.95  # counts step over the goal
    assert coverage(low, high, n_orders).share > 0.88


def test_intervals_are_whole_ordered_and_finite_also_of_customers_who_came_today(order_model, asked):
    new = asked.head(3).assign(n_orders=1.0, tenure_days=0.0, recency_days=0.0)
    for days in HORIZONS:
        found = predict_orders(order_model, new, days)
        assert np.isfinite(found).all(axis=None)
        assert (found["orders_low"] <= found["orders_high"]).all()
        assert (found[["orders_low", "orders_high"]] % 1 == 0).all(axis=None)


def test_chances_lie_strictly_between_nought_and_one_whatever_comes_in(order_model, asked):
    others = [name for name in NUMERIC if name not in READS]
    for strange in (np.nan, -1e12, 1e12, 0.0):
        rows = asked.head(30).assign(**dict.fromkeys(others, strange), **dict.fromkeys(TEXT, None))
        chance, orders = predict(order_model, rows), predict_orders(order_model, rows)
        assert ((chance > 0) & (chance < 1)).all()
        assert np.isfinite(orders).all(axis=None)


def test_old_regulars_of_thirty_thousand_orders_stay_within_reason(order_model, asked):
    silent_days = [0.0, 30.0, 20_000.0]
    busy = asked.head(3).assign(n_orders=30_000.0, tenure_days=30_000.0, recency_days=silent_days)
    chance, orders = predict(order_model, busy), predict_orders(order_model, busy)["expected_orders"]
    assert np.isfinite(orders).all()
    assert 100 < orders[0] < 1000
    assert chance[0] < 0.01
    assert (chance[1:] > 0.9).all()
    assert (orders[1:] < 1).all()


def test_rows_are_read_one_by_one_in_any_order(order_model, asked):
    chance, orders = predict(order_model, asked), predict_orders(order_model, asked)
    twice = pd.concat([asked, asked])  # each label twice
    np.testing.assert_array_equal(predict(order_model, twice), np.tile(chance, 2))
    mixed = asked.sample(frac=1, random_state=7)
    np.testing.assert_array_equal(predict_orders(order_model, mixed), orders.to_numpy()[mixed.index])
    assert len(predict(order_model, asked.iloc[:0])) == 0
    assert list(predict_orders(order_model, asked.iloc[:0]).columns) == COLUMNS


def watched_accounts(n_accounts):
    """Single orders ten days ago, too few to learn a rhythm from; the first six ordered no more."""
    before = pd.DataFrame({"account_id": [f"A{i:02d}" for i in range(n_accounts)], "n_orders": 1.0})
    before = before.assign(recency_days=10.0, tenure_days=10.0, horizon_days=365, cutoff_on=pd.Timestamp("2025-01-01"))
    before["next_n_orders"] = (np.arange(n_accounts) >= 6).astype(float)
    today = before.assign(horizon_days=0, next_n_orders=0.0, cutoff_on=pd.Timestamp("2026-01-01"))
    return pd.concat([before, today], ignore_index=True).assign(origin_on=pd.Timestamp("2026-01-01"))


def test_a_small_history_gives_one_chance_per_recency_band():
    few = watched_accounts(30)
    model = fit(few)
    # Overall (6 + .6) / (30 + 2) = .20625; band (6 + 20 x .20625) / (30 + 20) = .2025; empty bands stay at overall.
    assert model.kind == "pooled"
    assert "too few accounts ordered again" in model.why
    assert model.pooled == pytest.approx((0.2025, 0.20625, 0.20625, 0.20625, 0.20625))
    assert predict(model, few.head(1)).tolist() == pytest.approx([0.2025])
    assert predict(model, few.head(1), 730).tolist() == pytest.approx([0.2025**2])
    orders = predict_orders(model, few.head(1))
    assert np.exp(-orders["expected_orders"][0]) == pytest.approx(0.2025)
    assert orders[["orders_low", "orders_high"]].isna().all(axis=None)


def test_without_any_outcome_the_chance_is_the_assumed_one(panel, asked):
    model = fit(panel.iloc[:0])
    assert model.kind == "assumed"
    assert model.is_assumed
    for days in (365.0, 182.5):
        assert predict(model, asked.head(1), days)[0] == pytest.approx(ASSUMED_NO_ORDER_SHARE ** (days / 365))


def test_a_young_history_is_said_to_be_assumed(young_book, order_model):
    model = fit(young_book.panel)
    assert "watched for 186 days, the rest of the 365 is assumed to go on alike" in model.why
    assert model.is_assumed
    assert not order_model.is_assumed
    assert "assumed" not in order_model.why


def test_a_saved_model_predicts_the_same_and_row_order_does_not_matter(order_model, book, asked, tmp_path):
    order_model.save(tmp_path / "once")
    fit(with_expectations(book.samples.sample(frac=1, random_state=4))).save(tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert names == ["booster.txt", "model.json", "orders.txt"]
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    loaded = NextOrderModel.load(tmp_path / "once")
    for days in HORIZONS:
        np.testing.assert_array_equal(predict(loaded, asked, days), predict(order_model, asked, days))
        pd.testing.assert_frame_equal(predict_orders(loaded, asked, days), predict_orders(order_model, asked, days))
    assert (loaded.kind, loaded.why, loaded.facts) == (order_model.kind, order_model.why, order_model.facts)


def test_small_models_are_saved_too(panel, asked, tmp_path):
    for place, rows in enumerate((panel.iloc[:0], panel[panel["origin_on"] == panel["origin_on"].max()])):
        model = fit(rows)
        model.save(tmp_path / str(place))
        loaded = NextOrderModel.load(tmp_path / str(place))
        np.testing.assert_array_equal(predict(loaded, asked), predict(model, asked))
        assert [path.name for path in (tmp_path / str(place)).iterdir()] == ["model.json"]


def test_a_missing_column_is_named(order_model, asked):
    with pytest.raises(ValueError, match=r"inputs of the model are not in the frame, e.g. \['margin_91d'\]"):
        predict(order_model, asked.drop(columns="margin_91d"))
