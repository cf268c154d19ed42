from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from features.feature_tables import NOW, QUERIES, build, read_features, write_features_now
from tests.erp.small_company import Company, add, small_tables
from tests.erp.small_company import T as SMALL_T
from tests.features.cause_oracle import causes
from tests.features.grown_company import T, cut_at, grown_tables

PAST = datetime(2023, 11, 20, 5)


@pytest.fixture(scope="module")
def tables():
    return grown_tables(seed=5)


@pytest.fixture(scope="module")
def facts(tables, tmp_path_factory):
    return Company(tmp_path_factory.mktemp("grown")).facts(tables, T)


def built(facts, name, moment=None):
    with facts.connect() as connection:
        return build(connection, facts, moment or facts.as_of, name)


# --- an oracle that reads the contract's tables, row by row, in pandas ------------------------------------------------


def day(moment):
    return pd.Timestamp(moment).normalize()


def first_told(line, promises):
    own = promises[promises["order_line_id"] == line.order_line_id].sort_values("told_at")
    if line.promised_on is not None and not pd.isna(line.promised_on):
        return day(line.promised_on)
    return day(own["promised_on"].iloc[0]) if len(own) else pd.NaT


def due_day(line, lines):
    while isinstance(line.split_from_id, str):
        line = next(lines[lines["order_line_id"] == line.split_from_id].itertuples())
    return day(line.ordered_at) if pd.isna(line.requested_on) else day(line.requested_on)


def oracle_line(line, now, moment):
    """What became of one line, from its events alone."""
    today = day(moment)
    product = now["products"].set_index("product_id").loc[line.product_id]
    ships, cancels, returns = (
        now[name][now[name]["order_line_id"] == line.order_line_id]
        for name in ("shipments", "cancellations", "returns")
    )
    left = line.quantity - ships["quantity"].sum() - cancels["quantity"].sum()
    last = max([*ships["shipped_at"], *cancels["cancelled_at"]], default=None)
    by = None
    if left <= 0:
        final = set(cancels.loc[cancels["cancelled_at"] == last, "cause"])
        by = next((cause for cause in ("seller", "customer", "change") if cause in final), "shipment")
    end = day(last) if left <= 0 else today
    due, promised = due_day(line, now["order_lines"]), first_told(line, now["promises"])
    kept = line.quantity - cancels["quantity"].sum() - returns["quantity"].sum()
    cost = product["unit_cost"] if not np.isnan(product["unit_cost"]) else 0.7 * product["list_price"]
    return {
        "order_line_id": line.order_line_id,
        "customer_id": line.customer_id,
        "product_id": line.product_id,
        "ordered_on": day(line.ordered_at),
        "due_on": due,
        "promised_on": promised,
        "open_quantity": max(left, 0.0),
        "ended_by": by,
        "wait_days": max((end - due).days, 0),
        "is_late": None if pd.isna(promised) else end > promised,
        "net_amount": kept * line.unit_price,
        "net_margin": kept * (line.unit_price - cost),
        "at_list": line.quantity * product["list_price"],
        "at_price": line.quantity * line.unit_price,
        "shipped": ships["quantity"].sum(),
        "returned": returns["quantity"].sum(),
    }


def oracle_lines(tables, moment):
    now = cut_at(tables, moment)
    now["cancellations"] = now["cancellations"].assign(cause=causes(now))
    lines = [oracle_line(line, now, moment) for line in now["order_lines"].itertuples()]
    frame = pd.DataFrame(lines)
    parent = now["customers"].set_index("customer_id")["parent_id"]
    known = set(now["customers"]["customer_id"])
    account = [
        c if pd.isna(c) or pd.isna(parent[c]) or parent[c] not in known else parent[c] for c in frame["customer_id"]
    ]
    return frame.assign(account_id=account, ended=frame["ended_by"].notna(), own=frame["ended_by"] == "customer")


def oracle_account(group, today):
    amounts = group.groupby("ordered_on")["net_amount"].sum().sort_index()
    gaps = amounts.index.to_series().diff().dt.days.dropna()
    young = {n: group[group["ordered_on"] > today - pd.Timedelta(days=n)] for n in (28, 91, 365)}
    first = group[group["ordered_on"] == amounts.index[0]]
    told, ended = group[group["is_late"].notna()], group[group["ended"]]
    return {
        "tenure_days": (today - amounts.index[0]).days,
        "recency_days": (today - amounts.index[-1]).days,
        "n_orders": len(amounts),
        "n_orders_28d": young[28]["ordered_on"].nunique(),
        "n_orders_91d": young[91]["ordered_on"].nunique(),
        "n_orders_365d": young[365]["ordered_on"].nunique(),
        "mean_gap_days": gaps.mean(),
        "sd_gap_days": gaps.std(),
        "longest_gap_days": gaps.max(),
        "spend_amount": group["net_amount"].sum(),
        "spend_28d": young[28]["net_amount"].sum(),
        "spend_91d": young[91]["net_amount"].sum(),
        "spend_365d": young[365]["net_amount"].sum(),
        "margin_amount": group["net_margin"].sum(),
        "margin_91d": young[91]["net_margin"].sum(),
        "margin_365d": young[365]["net_margin"].sum(),
        "mean_order_amount": amounts.mean(),
        "last_order_amount": amounts.iloc[-1],
        "first_order_amount": amounts.iloc[0],
        "first_order_n_lines": len(first),
        "first_order_quantity": first["quantity"].sum(),
        "n_products": group["product_id"].nunique(),
        "discount_share": 1 - group["at_price"].sum() / group["at_list"].sum(),
        "n_lines": len(group),
        "n_cancelled_lines": group["own"].sum(),
        "cancel_share": group["own"].sum() / len(ended) if len(ended) else np.nan,
        "late_share": told["is_late"].astype(float).mean() if len(told) else np.nan,
        "mean_wait_days": ended["wait_days"].mean(),
        "returned_share": group["returned"].sum() / group["shipped"].sum() if group["shipped"].sum() else np.nan,
        "n_open_lines": (group["open_quantity"] > 0).sum(),
        "open_amount": (group["open_quantity"] * group["at_price"] / group["quantity"]).sum(),
    }


def assert_alike(frame, expected, columns):
    for column in columns:
        if pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(frame[column]):
            left, right = frame[column].to_numpy(float), expected[column].to_numpy(float)
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9, err_msg=column)
        else:
            assert list(frame[column].astype(object).where(frame[column].notna(), None)) == list(
                expected[column].astype(object).where(expected[column].notna(), None)
            ), column


@pytest.mark.parametrize("moment", [T, PAST])
def test_known_lines_agree_with_a_reading_line_by_line(facts, tables, moment):
    frame = built(facts, "known_lines", moment).sort_values("order_line_id").reset_index(drop=True)
    expected = oracle_lines(tables, moment).sort_values("order_line_id").reset_index(drop=True)
    assert list(frame["order_line_id"]) == list(expected["order_line_id"])
    assert expected["ended_by"].nunique() == 4
    columns = "account_id due_on promised_on open_quantity ended_by wait_days is_late net_amount net_margin"
    assert_alike(frame, expected, columns.split())


@pytest.mark.parametrize("moment", [T, PAST])
def test_accounts_agree_with_a_reading_account_by_account(facts, tables, moment):
    frame = built(facts, "accounts", moment)
    lines = oracle_lines(tables, moment).merge(tables["order_lines"][["order_line_id", "quantity"]])
    expected = pd.DataFrame(
        {account: oracle_account(group, day(moment)) for account, group in lines.groupby("account_id")}
    ).T.sort_index()
    assert list(frame["account_id"]) == list(expected.index)
    assert_alike(frame, expected, expected.columns)


@pytest.mark.parametrize("moment", [T, PAST])
def test_lines_that_wait_are_the_accounts_back_orders(facts, moment):
    frame = built(facts, "accounts", moment).set_index("account_id")["n_waiting_lines"]
    waiting = built(facts, "backorder_lines", moment)["account_id"].value_counts()
    assert waiting.max() > 1
    assert (waiting.reindex(frame.index, fill_value=0) == frame).all()


@pytest.mark.parametrize("moment", [T, PAST])
def test_customers_agree_with_a_reading_customer_by_customer(facts, tables, moment):
    frame = built(facts, "customers", moment).sort_values("customer_id").reset_index(drop=True)
    lines = oracle_lines(tables, moment).merge(tables["order_lines"][["order_line_id", "quantity"]])
    expected = pd.DataFrame(
        {customer: oracle_account(group, day(moment)) for customer, group in lines.groupby("customer_id")}
    ).T.sort_index()
    assert list(frame["customer_id"]) == list(expected.index)
    names = {
        "customer_n_orders": "n_orders",
        "customer_days_since_order": "recency_days",
        "customer_mean_gap_days": "mean_gap_days",
        "customer_spend_365d": "spend_365d",
        "customer_mean_wait_days": "mean_wait_days",
        "customer_late_share": "late_share",
        "customer_cancel_share": "cancel_share",
        "customer_n_cancelled": "n_cancelled_lines",
        "customer_n_open_lines": "n_open_lines",
    }
    assert_alike(frame.rename(columns=names), expected, names.values())
    created = tables["customers"].set_index("customer_id")["created_at"].reindex(frame["customer_id"])
    expected_days = (day(moment) - created.dt.normalize()).dt.days
    np.testing.assert_array_equal(frame["customer_tenure_days"], expected_days)


@pytest.mark.parametrize("moment", [T, PAST])
def test_products_and_suppliers_agree_with_a_reading_one_by_one(facts, tables, moment):
    frame = built(facts, "products", moment).set_index("product_id").sort_index()
    now, lines = cut_at(tables, moment), oracle_lines(tables, moment)
    for product_id, row in frame.iterrows():
        own = lines[lines["product_id"] == product_id]
        ended = own[own["ended"]]
        waiting = own[(own["open_quantity"] > 0) & (own["due_on"] < day(moment))]
        assert row["product_n_waiting_lines"] == len(waiting)
        assert row["product_n_lines_91d"] == (own["ordered_on"] > day(moment) - pd.Timedelta(days=91)).sum()
        np.testing.assert_allclose(row["product_cancel_share"], ended["own"].mean())
        np.testing.assert_allclose(row["product_mean_wait_days"], ended["wait_days"].mean())
        inbound = now["purchase_orders"][now["purchase_orders"]["product_id"] == product_id]
        days = inbound.assign(on=inbound["ordered_at"].dt.normalize()).sort_values(["on", "po_line_id"])
        if days.empty:
            assert pd.isna(row["supplier_id"])
            continue
        assert row["supplier_id"] == days["supplier_id"].iloc[-1]
        came = now["purchase_orders"].merge(now["receipts"].groupby("po_line_id")["received_at"].min(), on="po_line_id")
        came = came[came["supplier_id"] == row["supplier_id"]]
        delay = (came["received_at"].dt.normalize() - pd.to_datetime(came["expected_on"])).dt.days
        np.testing.assert_allclose(row["supplier_mean_delay_days"], delay.mean())
        np.testing.assert_allclose(row["supplier_late_share"], (delay > 0).mean())


def told_last(tables, moment, waiting):
    """The last date told to each waiting line: of the promises known by then, else the one told with the order."""
    promises = tables["promises"]
    known = promises[promises["told_at"] <= moment].sort_values(["told_at", "promised_on"])
    last = known.drop_duplicates("order_line_id", keep="last").set_index("order_line_id")["promised_on"]
    return pd.to_datetime(waiting["order_line_id"].map(last)).fillna(waiting["promised_on"])


@pytest.mark.parametrize("moment", [T, PAST])
def test_back_orders_are_the_open_lines_whose_due_day_has_passed(facts, tables, moment):
    frame = built(facts, "backorder_lines", moment)
    lines = oracle_lines(tables, moment).merge(tables["order_lines"], on="order_line_id", suffixes=("", "_told"))
    waiting = lines[(lines["open_quantity"] > 0) & (lines["due_on"] < day(moment))].sort_values("order_line_id")
    waiting = waiting.reset_index(drop=True)
    assert len(waiting) > 20
    assert list(frame["order_line_id"]) == list(waiting["order_line_id"])
    orders = lines.groupby("order_id")["at_price"].agg(["sum", "size"]).reindex(frame["order_id"])
    expected = waiting.assign(
        waited_days=(day(moment) - waiting["due_on"]).dt.days,
        days_late=(day(moment) - waiting["promised_on"]).dt.days,
        days_past_latest=(day(moment) - told_last(tables, moment, waiting)).dt.days,
        is_partly_shipped=(waiting["shipped"] > 0).astype(float),
        price_ratio=waiting["at_price"] / waiting["at_list"],
        line_value=waiting["open_quantity"] * waiting["unit_price"],
        order_value=orders["sum"].to_numpy(),
        order_n_lines=orders["size"].to_numpy(),
    )
    columns = "open_quantity due_on promised_on waited_days days_late days_past_latest is_partly_shipped price_ratio"
    assert_alike(frame, expected, [*columns.split(), "line_value", "order_value", "order_n_lines"])


def test_a_group_waits_elsewhere_for_its_open_lines_that_are_not_due(facts, tables):
    frame = built(facts, "backorder_lines").set_index("order_line_id")
    lines = oracle_lines(tables, T).merge(tables["order_lines"][["order_line_id", "ship_group"]])
    is_elsewhere = (lines["open_quantity"] > 0) & ~lines["order_line_id"].isin(frame.index)
    expected = frame["ship_group"].isin(set(lines[is_elsewhere]["ship_group"].dropna()))
    assert list(frame["group_waits_elsewhere"]) == list(expected)
    assert expected.nunique() == 2
    assert frame["ship_group"].isna().any()
    assert not frame["group_waits_elsewhere"][frame["ship_group"].isna()].any()


@pytest.mark.parametrize(
    ("partner", "cells", "waits"),
    [
        ("L4", {}, True),  # open, asked for next week
        ("L4", {"requested_on": None}, False),  # a back order itself
        ("L2", {}, False),  # shipped
        ("L3", {}, False),  # cancelled
    ],
)
def test_a_back_order_waits_for_the_open_line_of_its_group(tmp_path, partner, cells, waits):
    tables = small_tables()
    lines = tables["order_lines"].set_index("order_line_id", drop=False).assign(ship_group=None)
    lines.loc[["L5", partner], "ship_group"] = "G1"
    for column, cell in cells.items():
        lines.loc[partner, column] = cell
    tables["order_lines"] = lines.reset_index(drop=True)
    frame = built(Company(tmp_path).facts(tables, SMALL_T), "backorder_lines").set_index("order_line_id")
    assert frame.loc["L5", "group_waits_elsewhere"] == waits
    assert not frame.loc["L1", "group_waits_elsewhere"]


@pytest.mark.parametrize(("quantity", "cancelled", "waits"), [(3.0, 3.0, False), (3.0, 1.0, True), (0.0, 3.0, True)])
def test_a_back_order_waits_for_a_line_of_its_group_that_is_set_aside_and_may_be_open(
    tmp_path, quantity, cancelled, waits
):
    tables = small_tables()
    tables["order_lines"]["ship_group"] = [None, None, "G1", None, "G1", None, None]
    tables["order_lines"].loc[2, ["quantity", "unit_price"]] = [quantity, -1.0]
    tables["cancellations"]["quantity"] = cancelled
    facts = Company(tmp_path).facts(tables, SMALL_T)
    assert list(facts.not_ranked["order_line_id"]) == ["L3"]
    frame = built(facts, "backorder_lines").set_index("order_line_id")
    assert frame.loc["L5", "group_waits_elsewhere"] == waits
    past = built(facts, "backorder_lines", datetime(2024, 3, 14, 5)).set_index("order_line_id")
    assert not past.loc["L5", "group_waits_elsewhere"]


def test_goods_here_are_those_of_the_lines_pool_as_of_the_moment(tmp_path):
    facts = Company(tmp_path).facts(small_tables(), SMALL_T)
    # Main holds 9 - 1 reserved - 4 shipped + 3 received of P1, and 2 of P3; the receipt came on 12 March.
    now = built(facts, "backorder_lines").set_index("order_line_id")["goods_here"]
    assert now.to_dict() == {"L1": 7.0, "L5": 7.0, "L6": 2.0}
    assert built(facts, "backorder_lines", datetime(2024, 3, 11, 5))["goods_here"].tolist() == [4.0]


def test_goods_confirmed_to_a_line_count_in_its_pool_up_to_what_is_open_and_picked_ones_not(tmp_path):
    tables = small_tables()
    add(tables, "reservations", order_line_id="L1", quantity=1.0, warehouse_id="main", is_firm=True)
    add(tables, "reservations", order_line_id="L5", quantity=50.0, warehouse_id="main", is_firm=False)
    add(tables, "reservations", order_line_id="L6", quantity=2.0, warehouse_id="north", is_firm=False)
    facts = Company(tmp_path).facts(tables, SMALL_T)
    now = built(facts, "backorder_lines").set_index("order_line_id")
    assert now["soft_reserved_quantity"].to_dict() == {"L1": 2.0, "L5": now.loc["L5", "open_quantity"], "L6": 1.0}
    assert 0 < now.loc["L5", "open_quantity"] < 50
    # Nobody recorded when they were made: they are today's.
    assert built(facts, "backorder_lines", datetime(2024, 3, 14, 5))["soft_reserved_quantity"].eq(0).all()


def test_a_pool_that_was_never_counted_holds_nothing(tmp_path):
    tables = small_tables()
    tables["stock"] = tables["stock"].query("product_id != 'P3'")
    frame = built(Company(tmp_path).facts(tables, SMALL_T), "backorder_lines").set_index("order_line_id")
    assert frame.loc["L6", "goods_here"] == 0


def test_the_root_order_is_the_order_of_the_line_it_was_split_off_from(tmp_path):
    tables = small_tables()
    tables["order_lines"]["split_from_id"] = [None, None, None, None, "L2", "L5", None]
    frame = built(Company(tmp_path).facts(tables, SMALL_T), "backorder_lines").set_index("order_line_id")
    assert frame["root_order_id"].to_dict() == {"L1": "O1", "L5": "O1", "L6": "O1"}


def test_a_line_picked_in_full_keeps_its_group_from_nothing(tmp_path):
    tables = small_tables()
    tables["order_lines"]["ship_group"] = [None, None, None, None, "G1", "G1", None]
    tables["reservations"] = tables["reservations"].iloc[1:].assign(quantity=7.0, is_firm=True)  # all of L6
    frame = built(Company(tmp_path).facts(tables, SMALL_T), "backorder_lines")
    assert list(frame["order_line_id"]) == ["L1", "L5"]
    assert not frame["group_waits_elsewhere"].any()


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUERIES)
def test_features_of_the_past_are_what_they_were_then(facts, tables, name, tmp_path):
    then = built(Company(tmp_path).facts(cut_at(tables, PAST), PAST), name)
    # Without versions what may be written, shipped or is reserved today is no feature of the past.
    today_only = [c for c in ("credit_hold", "contact_allowed", "soft_reserved_quantity") if c in then]
    now, then = (f.drop(columns=today_only) for f in (built(facts, name, PAST), then))
    key = list(now.columns[:1])
    key += {"inbound_dates": ["told_on", "received_on"], "cancellation_causes": ["happened_at"]}.get(name, [])
    now, then = (frame.sort_values(key, ignore_index=True) for frame in (now, then))
    pd.testing.assert_frame_equal(now, then, rtol=1e-12)


def test_no_row_no_feature(tmp_path):
    empty = {name: table.iloc[:0] for name, table in small_tables().items()}
    facts = Company(tmp_path).facts(empty, SMALL_T, kind="csv")
    with facts.connect() as connection:
        assert [len(build(connection, facts, SMALL_T, name)) for name in QUERIES] == [0] * len(QUERIES)


def test_what_a_morning_reads_is_written_and_read_back_alike(facts, tmp_path):
    write_features_now(tmp_path, facts)
    tables = read_features(tmp_path)
    assert set(tables) == set(NOW)
    pd.testing.assert_frame_equal(tables["lines"], built(facts, "backorder_lines"))
    pd.testing.assert_frame_equal(tables["accounts"], built(facts, "accounts"))
    pools = set(zip(tables["lines"]["product_id"], tables["lines"]["warehouse_id"], strict=True))
    assert list(zip(tables["pools"]["product_id"], tables["pools"]["warehouse_id"], strict=True)) == sorted(pools)


def test_the_kept_share_is_what_did_not_come_back(tmp_path):
    write_features_now(tmp_path, Company(tmp_path / "company").facts(small_tables(), SMALL_T))
    # 11 units shipped, 1 returned.
    assert read_features(tmp_path)["kept_share"]["kept_share"].tolist() == pytest.approx([10 / 11])


def test_a_frame_says_its_types(facts):
    lines = built(facts, "backorder_lines")
    assert {str(lines[name].dtype) for name in ("cutoff_on", "due_on", "promised_on")} == {"datetime64[s]"}
    assert {str(lines[name].dtype) for name in ("order_line_id", "customer_reference", "segment")} == {"str"}
