"""Back orders whose goods are to be given out, drawn from a seed: the programme, and the frame of lines that states it.

Prices, quantities and customers' futures are lognormal, daily hazards of cancelling gamma (mean 2 %). Products differ
in how many lines wait for them, as lognormal weights. A line that waits until day d is still wanted with the chance
S = exp(-hazard d); it then loses R x 6.1 % (1 - exp(-d / 10)) of its customer's future R, and once it is cancelled its
margin and 6.1 % of R (Bhan & Anderson 2023, as in `Policy`): what is lost rises over the chances, what is still wanted
falls. Units are whole; goods of later chances are means over 60 scenarios, as `later_goods` gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from decisions.programme import NOW, Programme

N_SCENARIOS = 60
LOST_SHARE, SCALE_DAYS = 0.061, 10.0
GROUP_SIZES = (2, 3, 4)
FIRST_DAY = np.datetime64("2026-01-05", "s")


@dataclass(frozen=True)
class Case:
    """What is drawn.

    Parameters
    ----------
    n_lines, n_products : open lines, and pools that they wait for
    n_later : 1 (a chance that clears the backlog) or more (short in most of them)
    tied : share of lines in ship groups of 2 to 4 lines
    seed : of all draws
    is_whole : lines without a group ship whole, too; else they may be split
    """

    n_lines: int
    n_products: int
    n_later: int = 4
    tied: float = 0.0
    seed: int = 901
    is_whole: bool = False

    @property
    def name(self) -> str:
        """Lines, products, chances and, if any, ties."""
        chances = "1 chance" if self.n_later == 1 else f"{self.n_later} chances"
        ties = f", {self.tied:.0%} tied" if self.tied else ""
        return f"{self.n_lines:,} lines, {self.n_products:,} products, {chances}{ties}"


def programme_of(case: Case) -> Programme:
    """Draw the case's programme; all lines may be served now, at no loss.

    >>> programme = programme_of(Case(n_lines=50, n_products=5))
    >>> bool((np.diff(programme.cost) >= 0).all()), bool((np.diff(programme.units) <= 0).all())
    (True, True)
    """
    rng = np.random.default_rng(case.seed)
    n, n_pools, n_later = case.n_lines, case.n_products, case.n_later
    weight = rng.lognormal(0, 1, n_pools)
    pool = np.sort(rng.choice(n_pools, n, p=weight / weight.sum()))
    quantity = np.ceil(rng.lognormal(1, 1, n))
    margin = quantity * rng.lognormal(3, 1, n_pools)[pool] * rng.uniform(0.1, 0.5, n)
    future = rng.lognormal(5, 1.5, n)
    day = np.cumsum(rng.integers(3, 25, (n_pools, n_later)), axis=1)[pool]
    wanted = np.exp(-rng.gamma(1, 0.02, n)[:, None] * day)
    late = LOST_SHARE * future[:, None] * -np.expm1(-day / SCALE_DAYS)
    without = margin + LOST_SHARE * future
    cost = np.column_stack([np.zeros(n), (1 - wanted) * without[:, None] + wanted * late])
    units = quantity[:, None] * np.column_stack([np.ones(n), wanted])
    asked = np.bincount(pool, quantity, minlength=n_pools)
    return Programme(pool, cost, units, without, _goods(rng, asked, n_later))


def _goods(rng: np.random.Generator, asked: np.ndarray, n_later: int) -> np.ndarray:
    """Up to half of what is asked at each chance; a fifth bring none, and in three pools of ten the last one clears."""
    n_pools = len(asked)
    goods = asked[:, None] * rng.uniform(0, 0.5, (n_pools, n_later + 1))
    goods[:, NOW] = np.floor(goods[:, NOW])
    goods[rng.random(n_pools) < 0.2, NOW] = 0
    goods[:, 1:] = np.floor(goods[:, 1:] * N_SCENARIOS) / N_SCENARIOS
    goods[:, 1:][rng.random((n_pools, n_later)) < 0.2] = 0
    goods[rng.random(n_pools) < 0.3, -1] = np.inf
    if n_later == 1:
        goods[:, -1] = np.inf
    return goods


def conservative(programme: Programme) -> Programme:
    """Return the programme that keeps goods for lines that will have gone: each takes all its units at every chance."""
    units = np.repeat(programme.units[:, :1], programme.units.shape[1], axis=1)
    return Programme(programme.pool, programme.cost, units, programme.cost_without, programme.goods)


def ship_groups(case: Case) -> np.ndarray:
    """Number of each line's ship group, -1 without; (n_lines,)."""
    rng = np.random.default_rng([case.seed, 1])
    n_tied = round(case.tied * case.n_lines)
    sizes = rng.choice(GROUP_SIZES, n_tied // min(GROUP_SIZES) + 1)
    group = np.full(case.n_lines, -1)
    group[rng.permutation(case.n_lines)[:n_tied]] = np.repeat(np.arange(len(sizes)), sizes)[:n_tied]
    return group


def typed_order(case: Case) -> np.ndarray:
    """Lines in the order of a typed priority (1 to 3), then of entry; rows of the programme."""
    rng = np.random.default_rng([case.seed, 2])
    return np.lexsort((rng.permutation(case.n_lines), rng.integers(1, 4, case.n_lines)))


def frame_of(case: Case, programme: Programme) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Open lines in the order of entry, without loss_if_waits, and one row per pool, as `give_out` takes them.

    The index holds each line's row in the programme.
    """
    rng = np.random.default_rng([case.seed, 2])
    entry = np.argsort(rng.permutation(case.n_lines), kind="stable")
    group = ship_groups(case)
    products = pd.Series([f"P{number:06d}" for number in range(case.n_products)], dtype="str")
    lines = pd.DataFrame(
        {
            "order_line_id": pd.Series([f"SO{number:08d}" for number in rng.permutation(case.n_lines)], dtype="str"),
            "product_id": products.iloc[programme.pool].to_numpy(),
            "warehouse_id": pd.Series("W1", index=range(case.n_lines), dtype="str"),
            "ship_group": pd.Series(group, dtype="str").where(group >= 0),
            "group_waits_elsewhere": False,
            "open_quantity": programme.units[:, NOW],
            "quantity_step": 1.0,
            "may_split": (group < 0) & (not case.is_whole),
            "due_on": FIRST_DAY - rng.integers(0, 60, case.n_lines).astype("timedelta64[D]"),
            "credit_hold": False,
            "override": pd.Series(None, index=range(case.n_lines), dtype="str"),
            "override_quantity": np.nan,
        }
    )
    goods = pd.DataFrame({"product_id": products, "warehouse_id": "W1", "available_now": programme.goods[:, NOW]})
    return lines.iloc[entry], goods
