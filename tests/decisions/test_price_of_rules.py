"""What rules cost: worked by hand, against giving out under a policy written without the rule, and the laws of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.policy import Policy
from decisions.price_of_rules import fairness_table, price_of_rules
from decisions.rules import limits_of
from decisions.segments import STRATEGIES, Segment
from tests.decisions.test_rules import EVERY_RULE, goods, ruled_lines, strained

KEY, WEB = {"segment": ("key",)}, {"segment": ("web",)}


def money(lines, here, policy):
    given = give_out(lines, here, policy, limits_of(lines, here, policy)).ship_now_quantity
    return (lines["loss_if_waits"] * given / lines["open_quantity"]).sum()


def divisible(seed, n_lines=60):
    lines, here = strained(seed, n_lines)
    plain = {"may_split": True, "quantity_step": 1.0, "ship_group": None, "override": None, "credit_hold": False}
    lines = lines.assign(**plain, loss_if_waits=lines["loss_if_waits"].abs() + 1)
    return lines.astype({"ship_group": "str", "override": "str"}), here


def test_without_rules_there_is_nothing_to_price():
    table = price_of_rules(ruled_lines(3), goods(2), Policy())
    assert table.empty
    assert {"rule", "segment", "n_lines", "units_moved", "saved_with", "saved_without", "cost"} <= set(table.columns)


def test_the_price_of_two_rules_and_a_pin_worked_by_hand():
    # 4 units. A loses 1 a unit, B 5, C 3; key accounts first, then what waited more than 60 days, then by money.
    lines = ruled_lines(
        3,
        segment=["key", "web", "web"],
        open_quantity=[2.0, 3.0, 2.0],
        loss_if_waits=[2.0, 15.0, 6.0],
        waited_days=[1, 1, 70],
        override=[None, None, "pin"],
    )
    policy = Policy(segments=(Segment("key accounts", where=KEY, strategy="win"),), longest_wait_days=60)
    table = price_of_rules(lines, goods(4), policy).set_index("rule")
    # C is pinned: 2 units; A wins 2: 8 saved. Without winning B has A's 2 units: 16. The pin hides the long wait, which
    # hides the pin. By money alone B 3 and C 1: 18.
    assert table["saved_with"].eq(8).all()
    assert table["saved_without"].to_dict() == {"strategy": 16, "longest wait": 8, "pins": 8, "all rules": 18}
    assert table["cost"].to_dict() == {"strategy": 8, "longest wait": 0, "pins": 0, "all rules": 10}
    assert table["n_lines"].to_dict() == {"strategy": 1, "longest wait": 1, "pins": 1, "all rules": 2}
    assert table["units_moved"].to_dict() == {"strategy": 2, "longest wait": 0, "pins": 0, "all rules": 3}
    assert table["segment"].dropna().to_dict() == {"strategy": "key accounts"}


def test_holds_exclusions_and_credit_holds_are_priced_and_stay_in_force():
    lines = ruled_lines(
        4,
        loss_if_waits=[40.0, 30.0, 20.0, 10.0],
        override=["hold", "exclude", None, None],
        credit_hold=[False, False, True, False],
    )
    table = price_of_rules(lines, goods(1), Policy()).set_index("rule")
    assert table["cost"].to_dict() == {"holds": 30, "exclusions": 20, "credit hold": 10, "all rules": 30}


@pytest.mark.parametrize("seed", [902, 903])
def test_each_row_is_what_giving_out_without_the_rule_says(seed):
    lines, here = strained(seed)
    segments = (
        Segment("a", where={"segment": ("gain", "win")}, strategy="gain", turn=1, share=0.3, sort=("-waited_days",)),
        Segment("b", where={"segment": ("fill", "lose")}, strategy="fill", turn=2, protected_units=3),
    )
    policy = Policy(segments=segments, longest_wait_days=60)
    a, b = segments
    without = {
        ("a", "turn"): (replace(a, turn=None), b),
        ("a", "sort"): (replace(a, sort=()), b),
        ("a", "strategy"): (replace(a, strategy="redistribute"), b),
        ("a", "share"): (replace(a, share=0.0), b),
        ("b", "turn"): (a, replace(b, turn=None)),
        ("b", "strategy"): (a, replace(b, strategy="redistribute")),
        ("b", "protection"): (a, replace(b, protected_units=0.0)),
    }
    table = price_of_rules(lines, here, policy)
    of_segments = table.dropna(subset="segment").set_index(["segment", "rule"])
    assert list(of_segments.index) == list(without)
    for rule, left in without.items():
        saved = money(lines, here, replace(policy, segments=left))
        assert of_segments.loc[rule, "saved_without"] == pytest.approx(saved)
    of_others = table[table["segment"].isna()].set_index("rule")
    words = {"pin": "pins", "hold": "holds", "exclude": "exclusions"}
    said = [rule for word, rule in words.items() if (lines["override"] == word).any()]
    assert list(of_others.index) == ["longest wait", *said, "credit hold", "all rules"]
    assert "holds" in said
    saved = money(lines, here, Policy(segments=segments))
    assert of_others.loc["longest wait", "saved_without"] == pytest.approx(saved)
    held = lines["override"].isin(["hold"])
    free = lines.assign(override=lines["override"].where(~held))
    assert of_others.loc["holds", "saved_without"] == pytest.approx(money(free, here, policy))
    assert table["cost"].to_numpy() == pytest.approx(table["saved_without"] - table["saved_with"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_single_rule_about_divisible_lines_never_saves_money(strategy):
    for seed in (901, 902, 903):
        lines, here = divisible(seed)
        policy = Policy(segments=(Segment("some", where={"segment": ("gain", "fill", "skip")}, strategy=strategy),))
        table = price_of_rules(lines, here, policy)
        assert (table["cost"] >= -1e-9).all()
        assert len(table) == (0 if strategy == "redistribute" else 2)


def test_the_order_of_rows_changes_no_price():
    lines, here = strained(901)
    order = np.random.default_rng(1).permutation(len(lines))
    others, here_again = lines.iloc[order], here.iloc[::-1]
    for table in (price_of_rules, fairness_table):
        first = table(lines, here, EVERY_RULE)
        pd.testing.assert_frame_equal(table(others, here_again, EVERY_RULE), first, check_exact=True)
        assert len(first) >= 5


def test_fairness_worked_by_hand():
    # 8 units; web wants 12 at 3 a unit, key 4 at 1: key's fair share is 2 units. Each costs 2.
    lines = ruled_lines(2, segment=["web", "key"], open_quantity=[12.0, 4.0], loss_if_waits=[36.0, 4.0])
    table = fairness_table(lines, goods(8), Policy())
    assert table["protected_share"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    # Goods leave in whole units here: half a unit that is kept for key keeps a whole one from web.
    assert table["saved"].tolist() == [24, 22, 22, 20, 20]
    assert table["cost"].tolist() == [0, 2, 2, 4, 4]
    assert table["cost_share"].to_numpy() == pytest.approx([0, 2 / 24, 2 / 24, 4 / 24, 4 / 24])
    assert table["least_served_share"].tolist() == [0, 0.25, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("seed", [901, 902, 903])
def test_more_fairness_costs_no_less_and_serves_the_segment_served_worst_no_worse(seed):
    lines, here = divisible(seed)
    lines = lines.assign(quantity_step=0.001)  # next to freely divisible
    table = fairness_table(lines, here, Policy())
    assert (table["cost"].diff().dropna() >= -1e-6).all()
    assert table["cost"].iloc[-1] > 0
    # Where all of a pool's goods are shared out fairly, every segment is served like the pool.
    assert table["least_served_share"].iloc[-1] > table["least_served_share"].iloc[0]


def test_fairness_takes_any_column_leaves_the_sites_own_segments_aside_and_needs_two_segments():
    lines, here = strained(901)
    pd.testing.assert_frame_equal(fairness_table(lines, here, EVERY_RULE), fairness_table(lines, here, Policy()))
    assert len(fairness_table(lines, here, Policy(), by="product_id")) == 5
    assert fairness_table(lines, here, Policy(), by="warehouse_id").empty
    none = lines.iloc[:0]
    assert fairness_table(none, here, Policy()).empty
    assert price_of_rules(none, here, Policy()).empty
