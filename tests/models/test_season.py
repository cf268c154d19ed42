from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import hyp2f1

from models import pareto
from models.beta_geometric import BetaGeometric
from models.pareto import ParetoNBD
from models.season import MONTH_DAYS, NO_SEASON, Season, learn, repeats_by_day, stretches

PARETO = ParetoNBD(r=0.6, alpha=60.0, s=0.7, beta=150.0)
BETA_GEOMETRIC = BetaGeometric(r=0.6, alpha=60.0, a=1.8, b=2.5)
FLAT = np.ones(12)
TODAY = pd.Timestamp("2026-06-01").as_unit("s")
WAVE = 1 + 0.5 * np.cos(2 * np.pi * (np.arange(12) - 10.5) / 12)
WAVE *= MONTH_DAYS.sum() / (WAVE @ MONTH_DAYS)
BUSY_WINTER = Season(tuple(WAVE.tolist()))


def month_of(days):
    return pd.DatetimeIndex(days).month.to_numpy() - 1


def tracked(n_days, pace=FLAT, growth_per_year=0.0, orders_per_day=20.0, seed=0):
    """Stretches of four weeks in which as many orders came as the paces of their days say, up to chance."""
    ends = pd.date_range(end=TODAY, periods=n_days // 28 + 1, freq="28D", unit="s")
    parts = [pd.date_range(start, end, unit="s")[1:] for start, end in zip(ends[:-1], ends[1:], strict=True)]
    mean = np.array([pace[month_of(days)].mean() for days in parts])
    level = np.exp(growth_per_year * np.arange(len(parts)) * 28 / 365)
    n_orders = np.random.default_rng(seed).poisson(28 * orders_per_day * mean * level)
    expected = 28.0 * orders_per_day
    return pd.DataFrame({"from_on": ends[:-1], "to_on": ends[1:], "n_orders": n_orders, "n_expected": expected})


def lived(n_accounts, n_days, pace, seed, later_days=91):
    """Days on which accounts ordered, one row each: they begin at any time, and leave at random or not at all.

    Returns
    -------
    (n_accounts, n_days + later_days + 1); the column `n_days` is `TODAY`
    """
    draw = np.random.default_rng(seed)
    day = np.arange(n_days + later_days + 1)
    age = day - draw.integers(0, n_days + 1, n_accounts)[:, None]
    rate = draw.gamma(1.0, 8 / 365, n_accounts)[:, None]
    stays = (age > 0) & (age <= draw.exponential(700.0, n_accounts)[:, None])
    dates = TODAY + pd.to_timedelta(day - n_days, unit="D")
    return (age == 0) | (stays & (draw.random(age.shape) < -np.expm1(-rate * pace[month_of(dates)])))


def known(orders, n_days, cutoffs):
    """Samples of those accounts, as `features.samples` would have them."""
    parts = []
    for cutoff in cutoffs:
        past = orders[:, : cutoff + 1]
        past = past[past.any(axis=1)]
        columns = {
            "account_id": np.flatnonzero(orders[:, : cutoff + 1].any(axis=1)).astype(str),
            "cutoff_on": TODAY - pd.Timedelta(days=n_days - cutoff),
            "tenure_days": cutoff - past.argmax(axis=1),
            "recency_days": past[:, ::-1].argmax(axis=1),
            "n_orders": past.sum(axis=1),
            "n_orders_28d": past[:, max(cutoff - 27, 0) :].sum(axis=1),
            "n_orders_91d": past[:, max(cutoff - 90, 0) :].sum(axis=1),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def newest(samples):
    return samples[samples["cutoff_on"] == samples["cutoff_on"].max()].reset_index(drop=True)


def largest_miss(season, pace):
    return np.abs(np.log(np.array(season.pace) / pace)).max()


def deviance(orders, expected):
    logs = np.where(orders > 0, orders * np.log(np.maximum(orders, 1) / expected), 0.0)
    return 2 * (logs - orders + expected).mean()


def test_seasonal_days_are_the_paces_of_the_days_between():
    starts = pd.to_datetime(["2024-02-20", "2025-12-31", "2023-07-04"])
    n_days = np.array([400, 1, 0])
    paces = [
        sum(BUSY_WINTER.pace[(start + pd.Timedelta(days=k)).month - 1] for k in range(1, n + 1))
        for start, n in zip(starts, n_days, strict=True)
    ]
    assert BUSY_WINTER.days(starts.to_numpy(), n_days) == pytest.approx(paces)


def test_days_before_and_after_a_day_add_up():
    start, middle = np.datetime64("2024-01-17"), np.datetime64("2024-05-01")
    whole = BUSY_WINTER.days(start, np.array([300.0]))
    assert BUSY_WINTER.days(start, np.array([105.0])) + BUSY_WINTER.days(middle, np.array([195.0])) == pytest.approx(
        whole
    )


def test_a_year_is_as_long_as_the_calendar_says():
    assert BUSY_WINTER.days(TODAY.to_numpy(), np.array([4 * 365.25])) == pytest.approx(4 * 365.25, rel=1e-4)
    assert BUSY_WINTER.days(TODAY.to_numpy(), np.array([91.0]))[0] < 70  # from June on it is quiet


def test_without_a_season_histories_and_horizons_stay_what_they_are_to_the_last_digit():
    accounts = newest(known(lived(200, 500, FLAT, seed=2), 500, [500]))
    h = NO_SEASON.histories(accounts)
    tenure, recency = accounts["tenure_days"].to_numpy(), accounts["recency_days"].to_numpy()
    assert (h.age_days == tenure).all()
    assert (h.last_days == tenure - recency).all()
    assert (NO_SEASON.horizon(accounts, 91.25) == 91.25).all()


def test_repeat_orders_are_counted_as_the_orders_themselves_tell():
    orders = lived(300, 500, WAVE, seed=3)
    totals = repeats_by_day(known(orders, 500, [100, 300, 500]))
    assert len(totals) == 9
    for day, found in zip(totals["day"], totals["n_repeats"], strict=True):
        until = orders[:, : 500 - (TODAY - day).days + 1]
        assert found == until.sum() - until.any(axis=1).sum()


def test_a_row_more_of_the_same_cut_off_or_another_order_of_rows_changes_no_total():
    samples = known(lived(100, 400, WAVE, seed=4), 400, [200, 400])
    mixed = pd.concat([samples, samples.assign(origin_on=TODAY)]).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(repeats_by_day(mixed), repeats_by_day(samples))


@pytest.mark.parametrize("process", [PARETO, BETA_GEOMETRIC])
def test_as_much_is_expected_as_the_papers_say_of_new_accounts(process):
    samples = known(lived(50, 400, FLAT, seed=5), 400, [300, 400])
    found = stretches(repeats_by_day(samples), newest(samples), process.expected_orders)

    def of_age(t):
        if isinstance(process, ParetoNBD):  # Schmittlein, Morrison & Colombo 1987, eq. 17
            r, alpha, s, beta = process.r, process.alpha, process.s, process.beta
            return r * beta / (alpha * (s - 1)) * (1 - (beta / (beta + t)) ** (s - 1))
        r, alpha, a, b = process.r, process.alpha, process.a, process.b  # Fader, Hardie & Lee 2005, eq. 9
        odds = (alpha / (alpha + t)) ** r * hyp2f1(r, b, a + b - 1, t / (alpha + t))
        return (a + b - 1) / (a - 1) * (1 - odds)

    tenure = newest(samples)["tenure_days"].to_numpy()
    for start, end, expected in zip(found["from_on"], found["to_on"], found["n_expected"], strict=True):
        ages = [np.maximum(tenure - (TODAY - day).days, 0.0) for day in (start, end)]
        assert expected == pytest.approx((of_age(ages[1]) - of_age(ages[0])).sum(), rel=1e-6)


def test_stretches_follow_each_other_and_hold_every_repeat_order():
    orders = lived(300, 900, WAVE, seed=6)
    samples = known(orders, 900, [100, 180, 190, 400, 600, 900])
    found = stretches(repeats_by_day(samples), newest(samples), PARETO.expected_orders)
    assert (found["from_on"].iloc[1:].to_numpy() == found["to_on"].iloc[:-1].to_numpy()).all()
    assert ((found["to_on"] - found["from_on"]).dt.days >= 14).all()
    start = 900 - (TODAY - found["from_on"].iloc[0]).days
    ever, before = orders[:, :901], orders[:, : start + 1]
    repeats = [part.sum() - part.any(axis=1).sum() for part in (before, ever)]
    assert found["n_orders"].sum() == repeats[1] - repeats[0]


def test_a_season_that_came_back_is_found():
    assert largest_miss(learn(tracked(1096, WAVE)), WAVE) < 0.08


def test_a_month_thrice_as_busy_is_found_though_stretches_straddle_its_ends():
    peak = np.where(np.arange(12) == 10, 3.0, 1.0)
    peak *= MONTH_DAYS.sum() / (peak @ MONTH_DAYS)
    assert largest_miss(learn(tracked(1096, peak, orders_per_day=60.0)), peak) < 0.08


def test_no_season_is_made_of_chance():
    for seed in range(5):
        assert largest_miss(learn(tracked(800, orders_per_day=3.0, seed=seed)), 1.0) < 0.06


def test_growth_is_no_season():
    assert learn(tracked(450, growth_per_year=1.5)) == NO_SEASON
    assert learn(tracked(560, growth_per_year=0.7)) == NO_SEASON


def test_campaigns_that_come_and_go_are_no_season():
    for seed in range(6):
        plain = tracked(800, seed=seed)
        swing = np.random.default_rng(seed).lognormal(0, 0.15, len(plain))
        assert largest_miss(learn(plain.assign(n_orders=(plain["n_orders"] * swing).round())), 1.0) < 0.12


def test_a_peak_that_came_once_counts_for_less_than_one_that_came_back():
    peak = np.where(np.arange(12) == 10, 1.4, 1.0)  # November; the newest is half a year old
    once, thrice = (learn(tracked(n_days, peak)).pace[10] for n_days in (380, 1096))
    assert once < thrice
    assert thrice == pytest.approx(1.4 / 1.033, abs=0.1)


def test_less_than_a_year_tells_no_season():
    assert learn(tracked(336, WAVE)) == NO_SEASON
    assert learn(tracked(1096, WAVE, orders_per_day=0.2)) == NO_SEASON  # 6 orders a stretch
    assert learn(tracked(1096, WAVE).iloc[:0]) == NO_SEASON


def test_an_account_alone_has_no_season():
    samples = known(lived(1, 800, FLAT, seed=7), 800, [800])
    assert learn(stretches(repeats_by_day(samples), samples, PARETO.expected_orders)) == NO_SEASON


def test_the_paces_of_a_year_have_mean_one():
    assert np.array(learn(tracked(800, WAVE)).pace) @ MONTH_DAYS == pytest.approx(365.2425)


def test_orders_of_the_quiet_months_to_come_are_foreseen():
    n_days, days = 900, 91
    orders = lived(1500, n_days, WAVE, seed=8)
    samples = known(orders, n_days, np.linspace(14, n_days, 12).astype(int))
    accounts = newest(samples)
    came = orders[:, n_days + 1 : n_days + 1 + days].sum(axis=1)[accounts["account_id"].astype(int)]
    plain = pareto.fit(NO_SEASON.histories(accounts))
    season = learn(stretches(repeats_by_day(samples), accounts, plain.expected_orders))
    seasonal = pareto.fit(season.histories(accounts))
    without = plain.expected_orders(NO_SEASON.histories(accounts), float(days))
    within = seasonal.expected_orders(season.histories(accounts), season.horizon(accounts, float(days)))
    assert largest_miss(season, WAVE) < 0.2
    assert without.sum() > 1.25 * came.sum()  # as if the summer were like the whole year
    assert within.sum() == pytest.approx(came.sum(), rel=0.15)
    assert deviance(came, within) < 0.97 * deviance(came, without)


def test_a_season_survives_its_file():
    assert Season.from_json(BUSY_WINTER.to_json()) == BUSY_WINTER
