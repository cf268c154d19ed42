"""What each line loses if it is first served at one of its pool's later chances, or without the pool's goods."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.cost_of_waiting import (
    CHUNK_LINES,
    P_CANCEL_DAYS,
    WaitOutcome,
    check,
    never_served,
    served_after,
    terms_of,
)
from decisions.customer_loss import Ties, future_share
from decisions.later_goods import LaterGoods
from decisions.policy import Policy

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ChanceCosts:
    """Money lost by each line at each later chance against being served now, in the order of the lines.

    Parameters
    ----------
    terms : (n_lines, n_chances + 1, 3), by cancelling, of future orders, of late penalties; the last chance is to go
        without the pool's goods: to be served by goods meant for it alone or never, whichever loses less
    wanted : (n_lines, n_chances), chance that the line is still wanted then [S]
    said : indexed like the lines: p_cancel_14d, p_lost (chance that it loses the customer if it waits for its next
        receipt [p]) and future_share [f]
    """

    terms: Floats
    wanted: Floats
    said: pd.DataFrame

    @property
    def total(self) -> Floats:
        """Sum of the terms [L], (n_lines, n_chances + 1)."""
        return self.terms[:, :, 0] + self.terms[:, :, 1] + self.terms[:, :, 2]


def cost_by_chance(
    lines: pd.DataFrame,
    survival: Floats,
    arrival: Floats,
    later: LaterGoods,
    pool: Codes,
    has_own: Flags,
    joint_cancel_share: float,
    policy: Policy,
) -> ChanceCosts:
    """Price every later chance of every line, with one part f of its customer's loss for all of them.

    The first chance is the next receipt as `arrival` has it, without the noise of scenarios; each one after it loses
    what it loses more than the first in the same scenarios. A line that goods are meant for has its own in `arrival`:
    they come whether or not the pool's do, so they belong to what it loses without the pool's, and all chances of its
    pool are those of the scenarios.

    Parameters
    ----------
    lines, survival, arrival, joint_cancel_share, policy : as of `cost_of_waiting`
    later : of the pools
    pool : row of each line's pool in it
    has_own : goods are inbound for this line alone

    Raises
    ------
    ValueError
        As `cost_of_waiting`.
    """
    check(lines, survival, arrival, joint_cancel_share, policy)
    ties = Ties.of(lines, joint_cancel_share)
    first = served_after(lines, survival, arrival, policy)
    never = never_served(lines, survival, policy)
    carried = future_share(first.p_lost, ties)
    drawn = _outcomes(lines, survival, later, pool, policy)
    chances = [_differing(first, never, outcome, drawn[0], has_own) for outcome in drawn]
    at_chance = [terms_of(lines, outcome, carried, ties, policy) for outcome in chances]
    own, without = (terms_of(lines, outcome, carried, ties, policy) for outcome in (first, never))
    takes_own = has_own & (own.sum(axis=1) <= without.sum(axis=1))
    terms = np.stack([*at_chance, np.where(takes_own[:, None], own, without)], axis=1)
    said = {"p_cancel_14d": 1 - survival[:, P_CANCEL_DAYS], "p_lost": first.p_lost, "future_share": carried}
    wanted = np.stack([1 - outcome.p_gone for outcome in chances], axis=1)
    return ChanceCosts(terms, wanted, pd.DataFrame(said, index=lines.index))


def _outcomes(
    lines: pd.DataFrame, survival: Floats, later: LaterGoods, pool: Codes, policy: Policy
) -> list[WaitOutcome]:
    """Outcome of waiting for each chance of the scenarios; some thousand lines of few pools at a time."""
    n_chances = later.goods.shape[1]
    found = np.zeros((n_chances, 3, len(lines)))
    order = np.argsort(pool, kind="stable")
    for start in range(0, len(lines), CHUNK_LINES):
        rows = order[start : start + CHUNK_LINES]
        pools, place = np.unique(pool[rows], return_inverse=True)
        arrival, some = later.arrival(pools), lines.iloc[rows]
        for b in range(n_chances):
            outcome = served_after(some, survival[rows], arrival[place, b], policy)
            found[b][:, rows] = outcome.p_gone, outcome.p_lost, outcome.penalty_days
    return [WaitOutcome(*outcome) for outcome in found]


def _differing(
    first: WaitOutcome, never: WaitOutcome, drawn: WaitOutcome, drawn_first: WaitOutcome, has_own: Flags
) -> WaitOutcome:
    """The first outcome, and by how much more this one loses in the scenarios; no more than never being served."""
    mixed = (
        np.clip(np.where(has_own, at, known + (at - at_first)), 0.0, np.maximum(most, known))
        for known, at, at_first, most in zip(
            _arrays(first), _arrays(drawn), _arrays(drawn_first), _arrays(never), strict=True
        )
    )
    return WaitOutcome(*mixed)


def _arrays(outcome: WaitOutcome) -> tuple[Floats, Floats, Floats]:
    return outcome.p_gone, outcome.p_lost, outcome.penalty_days
