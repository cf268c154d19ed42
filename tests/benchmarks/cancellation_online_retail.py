"""Who cancels, learned from a real shop's tables: Online Retail II at three cut-offs, beside simpler ways.

NOBODY WAITS THERE. The shop published no shipment and no back order, so each line is watched as if it waited: from the
day after its order until it ships on the 28th day at 18:00, which is assumed of all. A credit note up to then cancels
its units, a later one is a return. Credit notes mix cancellations, returns and corrections. So this shows that the
machinery, from the tables to the hazard, learns from real customers; it does not measure anybody's patience.

The tables go the product's own way (`erp.known`, `features.samples`, `models.cancellation`). One customer in four is
taken, by a hash of the id; lines without a customer cannot be credited and are left out. Looks are five days apart, so
that each wait meets every weekday. What falls on the order's own day, or before a look first sees the line, is lost to
all ways; how much is printed.

Each cut-off's ways learn from what was known 30 days before it, so no line is both learned from and judged, and are
judged on every line-day of the 13 weeks from it on. A credit that is followed by a new order within a week is a change
and no event; that week is over at the cut-off. A line credited in part is an event of that part.
  a constant     events over days at risk
  wait only      the same for each day of the wait, leaning on the constant with 5 events
  closed lines   the usual way: LightGBM on lines whose fate is known, one row for each as first seen; the share that
                 it expects to be cancelled in the end is spread evenly over the 28 days
  settled lines  the same by somebody careful: only lines whose 28 days are over, so that not only the cancelled ones of
                 the last weeks are known; a row for every look, spread over the days left, as if told when goods leave;
                 as many trees as served the newest fifth of the looks best
Log-loss is per 1,000 line-days; intervals are 95 % and resample customers. Lift: cancelled share of the tenth of the
line-days with the highest hazards over that of all. Later lines began to wait after the cut-off.

A product's list price is the usual one of its first four weeks, so in those it knows prices of days to come.
`$ONLINE_RETAIL_II` is the publisher's workbook or a folder with lines.parquet. `--quick`: one customer in twelve, looks
ten days apart, goals not meant.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import lightgbm as lgb
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from erp.known import Facts, gather
from erp.online_retail import (
    DISPATCH_HOUR,
    Tables,
    credit_lines,
    customers,
    end_of,
    match_credits,
    order_lines,
    products,
    read_source,
    shipped_at_once,
    write,
)
from erp.settings import Site
from features.samples import cancellation_samples
from models.cancellation import NUMERIC, TEXT, fit, hazards
from models.cancellation_report import GAP_DAYS
from models.inputs import Inputs, as_numbers, learn_inputs
from models.line_days import CUSTOMER, LineDays, as_seen_on, line_days
from tests.benchmarks.cancellation_line_day_scores import SCORES, Judged, less_lost
from tests.figures import Better, Figure, options, show

RETAIL = Path(os.environ.get("ONLINE_RETAIL_II", "../shared/data/online_retail_ii"))
CUTOFFS = tuple(pd.Timestamp(day) for day in ("2011-03-01", "2011-06-01", "2011-09-01"))
JUDGED_DAYS = 91
WATCHED_DAYS = 28
SHIPS_AFTER = pd.Timedelta(days=WATCHED_DAYS, hours=DISPATCH_HOUR)  # after the order day's midnight
OWN_DAY, IN_TIME = "on the order's own day", "in time"
RETURNED, UNKNOWN = "after the goods had left, returns", "no purchase with units left"
ALL_QUIET_DAYS = 10**9  # judged line-days are not sampled
QUIET_DAYS_OF_RATES = 1_000_000
PSEUDO_EVENTS = 5.0
ROWS_AT_ONCE = 200_000
OURS, CONSTANT, BY_WAIT = "ours", "a constant", "wait only"
CLOSED, SETTLED = "closed lines", "settled lines"
CLASSIFIER = {
    "objective": "cross_entropy",  # a share as outcome
    "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 50, "bagging_fraction": 0.8, "bagging_freq": 1,
    "seed": 0, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
USUAL_ROUNDS, MOST_ROUNDS = 150, 400  # the first as in cancellation.py
NEWEST_SHARE, PATIENCE_ROUNDS = 0.2, 30


@dataclass(frozen=True)
class Size:
    """One customer in so many, and the days between looks; no multiple of 7, or each wait would meet one weekday."""

    one_in: int = 4
    every_days: int = 5


QUICK = Size(one_in=12, every_days=10)
Hazard = Callable[[pd.DataFrame, LineDays], np.ndarray]


def main() -> None:
    """Measure, print, write."""
    asked = options(str(__doc__).splitlines()[0])
    if not RETAIL.exists():
        print(f"Online Retail II is not at {RETAIL}: nothing was measured; let $ONLINE_RETAIL_II name it")
        return
    start = time.process_time()
    with threadpool_limits(1):
        samples = told_samples(QUICK if asked.quick else Size())
        parts = [judged_at(samples, cutoff) for cutoff in CUTOFFS]
        named = {f"{cutoff:%Y-%m-%d}": part for cutoff, part in zip(CUTOFFS, parts, strict=True)}
        named["together"] = Judged.together(parts)
        figures = [figure for name, judged in named.items() for figure in section(name, judged)]
    print(f"{time.process_time() - start:.0f} CPU s", file=sys.stderr)
    show(figures, asked.json)


def told_samples(size: Size) -> pd.DataFrame:
    """Stretches of the real lines, and on the way print what they hold and what is left out."""
    raw = read_source(RETAIL)
    credited, tables = as_if_waiting(one_customer_in(size.one_in, raw))
    samples = watched(tables, size.every_days)
    print("Nobody is known to have waited here: lines are watched as if they waited 28 days. No patience is measured.")
    nameless, n_lines = raw["customer_id"].isna().mean(), len(tables["order_lines"])
    print(f"{n_lines:,} lines of one customer in {size.one_in}; {nameless:.0%} of all lines name none: left out")
    for what, n in account(credited, samples).items():
        print(f"{n:>7,}  {what}")
    return samples


def one_customer_in(n: int, raw: pd.DataFrame) -> pd.DataFrame:
    """Source lines of the customers whose hashed id is a multiple of n: who they are does not change with the data."""
    ids = raw["customer_id"].dropna().unique()
    return raw[raw["customer_id"].isin([name for name in ids if zlib.crc32(name.encode()) % n == 0])]


def as_if_waiting(raw: pd.DataFrame) -> tuple[pd.DataFrame, Tables]:
    """Credited quantities (order_line_id, at, fate), and the contract's tables of lines that wait 28 days.

    Fate is OWN_DAY (nobody waits yet, whether before or after 18:00), IN_TIME (a cancellation), RETURNED (the goods had
    left by then) or UNKNOWN (no purchase with units left).
    """
    lines, _ = order_lines(raw)
    lines["dispatch_at"] = lines["ordered_at"].dt.normalize() + SHIPS_AFTER
    pairs, n_unmatched = match_credits(lines, credit_lines(raw))
    line = lines.take(pairs["line"].to_numpy()).reset_index(drop=True)
    is_own_day = pairs["at"].dt.normalize() == line["ordered_at"].dt.normalize()
    fate = np.select([is_own_day, pairs["at"] < line["dispatch_at"]], [OWN_DAY, IN_TIME], RETURNED)
    matched = pd.DataFrame({"order_line_id": line["order_line_id"], "at": pairs["at"], "fate": fate})
    credited = pd.concat([matched, pd.DataFrame({"fate": [UNKNOWN] * n_unmatched})], ignore_index=True)
    return credited, {"customers": customers(lines), "products": products(lines)} | shipped_at_once(lines, pairs)


def watched(tables: Tables, every_days: int) -> pd.DataFrame:
    """Stretches from looks back over two years from the last order on; only the columns needed, for memory."""
    end = end_of(tables["order_lines"])
    with TemporaryDirectory(prefix="backorder-bench-") as place:
        data, facts = Path(place) / "data", Path(place) / "facts"
        facts.mkdir()
        write(tables, data, end)
        site = Site(data=str(data), currency="GBP")
        gather(facts, site, end.to_pydatetime())
        known = Facts(facts, end.to_pydatetime(), site)
        samples = cancellation_samples(known, every_days, at_most=730 // every_days)
    needed = {*NUMERIC, *TEXT, "order_line_id", "order_id", "customer_id", "cutoff_on", "due_on"}
    return samples[[*sorted(needed), "at_risk_days", "ended_by", "cancelled_share"]]


def account(credited: pd.DataFrame, samples: pd.DataFrame) -> dict[str, int]:
    """What became of each credited quantity, and the events that are left."""
    first_seen_on = samples.groupby("order_line_id")["cutoff_on"].min()
    is_in_time = credited["fate"] == IN_TIME
    is_seen = is_in_time & (credited["at"] >= credited["order_line_id"].map(first_seen_on))
    fates, ends = credited["fate"].value_counts(), samples["ended_by"].value_counts()
    return {
        "credited quantities of goods": len(credited),
        **{f"left out: {fate}": int(fates.get(fate, 0)) for fate in (UNKNOWN, OWN_DAY, RETURNED)},
        "left out: before a look saw the line": int((is_in_time & ~is_seen).sum()),
        "seen; those of one line and day are one event": int(is_seen.sum()),
        "events: stretches that end by the customer": int(ends.get(CUSTOMER, 0)),
        "changes: ordered again within a week, no events": int(ends.get("change", 0)),
    }


def judged_at(samples: pd.DataFrame, cutoff: pd.Timestamp) -> Judged:
    """Every way learns from what was known before the gap and says the hazards of the weeks from the cut-off on."""
    past = as_seen_on(samples, cutoff - pd.Timedelta(days=GAP_DAYS))
    until = cutoff + pd.Timedelta(days=JUDGED_DAYS)
    rows = samples[(samples["cutoff_on"] >= cutoff) & (samples["cutoff_on"] < until)].reset_index(drop=True)
    days = line_days(rows, most_quiet_days=ALL_QUIET_DAYS)
    chance = {}
    for name, way in WAYS.items():
        chance[name] = way(past)(rows, days)
        print(f"{time.strftime('%H:%M:%S')}  {cutoff:%Y-%m-%d}, {name}", file=sys.stderr, flush=True)
    customer, is_later = rows["customer_id"].to_numpy(dtype=str), (rows["due_on"] >= cutoff).to_numpy()
    return Judged(days.event, days.weight, customer[days.sample], is_later[days.sample], chance)


def ours(past: pd.DataFrame) -> Hazard:
    """The project's model."""
    model = fit(past)
    print(f"the model: {model.kind}, {model.why}")

    def hazard(rows: pd.DataFrame, days: LineDays) -> np.ndarray:
        starts = range(0, len(days.sample), ROWS_AT_ONCE)
        parts = (slice(start, start + ROWS_AT_ONCE) for start in starts)
        return np.concatenate([hazards(model, rows, days.sample[part], days.day[part]) for part in parts])

    return hazard


def constant(past: pd.DataFrame) -> Hazard:
    """One hazard for all."""
    gone, at_risk = by_days_waited(past)
    rate = gone.sum() / at_risk.sum()
    return lambda rows, days: np.full(len(days.sample), rate)


def by_wait(past: pd.DataFrame) -> Hazard:
    """One hazard for each day of the wait, leaning on the one for all."""
    gone, at_risk = by_days_waited(past)
    rate = gone.sum() / at_risk.sum()
    hazard = (gone + PSEUDO_EVENTS) / (at_risk + PSEUDO_EVENTS / rate)
    return lambda rows, days: hazard[days_waited(rows, days)]


def by_days_waited(past: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Events and days at risk by the days waited at the day's start, 0 to the last."""
    days = line_days(past, most_quiet_days=QUIET_DAYS_OF_RATES)
    waited = days_waited(past, days)
    sums = (np.bincount(waited, part, minlength=WATCHED_DAYS + 1) for part in (days.event * days.weight, days.weight))
    return next(sums), next(sums)


def days_waited(rows: pd.DataFrame, days: LineDays) -> np.ndarray:
    """Whole days waited at the start of each line-day."""
    return (as_numbers(rows["waited_days"])[days.sample] + days.day - 1).astype(int)


def closed_lines(past: pd.DataFrame) -> Hazard:
    """One row per closed line as first seen; what is expected in the end is spread over the whole wait."""
    rows = with_share_lost(past).drop_duplicates("order_line_id", keep="first")
    whole = float(WATCHED_DAYS)
    return classifier(rows, USUAL_ROUNDS, lambda lines: np.full(len(lines), whole))


def settled_lines(past: pd.DataFrame) -> Hazard:
    """One row for every look at a line whose 28 days are over; what is expected is spread over the days left."""
    known_to = (past["cutoff_on"] + pd.to_timedelta(past["at_risk_days"], unit="D")).max()
    rows = with_share_lost(past[past["due_on"] + SHIPS_AFTER <= known_to])
    last = SHIPS_AFTER / pd.Timedelta(days=1)
    return classifier(rows, rounds_for_the_newest(rows), lambda lines: last - as_numbers(lines["waited_days"]))


def with_share_lost(past: pd.DataFrame) -> pd.DataFrame:
    """Stretches of lines whose fate is known, by start; `share_lost`: of what was open then, cancelled in the end."""
    rows = past.sort_values(["cutoff_on", "order_line_id"], kind="stable")
    kept = 1 - as_numbers(rows["cancelled_share"])
    last = rows.drop_duplicates("order_line_id", keep="last")
    is_closed = last["ended_by"].notna() & ((last["ended_by"] != CUSTOMER) | (last["cancelled_share"] > 1 - 1e-9))
    left = pd.Series(kept, index=rows.index)[::-1].groupby(rows["order_line_id"][::-1]).cumprod()[::-1]
    return rows.assign(share_lost=1 - left)[rows["order_line_id"].isin(last.loc[is_closed, "order_line_id"])]


def rounds_for_the_newest(rows: pd.DataFrame) -> int:
    """As many trees as, learned from older looks, served the newest fifth of the looks best."""
    is_newest = rows["cutoff_on"] > rows["cutoff_on"].quantile(1 - NEWEST_SHARE)
    inputs = learn_inputs(rows, NUMERIC, TEXT)
    older = dataset(inputs, rows[~is_newest])
    stop = lgb.early_stopping(PATIENCE_ROUNDS, verbose=False)
    newest = dataset(inputs, rows[is_newest], older)
    return lgb.train(CLASSIFIER, older, MOST_ROUNDS, valid_sets=[newest], callbacks=[stop]).best_iteration


def dataset(inputs: Inputs, rows: pd.DataFrame, like: lgb.Dataset | None = None) -> lgb.Dataset:
    """Rows as LightGBM takes them, the share lost as the outcome."""
    names, texts = list(inputs.columns), list(inputs.codes)
    share = rows["share_lost"].to_numpy()
    return lgb.Dataset(inputs.matrix(rows), share, like, feature_name=names, categorical_feature=texts)


def classifier(rows: pd.DataFrame, n_rounds: int, days_left: Callable[[pd.DataFrame], np.ndarray]) -> Hazard:
    """LightGBM for the share lost in the end, from the inputs that ours has, spread evenly over the days left."""
    inputs = learn_inputs(rows, NUMERIC, TEXT)
    booster = lgb.train(CLASSIFIER, dataset(inputs, rows), n_rounds)

    def hazard(lines: pd.DataFrame, days: LineDays) -> np.ndarray:
        lost = np.asarray(booster.predict(inputs.matrix(lines), num_threads=1))
        return spread(lost, days_left(lines))[days.sample]

    return hazard


def spread(share: np.ndarray, n_days: np.ndarray) -> np.ndarray:
    """The hazard per day by which so much is lost in so many days.

    >>> spread(np.array([0.19]), np.array([2.0])).round(6).tolist()
    [0.1]
    """
    return 1 - (1 - share) ** (1 / n_days)


WAYS: Mapping[str, Callable[[pd.DataFrame], Hazard]] = {
    OURS: ours,
    CONSTANT: constant,
    BY_WAIT: by_wait,
    CLOSED: closed_lines,
    SETTLED: settled_lines,
}
PEERS: Sequence[str] = (CONSTANT, BY_WAIT, CLOSED, SETTLED)


def section(name: str, judged: Judged) -> Iterator[Figure]:
    """Rows of one cut-off: ours against the goals, each way's scores, and lines that began to wait later."""
    yield Figure(f"{name}: line-days", judged.weight.sum())
    yield Figure(
        f"{name}: events, parts as parts",
        (judged.event * judged.weight).sum(),
        peer="events",
        peer_value=float((judged.event > 0).sum()),
    )
    yield from differences(name, judged, goal=0.0)
    level = SCORES["observed / expected"](judged, OURS)
    yield Figure(f"{name}: observed / expected, from below", *level, goal=0.9)
    yield Figure(f"{name}: observed / expected, from above", *level, goal=1.1, better="lower")
    for score, scored in SCORES.items():
        better: Better = "lower" if score == "log-loss" else "higher"
        for way in WAYS:
            if (score, way) != ("calibration slope", CONSTANT):  # its log-odds tell no lines apart
                yield Figure(f"{name}: {score} of {way}", *scored(judged, way), better=better)
    yield Figure(f"{name}, later lines: line-days", judged.later.weight.sum())
    yield from differences(f"{name}, later lines", judged.later)
    yield Figure(
        f"{name}, later lines: observed / expected of ours", *SCORES["observed / expected"](judged.later, OURS)
    )


def differences(name: str, judged: Judged, goal: float = float("nan")) -> Iterator[Figure]:
    """How much less log-loss ours has than each peer, with the peer's own."""
    for peer in PEERS:
        text = f"{name}: log-loss saved against {peer}"
        beside = SCORES["log-loss"](judged, peer)[0]
        yield Figure(text, *less_lost(judged, OURS, peer), goal, "higher", peer, beside, "interval")


if __name__ == "__main__":
    main()
