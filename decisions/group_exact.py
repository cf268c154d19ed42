"""A few ship groups and the lines beside them as one mixed-integer programme."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from decisions.group_bound import GroupPart
from decisions.pool_programme import QUANTITY_TOLERANCE, Claims

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NODES = 2_000  # a count, not a time: the same facts must give the same bytes


def exact_choice(part: GroupPart, groups: Codes, pool: Codes, claims: Claims) -> tuple[Flags, float]:
    """Which of these groups ship beside the claims (`pool` is their pool), and what no choice exceeds (money).

    Whole lines ship or do not; divisible ones ship multiples of their step, and what is left of their wish once all
    steps have shipped.
    """
    rows = np.flatnonzero(np.isin(part.group, groups))
    n_groups, n_claims = len(groups), len(pool)
    steps = np.where(claims.is_whole, 0, np.floor(claims.quantity / claims.step + QUANTITY_TOLERANCE))
    lot = np.where(claims.is_whole, 0.0, claims.step)
    rest = np.maximum(claims.quantity - steps * lot, 0)
    # Columns: groups, numbers of steps, rests (of a whole line all of it).
    column = np.concatenate((np.searchsorted(groups, part.group[rows]), n_groups + np.arange(2 * n_claims)))
    units = np.concatenate((part.units[rows], lot, rest))
    pools, row = np.unique(np.concatenate((part.pool[rows], pool, pool)), return_inverse=True)
    size = n_groups + 2 * n_claims
    takes = csr_array((units, (row, column)), shape=(len(pools), size))
    each = np.arange(n_claims)
    last = csr_array(
        (
            np.concatenate((steps, -np.ones(n_claims))),
            (np.tile(each, 2), np.concatenate((n_groups + n_claims + each, n_groups + each))),
        ),
        shape=(n_claims, size),
    )
    money = np.concatenate((part.worth[groups], claims.worth * lot, claims.worth * rest))
    most = np.concatenate((np.ones(n_groups), steps, (rest > QUANTITY_TOLERANCE).astype(np.float64)))
    rules = [LinearConstraint(takes, -np.inf, part.goods[pools]), LinearConstraint(last, -np.inf, 0)]
    options = {"node_limit": NODES, "mip_rel_gap": 1e-10}
    found = milp(-money, integrality=np.ones(size), bounds=Bounds(0, most), constraints=rules, options=options)
    if found.x is None:
        raise RuntimeError(f"allocation: the programme of {n_groups} ship groups ended with: {found.message}")
    return found.x[:n_groups] > 0.5, float(-found.mip_dual_bound)
