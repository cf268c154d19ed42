"""What `backorder diff` says, as text and as plain values for JSON."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from decisions.comparison import CHANGES
from pipelines.compared_runs import ComparedRuns
from pipelines.queue_report import counted

SHOWN = 10
HEADS = {
    "lost goods": "lost goods",
    "gained goods": "gained goods",
    "gone": "are gone",
    "new": "are new",
    "moved": "moved in rank only",
}


def comparison_facts(found: ComparedRuns) -> dict[str, Any]:
    """The comparison as plain values: both ends, what each cause did, every line that differs."""
    return {
        "first": _end(found.first),
        "second": _end(found.second),
        "notes": list(found.notes),
        "causes": found.comparison.causes.to_dict("records"),
        "lines": _records(found.comparison.lines),
    }


def comparison_text(facts: Mapping[str, Any]) -> str:
    """The same in words: the money by cause, then the lines that differ, the most money first."""
    currency = facts["second"]["currency"]
    parts = [*(f"{name}: {_said(facts[name])}" for name in ("first", "second")), *facts["notes"], ""]
    parts += [f"{'by cause':<12}{f'{currency} lost':>14}  lines"]
    parts += [_cause(cause) for cause in facts["causes"]]
    for change in CHANGES:
        lines = [line for line in facts["lines"] if line["change"] == change]
        parts += [
            "",
            f"{counted(len(lines), 'line')} {HEADS[change]}",
            *(_line(each, currency) for each in lines[:SHOWN]),
        ]
        parts += [f"  and {len(lines) - SHOWN:,} more (--out writes them all)"] if len(lines) > SHOWN else []
    return "\n".join(parts)


def _end(morning: Any) -> dict[str, Any]:
    manifest = morning.manifest
    names = ("run_id", "as_of", "currency")
    return {name: manifest[name] for name in names} | {
        "n_lines": manifest["files"]["queue.parquet"]["rows"],
        "lost": manifest["plan"]["lost"],
    }


def _said(end: Mapping[str, Any]) -> str:
    lines = counted(end["n_lines"], "line")
    lost = f"{end['lost']:,.2f} {end['currency']} are expected to be lost by waiting"
    return f"{lines} as of {end['as_of']} (run {end['run_id'][:8]}), {lost}"


def _cause(row: Mapping[str, Any]) -> str:
    counts = {"gained": row["n_gained"], "lost": row["n_lost"], "new": row["n_new"], "gone": row["n_gone"]}
    said = ", ".join(f"{n:,} {what}" for what, n in (counts | {"moved only": row["n_moved"]}).items() if n)
    return f"{row['cause']:<12}{row['lost']:>+14,.2f}  {said or 'none'}"


def _line(line: Mapping[str, Any], currency: str) -> str:
    """One line that differs, what it lost or gained, and why."""
    who = line["customer_name"] or line["customer_id"] or "anonymous"
    end = "before" if line["change"] == "gone" else "after"
    before, after = line["ship_now_quantity_before"], line["ship_now_quantity_after"]
    wants = counted(line[f"open_quantity_{end}"], "unit")
    said = {
        "gone": f"had {before or 0:g} of {wants}",
        "new": f"gets {after or 0:g} of {wants}",
        "moved": f"rank {line['rank_before'] or 0:.0f} -> {line['rank_after'] or 0:.0f}",
    }
    what = said.get(line["change"], f"{before or 0:g} -> {after or 0:g} of {wants}")
    money = f"{line['money']:,.2f} {currency}"
    return f"  {line['order_line_id']}  {who}, {line['product_id']}: {what}, {money}; {_why(line)}"


def _why(line: Mapping[str, Any]) -> str:
    """The causes, and what the world did.

    >>> _why({"cause": "facts; policy", "what_happened": "goods gone", "change": "lost goods"})
    'facts (goods gone); policy'
    """
    happened, cause = line["what_happened"], str(line["cause"])
    if line["change"] == "gone":
        return str(happened or cause)
    return cause.replace("facts", f"facts ({happened})") if happened else cause


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None where nothing is known."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
