"""Ship groups that compete by money for the goods of several pools at once: chosen, proven, served."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.group_bound import Beside, GroupPart, SpreadBound, linear_bound, linear_prices, money_of, spread_bound
from decisions.group_choice import choose_groups
from decisions.group_exact import exact_choice
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.pool_tables import (
    Items,
    best_items,
    blocks_of,
    grid_units,
    in_units,
    rows_of,
    saved_by_divisible,
    tables_of,
)
from decisions.tied_goods import components, hand_out_in_order
from decisions.turns import Tally, serve_pools
from decisions.wishes import Wishes

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Counts, not seconds, bound the work: the same facts must give the same bytes.
BOUND_ROUNDS = 100
EXCHANGE_SWEEPS = 4
EXACT_COLUMNS = 400  # pools tied together by no more groups and lines are solved exactly, or up to a number of nodes
EXACT_COMPONENTS = 200  # of them at most, those with the largest gap first
PROVEN = 1e-9  # of the money saved


@dataclass(frozen=True)
class TiedPart:
    """Pools that groups tie together, numbered 0, 1, ..., their groups and the claims of the lines beside them."""

    pools: Codes  # row of each pool
    codes: Codes  # of the groups that fit into their pools
    part: GroupPart
    beside: Wishes


def serve_groups(wishes: Wishes, tally: Tally, lines: pd.DataFrame, saves: Floats, policy: Policy) -> Tally:
    """Serve the claims of pools that groups tie together in a stage that goes by worth.

    A linear relaxation prices the goods; the groups that save most over what their goods are worth are taken and
    exchanged while that saves more; a knapsack per pool bounds what any choice saves. Where few groups stay unproven
    they are solved as a mixed-integer programme. Nothing is served worse than strictly in the order of worth.
    """
    if not len(wishes.line):
        return tally
    in_order = hand_out_in_order(wishes, tally, lines, saves)
    tied = _tied_part(wishes, tally.left)
    if not len(tied.codes):
        return serve_pools(wishes.only(wishes.group < 0), tally, saves, policy)
    chosen, bound = _chosen(tied, np.isin(tied.codes, wishes.group[in_order.given[wishes.line] > 0]))
    served = _served(tied.codes[chosen], wishes, tally, lines, saves, policy)
    again, bound = _solved_where_small(tied, chosen, _saved(tied, wishes, served, tally), bound)
    tries = [served, in_order]
    if (again != chosen).any():
        tries.append(_served(tied.codes[again], wishes, tally, lines, saves, policy))
    best = max(tries, key=lambda attempt: float(attempt.value.sum()))
    return _certified(tied, _saved(tied, wishes, best, tally), bound, best, tally)


def _tied_part(wishes: Wishes, left: Floats) -> TiedPart:
    """Number the pools anew; groups that do not fit into what is left are out."""
    pools, place = np.unique(wishes.pool, return_inverse=True)
    grouped = np.flatnonzero(wishes.group >= 0)
    codes, group = np.unique(wishes.group[grouped], return_inverse=True)
    takes, row = np.unique(group * len(pools) + place[grouped], return_inverse=True)
    quantity = wishes.claims.quantity[grouped]
    units, of_group, of_pool = np.bincount(row, quantity), takes // len(pools), takes % len(pools)
    fits = np.ones(len(codes), dtype=np.bool_)
    fits[of_group[units > left[pools][of_pool] + QUANTITY_TOLERANCE]] = False
    worth = np.bincount(group, weights=quantity * wishes.claims.worth[grouped], minlength=len(codes))
    stay, number = fits[of_group], np.cumsum(fits) - 1
    part = GroupPart(worth[fits].astype(np.float64), number[of_group[stay]], of_pool[stay], units[stay], left[pools])
    claims = wishes.claims
    fit = ~claims.is_whole | (claims.quantity <= left[wishes.pool] + QUANTITY_TOLERANCE)
    alone = np.flatnonzero((wishes.group < 0) & fit)
    return TiedPart(pools, codes[fits], part, replace(wishes.only(alone), pool=place[alone]))


def _tables_beside(tied: TiedPart) -> Beside:
    """What the lines without a group save in each pool for every number of units."""
    part, claims, pool = tied.part, tied.beside.claims, tied.beside.pool
    is_whole = claims.is_whole
    numbers = np.concatenate((part.units, claims.quantity, claims.step[~is_whole]))
    pools = np.concatenate((part.pool, pool, pool[~is_whole]))
    unit = grid_units(pools, numbers, part.goods, len(part.pool) + len(pool))
    n_units = in_units(part.goods, unit)
    money = (claims.worth * claims.quantity)[is_whole]
    items = Items(pool[is_whole], in_units(claims.quantity[is_whole], unit[pool[is_whole]]), money)
    blocks, size = blocks_of(items, n_units), unit[pool[~is_whole]]
    free = saved_by_divisible(
        blocks, pool[~is_whole], claims.quantity[~is_whole] / size, claims.worth[~is_whole] * size
    )
    tables, _, _ = best_items(blocks, free, items)
    groups = Items(part.pool, in_units(part.units, unit[part.pool]), np.zeros(len(part.pool)))
    group_blocks = blocks_of(groups, n_units)
    return Beside(unit, group_blocks, tables_of(group_blocks, rows_of(blocks, tables)), groups)


def _chosen(tied: TiedPart, in_order: Flags) -> tuple[Flags, SpreadBound]:
    """Groups that ship, and what bounds every choice."""
    part, beside, claims = tied.part, _tables_beside(tied), tied.beside.claims
    price = linear_prices(part, tied.beside.pool, claims.quantity, claims.worth)
    first = choose_groups(part, price, np.zeros(len(part.worth)), beside, n_sweeps=0)
    spread = spread_bound(part, price, beside, float(money_of(part, beside, first).sum()), BOUND_ROUNDS)
    better = choose_groups(part, price, spread.liking, beside, EXCHANGE_SWEEPS)
    component = components(part.pool, part.group, len(part.goods))
    chosen = _best_of((better, first, in_order), part, beside, component)
    most = np.minimum(
        np.bincount(component, spread.saved),
        np.bincount(component, linear_bound(part, price, tied.beside.pool, claims.quantity, claims.worth)),
    )
    return chosen, replace(spread, component=component, most=most)


def _best_of(tries: tuple[Flags, ...], part: GroupPart, beside: Beside, component: Codes) -> Flags:
    """In every part that hangs together the choice that saves most."""
    money = np.array([np.bincount(component, money_of(part, beside, chosen)) for chosen in tries])
    best = money.argmax(axis=0)[_component_of(part, component)]
    found: Flags = np.array(tries)[best, np.arange(len(part.worth))]
    return found


def _component_of(part: GroupPart, component: Codes) -> Codes:
    """Component of each group."""
    of_group = np.zeros(len(part.worth), dtype=np.int64)
    of_group[part.group] = component[part.pool]
    return of_group


def _served(codes: Codes, wishes: Wishes, tally: Tally, lines: pd.DataFrame, saves: Floats, policy: Policy) -> Tally:
    """Serve these groups, then the lines beside them, then groups that the goods left still suffice for."""
    grouped = wishes.group >= 0
    is_first = grouped & np.isin(wishes.group, codes)
    tally = hand_out_in_order(wishes.only(is_first), tally, lines, saves)
    tally = serve_pools(wishes.only(~grouped), tally, saves, policy)
    return hand_out_in_order(wishes.only(grouped & ~is_first), tally, lines, saves)


@dataclass(frozen=True)
class Saved:
    """Money that the lines beside the groups save in each pool, and which groups ship."""

    beside: Floats  # (n_pools,)
    ships: Flags  # (n_groups,)

    def of_components(self, tied: TiedPart, component: Codes) -> Floats:
        """Money saved in each part that hangs together."""
        of_groups = tied.part.worth * self.ships
        money = np.bincount(component, self.beside)
        money = money + np.bincount(_component_of(tied.part, component), of_groups, minlength=len(money))
        return money.astype(np.float64)


def _saved(tied: TiedPart, wishes: Wishes, served: Tally, before: Tally) -> Saved:
    line, first = np.unique(wishes.line, return_index=True)
    units, group = (served.given - before.given)[line], wishes.group[first]
    alone, place = group < 0, np.searchsorted(tied.pools, wishes.pool[first])
    money = np.bincount(place[alone], (units * wishes.claims.worth[first])[alone], minlength=len(tied.pools))
    return Saved(money.astype(np.float64), np.isin(tied.codes, group[(units > 0) & ~alone]))


def _solved_where_small(tied: TiedPart, chosen: Flags, saved: Saved, bound: SpreadBound) -> tuple[Flags, SpreadBound]:
    """Solve the small parts that are not proven, those with the largest gap first, as mixed-integer programmes."""
    part, component, most, chosen = tied.part, bound.component, bound.most.copy(), chosen.copy()
    of_group, of_line = _component_of(part, component), component[tied.beside.pool]
    n_columns = np.bincount(of_group, minlength=len(most)) + np.bincount(of_line, minlength=len(most))
    value = saved.of_components(tied, component)
    is_open = np.flatnonzero((most - value > PROVEN * np.maximum(most, 1)) & (n_columns <= EXACT_COLUMNS))
    for c in is_open[np.argsort((value - most)[is_open], kind="stable")][:EXACT_COMPONENTS]:
        groups, lines = np.flatnonzero(of_group == c), np.flatnonzero(of_line == c)
        found, limit = exact_choice(part, groups, tied.beside.pool[lines], tied.beside.claims.only(lines))
        chosen[groups], most[c] = found, min(most[c], limit)
    return chosen, replace(bound, most=most)


def _certified(tied: TiedPart, saved: Saved, bound: SpreadBound, served: Tally, before: Tally) -> Tally:
    """State for each pool what it could save at most beyond what was served; a component's pools add up to its gap."""
    spread = np.bincount(tied.part.pool, bound.part * saved.ships[tied.part.group], minlength=len(tied.pools))
    missed = np.maximum(bound.saved - saved.beside - spread, 0)
    most = np.maximum(bound.most - saved.of_components(tied, bound.component), 0)
    most[most <= PROVEN * np.maximum(bound.most, 1)] = 0
    total = np.bincount(bound.component, missed)
    share = np.divide(most, total, out=np.zeros(len(most)), where=total > 0)
    gap, method = before.gap.copy(), served.method.copy()
    gap[tied.pools] += missed * share[bound.component]
    method[tied.pools] = np.where(most[bound.component] > 0, "greedy", "exact")
    return replace(served, gap=gap, method=method)
