from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from models import cancellation_report
from models.cancellation import CancellationModel
from models.cancellation_report import GAP_DAYS, Judged, customers_of, evaluate, refusals

FACTS = {"n_cancelled": 1000, "n_line_days": 50_000.0}
ENDLESS = float("inf")  # cancellations to learn from: the model itself owes nothing to chance


@pytest.fixture(scope="module")
def looks(make_samples, cut) -> pd.DataFrame:
    return cut(make_samples(1500), 7)


def _judged(chance: np.ndarray, event: np.ndarray, waited: np.ndarray, customer: np.ndarray | None = None) -> Judged:
    n_rows = len(event)
    none = np.full(n_rows, "none", dtype=object)
    return Judged(
        event=event, weight=np.ones(n_rows), chance=chance, constant=chance, by_wait=chance,
        customer=np.arange(n_rows) if customer is None else customer, waited=waited, late=waited * np.nan,
        line_class=none, quarter=none, is_new=np.ones(n_rows, bool),
    )  # fmt: skip


def _off_by(ratio: float, n_events: int, waited: float = 10.0, per_customer: int = 10) -> Judged:
    """So many cancellations, `ratio` times as many as predicted; those who cancel do it with so many lines each."""
    cancels = np.repeat([1.0, 0.0], n_events)
    customer = np.arange(2 * n_events) // per_customer
    judged = _judged(np.full(2 * n_events, 0.05 / ratio), cancels, np.full(2 * n_events, waited), customer)
    return replace(judged, weight=np.where(cancels > 0, 1.0, 19.0))


def _measure_refusals_only(monkeypatch) -> None:
    """Leave out what no refusal goes by, figures and scores at horizons: half the time of a report."""
    for name, nothing in (("_figures", {}), ("fit_censoring", None), ("followed", pd.DataFrame())):
        monkeypatch.setattr(cancellation_report, name, lambda *_, nothing=nothing: nothing)


def test_a_level_is_refused_from_five_percent_and_two_standard_errors_on():
    assert refusals(_off_by(1.04, 40_000), ENDLESS, 0) == ()  # tight, but within what the queue bears
    assert refusals(_off_by(1.07, 40_000), ENDLESS, 0) == ("7 % too low on later days",)
    assert refusals(_off_by(0.94, 40_000), ENDLESS, 0) == ("6 % too high on later days",)
    assert refusals(_off_by(1.08, 200, per_customer=1), ENDLESS, 0) == ()  # one standard error is 1 / sqrt(200) = 7 %
    assert refusals(_off_by(1.25, 200, per_customer=1), ENDLESS, 0)[0] == "20 % too low on later days"


def test_lines_of_one_customer_are_one_piece_of_evidence():
    assert refusals(_off_by(1.25, 200, per_customer=1), ENDLESS, 0) != ()
    assert refusals(_off_by(1.25, 200, per_customer=40), ENDLESS, 0) == ()


def test_a_band_is_refused_from_ten_percent_a_hundred_cancellations_and_two_standard_errors_on():
    def beside(ratio: float, n_events: int) -> tuple[str, ...]:
        parts = [_off_by(1.0, 40_000, waited=10.0), _off_by(ratio, n_events, waited=45.0, per_customer=1)]
        parts[1] = replace(parts[1], customer=parts[1].customer + 10**6)
        return refusals(Judged.together(parts), ENDLESS, 0)

    assert beside(1.5, 99) == ()
    assert beside(1.5, 101) == ("33 % too low for waits of 30-59 days",)
    assert beside(1.09, 4000) == ()
    assert beside(1.12, 4000) == ("11 % too low for waits of 30-59 days",)


def test_few_cancellations_refuse_nothing_that_chance_explains():
    none = _judged(np.full(100, 0.03), np.zeros(100), np.full(100, 10.0))
    assert refusals(none, ENDLESS, 0) == ()  # 3 expected, none came: one time in twenty
    one = _judged(np.full(100, 0.035), np.eye(100)[0], np.full(100, 10.0))
    assert refusals(one, ENDLESS, 0) == ()
    many = _judged(np.full(1000, 0.03), np.zeros(1000), np.full(1000, 10.0))
    assert refusals(many, ENDLESS, 0)[0].endswith("too high on later days")  # 30 expected


def test_a_model_that_learned_from_few_is_given_the_chance_that_they_were_odd_worked_by_hand():
    # 400 cancel, a quarter more than predicted; 400 others are as many units of what was predicted: the error is
    # 1.25 sqrt(1 / 400 + 1 / 400) = 8.8 %, twice that 18 %. Learned from 10,000: sqrt(1.04) of it, from 100: sqrt(5).
    judged = _off_by(1.25, 400, per_customer=1)
    for n_learned, is_refused in ((ENDLESS, True), (10_000, True), (100, False), (0, False)):
        assert bool(refusals(judged, n_learned, 0)) == is_refused
    # 1.8 times as many: 2 sqrt(5) 1.8 sqrt(2 / 400) = 57 %, less than 80 %.
    assert refusals(_off_by(1.8, 400, per_customer=1), 100, 0)[0] == "44 % too low on later days"


def test_of_two_small_samples_of_one_rate_few_are_refused_and_many_if_only_one_were_held_to_be_chance():
    draw, refused, held = np.random.default_rng(1), 0, 0
    for seed in range(100):
        n_learned, n_judged = draw.poisson(80, 2)  # from as many line-days
        quiet, gone = np.zeros(1000), np.ones(n_judged)
        customer = np.concatenate([np.arange(1000), draw.integers(0, 1000, n_judged)])
        judged = _judged(np.full(1000 + n_judged, n_learned / 10_000), np.append(quiet, gone), customer * 0 + 10.0)
        judged = replace(judged, customer=customer, weight=np.append(quiet + (10_000 - n_judged) / 1000, gone))
        refused += bool(refusals(judged, n_learned, seed))
        held += bool(refusals(judged, ENDLESS, seed))
    # Two errors of the difference leave one in twenty; two of the one sample are but 1.4 of the difference: one in six.
    assert refused <= 10
    assert held > 1.5 * refused


def test_a_calibrated_model_is_seldom_refused():
    draw = np.random.default_rng(0)
    refused = 0
    for seed in range(100):
        chance = draw.beta(1, 9, 1000)
        event = (draw.random(1000) < chance).astype(float)
        refused += bool(refusals(_judged(chance, event, np.full(1000, 10.0)), ENDLESS, seed))
    # Two standard errors: one time in twenty for all days, and the one band is off with them.
    assert refused <= 10


def test_a_world_of_one_constant_hazard_is_seldom_refused(make_samples, watch, monkeypatch):
    # Learned from some 90 cancellations each, judged on some 70: two errors leave one book in twenty.
    _measure_refusals_only(monkeypatch)
    refused = 0
    for seed in range(12):
        lines = make_samples(400, seed=seed)
        book = watch(lines, np.full((400, 60), 0.02), 0.03, seed + 500)
        report = evaluate(book, 0, ("waited_days", "days_late", "line_value"), ("segment",))
        assert report.metrics["observed_over_expected"] > 0
        refused += bool(report.refused)
    assert refused <= 2


def test_the_figures_are_those_of_counting_every_later_day(looks, monkeypatch):
    monkeypatch.setattr(
        cancellation_report, "fit", lambda *_: CancellationModel("pooled", "", (0.02,) * 5, facts=FACTS)
    )
    report = evaluate(looks)
    first = pd.Timestamp(report.notes[0].split("judged at ")[1].split(",")[0])
    rows = looks[looks["cutoff_on"] >= first]
    gone = (rows["ended_by"] == "customer").to_numpy()
    days = np.where(gone, np.floor(rows["at_risk_days"]) + 1, rows["at_risk_days"]).sum()
    assert report.metrics["observed_over_expected"] == pytest.approx(gone.sum() / (0.02 * days))
    loss = -(gone.sum() * np.log(0.02) + (days - gone.sum()) * np.log(0.98)) / days
    assert report.metrics["log_loss"] == pytest.approx(loss)
    assert report.metrics["log_loss_saved_share"] == pytest.approx(0)
    rate = 1001 / (50_000 + 1 / 0.003)
    loss = -(gone.sum() * np.log(rate) + (days - gone.sum()) * np.log(1 - rate)) / days
    assert report.metrics["log_loss_constant"] == pytest.approx(loss)
    for name in (1, 2):
        of_class = (rows["priority_class"] == name).to_numpy()
        class_days = np.where(gone, np.floor(rows["at_risk_days"]) + 1, rows["at_risk_days"])[of_class].sum()
        ratio = gone[of_class].sum() / (0.02 * class_days)
        assert report.metrics[f"observed_over_expected_class_{name}"] == pytest.approx(ratio)


def _models_of(samples: pd.DataFrame, fit_as, monkeypatch) -> tuple[list[CancellationModel], pd.Timestamp]:
    models = []

    def kept(past: pd.DataFrame, *_) -> CancellationModel:
        models.append(fit_as("ridge", past))
        return models[-1]

    _measure_refusals_only(monkeypatch)
    monkeypatch.setattr(cancellation_report, "fit", kept)
    report = evaluate(samples)
    return models, pd.Timestamp(report.notes[0].split("judged at ")[1].split(",")[0])


def test_the_last_thirty_days_before_a_snapshot_are_hidden_from_its_model(looks, fit_as, monkeypatch, tmp_path):
    models, snapshot = _models_of(looks, fit_as, monkeypatch)
    gap = snapshot - pd.Timedelta(days=GAP_DAYS)
    other = looks.copy()
    # What began in the gap goes otherwise (same days, so the snapshots stay); what runs into it is cancelled later on.
    begins = other["cutoff_on"].between(gap, snapshot, inclusive="left")
    on_a_day = other[begins].groupby("cutoff_on")
    for name in ("at_risk_days", "ended_by", "cancelled_share"):
        other.loc[begins, name] = on_a_day[name].transform(lambda column: column.to_numpy()[::-1])
    runs_in = (other["cutoff_on"] < gap) & (other["cutoff_on"] + pd.to_timedelta(other["at_risk_days"], unit="D") > gap)
    other.loc[runs_in, "at_risk_days"] += 0.5
    assert begins.sum() > 50
    assert runs_in.sum() > 20
    again, same_snapshot = _models_of(other, fit_as, monkeypatch)
    assert same_snapshot == snapshot
    for place, model in enumerate((models[0], again[0], models[1], again[1])):
        model.save(tmp_path / str(place))
    first, first_again, second, second_again = ((tmp_path / str(i) / "model.json").read_bytes() for i in range(4))
    assert first == first_again
    assert second != second_again  # for the second snapshot those days lie before the gap


def test_a_model_whose_level_has_drifted_may_not_serve(make_samples, watch, hazard_of, fit_as, monkeypatch):
    _measure_refusals_only(monkeypatch)
    monkeypatch.setattr(cancellation_report, "fit", lambda past, *_: fit_as("ridge", past))
    samples = make_samples(3000, seed=3)
    steady = evaluate(samples)
    assert steady.refused == ()
    later = samples["cutoff_on"] >= samples["cutoff_on"].quantile(0.5)
    factor = np.where(later, 1.5, 1.0)[:, None]
    drifted = evaluate(watch(samples, factor * hazard_of(samples, np.arange(1, 61)), 0.03, seed=3))
    assert "too low on later days" in drifted.refused[0]
    assert drifted.metrics["observed_over_expected_low"] > 1.05


def test_the_report_judges_later_lines_and_beats_both_baselines(make_samples):
    report = evaluate(make_samples(1500, seed=20))
    metrics = report.metrics
    assert metrics["log_loss"] < metrics["log_loss_wait_only"]
    assert metrics["log_loss"] < metrics["log_loss_constant"]
    assert metrics["log_loss_saved_share_low"] > 0
    assert metrics["log_loss_saved_share_new_lines_low"] > 0
    assert metrics["observed_over_expected_low"] < 1.05
    assert metrics["observed_over_expected_high"] > 0.95
    assert 0.7 < metrics["calibration_slope"] < 1.3
    assert metrics["calibration_slope_low"] < metrics["calibration_slope"] < metrics["calibration_slope_high"]
    assert metrics["brier_14d"] < metrics["brier_14d_wait_only"]
    assert metrics["auc"] > 0.6
    bands = {name.rsplit("_", 1)[1] for name in metrics if name.startswith("observed_over_expected_wait")}
    assert {"0-6", "7-13", "14-29", "30-59", "60-"} <= bands
    expected = {"calibration", "calibration_by_wait", "gain", "hazard_by_days_late", "example_lines"}
    assert expected <= set(report.figures) <= expected | {"importance"}
    assert all(isinstance(figure, Figure) for figure in report.figures.values())
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_notes_say_when_what_and_how_lines_ended(looks, fit_as, monkeypatch):
    monkeypatch.setattr(cancellation_report, "fit", lambda past, *_: fit_as("ridge", past))
    order = looks["order_line_id"].str.slice(0, 6)  # ten lines to an order
    marked = looks.assign(order_id=order, ended_by=looks["ended_by"].mask(looks.index % 97 == 0, "seller"))
    marked.loc[marked["ended_by"] != "customer", "cancelled_share"] = 0.0
    report = evaluate(marked)
    assert report.notes[0].startswith("judged at 2025-")
    assert f"facts {GAP_DAYS} days earlier" in report.notes[0]
    for cause, n_ends in marked["ended_by"].value_counts().items():
        assert f"{n_ends} by {cause}" in report.notes[2]
    assert "0 by change" in report.notes[2]
    assert f"of {report.metrics['joint_cancel_pairs']:.0f} pairs" in report.notes[3]
    assert report.metrics["joint_cancel_pairs"] > 0


@pytest.mark.parametrize("n_lines", [0, 12])
def test_a_history_that_cannot_be_split_by_time_is_not_judged(samples, n_lines):
    report = evaluate(samples.head(n_lines))
    assert "nothing was measured" in report.notes[0]
    assert report.refused == ()
    assert "nothing was measured" in evaluate(samples.head(300).assign(cutoff_on=pd.Timestamp("2026-01-01"))).notes[0]


def test_the_order_of_rows_does_not_matter(looks, fit_as, monkeypatch):
    monkeypatch.setattr(cancellation_report, "fit", lambda past, *_: fit_as("ridge", past))
    once, again = evaluate(looks), evaluate(looks.sample(frac=1, random_state=0))
    assert once.metrics == again.metrics
    assert (once.refused, once.notes) == (again.refused, again.notes)


def test_customers_stand_for_their_lines_and_orders_for_those_of_nobody():
    rows = pd.DataFrame({"order_line_id": ["1", "2", "3", "4"], "order_id": ["1", "8", "8", None]})
    assert customers_of(rows.assign(customer_id=["a", None, None, None])).tolist() == [
        "customer_id a", "order_id 8", "order_id 8", "order_line_id 4",
    ]  # fmt: skip
    assert len(set(customers_of(rows[["order_line_id"]]))) == 4
