"""Who else gives out goods: HiGHS in one piece, OR-tools' min-cost flow for the conservative variant, a serial rule.

highspy and ortools cannot be imported in one process (each brings a HiGHS of its own, and the symbols clash), so each
is imported where it is used. HiGHS' settings are the best of those tried on development seed 901, CPU seconds for
10,000 lines, 1,000 products, four chances / 100,000 lines, 10,000 products / 1,000,000 lines, one chance: dual simplex
with presolve .66 / 15.9 / 6.6, without .57 / 18.8 / more than 136, HiPO .65 / 18.5 / 5.2, IPX 1.9, primal simplex 3.5,
PDLP 25. Stock carried over as columns of its own is sparser than sums over chances, and never slower by more than 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decisions.programme import NOW, Programme, kept_from_now

LINES_AT_ONCE = 500  # of 30 to 100,000 tried; larger ones take longer
COST_STEPS = 4e5  # of a pool's dearest unit: with 1e5 the plan lost 1.5e-6 above its optimum (100 lines a product)


@dataclass(frozen=True)
class Stated:
    """A linear programme: least cost x with x >= 0 and matrix x <= limit; entries column by column."""

    cost: np.ndarray
    limit: np.ndarray
    starts: np.ndarray  # (n_columns + 1,), first entry of each column
    row: np.ndarray
    entry: np.ndarray


def stated(programme: Programme) -> tuple[Stated, tuple[np.ndarray, np.ndarray]]:
    """State the programme with shares of lines, then stock carried over, as columns; line and chance of the shares."""
    n_lines = len(programme.pool)
    saved = programme.cost - programme.cost_without[:, None]
    line, chance = np.nonzero(saved < 0)
    goods = programme.goods.copy()
    goods[:, 1] += kept_from_now(programme)
    # Once a chance is enough for everyone no later one limits anything.
    limits = np.isfinite(np.column_stack([goods[:, NOW], np.cumsum(goods[:, 1:], axis=1)]))
    number = np.full(goods.shape, -1)
    number[limits] = n_lines + np.arange(limits.sum())
    of_goods = number[programme.pool[line], chance]
    counted = np.flatnonzero(of_goods >= 0)
    pool, since = np.nonzero(limits[:, 1:-1] & limits[:, 2:])
    stock = len(line) + np.arange(len(pool))
    row = [line, of_goods[counted], number[pool, since + 1], number[pool, since + 2]]
    column = np.concatenate([np.arange(len(line)), counted, stock, stock])
    entry = [np.ones(len(line)), programme.units[line, chance][counted], np.ones(len(pool)), -np.ones(len(pool))]
    order = np.argsort(column, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(column, minlength=len(line) + len(pool))))
    cost = np.append(saved[line, chance], np.zeros(len(pool)))
    limit = np.append(np.ones(n_lines), goods[limits])
    return Stated(cost, limit, starts, np.concatenate(row)[order], np.concatenate(entry)[order]), (line, chance)


def stated_now(worth: np.ndarray, units: np.ndarray, pool: np.ndarray, goods: np.ndarray, group: np.ndarray) -> Stated:
    """State today's giving with one column for each ship group or line without one, in whole or in part.

    Columns are lines without a group, then groups; those of groups are to be 0 or 1.
    """
    column = np.empty(len(pool), dtype=np.int64)
    free = group < 0
    column[free] = np.arange(free.sum())
    column[~free] = free.sum() + group[~free]
    n_columns = int(column.max()) + 1
    place, row, entry = _together(column, pool, units, len(goods))
    starts = np.append(0, np.cumsum(np.bincount(place, minlength=n_columns)))
    return Stated(-np.bincount(column, worth, minlength=n_columns), goods, starts, row, entry)


def _together(column: np.ndarray, row: np.ndarray, entry: np.ndarray, n_rows: int) -> tuple[np.ndarray, ...]:
    """Add up what stands in one column and row: two lines of a group may want the same product."""
    key, place = np.unique(column * n_rows + row, return_inverse=True)
    return key // n_rows, key % n_rows, np.bincount(place, entry)


def solve_by_highs(problem: Stated, whole_from: int | None = None, seconds: float = np.inf) -> tuple[float, float]:
    """Least cost and proven bound by HiGHS in one piece.

    Columns from `whole_from` on are 0 or 1 and those before lie between; None: no column has a limit of its own.
    """
    import highspy

    n_columns = len(problem.cost)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = n_columns, len(problem.limit)
    model.col_cost_, model.col_lower_ = problem.cost, np.zeros(n_columns)
    model.col_upper_ = np.full(n_columns, np.inf if whole_from is None else 1.0)
    model.row_lower_, model.row_upper_ = np.full(len(problem.limit), -np.inf), problem.limit
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = problem.starts.astype(np.int32)
    model.a_matrix_.index_, model.a_matrix_.value_ = problem.row.astype(np.int32), problem.entry
    if whole_from is not None:
        kinds = [highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger]
        model.integrality_ = [kinds[column >= whole_from] for column in range(n_columns)]
    solver = highspy.Highs()
    options: dict[str, Any] = {"output_flag": False, "threads": 1, "time_limit": float(seconds), "mip_rel_gap": 1e-4}
    if whole_from is None:
        options["solver"] = "simplex"
    for name, value in options.items():
        solver.setOptionValue(name, value)
    solver.passModel(model)
    solver.run()
    status, info = solver.getModelStatus(), solver.getInfo()
    ended = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit)
    if status not in ended or (whole_from is None and status != ended[0]):
        raise RuntimeError(f"HiGHS ended with {solver.modelStatusToString(status)} on {n_columns} columns")
    value = float(info.objective_function_value)
    return value, value if whole_from is None else float(info.mip_dual_bound)


def plan_by_flow(programme: Programme, lots_per_unit: int, lines_at_once: int = LINES_AT_ONCE) -> np.ndarray:
    """Shares served at each chance by OR-tools' min-cost flow; every line takes all its units at any chance.

    Goods and quantities are multiples of 1 / lots_per_unit. Each pool has a sink of its own, so that pools solved
    together stay apart (with a common one 10,000 products took twice as long), and costs in steps of its own.
    """
    lots = np.rint(programme.units[:, NOW] * lots_per_unit).astype(np.int64)
    per_unit = np.column_stack([programme.cost, programme.cost_without]) / programme.units[:, :1]
    per_unit -= per_unit.min(axis=1, keepdims=True)
    dearest = np.zeros(len(programme.goods))
    np.maximum.at(dearest, programme.pool, per_unit[:, -1])
    steps = COST_STEPS / np.where(dearest > 0, dearest, 1.0)
    unit_cost = np.rint(per_unit * steps[programme.pool, None]).astype(np.int64)
    goods = programme.goods.copy()
    goods[:, 1] += kept_from_now(programme)
    is_enough = np.isinf(goods)
    is_beyond = np.zeros(goods.shape, dtype=bool)
    is_beyond[:, 1:] = np.logical_or.accumulate(is_enough, axis=1)[:, :-1]
    asked = np.bincount(programme.pool, lots, minlength=len(goods))
    supply = np.where(is_enough, asked[:, None], np.rint(np.where(is_enough, 0, goods) * lots_per_unit))
    # A chance that brings nothing costs no less than the one before it, whose stock it would take.
    has_node = (goods > 0) & ~is_beyond
    has_arc = has_node[programme.pool] & ((unit_cost[:, :-1] < unit_cost[:, -1:]) | is_enough[programme.pool])
    served = np.zeros(programme.cost.shape)
    for lines, pools, part in programme.parts(lines_at_once):
        has, may = has_node[pools], has_arc[lines]
        flow = _flow(part.pool, lots[lines], unit_cost[lines], supply[pools].astype(np.int64), has, may)
        served[lines] = flow / lots[lines, None]
    return served


def _flow(
    pool: np.ndarray, lots: np.ndarray, unit_cost: np.ndarray, supply: np.ndarray, has_node: np.ndarray, may: np.ndarray
) -> np.ndarray:
    """Lots of each line at each chance: from its node to chances, from a chance to the one before or to the sink."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    n_lines, n_chances = may.shape
    line, chance = np.nonzero(may)
    of_pool, at = np.nonzero(has_node)
    node = np.full(has_node.shape, -1)
    node[of_pool, at] = n_lines + np.arange(len(at))
    nodes = node[of_pool, at]
    sink = n_lines + len(nodes) + np.arange(len(supply))
    carried = np.flatnonzero((of_pool[1:] == of_pool[:-1]) & (at[:-1] > NOW))
    tail = np.concatenate([line, np.arange(n_lines), nodes, nodes[carried + 1]])
    head = np.concatenate([node[pool[line], chance], sink[pool], sink[of_pool], nodes[carried]])
    capacity = np.concatenate([lots[line], lots, supply[of_pool, at], np.full(len(carried), lots.sum())])
    cost = np.concatenate([unit_cost[line, chance], unit_cost[:, -1], np.zeros(len(nodes) + len(carried), np.int64)])
    flow = SimpleMinCostFlow()
    flow.add_arcs_with_capacity_and_unit_cost(tail.astype(np.int32), head.astype(np.int32), capacity, cost)
    asked = np.bincount(pool, lots, minlength=len(supply)).astype(np.int64)
    ends = np.append(np.arange(n_lines), sink).astype(np.int32)
    flow.set_nodes_supplies(ends, np.append(lots, -asked))
    status = flow.solve()
    if status != flow.OPTIMAL:
        raise RuntimeError(f"OR-tools' flow ended with {status} on {n_lines} lines")
    found = np.zeros(may.shape)
    found[line, chance] = flow.flows(np.arange(len(line), dtype=np.int32))
    return found


def serial_pass(order: list[int], pool: list[int], wants: list[float], goods: list[list[float]]) -> list[list[float]]:
    """Units of each line at each chance as ERPs confirm: one line after the other takes what it can get, soonest first.

    >>> serial_pass([1, 0], pool=[0, 0], wants=[4.0, 2.0], goods=[[3.0, 5.0]])
    [[1.0, 3.0], [2.0, 0.0]]
    """
    left = [list(of_pool) for of_pool in goods]
    given = [[0.0] * len(goods[0]) for _ in pool]
    for line in order:
        missing, here, row = wants[line], left[pool[line]], given[line]
        for chance, there in enumerate(here):
            if there > 0:
                take = missing if missing < there else there
                row[chance] = take
                here[chance] = there - take
                missing -= take
                if missing <= 0:
                    break
    return given


def serial_pass_of_groups(
    order: list[list[int]], pool: list[int], wants: list[float], goods: list[float]
) -> list[float]:
    """Units of each line now where lines ship together, each in whole: those that cannot are passed over; others split.

    >>> serial_pass_of_groups([[0, 1], [2]], pool=[0, 1, 0], wants=[2.0, 3.0, 4.0], goods=[3.0, 2.0])
    [0.0, 0.0, 3.0]
    """
    left, given = list(goods), [0.0] * len(pool)
    for lines in order:
        needed: dict[int, float] = {}
        for line in lines:
            needed[pool[line]] = needed.get(pool[line], 0.0) + wants[line]
        if len(lines) == 1:
            given[lines[0]] = min(wants[lines[0]], left[pool[lines[0]]])
            left[pool[lines[0]]] -= given[lines[0]]
        elif all(left[k] >= units for k, units in needed.items()):
            for line in lines:
                given[line] = wants[line]
            for k, units in needed.items():
                left[k] -= units
    return given
