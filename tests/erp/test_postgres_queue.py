import socket
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

import pytest

from erp.destination import DeliveryError, Item
from erp.postgres_queue import PostgresQueue, PostgresSettings
from erp.settings import SettingsError, Site
from tests.postgres_server import PASSWORD, USER

FIELDS = {"rank": "rank", "ship_now_quantity": "quantity", "promise_on": "promise_on", "reason": "reason"}
URL = "postgresql://backorder@erp/sales?schema=shop"


def rows(*lines, quantity=1.0):
    return [
        {"order_line_id": line, "rank": place, "ship_now_quantity": quantity, "promise_on": None, "reason": "because"}
        for place, line in enumerate(lines, start=1)
    ]


def items(wishes, sequence, held=None, run_id="r1"):
    there = held or {}
    wanted = {**wishes, **{line: None for line in there if line not in wishes}}
    return [
        Item(run_id, line, sequence, place, values, None, there[line].version if line in there else None)
        for place, (line, values) in enumerate(wanted.items(), start=1)
    ]


@pytest.fixture
def queue(postgres):
    settings = PostgresSettings(postgres.new_database() + "?schema=shop", FIELDS, reconnect_seconds=20)
    queue = PostgresQueue(settings, PASSWORD)
    with queue.opened():
        yield queue


def delivered(queue, sequence, *lines, quantity=1.0):
    sent = items(queue.wishes(rows(*lines, quantity=quantity)), sequence, queue.held([]), f"r{sequence}")
    return {outcome.state for outcome in queue.send(sent)}


def looked_up(postgres, queue, query):
    with postgres.connect(queue.settings.url.split("?")[0]) as connection:
        return connection.execute(query).fetchall()


def test_the_current_view_shows_the_queue_and_what_left_it_stays_as_history(postgres, queue):
    assert delivered(queue, 1, "a", "b") == {"accepted"}
    assert delivered(queue, 2, "c", "a") == {"accepted"}
    current = looked_up(
        postgres, queue, "select order_line_id, rank, quantity, run_id from shop.backorder_queue_current"
    )
    assert sorted(current) == [("a", 2, 1.0, "r2"), ("c", 1, 1.0, "r2")]
    history = "select order_line_id, sequence, in_queue, rank from shop.backorder_queue_history order by 2, 1"
    assert looked_up(postgres, queue, history) == [
        ("a", 1, True, 1),
        ("b", 1, True, 2),
        ("a", 2, True, 2),
        ("b", 2, False, None),
        ("c", 2, True, 1),
    ]
    assert set(queue.held([])) == {"a", "c"}


def test_what_is_held_reads_back_as_it_was_wished(queue):
    wishes = queue.wishes([{**rows("a")[0], "ship_now_quantity": 0.1 + 0.2, "promise_on": "2026-03-09"}])
    queue.send(items(wishes, 1))
    assert queue.held([])["a"].values == wishes["a"]
    assert wishes["a"]["promise_on"] == "2026-03-09"
    assert queue.date_column == "promise_on"


def test_the_same_items_sent_twice_are_written_once(postgres, queue):
    sent = items(queue.wishes(rows("a", "b")), 1)
    assert queue.send(sent) != queue.send(sent)
    assert {outcome.state for outcome in queue.send(sent)} == {"accepted"}
    assert looked_up(postgres, queue, "select count(*) from shop.backorder_queue_history") == [(2,)]


def test_whether_a_key_arrived_can_be_asked(queue):
    sent, never = items(queue.wishes(rows("a", "b")), 1), items(queue.wishes(rows("a")), 2)
    queue.send(sent)
    assert [outcome.state for outcome in queue.ask([*sent, *never])] == ["accepted", "accepted", "absent"]


def test_a_row_that_somebody_changed_since_it_was_read_is_left_alone(postgres, queue):
    delivered(queue, 1, "a", "b")
    held = queue.held([])
    looked_up(postgres, queue, "update shop.backorder_queue set quantity = 7 where order_line_id = 'a' returning 1")
    outcomes = queue.send(items(queue.wishes(rows("b", "a", quantity=2.0)), 2, held))
    said = {outcome.key: outcome for outcome in outcomes}
    by_line = {
        item.order_line_id: said[item.key] for item in items(queue.wishes(rows("b", "a", quantity=2.0)), 2, held)
    }
    assert (by_line["a"].state, by_line["b"].state) == ("skipped", "accepted")
    assert "changed" in by_line["a"].answer
    assert {line: there.values["ship_now_quantity"] for line, there in queue.held([]).items()} == {"a": 7.0, "b": 2.0}


def test_a_delivery_older_than_the_lines_newest_changes_nothing(queue):
    delivered(queue, 5, "a")
    late = items(queue.wishes(rows("a", quantity=9.0)), 4, queue.held([]))
    assert [(outcome.state, outcome.answer) for outcome in queue.send(late)] == [
        ("skipped", "a newer delivery is there")
    ]
    assert queue.held([])["a"].values["ship_now_quantity"] == 1.0


def test_nothing_holds_if_one_line_cannot_be_written(queue):
    sent = items(queue.wishes(rows("a", "b")), 1)
    broken = replace(sent[1], values={**sent[1].values, "rank": "first"})
    assert {outcome.state for outcome in queue.send([sent[0], broken])} == {"refused"}
    assert queue.held([]) == {}


def test_a_server_that_restarts_in_mid_delivery_loses_nothing(postgres, queue):
    sent = items(queue.wishes(rows(*map(str, range(20_000)))), 1)
    with closing(postgres.connect(queue.settings.url.split("?")[0])) as blocker:
        blocker.execute("begin; lock table shop.backorder_queue in exclusive mode")
        outcomes = []
        sender = threading.Thread(target=lambda: outcomes.extend(queue.send(sent)))
        sender.start()
        waiting = "select count(*) from pg_locks where not granted and relation = 'shop.backorder_queue'::regclass"
        wait_until(lambda: looked_up(postgres, queue, waiting) == [(1,)])
        postgres.restart()
    sender.join(60)
    assert {outcome.state for outcome in outcomes} == {"accepted"}
    assert len(outcomes) == len(queue.held([])) == 20_000
    assert looked_up(postgres, queue, "select count(*) from shop.backorder_queue_history") == [(20_000,)]


def test_a_delivery_that_holds_though_its_answer_was_lost_is_not_written_twice(postgres, queue):
    database = queue.settings.url.split("?")[0].rsplit("/", 1)[1]
    with cut_at_commit(postgres.port) as (port, cuts):
        url = f"postgresql://{USER}@127.0.0.1:{port}/{database}?schema=shop&sslmode=disable"
        through = PostgresQueue(replace(queue.settings, url=url), PASSWORD)
        with through.opened():
            cuts.append("armed")
            outcomes = through.send(items(through.wishes(rows("a", "b")), 1))
    assert cuts == ["cut"]
    assert [(outcome.state, outcome.answer) for outcome in outcomes] == [("accepted", "it holds already")] * 2
    assert looked_up(postgres, queue, "select count(*) from shop.backorder_queue_history") == [(2,)]


def test_a_server_that_stays_away_leaves_the_outcome_unknown(postgres, queue):
    away = PostgresQueue(replace(queue.settings, reconnect_seconds=0.2), PASSWORD)
    with away.opened():
        sent = items(away.wishes(rows("a")), 1)
        postgres.stop("immediate")
        try:
            assert [outcome.state for outcome in away.send(sent)] == ["unknown"]
            with pytest.raises(DeliveryError, match="cannot be opened"):
                away.ask(sent)
        finally:
            postgres.start()
        assert [outcome.state for outcome in away.ask(sent)] == ["absent"]


def test_who_asks_waits_for_a_delivery_under_way(postgres, queue):
    sent = items(queue.wishes(rows("a")), 1)
    other = PostgresQueue(replace(queue.settings, lock_seconds=0.2), PASSWORD)
    with other.opened(), closing(postgres.connect(queue.settings.url.split("?")[0])) as blocker:
        blocker.execute("begin; select pg_advisory_xact_lock(hashtextextended('backorder_queue shop', 0))")
        assert [outcome.state for outcome in other.ask(sent)] == ["unknown"]
        assert [outcome.state for outcome in other.send(sent)] == ["absent"]
        blocker.execute("rollback")
        assert [outcome.state for outcome in other.ask(sent)] == ["absent"]


def test_a_hundred_thousand_lines_are_delivered_in_seconds(queue):
    sent = items(queue.wishes(rows(*map(str, range(100_000)))), 1)
    started = time.monotonic()
    assert {outcome.state for outcome in queue.send(sent)} == {"accepted"}
    assert time.monotonic() - started < 60


def test_a_field_named_later_is_added_and_the_view_keeps_its_columns(postgres, queue):
    delivered(queue, 1, "a")
    more = PostgresQueue(replace(queue.settings, fields={**FIELDS, "action": "what_to_do"}), PASSWORD)
    with more.opened():
        more.send(items(more.wishes([{**rows("a")[0], "action": "ship"}]), 2, more.held([])))
    shown = looked_up(postgres, queue, "select order_line_id, quantity, what_to_do from shop.backorder_queue_current")
    assert shown == [("a", 1.0, "ship")]


def test_a_column_that_would_go_stale_or_has_another_type_is_named(queue):
    fewer = {name: there for name, there in FIELDS.items() if name != "reason"}
    with pytest.raises(DeliveryError, match=r"shop\.backorder_queue has the columns reason"):
        PostgresQueue(replace(queue.settings, fields=fewer), PASSWORD).opened().__enter__()
    padded = replace(queue.settings, rank={"encoding": "padded", "width": 5})
    with pytest.raises(DeliveryError, match=r"backorder_queue\.rank is bigint, but the settings make it text"):
        PostgresQueue(padded, PASSWORD).opened().__enter__()


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        ({"encoding": "padded", "width": 3}, ["001", "002"]),
        ({"encoding": "classes", "classes": 2}, [1, 2]),
        ({"encoding": "date", "base_on": "2000-01-01"}, ["2000-01-02", "2000-01-03"]),
        ({"encoding": "decimal"}, [1.0, 2.0]),
        ({"encoding": "star", "stars": 1}, ["1", "0"]),
    ],
)
def test_every_encoding_of_the_rank_reads_back_as_it_was_written(postgres, rank, said):
    queue = PostgresQueue(PostgresSettings(postgres.new_database(), FIELDS, rank), PASSWORD)
    with queue.opened():
        queue.send(items(queue.wishes(rows("a", "b")), 1))
        held = queue.held([])
        assert [held[line].values["rank"] for line in ("a", "b")] == said
        assert {line: held[line].values for line in held} == queue.wishes(rows("a", "b"))


def test_with_decimals_a_new_line_changes_no_other(queue):
    decimal = PostgresQueue(replace(queue.settings, url=queue.settings.url.replace("shop", "tens")), PASSWORD)
    decimal = PostgresQueue(replace(decimal.settings, rank={"encoding": "decimal"}), PASSWORD)
    with decimal.opened():
        decimal.send(items(decimal.wishes(rows("a", "b")), 1))
        wishes = decimal.wishes(rows("a", "new", "b"))
    assert [wishes[line]["rank"] for line in ("a", "new", "b")] == [1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": URL, "tabel": "x"}, "unknown tabel; known are fields, lock_seconds, rank, reconnect_seconds, url"),
        ({"url": "https://erp"}, "must begin with postgresql://"),
        ({"url": URL, "fields": ["rank"]}, "fields lacks ship_now_quantity"),
        ({"url": URL, "fields": ["rank", "ship_now_quantity", "customer_name"]}, "unknown customer_name"),
        ({"url": URL, "fields": {**FIELDS, "rank": 'r"; drop table x'}}, "cannot name a schema or a column"),
        ({"url": URL, "fields": {**FIELDS, "rank": "sequence"}}, "cannot name a schema or a column"),
        ({"url": "postgresql://backorder@erp/sales?schema=Shop"}, "'Shop' cannot name a schema"),
        ({"url": URL, "lock_seconds": "5"}, "lock_seconds is '5'; it is a number"),
    ],
)
def test_settings_that_cannot_be_used_are_named(table, said):
    with pytest.raises(SettingsError) as refused:
        PostgresQueue.from_table(table, Site())
    assert said in str(refused.value)


def test_a_wrong_password_is_said_without_it(postgres):
    queue = PostgresQueue(PostgresSettings(postgres.new_database()), "wrong-canary")
    with pytest.raises(DeliveryError, match="cannot be opened") as refused, queue.opened():
        pass
    assert "wrong-canary" not in str(refused.value) + repr(vars(refused.value))
    assert "canary" not in queue.name


def test_a_user_who_may_not_write_is_told_so(postgres):
    address = postgres.new_database()
    with postgres.connect(address) as connection:
        connection.execute("drop role if exists onlooker; create role onlooker login password 'canary-2'")
        connection.execute("revoke all on schema public from public")
    with pytest.raises(DeliveryError, match="the tables cannot be made: permission denied"):
        PostgresQueue(PostgresSettings(address.replace(USER, "onlooker", 1)), "canary-2").opened().__enter__()


def wait_until(holds, seconds=20):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.02)


@contextmanager
def cut_at_commit(port):
    """Stand between client and server; once armed, the next commit goes through and its answer does not."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        between = Between(listener, port)
        between.begin(between.serve)
        yield listener.getsockname()[1], between.cuts
        listener.shutdown(socket.SHUT_RDWR)
        for thread in between.threads:
            thread.join(5)


class Between:
    def __init__(self, listener, port):
        self.listener, self.port, self.cuts, self.threads = listener, port, [], []

    def begin(self, work, *args):
        self.threads.append(threading.Thread(target=work, args=args))
        self.threads[-1].start()

    def serve(self):
        with suppress(OSError):
            while True:
                self.begin(self.connect, self.listener.accept()[0])

    def connect(self, client):
        with client, socket.create_connection(("127.0.0.1", self.port)) as server:
            lost = threading.Event()
            answers = threading.Thread(target=self.answer, args=(server, client, lost))
            answers.start()
            with suppress(OSError):
                self.forward(client, server, lost)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            answers.join(5)

    def forward(self, client, server, lost):
        while part := client.recv(65536):
            if self.cuts == ["armed"] and b"COMMIT" in part:
                lost.set()
                self.cuts[:] = ["cut"]
            server.sendall(part)

    def answer(self, server, client, lost):
        with suppress(OSError):
            while (part := server.recv(65536)) and not lost.is_set():
                client.sendall(part)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
