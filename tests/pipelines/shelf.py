"""A destination that keeps its lines in a dict and fails when told to, and queues to deliver to it."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pandas as pd

from erp.destination import Held, Outcome
from erp.fingerprint import fingerprint
from erp.ledger import lock_store
from erp.queue_files import write_queue
from erp.runs import open_run

T = datetime(2026, 3, 9, 5, tzinfo=UTC)


class KilledError(BaseException):
    """Stands for kill -9: nothing after it runs."""


class Shelf:
    """Lines and what they say; `fault(call, number)` is asked before and after each call and may raise or lose."""

    name, date_column = "shelf", "promise_on"

    def __init__(self, batch=2, knows_keys=True, is_readable=True):
        self.batch, self.knows_keys, self.is_readable = batch, knows_keys, is_readable
        self.lines, self.seen, self.n_written, self.picked, self.sequences = {}, set(), 0, {}, {}
        self.lost = lambda item: False  # whether the answer for this item gets lost, after it was taken
        self.before = lambda call: None

    @contextmanager
    def opened(self):
        yield

    def wishes(self, rows):
        names = ("rank", "ship_now_quantity", "promise_on", "reason")
        return {row["order_line_id"]: {name: _plain(row[name]) for name in names} for row in rows}

    def held(self, order_line_ids):
        self.before("held")
        if not self.is_readable:
            return None
        return {
            line: Held(dict(values), json.dumps(values), line not in self.picked, self.picked.get(line, ""))
            for line, values in self.lines.items()
        }

    def newest_sequence(self):
        return max(self.sequences.values(), default=None) if self.is_readable else None

    def send(self, items):
        assert self.batch is None or len(items) <= self.batch
        return [self.take(item) for item in items]

    def take(self, item):
        """Carry out one item, unless a newer one of its line was: keys and sequences are what a receiver goes by."""
        self.before("send")
        if item.sequence < self.sequences.get(item.order_line_id, 0):
            return Outcome(item.key, "skipped", "a newer one is there")
        if self.is_readable and (now := self.lines.get(item.order_line_id)) is not None:
            if item.version is not None and json.dumps(now) != item.version and item.key not in self.seen:
                return Outcome(item.key, "skipped", "changed since it was read")
        if item.key not in self.seen:
            self.seen.add(item.key)
            self.sequences[item.order_line_id] = item.sequence
            self.n_written += 1
            self.lines.pop(item.order_line_id, None)
            if item.values is not None:
                self.lines[item.order_line_id] = dict(item.values)
        self.before("sent")
        return Outcome(item.key, "unknown", "no answer") if self.lost(item) else Outcome(item.key, "accepted")

    def ask(self, items):
        self.before("ask")
        if not self.knows_keys:
            return [Outcome(item.key, "unknown") for item in items]
        return [Outcome(item.key, "accepted" if item.key in self.seen else "absent") for item in items]


def lines_of(*lines):
    """A queue of (order line, goods, date, loss): its rank is its place."""
    return pd.DataFrame(
        {
            "rank": range(1, len(lines) + 1),
            "order_line_id": [line[0] for line in lines],
            "ship_now_quantity": [float(line[1]) for line in lines],
            "promise_on": pd.to_datetime([line[2] for line in lines]).astype("datetime64[s]"),
            "loss_if_waits": [float(line[3]) for line in lines],
            "reason": "It waits.",
        }
    )


def publish_queue(store, as_of, queue, is_published=True):
    """Publish a hand-made queue; returns its run id."""
    run_id = fingerprint([as_of, queue])
    made_with = {"policy": {}, "working_days": [0, 1, 2, 3, 4], "holidays": [], "model_changed": False}
    facts = {"run_id": run_id, "as_of": as_of, "models": {}, "currency": "EUR"}
    facts["made_with"] = made_with | {"previous_run_id": None}
    with lock_store(store), open_run(store, as_of, run_id) as run:
        write_queue(run.folder / "queue", queue, {}, facts)
        if is_published:
            run.publish(run.folder / "queue", store / "out")
        else:
            run.note_queue(run.folder / "queue")
    return run_id


def _plain(value):
    return value.date().isoformat() if hasattr(value, "date") else value
