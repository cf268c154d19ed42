"""The command `override`: what planners say, take back and ask for, as facts and as text."""

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from decisions.override_list import units_of
from erp.planner_words import SCOPES, Noted, Seen, Word, known_words, note, take_back
from erp.queue_files import text_as_written
from erp.settings import Site
from pipelines.reopened import reopen

NEW = "in no queue yet"
_FROM_QUEUE = ("status", "said", "n_lines", "n_lines_ruled", "n_lines_short", "units_moved", "cost")
_OF_WORD = ("scope", "id", "action", "quantity", "who", "why", "made_at", "until_on")


def say(site: Site, word: Word, at: datetime) -> dict[str, Any]:
    """Note what a planner says at this UTC moment.

    Returns
    -------
    scope, id, action, quantity, who, why, made_at, until_on; n_lines: lines of the last queue that it names; outdone:
    words about the same that held so far and now give way to it, each with those keys; counts_from: as_of from which
    on runs see it.

    Raises
    ------
    WordRefused, LedgerError
        If nothing can be noted: the message says why.
    """
    noted = note(Path(site.store), seen_last(site), word, at)
    return _plain(noted.rows[0]) | _beside(noted, at)


def lift(site: Site, scope: str, value: str, who: str, why: str, at: datetime) -> dict[str, Any]:
    """Take back every word about a line, order, customer or product.

    Returns
    -------
    scope, id, who, why; taken_back: the words, each as `say` gives one; n_lines, counts_from as of `say`.
    """
    noted = take_back(Path(site.store), seen_last(site), scope, value, who, why, at)
    beside = _beside(noted, at)
    told = {"scope": scope, "id": value, "who": who, "why": why, "taken_back": beside.pop("outdone")}
    return told | beside


def listed(site: Site, at: datetime) -> dict[str, Any]:
    """Every word that is known at this moment and what the last queue made of it.

    Returns
    -------
    as_of, currency and cost (of all words together) of the last queue; words: each as `say` gives one, with status,
    said, n_lines, n_lines_ruled, n_lines_short, units_moved and cost of `overrides.csv`; what was said since then has
    the status NEW and None for the rest.
    """
    store, last = Path(site.store), reopen(Path(site.store))
    made_of = {_key(row): row for row in _published(last.folder / "queue" / "overrides.csv")}
    words = [_plain(row) for row in known_words(store, Seen(last.queue, last.facts(site)), at).to_dict("records")]
    told = [word | made_of.get(_key(word), dict.fromkeys(_FROM_QUEUE) | {"status": NEW}) for word in words]
    return {
        "as_of": last.as_of.isoformat() + "Z",
        "currency": last.manifest["currency"],
        "cost": last.manifest["overrides"]["cost"],
        "words": [{name: word[name] for name in (*_OF_WORD, *_FROM_QUEUE)} for word in told],
    }


def seen_last(site: Site) -> Seen:
    """The last published queue and the facts known then."""
    last = reopen(Path(site.store))
    return Seen(last.queue, last.facts(site))


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One word in plain values: numbers, texts, ISO times and days."""
    scope = next(scope for scope, column in SCOPES.items() if isinstance(row.get(column), str))
    quantity = row.get("quantity")
    return {
        "scope": scope,
        "id": row[SCOPES[scope]],
        "action": row["action"],
        "quantity": None if quantity is None or pd.isna(quantity) else float(quantity),
        "who": row["who"],
        "why": row["why"],
        "made_at": row["made_at"].isoformat() + "Z",
        "until_on": row["until_on"].isoformat()[:10],
    }


def _beside(noted: Noted, at: datetime) -> dict[str, Any]:
    outdone = [_plain(row) for row in noted.outdone.to_dict("records")]
    return {"n_lines": noted.n_lines, "outdone": outdone, "counts_from": at.isoformat() + "Z"}


def _key(word: Mapping[str, Any]) -> tuple[object, ...]:
    """What names a word: what it is about, and when it was said."""
    return word["scope"], word["id"], pd.Timestamp(word["made_at"])


def _published(path: Path) -> list[dict[str, Any]]:
    """The rows of a published `overrides.csv`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        scope = next(scope for scope, column in SCOPES.items() if row[column])
        named = {"scope": scope, "id": text_as_written(row[SCOPES[scope]]), "made_at": row["made_at"]}
        numbers: dict[str, Any] = {name: int(row[name]) for name in _FROM_QUEUE if name.startswith("n_")}
        numbers |= {name: float(row[name]) if row[name] else None for name in ("units_moved", "cost")}
        found.append(named | {"status": row["status"], "said": text_as_written(row["said"])} | numbers)
    return found


def said_text(told: Mapping[str, Any]) -> str:
    """What `say` or `lift` gives, as text."""
    if "taken_back" in told:
        lines = [f"taken back by {told['who']} ({told['why']}):", *(f"  {_words(w)}" for w in told["taken_back"])]
    else:
        lines = [f"noted: {_words(told)}"]
        lines += [f"  it takes the place of: {_words(word)}" for word in told["outdone"]]
    waits = {0: "no line of the last queue waits", 1: "1 line of the last queue waits"}
    lines.append(f"  of {told['scope']} {told['id']} {waits.get(told['n_lines'], _several(told['n_lines']))}")
    return "\n".join([*lines, f"  it counts in runs as of {told['counts_from']} or later"])


def _several(n_lines: int) -> str:
    return f"{n_lines} lines of the last queue wait"


def _words(word: Mapping[str, Any]) -> str:
    units = "" if word["quantity"] is None else f"{units_of(word['quantity'])} of "
    each = "each line of " if units and word["scope"] != "line" else ""
    return (
        f"{word['action']} {units}{each}{word['scope']} {word['id']} until {word['until_on']}, {word['who']}:"
        f" {word['why']}"
    )


def listed_text(told: Mapping[str, Any]) -> str:
    """What `listed` gives, as text: one line per word, and what all together cost."""
    words: Sequence[Mapping[str, Any]] = told["words"]
    if not words:
        return "no planner's word is known"
    lines = [f"{word['status']}: {word['said'] or _words(word)}" for word in words]
    total = f"all words together cost {told['cost']:.2f} {told['currency']} in the queue as of {told['as_of']}"
    return "\n".join([*lines, total])
