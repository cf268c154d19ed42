"""Which rule of the site passed a line over for one that loses less per unit by waiting, or preferred it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import Allocation
from decisions.limits import Limits
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import due_order, is_pinned
from decisions.rules import Standing, confirmed_units, standing_of
from decisions.segments import STRATEGIES
from decisions.wishes import lines_that_may_have
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

SKIP, WIN, FILL, LOSE = (STRATEGIES.index(name) for name in ("skip", "win", "fill", "lose"))
NOBODY = -1


@dataclass(frozen=True)
class Contest:
    """Who got what, and how much each line loses per unit; arrays of (n_lines,) but for the last three."""

    pool: Codes
    worth: Floats
    place: Codes  # by due day and id: settles ties
    given: Floats
    wants_more: Flags
    by_pin: Flags
    standing: Standing
    limits: Limits
    left: Floats  # (n_pools,) units on the shelf
    policy: Policy

    @classmethod
    def of(cls, lines: pd.DataFrame, limits: Limits, allocation: Allocation, policy: Policy) -> "Contest":
        """Read who got what from what was given out."""
        wanted = lines["open_quantity"].to_numpy(np.float64)
        given = allocation.ship_now_quantity.to_numpy(np.float64)
        pools = allocation.pools
        return cls(
            pool=places_in(pools, lines).astype(np.int64),
            worth=lines["loss_if_waits"].to_numpy(np.float64) / wanted,
            place=due_order(lines),
            given=given,
            wants_more=lines_that_may_have(lines, limits) & (given < wanted - QUANTITY_TOLERANCE),
            by_pin=is_pinned(lines),
            standing=standing_of(lines, policy),
            limits=limits,
            left=(pools["available_now"] - pools["given"]).to_numpy(np.float64),
            policy=policy,
        )

    @property
    def keeps(self) -> Flags:
        """Lines that were given no more than what they keep of a confirmation."""
        kept = (self.limits.least > 0) & (self.given > 0) & (self.given <= self.limits.least + QUANTITY_TOLERANCE)
        return np.asarray(kept & (self.standing.strategy != WIN) & ~self.by_pin)

    @property
    def was_served(self) -> Flags:
        """Lines that were given goods in their turn."""
        return np.asarray((self.given > 0) & ~self.keeps & ~self.by_pin)


def rule_words(lines: pd.DataFrame, limits: Limits, allocation: Allocation, policy: Policy) -> pd.Series:
    """Say in one clause per line how a rule of the site changed what it got; null where none did.

    A line that wants more, while one of its pool that loses less per unit by waiting was given goods, or goods stay on
    the shelf, is told which rule did that. A line that was given goods, while one that loses more per unit wants more,
    is told which rule preferred it. Pins, holds, lines that ship whole and ship groups are no rules of this kind.

    Parameters
    ----------
    lines : open lines with loss_if_waits, as they were given to `give_out`
    limits : of `decisions.rules.limits_of` for these lines, in the same order

    Returns
    -------
    str, indexed like the lines.
    """
    words = np.full(len(lines), None, dtype=object)
    if limits.binds():
        contest = Contest.of(lines, limits, allocation, policy)
        confirmed = lines["soft_reserved_quantity"].to_numpy(np.float64)
        for rows, texts in _clauses(contest, confirmed, confirmed_units(lines)):
            for row, text in zip(rows.tolist(), texts, strict=True):
                words[row] = words[row] or text
    return pd.Series(words, index=lines.index, dtype="str", name="rule")


def _clauses(contest: Contest, confirmed: Floats, can_leave: Floats) -> Iterable[tuple[Rows, list[str]]]:
    """Rows and their clauses, the most telling first: what it was allowed, who went before it, whom it went before."""
    yield _allowed_no_more(contest, confirmed, can_leave)
    yield _not_all_won(contest)
    yield _after_other_turns(contest)
    yield _after_kept(contest)
    yield _after_typed_sequence(contest)
    yield _after_protected(contest)
    yield _shelf_is_kept(contest)
    yield _before_other_turns(contest)
    yield _keeps_confirmation(contest)
    yield _before_by_sequence(contest)
    yield _from_protected(contest)


def _allowed_no_more(contest: Contest, confirmed: Floats, can_leave: Floats) -> tuple[Rows, list[str]]:
    """Lines of skip and fill that have all they are allowed."""
    rows = np.flatnonzero(contest.wants_more & (contest.given >= contest.limits.most - QUANTITY_TOLERANCE))
    return rows, [_allowed(contest, row, confirmed[row], can_leave[row]) for row in rows.tolist()]


def _allowed(contest: Contest, row: int, confirmed: float, can_leave: float) -> str:
    takes = "takes no part" if contest.standing.strategy[row] == SKIP else "gets nothing beyond its confirmation"
    segment = f"segment {contest.policy.segments[contest.standing.segment[row]].name} {takes}"
    if not confirmed > 0:
        return f"{segment}, and nothing was confirmed to this line"
    if not can_leave > 0:
        return f"{segment}, and the {_units(confirmed)} confirmed to this line cannot leave alone"
    return f"{segment}: it keeps the {_units(can_leave)} confirmed before"


def _not_all_won(contest: Contest) -> tuple[Rows, list[str]]:
    rows = np.flatnonzero(contest.wants_more & (contest.standing.strategy == WIN))
    said = "is to be served in full, but the goods do not suffice"
    return rows, [f"{_group(contest, row)} {said}" for row in rows.tolist()]


def _after_other_turns(contest: Contest) -> tuple[Rows, list[str]]:
    worth, who = _extreme_before(contest, contest.limits.turn, contest.worth, contest.was_served)
    rows = np.flatnonzero(contest.wants_more & _below(worth, contest.worth))
    return rows, [_who_goes_before(contest, int(who[row]), row) for row in rows.tolist()]


def _who_goes_before(contest: Contest, first: int, then: int) -> str:
    """Say why `first` has an earlier turn than `then`, to the latter."""
    if contest.standing.has_waited_too_long[first] and not contest.standing.has_waited_too_long[then]:
        return f"lines that waited more than {contest.policy.longest_wait_days} days are served before it"
    if contest.standing.strategy[then] == LOSE:
        return f"{_group(contest, then)} gives up its goods and gets what others leave"
    return f"{_group(contest, then)} is served after {_group(contest, first)}"


def _before_other_turns(contest: Contest) -> tuple[Rows, list[str]]:
    worth, who = _extreme_before(contest, -contest.limits.turn, -contest.worth, contest.wants_more)
    rows = np.flatnonzero(contest.was_served & _below(worth, -contest.worth))
    return rows, [_whom_it_goes_before(contest, row, int(who[row])) for row in rows.tolist()]


def _whom_it_goes_before(contest: Contest, first: int, then: int) -> str:
    if contest.standing.has_waited_too_long[first] and not contest.standing.has_waited_too_long[then]:
        return f"it waited more than {contest.policy.longest_wait_days} days, so it is served before others"
    return f"{_group(contest, first)} is served before {_group(contest, then)}"


def _units(quantity: float) -> str:
    return f"{quantity:.6g} unit{'' if quantity == 1 else 's'}"


def _units_are(quantity: float) -> str:
    return f"{_units(quantity)} {'is' if quantity == 1 else 'are'}"


def _group(contest: Contest, row: int) -> str:
    """Name the line's segment, or what it belongs to without one."""
    segment = contest.standing.segment[row]
    if segment >= 0:
        return f"segment {contest.policy.segments[segment].name}"
    return "what is in no segment"


def _after_kept(contest: Contest) -> tuple[Rows, list[str]]:
    kept = np.where(contest.keeps, contest.given, 0)
    by_others = np.bincount(contest.pool, kept, minlength=len(contest.left))[contest.pool] - kept
    least = _extreme_of_pool(contest, contest.worth, contest.keeps)
    rows = np.flatnonzero(contest.wants_more & _below(least[contest.pool], contest.worth))
    return rows, [f"{_units_are(by_others[row])} left with lines they were confirmed to" for row in rows.tolist()]


def _keeps_confirmation(contest: Contest) -> tuple[Rows, list[str]]:
    most = _extreme_of_pool(contest, -contest.worth, contest.wants_more)
    rows = np.flatnonzero(contest.keeps & _below(most[contest.pool], -contest.worth))
    return rows, [f"it keeps the {_units(contest.given[row])} confirmed before" for row in rows]


def _after_typed_sequence(contest: Contest) -> tuple[Rows, list[str]]:
    order = _order_in_turn(contest)
    least = _running_least(contest, order, contest.worth, contest.was_served)
    rows = np.flatnonzero(contest.wants_more & _below(least, contest.worth))
    return rows, [_sequence(contest, row) for row in rows.tolist()]


def _before_by_sequence(contest: Contest) -> tuple[Rows, list[str]]:
    order = _order_in_turn(contest)[::-1]
    least = _running_least(contest, order, -contest.worth, contest.wants_more)
    rows = np.flatnonzero(contest.was_served & _below(least, -contest.worth) & ~np.isnan(contest.limits.sort_key))
    return rows, [_sequence(contest, row) for row in rows.tolist()]


def _sequence(contest: Contest, row: int) -> str:
    if np.isnan(contest.limits.sort_key[row]):
        return "lines with a typed sequence are served before it"
    segment = contest.policy.segments[contest.standing.segment[row]]
    return f"segment {segment.name} is served by {', '.join(segment.sort)}, not by money"


def _order_in_turn(contest: Contest) -> Rows:
    """Rows pool by pool and turn by turn, as a typed sequence and then money put them."""
    limits = contest.limits
    return np.lexsort((contest.place, -contest.worth, limits.sort_key, limits.turn, contest.pool))


def _after_protected(contest: Contest) -> tuple[Rows, list[str]]:
    units, text = _units_protected(contest), np.full(len(contest.pool), None, dtype=object)
    for place, name in _protecting(contest):
        own = contest.limits.segment == place
        least = _extreme_of_pool(contest, contest.worth, own & contest.was_served)[contest.pool]
        for row in np.flatnonzero(contest.wants_more & ~own & _below(least, contest.worth)):
            if units[place, contest.pool[row]] > QUANTITY_TOLERANCE:
                text[row] = text[row] or f"{_units_are(units[place, contest.pool[row]])} kept for segment {name}"
    rows = np.flatnonzero(pd.notna(text))
    return rows, list(text[rows])


def _from_protected(contest: Contest) -> tuple[Rows, list[str]]:
    units, text = _units_protected(contest), np.full(len(contest.pool), None, dtype=object)
    for place, name in _protecting(contest):
        own = contest.limits.segment == place
        most = _extreme_of_pool(contest, -contest.worth, ~own & contest.wants_more)[contest.pool]
        for row in np.flatnonzero(contest.was_served & own & _below(most, -contest.worth)):
            if units[place, contest.pool[row]] > QUANTITY_TOLERANCE:
                text[row] = f"{_units_are(units[place, contest.pool[row]])} kept for segment {name}"
    rows = np.flatnonzero(pd.notna(text))
    return rows, list(text[rows])


def _shelf_is_kept(contest: Contest) -> tuple[Rows, list[str]]:
    """Lines passed over though goods stay on the shelf for demand that is yet to come."""
    kept = [(place, name) for place, name in _protecting(contest) if contest.limits.is_kept[place]]
    rows = np.flatnonzero(contest.wants_more & (contest.left > QUANTITY_TOLERANCE)[contest.pool])
    units = contest.limits.protected[:, contest.pool]
    names = [[name for place, name in kept if units[place, row] > 0] for row in rows.tolist()]
    told = [(row, n) for row, n in zip(rows.tolist(), names, strict=True) if n]
    texts = [
        f"{_units_are(contest.left[contest.pool[row]])} kept for demand of segment {' and '.join(n)} yet to come"
        for row, n in told
    ]
    return np.array([row for row, _ in told], dtype=np.intp), texts


def _protecting(contest: Contest) -> list[tuple[int, str]]:
    """Rows of `protected` and the names of their segments."""
    return list(enumerate(segment.name for segment in contest.policy.segments if segment.is_protected))


def _units_protected(contest: Contest) -> Floats:
    """Units of each segment and pool: what the rules say, or its part of what is there; (n_segments, n_pools)."""
    goods = contest.left + np.bincount(contest.pool, contest.given, minlength=len(contest.left))
    total = contest.limits.protected.sum(axis=0)
    part = np.divide(goods, total, out=np.ones_like(goods), where=total > goods)
    return np.asarray(contest.limits.protected * part)


def _below(values: Floats, worth: Floats) -> Flags:
    """Clearly less: amounts that differ by rounding alone are the same."""
    return values < worth - 1e-9 * np.maximum(1.0, np.abs(worth))


def _extreme_of_pool(contest: Contest, worth: Floats, counts: Flags) -> Floats:
    """Least worth per pool among the lines that count; inf without any; (n_pools,)."""
    least = np.full(len(contest.left), np.inf)
    np.minimum.at(least, contest.pool[counts], worth[counts])
    return least


def _extreme_before(contest: Contest, turn: Codes, worth: Floats, counts: Flags) -> tuple[Floats, Codes]:
    """Least worth, and whose, among the lines of the pool that count and have a lower turn; (n_lines,) each."""
    least, who = np.full(len(contest.left), np.inf), np.full(len(contest.left), NOBODY, dtype=np.int64)
    found, found_who = np.full(len(turn), np.inf), np.full(len(turn), NOBODY, dtype=np.int64)
    for now in np.unique(turn):
        here = turn == now
        found[here], found_who[here] = least[contest.pool[here]], who[contest.pool[here]]
        rows = np.flatnonzero(here & counts)
        rows = rows[np.lexsort((contest.place[rows], worth[rows], contest.pool[rows]))]
        first = rows[np.flatnonzero(np.diff(contest.pool[rows], prepend=-1))]
        better = first[worth[first] < least[contest.pool[first]]]
        least[contest.pool[better]], who[contest.pool[better]] = worth[better], better
    return found, found_who


def _running_least(contest: Contest, order: Rows, worth: Floats, counts: Flags) -> Floats:
    """Least worth among the lines that count and stand no later in `order` within pool and turn; (n_lines,)."""
    so_far = pd.Series(np.where(counts, worth, np.inf)[order])
    result = np.empty(len(order))
    result[order] = so_far.groupby([contest.pool[order], contest.limits.turn[order]]).cummin().to_numpy()
    return result
