import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tests.benchmarks.promises_kept as bench
from erp.simulated_rules import by_line_value
from erp.simulated_tables import line_ids
from erp.simulator import CompanyShape, close, fork, morning, simulate, step
from pipelines.simulation import TellingDesk, TrainedDesk
from tests.benchmarks.promises_kept_notes import Mornings, customer_hazard, dates_told, fates, look, retold
from tests.benchmarks.promises_kept_scores import (
    BEYOND,
    CANCELLED,
    MET,
    MISSED,
    NO_DATE,
    outcomes,
    pinball,
    resamples,
    share_met,
    shares,
    waits,
    weights,
)

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2026-01-01")


def lines(date, shipped=None, cancelled=None, by_customer=True, end=30, hazard=0.0):
    """Lines told on day 0 of 2026; date, shipped and cancelled are days after it, None for none."""
    rows = pd.DataFrame({"date": date, "shipped": shipped, "cancelled": cancelled}).astype(float)
    days = {name: START + pd.to_timedelta(rows[name], unit="D") for name in rows}
    return pd.DataFrame(
        {
            "day": START,
            "date": days["date"],
            "shipped_on": days["shipped"],
            "cancelled_on": days["cancelled"],
            "by_customer": np.asarray(by_customer) & rows["cancelled"].notna(),
            "end_on": START + end * DAY,
            "company": 1,
            "supplier_id": [f"V{n % 40}" for n in range(len(rows))],
            "spared": list(np.power.outer(1 - np.broadcast_to(hazard, len(rows)), np.arange(end + 2))),
        }
    )


@pytest.mark.parametrize(
    ("date", "shipped", "cancelled", "by_customer", "outcome"),
    [
        (9, 9, None, True, MET),
        (9, 10, None, True, MISSED),
        (9, None, None, True, MISSED),
        (30, None, None, True, MISSED),  # the last day was lived
        (31, 4, None, True, BEYOND),  # by the date alone
        (None, 4, None, True, NO_DATE),
        (9, None, 8, True, CANCELLED),
        (9, None, 9, True, MISSED),  # that day's goods had gone before
        (9, None, 12, True, MISSED),
        (9, None, 3, False, MISSED),  # we called it off ourselves
        (-3, 1, None, True, MISSED),
    ],
)
def test_a_date_is_met_on_its_day_and_unknown_only_if_the_customer_left_before_it(
    date, shipped, cancelled, by_customer, outcome
):
    assert outcomes(lines([date], [shipped], [cancelled], by_customer), "date").tolist() == [outcome]


def test_the_weighed_share_is_that_of_customers_who_stay_and_to_leave_the_others_out_flatters():
    draw = np.random.default_rng(5)
    # Impatient customers are served sooner, as the queue serves them: cancelling tells of the wait.
    hazard, served = np.where(draw.random(40_000) < 0.5, [[0.1], [0.03]], [[0.02], [0.08]])
    ships, cancels = draw.geometric(served).astype(float), draw.geometric(hazard).astype(float) - 1
    goes = ships <= cancels  # on one day goods go first
    told = lines(12, np.where(goes, ships, np.nan), np.where(goes, np.nan, cancels), end=400, hazard=hazard)
    truth = (1 - (1 - served) ** 12).mean()
    found = shares(told, "date")
    share, low, high = share_met(told, "date")
    assert share == pytest.approx(truth, abs=0.01)
    assert share == pytest.approx(found["met if customers stay"])
    assert low < truth < high
    assert found["met of those known"] > share + 0.05
    assert found["met at least"] < share < found["met at most"]
    assert found[MET] + found[MISSED] + found[CANCELLED] == len(told)


def test_a_line_weighs_by_the_days_that_its_customer_had_to_wait_for_it_to_be_known():
    # Half of the customers leave each day: shipped on day 2 after 2 nights, missed on day 3 after 3.
    told = lines([5, 3, 9], [2, 8, None], [None, None, 4], hazard=0.5)
    assert weights(told, "date").tolist() == [4, 8, 0]


def test_without_a_known_outcome_there_is_no_share():
    assert np.isnan(share_met(lines([31, None]), "date")).all()


def test_an_open_line_counts_as_shipped_on_the_morning_after_the_end_and_a_cancelled_one_has_no_wait():
    told = lines([5] * 3, [8, None, None], [None, None, 4])
    np.testing.assert_array_equal(waits(told), [8, 31, np.nan])
    assert pinball(told, "date", 0.9)[:2] == pytest.approx([0.9 * 3, 0.9 * 26])
    assert pinball(told.assign(date=START + 10 * DAY), "date", 0.9)[0] == pytest.approx(0.1 * 2)


def test_lines_of_one_supplier_are_drawn_together_and_companies_too():
    told = lines([9] * 400)
    one = told.assign(supplier_id="V1")
    values = np.repeat([0.0, 1.0], 200)
    _, low, high = resamples(told.assign(supplier_id=[f"V{n}" for n in range(400)])).mean(values)
    assert 0.4 < low < high < 0.6
    assert resamples(one).mean(values)[1:] == pytest.approx((0.5, 0.5))  # all or nothing
    _, low, high = resamples(one.assign(company=[1] * 200 + [2] * 200)).mean(values)
    assert (low, high) == (0, 1)


def test_a_date_that_stays_is_no_move_and_each_move_keeps_its_cause():
    on = [START + n * DAY for n in (5, 5, 9, 7)]
    every = pd.DataFrame(
        {"order_line_id": "a", "promise_on": on, "promise_changed_because": [None, None, "late", "in"]}
    )
    other = pd.DataFrame({"order_line_id": "b", "promise_on": [pd.NaT, on[0]], "promise_changed_because": None})
    found = retold(pd.concat([every, other]))
    assert found.loc["a"].tolist() == [on[3], 2, "late; in"]
    assert found.loc["b", ["last_promise_on", "n_moves"]].tolist() == [on[0], 0]


@pytest.fixture(scope="module")
def company():
    shape = CompanyShape(n_customers=300, n_products=20, n_suppliers=5, n_days=120, seed=903)
    return simulate(replace(shape, seller_cancel_hazard=0.02))  # often enough to see it


@pytest.fixture(scope="module")
def desk(company):
    return TrainedDesk.at(company)


def waiting(company):
    return morning(company).lines["order_line_id"].tolist()


def shipped_today(company):
    """Lines with goods that left on the last day lived."""
    parts = company.log["shipments"]
    today = (company.day - 1) * 86_400
    keys = [part["key"][part["second"] >= today] for part in parts[-2:]]
    return set(line_ids(company, np.concatenate(keys)).tolist())


def test_lines_that_wait_for_a_receipt_leave_the_day_after_it_at_the_earliest_and_on_any_day_of_the_week(company):
    twin, weekdays, before = fork(company), set(), set()
    twin.rule = by_line_value
    for _ in range(60):
        seen, today = morning(twin), pd.Timestamp(twin.as_of)
        on_empty_shelf = seen.on_hand[seen.columns["product"]] == 0
        step(twin)
        left, waited = shipped_today(twin), set(seen.lines.loc[on_empty_shelf, "order_line_id"])
        assert not left & waited
        weekdays |= {today.day_name()} if left & before else set()
        before = waited
    assert weekdays == {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}


def test_fates_are_those_that_the_tables_tell_event_by_event(company):
    tables = close(company)
    ordered = tables["order_lines"].set_index("order_line_id")
    found = fates(company, ordered.index)
    gone = [
        tables[name].groupby("order_line_id")["quantity"].sum().reindex(ordered.index).fillna(0)
        for name in ("shipments", "cancellations")
    ]
    is_over = ordered["quantity"] == gone[0] + gone[1]
    assert found[["shipped_on", "cancelled_on"]].notna().sum(axis=1).eq(is_over * 1).all()
    assert (gone[1][found["shipped_on"].notna()] < ordered["quantity"][found["shipped_on"].notna()]).all()
    never_shipped = is_over & (gone[0] == 0)
    assert found.loc[never_shipped, "cancelled_on"].notna().all()
    assert found.loc[is_over & (gone[1] == 0), "shipped_on"].notna().all()
    assert 0 < found["by_customer"].sum() < found["cancelled_on"].notna().sum()


def test_customers_drop_their_lines_as_often_as_the_hazards_say(company):
    twin, expected, dropped = fork(company), [], set()
    twin.rule = lambda seen: np.zeros(len(seen.columns["open"]), dtype=np.int64)
    for _ in range(40):
        today = customer_hazard(twin)
        expected.append(today["hazard"].to_numpy())
        step(twin)
        found = fates(twin, pd.Index(today["order_line_id"]))
        dropped |= set(found.index[found["by_customer"]])
    chance = np.concatenate(expected)
    assert len(dropped) > 20
    assert abs(len(dropped) - chance.sum()) < 3 * np.sqrt((chance * (1 - chance)).sum())


def test_a_look_has_the_lines_without_goods_and_the_dates_of_others_are_not_in_the_past(company, desk):
    seen = morning(company)
    decided = desk.decided(seen)
    rows = look(decided, seen).set_index("order_line_id")
    queue = decided.queue.set_index("order_line_id")
    assert set(rows.index) == set(queue.index[queue["action"].isin(["wait", "ship_part"])])
    today = pd.Timestamp(company.as_of).tz_localize(None).normalize()
    assert (rows["day"] == today).all()
    assert (rows["supplier_on"].dropna() >= today + 2 * DAY).all()
    assert (rows["receipt_latest_on"].dropna() >= rows["receipt_on"][rows["receipt_latest_on"].notna()]).all()
    says = seen.lines.set_index("order_line_id")["latest_promised_on"]
    pd.testing.assert_series_equal(rows["company_on"], says[rows.index], check_names=False, check_dtype=False)


@pytest.fixture(scope="module")
def told(company, desk):
    return dates_told(company, Mornings(n_telling=6, n_after=6), desk)


def test_each_line_is_told_on_its_first_morning_and_none_after_the_mornings_of_telling(company, desk, told):
    today = pd.Timestamp(company.as_of).tz_localize(None).normalize()
    assert told["order_line_id"].is_unique
    assert told["day"].between(today, today + 5 * DAY).all()
    assert (told["end_on"] == today + 11 * DAY).all()
    assert set(told.loc[told["is_backlog"], "order_line_id"]) <= set(waiting(company))
    assert told["is_backlog"].any()
    assert (~told["is_backlog"]).any()
    assert (told["shipped_on"].dropna() > told["day"][told["shipped_on"].notna()]).all()
    gone_on = told["shipped_on"].fillna(told["cancelled_on"]).fillna(told["end_on"])
    assert (told["spared"].map(len) == (gone_on - told["day"]).dt.days + 2).all()
    first = TellingDesk(desk).decided(morning(company)).queue.set_index("order_line_id")
    at_first = told[told["is_backlog"]].set_index("order_line_id")
    for name in ("expected_on", "expected_latest_on", "promise_on"):
        assert (at_first[name].fillna(START) == first.loc[at_first.index, name].fillna(START)).all(), name


def test_every_figure_has_its_row_and_the_rows_can_be_written(told, capsys):
    both = pd.concat([told.assign(company=seed) for seed in (1, 2)], ignore_index=True)
    rows = {row.figure: row for row in bench.section(both)}
    below, above = (rows[f"90 % date: met if customers stay, from {side}"] for side in ("below", "above"))
    assert (below.goal, above.goal, above.better) == (0.88, 0.92, "lower")
    assert below.value == pytest.approx(share_met(both, "expected_latest_on")[0])
    assert {row.peer for row in rows.values()} >= {bench.PLANNERS, bench.NEXT_RECEIPT}
    assert "date to tell: moves per line" in rows
    assert any(name.startswith("90 % date, top of its pool") for name in rows)
    json.dumps([row.row() for row in rows.values()], allow_nan=False)
    assert "lines told" in capsys.readouterr().out


def test_lengths_are_compared_on_lines_that_every_way_has_a_date_for(told):
    scores = bench._scores(told)
    some = told[scores["is_scored"]]
    assert 0 < len(some) < len(told)
    assert some["cancelled_on"].isna().all()
    assert some[["company_on", "supplier_on", "expected_latest_on", "promise_on"]].notna().all(axis=None)


def test_no_reported_company_is_one_that_was_chosen_on():
    assert not set(bench.SEEDS) & set(bench.CHOSEN_ON)
