"""What the benchmark of lifetime value gives its ways to see, how it scores them, and what it prints."""

import json
import math
import sys
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_poisson_deviance, roc_auc_score

from features.feature_tables import build
from features.samples import account_samples
from models import beta_geometric
from models.judging import normalised_gini as gini_of_rows
from models.order_histories import Histories
from tests.benchmarks import lifetime_value as bench
from tests.benchmarks import lifetime_value_peers as peers
from tests.benchmarks.lifetime_value_cost import ALPHA, A, B, R, drawn_histories
from tests.benchmarks.lifetime_value_data import Log, actual, cdnow_sample, company, facts_on, order_days
from tests.benchmarks.lifetime_value_peers import OURS, PARETO, PEERS
from tests.benchmarks.lifetime_value_scores import (
    Judged,
    coverage_by_decile,
    normalised_gini,
    resamples,
    scored,
    with_interval,
)

FIRST = pd.Timestamp("2024-01-01")


def log_of(lines, returns=()):
    """A log from (customer, day, category, amount) and (customer, day, category, day returned, amount); days count."""
    bought = pd.DataFrame(lines, columns=["customer_id", "day", "category", "amount"])
    bought = bought.assign(quantity=2.0, list_amount=bought["amount"] * 1.25)
    back = pd.DataFrame(returns, columns=["customer_id", "day", "category", "returned_on", "amount"])
    for frame, columns in ((bought, ["day"]), (back, ["day", "returned_on"])):
        for column in columns:
            frame[column] = FIRST + pd.to_timedelta(frame[column].astype(int), unit="D")
    bought = bought.sort_values(["customer_id", "day", "category"], ignore_index=True)
    return Log("a shop", bought, back.astype({"amount": float}))


SHOP = log_of(
    [
        ("a", 0, "x", 10.0), ("a", 0, "y", 5.0), ("a", 10, "x", 20.0), ("a", 11, "x", 40.0), ("a", 30, "x", 80.0),
        ("b", 10, "y", 7.0), ("c", 11, "x", 9.0),
    ],
    [("a", 0, "y", 9, 2.0), ("a", 0, "x", 20, 10.0), ("a", 11, "x", 25, 15.0)],
)  # fmt: skip
ORIGIN = date(2024, 1, 11)  # day 10


def test_history_ends_with_the_origin_and_outcome_begins_the_day_after_each_order_once():
    known = order_days(SHOP, ORIGIN)
    assert known["customer_id"].tolist() == ["a", "a", "b"]
    assert known["amount"].tolist() == [13.0, 20.0, 7.0]  # 2 of 15 had come back by then, 10 more only later
    came = actual(SHOP, ORIGIN, horizon_days=20)
    assert came.to_dict("list") == {"customer_id": ["a", "b"], "orders": [2.0, 0.0], "spend": [25.0 + 80.0, 0.0]}
    assert actual(SHOP, ORIGIN, horizon_days=19)["orders"].tolist() == [1.0, 0.0]


def test_an_origin_after_the_logs_end_is_refused():
    with pytest.raises(ValueError, match="a shop ends on 2024-01-31, before the origin 2024-03-01"):
        actual(SHOP, date(2024, 3, 1), 7)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    company(SHOP, folder)
    return folder


def test_the_company_of_a_log_knows_on_a_morning_what_the_peers_know(shop):
    with facts_on(shop, ORIGIN) as facts:
        assert facts.rejected.empty
        with facts.connect() as connection:
            accounts = build(connection, facts, facts.as_of, "accounts").set_index("account_id")
    assert accounts["n_orders"].to_dict() == {"a": 2.0, "b": 1.0}
    assert accounts["spend_amount"].to_dict() == pytest.approx({"a": 33.0, "b": 7.0})
    assert accounts["margin_amount"].to_dict() == pytest.approx({"a": 33.0, "b": 7.0})
    assert accounts["recency_days"].to_dict() == {"a": 0.0, "b": 0.0}
    assert accounts["tenure_days"].to_dict() == {"a": 10.0, "b": 0.0}
    assert accounts["discount_share"].to_dict() == pytest.approx({"a": 0.2, "b": 0.2})


def test_what_ours_learns_from_past_cutoffs_is_what_the_log_says_came_after_them(tmp_path):
    sample = cdnow_sample()
    ids = sample.lines["customer_id"].unique()[:200]
    log = replace(sample, lines=sample.lines[sample.lines["customer_id"].isin(ids)])
    company(log, tmp_path)
    with facts_on(tmp_path, date(1997, 9, 30)) as facts:
        samples = account_samples(facts)
    rows = samples[samples["horizon_days"] > 0]
    assert rows["cutoff_on"].nunique() > 3
    for (cutoff, days), part in rows.groupby(["cutoff_on", "horizon_days"]):
        came = actual(log, cutoff.date(), int(days)).set_index("customer_id").loc[part["account_id"]]
        np.testing.assert_array_equal(part["next_n_orders"], came["orders"])
        np.testing.assert_allclose(part["next_amount"], came["spend"])


@pytest.fixture(scope="module")
def book():
    sample = cdnow_sample()
    ids = sample.lines["customer_id"].unique()[:400]
    return replace(sample, lines=sample.lines[sample.lines["customer_id"].isin(ids)])


@pytest.mark.parametrize("name", PEERS)
def test_no_peer_sees_what_came_and_each_answers_for_every_customer_known(book, name):
    origin, horizon_days = date(1997, 9, 30), 273
    end = pd.Timestamp(origin)
    lines = book.lines
    later = lines.assign(amount=lines["amount"].where(lines["day"] <= end, 1000.0))
    back = lines[lines["day"] <= end].iloc[::3].assign(returned_on=end + pd.Timedelta(days=1))[book.returns.columns]
    changed = replace(book, lines=later[(later["day"] <= end) | (later["customer_id"] < "0200")], returns=back)
    said = PEERS[name](book, origin, horizon_days)
    pd.testing.assert_frame_equal(said, PEERS[name](changed, origin, horizon_days))
    assert said["customer_id"].tolist() == actual(book, origin, horizon_days)["customer_id"].tolist()
    assert said.notna().any(axis=0).sum() >= 2
    assert (said.notna().all(axis=0) | said.isna().all(axis=0)).all()


@pytest.mark.parametrize("name", [PARETO, "BG/NBD + Gamma-Gamma"])
def test_where_the_numbers_of_lifetimes_overflow_the_same_model_answers_as_they_would_elsewhere(
    book, monkeypatch, name
):
    origin, horizon_days = date(1997, 9, 30), 273
    whole = PEERS[name](book, origin, horizon_days)

    def filled_at_every_second(said, formula, past, weeks):
        return filled(np.where(np.arange(len(past)) % 2, np.asarray(said), np.nan), formula, past, weeks)

    filled = peers._filled
    monkeypatch.setattr(peers, "_filled", filled_at_every_second)
    pd.testing.assert_frame_equal(PEERS[name](book, origin, horizon_days), whole, rtol=1e-6)
    monkeypatch.setattr(peers, "_filled", lambda said, *_: np.where(np.arange(len(said)) % 2, np.asarray(said), np.nan))
    assert PEERS[name](book, origin, horizon_days)["expected_orders"].isna().sum() == len(whole) // 2


def judged(seed=0, n=400, **said):
    draw = np.random.default_rng(seed)
    orders = draw.poisson(draw.gamma(0.5, 2.0, n)).astype(float)
    spend = orders * draw.gamma(2.0, 20.0, n)
    ids = [str(k) for k in range(n)]
    frames = {way: pd.DataFrame({"customer_id": ids, **columns}) for way, columns in said.items()}
    return Judged(orders, spend, draw.random(n) < 0.5, frames)


def guess(seed=1, n=400):
    """Predictions with many ties."""
    draw = np.random.default_rng(seed)
    return {
        "expected_orders": draw.integers(1, 6, n) / 2,
        "expected_spend": draw.integers(0, 9, n) * 10.0,
        "p_no_order": draw.integers(0, 5, n) / 4,
    }


def test_scores_are_those_of_other_hands_and_a_copy_counts_as_a_row():
    said = guess()
    case = judged(way=said)
    copies = next(resamples(400, 3, seed=5))
    drawn = np.repeat(np.arange(400), copies[2].astype(int))
    scores = scored(case, 3, seed=5)
    for place, rows in ((0, np.arange(400)), (3, drawn)):
        spend, orders, buys = case.spend[rows], case.orders[rows], case.orders[rows] > 0
        expected = {
            "spend nGini": gini_of_rows(said["expected_spend"][rows], spend),
            "orders deviance": mean_poisson_deviance(orders, said["expected_orders"][rows]),
            "orders RMSE": np.sqrt(np.mean((orders - said["expected_orders"][rows]) ** 2)),
            "orders bias": said["expected_orders"][rows].sum() / orders.sum() - 1,
            "spend bias": said["expected_spend"][rows].sum() / spend.sum() - 1,
            "buys again AUC": roc_auc_score(buys, -said["p_no_order"][rows]),
            "buys again Brier": np.mean((said["p_no_order"][rows] - ~buys) ** 2),
        }
        once = case.is_one_time[rows]
        expected["one-time buyers' nGini"] = gini_of_rows(said["expected_spend"][rows][once], spend[once])
        for score, value in expected.items():
            assert scores[score, "way"][place] == pytest.approx(value), score


def test_who_foresees_what_comes_scores_best_and_the_top_tenth_holds_all_it_can():
    case = judged()
    best = {"expected_orders": case.orders, "expected_spend": case.spend, "p_no_order": (case.orders == 0) * 1.0}
    sizes = {"spend_low": case.spend, "spend_high": case.spend, "orders_low": case.orders, "orders_high": case.orders}
    scores = {score: v[0] for (score, _), v in scored(judged(best=best | sizes), 0).items()}
    assert scores["spend nGini"] == scores["buys again AUC"] == scores["spend coverage"] == 1
    for score in ("orders RMSE", "orders bias", "spend bias", "spend decile error", "buys again Brier"):
        assert scores[score] == pytest.approx(0), score
    assert scores["orders deviance"] == pytest.approx(0, abs=1e-5)  # of the floor
    assert scores["spend top 10 %"] == pytest.approx(np.sort(case.spend)[-40:].sum() / case.spend.sum())
    same = guess() | {"expected_spend": np.full(400, case.spend.mean())}
    told = {score: v[0] for (score, _), v in scored(judged(same=same), 0).items()}
    assert told["spend top 10 %"] == pytest.approx(0.1)
    assert told["spend nGini"] == pytest.approx(0)


def test_decile_error_is_the_distance_of_sums_by_band():
    case = judged(way=guess())
    expected, order = guess()["expected_spend"], np.argsort(guess()["expected_spend"], kind="stable")
    error = sum(abs((expected - case.spend)[band].sum()) for band in np.split(order, 10)) / case.spend.sum()
    assert scored(case, 0)["spend decile error", "way"][0] == pytest.approx(error)


def test_equal_ways_differ_in_no_resample_and_an_answer_that_is_none_shows():
    broken = guess() | {"expected_spend": np.r_[np.nan, guess()["expected_spend"][1:]]}
    ranks = {"p_no_order": np.arange(400.0), "expected_orders": np.nan, "expected_spend": np.nan}
    scores = scored(judged(one=guess(), two=guess(), broken=broken, ranks=ranks), 30)
    for score in ("spend nGini", "buys again AUC", "spend decile error"):
        np.testing.assert_array_equal(scores[score, "one"], scores[score, "two"])
    assert np.isnan(scores["spend nGini", "broken"]).all()
    assert {score for score, way in scores if way == "ranks"} == {"buys again AUC"}
    assert not any("coverage" in score for score, _ in scores)


def test_resamples_hold_as_many_customers_as_there_are_and_the_interval_shrinks_with_them():
    blocks = list(resamples(50, 60, seed=2))
    assert sum(len(block) for block in blocks) == 60
    assert all((block.sum(axis=1) == 50).all() for block in blocks)
    _, low, high = with_interval(np.r_[0.0, np.random.default_rng(0).normal(size=4000)])
    assert (low, high) == (pytest.approx(-1.96, abs=0.1), pytest.approx(1.96, abs=0.1))


def test_gini_of_nothing_that_came_is_no_number():
    assert np.isnan(normalised_gini(np.array([1.0, 2.0]), np.zeros(2), np.ones((1, 2)))).all()


def test_coverage_by_decile_goes_by_what_was_expected():
    case = judged()
    expected = np.arange(400.0)
    said = {"expected_spend": expected, "spend_low": np.zeros(400), "spend_high": np.where(expected < 40, -1.0, 1e9)}
    assert coverage_by_decile(judged(way=said), "way", "spend").tolist() == [0.0] + [1.0] * 9
    assert len(case.spend) == 400


def test_a_million_drawn_histories_are_of_the_laws_they_are_said_to_be():
    n_repeats, last, age = drawn_histories(60_000, seed=4)
    assert (last <= age).all()
    assert ((n_repeats == 0) == (last == 0)).all()
    found = beta_geometric.fit(Histories.of(n_repeats, last, age))
    assert (found.r, found.alpha) == (pytest.approx(R, rel=0.1), pytest.approx(ALPHA, rel=0.1))
    assert found.a / (found.a + found.b) == pytest.approx(A / (A + B), rel=0.15)


def result(cutoff, lead, coverage=0.9):
    """Ours ahead of Pareto/NBD in every resample by `lead` and .01 either way."""
    noise = np.r_[0.0, np.linspace(-0.01, 0.01, 100)]
    theirs = {(score, PARETO): np.full(101, 0.5) for score in bench.SCORES if "coverage" not in score}
    scores = {(score, OURS): 0.5 + (lead + noise) * (-1 if score in bench.LOWER else 1) for score, _ in theirs}
    covers = {(score, OURS): np.full(101, coverage) for score in bench.SCORES if "coverage" in score}
    deciles = dict.fromkeys(("spend", "orders"), np.linspace(0.8, 1.0, 10))
    return bench.Result(cutoff, theirs | scores | covers, {OURS: 2.0, PARETO: 1.0}, 0, deciles)


def test_the_lead_over_pareto_must_reach_the_goal_and_surely_be_one():
    asked = bench.CUTOFFS[0]
    assert asked.title == "CDNOW 39/39"
    text = f"{asked.title}: spend nGini, better than {PARETO} by"
    for lead, is_met, is_sure in ((0.05, True, True), (0.02, False, True), (0.005, False, False)):
        rows = {row.figure: row for row in bench.section(result(asked, lead))}
        assert (rows[text].value, rows[text].goal) == (pytest.approx(lead), 0.03)
        assert (rows[text].met, rows[text + ", surely"].met) == (is_met, is_sure)
        assert rows[f"{asked.title}: orders deviance, better than {PARETO} by"].value == pytest.approx(lead)
    json.dumps([row.row() for row in rows.values()], allow_nan=False)


@pytest.mark.parametrize(("coverage", "met"), [(0.9, (True, True)), (0.87, (False, True)), (0.93, (True, False))])
def test_coverage_has_a_goal_on_either_side(coverage, met):
    rows = {row.figure: row for row in bench.section(result(bench.SMALL_BOOK, 0.1, coverage))}
    name = f"{bench.SMALL_BOOK.title}: spend coverage"
    assert (rows[f"{name}, from below"].met, rows[f"{name}, from above"].met) == met
    assert rows[f"{name}, lowest decile by expectation"].value == pytest.approx(0.8)


def test_biases_of_either_sign_are_told_by_size_over_all_cutoffs():
    first, second = (result(cutoff, 0.0) for cutoff in bench.CUTOFFS[:2])
    first.scores["orders bias", OURS][0], second.scores["orders bias", OURS][0] = 0.08, -0.12
    rows = {row.figure: row for row in bench.together([first, second])}
    assert rows["orders bias over 2 cut-offs, mean of sizes"].value == pytest.approx(0.1)
    assert rows["orders bias over 2 cut-offs, greatest size"].value == pytest.approx(0.12)
    assert rows["orders deviance, mean of CDNOW's 2 cut-offs"].goal == 1.56


def test_horizons_end_within_the_logs_and_origins_are_those_told():
    asked = {cutoff.title: (cutoff.origin.isoformat(), cutoff.horizon_days) for cutoff in bench.CUTOFFS}
    assert asked["CDNOW 30/39"] == ("1997-07-29", 273)
    assert asked["CDNOW 52/26"] == ("1997-12-30", 182)
    assert asked["Complete Journey 26/26"] == ("2017-07-01", 182)
    ends = {"CDNOW": date(1998, 6, 30), "Complete Journey": date(2017, 12, 31), "Online Retail II": date(2011, 12, 9)}
    assert all(cutoff.origin + pd.Timedelta(days=cutoff.horizon_days) <= ends[cutoff.log] for cutoff in bench.CUTOFFS)


def test_a_customer_left_out_shows_as_no_number(book):
    cutoff = bench.SMALL_BOOK
    known = actual(book, cutoff.origin, cutoff.horizon_days)

    def some(log, origin, horizon_days):
        said = PEERS["historic spend"](log, origin, horizon_days).assign(p_no_order=0.5)
        return said.assign(spend_low=0.0, spend_high=1.0, orders_low=0.0, orders_high=1.0).iloc[:-1]

    found = bench.judged_at(book, cutoff, {OURS: some, PARETO: PEERS[PARETO]}, n_resamples=2)
    assert found.not_finite == 7
    assert math.isnan(found.scores["spend nGini", OURS][0])
    assert math.isfinite(found.scores["spend nGini", PARETO][0])
    assert len(known) > 0


def test_without_online_retail_it_says_so_and_asks_the_rest(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(bench, "RETAIL", tmp_path / "none")
    monkeypatch.setattr(bench, "costs", lambda: iter(()))

    def measured(cutoffs, n_resamples):
        asked.extend(cutoff.log for cutoff in cutoffs)
        return [result(cutoff, 0.1) for cutoff in cutoffs]

    monkeypatch.setattr(bench, "measured", measured)
    rows = {row.figure: row for row in bench.full()}
    assert "$ONLINE_RETAIL_II" in capsys.readouterr().out
    assert set(asked) == {"CDNOW", "Complete Journey", "CDNOW sample"}
    assert rows["numbers that are none, all cut-offs"].met is True


def test_a_first_look_measures_the_small_book_and_writes_its_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["lifetime_value.py", "--quick", "--json", str(tmp_path / "rows.json")])
    bench.main()
    rows = {row["figure"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    # On all of CDNOW: Pareto .763, idle days .759, P(alive) .32; the sample is a little easier.
    for score, way, least, most in (
        ("spend nGini", PARETO, 0.657, 0.661),
        ("spend nGini", "historic spend", 0.67, 0.69),
        ("orders deviance", PARETO, 1.592, 1.596),
        ("buys again AUC", PARETO, 0.76, 0.78),
        ("buys again AUC", "idle days", 0.76, 0.78),
        ("buys again AUC", "BG/NBD's P(alive)", 0.31, 0.33),
        ("buys again Brier", PARETO, 0.16, 0.165),
    ):
        of_peer = rows[f"CDNOW sample 39/39: {score}, better than {way} by"]["peer_value"]
        assert least < of_peer < most, (score, way)
    assert rows["CDNOW sample 39/39: spend nGini"]["value"] > 0.5
    assert "2,357 customers" in capsys.readouterr().out
