"""Pages that state what the code declares; `python -m tests.test_docs` writes them anew."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

from decisions.exception_columns import EXCEPTION_COLUMNS, KINDS
from decisions.followed_columns import FOLLOWED_COLUMNS, VERDICTS
from decisions.inbound_columns import INBOUND_COLUMNS
from decisions.override_columns import OVERRIDE_COLUMNS, STATUSES
from decisions.policy import Policy
from decisions.queue_columns import QUEUE_COLUMNS, Column
from erp.contract import TABLES
from erp.settings import Site
from pipelines.command_table import COMMANDS, EXIT_CODES
from pipelines.explained_keys import KEYS

DOCS = Path(__file__).parents[1] / "docs"


def settings_page() -> str:
    source = inspect.getsource(Site)
    meaning = {"policy": "the economics, see below"}
    meaning |= dict(re.findall(r"^    (\w+): .*?  # (.*)$", source, re.MULTILINE))
    site = [f"| `{f.name}` | `{getattr(Site(), f.name)!r}` | {meaning[f.name]} |" for f in fields(Site)]
    policy = [
        f"| `{f.name}` | `{getattr(Policy(), f.name)!r}` | {f.metadata['unit']} | {f.metadata['source']} |"
        for f in fields(Policy)
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "One file, `backorder.toml`: site-level fields at its top, the economics in its table `policy`.",
            "`BACKORDER_NAME=value` in the environment overrides a site-level field, an option of the command both.",
            "",
            "```toml",
            'timezone = "Europe/Berlin"',
            'currency = "EUR"',
            "",
            "[cancel_reasons]",
            'C07 = "seller"',
            'MOVED = "change"',
            "",
            "[policy]",
            "cancel_lost_share = 0.08",
            "late_promise_cost_per_day = 19",
            "```",
            "",
            "## Site",
            "",
            "| field | default | meaning |",
            "|---|---|---|",
            *site,
            "",
            "`cancel_reasons` says for the ERP's own reason codes who let go of the goods: `customer`, `seller`, or",
            "nobody (`change`: the order goes on in another form). A mapped code is the most precise word there is, so",
            "it goes before `cancelled_by`; one mapped to `customer` still counts as a change if the goods were",
            "ordered again within `reorder_days`. `changed` (a quantity that fell) and `vanished` (a line gone) may be",
            'mapped like any code. In the environment: `BACKORDER_CANCEL_REASONS="C07=seller,MOVED=change"`.',
            "`backorder check` counts the codes that nobody mapped.",
            "",
            "## Policy",
            "",
            "Every assumption of the economics with its unit and source; what a company measures itself replaces it.",
            "Who goes before whom, and what is kept for whom (`segments`, `longest_wait_days`): [rules.md](rules.md).",
            "",
            "| field | default | unit | source |",
            "|---|---|---|---|",
            *policy,
            "",
            "With `max_moves` 0 or more the queue stays steady: lines keep what the last queue gave them and has not",
            "left since, as far as the goods are here and today's pins, holds and limits allow; the rest goes by",
            "today's worth. At most so many lines of both queues then get other goods, those where that saves most.",
            "An exchange of goods that saves more than `move_worth` is made whatever the count, and counts first.",
            "`manifest.json` says under `stability` how many lines today's optimum would move, how many do move, and",
            "the money forgone. Turns and sequences of the site move kept goods where that saves money or moves are",
            "left.",
            "",
            "`transfers` are the ways between warehouses, one table each; without any, goods go from every warehouse",
            "to every other in `transfer_days`.",
            "",
            "```toml",
            "[[policy.transfers]]",
            'from_warehouse_id = "north"',
            'to_warehouse_id = "main"',
            "days = 2",
            "cost_per_unit = 1.5",
            "cost_per_line = 4",
            "```",
            "",
        ]
    )


def tables_page() -> str:
    """Tables in."""
    parts = [
        "# Tables in",
        "",
        "A folder with one file per table: `NAME.parquet`, `NAME.csv` (UTF-8, header, comma, empty is null) or a",
        "folder `NAME/` of such parts. Times are UTC timestamps, days ISO dates, money one currency net of tax,",
        "quantities in the product's stocking unit. Columns in brackets may be missing: what depends on them switches",
        "off, and `backorder check` says so. Every table may carry `recorded_at` (when the fact became known) and",
        "`is_deleted`.",
    ]
    for table in TABLES.values():
        optional = " (optional)" if table.is_optional else ""
        parts += ["", f"## {table.name}{optional}", "", f"One row per {table.grain}.", ""]
        parts += ["| column | kind | meaning |", "|---|---|---|"]
        for name, column in table.schema.columns.items():
            if name in {"recorded_at", "is_deleted"}:
                continue
            shown = f"`{name}`" if column.required else f"[`{name}`]"
            parts.append(f"| {shown} | {table.kind(name)} | {column.description} |")
    parts += [
        "",
        "Words said with `backorder override` are kept in the store (`overrides.csv`) and count beside these. What",
        "such a word names may leave the extract later: then it names no waiting line, and the run goes on.",
    ]
    return "\n".join([*parts, ""])


def queue_page() -> str:
    """Queue out."""
    head = [
        "# The queue",
        "",
        "`queue.parquet` for machines, `queue.csv` for import, `queue.xlsx` for people; one row per open back-ordered",
        "line, in rank order. Beside it `exceptions.csv` (what to look at first: [exceptions.md](exceptions.md); the",
        "first sheet of `queue.xlsx`), `inbound.csv` (goods on order, below), `rejected.csv` (cells that break a",
        "law), `not_ranked.csv` (lines set aside), `overrides.csv` (planners' words, below), `rules.csv` and",
        "`fairness.csv` (what rules and fair shares cost:",
        "[rules.md](rules.md)), and `manifest.json` (every file with rows and sha256), which is written last. It says",
        "under `allocation` how good today's choice is at these prices, under `plan` as a part of now and later.",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
    ]
    tail = [
        "",
        "Within a pool (a product in a warehouse) lines stand by falling `loss_if_waits` per unit. Pools are merged",
        "by always taking the head with the greatest `loss_if_waits`: so a line counts no more than the lines above",
        "it in its pool, and a big loss may stand below a small one. Pinned lines stand first in their pool; held,",
        "excluded and discontinued lines come after all others. Sort by `loss_if_waits` for the biggest amounts.",
        "",
        "`advice`: transfer (another warehouse can spare goods that would lose less here), substitute (this",
        "warehouse can spare the product that is offered instead, and the customer may be written to), tell (the",
        "line does not ship in full today, and `promise_on` is not the date told last) or none, the first that",
        "holds; offer and expedite are not given yet. A pool spares what neither its own lines want, due or not,",
        "nor the site's rules protect, nor its new demand takes until its next goods (nine times in ten:",
        "`kept_goods_cover`). `advice_gain` is what is lost less by it, after the cost of the move or the margin",
        "that the substitute earns less; a substitute counts with the share of customers taken to accept. No unit",
        "is advised to two lines, no line to two places; `manifest.json` says under `elsewhere` what all of it",
        "gains, and how much more could be gained at most. It is advice: goods, ranks, money and dates stay as if",
        "nobody followed it, so the customer may want telling all the same. Lines of a ship group are left out:",
        "moving one saves nothing while another is missing.",
        "",
        "`assumed`: what stands in brackets says why an answer is worth less. `cancellation risk (few such lines ever",
        "waited so long)`: lines like it nearly always shipped sooner, so the rate of all lines stands in for it.",
        "`cancellation risk (12 % too low on later days)`: the model failed when judged on later days, and none that",
        "passed serves as yet.",
        "",
    ]
    return "\n".join([*head, *_declared(QUEUE_COLUMNS), *tail, *_goods_on_order(), *_planners_words()])


def _goods_on_order() -> list[str]:
    return [
        "## Goods on order",
        "",
        "`inbound.csv`: one row per inbound line that still owes goods, of all products, for whoever chases them.",
        "Overdue lines stand first; within the overdue ones, and within the rest, by falling `loss_waiting`, then by",
        "`expected_on`, then by `po_line_id`.",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
        *_declared(INBOUND_COLUMNS),
        "",
        "Who waits for what: within a pool, open lines take goods in the order of `pool_rank`, after what they get",
        "today, and goods in the order of `arrives_on`; goods meant for one line serve that line alone, before any",
        "others. A line's money is split by the units that each inbound line brings it, so nothing counts twice. Held",
        "lines wait like others, excluded ones do not. What no inbound line covers stands in no row: `manifest.json`",
        "says under `inbound` how much money waits on overdue lines, on all lines, and on goods that are not on order.",
        "",
    ]


def _planners_words() -> list[str]:
    return [
        "## Planners' words",
        "",
        "`overrides.csv`: one row per pin, hold or exclusion that is known and was not taken back, also of those that",
        "move nothing. They stand in the order of the statuses below, then by `until_on`.",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
        *_declared(OVERRIDE_COLUMNS),
        "",
        "| status | meaning |",
        "|---|---|",
        *(f"| {status} | {meaning} |" for status, meaning in STATUSES.items()),
        "",
        "Of several words that name a line it obeys the one that names it most closely (line, order, customer,",
        "product), and of several of these the one said last. `cost` is found by giving out this morning's goods again",
        "without the word, all other words, rules and what lines keep of the last plan kept: its lines then obey the",
        "next word that names them. `W` stays what it is; what either choice loses in expectation is found with later",
        "goods planned anew for what it leaves unserved, so that a word on many units, or an exclusion, is priced with",
        "all that follows from it. A cost below 0 is one of a word that undoes a part of what others cost. Costs of",
        "words on the same goods do not add up: `manifest.json` says under `overrides` what all together cost against",
        "giving out without any word, the units they move, and the words by status. Where hundreds of words rule lines",
        "of one pool, or of pools that ship groups tie together, those with the least",
        "money are not computed (`n_not_priced`).",
        "",
    ]


def exceptions_page() -> str:
    """What to look at first."""
    return "\n".join(
        [
            "# Exceptions",
            "",
            "`exceptions.csv`, and the first sheet of `queue.xlsx`: one row per thing to look at before trusting",
            "a queue. Rows stand in three parts: what makes the whole queue doubtful, what is wide (planners'",
            "words, the last queue's plan, dates to tell), then single lines and groups; within each part by",
            "falling money. A line with several troubles has a row for each, so the money of two kinds may be the",
            "same: `manifest.json` says under `exceptions` how many there are and, for each kind, how many and",
            "their money.",
            "",
            "| column | type | unit | meaning |",
            "|---|---|---|---|",
            *_declared(EXCEPTION_COLUMNS),
            "",
            "| kind | what it is | money |",
            "|---|---|---|",
            *(f"| `{kind}` | {what} | {money} |" for kind, (what, money) in _kinds().items()),
            "",
            "`lost_goods`: what was picked or shipped since is not lost. The lost units of a product are looked",
            "for, in the order of the queue, at lines that were shipped more than the last queue gave them, then",
            "at lines that have more today, then on the shelf; others are no longer here (counted again, moved,",
            "taken for a line that the queue does not hold). `date_moved`: the date told last held in the last",
            "queue and does so no more, or the day on which the line is expected to ship, or the date to tell, is",
            "more than `promise_move_days` off the last queue's. `group_blocks`: goods lie idle for a group if no",
            "line takes them today. `assumed`: remarks of the queue's column `assumed` that no line of the last",
            "queue bore, but for their numbers.",
            "",
            "`large_loss` and `expiry_notice_days` are the site's: [settings.md](settings.md). Where nothing was",
            "published before, nothing was lost and no date has moved.",
            "",
        ]
    )


def _kinds() -> dict[str, tuple[str, str]]:
    """Meaning and money of each kind of exception."""
    return {kind: (said.split(": ")[0], said.split(": ")[1]) for kind, said in KINDS.items()}


def evening_page() -> str:
    """The evening."""
    return "\n".join(
        [
            "# The evening",
            "",
            "`backorder review` compares a published morning with what was known in the evening to have left:",
            "`followed.csv`, one row per line of the morning's queue, and `followed.json`, what it comes to.",
            "Lines that did not follow the advice stand first, by the size of their money, the others by rank.",
            "",
            "| column | type | unit | meaning |",
            "|---|---|---|---|",
            *_declared(FOLLOWED_COLUMNS),
            "",
            "| verdict | meaning |",
            "|---|---|",
            *(f"| {verdict} | {meaning} |" for verdict, meaning in VERDICTS.items()),
            "",
            "Goods that lie picked and packed for a line have left the shelf for it, once. What is cancelled of a line",
            "is taken from what should wait first: only units that are open no more cannot be shipped.",
            "",
            "**Goods that come during the day** follow the pool's rank. What came is, by the law of stock, what left",
            "since and lies there in the evening less what was there in the morning: received, counted anew or set",
            "free. Advised lines have their goods first; what they do not need goes down the rank: pins, then the",
            "turns of the site's rules, then `pool_rank`. Inbound goods for one line are first that line's, a line",
            "that ships whole is passed while less than its quantity is there, a held line has no turn. Goods are",
            "alike and only the evening's sums count: a line served early is in its turn if by the evening enough",
            "came. Of what left beyond that, as much as was meant for advised lines is `against the advice` (the last",
            "in turn took it), the rest `out of turn`; whose turn it was and whom the shelf cannot serve now is",
            "`passed over`. Lines of ship groups and pools with protected goods are not judged: neither passed over",
            "nor out of turn.",
            "",
            "`money` is `loss_if_waits` for the share of the line's open units that deviates: more than 0 for goods",
            "against the advice or out of turn, less than 0 for units passed over or not sent as advised.",
            "",
            "`followed.json` counts lines, units and money: `advised` is the sum of `advised_and_done`,",
            "`advised_not_done`, `advised_without_goods` (less was there than the morning knew) and",
            "`advised_withdrawn`; what left for the queue's lines that of `advised_and_done`, `later_goods_in_turn`,",
            "`later_goods_out_of_turn` and `done_against_advice`; `money` is that of the last two less that of",
            "`advised_not_done` and `passed_over`. `goods`, in units: `morning` + `came` = `left_for_the_queue` +",
            "`left_for_others` + `on_the_shelf`. What goods for lines not in the queue saved",
            "(`shipped_to_other_lines`) is not known. If the evening's tables lack more than `tolerated_loss_share` of",
            "the queue's lines (`lines_no_longer_told`), review refuses.",
            "",
            "The reason of a deviation is the planner's word (`backorder override`) that was said after the morning",
            "and names the line, the closest and then the latest first; a word that was lifted still is the reason if",
            "it held when the last of the line's goods left (where shipments carry days and no times: on that day), or",
            "if none did. Such shipments are known only once their day is over: review then with a T of the next day.",
            "",
        ]
    )


def _declared(columns: Iterable[Column]) -> list[str]:
    return [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in columns]


def explain_page() -> str:
    """Why one line ships or waits."""
    keys = [f"| `{key.path}` | {key.unit} | {key.meaning} |" for key in KEYS]
    return "\n".join(
        [
            "# Why a line ships or waits",
            "",
            "`backorder explain LINE` says it in words, `--json` with the same facts as below: raw numbers, ISO days,",
            "UTC times, null where nothing is known. `--queue` asks about an older queue or a what-if.",
            "",
            "**What moved the risk and the value.** The usual answer is the mean of this morning's other lines (or of",
            "the other customers who wait), at most 64 of them, spread over all answers. Inputs that belong together",
            "change hands as one group between the line and each of the others, and the model as published answers",
            "every such mixture; a group adds what it changes on average over all orders in which groups may come",
            "(Shapley values). So usual answer + contributions = this line's answer. What hangs on another group is",
            "carried over in proportion (spending per order, a date told counted from the due day): nobody is asked",
            "about who could not be. It says what moved the answer, not what caused the customer to be so.",
            "",
            "**What would have to be true.** Each answer is found by giving the goods out again with one thing",
            "changed, in the pools that ship groups tie to the line's pool; nothing is concluded from a formula alone.",
            "Amounts are found to a cent, units one by one for the first 16. A customer's value or a margin moves the",
            "loss by as much as it does now: the later goods that would serve the line, and their price, stay those of",
            "the plan, so such an amount is the least that can be enough, and more may be needed. Missing units are",
            "counted at today's losses by waiting: more goods make later ones less scarce, and the next run reckons",
            "all losses anew. `lifted` tries the line's own word, its ship group, whether it may be split, every rule",
            "of the site, and the last queue's plan where lines keep it; all rules at once only where none helps",
            "alone.",
            "",
            "**Money per unit** decides within a pool, so it stands beside every amount there.",
            "",
            "| key | unit | meaning |",
            "|---|---|---|",
            *keys,
            "",
        ]
    )


def command_page() -> str:
    """The command line."""
    parts = [
        "# The command",
        "",
        "Answers go to standard output, progress with the time left and refusals to standard error. `--json` gives the",
        "answer for programs, `--quiet` leaves progress out; nothing is coloured. How long work took is kept in the",
        "store (`stage-seconds.json`) and tells the time left of the next run.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
    ]
    for command in COMMANDS:
        parts += ["", f"## {command.name}", "", f"{command.what[0].upper()}{command.what[1:]}.", ""]
        for arguments, what in command.examples:
            parts += [f"- `backorder {arguments}`{f': {what}' if what else ''}"]
        parts += ["", "| argument | meaning |", "|---|---|"]
        for option in command.options:
            choices = option.settings.get("choices")
            said = f" ({', '.join(choices)})" if choices else ""
            parts += [f"| `{option.flag}` | {option.settings['help']}{said} |"]
    return "\n".join([*parts, ""])


PAGES = {
    "command.md": command_page,
    "settings.md": settings_page,
    "tables.md": tables_page,
    "queue.md": queue_page,
    "exceptions.md": exceptions_page,
    "evening.md": evening_page,
    "explain.md": explain_page,
}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_says_what_the_code_declares(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "python -m tests.test_docs writes it anew"


if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text(), encoding="utf-8")
