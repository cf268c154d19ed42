"""What the lines of many pools save for every number of units, ship groups apart: tables for all pools at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.pool_programme import DECIMALS, QUANTITY_TOLERANCE, common_units

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CELLS = 20_000_000  # of all tables together: some 100 ms a pass
FEWEST_UNITS, MOST_UNITS = 64, 4_096  # of one pool
POOLS_AT_ONCE, CELLS_AT_ONCE = 256, 2_000_000


@dataclass(frozen=True)
class Items:
    """Things that take units of one pool each, all or nothing; arrays of (n_items,)."""

    pool: Codes
    units: Codes  # of the pool's grid, rounded down: where that rounds, a table saves at least what is possible
    worth: Floats  # money saved if taken


@dataclass(frozen=True)
class Block:
    """Pools of about the same number of units, solved side by side, those with most items first."""

    pools: Codes
    top: Codes  # (n,) last unit of each pool
    items: list[Codes]  # the j-th item of each pool that has as many
    source: list[Codes]  # for each number of units the cell of those left beside the j-th item


def grid_units(pool: Codes, numbers: Floats, goods: Floats, n_items: int) -> Floats:
    """Size of each pool's unit: the common one, or a coarser one where tables would grow too large.

    >>> grid_units(np.array([0, 0]), np.array([6.0, 9.0]), np.array([30.0]), n_items=2).tolist()
    [3.0]
    """
    unit = common_units(pool, numbers, len(goods))
    most = min(max(CELLS // max(n_items, 1), FEWEST_UNITS), MOST_UNITS)
    return np.where((unit > 0) & (goods <= most * unit), unit, np.maximum(goods, 1.0 / DECIMALS) / most)


def in_units(quantity: Floats, unit: Floats) -> Codes:
    """Units of the grid, rounded down."""
    return np.asarray(np.floor(quantity / unit + QUANTITY_TOLERANCE), dtype=np.int64)


def blocks_of(items: Items, n_units: Codes) -> list[Block]:
    """Sort pools by their number of units and lay their items side by side."""
    order = np.argsort(n_units, kind="stable")
    by_pool = np.argsort(items.pool, kind="stable")
    starts = np.searchsorted(items.pool[by_pool], np.arange(len(n_units) + 1))
    cells = np.cumsum((n_units[order] + 1) * np.maximum(starts[order + 1] - starts[order], 1))
    part = np.maximum(np.arange(len(order)) // POOLS_AT_ONCE, cells // CELLS_AT_ONCE)
    if not len(order):
        return []
    blocks = []
    for pools in np.split(order, np.flatnonzero(np.diff(part)) + 1):
        pools = pools[np.argsort(starts[pools] - starts[pools + 1], kind="stable")]
        counts, width = starts[pools + 1] - starts[pools], int(n_units[pools].max()) + 1
        columns = [by_pool[starts[pools[counts > j]] + j] for j in range(int(counts[0]))]
        sources = [_source(items.units, column, width) for column in columns]
        blocks.append(Block(pools, n_units[pools], columns, sources))
    return blocks


def _source(units: Codes, column: Codes, width: int) -> npt.NDArray[np.int64]:
    rest = np.arange(width) - units[column][:, None]
    return np.arange(len(column))[:, None] * (width + 1) + np.where(rest >= 0, rest, width)


def best_items(blocks: list[Block], base: list[Floats], items: Items) -> tuple[list[Floats], Floats, Flags]:
    """Which items save most beside `base`, by dynamic programming (Bellman 1957) in all pools at once.

    Parameters
    ----------
    base : for each block (n, width), money saved without the items for 0, 1, ... units

    Returns
    -------
    The tables with the items, (n_pools,) the money saved by all units of each pool, and (n_items,) which are taken.
    """
    value = np.zeros(sum(len(block.pools) for block in blocks))
    is_taken, tables = np.zeros(len(items.pool), dtype=np.bool_), []
    for block, table in zip(blocks, base, strict=True):
        padded = np.concatenate((table, np.full((len(table), 1), -np.inf)), axis=1)
        takes = []
        for column, source in zip(block.items, block.source, strict=True):
            taken = padded.ravel().take(source, mode="clip")
            taken += items.worth[column][:, None]
            passed_over = padded[: len(column), :-1]
            takes.append(taken > passed_over)
            np.maximum(passed_over, taken, out=passed_over)
        tables.append(padded[:, :-1])
        rows, units = np.arange(len(block.pools)), block.top.copy()
        value[block.pools] = padded[rows, units]
        for column, take in zip(reversed(block.items), reversed(takes), strict=True):
            n = len(column)
            chosen = take[rows[:n], units[:n]]
            is_taken[column[chosen]] = True
            units[:n] -= np.where(chosen, items.units[column], 0)
    return tables, value, is_taken


def rows_of(blocks: list[Block], tables: list[Floats]) -> list[Floats]:
    """Tables pool by pool, as far as each pool's units reach."""
    rows: dict[int, Floats] = {}
    for block, table in zip(blocks, tables, strict=True):
        for pool, top, row in zip(block.pools.tolist(), block.top.tolist(), table, strict=True):
            rows[pool] = row[: top + 1]
    return [rows[pool] for pool in range(len(rows))]


def tables_of(blocks: list[Block], rows: list[Floats]) -> list[Floats]:
    """Lay the pools' tables side by side again, block by block; beyond a pool's units nothing more is saved."""
    widths = [int(block.top.max(initial=0)) + 1 for block in blocks]
    return [
        np.array([np.pad(rows[pool], (0, width - len(rows[pool])), mode="edge") for pool in block.pools])
        for block, width in zip(blocks, widths, strict=True)
    ]


def saved_by_divisible(blocks: list[Block], pool: Codes, units: Floats, worth: Floats) -> list[Floats]:
    """Tables of what freely divisible lines save, best first within their pool; `units` of the pool's grid."""
    starts = np.searchsorted(pool, np.arange(sum(len(block.pools) for block in blocks) + 1))
    tables = []
    for block in blocks:
        table = np.zeros((len(block.pools), int(block.top.max(initial=0)) + 1))
        for row, k in enumerate(block.pools):
            here = slice(starts[k], starts[k + 1])
            if starts[k + 1] > starts[k]:
                cumulated = np.concatenate(([0.0], np.cumsum(units[here])))
                money = np.concatenate(([0.0], np.cumsum(units[here] * worth[here])))
                table[row] = np.interp(np.arange(table.shape[1]), cumulated, money)
        tables.append(table)
    return tables
