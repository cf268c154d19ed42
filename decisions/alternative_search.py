"""The best choice among a few ways of serving a few lines, by branch and bound.

Depth first, line by line: each is served by one of its ways or by none; lines that may be cut share at the end what is
left, the worthiest first. The prices of the linear relaxation bound what can still be saved (Lagrangian bound; Fisher
1981, Management Science 27: 1-18): an option costs its regret, by how much the line's best one saves more at these
prices.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.alternative_ways import Ways
from decisions.pool_programme import QUANTITY_TOLERANCE, in_steps

Floats = npt.NDArray[np.float64]

MOST_NODES = 200  # of one search: a limit by time would give other advice on another machine
TOLERANCE = 1e-9  # of the bound
NOBODY = -1


class Found(NamedTuple):
    """Units of each way, None if nothing better than what was known was found, and what no choice can exceed."""

    units: Floats | None
    bound: float


class Option(NamedTuple):
    """One way of serving a line, or `NOBODY`: all it wants at once, or steps of what is left at the end.

    Parameters
    ----------
    units : taken at once, 0 for steps
    most : of steps, 0 at once
    money : saved at once; for steps the money of one unit
    """

    regret: float
    way: int
    pool: int
    units: float
    most: float
    money: float


def search(ways: Ways, spare: Floats, reduced: Floats, bound: float, known: float) -> Found:
    """Look for the choice that saves most, in at most `MOST_NODES` steps.

    Parameters
    ----------
    ways : of one problem
    spare : (n_pools,), units that each pool can spare
    reduced : (n_ways,), money that each way saves at most if its goods are paid for at the relaxation's prices
    bound : the relaxation's: what the best ways of all lines save so, and the goods' price
    known : money that a choice at hand saves
    """
    tree = _Tree(ways, spare, reduced, bound, known)
    tree.descend(0, 0.0, 0.0)
    return Found(tree.best, bound if tree.n_nodes >= MOST_NODES else tree.value)


class _Tree:
    def __init__(self, ways: Ways, spare: Floats, reduced: Floats, bound: float, known: float):
        self.bound, self.value = bound, known
        self.slack = TOLERANCE * max(bound, 1.0)
        self.left = {pool: float(spare[pool]) for pool in np.unique(ways.pool).tolist()}
        self.step = dict(zip(ways.pool.tolist(), ways.step.tolist(), strict=True))
        self.fixed_cost = ways.fixed_cost.tolist()
        # What costs more than the gap stands in no better choice.
        most = bound - known - self.slack
        options = [[option for option in of_line if option.regret < most] for of_line in _options(ways, reduced)]
        self.best: Floats | None = None
        self.chosen = [of_line[0] for of_line in options if len(of_line) == 1 and of_line[0].most]
        self.lines = [of_line for of_line in options if len(of_line) != 1 or not of_line[0].most]
        self.n_nodes, self.n_ways = 0, len(ways.line)

    def descend(self, depth: int, regret: float, saved: float) -> None:
        """Try the options of the line at this depth that could still beat the best choice known."""
        if depth == len(self.lines):
            self._note(saved)
            return
        for option in self.lines[depth]:
            if self.bound - regret - option.regret <= self.value + self.slack or self.n_nodes >= MOST_NODES:
                return
            if option.way == NOBODY:
                self.n_nodes += 1
                self.descend(depth + 1, regret + option.regret, saved)
            elif option.units <= self.left[option.pool] + QUANTITY_TOLERANCE:
                self.n_nodes += 1
                self.left[option.pool] -= option.units
                self.chosen.append(option)
                now = option.money if option.units else 0.0
                self.descend(depth + 1, regret + option.regret, saved + now)
                self.chosen.pop()
                self.left[option.pool] += option.units

    def _note(self, saved: float) -> None:
        """Let lines that may be cut share what is left, and keep the choice if none is better so far."""
        left, steps = dict(self.left), {}
        for option in sorted((chosen for chosen in self.chosen if chosen.most), key=_worthiest):
            step = self.step[option.pool]
            fits = (left[option.pool] / step + QUANTITY_TOLERANCE) // 1 * step
            units = option.most if option.most <= fits + QUANTITY_TOLERANCE else fits
            money = option.money * units - self.fixed_cost[option.way]
            if money > 0:
                saved += money
                steps[option.way], left[option.pool] = units, left[option.pool] - units
        if saved > self.value + self.slack:
            units_of = np.zeros(self.n_ways)
            for option in self.chosen:
                units_of[option.way] = option.units if option.units else steps.get(option.way, 0.0)
            self.value, self.best = saved, units_of


def _worthiest(option: Option) -> tuple[float, int]:
    return -option.money, option.way


def _options(ways: Ways, reduced: Floats) -> list[list[Option]]:
    """Options of each line, the least regret first; lines that may be cut last, those whose choice matters most first.

    A line that may be cut and wants whole steps has no use for nobody: it takes what the worthier ones leave, which
    may be nothing. Unless taking anything has a cost of its own: then it may do better to leave it to others.
    """
    lots = in_steps(ways.wanted, ways.step)
    is_on_step = np.abs(lots - ways.wanted) <= QUANTITY_TOLERANCE
    lots = np.where(is_on_step, ways.wanted, lots)
    at_once = ways.is_whole | ~is_on_step
    money = ways.money(ways.wanted)
    lines: dict[int, list[Option]] = {}
    needs_nobody: set[int] = set()
    for way, line in enumerate(ways.line.tolist()):
        options, pool, saved = lines.setdefault(line, []), int(ways.pool[way]), float(reduced[way])
        if at_once[way]:
            options.append(Option(-saved, way, pool, float(ways.wanted[way]), 0.0, float(money[way])))
        if not ways.is_whole[way] and lots[way] > 0:
            # What is left may be nothing, and then it costs nothing.
            options.append(Option(-max(saved, 0.0), way, pool, 0.0, float(lots[way]), float(ways.worth[way])))
        if at_once[way] or ways.fixed_cost[way] > 0:
            needs_nobody.add(line)
    for line, options in lines.items():
        best = max(0.0, *(-option.regret for option in options))
        nobody = [Option(0.0, NOBODY, NOBODY, 0.0, 0.0, 0.0)] if line in needs_nobody else []
        lines[line] = sorted(option._replace(regret=option.regret + best) for option in [*options, *nobody])
    return sorted(lines.values(), key=_first_to_decide)


def _first_to_decide(options: list[Option]) -> tuple[bool, float, int]:
    is_cut = any(option.most for option in options)
    return is_cut, -(options[1].regret if len(options) > 1 else 0.0), max(option.way for option in options)
