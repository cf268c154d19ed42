"""Words of planners for the tests of decisions."""

import numpy as np
import pandas as pd

from decisions.overrides import SCOPES
from tests.decisions.open_lines import TODAY

SAID = {
    **dict.fromkeys(SCOPES),
    "action": "pin",
    "quantity": np.nan,
    "who": "Ada",
    "why": "fair",
    "made_at": pd.Timestamp("2026-01-10 09:00"),
    "until_on": pd.Timestamp("2026-01-31"),
}


def words_said(*words: dict[str, object]) -> pd.DataFrame:
    """Words as the features hand them over: each a dict of what differs from SAID."""
    frame = pd.DataFrame([SAID | word for word in words], columns=list(SAID))
    texts = dict.fromkeys([*SCOPES, "action", "who", "why"], "str")
    frame = frame.astype(texts | {"quantity": "float64", "made_at": "datetime64[us]", "until_on": "datetime64[s]"})
    return frame.assign(holds_today=frame["until_on"] >= pd.Timestamp(TODAY))
