"""How long the main job takes and how much memory: `python tests/benchmarks/main_job.py [--quick] [--json FILE]`.

Each row is one process of its own, timed from outside: wall seconds, CPU seconds of it and its children, and its
greatest resident memory. A busy machine stretches wall seconds; CPU seconds stand beside them. Quick leaves out the
company of 8,000 customers and Online Retail II, whose folder or workbook `ONLINE_RETAIL_II` names.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from tests.figures import Figure, options, show

RETAIL = Path(os.environ.get("ONLINE_RETAIL_II", "../shared/data/online_retail_ii"))
COMPANY = ["--customers", "8000", "--products", "300", "--days", "730", "--seed", "5150"]
COMPANY_AS_OF = "2025-12-31T05:00:00Z"


@dataclass(frozen=True)
class Spent:
    """What one process took."""

    wall_seconds: float
    cpu_seconds: float
    peak_gigabytes: float


def spent(command: list[str], **settings: str) -> Spent:
    """Run a command to its end and say what it took; its output goes to standard error."""
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)
        # Where Python may not keep compiled modules each process compiles all imports, six seconds that no user waits.
        os.execve(command[0], command, os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | settings)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    return Spent(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def rows(name: str, took: Spent, most_seconds: float, most_gigabytes: float) -> list[Figure]:
    """The three figures of one process; goals are for wall seconds and memory."""
    return [
        Figure(f"{name}: wall seconds", took.wall_seconds, goal=most_seconds, better="lower"),
        Figure(f"{name}: CPU seconds", took.cpu_seconds, better="lower"),
        Figure(f"{name}: peak memory, GB", took.peak_gigabytes, goal=most_gigabytes, better="lower"),
    ]


def measured(folder: Path, quick: bool) -> Iterator[Figure]:
    """Every job in turn, each in its own store."""
    backorder = str(Path(sys.executable).with_name("backorder"))
    demo = [backorder, "demo", "--store", str(folder / "demo/store"), "--out", str(folder / "demo/queue")]
    yield from rows("demo, 1,500 customers", spent(demo), 90, 2)
    if quick:
        return
    data = folder / "company"
    simulated = spent([backorder, "simulate", *COMPANY, "--out", str(data)])
    yield from rows("simulate, 8,000 customers, 2 years", simulated, 60, 2)
    run = [backorder, "run", "--data", str(data), "--as-of", COMPANY_AS_OF]
    took = spent([*run, "--store", str(folder / "company-store"), "--out", str(folder / "company-queue")])
    yield from rows("run, 8,000 customers, 2 years", took, 120, 2)
    yield Figure(
        "open back-ordered lines of it", len(pd.read_parquet(folder / "company-queue/queue.parquet")), goal=400
    )
    if RETAIL.exists():
        yield from retail(folder, backorder)
    else:
        print(f"Online Retail II is not at {RETAIL}: left out", file=sys.stderr)


def retail(folder: Path, backorder: str) -> Iterator[Figure]:
    """Online Retail II with replayed supply: conversion and the main job."""
    data = str(folder / "retail")
    convert = [sys.executable, "-m", "erp.online_retail", str(RETAIL), data, "--replay-supply"]
    yield from rows("Online Retail II, conversion", spent(convert), 60, 3)
    places = ["--store", str(folder / "retail-store"), "--out", str(folder / "retail-queue")]
    run = [backorder, "run", "--data", data, *places, "--as-of", "2011-11-15T05:00:00Z"]
    took = spent(run, BACKORDER_MAX_STOCK_AGE_DAYS="7", BACKORDER_CURRENCY="GBP")
    yield from rows("Online Retail II, run", took, 300, 4)


if __name__ == "__main__":
    given = options(__doc__ or "")
    with TemporaryDirectory(prefix="backorder-bench-") as place:
        show(list(measured(Path(place), given.quick)), given.json)
