"""Amounts of money that a line's place hangs on, and how far each would have to move to change what it gets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.customer_loss import Ties
from decisions.morning import GivenTo
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.trial import Trial, is_reached, least_that

Floats = npt.NDArray[np.float64]

CENT = 0.01
LOSS, VALUE, MARGIN = "loss_if_waits", "lifetime_value", "line_margin"


@dataclass(frozen=True, eq=False)
class Lever:
    """Money that moves W: of each line named, what its W rises by if this rises by 1."""

    name: str
    now: float
    loss_per_money: Mapping[str, float]


@dataclass(frozen=True)
class Least:
    """The least value of a lever, to a cent, at which the line gets `units`; None: no value is enough."""

    name: str
    now: float
    least: float | None
    units: float


def levers_of(
    queue: pd.DataFrame, given_to: GivenTo, order_line_id: str, joint_cancel_share: float
) -> tuple[Lever, ...]:
    """The line's own loss, its customer's lifetime value and its margin, as far as W hangs on them.

    A customer's value moves W of all its waiting lines. The later chance at which each line would be served stays that
    of the plan: another might lose less once the money has moved, so W rises by no more than this.

    Parameters
    ----------
    queue : loss_cancel and loss_future_orders of every line
    joint_cancel_share : chance that lines of one order are cancelled together [rho]
    """
    lines, policy = given_to.lines, given_to.policy
    line = lines[lines["order_line_id"] == order_line_id].iloc[0].to_dict()
    levers = [Lever(LOSS, float(line[LOSS]), {order_line_id: 1.0})]
    terms = queue.set_index("order_line_id")[["loss_cancel", "loss_future_orders"]]
    if line[VALUE] > 0:
        theirs = lines.loc[lines["account_id"] == line["account_id"], "order_line_id"]
        per_money = terms["loss_future_orders"].loc[theirs] / line[VALUE]
        levers.append(Lever(VALUE, float(line[VALUE]), {str(name): float(rise) for name, rise in per_money.items()}))
    kept = line["paid_share"] * (1 - policy.won_back_share)
    at_stake = line[MARGIN] * kept
    if policy.cancel_handling_cost:
        of_order = lines[lines["root_order_id"] == line["root_order_id"]].reset_index(drop=True)
        share = Ties.of(of_order, joint_cancel_share).event_share()
        at_stake += policy.cancel_handling_cost * share[of_order["order_line_id"] == order_line_id][0]
    if at_stake:
        rise = kept * float(terms.at[order_line_id, "loss_cancel"]) / at_stake  # type: ignore[arg-type]
        levers.append(Lever(MARGIN, float(line[MARGIN]), {order_line_id: float(rise)}))
    return tuple(levers)


def least_of(trial: Trial, levers: tuple[Lever, ...], aim: float) -> tuple[Least, ...]:
    """Least value of each lever, to a cent, at which the line gets what it aims at; the first is its own loss."""
    loss = levers[0]
    least = _least_cents(trial, loss, aim, loss.now, loss.now + _outdoes_all(trial))
    return Least(loss.name, loss.now, least, aim), *(_least_for(trial, lever, loss, least, aim) for lever in levers[1:])


def _least_for(trial: Trial, lever: Lever, loss: Lever, least_loss: float | None, aim: float) -> Least:
    per_money = lever.loss_per_money.get(str(trial.lines["order_line_id"].iloc[trial.row]), 0.0)
    if per_money <= 0 or least_loss is None:
        return Least(lever.name, lever.now, None, aim)
    low, high = lever.now, lever.now + _outdoes_all(trial) / per_money
    if len(lever.loss_per_money) == 1:  # it moves W of this line alone, which is known to the cent
        low = lever.now + (least_loss - CENT - loss.now) / per_money - CENT
        high = lever.now + (least_loss - loss.now) / per_money + CENT
    return Least(lever.name, lever.now, _least_cents(trial, lever, aim, low, high), aim)


def keeps_down_to(trial: Trial, lever: Lever) -> float | None:
    """Least value, to a cent, at which the line still gets what it has; None if it has nothing, or always does."""
    low = lever.now - _outdoes_all(trial)
    if trial.units <= QUANTITY_TOLERANCE or _reaches(trial, lever, low, trial.units):
        return None
    found = _least_cents(trial, lever, trial.units, low, lever.now)
    return lever.now if found is None else min(found, lever.now)


def _least_cents(trial: Trial, lever: Lever, aim: float, low: float, high: float) -> float | None:
    cents = least_that(
        lambda n: _reaches(trial, lever, n * CENT, aim), int(np.floor(low / CENT)), int(np.ceil(high / CENT))
    )
    return None if cents is None else round(cents * CENT, 2)


def _reaches(trial: Trial, lever: Lever, value: float, aim: float) -> bool:
    """Whether the line gets so much if the lever stands at this value."""
    lines = trial.lines
    per_money = lines["order_line_id"].map(dict(lever.loss_per_money)).fillna(0.0).to_numpy(np.float64)
    changed = {LOSS: lines[LOSS].to_numpy(np.float64) + per_money * (value - lever.now)}
    if "is_at_price" in lines:  # the plan is no more indifferent about a line that loses something else
        changed["is_at_price"] = lines["is_at_price"].to_numpy(np.bool_) & (per_money == 0)
    return is_reached(float(trial.given_by(changed)[trial.row]), aim)


def _outdoes_all(trial: Trial) -> float:
    """Money by which W must rise at most so that the line outdoes all others together, per unit, and step by step."""
    loss, together = trial.lines[LOSS].to_numpy(np.float64), trial.ships_together
    line = trial.lines.iloc[trial.row].to_dict()
    wanted = float(trial.lines["open_quantity"].to_numpy(np.float64)[together].sum())
    per_unit = wanted * float(np.maximum(trial.loss_per_unit, 0).max())
    of_all = max(float(np.maximum(loss, 0).sum()), per_unit) + float(np.abs(loss[together]).sum()) + 1.0
    # The last step of a line that may be split has its share of W alone against all that others lose by it.
    return of_all * max(line["open_quantity"] / line["quantity_step"], 1.0) if line["may_split"] else of_all
