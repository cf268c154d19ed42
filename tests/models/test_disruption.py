from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from erp.simulated_tables import tables_of
from erp.simulator import CompanyShape, simulate
from models.disruption import disrupted

TODAY = pd.Timestamp("2026-03-02")


def _orders(due_days_ago, begun_days_ago, supplier="S1", ordered_days_ago=None) -> pd.DataFrame:
    """Orders due so many days ago (negative: ahead); begun so many days ago, NaN: not yet."""
    due_days_ago, begun_days_ago = np.broadcast_arrays(np.asarray(due_days_ago, dtype=float), begun_days_ago)
    ordered = due_days_ago + 40 if ordered_days_ago is None else np.full(len(due_days_ago), ordered_days_ago)
    days = {"ordered_on": ordered, "told_on": ordered, "expected_on": due_days_ago, "first_received_on": begun_days_ago}
    frame = pd.DataFrame({name: TODAY - pd.to_timedelta(ago, unit="D") for name, ago in days.items()})
    frame["po_line_id"] = [f"{supplier} {i:04d}" for i in range(len(frame))]
    return frame.assign(supplier_id=supplier, received_on=frame["first_received_on"])


def _history(last_days_ago=20, gap_days=3, n=100, supplier="S1") -> pd.DataFrame:
    """An order begun every so many days, each on the day it was due."""
    ago = last_days_ago + gap_days * np.arange(n)
    return _orders(ago, ago, supplier).assign(po_line_id=[f"{supplier} past {i:04d}" for i in range(n)])


def _only(*parts: pd.DataFrame) -> pd.Series:
    rows = disrupted(pd.concat(parts, ignore_index=True), TODAY)
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_supplier_idle_for_longer_than_ever_while_several_orders_came_due_is_flagged():
    row = _only(_history(), _orders([15, 12, 9, 6, -5, -9, -20], np.nan))
    assert row["idle_days"] == 20
    assert row["usual_gap_days"] == 3
    assert row["n_open"] == 7
    assert row["n_due_since"] == 4
    assert row["overdue_share"] == pytest.approx(4 / 7)
    assert row["is_disrupted"]


@pytest.mark.parametrize(
    ("history", "due_days_ago"),
    [
        ({"last_days_ago": 3}, [15, 12, 9, 6]),  # it delivers: these are late for reasons of their own
        ({}, [15, 12, 9, -5]),  # three orders are not several
        ({}, [15, 12, 9, 6, *[-5] * 12]),  # a quarter is no good part
        ({}, [60, 50, 40, 30, -5]),  # long overdue, but it delivered others since they came due
        ({"gap_days": 30}, [15, 12, 9, 6]),  # 20 days without goods are usual there
    ],
)
def test_a_supplier_is_not_flagged_if_one_of_the_signs_is_missing(history, due_days_ago):
    assert not _only(_history(**history), _orders(due_days_ago, np.nan))["is_disrupted"]


def test_later_parts_of_an_order_and_new_dates_for_it_hide_no_stop():
    late = _orders([15, 12, 9, 6], np.nan)
    put_off = late.assign(told_on=TODAY - pd.Timedelta(days=5), expected_on=TODAY + pd.Timedelta(days=30))
    parts = _history(n=30).assign(received_on=TODAY - pd.Timedelta(days=2))
    row = _only(_history(), late, put_off, parts)
    assert row["idle_days"] == 20
    assert row["is_disrupted"]


def test_what_happens_today_is_not_known_this_morning():
    late = _orders([15, 12, 9, 6], np.nan)
    begins_today = late.assign(first_received_on=TODAY, received_on=TODAY)
    due_today = _orders([15, 12, 9, 0], np.nan)
    assert _only(_history(), begins_today)["is_disrupted"]
    assert not _only(_history(), due_today)["is_disrupted"]


def test_the_usual_gap_of_a_supplier_with_few_deliveries_leans_on_all_and_of_one_with_many_is_its_own():
    thin = _orders([200, 180], [200, 180], "thin")
    waiting = [_orders([5], np.nan, name) for name in ("S1", "slow", "thin", "new")]
    parts = [
        _history(),
        _history(gap_days=14, supplier="slow"),
        thin,
        *(w.assign(po_line_id=w["po_line_id"] + "w") for w in waiting),
    ]
    gaps = disrupted(pd.concat(parts), TODAY).set_index("supplier_id")["usual_gap_days"]
    every = np.r_[np.full(99, 3), np.full(99, 14), 20]
    assert gaps["S1"] < np.quantile(every, 0.95) == 14
    assert gaps["slow"] == 14
    assert 14 <= gaps["thin"] <= 20
    assert gaps["new"] == 14


def test_row_order_does_not_matter_and_nothing_open_gives_no_rows():
    known = pd.concat([_history(), _orders([15, 12, 9, 6], np.nan), _orders([3], np.nan, "S0")], ignore_index=True)
    rows = disrupted(known, TODAY)
    pd.testing.assert_frame_equal(disrupted(known.sample(frac=1, random_state=1), TODAY), rows)
    assert rows["supplier_id"].tolist() == ["S0", "S1"]
    assert rows["idle_days"].tolist() == [43, 20]  # S0 never delivered: since it was first asked to
    for none in (_history(), known.iloc[:0]):
        nothing = disrupted(none, TODAY)
        assert len(nothing) == 0
        assert nothing.columns.tolist() == rows.columns.tolist()


def test_most_stops_of_simulated_suppliers_are_flagged_within_weeks_and_hardly_anything_else_is():
    shape = CompanyShape(n_customers=1500, n_products=200, n_suppliers=20, n_days=600, seed=902)
    company = simulate(shape)
    dates, start = _first_dates(tables_of(company)), pd.Timestamp(shape.start_on)
    mornings = [disrupted(dates, start + pd.Timedelta(days=day)).assign(day=day) for day in range(300, shape.n_days, 3)]
    rows = pd.concat(mornings, ignore_index=True)
    number = rows["supplier_id"].str[1:].astype(int).to_numpy()
    starts, ends, day = company.spells.starts[number], company.spells.ends[number], rows["day"].to_numpy()[:, None]
    inside = (starts <= day) & (day <= ends + 6)  # goods held up by a stop come within 6 days of its end
    rows["stop"] = np.where(inside.any(axis=1), inside.argmax(axis=1), -1)
    rows["stopped_days"] = np.where(inside, day - starts, 0).sum(axis=1)
    whole = (company.spells.starts > 300) & (company.spells.ends < shape.n_days)
    flagged = rows[rows["is_disrupted"] & (rows["stop"] >= 0)].groupby(["supplier_id", "stop"])["stopped_days"].min()
    found = flagged[[whole[int(name[1:]), stop] for name, stop in flagged.index]]
    assert whole.sum() > 15
    assert len(found) >= 0.9 * whole.sum()
    assert found.median() < 18
    calm = rows[rows["stop"] < 0]
    assert calm["is_disrupted"].sum() <= 0.002 * len(calm)


def _first_dates(tables) -> pd.DataFrame:
    """Each inbound line's first date and the day its first goods came."""
    lines = tables["purchase_orders"].drop_duplicates("po_line_id").copy()
    lines["ordered_on"] = lines["told_on"] = pd.to_datetime(lines["ordered_at"]).dt.normalize()
    lines["expected_on"] = pd.to_datetime(lines["expected_on"])
    came = pd.to_datetime(tables["receipts"].groupby("po_line_id")["received_at"].min()).dt.normalize()
    return lines.assign(first_received_on=lines["po_line_id"].map(came))
