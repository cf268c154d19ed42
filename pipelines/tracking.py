"""What MLflow shows: one run per trained model and per published queue; files and ledger are the truth.

MLflow is imported only here and only when there is something to log. If it does not take a run, that is said and the
job goes on: the queue never depends on it.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from decisions.morning import Decision

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
_WHAT_IT_IS = (
    "The boosted trees alone, as one part of the model: its other parts (classical expectations, ridge, weight, level,"
    " pooled rates) are in model.json among the run's model-files. Ask `backorder` for answers."
)


def tracking_uri(store: Path) -> str:
    """Where MLflow keeps this store's runs: its own database, unless MLFLOW_TRACKING_URI names a server."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store.resolve() / 'mlflow.db'}"


def _as_a_view(log: Callable[..., None]) -> Callable[..., None]:
    @wraps(log)
    def logged(*args: Any) -> None:
        try:
            # MLflow's own deprecations and cheers are not the planner's business.
            with warnings.catch_warnings(), redirect_stderr(StringIO()):
                warnings.simplefilter("ignore")
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
    mlflow = _mlflow(store)
    for name, each in trained.items():
        report = read_report(each.report)
        mlflow.set_experiment(experiment_id=_experiment(mlflow, store, name))
        with mlflow.start_run(run_name=f"{name} as of {tags['as_of']}"):
            mlflow.set_tags(dict(tags) | _version_tags(each))
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
def track_scoring(store: Path, decision: Decision, folder: Path, tags: Mapping[str, str], seconds: float) -> None:
    """One MLflow run per published queue: its money, its bound, its files' manifest."""
    mlflow = _mlflow(store)
    mlflow.set_experiment(experiment_id=_experiment(mlflow, store, "fulfilment-queue"))
    with mlflow.start_run(run_name=f"queue as of {tags['as_of']}"):
        mlflow.set_tags(dict(tags))
        queue, certificate = decision.queue, decision.certificate
        waits = queue["action"].isin(["wait", "hold"])
        mlflow.log_metrics(
            {
                "n_lines": len(queue),
                "n_shipping": int((queue["ship_now_quantity"] > 0).sum()),
                "money_waiting": float(queue.loc[waits, "loss_if_waits"].sum()),
                "money_saved": certificate.value,
                "money_bound": certificate.bound,
                "money_gap": certificate.gap,
                "cpu_seconds": seconds,
                "money_lost": decision.judgement.lost,
                "money_lost_bound": decision.judgement.bound,
                "overrides_cost": float(decision.override_facts["cost"]),
            }
        )
        mlflow.log_artifact(str(folder / "manifest.json"))


def _mlflow(store: Path) -> Any:
    _probe(tracking_uri(store))
    os.environ.update(_MLFLOW_SETTINGS)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    import mlflow  # seconds to import; only where something is logged

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking_uri(store))
    return mlflow


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
