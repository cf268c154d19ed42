"""Two mornings of a store compared: every line's cause is the one that was changed."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import steps
from pipelines.compared_runs import compare_runs
from pipelines.comparison_report import comparison_facts, comparison_text
from pipelines.jobs import score, train, what_if
from tests.pipelines.conftest import no_tracking
from tests.pipelines.small_company import LATER, TINY_T, WEEK, T, company_tables, copied_site, site_of

DEAR = {"cancel_lost_share": 0.3, "cancel_handling_cost": 20.0}
SOON = T + WEEK + timedelta(hours=2)


@pytest.fixture(scope="module")
def mornings(trained_site, tmp_path_factory):
    """A store with T, a week later, a what-if of that day, and a run two hours later with a planner's word."""
    site = copied_site(trained_site, tmp_path_factory.mktemp("compared") / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", no_tracking)
        score(site, T)
        later = site_of(Path(site.data).parent, company_tables(days_on=7))
        score(later, T + WEEK)
        what_if(replace(later, out=str(Path(later.out).parent / "dear"), policy=DEAR), T + WEEK)
        queue = pd.read_parquet(Path(later.out) / "queue.parquet")
        pinned = queue[queue["action"] == "wait"].iloc[-1]
        word = {"action": "pin", "who": "Ada", "why": "promised", "made_at": T + WEEK, "until_on": "2024-11-30"}
        words = pd.DataFrame([word | {"order_line_id": pinned["order_line_id"]}])
        words.to_csv(Path(later.data) / "overrides.csv", index=False)
        score(later, SOON)
    return later, pinned


def causes_of(found):
    return found.comparison.causes.set_index("cause")


def test_a_week_later_the_facts_alone_differ_and_gone_lines_say_how_they_went(mornings):
    site, _ = mornings
    found = compare_runs(site, "2024-10-27", "2024-11-03T05:00")
    assert list(causes_of(found).index) == ["facts", "all"]
    assert found.notes == ()
    gone = found.comparison.lines[found.comparison.lines["change"] == "gone"].set_index("order_line_id")
    tables = company_tables(days_on=7)
    for name, word, at in (("shipments", "shipped", "shipped_at"), ("cancellations", "cancelled", "cancelled_at")):
        since = tables[name][pd.to_datetime(tables[name][at]) >= pd.Timestamp(T)]
        there = gone.index.isin(since["order_line_id"])
        assert there.any()
        assert gone["what_happened"][there].str.contains(word).all()
        assert not gone["what_happened"][~there].str.contains(word).any()
    assert found.comparison.lines["what_happened"][lambda said: said.notna()].str.len().min() > 0


def test_another_policy_alone_is_the_policys_doing_and_needs_no_second_decision(mornings, monkeypatch):
    site, _ = mornings
    monkeypatch.setattr("pipelines.compared_runs._decided", lambda *_: pytest.fail("nothing lies between"))
    found = compare_runs(site, "2024-11-03T05:00", str(Path(site.out).parent / "dear"))
    assert list(causes_of(found).index) == ["policy", "all"]
    assert causes_of(found).loc["all", "lost"] > 0
    assert set(found.comparison.lines["cause"]) == {"policy"}


def test_facts_words_and_policy_are_changed_one_at_a_time_and_their_parts_add_up(mornings):
    site, pinned = mornings
    site = replace(site, out=str(Path(site.out).parent / "all"), policy=DEAR)
    what_if(site, SOON)
    found = compare_runs(site, "2024-10-27", site.out)
    causes = causes_of(found)
    assert list(causes.index) == ["facts", "overrides", "policy", "all"]
    assert causes["lost"].iloc[:-1].sum() == pytest.approx(causes.loc["all", "lost"], abs=1e-9)
    ends = [json.loads((m.folder / "queue" / "manifest.json").read_text()) for m in (found.first, found.second)]
    assert causes.loc["all", "lost"] == pytest.approx(ends[1]["plan"]["lost"] - ends[0]["plan"]["lost"])
    lines = found.comparison.lines
    words = [name for name in lines if name.startswith("units_by_")]
    both = lines["change"].isin(["lost goods", "gained goods"])
    assert (np.sign(lines[words].sum(axis=1)) == lines["change"].map({"lost goods": -1, "gained goods": 1}))[both].all()
    of_pinned = lines[lines["order_line_id"] == pinned["order_line_id"]].iloc[0]
    assert "overrides" in of_pinned["cause"] or pinned["available_now"] == 0


def test_a_pin_alone_moves_the_goods_of_its_pool_and_nothing_else(mornings):
    site, pinned = mornings
    found = compare_runs(site, "2024-11-03T05:00", "last")
    causes = causes_of(found)
    assert "overrides" in causes.index
    given = found.comparison.lines[found.comparison.lines["units_by_overrides"].abs() > 0]
    assert (given["product_id"] == pinned["product_id"]).all()
    told = json.loads((found.second.folder / "queue" / "manifest.json").read_text())["overrides"]
    assert causes.loc["overrides", "lost"] == pytest.approx(told["cost"], abs=0.02 * abs(told["cost"]) + 1e-6)
    assert told["cost"] >= 0, "a word costs money or nothing"


def test_a_line_of_another_price_is_said_to_have_changed_its_terms(mornings, tmp_path):
    site = copied_site(mornings[0], tmp_path / "site")
    lines = company_tables(days_on=7)["order_lines"]
    queue = pd.read_parquet(Path(mornings[0].out) / "queue.parquet")
    line = queue[queue["action"] == "wait"].iloc[-3]["order_line_id"]
    lines.loc[lines["order_line_id"] == line, "unit_price"] *= 50
    lines.to_parquet(Path(site.data) / "order_lines.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", no_tracking)
        score(site, SOON + timedelta(hours=1))
    found = compare_runs(site, str(SOON), "last").comparison.lines.set_index("order_line_id")
    said = found["what_happened"].fillna("")
    assert "facts" in found.loc[line, "cause"]
    assert said[said.str.contains("its terms changed")].index.tolist() == [line]


def test_the_other_way_round_what_was_gained_is_lost(mornings):
    site, _ = mornings
    there = compare_runs(site, "2024-11-03T05:00", str(Path(site.out).parent / "dear"))
    back = compare_runs(site, str(Path(site.out).parent / "dear"), "2024-11-03T05:00")
    assert causes_of(there).loc["all", "lost"] == pytest.approx(-causes_of(back).loc["all", "lost"])
    assert causes_of(there).loc["all", "n_lost"] == causes_of(back).loc["all", "n_gained"]
    assert compare_runs(site, "last", "2024-10-27").notes == ("the second is the earlier morning",)


def test_a_queue_beside_itself_differs_in_nothing(mornings):
    site, _ = mornings
    found = compare_runs(site, "last", "last")
    assert found.comparison.lines.empty
    assert list(causes_of(found).index) == ["nothing", "all"]


@pytest.mark.usefixtures("unjudged")
def test_models_trained_anew_are_a_cause_of_their_own(looked_back):
    site = looked_back()
    for as_of in (TINY_T, LATER):
        train(site, as_of)
        score(site, as_of)
    found = compare_runs(site, f"{TINY_T}", "last")
    causes = causes_of(found)
    assert list(causes.index) == ["facts", "models", "all"]
    ends = [json.loads((m.folder / "queue" / "manifest.json").read_text()) for m in (found.first, found.second)]
    assert ends[0]["models"] != ends[1]["models"]
    assert causes["lost"].iloc[:-1].sum() == pytest.approx(ends[1]["plan"]["lost"] - ends[0]["plan"]["lost"])
    assert causes.loc["models", "lost"] != 0


def test_another_horizon_alone_is_the_policys_doing_and_adds_up_beside_the_facts(mornings, tmp_path):
    site = replace(copied_site(mornings[0], tmp_path / "site"), policy={"horizon_days": 60})
    what_if(site, SOON)
    found = compare_runs(site, "2024-10-27", site.out)
    causes = causes_of(found)
    assert causes["lost"].iloc[:-1].sum() == pytest.approx(causes.loc["all", "lost"], abs=1e-9)
    assert causes.index[-2] == "policy"


def test_what_another_version_of_the_code_changes_stands_apart(mornings, tmp_path):
    site = copied_site(mornings[0], tmp_path / "site")
    morning = compare_runs(site, "2024-10-27", "last").first
    manifest = morning.folder / "queue" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(morning.manifest["code"], "0" * 64))
    found = compare_runs(site, "2024-10-27", "last")
    causes = causes_of(found)
    assert list(causes.index)[0] == "code"
    assert causes.loc["code", ["n_gained", "n_lost", "n_moved"]].tolist() == [0, 0, 0]
    assert "different versions" in found.notes[0]


def test_the_text_names_both_ends_every_cause_and_the_worst_lines(mornings):
    site, _ = mornings
    found = compare_runs(site, "2024-10-27", "last")
    facts = comparison_facts(found)
    text = comparison_text(facts)
    for end in ("first", "second"):
        assert f"(run {facts[end]['run_id'][:8]})" in text
    for row in facts["causes"]:
        assert f"{row['cause']:<12}{row['lost']:>+14,.2f}" in text
    for change in ("lost goods", "gained goods", "gone", "new"):
        worst = next((line for line in facts["lines"] if line["change"] == change), None)
        assert worst is None or f"  {worst['order_line_id']}  " in text
    assert "nan" not in text.lower().split()
