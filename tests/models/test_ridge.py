from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from models import ridge
from models.inputs import Inputs, learn_inputs
from models.ridge import Ridge

NUMERIC, TEXT = ("waited_days", "days_late", "days_past_latest", "line_value", "n_slips", "day_of_year"), ("segment",)


def _book(n_rows: int, seed: int = 0) -> tuple:
    """Rows whose log-odds are a line in the logarithm of their value, their segment and whether they are late."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "waited_days": draw.integers(0, 60, n_rows).astype(float),
        "days_late": draw.integers(-30, 30, n_rows).astype(float),
        "days_past_latest": np.where(draw.random(n_rows) < 0.4, np.nan, draw.integers(-30, 30, n_rows)),
        "line_value": draw.lognormal(5, 1.5, n_rows),
        "n_slips": np.where(draw.random(n_rows) < 0.2, np.nan, draw.poisson(1, n_rows)),
        "day_of_year": draw.integers(0, 365, n_rows).astype(float),
        "segment": draw.choice(["a", "b", "c"], n_rows),
    })  # fmt: skip
    odds = -3 + 0.4 * (np.log(frame["line_value"]) - 5) + (frame["days_late"] >= 0) - 0.7 * (frame["segment"] == "b")
    event = (draw.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(float)
    inputs = learn_inputs(frame, NUMERIC, TEXT)
    return frame, inputs, inputs.matrix(frame), event, np.where(event > 0, 1.0, draw.integers(1, 4, n_rows)), odds


def _fit(inputs: Inputs, values: np.ndarray, event: np.ndarray, weight: np.ndarray, strength: float) -> Ridge:
    return ridge.fit(inputs, values, event, weight, strength, ridge.learn_form(inputs, values))


@pytest.mark.parametrize("strength", [0.03, 3.0])
def test_the_weights_are_the_optimum_that_a_general_minimiser_finds(strength):
    _, inputs, values, event, weight, _ = _book(1500)
    line = _fit(inputs, values, event, weight, strength)
    columns = line.form.design(inputs, values)

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        odds = columns @ at[1:] + at[0]
        chance = 1 / (1 + np.exp(-odds))
        value = (weight * (np.logaddexp(0, odds) - event * odds)).sum() + (at[1:] ** 2).sum() / (2 * strength)
        off = weight * (chance - event)
        return value, np.concatenate([[off.sum()], columns.T @ off + at[1:] / strength])

    best = minimize(
        loss, np.zeros(columns.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 5000}
    )
    np.testing.assert_allclose([line.level, *line.weights], best.x, atol=0.02)  # a tenth of a standard error
    assert loss(np.array([line.level, *line.weights]))[0] <= best.fun + 0.01


def test_it_finds_the_planted_line():
    _, inputs, values, event, _, odds = _book(20_000)
    line = _fit(inputs, values, event, np.ones(len(event)), 3.0)
    found = line.log_odds(inputs, values)
    assert np.corrcoef(found, odds)[0, 1] > 0.98
    assert np.polyfit(found, odds, 1)[0] == pytest.approx(1, abs=0.1)


def test_written_as_json_and_read_again_it_answers_the_same():
    _, inputs, values, event, weight, _ = _book(800)
    line = _fit(inputs, values, event, weight, 0.3)
    again = Ridge.from_json(json.loads(json.dumps(line.to_json())))
    np.testing.assert_array_equal(again.log_odds(inputs, values), line.log_odds(inputs, values))
    assert again.to_json() == line.to_json()


def test_the_place_of_a_row_among_others_does_not_change_its_answer():
    _, inputs, values, event, weight, _ = _book(801)
    line = _fit(inputs, values, event, weight, 0.3)
    together = line.log_odds(inputs, values)
    np.testing.assert_array_equal(line.log_odds(inputs, values[::-1])[::-1], together)
    np.testing.assert_array_equal([line.log_odds(inputs, values[i : i + 1])[0] for i in range(50)], together[:50])


def test_values_never_seen_stay_within_the_usual_range_and_missing_ones_are_the_mean():
    frame, inputs, values, event, weight, _ = _book(3000)
    line = _fit(inputs, values, event, weight, 0.3)
    row = frame.head(1).assign(n_slips=1.0)

    def odds(**changes) -> float:
        return float(line.log_odds(inputs, inputs.matrix(row.assign(**changes)))[0])

    assert odds(line_value=1e12) == odds(line_value=1e9)
    assert odds(line_value=-5.0) == odds(line_value=0.0)
    assert odds(segment="never seen") == odds(segment=None)
    assert odds(line_value=None) == odds(line_value=float(np.median(frame["line_value"])))
    changes = {
        "line_value": np.inf,
        "days_late": np.nan,
        "days_past_latest": 1e6,
        "n_slips": np.nan,
        "waited_days": 1e6,
    }
    assert all(np.isfinite(odds(**{name: value})) for name, value in changes.items())


def test_a_segment_of_few_rows_stays_near_the_whole_and_one_of_many_goes_its_own_way():
    draw = np.random.default_rng(1)
    segment = np.array(["all"] * 6000 + ["few"] * 20 + ["many"] * 3000)
    event = (draw.random(len(segment)) < np.where(segment == "all", 0.05, 0.3)).astype(float)
    event[6000:6020] = [1] * 6 + [0] * 14  # exactly .3 of the few
    frame = pd.DataFrame({"waited_days": 1.0, "segment": segment})
    inputs = learn_inputs(frame, ["waited_days"], ["segment"])
    line = _fit(inputs, inputs.matrix(frame), event, np.ones(len(event)), 0.3)
    each = pd.DataFrame({"waited_days": 1.0, "segment": ["all", "few", "many"]})
    whole, few, many = 1 / (1 + np.exp(-line.log_odds(inputs, inputs.matrix(each))))
    assert whole == pytest.approx(0.05, abs=0.01)
    assert many == pytest.approx(0.3, abs=0.02)
    assert whole + 0.05 < few < 0.27


def test_thinned_rows_keep_the_level_and_every_kind_of_row(monkeypatch):
    # Quiet rows come three to a stretch, events after all of them: every third row would be the same day of each.
    draw = np.random.default_rng(2)
    waited, chance = np.tile([1.0, 8.0, 31.0], 4000), np.tile([0.02, 0.05, 0.12], 4000)
    cancels = draw.random(12_000) < chance
    frame = pd.DataFrame({"waited_days": np.concatenate([waited, waited[cancels]])})
    event = np.concatenate([np.zeros(12_000), np.ones(cancels.sum())])
    monkeypatch.setattr(ridge, "MOST_ROWS", 4000)
    inputs = learn_inputs(frame, ["waited_days"], [])
    line = _fit(inputs, inputs.matrix(frame), event, np.ones(len(event)), 30.0)
    odds = np.exp(line.log_odds(inputs, inputs.matrix(frame.head(3))))
    assert odds == pytest.approx(cancels.reshape(-1, 3).mean(axis=0), rel=0.12)


def test_columns_that_never_vary_or_are_never_known_weigh_nothing():
    _, inputs, values, event, weight, _ = _book(500)
    values = values.copy()
    values[:, inputs.columns.index("line_value")] = 7.0
    values[:, inputs.columns.index("n_slips")] = np.nan
    line = _fit(inputs, values, event, weight, 0.3)
    assert np.isfinite(line.weights).all()
    other = values.copy()
    other[:, inputs.columns.index("line_value")] = 9.0
    np.testing.assert_array_equal(line.log_odds(inputs, other), line.log_odds(inputs, values))
