"""The queue: one row per open back-ordered line, ranked, with what to do about it and why."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import Allocation
from decisions.policy import Policy
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.promises import promised
from decisions.queue_columns import in_published_form
from decisions.queue_history import history
from decisions.ranking import POOL_IDS, is_held, is_pinned
from decisions.reasons import Wording, reasons
from decisions.working_days import WorkCalendar

Floats = npt.NDArray[np.float64]

NO_RECEIPT = "wait (no receipt was ever seen)"
ASSUMED_WAITS = {"default wait": "wait (no inbound line)", "fresh lead time": "wait (nothing on order)"}


@dataclass(frozen=True)
class RunFacts:
    """What every row says about the run that made it."""

    run_id: str
    as_of: datetime  # UTC
    currency: str
    model_changed: bool = False  # since the last published queue
    calendar: WorkCalendar = WorkCalendar()

    @property
    def utc_time(self) -> pd.Timestamp:
        """The run's as_of in UTC, without zone."""
        return pd.Timestamp(self.as_of.astimezone(UTC).replace(tzinfo=None) if self.as_of.tzinfo else self.as_of)


def wait_days(arrival: Floats) -> Floats:
    """Days until the next receipt comes more likely than not, NaN beyond the horizon; (n_lines,).

    Parameters
    ----------
    arrival : chance that the next receipt comes in day u, last column never, shape (n_lines, horizon_days + 2)

    A receipt that comes on day 3 or 5, 60 : 40, is here by day 3 more likely than not:

    >>> wait_days(np.array([[0, 0, 0, 0.6, 0, 0.4, 0]])).tolist()
    [3.0]
    """
    # Sums of probabilities miss a half by some 1e-16 a day: without the tolerance a sure day could slip by one.
    reached = np.cumsum(arrival[:, :-1], axis=1) >= 0.5 - 1e-9
    return np.where(reached[:, -1], reached.argmax(axis=1), np.nan)


def fulfilment_queue(
    lines: pd.DataFrame,
    costs: pd.DataFrame,
    allocation: Allocation,
    waits: pd.DataFrame,
    previous: pd.DataFrame | None,
    run: RunFacts,
    policy: Policy,
) -> pd.DataFrame:
    """Say of every open back-ordered line what happens to it, in the published columns and rank order.

    Parameters
    ----------
    lines : open lines with rank, pool_rank, pool_size, lifetime_value, its _low and _high, p_no_order_365d, override,
        override_quantity, override_who, override_why, assumed (text, null if nothing was) and `advice_columns` added
    costs : loss_if_waits [W] with its four terms and p_cancel_14d, indexed like lines
    allocation : what give_out made of them
    waits : wait_days, next_inbound_po_line_id, next_inbound_days and wait_source, and what `when_lines_ship` says,
        indexed like lines
    previous : the last published queue, None if there is none
    """
    terms = ["loss_if_waits", "loss_cancel", "loss_future_orders", "loss_service", "loss_later_goods", "p_cancel_14d"]
    table = lines.assign(**{name: costs[name] for name in terms}, **{name: waits[name] for name in waits.columns})
    table = _with_goods(table, allocation)
    table = table.assign(action=_action(table), served_price=_served_price(table))
    table = table.assign(**_dates(table), assumed=_assumed(table, policy))
    table = table.assign(**promised(table, previous, run.model_changed, policy))
    table = table.assign(
        advice=_advice(table),
        reason=reasons(_with_own_wait(table), Wording(run.currency, policy.horizon_days, policy.default_wait_days)),
        **history(table, previous, run.model_changed),
        currency=run.currency,
        run_id=run.run_id,
        as_of=run.utc_time,
    )
    return in_published_form(table)


def _with_goods(lines: pd.DataFrame, allocation: Allocation) -> pd.DataFrame:
    """Add what the line gets, and its pool's goods and price."""
    pools = lines[POOL_IDS].merge(allocation.pools, on=POOL_IDS, how="left", validate="many_to_one")
    pools = pools.set_axis(lines.index)
    return lines.assign(
        ship_now_quantity=allocation.ship_now_quantity,
        passed_over=allocation.passed_over,
        available_now=pools["available_now"],
        stock_price=pools["stock_price"],
    )


def _action(lines: pd.DataFrame) -> pd.Series:
    given, wanted = lines["ship_now_quantity"], lines["open_quantity"]
    action = pd.Series("wait", index=lines.index, dtype="str").mask(given > 0, "ship_part")
    return action.mask(given >= wanted - QUANTITY_TOLERANCE, "ship").mask(is_held(lines), "hold")


def _served_price(lines: pd.DataFrame) -> pd.Series:
    """Least loss per unit among the unpinned lines of the pool that got goods; NaN if there is none."""
    served = (lines["ship_now_quantity"] > 0) & ~is_pinned(lines)
    price = (lines["loss_if_waits"] / lines["open_quantity"]).where(served)
    return price.groupby([lines["product_id"], lines["warehouse_id"]]).transform("min")


def _dates(lines: pd.DataFrame) -> dict[str, pd.Series]:
    """Dates on which the line ships in full, none if it is held, and on which the goods come that it waits for."""
    held = lines["action"] == "hold"
    days = {
        "expected_on": lines["ship_days"].mask(held),
        "expected_latest_on": lines["latest_ship_days"].mask(held),
        "next_inbound_on": lines["next_inbound_days"],
    }
    return {name: lines["cutoff_on"] + pd.to_timedelta(wait, unit="D") for name, wait in days.items()}


def _with_own_wait(lines: pd.DataFrame) -> pd.DataFrame:
    """A line that waits does so until it ships; what ships now would have waited for the next goods."""
    return lines.assign(wait_days=lines["wait_days"].where(lines["action"] != "wait", lines["ship_days"]))


def _advice(lines: pd.DataFrame) -> pd.Series:
    """Use goods that lie elsewhere or, where there are none, tell the customer a date that is not the one last told.

    Or that there is none any more; not where the line is held.
    """
    is_news = lines["promise_on"].ne(lines["latest_promised_on"])
    is_news &= lines["promise_on"].notna() | lines["latest_promised_on"].notna()
    tell = is_news & lines["action"].isin(["wait", "ship_part"]) & lines["contact_allowed"].astype(bool)
    return lines["alternative"].fillna(tell.map({True: "tell", False: "none"}))


def _assumed(lines: pd.DataFrame, policy: Policy) -> pd.Series:
    """List what was assumed and not measured: what the caller says, the wait, and the orders lost by waiting."""
    loses_orders = (lines["lifetime_value"] > 0) & (policy.cancel_lost_share + policy.late_lost_share > 0)
    is_assumed = lines["wait_is_assumed"].astype(bool) | lines["wait_source"].isin(ASSUMED_WAITS)
    parts = [
        lines["assumed"].astype("str").fillna(""),
        lines["wait_source"].map(ASSUMED_WAITS).fillna(NO_RECEIPT).where(is_assumed, ""),
        loses_orders.map({True: "orders lost by waiting", False: ""}),
    ]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + np.where((joined != "") & (part != ""), "; ", "") + part
    return joined.where(joined != "")
