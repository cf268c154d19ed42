"""Whether customers get their goods by the dates told: simulated companies rolled forward under the queue.

Companies whose suppliers stop now and then live two years under their planners' habits, the models learn from their
tables once, and then the queue decides every morning: new orders, receipts, all lines ranked again. On 90 mornings each
line that waits without goods for the first time is told its dates; 60 more mornings follow, so that dates can fall due.

Dates: the 90 % date (expected_latest_on) and the median (expected_on) as first told; the date to tell (promise_on),
which may be moved later, as first and as last told. Peers in the same run: what the company's planners told, the
soonest date of a supplier for the line's goods, and the next receipt's own median and 90 % day, whoever ranks before
the line, both with a day to ship. What counts as met, and what of cancelled lines: promises_kept_scores.py; what the
simulator does between a receipt and a shipment: promises_kept_notes.py.

Lengths and pinball are of lines that were not cancelled and that every way has a date for; a line still open at the end
counts as shipped on the morning after it.

What was chosen was chosen on companies 901 and 902. `--quick` shows part of one of them: goals not meant.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from erp.simulator import simulate
from tests.benchmarks.promises_data import shape
from tests.benchmarks.promises_kept_notes import Mornings, causes, dates_told
from tests.benchmarks.promises_kept_scores import (
    BEYOND,
    CANCELLED,
    MET,
    MISSED,
    NO_DATE,
    OUTCOMES,
    outcomes,
    pinball,
    resamples,
    share_met,
    shares,
)
from tests.figures import Figure, measure

SEEDS = (1, 2, 3)
CHOSEN_ON = (901, 902)
TWO_YEARS = 730
NINETY, MEDIAN, TOLD, LAST_TOLD = "expected_latest_on", "expected_on", "promise_on", "last_promise_on"
OURS, OUR_DATE, NEXT_RECEIPT, PLANNERS = "the queue", "the date to tell", "the next receipt", "the planners' date"
# By way: the columns that hold its middle day and its 90 % day; a single date is both.
WAYS = {
    OURS: (MEDIAN, NINETY),
    OUR_DATE: (TOLD, TOLD),
    PLANNERS: ("company_on", "company_on"),
    "the supplier's date": ("supplier_on", "supplier_on"),
    NEXT_RECEIPT: ("receipt_on", "receipt_latest_on"),
}
WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PEERS = (PLANNERS, "the supplier's date", NEXT_RECEIPT)


def main() -> None:
    """Measure, print, write."""
    measure(str(__doc__), quick, full)


def quick() -> Iterator[Figure]:
    """Part of a company that choices are made on."""
    yield from section(told_in(CHOSEN_ON[:1], Mornings(45, 10)))


def full() -> Iterator[Figure]:
    """The reported companies."""
    yield from section(told_in(SEEDS, Mornings()))


def told_in(seeds: Sequence[int], mornings: Mornings) -> pd.DataFrame:
    """Lines told in all companies: `promises_kept_notes.dates_told`, and company; two companies at a time."""
    with ProcessPoolExecutor(min(len(seeds), 2)) as processes:
        return pd.concat(processes.map(partial(_told_in_one, mornings=mornings), seeds), ignore_index=True)


@threadpool_limits.wrap(limits=1)
def _told_in_one(seed: int, mornings: Mornings) -> pd.DataFrame:
    start = time.perf_counter()
    told = dates_told(simulate(shape(seed, TWO_YEARS)), mornings).assign(company=seed)
    print(f"company {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return told


def section(told: pd.DataFrame) -> Iterator[Figure]:
    """Every row."""
    tell(told)
    yield from _dates_met(told)
    yield from _readings(told)
    yield from _groups(told)
    yield from _lengths(told)
    yield from _moves(told)


def _dates_met(told: pd.DataFrame) -> Iterator[Figure]:
    """Shares met by each date, the 90 % ones against the goal from both sides."""
    planners = {"peer": PLANNERS, "peer_value": share_met(told, "company_on")[0]}
    receipt = {"peer": NEXT_RECEIPT, "peer_value": share_met(told, "receipt_latest_on")[0]}
    for text, date, beside in (("90 % date", NINETY, receipt), ("date to tell, first told", TOLD, planners)):
        share = share_met(told, date)
        yield Figure(f"{text}: met if customers stay, from below", *share, goal=0.88, **beside)
        yield Figure(f"{text}: met if customers stay, from above", *share, goal=0.92, better="lower", **beside)
    yield Figure("date to tell, last told: met if customers stay", *share_met(told, LAST_TOLD), **planners)
    beside = {"peer": NEXT_RECEIPT, "peer_value": share_met(told, "receipt_on")[0]}
    yield Figure("median date: met if customers stay", *share_met(told, MEDIAN), **beside)


def _readings(told: pd.DataFrame) -> Iterator[Figure]:
    """The 90 % date under the other readings of cancelled lines, and how many lines nothing is known of."""
    found = shares(told, NINETY)
    for name in ("met of those known", "met at least", "met at most", "before the day"):
        yield Figure(f"90 % date: {name}", found[name])
    for name in (CANCELLED, BEYOND, NO_DATE):
        yield Figure(f"90 % date: {name}, share of lines told", found[name] / len(told), better="lower")


def groups(told: pd.DataFrame) -> dict[str, pd.Series]:
    """Parts of the lines by name; one line is in several."""
    is_top, inbound = told["pool_rank"] == 1, told["wait_source"] == "inbound"
    return {
        "top of its pool": is_top,
        "below the top": ~is_top,
        "inbound goods on order": inbound,
        "nothing on order": ~inbound,
        "new in the queue": ~told["is_backlog"],
        "waiting when it began": told["is_backlog"],
    }


def _groups(told: pd.DataFrame) -> Iterator[Figure]:
    for name, part in groups(told).items():
        if part.any():
            yield Figure(f"90 % date, {name}: met if customers stay", *share_met(told[part], NINETY))


def _lengths(told: pd.DataFrame) -> Iterator[Figure]:
    """Days to the dates and pinball, ours beside the best peer on the same lines."""
    scores = _scores(told)
    some = resamples(told[scores["is_scored"]])
    scored = scores[scores["is_scored"]]
    for name in ("days to the date", "pinball .5, days", "pinball .9, days"):
        best = min(PEERS, key=lambda way: scored[f"{way}: {name}"].mean())
        beside = {"peer": best, "peer_value": float(scored[f"{best}: {name}"].mean())}
        for way in (OURS, OUR_DATE):
            yield Figure(f"{way}: {name}", *some.mean(scored[f"{way}: {name}"].to_numpy()), better="lower", **beside)


def _scores(told: pd.DataFrame) -> pd.DataFrame:
    """One row per line: is_scored, and of each way days to its 90 % date and pinball."""
    columns: dict[str, np.ndarray] = {}
    for way, (middle, late) in WAYS.items():
        columns[f"{way}: days to the date"] = (told[late] - told["day"]).dt.days.to_numpy(float)
        columns[f"{way}: pinball .5, days"] = pinball(told, middle, 0.5)
        columns[f"{way}: pinball .9, days"] = pinball(told, late, 0.9)
    scores = pd.DataFrame(columns, index=told.index)
    return scores.assign(is_scored=scores.notna().all(axis=1))


def _moves(told: pd.DataFrame) -> Iterator[Figure]:
    dated = told[told["n_moves"].notna()]
    moves, draws = dated["n_moves"].to_numpy(float), resamples(dated)
    yield Figure("date to tell: moves per line", *draws.mean(moves), better="lower")
    yield Figure("date to tell: share of lines moved", *draws.mean((moves > 0) * 1.0), better="lower")


def tell(told: pd.DataFrame) -> None:
    """Print every way's dates, and the 90 % date by group, weekday of the date, spell of telling and company."""
    n_pools = len(told[["company", "product_id"]].drop_duplicates())
    print(f"{told['company'].nunique()} companies: {len(told):,} lines told in {n_pools} pools")
    rows = {}
    for way, dates in WAYS.items():
        for date in dict.fromkeys(dates):
            days = (told[date] - told["day"]).dt.days
            rows[f"{way}: {date}"] = shares(told, date) | {"mean days": days.mean(), "median days": days.median()}
    rows[f"the date to tell: {LAST_TOLD}"] = shares(told, LAST_TOLD)
    print(pd.DataFrame(rows).T.round(3).to_string(na_rep=""))
    print(f"\nthe 90 % date\n{by_part(told).round(3).to_string(na_rep='')}")
    print(f"causes of moves: {causes(told)}\n")


def by_part(told: pd.DataFrame) -> pd.DataFrame:
    """Share met by the 90 % date, one row per part of the lines: n, what became of them, met, low, high, mean_days."""
    parts = groups(told)
    weekday, spell = told[NINETY].dt.day_of_week, (told["day"] - told["day"].min()).dt.days // 15
    parts |= {f"due on a {day}": weekday == number for number, day in enumerate(WEEK)}
    parts |= {f"told in days {15 * n} to {15 * n + 14}": spell == n for n in range(int(spell.max()) + 1)}
    parts |= {f"company {seed}": told["company"] == seed for seed in told["company"].unique()}
    rows = {}
    for name, part in parts.items():
        some = told[part]
        if not len(some):
            continue
        became = outcomes(some, NINETY)
        met, low, high = share_met(some, NINETY)
        counts = {what: int((became == what).sum()) for what in OUTCOMES if what in (MET, MISSED, CANCELLED)}
        days = (some[NINETY] - some["day"]).dt.days.mean()
        rows[name] = {"n": len(some), **counts, "share_met": met, "low": low, "high": high, "mean_days": days}
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    main()
