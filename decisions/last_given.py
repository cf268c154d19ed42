"""What the last queue gave each line and has not left since."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.ranking import POOL_IDS

Floats = npt.NDArray[np.float64]


def last_given(lines: pd.DataFrame, previous: pd.DataFrame | None, withdrawn: Floats | float = 0.0) -> pd.Series:
    """Units that the last queue gave each line and that have not left since; NaN where it did not stand in it.

    A line of another product or warehouse than then has nothing left of its plan.

    Parameters
    ----------
    lines : open lines, or a queue, with order_line_id, product_id, warehouse_id, open_quantity
    previous : the last queue in its published columns; None without one
    withdrawn : as in `not_left`

    >>> then = pd.DataFrame({"order_line_id": ["a", "b"], "product_id": "p", "warehouse_id": "w",
    ...     "open_quantity": [5.0, 2.0], "ship_now_quantity": [4.0, 0.0]})
    >>> last_given(then.assign(open_quantity=[2.0, 2.0]), then).tolist()
    [1.0, 0.0]
    """
    if previous is None:
        return pd.Series(np.nan, index=lines.index, name="last_given_quantity")
    columns = [*POOL_IDS, "open_quantity", "ship_now_quantity"]
    before = previous.set_index("order_line_id")[columns].reindex(lines["order_line_id"]).set_axis(lines.index)
    units = not_left(before, lines["open_quantity"], withdrawn)
    is_here = (before[POOL_IDS].astype("str") == lines[POOL_IDS].astype("str")).all(axis=1)
    return units.where(is_here | units.isna(), 0.0).rename("last_given_quantity")


def not_left(before: pd.DataFrame, open_now: pd.Series, withdrawn: Floats | float = 0.0) -> pd.Series:
    """Units given then that are still to ship: goods that an open quantity which fell stands for have left.

    Parameters
    ----------
    before : open_quantity and ship_now_quantity of a queue
    open_now : units open now, indexed like it
    withdrawn : units cancelled since, which are no goods: the gift stays as far as it fits into what is open; 0 where
        nobody knows why an open quantity fell
    """
    left = (before["open_quantity"] - open_now - withdrawn).clip(lower=0.0)
    return (before["ship_now_quantity"] - left).clip(lower=0.0).clip(upper=open_now)
