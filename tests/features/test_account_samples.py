"""Accounts at past cut-offs: what each morning knew of them, and what had come of them by each origin."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from features import samples
from features.feature_tables import build
from features.samples import FEWEST_DAYS, account_samples, origins
from tests.erp.small_company import Company, small_tables
from tests.features.grown_company import grown_tables

T = datetime(2024, 3, 15, 5)
OUTCOMES = ["next_margin", "next_amount", "next_n_orders"]


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return Company(tmp_path_factory.mktemp("grown")).facts(grown_tables(seed=9), T)


@pytest.fixture(scope="module")
def account_rows(grown):
    return account_samples(grown)


def known_at(facts, moment, name="known_lines"):
    with facts.connect() as connection:
        return build(connection, facts, moment, name)


def morning(day):
    return pd.Timestamp(day).to_pydatetime() + timedelta(hours=5)


def test_next_orders_are_net_of_what_was_cancelled_or_returned(company):
    tables = small_tables()
    lines = tables["order_lines"]
    lines.loc[6, "ordered_at"] = pd.Timestamp("2023-09-01 10:00")  # L7, C1's first order, 195 full days before T
    tables["shipments"].loc[2, "shipped_at"] = pd.Timestamp("2023-09-03")
    tables["returns"].loc[0, "returned_at"] = pd.Timestamp("2023-09-09")
    rows = account_samples(company.facts(tables, T)).set_index(["account_id", "origin_on", "cutoff_on"]).sort_index()
    third = T.date() - timedelta(days=65)
    row = rows.loc[("C1", pd.Timestamp(T.date()), pd.Timestamp(third))]
    # L1 10 x 9 and L2 5 x 20 by C1 on 1 March; C2 shares the account; its L3 was cancelled. Costs: 6, 14 (assumed).
    assert (row["next_amount"], row["next_n_orders"], row["horizon_days"]) == (190.0, 2.0, 65)
    assert row["next_margin"] == pytest.approx(10 * (9 - 6) + 5 * (20 - 14))
    # Seen from the day between, nothing had come: all of it was ordered later.
    assert (rows.loc[("C1", pd.Timestamp(third))][OUTCOMES] == 0).all(axis=None)


def test_origins_go_back_by_a_horizon_or_a_third_of_what_is_left_and_never_by_less_than_two_weeks():
    first = datetime(2024, 1, 1)
    expected = {2000: [0, 365, 730], 1000: [0, 365, 635], 729: [0, 364, 485], 400: [0, 133, 222], 59: [0, 19, 33]}
    for n_days, ages in (expected | {29: [0, 14], 27: [0]}).items():
        until = origins(first, first + timedelta(days=n_days), 365)
        assert [(until[0] - day).days for day in until] == ages


def test_every_row_is_watched_from_its_cut_off_to_its_origin_or_for_a_year(account_rows):
    days = (account_rows["origin_on"] - account_rows["cutoff_on"]).dt.days
    assert (account_rows["horizon_days"] == days.clip(upper=365)).all()
    assert ((days == 0) | (days >= FEWEST_DAYS)).all()
    assert not account_rows.duplicated(["account_id", "cutoff_on", "origin_on"]).any()
    assert account_rows["origin_on"].nunique() == 3
    assert set(account_rows["origin_on"]) <= set(account_rows["cutoff_on"])


def test_of_accounts_at_an_origin_itself_nothing_came_yet(account_rows):
    own = account_rows[account_rows["origin_on"] == account_rows["cutoff_on"]]
    assert own["origin_on"].nunique() == 3
    assert (own[["horizon_days", *OUTCOMES]] == 0).all(axis=None)


def test_accounts_outcomes_agree_with_a_sum_over_the_window_as_the_origin_knew_it(account_rows, grown):
    assert account_rows["horizon_days"].max() == 365
    for origin, rows in account_rows.groupby("origin_on"):
        lines = known_at(grown, morning(origin))
        for row in rows.sample(20, random_state=2).itertuples():
            end = row.cutoff_on + pd.Timedelta(days=row.horizon_days)
            own = lines[(lines["account_id"] == row.account_id) & (lines["ordered_on"] > row.cutoff_on)]
            own = own[own["ordered_on"] <= end]
            assert row.next_amount == pytest.approx(own["net_amount"].sum())
            assert row.next_margin == pytest.approx(own["net_margin"].sum())
            assert row.next_n_orders == own["ordered_on"].nunique()


def test_every_row_knows_what_the_morning_of_its_cut_off_knew(account_rows, grown):
    for day in sorted(account_rows["cutoff_on"].unique())[::4]:
        then = known_at(grown, morning(day), "accounts")
        for _, rows in account_rows[account_rows["cutoff_on"] == day].groupby("origin_on"):
            pd.testing.assert_frame_equal(rows[then.columns].reset_index(drop=True), then)


def test_an_earlier_origin_counts_nothing_that_was_ordered_after_it(company):
    tables = grown_tables(seed=9)
    plain = account_samples(company.facts(tables, T), at_most=3)
    before = sorted(plain["origin_on"].unique())[1]
    orders = tables["order_lines"]["ordered_at"] > before + pd.Timedelta(hours=5)
    tables["order_lines"].loc[orders, "quantity"] *= 7
    more = account_samples(company.facts(tables, T), at_most=3)
    pd.testing.assert_frame_equal(*(rows[rows["origin_on"] <= before] for rows in (plain, more)))
    assert more["next_amount"].sum() > 2 * plain["next_amount"].sum()


def test_a_later_t_does_not_change_what_an_earlier_origin_saw(company):
    tables = grown_tables(seed=9)
    late = account_samples(company.facts(tables, T), at_most=3)
    before = sorted(late["origin_on"].unique())[1]
    early = account_samples(company.facts(tables, morning(before)), at_most=3)
    names = ["account_id", "origin_on", "cutoff_on"]
    both = early[names].merge(late[names])  # the cut-offs between the origins lie otherwise
    assert both["origin_on"].nunique() == 2
    assert (both["origin_on"] > both["cutoff_on"]).any()
    then, now = (both.merge(rows) for rows in (early, late))
    pd.testing.assert_frame_equal(then, now)


def test_of_very_many_accounts_the_same_are_kept_at_every_cut_off(account_rows, grown, monkeypatch):
    n_accounts, n_cutoffs = account_rows["account_id"].nunique(), account_rows["cutoff_on"].nunique()
    monkeypatch.setattr(samples, "MOST_ACCOUNT_ROWS", n_accounts * n_cutoffs // 2)
    part = account_samples(grown)
    kept = set(part["account_id"])
    assert 0.2 * n_accounts < len(kept) < 0.8 * n_accounts
    expected = account_rows[account_rows["account_id"].isin(kept)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, expected)


def test_a_company_of_a_week_has_its_accounts_and_no_outcome(company):
    rows = account_samples(company.facts(small_tables(), datetime(2024, 1, 16, 5)))  # L7, six days old, is all there is
    assert rows["account_id"].tolist() == ["C1"]
    assert rows[["tenure_days", "horizon_days"]].to_numpy().tolist() == [[6, 0]]
    assert (rows["origin_on"] == rows["cutoff_on"]).all()


def test_orders_count_for_the_account_that_its_customers_were_on_the_morning_of_the_cut_off(company):
    tables = small_tables()
    tables["order_lines"].loc[6, ["customer_id", "ordered_at"]] = ["C2", pd.Timestamp("2023-12-01 10:00")]
    tables["shipments"].loc[2, "shipped_at"] = pd.Timestamp("2023-12-03")
    tables["returns"].loc[0, "returned_at"] = pd.Timestamp("2023-12-09")
    tables["customers"].loc[0, "created_at"] = pd.Timestamp("2024-03-09")  # until then C2 has no parent
    tables["order_lines"].loc[[0, 1], ["customer_id", "ordered_at"]] = ["C2", pd.Timestamp("2024-03-02 10:00")]
    rows = account_samples(company.facts(tables, T)).set_index(["account_id", "origin_on", "cutoff_on"]).sort_index()
    newest = pd.Timestamp(T.date())
    before = max(day for account, origin, day in rows.index if account == "C2" and origin == newest)
    own = rows.loc[("C2", newest, before)]
    assert own["horizon_days"] == 14
    assert (own["next_n_orders"], own["next_amount"]) == (2, 190.0)  # L1 and L2 together, L3 cancelled since
    assert ("C1", newest, newest) in rows.index
