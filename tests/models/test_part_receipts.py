"""What comes at once of what an inbound line owes."""

import pandas as pd
import pytest

from models.part_receipts import PartReceipts, learn_parts

TODAY = pd.Timestamp("2026-01-31")


def rows(*receipts):
    """(line, day of January, part) of lines that owe 10 each."""
    line, day, part = zip(*receipts, strict=True)
    received = pd.to_datetime([f"2026-01-{d:02}" if d else None for d in day])
    return pd.DataFrame({"po_line_id": line, "received_on": received, "part_quantity": part, "quantity": 10.0})


def test_parts_are_shares_of_what_is_owed_and_their_rests_are_waited_for():
    told = rows(("a", 1, 4.0), ("a", 5, 3.0), ("a", 11, 3.0), ("b", 3, 10.0), ("c", 21, 5.0), ("d", 0, float("nan")))
    parts = learn_parts(told, TODAY)
    # Five receipts: of a 4 of 10, 3 of 6 and the last 3; of b all; of c half, its rest not come after 10 days.
    assert parts.whole_share == pytest.approx((2 + 1) / (5 + 1))
    assert parts.part_share == pytest.approx((0.4 + 0.5 + 0.5) / 3)
    assert parts.gap_days == pytest.approx((4 + 6 + 10) / 2)
    assert learn_parts(told.iloc[::-1], TODAY) == parts


def test_where_all_came_in_whole_or_nothing_came_nothing_comes_in_parts():
    assert learn_parts(rows(("a", 1, 10.0), ("b", 2, 12.0)), TODAY) == PartReceipts()
    assert learn_parts(rows(("a", 0, float("nan"))), TODAY) == PartReceipts()


def test_what_came_today_is_not_known_yet_and_a_rest_that_never_came_is_not_waited_for_forever():
    today = pd.Timestamp("2027-01-31")
    told = rows(("a", 1, 4.0), ("a", 5, 6.0), ("b", 3, 5.0))
    assert learn_parts(told, today).gap_days == 4 + 90
    late = pd.concat([told, told.tail(1).assign(received_on=today)])
    assert learn_parts(late, today) == learn_parts(told, today)


def test_goods_beyond_what_was_owed_are_no_part():
    assert learn_parts(rows(("a", 1, 10.0), ("a", 9, 2.0)), TODAY).whole_share == 1
