import logging
import os
import shutil

import pytest

from pipelines import steps
from pipelines.jobs import train
from tests.pipelines.small_company import T, company_tables, site_of


def no_tracking(*_):
    """Stand in for MLflow, which needs ten seconds a training; test_tracking.py has it in."""


@pytest.fixture(autouse=True)
def plain_surroundings(request, monkeypatch, tmp_path):
    """No settings and no server from outside; MLflow only for tests that ask for the fixture `tracked`."""
    for name in list(os.environ):
        if name.startswith("BACKORDER_") or name in {"PREFECT_API_URL", "MLFLOW_TRACKING_URI"}:
            monkeypatch.delenv(name)
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
def trained_site(tmp_path_factory):
    """The small company's site with models trained as of T; tests work on copies."""
    site = site_of(tmp_path_factory.mktemp("trained"), company_tables())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_training", no_tracking)
        train(site, T)
    return site


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
