"""Where the goods of a day went: to whom the morning gave them, by the pool's rank as they came, or past both.

Goods are alike, so only the evening's sums count: a line that got goods before its turn and has them by right in the
evening, because more came, did nothing wrong.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.limits import Limits
from decisions.pool_programme import QUANTITY_TOLERANCE, in_steps
from decisions.ranking import POOL_IDS, is_held, is_pinned, pool_codes
from decisions.ship_groups import ships_whole

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Day:
    """What happened between a morning and its evening.

    Parameters
    ----------
    left : order_line_id, product_id, warehouse_id, shipped_quantity, withdrawn_quantity, received_quantity (inbound for
        this line alone) since the morning, last_left_at (UTC; null: not known); also of lines not in the queue
    shelf : product_id, warehouse_id, available_now in the evening; a pool that is not there has none
    turns : as `turns_of` the morning's lines
    """

    left: pd.DataFrame
    shelf: pd.DataFrame
    turns: pd.DataFrame


@dataclass(frozen=True)
class Units:
    """Units of each line of a queue by what became of them; arrays of (n_lines,).

    Of what was advised `done` left, `withdrawn` is wanted no more, for `no_goods` the goods were not there after all,
    and the rest, `not_done`, is wanted still. What left beyond the advice is `in_turn` (goods that came or were set
    free, by the pool's rank), `out_of_turn` (such goods, past a line whose turn it was) or `against` the advice: goods
    that others should have had. `passed_over`: what it would have got in its turn and the shelf cannot give it now.
    """

    advised: Floats
    done: Floats
    withdrawn: Floats
    no_goods: Floats
    not_done: Floats
    in_turn: Floats
    out_of_turn: Floats
    against: Floats
    passed_over: Floats

    @classmethod
    def of(cls, queue: pd.DataFrame, day: Day) -> "Units":
        """Compare the queue with what left since."""
        open_units, advised = (queue[name].to_numpy(np.float64) for name in ("open_quantity", "ship_now_quantity"))
        shipped, withdrawn = moved(queue, day.left)
        done = np.minimum(advised, shipped)
        # What is cancelled is taken from what should wait first: only what then is open no more cannot be shipped.
        wanted = np.maximum(open_units - withdrawn, 0.0)
        due = np.minimum(advised, np.maximum(wanted, done))
        lacking, beyond = due - done, shipped - done
        book = _Book.of(queue, day, np.maximum(wanted - due, 0.0), beyond)
        goods = goods_of_pools(queue, day)
        shelf, left = (goods[name].to_numpy(np.float64) for name in ("shelf", "left"))
        # Below 0: less was there than the morning knew, so some of the advice could not be followed.
        free = shelf + left - book.sum(due)
        no_goods = book.from_last(np.clip(-free, 0.0, book.sum(lacking)), lacking)
        not_done = lacking - no_goods
        # What no advised line needs was free to be given; goods on the shelf are first those of advised lines.
        given = np.clip(free, 0.0, book.sum(beyond))
        idle = np.maximum(shelf - book.sum(not_done), 0.0)
        right = book.deal(given + idle, book.claims, book.own)
        in_turn = np.minimum(beyond, right)
        past = beyond - in_turn
        against = book.from_last(book.sum(beyond) - given, past)
        lacks = right - in_turn
        harmed = (book.sum(past - against) > QUANTITY_TOLERANCE)[book.pool]
        passed_over = np.where(harmed, lacks - book.deal(idle, lacks, 0.0 * lacks), 0.0)
        return cls(advised, done, advised - due, no_goods, not_done, in_turn, past - against, against, passed_over)


def turns_of(lines: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """In which order a morning's lines are to get goods that come during the day, and how much each may have.

    Whether the goods of a ship group could leave, and whose protected goods are, is not judged by one pool's rank:
    such lines are neither passed over nor served out of turn, unless they are held.

    Parameters
    ----------
    lines : that goods were given out to, with pool_rank
    limits : the site's rules for them

    Returns
    -------
    order_line_id, turn (1.. over all lines: pins, then the rules' turns, then the pool's rank), most (units it may
    have in all), is_whole, quantity_step, is_judged.
    """
    key = np.where(np.isnan(limits.sort_key), np.inf, limits.sort_key)
    order = np.lexsort((lines["order_line_id"], lines["pool_rank"], key, limits.turn, ~is_pinned(lines)))
    turn = np.empty(len(lines), dtype=np.int64)
    turn[order] = np.arange(1, len(lines) + 1)
    protected = limits.protected.sum(axis=0) > 0
    return pd.DataFrame(
        {
            "order_line_id": lines["order_line_id"].to_numpy(),
            "turn": turn,
            "most": np.where(is_held(lines), 0.0, limits.most),
            "is_whole": ships_whole(lines),
            "quantity_step": lines["quantity_step"].to_numpy(np.float64),
            "is_judged": is_held(lines) | ~(lines["ship_group"].notna().to_numpy() | protected[pool_codes(lines)]),
        }
    )


def goods_of_pools(queue: pd.DataFrame, day: Day) -> pd.DataFrame:
    """Goods of the queue's pools: `morning` + `came` = `left` + `shelf`, in the order of their ids.

    `left` counts every line of the pool; `came` is what the stock law says on balance: received, counted anew, set
    free; below 0 where less was there than the morning knew.
    """
    morning = queue.groupby(POOL_IDS, sort=True)["available_now"].first()
    shipped = day.left.assign(shipped_quantity=day.left["shipped_quantity"].clip(lower=0.0))
    shipped = shipped.sort_values([*POOL_IDS, "order_line_id"])
    left = shipped.groupby(POOL_IDS)["shipped_quantity"].sum().reindex(morning.index, fill_value=0.0)
    shelf = day.shelf.set_index(POOL_IDS)["available_now"].reindex(morning.index, fill_value=0.0)
    return pd.DataFrame({"morning": morning, "came": shelf + left - morning, "left": left, "shelf": shelf})


@dataclass(frozen=True)
class _Book:
    """The lines of a queue, pool by pool in the order of their turns, and what each may claim of goods that come."""

    pool: Codes
    order: npt.NDArray[np.intp]
    own: Floats  # of goods that came for this line alone
    claims: Floats
    is_whole: npt.NDArray[np.bool_]
    step: Floats

    @classmethod
    def of(cls, queue: pd.DataFrame, day: Day, wanted: Floats, beyond: Floats) -> "_Book":
        """Claim what each line wants beyond the advice; one that is not judged claims what it got."""
        turns = day.turns.set_index("order_line_id").reindex(queue["order_line_id"])
        judged = turns["is_judged"].to_numpy(np.bool_)
        allowed = turns["most"].to_numpy(np.float64) - queue["ship_now_quantity"].to_numpy(np.float64)
        received = day.left.set_index("order_line_id")["received_quantity"].reindex(queue["order_line_id"])
        own = np.clip(received.to_numpy(np.float64, na_value=0.0), 0.0, beyond)
        claims = np.where(judged, np.clip(allowed, 0.0, wanted), beyond)
        pool = pool_codes(queue)
        return cls(
            pool,
            np.lexsort((turns["turn"].to_numpy(), pool)),
            own,
            np.maximum(claims, own),
            turns["is_whole"].to_numpy(np.bool_) & judged,
            turns["quantity_step"].to_numpy(np.float64),
        )

    def sum(self, units: Floats) -> Floats:
        """Units of each pool, in the order of their ids."""
        return np.asarray(np.bincount(self.pool[self.order], weights=units[self.order]), dtype=np.float64)

    def deal(self, goods: Floats, claims: Floats, own: Floats) -> Floats:
        """Give each pool's goods to the claims: first what came for a line alone, then turn by turn; (n_lines,).

        A line that ships whole is passed while less than all it claims is there.
        """
        left, got = np.array(goods, dtype=np.float64), np.zeros(len(claims))
        for line in self.order[own[self.order] > 0]:
            got[line] = min(own[line], claims[line], left[self.pool[line]])
            left[self.pool[line]] -= got[line]
        for line in self.order[claims[self.order] - got[self.order] > QUANTITY_TOLERANCE]:
            more, there = claims[line] - got[line], left[self.pool[line]]
            if more > there + QUANTITY_TOLERANCE:
                more = 0.0 if self.is_whole[line] else float(in_steps(there, self.step[line]))
            got[line] += more
            left[self.pool[line]] = max(there - more, 0.0)
        return got

    def from_last(self, units: Floats, of: Floats) -> Floats:
        """Take each pool's units from what the lines have, those whose turn is last first; (n_lines,)."""
        left, taken = np.array(units, dtype=np.float64), np.zeros(len(of))
        for line in self.order[::-1][of[self.order[::-1]] > 0]:
            taken[line] = min(of[line], max(left[self.pool[line]], 0.0))
            left[self.pool[line]] -= taken[line]
        return taken


def moved(queue: pd.DataFrame, left: pd.DataFrame) -> tuple[Floats, Floats]:
    """Units shipped and withdrawn of each line since, not below 0; shipped at most what was open."""
    of_line = left.set_index("order_line_id")[["shipped_quantity", "withdrawn_quantity"]].reindex(
        queue["order_line_id"]
    )
    shipped, withdrawn = (of_line[name].to_numpy(np.float64, na_value=0.0) for name in of_line)
    open_units = queue["open_quantity"].to_numpy(np.float64)
    return np.clip(shipped, 0.0, open_units), np.maximum(withdrawn, 0.0)
