"""Two mornings of a store compared: decided again with one thing changed at a time, from the first to the second."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.comparison import Comparison, Step, compared
from decisions.queue_columns import in_published_form
from decisions.queue_history import causes_in_words, fact_changes
from erp.fingerprint import code_version
from erp.known import Facts
from erp.settings import Site
from features.left_since import left_since
from pipelines.desk import Desk
from pipelines.reopened import Reopened, reopen

NOTHING = "nothing"
_TERMS = ("may_split", "ship_group", "unit_price", "credit_hold", "latest_promised_on", "requested_on")


@dataclass(frozen=True, eq=False)
class ComparedRuns:
    """The mornings, what differs between their queues, and what a reader must know of how that was found."""

    first: Reopened
    second: Reopened
    comparison: Comparison
    notes: tuple[str, ...]


def compare_runs(site: Site, first: str, second: str) -> ComparedRuns:
    """Compare two mornings that were decided in the site's store; `reopen` says how they may be named."""
    store = Path(site.store)
    one, other = reopen(store, first), reopen(store, second)
    comparison = compared(_as_it_was("", one), list(_steps(one, other)))
    lines = comparison.lines.assign(what_happened=_what_happened(comparison.lines, one, other, site))
    return ComparedRuns(one, other, replace(comparison, lines=lines), tuple(_notes(one, other)))


def _steps(one: Reopened, other: Reopened) -> Iterator[Step]:
    """From the first queue to the second; where one cause alone differs nothing need be decided again."""
    causes = [cause for cause, (differs, _) in _CAUSES.items() if differs(one, other)]
    if one.manifest["code"] != other.manifest["code"]:
        yield _decided("code", one.desk) if causes else _as_it_was("code", other)
    desk = one.desk if len(causes) > 1 else None
    for place, cause in enumerate(causes, start=1):
        if place == len(causes) or desk is None:
            yield _as_it_was(cause, other)
            return
        desk = _CAUSES[cause][1](desk, other)
        yield _decided(cause, desk)
    if one.manifest["code"] == other.manifest["code"]:
        yield _as_it_was(NOTHING, other)


def _decided(cause: str, desk: Desk) -> Step:
    decision = desk.decide(desk.policy)
    return Step(cause, decision.queue, decision.judgement.lost)


def _as_it_was(cause: str, morning: Reopened) -> Step:
    return Step(cause, in_published_form(morning.queue), morning.manifest["plan"]["lost"])


def _facts_differ(one: Reopened, other: Reopened) -> bool:
    """Whether anything that is known differs, the planner's words aside: the last queue and the calendar count too."""
    said = ("previous_run_id", "working_days", "holidays")
    if any(one.manifest["made_with"][name] != other.manifest["made_with"][name] for name in said):
        return True
    names = [name for name in one.features if name != "overrides"]
    return any(not one.features[name].equals(other.features[name]) for name in names)


def _words_differ(one: Reopened, other: Reopened) -> bool:
    return not one.features["overrides"].equals(other.features["overrides"])


def _with_facts(desk: Desk, other: Reopened) -> Desk:
    there = other.desk
    features = {**there.features, "overrides": desk.features["overrides"]}
    history = {"previous": there.previous, "previous_run_id": there.previous_run_id, "ran": there.ran}
    return replace(desk, features=features, **history)


def _with_overrides(desk: Desk, other: Reopened) -> Desk:
    return replace(desk, features={**desk.features, "overrides": other.features["overrides"]})


def _with_models(desk: Desk, other: Reopened) -> Desk:
    there = other.desk
    return replace(desk, models=there.models, refused=there.refused, hashes=there.hashes)


def _with_policy(desk: Desk, other: Reopened) -> Desk:
    return replace(desk, policy=other.policy)


# In the order in which they are changed: first what the world did, then what people said, then how it is judged.
_CAUSES: Mapping[str, tuple[Callable[[Reopened, Reopened], bool], Callable[[Desk, Reopened], Desk]]] = {
    "facts": (_facts_differ, _with_facts),
    "overrides": (_words_differ, _with_overrides),
    "models": (lambda one, other: one.manifest["models"] != other.manifest["models"], _with_models),
    "policy": (lambda one, other: one.policy != other.policy, _with_policy),
}


def _what_happened(lines: pd.DataFrame, one: Reopened, other: Reopened, site: Site) -> pd.Series:
    """What the world did to each line between the two mornings, as far as the queues and facts tell; else null."""
    ids = lines["order_line_id"]
    before, after = (morning.queue.set_index("order_line_id").reindex(ids) for morning in (one, other))
    changes = fact_changes(after, before) | {"its terms changed": _terms_differ(ids, one, other)}
    changed = causes_in_words(changes, after, before)
    by_facts = lines["cause"].str.contains("facts", regex=False) & ~lines["change"].isin(["new", "gone"])
    said = changed.set_axis(lines.index).where(by_facts)
    if other.as_of <= one.as_of:
        return said
    return said.mask(lines["change"] == "gone", _how_it_went(ids, other.facts(site), one.as_of))


def _terms_differ(ids: pd.Series, one: Reopened, other: Reopened) -> npt.NDArray[np.bool_]:
    """Whether what was agreed of the line differs, (n_ids,): how it may ship, its price, the dates told."""
    before, after = (m.features["lines"].set_index("order_line_id")[list(_TERMS)].reindex(ids) for m in (one, other))
    is_same = (before == after) | (before.isna() & after.isna())
    return ~is_same.all(axis=1).to_numpy(np.bool_)


def _how_it_went(ids: pd.Series, facts: Facts, since: datetime) -> pd.Series:
    left = left_since(facts, since).set_index("order_line_id").reindex(ids).set_axis(ids.index)
    shipped, withdrawn = left["shipped_quantity"] > 0, left["withdrawn_quantity"] > 0
    words = pd.Series("set aside, reserved or not due any more", index=ids.index, dtype="str")
    words = words.mask(withdrawn, "cancelled").mask(shipped, "shipped")
    return words.mask(shipped & withdrawn, "shipped in part, the rest cancelled")


def _notes(one: Reopened, other: Reopened) -> Iterator[str]:
    codes = {one.manifest["code"], other.manifest["code"]}
    if len(codes) > 1:
        yield "the two were made by different versions of backorder; `code` is what this version changes of the first"
    if code_version() not in codes:
        yield "neither was made by this version of backorder, which decided the steps between them"
    if other.as_of < one.as_of:
        yield "the second is the earlier morning"
