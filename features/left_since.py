"""What left the order lines between two moments: goods, and quantities that are wanted no more."""

from datetime import datetime

import pandas as pd

from erp.known import Facts
from features.feature_tables import build, fetch

_COUNTED = ["shipped_quantity", "withdrawn_quantity", "received_quantity"]


def left_since(facts: Facts, since: datetime) -> pd.DataFrame:
    """What the facts know at their T and did not at `since`, whenever it happened.

    What was picked at a past moment is not known where reservations carry no versions: only what was shipped counts.

    Returns
    -------
    One row per order line of which anything changed: order_line_id, product_id, warehouse_id, shipped_quantity,
    withdrawn_quantity (cancelled, fallen or vanished) and received_quantity (inbound for this line alone), each by how
    much it changed, which may be below 0 where a later version corrects; last_left_at: the start of the day where
    shipments carry no times, null if nothing was shipped.
    """
    with facts.connect() as connection:
        before, after = (build(connection, facts, moment, "left_goods") for moment in (since, facts.as_of))
    return _difference(before, after)


def left_between(morning: Facts, evening: Facts) -> pd.DataFrame:
    """The same from the facts of two runs; goods that lie picked and packed for a line count as shipped to it."""
    tables = []
    for facts in (morning, evening):
        with facts.connect() as connection:
            table = build(connection, facts, facts.as_of, "left_goods")
        tables.append(table.assign(shipped_quantity=table["shipped_quantity"] + table["picked_quantity"]))
    return _difference(*tables)


def on_the_shelf(facts: Facts) -> pd.DataFrame:
    """Goods in every pool by the law of stock, as of the facts' T: product_id, warehouse_id, available_now."""
    with facts.connect() as connection:
        return fetch(connection, "select product_id, warehouse_id, available_now from known_pools order by all")


def lines_not_told(facts: Facts, lines: pd.DataFrame) -> list[str]:
    """Ids of those lines (order_line_id, product_id, ordered_at) that the facts do not know as they are; sorted."""
    with facts.connect() as connection:
        told = fetch(connection, "select order_line_id, product_id, ordered_at from known_order_lines")
    asked = pd.MultiIndex.from_frame(lines[told.columns.tolist()])
    return sorted(lines.loc[~asked.isin(pd.MultiIndex.from_frame(told)), "order_line_id"])


def words_said(facts: Facts) -> pd.DataFrame:
    """Every planner's word known at the facts' T, those taken back too: lifted_at, null while it stands."""
    with facts.connect() as connection:
        return fetch(connection, "select * from known_words_said order by all")


def shipments_carry_days_only(facts: Facts) -> bool:
    """Whether shipments say their day and no time: those of a day are then known only once it has ended."""
    with facts.connect() as connection:
        found = connection.execute("select count(*) from known_shipments where is_day_only").fetchall()
    return bool(found[0][0])


def _difference(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    lines = [frame.set_index("order_line_id") for frame in (after, before)]
    there = lines[0].index.union(lines[1].index, sort=True)
    change = lines[0].reindex(there).combine_first(lines[1])[["product_id", "warehouse_id", "last_left_at"]]
    for name in _COUNTED:
        later, earlier = (of_lines[name].reindex(there).fillna(0.0) for of_lines in lines)
        change[name] = later - earlier
    changed = change[(change[_COUNTED] != 0).any(axis=1)].rename_axis("order_line_id").reset_index()
    return changed[["order_line_id", "product_id", "warehouse_id", *_COUNTED, "last_left_at"]]
