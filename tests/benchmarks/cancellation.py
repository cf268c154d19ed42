"""Cancellation risk beside other ways to foresee it: known truths, an unseen urgency, small books, public sets, cost.

Truth is the chance that a line which has waited w days (0 to 59) is cancelled within 14 more days if nobody ships it.
All ways learn from the same lines and answer for the same 4,000 others that are still open, drawn by the same seed.
capture10: one line in ten can be shipped; the money saved by the order of value x chance, as a share of what the true
order saves. slope: logistic regression of the truth on the predicted log-odds. ECE: distance of the mean predicted from
the mean true chance over ten bands of equally many lines. IBS: expected squared distance of the curve to the line's own
fate, mean over days 1 to 60; as truth is known nothing is censored or weighted. Figures are means over seeds with 95 %
t intervals, a peer's beside ours on the same seeds. The goals are for 20,000 and 100,000 lines.

Small books: 500 lines to learn from; the goal is Cox's mean less one standard error of the paired differences.
Hidden urgency: a factor nobody recorded raises the log-odds of cancelling and of being shipped by 0.5 or 1 per standard
deviation. Cost: CPU seconds and memory in fresh processes. Public sets: see cancellation_public.py.

Seeds 1 to 10 (1 to 24 for small books) are for measuring; what was developed and tuned used seeds from 900 on. One
thread everywhere. `--quick` has two seeds of 5,000 lines and two peers: goals not meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.benchmarks.cancellation_cost import cost
from tests.benchmarks.cancellation_public import flchain, gbsg2, measured_on
from tests.benchmarks.cancellation_runs import (
    COX,
    FAST,
    OURS,
    QUICK_WAYS,
    RANKS,
    SLOW,
    SLOWEST,
    USUAL,
    Way,
    floor,
    hidden_urgency,
    measured,
    say,
)
from tests.benchmarks.cancellation_scores import mean_interval, standard_error
from tests.benchmarks.cancellation_worlds import COX_GROUND, KNOWN_TRUTH, OTHER_SHAPES
from tests.figures import Better, Figure, measure

SMALL_BOOK = 500
BETTER: dict[str, Better] = {"capture10": "higher", "AUC": "higher"}  # lower is better for all other scores
GOALS = {  # of the known truth, by score and number of lines
    ("capture10", 20_000): 0.972,
    ("capture10", 100_000): 0.987,
    **{("ECE", n): 0.005 for n in (20_000, 100_000)},
}
SLOPES = dict.fromkeys((20_000, 100_000), (0.95, 1.05))


@dataclass(frozen=True)
class Size:
    """How much is measured; `some` of the seeds where a way is slow or the question is one for orientation."""

    seeds: Sequence[int] = range(1, 11)
    some: Sequence[int] = range(1, 6)
    small_seeds: Sequence[int] = range(1, 25)


def main() -> None:
    """Measure, print, write."""
    measure(str(__doc__), quick, lambda: full(Size()))


def quick() -> Iterator[Figure]:
    """Two seeds of 5,000 lines."""
    table = measured(KNOWN_TRUTH, 5000, (1, 2), QUICK_WAYS | RANKS)
    tell(table)
    yield from known_truth(table)


def full(size: Size) -> Iterator[Figure]:
    """Every section; each prints its table when it is done."""
    for n_lines, ways in runs(size).items():
        table = pd.concat([measured(KNOWN_TRUTH, n_lines, seeds, some) for some, seeds in ways])
        tell(table)
        yield from known_truth(table)
    yield from costs(size)
    for u in (0.5, 1.0):
        yield from urgency(u, hidden_urgency(u, 20_000, size.some))
    for world in OTHER_SHAPES:
        table = measured(world, 20_000, size.some, FAST)
        tell(table)
        yield from beside(table, ("capture10", "ECE", "IBS"))
    for world in (KNOWN_TRUTH, COX_GROUND):
        table = measured(world, SMALL_BOOK, size.small_seeds, QUICK_WAYS)
        tell(table)
        yield from small_books(table)
    for load in (flchain, gbsg2):
        table = pd.DataFrame(measured_on(load()))
        tell(table)
        yield from beside(table, ("IBS", "AUC"))


def runs(size: Size) -> dict[int, list[tuple[Mapping[str, Way], Sequence[int]]]]:
    """By number of lines: which ways on which seeds. The slowest learn from few lines only, and on few seeds."""
    return {
        5_000: [(USUAL | SLOW, size.seeds), (SLOWEST, size.some)],
        20_000: [(USUAL | SLOW, size.seeds)],
        100_000: [(FAST, size.seeds)],
    }


def known_truth(table: pd.DataFrame) -> Iterator[Figure]:
    """Ours against the goals, beside each peer on the peer's seeds."""
    yield from beside(table, ("capture10", "ECE", "IBS"), GOALS)
    ours = table[table["way"] == OURS]
    name = title(table)
    mean, low, high = mean_interval(ours["slope"].to_numpy())
    least, most = SLOPES.get(int(table["lines"].iloc[0]), (np.nan, np.nan))
    yield Figure(f"{name}: calibration slope, from below", mean, low, high, least)
    yield Figure(f"{name}: calibration slope, from above", mean, low, high, most, "lower")
    yield Figure(f"{name}: curves that rise, days", float(ours["rises"].sum()), goal=0.0, better="lower")
    truth = floor(KNOWN_TRUTH, sorted(ours["seed"].unique())).mean()
    for score in ("log loss", "IBS"):
        mean, low, high = mean_interval(ours[score].to_numpy())
        text = f"{name}: {score}, the truth's own beside it"
        yield Figure(text, mean, low, high, better="lower", peer="truth", peer_value=float(truth[score]))


def beside(
    table: pd.DataFrame, scores: Sequence[str], goals: Mapping[tuple[str, int], float] | None = None
) -> Iterator[Figure]:
    """One row per score for ours with the best peer, and one per peer with ours on the same seeds."""
    for score in scores:
        better = BETTER.get(score, "lower")
        by_way = {way: part.set_index("seed")[score] for way, part in table.groupby("way", sort=False)}
        peers = {way: values for way, values in by_way.items() if way != OURS and values.notna().all()}
        ours = by_way[OURS]
        gain = {way: difference(ours, values, better) for way, values in peers.items()}
        best = min(gain, key=lambda way: float(gain[way].mean()))
        goal = (goals or {}).get((score, int(table["lines"].iloc[0]) if "lines" in table else 0), float("nan"))
        name = f"{title(table)}: {score}"
        yield Figure(name, *mean_interval(ours.to_numpy()), goal, better, best, float(peers[best].mean()))
        for way, values in peers.items():
            mean = float(ours[values.index].mean())
            yield Figure(f"{name} of {way}", *mean_interval(values.to_numpy()), float("nan"), better, OURS, mean)


def difference(ours: pd.Series, peer: pd.Series, better: Better) -> np.ndarray:
    """How much better ours is than the peer, by seed; both are indexed by seed and the peer may have fewer."""
    gap = (ours[peer.index] - peer).to_numpy()
    return gap if better == "higher" else -gap


def small_books(table: pd.DataFrame) -> Iterator[Figure]:
    """Not worse than Cox by more than one standard error of the paired differences."""
    ours, peer = (table[table["way"] == way].set_index("seed") for way in (OURS, COX))
    for score in ("capture10", "IBS", "log loss"):
        better = BETTER.get(score, "lower")
        error = standard_error((ours[score] - peer[score]).to_numpy())
        goal = float(peer[score].mean()) + (-error if better == "higher" else error)
        mean = mean_interval(ours[score].to_numpy())
        yield Figure(f"{title(table)}: {score}", *mean, goal, better, COX, float(peer[score].mean()))


def urgency(u: float, table: pd.DataFrame) -> Iterator[Figure]:
    """Rank stability, money and level under a factor nobody recorded."""
    tell(table.assign(way=OURS))
    name = title(table)

    def row(score: str, text: str, goal: float = float("nan"), peer: str = "", beside: str = "") -> Figure:
        peer_value = float(table[beside].mean()) if beside else float("nan")
        return Figure(f"{name}: {text}", *mean_interval(table[score].to_numpy()), goal, "higher", peer, peer_value)

    goal = 0.85 if u == 1 else float("nan")
    yield row("capture10", "capture10", goal, "knows all but the urgency", "attainable")
    yield row("Cox", "capture10 of Cox", peer=OURS, beside="capture10")
    agreement = "rank correlation with the true order"
    yield row("agrees with truth", agreement, peer="knows all but the urgency", beside="attainable agreement")
    yield row("agrees without urgency", "rank correlation with the order learned in a world without it")
    yield row("level", "mean predicted / mean true chance - 1")


def costs(size: Size) -> Iterator[Figure]:
    """Seconds, memory and growth of learning from the known truth; seconds of scoring."""
    by_lines: dict[int, pd.DataFrame] = {}
    for n_lines, seeds in {5_000: size.some, 20_000: size.some, 100_000: size.some, 1_000_000: (1,)}.items():
        by_lines[n_lines] = pd.DataFrame([cost(n_lines, seed) for seed in seeds])
        say(f"cost of {n_lines:,} lines")
    goals = {100_000: (5.0, 400.0), 1_000_000: (60.0, 3000.0)}
    for n_lines, table in by_lines.items():
        seconds, megabytes = goals.get(n_lines, (float("nan"), float("nan")))
        name = f"{n_lines:,} lines: "
        yield Figure(name + "CPU s to learn", *mean_interval(table["fit_cpu_s"].to_numpy()), seconds, "lower")
        yield Figure(name + "MB held at most", *mean_interval(table["fit_mb"].to_numpy()), megabytes, "lower")
    growth = by_lines[100_000]["fit_cpu_s"] / by_lines[20_000]["fit_cpu_s"]
    yield Figure("growth of CPU s from 20,000 to 100,000 lines", *mean_interval(growth.to_numpy()), better="lower")
    scoring = by_lines[100_000]["score_s"].to_numpy()
    yield Figure("s to score 4,000 lines x 90 days, 100,000 learned", *mean_interval(scoring), 1.0, "lower")


def title(table: pd.DataFrame) -> str:
    """World and, where lines were drawn, their number."""
    world = str(table["world"].iloc[0])
    return f"{world}, {int(table['lines'].iloc[0]):,} lines" if "lines" in table else world


def tell(table: pd.DataFrame) -> None:
    """Print means by way, and where Cox stands: who wins by more than the 95 % interval of the paired differences."""
    means = table.drop(columns=["world", "lines", "seed"], errors="ignore").groupby("way", sort=False)
    print(f"\n{title(table)}\n{means.mean().assign(seeds=means.size()).round(4).to_string()}")
    if COX in set(table["way"]):
        print("; ".join(standing(table, score) for score in ("capture10", "ECE", "IBS", "AUC") if score in table))


def standing(table: pd.DataFrame, score: str) -> str:
    """Say whether ours or Cox is ahead on a score, or neither."""
    ours, cox = (table[table["way"] == way].set_index("seed")[score] for way in (OURS, COX))
    _, low, high = mean_interval(difference(ours, cox, BETTER.get(score, "lower")))
    return f"{score}: " + ("ours ahead of Cox" if low > 0 else "Cox AHEAD of ours" if high < 0 else "Cox ties")


if __name__ == "__main__":
    main()
