"""A second command says busy at once, as a whole process: before anything heavy is imported."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from erp.store_lock import hold
from pipelines import command, commands
from pipelines.command_table import COMMANDS, HOLD_THE_STORE

ROOT = Path(__file__).parents[2]
NEEDS = {
    "override": ["hold", "--line", "a", "--who", "Ada", "--why", "x", "--until", "2026-01-01"],
    "apply": [],
    "undo": [],
}


def spent(*arguments):
    """Exit code, what it said, wall seconds and CPU seconds of one process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKORDER_")}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.command", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    with process.stderr:
        said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, said, time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def test_a_second_run_says_busy_within_a_second_as_a_whole_process(tmp_path):
    with hold(tmp_path / "store"):
        took = [spent("run", "--store", str(tmp_path / "store"), "--data", str(tmp_path)) for _ in range(3)]
    nothing = [spent("--help") for _ in range(3)]  # as a busy machine stretches seconds
    for code, said, _, cpu_seconds in took:
        assert code == 3
        assert f"the store store is held by process {os.getpid()} since" in said
        assert cpu_seconds < 1
    assert min(wall for _, _, wall, _ in took) - min(wall for _, _, wall, _ in nothing) < 0.9


@pytest.mark.parametrize("name", sorted({each.name for each in COMMANDS} & HOLD_THE_STORE))
def test_no_command_that_needs_the_store_imports_anything_before_it_says_busy(tmp_path, monkeypatch, capsys, name):
    def fails(*_):
        pytest.fail("it went on")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "import_module", fails)
    store = "demo/store" if name == "demo" else "backorder-store"  # where each goes by itself
    with hold(tmp_path / store):
        assert command.main([name, *NEEDS.get(name, [])]) == 3
    assert f"the store {Path(store).name} is held by process" in capsys.readouterr().err


def test_looking_at_words_and_queues_goes_on_beside_a_run(tmp_path, monkeypatch):
    reached = []
    monkeypatch.setattr(commands, "override", lambda *_: reached.append("override") or commands.Answer({}, ""))
    monkeypatch.setattr(commands, "explain", lambda *_: reached.append("explain") or commands.Answer({}, ""))
    store = ["--store", str(tmp_path / "store")]
    with hold(tmp_path / "store"):
        assert command.main(["override", "list", *store]) == command.main(["explain", "a", *store]) == 0
    assert reached == ["override", "explain"]


def test_the_settings_name_the_store_that_is_looked_at(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(f'store = "{tmp_path / "ours"}"\n')
    with hold(tmp_path / "ours"):
        assert command.main(["run", "--settings", str(tmp_path / "s.toml")]) == 3
    assert "the store ours is held" in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_said_by_the_command_itself(tmp_path):
    (tmp_path / "s.toml").write_text("store = ")
    asked = argparse.Namespace(command="run", settings=str(tmp_path / "s.toml"), store=None)
    assert command._busy(asked) == ""
