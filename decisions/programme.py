"""The stated programme: which line is served at which chance so that least is lost in expectation.

min sum over i, b of L_ib x_ib, sum over b of x_ib = 1, and for every chance b the units taken up to b, q_i S_ib x_ib in
expectation, within the goods that have come up to b: stock is carried over. What lies here now is given out now, so
only what no line may take is carried over from now (`kept_from_now`). Every pool is a programme of its own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOW = 0


@dataclass(frozen=True)
class Programme:
    """What each line costs and takes at each chance; lines sorted by pool; chance 0 is now.

    Parameters
    ----------
    pool : (n_lines,), 0 .. n_pools - 1, rising
    cost : (n_lines, n_chances), money lost if first served then [L]; infinite where the line may not be served then
    units : (n_lines, n_chances), units it takes then in expectation [q S], above 0 now
    cost_without : (n_lines,), money lost if the pool's goods never serve it
    goods : (n_pools, n_chances), units that come then in expectation; infinite where they are enough for everyone
    """

    pool: Codes
    cost: Floats
    units: Floats
    cost_without: Floats
    goods: Floats

    def only(self, pools: Codes) -> "Programme":
        """Keep these pools (rows, rising), numbered anew."""
        lines = np.isin(self.pool, pools)
        number = np.searchsorted(pools, self.pool[lines])
        return Programme(number, self.cost[lines], self.units[lines], self.cost_without[lines], self.goods[pools])

    def parts(self, lines_at_once: int) -> list[tuple[slice, slice, "Programme"]]:
        """Cut between pools, some lines at a time; lines, pools, and their programme."""
        ends = np.searchsorted(self.pool, np.arange(len(self.goods)), side="right")
        found, pool, line = [], 0, 0
        while pool < len(ends):
            last = max(int(np.searchsorted(ends, line + lines_at_once, side="right")), pool + 1)
            lines, pools = slice(line, int(ends[last - 1])), slice(pool, last)
            part = Programme(
                self.pool[lines] - pool,
                self.cost[lines],
                self.units[lines],
                self.cost_without[lines],
                self.goods[pools],
            )
            found.append((lines, pools, part))
            pool, line = last, lines.stop
        return found


def loss_if_waits(programme: Programme, price: Floats) -> Floats:
    """Least that is lost if the line is passed over now, its later goods paid for [W]; (n_lines,).

    One line of 2 units, loss 10 at the next chance where it takes 1.5 units at a price of 4, loss 30 without goods:

    >>> programme = Programme(np.array([0]), np.array([[0.0, 10.0]]), np.array([[2.0, 1.5]]), np.array([30.0]),
    ...     np.array([[0.0, 1.0]]))
    >>> loss_if_waits(programme, np.array([[5.0, 4.0]])).tolist()
    [16.0]
    """
    later = programme.cost[:, 1:] + price[programme.pool, 1:] * programme.units[:, 1:]
    return np.asarray(np.minimum(later.min(axis=1, initial=np.inf), programme.cost_without))


def by_pool(programme: Programme, of_lines: Floats) -> Floats:
    """Sums over the lines of each pool."""
    return np.asarray(np.bincount(programme.pool, of_lines, minlength=len(programme.goods)), dtype=np.float64)


def kept_from_now(programme: Programme) -> Floats:
    """Units that lie here now and that no line may take today: all that is carried over from now; (n_pools,)."""
    wants = np.where(np.isfinite(programme.cost[:, NOW]), programme.units[:, NOW], 0.0)
    return np.maximum(programme.goods[:, NOW] - by_pool(programme, wants), 0.0)


def goods_by(programme: Programme) -> Floats:
    """Units that later chances have brought by then, with what is kept from now; column 0 is now alone."""
    goods = programme.goods.copy()
    if goods.shape[1] > 1:
        goods[:, 1] += kept_from_now(programme)
    return summed(goods.T).T


def summed(per_chance: Floats) -> Floats:
    """Units up to and with each chance, now by itself; chances stand first: (n_chances, ...)."""
    up_to = per_chance.copy()
    np.cumsum(per_chance[1:], axis=0, out=up_to[1:])
    return up_to


def price_of(row_price: Floats) -> Floats:
    """Price at each chance [v] from those of the limits up to it: a later unit spared helps from then on.

    >>> price_of(np.array([3.0, 2.0, 1.0])).tolist()
    [3.0, 3.0, 1.0]
    """
    price = row_price.copy()
    price[1:] = np.cumsum(row_price[:0:-1], axis=0)[::-1]
    return price


def may_be_served(programme: Programme) -> Flags:
    """Chances at which a line is allowed and any goods have come, (n_lines, n_chances)."""
    may: Flags = np.isfinite(programme.cost) & (goods_by(programme)[programme.pool] > 0)
    return may


def with_empty_chances(programme: Programme, price: Floats) -> Floats:
    """Prices with those of the chances before any goods: the least at which no line would want to be served then."""
    price, goods = price.copy(), goods_by(programme)
    every = np.where(may_be_served(programme), programme.cost + price[programme.pool] * programme.units, np.inf)
    least = np.minimum(every.min(axis=1, initial=np.inf), programme.cost_without)
    for b in range(price.shape[1] - 1, -1, -1):
        floor = price[:, b + 1] if 0 < b < price.shape[1] - 1 else np.zeros(len(price))
        gain = np.where(np.isfinite(programme.cost[:, b]), least - programme.cost[:, b], 0.0)
        dearest = floor.copy()
        np.maximum.at(dearest, programme.pool, gain / np.maximum(programme.units[:, b], 1e-300))
        price[:, b] = np.where(goods[:, b] > 0, price[:, b], dearest)
    return price


def bound_at(programme: Programme, price: Floats) -> Floats:
    """Money that every plan loses at least, by pool: the Lagrangian at these prices (weak duality).

    Prices must not rise from one later chance to the next, nor be above 0 where goods are infinite.
    """
    now = programme.cost[:, NOW] + price[programme.pool, NOW] * programme.units[:, NOW]
    least = np.minimum(now, loss_if_waits(programme, price))
    row_price = price.copy()
    row_price[:, 1:-1] -= price[:, 2:]
    goods = goods_by(programme)
    paid = np.where(row_price > 0, row_price, 0.0) * np.where(np.isfinite(goods), goods, 0.0)
    bound: Floats = by_pool(programme, least) - paid.sum(axis=1)
    return bound


def money_lost(programme: Programme, served: Floats) -> Floats:
    """Money lost in expectation under a plan, by pool."""
    cost = np.where(served > 0, programme.cost, 0.0)
    lost = (served * cost).sum(axis=1) + (1 - served.sum(axis=1)) * programme.cost_without
    return by_pool(programme, lost)


def excess(programme: Programme, served: Floats) -> Floats:
    """Units planned beyond the goods that have come by each chance, (n_pools, n_chances)."""
    taken = np.stack([by_pool(programme, column) for column in (served * programme.units).T])
    over: Floats = summed(taken).T - goods_by(programme)
    return over
