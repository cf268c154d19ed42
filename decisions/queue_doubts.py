"""What makes a whole queue doubtful: rows set aside, answers newly assumed, goods left where they were."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

_EXAMPLES = 3


def rows_set_aside(rejected: pd.DataFrame, not_ranked: pd.DataFrame) -> pd.DataFrame:
    """One row per law that was broken and one for all order lines set aside: order_line_id, said, do.

    Parameters
    ----------
    rejected : table, file, row, column, rule, value
    not_ranked : order_line_id, reason
    """
    laws = rejected.groupby(["table", "column", "rule"], sort=True, dropna=False)
    do = "correct the extract (rejected.csv)"
    rows: list[tuple[str | None, str, str]] = [(None, _broken(cells), do) for _, cells in laws]
    if len(not_ranked):
        only = str(not_ranked["order_line_id"].iloc[0]) if len(not_ranked) == 1 else None
        rows.append((only, _not_ranked(not_ranked), "see whether any of them waits for goods (not_ranked.csv)"))
    return pd.DataFrame(rows, columns=["order_line_id", "said", "do"])


def newly_assumed(queue: pd.DataFrame, previous: pd.DataFrame | None, waiting: pd.Series) -> pd.DataFrame:
    """Remarks of the column `assumed` that no line of the last queue bore: money, said, do.

    Remarks that differ in their numbers only are the same. Without a last queue all of them are new.

    Parameters
    ----------
    waiting : money that waits on each line, indexed like queue
    """
    known = set() if previous is None else {_without_numbers(text) for text in _remarks(previous)["remark"].unique()}
    remarks = _remarks(queue)
    new = [text for text in remarks["remark"].unique() if _without_numbers(text) not in known]
    remarks = remarks[remarks["remark"].isin(new)]
    rows = [
        {
            "money": float(waiting[of_lines["line"]].sum()),
            "said": f"{str(remark)[:1].upper()}{str(remark)[1:]}: assumed, not measured, for {len(of_lines):,} of"
            f" {len(queue):,} lines" + ("." if previous is None else ", as it was not in the last queue."),
            "do": "see how much it moves: `backorder sensitivity`",
        }
        for remark, of_lines in remarks.groupby("remark", sort=True)
    ]
    return pd.DataFrame(rows)


def plan_kept(stability: Mapping[str, float | None], currency: str) -> pd.DataFrame:
    """Say what is forgone because goods stay where the last queue put them; no row where nothing is: money, said, do.

    Parameters
    ----------
    stability : moves_from_plan, moves_wanted (lines) and forgone (money), null if any number of lines may move
    """
    forgone = stability["forgone"] or 0.0
    if forgone <= 0:
        return pd.DataFrame()
    said = (
        f"Goods stay where the last queue put them: of {stability['moves_wanted']:,.0f} lines whose units should change"
        f" {stability['moves_from_plan']:,.0f} do, and {forgone:,.2f} {currency} are forgone."
    )
    return pd.DataFrame({"money": [forgone], "said": said, "do": "raise max_moves in the policy if that is too much"})


def _broken(cells: pd.DataFrame) -> str:
    n, (table, column, rule) = len(cells), cells[["table", "column", "rule"]].iloc[0]
    examples = ", ".join(str(value) for value in cells["value"].drop_duplicates().head(_EXAMPLES))
    return f"{table}: {n:,} row{'' if n == 1 else 's'} set aside, {column} breaks the law {rule!r}, e.g. {examples}."


def _not_ranked(lines: pd.DataFrame) -> str:
    ids = ", ".join(lines["order_line_id"].head(_EXAMPLES).astype(str))
    if len(lines) == 1:
        return f"Order line {ids} is neither ranked nor learned from: {lines['reason'].iloc[0]}."
    return f"{len(lines):,} order lines are neither ranked nor learned from, e.g. {ids}: their rows break a law."


def _remarks(queue: pd.DataFrame) -> pd.DataFrame:
    """One row per line and remark of its column `assumed`: line (its index), remark."""
    split = queue["assumed"].dropna().astype(object).str.split("; ").explode()
    return pd.DataFrame({"line": split.index, "remark": np.asarray(split, dtype=object)})


def _without_numbers(remark: str) -> str:
    return re.sub(r"[0-9.,]+", "", remark)
