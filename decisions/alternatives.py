"""Lines that wait although goods lie elsewhere: transfers from other warehouses, and substitutes in their own.

What SAP calls alternative-based confirmation, by money: moving goods saves what the line loses by waiting beyond the
day on which they can be here, less the cost of the move; a substitute saves all that it loses by waiting if the
customer takes it, less the margin that it earns less. It is advice: what ships today, the ranks and W stay as they are.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.alternative_programme import Choice, best_choice
from decisions.alternative_ways import Ways
from decisions.cost_of_waiting import served_after, terms_of
from decisions.customer_loss import Ties
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, is_held
from decisions.ship_groups import ships_whole
from decisions.spare_goods import spare_goods
from decisions.transfers import routes
from decisions.waiting_goods import waiting_units
from models.arrival import InboundForecast, places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TRANSFER, SUBSTITUTE = "transfer", "substitute"
LEAST_SHOWN = 0.005  # money: less than that reads as 0.00


class Advised(NamedTuple):
    """What is advised for one line, as `Alternatives` describes it."""

    advice: str
    from_product_id: str
    from_warehouse_id: str
    units: float
    days: float
    saved: float
    cost: float
    gain: float


COLUMNS = Advised._fields


@dataclass(frozen=True, eq=False)
class Alternatives:
    """What should be moved or offered instead, and how far that is from the best choice at most.

    Parameters
    ----------
    advice : indexed like the lines: advice (transfer, substitute or null), from_product_id and from_warehouse_id (null
        without advice), units, days (until they are here), saved (money lost less by waiting), cost (of moving them, or
        margin given up), gain (saved - cost); NaN without advice
    choice : value and bound of all advice together (money), and how many problems it is made of and are proven
    """

    advice: pd.DataFrame
    choice: Choice

    @property
    def facts(self) -> dict[str, float]:
        """Lines advised, what that gains (money), what no choice can exceed, and how much of it is proven."""
        choice, n_lines = self.choice, int(self.advice["advice"].notna().sum())
        found = {"n_lines": n_lines, "gain": choice.value, "bound": choice.bound, "gap": choice.bound - choice.value}
        return found | {"n_problems": choice.n_problems, "n_proven": choice.n_proven}


@dataclass(frozen=True, eq=False)
class Waits:
    """What waiting is made of, in the order of the lines.

    Parameters
    ----------
    survival : (n_lines, n_days + 1), chance still wanted u days on if nobody ships it
    future_share : (n_lines,), part of its customer's loss that each line carries [f]
    joint_cancel_share : chance that lines of one order are cancelled together [rho]
    """

    survival: Floats
    future_share: Floats
    joint_cancel_share: float


def alternatives(
    lines: pd.DataFrame,
    waits: Waits,
    goods: pd.DataFrame,
    pools: pd.DataFrame,
    forecast: InboundForecast,
    policy: Policy,
) -> Alternatives:
    """Advise which lines to serve from goods that other pools can spare, each from one of them at most.

    Lines that wait for others of their ship group are left out: moving the goods of one saves nothing while another is
    missing. So are held lines, and substitutes for customers who may not be written to. Of a line served in part the
    rest counts. Goods that a pool gives its own lines today stay theirs, even where they would save more elsewhere.

    Money is that of this morning's prices, line by line: where many lines of a pool follow the advice, those that are
    left wait for fewer others, and lose less than they did.

    Parameters
    ----------
    lines : open lines with loss_if_waits [W], ship_now_quantity, override and paid_share added
    goods : alternative_goods of the features
    pools : product_id, warehouse_id, given and protected of the pools that lines wait in
    """
    may_move = _may_move(lines)
    if not len(goods) or not may_move.any():
        return Alternatives(_no_advice(lines), Choice(np.zeros(0), 0.0, 0.0, 0, 0))
    spare = spare_goods(goods, pools, lines, forecast, policy)
    table = _pairs(lines, may_move, goods, spare, policy)
    table = table.assign(**_money(table, lines, waits, policy))
    per_unit = table["saved_per_unit"] - table["cost_per_unit"]
    ways = Ways(
        line=table["line"].to_numpy(np.int64),
        pool=table["pool"].to_numpy(np.int64),
        wanted=table["wanted"].to_numpy(np.float64),
        step=table["from_quantity_step"].to_numpy(np.float64),
        is_whole=ships_whole(lines)[table["row"]],
        worth=per_unit.to_numpy(np.float64),
        fixed_cost=table["cost_per_line"].to_numpy(np.float64),
    )
    choice = best_choice(ways, spare["spare"].to_numpy(np.float64))
    return Alternatives(_advice(lines, table, choice.units), choice)


def _may_move(lines: pd.DataFrame) -> Flags:
    """Lines that lose by waiting and could ship as soon as goods are here."""
    waits = waiting_units(lines) > QUANTITY_TOLERANCE
    loses = lines["loss_if_waits"].to_numpy(np.float64) > 0
    group = lines["ship_group"]
    with_others = group.duplicated(keep=False) | lines["group_waits_elsewhere"].astype(bool)
    may: Flags = waits & loses & ~is_held(lines) & ~(group.notna() & with_others).to_numpy(np.bool_)
    return may


def _pairs(
    lines: pd.DataFrame, may_move: Flags, goods: pd.DataFrame, spare: pd.DataFrame, policy: Policy
) -> pd.DataFrame:
    """One row per line and pool with goods for it, by order_line_id and pool.

    row (of the line), line (its place by id), pool (row of `spare`), wanted, is_transfer, and of moving goods days,
    cost_per_unit and cost_per_line.
    """
    has_goods = spare["spare"].to_numpy(np.float64) > QUANTITY_TOLERANCE
    theirs = {"product_id": goods["from_product_id"], "warehouse_id": goods["from_warehouse_id"]}
    known = goods.assign(pool=places_in(spare, pd.DataFrame(theirs)))
    known = known[has_goods[known["pool"]]]
    waiting = lines.loc[may_move, POOL_IDS].assign(
        row=np.flatnonzero(may_move),
        line=np.argsort(np.argsort(lines["order_line_id"].to_numpy(dtype=object)[may_move])),
        wanted=waiting_units(lines)[may_move],
        may_be_asked=lines.loc[may_move, "contact_allowed"].astype(bool),
    )
    table = waiting.merge(known, on=POOL_IDS, how="inner")
    table["is_transfer"] = table["from_product_id"] == table["product_id"]
    table = table[table["is_transfer"] | table["may_be_asked"]]
    usual = policy.transfer_days, policy.transfer_cost_per_unit, policy.transfer_cost_per_line
    there = routes(table["from_warehouse_id"], table["warehouse_id"], policy.transfers, usual)
    table = table.assign(**{name: np.where(table["is_transfer"], values, 0.0) for name, values in there.items()})
    is_open = table["days"] <= policy.horizon_days  # not where there is no way
    return table[is_open].sort_values(["line", "pool"], kind="stable", ignore_index=True)


def _money(table: pd.DataFrame, lines: pd.DataFrame, waits: Waits, policy: Policy) -> dict[str, Floats]:
    """Money that a unit of each pair saves and costs."""
    row = table["row"].to_numpy(np.int64)
    quantity = lines["open_quantity"].to_numpy(np.float64)[row]
    loss = lines["loss_if_waits"].to_numpy(np.float64)[row]
    is_transfer = table["is_transfer"].to_numpy(np.bool_)
    lost_until, days = np.zeros(len(table)), table["days"].to_numpy(np.float64)
    ties = Ties.of(lines, waits.joint_cancel_share)
    for day in np.unique(days[is_transfer]).astype(np.int64).tolist():
        of_day = is_transfer & (days == day)
        lost_until[of_day] = _lost_until(lines, waits, ties, day, policy)[row[of_day]]
    given_up = _margin_given_up(table, lines.iloc[row])
    taken = policy.substitute_accept_share
    return {
        "saved_per_unit": np.where(is_transfer, loss - lost_until, taken * loss) / quantity,
        "cost_per_unit": np.where(is_transfer, table["cost_per_unit"].to_numpy(np.float64), taken * given_up),
    }


def _lost_until(lines: pd.DataFrame, waits: Waits, ties: Ties, day: int, policy: Policy) -> Floats:
    """Money lost by waiting for goods that are surely here that many days on [L], (n_lines,)."""
    surely = np.zeros((1, day + 2))
    surely[0, day] = 1.0
    outcome = served_after(lines, waits.survival[:, : day + 1], np.broadcast_to(surely, (len(lines), day + 2)), policy)
    return np.asarray(terms_of(lines, outcome, waits.future_share, ties, policy).sum(axis=1))


def _margin_given_up(table: pd.DataFrame, lines: pd.DataFrame) -> Floats:
    """Margin per unit that the substitute earns less, (n_pairs,).

    The customer pays no more than what was ordered at, and no more than the substitute's list price with the discount
    of the order.
    """
    price = (lines["line_value"] / lines["open_quantity"]).to_numpy(np.float64)
    discounted = table["from_list_price"].to_numpy(np.float64) * lines["price_ratio"].fillna(1.0).to_numpy(np.float64)
    margin = (lines["line_margin"] / lines["open_quantity"]).to_numpy(np.float64)
    instead = np.minimum(price, discounted) - table["from_unit_cost"].to_numpy(np.float64)
    return np.asarray(np.maximum(margin - instead, 0.0) * lines["paid_share"].to_numpy(np.float64))


def _advice(lines: pd.DataFrame, table: pd.DataFrame, units: Floats) -> pd.DataFrame:
    saved = table["saved_per_unit"].to_numpy(np.float64) * units
    cost = table["cost_per_unit"].to_numpy(np.float64) * units + table["cost_per_line"].to_numpy(np.float64)
    found = table[["row", "from_product_id", "from_warehouse_id", "days"]].assign(
        advice=np.where(table["is_transfer"], TRANSFER, SUBSTITUTE), units=units, saved=saved, cost=cost
    )
    found = found.assign(gain=saved - cost)[(units > 0) & (saved - cost >= LEAST_SHOWN)]
    found = found.set_index("row").reindex(range(len(lines))).set_axis(lines.index)
    texts = dict.fromkeys(("advice", "from_product_id", "from_warehouse_id"), "str")
    in_order: pd.DataFrame = found[list(COLUMNS)].astype(texts)
    return in_order


def _no_advice(lines: pd.DataFrame) -> pd.DataFrame:
    texts, numbers = COLUMNS[:3], COLUMNS[3:]
    empty = {name: pd.Series(None, index=lines.index, dtype="str") for name in texts}
    return pd.DataFrame(empty | dict.fromkeys(numbers, np.nan), index=lines.index)


def advice_columns(lines: pd.DataFrame, advice: pd.DataFrame, currency: str, policy: Policy) -> pd.DataFrame:
    """What the queue says of it, indexed like lines; empty without advice.

    alternative (transfer or substitute), alternative_said (in words), advice_quantity, advice_product_id,
    advice_warehouse_id, advice_gain.
    """
    published = {
        "alternative": "advice",
        "advice_quantity": "units",
        "advice_product_id": "from_product_id",
        "advice_warehouse_id": "from_warehouse_id",
        "advice_gain": "gain",
    }
    columns = {name: advice[known] for name, known in published.items()}
    return pd.DataFrame(columns | {"alternative_said": advice_clauses(lines, advice, currency, policy)})


def advice_clauses(lines: pd.DataFrame, advice: pd.DataFrame, currency: str, policy: Policy) -> pd.Series:
    """Say what lies where and what it would save, '' without advice; indexed like lines.

    Parameters
    ----------
    lines : with open_quantity, ship_now_quantity and override
    advice : of `alternatives`
    """
    said = np.full(len(lines), "", dtype=object)
    is_advised = advice["advice"].notna().to_numpy(np.bool_)
    rows = map(Advised, *(advice.loc[is_advised, name].tolist() for name in COLUMNS))
    wanted = waiting_units(lines)[is_advised].tolist()
    taken = policy.substitute_accept_share
    said[is_advised] = [_clause(row, wants, currency, taken) for row, wants in zip(rows, wanted, strict=True)]
    return pd.Series(said, index=lines.index, dtype="str")


def _clause(line: Advised, wanted: float, currency: str, accept_share: float) -> str:
    """Where the goods lie, what they take and what they save; `wanted` are the units that the line waits for."""
    is_all, is_one = line.units >= wanted - QUANTITY_TOLERANCE, line.units == 1
    units = (
        f"{line.units:g} unit{'' if is_one else 's'}" if is_all else f"{line.units:g} of the {wanted:g} units missing"
    )
    lie, them = ("lies", "it") if is_one else ("lie", "them")
    saves = f"saves {line.saved:.2f} {currency}"
    if line.advice == TRANSFER:
        takes = f"takes {line.days:.0f} day{'' if line.days == 1 else 's'}"
        costs = f"costs {line.cost:.2f} {currency}" if line.cost >= LEAST_SHOWN else "has no cost set"
        return f"{units} {lie} in warehouse {line.from_warehouse_id}: moving {them} {takes}, {costs} and {saves}"
    gives_up = f" and gives up {line.cost:.2f} {currency} of margin" if line.cost >= LEAST_SHOWN else ""
    offered = f"{units} of product {line.from_product_id} {lie} here: offering {them} instead {saves}{gives_up}"
    return f"{offered}, as {accept_share:.0%} of customers are taken to accept"
