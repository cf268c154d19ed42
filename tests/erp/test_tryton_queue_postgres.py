"""The Tryton destination with PostgreSQL under it: as fast as promised, and a database that restarts in the middle."""

import threading
import time
from collections.abc import Iterator

import pytest

import tests.benchmarks.tryton as bench
from erp.tryton_rpc import TrytonError
from tests.postgres_server import PostgresServer
from tests.tryton_server import TrytonServer, tryton_on_postgres

pytestmark = pytest.mark.slow
N = 80  # tests/benchmarks/tryton.py times 500


@pytest.fixture(scope="module")
def tryton(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[TrytonServer]:
    with tryton_on_postgres(tmp_path_factory.mktemp("tryton"), postgres) as server:
        server.happen("orders", N)
        server.start()
        yield server


def test_every_shipment_holds_what_the_queue_gives_and_a_second_apply_writes_nothing(tryton):
    _, differ, written_again = bench.delivered(tryton, N)
    assert (differ.value, written_again.value) == (0, 0)


def test_a_restart_of_the_database_in_the_middle_loses_nothing(tryton, postgres):
    with bench.opened(tryton) as queue:
        lines = queue.session.search_read("sale.line", [["sale.state", "=", "processing"]], ["quantity", "sale"])
        first = {line["sale"] for line in lines[:N]}  # others than those that have the goods now
        rows = [bench.row(line, line["sale"] in first) for line in lines]
        items = bench.changes(queue, rows)
        assert items
        crash = threading.Timer(1.0, postgres.restart)
        crash.start()
        states = {outcome.key: outcome.state for outcome in queue.send(items)}
        crash.join()
        assert set(states.values()) == {"unknown"}
        for _ in range(60):
            open_items = [item for item in items if states[item.key] in ("unknown", "absent")]
            if not open_items:
                break
            try:
                asked = queue.ask(open_items)
                states |= {outcome.key: outcome.state for outcome in asked}
                absent = [item for item in open_items if states[item.key] == "absent"]
                states |= {outcome.key: outcome.state for outcome in queue.send(absent)}
            except TrytonError:  # it still starts
                pass
            time.sleep(0.5)
        assert set(states.values()) == {"accepted"}
        assert bench.changes(queue, rows) == []
