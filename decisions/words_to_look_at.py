"""Planner's words that want another look: not met, contradicted, over since the last queue, or soon to end."""

import numpy as np
import pandas as pd

from decisions.override_columns import CANNOT_BE_MET, CONTRADICTED, EXPIRED, OVERRULED
from decisions.overrides import SCOPES
from decisions.policy import Policy

DO = {
    "override_not_met": "lift it, or find it goods: what stands in its way is said",
    "override_contradicted": "lift the one that is not meant",
    "override_expired": "say it again if it is still meant",
    "override_expires": "prolong it if it is meant to stay",
}


def words_to_look_at(overrides: pd.DataFrame, previous: pd.DataFrame | None, policy: Policy) -> pd.DataFrame:
    """One row per such word, of several kinds the first in this order: kind, the word's id, money, said, do.

    Parameters
    ----------
    overrides : as OVERRIDE_COLUMNS say
    previous : the last published queue; without one no word is over since then
    """
    if overrides.empty:
        return pd.DataFrame()
    is_over = (overrides["status"] == EXPIRED).to_numpy(np.bool_)
    soon = overrides["days_left"].between(0, policy.expiry_notice_days).to_numpy(np.bool_) & ~is_over
    cases = {
        "override_not_met": (overrides["status"] == CANNOT_BE_MET).to_numpy(np.bool_),
        "override_contradicted": overrides["status"].isin([CONTRADICTED, OVERRULED]).to_numpy(np.bool_),
        "override_expired": is_over & _held_in(previous, overrides),
        "override_expires": soon & (overrides["n_lines_ruled"] > 0).to_numpy(np.bool_),
    }
    words = overrides.assign(kind=np.select(list(cases.values()), list(cases), default=""))
    words = words[words["kind"] != ""]
    said = [
        text if kind != "override_expires" else f"{text.removesuffix('.')}; it ends {_in_days(days)}."
        for text, kind, days in zip(words["said"], words["kind"], words["days_left"], strict=True)
    ]
    return words[["kind", *SCOPES]].assign(money=words["cost"], said=said, do=words["kind"].map(DO))


def day_of_queue(queue: pd.DataFrame) -> pd.Timestamp:
    """The day on which a queue was made: of as_of in its site's clock, as far as its lines tell it, else in UTC."""
    told = queue[queue["promised_on"].notna()]
    if told.empty:
        return pd.Timestamp(queue["as_of"].iloc[0]).normalize()
    return pd.Timestamp(told["promised_on"].iloc[0]) + pd.Timedelta(days=int(told["days_late"].iloc[0]))


def _held_in(previous: pd.DataFrame | None, overrides: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Words that had not ended on the last queue's day."""
    if previous is None or previous.empty:
        return np.zeros(len(overrides), dtype=np.bool_)
    return np.asarray(overrides["until_on"] >= day_of_queue(previous), dtype=np.bool_)


def _in_days(days: int) -> str:
    """Say when.

    >>> _in_days(0), _in_days(1), _in_days(3)
    ('today', 'tomorrow', 'in 3 days')
    """
    return ("today", "tomorrow")[days] if days < 2 else f"in {days} days"
