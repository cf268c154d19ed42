"""How fast a queue reaches Tryton and its tables are read, on PostgreSQL.

Run `python tests/benchmarks/tryton.py [--quick] [--json FILE]`. A Tryton 8.2 server on a PostgreSQL cluster of its own
holds 500 sales of two lines, each in a shipment of its own, and goods for half of them. Three queues give them to the
sales entered last, which Tryton would serve last, then to the others, then to the last again, and plan every shipment
anew. Seconds are wall seconds of calls to the destination; quick: 20 sales. Making the database takes minutes.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from erp.destination import Item
from erp.settings import Site
from erp.tryton_queue import TrytonQueue
from erp.tryton_source import read_tables
from tests.figures import Figure, measure
from tests.postgres_server import postgres_server
from tests.tryton_server import PASSWORD, TrytonServer, tryton_on_postgres

GOAL_SECONDS, GOAL_LINES_PER_MINUTE = 30.0, 20_000.0
WRITES = ("wait", "draft", "write", "assign_try", "create", "delete")


def main() -> None:
    """Measure, print, write."""
    measure(str(__doc__), lambda: figures(20), lambda: figures(500))


def figures(n: int) -> list[Figure]:
    """Make a company, read it, deliver to it."""
    with postgres_server() as postgres, TemporaryDirectory() as folder:
        with tryton_on_postgres(Path(folder), postgres) as server:
            server.happen("orders", n)
            server.start()
            return [read(server, Path(folder) / "tables"), *delivered(server, n)]


def read(server: TrytonServer, folder: Path) -> Figure:
    """How many order lines are read in a minute, all tables with them."""
    folder.mkdir()
    begun = time.perf_counter()
    read_tables(server.url(), PASSWORD, folder)
    seconds = time.perf_counter() - begun
    lines = len(pd.read_parquet(folder / "order_lines.parquet"))
    return Figure("order lines read in a minute", lines / seconds * 60, goal=GOAL_LINES_PER_MINUTE)


def delivered(server: TrytonServer, n: int) -> Iterator[Figure]:
    """Seconds of three queues, each of which gives other sales the goods: the middle, the least and the most."""
    with opened(server) as queue:
        lines = queue.session.search_read("sale.line", [["sale.state", "=", "processing"]], ["quantity", "sale"])
        lines = sorted(lines, key=lambda line: -line["id"])
        sales = sorted({line["sale"] for line in lines})
        served = [set(sales[n // 2 :]), set(sales[: n // 2]), set(sales[n // 2 :])]
        queues = [[row(line, line["sale"] in those) for line in lines] for those in served]
        told = [one_delivery(queue, rows) for rows in queues]
    seconds, differ, written = (sorted(values) for values in zip(*told, strict=True))
    yield Figure(f"{n} shipments: seconds", seconds[1], seconds[0], seconds[2], goal=GOAL_SECONDS, better="lower")
    yield Figure(f"{n} shipments: lines that differ", differ[-1], goal=0, better="lower")
    yield Figure(f"{n} shipments: write calls of a second apply", written[-1], goal=0, better="lower")


def one_delivery(queue: TrytonQueue, rows: list[dict[str, object]]) -> tuple[float, int, int]:
    """Seconds of a delivery, lines that read back as something else, write calls of the same delivery once more."""
    begun = time.perf_counter()
    items = changes(queue, rows)
    queue.send(items)
    seconds, before = time.perf_counter() - begun, n_writes(queue)
    differ = len(changes(queue, rows))
    queue.send(items)
    return seconds, differ, n_writes(queue) - before


def row(line: dict, is_served: bool) -> dict[str, object]:
    """A row of the queue."""
    return {
        "order_line_id": str(line["id"]),
        "ship_now_quantity": line["quantity"] if is_served else 0.0,
        "expected_latest_on": date.today() + timedelta(days=1 if is_served else 14),
        "reason": "goods are short, and this line loses most by waiting",
    }


def changes(queue: TrytonQueue, rows: list[dict[str, object]]) -> list[Item]:
    """What differs between queue and Tryton."""
    wishes = queue.wishes(rows)
    held = queue.held(list(wishes))
    return [
        Item("b" * 64, line, 1, place, wish, held[line].values, held[line].version)
        for place, (line, wish) in enumerate(wishes.items(), start=1)
        if any(held[line].values.get(name) != value for name, value in wish.items())
    ]


def n_writes(queue: TrytonQueue) -> int:
    """Calls so far that could write."""
    return sum(call.rpartition(".")[2] in WRITES for call in queue.session.calls)


@contextmanager
def opened(server: TrytonServer) -> Iterator[TrytonQueue]:
    """The destination, connected."""
    os.environ["BACKORDER_DESTINATION_PASSWORD"] = PASSWORD
    queue = TrytonQueue.from_table({"url": server.url()}, Site())
    with queue.opened():
        yield queue


if __name__ == "__main__":
    main()
