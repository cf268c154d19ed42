"""Where a day's goods went, against dealing every small pool's units by hand in all ways there are."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from decisions.day_units import Day, Units, goods_of_pools, turns_of
from decisions.limits import Limits
from tests.decisions.open_lines import open_lines
from tests.decisions.published_queues import day_of, left, published_queue

N_POOLS = 400


def some_pools(seed, is_free):
    """Small pools at random: 1 to 4 lines each, whole units; `is_free`: none ships whole, none is held."""
    draw, rows, shelf, others = np.random.default_rng(seed), [], [], []
    for pool in range(N_POOLS):
        for _ in range(draw.integers(1, 5)):
            n_open = int(draw.integers(1, 5))
            advised = int(draw.integers(0, n_open + 1)) * int(draw.random() < 0.6)
            shipped = int(draw.integers(0, n_open + 1)) * int(draw.random() < 0.7)
            withdrawn = int(draw.integers(0, n_open - shipped + 1)) * int(draw.random() < 0.3)
            whole, held = (not is_free and draw.random() < share for share in (0.4, 0.2))
            rows.append((pool, n_open, 0 if held else advised, shipped, withdrawn, whole, held))
        shelf.append(int(draw.integers(0, 4)) * int(draw.random() < 0.5))
        others.append(int(draw.integers(0, 3)) * int(draw.random() < 0.3))
    names = ["pool", "open", "advised", "shipped", "withdrawn", "whole", "held"]
    return pd.DataFrame(rows, columns=names), np.array(shelf), np.array(others)


def the_day_of(lines, shelf, others):
    """The queue of those lines and their day."""
    ids, products = [f"L{i}" for i in range(len(lines))], [f"p{pool:03d}" for pool in lines["pool"]]
    units = {"open_quantity": lines["open"].astype(float), "ship_now_quantity": lines["advised"].astype(float)}
    queue = published_queue(len(lines), product_id=products, available_now=5.0, **units)
    moved = left(**{line: (row.shipped, row.withdrawn) for line, row in zip(ids, lines.itertuples(), strict=True)})
    moved["product_id"] = products
    elsewhere = left(**{f"other{pool}": (float(n), 0.0) for pool, n in enumerate(others)})
    elsewhere["product_id"] = [f"p{pool:03d}" for pool in range(N_POOLS)]
    day = day_of(queue, pd.concat([moved, elsewhere]), is_whole=lines["whole"], most=np.where(lines["held"], 0, np.inf))
    there = pd.DataFrame(
        {"product_id": elsewhere["product_id"], "warehouse_id": "w", "available_now": shelf.astype(float)}
    )
    return queue, Day(day.left, there, day.turns)


def first_served(wants, whole, goods):
    """Of all ways to deal the goods the one that serves the first line most, then the second, and so on."""
    choices = [[0, want] if ships_whole else range(want + 1) for want, ships_whole in zip(wants, whole, strict=True)]
    return max(way for way in product(*choices) if sum(way) <= goods)


def off_the_last(units, haves):
    """Take units one by one, each from the last line that still has one."""
    taken = [0] * len(haves)
    for _ in range(units):
        last = max(i for i, have in enumerate(haves) if have > taken[i])
        taken[last] += 1
    return taken


def by_hand(lines, shelf, others):
    """Units without goods, not done, in turn, out of turn, against and passed over, of lines in the order of turns."""
    rows = list(lines.itertuples())
    wanted = [row.open - row.withdrawn for row in rows]
    done = [min(row.advised, row.shipped) for row in rows]
    due = [min(row.advised, max(want, had)) for row, want, had in zip(rows, wanted, done, strict=True)]
    lacking, beyond = np.subtract(due, done), np.subtract([row.shipped for row in rows], done)
    free = shelf + others + sum(row.shipped for row in rows) - sum(due)
    no_goods = off_the_last(min(max(-free, 0), sum(lacking)), lacking)
    not_done = np.subtract(lacking, no_goods)
    taken = max(sum(beyond) - max(free, 0), 0)  # what free goods do not explain was meant for advised lines
    idle = max(shelf - sum(not_done), 0)
    wants = [0 if row.held else max(want - own, 0) for row, want, own in zip(rows, wanted, due, strict=True)]
    whole = [row.whole for row in rows]
    right = first_served(wants, whole, sum(beyond) - taken + idle)
    in_turn = np.minimum(beyond, right)
    past = beyond - in_turn
    against = np.array(off_the_last(taken, past))
    lacks = np.subtract(right, in_turn)
    passed = lacks - np.array(first_served(lacks.tolist(), whole, idle)) if sum(past - against) else lacks * 0
    return no_goods, not_done, in_turn, past - against, against, passed


@pytest.mark.parametrize(("seed", "is_free"), [(901, True), (902, False)])
def test_the_units_of_a_day_are_those_dealt_by_hand(seed, is_free):
    lines, shelf, others = some_pools(seed, is_free)
    units = Units.of(*the_day_of(lines, shelf, others))
    got = [units.no_goods, units.not_done, units.in_turn, units.out_of_turn, units.against, units.passed_over]
    for pool, of_pool in lines.groupby("pool"):
        want = by_hand(of_pool, shelf[pool], others[pool])
        assert [part[of_pool.index].tolist() for part in got] == [list(part) for part in want], of_pool
    assert all(part.sum() > 20 for part in got), "every kind occurs"


def test_all_units_are_accounted_for_and_what_one_line_gets_wrongly_another_lacks():
    lines, shelf, others = some_pools(903, is_free=True)
    queue, day = the_day_of(lines, shelf, others)
    units, goods = Units.of(queue, day), goods_of_pools(queue, day)
    assert np.array_equal(units.advised, units.done + units.withdrawn + units.no_goods + units.not_done)
    assert np.array_equal(lines["shipped"], units.done + units.in_turn + units.out_of_turn + units.against)
    assert (goods["morning"] + goods["came"] == goods["left"] + goods["shelf"]).all()
    assert goods["left"].tolist() == (lines.groupby("pool")["shipped"].sum() + others).tolist()
    of_pool = lines.assign(**{name: getattr(units, name) for name in units.__dataclass_fields__}).groupby("pool").sum()
    assert (of_pool["out_of_turn"] == of_pool["passed_over"]).all()
    assert (of_pool["against"] <= of_pool["not_done"]).all()


def test_goods_that_came_for_one_line_are_that_lines_though_it_stands_last():
    queue = published_queue(2)
    moved = left(L1=(3.0, 0.0))
    assert Units.of(queue, day_of(queue, moved)).out_of_turn.tolist() == [0.0, 3.0]
    mine = Units.of(queue, day_of(queue, moved.assign(received_quantity=3.0)))
    assert (mine.in_turn.tolist(), mine.passed_over.tolist()) == ([0.0, 3.0], [0.0, 0.0])


def test_whose_turn_hangs_on_other_goods_is_neither_passed_over_nor_out_of_turn():
    queue = published_queue(3)
    grouped = Units.of(queue, day_of(queue, left(L2=(3.0, 0.0)), is_judged=[False, True, True], is_whole=True))
    assert grouped.passed_over.tolist() == [0.0, 0.0, 0.0], "three units serve no whole line of ten"
    day = day_of(queue, left(L2=(3.0, 0.0)), is_judged=[False, False, False])
    assert Units.of(queue, day).in_turn.tolist() == [0.0, 0.0, 3.0]


def test_goods_put_back_on_the_shelf_came_and_a_partial_gift_is_in_whole_steps():
    queue = published_queue(2, available_now=4.0)
    day = day_of(queue, left(L0=(-2.0, 0.0), L1=(2.0, 0.0)), shelf=4.0)
    assert goods_of_pools(queue, day)["came"].tolist() == [2.0]
    stepped = Units.of(queue, day_of(queue, left(L1=(6.0, 0.0)), quantity_step=4.0))
    assert (stepped.in_turn.tolist(), stepped.passed_over.tolist()) == ([0.0, 0.0], [4.0, 0.0])


def test_turns_are_pins_then_the_rules_turns_then_the_rank_and_a_held_line_may_have_nothing():
    lines = open_lines(4).assign(
        pool_rank=[1, 2, 3, 4], override=pd.array([None, None, "pin", "hold"], dtype="str"), may_split=True
    )
    limits = Limits.none(4, 1)
    limits.turn[:] = [1, 0, 1, 0]
    turns = turns_of(lines, limits)
    assert turns["turn"].tolist() == [4, 2, 1, 3]
    assert turns["most"].tolist() == [np.inf, np.inf, np.inf, 0.0]
    assert turns["is_judged"].all()
