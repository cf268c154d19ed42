"""Seconds and memory of learning and scoring, each size in a process of its own.

The process loads Python and the model's packages, makes the book in slices of a few megabytes, builds the frame, learns
and then scores. Seconds are CPU of all its threads (one, as `FEW_THREADS` asks). Memory is the most it held until the
model was learned, all of that included and nothing subtracted. It is read as Linux's VmHWM, which counts this program
alone; getrusage's ru_maxrss would begin with what the process that started it held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

FEW_THREADS = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
LONGEST_SECONDS = 900
N_OPEN, N_SCORED_DAYS = 4000, 90


def cost(n_lines: int, seed: int) -> dict[str, float]:
    """Fit and score in a fresh process: fit_cpu_s, fit_mb, score_s."""
    command = [sys.executable, "-m", "tests.benchmarks.cancellation_cost", str(n_lines), str(seed)]
    folder = Path(__file__).parents[2]
    ended = subprocess.run(
        command, cwd=folder, env=os.environ | FEW_THREADS, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    if ended.returncode:
        raise RuntimeError(f"learning from {n_lines} lines ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def _measure(n_lines: int, seed: int) -> dict[str, float]:
    from models.cancellation import fit, survival
    from tests.benchmarks.cancellation_ours import ADVANCING, as_lines, samples
    from tests.benchmarks.cancellation_worlds import KNOWN_TRUTH, NUMERIC, TEXT, history, open_lines

    frame = samples(history(KNOWN_TRUTH, n_lines, seed), seed)
    start = time.process_time()
    model = fit(frame, seed, (*ADVANCING, *NUMERIC), TEXT)
    fit_cpu_s = time.process_time() - start
    fit_mb = most_megabytes_held()
    lines = as_lines(open_lines(KNOWN_TRUTH, N_OPEN, seed))
    start = time.perf_counter()
    survival(model, lines, N_SCORED_DAYS)
    return {"fit_cpu_s": fit_cpu_s, "fit_mb": fit_mb, "score_s": time.perf_counter() - start}


def most_megabytes_held() -> float:
    """Most memory that this process has held so far, in MB of a million bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]), int(sys.argv[2]))))
