"""When goods come that nobody has ordered yet: the next order, and from then the time until its first goods.

The next order follows the rhythm seen in the data: days from one day on which a pool was ordered to the next
(Kaplan-Meier, the open gap censored at today), shrunk to its supplier's and to all. A pool that is short, where lines
wait for more than is here and inbound, need not wait until its goods run low: it is ordered on its next day of review.
Days of review are seen as a cycle: a pool all of whose gaps are multiples of 14 days is looked at every 14 days. Where
no cycle is seen, a short pool is ordered when anything is next ordered from its supplier. Goods then take the lead time
of their product, shrunk to its lane's, its supplier's and all, open orders censored; a product that many orders bring
to one warehouse has its own there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.arrival_inputs import joined_codes
from models.receipt_curves import Counts, NestedCurves, learn_counts

LONGEST_LEAD_DAYS = 730
LONGEST_GAP_DAYS = 1095  # on a clock of a year, products no longer bought seem to be due again and again
LEAD_HALF_LIFE_DAYS = 365.0  # after which an old order counts half for lead times; gaps foresaw no better so
LEAD_PSEUDO_ROWS = (10.0, 3.0, 3.0, 10.0)  # supplier, lane, product, pool
GAP_PSEUDO_ROWS = (10.0, 3.0)  # supplier, pool
CYCLES = (7, 14, 28)  # days between reviews that are looked for; else none is seen
OFF_CYCLE_SHARE = 0.1  # of orders, between two reviews of a cycle; assumed
ORDERED_AT_REVIEW = 0.9  # chance that a review finds a pool short and orders; assumed
PSEUDO_POOLS = 5.0  # of all suppliers' cycles beside a supplier's own pools
_N_STEPS = 30  # of expectation and maximisation; shares settle in fewer
_AT_ONCE = 4096  # pools: their tables by day stay small
_SEPARATOR = "\x1f"  # in no id


@dataclass(frozen=True, eq=False)
class ReorderModel:
    """How often pools are ordered, and how long their goods take.

    Parameters
    ----------
    lead : days from ordering to first goods, by supplier, lane (supplier and warehouse), product and pool
    gaps : days from one order day of a pool to the next, by supplier and pool
    supplier_gaps : the same of anything ordered from a supplier
    cycle_share : by supplier, chance of each of `CYCLES` and of none for a pool never ordered; "" is all suppliers'
    on_cycle : by pool, number of its gaps and of those that are whole cycles, for each of `CYCLES`
    """

    lead: NestedCurves
    gaps: NestedCurves
    supplier_gaps: NestedCurves
    cycle_share: dict[str, tuple[float, ...]]
    on_cycle: dict[str, tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        """Give the counts; the curves follow from them."""
        curves = {name: getattr(self, name).to_json() for name in ("lead", "gaps", "supplier_gaps")}
        return curves | {"cycle_share": self.cycle_share, "on_cycle": self.on_cycle}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> ReorderModel:
        """Undo `to_json`."""
        lead, gaps, supplier_gaps = (NestedCurves.from_json(saved[name]) for name in ("lead", "gaps", "supplier_gaps"))
        share, seen = ({key: tuple(row) for key, row in saved[name].items()} for name in ("cycle_share", "on_cycle"))
        return cls(lead, gaps, supplier_gaps, share, seen)

    def cycles_of(self, pools: Sequence[str], suppliers: Sequence[str | None]) -> np.ndarray:
        """Chance of each of `CYCLES`, and last of none, given the gaps of each pool; (n_pools, n_cycles + 1)."""
        of_all = self.cycle_share[""]
        prior = np.array([self.cycle_share.get(name or "", of_all) for name in suppliers]).reshape(-1, len(CYCLES) + 1)
        unseen = (0,) * (len(CYCLES) + 1)
        seen = np.array([self.on_cycle.get(pool, unseen) for pool in pools]).reshape(-1, len(CYCLES) + 1)
        return _posterior(_log_odds(seen), prior)


def learn_reorder(lines: pd.DataFrame, today: pd.Timestamp) -> ReorderModel:
    """Learn from every inbound line ordered before `today`.

    Parameters
    ----------
    lines : one row per inbound line, sorted: supplier_id, product_id, warehouse_id, ordered_on, first_received_on
    """
    received = (lines["first_received_on"] < today).to_numpy()
    end = lines["first_received_on"].where(received, today - pd.Timedelta(days=1))
    watched = (np.zeros(len(lines)), (end - lines["ordered_on"]).dt.days.to_numpy(), received, 0, LONGEST_LEAD_DAYS)
    faded = np.exp2(-(today - lines["ordered_on"]).dt.days.to_numpy() / LEAD_HALF_LIFE_DAYS)
    weight = np.rint(64 * faded) / 64  # sums of these are exact: no crumbs, whatever the order of the rows
    levels = tuple(learn_counts(ids, *watched, weight) for ids in _lead_groups(lines))
    pools = _order_gaps(lines, pool_names(lines), today)
    suppliers = _order_gaps(lines, _names(lines["supplier_id"]), today)
    of_pool = tuple(_count_gaps(pools[name].to_numpy(dtype=object), pools) for name in ("supplier_id", "name"))
    of_supplier = (_count_gaps(suppliers["name"].to_numpy(dtype=object), suppliers),)
    return ReorderModel(
        NestedCurves(levels, LEAD_PSEUDO_ROWS),
        NestedCurves(of_pool, GAP_PSEUDO_ROWS),
        NestedCurves(of_supplier, GAP_PSEUDO_ROWS[:1]),
        *_learn_cycles(pools),
    )


def undated_curves(model: ReorderModel, lines: pd.DataFrame, age_days: np.ndarray, n_days: int) -> np.ndarray:
    """Log of the chance that orders without a date told have not come u days on; (n_lines, n_days + 1), column 0 is 0.

    Parameters
    ----------
    lines : inbound lines: supplier_id, warehouse_id, product_id
    age_days : since each was ordered
    """
    log_open = model.lead.log_not_yet(_lead_places(model, lines), age_days, n_days)
    log_open[:, 0] = 0.0
    return log_open


def fresh_curves(
    model: ReorderModel, pools: pd.DataFrame, inbound_dates: pd.DataFrame, today: pd.Timestamp, n_days: int
) -> np.ndarray:
    """Chance that goods which nobody has ordered yet have not come u days on; (n_pools, n_days + 1), column 0 is 1.

    Parameters
    ----------
    pools : product_id, warehouse_id, supplier_id (usual), is_discontinued (nothing is ordered again), is_short (lines
        wait for more than is here and inbound)
    inbound_dates : what was ordered until now; a pool that is not in it counts as one never ordered
    """
    not_come = np.ones((len(pools), n_days + 1))
    asked = np.flatnonzero(~pools["is_discontinued"].astype(bool).to_numpy())
    if not len(asked):
        return not_come
    asked_of = _asked(model, pools.iloc[asked].reset_index(drop=True), inbound_dates, today)
    _, first, curve = np.unique(asked_of["alike"], return_index=True, return_inverse=True)
    distinct = {name: values[first] for name, values in asked_of.items()}
    parts = [
        _not_come(model, {name: values[start : start + _AT_ONCE] for name, values in distinct.items()}, n_days)
        for start in range(0, len(first), _AT_ONCE)
    ]
    not_come[asked] = np.concatenate(parts)[curve]
    return not_come


def _asked(
    model: ReorderModel, pools: pd.DataFrame, inbound_dates: pd.DataFrame, today: pd.Timestamp
) -> dict[str, np.ndarray]:
    """What the curve of each pool hangs on; rows that are alike in all of it have one number in "alike"."""
    lines = inbound_dates.drop_duplicates("po_line_id")
    names, suppliers = pool_names(pools), _names(pools["supplier_id"])
    places = {f"lead_{i}": place for i, place in enumerate(_lead_places(model, pools))}
    places |= {
        "gap_0": model.gaps.levels[0].place(suppliers),
        "gap_1": model.gaps.levels[1].place(names),
        "supplier_gap": model.supplier_gaps.levels[0].place(suppliers),
        "since": _since_days(lines, pool_names(lines), names, today),
        "supplier_since": _since_days(lines, _names(lines["supplier_id"]), suppliers, today),
        "is_short": pools["is_short"].astype(bool).to_numpy(),
    }
    cycles = model.cycles_of(names.tolist(), suppliers.tolist())
    return {"alike": joined_codes(*places.values(), *cycles.T), **places, "cycles": cycles}


def _not_come(model: ReorderModel, asked: dict[str, np.ndarray], n_days: int) -> np.ndarray:
    """Chance that nothing has come: the order's day and the lead time, one after the other."""
    ordered = _chance_ordered(model, asked, n_days)
    places = [asked[f"lead_{i}"] for i in range(len(model.lead.levels))]
    has_come = -np.expm1(model.lead.log_not_yet(places, np.zeros(len(ordered)), n_days))
    size = 1 << (2 * n_days + 1).bit_length()  # a power of two, and the end does not run into the beginning
    sums = np.fft.irfft(np.fft.rfft(ordered, size) * np.fft.rfft(has_come, size), size)[:, : n_days + 1]
    # A day's end is the next one's start: goods that come today are there within a day.
    sums[:, 0] = 0.0
    return np.asarray(np.minimum.accumulate(np.clip(1.0 - sums, 0.0, 1.0), axis=1))


def _chance_ordered(model: ReorderModel, asked: dict[str, np.ndarray], n_days: int) -> np.ndarray:
    """Chance that the next order is placed in day 0 (today), 1, ..., n_days; (n, n_days + 1)."""
    since, is_short = asked["since"], asked["is_short"]
    chance = np.zeros((len(since), n_days + 1))
    calm = ~is_short
    # A pool never ordered counts as ordered just now: nothing says how long it has been without need.
    log_wait = model.gaps.log_not_yet([asked["gap_0"][calm], asked["gap_1"][calm]], np.maximum(since, 0)[calm], n_days)
    chance[calm] = _by_day(log_wait)
    if is_short.any():
        short = {name: values[is_short] for name, values in asked.items()}
        from_day = np.maximum(short["supplier_since"], 0)
        chance[is_short] = short["cycles"][:, -1:] * _by_day(
            model.supplier_gaps.log_not_yet([short["supplier_gap"]], from_day, n_days)
        )
        for place, cycle in enumerate(CYCLES):
            chance[is_short] += short["cycles"][:, place, None] * _chance_reviewed(short["since"], cycle, n_days)
    return chance


def _chance_reviewed(since: np.ndarray, cycle: int, n_days: int) -> np.ndarray:
    """Chance that a pool reviewed every `cycle` days is ordered on each day, given that it is short; (n, n_days + 1).

    Parameters
    ----------
    since : days since its last order, which was on a review; -1: never ordered, its reviews fall on any day

    Ordered 5 days ago and looked at every 7, it is ordered in 2 days or, if overlooked, in 9:

    >>> _chance_reviewed(np.array([5]), 7, 9).round(2).tolist()
    [[0.0, 0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.09]]
    """
    day = np.arange(n_days + 1)[None, :]
    first = np.where(since == 0, cycle, -since % cycle)[:, None]
    is_review = (day >= first) & ((day - first) % cycle == 0)
    nth = np.where((since < 0)[:, None], day // cycle, (day - first) // cycle)
    share = np.where((since < 0)[:, None], 1.0 / cycle, is_review)
    return np.asarray(share * ORDERED_AT_REVIEW * (1.0 - ORDERED_AT_REVIEW) ** np.maximum(nth, 0))


def _by_day(log_not_yet: np.ndarray) -> np.ndarray:
    """Chance of each day from the chance that it has not happened by its end."""
    has_happened = -np.expm1(log_not_yet)
    return np.diff(has_happened, axis=1, prepend=0.0)


def _order_gaps(lines: pd.DataFrame, names: np.ndarray, today: pd.Timestamp) -> pd.DataFrame:
    """One row per name and day on which something was ordered: supplier_id, ordered_on, gap_days, is_ordered.

    The gap runs to the next such day or, where there was none, to yesterday.
    """
    days = pd.DataFrame({"name": names, "ordered_on": lines["ordered_on"].to_numpy()})
    days["supplier_id"] = _names(lines["supplier_id"])
    days = days[days["name"].notna()].sort_values(["name", "ordered_on"], kind="stable")
    days = days.drop_duplicates(["name", "ordered_on"], ignore_index=True)
    following = days.groupby("name")["ordered_on"].shift(-1)
    is_ordered = following.notna()
    until = following.where(is_ordered, today - pd.Timedelta(days=1))
    return days.assign(gap_days=(until - days["ordered_on"]).dt.days, is_ordered=is_ordered)


def _count_gaps(ids: np.ndarray, gaps: pd.DataFrame) -> Counts:
    last, ordered = gaps["gap_days"].to_numpy(), gaps["is_ordered"].to_numpy()
    return learn_counts(ids, np.ones(len(gaps)), last, ordered, 0, LONGEST_GAP_DAYS)


def _learn_cycles(gaps: pd.DataFrame) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[int, ...]]]:
    """Shares of cycles by supplier, and what each pool's gaps say of them (mixture by expectation-maximisation)."""
    closed = gaps[gaps["is_ordered"]]
    on = {f"on_{cycle}": (closed["gap_days"] % cycle == 0).to_numpy() for cycle in CYCLES}
    counted = closed[["name"]].assign(n=1, **on).groupby("name", sort=True).sum()
    supplier = gaps.drop_duplicates("name", keep="last").set_index("name")["supplier_id"]
    log_odds = _log_odds(counted.to_numpy())
    of_all = np.full(len(CYCLES) + 1, 1.0 / (len(CYCLES) + 1))
    for _ in range(_N_STEPS):
        of_all = (_posterior(log_odds, of_all).sum(axis=0) + 1.0) / (len(counted) + len(CYCLES) + 1)
    own = pd.DataFrame(_posterior(log_odds, of_all), index=counted.index)
    grouped = own.groupby(supplier.reindex(counted.index).to_numpy(dtype=object), sort=True)
    shares = (grouped.sum() + PSEUDO_POOLS * of_all).div(grouped.size() + PSEUDO_POOLS, axis=0)
    by_supplier = {str(name): tuple(row) for name, row in zip(shares.index, shares.to_numpy().tolist(), strict=True)}
    seen = {str(name): tuple(row) for name, row in zip(counted.index, counted.to_numpy().tolist(), strict=True)}
    return {"": tuple(of_all.tolist())} | by_supplier, seen


def _log_odds(seen: np.ndarray) -> np.ndarray:
    """Log of how much likelier the gaps are under each cycle than under none; (n, n_cycles + 1), the last is 0.

    A gap falls on a multiple of the cycle, as one gap of `cycle` days does by chance, but for `OFF_CYCLE_SHARE`.
    """
    n_gaps, n_on, cycle = seen[:, :1], seen[:, 1:], np.array(CYCLES, dtype=float)[None, :]
    on, off = np.log((1 - OFF_CYCLE_SHARE) * cycle + OFF_CYCLE_SHARE), np.log(OFF_CYCLE_SHARE)
    log_odds = n_on * on + (n_gaps - n_on) * off
    return np.concatenate([log_odds, np.zeros((len(seen), 1))], axis=1)


def _posterior(log_odds: np.ndarray, prior: np.ndarray) -> np.ndarray:
    weight = np.asarray(np.exp(log_odds - log_odds.max(axis=1, keepdims=True)) * prior)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _since_days(lines: pd.DataFrame, names: np.ndarray, asked: np.ndarray, today: pd.Timestamp) -> np.ndarray:
    """Days since each name asked was last ordered, -1 where it never was."""
    last = lines["ordered_on"].groupby(names).max().reindex(asked)
    return np.asarray((today - last).dt.days.clip(lower=0).fillna(-1), dtype=np.int64)


def _lead_groups(rows: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """Names of the supplier, the lane, the product and the pool of each row."""
    supplier, product = rows["supplier_id"], rows["product_id"]
    return _names(supplier), _joined(supplier, rows["warehouse_id"]), _names(product), pool_names(rows)


def _lead_places(model: ReorderModel, rows: pd.DataFrame) -> list[np.ndarray]:
    return [counts.place(ids) for counts, ids in zip(model.lead.levels, _lead_groups(rows), strict=True)]


def pool_names(rows: pd.DataFrame) -> np.ndarray:
    """Product and warehouse of each row as one name."""
    return _joined(rows["product_id"], rows["warehouse_id"])


def _joined(left: pd.Series, right: pd.Series) -> np.ndarray:
    """Names of both together, None where the left one is not known."""
    both = left.astype(object).astype(str) + _SEPARATOR + right.astype(object).astype(str)
    return np.asarray(both.astype(object).where(left.notna(), None), dtype=object)


def _names(ids: pd.Series) -> np.ndarray:
    return np.asarray(ids.astype(object).where(ids.notna(), None), dtype=object)
