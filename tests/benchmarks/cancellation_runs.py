"""What is measured: every way on the same lines of the same worlds, one row per way and seed."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tests.benchmarks.cancellation_ours import learned, ours, predictor
from tests.benchmarks.cancellation_peers import (
    Answer,
    Way,
    boosted_survival,
    closed_line_classifier,
    cox,
    cox_told_the_promise,
    first_come_first_served,
    random_survival_forest,
    value_only,
    xgboost_aft,
    xgboost_cox,
)
from tests.benchmarks.cancellation_scores import (
    BRIER_DAYS,
    HORIZON_DAYS,
    calibration_error,
    captured,
    integrated_brier,
    log_loss,
    n_rises,
    rank_agreement,
    slope,
)
from tests.benchmarks.cancellation_worlds import (
    KNOWN_TRUTH,
    Book,
    World,
    best_curves_without_urgency,
    history,
    open_lines,
    true_curves,
)

N_OPEN = 4000
OURS, COX = "ours", "Cox"
RANKS: dict[str, Way] = {"first come first served": first_come_first_served, "value only": value_only}
QUICK_WAYS: dict[str, Way] = {OURS: ours, COX: cox}
FAST: dict[str, Way] = {**QUICK_WAYS, "XGBoost Cox": xgboost_cox}
USUAL: dict[str, Way] = {**FAST, **RANKS, "classifier on closed lines": closed_line_classifier}
SLOW: dict[str, Way] = {"XGBoost AFT": xgboost_aft, "Cox told the promise (lifelines)": cox_told_the_promise}
SLOWEST: dict[str, Way] = {"random survival forest": random_survival_forest, "gradient boosting": boosted_survival}


def measured(world: World, n_lines: int, seeds: Sequence[int], ways: Mapping[str, Way]) -> pd.DataFrame:
    """Scores of the ways, learned from `n_lines` lines and asked for 4,000 others that are still open, by seed."""
    rows = []
    for seed in seeds:
        past, lines = history(world, n_lines, seed), open_lines(world, N_OPEN, seed)
        truth = true_curves(world, lines, BRIER_DAYS)
        for name, way in ways.items():
            start = time.process_time()
            predict = way(past, seed)
            fit_cpu_s = time.process_time() - start
            scores = judged(predict(lines), lines, truth)
            rows.append(
                {"world": world.name, "lines": n_lines, "seed": seed, "way": name, "fit_cpu_s": fit_cpu_s, **scores}
            )
        say(f"{world.name}, {n_lines:,} lines, seed {seed}")
    return pd.DataFrame(rows)


def judged(said: Answer, lines: Book, truth: np.ndarray) -> dict[str, float]:
    """Every score an answer allows; a rank alone has no chance, a classifier no curves."""
    cancels = 1 - truth[:, HORIZON_DAYS]
    scores = {"capture10": captured(said.score, lines.value, cancels)}
    if said.chance is not None:
        scores |= {
            "slope": slope(said.chance, cancels),
            "ECE": calibration_error(said.chance, cancels),
            "level": float(said.chance.mean() / cancels.mean() - 1),
            "log loss": log_loss(said.chance, cancels),
        }
    if said.curves is not None:
        scores |= {"IBS": integrated_brier(said.curves, truth), "rises": float(n_rises(said.curves))}
    return scores


def floor(world: World, seeds: Sequence[int]) -> pd.DataFrame:
    """What the truth itself scores: nobody can have less log loss or IBS."""
    rows = []
    for seed in seeds:
        truth = true_curves(world, open_lines(world, N_OPEN, seed), BRIER_DAYS)
        cancels = 1 - truth[:, HORIZON_DAYS]
        rows.append({"log loss": log_loss(cancels, cancels), "IBS": integrated_brier(truth, truth)})
    return pd.DataFrame(rows)


def hidden_urgency(u: float, n_lines: int, seeds: Sequence[int]) -> pd.DataFrame:
    """The order of the same open lines by value x chance, learned with and without an urgency nobody recorded.

    Truth knows each line's urgency, and the open lines are those still there under it. `attainable` is the money of
    somebody who knows every hazard but not the urgency: what no model can pass.
    """
    world = replace(KNOWN_TRUTH, name=f"known truth with an urgency of {u:g} sd nobody sees", u=u)
    rows = []
    for seed in seeds:
        lines = open_lines(world, N_OPEN, seed)
        truth = true_curves(world, lines, BRIER_DAYS)
        past = history(world, n_lines, seed)
        said = predictor(learned(past, seed))(lines)
        calm = predictor(learned(history(KNOWN_TRUTH, n_lines, seed), seed))(lines)
        unaware = 1 - best_curves_without_urgency(world, lines, HORIZON_DAYS)[:, HORIZON_DAYS]
        lost = lines.value * (1 - truth[:, HORIZON_DAYS])
        rows.append(
            {
                **judged(said, lines, truth),
                "world": world.name,
                "lines": n_lines,
                "seed": seed,
                "agrees with truth": rank_agreement(said.score, lost),
                "agrees without urgency": rank_agreement(said.score, calm.score),
                "attainable": captured(lines.value * unaware, lines.value, 1 - truth[:, HORIZON_DAYS]),
                "attainable agreement": rank_agreement(lines.value * unaware, lost),
                "Cox": judged(cox(past, seed)(lines), lines, truth)["capture10"],
            }
        )
        say(f"{world.name}, seed {seed}")
    return pd.DataFrame(rows)


def say(what: str) -> None:
    """Progress on stderr."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)
