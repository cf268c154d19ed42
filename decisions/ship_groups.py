"""Lines of one ship group: they leave together, each in whole, or none of them leaves."""

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TOLERANCE = 1e-9


def split_groups(lines: pd.DataFrame, is_held: Flags) -> Flags:
    """Lines whose group cannot leave: one of its lines may have no goods, or is open and not in the queue."""
    return _any_of_group(lines, is_held | lines["group_waits_elsewhere"].to_numpy(np.bool_))


def pinned_groups(lines: pd.DataFrame, is_pinned: Flags) -> Flags:
    """Pinned lines, and with them those that must leave together with one."""
    return is_pinned | _any_of_group(lines, is_pinned)


def complete_groups(lines: pd.DataFrame, given: Floats) -> Flags:
    """Lines whose group ships in whole, and lines without a group."""
    return ~_any_of_group(lines, given < lines["open_quantity"].to_numpy(np.float64) - TOLERANCE)


def groups_that_still_fit(lines: pd.DataFrame, pool: Codes, may_have: Flags, given: Floats, left: Floats) -> Floats:
    """Units for passed-over groups that fit into the goods left, those that lose most per unit first."""
    tied = lines["ship_group"].notna().to_numpy(np.bool_) & ~split_groups(lines, ~may_have)
    waiting = tied & ~_any_of_group(lines, given > 0)
    extra, left = np.zeros(len(lines)), left.copy()
    rows = pd.DataFrame(
        {
            "group": lines["ship_group"].to_numpy()[waiting],
            "row": np.flatnonzero(waiting),
            "loss": lines["loss_if_waits"].to_numpy(np.float64)[waiting],
            "quantity": lines["open_quantity"].to_numpy(np.float64)[waiting],
        }
    )
    totals = rows.groupby("group", sort=True)[["loss", "quantity"]].sum()
    members = rows.groupby("group", sort=True)["row"].agg(list)
    worth = (totals["loss"] / totals["quantity"]).sort_values(ascending=False, kind="stable")
    for group in worth.index:
        here = np.array(members[group])
        needed = np.bincount(pool[here], weights=lines["open_quantity"].to_numpy(np.float64)[here], minlength=len(left))
        if np.all(needed <= left + TOLERANCE):
            extra[here] = lines["open_quantity"].to_numpy(np.float64)[here]
            left = np.maximum(left - needed, 0)
    return extra


def _any_of_group(lines: pd.DataFrame, flag: Flags) -> Flags:
    """Lines in whose group `flag` holds for any line; False without a group."""
    group = pd.factorize(lines["ship_group"])[0]
    if (group < 0).all():
        return np.zeros(len(lines), dtype=np.bool_)
    hit = np.bincount(group[group >= 0], weights=flag[group >= 0]) > 0
    return (group >= 0) & hit[np.maximum(group, 0)]
