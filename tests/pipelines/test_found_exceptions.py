"""The exceptions of a second morning, against the two queues and the company's own tables."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.queue_files import read_manifest
from pipelines import steps
from pipelines.jobs import score
from tests.pipelines.conftest import no_tracking
from tests.pipelines.queue_validator import exceptions_of, violations
from tests.pipelines.small_company import T, company_tables, copied_site, queue_of, site_of

TOMORROW = T + timedelta(days=1)


@pytest.fixture(scope="module")
def mornings(trained_site, tmp_path_factory):
    """Queue of T, queue of the next day, that day's site, and its tables, in which the planners went their own way."""
    site = copied_site(trained_site, tmp_path_factory.mktemp("exceptions") / "site")
    tables = company_tables(days_on=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", no_tracking)
        score(site, T)
        first = queue_of(site)
        later = site_of(Path(site.data).parent, tables, policy={"large_loss": 100})
        score(later, TOMORROW)
    return first, queue_of(later), later, tables


def test_lines_that_lost_goods_are_those_of_both_queues_that_have_fewer_and_were_not_shipped_them(mornings):
    first, second, site, tables = mornings
    shipments = tables["shipments"]
    since = shipments[pd.to_datetime(shipments["shipped_at"]).between(T, TOMORROW, inclusive="right")]
    shipped = since.groupby("order_line_id")["quantity"].sum()
    both = first.set_index("order_line_id").join(second.set_index("order_line_id").add_suffix("_now"), how="inner")
    planned = (both["ship_now_quantity"] - shipped.reindex(both.index).fillna(0.0)).clip(lower=0.0)
    lost = planned.clip(upper=both["open_quantity_now"]) - both["ship_now_quantity_now"]
    lost = lost[lost > 1e-9]
    rows = exceptions_of(Path(site.out))
    rows = rows[rows["kind"] == "lost_goods"].set_index("order_line_id")
    assert sorted(rows.index) == sorted(lost.index)
    assert len(lost) > 3
    money = (both["loss_if_waits_now"] / both["open_quantity_now"])[lost.index] * lost
    assert rows["money"].to_dict() == pytest.approx(money.to_dict())
    for line, said in rows["said"].items():
        assert said.startswith(f"Lost {lost[line]:g} of the {planned[line]:g} unit")
        for taker in said.split(": ")[1].split(";")[0].split("shipped to ")[1:]:
            assert taker.split(",")[0] in shipped.index


def test_dates_that_moved_are_those_that_broke_or_are_more_than_a_week_off(mornings):
    first, second, site, _ = mornings
    both = second.set_index("order_line_id").join(first.set_index("order_line_id").add_suffix("_then"), how="inner")
    both = both[both["action"].isin(["wait", "ship_part"]) & (both["action_then"] != "hold")]
    broke = both["promise_changed_because"].notna() & both["promise_changed_because_then"].isna()
    far = {
        name: ((both[name] - both[f"{name}_then"]).dt.days.abs() > 7)
        | (both[name].isna() != both[f"{name}_then"].isna())
        for name in ("expected_on", "promise_on")
    }
    moved = broke | far["expected_on"] | (far["promise_on"] & both["promise_changed_because"].notna())
    rows = exceptions_of(Path(site.out))
    assert sorted(rows["order_line_id"][rows["kind"] == "date_moved"]) == sorted(both.index[moved])
    assert moved.any()


def test_the_sites_own_limit_says_what_much_money_is(mornings):
    _, second, site, _ = mornings
    waiting = second["loss_if_waits"] * (1 - second["ship_now_quantity"] / second["open_quantity"])
    rows = exceptions_of(Path(site.out))
    assert sorted(rows["order_line_id"][rows["kind"] == "large_loss"]) == sorted(
        second["order_line_id"][waiting >= 100]
    )
    assert violations(Path(site.out), TOMORROW) == ["lines with much money waiting are exceptions"], "by default 1000"
    assert read_manifest(Path(site.out))["exceptions"]["kinds"]["large_loss"]["n"] == (waiting >= 100).sum() > 0
