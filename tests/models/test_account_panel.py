from __future__ import annotations

import numpy as np
import pandas as pd

from models import account_panel, customer_base
from models.account_panel import (
    accounts_of_today,
    as_known_before,
    base_of,
    horizon_note,
    origins_of,
    rehearsal,
    rows_that_train,
    watched_days,
    with_expectations,
)
from models.season import repeats_by_day

OUTCOMES = ["next_margin", "next_amount", "next_n_orders"]


def of_cutoff(panel, place):
    days = sorted(panel["cutoff_on"].unique())
    return panel[panel["cutoff_on"] == days[place]]


def test_an_expectation_rests_on_the_accounts_up_to_its_own_cut_off_and_on_no_outcome(book):
    last = sorted(book.samples["cutoff_on"].unique())[4]
    known = book.samples[book.samples["cutoff_on"] <= last]
    alone = of_cutoff(with_expectations(known.assign(next_n_orders=7.0, next_margin=-1.0, next_amount=0.0)), 4)
    among_all = of_cutoff(book.panel, 4)
    columns = ["expected_orders", "p_no_order", *customer_base.EXPECTATIONS]
    assert alone["origin_on"].nunique() > 1
    pd.testing.assert_frame_equal(alone[columns].reset_index(drop=True), among_all[columns].reset_index(drop=True))


def test_the_same_account_watched_up_to_two_origins_differs_in_its_horizon_alone(book):
    rows = of_cutoff(book.panel, 1)
    early, late = (
        rows[rows["origin_on"] == day].set_index("account_id") for day in sorted(rows["origin_on"].unique())[:2]
    )
    assert (early["horizon_days"] < late["horizon_days"]).all()
    pd.testing.assert_frame_equal(early[[*account_panel.INPUTS]], late[[*account_panel.INPUTS]])
    assert (early["expected_orders"] < late["expected_orders"]).all()
    assert (early["p_no_order"] > late["p_no_order"]).all()


def test_neither_the_order_of_rows_nor_their_labels_matter(book):
    mixed = book.samples.sample(frac=1, random_state=5)
    mixed.index = np.zeros(len(mixed), dtype=int)
    pd.testing.assert_frame_equal(with_expectations(mixed), book.panel)


def test_no_rows_have_the_same_columns(book):
    assert list(with_expectations(book.samples.iloc[:0]).columns) == list(book.panel.columns)


def test_a_single_account_has_finite_expectations(book):
    one = book.samples[book.samples["account_id"] == book.samples["account_id"].iloc[0]]
    columns = ["expected_orders", "p_no_order", *customer_base.EXPECTATIONS]
    found = with_expectations(one)
    assert np.isfinite(found[columns].drop(columns="gaps_silent")).all(axis=None)
    assert (found["gaps_silent"].isna() == (found["n_orders"] == 1)).all()


def test_very_many_accounts_are_learned_from_by_every_so_many(book, monkeypatch):
    accounts, seen = accounts_of_today(book.panel), []
    monkeypatch.setattr(account_panel, "MOST_FITTED", 400)
    monkeypatch.setattr(customer_base, "fit", lambda rows, fit=customer_base.fit: seen.append(rows) or fit(rows))
    base_of(accounts, repeats_by_day(accounts))
    assert [rows["account_id"].tolist() for rows in seen] == [
        accounts["account_id"].tolist()[::4]
    ]  # every fourth of 1,500: every third would still be 500


def test_what_is_learned_before_a_rehearsal_was_complete_on_the_day_the_judged_accounts_were_asked_about(panel):
    tried = rehearsal(panel)
    newest, before, _ = origins_of(panel)
    complete = tried.past["cutoff_on"] + pd.to_timedelta(tried.past["horizon_days"], unit="D")
    assert complete.max() <= before
    assert (tried.past["horizon_days"] > 0).all()
    assert (tried.judged["cutoff_on"] == before).all()
    assert tried.judged["account_id"].is_unique
    assert tried.judged["cutoff_on"].max() + pd.Timedelta(days=tried.days) <= newest
    assert tried.days == 365


def test_no_outcome_after_the_rehearsed_day_reaches_what_is_learned_before_it(panel):
    newest, before, _ = origins_of(panel)
    later = panel["origin_on"] == newest
    changed = panel.assign(**{name: panel[name].where(~later, 1e6) for name in OUTCOMES})
    pd.testing.assert_frame_equal(rehearsal(changed).past, rehearsal(panel).past)
    pd.testing.assert_frame_equal(as_known_before(changed), as_known_before(panel))
    assert (rehearsal(changed).judged["next_margin"] == 1e6).all()


def test_the_panel_as_known_before_t_is_that_of_the_day_before_last(panel):
    before = as_known_before(panel)
    assert origins_of(before) == origins_of(panel)[1:]
    assert set(accounts_of_today(before)["account_id"]) == set(rehearsal(panel).judged["account_id"])
    assert rows_that_train(before)["origin_on"].unique().tolist() == [origins_of(panel)[1]]


def test_todays_accounts_are_one_row_each_of_which_nothing_came_yet(book):
    today = accounts_of_today(book.panel)
    assert sorted(today["account_id"]) == sorted(book.later.index)
    assert (today[["horizon_days", *OUTCOMES]] == 0).all(axis=None)
    assert (rows_that_train(book.panel)["horizon_days"] > 0).all()


def test_a_history_with_nothing_before_its_last_origin_has_no_rehearsal(panel):
    newest, before, _ = origins_of(panel)
    assert rehearsal(panel[panel["origin_on"] == newest]) is None
    is_first_look = (panel["origin_on"] == before) & (panel["horizon_days"] == 0)
    assert rehearsal(panel[(panel["origin_on"] == newest) | is_first_look]) is None


def test_outcomes_watched_for_less_than_a_year_are_said_to_go_on_alike(book, young_book):
    assert horizon_note(book.panel) == ""
    assert watched_days(young_book.panel) == 186  # from the first cut-off, 14 days into the history, to T
    assert "watched for 186 days, the rest of the 365 is assumed to go on alike" in horizon_note(young_book.panel)
    assert watched_days(book.panel.iloc[:0]) == 0
