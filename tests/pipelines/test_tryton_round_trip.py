"""A company in Tryton from its back orders to the warehouse and back: read, ranked, assigned, shipped, read again."""

import json
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from erp.settings import Site
from pipelines.delivery import apply
from pipelines.jobs import morning
from tests.pipelines.small_company import T, company_tables, queue_of, waiting_lines, write_tables
from tests.tryton_server import PASSWORD, TrytonServer, kept_copy, skip_without_tryton

pytestmark = pytest.mark.slow
SHIPMENT = "stock.shipment.out"


@pytest.fixture
def tables():
    return company_tables()


@pytest.fixture
def tryton(tmp_path, tables):
    """Serve a company whose history ends today; gives the server and the sale line of each order line."""
    skip_without_tryton()
    server = TrytonServer(tmp_path / "tryton", "erp", "sqlite:///")
    kept_copy(server, "empty")
    write_tables(tables, tmp_path / "tables")
    days = (date.today() - T.date()).days
    sold = json.loads(server.run("tests.tryton_history", tmp_path / "tables", days))["sold"]
    server.start()
    yield server, {name: str(line) for name, line in sold.items()}
    server.stop()


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def assigned(clerk) -> dict[str, float]:
    """Goods assigned to each line, from the moves to their lines."""
    found = clerk.search_read("stock.move", [["state", "=", "assigned"]], ["internal_quantity", "origin.origin"])
    totals: dict[str, float] = {}
    for move in found:
        line = move["origin."]["origin"].split(",")[1]
        totals[line] = totals.get(line, 0) + move["internal_quantity"]
    return totals


def test_back_orders_are_read_ranked_assigned_shipped_and_gone_the_next_morning(tryton, tables, tmp_path, monkeypatch):
    server, sold = tryton
    for purpose in ("DATA", "DESTINATION"):
        monkeypatch.setenv(f"BACKORDER_{purpose}_PASSWORD", PASSWORD)
    site = Site(
        data=server.url(),
        store=str(tmp_path / "store"),
        out=str(tmp_path / "out"),
        destination={"kind": "tryton", "url": server.url()},
        apply="auto",
        apply_max_lines=10_000,
        apply_max_slip_days=10_000,
        apply_max_money=1e9,
    )
    morning(site, now())
    queue = queue_of(site)

    waiting = waiting_lines(tables)
    expected = {sold[row.order_line_id]: row.open_quantity for row in waiting.itertuples()}
    assert dict(zip(queue["order_line_id"], queue["open_quantity"], strict=True)) == expected

    first = apply(site)
    assert first.ending == "written"
    assert not first.not_taken
    assert first.differ == ()
    given = queue[queue["ship_now_quantity"] > 0]
    wished = dict(zip(given["order_line_id"], given["ship_now_quantity"], strict=True))
    assert wished, "a company with nothing to give out shows nothing"
    with server.session() as clerk:
        assert assigned(clerk) == wished
        assert apply(site).ending == "nothing to write"

        ready = [s["id"] for s in clerk.search_read(SHIPMENT, [["state", "=", "assigned"]], ["state"])]
        moves = clerk.read_where("stock.move", "shipment", [f"{SHIPMENT},{s}" for s in ready], ["origin"])
        left = {move["origin"].split(",")[1] for move in moves if move["origin"].startswith("sale.line,")}
        for button in ("pick", "pack", "do"):
            clerk.model(SHIPMENT, button, ready)
    assert left, "no shipment was complete"

    later = now()
    morning(site, later)
    again = queue_of(site)
    assert pd.Timestamp(again["as_of"].iloc[0]).tz_localize(None) == pd.Timestamp(later)
    assert set(again["order_line_id"]) == set(queue["order_line_id"]) - left
    stock = {
        (product, warehouse): a
        for product, warehouse, a in zip(
            again["product_id"], again["warehouse_id"], again["available_now"], strict=True
        )
    }
    before = {
        (product, warehouse): a
        for product, warehouse, a in zip(
            queue["product_id"], queue["warehouse_id"], queue["available_now"], strict=True
        )
    }
    shipped = (
        given[given["order_line_id"].isin(left)].groupby(["product_id", "warehouse_id"])["ship_now_quantity"].sum()
    )
    for pool in stock.keys() & before.keys():
        assert stock[pool] == before[pool] - shipped.get(pool, 0)
