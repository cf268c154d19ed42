from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models import arrival_hazard, arrival_recalibration
from models.arrival import ArrivalModel, open_curves, open_inbound
from models.arrival_looks import CLOCK_EDGES, InboundBook
from models.arrival_recalibration import (
    N_BINS,
    SINCE_DAYS,
    Recalibration,
    chances_at,
    counts,
    hazards,
    learn_recalibration,
    one_voice_each,
)

TODAY = 1000
FORESEEN_DAYS = 20.0  # mean wait that the model says


def _book(n_lines, supplier=0, ordered_day=None):
    ordered_day = np.arange(n_lines) if ordered_day is None else ordered_day
    lines = pd.DataFrame({"supplier_id": supplier, "warehouse_id": 0, "ordered_day": ordered_day})
    return InboundBook(lines, *(np.zeros(0) for _ in range(5)))


def _looks(draw, mean_days, day):
    """Looks on those days at lines with exponential waits, whole days rounded up, as known today."""
    wait = np.ceil(draw.exponential(mean_days))
    known = np.where(day + wait < TODAY, wait, np.nan)
    return pd.DataFrame({"line": np.arange(len(day)), "day": day, "wait_days": known})


def _foreseen(n_looks):
    return np.tile(-np.expm1(-np.arange(SINCE_DAYS + 1) / FORESEEN_DAYS), (n_looks, 1))


def _learned(true_days, suppliers, seed=0):
    draw = np.random.default_rng(seed)
    day = draw.integers(TODAY - SINCE_DAYS, TODAY - 1, len(suppliers))
    looks = _looks(draw, true_days, day)
    return learn_recalibration(_book(len(looks)), suppliers, looks, _foreseen(len(looks)), TODAY)


def test_right_chances_are_hardly_changed():
    for seed in range(5):
        suppliers = np.random.default_rng(seed).choice(["S1", "S2", "S3"], 3000).astype(object)
        change = _learned(np.full(3000, FORESEEN_DAYS), suppliers, seed)
        right = np.linspace(0, 1, N_BINS + 1)
        assert change is None or np.abs(change.not_come - right).max() < 0.03


def test_a_supplier_twice_as_slow_as_foreseen_is_put_right_and_the_other_is_left():
    suppliers = np.repeat(np.array(["slow", "right"], dtype=object), 3000)
    true_days = np.where(suppliers == "slow", 2 * FORESEEN_DAYS, FORESEEN_DAYS)
    change = _learned(true_days, suppliers)
    days = np.array([5.0, 15.0, 30.0, 55.0])
    for name, mean in (("slow", 2 * FORESEEN_DAYS), ("right", FORESEEN_DAYS)):
        row = change.rows_of(np.array([name] * 4, dtype=object))
        np.testing.assert_allclose(np.exp(change.changed(-days / FORESEEN_DAYS, row)), np.exp(-days / mean), atol=0.04)
    assert change.gain > 100


def test_lines_still_open_do_not_make_waits_look_short():
    """Of looks of the last 40 days at waits of 40 days on average most are open; the quick ones came."""
    draw = np.random.default_rng(1)
    day = draw.integers(TODAY - 40, TODAY - 1, 6000)
    looks = _looks(draw, np.full(6000, 2 * FORESEEN_DAYS), day)
    assert looks["wait_days"].isna().mean() > 0.5
    receipts, at_risk = counts(*chances_at(looks, _foreseen(6000), TODAY), np.ones(6000))
    left = np.cumprod(1 - hazards(receipts.sum(axis=0)[None], at_risk.sum(axis=0)[None], 1e-9)[0])
    for place in range(1, 13):  # up to a chance of .6, foreseen for day 18
        day_said = -FORESEEN_DAYS * np.log(1 - place / N_BINS)
        assert left[place - 1] == pytest.approx(np.exp(-day_said / (2 * FORESEEN_DAYS)), abs=0.03)


def test_hazards_are_kaplan_meiers_counted_by_hand_and_shrunk():
    draw = np.random.default_rng(2)
    chance = (draw.integers(0, N_BINS, 200) + 0.5) / N_BINS  # in the middle of bins
    came = draw.random(200) < 0.7
    high = np.where(came, chance, np.ceil(chance * N_BINS) / N_BINS)  # open at the end of a bin
    receipts, at_risk = counts(np.where(came, chance, 0.0), high, came, np.ones(200))
    strength = 7.0
    got = hazards(receipts.sum(axis=0)[None], at_risk.sum(axis=0)[None], strength)
    for place in range(N_BINS - 1):
        first, end = place / N_BINS, (place + 1) / N_BINS
        events = sum(1 for c, h in zip(came, high, strict=True) if c and first <= h < end)
        at_risk_by_hand = sum(1 for h in high if h > first + 1e-9)
        pseudo = strength * (1 - first)
        of_all = (events + pseudo / (N_BINS - place)) / (at_risk_by_hand + pseudo)
        assert got[1, place] == pytest.approx(of_all, abs=1e-6)
        assert got[0, place] == pytest.approx((events + pseudo * of_all) / (at_risk_by_hand + pseudo), abs=1e-6)


def test_a_thin_supplier_is_like_all_and_so_is_one_nobody_knows():
    suppliers = np.array(["thin"] + ["slow"] * 3000, dtype=object)
    change = _learned(np.full(3001, 2 * FORESEEN_DAYS), suppliers)
    thin, slow, new, unknown = change.rows_of(np.array(["thin", "slow", "new", None], dtype=object))
    assert new == unknown == len(change.suppliers)
    np.testing.assert_allclose(change.not_come[thin], change.not_come[new], atol=0.02)
    assert np.abs(change.not_come[slow] - np.linspace(0, 1, N_BINS + 1)).max() > 0.1


def test_what_came_lately_outweighs_what_came_long_ago(monkeypatch):
    """Right until 120 days ago, twice as slow since: to even odds foreseen belongs e^(-x/2)."""
    draw = np.random.default_rng(3)
    day = np.arange(TODAY - SINCE_DAYS, TODAY).repeat(40)
    looks = _looks(draw, np.where(day >= TODAY - 120, 2.0, 1.0) * FORESEEN_DAYS, day)
    given = _book(len(day)), np.full(len(day), "S", dtype=object), looks, _foreseen(len(day)), TODAY
    even = np.log([0.5]), np.array([0])
    faded = np.exp(learn_recalibration(*given).changed(*even))[0]
    monkeypatch.setattr(arrival_recalibration, "HALF_LIFE_DAYS", 1e9)
    plain = np.exp(learn_recalibration(*given).changed(*even))[0]
    assert 0.5 < plain + 0.005 < faded < np.sqrt(0.5)


def test_looks_at_one_consignment_have_one_voice_together():
    looks = pd.DataFrame({"line": [0, 0, 1, 2], "day": [1, 2, 2, 3]})
    book = _book(3, ordered_day=np.array([5, 5, 6]))  # lines 0 and 1 were ordered together
    np.testing.assert_allclose(one_voice_each(book, looks), [1 / 3, 1 / 3, 1 / 3, 1])


def test_nothing_seen_changes_nothing():
    looks = pd.DataFrame({"line": [], "day": [], "wait_days": []}).astype({"line": int, "day": int})
    assert learn_recalibration(_book(0), np.zeros(0, object), looks, np.zeros((0, SINCE_DAYS + 1)), TODAY) is None


def _squared() -> Recalibration:
    """What the model says, squared, for S1; as it is for others."""
    said = np.linspace(0, 1, N_BINS + 1)
    return Recalibration(("S1",), np.array([said**2, said]), 30.0, 2.0, 100)


def test_changes_rise_with_the_chance_also_of_chances_too_small_for_a_float():
    logs = np.array([-5000.0, -800.0, -10.0, -1.0, -0.01, 0.0])
    changed = _squared().changed(logs, np.zeros(6, dtype=int))
    assert np.isfinite(changed).all()
    assert (np.diff(changed) > 0).all()
    assert changed[-1] == 0
    np.testing.assert_allclose(changed[:3] - logs[:3], np.log(1 / N_BINS))  # in proportion below the first step
    np.testing.assert_allclose(_squared().changed(logs, np.ones(6, dtype=int)), logs, atol=1e-12)


def test_curves_are_changed_by_supplier_and_those_of_a_saved_model_are_the_same(model, inbound, today, tmp_path):
    lines = open_inbound(inbound)
    plain = open_curves(replace(model, hazard=replace(model.hazard, recalibration=None)), lines, today, 200, inbound)
    changing = replace(model, hazard=replace(model.hazard, recalibration=_squared()))
    changed = open_curves(changing, lines, today, 200, inbound)
    changing.save(tmp_path)
    np.testing.assert_array_equal(open_curves(ArrivalModel.load(tmp_path), lines, today, 200, inbound), changed)
    is_first = (lines["supplier_id"] == "S1").to_numpy()
    assert 0 < is_first.sum() < len(lines)
    np.testing.assert_allclose(changed[~is_first], plain[~is_first], atol=1e-9)
    due = (lines["expected_on"] - today).dt.days.to_numpy()
    for row in np.flatnonzero(is_first)[:20]:
        ends = CLOCK_EDGES[1:-1] - 1 + due[row]
        ends = ends[(ends >= 1) & (ends <= 200)]
        expected = _squared().changed(plain[row, ends], np.zeros(len(ends), dtype=int))
        np.testing.assert_allclose(changed[row, ends], expected, rtol=1e-9)
    assert (np.diff(changed, axis=1) <= 1e-12).all()


def test_days_after_hardly_a_chance_is_left_are_all_that_is_not_asked(model, inbound, today, monkeypatch):
    plain = replace(model, hazard=replace(model.hazard, recalibration=None))
    lines = open_inbound(inbound)
    some = open_curves(plain, lines, today, 200, inbound)
    hardly = arrival_hazard.LOG_HARDLY
    monkeypatch.setattr(arrival_hazard, "LOG_HARDLY", -np.inf)
    all_asked = open_curves(plain, lines, today, 200, inbound)
    is_left = all_asked > hardly
    np.testing.assert_allclose(some[is_left], all_asked[is_left], rtol=1e-12)
    assert (some[~is_left] <= hardly + 1e-12).all()
    assert not np.array_equal(some, all_asked)
