"""The list of the planner's words: what becomes of each, and what it costs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.fulfilment_queue import RunFacts
from decisions.override_columns import (
    CANNOT_BE_MET,
    CONTRADICTED,
    EXPIRED,
    IN_FORCE,
    NAMES_NOTHING,
    OVERRIDE_COLUMNS,
    OVERRULED,
    OVERRULED_IN_PART,
    REPLACED,
    STATUSES,
)
from decisions.override_costs import WordCosts
from decisions.overrides import NO_WORD, SCOPES, strength
from decisions.pinned_short import pins_short
from decisions.queue_columns import typed
from decisions.reasons import NOUNS, word_costs

Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NAMES = {"order_line_id": "line", "order_id": "order", "customer_id": "customer", "product_id": "product"}


def override_list(
    lines: pd.DataFrame,
    words: pd.DataFrame,
    costs: WordCosts,
    goods: pd.DataFrame,
    run: RunFacts,
    today: pd.Timestamp,
) -> pd.DataFrame:
    """Tell of every word that is known, also of those that move nothing: one row per word, as OVERRIDE_COLUMNS say.

    Parameters
    ----------
    lines : open lines ruled by `apply_overrides`, with ship_now_quantity
    words : as in `decisions.overrides.naming`
    costs : of `cost_of_words` for these lines and words
    goods : product_id, warehouse_id, available_now
    today : day of as_of
    """
    n_words = len(words)
    words = words.reset_index(drop=True)
    short = pins_short(lines, goods)
    of_short = costs.ruling[short["line"].to_numpy(np.int64)]
    table = words[[*SCOPES, "action", "quantity", "who", "why", "made_at", "until_on"]].assign(
        holds_today=words["holds_today"].to_numpy(np.bool_),
        days_left=(words["until_on"] - today).dt.days,
        n_lines=np.bincount(costs.naming.word, minlength=n_words),
        n_lines_ruled=np.bincount(costs.ruling[costs.ruling != NO_WORD], minlength=n_words),
        n_lines_short=np.bincount(of_short, minlength=n_words),
        units_moved=costs.units_moved,
        cost=costs.cost,
        stronger=_stronger_of_same(words),
        why_short=_why_short(of_short, short["why"], n_words),
        currency=run.currency,
        run_id=run.run_id,
        as_of=run.utc_time,
    )
    table["status"] = _status(table)
    table["said"] = [_said(word, table, run.currency) for word in table.to_dict("records")]
    place = pd.Series({status: place for place, status in enumerate(STATUSES)})
    table = table.assign(place=table["status"].map(place).astype("int64"))
    by = ["place", "until_on", *SCOPES, "made_at", "action", "quantity", "who", "why"]
    table = table.sort_values(by, kind="stable", ignore_index=True)
    return pd.DataFrame({column.name: typed(table[column.name], column.dtype) for column in OVERRIDE_COLUMNS})


def override_facts(table: pd.DataFrame, costs: WordCosts) -> dict[str, float | dict[str, int]]:
    """State how many words there are, by status, and what all together cost against giving out without any word."""
    counts = table["status"].value_counts()
    return {
        "n": len(table),
        "by_status": {status: int(counts.get(status, 0)) for status in STATUSES},
        "n_not_priced": int(table["cost"].isna().sum()),
        "cost": costs.cost_of_all,
        "units_moved": costs.units_moved_by_all,
        "n_lines_moved": costs.n_lines_moved_by_all,
    }


def _stronger_of_same(words: pd.DataFrame) -> Codes:
    """Row of the word that was said last of the same line, order, customer or product and holds; NO_WORD: itself."""
    found = np.full(len(words), NO_WORD, dtype=np.int64)
    holds, place = words["holds_today"].to_numpy(np.bool_), strength(words)
    for scope in SCOPES:
        rows = np.flatnonzero(words[scope].notna().to_numpy(np.bool_) & holds)
        rows = rows[np.argsort(place[rows], kind="stable")]
        first = pd.Series(rows).groupby(words[scope].iloc[rows].astype("str").to_numpy()).transform("first")
        found[rows] = np.where(first.to_numpy() == rows, NO_WORD, first.to_numpy())
    return found


def _why_short(word: Codes, why: pd.Series, n_words: int) -> list[str]:
    """What keeps each word's lines from what its pin asks: each reason once, with the number of its lines."""
    counts = pd.DataFrame({"word": word, "why": why.to_numpy()}).groupby(["word", "why"]).size().reset_index(name="n")
    counts = counts.sort_values(["word", "n", "why"], ascending=[True, False, True])
    said: list[list[str]] = [[] for _ in range(n_words)]
    for count in counts.to_dict("records"):
        said[count["word"]].append(count["why"] + (f" ({count['n']} lines)" if count["n"] > 1 else ""))
    return ["; ".join(reasons) for reasons in said]


def _status(table: pd.DataFrame) -> pd.Series:
    same_action = table["action"].to_numpy() == table["action"].to_numpy()[table["stronger"].to_numpy()]
    has_stronger = (table["stronger"] != NO_WORD).to_numpy()
    named, ruled = table["n_lines"].to_numpy(), table["n_lines_ruled"].to_numpy()
    cases: Mapping[str, Flags] = {
        EXPIRED: ~table["holds_today"].to_numpy(np.bool_),
        NAMES_NOTHING: named == 0,
        REPLACED: has_stronger & same_action,
        CONTRADICTED: has_stronger,
        OVERRULED: ruled == 0,
        CANNOT_BE_MET: (table["n_lines_short"] > 0).to_numpy(),
        OVERRULED_IN_PART: ruled < named,
    }
    return pd.Series(np.select(list(cases.values()), list(cases), IN_FORCE), index=table.index, dtype="str")


def _said(row: Mapping[Any, Any], table: pd.DataFrame, currency: str) -> str:
    return f"{_subject(row)} {_what_becomes(row, table)}{_costs(row, currency)}."


def _subject(row: Mapping[Any, Any]) -> str:
    """Name the word: 'The pin of 5 units of each line of order 4711 by Ada (fair)'."""
    scope = next(scope for scope in SCOPES if isinstance(row[scope], str))
    named = f"{NAMES[scope]} {row[scope]}"
    if row["quantity"] == row["quantity"]:
        each = "" if scope == "order_line_id" else "each line of "
        named = f"{units_of(row['quantity'])} of {each}{named}"
    return f"The {NOUNS[row['action']]} of {named} by {row['who']} ({str(row['why']).rstrip('. ')})"


def units_of(quantity: float) -> str:
    """Write a number of units.

    >>> units_of(1.0), units_of(2.5)
    ('1 unit', '2.5 units')
    """
    return f"{quantity:.6g} unit{'' if quantity == 1 else 's'}"


def _what_becomes(row: Mapping[Any, Any], table: pd.DataFrame) -> str:
    status, until = row["status"], f"{row['until_on']:%Y-%m-%d}"
    named, ruled = row["n_lines"], row["n_lines_ruled"]
    if status == EXPIRED:
        return f"ended on {until}, {_counted(-row['days_left'], 'day')} ago"
    if status == NAMES_NOTHING:
        return f"names no waiting line today; it holds until {until}"
    if status in (REPLACED, CONTRADICTED):
        later = table.iloc[row["stronger"]]
        then = "is replaced by" if status == REPLACED else "gives way to"
        return (
            f"{then} the {NOUNS[later['action']]} of the same that {later['who']} said on {later['made_at']:%Y-%m-%d}"
        )
    narrower = f"{named - ruled} of its {named} lines obey words that name them more closely"
    if status == OVERRULED:
        return f"moves nothing: {narrower}"
    beside = f"; {narrower}" if ruled < named else ""
    if status == CANNOT_BE_MET:
        return f"cannot be met for {row['n_lines_short']} of {_counted(ruled, 'line')}: {row['why_short']}{beside}"
    return f"rules {_counted(ruled, 'line')} until {until}{beside}"


def _costs(row: Mapping[Any, Any], currency: str) -> str:
    """Say what the word costs, if any line obeys it."""
    return f"; {word_costs(row['cost'], currency)}" if row["n_lines_ruled"] else ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
