"""What a crash left behind, put right in the ledger, the collected history, MLflow, Prefect, and at the destination."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erp.collected import finish_collections
from erp.destination import DeliveryError
from erp.ledger import Ledger, lock_store, utc_time
from erp.outbox import UNCERTAIN_STATES, Outbox
from erp.settings import SettingsError, Site
from pipelines.flow_repair import mend_flow_runs
from pipelines.progress import stage
from pipelines.queue_report import counted
from pipelines.tracking_repair import mend_tracking

Facts = dict[str, Any]


def reconcile(site: Site) -> Facts:
    """Put right what processes that are gone left half done; saying it twice changes nothing.

    Returns
    -------
    runs : as_of of runs that never ended; extracts: collections that were finished or thrown away; mlflow, prefect,
    deliveries: what was done there, and what could not be

    Raises
    ------
    StoreBusy
        If a process works on the store: then nothing is a leftover yet.
    """
    store = Path(site.store)
    with lock_store(store, site) as ledger:
        held_since = time.monotonic()
        stage("mend", "looking for what a crash left behind in %s", store)
        facts: Facts = {
            "runs": [utc_time(row["as_of"]).strftime("%Y-%m-%dT%H:%M:%SZ") for row in ledger.leftovers],
            "extracts": list(finish_collections(site.store)),
            "mlflow": mend_tracking(store),
            "prefect": mend_flow_runs(store, held_since),
        }
    return facts | {"deliveries": _settled(site, Ledger(store))}


def _settled(site: Site, ledger: Ledger) -> Facts:
    """Ask the destination for lines whose answer was lost."""
    outbox = Outbox(ledger)
    before, error = outbox.waiting(*UNCERTAIN_STATES), ""
    if before:
        from pipelines.delivery import settle_unknown

        try:
            settle_unknown(site)
        except (DeliveryError, SettingsError) as trouble:
            error = str(trouble)
    unknown = outbox.waiting(*UNCERTAIN_STATES)
    asked = sum(before.values()) - sum(unknown.values())
    return {"settled": asked, "unknown": unknown, "to_send": outbox.waiting("pending"), "error": error}


def is_whole(facts: Mapping[str, Any]) -> bool:
    """Whether nothing is left that somebody must see to."""
    return not (facts["deliveries"]["unknown"] or facts["prefect"]["left"] or any(_errors(facts)))


def reconciled_text(facts: Mapping[str, Any]) -> str:
    """What was put right, and what a person must see to."""
    said = [*_done(facts), *_left(facts)]
    return "\n".join(said or ["nothing was left behind"])


def _done(facts: Mapping[str, Any]) -> list[str]:
    runs, mlflow, crashed = facts["runs"], facts["mlflow"], facts["prefect"]["crashed"]
    settled = facts["deliveries"]["settled"]
    said = [
        (runs, f"{counted(len(runs), 'run')} never ended and counted as failed now: as of {', '.join(runs)}"),
        (facts["extracts"], f"half-collected extracts: {'; '.join(facts['extracts'])}"),
        (mlflow["ended"], f"MLflow: {counted(mlflow['ended'], 'run')} left open ended"),
        (mlflow["logged"], f"MLflow: {counted(mlflow['logged'], 'run')} that it lacked logged"),
        (crashed, f"Prefect: {counted(len(crashed), 'flow run')} left running crashed: {', '.join(crashed)}"),
        (settled, f"the destination told what became of {counted(settled, 'line')}"),
    ]
    return [text for what, text in said if what]


def _left(facts: Mapping[str, Any]) -> list[str]:
    deliveries, left = facts["deliveries"], facts["prefect"]["left"]
    said = [
        f"{place}: nobody can tell whether {counted(n, 'line')} arrived; look there, then `backorder apply --arrived`"
        for place, n in deliveries["unknown"].items()
    ]
    said += [
        f"{place}: {counted(n, 'line')} not sent yet; `backorder apply` sends them"
        for place, n in deliveries["to_send"].items()
    ]
    if left:
        said.append(
            f"Prefect: {counted(len(left), 'flow run')} do not say of which store they are: {', '.join(left)};"
            " end them in Prefect if their processes are gone"
        )
    return said + [f"not done: {error}; mend that and run this again" for error in _errors(facts) if error]


def _errors(facts: Mapping[str, Any]) -> list[str]:
    """What could not be reached."""
    return [str(facts[where]["error"]) for where in ("deliveries", "mlflow", "prefect")]
