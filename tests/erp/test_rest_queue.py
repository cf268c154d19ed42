import json
import socket
import threading
from collections import Counter
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from erp.destination import DeliveryError, Item
from erp.rest_queue import RestQueue
from erp.rest_settings import RestSettings
from erp.settings_table import read_settings
from erp.web_calls import Answer
from tests.faulty_receiver import QUIET, STORM, Faults, faulty_receiver

FIELDS = {"rank": "priority", "ship_now_quantity": "quantity", "promise_on": "due"}
URL = "https://erp.example/lines/{order_line_id}"


def queue_at(table, secret=None):
    table = {name: value for name, value in table.items() if name != "kind"}
    return RestQueue(read_settings(RestSettings, table, "destination"), secret)


def rows(*lines, quantity=1.0):
    return [
        {"order_line_id": line, "rank": place, "ship_now_quantity": quantity, "promise_on": datetime(2026, 3, 9)}
        for place, line in enumerate(lines, start=1)
    ]


def items(wishes, sequence, run_id="r1"):
    return [Item(run_id, line, sequence, place, said) for place, (line, said) in enumerate(wishes.items(), start=1)]


def delivered(queue, sent, batch=1, rounds=30):
    """Send as a delivery does: what is uncertain is asked for, only what surely did not arrive is sent again."""
    pending, uncertain, answers = list(sent), [], {}
    for _ in range(rounds):
        outcomes = {outcome.key: outcome for outcome in queue.ask(uncertain)}
        outcomes |= {o.key: o for n in range(0, len(pending), batch) for o in queue.send(pending[n : n + batch])}
        answers |= outcomes
        asked = [*uncertain, *pending]
        uncertain = [item for item in asked if outcomes[item.key].state == "unknown"]
        pending = [item for item in asked if outcomes[item.key].state == "absent"]
        if not (pending or uncertain):
            return Counter(outcome.state for outcome in answers.values())
    raise AssertionError(f"{len(pending)} pending and {len(uncertain)} uncertain items never came to an end")


@contextmanager
def answering(*answers):
    """A server that gives these answers (status, body, headers) in turn, the last one for ever, and notes requests."""
    requests, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append((self.command, self.path, dict(self.headers), body))
            status, said, headers = left.pop(0) if len(left) > 1 else left[0]
            said = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(said)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
            thread.join()


def table_for(address, **more):
    quick = {"timeout_seconds": 0.5, "backoff_seconds": 0.01, "longest_wait_seconds": 0.2, "tries": 3}
    places = {"url": f"{address}/lines/{{order_line_id}}", "ask_url": f"{address}/keys/{{key}}", "fields": FIELDS}
    return {**places, **quick, **more}


def test_each_line_is_one_request_with_its_key_and_sequence_under_the_receivers_names():
    with answering((200, {}, {})) as (address, requests):
        queue = queue_at(table_for(address, line_field="line", rank={"encoding": "padded", "width": 4}))
        sent = items(queue.wishes(rows("A/1 ü?")), 7)
        with queue.opened():
            assert [outcome.state for outcome in queue.send(sent)] == ["accepted"]
    [(method, path, headers, body)] = requests
    assert (method, path) == ("PUT", "/lines/A%2F1%20%C3%BC%3F")
    assert (headers["Idempotency-Key"], headers["X-Backorder-Sequence"]) == (sent[0].key, "7")
    assert json.loads(body) == {"line": "A/1 ü?", "priority": "0001", "quantity": 1.0, "due": "2026-03-09"}


def test_a_line_that_left_is_deleted_or_said_to_be_removed():
    gone = [Item("r1", "a", 2, 1, None)]
    with answering((200, {}, {})) as (address, requests):
        for more in ({}, {"remove_method": "DELETE"}):
            with (queue := queue_at(table_for(address, **more))).opened():
                queue.send(gone)
    assert [(method, body) for method, _, _, body in requests] == [
        ("PUT", b'{"order_line_id": "a", "removed": true}'),
        ("DELETE", b""),
    ]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, "accepted"),
        (204, "accepted"),
        (202, "unknown"),
        (400, "refused"),
        (404, "refused"),
        (409, "unknown"),
        (412, "skipped"),
        (422, "refused"),
        (423, "skipped"),
        (429, "absent"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
    ],
)
def test_what_an_answer_means_for_its_line(status, state):
    said = {} if status != 204 else b""
    with answering((status, said, {})) as (address, requests), (queue := queue_at(table_for(address))).opened():
        assert [outcome.state for outcome in queue.send(items(queue.wishes(rows("a")), 1))] == [state]
    assert len(requests) == (3 if status == 429 else 1)  # only what surely did not arrive is tried again


def test_a_line_that_is_not_there_counts_as_taken_out():
    with answering((404, {}, {})) as (address, _), (queue := queue_at(table_for(address))).opened():
        assert [outcome.state for outcome in queue.send([Item("r1", "a", 2, 1, None)])] == ["accepted"]


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, {}, "accepted"),
        (200, {"status": 422}, "refused"),
        (200, {"status": 202}, "unknown"),
        (200, {"status": "fine"}, "unknown"),
        (204, b"", "accepted"),
        (404, {}, "absent"),
        (400, {}, "unknown"),
        (500, {}, "unknown"),
    ],
)
def test_what_the_answer_to_a_question_means(status, body, state):
    with answering((status, body, {})) as (address, requests), (queue := queue_at(table_for(address))).opened():
        sent = items(queue.wishes(rows("a")), 1)
        assert [outcome.state for outcome in queue.ask(sent)] == [state]
    assert requests[0][:2] == ("GET", f"/keys/{sent[0].key}")


def test_too_many_requests_are_sent_again_after_the_time_that_the_receiver_names():
    assert Answer(429, b"", {"retry-after": "3"}).retry_after == 3
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90))
    assert 85 < Answer(429, b"", {"retry-after": later}).retry_after <= 90
    assert Answer(429, b"", {"retry-after": "soon"}).retry_after is None
    with answering((429, {}, {"Retry-After": "0"}), (200, {}, {})) as (address, requests):
        with (queue := queue_at(table_for(address))).opened():
            assert [outcome.state for outcome in queue.send(items(queue.wishes(rows("a")), 1))] == ["accepted"]
    assert requests[0][2]["Idempotency-Key"] == requests[1][2]["Idempotency-Key"]


def test_a_receiver_that_asks_for_a_long_wait_stops_the_delivery():
    with (
        answering((429, {}, {"Retry-After": "3600"})) as (address, _),
        (queue := queue_at(table_for(address))).opened(),
    ):
        with pytest.raises(DeliveryError, match="asks to wait 3600 s"):
            queue.send(items(queue.wishes(rows("a")), 1))


@pytest.mark.parametrize(
    ("status", "said"), [(401, "does not let us in"), (403, "let us in"), (302, "sends us elsewhere")]
)
def test_no_entry_and_redirects_stop_the_delivery_and_are_not_followed(status, said):
    with answering((status, {}, {"Location": "http://127.0.0.1:1/"})) as (address, requests):
        queue = queue_at(table_for(address, auth="bearer"), "canary-password")
        with queue.opened(), pytest.raises(DeliveryError, match=said) as stopped:
            queue.send(items(queue.wishes(rows("a")), 1))
    assert len(requests) == 1
    assert "canary" not in str(stopped.value) + repr(queue._login) + queue.name


def test_a_receiver_that_cannot_be_reached_stops_the_delivery():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    queue = queue_at(table_for(address))
    with queue.opened(), pytest.raises(DeliveryError, match="cannot be reached: Connection refused"):
        queue.send(items(queue.wishes(rows("a")), 1))


def test_an_answer_that_comes_drop_by_drop_is_as_lost_as_one_that_never_comes():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def drip():
            connection, _ = listener.accept()
            with closing(connection):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                try:
                    while not done.wait(0.05):
                        connection.sendall(b" ")
                except OSError:
                    pass

        done, dripping = threading.Event(), threading.Thread(target=drip)
        dripping.start()
        queue = queue_at(table_for(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        with queue.opened():
            assert [outcome.state for outcome in queue.send(items(queue.wishes(rows("a")), 1))] == ["unknown"]
        done.set()
        dripping.join()


def test_a_batch_carries_each_lines_key_and_only_lines_that_are_answered_for_count():
    with answering((200, {}, {})) as (address, requests):
        queue = queue_at(table_for(address, url=f"{address}/lines", batch=3))
        sent = items(queue.wishes(rows("a", "b", "c")), 4)
        of_each = [{"key": sent[0].key, "status": 200}, {"key": sent[1].key, "status": 422}]
        with queue.opened():
            assert {outcome.state for outcome in queue.send(sent)} == {"accepted"}
    [(_, path, headers, body)] = requests
    assert path == "/lines"
    assert [(one["key"], one["sequence"], one["order_line_id"]) for one in json.loads(body)] == [
        (item.key, 4, item.order_line_id) for item in sent
    ]
    assert headers["Idempotency-Key"] not in {item.key for item in sent}
    for status, said, states in ((207, of_each, ["accepted", "refused", "unknown"]), (207, {}, ["unknown"] * 3)):
        with answering((status, said, {})) as (address, _):
            queue = queue_at(table_for(address, url=f"{address}/lines", batch=3))
            with queue.opened():
                assert [outcome.state for outcome in queue.send(sent)] == states


def test_lines_are_read_over_all_pages_and_those_without_any_of_our_values_are_not_in_the_queue():
    first = {"data": [{"order_line_id": 7, "priority": 1, "quantity": "2", "due": "2026-03-09T00:00:00"}]}
    second = {
        "data": [{"order_line_id": "b", "priority": None}, {"order_line_id": "c", "priority": 5, "removed": True}]
    }
    with answering((200, first, {"Link": '</all?page=2>; rel="next"'}), (200, second, {})) as (address, requests):
        with (queue := queue_at(table_for(address, read_url=f"{address}/all", read_items="data"))).opened():
            held = queue.held([])
    assert {line: there.values for line, there in held.items()} == {
        "7": {"rank": 1, "ship_now_quantity": 2.0, "promise_on": "2026-03-09"}
    }
    assert [path for _, path, _, _ in requests] == ["/all", "/all?page=2"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, [{"priority": 1}], {}), "lists a line twice or without order_line_id"),
        ((200, [{"order_line_id": "a", "priority": 1}] * 2, {}), "lists a line twice"),
        ((200, b"<html>", {}), "no list of lines"),
        ((404, [], {}), "read_url answered 404"),
        ((200, [], {"Link": '<http://elsewhere.example/all>; rel="next"'}), "is on another host"),
    ],
)
def test_a_list_that_cannot_be_understood_stops_the_delivery(answer, said):
    with answering(answer) as (address, _), (queue := queue_at(table_for(address, read_url=f"{address}/all"))).opened():
        with pytest.raises(DeliveryError, match=said):
            queue.held([])


def test_a_receiver_that_cannot_be_read_says_so():
    assert queue_at({"url": URL}).held(["a"]) is None


def test_a_receiver_without_keys_is_never_sent_anything_twice(tmp_path):
    with faulty_receiver(tmp_path, Faults(lost_answer=1.0), keeps_keys=False) as receiver:
        queue = queue_at(receiver.table(keys=False, reads=False, fields=FIELDS))
        assert not queue.knows_keys
        with queue.opened():
            sent = items(queue.wishes(rows("a", "b")), 1)
            for item in sent:
                assert [outcome.state for outcome in queue.send([item])] == ["unknown"]
            assert {outcome.state for outcome in queue.ask(sent)} == {"unknown"}
            assert receiver.effects() == 2


def test_the_receiver_of_these_tests_doubles_lines_if_they_are_sent_again_without_keys(tmp_path):
    with faulty_receiver(tmp_path, QUIET, keeps_keys=False) as receiver:
        queue = queue_at(receiver.table(keys=False, fields=FIELDS))
        with queue.opened():
            sent = items(queue.wishes(rows("a")), 1)
            queue.send(sent)
            queue.send(sent)
    assert receiver.doubles() == 1


@pytest.mark.parametrize("batch", [1, 10])
def test_in_a_storm_of_faults_no_line_is_lost_or_doubled(tmp_path, batch):
    with faulty_receiver(tmp_path, STORM, password="canary-password") as receiver:
        more = {"url": f"{receiver.address}/lines"} if batch > 1 else {}
        queue = queue_at(receiver.table(fields=FIELDS, auth="bearer", batch=batch, **more), "canary-password")
        lines = [f"line {n}" for n in range(60 if batch == 1 else 150)]
        with queue.opened():
            assert delivered(queue, items(queue.wishes(rows(*lines)), 1), batch) == {"accepted": len(lines)}
            left, wishes = lines[:20], queue.wishes(rows(*lines[20:], quantity=2.0))
            sent = [*items(wishes, 2), *(Item("r2", line, 2, 1, None) for line in left)]
            assert delivered(queue, sent, batch) == {"accepted": len(sent)}
            receiver.wait_for_late()
            held = queue.held([])
        assert {line: there.values for line, there in held.items()} == wishes
        assert (receiver.doubles(), receiver.effects()) == (0, 2 * len(lines))
        happened = receiver.happened()
    assert {"lost_answer", "too_many", "error_before", "late", "doubled"} <= happened.keys()
    assert happened["lost_answer"] > 0.2 * sum(n for what, n in happened.items() if not what.startswith("question"))


def test_where_nothing_fails_each_line_is_sent_once_and_nothing_is_asked(tmp_path):
    with faulty_receiver(tmp_path, QUIET) as receiver:
        queue = queue_at(receiver.table(fields=FIELDS))
        with queue.opened():
            assert delivered(queue, items(queue.wishes(rows(*map(str, range(20)))), 1)) == {"accepted": 20}
        assert receiver.happened() == {"none": 20}


def test_what_a_receiver_took_survives_its_crash(tmp_path):
    with faulty_receiver(tmp_path) as receiver:
        queue = queue_at(receiver.table(fields=FIELDS))
        with queue.opened():
            sent = items(queue.wishes(rows("a", "b")), 1)
            assert delivered(queue, sent) == {"accepted": 2}
            receiver.stop()
            with pytest.raises(DeliveryError, match="cannot be reached"):
                queue.ask(sent)
            receiver.start()
            assert {outcome.state for outcome in queue.ask(sent)} == {"accepted"}


def certificate(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=receiver")
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = built.add_extension(hosts, critical=False).sign(key, hashes.SHA256())
    public = signed.public_bytes(serialization.Encoding.PEM)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(key.private_bytes(*plain) + public)
    (folder / "ca.pem").write_bytes(public)
    return folder / "both.pem", folder / "ca.pem"


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_of_our_own_authority_taken(tmp_path):
    both, ca = certificate(tmp_path)
    with faulty_receiver(tmp_path / "receiver", certificate=both) as receiver:
        assert receiver.address.startswith("https://")
        sent = items(queue_at({"url": URL, "fields": FIELDS}).wishes(rows("a")), 1)
        with (stranger := queue_at(receiver.table(fields=FIELDS, tries=1))).opened():
            with pytest.raises(DeliveryError, match="certificate is not to be trusted"):
                stranger.send(sent)
        with (ours := queue_at(receiver.table(fields=FIELDS, ca_file=str(ca), timeout_seconds=5))).opened():
            assert [outcome.state for outcome in ours.send(sent)] == ["accepted"]
            assert set(ours.held([])) == {"a"}
