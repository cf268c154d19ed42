"""Same facts, policy, models and code: the same bytes, whatever road leads there."""

import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.ledger import Ledger
from models.champions import QUESTIONS
from pipelines import steps
from pipelines.jobs import morning, score, train
from tests.pipelines.small_company import (
    LATER,
    TINY_T,
    T,
    company_tables,
    copied_site,
    different_files,
    published_bytes,
    queue_of,
    site_of,
    tiny_tables,
)


@pytest.fixture(scope="module")
def first(trained_site, tmp_path_factory):
    """The queue of the models trained as of T, published once."""
    site = copied_site(trained_site, tmp_path_factory.mktemp("first"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", lambda *_: None)
        score(site, T)
    return site


def shuffled(frame, seed=0):
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def test_two_fresh_stores_publish_the_same_bytes_whether_run_at_once_or_trained_then_scored(first, tmp_path):
    other = site_of(tmp_path, company_tables())
    morning(other, T)
    assert different_files(first, other) == []
    assert len(queue_of(first)) > 50


def test_the_order_of_rows_and_columns_files_and_copies_do_not_matter(tiny_morning, tmp_path):
    """Everything is trained again: it holds for the models, too."""
    tables, site = tiny_tables(), site_of(tmp_path)
    for place, (name, frame) in enumerate(sorted(tables.items())):
        frame = pd.concat([frame, frame.sample(frac=0.1, random_state=place)])  # identical rows count once
        frame = shuffled(frame[frame.columns[::-1]], place)
        folder = Path(site.data) / name
        folder.mkdir(parents=True)
        cut = len(frame) // 3
        frame.iloc[:cut].to_parquet(folder / "a.parquet")
        frame.iloc[cut:].to_parquet(folder / "b.parquet")
    morning(site, TINY_T)
    assert different_files(tiny_morning, site) == []


def test_csv_serves_as_well_as_parquet(first, trained):
    site = trained()
    for path in Path(site.data).glob("*.parquet"):
        shuffled(pd.read_parquet(path)).to_csv(path.with_suffix(".csv"), index=False)
        path.unlink()
    score(site, T)
    assert different_files(first, site) == []


def test_a_run_again_in_the_same_store_changes_nothing(first, trained):
    site = trained()
    for job in (score, morning):
        job(site, T)
        assert different_files(first, site) == []


def test_a_later_run_leaves_no_trace_in_an_earlier_one(first, trained):
    site = trained(company_tables(days_on=1))
    score(site, T + timedelta(days=1))
    site = replace(site, data=first.data)
    score(site, T)
    assert different_files(first, site) == []


def test_places_and_memory_do_not_matter(first, trained):
    site = trained()
    moved = Path(site.store).rename(Path(site.store).with_name("elsewhere"))
    site = replace(site, store=str(moved), out=str(moved.with_name("other out")), memory_limit="900MB")
    score(site, T)
    assert different_files(first, site) == []


def test_files_that_are_no_tables_do_not_matter_even_where_store_and_out_lie_among_the_data(first, trained):
    site = trained()
    data = Path(site.data)
    site = replace(site, store=str(Path(site.store).rename(data / "store.d")), out=str(data / "out.d"))
    for text in ("not a table", "changed"):
        (data / "notes.txt").write_text(text)
        score(site, T)
        assert different_files(first, site) == []
    assert len({run["folder"] for run in Ledger(Path(site.store)).runs()}) == 1


@pytest.mark.parametrize("step", ["cancellation_samples", "_evaluate", "write_queue"])
def test_a_run_that_crashed_resumes_where_it_stopped_with_the_same_bytes(tiny_morning, tmp_path, monkeypatch, step):
    site, made = site_of(tmp_path, tiny_tables()), []
    _note_calls(monkeypatch, ("gather", "write_features_now", "cancellation_samples"), made)
    _fail_once(monkeypatch, step)
    with pytest.raises(RuntimeError, match="power cut"):
        morning(site, TINY_T)
    assert not (tmp_path / "out").exists()
    morning(site, TINY_T)
    assert different_files(tiny_morning, site) == []
    assert sorted(made) == ["cancellation_samples", "gather", "write_features_now"], "a kept step is not made again"
    assert [run["state"] for run in Ledger(tmp_path / "store").runs()] == ["published", "failed"]


def test_a_run_killed_in_the_middle_of_training_resumes_with_the_same_bytes(tiny_morning, tmp_path):
    site = site_of(tmp_path, tiny_tables())
    options = ["--data", site.data, "--store", site.store, "--out", site.out, "--as-of", f"{TINY_T}Z"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.command", "run", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    for line in process.stderr:
        if "training lifetime-value" in line:
            process.kill()
    process.wait()
    process.stderr.close()
    assert process.returncode == -signal.SIGKILL
    morning(site, TINY_T)
    assert different_files(tiny_morning, site) == []
    states = [(run["state"], run["error"]) for run in Ledger(tmp_path / "store").runs()]
    assert states == [("published", None), ("failed", "the process ended before the run did; open it again to resume")]


def _note_calls(monkeypatch, names, made):
    for name in names:
        whole = getattr(steps, name)

        def noted(*args, name=name, whole=whole):
            made.append(name)
            return whole(*args)

        monkeypatch.setattr(steps, name, noted)


def _fail_once(monkeypatch, name):
    whole, calls = getattr(steps, name), []

    def cut_once(*args):
        calls.append(name)
        if len(calls) == 1:
            raise RuntimeError("power cut")
        return whole(*args)

    monkeypatch.setattr(steps, name, cut_once)


@pytest.mark.usefixtures("unjudged")
def test_a_crash_while_training_leaves_no_mixture_of_old_and_new_champions(looked_back, monkeypatch):
    site = looked_back()
    train(site, TINY_T)
    before = steps.champions(Ledger(Path(site.store)), LATER)
    assert set(before) == set(QUESTIONS)
    calls = []

    def fail_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return steps_fit(*args)

    steps_fit = steps._fit
    monkeypatch.setattr(steps, "_fit", fail_at_the_third)
    with pytest.raises(RuntimeError, match="power cut"):
        train(site, LATER)
    assert steps.champions(Ledger(Path(site.store)), LATER) == before
    train(site, LATER)
    after = steps.champions(Ledger(Path(site.store)), LATER)
    assert {version.as_of.replace(tzinfo=None) for version in after.values()} == {LATER}
    assert set(after) == set(QUESTIONS)


def test_a_damaged_kept_step_is_made_again(first, trained):
    site = trained()
    score(site, T)
    for folder in (Path(site.store) / "runs").iterdir():
        (folder / "features" / "lines.parquet").write_bytes(b"damaged")
        shutil.rmtree(folder / "queue", ignore_errors=True)
    score(site, T)
    assert different_files(first, site) == []


def test_what_changes_the_queue_changes_the_run_id(first, trained):
    tables, ids = company_tables(), {queue_of(first)["run_id"].iloc[0]}
    tables["stock"].loc[len(tables["stock"]) - 1, "on_hand"] += 1
    sites = [
        trained(tables, "other facts"),
        trained(name="policy", policy={"cancel_handling_cost": 3}),
        trained(name="currency", currency="USD"),
        trained(name="handling", handling_days=2),
    ]
    for site in sites:
        score(site, T)
        ids.add(queue_of(site)["run_id"].iloc[0])
        assert published_bytes(site)["queue.parquet"] != published_bytes(first)["queue.parquet"]
    assert len(ids) == 5


def test_random_splits_of_a_table_into_files_do_not_matter(first, trained):
    site, draw = trained(), random.Random(4)
    for path in sorted(Path(site.data).glob("*.parquet")):
        frame, folder = shuffled(pd.read_parquet(path), 7), path.with_suffix("")
        folder.mkdir()
        cuts = sorted(draw.randint(0, len(frame)) for _ in range(3))
        for part, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(frame)], strict=True)):
            piece = frame.iloc[start:end]
            if part % 2:
                piece.to_csv(folder / f"{part}.csv", index=False)
            else:
                piece.to_parquet(folder / f"{part}.parquet")
        path.unlink()
    score(site, T)
    assert different_files(first, site) == []
