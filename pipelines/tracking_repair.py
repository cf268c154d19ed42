"""MLflow made to show what the ledger knows: runs that a killed process left open are ended, missing ones logged."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erp.ledger import PUBLISHED, Ledger, utc_time
from erp.queue_files import MANIFEST, read_manifest
from models.champions import QUESTIONS
from pipelines.tracking import (
    QUEUES,
    Trained,
    hushed,
    local_database,
    local_uri,
    open_mlflow,
    track_scoring,
    track_training,
    tracking_uri,
)

_log = logging.getLogger("backorder")


@dataclass(frozen=True)
class _Training:
    """A training that promoted what it may: its folder's run, and its models."""

    tags: dict[str, str]
    trained: dict[str, Trained]


def mend_tracking(store: Path) -> dict[str, Any]:
    """End this store's MLflow runs that no process works on, and log what is missing; whoever calls holds the store.

    MLflow is imported only where it holds runs of this store, or lacks some.

    Returns
    -------
    ended, logged : how many runs; error: why MLflow could not be used, in words, else empty
    """
    ledger = Ledger(store)
    trainings, queues = list(_trainings(ledger)), dict(_queues(ledger))
    shown = local_database(store).exists() or tracking_uri(store) != local_uri(store)
    if not shown and not trainings and not queues:
        return {"ended": 0, "logged": 0, "error": ""}
    try:
        with hushed():
            return _mended(store, ledger.store_id, trainings, queues)
    except Exception as error:  # whatever MLflow, its database or its server raises: said, and the rest is mended
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"ended": 0, "logged": 0, "error": f"MLflow cannot be used ({said})"}


def _mended(store: Path, store_id: str, trainings: list[_Training], queues: dict[str, Any]) -> dict[str, Any]:
    mlflow = open_mlflow(store)
    mine = "" if tracking_uri(store) == local_uri(store) else f" and tags.store = '{store_id}'"
    ended = _end_left_open(mlflow, mine)
    before = _n_finished(mlflow, mine)
    for training in trainings:
        track_training(store, training.trained, training.tags)
    for folder, tags in queues.values():
        track_scoring(store, folder, tags)
    return {"ended": ended, "logged": _n_finished(mlflow, mine) - before, "error": ""}


def _end_left_open(mlflow: Any, mine: str) -> int:
    """End runs that are still open, and take back what they had registered: it is registered again when logged."""
    client = mlflow.MlflowClient()
    left = _runs(mlflow, f"attributes.status = 'RUNNING'{mine}")
    for run in left:
        for version in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
            client.delete_model_version(version.name, version.version)
        client.set_terminated(run.info.run_id, "KILLED")
        _log.info("MLflow run %s: ended, its process is gone", run.info.run_id)
    return len(left)


def _n_finished(mlflow: Any, mine: str) -> int:
    return len(_runs(mlflow, f"attributes.status = 'FINISHED'{mine}"))


def _runs(mlflow: Any, where: str) -> list[Any]:
    """Runs of our experiments."""
    ours = [mlflow.get_experiment_by_name(name) for name in (*QUESTIONS, QUEUES)]
    ids = [experiment.experiment_id for experiment in ours if experiment is not None]
    found: list[Any] = mlflow.search_runs(ids, where, output_format="list") if ids else []
    return found


def _queues(ledger: Ledger) -> Iterator[tuple[str, tuple[Path, dict[str, str]]]]:
    """Published queues that the store keeps: by run id, their folder and tags."""
    for row in reversed(ledger.runs()):
        if row["state"] in PUBLISHED and row["run_id"]:
            folder = ledger.store / row["folder"] / "queue"
            if (folder / MANIFEST).is_file() and read_manifest(folder)["run_id"] == row["run_id"]:
                yield row["run_id"], (folder, _tags(row) | {"run_id": row["run_id"]})


def _trainings(ledger: Ledger) -> Iterator[_Training]:
    """Trainings that came to their end: every model fitted, and those that its report admits were promoted."""
    steps: dict[str, dict[str, Any]] = {}
    for step in ledger.read("select * from steps"):
        steps.setdefault(step["folder"], {})[step["name"]] = step
    runs = {row["folder"]: row for row in reversed(ledger.runs()) if row["facts"]}
    for folder, kept in steps.items():
        trained = {name: _trained(ledger, folder, kept, name) for name in QUESTIONS}
        row = runs.get(folder)
        whole = {name: each for name, each in trained.items() if each is not None}
        if row is not None and len(whole) == len(QUESTIONS) and _is_promoted(ledger, row["as_of"], whole):
            yield _Training(_tags(row), whole)


def _trained(ledger: Ledger, folder: str, kept: dict[str, Any], name: str) -> Trained | None:
    model, report = kept.get(f"model-{name}"), kept.get(f"report-{name}")
    if model is None or report is None:
        return None
    home = ledger.store / "models" / name / model["output"][:12]
    trained = Trained(model["output"], home, ledger.store / folder / report["file"])
    return trained if home.is_dir() and (trained.report / "report.json").is_file() else None


def _is_promoted(ledger: Ledger, as_of: str, trained: dict[str, Trained]) -> bool:
    query = "select name, version_hash from promotions where as_of = ?"
    promoted = {(row["name"], row["version_hash"]) for row in ledger.read(query, as_of)}
    return all(each.refused or (name, each.version_hash) in promoted for name, each in trained.items())


def _tags(row: dict[str, Any]) -> dict[str, str]:
    """What a tracked run says about where it comes from, as `pipelines.steps` says it."""
    as_of = utc_time(row["as_of"]).replace(tzinfo=None).isoformat()
    return {"as_of": as_of} | {name: row[name] for name in ("facts", "policy", "code") if row[name]}
