"""Lines whose date has moved since the last queue, and lines that must be told a date all the same."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.policy import Policy

Flags = npt.NDArray[np.bool_]

_COMPARED = ("expected_on", "promise_on", "promise_changed_because", "action")


def moved_dates(queue: pd.DataFrame, previous: pd.DataFrame | None, waiting: pd.Series, policy: Policy) -> pd.DataFrame:
    """Lines of both queues whose date moved, then all other lines whose date to tell is not the one told last.

    A date has moved if the date told last held in the last queue and does so no more, or if the day on which the line
    is expected to ship, or the date to tell, is more than `policy.promise_move_days` off the last queue's, or is
    known only in one of the two. Lines that ship now or are held are left out: that is said elsewhere.

    Parameters
    ----------
    waiting : money that waits on each line, indexed like queue

    Returns
    -------
    kind (date_moved, or dates_to_tell: one row for all of them), order_line_id, money, said, do
    """
    before = _before(queue, previous)
    is_asked = queue["action"].isin(["wait", "ship_part"]).to_numpy(np.bool_)
    is_untold = queue["promise_changed_because"].notna().to_numpy(np.bool_) & is_asked
    is_known = before["action"].notna().to_numpy(np.bool_) & ~before["action"].eq("hold").to_numpy(np.bool_) & is_asked
    broke = is_known & is_untold & before["promise_changed_because"].isna().to_numpy(np.bool_)
    told_moved = _is_off(queue, before, "promise_on", policy) & is_untold
    moved = broke | (is_known & (_is_off(queue, before, "expected_on", policy) | told_moved))
    now, then = (table.loc[moved, list(_COMPARED)] for table in (queue, before))
    pairs = zip(now.itertuples(), then.itertuples(), strict=True)
    rows = pd.DataFrame(
        {
            "kind": "date_moved",
            "order_line_id": queue.loc[moved, "order_line_id"],
            "money": waiting[moved],
            "said": [_said(*pair) for pair in pairs],
            "do": np.where(is_untold[moved], "tell the customer the date to tell", "nothing, if the new date will do"),
        }
    )
    rest = is_untold & ~moved
    as_before = "" if previous is None else ", as in the last queue"
    return pd.concat([rows, _to_tell(int(rest.sum()), float(waiting[rest].sum()), as_before)], ignore_index=True)


def _before(queue: pd.DataFrame, previous: pd.DataFrame | None) -> pd.DataFrame:
    """Each line's dates and action in the last queue; null where it was not in it."""
    if previous is None:
        return pd.DataFrame(
            {name: pd.Series(pd.NaT if name.endswith("_on") else None, index=queue.index) for name in _COMPARED}
        )
    return previous.set_index("order_line_id")[list(_COMPARED)].reindex(queue["order_line_id"]).set_axis(queue.index)


def _is_off(queue: pd.DataFrame, before: pd.DataFrame, name: str, policy: Policy) -> Flags:
    days = (queue[name] - before[name]).dt.days.abs()
    only_once = queue[name].isna() != before[name].isna()
    return ((days > policy.promise_move_days) | only_once).to_numpy(np.bool_)


def _said(now: Any, then: Any) -> str:
    """How the dates of a line moved, and why where the date told cannot stand."""
    ships = f"Expected to ship {_from_to(then.expected_on, now.expected_on)}"
    why = now.promise_changed_because
    if pd.isna(why):
        return f"{ships}; the date told still holds." if pd.notna(now.promise_on) else f"{ships}."
    told = now.promise_on
    date = "no date can be told" if pd.isna(told) else f"the date to tell is {told:%Y-%m-%d}"
    return f"{ships}; {date}: {why}."


def _from_to(then: pd.Timestamp, now: pd.Timestamp) -> str:
    """Say in words what moved.

    >>> _from_to(pd.Timestamp("2026-01-20"), pd.NaT)
    'on no known day, before on 2026-01-20'
    """
    days = ["on no known day" if pd.isna(day) else f"on {day:%Y-%m-%d}" for day in (now, then)]
    return days[0] if days[0] == days[1] else f"{days[0]}, before {days[1]}"


def _to_tell(n_lines: int, money: float, as_before: str) -> pd.DataFrame:
    if not n_lines:
        return pd.DataFrame()
    have = "line has" if n_lines == 1 else "lines have"
    said = f"{n_lines:,} {have} a date to tell that is not the one told last, or no date any more{as_before}."
    do = "tell the customers: the queue's advice is tell, promise_on is the date"
    return pd.DataFrame({"kind": ["dates_to_tell"], "order_line_id": None, "money": money, "said": said, "do": do})
