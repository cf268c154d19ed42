"""A model that its report refuses does not replace one that passed; where none did, it serves and every row says so."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import mlflow
import pytest

from erp.ledger import Ledger
from models import boosting
from models.champions import QUESTIONS
from models.report import Report
from pipelines import desk, steps
from pipelines.jobs import morning, score, train
from pipelines.reopened import reopen
from pipelines.tracking import tracking_uri
from tests.pipelines.small_company import LATER, TINY_T, different_files, queue_of

RISK = "cancellation-risk"
WHY = "12 % too low on later days"
MARK = f"cancellation risk ({WHY})"


@pytest.fixture
def refuse(monkeypatch):
    """Let the reports of these models refuse them from now on, and those of all others pass."""

    def judge(question, refused):
        return replace(question, evaluate=lambda rows, today: Report(metrics={"auc": 0.7}, refused=refused))

    def refused(*names, why=(WHY,)):
        judged = {name: judge(question, why if name in names else ()) for name, question in QUESTIONS.items()}
        monkeypatch.setattr(steps, "QUESTIONS", MappingProxyType(judged))

    return refused


@pytest.fixture
def site(looked_back):
    return looked_back()


def serving(site, as_of):
    return steps.champions(Ledger(Path(site.store)), as_of)


def promoted(site):
    return [version.name for version in Ledger(Path(site.store)).models()]


def is_marked(site):
    assumed = queue_of(site)["assumed"]
    assert len(assumed) > 5
    marked = assumed.str.split("; ").map(lambda said: MARK in said, na_action="ignore").fillna(False)
    assert marked.all() or not marked.any()
    return bool(marked.all())


def test_where_none_passed_the_refused_model_serves_and_every_row_of_every_queue_says_so(site, refuse, caplog):
    refuse(RISK)
    morning(site, TINY_T)
    assert is_marked(site)
    assert f"{RISK} is refused ({WHY}), but none that passed is there: it serves, marked on every row" in caplog.text
    score(site, LATER)
    assert is_marked(site), "the version carries its refusal to every morning that it serves"
    refuse()
    train(site, LATER)
    score(site, LATER)
    assert not is_marked(site), "a model that passes replaces it"


def test_the_model_that_passed_stays_while_the_others_change_together(site, refuse, caplog):
    refuse()
    train(site, TINY_T)
    first = serving(site, TINY_T)
    refuse(RISK)
    train(site, LATER)
    second = serving(site, LATER)
    assert second[RISK] == first[RISK]
    assert {version.as_of.replace(tzinfo=None) for name, version in second.items() if name != RISK} == {LATER}
    assert f"{RISK} is refused ({WHY}): the one trained as of {TINY_T:%Y-%m-%d} goes on serving" in caplog.text
    score(site, LATER)
    assert not is_marked(site)
    hashes = {name: version.version_hash for name, version in second.items()}
    assert reopen(Path(site.store)).manifest["models"] == hashes


def test_a_model_that_passed_later_serves_no_earlier_morning(site, refuse):
    refuse()
    train(site, LATER)
    refuse(RISK)
    morning(site, TINY_T)
    assert is_marked(site)


def test_of_two_refused_models_the_newer_serves(site, refuse):
    refuse(RISK)
    train(site, TINY_T)
    train(site, LATER)
    assert serving(site, LATER)[RISK].as_of.replace(tzinfo=None) == LATER
    assert promoted(site) == 2 * list(QUESTIONS)


def test_all_may_be_refused_and_then_nothing_changes(site, refuse):
    refuse()
    train(site, TINY_T)
    before = serving(site, TINY_T)
    refuse(*QUESTIONS)
    train(site, LATER)
    assert serving(site, LATER) == before
    assert promoted(site) == list(QUESTIONS)


def test_training_again_with_a_refused_model_in_service_changes_nothing_and_scores_the_same_bytes(site, refuse):
    refuse(RISK)
    morning(site, TINY_T)
    first, twin = serving(site, TINY_T), replace(site, out=site.out + "-again")
    train(site, TINY_T)
    score(twin, TINY_T)
    assert serving(site, TINY_T) == first
    assert different_files(site, twin) == []


@pytest.mark.parametrize(("room", "step"), [(steps, "_fit"), (steps, "track_training"), (desk, "predict")])
def test_a_morning_that_crashed_with_a_refused_model_resumes_with_the_same_bytes(
    site, refuse, looked_back, monkeypatch, room, step
):
    refuse(RISK)
    other = looked_back("other")
    morning(site, TINY_T)
    with monkeypatch.context() as patch:
        patch.setattr(room, step, _power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            morning(other, TINY_T)
    morning(other, TINY_T)
    assert different_files(site, other) == []
    assert is_marked(other)


def _power_cut(*_):
    raise RuntimeError("power cut")


def test_the_refusal_belongs_to_the_version_and_so_to_the_run_id(looked_back, refuse):
    ids = set()
    for place, why in enumerate(((WHY,), (WHY, "20 % too high after 30 days"))):
        refuse(RISK, why=why)
        site = looked_back(f"site-{place}")
        morning(site, TINY_T)
        ids.add(queue_of(site)["run_id"].iloc[0])
    assert len(ids) == 2
    assert f"cancellation risk ({WHY}, 20 % too high after 30 days)" in queue_of(site)["assumed"].iloc[0]


@pytest.mark.usefixtures("tracked")
def test_models_of_another_version_serve_no_more_and_the_next_run_trains_new_ones(site, refuse, monkeypatch, caplog):
    refuse()
    train(site, TINY_T)
    old = {name: version.version_hash for name, version in serving(site, TINY_T).items()}
    monkeypatch.setattr(boosting, "FORM", boosting.FORM + 1)
    assert serving(site, LATER) == {}
    assert "is of another version of backorder" in caplog.text
    morning(site, LATER)
    assert {name: version.version_hash for name, version in serving(site, LATER).items()}.keys() == old.keys()
    assert all(boosting.is_readable(version.folder) for version in serving(site, LATER).values())


def test_mlflow_shows_the_refusal_and_keeps_its_champion(site, refuse, tracked):
    refuse()
    train(site, TINY_T)
    refuse("lifetime-value")
    train(site, LATER)
    mlflow.set_tracking_uri(tracking_uri(Path(site.store)))
    runs = {
        name: mlflow.search_runs(experiment_names=[name], output_format="list", order_by=["start_time ASC"])
        for name in QUESTIONS
    }
    assert [run.data.tags.get("refused") for run in runs["lifetime-value"]] == [None, WHY]
    assert all("refused" not in run.data.tags for name in runs if name != "lifetime-value" for run in runs[name])
    client = mlflow.MlflowClient()
    for model in client.search_registered_models():
        champion = client.get_model_version_by_alias(model.name, "champion")
        newest = TINY_T if model.name == "lifetime-value" else LATER
        assert champion.tags["as_of"] == newest.isoformat()
        assert "refused" not in champion.tags
