"""A published morning beside its evening: what was shipped as advised, what against the advice, and at what price."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.followed_columns import (
    AGAINST,
    AS_ADVISED,
    DEVIATIONS,
    FOLLOWED_COLUMNS,
    LESS,
    MORE,
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


@dataclass(frozen=True)
class Units:
    """Units of each line of a queue by what became of the advice; arrays of (n_lines,).

    Of what was advised, `done` left, `withdrawn` is wanted no more, and the rest, `not_done`, is wanted still; `beyond`
    left although it should not have.
    """

    advised: Floats
    done: Floats
    withdrawn: Floats
    not_done: Floats
    beyond: Floats

    @classmethod
    def of(cls, queue: pd.DataFrame, left: pd.DataFrame) -> "Units":
        """Compare the queue with what left since."""
        open_units, advised = (queue[name].to_numpy(np.float64) for name in ("open_quantity", "ship_now_quantity"))
        shipped, withdrawn = _left(queue, left)
        done = np.minimum(advised, shipped)
        # What is cancelled is taken from what should wait first: only what then is open no more cannot be shipped.
        wanted = np.maximum(open_units - withdrawn, 0.0)
        gone = np.clip(advised - np.maximum(wanted, done), 0.0, None)
        return cls(advised, done, gone, advised - done - gone, np.maximum(shipped - advised, 0.0))


def followed(queue: pd.DataFrame, left: pd.DataFrame, words: pd.DataFrame, evening: datetime) -> pd.DataFrame:
    """Say of every line of a morning's queue whether the advice was followed, and what that saved or cost.

    The money of a line is loss_if_waits x the share of its open quantity, of what was shipped less of what was advised:
    below 0 for a line that went without, above 0 for one that got goods against the advice. What could not be followed,
    because it was cancelled, costs nothing here.

    Parameters
    ----------
    queue : of the morning, in its published columns
    left : order_line_id, shipped_quantity, withdrawn_quantity since the morning
    words : the planner's words known in the evening: order_line_id, order_id, customer_id, product_id (one of them),
        action, who, why, made_at; those made after the morning are the reasons given, the narrowest, then latest first
    evening : UTC, as of which `left` and `words` were known

    Returns
    -------
    The columns of FOLLOWED_COLUMNS; deviations first, by falling size of their money, then the others by rank.
    """
    queue = queue.reset_index(drop=True)
    units = Units.of(queue, left)
    shipped, withdrawn = _left(queue, left)
    table = queue.assign(
        advised_quantity=units.advised,
        shipped_quantity=shipped,
        withdrawn_quantity=withdrawn,
        verdict=_verdict(units, withdrawn),
        money=_money(queue, units.beyond - units.not_done),
        shipped_by_at=pd.Timestamp(evening.astimezone(UTC).replace(tzinfo=None) if evening.tzinfo else evening),
        **_reasons_given(queue, words),
    )
    published = pd.DataFrame({column.name: typed(table[column.name], column.dtype) for column in FOLLOWED_COLUMNS})
    deviates = published["verdict"].isin(DEVIATIONS)
    keys = pd.DataFrame(
        {"follows": ~deviates, "size": (-published["money"].abs()).where(deviates, 0.0), "rank": published["rank"]}
    )
    order = keys.sort_values(["follows", "size", "rank"], kind="stable").index.to_numpy()
    return published.iloc[order].reset_index(drop=True)


def followed_facts(queue: pd.DataFrame, left: pd.DataFrame, table: pd.DataFrame) -> dict[str, object]:
    """Lines, units and money in total: advised = done + not done + withdrawn; beyond it; to lines not in the queue.

    Parameters
    ----------
    left : as `followed` read it, with product_id and warehouse_id
    table : what `followed` made
    """
    units = Units.of(queue, left)
    parts = {
        "advised": units.advised,
        "advised_and_done": units.done,
        "advised_not_done": units.not_done,
        "advised_withdrawn": units.withdrawn,
        "done_against_advice": units.beyond,
    }
    deviates = table["verdict"].isin(DEVIATIONS)
    return {
        **{name: _total(queue, part) for name, part in parts.items()},
        "verdicts": {verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS},
        "deviations": int(deviates.sum()),
        "deviations_with_reason": int((deviates & table["why"].notna()).sum()),
        "money": float(np.sort(table["money"].to_numpy(np.float64)).sum()),
        "shipped_to_other_lines": _to_others(queue, left),
    }


def _left(queue: pd.DataFrame, left: pd.DataFrame) -> tuple[Floats, Floats]:
    """Units shipped and withdrawn of each line since, not below 0; shipped at most what was open."""
    of_line = left.set_index("order_line_id")[["shipped_quantity", "withdrawn_quantity"]].reindex(
        queue["order_line_id"]
    )
    shipped, withdrawn = (of_line[name].to_numpy(np.float64, na_value=0.0) for name in of_line)
    open_units = queue["open_quantity"].to_numpy(np.float64)
    return np.clip(shipped, 0.0, open_units), np.maximum(withdrawn, 0.0)


def _verdict(units: Units, withdrawn: Floats) -> npt.NDArray[np.str_]:
    is_advised = units.advised > QUANTITY_TOLERANCE
    return np.select(
        [
            (units.beyond > QUANTITY_TOLERANCE) & ~is_advised,
            units.beyond > QUANTITY_TOLERANCE,
            units.not_done > QUANTITY_TOLERANCE,
            units.withdrawn > QUANTITY_TOLERANCE,
            is_advised,
        ],
        [AGAINST, MORE, LESS, WITHDRAWN, AS_ADVISED],
        default=WAITED,
    )


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


def _reasons_given(queue: pd.DataFrame, words: pd.DataFrame) -> dict[str, npt.NDArray[np.object_]]:
    """Action, who and why of the word after the morning that names each line most closely; null without one."""
    lines = queue.assign(row=np.arange(len(queue)))[["row", "as_of", *SCOPES]]
    named = [
        lines.dropna(subset=[scope])
        .merge(words.loc[words[scope].notna(), [scope, *_WORD, "made_at"]], on=scope)
        .query("made_at > as_of")
        .assign(scope=place)[["row", "scope", *_WORD, "made_at"]]
        for place, scope in enumerate(SCOPES)
    ]
    order = ["row", "scope", "made_at", *_WORD]
    said = pd.concat(named).sort_values(order, ascending=[True, True, False, True, True, True], kind="stable")
    of_line = said.drop_duplicates("row").set_index("row").reindex(range(len(queue)))
    return {name: of_line[name].to_numpy(dtype=object) for name in _WORD}
