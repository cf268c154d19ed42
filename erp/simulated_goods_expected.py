"""When the next goods come in the simulated company, as far as its books tell: a posterior by Bayes' rule.

Known are the laws of lead times, suppliers' spells, parts and dates told anew; the draws are not. A supplier is in no
spell, or in one that began on day s and ends on day e: goods that came on a day between rule it out, overdue goods
speak for it. New dates say how long goods still take, times a hope between the bounds `HOPE`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from erp.simulated_books import Books
from erp.simulated_chance import Columns, Floats, Ints, take
from erp.simulated_demand import DAY
from erp.simulated_oracle import LONGEST_DAYS
from erp.simulated_supply import AFTER_SPELL_DAYS, HOPE, LEAD_OVERRUN, LEAST_LEAD_DAYS, PART_GAP_DAYS, SPELL_DAYS
from erp.simulated_truth import CompanyShape

_BACK = 70  # days back from which a supplier may hold goods up: the longest spell and what comes after it
_AHEAD = 200  # days ahead by which all goods have come
_LEAST = 1e-9  # chance of what the grids' steps leave out
_AFTER = int(AFTER_SPELL_DAYS)


def still_to_come(shape: CompanyShape, books: Books) -> Floats:
    """Chance that no goods of each product come in the next days, (n_products, LONGEST_DAYS + 1).

    Column a: none today or on the a - 1 days after it. Only goods on order count, as for who knows the truth.
    """
    purchases = _open_purchases(books)
    comes = np.zeros((len(purchases["key"]), _AHEAD))
    is_begun = purchases["n_receipts"] > 0
    told = _told_anew(books, purchases)
    comes[is_begun] = _next_part(books.day, take(purchases, is_begun), told[is_begun])
    comes[~is_begun] = _first_part(shape, books, take(purchases, ~is_begun), told[~is_begun])
    later = np.clip(1.0 - np.cumsum(comes, axis=1) + comes, _LEAST, 1.0)[:, : LONGEST_DAYS + 1]  # none before the day
    log_none = np.zeros((len(books.lead_days), LONGEST_DAYS + 1))
    np.add.at(log_none, purchases["product"], np.log(later))
    return np.asarray(np.exp(log_none), dtype=np.float64)


def _open_purchases(books: Books) -> Columns:
    """Inbound lines not complete: `PURCHASE_SEEN`, n_receipts, first_day and last_day of receipts (-1: none yet)."""
    every = _received(books)
    return take(every, every["received"] < every["quantity"])


def _received(books: Books) -> Columns:
    purchases = take(books.purchases, np.argsort(books.purchases["key"], kind="stable"))
    n = len(purchases["key"])
    row, day = np.searchsorted(purchases["key"], books.receipts["key"]), books.receipts["day"]
    first, last = np.full(n, books.day + 1), np.full(n, -1)
    np.minimum.at(first, row, day)
    np.maximum.at(last, row, day)
    return purchases | {
        "received": np.bincount(row, weights=books.receipts["quantity"], minlength=n),
        "n_receipts": np.bincount(row, minlength=n),
        "first_day": np.where(last >= 0, first, -1),
        "last_day": last,
    }


def _told_anew(books: Books, purchases: Columns) -> Floats:
    """Chance of the dates told anew since the last receipt if the next goods come in r days, (n_purchases, _AHEAD).

    Told on day t that goods come d days later: d = max(ceil(hope x days that they still take), 2).
    """
    log_chance = np.zeros((len(purchases["key"]), _AHEAD))
    if not len(purchases["key"]):
        return log_chance
    row = np.minimum(np.searchsorted(purchases["key"], books.slips["key"]), len(purchases["key"]) - 1)
    counts = (purchases["key"][row] == books.slips["key"]) & (books.slips["day"] >= purchases["last_day"][row])
    day, said = books.slips["day"][counts], (books.slips["expected_day"] - books.slips["day"])[counts]
    takes = np.maximum(books.day - day[:, None] + np.arange(_AHEAD), 1.0)
    most = np.minimum(said[:, None] / takes, HOPE[1])
    least = np.maximum(np.where(said > 2, said - 1, 0)[:, None] / takes, HOPE[0])
    chance = np.maximum(most - least, 0.0) / (HOPE[1] - HOPE[0])
    np.add.at(log_chance, row[counts], np.log(np.maximum(chance, _LEAST)))
    return np.asarray(np.exp(log_chance), dtype=np.float64)


def _next_part(day: int, purchases: Columns, told: Floats) -> Floats:
    """Chance of each day of the next part: parts are evenly spaced, so two of them tell when the third comes."""
    ahead = day + np.arange(_AHEAD) - purchases["last_day"][:, None]  # days from the last part
    parts = np.maximum(purchases["n_receipts"] - 1, 1)
    known = ((purchases["last_day"] - purchases["first_day"]) // parts)[:, None]
    is_one = (purchases["n_receipts"] == 1)[:, None]
    may = np.where(is_one, (ahead >= PART_GAP_DAYS[0]) & (ahead <= PART_GAP_DAYS[1]), ahead == known)
    return _shares(may * (told + _LEAST))


def _first_part(shape: CompanyShape, books: Books, purchases: Columns, told: Floats) -> Floats:
    """Chance of each day of the first part, supplier by supplier: their goods tell of their spells together."""
    comes = np.zeros_like(told)
    spells = _spells(shape)
    every = _received(books)
    for supplier in np.unique(purchases["supplier"]).tolist():
        mine = purchases["supplier"] == supplier
        came = every["first_day"][(every["supplier"] == supplier) & (every["first_day"] >= 0)] - books.day
        planned = _planned(shape, books, take(purchases, mine))
        comes[mine] = _given_spells(shape, spells, came, planned, told[mine])
    return comes


def _planned(shape: CompanyShape, books: Books, purchases: Columns) -> Floats:
    """Chance of each day on which goods were to come, spells apart, from `_BACK` days back on."""
    edges = books.day - _BACK + np.arange(_BACK + _AHEAD + 1) - purchases["ordered_second"][:, None] // DAY
    usual = np.log(np.maximum(edges, 1e-9) / books.lead_days[purchases["product"]][:, None])
    below = np.where(edges <= LEAST_LEAD_DAYS, 0.0, ndtr((usual - LEAD_OVERRUN) / shape.lead_spread))
    return np.asarray(np.diff(below, axis=1), dtype=np.float64)


@dataclass(frozen=True)
class _Spells:
    """Spells that a supplier may be in or just out of, days from today, with their chances before anything is seen."""

    starts: Ints
    ends: Ints
    chance: Floats
    chance_of_none: float
    delays: Floats  # chance that goods planned for r days ahead come d days later, no spell today, (r + 1, d + 1)


def _spells(shape: CompanyShape) -> _Spells:
    """Spells over a grid of last days (every second one) and lengths."""
    lengths, step = np.linspace(*SPELL_DAYS, 7), 2
    ends = np.arange(1 - _AFTER, int(SPELL_DAYS[1]) + 1, step)
    end, length = (each.ravel() for each in np.meshgrid(ends, lengths, indexing="ij"))
    is_on = end - length <= 0
    rate = 1.0 / (shape.disruption_gap_days + lengths.mean())
    chance = np.full(int(is_on.sum()), step * rate / len(lengths))
    start = np.rint(end - length).astype(np.int64)[is_on]
    return _Spells(start, end[is_on].astype(np.int64), chance, 1.0 - float(chance.sum()), _delays(shape))


def _delays(shape: CompanyShape) -> Floats:
    """Chance by days ahead and days of delay: a spell of age a ends `length` - a days on, goods up to 6 days later."""
    longest = int(SPELL_DAYS[1])
    lengths = np.arange(int(SPELL_DAYS[0]), longest + 1)
    by_age = np.zeros((longest, longest + _AFTER + 1))
    for age in range(longest):
        for length in lengths[lengths > age].tolist():
            by_age[age, length - age : length - age + _AFTER] += 1.0 / len(lengths) / _AFTER
    delays = np.r_[np.zeros((1, by_age.shape[1])), np.cumsum(by_age, axis=0) / shape.disruption_gap_days]
    delays[:, 0] = 1.0 - delays.sum(axis=1)
    return np.asarray(delays, dtype=np.float64)


def _given_spells(shape: CompanyShape, spells: _Spells, came: Ints, planned: Floats, told: Floats) -> Floats:
    """Chance of each day of the first part of one supplier's goods, (n_purchases, _AHEAD)."""
    ahead = planned[:, _BACK:]
    calm = _with_delays(ahead, spells.delays) * told
    direct = ahead * told
    from_end = np.cumsum(direct[:, ::-1], axis=1)[:, ::-1][:, np.maximum(spells.ends, 0)]
    summed = np.c_[np.zeros(len(planned)), np.cumsum(planned, axis=1)]
    held = summed[:, spells.ends + _BACK] - summed[:, np.maximum(spells.starts + _BACK, 0)]
    days = spells.ends[:, None] + np.arange(_AFTER)  # on which goods held up come
    says = np.where(days >= 0, told[:, np.maximum(days, 0)], 0.0) / _AFTER  # (n_purchases, n_spells, _AFTER)
    seen = from_end + held * says.sum(axis=2) + _LEAST
    # A day's grace on either side for the grid's steps.
    is_out = ((came[:, None] > spells.starts + 1) & (came[:, None] < spells.ends - 1)).any(axis=0)
    log_chance = np.log(seen).sum(axis=0) + np.log(spells.chance) - np.where(is_out, 700.0, 0.0)
    none = calm.sum(axis=1) + _LEAST
    log_none = float(np.log(none).sum() + np.log(spells.chance_of_none))
    top = max(log_none, float(log_chance.max()))
    weight = np.exp(log_chance - top) / seen
    by_end = np.zeros((len(planned), _AHEAD))
    np.add.at(by_end.T, np.maximum(spells.ends, 0), weight.T)
    comes = np.exp(log_none - top) / none[:, None] * calm + direct * np.cumsum(by_end, axis=1)
    for after in range(_AFTER):
        np.add.at(comes.T, np.maximum(days[:, after], 0), (weight * held * says[:, :, after]).T)
    return _shares(comes + _LEAST * (ahead + _LEAST))


def _with_delays(planned: Floats, delays: Floats) -> Floats:
    """Days on which goods come if no spell is on today but one may begin before they were to come."""
    calm_days = np.minimum(np.arange(planned.shape[1]), len(delays) - 1)
    comes = np.zeros_like(planned)
    for delay in range(delays.shape[1]):
        comes[:, delay:] += (planned * delays[calm_days, delay])[:, : planned.shape[1] - delay]
    return comes


def _shares(weight: Floats) -> Floats:
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)
