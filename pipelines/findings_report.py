"""What `backorder check` says, in plain words."""

from erp.laws import Findings, TableFinding
from features.samples import horizon_days
from models.arrival import FEWEST_RECEIPTS
from models.cancellation import FEWEST_CANCELLATIONS


def findings_text(findings: Findings) -> str:
    """The findings as text: per table what was found and set aside, what is switched off, what stops a run."""
    parts = [f"Facts known at {findings.as_of} UTC", "", *_tables(findings)]
    if len(findings.rejected):
        parts += ["", f"Set aside: {len(findings.rejected)} cells break a law", *_rules(findings)]
    if len(findings.not_ranked):
        parts += [f"  {len(findings.not_ranked)} order lines are neither ranked nor trained on (not_ranked.csv)"]
    parts += ["", "What can be learned:", *(f"  {line}" for line in _models(findings))]
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
        return f"one rate per length of wait: {n_cancelled} cancellations, boosted trees need {FEWEST_CANCELLATIONS}"
    return f"boosted trees, if {FEWEST_CANCELLATIONS} of the {n_cancelled:,} cancellations were of waiting lines"


def _value(seen_days: int) -> str:
    days = horizon_days(seen_days)
    if days is None:
        return f"each customer's own past, shrunk: {seen_days} days of orders are too few to look back and forward"
    watched = "a year ahead" if days == 365 else f"{days} days ahead, scaled to a year (assumed)"
    return f"boosted trees from past cut-offs, watched {watched}: orders since {seen_days} days"


def _arrival(n_received: int) -> str:
    if n_received < FEWEST_RECEIPTS:
        return "assumed (policy.default_wait_days): no receipt of an inbound line is known"
    return "suppliers' punctuality and lead times from receipts, open orders counted as still open"
