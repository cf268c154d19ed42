from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models import receipt_curves
from models.arrival import ArrivalModel, fit, foresee, next_receipt, open_curves, open_inbound
from models.arrival_report import as_told_on
from models.receipt_curves import learn_curves


def _waiting(**columns) -> pd.DataFrame:
    n_lines = len(next(iter(columns.values())))
    usual = {"order_line_id": [f"L{i}" for i in range(n_lines)], "product_id": "K", "warehouse_id": "W"}
    usual |= {"supplier_id": "S1", "is_discontinued": False, "open_quantity": 1.0, "goods_here": 0.0}
    return pd.DataFrame({**usual, **columns})


def _open(today, expected_in_days, **columns) -> pd.DataFrame:
    n_lines = len(expected_in_days)
    frame = pd.DataFrame({"po_line_id": [f"P{i}" for i in range(n_lines)], "supplier_id": "S1", "product_id": "K"})
    frame["warehouse_id"], frame["kind"], frame["for_order_line_id"] = "W", "bought", None
    frame["told_on"] = frame["ordered_on"] = (today - pd.Timedelta(days=60)).as_unit("s")
    frame["expected_on"] = [today + pd.Timedelta(days=days) for days in expected_in_days]
    frame["expected_on"] = frame["expected_on"].astype("datetime64[s]")
    frame["first_received_on"] = pd.Series([pd.NaT] * n_lines, dtype="datetime64[s]")
    frame["received_on"] = frame["first_received_on"]
    nothing_came = {"part_quantity": np.nan, "quantity": 5.0, "received_quantity": 0.0, "is_latest": True}
    return frame.assign(**nothing_came | columns)


def _counted_by_hand(entry, last, received, day):
    """Receipts and lines at risk on a day of the clock, by going through the lines."""
    at_risk = [begin <= day <= end for begin, end in zip(entry, last, strict=True)]
    events = [came and end == day for end, came in zip(last, received, strict=True)]
    return sum(events), sum(at_risk)


def test_hazards_equal_a_count_by_hand_shrunk_to_all_suppliers():
    draw = np.random.default_rng(0)
    supplier = draw.choice(["S1", "S2"], 60)
    entry = draw.integers(-20, 0, 60)
    last, received = entry + draw.integers(0, 30, 60), draw.random(60) < 0.7
    curves = learn_curves(supplier.astype(object), entry, last, received, -30, 40)
    late = [_counted_by_hand(entry, last, received, day) for day in range(1, 41)]
    late_rate = (sum(e for e, _ in late) + 1) / (sum(n for _, n in late) + receipt_curves.TAIL_MEAN_DAYS)
    mine, k = supplier == "S1", receipt_curves.PSEUDO_LINES
    for day in (-10, -1, 0, 3):
        events, at_risk = _counted_by_hand(entry, last, received, day)
        overall = (events + (day > 0) * late_rate) / (at_risk + (day > 0))
        events, at_risk = _counted_by_hand(entry[mine], last[mine], received[mine], day)
        expected = (events + k * overall) / (at_risk + k)
        got = -np.expm1(curves.log_survival[0, day + 31] - curves.log_survival[0, day + 30])
        assert got == pytest.approx(expected, rel=1e-9)


def test_the_predicted_wait_is_the_planted_exponential_delay(model, inbound, today):
    # Floor of an exponential delay of mean 5 days: P(not later than d days) = 1 - exp(-(d + 1) / 5).
    asked = _open(today, [10])
    not_come = np.exp(open_curves(model, asked, today, 60, pd.concat([inbound, asked])))[0]
    for late_days in (0, 2, 5, 10):
        assert not_come[10 + late_days] == pytest.approx(np.exp(-(late_days + 1) / 5), abs=0.05)
    assert not_come[9] == pytest.approx(1, abs=0.03)  # shrunk hazards never reach 0


def test_lanes_of_one_supplier_are_told_apart_and_open_lines_do_not_make_it_look_faster(make_inbound, today):
    # Half the lines go to a warehouse where all come 20 days later: exp(-(d + 1) / 5) there from day 20 on.
    lines = make_inbound(4000)
    far = np.arange(len(lines)) % 2 == 1
    shift = pd.Timedelta(days=20)
    lines["warehouse_id"] = np.where(far, "far", "near")
    for name in ("received_on", "first_received_on"):
        lines[name] = lines[name].where(~far, lines[name] + shift)
    lines.loc[lines["received_on"] >= today, ["received_on", "first_received_on"]] = pd.NaT
    gone = lines["received_on"].isna()
    lines["part_quantity"], lines["received_quantity"] = np.where(gone, np.nan, 5.0), np.where(gone, 0.0, 5.0)
    told_on = (today - pd.Timedelta(days=20)).as_unit("s")
    asked = _open(today, [10, 10], warehouse_id=["near", "far"], told_on=told_on, ordered_on=told_on)
    curves = np.exp(open_curves(fit(lines, today), asked, today, 90, pd.concat([lines, asked])))
    near, away = ((curve <= 0.5).argmax() for curve in curves)
    assert near == pytest.approx(13, abs=2)
    assert away == pytest.approx(33, abs=3)
    # Lines still open count as open: of the far ones 1 in e is still missing after 25 days.
    assert curves[1, 10 + 24] == pytest.approx(np.exp(-1), abs=0.08)
    assert (np.diff(curves, axis=1) <= 0).all()


def test_of_few_receipts_suppliers_have_one_curve_each_and_the_model_says_why(make_inbound, today, tmp_path):
    model = fit(make_inbound(250), today)
    assert model.kind == "pooled"
    assert "fewer than 300" in model.why
    model.save(tmp_path)
    assert not list(tmp_path.glob("*.txt"))
    assert ArrivalModel.load(tmp_path).hazard is None


def test_a_line_without_a_date_is_judged_by_its_age(model, inbound, today):
    asked = _open(today, [10]).assign(expected_on=pd.NaT, ordered_on=today - pd.Timedelta(days=10))
    asked["expected_on"] = asked["expected_on"].astype("datetime64[s]")
    got = open_curves(model, asked, today, 60, pd.concat([inbound, asked]))
    # Ordered 10 days ago; goods take 30 days and an exponential delay: P(none by age d) = exp(-(d - 29) / 5).
    assert np.exp(got[0, 15]) == pytest.approx(1, abs=0.05)
    for age in (30, 35, 40):
        assert np.exp(got[0, age - 10]) == pytest.approx(np.exp(-(age - 29) / 5), abs=0.05)


def test_an_overdue_line_is_expected_given_that_it_has_not_come(model, inbound, today):
    # An exponential delay forgets: however late already, about 1 - exp(-2 / 5) comes today or tomorrow.
    known = pd.concat([inbound, _open(today, [-6])])
    arrival, sources = _next(model, _waiting(supplier_id=["S1"]), known, today, 60, 14)
    assert arrival[0, 1] == pytest.approx(1 - np.exp(-2 / 5), abs=0.08)
    assert arrival[0, 0] == 0
    assert sources["wait_source"].tolist() == ["inbound"]


def test_a_line_later_than_any_before_still_has_a_chance_to_come(model, inbound, today):
    arrival, _ = _next(model, _waiting(supplier_id=["S1"]), _open(today, [-300]), today, 180, 14)
    assert 0 < arrival[0, 1] < 1
    assert arrival.sum() == pytest.approx(1, abs=1e-12)


def _next(model, waiting, known, *asked):
    return next_receipt(foresee(model, waiting, known, *asked), waiting)


def test_the_next_receipt_of_a_pool_is_the_first_of_its_inbound_lines(model, inbound, today):
    waiting = _waiting(supplier_id=["S1"])
    both = _open(today, [8, 3]).assign(supplier_id=["S1", "S2"])
    together, *alone = _not_come(model, waiting, both, today)
    np.testing.assert_allclose(together, alone[0] * alone[1], atol=1e-12)
    sources = _next(model, waiting, both, today, 30, 14)[1]
    assert sources["next_inbound_po_line_id"].tolist() == ["P1"]


def test_orders_that_one_supplier_has_not_begun_to_deliver_are_one_chance_and_not_two(model, inbound, today):
    waiting = _waiting(supplier_id=["S1"])
    both = _open(today, [8, 3]).assign(supplier_id="S1")
    together, *alone = _not_come(model, waiting, both, today)
    np.testing.assert_allclose(together, np.minimum(*alone), atol=1e-12)


@pytest.mark.parametrize("given", [{"supplier_id": None}, {"supplier_id": "S1", "received_quantity": 0.5}])
def test_orders_of_unknown_suppliers_and_orders_that_have_begun_to_come_are_chances_of_their_own(
    model, inbound, today, given
):
    waiting = _waiting(supplier_id=["S1"])
    together, *alone = _not_come(model, waiting, _open(today, [8, 3]).assign(**given), today)
    np.testing.assert_allclose(together, alone[0] * alone[1], atol=1e-12)


def _not_come(model, waiting, both, today):
    """Chance that nothing has come by each day: with both inbound lines, the first alone, the second alone."""
    kept = (both, both.iloc[[0]], both.iloc[[1]])
    return [1 - np.cumsum(_next(model, waiting, some, today, 30, 14)[0][0, :-1]) for some in kept]


def test_inbound_goods_meant_for_a_line_are_that_lines_alone(model, inbound, today):
    waiting = _waiting(supplier_id=["S1", "S1"])
    pegged = _open(today, [4, 2], for_order_line_id=["L1", "a line that is not waiting"])
    arrival, sources = _next(model, waiting, pegged, today, 60, 14)
    assert sources["wait_source"].tolist() == ["fresh lead time", "inbound"]
    assert sources["next_inbound_po_line_id"].isna().tolist() == [True, False]
    assert sources["next_inbound_po_line_id"].iloc[1] == "P0"
    assert arrival[1, 1:10].sum() > 0.6 > arrival[0, 1:10].sum()


def test_without_an_inbound_line_a_fresh_order_takes_the_usual_lead_time(model, inbound, today):
    arrival, sources = _next(model, _waiting(supplier_id=["S1", "nobody"]), _open(today, [])[:0], today, 90, 14)
    assert sources["wait_source"].tolist() == ["fresh lead time"] * 2
    median = (np.cumsum(arrival, axis=1) >= 0.5).argmax(axis=1)
    assert median.tolist() == pytest.approx([33, 33], abs=2)  # told 30 days, plus a median delay of 5 ln 2


def test_goods_not_ordered_yet_come_sooner_where_lines_wait_for_more_than_is_here_and_inbound(model, inbound, today):
    # 5 units of "new" are inbound, the first ever ordered; something comes from its supplier nearly every day.
    known = pd.concat([inbound, _open(today, [9], product_id="new")])
    for units, here in ((5.0, 0.0), (8.0, 3.0)):
        covered, short = (
            foresee(model, _waiting(product_id=["new"], open_quantity=[n], goods_here=[here]), known, today, 90, 14)
            for n in (units, units + 1)
        )
        assert short.fresh_not_come.sum() + 2 < covered.fresh_not_come.sum()


def test_goods_that_are_here_do_not_make_a_line_that_is_passed_over_wait_for_the_usual_next_order(
    model, inbound, today
):
    nothing = _open(today, [])[:0]
    here, gone = (
        foresee(model, _waiting(open_quantity=[2.0], goods_here=[n]), pd.concat([inbound, nothing]), today, 90, 14)
        for n in (9.0, 0.0)
    )
    np.testing.assert_array_equal(here.fresh_not_come, gone.fresh_not_come)


def test_goods_meant_for_others_cover_no_line_and_rounding_makes_none_short(model, inbound, today):
    def fresh(inbound_units, wanted, **columns):
        goods = _open(today, [9] * len(inbound_units), product_id="new", quantity=inbound_units, **columns)
        waiting = _waiting(product_id=["new"] * len(wanted), open_quantity=wanted)
        return foresee(model, waiting, pd.concat([inbound, goods]), today, 90, 14).fresh_not_come

    meant = [[None], ["a line that is not waiting"]]
    free, pegged = (fresh([5.0], [5.0], for_order_line_id=name) for name in meant)
    assert pegged.sum() + 2 < free.sum()
    np.testing.assert_array_equal(fresh([0.6], [0.1, 0.2, 0.3]), fresh([0.6], [0.3, 0.2, 0.1]))


def test_a_line_received_in_fractions_that_add_up_owes_nothing(today):
    lines = _open(today, [3, 3], quantity=[0.9, 0.9], received_quantity=[0.7 + 0.2, 0.8])
    assert 0.7 + 0.2 < 0.9
    assert open_inbound(lines)["po_line_id"].tolist() == ["P1"]


def test_an_order_that_is_due_stands_for_the_wait_where_no_receipt_was_ever_seen(inbound, today):
    model, order = fit(inbound.iloc[:0], today), _open(today, [40])
    forecast = foresee(model, _waiting(supplier_id=["S1"]), order, today, 90, 14)
    arrival, sources = next_receipt(forecast, _waiting(supplier_id=["S1"]))
    assert sources[["wait_source", "wait_is_assumed"]].to_numpy().tolist() == [["inbound", True]]
    assert arrival[0, :30].sum() < 0.2
    assert (forecast.fresh_not_come == 1).all()  # nothing assumed comes before what is on order


def test_without_any_purchase_data_all_comes_on_the_assumed_day(inbound, today):
    model = fit(inbound.iloc[:0], today)
    arrival, sources = _next(model, _waiting(supplier_id=[None, None]), inbound.iloc[:0], today, 30, 14)
    assert model.kind == "assumed"
    assert (arrival[:, 14] == 1).all()
    assert sources["wait_source"].tolist() == ["default wait"] * 2


def test_a_discontinued_product_without_inbound_never_comes_and_with_it_does(model, inbound, today):
    waiting = _waiting(product_id=["K", "gone"], is_discontinued=True)
    arrival, sources = _next(model, waiting, _open(today, [3]), today, 30, 14)
    assert sources["wait_source"].tolist() == ["inbound", "never"]
    assert arrival[1, -1] == 1
    assert arrival[0, -1] < 0.1


def test_chances_sum_to_one_and_the_order_of_rows_does_not_matter(model, inbound, today):
    draw = np.random.default_rng(1)
    waiting = _waiting(product_id=[f"K{i}" for i in draw.integers(0, 25, 200)])
    arrival, sources = _next(model, waiting, inbound, today, 180, 14)
    assert np.abs(arrival.sum(axis=1) - 1).max() < 1e-12
    assert arrival.min() >= 0
    shuffled = inbound.sample(frac=1, random_state=2)
    again, same = _next(fit(shuffled, today), waiting.iloc[::-1], shuffled, today, 180, 14)
    np.testing.assert_array_equal(again[::-1], arrival)
    pd.testing.assert_frame_equal(same.iloc[::-1], sources)


def test_what_happens_from_today_on_does_not_change_what_is_learned(inbound, today):
    past = today - pd.Timedelta(days=200)
    known = as_told_on(inbound, past)
    learned, again = fit(known, past), fit(inbound, past)  # with dates told and receipts of later days still in it
    np.testing.assert_array_equal(again.delay.log_survival, learned.delay.log_survival)
    assert learned.kind == "boosted"
    assert again.hazard.booster.model_to_string() == learned.hazard.booster.model_to_string()
    assert (known["first_received_on"].dropna() < past).all()


def test_a_saved_model_predicts_the_same(model, inbound, today, tmp_path):
    for name in ("once", "again"):
        model.save(tmp_path / name)
    shuffled = fit(inbound.sample(frac=1, random_state=3), today)
    shuffled.save(tmp_path / "shuffled")
    for name in ("model.json", "booster.txt"):
        once, *others = ((tmp_path / folder / name).read_bytes() for folder in ("once", "again", "shuffled"))
        assert others == [once, once]
    loaded = ArrivalModel.load(tmp_path / "once")
    waiting = _waiting(product_id=["K1", "K2", "none"])
    before, after = (_next(m, waiting, inbound, today, 60, 14)[0] for m in (model, loaded))
    np.testing.assert_array_equal(before, after)


def test_no_waiting_lines_give_no_chances(model, inbound, today):
    arrival, sources = _next(model, _waiting(supplier_id=[]), inbound, today, 30, 14)
    assert arrival.shape == (0, 32)
    assert len(sources) == 0
