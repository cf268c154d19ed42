"""The stated programme solved by HiGHS, some hundred pools at a time: a sparse, block-diagonal linear programme."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array

from decisions.programme import Programme, goods_by, price_of, summed

Floats = npt.NDArray[np.float64]

LINES_AT_ONCE = 500  # larger ones took longer: 0.57, 0.60, 0.91 s for 10,000 lines in parts of 500, 2,000, 10,000


def plan_by_highs(programme: Programme, lines_at_once: int = LINES_AT_ONCE) -> tuple[Floats, Floats]:
    """Shares served (n_lines, n_chances) and prices (n_pools, n_chances) of an optimal plan (a vertex)."""
    served, price = np.zeros(programme.cost.shape), np.zeros(programme.goods.shape)
    for lines, pools, part in programme.parts(lines_at_once):
        served[lines], price[pools] = _solved(part)
    return served, price


def _solved(part: Programme) -> tuple[Floats, Floats]:
    n_lines, n_chances = part.cost.shape
    goods = goods_by(part)
    saved = (part.cost - part.cost_without[:, None]).ravel()
    line, chance = np.divmod(np.arange(n_lines * n_chances), n_chances)
    kept = np.flatnonzero(saved < 0)
    line, chance = line[kept], chance[kept]
    takes = part.units.ravel()[kept]
    counted = summed(np.eye(n_chances))[:, chance]  # (n_chances, n_kept)
    row, column = np.nonzero(counted)
    goods_row = n_lines + part.pool[line[column]] * n_chances + row
    matrix = csr_array(
        (
            np.concatenate([np.ones(len(kept)), takes[column]]),
            (np.concatenate([line, goods_row]), np.concatenate([np.arange(len(kept)), column])),
        ),
        shape=(n_lines + goods.size, len(kept)),
    )
    limit = np.concatenate([np.ones(n_lines), np.where(np.isfinite(goods), goods, 1e20).ravel()])
    result = linprog(saved[kept], A_ub=matrix, b_ub=limit, bounds=(0, None), method="highs-ds")
    if result.status != 0:
        raise RuntimeError(f"programme: HiGHS ended with {result.message!r} on {n_lines} lines")
    served = np.zeros(n_lines * n_chances)
    served[kept] = result.x
    row_price = -result.ineqlin.marginals[n_lines:].reshape(goods.shape)
    price = price_of(row_price.T).T
    return served.reshape(n_lines, n_chances), np.asarray(np.maximum(price, 0.0))
