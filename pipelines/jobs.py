"""The jobs as plain functions: each is the picture of what it does and runs without any server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from erp.collected import Collection, collect
from erp.extract import as_folder
from erp.known import Facts, checked
from erp.laws import Findings
from erp.ledger import ModelVersion, lock_store
from erp.runs import Run
from erp.settings import Site
from features.feature_tables import count_causes
from models.champions import QUESTIONS
from pipelines.evening import Evening, review
from pipelines.progress import plan, stage
from pipelines.reopened import reopen
from pipelines.steps import (
    assumptions_of,
    champions,
    features_of,
    known_facts,
    open_morning,
    publish_queue,
    ready_to_publish,
    scored_queue,
    serving,
    show_queue,
    train_on,
)

# Stages of the jobs, for the time left.
READ = ("facts", "features")
LEARN = ("look back", *QUESTIONS)
DECIDE = ("score", "publish")


def look(site: Site, as_of: datetime) -> Findings:
    """What the tables hold as of T, in law and out of it; nothing is kept."""
    with as_folder(site, as_of) as read, checked(read, as_of) as (findings, facts_shown):
        findings.causes = count_causes(facts_shown)
        return findings


def collect_now(site: Site, as_of: datetime) -> Collection:
    """Keep in the store what the source tells anew as of T."""
    with lock_store(Path(site.store), site):
        return collect(site, as_of, datetime.now(UTC).replace(tzinfo=None))


def build(site: Site, as_of: datetime) -> Path:
    """Read the tables, judge them, and build the features as of T."""
    with open_morning(site, as_of) as run:
        facts = known_facts(run, site)
        features_of(run, facts)
        return run.folder


def train(site: Site, as_of: datetime) -> dict[str, str]:
    """Train every model on the facts known at T and make those that pass champions from T on; says which serve T."""
    with open_morning(site, as_of) as run:
        plan([*READ, *LEARN])
        facts = known_facts(run, site)
        features = features_of(run, facts)
        versions = train_on(run, facts, features)
        return {name: version.version_hash for name, version in versions.items()}


def score(site: Site, as_of: datetime) -> Path:
    """Rank every open back-ordered line as of T with the models that serve T, and publish the queue's files."""
    ready_to_publish(site)
    with open_morning(site, as_of) as run:
        plan([*READ, *DECIDE])
        facts = known_facts(run, site)
        features = features_of(run, facts)
        return publish_queue(run, scored_queue(run, facts, features, serving(run)), site)


@contextmanager
def served_morning(
    site: Site, as_of: datetime, decides: Sequence[str] = DECIDE
) -> Iterator[tuple[Run, Facts, dict[str, pd.DataFrame], dict[str, ModelVersion]]]:
    """A morning ready to be decided: facts, features, and the models that serve it, trained if none does."""
    ready_to_publish(site)
    with open_morning(site, as_of) as run:
        versions = champions(run.ledger, as_of)
        plan([*READ, *([] if versions else LEARN), *decides])
        facts = known_facts(run, site)
        features = features_of(run, facts)
        yield run, facts, features, versions or train_on(run, facts, features)


def morning(site: Site, as_of: datetime) -> Path:
    """The main job: check, features, train if no model serves T, score, give out the goods, publish."""
    with served_morning(site, as_of) as (run, facts, features, versions):
        return publish_queue(run, scored_queue(run, facts, features, versions), site)


def what_if(site: Site, as_of: datetime) -> Path:
    """The main job under another policy: its files only, so that no later morning takes it for the queue of the day."""
    with served_morning(site, as_of) as (run, facts, features, versions):
        return show_queue(scored_queue(run, facts, features, versions), site)


def weigh_assumptions(site: Site, as_of: datetime) -> Path:
    """Say how far the morning's money and lines move if an assumption of the policy is wrong; publishes no queue."""
    with served_morning(site, as_of, ["decide again"]) as (run, facts, features, versions):
        return assumptions_of(run, facts, features, versions)


def look_back_on(site: Site, as_of: datetime, which: str) -> Evening:
    """Compare a published morning with what had left by `as_of`; keeps nothing but the facts known then."""
    reopened = reopen(Path(site.store), which)
    with open_morning(site, as_of) as run:
        plan(["facts", "compare"])
        facts = known_facts(run, site)
        stage("compare", "comparing the queue as of %s with what had left since", reopened.as_of)
        return review(reopened, facts)
