"""Which word rules which line, against a reading word by word."""

import numpy as np
import pandas as pd
import pytest

from decisions.overrides import NO_WORD, SCOPES, apply_overrides, in_order, naming
from tests.decisions.open_lines import open_lines
from tests.decisions.words_said import words_said

ADDED = ["override", "override_quantity", "override_who", "override_why", "override_until_on"]
ORDERED = {"order_id": "O", "customer_id": "C", "product_id": "p"}


def book_of_words(seed, n_lines=30, n_words=40):
    """Lines of few orders, customers and products, and words of all kinds about some of them, some of them over."""
    rng = np.random.default_rng(seed)
    lines = open_lines(
        n_lines,
        order_id=rng.choice([f"O{i}" for i in range(12)], n_lines),
        customer_id=rng.choice(["C0", "C1", "C2", None], n_lines),
        product_id=rng.choice(["p", "p1", "p2"], n_lines),
    )
    words = []
    for _ in range(n_words):
        scope = rng.choice(SCOPES, p=[0.5, 0.2, 0.2, 0.1])
        words.append(
            {
                scope: rng.choice([*lines[scope].dropna().unique(), "nobody"]),
                "action": rng.choice(["pin", "hold", "exclude"]),
                "quantity": rng.choice([np.nan, 2.0]),
                "made_at": pd.Timestamp("2026-01-05") + pd.Timedelta(hours=int(rng.integers(0, 9))),
                "until_on": pd.Timestamp("2026-01-14") + pd.Timedelta(days=int(rng.integers(0, 4))),
                "who": rng.choice(["Ada", "Bob"]),
            }
        )
    return lines, words_said(*words)


def ruling_word(line, words):
    """The word that a planner would say holds for this line: read one by one."""
    for scope in SCOPES:
        of_scope = [word for word in words if word[scope] == line[scope] and word["holds_today"]]
        if of_scope:
            newest = max(word["made_at"] for word in of_scope)
            return [word for word in of_scope if word["made_at"] == newest]
    return []


@pytest.mark.parametrize("seed", range(921, 931))
def test_each_line_obeys_the_word_that_names_it_most_closely_and_of_these_the_last(seed):
    lines, words = book_of_words(seed)
    spoken = words.astype(object).where(words.notna(), None).to_dict("records")
    ruled = apply_overrides(lines, words)
    for line, got in zip(lines.to_dict("records"), ruled[ADDED].to_dict("records"), strict=True):
        words_of_line = ruling_word(line, spoken)
        if not words_of_line:
            assert pd.isna(got["override"])
            continue
        told = [(w["action"], w["who"], w["quantity"] or 0, w["until_on"]) for w in words_of_line]
        quantity = 0 if pd.isna(got["override_quantity"]) else got["override_quantity"]
        assert (got["override"], got["override_who"], quantity, got["override_until_on"]) in told
    assert ruled["override"].notna().sum() > 5


@pytest.mark.parametrize("seed", range(931, 934))
def test_the_order_in_which_words_are_handed_over_changes_nothing(seed):
    lines, words = book_of_words(seed)
    shuffled = words.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(apply_overrides(lines, words), apply_overrides(lines, shuffled))
    pd.testing.assert_frame_equal(in_order(words), in_order(shuffled))


def test_the_word_that_would_rule_next_is_the_one_that_rules_without_the_first():
    lines, words = book_of_words(941)
    named = naming(lines, words)
    first, second = named.of_place(0, len(lines)), named.of_place(1, len(lines))
    assert (second != NO_WORD).sum() > 5
    for row in np.flatnonzero(first != NO_WORD):
        without = naming(lines, words.assign(holds_today=words["holds_today"] & (np.arange(len(words)) != first[row])))
        assert without.of_place(0, len(lines))[row] == second[row]


def test_a_word_about_a_line_outweighs_one_about_its_order_its_customer_and_its_product():
    lines = open_lines(4, **ORDERED | {"order_id": ["O", "O", "P", "Q"], "customer_id": ["C", "C", "C", None]})
    said = [{"order_line_id": "L0"}, {"order_id": "O"}, {"customer_id": "C"}, {"product_id": "p"}]
    words = words_said(*(word | {"who": str(place)} for place, word in enumerate(said)))
    assert apply_overrides(lines, words)["override_who"].tolist() == ["0", "1", "2", "3"]


def test_no_words_rule_nothing():
    ruled = apply_overrides(open_lines(2), words_said())
    assert ruled[ADDED].isna().all(axis=None)
    assert ruled["override"].dtype == "str"
