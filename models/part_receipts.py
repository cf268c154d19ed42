"""How much of what an inbound line owes comes at once: all of it, or a part with the rest following."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.inputs import as_numbers

LONGEST_GAP_DAYS = 90
PSEUDO_RECEIPTS = 1.0  # in whole: with none seen nothing is taken as coming in parts


@dataclass(frozen=True)
class PartReceipts:
    """What the next receipt of an inbound line brings.

    Parameters
    ----------
    whole_share : chance that it brings all that is owed
    part_share : mean share of what is owed that a part brings, above 0 and below 1
    gap_days : mean days from a part to the next goods of the line
    """

    whole_share: float = 1.0
    part_share: float = 0.5
    gap_days: float = 0.0


def learn_parts(inbound_dates: pd.DataFrame, today: pd.Timestamp) -> PartReceipts:
    """Count past receipts of all lines together; a part whose rest has not come by `today` counts as still waiting.

    The mean gap is days waited / rests that came (exponential, censored).

    Parameters
    ----------
    inbound_dates : the feature table of that name
    """
    columns = ["po_line_id", "received_on", "part_quantity", "quantity"]
    came = inbound_dates.loc[inbound_dates["received_on"] < today, columns]
    came = came.sort_values(["po_line_id", "received_on", "part_quantity"], kind="stable")
    lines = came["po_line_id"]
    brought = as_numbers(came["part_quantity"])
    so_far = came.assign(brought=brought).groupby("po_line_id")["brought"].cumsum().to_numpy()
    owed = as_numbers(came["quantity"]) - (so_far - brought)
    counts = owed > 0
    is_part = counts & (brought < owed * (1 - 1e-9))
    if not is_part.any():
        return PartReceipts()
    has_next = (lines == lines.shift(-1)).to_numpy()
    until = came["received_on"].shift(-1).where(has_next, today)
    # A rest that nobody waits for any longer is not long on its way.
    waited = (until - came["received_on"]).dt.days.clip(upper=LONGEST_GAP_DAYS).to_numpy()[is_part].sum()
    return PartReceipts(
        whole_share=float((counts.sum() - is_part.sum() + PSEUDO_RECEIPTS) / (counts.sum() + PSEUDO_RECEIPTS)),
        part_share=float(np.mean(brought[is_part] / owed[is_part])),
        gap_days=float(waited / max(has_next[is_part].sum(), 1)),
    )
