"""What a planner must look at before trusting a queue: one row per thing, worst first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from decisions.blocking_groups import blocking_groups
from decisions.exception_columns import EXCEPTION_COLUMNS, KINDS, LINE_KINDS, QUEUE_KINDS
from decisions.fulfilment_queue import RunFacts
from decisions.lost_goods import SinceLast, lost_goods, reason_within
from decisions.moved_dates import moved_dates
from decisions.policy import Policy
from decisions.queue_columns import typed
from decisions.queue_doubts import newly_assumed, plan_kept, rows_set_aside
from decisions.whole_lines import whole_lines
from decisions.words_to_look_at import words_to_look_at

_IDS = ("order_line_id", "order_id", "customer_id", "product_id", "warehouse_id", "ship_group")
_NAMES = ("customer_name", "product_name", "owner")


@dataclass(frozen=True)
class Morning:
    """A decided morning, as far as exceptions are found in it.

    Parameters
    ----------
    queue : in its published columns
    lines : order_line_id, ship_group, group_waits_elsewhere, credit_hold, may_split, quantity_step of the queue's lines
    since : the last published queue and what left since; None without one
    rejected, not_ranked : what the laws set aside
    overrides : the planner's words, as `override_list` tells of them
    stability : moves_from_plan, moves_wanted and forgone; null if the policy holds nothing back
    """

    queue: pd.DataFrame
    lines: pd.DataFrame
    since: SinceLast | None
    rejected: pd.DataFrame
    not_ranked: pd.DataFrame
    overrides: pd.DataFrame
    stability: Mapping[str, float | None]


def exceptions(morning: Morning, run: RunFacts, policy: Policy) -> pd.DataFrame:
    """List what to look at first, in the published columns and order.

    First what makes the whole queue doubtful, then what planners said and the last queue's plan, then lines; within
    each by falling money, then in the order of `KINDS`, then by ids.
    """
    queue, last = morning.queue, morning.since.queue if morning.since else None
    waiting = _waiting_money(queue)
    found = [
        rows_set_aside(morning.rejected, morning.not_ranked).assign(kind="set_aside"),
        newly_assumed(queue, last, waiting).assign(kind="assumed"),
        words_to_look_at(morning.overrides, last, policy),
        plan_kept(morning.stability, run.currency).assign(kind="plan_kept"),
        _lost(queue, morning.since, run.currency).assign(kind="lost_goods"),
        blocking_groups(queue, morning.lines).assign(kind="group_blocks"),
        whole_lines(queue, morning.lines, run.currency).assign(kind="whole_line"),
        _large_losses(queue, waiting, run.currency, policy).assign(kind="large_loss"),
        moved_dates(queue, last, waiting, policy),
    ]
    rows = pd.concat([frame for frame in found if len(frame)] or [pd.DataFrame({"kind": []})], ignore_index=True)
    return _published(_with_ids(rows, queue, morning.lines), run)


def exception_facts(listed: pd.DataFrame) -> dict[str, object]:
    """What the manifest says of the list: how many there are, and of each kind how many, and their money.

    The money of several kinds may be that of one line: it is not added up.
    """
    kinds = listed.groupby("kind")["money"].agg(["size", "sum"]).reindex(list(KINDS), fill_value=0)
    of_kind = {str(kind): {"n": int(row["size"]), "money": float(row["sum"])} for kind, row in kinds.iterrows()}
    return {"n": len(listed), "kinds": of_kind}


def _waiting_money(queue: pd.DataFrame) -> pd.Series:
    """What is lost by the units that do not ship now, by an even share of loss_if_waits."""
    return queue["loss_if_waits"] * (1 - queue["ship_now_quantity"] / queue["open_quantity"]).clip(lower=0.0)


def _lost(queue: pd.DataFrame, since: SinceLast | None, currency: str) -> pd.DataFrame:
    return pd.DataFrame() if since is None else lost_goods(queue, since, currency)


def _large_losses(queue: pd.DataFrame, waiting: pd.Series, currency: str, policy: Policy) -> pd.DataFrame:
    """Lines on which this much money waits: order_line_id, money, said, do."""
    large = (waiting >= policy.large_loss) & (waiting > 0)
    lines = queue[large].assign(money=waiting[large])
    return pd.DataFrame(
        {
            "order_line_id": lines["order_line_id"],
            "money": lines["money"],
            "said": [f"{line.money:,.2f} {currency} wait: {reason_within(line)}" for line in lines.itertuples()],
            "do": [_to_do(line) for line in lines.itertuples()],
        }
    )


def _to_do(line: Any) -> str:
    """What helps a line on which much money waits."""
    if line.action == "hold":
        return "see that the hold is meant"
    if line.advice in ("transfer", "substitute"):
        return f"follow its advice: {line.advice}"
    if pd.notna(line.next_inbound_po_line_id):
        return f"hasten {line.next_inbound_po_line_id}"
    return "order goods: none are on order"


def _with_ids(rows: pd.DataFrame, queue: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Fill in from the queue whatever ids and names the order line of a row has."""
    rows = rows.reindex(columns=["kind", *_IDS, "money", "said", "do"])
    groups = lines.set_index("order_line_id")["ship_group"].reindex(queue["order_line_id"])
    of_line = queue.set_index("order_line_id").assign(ship_group=groups)
    known = of_line.reindex(rows["order_line_id"]).set_axis(rows.index)
    for name in _IDS[1:]:
        rows[name] = rows[name].astype(object).where(rows[name].notna(), known[name])
    return rows.assign(**{name: known[name] for name in _NAMES})


def _published(rows: pd.DataFrame, run: RunFacts) -> pd.DataFrame:
    rows = rows.iloc[_worst_first(rows)].assign(
        priority=np.arange(1, len(rows) + 1), currency=run.currency, run_id=run.run_id, as_of=run.utc_time
    )
    columns = {column.name: typed(rows[column.name], column.dtype) for column in EXCEPTION_COLUMNS}
    return pd.DataFrame(columns).reset_index(drop=True)


def _worst_first(rows: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    place = rows["kind"].map({kind: place for place, kind in enumerate(KINDS)})
    tier = np.select([rows["kind"].isin(QUEUE_KINDS), ~rows["kind"].isin(LINE_KINDS)], [0, 1], default=2)
    keys = pd.DataFrame({"tier": tier, "money": -rows["money"].astype(float).fillna(0.0).to_numpy(), "place": place})
    for name in (*_IDS, "said"):
        keys[name] = rows[name].astype(object).where(rows[name].notna(), "").astype("str").to_numpy()
    return keys.reset_index(drop=True).sort_values(list(keys.columns), kind="stable").index.to_numpy(np.intp)
