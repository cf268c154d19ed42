"""What the command says about a published queue and about one line of it."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from erp.ledger import Ledger, LedgerError
from erp.queue_files import read_manifest
from erp.settings import Site

SHOWN = 10


def published_text(out: str | Path) -> str:
    """Where the queue is, what it gives out, and its first lines with their reasons."""
    out = Path(out)
    queue, manifest = pd.read_parquet(out / "queue.parquet"), read_manifest(out)
    given = manifest["allocation"]
    currency = manifest["currency"]
    head = [
        f"{len(queue)} open back-ordered lines ranked as of {manifest['as_of']} in {out}/ (queue.csv, .xlsx, .parquet)",
        f"goods given out save {given['value']:,.2f} {currency}; the best possible is at most {given['bound']:,.2f}",
    ]
    return "\n".join([*head, "", *(_row(line) for line in queue.head(SHOWN).itertuples())])


def _row(line: object) -> str:
    place = f"{line.rank:>3}. {line.order_line_id}  {_who(line)}"  # type: ignore[attr-defined]
    return f"{place}  {line.open_quantity:g} x {line.product_id}\n     {line.reason}"  # type: ignore[attr-defined]


def _who(line: object) -> str:
    """The customer's name, else id; nobody is known behind an anonymous line."""
    known = [text for text in (line.customer_name, line.customer_id) if pd.notna(text)]  # type: ignore[attr-defined]
    return str(known[0]) if known else "anonymous"


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
    pool = queue[(queue["product_id"] == line["product_id"]) & (queue["warehouse_id"] == line["warehouse_id"])]
    served = pool[(pool["ship_now_quantity"] > 0) & (pool["order_line_id"] != line["order_line_id"])]
    terms = ("loss_cancel", "loss_future_orders", "loss_service", "loss_later_goods", "loss_if_waits")
    return [
        f"{line['order_line_id']}: {line['action']}, rank {line['rank']} of {len(queue)}",
        line["reason"],
        "",
        *(f"  {term:<20}{line[term]:>12,.2f} {line['currency']}" for term in terms),
        "",
        f"  cancels within 14 days if nobody ships: {line['p_cancel_14d']:.1%}",
        f"  customer's margin over the next 365 days: {line['lifetime_value']:,.2f} {line['currency']}",
        f"  waited {line['waited_days']} days;"
        f" ships {_day(line['expected_on'])}, by {_day(line['expected_latest_on'])}",
        f"  pool: rank {line['pool_rank']} of {line['pool_size']}, {line['available_now']:g} units here,"
        f" price {line['stock_price']:,.2f} per unit",
        f"  assumed: {line['assumed'] if pd.notna(line['assumed']) else 'nothing'}",
        *(f"  goods go to {each.order_line_id}: {each.ship_now_quantity:g} units" for each in served.itertuples()),
    ]


def _day(value: object) -> str:
    return "at no known date" if pd.isna(value) else f"{pd.Timestamp(str(value)):%Y-%m-%d}"
