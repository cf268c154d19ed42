"""What `backorder check` says, in plain words."""

from typing import Any

import pandas as pd

from erp.laws import Findings, TableFinding
from features.samples import FEWEST_DAYS, rehearsed_days
from models.account_panel import VALUE_HORIZON_DAYS
from models.arrival import FEWEST_RECEIPTS
from models.cancellation import FEWEST_CANCELLATIONS
from models.customer_base import FEWEST_ACCOUNTS, FEWEST_REPEATERS
from pipelines.queue_report import counted

MOST_CODES_SHOWN = 5


def findings_facts(findings: Findings) -> dict[str, Any]:
    """The findings as plain values: what stops a run, per table what was found, every cell that breaks a law."""
    return {
        "as_of": findings.as_of,
        "stops": findings.stops,
        "notes": findings.notes,
        "tables": {name: _table_facts(found) for name, found in sorted(findings.tables.items()) if found.columns},
        "rejected": findings.rejected.to_dict("records"),
        "not_ranked": findings.not_ranked.to_dict("records"),
        "cancellations": findings.causes.to_dict("records"),
        "can_be_learned": _models(findings),
    }


def _table_facts(found: TableFinding) -> dict[str, Any]:
    counts = {"rows": found.n_rows, "copies": found.n_identical, "set_aside": found.n_set_aside}
    return counts | {"newest": found.newest, "columns": sorted(found.columns)}


def findings_text(findings: Findings) -> str:
    """The findings as text: per table what was found and set aside, what is switched off, what stops a run."""
    parts = [f"Facts known at {findings.as_of} UTC", "", *_tables(findings)]
    if len(findings.rejected):
        breaks = "breaks" if len(findings.rejected) == 1 else "break"
        parts += ["", f"Set aside: {counted(len(findings.rejected), 'cell')} {breaks} a law", *_rules(findings)]
    if len(findings.not_ranked):
        are = "is" if len(findings.not_ranked) == 1 else "are"
        lines = counted(len(findings.not_ranked), "order line")
        parts += [f"  {lines} {are} neither ranked nor trained on (not_ranked.csv)"]
    if len(findings.causes):
        parts += ["", "Cancellations:", *(f"  {line}" for line in _causes(findings.causes))]
    parts += ["", "What can be learned:", *(f"  {line}" for line in _models(findings))]
    if findings.notes:
        parts += ["", "Good to know:", *(f"  {note}" for note in findings.notes)]
    verdict = [f"  {stop}" for stop in findings.stops] or [f"  nothing stops a run{_but_old(findings)}"]
    return "\n".join([*parts, "", "A run would stop because:" if findings.stops else "Verdict:", *verdict])


def _but_old(findings: Findings) -> str:
    """An extract that ends long before T stops nothing, but a queue from it is not about today."""
    old = [note for note in findings.notes if note.startswith("the newest order line is from")]
    return f", but {old[0]}" if old else ""


def _tables(findings: Findings) -> list[str]:
    rows = [f"  {'table':<18}{'rows':>10}{'copies':>9}{'set aside':>11}  newest"]
    for name, found in sorted(findings.tables.items()):
        if not found.columns:
            continue
        newest = f"{found.newest:%Y-%m-%d %H:%M}" if found.newest else ""
        rows.append(
            f"  {name:<18}{found.n_rows:>10,}{found.n_identical:>9,}{found.n_set_aside:>11,}  {newest}".rstrip()
        )
    if any(found.n_identical for found in findings.tables.values()):
        rows.append("  copies: identical rows, counted once")
    return rows


def _rules(findings: Findings) -> list[str]:
    groups = findings.rejected.groupby(["table", "column", "rule"], sort=True)
    return [
        f"  {table}.{column}: {rule} fails {counted(len(rows), 'time')}, e.g. {rows['value'].iloc[0]!r}"
        f" in {rows['file'].iloc[0]} row {rows['row'].iloc[0]}"
        for (table, column, rule), rows in groups
    ]


def _causes(causes: pd.DataFrame) -> list[str]:
    """Whose doing the cancellations were, as far as known, and what would tell more."""
    n = causes.groupby("cause")["n"].sum()
    own, ours, changes = (int(n.get(cause, 0)) for cause in ("customer", "seller", "change"))
    lines = [
        f"{int(n.sum()):,} known: {own:,} by customers, {ours:,} by us, {changes:,} only changes"
        " (ordered again soon, or moved to another line)"
    ]
    if n_unknown := int(causes.loc[causes["is_cause_unknown"], "n"].sum()):
        lines.append(
            f"{n_unknown:,} of the customers' are taken for theirs as nothing says whose they were;"
            " fill cancelled_by, or map reason codes"
        )
    codes = causes.groupby("unmapped_reason")["n"].sum().sort_index().sort_values(ascending=False, kind="stable")
    if len(codes):
        shown = ", ".join(f"{code!r} ({count:,})" for code, count in codes.head(MOST_CODES_SHOWN).items())
        more = f" and {len(codes) - MOST_CODES_SHOWN} more" if len(codes) > MOST_CODES_SHOWN else ""
        lines.append(
            f"reason codes that [cancel_reasons] in backorder.toml does not map: {shown}{more};"
            " a code that is the seller's or a change belongs there"
        )
    return lines


def _models(findings: Findings) -> list[str]:
    """Which variant of each model these tables allow, before training has counted exactly."""
    orders, none = findings.tables["order_lines"], TableFinding(0, 0, 0, set())
    seen_days = (findings.as_of - orders.oldest).days if orders.oldest else 0
    n_cancelled = findings.tables["cancellations"].n_rows
    n_received = min(findings.tables.get(name, none).n_rows for name in ("purchase_orders", "receipts"))
    return [
        f"cancellation risk: {_risk(n_cancelled)}",
        f"lifetime value and next order: {_value(seen_days)}",
        f"arrival of goods: {_arrival(n_received)}",
    ]


def _risk(n_cancelled: int) -> str:
    if n_cancelled == 0:
        return "assumed, and every row of the queue says so: no cancellation is known"
    if n_cancelled < FEWEST_CANCELLATIONS:
        known = counted(n_cancelled, "cancellation")
        return f"one rate per length of wait: {known}, telling lines apart needs {FEWEST_CANCELLATIONS}"
    return (
        "a ridge logit, boosted trees or a mixture, whichever predicted later days best, if customers cancelled"
        f" {FEWEST_CANCELLATIONS} or more waiting lines among the {n_cancelled:,} cancellations; else one rate per wait"
    )


def _value(seen_days: int) -> str:
    past, rehearsed = counted(seen_days, "day"), rehearsed_days(seen_days, VALUE_HORIZON_DAYS)
    classical = "each customer's rhythm and margins (Pareto/NBD and BG/NBD, Gamma-Gamma)"
    if not rehearsed or seen_days - rehearsed < 2 * FEWEST_DAYS:  # the earlier origin learns from nothing
        return (
            f"{classical} alone, assumed to go on for a year: orders go back {past}, too few to look back and forward"
        )
    is_assumed = seen_days - FEWEST_DAYS < VALUE_HORIZON_DAYS
    carried = ", carried on to a year (assumed)" if is_assumed else ""
    return (
        f"{classical}, corrected by boosted trees as far as a rehearsal of {counted(rehearsed, 'day')} confirms"
        f"{carried}, if {FEWEST_ACCOUNTS} customers ordered and {FEWEST_REPEATERS} of them again: orders go back {past}"
    )


def _arrival(n_received: int) -> str:
    if n_received < FEWEST_RECEIPTS:
        return "assumed (policy.default_wait_days): no receipt of an inbound line is known"
    return "suppliers' punctuality and lead times from receipts, open orders counted as still open"
