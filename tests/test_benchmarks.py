"""What the benchmarks print and write: the rows' form, and how the queue's figures come from money lost."""

import json
import math

import pandas as pd
import pytest

from tests.benchmarks.queue_value import FIFO, FOR_ORIENTATION, LIFETIME_VALUE, PEERS, QUEUE, TRUTH, gap_shares, savings
from tests.figures import Figure, show

NAMES = {"figure", "value", "low", "high", "goal", "better", "peer", "peer_value", "met"}


def lost(**given):
    """Two companies in which every rule loses 100 and 200 unless told otherwise."""
    names = [*PEERS, *FOR_ORIENTATION, QUEUE, TRUTH]
    return pd.DataFrame({name: [100.0, 200.0] for name in names}).assign(**given)


def test_rows_are_written_with_the_names_that_were_agreed_and_unknown_cells_are_null(tmp_path, capsys):
    show(
        [Figure("seconds", 3.0, goal=5.0, better="lower", peer="another", peer_value=9.0), Figure("seen", 7.0)],
        tmp_path / "f",
    )
    rows = json.loads((tmp_path / "f").read_text())
    assert [set(row) for row in rows] == [NAMES, NAMES]
    assert rows[0]["met"] is True
    assert (rows[0]["low"], rows[1]["goal"], rows[1]["met"]) == (None, None, None)
    assert "another 9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("low", "high", "better", "met"), [(1, 3, "higher", False), (2, 3, "higher", True), (1, 2, "lower", True)]
)
def test_a_goal_for_the_interval_is_met_by_its_worse_end(low, high, better, met):
    assert Figure("saved", 2.0, low, high, 2.0, better, must_hold="interval").met is met


def test_what_the_queue_saves_is_the_mean_over_companies_of_its_share_of_each_peers_loss():
    # 10 of 100 and 40 of 200 saved: 10 % and 20 %, mean 15 %; t(.975, 1) = 12.706 times .0707 / sqrt(2).
    rows = {row.peer: row for row in savings(lost(**{QUEUE: [90.0, 160.0]}))}
    assert set(rows) == {FIFO, "promise date", "margin", "typed priority", LIFETIME_VALUE}
    assert rows[FIFO].value == pytest.approx(0.15)
    assert rows[FIFO].high - rows[FIFO].value == pytest.approx(12.706 * 0.05, rel=1e-4)
    assert rows[FIFO].met is False
    even = savings(lost(**{QUEUE: [90.0, 180.0]}))
    assert all(row.met for row in even)


def test_shares_of_the_gap_are_ratios_of_sums_and_the_queue_stands_beside_the_best_peer():
    table = lost(
        **{TRUTH: [60.0, 140.0], QUEUE: [70.0, 170.0], LIFETIME_VALUE: [90.0, 160.0], "margin": [120.0, 220.0]}
    )
    rows = {row.figure.rpartition(" by ")[2]: row for row in gap_shares(table)}
    assert rows[QUEUE].value == pytest.approx(0.6)  # (30 + 30) / (40 + 60)
    assert (rows[QUEUE].peer, rows[QUEUE].peer_value) == (LIFETIME_VALUE, pytest.approx(0.5))
    assert rows["margin"].value == pytest.approx(-0.4)
    assert (rows[QUEUE].low, rows[QUEUE].high) == (pytest.approx(0.5), pytest.approx(0.75))  # each company alone
    assert math.isnan(rows["margin"].goal)
