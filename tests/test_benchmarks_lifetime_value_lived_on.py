"""What the benchmark of the year lived on lets the models see, counts as having come, and prints."""

import json
import sys
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from erp.simulator import CompanyShape, close, initialize, step, write_tables
from features.samples import account_samples
from tests.benchmarks import lifetime_value_lived_on as bench
from tests.benchmarks.lifetime_value_data import facts_on
from tests.benchmarks.lifetime_value_peers import OURS, PARETO
from tests.benchmarks.lifetime_value_scores import Judged

KNOWN_DAYS = 260


@pytest.fixture(scope="module")
def tables():
    """A company's tables at T and 60 days after the year that followed, and T's day."""
    lived = initialize(CompanyShape(n_customers=500, n_products=20, n_days=KNOWN_DAYS + 365, seed=77))
    while lived.day < KNOWN_DAYS:
        step(lived)
    at_origin, origin = close(lived), lived.as_of.date()
    while lived.day < KNOWN_DAYS + 365 + bench.SETTLED_DAYS:
        step(lived)
    return at_origin, close(lived), origin


def test_nothing_that_came_after_t_changes_what_is_known_or_learned(tables, tmp_path):
    at_origin, at_end, origin = tables
    assert len(at_end["order_lines"]) > 1.5 * len(at_origin["order_lines"])
    seen = {}
    for name, written in (("then", at_origin), ("later", at_end)):
        write_tables(written, tmp_path / name)
        with facts_on(tmp_path / name, origin) as facts:
            seen[name] = (*bench.known_on(tmp_path / name, origin), account_samples(facts, at_most=3))
    for then, later in zip(seen["then"], seen["later"], strict=True):
        assert len(then) > 100
        (pd.testing.assert_frame_equal if then.ndim == 2 else pd.testing.assert_series_equal)(then, later)


def test_what_came_is_the_net_margin_of_the_next_365_days_by_the_account_of_t(tables, tmp_path):
    _, at_end, origin = tables
    start = pd.Timestamp(origin)
    customers = at_end["customers"]
    known = customers[customers["created_at"] < start]
    late = known[known["parent_id"].isna() & ~known["customer_id"].isin(customers["parent_id"])].iloc[:40]
    adopted = late.assign(parent_id=late["customer_id"].iloc[0], recorded_at=start + pd.Timedelta(days=5)).iloc[1:]
    versions = pd.concat([customers.assign(recorded_at=customers["created_at"]), adopted], ignore_index=True)
    write_tables(at_end | {"customers": versions}, tmp_path)

    settled_on = origin + timedelta(days=365 + bench.SETTLED_DAYS)
    accounts, account_of = bench.known_on(tmp_path, origin)
    came = bench.outcome(tmp_path, origin, settled_on, account_of)

    lines = at_end["order_lines"].dropna(subset=["customer_id"]).set_index("order_line_id")
    lost = sum(
        at_end[name].groupby("order_line_id")["quantity"].sum().reindex(lines.index, fill_value=0)
        for name in ("cancellations", "returns")
    )
    cost = lines["product_id"].map(
        at_end["products"].drop_duplicates("product_id").set_index("product_id")["unit_cost"]
    )
    parent = customers.set_index("customer_id")["parent_id"]
    lines = lines.assign(
        margin=(lines["quantity"] - lost) * (lines["unit_price"] - cost),
        day=lines["ordered_at"].dt.floor("D"),
        account_id=lines["customer_id"].map(parent).fillna(lines["customer_id"]),
    )
    lines = lines[(lines["day"] > start) & (lines["day"] <= start + pd.Timedelta(days=365))]
    expected = lines.groupby("account_id").agg(orders=("day", "nunique"), margin=("margin", "sum"))
    assert set(adopted["customer_id"]) & set(expected.index)
    assert expected["orders"].max() > 5
    pd.testing.assert_frame_equal(came, expected.astype(float), check_names=False, check_index_type=False)


def judged(**ours_said):
    """Four customers: the first and the last wait, the last two ordered once so far."""
    said = pd.DataFrame(
        {"expected_spend": [10.0, 20.0, 5.0, 5.0], "expected_orders": [1.0, 2.0, 1.0, 0.5]}
        | {"p_no_order": [0.4, 0.1, 0.5, 0.6]}
        | {"spend_low": [0.0, 0.0, 0.0, 1.0], "spend_high": [9.0, 50.0, 19.0, 9.0]}
        | {"orders_low": [0.0] * 4, "orders_high": [3.0] * 4}
        | ours_said
    )
    theirs = said[["expected_spend", "expected_orders", "p_no_order"]]
    came = np.array([1.0, 4.0, 2.0, 0.0]), np.array([10.0, 40.0, 10.0, 0.0])
    ways = {OURS: said, PARETO: theirs, bench.BETA_GEOMETRIC: theirs}
    one_time = np.array([False, False, True, True])
    return bench.LivedOn(Judged(*came, one_time, ways), np.array([True, False, False, True]))


def test_groups_are_scored_apart_and_a_way_without_intervals_has_no_coverage():
    scores = bench.scores_of(judged())
    assert scores["all: value bias", OURS] == pytest.approx(40 / 60 - 1)
    assert scores["who wait: value bias", OURS] == pytest.approx(15 / 10 - 1)
    assert scores["one-time buyers: value bias", PARETO] == pytest.approx(0.0)
    assert scores["all: churn, foretold / came", OURS] == pytest.approx(0.4 / 0.25)
    assert scores["who wait: churn, foretold / came", PARETO] == pytest.approx(0.5 / 0.5)
    assert scores["all: churn ECE", OURS] == pytest.approx((0.4 + 0.1 + 0.5 + 0.4) / 4)
    assert scores["all: churn AUC", OURS] == 1.0
    assert scores["all: value coverage", OURS] == 0.5
    assert scores["who wait: value coverage", OURS] == 0.0
    assert scores["one-time buyers: value coverage", OURS] == 0.5
    assert scores["one-time buyers: orders coverage", OURS] == 1.0
    assert scores["all: orders coverage", OURS] == 0.75
    assert ("all: value coverage", PARETO) not in scores


def test_the_size_that_chance_alone_brings_is_what_unbiased_values_show():
    draw = np.random.default_rng(5)
    right = draw.gamma(0.7, 100.0, 300)
    sizes, by_chance = [], []
    for _ in range(400):
        came = right * draw.gamma(0.5, 2.0, 300)
        said = {OURS: pd.DataFrame({"expected_spend": right})}
        book = Judged(came, came, came > 0, said)
        by_chance.append(bench.size_by_chance(book, OURS, book.once)[0])
        sizes.append(abs(bench.spend_bias(book, OURS, book.once)[0]))
    assert np.mean(by_chance) == pytest.approx(np.mean(sizes), rel=0.1)


def rows_of(*companies):
    scores = pd.DataFrame({seed: bench.scores_of(one) for seed, one in enumerate(companies)}).T
    return {row.figure: row for row in bench.figures(scores)}


def test_companies_off_to_either_side_are_told_by_size_and_groups_have_no_goal_of_size():
    over, under = judged(expected_spend=[30.0, 20.4, 10.0, 4.0]), judged(expected_spend=[21.6, 20.0, 10.0, 4.0])
    rows = rows_of(over, under)
    assert rows["all: value bias"].value == pytest.approx(0.0)
    assert rows["all: value bias, mean size"].value == pytest.approx(4.4 / 60)
    assert rows["all: value bias, mean size"].met is False
    assert rows["all: value bias, greatest size"].met is True
    assert rows["who wait: value bias, mean size"].met is None
    # t of one degree of freedom at .975 is 12.706; half the distance of two values is their standard error.
    assert rows["all: value bias"].high == pytest.approx(12.706 * 4.4 / 60, rel=1e-4)


def test_coverage_has_a_goal_on_either_side_and_leads_are_paired():
    better = judged(p_no_order=[0.1, 0.1, 0.1, 0.9], spend_high=[99.0] * 4)
    theirs = better.judged.said[PARETO] = better.judged.said[PARETO].assign(p_no_order=[0.2, 0.2, 0.2, 0.8])
    rows = rows_of(better, better)
    assert rows["all: value coverage, from below"].met is False  # the last one's 0 lies below its 1
    assert rows["all: value coverage, from above"].met is True
    assert rows["all: orders coverage, from below"].met is False
    lead = rows[f"all: churn Brier, better than {PARETO} by"]
    assert (lead.low, lead.value, lead.high) == pytest.approx((0.03, 0.03, 0.03))
    assert lead.peer_value == pytest.approx(((theirs["p_no_order"] - [0, 0, 0, 1]) ** 2).mean())


def test_a_first_look_lets_small_companies_live_on_and_writes_its_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "QUICK", bench.Size({1: 300, 2: 400}, 700, 30))
    monkeypatch.setattr(sys, "argv", ["lived_on.py", "--quick", "--json", str(tmp_path / "rows.json")])
    bench.main()
    rows = {row["figure"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert all(row["value"] is not None for row in rows.values())
    assert rows["all: churn AUC"]["value"] > 0.7
    assert rows["all: value nGini"]["peer_value"] > 0.5
    assert rows["all: value coverage, from below"]["value"] > 0.7
    assert PARETO in capsys.readouterr().out
