"""What the command says about a published queue and about one line of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from erp.ledger import Ledger, LedgerError
from erp.queue_files import read_manifest
from erp.settings import Site

SHOWN = 10
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
    ]
    return "\n".join([*head, "", *(_row(line) for line in queue.head(SHOWN).itertuples())])


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


def _row(line: object) -> str:
    place = f"{line.rank:>3}. {line.order_line_id}  {_who(line)}"  # type: ignore[attr-defined]
    return f"{place}  {line.open_quantity:g} x {line.product_id}\n     {line.reason}"  # type: ignore[attr-defined]


def _who(line: object) -> str:
    """The customer's name, else id; nobody is known behind an anonymous line."""
    known = [text for text in (line.customer_name, line.customer_id) if pd.notna(text)]  # type: ignore[attr-defined]
    return str(known[0]) if known else "anonymous"


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


def line_text(site: Site, order_line_id: str) -> str:
    """One line of the last published queue: its terms in money, its place, its dates, and who is served before it.

    Raises
    ------
    LedgerError
        If nothing was published in this store, or the line is not in the last queue.
    """
    published = Ledger(Path(site.store)).last_published(datetime.max.replace(tzinfo=UTC))
    if published is None:
        raise LedgerError(f"nothing was published from the store {site.store}; `backorder run` does it")
    queue = pd.read_parquet(published.queue)
    found = queue[queue["order_line_id"] == order_line_id]
    if found.empty:
        raise LedgerError(
            f"line {order_line_id!r} is not among the {len(queue)} lines of the queue as of {published.as_of:%Y-%m-%d};"
            " it is shipped, cancelled, not due yet, or set aside (not_ranked.csv)"
        )
    return "\n".join(_explained(found.iloc[0], queue))


def _explained(line: pd.Series, queue: pd.DataFrame) -> list[str]:
    terms = ("loss_cancel", "loss_future_orders", "loss_service", "loss_later_goods", "loss_if_waits")
    units = counted(line["open_quantity"], "unit")
    return [
        f"{line['order_line_id']}: {line['action']}, rank {line['rank']} of {len(queue)}",
        line["reason"],
        "",
        *(f"  {term:<20}{line[term]:>12,.2f} {line['currency']}" for term in terms),
        "",
        f"  cancels within 14 days if nobody ships: {line['p_cancel_14d']:.1%}",
        f"  customer's margin over the next 365 days: {_value(line)}",
        f"  waited {counted(line['waited_days'], 'day')} since the requested day or the order day",
        f"  {_promised(line)}",
        f"  {_expected(line, _today(queue))}",
        *_to_tell(line),
        f"  gets {line['ship_now_quantity']:,.10g} of {units}",
        f"  pool: rank {line['pool_rank']} of {line['pool_size']}, {counted(line['available_now'], 'unit')} here;"
        f" one more unit here would save {line['stock_price']:,.2f} {line['currency']}",
        f"  assumed: {line['assumed'] if pd.notna(line['assumed']) else 'nothing'}",
        *_others_served(line, queue),
    ]


def _value(line: pd.Series) -> str:
    expected = f"{line['lifetime_value']:,.2f} {line['currency']}"
    if pd.isna(line["lifetime_value_high"]):
        return expected
    low, high = line["lifetime_value_low"], line["lifetime_value_high"]
    return f"{expected} (nine of ten such customers: {low:,.2f} to {high:,.2f})"


def _promised(line: pd.Series) -> str:
    if pd.isna(line["promised_on"]):
        return "no date promised"
    days = int(line["days_late"])
    if days == 0:
        return f"promised {_day(line['promised_on'])}, which is today"
    off = f"{counted(days, 'day')} late" if days > 0 else f"{counted(-days, 'day')} before it"
    return f"promised {_day(line['promised_on'])}, {off}"


def _expected(line: pd.Series, today: pd.Timestamp) -> str:
    """When the line ships in full, and whether that may be told to the customer."""
    if line["action"] == "ship":
        return f"expected {_day(line['expected_on'])}: it ships now"
    if line["action"] == "hold":
        return "no date expected: the line is held"
    if pd.isna(line["expected_on"]):
        return "no date known: more likely than not nothing comes within the horizon"
    if "no inbound" in str(line["assumed"]):
        days = (pd.Timestamp(line["expected_on"]) - today).days
        return f"no date known; {counted(days, 'day')} assumed: do not promise it"
    latest = line["expected_latest_on"]
    by = "beyond the horizon" if pd.isna(latest) else _day(latest)
    return f"expected {_day(line['expected_on'])}, at the latest (promise quantile) {by}"


def _to_tell(line: pd.Series) -> list[str]:
    """The date to tell the customer, its chance, and why it is not the one told last."""
    if line["action"] == "hold":
        return []
    why = f" ({line['promise_changed_because']})" if pd.notna(line["promise_changed_because"]) else ""
    if pd.isna(line["promise_on"]):
        return [f"  no date can be told{why}"]
    known = pd.notna(line["promise_chance"])
    chance = f"met with a chance of {line['promise_chance']:.0%}" if known else "told before; its chance is not known"
    return [f"  date to tell {_day(line['promise_on'])}, {chance}{why}"]


def _today(queue: pd.DataFrame) -> pd.Timestamp:
    """The day on which the queue was made, in the clock of its site, which need not be the clock of who asks."""
    told = queue[queue["promised_on"].notna()]
    if told.empty:
        return pd.Timestamp(queue["as_of"].iloc[0]).normalize()
    return pd.Timestamp(told["promised_on"].iloc[0]) + pd.Timedelta(days=int(told["days_late"].iloc[0]))


def _others_served(line: pd.Series, queue: pd.DataFrame) -> list[str]:
    pool = queue[(queue["product_id"] == line["product_id"]) & (queue["warehouse_id"] == line["warehouse_id"])]
    served = pool[(pool["ship_now_quantity"] > 0) & (pool["order_line_id"] != line["order_line_id"])]
    says = "also ships:" if line["ship_now_quantity"] > 0 else "goods go to"
    return [f"  {says} {each.order_line_id}: {counted(each.ship_now_quantity, 'unit')}" for each in served.itertuples()]


def _day(value: object) -> str:
    return f"{pd.Timestamp(str(value)):%Y-%m-%d}"
