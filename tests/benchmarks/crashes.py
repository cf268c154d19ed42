"""What 200 kills leave behind: `python tests/benchmarks/crashes.py [--quick] [--json FILE]`.

A company's next mornings are scored, published, told to MLflow and delivered to a receiver that loses 30 % of its
answers, answers 429 and 500, times out after it took a line, and gets requests twice and out of order. Processes are
killed at random moments (kill -9), then the next one runs, then `reconcile`. What was delivered is undone and delivered
anew, so that each of them has something to do. The same once more with the ledger in a
PostgreSQL server of its own, which is restarted in the middle of each morning too. Quick: 8 kills.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from erp.settings import Site, utc_moment
from erp.simulator import CompanyShape, close, simulate, step, write_tables
from tests.benchmarks.crashes_proof import Company, Tally, in_child, in_peace, trained_company, under_fire
from tests.faulty_receiver import STORM
from tests.figures import Figure, options, show
from tests.postgres_server import PASSWORD, postgres_server

SHAPE = CompanyShape(n_customers=60, n_products=5, n_days=150, safety_days=-8, median_gap_days=15.0, seed=902)
N_MORNINGS, N_KILLS = 4, 200
QUICK_MORNINGS, QUICK_KILLS = 2, 8
NONE = {
    "lost": "lines of the queues that the receiver lacks",
    "doubled": "lines that the receiver carried out twice",
    "differing": "lines of which the receiver says something else, or that left the queue",
    "bytes_differ": "published files that differ by a byte from the undisturbed ones",
    "runs_left": "runs left running in the ledger",
    "deliveries_left": "deliveries or lines of the outbox left open",
    "mlflow_left": "runs left running in MLflow",
    "mlflow_wrong": "queues and trainings that MLflow has not exactly once",
}


def company(folder: Path, n_mornings: int) -> Company:
    """Simulate a company and the days that it lives on, and train its models."""

    def write() -> str:
        lived = simulate(SHAPE)
        first = lived.as_of
        for _ in range(n_mornings):
            step(lived)
        write_tables(close(lived), folder / "data")
        return str(first)

    folder.mkdir(parents=True, exist_ok=True)
    first = utc_moment(in_child(write, folder / "log"))
    site = Site(data=str(folder / "data"), store=str(folder / "store"), out=str(folder / "out"))
    return trained_company(folder, site, first)


def figures(tally: Tally, ledger: str) -> list[Figure]:
    """What was asked of the system, and what must be nowhere."""
    asked = [
        Figure(f"ledger in {ledger}: kills (-9)", tally.kills),
        *(Figure(f"... while {what}", n) for what, n in sorted(tally.killed_while.items())),
        *([Figure("restarts of the server while a morning went on", tally.restarts)] if tally.restarts else []),
        Figure("mornings; each ends with a run in peace and reconcile", tally.mornings),
        Figure("lines of their queues", tally.lines),
        Figure("lines that the receiver carried out", tally.sent),
    ]
    return asked + [Figure(what, getattr(tally, name), goal=0, better="lower") for name, what in NONE.items()]


def measured(folder: Path, quick: bool, seed: int = 901) -> Iterator[Figure]:
    """The proof, on both kinds of ledger."""
    n_mornings, n_kills = (QUICK_MORNINGS, QUICK_KILLS) if quick else (N_MORNINGS, N_KILLS)
    lived = company(folder, n_mornings)
    peace = in_peace(lived, n_mornings, STORM, seed)
    yield from figures(under_fire(lived, peace, n_kills, STORM, seed), "SQLite")
    os.environ["BACKORDER_LEDGER_PASSWORD"] = PASSWORD
    with postgres_server() as server:
        few = replace(peace, files=peace.files[:2])
        yield from figures(under_fire(lived, few, n_kills // 8, STORM, seed, server), "PostgreSQL")


if __name__ == "__main__":
    given = options((__doc__ or "").splitlines()[0])
    with TemporaryDirectory(prefix="backorder-crashes-") as place:
        show(list(measured(Path(place), given.quick)), given.json)
