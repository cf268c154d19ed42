"""One morning's decision: what the models hand over reaches money and words."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.cost_of_waiting import cost_of_waiting
from decisions.fulfilment_queue import RunFacts
from decisions.morning import decide
from decisions.policy import Policy
from decisions.rules import limits_of
from models.champions import Predictions, day_of
from tests.decisions.open_lines import (
    TODAY,
    comes_surely_on_day,
    foreseen,
    inbound_lines,
    open_lines,
    pools,
    surely_on_day,
    wanted_at_daily_hazard,
)
from tests.decisions.other_goods import goods_elsewhere
from tests.decisions.words_said import words_said

RUN = RunFacts(run_id="r1", as_of=datetime(2026, 1, 15, 5, tzinfo=UTC), currency="EUR")
ADDED_BY_DECIDE = [
    *("lifetime_value", "lifetime_value_low", "lifetime_value_high", "p_no_order_365d"),
    *(
        "override",
        "override_quantity",
        "override_who",
        "override_why",
        "override_until_on",
        "override_cost",
        "override_n_lines",
    ),
    *("alternative", "alternative_said", "advice_quantity", "advice_product_id", "advice_warehouse_id", "advice_gain"),
]
FEW = "cancellation risk (few such lines ever waited so long)"


def decided(n_lines, lifetime_value=0.0, unit_cost_is_assumed=False, **said):
    """Queue by order_line_id, of lines that the models say this of; all of one order."""
    return decision(n_lines, lifetime_value, unit_cost_is_assumed, **said).queue.set_index("order_line_id")


def decision(
    n_lines,
    lifetime_value=0.0,
    unit_cost_is_assumed=False,
    elsewhere=None,
    policy=None,
    goods=0.0,
    order=None,
    columns=None,
    words=(),
    previous=None,
    **said,
):
    """Decision about such lines, in this order, and one inbound line, PO0, of 10 units that come on day 10."""
    lines = open_lines(n_lines, root_order_id="O", unit_cost_is_assumed=unit_cost_is_assumed, **(columns or {}))
    features = {
        "lines": lines.drop(columns=[*ADDED_BY_DECIDE, "assumed", "paid_share"]),
        "pools": pools(goods).assign(units_per_day=0.0, units_per_line=1.0),
        "alternative_goods": goods_elsewhere(0) if elsewhere is None else elsewhere,
        "overrides": words_said(*words),
        "kept_share": pd.DataFrame({"kept_share": [1.0]}),
        "inbound_dates": inbound_lines(1),
    }
    answers = {
        "survival": wanted_at_daily_hazard(*[0.02] * n_lines),
        "arrival": surely_on_day(*[10] * n_lines),
        "receipts": pd.DataFrame(
            {
                "next_inbound_po_line_id": "PO0",
                "next_inbound_days": 10.0,
                "wait_source": "inbound",
                "wait_is_assumed": False,
            },
            index=lines.index,
        ),
        "inbound": foreseen(inbound_lines(1), comes_surely_on_day(10)),
        "values": pd.DataFrame(
            {
                "lifetime_value": lifetime_value,
                "lifetime_value_low": 0.0,
                "lifetime_value_high": 900.0,
                "p_no_order_365d": 0.2,
            },
            index=lines.index,
        ),
        "joint_cancel_share": 0.0,
        "few_waited": np.zeros(n_lines, dtype=bool),
        "assumed": (),
    }
    answers |= said
    if order is not None:
        features["lines"] = features["lines"].iloc[order].reset_index(drop=True)
        answers |= {name: answers[name].iloc[order].reset_index(drop=True) for name in ("receipts", "values")}
        answers |= {name: answers[name][order] for name in ("survival", "arrival", "few_waited")}
    return decide(features, Predictions(**answers), previous, RUN, policy or Policy())


def test_goods_that_lie_elsewhere_are_advised_and_change_nothing_else():
    policy = Policy(transfer_cost_per_unit=1)
    plain, advised = (decision(3, elsewhere=rows, policy=policy) for rows in (None, goods_elsewhere(1)))
    said = ["advice", "advice_quantity", "advice_product_id", "advice_warehouse_id", "advice_gain", "reason"]
    pd.testing.assert_frame_equal(advised.queue.drop(columns=said), plain.queue.drop(columns=said))
    assert plain.queue["advice"].tolist() == ["tell"] * 3
    assert advised.queue["advice"].tolist() == ["transfer"] * 3
    assert advised.queue["advice_warehouse_id"].tolist() == ["x"] * 3
    # 2 % cancel a day: goods here in 3 days, not 10, save (.98^3 - .98^10) x 40, and moving one costs 1.
    gain = (0.98**3 - 0.98**10) * 40 - 1
    assert advised.queue["advice_gain"].tolist() == pytest.approx([gain] * 3)
    assert advised.elsewhere["gain"] == pytest.approx(3 * gain)
    ends = f"; 1 unit lies in warehouse x: moving it takes 3 days, costs 1.00 EUR and saves {gain + 1:.2f} EUR."
    assert advised.queue["reason"].str.endswith(ends).all()


def test_the_order_in_which_lines_are_handed_over_changes_no_digit():
    rng = np.random.default_rng(921)
    n_lines = 60
    answers = {
        "lifetime_value": rng.uniform(0, 900, n_lines),
        "survival": wanted_at_daily_hazard(*rng.uniform(0, 0.05, n_lines)),
        "joint_cancel_share": 0.35,
        "goods": 20.0,
        "columns": {
            "open_quantity": rng.integers(1, 9, n_lines) * 1.0,
            "line_margin": rng.uniform(1, 90, n_lines),
            "account_id": rng.choice(["a", "b", "c"], n_lines),
        },
        "words": [
            {"order_line_id": "L7", "action": "hold"},
            {"order_line_id": "L9", "quantity": 1.0},
            {"product_id": "p", "action": "exclude", "until_on": pd.Timestamp("2026-01-14")},
        ],
    }
    made = [decision(n_lines, **answers, order=order) for order in (None, rng.permutation(n_lines))]
    for name in ("queue", "pools", "inbound", "rules", "fairness", "overrides"):
        pd.testing.assert_frame_equal(*(getattr(each, name) for each in made), check_exact=True)
    assert made[0].judgement == made[1].judgement
    assert made[0].judgement.methods == {"planned": 1, "sorted": 0}


def test_a_planners_word_reaches_the_queue_with_what_it_costs():
    columns = {"line_margin": [90.0, 40.0]}
    free = decision(2, goods=1.0, columns=columns).queue.set_index("order_line_id")
    words = [{"order_line_id": "L0", "action": "hold", "why": "wrong address", "who": "Bob"}]
    made = decision(2, goods=1.0, columns=columns, words=words)
    queue, (word,) = made.queue.set_index("order_line_id"), made.overrides.to_dict("records")
    assert [free["ship_now_quantity"].tolist(), queue["ship_now_quantity"].tolist()] == [[1.0, 0.0], [1.0, 0.0]]
    assert [free.index[0], queue.index[0]] == ["L0", "L1"]
    cost = queue.loc["L0", "loss_if_waits"] - queue.loc["L1", "loss_if_waits"]
    assert [word["cost"], queue.loc["L0", "override_cost"], made.override_facts["cost"]] == pytest.approx([cost] * 3)
    assert queue.loc["L0", "reason"] == (
        f"Held by Bob: wrong address; {queue.loc['L0', 'loss_if_waits']:.2f} EUR expected loss by waiting"
        f" about 10 days; the hold costs {cost:.2f} EUR."
    )
    told = ["override", "override_who", "override_why", "override_until_on", "override_cost"]
    assert queue.loc["L0", told[:3]].tolist() == ["hold", "Bob", "wrong address"]
    assert queue.loc["L0", "override_until_on"] == pd.Timestamp("2026-01-31")
    assert queue.loc["L1", told].isna().all()


def two_mornings(policy):
    """Two mornings with one unit, and the queue of the second: by then the other of two lines loses more."""
    first = decision(2, goods=1.0, columns={"line_margin": [40.0, 30.0]})
    return first, decision(2, goods=1.0, columns={"line_margin": [20.0, 30.0]}, previous=first.queue, policy=policy)


def test_goods_stay_where_the_last_queue_gave_them_if_no_line_may_move_and_everybody_is_told():
    first, second = two_mornings(Policy(max_moves=0))
    assert first.queue.set_index("order_line_id")["ship_now_quantity"].to_dict() == {"L0": 1, "L1": 0}
    queue = second.queue.set_index("order_line_id")
    assert queue["ship_now_quantity"].to_dict() == {"L0": 1, "L1": 0}
    assert queue.loc["L1", "pool_rank"] == 1  # the rank states worth
    assert queue.loc["L0", "reason"].endswith("; it keeps the unit that the last queue gave it.")
    assert "line L0 keeps the unit that the last queue gave it (no line may move)" in queue.loc["L1", "reason"]
    forgone = queue.loc["L1", "loss_if_waits"] - queue.loc["L0", "loss_if_waits"]
    assert second.steady.facts["forgone"] == pytest.approx(forgone)
    assert second.steady.facts["moves_wanted"] == 2
    given_to = second.given_to
    limits = limits_of(given_to.lines, given_to.pools, given_to.policy)
    again = give_out(given_to.lines, given_to.pools, given_to.policy, limits)
    assert again.ship_now_quantity.tolist() == given_to.lines["ship_now_quantity"].tolist() == [1, 0]


def test_where_any_number_of_lines_may_move_the_last_queue_keeps_goods_for_nobody():
    _, second = two_mornings(Policy())
    alone = decision(2, goods=1.0, columns={"line_margin": [20.0, 30.0]})
    history = ["previous_rank", "changed_because", "promise_changed_because", "promise_on", "promise_chance", "advice"]
    pd.testing.assert_frame_equal(second.queue.drop(columns=history), alone.queue.drop(columns=history))
    assert second.queue.set_index("order_line_id")["ship_now_quantity"].to_dict() == {"L0": 0, "L1": 1}
    _, enough = two_mornings(Policy(max_moves=2))
    pd.testing.assert_frame_equal(enough.queue, second.queue, check_exact=True)


def test_the_share_of_joint_cancellations_reaches_the_money():
    alone, together = (
        decided(2, lifetime_value=300.0, joint_cancel_share=share)["loss_future_orders"].sum() for share in (0.0, 1.0)
    )
    curves = wanted_at_daily_hazard(0.02, 0.02), surely_on_day(10, 10)
    p = cost_of_waiting(open_lines(2), *curves, 0.0, Policy())["p_lost"].iloc[0]
    assert together == pytest.approx(300 * p)  # one event
    assert alone == pytest.approx(300 * (1 - (1 - p) ** 2))


def test_a_line_whose_like_hardly_waited_says_so_and_no_other():
    queue = decided(3, few_waited=np.array([False, True, False]))
    assert queue.loc["L1", "assumed"] == FEW
    assert queue.loc[["L0", "L2"], "assumed"].isna().all()


def test_what_is_assumed_for_one_line_stands_beside_what_is_assumed_for_all():
    few, refused = np.array([True, False]), "cancellation risk (12 % too low on later days)"
    queue = decided(2, unit_cost_is_assumed=[False, True], few_waited=few, assumed=(refused, "next order"))
    assert queue.loc["L0", "assumed"] == f"{refused}; next order; {FEW}"
    assert queue.loc["L1", "assumed"] == f"unit cost; {refused}; next order"


def test_the_money_of_the_lines_that_wait_stands_beside_the_goods_they_wait_for():
    made = decision(3)
    (row,) = made.inbound.to_dict("records")
    assert [row["po_line_id"], row["open_quantity"], row["n_lines_waiting"], row["units_waiting"]] == ["PO0", 10, 3, 3]
    assert row["loss_waiting"] == pytest.approx(made.queue["loss_if_waits"].sum())
    assert row["value_waiting"] == pytest.approx(300)
    assert str(row["arrives_on"].date()) == "2026-01-25"


def test_the_day_is_known_also_where_no_line_waits():
    accounts = pd.DataFrame({"account_id": ["c"], "cutoff_on": [TODAY + np.timedelta64(1, "D")]})
    assert day_of({"lines": open_lines(0), "accounts": accounts}) == pd.Timestamp("2026-01-16")
    assert day_of({"lines": open_lines(1), "accounts": accounts}) == pd.Timestamp("2026-01-15")
