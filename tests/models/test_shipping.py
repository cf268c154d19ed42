from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.cancellation import CancellationModel
from models.shipping import N_DAYS, NO_CLASS, SUPPORT_DAYS, classes_of, fit_censoring, shipping_rates, still_open

NUMERIC, TEXT = ("waited_days", "days_late"), ("segment",)


def _ended(n_lines: int, ship_chance: np.ndarray, seed: int, watch, cancel_chance: float = 0.03) -> pd.DataFrame:
    frame = pd.DataFrame({"waited_days": np.zeros(n_lines), "days_late": np.nan, "priority_class": 1.0})
    frame["segment"] = np.where(np.arange(n_lines) % 2, "b", "a")
    frame["order_line_id"], frame["cutoff_on"] = np.arange(n_lines).astype(str), pd.Timestamp("2026-01-01")
    return watch(frame, np.full((n_lines, 30), cancel_chance), ship_chance, seed)


def _learned(samples: pd.DataFrame) -> CancellationModel:
    return CancellationModel("pooled", "", (0.1,) * 5, rates=shipping_rates(samples))


def _of_classes(classes: list[float], waited_days: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"priority_class": classes, "waited_days": waited_days})


def _open_share(model: CancellationModel, lines: pd.DataFrame) -> np.ndarray:
    return still_open(model.rates, classes_of(lines), lines["waited_days"].to_numpy())


def test_rates_are_ends_over_days_worked_by_hand():
    # Class 1: shipped after 2.5 days, in the third; watched from day 1 to 4.5; cancelled half way through day 2.
    # Class 2: from day 6 on, taken back by its seller as day 8 is half over. A line at risk when it ends had the day.
    samples = pd.DataFrame({
        "waited_days": [0.0, 1.0, 2.0, 6.0], "at_risk_days": [2.5, 3.5, 0.5, 2.5],
        "ended_by": ["shipment", None, "customer", "seller"], "priority_class": [1.0, 1.0, 1.0, 2.0],
    })  # fmt: skip
    rates = shipping_rates(samples)
    overall = (2 + 1) / (3 + 3.5 + 0.5 + 3 + 14)
    ends, days = np.zeros(10), np.array([1, 2, 2.5, 1, 0.5, 0, 1, 1, 1, 0])
    ends[[2, 8]] = 1
    of_all = (ends + 2) / (days + 2 / overall)
    assert rates[NO_CLASS][:10] == pytest.approx(of_all.tolist())
    assert rates["1.0"][2] == pytest.approx((1 + 2) / (2.5 + 2 / of_all[2]))
    assert rates["1.0"][8] == pytest.approx(2 / (0 + 2 / of_all[8]))
    assert rates["2.0"][6:9] == pytest.approx(((ends + [2] * 10) / (np.ones(10) + 2 / of_all))[6:9].tolist())


def test_the_last_rate_is_that_of_all_later_days_worked_by_hand():
    last = N_DAYS - 1
    # Shipped after 9.5 days that begin two before the last rate; watched for 30 far beyond it.
    samples = pd.DataFrame({
        "waited_days": [last - 2.0, 300.0], "at_risk_days": [9.5, 30.0], "ended_by": ["shipment", None],
    })  # fmt: skip
    rates = shipping_rates(samples)[NO_CLASS]
    overall = (1 + 1) / (10 + 30 + 14)
    expected = [2 / (1 + 2 / overall)] * 2 + [(1 + 2) / (8 + 30 + 2 / overall)]
    assert len(rates) == N_DAYS
    assert rates[-4:] == pytest.approx([overall, *expected])


def test_the_chance_to_be_still_open_multiplies_single_days_and_the_last_rate_stands_for_all_later_ones():
    rates = {NO_CLASS: (0.1, 0.1, 0.3), "1.0": (0.5, 0.2, 0.05)}
    classes, waited = np.array(["1.0", "1.0", "9.0", NO_CLASS]), np.array([0.0, 1.0, 0.0, 100.0])
    found = still_open(rates, classes, waited, n_days=4)
    # The class 9 is not known, so the rates of all stand for it.
    assert found == pytest.approx([0.5 * 0.8 * 0.95**2, 0.8 * 0.95**3, 0.9**2 * 0.7**2, 0.7**4])
    assert still_open(rates, classes, waited, n_days=0).tolist() == [1.0] * 4
    assert still_open(rates, classes[3:], waited[3:]) == pytest.approx([0.7**SUPPORT_DAYS])
    assert still_open(rates, classes[:0], waited[:0]).shape == (0,)


def test_still_open_over_two_spans_is_the_product_of_each(watch):
    rates = shipping_rates(_ended(2000, np.linspace(0.3, 0.01, 30)[None, :], 8, watch))
    classes, waited = np.full(70, "1.0"), np.arange(70.0)
    whole = still_open(rates, classes, waited, 21)
    assert still_open(rates, classes, waited, 8) * still_open(rates, classes, waited + 8, 13) == pytest.approx(whole)


def test_classes_are_named_by_their_value_and_lines_without_one_by_nothing():
    lines = pd.DataFrame({"priority_class": [2.0, None, 1.0]})
    assert classes_of(lines).tolist() == ["2.0", NO_CLASS, "1.0"]
    assert classes_of(lines.drop(columns="priority_class")).tolist() == [NO_CLASS] * 3


def test_lines_are_flagged_where_the_planted_share_still_open_falls_below_five_percent(watch):
    # .05 = (1 - c)^14 at c = .193 a day: classes shipped a little slower and a little faster than that.
    n_lines = 20_000
    chance = np.where(np.arange(n_lines) % 4 < 2, 0.17, 0.22)
    samples = _ended(n_lines, chance[:, None], 0, watch)
    samples["priority_class"] = np.where(chance < 0.2, 1.0, 2.0)
    model, lines = _learned(samples), _of_classes([1.0, 2.0, 1.0, 2.0], [0.0, 0.0, 3.0, 3.0])
    assert _open_share(model, lines)[:2] == pytest.approx([0.83**14, 0.78**14], rel=0.1)
    assert model.few_waited(lines).tolist() == [False, True, False, True]


def test_a_class_of_which_a_tenth_waits_on_is_not_flagged_though_most_are_shipped_at_once(watch):
    # Class 1: nine in ten go at .9 a day, the tenth at .005, so .1 x .995^14 = 9.3 % wait after two weeks. One rate for
    # the first week would mix the two and leave nobody. Of class 2 all go at .3 a day: .7^14 = .7 %.
    n_lines = 8000
    place = np.arange(n_lines)
    chance = np.where(place % 2, 0.3, np.where(place % 20 == 0, 0.005, 0.9))
    samples = _ended(n_lines, chance[:, None], 7, watch)
    samples["priority_class"] = np.where(place % 2, 2.0, 1.0)
    model, lines = _learned(samples), _of_classes([1.0, 2.0], [0.0, 0.0])
    assert model.few_waited(lines).tolist() == [False, True]
    share = _open_share(model, lines)
    assert share[0] == pytest.approx(0.1 * 0.995**14, rel=0.2)
    assert share[1] < 0.02
    # Those left after a week are the slow ones: nearly all of them wait two weeks more.
    assert _open_share(model, _of_classes([1.0], [7.0]))[0] == pytest.approx(0.995**14, rel=0.1)


def test_three_lines_of_a_class_prove_nothing(watch):
    samples = _ended(3000, np.full((3000, 1), 0.02), 1, watch)
    rare = samples.head(3).assign(priority_class=9.0, at_risk_days=0.5, ended_by="shipment")
    model = _learned(pd.concat([samples, rare], ignore_index=True))
    common, few = _open_share(model, _of_classes([1.0, 9.0], [0.0, 0.0]))
    assert common == pytest.approx(0.98**14, rel=0.05)
    assert 0.5 * common < few < common
    assert not model.few_waited(_of_classes([9.0], [0.0])).any()


def test_lines_without_a_class_have_the_rates_of_all(watch):
    samples = _ended(2000, np.full((2000, 1), 0.1), 2, watch)
    rates = shipping_rates(samples.drop(columns="priority_class"))
    assert set(rates) == {NO_CLASS}
    assert still_open(rates, np.array([NO_CLASS]), np.zeros(1))[0] == pytest.approx(0.9**14, rel=0.1)


def test_the_chance_to_be_still_watched_is_the_planted_one(watch):
    n_lines = 6000
    hazard = np.where(np.arange(30) < 10, 0.05, 0.15)[None, :] * np.where(np.arange(n_lines) % 2, 0.4, 1.0)[:, None]
    samples = _ended(n_lines, hazard, 3, watch)
    samples["ended_by"] = samples["ended_by"].replace("shipment", "change")  # any of our acts censors
    censoring = fit_censoring(samples, 0, NUMERIC, TEXT)
    lines = samples.head(2)
    for day in (1, 7, 14, 25):
        truth = np.prod(1 - hazard[:2, :day], axis=1)
        assert censoring.still_watched(lines, np.full(2, float(day))) == pytest.approx(truth, rel=0.1, abs=0.01)


def test_part_of_a_day_is_that_power_of_the_day(watch):
    samples = _ended(3000, np.full((3000, 1), 0.1), 4, watch)
    censoring = fit_censoring(samples, 0, NUMERIC, TEXT)
    line = samples.head(1)
    none, half, whole = (censoring.still_watched(line, np.array([day]))[0] for day in (0.0, 0.5, 1.0))
    assert (none, half) == (1.0, pytest.approx(np.sqrt(whole)))


def test_goods_at_hand_tell_who_is_shipped(watch):
    here = (np.arange(4000) % 2).astype(float)
    samples = _ended(4000, np.where(here, 0.3, 0.01)[:, None], 5, watch).assign(goods_here=here)
    censoring = fit_censoring(samples.assign(segment="a"), 0, NUMERIC, TEXT)
    waiting, served = censoring.still_watched(samples.head(2).assign(segment="a"), np.full(2, 5.0))
    assert waiting == pytest.approx(0.99**5, abs=0.05)
    assert served == pytest.approx(0.7**5, abs=0.05)


def test_without_any_act_of_ours_nobody_is_censored(watch):
    samples = _ended(200, np.zeros((200, 1)), 6, watch)
    assert set(samples["ended_by"].dropna()) == {"customer"}
    assert fit_censoring(samples, 0, NUMERIC, TEXT) is None
