"""Who holds a store: an operating-system lock, which the system drops with the process that held it.

Nothing heavy is imported: a command that finds the store busy has said so before the others' modules are read.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

LOCK_FILE = "store.lock"
_HOLDER_FILE = "store-holder.json"
_PATIENCE_SECONDS = 0.3  # a look at the lock takes it for a moment; nobody shall take that for a holder


class StoreBusy(Exception):  # noqa: N818 - a state to wait for, not an error of anybody
    """Another process holds the store."""


@contextmanager
def hold(store: Path) -> Iterator[None]:
    """Hold the store alone; its folder is made if need be. A killed holder leaves no lock behind.

    Raises
    ------
    StoreBusy
        Within a second, if another process (or this one, twice) holds it.
    """
    store.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(store / LOCK_FILE), store / _HOLDER_FILE
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except Timeout:
        raise StoreBusy(_busy_text(store)) from None
    try:
        _write(holder, {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="microseconds")})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def refuse_if_held(store: Path) -> None:
    """Look whether another process holds the store now; nothing is held or made by looking.

    Raises
    ------
    StoreBusy
        If one does.
    """
    if not (store / LOCK_FILE).is_file():
        return
    lock = FileLock(store / LOCK_FILE)
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except Timeout:
        raise StoreBusy(_busy_text(store)) from None
    lock.release()


def is_held_here(store: Path) -> bool:
    """Whether this process said that it holds the store."""
    return bool(_holder(store).get("pid") == os.getpid())


def _holder(store: Path) -> dict[str, Any]:
    """Who says to hold the store; a killed holder's word stays until the next one takes the lock."""
    try:
        said = json.loads((store / _HOLDER_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _busy_text(store: Path) -> str:
    holder = _holder(store)
    who = f"process {holder['pid']} since {holder['since'][:19]} UTC" if holder else "another process"
    return f"the store {store.name} is held by {who}; wait until it has ended, or stop it, and try again"


def _write(path: Path, said: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(said), encoding="utf-8")
    os.replace(part, path)
