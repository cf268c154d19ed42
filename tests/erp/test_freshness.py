import json
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from erp.contract import ContractError
from erp.freshness import lost_rows, read_extract
from erp.known import LastRun, check, gather
from erp.settings import Site
from tests.erp.small_company import Company, T, add, small_site, small_tables, version, write_tables

DAILY = {
    "shipments": "shipped_at",
    "cancellations": "cancelled_at",
    "stock": "snapshot_at",
    "order_lines": "ordered_at",
}


def daily_tables(until=datetime(2024, 3, 14, 20)):
    """A company in which something of every kind happens once a day for 30 days, lastly at `until`."""
    tables = small_tables()
    moments = [pd.Timestamp(until) - timedelta(days=day) for day in range(30)]
    lines = tables["order_lines"].iloc[[5] * 30].assign(ordered_at=moments, order_line_id=[f"D{i}" for i in range(30)])
    tables["order_lines"] = lines.assign(quantity=3.0)
    for name, time in list(DAILY.items())[:2]:
        ids = {"order_line_id": list(lines["order_line_id"]), "event_id": [f"{name}{i}" for i in range(30)]}
        tables[name] = tables[name].iloc[[0] * 30].assign(**ids, quantity=1.0, **{time: moments})
    tables["stock"] = tables["stock"].iloc[[0] * 30].assign(snapshot_at=moments)
    for name in ("receipts", "reservations", "promises", "returns", "overrides", "purchase_orders"):
        del tables[name]
    return tables


def cut(tables, name, days):
    """Drop what the last `days` days brought."""
    times = tables[name][DAILY[name]]
    tables[name] = tables[name][times <= times.max() - timedelta(days=days)]
    return tables


@pytest.fixture
def judged(tmp_path):
    def judge(tables, extract=None, last=None, **given):
        folder = write_tables(tables, tmp_path / "data")
        if extract is not None:
            (folder / "extract.json").write_text(json.dumps(extract))
        return check(small_site(folder, **({"max_lag_hours": 36, "tolerated_share": 0.01} | given)), T, last)

    return judge


def test_fresh_tables_stop_nothing(judged):
    assert judged(daily_tables()).stops == []


@pytest.mark.parametrize("name", ["shipments", "cancellations", "stock"])
def test_a_table_may_trail_by_max_lag_and_its_own_longest_usual_gap(judged, name):
    # Once a day, so 36 + 24 hours are usual: two days (48 hours) pass, three (72) do not.
    assert judged(cut(daily_tables(), name, 2)).stops == []
    (stop,) = judged(cut(daily_tables(), name, 3)).stops
    assert stop.startswith(
        f"the newest row of {name} is from 2024-03-11 20:00, 72 hours before the newest order line; 60"
    )
    assert judged(cut(daily_tables(), name, 3), max_lag_hours=48).stops == []


def test_a_table_counted_once_a_week_is_not_late_after_a_week(judged):
    tables = daily_tables()
    tables["stock"] = tables["stock"].iloc[6::7]
    assert judged(tables).stops == []


def weekday_shipper(per_day):
    """Thirteen weeks from a Monday on: orders round the clock, each shipped on the next working day from 8 to 16 h."""
    rng = np.random.default_rng(per_day)
    seconds = np.sort(rng.integers(0, 91 * 86400, 91 * per_day))
    ordered_at = pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, "s")
    day = ordered_at.normalize() + pd.Timedelta(days=1)
    day += pd.to_timedelta(np.select([day.day_of_week == 5, day.day_of_week == 6], [2, 1], 0), "D")
    tables = daily_tables()
    lines = tables["order_lines"].iloc[[0] * len(day)].assign(ordered_at=ordered_at, requested_on=None)
    tables["order_lines"] = lines.assign(order_line_id=[f"D{i}" for i in range(len(day))])
    tables["shipments"] = pd.DataFrame(
        {
            "order_line_id": list(tables["order_lines"]["order_line_id"]),
            "shipped_at": day + pd.to_timedelta(rng.integers(8 * 3600, 16 * 3600, len(day)), "s"),
            "quantity": 3.0,
            "event_id": [f"S{i}" for i in range(len(day))],
        }
    )
    tables["cancellations"] = tables["cancellations"].iloc[:0]
    counts = pd.date_range("2024-01-01 04:00", "2024-04-01 04:00")
    tables["stock"] = tables["stock"].iloc[[0] * len(counts)].assign(snapshot_at=counts)
    return tables


@pytest.mark.parametrize("per_day", [2, 20, 200])
def test_a_weekend_without_shipments_is_usual_however_many_ship_on_a_weekday(tmp_path, per_day):
    tables = weekday_shipper(per_day)
    folder = write_tables(tables, tmp_path)
    friday, monday = datetime(2024, 3, 29, 5), datetime(2024, 4, 1, 5)
    for morning in (friday, monday):
        assert check(small_site(folder, max_lag_hours=36), morning).stops == []
    shipped_at = tables["shipments"]["shipped_at"]
    # Nothing since Friday the 22nd: at the Monday ten days later that is a week more than the usual weekend.
    tables["shipments"] = tables["shipments"][shipped_at < pd.Timestamp("2024-03-23")]
    (stop,) = check(small_site(write_tables(tables, tmp_path), max_lag_hours=36), monday).stops
    assert stop.startswith("the newest row of shipments is from 2024-03-22")


def test_a_gap_counts_with_its_length(judged):
    # 29 gaps of a day: one more of 6 hours is 0.9 % of the time, one of 3 days 9 %.
    for hours, usual in ((6, 24), (72, 72)):
        tables = daily_tables()
        first = tables["shipments"]["shipped_at"].min() - timedelta(hours=hours)
        add(tables, "order_lines", order_line_id="old", ordered_at=first - timedelta(days=1))
        add(tables, "shipments", order_line_id="old", shipped_at=first, event_id="old")
        (stop,) = judged(cut(tables, "shipments", 9)).stops
        assert f"{36 + usual} are usual" in stop


def test_a_lagging_table_that_hides_no_shipment_is_only_said(judged):
    tables = daily_tables()
    tables["purchase_orders"] = small_tables()["purchase_orders"].iloc[:1].drop(columns="for_order_line_id")
    tables["receipts"] = small_tables()["receipts"].assign(received_at=pd.Timestamp("2024-03-02 07:00"))
    findings = judged(tables)
    assert findings.stops == []
    assert any(note.startswith("the newest row of receipts is from 2024-03-02 07:00") for note in findings.notes)


def test_day_only_shipments_reach_to_the_end_of_their_day(judged):
    tables = cut(
        daily_tables(), "shipments", 2
    )  # their newest day is 12 March, which ends 44 hours before the newest order
    tables["shipments"]["shipped_at"] = tables["shipments"]["shipped_at"].dt.normalize()
    assert judged(tables).stops == []
    assert judged(tables, max_lag_hours=19).stops != []  # 19 + 24 < 44


def test_a_bad_row_after_t_makes_no_table_fresh(judged):
    tables = cut(daily_tables(), "shipments", 5)
    add(tables, "shipments", shipped_at=T + timedelta(hours=1), event_id="later")
    assert len(judged(tables).stops) == 1


def test_empty_shipments_are_not_believed_unless_the_extract_says_so(judged):
    tables = daily_tables()
    tables["shipments"] = tables["shipments"].iloc[:0]
    tables["cancellations"] = tables["cancellations"].iloc[:2]
    assert judged(tables, max_lag_hours=24.0 * 60).stops == []
    (stop,) = judged(tables).stops
    assert stop.startswith("shipments is empty while 28 order lines since 2024-02-14 are neither shipped nor cancelled")
    assert judged(tables, {"tables": {"shipments": {"complete_to": "2024-03-15T04:00:00Z"}}}).stops == []


# --- extract.json -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda tables: {"tables": tables}, lambda tables: tables])
def test_the_extract_decides_where_it_speaks(judged, wrap):
    stale = cut(daily_tables(), "shipments", 9)
    fresh = {"shipments": {"covers_from": None, "complete_to": "2024-03-15T02:00:00+01:00"}}
    assert judged(stale, {"taken_at": "2024-03-15T04:00:00Z"} | wrap(fresh)).stops == []
    late = {"shipments": {"complete_to": "2024-03-13T04:00:00Z"}}
    (stop,) = judged(daily_tables(), {"taken_at": "2024-03-15T04:00:00Z"} | wrap(late)).stops
    assert stop.startswith("shipments is complete only to 2024-03-13 04:00 (extract.json), 49 hours before T")
    assert "more than max_lag_hours = 36" in stop


def test_a_table_the_extract_names_without_a_time_is_complete_when_it_was_taken(tmp_path):
    (tmp_path / "extract.json").write_text(json.dumps({"taken_at": "2024-03-15T04:00:00Z", "tables": {"stock": {}}}))
    assert read_extract(tmp_path / "extract.json") == {"stock": {"complete_to": datetime(2024, 3, 15, 4)}}


def test_without_an_extract_nothing_is_said(tmp_path):
    assert read_extract(tmp_path / "extract.json") == {}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"stock": {"complete_to": "yesterday"}}', '{"stock": {"complete_to": 5}}']
)
def test_an_extract_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "extract.json").write_text(text)
    with pytest.raises(ContractError, match="extract.json cannot be read: .*; it holds taken_at and, per table"):
        read_extract(tmp_path / "extract.json")


# --- lost rows --------------------------------------------------------------------------------------------------------

YESTERDAY, TODAY = datetime(2024, 3, 14, 5), datetime(2024, 3, 15, 5)
DAYS = {f"2024-03-{day:02}": 10 for day in range(1, 14)}


def test_a_fifth_of_the_rows_may_go_and_no_more():
    last = {"shipments": {"2024-03-01": 100}}
    assert lost_rows({"shipments": {"2024-03-01": 80}}, last, YESTERDAY, TODAY, Site(), {}) == []
    assert lost_rows({"shipments": {"2024-03-01": 79}}, last, YESTERDAY, TODAY, Site(), {}) == [
        "shipments lost 21 of the 100 rows that it had before 2024-03-14 in the last run (21%, tolerated 20%);"
        " extract it again"
    ]


def test_new_rows_do_not_hide_lost_ones():
    now = {"shipments": {"2024-03-01": 10, "2024-03-14": 500}}
    assert len(lost_rows(now, {"shipments": DAYS}, YESTERDAY, TODAY, Site(), {})) == 1


def test_a_run_for_an_earlier_moment_compares_only_what_was_known_then():
    now = {"shipments": {day: n for day, n in DAYS.items() if day < "2024-03-05"}}
    assert lost_rows(now, {"shipments": DAYS}, TODAY, datetime(2024, 3, 5, 5), Site(), {}) == []


def test_a_table_that_is_gone_lost_all_its_rows(tmp_path):
    site = small_site(write_tables(daily_tables(), tmp_path / "data"))
    (tmp_path / "facts").mkdir()
    gather(tmp_path / "facts", site, T)
    counts = json.loads((tmp_path / "facts" / "day_counts.json").read_text())
    (tmp_path / "data" / "suppliers.parquet").unlink()
    tables = daily_tables()
    tables["shipments"] = tables["shipments"].iloc[:3]
    del tables["suppliers"]
    write_tables(tables, tmp_path / "data")
    stops = check(site, T + timedelta(days=1), LastRun(T, counts)).stops
    assert [stop.split(" (")[0] for stop in stops] == [
        "shipments lost 27 of the 30 rows that it had before 2024-03-15 in the last run",
        "suppliers lost 1 of the 1 rows that it had before 2024-03-15 in the last run",
    ]


@pytest.mark.parametrize("name", ["reservations", "overrides"])
def test_what_only_stands_today_may_go(name):
    assert lost_rows({name: {}}, {name: {"2024-03-01": 100}}, YESTERDAY, TODAY, Site(), {}) == []


def counted_pools(days, n_pools):
    """Each of the pools counted at 04:00 of each of these days in March."""
    tables = daily_tables()
    tables["stock"] = pd.DataFrame(
        [(pd.Timestamp(2024, 3, d, 4), "P1", 5.0, f"W{i}") for d in days for i in range(n_pools)],
        columns=["snapshot_at", "product_id", "on_hand", "warehouse_id"],
    )
    return tables


@pytest.mark.parametrize(
    ("then", "now", "n_left", "stops"),
    [
        ([15], [16], 10, 0),  # the latest count only: it replaces yesterday's
        ([15], [16], 5, 1),  # half of it is gone
        ([15], [16], 8, 0),  # a fifth may go
        (range(1, 16), [16], 10, 0),  # one count a day, then the latest only: the pools are all there
        (range(1, 16), range(1, 17), 5, 1),
        (range(1, 16), range(1, 8), 10, 0),  # older than T; that stock lags is for its dates to say
    ],
)
def test_stock_is_compared_by_what_was_counted_not_by_how_often(tmp_path, then, now, n_left, stops):
    company = Company(tmp_path)
    last = LastRun(T, company.facts(counted_pools(then, 10)).day_counts)
    site = small_site(write_tables(counted_pools(now, n_left), tmp_path / "now"))
    found = check(site, T + timedelta(days=1), last).stops
    assert len(found) == stops
    for stop in found:
        assert stop.startswith("stock lost 5 of the 10 products and warehouses counted that it had before 2024-03-15")


def test_a_run_for_an_earlier_moment_misses_no_pool_counted_since():
    last = {"stock": {"2024-03-01": 2, "2024-03-15": 90}}
    assert lost_rows({"stock": {"2024-03-01": 2}}, last, TODAY, datetime(2024, 3, 5, 5), Site(), {}) == []


def test_a_window_that_the_extract_declares_is_no_loss():
    last = {"shipments": DAYS}
    rolled = {"shipments": {day: n for day, n in DAYS.items() if day >= "2024-03-08"}}
    extract = {"shipments": {"covers_from": datetime(2024, 3, 8)}}
    assert len(lost_rows(rolled, last, YESTERDAY, TODAY, Site(), {})) == 1
    assert lost_rows(rolled, last, YESTERDAY, TODAY, Site(), extract) == []
    half = {"shipments": {day: n // 2 for day, n in rolled["shipments"].items()}}
    # The window's first day may be covered in part and counts on neither side: 9 to 13 March are five days of ten rows.
    (stop,) = lost_rows(half, last, YESTERDAY, TODAY, Site(), extract)
    assert stop.startswith("shipments lost 25 of the 50 rows")


def test_the_extract_of_today_says_what_its_tables_cover(judged):
    last = LastRun(T - timedelta(days=1), {"shipments": {f"2024-02-{day:02}": 9 for day in range(1, 29)}})
    window = {"shipments": {"covers_from": "2024-03-01T00:00:00Z"}}
    assert len(judged(daily_tables(), last=last).stops) == 1
    assert judged(daily_tables(), window, last).stops == []


def test_old_stock_is_said(tmp_path):
    tables = small_tables()
    notes = check(small_site(write_tables(tables, tmp_path)), T).notes
    assert (
        "the stock of 3 products and warehouses was counted more than 3 days ago, oldest 2024-03-04 04:00:00" in notes
    )


def test_what_is_switched_off_is_said(tmp_path):
    tables = small_tables()
    del tables["promises"]
    tables["order_lines"] = tables["order_lines"].drop(columns="may_split")
    tables["returns"] = tables["returns"].iloc[:0]
    notes = check(small_site(write_tables(tables, tmp_path)), T).notes
    assert "promises is missing: dates told after the order are unknown" in notes
    assert "order_lines.may_split is missing: every line ships whole" in notes
    assert "returns is empty: every shipped unit is taken as kept" in notes
    assert not any(note.startswith("receipts") for note in notes)


def test_counts_do_not_depend_on_what_comes_later(tmp_path):
    company = Company(tmp_path)
    tables = small_tables()
    counts = company.facts(tables).day_counts
    add(tables, "shipments", shipped_at="2024-03-15 06:00", event_id="later")
    version(tables, "order_lines", "L1", "2024-03-15 06:00", quantity=1.0)
    assert company.facts(tables).day_counts == counts
