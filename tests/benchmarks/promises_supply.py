"""Suppliers flagged as stopped, and goods that nobody had ordered yet: the rest of what is foreseen of supply.

Flags are asked for every seventh morning. A stop counts if it begins and ends within those mornings; it is found if its
supplier is flagged while it lasts. A flag counts as false on a morning that lies in no stop, nor in the week after one,
in which goods are still on their way. Intervals are binomial (Clopper & Pearson 1934).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models.arrival_report import as_told_on
from models.disruption import disrupted
from models.reorder_report import fresh_metrics
from tests.benchmarks.promises_scores import binomial
from tests.figures import Figure

EVERY_DAYS = 7
STILL_ON_THE_WAY_DAYS = 7


def flags(inbound_dates: pd.DataFrame, mornings: pd.DatetimeIndex) -> pd.DataFrame:
    """One row per supplier flagged and morning: supplier_id, day."""
    found = []
    for day in mornings:
        rows = disrupted(as_told_on(inbound_dates, day), day)
        found.append(rows.loc[rows["is_disrupted"], ["supplier_id"]].assign(day=day))
    return pd.concat(found, ignore_index=True)


def stops_found(flagged: pd.DataFrame, stops: pd.DataFrame) -> np.ndarray:
    """Days from the start of each stop to the first flag while it lasts, NaN without one.

    >>> on = pd.to_datetime(["2024-01-01", "2024-02-01", "2024-01-15", "2024-03-01"])
    >>> stop = pd.DataFrame({"supplier_id": ["s", "t"], "starts_on": on[0], "ends_on": on[1]})
    >>> stops_found(pd.DataFrame({"supplier_id": ["s", "s", "t"], "day": on[[2, 1, 3]]}), stop).tolist()
    [14.0, nan]
    """
    each = stops.reset_index(names="stop").merge(flagged, on="supplier_id")
    during = each[(each["starts_on"] <= each["day"]) & (each["day"] < each["ends_on"])]
    days = (during["day"] - during["starts_on"]).dt.days.groupby(during["stop"]).min()
    return days.reindex(range(len(stops))).to_numpy(dtype=float)


def is_false(flagged: pd.DataFrame, stops: pd.DataFrame) -> np.ndarray:
    """Whether each flag lies in no stop of its supplier, nor in the week after one."""
    each = flagged.reset_index(names="flag").merge(stops, on="supplier_id")
    until = each["ends_on"] + pd.Timedelta(days=STILL_ON_THE_WAY_DAYS)
    right = each.loc[(each["starts_on"] <= each["day"]) & (each["day"] <= until), "flag"]
    return ~np.isin(np.arange(len(flagged)), right)


def supply(
    title: str, inbound_dates: pd.DataFrame, stops: pd.DataFrame | None, first: pd.Timestamp
) -> Iterator[Figure]:
    """Rows of one book, from what is known on its last day of judging; what there was none of gives none.

    Parameters
    ----------
    stops : spells without deliveries, where they are known
    first : flags are asked for from here on
    """
    last = inbound_dates["told_on"].max() + pd.Timedelta(days=1)
    if stops is not None:
        yield from _stops(title, inbound_dates, stops, pd.date_range(first, last, freq=f"{EVERY_DAYS}D"))
    fresh = fresh_metrics(inbound_dates, last)
    if not fresh:
        return
    saved = (fresh["fresh_saved_share"], fresh["fresh_saved_share_low"], fresh["fresh_saved_share_high"])
    peer = {"peer": "as if ordered today", "peer_value": fresh["fresh_pinball_days_as_if_ordered_today"]}
    text = f"{title}: goods not ordered yet, pinball, days ({fresh['n_fresh_pools']:.0f} pools)"
    yield Figure(text, fresh["fresh_pinball_days"], better="lower", **peer)
    yield Figure(f"{title}: ... saved of the peer's", *saved, peer=peer["peer"])
    came = {"peer": "foreseen", "peer_value": fresh["fresh_came_share_expected"]}
    yield Figure(f"{title}: ... share that came within 120 days", fresh["fresh_came_share"], **came)


def _stops(
    title: str, inbound_dates: pd.DataFrame, stops: pd.DataFrame, mornings: pd.DatetimeIndex
) -> Iterator[Figure]:
    within = stops[(stops["starts_on"] >= mornings[0]) & (stops["ends_on"] <= mornings[-1])].reset_index(drop=True)
    flagged = flags(inbound_dates, mornings)
    days = stops_found(flagged, within)
    found = int(np.isfinite(days).sum())
    if len(days):
        share = (found / len(days), *binomial(found, len(days)))
        yield Figure(f"{title}: of {len(days)} stops, flagged while they last", *share)
    if found:
        text = f"{title}: days from the start of a stop to its flag, median"
        yield Figure(text, float(np.nanmedian(days)), better="lower")
    if len(flagged):
        wrong = is_false(flagged, stops)
        share = (float(wrong.mean()), *binomial(int(wrong.sum()), len(wrong)))
        yield Figure(f"{title}: of {len(wrong)} flags of a supplier on a morning, false", *share, better="lower")
