"""Scenarios of later goods: drawn from the forecast, by id, few of them, nothing lost."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from decisions.chances import MOST_CHANCES, N_SCENARIOS, chances_of, drawn_days, even_draws, hashed
from models.part_receipts import PartReceipts
from tests.decisions.open_lines import comes_surely_on_day, foreseen, inbound_lines

ONE = np.array([5.0])  # units wanted in the only pool
HALF = np.log(0.9 ** np.arange(181.0))  # one in ten comes each day


def test_draws_are_spread_evenly_and_depend_on_the_id_alone():
    ids = pd.Series([f"PO{i}" for i in range(50)])
    draws = even_draws(hashed(ids, "arrival"))
    even = (np.arange(N_SCENARIOS) + 0.5) / N_SCENARIOS
    np.testing.assert_allclose(np.sort(draws, axis=1), np.tile(even, (50, 1)))
    np.testing.assert_array_equal(even_draws(hashed(ids[::-1], "arrival"))[::-1], draws)
    assert not (draws == even_draws(hashed(ids, "stays"))).all(axis=1).any()
    # Two ids go together no more than chance would have it.
    ranks = np.corrcoef(draws)[np.triu_indices(50, 1)]
    assert np.abs(ranks).max() < 0.55
    assert abs(ranks.mean()) < 0.02


def test_scenarios_follow_the_forecast():
    chances = chances_of(foreseen(inbound_lines(1), HALF[None, :]), ONE)
    first = chances.day[0, 0]
    for day in (3, 7, 14, 28):
        assert (first <= day).mean() == pytest.approx(1 - 0.9**day, abs=1 / N_SCENARIOS)


def test_a_forecast_that_never_comes_is_never_drawn():
    days = drawn_days(comes_surely_on_day(4, 181), even_draws(hashed(pd.Series(["a", "b"]), "arrival")))
    assert (days[0] == 4).all()
    assert np.isinf(days[1]).all()


def test_goods_in_parts_follow_after_the_gap():
    forecast = foreseen(inbound_lines(1), comes_surely_on_day(4))
    chances = chances_of(replace(forecast, parts=PartReceipts(whole_share=0.25, part_share=0.4, gap_days=3)), ONE)
    whole = chances.quantity[0, 0] == 10
    assert whole.mean() == 0.25
    assert (chances.day[0, 0] == 4).all()
    np.testing.assert_array_equal(chances.quantity[0, :2, ~whole], [[4.0, 6.0]] * int((~whole).sum()))
    assert (chances.day[0, 1, ~whole] == 7).all()


def test_what_holds_up_one_order_of_a_supplier_holds_up_those_it_has_not_begun():
    lines = inbound_lines(3, supplier_id=["s", "s", "t"], quantity=[1.0, 2.0, 4.0])
    chances = chances_of(foreseen(lines, np.repeat(HALF[None, :], 3, axis=0)), ONE)
    day = {q: _day_of(chances, q) for q in (1.0, 2.0, 4.0)}
    np.testing.assert_array_equal(day[1.0], day[2.0])
    assert abs(np.corrcoef(day[1.0], day[4.0])[0, 1]) < 0.5
    begun = lines.assign(received_quantity=[0.5, 0.0, 0.0])
    chances = chances_of(foreseen(begun, np.repeat(HALF[None, :], 3, axis=0)), ONE)
    assert abs(np.corrcoef(_day_of(chances, 0.5), _day_of(chances, 2.0))[0, 1]) < 0.5


def _day_of(chances, quantity):
    """Day of the goods of that quantity in each scenario; 1000 where they do not come."""
    found = np.where(chances.quantity[0] == quantity, chances.day[0], np.inf).min(axis=0)
    last = np.where(np.isinf(chances.quantity[0]), chances.day[0], np.inf).min(axis=0)
    return np.where(np.isinf(found), last, found)


def test_goods_not_ordered_yet_bring_what_is_missing_and_with_the_last_all_is_there():
    # 5 wanted, 3 inbound on day 40; what is ordered anew comes on day 30 and brings 2.
    chances = chances_of(foreseen(inbound_lines(1, quantity=3.0), comes_surely_on_day(40)), ONE)
    assert chances.day[0, :, 0].tolist() == [30.0, 40.0]
    assert chances.quantity[0, :, 0].tolist() == [2.0, np.inf]


def test_the_rest_of_goods_due_at_the_end_of_the_days_foreseen_is_beyond_them():
    forecast = foreseen(inbound_lines(1), comes_surely_on_day(179))
    parts = PartReceipts(whole_share=0.0, part_share=0.5, gap_days=3)
    chances = chances_of(replace(forecast, parts=parts, fresh_not_come=np.ones((1, 181))), ONE)
    assert chances.day[0, :, 0].tolist() == [179.0]
    assert chances.quantity[0, :, 0].tolist() == [5.0]
    # What comes after them takes nothing away from what comes within.
    many = inbound_lines(6, supplier_id=[f"s{i}" for i in range(6)])
    forecast = replace(foreseen(many, comes_surely_on_day(*range(171, 177))), parts=replace(parts, gap_days=60))
    chances = chances_of(forecast, ONE)
    assert np.isinf(chances.quantity[0]).any(axis=0).all()


def test_pools_are_drawn_alike_whatever_number_is_drawn_at_once(monkeypatch):
    names = [f"p{k}" for k in range(7)]
    lines = inbound_lines(20, product_id=[names[k % 6] for k in range(20)], quantity=np.arange(1.0, 21.0))
    pools = pd.DataFrame({"product_id": names, "warehouse_id": "w"})
    forecast = replace(
        foreseen(lines, np.repeat(HALF[None, :], 20, axis=0)),
        pools=pools,
        fresh_not_come=0.95 ** np.ones((7, 181)).cumsum(1),
    )
    once = chances_of(forecast, np.full(7, 30.0))
    monkeypatch.setattr("decisions.chances.SLOTS_AT_ONCE", 9)
    again = chances_of(forecast, np.full(7, 30.0))
    np.testing.assert_array_equal(once.day, again.day)
    np.testing.assert_array_equal(once.quantity, again.quantity)
    assert (once.day[6, 1:] == np.inf).all()  # nothing inbound: only what is ordered anew


def test_a_discontinued_product_gets_what_is_inbound_and_no_more():
    forecast = foreseen(inbound_lines(1, quantity=3.0), comes_surely_on_day(40))
    chances = chances_of(replace(forecast, fresh_not_come=np.ones((1, 181))), ONE)
    assert chances.day[0, :, 0].tolist() == [40.0]
    assert chances.quantity[0, :, 0].tolist() == [3.0]


def test_goods_meant_for_one_line_are_not_the_pools():
    lines = inbound_lines(2, for_order_line_id=[None, "L7"])
    chances = chances_of(foreseen(lines, comes_surely_on_day(12, 3)), ONE)
    assert chances.day[0, 0].min() == 12
    assert chances.pegged_to.tolist() == ["L7"]
    assert (chances.pegged_day == 3).all()
    assert chances.pegged_units.tolist() == [10.0]


def test_of_many_chances_few_are_kept_no_goods_are_lost_and_none_come_sooner():
    days = [9, 3, 5, 21, 14, 2, 30, 8, 11]
    lines = inbound_lines(9, supplier_id=[f"s{i}" for i in range(9)], quantity=np.arange(1.0, 10.0))
    forecast = replace(foreseen(lines, comes_surely_on_day(*days)), fresh_not_come=np.ones((1, 181)))
    chances = chances_of(forecast, ONE)
    assert chances.day.shape == (1, MOST_CHANCES, N_SCENARIOS)
    assert chances.quantity[0, :, 0].sum() == 45
    truly = pd.Series(np.arange(1.0, 10.0), index=days).sort_index().cumsum()
    for day, so_far in zip(chances.day[0, :, 0], np.cumsum(chances.quantity[0, :, 0]), strict=True):
        assert so_far <= truly[day]


def test_lines_of_other_pools_and_row_order_change_nothing():
    lines = inbound_lines(3, quantity=[1.0, 2.0, 4.0])
    curves = np.stack([HALF, 0.5 * HALF, 2 * HALF])
    chances = chances_of(foreseen(lines, curves), ONE)
    more = pd.concat([inbound_lines(1, po_line_id="X", product_id="q"), lines]).reset_index(drop=True)
    again = chances_of(foreseen(more, np.vstack([HALF[None, :], curves])), ONE)
    order = [2, 0, 1]
    shuffled = chances_of(foreseen(lines.iloc[order].reset_index(drop=True), curves[order]), ONE)
    for other in (again, shuffled):
        np.testing.assert_array_equal(chances.day, other.day)
        np.testing.assert_array_equal(chances.quantity, other.quantity)


def test_a_figure_is_needed_for_every_pool():
    with pytest.raises(ValueError, match="2 figures of units wanted for 1 pools"):
        chances_of(foreseen(inbound_lines(1), HALF[None, :]), np.array([1.0, 2.0]))
