"""The steps that the jobs are made of; each keeps its output in the run's folder, so that a run resumes."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from decisions.exceptions import exception_facts
from decisions.fulfilment_queue import RunFacts
from decisions.inbound_list import inbound_facts
from decisions.morning import Decision
from decisions.policy import Policy
from decisions.sensitivity import ASSUMPTIONS, sensitivity, tornado_rows
from erp.collected import collect_for_run
from erp.extract import kind_of
from erp.fingerprint import code_version, fingerprint
from erp.known import Facts, LastRun, gather, local_day
from erp.ledger import Ledger, LedgerError, ModelVersion, lock_store
from erp.queue_files import PublishError, publish, write_queue
from erp.runs import Run, open_run
from erp.settings import Site
from erp.source import Source, open_folder, open_source
from features.feature_tables import read_features, write_features_now
from features.samples import account_samples, cancellation_samples
from models.account_panel import with_expectations
from models.boosting import is_readable
from models.champions import QUESTIONS, refused_in, save
from pipelines.desk import Desk, write_given
from pipelines.found_exceptions import found_exceptions
from pipelines.progress import stage
from pipelines.tracking import Trained, read_report, track_scoring, track_training

_log = logging.getLogger("backorder")


@contextmanager
def open_morning(site: Site, as_of: datetime) -> Iterator[Run]:
    """Hold the store, and open the run of this as_of for exactly these files, settings and code."""
    if kind_of(site.data) == "folder":
        open_folder(site.data)  # a missing table is said before a store is made
    policy = Policy.from_table(site.policy)
    with lock_store(Path(site.store), site) as ledger:  # before the files are read: a busy store is said at once
        if kind_of(site.data) != "folder":
            stage("collect", "collecting what %s tells as of %s", site.data, as_of)
        collect_for_run(site, as_of, _naive(datetime.now(UTC)))
        key = fingerprint([_files(open_source(site, as_of)), site.reading(), policy, code_version()])
        with open_run(Path(site.store), as_of, key, ledger) as run:
            run.note(policy=fingerprint(policy), code=code_version())
            yield run


def _files(source: Source) -> list[tuple[str, Path]]:
    """What is read from the folder and the store, and nothing else that may lie there: notes, other state."""
    paths = [path for found in source.files.values() for path in found]
    paths += [source.extract] if source.extract.is_file() else []
    return sorted((source.label(path), path) for path in paths)


def ready_to_publish(site: Site) -> None:
    """Meet a place where nothing can be written before the work, not after it.

    Raises
    ------
    PublishError
        If `out` is no folder, or neither it nor the nearest folder above it may be written to.
    """
    out = Path(site.out).absolute()
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise PublishError(f"the queue cannot be written to {site.out}: {there} is no folder; choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PublishError(
            f"the queue cannot be written to {site.out}: no right to write in {there}; choose another --out"
        )


def known_facts(run: Run, site: Site) -> Facts:
    """The facts known at the run's T, judged by the contract."""
    stage("facts", "reading and judging the tables in %s as of %s", site.data, run.as_of)
    last = run.ledger.last_run()
    seen = LastRun(_naive(last.as_of), last.counts) if last else None
    facts = Facts(run.keep_folder("facts", gather, site, run.as_of, seen), run.as_of, site)
    run.note(facts=facts.fingerprint)
    run.note_counts(facts.day_counts)
    return facts


def features_of(run: Run, facts: Facts) -> dict[str, pd.DataFrame]:
    """The feature tables as of the run's T."""
    stage("features", "building features")
    features = read_features(run.keep_folder("features", write_features_now, facts))
    run.reach("planned")
    return features


def champions(ledger: Ledger, as_of: datetime) -> dict[str, ModelVersion]:
    """The models that serve T by the ledger; empty if any is missing."""
    found = {name: _champion(ledger, name, as_of) for name in QUESTIONS}
    return {name: version for name, version in found.items() if version} if all(found.values()) else {}


def _champion(ledger: Ledger, name: str, as_of: datetime) -> ModelVersion | None:
    """The version that serves T, unless another version of this code wrote it: then it serves no more."""
    version = ledger.champion(name, as_of)
    if version and not is_readable(version.folder):
        _log.warning("%s of %s is of another version of backorder: it serves no more", name, version.trained_as_of)
        return None
    return version


def serving(run: Run) -> dict[str, ModelVersion]:
    """The models that serve T.

    Raises
    ------
    LedgerError
        If none was promoted for T or before.
    """
    if versions := champions(run.ledger, run.as_of):
        return versions
    raise LedgerError(f"no models serve {run.as_of}; train some with `backorder train`, or use `backorder run`")


def train_on(run: Run, facts: Facts, features: Mapping[str, pd.DataFrame]) -> dict[str, ModelVersion]:
    """Fit and judge every model on the facts known at T, and make those that pass champions from T on.

    Returns
    -------
    The models that serve T now.
    """
    stage("look back", "looking back at past mornings")
    rows = {
        "lines": run.keep("line_samples", cancellation_samples, facts),
        "accounts": run.keep("account_panel", with_expectations, run.keep("account_samples", account_samples, facts)),
        "inbound": features["inbound_dates"],
    }
    today = pd.Timestamp(local_day(run.as_of, facts.site))
    trained = {}
    for name, question in QUESTIONS.items():
        table = rows[question.training]
        stage(name, "training %s on %d rows", name, len(table))
        report = run.keep_folder(f"report-{name}", _evaluate, name, table, today)
        folder = run.keep_folder(f"model-{name}", _fit, name, table, today, read_report(report)["refused"])
        trained[name] = Trained(*run.ledger.adopt_model(name, folder), report)
    # Together and only once all are there: a crash leaves no mixture of old and new champions.
    new = {name: (each.version_hash, each.folder, each.metrics) for name, each in _admitted(run, trained).items()}
    run.ledger.promote(new, run.as_of, run.as_of)
    track_training(Path(facts.site.store), trained, _tags(run, facts))
    return champions(run.ledger, run.as_of)


def _admitted(run: Run, trained: Mapping[str, Trained]) -> dict[str, Trained]:
    """The models that become champions: all but those that their reports refuse while one that passed serves.

    A queue is needed this morning: where none that passed is there, the refused one serves, as it knows the newest
    facts, and its files say why, so that every row of the queue does.
    """
    admitted = dict(trained)
    for name, each in trained.items():
        if not each.refused:
            continue
        why, serves = ", ".join(each.refused), _champion(run.ledger, name, run.as_of)
        if serves is None or refused_in(serves.folder):
            _log.warning("%s is refused (%s), but none that passed is there: it serves, marked on every row", name, why)
        else:
            day = f"{serves.trained_as_of:%Y-%m-%d}"
            _log.warning("%s is refused (%s): the one trained as of %s goes on serving", name, why, day)
            del admitted[name]
    return admitted


def _fit(folder: Path, name: str, rows: pd.DataFrame, today: pd.Timestamp, refused: Sequence[str]) -> None:
    save(QUESTIONS[name].fit(rows, today), folder, refused)


def _evaluate(folder: Path, name: str, rows: pd.DataFrame, today: pd.Timestamp) -> None:
    report = QUESTIONS[name].evaluate(rows, today)
    said = {"params": report.params, "metrics": report.metrics, "notes": report.notes, "refused": report.refused}
    (folder / "report.json").write_text(json.dumps(said, indent=1, sort_keys=True, default=str), encoding="utf-8")
    for title, figure in sorted(report.figures.items()):
        figure.savefig(folder / f"{title}.png", dpi=110, metadata={"Software": None})


@dataclass(frozen=True)
class Scored:
    """A scored queue: its files in the run's folder, how the goods were given out, and where it comes from."""

    folder: Path
    decision: Decision
    tags: Mapping[str, str]
    seconds: float  # of the processor, to predict and decide


def scored_queue(
    run: Run, facts: Facts, features: Mapping[str, pd.DataFrame], versions: Mapping[str, ModelVersion]
) -> Scored:
    """Score the open lines, give out the goods, and write the queue's files into the run's folder."""
    desk = Desk.of(run, facts, features, versions)
    stage("score", "scoring %d open back-ordered lines", len(features["lines"]))
    started = time.process_time()
    decision = desk.decide(desk.policy)
    seconds = time.process_time() - started
    run.note(models=desk.hashes)
    run.keep_folder("decided", write_given, decision.given_to)
    listed = found_exceptions(facts, desk.previous, decision, desk.ran)
    folder = run.keep_folder("queue", _write, decision, listed, facts, desk.ran, desk.hashes, desk.made_with())
    run.note_queue(folder)
    return Scored(folder, decision, _tags(run, facts) | {"run_id": desk.ran.run_id}, seconds)


def assumptions_of(
    run: Run, facts: Facts, features: Mapping[str, pd.DataFrame], versions: Mapping[str, ModelVersion]
) -> Path:
    """Decide the morning anew under each assumption's ends, and write what that moves."""
    desk = Desk.of(run, facts, features, versions)
    stage("decide again", "deciding anew for each of %d assumptions of the policy", len(ASSUMPTIONS))
    table = sensitivity(desk.policy, desk.decide)
    out = Path(facts.site.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("sensitivity", table), ("tornado", tornado_rows(table))):
        rows.to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
    return out


def publish_queue(run: Run, scored: Scored, site: Site) -> Path:
    """Publish the queue's files and note it as the morning's queue, from which the next one tells its history."""
    run.publish(scored.folder, Path(site.out))
    stage("publish", "published %d lines in %s; noting the run for MLflow", len(scored.decision.queue), site.out)
    track_scoring(Path(site.store), scored.folder, scored.tags, scored.seconds)
    return Path(site.out)


def show_queue(scored: Scored, site: Site) -> Path:
    """Write the files of a what-if: no queue of the day, so nothing later refers to it."""
    publish(scored.folder, Path(site.out))
    return Path(site.out)


def _write(
    folder: Path,
    decision: Decision,
    listed: pd.DataFrame,
    facts: Facts,
    ran: RunFacts,
    hashes: Mapping[str, str],
    made_with: Mapping[str, object],
) -> None:
    said = {
        "run_id": ran.run_id,
        "as_of": ran.as_of,
        "models": dict(hashes),
        "made_with": dict(made_with),
        "facts": facts.fingerprint,
        "code": code_version(),
        "currency": ran.currency,
        "allocation": asdict(decision.certificate),
        "plan": asdict(decision.judgement),
        "elsewhere": dict(decision.elsewhere),
        "inbound": dict(inbound_facts(decision.inbound, decision.queue)),
        "exceptions": exception_facts(listed),
        "overrides": dict(decision.override_facts),
        "stability": dict(decision.steady.facts),
    }
    beside = {"exceptions": listed, "rejected": facts.rejected, "not_ranked": facts.not_ranked}
    beside |= {"inbound": decision.inbound, "overrides": decision.overrides}
    beside |= {"rules": decision.rules, "fairness": decision.fairness}
    write_queue(folder, decision.queue, beside, said)


def _tags(run: Run, facts: Facts) -> dict[str, str]:
    """What every tracked run says about where it comes from."""
    policy = fingerprint(Policy.from_table(facts.site.policy))
    return {"as_of": run.as_of.isoformat(), "facts": facts.fingerprint, "policy": policy, "code": code_version()}


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
