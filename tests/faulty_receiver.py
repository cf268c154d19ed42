"""A REST receiver that fails as real ones do; a process of its own on loopback, its state in SQLite.

`python -m tests.faulty_receiver FOLDER ...` serves; tests say `with faulty_receiver(folder, faults) as receiver`.

PUT, POST, PATCH or DELETE /lines/LINE takes a line, POST /lines a list of them, GET /lines shows the lines in its
queue, GET /keys/KEY says what became of a key. What is late arrives by itself afterwards, behind newer deliveries.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import urlopen

SCHEMA = """
create table if not exists lines (order_line_id text primary key, sequence integer not null, said text);
create table if not exists keys (key text primary key, status integer not null);
-- One row each time that something was carried out.
create table if not exists effects (key text, order_line_id text not null, sequence integer not null, said text);
create table if not exists happened (what text primary key, n integer not null);
"""


@dataclass(frozen=True)
class Faults:
    """Shares of requests that go wrong, each in one way; their sum is at most 1."""

    lost_answer: float = 0.0  # taken, the connection closed without an answer
    too_many: float = 0.0  # 429 with Retry-After, not taken
    error_before: float = 0.0  # 500, not taken
    error_after: float = 0.0  # 500, taken
    slow_after: float = 0.0  # taken, no answer for `slow_seconds`
    late: float = 0.0  # not taken now, no answer; arrives `late_seconds` later, behind newer ones
    doubled: float = 0.0  # taken and answered; arrives once more `late_seconds` later
    slow_seconds: float = 0.6
    late_seconds: float = 0.3
    retry_after: int = 0

    def drawn(self, chance: random.Random, questions: bool) -> str:
        """Name of the fault of one request, or "none"; questions are only lost, put off or failed."""
        at, share = 0.0, chance.random()
        for name in ("lost_answer", "too_many", "error_before", "error_after", "slow_after", "late", "doubled"):
            at += getattr(self, name)
            if share < at:
                return name if not questions or name in ("lost_answer", "too_many", "error_before") else "none"
        return "none"


QUIET = Faults()
STORM = Faults(
    lost_answer=0.3, too_many=0.08, error_before=0.05, error_after=0.05, slow_after=0.02, late=0.06, doubled=0.1
)


@dataclass
class Receiver:
    """A running receiver; what it holds is read from its database, from any process."""

    folder: Path
    options: list[str]
    port: int = 0
    secure: bool = False
    _process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    def table(self, keys: bool = True, reads: bool = True, **more: Any) -> dict[str, Any]:
        """The settings' table `destination` for it, with its `kind`; quick to try again."""
        quick = {"timeout_seconds": 0.4, "backoff_seconds": 0.01, "longest_wait_seconds": 2.0, "tries": 8}
        places = {"kind": "rest", "url": f"{self.address}/lines/{{order_line_id}}"}
        places |= {"ask_url": f"{self.address}/keys/{{key}}"} if keys else {}
        return places | ({"read_url": f"{self.address}/lines"} if reads else {}) | quick | more

    def start(self) -> None:
        """Start it on its folder, the second time on the port that it had."""
        command = [sys.executable, "-m", "tests.faulty_receiver", str(self.folder), "--port", str(self.port)]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [*command, *self.options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self, with_signal: int = signal.SIGKILL) -> None:
        """End it, as a crash does; what it took stays."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.communicate()

    def lines(self) -> dict[str, dict[str, Any]]:
        """What it holds of each line in its queue, by its own names."""
        rows = self._read("select order_line_id, said from lines where said is not null order by 1")
        return {line: json.loads(said) for line, said in rows}

    def doubles(self) -> int:
        """How often it carried out a line more than once in one delivery."""
        return int(self._read("select count(*) - count(distinct order_line_id || ' ' || sequence) from effects")[0][0])

    def effects(self) -> int:
        """How often it carried something out."""
        return int(self._read("select count(*) from effects")[0][0])

    def happened(self) -> dict[str, int]:
        """How often each fault was played, and "none"; questions have their own names."""
        return {str(what): int(n) for what, n in self._read("select what, n from happened order by what")}

    def wait_for_late(self) -> None:
        """Wait until whatever is late has arrived; of a receiver without TLS."""
        while True:
            with urlopen(f"{self.address}/late", timeout=5) as answer:
                if json.load(answer)["late"] == 0:
                    return
            time.sleep(0.02)

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "receiver.sqlite", timeout=10)) as connection:
            return connection.execute(query).fetchall()


@contextmanager
def faulty_receiver(
    folder: Path,
    faults: Faults = QUIET,
    seed: int = 901,
    keeps_keys: bool = True,
    password: str = "",
    certificate: Path | None = None,
) -> Iterator[Receiver]:
    """Run a receiver in a process of its own.

    Parameters
    ----------
    keeps_keys : otherwise it carries out whatever arrives, as often as it arrives
    password : bearer token that it asks for
    certificate : PEM file of key and certificate, for https
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--seed", str(seed), "--faults", json.dumps(asdict(faults)), "--password", password]
    options += [] if keeps_keys else ["--no-keys"]
    options += ["--certificate", str(certificate)] if certificate else []
    receiver = Receiver(folder, options, secure=certificate is not None)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


class _State:
    """What it took; one thread at a time."""

    def __init__(self, folder: Path, keeps_keys: bool) -> None:
        self.lock = threading.Lock()
        self.keeps_keys, self.n_late = keeps_keys, 0
        self._database = sqlite3.connect(folder / "receiver.sqlite", check_same_thread=False, timeout=10)
        self._database.executescript("pragma journal_mode = wal; pragma synchronous = off;" + SCHEMA)

    def note(self, what: str) -> None:
        with self.lock, self._database as database:
            statement = "insert into happened values (?, 1) on conflict(what) do update set n = n + 1"
            database.execute(statement, (what,))

    def take(self, items: list[tuple[str, str, int, dict[str, Any] | None]]) -> None:
        """Carry out items (key, line, sequence, what it shall say; None: taken out), all of them or none."""
        with self.lock, self._database as database:
            for key, line, sequence, said in items:
                text = None if said is None else json.dumps(said)
                if self.keeps_keys and database.execute("select 1 from keys where key = ?", (key,)).fetchone():
                    continue
                database.execute("insert or ignore into keys values (?, 200)", (key,))
                newest = database.execute("select sequence from lines where order_line_id = ?", (line,)).fetchone()
                if newest and newest[0] > sequence:
                    continue
                database.execute("insert into effects values (?, ?, ?, ?)", (key, line, sequence, text))
                database.execute("insert or replace into lines values (?, ?, ?)", (line, sequence, text))

    def take_later(self, seconds: float, items: list[Any]) -> None:
        def arrive() -> None:
            self.take(items)
            with self.lock:
                self.n_late -= 1

        with self.lock:
            self.n_late += 1
        timer = threading.Timer(seconds, arrive)
        timer.daemon = True
        timer.start()

    def find(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.lock:
            return self._database.execute(query, values).fetchall()


class _Handler(BaseHTTPRequestHandler):
    state: _State
    faults: Faults
    chance: random.Random
    password: str
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: otherwise each answer waits for the client's acknowledgement of the first.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/late":
            return self._answer(200, {"late": self.state.n_late})
        fault = self._fault(questions=True)
        if self._stops(fault):
            return None
        if fault == "lost_answer":
            return self._hang_up()
        if self.path == "/lines":
            rows = self.state.find("select said from lines where said is not null order by order_line_id")
            return self._answer(200, [json.loads(row[0]) for row in rows])
        found = self.state.find("select status from keys where key = ?", self.path.removeprefix("/keys/"))
        return self._answer(200, {"status": found[0][0]}) if found and self.state.keeps_keys else self._answer(404, {})

    def do_PUT(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def do_PATCH(self) -> None:
        self._take()

    def do_DELETE(self) -> None:
        self._take()

    def _take(self) -> None:
        items = self._items()
        fault = self._fault(questions=False)
        if self._stops(fault):
            return None
        if fault in ("late", "doubled"):
            self.state.take_later(self.faults.late_seconds, items)
        if fault != "late":
            self.state.take(items)
        if fault == "error_after":
            return self._answer(500, {})
        if fault == "slow_after":
            time.sleep(self.faults.slow_seconds)
        if fault in ("lost_answer", "slow_after", "late"):
            return self._hang_up()
        return self._answer(200, {})

    def _items(self) -> list[tuple[str, str, int, dict[str, Any] | None]]:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        if isinstance(body, list):
            return [(one["key"], one["order_line_id"], int(one["sequence"]), _shown(one)) for one in body]
        line = unquote(self.path.removeprefix("/lines/"))
        said = None if self.command == "DELETE" else _shown(body)
        return [(self.headers["Idempotency-Key"], line, int(self.headers["X-Backorder-Sequence"]), said)]

    def _fault(self, questions: bool) -> str:
        with self.state.lock:
            fault = self.faults.drawn(self.chance, questions)
        self.state.note(f"question {fault}" if questions else fault)
        return fault

    def _stops(self, fault: str) -> bool:
        """Whether nothing is taken: no entry, too many requests, an error."""
        if self.password and self.headers.get("Authorization") != f"Bearer {self.password}":
            self._answer(401, {})
        elif fault == "too_many":
            self._answer(429, {}, {"Retry-After": str(self.faults.retry_after)})
        elif fault == "error_before":
            self._answer(500, {})
        else:
            return False
        return True

    def _answer(self, status: int, said: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _shown(body: dict[str, Any]) -> dict[str, Any] | None:
    """What a line shall say, without what is about the request; None: it is taken out."""
    return None if body.get("removed") else {name: body[name] for name in body if name not in ("key", "sequence")}


def _serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=901)
    parser.add_argument("--faults", type=json.loads, default={})
    parser.add_argument("--no-keys", action="store_true")
    parser.add_argument("--password", default="")
    parser.add_argument("--certificate", type=Path)
    given = parser.parse_args()
    played = {"faults": Faults(**given.faults), "chance": random.Random(given.seed), "password": given.password}
    handler = type("Handler", (_Handler,), {"state": _State(given.folder, keeps_keys=not given.no_keys), **played})
    with ThreadingHTTPServer(("127.0.0.1", given.port), handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # a client that went away is what this is for
        if given.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(given.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        print(server.server_address[1], flush=True)
        server.serve_forever()


def _end_with_parent() -> None:
    """End once nobody holds the other end of the input: no receiver outlives the tests that began it."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
