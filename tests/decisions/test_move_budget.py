"""Moves spent over the parts of a book: against every choice, and bounds that none exceeds."""

from itertools import product

import numpy as np
import pytest

from decisions import move_budget
from decisions.move_budget import Frontier, best_within, is_exact, linear_bound


def random_frontiers(seed, n_parts=5):
    """Parts with up to five ways each; the first changes nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_parts):
        n_ways = int(rng.integers(0, 5))
        moves, gain = rng.integers(0, 6, n_ways), rng.uniform(-5, 30, n_ways).round(1)
        rows = np.append(0, moves), np.append(0.0, gain), np.arange(-1, n_ways)
        found.append(Frontier.of(*rows))
    return found


def best_of_every_choice(frontiers, n_moves):
    ways = product(*(range(len(front.moves)) for front in frontiers))
    pairs = [[(f.moves[w], f.gain[w]) for f, w in zip(frontiers, chosen, strict=True)] for chosen in ways]
    return max(sum(gain for _, gain in chosen) for chosen in pairs if sum(moves for moves, _ in chosen) <= n_moves)


def spent(frontiers, places):
    pairs = list(zip(frontiers, places.tolist(), strict=True))
    return sum(f.moves[p] for f, p in pairs), sum(f.gain[p] for f, p in pairs)


def test_the_moves_save_what_the_best_of_every_choice_saves():
    n_bound = 0
    for seed in range(901, 941):
        frontiers = random_frontiers(seed)
        for n_moves in range(12):
            moves, gain = spent(frontiers, best_within(frontiers, n_moves))
            assert moves <= n_moves
            assert is_exact(frontiers, n_moves)
            best = best_of_every_choice(frontiers, n_moves)
            assert gain == pytest.approx(best), (seed, n_moves)
            assert linear_bound(frontiers, n_moves) >= best - 1e-9
            n_bound += spent(frontiers, best_within(frontiers, 99))[0] > n_moves
    assert n_bound > 100  # the moves did not suffice for all


def test_where_the_table_is_too_large_the_choice_stays_within_the_moves_and_the_bound(monkeypatch):
    monkeypatch.setattr(move_budget, "EXACT_CELLS", 0)
    shares = []
    for seed in range(901, 941):
        frontiers = random_frontiers(seed, n_parts=6)
        for n_moves in (1, 3, 6, 9):
            moves, gain = spent(frontiers, best_within(frontiers, n_moves))
            best = best_of_every_choice(frontiers, n_moves)
            assert moves <= n_moves
            assert gain <= best + 1e-9 <= linear_bound(frontiers, n_moves) + 2e-9
            shares.append((gain + 1e-9) / (best + 1e-9))
            needs_all = spent(frontiers, np.array([len(f.moves) - 1 for f in frontiers]))[0] <= n_moves
            assert is_exact(frontiers, n_moves) == needs_all
    assert np.mean(shares) > 0.9
    assert min(shares) < 1


def test_of_equal_money_the_fewest_moves_are_made():
    few = Frontier(np.array([0, 1]), np.array([0.0, 5.0]), np.arange(2))
    many = Frontier(np.array([0, 3]), np.array([0.0, 5.0]), np.arange(2))
    assert best_within([many, few], 3).tolist() == [0, 1]


def test_an_exchange_is_a_step_to_the_way_that_saves_most_per_move():
    # 30 by one move, 40 more by the second, which together are one exchange of 35 a move; then 20, then 26 by two.
    front = Frontier(np.array([0, 1, 2, 3, 5]), np.array([0.0, 30.0, 70.0, 90.0, 116.0]), np.arange(5))
    assert front.steps() == [0, 2, 3, 4]
    assert [front.worth_more_than(money) for money in (69, 70, 25, 20, 10)] == [2, 0, 4, 4, 4]
    beyond = front.beyond(2)
    assert (beyond.moves.tolist(), beyond.gain.tolist()) == ([0, 1, 3], [0, 20, 46])


def test_nothing_to_choose_from_needs_no_moves():
    assert best_within([], 3).tolist() == []
    assert linear_bound([], 3) == 0
