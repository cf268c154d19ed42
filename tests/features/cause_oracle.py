"""Whose doing each cancellation was, read one by one from tables without versions or mapped reasons."""

import pandas as pd

REORDER_DAYS = 7


def causes(now: dict[str, pd.DataFrame]) -> pd.Series:
    """The cause of every cancellation of the tables, in their order."""
    told = now["cancellations"].merge(now["order_lines"], on="order_line_id", how="left", suffixes=("", "_ordered"))
    return pd.Series(
        [_cause(row, told, now) for row in told.itertuples()], index=now["cancellations"].index, dtype=object
    )


def _cause(row, told: pd.DataFrame, now: dict[str, pd.DataFrame]) -> str:
    nothing_said = pd.isna(row.cancelled_by)
    if row.cancelled_by == "seller" or (nothing_said and _is_by_one_hand(row, told, now)):
        return "seller"
    ends = now["products"].set_index("product_id").loc[row.product_id, "discontinued_on"]
    if nothing_said and not pd.isna(ends) and pd.Timestamp(ends) <= row.cancelled_at:
        return "seller"
    return "change" if _is_ordered_again(row, now["order_lines"]) else "customer"


def _is_by_one_hand(row, told: pd.DataFrame, now: dict[str, pd.DataFrame]) -> bool:
    quiet = told[told["cancelled_by"].isna()]
    if quiet.loc[quiet["cancelled_at"] == row.cancelled_at, "customer_id"].nunique() >= 5:
        return True
    today = row.cancelled_at.normalize()
    same = quiet[(quiet["cancelled_at"].dt.normalize() == today) & (quiet["product_id"] == row.product_id)]
    if same["customer_id"].nunique() < 5:
        return False
    lines = now["order_lines"]
    lines = lines[(lines["product_id"] == row.product_id) & (lines["ordered_at"].dt.normalize() <= today)]
    left = lines.set_index("order_line_id")["quantity"]
    for name, time in (("shipments", "shipped_at"), ("cancellations", "cancelled_at")):
        before = now[name][now[name][time].dt.normalize() < today]
        left = left.sub(before.groupby("order_line_id")["quantity"].sum().reindex(left.index).fillna(0.0))
    return same["order_line_id"].nunique() >= (left > 0).sum() / 2


def _is_ordered_again(row, lines: pd.DataFrame) -> bool:
    if pd.isna(row.customer_id):
        return False
    later = lines[(lines["customer_id"] == row.customer_id) & (lines["product_id"] == row.product_id)]
    later = later[(later["ordered_at"] > row.ordered_at) & (later["order_line_id"] != row.order_line_id)]
    days = (later["ordered_at"].dt.normalize() - row.cancelled_at.normalize()).dt.days
    return bool(days.between(0, REORDER_DAYS).any())
