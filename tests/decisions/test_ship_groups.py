"""Ship groups over several pools, against every choice on small mornings and the laws on larger ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from decisions.allocation import give_out
from decisions.limits import Limits
from decisions.policy import Policy
from decisions.ship_groups import ShipGroups
from tests.decisions.every_choice import assert_lawful, best_of_every_choice
from tests.decisions.open_lines import open_lines, pools

NAMES = ["p", "p1", "p2"]


def tied_lines(seed, n_lines=6, **columns):
    """Lines in groups of about two over three pools; odd seeds have halves and steps."""
    rng = np.random.default_rng(seed)
    unit = 1.0 if seed % 2 else 0.5
    lines = open_lines(
        n_lines,
        product_id=rng.choice(NAMES, n_lines),
        ship_group=pd.Series(rng.choice(["g", "h", "i", None, None], n_lines), dtype="str"),
        open_quantity=rng.integers(1, 6, n_lines) * unit,
        loss_if_waits=rng.uniform(0, 30, n_lines).round(2),
        quantity_step=rng.choice([unit, unit, 2 * unit], n_lines),
        may_split=rng.random(n_lines) < 0.4,
        override=None,
    )
    return lines.assign(**columns), [float(goods) for goods in rng.integers(0, 8, 3)]


def many_tied_lines(seed, n_lines=600, n_pools=60, share=0.6):
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(n_lines) < share, rng.integers(0, n_lines // 4, n_lines), -1)
    quantity = rng.integers(1, 15, n_lines).astype(float)
    lines = open_lines(
        n_lines,
        product_id=rng.choice(["p", *(f"p{i}" for i in range(1, n_pools))], n_lines),
        ship_group=pd.Series([f"g{code}" if code >= 0 else None for code in group], dtype="str"),
        open_quantity=quantity,
        loss_if_waits=(quantity * rng.lognormal(1, 1, n_lines)).round(2),
        may_split=rng.random(n_lines) < 0.5,
    )
    return lines, pools(*rng.integers(10, 60, n_pools))


def test_small_tied_pools_save_what_the_best_of_every_choice_saves():
    for seed in range(901, 931):
        lines, goods = tied_lines(seed)
        best = best_of_every_choice(lines, dict(zip(NAMES, goods, strict=True)))
        allocation = give_out(lines, pools(*goods), Policy())
        assert_lawful(lines, allocation)
        assert allocation.certificate.value == pytest.approx(best, abs=1e-6), seed
        assert allocation.certificate.gap == pytest.approx(0, abs=1e-6), seed
        assert allocation.certificate.n_proven == 3


def test_without_exact_pools_the_bound_still_holds_for_tied_pools():
    for seed in range(901, 916):
        lines, goods = tied_lines(seed)
        best = best_of_every_choice(lines, dict(zip(NAMES, goods, strict=True)))
        certificate = give_out(lines, pools(*goods), Policy(exact_pool_cells=0)).certificate
        assert certificate.value <= best + 1e-6 <= certificate.bound + 2e-6


def test_parts_that_must_beat_a_shipment_keep_the_bound_of_tied_pools():
    for seed in range(901, 916):
        lines, goods = tied_lines(seed, may_split=True)
        policy = Policy(shipment_cost=6)
        best = best_of_every_choice(lines, dict(zip(NAMES, goods, strict=True)), shipment_cost=6)
        allocation = give_out(lines, pools(*goods), policy)
        assert_lawful(lines, allocation, shipment_cost=6)
        assert allocation.certificate.value <= best + 1e-6 <= allocation.certificate.bound + 2e-6


def test_pinned_groups_go_first_and_the_others_make_the_best_of_the_rest():
    for seed in range(901, 916):
        lines, goods = tied_lines(seed)
        lines["override"] = pd.Series(["pin", *[None] * 5], dtype="str")
        pinned = ShipGroups.of(lines).of_each((lines["override"] == "pin").to_numpy(bool), np.logical_or)
        needed = lines[pinned].groupby("product_id")["open_quantity"].sum().reindex(NAMES, fill_value=0).to_numpy()
        allocation = give_out(lines, pools(*goods), Policy())
        assert_lawful(lines, allocation)
        if lines["may_split"][0] and lines["ship_group"].isna()[0]:
            continue
        ships = bool((needed <= goods).all())
        assert (allocation.ship_now_quantity[pinned] > 0).all() == ships
        rest = dict(zip(NAMES, np.array(goods) - needed * ships, strict=True))
        best = best_of_every_choice(lines[~pinned], rest)
        value = allocation.ship_now_quantity[~pinned] * (lines["loss_if_waits"] / lines["open_quantity"])[~pinned]
        assert value.sum() == pytest.approx(best, abs=1e-6), seed


def test_more_goods_never_save_less_where_tied_pools_are_solved_exactly():
    for seed in range(901, 907):
        lines, _ = tied_lines(seed, may_split=False)
        certificates = [give_out(lines, pools(goods, goods + 1, goods), Policy()).certificate for goods in range(9)]
        assert (np.diff([certificate.value for certificate in certificates]) >= -1e-6).all()
        assert (np.diff([certificate.bound for certificate in certificates]) >= -1e-6).all()


def test_many_tied_pools_come_within_one_percent_of_a_bound_that_milp_confirms():
    for seed in (901, 902):
        lines, goods = many_tied_lines(seed)
        allocation = give_out(lines, goods, Policy())
        assert_lawful(lines, allocation)
        pool = goods.set_index("product_id").index.get_indexer(lines["product_id"])
        column = pd.factorize(lines["ship_group"].fillna(lines["order_line_id"]))[0]
        takes = np.zeros((len(goods), column.max() + 1))
        np.add.at(takes, (pool, column), lines["open_quantity"])
        money = np.bincount(column, lines["loss_if_waits"])
        is_whole = np.ones(len(money))
        is_whole[column[lines["may_split"] & lines["ship_group"].isna()]] = 0
        rule = LinearConstraint(takes, -np.inf, goods["available_now"])
        found = milp(-money, integrality=is_whole, bounds=Bounds(0, 1), constraints=rule, options={"mip_rel_gap": 1e-4})
        certificate = allocation.certificate
        assert certificate.bound >= -found.fun - 1e-6
        assert certificate.value <= -found.mip_dual_bound + 1e-6
        assert certificate.gap <= 0.01 * certificate.value
        assert certificate.gap == pytest.approx(allocation.pools["gap"].sum())


def test_tied_pools_serve_at_least_what_serving_in_order_of_worth_saves():
    lines, goods = many_tied_lines(903)
    best = give_out(lines, goods, Policy()).certificate.value
    worth = lines["loss_if_waits"] / lines["open_quantity"]
    groups = ShipGroups.of(lines)
    loss, units = (groups.of_each(lines[name].to_numpy(), np.add) for name in ("loss_if_waits", "open_quantity"))
    in_order = replace(Limits.none(len(lines), len(goods)), sort_key=-loss / units)
    given = give_out(lines, goods, Policy(), in_order).ship_now_quantity
    assert best > (given * worth).sum()


def test_order_of_rows_changes_no_byte_of_tied_pools():
    lines, goods = many_tied_lines(904)
    first = give_out(lines, goods, Policy())
    for seed in (1, 2):
        order = np.random.default_rng(seed).permutation(len(lines))
        again = give_out(lines.iloc[order], goods.iloc[::-1], Policy())
        assert again.ship_now_quantity.sort_index().tolist() == first.ship_now_quantity.tolist()
        pd.testing.assert_frame_equal(first.pools, again.pools, check_exact=True)


def test_a_group_too_large_for_its_pools_leaves_them_to_others_and_proves_it():
    lines = open_lines(
        3, product_id=["p", "p1", "p"], ship_group=pd.Series(["g", "g", None], dtype="str"), loss_if_waits=[50, 50, 1.0]
    )
    allocation = give_out(lines, pools(1, 0), Policy())
    assert allocation.ship_now_quantity.tolist() == [0.0, 0.0, 1.0]
    assert (allocation.certificate.value, allocation.certificate.gap) == (1.0, 0.0)
    assert allocation.passed_over.tolist()[:1] == ["group"]


def test_quantities_without_a_common_unit_keep_a_bound_above_the_best_choice():
    for seed in range(901, 907):
        lines, goods = tied_lines(seed, may_split=False)
        lines["open_quantity"] *= np.pi / 3
        best = best_of_every_choice(lines, dict(zip(NAMES, goods, strict=True)))
        certificate = give_out(lines, pools(*goods), Policy()).certificate
        assert certificate.value == pytest.approx(best, abs=1e-6)
        assert certificate.bound >= best - 1e-6


def test_groups_stand_in_the_last_turn_of_their_lines_and_each_turn_is_the_best_of_every_choice():
    for seed in range(1000, 1015):
        lines, goods = tied_lines(seed)
        rng, groups = np.random.default_rng(seed), ShipGroups.of(lines)
        turn, most = rng.integers(0, 2, len(lines)), rng.choice([0.5, 2, np.inf], len(lines), p=[0.1, 0.2, 0.7])
        limits = replace(Limits.none(len(lines), 3), turn=turn, most=most)
        allocation = give_out(lines, pools(*goods), Policy(), limits)
        stands = groups.of_each(turn, np.maximum)
        stays = groups.of_each(most < lines["open_quantity"].to_numpy(), np.logical_or) & (groups.code >= 0)
        money = allocation.ship_now_quantity * lines["loss_if_waits"] / lines["open_quantity"]
        left = dict(zip(NAMES, goods, strict=True))
        for place in (0, 1):
            here = (stands == place) & ~stays
            best = best_of_every_choice(lines[here], left, most=most[here])
            assert money[stands == place].sum() == pytest.approx(best, abs=1e-6), seed
            used = allocation.ship_now_quantity[stands == place].groupby(lines["product_id"]).sum()
            left = {name: units - used.get(name, 0.0) for name, units in left.items()}
        assert allocation.certificate.gap == pytest.approx(0, abs=1e-6)
