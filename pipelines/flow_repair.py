"""Prefect made to show what is true: flow runs that a killed process left running are crashed, and their slots free."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erp.ledger import Ledger
from pipelines.door import server_answers, server_url

_log = logging.getLogger("backorder")
FLOWS = ("build-features", "train-models", "score-queue", "daily")
STORE_LABEL = "backorder.store"
# A flow that begins elsewhere while we hold the store ends within this time, since the store is busy.
_BUSY_SECONDS = 5.0
_PAGE = 100


def store_label(store: Path) -> str:
    """What a flow run says of its store: the store's name, or its place while it has none."""
    return Ledger(store).store_id or str(store.resolve())


def tell_store(store: Path) -> None:
    """Have the running flow run say which store it works on, so that it can be told apart after a crash."""
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    if flow_run.id is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(flow_run.id, {STORE_LABEL: store_label(store)})
    except Exception as error:  # whatever the server says: Prefect is a view, and the morning goes on
        _log.warning("Prefect was not told which store this is (%s)", str(error).splitlines()[0])


def mend_flow_runs(store: Path, held_since: float) -> dict[str, Any]:
    """Crash this store's flow runs that are said to run; whoever calls holds the store, so no process does.

    Parameters
    ----------
    held_since : of `time.monotonic`, when the store was taken

    Returns
    -------
    crashed : names of flow runs; left: those that do not say of which store they are; error: why nothing could be done
    """
    if not server_answers():
        is_gone = bool(server_url())
        return {"crashed": [], "left": [], "error": "the Prefect server does not answer" if is_gone else ""}
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        found = _running(client)
        if any(_is_of(run, store) for run in found):
            time.sleep(max(0.0, held_since + _BUSY_SECONDS - time.monotonic()))
            found = _running(client)
        mine = [run for run in found if _is_of(run, store)]
        for run in mine:
            # Forced, as the rules let nobody end a run but its own process; its slot is given back all the same.
            state = Crashed(message="its process is gone: the store is held by nobody")
            client.set_flow_run_state(run.id, state, force=True)
        return {
            "crashed": [run.name for run in mine],
            "left": [run.name for run in found if _store_said(run) is None],
            "error": "",
        }


def _running(client: Any) -> list[Any]:
    """Flow runs of ours, of any store, that are said to run or to be about to end."""
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
    from prefect.client.schemas.objects import StateType

    ours = FlowFilter.model_validate({"name": {"any_": list(FLOWS)}})
    types = [StateType.RUNNING, StateType.CANCELLING]
    runs = FlowRunFilter.model_validate({"state": {"type": {"any_": types}}})
    found: list[Any] = []
    while page := client.read_flow_runs(flow_filter=ours, flow_run_filter=runs, limit=_PAGE, offset=len(found)):
        found += page
    return found


def _is_of(run: Any, store: Path) -> bool:
    return _store_said(run) in (store_label(store), str(store.resolve()))


def _store_said(run: Any) -> str | None:
    """The store that a flow run names by its label, or by an absolute place in its parameters; None if by neither."""
    labels: Mapping[str, Any] = run.labels or {}
    if STORE_LABEL in labels:
        return str(labels[STORE_LABEL])
    place = run.parameters.get("store")
    return str(Path(place).resolve()) if place and Path(place).is_absolute() else None
