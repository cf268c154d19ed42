import logging
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import pytest
from filelock import FileLock

from features import samples
from models.report import Report
from pipelines import delivery, steps
from pipelines.jobs import morning, train
from tests.pipelines.shelf import Shelf
from tests.pipelines.small_company import LATER, TINY_T, T, company_tables, copied_site, site_of, tiny_tables


def no_tracking(*_):
    """Stand in for MLflow, which needs ten seconds a training; test_tracking.py has it in."""


@pytest.fixture(autouse=True)
def plain_surroundings(request, monkeypatch, tmp_path):
    """No settings and no server from outside; MLflow only for tests that ask for the fixture `tracked`."""
    for name in list(os.environ):
        if name.startswith("BACKORDER_") or name == "PREFECT_API_URL":
            monkeypatch.delenv(name)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # not by monkeypatch, which would put a module's fixture's place back
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "no-profiles.toml"))
    log = logging.getLogger("backorder")  # the command hangs a handler on it, for a stderr that ends with the test
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    if "tracked" not in request.fixturenames:
        monkeypatch.setattr(steps, "track_training", no_tracking)
        monkeypatch.setattr(steps, "track_scoring", no_tracking)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # mlflow.set_tracking_uri leaves it behind for whoever comes next


@pytest.fixture
def tracked():
    """Leave MLflow in."""


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Make a site's folder in one of pytest-xdist's processes for them all; `fill` writes into it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name, fill):
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed half way
                fill(folder)
                done.touch()
        return site_of(folder)

    return made


def train_small(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_training", no_tracking)
        train(site_of(folder, company_tables()), T)


@pytest.fixture(scope="session")
def trained_site(made_once):
    """The small company's site with models trained as of T; tests work on copies."""
    return made_once("trained", train_small)


def first_morning(folder):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("track_training", "track_scoring"):
            patch.setattr(steps, name, no_tracking)
        morning(site_of(folder, tiny_tables()), TINY_T)


@pytest.fixture(scope="session")
def tiny_morning(made_once):
    """The tiny company's site after a whole morning of TINY_T, never interrupted; tests work on copies or only read."""
    return made_once("tiny-morning", first_morning)


@pytest.fixture
def few_looks(monkeypatch):
    """Look back as at the largest companies, a fifth of the looks and half of the accounts' cut-offs, in this process.

    Of the tiny company the same kinds of models are learned from them, in half of the seconds.
    """
    monkeypatch.setattr(samples, "STEP_DAYS_UP_TO_LINES", ())
    monkeypatch.setattr(samples, "MOST_CUTOFFS", samples.FEWEST_CUTOFFS)


@pytest.fixture
def unjudged(monkeypatch):
    """Let every model pass without being judged, half of what is left of a training after the look back."""
    passes = {name: replace(each, evaluate=lambda rows, today: Report()) for name, each in steps.QUESTIONS.items()}
    monkeypatch.setattr(steps, "QUESTIONS", MappingProxyType(passes))


class StopHereError(Exception):
    """Ends a training before its first model."""


def look_back(folder):
    def stop(*_):
        raise StopHereError

    site = site_of(folder, tiny_tables())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_evaluate", stop)
        for as_of in (TINY_T, LATER):
            with suppress(StopHereError):
                train(site, as_of)


@pytest.fixture(scope="session")
def looked_back_site(made_once):
    """The tiny company's site, whose trainings as of TINY_T and LATER resume after the look back."""
    return made_once("looked-back", look_back)


@pytest.fixture
def looked_back(looked_back_site, tmp_path):
    """Make a copy of that site, for tests of what becomes of models: the look back is half of a training's work."""
    return lambda name="site": copied_site(looked_back_site, tmp_path / name)


@pytest.fixture
def trained(trained_site, tmp_path):
    """Make a site in a folder of its own, with other tables but the models of T."""

    def site(tables=None, name="site", **settings):
        folder = tmp_path / name
        shutil.copytree(trained_site.store, folder / "store")
        if tables is None:
            shutil.copytree(trained_site.data, folder / "data")
        return site_of(folder, tables, **settings)

    return site


@pytest.fixture
def shelf(monkeypatch):
    """A destination in a dict, at the place of the settings' own."""
    made = Shelf()
    monkeypatch.setattr(delivery, "open_destination", lambda site: made)
    monkeypatch.setattr(delivery, "PATIENCE", 0.0)
    return made
