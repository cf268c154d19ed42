"""What moved an answer: shares against all orders by brute force, sums that close, and customers that could be."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from models import account_panel, cancellation, lifetime_value
from models.cancellation import CancellationModel, p_cancel, survival
from models.contributions import (
    MOST_OTHERS,
    RISK_GROUPS,
    SAME_FOR_ALL,
    VALUE_GROUPS,
    Group,
    contributions,
    mixed,
    others_like,
    shapley_values,
)
from models.line_days import open_on

TODAY = pd.Timestamp("2026-06-01").as_unit("s")
PLAIN = tuple(Group(name, (name,)) for name in "abcd")


def chance_of(model):
    return lambda lines: p_cancel(survival(model, lines, 14), 14)


@pytest.fixture(scope="module")
def waiting(samples):
    """Lines that wait on one morning."""
    return open_on(samples, samples["cutoff_on"].max() - pd.Timedelta(days=100))


def all_orders(answer, row, others, groups):
    """Mean addition of each group over every order in which they may come, one other at a time: no weights, no sums."""
    added = dict.fromkeys((group.name for group in groups), 0.0)
    orders = list(permutations(range(len(groups))))
    for order in orders:
        for place in range(len(others)):
            before = answer(others.iloc[[place]].reset_index(drop=True))[0]
            own = np.zeros((1, len(groups)), dtype=bool)
            for group in order:
                own[0, group] = True
                after = answer(mixed(row, others.iloc[[place]], own, groups))[0]
                added[groups[group].name] += (after - before) / len(orders) / len(others)
                before = after
    return added


def crooked(rows):
    """An answer in which every input changes what the others do."""
    a, b, c, d = (rows[name].to_numpy(float) for name in "abcd")
    return np.exp(0.3 * a - 0.2 * b * c) + np.maximum(a, d) * (c > 0)


def test_shares_are_the_mean_over_all_orders_in_which_groups_may_come():
    draw = np.random.default_rng(901)
    others = pd.DataFrame(draw.normal(size=(5, 4)), columns=list("abcd"))
    row = pd.DataFrame(draw.normal(size=(1, 4)), columns=list("abcd"))
    found = contributions(crooked, row, others, PLAIN)
    assert found.by_group == pytest.approx(all_orders(crooked, row, others, PLAIN), abs=1e-12)
    assert found.usual == pytest.approx(crooked(others).mean())
    assert found.usual + sum(found.by_group.values()) == pytest.approx(crooked(row)[0], abs=1e-12)


def test_of_an_answer_that_adds_up_each_group_gets_what_it_adds_against_the_mean():
    draw = np.random.default_rng(902)
    rows = pd.DataFrame(draw.normal(size=(40, 4)), columns=list("abcd"))
    weight = np.array([2.0, -1.0, 0.5, 0.0])
    found = contributions(lambda asked: asked.to_numpy() @ weight, rows.iloc[:1], rows.iloc[1:], PLAIN)
    closed_form = weight * (rows.iloc[0] - rows.iloc[1:].mean()).to_numpy()
    assert list(found.by_group.values()) == pytest.approx(closed_form.tolist(), abs=1e-12)
    assert found.by_group["d"] == 0  # what the answer does not read adds nothing
    sizes = [abs(added) for _, added in found.largest_first()]
    assert sizes == sorted(sizes, reverse=True)


def test_a_game_of_three_gloves_has_the_shares_of_the_textbooks():
    # One left glove (player 0), two right ones; a pair is worth 1: 2/3 and 1/6 each (Shapley & Shubik 1969).
    worth = np.array([float(bool(n & 1) and n > 1) for n in range(8)])
    assert shapley_values(worth).tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6])


@pytest.mark.parametrize(
    ("groups", "read", "aside"),
    [
        (RISK_GROUPS, (*cancellation.NUMERIC, *cancellation.TEXT, "day_of_year"), ("customer_id",)),
        (VALUE_GROUPS, (*account_panel.NUMERIC, *account_panel.TEXT), ()),
    ],
    ids=["risk", "value"],
)
def test_every_input_of_a_model_is_in_exactly_one_group(groups, read, aside):
    grouped = [name for group in groups for name in group.inputs]
    named = [*SAME_FOR_ALL] if "day_of_year" in read else []
    assert sorted([*grouped, *named]) == sorted([*read, *aside])
    assert len({group.name for group in groups}) == len(groups)


@pytest.mark.parametrize("kind", ["boosted", "ridge", "mixed"])
def test_what_moved_the_risk_adds_up_to_the_answer_of_the_whole_mixture(samples, waiting, fit_as, kind):
    chance = chance_of(fit_as(kind, samples, corrections=(0.1, -0.2, 0.0, 0.3, 0.0)))
    answers = chance(waiting)
    place = int(answers.argmax())
    others = waiting.drop(index=waiting.index[place])
    chosen = others_like(others, np.delete(answers, place), "order_line_id")
    found = contributions(chance, waiting.iloc[[place]], chosen, RISK_GROUPS)
    assert found.answer == pytest.approx(answers[place], abs=1e-9)
    assert found.usual == pytest.approx(chance(chosen).mean(), abs=1e-12)
    assert found.usual + sum(found.by_group.values()) == pytest.approx(answers[place], abs=1e-9)
    assert found.n_others == min(len(others), MOST_OTHERS)


def test_the_planted_causes_move_the_risk_most(samples, waiting, boosted):
    # The simulated customers lose patience past the promise, those of segment b half as fast; nothing else counts.
    chance, answers = chance_of(boosted), chance_of(boosted)(waiting)
    late = int(np.flatnonzero((waiting["days_late"] > 10) & (waiting["segment"] == "a"))[0])
    others = others_like(waiting.drop(index=waiting.index[late]), np.delete(answers, late), "order_line_id")
    added = contributions(chance, waiting.iloc[[late]], others, RISK_GROUPS).by_group
    by_time = added.pop("the dates told") + added.pop("the wait so far")
    by_segment = added.pop("who the customer is")
    assert by_time > 0
    assert by_segment > 0
    assert by_time + by_segment > 3 * sum(abs(rest) for rest in added.values())


def test_a_hazard_by_wait_alone_is_moved_by_the_wait_alone(waiting):
    chance = chance_of(CancellationModel("pooled", "", (0.001, 0.002, 0.01, 0.02, 0.05)))
    row = waiting.sort_values("waited_days").iloc[[-1]]
    found = contributions(chance, row, waiting.drop(index=row.index).head(20), RISK_GROUPS)
    assert {name for name, added in found.by_group.items() if added} == {"the wait so far"}


def test_a_line_without_a_named_customer_is_moved_by_that(waiting, boosted):
    row = waiting.iloc[[0]].assign(customer_id=None)
    found = contributions(chance_of(boosted), row, waiting.iloc[1:30], RISK_GROUPS)
    assert found.by_group["the customer's orders so far"] != 0
    assert found.usual + sum(found.by_group.values()) == pytest.approx(chance_of(boosted)(row)[0], abs=1e-9)


def test_what_moved_the_value_adds_up_to_the_answer_with_its_level(book, value_model, asked_of):
    asked = asked_of(book)
    values = lifetime_value.predict(value_model, asked)
    place = int(np.argsort(values)[-3])
    chosen = others_like(asked.drop(index=place), np.delete(values, place), "account_id")
    found = contributions(
        lambda rows: lifetime_value.predict(value_model, rows), asked.iloc[[place]], chosen, VALUE_GROUPS
    )
    assert found.answer == pytest.approx(values[place], rel=1e-9)
    assert found.usual + sum(found.by_group.values()) == pytest.approx(values[place], rel=1e-9)
    assert sum(found.by_group.values()) > 0  # one of the best


def test_a_pooled_value_leans_on_the_same_average_however_many_are_asked(book, asked_of):
    asked = asked_of(book)
    together = lifetime_value.predict(lifetime_value.LifetimeValueModel("assumed", ""), asked)
    alone = lifetime_value.settled(lifetime_value.LifetimeValueModel("assumed", ""), asked)
    assert lifetime_value.predict(alone, asked.iloc[[7]])[0] == pytest.approx(together[7], rel=1e-12)


def test_no_impossible_customer_is_made_up(book, asked_of):
    asked = asked_of(book)
    asked = asked.assign(n_lines=2 * asked["n_orders"], n_cancelled_lines=asked["n_orders"], n_open_lines=1.0)
    own = np.random.default_rng(903).random((4000, len(VALUE_GROUPS))) < 0.5
    once = asked.sort_values("n_orders", kind="stable").iloc[[0]]
    made = mixed(once, asked.sort_values("n_orders", ascending=False, kind="stable").head(50), own, VALUE_GROUPS)
    assert (made["recency_days"] <= made["tenure_days"]).all()
    for shorter, longer in (("28d", "91d"), ("91d", "365d")):
        assert (made[f"n_orders_{shorter}"] <= made[f"n_orders_{longer}"]).all()
    for days in ("28d", "91d", "365d"):
        assert ((made[f"spend_{days}"] == 0) == (made[f"n_orders_{days}"] == 0)).all()
    # Spending, lines and cancellations are those of as many orders as it has.
    per_order = made["spend_amount"] / made["n_orders"]
    assert per_order.between(*(asked["spend_amount"] / asked["n_orders"]).agg(["min", "max"])).all()
    assert (made["n_cancelled_lines"] <= made["n_lines"]).all()
    assert (made["n_lines"] >= made["n_products"]).all()
    assert made["n_orders"].nunique() > 5  # the customers are mixed indeed


def test_a_date_told_keeps_its_distance_from_the_due_day():
    row = pd.DataFrame({"waited_days": [30], "days_late": [20.0], "days_past_latest": [5.0], "n_slips": [1.0]})
    other = pd.DataFrame({"waited_days": [3], "days_late": [-4.0], "days_past_latest": [np.nan], "n_slips": [0.0]})
    groups = RISK_GROUPS[:2]
    made = mixed(row, other, np.array([[False, False], [True, False], [False, True], [True, True]]), groups)
    assert made["waited_days"].tolist() == [3, 30, 3, 30]
    assert made["days_late"].tolist() == [-4.0, 23.0, -7.0, 20.0]  # told for 7 days, or for 10, after the due day
    assert made["days_past_latest"].isna().tolist() == [True, True, False, False]


def test_the_order_in_which_others_are_handed_over_changes_no_digit(waiting, boosted):
    chance = chance_of(boosted)
    shuffled = waiting.sample(frac=1, random_state=901)
    found = [
        contributions(chance, waiting.iloc[[0]], others_like(rows, chance(rows), "order_line_id"), RISK_GROUPS)
        for rows in (waiting.iloc[1:], shuffled[shuffled["order_line_id"] != waiting["order_line_id"].iloc[0]])
    ]
    assert found[0] == found[1]


def test_the_others_asked_answer_on_average_as_all_do():
    answers = np.random.default_rng(904).lognormal(5, 1.5, 5000)
    rows = pd.DataFrame({"id": [f"{i:05d}" for i in range(5000)], "answer": answers})
    assert others_like(rows, answers, "id")["answer"].mean() == pytest.approx(answers.mean(), rel=0.1)
    few = rows.head(10)
    assert sorted(others_like(few, answers[:10], "id")["id"]) == few["id"].tolist()


@pytest.mark.parametrize(("n_rows", "n_others"), [(0, 3), (2, 3), (1, 0)])
def test_what_cannot_be_compared_is_refused(n_rows, n_others):
    row, others = pd.DataFrame({"a": np.zeros(n_rows)}), pd.DataFrame({"a": np.zeros(n_others)})
    with pytest.raises(ValueError, match=f"{n_rows} rows, {n_others} others and 1 groups"):
        contributions(lambda rows: rows["a"].to_numpy(), row, others, PLAIN[:1])
