"""What waiting costs, against hand-worked numbers, simulation and the laws it must keep."""

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.cost_of_waiting import COLUMNS, cost_of_waiting
from decisions.policy import Policy
from tests.decisions.open_lines import open_lines, pools, surely_on_day, wanted_at_daily_hazard

KAPPA_ONLY = Policy(cancel_lost_share=0.1, late_lost_share=0)
NEVER = 181
HANDLING = Policy(cancel_handling_cost=8, cancel_lost_share=0, late_lost_share=0)
JOINT = 0.35  # as in the simulated company


def price(lines, survival, arrival, policy, joint_cancel_share=JOINT):
    """What waiting costs where lines of an order often go together, unless a test says else."""
    return cost_of_waiting(lines, survival, arrival, joint_cancel_share, policy)


def random_lines(n_lines, seed, **columns):
    rng = np.random.default_rng(seed)
    lines = open_lines(
        n_lines,
        account_id=rng.choice([None, "a", "b", "c"], n_lines),
        open_quantity=rng.integers(1, 9, n_lines).astype(float),
        line_margin=rng.uniform(1, 90, n_lines),
        waited_days=rng.integers(0, 40, n_lines),
        days_late=rng.choice([np.nan, -20.0, 3.0], n_lines),
        paid_share=rng.uniform(0.8, 1, n_lines),
    )
    lifetime = lines["account_id"].map({"a": 300.0, "b": 50.0, "c": 2000.0}).fillna(0.0)
    lines = lines.assign(lifetime_value=lifetime, **columns)
    survival = wanted_at_daily_hazard(*rng.uniform(0, 0.05, n_lines))
    arrival = rng.random((n_lines, 182)) ** 8
    arrival[:, 0] = 0
    return lines, survival, arrival / arrival.sum(axis=1, keepdims=True)


def test_the_line_of_the_design_loses_18_38_and_gets_the_unit():
    lines = open_lines(2, account_id=["a", "b"], line_margin=[40.0, 90.0], lifetime_value=[300.0, 0.0])
    costs = price(lines, wanted_at_daily_hazard(0.03, 0.01), surely_on_day(10, 10), KAPPA_ONLY)
    assert costs["loss_if_waits"].round(2).tolist() == [18.38, 8.61]
    assert costs["loss_cancel"].round(2).tolist() == [10.50, 8.61]
    assert costs["loss_future_orders"].round(2).tolist() == [7.88, 0.0]
    allocation = give_out(lines.assign(loss_if_waits=costs["loss_if_waits"]), pools(1), KAPPA_ONLY)
    assert allocation.ship_now_quantity.tolist() == [1.0, 0.0]
    assert allocation.pools["stock_price"].round(2).tolist() == [8.61]


def test_the_loss_is_the_exact_sum_of_its_four_terms():
    policy = Policy(cancel_handling_cost=3, late_penalty_share_per_day=0.002, won_back_share=0.1)
    costs = price(*random_lines(200, seed=1), policy)
    assert (costs["loss_if_waits"] == costs[list(COLUMNS[1:])].sum(axis=1)).all()
    assert (costs["loss_service"] > 0).any()


def test_the_loss_agrees_with_simulated_waits():
    rng, n_runs = np.random.default_rng(3), 400_000
    policy = Policy(cancel_lost_share=0.2, late_lost_share=0.1, cancel_handling_cost=2, late_penalty_share_per_day=0.01)
    lines = open_lines(1, lifetime_value=300.0, days_late=-4.0, waited_days=5)
    arrival = 0.5 * surely_on_day(6) + 0.3 * surely_on_day(20) + 0.2 * surely_on_day(NEVER)
    cost = price(lines, wanted_at_daily_hazard(0.02), arrival, policy).iloc[0]
    receipt = rng.choice([6, 20, 10_000], n_runs, p=[0.5, 0.3, 0.2])
    cancelled_on = rng.geometric(0.02, n_runs)  # day of cancelling; penalties count days at whose end it is wanted
    is_gone = (cancelled_on <= receipt) | (receipt > 180)
    late_by = np.array([policy.late_lost_by(5 + day) for day in (6, 20)]) - policy.late_lost_by(5)
    lost = np.where(is_gone, 0.2, np.where(receipt == 6, late_by[0], late_by[1]))
    last_day = np.minimum(np.minimum(receipt, cancelled_on - 1), 180)
    penalty = 0.01 * 100 * np.maximum(last_day - 4, 0)
    assert cost["loss_cancel"] == pytest.approx((is_gone * 42).mean(), rel=0.01)
    assert cost["loss_future_orders"] == pytest.approx((lost * 300).mean(), rel=0.01)
    assert cost["loss_service"] == pytest.approx(penalty.mean(), rel=0.01)


@pytest.mark.parametrize("joint", [0.0, JOINT, 1.0])
def test_the_lines_of_an_account_share_the_loss_of_its_customer_once(joint):
    lines, survival, arrival = random_lines(120, seed=5)
    lines["root_id"] = [f"R{i // 3}{account}" for i, account in enumerate(lines["account_id"])]
    lines["root_order_id"] = [f"O{i // 12}{account}" for i, account in enumerate(lines["account_id"])]
    costs = price(lines, survival, arrival, Policy(cancel_lost_share=0.3, late_lost_share=0.2), joint)
    for account, of_account in lines.groupby("account_id"):
        p_keep = 1.0
        for _, order in of_account.groupby("root_order_id"):
            roots = [root for _, root in order.groupby("root_id")]
            p = [np.average(costs.loc[root.index, "p_lost"], weights=root["open_quantity"]) for root in roots]
            p_keep *= 1 - (joint * np.max(p) + (1 - joint) * (1 - np.prod(1 - np.array(p))))
        parts = costs.loc[of_account.index, "loss_future_orders"].sum()
        assert parts == pytest.approx(of_account["lifetime_value"].iloc[0] * (1 - p_keep), abs=1e-9), account


def test_lines_of_one_order_that_always_go_together_are_handled_once():
    lines = open_lines(3, root_order_id=["O", "O", "P"], line_margin=0.0)
    for joint, share in ((1.0, 0.5), (0.0, 1.0), (0.5, 0.75)):
        costs = price(lines, wanted_at_daily_hazard(0, 0, 0), surely_on_day(*[NEVER] * 3), HANDLING, joint)
        assert costs["loss_cancel"].tolist() == [8 * share, 8 * share, 8.0]


def test_two_lines_that_each_lose_the_customer_for_sure_share_it_in_halves():
    policy = Policy(cancel_lost_share=1, late_lost_share=0)
    lines = open_lines(2, lifetime_value=300.0)
    costs = price(lines, wanted_at_daily_hazard(0, 0), surely_on_day(NEVER, NEVER), policy)
    assert costs["loss_future_orders"].tolist() == [150.0, 150.0]


def test_splitting_a_line_or_an_order_changes_nothing():
    policy = Policy(cancel_handling_cost=7, late_penalty_share_per_day=0.001)
    lines, survival, arrival = random_lines(30, seed=7)
    lines["root_order_id"] = lines["order_id"] = [f"O{i // 4}" for i in range(30)]
    whole = price(lines, survival, arrival, policy)
    parts = lines.loc[lines.index.repeat(2)].reset_index(drop=True)
    share = np.tile([0.3, 0.7], len(lines))
    for name in ("open_quantity", "line_margin", "line_value"):
        parts[name] *= share
    for name in ("order_line_id", "order_id"):  # the second part goes to a new order
        parts[name] += np.tile(["", "-2"], len(lines))
    split = price(parts, survival.repeat(2, axis=0), arrival.repeat(2, axis=0), policy)
    summed = split[list(COLUMNS)].groupby(np.arange(len(parts)) // 2).sum()
    assert np.abs(summed.to_numpy() - whole[list(COLUMNS)].to_numpy()).max() < 1e-9


def test_a_later_receipt_and_a_more_impatient_customer_never_cost_less():
    policy = Policy(late_penalty_share_per_day=0.001)
    days = np.array([1, 2, 5, 10, 30, 90, 180, NEVER])
    for hazard in (0, 0.01, 0.2):
        lines = open_lines(len(days), account_id=None, lifetime_value=0.0, days_late=-3.0)
        lines = lines.assign(account_id=lines["order_line_id"], lifetime_value=500.0)
        costs = price(lines, wanted_at_daily_hazard(*[hazard] * len(days)), surely_on_day(*days), policy)
        assert (np.diff(costs["loss_if_waits"]) >= -1e-12).all()
    hazards = np.array([0, 0.001, 0.01, 0.1, 0.5])
    lines = open_lines(5).assign(account_id=list("abcde"), lifetime_value=500.0)
    costs = price(lines, wanted_at_daily_hazard(*hazards), surely_on_day(*[20] * 5), Policy())
    assert (np.diff(costs["loss_if_waits"]) > 0).all()
    assert (np.diff(costs["p_cancel_14d"]) > 0).all()


def test_what_was_lost_by_the_wait_so_far_is_sunk():
    lines = open_lines(3, account_id=["a", "b", "c"], lifetime_value=300.0, waited_days=[0, 10, 1000])
    costs = price(lines, wanted_at_daily_hazard(0, 0, 0), surely_on_day(10, 10, 10), Policy())
    gains = [300 * (Policy().late_lost_by(w + 10) - Policy().late_lost_by(w)) for w in (0, 10, 1000)]
    assert costs["loss_if_waits"].to_numpy() == pytest.approx(gains, abs=1e-12)
    assert costs["loss_if_waits"].is_monotonic_decreasing


def test_penalties_count_the_late_days_still_to_come():
    policy = Policy(late_penalty_share_per_day=0.01)
    lines = open_lines(4, days_late=[3.0, -1.0, -9.0, np.nan], line_value=100.0)
    costs = price(lines, wanted_at_daily_hazard(0, 0, 0, 0), surely_on_day(2, 2, 2, 2), policy)
    assert costs["loss_service"].tolist() == [2.0, 1.0, 0.0, 0.0]


def test_a_line_sold_below_cost_is_best_never_served():
    lines = open_lines(2, account_id=["a", "b"], line_margin=-50.0, lifetime_value=[0.0, 10_000.0])
    costs = price(lines, wanted_at_daily_hazard(0.01, 0.01), surely_on_day(10, 10), Policy())
    assert costs.loc[0, "loss_if_waits"] == -50.0
    assert costs.loc[1, "loss_if_waits"] > 0  # the customer's later orders are worth more than this loss


def test_anonymous_customers_lose_this_order_only_and_share_nothing():
    lines = open_lines(2, account_id=None, customer_id=None)
    costs = price(lines, wanted_at_daily_hazard(0.01, 0.01), surely_on_day(10, 10), Policy())
    assert costs["loss_future_orders"].tolist() == [0.0, 0.0]
    assert costs["future_share"].tolist() == [1.0, 1.0]
    assert costs["loss_if_waits"].to_numpy() == pytest.approx(40 * (1 - 0.99**10))


def test_no_open_lines_cost_nothing():
    costs = price(open_lines(0), np.ones((0, 181)), np.ones((0, 182)), Policy())
    assert list(costs.columns) == [*COLUMNS, "p_cancel_14d", "p_lost", "future_share"]
    assert len(costs) == 0


def test_the_result_keeps_the_index_and_does_not_depend_on_row_order():
    lines, survival, arrival = random_lines(60, seed=9)
    order = np.random.default_rng(1).permutation(60)
    costs = price(lines, survival, arrival, Policy())
    shuffled = price(lines.iloc[order], survival[order], arrival[order], Policy())
    pd.testing.assert_frame_equal(costs, shuffled.sort_index(), rtol=1e-12)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (
            "lifetime_value",
            np.nan,
            "lifetime_value is missing, infinite or negative in 1 of 2 lines, e.g. order_line_id",
        ),
        ("paid_share", -0.1, "paid_share is missing"),
        ("open_quantity", 0.0, r"open_quantity is 0 in 1 of 2 lines, e.g. order_line_id \['L1'\]"),
    ],
)
def test_money_that_is_no_money_is_refused(column, value, text):
    lines = open_lines(2)
    lines[column] = [1.0, value]
    with pytest.raises(ValueError, match=text):
        price(lines, wanted_at_daily_hazard(0, 0), surely_on_day(1, 1), Policy())


def test_curves_that_are_no_curves_are_refused():
    lines, flat, sure = open_lines(1), wanted_at_daily_hazard(0), surely_on_day(1)
    rising = flat.copy()
    rising[0, 3] = 0.5
    with pytest.raises(ValueError, match="survival does not fall from 1 towards 0 in 1 of 1 lines"):
        price(lines, rising, sure, Policy())
    with pytest.raises(ValueError, match="arrival is no probability distribution in 1 of 1 lines"):
        price(lines, flat, sure / 2, Policy())
    with pytest.raises(ValueError, match="joint_cancel_share nan is no share from 0 to 1"):
        price(lines, flat, sure, Policy(), np.nan)
    with pytest.raises(ValueError, match=r"must be \(1, 181\) and \(1, 182\)"):
        price(lines, flat[:, :20], sure, Policy())
