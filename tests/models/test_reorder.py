from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from erp.simulated_tables import tables_of
from erp.simulator import CompanyShape, initialize, step
from models import receipt_curves, reorder
from models.receipt_curves import NestedCurves, learn_counts
from models.reorder import ReorderModel, fresh_curves, learn_reorder
from models.reorder_report import fresh_metrics, judge

TODAY = pd.Timestamp("2026-03-02")


def _orders(days_ago, lead_days, product="K", warehouse="W", supplier="S1") -> pd.DataFrame:
    """Orders placed so many days ago, each received in whole after `lead_days` if that is before today."""
    days_ago, lead_days = np.broadcast_arrays(np.asarray(days_ago), lead_days)
    ordered = (TODAY - pd.to_timedelta(days_ago, unit="D")).as_unit("s")
    came = (ordered + pd.to_timedelta(lead_days, unit="D")).as_unit("s")
    frame = pd.DataFrame({"product_id": product, "warehouse_id": warehouse, "supplier_id": supplier}, range(len(came)))
    frame = frame.assign(ordered_on=ordered, first_received_on=came.where(came < TODAY), quantity=5.0)
    frame["received_on"], frame["part_quantity"] = frame["first_received_on"], np.where(came < TODAY, 5.0, np.nan)
    return frame.assign(po_line_id=[f"{product} {warehouse} {supplier} {i:05d}" for i in range(len(frame))])


def _pools(**columns) -> pd.DataFrame:
    usual = {"product_id": ["K"], "warehouse_id": "W", "supplier_id": "S1", "is_discontinued": False, "is_short": False}
    return pd.DataFrame({**usual, **columns})


def _chance_by_day(orders, n_days=60, **pools) -> np.ndarray:
    """Chance that goods come within u days but not within u - 1; (n_pools, n_days)."""
    return -np.diff(fresh_curves(learn_reorder(orders, TODAY), _pools(**pools), orders, TODAY, n_days), axis=1)


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """Orders of 30 products from three suppliers at any time; a product's goods take about its own number of days."""
    draw = np.random.default_rng(5)
    parts = [
        _orders(draw.integers(1, 700, 30), 10 + i + draw.integers(0, 5, 30), f"K{i:02d}", supplier=f"S{i % 3}")
        for i in range(30)
    ]
    return pd.concat(parts, ignore_index=True)


def test_hazards_of_groups_within_groups_equal_a_count_by_hand():
    draw = np.random.default_rng(1)
    wide, narrow = draw.choice(["a", "b"], 80).astype(object), draw.choice(["x", "y", "z"], 80).astype(object)
    last, came = draw.integers(0, 12, 80), draw.random(80) < 0.7
    weight = draw.integers(1, 9, 80) / 8
    levels = tuple(learn_counts(ids, np.zeros(80), last, came, 0, 30, weight) for ids in (wide, narrow))
    curves = NestedCurves(levels, (10.0, 3.0))
    got = np.exp(curves.log_not_yet([levels[0].place(["b"]), levels[1].place(["x"])], np.array([2]), 6))[0]
    stays, late_rate = (
        1.0,
        (weight[came & (last > 0)].sum() + 1)
        / (sum(weight[last >= day].sum() for day in range(1, 31)) + receipt_curves.TAIL_MEAN_DAYS),
    )
    for day in range(2, 9):
        events, at_risk = ([weight[own & (last == day) & came].sum(), weight[own & (last >= day)].sum()] for own in (
            np.ones(80, dtype=bool), wide == "b"
        ))  # fmt: skip
        hazard = (events[0] + late_rate) / (events[1] + 1)
        hazard = (at_risk[0] + 10 * hazard) / (at_risk[1] + 10)
        own = narrow == "x"
        hazard = (weight[own & (last == day) & came].sum() + 3 * hazard) / (weight[own & (last >= day)].sum() + 3)
        stays *= 1 - hazard
        assert got[day - 2] == pytest.approx(stays, rel=1e-12)


def test_a_short_pool_is_ordered_on_its_next_review_and_its_goods_take_their_lead_time_from_there():
    # Ordered every 14 days, last 5 days ago: reviewed in 9 days. Its goods take 10 days: here within 19 or, if it is
    # overlooked once, within 33.
    orders = _orders(5 + 14 * np.arange(40), 10)
    chance = _chance_by_day(orders, is_short=True)[0]
    assert chance[18] == pytest.approx(reorder.ORDERED_AT_REVIEW, abs=0.1)
    assert chance[32] == pytest.approx(0.1 * reorder.ORDERED_AT_REVIEW, abs=0.03)


def test_a_pool_with_goods_enough_is_ordered_as_rarely_as_ever():
    # Looked at every 7 days, ordered each time with chance .3: P(ordered on the k-th next review) = .3 * .7^(k - 1).
    draw = np.random.default_rng(2)
    reviews = 3 + 7 * np.arange(4000)
    orders = _orders(reviews[(draw.random(4000) < 0.3) | (np.arange(4000) == 0)], 10)
    chance = _chance_by_day(orders)[0]
    for k in (1, 2, 3, 4):
        assert chance[7 * k - 3 + 10 - 1] == pytest.approx(0.3 * 0.7 ** (k - 1), abs=0.05)
    short = _chance_by_day(orders, is_short=True)[0]
    assert short[7 - 3 + 10 - 1] > 0.75


def test_days_without_an_order_since_the_last_one_count():
    # Gaps are 10 or 50 days; 20 days after the last order only 50 is left.
    draw = np.random.default_rng(3)
    days_ago = 20 + np.r_[0, np.cumsum(draw.choice([10, 50], 200))]
    chance = _chance_by_day(_orders(days_ago, 5))[0]
    assert chance[30 + 5 - 2 : 30 + 5 + 1].sum() > 0.8
    assert chance[: 30 + 5 - 2].sum() < 0.1


def test_without_a_cycle_a_short_pool_is_ordered_when_its_supplier_next_is():
    # The pool itself was ordered at odd times, anything of its supplier every 20 days, the last 4 days ago.
    draw = np.random.default_rng(4)
    own, others = draw.integers(30, 600, 12), 4 + 20 * np.arange(35)
    pick = draw.integers(0, 9, len(others))
    orders = pd.concat([
        _orders(4 + 20 * np.unique(own // 20), 10),
        *(_orders(others[pick == i], 10, f"X{i}") for i in range(9)),
    ], ignore_index=True)  # fmt: skip
    chance = _chance_by_day(orders, product_id=["never ordered"], is_short=True)[0]
    cycle = learn_reorder(orders, TODAY).cycles_of(["never ordered"], ["S1"])[0]
    assert cycle[-1] > 0.5
    assert chance[16 + 10 - 1] > 0.7 * cycle[-1]


def test_lanes_and_products_of_one_supplier_are_told_apart_and_thin_ones_lean_on_their_group():
    ago = 7 * np.arange(1, 60)
    orders = pd.concat([
        _orders(ago, 10, "quick", "near"), _orders(ago, 30, "slow", "near"), _orders(ago, 40, "quick", "far"),
        _orders(ago[:1] + 100, 50, "thin", "near"), _orders(ago, 80, "other", supplier="S2"),
    ], ignore_index=True)  # fmt: skip
    model = learn_reorder(orders, TODAY)
    asked = pd.DataFrame({
        "product_id": ["quick", "quick", "slow", "thin", "unknown", "unknown", "unknown"],
        "warehouse_id": ["near", "far", "near", "near", "near", "far", "W"],
        "supplier_id": ["S1", "S1", "S1", "S1", "S1", "S1", "S2"],
    })  # fmt: skip
    quick, quick_far, slow, thin, near, far, other = np.exp(reorder.undated_curves(model, asked, np.zeros(7), 120))
    assert quick.sum() == pytest.approx(10, abs=5)
    assert slow.sum() == pytest.approx(30, abs=5)
    assert quick_far.sum() == pytest.approx(40, abs=5)
    assert far.sum() == pytest.approx(40, abs=3)
    assert near.sum() == pytest.approx((10 + 30) / 2, abs=3)
    assert near.sum() < thin.sum() < 30  # its one order took 50
    assert other.sum() == pytest.approx(80, abs=3)


def test_open_orders_count_as_open():
    # Half of the goods take 10 days, the others have not come for as long as 60 days: the median is not 10.
    ago = np.arange(20, 61)
    half = ago % 2 == 0
    orders = _orders(ago, np.where(half, 10, 500))
    by_30_days = -np.expm1(reorder.undated_curves(learn_reorder(orders, TODAY), _pools(), np.zeros(1), 30))[0, 30]
    assert 0.4 < by_30_days < 0.62


def test_the_two_waits_are_added_day_by_day(many):
    model = learn_reorder(many, TODAY)
    pools = _pools(product_id=["K07", "K11"], supplier_id=["S1", "S2"], is_short=[False, True])
    asked = reorder._asked(model, pools, many, TODAY)
    ordered = reorder._chance_ordered(model, asked, 50)
    lead = -np.expm1(model.lead.log_not_yet([asked[f"lead_{i}"] for i in range(4)], np.zeros(2), 50))
    got = fresh_curves(model, pools, many, TODAY, 50)
    for row in range(2):
        for day in (1, 20, 50):
            has_come = sum(ordered[row, first] * lead[row, day - first] for first in range(day + 1))
            assert got[row, day] == pytest.approx(1 - has_come, abs=1e-12)


def test_a_pool_never_ordered_has_its_suppliers_curve_and_an_unknown_supplier_all_suppliers(many):
    asked = {"product_id": ["new", "newer", "new", "new"], "supplier_id": ["S1", "S1", "nobody", None]}
    chance = _chance_by_day(many, **asked)
    np.testing.assert_array_equal(chance[0], chance[1])
    np.testing.assert_array_equal(chance[2], chance[3])
    assert not np.array_equal(chance[0], chance[2])


def test_curves_begin_at_one_and_fall_and_discontinued_products_never_come(many):
    products = [f"K{i:02d}" for i in range(30)]
    pools = _pools(product_id=products, is_short=np.arange(30) % 2 == 0, is_discontinued=np.arange(30) % 3 == 0)
    not_come = fresh_curves(learn_reorder(many, TODAY), pools, many, TODAY, 90)
    assert (not_come[:, 0] == 1).all()
    assert (np.diff(not_come, axis=1) <= 0).all()
    assert not_come.min() >= 0
    assert (not_come[::3] == 1).all()
    assert (not_come[1::3, -1] < 0.9).all()


def test_row_order_does_not_matter_and_a_saved_model_answers_the_same(many):
    model = learn_reorder(many, TODAY)
    shuffled = many.sample(frac=1, random_state=1)
    again = learn_reorder(shuffled.sort_values("po_line_id"), TODAY)
    text = json.dumps(model.to_json(), allow_nan=False)
    assert json.dumps(again.to_json(), allow_nan=False) == text
    loaded = ReorderModel.from_json(json.loads(text))
    pools = _pools(product_id=[f"K{i:02d}" for i in range(30)], supplier_id=[f"S{i % 3}" for i in range(30)])
    pools["is_short"] = np.arange(30) % 2 == 0
    expected = fresh_curves(model, pools, many, TODAY, 90)
    np.testing.assert_array_equal(fresh_curves(loaded, pools.iloc[::-1], shuffled, TODAY, 90)[::-1], expected)


def test_nothing_ordered_yet_gives_curves_and_no_pools_give_none(many):
    model = learn_reorder(many.iloc[:0], TODAY)
    not_come = fresh_curves(model, _pools(product_id=["a", "b"], is_short=[True, False]), many[:0], TODAY, 30)
    assert ((not_come >= 0) & (not_come <= 1)).all()
    assert fresh_curves(model, _pools().iloc[:0], many, TODAY, 30).shape == (0, 31)
    assert fresh_metrics(many.iloc[:0], TODAY) == {}


@pytest.fixture(scope="module")
def lived_through() -> tuple[pd.DataFrame, dict[pd.Timestamp, pd.DataFrame], pd.Timestamp]:
    """A simulated company's inbound dates, and its pools with waiting lines on past mornings: which were short."""
    shape = CompanyShape(n_customers=1500, n_products=200, n_suppliers=20, n_days=700, seed=901)
    company, pools = initialize(shape), {}
    while company.day < shape.n_days:
        if 300 <= company.day <= 580 and company.day % 5 == 3:
            wanted, inbound = (
                np.bincount(rows["product"], rows[name] - rows.get("received", 0), shape.n_products)
                for rows, name in ((company.open, "open"), (company.purchases, "quantity"))
            )
            waits = np.isin(np.arange(shape.n_products), company.open["product"][company.open["due_day"] < company.day])
            frame = pd.DataFrame({"product_id": [f"P{i:04d}" for i in range(shape.n_products)], "warehouse_id": "main"})
            frame["is_short"] = (wanted > company.on_hand + inbound) & waits
            frame["is_discontinued"] = company.products.ends_day - 30 < company.day
            pools[pd.Timestamp(shape.start_on) + pd.Timedelta(days=company.day)] = frame
        step(company)
    return _dates(tables_of(company)), pools, pd.Timestamp(shape.start_on) + pd.Timedelta(days=shape.n_days)


def _dates(tables) -> pd.DataFrame:
    """Inbound lines and the days that goods came, as `inbound_dates` has them."""
    lines = tables["purchase_orders"].drop_duplicates("po_line_id")
    lines = lines.assign(ordered_on=pd.to_datetime(lines["ordered_at"]).dt.normalize())
    came = tables["receipts"].rename(columns={"quantity": "part_quantity"})
    came = came.assign(received_on=pd.to_datetime(came["received_at"]).dt.normalize())
    came["first_received_on"] = came.groupby("po_line_id")["received_on"].transform("min")
    return lines.merge(came, on="po_line_id", how="left").sort_values(["po_line_id", "received_on"], ignore_index=True)


def test_on_past_days_of_a_simulated_company_short_pools_are_foreseen_better_than_as_if_ordered_today(lived_through):
    dates, pools_by_day, _ = lived_through
    judged = []
    for day, pools in pools_by_day.items():
        known = dates[dates["ordered_on"] < day].drop_duplicates("po_line_id").sort_values("po_line_id")
        usual = known.sort_values(["ordered_on", "po_line_id"]).groupby("product_id")["supplier_id"].last()
        pools = pools.assign(supplier_id=pools["product_id"].map(usual))
        pools = pools[pools["is_short"] & ~pools["is_discontinued"]].reset_index(drop=True)
        judged.append(judge(learn_reorder(known, day), pools, dates, day, 120))
    rows = pd.concat(judged)
    assert len(rows) > 150
    assert rows["pinball_days"].mean() < 0.9 * rows["pinball_days_as_if_today"].mean()
    assert rows["met_90"].mean() == pytest.approx(0.9, abs=0.05)
    assert rows["met_50"].mean() == pytest.approx(0.5, abs=0.12)  # whole days, and reviews that are never overlooked


def test_on_past_days_pools_with_goods_enough_are_foreseen_by_their_rhythm(lived_through):
    dates, _, today = lived_through
    metrics = fresh_metrics(dates, today)
    assert metrics["n_fresh_pools"] > 300
    assert metrics["fresh_saved_share_low"] > 0.5
    assert metrics["fresh_met_50"] == pytest.approx(0.5, abs=0.1)
    assert metrics["fresh_came_share"] == pytest.approx(metrics["fresh_came_share_expected"], abs=0.1)
