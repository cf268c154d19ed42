"""Whether a date told was met, and what is made of lines that nobody can say it of.

    met             shipped in full on the day of the date or before it
    missed          shipped later, still open after it, or called off by the seller
    cancelled       the customer cancelled before the date: whether it would have been met is not known
    beyond the end  the date lies after the last day that the company lived
    no date         nothing was told

Beyond the end counts by the date alone: to keep such a line because it was shipped early would flatter. Customers
cancel while they wait, so lines that would have been late are cancelled more often than others, and the share met among
the rest flatters too. A line that is known weighs 1 / its chance of having been spared by its customer until then
(inverse probability of censoring; Robins & Finkelstein 2000, Biometrics 56, section 3). The simulated company knows
that chance of each line, so nothing is assumed. The result is the share met if customers stay, which is what a date is
told for.

Intervals are 95 % of resamples: companies, and in each of them suppliers with all their products' lines, since a
supplier who stops moves all their dates at once.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.benchmarks.promises_scores import N_RESAMPLES, Resamples

MET, MISSED, CANCELLED, BEYOND, NO_DATE = "met", "missed", "cancelled", "beyond the end", "no date"
OUTCOMES = (MET, MISSED, CANCELLED, BEYOND, NO_DATE)
DAY = pd.Timedelta(days=1)


def outcomes(told: pd.DataFrame, date: str) -> np.ndarray:
    """What became of each line's date, one of `OUTCOMES`; `told` as of `promises_kept_notes.dates_told`.

    A line shipped on the 9th, one cancelled on the 4th, dates the 9th and the 5th:

    >>> on = lambda *days: pd.to_datetime([f"2026-01-{day}" if day else None for day in days])
    >>> told = pd.DataFrame({"told_on": on(9, 5), "shipped_on": on(9, None), "cancelled_on": on(None, 4)})
    >>> outcomes(told.assign(by_customer=[False, True], end_on=pd.Timestamp("2026-02-01")), "told_on").tolist()
    ['met', 'cancelled']
    """
    due = told[date]
    rules = {
        NO_DATE: due.isna(),
        BEYOND: due > told["end_on"],
        MET: told["shipped_on"] <= due,
        CANCELLED: told["by_customer"] & (told["cancelled_on"] < due),
    }
    return np.select([rule.to_numpy(bool) for rule in rules.values()], list(rules), MISSED)


def weights(told: pd.DataFrame, date: str) -> np.ndarray:
    """Weight of each line in the share met: 1 / its chance to be known; 0 where its outcome is not known.

    Goods go before the day's cancellations: a line shipped on a day had to be spared until the day before.
    """
    became = outcomes(told, date)
    known_on = told["shipped_on"].where(became == MET, told[[date, "cancelled_on"]].min(axis=1))
    days = (known_on - told["day"]).dt.days.clip(lower=0).fillna(0).astype(int)
    is_known = np.isin(became, (MET, MISSED))
    rows = zip(told["spared"], days, is_known, strict=True)
    return np.array([1.0 / chance[day] if known else 0.0 for chance, day, known in rows])


def resamples(told: pd.DataFrame) -> Resamples:
    """Companies drawn with replacement, their suppliers with Poisson(1) copies."""
    cluster = (told["company"].astype(str) + "/" + told["supplier_id"].astype(str)).to_numpy()
    draws = Resamples(cluster)
    company = np.unique([name.split("/")[0] for name in np.unique(cluster)], return_inverse=True)[1]
    n = int(company.max()) + 1
    times = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
    draws.copies *= times[:, company]
    return draws


def share_met(told: pd.DataFrame, date: str) -> tuple[float, float, float]:
    """Share of the dates met if customers stay, with its interval; NaN where no date's outcome is known."""
    weight = weights(told, date)
    if not weight.any():
        return float("nan"), float("nan"), float("nan")
    return resamples(told).ratio(weight * (outcomes(told, date) == MET), weight)


def shares(told: pd.DataFrame, date: str) -> dict[str, float]:
    """Counts of `OUTCOMES`, and the share met in every reading.

    if customers stay (weighed); of those known; least and most (all cancelled dates missed, or met); before the day
    (shipped earlier than told, weighed: on a day with many receipts the day of a quantile holds more than its chance).
    """
    became, weight = outcomes(told, date), weights(told, date)
    n = {name: float((became == name).sum()) for name in OUTCOMES}
    known, on_trial = n[MET] + n[MISSED], n[MET] + n[MISSED] + n[CANCELLED]
    early = (became == MET) & (told["shipped_on"] < told[date]).to_numpy()
    return n | {
        "met if customers stay": ratio(weight[became == MET].sum(), weight.sum()),
        "met of those known": ratio(n[MET], known),
        "met at least": ratio(n[MET], on_trial),
        "met at most": ratio(n[MET] + n[CANCELLED], on_trial),
        "before the day": ratio(weight[early].sum(), weight.sum()),
    }


def ratio(top: float, bottom: float) -> float:
    """Top over bottom, NaN of nothing."""
    return top / bottom if bottom else float("nan")


def waits(told: pd.DataFrame) -> np.ndarray:
    """Days from telling to shipping in full; a line still open counts as shipped on the morning after the end.

    NaN where the line was cancelled.
    """
    left_on = told["shipped_on"].fillna((told["end_on"] + DAY).where(told["cancelled_on"].isna()))
    return (left_on - told["day"]).dt.days.to_numpy(float)


def pinball(told: pd.DataFrame, date: str, level: float) -> np.ndarray:
    """Pinball loss of each line's date as the quantile `level`, in days; NaN where there is no date or no wait.

    >>> on = pd.to_datetime(["2026-01-05"])
    >>> told = pd.DataFrame({"day": on, "shipped_on": on + 8 * DAY, "cancelled_on": pd.NaT, "end_on": on + 99 * DAY})
    >>> pinball(told.assign(late=on + 5 * DAY, long=on + 10 * DAY), "late", 0.9).round(3).tolist()
    [2.7]
    """
    gap = waits(told) - (told[date] - told["day"]).dt.days.to_numpy(float)
    return np.asarray(np.maximum(level * gap, (level - 1) * gap))
