"""A company in Tryton from its back orders to the warehouse and back: read, ranked, assigned, shipped, read again."""

import json
import time
from datetime import UTC, date, datetime

import pytest

from erp.settings import Site
from erp.simulator import CompanyShape, close, simulate
from erp.tryton_rpc import Tryton
from pipelines.delivery import apply, undo
from pipelines.jobs import morning
from tests.pipelines.small_company import TINY_T, queue_of, waiting_lines, write_tables
from tests.tryton_server import PASSWORD, TrytonServer, kept_copy, skip_without_tryton

pytestmark = pytest.mark.slow
SHAPE = CompanyShape(n_customers=100, n_products=8, n_days=150, safety_days=-8, median_gap_days=15.0, seed=903)
SHIPMENT, WIZARD = "stock.shipment.out", "wizard.stock.shipment.assign"


@pytest.fixture
def tables():
    return close(simulate(SHAPE))


@pytest.fixture
def tryton(tmp_path, tables):
    """Serve a company whose history ends today; gives the server and the sale line of each order line."""
    skip_without_tryton()
    server = TrytonServer(tmp_path / "tryton", "erp", "sqlite:///")
    kept_copy(server, "empty")
    write_tables(tables, tmp_path / "tables")
    days = (date.today() - TINY_T.date()).days
    sold = json.loads(server.run("tests.tryton_history", tmp_path / "tables", days))["sold"]
    server.start()
    yield server, {name: str(line) for name, line in sold.items()}
    server.stop()


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def assigned(clerk: Tryton) -> dict[str, float]:
    """Goods assigned to each line, from the moves to their lines."""
    found = clerk.search_read("stock.move", [["state", "=", "assigned"]], ["internal_quantity", "origin.origin"])
    totals: dict[str, float] = {}
    for move in found:
        line = move["origin."]["origin"].split(",")[1]
        totals[line] = totals.get(line, 0) + move["internal_quantity"]
    return totals


def ship_all_that_is_assigned(clerk: Tryton) -> None:
    """Ship as the warehouse does: of a shipment in part what is there, by the wizard's Ignore."""
    fields = ["state", "partially_assigned"]
    for shipment in clerk.search_read(SHIPMENT, [["state", "in", ["waiting", "assigned"]]], fields):
        ids = [shipment["id"]]
        if shipment["partially_assigned"]:
            ignore_the_rest(clerk, ids[0])
        elif shipment["state"] == "waiting":
            continue
        for button in ("pick", "pack", "do"):
            clerk.model(SHIPMENT, button, ids)


def ignore_the_rest(clerk: Tryton, shipment: int) -> None:
    session, start, _ = clerk.call(f"{WIZARD}.create", clerk.context)
    context = {**clerk.context, "active_model": SHIPMENT, "active_id": shipment, "active_ids": [shipment]}
    shown = clerk.call(f"{WIZARD}.execute", session, {}, start, context)
    moves = shown["view"]["defaults"]["moves"]
    clerk.call(f"{WIZARD}.execute", session, {"partial": {"moves": moves}}, "ignore", context)


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
    waiting = waiting_lines(tables, TINY_T)
    open_before = dict(zip(queue["order_line_id"], queue["open_quantity"], strict=True))
    assert open_before == {sold[row.order_line_id]: row.open_quantity for row in waiting.itertuples()}

    given = queue[queue["ship_now_quantity"] > 0]
    wished = dict(zip(given["order_line_id"], given["ship_now_quantity"], strict=True))
    assert wished, "a company with nothing to give out shows nothing"
    first = apply(site)
    assert (first.ending, first.not_taken, first.differ) == ("written", {}, ())
    with server.session() as clerk:
        assert assigned(clerk) == wished
        assert apply(site).ending == "nothing to write"
        assert undo(site).ending == "written"
        assert assigned(clerk) == {}
        assert apply(site).ending == "written"
        assert assigned(clerk) == wished
        ship_all_that_is_assigned(clerk)

    time.sleep(1)  # mornings are told to the second: what left within this one is known in the next
    morning(site, now())
    again = queue_of(site)
    left = {line: quantity - wished.get(line, 0) for line, quantity in open_before.items()}
    open_now = dict(zip(again["order_line_id"], again["open_quantity"], strict=True))
    assert open_now == {line: quantity for line, quantity in left.items() if quantity > 0}
    assert apply(site).ending in ("written", "nothing to write")
