from datetime import datetime
from typing import get_args

import pandas as pd
import pytest

from decisions.queue_columns import DATE, QUEUE_COLUMNS
from decisions.reasons import Line, Wording, reasons
from erp.queue_fields import ALLOWED, REQUIRED, QueueFields, as_scalar, reason_without_people
from erp.rank_encoding import FieldKind
from erp.settings import SettingsError
from pipelines.delivery import rows_of


def test_every_column_that_may_be_sent_is_one_of_the_queue_and_of_its_type():
    queue = {column.name: column.dtype for column in QUEUE_COLUMNS}
    kinds = {"int64": "whole", "Int64": "whole", "float64": "number", "str": "text", DATE: "day"}
    assert {name: kinds[queue[name]] for name in ALLOWED} == ALLOWED
    assert set(ALLOWED.values()) == set(get_args(FieldKind))


def test_no_name_of_a_customer_a_product_or_a_person_may_be_sent():
    personal = {
        "customer_name",
        "product_name",
        "owner",
        "override_who",
        "override_why",
        "customer_reference",
        "segment",
    }
    assert personal < {column.name for column in QUEUE_COLUMNS}
    assert personal.isdisjoint(ALLOWED)


def test_wishes_name_every_column_by_the_queues_name_and_come_back_unchanged():
    fields = QueueFields.from_tables({"rank": "prio", "ship_now_quantity": "qty", "promise_on": "due"}, {})
    queue = pd.DataFrame(
        {
            "order_line_id": ["007", "b"],
            "rank": [1, 2],
            "ship_now_quantity": [1.5, 0.0],
            "promise_on": pd.to_datetime(["2026-03-09", None]).astype("datetime64[s]"),
        }
    )
    wishes = fields.wishes(rows_of(queue), dict)
    assert wishes == {
        "007": {"rank": 1, "ship_now_quantity": 1.5, "promise_on": "2026-03-09"},
        "b": {"rank": 2, "ship_now_quantity": 0.0, "promise_on": None},
    }
    assert list(wishes) == ["007", "b"]
    assert fields.outward(wishes["007"]) == {"prio": 1, "qty": 1.5, "due": "2026-03-09"}
    assert all(fields.inward(fields.outward(values)) == values for values in wishes.values())


@pytest.mark.parametrize("override", ["pin", "hold", "exclude"])
@pytest.mark.parametrize("action", ["ship", "wait", "hold"])
def test_a_reason_is_sent_without_the_planners_own_words(override, action):
    who, why = "Canary Ann", "Canary Ltd called."
    line = dict.fromkeys(Line._fields, 1.0) | {"override": override, "action": action, "override_who": who}
    line |= {"override_why": why, "alternative_said": "", "rule": None, "passed_over": None, "override_n_lines": 1}
    spoken = reasons(pd.DataFrame([line | {"assumed": None}]), Wording("EUR", 30, 10))[0]
    sent = reason_without_people({"reason": spoken, "override_who": who, "override_why": why})
    assert "Canary" not in sent
    if "Canary" in spoken:
        assert sent == spoken.replace(" by Canary Ann: Canary Ltd called", "")


def test_a_reason_without_a_planners_word_is_sent_as_it_stands():
    row = {"reason": "Ships: 5 EUR would be lost.", "override_who": None, "override_why": None}
    assert reason_without_people(row) == row["reason"]
    assert reason_without_people({**row, "reason": None}) is None


def test_a_field_that_is_not_shown_is_missing_and_none_is_none():
    fields = QueueFields.from_tables({"rank": "prio", "ship_now_quantity": "qty"}, {})
    assert fields.inward({"prio": None, "other": 5}) == {"rank": None}


@pytest.mark.parametrize(
    ("kind", "there", "value"),
    [
        ("number", "3", 3.0),
        ("whole", 3.0, 3),
        ("whole", "7", 7),
        ("whole", 7.5, 7.5),
        ("number", "much", "much"),
        ("number", float("inf"), "inf"),
        ("number", float("nan"), None),
        ("day", datetime(2026, 3, 9, 5), "2026-03-09"),
        ("day", "2026-03-09T00:00:00Z", "2026-03-09"),
        ("text", 7, "7"),
    ],
)
def test_what_is_held_in_another_form_is_read_as_the_same_value(kind, there, value):
    assert as_scalar(kind, there) == value


@pytest.mark.parametrize(
    ("fields", "dates"),
    [
        (REQUIRED, None),
        ([*REQUIRED, "expected_on"], "expected_on"),
        ([*REQUIRED, "expected_on", "promise_on"], "promise_on"),
    ],
)
def test_the_date_that_customers_go_by_is_the_promise_where_it_is_sent(fields, dates):
    assert QueueFields.from_tables(fields, {}).date_column == dates


@pytest.mark.parametrize(
    ("fields", "rank", "said"),
    [
        (["rank", "ship_now_quantity", "owner"], {}, "fields: unknown owner; known are action, advice"),
        (["ship_now_quantity"], {}, "fields lacks rank"),
        ({"rank": "a", "ship_now_quantity": "a"}, {}, "gives two columns the same name"),
        ({"rank": 1, "ship_now_quantity": "a"}, {}, "is a list of the queue's columns"),
        ("rank", {}, "is a list of the queue's columns"),
        (REQUIRED, "dense", "rank is 'dense'; it is a table"),
    ],
)
def test_fields_that_cannot_be_used_are_named(fields, rank, said):
    with pytest.raises(SettingsError) as refused:
        QueueFields.from_tables(fields, rank)
    assert said in str(refused.value)
