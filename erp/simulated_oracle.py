"""The rule of somebody who knows the simulated company's truth: how well goods can be given out at best."""

import numpy as np
import pandas as pd

from erp.simulated_chance import Columns, Floats, Ints, take
from erp.simulated_hazard import cancel_hazard, seller_hazard
from erp.simulated_losses import account_value
from erp.simulated_rules import by_priority
from erp.simulated_supply import arriving
from erp.simulated_truth import lost_by_cancelling, lost_by_waiting
from erp.simulator import Company, fork, step

LONGEST_DAYS = 60  # a wait counts no further: hardly a line is wanted by then


def roll_forward_knowing(company: Company, n_days: int) -> pd.DataFrame:
    """Losses of the next `n_days`, one row per day, if lines were ranked each morning by `true_loss_per_unit`.

    A static rank: it knows every hazard, value and receipt, but plans no receipt after the next one.
    """
    twin = fork(company)
    twin.money = []
    twin.rule = lambda seen: by_priority(seen, true_loss_per_unit(twin))
    for _ in range(n_days):
        step(twin)
    return twin.losses


def true_loss_per_unit(company: Company) -> Floats:
    """Money per unit that each waiting line loses in expectation until the next goods for it come, by the hidden truth.

    Waiting lines in the order of the morning's: margin and customer lost by cancelling, customer lost by lateness.
    """
    lines = take(company.open, company.open["due_day"] < company.day)
    n_days = days_to_next_receipt(company)[lines["product"]]
    margin = (lines["unit_price"] - lines["unit_cost"]) * lines["open"]
    is_known = lines["customer"] < company.customers.n_known
    value = is_known * account_value(company)[company.customers.account[lines["customer"]]]
    by_cancel = margin + value * lost_by_cancelling(company.shape, company.customers, lines["customer"])
    loss, wanted = np.zeros(len(margin)), np.ones(len(margin))
    for ahead in range(int(n_days.max(initial=0))):
        gone = _chance_gone(company, lines, ahead)
        waited = (company.day + ahead - lines["due_day"]).astype(np.float64)
        later = lost_by_waiting(company.shape, waited + 1.0) - lost_by_waiting(company.shape, waited)
        loss += np.where(ahead < n_days, wanted * (gone * by_cancel + (1.0 - gone) * later * value), 0.0)
        wanted *= 1.0 - gone
    return np.asarray(loss / lines["open"], dtype=np.float64)


def _chance_gone(company: Company, lines: Columns, ahead: int) -> Floats:
    day = company.day + ahead
    by_seller = seller_hazard(company.shape, day - lines["due_day"], company.products.ends_day[lines["product"]] < day)
    return 1.0 - (1.0 - cancel_hazard(company.shape, lines, day)) * (1.0 - by_seller)


def days_to_next_receipt(company: Company) -> Ints:
    """Days of waiting until the morning after the next goods of each product come, at most `LONGEST_DAYS`."""
    days = np.full(company.shape.n_products, LONGEST_DAYS, dtype=np.int64)
    for ahead in reversed(range(LONGEST_DAYS)):
        comes = arriving(company.purchases, company.day + ahead) > 0
        days[company.purchases["product"][comes]] = ahead + 1
    return days
