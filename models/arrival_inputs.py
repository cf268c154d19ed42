"""What a look at an inbound line says about its wait: its own state, its supplier's, and how its like came before.

Histories are slips: receipt day minus date told, of every date told whose goods have come since. They fade with a
half-life and are shrunk to all lines', so that a supplier nobody knows is like all. All is as known at the look.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.arrival_looks import InboundBook

PSEUDO_RECEIPTS = 10.0  # of all lines' in a history
MOST_SLIP_DAYS = 90.0  # longer ones count as these: one very late line must not stand for its supplier
RECENT_DAYS = 14
# What lines have in common, and after how many days an old receipt counts half. Suppliers change sooner than lanes
# can be seen to.
HISTORIES = {
    "kind": (("kind",), 120.0),
    "supplier": (("supplier_id",), 120.0),
    "lane": (("warehouse_id", "kind"), 365.0),
    "product": (("product_id", "kind"), 365.0),
    "supplier_lane": (("supplier_id", "warehouse_id"), 365.0),
}
MEASURES = ("slip_days", "late_share", "on_day_share", "abs_slip_days")
# Not here: month and weekday of the date told; of few years they are taken for a trend, and they foresaw no better.
OWN = (
    "due_days", "age_days", "promised_days", "since_told_days", "n_slips", "n_came", "since_came_days", "last_gap_days",
    "log_quantity", "n_with_it", "n_due_with_it", "lane_n_open", "lane_overdue_share",
    "supplier_idle_days", "supplier_n_recent", "supplier_overdue_share", "supplier_behind_share",
    "supplier_told_again_days", "supplier_told_again_most_days",
)  # fmt: skip
NUMERIC = (*OWN, *(f"{name}_{measure}" for name in HISTORIES for measure in (*MEASURES, "n_receipts")))


def look_inputs(book: InboundBook, looks: pd.DataFrame) -> pd.DataFrame:
    """One row per look (`arrival_looks.looks_on`) with `NUMERIC`, and due_days."""
    lines = book.lines.iloc[looks["line"].to_numpy()].reset_index(drop=True)
    return pd.DataFrame(_own_state(looks, lines) | _common_state(book, looks, lines) | _histories(book, looks, lines))


def _own_state(looks: pd.DataFrame, lines: pd.DataFrame) -> dict[str, np.ndarray]:
    day, expected = looks["day"].to_numpy(), looks["expected_day"].to_numpy()
    return {
        "due_days": expected - day,
        "age_days": day - lines["ordered_day"].to_numpy(),
        "promised_days": looks["first_expected_day"].to_numpy() - lines["ordered_day"].to_numpy(),
        "since_told_days": day - looks["told_day"].to_numpy(),
        "n_slips": looks["n_slips"].to_numpy(),
        "n_came": looks["n_came"].to_numpy(),
        "since_came_days": day - looks["last_came_day"].to_numpy(),
        "last_gap_days": looks["last_gap_days"].to_numpy(),
        "log_quantity": np.log(np.maximum(lines["quantity"].to_numpy(), 1e-9)),
    }


def _common_state(book: InboundBook, looks: pd.DataFrame, lines: pd.DataFrame) -> dict[str, np.ndarray]:
    """Count what else is open that morning, and say how the supplier fares."""
    day, expected = looks["day"].to_numpy(), looks["expected_day"].to_numpy()
    supplier, warehouse = lines["supplier_id"].to_numpy(), lines["warehouse_id"].to_numpy()
    ordered = lines["ordered_day"].to_numpy()
    overdue, behind = expected < day, (expected < day) | (looks["n_slips"].to_numpy() > 0)
    of_lane = joined_codes(day, warehouse, lines["kind"].to_numpy())
    of_supplier = joined_codes(day, supplier)
    came_supplier, came_day = book.lines["supplier_id"].to_numpy()[book.came_line], book.came_day
    order = np.lexsort((came_day, came_supplier))
    key = came_supplier[order] * 10**5 + came_day[order]
    before = np.searchsorted(key, supplier * 10**5 + day)
    own = np.searchsorted(key, supplier * 10**5)
    last = np.where(before > own, np.r_[came_day[order], np.nan][before - 1], np.nan)
    told_again, told_again_most = _told_again(looks, of_supplier)
    return {
        "n_with_it": _sizes(joined_codes(day, supplier, warehouse, ordered, looks["first_expected_day"].to_numpy())),
        "n_due_with_it": _sizes(joined_codes(day, warehouse, expected)),
        "lane_n_open": _sizes(of_lane),
        "lane_overdue_share": _means(of_lane, overdue),
        "supplier_idle_days": day - last,
        "supplier_n_recent": before - np.searchsorted(key, supplier * 10**5 + day - RECENT_DAYS),
        "supplier_overdue_share": _means(of_supplier, overdue),
        "supplier_behind_share": _means(of_supplier, behind),
        "supplier_told_again_days": told_again,
        "supplier_told_again_most_days": told_again_most,
    }


def _told_again(looks: pd.DataFrame, of_supplier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days until the new dates of each supplier's lines told again that nothing has come of: mean and most, else NaN.

    A supplier who has stopped says by them when it goes on, and lines due until then wait with them, told again or
    not. On simulated companies with stops this saves a fifth to a quarter of the pinball loss.
    """
    due = (looks["expected_day"] - looks["day"]).to_numpy()
    is_told = (looks["n_came"].to_numpy() == 0) & (looks["n_slips"].to_numpy() > 0) & ~np.isnan(due)
    n_groups = int(of_supplier.max(initial=-1)) + 1
    n_told = np.bincount(of_supplier, is_told, minlength=n_groups)
    total = np.bincount(of_supplier, np.where(is_told, due, 0.0), minlength=n_groups)
    most = np.full(n_groups, -np.inf)
    np.maximum.at(most, of_supplier[is_told], due[is_told])
    mean, most = (np.where(n_told > 0, days, np.nan) for days in (total / np.maximum(n_told, 1), most))
    return mean[of_supplier], most[of_supplier]


def slips(book: InboundBook) -> pd.DataFrame:
    """One row per date told whose goods have come since, by receipt day: line, came_day, slip_days."""
    place = book.n_came_before(book.told_line, book.told_day)
    came_line, came_day = np.r_[book.came_line, -1], np.r_[book.came_day, np.nan]
    has_come = (came_line[place] == book.told_line) & ~np.isnan(book.expected_day)
    day = came_day[place][has_come]
    slip = day - book.expected_day[has_come]
    found = pd.DataFrame({"line": book.told_line[has_come], "came_day": day, "slip_days": slip})
    return found.sort_values("came_day", kind="stable", ignore_index=True)


def _histories(book: InboundBook, looks: pd.DataFrame, lines: pd.DataFrame) -> dict[str, np.ndarray]:
    past, day = slips(book), looks["day"].to_numpy()
    slip = past["slip_days"].to_numpy()
    clipped = np.clip(slip, -MOST_SLIP_DAYS, MOST_SLIP_DAYS)
    values = np.column_stack([clipped, slip > 0, slip == 0, np.abs(clipped), np.ones(len(slip))])
    known: dict[str, np.ndarray] = {}
    for name, (columns, half_life) in HISTORIES.items():
        code = joined_codes(*(book.lines[column].to_numpy() for column in columns))
        came = (past["came_day"].to_numpy(), values, half_life)
        of_all = faded_sums(np.zeros(len(past), dtype=np.int64), *came, np.zeros(len(looks), dtype=np.int64), day)
        own = faded_sums(code[past["line"].to_numpy()], *came, code[looks["line"].to_numpy()], day)
        mean = of_all[:, :-1] / np.maximum(of_all[:, -1:], 1e-12)
        shrunk = (own[:, :-1] + PSEUDO_RECEIPTS * mean) / (own[:, -1:] + PSEUDO_RECEIPTS)
        known |= {f"{name}_{measure}": column for measure, column in zip(MEASURES, shrunk.T, strict=True)}
        known[f"{name}_n_receipts"] = own[:, -1]
    return known


def faded_sums(
    code: np.ndarray, day: np.ndarray, values: np.ndarray, half_life: float, asked: np.ndarray, asked_day: np.ndarray
) -> np.ndarray:
    """Sum the values of each code asked before the day asked, halved for every half-life since; (n_asked, n_values).

    >>> faded_sums(np.array([7, 7]), np.array([0, 10]), np.array([[8.0], [4.0]]), 10.0, np.array([7]), np.array([20]))
    array([[4.]])
    """
    if not len(code):
        return np.zeros((len(asked), values.shape[1]))
    order = np.lexsort((day, code))
    last = day.max()
    faded = values[order] * np.exp2((day[order] - last) / half_life)[:, None]
    sums = np.vstack([np.zeros(values.shape[1]), np.cumsum(faded, axis=0)])
    key = code[order] * 10**5 + day[order]
    ends, begins = np.searchsorted(key, asked * 10**5 + asked_day), np.searchsorted(key, asked * 10**5)
    return np.asarray((sums[ends] - sums[begins]) * np.exp2((last - asked_day) / half_life)[:, None])


def joined_codes(*columns: np.ndarray) -> np.ndarray:
    """One whole number per row, alike where all columns are.

    >>> joined_codes(np.array([5, 5, 5]), np.array([1, 2, 1])).tolist()
    [0, 1, 0]
    """
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, place = np.unique(column, return_inverse=True)
        code = np.unique(code * (int(place.max(initial=0)) + 1) + place, return_inverse=True)[1]
    return code


def _sizes(code: np.ndarray) -> np.ndarray:
    return np.bincount(code)[code] if len(code) else np.zeros(0)


def _means(code: np.ndarray, values: np.ndarray) -> np.ndarray:
    return (np.bincount(code, values) / np.bincount(code))[code] if len(code) else np.zeros(0)
