"""One door decides whether a job runs as a Prefect flow (a server answers) or plainly."""

import logging
import os
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

_log = logging.getLogger("backorder")


def go(flow: str, plain: Any, **parameters: str | None) -> Any:
    """Run a job through the door.

    Parameters
    ----------
    flow : dotted path of the flow, such as pipelines.daily.daily
    plain : the same job without Prefect; takes the same parameters
    parameters : texts only, since Prefect stores them in clear
    """
    if not server_answers():
        return plain(**parameters)
    _log.info("a Prefect server answers: running as the flow %s", flow)
    module, _, name = flow.rpartition(".")
    return getattr(import_module(module), name)(**parameters)


def server_answers() -> bool:
    """Whether a Prefect server is set and healthy; Prefect itself is imported only if one may be set."""
    url = server_url()
    if not url:
        return False
    try:
        with urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError as error:
        _log.warning("the Prefect server at %s does not answer (%s): running without it", url, error)
        return False


def server_url() -> str:
    """The Prefect server that is set, healthy or not; empty without one."""
    if not _may_be_set():
        return ""
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value() or "")


def _may_be_set() -> bool:
    """Whether the environment or Prefect's profiles name a server, read without importing Prefect (seconds)."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not profiles.is_file():
        return False
    named = tomllib.loads(profiles.read_text(encoding="utf-8")).get("profiles", {})
    return any("PREFECT_API_URL" in profile for profile in named.values() if isinstance(profile, dict))
