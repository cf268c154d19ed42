"""When the next goods come that a waiting line may have.

With receipts enough a boosted hazard by day answers (models/arrival_hazard.py); with few, suppliers are judged by the
dates they told: one row per date told, watched from the day it was told (delayed entry), open lines censored at today.
A line without a date is judged by its age. Days in full: what happens today is not counted as known, since today is
not over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from models.arrival_hazard import (
    FEWEST_TO_BOOST,
    ArrivalHazard,
    learn_from_forerunner,
    learn_hazard,
    n_receipts_after,
    past_looks,
)
from models.arrival_inputs import look_inputs
from models.arrival_looks import day_number, inbound_book, looks_on
from models.arrival_recalibration import SINCE_DAYS
from models.boosting import load_files, save_files
from models.part_receipts import PartReceipts, learn_parts
from models.receipt_curves import ReceiptCurves, from_counts, learn_curves
from models.reorder import ReorderModel, fresh_curves, learn_reorder, undated_curves

EARLIEST_DELAY_DAYS = -365
LATEST_DELAY_DAYS = 365
FEWEST_RECEIPTS = 1  # with none a lead time is not known at all


@dataclass(frozen=True, eq=False)
class ArrivalModel:
    """What past receipts say about open ones.

    Parameters
    ----------
    kind : boosted (a hazard by day), pooled (Kaplan-Meier by supplier shrunk to all) or assumed (no receipt seen)
    why : plain words for the kind
    delay : receipt day minus the expected day told
    reorder : when goods come that are not ordered yet, and lead times of what is
    hazard : of lines with a date, where the kind is boosted
    """

    kind: str
    why: str
    delay: ReceiptCurves
    reorder: ReorderModel
    hazard: ArrivalHazard | None = None

    def save(self, folder: Path) -> None:
        """Write model.json and, where the kind is boosted, booster.txt."""
        saved = {"kind": self.kind, "why": self.why, "delay": self.delay.to_json()}
        saved["reorder"] = self.reorder.to_json()
        if self.hazard is None:
            save_files(folder, saved)
        else:
            save_files(folder, saved | {"hazard": self.hazard.to_json()}, booster=self.hazard.booster)

    @classmethod
    def load(cls, folder: Path) -> ArrivalModel:
        """Undo `save`."""
        saved, boosters = load_files(folder)
        told = saved["delay"]
        counts = tuple(tuple(row) for row in told["counts"])
        delay = from_counts(told["first_day"], told["last_day"], tuple(told["suppliers"]), counts)
        reorder = ReorderModel.from_json(saved["reorder"])
        hazard = ArrivalHazard.from_json(saved["hazard"], boosters["booster"]) if "hazard" in saved else None
        return cls(saved["kind"], saved["why"], delay, reorder, hazard)


@threadpool_limits.wrap(limits=1)  # sums of more threads differ in their last digits
def fit(inbound_dates: pd.DataFrame, today: pd.Timestamp, seed: int = 0) -> ArrivalModel:
    """Learn from every date told for every inbound line up to yesterday's end; row order does not matter.

    Parameters
    ----------
    inbound_dates : the feature table of that name
    today : day of T
    """
    ordered = inbound_dates[inbound_dates["told_on"] < today].sort_values(
        ["po_line_id", "told_on", "expected_on", "received_on"], kind="stable"
    )
    dates = ordered.drop_duplicates(["po_line_id", "told_on", "expected_on"])
    told = dates[dates["expected_on"].notna()]
    entry = (told["told_on"] - told["expected_on"]).dt.days.to_numpy()
    last, received = _watched(told, told["expected_on"], today)
    delay = learn_curves(_suppliers(told), entry, last, received, EARLIEST_DELAY_DAYS, LATEST_DELAY_DAYS)
    lines = dates.drop_duplicates("po_line_id")
    reorder = learn_reorder(lines, today)
    n_received = int((lines["first_received_on"] < today).sum())
    if n_received < FEWEST_RECEIPTS:
        return ArrivalModel("assumed", "no receipt of an inbound line was seen: waits are assumed", delay, reorder)
    n_suppliers = lines["supplier_id"].nunique()
    seen = f"{n_received} inbound lines received, {delay.n_received} dates told, {n_suppliers} suppliers"
    book = inbound_book(ordered, today)
    looks = past_looks(book, day_number(today))
    n_receipts = n_receipts_after(looks)
    if n_receipts < FEWEST_TO_BOOST:
        few = f"{n_receipts} receipts after past looks are fewer than {FEWEST_TO_BOOST}: one curve per supplier"
        return ArrivalModel("pooled", f"{seen}; {few}", delay, reorder)
    hazard = learn_hazard(book, looks, day_number(today), seed)
    then = today - pd.Timedelta(days=SINCE_DAYS)
    earlier = inbound_book(ordered[ordered["told_on"] < then], then)
    change = learn_from_forerunner(book, earlier, _suppliers(lines), day_number(today), seed)
    why = (
        f"{seen}; {hazard.n_looks} looks at open lines on past days; {'not recalibrated' if change is None else change}"
    )
    return ArrivalModel("boosted", why, delay, reorder, replace(hazard, recalibration=change))


@dataclass(frozen=True, eq=False)
class InboundForecast:
    """When goods come, ordered or not, as foreseen this morning.

    Parameters
    ----------
    lines : inbound lines that still owe goods, by po_line_id: the latest rows of `inbound_dates`
    log_not_come : (n_inbound, n_days + 1), log of the chance that nothing more of each has come u days on
    pools : product_id and warehouse_id of the waiting lines, each once, in that order
    fresh_not_come : (n_pools, n_days + 1), chance that goods which nobody has ordered yet have not come u days on
    fresh_source : of each pool: fresh lead time, default wait, or never (discontinued)
    parts : what the next goods of an inbound line bring of what it owes
    is_assumed : no receipt was ever seen
    """

    lines: pd.DataFrame
    log_not_come: np.ndarray
    pools: pd.DataFrame
    fresh_not_come: np.ndarray
    fresh_source: np.ndarray
    parts: PartReceipts = PartReceipts()
    is_assumed: bool = False

    @cached_property
    def median_days(self) -> np.ndarray:
        """Day by which the next of each line comes more likely than not; one day past the last if that is too far."""
        return quantile_days(self.log_not_come, 0.5)

    @cached_property
    def in_turn(self) -> np.ndarray:
        """Places of the lines in the order of their medians; those beyond the horizon by their chance, ties by id."""
        return np.lexsort((self.lines["po_line_id"].argsort().argsort(), self.log_not_come[:, -1], self.median_days))


def foresee(
    model: ArrivalModel,
    waiting: pd.DataFrame,
    inbound_dates: pd.DataFrame,
    today: pd.Timestamp,
    n_days: int,
    default_wait_days: int,
) -> InboundForecast:
    """Chances by day of all inbound goods and of those still to be ordered for pools that lines wait in.

    Parameters
    ----------
    waiting : one row per line: order_line_id, product_id, warehouse_id, supplier_id (usual), is_discontinued,
        open_quantity and goods_here (units in its pool)
    inbound_dates : dates told as known today; lines not received in full count, each by its latest date
    default_wait_days : the day assumed where nothing was ever bought
    """
    inbound, keys = open_inbound(inbound_dates), ["product_id", "warehouse_id"]
    pools = waiting[[*keys, "supplier_id", "is_discontinued"]].sort_values(keys, kind="stable").drop_duplicates(keys)
    pools = pools.reset_index(drop=True)
    for_all = places_in(pools, inbound[inbound["for_order_line_id"].isna()])
    pools["has_inbound"] = np.isin(np.arange(len(pools)), for_all)
    pools["is_short"] = _units_missing(pools, waiting, inbound) > 0
    source = _source_without_inbound(model, pools)
    return InboundForecast(
        inbound,
        open_curves(model, inbound, today, n_days, inbound_dates),
        pools[keys],
        _fresh_not_come(model, pools, source, inbound_dates, today, n_days, default_wait_days),
        source,
        learn_parts(inbound_dates, today),
        model.kind == "assumed",
    )


def next_receipt(forecast: InboundForecast, waiting: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Chance that the next goods for each waiting line come in day 0, 1, ..., n_days from today, or later or never.

    Parameters
    ----------
    waiting : the lines that the forecast was made for: order_line_id, product_id, warehouse_id

    Returns
    -------
    arrival : (n_lines, n_days + 2), rows sum to 1, column 0 is 0, the last column is later or never
    sources : indexed like `waiting`: next_inbound_po_line_id (earliest median) and next_inbound_days (that median),
        both null without an inbound line; wait_source: inbound, fresh lead time, default wait, or never (discontinued
        and nothing inbound); wait_is_assumed: no receipt stands behind it
    """
    inbound, log_open = forecast.lines, forecast.log_not_come
    pool_of_line, line_of_inbound, pool_of_inbound, n_pools = _match(waiting, inbound)
    soonest, first_of = _late_together(inbound, log_open, pool_of_inbound, line_of_inbound)
    pool, line = pool_of_inbound[first_of], line_of_inbound[first_of]
    pools = np.zeros((n_pools, log_open.shape[1]))
    np.add.at(pools, pool[line < 0], soonest[line < 0])
    log_wait = pools[pool_of_line]
    np.add.at(log_wait, line[line >= 0], soonest[line >= 0])
    first = _first_inbound(forecast.in_turn, pool_of_line, line_of_inbound, pool_of_inbound, n_pools)
    of_pool = places_in(forecast.pools, waiting)
    source = np.where(first >= 0, "inbound", forecast.fresh_source[of_pool]) if len(waiting) else np.zeros(0, object)
    not_come = np.exp(log_wait)
    nothing_inbound = first < 0
    not_come[nothing_inbound] = forecast.fresh_not_come[of_pool[nothing_inbound]]
    arrival = np.concatenate([np.zeros((len(waiting), 1)), -np.diff(not_come, axis=1), not_come[:, -1:]], axis=1)
    median = forecast.median_days
    named = {
        "next_inbound_po_line_id": np.append(inbound["po_line_id"].to_numpy(dtype=object), None),
        "next_inbound_days": np.append(np.where(median < log_open.shape[1], median, np.nan), np.nan),
    }
    known = {name: values[first] for name, values in named.items()}
    is_assumed = (source == "default wait") | forecast.is_assumed
    return arrival, pd.DataFrame(known | {"wait_source": source, "wait_is_assumed": is_assumed}, index=waiting.index)


def places_in(pools: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Place in `pools` of each row's product and warehouse, -1 where it is not there."""
    product, in_products = _codes(pools["product_id"], rows["product_id"])
    warehouse, in_warehouses = _codes(pools["warehouse_id"], rows["warehouse_id"])
    n_warehouses = warehouse.max(initial=-1) + 1
    place = np.full((product.max(initial=-1) + 1) * n_warehouses + 1, -1)
    place[product * n_warehouses + warehouse] = np.arange(len(pools))
    is_known = (in_products >= 0) & (in_warehouses >= 0)
    return np.asarray(place[np.where(is_known, in_products * n_warehouses + in_warehouses, -1)])


def _codes(known: pd.Series, asked: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the known texts, and those of the asked ones, -1 where unknown; each text is looked up once."""
    code, names = pd.factorize(known)
    asked_code, asked_names = pd.factorize(asked)
    place = np.append(pd.Index(names).get_indexer(pd.Index(asked_names)), -1)
    return code.astype(np.int64), place[asked_code].astype(np.int64)


def open_curves(
    model: ArrivalModel, inbound: pd.DataFrame, today: pd.Timestamp, n_days: int, inbound_dates: pd.DataFrame
) -> np.ndarray:
    """Log of the chance that each open inbound line has not come u days on; (n_inbound, n_days + 1).

    Parameters
    ----------
    inbound : latest date of each open line
    inbound_dates : all that is known of inbound lines, these included: how their suppliers and lanes fared so far
    """
    has_date = inbound["expected_on"].notna().to_numpy()
    dated, without = inbound[has_date], inbound[~has_date]
    if model.hazard is None:
        past_days = (today - dated["expected_on"]).dt.days.to_numpy()
        of_dated = model.delay.conditional(_suppliers(dated), past_days, n_days)
    else:
        of_dated = model.hazard.log_not_come(_as_seen_now(dated, today, inbound_dates), n_days)
    if has_date.all():
        return of_dated  # as they are: to copy 100,000 curves takes as long as to foresee 30,000
    curves = np.zeros((len(inbound), n_days + 1))
    curves[has_date] = of_dated
    age_days = (today - without["ordered_on"]).dt.days.to_numpy()
    curves[~has_date] = undated_curves(model.reorder, without, age_days, n_days)
    return curves


def _as_seen_now(inbound: pd.DataFrame, today: pd.Timestamp, inbound_dates: pd.DataFrame) -> pd.DataFrame:
    """Inputs of open lines this morning, in their order."""
    book = inbound_book(inbound_dates, today)
    looks = looks_on(book, np.array([day_number(today)]), with_own_day=True)
    place = pd.Series(np.arange(len(looks)), index=book.lines["po_line_id"].to_numpy()[looks["line"]])
    seen = look_inputs(book, looks).iloc[place.loc[inbound["po_line_id"]].to_numpy()].reset_index(drop=True)
    return seen.assign(supplier_id=_suppliers(inbound))


def _watched(rows: pd.DataFrame, origin: pd.Series, today: pd.Timestamp) -> tuple[np.ndarray, np.ndarray]:
    """Last day of the clock each row was watched and whether goods came then."""
    received = (rows["first_received_on"].notna() & (rows["first_received_on"] < today)).to_numpy()
    end = rows["first_received_on"].where(received, today - pd.Timedelta(days=1))
    return (end - origin).dt.days.to_numpy(), received


def _suppliers(rows: pd.DataFrame) -> np.ndarray:
    return rows["supplier_id"].astype(object).to_numpy()


def open_inbound(inbound_dates: pd.DataFrame) -> pd.DataFrame:
    """Latest date of each line that still owes goods, in the order of po_line_id."""
    # Rounding of fractions leaves nothing owed: less than a billionth of what was ordered.
    owes = inbound_dates["is_latest"] & (units_owed(inbound_dates) > 1e-9 * inbound_dates["quantity"].to_numpy())
    return inbound_dates[owes].sort_values("po_line_id", kind="stable").reset_index(drop=True)


def units_owed(inbound: pd.DataFrame) -> np.ndarray:
    """What has not been received of each row's line."""
    received = inbound["received_quantity"].fillna(0.0).to_numpy(dtype=float)
    return np.asarray(inbound["quantity"].to_numpy(dtype=float) - received)


def _match(waiting: pd.DataFrame, inbound: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Pool of each waiting line, line each inbound is pegged to (-1: none, -2: one that does not wait), its pool."""
    keys = ["product_id", "warehouse_id"]
    pairs = pd.concat([waiting[keys], inbound[keys]]).astype(object)
    pool = pairs.groupby(keys, sort=True, dropna=False).ngroup().to_numpy()
    place = {name: row for row, name in enumerate(waiting["order_line_id"])}
    # Goods meant for a line that is not waiting are nobody else's: they neither join the pool nor count here.
    wanted = [-1 if pd.isna(name) else place.get(name, -2) for name in inbound["for_order_line_id"]]
    line = np.array(wanted, dtype=np.int64)
    n_pools = int(pool.max()) + 1 if len(pool) else 0
    # A pool of its own for those meant for lines that do not wait: nobody reads it.
    of_inbound = np.where(line == -2, n_pools, pool[len(waiting) :])
    return pool[: len(waiting)], np.where(line == -2, -1, line), of_inbound, n_pools + 1


def _late_together(
    inbound: pd.DataFrame, log_open: np.ndarray, pool: np.ndarray, line: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Curves of the sources of each pool's goods that come by chances of their own, and an inbound line of each.

    Orders that one supplier has not begun to deliver share its troubles: three of them are no three chances, so the
    best of their curves stands for them. A line that has begun to come stands for itself.
    """
    supplier = pd.factorize(inbound["supplier_id"])[0]
    itself = np.arange(1, len(inbound) + 1) * ((inbound["received_quantity"].fillna(0) > 0).to_numpy() | (supplier < 0))
    keys = pd.DataFrame({"pool": pool, "line": line, "supplier": np.where(itself > 0, -1, supplier), "itself": itself})
    source = keys.groupby(list(keys.columns), sort=True).ngroup().to_numpy()
    soonest = np.zeros((int(source.max(initial=-1)) + 1, log_open.shape[1]))
    np.minimum.at(soonest, source, log_open)
    return soonest, np.unique(source, return_index=True)[1]


def _first_inbound(
    in_turn: np.ndarray,
    pool_of_line: np.ndarray,
    line_of_inbound: np.ndarray,
    pool_of_inbound: np.ndarray,
    n_pools: int,
) -> np.ndarray:
    """Place of the inbound line with the earliest median for each waiting line, -1 without one."""
    n_inbound = len(in_turn)
    rank = np.empty(n_inbound, dtype=np.int64)
    rank[in_turn] = np.arange(n_inbound)
    best_of_pool = np.full(n_pools, n_inbound)
    shared = line_of_inbound < 0
    np.minimum.at(best_of_pool, pool_of_inbound[shared], rank[shared])
    best = best_of_pool[pool_of_line]
    np.minimum.at(best, line_of_inbound[~shared], rank[~shared])
    return np.append(in_turn, -1)[best]


def quantile_days(log_open: np.ndarray, share: float) -> np.ndarray:
    """First day by which goods have come with chance `share`; one day past the last if that is too far."""
    has_come = -np.expm1(log_open) >= share - 1e-12
    return np.where(has_come.any(axis=1), has_come.argmax(axis=1), log_open.shape[1])


def _source_without_inbound(model: ArrivalModel, pools: pd.DataFrame) -> np.ndarray:
    source = "default wait" if model.kind == "assumed" else "fresh lead time"
    return np.where(pools["is_discontinued"].astype(bool).to_numpy(), "never", source)


def _units_missing(pools: pd.DataFrame, waiting: pd.DataFrame, inbound: pd.DataFrame) -> np.ndarray:
    """Units that lines of each pool wait for beyond what is here and inbound; below 0 where there are more.

    Where nothing is inbound, what is here covers nobody: a line that is passed over has none of it, and waits for an
    order that somebody has yet to place.
    """
    wanted = np.bincount(places_in(pools, waiting), waiting["open_quantity"], len(pools))
    here = np.zeros(len(pools))
    here[places_in(pools, waiting)] = waiting["goods_here"]  # alike for all lines of a pool
    place = np.where(inbound["for_order_line_id"].isna(), places_in(pools, inbound), -1)
    inbound_units = np.bincount(place[place >= 0], units_owed(inbound)[place >= 0], len(pools))
    missing = wanted - np.where(pools["has_inbound"], here, 0.0) - inbound_units
    return np.where(np.abs(missing) <= 1e-9 * wanted, 0.0, missing)


def _fresh_not_come(
    model: ArrivalModel,
    pools: pd.DataFrame,
    source: np.ndarray,
    inbound_dates: pd.DataFrame,
    today: pd.Timestamp,
    n_days: int,
    default_wait_days: int,
) -> np.ndarray:
    """Curves of goods that are not ordered yet; all ones where none will come."""
    not_come = np.ones((len(pools), n_days + 1))
    fresh = source == "fresh lead time"
    not_come[fresh] = fresh_curves(model.reorder, pools[fresh], inbound_dates, today, n_days)
    # The wait assumed is for where nothing is on order; what is inbound comes before anything else would.
    not_come[(source == "default wait") & ~pools["has_inbound"].to_numpy()] = np.arange(n_days + 1) < max(
        default_wait_days, 1
    )
    return not_come
