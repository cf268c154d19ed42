"""How much of a pool's goods other pools may have: what nobody there gets or wants, and no demand to come will need."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from decisions.policy import Policy
from decisions.ranking import POOL_IDS
from decisions.waiting_goods import waiting_units
from models.arrival import InboundForecast, places_in

Floats = npt.NDArray[np.float64]


def spare_goods(
    goods: pd.DataFrame, pools: pd.DataFrame, lines: pd.DataFrame, forecast: InboundForecast, policy: Policy
) -> pd.DataFrame:
    """Count the units that each pool can spare after today's goods are given out.

    A pool keeps what its own lines get today or still wait for (held ones too: they are served once they are free),
    what its open lines that are not due yet want, and what covers its new demand until its next goods with the chance
    `policy.kept_goods_cover`: the hold-back level of lateral transshipments (Xu, Evers & Fu 2003, EJOR 145: 569-584).
    New demand is compound Poisson by its mean and variance, as in `service_days`. Where the site protects more for
    demand yet to come, that stays.

    Parameters
    ----------
    goods : alternative_goods of the features; a pool stands in it once for every pool that it could serve
    pools : product_id, warehouse_id, given (units given out today) and protected (units that the site's rules keep for
        demand yet to come) of the pools that lines wait in
    lines : open lines with ship_now_quantity and override

    Returns
    -------
    product_id, warehouse_id, spare (units), refill_days (until its next goods come with that chance); sorted by ids
    """
    theirs = {"from_product_id": "product_id", "from_warehouse_id": "warehouse_id"}
    table = goods.drop(columns=POOL_IDS).rename(columns=theirs).drop_duplicates(POOL_IDS)
    table = table.sort_values(POOL_IDS, kind="stable", ignore_index=True)
    days = refill_days(table, forecast, policy)
    mean = table["units_per_day"].to_numpy(np.float64) * days
    spread = np.sqrt(mean * 2 * table["units_per_line"].to_numpy(np.float64))
    protected, given = (_of_pools(table, pools, pools[name].to_numpy(np.float64)) for name in ("protected", "given"))
    new_demand = np.maximum(mean + ndtri(policy.kept_goods_cover) * spread, protected)
    left = table["available_now"].to_numpy(np.float64) - given
    wanted = _of_pools(table, lines, waiting_units(lines)) + table["units_due_later"].to_numpy(np.float64)
    return table[POOL_IDS].assign(spare=np.maximum(left - wanted - new_demand, 0.0), refill_days=days)


def refill_days(pools: pd.DataFrame, forecast: InboundForecast, policy: Policy) -> Floats:
    """Days until the next goods of each pool have come with the chance `policy.kept_goods_cover`; (n_pools,).

    Where nothing is on order, as long as an order placed today takes: that of the product for a pool that lines wait
    in, else the median of those; without any `policy.default_wait_days`. At most the days foreseen.
    """
    n_days = forecast.fresh_not_come.shape[1] - 1
    not_come = 1 - policy.kept_goods_cover + 1e-12
    soonest = _soonest_inbound(pools, forecast, not_come)
    fresh = _first_day(forecast.fresh_not_come <= not_come)
    of_product = pd.Series(fresh).groupby(forecast.pools["product_id"].to_numpy(dtype=object)).max()
    usual = np.median(fresh[fresh <= n_days]) if (fresh <= n_days).any() else float(policy.default_wait_days)
    if_ordered = of_product.reindex(pools["product_id"].astype(object)).fillna(usual).to_numpy(np.float64)
    days: Floats = np.minimum(np.where(np.isinf(soonest), if_ordered, soonest), n_days)
    return days


def _soonest_inbound(pools: pd.DataFrame, forecast: InboundForecast, not_come: float) -> Floats:
    """Soonest day by which an inbound line of each pool has not come with this chance only; infinite without one."""
    inbound = forecast.lines
    place = np.where(inbound["for_order_line_id"].isna(), places_in(pools, inbound), -1)
    here = np.flatnonzero(place >= 0)
    soonest = np.full(len(pools), np.inf)
    np.minimum.at(soonest, place[here], _first_day(forecast.log_not_come[here] <= np.log(not_come)))
    return soonest


def _first_day(has_come: npt.NDArray[np.bool_]) -> Floats:
    """First day of each row, one past the last if there is none."""
    n_days = has_come.shape[1]
    return np.asarray(np.where(has_come[:, -1], has_come.argmax(axis=1), n_days), dtype=np.float64)


def _of_pools(table: pd.DataFrame, rows: pd.DataFrame, units: Floats) -> Floats:
    """Units of the rows of each pool of the table."""
    place = places_in(table, rows)
    return np.asarray(np.bincount(place[place >= 0], units[place >= 0], minlength=len(table)), dtype=np.float64)
