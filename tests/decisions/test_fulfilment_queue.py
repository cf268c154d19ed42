"""The queue as published: its columns, ranks, dates, advice and history."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.cost_of_waiting import COLUMNS, cost_of_waiting
from decisions.fulfilment_queue import RunFacts, fulfilment_queue, wait_days
from decisions.policy import Policy
from decisions.queue_columns import QUEUE_COLUMNS
from decisions.ranking import rank_lines
from tests.decisions.open_lines import NO_DAY, TODAY, open_lines, pools, surely_on_day, wanted_at_daily_hazard

RUN = RunFacts(run_id="r1", as_of=datetime(2026, 1, 15, 5, tzinfo=UTC), currency="EUR")
NEVER = 181
CONTRACT = """rank pool_rank pool_size order_line_id order_id customer_id product_id warehouse_id customer_reference
    customer_name product_name owner segment ordered_at requested_on promised_on waited_days days_late open_quantity
    available_now ship_now_quantity next_inbound_po_line_id next_inbound_on expected_on expected_latest_on promise_on
    promise_chance action advice advice_quantity advice_product_id advice_warehouse_id advice_gain p_cancel_14d
    lifetime_value lifetime_value_low lifetime_value_high p_no_order_365d loss_if_waits loss_cancel
    loss_future_orders loss_service loss_later_goods line_value currency stock_price reason assumed override
    override_who override_why override_until_on override_cost previous_rank changed_because
    promise_changed_because promise_told_on run_id as_of""".split()


def day(number):
    return TODAY + np.timedelta64(number, "D")


def ships_with(arrival, allocation, lines):
    """What ships now does so today, what waits on the quantile's day of its next receipt."""
    come = np.cumsum(arrival[:, :-1], axis=1) - 1e-9
    here = (allocation.ship_now_quantity >= lines["open_quantity"]).to_numpy()
    waits = {"wait_days": wait_days(arrival), "next_inbound_po_line_id": "PO1", "next_inbound_days": wait_days(arrival)}
    for name, share in (("ship_days", 0.5), ("latest_ship_days", 0.9)):
        reached = come >= share - 2e-9
        waits[name] = np.where(here, 0, np.where(reached[:, -1], reached.argmax(axis=1), np.nan))
    told = (lines["latest_promised_on"] - lines["cutoff_on"]).dt.days.to_numpy()
    leaves_by_told = [
        row[: int(days) + 1].sum() if days >= 0 else 0.0 for row, days in zip(arrival, np.nan_to_num(told), strict=True)
    ]
    waits["told_chance"] = np.where(np.isnan(told), np.nan, np.where(here, 1.0, leaves_by_told))
    return pd.DataFrame(waits | {"latest_chance": 0.9}, index=lines.index)


def queue_of(
    lines, goods=1.0, arrival_days=10, previous=None, run=RUN, wait_source="inbound", hazard=0.02, is_assumed=False
):
    """Queue of lines that all wait for a receipt that is sure to come, by order_line_id."""
    n_lines, policy = len(lines), Policy()
    arrival = surely_on_day(*[arrival_days] * n_lines) if np.isscalar(arrival_days) else arrival_days
    costs = cost_of_waiting(lines, wanted_at_daily_hazard(*[hazard] * n_lines), arrival, 0.35, policy)
    allocation = give_out(lines.assign(loss_if_waits=costs["loss_if_waits"]), pools(goods), policy)
    lines = lines.join(rank_lines(lines.assign(loss_if_waits=costs["loss_if_waits"])))
    waits = ships_with(arrival, allocation, lines).assign(wait_source=wait_source, wait_is_assumed=is_assumed)
    queue = fulfilment_queue(lines, costs, allocation, waits, previous, run, policy)
    assert queue["rank"].tolist() == list(range(1, n_lines + 1))
    return queue.set_index("order_line_id", drop=False)


def test_the_columns_are_those_of_the_contract_in_its_order_and_types():
    queue = queue_of(open_lines(3))
    assert queue.columns.tolist() == CONTRACT == [column.name for column in QUEUE_COLUMNS]
    assert {name: str(dtype) for name, dtype in queue.dtypes.items()} == {c.name: c.dtype for c in QUEUE_COLUMNS}
    assert all(column.unit and column.meaning for column in QUEUE_COLUMNS)


def test_an_empty_morning_has_an_empty_queue_of_the_same_types():
    queue = queue_of(open_lines(0))
    assert {name: str(dtype) for name, dtype in queue.dtypes.items()} == {c.name: c.dtype for c in QUEUE_COLUMNS}


def test_the_line_that_loses_more_ships_and_the_other_learns_its_price():
    queue = queue_of(open_lines(2, line_margin=[40.0, 90.0], account_id=["a", "b"]))
    assert queue["order_line_id"].tolist() == ["L1", "L0"]
    assert queue["action"].tolist() == ["ship", "wait"]
    assert queue["stock_price"].tolist() == [queue.loc["L0", "loss_if_waits"]] * 2
    terms = queue[list(COLUMNS[1:])].sum(axis=1)
    assert np.abs(terms - queue["loss_if_waits"]).max() < 1e-9


def test_dates_are_today_for_what_ships_the_receipt_for_what_waits_and_none_for_what_is_held():
    lines = open_lines(4, line_margin=[90.0, 40.0, 10.0, 5.0], override=[None, None, "hold", None])
    arrival = 0.6 * surely_on_day(4, 4, 4, NEVER) + 0.4 * surely_on_day(9, 9, 9, NEVER)
    queue = queue_of(lines, arrival_days=arrival)
    assert queue.loc[["L0", "L1"], "expected_on"].tolist() == [pd.Timestamp(TODAY), pd.Timestamp(day(4))]
    assert queue.loc[["L0", "L1"], "expected_latest_on"].tolist() == [pd.Timestamp(TODAY), pd.Timestamp(day(9))]
    assert queue.loc[["L2", "L3"], ["expected_on", "expected_latest_on"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("told", "contact_allowed", "advice"),
    [
        (NO_DAY, True, "tell"),
        (day(9), True, "tell"),  # no chance of being met
        (day(10), True, "none"),
        (day(17), True, "none"),  # a week off is near enough
        (day(18), True, "tell"),
        (NO_DAY, False, "none"),
    ],
)
def test_a_customer_is_told_where_no_date_or_one_that_will_not_do_was_told(told, contact_allowed, advice):
    lines = open_lines(1, latest_promised_on=told, contact_allowed=contact_allowed)
    assert queue_of(lines, goods=0.0)["advice"].tolist() == [advice]
    assert queue_of(lines, goods=1.0)["advice"].tolist() == ["none"]  # it ships
    assert queue_of(lines.assign(override="hold"), goods=1.0)["advice"].tolist() == ["none"]


def test_any_date_told_is_too_early_where_nothing_is_expected_to_come():
    assert queue_of(open_lines(1, latest_promised_on=day(50)), 0.0, NEVER)["advice"].tolist() == ["tell"]


def test_what_was_assumed_is_listed():
    lines = open_lines(3, assumed=["unit cost", None, None], lifetime_value=[50.0, 0.0, 50.0])
    assert queue_of(lines, wait_source="default wait").loc[["L0", "L1", "L2"], "assumed"].tolist() == [
        "unit cost; wait (no inbound line); orders lost by waiting",
        "wait (no inbound line)",
        "wait (no inbound line); orders lost by waiting",
    ]
    assert queue_of(open_lines(1))["assumed"].isna().all()
    assert queue_of(open_lines(1), is_assumed=True)["assumed"].tolist() == ["wait (no receipt was ever seen)"]


def test_a_part_shipment_says_so():
    queue = queue_of(open_lines(1, open_quantity=3.0, may_split=True), goods=2.0)
    assert queue[["action", "ship_now_quantity"]].to_numpy().tolist() == [["ship_part", 2.0]]
    assert queue["reason"].item().startswith("Ships 2 of 3: ")


def test_held_lines_are_ranked_last_and_marked():
    lines = open_lines(3, line_margin=[90.0, 40.0, 10.0], override=["exclude", None, None], credit_hold=[0, 0, 1])
    queue = queue_of(lines.astype({"credit_hold": bool}), goods=5.0)
    assert queue["order_line_id"].tolist() == ["L1", "L0", "L2"]
    assert queue["action"].tolist() == ["ship", "hold", "hold"]
    assert queue["ship_now_quantity"].tolist() == [1.0, 0.0, 0.0]


def test_without_a_previous_queue_there_is_no_history():
    queue = queue_of(open_lines(2))
    assert queue[["previous_rank", "changed_because"]].isna().all(axis=None)


def changes(first, second, goods=(0.0, 0.0), run=RUN):
    """Previous ranks and causes of the second morning by order_line_id."""
    queue = queue_of(second, goods[1], previous=queue_of(first, goods[0]).reset_index(drop=True), run=run)
    return queue.sort_index()[["previous_rank", "changed_because"]].astype(object).to_numpy().tolist()


def test_a_rank_that_did_not_move_needs_no_cause():
    lines = open_lines(2, line_margin=[50.0, 40.0])
    unmoved = changes(lines, lines, goods=(0.0, 5.0))
    assert [rank for rank, _ in unmoved] == [1, 2]
    assert all(pd.isna(cause) for _, cause in unmoved)


def test_a_rank_that_moved_says_why():
    before = open_lines(2, line_margin=[50.0, 40.0], account_id=["a", "b"])
    after = before.assign(line_margin=[40.0, 50.0])
    model_changed = RunFacts("r2", RUN.as_of, "EUR", model_changed=True)
    assert changes(before, after) == [[1, "other lines changed"], [2, "other lines changed"]]
    assert changes(before, after.assign(waited_days=11)) == [[1, "waited longer"], [2, "waited longer"]]
    assert changes(before, after, goods=(0.0, 1.0)) == [[1, "goods arrived"], [2, "goods arrived"]]
    assert changes(before, after, goods=(1.0, 0.0)) == [[1, "goods gone"], [2, "goods gone"]]
    assert changes(before, after, run=model_changed) == [[1, "model changed"], [2, "model changed"]]
    held = before.assign(override=["hold", None], open_quantity=[2.0, 1.0])
    assert changes(before, held) == [[1, "override set; quantity changed"], [2, "other lines changed"]]
    assert changes(held, before)[0] == [2, "override lifted; quantity changed"]


def test_a_line_that_was_not_in_the_previous_queue_is_new():
    lines = open_lines(2, line_margin=[50.0, 40.0])
    causes = changes(lines.iloc[[1]].reset_index(drop=True), lines)
    assert (causes[0][1], causes[1]) == ("new line", [1, "other lines changed"])


def test_row_order_does_not_matter():
    lines = open_lines(6, line_margin=[5.0, 9.0, 9.0, 1.0, 3.0, 4.0])
    queue = queue_of(lines, goods=2.0)
    shuffled = queue_of(lines.iloc[[3, 1, 5, 0, 2, 4]].reset_index(drop=True), goods=2.0)
    pd.testing.assert_frame_equal(queue, shuffled)


def test_times_are_published_in_utc():
    lines = open_lines(1)
    lines["ordered_at"] = pd.to_datetime(["2026-01-05T10:00:00+02:00"]).as_unit("us")
    queue = queue_of(lines)
    assert queue["ordered_at"].item() == pd.Timestamp("2026-01-05T08:00:00")
    assert queue["as_of"].item() == pd.Timestamp("2026-01-15T05:00:00")


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"queue: 1 of 59 columns are missing: \['owner'\]; add them to `lines`"):
        queue_of(open_lines(1).drop(columns="owner"))


def test_the_wait_until_the_next_receipt_is_its_median_day():
    arrival = 0.4 * surely_on_day(2, 5, NEVER) + 0.45 * surely_on_day(7, 5, 3) + 0.15 * surely_on_day(30, 5, NEVER)
    waits = wait_days(arrival)
    assert waits[:2].tolist() == [7.0, 5.0]
    assert np.isnan(waits[2])
