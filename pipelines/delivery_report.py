"""What an apply or undo says of itself: facts for programs, a text for people."""

from collections.abc import Mapping
from shlex import quote
from typing import Any

import pandas as pd

from erp.destination import Item, Values
from pipelines.delivery import Delivered
from pipelines.delivery_plan import Plan

SHOWN = 15  # lines named in the text; all of them stand in changes.csv
_ENDINGS = {
    "nothing to write": "nothing to write: the destination says all of it already",
    "shown": "nothing is written yet",
    "refused": "nothing is written: it goes beyond what may be written without asking",
    "written": "written",
    "unfinished": "not finished: nobody can tell yet whether some lines arrived",
}


def delivery_facts(delivered: Delivered) -> dict[str, Any]:
    """The delivery as plain values."""
    plan = delivered.plan
    return {
        "run_id": plan.run_id,
        "as_of": delivered.as_of,
        "destination": plan.destination,
        "kind": plan.kind,
        "ending": delivered.ending,
        "code": plan.code if plan.changes else None,
        "n_changes": len(plan.changes),
        "n_same": plan.n_same,
        "left_alone": dict(plan.left_alone),
        "lines_moved": plan.n_moved,
        "lines_put_off": plan.n_slipped,
        "slip_days": plan.slip_days,
        "money_moved": plan.money,
        "beyond": list(delivered.beyond),
        "counts": dict(delivered.counts or {}),
        "not_taken": dict(delivered.not_taken or {}),
        "differ": list(delivered.differ),
        "resumed": delivered.resumed,
    }


def changes_table(plan: Plan) -> pd.DataFrame:
    """One row per value that changes: order_line_id, column, before, after (as texts; missing: nothing is said)."""
    rows = [(item.order_line_id, *change) for item in plan.changes for change in _changed(item)]
    return pd.DataFrame(rows, columns=["order_line_id", "column", "before", "after"], dtype="str")


def delivery_text(delivered: Delivered, who: str) -> str:
    """The delivery in words; `who` stands in the command that approves it."""
    plan = delivered.plan
    head = f"{plan.kind} of run {plan.run_id[:12]} as of {delivered.as_of} to {plan.destination}"
    lines = [f"{head}: {_ENDINGS[delivered.ending]}"]
    if delivered.resumed:
        lines.append("what an earlier try had left open was finished first")
    if delivered.ending != "unfinished":
        lines.append(f"{_n(len(plan.changes), 'line')} to change, {plan.n_same} as they should be")
    lines += [f"  {_line_text(item)}" for item in plan.changes[:SHOWN]]
    if len(plan.changes) > SHOWN:
        lines.append(f"  and {len(plan.changes) - SHOWN} more (`--out FOLDER` writes them all to changes.csv)")
    if plan.changes:
        lines.append(
            f"goods of {_n(plan.n_moved, 'line')} change ({plan.money:,.2f} expected loss), {plan.n_slipped} put off,"
            f" by {plan.slip_days} days at most"
        )
    lines += [f"beyond the limit: {said}" for said in delivered.beyond]
    lines += _listed("left alone", plan.left_alone)
    lines += _listed("not taken", delivered.not_taken or {})
    lines += _listed("says something else all the same", dict.fromkeys(delivered.differ, "changed there since"))
    return "\n".join(lines + _what_to_do(delivered, who))


def _what_to_do(delivered: Delivered, who: str) -> list[str]:
    plan = delivered.plan
    if delivered.ending in ("shown", "refused"):
        approve = f"backorder {plan.kind} {plan.run_id[:12]} --approve {plan.code} --who {quote(who)}"
        return [f"to write exactly this: {approve}"]
    if delivered.ending == "unfinished":
        counts = ", ".join(f"{n} {state}" for state, n in (delivered.counts or {}).items())
        return [
            f"items: {counts}. Run the same command again: what is unknown is asked for, what is pending is sent.",
            "A destination that cannot be asked: look there, then add --arrived yes or --arrived no",
        ]
    if delivered.ending == "written" and plan.kind == "apply":
        return [f"to take it back: backorder undo {plan.run_id[:12]}"]
    return []


def _line_text(item: Item) -> str:
    if item.values is None:
        return f"{item.order_line_id}: taken out"
    if item.previous is None:
        return f"{item.order_line_id}: new; {_values_text(item.values)}"
    return f"{item.order_line_id}: " + ", ".join(
        f"{name} {old or 'none'} -> {new}" for name, old, new in _changed(item)
    )


def _values_text(values: Values) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items() if value is not None)


def _changed(item: Item) -> list[tuple[str, str, str]]:
    """Columns that change, before and after."""
    before, after = item.previous or {}, item.values or {}
    names = list(after) if item.values is not None else list(before)
    return [
        (name, _text(before.get(name)), _text(after.get(name))) for name in names if before.get(name) != after.get(name)
    ]


def _text(value: object) -> str:
    said = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _listed(what: str, lines: Mapping[str, str]) -> list[str]:
    named = [f"  {line}: {why}" for line, why in list(lines.items())[:SHOWN]]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"{_n(len(lines), 'line')} {what}:", *named, *more] if lines else []


def _n(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
