"""Apply and undo against servers that really run: a REST receiver that fails, and PostgreSQL."""

import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from erp.destination import DeliveryError
from erp.ledger import Ledger
from erp.postgres_queue import PostgresQueue
from erp.settings import Site
from pipelines.delivery import apply, undo
from tests.faulty_receiver import QUIET, STORM, Faults, faulty_receiver
from tests.pipelines.shelf import T, lines_of, publish_queue
from tests.postgres_server import PASSWORD

FIELDS = {"rank": "place", "ship_now_quantity": "goods", "promise_on": "due", "reason": "why"}
LATER = T + timedelta(days=1)


def some_queue(names):
    return lines_of(*((name, n % 3, "2026-03-20" if n % 2 else None, 10.0) for n, name in enumerate(names)))


LINES = [f"line {n}" for n in range(40)]
FIRST, NEXT = some_queue(LINES), some_queue([*LINES[10:], "new 1", "new 2"])


def site_for(tmp_path, destination):
    limits = {"apply_max_lines": 10**6, "apply_max_money": 1e9, "apply_max_slip_days": 10**4}
    return Site(store=str(tmp_path / "store"), destination=destination, apply="auto", **limits)


def finished(do, site):
    """Apply or undo until nothing is left open, as a job does that runs again."""
    for _ in range(10):
        if (done := do(site)).ending in ("written", "nothing to write"):
            return done
    raise AssertionError(f"still {done.ending}")


def says(queue):
    """What a destination says of each line, by its own names, stated from the queue itself."""
    rows = queue.assign(promise_on=queue["promise_on"].dt.strftime("%Y-%m-%d")).astype(object)
    rows = rows.where(rows.notna(), None).set_index("order_line_id")[list(FIELDS)]
    return rows.rename(columns=FIELDS).to_dict("index")


def held_by(receiver):
    return {line: {name: said[name] for name in FIELDS.values()} for line, said in receiver.lines().items()}


def state(site):
    return Ledger(Path(site.store)).runs()[0]["state"]


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("reads", [True, False])
def test_in_a_storm_the_receiver_says_the_queue_and_undo_brings_the_last_one_back(tmp_path, batch, reads):
    with faulty_receiver(tmp_path / "receiver", STORM) as receiver:
        more = {"batch": batch, "url": f"{receiver.address}/lines"} if batch > 1 else {}
        site = site_for(tmp_path, receiver.table(reads=reads, fields=FIELDS, **more))
        for queue, as_of, n_effects in ((FIRST, T, 40), (NEXT, LATER, 42)):  # all 32 lines move up, 10 leave
            publish_queue(Path(site.store), as_of, queue)
            before = receiver.effects()
            finished(apply, site)
            receiver.wait_for_late()
            # Confirmed is what was read back; who cannot be read took it by its own word.
            assert (held_by(receiver), state(site)) == (says(queue), "confirmed" if reads else "sent")
            assert receiver.effects() - before == n_effects
        assert finished(apply, site).ending == "nothing to write"
        finished(undo, site)
        receiver.wait_for_late()
        assert held_by(receiver) == says(FIRST)
        assert (receiver.doubles(), receiver.effects()) == (0, 40 + 42 + 42)


def wait_until(holds, seconds=30):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


def begun(do, site):
    """Begin an apply or undo beside this thread; what came of it stands in the list once the thread ended."""
    ended = []

    def work():
        try:
            ended.append(do(site).ending)
        except DeliveryError as error:
            ended.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, ended


def test_a_receiver_that_crashes_in_mid_delivery_is_finished_once_it_is_back(tmp_path):
    queue = some_queue([f"line {n}" for n in range(400)])
    with faulty_receiver(tmp_path / "receiver", QUIET) as receiver:
        site = site_for(tmp_path, receiver.table(fields=FIELDS, tries=2))
        publish_queue(Path(site.store), T, queue)
        thread, ended = begun(apply, site)
        wait_until(lambda: receiver.effects() >= 5)
        receiver.stop()
        thread.join(30)
        assert "cannot be reached" in ended[0]
        assert 5 <= receiver.effects() < 400
        receiver.start()
        assert finished(apply, site).resumed
        assert (held_by(receiver), receiver.doubles(), receiver.effects()) == (says(queue), 0, 400)
        assert state(site) == "confirmed"


def test_a_receiver_without_keys_waits_for_a_persons_word_and_gets_nothing_twice(tmp_path):
    with faulty_receiver(tmp_path / "receiver", Faults(lost_answer=0.5), keeps_keys=False) as receiver:
        site = site_for(tmp_path, receiver.table(keys=False, fields=FIELDS))
        publish_queue(Path(site.store), T, FIRST)
        assert apply(site).ending == "unfinished"
        n_carried_out = receiver.effects()
        assert apply(site).ending == "unfinished"
        assert (receiver.effects(), receiver.doubles()) == (n_carried_out, 0)
        apply(site, arrived=True)  # a person looked there: whatever had no answer arrived
        assert receiver.doubles() == 0


@pytest.fixture
def table(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("BACKORDER_DESTINATION_PASSWORD", PASSWORD)
    url = postgres.new_database() + "?schema=shop"
    return site_for(tmp_path, {"kind": "postgresql", "url": url, "fields": FIELDS})


def current(postgres, site):
    query = f"select order_line_id, {', '.join(FIELDS.values())} from shop.backorder_queue_current"
    with postgres.connect(site.destination["url"].split("?")[0]) as connection:
        rows = connection.execute(query).fetchall()
    said = {line: dict(zip(FIELDS.values(), values, strict=True)) for line, *values in rows}
    return {line: {**values, "due": values["due"] and values["due"].isoformat()} for line, values in said.items()}


def test_the_table_says_each_queue_in_turn_and_undo_brings_the_last_one_back(postgres, table):
    for queue, as_of in ((FIRST, T), (NEXT, LATER)):
        publish_queue(Path(table.store), as_of, queue)
        assert apply(table).ending == "written"
        assert (current(postgres, table), state(table)) == (says(queue), "confirmed")
        assert apply(table).ending == "nothing to write"
    assert undo(table).ending == "written"
    assert (current(postgres, table), state(table)) == (says(FIRST), "published")


def test_a_row_that_somebody_typed_over_is_written_again_by_apply_and_left_alone_by_undo(postgres, table):
    publish_queue(Path(table.store), T, FIRST)
    apply(table)
    with postgres.connect(table.destination["url"].split("?")[0]) as connection:
        connection.execute("update shop.backorder_queue set goods = 99 where order_line_id = 'line 3'")
    assert undo(table).plan.left_alone == {"line 3": "it was changed since; what it says now stays"}
    assert list(current(postgres, table)) == ["line 3"]
    assert apply(table).ending == "written"
    assert current(postgres, table) == says(FIRST)


def test_a_restart_of_postgresql_in_mid_apply_loses_nothing(postgres, table):
    publish_queue(Path(table.store), T, FIRST)
    with PostgresQueue.from_table({k: v for k, v in table.destination.items() if k != "kind"}, table).opened():
        pass  # the tables are there, so that one can be locked
    with closing(postgres.connect(table.destination["url"].split("?")[0])) as blocker:
        blocker.execute("begin; lock table shop.backorder_queue_history in exclusive mode")
        thread, ended = begun(apply, table)
        waiting = "select 1 from pg_locks where not granted and relation = 'shop.backorder_queue_history'::regclass"
        wait_until(lambda: blocker.execute(waiting).fetchone())
        postgres.restart()
    thread.join(60)
    assert (ended, current(postgres, table), state(table)) == (["written"], says(FIRST), "confirmed")
