"""The pools that ship groups tie to a line's pool: what happens to the line is decided among them alone."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.ranking import sorted_pools
from decisions.ship_groups import ShipGroups
from decisions.tied_goods import components
from models.arrival import places_in

Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def parts_of_book(lines: pd.DataFrame, pool: Codes, n_pools: int) -> Codes:
    """Number of the part of the book that each pool belongs to: pools that ship groups tie together; (n_pools,).

    Parameters
    ----------
    lines : open lines with order_line_id and ship_group
    pool : (n_lines,), row of each line's pool
    """
    group = ShipGroups.of(lines).code
    is_tied = group >= 0
    return components(pool[is_tied], group[is_tied], n_pools)


def tied_pools(lines: pd.DataFrame, pools: pd.DataFrame, concerned: Flags) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines and pools of all pools that hang together, directly or through others, with those of some lines.

    Parameters
    ----------
    lines : open lines with order_line_id, ship_group, product_id, warehouse_id
    pools : product_id, warehouse_id
    concerned : (n_lines,) the lines asked about

    L0 waits with L1 for two products, so that both pools are one question; L2 waits elsewhere:

    >>> lines = pd.DataFrame({"order_line_id": ["L0", "L1", "L2"], "ship_group": ["g", "g", None],
    ...     "product_id": ["p", "q", "r"], "warehouse_id": "w"})
    >>> pools = lines[["product_id", "warehouse_id"]]
    >>> [part["product_id"].tolist() for part in tied_pools(lines, pools, np.array([True, False, False]))]
    [['p', 'q'], ['p', 'q']]
    """
    ordered = sorted_pools(pools)
    pool = places_in(ordered, lines)
    part = parts_of_book(lines, pool, len(ordered))
    is_tied = np.isin(part, part[pool[concerned]])
    return lines[is_tied[pool]].reset_index(drop=True), ordered[is_tied].reset_index(drop=True)
