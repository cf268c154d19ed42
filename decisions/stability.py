"""Few lines get other goods than by the last queue, unless enough money is at stake: who keeps them, at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.kept_plan import Book, KeptPlan, MostToGain
from decisions.move_budget import SAME_MONEY, Frontier, best_within, is_exact, linear_bound
from decisions.policy import Policy
from decisions.ranking import sorted_pools
from decisions.releases import Releases, Tried
from decisions.rules import limits_of

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

ANY_NUMBER = -1
FIGURES = ("moves_wanted", "moves_from_plan", "released_worth_more", "forgone", "bound")


@dataclass(frozen=True, eq=False)
class Steady:
    """Which lines keep goods, and what the other plans would have given them; columns indexed like the lines.

    Parameters
    ----------
    kept_quantity : units that lines keep of what the last queue gave them, served before every turn
    planned_quantity : units if every line kept them, the rest given out by today's worth
    free_quantity : units if no line kept them: today's optimum
    facts : max_moves, move_worth, and, null if any number may move:
        moves_wanted, moves_from_plan : lines of both queues that get other than planned: in today's optimum, and now
        released_worth_more : lines of them beyond max_moves, as an exchange saves more than move_worth
        forgone : money that today's optimum would save more, by loss_if_waits, later goods not planned anew
        bound : money that another choice of lines to release, with as few moves, could save more at most; 0 where
            today's optimum needs no more moves than may be made: then it is given out
    """

    kept_quantity: pd.Series
    planned_quantity: pd.Series
    free_quantity: pd.Series
    facts: Mapping[str, float | None]


def hold_steady(lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy) -> Steady:
    """Choose the lines that give up what the last queue gave them, so that most money is saved with few moves.

    The plan: the last queue's units stay with their lines as far as the goods are here and pins, holds, exclusions,
    credit holds and limits of today allow; what is left goes by today's worth. A move is a line of both queues that
    gets other than that. At most policy.max_moves lines move; but an exchange that saves more than policy.move_worth
    is made whatever the count, and counts first. An exchange is a step along the best ways to change one part of the
    book (pools that ship groups tie together), by falling money per move. Each set of lines that is released is judged
    by giving the goods out again, so all rules of the site hold; a turn or typed sequence of the site moves goods that
    a line keeps only where it saves money, or moves are left.

    Parameters
    ----------
    lines : open lines as `give_out` takes them, with last_given_quantity (of `last_given.last_given`)
    pools : as `give_out` takes them
    policy : max_moves (-1: any number, nothing is kept), move_worth, and the site's rules

    Returns
    -------
    Steady; with its kept_quantity among the lines' columns, `limits_of` and `give_out` repeat the choice.

    One unit that a has from the last queue, and b loses 2 more without it:

    >>> lines = pd.DataFrame({"order_line_id": ["a", "b"], "product_id": "p", "warehouse_id": "w", "ship_group": None,
    ...     "group_waits_elsewhere": False, "loss_if_waits": [8.0, 10.0], "open_quantity": 1.0,
    ...     "quantity_step": 1.0, "may_split": False, "due_on": np.datetime64("2026-01-05", "s"), "credit_hold": False,
    ...     "override": None, "override_quantity": np.nan, "last_given_quantity": [1.0, 0.0]})
    >>> pools = pd.DataFrame({"product_id": ["p"], "warehouse_id": ["w"], "available_now": [1.0]})
    >>> steady = hold_steady(lines, pools, Policy(max_moves=1))
    >>> steady.kept_quantity.tolist(), steady.facts["moves_wanted"], steady.facts["forgone"]
    ([1.0, 0.0], 2, 2.0)
    """
    last = lines["last_given_quantity"].to_numpy(np.float64)
    if policy.max_moves == ANY_NUMBER or np.isnan(last).all():
        return _nothing_kept(lines, policy)
    order = np.argsort(lines["order_line_id"].to_numpy(dtype=object), kind="stable")
    rows, goods = lines.iloc[order].reset_index(drop=True), sorted_pools(pools)
    plan = KeptPlan.of(Book.of(rows, goods, policy, limits_of(rows, goods, policy)), last[order])
    if plan.moved(plan.free).sum() <= policy.max_moves:
        kept, bound = np.zeros(len(lines)), 0.0
    else:
        kept, bound = _Search.of(plan).best()
    place = np.argsort(order)
    kept_quantity, planned, free = (
        pd.Series(units[place], index=lines.index) for units in (kept, plan.planned, plan.free)
    )
    return Steady(kept_quantity, planned, free, _facts(plan, kept, bound))


def _nothing_kept(lines: pd.DataFrame, policy: Policy) -> Steady:
    """Any number may move, or there is no plan to keep."""
    nothing, unknown = pd.Series(0.0, index=lines.index), pd.Series(np.nan, index=lines.index)
    figures = dict.fromkeys(FIGURES, None if policy.max_moves == ANY_NUMBER else 0)
    return Steady(nothing, unknown, unknown, _stated(policy) | figures)


def _stated(policy: Policy) -> dict[str, float | None]:
    return {"max_moves": policy.max_moves, "move_worth": policy.move_worth}


def _facts(plan: KeptPlan, kept: Floats, bound: float) -> dict[str, float | None]:
    given, policy = plan.book.given(kept), plan.book.policy
    wanted, made = int(plan.moved(plan.free).sum()), int(plan.moved(given).sum())
    forgone = float(np.sort(plan.money(plan.free) - plan.money(given)).sum())
    figures = (wanted, made, max(made - policy.max_moves, 0), forgone, bound)
    return _stated(policy) | dict(zip(FIGURES, figures, strict=True))


@dataclass(frozen=True, eq=False)
class _Search:
    """The ways that each part of the book was tried, and what has to be done of them whatever the count."""

    plan: KeptPlan
    releases: Releases
    tried: Tried
    frontiers: Sequence[Frontier]
    first: Codes  # place in each frontier: exchanges up to there save more than move_worth

    @classmethod
    def of(cls, plan: KeptPlan) -> "_Search":
        """Try the sets of lines to release."""
        releases = Releases.of(plan)
        tried = Tried.of(plan, releases)
        frontiers = tried.frontiers(len(releases.parts))
        first = [front.worth_more_than(plan.book.policy.move_worth) for front in frontiers]
        return cls(plan, releases, tried, frontiers, np.array(first, dtype=np.int64))

    def best(self) -> tuple[Floats, float]:
        """Units kept, and money that another choice with as few moves could save more at most."""
        plan, pairs = self.plan, list(zip(self.frontiers, self.first.tolist(), strict=True))
        n_first = int(sum(front.moves[place] for front, place in pairs))
        most = max(plan.book.policy.max_moves, n_first)
        beyond, left = [front.beyond(place) for front, place in pairs], most - n_first
        while True:
            kept = self.releases.kept_after(plan, self._with_rules(best_within(beyond, left), left))
            given = plan.book.given(kept)
            over = int(plan.moved(given).sum()) - most
            # Where ship groups tie pools, which of equal choices a part of the book takes can hang on the other parts.
            if over <= 0 or not left:
                break
            left = max(min(left - over, left * 3 // 4), 0)
        could_save = self._could_save(beyond, most - n_first, most)
        more = could_save - float(plan.money(given).sum())
        return kept, more if more > SAME_MONEY * max(1.0, abs(could_save)) else 0.0

    def _could_save(self, beyond: Sequence[Frontier], rest: int, most: int) -> float:
        """Money that no choice of lines to release saves more than the plan with as few moves."""
        if self.releases.tries_every.all() and is_exact(beyond, rest):
            places = (self.first + best_within(beyond, rest)).tolist()
            return float(sum(front.gain[place] for front, place in zip(self.frontiers, places, strict=True)))
        bound, book = linear_bound(self._tops(), most), self.plan.book
        if book.limits.binds():
            return bound
        gap = self.plan.free_gap[np.isin(book.part, self.releases.parts)].sum()
        return min(bound, float(self.plan.money(self.plan.free).sum() + gap))

    def _with_rules(self, places: Codes, rest: int) -> Codes:
        """Way of each part; moves that are left serve today's turns and sequences where these save no money."""
        at = list(zip(self.frontiers, (self.first + places).tolist(), strict=True))
        ways = np.array([front.way[place] for front, place in at], dtype=np.int64)
        if not self.plan.book.limits.binds():
            return ways
        left = rest - sum(int(front.moves[place]) for front, place in at)
        left += sum(int(front.moves[place]) for front, place in zip(self.frontiers, self.first, strict=True))
        moves, gain = self.tried.of_way(self.releases.n_sets)
        extra = moves - np.array([front.moves[place] for front, place in at], dtype=np.int64)
        due = np.array([front.gain[place] for front, place in zip(self.frontiers, self.first, strict=True)])
        for part in np.argsort(extra, kind="stable").tolist():
            if ways[part] != self.releases.n_sets[part] and extra[part] <= left and gain[part] >= due[part]:
                ways[part] = self.releases.n_sets[part]
                left -= int(extra[part])
        return ways

    def _tops(self) -> list[Frontier]:
        """What no way of a part can exceed: its own ways where all were tried, else a bound for each of its pools."""
        most, every, book = MostToGain.of(self.plan), self.releases.tries_every, self.plan.book
        tried = [front for front, is_every in zip(self.frontiers, every.tolist(), strict=True) if is_every]
        pools = np.flatnonzero(np.isin(book.part, self.releases.parts[~every]))
        return [*tried, *most.of_pools(pools)]
