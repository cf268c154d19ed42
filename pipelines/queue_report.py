"""What the command says about a published queue, and about the assumptions behind it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from erp.queue_files import read_manifest, text_as_written

SHOWN, SHOWN_FIRST = 10, 5
RANK_ORDER = (
    "in rank order: by loss per unit within a product, and a line counts no more than the lines above it in its pool;"
    " sort by loss_if_waits for the biggest amounts"
)


def counted(number: float, noun: str) -> str:
    """Say how many there are of something.

    >>> counted(1, "unit"), counted(2.5, "unit"), counted(1200, "order line")
    ('1 unit', '2.5 units', '1,200 order lines')
    """
    return f"{number:,.10g} {noun}{'' if number == 1 else 's'}"


def published_text(out: str | Path) -> str:
    """Where the queue is, what it gives out, and its first lines with their reasons."""
    out = Path(out)
    queue, manifest = pd.read_parquet(out / "queue.parquet"), read_manifest(out)
    given = manifest["allocation"]
    currency = manifest["currency"]
    head = [
        f"{counted(len(queue), 'open back-ordered line')} ranked as of {manifest['as_of']}"
        f" in {out}/ (queue.csv, .xlsx, .parquet)",
        f"goods given out save {given['value']:,.2f} {currency}; the best possible is at most {given['bound']:,.2f}",
        f"{manifest['plan']['lost']:,.2f} {currency} are expected to be lost by waiting all the same; with these and"
        f" later goods no plan loses less than {manifest['plan']['bound']:,.2f}",
        _inbound(manifest["inbound"], currency),
        RANK_ORDER,
        "",
        *_look_first(out),
    ]
    return "\n".join([*head, "", *(_row(line) for line in queue.head(SHOWN).itertuples())])


def _look_first(out: Path) -> list[str]:
    """What a planner must look at before trusting the queue: how much, and the worst of it."""
    listed = pd.read_csv(out / "exceptions.csv", dtype="str", keep_default_na=False)
    if listed.empty:
        return ["nothing to look at first (exceptions.csv)"]
    more = f", the worst {SHOWN_FIRST}" if len(listed) > SHOWN_FIRST else ""
    head = f"look first at {counted(len(listed), 'thing')} (exceptions.csv, first sheet of queue.xlsx){more}:"
    return [head, *(_exception(each) for each in listed.head(SHOWN_FIRST).itertuples())]


def _exception(row: Any) -> str:
    line = f"{text_as_written(row.order_line_id)}: " if row.order_line_id else ""
    return f"  - {line}{text_as_written(row.said)}"


def _inbound(said: Mapping[str, float], currency: str) -> str:
    """What is late of the goods on order, and the money that waits on them and on goods not on order.

    >>> _inbound({"lines": 3, "overdue": 1, "loss_waiting_on_overdue": 12.5, "loss_waiting_on_nothing": 0.0}, "EUR")
    '1 of 3 inbound lines is overdue (inbound.csv); 12.50 EUR wait on it, 0.00 EUR on goods not ordered yet'
    """
    on_nothing = f"{said['loss_waiting_on_nothing']:,.2f} {currency}"
    if not said["lines"]:
        return f"no goods are on order; {on_nothing} wait on goods not ordered yet"
    is_one = said["overdue"] == 1
    late = f"{said['overdue']:,} of {counted(said['lines'], 'inbound line')} {'is' if is_one else 'are'} overdue"
    waits = f"{said['loss_waiting_on_overdue']:,.2f} {currency} wait on {'it' if is_one else 'them'}"
    return f"{late} (inbound.csv); {waits}, {on_nothing} on goods not ordered yet"


def _row(line: Any) -> str:
    place = f"{line.rank:>3}. {line.order_line_id}  {_who(line)}"
    return f"{place}  {line.open_quantity:g} x {line.product_id}\n     {line.reason}"


def _who(line: Any) -> str:
    """The customer's name, else id; nobody is known behind an anonymous line."""
    known = [text for text in (line.customer_name, line.customer_id) if pd.notna(text)]
    return str(known[0]) if known else "anonymous"


def sensitivity_facts(out: str | Path) -> list[dict[str, Any]]:
    """One dict per assumption, by falling regret."""
    return pd.read_csv(Path(out) / "sensitivity.csv").to_dict("records")  # type: ignore[return-value]


def sensitivity_text(out: str | Path) -> str:
    """How far each assumption moves money and lines at its ends, and what is regretted if it is wrong."""
    table = pd.read_csv(Path(out) / "sensitivity.csv")
    head = (
        f"{table['lost_base'].iloc[0]:,.2f} are expected to be lost by lines passed over today; if an assumption is at"
        f" its low or high end ({out}/sensitivity.csv):"
    )
    return "\n".join([head, *(_assumption(row) for row in table.to_dict("records"))])


def _assumption(row: Mapping[Any, Any]) -> str:
    """What one assumption moves, and what the decision made loses then.

    >>> ends = {"lost_low": 90.0, "lost_high": 120.0, "n_lines_changed_low": 0, "n_lines_changed_high": 3}
    >>> _assumption({"field": "a", "base": 2, "low": 1, "high": 4, "lost_base": 100.0, "regret": 0.5} | ends)
    'a 2 (1 to 4): money -10.00 to +20.00, lines that ship other units 0 and 3, regret 0.50'
    """
    ends = [row[f"lost_{end}"] - row["lost_base"] for end in ("low", "high")]
    moved = [row[f"n_lines_changed_{end}"] for end in ("low", "high")]
    return (
        f"{row['field']} {row['base']:g} ({row['low']:g} to {row['high']:g}): money {ends[0]:+,.2f} to {ends[1]:+,.2f},"
        f" lines that ship other units {moved[0]} and {moved[1]}, regret {row['regret']:,.2f}"
    )
