"""What MLflow shows: one run per trained model and per published queue; files and ledger are the truth.

MLflow is imported only here and only when there is something to log. If it does not take a run, that is said and the
job goes on: the queue never depends on it. What was logged whole is not logged again, so a run that is repeated, and
`pipelines.tracking_repair` after a crash, leave one MLflow run of each.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pandas as pd

from erp.ledger import Ledger
from erp.queue_files import MANIFEST, read_manifest

_log = logging.getLogger("backorder")
# Set before MLflow is imported: no telemetry, no model that is a pickle, and no progress bars among our lines.
_MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# By default MLflow tries a dead server for minutes. The morning waits for it no longer than this; a site may say else.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_PROBE_SECONDS = 3
QUEUES = "fulfilment-queue"  # the experiment of published queues; a model's bears the model's name
_WHAT_IT_IS = (
    "The boosted trees alone, as one part of the model: its other parts (classical expectations, ridge, weight, level,"
    " pooled rates) are in model.json among the run's model-files. Ask `backorder` for answers."
)


def local_database(store: Path) -> Path:
    """MLflow's database of this store."""
    return store.resolve() / "mlflow.db"


def local_uri(store: Path) -> str:
    """Its address."""
    return f"sqlite:///{local_database(store)}"


def tracking_uri(store: Path) -> str:
    """Where MLflow keeps this store's runs: its own database, unless MLFLOW_TRACKING_URI names a server."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(store)


@contextmanager
def hushed() -> Iterator[None]:
    """MLflow's own deprecations and cheers are not the planner's business."""
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield


def _as_a_view(log: Callable[..., None]) -> Callable[..., None]:
    @wraps(log)
    def logged(*args: Any) -> None:
        try:
            with hushed():
                log(*args)
        except Exception as error:  # whatever MLflow, its database or its server raises: said, and the job goes on
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            _log.warning("MLflow did not take this run (%s); files and ledger are complete", said)

    return logged


def read_report(folder: Path) -> dict[str, Any]:
    """A model's report as kept by its training: params, metrics, notes, refused."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


@dataclass(frozen=True)
class Trained:
    """One model as it was trained and judged, whether it became champion or not."""

    version_hash: str
    folder: Path  # of the version in the store
    report: Path  # folder of report.json and the plots

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of its report, by name."""
        return dict(read_report(self.report)["metrics"])

    @property
    def refused(self) -> tuple[str, ...]:
        """Why its report refuses it as champion; empty if it does not."""
        return tuple(read_report(self.report)["refused"])


@_as_a_view
def track_training(store: Path, trained: Mapping[str, Trained], tags: Mapping[str, str]) -> None:
    """One MLflow run per model: parameters, time-ordered figures, plots; the champion registered under its alias."""
    mlflow = open_mlflow(store)
    for name, each in trained.items():
        told = _of_store(store, tags) | _version_tags(each)
        experiment = _experiment(mlflow, store, name)
        if _is_logged(mlflow, experiment, told, ("version", "as_of", "store")):
            continue
        report = read_report(each.report)
        with mlflow.start_run(experiment_id=experiment, run_name=f"{name} as of {tags['as_of']}", tags=told):
            mlflow.log_params({key: str(value)[:500] for key, value in report["params"].items()})
            mlflow.log_metrics(report["metrics"])
            mlflow.log_text("\n".join(report["notes"]), "notes.txt")
            for figure in sorted(each.report.glob("*.png")):
                mlflow.log_artifact(str(figure), "plots")
            mlflow.log_artifacts(str(each.folder), "model-files")
            _register(mlflow, name, each, tags["as_of"])


def _version_tags(trained: Trained) -> dict[str, str]:
    tags = {"version": trained.version_hash}
    return tags | ({"refused": ", ".join(trained.refused)} if trained.refused else {})


@_as_a_view
def track_scoring(store: Path, folder: Path, tags: Mapping[str, str], seconds: float | None = None) -> None:
    """One MLflow run per published queue: its money, its bound, its files' manifest.

    Parameters
    ----------
    folder : of the queue's files
    seconds : of the processor, to predict and decide; None: nobody noted them
    """
    mlflow = open_mlflow(store)
    told, experiment = _of_store(store, tags), _experiment(mlflow, store, QUEUES)
    if _is_logged(mlflow, experiment, told, ("run_id", "store")):
        return
    with mlflow.start_run(experiment_id=experiment, run_name=f"queue as of {tags['as_of']}", tags=told):
        mlflow.log_metrics(_queue_metrics(folder) | ({} if seconds is None else {"cpu_seconds": seconds}))
        mlflow.log_artifact(str(folder / MANIFEST))


def _queue_metrics(folder: Path) -> dict[str, float]:
    """Lines and money of a queue, from its files."""
    said = read_manifest(folder)
    queue = pd.read_parquet(folder / "queue.parquet", columns=["action", "ship_now_quantity", "loss_if_waits"])
    waits = queue["action"].isin(["wait", "hold"])
    return {
        "n_lines": len(queue),
        "n_shipping": int((queue["ship_now_quantity"] > 0).sum()),
        "money_waiting": float(queue.loc[waits, "loss_if_waits"].sum()),
        "money_saved": said["allocation"]["value"],
        "money_bound": said["allocation"]["bound"],
        "money_gap": said["allocation"]["gap"],
        "money_lost": said["plan"]["lost"],
        "money_lost_bound": said["plan"]["bound"],
        "overrides_cost": float(said["overrides"]["cost"]),
    }


def _of_store(store: Path, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, and the store's name: several stores may share a server."""
    name = Ledger(store).store_id
    return dict(tags) | ({"store": name} if name else {})


def _is_logged(mlflow: Any, experiment: str, tags: Mapping[str, str], names: tuple[str, ...]) -> bool:
    """Whether a run with these tags ended well."""
    same = [f"tags.{name} = '{tags[name]}'" for name in names if name in tags]
    where = " and ".join(["attributes.status = 'FINISHED'", *same])
    return bool(mlflow.search_runs([experiment], where, max_results=1, output_format="list"))


def open_mlflow(store: Path) -> Any:
    """The module, for the runs of this store; imported now.

    Raises
    ------
    OSError
        If MLFLOW_TRACKING_URI names a server that does not answer.
    """
    _probe(tracking_uri(store))
    os.environ.update(_MLFLOW_SETTINGS)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    import mlflow  # seconds to import; only where something is logged

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    if tracking_uri(store) == local_uri(store) and not local_database(store).exists():
        _create_database(mlflow, local_database(store))
    mlflow.set_tracking_uri(tracking_uri(store))
    return mlflow


def _create_database(mlflow: Any, file: Path) -> None:
    """Create MLflow's database whole or not at all: it takes seconds, and it never mends one that broke off."""
    part = file.with_name(f"{file.name}.part")
    for leftover in (part, part.with_name(f"{part.name}-journal")):
        leftover.unlink(missing_ok=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments(max_results=1)
    os.replace(part, file)


def _probe(uri: str) -> None:
    """Ask a server once whether it is there, before MLflow asks again and again.

    Raises
    ------
    OSError
        If nothing answers.
    """
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urlopen(f"{uri.rstrip('/')}/health", timeout=_PROBE_SECONDS).close()
    except HTTPError as answer:  # it answers, if only that one must log in first
        answer.close()


def _experiment(mlflow: Any, store: Path, name: str) -> str:
    """The experiment's id; its artifacts lie in the store, not in the working folder."""
    if found := mlflow.get_experiment_by_name(name):
        return str(found.experiment_id)
    local = tracking_uri(store).startswith("sqlite:")
    place = (store.resolve() / "mlartifacts" / name).as_uri() if local else None
    return str(mlflow.create_experiment(name, artifact_location=place))


def _register(mlflow: Any, name: str, trained: Trained, as_of: str) -> None:
    """Register the version's booster, as champion unless that is of a later T (a backfill trains older ones).

    A version that its report refuses is no champion here, even where it serves because none that passed is there.
    A version without one (pooled, classical, assumed) is its JSON beside the run.
    """
    path = trained.folder / "booster.txt"
    if not path.exists():
        return
    import lightgbm
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    booster = lightgbm.Booster(model_file=str(path))
    columns = Schema([ColSpec("double", column, required=False) for column in booster.feature_name()])
    logged = mlflow.lightgbm.log_model(
        booster,
        name="booster",
        signature=ModelSignature(inputs=columns, outputs=Schema([ColSpec("double")])),
        # Named, because inferring them would start a second process for half a minute.
        pip_requirements=[f"lightgbm=={lightgbm.__version__}"],
        registered_model_name=name,
    )
    client = mlflow.MlflowClient()
    for key, value in (_version_tags(trained) | {"as_of": as_of}).items():
        client.set_model_version_tag(name, logged.registered_model_version, key, value)
    client.update_model_version(name, logged.registered_model_version, _WHAT_IT_IS)
    if trained.refused:
        return
    aliases = client.get_registered_model(name).aliases
    if "champion" in aliases and client.get_model_version(name, aliases["champion"]).tags["as_of"] > as_of:
        return
    client.set_registered_model_alias(name, "champion", logged.registered_model_version)
