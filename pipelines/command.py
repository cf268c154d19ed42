"""The command `backorder`."""

import argparse
import logging
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

# Heavy modules are imported inside the commands that use them: `backorder --help` answers at once.

EXIT_REFUSED, EXIT_BUSY = 1, 3
EPILOG = """examples:
  backorder demo                                     a simulated company, from its tables to its queue
  backorder check --data extract --as-of 2026-03-02T05:00:00Z
  backorder run --data extract --store state --out queue --as-of 2026-03-02T05:00:00Z
  backorder explain 4711-10 --store state            why this line ships or waits

exit codes: 0 done, 1 refused (the message says what to do), 2 usage, 3 another run holds the store
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    _log_progress(arguments.quiet)
    from erp.contract import ContractError
    from erp.ledger import LedgerError, StoreBusy
    from erp.queue_files import PublishError
    from erp.settings import SettingsError

    try:
        return int(arguments.run(arguments) or 0)
    except StoreBusy as busy:
        print(f"backorder: {busy}", file=sys.stderr)
        return EXIT_BUSY
    except OSError as trouble:
        return _refused(f"{trouble.filename or 'a file'}: {trouble.strerror or trouble}; mend that and run it again")
    except sqlite3.DatabaseError as damage:
        return _refused(f"the store's ledger cannot be used ({damage}); restore it, or take another --store")
    except (ContractError, SettingsError, LedgerError, PublishError, ValueError) as refusal:
        return _refused(str(refusal))


def _refused(why: str) -> int:
    print(f"backorder: refused\n{why}", file=sys.stderr)
    return EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backorder",
        description="Ranks open back orders by the money lost if each is passed over, and gives out scarce goods.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(commands, "demo", _demo, "simulate a company of 1,500 customers and do the main job on it", "store", "out")
    _add(commands, "check", _check, "say what the tables hold, what is set aside, what is switched off", "data")
    _add(commands, "run", _run, "the main job: check, train if needed, score, publish", "data", "store", "out")
    _add(commands, "train", _train, "train the models on the facts known at T", "data", "store")
    _add(commands, "score", _score, "score and publish with the models that serve T", "data", "store", "out")
    _add(
        commands,
        "sensitivity",
        _sensitivity,
        "how far a wrong assumption moves money and lines",
        "data",
        "store",
        "out",
    )
    explain = _add(commands, "explain", _explain, "why a line of the last published queue ships or waits", "store")
    explain.add_argument("line", metavar="LINE", help="its order_line_id")
    simulate = _add(commands, "simulate", _simulate, "write the tables of a simulated company", "out")
    simulate.add_argument("--rule", choices=("planners", "fifo", "value", "queue"), default="planners")
    simulate.add_argument("--customers", type=int, default=1500)
    simulate.add_argument("--products", type=int, default=120)
    simulate.add_argument("--days", type=int, default=730, help="days of history under the company's own planners")
    simulate.add_argument("--rule-days", type=int, default=30, help="days that the rule then gives out the goods")
    simulate.add_argument("--seed", type=int, default=0)
    return parser


_OPTIONS = {
    "data": ("folder of the contract's tables", "data"),
    "store": ("state: ledger, runs, models, MLflow", "backorder-store"),
    "out": ("where the files go", "queue"),
}


def _add(commands: Any, name: str, run: Any, what: str, *options: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what)
    command.set_defaults(run=run)
    for option in options:
        meaning, default = _OPTIONS[option]
        command.add_argument(f"--{option}", help=f"{meaning} (default: settings, else {default})")
    if "data" in options:
        command.add_argument(
            "--as-of", metavar="T", help="UTC timestamp; only what was known then counts (default: now)"
        )
        command.add_argument("--settings", metavar="FILE", help="TOML file (default: backorder.toml if there)")
    if "out" in options and "data" in options:
        command.add_argument("--policy", metavar="FILE", help="what-if: TOML file whose keys replace the table policy")
    command.add_argument("--quiet", action="store_true", help="no progress")
    return command


def _log_progress(quiet: bool) -> None:
    started = time.monotonic()

    class Elapsed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"{time.monotonic() - started:6.1f} s  {record.getMessage()}"

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Elapsed())
    log = logging.getLogger("backorder")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)


def _site_and_moment(arguments: argparse.Namespace) -> tuple[Any, datetime]:
    from erp.settings import open_site, utc_moment

    names = ("data", "store", "out")
    site = open_site(arguments.settings, **{name: getattr(arguments, name, None) for name in names})
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    as_of = now if arguments.as_of is None else utc_moment(arguments.as_of)  # an empty text is a mistake, not now
    return _with_policy(site, getattr(arguments, "policy", None)), as_of


def _with_policy(site: Any, file: str | None) -> Any:
    if file is None:
        return site
    import tomllib
    from dataclasses import replace
    from pathlib import Path

    from erp.settings import SettingsError

    try:
        table = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        return replace(site, policy={**site.policy, **table.get("policy", table)})
    except (ValueError, TypeError, OSError) as error:
        raise SettingsError(
            f"--policy {file} cannot be read ({error}); it is TOML: keys of the settings' table policy"
        ) from error


def _go(arguments: argparse.Namespace, flow: str, job: str) -> Any:
    """Through the one door: as a Prefect flow where a server answers, plainly otherwise."""
    from pipelines import jobs
    from pipelines.door import go

    site, as_of = _site_and_moment(arguments)
    if getattr(arguments, "policy", None):
        return _what_if(arguments, site, as_of)
    given = {"settings": arguments.settings, "as_of": as_of.isoformat() + "Z"}
    given |= {name: getattr(arguments, name, None) for name in ("data", "store", "out")}
    return go(flow, lambda **_: getattr(jobs, job)(site, as_of), **given)


def _what_if(arguments: argparse.Namespace, site: Any, as_of: datetime) -> Any:
    from erp.settings import SettingsError
    from pipelines.jobs import what_if

    if arguments.out is None:
        raise SettingsError("a run with --policy is a what-if; give it its own --out, so that today's queue stays")
    return what_if(site, as_of)


def _check(arguments: argparse.Namespace) -> int:
    from pipelines.findings_report import findings_text
    from pipelines.jobs import look

    findings = look(*_site_and_moment(arguments))
    print(findings_text(findings))
    return EXIT_REFUSED if findings.stops else 0


def _run(arguments: argparse.Namespace) -> None:
    from pipelines.queue_report import published_text

    print(published_text(_go(arguments, "pipelines.daily.daily", "morning")))


def _train(arguments: argparse.Namespace) -> None:
    print(f"trained: {_go(arguments, 'pipelines.train_models.train_models', 'train')}")


def _score(arguments: argparse.Namespace) -> None:
    from pipelines.queue_report import published_text

    print(published_text(_go(arguments, "pipelines.score_queue.score_queue", "score")))


def _sensitivity(arguments: argparse.Namespace) -> None:
    from pipelines.jobs import weigh_assumptions
    from pipelines.queue_report import sensitivity_text

    print(sensitivity_text(weigh_assumptions(*_site_and_moment(arguments))))


def _explain(arguments: argparse.Namespace) -> None:
    from erp.settings import open_site
    from pipelines.queue_report import line_text

    print(line_text(open_site(None, store=arguments.store), arguments.line))


def _simulate(arguments: argparse.Namespace) -> None:
    from pipelines.simulation import simulate_company

    print(simulate_company(arguments))


def _demo(arguments: argparse.Namespace) -> None:
    from pipelines.simulation import demonstrate

    print(demonstrate(arguments.store or "demo/store", arguments.out or "demo/queue"))


if __name__ == "__main__":
    sys.exit(main())
