"""What is foreseen of goods that nobody has ordered yet, judged on past days against what came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from models.arrival import quantile_days
from models.judging import finite, pinball, ratio_interval, with_interval
from models.reorder import ReorderModel, fresh_curves, learn_reorder

N_PAST_DAYS = 6
SHARES = (0.5, 0.9)  # quantiles that are judged


def fresh_metrics(
    inbound_dates: pd.DataFrame, today: pd.Timestamp, n_days: int = 120, seed: int = 0
) -> dict[str, float]:
    """Judge pools that nothing was inbound for on past days, learning from what was known then; empty if too few.

    Whether lines waited for them is not on record, so none counts as short. Goods that came later than `n_days` on, or
    never, count as coming on the day after: quantiles are cut there too.

    Returns
    -------
    n_fresh_pools; fresh_pinball_days (mean over median and .9 quantile) and the same as if all were ordered on the day
    at the supplier's lead time; fresh_saved_share (of the latter; with its interval); fresh_came_share (within
    `n_days`) and what was expected of it; fresh_met_50 and _90 (share that came by the quantile) and n_fresh_judged_50
    and _90 (of how many: those whose quantile lies within `n_days`)
    """
    lines = inbound_dates.drop_duplicates("po_line_id")
    if not len(lines):
        return {}
    first, last = lines["ordered_on"].min(), today - pd.Timedelta(days=n_days)
    days = pd.date_range(first + (today - first) / 2, last, periods=N_PAST_DAYS).normalize().unique()
    judged = [_on_day(inbound_dates, day, n_days) for day in days if first < day]
    rows = pd.concat(judged, ignore_index=True) if judged else pd.DataFrame()
    if not len(rows):
        return {}
    ours, theirs = rows["pinball_days"].to_numpy(), rows["pinball_days_as_if_today"].to_numpy()
    metrics = {
        "n_fresh_pools": float(len(rows)),
        "fresh_pinball_days": float(ours.mean()),
        "fresh_pinball_days_as_if_ordered_today": float(theirs.mean()),
        "fresh_came_share": float(rows["has_come"].mean()),
        "fresh_came_share_expected": float(rows["p_come"].mean()),
    }
    metrics |= {f"fresh_{name}": float(rows[name].mean()) for name in ("met_50", "met_90")}
    metrics |= {f"n_fresh_judged_{name[-2:]}": float(rows[name].notna().sum()) for name in ("met_50", "met_90")}
    saved = ratio_interval(theirs - ours, theirs, rows["group"].to_numpy(), seed)
    return finite(metrics | with_interval("fresh_saved_share", saved))


def _on_day(inbound_dates: pd.DataFrame, day: pd.Timestamp, n_days: int) -> pd.DataFrame:
    """One row per pool ordered before `day` that nothing was owed to."""
    known = inbound_dates[inbound_dates["ordered_on"] < day]
    known = known.sort_values(["ordered_on", "po_line_id", "received_on"], kind="stable")
    came = known["part_quantity"].where(known["received_on"] < day, 0.0).fillna(0.0)
    lines = known.drop_duplicates("po_line_id")
    keys = ["product_id", "warehouse_id"]
    so_far = came.groupby(known["po_line_id"]).sum().loc[lines["po_line_id"]].to_numpy()
    owes = lines["quantity"].to_numpy() * (1 - 1e-9) > so_far  # rounding of fractions leaves nothing owed
    pools = lines.assign(owes=owes, is_discontinued=False, is_short=False)
    pools["owes"] = pools.groupby(keys, dropna=False)["owes"].transform("any")
    pools = pools[~pools["owes"]].drop_duplicates(keys, keep="last")
    rows = judge(learn_reorder(lines, day), pools, inbound_dates, day, n_days)
    return rows.assign(group=pools["supplier_id"].astype(object).astype(str).to_numpy() + f" {day:%Y-%m-%d}")


def judge(
    model: ReorderModel, pools: pd.DataFrame, inbound_dates: pd.DataFrame, day: pd.Timestamp, n_days: int
) -> pd.DataFrame:
    """One row per pool, in order: pinball_days, pinball_days_as_if_today, has_come and p_come (within `n_days`).

    met_50, met_90 : whether goods came by the quantile, NaN where that lies beyond `n_days`

    Parameters
    ----------
    model : learned before `day`
    pools : as `reorder.fresh_curves` takes them
    inbound_dates : with what was ordered and came from `day` on; its last rows lie `n_days` later at least
    """
    keys = ["product_id", "warehouse_id"]
    lines = inbound_dates.drop_duplicates("po_line_id")
    came_on = lines[lines["ordered_on"] >= day].groupby(keys)["first_received_on"].min()
    wait = (came_on.reindex(pd.MultiIndex.from_frame(pools[keys])) - day).dt.days.clip(lower=1)
    outcome = wait.fillna(n_days + 1).clip(upper=n_days + 1).to_numpy()
    before = inbound_dates[inbound_dates["ordered_on"] < day]
    foreseen = {
        "pinball_days": fresh_curves(model, pools, before, day, n_days),
        "pinball_days_as_if_today": _as_if_today(model, pools, n_days),
    }
    rows = pd.DataFrame({
        name: np.mean([pinball(outcome, _quantile(curve, share), share) for share in SHARES], axis=0)
        for name, curve in foreseen.items()
    })  # fmt: skip
    rows["has_come"], rows["p_come"] = outcome <= n_days, 1.0 - foreseen["pinball_days"][:, -1]
    for share in SHARES:
        by = _quantile(foreseen["pinball_days"], share)
        rows[f"met_{100 * share:.0f}"] = np.where(by <= n_days, outcome <= by, np.nan)
    return rows


def _as_if_today(model: ReorderModel, pools: pd.DataFrame, n_days: int) -> np.ndarray:
    """Chance that goods ordered today have not come: lead times of the supplier."""
    of_supplier = replace(model.lead, levels=model.lead.levels[:1], pseudo_rows=model.lead.pseudo_rows[:1])
    suppliers = pools["supplier_id"].astype(object).to_numpy()
    place = [of_supplier.levels[0].place(suppliers)]
    not_come: np.ndarray = np.exp(of_supplier.log_not_yet(place, np.zeros(len(pools)), n_days))
    not_come[:, 0] = 1.0
    return not_come


def _quantile(not_come: np.ndarray, share: float) -> np.ndarray:
    return quantile_days(np.log(np.maximum(not_come, 1e-300)), share)
