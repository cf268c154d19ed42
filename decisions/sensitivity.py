"""How far money and lines move if an assumption of the policy is wrong: one assumption at a time, decided anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.policy import BHAN_ANDERSON, Policy
from decisions.pool_programme import QUANTITY_TOLERANCE

Floats = npt.NDArray[np.float64]

TWICE_OR_HALF = "taken: half and twice the default"
ENDS = ("low", "high")
SAID = ("lost", "regret", "n_lines_changed", "units_moved", "rank_correlation")


def changed(policy: Policy, name: str, value: float) -> Policy:
    """The same policy but for one number."""
    other: dict[str, Any] = {name: value}
    return replace(policy, **other)


@dataclass(frozen=True)
class Assumption:
    """A number of the policy, and how low and how high it may plausibly be.

    Raises
    ------
    ValueError
        If the policy has no such field, `low` is not below `high`, or the policy cannot hold one of them.
    """

    field: str
    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        """Check once: a wrong name or value would else show up after minutes of deciding."""
        if self.field not in {item.name for item in fields(Policy)} or not self.low < self.high:
            raise ValueError(f"sensitivity: {self} is no field of the policy with low < high; mend the assumption")
        for value in (self.low, self.high):
            changed(Policy(), self.field, value)


# Only what enters the cost of waiting: dates told have assumptions of their own, and what a rule of the site costs
# (shipment_cost forbids small parts) is no part of W, so that regret could not be counted in it.
ASSUMPTIONS = (
    Assumption("cancel_lost_share", 0.021, 0.15, f"low: {BHAN_ANDERSON}; high: taken, 2.5 times the default"),
    Assumption("late_lost_share", 0.021, 0.15, f"low: {BHAN_ANDERSON}; high: taken, 2.5 times the default"),
    Assumption("late_lost_scale_days", 5, 20, TWICE_OR_HALF),
    Assumption("cancel_handling_cost", 0, 25, "high: taken, half an hour of a clerk"),
    Assumption(
        "late_penalty_share_per_day", 0, 0.0015, "high: .15 % of the price a day, as terms of public buyers have it"
    ),
    Assumption("won_back_share", 0, 0.3, "high: taken, nearly one cancelled line in three is bought from us later"),
    Assumption("default_wait_days", 7, 28, TWICE_OR_HALF),
    Assumption("horizon_days", 90, 360, TWICE_OR_HALF),
    Assumption(
        "counted_cancel_share", 0, 1, "all between keeping goods for lines gone and counting on every one of them"
    ),
)


class Decided(Protocol):
    """What is read of a `decisions.morning.Decision`.

    queue : order_line_id, rank, open_quantity, ship_now_quantity, loss_if_waits
    """

    @property
    def queue(self) -> pd.DataFrame:
        """One row per open back-ordered line."""
        ...


def sensitivity(
    policy: Policy, decide_with: Callable[[Policy], Decided], assumptions: Sequence[Assumption] = ASSUMPTIONS
) -> pd.DataFrame:
    """One row per assumption: what changes if it is at its low or its high end and all else stays; by falling regret.

    Money lost is the sum of W x the share of the line that does not ship now, each W at the prices that the decision
    found under its own policy. Regret is what the base decision then loses more than the one made for the changed
    assumption, at the W of the latter: who acts on the policy as it is and finds it wrong loses that much. The first
    says how much is at stake, the second whether it matters for what to do: a loss that grows by the same share on
    every line moves nobody. Where the decision made is the best at its prices, regret is not below 0; elsewhere it may
    be, by no more than the gap that its certificate states.

    Parameters
    ----------
    policy : what the base decision goes by
    decide_with : the same morning decided under another policy, models asked again where they read it

    Returns
    -------
    field, unit, source, base, low, high (values), lost_base (money), and for both ends lost_*, regret_* (money),
    n_lines_changed_* (lines that get more or fewer units now), units_moved_* (that go to other lines),
    rank_correlation_* (Spearman's, of all lines' ranks); regret, the greater of the two.

    Raises
    ------
    ValueError
        If a decision is not about the same lines as the base decision.
    """
    units = {item.name: item.metadata["unit"] for item in fields(policy)}
    base = _by_line(decide_with(policy))
    rows = []
    for assumption in assumptions:
        value = getattr(policy, assumption.field)
        row = {"field": assumption.field, "unit": units[assumption.field], "source": assumption.source}
        row |= {"base": value, "low": assumption.low, "high": assumption.high, "lost_base": _lost(base, base)}
        for end in ENDS:
            other = getattr(assumption, end)
            decided = base if other == value else _by_line(decide_with(changed(policy, assumption.field, other)))
            row |= {f"{name}_{end}": figure for name, figure in _against(base, decided, assumption.field).items()}
        rows.append(row | {"regret": max(row["regret_low"], row["regret_high"])})
    columns = [
        "field",
        "unit",
        "source",
        "base",
        *ENDS,
        "lost_base",
        *(f"{n}_{e}" for n in SAID for e in ENDS),
        "regret",
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["regret", "field"], ascending=[False, True], kind="stable", ignore_index=True)


def tornado_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Bars of a tornado plot, the widest first: what each assumption adds to the money lost at its two ends.

    Returns
    -------
    field, unit, low, high (values), change_low, change_high (money lost less that of the base), width (between the
    least and the greatest of both and 0), regret.
    """
    bars = table[["field", "unit", "low", "high"]].assign(
        change_low=table["lost_low"] - table["lost_base"],
        change_high=table["lost_high"] - table["lost_base"],
        regret=table["regret"],
    )
    ends = bars[["change_low", "change_high"]].assign(base=0.0)
    bars.insert(6, "width", ends.max(axis=1) - ends.min(axis=1))
    return bars.sort_values(["width", "field"], ascending=[False, True], kind="stable", ignore_index=True)


def _by_line(decided: Decided) -> pd.DataFrame:
    columns = ["order_line_id", "rank", "open_quantity", "ship_now_quantity", "loss_if_waits"]
    return decided.queue[columns].set_index("order_line_id").sort_index().astype("float64")


def _against(base: pd.DataFrame, changed: pd.DataFrame, name: str) -> dict[str, float]:
    """What the changed decision says, against the base decision."""
    if not base.index.equals(changed.index):
        n_other = len(base.index.symmetric_difference(changed.index))
        raise ValueError(
            f"sensitivity: with another {name} {n_other} lines are only in one of both queues; decide the same morning"
        )
    moved = (changed["ship_now_quantity"] - base["ship_now_quantity"]).to_numpy(np.float64)
    lost = _lost(changed, changed)
    return {
        "lost": lost,
        "regret": _lost(changed, base) - lost,
        "n_lines_changed": int((np.abs(moved) > QUANTITY_TOLERANCE).sum()),
        "units_moved": float(max(np.maximum(moved, 0).sum(), np.maximum(-moved, 0).sum())),
        "rank_correlation": _rank_correlation(base["rank"].to_numpy(np.float64), changed["rank"].to_numpy(np.float64)),
    }


def _lost(priced: pd.DataFrame, given: pd.DataFrame) -> float:
    """Money lost at the prices of one decision by what another one gives out."""
    waits = 1 - given["ship_now_quantity"] / given["open_quantity"]
    return float((priced["loss_if_waits"] * waits).sum())


def _rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's correlation of two rankings without ties; 1 where they are the same, a single line's included.

    >>> _rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0]))
    -1.0
    """
    n = len(one)
    return 1.0 if n < 2 else float(1 - 6 * ((one - other) ** 2).sum() / (n * (n**2 - 1)))
