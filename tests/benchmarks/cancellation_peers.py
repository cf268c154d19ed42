"""The other ways to say who cancels, each used as somebody who knows it well would use it.

A peer learns from a `Book` of past lines and answers for open ones: the chance of cancelling within the horizon and, if
it has curves, the chance of still being wanted day by day given the wait so far. The event is the customer's
cancellation; shipping censors. Settings were chosen for each peer's best on seeds that no figure is measured with.
The packages are imported where they are used, so nothing here is needed to run the product or its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.stats import logistic, norm

from tests.benchmarks.cancellation_scores import BRIER_DAYS, HORIZON_DAYS
from tests.benchmarks.cancellation_worlds import CANCELLED, LAST_DAY, NEVER, TEXT, Book, after_waiting

STILL_WANTED = {"normal": norm.sf, "logistic": logistic.sf, "extreme": lambda z: np.exp(-np.exp(z))}
FEW_LINES = 2000
LATE_CUTS_DAYS = (0, 3, 7, 14, 30, 60)
LONG_TAILED = ("qty", "tenure", "n_orders")  # an analyst takes their logs


@dataclass(frozen=True, eq=False)
class Answer:
    """What a way says of open lines.

    Parameters
    ----------
    score : the greater, the sooner the line is shipped
    chance : of cancelling within `HORIZON_DAYS`, None if the way gives no chance
    curves : (n_lines, BRIER_DAYS + 1), None if the way gives none
    """

    score: np.ndarray
    chance: np.ndarray | None = None
    curves: np.ndarray | None = None


Predictor = Callable[[Book], Answer]
Way = Callable[[Book, int], Predictor]


def answer(curves: np.ndarray, lines: Book) -> Answer:
    """Curves given the wait so far, as an answer: lines are ranked by the value that is likely to be lost."""
    chance = 1 - curves[:, HORIZON_DAYS]
    return Answer(lines.value * chance, chance, curves)


def table(features: pd.DataFrame) -> pd.DataFrame:
    """Columns for methods that add effects: logs of long-tailed numbers, text as one column per value but the first.

    >>> table(pd.DataFrame({"qty": [0.0, 1.0], "channel": ["0", "1"]})).round(2).to_dict("list")
    {'qty': [0.0, 0.69], 'channel_1': [0.0, 1.0]}
    """
    columns = {name: features[name] for name in features.columns if name not in TEXT}
    columns |= {name: np.log1p(features[name]) for name in LONG_TAILED if name in features}
    for name in TEXT:
        values = sorted(features[name].unique())[1:] if name in features else []
        columns |= {f"{name}_{value}": (features[name] == value) * 1.0 for value in values}
    return pd.DataFrame(columns)


def first_come_first_served(past: Book, seed: int) -> Predictor:
    """Longest wait first."""
    return lambda lines: Answer(lines.waited_days.astype(float))


def value_only(past: Book, seed: int) -> Predictor:
    """Largest margin first."""
    return lambda lines: Answer(lines.value)


def closed_line_classifier(past: Book, seed: int) -> Predictor:
    """The usual way: of the lines that have closed, which were cancelled? The wait is an input, open lines are not."""
    closed = past.take(np.flatnonzero(past.cause != NEVER))
    inputs = closed.features.astype(float).assign(waited_days=closed.left_on)
    model = lgb.LGBMClassifier(
        n_estimators=150, learning_rate=0.05, num_leaves=15, min_child_samples=50, subsample=0.8, subsample_freq=1,
        random_state=seed, n_jobs=1, verbose=-1,
    ).fit(inputs, closed.cause == CANCELLED)  # fmt: skip

    def predict(lines: Book) -> Answer:
        inputs = lines.features.astype(float).assign(waited_days=lines.waited_days)
        chance = model.predict_proba(inputs)[:, 1]
        return Answer(lines.value * chance, chance)

    return predict


def cox(past: Book, seed: int) -> Predictor:
    """Cox's regression (scikit-survival); where lines are few, with the elastic net that drops what does not matter."""
    from sksurv.linear_model import CoxnetSurvivalAnalysis, CoxPHSurvivalAnalysis

    if len(past) > FEW_LINES:
        return _sksurv(CoxPHSurvivalAnalysis(alpha=0.3), past, lambda lines: table(lines.features))
    net = CoxnetSurvivalAnalysis(l1_ratio=0.5, alphas=[0.03], fit_baseline_model=True)
    learned = table(past.features)
    middle, spread = learned.mean(), learned.std()

    def scaled(lines: Book) -> pd.DataFrame:
        return (table(lines.features).reindex(columns=learned.columns, fill_value=0.0) - middle) / spread

    return _sksurv(net, past, scaled)


def random_survival_forest(past: Book, seed: int) -> Predictor:
    """Random survival forest (scikit-survival)."""
    from sksurv.ensemble import RandomSurvivalForest

    forest = RandomSurvivalForest(n_estimators=60, min_samples_leaf=30, max_features=0.5, n_jobs=1, random_state=seed)
    return _sksurv(forest, past, lambda lines: lines.features.astype(float))


def boosted_survival(past: Book, seed: int) -> Predictor:
    """Gradient boosting on Cox's likelihood (scikit-survival)."""
    from sksurv.ensemble import GradientBoostingSurvivalAnalysis

    boosted = GradientBoostingSurvivalAnalysis(
        n_estimators=100, learning_rate=0.2, max_depth=3, subsample=0.5, min_samples_leaf=20, random_state=seed
    )
    return _sksurv(boosted, past, lambda lines: lines.features.astype(float))


def cox_told_the_promise(past: Book, seed: int) -> Predictor:
    """Cox's regression by somebody who knows that the promise matters (lifelines): lateness as inputs that move."""
    from lifelines import CoxTimeVaryingFitter

    columns = table(past.features)
    episodes = _episodes(past, columns)
    fitter = CoxTimeVaryingFitter(penalizer=1e-4).fit(
        episodes, id_col="line", event_col="event", start_col="start", stop_col="stop"
    )
    baseline = fitter.baseline_cumulative_hazard_.iloc[:, 0]
    steps = np.diff(daily_sum(baseline.to_numpy(), baseline.index.to_numpy(), LAST_DAY))
    days_late = np.arange(1, LAST_DAY + 1)

    def predict(lines: Book) -> Answer:
        inputs = table(lines.features).reindex(columns=columns.columns, fill_value=0.0)
        late = np.maximum(days_late - lines.features["promise"].to_numpy()[:, None], 0)
        moving = _moving(late, lines.features["price_sens"].to_numpy()[:, None])
        effects = fitter.params_
        fixed = inputs.to_numpy() @ effects[inputs.columns].to_numpy()
        centre = (fitter._norm_mean * effects).sum()  # lifelines gives the baseline at the mean input
        log_risk = fixed[:, None] - centre + sum(effects[name] * column for name, column in moving.items())
        curves = np.exp(-np.cumsum(np.c_[np.zeros(len(lines)), steps * np.exp(log_risk)], axis=1))
        return answer(after_waiting(curves, lines, BRIER_DAYS), lines)

    return predict


def xgboost_cox(past: Book, seed: int) -> Predictor:
    """XGBoost on Cox's likelihood, Breslow's baseline; rounds chosen on a fifth of the lines."""
    import xgboost as xgb

    signed = np.where(past.cause == CANCELLED, past.left_on, -past.left_on)
    params = {"objective": "survival:cox", "eval_metric": "cox-nloglik", **_xgboost_params(seed)}
    booster = _stopped_early(params, past, lambda data, rows: data.set_label(signed[rows]), seed)
    risk = booster.predict(xgb.DMatrix(past.features.astype(float)), output_margin=True)
    baseline = breslow(past.left_on, past.cause == CANCELLED, np.exp(risk - risk.mean()))

    def predict(lines: Book) -> Answer:
        margin = booster.predict(xgb.DMatrix(lines.features.astype(float)), output_margin=True) - risk.mean()
        curves = np.exp(-baseline[None] * np.exp(margin)[:, None])
        return answer(after_waiting(curves, lines, BRIER_DAYS), lines)

    return predict


def xgboost_aft(past: Book, seed: int) -> Predictor:
    """XGBoost accelerated failure time; form and scale of the log time's errors, and rounds, by held-out likelihood."""
    import xgboost as xgb

    low = past.left_on.astype(float)
    high = np.where(past.cause == CANCELLED, low, np.inf)

    def label(data: xgb.DMatrix, rows: np.ndarray) -> None:
        data.set_float_info("label_lower_bound", low[rows])
        data.set_float_info("label_upper_bound", high[rows])

    fits = []
    for errors, scale in (("normal", 1.0), ("logistic", 0.5), ("extreme", 0.5), ("extreme", 0.7)):
        params = {
            "objective": "survival:aft", "eval_metric": "aft-nloglik", "aft_loss_distribution": errors,
            "aft_loss_distribution_scale": scale, **_xgboost_params(seed),
        }  # fmt: skip
        booster = _stopped_early(params, past, label, seed)
        fits.append((booster.best_score, errors, scale, booster))
    _, errors, scale, booster = min(fits, key=lambda fit: fit[0])

    def predict(lines: Book) -> Answer:
        middle = booster.predict(xgb.DMatrix(lines.features.astype(float)), output_margin=True)
        day = np.log(np.maximum(np.arange(LAST_DAY + 1), 1e-9))
        curves = STILL_WANTED[errors]((day[None] - middle[:, None]) / scale)
        return answer(after_waiting(curves, lines, BRIER_DAYS), lines)

    return predict


def breslow(left_on: np.ndarray, event: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Cumulative baseline hazard on days 0..LAST_DAY: events over the summed risk of those still there.

    >>> breslow(np.array([1, 2]), np.array([True, True]), np.array([1.0, 3.0]))[:3].round(3).tolist()
    [0.0, 0.25, 0.583]
    """
    events = np.bincount(left_on, event, minlength=LAST_DAY + 1)
    leaving = np.bincount(left_on, risk, minlength=LAST_DAY + 1)
    there = np.cumsum(leaving[::-1])[::-1]
    return np.cumsum(np.divide(events, there, out=np.zeros(LAST_DAY + 1), where=there > 0))


def daily(curves: np.ndarray, times: np.ndarray, n_days: int) -> np.ndarray:
    """Step curves known at `times` as (n_lines, n_days + 1): 1 before the first time, held after the last.

    >>> daily(np.array([[0.9, 0.5]]), np.array([2.0, 3.0]), 4).tolist()
    [[1.0, 1.0, 0.9, 0.5, 0.5]]
    """
    place = np.searchsorted(times, np.arange(n_days + 1), side="right")
    return np.c_[np.ones(len(curves)), curves][:, place]


def daily_sum(sums: np.ndarray, times: np.ndarray, n_days: int) -> np.ndarray:
    """Sums known at `times` as one number for each of the days 0..n_days: 0 before the first time, held after the last.

    >>> daily_sum(np.array([0.1, 0.5]), np.array([2.0, 3.0]), 4).tolist()
    [0.0, 0.0, 0.1, 0.5, 0.5]
    """
    return np.r_[0.0, sums][np.searchsorted(times, np.arange(n_days + 1), side="right")]


def structured(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Outcomes in scikit-survival's form."""
    from sksurv.util import Surv

    return Surv.from_arrays(event, time)


def _episodes(past: Book, columns: pd.DataFrame) -> pd.DataFrame:
    """One row per line and stretch of lateness: cut at the promise and `LATE_CUTS_DAYS` after it."""
    promise = past.features["promise"].to_numpy()
    parts = []
    for first, last in zip((-np.inf, *LATE_CUTS_DAYS), (*LATE_CUTS_DAYS, np.inf), strict=True):
        start = np.maximum(promise + first, 0)
        stop = np.minimum(promise + last, past.left_on)
        here = np.flatnonzero(stop > start)
        late = np.maximum((start + stop + 1) / 2 - promise, 0) * (first >= 0)
        parts.append(
            columns.iloc[here].assign(
                **_moving(late[here], past.features["price_sens"].to_numpy()[here]),
                line=here,
                start=start[here],
                stop=stop[here],
                event=(past.cause == CANCELLED)[here] & (stop == past.left_on)[here],
            )
        )
    return pd.concat(parts, ignore_index=True)


def _moving(late: np.ndarray, price_sens: np.ndarray) -> dict[str, np.ndarray]:
    """Inputs that change with the days past the promise, alone and for the price-sensitive."""
    is_late, log_late = (late > 0) * 1.0, np.log1p(late)
    return {
        "is_late": is_late,
        "log_late": log_late,
        "is_late_price": is_late * price_sens,
        "log_late_price": log_late * price_sens,
    }


def _sksurv(model: object, past: Book, columns: Callable[[Book], pd.DataFrame]) -> Predictor:
    learned = columns(past)
    model.fit(learned, structured(past.cause == CANCELLED, past.left_on.astype(float)))

    def predict(lines: Book) -> Answer:
        inputs = columns(lines).reindex(columns=learned.columns, fill_value=0.0)
        steps = model.predict_survival_function(inputs, return_array=True)
        return answer(after_waiting(daily(steps, model.unique_times_, LAST_DAY), lines, BRIER_DAYS), lines)

    return predict


def _xgboost_params(seed: int) -> dict[str, object]:
    return {
        "eta": 0.05, "max_depth": 3, "min_child_weight": 1, "subsample": 0.8, "colsample_bytree": 0.7,
        "tree_method": "hist", "nthread": 1, "seed": seed,
    }  # fmt: skip


def _stopped_early(params: dict[str, object], past: Book, label: Callable, seed: int) -> object:
    """Boost until a held-out fifth is predicted no better, then again on all lines with that many trees."""
    import xgboost as xgb

    def data(rows: Sequence[int]) -> xgb.DMatrix:
        matrix = xgb.DMatrix(past.features.iloc[rows].astype(float))
        label(matrix, rows)
        return matrix

    order = np.random.default_rng(seed).permutation(len(past))
    held, rest = np.split(order, [len(order) // 5])
    watched = [(data(held), "held")]
    first = xgb.train(params, data(rest), 1000, evals=watched, early_stopping_rounds=25, verbose_eval=False)
    final = xgb.train(params, data(order), first.best_iteration + 1)
    final.best_score = first.best_score
    return final
