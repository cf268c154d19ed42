"""What would have to be true for a line to ship, or stop being true for it not to: each found by giving out again.

W, pools and policy stay what they are but for the one thing that is asked about; so do the prices of later goods.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.levers import Least, Lever, keeps_down_to, least_of
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.price_of_rules import WORDS, without_any, without_each
from decisions.ranking import POOL_IDS, is_pinned
from decisions.rules import limits_of
from decisions.trial import Trial, fewest, is_reached
from models.arrival import places_in

Floats = npt.NDArray[np.float64]

FOR_ALL_LINES = 4  # times the units that a pool's lines want: a share of them may be protected


@dataclass(frozen=True)
class MissingUnits:
    """Units a pool lacks for the line to ship in full, every other pool of its group filled; None: no number does."""

    product_id: str
    warehouse_id: str
    available_now: float
    missing: float | None


@dataclass(frozen=True)
class Lifted:
    """Units the line gets if one thing no longer held, all else kept."""

    rule: str
    segment: str | None
    units: float


@dataclass(frozen=True)
class Displaced:
    """A line that gets other units if another is pinned: units and money that it loses (below 0: gains)."""

    order_line_id: str
    units: float
    loss_per_unit: float
    loss: float


@dataclass(frozen=True)
class Pinned:
    """What a pin on the line does: units it gets, money lost more by all, now and at later receipts, and at whose cost.

    What the displaced lines lose by waiting is each by itself; together they make later goods scarcer.
    """

    units: float
    cost: float
    displaced: tuple[Displaced, ...]


@dataclass(frozen=True)
class WouldShip:
    """What the line gets now, and what would change that.

    Parameters
    ----------
    units, wanted : stocking units that it gets now and that it wants
    aim : units that it would get at most, pinned
    levers : least values for `aim`; none if it has that already
    missing : pools that lack goods for it to ship in full; none if it does
    is_enough : with all the missing units it ships in full; None if it does already
    lifted : rules, holds and properties without which it gets other units
    pin : None if it is pinned already, or if a pin changes nothing
    keeps_down_to : W down to which it keeps what it has; None: it has nothing, or keeps it whatever W is
    """

    units: float
    wanted: float
    aim: float
    levers: tuple[Least, ...]
    missing: tuple[MissingUnits, ...]
    is_enough: bool | None
    lifted: tuple[Lifted, ...]
    pin: Pinned | None
    keeps_down_to: float | None


def would_ship(trial: Trial, levers: tuple[Lever, ...]) -> WouldShip:
    """Try what would give the line more, or take what it has; the work is bounded by counts.

    Parameters
    ----------
    trial : around the line, as the morning gave out
    levers : of `levers_of`; the first is the line's loss_if_waits
    """
    pin = pinned(trial)
    aim = pin.units if pin else trial.units
    missing = () if is_reached(trial.units, trial.wanted) else tuple(missing_units(trial))
    return WouldShip(
        units=trial.units,
        wanted=trial.wanted,
        aim=aim,
        levers=least_of(trial, levers, aim) if pin else (),
        missing=missing,
        is_enough=_is_enough(trial, missing) if missing else None,
        lifted=tuple(lifted(trial)),
        pin=pin,
        keeps_down_to=keeps_down_to(trial, levers[0]),
    )


def pinned(trial: Trial) -> Pinned | None:
    """What a pin on the line does to all; None if it is pinned already, or if a pin gives it no more."""
    if is_pinned(trial.lines)[trial.row]:
        return None
    given = trial.given_if(override="pin", override_quantity=np.nan)
    if is_reached(trial.units, float(given[trial.row])):
        return None
    fewer, price = trial.given - given, trial.loss_per_unit
    lost, ids = fewer * price, trial.lines["order_line_id"].to_numpy(dtype=object)
    moved = np.flatnonzero((np.abs(fewer) > QUANTITY_TOLERANCE) & (np.arange(len(given)) != trial.row))
    moved = moved[np.lexsort((ids[moved].astype(str), -lost[moved]))]
    displaced = tuple(Displaced(str(ids[i]), float(fewer[i]), float(price[i]), float(lost[i])) for i in moved.tolist())
    return Pinned(float(given[trial.row]), trial.lost_more_pinned(given), displaced)


def missing_units(trial: Trial) -> Iterator[MissingUnits]:
    """Of each pool that the line and its ship group take from, the units that it lacks for all of it to ship."""
    pools = trial.given_to.pools
    wanted_from = np.unique(places_in(pools, trial.lines[trial.ships_together]))
    ample = _ample(trial)
    for place in wanted_from.tolist():
        beside = np.where(np.isin(np.arange(len(pools)), wanted_from[wanted_from != place]), ample, 0.0)
        lacks = _lacks(trial, place, beside, float(ample[place]))
        if lacks is None or lacks > 0:
            product, warehouse, here = pools.loc[place, [*POOL_IDS, "available_now"]]
            yield MissingUnits(str(product), str(warehouse), float(here), lacks)


def _ample(trial: Trial) -> Floats:
    """Units for all lines of each pool, whatever part of them is protected; (n_pools,)."""
    lines, pools = trial.lines, trial.given_to.pools
    wanted = np.bincount(places_in(pools, lines), lines["open_quantity"].to_numpy(np.float64), len(pools))
    protected = limits_of(lines, pools, trial.given_to.policy).protected
    return np.asarray(FOR_ALL_LINES * (wanted + protected.sum(axis=0)))


def _lacks(trial: Trial, place: int, beside: Floats, most: float) -> float | None:
    """Units that one pool lacks, with what is `beside` in the others; None if `most` are not enough."""
    here = places_in(trial.given_to.pools, trial.lines) == place
    step = float(trial.lines["quantity_step"].to_numpy(np.float64)[here].min())
    wanted = float(trial.lines["open_quantity"].to_numpy(np.float64)[here & trial.ships_together].sum())
    goods = float(trial.given_to.pools["available_now"].iloc[place])
    least = int(np.ceil(max(wanted - goods, 0.0) / step - QUANTITY_TOLERANCE))  # with fewer it cannot ship
    at_place = np.arange(len(beside)) == place
    found = fewest(lambda n: trial.ships_with(beside + at_place * n * step), least, int(most / step) + 1)
    return None if found is None else found * step


def _is_enough(trial: Trial, missing: tuple[MissingUnits, ...]) -> bool:
    """Whether the line ships in full once all these units are there."""
    by_pool = {(each.product_id, each.warehouse_id): each.missing for each in missing}
    if None in by_pool.values():
        return False
    ids = trial.given_to.pools[POOL_IDS].itertuples(index=False, name=None)
    return trial.ships_with(np.array([by_pool.get(pool) or 0.0 for pool in ids]))


def lifted(trial: Trial) -> Iterator[Lifted]:
    """Rules, holds and properties of the line without which it gets other units; all rules at once if none helps."""
    helped = is_reached(trial.units, trial.wanted)
    for without in _without_each(trial):
        if abs(without.units - trial.units) > QUANTITY_TOLERANCE:
            helped = helped or without.units > trial.units
            yield without
    rules = list(without_each(trial.lines, trial.given_to.policy))
    if rules and not helped:
        bare = without_any(rules, trial.lines, trial.given_to.policy)
        units = trial.units_under(bare.lines, bare.policy)
        if not is_reached(trial.units, units):
            yield Lifted(bare.rule, None, units)


def _without_each(trial: Trial) -> Iterator[Lifted]:
    """What the line gets without each thing that may bind it."""
    line, policy = trial.lines.iloc[trial.row].to_dict(), trial.given_to.policy
    own: dict[str, float] = {}  # of what stands on the line itself; the same is not said twice
    if pd.notna(line["override"]):
        own[WORDS[line["override"]]] = trial.units_if(override=None, override_quantity=np.nan)
        yield Lifted(f"own {line['override']}", None, own[WORDS[line["override"]]])
    if line["credit_hold"]:
        own["credit hold"] = trial.units_if(credit_hold=False)
        yield Lifted("own credit hold", None, own["credit hold"])
    if line["group_waits_elsewhere"]:
        here = trial.lines["group_waits_elsewhere"] & ~trial.ships_together
        yield Lifted("group elsewhere", None, trial.units_under(trial.lines.assign(group_waits_elsewhere=here), policy))
    if pd.notna(line["ship_group"]):
        yield Lifted("ship group", None, trial.units_if(ship_group=None))
    elif not line["may_split"]:
        yield Lifted("ships whole", None, trial.units_if(may_split=True))
    if policy.shipment_cost:
        yield Lifted("shipment cost", None, trial.units_under(trial.lines, replace(policy, shipment_cost=0.0)))
    if "kept_quantity" in trial.lines and trial.lines["kept_quantity"].any():
        yield Lifted("last plan", None, trial.units_under(trial.lines.assign(kept_quantity=0.0), policy))
    for rule in without_each(trial.lines, policy):
        units = trial.units_under(rule.lines, rule.policy)
        if own.get(rule.rule) != units:
            yield Lifted(rule.rule, rule.segment, units)
