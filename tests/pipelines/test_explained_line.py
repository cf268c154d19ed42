"""What is said of one line of a queue: against the queue's own figures, with the keys documented, and in words."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.ledger import LedgerError
from models.contributions import RISK_GROUPS, VALUE_GROUPS
from pipelines.explained_keys import KEYS
from pipelines.explained_line import TERMS, explained
from pipelines.explained_text import LEVERS, LIFTED, MOVED, explained_text
from pipelines.jobs import score
from pipelines.own_values import risk_values, worth_values
from pipelines.reopened import reopen
from tests.pipelines.small_company import T, company_tables, queue_of, site_of, with_planners_work

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def two_mornings(trained_site, tmp_path_factory):
    """The small company's queue of T with planners' work, and that of the next morning."""
    import shutil

    folder = tmp_path_factory.mktemp("explained")
    shutil.copytree(trained_site.store, folder / "store")
    site = site_of(folder, with_planners_work(company_tables()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.steps.track_scoring", lambda *_: None)
        score(site, T)
        first = queue_of(site)
        score(site, T + DAY)
    return Path(site.store), first, queue_of(site)


@pytest.fixture(scope="module")
def facts_of_some(two_mornings):
    """Facts of lines of every action, word and kind of customer, by their place in the second queue."""
    store, _, queue = two_mornings
    firsts = [queue[queue["action"] == action].head(3) for action in ("ship", "ship_part", "wait", "hold")]
    firsts += [queue[queue["override"].notna()].head(3), queue[queue["customer_id"].isna()].head(2)]
    grouped = reopen(store).given_to.lines.dropna(subset=["ship_group"])["order_line_id"]
    firsts.append(queue[queue["order_line_id"].isin(grouped)].head(2))
    some = pd.concat(firsts).drop_duplicates("order_line_id").set_index("order_line_id", drop=False)
    return some, {name: explained(store, name) for name in some["order_line_id"]}


def paths(value, path=""):
    """Paths of all keys, [] for the entries of a list."""
    if isinstance(value, dict):
        return {deeper for key, each in value.items() for deeper in paths(each, f"{path}.{key}".lstrip("."))}
    if isinstance(value, list):
        return {deeper for each in value for deeper in paths(each, f"{path}[]")}
    return {path}


def test_the_keys_given_are_those_documented(facts_of_some):
    given = {path for facts in facts_of_some[1].values() for path in paths(facts)}
    assert given == {key.path for key in KEYS}


def test_the_facts_are_plain_and_the_same_when_asked_again(two_mornings, facts_of_some):
    store, _, queue = two_mornings
    some, facts = facts_of_some
    for each in facts.values():
        assert json.loads(json.dumps(each, allow_nan=False)) == each
    name = some["order_line_id"].iloc[0]
    assert explained(store, name) == facts[name]
    assert explained(store, name, facts[name]["run_id"][:8]) == facts[name]
    assert facts[name]["run_id"] == queue["run_id"].iloc[0]


def test_money_goods_and_dates_are_those_of_the_queue(facts_of_some):
    some, facts = facts_of_some
    for name, line in some.iterrows():
        said = facts[name]
        assert said["loss"]["loss_if_waits"] == line["loss_if_waits"]
        assert sum(said["loss"][term] for term in TERMS) == pytest.approx(line["loss_if_waits"], abs=1e-9)
        assert said["loss"]["per_unit"] * line["open_quantity"] == pytest.approx(line["loss_if_waits"])
        assert said["would_ship"]["units"] == line["ship_now_quantity"]
        assert said["would_ship"]["wanted"] == line["open_quantity"]
        expected = line["expected_on"]
        assert said["dates"]["expected_on"] == (None if pd.isna(expected) else f"{expected:%Y-%m-%d}")
        assert said["as_of"] == "2024-10-28T05:00:00Z"
        assert said["dates"]["today"] == "2024-10-28"


def test_what_moved_risk_and_value_adds_up_to_the_queues_answers(facts_of_some):
    some, facts = facts_of_some
    n_named = 0
    for name, line in some.iterrows():
        risk, value = facts[name]["risk"], facts[name]["value"]
        assert risk["usual"] + sum(row["adds"] for row in risk["moved_by"]) == pytest.approx(
            line["p_cancel_14d"], abs=1e-9
        )
        assert [abs(row["adds"]) for row in risk["moved_by"]] == sorted(
            (abs(row["adds"]) for row in risk["moved_by"]), reverse=True
        )
        if pd.isna(line["customer_id"]):
            assert (value["usual"], value["moved_by"], value["lifetime_value"]) == (None, [], 0)
            continue
        n_named += 1
        total = value["usual"] + sum(row["adds"] for row in value["moved_by"])
        assert total == pytest.approx(line["lifetime_value"], rel=1e-9)
    assert n_named > 3


def test_those_who_have_the_goods_have_all_that_the_pool_gave(two_mornings, facts_of_some):
    some, facts = facts_of_some
    queue = two_mornings[2]
    for name, line in some.iterrows():
        goods = facts[name]["goods"]
        pool = queue[(queue["product_id"] == line["product_id"]) & (queue["warehouse_id"] == line["warehouse_id"])]
        given = line["ship_now_quantity"] + sum(each["units"] for each in goods["served"])
        assert given == pytest.approx(pool["ship_now_quantity"].sum())
        served = pool[(pool["ship_now_quantity"] > 0) & (pool["order_line_id"] != name)].set_index("order_line_id")
        per_unit = (served["loss_if_waits"] / served["open_quantity"]).to_dict()
        assert {each["order_line_id"]: each["loss_per_unit"] for each in goods["served"]} == pytest.approx(per_unit)
        assert all(each["said"] for each in goods["served"])


def test_dates_moved_are_those_that_differ_between_the_two_queues(two_mornings, facts_of_some):
    before = two_mornings[1].set_index("order_line_id")
    some, facts = facts_of_some
    n_moved = 0
    for name, line in some.iterrows():
        dates = facts[name]["dates"]
        assert dates["is_in_last_queue"] == (name in before.index)
        if name not in before.index:
            continue
        then = before.loc[name]
        differ = [key for key in MOVED if not (line[key] == then[key] or (pd.isna(line[key]) and pd.isna(then[key])))]
        assert [move["name"] for move in dates["moved"]] == differ
        assert all(move["because"] for move in dates["moved"])
        n_moved += len(differ)
    assert n_moved > 3
    first = explained(two_mornings[0], before.index[0], f"{T:%Y-%m-%d}")
    assert (first["dates"]["is_in_last_queue"], first["dates"]["moved"]) == (False, [])


def decided_again(morning, **features):
    """The second morning decided anew, everything that follows from the change worked out again."""
    desk = morning.desk
    return replace(desk, features={**desk.features, **features}).decide(morning.policy)


def test_a_pin_said_after_all_gives_the_units_and_costs_the_money_that_were_foretold(two_mornings, facts_of_some):
    morning, n_pinned = reopen(two_mornings[0]), 0
    before, words = decided_again(morning), morning.features["overrides"]
    assert before.judgement.lost == pytest.approx(morning.manifest["plan"]["lost"])
    for name, facts in facts_of_some[1].items():
        pin = facts["would_ship"]["pin"]
        if pin is None or facts["place"]["override"] is not None or n_pinned == 2:
            continue
        until = pd.Timestamp(morning.as_of).normalize() + 3 * DAY
        word = {"order_line_id": name, "action": "pin", "who": "Ada", "why": "fair", "made_at": morning.as_of}
        said = pd.DataFrame([word | {"until_on": until, "holds_today": True}]).reindex(columns=words.columns)
        after = decided_again(morning, overrides=pd.concat([words, said.astype(words.dtypes.to_dict())]))
        given = after.queue.set_index("order_line_id")["ship_now_quantity"]
        assert given[name] == pytest.approx(pin["units"])
        # The next run reckons the losses anew, and whole lines may then be chosen otherwise.
        assert after.judgement.lost - before.judgement.lost == pytest.approx(pin["cost"], abs=0.01)
        n_pinned += 1
    assert n_pinned > 0


def test_with_less_margin_than_said_a_line_does_not_ship_when_it_is_decided_anew(two_mornings, facts_of_some):
    morning, n_tried = reopen(two_mornings[0]), 0
    lines = morning.features["lines"]
    for name, facts in facts_of_some[1].items():
        by_name = {each["name"]: each for each in facts["would_ship"]["levers"]}
        margin = by_name.get("line_margin")
        if margin is None or margin["least"] is None or n_tried == 2:
            continue
        less = margin["now"] + 0.97 * (margin["least"] - margin["now"])
        is_line = lines["order_line_id"] == name
        after = decided_again(morning, lines=lines.assign(line_margin=lines["line_margin"].mask(is_line, less)))
        assert after.queue.set_index("order_line_id")["ship_now_quantity"][name] < margin["units"]
        assert f"its own margin must be at least {margin['least']:,.2f} EUR, perhaps more" in explained_text(facts)
        n_tried += 1
    assert n_tried > 0


def test_the_text_says_every_number_and_no_python(facts_of_some):
    some, facts = facts_of_some
    for name, line in some.iterrows():
        said = explained_text(facts[name])
        words = said.replace("(", " ").replace(",", " ").split()
        assert not {"nan", "None", "inf", "NaT", "True", "False"} & set(words)
        assert said.startswith(f"{name}: {line['action']}, rank {line['rank']} of ")
        assert line["reason"] in said
        per_unit = line["loss_if_waits"] / line["open_quantity"]
        assert f"{line['loss_if_waits']:,.2f} EUR, {per_unit:,.2f} per unit" in said
        assert f"{line['p_cancel_14d']:.1%}" in said
        for least in facts[name]["would_ship"]["levers"]:
            assert LEVERS[least["name"]] in said
        for each in facts[name]["would_ship"]["lifted"]:
            assert LIFTED.get(each["rule"], each["rule"]) in said
        if facts[name]["would_ship"]["pin"]:
            assert "a pin gives it" in said


def test_every_group_of_inputs_has_words_for_the_lines_own_values(two_mornings):
    morning = reopen(two_mornings[0])
    for rows, groups, words in (
        (morning.features["lines"], RISK_GROUPS, risk_values),
        (morning.features["accounts"], VALUE_GROUPS, worth_values),
    ):
        for row in rows.to_dict("records"):
            said = words(row)
            assert list(said) == [group.name for group in groups]
            assert all(text and "nan" not in text.split() for text in said.values())


def test_the_own_values_are_said_in_a_planners_words(two_mornings):
    line = reopen(two_mornings[0]).features["lines"].iloc[0].to_dict()
    said = risk_values(line | {"waited_days": 1, "customer_n_orders": 9.0, "customer_days_since_order": 12.0,
                               "customer_mean_gap_days": 30.4, "customer_spend_365d": 1234.5, "days_late": 0.0,
                               "n_slips": 0.0, "customer_id": "c"})  # fmt: skip
    assert said["the wait so far"] == "waits 1 day since the requested day or the order day"
    orders = "9 orders, last 12 days ago, one every 30 days, 1,234.50 in the last 365 days"
    assert said["the customer's orders so far"] == orders
    assert said["the dates told"] == "due by the date told today, never moved"
    assert risk_values(line | {"customer_id": None})["the customer's orders so far"] == "nobody is named"


@pytest.mark.parametrize(
    ("place", "dates", "says"),
    [
        ({"action": "ship"}, {"expected_on": "2024-10-28"}, "expected 2024-10-28: it ships now"),
        ({"action": "hold"}, {}, "no date expected: the line is held"),
        ({}, {"expected_on": None}, "no date known: more likely than not nothing comes within the horizon"),
        (
            {"assumed": "wait (no inbound line)"},
            {"expected_on": "2024-11-11"},
            "no date known; 2024-11-11 is assumed: do not promise it",
        ),
        (
            {},
            {"expected_on": "2024-11-11", "expected_latest_on": None},
            "expected 2024-11-11, at the latest (promise quantile) beyond the horizon",
        ),
        ({}, {"promised_on": None}, "no date promised"),
        ({}, {"promised_on": "2024-10-28", "days_late": 0}, "promised 2024-10-28, which is today"),
        (
            {},
            {"promised_on": "2024-10-29", "days_late": -1, "promise_told_on": None},
            "promised 2024-10-29, 1 day before it",
        ),
        ({}, {"promise_on": None, "promise_changed_because": "goods gone"}, "no date can be told (goods gone)"),
        (
            {},
            {"promise_on": "2024-11-20", "promise_chance": None, "promise_changed_because": None},
            "date to tell 2024-11-20, told before; its chance is not known",
        ),
    ],
)
def test_dates_at_the_edges_of_what_is_known(facts_of_some, place, dates, says):
    waits = next(facts for facts in facts_of_some[1].values() if facts["place"]["action"] == "wait")
    changed = {
        **waits,
        "place": {**waits["place"], "assumed": None, **place},
        "dates": {**waits["dates"], "promise_told_on": None, **dates},
    }
    assert says in [line.strip() for line in explained_text(changed).splitlines()]


def test_a_line_that_is_not_in_the_queue_is_refused_with_the_queues_day(two_mornings):
    with pytest.raises(LedgerError, match=r"'x' is not among the \d+ lines of the queue as of 2024-10-28"):
        explained(two_mornings[0], "x")
