"""Lines that have fewer units than the last queue gave them, and who has those units now."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.last_given import last_given
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, loss_per_unit, pool_codes
from decisions.waiting_goods import Side, idle_units, take_in_turn

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

NAMED_AT_MOST = 3
_SAID_OF = ["order_line_id", "action", "reason", "available_now"]


@dataclass(frozen=True)
class SinceLast:
    """The last published queue, and what has left the order lines since its as_of.

    Parameters
    ----------
    queue : in its published columns
    left : order_line_id, product_id, warehouse_id, shipped_quantity, withdrawn_quantity
    """

    queue: pd.DataFrame
    left: pd.DataFrame


class Taker(NamedTuple):
    """Who has units that another line lost."""

    order_line_id: str
    how: str  # left (shipped to it), pinned, given, idle (nobody has them)
    per_unit: float  # money lost by waiting; NaN for goods that left


def still_planned(queue: pd.DataFrame, since: SinceLast) -> Floats:
    """Units of the last queue's gift that each line still waits for: not picked or shipped since; (n_lines,)."""
    withdrawn = _of(since.left, queue["order_line_id"], "withdrawn_quantity")[0]
    return last_given(queue, since.queue, withdrawn).fillna(0.0).to_numpy(np.float64)


def lost_goods(queue: pd.DataFrame, since: SinceLast, currency: str) -> pd.DataFrame:
    """Lines with fewer units than the last queue gave them: order_line_id, money, said, do.

    The lost units of a pool are found, in the order of pool_rank, at lines for which more left than the last queue
    gave them, then at lines that have more now, then on the shelf; what is found nowhere is no longer there.
    """
    planned, given = still_planned(queue, since), queue["ship_now_quantity"].to_numpy(np.float64)
    lost = np.where(planned - given > QUANTITY_TOLERANCE, planned - given, 0.0)
    takers = pd.concat([_left_beyond(queue, since), _gained(queue, given - planned), _idle(queue)], ignore_index=True)
    where = _found_at(queue, lost, takers, currency)
    rows = np.flatnonzero(lost > 0)
    lines, per_unit = queue.iloc[rows][_SAID_OF], loss_per_unit(queue)[rows]
    said = [
        _said(lost[row], planned[row], where.get(int(row), []), line)
        for row, line in zip(rows, lines.itertuples(), strict=True)
    ]
    return pd.DataFrame(
        {
            "order_line_id": lines["order_line_id"].to_numpy(),
            "money": per_unit * lost[rows],
            "said": said,
            "do": [_do(line) for line in lines.itertuples()],
        }
    )


def _of(table: pd.DataFrame, ids: pd.Series, *names: str) -> list[Floats]:
    found = table.set_index("order_line_id")[list(names)].reindex(ids)
    return [found[name].to_numpy(np.float64, na_value=0.0) for name in names]


def _left_beyond(queue: pd.DataFrame, since: SinceLast) -> pd.DataFrame:
    """Lines that were shipped more than the last queue gave them.

    Of a line of that queue what was open then counts, without what was picked for it before; others were given nothing.
    """
    left, ids = since.left, since.left["order_line_id"]
    open_then, planned = _of(since.queue, ids, "open_quantity", "ship_now_quantity")
    open_now = _of(queue, ids, "open_quantity")[0]
    shipped, withdrawn = (left[name].to_numpy(np.float64) for name in ("shipped_quantity", "withdrawn_quantity"))
    was_open = ids.isin(since.queue["order_line_id"]).to_numpy(np.bool_)
    units = np.where(was_open, np.minimum(shipped, open_then - open_now - withdrawn), shipped) - planned
    return left.assign(units=units, how="left")[units > QUANTITY_TOLERANCE].sort_values("order_line_id", kind="stable")


def _gained(queue: pd.DataFrame, more: Floats) -> pd.DataFrame:
    """Lines that have more now than the last queue gave them, in the order of rank."""
    how = np.where((queue["override"] == "pin").fillna(False), "pinned", "given")
    lines = queue.assign(units=more, how=how, per_unit=loss_per_unit(queue))[more > QUANTITY_TOLERANCE]
    return lines.sort_values("rank", kind="stable")


def _idle(queue: pd.DataFrame) -> pd.DataFrame:
    """Goods of each pool that no line takes today, as if somebody had them."""
    pools = queue.assign(units=idle_units(queue), how="idle", order_line_id=None, per_unit=np.nan)
    pools = pools.drop_duplicates(POOL_IDS)
    return pools[pools["units"] > QUANTITY_TOLERANCE]


def _found_at(
    queue: pd.DataFrame, lost: Floats, takers: pd.DataFrame, currency: str
) -> dict[int, list[tuple[float, str]]]:
    """For each row of the queue that lost units: how many of them are where, and the words for it."""
    pool = pool_codes(pd.concat([queue[POOL_IDS], takers[POOL_IDS]], ignore_index=True))
    in_turn = np.argsort(queue["pool_rank"].to_numpy(), kind="stable")
    pairs = take_in_turn(
        Side(in_turn, pool[: len(queue)], lost),
        Side(np.arange(len(takers)), pool[len(queue) :], takers["units"].to_numpy(np.float64)),
    )
    own = loss_per_unit(queue)
    known = takers.reindex(columns=list(Taker._fields)).iloc[pairs.inbound]
    found: dict[int, list[tuple[float, str]]] = {}
    rows = zip(pairs.line.tolist(), map(Taker._make, known.itertuples(index=False)), pairs.units.tolist(), strict=True)
    for line, taker, units in rows:
        found.setdefault(line, []).append((units, _taken(taker, units, own[line], currency)))
    return found


def _taken(taker: Taker, units: float, own: float, currency: str) -> str:
    """Who has these units.

    >>> _taken(Taker("L2", "given", 12.0), 4.0, 9.5, "EUR")
    '4 go to L2 (12.00 EUR a unit lost by waiting, here 9.50)'
    """
    name, is_one = taker.order_line_id, units == 1
    if taker.how == "idle":
        return f"{units:,.10g} {'lies' if is_one else 'lie'} here still"
    if taker.how == "left":
        return f"{units:,.10g} {'was' if is_one else 'were'} shipped to {name}"
    goes = f"{units:,.10g} {'goes' if is_one else 'go'} to {name}"
    if taker.how == "pinned":
        return f"{goes} (pinned)"
    return f"{goes} ({taker.per_unit:,.2f} {currency} a unit lost by waiting, here {own:,.2f})"


def _said(lost: float, planned: float, found: list[tuple[float, str]], line: Any) -> str:
    where = [words for _, words in found[:NAMED_AT_MOST]]
    if others := found[NAMED_AT_MOST:]:
        where.append(f"{sum(units for units, _ in others):,.10g} to {len(others)} more")
    gone = lost - sum(units for units, _ in found)
    if gone > QUANTITY_TOLERANCE * max(lost, 1.0):
        where.append(f"{gone:,.10g} {'is' if gone == 1 else 'are'} no longer here")
    units = f"{lost:,.10g} of the {planned:,.10g} unit{'' if planned == 1 else 's'}"
    return f"Lost {units} that the last queue gave it: {', '.join(where)}; now {reason_within(line)}"


def reason_within(line: Any) -> str:
    """Give the line's reason as the end of a longer sentence: 'it waits about 3 days: ...'."""
    why = str(line.reason)
    subject = "" if line.action == "hold" else "it "
    return f"{subject}{why[:1].lower()}{why[1:]}"


def _do(line: Any) -> str:
    if line.action == "hold":
        return "see that the hold is meant"
    if line.available_now > 0:
        return "tell the customer if the goods were announced, or pin the line"
    return "tell the customer if the goods were announced"
