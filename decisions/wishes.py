"""What every open line may take of its pool's goods, in the order in which the goods are offered."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.limits import Limits
from decisions.pool_programme import QUANTITY_TOLERANCE, Claims, in_steps
from decisions.ranking import DUE_BY, due_order, is_held, is_pinned, places_of
from decisions.ship_groups import ShipGroups, ships_whole, split_groups

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Pins and confirmations that are kept stand before every turn; each turn then has the three stages that follow.
PINNED, KEPT = 0, 1
TYPED, BY_WORTH, COSTS_MORE_TO_SERVE = 2, 3, 4
STAGES_A_TURN = 3

# The plan is found to some nine digits.
PLAN_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Wishes:
    """All claims, pool by pool, stage by stage and best first; arrays of (n_claims,)."""

    line: Codes  # row of the line
    pool: Codes  # row of the pool
    stage: Codes  # PINNED, KEPT, or TYPED, BY_WORTH, COSTS_MORE_TO_SERVE + 3 x place of the turn
    group: Codes  # ship group, -1: none
    segment: Codes  # row of Limits.protected, -1: none
    sort_key: Floats  # of a typed sequence, NaN: none
    claims: Claims

    def only(self, these: Flags | slice | npt.NDArray[np.intp]) -> "Wishes":
        """Keep these claims."""
        place = self.line[these], self.pool[these], self.stage[these], self.group[these], self.segment[these]
        return Wishes(*place, self.sort_key[these], self.claims.only(these))


@dataclass(frozen=True)
class Standing:
    """Where the lines stand; arrays of (n_lines,). Lines of a ship group stand together."""

    group: Codes
    worth: Floats  # money saved per unit; of a group: all its money over all its units
    stage: Codes  # its usual one
    sort_key: Floats
    is_pinned: Flags
    is_kept: Flags  # a group of which one line's whole quantity was confirmed
    is_whole: Flags


def is_repeated(line: Codes) -> Flags:
    """Claims after the first of their line.

    >>> is_repeated(np.array([3, 5, 3])).tolist()
    [False, False, True]
    """
    repeated = np.ones(len(line), dtype=np.bool_)
    repeated[np.unique(line, return_index=True)[1]] = False
    return repeated


def is_by_worth(stage: int) -> bool:
    """Whether the claims of this stage compete by money: pins, kept confirmations and typed sequences do not."""
    return stage >= TYPED and (stage - TYPED) % STAGES_A_TURN == BY_WORTH - TYPED


def loses_by_waiting(stage: Codes) -> Flags:
    """Claims of the turns' lines that cost less to serve than to pass over."""
    loses: Flags = (stage >= TYPED) & ((stage - TYPED) % STAGES_A_TURN != COSTS_MORE_TO_SERVE - TYPED)
    return loses


def lines_that_may_have(lines: pd.DataFrame, limits: Limits) -> Flags:
    """Lines that are not held, nor tied to one that is held, is allowed less than it wants or waits elsewhere."""
    held = is_held(lines)
    too_little = limits.most < lines["open_quantity"].to_numpy(np.float64) - QUANTITY_TOLERANCE
    if lines["ship_group"].notna().any():
        too_little &= ~ShipGroups.of(lines).of_each(is_pinned(lines), np.logical_or)
    return ~held & ~split_groups(lines, held | too_little)


def wishes_of(lines: pd.DataFrame, pool: Codes, may_have: Flags, limits: Limits, shipment_cost: float) -> Wishes:
    """List the claims of the lines that may have goods.

    A pin with a quantity claims that much at first, then what of a confirmation is kept; what the line wants beyond it
    stands in its usual place. Divisible lines at their pool's price claim what the plan gives them before the others
    at that price, as if all lost exactly the same per unit.
    """
    standing = _standing(lines, limits)
    worth, planned = _planned(lines, pool, standing, shipment_cost)
    least = _least_part(lines, worth, shipment_cost)
    wanted = _wanted(lines, standing, limits, least)
    pinned = np.zeros(len(lines))
    if standing.is_pinned.any():
        pinned = np.where(standing.is_pinned, pinned_quantity(lines, standing.is_whole), 0)
    kept = np.maximum(np.minimum(_kept_quantity(lines, standing, limits), wanted) - pinned, 0)
    planned = np.maximum(np.minimum(planned, wanted) - pinned - kept, 0)
    rest = np.maximum(wanted - pinned - kept - planned, 0)
    parts = (pinned, kept, planned, rest)
    rows = [np.flatnonzero(may_have & (quantity > QUANTITY_TOLERANCE)) for quantity in parts]
    line, sizes = np.concatenate(rows), [len(here) for here in rows]
    quantity = np.concatenate([part[here] for part, here in zip(parts, rows, strict=True)])
    first = np.repeat([PINNED, KEPT], sizes[:2])
    stage = np.concatenate((first, standing.stage[line[len(first) :]]))
    step = lines["quantity_step"].to_numpy(np.float64)[line]
    claims = Claims(quantity, step, standing.is_whole[line], worth[line], least[line])
    key = np.where(stage >= TYPED, standing.sort_key[line], np.nan)
    key[sizes[0] : sizes[0] + sizes[1]] = _place_among_kept(limits, rows[1])
    wishes = Wishes(line, pool[line], stage, standing.group[line], limits.segment[line], key, claims)
    is_rest = np.repeat([False, False, False, True], sizes)
    return wishes.only(_order(lines, wishes, is_rest))


def _place_among_kept(limits: Limits, rows: npt.NDArray[np.intp]) -> Floats:
    """Order of confirmations that are kept: by turn, then by typed sequence; lines to serve in full are among them."""
    typed = np.nan_to_num(limits.sort_key[rows], nan=np.inf, posinf=np.inf)
    pairs = np.stack([limits.turn[rows].astype(np.float64), typed], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.float64)


def pinned_units(lines: pd.DataFrame) -> Floats:
    """Units that pins claim of each line; (n_lines,)."""
    claims_first = ShipGroups.of(lines).of_each(is_pinned(lines), np.logical_or)
    may_have = lines_that_may_have(lines, Limits.none(len(lines), 0))
    return np.where(claims_first & may_have, pinned_quantity(lines, ships_whole(lines)), 0)


def _standing(lines: pd.DataFrame, limits: Limits) -> Standing:
    """Where each line stands; a group has the last turn and greatest sort_key of its lines, none if one has none."""
    loss, quantity = lines["loss_if_waits"].to_numpy(np.float64), lines["open_quantity"].to_numpy(np.float64)
    may_not_split = ~lines["may_split"].to_numpy(np.bool_)
    if lines["ship_group"].isna().all():
        none, never = np.full(len(lines), -1), np.zeros(len(lines), dtype=np.bool_)
        stage = _usual_stage(loss / quantity, limits.turn, limits.sort_key)
        return Standing(none, loss / quantity, stage, limits.sort_key, is_pinned(lines), never, may_not_split)
    groups = ShipGroups.of(lines)
    is_tied = groups.code >= 0
    worth: Floats = groups.of_each(loss, np.add) / groups.of_each(quantity, np.add)
    key = groups.of_each(limits.sort_key, np.maximum)
    kept = groups.of_each(is_tied & (limits.least >= quantity - QUANTITY_TOLERANCE), np.logical_or)
    stage = _usual_stage(worth, groups.of_each(limits.turn, np.maximum), key)
    pinned = groups.of_each(is_pinned(lines), np.logical_or)
    return Standing(groups.code, worth, stage, key, pinned, kept, may_not_split | is_tied)


def _usual_stage(worth: Floats, turn: Codes, sort_key: Floats) -> Codes:
    in_turn = np.where(worth < 0, COSTS_MORE_TO_SERVE, np.where(np.isnan(sort_key), BY_WORTH, TYPED)).astype(np.int64)
    if (turn == turn[:1]).all():
        return in_turn
    place = np.unique(turn, return_inverse=True)[1].astype(np.int64)
    return in_turn + STAGES_A_TURN * place


def _planned(lines: pd.DataFrame, pool: Codes, standing: Standing, shipment_cost: float) -> tuple[Floats, Floats]:
    """Worth per unit, equal for the divisible lines at their pool's price, and the units that the plan gives them.

    Where parts cost a shipment of their own, the plan's parts are no lots that may ship: only lines that it serves in
    whole go first.
    """
    if "planned_quantity" not in lines:
        return standing.worth, np.zeros(len(lines))
    quantity, step = lines["open_quantity"].to_numpy(np.float64), lines["quantity_step"].to_numpy(np.float64)
    at_price = lines["is_at_price"].to_numpy(np.bool_) & ~standing.is_whole & (standing.worth >= 0)
    price = np.zeros(pool.max(initial=-1) + 1)
    np.maximum.at(price, pool[at_price], standing.worth[at_price])
    units = lines["planned_quantity"].to_numpy(np.float64)
    lots = np.floor(units / step + PLAN_TOLERANCE) * step
    units = np.where(units >= quantity * (1 - PLAN_TOLERANCE), quantity, 0.0 if shipment_cost else lots)
    return np.where(at_price, price[pool], standing.worth), np.where(at_price, units, 0)


def _least_part(lines: pd.DataFrame, worth: Floats, shipment_cost: float) -> Floats:
    """Fewest units, a multiple of the step, that save more than a shipment costs; inf where no number does."""
    if not shipment_cost:
        return np.zeros(len(lines))
    step = lines["quantity_step"].to_numpy(np.float64)
    a_step = step * worth
    lots = np.divide(shipment_cost, a_step, out=np.full(len(lines), np.inf), where=a_step > 0)
    return np.asarray((np.floor(lots) + 1) * step)


def _wanted(lines: pd.DataFrame, standing: Standing, limits: Limits, least_part: Floats) -> Floats:
    """Units that a line may have now: all it wants, or as many steps as its limit and the shipment's cost leave."""
    quantity = lines["open_quantity"].to_numpy(np.float64)
    if np.isinf(limits.most).all():
        return quantity
    step = lines["quantity_step"].to_numpy(np.float64)
    is_free = limits.most >= quantity - QUANTITY_TOLERANCE
    most = in_steps(np.where(is_free, 0, limits.most), step)
    part = np.where(most < least_part, in_steps(limits.least, step), most)
    return np.where(is_free, quantity, np.where(standing.is_whole, 0, part))


def _kept_quantity(lines: pd.DataFrame, standing: Standing, limits: Limits) -> Floats:
    """Units of a confirmation that is kept, in whole steps; a line that ships whole keeps all of it or nothing."""
    quantity = lines["open_quantity"].to_numpy(np.float64)
    if not limits.least.any():
        return np.zeros(len(lines))
    step = lines["quantity_step"].to_numpy(np.float64)
    all_of_it = (limits.least >= quantity - QUANTITY_TOLERANCE) | standing.is_kept
    return np.where(all_of_it, quantity, np.where(standing.is_whole, 0, in_steps(limits.least, step)))


def pinned_quantity(lines: pd.DataFrame, is_whole: Flags) -> Floats:
    """Units a pin claims: override_quantity in whole steps; all of a line that may not be split."""
    wanted, step = lines["open_quantity"].to_numpy(np.float64), lines["quantity_step"].to_numpy(np.float64)
    asked = lines["override_quantity"].to_numpy(np.float64, na_value=np.nan)
    part = np.maximum(in_steps(asked, step), 0)
    return np.where(is_whole | np.isnan(asked) | (asked >= wanted), wanted, part)


def _order(lines: pd.DataFrame, wishes: Wishes, is_rest: Flags) -> npt.NDArray[np.intp]:
    """Put claims pool by pool, stage by stage, then by typed key, by falling worth, planned units first, by due day.

    Only equals are compared by due day and id: sorting a million texts would take longer than all the rest.
    """
    place = wishes.pool * (wishes.stage.max(initial=0) + 1) + wishes.stage
    keys: list[npt.NDArray[np.generic]] = [-wishes.claims.worth, place]
    if "planned_quantity" in lines:
        keys.insert(0, is_rest)
    if not np.isnan(wishes.sort_key).all():
        keys.insert(-1, wishes.sort_key)
    by_key = np.lexsort(keys[:-1]) if len(keys) > 2 else np.argsort(keys[0])
    order = np.argsort(place * len(by_key) + places_of(by_key))
    same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
    for key in keys:
        ordered = key[order]
        same &= (ordered[1:] == ordered[:-1]) | ((ordered[1:] != ordered[1:]) & (ordered[:-1] != ordered[:-1]))
    equals = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    block = np.cumsum(~np.insert(same, 0, False))[equals]
    by_due = due_order(lines[DUE_BY].iloc[wishes.line[order[equals]]])
    order[equals] = order[equals][np.lexsort((by_due, block))]
    return order
