"""A small store with a training and a published queue, made in a moment, to be left half done: what crashes leave."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from erp.fingerprint import fingerprint
from erp.ledger import lock_store
from erp.queue_files import write_queue
from erp.runs import open_run
from models.champions import QUESTIONS

T = datetime(2026, 3, 9, 5, tzinfo=UTC)
ALLOCATION = {"value": 3.0, "bound": 4.0, "gap": 0.25}


def queue_of(*lines):
    """A queue of (order line, goods now, loss if it waits)."""
    return pd.DataFrame(
        {
            "rank": range(1, len(lines) + 1),
            "order_line_id": [line[0] for line in lines],
            "ship_now_quantity": [float(line[1]) for line in lines],
            "action": ["ship" if line[1] else "wait" for line in lines],
            "loss_if_waits": [float(line[2]) for line in lines],
        }
    )


def write_manifested(folder, queue, run_id):
    """Write a queue's files with what its MLflow run shows of them."""
    said = {"run_id": run_id, "as_of": T, "models": {}, "allocation": ALLOCATION, "overrides": {"cost": 0.0}}
    made_with = {"policy": {}, "working_days": [0, 1, 2, 3, 4], "holidays": [], "model_changed": False}
    said |= {"plan": {"lost": 5.0, "bound": 5.0}, "currency": "EUR", "made_with": made_with | {"previous_run_id": None}}
    write_queue(folder, queue, {}, said)


def publish(site, run_id="R1", as_of=T, queue=None):
    """Publish a queue that MLflow was not told of."""
    store = Path(site.store)
    queue = queue_of(("a", 1, 9), ("b", 0, 5)) if queue is None else queue
    with lock_store(store, site), open_run(store, as_of, fingerprint(run_id)) as run:
        run.note(facts="f" * 64, policy="p" * 64, code="c" * 64)
        run.publish(run.keep_folder("queue", write_manifested, queue, run_id), Path(site.out))


def train(site, as_of=T, refused=(), is_promoted=True):
    """Fit all models, if only in name, and promote them; MLflow was not told. Gives their hashes by name."""
    store, versions = Path(site.store), {}
    with lock_store(store, site) as ledger, open_run(store, as_of, fingerprint("train")) as run:
        run.note(facts="f" * 64, policy="p" * 64, code="c" * 64)
        for name in QUESTIONS:
            report = run.keep_folder(f"report-{name}", _report, name, list(refused) if name == "arrival" else [])
            folder = run.keep_folder(f"model-{name}", _model, name)
            versions[name] = (*ledger.adopt_model(name, folder), {"auc": 0.7})
            assert report.is_dir()
        if is_promoted:
            ledger.promote(
                {name: v for name, v in versions.items() if not (refused and name == "arrival")}, as_of, as_of
            )
    return {name: version[0] for name, version in versions.items()}


def _report(folder, name, refused):
    said = {"params": {"name": name}, "metrics": {"auc": 0.7}, "notes": ["a note"], "refused": refused}
    (folder / "report.json").write_text(json.dumps(said))


def _model(folder, name):
    (folder / "model.json").write_text(json.dumps({"kind": "pooled", "name": name}))
