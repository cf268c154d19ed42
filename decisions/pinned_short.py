"""Which pinned lines get less than the pin asks, and what keeps them from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import is_held
from decisions.ship_groups import ships_whole, split_groups
from decisions.wishes import pinned_quantity
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def pins_short(lines: pd.DataFrame, goods: pd.DataFrame) -> pd.DataFrame:
    """Pinned lines that get less than their pin asks.

    Parameters
    ----------
    lines : open lines with override, override_quantity and ship_now_quantity
    goods : product_id, warehouse_id, available_now

    Returns
    -------
    One row per such line:
        line : its row
        asked : units the pin asks for: its quantity in whole steps, or all that the line wants
        why : what keeps it from them

    Two units are here, the pin asks for three:

    >>> lines = pd.DataFrame({"order_line_id": ["A"], "product_id": "p", "warehouse_id": "w", "ship_group": None,
    ...     "group_waits_elsewhere": False, "open_quantity": 5.0, "quantity_step": 1.0, "may_split": True,
    ...     "credit_hold": False, "override": "pin", "override_quantity": 3.0, "ship_now_quantity": 2.0})
    >>> goods = pd.DataFrame({"product_id": ["p"], "warehouse_id": "w", "available_now": 2.0})
    >>> pins_short(lines, goods)["why"].tolist()
    ['2 of the 3 units that it asks for are here']
    """
    pinned = (lines["override"] == "pin").fillna(False).to_numpy(np.bool_)
    is_whole, given = ships_whole(lines), lines["ship_now_quantity"].to_numpy(np.float64)
    asked = np.where(pinned, pinned_quantity(lines, is_whole), 0.0)
    below_a_step = pinned & (asked <= QUANTITY_TOLERANCE)
    rows = np.flatnonzero(pinned & ((given < asked - QUANTITY_TOLERANCE) | below_a_step))
    here = goods["available_now"].to_numpy(np.float64)[places_in(goods, lines)]
    concerned = lines.iloc[rows].assign(
        asked=asked[rows],
        here=here[rows],
        is_whole=is_whole[rows],
        is_split=split_groups(lines, is_held(lines))[rows],
    )
    why = pd.Series([_why(line) for line in concerned.to_dict("records")], index=range(len(rows)), dtype="str")
    return pd.DataFrame({"line": rows, "asked": asked[rows], "why": why})


def _why(line: Mapping[Any, Any]) -> str:
    """Say what keeps a pinned line from the units that the pin asks for: the first that applies."""
    asked, here, is_tied = line["asked"], line["here"], isinstance(line["ship_group"], str)
    cases = (
        (line["credit_hold"], "the customer is on credit hold, which a pin does not lift"),
        (is_tied and line["group_waits_elsewhere"], "a line that must ship with it is open and not in the queue"),
        (line["is_split"], "a line that must ship with it may have no goods"),
        (asked <= QUANTITY_TOLERANCE, f"it ships in steps of {line['quantity_step']:g} units, and fewer are asked for"),
        (here <= QUANTITY_TOLERANCE, "no goods are here"),
        (is_tied, "its ship group does not fit into the goods of all its pools"),
        (
            line["is_whole"] and here < asked - QUANTITY_TOLERANCE,
            f"it ships only in whole, and {here:g} of the {asked:g} units are here",
        ),
        (here < asked - QUANTITY_TOLERANCE, f"{here:g} of the {asked:g} units that it asks for are here"),
    )
    return next((said for applies, said in cases if applies), "other pins of its product go first")
