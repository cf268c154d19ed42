"""The sentences a planner reads, word by word."""

import numpy as np
import pytest

from decisions.reasons import Wording, reasons
from tests.decisions.open_lines import open_lines

EUR = Wording(currency="EUR", horizon_days=180, default_wait_days=14)
LINE = {
    "action": "ship",
    "loss_if_waits": 18.38,
    "loss_cancel": 10.50,
    "loss_future_orders": 7.88,
    "loss_service": 0.0,
    "loss_later_goods": 0.0,
    "wait_days": 10.0,
    "wait_source": "inbound",
    "available_now": 1.0,
    "ship_now_quantity": 1.0,
    "passed_over": None,
    "served_price": 18.38,
}
WAITS = {
    "action": "wait",
    "ship_now_quantity": 0.0,
    "loss_if_waits": 8.61,
    "loss_cancel": 8.61,
    "loss_future_orders": 0.0,
}
PINNED = {"override": "pin", "override_who": "Ann", "override_why": "trade fair."}


def sentence(**columns):
    """Return the one sentence for a line that ships unless `columns` say otherwise."""
    return reasons(open_lines(1, **{**LINE, **columns}), EUR).item()


def test_a_line_that_ships_names_what_waiting_would_lose():
    assert sentence() == (
        "Ships: 18.38 EUR would be lost by waiting about 10 days (10.50 this order, 7.88 future orders)."
    )
    assert sentence(action="ship_part", open_quantity=5.0, ship_now_quantity=3.0).startswith("Ships 3 of 5: 18.38 EUR")


def test_a_line_that_ships_in_part_says_what_keeps_the_rest_unless_the_goods_are_gone():
    part = {"action": "ship_part", "open_quantity": 5.0, "ship_now_quantity": 3.0}
    assert sentence(**part).endswith("future orders).")
    assert sentence(**part, passed_over="step").endswith("; it ships in steps that the goods left do not fill.")


def test_a_loss_of_one_term_is_not_taken_apart():
    assert sentence(**{**WAITS, "action": "ship"}) == "Ships: 8.61 EUR would be lost by waiting about 10 days."


def test_a_line_that_waits_names_where_the_goods_go():
    assert sentence(**WAITS) == (
        "Waits about 10 days: 8.61 EUR expected loss;"
        " the goods go to lines that lose more per unit (18.38 against 8.61)."
    )


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"available_now": 0.0, "served_price": np.nan}, "; no goods are here."),
        ({"served_price": 8.61}, "; the goods go to lines that lose as much per unit (8.61 against 8.61)."),
        (
            {"open_quantity": 3.0, "served_price": 1.0},
            "; it ships only in whole, and 1 of the 3 units are here.",
        ),
        ({"served_price": np.nan}, "; the goods go to pinned lines."),
        ({"served_price": 2.0}, "; the goods save more on other lines together."),
        ({"served_price": 2.0, "passed_over": "shipment"}, "; a part would save less than the shipment costs."),
        ({"available_now": 1e-12}, "; no goods are here."),
        (
            {"served_price": 18.38, "passed_over": "pin"},
            "; goods went to a pinned line, or stay with one that keeps them.",
        ),
        ({"rule": "12 units are kept for segment key"}, "; 12 units are kept for segment key."),
        ({"served_price": 2.0, "ship_group": "g"}, "; not all lines that must ship together with it can ship."),
    ],
)
def test_a_line_that_waits_says_why_no_goods_are_left_for_it(columns, text):
    assert sentence(**{**WAITS, **columns}).endswith(text)


def test_the_wait_says_when_it_is_one_day_unknown_or_assumed():
    assert sentence(**WAITS, wait_days=1.0).startswith("Waits about 1 day: ")
    assert sentence(**WAITS, wait_days=np.nan).startswith("Waits longer than 180 days: ")
    assumed = {"available_now": 0.0, "wait_days": 14.0, "wait_source": "default wait"}
    assert sentence(**{**WAITS, **assumed}) == (
        "Waits about 14 days: 8.61 EUR expected loss; no goods are here;"
        " no inbound line is known, so 14 days are assumed."
    )
    assert "none is on order, so it is expected as such goods are usually ordered" in sentence(
        wait_source="fresh lead time"
    )


def test_planners_are_named_with_their_reason():
    assert sentence(**PINNED) == "Ships: pinned by Ann: trade fair."
    held = {"action": "hold", "override": "hold", "override_who": "Ann", "override_why": "recall"}
    assert sentence(**held) == "Held by Ann: recall; 18.38 EUR expected loss by waiting about 10 days."
    assert sentence(action="hold", override="exclude", override_who="Ann") == "Excluded by Ann."
    assert sentence(**{**WAITS, **PINNED, "available_now": 0.0}).endswith(
        "no goods are here; pinned by Ann: trade fair."
    )


@pytest.mark.parametrize(
    ("cost", "n_lines", "said"),
    [
        (412.1, 1, "; the pin costs 412.10 EUR."),
        (412.1, 3, "; the pin of 3 lines costs 412.10 EUR."),
        (0.001, 1, "; the pin costs nothing this morning."),
        (-3.0, 1, "; the pin saves 3.00 EUR beside the rest."),
        (np.nan, 1, ": trade fair."),
    ],
)
def test_a_planners_word_is_told_with_what_it_costs(cost, n_lines, said):
    costs = {"override_cost": cost, "override_n_lines": n_lines}
    assert sentence(**PINNED, **costs).endswith(said)
    assert sentence(**PINNED | {"override": "exclude"}, action="hold", **costs).endswith(
        said.replace("pin", "exclusion")
    )


def test_a_credit_hold_is_named_and_outweighs_a_pin():
    assert sentence(action="hold", credit_hold=True) == "Held: the customer is on credit hold."
    assert sentence(action="hold", credit_hold=True, **PINNED) == (
        "Held: the customer is on credit hold, which a pin does not lift."
    )


def test_a_line_that_costs_more_to_serve_says_so():
    negative = {"loss_if_waits": -5.0, "loss_cancel": -5.0, "loss_future_orders": 0.0}
    assert sentence(**negative) == (
        "Ships: it costs 5.00 EUR more to serve than to pass over, but no other line can use these goods."
    )
    assert sentence(**{**WAITS, **negative}).startswith(
        "Waits about 10 days: it costs 5.00 EUR more to serve than to pass over; the goods go to lines that lose more"
    )
