"""`reconcile` puts right what killed processes left behind, once, and says what a person must see to."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from prefect import settings

from erp.destination import Item
from erp.ledger import Ledger, lock_store
from erp.outbox import Outbox
from erp.runs import open_run
from erp.settings import Site
from models.champions import QUESTIONS
from pipelines import delivery
from pipelines.command import main
from pipelines.reconcile import is_whole, reconcile, reconciled_text
from pipelines.tracking import QUEUES, local_database, tracking_uri
from tests.pipelines.half_done import T, publish, train

pytestmark = pytest.mark.usefixtures("tracked")
ROOT = Path(__file__).parents[2]
# Logs the store's queue and is killed at the moment named.
KILLED_WHILE_LOGGING = """
import os, signal, sys
from pathlib import Path
import pipelines.tracking as tracking
from pipelines.tracking_repair import mend_tracking
import mlflow
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(mlflow, sys.argv[2], die)
mend_tracking(Path(sys.argv[1]))
"""
IMPORTS = """
import sys
from pipelines.command import main
code = main(["reconcile", "--store", sys.argv[1], "--quiet"])
print(code, sorted({"mlflow", "prefect"} & set(sys.modules)))
"""


@pytest.fixture
def site(tmp_path):
    return Site(store=str(tmp_path / "store"), out=str(tmp_path / "out"))


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    """MLflow's database before its first run: making one takes seconds."""
    site = Site(store=str(tmp_path_factory.mktemp("mlflow") / "store"), out=str(tmp_path_factory.mktemp("out")))
    publish(site)
    assert reconcile(site)["mlflow"] == {"ended": 0, "logged": 1, "error": ""}
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(Path(site.store)))
    for run in runs_of(site, QUEUES):
        client.delete_run(run.info.run_id)
    return local_database(Path(site.store)).read_bytes()


@pytest.fixture
def with_mlflow(site, empty_mlflow):
    Path(site.store).mkdir()
    local_database(Path(site.store)).write_bytes(empty_mlflow)
    return site


def runs_of(site, *names):
    mlflow.set_tracking_uri(tracking_uri(Path(site.store)))
    return mlflow.search_runs(experiment_names=list(names), output_format="list")


def python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_runs_that_never_ended_are_failed_and_said_once(site):
    pid = os.fork()
    if pid == 0:  # dies in the middle of a run
        with lock_store(Path(site.store), site), open_run(Path(site.store), T, "0" * 64):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    facts = reconcile(site)
    assert facts["runs"] == ["2026-03-09T05:00:00Z"]
    assert reconciled_text(facts) == "1 run never ended and counted as failed now: as of 2026-03-09T05:00:00Z"
    assert [run["state"] for run in Ledger(Path(site.store)).runs()] == ["failed"]
    assert reconciled_text(reconcile(site)) == "nothing was left behind"


def test_what_mlflow_lacks_is_logged_once_as_the_run_itself_would_have(with_mlflow):
    site = with_mlflow
    versions = train(site)
    publish(site)
    assert reconcile(site)["mlflow"] == {"ended": 0, "logged": 1 + len(QUESTIONS), "error": ""}
    assert reconcile(site)["mlflow"] == {"ended": 0, "logged": 0, "error": ""}
    (run,) = runs_of(site, QUEUES)
    assert run.data.metrics == {
        "n_lines": 2,
        "n_shipping": 1,
        "money_waiting": 5.0,
        "money_saved": 3.0,
        "money_bound": 4.0,
        "money_gap": 0.25,
        "money_lost": 5.0,
        "money_lost_bound": 5.0,
        "overrides_cost": 0.0,
    }
    told = {name: run.data.tags[name] for name in ("as_of", "run_id", "facts", "policy", "code", "store")}
    assert told == {
        "as_of": "2026-03-09T05:00:00",
        "run_id": "R1",
        "facts": "f" * 64,
        "policy": "p" * 64,
        "code": "c" * 64,
        "store": Ledger(Path(site.store)).store_id,
    }
    assert {run.data.tags["version"] for run in runs_of(site, *QUESTIONS)} == set(versions.values())


def test_a_training_that_promoted_nothing_is_none_and_one_whose_model_was_refused_is_one(with_mlflow):
    train(with_mlflow, is_promoted=False)
    assert reconcile(with_mlflow)["mlflow"]["logged"] == 0
    train(with_mlflow, refused=["worse than the pooled rate"])
    assert reconcile(with_mlflow)["mlflow"]["logged"] == len(QUESTIONS)
    assert [run.data.tags.get("refused") for run in runs_of(with_mlflow, "arrival")] == ["worse than the pooled rate"]


@pytest.mark.parametrize("moment", ["log_metrics", "log_artifact"])
def test_a_run_that_mlflow_still_takes_for_running_is_ended_and_logged_whole(with_mlflow, moment):
    site = with_mlflow
    publish(site)
    assert python(KILLED_WHILE_LOGGING, site.store, moment).returncode == -signal.SIGKILL
    assert [run.info.status for run in runs_of(site, QUEUES)] == ["RUNNING"]
    facts = reconcile(site)
    assert facts["mlflow"] == {"ended": 1, "logged": 1, "error": ""}
    assert "MLflow: 1 run left open ended\nMLflow: 1 run that it lacked logged" in reconciled_text(facts)
    assert sorted(run.info.status for run in runs_of(site, QUEUES)) == ["FINISHED", "KILLED"]
    assert reconcile(site)["mlflow"] == {"ended": 0, "logged": 0, "error": ""}


def test_what_a_killed_process_left_of_mlflows_database_is_made_anew(site):
    publish(site)
    part = Path(site.store) / "mlflow.db.part"
    part.write_bytes(b"half of a database")
    assert reconcile(site)["mlflow"] == {"ended": 0, "logged": 1, "error": ""}
    assert not part.exists()


def test_a_server_of_mlflow_that_is_gone_is_said_and_the_rest_is_put_right(site, monkeypatch, capsys):
    publish(site)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["reconcile", "--store", site.store, "--quiet"]) == 5
    said = capsys.readouterr().out
    assert "not done: MLflow cannot be used (URLError: " in said
    assert "mend that and run this again" in said


def test_a_server_of_prefect_that_is_gone_is_said(site, monkeypatch):
    with lock_store(Path(site.store), site):
        pass
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with settings.temporary_settings({settings.PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        facts = reconcile(site)
    assert not is_whole(facts)
    assert reconciled_text(facts) == "not done: the Prefect server does not answer; mend that and run this again"


def test_neither_mlflow_nor_prefect_is_imported_where_nothing_is_there_to_mend(site):
    with lock_store(Path(site.store), site):
        pass
    assert python(IMPORTS, site.store).stdout == "nothing was left behind\n0 []\n"


class Ferry:
    """A destination that says of every key what it is told to."""

    name, batch, knows_keys, date_column = "ferry", 1, True, None

    def __init__(self, **answers):
        self.answers = answers

    @contextmanager
    def opened(self):
        yield

    def ask(self, items):
        return [delivery.Outcome(item.key, self.answers[item.order_line_id]) for item in items]


def test_lines_whose_answer_was_lost_are_asked_for_and_nothing_is_sent(site, monkeypatch):
    with lock_store(Path(site.store), site) as ledger:
        outbox = Outbox(ledger)
        begun = outbox.begin("R1", "ferry", "apply", "Ada")
        outbox.add(begun, [Item("R1", line, begun.id, place, {"rank": place}) for place, line in enumerate("abcd")])
        keys = [item.key for item in outbox.items(begun)]
        outbox.mark(keys[:3], "sending")
    monkeypatch.setattr(delivery, "open_destination", lambda _: Ferry(a="accepted", b="absent", c="unknown"))
    known = Site(store=site.store, destination={"kind": "ferry"})
    facts = reconcile(known)
    assert facts["deliveries"] == {"settled": 2, "unknown": {"ferry": 1}, "to_send": {"ferry": 2}, "error": ""}
    assert not is_whole(facts)
    text = reconciled_text(facts)
    assert "the destination told what became of 2 lines" in text
    assert "ferry: nobody can tell whether 1 line arrived; look there, then `backorder apply --arrived`" in text
    assert "ferry: 2 lines not sent yet; `backorder apply` sends them" in text
    outbox = Outbox(Ledger(Path(site.store)))
    assert outbox.counts(begun) == {"accepted": 1, "pending": 2, "unknown": 1}
    assert reconcile(known)["deliveries"] == facts["deliveries"] | {"settled": 0}


def test_while_a_process_works_on_the_store_nothing_is_a_leftover(site, capsys):
    started = time.perf_counter()
    with lock_store(Path(site.store), site), open_run(Path(site.store), T, "0" * 64) as run:
        assert main(["reconcile", "--store", site.store]) == 3
        assert Ledger(Path(site.store)).runs()[0]["ended_at"] is None
    assert run.ledger.runs()[0]["state"] == "started"
    assert time.perf_counter() - started < 5
