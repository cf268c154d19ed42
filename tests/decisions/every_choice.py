"""Small mornings tried out in full: every way to give out the goods, and what none of them may break."""

from itertools import chain, combinations

import numpy as np

UNITS = 1e-9


def lots_of(line, most=np.inf, shipment_cost=0.0):
    """Quantities that a line can ship: multiples of its step or all of it; parts must save more than a shipment."""
    parts = np.arange(0, line.open_quantity - UNITS, line.quantity_step) if line.may_split else np.zeros(1)
    in_group = isinstance(line.ship_group, str)
    saves = parts * line.loss_if_waits / line.open_quantity
    allowed = [part for part, money in zip(parts, saves, strict=True) if part == 0 or money > shipment_cost]
    lots = [*(allowed if not in_group else [0.0]), line.open_quantity]
    whole_only = in_group or not line.may_split
    capped = [line.open_quantity] if most >= line.open_quantity else []
    # A limit below the wish leaves a divisible line as many steps, a whole one nothing.
    inside = [lot for lot in lots if lot < line.open_quantity and (lot <= most or lot == 0)]
    return sorted({0.0, *([] if whole_only else inside), *capped})


def fits(choices, lines, goods, protected):
    """Choices in which no pool gives more than it has, nor any segments more than their own and the common goods."""
    fit = np.ones(len(choices), dtype=bool)
    for pool, units in goods.items():
        here = (lines["product_id"] == pool).to_numpy()
        own = protected.get(pool, {})
        segments = [set(chosen) for chosen in chain(*(combinations(own, n) for n in range(len(own) + 1)))]
        for chosen in segments:
            inside = lines["segment"].isin([*chosen]) | ~lines["segment"].isin([*own])
            may_take = units - sum(own[name] for name in own if name not in chosen)
            fit &= choices[:, here & inside.to_numpy()].sum(axis=1) <= may_take + UNITS
    return fit


def best_of_every_choice(lines, goods, most=None, shipment_cost=0.0, protected=None):
    """Greatest sum of loss x share over all ways to give out the goods of each product."""
    if not len(lines):
        return 0.0
    most = np.full(len(lines), np.inf) if most is None else most
    lots = [lots_of(line, cap, shipment_cost) for line, cap in zip(lines.itertuples(), most, strict=True)]
    worth = (lines["loss_if_waits"] / lines["open_quantity"]).to_numpy()
    members = [rows.to_numpy() for _, rows in lines.reset_index().groupby("ship_group")["index"]]
    members = [lines.index.get_indexer(rows) for rows in members]
    choices = np.stack(np.meshgrid(*lots, indexing="ij"), axis=-1).reshape(-1, len(lines))
    whole = [(choices[:, rows] > 0).all(axis=1) | (choices[:, rows] == 0).all(axis=1) for rows in members]
    choices = choices[np.all([np.ones(len(choices), bool), *whole], axis=0)]
    return float((choices @ worth)[fits(choices, lines, goods, protected or {})].max())


def assert_lawful(lines, allocation, shipment_cost=0.0):
    """No more is given than there is or was asked for, in lots that may ship, groups in whole or not at all."""
    given = allocation.ship_now_quantity.to_numpy()
    assert (given >= 0).all()
    assert (allocation.pools["given"] <= allocation.pools["available_now"] + UNITS).all()
    for line, units in zip(lines.itertuples(), given, strict=True):
        lots = lots_of(line, shipment_cost=0.0 if line.override == "pin" else shipment_cost)
        assert np.min(np.abs(np.array(lots) - units)) < UNITS, line
    ships = allocation.ship_now_quantity > 0
    assert (ships.groupby(lines["ship_group"]).nunique() <= 1).all()
    assert (allocation.pools["gap"] >= 0).all()
