"""What a job says of itself while it runs: its stages, and about how long it still takes."""

import io
import json
import logging

import pytest

from pipelines import progress
from pipelines.progress import FILE, USUAL, plan, shown, stage

LOG = logging.getLogger("backorder")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""

    class Clock:
        now = 100.0

        def go(self, seconds):
            self.now += seconds

    stands = Clock()
    monkeypatch.setattr(progress.time, "monotonic", lambda: stands.now)
    return stands


def test_each_stage_says_what_is_left_by_what_the_stages_took_the_last_time(tmp_path, clock):
    (tmp_path / FILE).write_text(json.dumps({"facts": 4.0, "features": 6.0, "score": 20.0}))
    said = io.StringIO()
    with shown(quiet=False, stream=said) as job:
        job.remember(tmp_path)
        plan(["facts", "features", "score"])
        stage("facts", "reading %s", "data")
        clock.go(13.0)  # (13 + 5) / (4 + 5): the rest is expected to take twice as long as the last time, too
        stage("features", "building features")
        clock.go(12.0)
        LOG.warning("the arrival model is refused")
        stage("score", "scoring")
        clock.go(1.0)
    assert said.getvalue().splitlines() == [
        "   0.0 s  reading data; about 30 s left",
        "  13.0 s  building features; about 52 s left",
        "  25.0 s  the arrival model is refused",
        "  25.0 s  scoring; about 40 s left",
    ]
    assert json.loads((tmp_path / FILE).read_text()) == {"facts": 13.0, "features": 12.0, "score": 1.0}


def test_without_a_last_time_the_usual_seconds_stand_in(clock):
    with shown(quiet=False, stream=io.StringIO()) as job:
        plan(["facts", "score"])
        stage("facts", "reading")
        assert job.seconds_left() == USUAL["facts"] + USUAL["score"]
        clock.go(3 * USUAL["facts"])
        assert job.seconds_left() == USUAL["score"], "a stage that takes longer than expected is about to end"
        stage("score", "scoring")
        assert job.seconds_left() == pytest.approx(USUAL["score"] * (3 * USUAL["facts"] + 5) / (USUAL["facts"] + 5))


def test_quiet_says_warnings_alone_and_keeps_the_seconds_all_the_same(tmp_path, clock):
    said = io.StringIO()
    with shown(quiet=True, stream=said) as job:
        job.remember(tmp_path)
        stage("facts", "reading")
        clock.go(2.0)
        LOG.warning("old stock")
    assert said.getvalue() == "   2.0 s  old stock\n"
    assert json.loads((tmp_path / FILE).read_text()) == {"facts": 2.0}


def test_a_pipe_gets_plain_lines_and_a_terminal_one_that_counts_on():
    for stream, counts_on in ((io.StringIO(), False), (Terminal(), True)):
        with shown(quiet=False, stream=stream):
            stage("facts", "reading")
            if counts_on:
                progress.time.sleep(1.3)
        assert ("\r\033[K" in stream.getvalue()) == counts_on
        assert stream.getvalue().count("reading") == 1 + counts_on


@pytest.mark.parametrize("text", ["no json", "[1, 2]", '{"facts": "long"}'])
def test_a_damaged_memory_is_no_memory(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with shown(quiet=False, stream=io.StringIO()) as job:
        job.remember(tmp_path)
        assert job.remembered == {}


def test_nothing_is_kept_where_there_is_no_store(tmp_path):
    with shown(quiet=True, stream=io.StringIO()) as job:
        job.remember(tmp_path / "none")
        stage("facts", "reading")
    assert not (tmp_path / "none").exists()


def test_the_log_is_as_it_was_once_the_command_has_ended():
    before = LOG.handlers[:], LOG.propagate
    with shown(quiet=False, stream=io.StringIO()):
        assert LOG.handlers != before[0]
    assert (LOG.handlers, LOG.propagate) == before
