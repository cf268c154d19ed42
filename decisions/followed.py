"""A published morning beside its evening: what was shipped as advised, what against the advice, and at what price."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.day_units import Day, Units, goods_of_pools, moved
from decisions.followed_columns import (
    AGAINST,
    AS_ADVISED,
    DEVIATIONS,
    FOLLOWED_COLUMNS,
    IN_TURN,
    LESS,
    MORE,
    NO_GOODS,
    OUT_OF_TURN,
    PASSED_OVER,
    VERDICTS,
    WAITED,
    WITHDRAWN,
)
from decisions.overrides import SCOPES
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.queue_columns import typed
from decisions.ranking import POOL_IDS

Floats = npt.NDArray[np.float64]

_WORD = ("action", "who", "why")


def followed(queue: pd.DataFrame, day: Day, words: pd.DataFrame, evening: datetime) -> pd.DataFrame:
    """Say of every line of a morning's queue whether the advice was followed, and what that saved or cost.

    The money of a line is loss_if_waits x the share of its open quantity that deviates: above 0 for goods that it got
    against the advice or out of turn, below 0 for what it went without for that. Goods that came during the day and
    went by the pool's rank are no deviation, nor is what could not be followed: it was cancelled, or the goods were
    not there.

    Parameters
    ----------
    queue : of the morning, in its published columns
    words : the planner's words known in the evening: order_line_id, order_id, customer_id, product_id (one of them),
        action, who, why, made_at, lifted_at (null: it was not); those made after the morning are the reasons given,
        the narrowest, then latest first; one that was lifted counts if it held when the last of the line's goods left
    evening : UTC, as of which all this was known

    Returns
    -------
    The columns of FOLLOWED_COLUMNS; deviations first, by falling size of their money, then the others by rank.
    """
    queue = queue.reset_index(drop=True)
    units = Units.of(queue, day)
    shipped, withdrawn = moved(queue, day.left)
    table = queue.assign(
        advised_quantity=units.advised,
        shipped_quantity=shipped,
        withdrawn_quantity=withdrawn,
        in_turn_quantity=units.in_turn,
        out_of_turn_quantity=units.out_of_turn,
        against_quantity=units.against,
        passed_over_quantity=units.passed_over,
        verdict=_verdict(units),
        money=_money(queue, units.against + units.out_of_turn - units.not_done - units.passed_over),
        shipped_by_at=pd.Timestamp(evening.astimezone(UTC).replace(tzinfo=None) if evening.tzinfo else evening),
        **_reasons_given(queue, words, day.left),
    )
    published = pd.DataFrame({column.name: typed(table[column.name], column.dtype) for column in FOLLOWED_COLUMNS})
    deviates = published["verdict"].isin(DEVIATIONS)
    keys = pd.DataFrame(
        {"follows": ~deviates, "size": (-published["money"].abs()).where(deviates, 0.0), "rank": published["rank"]}
    )
    order = keys.sort_values(["follows", "size", "rank"], kind="stable").index.to_numpy()
    return published.iloc[order].reset_index(drop=True)


def followed_facts(queue: pd.DataFrame, day: Day, table: pd.DataFrame) -> dict[str, object]:
    """Lines, units and money in total, and where the goods of the queue's pools came from and went.

    Advised = done + not done + no goods + withdrawn; left for lines of the queue = done + in turn + out of turn +
    against the advice; goods of the morning + came = left for them + left for others + on the shelf.

    Parameters
    ----------
    table : what `followed` made of the same
    """
    queue = queue.sort_values("rank", ignore_index=True)
    units = Units.of(queue, day)
    parts = {
        "advised": units.advised,
        "advised_and_done": units.done,
        "advised_not_done": units.not_done,
        "advised_without_goods": units.no_goods,
        "advised_withdrawn": units.withdrawn,
        "later_goods_in_turn": units.in_turn,
        "later_goods_out_of_turn": units.out_of_turn,
        "passed_over": units.passed_over,
        "done_against_advice": units.against,
    }
    deviates = table["verdict"].isin(DEVIATIONS)
    return {
        **{name: _total(queue, part) for name, part in parts.items()},
        "goods": _goods(queue, day),
        "verdicts": {verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS},
        "deviations": int(deviates.sum()),
        "deviations_with_reason": int((deviates & table["why"].notna()).sum()),
        "money": float(np.sort(table["money"].to_numpy(np.float64)).sum()),
        "shipped_to_other_lines": _to_others(queue, day.left),
    }


def _verdict(units: Units) -> npt.NDArray[np.str_]:
    is_advised = units.advised > QUANTITY_TOLERANCE
    is_against = units.against > QUANTITY_TOLERANCE
    found = [
        (is_against & ~is_advised, AGAINST),
        (is_against, MORE),
        (units.out_of_turn > QUANTITY_TOLERANCE, OUT_OF_TURN),
        (units.not_done > QUANTITY_TOLERANCE, LESS),
        (units.passed_over > QUANTITY_TOLERANCE, PASSED_OVER),
        (units.in_turn > QUANTITY_TOLERANCE, IN_TURN),
        (units.no_goods > QUANTITY_TOLERANCE, NO_GOODS),
        (units.withdrawn > QUANTITY_TOLERANCE, WITHDRAWN),
        (is_advised, AS_ADVISED),
    ]
    return np.select([holds for holds, _ in found], [verdict for _, verdict in found], default=WAITED)


def _money(queue: pd.DataFrame, units: Floats) -> Floats:
    loss, quantity = (queue[name].to_numpy(np.float64) for name in ("loss_if_waits", "open_quantity"))
    return np.asarray(loss * units / quantity) + 0.0  # no -0.0


def _total(queue: pd.DataFrame, units: Floats) -> dict[str, float]:
    money = float(np.sort(_money(queue, units)).sum())
    return {"lines": int((units > QUANTITY_TOLERANCE).sum()), "units": float(np.sort(units).sum()), "money": money}


def _to_others(queue: pd.DataFrame, left: pd.DataFrame) -> dict[str, float]:
    """Goods of the queue's pools that left for lines that were not in it: not due yet, new, or set aside."""
    pools = pd.MultiIndex.from_frame(queue[POOL_IDS])
    others = left[~left["order_line_id"].isin(queue["order_line_id"]) & (left["shipped_quantity"] > 0)]
    others = others[pd.MultiIndex.from_frame(others[POOL_IDS]).isin(pools)]
    return {"lines": len(others), "units": float(np.sort(others["shipped_quantity"].to_numpy(np.float64)).sum())}


def _goods(queue: pd.DataFrame, day: Day) -> dict[str, float]:
    """Units of all pools of the queue: there in the morning, come since, left for lines of the queue, left over."""
    goods = goods_of_pools(queue, day)
    for_queue = float(moved(queue, day.left)[0].sum())
    total = {name: float(goods[name].sum()) for name in goods}
    return {
        "morning": total["morning"],
        "came": total["came"],
        "left_for_the_queue": for_queue,
        "left_for_others": total["left"] - for_queue,
        "on_the_shelf": total["shelf"],
    }


def _reasons_given(queue: pd.DataFrame, words: pd.DataFrame, left: pd.DataFrame) -> dict[str, npt.NDArray[np.object_]]:
    """Action, who and why of the word after the morning that names each line most closely; null without one."""
    lines = queue.assign(row=np.arange(len(queue)))[["row", "as_of", *SCOPES]]
    left_at = left.set_index("order_line_id")["last_left_at"].reindex(lines["order_line_id"])
    lines = lines.assign(left_at=left_at.to_numpy())
    told = [*_WORD, "made_at", "lifted_at"]
    named = pd.concat(
        lines.dropna(subset=[scope])
        .merge(words.loc[words[scope].notna(), [scope, *told]], on=scope)
        .assign(scope=place)[["row", "scope", "as_of", "left_at", *told]]
        for place, scope in enumerate(SCOPES)
    )
    named = named[(named["made_at"] > named["as_of"]) & ~(named["lifted_at"] <= named["left_at"])]
    order = ["row", "scope", "made_at", *_WORD]
    said = named.sort_values(order, ascending=[True, True, False, True, True, True], kind="stable")
    of_line = said.drop_duplicates("row").set_index("row").reindex(range(len(queue)))
    return {name: of_line[name].to_numpy(dtype=object) for name in _WORD}
