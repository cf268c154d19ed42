"""The inbound list against a greedy that deals goods out line by line, and against dates and sums worked by hand."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from decisions.fulfilment_queue import RunFacts
from decisions.inbound_columns import INBOUND_COLUMNS
from decisions.inbound_list import inbound_facts, inbound_list
from decisions.policy import Policy
from tests.decisions.open_lines import NO_DAY, TODAY, comes_surely_on_day, foreseen, inbound_lines

RUN = RunFacts(run_id="r1", as_of=datetime(2026, 1, 15, 5, tzinfo=UTC), currency="EUR")
NOBODY_IDLE = pd.DataFrame({"supplier_id": [], "idle_days": [], "is_disrupted": []})
MONEY = ["n_lines_waiting", "units_waiting", "value_waiting", "loss_waiting"]


def on(*days):
    """These days from today."""
    return (TODAY + np.array(days).astype("timedelta64[D]")).astype("datetime64[s]")


def a_queue(n_lines, **columns):
    """Lines L0, L1, ... of one pool in their pool's order, 10 units each: worth 100 and 40 lost by waiting."""
    usual = {
        "order_line_id": [f"L{i}" for i in range(n_lines)],
        "product_id": "p",
        "warehouse_id": "w",
        "pool_rank": range(1, n_lines + 1),
        "open_quantity": 10.0,
        "ship_now_quantity": 0.0,
        "line_value": 100.0,
        "loss_if_waits": 40.0,
        "override": None,
    }
    texts = ("order_line_id", "product_id", "warehouse_id", "override")
    return pd.DataFrame(usual | columns, index=range(n_lines)).astype(dict.fromkeys(texts, "str"))


def listed(inbound, queue, curves=None, told=None, disrupted=None, policy=None):
    """The list by po_line_id, in its order; without curves PO0 comes on day 1, PO1 on day 2 and so on."""
    if curves is None:
        curves = comes_surely_on_day(*range(1, len(inbound) + 1))
    dates = inbound if told is None else told
    idle = NOBODY_IDLE if disrupted is None else disrupted
    forecast = foreseen(inbound, curves)
    rows = inbound_list(forecast, dates, idle, queue, RUN, policy or Policy(), pd.Timestamp(TODAY))
    return rows.set_index("po_line_id")


def dealt_line_by_line(queue, inbound, days):
    """Units of each pair by going through goods as they come and lines in their order, one at a time."""
    wants = {
        row.order_line_id: 0.0 if row.override == "exclude" else row.open_quantity - row.ship_now_quantity
        for row in queue.itertuples()
    }
    goods = sorted(
        zip(days, inbound.to_dict("records"), strict=True), key=lambda each: (each[0], each[1]["po_line_id"])
    )
    in_turn = queue.sort_values("pool_rank").to_dict("records")
    pairs = {}
    for only_pegged in (True, False):
        for _, come in goods:
            if pd.notna(come["for_order_line_id"]) != only_pegged:
                continue
            left = come["quantity"] - come["received_quantity"]
            for line in in_turn:
                same_pool = all(line[name] == come[name] for name in ("product_id", "warehouse_id"))
                name = line["order_line_id"]
                if come["for_order_line_id"] == name if only_pegged else same_pool:
                    taken = min(left, wants[name])
                    left, wants[name] = left - taken, wants[name] - taken
                    if taken > 0:
                        pairs[come["po_line_id"], name] = taken
    return pairs


def some_market(seed, step):
    """Random lines and goods of four pools, in steps of `step` units; some pegged, held, excluded, served in part."""
    draw = np.random.default_rng(seed)
    n_lines, n_inbound = 40, 25
    queue = a_queue(
        n_lines,
        product_id=draw.choice(["p", "q"], n_lines),
        warehouse_id=draw.choice(["v", "w"], n_lines),
        open_quantity=step * draw.integers(1, 12, n_lines),
        line_value=draw.random(n_lines) * 1000,
        loss_if_waits=draw.random(n_lines) * 100 - 10,
        override=draw.choice(["pin", "hold", "exclude", None], n_lines, p=[0.1, 0.1, 0.1, 0.7]),
    )
    queue["ship_now_quantity"] = queue["open_quantity"] * draw.choice([0, 0, 0.5, 1], n_lines)
    queue = queue.sample(frac=1, random_state=seed)
    queue["pool_rank"] = queue.groupby(["product_id", "warehouse_id"]).cumcount() + 1
    inbound = inbound_lines(
        n_inbound,
        product_id=draw.choice(["p", "q", "nobody's"], n_inbound),
        warehouse_id=draw.choice(["v", "w"], n_inbound),
        quantity=step * draw.integers(2, 20, n_inbound),
        received_quantity=step * draw.integers(0, 2, n_inbound),
        for_order_line_id=np.where(
            draw.random(n_inbound) < 0.3, [f"L{i}" for i in draw.integers(0, 50, n_inbound)], None
        ),
    )
    inbound = inbound.sort_values("po_line_id", ignore_index=True)
    return queue.reset_index(drop=True), inbound, draw.integers(1, 30, n_inbound)


@pytest.mark.parametrize("step", [1.0, 0.1, 1e8 / 3])
@pytest.mark.parametrize("seed", range(8))
def test_goods_are_dealt_as_by_a_greedy_line_by_line(seed, step):
    queue, inbound, days = some_market(seed, step)
    got = listed(inbound, queue, comes_surely_on_day(*days))
    pairs = dealt_line_by_line(queue, inbound, days)
    assert len(pairs) > 10
    line = queue.set_index("order_line_id")
    for name in inbound["po_line_id"]:
        mine = {whom: units for (po, whom), units in pairs.items() if po == name and units > 1e-9 * step}
        part = {whom: units / line.loc[whom, "open_quantity"] for whom, units in mine.items()}
        assert got.loc[name, "n_lines_waiting"] == len(mine)
        assert got.loc[name, "units_waiting"] == pytest.approx(sum(mine.values()))
        for column, of_line in (("value_waiting", "line_value"), ("loss_waiting", "loss_if_waits")):
            want = sum(share * line.loc[whom, of_line] for whom, share in part.items())
            assert got.loc[name, column] == pytest.approx(want, abs=1e-9)


def test_no_line_waits_on_more_than_it_wants_nor_goods_for_more_than_they_are():
    queue, inbound, days = some_market(seed=99, step=0.7)
    queue["override"], inbound["for_order_line_id"] = None, None
    got = listed(inbound, queue, comes_surely_on_day(*days))
    keys = ["product_id", "warehouse_id"]
    wanted = (queue["open_quantity"] - queue["ship_now_quantity"]).groupby([queue[name] for name in keys]).sum()
    pools = got.groupby(keys)[["units_waiting", "open_quantity"]].sum().join(wanted.rename("wanted")).fillna(0.0)
    assert np.allclose(pools["units_waiting"], pools[["open_quantity", "wanted"]].min(axis=1))
    assert (got["units_waiting"] <= got["open_quantity"] + 1e-9).all()
    assert got.loc[got["product_id"] == "nobody's", MONEY].to_numpy().sum() == 0


def test_a_lines_money_is_split_by_the_units_that_each_inbound_line_brings_it():
    # 10 units come first: all of L0. Then 4, and 6 that nobody covers: L1 has 4 of its 10 units there.
    got = listed(inbound_lines(2, quantity=[10.0, 4.0]), a_queue(2, loss_if_waits=[40.0, 20.0]))
    assert got[MONEY].to_numpy().tolist() == [[1, 10, 100, 40], [1, 4, 40, 8]]
    said = inbound_facts(got.reset_index(), a_queue(2, loss_if_waits=[40.0, 20.0]))
    assert said["loss_waiting_on_nothing"] == pytest.approx(20 * 6 / 10)


def test_goods_that_come_sooner_serve_the_better_line_whatever_their_ids():
    got = listed(inbound_lines(2), a_queue(2, loss_if_waits=[40.0, 20.0]), comes_surely_on_day(9, 3))
    assert got["loss_waiting"].to_dict() == {"PO1": 40, "PO0": 20}


def test_of_goods_beyond_the_horizon_those_that_may_come_serve_before_those_that_will_not():
    curves = np.log(np.stack([np.ones(181), np.linspace(1, 0.6, 181)]))
    got = listed(inbound_lines(2), a_queue(1), curves)
    assert got["loss_waiting"].to_dict() == {"PO1": 40, "PO0": 0}


def test_pegged_goods_serve_their_line_alone_and_first():
    inbound = inbound_lines(3, for_order_line_id=["L1", "gone", None], quantity=[15.0, 10.0, 10.0])
    got = listed(inbound, a_queue(2))
    assert got["n_lines_waiting"].to_dict() == {"PO0": 1, "PO1": 0, "PO2": 1}
    assert got["units_waiting"].to_dict() == {"PO0": 10, "PO1": 0, "PO2": 10}, "5 pegged units too many are nobody's"


def test_held_lines_wait_excluded_and_served_ones_do_not_and_of_the_rest_what_they_still_want():
    queue = a_queue(5, override=["hold", "exclude", None, None, "pin"], ship_now_quantity=[0.0, 0.0, 10.0, 4.0, 0.0])
    got = listed(inbound_lines(1, quantity=[99.0]), queue)
    assert got.loc["PO0", MONEY].tolist() == [3, 26, 260, pytest.approx(40 + 0 + 0.6 * 40 + 40)]
    assert inbound_facts(got.reset_index(), queue)["loss_waiting_on_nothing"] == 0


def test_overdue_lines_stand_first_then_the_most_money_then_the_oldest_date_then_the_id():
    expected = np.r_[on(5, -1, -2, 0, -9, -2, -9), [NO_DAY]]
    lines = [None, None, "L0", "L1", None, None, None, "L2"]
    inbound = inbound_lines(8, expected_on=expected, for_order_line_id=lines, product_id="other")
    queue = a_queue(3, loss_if_waits=[40.0, 60.0, 5.0])
    got = listed(inbound, queue)
    assert got.index.tolist() == ["PO2", "PO4", "PO6", "PO5", "PO1", "PO3", "PO7", "PO0"]
    assert got["days_overdue"].fillna(-1).tolist() == [2, 9, 9, 2, 1, 0, -1, 0]
    assert inbound_facts(got.reset_index(), queue) == {
        "lines": 8,
        "overdue": 5,
        "loss_waiting": 105,
        "loss_waiting_on_overdue": 40,
        "loss_waiting_on_nothing": 0,
    }


def test_dates_and_chances_are_read_off_the_curve():
    # A tenth of what has not come comes each day: 0.9^6 = 0.53, 0.9^7 = 0.48, 0.9^21 = 0.11, 0.9^22 = 0.098.
    inbound = inbound_lines(5, expected_on=np.r_[on(10, 0, -3, 400), [NO_DAY]])
    got = listed(inbound, a_queue(0), np.tile(np.arange(181) * np.log(0.9), (5, 1)))
    assert (got["arrives_on"] == on(7)[0]).all()
    assert (got["arrives_latest_on"] == on(22)[0]).all()
    assert got["p_comes_14d"].tolist() == pytest.approx([1 - 0.9**14] * 5)
    late = [got.loc[f"PO{i}", "p_late"] for i in range(5)]
    assert late[:3] == pytest.approx([0.9**10, 0.9, 1.0]), (
        "one due today is foreseen with tomorrow's; one overdue is late"
    )
    assert np.isnan(late[3:]).all(), "a date beyond the horizon, and none at all"


def test_what_will_hardly_come_within_the_horizon_has_no_date():
    got = listed(inbound_lines(1), a_queue(1), np.log(np.linspace(1, 0.3, 181))[None, :])
    assert got.loc["PO0", "arrives_on"] == on(129)[0]  # 1 - 0.7 x 129 / 180 = 0.498
    assert pd.isna(got.loc["PO0", "arrives_latest_on"])
    sure = listed(
        inbound_lines(1),
        a_queue(1),
        np.log(np.linspace(1, 0.3, 181))[None, :],
        policy=Policy(late_promise_cost_per_day=7, long_promise_cost_per_day=3),
    )
    assert sure.loc["PO0", "arrives_latest_on"] == on(180)[0]


def test_slips_are_changes_of_the_date_told_and_parts_received_are_none():
    latest = inbound_lines(2, expected_on=on(9, 7), received_quantity=[3.0, 0.0])
    first = latest.iloc[:1].assign(told_on=on(-30)[0], expected_on=on(-5)[0], is_latest=False)
    received = first.assign(received_on=on(-20)[0], part_quantity=3.0)
    again = first.assign(received_on=on(-18)[0], part_quantity=0.0)
    told = pd.concat([latest, again, received]).sample(frac=1, random_state=0)
    got = listed(latest, a_queue(0), told=told)
    assert got["n_slips"].to_dict() == {"PO0": 1, "PO1": 0}
    assert got["first_expected_on"].to_dict() == {"PO0": on(-5)[0], "PO1": on(7)[0]}
    assert got.loc["PO0", "open_quantity"] == 7


def test_a_disrupted_supplier_is_flagged_and_nothing_is_said_of_one_that_nobody_knows():
    inbound = inbound_lines(4, supplier_id=["a", "b", "all begun", None])
    known = pd.DataFrame({"supplier_id": ["a", "b"], "idle_days": [40, 2], "is_disrupted": [True, False]})
    got = listed(inbound, a_queue(0), disrupted=known).loc[inbound["po_line_id"]]
    assert got["is_disrupted"].tolist() == [True, False, False, pd.NA]
    assert got["supplier_idle_days"].tolist() == [40, 2, pd.NA, pd.NA]


@pytest.mark.parametrize(("n_inbound", "n_lines"), [(0, 0), (0, 2), (2, 0)])
def test_the_columns_are_those_declared_whoever_waits(n_inbound, n_lines):
    rows = listed(inbound_lines(n_inbound), a_queue(n_lines)).reset_index()
    assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == {c.name: c.dtype for c in INBOUND_COLUMNS}
    assert len(rows) == n_inbound
    assert inbound_facts(rows, a_queue(n_lines))["loss_waiting_on_nothing"] == pytest.approx(40 * n_lines)
    assert (rows["as_of"] == pd.Timestamp("2026-01-15 05:00")).all()


def test_the_order_of_rows_does_not_matter():
    queue, inbound, days = some_market(seed=5, step=0.1)
    curves = comes_surely_on_day(*days)
    shuffled = np.random.default_rng(0).permutation(len(inbound))
    want = listed(inbound, queue, curves)
    again = listed(inbound.iloc[shuffled], queue.sample(frac=1, random_state=1), curves[shuffled], told=inbound[::-1])
    pd.testing.assert_frame_equal(want, again, check_exact=True)
