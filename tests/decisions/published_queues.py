"""Published queues for the tests of what is made of them: every column with a plain default."""

from typing import Any

import numpy as np
import pandas as pd

from decisions.day_units import Day
from decisions.queue_columns import QUEUE_COLUMNS, in_published_form
from tests.decisions.open_lines import NO_DAY, TODAY

USUAL: dict[str, Any] = {
    "product_id": "p",
    "warehouse_id": "w",
    "pool_size": 1,
    "ordered_at": np.datetime64("2026-01-05T10:00:00", "us"),
    "waited_days": 10,
    "open_quantity": 10.0,
    "available_now": 0.0,
    "ship_now_quantity": 0.0,
    "action": "wait",
    "advice": "none",
    "loss_if_waits": 40.0,
    "currency": "EUR",
    "reason": "Waits about 10 days: 40.00 EUR expected loss; no goods are here.",
    "run_id": "r1",
    "as_of": pd.Timestamp("2026-01-15 05:00"),
}
EMPTY = {"str": None, "float64": np.nan, "Int64": pd.NA, "datetime64[s]": NO_DAY, "int64": 0}


def published_queue(n_lines: int, **columns: Any) -> pd.DataFrame:
    """Lines L0, L1, ... of 10 units that wait, in rank order; `columns` replace the defaults."""
    ids, places = [f"L{i}" for i in range(n_lines)], range(1, n_lines + 1)
    own = {"order_line_id": ids, "order_id": ids, "rank": places, "pool_rank": places}
    values = {column.name: EMPTY.get(column.dtype) for column in QUEUE_COLUMNS} | USUAL | own | columns
    return in_published_form(pd.DataFrame(values, index=range(n_lines)))


def the_day_before(queue: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """The same queue as it was published a day earlier, but for these columns."""
    return queue.assign(as_of=queue["as_of"] - pd.Timedelta(days=1), run_id="r0", **columns)


def left(**lines: tuple[float, float]) -> pd.DataFrame:
    """Goods of product p in w that left: shipped and withdrawn quantities by order_line_id."""
    moved = np.array(list(lines.values()), dtype=float).reshape(-1, 2)
    return pd.DataFrame(
        {
            "order_line_id": pd.Series(list(lines), dtype="str"),
            "product_id": "p",
            "warehouse_id": "w",
            "shipped_quantity": moved[:, 0],
            "withdrawn_quantity": moved[:, 1],
            "received_quantity": 0.0,
            "last_left_at": pd.Series(pd.NaT, index=range(len(moved)), dtype="datetime64[us]"),
        }
    )


def day_of(queue: pd.DataFrame, moved: pd.DataFrame, shelf: float = 0.0, **turns: Any) -> Day:
    """The day of a queue of product p in w, whose lines may be split and get later goods by rank, but for `turns`."""
    usual = {"turn": queue["rank"], "most": np.inf, "is_whole": False, "quantity_step": 1.0, "is_judged": True}
    told = pd.DataFrame({"order_line_id": queue["order_line_id"]} | usual | turns)
    return Day(moved, pd.DataFrame({"product_id": ["p"], "warehouse_id": "w", "available_now": shelf}), told)


def day(number: int) -> Any:
    """The day this many days after that of the queue."""
    return TODAY + np.timedelta64(number, "D")
