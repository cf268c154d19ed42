from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from models import lifetime_value, next_order
from models.account_panel import accounts_of_today, as_known_before, origins_of, rehearsal
from models.account_report import evaluate_next_order, evaluate_value


@pytest.fixture(scope="module")
def of_value(panel):
    return evaluate_value(panel)


@pytest.fixture(scope="module")
def of_next_order(panel):
    return evaluate_next_order(panel)


@pytest.fixture(scope="module")
def asked_before(panel):
    """The accounts at the last origin before T, of which that day knew nothing further."""
    before = as_known_before(panel)
    judged = rehearsal(panel).judged.set_index("account_id")
    asked = accounts_of_today(before)
    return before, asked, judged.loc[asked["account_id"]]


def test_the_value_is_judged_on_what_came_by_a_model_of_the_facts_before_it(of_value, asked_before):
    before, asked, judged = asked_before
    value = lifetime_value.predict(lifetime_value.fit(before), asked)
    assert of_value.metrics["bias"] == pytest.approx(value.sum() / judged["next_margin"].sum() - 1)
    top = np.argsort(-value)[: len(value) // 10]
    share = judged["next_margin"].iloc[top].sum() / judged["next_margin"].sum()
    assert of_value.metrics["top_decile_share"] == pytest.approx(share)
    assert f"judged over 365 days on {len(judged)} accounts" in of_value.notes[-1]


def test_the_chance_is_judged_on_what_came_by_a_model_of_the_facts_before_it(of_next_order, asked_before):
    before, asked, judged = asked_before
    chance, silent = next_order.predict(next_order.fit(before), asked), judged["next_n_orders"] == 0
    assert of_next_order.metrics["auc"] == pytest.approx(roc_auc_score(silent, chance))
    assert of_next_order.metrics["brier"] == pytest.approx(brier_score_loss(silent, chance))


def test_the_value_beats_last_years_margin_and_the_classical_models(of_value):
    metrics = of_value.metrics
    assert metrics["tweedie_deviance"] < metrics["last_year_margin_tweedie_deviance"]
    assert metrics["tweedie_deviance"] < metrics["classical_tweedie_deviance"]
    assert metrics["normalised_gini_low"] < metrics["normalised_gini"] < metrics["normalised_gini_high"]
    assert abs(metrics["bias"]) < 0.2
    assert 0.86 < metrics["coverage_90"] < 0.98
    assert set(of_value.figures) >= {"calibration", "gain", "coverage", "importance"}


def test_the_chance_beats_recency_and_the_classical_models_and_is_calibrated(of_next_order):
    metrics = of_next_order.metrics
    assert metrics["brier"] < metrics["classical_brier"] < metrics["by_recency_brier"]
    assert metrics["orders_poisson_deviance"] < metrics["classical_orders_poisson_deviance"]
    assert metrics["auc"] > 0.85
    assert 0.7 < metrics["calibration_slope"] < 1.4
    assert set(of_next_order.figures) >= {"calibration", "gain", "orders by frequency", "coverage", "importance"}


def test_groups_are_judged_apart(of_value, panel):
    judged = rehearsal(panel).judged
    assert of_value.metrics["n_waiting"] == (judged["n_waiting_lines"] > 0).sum()
    assert of_value.metrics["n_one_time"] == (judged["n_orders"] == 1).sum()
    metrics = of_value.metrics
    assert metrics["bias_one_time_low"] < metrics["bias_one_time"] < metrics["bias_one_time_high"]


def test_nothing_that_came_after_the_judged_day_chose_the_judged_model(panel):
    newest = panel["origin_on"] == panel["origin_on"].max()
    doubled = panel.assign(next_margin=panel["next_margin"].where(~newest, 2 * panel["next_margin"]))
    once, twice = evaluate_value(panel).metrics, evaluate_value(doubled).metrics
    assert 1 + twice["bias"] == pytest.approx((1 + once["bias"]) / 2)  # same predictions, twice the margin
    assert twice["normalised_gini"] == pytest.approx(once["normalised_gini"])


def test_nothing_to_judge_is_said(panel):
    for evaluate in (evaluate_value, evaluate_next_order):
        for rows in (panel.iloc[:0], panel[panel["origin_on"] == origins_of(panel)[0]]):
            report = evaluate(rows)
            assert "nothing was measured" in report.notes[0]
            assert not report.metrics
    assert "nothing was measured" in evaluate_value(panel.assign(next_margin=0.0)).notes[0]
    assert "nothing was measured" in evaluate_next_order(panel.assign(next_n_orders=0.0)).notes[0]


def test_a_young_book_is_judged_too_and_says_over_how_many_days(young_book):
    for evaluate in (evaluate_value, evaluate_next_order):
        report = evaluate(young_book.panel)
        assert "judged over 66 days" in report.notes[-1]
        assert np.isfinite(list(report.metrics.values())).all()
