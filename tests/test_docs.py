"""Pages that state what the code declares; `python -m tests.test_docs` writes them anew."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

from decisions.inbound_columns import INBOUND_COLUMNS
from decisions.policy import Policy
from decisions.queue_columns import QUEUE_COLUMNS, Column
from erp.contract import TABLES
from erp.settings import Site

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
    return "\n".join([*parts, ""])


def queue_page() -> str:
    """Queue out."""
    head = [
        "# The queue",
        "",
        "`queue.parquet` for machines, `queue.csv` for import, `queue.xlsx` for people; one row per open back-ordered",
        "line, in rank order. Beside it `inbound.csv` (goods on order, below), `rejected.csv` (cells that break a",
        "law), `not_ranked.csv` (lines set aside), `rules.csv` and `fairness.csv` (what rules and fair shares cost:",
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
    return "\n".join([*head, *_declared(QUEUE_COLUMNS), *tail, *_goods_on_order()])


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


def _declared(columns: Iterable[Column]) -> list[str]:
    return [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in columns]


PAGES = {"settings.md": settings_page, "tables.md": tables_page, "queue.md": queue_page}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_says_what_the_code_declares(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "python -m tests.test_docs writes it anew"


if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text(), encoding="utf-8")
