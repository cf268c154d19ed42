"""The stated programme solved for all pools at once: a primal-dual interior point method, vectorised over lines.

Mehrotra's predictor and corrector (1992, SIAM J. Optimization 2, 575-601) with step lengths of each pool's own. Shares
of a line sum to 1, so Newton's system shrinks to one small matrix per pool (n_chances x n_chances): work grows with the
lines alone, however they are spread over pools. A pool leaves as soon as its own gap is closed. Plans keep to the goods
and prices to their signs throughout, so every pool ends with a plan, and with a bound that proves it.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from decisions.programme import Programme, goods_by, may_be_served, price_of, summed, with_empty_chances

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RELATIVE_GAP = 1e-9
MOST_STEPS = 40
LINES_AT_ONCE = 8192  # arrays of some 400 kB stay near the processor
SHORT_OF_THE_EDGE = 0.995
LIMIT_WEIGHT = 0.05  # of a limit on the goods beside all lines of its pool together
FAR = 1e3


@dataclass
class _Lines:
    """Lines of the pools still at work; choices stand first, the last one is not to be served by the pool's goods.

    Parameters
    ----------
    row : (n_lines,), of the programme
    pool : (n_lines,), place among the pools at work
    cost, units : (n_choices, n_lines), scaled
    share, slack : (n_choices, n_lines), share served [x] and what the choice costs beyond the line's best [z]
    weight : (n_lines,), part of its pool that a line is. Share x slack goes to 0 in proportion to it, so that two
        halves of a line move like the line: splitting it changes no price, where prices are not unique either
    """

    row: Codes
    pool: Codes
    cost: Floats
    units: Floats
    share: Floats
    slack: Floats
    weight: Floats


@dataclass
class _Pools:
    """Pools still at work; chances stand first.

    Parameters
    ----------
    row : (n_pools,), of the programme
    starts : (n_pools,), first line of each
    goods : (n_chances, n_pools), units up to each chance, scaled [G]
    left : of the same shape, goods left [s]
    price : of the same shape, price of each limit [mu]
    binds : of the same shape, whether there is such a limit; without one `left` is 1 and `price` 0
    """

    row: Codes
    starts: Codes
    goods: Floats
    left: Floats
    price: Floats
    binds: Flags

    def sums(self, of_lines: Floats) -> Floats:
        """Sums over the lines of each pool."""
        return np.asarray(np.add.reduceat(of_lines, self.starts, axis=-1))


@dataclass(frozen=True)
class _Move:
    """A step's direction, shaped like what it changes."""

    share: Floats
    slack: Floats
    left: Floats
    price: Floats


def plan_by_interior_point(
    programme: Programme, relative_gap: float = RELATIVE_GAP, lines_at_once: int = LINES_AT_ONCE
) -> tuple[Floats, Floats]:
    """Shares served (n_lines, n_chances) and prices (n_pools, n_chances), in the middle of the best plans and prices.

    One unit now and half a unit later for two lines of one unit that lose 10 and 6 until then, 30 and 20 without: a
    unit later saves the second 14, and a unit now what lies between their waits, 10 + 14 and 6 + 14.

    >>> programme = Programme(np.array([0, 0]), np.array([[0.0, 10.0], [0.0, 6.0]]), np.ones((2, 2)),
    ...     np.array([30.0, 20.0]), np.array([[1.0, 0.5]]))
    >>> served, price = plan_by_interior_point(programme)
    >>> served.round(4).tolist(), bool(20 < price[0, 0] < 24), float(price[0, 1].round(4))
    ([[1.0, 0.0], [0.0, 0.5]], True, 14.0)
    """
    served, price = np.zeros(programme.cost.shape), np.zeros(programme.goods.shape)
    for of_lines, of_pools, part in programme.parts(lines_at_once):
        served[of_lines], price[of_pools] = _solved(part, relative_gap)
    return served, with_empty_chances(programme, price)


def _solved(programme: Programme, relative_gap: float) -> tuple[Floats, Floats]:
    served, price = np.zeros(programme.cost.shape), np.zeros(programme.goods.shape)
    rows = np.unique(programme.pool)
    if not len(rows):
        return served, price
    money, per_unit = _scales(programme, rows)
    lines, pools = _start(programme, rows, money, per_unit)
    for _ in range(MOST_STEPS):
        is_done = _gap(lines, pools) <= relative_gap
        _keep(lines, pools, is_done, served, price)
        lines, pools = _without(lines, pools, is_done)
        if not len(pools.row):
            break
        _step(lines, pools)
    _keep(lines, pools, np.ones(len(pools.row), dtype=bool), served, price)
    served[~may_be_served(programme)] = 0.0
    price[rows] *= (money / per_unit)[:, None]
    return served, price


def _choices(programme: Programme) -> tuple[Floats, Floats]:
    """Cost and units of every choice; one that is not allowed stands in as one more way not to be served."""
    may = may_be_served(programme)
    cost = np.where(may, programme.cost, programme.cost_without[:, None]).T
    units = np.where(may, programme.units, 0.0).T
    cost = np.vstack([cost, programme.cost_without])
    return cost - cost.min(axis=0), np.vstack([units, np.zeros(len(programme.pool))])


def _scales(programme: Programme, rows: Codes) -> tuple[Floats, Floats]:
    """Money at stake and units wanted in each pool."""
    cost, units = _choices(programme)
    starts = np.searchsorted(programme.pool, rows)
    money = np.add.reduceat(cost.max(axis=0), starts)
    per_unit = np.add.reduceat(units.max(axis=0), starts)
    return np.where(money > 0, money, 1.0), np.where(per_unit > 0, per_unit, 1.0)


def _start(programme: Programme, rows: Codes, money: Floats, per_unit: Floats) -> tuple[_Lines, _Pools]:
    """Even shares that take half of the goods at most, and prices of 1."""
    cost, units = _choices(programme)
    pool, starts = np.searchsorted(rows, programme.pool), np.searchsorted(programme.pool, rows)
    cost, units = cost / money[pool], units / per_unit[pool]
    goods = (goods_by(programme)[rows] / per_unit[:, None]).T
    wanted = np.add.reduceat(units.max(axis=0), starts)
    # Goods beyond all that the pool wants are no limit, and before any goods there is nothing to limit.
    binds = (goods > 0) & (goods < wanted * (1 - 1e-12))
    share = np.full(cost.shape, 1.0 / len(cost))
    used = summed(np.add.reduceat(share[:-1] * units[:-1], starts, axis=1))
    part = np.minimum(np.where(binds, 0.5 * goods / np.where(used > 0, used, 1.0), 1.0), 1.0)
    part[1:] = part[1:].min(axis=0, initial=1.0)
    share[:-1] *= part[:, pool]
    share[-1] = 1 - share[:-1].sum(axis=0)
    used = summed(np.add.reduceat(share[:-1] * units[:-1], starts, axis=1))
    price = np.where(binds, 1.0, 0.0)
    dear = cost.copy()
    dear[:-1] += price_of(price)[:, pool] * units[:-1]
    # A line that loses nothing and takes nothing moves nothing, whatever its weight.
    weight = np.maximum((cost.max(axis=0) + units.max(axis=0)) / 2, 1e-15)
    slack = dear - dear.min(axis=0) + weight
    lines = _Lines(np.arange(len(pool)), pool, cost, units, share, slack, weight)
    goods = np.where(binds, goods, 0.0)
    return lines, _Pools(rows, starts, goods, np.where(binds, goods - used, 1.0), price, binds)


def _gap(lines: _Lines, pools: _Pools) -> Floats:
    """Difference of plan and bound, by pool."""
    gap: Floats = pools.sums((lines.share * lines.slack).sum(axis=0)) + (pools.left * pools.price).sum(axis=0)
    return gap


def _keep(lines: _Lines, pools: _Pools, these: Flags, served: Floats, price: Floats) -> None:
    of_these = these[lines.pool]
    served[lines.row[of_these]] = lines.share[:-1, of_these].T
    price[pools.row[these]] = price_of(pools.price[:, these]).T


def _without(lines: _Lines, pools: _Pools, these: Flags) -> tuple[_Lines, _Pools]:
    if not these.any():
        return lines, pools
    stay, of_stay = ~these, ~these[lines.pool]
    kept = [getattr(lines, item.name)[..., of_stay] for item in fields(_Lines)]
    kept[1] = (np.cumsum(stay) - 1)[kept[1]]
    of_pools = [getattr(pools, item.name)[..., stay] for item in fields(_Pools)]
    of_pools[1] = np.searchsorted(kept[1], np.arange(stay.sum()))
    return _Lines(*kept), _Pools(*of_pools)


def _step(lines: _Lines, pools: _Pools) -> None:
    """Look where Newton's step to the edge would lead, then step to the middle that this leaves (Mehrotra 1992)."""
    newton = _Newton(lines, pools)
    product, row_product = lines.share * lines.slack, pools.left * pools.price
    weight = len(lines.cost) * pools.sums(lines.weight) + LIMIT_WEIGHT * pools.binds.sum(axis=0)
    ahead = newton.move(-product, -row_product)
    primal, dual = newton.lengths(ahead)
    share_ahead = lines.share + primal[lines.pool] * ahead.share
    slack_ahead = lines.slack + dual[lines.pool] * ahead.slack
    row_ahead = (pools.left + primal * ahead.left) * (pools.price + dual * ahead.price)
    gap, gap_ahead = _gap(lines, pools), pools.sums((share_ahead * slack_ahead).sum(axis=0)) + row_ahead.sum(axis=0)
    aim = gap / weight * np.minimum((gap_ahead / gap) ** 3, 1.0)
    move = newton.move(
        aim[lines.pool] * lines.weight - product - ahead.share * ahead.slack,
        np.where(pools.binds, LIMIT_WEIGHT * aim - row_product - ahead.left * ahead.price, 0.0),
    )
    primal, dual = (np.minimum(SHORT_OF_THE_EDGE * length, 1.0) for length in newton.lengths(move))
    lines.share += primal[lines.pool] * move.share
    lines.slack += dual[lines.pool] * move.slack
    pools.left += primal * move.left
    pools.price += dual * move.price


class _Newton:
    """Newton's system at one point, shrunk to one matrix per pool."""

    def __init__(self, lines: _Lines, pools: _Pools) -> None:
        self.lines, self.pools = lines, pools
        self.ratio = lines.share / lines.slack
        self.total = self.ratio.sum(axis=0)
        self.row_price = np.where(pools.binds, pools.price, 1.0)
        self.share_missing = 1 - lines.share.sum(axis=0)
        used = summed(pools.sums(lines.share[:-1] * lines.units[:-1]))
        self.goods_missing = np.where(pools.binds, pools.goods - used - pools.left, 0.0)
        self.chosen = lines.share.argmax(axis=0), np.arange(lines.share.shape[1])
        self.matrix, self.size = self._scaled_matrix()

    def _scaled_matrix(self) -> tuple[Floats, Floats]:
        """Matrix of each pool with a diagonal of 1, (n_pools, n_chances, n_chances), and what it was scaled by."""
        units, binds = self.lines.units, self.pools.binds
        part = self.ratio[:-1] * units[:-1]
        of_total = part / self.total
        matrix = np.empty((len(part), *binds.shape))
        for b in range(len(part)):
            # Summed without the choice itself: a difference would lose its digits once a line's choice is nearly made.
            others = self.ratio[:b].sum(axis=0) + self.ratio[b + 1 :].sum(axis=0)
            matrix[b, b] = self.pools.sums(of_total[b] * units[b] * others)
            for other in range(b):
                matrix[b, other] = matrix[other, b] = -self.pools.sums(part[b] * of_total[other])
        diagonal = np.arange(len(part))
        # Where a line takes as much at one chance as at another these sums cancel out, down to what rounding leaves.
        rounding = 1e-15 * summed(matrix[diagonal, diagonal])
        matrix = summed(summed(matrix).swapaxes(0, 1)) * (binds[:, None] & binds)
        matrix[diagonal, diagonal] += rounding + self.pools.left / self.row_price
        size = np.sqrt(matrix[diagonal, diagonal])
        matrix /= size[:, None] * size
        matrix[diagonal, diagonal] += 1e-15
        return matrix.transpose(2, 0, 1), size

    def move(self, of_lines: Floats, of_pools: Floats) -> _Move:
        """Step that changes share x slack and left x price by these amounts, to first order."""
        units, binds, pool = self.lines.units[:-1], self.pools.binds, self.lines.pool
        moved = of_lines / self.lines.slack
        shift = (self.share_missing - moved.sum(axis=0)) / self.total
        gain = summed(self.pools.sums(units * (moved[:-1] + self.ratio[:-1] * shift)))
        target = np.where(binds, gain - self.goods_missing + of_pools / self.row_price, 0.0)
        price = np.linalg.solve(self.matrix, (target / self.size).T[:, :, None])[:, :, 0].T / self.size
        price = np.where(binds, price, 0.0)
        dearer = units * price_of(price)[:, pool]
        level = shift + (self.ratio[:-1] * dearer).sum(axis=0) / self.total
        slack = np.vstack([dearer, np.zeros(len(level))]) - level
        share = moved - self.ratio * slack
        # The largest share, and the goods left, are what the others leave: limits are kept to the last digit.
        share[self.chosen] += self.share_missing - share.sum(axis=0)
        left = np.where(binds, self.goods_missing - summed(self.pools.sums(share[:-1] * units)), 0.0)
        return _Move(share, slack, left, price)

    def lengths(self, move: _Move) -> tuple[Floats, Floats]:
        """How far each pool's plan and prices can go until something meets 0."""
        lines, pools = self.lines, self.pools
        return (
            np.minimum(self._reach(lines.share, move.share), _far(pools.left, move.left).min(axis=0)),
            np.minimum(self._reach(lines.slack, move.slack), _far(pools.price, move.price).min(axis=0)),
        )

    def _reach(self, at: Floats, towards: Floats) -> Floats:
        return np.asarray(np.minimum.reduceat(_far(at, towards).min(axis=0), self.pools.starts))


def _far(at: Floats, towards: Floats) -> Floats:
    return np.divide(at, -towards, out=np.full_like(at, FAR), where=towards < 0)
