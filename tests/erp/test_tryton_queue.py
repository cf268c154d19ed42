"""The Tryton destination against a real server: exact goods, dates and notes, and what dies in the middle."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest

from erp.destination import Item
from erp.settings import SettingsError, Site
from erp.tryton_queue import TrytonQueue
from erp.tryton_rpc import Tryton
from tests.tryton_server import PASSWORD, TrytonServer, losing_answers, tryton_on_sqlite

SHIPMENT = "stock.shipment.out"
TODAY = date(2026, 11, 23)
# Order lines of the company `small`, as Tryton numbers them: customer and product.
LOW_A, LOW_B, MID_A, VIP_A, VIP_B, NEW_A, NEW_B = "1234567"
WRITES = ("wait", "draft", "write", "assign_try", "create", "delete")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    with tryton_on_sqlite(tmp_path_factory.mktemp("tryton"), "small") as server:
        yield server


@pytest.fixture
def tryton(home: TrytonServer) -> TrytonServer:
    """Give the company as it was before anything was delivered, behind one running server."""
    home.restore("small")
    return home


@pytest.fixture
def queue(tryton: TrytonServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrytonQueue]:
    with opened(tryton, monkeypatch) as destination:
        yield destination


@contextmanager
def opened(tryton: TrytonServer, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Iterator[TrytonQueue]:
    monkeypatch.setenv("BACKORDER_DESTINATION_PASSWORD", PASSWORD)
    destination = TrytonQueue.from_table({"url": tryton.url(), **settings}, Site())
    with destination.opened():
        yield destination


def rows(goods: dict[str, float], days: dict[str, int] | None = None) -> list[dict[str, object]]:
    """Rows of a queue, best first."""
    return [
        {
            "order_line_id": line,
            "ship_now_quantity": quantity,
            "expected_latest_on": TODAY + timedelta(days=(days or {}).get(line, 0)),
            "reason": f"why {line}",
        }
        for line, quantity in goods.items()
    ]


def items_of(destination: TrytonQueue, goods: dict[str, float], days=None, run: str = "a" * 64) -> list[Item]:
    """What the delivery would send: wishes that differ from what is held."""
    wishes = destination.wishes(rows(goods, days))
    held = destination.held(list(wishes))
    items = []
    for place, (line, values) in enumerate(wishes.items(), start=1):
        there = held.get(line)
        if there is None or any(there.values.get(name) != value for name, value in values.items()):
            previous, version = (there.values, there.version) if there else (None, None)
            items.append(Item(run, line, 1, place, values, previous, version))
    return items


def deliver(destination: TrytonQueue, goods: dict[str, float], days=None) -> dict[str, str]:
    items = items_of(destination, goods, days)
    outcomes = {outcome.key: outcome for outcome in destination.send(items)}
    return {item.order_line_id: outcomes[item.key].state for item in items}


def assigned(tryton: TrytonServer) -> dict[str, float]:
    """Goods assigned to each line, asked in another way than the destination asks: from the moves to their lines."""
    with tryton.session() as session:
        found = session.search_read("stock.move", [["state", "=", "assigned"]], ["quantity", "origin.origin"])
        totals: dict[str, float] = {}
        for move in found:
            line = move["origin."]["origin"].split(",")[1]
            totals[line] = totals.get(line, 0) + move["quantity"]
        return totals


def states(session: Tryton) -> list[str]:
    return [shipment["state"] for shipment in session.search_read(SHIPMENT, [], ["state"])]


def writes(session: Tryton) -> list[str]:
    return [call for call in session.calls if call.rpartition(".")[2] in WRITES]


RANKED = {VIP_A: 9, VIP_B: 2, NEW_A: 1, NEW_B: 1, LOW_A: 0, LOW_B: 1, MID_A: 0}


def test_the_best_customer_gets_all_of_its_goods_where_entry_order_gave_one_of_eleven(tryton, queue):
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [1, 2, 3, 4])
    assert assigned(tryton) == {LOW_A: 8, LOW_B: 3, MID_A: 2, VIP_B: 1}
    assert set(deliver(queue, RANKED).values()) == {"accepted"}
    assert assigned(tryton) == {VIP_A: 9, VIP_B: 2, NEW_A: 1, NEW_B: 1, LOW_B: 1}
    assert states(queue.session) == ["waiting", "waiting", "assigned", "assigned"]


def test_a_second_delivery_writes_nothing_even_if_it_is_sent(queue):
    items = items_of(queue, RANKED)
    queue.send(items)
    assert items_of(queue, RANKED) == []
    before = len(writes(queue.session))
    assert {outcome.state for outcome in queue.send(items)} == {"accepted"}
    assert before > 0
    assert len(writes(queue.session)) == before


def test_a_shipment_gets_the_goods_of_one_line_though_stock_for_the_other_lies_idle(tryton, queue):
    assert set(deliver(queue, {LOW_A: 8, LOW_B: 0, VIP_A: 0, VIP_B: 2}).values()) == {"accepted"}
    assert assigned(tryton) == {LOW_A: 8, VIP_B: 2}
    assert states(queue.session) == ["waiting"] * 4
    # What was not given is still asked for: the ERP's own button may give it later.
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [1])
    assert assigned(tryton) == {LOW_A: 8, LOW_B: 2, VIP_B: 2}


def test_goods_swap_between_two_shipments_that_each_get_one_of_two_lines(tryton, queue):
    deliver(queue, {LOW_A: 8, LOW_B: 0, VIP_A: 2, VIP_B: 2, NEW_A: 0, NEW_B: 0, MID_A: 0})
    deliver(queue, {LOW_A: 0, LOW_B: 3, VIP_A: 9, VIP_B: 0, NEW_A: 0, NEW_B: 1, MID_A: 1})
    assert assigned(tryton) == {LOW_B: 3, VIP_A: 9, NEW_B: 1, MID_A: 1}


def test_a_line_that_the_queue_does_not_name_keeps_its_goods(tryton, queue):
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [1])  # 8 A and 3 B to low
    deliver(queue, {LOW_A: 5, MID_A: 5})
    assert assigned(tryton) == {LOW_A: 5, LOW_B: 3, MID_A: 5}


def test_planned_dates_follow_the_earliest_line_of_a_shipment(queue):
    deliver(queue, RANKED, {LOW_A: 30, LOW_B: 9, MID_A: 12})
    planned = {s["id"]: s["planned_date"] for s in queue.session.search_read(SHIPMENT, [], ["planned_date"])}
    assert planned == {1: TODAY + timedelta(9), 2: TODAY + timedelta(12), 3: TODAY, 4: TODAY}
    assert items_of(queue, RANKED, {LOW_A: 30, LOW_B: 9, MID_A: 12}) == []


def test_dates_stay_where_no_column_is_named_for_them(tryton, monkeypatch):
    with opened(tryton, monkeypatch, planned_date="") as queue:
        assert queue.date_column is None
        deliver(queue, RANKED, {LOW_A: 30, LOW_B: 30})
        assert {s["planned_date"] for s in queue.session.search_read(SHIPMENT, [], ["planned_date"])} == {TODAY}


def test_the_reason_stands_in_a_note_with_run_and_key(queue):
    items = items_of(queue, RANKED)
    queue.send(items)
    domain = [["resource", "in", [f"{SHIPMENT},{shipment}" for shipment in (1, 2, 3, 4)]]]
    found = queue.session.search_read("ir.note", domain, ["resource", "message"])
    notes = {note["resource"]: note["message"] for note in found}
    assert sorted(notes) == [f"{SHIPMENT},1", f"{SHIPMENT},3", f"{SHIPMENT},4"]  # mid gets nothing and had nothing
    key = next(item.key for item in items if item.order_line_id == VIP_A)
    assert all(part in notes[f"{SHIPMENT},3"] for part in ("aaaaaaaaaaaa", "9 assigned", "why 4", key))


def test_a_note_leaves_out_who_pinned_a_line_and_why(queue):
    (row,) = rows({VIP_A: 9})
    words = {
        "override_who": "Ada",
        "override_why": "Mr Canary called",
        "reason": "Ships: pinned by Ada: Mr Canary called.",
    }
    assert queue.wishes([row | words])[VIP_A]["reason"] == "Ships: pinned."


def test_picked_shipments_are_left_alone(tryton, queue):
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [1])
        clerk.model(SHIPMENT, "pick", [1])
    held = queue.held([LOW_A, MID_A])
    assert (held[LOW_A].may_change, held[LOW_A].why_not) == (False, "its shipment is picked in Tryton")
    assert held[MID_A].may_change
    assert deliver(queue, {LOW_A: 1, MID_A: 2}) == {LOW_A: "skipped", MID_A: "accepted"}
    with tryton.session() as clerk:
        assert states(clerk)[0] == "picked"


def test_what_a_clerk_changed_since_it_was_read_is_skipped_and_the_rest_is_written(tryton, queue):
    items = items_of(queue, RANKED)
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "write", [3], {"reference": "call first"})
    outcomes = {outcome.key: outcome for outcome in queue.send(items)}
    said = {item.order_line_id: outcomes[item.key] for item in items}
    assert {line for line, outcome in said.items() if outcome.state == "skipped"} == {VIP_A, VIP_B}
    assert said[VIP_A].answer == "somebody changed its shipment since it was read"
    assert assigned(tryton) == {NEW_A: 1, NEW_B: 1, LOW_B: 1}


def test_what_the_erps_own_assignment_changed_meanwhile_is_skipped_too(tryton, queue):
    items = items_of(queue, RANKED)
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [2])  # changes moves, not the shipment's own record, if it is in part
        clerk.model(SHIPMENT, "assign_try", [3])
    skipped = {item.order_line_id for item in items for o in queue.send([item]) if o.state == "skipped"}
    assert {VIP_A, VIP_B} <= skipped


def test_goods_that_are_not_there_are_refused_line_by_line(tryton, queue):
    outcomes = deliver(queue, {VIP_A: 9, MID_A: 6, LOW_A: 0, LOW_B: 0, NEW_A: 0, NEW_B: 0, VIP_B: 0})
    assert outcomes[VIP_A] == "accepted"
    assert outcomes[MID_A] == "refused"
    assert assigned(tryton) == {VIP_A: 9, MID_A: 1}


def test_a_line_that_tryton_does_not_know_is_refused(queue):
    assert deliver(queue, {"4711": 1, "no number": 1}) == {"4711": "refused", "no number": "refused"}


def test_undo_restores_goods_and_dates(tryton, queue):
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [1, 2, 3, 4])
    before = assigned(tryton)
    items = items_of(queue, RANKED, {LOW_A: 9, LOW_B: 9})
    queue.send(items)
    assert assigned(tryton) != before
    held = queue.held([item.order_line_id for item in items])
    back = [
        Item(
            "a" * 64,
            i.order_line_id,
            2,
            i.place,
            i.previous,
            held[i.order_line_id].values,
            held[i.order_line_id].version,
        )
        for i in items
    ]
    assert {outcome.state for outcome in queue.send(back)} == {"accepted"}
    assert assigned(tryton) == before
    assert states(queue.session) == ["assigned", "waiting", "waiting", "waiting"]
    assert {s["planned_date"] for s in queue.session.search_read(SHIPMENT, [], ["planned_date"])} == {TODAY}


LOST_AFTER = [f"{SHIPMENT}.wait", f"{SHIPMENT}.draft", "stock.move.delete", f"{SHIPMENT}.assign_try", "ir.note.create"]


@pytest.mark.parametrize(
    ("call", "before"), [(f"{SHIPMENT}.assign_try", True), *((call, False) for call in LOST_AFTER)]
)
def test_an_answer_lost_anywhere_is_unknown_and_sending_again_completes_it(tryton, monkeypatch, call, before):
    goods, days = {VIP_A: 9, VIP_B: 0, LOW_A: 0, LOW_B: 3, NEW_A: 1, NEW_B: 1, MID_A: 0}, {LOW_A: 5, LOW_B: 5}
    with losing_answers(tryton, f"model.{call}", before) as port:
        monkeypatch.setenv("BACKORDER_DESTINATION_PASSWORD", PASSWORD)
        dying = TrytonQueue.from_table({"url": tryton.url(port=port)}, Site())
        with dying.opened():
            items = items_of(dying, goods, days)
            assert {outcome.state for outcome in dying.send(items)} == {"unknown"}
    with opened(tryton, monkeypatch) as queue:
        asked = {outcome.key: outcome.state for outcome in queue.ask(items)}
        assert set(asked.values()) <= {"accepted", "absent"}
        assert "absent" in asked.values() or call == "ir.note.create"
        again = [item for item in items if asked[item.key] == "absent"]
        assert {outcome.state for outcome in queue.send(again)} <= {"accepted"}
        assert items_of(queue, goods, days) == []
        assert assigned(tryton) == {line: quantity for line, quantity in goods.items() if quantity}
        assert states(queue.session) == ["waiting", "waiting", "waiting", "assigned"]


def test_secrets_and_unknown_settings_are_refused_without_being_repeated(tmp_path: Path):
    with pytest.raises(SettingsError, match="unknown color; known are"):
        TrytonQueue.from_table({"url": "tryton+http://robot@127.0.0.1/erp", "color": 1}, Site())
    with pytest.raises(SettingsError) as caught:
        TrytonQueue.from_table({"url": "tryton+http://robot:geheim@127.0.0.1/erp"}, Site())
    assert "geheim" not in str(caught.value)
    with pytest.raises(SettingsError, match="planned_date"):
        TrytonQueue.from_table({"url": "tryton+http://robot@127.0.0.1/erp", "planned_date": "rank"}, Site())
