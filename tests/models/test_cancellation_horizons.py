from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.cancellation import CancellationModel, survival
from models.cancellation_horizons import HORIZONS_DAYS, followed, horizon_scores, known_weights, outcomes
from models.line_days import as_seen_on, open_on
from models.shipping import fit_censoring

DAY = pd.Timestamp("2026-03-01")
NUMERIC, TEXT = ("waited_days", "urgent"), ()
POOLED = CancellationModel("pooled", "", (0.01,) * 5)


def _lines(n_lines: int, seed: int, watch, watched_days: int = 40) -> tuple[pd.DataFrame, np.ndarray]:
    """Lines of one morning, urgent ones cancel eight times as often and are shipped first; when each would cancel."""
    draw = np.random.default_rng(seed)
    urgent = (draw.random(n_lines) < 0.5).astype(float)
    frame = pd.DataFrame({"waited_days": 0.0, "urgent": urgent, "cutoff_on": DAY})
    frame["order_line_id"] = [f"L{i:06d}" for i in range(n_lines)]
    cancel, ship = (np.where(urgent, *both)[:, None] for both in ((0.08, 0.01), (0.06, 0.02)))
    unshipped = watch(frame, np.broadcast_to(cancel, (n_lines, watched_days)), 0.0, seed)
    shipped_after = np.ceil(np.log(draw.random((n_lines, 1))) / np.log(1 - ship)).ravel() - draw.random(n_lines)
    is_shipped = shipped_after < unshipped["at_risk_days"]
    samples = unshipped.assign(
        at_risk_days=np.where(is_shipped, shipped_after, unshipped["at_risk_days"]),
        ended_by=unshipped["ended_by"].mask(is_shipped, "shipment"),
        cancelled_share=unshipped["cancelled_share"].mask(is_shipped, 0.0),
    )
    would_cancel = np.where(unshipped["ended_by"] == "customer", unshipped["at_risk_days"], np.inf)
    return samples, would_cancel


def _scores(samples: pd.DataFrame, model: CancellationModel, past: pd.DataFrame) -> dict[str, float]:
    """Scores at the one look of `DAY`, with censoring learned from `past`."""
    censoring = fit_censoring(past, 0, NUMERIC, TEXT)
    return horizon_scores([followed(samples, model, censoring, DAY, DAY + pd.Timedelta(days=1))], 0)


def test_a_line_stands_for_those_like_it_that_were_shipped_worked_by_hand():
    left_after = np.array([2.0, 3.0, 9.0, 5.0, 5.0, 7.0])
    is_cancelled = np.array([True, False, False, True, False, True])
    watched = np.array([0.5, 0.5, 0.25, 0.8, 0.8, 0.001])
    # Shipped on day 3: not known. Gone or still there on day 5 itself: known. Cancelled later: still there then.
    assert known_weights(left_after, is_cancelled, watched, 5).tolist() == [2, 0, 4, 1.25, 1.25, 50]


def test_the_outcome_of_a_line_is_when_it_left_and_what_share_its_customer_had_cancelled_worked_by_hand():
    samples = pd.DataFrame(
        [("a", -2, 2.0, None, 0.0), ("a", 0, 3.0, None, 0.0), ("a", 3, 1.5, "customer", 1.0),
         ("b", -1, 2.5, "customer", 0.4), ("b", 2, 6.5, "customer", 0.5), ("b", 9, 8.5, "shipment", 0.0),
         ("e", -5, 4.5, "customer", 0.9), ("e", 0, 20.0, "customer", 0.25), ("e", 20, 20.5, "customer", 1.0),
         ("c", 0, 30.0, None, 0.0), ("d", -9, 4.0, None, 0.0)],
        columns=["order_line_id", "day", "at_risk_days", "ended_by", "cancelled_share"],
    )  # fmt: skip
    samples["cutoff_on"] = DAY + pd.to_timedelta(samples["day"], unit="D")
    lines = pd.DataFrame({"order_line_id": ["c", "a", "b", "e"]})
    left_after, gone = outcomes(samples, lines, DAY)
    assert left_after.tolist() == [30.0, 4.5, 17.5, 40.5]
    assert gone[0].tolist() == [0, 0, 0]
    assert gone[1].tolist() == [1, 1, 1]
    # b: .4 of it on the second day, half of the rest on the ninth, then shipped; e: what went before is not asked for.
    assert gone[2].tolist() == pytest.approx([0.4, 0.7, 0.7])
    assert gone[3].tolist() == pytest.approx([0, 0, 0.25])


def test_the_weighted_brier_score_is_that_of_a_world_without_shipping_and_closed_lines_would_mislead(watch):
    samples, would_cancel = _lines(20_000, 0, watch)
    past, _ = _lines(20_000, 1, watch)
    scores = _scores(samples, POOLED, past)
    for horizon in HORIZONS_DAYS:
        truth = np.mean((1 - 0.99**horizon - (would_cancel <= horizon)) ** 2)
        is_closed = samples["ended_by"].notna() & (samples["at_risk_days"] <= horizon)
        share_gone = (samples.loc[is_closed, "ended_by"] == "customer").mean()
        assert scores[f"brier_{horizon}d"] == pytest.approx(truth, rel=0.05)
        assert abs(share_gone / np.mean(would_cancel <= horizon) - 1) > 0.15
        assert scores[f"brier_{horizon}d"] == scores[f"brier_{horizon}d_wait_only"]


def test_the_weighted_area_is_that_of_a_world_without_shipping(watch, fit_as):
    samples, would_cancel = _lines(8000, 2, watch)
    past, _ = _lines(8000, 3, watch)
    model = fit_as("ridge", past, (NUMERIC, TEXT))
    scores = _scores(samples, model, past)
    urgent, gone = samples["urgent"].to_numpy() > 0, would_cancel <= 14
    # Two kinds of lines: a pair of a line that goes and one that stays is in order, tied or the wrong way round.
    share = [[urgent[gone].mean(), 1 - urgent[gone].mean()], [urgent[~gone].mean(), 1 - urgent[~gone].mean()]]
    truth = share[0][0] * share[1][1] + (share[0][0] * share[1][0] + share[0][1] * share[1][1]) / 2
    assert scores["auc_14d"] == pytest.approx(truth, abs=0.02)
    chances = 1 - survival(model, samples, 14)[:, 14]
    assert scores["brier_14d"] == pytest.approx(np.mean((chances - gone) ** 2), rel=0.05)


def test_lines_that_stand_for_many_are_worth_fewer_and_without_shipping_each_is_worth_one(watch):
    samples, _ = _lines(3000, 4, watch)
    scores = _scores(samples, POOLED, samples)
    n_known = {d: (samples["ended_by"].eq("customer") | (samples["at_risk_days"] >= d)).sum() for d in HORIZONS_DAYS}
    assert 3000 > scores["effective_lines_7d"] > scores["effective_lines_14d"] > scores["effective_lines_30d"] > 100
    assert all(scores[f"effective_lines_{d}d"] < n_known[d] for d in HORIZONS_DAYS)
    kept = samples.assign(ended_by=None, at_risk_days=40.0)
    assert _scores(kept, POOLED, kept)["effective_lines_30d"] == pytest.approx(3000)


def test_a_horizon_that_nobody_was_watched_for_has_no_score(watch):
    samples, _ = _lines(2000, 5, watch, watched_days=20)
    scores = _scores(samples, POOLED, samples)
    assert {name.split("_")[1] for name in scores} >= {"7d", "14d"}
    assert not any("30d" in name for name in scores)


def test_a_line_whose_stretch_began_before_the_snapshot_is_one_of_its_lines(watch):
    samples, _ = _lines(2000, 6, watch)
    is_earlier = samples.index % 2 == 0
    moved = samples.assign(
        cutoff_on=samples["cutoff_on"].mask(is_earlier, DAY - pd.Timedelta(days=2)),
        at_risk_days=samples["at_risk_days"] + 2 * is_earlier,
    )
    here, there = (_scores(s, POOLED, samples) for s in (samples, moved))
    assert there["effective_lines_14d"] == pytest.approx(here["effective_lines_14d"], rel=0.05)
    assert there["brier_14d"] == pytest.approx(here["brier_14d"], rel=0.02)


@pytest.mark.parametrize("said", [0.0, 0.5, 2.0])
def test_where_every_cancellation_takes_half_the_brier_score_is_least_for_the_share_that_goes(watch, said):
    lines = pd.DataFrame({"waited_days": 0.0, "cutoff_on": DAY, "order_line_id": np.arange(4000).astype(str)})
    halved = watch(lines, np.full((4000, 30), 0.1), 0.0, 7)
    halved["cancelled_share"] /= 2
    # Of those that cancelled within a week the other half waits on to the end.
    rest = halved[halved["ended_by"] == "customer"].assign(ended_by=None, cancelled_share=0.0)
    rest["cutoff_on"] += pd.to_timedelta(np.ceil(rest["at_risk_days"]), unit="D")
    rest["at_risk_days"] = 40.0
    samples = pd.concat([halved, rest], ignore_index=True)
    gone = (1 - 0.9**7) / 2  # of a unit, within 7 days
    true, other = (_scores(samples, _constant(share), samples) for share in (gone, said * gone))
    assert true["brier_7d"] < other["brier_7d"]
    # Units go or stay: of a share g that goes, p costs g (1 - p)^2 + (1 - g) p^2.
    for scores, p in ((true, gone), (other, said * gone)):
        assert scores["brier_7d"] == pytest.approx(gone * (1 - p) ** 2 + (1 - gone) * p**2, rel=0.06)
    assert true["auc_7d"] == 0.5


def _constant(gone_in_a_week: float) -> CancellationModel:
    return CancellationModel("pooled", "", (1 - (1 - gone_in_a_week) ** (1 / 7),) * 5)


def test_lines_are_followed_from_looks_two_weeks_apart_and_a_look_watched_for_less_than_a_horizon_says_nothing(watch):
    # New lines every week for nine; watching ends for all on day 70. Of the last look's lines those who cancel at once
    # are known and those who stay are not: with them the share gone within 30 days would be a quarter too high.
    draw, n_lines = np.random.default_rng(8), 12_000
    frame = pd.DataFrame({"waited_days": 0.0, "order_line_id": np.arange(n_lines).astype(str)})
    frame["cutoff_on"] = DAY + pd.to_timedelta(draw.integers(0, 9, n_lines) * 7, unit="D")
    samples = as_seen_on(watch(frame, np.full((n_lines, 90), 0.02), 0.05, 8), DAY + pd.Timedelta(days=70))
    censoring = fit_censoring(samples, 0, ("waited_days",), ())
    model = CancellationModel("pooled", "", (0.02,) * 5)
    table = followed(samples, model, censoring, DAY, DAY + pd.Timedelta(days=70))
    first, second = (followed(samples, model, censoring, DAY, DAY + pd.Timedelta(days=d)) for d in (14, 15))
    assert len(first) == (samples["cutoff_on"] == DAY).sum()
    assert len(second) == len(first) + len(open_on(samples, DAY + pd.Timedelta(days=14)))
    scores = horizon_scores([table], 0)
    for horizon in HORIZONS_DAYS:
        chance, weight = 1 - 0.98**horizon, table[f"weight_{horizon}d"]
        assert np.average(table[f"gone_{horizon}d"], weights=weight) == pytest.approx(chance, rel=0.08)
        assert scores[f"brier_{horizon}d"] == pytest.approx(chance * (1 - chance), rel=0.06)


def test_the_share_saved_is_one_less_the_ratio_of_the_scores_and_its_interval_holds_it(watch, fit_as):
    samples, _ = _lines(4000, 9, watch)
    past, _ = _lines(4000, 10, watch)
    scores = _scores(samples, fit_as("ridge", past, (NUMERIC, TEXT)), past)
    for horizon in HORIZONS_DAYS:
        name = f"brier_{horizon}d"
        assert scores[f"{name}_saved_share"] == pytest.approx(1 - scores[name] / scores[f"{name}_wait_only"])
        # Who is urgent is worth knowing, surely so with 4,000 lines.
        assert (
            0 < scores[f"{name}_saved_share_low"] < scores[f"{name}_saved_share"] < scores[f"{name}_saved_share_high"]
        )
    by_itself = _scores(samples, POOLED, past)
    assert [by_itself[f"brier_14d_saved_share{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]


def test_no_looks_have_no_scores():
    assert horizon_scores([], 0) == {}
