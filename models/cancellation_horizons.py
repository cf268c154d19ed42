"""Scores of the chance to cancel within 7, 14 and 30 days, for the lines open at a snapshot.

Most lines are shipped before the horizon, so what their customers would have done is not known. Leaving them out would
favour impatience; each line that is known instead stands for those like it that were shipped, by the inverse of
G(t | x), the chance of still being watched (Graf et al. 1999; Gerds & Schumacher 2006 for G that depends on x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models import judging
from models.cancellation import CancellationModel, survival
from models.inputs import as_numbers
from models.line_days import event_shares, open_on
from models.shipping import fit_censoring

HORIZONS_DAYS = (7, 14, 30)
LEAST_WATCHED = 0.02  # a line stands for 50 at most


def horizon_scores(
    samples: pd.DataFrame,
    model: CancellationModel,
    past: pd.DataFrame,
    day: pd.Timestamp,
    seed: int,
    numeric: Sequence[str],
    text: Sequence[str],
) -> dict[str, float]:
    """Brier score and AUC at each horizon, beside a curve by wait alone, with the effective number of lines."""
    lines = open_on(samples, day)
    left_after, is_cancelled = outcomes(samples, lines, day)
    censoring = fit_censoring(past, seed, numeric, text)
    curves = survival(model, lines, max(HORIZONS_DAYS))
    pooled = CancellationModel("pooled", "", model.pooled)
    by_wait = survival(pooled, lines, max(HORIZONS_DAYS))
    last_day = float(left_after.max(initial=0))
    scores: dict[str, float] = {}
    for horizon in HORIZONS_DAYS:
        if last_day < horizon:  # nobody was watched that long
            continue
        watched = (
            np.ones(len(lines))
            if censoring is None
            else censoring.still_watched(lines, np.minimum(left_after, horizon))
        )
        weight = known_weights(left_after, is_cancelled, watched, horizon)
        if not weight.any():
            continue
        gone = (is_cancelled & (left_after <= horizon)).astype(float)
        scores |= {
            f"brier_{horizon}d": float(np.average((1 - curves[:, horizon] - gone) ** 2, weights=weight)),
            f"brier_{horizon}d_wait_only": float(np.average((1 - by_wait[:, horizon] - gone) ** 2, weights=weight)),
            f"auc_{horizon}d": judging.area_under_curve(
                (1 - curves[:, horizon])[weight > 0], gone[weight > 0], weight[weight > 0]
            ),
            f"effective_lines_{horizon}d": float(weight.sum() ** 2 / (weight**2).sum()),
        }
    return scores


def outcomes(samples: pd.DataFrame, lines: pd.DataFrame, day: pd.Timestamp) -> tuple[np.ndarray, np.ndarray]:
    """Days until each line left or was watched no longer, and whether its customer cancelled the rest of it then."""
    theirs = samples[samples["order_line_id"].isin(lines["order_line_id"])]
    last = theirs.sort_values("cutoff_on", kind="stable").drop_duplicates("order_line_id", keep="last")
    last = last.set_index("order_line_id").loc[lines["order_line_id"]]
    left_after = (last["cutoff_on"] - day).dt.days.to_numpy() + as_numbers(last["at_risk_days"])
    return left_after, event_shares(last) >= 1


def known_weights(left_after: np.ndarray, is_cancelled: np.ndarray, watched: np.ndarray, horizon: float) -> np.ndarray:
    """Lines that each one stands for: 0 where it was shipped, or no longer watched, before the horizon.

    Cancelled on day 2, shipped on day 3, still waiting on day 5; half of their like were shipped by then:

    >>> known_weights(np.array([2.0, 3.0, 9.0]), np.array([True, False, False]), np.full(3, 0.5), 5).tolist()
    [2.0, 0.0, 2.0]
    """
    is_known = (is_cancelled & (left_after <= horizon)) | (left_after >= horizon)
    return np.where(is_known, 1 / np.maximum(watched, LEAST_WATCHED), 0.0)
