"""Other ways to foresee when an inbound line's next goods come: `way(known, rows, day)` -> `Foreseen`.

`known` is the book as it stood at the start of `day`, `rows` the open lines (`promises_data.open_on`); no way sees
more. All are told that the goods have not come yet, and none foresees less than a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.stats import norm

from tests.benchmarks.promises_data import Book, known_on, open_on, wait_days
from tests.benchmarks.promises_scores import LEVELS, Foreseen

Way = Callable[[Book, pd.DataFrame, pd.Timestamp], Foreseen]
FEWEST = 10  # receipts of a supplier that is judged by its own alone
MEDIAN_PSEUDO_RECEIPTS = 10.0  # of all suppliers' in a supplier's; 3 and 30 foresee the same days
FASTEST_SPREAD_DAYS = 1.0  # a supplier's lead times spread by no less
LONGEST_DAYS = 730.0
EPOCH = pd.Timestamp("2000-01-01")  # earlier days of judging are counted from there


def suppliers_date(known: Book, rows: pd.DataFrame, day: pd.Timestamp) -> Foreseen:
    """The latest date the supplier told, as if it were certain; a date that has passed is tomorrow."""
    return _point(told_days(rows))


def median_slip(known: Book, rows: pd.DataFrame, day: pd.Timestamp) -> Foreseen:
    """The date told plus the supplier's median slip so far, shrunk to all suppliers'; the chance of being late too."""
    past = slips(known)
    by_supplier = past.groupby("supplier_id")["slip_days"]
    weight = by_supplier.size() / (by_supplier.size() + MEDIAN_PSEUDO_RECEIPTS)
    typical, late = past["slip_days"].median(), (past["slip_days"] > 0).mean()
    shrunk = weight * by_supplier.median() + (1 - weight) * typical
    shrunk_late = weight * by_supplier.agg(lambda days: (days > 0).mean()) + (1 - weight) * late
    moved = told_days(rows) + rows["supplier_id"].map(shrunk).fillna(typical).to_numpy()
    return Foreseen(_point(moved).days, rows["supplier_id"].map(shrunk_late).fillna(late).to_numpy())


def past_slips(known: Book, rows: pd.DataFrame, day: pd.Timestamp) -> Foreseen:
    """Quantiles of the supplier's own slips so far that are not yet ruled out; of all suppliers' if these are few."""
    past = slips(known).sort_values("slip_days")
    everyone = past["slip_days"].to_numpy()
    own = {name: part.to_numpy() for name, part in past.groupby("supplier_id")["slip_days"]}
    told = told_days(rows)
    days, late = np.empty((len(rows), len(LEVELS))), np.empty(len(rows))
    for row, (supplier, ahead) in enumerate(zip(rows["supplier_id"], told, strict=True)):
        candidates = (own.get(supplier, everyone[:0]), everyone)
        left = next((c[c > -ahead] for c in candidates if (c > -ahead).sum() >= FEWEST), np.array([1.0 - ahead]))
        days[row] = ahead + left[np.ceil(LEVELS * len(left)).astype(int) - 1]
        late[row] = (left > 0).mean()
    return Foreseen(np.maximum(days, 1.0), late)


def normal_lead(known: Book, rows: pd.DataFrame, day: pd.Timestamp) -> Foreseen:
    """A normal lead time by supplier, given that it is longer than the line's age; all suppliers' for the unknown."""
    came = known.receipts.groupby("po_line_id")["received_on"].min()
    lines = known.lines.set_index("po_line_id").join(came, how="inner")
    lead = (lines["received_on"] - lines["ordered_on"]).dt.days
    by_supplier = lead.groupby(lines["supplier_id"])
    enough = by_supplier.size() >= FEWEST
    mean = rows["supplier_id"].map(by_supplier.mean()[enough]).fillna(lead.mean()).to_numpy()
    spread = rows["supplier_id"].map(by_supplier.std()[enough]).fillna(lead.std()).to_numpy()
    spread = np.maximum(spread, FASTEST_SPREAD_DAYS)
    age = (day - rows["ordered_on"]).dt.days.to_numpy()
    still_open = norm.sf(age, mean, spread)
    days = norm.isf((1 - LEVELS) * still_open[:, None], mean[:, None], spread[:, None]) - age[:, None]
    late = norm.sf(age + told_days(rows), mean, spread) / np.maximum(still_open, 1e-300)
    return Foreseen(np.clip(days, 1.0, LONGEST_DAYS), np.minimum(late, 1.0))


@dataclass(frozen=True)
class Tuning:
    """What was chosen for a booster by the mean pinball loss on earlier days and other seeds than those reported.

    Tried were 15 settings: 4, 7, 15 and 31 leaves of 20, 50 and 100 rows, 60 to 300 rounds, two to four years of
    history, looks every 15 or 30 days. On SCMS they reach 5.17 to 5.34 days, on simulated companies 1.92 to 2.04.

    Parameters
    ----------
    leaves, fewest_rows, rounds, rate : of LightGBM
    history_days : how far back the days of judging go that are learned from
    every_days : distance between them
    """

    leaves: int
    history_days: int
    fewest_rows: int = 20
    rounds: int = 150
    rate: float = 0.05
    every_days: int = 30


@dataclass(frozen=True)
class Booster:
    """LightGBM with the quantile loss at each level, on what earlier days knew and what came of it since."""

    tuning: Tuning
    looks: dict[tuple[str, pd.Timestamp], pd.DataFrame] = field(default_factory=dict)

    def __call__(self, known: Book, rows: pd.DataFrame, day: pd.Timestamp) -> Foreseen:
        """Learn and foresee: the wait beyond the date told, and the chance that there is one."""
        past = self._past_looks(known, day)
        wait = wait_days(known, past).to_numpy()
        settled = np.isfinite(wait)
        past, target = past[settled], wait[settled] - told_days(past[settled])
        learned, asked = _coded(past[list(INPUTS)], past), _coded(inputs(known, rows, day), past)
        slip = [self._foreseen(learned, target, asked, {"objective": "quantile", "alpha": a}) for a in LEVELS]
        late = self._foreseen(learned, (target > 0) * 1.0, asked, {"objective": "binary"})
        days = np.sort(np.column_stack(slip), axis=1) + told_days(rows)[:, None]
        return Foreseen(np.clip(days, 1.0, LONGEST_DAYS), late)

    def _past_looks(self, known: Book, day: pd.Timestamp) -> pd.DataFrame:
        """Open lines of earlier days as they stood then; what was known on a day stays, so it is built once."""
        every = self.tuning.every_days
        today = (day - EPOCH).days
        days = [EPOCH + pd.Timedelta(days=n) for n in range(today - self.tuning.history_days, today) if n % every == 0]
        for then in days:
            if (known.name, then) not in self.looks:
                self.looks[known.name, then] = _look(known, then)
        return pd.concat([self.looks[known.name, then] for then in days], ignore_index=True)

    def _foreseen(
        self, learned: pd.DataFrame, target: np.ndarray, asked: pd.DataFrame, objective: Mapping[str, str | float]
    ) -> np.ndarray:
        chosen = self.tuning
        params = objective | {
            "num_leaves": chosen.leaves, "min_data_in_leaf": chosen.fewest_rows, "learning_rate": chosen.rate,
            "verbosity": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 0,
        }  # fmt: skip
        booster = lgb.train(params, lgb.Dataset(learned, target), chosen.rounds)
        return np.asarray(booster.predict(asked))


OF_SCMS, OF_SIMULATED = Tuning(leaves=15, history_days=730), Tuning(leaves=7, history_days=1095)
TEXT = ("supplier_id", "country", "mode", "kind", "category")
INPUTS = (
    *TEXT, "told_days", "age_days", "promised_days", "since_told_days", "n_slips", "is_begun", "since_receipt_days",
    "quantity", "value", "due_month", "due_weekday", "supplier_median_slip", "supplier_late_share",
    "supplier_recent_slip", "supplier_idle_days", "supplier_overdue_share", "n_lines_of_receipt",
)  # fmt: skip


def inputs(known: Book, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """What a booster sees of each open line, `INPUTS`, all known before `day`."""
    past = slips(known)
    of_supplier = past.groupby("supplier_id")["slip_days"]
    recent = past[past["received_on"] >= day - pd.Timedelta(days=180)].groupby("supplier_id")["slip_days"]
    supplier = rows["supplier_id"]
    idle = (day - past.groupby("supplier_id")["received_on"].max()).dt.days.astype(float)
    overdue = rows["expected_on"] < day
    given = {
        "told_days": told_days(rows),
        "age_days": (day - rows["ordered_on"]).dt.days,
        "promised_days": (rows["first_expected_on"] - rows["ordered_on"]).dt.days,
        "since_told_days": (day - rows["told_on"]).dt.days,
        "is_begun": rows["is_begun"] * 1.0,
        "since_receipt_days": (day - rows["last_received_on"]).dt.days,
        "due_month": rows["expected_on"].dt.month,
        "due_weekday": rows["expected_on"].dt.day_of_week,
        "supplier_median_slip": supplier.map(of_supplier.median()),
        "supplier_late_share": supplier.map(of_supplier.agg(lambda days: (days > 0).mean())),
        "supplier_recent_slip": supplier.map(recent.mean()),
        "supplier_idle_days": supplier.map(idle),
        "supplier_overdue_share": overdue.groupby(supplier).transform("mean"),
        "n_lines_of_receipt": rows.groupby("receipt_id")["po_line_id"].transform("size"),
    }
    return rows.assign(**given)[list(INPUTS)].astype(dict.fromkeys(INPUTS[len(TEXT) :], float))


def _coded(rows: pd.DataFrame, past: pd.DataFrame) -> pd.DataFrame:
    """Text as categories of the past; what the past does not know is missing."""
    kinds = {name: pd.CategoricalDtype(sorted(past[name].unique())) for name in TEXT}
    return rows.assign(
        **{name: rows[name].where(rows[name].isin(kind.categories)).astype(kind) for name, kind in kinds.items()}
    )


def _look(known: Book, day: pd.Timestamp) -> pd.DataFrame:
    then = known_on(known, day)
    rows = open_on(then, day)
    keys = ["po_line_id", "receipt_id", "expected_on", "day"]
    return pd.concat([rows[keys], inputs(then, rows, day)], axis=1)


def slips(known: Book) -> pd.DataFrame:
    """One row per date told whose goods have come since: supplier_id, received_on, slip_days (receipt minus date)."""
    told = known.told.merge(known.receipts[["po_line_id", "received_on"]], on="po_line_id")
    told = told[told["received_on"] >= told["told_on"]].sort_values(["po_line_id", "told_on", "received_on"])
    told = told.drop_duplicates(["po_line_id", "told_on"])
    told = told.merge(known.lines[["po_line_id", "supplier_id"]], on="po_line_id")
    slip = (told["received_on"] - told["expected_on"]).dt.days.astype(float)
    return told.assign(slip_days=slip)[["supplier_id", "received_on", "slip_days"]]


def told_days(rows: pd.DataFrame) -> np.ndarray:
    """Days from each row's day to the latest date told, negative once it has passed."""
    return (rows["expected_on"] - rows["day"]).dt.days.to_numpy(dtype=float)


def _point(days: np.ndarray) -> Foreseen:
    all_levels = np.repeat(np.maximum(days, 1.0)[:, None], len(LEVELS), axis=1)
    return Foreseen(all_levels, np.full(len(days), np.nan))


SUPPLIERS_DATE, BOOSTER = "the supplier's date", "LightGBM quantiles"
PLAIN_PEERS: Mapping[str, Way] = {
    SUPPLIERS_DATE: suppliers_date,
    "the supplier's median slip": median_slip,
    "the supplier's past slips": past_slips,
    "a normal lead time": normal_lead,
}
