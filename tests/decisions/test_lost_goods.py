"""Lost goods against a deal of single units, line by line, and against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest

from decisions.lost_goods import SinceLast, lost_goods, still_planned
from tests.decisions.published_queues import left, published_queue, the_day_before


def lost(queue, since):
    return lost_goods(queue, since, "EUR").set_index("order_line_id")


def test_a_line_that_got_what_the_last_queue_gave_it_has_lost_nothing():
    then = the_day_before(published_queue(3), ship_now_quantity=[10.0, 4.0, 0.0])
    now = published_queue(3, ship_now_quantity=[10.0, 6.0, 0.0])
    assert lost(now, SinceLast(then, left())).empty


def test_goods_that_went_to_a_line_that_loses_more_are_named_with_both_prices():
    then = the_day_before(published_queue(2), ship_now_quantity=[0.0, 10.0])
    now = published_queue(2, ship_now_quantity=[10.0, 0.0], loss_if_waits=[50.0, 40.0], available_now=10.0)
    rows = lost(now, SinceLast(then, left()))
    assert rows["money"].to_dict() == {"L1": 40.0}
    assert rows.loc["L1", "said"] == (
        "Lost 10 of the 10 units that the last queue gave it: 10 go to L0 (5.00 EUR a unit lost by waiting, here 4.00);"
        " now it waits about 10 days: 40.00 EUR expected loss; no goods are here."
    )
    assert "pin the line" in rows.loc["L1", "do"]


@pytest.mark.parametrize(
    ("open_now", "moved", "planned"),
    [
        (10.0, {}, 4.0),
        (7.0, {"L0": (3.0, 0.0)}, 1.0),  # three of four were shipped
        (6.0, {"L0": (4.0, 0.0)}, 0.0),
        (6.0, {}, 0.0),  # picked, or firmly reserved
        (6.0, {"L0": (0.0, 4.0)}, 4.0),  # cancelled of what should have waited
        (2.0, {"L0": (0.0, 8.0)}, 2.0),  # and of its goods
        (5.0, {"L0": (3.0, 2.0)}, 1.0),
        (12.0, {}, 4.0),
    ],
)
def test_what_left_since_is_no_loss_and_what_was_cancelled_takes_no_goods(open_now, moved, planned):
    then = the_day_before(published_queue(1), ship_now_quantity=4.0)
    now = published_queue(1, open_quantity=open_now)
    assert still_planned(now, SinceLast(then, left(**moved))).tolist() == [planned]


def test_a_new_line_and_one_of_another_product_now_were_given_nothing():
    then = the_day_before(published_queue(1), ship_now_quantity=10.0, product_id="other")
    assert still_planned(published_queue(2), SinceLast(then, left())).tolist() == [0.0, 0.0]


def test_goods_shipped_beyond_the_plan_are_found_where_they_went():
    then = the_day_before(published_queue(3), ship_now_quantity=[10.0, 0.0, 1.0])
    now = published_queue(3).iloc[:1]
    since = SinceLast(then, left(L1=(10.0, 0.0), L2=(10.0, 0.0), new=(2.0, 0.0)))
    said = lost(now, since).loc["L0", "said"]
    # L2 was to have one of its ten: nine are beyond, and L1 stands before it.
    assert said.startswith("Lost 10 of the 10 units that the last queue gave it: 10 were shipped to L1; now it waits")
    fewer = SinceLast(then, left(L2=(10.0, 0.0)))
    assert "9 were shipped to L2, 1 is no longer here;" in lost(now, fewer).loc["L0", "said"]


def test_what_was_picked_for_a_line_before_the_last_queue_took_nothing_from_others():
    then = the_day_before(published_queue(2, open_quantity=[10.0, 2.0]), ship_now_quantity=[5.0, 2.0])
    now = published_queue(1)
    since = SinceLast(then, left(L1=(8.0, 0.0)))  # two that were open and planned, six picked before
    assert "5 are no longer here" in lost(now, since).loc["L0", "said"]


def test_a_pinned_taker_is_called_pinned_and_many_takers_are_summed_up():
    then = the_day_before(published_queue(6), ship_now_quantity=[0, 0, 0, 0, 0, 10.0])
    now = published_queue(6, ship_now_quantity=[2.0, 2, 2, 2, 2, 0], override=["pin", *[None] * 5])
    said = lost(now, SinceLast(then, left())).loc["L5", "said"]
    assert "2 go to L0 (pinned), 2 go to L1 (4.00 EUR" in said
    assert "4 to 2 more;" in said


def test_a_held_line_is_told_to_check_its_hold():
    then = the_day_before(published_queue(1), ship_now_quantity=1.0)
    now = published_queue(1, action="hold", override="hold", reason="Held by Ada: fair.")
    rows = lost(now, SinceLast(then, left()))
    assert rows.loc["L0", "do"] == "see that the hold is meant"
    assert rows.loc["L0", "said"] == (
        "Lost 1 of the 1 unit that the last queue gave it: 1 is no longer here; now held by Ada: fair."
    )


def dealt_unit_by_unit(queue, planned, takers):
    """Whom each lost unit of a pool went to: losers by pool_rank, takers in their order, one unit at a time."""
    pairs = {}
    stock = {pool: list(units) for pool, units in takers.items()}
    for line, units in sorted(
        zip(queue.to_dict("records"), planned, strict=True), key=lambda each: each[0]["pool_rank"]
    ):
        for _ in range(int(units - line["ship_now_quantity"])):
            taker = next((each for each in stock.get(line["product_id"], []) if each[1] > 0), None)
            if taker is not None:
                taker[1] -= 1
            key = line["order_line_id"], taker[0] if taker else "gone"
            pairs[key] = pairs.get(key, 0) + 1
    return pairs


@pytest.mark.parametrize("seed", range(6))
def test_lost_units_are_found_as_by_a_deal_of_single_units(seed):
    draw = np.random.default_rng(seed)
    n = 30
    queue = published_queue(
        n,
        product_id=draw.choice(["p", "q", "s"], n),
        ship_now_quantity=draw.integers(0, 5, n).astype(float),
        loss_if_waits=draw.random(n) * 90,
    )
    queue["pool_rank"] = queue.groupby("product_id").cumcount() + 1
    then = the_day_before(queue, ship_now_quantity=draw.integers(0, 7, n).astype(float))
    since = SinceLast(then, left())
    planned = still_planned(queue, since)
    assert planned.tolist() == then["ship_now_quantity"].tolist()
    more = queue["ship_now_quantity"] - planned
    takers = {
        product: [[line, units] for line, units in zip(own["order_line_id"], more[own.index], strict=True) if units > 0]
        for product, own in queue.groupby("product_id")
    }
    pairs = dealt_unit_by_unit(queue, planned, takers)
    rows = lost(queue.sample(frac=1, random_state=seed), since)
    assert set(rows.index) == {line for line, _ in pairs}
    for line, said in rows["said"].items():
        own = {taker: units for (loser, taker), units in pairs.items() if loser == line}
        assert said.startswith(f"Lost {sum(own.values())} of the ")
        if len(own) <= 3:
            named = {t: f"{u} {'goes' if u == 1 else 'go'} to {t} " for t, u in own.items() if t != "gone"}
            assert all(words in said for words in named.values())
        assert ("no longer here" in said) == ("gone" in own)


def test_the_money_is_the_lost_units_share_of_what_waiting_costs():
    then = the_day_before(published_queue(1), ship_now_quantity=8.0)
    now = published_queue(1, ship_now_quantity=3.0, loss_if_waits=60.0)
    assert lost(now, SinceLast(then, left()))["money"].tolist() == [pytest.approx(60 * 5 / 10)]


def test_nothing_is_lost_where_nobody_waits():
    empty = published_queue(0)
    assert lost_goods(empty, SinceLast(the_day_before(published_queue(1)), left()), "EUR").empty
    assert lost_goods(published_queue(1), SinceLast(empty, left()), "EUR").empty
    assert isinstance(lost_goods(empty, SinceLast(empty, left()), "EUR"), pd.DataFrame)


def test_goods_that_a_line_may_take_no_more_and_nobody_else_takes_lie_here_still():
    now = published_queue(1, open_quantity=91.0, available_now=72.0, loss_if_waits=193.09)
    since = SinceLast(the_day_before(now, ship_now_quantity=72.0), left())
    said = lost(now, since).loc["L0", "said"]
    assert said.startswith("Lost 72 of the 72 units that the last queue gave it: 72 lie here still; now ")
    fewer = now.assign(available_now=70.0)
    assert ": 70 lie here still, 2 are no longer here; now " in lost(fewer, since).loc["L0", "said"]
