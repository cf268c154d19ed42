"""Online Retail II as if its customers waited: what is converted, who learns from what, and how hazards are scored."""

import json

import numpy as np
import pandas as pd
import pytest

from erp.online_retail import WORKBOOK_COLUMNS
from models.line_days import LineDays
from tests.benchmarks import cancellation_online_retail as retail
from tests.benchmarks.cancellation_line_day_scores import (
    Judged,
    auc,
    less_lost,
    lift,
    log_loss,
    observed_over_expected,
    ratio,
    share_in_top,
    slope,
)

MONDAY = pd.Timestamp("2010-03-01")


def bought(invoice, quantity, at, customer="13085", code="85048"):
    return (invoice, code, "LAMP", quantity, pd.Timestamp(at), 2.5, customer, "United Kingdom")


def source(*rows):
    return pd.DataFrame(list(rows), columns=list(WORKBOOK_COLUMNS.values()))


def credits_of_ten(*times):
    """One purchase of 10 on a Monday at 09:00 and a credit of 1 at each time."""
    given_back = [bought(f"C{place}", -1, at) for place, at in enumerate(times)]
    return retail.as_if_waiting(source(bought("1", 10, "2010-03-01 09:00"), *given_back))


def test_a_credit_cancels_until_the_goods_leave_on_the_28th_day_at_18_and_is_a_return_from_then_on():
    credited, tables = credits_of_ten("2010-03-02 00:00", "2010-03-29 17:59", "2010-03-29 18:00", "2010-06-01 10:00")
    assert credited["fate"].tolist() == [retail.IN_TIME, retail.IN_TIME, retail.RETURNED, retail.RETURNED]
    assert tables["cancellations"]["cancelled_at"].tolist() == [
        pd.Timestamp("2010-03-02"),
        pd.Timestamp("2010-03-29 17:59"),
    ]
    assert len(tables["returns"]) == 2
    (shipment,) = tables["shipments"].to_dict("records")
    assert (shipment["quantity"], shipment["shipped_at"]) == (8, pd.Timestamp("2010-03-29 18:00"))


def test_credits_of_the_orders_own_day_are_told_apart_before_and_after_18():
    credited, tables = credits_of_ten("2010-03-01 09:00", "2010-03-01 23:00")
    assert credited["fate"].tolist() == [retail.OWN_DAY] * 2
    assert tables["shipments"]["quantity"].tolist() == [8]


def test_a_credit_without_a_purchase_is_counted_and_changes_no_table():
    credited, tables = retail.as_if_waiting(
        source(bought("1", 10, "2010-03-01 09:00"), bought("C2", -1, "2010-02-01 09:00"))
    )
    assert credited["fate"].tolist() == [retail.UNKNOWN]
    assert len(tables["cancellations"]) == len(tables["returns"]) == 0


def test_a_share_of_customers_is_whole_customers_and_the_same_ones_in_any_other_data():
    rows = [bought(str(k), 1, MONDAY, customer=str(12000 + k // 2)) for k in range(400)]
    taken = retail.one_customer_in(4, source(*rows, bought("x", 1, MONDAY, customer=None)))
    assert (taken["customer_id"].value_counts() == 2).all()
    assert 30 <= taken["customer_id"].nunique() <= 70
    alone = retail.one_customer_in(4, source(*rows[:100][::-1]))
    assert set(alone["customer_id"]) == set(taken["customer_id"]) & {str(12000 + k) for k in range(50)}


@pytest.fixture(scope="module")
def followed():
    """Lines of one customer through the product's own tables, looked at every 5 days up to 2010-06-01."""
    credited, tables = retail.as_if_waiting(
        source(
            bought("1", 4, "2010-01-04 10:00", code="10001"),
            bought("2", 10, "2010-03-01 09:00"),
            bought("C3", -4, "2010-03-10 12:00"),
            bought("4", 6, "2010-04-05 09:00", code="10002"),
            bought("C5", -6, "2010-04-20 06:00", code="10002"),
            bought("6", 6, "2010-04-22 06:00", code="10002"),
            bought("7", 1, "2010-05-31 09:00", code="10001"),
        )
    )
    return credited, retail.watched(tables, every_days=5)


def test_a_line_is_watched_to_its_last_hour_and_its_credit_is_an_event_of_that_part_on_that_day(followed):
    line = followed[1][followed[1]["order_line_id"] == "2-1"]
    (event,) = line[line["ended_by"] == "customer"].to_dict("records")
    assert event["cancelled_share"] == 0.4
    assert event["cutoff_on"] + pd.Timedelta(days=event["at_risk_days"]) == pd.Timestamp("2010-03-10 12:00")
    # The last look lies 12 days before 1 June, 5 to be watched and 7 to be ordered again; one in five days is a look.
    assert line["cutoff_on"].min() == pd.Timestamp("2010-03-06")
    last = line.iloc[-1]
    assert last["ended_by"] == "shipment"
    assert last["cutoff_on"] + pd.Timedelta(days=last["at_risk_days"]) == pd.Timestamp("2010-03-29 18:00")


def test_what_is_bought_again_within_a_week_is_a_change_and_every_credit_is_accounted_for(followed):
    credited, samples = followed
    assert samples.loc[samples["order_line_id"] == "4-1", "ended_by"].dropna().tolist() == ["change"]
    counts = retail.account(credited, samples)
    assert counts["credited quantities of goods"] == 2
    assert [n for what, n in counts.items() if what.startswith("left out")] == [0, 0, 0, 0]
    assert list(counts.values())[-3:] == [2, 1, 1]


def test_a_credit_before_the_first_look_at_its_line_is_left_out_and_counted(followed):
    early = pd.DataFrame({"order_line_id": ["2-1"], "at": [pd.Timestamp("2010-03-02 10:00")], "fate": [retail.IN_TIME]})
    assert retail.account(early, followed[1])["left out: before a look saw the line"] == 1


def stretches(*rows):
    """Stretches from (line, start, days at risk, end, share), each waiting since the day before its first start."""
    frame = pd.DataFrame(
        list(rows), columns=["order_line_id", "cutoff_on", "at_risk_days", "ended_by", "cancelled_share"]
    )
    frame["cutoff_on"] = pd.to_datetime(frame["cutoff_on"]).astype("datetime64[s]")
    first = frame.groupby("order_line_id")["cutoff_on"].transform("min")
    waited = 1.0 + (frame["cutoff_on"] - first).dt.days
    return frame.assign(waited_days=waited, due_on=first - pd.Timedelta(days=1), customer_id="1")


def test_a_closed_lines_share_lost_multiplies_up_from_its_end_and_open_lines_are_not_known():
    found = retail.with_share_lost(
        stretches(
            ("kept in half", "2011-01-03", 5.0, None, 0.0),
            ("kept in half", "2011-01-08", 2.5, "customer", 0.5),
            ("kept in half", "2011-01-11", 3.0, "shipment", 0.0),
            ("twice", "2011-01-04", 5.0, "customer", 0.5),
            ("twice", "2011-01-09", 5.0, "customer", 1.0),
            ("open", "2011-01-04", 5.0, None, 0.0),
            ("open in part", "2011-01-04", 5.0, "customer", 0.5),
        )
    )
    by_line = found.groupby("order_line_id")["share_lost"].apply(list).to_dict()
    assert by_line == {"kept in half": [0.5, 0.5, 0.0], "twice": [1.0, 1.0]}


def test_settled_lines_leave_out_those_of_the_last_28_days_of_which_only_the_cancelled_are_known(monkeypatch):
    monkeypatch.setattr(retail, "rounds_for_the_newest", lambda rows: 1)
    monkeypatch.setattr(retail, "classifier", lambda rows, n_rounds, days_left: (rows, days_left))
    rows, days_left = retail.settled_lines(
        stretches(
            ("old", "2011-01-03", 5.0, None, 0.0),
            ("old", "2011-01-08", 22.75, "shipment", 0.0),
            ("old and gone", "2011-01-03", 5.0, "customer", 1.0),
            ("young and gone", "2011-01-04", 5.0, "customer", 1.0),
            ("young", "2011-01-20", 10.75, None, 0.0),
        )
    )
    assert set(rows["order_line_id"]) == {"old", "old and gone"}
    assert days_left(pd.DataFrame({"waited_days": [1, 28]})).tolist() == [27.75, 0.75]


def test_a_classifier_that_finds_nothing_spreads_the_share_lost_evenly():
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({name: draw.random(400) for name in retail.NUMERIC} | dict.fromkeys(retail.TEXT, "a"))
    rows = rows.assign(share_lost=np.tile([0.0, 1.0, 0.5, 0.5], 100), cutoff_on=np.arange(400))
    assert 1 <= retail.rounds_for_the_newest(rows) <= 5
    days = LineDays(sample=np.array([0, 0, 3]), day=np.array([1, 2, 1]), event=np.zeros(3), weight=np.ones(3))
    said = retail.classifier(rows, 1, lambda lines: np.full(len(lines), 2.0))(rows, days)
    assert said == pytest.approx([1 - 0.5**0.5] * 3, abs=0.02)


def two_days(day):
    return LineDays(sample=np.array([0, 0]), day=np.array(day), event=np.zeros(2), weight=np.ones(2))


def test_the_constant_is_events_over_days_and_the_wait_only_hazard_leans_on_it_with_five_events():
    # Eight lines of 2 quiet days and one that goes at the end of its second: 18 days at risk, one event.
    lines = [(str(k), "2011-01-03", 2.0, None, 0.0) for k in range(8)]
    past = stretches(*lines, ("gone", "2011-01-03", 1.5, "customer", 1.0))
    row = past.iloc[:1]
    rate = 1 / 18
    assert retail.constant(past)(row, two_days([1, 2])) == pytest.approx([rate, rate])
    # The first day of the wait at which anybody was seen has no event in 9 days, the second one in 9.
    leaning = [(gone + 5) / (9 + 5 / rate) for gone in (0, 1)]
    assert retail.by_wait(past)(row, two_days([1, 2])) == pytest.approx(leaning)


def test_ways_learn_from_nothing_within_the_gap_and_are_judged_on_the_weeks_from_the_cut_off_on(monkeypatch):
    cutoff, gap = pd.Timestamp("2011-03-01"), pd.Timedelta(days=retail.GAP_DAYS)
    samples = stretches(
        ("past", "2011-01-25", 8.0, "customer", 1.0),
        ("in the gap", "2011-02-10", 3.0, "customer", 1.0),
        ("waits already", "2011-02-27", 2.0, None, 0.0),
        ("waits already", "2011-03-01", 3.0, None, 0.0),
        ("later", "2011-03-02", 2.5, "customer", 0.5),
        ("after the weeks", cutoff + pd.Timedelta(days=retail.JUDGED_DAYS), 3.0, None, 0.0),
    )
    learned = []

    def way(past):
        learned.append(past)
        return lambda rows, days: np.full(len(days.sample), 0.1)

    monkeypatch.setattr(retail, "WAYS", {retail.OURS: way})
    judged = retail.judged_at(samples, cutoff)
    (past,) = learned
    assert past["order_line_id"].tolist() == ["past"]
    # That it was cancelled on 2 February was not known on 30 January.
    assert past["ended_by"].isna().all()
    assert (past["cutoff_on"] + pd.to_timedelta(past["at_risk_days"], unit="D") <= cutoff - gap).all()
    # 3 days of the one; 2 days, half a line that went and half that stayed on the third, of the other.
    assert judged.weight.sum() == pytest.approx(6)
    assert judged.weight[judged.is_later].sum() == pytest.approx(3)
    assert (judged.event * judged.weight).sum() == pytest.approx(0.5)


def line_days(event, customer=None, weight=None, **chance):
    n = len(event)
    names = np.array(customer if customer is not None else [str(k) for k in range(n)])
    weights = np.ones(n) if weight is None else np.array(weight, dtype=float)
    chances = {way: np.broadcast_to(np.asarray(p, dtype=float), n) for way, p in chance.items()}
    return Judged(np.array(event, dtype=float), weights, names, np.arange(n) % 2 == 1, chances)


def test_log_loss_is_told_per_thousand_line_days_and_a_difference_is_that_of_the_two():
    judged = line_days([1, 0, 0], weight=[0.5, 0.5, 2], a=0.5, b=0.1)
    a, b = 1000 * np.log(2), 1000 * -(0.5 * np.log(0.1) + 2.5 * np.log(0.9)) / 3
    assert log_loss(judged, "a")[0] == pytest.approx(a)
    assert log_loss(judged, "b")[0] == pytest.approx(b)
    assert less_lost(judged, "b", "a")[0] == pytest.approx(a - b)
    assert less_lost(judged, "a", "a") == (0.0, 0.0, 0.0)


def test_observed_over_expected_counts_parts_as_parts():
    judged = line_days([1, 0, 0, 0], weight=[0.5, 0.5, 1, 2], a=0.25)
    assert observed_over_expected(judged, "a")[0] == pytest.approx(0.5)


def test_days_of_one_customer_say_no_more_than_the_customer():
    draw = np.random.default_rng(3)
    few = draw.random(40) < 0.3
    many = np.repeat(few, 50)
    owner = np.repeat(np.arange(40).astype(str), 50)
    alone = ratio(few * 1.0, np.ones(40), np.arange(40).astype(str))
    assert ratio(many * 1.0, np.ones(2000), owner) == pytest.approx(alone)
    _, low, high = ratio(many * 1.0, np.ones(2000), np.arange(2000).astype(str))
    assert high - low < 0.3 * (alone[2] - alone[1])


def test_lift_is_one_for_one_hazard_and_whole_when_the_top_tenth_holds_all():
    event = np.zeros(100)
    event[:10] = 1
    judged = line_days(event, same=0.1, best=np.where(event, 0.9, 0.1), worst=np.where(event, 0.1, 0.9))
    assert lift(judged, "same")[0] == pytest.approx(1)
    assert lift(judged, "best")[0] == pytest.approx(10)
    assert lift(judged, "worst")[0] == pytest.approx(0)
    assert auc(judged, "best")[0] == 1
    assert auc(judged, "same")[0] == 0.5


def test_the_top_share_has_its_weight_whatever_the_ties():
    draw = np.random.default_rng(1)
    weight = draw.random(300)
    for chance in (draw.random(300), draw.integers(0, 3, 300) / 3, np.zeros(300)):
        taken = share_in_top(chance, weight, 0.1)
        assert (taken * weight).sum() == pytest.approx(0.1 * weight.sum())
        assert taken.min() >= 0
        assert taken.max() <= 1 + 1e-12


def test_the_slope_of_true_log_odds_doubled_is_a_half_and_its_interval_covers_as_often_as_it_says():
    truth = np.repeat([0.05, 0.1, 0.2, 0.4], 250)
    log_odds = np.log(truth / (1 - truth))
    hits = 0
    for seed in range(60):
        event = np.random.default_rng(seed).random(len(truth)) < truth
        value, low, high = slope(line_days(event, twice=1 / (1 + np.exp(-2 * log_odds))), "twice")
        assert value == pytest.approx((low + high) / 2)
        hits += low <= 0.5 <= high
    assert 52 <= hits <= 60  # 95 % of 60 is 57; fewer than 52 has a chance of 1 in 150
    assert np.isnan(slope(line_days([1, 0], one=0.2), "one")).all()


def test_a_section_names_every_peer_and_its_goals_ask_for_whole_intervals():
    event = np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 60)
    good = np.where(event == 1, 0.5, 0.05)
    peers = dict.fromkeys(retail.PEERS, 0.1) | {retail.CLOSED: good}
    judged = line_days(event, **peers, **{retail.OURS: good})
    rows = {row.figure: row for row in retail.section("then", judged)}
    saved = {peer: rows[f"then: log-loss saved against {peer}"] for peer in retail.PEERS}
    assert all(row.must_hold == "interval" and row.peer == peer for peer, row in saved.items())
    assert saved[retail.CONSTANT].met is True
    assert saved[retail.CLOSED].value == 0
    assert rows["then: observed / expected, from below"].goal == 0.9
    assert rows["then: observed / expected, from above"].met is True
    assert rows["then, later lines: line-days"].value == 300
    json.dumps([row.row() for row in rows.values()], allow_nan=False)


def test_without_the_data_it_says_so_and_measures_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(retail, "RETAIL", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["cancellation_online_retail.py", "--quick"])
    retail.main()
    said = capsys.readouterr().out
    assert "$ONLINE_RETAIL_II" in said
    assert "nothing was measured" in said
