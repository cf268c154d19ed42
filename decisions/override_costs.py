"""What each planner's word costs: the goods given out again without it, all other words and rules kept."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import give_out
from decisions.loss_of_choice import LossOfChoice
from decisions.overrides import NO_WORD, Naming, naming, ruled_by
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import is_excluded, sorted_pools
from decisions.rules import limits_of
from decisions.tied_pools import parts_of_book
from models.arrival import places_in

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Counts bound the work: 10,000 words on 100,000 lines of 5,000 pools need 1.8 million lines. Hundreds of words on the
# lines of one pool, or of pools that ship groups tie into one, need more; those with the least money are not priced.
MOST_TURNS = 500
MOST_LINES_AGAIN = 2_500_000


@dataclass(frozen=True)
class WordCosts:
    """What words cost, in money and units, and which word rules which line.

    `cost` is the money lost in expectation with the word less that without it, now and at later receipts, and
    `units_moved` the units that lines get more today with it than without; both (n_words,), 0 for a word that rules
    nothing, NaN where the bound on the work was reached. The last three are of all words together, against none at all.
    """

    cost: Floats
    units_moved: Floats
    naming: Naming
    ruling: Codes  # (n_lines,) row of the word that rules the line
    cost_of_all: float
    units_moved_by_all: float
    n_lines_moved_by_all: int


@dataclass(frozen=True)
class _Morning:
    """The lines and what they were given, and which pools hang together; arrays of (n_lines,)."""

    lines: pd.DataFrame
    pools: pd.DataFrame  # in the order of their ids
    policy: Policy
    words: pd.DataFrame
    given: Floats
    part: Codes  # of the line's pool
    matters: Flags  # lines of pools with goods, and those that an exclusion names: no other word changes anything
    part_of_pool: Codes  # (n_pools,)
    loss: LossOfChoice
    lost: Floats  # (n_parts,), money lost in expectation as it is

    def without(self, ruling: Codes, parts: Codes) -> tuple[Codes, Floats, Floats]:
        """Rows of the lines in these parts, the units each gets more if ruled by these words instead, money lost more.

        The last is by part, 0 elsewhere.
        """
        rows = np.flatnonzero(np.isin(self.part, parts))
        lines = ruled_by(self.lines.iloc[rows], self.words, ruling[rows])
        pools = self.pools[np.isin(self.part_of_pool, parts)]
        again = give_out(lines, pools, self.policy, limits_of(lines, pools, self.policy))
        more = again.ship_now_quantity.to_numpy(np.float64) - self.given[rows]
        lost = _by_part(self.loss.only(rows), self.given[rows] + more, lines, self.part[rows], len(self.lost))
        change = np.where(np.isin(np.arange(len(lost)), parts), lost - self.lost, 0.0)
        return rows, np.where(np.abs(more) > QUANTITY_TOLERANCE, more, 0.0), change


def _by_part(loss: LossOfChoice, given: Floats, lines: pd.DataFrame, part: Codes, n_parts: int) -> Floats:
    """Money lost in expectation by the lines of each part of the book, (n_parts,)."""
    part_of_pool = np.zeros(len(loss.goods), dtype=np.int64)
    part_of_pool[loss.pool] = part
    lost = loss.by_pool(given, is_excluded(lines))
    return np.bincount(part_of_pool, lost, minlength=n_parts).astype(np.float64)


def cost_of_words(
    lines: pd.DataFrame, pools: pd.DataFrame, policy: Policy, words: pd.DataFrame, given: pd.Series, loss: LossOfChoice
) -> WordCosts:
    """Price every word that holds by giving out again without it: its lines then obey the next word that names them.

    Goods are given out again only in pools tied to the word's lines; words whose pools are not tied to each other are
    tried at one time. They are given out at the loss_if_waits found with the words, and each choice is then judged with
    later goods planned anew (`LossOfChoice`), so that a large line's cost is not reckoned at the price of one unit.
    Where ship groups leave a gap to the best choice, a cost is no surer than that gap.

    Parameters
    ----------
    lines : open lines with loss_if_waits, ruled by `apply_overrides`
    pools : product_id, warehouse_id, available_now, units_per_day
    words : as in `decisions.overrides.naming`
    given : ship_now_quantity that `give_out` made of them, indexed like the lines
    loss : of the same lines
    """
    named = naming(lines, words)
    ruling = named.of_place(0, len(lines))
    if (ruling == NO_WORD).all():
        nothing = np.zeros(len(words))
        return WordCosts(nothing, nothing.copy(), named, ruling, 0.0, 0.0, 0)
    morning = _morning(lines, pools, policy, words, given, loss, named)
    cost, moved = _each(morning, named, ruling)
    concerned = np.unique(morning.part[(ruling != NO_WORD) & morning.matters])
    _, more, lost_more = morning.without(np.full(len(lines), NO_WORD, dtype=np.int64), concerned)
    all_cost = -float(lost_more.sum())
    return WordCosts(cost, moved, named, ruling, all_cost, float(np.maximum(-more, 0).sum()), int((more != 0).sum()))


def _morning(
    lines: pd.DataFrame,
    pools: pd.DataFrame,
    policy: Policy,
    words: pd.DataFrame,
    given: pd.Series,
    loss: LossOfChoice,
    named: Naming,
) -> _Morning:
    ordered = sorted_pools(pools)
    pool = places_in(ordered, lines)
    part = parts_of_book(lines, pool, len(ordered))
    has_goods = (ordered["available_now"].to_numpy(np.float64) > QUANTITY_TOLERANCE)[pool]
    units = given.to_numpy(np.float64)
    lost = _by_part(loss, units, lines, part[pool], len(ordered))
    # An excluded line waits for later goods no more: words that put it out, or keep it in, matter without goods here.
    says_out = (words["action"] == "exclude").to_numpy(np.bool_)[named.word]
    matters = has_goods | np.isin(np.arange(len(lines)), named.line[says_out])
    return _Morning(lines, ordered, policy, words, units, part[pool], matters, part, loss, lost)


def _each(morning: _Morning, named: Naming, ruling: Codes) -> tuple[Floats, Floats]:
    """Cost and units moved of each word; (n_words,) both."""
    next_word = named.of_place(1, len(morning.lines))
    part, word = _tries(morning, ruling)
    turn, is_tried = _turns(part, np.bincount(morning.part, minlength=1))
    cost, moved = np.zeros(len(morning.words)), np.zeros(len(morning.words))
    for n in range(int(turn[is_tried].max(initial=-1)) + 1):
        here = np.flatnonzero(is_tried & (turn == n))
        tried = np.full(int(morning.part.max()) + 1, NO_WORD, dtype=np.int64)
        tried[part[here]] = word[here]
        goes = (ruling != NO_WORD) & (tried[morning.part] == ruling)
        rows, more, lost_more = morning.without(np.where(goes, next_word, ruling), part[here])
        cost -= np.bincount(word[here], lost_more[part[here]], len(cost))
        moved += np.bincount(tried[morning.part[rows]], np.maximum(-more, 0), len(moved))
    cost[word[~is_tried]], moved[word[~is_tried]] = np.nan, np.nan
    return cost, moved


def _turns(part: Codes, n_lines: Codes) -> tuple[Codes, Flags]:
    """In which turn each part tries each of its words, and whether the bound on the work allows it: small parts first.

    Parameters
    ----------
    part : (n_tries,) sorted
    n_lines : (n_parts,) lines to give out to again in each part
    """
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    turn = np.arange(len(part)) - np.repeat(starts, np.diff(np.append(starts, len(part))))
    again = n_lines[part]
    order = np.lexsort((part, turn, again))
    fits = np.empty(len(part), dtype=np.bool_)
    fits[order] = np.cumsum(again[order]) <= MOST_LINES_AGAIN
    return turn.astype(np.int64), fits & (turn < MOST_TURNS)


def _tries(morning: _Morning, ruling: Codes) -> tuple[Codes, Codes]:
    """Each part with goods and each word that rules lines in it: part by part, the words with most money first."""
    rows = np.flatnonzero((ruling != NO_WORD) & morning.matters)
    n_words = max(len(morning.words), 1)
    pair, of_pair = np.unique(morning.part[rows] * n_words + ruling[rows], return_inverse=True)
    loss = np.abs(morning.lines["loss_if_waits"].to_numpy(np.float64)[rows])
    money = np.bincount(of_pair, loss, len(pair))
    order = np.lexsort((pair, -money, pair // n_words))
    return (pair // n_words)[order].astype(np.int64), (pair % n_words)[order].astype(np.int64)
