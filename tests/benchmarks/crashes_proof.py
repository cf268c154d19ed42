"""Mornings that are killed again and again while they score, publish and deliver, and what must be true afterwards.

A warm parent, which has imported everything and opened nothing, forks a process per attempt and kills it at a random
moment; a last attempt of the morning is left in peace, then `reconcile` runs. What is there afterwards is read from the
files and databases themselves and compared with the same mornings that nobody disturbed.
"""

import math
import os
import pickle
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from erp.ledger import Ledger, lock_store
from erp.outbox import Outbox
from erp.settings import Site
from pipelines.delivery import apply
from pipelines.jobs import score, train
from pipelines.reconcile import is_whole, reconcile, reconciled_text
from pipelines.tracking import local_database
from tests.faulty_receiver import STORM, Faults, Receiver, faulty_receiver
from tests.pipelines.small_company import FILES
from tests.postgres_server import PostgresServer

# Nothing is asked: what is proved is that whatever is written arrives once.
AUTO = {"apply": "auto", "apply_max_lines": 10**6, "apply_max_slip_days": 10**6, "apply_max_money": 1e12}
PATIENCE = 25  # applies, for a receiver that is in a storm


@dataclass
class Tally:
    """What was seen over all mornings; from `lost` on the proof asks for zeros."""

    mornings: int = 0
    kills: int = 0
    restarts: int = 0  # of the ledger's PostgreSQL while a morning went on
    killed_while: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    sent: int = 0  # times that the receiver carried something out
    lost: int = 0  # lines of the queue that the receiver lacks
    doubled: int = 0  # lines that the receiver carried out twice in one delivery
    differing: int = 0  # lines of which the receiver says something else, or that are not in the queue
    bytes_differ: int = 0  # files that are not those of the undisturbed mornings
    runs_left: int = 0  # in the ledger, without an end
    mlflow_left: int = 0  # in MLflow, said to run
    mlflow_wrong: int = 0  # queues and trainings that MLflow has not exactly once
    deliveries_left: int = 0  # open, or with items that are not final

    def add(self, seen: dict[str, int]) -> None:
        """Add what was seen after one morning."""
        self.mornings += 1
        for name, value in seen.items():
            setattr(self, name, getattr(self, name) + value)


def warm() -> None:
    """Import what children need; nothing of it may start a thread before they are forked."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in ("mlflow", "mlflow.lightgbm", "erp.rest_queue", "erp.ledger_postgres", "psycopg"):
        import_module(name)


class ChildError(Exception):
    """What went wrong in a forked process."""


def in_child(work: Callable[[], Any], log: Path) -> Any:
    """Do some work in a forked process and give what it returned: this one opens no database and starts no thread."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _quiet(log)
        try:
            answer = ("done", work())
        except BaseException:
            answer = ("failed", traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    state, answer = pickle.loads(told) if told else ("failed", "it died")
    if state == "failed":
        raise ChildError(answer)
    return answer


def disturbed(
    work: Callable[[], Any], after_seconds: float, deed: Callable[[int], None], log: Path, since: Path | None = None
) -> bool:
    """Do some work in a forked process and do something to it after a time; False if it came to its end before.

    Parameters
    ----------
    since : the time counts from when this file is there; None: from the beginning
    deed : gets the process; a process that outlives it must end well
    """
    pid = os.fork()
    if pid == 0:
        _quiet(log)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    done, status = 0, 0
    ends = math.inf if since else time.monotonic() + after_seconds
    while time.monotonic() < ends and not done:
        done, status = os.waitpid(pid, os.WNOHANG)
        if ends == math.inf and since and since.exists():
            ends = time.monotonic() + after_seconds
        time.sleep(min(0.002, max(0.0, ends - time.monotonic())))
    if not done:
        deed(pid)
        _, status = os.waitpid(pid, 0)
    if status and not os.WIFSIGNALED(status):
        raise ChildError(f"it failed by itself: {log.read_text()[-2000:]}")
    return not done


def kill(pid: int) -> None:
    """End a process without a word."""
    os.kill(pid, signal.SIGKILL)


def _quiet(log: Path) -> None:
    """Whatever this process says goes into a file, and is there when it dies."""
    file = log.open("a", buffering=1)
    for descriptor in (1, 2):
        os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = file


@dataclass(frozen=True)
class Company:
    """A company whose next mornings are lived through, twice: in peace, and under fire."""

    folder: Path
    site: Site  # trained as of `first`; MLflow knows nothing of it yet
    first: datetime

    def as_of(self, day: int) -> datetime:
        """T of a morning."""
        return self.first + timedelta(days=day)


def trained_company(folder: Path, site: Site, first: datetime) -> Company:
    """Train models, without MLflow: what it lacks is logged by the first `reconcile`."""

    def fit() -> None:
        from pipelines import steps

        steps.track_training = lambda *_: None
        train(site, first)

    warm()
    in_child(fit, folder / "log")
    return Company(folder, site, first)


def morning_and_delivery(site: Site, as_of: datetime) -> str:
    """Score, publish, tell MLflow, and write the ERP until it has taken everything; says how the delivery ended."""
    _scored(site).unlink(missing_ok=True)
    score(site, as_of)
    _scored(site).touch()
    for _ in range(PATIENCE):
        ending = apply(site).ending
        if ending in ("written", "nothing to write"):
            break
    return ending


def _scored(site: Site) -> Path:
    """A file that is there while the queue is delivered."""
    return Path(site.store) / "scored"


@dataclass(frozen=True)
class Peace:
    """The undisturbed mornings: bytes of their files, and how long each took to be decided and to be delivered."""

    files: list[dict[str, bytes]]
    seconds: list[tuple[float, float]]


def in_peace(company: Company, n_mornings: int, faults: Faults, seed: int) -> Peace:
    """Live through mornings undisturbed, with a receiver as faulty as the other's."""
    files, seconds = [], []
    with _delivering(company, "peace", faults, seed, "") as (site, _):
        for day in range(n_mornings):
            started = time.time()
            in_child(partial(morning_and_delivery, site, company.as_of(day)), company.folder / "log")
            scored = _scored(site).stat().st_mtime
            seconds.append((scored - started, time.time() - scored))
            files.append({name: (Path(site.out) / name).read_bytes() for name in FILES})
    return Peace(files, seconds)


def under_fire(
    company: Company,
    peace: Peace,
    n_kills: int,
    faults: Faults = STORM,
    seed: int = 901,
    server: PostgresServer | None = None,
) -> Tally:
    """Live through the same mornings, killed about equally often in each, and tally what is there after each.

    Parameters
    ----------
    n_kills : over all mornings; a process that ends before its moment comes is no kill, and is tried again
    server : keeps the ledger, and is restarted in the middle of every morning's last attempt
    """
    chance, tally, log = random.Random(seed), Tally(), company.folder / "log"
    ledger = server.new_database() if server else ""
    with _delivering(company, f"fire{seed}{'p' * bool(server)}", faults, seed, ledger) as (site, receiver):
        for day, undisturbed in enumerate(peace.files):
            work = partial(morning_and_delivery, site, company.as_of(day))
            due = (n_kills * (day + 1)) // len(peace.files)
            while tally.kills < due:
                if _killed(work, peace.seconds[day], chance, _scored(site), log):
                    tally.kills += 1
                    tally.killed_while[in_child(lambda: _doing(site), log)] += 1
            if server:
                moment = chance.uniform(0.0, 0.9 * sum(peace.seconds[day]))
                tally.restarts += disturbed(work, moment, lambda _: server.restart(), log)
            _left_in_peace(site, work, log)
            receiver.wait_for_late()
            tally.add(in_child(lambda undisturbed=undisturbed: _seen(site, receiver, undisturbed), log))
        tally.sent, tally.doubled = receiver.effects(), receiver.doubles()
    return tally


def _killed(
    work: Callable[[], Any], seconds: tuple[float, float], chance: random.Random, scored: Path, log: Path
) -> bool:
    """Kill at any moment, or every other time at any moment of the delivery, which is the shorter part."""
    if chance.random() < 0.5:
        return disturbed(work, chance.uniform(0.0, 1.05 * sum(seconds)), kill, log)
    scored.unlink(missing_ok=True)
    return disturbed(work, chance.uniform(0.0, 1.05 * seconds[1]), kill, log, since=scored)


def _left_in_peace(site: Site, work: Callable[[], str], log: Path) -> None:
    """The next run, and `reconcile`, which must find nothing that a person has to see to."""
    ending = in_child(work, log)
    if ending not in ("written", "nothing to write"):
        raise ChildError(f"the delivery ended as {ending}")
    facts = in_child(lambda: reconcile(site), log)
    if not is_whole(facts):
        raise ChildError(reconciled_text(facts))


@contextmanager
def _delivering(company: Company, name: str, faults: Faults, seed: int, ledger: str) -> Iterator[tuple[Site, Receiver]]:
    """A copy of the company's store, and a receiver for its queues."""
    folder = company.folder / name
    with faulty_receiver(folder / "receiver", faults, seed) as receiver:
        site = replace(company.site, store=str(folder / "store"), out=str(folder / "out"), ledger=ledger, **AUTO)
        site = replace(site, destination=receiver.table())
        in_child(lambda: _copy_store(Path(company.site.store), site), company.folder / "log")
        yield site, receiver


def _copy_store(source: Path, site: Site) -> None:
    """Copy a store; into a ledger in PostgreSQL row by row."""
    leave = shutil.ignore_patterns("ledger.*", "store*") if site.ledger else None
    shutil.copytree(source, site.store, ignore=leave)
    if not site.ledger:
        return
    with lock_store(Path(site.store), site) as ledger:
        for table in ("runs", "steps", "promotions"):
            rows = Ledger(source).read(f"select * from {table}")
            names = [name for name in rows[0] if name != "id"]
            statement = f"insert into {table}({', '.join(names)}) values ({', '.join('?' * len(names))})"
            ledger.write_all(statement, [tuple(row[name] for name in names) for row in rows])


def _doing(site: Site) -> str:
    """What the killed process was at, by what it left behind."""
    ledger = Ledger(Path(site.store))
    run = next(iter(ledger.runs()), None)
    if Outbox(ledger).destinations_unfinished():
        return "delivering"
    if run is None or run["ended_at"] is None and run["state"] != "published":
        return "deciding"
    return "telling MLflow" if run["ended_at"] is None else "between the two"


def _seen(site: Site, receiver: Receiver, undisturbed: dict[str, bytes]) -> dict[str, int]:
    """What is there after a morning, read from files and databases themselves."""
    out, store = Path(site.out), Path(site.store)
    queue = pq.read_table(out / "queue.parquet", columns=["order_line_id", "rank", "ship_now_quantity"]).to_pylist()
    wished = {row["order_line_id"]: (float(row["rank"]), float(row["ship_now_quantity"])) for row in queue}
    held = {line: (float(said["rank"]), float(said["ship_now_quantity"])) for line, said in receiver.lines().items()}
    ledger = Ledger(store)
    states = [row["state"] for row in ledger.read("select state from outbox")]
    final = ("accepted", "skipped", "refused")
    return {
        "lines": len(wished),
        "lost": len(wished.keys() - held.keys()),
        "differing": sum(held[line] != wished.get(line) for line in held),
        "bytes_differ": sum((out / name).read_bytes() != content for name, content in undisturbed.items()),
        "runs_left": len(ledger.read("select id from runs where ended_at is null")),
        "deliveries_left": len(Outbox(ledger).destinations_unfinished()) + sum(state not in final for state in states),
        **_in_mlflow(ledger),
    }


def _in_mlflow(ledger: Ledger) -> dict[str, int]:
    """Runs that MLflow shows as running, and what it has not exactly once, by its own tables."""
    with closing(sqlite3.connect(local_database(ledger.store))) as database:
        left = database.execute("select count(*) from runs where status = 'RUNNING'").fetchone()[0]
        query = (
            "select t.key, t.value from runs r join tags t using (run_uuid)"
            " where r.status = 'FINISHED' and t.key in ('run_id', 'version')"
        )
        shown = Counter(database.execute(query).fetchall())
    published = ("published", "sent", "confirmed")
    known = {("run_id", row["run_id"]) for row in ledger.runs() if row["state"] in published}
    known |= {("version", version.version_hash) for version in ledger.models()}
    return {"mlflow_left": left, "mlflow_wrong": sum(shown[each] != 1 for each in known) + len(shown.keys() - known)}
