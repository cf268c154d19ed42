"""The list of exceptions: what stands in it, its order, and what makes a whole queue doubtful."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from decisions.exception_columns import EXCEPTION_COLUMNS, KINDS
from decisions.exceptions import Morning, exception_facts, exceptions
from decisions.fulfilment_queue import RunFacts
from decisions.lost_goods import SinceLast
from decisions.override_columns import CANNOT_BE_MET, CONTRADICTED, EXPIRED, IN_FORCE, NAMES_NOTHING, OVERRIDE_COLUMNS
from decisions.policy import Policy
from decisions.queue_columns import typed
from tests.decisions.published_queues import EMPTY, day, left, published_queue, the_day_before

RUN = RunFacts(run_id="r1", as_of=datetime(2026, 1, 15, 5, tzinfo=UTC), currency="EUR")
NOTHING_REJECTED = pd.DataFrame(columns=["table", "file", "row", "column", "rule", "value"])
NOTHING_ASIDE = pd.DataFrame({"order_line_id": [], "reason": []})
FREE = {"moves_wanted": None, "moves_from_plan": None, "forgone": None}


def words(n_words, **columns):
    """Words W0, W1, ... about lines L0, L1, ..., in force until a month from now."""
    usual = {
        "order_line_id": [f"L{i}" for i in range(n_words)],
        "action": "pin",
        "who": "Ada",
        "why": "fair",
        "made_at": pd.Timestamp("2026-01-10 09:00"),
        "until_on": day(31),
        "days_left": 31,
        "status": IN_FORCE,
        "said": "The pin rules 1 line.",
        "n_lines": 1,
        "n_lines_ruled": 1,
        "cost": 5.0,
        "currency": "EUR",
        "run_id": "r1",
        "as_of": pd.Timestamp("2026-01-15 05:00"),
    }
    values = {column.name: EMPTY.get(column.dtype) for column in OVERRIDE_COLUMNS} | usual | columns
    frame = pd.DataFrame(values, index=range(n_words))
    return pd.DataFrame({column.name: typed(frame[column.name], column.dtype) for column in OVERRIDE_COLUMNS})


def listed(queue, then=None, moved=None, policy=None, group=None, **given):
    of_line = {"group_waits_elsewhere": False, "credit_hold": False, "may_split": True, "quantity_step": 1.0}
    lines = queue[["order_line_id"]].assign(ship_group=group, **of_line)
    morning = Morning(
        queue=queue,
        lines=lines,
        since=None if then is None else SinceLast(then, left() if moved is None else moved),
        rejected=given.get("rejected", NOTHING_REJECTED),
        not_ranked=given.get("not_ranked", NOTHING_ASIDE),
        overrides=given.get("overrides", words(0)),
        stability=given.get("stability", FREE),
    )
    return exceptions(morning, RUN, policy or Policy())


def test_a_quiet_morning_has_no_exceptions_and_its_columns_all_the_same():
    for queue in (published_queue(0), published_queue(2)):
        rows = listed(queue)
        assert rows.empty
        assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == {c.name: c.dtype for c in EXCEPTION_COLUMNS}
        assert exception_facts(rows) == {"n": 0, "kinds": {kind: {"n": 0, "money": 0.0} for kind in KINDS}}


@pytest.mark.parametrize(("loss", "is_listed"), [(999.99, False), (1000.0, True), (1999.0, False), (2000.0, True)])
def test_money_that_waits_counts_for_the_units_that_wait(loss, is_listed):
    half = 5.0 if loss > 1500 else 0.0  # then half of the line ships
    rows = listed(published_queue(1, loss_if_waits=loss, ship_now_quantity=half))
    assert rows["kind"].tolist() == ["large_loss"] * is_listed
    if is_listed:
        assert rows["money"].tolist() == [1000.0]


@pytest.mark.parametrize(
    ("columns", "do"),
    [
        ({"action": "hold", "next_inbound_po_line_id": "PO1"}, "see that the hold is meant"),
        ({"advice": "transfer", "next_inbound_po_line_id": "PO1"}, "follow its advice: transfer"),
        ({"next_inbound_po_line_id": "PO1"}, "hasten PO1"),
        ({}, "order goods: none are on order"),
    ],
)
def test_what_to_do_about_much_money_depends_on_what_there_is(columns, do):
    assert listed(published_queue(1, loss_if_waits=5e3, **columns))["do"].tolist() == [do]


def test_what_makes_the_queue_doubtful_stands_first_then_words_then_lines_by_money():
    queue = published_queue(
        4,
        loss_if_waits=[2000.0, 3000.0, 50.0, 60.0],
        available_now=10.0,
        ship_now_quantity=[0, 0, 10.0, 0],
        assumed=["unit cost", None, None, None],
        customer_name=["Ann", "Bob", "Cid", "Dan"],
    )
    then = the_day_before(queue, ship_now_quantity=[0, 0, 0, 10.0], assumed=None)
    rows = listed(queue, then, overrides=words(2, status=CANNOT_BE_MET, cost=[1.0, 9.0]))
    assert rows["kind"].tolist() == [
        *("assumed", "override_not_met", "override_not_met", "large_loss", "large_loss", "lost_goods")
    ]
    assert rows["order_line_id"].tolist()[1:] == ["L1", "L0", "L1", "L0", "L3"]
    assert rows["customer_name"].tolist()[3:] == ["Bob", "Ann", "Dan"]
    assert rows["priority"].tolist() == [1, 2, 3, 4, 5, 6]
    facts = exception_facts(rows)
    assert facts["n"] == 6
    assert facts["kinds"]["large_loss"] == {"n": 2, "money": 5000.0}


def test_broken_laws_are_listed_each_with_its_rows_and_order_lines_set_aside_in_one_row():
    rejected = pd.DataFrame(
        {
            "table": ["stock", "stock", "shipments"],
            "file": "f",
            "row": [1, 2, 7],
            "column": ["on_hand", "on_hand", "quantity"],
            "rule": ["on_hand >= 0", "on_hand >= 0", "quantity > 0"],
            "value": ["-5", "-6", "0"],
        }
    )
    aside = pd.DataFrame({"order_line_id": ["A", "B", "C", "D"], "reason": "a row of shipments breaks a law"})
    rows = listed(published_queue(1), rejected=rejected, not_ranked=aside)
    assert rows["said"].tolist() == [
        "4 order lines are neither ranked nor learned from, e.g. A, B, C: their rows break a law.",
        "shipments: 1 row set aside, quantity breaks the law 'quantity > 0', e.g. 0.",
        "stock: 2 rows set aside, on_hand breaks the law 'on_hand >= 0', e.g. -5, -6.",
    ]
    assert rows["money"].isna().all()
    only = listed(published_queue(1), not_ranked=aside.head(1))
    assert only["order_line_id"].tolist() == ["A"]
    assert only["said"].tolist() == [
        "Order line A is neither ranked nor learned from: a row of shipments breaks a law."
    ]


def test_an_assumption_is_an_exception_once_and_not_again_where_only_its_numbers_differ():
    risk = "cancellation risk ({} % too low on later days)"
    queue = published_queue(2, assumed=[risk.format(12.5) + "; unit cost", risk.format(12.5)])
    new = listed(queue, the_day_before(queue, assumed="wait (no inbound line)"))
    assert new["said"].tolist() == [
        "Cancellation risk (12.5 % too low on later days): assumed, not measured, for 2 of 2 lines, as it was not in"
        " the last queue.",
        "Unit cost: assumed, not measured, for 1 of 2 lines, as it was not in the last queue.",
    ]
    assert new["money"].tolist() == [80.0, 40.0]
    assert listed(queue, the_day_before(queue, assumed=risk.format(9) + "; unit cost")).empty
    assert len(listed(queue)) == 2, "without a last queue all are new"


def test_money_forgone_for_a_steady_plan_is_said_and_none_is_not():
    stability = {"moves_wanted": 12, "moves_from_plan": 3, "forgone": 340.2}
    rows = listed(published_queue(1), stability=stability)
    assert rows["kind"].tolist() == ["plan_kept"]
    assert rows["said"].tolist() == [
        "Goods stay where the last queue put them: of 12 lines whose units should change 3 do, and 340.20 EUR are"
        " forgone."
    ]
    assert listed(published_queue(1), stability=stability | {"forgone": 0.0}).empty


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ({"status": CANNOT_BE_MET, "days_left": 0, "until_on": day(0)}, "override_not_met"),
        ({"status": CONTRADICTED}, "override_contradicted"),
        ({"status": IN_FORCE, "days_left": 0, "until_on": day(0)}, "override_expires"),
        ({"status": IN_FORCE, "days_left": 2, "until_on": day(2)}, "override_expires"),
        ({"status": IN_FORCE, "days_left": 3, "until_on": day(3)}, None),
        ({"status": NAMES_NOTHING, "days_left": 1, "until_on": day(1), "n_lines_ruled": 0}, None),
        ({"status": EXPIRED, "days_left": -1, "until_on": day(-1)}, "override_expired"),
        ({"status": EXPIRED, "days_left": -2, "until_on": day(-2)}, None),  # the last queue said so
    ],
)
def test_a_word_is_looked_at_again_if_it_is_not_met_contradicted_newly_over_or_soon_to_end(word, kind):
    queue = published_queue(1, promised_on=day(-5), days_late=5)
    then = the_day_before(queue, days_late=4)
    rows = listed(queue, then, overrides=words(1, **word))
    assert rows["kind"].tolist() == [kind] * (kind is not None)
    if kind is not None:
        assert (rows["order_line_id"].tolist(), rows["money"].tolist()) == (["L0"], [5.0])
    if kind == "override_expires":
        when = {0: "today", 2: "in 2 days"}[word["days_left"]]
        assert rows["said"].tolist() == [f"The pin rules 1 line; it ends {when}."]


def test_a_word_about_a_customer_keeps_its_own_id_and_a_line_takes_its_ids_from_the_queue():
    about = words(1, order_line_id=None, customer_id="c9", status=CONTRADICTED)
    row = listed(published_queue(1, customer_id="c1"), overrides=about).iloc[0]
    assert (row["customer_id"], pd.isna(row["order_line_id"]), pd.isna(row["product_id"])) == ("c9", True, True)
    row = listed(published_queue(1, customer_id="c1", loss_if_waits=1e4), group="g").iloc[0]
    assert row[["customer_id", "product_id", "warehouse_id", "ship_group"]].tolist() == ["c1", "p", "w", "g"]


def test_the_order_of_rows_does_not_matter():
    draw = np.random.default_rng(3)
    n = 40
    queue = published_queue(
        n,
        product_id=draw.choice(["p", "q"], n),
        ship_now_quantity=draw.choice([0.0, 10.0], n),
        loss_if_waits=draw.choice([500.0, 1500.0], n),
        assumed=draw.choice(["unit cost", "next order"], n),
    )
    then = the_day_before(queue, ship_now_quantity=draw.choice([0.0, 10.0], n), assumed=None, expected_on=day(20))
    moved = left(**{f"L{i}": (1.0, 0.0) for i in range(0, n, 3)})
    said = words(n, status=draw.choice([CANNOT_BE_MET, EXPIRED], n), until_on=day(-1))
    rejected = NOTHING_REJECTED.reindex(range(4)).assign(table=["b", "a", "b", "a"], column="x", rule="r", value="v")
    want = listed(queue, then, moved, rejected=rejected, overrides=said)
    assert want["kind"].nunique() >= 6
    again = [frame.sample(frac=1, random_state=1) for frame in (queue, then, moved, said)]
    got = listed(*again[:3], rejected=rejected.iloc[::-1], overrides=again[3])
    pd.testing.assert_frame_equal(want, got, check_exact=True)
