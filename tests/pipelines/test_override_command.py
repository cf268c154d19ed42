"""A planner's day at the desk: say a word, run again, read what it costs, take it back."""

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.planner_words import Word, WordRefused, words_file
from pipelines.jobs import score
from pipelines.override_command import NEW, lift, listed, listed_text, said_text, say
from tests.pipelines.queue_validator import violations
from tests.pipelines.small_company import T, different_files, queue_of, site_of

HOUR = timedelta(hours=1)
UNTIL = (T + timedelta(days=3)).date()


def overrides_of(site):
    """The published list."""
    return pd.read_csv(Path(site.out) / "overrides.csv", encoding="utf-8-sig", dtype={"order_line_id": "str"})


def about_overrides(site):
    """What the manifest says of the words."""
    return json.loads((Path(site.out) / "manifest.json").read_text(encoding="utf-8"))["overrides"]


@pytest.fixture
def site(trained):
    """The small company, whose queue as of T is published."""
    site = trained()
    score(site, T)
    return site


def dearest(site):
    """The line that ships and loses most by waiting."""
    queue = queue_of(site)
    return queue[queue["action"] == "ship"].nlargest(1, "loss_if_waits")["order_line_id"].item()


def hold(line):
    return Word("hold", "line", line, "Eve", "the address is wrong", UNTIL)


def test_a_mistake_of_the_queue_is_corrected_its_cost_read_and_undone(site):
    assert [len(overrides_of(site)), about_overrides(site)["n"]] == [0, 0]
    before, line = queue_of(site), dearest(site)
    told = say(site, hold(line), T + HOUR)
    assert [told["scope"], told["id"], told["n_lines"], told["outdone"]] == ["line", line, 1, []]
    assert said_text(told).splitlines() == [
        f"noted: hold line {line} until {UNTIL}, Eve: the address is wrong",
        f"  of line {line} 1 line of the last queue waits",
        f"  it counts in runs as of {(T + HOUR).isoformat()}Z or later",
    ]
    assert [word["status"] for word in listed(site, T + HOUR)["words"]] == [NEW]

    score(site, T + 2 * HOUR)
    assert violations(Path(site.out), T + 2 * HOUR) == []
    held = queue_of(site).set_index("order_line_id").loc[line]
    assert [held["action"], held["override_who"], held["override_until_on"].date()] == ["hold", "Eve", UNTIL]
    (row,) = overrides_of(site).to_dict("records")
    assert [row["order_line_id"], row["status"], row["n_lines_ruled"]] == [line, "in force", 1]
    assert row["cost"] == held["override_cost"] == pytest.approx(about_overrides(site)["cost"])
    assert f"Held by Eve: the address is wrong; {held['loss_if_waits']:.2f} EUR expected loss" in held["reason"]
    assert held["reason"].endswith(f"the hold costs {row['cost']:.2f} EUR.")
    now = listed(site, T + 2 * HOUR)
    (word,) = now["words"]
    assert [word["status"], word["cost"], word["n_lines"]] == ["in force", pytest.approx(row["cost"]), 1]
    assert listed_text(now).splitlines() == [
        f"in force: {row['said']}",
        f"all words together cost {row['cost']:.2f} EUR in the queue as of {(T + 2 * HOUR).isoformat()}Z",
    ]

    gone = lift(site, "line", line, "Eve", "was right after all", T + 3 * HOUR)
    assert [word["action"] for word in gone["taken_back"]] == ["hold"]
    assert said_text(gone).startswith("taken back by Eve (was right after all):\n  hold line ")
    score(site, T + 4 * HOUR)
    after = queue_of(site).set_index("order_line_id")
    assert after["ship_now_quantity"].to_dict() == before.set_index("order_line_id")["ship_now_quantity"].to_dict()
    assert listed_text(listed(site, T + 4 * HOUR)) == "no planner's word is known"


def test_a_typo_is_refused_with_the_ids_most_like_it_and_stops_no_run(site):
    line = dearest(site)
    with pytest.raises(WordRefused, match=f"no line {line}x was known .* most like it: {line}, "):
        say(site, hold(f"{line}x"), T + HOUR)
    assert not words_file(site.store).exists()


def test_a_word_said_later_changes_no_byte_of_an_earlier_morning(site, tmp_path):
    say(site, hold(dearest(site)), T + HOUR)
    again = site_of(Path(site.data).parent)
    again = again.__class__(data=site.data, store=site.store, out=str(tmp_path / "again"))
    score(again, T)
    assert different_files(site, again) == []
    assert len(overrides_of(again)) == 0


def test_a_pin_on_a_customer_takes_the_place_of_the_hold_that_was_said_before(site):
    customer = queue_of(site)["customer_id"].dropna().iloc[0]
    words = [Word(action, "customer", customer, "Eve", "a fair", UNTIL) for action in ("hold", "pin")]
    say(site, words[0], T + HOUR)
    told = say(site, words[1], T + 2 * HOUR)
    assert [word["action"] for word in told["outdone"]] == ["hold"]
    assert f"\n  it takes the place of: hold customer {customer} until {UNTIL}, Eve: a fair\n" in said_text(told)
    score(site, T + 3 * HOUR)
    statuses = overrides_of(site).set_index("action")["status"]
    assert statuses["hold"] == "contradicted by a later word"
    assert statuses["pin"] in ("in force", "cannot be met")
