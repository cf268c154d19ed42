"""The worked cases of docs/rules.md: rules, goods and lines as they stand there."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from decisions.policy import Policy
from tests.decisions.open_lines import open_lines, pools

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
PARTS = re.compile(
    r"^#+ (?P<heading>.+)$|^```toml\n(?P<rules>[\s\S]+?)^```$|(?P<goods>\d+) units? (?:are |is )?here"
    r"|^(?P<table>\| line \|(?:.+\n)+)",
    re.MULTILINE,
)
UNITS_PER_DAY = 1.5  # as the page says


@dataclass(frozen=True)
class Case:
    """One table of the page, under the rules and with the goods last written above it."""

    name: str
    policy: Policy
    lines: pd.DataFrame
    pools: pd.DataFrame
    gets: list[float]
    rule: list[str]  # empty: no rule mattered


def worked_cases() -> list[Case]:
    """All cases of the page, in its order."""
    cases: list[Case] = []
    said = {"heading": "", "rules": "", "goods": "0"}
    for part in PARTS.finditer(PAGE.read_text(encoding="utf-8")):
        said |= {name: text for name, text in part.groupdict().items() if text}
        if part["table"]:
            cases.append(_case(f"{said['heading']}-{len(cases)}", said["rules"], float(said["goods"]), part["table"]))
    return cases


def _case(name: str, rules: str, goods: float, table: str) -> Case:
    head, _, *rows = ([cell.strip() for cell in row.strip()[1:-1].split("|")] for row in table.splitlines())
    told = pd.DataFrame(rows, columns=head)
    wants = told["wants"].astype(float)
    lines = open_lines(
        len(told),
        order_line_id=told["line"],
        segment=told["segment"],
        open_quantity=wants,
        soft_reserved_quantity=told["confirmed"].astype(float) if "confirmed" in told else 0.0,
        waited_days=told["waited"].astype(int) if "waited" in told else 10,
        may_split=told["ships whole"] != "yes" if "ships whole" in told else True,
        loss_if_waits=wants * told["lost per unit"].astype(float),
    ).astype({"segment": "str"})
    policy = Policy.from_table(tomllib.loads(rules)["policy"])
    here = pools(goods).assign(units_per_day=UNITS_PER_DAY)
    return Case(name, policy, lines, here, told["gets"].astype(float).tolist(), told["rule"].tolist())
