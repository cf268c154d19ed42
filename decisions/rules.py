"""The site's rules, segments and the longest wait, made into what each open line may have today."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.limits import NO_SEGMENT, Limits
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE, in_steps
from decisions.ranking import is_held, sorted_pools
from decisions.segments import BY_MONEY, FLAGS, NUMBERS, STRATEGIES, Segment
from decisions.ship_groups import ShipGroups, ships_whole

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_TURN = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Standing:
    """What the policy says of each line; arrays of (n_lines,)."""

    segment: Codes  # row of policy.segments, -1: none
    strategy: Codes  # place in STRATEGIES
    turn: Codes  # of its segment; NO_TURN: none
    has_waited_too_long: Flags


def limits_of(lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy) -> Limits:
    """State what the site's rules allow each open line to have now.

    Lines of `skip` keep what was confirmed to them and take no part; lines of `win` come first. Of the others first
    come those that waited longer than policy.longest_wait_days, then strategy by strategy in the order of STRATEGIES,
    then segments by their turn. A typed sequence goes before money within a turn. Confirmations that are kept stand
    before every turn.

    Parameters
    ----------
    lines : open lines with soft_reserved_quantity (confirmed before), override, credit_hold and the columns that the
        segments name; kept_quantity if lines keep what the last queue gave them
    pools : product_id, warehouse_id, available_now, units_per_day
    policy : segments and longest_wait_days

    Returns
    -------
    Limits in the order of the lines and of the pools sorted by product_id and warehouse_id; `Limits.none` if there are
    no rules and nothing is kept.

    Raises
    ------
    ValueError
        If a segment names a column that the lines lack.

    A line of strategy fill gets at most the 2 units that were confirmed to it.

    >>> lines = pd.DataFrame({"channel": ["web"], "soft_reserved_quantity": 2.0, "open_quantity": 5.0,
    ...     "quantity_step": 1.0, "may_split": True, "ship_group": None, "order_line_id": "A", "override": None,
    ...     "credit_hold": False, "waited_days": 3})
    >>> pools = pd.DataFrame({"product_id": ["p"], "warehouse_id": "w", "available_now": 9.0, "units_per_day": 0.0})
    >>> web = Segment("web", where={"channel": ("web",)}, strategy="fill")
    >>> limits_of(lines, pools, Policy(segments=(web,))).most.tolist()
    [2.0]
    """
    free = Limits.none(len(lines), len(pools))
    if not policy.segments and not policy.longest_wait_days:
        return keeping(free, lines)
    standing = standing_of(lines, policy)
    least, most = _least_and_most(lines, standing)
    protecting = [i for i, segment in enumerate(policy.segments) if segment.is_protected]
    row = np.full(len(policy.segments) + 1, NO_SEGMENT, dtype=np.int64)  # the last one is for lines without a segment
    row[protecting] = np.arange(len(protecting))
    limits = Limits(
        turn=_turns(standing),
        sort_key=_sort_keys(lines, standing, policy),
        least=least,
        most=most,
        segment=row[standing.segment],
        protected=np.array([protected_units(policy.segments[i], pools) for i in protecting]).reshape(
            len(protecting), len(pools)
        ),
        is_kept=np.array([policy.segments[i].keeps_goods for i in protecting], dtype=np.bool_),
    )
    return keeping(limits, lines)


def keeping(limits: Limits, lines: pd.DataFrame) -> Limits:
    """Let lines keep what the last queue gave them: their kept_quantity, where they have one, within their limit."""
    if "kept_quantity" not in lines:
        return limits
    kept = np.minimum(lines["kept_quantity"].to_numpy(np.float64), limits.most)
    return replace(limits, least=np.maximum(limits.least, kept))


def standing_of(lines: pd.DataFrame, policy: Policy) -> Standing:
    """Find the first segment that each line fits, and what follows for it."""
    segment = np.full(len(lines), -1, dtype=np.int64)
    for place, rules in enumerate(policy.segments):
        segment[(segment < 0) & fits(lines, rules)] = place
    strategies = [STRATEGIES.index(rules.strategy) for rules in policy.segments]
    turns = [NO_TURN if rules.turn is None else rules.turn for rules in policy.segments]
    # Lines without a segment read the last place.
    strategy = np.array([*strategies, STRATEGIES.index(BY_MONEY)], dtype=np.int64)[segment]
    turn = np.array([*turns, NO_TURN], dtype=np.int64)[segment]
    waited = lines["waited_days"].to_numpy(np.float64)
    too_long = (waited > policy.longest_wait_days) & (policy.longest_wait_days > 0)
    return Standing(segment, strategy, turn, too_long & (strategy > STRATEGIES.index("win")))


def fits(lines: pd.DataFrame, segment: Segment) -> Flags:
    """Lines that have one of the values in every column that the segment names; an empty cell fits none."""
    named = [*segment.where, *segment.at_least, *(name.removeprefix("-") for name in segment.sort)]
    if missing := sorted(set(named) - set(lines.columns)):
        raise ValueError(
            f"segment {segment.name!r}: the open lines have no {', '.join(missing)}; take it out of the segment, or"
            " hand it on in features/backorder_lines.sql"
        )
    fit = np.ones(len(lines), dtype=np.bool_)
    for name, values in segment.where.items():
        column = lines[name]
        if name in FLAGS:
            column = column.astype("bool")
        elif name in NUMBERS:
            column = column.astype("float64")
        fit &= (column.isin(list(values)) & column.notna()).to_numpy(np.bool_)
    for name, least in segment.at_least.items():
        fit &= lines[name].to_numpy(np.float64, na_value=np.nan) >= least
    return fit


def protected_units(segment: Segment, pools: pd.DataFrame) -> Floats:
    """Units of each pool, sorted by product_id and warehouse_id, that only the segment's lines may take; (n_pools,)."""
    ordered = sorted_pools(pools)
    units = segment.share * ordered["available_now"].to_numpy(np.float64) + segment.protected_units
    if segment.protected_days_of_demand:
        units = units + segment.protected_days_of_demand * ordered["units_per_day"].to_numpy(np.float64)
    return units


def _turns(standing: Standing) -> Codes:
    """Number the turns 0, 1, ...: skip, win, too long waits, the other strategies; then by the segment's turn."""
    later = np.where(standing.strategy <= STRATEGIES.index("win"), 0, np.where(standing.has_waited_too_long, 1, 2))
    key = np.stack([later, standing.strategy, standing.turn], axis=1).astype(np.int64)
    return np.unique(key, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _least_and_most(lines: pd.DataFrame, standing: Standing) -> tuple[Floats, Floats]:
    """Units that each line keeps of what was confirmed to it, and units it may have at most; both (n_lines,).

    A ship group keeps what is confirmed to all its lines in full, or nothing: it leaves as one.
    """
    wanted, confirmed = lines["open_quantity"].to_numpy(np.float64), confirmed_units(lines)
    chosen = {name: standing.strategy == place for place, name in enumerate(STRATEGIES)}
    keeps = chosen["skip"] | chosen["gain"] | chosen["improve"]
    least = np.where(chosen["win"], wanted, np.where(keeps, confirmed, 0.0))
    most = np.where(chosen["skip"] | chosen["fill"], confirmed, np.inf)
    groups = ShipGroups.of(lines)
    leaves_alone = (groups.code < 0) | groups.of_each(least >= wanted - QUANTITY_TOLERANCE, np.logical_and)
    return np.where(is_held(lines) | ~leaves_alone, 0.0, least), most


def confirmed_units(lines: pd.DataFrame) -> Floats:
    """Units confirmed to each line that could leave today; (n_lines,)."""
    return units_that_can_leave(lines, lines["soft_reserved_quantity"].to_numpy(np.float64))


def units_that_can_leave(lines: pd.DataFrame, units: Floats) -> Floats:
    """Of the units meant for each line those that could leave today; (n_lines,).

    Whole steps of a line that may be split. A line that ships whole, or in a ship group, keeps only all it wants, and
    that only with all that the group's other lines want: less than that cannot leave.
    """
    wanted, step = lines["open_quantity"].to_numpy(np.float64), lines["quantity_step"].to_numpy(np.float64)
    in_full = ShipGroups.of(lines).of_each(units >= wanted - QUANTITY_TOLERANCE, np.logical_and)
    return np.where(in_full, wanted, np.where(ships_whole(lines), 0.0, in_steps(units, step)))


def _sort_keys(lines: pd.DataFrame, standing: Standing, policy: Policy) -> Floats:
    """Place of each line in its segment's typed sequence, NaN without one; (n_lines,).

    Segments with the same sequence are one; different ones stand in the order in which they are written.
    """
    keys, n_placed = np.full(len(lines), np.nan), 0
    for sequence in dict.fromkeys(segment.sort for segment in policy.segments if segment.sort):
        members = [place for place, segment in enumerate(policy.segments) if segment.sort == sequence]
        rows = np.flatnonzero(np.isin(standing.segment, members))
        codes = np.stack([_column_places(lines[name.removeprefix("-")].iloc[rows], name) for name in sequence], axis=1)
        places = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
        keys[rows] = n_placed + places
        n_placed += len(rows)
    return keys


def _column_places(values: pd.Series, name: str) -> Codes:
    """Place of each value in the column's order, falling if the name begins with -; empty cells last."""
    place = pd.factorize(values, sort=True)[0].astype(np.int64)
    falling = place.max(initial=0) - place if name.startswith("-") else place
    return np.where(place < 0, len(values), falling)
