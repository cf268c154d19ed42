"""The past as a rule meets it again: which lines came to wait, which goods came, and what was foreseen on which day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.outlooks import Outlooks, day_number, day_numbers
from decisions.ranking import POOL_IDS
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOT_A_FACT = ["lifetime_value", "credit_hold"]  # foreseen, or of its day alone
NOT_SEEN = ["enters_on"]  # whether a line came to wait on its day or later says what the past did


@dataclass(frozen=True, eq=False)
class Past:
    """What came about on some mornings in a row, as far as no rule for giving goods out changes it.

    Parameters
    ----------
    first_on : the first morning
    n_days : mornings
    lines : one row per line that came to wait: order_line_id, root_id, root_order_id, account_id (null: anonymous),
        product_id, warehouse_id, ordered_at, due_on, promised_on (null: none told), enters_on (the first morning on
        which it waited; the first of all at the earliest), open_quantity then, its line_value and line_margin,
        paid_share, quantity_step, may_split, ship_group. Rules see further columns, too.
    goods : product_id, warehouse_id, comes_on (the first morning on which they can be given out), quantity;
        `goods_up_for_choice` finds them
    yardstick : what the money lost is counted by, the same for every rule; no rule sees it, so it may have been fitted
        on all that is known by now
    joint_cancel_share : chance that lines of one order are cancelled together, not each by itself [rho]
    holds : lines that may have no goods from_on .. until_on, both included
    """

    first_on: pd.Timestamp
    n_days: int
    lines: pd.DataFrame
    goods: pd.DataFrame
    yardstick: Outlooks
    joint_cancel_share: float = 0.0
    holds: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["order_line_id", "from_on", "until_on"]))

    def in_order(self) -> Past:
        """The same past, judged, its lines by order_line_id: sums and draws then do not hang on the order of rows.

        Raises
        ------
        ValueError
            If a line stands twice, comes to wait outside these mornings, or is not foreseen when it does, or if a
            quantity or a curve cannot be used.
        """
        lines = self.lines.sort_values("order_line_id", kind="stable", ignore_index=True)
        _check(self, lines)
        goods = self.goods.sort_values([*POOL_IDS, "comes_on", "quantity"], kind="stable", ignore_index=True)
        return replace(self, first_on=pd.Timestamp(self.first_on).normalize(), lines=lines, goods=goods)

    @cached_property
    def pools(self) -> pd.DataFrame:
        """Pools in which lines wait: product_id, warehouse_id, by their ids."""
        return self.lines[POOL_IDS].drop_duplicates().sort_values(POOL_IDS, kind="stable", ignore_index=True)

    @cached_property
    def pool(self) -> Codes:
        """Place of each line's pool, (n_lines,)."""
        return places_in(self.pools, self.lines)

    @cached_property
    def figures(self) -> dict[str, Floats]:
        """Numbers of the lines, (n_lines,): money and units when they came, days since 1970, who belongs together."""
        names = ("open_quantity", "quantity_step", "line_margin", "line_value", "paid_share")
        account = pd.factorize(self.lines["account_id"], sort=True)[0]
        promised = self.lines["promised_on"]
        return {name: self.lines[name].to_numpy(np.float64) for name in names} | {
            "account": np.where(account < 0, np.nan, account),
            "root": pd.factorize(self.lines["root_id"], sort=True)[0].astype(np.float64),
            "due_day": day_numbers(self.lines["due_on"]).astype(np.float64),
            "promised_day": np.where(promised.isna(), np.nan, day_numbers(promised)),
        }

    @cached_property
    def seen(self) -> pd.DataFrame:
        """Lines as a rule sees them, but for what changes from day to day."""
        nothing_said = pd.Series(None, index=self.lines.index, dtype="str")
        lines = self.lines.drop(columns=[name for name in NOT_SEEN if name in self.lines])
        return lines.assign(override=nothing_said, override_quantity=np.nan)

    def mornings(self) -> Iterator[Today]:
        """What each morning brings, one after the other."""
        first = day_number(self.first_on)
        enters = day_numbers(self.lines["enters_on"]) - first
        comes, place = day_numbers(self.goods["comes_on"]) - first, places_in(self.pools, self.goods)
        units = self.goods["quantity"].to_numpy(np.float64)
        for day in range(self.n_days):
            on = self.first_on + pd.Timedelta(days=day)
            here = (np.maximum(comes, 0) == day) & (place >= 0)
            row = self.yardstick.in_force(self.lines["order_line_id"], on)
            yield Today(
                on=on,
                day=day,
                has_come=enters <= day,
                goods=np.bincount(place[here], units[here], minlength=len(self.pools)).astype(np.float64),
                outlook=row,
                hazard=np.where(row >= 0, self.yardstick.hazard(row, on), 0.0),
                lifetime_value=self.yardstick.rows["lifetime_value"].to_numpy(np.float64)[row],
                is_held=self._is_held(on),
                is_torn=self._is_torn(enters <= day),
            )

    def _is_held(self, on: pd.Timestamp) -> Flags:
        if self.holds.empty:
            return np.zeros(len(self.lines), dtype=np.bool_)
        holds = (self.holds["from_on"] <= on) & (on <= self.holds["until_on"])
        return self.lines["order_line_id"].isin(self.holds["order_line_id"][holds]).to_numpy(np.bool_)

    def _is_torn(self, has_come: Flags) -> Flags:
        group = self.lines["ship_group"]
        return group.isin(group[~has_come].dropna()).to_numpy(np.bool_)


@dataclass(frozen=True, eq=False)
class Today:
    """A morning of the past: arrays of (n_lines,), goods of (n_pools,)."""

    on: pd.Timestamp
    day: int  # from the first morning
    has_come: Flags  # to wait
    goods: Floats  # units newly there
    outlook: Codes  # row of the yardstick in force
    hazard: Floats  # of cancelling before the next morning, if it still waits then
    lifetime_value: Floats
    is_held: Flags
    is_torn: Flags  # its ship group has a line that has yet to come


def goods_up_for_choice(shelf: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """Goods that a rule may give to waiting lines, and the first morning on which it may.

    What the past gave to lines that waited was up for choice, and so was what lay on the shelf all along; goods that
    left for orders that never waited were not, nor were counts that fell short. So at most that much may be given up
    to a morning that every later shelf could spare it: with N(d) = units on the shelf on morning d + units given to
    waiting lines before it, the running total is the least of N(d), N(d + 1), ... It never falls, and what the past
    itself gave always fits into it. Rows: product_id, warehouse_id, comes_on, quantity.

    Parameters
    ----------
    shelf : units on every morning: product_id, warehouse_id, morning_on, available_now
    given : units that waiting lines got on a morning: product_id, warehouse_id, morning_on, quantity

    5 units come, 2 go to a waiting line on the first morning, 2 are sold over the counter that day: 3 could be chosen.

    >>> shelf = pd.DataFrame({"product_id": "p", "warehouse_id": "w", "available_now": [5.0, 1.0],
    ...     "morning_on": np.array(["2026-01-05", "2026-01-06"], dtype="datetime64[s]")})
    >>> goods_up_for_choice(shelf, shelf[:1].assign(quantity=2.0))["quantity"].tolist()
    [3.0]
    """
    keys = [*POOL_IDS, "morning_on"]
    taken = given.groupby(keys, as_index=False, sort=True)["quantity"].sum()
    days = shelf.merge(taken, on=keys, how="left", validate="one_to_one").sort_values(keys, ignore_index=True)
    pool = days.groupby(POOL_IDS, sort=True).ngroup()
    units = days["quantity"].fillna(0.0)
    net = days["available_now"] + units.groupby(pool).cumsum() - units
    free = net[::-1].groupby(pool[::-1]).cummin()[::-1]
    new = free.groupby(pool).diff().fillna(free)
    goods = days[POOL_IDS].assign(comes_on=days["morning_on"], quantity=new)
    return goods[goods["quantity"] > 0].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class KeptMorning:
    """What a run kept of a morning: who waited, what was foreseen of them and what lay on the shelf.

    Parameters
    ----------
    lines : the open back-ordered lines, in the columns of `Past.lines` but for enters_on, with lifetime_value and
        credit_hold
    survival : (n_lines, n_days + 1), as of that morning [S]
    pools : product_id, warehouse_id, available_now
    """

    on: pd.Timestamp
    lines: pd.DataFrame
    survival: Floats
    pools: pd.DataFrame


def past_of(mornings: Sequence[KeptMorning], shipped: pd.DataFrame, joint_cancel_share: float) -> Past:
    """The past of a company as its runs have kept it, by its own predictions as of each morning.

    A line came to wait on the first morning that names it; what it wanted then counts. Units shipped to a line that
    waited were given out on the last morning before they left, others were not up for choice. To judge rules by a
    model of later facts, replace the yardstick.

    Parameters
    ----------
    mornings : by day, none twice, all curves of one length
    shipped : order_line_id, shipped_on (the day), quantity

    Raises
    ------
    ValueError
        If there is no morning, or they are not in order.
    """
    days = pd.Series([morning.on for morning in mornings])
    if days.empty or not days.is_monotonic_increasing or days.duplicated().any():
        raise ValueError(f"replay: {len(days)} mornings do not follow each other by day; give each once, in order")
    lines = pd.concat([morning.lines.assign(made_on=morning.on) for morning in mornings], ignore_index=True)
    came = (
        lines.drop_duplicates("order_line_id").drop(columns=[*NOT_A_FACT, "made_on"]).assign(enters_on=lines["made_on"])
    )
    shelf = pd.concat([morning.pools.assign(morning_on=morning.on) for morning in mornings], ignore_index=True)
    until = dict(zip(days, [*(days[1:] - pd.Timedelta(days=1)), days.iloc[-1]], strict=True))
    held = lines[lines["credit_hold"].astype(bool)]
    last_before = days.searchsorted(shipped["shipped_on"], side="right") - 1
    left = shipped.assign(made_on=days.to_numpy()[np.maximum(last_before, 0)])[last_before >= 0]
    given = left.merge(lines[["order_line_id", "made_on", *POOL_IDS]], on=["order_line_id", "made_on"])
    return Past(
        first_on=days.iloc[0],
        n_days=(days.iloc[-1] - days.iloc[0]).days + 1,
        lines=came.reset_index(drop=True),
        goods=goods_up_for_choice(shelf, given.rename(columns={"made_on": "morning_on"})),
        yardstick=Outlooks(
            lines[["order_line_id", "made_on", "lifetime_value"]],
            np.concatenate([morning.survival for morning in mornings]),
        ),
        joint_cancel_share=joint_cancel_share,
        holds=held[["order_line_id"]].assign(from_on=held["made_on"], until_on=held["made_on"].map(until)),
    )


def _check(past: Past, lines: pd.DataFrame) -> None:
    ids, enters = lines["order_line_id"], day_numbers(lines["enters_on"]) - day_number(past.first_on)
    _refuse(ids, ids.duplicated().to_numpy(), "stand more than once")
    _refuse(ids, (enters < 0) | (enters >= past.n_days), "come to wait before the first or after the last morning")
    for name in ("open_quantity", "quantity_step"):
        values = lines[name].to_numpy(np.float64, na_value=np.nan)
        _refuse(ids, ~(np.isfinite(values) & (values > 0)), f"have no {name} above 0")
    units = past.goods["quantity"].to_numpy(np.float64, na_value=np.nan)
    _refuse(past.goods["product_id"], ~(np.isfinite(units) & (units >= 0)), "have goods that are no quantity >= 0")
    said, curve = past.yardstick.rows, past.yardstick.survival
    _refuse(said["order_line_id"], said.duplicated(["order_line_id", "made_on"]).to_numpy(), "are foreseen twice a day")
    falls = (np.diff(curve, axis=1) <= 1e-12).all(axis=1) & (curve[:, 0] == 1) & (curve[:, -1] >= 0)
    _refuse(said["order_line_id"], ~falls, "have a curve of the yardstick that does not fall from 1 towards 0")
    value = said["lifetime_value"].to_numpy(np.float64, na_value=np.nan)
    _refuse(said["order_line_id"], ~(np.isfinite(value) & (value >= 0)), "have no lifetime_value >= 0")
    first_said = ids.map(said.groupby("order_line_id")["made_on"].min())
    unsaid = ~(first_said <= lines["enters_on"]).to_numpy()
    _refuse(ids, unsaid, "are not foreseen by the yardstick when they come to wait")


def _refuse(ids: pd.Series, is_bad: Flags, what: str) -> None:
    if is_bad.any():
        names = sorted(ids[is_bad].astype(str))[:3]
        raise ValueError(
            f"replay: {int(is_bad.sum())} of {len(ids)} {ids.name}s {what}, e.g. {names};"
            " mend the facts or the yardstick that they come from"
        )
