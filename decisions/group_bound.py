"""How much ship groups and the lines beside them can save at most: one knapsack per pool, tied by prices."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array

from decisions.pool_tables import Block, Items, best_items, in_units

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PATIENCE = 5  # rounds without a better bound before the steps are halved


@dataclass(frozen=True)
class GroupPart:
    """Groups that compete for the goods of several pools; `group`, `pool`, `units` have one row per group and pool."""

    worth: Floats  # (n_groups,) money saved if the group ships
    group: Codes
    pool: Codes
    units: Floats
    goods: Floats  # (n_pools,)


@dataclass(frozen=True)
class Beside:
    """What the lines beside the groups save in every pool, on each pool's grid of units."""

    unit: Floats  # (n_pools,) size of a unit
    blocks: list[Block]  # of the groups' items
    tables: list[Floats]  # for each block (n, width), money saved for 0, 1, ... units
    items: Items  # the groups' shares of pools; their worth is set anew in each round

    def saved(self, left: Floats) -> Floats:
        """Money saved in each pool with so many units left."""
        units, money = in_units(left, self.unit), np.zeros(len(left))
        for block, table in zip(self.blocks, self.tables, strict=True):
            money[block.pools] = table[np.arange(len(block.pools)), units[block.pools]]
        return money


@dataclass(frozen=True)
class SpreadBound:
    """No choice of groups saves more than the sum of `saved`, nor a component's more than its `most`.

    Parameters
    ----------
    part : (n_rows,) a group's money spread over its pools
    saved : (n_pools,) what each pool's lines save at most if each group counted by its parts
    liking : (n_groups,) share of the pools, over all rounds, whose best choice holds the group
    component : (n_pools,) number of the part that hangs together
    most : (n_components,) money
    """

    part: Floats
    saved: Floats
    liking: Floats
    component: Codes
    most: Floats


def money_of(part: GroupPart, beside: Beside, chosen: Flags) -> Floats:
    """Money saved in each pool if these groups ship; a group's money stands at its first pool."""
    used = np.bincount(part.pool, weights=part.units * chosen[part.group], minlength=len(part.goods))
    first = np.unique(part.group, return_index=True)[1]
    money = np.bincount(part.pool[first], weights=part.worth * chosen, minlength=len(part.goods))
    return np.asarray(money + beside.saved(np.maximum(part.goods - used, 0)))


def linear_prices(part: GroupPart, pool: Codes, quantity: Floats, worth: Floats) -> Floats:
    """Prices of the pools' goods where groups and the lines beside them (`pool`, `quantity`, `worth`) may be cut."""
    n_groups, n_lines, n_pools = len(part.worth), len(pool), len(part.goods)
    used = np.concatenate((part.units, quantity))
    row, column = np.concatenate((part.pool, pool)), np.concatenate((part.group, n_groups + np.arange(n_lines)))
    takes = csr_array((used, (row, column)), shape=(n_pools, n_groups + n_lines))
    money = np.concatenate((part.worth, worth * quantity))
    for method in ("highs-ipm", "highs-ds"):
        found = linprog(-money, A_ub=takes, b_ub=part.goods, bounds=(0, 1), method=method)
        if found.status == 0:
            return np.maximum(-np.asarray(found.ineqlin.marginals, dtype=np.float64), 0.0)
    raise RuntimeError(f"allocation: the linear relaxation of {n_groups} ship groups ended with: {found.message}")


def linear_bound(part: GroupPart, price: Floats, pool: Codes, quantity: Floats, worth: Floats) -> Floats:
    """What each pool saves at most at these prices: its goods and all that is worth more than its goods (duality)."""
    cost = np.bincount(part.group, weights=price[part.pool] * part.units, minlength=len(part.worth))
    first = np.unique(part.group, return_index=True)[1]
    of_groups = np.bincount(part.pool[first], np.maximum(part.worth - cost, 0), minlength=len(price))
    of_lines = np.bincount(pool, np.maximum(worth - price[pool], 0) * quantity, minlength=len(price))
    return np.asarray(price * part.goods + of_groups + of_lines)


def spread_bound(part: GroupPart, price: Floats, beside: Beside, least: float, n_rounds: int) -> SpreadBound:
    """Spread every group's money over its pools so that the pools' knapsacks, each on its own, save least in sum.

    A Lagrangian decomposition (Guignard & Kim 1987): each pool chooses its own copy of a group; the sum over pools of
    their best choices is a bound for every way to spread the money. Subgradient steps of Polyak's length move money to
    the pools that pass the group over from those that take it; `least` is what a choice that is known saves.
    """
    n_groups, items = len(part.worth), beside.items
    n_pools_of = np.bincount(part.group, minlength=n_groups)
    cost = price[part.pool] * part.units
    beyond = part.worth - np.bincount(part.group, weights=cost, minlength=n_groups)
    spread = cost + (beyond / n_pools_of)[part.group]
    best, saved, liking, pace, stalled = spread, np.full(len(part.goods), np.inf), np.zeros(n_groups), 1.0, 0
    for _ in range(n_rounds):
        _, money, taken = best_items(beside.blocks, beside.tables, Items(items.pool, items.units, spread))
        liked = np.bincount(part.group, weights=taken, minlength=n_groups) / n_pools_of
        liking += liked
        stalled = 0 if money.sum() < saved.sum() * (1 - 1e-6) else stalled + 1
        if money.sum() < saved.sum():
            best, saved = spread, money
        if stalled >= PATIENCE:
            pace, stalled = pace / 2, 0
        apart = taken - liked[part.group]
        length = float(apart @ apart)
        if length == 0 or saved.sum() <= least * (1 + 1e-9):
            break
        spread = spread - pace * (money.sum() - least) / length * apart
    every = np.zeros(len(part.goods), dtype=np.int64)
    return SpreadBound(best, saved, liking / n_rounds, every, np.array([saved.sum()]))
