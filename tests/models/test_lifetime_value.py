from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_tweedie_deviance

from models import customer_base, lifetime_value, tilt
from models.account_panel import INPUTS, NUMERIC, TEXT, with_expectations
from models.customer_base import READS
from models.intervals import coverage
from models.lifetime_value import (
    MARGIN,
    ORDER_MARGIN,
    LifetimeValueModel,
    fit,
    next_margin,
    predict,
    predict_interval,
)
from models.next_order import ORDERS
from models.tilt import PSEUDO_EVENTS

HORIZONS = (0.0, 1.0, 30.0, 365.0, 3650.0)


@pytest.fixture(scope="module")
def asked(book, asked_of):
    return asked_of(book)


@pytest.fixture(scope="module")
def later(book, asked):
    return book.later.loc[asked["account_id"]].reset_index(drop=True)


def classical(model, accounts, horizon_days=365.0):
    found = customer_base.expect(model.base, accounts, horizon_days)
    return (found["expected_orders"] * found["expected_order_margin"]).to_numpy()


def deviance(actual, value):
    return mean_tweedie_deviance(actual, value, power=1.5)


def test_the_value_has_the_planted_level_and_order(value_model, asked, later):
    value = predict(value_model, asked)
    assert value_model.kind == "boosted"
    assert value.sum() == pytest.approx(later["true_margin"].sum(), rel=0.12)
    is_active = later["true_orders"] > 0
    assert pd.Series(value)[is_active].corr(later["true_margin"][is_active], method="spearman") > 0.7


def test_the_booster_adds_to_the_classical_models_what_was_planted(value_model, asked, later):
    came = later["next_margin"].to_numpy()
    assert deviance(came, predict(value_model, asked)) < 0.9 * deviance(came, classical(value_model, asked))


def test_small_books_do_not_lose_to_the_classical_models(make_book, asked_of):
    ratios = []
    for seed in range(4):
        book = make_book(200, seed=seed)
        model, asked = fit(book.panel), asked_of(book)
        came = book.later.loc[asked["account_id"], "next_margin"].to_numpy()
        ratios.append(deviance(came, predict(model, asked)) / deviance(came, classical(model, asked)))
    assert np.mean(ratios) < 1


def test_without_weight_and_level_the_value_is_the_classical_expectation(value_model, asked):
    alone = LifetimeValueModel("classical", "", value_model.base)
    for days in HORIZONS:
        np.testing.assert_allclose(predict(alone, asked, days), classical(alone, asked, days), rtol=1e-12)


def test_the_value_is_the_geometric_mean_of_the_margin_at_once_and_of_orders_times_what_one_brings(value_model, asked):
    rows = asked.assign(**customer_base.expect(value_model.base, asked, 365.0))
    own = value_model.corrections
    assert min(own.weights.values()) > 0
    assert (own.spend.level, own.orders.level, own.order_margin.level) == (0, 0, 0)
    at_once = own.spend.apply(MARGIN, rows)
    by_orders = own.orders.apply(ORDERS, rows) + own.order_margin.apply(ORDER_MARGIN, rows)
    value = np.exp((at_once + by_orders) / 2 + own.level) * value_model.net_share
    np.testing.assert_allclose(predict(value_model, asked), value, rtol=1e-12)


def test_a_year_of_many_orders_sets_the_level_of_the_two_ways_together(panel):
    corrections, rehearsed = lifetime_value._correct(panel, 0)
    judged = rehearsed.rehearsal.judged
    came, foretold = next_margin(judged), np.exp(rehearsed.prediction)
    n_events = came.sum() ** 2 / (came**2).sum()
    unmoved = foretold * np.exp(-corrections.level)
    trust = n_events / (n_events + PSEUDO_EVENTS)
    assert rehearsed.rehearsal.days == 365
    assert corrections.level == pytest.approx(trust * np.log(came.sum() / unmoved.sum()))


def test_what_an_order_brings_is_learned_from_accounts_that_ordered_each_order_alike():
    rows = pd.DataFrame({"next_margin": [0.0, 30.0, -5.0, 80.0, 0.0], "next_n_orders": [0.0, 3.0, 1.0, 4.0, 2.0]})
    assert ORDER_MARGIN.telling(rows).index.tolist() == [1, 3]  # what came back in full tells no margin
    told = ORDER_MARGIN.telling(rows)
    assert ORDER_MARGIN.outcome(told).tolist() == [10, 20]
    assert ORDER_MARGIN.weights(told).tolist() == [3 / 3.5, 4 / 3.5]


@pytest.mark.parametrize("margin", ["nothing", "losses", "nothing lately", "losses before"])
def test_books_whose_customers_bring_nothing_have_values_all_the_same(panel, asked, margin):
    is_newest = panel["cutoff_on"] >= sorted(panel["origin_on"].unique())[-2]
    gone = {"nothing": 0.0, "losses": -5.0, "losses before": -5.0, "nothing lately": 0.0}[margin]
    always = pd.Series(True, panel.index)
    changed = {"nothing": always, "losses": always, "losses before": ~is_newest, "nothing lately": is_newest}[margin]
    book = panel.assign(next_margin=panel["next_margin"].mask(changed & (panel["horizon_days"] > 0), gone))
    if gone == 0:
        book["next_n_orders"] = book["next_n_orders"].mask(changed, 0.0)
    value, (low, high) = (ask(fit(book), asked) for ask in (predict, predict_interval))
    assert np.isfinite([value, low, high]).all()
    assert ((low >= 0) & (low <= high)).all()


def test_intervals_of_a_book_rehearsed_for_less_than_a_year_are_wider(young_book, asked_of, monkeypatch):
    def mean_width():
        low, high = predict_interval(fit(young_book.panel), asked_of(young_book))
        return (high - low).mean()

    with_doubt = mean_width()
    monkeypatch.setattr(tilt, "UNKNOWN_SEASON_LOG_SD", 0.0)
    assert with_doubt > 1.02 * mean_width()


def test_a_longer_horizon_is_never_worth_less(value_model, young_book, asked, asked_of):
    for model, accounts in ((value_model, asked), (fit(young_book.panel), asked_of(young_book))):
        values = np.array([predict(model, accounts, days) for days in HORIZONS])
        assert (np.diff(values, axis=0) >= 0).all()
        assert values[-1].sum() > values[1].sum()


def test_nine_of_ten_lively_accounts_end_within_their_interval(value_model, asked, later):
    # Of accounts that are all but gone more than nine in ten bring 0, and no interval that holds 0 could hold fewer.
    is_lively = customer_base.expect(value_model.base, asked, 365.0)["p_no_order"] < 0.5
    low, high = predict_interval(value_model, asked)
    held = coverage(low[is_lively], high[is_lively], later["next_margin"][is_lively])
    assert held.n_accounts > 500
    assert 0.86 < held.share < 0.94
    assert coverage(low, high, later["next_margin"]).share > 0.88


def test_intervals_are_ordered_and_finite_also_of_customers_who_came_today(value_model, asked):
    new = asked.head(3).assign(n_orders=1.0, tenure_days=0.0, recency_days=0.0)
    for days in HORIZONS:
        value, (low, high) = predict(value_model, new, days), predict_interval(value_model, new, days)
        assert np.isfinite([value, low, high]).all()
        assert ((low >= 0) & (low <= high)).all()
        assert (value > 0).all()


def test_values_are_finite_and_never_negative_whatever_comes_in(value_model, asked):
    others = [name for name in NUMERIC if name not in READS]
    for strange in (np.nan, -1e12, 1e12, 0.0):
        rows = asked.head(30).assign(**dict.fromkeys(others, strange), **dict.fromkeys(TEXT, "never seen"))
        rows["margin_amount"] = np.resize([-1e9, 0.0, 1e9], len(rows))
        value, (low, high) = predict(value_model, rows), predict_interval(value_model, rows)
        assert np.isfinite([value, low, high]).all()
        assert ((value >= 0) & (low <= high)).all()


def test_thirty_thousand_orders_are_worth_as_much_as_their_rate_tells(value_model, asked):
    daily = {"n_orders": 30_000.0, "tenure_days": 30_000.0, "recency_days": 0.0, "margin_amount": 300_000.0}
    busy = asked.head(1).assign(**daily)
    classical_value = classical(value_model, busy)[0]
    assert classical_value == pytest.approx(3650, rel=0.05)  # 10 a day
    assert 0.2 < predict(value_model, busy)[0] / classical_value < 5


def test_frames_are_read_by_name_whatever_else_they_hold(value_model, asked):
    value = predict(value_model, asked)
    twice = pd.concat([asked, asked])  # each label twice
    np.testing.assert_array_equal(predict(value_model, twice), np.tile(value, 2))
    np.testing.assert_array_equal(predict(value_model, asked.assign(**dict.fromkeys(INPUTS[-4:], 9.0))), value)
    mixed = asked.sample(frac=1, random_state=7)
    np.testing.assert_array_equal(predict(value_model, mixed), value[mixed.index])
    assert len(predict(value_model, asked.iloc[:0])) == 0


def test_a_loss_counts_as_nothing_and_brings_down_all_values_alike(panel, value_model, asked):
    rows = pd.DataFrame({"next_margin": [-5.0, 10.0]})
    assert next_margin(rows).tolist() == [0, 10]
    # Every account that bought nothing loses 5 instead: gains stay, the net of all is that much less.
    watched, bought = panel["horizon_days"] > 0, panel["next_margin"] > 0
    losing = panel.assign(next_margin=panel["next_margin"].mask(watched & ~bought, -5.0))
    own = losing[(losing["origin_on"] == losing["origin_on"].max()) & watched]["next_margin"]
    model = fit(losing)
    assert model.net_share == pytest.approx(own.sum() / own.clip(lower=0).sum())
    np.testing.assert_allclose(predict(model, asked), model.net_share * predict(value_model, asked))


def test_a_young_history_is_carried_on_to_a_year_and_says_so(young_book, asked_of, value_model):
    model = fit(young_book.panel)
    assert "watched for 186 days, the rest of the 365 is assumed to go on alike" in model.why
    assert model.is_assumed
    assert not value_model.is_assumed
    assert "assumed" not in value_model.why
    later = young_book.later["next_margin"]
    assert predict(model, asked_of(young_book)).sum() == pytest.approx(later.sum(), rel=0.5)


def few(accounts, n_watched=2):
    """Two accounts at T, too few to learn a rhythm from, and two watched ones before."""
    today = pd.DataFrame(accounts).assign(cutoff_on="2025-06-01", horizon_days=0, next_margin=0.0, next_n_orders=0.0)
    before = today.assign(cutoff_on="2025-01-01", horizon_days=151, next_margin=10.0)[:n_watched]
    panel = pd.concat([before, today], ignore_index=True).assign(origin_on=pd.Timestamp("2025-06-01"))
    return panel.assign(cutoff_on=pd.to_datetime(panel["cutoff_on"]), n_orders=1.0)


def test_a_small_history_carries_own_margin_on_shrunk_to_the_average_worked_by_hand():
    # Two accounts, 365 days each, margins 365 and 0: average .5 a day. First: 365 x (365 + 90) / (365 + 180) = 304.7,
    # second 365 x 90 / 545 = 60.3; over half of the year half of it.
    panel = few({"account_id": ["a", "b"], "tenure_days": 900.0, "margin_365d": [365.0, 0.0]})
    model = fit(panel)
    today = panel[panel["horizon_days"] == 0]
    assert model.kind == "pooled"
    assert "too few accounts ordered again" in model.why
    assert predict(model, today).tolist() == pytest.approx([304.7, 60.3], abs=0.05)
    assert predict(model, today, 182.5).tolist() == pytest.approx([152.36, 30.14], abs=0.005)
    assert np.isnan(predict_interval(model, today)).all()


def test_no_past_outcome_is_said_to_be_assumed(panel, asked):
    model = fit(panel.iloc[:0])
    assert model.kind == "assumed"
    assert model.is_assumed
    assert np.isfinite(predict(model, asked.head(5))).all()
    assert len(predict(model, asked.iloc[:0])) == 0
    assert fit(few({"account_id": ["a"], "tenure_days": 9.0, "margin_365d": 3.0}, n_watched=0)).kind == "assumed"


def test_a_saved_model_predicts_the_same_and_row_order_does_not_matter(value_model, book, asked, tmp_path):
    value_model.save(tmp_path / "once")
    fit(with_expectations(book.samples.sample(frac=1, random_state=3))).save(tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert names == ["booster.txt", "model.json", "order_margin.txt", "orders.txt"]
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    loaded = LifetimeValueModel.load(tmp_path / "once")
    for days in HORIZONS:
        np.testing.assert_array_equal(predict(loaded, asked, days), predict(value_model, asked, days))
        np.testing.assert_array_equal(predict_interval(loaded, asked, days), predict_interval(value_model, asked, days))
    assert (loaded.kind, loaded.why, loaded.facts) == (value_model.kind, value_model.why, value_model.facts)


def test_small_models_are_saved_too(panel, asked, tmp_path):
    for place, rows in enumerate((panel.iloc[:0], panel[panel["origin_on"] == panel["origin_on"].max()])):
        model = fit(rows)
        model.save(tmp_path / str(place))
        loaded = LifetimeValueModel.load(tmp_path / str(place))
        np.testing.assert_array_equal(predict(loaded, asked), predict(model, asked))
        assert not (tmp_path / str(place) / "booster.txt").exists()


def test_a_missing_column_is_named(value_model, asked):
    with pytest.raises(ValueError, match=r"inputs of the model are not in the frame, e.g. \['margin_91d'\]"):
        predict(value_model, asked.drop(columns="margin_91d"))
