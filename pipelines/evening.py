"""A published morning reviewed in the evening: was the advice followed, what did it cost where it was not, and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from decisions.day_units import Day, turns_of
from decisions.followed import followed, followed_facts
from decisions.followed_columns import DEVIATIONS
from decisions.rules import limits_of
from erp.known import Facts, local_day
from erp.queue_files import write_csv
from features.left_since import left_between, lines_not_told, on_the_shelf, shipments_carry_days_only, words_said
from pipelines.queue_report import counted
from pipelines.reopened import Reopened

SHOWN = 10
TABLE, FACTS = "followed.csv", "followed.json"


@dataclass(frozen=True)
class Evening:
    """Each line of the morning's queue with what became of the advice, and what all of it comes to."""

    table: pd.DataFrame
    facts: Mapping[str, Any]


def review(morning: Reopened, evening: Facts) -> Evening:
    """Compare a morning's queue with what had left by the evening.

    Raises
    ------
    ValueError
        If the evening does not come after the morning, nothing can be known yet of what was shipped in between, or the
        tables are those of another company.
    """
    _check(morning, evening)
    gone = lines_not_told(evening, morning.queue)
    _check_same_company(gone, morning, evening.site.tolerated_loss_share)
    given = morning.given_to
    day = Day(
        left_between(morning.facts(evening.site), evening),
        on_the_shelf(evening),
        turns_of(given.lines, limits_of(given.lines, given.pools, given.policy)),
    )
    table = followed(morning.queue, day, words_said(evening), evening.as_of)
    run = {
        "run_id": morning.run_id,
        "as_of": f"{morning.as_of.isoformat()}Z",
        "shipped_by_at": f"{evening.as_of.isoformat()}Z",
        "currency": morning.manifest["currency"],
        "lines_no_longer_told": len(gone),
    }
    return Evening(table, run | followed_facts(morning.queue, day, table))


def write_evening(evening: Evening, out: Path) -> Path:
    """Write followed.csv and followed.json into this folder; says which folder."""
    out.mkdir(parents=True, exist_ok=True)
    write_csv(evening.table, out / TABLE)
    (out / FACTS).write_text(json.dumps(evening.facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return out


def evening_text(evening: Evening) -> str:
    """Say what was done as advised and what was not, and the lines on which most money hangs."""
    said, currency = evening.facts, evening.facts["currency"]

    def total(name: str) -> str:
        part = said[name]
        return f"{counted(part['lines'], 'line')}, {counted(part['units'], 'unit')}, {part['money']:,.2f} {currency}"

    others, goods = said["shipped_to_other_lines"], said["goods"]
    head = [
        f"the queue as of {said['as_of']} beside what had left by {said['shipped_by_at']}:",
        f"  advised                       {total('advised')}",
        f"  advised and done              {total('advised_and_done')}",
        f"  advised and not done          {total('advised_not_done')}",
        f"  advised, goods were not there {total('advised_without_goods')}",
        f"  advised, wanted no more       {total('advised_withdrawn')}",
        f"  done against the advice       {total('done_against_advice')}",
        f"  later goods in turn           {total('later_goods_in_turn')}",
        f"  later goods out of turn       {total('later_goods_out_of_turn')}",
        f"  passed over for that          {total('passed_over')}",
        f"  goods of these products: {goods['morning']:,.10g} in the morning, {goods['came']:+,.10g} since; of them"
        f" {goods['left_for_the_queue']:,.10g} left for the queue's lines, {goods['left_for_others']:,.10g} for others"
        f" ({counted(others['lines'], 'line')} not in the queue, whose money is not counted),"
        f" {goods['on_the_shelf']:,.10g} are left",
        f"what deviates saves {abs(said['money']):,.2f} {currency} {'less' if said['money'] < 0 else 'more'} than the"
        f" advice; a reason was given for {said['deviations_with_reason']:,} of"
        f" {counted(said['deviations'], 'deviation')}",
    ]
    if said["lines_no_longer_told"]:
        head.append(f"{counted(said['lines_no_longer_told'], 'line')} of the queue are in the evening's tables no more")
    lines = evening.table[evening.table["verdict"].isin(DEVIATIONS)].head(SHOWN)
    return "\n".join([*head, *(_row(line) for line in lines.to_dict("records"))])


def _check(morning: Reopened, evening: Facts) -> None:
    if evening.as_of <= morning.as_of:
        raise ValueError(
            f"the evening {evening.as_of} does not come after the morning {morning.as_of}; choose a later --as-of"
        )
    day = local_day(morning.as_of, evening.site)
    if shipments_carry_days_only(evening) and local_day(evening.as_of, evening.site) == day:
        raise ValueError(
            f"shipments carry days and no times, so those of {day} are known only once that day is over;"
            " choose an --as-of after it"
        )


def _check_same_company(gone: list[str], morning: Reopened, tolerated_share: float) -> None:
    n = len(morning.queue)
    if len(gone) > tolerated_share * n:
        raise ValueError(
            f"{len(gone)} of {n} lines of the queue as of {morning.as_of} are unknown to the tables of the evening, or"
            f" known with another product or order time, e.g. {', '.join(gone[:3])}; choose --data with later tables of"
            " the same company"
        )


def _row(line: Mapping[Any, Any]) -> str:
    why = "no reason given" if pd.isna(line["why"]) else f"{line['who']}: {line['why']}"
    return (
        f"  {line['order_line_id']}  {line['verdict']}: {line['shipped_quantity']:,.10g} of"
        f" {line['advised_quantity']:,.10g} advised, {line['money']:+,.2f} {line['currency']} ({why})"
    )
