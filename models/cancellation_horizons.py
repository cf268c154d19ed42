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
from models.line_days import customers_of, event_shares, open_on
from models.shipping import Censoring

HORIZONS_DAYS = (7, 14, 30)
LEAST_WATCHED = 0.02  # a line stands for 50 at most
DAYS_APART = 14  # of the looks that are followed


def followed(
    samples: pd.DataFrame,
    model: CancellationModel,
    censoring: Censoring | None,
    day: pd.Timestamp,
    until: pd.Timestamp,
) -> pd.DataFrame:
    """Lines open at looks from `day` to `until`, some weeks apart, with what was predicted and what became of them.

    Returns
    -------
    One row per line and look: customer, left_after (days), and per horizon `chance_7d`, `by_wait_7d`, `gone_7d` (share
    of its open quantity that its customer has cancelled by then) and `weight_7d` (lines it stands for).
    """
    looks = samples.loc[(samples["cutoff_on"] >= day) & (samples["cutoff_on"] < until), "cutoff_on"].drop_duplicates()
    chosen: list[pd.Timestamp] = []
    for look in looks.sort_values():
        if not chosen or (look - chosen[-1]).days >= DAYS_APART:
            chosen.append(look)
    return pd.concat([_followed_from(samples, model, censoring, look) for look in chosen], ignore_index=True)


def _followed_from(
    samples: pd.DataFrame, model: CancellationModel, censoring: Censoring | None, day: pd.Timestamp
) -> pd.DataFrame:
    lines = open_on(samples, day)
    left_after, gone = outcomes(samples, lines, day)
    curves = survival(model, lines, max(HORIZONS_DAYS))
    by_wait = survival(CancellationModel("pooled", "", model.pooled), lines, max(HORIZONS_DAYS))
    table = pd.DataFrame({"customer": customers_of(lines), "left_after": left_after})
    watched_days = ((samples["cutoff_on"] - day).dt.days + as_numbers(samples["at_risk_days"])).max()
    for place, horizon in enumerate(HORIZONS_DAYS):
        until = np.minimum(left_after, horizon)
        watched = np.ones(len(lines)) if censoring is None else censoring.still_watched(lines, until)
        table[f"chance_{horizon}d"] = 1 - curves[:, horizon]
        table[f"by_wait_{horizon}d"] = 1 - by_wait[:, horizon]
        table[f"gone_{horizon}d"] = gone[:, place]
        weights = known_weights(left_after, gone[:, place] >= 1 - 1e-9, watched, horizon)
        # Of a look that was watched for less, those gone by then would be known and those who stay would not.
        table[f"weight_{horizon}d"] = weights if watched_days >= horizon else 0.0
    return table


def horizon_scores(parts: Sequence[pd.DataFrame], seed: int) -> dict[str, float]:
    """Brier score and AUC at each horizon, beside a curve by wait alone, with the effective number of lines.

    Parameters
    ----------
    parts : frames of `followed`
    """
    scores: dict[str, float] = {}
    if parts:
        lines = pd.concat(parts, ignore_index=True)
        for horizon in HORIZONS_DAYS:
            scores |= _scores_of(lines, horizon, seed)
    return scores


def _scores_of(lines: pd.DataFrame, horizon: int, seed: int) -> dict[str, float]:
    chance, by_wait, gone, weight = (
        lines[f"{name}_{horizon}d"].to_numpy() for name in ("chance", "by_wait", "gone", "weight")
    )
    if not weight.any():
        return {}
    # Of a share gone, E(1 - p)^2 over its units: p^2 - 2 p gone + gone.
    ours, theirs = (weight * (p**2 - 2 * p * gone + gone) for p in (chance, by_wait))
    saved = judging.ratio_interval(theirs - ours, theirs, lines["customer"].to_numpy(), seed)
    return {
        f"brier_{horizon}d": float(ours.sum() / weight.sum()),
        f"brier_{horizon}d_wait_only": float(theirs.sum() / weight.sum()),
        **judging.with_interval(f"brier_{horizon}d_saved_share", saved),
        f"auc_{horizon}d": _area(chance, gone, weight),
        f"effective_lines_{horizon}d": float(weight.sum() ** 2 / (weight**2).sum()),
    }


def _area(chance: np.ndarray, gone: np.ndarray, weight: np.ndarray) -> float:
    """AUC of units: a line that went in part is a part that went and a part that stayed."""
    units = np.concatenate([weight * gone, weight * (1 - gone)])
    event = np.repeat([1.0, 0.0], len(gone))
    counts = units > 0
    return judging.area_under_curve(np.tile(chance, 2)[counts], event[counts], units[counts])


def outcomes(samples: pd.DataFrame, lines: pd.DataFrame, day: pd.Timestamp) -> tuple[np.ndarray, np.ndarray]:
    """Days until each line left or was watched no longer, and the share its customer has cancelled by each horizon.

    Returns
    -------
    left_after (n_lines,) and gone (n_lines, n_horizons): 1 - prod(1 - share) over the cancellations so far.
    """
    place = pd.Series(np.arange(len(lines)), index=lines["order_line_id"])
    theirs = samples[samples["order_line_id"].isin(place.index)]
    line = place.loc[theirs["order_line_id"]].to_numpy()
    ended_after = (theirs["cutoff_on"] - day).dt.days.to_numpy() + as_numbers(theirs["at_risk_days"])
    left_after = np.full(len(lines), -np.inf)
    np.maximum.at(left_after, line, ended_after)
    with np.errstate(divide="ignore"):  # all of it: log(0) = -inf, and 1 - exp(-inf) is 1
        log_kept = np.log1p(-event_shares(theirs))
    gone = np.empty((len(lines), len(HORIZONS_DAYS)))
    for column, horizon in enumerate(HORIZONS_DAYS):
        so_far = (ended_after > 0) & (ended_after <= horizon)
        gone[:, column] = -np.expm1(np.bincount(line[so_far], log_kept[so_far], minlength=len(lines)))
    return left_after, gone


def known_weights(left_after: np.ndarray, is_cancelled: np.ndarray, watched: np.ndarray, horizon: float) -> np.ndarray:
    """Lines that each one stands for: 0 where it was shipped, or no longer watched, before the horizon.

    Cancelled on day 2, shipped on day 3, still waiting on day 5; half of their like were shipped by then:

    >>> known_weights(np.array([2.0, 3.0, 9.0]), np.array([True, False, False]), np.full(3, 0.5), 5).tolist()
    [2.0, 0.0, 2.0]
    """
    is_known = (is_cancelled & (left_after <= horizon)) | (left_after >= horizon)
    return np.where(is_known, 1 / np.maximum(watched, LEAST_WATCHED), 0.0)
