"""How often lines of one order are cancelled together: customers give up an order, not only a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.inputs import as_numbers
from models.line_days import event_shares

PSEUDO_PAIRS = 10.0  # pairs of lines that went their own ways: few observations say independent
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class JointCancellation:
    """Pairs of waiting lines of one order, of which one was cancelled by its customer.

    Parameters
    ----------
    n_pairs : cancelled line and another line of its order that waited that day
    n_together : of those, the other was cancelled the same day
    """

    n_pairs: int
    n_together: int

    @property
    def share(self) -> float:
        """Chance that another waiting line of the order goes the same day, shrunk towards 0.

        >>> JointCancellation(n_pairs=90, n_together=50).share
        0.5
        """
        return self.n_together / (self.n_pairs + PSEUDO_PAIRS)


def joint_cancellation(samples: pd.DataFrame) -> JointCancellation:
    """Count the pairs; each cancelled line asks about every other line of its order that was at risk that day.

    Parameters
    ----------
    samples : stretches with order_id, order_line_id, cutoff_on, at_risk_days, ended_by, cancelled_share
    """
    if "order_id" not in samples:
        return JointCancellation(0, 0)
    at_risk = as_numbers(samples["at_risk_days"])
    is_gone = event_shares(samples) > 0
    first = samples["cutoff_on"].to_numpy().astype("datetime64[D]")
    stretches = pd.DataFrame({
        "order_id": samples["order_id"].to_numpy(dtype=object),
        "line": samples["order_line_id"].to_numpy(dtype=object),
        "first": first,
        # The last day at risk; a stretch that ends with its last day's end is at risk on that day.
        "last": first + (np.maximum(np.ceil(at_risk), is_gone * (np.floor(at_risk) + 1)) - 1).astype(int) * DAY,
        "gone_on": np.where(is_gone, first + np.floor(at_risk).astype(int) * DAY, np.datetime64("NaT")),
    })  # fmt: skip
    stretches = stretches[stretches["order_id"].notna()]
    # By order and day, not by pair: an order of a thousand lines has a million pairs.
    days = stretches.loc[stretches["gone_on"].notna(), ["order_id", "gone_on"]].drop_duplicates()
    waiting = days.rename(columns={"gone_on": "day"}).merge(stretches, on="order_id")
    waiting = waiting[(waiting["first"] <= waiting["day"]) & (waiting["day"] <= waiting["last"])]
    waiting = waiting.assign(is_gone=waiting["gone_on"] == waiting["day"])
    by_day = waiting.groupby(["order_id", "day"]).agg(n_lines=("line", "nunique"), n_gone=("is_gone", "sum"))
    n_gone, n_others = by_day["n_gone"].to_numpy(dtype=np.int64), by_day["n_lines"].to_numpy(dtype=np.int64) - 1
    return JointCancellation(int((n_gone * n_others).sum()), int((n_gone * (n_gone - 1)).sum()))
