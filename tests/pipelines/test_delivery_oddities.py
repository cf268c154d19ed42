"""Deliveries in which a person, or what the destination makes of values, comes between."""

from pathlib import Path

import pytest

from erp.settings import Site
from pipelines.delivery import apply, undo
from tests.pipelines.shelf import KilledError, T, lines_of, publish_queue

QUEUE = lines_of(("a", 0.1 + 0.2, "2026-03-09", 90), ("b", 0, "2026-03-20", 40), ("c", 1, "2026-03-09", 30))


@pytest.fixture
def site(tmp_path):
    made = Site(store=str(tmp_path / "store"), destination={"kind": "shelf"}, apply="auto", apply_max_money=1e6)
    publish_queue(Path(made.store), T, QUEUE)
    return made


def test_undo_brings_back_what_a_person_said_between_two_deliveries_of_the_run(shelf, site):
    apply(site)
    by_hand = {"rank": 77, "ship_now_quantity": 1.0, "promise_on": None, "reason": "typed by hand"}
    shelf.lines["a"] = dict(by_hand)
    apply(site)
    assert shelf.lines["a"]["rank"] == 1
    undo(site)
    assert shelf.lines == {"a": by_hand}


@pytest.mark.parametrize(("column", "typed"), [("promise_on", "12.03.2026"), ("ship_now_quantity", "n/a")])
def test_what_is_no_day_or_number_there_is_written_over(column, typed, shelf, site):
    apply(site)
    said = dict(shelf.lines["c"])
    shelf.lines["c"][column] = typed
    assert apply(site).ending == "written"
    assert shelf.lines["c"] == said


def test_a_destination_that_keeps_decimals_says_the_queue_all_the_same(shelf, site):
    apply(site)
    shelf.lines["a"]["ship_now_quantity"] = 0.3
    assert apply(site).ending == "nothing to write"
    shelf.lines["a"]["ship_now_quantity"] = 0.300000001
    assert apply(site).ending == "written"


@pytest.mark.parametrize("arrived", [True, False])
def test_a_persons_word_does_not_stand_against_what_the_destination_knows(arrived, shelf, site):
    def killed(call):
        if call == "send" and shelf.n_written == 1:
            raise KilledError

    shelf.is_readable, shelf.before = False, killed  # a arrived, b did not, though both were marked as being sent
    with pytest.raises(KilledError):
        apply(site)
    shelf.before = lambda call: None
    assert apply(site, arrived=arrived).ending == "nothing to write"
    assert (sorted(shelf.lines), shelf.n_written) == (["a", "b", "c"], 3)
