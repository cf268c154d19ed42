from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.feature_tables import build
from features.samples import account_samples, cancellation_samples, cutoffs
from tests.erp.small_company import Company, add, small_tables, version
from tests.features.cause_oracle import causes
from tests.features.grown_company import grown_tables

T = datetime(2024, 3, 15, 5)
AT_START = (
    "cutoff_on due_on waited_days days_late days_past_latest n_slips latest_promised_on promised_on open_quantity"
    " is_partly_shipped line_value line_margin"
).split()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


def early_tables():
    """The small company with everything ordered eight days sooner: L1, L2 on 22 February, L3 on the 25th."""
    tables = small_tables()
    tables["order_lines"]["ordered_at"] -= timedelta(days=8)
    tables["order_lines"]["requested_on"] = None
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    return tables


def stretches_of(company, tables, **given):
    """(days at risk, ended by, share cancelled) by start and line, of looks on 23 February, 1 and 8 March at 05:00."""
    rows = cancellation_samples(company.facts(tables, T, **({"reorder_days": 0} | given)), every_days=7, at_most=3)
    keys = zip(rows["cutoff_on"].dt.strftime("%m-%d"), rows["order_line_id"], strict=True)
    values = rows[["at_risk_days", "ended_by", "cancelled_share"]].astype(object)
    return dict(zip(keys, values.where(values.notna(), None).itertuples(index=False, name=None), strict=True))


def days(text):
    """Days from a look at 05:00 to "days hours" after it."""
    n_days, hours = text.split()
    return pytest.approx(int(n_days) + float(hours) / 24)


def test_cut_offs_go_back_from_t_in_equal_steps(company):
    facts = company.facts(small_tables(), T)
    assert cutoffs(facts, datetime(2024, 1, 1), 7, 3, 7) == [
        datetime(2024, 2, 23, 5),
        datetime(2024, 3, 1, 5),
        datetime(2024, 3, 8, 5),
    ]
    assert cutoffs(facts, datetime(2024, 3, 2), 7, 3, 7) == [datetime(2024, 3, 8, 5)]
    assert cutoffs(facts, datetime(2024, 3, 9), 7, 3, 7) == []


# --- stretches, by hand -----------------------------------------------------------------------------------------------


def test_a_stretch_ends_at_the_hour_at_which_its_line_leaves(company):
    rows = stretches_of(company, early_tables())
    assert rows["03-01", "L2"] == (days("1 10"), "shipment", 0)  # 2 March 15:00
    assert rows["03-01", "L3"] == (days("5 6"), "customer", 1)  # 6 March 11:00
    assert ("03-08", "L2") not in rows
    assert ("03-08", "L6") in rows
    assert ("02-23", "L6") not in rows


def test_a_part_shipped_and_a_date_told_begin_new_stretches_on_the_next_morning(company):
    tables = early_tables()
    tables["promises"].loc[0, "told_at"] = pd.Timestamp("2024-03-03 09:00")
    rows = {start: row for (start, line), row in stretches_of(company, tables).items() if line == "L1"}
    # Told on the 3rd, part shipped on the 5th: each counts from 05:00 of the next day on.
    assert rows == {
        "02-23": (7, None, 0),
        "03-01": (3, None, 0),
        "03-04": (2, None, 0),
        "03-06": (2, None, 0),
        "03-08": (7, None, 0),
    }


def test_a_new_stretch_tells_what_was_new(company):
    tables = early_tables()
    tables["promises"].loc[0, "told_at"] = pd.Timestamp("2024-03-03 09:00")
    frame = cancellation_samples(company.facts(tables, T, reorder_days=0), every_days=7, at_most=3)
    own = frame[frame["order_line_id"] == "L1"]
    # Promised for 8 March, then for the 18th; 4 of 10 shipped at 9 each, cost 6.
    assert list(own["n_slips"]) == [0, 0, 1, 1, 1]
    assert list(own["days_past_latest"]) == [-14, -7, -14, -12, -10]
    assert list(own["days_late"]) == [-14, -7, -4, -2, 0]
    assert list(own["waited_days"]) == [1, 8, 11, 13, 15]
    assert list(own["open_quantity"]) == [10, 10, 10, 6, 6]
    assert list(own["line_value"]) == [90, 90, 90, 54, 54]
    assert list(own["line_margin"]) == [30, 30, 30, 18, 18]
    assert list(own["is_partly_shipped"]) == [0, 0, 0, 1, 1]


def test_a_date_told_where_there_was_none_is_the_promise_from_the_next_morning_on(company):
    tables = early_tables()
    tables["order_lines"].loc[0, "promised_on"] = None
    frame = cancellation_samples(company.facts(tables, T, reorder_days=0), every_days=7, at_most=3)
    own = frame[frame["order_line_id"] == "L1"]
    # Told on 7 March: the stretches from 23 February, 1 and 6 March know of no date.
    assert list(own["promised_on"].isna()) == [True, True, True, False]
    assert own["latest_promised_on"].iloc[-1] == pd.Timestamp("2024-03-18")
    assert list(own["days_late"].fillna(99)) == [99, 99, 99, -10]
    assert list(own["n_slips"]) == [0, 0, 0, 0]


def test_the_date_told_with_the_order_told_again_begins_nothing(company):
    tables = early_tables()
    tables["promises"].loc[0, ["told_at", "promised_on"]] = [
        pd.Timestamp("2024-03-03 09:00"),
        pd.Timestamp("2024-03-08"),
    ]
    assert ("03-04", "L1") not in stretches_of(company, tables)


def test_a_part_cancelled_is_an_event_of_its_share_and_the_rest_waits_on(company):
    tables = early_tables()
    add(tables, "cancellations", order_line_id="L1", cancelled_at="2024-03-03 17:00", quantity=1.0, event_id="X2")
    add(tables, "cancellations", order_line_id="L1", cancelled_at="2024-03-03 19:00", quantity=1.5, event_id="X3")
    rows = stretches_of(company, tables)
    assert rows["03-01", "L1"] == (days("2 12"), "customer", 0.25)  # both within one bin of 24 hours
    assert rows["03-04", "L1"] == (2, None, 0)  # until part of it ships


@pytest.mark.parametrize("cause", ["seller", "change"])
def test_a_part_cancelled_by_others_than_the_customer_only_changes_the_line(company, cause):
    tables = early_tables()
    add(tables, "cancellations", order_line_id="L1", cancelled_at="2024-03-03 17:00", quantity=1.0, event_id="X2")
    tables["cancellations"].loc[1, "reason"] = "R9"
    rows = stretches_of(company, tables, cancel_reasons={"R9": cause})
    assert rows["03-01", "L1"] == (3, None, 0)
    assert rows["03-04", "L1"] == (2, None, 0)


@pytest.mark.parametrize("cause", ["seller", "change"])
def test_a_line_cancelled_by_others_than_the_customer_ends_without_an_event(company, cause):
    rows = stretches_of(company, early_tables(), cancel_reasons={"too late": cause})
    assert rows["03-01", "L3"] == (days("5 6"), cause, 0)


def test_an_event_known_by_its_day_alone_counts_half_of_the_day_in_which_that_day_ends(company):
    tables = early_tables()
    tables["cancellations"]["cancelled_at"] = pd.Timestamp("2024-03-06")
    # The 6th ends five hours before the look's time of day, in the sixth 24 hours after 1 March 05:00.
    assert stretches_of(company, tables)["03-01", "L3"] == (5.5, "customer", 1)


def test_an_event_on_the_very_morning_belongs_to_the_bin_before(company):
    tables = early_tables()
    tables["cancellations"]["cancelled_at"] = pd.Timestamp("2024-03-06 05:00")
    at_risk_days, ended_by, _ = stretches_of(company, tables)["03-01", "L3"]
    assert (np.floor(at_risk_days) + 1, ended_by) == (5, "customer")
    assert at_risk_days == pytest.approx(5)


def test_a_vanished_line_is_the_customers_cancellation(company):
    tables = early_tables()
    version(tables, "order_lines", "L1", "2024-03-09 09:00", is_deleted=True)
    assert stretches_of(company, tables)["03-08", "L1"] == (days("1 4"), "customer", 1)


def test_a_cancellation_recorded_late_counts_where_it_happened_and_nowhere_else(company):
    tables = early_tables()
    tables["cancellations"]["recorded_at"] = pd.Timestamp("2024-03-12 09:00")
    frame = cancellation_samples(company.facts(tables, T, reorder_days=0), every_days=1, at_most=9)
    own = frame[frame["order_line_id"] == "L3"].set_index("cutoff_on")
    # Looks on the 7th and 8th still saw it wait; watching ends on the 9th, as other labels may be as late.
    assert frame["cutoff_on"].max() == pd.Timestamp("2024-03-08")
    assert own.index.max() == pd.Timestamp("2024-03-06")
    assert own["at_risk_days"].iloc[-1] == days("0 6")
    assert list(own["ended_by"].dropna()) == ["customer"]


def test_lines_that_wait_when_the_first_look_comes_enter_with_the_days_they_have_waited(company):
    tables = early_tables()
    tables["order_lines"].loc[0, "ordered_at"] = pd.Timestamp("2023-11-25 10:00")
    tables["order_lines"].loc[0, "promised_on"] = None
    frame = cancellation_samples(company.facts(tables, T, reorder_days=0), every_days=7, at_most=3)
    first = frame[frame["order_line_id"] == "L1"].iloc[0]
    assert (first["cutoff_on"], first["waited_days"]) == (pd.Timestamp("2024-02-23"), 90)


def test_days_whose_labels_are_not_yet_complete_are_not_watched(company):
    tables = early_tables()
    for name, time in (("shipments", "shipped_at"), ("cancellations", "cancelled_at")):
        tables[name]["recorded_at"] = tables[name][time] + timedelta(hours=60)
    frame = cancellation_samples(company.facts(tables, T, reorder_days=0), every_days=7, at_most=3)
    # 60 hours are 3 days: watching ends on 12 March, and the looks go back from there.
    assert (frame["cutoff_on"] + pd.to_timedelta(frame["at_risk_days"], "D")).max() == pd.Timestamp("2024-03-12")


@pytest.mark.parametrize(("reorder_days", "last"), [(0, "03-15"), (7, "03-08"), (14, "03-01"), (400, "03-15")])
def test_watching_ends_where_a_cancellation_can_still_turn_out_a_change(company, reorder_days, last):
    facts = company.facts(early_tables(), T, reorder_days=reorder_days)
    frame = cancellation_samples(facts, every_days=7, at_most=3)
    ends = frame["cutoff_on"] + pd.to_timedelta(frame["at_risk_days"], "D")
    # A company too young for that (400 days) is watched to the end rather than not at all.
    assert ends.max().strftime("%m-%d") == last


def test_a_cancellation_becomes_a_change_once_the_order_that_came_instead_is_known(company):
    tables = early_tables()
    row = {"order_line_id": "L8", "order_id": "O8", "customer_id": "C2", "product_id": "P1", "quantity": 3.0}
    add(tables, "order_lines", **row, ordered_at="2024-03-11 10:00", requested_on=None)
    early = company.facts(tables, datetime(2024, 3, 10, 5), reorder_days=5)
    late = company.facts(tables, T, reorder_days=5)
    ended = []
    for facts in (early, late):
        with facts.connect() as connection:
            ended.append(build(connection, facts, facts.as_of, "known_lines").set_index("order_line_id").loc["L3"])
    assert [line["ended_by"] for line in ended] == ["customer", "change"]


# --- stretches, by law ------------------------------------------------------------------------------------------------


def recorded_late(tables, seed=1):
    """Events become known up to three days late; some lines change their price and quantity, or are held, meanwhile."""
    rng = np.random.default_rng(seed)
    times = {"shipments": "shipped_at", "cancellations": "cancelled_at", "promises": "told_at"}
    for name, time in times.items():
        lag = pd.to_timedelta(rng.integers(0, 3 * 24 * 60, len(tables[name])), "min")
        tables[name] = tables[name].assign(recorded_at=tables[name][time] + lag)
    lines = tables["order_lines"].assign(recorded_at=tables["order_lines"]["ordered_at"])
    dearer = lines.assign(
        unit_price=lines["unit_price"] + 1,
        quantity=lines["quantity"] + 2,
        recorded_at=lines["ordered_at"] + pd.to_timedelta(rng.integers(1, 60 * 24, len(lines)), "h"),
    )
    tables["order_lines"] = pd.concat([lines, dearer[rng.random(len(lines)) < 0.3]], ignore_index=True)
    held = lines[rng.random(len(lines)) < 0.3]
    tables["reservations"] = pd.DataFrame(
        {
            "order_line_id": held["order_line_id"],
            "quantity": 1.0,
            "is_firm": True,
            "recorded_at": held["ordered_at"] + pd.to_timedelta(rng.integers(1, 60 * 24, len(held)), "h"),
        }
    )
    return tables


@pytest.mark.parametrize("make", [lambda: grown_tables(seed=7), lambda: recorded_late(grown_tables(seed=7))])
def test_every_stretch_starts_with_what_its_morning_knew(company, make):
    facts = company.facts(make(), T)
    rows = cancellation_samples(facts, every_days=28, at_most=2)
    looks = {moment for moment in rows["cutoff_on"] if (moment - rows["cutoff_on"].min()).days % 28 == 0}
    assert len(looks) == 2
    assert rows["cutoff_on"].nunique() > 12
    with facts.connect() as connection:
        for on, own in rows.groupby("cutoff_on"):
            lines = build(connection, facts, on.to_pydatetime() + timedelta(hours=5), "backorder_lines")
            columns = list(lines.columns) if on in looks else ["order_line_id", *AT_START]
            then = lines[lines["order_line_id"].isin(own["order_line_id"])]
            pd.testing.assert_frame_equal(own[columns].reset_index(drop=True), then[columns].reset_index(drop=True))


def test_stretches_of_a_line_follow_one_another_and_end_as_its_events_say(company):
    tables = grown_tables(seed=7)
    rows = cancellation_samples(company.facts(tables, T), every_days=14, at_most=12)
    tables["cancellations"]["cause"] = causes(tables)
    given_up = tables["cancellations"][tables["cancellations"]["cause"] == "customer"]
    rows["start"] = rows["cutoff_on"] + pd.Timedelta(hours=5)
    rows["end"] = rows["start"] + pd.to_timedelta(rows["at_risk_days"], "D")
    for line, own in rows.groupby("order_line_id"):
        assert (own["start"].iloc[1:].to_numpy() >= own["end"].iloc[:-1].to_numpy()).all()
        events = given_up[given_up["order_line_id"] == line].set_index("cancelled_at")["quantity"]
        for row in own.itertuples():
            inside = events[(events.index > row.start) & (events.index <= row.end + pd.Timedelta(seconds=1))]
            assert (row.ended_by == "customer") == (len(inside) > 0)
            assert row.cancelled_share == pytest.approx(min(inside.sum() / row.open_quantity, 1.0))
            left = _left(tables, line, row.end + pd.Timedelta(seconds=1))
            assert row.ended_by == "customer" or (left <= 0) == (not pd.isna(row.ended_by))
    assert set(rows["ended_by"].dropna()) == {"customer", "change", "seller", "shipment"}
    assert rows["cancelled_share"].nunique() > 1
    assert not rows.duplicated(["order_line_id", "cutoff_on"]).any()


def _left(tables, line, moment):
    lines = tables["order_lines"].set_index("order_line_id")["quantity"]
    gone = sum(
        tables[name].loc[(tables[name]["order_line_id"] == line) & (tables[name][time] <= moment), "quantity"].sum()
        for name, time in (("shipments", "shipped_at"), ("cancellations", "cancelled_at"))
    )
    return lines[line] - gone


def test_a_line_and_a_day_name_one_stretch_also_when_clocks_are_put_back(company):
    tables = grown_tables(seed=7)
    lines = tables["order_lines"]
    # In Berlin the evenings of 28 and 29 October 2023, 22:30 UTC, are both on the 29th.
    told = [
        pd.DataFrame({"order_line_id": lines["order_line_id"], "told_at": at, "promised_on": at.date()})
        for at in pd.date_range("2023-10-25 12:00", "2023-11-02 12:00", freq="D")
    ]
    tables["promises"] = pd.concat(told, ignore_index=True).merge(lines[["order_line_id", "ordered_at"]])
    tables["promises"] = tables["promises"].query("told_at > ordered_at").drop(columns="ordered_at")
    facts = company.facts(tables, datetime(2024, 1, 15, 22, 30), timezone="Europe/Berlin")
    rows = cancellation_samples(facts, every_days=14)
    assert (rows["cutoff_on"] == pd.Timestamp("2023-10-29")).sum() > 5
    assert not rows.duplicated(["order_line_id", "cutoff_on"]).any()


def test_training_never_sees_a_label_from_after_t(company):
    tables = grown_tables(seed=7)
    early = cancellation_samples(company.facts(tables, T - timedelta(days=56)), every_days=14, at_most=3)
    late = cancellation_samples(company.facts(tables, T), every_days=14, at_most=7)
    both = early.merge(late, on=["cutoff_on", "order_line_id"], suffixes=("", "_late"))
    assert len(both) == len(early)
    pd.testing.assert_series_equal(both["at_risk_days"], both["at_risk_days_late"], check_names=False)
    assert list(both["ended_by"].fillna("")) == list(both["ended_by_late"].fillna(""))
    ends = early["cutoff_on"] + pd.to_timedelta(early["at_risk_days"], "D")
    assert ends.max() <= pd.Timestamp((T - timedelta(days=56 + 7)).date())
    assert late["cutoff_on"].max() > early["cutoff_on"].max()


def test_row_order_of_the_tables_does_not_matter(company):
    tables = grown_tables(seed=7)
    mixed = {name: table.sample(frac=1, random_state=3) for name, table in tables.items()}
    first, second = (cancellation_samples(company.facts(t, T), every_days=14, at_most=3) for t in (tables, mixed))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("build_samples", [cancellation_samples, account_samples])
def test_a_company_too_young_has_columns_and_no_rows(company, build_samples):
    tables = {name: table.iloc[:0] for name, table in small_tables().items()}
    rows = build_samples(company.facts(tables, T, kind="csv"))
    assert len(rows) == 0
    assert set(rows.columns) >= {"cutoff_on", "customer_id", "at_risk_days", "ended_by", "cancelled_share"} or set(
        rows.columns
    ) >= {"cutoff_on", "origin_on", "account_id", "next_margin", "next_amount", "next_n_orders", "horizon_days"}
