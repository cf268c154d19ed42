"""Why a line got less than it wants although goods of its pool went to one that loses less per unit, or stayed."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.limits import Limits
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import is_held
from decisions.turns import Tally
from decisions.wishes import TYPED, Wishes

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes8 = npt.NDArray[np.int8]

# In this order the first that applies is said.
MEANING = {
    "limit": "a rule of the site allows it no more today",
    "group": "its ship group does not fit into the goods of all its pools",
    "pin": "goods went to a pinned line, or stay with one that keeps them",
    "turn": "goods went to lines whose turn comes before",
    "segment": "goods are protected for a segment",
    "whole": "it ships whole and does not fit beside lines that save more together",
    "shipment": "a part would save less than the shipment costs",
    "step": "it ships in steps that the goods left do not fill",
    "fill": "lines that ship whole or in steps fill the goods so that more is saved together",
}
CODE = {key: place for place, key in enumerate(MEANING)}
NOTHING_TO_SAY = -1


def passed_over(lines: pd.DataFrame, pool: Codes, wishes: Wishes, tally: Tally, limits: Limits) -> pd.Series:
    """Key of MEANING for each line, indexed like the lines; null where its wish is met, it is held or goods ran out.

    Lines of a group are judged by the group's money per unit.
    """
    quantity = lines["open_quantity"].to_numpy(np.float64)
    misses = (tally.given < quantity - QUANTITY_TOLERANCE) & ~is_held(lines)
    found = np.full(len(lines), NOTHING_TO_SAY, dtype=np.int8)
    claims, row = wishes.claims, wishes.line
    wants = np.zeros(len(lines))
    np.add.at(wants, row, claims.quantity)
    is_limited = misses & (tally.given >= wants - QUANTITY_TOLERANCE)
    found[is_limited] = np.where(limits.most < quantity, CODE["limit"], CODE["group"])[is_limited]
    open_claims = np.flatnonzero((misses & ~is_limited)[row])
    first = _least_served(wishes, tally, wishes.stage < TYPED)
    left = tally.left > QUANTITY_TOLERANCE
    before = np.full(len(tally.left), np.inf)
    for stage in np.unique(wishes.stage):
        here = open_claims[wishes.stage[open_claims] == stage]
        at, worth = wishes.pool[here], claims.worth[here]
        served = _least_served(wishes, tally, wishes.stage >= stage)
        reason = _of_same_turn(wishes.only(here), limits)
        reason[~left[at] & ~(served[at] < worth)] = NOTHING_TO_SAY
        reason[before[at] < worth] = CODE["turn"]
        reason[first[at] < worth] = CODE["pin"]
        found[row[here]] = reason
        before = np.minimum(before, _least_served(wishes, tally, wishes.stage == stage))
    texts = pd.array(list(MEANING), dtype="str").take(found, allow_fill=True)
    return pd.Series(texts, index=lines.index, name="passed_over")


def _least_served(wishes: Wishes, tally: Tally, these: Flags) -> Floats:
    """Least money per unit of the lines of each pool that have goods, among these claims; inf if none has."""
    least = np.full(len(tally.left), np.inf)
    has = these & (tally.given[wishes.line] > QUANTITY_TOLERANCE)
    np.minimum.at(least, wishes.pool[has], wishes.claims.worth[has])
    return least


def _of_same_turn(wishes: Wishes, limits: Limits) -> Codes8:
    """What keeps these claims from goods that lines of their own turn have."""
    claims = wishes.claims
    is_protected: Flags = np.any(limits.protected > 0, axis=0)
    applies = (
        np.isinf(claims.least_part),  # no part is worth a shipment
        is_protected[wishes.pool],
        wishes.group >= 0,
        claims.is_whole,
        claims.least_part > 0,
        claims.step != 1,
    )
    reasons = [CODE[key] for key in ("shipment", "segment", "group", "whole", "shipment", "step")]
    return np.asarray(np.select(list(applies), reasons, default=CODE["fill"]), dtype=np.int8)
