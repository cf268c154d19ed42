"""Which of several replayed rules loses less, and how sure that is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.ranking import POOL_IDS
from decisions.replay import Replayed

Floats = npt.NDArray[np.float64]

INTERVAL = (0.025, 0.975)


def saved_against(replayed: Replayed, base: str, seed: int = 0, n_draws: int = 2000) -> pd.DataFrame:
    """One row per other rule: the money it saves against `base` on the same mornings, with a 95 % interval.

    The interval is a bootstrap of pools (percentiles; Efron & Tibshirani 1993, ch. 13). Lines compete within their
    pool, and what a rule passes over today waits on in the same pool tomorrow: days and weeks of one pool hang
    together, pools hardly do. It says how far the figure hangs on the pools that were there, not what another season or
    another yardstick would say; customers and ship groups that stand in several pools make it slightly too narrow, and
    with fewer than some 30 pools it is a rough guide.

    Returns
    -------
    rule, base, saved (money), saved_low, saved_high, saved_share (of the base's loss), n_pools, n_pools_differing,
    is_better and is_worse (the whole interval lies above or below 0).

    Raises
    ------
    ValueError
        If `base` was not replayed.
    """
    lost = replayed.pools.pivot(index=POOL_IDS, columns="rule", values="money_lost").sort_index()
    if base not in lost.columns:
        raise ValueError(f"replay: rule {base!r} was not replayed; the base is one of {', '.join(lost.columns)}")
    others = [name for name in replayed.totals["rule"] if name != base]
    draws = np.random.default_rng(seed).multinomial(len(lost), np.full(len(lost), 1 / len(lost)), n_draws)
    rows = [_verdict(lost[base].to_numpy(np.float64), lost[name].to_numpy(np.float64), draws) for name in others]
    verdicts = pd.DataFrame(rows, columns=["saved", "saved_low", "saved_high", "saved_share", "n_pools_differing"])
    verdicts = verdicts.assign(is_better=verdicts["saved_low"] > 0, is_worse=verdicts["saved_high"] < 0)
    verdicts.insert(0, "rule", others)
    verdicts.insert(1, "base", base)
    verdicts.insert(6, "n_pools", len(lost))
    return verdicts


def _verdict(base: Floats, other: Floats, draws: npt.NDArray[np.int64]) -> tuple[float, float, float, float, int]:
    saved = base - other
    low, high = np.quantile(draws @ saved, INTERVAL)
    share = float(saved.sum() / base.sum()) if base.sum() > 0 else 0.0
    return float(saved.sum()), float(low), float(high), share, int((saved != 0).sum())
