"""What is lost in expectation if an open line is passed over now [W of the design], in its four terms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.customer_loss import Ties, future_share
from decisions.policy import Policy

Floats = npt.NDArray[np.float64]

P_CANCEL_DAYS = 14
# 4,096 lines x 180 days are 6 MB an array: it stays near the processor, and memory does not grow with the backlog.
CHUNK_LINES = 4096
COLUMNS = ("loss_if_waits", "loss_cancel", "loss_future_orders", "loss_service", "loss_later_goods")


@dataclass(frozen=True)
class WaitOutcome:
    """What waiting for a later chance to be served does to each line, in expectation; arrays of (n_lines,)."""

    p_gone: Floats  # chance that the customer has cancelled by then; never coming counts as cancelled [E(1 - S)]
    p_lost: Floats  # chance that this line loses the customer: it was cancelled, or served late
    penalty_days: Floats  # days past the promise while still wanted


def cost_of_waiting(
    lines: pd.DataFrame,
    survival: Floats,
    arrival: Floats,
    joint_cancel_share: float,
    policy: Policy,
    later_price: Floats | None = None,
) -> pd.DataFrame:
    """One row per open line: what is lost if it is passed over now, against being served now.

    A line that is passed over is served from its next receipt or, where that loses less, never: W is the smaller of
    both. Only lines that cost more to serve than they earn are better off with never, as long as a cancellation loses
    no fewer customers than a late delivery does. What the goods of the next receipt would save others is
    loss_later_goods; where it clears the backlog they have no price, and it is 0.

    An account's customer is lost once, with chance P = 1 - prod(1 - p_order) over its orders (`future_share` says how
    lines make up roots and orders). Each line's part of the future is R p f; the parts add up to R P while every line
    waits for its own next receipt. Lines cancelled in one event also share the cost of handling it.

    Parameters
    ----------
    lines : open lines with lifetime_value [R] (0 for anonymous customers) and paid_share added; root_order_id is the
        order of the line that root_id names
    survival : chance still wanted u days from now if nobody ships [S], shape (n_lines, horizon_days + 1)
    arrival : chance that the next receipt comes in day u, last column never, shape (n_lines, horizon_days + 2)
    joint_cancel_share : chance that lines of one order are cancelled together, not each by itself [rho], 0 to 1
    policy : the economics
    later_price : price of the next receipt's goods [v], money per unit, (n_lines,); None: they have none

    Returns
    -------
    Frame indexed like lines: loss_if_waits and its four terms (money; it is their exact sum), p_cancel_14d,
    p_lost (chance that this line loses the customer if it waits for its next receipt [p]), future_share [f].

    Raises
    ------
    ValueError
        If shapes, probabilities or money are not what is described above.

    A line with margin 40, lifetime value 300, kappa .1 and 3 % cancelling a day loses (1 - .97^10) x (40 + .1 x 300)
    by waiting 10 days:

    >>> lines = pd.DataFrame({"order_line_id": ["A"], "root_id": ["A"], "root_order_id": ["O"], "account_id": ["a"],
    ...     "open_quantity": [1.0], "line_margin": [40.0], "line_value": [100.0], "paid_share": [1.0],
    ...     "lifetime_value": [300.0], "waited_days": [5], "days_late": [np.nan]})
    >>> arrival = np.zeros((1, 182)); arrival[0, 10] = 1
    >>> policy = Policy(cancel_lost_share=0.1, late_lost_share=0)
    >>> cost = cost_of_waiting(lines, 0.97 ** np.arange(181.0)[None, :], arrival, 0.35, policy)
    >>> cost[["loss_if_waits", "loss_cancel", "loss_future_orders"]].round(2).to_numpy().tolist()
    [[18.38, 10.5, 7.88]]
    """
    check(lines, survival, arrival, joint_cancel_share, policy)
    ties = Ties.of(lines, joint_cancel_share)
    next_receipt = served_after(lines, survival, arrival, policy)
    carried = future_share(next_receipt.p_lost, ties)
    served_later = terms_of(lines, next_receipt, carried, ties, policy)
    not_served = terms_of(lines, never_served(lines, survival, policy), carried, ties, policy)
    paid = np.zeros(len(lines)) if later_price is None else later_price * (1 - next_receipt.p_gone)
    paid = paid * lines["open_quantity"].to_numpy(np.float64)
    is_served = served_later.sum(axis=1) + paid <= not_served.sum(axis=1)
    best = np.where(is_served[:, None], served_later, not_served)
    found = frame_of(lines, best, np.where(is_served, paid, 0.0))
    p_cancel_14d = 1 - survival[:, P_CANCEL_DAYS]
    return found.assign(p_cancel_14d=p_cancel_14d, p_lost=next_receipt.p_lost, future_share=carried)


def frame_of(lines: pd.DataFrame, terms: Floats, later_goods: Floats) -> pd.DataFrame:
    """W and its four terms, indexed like lines: the three of `terms_of`, and the price of later goods."""
    total = terms[:, 0] + terms[:, 1] + terms[:, 2] + later_goods
    return pd.DataFrame(dict(zip(COLUMNS, (total, *terms.T, later_goods), strict=True)), index=lines.index)


def terms_of(lines: pd.DataFrame, outcome: WaitOutcome, carried: Floats, ties: Ties, policy: Policy) -> Floats:
    """Money lost by cancelling, of future orders and by late penalties at one later chance, (n_lines, 3).

    Parameters
    ----------
    carried : part of its customer's loss that each line bears [f]
    """
    margin = (lines["line_margin"] * lines["paid_share"] * (1 - policy.won_back_share)).to_numpy(np.float64)
    cancel = outcome.p_gone * (margin + policy.cancel_handling_cost * ties.event_share())
    future = outcome.p_lost * lines["lifetime_value"].to_numpy(np.float64) * carried
    service = policy.late_penalty_share_per_day * lines["line_value"].to_numpy(np.float64) * outcome.penalty_days
    return np.stack([cancel, future, service], axis=1)


def served_after(lines: pd.DataFrame, survival: Floats, arrival: Floats, policy: Policy) -> WaitOutcome:
    """Outcome of waiting for goods, averaged over the day on which they come; some thousand lines at a time."""
    n_lines = len(lines)
    # G(w + u) - G(w) = share exp(-w / scale) (1 - exp(-u / scale)): the day's part is one vector for all lines.
    lost_by_day = -np.expm1(-np.arange(survival.shape[1]) / policy.late_lost_scale_days)
    waited = lines["waited_days"].to_numpy(np.float64) / policy.late_lost_scale_days
    still_to_lose = policy.late_lost_share * np.exp(-waited)
    days_late = lines["days_late"].to_numpy(np.float64)
    p_gone, late_lost, until = (np.zeros(n_lines) for _ in range(3))
    for start in range(0, n_lines, CHUNK_LINES):
        part = slice(start, start + CHUNK_LINES)
        wanted, comes = survival[part], arrival[part, :-1]
        p_gone[part] = np.einsum("ij,ij->i", comes, 1 - wanted) + arrival[part, -1]
        late_lost[part] = still_to_lose[part] * ((comes * wanted) @ lost_by_day)
        if policy.late_penalty_share_per_day > 0:
            late_days = _penalty_days(wanted, days_late[part])
            until[part] = np.einsum("ij,ij->i", comes, late_days) + arrival[part, -1] * late_days[:, -1]
    return WaitOutcome(p_gone, policy.cancel_lost_share * p_gone + late_lost, until)


def never_served(lines: pd.DataFrame, survival: Floats, policy: Policy) -> WaitOutcome:
    """Outcome of going without goods: as cancelled, and late until the customer gives up."""
    everyone, to_the_end = np.ones(len(lines)), np.zeros(len(lines))
    if policy.late_penalty_share_per_day > 0:
        days_late = lines["days_late"].to_numpy(np.float64)
        for start in range(0, len(lines), CHUNK_LINES):
            part = slice(start, start + CHUNK_LINES)
            to_the_end[part] = _penalty_days(survival[part], days_late[part])[:, -1]
    return WaitOutcome(everyone, policy.cancel_lost_share * everyone, to_the_end)


def _penalty_days(wanted: Floats, days_late: Floats) -> Floats:
    """Count the expected days past the promise while still wanted, up to each day, shape (n_lines, n_days + 1).

    A line due in 2 days that is surely wanted has spent 0, 0, 0, 1, 2 late days after 0 to 4 days.

    >>> _penalty_days(np.ones((1, 5)), np.array([-2.0])).tolist()
    [[0.0, 0.0, 0.0, 1.0, 2.0]]
    """
    day = np.arange(wanted.shape[1])
    is_late = np.nan_to_num(days_late[:, None] + day, nan=0.0).clip(0, 1)  # no promise, no penalty
    is_late[:, 0] = 0  # what was late up to now is sunk
    return np.cumsum(wanted * is_late, axis=1)


def check(lines: pd.DataFrame, survival: Floats, arrival: Floats, joint_cancel_share: float, policy: Policy) -> None:
    """Refuse, once and at the door, what would turn into wrong money: `ValueError`."""
    wanted = (len(lines), policy.horizon_days + 1), (len(lines), policy.horizon_days + 2)
    if (survival.shape, arrival.shape) != wanted:
        raise ValueError(
            f"cost of waiting: survival {survival.shape} and arrival {arrival.shape} do not fit {len(lines)} lines and"
            f" horizon_days {policy.horizon_days}; they must be {wanted[0]} and {wanted[1]}"
        )
    if not 0 <= joint_cancel_share <= 1:
        raise ValueError(
            f"cost of waiting: joint_cancel_share {joint_cancel_share} is no share from 0 to 1;"
            " mend the model that made it"
        )
    for name in ("lifetime_value", "paid_share", "line_margin", "line_value", "open_quantity", "waited_days"):
        values = lines[name].to_numpy(np.float64, na_value=np.nan)
        least = -np.inf if name == "line_margin" else 0
        _refuse(lines, ~np.isfinite(values) | (values < least), f"{name} is missing, infinite or negative")
    is_empty = lines["open_quantity"].to_numpy(np.float64) == 0
    _refuse(lines, is_empty, "open_quantity is 0")
    falls, sums = np.zeros(len(lines), dtype=bool), np.zeros(len(lines), dtype=bool)
    for start in range(0, len(lines), CHUNK_LINES):
        part = slice(start, start + CHUNK_LINES)
        curve, comes = survival[part], arrival[part]
        # A NaN fails every comparison, so it is refused too.
        falls[part] = np.all(curve[:, 1:] <= curve[:, :-1] + 1e-12, axis=1) & (curve[:, 0] == 1) & (curve[:, -1] >= 0)
        sums[part] = (np.abs(comes.sum(axis=1) - 1) <= 1e-9) & (comes.min(axis=1) >= 0)
    _refuse(lines, ~falls, "survival does not fall from 1 towards 0")
    _refuse(lines, ~sums, "arrival is no probability distribution")


def _refuse(lines: pd.DataFrame, is_bad: npt.NDArray[np.bool_], what: str) -> None:
    if is_bad.any():
        ids = lines.loc[is_bad, "order_line_id"].tolist()
        raise ValueError(
            f"cost of waiting: {what} in {len(ids)} of {len(lines)} lines, e.g. order_line_id {ids[:3]};"
            " mend the features or the model that made it"
        )
