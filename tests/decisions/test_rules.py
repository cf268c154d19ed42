"""Rules of the site: the page's worked cases, brute force that knows the definitions alone, and what no rule lifts."""

import re
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from decisions.allocation import give_out
from decisions.chances import N_SCENARIOS
from decisions.limits import Limits
from decisions.policy import Policy
from decisions.ranking import rank_lines
from decisions.rule_words import rule_words
from decisions.rules import limits_of, standing_of
from decisions.segments import STRATEGIES, Segment
from tests.decisions.open_lines import open_lines, pools
from tests.decisions.rule_cases import PAGE, worked_cases
from tests.decisions.test_promises import come, ships

KEY = {"segment": ("key",)}
CASES = worked_cases()


def given_out(lines, here, policy):
    """Units per line, clause per line, and what is left per pool."""
    limits = limits_of(lines, here, policy)
    allocation = give_out(lines, here, policy, limits)
    words = rule_words(lines, limits, allocation, policy)
    left = allocation.pools["available_now"] - allocation.pools["given"]
    return allocation.ship_now_quantity, words, left


def goods(*units):
    return pools(*units).assign(units_per_day=1.0)


def ruled_lines(n_lines, **columns):
    usual = {"soft_reserved_quantity": 0.0, "may_split": True}
    return open_lines(n_lines, **(usual | columns)).astype({"segment": "str", "override": "str", "ship_group": "str"})


def named_by_strategy(**more):
    """One segment per strategy; a line's segment is the name of its strategy."""
    return tuple(Segment(name, where={"segment": (name,)}, strategy=name, **more) for name in STRATEGIES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_worked_cases_of_the_page_come_out_as_written(case):
    given, words, _ = given_out(case.lines, case.pools, case.policy)
    assert given.tolist() == case.gets
    assert words.fillna("").tolist() == case.rule


def test_the_page_works_a_case_for_every_strategy_and_names_every_key_and_strategy_in_its_order():
    text = PAGE.read_text(encoding="utf-8")
    assert set(STRATEGIES) <= {case.name.split("-")[0] for case in CASES}
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [*(f.name for f in fields(Segment)), *STRATEGIES]
    plain = Segment("x")
    assert (plain.strategy, plain.share, plain.sort, plain.turn) == ("redistribute", 0, (), None)


def random_lines(rng, n_lines):
    wants = rng.integers(1, 5, n_lines).astype(float)
    return ruled_lines(
        n_lines,
        segment=rng.choice([*STRATEGIES, "no segment"], n_lines),
        open_quantity=wants,
        soft_reserved_quantity=np.minimum(rng.integers(0, 5, n_lines), wants),
        waited_days=rng.choice([5, 70], n_lines, p=[0.8, 0.2]),
        loss_if_waits=wants * rng.permutation(n_lines * 3)[:n_lines] + wants,  # no two lose the same per unit
    )


def best_by_definition(lines, n_goods, longest_wait_days):
    """Of all ways to give out whole units the first by what the page says is served before what."""
    wants, keeps = lines["open_quantity"].to_numpy(int), lines["soft_reserved_quantity"].to_numpy(int)
    worth = (lines["loss_if_waits"] / lines["open_quantity"]).to_numpy()
    strategy = np.where(lines["segment"].isin(STRATEGIES), lines["segment"], "redistribute").astype(str)
    most = np.where(np.isin(strategy, ["skip", "fill"]), keeps, wants)
    waited = (lines["waited_days"] > longest_wait_days).to_numpy() & ~np.isin(strategy, ["skip", "win"])

    def in_order(units):
        kept = worth * np.minimum(units, keeps)
        served = worth * units
        stages = [kept[strategy == "skip"], served[strategy == "win"]]
        stages += [kept[(strategy == name) & (waited == w)] for w in (True, False) for name in ("gain", "improve")]
        stages += [served[(strategy == name) & (waited == w)] for w in (True, False) for name in STRATEGIES[2:]]
        return tuple(round(stage.sum(), 9) for stage in stages)

    ways = (np.array(way) for way in product(*(range(m + 1) for m in most)) if sum(way) <= n_goods)
    return max(ways, key=in_order).astype(float)


@pytest.mark.parametrize("seed", range(901, 961))
def test_small_pools_are_given_out_as_the_strategies_are_defined(seed):
    rng = np.random.default_rng(seed)
    lines, n_goods = random_lines(rng, 5), int(rng.integers(1, 14))
    policy = Policy(segments=named_by_strategy(), longest_wait_days=60)
    given, _, _ = given_out(lines, goods(n_goods), policy)
    assert given.tolist() == best_by_definition(lines, n_goods, 60).tolist()


@pytest.mark.parametrize("seed", range(901, 931))
def test_shares_and_protected_goods_cost_no_more_than_brute_force_says_they_must(seed):
    rng = np.random.default_rng(seed)
    wants = rng.integers(1, 5, 5).astype(float)
    lines = ruled_lines(
        5, segment=rng.choice(["a", "b", "c"], 5), open_quantity=wants, loss_if_waits=wants * rng.uniform(1, 9, 5)
    )
    n_goods, share = int(rng.choice([4, 8, 12])), 0.25 * int(rng.integers(1, 4))
    units = int(rng.integers(0, n_goods * (1 - share) + 1))
    segments = (
        Segment("a", where={"segment": ("a",)}, share=share),
        Segment("b", where={"segment": ("b",)}, protected_units=units),
    )
    given, _, left = given_out(lines, goods(n_goods), Policy(segments=segments))
    own = {"a": share * n_goods, "b": float(units)}
    segment, worth = lines["segment"].to_numpy(), (lines["loss_if_waits"] / wants).to_numpy()
    in_a, in_b = segment == "a", segment == "b"

    def is_lawful(way):
        a_gets_its_share = way[in_a].sum() >= min(own["a"], wants[in_a].sum())
        return way.sum() <= n_goods and way[~in_b].sum() <= n_goods - own["b"] and a_gets_its_share

    ways = (np.array(way) for way in product(*(range(int(w) + 1) for w in wants)))
    best = max(way @ worth for way in ways if is_lawful(way))
    assert is_lawful(given.to_numpy())
    assert given.to_numpy() @ worth == pytest.approx(best)
    assert left.item() <= max(own["b"] - given[in_b].sum(), n_goods - wants.sum(), 0)


def test_protected_goods_beyond_what_is_here_shrink_to_the_same_part_of_it_each():
    lines = ruled_lines(2, segment=["a", "b"], open_quantity=9.0, loss_if_waits=[9.0, 90.0])
    segments = tuple(Segment(name, where={"segment": (name,)}, protected_units=6) for name in ("a", "b"))
    given, _, _ = given_out(lines, goods(8), Policy(segments=segments))
    assert given.tolist() == [4.0, 4.0]


def test_lines_that_must_be_served_in_full_go_by_their_typed_sequence_where_goods_are_short():
    lines = ruled_lines(3, open_quantity=2.0, waited_days=[5, 30, 9], loss_if_waits=[90.0, 1.0, 50.0])
    policy = Policy(segments=(Segment("all", strategy="win", sort=("-waited_days",)),))
    assert given_out(lines, goods(3), policy)[0].tolist() == [0, 2, 1]


def strained(seed, n_lines=60):
    """Lines of every kind in three short pools: whole, stepped, in groups, pinned, held, discontinued."""
    rng = np.random.default_rng(seed)
    wants = rng.integers(1, 9, n_lines).astype(float)
    group = np.where(rng.random(n_lines) < 0.2, [f"G{i // 3}" for i in range(n_lines)], None)
    lines = ruled_lines(
        n_lines,
        product_id=rng.choice(["p", "p1", "p2"], n_lines),
        segment=rng.choice([*STRATEGIES, "no segment"], n_lines),
        open_quantity=wants,
        soft_reserved_quantity=np.minimum(rng.integers(0, 6, n_lines), wants),
        quantity_step=rng.choice([1.0, 2.0], n_lines),
        may_split=rng.random(n_lines) < 0.6,
        ship_group=group,
        waited_days=rng.integers(0, 90, n_lines),
        loss_if_waits=wants * rng.lognormal(1, 1, n_lines) - 3,
        credit_hold=rng.random(n_lines) < 0.1,
        is_discontinued=rng.random(n_lines) < 0.1,
        override=rng.choice([None, "pin", "hold", "exclude"], n_lines, p=[0.8, 0.1, 0.05, 0.05]),
        override_quantity=np.where(rng.random(n_lines) < 0.5, 2.0, np.nan),
    )
    return lines, goods(40, 25, 60)


EVERY_RULE = Policy(
    longest_wait_days=60,
    segments=(
        Segment("early", where={"segment": ("gain",)}, at_least={"waited_days": 30}, strategy="gain", share=0.2),
        Segment("typed", where={"segment": ("fill",)}, strategy="fill", sort=("-waited_days",), protected_units=2),
        *(replace(segment, turn=place) for place, segment in enumerate(named_by_strategy())),
    ),
)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_gives_goods_to_a_line_that_is_held_excluded_or_on_credit_hold(strategy):
    lines = ruled_lines(
        5,
        open_quantity=4.0,
        soft_reserved_quantity=4.0,
        override=[None, "hold", "exclude", "pin", None],
        credit_hold=[True, False, False, True, False],
        is_discontinued=True,
    )
    policy = Policy(segments=(Segment("all", strategy=strategy),), longest_wait_days=1)
    given, words, _ = given_out(lines, goods(100), policy)
    assert given.tolist() == [0, 0, 0, 0, 4]
    assert words.isna().all()


@pytest.mark.parametrize("seed", range(901, 913))
def test_goods_open_quantities_pins_holds_and_confirmations_are_kept_under_all_rules_together(seed):
    lines, here = strained(seed)
    limits = limits_of(lines, here, EVERY_RULE)
    given, _, left = given_out(lines, here, EVERY_RULE)
    held = lines["credit_hold"] | lines["override"].isin(["hold", "exclude"])
    pinned = (lines["override"] == "pin").fillna(False)
    assert (left >= -1e-9).all()
    assert (given <= lines["open_quantity"]).all()
    assert (given[held] == 0).all()
    assert (given <= np.where(pinned | lines["ship_group"].notna(), np.inf, limits.most) + 1e-9).all()
    assert ((given == lines["open_quantity"]) | (given == 0))[~lines["may_split"]].all()
    for name in limits_that_fit(lines, limits, left):
        assert given[name] >= limits.least[name]


def limits_that_fit(lines, limits, left):
    """Rows of lines without a group that keep something in a pool where goods are left: nobody can have taken it."""
    pool = lines["product_id"].map({"p": 0, "p1": 1, "p2": 2})
    return [i for i in range(len(lines)) if limits.least[i] and left[pool[i]] > 8 and pd.isna(lines["ship_group"][i])]


def test_a_pin_comes_before_every_rule():
    lines = ruled_lines(
        3, segment=["win", "skip", "lose"], open_quantity=3.0, soft_reserved_quantity=3.0, override=[None, None, "pin"]
    )
    given, _, _ = given_out(lines, goods(3), Policy(segments=named_by_strategy(), longest_wait_days=5))
    assert given.tolist() == [0, 0, 3]


def test_a_confirmation_of_more_than_is_open_gives_no_line_more_than_it_wants():
    for strategy in STRATEGIES:
        lines = ruled_lines(1, open_quantity=4.0, soft_reserved_quantity=9.0)
        given, _, _ = given_out(lines, goods(20), Policy(segments=(Segment("all", strategy=strategy),)))
        assert given.tolist() == [4.0]


def test_a_confirmation_is_kept_in_whole_steps_and_by_a_group_only_in_full():
    policy = Policy(segments=(Segment("all", strategy="skip"),))
    stepped = ruled_lines(1, open_quantity=9.0, soft_reserved_quantity=5.0, quantity_step=2.0)
    assert given_out(stepped, goods(20), policy)[0].tolist() == [4.0]
    group = ruled_lines(2, open_quantity=3.0, soft_reserved_quantity=[3.0, 2.0], ship_group="G", product_id=["p", "p1"])
    assert given_out(group, goods(9, 9), policy)[0].tolist() == [0, 0]
    confirmed = group.assign(soft_reserved_quantity=3.0)
    assert given_out(confirmed, goods(9, 9), policy)[0].tolist() == [3, 3]


def test_rules_leave_the_ranking_alone_and_discontinued_lines_last_in_it():
    lines, here = strained(901)
    ranked = rank_lines(lines)
    assert (ranked["rank"][lines["is_discontinued"] & (lines["override"] != "pin")].min()) > ranked["rank"].min()
    given = given_out(lines, here, EVERY_RULE)[0]
    pd.testing.assert_frame_equal(rank_lines(lines.assign(ship_now_quantity=given)), ranked)


def test_what_a_pinned_line_of_a_segment_took_counts_in_its_own_pool_alone():
    # Two units of each pool are kept for key accounts. Theirs in p1 are taken by a pin; those of p stay all the same.
    lines = ruled_lines(
        2, product_id=["p", "p1"], segment=["web", "key"], open_quantity=[5.0, 2.0], override=[None, "pin"]
    )
    key = Segment("key accounts", where={"segment": ("key",)}, protected_units=2)
    given, _, left = given_out(lines, goods(4, 2), Policy(segments=(key,)))
    assert given.tolist() == [2, 2]
    assert left.tolist() == [2, 0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_goods_on_order_that_are_meant_for_one_line_stay_its_own_under_every_strategy(strategy):
    # 2 units that come on day 3 are L0's; those for all come on day 10. L1 must have all it wants, or whatever it is.
    lines = ruled_lines(2, open_quantity=2.0, soft_reserved_quantity=2.0, segment=["web", "key"])
    policy = Policy(segments=(Segment("key accounts", where=KEY, strategy=strategy),), receiving_days=0)
    given, _, _ = given_out(lines, goods(0), policy)
    own = {"pegged_day": np.full((1, N_SCENARIOS), 3.0), "pegged_units": np.array([2.0])}
    later = replace(come(10), **own, pegged_to=np.array(["L0"], dtype=object))
    assert ships(lines.assign(ship_now_quantity=given), later, policy=policy)["ship_days"].tolist() == [3, 10]


@pytest.mark.parametrize("seed", range(901, 921))
def test_no_line_is_passed_over_for_one_of_lower_loss_per_unit_in_its_pool_without_a_stated_reason(seed):
    lines, here = strained(seed)
    lines = lines.assign(may_split=True, quantity_step=1.0, ship_group=None).astype({"ship_group": "str"})
    given, words, _ = given_out(lines, here, EVERY_RULE)
    worth = lines["loss_if_waits"] / lines["open_quantity"]
    held = lines["credit_hold"] | lines["override"].isin(["hold", "exclude"])
    pinned = (lines["override"] == "pin").fillna(False)
    n_passed_over = 0
    for i in lines.index[~held & (given < lines["open_quantity"])]:
        others = (lines["product_id"] == lines["product_id"][i]) & (worth < worth[i]) & (given > 0) & ~pinned
        n_passed_over += others.any()
        assert not others.any() or pd.notna(words[i]), lines.loc[i, "order_line_id"]
    assert n_passed_over > 5


@pytest.mark.parametrize("seed", range(901, 913))
def test_where_giving_out_says_that_a_rule_passed_a_line_over_the_rule_is_named(seed):
    lines, here = strained(seed)
    limits = limits_of(lines, here, EVERY_RULE)
    allocation = give_out(lines, here, EVERY_RULE, limits)
    words = rule_words(lines, limits, allocation, EVERY_RULE)
    by_rule = allocation.passed_over.isin(["limit", "turn", "segment"]) & lines["ship_group"].isna()
    assert by_rule.any()
    assert words[by_rule].notna().all(), lines[by_rule & words.isna()]["order_line_id"].tolist()


@pytest.mark.parametrize("seed", range(901, 911))
def test_where_money_alone_decides_no_rule_is_named(seed):
    lines, here = strained(seed)
    for policy in (Policy(), Policy(segments=(Segment("all"),)), Policy(segments=(Segment("nobody", where=KEY),))):
        given, words, _ = given_out(lines, here, policy)
        assert words.isna().all()
        assert given.tolist() == give_out(lines, here, Policy()).ship_now_quantity.tolist()


def test_a_line_served_in_full_whose_better_lines_are_served_too_names_no_rule():
    lines = ruled_lines(2, segment=["key", "web"], loss_if_waits=[1.0, 9.0])
    policy = Policy(segments=(Segment("key accounts", where=KEY, turn=1),))
    assert given_out(lines, goods(2), policy)[1].isna().all()
    assert given_out(lines, goods(1), policy)[1].tolist() == [
        "segment key accounts is served before what is in no segment",
        "what is in no segment is served after segment key accounts",
    ]


@pytest.mark.parametrize("seed", range(901, 905))
def test_the_order_of_rows_changes_neither_units_nor_words(seed):
    lines, here = strained(seed)
    given, words, _ = given_out(lines, here, EVERY_RULE)
    order = np.random.default_rng(seed).permutation(len(lines))
    again, words_again, _ = given_out(lines.iloc[order], here.iloc[::-1], EVERY_RULE)
    pd.testing.assert_series_equal(again.sort_index(), given)
    pd.testing.assert_series_equal(words_again.sort_index(), words)


def test_a_line_belongs_to_the_first_segment_that_it_fits_in_every_column():
    lines = ruled_lines(
        5, segment=["key", "key", "web", None, "web"], waited_days=[5, 40, 40, 40, 1], may_split=[1, 1, 0, 1, 1]
    ).astype({"may_split": "bool"})
    segments = (
        Segment("late key", where=KEY, at_least={"waited_days": 30}),
        Segment("key", where=KEY),
        Segment("whole", where={"may_split": (False,), "segment": ("web", "trade")}),
    )
    assert standing_of(lines, Policy(segments=segments)).segment.tolist() == [1, 0, 2, -1, -1]


def test_numbers_fit_whether_typed_whole_or_not_and_empty_cells_fit_nothing():
    lines = ruled_lines(3, priority_class=[1.0, 2.0, np.nan])
    for values in ((1,), (1.0,)):
        policy = Policy(segments=(Segment("first", where={"priority_class": values}),))
        assert standing_of(lines, policy).segment.tolist() == [0, -1, -1]
    some = Policy(segments=(Segment("any", at_least={"priority_class": 0}),))
    assert standing_of(lines, some).segment.tolist() == [0, 0, -1]


@pytest.mark.parametrize("seed", range(901, 906))
def test_a_typed_sequence_orders_lines_as_sorting_row_by_row_does(seed):
    rng = np.random.default_rng(seed)
    lines = ruled_lines(
        30,
        segment=rng.choice(["a", "b", "c"], 30),
        channel=rng.choice(["shop", "web", None], 30),
        waited_days=rng.integers(0, 4, 30),
        requested_on=np.where(rng.random(30) < 0.3, np.datetime64("NaT"), np.datetime64("2026-01-01", "s"))
        + rng.integers(0, 3, 30).astype("timedelta64[D]"),
    )
    by_channel, by_day = ("channel", "-waited_days"), ("-requested_on",)
    segments = (
        Segment("a", where={"segment": ("a",)}, sort=by_channel),
        Segment("b", where={"segment": ("b",)}, sort=by_day),
        Segment("c", where={"segment": ("c",)}, sort=by_channel),
    )
    key = limits_of(lines, goods(1), Policy(segments=segments)).sort_key

    def oracle(line):
        if line.segment == "b":
            empty = pd.isna(line.requested_on)
            return (1, empty, 0 if empty else -line.requested_on.timestamp())
        empty = not isinstance(line.channel, str)
        return (0, empty, "" if empty else line.channel, -line.waited_days)

    expected = [oracle(line) for line in lines.itertuples()]
    for i, j in product(range(30), repeat=2):
        assert (key[i] < key[j]) == (expected[i] < expected[j])


def test_without_rules_nothing_binds_and_confirmations_are_not_even_read():
    lines = open_lines(3)
    limits = limits_of(lines, pools(1), Policy())
    assert not limits.binds()
    assert limits.protected.shape == Limits.none(3, 1).protected.shape
    assert rule_words(lines, limits, give_out(lines, pools(1), Policy(), limits), Policy()).isna().all()


def test_a_segment_that_names_a_column_the_lines_lack_says_so():
    with pytest.raises(ValueError, match="segment 'x': the open lines have no channel; take it out"):
        limits_of(ruled_lines(1), goods(1), Policy(segments=(Segment("x", where={"channel": ("web",)}),)))


def test_where_nothing_waits_rules_have_nothing_to_limit():
    shared = Policy(segments=(Segment("key", where=KEY, share=0.5),))
    limits = limits_of(ruled_lines(0), goods(1.0).iloc[:0], shared)
    assert (limits.protected.shape, len(limits.turn)) == ((1, 0), 0)
