from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from features.feature_tables import build
from models.arrival_report import as_told_on
from tests.erp.small_company import Company
from tests.features.grown_company import T, grown_tables

PAST = datetime(2023, 11, 20, 5)


@pytest.fixture(scope="module")
def tables():
    """The grown company with its inbound lines' dates moved now and then and most of its goods in two parts."""
    draw, tables = np.random.default_rng(8), grown_tables(seed=6)
    orders, receipts = tables["purchase_orders"], tables["receipts"]
    noon = pd.Timedelta(hours=12)  # the same day in any zone of Europe
    orders = orders.assign(ordered_at=orders["ordered_at"].dt.normalize() + noon)
    told = [orders.assign(recorded_at=orders["ordered_at"])]
    for nth in (1, 2):
        moved = orders[draw.random(len(orders)) < 0.5]
        moved = moved.assign(
            recorded_at=moved["ordered_at"] + pd.to_timedelta(draw.integers(1, 15, len(moved)) * nth, "D")
        )
        later = pd.to_datetime(moved["expected_on"]) + pd.to_timedelta(draw.integers(1, 20, len(moved)), "D")
        told.append(moved.assign(expected_on=later.dt.date))
    receipts = receipts.assign(received_at=receipts["received_at"].dt.normalize() + noon)
    second = receipts[draw.random(len(receipts)) < 0.6]
    receipts.loc[second.index, "quantity"] /= 2
    days = pd.to_timedelta(draw.integers(0, 20, len(second)), "D")
    second = second.assign(
        quantity=second["quantity"] / 2, received_at=second["received_at"] + days, event_id=second["event_id"] + "b"
    )
    told, came = pd.concat(told, ignore_index=True), pd.concat([receipts, second], ignore_index=True)
    came = came[came["received_at"] < pd.Timestamp(T)]
    return tables | {"purchase_orders": told[told["recorded_at"] < pd.Timestamp(T)], "receipts": came}


@pytest.fixture(scope="module")
def facts(tables, tmp_path_factory):
    return Company(tmp_path_factory.mktemp("inbound")).facts(tables, T)


@pytest.fixture(scope="module")
def inbound(facts):
    with facts.connect() as connection:
        return build(connection, facts, T, "inbound_dates")


def test_a_date_ten_years_off_is_none(tables, tmp_path):
    orders = tables["purchase_orders"]
    names = orders["po_line_id"].unique()[:2]
    for name, on in zip(names, (date(9999, 12, 31), date(1, 1, 1)), strict=True):
        orders = orders.assign(expected_on=orders["expected_on"].mask(orders["po_line_id"] == name, on))
    facts = Company(tmp_path).facts(tables | {"purchase_orders": orders}, T)
    with facts.connect() as connection:
        told = build(connection, facts, T, "inbound_dates").set_index("po_line_id")["expected_on"]
    assert told[names].isna().all()
    assert told.drop(names).notna().all()


def test_every_day_that_goods_came_stands_once_under_the_date_that_stood_then(inbound, tables):
    told, came = tables["purchase_orders"], tables["receipts"]
    n_parts = 0
    for name, rows in inbound.groupby("po_line_id"):
        dates = told[told["po_line_id"] == name].sort_values(["recorded_at", "expected_on"])
        told_on = dates["recorded_at"].dt.normalize().to_numpy()
        parts = came[came["po_line_id"] == name].assign(on=lambda part: part["received_at"].dt.normalize())
        parts = parts.groupby("on")["quantity"].sum()
        got = rows[rows["received_on"].notna()].set_index("received_on")
        assert got["part_quantity"].to_dict() == pytest.approx(parts.to_dict())
        for on, row in got.iterrows():
            assert row["told_on"] == max([day for day in told_on if day <= on], default=told_on[0])
        assert set(rows["told_on"]) == set(pd.to_datetime(told_on))
        assert (rows["received_quantity"] == parts.sum()).all()
        last = rows[rows["is_latest"]]
        assert len(last) == 1
        assert last["told_on"].item() == told_on[-1]
        assert last["expected_on"].item() == pd.Timestamp(dates["expected_on"].iloc[-1])
        n_parts += len(parts)
    assert n_parts > inbound["po_line_id"].nunique()


def test_todays_table_taken_back_to_a_past_day_is_the_table_of_that_day(inbound, facts):
    with facts.connect() as connection:
        then = build(connection, facts, PAST, "inbound_dates")
    day = pd.Timestamp(PAST).normalize()
    keys = ["po_line_id", "told_on", "expected_on", "received_on"]
    back, then = (frame.sort_values(keys, ignore_index=True) for frame in (as_told_on(inbound, day), then))
    assert len(then) > 50
    assert then["received_on"].notna().sum() > 20
    pd.testing.assert_frame_equal(back[then.columns.tolist()], then)
