"""A PostgreSQL server for tests: a cluster of its own in a temporary folder, on loopback and a free port."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import pytest

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER, PASSWORD = "backorder", "canary-password-4711"


@dataclass
class PostgresServer:
    """A running cluster; its user may create databases and logs in with PASSWORD."""

    folder: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        """Address of a database, without the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database; returns its address."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"create database {name}")
        return self.url(name)

    def connect(self, database_or_url: str):
        """Connect as the user, in autocommit."""
        import psycopg

        url = database_or_url if "://" in database_or_url else self.url(database_or_url)
        return psycopg.connect(url, password=PASSWORD, autocommit=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder}"
        options += " -c fsync=off"  # nothing here outlives the machine, and kills do not need it
        _run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; immediate: as after a crash."""
        _run("pg_ctl", "-D", self.folder / "data", "-w", "-m", mode, "stop")

    def restart(self) -> None:
        """Stop it as a crash would and start it again."""
        self.stop("immediate")
        self.start()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a cluster; skips where PostgreSQL's server or psycopg is not installed."""
    if not _PROGRAMS:
        pytest.skip("no PostgreSQL server here; install Debian's package postgresql")
    pytest.importorskip("psycopg", reason='no psycopg here; pip install "backorder[postgres]"')
    folder = Path(mkdtemp(prefix="backorder-postgres-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        (folder / "pw").write_text(PASSWORD)
        (folder / "pw").chmod(0o644)
        _run("initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", "--pwfile", folder / "pw", "-N")
        server = PostgresServer(folder, port)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: object) -> None:
    # PostgreSQL refuses to run as root, and the shell it starts must not hold this process's pipes open.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    command = [*as_user, str(_PROGRAMS[-1] / program), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", check=False)
    assert done.returncode == 0, f"{program} failed"
