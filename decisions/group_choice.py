"""Which ship groups ship: taken by money over what their goods are worth, then exchanged while that saves more."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from decisions.group_bound import Beside, GroupPart
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.pool_tables import rows_of

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEWEST_MONEY_OVER_GOODS = 0.5  # groups below half of what their goods are worth are not tried
EXCHANGES_TRIED = 6  # groups of a pool that one group may take the place of, those that lose least first
REFILLS_TRIED = 30  # groups that may take what an exchange leaves, pool by pool those that lose most first


@dataclass
class Choice:
    """Groups chosen so far; what the lines beside them save is read from the pools' tables."""

    worth: list[float]
    takes: list[list[tuple[int, float]]]  # of each group: pools and units
    groups_of: list[list[int]]  # of each pool, those that lose least first
    table: list[list[float]]  # of each pool: money that lines beside the groups save by 0, 1, ... units of its grid
    unit: list[float]
    left: list[float]
    chosen: list[bool]

    @classmethod
    def of(cls, part: GroupPart, beyond: Floats, table: list[Floats], unit: Floats) -> "Choice":
        """Nothing chosen yet; `beyond` is each group's money less what its goods are worth."""
        takes: list[list[tuple[int, float]]] = [[] for _ in part.worth]
        groups_of: list[list[int]] = [[] for _ in part.goods]
        rows = list(zip(part.group.tolist(), part.pool.tolist(), part.units.tolist(), strict=True))
        for group, pool, units in rows:
            takes[group].append((pool, units))
        place = np.argsort(np.argsort(beyond, kind="stable")).tolist()
        for group, pool, _ in sorted(rows, key=lambda row: place[row[0]]):
            groups_of[pool].append(group)
        tables = [row.tolist() for row in table]
        chosen = [False] * len(takes)
        return cls(part.worth.tolist(), takes, groups_of, tables, unit.tolist(), part.goods.tolist(), chosen)

    def _saved_beside(self, pool: int, left: float) -> float:
        table = self.table[pool]
        return table[min(int(left / self.unit[pool] + QUANTITY_TOLERANCE), len(table) - 1)]

    def gain(self, group: int) -> float:
        """Money saved by adding the group; minus infinity where its goods are not there."""
        money = self.worth[group]
        for pool, units in self.takes[group]:
            left = self.left[pool]
            if left < units - QUANTITY_TOLERANCE:
                return -np.inf
            money -= self._saved_beside(pool, left) - self._saved_beside(pool, max(left - units, 0.0))
        return money

    def put(self, group: int, is_in: bool) -> float:
        """Add the group or take it out; returns the money gained."""
        money = self.worth[group] if is_in else -self.worth[group]
        for pool, units in self.takes[group]:
            left = self.left[pool]
            now = max(left - units, 0.0) if is_in else left + units
            money += self._saved_beside(pool, now) - self._saved_beside(pool, left)
            self.left[pool] = now
        self.chosen[group] = is_in
        return money

    def fill(self, order: list[int]) -> float:
        """Add what gains, in this order; returns the money gained."""
        return sum(self.put(group, True) for group in order if not self.chosen[group] and self.gain(group) > 0)

    def exchange(self, group: int, floor: list[bool]) -> bool:
        """Put the group in the place of others, if that and what then still fits saves more; else leave all as is."""
        short = [(pool, units) for pool, units in self.takes[group] if self.left[pool] < units - QUANTITY_TOLERANCE]
        if not short:
            return self.gain(group) > 1e-9 and self.put(group, True) != 0
        pool, units = max(short, key=lambda need: need[1] - self.left[need[0]])
        rivals = list(islice((rival for rival in self.groups_of[pool] if self.chosen[rival]), EXCHANGES_TRIED))
        return any(self._in_place_of(group, rival, floor) for rival in rivals)

    def _in_place_of(self, group: int, rival: int, floor: list[bool]) -> bool:
        """Take out the rival and whatever else is in the way, add the group, refill; undo if nothing is gained."""
        log, money = [rival], self.put(rival, False)
        for pool, units in self.takes[group]:
            others = iter(self.groups_of[pool])
            while self.left[pool] < units - QUANTITY_TOLERANCE and (other := next(others, None)) is not None:
                if self.chosen[other]:
                    log.append(other)
                    money += self.put(other, False)
        if all(self.left[pool] >= units - QUANTITY_TOLERANCE for pool, units in self.takes[group]):
            log.append(group)
            money += self.put(group, True)
            for other in islice((near for near in self._near(log[:-1]) if floor[near]), REFILLS_TRIED):
                if self.gain(other) > 0:
                    log.append(other)
                    money += self.put(other, True)
        if money > 1e-9 * max(1.0, self.worth[group]):
            return True
        for other in reversed(log):
            self.put(other, not self.chosen[other])
        return False

    def _near(self, groups: list[int]) -> Iterator[int]:
        """Groups not chosen that want goods of the pools which these have left, those that lose most first."""
        seen: set[int] = set()
        for pool in dict.fromkeys(pool for group in groups for pool, _ in self.takes[group]):
            for other in reversed(self.groups_of[pool]):
                if not self.chosen[other] and other not in seen:
                    seen.add(other)
                    yield other


def choose_groups(part: GroupPart, price: Floats, liking: Floats, beside: Beside, n_sweeps: int) -> Flags:
    """Choose groups; the better of two first fillings, exchanged sweep by sweep until nothing is gained."""
    cost = np.bincount(part.group, weights=price[part.pool] * part.units, minlength=len(part.worth))
    beyond = part.worth - cost
    over = np.divide(part.worth, cost, out=np.full(len(cost), np.inf), where=cost > 0)
    starts = []
    for order in (np.lexsort((-beyond, -over)), np.lexsort((-beyond, -liking))):
        choice = Choice.of(part, beyond, rows_of(beside.blocks, beside.tables), beside.unit)
        starts.append((choice.fill(order.tolist()), choice))
    choice = max(starts, key=lambda start: start[0])[1]
    floor = (over >= FEWEST_MONEY_OVER_GOODS).tolist()
    by_beyond = [group for group in np.argsort(-beyond, kind="stable").tolist() if floor[group]]
    for _ in range(n_sweeps):
        n_moved = sum(choice.exchange(group, floor) for group in by_beyond if not choice.chosen[group])
        if not n_moved:
            break
    return np.array(choice.chosen, dtype=np.bool_)
