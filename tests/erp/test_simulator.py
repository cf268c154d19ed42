"""The simulated company: its tables keep the contract, its truth is what its draws obey, rules meet one world."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from erp.contract import TABLES
from erp.simulated_rules import (
    by_line,
    by_line_value,
    by_margin,
    by_priority,
    by_promise_date,
    by_typed_priority,
    first_come_first_served,
    give_out,
)
from erp.simulator import (
    CompanyShape,
    close,
    fork,
    initialize,
    morning,
    planner_habits,
    roll_forward,
    simulate,
    step,
    write_tables,
)

SMALL = CompanyShape(n_customers=300, n_products=20, n_suppliers=5, n_days=400, seed=5)
EXTRA_TIME = {"shipments": "shipped_at", "cancellations": "cancelled_at", "returns": "returned_at"}


def ship_nothing(seen):
    return np.zeros(len(seen.columns["key"]), dtype=np.int64)


@pytest.fixture(scope="module")
def company():
    return simulate(SMALL)


@pytest.fixture(scope="module")
def tables(company):
    return close(company)


def newest_versions(table):
    return table.sort_values("recorded_at", kind="stable").drop_duplicates("po_line_id", keep="last")


def test_every_table_has_the_contracts_columns_and_no_other(tables):
    for name, frame in tables.items():
        assert set(TABLES[name].required) <= set(frame.columns) <= set(TABLES[name].columns), name
        assert len(frame), name


def test_keys_are_unique_and_only_versions_share_one(tables):
    for name, frame in tables.items():
        key = list(TABLES[name].key) + (["recorded_at"] if "recorded_at" in frame else [])
        key = [column for column in key if column in frame]
        assert not frame.duplicated(key).any(), name
        assert frame[key].notna().all().all(), name


def test_every_reference_exists(tables):
    for name, frame in tables.items():
        for column, parent in TABLES[name].parents.items():
            if column in frame and parent in tables:
                known = tables[parent][TABLES[parent].key[0]]
                assert frame[column].dropna().isin(known).all(), (name, column)


def test_quantities_and_money_are_positive_and_nothing_happens_before_its_order(tables):
    ordered = tables["order_lines"].set_index("order_line_id").ordered_at
    for name, time in EXTRA_TIME.items():
        assert (tables[name][time].to_numpy() > tables[name].order_line_id.map(ordered).to_numpy()).all(), name
    bought = newest_versions(tables["purchase_orders"]).set_index("po_line_id").ordered_at
    receipts = tables["receipts"]
    assert (receipts.received_at.to_numpy() > receipts.po_line_id.map(bought).to_numpy()).all()
    for name, frame in tables.items():
        for column in frame.columns.intersection(["quantity", "unit_price", "unit_cost", "list_price"]):
            assert (frame[column] > 0).all(), (name, column)
    assert (tables["stock"].on_hand >= 0).all()


def test_a_customer_is_opened_before_its_first_order_and_its_parent_before_it(tables):
    opened = tables["customers"].set_index("customer_id").created_at
    lines = tables["order_lines"].dropna(subset="customer_id")
    assert (lines.ordered_at.to_numpy() > lines.customer_id.map(opened).to_numpy()).all()
    children = tables["customers"].dropna(subset="parent_id")
    assert len(children) > 5
    assert (children.parent_id.map(opened).to_numpy() <= children.created_at.to_numpy()).all()
    assert not children.parent_id.isin(children.customer_id).any()


def test_nothing_is_in_the_tables_that_happened_after_the_morning(company, tables):
    as_of = pd.Timestamp(company.as_of).tz_localize(None)
    for name, frame in tables.items():
        for column in frame.columns[frame.columns.str.endswith("_at")]:
            assert frame[column].max() < as_of, (name, column)


def test_a_later_morning_never_changes_an_older_row():
    young = simulate(replace(SMALL, n_days=120))
    before = close(young)
    as_of = pd.Timestamp(young.as_of).tz_localize(None)
    for _ in range(30):
        step(young)
    after = close(young)
    for name in ("order_lines", "shipments", "cancellations", "receipts", "promises", "returns", "purchase_orders"):
        time = "recorded_at" if name == "purchase_orders" else TABLES[name].own_time
        known = after[name][after[name][time] < as_of]
        order = list(before[name].columns)
        pd.testing.assert_frame_equal(
            known.sort_values(order, ignore_index=True), before[name].sort_values(order, ignore_index=True)
        )


def shelf_by_contract(tables, as_of, snapshot_before):
    """Latest snapshot + receipts - shipments since, by product, as the contract says it."""
    stock = tables["stock"]
    at = stock.snapshot_at[stock.snapshot_at < snapshot_before].max()
    shelf = stock[stock.snapshot_at == at].set_index("product_id").on_hand
    product = tables["order_lines"].set_index("order_line_id").product_id
    bought = newest_versions(tables["purchase_orders"]).set_index("po_line_id").product_id
    out = tables["shipments"].query("shipped_at > @at and shipped_at < @as_of")
    back = tables["receipts"].query("received_at > @at and received_at < @as_of")
    shelf = shelf.sub(out.groupby(out.order_line_id.map(product)).quantity.sum(), fill_value=0)
    return shelf.add(back.groupby(back.po_line_id.map(bought)).quantity.sum(), fill_value=0)


@pytest.mark.parametrize("days_ago", [0, 6, 100])
def test_stock_by_the_contract_is_the_true_shelf_at_any_snapshots_age(company, tables, days_ago):
    day = company.day - days_ago
    as_of = pd.Timestamp(SMALL.start_on) + pd.Timedelta(days=day, hours=4)
    told = shelf_by_contract(tables, as_of, as_of - pd.Timedelta(hours=1))
    assert told.sort_index().tolist() == company.shelf[day].tolist()


def test_what_is_open_by_the_tables_is_what_the_planner_sees(company, tables):
    lines = tables["order_lines"].set_index("order_line_id")
    gone = pd.concat([tables["shipments"], tables["cancellations"]]).groupby("order_line_id").quantity.sum()
    left = lines.quantity.sub(gone, fill_value=0)
    assert (left >= 0).all()
    due = lines.requested_on.fillna(lines.ordered_at.dt.floor("D").astype(lines.requested_on.dtype))
    as_of = pd.Timestamp(company.as_of).tz_localize(None)
    waiting = left[(left > 0) & (due < as_of.floor("D"))]
    seen = morning(company).lines.set_index("order_line_id")
    assert seen.open_quantity.sort_index().to_dict() == waiting.sort_index().to_dict()
    assert (seen.waited_days == (as_of.floor("D") - due[seen.index]).dt.days).all()


def test_the_company_is_strained_in_the_way_a_back_order_planner_knows(company, tables):
    lines = tables["order_lines"].set_index("order_line_id")
    first = tables["shipments"].groupby("order_line_id").shipped_at.min()
    cancelled = lines.index.isin(tables["cancellations"].order_line_id)
    due = lines.requested_on.fillna(lines.ordered_at.dt.floor("D").astype(lines.requested_on.dtype))
    waited = (first.reindex(lines.index).dt.floor("D") - due).dt.days
    waits = cancelled | (waited > 0)
    assert 0.15 < waits.mean() < 0.5
    assert 0.1 < cancelled[waits].mean() < 0.3
    assert 0.04 < lines.customer_id.isna().mean() < 0.14
    assert 3 <= waited[waited > 1].median() <= 20


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_company(tmp_path):
    shape = replace(SMALL, n_days=60)

    def digest(seed, folder):
        write_tables(close(simulate(replace(shape, seed=seed))), folder)
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}

    first, again, other = (digest(seed, tmp_path / name) for seed, name in [(5, "a"), (5, "b"), (6, "c")])
    assert first == again
    assert first["order_lines.parquet"] != other["order_lines.parquet"]


def test_parquet_keeps_ids_as_text_days_as_dates_and_times_as_timestamps(tables, tmp_path):
    write_tables(tables, tmp_path)
    words = {"id": "string", "text": "string", "day": "date32[day]", "time": "timestamp[us]", "flag": "bool"}
    for name, frame in tables.items():
        schema = pq.read_schema(tmp_path / f"{name}.parquet")
        kinds = {column: TABLES[name].kind(column) for column in frame}
        told = {c: str(schema.field(c).type).replace("large_", "") for c, kind in kinds.items() if kind in words}
        assert told == {column: words[kind] for column, kind in kinds.items() if kind in words}, name


def test_a_company_on_its_first_morning_has_tables_without_rows_but_with_their_columns(tmp_path):
    company = initialize(SMALL)
    tables = close(company)
    assert len(tables["order_lines"]) == len(tables["shipments"]) == len(morning(company).lines) == 0
    write_tables(tables, tmp_path)
    for name, frame in tables.items():
        assert set(TABLES[name].required) <= set(frame.columns), name


def test_a_fork_lives_on_alone(company):
    before = {name: hashlib.sha256(frame.to_csv().encode()).hexdigest() for name, frame in close(company).items()}
    state = company.on_hand.copy(), company.open["open"].copy(), company.purchases["expected_day"].copy()
    first = roll_forward(company, planner_habits, 20)
    pd.testing.assert_frame_equal(first, roll_forward(company, planner_habits, 20))
    assert first.day.tolist() == list(range(400, 420))
    after = {name: hashlib.sha256(frame.to_csv().encode()).hexdigest() for name, frame in close(company).items()}
    assert before == after
    kept = company.on_hand, company.open["open"], company.purchases["expected_day"]
    for old, now in zip(state, kept, strict=True):
        np.testing.assert_array_equal(old, now)


def test_going_on_from_a_fork_is_the_same_as_never_having_stopped(company):
    stopped = initialize(SMALL)
    for _ in range(380):
        step(stopped)
    twin = fork(stopped)
    for _ in range(20):
        step(twin)
    assert close(twin)["order_lines"].equals(close(company)["order_lines"])
    assert twin.losses.equals(company.losses)


def test_two_rules_meet_the_same_orders_except_from_customers_that_one_of_them_lost(company):
    twins = [fork(company), fork(company)]
    for twin, rule in zip(twins, [first_come_first_served, ship_nothing], strict=True):
        twin.rule = rule
        for _ in range(60):
            step(twin)
    one, two = (close(twin)["order_lines"].set_index("order_line_id") for twin in twins)
    # A date told depends on the shelf, which is the rule's doing; everything the customer decides does not.
    wishes = ["customer_id", "product_id", "ordered_at", "quantity", "unit_price", "requested_on", "may_split"]
    both = one.index.intersection(two.index)
    pd.testing.assert_frame_equal(one.loc[both, wishes], two.loc[both, wishes])
    lost = twins[0].is_lost | twins[1].is_lost
    missing = one.index.symmetric_difference(two.index)
    assert len(missing) > 0
    who = pd.concat([one, two]).loc[missing].customer_id.str[1:].astype(int)
    assert lost[company.customers.account[who]].all()


def slow_give_out(on_hand, lines, score):
    """Hand goods out one line at a time, the plainest way."""
    left, shipped = dict(enumerate(on_hand)), {}
    rows = [i for i in range(len(score)) if not np.isnan(score[i]) and not lines["credit_hold"][i]]
    for i in sorted(rows, key=lambda i: (-score[i], lines["due_day"][i], lines["key"][i])):
        have, want = left[lines["product"][i]], lines["open"][i]
        shipped[i] = want if want <= have else (have if lines["may_split"][i] else 0)
        left[lines["product"][i]] = have - shipped[i]
    return [int(shipped.get(i, 0)) for i in range(len(score))]


@pytest.mark.parametrize("seed", range(20))
def test_goods_go_down_the_priority_as_by_hand(company, seed):
    draw = np.random.default_rng(seed)
    n = 12
    lines = {
        "key": draw.permutation(n),
        "product": draw.integers(0, 3, n),
        "open": draw.integers(1, 6, n),
        "may_split": draw.random(n) < 0.5,
        "due_day": draw.integers(0, 3, n),
        "credit_hold": draw.random(n) < 0.2,
    }
    score = np.where(draw.random(n) < 0.2, np.nan, draw.integers(0, 3, n).astype(float))
    seen = replace(morning(company), columns=lines, on_hand=draw.integers(0, 12, 3))
    assert by_priority(seen, score).tolist() == slow_give_out(seen.on_hand, lines, score)


def test_a_whole_line_that_does_not_fit_is_skipped_and_a_divisible_one_takes_the_rest():
    product, wanted, order = np.zeros(3, int), np.array([3, 4, 4]), np.arange(3)
    may_split = np.array([False, False, True])
    assert give_out(np.array([6]), product, wanted, may_split, order).tolist() == [3, 0, 3]
    assert give_out(np.array([0]), product, wanted, may_split, order).tolist() == [0, 0, 0]


RULES = [by_line_value, by_margin, by_promise_date, by_typed_priority, first_come_first_served, planner_habits]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_what_it_says_and_planners_leave_some_goods(company, rule):
    losses = roll_forward(company, rule, 15)
    assert len(losses) == 15
    seen = morning(company)
    given = rule(seen)
    used = np.bincount(seen.columns["product"], weights=given, minlength=SMALL.n_products)
    assert (used <= seen.on_hand).all()
    everyone = by_priority(seen, np.zeros(len(given)))
    assert rule is planner_habits or (given > 0).any() == (everyone > 0).any()


def test_shipping_nothing_loses_more_than_any_rule(company):
    def lost(rule):
        return roll_forward(company, rule, 40)[["cancel_margin", "cancel_future", "late_future"]].sum().sum()

    assert max(lost(rule) for rule in RULES) < lost(ship_nothing)


def test_a_published_queue_ships_by_its_line_ids(company):
    seen = morning(company)
    given = first_come_first_served(seen)
    told = dict(zip(seen.lines.order_line_id, given.astype(float), strict=True))
    np.testing.assert_array_equal(by_line(seen, told), given)
    assert by_line(seen, {}).tolist() == [0] * len(given)


def test_a_rule_that_ships_too_much_is_told_which_line(company):
    twin = fork(company)
    name = morning(twin).lines.order_line_id[0]
    twin.rule = lambda seen: seen.columns["open"] + 1
    with pytest.raises(ValueError, match=f"cannot take .*{name}"):
        step(twin)
    twin.rule = lambda seen: seen.columns["open"]
    with pytest.raises(ValueError, match="more than is on the shelf"):
        step(twin)
    twin.rule = lambda seen: np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="one each"):
        step(twin)


def test_no_rule_ships_to_a_customer_on_credit_hold_and_other_goods_are_not_kept_for_it(company):
    held = np.array([True, False])
    lines = {name: values[:2].copy() for name, values in morning(company).columns.items()}
    lines |= {"product": np.zeros(2, int), "open": np.array([4, 4]), "credit_hold": held}
    seen = replace(morning(company), columns=lines, on_hand=np.array([5]))
    assert by_priority(seen, np.array([9.0, 1.0])).tolist() == [0, 4]


def test_a_rule_that_ships_to_a_customer_on_credit_hold_is_told_which_line(company):
    twin = fork(company)
    while not (held := morning(twin).columns["credit_hold"]).any():
        step(twin)
    twin.on_hand = twin.on_hand + 10_000
    name = morning(twin).lines.order_line_id[held].iloc[0]
    twin.rule = lambda seen: seen.columns["open"]
    with pytest.raises(ValueError, match=f"credit hold, e.g. .*{name}"):
        step(twin)


def test_nothing_is_shipped_to_an_account_while_the_tables_show_its_credit_hold():
    twin = simulate(replace(SMALL, n_days=200))
    before = close(twin)
    held = set(before["customers"].query("credit_hold").customer_id)
    step(twin)
    after = close(twin)
    new = after["shipments"][~after["shipments"].event_id.isin(before["shipments"].event_id)]
    buyer = after["order_lines"].set_index("order_line_id").customer_id
    assert held
    assert len(new)
    assert not new.order_line_id.map(buyer).isin(held).any()


def test_a_company_goes_on_after_days_on_which_nothing_is_open():
    tables = close(simulate(CompanyShape(n_customers=20, n_products=3, n_suppliers=2, n_days=60, seed=1)))
    ordered, ended = (tables[name] for name in ("order_lines", "shipments"))
    days = pd.date_range(ordered["ordered_at"].min(), ordered["ordered_at"].max(), normalize=True)
    came = ordered.merge(ended.groupby("order_line_id", as_index=False)["shipped_at"].max(), how="left")
    is_open = [((came["ordered_at"] < day) & ~(came["shipped_at"] < day)).any() for day in days]
    assert not all(is_open)
    assert ordered["ordered_at"].max() > days[is_open.index(False)]
