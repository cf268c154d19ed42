"""A Tryton 8.2 server for tests: a company on SQLite or PostgreSQL, served on loopback and a free port.

What takes long, a database with the modules and a company without orders, is made once and kept in the temporary
folder under a name that changes with Tryton's version and with how the company is made.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from sqlite3 import connect

import pytest
from filelock import FileLock

from erp.tryton_rpc import Tryton, tryton_session
from tests.postgres_server import PASSWORD as POSTGRES_PASSWORD
from tests.postgres_server import USER, PostgresServer

PASSWORD = "canary-password-4712"  # of every user
ROBOT, CLERK = "robot", "clerk"  # the user of backorder; somebody who works there
MODULES = ("sale", "stock", "sale_supply", "purchase", "stock_supply")
_MAKER = Path(__file__).with_name("tryton_company.py")


def skip_without_tryton() -> None:
    """Skip a test where no Tryton is installed."""
    for module in ("trytond", "proteus"):
        if importlib.util.find_spec(module) is None:
            pytest.skip('no Tryton here; pip install "backorder[tryton]"')


@dataclass
class TrytonServer:
    """A database and, while it runs, the server in front of it."""

    folder: Path
    database: str
    uri: str  # of the database server: sqlite:///, or postgresql://...
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """Tryton's own settings."""
        return self.folder / "trytond.conf"

    def url(self, user: str = ROBOT, port: int | None = None) -> str:
        """Address for sources and destinations."""
        return f"tryton+http://{user}@127.0.0.1:{port or self.port}/{self.database}"

    @contextmanager
    def session(self, user: str = CLERK) -> Iterator[Tryton]:
        """A session of a user."""
        with tryton_session(self.url(user), PASSWORD) as session:
            yield session

    def make(self, what: str) -> None:
        """Make a company in the database, as tests/tryton_company.py says."""
        self.run("tests.tryton_company", what)

    def happen(self, what: str, *arguments: object) -> None:
        """Let something happen there, as tests/tryton_events.py says; on SQLite only while the server stands still."""
        self.run("tests.tryton_events", what, *arguments)

    def run(self, program: str, *arguments: object) -> str:
        """Run a program of the tests that works within Tryton; its output."""
        command = [sys.executable, "-m", program, str(self.config), self.database, *map(str, arguments)]
        home = Path(__file__).parents[1]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, env=self._environment(), check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def admin(self, *arguments: str) -> None:
        """Run Tryton's own administration."""
        command = [Path(sys.executable).with_name("trytond-admin"), "-c", self.config, "-d", self.database, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment(), check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def write_config(self) -> None:
        """Write Tryton's settings, with a port that is free now."""
        self.port = free_port()
        lines = ["[database]", f"uri = {self.uri}", f"path = {self.folder}", "[web]", f"listen = 127.0.0.1:{self.port}"]
        self.config.write_text("\n".join(lines) + "\n")
        (self.folder / "password").write_text(PASSWORD)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.write_config()
        program = Path(sys.executable).with_name("trytond")
        log = (self.folder / "server.log").open("ab")
        command = [program, "-c", self.config, "-d", self.database]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment())
        log.close()
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError("Tryton does not answer")

    def restore(self, kept: str) -> None:
        """Put a kept database in the place of the server's own, while it runs."""
        with closing(connect(kept_database(kept))) as source, closing(connect(self.folder / "erp.sqlite")) as target:
            source.backup(target)

    def stop(self) -> None:
        """Stop the server, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "TRYTONPASSFILE": str(self.folder / "password")}


@contextmanager
def tryton_on_sqlite(folder: Path, kept: str) -> Iterator[TrytonServer]:
    """Serve a copy of a kept database."""
    skip_without_tryton()
    server = TrytonServer(folder, "erp", "sqlite:///")
    kept_copy(server, kept)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def tryton_on_postgres(folder: Path, postgres: PostgresServer) -> Iterator[TrytonServer]:
    """Make a company without orders in a PostgreSQL database of its own; start the server when it has some."""
    skip_without_tryton()
    database = postgres.new_database().rpartition("/")[2]
    uri = f"postgresql://{USER}:{POSTGRES_PASSWORD}@127.0.0.1:{postgres.port}/"
    server = TrytonServer(folder, database, uri)
    server.write_config()
    install(server)
    try:
        yield server
    finally:
        server.stop()


def kept_copy(server: TrytonServer, kept: str) -> None:
    """Give a server that does not run yet a copy of a kept database."""
    server.folder.mkdir(exist_ok=True)
    shutil.copy(kept_database(kept), server.folder / "erp.sqlite")
    server.write_config()


def kept_database(what: str) -> Path:
    """A SQLite file with a company: `empty`, or with the orders of `small`; made where it is not there yet."""
    home = Path(tempfile.gettempdir()) / f"backorder-tryton-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    versions = [importlib.metadata.version(f"trytond_{module}") for module in MODULES]
    made_by = hashlib.sha256(_MAKER.read_bytes() + "".join(versions).encode()).hexdigest()[:12]
    kept = home / f"{what}-{made_by}.sqlite"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            _make_database(what, kept)
    return kept


def _make_database(what: str, kept: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="backorder-tryton-") as folder:
        server = TrytonServer(Path(folder), "erp", "sqlite:///")
        server.write_config()
        file = Path(folder) / "erp.sqlite"
        if what == "empty":
            file.touch()  # Tryton creates tables, not files
            install(server)
        else:
            shutil.copy(kept_database("empty"), file)
            server.make(what)
        file.replace(kept.with_suffix(".new"))
        kept.with_suffix(".new").replace(kept)


def install(server: TrytonServer) -> None:
    """Make the modules' tables and a company without orders."""
    server.admin("-u", *MODULES, "--activate-dependencies", "--email", "admin@example.com", "-l", "en")
    server.make("empty")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def losing_answers(server: TrytonServer, method: str, before: bool = False) -> Iterator[int]:
    """A port before the server where the answer to one call of a method is lost.

    Parameters
    ----------
    before : the call does not even reach the server
    """
    lost = threading.Event()

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the standard library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_it = f'"{method}"'.encode() in body and not lost.is_set()
            if is_it:
                lost.set()
            if is_it and before:
                return
            status, content, headers = self.forward(body)
            if is_it:
                return
            self.send_response(status)
            for name in ("Content-Type", "Content-Encoding"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def forward(self, body: bytes):
            headers = {name: self.headers[name] for name in self.headers if name not in ("Host", "Content-Length")}
            request = urllib.request.Request(f"http://127.0.0.1:{server.port}{self.path}", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return answer.status, answer.read(), answer.headers
            except urllib.error.HTTPError as error:
                return error.code, error.read(), error.headers

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy.server_address[1]
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(10)
    assert lost.is_set(), f"{method} was never called"
