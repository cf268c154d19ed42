from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.account_panel import full_horizon, judging_panel, split, thirds
from models.lifetime_value import LifetimeValueModel, evaluate, fit, next_margin, predict


@pytest.fixture(scope="module")
def model(panel):
    return fit(panel)


def test_the_predicted_margin_has_the_planted_level_and_order(model, panel):
    newest = panel[panel["cutoff_on"] == panel["cutoff_on"].max()]
    value = predict(model, newest)
    assert model.kind == "boosted"
    assert value.sum() == pytest.approx(newest["true_value"].sum(), rel=0.15)
    assert pd.Series(value).corr(newest["true_value"].reset_index(drop=True), method="spearman") > 0.7


def test_values_are_finite_and_never_negative_whatever_comes_in(model, panel):
    strange = panel.head(30).assign(margin_365d=-1e9, segment="never seen", recency_days=np.nan, n_orders_365d=30_000.0)
    value = predict(model, strange)
    assert np.isfinite(value).all()
    assert (value >= 0).all()


def test_a_loss_counts_as_nothing_and_half_a_year_is_doubled():
    samples = pd.DataFrame({"next_margin": [-5.0, 10.0], "horizon_days": [365, 182.5]})
    assert next_margin(samples).tolist() == [0, 20]


def test_a_young_history_is_scaled_up_and_says_so(make_panel):
    young = make_panel(800, n_cutoffs=2, horizon_days=120)
    model = fit(young)
    assert "120 days instead of 365 and scaled up in proportion: assumed" in model.why
    newest = young[young["cutoff_on"] == young["cutoff_on"].max()]
    assert predict(model, newest).sum() == pytest.approx(newest["true_value"].sum(), rel=0.25)


def test_a_small_history_carries_own_margin_on_shrunk_to_the_average_worked_by_hand():
    # Two accounts, 365 days each, margins 365 and 0: average .5 a day. First: 365 x (365 + 90) / (365 + 180) = 304.7,
    # second 365 x 90 / 545 = 60.3. Later margin 365 in total equals their sum, so the level stays 1.
    samples = pd.DataFrame(
        {
            "account_id": ["a", "b"],
            "cutoff_on": pd.Timestamp("2025-01-01"),
            "tenure_days": 900,
            "margin_365d": [365.0, 0.0],
            "next_margin": [300.0, 65.0],
            "horizon_days": 365,
        }
    )
    model = fit(samples)
    assert model.kind == "pooled"
    assert predict(model, samples).tolist() == pytest.approx([304.7, 60.3], abs=0.05)


def test_no_past_outcome_is_said_to_be_assumed(panel):
    model = fit(panel.iloc[:0])
    assert model.kind == "assumed"
    assert np.isfinite(predict(model, panel.head(5))).all()
    assert len(predict(model, panel.iloc[:0])) == 0


def test_a_saved_model_predicts_the_same_and_row_order_does_not_matter(model, panel, tmp_path):
    model.save(tmp_path / "once")
    fit(panel.sample(frac=1, random_state=3)).save(tmp_path / "again")
    for name in ("model.json", "booster.txt"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    loaded = LifetimeValueModel.load(tmp_path / "once")
    np.testing.assert_array_equal(predict(loaded, panel.head(50)), predict(model, panel.head(50)))
    assert (loaded.level, loaded.kind, loaded.facts) == (model.level, model.kind, model.facts)


def test_a_missing_column_is_named(model, panel):
    with pytest.raises(ValueError, match=r"inputs of the model are not in the frame, e.g. \['margin_91d'\]"):
        predict(model, panel.drop(columns="margin_91d"))


def test_rows_that_train_were_complete_before_the_rows_that_judge(panel):
    is_past, is_judged, how = split(panel)
    complete = panel["cutoff_on"] + pd.to_timedelta(panel["horizon_days"], unit="D")
    assert "by time" in how
    assert complete[is_past].max() <= panel.loc[is_judged, "cutoff_on"].min()


def test_a_young_history_is_split_by_account_and_no_account_is_on_both_sides(make_panel):
    young = make_panel(300, n_cutoffs=2)
    is_past, is_judged, how = split(young)
    assert "by account" in how
    assert not set(young.loc[is_past, "account_id"]) & set(young.loc[is_judged, "account_id"])
    nested = young[is_past]
    assert split(nested)[1].any()  # a split within the part that trains still has somebody to judge
    assert np.bincount(thirds(young["account_id"])).tolist() == [200, 200, 200]


def test_the_report_beats_last_years_margin(make_panel):
    report = evaluate(make_panel(2000))
    metrics = report.metrics
    assert metrics["tweedie_deviance"] < metrics["last_year_margin_tweedie_deviance"]
    assert metrics["normalised_gini_low"] < metrics["normalised_gini"] < metrics["normalised_gini_high"]
    assert abs(metrics["bias"]) < 0.15
    assert set(report.figures) == {"calibration", "gain", "importance"}


def test_nothing_to_judge_is_said(panel):
    assert "nothing was measured" in evaluate(panel.iloc[:0]).notes[0]
    assert "nothing was measured" in evaluate(panel.head(50).assign(next_margin=0.0)).notes[0]


def test_two_years_are_judged_by_time_over_the_shorter_horizon_and_learned_over_the_full_one(make_panel):
    full = make_panel(300, n_cutoffs=3, horizon_days=365)
    later = full["cutoff_on"].max() + pd.Timedelta(days=196)
    shorter = pd.concat([full, full.assign(cutoff_on=later)]).assign(horizon_days=169)
    panel = judging_panel(pd.concat([full, shorter]))
    is_past, is_judged, how = split(panel)
    assert (panel["horizon_days"] == 169).all()
    assert "by time over 169 days" in how
    complete_on = panel.loc[is_past, "cutoff_on"] + pd.Timedelta(days=169)
    assert (complete_on <= panel.loc[is_judged, "cutoff_on"].min()).all()
    assert (full_horizon(pd.concat([full, shorter]))["horizon_days"] == 365).all()
