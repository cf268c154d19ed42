import pytest

from erp.destination import Item
from erp.ledger import Ledger, LedgerError, lock_store
from erp.outbox import KEPT_DELIVERIES, Outbox


@pytest.fixture
def outbox(tmp_path):
    with lock_store(tmp_path) as ledger:
        yield Outbox(ledger)


def item(line, rank, sequence=0, place=1):
    return Item("run", line, sequence, place, None if rank is None else {"rank": rank})


def deliver(outbox, destination, *items, state="accepted"):
    delivery = outbox.begin("run", destination, "apply", "Ada")
    sent = [item(line, rank, delivery.id, place) for place, (line, rank) in enumerate(items, start=1)]
    outbox.add(delivery, sent)
    outbox.mark([each.key for each in sent], state)
    outbox.close(delivery)
    return delivery


def test_a_key_names_run_delivery_line_and_content():
    keys = {
        each.key
        for each in (item("a", 1), item("a", 2), item("b", 1), item("a", 1, 2), item("a", None), item("a", 1, place=9))
    }
    assert len(keys) == 5  # the place is no content: it only orders the sending
    assert Item("run", "a", 0, 1, {"x": 1, "y": 2}).key == Item("run", "a", 0, 1, {"y": 2, "x": 1}).key


def test_items_come_back_as_they_were_noted_in_their_order(outbox):
    delivery = outbox.begin("run", "table", "apply", "Ada")
    noted = [
        Item("run", line, delivery.id, place, {"q": 1.5}, {"q": None}, "v1") for place, line in [(2, "x"), (1, "y")]
    ]
    outbox.add(delivery, noted)
    assert outbox.items(delivery) == noted[::-1]


def test_all_items_of_a_delivery_are_noted_or_none(outbox):
    delivery = outbox.begin("run", "table", "apply", "Ada")
    with pytest.raises(Exception, match=r"(?i)unique"):
        outbox.add(delivery, [item("a", 1, delivery.id), item("b", 2, delivery.id), item("a", 1, delivery.id)])
    assert outbox.items(delivery) == []


def test_one_delivery_at_a_time_is_open_at_a_destination(outbox):
    outbox.begin("run", "table", "apply", "Ada")
    another = outbox.begin("run", "another", "apply", "Ada")
    outbox.add(another, [item("a", 1, another.id), item("b", 2, another.id)])
    with pytest.raises(LedgerError, match="an earlier delivery to table is not finished"):
        outbox.begin("next", "table", "apply", "Ada")
    assert outbox.waiting("pending", "sending") == {"another": 2}
    outbox.close(another)
    assert outbox.waiting("pending") == {}


def test_a_store_that_was_made_anew_goes_on_with_later_sequences(tmp_path):
    sequences = []
    for store in ("lost", "new"):
        with lock_store(tmp_path / store) as ledger:
            outbox = Outbox(ledger)
            sequences += [deliver(outbox, "table", ("a", rank)).id for rank in range(3)]
    assert sequences == sorted(set(sequences))


def test_what_was_accepted_last_is_remembered_for_each_line(outbox):
    deliver(outbox, "table", ("a", 1), ("b", 2), ("c", 3))
    deliver(outbox, "table", ("a", 9), ("b", None))
    deliver(outbox, "table", ("c", 4), state="refused")
    deliver(outbox, "another", ("a", 5))
    assert outbox.remembered("table") == {"a": {"rank": 9}, "c": {"rank": 3}}


def test_old_items_are_forgotten_but_never_what_a_line_says_now(outbox):
    deliver(outbox, "table", ("a", 0), ("still", 7), ("gone", 1))
    deliver(outbox, "table", ("gone", None))
    for rank in range(1, KEPT_DELIVERIES + 1):
        deliver(outbox, "table", ("a", rank))
    before = outbox.remembered("table")
    outbox.forget("table")
    assert outbox.remembered("table") == before == {"a": {"rank": KEPT_DELIVERIES}, "still": {"rank": 7}}
    left = outbox.ledger.read("select count(*) as n from outbox")[0]["n"]
    # those of the last KEPT_DELIVERIES, what `still` says, and that `gone` was taken out
    assert left == KEPT_DELIVERIES + 2


def test_nothing_is_noted_by_a_process_that_does_not_hold_the_store(outbox, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    with lock_store(elsewhere):
        pass
    with pytest.raises(LedgerError, match="does not hold the store"):
        Outbox(Ledger(elsewhere)).begin("run", "table", "apply", "Ada")
