from __future__ import annotations

import numpy as np
import pytest

from models.next_order import ASSUMED_NO_ORDER_SHARE, NextOrderModel, evaluate, fit, predict


@pytest.fixture(scope="module")
def model(panel):
    return fit(panel)


def test_the_predicted_chance_of_no_order_is_near_the_planted_one(model, panel):
    newest = panel[panel["cutoff_on"] == panel["cutoff_on"].max()]
    chance = predict(model, newest)
    assert model.kind == "boosted"
    assert chance.mean() == pytest.approx(newest["true_chance"].mean(), abs=0.05)
    assert np.corrcoef(chance, newest["true_chance"])[0, 1] > 0.75


def test_chances_lie_strictly_between_nought_and_one(model, panel):
    strange = panel.head(30).assign(recency_days=1e9, n_orders_365d=1e6, segment=None)
    chance = predict(model, strange)
    assert ((chance > 0) & (chance < 1)).all()


def test_a_small_history_gives_one_chance_per_recency_band(make_panel):
    few = make_panel(30, n_cutoffs=1).assign(recency_days=10.0, next_n_orders=1)
    few.loc[:5, "next_n_orders"] = 0
    model = fit(few)
    # Overall (6 + .6) / (30 + 2) = .20625; band (6 + 20 x .20625) / (30 + 20) = .2025; empty bands stay at overall.
    assert model.kind == "pooled"
    assert model.pooled == pytest.approx((0.2025, 0.20625, 0.20625, 0.20625, 0.20625))
    assert predict(model, few.head(1)).tolist() == pytest.approx([0.2025])


def test_without_any_outcome_the_chance_is_the_assumed_one(panel):
    model = fit(panel.iloc[:0])
    assert model.kind == "assumed"
    assert predict(model, panel.head(1))[0] == pytest.approx(ASSUMED_NO_ORDER_SHARE)


def test_a_shorter_watch_is_said_to_give_rather_too_high_a_chance(make_panel):
    assert "120 days instead of 365, so the chance is rather too high" in fit(make_panel(300, 2, 0, 120)).why


def test_a_saved_model_predicts_the_same_and_row_order_does_not_matter(model, panel, tmp_path):
    model.save(tmp_path / "once")
    fit(panel.sample(frac=1, random_state=4)).save(tmp_path / "again")
    for name in ("model.json", "booster.txt"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    loaded = NextOrderModel.load(tmp_path / "once")
    np.testing.assert_array_equal(predict(loaded, panel.head(50)), predict(model, panel.head(50)))


def test_the_report_beats_recency_and_is_calibrated(make_panel):
    report = evaluate(make_panel(2000))
    metrics = report.metrics
    assert metrics["brier"] < metrics["by_recency_brier"]
    assert metrics["auc"] > 0.75
    assert 0.7 < metrics["calibration_slope"] < 1.4
    assert set(report.figures) == {"calibration", "gain", "importance"}
