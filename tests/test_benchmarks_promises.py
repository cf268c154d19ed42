import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss

import tests.benchmarks.promises as bench
from tests.benchmarks.promises_data import Book, known_on, open_on, simulated, wait_days
from tests.benchmarks.promises_ours import inbound_dates_on, ours
from tests.benchmarks.promises_peers import PLAIN_PEERS, Booster, Tuning, told_days
from tests.benchmarks.promises_scores import (
    LEVELS,
    Resamples,
    by_supplier,
    from_curve,
    line_scores,
    pinball,
    share_with_ties,
)
from tests.benchmarks.promises_supply import is_false, stops_found

DAY = pd.Timestamp("2024-08-01")
FAST = Tuning(leaves=4, history_days=120, rounds=20)


@pytest.fixture(scope="module")
def book():
    return simulated(905, n_days=300)


def test_a_day_knows_what_was_before_it_and_no_look_changes_with_what_comes_after(book):
    known = known_on(book, DAY)
    later = Book(
        book.name,
        book.lines,
        book.told.assign(expected_on=book.told["expected_on"].where(book.told["told_on"] < DAY, DAY)),
        book.receipts.assign(received_on=book.receipts["received_on"].where(book.receipts["received_on"] < DAY, DAY)),
    )
    assert known.receipts["received_on"].max() < DAY
    assert known.told["told_on"].max() < DAY
    pd.testing.assert_frame_equal(open_on(known_on(later, DAY), DAY), open_on(known, DAY))
    ways = {**PLAIN_PEERS, "booster": Booster(FAST), "again": Booster(FAST)}
    for name, way in ways.items():
        said, same = (way(known_on(one, DAY), open_on(one, DAY), DAY) for one in (book, later))
        np.testing.assert_array_equal(said.days, same.days, err_msg=name)
        assert (said.days >= 1).all()
        assert (np.diff(said.days, axis=1) >= 0).all()


def test_looks_are_the_lines_that_the_feature_table_says_owe_goods(book):
    rows = open_on(known_on(book, DAY), DAY).set_index("po_line_id")
    with inbound_dates_on(book, [DAY, DAY + pd.Timedelta(days=31)]) as inbound:
        table = inbound[DAY]
        said = ours(table, rows.reset_index(), DAY)
    owes = table[table["is_latest"] & (table["received_quantity"] < table["quantity"])].set_index("po_line_id")
    assert sorted(owes.index) == sorted(rows.index)
    for name in ("expected_on", "ordered_on"):
        assert (owes.loc[rows.index, name] == rows[name]).all(), name
    assert (owes.loc[rows.index, "received_quantity"].gt(0) == rows["is_begun"]).all()
    assert 0 < rows["is_begun"].mean() < 1
    assert rows["n_slips"].max() > 0
    assert np.isfinite(said.days).all()
    assert ((said.p_late >= 0) & (said.p_late <= 1)).all()


def test_the_wait_is_counted_to_the_next_goods_and_not_to_the_first(book):
    rows = open_on(known_on(book, DAY), DAY)
    wait = wait_days(book, rows)
    for row in rows[rows["is_begun"]].head(5).itertuples():
        came = book.receipts.loc[book.receipts["po_line_id"] == row.po_line_id, "received_on"]
        assert wait[row.Index] == max((came[came >= DAY].min() - DAY).days, 1)
        assert (came < DAY).any()


def test_pinball_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    came, days = draw.integers(1, 40, 300).astype(float), np.sort(draw.integers(1, 40, (300, 6)), axis=1) * 1.0
    for place, level in enumerate(LEVELS):
        assert pinball(came, days)[:, place].mean() == pytest.approx(
            mean_pinball_loss(came, days[:, place], alpha=level)
        )


def test_the_area_counts_pairs_of_a_late_line_and_another_and_its_interval_holds_it():
    draw = np.random.default_rng(0)
    score, event = draw.integers(0, 9, 300) * 1.0, draw.integers(0, 2, 300) * 1.0
    gaps = score[event == 1][:, None] - score[event == 0]
    found, low, high = Resamples(np.arange(300) // 2).auc(score, event)
    assert found == pytest.approx(((gaps > 0) + (gaps == 0) / 2).mean())
    assert low < found < high
    pairs = np.where(event == 1, score + 9, score)  # every late line above every other: whoever is drawn
    assert Resamples(np.arange(300) // 2).auc(pairs, event) == pytest.approx((1, 1, 1))
    assert np.isnan(Resamples(np.arange(300)).auc(score, np.ones(300))).all()


def test_right_dates_on_days_with_many_arrivals_have_nine_tenths_with_ties_in_part_alone():
    draw = np.random.default_rng(1)
    chance = np.array([0.0, 0.05, 0.02, 0.85, 0.03, 0.05])
    curve = np.repeat(np.cumsum(chance)[None, :], 20_000, axis=0)
    came = draw.choice(6, 20_000, p=chance) * 1.0
    scores = line_scores(came, from_curve(curve, np.full(20_000, 3)).days)
    assert scores["met by the 90 % date"].mean() == pytest.approx(0.92, abs=0.01)
    assert scores["came before the 90 % date"].mean() == pytest.approx(0.07, abs=0.01)
    assert share_with_ties(came, curve).mean() == pytest.approx(0.9, abs=0.01)
    too_early = np.clip(curve * 1.05, 0, 1)
    assert share_with_ties(came, too_early).mean() < 0.89


def test_a_supplier_is_held_to_its_binomial_interval_with_one_line_of_each_receipt():
    # Clopper-Pearson of 45 in 50: .782 to .967.
    rows = pd.DataFrame({"supplier_id": "S", "receipt_id": [f"R{n // 2}" for n in range(100)]})
    met = np.repeat(np.r_[np.ones(45), np.zeros(5)], 2)
    met[1::2] = 0  # second lines of receipts count nowhere
    table = by_supplier(rows, met, np.zeros(100))
    assert table.loc["S", "n"] == 50
    assert (table.loc["S", "low"], table.loc["S", "high"]) == (
        pytest.approx(0.782, abs=5e-4),
        pytest.approx(0.967, abs=5e-4),
    )
    assert table.loc["S", "holds_90"]
    always = by_supplier(rows, np.ones(100), np.zeros(100)).loc["S"]
    assert not always["holds_90"]
    assert always["ties_hold_90"]
    assert not by_supplier(rows, np.ones(100), np.ones(100)).loc["S", "ties_hold_90"]
    assert by_supplier(rows[:98], met[:98], met[:98]).empty


def test_a_normal_lead_time_is_foreseen_given_that_it_is_longer_than_the_age(book):
    known = known_on(book, DAY)
    rows = open_on(known, DAY).sort_values("ordered_on", ascending=False).reset_index(drop=True)
    said = PLAIN_PEERS["a normal lead time"](known, rows, DAY)
    came = known.receipts.groupby("po_line_id")["received_on"].min()
    lines = known.lines.set_index("po_line_id").join(came, how="inner")
    lead = (lines["received_on"] - lines["ordered_on"]).dt.days
    lead = lead[lines["supplier_id"] == rows["supplier_id"].iloc[40]]
    assert len(lead) >= 10
    age = (DAY - rows["ordered_on"].iloc[40]).days
    drawn = norm.rvs(lead.mean(), lead.std(), 400_000, random_state=2)
    left = drawn[drawn > age] - age
    assert 0.1 < len(left) / len(drawn) < 0.98
    np.testing.assert_allclose(said.days[40], np.maximum(np.quantile(left, LEVELS), 1), atol=0.1)
    assert said.p_late[40] == pytest.approx((left > told_days(rows)[40]).mean(), abs=0.01)


def test_resamples_draw_receipts_whole():
    receipt = np.repeat(np.arange(30).astype(str), 10)
    values = np.repeat(np.random.default_rng(3).normal(size=30), 10)
    mean, low, high = Resamples(receipt).mean(values)
    alone = Resamples(np.arange(300).astype(str)).mean(values)
    assert mean == pytest.approx(alone[0])
    assert high - low > 2 * (alone[2] - alone[1])


def test_one_question_gives_rows_for_every_goal_and_no_way_is_silent(book, capsys):
    days = pd.DatetimeIndex([DAY, DAY + pd.Timedelta(days=20)])
    asked = bench.Question("small", lambda: book, days, FAST)
    result = bench.judged(asked)
    rows = {row.figure: row for row in bench.section(result)}
    assert set(result.scores) == {"ours", *PLAIN_PEERS, bench.BOOSTER}
    assert rows["small: pinball, of the best peer's"].goal == 0.9
    assert rows["small: met by the 90 % date, from below"].goal == 0.88
    assert np.isfinite([row.value for name, row in rows.items() if "suppliers" not in name]).all()
    peers = [scores["pinball"].mean() for way, scores in result.scores.items() if way != "ours"]
    assert rows["small: pinball, days"].peer_value == pytest.approx(min(peers))
    assert rows["small: pinball, of the best peer's"].value == pytest.approx(
        result.scores["ours"]["pinball"].mean() / min(peers)
    )
    json.dumps([row.row() for row in rows.values()], allow_nan=False)
    assert "looks at" in capsys.readouterr().out


def test_without_scms_it_says_so_and_asks_the_rest(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "SCMS", tmp_path / "none")
    left = bench.present([bench.REPORTED, bench.simulated_question(1)])
    assert [question.name for question in left] == ["simulated 1"]
    assert "$SCMS_DELIVERIES" in capsys.readouterr().out


def test_no_day_of_choosing_is_near_a_day_reported():
    assert bench.DEVELOPMENT.days.max() < bench.REPORTED.days.min() - pd.Timedelta(days=365)


def test_stops_are_found_by_the_first_flag_within_and_flags_outside_are_false():
    on = {day: pd.Timestamp("2024-01-01") + pd.Timedelta(days=day) for day in range(60)}
    stops = pd.DataFrame({"supplier_id": ["s", "s", "t"], "starts_on": [on[5], on[40], on[5]], "ends_on": on[50]})
    stops.loc[0, "ends_on"] = on[20]
    flagged = pd.DataFrame({"supplier_id": ["s", "s", "s", "s", "u"], "day": [on[4], on[12], on[19], on[27], on[12]]})
    days = stops_found(flagged, stops)
    assert days[0] == 7
    assert np.isnan(days[1:]).all()
    # Before the stop, within, within, in the week after it, and of a supplier that never stopped.
    assert is_false(flagged, stops).tolist() == [True, False, False, False, True]
    assert is_false(flagged.assign(day=on[28]), stops).all()


def test_the_stops_of_a_simulated_company_are_spells_without_a_first_delivery(book):
    begun = book.receipts.groupby("po_line_id")["received_on"].min()
    supplier = book.lines.set_index("po_line_id")["supplier_id"].reindex(begun.index).to_numpy()
    began = pd.DataFrame({"supplier_id": supplier, "day": begun.to_numpy()})
    each = book.stops.merge(began, on="supplier_id")
    within = each[(each["starts_on"] < each["day"]) & (each["day"] < each["ends_on"])]
    assert len(each) > 300
    assert len(within) == 0
