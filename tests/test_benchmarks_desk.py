"""What the benchmark of the planner's desk rests on: its books, and laws that its figures keep."""

import json
import sys

import numpy as np
import pytest

import tests.benchmarks.desk as bench
from decisions.allocation import give_out
from decisions.policy import Policy

SMALL = bench.Book(200, 20, tied_share=0.05)


def test_a_plan_that_may_not_move_forgoes_most_and_one_that_may_move_everything_nothing():
    figures = {figure.figure: figure.value for figure in bench.steady(bench.Book(200, 0), (901,))}
    forgone = [figures[f"200 lines, at most {moves} moves: forgone of what could be saved"] for moves in bench.MOVES]
    assert forgone == sorted(forgone, reverse=True)
    assert forgone[0] > forgone[-1] == pytest.approx(0)


def test_every_word_of_a_small_book_is_priced():
    spent, unpriced = bench.priced([SMALL], (902, 903))
    assert unpriced.value == 0
    assert 0 < spent.low <= spent.value <= spent.high


def test_waiting_loses_more_the_later_it_is_served_and_goods_are_short_today():
    lines, pools = bench.back_orders(SMALL, 904)
    loss = bench.loss_of(lines, pools, 904)
    assert (np.diff(np.column_stack([loss.cost, loss.cost_without]), axis=1) >= 0).all()
    assert 0 < pools["available_now"].sum() < lines["open_quantity"].sum()
    given = give_out(lines, pools, Policy()).ship_now_quantity.to_numpy(float)
    nobody = np.zeros(len(lines), dtype=bool)
    assert loss.by_pool(given, nobody).sum() < loss.by_pool(np.zeros(len(lines)), nobody).sum()


def test_the_command_prints_and_writes_its_quick_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["desk.py", "--quick", "--json", str(tmp_path / "rows.json")])
    bench.main()
    rows = json.loads((tmp_path / "rows.json").read_text())
    printed = capsys.readouterr().out
    assert all(row["figure"] in printed for row in rows)
    assert rows[0]["goal"] == bench.HELP_GOAL
