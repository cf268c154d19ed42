"""Words noted in the store: what is refused at the door, and what each moment knows of them."""

from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from erp.contract import ContractError
from erp.ledger import StoreBusy, lock_store
from erp.planner_words import Seen, Word, WordRefused, known_words, note, read_words, take_back
from erp.source import words_file
from tests.erp.small_company import Company, T, add, ask, small_tables, version

HOUR = timedelta(hours=1)
PIN = Word("pin", "line", "L1", "Ada", "trade fair", date(2024, 3, 20))


@pytest.fixture
def tables():
    return small_tables()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path / "company")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def seen(company, tables):
    """The morning of the small company; of its lines two wait."""
    queue = pd.DataFrame(
        {
            "order_line_id": ["L1", "L6"],
            "order_id": ["O1", "O5"],
            "customer_id": ["C1", "C3"],
            "product_id": ["P1", "P3"],
        }
    )
    return Seen(queue, company.facts(tables))


def facts_with(company, tables, store, as_of, **site):
    """The company's facts as of a moment, the store's words counted."""
    return company.facts(tables, as_of, store=str(store), **site)


WORDS = "select order_line_id, action, quantity, who, why, holds_today from known_overrides where who <> 'Kim'"


def test_a_word_that_was_noted_is_known_from_its_moment_on(company, tables, store, seen):
    note(store, seen, Word("pin", "line", "L1", " Ada  ", 'fair,\n"big"', date(2024, 3, 20), 2.0), T + HOUR)
    facts = facts_with(company, tables, store, T + 2 * HOUR)
    assert ask(facts, WORDS) == [("L1", "pin", 2.0, "Ada", 'fair, "big"', True)]
    assert ask(facts, WORDS, T + timedelta(minutes=59)) == []
    assert ask(facts, WORDS, T + HOUR) != []


def test_a_word_taken_back_still_held_before(company, tables, store, seen):
    note(store, seen, PIN, T + HOUR)
    gone = take_back(store, seen, "line", "L1", "Bob", "sold out", T + 2 * HOUR)
    assert [row["who"] for row in gone.rows] == ["Bob"]
    facts = facts_with(company, tables, store, T + 3 * HOUR)
    assert ask(facts, WORDS) == []
    assert len(ask(facts, WORDS, T + 2 * HOUR - timedelta(seconds=1))) == 1
    assert read_words(store)["is_deleted"].tolist() == [False, True]


def test_a_word_of_the_extract_can_be_taken_back(company, tables, store, seen):
    take_back(store, seen, "line", "L5", "Bob", "sold out", T + HOUR)
    facts = facts_with(company, tables, store, T + 2 * HOUR)
    count = "select count(*) from known_overrides"
    assert [ask(facts, count, moment) for moment in (T, T + HOUR)] == [[(1,)], [(0,)]]


def test_the_stores_words_count_beside_an_extract_that_has_no_such_table(company, tables, store, seen):
    note(store, seen, PIN, T + HOUR)
    del tables["overrides"]
    assert len(ask(facts_with(company, tables, store, T + HOUR), WORDS)) == 1


def test_moments_of_the_store_stay_moments_where_the_extracts_are_days(company, tables, store, seen):
    tables["overrides"]["made_at"] = pd.Timestamp("2024-03-14")
    midnight = datetime(2024, 3, 16)
    note(store, seen, PIN, midnight)
    facts = facts_with(company, tables, store, midnight)
    assert len(ask(facts, WORDS)) == 1
    by_day = "select count(*) from known_overrides where who = 'Kim'"
    moments = datetime(2024, 3, 14, 23), datetime(2024, 3, 15)
    assert [ask(facts, by_day, moment)[0][0] for moment in moments] == [0, 1]


@pytest.mark.parametrize("scope", ["line", "order", "customer", "product"])
def test_what_a_word_names_may_leave_the_extract_without_stopping_the_run(scope, company, tables, store, seen):
    names = {"line": "L6", "order": "O5", "customer": "C3", "product": "P3"}
    note(store, seen, Word("hold", scope, names[scope], "Ada", "recall", date(2024, 3, 20)), T + HOUR)
    for name in ("order_lines", "customers", "products"):
        column = f"{scope}_id".replace("line_id", "order_line_id")
        if column in tables[name]:
            tables[name] = tables[name][tables[name][column] != names[scope]]
    facts = facts_with(company, tables, store, T + HOUR)
    assert "overrides" not in set(facts.rejected["table"])
    assert ask(facts, "select count(*) from known_overrides where who = 'Ada'") == [(1,)]


def test_rows_of_the_store_that_were_broken_by_hand_are_judged_like_any_other(company, tables, store, seen):
    note(store, seen, PIN, T + HOUR)
    file = words_file(store)
    file.write_text(file.read_text().replace("pin", "push"))
    rejected = facts_with(company, tables, store, T + HOUR).rejected
    assert rejected[["table", "file", "row", "column"]].to_numpy().tolist() == [
        ["overrides", "store/overrides.csv", 1, "action"]
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "L11"}, r"no line L11 was known as of 2024-03-15 05:00:00; most like it: L1, L6, L2"),
        ({"scope": "order", "id": "L1"}, "no order L1 was known .* most like it: O1, O5, O2"),
        ({"scope": "product", "id": "p1"}, "no product p1 was known"),
        ({"id": ""}, "no line  was known"),
        ({"action": "hold", "quantity": 1.0}, "a quantity belongs to a pin"),
        ({"quantity": 0.0}, "the quantity is 0; a pin is for more than 0 units"),
        ({"quantity": float("nan")}, "the quantity is nan"),
        ({"until_on": date(2024, 3, 14)}, "until 2024-03-14 lies before 2024-03-15"),
        ({"who": " "}, "who is empty"),
        ({"why": "\n"}, "why is empty"),
        ({"action": "praise"}, "praise line is no word"),
    ],
)
def test_a_word_that_no_run_could_use_is_refused_and_nothing_is_noted(change, said, store, seen):
    with pytest.raises(WordRefused, match=said):
        note(store, seen, Word(**{**PIN.__dict__, **change}), T + HOUR)
    assert not words_file(store).exists()


def test_what_does_not_wait_any_more_can_be_named(store, seen):
    noted = note(store, seen, Word("hold", "line", "L7", "Ada", "recall", date(2024, 3, 20)), T + HOUR)
    assert noted.n_lines == 0
    assert note(store, seen, Word("hold", "customer", "C3", "Ada", "recall", date(2024, 3, 20)), T + HOUR).n_lines == 1


def test_the_same_word_twice_is_said_and_a_changed_one_takes_its_place(store, seen):
    note(store, seen, PIN, T + HOUR)
    with pytest.raises(WordRefused, match="Ada said the same at 2024-03-15 06:00:00: pin line L1 until 2024-03-20"):
        note(store, seen, PIN, T + 2 * HOUR)
    with pytest.raises(WordRefused, match="at this very moment"):
        note(store, seen, Word(**{**PIN.__dict__, "action": "hold"}), T + HOUR)
    changed = note(store, seen, Word(**{**PIN.__dict__, "quantity": 3.0}), T + 2 * HOUR)
    assert changed.outdone["who"].tolist() == ["Ada"]
    assert len(known_words(store, seen, T + 3 * HOUR)) == 3  # with the extract's own


def test_no_word_changes_what_a_published_morning_saw_or_comes_before_another(store, seen):
    with pytest.raises(WordRefused, match="the queue as of 2024-03-15 05:00:00 is published"):
        note(store, seen, PIN, T)
    note(store, seen, PIN, T + 2 * HOUR)
    with pytest.raises(WordRefused, match="a word was noted at 2024-03-15 07:00:00"):
        take_back(store, seen, "line", "L1", "Bob", "sold out", T + HOUR)
    with pytest.raises(WordRefused, match="take it back a moment later"):
        take_back(store, seen, "line", "L1", "Bob", "sold out", T + 2 * HOUR)


def test_taking_back_what_was_never_said_names_what_was(store, seen):
    with pytest.raises(WordRefused, match="no word about order O1 is known; known are 1: line L5"):
        take_back(store, seen, "order", "O1", "Bob", "sold out", T + HOUR)
    take_back(store, seen, "line", "L5", "Bob", "sold out", T + HOUR)
    with pytest.raises(WordRefused, match="none is known at all"):
        take_back(store, seen, "line", "L5", "Bob", "sold out", T + 2 * HOUR)


def test_taken_back_and_said_again_it_holds_again(company, tables, store, seen):
    note(store, seen, PIN, T + HOUR)
    take_back(store, seen, "line", "L1", "Bob", "sold out", T + 2 * HOUR)
    note(store, seen, PIN, T + 3 * HOUR)
    assert len(ask(facts_with(company, tables, store, T + 4 * HOUR), WORDS)) == 1


def test_rows_are_only_ever_added(store, seen):
    note(store, seen, PIN, T + HOUR)
    first = words_file(store).read_bytes()
    take_back(store, seen, "line", "L1", "Bob", "sold out", T + 2 * HOUR)
    assert words_file(store).read_bytes().startswith(first)


def test_a_store_that_is_held_or_damaged_is_said(store, seen):
    with lock_store(store), pytest.raises(StoreBusy):
        note(store, seen, PIN, T + HOUR)
    words_file(store).write_text("who,why\nAda,fair\n")
    with pytest.raises(ContractError, match="overrides.csv cannot be read"):
        note(store, seen, PIN, T + HOUR)


def test_words_of_both_kinds_are_known_as_the_facts_know_them(company, tables, store, seen):
    """The reading of the command against that of the contract, over a day of words, versions and words taken back."""
    version(tables, "overrides", "L5", "2024-03-15 04:30", why="fair, again", until_on="2024-03-25")
    add(tables, "overrides", order_line_id="L6", made_at="2024-03-15 19:30", recorded_at=None, is_deleted=None)
    morning = Seen(seen.queue, company.facts(tables))
    note(store, morning, PIN, T + HOUR)
    note(store, morning, Word("hold", "order", "O5", "Bob", "recall", date(2024, 3, 15)), T + 2 * HOUR)
    take_back(store, morning, "line", "L1", "Bob", "sold out", T + 3 * HOUR)
    known = known_words(store, morning, T + 3 * HOUR)
    by_contract = ask(
        company.facts(tables, T + 3 * HOUR, store=str(store)),
        "select coalesce(order_line_id, order_id), action, why, until_on from known_overrides order by all",
    )
    ids = known["order_line_id"].fillna(known["order_id"])
    days = known["until_on"].dt.date
    assert sorted(zip(ids, known["action"], known["why"], days, strict=True)) == by_contract
    assert len(by_contract) == 2
