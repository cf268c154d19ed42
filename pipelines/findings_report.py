"""What `backorder check` says, in plain words."""

from erp.laws import Findings


def findings_text(findings: Findings) -> str:
    """The findings as text: per table what was found and set aside, what is switched off, what stops a run."""
    parts = [f"Facts known at {findings.as_of} UTC", "", *_tables(findings)]
    if len(findings.rejected):
        parts += ["", f"Set aside: {len(findings.rejected)} cells break a law", *_rules(findings)]
    if len(findings.not_ranked):
        parts += [f"  {len(findings.not_ranked)} order lines are neither ranked nor trained on (not_ranked.csv)"]
    if findings.notes:
        parts += ["", "Good to know:", *(f"  {note}" for note in findings.notes)]
    verdict = [f"  {stop}" for stop in findings.stops] or ["  nothing stops a run"]
    return "\n".join([*parts, "", "A run would stop because:" if findings.stops else "Verdict:", *verdict])


def _tables(findings: Findings) -> list[str]:
    rows = [f"  {'table':<18}{'rows':>10}{'copies':>9}{'set aside':>11}  newest"]
    for name, found in sorted(findings.tables.items()):
        if not found.columns:
            continue
        newest = f"{found.newest:%Y-%m-%d %H:%M}" if found.newest else ""
        rows.append(
            f"  {name:<18}{found.n_rows:>10,}{found.n_identical:>9,}{found.n_set_aside:>11,}  {newest}".rstrip()
        )
    return rows


def _rules(findings: Findings) -> list[str]:
    groups = findings.rejected.groupby(["table", "column", "rule"], sort=True)
    return [
        f"  {table}.{column}: {rule} fails {len(rows)} times, e.g. {rows['value'].iloc[0]!r}"
        f" in {rows['file'].iloc[0]} row {rows['row'].iloc[0]}"
        for (table, column, rule), rows in groups
    ]
