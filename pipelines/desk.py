"""A morning ready to be decided: its features, the models that serve it, the last queue, and what every row says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from decisions.fulfilment_queue import RunFacts
from decisions.loss_of_choice import LossOfChoice
from decisions.morning import Decision, GivenTo, decide
from decisions.policy import Policy
from decisions.working_days import WorkCalendar
from erp.fingerprint import code_version, fingerprint
from erp.kept_files import read_kept, write_kept
from erp.known import Facts
from erp.ledger import LedgerError, ModelVersion, PublishedRun
from erp.queue_files import read_manifest
from erp.runs import Run
from models.champions import load, predict, refused_in


@dataclass(frozen=True)
class Desk:
    """A morning ready to be decided, under its own policy or another."""

    features: Mapping[str, pd.DataFrame]
    models: Mapping[str, Any]
    refused: Mapping[str, Sequence[str]]
    hashes: Mapping[str, str]
    previous: pd.DataFrame | None
    previous_run_id: str | None
    ran: RunFacts
    policy: Policy

    @classmethod
    def of(
        cls, run: Run, facts: Facts, features: Mapping[str, pd.DataFrame], versions: Mapping[str, ModelVersion]
    ) -> "Desk":
        """Load the models and the last published queue."""
        site, policy = facts.site, Policy.from_table(facts.site.policy)
        previous = run.ledger.last_published(run.as_of)
        hashes = {name: version.version_hash for name, version in sorted(versions.items())}
        ran = RunFacts(
            run_id=_run_id(run.as_of, facts, policy, hashes, previous),
            as_of=run.as_of,
            currency=site.currency,
            model_changed=previous is not None and read_manifest(previous.queue.parent)["models"] != hashes,
            calendar=WorkCalendar(site.working_days, site.holidays),
        )
        folders = {name: version.folder for name, version in versions.items()}
        queue, run_id = (pd.read_parquet(previous.queue), previous.run_id) if previous else (None, None)
        return cls(features, load(folders), refusals(folders), hashes, queue, run_id, ran, policy)

    def decide(self, policy: Policy) -> Decision:
        """The morning's decision under this policy."""
        days = policy.horizon_days, policy.default_wait_days
        predictions = predict(self.models, self.features, *days, self.refused)
        return decide(self.features, predictions, self.previous, self.ran, policy)

    def made_with(self) -> dict[str, object]:
        """What the manifest says beside facts, models and code, so that the morning can be decided again from files."""
        return {
            "policy": asdict(self.policy),
            "model_changed": self.ran.model_changed,
            "previous_run_id": self.previous_run_id,
            "working_days": list(self.ran.calendar.working_days),
            "holidays": list(self.ran.calendar.holidays),
        }


def ran_as(manifest: Mapping[str, Any]) -> RunFacts:
    """What a manifest says of the run that wrote it."""
    made_with = manifest["made_with"]
    holidays = tuple(date.fromisoformat(day) for day in made_with["holidays"])
    return RunFacts(
        run_id=manifest["run_id"],
        as_of=datetime.fromisoformat(manifest["as_of"].removesuffix("Z")),
        currency=manifest["currency"],
        model_changed=made_with["model_changed"],
        calendar=WorkCalendar(tuple(made_with["working_days"]), holidays),
    )


def refusals(folders: Mapping[str, Path]) -> dict[str, Sequence[str]]:
    """Why the reports of the versions in these folders refuse them, by name; empty where they do not."""
    return {name: refused_in(folder) for name, folder in folders.items()}


def write_given(folder: Path, given_to: GivenTo) -> None:
    """Keep what the goods were given out by; its policy stands in the manifest."""
    write_kept(folder / "lines", given_to.lines)
    write_kept(folder / "pools", given_to.pools)
    for item in fields(LossOfChoice):
        write_kept(folder / f"loss-{item.name}", getattr(given_to.loss, item.name))


def read_given(folder: Path, policy: Policy) -> GivenTo:
    """What `write_given` kept.

    Raises
    ------
    LedgerError
        If a version of the program that kept less wrote it.
    """
    files = [*(f"{name}.parquet" for name in ("lines", "pools")), *(f"loss-{f.name}.npy" for f in fields(LossOfChoice))]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise LedgerError(f"{missing[0]} is not kept of that run: another version of backorder made it; run it again")
    lines, pools = (read_kept(folder / f"{name}.parquet") for name in ("lines", "pools"))
    loss = LossOfChoice(*(read_kept(folder / f"loss-{item.name}.npy") for item in fields(LossOfChoice)))
    return GivenTo(lines, pools, policy, loss)


def _run_id(
    as_of: datetime, facts: Facts, policy: Policy, hashes: Mapping[str, str], previous: PublishedRun | None
) -> str:
    # What the facts mean depends on the site's clock, handling days and currency: they belong to the facts.
    known = [facts.fingerprint, facts.site.reading()]
    return fingerprint([as_of, known, policy, dict(hashes), code_version(), previous.run_id if previous else None])
