"""What a wrong assumption costs: against the design's line worked by hand, laws of regret, and another Spearman."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from decisions.allocation import give_out
from decisions.cost_of_waiting import cost_of_waiting
from decisions.policy import Policy
from decisions.ranking import rank_lines
from decisions.sensitivity import ASSUMPTIONS, Assumption, sensitivity, tornado_rows
from tests.decisions.open_lines import open_lines, pools, surely_on_day, wanted_at_daily_hazard

KAPPA = Assumption("cancel_lost_share", 0.021, 0.15, "as in the literature")
NO_PRICE = Assumption("won_back_share", 0.0, 0.3, "taken")
UNUSED = Assumption("default_wait_days", 7, 28, "taken")
BASE = Policy(cancel_lost_share=0.1, late_lost_share=0)


@dataclass
class Decided:
    queue: pd.DataFrame


def deciding(lines, survival, arrival, goods):
    """Decide about these lines under any policy, and count how often."""
    calls = []

    def decide_with(policy):
        calls.append(policy)
        priced = lines.assign(loss_if_waits=cost_of_waiting(lines, survival, arrival, 0.0, policy)["loss_if_waits"])
        given = give_out(priced, goods, policy).ship_now_quantity
        return Decided(
            priced.assign(ship_now_quantity=given, rank=rank_lines(priced)["rank"]).sample(frac=1, random_state=3)
        )

    decide_with.calls = calls
    return decide_with


def two_lines():
    """A of the design, and a B with margin 150, so that B is dearer once kappa is small; one unit."""
    lines = open_lines(2, account_id=["a", "b"], line_margin=[40.0, 150.0], lifetime_value=[300.0, 0.0])
    return deciding(lines, wanted_at_daily_hazard(0.03, 0.01), surely_on_day(10, 10), pools(1))


def test_kappa_on_two_lines_by_hand():
    row = sensitivity(BASE, two_lines(), [KAPPA]).iloc[0]
    a_goes, b_goes = 1 - 0.97**10, 1 - 0.99**10
    b = b_goes * 150  # 14.34, whatever kappa is
    a_low, a_base = a_goes * (40 + 300 * 0.021), a_goes * (40 + 300 * 0.1)  # 12.16 and 18.38
    assert [round(x, 2) for x in (a_low, a_base, b)] == [12.16, 18.38, 14.34]
    assert row["lost_base"] == row["lost_high"] == pytest.approx(b)
    assert row["lost_low"] == pytest.approx(a_low)
    assert row["regret_low"] == row["regret"] == pytest.approx(b - a_low)  # A ships, though B loses more
    assert row["regret_high"] == 0
    assert row[["n_lines_changed_low", "units_moved_low", "rank_correlation_low"]].tolist() == [2, 1, -1]
    assert row[["n_lines_changed_high", "units_moved_high", "rank_correlation_high"]].tolist() == [0, 0, 1]
    assert row[["field", "unit", "base"]].tolist() == ["cancel_lost_share", "share of lifetime_value", 0.1]


def test_an_assumption_that_does_not_enter_moves_nothing():
    row = sensitivity(BASE, two_lines(), [UNUSED]).iloc[0]
    assert row["regret"] == 0
    assert row["lost_low"] == row["lost_high"] == row["lost_base"]
    assert (
        row[["n_lines_changed_low", "n_lines_changed_high", "units_moved_low", "units_moved_high"]].tolist() == [0] * 4
    )
    assert row["rank_correlation_low"] == row["rank_correlation_high"] == 1


def test_a_loss_that_shrinks_alike_on_every_line_moves_money_and_nobody():
    lines = open_lines(3, line_margin=[30.0, 50.0, 40.0])
    decide_with = deciding(lines, wanted_at_daily_hazard(0.02, 0.02, 0.02), surely_on_day(5, 5, 5), pools(1))
    row = sensitivity(BASE, decide_with, [NO_PRICE]).iloc[0]
    assert row["lost_high"] == pytest.approx(0.7 * row["lost_base"])
    assert row["regret"] == 0
    assert len(decide_with.calls) == 2  # the low end is the base: asked once


def crowd(seed, n_lines=60):
    rng = np.random.default_rng(seed)
    lines = open_lines(
        n_lines,
        product_id=rng.choice(["p", "p1", "p2"], n_lines),
        account_id=rng.choice(["a", "b", "c", "d"], n_lines),
        open_quantity=rng.integers(1, 9, n_lines).astype(float),
        may_split=rng.random(n_lines) < 0.6,
        line_margin=rng.uniform(1, 90, n_lines),
        line_value=rng.uniform(100, 900, n_lines),
        lifetime_value=rng.uniform(0, 2000, n_lines),
        waited_days=rng.integers(0, 40, n_lines),
        days_late=rng.choice([np.nan, -20.0, 3.0], n_lines),
    )
    arrival = surely_on_day(*rng.integers(3, 40, n_lines))
    return deciding(lines, wanted_at_daily_hazard(*rng.uniform(0, 0.05, n_lines)), arrival, pools(25, 30, 9))


AT_GIVEN_HORIZON = [a for a in ASSUMPTIONS if a.field != "horizon_days"]  # curves would have to be asked for anew


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_regret_is_never_below_0_at_given_prices(seed):
    table = sensitivity(Policy(), crowd(seed), AT_GIVEN_HORIZON)
    ends = table[["regret_low", "regret_high"]].to_numpy()
    assert (ends >= -1e-9).all()
    assert (ends > 1).sum() >= 3
    assert (table["regret"] == ends.max(axis=1)).all()
    moved = table[["units_moved_low", "units_moved_high"]].to_numpy() > 0
    assert (ends[~moved] == 0).all()  # who gets goods is the same: nothing to regret


def test_rows_are_sorted_by_regret_and_bars_by_what_they_move():
    table = sensitivity(Policy(), crowd(4), AT_GIVEN_HORIZON)
    assert set(table["field"]) == {a.field for a in AT_GIVEN_HORIZON}
    assert (table["regret"].diff().dropna() <= 0).all()
    bars = tornado_rows(table)
    assert (bars["width"].diff().dropna() <= 0).all()
    assert bars["width"].iloc[0] > 0 == bars["width"].iloc[-1]
    by_field, kept = bars.set_index("field"), table.set_index("field")
    for end in ("low", "high"):
        change = kept[f"lost_{end}"] - kept["lost_base"]
        pd.testing.assert_series_equal(by_field[f"change_{end}"].sort_index(), change.sort_index(), check_names=False)
    spans = [max(0, *ends) - min(0, *ends) for ends in bars[["change_low", "change_high"]].to_numpy()]
    assert bars["width"].tolist() == pytest.approx(spans)


def test_the_figures_of_an_end_are_those_of_the_two_queues():
    decide_with = crowd(5)
    row = sensitivity(Policy(), decide_with, [KAPPA]).iloc[0]
    one, two = (
        decide_with(policy).queue.set_index("order_line_id").sort_index()
        for policy in (Policy(), Policy(cancel_lost_share=0.15))
    )
    waits = 1 - two["ship_now_quantity"] / two["open_quantity"], 1 - one["ship_now_quantity"] / one["open_quantity"]
    assert row["lost_high"] == pytest.approx((two["loss_if_waits"] * waits[0]).sum())
    assert row["regret_high"] == pytest.approx((two["loss_if_waits"] * (waits[1] - waits[0])).sum())
    assert row["rank_correlation_high"] == pytest.approx(spearmanr(one["rank"], two["rank"]).statistic)
    gained = (two["ship_now_quantity"] - one["ship_now_quantity"]).clip(lower=0).sum()
    assert row["units_moved_high"] == pytest.approx(gained)
    assert 0 < row["n_lines_changed_high"] == (two["ship_now_quantity"] != one["ship_now_quantity"]).sum()


def test_every_assumption_holds_its_default_and_says_where_its_ends_come_from():
    defaults = {item.name: item.default for item in fields(Policy)}
    for assumption in ASSUMPTIONS:
        assert assumption.low <= defaults[assumption.field] <= assumption.high
        assert assumption.source
    assert len({assumption.field for assumption in ASSUMPTIONS}) == len(ASSUMPTIONS)


@pytest.mark.parametrize(
    ("field", "low", "high", "text"),
    [
        ("cancel_lost_shares", 0.0, 0.1, "is no field of the policy with low < high"),
        ("cancel_lost_share", 0.1, 0.1, "is no field of the policy with low < high"),
        ("cancel_lost_share", 0.1, 1.5, "cancel_lost_share = 1.5 is outside 0 to 1"),
        ("default_wait_days", 7.5, 28, "default_wait_days = 7.5 is no whole number of days"),
    ],
)
def test_an_assumption_that_the_policy_cannot_hold_is_refused(field, low, high, text):
    with pytest.raises(ValueError, match=text):
        Assumption(field, low, high, "taken")


def test_another_morning_is_refused():
    decide_with = two_lines()

    def of_another_day(policy):
        queue = decide_with(policy).queue
        return Decided(queue if policy == BASE else queue.replace({"L1": "L9"}))

    with pytest.raises(ValueError, match="with another cancel_lost_share 2 lines are only in one of both queues"):
        sensitivity(BASE, of_another_day, [KAPPA])


def test_no_lines_and_one_line_have_nothing_to_regret():
    lines = open_lines(1)
    one = deciding(lines, wanted_at_daily_hazard(0.03), surely_on_day(10), pools(0))
    row = sensitivity(BASE, one, [KAPPA]).iloc[0]
    assert [row["regret"], row["rank_correlation_low"], row["units_moved_low"]] == [0, 1, 0]
    empty = Decided(one(BASE).queue[:0])
    assert sensitivity(BASE, lambda policy: empty, [KAPPA])["regret"].tolist() == [0]
