"""MLflow is a view: it shows every training and every queue, and whatever befalls it the morning goes on."""

import json
import socket
import threading
import time
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest

from erp.ledger import Ledger
from models.boosting import save_files
from pipelines import tracking
from pipelines.jobs import score, train
from pipelines.steps import champions
from pipelines.tracking import Trained, tracking_uri
from tests.pipelines.small_company import LATER, TINY_T, T, copied_site, different_files, queue_of

pytestmark = pytest.mark.usefixtures("tracked")


@pytest.fixture(scope="module")
def seen(trained_site, tmp_path_factory):
    """Trained as of T and scored, each twice, with MLflow in the store's own database: what is repeated shows once."""
    site = copied_site(trained_site, tmp_path_factory.mktemp("seen"))  # models as kept, so that only MLflow is new
    for _ in range(2):
        train(site, T)
        score(site, T)
    return site


@pytest.fixture
def client(seen):
    mlflow.set_tracking_uri(tracking_uri(Path(seen.store)))
    return mlflow.MlflowClient()


def runs_of(name):
    return mlflow.search_runs(experiment_names=[name], output_format="list")


def test_each_model_is_one_run_with_its_figures_plots_and_where_it_comes_from(seen, client):
    versions = champions(Ledger(Path(seen.store)), T)
    for name, version in versions.items():
        (run,) = runs_of(name)
        assert run.info.status == "FINISHED"
        assert run.data.tags["version"] == version.version_hash
        assert run.data.tags["as_of"] == "2024-10-27T05:00:00"
        assert len(run.data.tags["facts"]) == len(run.data.tags["code"]) == 64
        assert run.data.metrics == pytest.approx(version.metrics)
        assert run.data.params
        files = {each.path for each in client.list_artifacts(run.info.run_id)}
        assert {"notes.txt", "model-files"} <= files


def test_a_queue_is_one_run_with_its_money_and_manifest(seen, client):
    (run,) = runs_of("fulfilment-queue")
    queue = queue_of(seen)
    assert run.data.tags["run_id"] == queue["run_id"].iloc[0]
    assert run.data.metrics["n_lines"] == len(queue)
    assert run.data.metrics["n_shipping"] == (queue["ship_now_quantity"] > 0).sum()
    assert run.data.metrics["money_gap"] >= 0
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/manifest.json")
    assert json.loads(text)["run_id"] == queue["run_id"].iloc[0]


def test_a_registered_champion_loads_without_pickle_and_predicts_as_its_booster_does(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    draw = np.random.default_rng(1)
    numbers = pd.DataFrame(draw.gamma(0.5, 100.0, (600, 3)), columns=["recency_days", "n_orders", "tenure_days"])
    ours, other = (
        lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(numbers, label), num_boost_round=5)
        for label in (numbers["n_orders"] > 50, numbers["tenure_days"] > 50)
    )
    save_files(tmp_path / "version", {"kind": "boosted"}, booster=ours, another=other)
    (tmp_path / "report.json").write_text('{"params": {}, "metrics": {}, "notes": [], "refused": []}')
    version = Trained("a1", tmp_path / "version", tmp_path)
    tracking.track_training(tmp_path / "store", {"next-order": version}, {"as_of": "2024-10-27T05:00:00"})
    mlflow.set_tracking_uri(tracking_uri(tmp_path / "store"))
    shown = mlflow.MlflowClient().get_model_version_by_alias("next-order", "champion")
    assert shown.tags["version"] == "a1"
    assert "trees alone" in shown.description
    native = mlflow.lightgbm.load_model("models:/next-order@champion")
    assert isinstance(native, lightgbm.Booster)
    assert native.feature_name() == list(numbers.columns)
    predicted = mlflow.pyfunc.load_model("models:/next-order@champion").predict(numbers)
    assert predicted.tolist() == ours.predict(numbers).tolist() != other.predict(numbers).tolist()


@pytest.mark.usefixtures("unjudged")
def test_the_champion_shown_is_the_newest_by_as_of_though_an_older_one_is_trained_later(looked_back):
    site = looked_back()
    for as_of in (LATER, TINY_T):
        train(site, as_of)
    mlflow.set_tracking_uri(tracking_uri(Path(site.store)))
    client = mlflow.MlflowClient()
    names = [model.name for model in client.search_registered_models()]
    for name in names:
        assert client.get_model_version_by_alias(name, "champion").tags["as_of"] == LATER.isoformat()
    versions = [len(client.search_model_versions(f"name = '{name}'")) for name in names]
    assert max(versions) == 2, "a pooled model has no booster to register, but one of them was trained twice"


def test_artifacts_lie_in_the_store_and_nothing_in_the_working_folder(seen, client):
    (run,) = runs_of("fulfilment-queue")
    assert str(Path(seen.store).resolve()) in run.info.artifact_uri
    assert not Path("mlruns").exists()
    assert not Path("mlflow.db").exists()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def silent_server():
    """Listens and never answers: the worst server there is."""
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: listening.accept() and time.sleep(0), daemon=True).start()
    return listening


def test_a_server_that_is_gone_or_never_answers_costs_seconds_and_no_byte(seen, trained, monkeypatch, caplog):
    listening = silent_server()
    started = time.perf_counter()
    for name, port in (("gone", free_port()), ("silent", listening.getsockname()[1])):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        site = trained(name=name)
        score(site, T)
        assert different_files(seen, site) == []
    listening.close()
    assert time.perf_counter() - started < 20
    said = {record.message for record in caplog.records if "MLflow did not take this run" in record.message}
    assert len(said) == 2
    assert all("files and ledger are complete" in text for text in said)


@pytest.mark.parametrize("trouble", [OSError("disk full"), ValueError(""), RuntimeError("two\nlines"), KeyError(3)])
def test_whatever_mlflow_raises_the_queue_is_published(seen, trained, monkeypatch, trouble):
    def fails(*_, **__):
        raise trouble

    monkeypatch.setattr(tracking, "_experiment", fails)
    site = trained()
    score(site, T)
    assert different_files(seen, site) == []
    assert Ledger(Path(site.store)).runs()[0]["state"] == "published"


def test_a_damaged_database_of_mlflow_stops_nothing(seen, trained):
    site = trained()
    (Path(site.store) / "mlflow.db").write_text("not a database" * 100)
    score(site, T)
    assert different_files(seen, site) == []
