"""What a job is doing, since when, and about how long it still takes."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TextIO

from erp.kept_files import write_text

_log = logging.getLogger("backorder")
FILE = "stage-seconds.json"
STEADYING = 5.0  # seconds: a short stage says little about the machine's pace
# Seconds of each stage of a company of 1,500 customers, two years and 15,000 past lines. Only how they stand to one
# another counts: the first stages of a job tell how fast this machine is and how large this company.
USUAL = {
    "simulate": 3.0,
    "collect": 2.0,
    "facts": 0.8,
    "features": 0.5,
    "look back": 23.0,
    "cancellation-risk": 8.5,
    "lifetime-value": 4.0,
    "next-order": 5.0,
    "arrival": 12.0,
    "score": 2.0,
    "publish": 9.0,
    "decide again": 8.0,
    "compare": 2.0,
    "explain": 3.0,
}


def plan(stages: Sequence[str]) -> None:
    """Say which stages are still to come, so that the time left can be told."""
    _log.debug("stages to come: %s", ", ".join(stages), extra={"plan": tuple(stages)})


def stage(name: str, message: str, *values: object) -> None:
    """Say that a stage of the job begins."""
    _log.info(message, *values, extra={"stage": name})


@contextmanager
def shown(quiet: bool, stream: TextIO | None = None) -> Iterator["Progress"]:
    """Write what the log says to stderr while the command runs, with the time left; quiet: warnings only."""
    handler = Progress(stream or sys.stderr, logging.WARNING if quiet else logging.INFO)
    before, propagates = _log.handlers[:], _log.propagate
    _log.handlers[:], _log.propagate = [handler], False
    _log.setLevel(logging.DEBUG)
    try:
        yield handler
        handler.keep()
    finally:
        handler.close()
        _log.handlers[:], _log.propagate = before, propagates


class Progress(logging.Handler):
    """Lines of elapsed time and message; at the beginning of a stage also about how long the job still takes.

    On a terminal the line of a running stage counts on; elsewhere it is written once. How long stages took is
    remembered in the store for the next job, if there is a store.
    """

    def __init__(self, stream: TextIO, shown_from: int) -> None:
        super().__init__()  # of every level: plans and stages are noted even where they are not shown
        self.stream, self.shown_from = stream, shown_from
        self.started = time.monotonic()
        self.store: Path | None = None
        self.remembered: dict[str, float] = {}
        self.took: dict[str, float] = {}
        self.to_come: list[str] = []
        self.running: tuple[str, str, float] | None = None  # stage, message, since
        self._ends = Event()
        self._counter: Thread | None = None

    def remember(self, store: Path) -> None:
        """Read how long the stages took the last time in this store, where this time's seconds are kept at the end."""
        self.store = store
        try:
            self.remembered = {str(k): float(v) for k, v in json.loads((store / FILE).read_text()).items()}
        except (OSError, ValueError, AttributeError):
            self.remembered = {}  # never seen, or no memory of ours: the usual seconds stand in

    def keep(self) -> None:
        """Write how long the stages of this job took; nothing where there is no store."""
        self._end_stage()
        if self.took and self.store is not None and self.store.is_dir():
            write_text(self.store / FILE, json.dumps(self.remembered | self.took, indent=1, sort_keys=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Note plans and stages, and write what is to be shown."""
        if hasattr(record, "plan"):
            self.to_come = list(record.plan)
        is_stage = hasattr(record, "stage")
        if is_stage:
            self._begin(record)
        if record.levelno < self.shown_from:
            return
        self._write(record.getMessage(), self._left() if is_stage else None)
        if is_stage and self.stream.isatty() and self._counter is None:
            self._counter = Thread(target=self._count_on, daemon=True)
            self._counter.start()

    def close(self) -> None:
        """Stop counting."""
        self._ends.set()
        if self._counter is not None:
            self._counter.join()
        super().close()

    def seconds_left(self) -> float:
        """About how long the stages still to come take, the running one included.

        Known seconds are those of the last time, else the usual ones; what the stages that are done took against what
        was known of them says how much slower or faster this time is.
        """
        known = USUAL | self.remembered
        expected = sum(known.get(name, 0.0) for name in self.took)
        pace = (sum(self.took.values()) + STEADYING) / (expected + STEADYING)
        since = time.monotonic() - self.running[2] if self.running else 0.0
        first = max(known.get(self.to_come[0], 0.0) * pace - since, 0.0) if self.to_come else 0.0
        return first + pace * sum(known.get(name, 0.0) for name in self.to_come[1:])

    def _begin(self, record: logging.LogRecord) -> None:
        self._end_stage()
        name = str(record.stage)  # type: ignore[attr-defined]
        self.to_come = self.to_come[self.to_come.index(name) :] if name in self.to_come else [name, *self.to_come]
        self.running = name, record.getMessage(), time.monotonic()

    def _end_stage(self) -> None:
        if self.running is not None:
            self.took[self.running[0]] = time.monotonic() - self.running[2]
            self.to_come = self.to_come[1:]
            self.running = None

    def _left(self) -> str | None:
        return about(self.seconds_left()) if len(self.to_come) else None

    def _write(self, message: str, left: str | None, again: bool = False) -> None:
        said = f"{time.monotonic() - self.started:6.1f} s  {message}" + (f"; {left} left" if left else "")
        clear = "\r\033[K" if self.stream.isatty() else ""  # on a terminal the last line counts on below the others
        self.stream.write(f"{clear}{said}" if again else f"{clear}{said}\n")
        self.stream.flush()

    def _count_on(self) -> None:
        while not self._ends.wait(1.0):
            if self.running is not None:
                self._write(self.running[1], self._left(), again=True)
        self.stream.write("\r\033[K")


def about(seconds: float) -> str:
    """Say a time as one would.

    >>> about(0.4), about(7.2), about(64), about(3000)
    ('a moment', 'about 7 s', 'about 1 min', 'about 50 min')
    """
    if seconds < 1.5:
        return "a moment"
    return f"about {seconds:.0f} s" if seconds < 55 else f"about {seconds / 60:.0f} min"
