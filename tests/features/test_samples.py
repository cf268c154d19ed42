from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.feature_tables import build
from features.samples import account_samples, cancellation_samples, cutoffs
from tests.erp.small_company import Company, small_tables, version
from tests.features.grown_company import grown_tables

T = datetime(2024, 3, 15, 5)


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


def samples_of(company, tables, **given):
    rows = cancellation_samples(company.facts(tables, T, **given), every_days=7, at_most=3)
    columns = ["cancelled_day", "closed_day", "observed_days"]
    keys = zip(rows["cutoff_on"].dt.strftime("%m-%d"), rows["order_line_id"], strict=True)
    values = rows[columns].astype(object).where(rows[columns].notna(), None).itertuples(index=False, name=None)
    return dict(zip(keys, values, strict=True))


def test_cut_offs_go_back_from_t_in_equal_steps(company):
    facts = company.facts(small_tables(), T)
    assert cutoffs(facts, datetime(2024, 1, 1), 7, 3, 7) == [
        datetime(2024, 2, 23, 5),
        datetime(2024, 3, 1, 5),
        datetime(2024, 3, 8, 5),
    ]
    assert cutoffs(facts, datetime(2024, 3, 2), 7, 3, 7) == [datetime(2024, 3, 8, 5)]
    assert cutoffs(facts, datetime(2024, 3, 9), 7, 3, 7) == []


def test_what_became_of_each_waiting_line_is_counted_in_days_from_the_cut_off(company):
    tables = small_tables()
    lines = tables["order_lines"]
    lines["ordered_at"] -= timedelta(days=8)  # 22 February is L1's day; at 1 March both L1 and L2 wait
    lines["requested_on"] = None
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    rows = samples_of(company, tables)
    # Cut-offs 23 February, 1 and 8 March at 05:00; labels end at T, as nothing is recorded late.
    assert rows["03-01", "L2"] == (None, 2.0, 7)  # shipped 2 March 15:00: 34 hours later
    assert rows["03-01", "L3"] == (6.0, None, 7)  # cancelled 6 March 11:00: 126 hours later
    assert rows["03-01", "L1"] == (None, 7.0, 7)  # still waiting at T, but told a new date on 7 March 09:00
    assert rows["03-08", "L1"] == (None, None, 7)
    assert rows["02-23", "L2"] == (None, 9.0, 7)  # after the days observed, which models leave out
    assert ("03-08", "L2") not in rows
    assert ("03-08", "L6") in rows
    assert ("02-23", "L6") not in rows


def test_a_cancellation_by_the_seller_closes_and_does_not_cancel(company):
    tables = small_tables()
    tables["order_lines"]["ordered_at"] -= timedelta(days=8)
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    tables["cancellations"].loc[0, "cancelled_by"] = "seller"
    assert samples_of(company, tables)["03-01", "L3"] == (None, 6.0, 7)


def test_a_line_that_ended_before_the_cut_off_but_was_known_later_ends_on_the_first_day(company):
    tables = small_tables()
    tables["order_lines"]["ordered_at"] -= timedelta(days=8)
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    tables["cancellations"]["recorded_at"] = pd.Timestamp("2024-03-08 09:00")
    rows = samples_of(company, tables)
    assert rows["03-08", "L3"][:2] == (1.0, None)


def test_days_whose_labels_are_not_yet_complete_are_not_observed(company):
    tables = small_tables()
    tables["order_lines"]["ordered_at"] -= timedelta(days=8)
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    tables["shipments"]["recorded_at"] = tables["shipments"]["shipped_at"] + timedelta(hours=60)
    tables["cancellations"]["recorded_at"] = tables["cancellations"]["cancelled_at"] + timedelta(hours=60)
    observed = {cutoff: days for (cutoff, _), (_, _, days) in samples_of(company, tables).items()}
    # 60 hours are 3 days: the week before T shows 4, earlier weeks all 7.
    assert observed == {"02-23": 7, "03-01": 7, "03-08": 4}


def test_a_vanished_line_is_the_customers_cancellation(company):
    tables = small_tables()
    tables["order_lines"]["ordered_at"] -= timedelta(days=8)
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    version(tables, "order_lines", "L1", "2024-03-09 09:00", is_deleted=True)
    assert samples_of(company, tables)["03-08", "L1"] == (2.0, None, 7)


def test_sample_rows_are_the_features_of_their_cut_off(company):
    facts = company.facts(grown_tables(seed=7), T)
    rows = cancellation_samples(facts, every_days=14, at_most=5)
    assert rows["cutoff_on"].nunique() == 5
    moment = T - timedelta(days=28)
    with facts.connect() as connection:
        lines = build(connection, facts, moment, "backorder_lines")
    own = rows[rows["cutoff_on"] == pd.Timestamp(moment.date())].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[lines.columns], lines)


def test_the_date_told_with_the_order_told_again_closes_nothing(company):
    tables = small_tables()
    tables["order_lines"]["ordered_at"] -= timedelta(days=8)
    tables["purchase_orders"]["ordered_at"] -= timedelta(days=8)
    tables["promises"].loc[0, "promised_on"] = tables["order_lines"].loc[0, "promised_on"]
    assert samples_of(company, tables)["03-01", "L1"] == (None, None, 7)


def test_training_never_sees_a_label_from_after_t(company):
    tables = grown_tables(seed=7)
    early = cancellation_samples(company.facts(tables, T - timedelta(days=56)), every_days=14, at_most=3)
    late = cancellation_samples(company.facts(tables, T), every_days=14, at_most=7)
    late = late[late["cutoff_on"].isin(early["cutoff_on"].unique())]
    both = early.merge(late, on=["cutoff_on", "order_line_id"], suffixes=("", "_late"))
    assert len(both) == len(early) == len(late)
    seen = early["cancelled_day"].notna()
    np.testing.assert_array_equal(both.loc[seen, "cancelled_day"], both.loc[seen, "cancelled_day_late"])
    days_left = (pd.Timestamp(T - timedelta(days=56)) - early["cutoff_on"]).dt.days
    assert (early.loc[seen, "cancelled_day"] <= days_left[seen]).all()
    assert both["cancelled_day_late"].notna().sum() > seen.sum()


@pytest.mark.parametrize("build_samples", [cancellation_samples, account_samples])
def test_a_company_too_young_has_columns_and_no_rows(company, build_samples):
    tables = {name: table.iloc[:0] for name, table in small_tables().items()}
    rows = build_samples(company.facts(tables, T, kind="csv"))
    assert len(rows) == 0
    assert set(rows.columns) >= {"cutoff_on", "customer_id", "cancelled_day", "closed_day", "observed_days"} or set(
        rows.columns
    ) >= {"cutoff_on", "account_id", "next_margin", "next_amount", "next_n_orders", "horizon_days"}


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_next_orders_are_net_of_what_was_cancelled_or_returned(company):
    tables = small_tables()
    lines = tables["order_lines"]
    lines.loc[6, "ordered_at"] = pd.Timestamp("2023-09-01 10:00")  # L7, C1's first order, 196 days before T
    tables["shipments"].loc[2, "shipped_at"] = pd.Timestamp("2023-09-03")
    tables["returns"].loc[0, "returned_at"] = pd.Timestamp("2023-09-09")
    rows = account_samples(company.facts(tables, T), every_days=28, at_most=9).set_index(["account_id", "cutoff_on"])
    # 196 days seen: a full horizon of 91, cut-offs from 60 days after the first order on, and T - 91 days the newest.
    newest = T.date() - timedelta(days=91)
    rows = rows[rows["horizon_days"] == 91]
    row = rows.loc[("C1", pd.Timestamp(newest))]
    # L1 10 x 9 and L2 5 x 20 by C1 on 1 March; C2 shares the account; its L3 was cancelled. Costs: 6, 14 (assumed).
    assert (row["next_amount"], row["next_n_orders"]) == (190.0, 2.0)
    assert row["next_margin"] == pytest.approx(10 * (9 - 6) + 5 * (20 - 14))


def test_accounts_outcomes_agree_with_a_sum_over_the_window(company):
    facts = company.facts(grown_tables(seed=9), T)
    rows = account_samples(facts, every_days=28, at_most=4)
    with facts.connect() as connection:
        lines = build(connection, facts, T, "known_lines")
    assert rows["horizon_days"].max() == 182
    for row in rows.sample(25, random_state=2).itertuples():
        end = row.cutoff_on + pd.Timedelta(days=row.horizon_days)
        own = lines[(lines["account_id"] == row.account_id) & (lines["ordered_on"] > row.cutoff_on)]
        own = own[own["ordered_on"] <= end]
        assert row.next_amount == pytest.approx(own["net_amount"].sum())
        assert row.next_margin == pytest.approx(own["net_margin"].sum())
        assert row.next_n_orders == own["ordered_on"].nunique()
