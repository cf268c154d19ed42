"""What the commands do; each answers with facts, for programs, and a text, for people."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from erp.settings import SettingsError, Site, open_site, utc_moment
from pipelines.progress import Progress, stage

REFUSED, WAITS_FOR_APPROVAL, NOT_ALL = 1, 4, 5


@dataclass(frozen=True)
class Answer:
    """What a command answers, as plain values and in words."""

    facts: Any
    text: str
    exit_code: int = 0


def demo(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """The main job on a simulated company."""
    from pipelines.command_table import DEMO_STORE
    from pipelines.simulation import demonstrate

    store = arguments.store or DEMO_STORE
    progress.remember(Path(store))
    return Answer(None, demonstrate(store, arguments.out or "demo/queue"))


def check(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """What the tables hold; refuses what would stop a run."""
    from pipelines.findings_report import findings_facts, findings_text
    from pipelines.jobs import look

    site, as_of = _site_and_moment(arguments, progress)
    stage("facts", "reading and judging the tables in %s as of %s", site.data, as_of)
    findings = look(site, as_of)
    return Answer(findings_facts(findings), findings_text(findings), REFUSED if findings.stops else 0)


def collect(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """What the source tells anew, kept in the store."""
    from pipelines.collected_report import collected_facts, collected_text
    from pipelines.jobs import collect_now

    site, as_of = _site_and_moment(arguments, progress)
    stage("collect", "reading %s", site.data)
    collection = collect_now(site, as_of)
    return Answer(collected_facts(collection), collected_text(collection))


def run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """The main job."""
    return _published(_go(arguments, progress, "pipelines.daily.daily", "morning"))


def score(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """The main job without training."""
    return _published(_go(arguments, progress, "pipelines.score_queue.score_queue", "score"))


def train(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Models that serve from T on."""
    serving = _go(arguments, progress, "pipelines.train_models.train_models", "train")
    return Answer(serving, f"trained: {serving}")


def sensitivity(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """How far assumptions matter."""
    from pipelines.jobs import weigh_assumptions
    from pipelines.queue_report import sensitivity_facts, sensitivity_text

    site, as_of = _site_and_moment(arguments, progress)
    out = weigh_assumptions(site, as_of)
    return Answer(sensitivity_facts(out), sensitivity_text(out))


def explain(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Why one line ships or waits."""
    from pipelines.explained_line import explained
    from pipelines.explained_text import explained_text

    site = _site_of_store(arguments, progress)
    stage("explain", "looking at line %s of the queue %s", arguments.line, arguments.queue)
    facts = explained(Path(site.store), arguments.line, arguments.queue)
    return Answer(facts, explained_text(facts))


def diff(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """What differs between two queues."""
    from erp.queue_files import write_csv
    from pipelines.compared_runs import compare_runs
    from pipelines.comparison_report import comparison_facts, comparison_text

    site = _site_of_store(arguments, progress)
    stage("compare", "opening both mornings, and deciding anew what lies between them")
    found = compare_runs(site, arguments.first, arguments.second)
    if arguments.out:
        Path(arguments.out).mkdir(parents=True, exist_ok=True)
        write_csv(found.comparison.lines, Path(arguments.out) / "diff.csv")
    facts = comparison_facts(found)
    return Answer(facts, comparison_text(facts))


def override(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Note, take back or list a planner's words."""
    from erp.planner_words import Word
    from pipelines import override_command as words

    site = _site_of_store(arguments, progress)
    at = _moment(arguments.at)
    if arguments.action == "list":
        facts = words.listed(site, at)
        return Answer(facts, words.listed_text(facts))
    scope, value = _named(arguments)
    who, why = _said(arguments, "who"), _said(arguments, "why")
    if arguments.action == "lift":
        facts = words.lift(site, scope, value, who, why, at)
    else:
        until = _day(_said(arguments, "until"))
        facts = words.say(site, Word(arguments.action, scope, value, who, why, until, arguments.quantity), at)
    return Answer(facts, words.said_text(facts))


def apply(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Write a queue to the ERP."""
    return _deliver(arguments, progress)


def undo(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Restore what the ERP said before."""
    return _deliver(arguments, progress)


def reconcile(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """What a crash left behind, put right."""
    from pipelines import reconcile as leftovers

    facts = leftovers.reconcile(_site_of_store(arguments, progress))
    return Answer(facts, leftovers.reconciled_text(facts), 0 if leftovers.is_whole(facts) else NOT_ALL)


def review(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """A published morning compared with its evening."""
    from pipelines.evening import evening_text, write_evening
    from pipelines.jobs import look_back_on

    site, as_of = _site_and_moment(arguments, progress)
    evening = look_back_on(site, as_of, arguments.queue)
    if arguments.out:
        write_evening(evening, Path(arguments.out))
    rows = evening.table.astype(object).where(evening.table.notna(), None).to_dict("records")
    return Answer({**evening.facts, "lines": rows}, evening_text(evening))


def simulate(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Tables of a simulated company."""
    from pipelines.simulation import simulate_company

    return Answer(None, simulate_company(arguments))


def _deliver(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from getpass import getuser

    from pipelines import delivery
    from pipelines.delivery_report import changes_table, delivery_facts, delivery_text

    site = _site_of_store(arguments, progress)
    do, who = getattr(delivery, arguments.command), arguments.who or getuser()
    arrived = None if arguments.arrived is None else arguments.arrived == "yes"
    done = do(site, arguments.run, arguments.approve, who, arrived)
    if done.ending == "shown" and _may_ask(arguments):
        print(delivery_text(done, who))
        if input("write exactly this? [y/N] ").strip().lower() in ("y", "yes"):
            done = do(site, done.plan.run_id, done.plan.code, who)
    if arguments.out:
        from erp.queue_files import write_csv

        Path(arguments.out).mkdir(parents=True, exist_ok=True)
        write_csv(changes_table(done.plan), Path(arguments.out) / "changes.csv")
    not_all = done.ending == "unfinished" or done.not_taken or done.differ
    code = {"shown": WAITS_FOR_APPROVAL, "refused": REFUSED}.get(done.ending, NOT_ALL if not_all else 0)
    return Answer(delivery_facts(done), delivery_text(done, who), code)


def _may_ask(arguments: argparse.Namespace) -> bool:
    """Whether a person sits there who can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not arguments.json


def _site_of_store(arguments: argparse.Namespace, progress: Progress) -> Site:
    site = open_site(arguments.settings, store=arguments.store)
    progress.remember(Path(site.store))
    return site


def _site_and_moment(arguments: argparse.Namespace, progress: Progress) -> tuple[Site, datetime]:
    names = ("data", "store", "out")
    site = open_site(arguments.settings, **{name: getattr(arguments, name, None) for name in names})
    progress.remember(Path(site.store))
    return _with_policy(site, getattr(arguments, "policy", None)), _moment(arguments.as_of)


def _moment(text: str | None) -> datetime:
    """The UTC moment named; an empty text is a mistake, not now."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0) if text is None else utc_moment(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--until {text} is no day; write it as 2026-03-06") from None


def _with_policy(site: Site, file: str | None) -> Site:
    if file is None:
        return site
    import tomllib
    from dataclasses import replace

    try:
        table = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        return replace(site, policy={**site.policy, **table.get("policy", table)})
    except (ValueError, TypeError, OSError) as error:
        raise SettingsError(
            f"--policy {file} cannot be read ({error}); it is TOML: keys of the settings' table policy"
        ) from error


def _go(arguments: argparse.Namespace, progress: Progress, flow: str, job: str) -> Any:
    """Through the one door: as a Prefect flow where a server answers, plainly otherwise."""
    from pipelines import jobs
    from pipelines.door import go

    site, as_of = _site_and_moment(arguments, progress)
    if getattr(arguments, "policy", None):
        return _what_if(arguments, site, as_of)
    given = {"settings": arguments.settings, "as_of": as_of.isoformat() + "Z"}
    given |= {name: getattr(arguments, name, None) for name in ("data", "store", "out")}
    return go(flow, lambda **_: getattr(jobs, job)(site, as_of), **given)


def _what_if(arguments: argparse.Namespace, site: Site, as_of: datetime) -> Path:
    from pipelines.jobs import what_if

    if arguments.out is None:
        raise SettingsError("a run with --policy is a what-if; give it its own --out, so that today's queue stays")
    return what_if(site, as_of)


def _published(out: Any) -> Answer:
    from erp.queue_files import read_manifest
    from pipelines.queue_report import published_text

    return Answer({"out": str(out), **read_manifest(Path(out))}, published_text(out))


def _named(arguments: argparse.Namespace) -> tuple[str, str]:
    """The one scope that is named, and its id."""
    from pipelines.command_table import SCOPES

    named: Mapping[str, str] = {scope: value for scope in SCOPES if (value := getattr(arguments, scope)) is not None}
    if len(named) != 1:
        raise ValueError(f"an override names one of --line, --order, --customer, --product, not {len(named)} of them")
    return next(iter(named.items()))


def _said(arguments: argparse.Namespace, name: str) -> str:
    value = getattr(arguments, name)
    if value is None:
        raise ValueError(f"override {arguments.action} needs --{name}; others must be able to understand it later")
    return str(value)
