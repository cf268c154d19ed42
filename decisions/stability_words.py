"""Which line keeps goods because the last queue gave them to it, said to that line and to those it is kept from."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.limits import Limits
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import loss_per_unit, pool_codes
from decisions.stability import Steady
from decisions.wishes import lines_that_may_have

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NAMED = 2  # lines that a sentence names at most


def stability_words(lines: pd.DataFrame, steady: Steady, limits: Limits, policy: Policy) -> pd.Series:
    """Say in one clause per line how the last queue's plan changed what it got; null where it did not.

    A line that keeps goods which today's optimum would give to others is told so. A line that wants more is told who
    keeps goods of its pool, if that line loses less per unit or if today's optimum would give it more.

    Parameters
    ----------
    lines : with loss_if_waits and ship_now_quantity
    limits : of the site's rules

    Returns
    -------
    str, indexed like the lines.
    """
    words = np.full(len(lines), None, dtype=object)
    given = lines["ship_now_quantity"].to_numpy(np.float64)
    kept = steady.kept_quantity.to_numpy(np.float64)
    free = steady.free_quantity.to_numpy(np.float64)
    keeps = (np.minimum(kept, given) > QUANTITY_TOLERANCE) & (given > free + QUANTITY_TOLERANCE)
    if keeps.any():
        words[keeps] = [f"it keeps the {_goods(units)} that the last queue gave it" for units in kept[keeps]]
        wanted = lines["open_quantity"].to_numpy(np.float64)
        wants = lines_that_may_have(lines, limits) & (given < wanted - QUANTITY_TOLERANCE) & ~keeps
        misses = free > given + QUANTITY_TOLERANCE
        limit = "no line may move" if not policy.max_moves else f"at most {_counted(policy.max_moves, 'line')} may move"
        for row, names in _kept_from(lines, kept, keeps, wants, misses):
            words[row] = f"{names} ({limit})"
    return pd.Series(words, index=lines.index, dtype="str", name="rule")


def _kept_from(lines: pd.DataFrame, kept: Floats, keeps: Flags, wants: Flags, misses: Flags) -> list[tuple[int, str]]:
    """Rows of lines that goods are kept from, and who keeps them: in its pool those that lose least per unit first."""
    worth, pool = loss_per_unit(lines), pool_codes(lines)
    by_id = pd.factorize(lines["order_line_id"], sort=True)[0]
    keepers = np.flatnonzero(keeps)
    keepers = keepers[np.lexsort((by_id[keepers], worth[keepers]))]
    of_pool: dict[int, list[int]] = {}
    for row in keepers.tolist():
        of_pool.setdefault(int(pool[row]), []).append(row)
    ids, told = lines["order_line_id"].tolist(), []
    for row in np.flatnonzero(wants).tolist():
        here = of_pool.get(int(pool[row]), [])
        less = [each for each in here if misses[row] or worth[each] < worth[row]]
        if less:
            told.append((row, _who_keeps([f"line {ids[each]}" for each in less], float(kept[less].sum()))))
    return told


def _who_keeps(names: list[str], units: float) -> str:
    """Name those who keep goods: 'line 7 keeps the 2 units that the last queue gave it'."""
    others = len(names) - NAMED
    named = [*names[:NAMED], *([_counted(others, "other line")] if others > 0 else [])]
    if len(named) == 1:
        return f"{named[0]} keeps the {_goods(units)} that the last queue gave it"
    return f"{', '.join(named[:-1])} and {named[-1]} keep the {_goods(units)} that the last queue gave them"


def _goods(units: float) -> str:
    return "unit" if units == 1 else f"{units:.6g} units"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
