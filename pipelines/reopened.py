"""A morning that was decided, opened again from the store: without its tables, and without deciding it anew."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from decisions.morning import GivenTo
from decisions.policy import Policy
from erp.known import Facts
from erp.ledger import PUBLISHED, Ledger, LedgerError, utc_time
from erp.queue_files import MANIFEST, read_manifest
from erp.settings import Site
from features.feature_tables import read_features
from models.champions import load
from pipelines.desk import Desk, ran_as, read_given, refusals

LAST = "last"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_RUN_ID = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True)
class Reopened:
    """A morning whose queue was written, published or as a what-if; what is asked of it is read when asked.

    Parameters
    ----------
    folder : the run's folder in the store
    manifest : of the queue in it
    """

    store: Path
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Of the run that wrote the queue."""
        return str(self.manifest["run_id"])

    @cached_property
    def as_of(self) -> datetime:
        """T, in UTC without zone."""
        return ran_as(self.manifest).as_of

    @cached_property
    def policy(self) -> Policy:
        """The policy it was decided under."""
        return Policy.from_table(self.manifest["made_with"]["policy"])

    @cached_property
    def queue(self) -> pd.DataFrame:
        """The queue as it was written."""
        return pd.read_parquet(self.folder / "queue" / "queue.parquet")

    @cached_property
    def features(self) -> dict[str, pd.DataFrame]:
        """Feature tables as of T."""
        return read_features(self.folder / "features")

    @cached_property
    def given_to(self) -> GivenTo:
        """What the goods were given out by."""
        return read_given(self.folder / "decided", self.policy)

    @cached_property
    def model_folders(self) -> dict[str, Path]:
        """Where the models that served it lie, by name."""
        kept = {version.version_hash: version.folder for version in Ledger(self.store).models()}
        wanted: Mapping[str, str] = self.manifest["models"]
        if gone := [name for name, version in wanted.items() if not kept.get(version, Path("gone")).is_dir()]:
            raise LedgerError(f"the queue as of {self.as_of} was made with models that are gone: {', '.join(gone)}")
        return {name: kept[version] for name, version in wanted.items()}

    @cached_property
    def models(self) -> dict[str, Any]:
        """The models that served it, by name."""
        return load(self.model_folders)

    @cached_property
    def previous(self) -> pd.DataFrame | None:
        """The queue that it tells its history from; None if there was none, or it is kept no more."""
        run_id = self.manifest["made_with"]["previous_run_id"]
        folder = _folder_of(Ledger(self.store), run_id) if run_id else None
        return None if folder is None else pd.read_parquet(folder / "queue" / "queue.parquet")

    @property
    def desk(self) -> Desk:
        """The morning ready to be decided again."""
        made_with, refused = self.manifest["made_with"], refusals(self.model_folders)
        of_run = self.previous, made_with["previous_run_id"], ran_as(self.manifest), self.policy
        return Desk(self.features, self.models, refused, self.manifest["models"], *of_run)

    def facts(self, site: Site) -> Facts:
        """The facts that were known at T."""
        return Facts(self.folder / "facts", self.as_of, site)


def reopen(store: Path, which: str = LAST) -> Reopened:
    """Open a morning again.

    Parameters
    ----------
    which : "last" (published), a run id or its first six digits or more, the day or UTC time of a published morning's
        as_of (the newest of several), or a folder with the queue's files

    Raises
    ------
    LedgerError
        If the store has no such queue, or keeps it no more.
    """
    ledger = Ledger(store)
    folder = _folder_of(ledger, _run_id_of(ledger, which))
    if folder is None:
        raise LedgerError(f"{which}: the store {store} keeps that run's folder no more; run that morning again")
    return Reopened(store, folder, read_manifest(folder / "queue"))


def _run_id_of(ledger: Ledger, which: str) -> str:
    """The run id that is meant."""
    if which and (Path(which) / MANIFEST).is_file():
        return str(read_manifest(Path(which))["run_id"])
    rows = [row for row in ledger.runs() if row["run_id"]]
    published = [row for row in rows if row["state"] in PUBLISHED]
    if not rows or which == LAST:
        if not published:
            raise LedgerError(f"nothing was published from the store {ledger.store}; `backorder run` does it")
        return str(max(published, key=lambda row: (row["as_of"], row["id"]))["run_id"])
    if _DAY.fullmatch(which):
        found = {row["run_id"] for row in _on(published, which)[:1]}
    elif _RUN_ID.fullmatch(which):
        found = {row["run_id"] for row in rows if row["run_id"].startswith(which)}
    else:
        found = set()
    if len(found) != 1:
        known = ", ".join(sorted({row["as_of"][:16] for row in published}, reverse=True)[:5])
        raise LedgerError(
            f"{which!r} names {len(found)} of {len(rows)} runs; say last, a run id (six digits or more), the day or UTC"
            f" time of a published morning (the newest: {known}), or a folder with a queue's manifest.json"
        )
    return str(found.pop())


def _on(published: list[dict[str, Any]], which: str) -> list[dict[str, Any]]:
    """Runs published for this day or moment, the newest morning first."""
    if len(which) == len("2026-01-01"):
        found = [row for row in published if row["as_of"].startswith(which)]
    else:
        moment = datetime.fromisoformat(which.replace("Z", "+00:00"))
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        found = [row for row in published if utc_time(row["as_of"]) == moment]
    return sorted(found, key=lambda row: (row["as_of"], row["id"]), reverse=True)


def _folder_of(ledger: Ledger, run_id: str) -> Path | None:
    """The run folder that holds this run's queue; None if none does any more."""
    for row in ledger.runs():
        folder = ledger.store / row["folder"]
        if row["run_id"] == run_id and (folder / "queue" / MANIFEST).is_file():
            if read_manifest(folder / "queue")["run_id"] == run_id:
                return folder
    return None
