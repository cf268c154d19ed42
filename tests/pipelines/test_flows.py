"""The jobs as flows on a real Prefect server: the same bytes as without one, and T is the scheduled start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from prefect import settings
from prefect.client.orchestration import get_client
from prefect.deployments.runner import EntrypointType
from prefect.flow_engine import run_flow
from prefect.states import Pending, Scheduled

from erp.ledger import Ledger, lock_store
from models.champions import QUESTIONS
from pipelines import door, flow_repair
from pipelines.build_features import build_features
from pipelines.command import main
from pipelines.daily import daily
from pipelines.door import server_answers
from pipelines.reconcile import reconcile, reconciled_text
from pipelines.schedule import morning_of
from pipelines.score_queue import score_queue
from pipelines.train_models import train_models
from tests.pipelines.small_company import TINY_T, copied_site, different_files, queue_of, site_of, tiny_tables

ROOT = Path(__file__).parents[2]
DEAD = "http://127.0.0.1:9"
SERVE = """
import json, sys
from datetime import datetime, timedelta
from prefect import serve
from prefect.deployments.runner import EntrypointType
from prefect.schedules import Interval
from pipelines.daily import daily
schedule = Interval(timedelta(minutes=2), anchor_date=datetime.fromisoformat(sys.argv[1]))
serve(daily.to_deployment("morning", schedule=schedule, parameters=json.loads(sys.argv[2]),
                          entrypoint_type=EntrypointType.MODULE_PATH))
"""
# Runs a flow run of the server's and is killed in the middle of it, with the store held.
KILLED = """
import os, signal, sys, uuid
from pathlib import Path
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
import pipelines.daily
from erp.ledger import lock_store
def die(site, as_of):
    with lock_store(Path(site.store), site):
        os.kill(os.getpid(), signal.SIGKILL)
pipelines.daily.morning = die
with get_client(sync_client=True) as client:
    run = client.read_flow_run(uuid.UUID(sys.argv[1]))
run_flow(pipelines.daily.daily, flow_run=run, parameters=run.parameters)
"""
FLOWS = {"daily": daily, "build-features": build_features, "train-models": train_models, "score-queue": score_queue}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prefect server as one starts it for good, its scheduler too; gone with all its processes after the tests."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    home = tmp_path_factory.mktemp("prefect")
    hurry = {f"PREFECT_SERVER_SERVICES_SCHEDULER_{name}LOOP_SECONDS": "2" for name in ("", "RECENT_DEPLOYMENTS_")}
    with _process(command, home, {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", **hurry}) as process:
        _wait_until(lambda: _is_healthy(url) or process.poll() is not None, seconds=120)
        assert process.poll() is None, (home / "log").read_text()
        with settings.temporary_settings({settings.PREFECT_API_URL: url}):
            yield url


@contextmanager
def _process(command, home, more):
    """Run a command in a process group of its own and end the whole group; none may outlive that."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", **more}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=surroundings, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what the server or worker left behind
            _wait_until(lambda: not _group(process.pid), seconds=10)


def _group(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_port():
    # Below 32768, where no outgoing connection can take it in between; pytest-xdist's processes look in other places.
    first = 21000 + 500 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in range(first, 32000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def _is_healthy(url):
    try:
        with urlopen(f"{url}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _wait_until(holds, seconds):
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(0.2)


def given(site, as_of=f"{TINY_T}Z"):
    return {"settings": None, "as_of": as_of, "data": site.data, "store": site.store, "out": site.out}


def _finished(name, start):
    """Runs of a flow that were to start then or later and have ended, oldest first."""
    with get_client(sync_client=True) as client:
        flow = client.read_flow_by_name(name)
        runs = [run for run in client.read_flow_runs() if run.flow_id == flow.id and run.state.is_final()]
    return sorted((run for run in runs if run.expected_start_time >= start), key=lambda run: run.expected_start_time)


def last_flow_run(name):
    with get_client(sync_client=True) as client:
        flow = client.read_flow_by_name(name)
        return max((run for run in client.read_flow_runs() if run.flow_id == flow.id), key=lambda run: run.created)


def test_the_four_flows_end_completed_and_publish_what_the_plain_job_does(server, tiny_morning, tmp_path):
    site = site_of(tmp_path, tiny_tables())
    for name in ("build-features", "train-models", "score-queue"):
        said = FLOWS[name](**given(site))
        assert isinstance(said, str)
        assert last_flow_run(name).state.type == "COMPLETED"
    assert different_files(tiny_morning, site) == []
    assert daily(**given(site)) == site.out
    assert different_files(tiny_morning, site) == []
    assert last_flow_run("daily").parameters == given(site)


def test_a_scheduled_flows_t_is_its_scheduled_start_however_late_it_begins(server, tiny_morning, tmp_path):
    site = copied_site(tiny_morning, tmp_path)
    parameters = given(site, as_of=None)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(
            daily, parameters=parameters, state=Scheduled(scheduled_time=TINY_T.replace(tzinfo=UTC))
        )
    run_flow(daily, flow_run=run, parameters=parameters)
    assert different_files(tiny_morning, site) == []
    assert last_flow_run("daily").start_time > datetime.now(UTC) - timedelta(minutes=5)


def test_a_schedule_really_fires_and_a_worker_runs_the_morning_as_of_it(server, tiny_morning, tmp_path):
    """It proves the pins of fastapi and sqlalchemy: with later ones nothing is ever started."""
    site = copied_site(tiny_morning, tmp_path)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    (tmp_path / "home").mkdir()
    quick = {"PREFECT_API_URL": server, "PREFECT_RUNNER_POLL_FREQUENCY": "1", "MLFLOW_TRACKING_URI": DEAD}
    serve = [sys.executable, "-c", SERVE, start.isoformat(), json.dumps(given(site, as_of=None))]
    with _process(serve, tmp_path / "home", quick) as serving:
        published = tmp_path / "out" / "manifest.json"
        _wait_until(lambda: published.exists() or serving.poll() is not None, seconds=240)
        assert serving.poll() is None, (tmp_path / "home" / "log").read_text()
        _wait_until(lambda: _finished("daily", start), seconds=60)
    run = _finished("daily", start)[0]
    assert run.state.type == "COMPLETED"
    assert (run.expected_start_time - start).total_seconds() % 120 == 0
    as_of = json.loads(published.read_text())["as_of"]
    assert as_of == run.expected_start_time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def test_without_a_flow_run_the_scheduled_start_is_now():
    site, as_of = morning_of(None, None, "d", "s", "o")
    assert abs(datetime.now(UTC).replace(tzinfo=None) - as_of) < timedelta(minutes=1)
    assert (site.data, site.store, site.out) == ("d", "s", "o")
    assert morning_of(None, "2024-05-30T07:00:00+02:00", None, None, None)[1] == TINY_T


def test_the_command_goes_through_the_server_that_answers(server, tiny_morning, tmp_path, monkeypatch, capsys):
    site = copied_site(tiny_morning, tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", server)
    n_runs = _n_flow_runs()
    options = ["--data", site.data, "--store", site.store, "--out", site.out, "--as-of", f"{TINY_T}Z"]
    assert main(["run", *options]) == 0
    assert "running as the flow pipelines.daily.daily" in capsys.readouterr().err
    assert _n_flow_runs() == n_runs + 1
    assert different_files(tiny_morning, site) == []


def _n_flow_runs():
    with get_client(sync_client=True) as client:
        return len(client.read_flow_runs())


def test_a_refusal_inside_a_flow_is_failed_there_and_exit_code_1_here(server, tmp_path, monkeypatch, capsys):
    tables = tiny_tables()
    del tables["stock"]
    site = site_of(tmp_path, tables)
    monkeypatch.setenv("PREFECT_API_URL", server)
    options = ["--data", site.data, "--store", site.store, "--out", site.out, "--as-of", f"{TINY_T}Z"]
    assert main(["run", *options]) == 1
    assert "1 required tables are missing" in capsys.readouterr().err
    assert last_flow_run("daily").state.type == "FAILED"


def test_a_flow_run_whose_process_was_killed_is_crashed_by_reconcile_and_its_slot_is_free(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFECT_API_URL", server)
    site, other = site_of(tmp_path), site_of(tmp_path / "other")
    for each in (site, other):
        with lock_store(Path(each.store), each):
            pass
    limited = daily.to_deployment("limited", concurrency_limit=1, entrypoint_type=EntrypointType.MODULE_PATH)
    deployment = limited.apply()
    with get_client(sync_client=True) as client:
        # Its parameters do not say which store this is: another working folder has another "store".
        run = client.create_flow_run_from_deployment(deployment, parameters={"store": "store"})
        client.set_flow_run_state(run.id, Pending())  # as a worker says who takes it; that is what takes the slot
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(run.id)], cwd=tmp_path, env=surroundings, check=False
        )
        assert killed.returncode == -signal.SIGKILL

        def state_and_slots():
            limit = client.read_deployment(deployment).global_concurrency_limit
            return client.read_flow_run(run.id).state.type, limit.active_slots

        assert state_and_slots() == ("RUNNING", 1)
        assert reconcile(other)["prefect"] == {"crashed": [], "left": [], "error": ""}
        assert state_and_slots() == ("RUNNING", 1)
        facts = reconcile(site)
        assert facts["prefect"] == {"crashed": [run.name], "left": [], "error": ""}
        assert f"Prefect: 1 flow run left running crashed: {run.name}" in reconciled_text(facts)
        assert state_and_slots() == ("CRASHED", 0)
        assert reconcile(site)["prefect"] == {"crashed": [], "left": [], "error": ""}
        assert client.read_flow_run(run.id).state.message == "its process is gone: the store is held by nobody"


def test_the_flows_that_are_looked_after_are_all_of_them():
    assert set(flow_repair.FLOWS) == {flow.name for flow in FLOWS.values()} == set(FLOWS)


def test_a_server_that_is_set_but_gone_is_said_and_the_job_runs_without_it(tiny_morning, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    site = copied_site(tiny_morning, tmp_path)
    with settings.temporary_settings({settings.PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        options = ["--data", site.data, "--store", site.store, "--out", site.out, "--as-of", f"{TINY_T}Z"]
        assert main(["run", *options]) == 0
    assert "does not answer" in capsys.readouterr().err
    assert different_files(tiny_morning, site) == []


def test_prefect_is_not_even_imported_where_no_server_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "import_module", lambda name: pytest.fail("imported"))
    assert not server_answers()
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('active = "local"\n[profiles.local]\nPREFECT_LOGGING_LEVEL = "INFO"\n')
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(profiles))
    assert not door._may_be_set()
    profiles.write_text('active = "local"\n[profiles.local]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n')
    assert door._may_be_set()


def test_parameters_of_every_flow_are_texts_and_none_is_required():
    for flow in FLOWS.values():
        schema = json.loads(flow.parameters.model_dump_json())
        assert set(schema["properties"]) == {"settings", "as_of", "data", "store", "out"}
        assert not schema["required"]
        for each in schema["properties"].values():
            assert {kind["type"] for kind in each["anyOf"]} == {"string", "null"}


def test_models_that_the_flows_trained_are_champions_of_the_store(tiny_morning):
    ledger = Ledger(Path(tiny_morning.store))
    assert {each.name for each in ledger.models()} == set(QUESTIONS)
    assert len(queue_of(tiny_morning)) > 5
