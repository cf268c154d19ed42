"""One way of giving out goods on one case, in a process of its own: CPU seconds, memory, and what it found.

The process draws the case and goes the way once on a small one, so that no import is timed. Seconds are CPU of all its
threads (one, as `FEW_THREADS` asks). Memory is the most that the process has held by then, Python, all packages and
the case included, read as in `cancellation_cost`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.benchmarks.allocation_cases import Case
from tests.benchmarks.allocation_ways import WAYS, Facts
from tests.benchmarks.cancellation_cost import FEW_THREADS, most_megabytes_held

LONGEST_SECONDS = 900


@dataclass(frozen=True)
class Measured:
    """CPU seconds of each repeat, the most memory held by then in MB, and what was found."""

    cpu_s: list[float]
    mb: float
    found: Facts


def measured(way: str, case: Case, n_times: int = 1) -> Measured:
    """Go this way in a fresh process, some times."""
    command = [sys.executable, "-m", "tests.benchmarks.allocation_runs", way, json.dumps(asdict(case)), str(n_times)]
    folder = Path(__file__).parents[2]
    ended = subprocess.run(
        command, cwd=folder, env=os.environ | FEW_THREADS, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    if ended.returncode:
        raise RuntimeError(f"{way} on {case.name} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def _measure(way: str, case: Case, n_times: int) -> Measured:
    WAYS[way](replace(case, n_lines=300, n_products=30)).run()
    here, cpu_s, result = WAYS[way](case), [], None
    for _ in range(n_times):
        result = None
        start = time.process_time()
        result = here.run()
        cpu_s.append(time.process_time() - start)
    mb = most_megabytes_held()
    return Measured(cpu_s, mb, {name: float(value) for name, value in here.found(result).items()})


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(sys.argv[1], Case(**json.loads(sys.argv[2])), int(sys.argv[3])))))
