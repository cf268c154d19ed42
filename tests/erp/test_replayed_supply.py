"""The replayed supply is a possible history: goods come from somewhere and nobody waits beside goods that are his."""

import numpy as np
import pandas as pd
import pytest

from erp.online_retail import convert
from erp.replayed_inbound import Inbound, Suppliers
from erp.replayed_supply import Habits, patience_days, replay


def orders(*rows):
    """Order lines by time from (product, time, quantity, customer)."""
    lines = pd.DataFrame(rows, columns=["product_id", "ordered_at", "quantity", "customer_id"])
    lines["ordered_at"] = pd.to_datetime(lines["ordered_at"]).astype("datetime64[s]")
    lines["order_line_id"] = [f"{n}-1" for n in range(len(lines))]
    six = lines["ordered_at"].dt.normalize() + pd.Timedelta(hours=18)
    return lines.assign(dispatch_at=np.maximum(six, lines["ordered_at"]), unit_price=1.0, order_id="1")


def credits_of(*rows):
    pairs = pd.DataFrame(rows, columns=["line", "at", "quantity", "event_id"])
    pairs["at"] = pd.to_datetime(pairs["at"]).astype("datetime64[s]")
    return pairs.astype({"line": "int64", "quantity": "int64", "event_id": "str"})


def company(n_lines=6000, n_products=25, n_days=250, seed=1):
    """Random orders on most days, with some credits of later days."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, n_days, n_lines) * 86400 + rng.integers(8 * 3600, 20 * 3600, n_lines))
    at = np.datetime64("2010-01-04T00:00:00") + seconds.astype("timedelta64[s]")
    product = [f"1{p:04d}" for p in rng.integers(0, n_products, n_lines)]
    customer = [None if c < 10 else f"{c}" for c in rng.integers(0, 50, n_lines)]
    lines = orders(*zip(product, at, rng.geometric(0.1, n_lines), customer, strict=True))
    credited = np.sort(rng.choice(n_lines, 300, replace=False))
    times = lines["ordered_at"][credited].to_numpy() + rng.integers(1, 10 * 86400, 300).astype("timedelta64[s]")
    rows = zip(credited, times, lines["quantity"][credited], [f"C{n}" for n in credited], strict=True)
    pairs = credits_of(*rows).sort_values("at", ignore_index=True)
    return lines, pairs[pairs["at"] < lines["ordered_at"].max()]


@pytest.fixture(scope="module")
def history():
    lines, pairs = company()
    return lines, pairs, replay(lines, pairs, seed=5)


def stock_after(history, at):
    """Units on hand by product from the contract's own formula: latest count + receipts - shipments since."""
    lines, _, tables = history
    counts = tables["stock"][tables["stock"]["snapshot_at"] <= at].sort_values("snapshot_at", kind="stable")
    last = counts.groupby("product_id").last()
    product_of_order = tables["purchase_orders"].drop_duplicates("po_line_id").set_index("po_line_id")["product_id"]
    came = tables["receipts"].assign(
        product_id=lambda t: t["po_line_id"].map(product_of_order), at=lambda t: t["received_at"]
    )
    went = tables["shipments"].assign(
        product_id=lambda t: lines["product_id"].to_numpy()[t["line"]], at=lambda t: t["shipped_at"]
    )
    on_hand = last["on_hand"].astype("int64")
    for events, sign in ((came, 1), (went, -1)):
        since = events[(events["at"] <= at) & (events["at"] > events["product_id"].map(last["snapshot_at"]))]
        on_hand = on_hand.add(sign * since.groupby("product_id")["quantity"].sum(), fill_value=0)
    return on_hand


def open_lines(history, at):
    lines, _, tables = history
    gone = pd.concat(
        [
            tables["shipments"].query("shipped_at <= @at").groupby("line")["quantity"].sum(),
            tables["cancellations"].query("cancelled_at <= @at").groupby("line")["quantity"].sum(),
        ]
    )
    left = lines["quantity"].sub(gone.groupby(level=0).sum(), fill_value=0)
    known = tables["order_lines"].assign(open_quantity=left)
    return known[(known["open_quantity"] > 0) & (known["ordered_at"] <= at)]


def evenings(history, hour):
    days = np.unique(history[0]["ordered_at"].dt.normalize())[10:]
    return [pd.Timestamp(day) + pd.Timedelta(hours=hour) for day in days[::20]]


def test_some_lines_wait_and_most_do_not(history):
    lines, _, tables = history
    last = tables["shipments"].groupby("line")["shipped_at"].max().reindex(lines.index)
    share = 1 - (last.dt.normalize() == lines["ordered_at"].dt.normalize()).mean()
    assert 0.02 < share < 0.4


def test_counts_receipts_and_shipments_add_up_and_never_fall_below_zero(history):
    for at in evenings(history, 23):
        assert (stock_after(history, at) >= 0).all()
    # The last count of a product follows from the first one and every event since.
    tables = history[2]
    counts = tables["stock"]
    last = counts["snapshot_at"].max()
    only_first = {**tables, "stock": counts[counts["snapshot_at"] == counts["snapshot_at"].min()]}
    counted = counts[counts["snapshot_at"] == last].set_index("product_id")["on_hand"]
    derived = stock_after((*history[:2], only_first), last)
    assert derived.reindex(counted.index).tolist() == counted.tolist()


def test_after_dispatch_no_goods_stay_beside_a_line_that_may_have_them(history):
    n_seen = 0
    for at in evenings(history, 18):
        stock = stock_after(history, at)
        waiting = open_lines(history, at)
        waiting = waiting[waiting["ordered_at"] < at]
        on_hand = stock.reindex(waiting["product_id"]).to_numpy()
        assert (on_hand[waiting["may_split"]] == 0).all()
        assert (on_hand < waiting["open_quantity"]).all()
        n_seen += len(waiting)
    assert n_seen > 20


def test_of_two_equal_waiting_lines_the_older_ships_first(history):
    lines, _, tables = history
    shipped = tables["shipments"].groupby("line")["shipped_at"].max()
    known = tables["order_lines"].assign(shipped_at=shipped).dropna(subset="shipped_at")
    cancelled = set(tables["cancellations"]["line"])
    whole = known[~known["may_split"] & ~known.index.isin(cancelled)]
    order = whole.groupby(["product_id", "quantity"])["shipped_at"]
    assert (order.diff().dropna() >= pd.Timedelta(0)).all()


def test_lines_are_shipped_whole_unless_they_may_split(history):
    parts = history[2]["shipments"].groupby("line").size()
    in_parts = history[2]["order_lines"].loc[parts[parts > 1].index]
    assert len(in_parts) > 0
    assert in_parts["may_split"].all()
    assert not history[2]["order_lines"]["may_split"][history[0]["customer_id"].isna()].any()


def test_a_line_is_never_shipped_or_cancelled_beyond_its_quantity_nor_returned_beyond_what_left(history):
    lines, _, tables = history
    shipped, cancelled, returned = (
        tables[name].groupby("line")["quantity"].sum().reindex(lines.index, fill_value=0)
        for name in ("shipments", "cancellations", "returns")
    )
    assert (shipped + cancelled <= lines["quantity"]).all()
    assert (returned <= shipped).all()


def test_every_published_credit_cancels_returns_or_finds_the_customer_gone(history):
    _, pairs, tables = history
    published = tables["cancellations"].query("reason == 'published'")
    used = pd.concat([published, tables["returns"]]).groupby("event_id")["quantity"].sum()
    credited = pairs.set_index("event_id")["quantity"]
    assert (used <= credited.reindex(used.index)).all()
    lost = pairs[~pairs["event_id"].isin(used[used == credited.reindex(used.index)].index)]
    impatient = set(tables["cancellations"].query("reason == 'replayed'")["line"])
    assert set(lost["line"]) <= impatient
    times = published.merge(pairs, on="event_id")
    assert (times["cancelled_at"] == times["at"]).all()


def test_what_is_simulated_says_replayed(history):
    tables = history[2]
    assert tables["purchase_orders"]["po_line_id"].str.startswith("replayed-").all()
    assert tables["suppliers"]["name"].str.startswith("replayed ").all()
    simulated = tables["cancellations"].query("reason == 'replayed'")
    assert len(simulated) > 0
    assert simulated["event_id"].str.startswith("replayed-").all()


def test_dates_told_lie_on_the_order_day_or_at_least_two_days_ahead(history):
    lines, _, tables = history
    ahead = (tables["order_lines"]["promised_on"] - lines["ordered_at"].dt.normalize()).dt.days
    assert set(ahead[ahead < 2]) == {0}
    on_its_day = (
        tables["shipments"]["shipped_at"].dt.normalize()
        == lines["ordered_at"].dt.normalize()[tables["shipments"]["line"]].to_numpy()
    )
    at_once = tables["shipments"][on_its_day].groupby("line")["quantity"].sum().reindex(lines.index, fill_value=0)
    assert (ahead[at_once == lines["quantity"]] == 0).all()


def test_new_dates_of_suppliers_are_told_after_the_order_and_are_later(history):
    versions = history[2]["purchase_orders"]
    slips = versions[versions.duplicated("po_line_id")]
    assert len(slips) > 0
    assert (slips["recorded_at"] > slips["ordered_at"]).all()
    first = versions.drop_duplicates("po_line_id").set_index("po_line_id")["expected_on"]
    assert (slips["expected_on"] > slips["po_line_id"].map(first)).all()


def test_goods_received_were_ordered_before_and_never_exceed_the_order(history):
    tables = history[2]
    bought = tables["purchase_orders"].drop_duplicates("po_line_id").set_index("po_line_id")
    receipts = tables["receipts"]
    assert (receipts["received_at"] > receipts["po_line_id"].map(bought["ordered_at"])).all()
    came = receipts.groupby("po_line_id")["quantity"].sum()
    assert (came <= bought["quantity"].reindex(came.index)).all()
    assert receipts["event_id"].is_unique


def test_no_event_lies_after_the_last_day_of_the_source(history):
    lines, _, tables = history
    end = lines["ordered_at"].max().normalize() + pd.Timedelta(days=1)
    times = {"shipments": "shipped_at", "cancellations": "cancelled_at", "receipts": "received_at"}
    times |= {"stock": "snapshot_at", "purchase_orders": "recorded_at"}
    for name, time in times.items():
        assert (tables[name][time] <= end).all(), name


def test_the_same_seed_gives_the_same_history_and_another_seed_another(history):
    lines, pairs, tables = history
    again = replay(lines, pairs, seed=5)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert len(replay(lines, pairs, seed=6)["shipments"]) != len(tables["shipments"])


def test_who_waits_longer_is_likelier_to_leave():
    rng = np.random.default_rng(0)
    waited = patience_days(rng.exponential(size=200_000), np.ones(200_000), Habits())
    hazard = [((waited >= w) & (waited < w + 1)).sum() / (waited >= w).sum() for w in (0, 14, 28)]
    # .009 x (1 + w / 14) in the middle of the day
    assert hazard == pytest.approx([0.0093, 0.0182, 0.0270], rel=0.1)


def test_a_disruption_puts_goods_off_to_its_end():
    suppliers = Suppliers(np.array([5]), np.array([0.0]), np.array([1.0]), np.array([0]), [(0, 10, 20)])
    put_off = suppliers.after_disruption(np.array([0, 0, 0]), np.array([9, 10, 30]))
    assert put_off.tolist() == [9, 30, 30]


def test_a_date_is_told_from_the_delivery_that_reaches_the_line():
    suppliers = Suppliers(np.array([5]), np.array([0.0]), np.array([1.0]), np.array([0]), [])
    inbound = Inbound(suppliers, np.arange(100, 160), np.random.default_rng(0))
    inbound.order(np.array([0]), np.array([1]), 0)
    inbound.order(np.array([0]), np.array([1]), 4)
    assert inbound.expected_day(0, 1, 1, 12) == 105
    assert inbound.expected_day(0, 2, 1, 12) == 109
    assert inbound.expected_day(0, 3, 1, 12) == 101 + 12 + 5


def test_one_line_alone_and_a_line_credited_in_full_before_dispatch():
    lines = orders(("10001", "2010-01-04 09:00", 4, "1"), ("10001", "2010-01-04 10:00", 99, None))
    tables = replay(lines, credits_of((1, "2010-01-04 10:12", 99, "C1")))
    assert tables["shipments"]["line"].tolist() == [0]
    assert tables["cancellations"][["line", "quantity", "reason"]].to_numpy().tolist() == [[1, 99, "published"]]
    assert tables["returns"].empty


def test_equal_source_and_seed_give_equal_bytes(tmp_path):
    lines, _ = company(n_lines=500)
    raw = lines.rename(columns={"product_id": "stock_code", "ordered_at": "invoice_ts"})
    raw = raw.assign(invoice=[f"{n:06d}" for n in range(500)], description="LAMP", country="France")
    (tmp_path / "source").mkdir()
    raw.to_parquet(tmp_path / "source" / "lines.parquet")
    convert(tmp_path / "source", tmp_path / "a", replay_supply=True, seed=2)
    raw.sample(frac=1, random_state=0).to_parquet(tmp_path / "source" / "lines.parquet")
    convert(tmp_path / "source", tmp_path / "b", replay_supply=True, seed=2)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == [(tmp_path / "b" / n).read_bytes() for n in names]
    assert "seed 2" in (tmp_path / "a" / "README.md").read_text()
