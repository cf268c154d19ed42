import numpy as np
import pandas as pd
import pytest

from models import arrival_report
from models.arrival import fit
from models.arrival_report import evaluate


@pytest.fixture(scope="module")
def inbound(make_inbound):
    return make_inbound(6000, mean_delay_days=8)


@pytest.fixture(scope="module")
def rows(inbound, today):
    return arrival_report._judged(inbound, today, 120, seed=0)


def test_past_days_confirm_the_intervals_and_beat_the_suppliers_dates(inbound, today):
    report = evaluate(inbound, today)
    assert report.metrics["coverage_90"] == pytest.approx(report.metrics["coverage_90_expected"], abs=0.04)
    assert report.metrics["coverage_50"] == pytest.approx(report.metrics["coverage_50_expected"], abs=0.05)
    assert 0.88 <= report.metrics["met_by_90_date"] <= 0.95
    assert report.metrics["pinball_saved_share_low"] > 0
    assert set(report.figures) == {
        "calibration",
        "promised_against_actual",
        "coverage_over_time",
        "widest_suppliers",
    }
    times = report.figures["coverage_over_time"].axes[0]
    assert len(times.lines[1].get_xdata()) == report.params["n_past_days"] == 10


def test_three_models_are_learned_and_none_knows_a_morning_it_foresees(inbound, today, monkeypatch):
    told_until, days = [], []

    def spied(known, day, seed):
        told_until.append(max(known["told_on"].max(), known["received_on"].max()))
        days.append(day)
        return fit(known, day, seed)

    monkeypatch.setattr(arrival_report, "fit", spied)
    rows = arrival_report._judged(inbound, today, 60, seed=0)
    assert len(days) == 3
    assert all(until < day for until, day in zip(told_until, days, strict=True))
    assert set(rows["learned_on"]) == set(days)
    age = (rows["morning"] - rows["learned_on"]).dt.days
    assert age.between(0, 45).all()
    assert rows["morning"].max() < today - pd.Timedelta(days=14)


def test_what_a_row_says_is_what_the_table_says_came(inbound, rows, today):
    assert 0 < rows["came"].mean() < 1
    received = inbound.groupby("po_line_id")["received_on"].agg(list)
    for row in rows.sample(60, random_state=1).itertuples():
        later = [day for day in received[row.po_line_id] if day >= row.morning and day < today]
        assert row.came == bool(later)
        end = min(later) if later else today
        assert row.outcome_days == max((end - row.morning).days, 1)
        assert row.in_90 == (row.came and row.low_90 <= row.outcome_days <= row.high_90)
        assert row.met_90 <= row.came


def test_only_90_dates_that_have_passed_are_counted_as_met_or_not(rows, today):
    """Those still ahead are met already or not known: to count the known ones alone would look too good."""
    due = rows[rows["is_due_90"]]
    open_and_due = due[~due["came"]]
    assert not open_and_due["met_90"].any()
    ahead = rows[~rows["is_due_90"]]
    assert len(ahead) > 0
    assert ahead.loc[ahead["came"], "met_90"].mean() > due["met_90"].mean()


def test_the_widest_suppliers_come_first_with_the_lines_that_came(rows):
    figure = arrival_report._figures(rows, seed=0)["widest_suppliers"].axes[0]
    widths = np.array([bar.get_width() for bar in figure.patches])
    assert (np.diff(widths) <= 0).all()
    first = figure.get_yticklabels()[0].get_text()
    name = first.split(" (")[0]
    mine = rows[rows["supplier"] == name]
    assert widths[0] == pytest.approx((mine["high_90"] - mine["low_90"]).mean())
    assert first == f"{name} ({mine.loc[mine['came'], 'po_line_id'].nunique():,} came)"


def test_a_history_of_nothing_or_of_a_month_is_not_judged(inbound, today):
    for table in (inbound.iloc[:0], inbound[inbound["told_on"] >= today - pd.Timedelta(days=30)]):
        assert "nothing was measured" in evaluate(table, today).notes[0]
