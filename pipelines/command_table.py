"""The commands of `backorder`: what each does, examples that teach it, its options; nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

T = "2026-03-02T05:00:00Z"
EXIT_CODES = {
    0: "done",
    1: "refused; the message says what, how many, which, and what to do",
    2: "the command line cannot be read",
    3: "another process holds the store",
    4: "shown, and nothing written: it waits for a person's approval",
    5: "written, but not all of it: some lines were not taken, or nobody can tell whether they arrived",
    130: "interrupted; run it again, and it goes on where it stopped",
}
RULES = ("planners", "fifo", "value", "queue")
SCOPES = ("line", "order", "customer", "product")
# Commands that hold the store from their first step to their last: where another process does, they say so at once.
HOLD_THE_STORE = frozenset(
    {"demo", "run", "train", "score", "sensitivity", "review", "override", "collect", "apply", "undo", "reconcile"}
)
DEMO_STORE = "demo/store"


@dataclass(frozen=True)
class Option:
    """One argument of a command, as argparse takes it."""

    flag: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """One command: a function of its name in `pipelines.commands` does it."""

    name: str
    what: str
    options: tuple[Option, ...]
    examples: tuple[tuple[str, str], ...]  # arguments, what they do


def _option(flag: str, meaning: str, **settings: Any) -> Option:
    return Option(flag, MappingProxyType({"help": meaning, **settings}))


DATA = _option(
    "--data",
    "the contract's tables: a folder, a DuckDB or SQLite file, postgresql://user@host/db?schema=name or"
    " tryton+https://user@host/db (default: settings, else data)",
)
STORE = _option("--store", "state: ledger, runs, models, words (default: settings, else backorder-store)")
OUT = _option("--out", "where the files go (default: settings, else queue)")
AS_OF = _option("--as-of", "UTC timestamp; only what was known then counts (default: now)", metavar="T")
SETTINGS = _option("--settings", "TOML file (default: backorder.toml if there)", metavar="FILE")
POLICY = _option("--policy", "what-if: TOML file whose keys replace the table policy", metavar="FILE")
QUIET = _option("--quiet", "no progress", action="store_true")
JSON = _option("--json", "the answer as JSON, for programs", action="store_true")
QUEUE = _option(
    "--queue",
    "which queue: last, a run id (six digits or more), a morning's day or time, or a folder with its files",
    default="last",
    metavar="RUN",
)
ELSEWHERE = _option("--out", "also write the whole table into this folder", metavar="FOLDER")
DELIVERS = (
    _option("run", "as --queue of explain: last, a run id, a day or time", nargs="?", default="last", metavar="RUN"),
    _option("--approve", "write exactly what was shown under this code", metavar="CODE"),
    _option("--who", "who approves it (default: the user of this machine)"),
    _option(
        "--arrived",
        "of lines whose answer was lost at a destination that cannot be asked: did they arrive? Look there first",
        choices=("yes", "no"),
    ),
    STORE,
    ELSEWHERE,
    SETTINGS,
    QUIET,
    JSON,
)
SITE = (DATA, STORE, AS_OF, SETTINGS)
SAYS = (QUIET, JSON)
DECIDES = (DATA, STORE, OUT, AS_OF, SETTINGS, POLICY, *SAYS)

COMMANDS = (
    Command(
        "demo",
        "simulate a company of 1,500 customers and do the main job on it",
        (STORE, OUT, QUIET),
        (("demo", "tables, queue and store below demo/"),),
    ),
    Command(
        "check",
        "say what the tables hold, what is set aside, what is switched off; changes nothing",
        (DATA, AS_OF, SETTINGS, *SAYS),
        ((f"check --data extract --as-of {T}", "the facts known then, judged by the contract"),),
    ),
    Command(
        "collect",
        "keep in the store what a source tells anew as of T: rows new, changed and vanished, so that history exists"
        " also where an ERP overwrites and deletes. A run does it first, unless its source is a folder",
        (*SITE, *SAYS),
        (
            (
                "collect --data postgresql://reader@erp/sales?schema=backorder --store state",
                "as of now, before the run",
            ),
            (f"collect --data extract --store state --as-of {T}", "an extract that was taken then"),
        ),
    ),
    Command(
        "run",
        "the main job: check, train if no model serves T, score, give out the goods, publish",
        DECIDES,
        (
            (f"run --data extract --store state --out queue --as-of {T}", "the morning's queue"),
            ("run --data extract --store state --out queue", "as of now; after a planner's word say, or new goods"),
            (f"run --data state/collected --store state --out queue --as-of {T}", "what was collected, as any folder"),
            (f"run --data extract --store state --out what-if --as-of {T} --policy other.toml", "a what-if beside it"),
        ),
    ),
    Command(
        "train",
        "train the models on the facts known at T and judge them",
        (*SITE, *SAYS),
        ((f"train --data extract --store state --as-of {T}", "they serve from T on"),),
    ),
    Command(
        "score",
        "score and publish with the models that serve T",
        DECIDES,
        ((f"score --data extract --store state --out queue --as-of {T}", "`run` without training"),),
    ),
    Command(
        "explain",
        "why a line ships or waits, what moved its figures, and what would have to be true for it to ship",
        (_option("line", "its order_line_id", metavar="LINE"), STORE, QUEUE, SETTINGS, *SAYS),
        (
            ("explain 4711-10 --store state", "in the last published queue"),
            ("explain 4711-10 --store state --queue 2026-03-02", "in that morning's queue"),
            ("explain 4711-10 --store state --queue what-if --json", "in a what-if, for programs"),
        ),
    ),
    Command(
        "diff",
        "what changed between two queues, each line with its cause, and what that means in money",
        (
            _option("first", "as --queue of explain: last, a run id, a day or time, or a folder", metavar="A"),
            _option("second", "the other queue", metavar="B"),
            STORE,
            ELSEWHERE,
            SETTINGS,
            *SAYS,
        ),
        (
            ("diff 2026-03-01 2026-03-02 --store state", "yesterday's queue beside today's"),
            ("diff last what-if --store state --out changes", "today's queue beside a what-if; diff.csv has all lines"),
        ),
    ),
    Command(
        "override",
        "say pin (served first), hold (no goods today) or exclude of a line, order, customer or product; take a word"
        " back; list what is said. The next run, as of then or later, goes by it and states its cost",
        (
            _option("action", "what to do", choices=("pin", "hold", "exclude", "lift", "list")),
            *(_option(f"--{scope}", f"the {scope} it is about", metavar="ID") for scope in SCOPES),
            _option("--quantity", "of a pin: units of each line served first (default: all it wants)", type=float),
            _option("--who", "who says it"),
            _option("--why", "the reason, in words others understand"),
            _option("--until", "last day it holds", metavar="DAY"),
            _option("--at", "UTC time at which it was said (default: now)", metavar="T"),
            STORE,
            SETTINGS,
            *SAYS,
        ),
        (
            ('override pin --line 4711-10 --who Ada --why "their line stands still" --until 2026-03-06', ""),
            ('override hold --customer K100 --who Ada --why "address unknown" --until 2026-03-31', ""),
            ('override lift --line 4711-10 --who Ada --why "they took another make"', "from now on"),
            ("override list", "every word that was not taken back, and whether it holds"),
        ),
    ),
    Command(
        "apply",
        "write a published queue to the ERP: shows what would change there, and writes what is approved, or within the"
        " limits where the settings say auto; picked, packed and shipped goods are never touched",
        DELIVERS,
        (
            ("apply last --settings backorder.toml", "shows; on a terminal it asks, elsewhere it exits with 4"),
            ("apply last --settings backorder.toml --approve 3fa9c1 --who Ada", "writes exactly what was shown"),
        ),
    ),
    Command(
        "undo",
        "restore what the ERP said before a run was applied, where it still says what was written",
        DELIVERS,
        (("undo last --settings backorder.toml", "shows; approve it as with apply"),),
    ),
    Command(
        "reconcile",
        "put right what a crash left behind in ledger, collected history, MLflow and Prefect, and ask the destination"
        " for lines whose answer was lost; sends nothing",
        (STORE, SETTINGS, *SAYS),
        (("reconcile --settings backorder.toml", "after a crash, or every morning before the run"),),
    ),
    Command(
        "review",
        "compare a published morning with what had left by T: was the advice followed, what did it cost where not",
        (DATA, STORE, QUEUE, AS_OF, ELSEWHERE, SETTINGS, *SAYS),
        (("review --data evening --store state --as-of 2026-03-02T18:00:00Z", "this morning, in the evening"),),
    ),
    Command(
        "sensitivity",
        "how far a wrong assumption moves money and lines; publishes no queue",
        DECIDES,
        ((f"sensitivity --data extract --store state --out weighed --as-of {T}", "sensitivity.csv and tornado.csv"),),
    ),
    Command(
        "simulate",
        "write the tables of a simulated company",
        (
            OUT,
            _option(
                "--rule", "who gives out goods", choices=("planners", "fifo", "value", "queue"), default="planners"
            ),
            _option("--customers", "how many", type=int, default=1500),
            _option("--products", "how many", type=int, default=120),
            _option("--days", "of history under the company's own planners", type=int, default=730),
            _option("--days-on", "days that the same company then lives on: its next mornings", type=int, default=0),
            _option("--rule-days", "days that the rule then gives out the goods", type=int, default=30),
            _option("--seed", "of the random numbers", type=int, default=0),
            QUIET,
        ),
        (("simulate --customers 400 --products 20 --days 500 --seed 3 --out extract", "a small one"),),
    ),
)
EPILOG_EXAMPLES = (
    ("demo", "a simulated company, from its tables to its queue"),
    (f"check --data extract --as-of {T}", "what the tables hold"),
    (f"run --data extract --store state --out queue --as-of {T}", "the morning's queue"),
    ("explain 4711-10 --store state", "why this line ships or waits"),
    ("diff last what-if --store state", "what another policy changes"),
)
