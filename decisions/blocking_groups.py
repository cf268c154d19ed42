"""Ship groups that wait although goods lie ready for some of their lines, and what they lack."""

from typing import Any

import pandas as pd

from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, is_held
from decisions.waiting_goods import idle_units

_OF_LINE = ["ship_group", "group_waits_elsewhere", "credit_hold"]


def blocking_groups(queue: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Groups that wait with goods lying idle for them, for goods of one pool alone, or for a line that may not ship.

    Idle are goods that no line takes today; a group lacks what its lines want of a pool beyond these.

    Parameters
    ----------
    lines : order_line_id, ship_group, group_waits_elsewhere, credit_hold of the queue's lines

    Returns
    -------
    One row per group: ship_group, product_id and warehouse_id (of the one pool that it lacks goods of, else null),
    money, said, do
    """
    tied = _tied(queue, lines)
    if tied.empty:
        return pd.DataFrame()
    pools = _by_pool(tied)
    blocked = _blocked(tied, pools)
    of_group = {str(name): rows for name, rows in pools[pools.index.isin(blocked)].groupby(level=0)}
    found = tied[tied["ship_group"].isin(blocked)].groupby("ship_group", sort=True)
    return pd.DataFrame([_row(str(name), group, of_group[str(name)]) for name, group in found])


def _tied(queue: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Lines of groups that do not leave today, with the goods of their pool that nobody takes."""
    of_line = lines.set_index("order_line_id")[_OF_LINE].reindex(queue["order_line_id"]).set_axis(queue.index)
    table = queue.join(of_line).assign(idle=idle_units(queue))
    table = table[table["ship_group"].notna()]
    table = table.assign(is_held=is_held(table), waits=table["ship_now_quantity"] <= QUANTITY_TOLERANCE)
    return table[table.groupby("ship_group")["waits"].transform("any")]


def _by_pool(tied: pd.DataFrame) -> pd.DataFrame:
    """Per group and pool what its lines want, what of it lies idle, and what is missing; indexed by group."""
    waiting = tied[tied["waits"]]
    pools = waiting.groupby(["ship_group", *POOL_IDS], sort=True).agg(
        wanted=("open_quantity", "sum"), idle=("idle", "first"), comes_on=("next_inbound_on", "min")
    )
    pools["idle"] = pools[["idle", "wanted"]].min(axis=1)
    pools["missing"] = pools["wanted"] - pools["idle"]
    return pools.reset_index(POOL_IDS)


def _blocked(tied: pd.DataFrame, pools: pd.DataFrame) -> pd.Index:
    """Names of the groups that are to be listed."""
    groups = tied.groupby("ship_group").agg(
        n_lines=("is_held", "size"),
        n_held=("is_held", "sum"),
        waits_elsewhere=("group_waits_elsewhere", "any"),
    )
    n_lacking = (pools["missing"] > QUANTITY_TOLERANCE).groupby(level=0).sum()
    has_idle = (pools["idle"] > QUANTITY_TOLERANCE).groupby(level=0).any()
    is_stopped = (groups["n_held"] > 0) | groups["waits_elsewhere"]
    lacks_one = (n_lacking == 1) & (groups["n_lines"] > 1)
    return groups.index[(groups["n_held"] < groups["n_lines"]) & (has_idle | is_stopped | lacks_one)]


def _row(name: str, group: pd.DataFrame, pools: pd.DataFrame) -> dict[str, object]:
    lacking = pools[pools["missing"] > QUANTITY_TOLERANCE]
    idle = float(pools["idle"].sum())
    causes = [_missing(pool) for pool in lacking.itertuples()] + _stopped(group)
    ready = f"; {idle:,.10g} {'unit lies' if idle == 1 else 'units lie'} idle for it" if idle else ""
    only = lacking.iloc[0] if len(lacking) == 1 else None
    return {
        "ship_group": name,
        "product_id": None if only is None else only["product_id"],
        "warehouse_id": None if only is None else only["warehouse_id"],
        "money": float(group.loc[group["waits"], "loss_if_waits"].sum()),
        "said": f"{len(group)} line{'' if len(group) == 1 else 's'} of this ship group wait{'s' * (len(group) == 1)}"
        f" for {' and '.join(causes) or 'a rule of the site'}{ready}.",
        "do": _do(lacking, group),
    }


def _missing(pool: Any) -> str:
    comes = pool.comes_on
    when = f", expected on {comes:%Y-%m-%d}" if pd.notna(comes) else ", of which none is expected"
    missing, product = pool.missing, pool.product_id
    return f"{missing:,.10g} more of {product} in {pool.warehouse_id}{when}"


def _stopped(group: pd.DataFrame) -> list[str]:
    """What else keeps the group, goods apart."""
    held = group.loc[group["is_held"], "order_line_id"]
    causes = [f"{', '.join(held[:3])}{' and others' if len(held) > 3 else ''}, which may not ship"] if len(held) else []
    if group["group_waits_elsewhere"].any():
        causes.append("a line of it that is not due yet or was set aside")
    return causes


def _do(lacking: pd.DataFrame, group: pd.DataFrame) -> str:
    if group["is_held"].any():
        return "lift the hold, or take the held line out of the group"
    if group["group_waits_elsewhere"].any():
        return "take that line out of the group, or wait for it"
    return (
        "hasten the missing goods, or part the group" if len(lacking) else "see the reasons of its lines in the queue"
    )
