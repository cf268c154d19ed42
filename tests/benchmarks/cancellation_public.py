"""Two public sets of patients: how the model fares where nothing is a back order, nothing moves and Cox is at home.

flchain: 7,874 people's blood test and time to death (Dispenzieri et al. 2012), without `chapter`, the cause of death,
which is known of the dead only. gbsg2: 686 women, time to the cancer's return (Schumacher et al. 1994). Both come with
scikit-survival. Days are counted in months; the sets have no calendar, so each patient's start is drawn at random.

Five times, patients are split at random into halves, each learns and is judged once. Judged are the curves at whole
months from the one by which 5 % of the events had come to the one by which 80 % of all patients were last seen: the
integrated Brier score weighted by the chance of still being watched (one Kaplan-Meier curve of the learning half), and
the mean time-dependent AUC, both scikit-survival's.
Intervals over the ten halves are a little too narrow, as the halves share patients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cancellation import fit, survival
from tests.benchmarks.cancellation_ours import FIRST_DAY, N_START_DAYS
from tests.benchmarks.cancellation_peers import daily, structured

MONTH_DAYS = 30.4375
SPLIT_SEEDS = (1, 2, 3, 4, 5)
LONG_TAILED = {"flchain": ("creatinine", "kappa", "lambda"), "gbsg2": ("estrec", "pnodes", "progrec", "tsize")}
ORDERED = ("sample.yr", "flc.grp", "tgrade")
SHARE_BEFORE = 0.05  # of the events; before that there are too few to rank
SHARE_SEEN = 0.8


@dataclass(frozen=True, eq=False)
class Patients:
    """A public set: columns `numeric` and `text`, months until the event or until last seen, and which it was."""

    name: str
    features: pd.DataFrame
    numeric: tuple[str, ...]
    text: tuple[str, ...]
    months: np.ndarray
    event: np.ndarray

    def take(self, places: np.ndarray) -> Patients:
        """Return the patients at these places."""
        features = self.features.iloc[places].reset_index(drop=True)
        return Patients(self.name, features, self.numeric, self.text, self.months[places], self.event[places])


# A way learns from patients and gives others' curves at 0..n months.
PatientWay = Callable[[Patients, Patients, int, int], np.ndarray]


def flchain() -> Patients:
    """People with a blood test, without the leaking column."""
    from sksurv.datasets import load_flchain

    features, outcome = load_flchain()
    return _patients("flchain", features.drop(columns="chapter"), outcome)


def gbsg2() -> Patients:
    """Women with breast cancer."""
    from sksurv.datasets import load_gbsg2

    return _patients("gbsg2", *load_gbsg2())


def our_curves(past: Patients, others: Patients, n_months: int, seed: int) -> np.ndarray:
    """The project's model on months instead of days."""
    start = np.random.default_rng(seed).integers(0, N_START_DAYS, len(past.months))
    samples = past.features.assign(
        order_line_id=[f"P{place:05d}" for place in range(len(start))],
        cutoff_on=FIRST_DAY + pd.to_timedelta(start, unit="D"),
        waited_days=0.0,
        at_risk_days=past.months,
        ended_by=np.where(past.event, "customer", "shipment"),  # an end that censors, to the day
        cancelled_share=past.event * 1.0,
    )
    model = fit(samples, seed, ("waited_days", *past.numeric), past.text)
    return survival(model, others.features.assign(waited_days=0.0), n_months)


def cox_curves(past: Patients, others: Patients, n_months: int, seed: int) -> np.ndarray:
    """Cox's regression with logs of long-tailed numbers and a column that tells what is missing."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return _sksurv_curves(CoxPHSurvivalAnalysis(alpha=0.1), past, others, n_months)


def forest_curves(past: Patients, others: Patients, n_months: int, seed: int) -> np.ndarray:
    """Random survival forest."""
    from sksurv.ensemble import RandomSurvivalForest

    forest = RandomSurvivalForest(
        n_estimators=100, min_samples_leaf=10, max_features="sqrt", n_jobs=1, random_state=seed
    )
    return _sksurv_curves(forest, past, others, n_months)


PATIENT_WAYS: dict[str, PatientWay] = {"ours": our_curves, "Cox": cox_curves, "random survival forest": forest_curves}


def measured_on(patients: Patients, split_seeds: tuple[int, ...] = SPLIT_SEEDS) -> list[dict[str, object]]:
    """IBS and AUC of every way on both halves of each split."""
    from sksurv.metrics import cumulative_dynamic_auc, integrated_brier_score

    first = np.quantile(patients.months[patients.event], SHARE_BEFORE)
    months = np.arange(int(first) + 1, int(np.quantile(patients.months, SHARE_SEEN)) + 1)
    rows: list[dict[str, object]] = []
    for part, (past, others) in enumerate(_halves(patients, split_seeds)):
        # The weights need that somebody of the learning half is watched as long as any of the judged.
        seen = np.minimum(others.months, past.months.max() - 1e-6)
        known, judged = structured(past.event, past.months), structured(others.event, seen)
        for name, way in PATIENT_WAYS.items():
            curves = way(past, others, int(months[-1]), part)[:, months]
            auc = cumulative_dynamic_auc(known, judged, 1 - curves, months)[1]
            ibs = integrated_brier_score(known, judged, curves, months)
            rows.append({"world": patients.name, "seed": part, "way": name, "IBS": float(ibs), "AUC": float(auc)})
    return rows


def _halves(patients: Patients, split_seeds: tuple[int, ...]) -> Iterator[tuple[Patients, Patients]]:
    n = len(patients.months)
    for seed in split_seeds:
        one, other = (
            patients.take(np.sort(half)) for half in np.array_split(np.random.default_rng(seed).permutation(n), 2)
        )
        yield one, other
        yield other, one


def _patients(name: str, features: pd.DataFrame, outcome: np.ndarray) -> Patients:
    event, days = (outcome[field] for field in outcome.dtype.names)
    columns = {}
    for column, values in features.items():
        if column in ORDERED:
            columns[column] = values.cat.rename_categories(_place).astype(float)
        else:
            columns[column] = values.astype(str) if isinstance(values.dtype, pd.CategoricalDtype) else values
    table = pd.DataFrame(columns)
    text = tuple(column for column in table if not pd.api.types.is_numeric_dtype(table[column]))
    numeric = tuple(column for column in table if column not in text)
    # Somebody who died on the day of the test was at risk for half a day.
    return Patients(name, table, numeric, text, np.maximum(days, 0.5) / MONTH_DAYS, event.astype(bool))


def _place(grade: str) -> float:
    """Grades I, II, III as numbers; other ordered names are numbers already."""
    return float({"I": 1, "II": 2, "III": 3}.get(grade, grade))


def _sksurv_curves(model: object, past: Patients, others: Patients, n_months: int) -> np.ndarray:
    usual = past.features[list(past.numeric)].median()
    learned = _analysts_table(past, usual)
    middle, spread = learned.mean(), learned.std()  # without them Newton's steps overshoot on years like 1997
    # The event's day in whole months, counted up: what a curve at whole months can tell, and far fewer steps.
    model.fit((learned - middle) / spread, structured(past.event, np.ceil(past.months)))
    scored = (_analysts_table(others, usual) - middle) / spread
    steps = model.predict_survival_function(scored, return_array=True)
    return daily(steps, model.unique_times_, n_months)


def _analysts_table(patients: Patients, usual: pd.Series) -> pd.DataFrame:
    features = patients.features
    columns = {name: features[name].fillna(usual[name]) for name in patients.numeric}
    columns |= {name: np.log1p(columns[name]) for name in LONG_TAILED[patients.name]}
    if "creatinine" in columns:
        columns["creatinine_unknown"] = features["creatinine"].isna() * 1.0
    for name in patients.text:  # each has two values
        columns[name] = (features[name] == features[name].max()) * 1.0
    return pd.DataFrame(columns)
