"""Mornings that are killed again and again while they score, publish and deliver, and what must be true afterwards.

A warm parent, which has imported everything and opened nothing, forks a process per attempt and kills it at a random
moment; a last attempt of the morning is left in peace, then `reconcile` runs. What is there afterwards is read from the
files and databases themselves and compared with the same mornings that nobody disturbed.
"""

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
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from erp.destination import DeliveryError
from erp.ledger import PUBLISHED, Ledger, LedgerError, lock_store, utc_time
from erp.outbox import OPEN_STATES
from erp.settings import Site
from pipelines.delivery import Delivered, apply, undo
from pipelines.jobs import score, train
from pipelines.reconcile import is_whole, reconcile, reconciled_text
from pipelines.tracking import local_database
from tests.faulty_receiver import STORM, Faults, Receiver, faulty_receiver
from tests.pipelines.small_company import FILES
from tests.postgres_server import PostgresServer

# Nothing is asked: what is proved is that whatever is written arrives once.
AUTO = {"apply": "auto", "apply_max_lines": 10**6, "apply_max_slip_days": 10**6, "apply_max_money": 1e12}
ENDINGS = ("written", "nothing to write")
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


def disturbed(work: Callable[[], Any], after_seconds: float, deed: Callable[[int], None], log: Path) -> bool:
    """Do some work in a forked process and do something to it after a time; False if it came to its end before.

    Parameters
    ----------
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
    ends, done, status = time.monotonic() + after_seconds, 0, 0
    while time.monotonic() < ends and not done:
        done, status = os.waitpid(pid, os.WNOHANG)
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


def deliver(site: Site) -> str:
    """Write the ERP until it has taken everything; where it has already, take that back and write it anew."""
    if _worked_off(apply, site) == "nothing to write":
        with suppress(LedgerError):  # a queue that was there already, by an earlier run, is none of this run's to undo
            _worked_off(undo, site)
    return _worked_off(apply, site)


def _worked_off(do: Callable[[Site], Delivered], site: Site) -> str:
    endings = (_ending(do, site) for _ in range(PATIENCE))
    return next((ending for ending in endings if ending in ENDINGS), "unfinished")


def _ending(do: Callable[[Site], Delivered], site: Site) -> str:
    try:
        return do(site).ending
    except DeliveryError:  # even asking what it holds got no answer, eight times: the operator is told to try again
        return "unreachable"


@dataclass(frozen=True)
class Peace:
    """The undisturbed mornings: bytes of their files, and the seconds that deciding and delivering each took."""

    files: list[dict[str, bytes]]
    seconds: list[tuple[float, float]]


def in_peace(company: Company, n_mornings: int, faults: Faults, seed: int) -> Peace:
    """Live through mornings undisturbed, with a receiver as faulty as the other's."""
    files, seconds = [], []
    with _delivering(company, "peace", faults, seed, "") as (site, _):
        for day in range(n_mornings):
            seconds.append(
                (_took(partial(score, site, company.as_of(day)), company), _took(partial(deliver, site), company))
            )
            files.append({name: (Path(site.out) / name).read_bytes() for name in FILES})
    return Peace(files, seconds)


def _took(work: Callable[[], Any], company: Company) -> float:
    started = time.monotonic()
    in_child(work, company.folder / "log")
    return time.monotonic() - started


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
    server : keeps the ledger, and is restarted once while each morning is decided and once while it is delivered
    """
    chance, tally, log = random.Random(seed), Tally(), company.folder / "log"
    ledger = server.new_database() if server else ""
    with _delivering(company, f"fire{seed}{'p' * bool(server)}", faults, seed, ledger) as (site, receiver):
        for day, undisturbed in enumerate(peace.files):
            jobs = (partial(score, site, company.as_of(day)), partial(deliver, site))
            due, took = (n_kills * (day + 1)) // len(peace.files), list(peace.seconds[day])
            while tally.kills < due:
                # Every other one while it delivers, once there is a queue of this morning.
                which = int(chance.random() < 0.5 and in_child(partial(_is_published, site, company.as_of(day)), log))
                started = time.monotonic()
                if disturbed(jobs[which], chance.uniform(0.0, took[which]), kill, log):
                    tally.kills += 1
                    tally.killed_while[in_child(partial(_doing, site, which), log)] += 1
                else:
                    took[which] = time.monotonic() - started  # what is kept is not made again
            for job, seconds in zip(jobs, took, strict=True):
                tally.restarts += server is not None and _restarted(server, job, seconds, chance, log)
            _left_in_peace(site, jobs, log)
            receiver.wait_for_late()
            tally.add(in_child(partial(_seen, site, receiver, undisturbed), log))
            print(f"morning {day + 1}: {tally}", file=sys.stderr)
        tally.sent, tally.doubled = receiver.effects(), receiver.doubles()
    return tally


def _restarted(
    server: PostgresServer, job: Callable[[], Any], seconds: float, chance: random.Random, log: Path
) -> bool:
    """Restart the server while a job goes on, ever earlier if the job had ended before; the job must end well."""
    moments = (chance.uniform(0.0, seconds / 2**turn) for turn in range(5))
    return any(disturbed(job, moment, lambda _: server.restart(), log) for moment in moments)


def _left_in_peace(site: Site, jobs: tuple[Callable[[], Any], Callable[[], Any]], log: Path) -> None:
    """The next run and delivery, and `reconcile`, which must find nothing that a person has to see to."""
    in_child(jobs[0], log)
    if (ending := in_child(jobs[1], log)) not in ENDINGS:
        raise ChildError(f"the delivery ended as {ending}")
    facts = in_child(partial(reconcile, site), log)
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


def _is_published(site: Site, as_of: datetime) -> bool:
    rows = Ledger(Path(site.store)).runs()
    return any(row["state"] in PUBLISHED and utc_time(row["as_of"]).replace(tzinfo=None) == as_of for row in rows)


def _doing(site: Site, which: int) -> str:
    """What the killed process was at, by what it left behind."""
    ledger = Ledger(Path(site.store))
    if which:
        newest = max(ledger.read("select id, kind, state from deliveries"), key=lambda row: row["id"], default=None)
        is_open = newest is not None and newest["state"] == "open"
        return f"{'undoing' if newest['kind'] == 'undo' else 'delivering'}" if is_open else "planning a delivery"
    run = next(iter(ledger.runs()), None)
    if run is None or run["ended_at"] is not None:
        return "beginning or ending a run"
    return "telling MLflow" if run["state"] in PUBLISHED else "deciding"


def _seen(site: Site, receiver: Receiver, undisturbed: dict[str, bytes]) -> dict[str, int]:
    """What is there after a morning, read from files and databases themselves."""
    out, store = Path(site.out), Path(site.store)
    queue = pq.read_table(out / "queue.parquet", columns=["order_line_id", "rank", "ship_now_quantity"]).to_pylist()
    wished = {row["order_line_id"]: (float(row["rank"]), float(row["ship_now_quantity"])) for row in queue}
    held = {line: (float(said["rank"]), float(said["ship_now_quantity"])) for line, said in receiver.lines().items()}
    ledger = Ledger(store)
    states = [row["state"] for row in ledger.read("select state from outbox")]
    return {
        "lines": len(wished),
        "lost": len(wished.keys() - held.keys()),
        "differing": sum(held[line] != wished.get(line) for line in held),
        "bytes_differ": sum((out / name).read_bytes() != content for name, content in undisturbed.items()),
        "runs_left": len(ledger.read("select id from runs where ended_at is null")),
        "deliveries_left": len(ledger.read("select id from deliveries where state = 'open'"))
        + sum(state in OPEN_STATES for state in states),
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
    known = {("run_id", row["run_id"]) for row in ledger.runs() if row["state"] in PUBLISHED}
    known |= {("version", version.version_hash) for version in ledger.models()}
    return {"mlflow_left": left, "mlflow_wrong": sum(shown[each] != 1 for each in known) + len(shown.keys() - known)}
