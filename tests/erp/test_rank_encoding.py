import random
from datetime import date
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erp.rank_encoding import ENCODINGS, RankEncoding, decimal_places
from erp.settings import SettingsError

ABC = ["a", "b", "c", "d", "e"]
STRICT = {
    "dense": {},
    "padded": {"width": 4},
    "date": {"base_on": "2000-01-01"},
    "decimal": {},
}
TYING = {"classes": {"classes": 3}, "star": {"stars": 2}}


def encoding(name, **more):
    return RankEncoding.from_table({"encoding": name, **more})


def said(made, lines, held=None):
    ranks = made.encode(lines, held)
    return [ranks[line] for line in lines]


def test_what_each_encoding_says_of_five_lines():
    assert said(encoding("dense"), ABC) == [1, 2, 3, 4, 5]
    assert said(encoding("padded", width=3), ABC) == ["001", "002", "003", "004", "005"]
    assert said(encoding("classes", classes=2), ABC) == [1, 1, 1, 2, 2]
    assert said(encoding("classes", classes=2, width=2), ABC) == ["01", "01", "01", "02", "02"]
    assert said(encoding("date", base_on=date(2000, 1, 31)), ABC)[:2] == ["2000-02-01", "2000-02-02"]
    assert said(encoding("date", base_on="2000-01-01", classes=1), ABC) == ["2000-01-02"] * 5
    assert said(encoding("decimal"), ABC) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert said(encoding("star", stars=2), ABC) == ["1", "1", "0", "0", "0"]


@pytest.mark.parametrize("name", STRICT)
def test_the_encodings_without_ties_rise_strictly(name):
    values = said(encoding(name, **STRICT[name]), [str(n) for n in range(1500)])
    assert all(a < b for a, b in pairwise(values))


@pytest.mark.parametrize("name", TYING)
def test_the_encodings_that_tie_never_turn_two_lines_round(name):
    values = said(encoding(name, **TYING[name]), [str(n) for n in range(1500)])
    first = [-int(value) if name == "star" else value for value in values]
    assert first == sorted(first)
    assert len(set(first)) < len(first)


def test_every_encoding_is_either_strict_or_said_to_tie():
    assert set(ENCODINGS) == STRICT.keys() | TYING.keys()


@given(st.integers(1, 400), st.integers(1, 50))
def test_classes_take_equal_shares_of_the_lines(n_lines, n_classes):
    values = said(encoding("classes", classes=n_classes), [str(n) for n in range(n_lines)])
    sizes = [values.count(n) for n in set(values)]
    assert set(values) <= set(range(1, n_classes + 1))
    assert max(sizes) - min(sizes) <= 1


def test_no_lines_have_no_ranks():
    for name, needed in {**STRICT, **TYING}.items():
        assert encoding(name, **needed).encode([]) == {}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"encoding": "padded", "width": 1}, "rank 10 does not fit into 1 digits, which end at 9"),
        ({"encoding": "dense", "largest": 9}, "rank 10 does not fit into the largest number of its field"),
        ({"encoding": "decimal", "largest": 9}, "rank 10 does not fit"),
        ({"encoding": "date", "base_on": "9999-12-25"}, "day 7 after 9999-12-25 does not exist"),
    ],
)
def test_a_rank_that_its_form_cannot_hold_is_refused_and_never_cut_off(table, text):
    with pytest.raises(SettingsError) as refused:
        RankEncoding.from_table(table).encode([str(n) for n in range(10)])
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"encoding": "roman"}, "encoding is 'roman'; it is one of dense, padded, classes, date, decimal, star"),
        ({"encoding": "padded"}, "encoding padded needs width"),
        ({"encoding": "dense", "width": 3}, "unknown width; known are encoding, largest"),
        ({"encoding": "classes", "classes": 100, "width": 2}, "classes 100 does not fit into 2 digits"),
        ({"encoding": "classes", "classes": 0}, "classes is 0; it is a whole number from 1"),
        ({"encoding": "padded", "width": 30}, "width is 30"),
        ({"encoding": "star", "stars": True}, "stars is True"),
        ({"encoding": "date", "base_on": "soon"}, "base_on is 'soon'; write a day"),
    ],
)
def test_settings_of_an_encoding_that_cannot_be_used_are_named(table, text):
    with pytest.raises(SettingsError) as refused:
        RankEncoding.from_table(table)
    assert text in str(refused.value)


def test_a_new_line_gets_a_decimal_between_its_neighbours_and_no_other_changes():
    held = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert decimal_places(["a", "new", "b", "c"], held, 4) == [1.0, 1.5, 2.0, 3.0]
    assert decimal_places(["x", "y", "a"], held, 4) == [0.3333, 0.6666, 1.0]
    assert decimal_places(["a", "b", "c", "z"], held, 4) == [1.0, 2.0, 3.0, 4.0]


def test_lines_are_numbered_anew_where_no_decimal_is_left_between_two():
    assert decimal_places(["a", "new", "b"], {"a": 1.0, "b": 1.1}, 1) == [1.0, 2.0, 3.0]
    assert decimal_places(["new", "a"], {"a": 0.1}, 1) == [1.0, 2.0]
    assert decimal_places(["a", "new"], {"a": 9.0}, 1, largest=9) == [1.0, 2.0]


def most_that_can_stay(order, held):
    """By brute force: the most lines of an order whose numbers already rise."""
    known = [held[line] for line in order if line in held]
    return max(
        n for n in range(len(known) + 1) for part in combinations(known, n) if all(a < b for a, b in pairwise(part))
    )


@pytest.mark.parametrize("seed", range(40))
def test_decimals_rise_and_as_many_lines_as_possible_keep_theirs(seed):
    chance = random.Random(seed)
    lines = [f"l{n}" for n in range(9)]
    held = {line: float(chance.randint(1, 8)) for line in chance.sample(lines, 6)}
    order = chance.sample(lines, 9)
    numbers = decimal_places(order, held, 6)
    assert all(a < b for a, b in pairwise([0.0, *numbers]))
    kept = sum(held.get(line) == number for line, number in zip(order, numbers, strict=True))
    assert kept >= most_that_can_stay(order, held)


def test_what_is_no_number_there_is_numbered_as_new():
    assert decimal_places(["a", "b", "c"], {"a": "soon", "b": None, "c": -4.0}, 4) == [1.0, 2.0, 3.0]
