"""One run of the pipeline: its folder, the steps it keeps, how far it came."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, Self, TypeVar, cast

from erp.fingerprint import fingerprint
from erp.kept_files import fill_folder, read_kept, write_kept, write_text
from erp.ledger import FAILED_UNLESS_PUBLISHED, Ledger, LedgerError, utc_text
from erp.queue_files import publish, read_manifest

_log = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Run:
    """An opened run; leaving its `with` block ends it, as failed if an exception leaves too.

    States: started, planned, scored, published, failed; and by delivery sent (every line has an answer), confirmed (the
    ERP holds the queue). A run that published stays so whatever fails afterwards.
    """

    ledger: Ledger
    id: int  # of its row in the table `runs`
    as_of: datetime
    key: str
    folder: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            statement = f"update runs set state = {FAILED_UNLESS_PUBLISHED}, error = ? where id = ?"
            self.ledger.write(statement, _first_line(error), self.id)
        self._set(ended_at=utc_text(datetime.now(UTC)))

    def keep(self, name: str, make: Callable[..., Value], *args: object) -> Value:
        """Give the output of a step: read if it was kept for the same arguments and is whole, else made and kept.

        Always what was read back from the file, so that a first and a resumed run go on from identical values.

        Parameters
        ----------
        make : returns a frame (kept as NAME.parquet), a dict (NAME.json) or a NumPy array (NAME.npy).
        args : whatever `erp.fingerprint.fingerprint` knows; everything the output depends on besides the code.
        """
        return cast(Value, read_kept(self._step(name, lambda: write_kept(self.folder / name, make(*args)), args)))

    def keep_folder(self, name: str, make: Callable[..., object], *args: object) -> Path:
        """Give the folder NAME of this run, kept like a step's file; `make(folder, *args)` fills it if need be."""

        def filled() -> Path:
            fill_folder(self.folder / name, lambda part: make(part, *args))
            return self.folder / name

        return self._step(name, filled, args)

    def reach(self, state: Literal["planned"]) -> None:
        """Note how far the run came."""
        self._set(state=state)

    def note(
        self, *, facts: str | None = None, models: object = None, policy: object = None, code: str | None = None
    ) -> None:
        """Note what the run works with: texts as they are, anything else as JSON."""
        known = {"facts": facts, "models": models, "policy": policy, "code": code}
        self._set(**{name: _text(value) for name, value in known.items() if value is not None})

    def note_counts(self, counts: dict[str, dict[str, int]]) -> None:
        """Note the rows known per table and day, against which the next run sees a table that shrank."""
        self._set(counts=json.dumps(counts, sort_keys=True))

    def note_queue(self, queue_folder: Path) -> None:
        """Note the queue that `write_queue` wrote into a folder of this store: it is scored, and can be found again."""
        self._set(state="scored", **self._queue_in(queue_folder))

    def publish(self, queue_folder: Path, out: Path) -> None:
        """Publish the files that `write_queue` wrote into a folder of this store, and note run id, lines and place."""
        queue = self._queue_in(queue_folder)
        publish(queue_folder, out)
        self._set(state="published", **queue, out=str(out.resolve()))

    def _queue_in(self, folder: Path) -> dict[str, str | int]:
        manifest = read_manifest(folder)
        return {
            "run_id": manifest["run_id"],
            "n_lines": manifest["files"]["queue.parquet"]["rows"],
            "queue": self.ledger.below(folder / "queue.parquet"),
        }

    def _step(self, name: str, make: Callable[[], Path], args: tuple[object, ...]) -> Path:
        inputs = fingerprint(args)
        kept, made_because = self._kept(name, inputs)
        if kept is not None:
            return kept
        started = perf_counter()
        made = make()
        self._record(name, made, inputs, perf_counter() - started, made_because)
        return made

    def _kept(self, name: str, inputs: str) -> tuple[Path | None, str]:
        """Find the kept file or folder of a step if it may be used again, and if not, why not."""
        rows = self.ledger.read("select * from steps where folder = ? and name = ?", self._place, name)
        if not rows:
            return None, "new"
        if rows[0]["inputs"] != inputs:
            return None, "its inputs changed"
        path = self.folder / rows[0]["file"]
        if not path.exists():
            because = f"{path.name} is gone"
        elif fingerprint(path) != rows[0]["output"]:
            because = f"{path.name} differs from its sha256"
        else:
            return path, ""
        _log.warning("run %s: step %s is made again: %s", self.folder.name, name, because)
        return None, because

    def _record(self, name: str, path: Path, inputs: str, seconds: float, made_because: str) -> None:
        self.ledger.write(
            "insert into steps(folder, name, file, inputs, output, seconds, made_because, made_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (folder, name) do update set file = excluded.file,"
            " inputs = excluded.inputs, output = excluded.output, seconds = excluded.seconds,"
            " made_because = excluded.made_because, made_at = excluded.made_at",
            *(self._place, name, path.name, inputs, fingerprint(path), round(seconds, 3), made_because),
            utc_text(datetime.now(UTC)),
        )
        steps = self.ledger.read("select * from steps where folder = ? order by made_at, name", self._place)
        write_text(self.folder / "steps.json", json.dumps([dict(step) for step in steps], indent=1))

    @property
    def _place(self) -> str:
        return self.ledger.below(self.folder)

    def _set(self, **columns: str | int | None) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self.ledger.write(f"update runs set {names} where id = ?", *columns.values(), self.id)


def open_run(store: Path, as_of: datetime, key: str, held: Ledger | None = None) -> Run:
    """Open a run within `with lock_store(store)`; the same as_of and key find the same folder and what is kept there.

    Parameters
    ----------
    key : fingerprint of all that the run depends on besides as_of: data, policy, site and code.
    held : what `lock_store` gave: its connection is used for all that the run notes; None: one per note
    """
    if len(key) < 12:
        raise LedgerError(f"the key {key!r} is no fingerprint; pass fingerprint(...) of what the run depends on")
    folder = store / "runs" / f"{_compact(as_of)}-{key[:12]}"
    ledger = held or Ledger(store)
    run_row = ledger.write(
        "insert into runs(key, as_of, state, folder, started_at) values (?, ?, 'started', ?, ?) returning id",
        *(key, utc_text(as_of), ledger.below(folder), utc_text(datetime.now(UTC))),
    )
    folder.mkdir(parents=True, exist_ok=True)
    return Run(ledger, run_row, as_of, key, folder)


def _compact(as_of: datetime) -> str:
    """Write a time as part of a folder's name; the fraction of a second only where there is one.

    >>> _compact(datetime(2026, 3, 9, 5))
    '20260309T050000Z'
    """
    digits = utc_text(as_of).removesuffix("+00:00").translate({ord(sign): None for sign in "-:."})
    return digits.removesuffix("000000") + "Z"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
