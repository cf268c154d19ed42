"""Lines that wait because they ship only in whole, while goods of their pool lie idle."""

from typing import Any

import numpy as np
import pandas as pd

from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, is_held
from decisions.waiting_goods import idle_units

_OF_LINE = ["ship_group", "credit_hold", "may_split", "quantity_step"]


def whole_lines(queue: pd.DataFrame, lines: pd.DataFrame, currency: str) -> pd.DataFrame:
    """Lines that idle goods would serve in part, if the customer agreed; lines of ship groups apart.

    A pool's idle units, which no line takes today, are dealt once: to the lines that lose most per unit first, in their
    steps.

    Parameters
    ----------
    lines : order_line_id, ship_group, credit_hold, may_split, quantity_step of the queue's lines

    Returns
    -------
    One row per line that would get any: order_line_id, money (the share of loss_if_waits of these units), said, do
    """
    of_line = lines.set_index("order_line_id")[_OF_LINE].reindex(queue["order_line_id"]).set_axis(queue.index)
    table = queue.join(of_line).assign(idle=idle_units(queue))
    is_whole = ~table["may_split"].astype(bool) & table["ship_group"].isna()
    waits = (table["ship_now_quantity"] <= QUANTITY_TOLERANCE) & (table["loss_if_waits"] > 0) & ~is_held(table)
    # A line that would fit waits for another reason: a rule of the site, say.
    does_not_fit = table["open_quantity"] > table["idle"] + QUANTITY_TOLERANCE
    table = table[is_whole & waits & does_not_fit & (table["idle"] > QUANTITY_TOLERANCE)]
    table = table.assign(per_unit=table["loss_if_waits"] / table["open_quantity"])
    table = table.sort_values(["per_unit", "order_line_id"], ascending=[False, True], kind="stable")
    before = table.groupby(POOL_IDS)["open_quantity"].cumsum() - table["open_quantity"]
    units = (table["idle"] - before).clip(lower=0.0).clip(upper=table["open_quantity"])
    units = np.floor(units / table["quantity_step"] + QUANTITY_TOLERANCE) * table["quantity_step"]
    table = table.assign(units=units, money=table["per_unit"] * units)
    table = table[units > QUANTITY_TOLERANCE]
    return pd.DataFrame(
        {
            "order_line_id": table["order_line_id"],
            "money": table["money"],
            "said": [_said(line, currency) for line in table.itertuples()],
            "do": "ask the customer whether it may be split",
        }
    )


def _said(line: Any, currency: str) -> str:
    units, wants = line.units, line.open_quantity
    lie = "1 unit lies" if units == 1 else f"{units:,.10g} units lie"
    return (
        f"{lie} idle while it waits for {wants:,.10g}, as it ships only in whole; sent today they would save"
        f" {line.money:,.2f} {currency}."
    )
