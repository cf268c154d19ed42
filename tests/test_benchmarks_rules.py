"""What the benchmark of the rules' cost rests on: its books, and laws that its figures keep."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import tests.benchmarks.rules as bench
from decisions.policy import Policy

SMALL = [replace(book, n_lines=400) for book in bench.BOOKS]


def test_protecting_more_of_the_fair_share_never_costs_less_and_giving_by_money_costs_nothing():
    figures = {figure.figure: figure.value for figure in bench.every(SMALL, (901, 902))}
    assert len(figures) == len(SMALL) * (len(bench.PUBLISHED) + len(bench.STRATEGIES))
    for book in SMALL:
        protects = [value for name, value in figures.items() if name.startswith(f"{book.name}: cost of protecting")]
        assert protects == sorted(protects)
        assert 0 < protects[0] < protects[-1] < 1
        of_strategy = {s: figures[f"{book.name}: cost of strategy {s} for segment key"] for s in bench.STRATEGIES}
        assert of_strategy["redistribute"] == 0
        assert all(cost >= 0 for cost in of_strategy.values())


def test_a_strategy_costs_what_is_saved_less_of_what_could_be():
    lines, pools = bench.back_orders(SMALL[0], 903)
    free = bench.saved(lines, pools, Policy())
    assert free > 0
    assert bench.cost_of("skip", lines, pools) > 0
    assert set(lines["segment"]) == set(bench.WORTH)
    assert (lines["soft_reserved_quantity"] <= lines["open_quantity"] / 4).all()


def test_the_mean_of_books_stands_in_its_t_interval():
    figure = bench.mean_of("x", np.array([1.0, 2.0, 3.0]))
    half = 4.302653 / 3**0.5  # Student's t with 2 degrees of freedom, two-sided 95 %
    assert [figure.value, figure.low, figure.high] == pytest.approx([2, 2 - half, 2 + half])


def test_the_command_writes_the_rows_that_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BOOKS", SMALL[:1])
    monkeypatch.setattr(sys, "argv", ["rules.py", "--quick", "--json", str(tmp_path / "rows.json")])
    bench.main()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == len(bench.PUBLISHED) + len(bench.STRATEGIES)
    assert all(row["figure"] in capsys.readouterr().out for row in rows[:1])
