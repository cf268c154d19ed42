"""How fast and how well goods are given out, beside HiGHS in one piece, OR-tools' min-cost flow and a serial rule.

Run `python tests/benchmarks/allocation.py [--quick] [--json FILE]` with the extra `bench`; about ten CPU minutes. Every
way runs in a process of its own on back orders drawn from a seed (allocation_cases.py), in one thread. Seconds are CPU,
the median of some repeats, from the least to the greatest; money is what is lost in expectation.

One chance: what comes next clears the backlog, so sorting is enough; `give_out` reads the frame's columns and ends with
the certificate. Four chances: the programme's plan, its proof, and HiGHS' optimum in one piece and in parts. The
conservative variant keeps goods for lines that will have gone: what its plan loses above the programme's optimum, and
what it loses if it decides today alone. Ship groups: 2 to 4 lines that leave together; the plan of all chances, waits
at its prices, and today's goods given out; the gap is that of the certificate, beside HiGHS' on the same giving
(mixed-integer, 60 s at most). The serial rule takes lines by typed priority and entry. HiGHS is not run on a million
lines with four chances.

Seed 21 is for measuring; what was developed and tuned used seed 901. `--quick` has cases of 2,000 lines at most: goals
for seconds and growth are not meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from tests.benchmarks.allocation_cases import Case
from tests.benchmarks.allocation_runs import Measured, measured
from tests.figures import Figure, measure

SEED = 21
HIGHS, FLOW, SERIAL = "HiGHS in one piece", "OR-tools' flow", "serial rule"
OPTIMAL = 1e-6
GROWTH = 1.1
MANY, MOST = 100_000, 1_000_000
GIVING_SECONDS, PLAN_SECONDS, FLOW_SECONDS = 1.5, 5.0, 1.0
TIED = {0.3: (1e-3, 10.0), 1.0: (2e-2, 60.0)}  # gap and seconds by share of lines in ship groups
MOST_FOR_HIGHS = 100_000  # lines with four chances: 16 s; ten times as many take more than ten times as long
ONCE = ("highs", "highs_in_parts", "highs_whole", "serial", "serial_groups")


@dataclass(frozen=True)
class Size:
    """Lines and products of each section, and the later chances of cases with ship groups."""

    untied: Sequence[tuple[int, int]] = ((10_000, 1_000), (MANY, 1_000), (MANY, 10_000), (MANY, 50_000), (MOST, 50_000))
    tied: Sequence[tuple[int, int]] = ((MANY, 10_000),)
    tied_later: Sequence[int] = (1, 4)
    growing: Sequence[tuple[int, int]] = ((10_000, 500), (MANY, 5_000), (MOST, 50_000))
    tied_growing: Sequence[tuple[int, int]] = ((10_000, 1_000), (MANY, 10_000))


QUICK_GROWING = ((500, 50), (2_000, 200))
QUICK = Size(QUICK_GROWING[1:], QUICK_GROWING[1:], (4,), QUICK_GROWING, QUICK_GROWING)


def main() -> None:
    """Measure, print, write."""
    measure(str(__doc__), lambda: every(QUICK), lambda: every(Size()))


def every(size: Size) -> Iterator[Figure]:
    """Every section; each of its cases says when it is done."""
    for n_lines, n_products in size.untied:
        yield from one_chance(Case(n_lines, n_products, n_later=1, seed=SEED))
        case = Case(n_lines, n_products, seed=SEED)
        yield from four_chances(case)
        yield from conservative_variant(case)
    for (n_lines, n_products), tied, n_later in product(size.tied, TIED, size.tied_later):
        yield from ship_groups(Case(n_lines, n_products, n_later, tied, SEED))
    one = [Case(n_lines, n_products, n_later=1, seed=SEED) for n_lines, n_products in size.growing]
    yield growth("sorting, one chance", "sorted_out", one)
    yield growth("give_out, one chance", "given_out", one)
    yield growth("plan, four chances", "planned", [replace(case, n_later=4) for case in one])
    tied_lines = [Case(n_lines, n_products, tied=min(TIED), seed=SEED) for n_lines, n_products in size.tied_growing]
    yield growth(f"plan and giving out, {min(TIED):.0%} tied, four chances", "morning", tied_lines)


def one_chance(case: Case) -> Iterator[Figure]:
    """Today's goods where what comes next clears the backlog: seconds, and money beside the optimum."""
    ours, kernel, highs, serial = (run(way, case) for way in ("given_out", "sorted_out", "highs", "serial"))
    yield seconds(f"{case.name}: CPU s of give_out", ours, goal_at(case, MOST, GIVING_SECONDS), HIGHS, highs)
    yield seconds(f"{case.name}: CPU s of sorting", kernel, math.nan, SERIAL, serial)
    best = highs.found["value"]
    yield above(f"{case.name}: lost above HiGHS' optimum", ours.found["value"], best, SERIAL, serial.found["value"])
    yield kept(f"{case.name}: units given beyond goods or wishes", ours)
    if case.n_lines == MOST:
        whole = run("given_out", replace(case, is_whole=True))
        yield seconds(f"{case.name}: CPU s of give_out, all lines whole", whole)
    say(case)


def four_chances(case: Case) -> Iterator[Figure]:
    """The plan of all chances: seconds, proof, HiGHS' optimum, and what giving out in whole units loses."""
    ours, serial = run("planned", case), run("serial", case)
    value, bound = ours.found["value"], ours.found["bound"]
    highs = run("highs", case) if case.n_lines <= MOST_FOR_HIGHS else None
    yield seconds(
        f"{case.name}: CPU s of the plan", ours, goal_at(case, MANY, PLAN_SECONDS), HIGHS if highs else "", highs
    )
    yield above(f"{case.name}: lost above what is proven", value, bound, SERIAL, serial.found["value"])
    if highs is None:
        yield Figure(f"{case.name}: MB held by the plan", ours.mb, better="lower")
        say(case)
        return
    parts, best = run("highs_in_parts", case), highs.found["value"]
    yield seconds(f"{case.name}: CPU s of HiGHS in parts of 500 lines", parts, math.nan, "our plan", ours)
    yield replace(above(f"{case.name}: off HiGHS' optimum", value, best), value=abs(value / best - 1))
    given = run("given_out", case)
    rest = given.found["value"], best, SERIAL, serial.found["value planned anew"]
    yield replace(above(f"{case.name}: lost by giving out in whole units", *rest), goal=math.nan)
    yield kept(f"{case.name}: units given beyond goods or wishes", given)
    say(case)


def conservative_variant(case: Case) -> Iterator[Figure]:
    """OR-tools' flow beside our plan of the same variant, and what the variant loses."""
    flow = run("flow", case)
    name = f"{case.name}: conservative variant, "
    if case.n_lines > MOST_FOR_HIGHS:
        yield seconds(name + "CPU s of OR-tools' flow", flow)
        return
    ours, best = run("keeps_for_the_gone", case), run("planned", case).found["bound"]
    goal = goal_at(case, MANY, FLOW_SECONDS)
    yield seconds(name + "CPU s of OR-tools' flow", flow, goal, "our plan", ours)
    bound = ours.found["bound"]
    yield above(name + "flow above its own optimum", flow.found["value"], bound, "our plan", ours.found["value"])
    lost, today = (above("", ours.found[fact], best) for fact in ("value", "value planned anew"))
    beside = [run("serial", case).found[fact] / best - 1 for fact in ("value", "value planned anew")]
    yield replace(
        lost, figure=name + "its plan loses above the optimum", goal=math.nan, peer=SERIAL, peer_value=beside[0]
    )
    yield replace(today, figure=name + "its giving today loses", goal=math.nan, peer=SERIAL, peer_value=beside[1])


def ship_groups(case: Case) -> Iterator[Figure]:
    """Plan and giving out where lines leave together: gap and seconds beside HiGHS, money beside the serial rule."""
    ours, highs, serial = (run(way, case) for way in ("morning", "highs_whole", "serial_groups"))
    gap, cpu_s = TIED[case.tied]
    name = f"{case.name}: "
    peer = gap_of(highs)
    yield Figure(name + "gap", gap_of(ours), goal=goal_at(case, MANY, gap), better="lower", peer=HIGHS, peer_value=peer)
    yield seconds(name + "CPU s of plan and giving out", ours, goal_at(case, MANY, cpu_s))
    alone = Figure(name + "CPU s of giving out alone", ours.found["CPU s of giving out"], better="lower")
    yield replace(alone, peer=HIGHS, peer_value=highs.cpu_s[0])
    most = highs.found["saved at most"]
    saved, by_rule = ours.found["saved"] / most, serial.found["saved"] / most
    yield Figure(name + "saved, of the most that HiGHS proves", saved, peer=SERIAL, peer_value=by_rule)
    say(case)


def gap_of(found: Measured) -> float:
    """Share of the most that can be saved, by the way's own proof."""
    return found.found["gap"] / found.found["saved at most"]


def growth(what: str, way: str, cases: Sequence[Case]) -> Figure:
    """Exponent of CPU seconds over lines, from medians; its interval from the extremes of first and last."""
    runs = [run(way, case).cpu_s for case in cases]
    lines = np.log([case.n_lines for case in cases])
    slope = float(np.polyfit(lines, np.log([np.median(of_case) for of_case in runs]), 1)[0])
    low, high = (
        math.log(last / first) for last, first in ((min(runs[-1]), max(runs[0])), (max(runs[-1]), min(runs[0])))
    )
    name = f"growth of CPU s from {cases[0].n_lines:,} to {cases[-1].n_lines:,} lines: {what}"
    return Figure(name, slope, low / float(np.ptp(lines)), high / float(np.ptp(lines)), GROWTH, "lower")


@cache
def run(way: str, case: Case) -> Measured:
    """Measure each way once on each case; short ones are repeated."""
    repeats = 1 if way in ONCE else 2 if case.n_lines >= MOST and case.n_later > 1 else 3
    return measured(way, case, repeats if case.n_lines >= MANY or repeats == 1 else 5)


def seconds(
    name: str, ours: Measured, goal: float = math.nan, peer: str = "", theirs: Measured | None = None
) -> Figure:
    """Median of the repeats, from the least to the greatest."""
    beside = float(np.median(theirs.cpu_s)) if theirs else math.nan
    return Figure(name, float(np.median(ours.cpu_s)), min(ours.cpu_s), max(ours.cpu_s), goal, "lower", peer, beside)


def above(name: str, value: float, best: float, peer: str = "", peer_value: float = math.nan) -> Figure:
    """Money lost above the least, as a share of it."""
    beside = peer_value / best - 1 if peer else math.nan
    return Figure(name, value / best - 1, goal=OPTIMAL, better="lower", peer=peer, peer_value=beside)


def kept(name: str, given: Measured) -> Figure:
    """Nothing is given that is not there or not wanted."""
    return Figure(name, given.found["excess"], goal=OPTIMAL, better="lower")


def goal_at(case: Case, n_lines: int, goal: float) -> float:
    """Give the goal to cases of this size and none to others."""
    return goal if case.n_lines == n_lines else math.nan


def say(case: Case) -> None:
    """Tell that a case is done."""
    print(f"measured {case.name}", flush=True)


if __name__ == "__main__":
    main()
