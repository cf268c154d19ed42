"""Two queues compared: which lines gained or lost goods or moved, and which cause did it, one changed at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.last_given import not_left
from decisions.pool_programme import QUANTITY_TOLERANCE

Floats = npt.NDArray[np.float64]

IDS = ["order_line_id", "order_id", "customer_id", "customer_name", "product_id", "warehouse_id"]
FIGURES = ("rank", "open_quantity", "ship_now_quantity", "loss_if_waits")
CHANGES = ("lost goods", "gained goods", "gone", "new", "moved")
FACTS = "facts"


@dataclass(frozen=True, eq=False)
class Step:
    """The queue once one cause more is as in the second run; all causes after it are still as in the first.

    Parameters
    ----------
    lost : money that all lines are expected to lose, the best plan of later goods made (the manifest's plan.lost)
    """

    cause: str
    queue: pd.DataFrame
    lost: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two queues.

    Parameters
    ----------
    lines : one row per line that differs, see `compared`
    causes : one row per cause and one for both ends, see `compared`
    """

    lines: pd.DataFrame
    causes: pd.DataFrame


def compared(before: Step, steps: Sequence[Step]) -> Comparison:
    """Say which lines differ between a queue and the last step's, and what each cause did to them and to the money.

    What a cause did is the difference that its step makes: the parts add up to the whole, and a cause that works only
    together with a later one shows in the later one.

    Parameters
    ----------
    before : the first queue, in published columns, whatever its cause
    steps : of the causes that differ, in the order in which they are changed; the last one's queue is the second queue

    Returns
    -------
    lines : one row per line that gained or lost goods, came, went or changed its rank, the most money first within
        each kind of change (CHANGES):
            order_line_id, order_id, customer_id, customer_name, product_id, warehouse_id
            change : lost goods, gained goods (of lines in both), gone, new, moved (another rank only)
            money : loss_if_waits per unit x units lost or gained (lines in both or new: in the second queue)
            rank_before, rank_after, open_quantity_*, ship_now_quantity_*, loss_if_waits_* ; null where the line is not
            units_by_CAUSE : units that each cause gave or took, beside what left by the first queue's plan
            cause : the causes that gave or took goods, the largest first; else those that moved the rank
    causes : one row per cause in order, then "all":
            n_gained, n_lost, n_new, n_gone, n_moved : lines
            units_moved : units that lines got more, summed
            lost : money expected to be lost by all lines, now and later, after less before

    One unit goes from a to b because the policy differs:

    >>> queue = pd.DataFrame({"order_line_id": ["a", "b"], "order_id": "o", "customer_id": "c", "customer_name": None,
    ...     "product_id": "p", "warehouse_id": "w", "rank": [1, 2], "open_quantity": 1.0,
    ...     "ship_now_quantity": [1.0, 0.0], "loss_if_waits": [9.0, 8.0]})
    >>> other = queue.assign(ship_now_quantity=[0.0, 1.0], loss_if_waits=[9.0, 11.0], rank=[2, 1])
    >>> both = compared(Step("", queue, 8.0), [Step("policy", other, 9.0)])
    >>> both.lines[["order_line_id", "change", "money", "cause"]].to_numpy().tolist()
    [['a', 'lost goods', 9.0, 'policy'], ['b', 'gained goods', 11.0, 'policy']]
    >>> both.causes[["cause", "n_lost", "n_gained", "lost"]].to_numpy().tolist()
    [['policy', 1, 1, 1.0], ['all', 1, 1, 1.0]]
    """
    path = [before, *steps]
    queues = [step.queue for step in path]
    ids = pd.Index(sorted(set().union(*(queue["order_line_id"] for queue in queues))), name="order_line_id")
    rows = [queue.set_index("order_line_id").reindex(ids) for queue in queues]
    causes = [step.cause for step in steps]
    each = [_differences(*pair, _units(*pair)) for pair in zip(rows, rows[1:], strict=False)]
    ends = _differences(rows[0], rows[-1], np.sum([one["units"].to_numpy(np.float64) for one in each], axis=0))
    table = _named(rows[0], rows[-1]).assign(change=ends["change"], money=_money(rows[0], rows[-1], ends))
    for end, frame in (("before", rows[0]), ("after", rows[-1])):
        table = table.assign(**{f"{name}_{end}": frame[name] for name in FIGURES})
    table = table.assign(**{f"units_by_{cause}": one["units"] for cause, one in zip(causes, each, strict=True)})
    table = table.assign(cause=_causes(causes, each, ends))
    lost = [after.lost - step.lost for step, after in zip(path, steps, strict=False)]
    named = zip([*causes, "all"], [*each, ends], [*lost, steps[-1].lost - before.lost], strict=True)
    totals = [_total(*of_cause) for of_cause in named]
    return Comparison(_sorted(table[table["change"].notna()]), pd.DataFrame(totals))


def _units(before: pd.DataFrame, after: pd.DataFrame) -> Floats:
    """Units that lines get more (less: negative) than the first queue's plan has left for them; (n_lines,).

    An open quantity that fell is taken as goods that left by that plan: a line that was shipped, or is gone, lost none.
    """
    planned = not_left(before, after["open_quantity"].fillna(0.0)).fillna(0.0)
    return (after["ship_now_quantity"].fillna(0.0) - planned).to_numpy(np.float64)


def _differences(before: pd.DataFrame, after: pd.DataFrame, units: Floats) -> pd.DataFrame:
    """What differs per line: change, units, places (rank gained)."""
    was, is_now = before["rank"].notna().to_numpy(), after["rank"].notna().to_numpy()
    both = was & is_now
    moved = both & (before["rank"] != after["rank"]).to_numpy()
    conditions = [both & (units < -QUANTITY_TOLERANCE), both & (units > QUANTITY_TOLERANCE), was & ~is_now]
    change = np.select([*conditions, is_now & ~was, moved], list(CHANGES), default="")
    return pd.DataFrame(
        {
            "change": pd.Series(change, index=before.index, dtype="str").where(change != ""),
            "units": units,
            "places": np.where(both, (before["rank"] - after["rank"]).to_numpy(np.float64, na_value=np.nan), np.nan),
        },
        index=before.index,
    )


def _named(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Ids and names, of the second queue where the line is in it."""
    names = [name for name in IDS if name != "order_line_id"]
    return after[names].where(after["rank"].notna(), before[names])


def _money(before: pd.DataFrame, after: pd.DataFrame, ends: pd.DataFrame) -> pd.Series:
    """What the units gained or lost are worth; of lines that only moved or are gone, what the line loses by waiting."""
    there = after["loss_if_waits"].where(after["rank"].notna(), before["loss_if_waits"])
    wanted = after["open_quantity"].where(after["rank"].notna(), before["open_quantity"])
    has_goods = ends["change"].isin(["lost goods", "gained goods"])
    return (there * (ends["units"].abs() / wanted)).where(has_goods, there)


def _causes(causes: Sequence[str], each: Sequence[pd.DataFrame], ends: pd.DataFrame) -> pd.Series:
    """Causes that gave or took the line's goods, the largest first; of lines without, those that changed its place."""
    units = np.abs(np.column_stack([one["units"].to_numpy(np.float64) for one in each]))
    places = np.abs(np.nan_to_num(np.column_stack([one["places"].to_numpy(np.float64) for one in each])))
    came_or_went = np.column_stack([one["change"].isin(["new", "gone"]).to_numpy() for one in each])
    by_units = ends["change"].isin(["lost goods", "gained goods"]).to_numpy()
    size = np.where(by_units[:, None], np.where(units > QUANTITY_TOLERANCE, units, 0.0), places)
    # A line comes or goes by one cause: what others did to its place before or after is not why it is there.
    size = np.where(ends["change"].isin(["new", "gone"]).to_numpy()[:, None], came_or_went.astype(np.float64), size)
    order = np.argsort(-size, axis=1, kind="stable")
    words = ["; ".join(causes[at] for at in row if sizes[at] > 0) for row, sizes in zip(order, size, strict=True)]
    return pd.Series(words, index=ends.index, dtype="str")


def _total(cause: str, one: pd.DataFrame, lost: float) -> dict[str, object]:
    counts = one["change"].value_counts()
    return {
        "cause": cause,
        "n_gained": int(counts.get("gained goods", 0)),
        "n_lost": int(counts.get("lost goods", 0)),
        "n_new": int(counts.get("new", 0)),
        "n_gone": int(counts.get("gone", 0)),
        "n_moved": int(counts.get("moved", 0)),
        "units_moved": float(one["units"].clip(lower=0).sum()),
        "lost": lost,
    }


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    place = table["change"].map({change: at for at, change in enumerate(CHANGES)})
    order = np.lexsort((table.index.to_numpy(dtype=object).astype(str), -table["money"].to_numpy(np.float64), place))
    return table.iloc[order].reset_index()
