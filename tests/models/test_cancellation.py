from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from models import cancellation
from models.cancellation import CancellationModel, fit, p_cancel, survival
from models.cancellation_choice import ASSUMED_HAZARD_PER_DAY

KINDS = ("boosted", "ridge", "mixed", "pooled", "assumed")


@pytest.fixture(scope="module")
def model_of(samples, fit_as) -> dict[str, CancellationModel]:
    """One model of each kind."""
    told = samples.assign(days_past_latest=samples["days_late"] - 10)
    told.loc[told.index % 3 == 0, ["days_late", "days_past_latest"]] = np.nan  # a third was never told a date
    corrections = (0.1, 0.0, -0.1, 0.2, 0.0)
    models = {"pooled": fit(samples.head(30)), "assumed": fit(samples.assign(ended_by=None))}
    models |= {kind: fit_as(kind, told, corrections=corrections) for kind in ("boosted", "ridge", "mixed")}
    assert all(model.kind == kind for kind, model in models.items())
    return models


def test_the_predicted_chance_is_the_planted_one(boosted, make_samples, hazard_of):
    lines = make_samples(2000, seed=1)
    truth = 1 - np.prod(1 - hazard_of(lines, np.arange(1, 15)), axis=1)
    predicted = p_cancel(survival(boosted, lines, 180))
    assert predicted.mean() == pytest.approx(truth.mean(), rel=0.1)
    assert np.corrcoef(predicted, truth)[0, 1] > 0.9


@pytest.mark.parametrize("cause", ["shipment", "seller", "change"])
def test_how_fast_others_end_the_waiting_does_not_move_the_hazard(make_samples, cause, fit_as):
    lines = make_samples(500, seed=2)
    found = []
    for chance in (0.0, 0.10):
        samples = make_samples(3000, 3, ship_chance=chance)
        samples["ended_by"] = samples["ended_by"].replace("shipment", cause)
        found.append(p_cancel(survival(fit_as("ridge", samples), lines, 14)).mean())
    assert found[1] == pytest.approx(found[0], rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_days", [1, 31, 180])
def test_every_curve_starts_at_one_and_never_rises(model_of, make_samples, kind, n_days):
    curves = survival(model_of[kind], make_samples(100, seed=4), n_days)
    assert curves.shape == (100, n_days + 1)
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves, axis=1) <= 0).all()
    assert (curves > 0).all()


def test_a_longer_horizon_does_not_change_the_first_days(boosted, make_samples):
    lines = make_samples(50, seed=4)
    np.testing.assert_array_equal(survival(boosted, lines, 14), survival(boosted, lines, 180)[:, :15])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("waited_more", [1, 5, 29, 64])
def test_the_curve_of_a_line_that_has_waited_longer_is_the_rest_of_its_curve(
    model_of, make_samples, move_on, kind, waited_more
):
    lines = make_samples(200, seed=6)
    lines["days_past_latest"] = lines["days_late"] - 17
    lines.loc[lines.index % 3 == 0, "days_late"] = np.nan
    lines.loc[lines.index % 5 == 0, "days_past_latest"] = np.nan
    whole = survival(model_of[kind], lines, waited_more + 90)
    later = survival(model_of[kind], move_on(lines, waited_more), 90)
    np.testing.assert_allclose(whole[:, waited_more:] / whole[:, [waited_more]], later, rtol=1e-12, atol=0)


def test_a_year_of_366_days_does_not_shift_the_season(model_of, make_samples, move_on, fit_as):
    lines = make_samples(100, seed=6).assign(cutoff_on=pd.Timestamp("2024-12-28").as_unit("s"))
    seasonal = make_samples(2000, seed=5)
    seasonal["cutoff_on"] -= pd.to_timedelta(np.arange(2000) % 2 * 700, unit="D")
    model = fit_as("mixed", seasonal)
    assert "day_of_year" in model.inputs.columns
    whole, later = survival(model, lines, 40), survival(model, move_on(lines, 10), 30)
    np.testing.assert_allclose(whole[:, 10:] / whole[:, [10]], later, rtol=1e-12, atol=0)


def test_a_line_without_a_promise_stands_still_where_every_line_learned_from_had_one(boosted, make_samples, move_on):
    lines = make_samples(20, seed=6).assign(days_late=np.nan)
    whole, later = survival(boosted, lines, 50), survival(boosted, move_on(lines, 20), 30)
    np.testing.assert_allclose(whole[:, 20:] / whole[:, [20]], later, rtol=1e-12, atol=0)


def test_waits_and_lateness_beyond_what_was_seen_are_held_at_the_greatest_seen(boosted, make_samples):
    seen, unseen = make_samples(100, seed=5), make_samples(100, seed=5)
    for name in cancellation.ADVANCING:
        seen[name], unseen[name] = boosted.most[name], 10_000.0
    # The band's correction is that of the wait itself, and both are in the last band.
    assert boosted.most["waited_days"] > 60
    np.testing.assert_array_equal(survival(boosted, seen, 60), survival(boosted, unseen, 60))


def test_few_cancellations_give_one_hazard_per_wait_band_worked_by_hand():
    # 20 lines wait 2 days each from day 0: 40 line-days, one cancellation. Overall (1 + 1) / (40 + 1 / .003) = .005357.
    # First band (1 + 5) / (40 + 5 / .005357) = .006164; bands nobody waited in stay at the overall rate.
    samples = pd.DataFrame({"order_line_id": [f"L{i}" for i in range(20)], "waited_days": 0.0})
    samples = samples.assign(cutoff_on=pd.Timestamp("2026-01-01"), at_risk_days=[1.5] + [2.0] * 19)
    samples = samples.assign(ended_by=["customer"] + [None] * 19, cancelled_share=[1.0] + [0.0] * 19)
    model = fit(samples)
    assert model.kind == "pooled"
    assert "1 customer cancellations are fewer than 20" in model.why
    assert model.pooled == pytest.approx((0.006164, 0.005357, 0.005357, 0.005357, 0.005357), rel=1e-3)


def test_without_any_history_the_hazard_is_the_assumed_one_and_says_so(samples):
    model = fit(samples.iloc[:0])
    assert model.kind == "assumed"
    assert "assumed" in model.why
    assert survival(model, samples.iloc[:1], 2)[0].tolist() == pytest.approx([1, 0.997, 0.997**2])
    assert model.pooled == pytest.approx([ASSUMED_HAZARD_PER_DAY] * 5)
    assert not model.few_waited(samples).any()


def test_long_watching_without_a_cancellation_outweighs_the_assumption(samples):
    model = fit(samples.assign(ended_by="seller", cancelled_share=0.0))
    assert model.kind == "assumed"
    assert model.pooled[0] < ASSUMED_HAZARD_PER_DAY / 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_predicts_the_same_and_is_written_to_the_same_bytes(model_of, samples, tmp_path, kind):
    model = model_of[kind]
    model.save(tmp_path / "once")
    loaded = CancellationModel.load(tmp_path / "once")
    loaded.save(tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert names == (["booster.txt", "model.json"] if kind in ("boosted", "mixed") else ["model.json"])
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (loaded.kind, loaded.why, loaded.columns) == (model.kind, model.why, model.columns)
    assert (loaded.facts, loaded.joint, loaded.corrections) == (model.facts, model.joint, model.corrections)
    lines = samples.head(50)
    np.testing.assert_array_equal(survival(loaded, lines, 60), survival(model, lines, 60))
    np.testing.assert_array_equal(loaded.few_waited(lines), model.few_waited(lines))


def test_neither_the_order_of_rows_nor_that_of_columns_matters_to_the_fit(samples, tmp_path):
    some = samples.head(300)
    fit(some).save(tmp_path / "once")
    fit(some.sample(frac=1, random_state=1)[sorted(some.columns)]).save(tmp_path / "again")
    once, again = (sorted((tmp_path / name).iterdir()) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_columns_are_found_by_name_and_rows_keep_their_order(boosted, samples):
    lines = samples.head(40)
    turned = lines[sorted(lines.columns, reverse=True)].iloc[::-1]
    np.testing.assert_array_equal(survival(boosted, turned, 30)[::-1], survival(boosted, lines, 30))


def test_more_lines_than_are_worked_on_at_once_are_the_same_lines(boosted, samples, monkeypatch):
    whole = survival(boosted, samples.head(100), 20)
    monkeypatch.setattr(cancellation, "LINES_AT_ONCE", 7)
    np.testing.assert_array_equal(survival(boosted, samples.head(100), 20), whole)


def test_a_missing_column_is_named(boosted, samples):
    with pytest.raises(ValueError, match=r"1 of \d+ inputs of the model are not in the frame, e.g. \['days_late'\]"):
        survival(boosted, samples.drop(columns="days_late"), 10)


@pytest.mark.parametrize("kind", ["boosted", "ridge", "mixed"])
def test_unseen_and_missing_text_is_like_nobody_known(model_of, samples, kind):
    lines = samples.head(20)
    unseen, missing = lines.assign(segment="never seen"), lines.assign(segment=None)
    np.testing.assert_array_equal(survival(model_of[kind], unseen, 30), survival(model_of[kind], missing, 30))


@pytest.mark.parametrize("kind", ["boosted", "ridge", "mixed"])
def test_anonymous_customers_get_the_pooled_hazard(model_of, samples, kind):
    model = model_of[kind]
    lines = samples.head(3).assign(customer_id=[None, "C1", None], waited_days=2.0)
    curves = survival(model, lines, 1)
    assert curves[[0, 2], 1].tolist() == pytest.approx([1 - model.pooled[0]] * 2)
    assert curves[1, 1] != curves[0, 1]


def test_lines_whose_like_never_waited_get_the_pooled_hazard(make_samples, hazard_of, watch, fit_as):
    samples = make_samples(3000, seed=8)
    # Class 2 is shipped within days: after 14 days at .35 a day .65^14 = .24 % of it would be left.
    ship_chance = np.where(samples["priority_class"] == 2, 0.35, 0.02)[:, None]
    model = fit_as("ridge", watch(samples, hazard_of(samples, np.arange(1, 61)), ship_chance, seed=9))
    lines = make_samples(200, seed=10).assign(waited_days=2.0)
    flagged = model.few_waited(lines)
    np.testing.assert_array_equal(flagged, lines["priority_class"] == 2)
    chance = 1 - survival(model, lines, 1)[:, 1]
    assert chance[flagged] == pytest.approx([model.pooled[0]] * flagged.sum())
    assert len(np.unique(chance[~flagged])) > 1


def test_a_line_that_gets_where_others_did_wait_has_the_hazard_of_those_then(
    make_samples, hazard_of, watch, move_on, fit_as
):
    samples = make_samples(3000, seed=8)
    waits = samples["waited_days"].to_numpy()[:, None] + np.arange(60)
    # Nearly all are shipped in the first week; those left over wait.
    samples = watch(samples, hazard_of(samples, np.arange(1, 61)), np.where(waits < 7, 0.6, 0.01), seed=9)
    model, lines = fit_as("ridge", samples), make_samples(50, seed=3).assign(waited_days=0.0)
    assert model.few_waited(lines).all()
    assert not model.few_waited(move_on(lines, 10)).any()
    whole, later = survival(model, lines, 40), survival(model, move_on(lines, 10), 30)
    np.testing.assert_allclose(whole[:, 10:] / whole[:, [10]], later, rtol=1e-12, atol=0)


def test_no_lines_give_no_curves_and_no_days_give_ones(boosted, samples):
    assert survival(boosted, samples.iloc[:0], 180).shape == (0, 181)
    assert survival(boosted, samples.head(3), 0).tolist() == [[1.0]] * 3
    assert boosted.few_waited(samples.iloc[:0]).shape == (0,)


def test_four_thousand_lines_are_scored_over_ninety_days_within_a_second(model_of, make_samples):
    lines = make_samples(4000, seed=11)
    for kind in ("boosted", "ridge", "mixed"):
        started = time.process_time()
        survival(model_of[kind], lines, 90)
        assert time.process_time() - started < 3  # measured: .5 to .9; other work on the machine costs cache


def test_a_history_of_one_day_is_learned_from_without_a_later_one_to_judge(samples):
    model = fit(samples.assign(cutoff_on=pd.Timestamp("2026-01-01")))
    assert model.kind in ("boosted", "ridge", "mixed")
    assert p_cancel(survival(model, samples, 14)).mean() == pytest.approx(0.25, abs=0.1)


def test_books_in_which_every_line_is_cancelled_at_once_are_learned_from(samples):
    samples = samples.head(200).assign(at_risk_days=0.5, ended_by="customer", cancelled_share=1.0)
    curves = survival(fit(samples), samples, 3)
    assert (curves[:, 1] < 0.5).all()


def test_half_of_every_line_cancelled_is_half_the_hazard(make_samples, fit_as):
    whole = make_samples(3000, seed=12, ship_chance=0.0)
    half = whole.assign(cancelled_share=whole["cancelled_share"] / 2)
    lines = make_samples(500, seed=13)
    once, twice = (-np.log(survival(fit_as("boosted", s), lines, 14)[:, 14]).mean() for s in (half, whole))
    assert once == pytest.approx(twice / 2, rel=0.1)


def test_a_date_told_again_and_broken_again_hurts_anew(make_samples, watch, fit_as):
    # All were told a first date long ago and then another: they cancel at .008 a day until that is past, then at .04.
    lines = make_samples(4000, seed=7).assign(segment="a", days_late=60.0)
    since = np.random.default_rng(7).integers(-30, 30, len(lines))
    hazard = np.where(since[:, None] + np.arange(60) > 0, 0.04, 0.008)
    told = watch(lines.assign(days_past_latest=since.astype(float)), hazard, 0.0, seed=8)
    predicted = p_cancel(survival(fit_as("boosted", told), told, 14))
    assert predicted[since < -20].mean() == pytest.approx(1 - 0.992**14, rel=0.3)
    assert predicted[since > 0].mean() == pytest.approx(1 - 0.96**14, rel=0.1)
