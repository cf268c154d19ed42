"""Two queues compared: every line that differs, with causes whose parts add up to the whole."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from decisions.comparison import CHANGES, Step, compared


def queue(rows):
    """A queue in rank order from (order_line_id, open_quantity, ship_now_quantity, loss_if_waits)."""
    table = pd.DataFrame(rows, columns=["order_line_id", "open_quantity", "ship_now_quantity", "loss_if_waits"])
    names = {"order_id": "o", "customer_id": "c", "customer_name": "Ada Ltd", "product_id": "p", "warehouse_id": "w"}
    return table.assign(rank=np.arange(1, len(table) + 1), **names)


def random_queue(rng):
    ids = rng.choice([f"l{i}" for i in range(14)], rng.integers(0, 12), replace=False)
    wanted = rng.integers(1, 9, len(ids)).astype(float)
    given = np.minimum(wanted, rng.integers(0, 6, len(ids)))
    return queue(list(zip(ids, wanted, given, rng.normal(20, 30, len(ids)), strict=True)))


def diff(before, *steps):
    """The comparison of queues whose money is not looked at."""
    return compared(Step("", before, 0.0), [Step(cause, queue, 0.0) for cause, queue in steps])


def change_of(found, line):
    return found.lines.set_index("order_line_id").loc[line]


def test_each_line_that_differs_stands_once_with_what_became_of_it_and_a_line_that_is_the_same_in_none():
    before = queue(
        [("stays", 2, 0, 50), ("loses", 3, 3, 30), ("moves", 1, 0, 9), ("goes", 1, 1, 8), ("gains", 4, 1, 7)]
    )
    after = queue(
        [("stays", 2, 0, 50), ("gains", 4, 4, 40), ("loses", 3, 1, 30), ("comes", 5, 0, 6), ("moves", 1, 0, 5)]
    )
    found = diff(before, ("facts", after))
    assert found.lines[["order_line_id", "change"]].to_numpy().tolist() == [
        ["loses", "lost goods"],
        ["gains", "gained goods"],
        ["goes", "gone"],
        ["comes", "new"],
        ["moves", "moved"],
    ]
    assert found.lines["money"].tolist() == pytest.approx([30 * 2 / 3, 40 * 3 / 4, 8, 6, 5])
    assert set(found.lines["cause"]) == {"facts"}
    counted = found.causes.iloc[0][["n_gained", "n_lost", "n_new", "n_gone", "n_moved", "units_moved"]]
    assert counted.tolist() == [1, 1, 1, 1, 1, 3.0]


def test_the_kinds_of_change_stand_in_order_and_the_most_money_first_within_each():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        lines = diff(random_queue(rng), ("facts", random_queue(rng))).lines
        order = list(zip(lines["change"].map(CHANGES.index), -lines["money"], lines["order_line_id"], strict=True))
        assert order == sorted(order)


def test_the_parts_of_the_causes_add_up_to_the_whole_in_units_and_in_money():
    for seed in range(15):
        rng = np.random.default_rng(seed)
        queues, lost = [random_queue(rng) for _ in range(5)], rng.normal(100, 30, 5).tolist()
        causes = ["before", "facts", "overrides", "models", "policy"]
        first, *steps = [Step(*each) for each in zip(causes, queues, lost, strict=True)]
        found = compared(first, steps)
        assert found.causes["cause"].tolist() == [*causes[1:], "all"]
        assert found.causes["lost"].tolist() == pytest.approx([*np.diff(lost), lost[-1] - lost[0]])
        by_cause = found.lines[[f"units_by_{cause}" for cause in causes[1:]]].sum(axis=1)
        differs = found.lines["change"].isin(["lost goods", "gained goods"])
        assert ((by_cause > 0) == (found.lines["change"] == "gained goods"))[differs].all()


def test_a_line_whose_goods_left_as_planned_lost_nothing():
    before = queue([("shipped", 5, 4, 50), ("cut", 3, 3, 30)])
    after = queue([("shipped", 1, 0, 10), ("cut", 2, 0, 20)])
    found = diff(before, ("facts", after))
    assert found.lines["order_line_id"].tolist() == ["cut"], "of three units given one left, and two were taken back"
    assert change_of(found, "cut")[["change", "units_by_facts", "money"]].tolist() == ["lost goods", -2.0, 20.0]


def test_a_line_that_is_gone_lost_no_goods_by_any_cause():
    found = diff(queue([("shipped", 5, 4, 50)]), ("facts", queue([])))
    assert change_of(found, "shipped")[["change", "units_by_facts", "cause"]].tolist() == ["gone", 0.0, "facts"]


def test_a_cause_is_named_where_it_gave_or_took_goods_the_largest_first():
    one, other = [("a", 9, 9, 50), ("b", 9, 0, 40)], [("a", 9, 7, 50), ("b", 9, 2, 40)]
    last = [("b", 9, 7, 60), ("a", 9, 2, 50)]
    found = diff(queue(one), ("facts", queue(other)), ("policy", queue(last)))
    assert change_of(found, "a")[["units_by_facts", "units_by_policy", "cause"]].tolist() == [-2, -5, "policy; facts"]
    back = diff(queue(one), ("facts", queue(other)), ("policy", queue(one)))
    assert back.lines.empty, "what one cause took and another gave back is no difference"
    assert back.causes["n_lost"].tolist() == [1, 1, 0], "but both did something"


def test_a_line_that_comes_by_one_cause_is_not_put_down_to_another_that_moved_it():
    before, facts = queue([("a", 1, 0, 9)]), queue([("a", 1, 0, 9), ("new", 1, 0, 8)])
    after = queue([("new", 1, 0, 20), ("a", 1, 0, 9)])
    found = diff(before, ("facts", facts), ("models", after))
    assert change_of(found, "new")["cause"] == "facts"
    assert change_of(found, "a")["cause"] == "models"


def test_the_order_of_the_rows_does_not_count_and_the_same_queue_differs_in_nothing():
    rng = np.random.default_rng(5)
    before, after = random_queue(rng), random_queue(rng)
    found = diff(before, ("facts", after))
    turned = diff(before.iloc[::-1], ("facts", after.sample(frac=1, random_state=1)))
    assert_frame_equal(found.lines, turned.lines)
    same = diff(before, ("nothing", before.copy()))
    assert same.lines.empty
    assert same.causes.drop(columns="cause").to_numpy().sum() == 0


def test_an_empty_queue_compares_with_another():
    none, some = queue([]), queue([("a", 1, 1, 9)])
    assert diff(none, ("facts", some)).lines["change"].tolist() == ["new"]
    assert diff(some, ("facts", none)).lines["change"].tolist() == ["gone"]
    assert diff(none, ("nothing", none)).lines.empty
