"""True daily chance that a waiting line of the simulated company is cancelled."""

import numpy as np

from erp.simulated_chance import Bools, Columns, Floats, Ints
from erp.simulated_truth import CompanyShape

WEB = 2  # index in CHANNELS


def shared_log_odds(shape: CompanyShape, lines: Columns, day: Ints | int) -> Floats:
    """Log odds of cancelling on `day` of a customer of no particular patience: all that the tables show of them.

    They rise with the wait, jump on the day after the latest promise and go on rising from there; a discount, a large
    amount, the web shop and every broken promise add to them.
    """
    waited = np.maximum(day - lines["due_day"], 0)
    late = np.maximum(day - np.nan_to_num(lines["latest_promised_day"], nan=np.inf), 0.0)
    discount = 1.0 - lines["unit_price"] / lines["list_price"]
    return np.asarray(
        shape.base_log_odds
        + 0.25 * np.log1p(waited)
        + 1.1 * (late > 0)
        + 0.35 * np.log1p(late)
        + 0.15 * (np.log(lines["open"] * lines["unit_price"]) - 5.0)
        + 2.0 * discount
        + 0.3 * (lines["channel"] == WEB)
        + 0.2 * np.minimum(lines["n_slips"], 3),
        dtype=np.float64,
    )


def own_hazard(shape: CompanyShape, lines: Columns, day: int) -> Floats:
    """Chance that the customer cancels each line on `day` by a decision about this line alone.

    Impatience adds to `shared_log_odds`. Before a line is due the chance is 0.
    """
    log_odds = shared_log_odds(shape, lines, day) + lines["patience"]
    return np.where(lines["due_day"] < day, 1.0 / (1.0 + np.exp(-log_odds)), 0.0)


def order_of(lines: Columns) -> Ints:
    """Index of each line's order among the orders present."""
    return np.unique(lines["key"] // 100, return_inverse=True)[1].astype(np.int64)


def cancel_hazard(shape: CompanyShape, lines: Columns, day: int) -> Floats:
    """Chance that each line is cancelled by its customer on `day`: by itself or taken along by its order.

    Two lines of one order with .1 each and `joint_cancel_share` .35: 1 - .9 x (1 - .035) = .1315.
    """
    own = own_hazard(shape, lines, day)
    spared = np.log1p(-shape.joint_cancel_share * own)
    order = order_of(lines)
    others = np.bincount(order, weights=spared)[order] - spared if len(order) else spared
    return np.asarray(1.0 - (1.0 - own) * np.exp(others), dtype=np.float64)


def seller_hazard(shape: CompanyShape, waited_days: Ints, is_ended: Bools) -> Floats:
    """Chance that we cancel: seldom after 30 days, soon where the product has ended."""
    return np.where(is_ended, 0.08, np.where(waited_days > 30, shape.seller_cancel_hazard, 0.0))
