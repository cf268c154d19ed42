"""Few lines change what the last queue gave them: by hand, against every set of lines released, and the laws."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from decisions import releases
from decisions.allocation import give_out
from decisions.limits import Limits
from decisions.policy import Policy
from decisions.price_of_rules import fairness_table, price_of_rules
from decisions.ranking import is_held
from decisions.rules import keeping, limits_of
from decisions.segments import Segment
from decisions.stability import FIGURES, hold_steady
from decisions.stability_words import stability_words
from tests.decisions.every_choice import assert_lawful
from tests.decisions.open_lines import open_lines, pools

NEVER = 1e12  # an exchange that saves this much does not exist
NAMES = ["p", "p1", "p2"]
TEXTS = {"segment": "str", "override": "str", "ship_group": "str"}


def lines_of(last, **columns):
    return open_lines(len(last), last_given_quantity=np.array(last, dtype=float), **columns).astype(TEXTS)


def goods(*units):
    return pools(*units).assign(units_per_day=1.0)


def random_book(seed, n_lines=10, groups=0.0, n_pools=3, **columns):
    """Lines of which three in four were in the last queue, which gave out the same goods by other losses."""
    rng = np.random.default_rng(seed)
    loss = rng.uniform(0.5, 30, n_lines).round(2)
    lines = open_lines(
        n_lines,
        product_id=rng.choice(NAMES[:n_pools], n_lines),
        open_quantity=rng.integers(1, 6, n_lines).astype(float),
        loss_if_waits=rng.permutation(loss),
        quantity_step=rng.choice([1.0, 1.0, 2.0], n_lines),
        may_split=rng.random(n_lines) < 0.5,
        ship_group=np.where(rng.random(n_lines) < groups, rng.choice(["g", "h", "i"], n_lines), None),
    ).astype(TEXTS)
    here = goods(*rng.integers(1, 2 * n_lines // n_pools, n_pools))
    was_there = lines[rng.random(n_lines) < 0.75]
    last = give_out(was_there, here, Policy()).ship_now_quantity.reindex(lines.index)
    today = {
        "last_given_quantity": last,
        "loss_if_waits": loss,
        "override": rng.choice([None, "pin", "hold"], n_lines, p=[0.9, 0.05, 0.05]),
        "credit_hold": rng.random(n_lines) < 0.05,
    }
    return lines.assign(**{**today, **columns}).astype(TEXTS), here


def given_with(lines, here, policy, kept):
    limits = keeping(limits_of(lines, here, policy), lines.assign(kept_quantity=kept))
    return give_out(lines, here, policy, limits).ship_now_quantity.to_numpy()


def chosen(lines, here, policy):
    """Units by the choice, and its facts."""
    steady = hold_steady(lines, here, policy)
    return given_with(lines, here, policy, steady.kept_quantity), steady


def moved(lines, given, planned):
    return (np.abs(given - planned) > 1e-9) & lines["last_given_quantity"].notna().to_numpy()


def money(lines, given):
    return float((lines["loss_if_waits"] * given / lines["open_quantity"]).sum())


def units_of_plan(lines, here, policy):
    """What the last queue's plan gives today, and what of it is kept; stated anew, line by line."""
    kept = np.zeros(len(lines))
    for row, line in enumerate(lines.itertuples()):
        if not line.last_given_quantity > 0:
            continue
        if line.last_given_quantity >= line.open_quantity:
            kept[row] = line.open_quantity
        elif line.may_split and pd.isna(line.ship_group):
            kept[row] = line.last_given_quantity // line.quantity_step * line.quantity_step
    for _, members in lines.groupby("ship_group"):
        if (kept[members.index] < members["open_quantity"]).any():
            kept[members.index] = 0
    kept = np.minimum(kept, given_with(lines, here, policy, kept))
    return given_with(lines, here, policy, kept), kept


def every_release(lines, here, policy):
    """Moves and money of every set of lines (ship groups as one) that give up what they keep."""
    planned, kept = units_of_plan(lines, here, policy)
    who = lines["ship_group"].fillna(lines["order_line_id"])
    keepers = sorted(set(who[kept > 0]))
    sets = [set(each) for size in range(len(keepers) + 1) for each in combinations(keepers, size)]
    found = []
    for released in sets:
        given = given_with(lines, here, policy, np.where(who.isin(released), 0, kept))
        found.append((int(moved(lines, given, planned).sum()), money(lines, given) - money(lines, planned)))
    return np.array(found), planned


def test_one_unit_stays_with_its_line_until_a_line_may_move_or_enough_money_is_at_stake():
    # Two pools; in each yesterday's line loses less than another of yesterday's: 2 and 50 money.
    lines = lines_of([1, 0, 1, 0], product_id=["p", "p", "p1", "p1"], loss_if_waits=[8.0, 10.0, 5.0, 55.0])
    here = goods(1, 1)
    kept = {
        (0, NEVER): ([1, 0, 1, 0], 0, 0, 52),
        (1, NEVER): ([1, 0, 1, 0], 0, 0, 52),
        (2, NEVER): ([1, 0, 0, 1], 2, 0, 2),
        (3, NEVER): ([1, 0, 0, 1], 2, 0, 2),
        (4, NEVER): ([0, 1, 0, 1], 4, 0, 0),
        (0, 49): ([1, 0, 0, 1], 2, 2, 2),
        (1, 49): ([1, 0, 0, 1], 2, 1, 2),
        (0, 50): ([1, 0, 1, 0], 0, 0, 52),
        (2, 1): ([0, 1, 0, 1], 4, 2, 0),
        (-1, 0): ([0, 1, 0, 1], None, None, None),
    }
    for (max_moves, worth), (units, n_moves, worth_more, forgone) in kept.items():
        given, steady = chosen(lines, here, Policy(max_moves=max_moves, move_worth=worth))
        assert given.tolist() == units, (max_moves, worth)
        facts = steady.facts
        said = [facts["moves_from_plan"], facts["released_worth_more"], facts["forgone"]]
        assert said == [n_moves, worth_more, forgone]
        assert facts["moves_wanted"] == (None if max_moves < 0 else 4)


def test_a_new_line_is_no_move_but_the_line_that_it_takes_goods_from_is():
    lines = lines_of([1, np.nan], loss_if_waits=[8.0, 10.0])
    assert [chosen(lines, goods(1), Policy(max_moves=n))[0].tolist() for n in (0, 1)] == [[1, 0], [0, 1]]


def test_goods_that_came_go_by_todays_worth_and_goods_that_went_are_no_move():
    lines = lines_of([1, 1, 0, 0], loss_if_waits=[8.0, 7.0, 10.0, 9.0])
    given = {units: chosen(lines, goods(units), Policy(max_moves=0)) for units in (1, 2, 3)}
    assert {units: found.tolist() for units, (found, _) in given.items()} == {
        1: [1, 0, 0, 0],
        2: [1, 1, 0, 0],
        3: [1, 1, 1, 0],
    }
    assert [steady.facts["moves_from_plan"] for _, steady in given.values()] == [0, 0, 0]
    # Of 1 unit today's optimum moves the two lines that lose most: the one that has it now, and the one without.
    assert [steady.facts["moves_wanted"] for _, steady in given.values()] == [2, 4, 2]


def test_pins_holds_and_credit_holds_of_today_come_before_the_last_plan():
    pinned = lines_of([1, 0], loss_if_waits=[8.0, 1.0], override=[None, "pin"])
    held = lines_of([1, 0], loss_if_waits=[8.0, 1.0], override=["hold", None])
    stopped = lines_of([1, 0], loss_if_waits=[8.0, 1.0], credit_hold=[True, False])
    for lines in (pinned, held, stopped):
        given, steady = chosen(lines, goods(1), Policy(max_moves=0))
        assert given.tolist() == [0, 1]
        assert steady.facts["moves_from_plan"] == steady.facts["moves_wanted"] == 0
        assert steady.facts["forgone"] == 0


@pytest.mark.parametrize("groups", [0.0, 0.5])
def test_no_set_of_lines_to_release_saves_more_with_as_few_moves(groups):
    n_bound = 0
    for seed in range(901, 909):
        lines, here = random_book(seed, groups=groups)
        ways, planned = every_release(lines, here, Policy())
        free = given_with(lines, here, Policy(), np.zeros(len(lines)))
        for max_moves in (0, 1, 2, 4):
            given, steady = chosen(lines, here, Policy(max_moves=max_moves, move_worth=NEVER))
            n_moved = int(moved(lines, given, planned).sum())
            assert n_moved == steady.facts["moves_from_plan"] <= max_moves
            best = ways[ways[:, 0] <= max_moves, 1].max()
            assert money(lines, given) - money(lines, planned) == pytest.approx(best, abs=1e-6), (seed, max_moves)
            assert steady.facts["forgone"] == pytest.approx(money(lines, free) - money(lines, given), abs=1e-6)
            assert steady.facts["moves_wanted"] == moved(lines, free, planned).sum()
            assert steady.facts["bound"] == 0
            assert (steady.planned_quantity == planned).all()
            assert (steady.free_quantity == free).all()
            n_bound += steady.facts["forgone"] > 1e-6
    assert n_bound >= 6


def test_an_exchange_worth_more_is_made_whatever_the_count_and_no_other_is():
    # One pool, so that the best ways of the whole book are those of the pool.
    n_made = 0
    for seed in range(901, 909):
        lines, here = random_book(seed, n_lines=7, n_pools=1)
        ways, planned = every_release(lines, here, Policy())
        corners = [0]
        while True:  # from each way to the one that saves most per further move
            moves, gain = ways[corners[-1]]
            slope = np.where(ways[:, 0] > moves, (ways[:, 1] - gain) / np.maximum(ways[:, 0] - moves, 1), -np.inf)
            if slope.max() <= 1e-9:
                break
            steepest = np.flatnonzero(slope > slope.max() - 1e-9)
            corners.append(int(steepest[np.argmin(ways[steepest, 0])]))
        gains = ways[corners, 1]
        for worth in (0.0, 3.0, 10.0, 30.0):
            given, steady = chosen(lines, here, Policy(max_moves=0, move_worth=worth))
            made = np.flatnonzero(np.diff(gains) > worth + 1e-9)
            due = gains[made.max() + 1] if len(made) else 0.0
            still = ways[ways[:, 0] == 0, 1].max()  # moves new lines only
            assert money(lines, given) - money(lines, planned) == pytest.approx(max(due, still), abs=1e-6)
            assert steady.facts["released_worth_more"] == steady.facts["moves_from_plan"]
            n_made += len(made) > 0
    assert n_made >= 5


TURNS = (Segment("first", where={"segment": ("a",)}, turn=1), Segment("then", where={"segment": ("b",)}, turn=2))


@pytest.mark.parametrize("rules", [(), TURNS])
@pytest.mark.parametrize("few", [1, 6])
def test_the_choice_is_near_the_best_and_within_its_bound_also_where_not_every_set_is_tried(monkeypatch, few, rules):
    monkeypatch.setattr(releases, "EVERY_SET_OF", few)
    shares = []
    for seed in range(901, 906):
        segment = np.random.default_rng(seed).choice(["a", "b", None], 10)
        lines, here = random_book(seed, n_lines=10, n_pools=1, segment=segment)
        ways, planned = every_release(lines, here, Policy(segments=rules))
        for max_moves in (0, 1, 2, 3, 5):
            policy = Policy(max_moves=max_moves, move_worth=NEVER, segments=rules)
            given, steady = chosen(lines, here, policy)
            assert moved(lines, given, planned).sum() <= max_moves
            if steady.facts["moves_wanted"] <= max_moves:
                assert (given == steady.free_quantity).all()
                continue
            best = ways[ways[:, 0] <= max_moves, 1].max()
            found = money(lines, given) - money(lines, planned)
            assert found <= best + 1e-6 <= found + steady.facts["bound"] + 2e-6, (seed, max_moves)
            if best > 1e-6:
                shares.append(found / best)
    assert len(shares) >= 3
    assert np.mean(shares) > (0.95 if not rules else 0.5)


def test_nothing_is_kept_where_any_number_may_move_or_there_was_no_queue():
    lines, here = random_book(901)
    for policy, last in ((Policy(), lines["last_given_quantity"]), (Policy(max_moves=0), np.nan)):
        steady = hold_steady(lines.assign(last_given_quantity=last), here, policy)
        assert (steady.kept_quantity == 0).all()
        limits = keeping(limits_of(lines, here, policy), lines.assign(kept_quantity=steady.kept_quantity))
        assert not limits.binds()
    assert set(hold_steady(lines, here, Policy()).facts) == {"max_moves", "move_worth", *FIGURES}


RULES = (
    Segment("a", where={"segment": ("a",)}, strategy="gain", turn=1, share=0.3, sort=("-waited_days",)),
    Segment("b", where={"segment": ("b",)}, strategy="fill", turn=2),
    Segment("c", where={"segment": ("c",)}, strategy="win"),
)


def ruled_book(seed, n_lines=80):
    """Rules that leave most goods to turns, sequences and money; groups of about two."""
    rng = np.random.default_rng(seed)
    lines, here = random_book(seed, n_lines)
    in_group = (rng.random(n_lines) < 0.3) & lines["override"].isna()
    confirmed = np.where(rng.random(n_lines) < 0.3, lines["open_quantity"], 0.0)
    lines = lines.assign(
        segment=rng.choice(["a", "b", "c", None], n_lines, p=[0.35, 0.15, 0.05, 0.45]),
        override=rng.choice([None, "pin", "hold"], n_lines, p=[0.9, 0.04, 0.06]),
        ship_group=np.where(in_group, rng.choice([f"g{i}" for i in range(9)], n_lines), None),
        soft_reserved_quantity=confirmed,
        waited_days=rng.integers(1, 90, n_lines),
    )
    return lines.astype(TEXTS), here


@pytest.mark.parametrize("seed", [901, 902])
def test_under_every_rule_goods_never_stay_on_the_shelf_and_the_moves_are_within_the_limit(seed):
    lines, here = ruled_book(seed)
    planned, _ = units_of_plan(lines, here, Policy(segments=RULES, longest_wait_days=60))
    free = given_with(lines, here, Policy(segments=RULES, longest_wait_days=60), np.zeros(len(lines)))
    wanted = int(moved(lines, free, planned).sum())
    assert wanted >= 3
    for max_moves in (0, 2, wanted - 1, wanted):
        policy = Policy(segments=RULES, longest_wait_days=60, max_moves=max_moves, move_worth=NEVER)
        given, steady = chosen(lines, here, policy)
        assert moved(lines, given, planned).sum() <= max_moves
        limits = keeping(limits_of(lines, here, policy), lines.assign(kept_quantity=steady.kept_quantity))
        allocation = give_out(lines, here, policy, limits)
        assert_lawful(lines, allocation)
        assert (given[is_held(lines)] == 0).all()
        left = (allocation.pools["available_now"] - allocation.pools["given"]).to_numpy()
        waits = (given < lines["open_quantity"]) & ~is_held(lines) & (limits.most >= lines["open_quantity"])
        fits = lines["open_quantity"].to_numpy() <= left[pd.Index(NAMES).get_indexer(lines["product_id"])]
        assert not (waits & fits & lines["ship_group"].isna()).any()
    assert given.tolist() == free.tolist()


def test_the_order_of_rows_changes_nothing():
    for seed in (902, 903):
        lines, here = ruled_book(seed, n_lines=40)
        policy = Policy(max_moves=3, move_worth=20)
        first = hold_steady(lines, here, policy)
        order = np.random.default_rng(seed).permutation(len(lines))
        again = hold_steady(lines.iloc[order], here.iloc[::-1], policy)
        assert again.facts == first.facts
        for name in ("kept_quantity", "planned_quantity", "free_quantity"):
            pd.testing.assert_series_equal(getattr(again, name).sort_index(), getattr(first, name), check_exact=True)


def test_prices_of_rules_and_of_fairness_leave_the_lines_what_they_keep():
    lines = lines_of([1, 0, 0], loss_if_waits=[8.0, 10.0, 9.0], segment=["a", "b", "b"], override=[None, None, "pin"])
    kept = lines.assign(kept_quantity=[1.0, 0.0, 0.0])
    # Without the pin the first line keeps its unit and the second one has the other.
    table = price_of_rules(kept, goods(2), Policy()).set_index("rule")
    assert table.loc["pins", ["saved_with", "saved_without"]].tolist() == [17, 18]
    assert price_of_rules(lines, goods(2), Policy()).set_index("rule").loc["pins", "saved_without"] == 19
    assert fairness_table(kept.assign(override=None).astype(TEXTS), goods(2), Policy())["saved"].iloc[0] == 18


def words(lines, here, policy):
    _, steady = chosen(lines, here, policy)
    limits = limits_of(lines, here, policy)
    given = given_with(lines, here, policy, steady.kept_quantity)
    return stability_words(lines.assign(ship_now_quantity=given), steady, limits, policy).fillna("").tolist()


def test_lines_that_keep_goods_and_those_that_go_without_are_told():
    lines = lines_of([1, 0, 0, 2], loss_if_waits=[8.0, 10.0, 5.0, 18.0], open_quantity=[1.0, 1.0, 1.0, 2.0])
    assert words(lines, goods(3), Policy(max_moves=1)) == [
        "it keeps the unit that the last queue gave it",
        "line L0 keeps the unit that the last queue gave it (at most 1 line may move)",
        "",
        "",
    ]
    assert words(lines, goods(3), Policy(max_moves=2)) == [""] * 4
    many = lines_of([2, 1, 1, 1, 0], loss_if_waits=[4.0, 3.0, 4.0, 5.0, 90.0], open_quantity=[2.0, 1, 1, 1, 5])
    said = words(many, goods(5), Policy(max_moves=0))
    assert said[0] == "it keeps the 2 units that the last queue gave it"
    assert said[4] == (
        "line L0, line L1 and 2 other lines keep the 5 units that the last queue gave them (no line may move)"
    )


def test_what_is_kept_stands_before_turns_but_after_lines_to_serve_in_full():
    lines = lines_of([1, 0], loss_if_waits=[8.0, 10.0], segment=["z", "c"])
    policy = Policy(segments=RULES, max_moves=0)
    assert chosen(lines, goods(1), policy)[0].tolist() == [0, 1]
    turned = lines.assign(segment=["z", "a"]).astype(TEXTS)
    assert chosen(turned, goods(1), policy)[0].tolist() == [1, 0]
    assert Limits.none(2, 1).least.sum() == 0
