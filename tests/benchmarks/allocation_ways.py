"""The ways of giving out goods that are measured: ours and the peers', each on one case.

A way draws its case first; what it then runs begins with the drawn arrays, or with the lines' frame where goods are
given out, and ends with the plan. What the plan loses is worked out after the clock has stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from decisions.allocation import Allocation, Certificate, give_out
from decisions.plans import Plan, best_plan, plan_by_sorting
from decisions.policy import Policy
from decisions.programme import NOW, Programme, bound_at, excess, kept_from_now, loss_if_waits, money_lost
from decisions.programme_highs import plan_by_highs
from tests.benchmarks.allocation_cases import (
    N_SCENARIOS,
    Case,
    conservative,
    frame_of,
    programme_of,
    ship_groups,
    typed_order,
)
from tests.benchmarks.allocation_peers import (
    plan_by_flow,
    serial_pass,
    serial_pass_of_groups,
    solve_by_highs,
    stated,
    stated_now,
)

MOST_PLANNED_ANEW = 100_000
AT_PRICE = 1e-6  # as `decisions.waiting_programme` has it

Facts = dict[str, float]


@dataclass(frozen=True)
class Way:
    """What is timed, and what it found."""

    run: Callable[[], Any]
    found: Callable[[Any], Facts]


def planned(case: Case) -> Way:
    """Ours: the plan of all chances, with its proof."""
    programme = programme_of(case)
    return Way(lambda: best_plan(programme), lambda plan: {"value": plan.value.sum(), "bound": plan.bound.sum()})


def sorted_out(case: Case) -> Way:
    """Ours where one chance clears the backlog: the numerical kernel alone."""
    programme = programme_of(case)
    return Way(lambda: plan_by_sorting(programme), lambda plan: {"value": plan.value.sum()})


def given_out(case: Case) -> Way:
    """Ours: goods of today given to the lines of a frame whose waits are priced already; later chances planned anew."""
    programme = programme_of(case)
    plan = best_plan(programme)
    lines, goods = frame_of(case, programme)
    lines, policy = with_waits(lines, programme, plan), Policy()

    def found(allocation: Allocation) -> Facts:
        share = allocation.ship_now_quantity.sort_index().to_numpy() / programme.units[:, NOW]
        found = {"value": money_lost_after(programme, share), "bound": plan.bound.sum()}
        return found | {"excess": most_beyond(programme, share)}

    return Way(lambda: give_out(lines, goods, policy), found)


def most_beyond(programme: Programme, share_now: np.ndarray) -> float:
    """Units given beyond a pool's goods or, in shares, beyond what a line wants or below nothing; 0 is right."""
    given = np.bincount(programme.pool, share_now * programme.units[:, NOW], minlength=len(programme.goods))
    return float(max((given - programme.goods[:, NOW]).max(), (share_now - 1).max(), -share_now.min(), 0.0))


def morning(case: Case) -> Way:
    """Ours: the plan of all chances, waits at its prices, and goods given out, groups and all."""
    programme = programme_of(case)
    lines, goods = frame_of(case, programme)
    policy = Policy()

    def run() -> tuple[Certificate, float]:
        priced = with_waits(lines, programme, best_plan(programme))
        start = time.process_time()
        return give_out(priced, goods, policy).certificate, time.process_time() - start

    def found(both: tuple[Certificate, float]) -> Facts:
        it, cpu_s = both
        return {"saved": it.value, "saved at most": it.bound, "gap": it.gap, "CPU s of giving out": cpu_s}

    return Way(run, found)


def with_waits(lines: pd.DataFrame, programme: Programme, plan: Plan) -> pd.DataFrame:
    """Add what the plan says of each line, as `decisions.waiting_programme` does."""
    waits = loss_if_waits(programme, plan.price)
    units, price = programme.units[:, NOW], plan.price[programme.pool, NOW]
    row = lines.index.to_numpy()
    return lines.assign(
        loss_if_waits=waits[row],
        planned_quantity=(plan.served[:, NOW] * units)[row],
        is_at_price=((price > 0) & (np.abs(waits / units - price) <= AT_PRICE * price))[row],
    )


def money_lost_after(programme: Programme, share_now: np.ndarray) -> float:
    """Money lost in expectation if these shares are served now and what is left is planned as well as can be.

    NaN for more lines than are planned in a few seconds.
    """
    if len(share_now) > MOST_PLANNED_ANEW and programme.goods.shape[1] > 2:
        return math.nan
    rest = np.clip(1 - share_now, 0, 1)
    still = rest > 1e-9
    goods = programme.goods.copy()
    goods[:, NOW] = kept_from_now(programme)
    left = Programme(
        programme.pool[still],
        np.column_stack([np.full(int(still.sum()), np.inf), rest[still, None] * programme.cost[still, 1:]]),
        rest[still, None] * programme.units[still],
        rest[still] * programme.cost_without[still],
        goods,
    )
    return float(best_plan(left).value.sum())


def highs(case: Case) -> Way:
    """HiGHS on the whole programme in one piece."""
    programme = programme_of(case)
    problem, _ = stated(programme)
    lost = float(programme.cost_without.sum())
    return Way(lambda: solve_by_highs(problem), lambda both: {"value": both[0] + lost, "bound": both[1] + lost})


def highs_in_parts(case: Case) -> Way:
    """HiGHS by scipy's linprog on 500 lines at a time, as those few pools are solved that our plan leaves open."""
    programme = programme_of(case)

    def found(plan: tuple[np.ndarray, np.ndarray]) -> Facts:
        return {"value": money_lost(programme, plan[0]).sum(), "bound": bound_at(programme, plan[1]).sum()}

    return Way(lambda: plan_by_highs(programme), found)


def highs_whole(case: Case, seconds: float = 60.0) -> Way:
    """HiGHS on today's giving with ship groups in one piece, at the plan's prices; it may stop after `seconds`."""
    programme = programme_of(case)
    waits = loss_if_waits(programme, best_plan(programme).price)
    group = ship_groups(case)
    problem = stated_now(waits, programme.units[:, NOW], programme.pool, programme.goods[:, NOW], group)
    whole_from = int((group < 0).sum())

    def found(both: tuple[float, float]) -> Facts:
        return {"saved": -both[0], "saved at most": -both[1], "gap": max(both[0] - both[1], 0.0)}

    return Way(lambda: solve_by_highs(problem, whole_from, seconds), found)


def keeps_for_the_gone(case: Case) -> Way:
    """Ours without expected consumption: the conservative variant, to its own optimum."""
    programme = programme_of(case)
    variant = conservative(programme)

    def found(plan: Plan) -> Facts:
        return lost_by(programme, variant, plan.served) | {"bound": plan.bound.sum()}

    return Way(lambda: best_plan(variant), found)


def flow(case: Case) -> Way:
    """OR-tools' min-cost flow: the conservative variant."""
    programme = programme_of(case)
    variant = conservative(programme)
    return Way(lambda: plan_by_flow(variant, N_SCENARIOS), lambda served: lost_by(programme, variant, served))


def lost_by(programme: Programme, variant: Programme, served: np.ndarray) -> Facts:
    """What a plan of the variant loses, and what does if it holds for today only."""
    return {
        "value": money_lost(programme, served).sum(),
        "value planned anew": money_lost_after(programme, served[:, NOW]),
        "excess": float(excess(variant, served).max()),
    }


def serial(case: Case) -> Way:
    """Rule of an ERP: by typed priority and entry, each line takes what it can get, soonest first."""
    programme = programme_of(case)
    units = programme.units[:, NOW]
    goods = programme.goods.copy()
    goods[:, 1] += kept_from_now(programme)
    order, pool, wants, there = (part.tolist() for part in (typed_order(case), programme.pool, units, goods))

    def found(given: list[list[float]]) -> Facts:
        served = np.array(given) / units[:, None]
        anew = money_lost_after(programme, served[:, NOW])
        return {"value": money_lost(programme, served).sum(), "value planned anew": anew}

    return Way(lambda: serial_pass(order, pool, wants, there), found)


def serial_groups(case: Case) -> Way:
    """Rule of an ERP for today's goods: groups as their first line stands, together or not at all."""
    programme = programme_of(case)
    waits = loss_if_waits(programme, best_plan(programme).price)
    group, units = ship_groups(case), programme.units[:, NOW]
    of_group: dict[int, list[int]] = {}
    order: list[list[int]] = []
    for line in typed_order(case).tolist():
        number = int(group[line])
        if number in of_group:
            of_group[number].append(line)
        else:
            order.append([line])
            if number >= 0:
                of_group[number] = order[-1]
    pool, wants, goods = (part.tolist() for part in (programme.pool, units, programme.goods[:, NOW]))

    def found(given: list[float]) -> Facts:
        return {"saved": float((np.array(given) / units) @ waits)}

    return Way(lambda: serial_pass_of_groups(order, pool, wants, goods), found)


WAYS: dict[str, Callable[[Case], Way]] = {
    way.__name__: way
    for way in (
        *(planned, sorted_out, given_out, morning, keeps_for_the_gone),
        *(highs, highs_in_parts, highs_whole, flow, serial, serial_groups),
    )
}
