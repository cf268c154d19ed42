"""The chance that a customer cancels a waiting line on a given day if nobody ships it.

A hazard per day, learned on line-days: shipping is our own act and censors (it is no competing outcome to be learned
from past planners), and stock is not an input, so the answer does not depend on who was served in the past. A line
that was cancelled in part left in part, so the hazard is that of a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from models import ridge
from models.boosting import TrainingRows, boost, load_files, predict_rows, save_files
from models.cancellation_choice import FEWEST_CANCELLATIONS, Choice, banded_hazard, choose
from models.inputs import Inputs, as_numbers, learn_inputs
from models.joint_cancellation import JointCancellation, joint_cancellation
from models.line_days import (
    ADVANCING,
    YEAR_DAYS,
    LineDays,
    days_into_bin,
    event_shares,
    line_days,
    matrix_on,
    wait_band,
)
from models.shipping import LEAST_STILL_OPEN, classes_of, shipping_rates, still_open

# Not here: stock (see above); credit_hold and contact_allowed (they change, so past values are unknown without
# versions); months (a young history would take them for the trend).
NUMERIC = (
    "waited_days", "days_late", "days_past_latest", "n_slips", "quantity", "open_quantity", "is_partly_shipped",
    "quantity_step", "may_split", "unit_price", "list_price", "price_ratio", "line_value", "line_margin", "order_value",
    "order_n_lines", "is_discontinued", "customer_tenure_days", "customer_n_orders", "customer_days_since_order",
    "customer_mean_gap_days", "customer_spend_365d", "customer_mean_wait_days", "customer_late_share",
    "customer_cancel_share", "customer_n_cancelled", "customer_n_open_lines", "product_cancel_share",
    "product_mean_wait_days", "product_n_lines_91d", "product_n_waiting_lines", "supplier_mean_delay_days",
    "supplier_late_share",
)  # fmt: skip
TEXT = ("segment", "channel", "country", "category", "priority_class")

USUAL_STRENGTH = 0.3  # of the ridge where the history is too short to choose by time
ROUNDS_ON_ALL = 1.2  # the refit sees about half as many days again as the rows the number was chosen on
SEASON_DAYS = 700  # looks must span two years before the day of the year can be told from a trend
LINES_AT_ONCE = 10_000  # bounds memory: 10,000 lines x 90 bins x 40 inputs x 4 bytes = 144 MB
MOST_LOG_ODDS = 6.0  # nobody is surer than .9975 a day
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.15,
    "num_leaves": 8,  # more leaves memorise which quiet days were drawn
    "min_data_in_leaf": 50,
    "min_sum_hessian_in_leaf": 5.0,  # about five expected cancellations in each leaf
    "feature_fraction": 0.7,
    "lambda_l2": 2.0,
    "max_bin": 127,
    "cat_smooth": 20.0,
}


@dataclass(frozen=True, eq=False)
class CancellationModel:
    """Hazards of cancelling.

    Parameters
    ----------
    kind : boosted (trees), ridge (a penalised line), mixed (both), pooled (by wait alone) or assumed
    why : plain words for the kind
    pooled : hazard per day in each band of `WAIT_BANDS_DAYS`; also serves anonymous customers and lines nobody like
        which ever waited
    rates : ends by our own acts per day, by class and band (`models.shipping`)
    joint : how often lines of one order go together
    inputs, line, booster, boosted_share : the forms and the trees' share of the log-odds
    slope, corrections : what the log-odds are multiplied by, and what is then added by wait band: from later days
    most : greatest wait and lateness seen at risk; longer ones are held there
    facts : counts of the training rows
    """

    kind: str
    why: str
    pooled: tuple[float, ...]
    rates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    joint: JointCancellation = JointCancellation(0, 0)
    inputs: Inputs | None = None
    line: ridge.Ridge | None = None
    booster: lgb.Booster | None = None
    boosted_share: float = 0.0
    slope: float = 1.0
    corrections: tuple[float, ...] = ()
    most: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns `survival` needs."""
        return tuple(n for n in self.inputs.columns if n != "day_of_year") if self.inputs else ("waited_days",)

    @property
    def joint_share(self) -> float:
        """Chance that another waiting line of an order is cancelled on the day that one is."""
        return self.joint.share

    def few_waited(self, lines: pd.DataFrame) -> np.ndarray:
        """Lines whose like were nearly always shipped within two weeks, so that their patience was never seen."""
        if not self.rates:
            return np.zeros(len(lines), dtype=bool)
        return np.asarray(
            still_open(self.rates, classes_of(lines), as_numbers(lines["waited_days"])) < LEAST_STILL_OPEN
        )

    def save(self, folder: Path) -> None:
        """Write model.json and booster.txt."""
        plain = ("kind", "why", "pooled", "rates", "boosted_share", "slope", "corrections", "most", "facts")
        saved = {name: getattr(self, name) for name in plain} | {"joint": vars(self.joint)}
        saved |= {
            name: part.to_json() if part else None for name, part in (("inputs", self.inputs), ("line", self.line))
        }
        save_files(folder, saved, booster=self.booster)

    @classmethod
    def load(cls, folder: Path) -> CancellationModel:
        """Undo `save`."""
        saved, boosters = load_files(folder)
        for name, kind in (("inputs", Inputs), ("line", ridge.Ridge)):
            saved[name] = kind.from_json(saved[name]) if saved[name] else None
        for name in ("pooled", "corrections"):
            saved[name] = tuple(saved[name])
        saved["rates"] = {name: tuple(rates) for name, rates in saved["rates"].items()}
        return cls(**saved | {"joint": JointCancellation(**saved["joint"]), **boosters})


@threadpool_limits.wrap(limits=1)  # sums of more threads differ in their last digits, and the matrices are small
def fit(
    samples: pd.DataFrame, seed: int = 0, numeric: Sequence[str] = NUMERIC, text: Sequence[str] = TEXT
) -> CancellationModel:
    """Learn from waiting lines at past looks and what became of them; row order does not matter.

    Parameters
    ----------
    samples : stretches (`features.samples.cancellation_samples`) with `numeric` and `text`
    """
    ordered = in_order(samples)
    days = line_days(ordered, seed)
    n_cancelled = int((event_shares(ordered) > 0).sum())
    facts = {"n_stretches": len(ordered), "n_cancelled": n_cancelled, "n_line_days": float(days.weight.sum())}
    band = wait_band(as_numbers(ordered["waited_days"])[days.sample] + days.day - 1)
    pooled = tuple(banded_hazard(band, days.event, days.weight).tolist())
    known = {"rates": shipping_rates(ordered), "joint": joint_cancellation(ordered), "facts": facts}
    if n_cancelled == 0:
        why = f"no customer cancellation in {facts['n_line_days']:.0f} line-days: the hazard is assumed"
        return CancellationModel("assumed", why, pooled, **known)
    if n_cancelled < FEWEST_CANCELLATIONS:
        why = f"{n_cancelled} customer cancellations are fewer than {FEWEST_CANCELLATIONS}: one hazard per wait band"
        return CancellationModel("pooled", why, pooled, **known)
    rows, most = _training_rows(ordered, days, numeric, text)
    params = {**PARAMS, "seed": seed}
    data = rows.dataset(params)
    choice = choose(ordered, days, rows, data, params)
    model = CancellationModel("pooled", "", pooled, **known, inputs=rows.inputs, most=most)
    return _fitted(rows, data, params, choice, model)


def in_order(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples in the one order that every draw and sum refers to."""
    return samples.sort_values(["cutoff_on", "order_line_id"], kind="stable").reset_index(drop=True)


def _training_rows(
    samples: pd.DataFrame, days: LineDays, numeric: Sequence[str], text: Sequence[str]
) -> tuple[TrainingRows, dict[str, float]]:
    """Inputs of every row at risk, and the greatest wait and lateness among them."""
    looks = samples["cutoff_on"]
    named = tuple(numeric)
    if len(looks) and (looks.max() - looks.min()).days >= SEASON_DAYS:
        named += ("day_of_year",)
    samples = with_season(samples)
    most = {name: _greatest(samples, days, name) for name in ADVANCING if name in named}
    inputs = learn_inputs(samples, named, text)
    # A date that nobody told stays unknown: the median line's would pass one day.
    inputs = replace(inputs, usual=inputs.usual | dict.fromkeys(most))
    values = matrix_on(inputs, inputs.matrix(samples), days.sample, days.day, most)
    return TrainingRows(inputs, values, days.event, days.weight), most


def with_season(lines: pd.DataFrame) -> pd.DataFrame:
    """Add `day_of_year` (0 to 365) of the day that the line is looked at, in years of `YEAR_DAYS`."""
    if "cutoff_on" not in lines:
        return lines.assign(day_of_year=np.nan)
    return lines.assign(day_of_year=(lines["cutoff_on"] - pd.Timestamp(0)).dt.days % YEAR_DAYS)


def _fitted(
    rows: TrainingRows, data: lgb.Dataset, params: dict[str, Any], choice: Choice | None, model: CancellationModel
) -> CancellationModel:
    """Refit the chosen form on all rows."""
    if choice is None:  # too short a history to judge by time
        choice = Choice(boosted_share=0.0, n_rounds=0, strength=USUAL_STRENGTH)
    losses = choice.log_losses
    facts = model.facts | {f"log_loss_later_{name}": loss for name, loss in losses.items()}
    if rows.target.all() or (losses and losses["by_wait"] <= losses["chosen"]):
        why = f"{model.facts['n_cancelled']:.0f} customer cancellations tell lines apart by their wait alone"
        return replace(model, why=why, facts=facts, inputs=None, most={})
    n_rounds = round(ROUNDS_ON_ALL * choice.n_rounds)
    share = choice.boosted_share
    booster = boost(data, params, n_rounds) if share > 0 else None
    line = _lined(rows, choice.strength) if share < 1 else None
    kind = "boosted" if line is None else "ridge" if booster is None else "mixed"
    facts |= {"n_rounds": n_rounds} if booster else {}
    words = _WORDS[kind].format(n=n_rounds, percent=100 * share)
    why = f"{facts['n_cancelled']:.0f} customer cancellations: {words}"
    fitted = replace(model, kind=kind, why=why, facts=facts, line=line, booster=booster, boosted_share=share)
    if choice.later is None:
        return fitted
    corrections = choice.later.corrections(rows, lambda values: _log_odds(fitted, values))
    return replace(fitted, slope=choice.later.slope, corrections=corrections)


def _lined(rows: TrainingRows, strength: float) -> ridge.Ridge:
    form = ridge.learn_form(rows.inputs, rows.values)
    return ridge.fit(rows.inputs, rows.values, rows.target, rows.weight, strength, form)


_WORDS = {
    "boosted": "{n} boosted trees",
    "ridge": "a ridge logit predicted later days best",
    "mixed": "a mixture of {n} boosted trees ({percent:.0f} %) and a ridge logit predicted later days best",
}


def survival(model: CancellationModel, lines: pd.DataFrame, n_days: int) -> np.ndarray:
    """Chance that each line is still wanted after 0, 1, ..., n_days more days if nobody ships it.

    The hazard is held within the bins of waiting time and lateness that it was learned in, so for a line that has
    waited w the curve is exactly S(w + u) / S(w).

    Returns
    -------
    (n_lines, n_days + 1): the first column is 1 and no row ever rises.

    >>> model = CancellationModel("pooled", "", (0.1, 0.1, 0.2, 0.2, 0.2))
    >>> survival(model, pd.DataFrame({"waited_days": [13]}), 2).round(2).tolist()
    [[1.0, 0.9, 0.72]]
    """
    curves = np.ones((len(lines), n_days + 1))
    for first in range(0, len(lines), LINES_AT_ONCE):
        part = lines.iloc[first : first + LINES_AT_ONCE]
        sample, day = np.repeat(np.arange(len(part)), n_days), np.tile(np.arange(1, n_days + 1), len(part))
        start = day - days_into_bin({
            name: as_numbers(part[name])[sample] + day - 1 for name in ADVANCING if name in part
        })  # fmt: skip
        is_new = np.append(True, (start[1:] != start[:-1]) | (sample[1:] != sample[:-1]))[: len(start)]
        hazard = hazards(model, part, sample[is_new], start[is_new])[np.cumsum(is_new) - 1]
        curves[first : first + len(part), 1:] = np.cumprod(1 - hazard.reshape(len(part), n_days), axis=1)
    return curves


def hazards(model: CancellationModel, lines: pd.DataFrame, sample: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Chance of cancelling per day in the bin that begins with day `day` (1 = the next 24 h), given still waiting.

    Parameters
    ----------
    sample, day : places of the lines, and days, of one length
    """
    waited = as_numbers(lines["waited_days"])[sample] + day - 1
    band = wait_band(waited)
    pooled = np.array(model.pooled)[band]
    if model.inputs is None:
        return pooled
    chance = _chance(model, lines, sample, day, band)
    # Patience is learned at the customer, and from lines that waited: where nobody is named, or nobody waited, only
    # the pooled hazard is honest.
    # Asked for the wait of each day: a line that gets where others did wait has the hazard of those then.
    unknown = still_open(model.rates, classes_of(lines)[sample], waited) < LEAST_STILL_OPEN
    if "customer_id" in lines.columns:
        unknown = unknown | lines["customer_id"].isna().to_numpy()[sample]
    return np.where(unknown, pooled, chance)


def _chance(
    model: CancellationModel, lines: pd.DataFrame, sample: np.ndarray, day: np.ndarray, band: np.ndarray
) -> np.ndarray:
    inputs = model.inputs
    assert inputs is not None
    values = matrix_on(inputs, inputs.matrix(with_season(lines)), sample, day, model.most)
    odds = model.slope * _log_odds(model, values)
    if model.corrections:
        odds += np.array(model.corrections)[band]
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, MOST_LOG_ODDS))))


def _log_odds(model: CancellationModel, values: np.ndarray) -> np.ndarray:
    """Log-odds of the mixture, before slope and corrections."""
    assert model.inputs is not None
    odds = np.zeros(len(values))
    if model.booster is not None:
        odds += model.boosted_share * predict_rows(model.booster, model.inputs, values, raw_score=True)
    if model.line is not None:
        odds += (1 - model.boosted_share) * model.line.log_odds(model.inputs, values)
    return odds


def p_cancel(curves: np.ndarray, within_days: int = 14) -> np.ndarray:
    """Chance of cancelling within so many days if nobody ships, from the curves of `survival`.

    >>> p_cancel(np.array([[1.0, 0.9, 0.8]]), within_days=2).round(2).tolist()
    [0.2]
    """
    return np.asarray(1 - curves[:, min(within_days, curves.shape[1] - 1)])


def params_of(model: CancellationModel) -> dict[str, Any]:
    """List what was set and counted, for a report."""
    return {"kind": model.kind, **model.facts, **({} if model.booster is None else PARAMS)}


def _greatest(samples: pd.DataFrame, days: LineDays, name: str) -> float:
    seen = as_numbers(samples[name])[days.sample] + days.day - 1
    return float(np.nanmax(seen)) if np.isfinite(seen).any() else 0.0
