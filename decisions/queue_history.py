"""What changed since the last published queue: the rank before, and why it moved."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.joined_words import joined_words

Flags = npt.NDArray[np.bool_]

COMPARED = ("rank", "open_quantity", "available_now", "override", "waited_days")


def history(queue: pd.DataFrame, previous: pd.DataFrame | None, model_changed: bool) -> pd.DataFrame:
    """Compare with the last published queue: previous_rank and changed_because, indexed like queue.

    Without a previous queue both are null. changed_because is null where the rank did not move; else it lists what
    changed for the line: a planner's word, its open quantity, its pool's goods, the models. Where none of these did,
    the line moved because it has waited longer or because other lines came, went or changed.
    """
    if previous is None:
        empty = {"previous_rank": pd.array([pd.NA] * len(queue), dtype="Int64"), "changed_because": pd.NA}
        return pd.DataFrame(empty, index=queue.index).astype({"changed_because": "str"})
    before = previous.set_index("order_line_id")[list(COMPARED)].reindex(queue["order_line_id"])
    before = before.set_axis(queue.index)
    causes = causes_in_words(_causes(queue, before, model_changed), queue, before)
    is_new = before["rank"].isna()
    causes = causes.mask(is_new, "new line").mask(before["rank"] == queue["rank"])
    return pd.DataFrame({"previous_rank": before["rank"].astype("Int64"), "changed_because": causes.astype("str")})


def _causes(queue: pd.DataFrame, before: pd.DataFrame, model_changed: bool) -> dict[str, Flags]:
    """Flag per line each cause that applies to it."""
    now, then = queue["override"].fillna(""), before["override"].fillna("")
    words = {
        "override set": (now != then) & (now != ""),
        "override lifted": (now != then) & (now == ""),
    }
    said = {name: applies.to_numpy(np.bool_) for name, applies in words.items()}
    return said | fact_changes(queue, before) | {"model changed": np.full(len(queue), model_changed)}


def causes_in_words(causes: dict[str, Flags], queue: pd.DataFrame, before: pd.DataFrame) -> pd.Series:
    """Name the causes that apply to each line; where none does, it waited longer or other lines changed."""
    named = joined_words(causes, queue.index)
    longer = (queue["waited_days"] > before["waited_days"]).map({True: "waited longer", False: "other lines changed"})
    return named.where(named != "", longer)


def fact_changes(queue: pd.DataFrame, before: pd.DataFrame) -> dict[str, Flags]:
    """Flag per line what the world did to it or its pool since the queue before, which has the same index."""
    goods = queue["available_now"] - before["available_now"]
    changes = {
        "quantity changed": queue["open_quantity"] != before["open_quantity"],
        "goods arrived": goods > 0,
        "goods gone": goods < 0,
    }
    return {name: applies.to_numpy(np.bool_) for name, applies in changes.items()}
