"""Money that the simulated company loses to waiting, by its hidden truth: expected each day, and as it came about."""

import numpy as np

from erp.simulated_chance import Bools, Columns, Floats, Ints, Stream, uniform
from erp.simulated_company import Company
from erp.simulated_hazard import cancel_hazard, seller_hazard
from erp.simulated_truth import is_alive, lost_by_cancelling, lost_by_waiting


def seller_hazard_today(company: Company, lines: Columns) -> Floats:
    """Chance that we cancel each line today."""
    is_ended = company.products.ends_day[lines["product"]] < company.day
    return seller_hazard(company.shape, company.day - lines["due_day"], is_ended)


def account_value(company: Company) -> Floats:
    """Margin expected over 365 days from each account, 0 for those that are gone; by customer index of the parent."""
    alive = is_alive(company.customers, company.is_lost, company.day)
    worth = np.where(alive, company.customers.value_if_alive, 0.0)
    return np.bincount(company.customers.account, weights=worth, minlength=len(worth)).astype(np.float64)


def _chances_to_leave(company: Company, lines: Columns, cancels: Floats) -> tuple[Floats, Floats]:
    """Chance that each line costs its customer today: by cancelling, and by one more day of waiting.

    Anonymous buyers are nobody's loss: 0.
    """
    shape = company.shape
    is_known = lines["customer"] < company.customers.n_known
    waited = (company.day - lines["due_day"]).astype(np.float64)
    by_wait = lost_by_waiting(shape, waited + 1.0) - lost_by_waiting(shape, waited)
    by_cancel = cancels * lost_by_cancelling(shape, company.customers, lines["customer"])
    return is_known * by_cancel, is_known * (1.0 - cancels) * by_wait


def leaving_accounts(company: Company, lines: Columns, gone: Bools) -> Ints:
    """Accounts that today's draws make leave for good, given which lines were cancelled."""
    draws = uniform(company.shape.seed, Stream.LEAVE, lines["key"], company.day)
    leaves = draws < np.add(*_chances_to_leave(company, lines, gone.astype(np.float64)))
    return np.unique(company.customers.account[lines["customer"]][leaves])


def no_losses(day: int) -> dict[str, float]:
    """Losses of a day on which no line waits."""
    names = ("cancel_margin", "cancel_future", "late_future", "realised_margin", "realised_future")
    return {"day": float(day)} | dict.fromkeys(names, 0.0)


def losses_of_day(company: Company, lines: Columns, gone: Bools, quantity: Ints) -> dict[str, float]:
    """Losses of the lines left waiting today: expected by the true hazards given this morning's state, and realised.

    cancel_margin : margin of open quantities cancelled          cancel_future : future margin lost by cancelling
    late_future : future margin lost by a day's further waiting  realised_* : what today's draws made of them
    A customer is lost once: with p_j the chance that line j costs it today, 1 - prod(1 - p_j) of its value is.
    """
    shape = company.shape
    margin = lines["unit_price"] - lines["unit_cost"]
    part = shape.partial_cancel_share * (lines["open"] > 1)
    mean_quantity = lines["open"] - part * (lines["open"] - lines["open"] // 2)
    hazard = 1.0 - (1.0 - cancel_hazard(shape, lines, company.day)) * (1.0 - seller_hazard_today(company, lines))
    by_cancel, by_wait = _chances_to_leave(company, lines, hazard)
    value = account_value(company)
    worth = _worth_of_leaving(company.customers.account[lines["customer"]], by_cancel + by_wait, value)
    return {
        "day": float(company.day),
        "cancel_margin": float((hazard * mean_quantity * margin).sum()),
        "cancel_future": float((by_cancel * worth).sum()),
        "late_future": float((by_wait * worth).sum()),
        "realised_margin": float((quantity * margin).sum()),
        "realised_future": float(value[leaving_accounts(company, lines, gone)].sum()),
    }


def _worth_of_leaving(account: Ints, chance: Floats, value: Floats) -> Floats:
    """Money per unit of chance for each line, so that an account's lines together bear value x [1 - prod(1 - p)]."""
    n = len(value)
    spared = np.exp(np.bincount(account, weights=np.log1p(-chance), minlength=n))
    total = np.bincount(account, weights=chance, minlength=n)
    return np.asarray((value * np.divide(1.0 - spared, total, out=np.ones(n), where=total > 0))[account])
