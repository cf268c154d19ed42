"""When goods arrive: days foreseen for inbound lines beside the suppliers' dates and others, real and simulated.

SCMS: 15 first days of a month, 2013-07 to 2014-09, every line that owes goods that morning. Simulated: companies of
seeds 1 to 3 whose suppliers stop now and then, 12 days of judging from day 397 on, 30 days apart. Ours goes the
product's own way: tables of the contract, `erp.known`, `features`, `models.arrival`. What is known and what came is the
same for all, see promises_data.py; peers in promises_peers.py, scores in promises_scores.py.

A look is a line on a day of judging; figures are of all looks. Each line's first look is a date told once: "first
dates". By supplier one line of each receipt counts, on its first look, and a supplier with 50 receipts or more is held
to 90 % by its 95 % binomial interval. Where goods come on the very date told, no whole day holds 90 %: beside each
share met stands the one with ties counted in part. Intervals are 95 % of resamples of receipts.
Suppliers flagged as stopped and goods not ordered yet: promises_supply.py.

What was chosen was chosen on SCMS with days of judging from 2011-01 to 2012-06 and on simulated companies of seeds from
900 on. `--quick` shows a few of those days and one such company, and none of those reported: goals not meant.
`$SCMS_DELIVERIES` is a folder with deliveries.parquet; without it SCMS is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.benchmarks.promises_data import SCMS, Book, known_on, open_on, scms, simulated, wait_days
from tests.benchmarks.promises_ours import inbound_dates_on, ours, seconds_of
from tests.benchmarks.promises_peers import (
    BOOSTER,
    OF_SCMS,
    OF_SIMULATED,
    PLAIN_PEERS,
    SUPPLIERS_DATE,
    Booster,
    Tuning,
    told_days,
)
from tests.benchmarks.promises_scores import (
    Foreseen,
    Resamples,
    by_supplier,
    joined,
    line_scores,
    share_with_ties,
)
from tests.benchmarks.promises_supply import supply
from tests.figures import Figure, measure

OURS = "ours"
SIMULATED_DAYS = pd.date_range("2025-02-01", periods=12, freq="30D")  # of companies that began on 2024-01-01
MANY_LINES = 100_000


@dataclass(frozen=True)
class Question:
    """A book of inbound lines, the days on which its open lines are foreseen, and what was chosen for the booster."""

    name: str
    book: Callable[[], Book]
    days: pd.DatetimeIndex
    tuning: Tuning


@dataclass(frozen=True, eq=False)
class Result:
    """What one question showed; all arrays have one entry per look.

    Parameters
    ----------
    rows : the looks: `promises_data.open_on`, and told_days, is_first
    came : days until the next goods
    scores : by way, `line_scores`
    p_late : by way
    with_ties : of ours, part of each line within the 90 % date
    cpu_seconds : by way
    inbound_dates : what was known on the last day
    stops : of the book
    """

    name: str
    rows: pd.DataFrame
    came: np.ndarray
    scores: Mapping[str, pd.DataFrame]
    p_late: Mapping[str, np.ndarray]
    with_ties: np.ndarray
    cpu_seconds: Mapping[str, float]
    inbound_dates: pd.DataFrame
    stops: pd.DataFrame | None


def simulated_question(seed: int, days: pd.DatetimeIndex = SIMULATED_DAYS) -> Question:
    """A simulated company."""
    return Question(f"simulated {seed}", lambda: simulated(seed), days, OF_SIMULATED)


REPORTED = Question("SCMS", scms, pd.date_range("2013-07-01", "2014-09-01", freq="MS"), OF_SCMS)
DEVELOPMENT = Question("SCMS, earlier days", scms, pd.date_range("2011-01-01", "2012-06-01", freq="MS"), OF_SCMS)


def main() -> None:
    """Measure, print, write."""
    measure(str(__doc__), quick, full)


def quick() -> Iterator[Figure]:
    """Days and a company that choices are made on."""
    few = Question(DEVELOPMENT.name, scms, DEVELOPMENT.days[::6], OF_SCMS)
    for question in present([few, simulated_question(901, SIMULATED_DAYS[::4])]):
        yield from section(judged(question))
    yield from _seconds(seed=901)


def full() -> Iterator[Figure]:
    """Every reported question, and the seconds."""
    for question in present([REPORTED, *(simulated_question(seed) for seed in (1, 2, 3))]):
        yield from section(judged(question))
    yield from _seconds(seed=1)


def _seconds(seed: int) -> Iterator[Figure]:
    learned, foreseen = seconds_of(simulated(seed), SIMULATED_DAYS[-1], MANY_LINES)
    text = f"{MANY_LINES:,} open inbound lines"
    yield Figure(f"{text} learned from and foreseen: CPU s", learned + foreseen, goal=10, better="lower")
    yield Figure(f"{text} learned from: CPU s", learned, better="lower")
    yield Figure(f"{text} foreseen: CPU s", foreseen, better="lower")


def present(questions: Sequence[Question]) -> list[Question]:
    """Questions whose data are there; what is missing is said."""
    if SCMS.exists():
        return list(questions)
    print(f"SCMS deliveries are not at {SCMS}: left out; let $SCMS_DELIVERIES name the folder")
    return [question for question in questions if question.book is not scms]


def judged(question: Question) -> Result:
    """Ask every way on every day, and compare with what came; lines that nothing came of are left out and counted."""
    book = question.book()
    ways = {**PLAIN_PEERS, BOOSTER: Booster(question.tuning)}
    rows: list[pd.DataFrame] = []
    said: dict[str, list[Foreseen]] = {way: [] for way in (OURS, *ways)}
    seconds = dict.fromkeys(said, 0.0)
    with inbound_dates_on(book, question.days) as inbound:
        for day in question.days:
            known = known_on(book, day)
            looks = open_on(known, day)
            looks = looks[looks["is_judged"]].reset_index(drop=True)
            rows.append(looks)
            asked = {OURS: lambda i=inbound[day], r=looks, d=day: ours(i, r, d)}
            asked |= {way: lambda w=w, k=known, r=looks, d=day: w(k, r, d) for way, w in ways.items()}
            for way, ask in asked.items():
                start = time.process_time()
                said[way].append(ask())
                seconds[way] += time.process_time() - start
        last = inbound[question.days[-1]]
    return _compared(question, book, pd.concat(rows, ignore_index=True), said, seconds, last)


def _compared(
    question: Question,
    book: Book,
    rows: pd.DataFrame,
    said: Mapping[str, list[Foreseen]],
    seconds: Mapping[str, float],
    inbound_dates: pd.DataFrame,
) -> Result:
    wait = wait_days(book, rows).to_numpy()
    came = np.isfinite(wait)
    if (~came).any():
        print(f"{question.name}: nothing came of {(~came).sum()} of {len(rows)} looks; left out")
    curve = np.concatenate([part.curve for part in said[OURS]])
    rows = rows.assign(told_days=told_days(rows), is_first=~rows.duplicated("po_line_id"))[came]
    whole = {way: joined(parts) for way, parts in said.items()}
    return Result(
        question.name,
        rows.reset_index(drop=True),
        wait[came],
        {way: line_scores(wait[came], days[came]) for way, (days, _) in whole.items()},
        {way: p_late[came] for way, (_, p_late) in whole.items()},
        share_with_ties(wait[came], curve[came]),
        seconds,
        inbound_dates,
        book.stops,
    )


def section(result: Result) -> Iterator[Figure]:
    """Rows of one question: ours against its goals and the best of the peers."""
    tell(result)
    title, of, draws = result.name, result.scores, Resamples(result.rows["receipt_id"].to_numpy())
    peers = [way for way in of if way != OURS]
    for score in ("pinball", "pinball .5", "pinball .9"):
        best = min(peers, key=lambda way: of[way][score].mean())
        mine, theirs = of[OURS][score].to_numpy(), of[best][score].to_numpy()
        beside = {"peer": best, "peer_value": float(theirs.mean())}
        yield Figure(f"{title}: {score}, days", *draws.mean(mine), better="lower", **beside)
        goal = 0.9 if score == "pinball" else float("nan")
        text = f"{title}: {score}, of the best peer's"
        yield Figure(text, *draws.ratio(mine, theirs), goal=goal, better="lower", peer=best, peer_value=1.0)
    yield from _dates_met(result, draws)
    yield from _late(result)
    for name in ("50 %", "90 %"):
        beside = {"peer": BOOSTER, "peer_value": float(of[BOOSTER][f"coverage {name}"].mean())}
        yield Figure(f"{title}: coverage {name}", *draws.mean(of[OURS][f"coverage {name}"].to_numpy()), **beside)
        beside["peer_value"] = float(of[BOOSTER][f"width {name}"].mean())
        wide = of[OURS][f"width {name}"].to_numpy()
        yield Figure(f"{title}: width {name}, days", *draws.mean(wide), better="lower", **beside)
    yield from supply(title, result.inbound_dates, result.stops, result.rows["day"].min())


def _dates_met(result: Result, draws: Resamples) -> Iterator[Figure]:
    """Shares met by the 90 % date: of all looks, of first dates, of overdue lines, by supplier."""
    title, rows, is_first = result.name, result.rows, result.rows["is_first"].to_numpy()
    met = {way: scores["met by the 90 % date"].to_numpy() for way, scores in result.scores.items()}
    beside = {"peer": BOOSTER, "peer_value": float(met[BOOSTER].mean())}
    for text, mine in (("met by the 90 % date", met[OURS]), ("the same, ties in part", result.with_ties)):
        share = draws.mean(mine)
        yield Figure(f"{title}: {text}, from below", *share, goal=0.88, **beside)
        yield Figure(f"{title}: {text}, from above", *share, goal=0.92, better="lower", **beside)
        beside = {}
    for text, part in (("first dates", is_first), ("overdue lines", rows["told_days"].to_numpy() < 0)):
        if part.any():
            some = Resamples(rows["receipt_id"].to_numpy()[part])
            yield Figure(f"{title}: {text} met by the 90 % date", *some.mean(met[OURS][part]))
            yield Figure(f"{title}: {text}, ties in part", *some.mean(result.with_ties[part]))
    suppliers = _suppliers(result)
    for text, name in (("", "holds_90"), (", ties on either side", "ties_hold_90")):
        figure = f"{title}: of {len(suppliers)} suppliers with 50 receipts, 90 % in the interval{text}"
        yield Figure(figure, float(suppliers[name].mean()), goal=1.0 if name == "holds_90" else float("nan"))


def _suppliers(result: Result) -> pd.DataFrame:
    first = result.rows["is_first"].to_numpy()
    scores = result.scores[OURS][first]
    met, before = scores["met by the 90 % date"].to_numpy(), scores["came before the 90 % date"].to_numpy()
    return by_supplier(result.rows[first], met, before)


def _scores_by_supplier(result: Result) -> pd.DataFrame:
    """Means of ours over all looks at each supplier's lines."""
    named = result.scores[OURS][["pinball", "coverage 50 %", "width 50 %", "coverage 90 %", "width 90 %"]]
    return named.groupby(result.rows["supplier_id"].to_numpy()).mean()


def _late(result: Result) -> Iterator[Figure]:
    """How well lines that will be late are told from the others, of those whose date has not come yet."""
    ahead = result.rows["told_days"].to_numpy() > 0
    late = (result.came > result.rows["told_days"].to_numpy())[ahead] * 1.0
    draws = Resamples(result.rows["receipt_id"].to_numpy()[ahead])
    areas = {way: draws.auc(p_late[ahead], late) for way, p_late in result.p_late.items()}
    best = max((way for way in areas if way not in (OURS, SUPPLIERS_DATE)), key=lambda way: areas[way][0])
    goal = 0.72 if result.name.startswith("SCMS") else float("nan")
    beside = {"peer": best, "peer_value": areas[best][0]}
    yield Figure(f"{result.name}: late or not, AUC ({late.mean():.0%} late)", *areas[OURS], goal=goal, **beside)


def tell(result: Result) -> None:
    """Print every score of every way, and ours by supplier."""
    rows, overdue = result.rows, result.rows["told_days"].to_numpy() < 0
    n_receipts = rows["receipt_id"].nunique()
    print(f"\n{result.name}: {len(rows):,} looks at {rows['po_line_id'].nunique():,} lines of {n_receipts:,} receipts,")
    print(f"{rows['supplier_id'].nunique()} suppliers; {overdue.mean():.1%} overdue when looked at")
    table = pd.DataFrame({way: scores.mean() for way, scores in result.scores.items()})
    table.loc["pinball, overdue"] = {way: scores["pinball"][overdue].mean() for way, scores in result.scores.items()}
    table.loc["CPU s"] = pd.Series(result.cpu_seconds)
    print(table.round(3).to_string(na_rep=""))
    print(_suppliers(result).join(_scores_by_supplier(result)).round(3).to_string())


if __name__ == "__main__":
    main()
