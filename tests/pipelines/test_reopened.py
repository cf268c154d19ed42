"""A morning opened again from the store: what it says is what was decided, and it can be decided again."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from decisions.allocation import give_out
from decisions.queue_columns import in_published_form
from decisions.rules import limits_of
from erp.ledger import LedgerError
from pipelines import steps
from pipelines.jobs import score, what_if
from pipelines.reopened import reopen
from tests.pipelines.conftest import no_tracking
from tests.pipelines.small_company import WEEK, T, company_tables, copied_site, queue_of, site_of


@pytest.fixture(scope="module")
def two_mornings(trained_site, tmp_path_factory):
    """A store with the queues of T and, by the tables of a week later, of T + 7 days."""
    site = copied_site(trained_site, tmp_path_factory.mktemp("two") / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", no_tracking)
        score(site, T)
        later = site_of(Path(site.data).parent, company_tables(days_on=7))
        score(later, T + WEEK)
    return later


def test_a_morning_decided_again_from_the_store_gives_the_queue_it_gave(two_mornings):
    for which in ("last", "2024-10-27"):
        morning = reopen(Path(two_mornings.store), which)
        decided = morning.desk.decide(morning.policy)
        assert_frame_equal(decided.queue, in_published_form(morning.queue))
        assert_frame_equal(decided.given_to.lines, morning.given_to.lines)
        again = give_out(
            morning.given_to.lines,
            morning.given_to.pools,
            morning.policy,
            limits_of(morning.given_to.lines, morning.given_to.pools, morning.policy),
        )
        units = pd.Series(again.ship_now_quantity.to_numpy(), morning.given_to.lines["order_line_id"].to_numpy())
        assert (morning.queue.set_index("order_line_id")["ship_now_quantity"] - units).abs().max() == 0


def test_a_morning_is_named_by_last_by_its_day_its_time_its_run_or_a_folder_with_its_queue(two_mornings):
    store = Path(two_mornings.store)
    last = reopen(store)
    assert_frame_equal(last.queue, queue_of(two_mornings))
    by = ("2024-11-03", "2024-11-03T05:00:00Z", "2024-11-03 06:00:00+01:00", last.run_id[:8], two_mornings.out)
    assert {reopen(store, which).folder for which in by} == {last.folder}
    first = reopen(store, "2024-10-27")
    assert first.as_of == T
    assert_frame_equal(last.previous, first.queue)
    assert first.previous is None
    assert last.desk.previous_run_id == first.run_id


def test_a_what_if_is_opened_by_its_folder_and_under_its_own_policy(two_mornings, tmp_path):
    dear = replace(two_mornings, out=str(tmp_path / "if"), policy={"cancel_handling_cost": 9.0})
    what_if(dear, T + WEEK)
    store = Path(two_mornings.store)
    opened = reopen(store, dear.out)
    assert opened.policy.cancel_handling_cost == 9.0
    assert reopen(store).policy.cancel_handling_cost == 0
    assert reopen(store).folder != opened.folder
    assert_frame_equal(opened.desk.decide(opened.policy).queue, in_published_form(opened.queue))


@pytest.mark.parametrize("which", ["yesterday", "2023-01-01", "abcdef", "12", ""])
def test_a_name_that_no_run_bears_is_refused_with_the_names_that_can_be_used(two_mornings, which):
    with pytest.raises(
        LedgerError, match=re.escape(f"{which!r} names 0 of ") + r"\d runs.*2024-11-03T05:00, 2024-10-27"
    ):
        reopen(Path(two_mornings.store), which)


def test_a_store_without_a_queue_says_how_to_get_one(tmp_path):
    with pytest.raises(LedgerError, match="nothing was published from the store"):
        reopen(tmp_path / "none")


def test_a_run_whose_folder_was_cleared_away_is_said(two_mornings, tmp_path):
    site = copied_site(two_mornings, tmp_path / "site")
    morning = reopen(Path(site.store))
    (morning.folder / "queue" / "manifest.json").unlink()
    with pytest.raises(LedgerError, match="keeps that run's folder no more; run that morning again"):
        reopen(Path(site.store), morning.run_id)
