"""A morning reviewed in the evening: from files to files, against sums of the company's own shipments."""

import csv
import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.known import Facts, gather
from pipelines import steps
from pipelines.evening import FACTS, TABLE, evening_text, review, write_evening
from pipelines.jobs import score
from pipelines.reopened import reopen
from tests.pipelines.conftest import no_tracking
from tests.pipelines.small_company import T, company_tables, copied_site, queue_of, site_of

EVENING = T + timedelta(hours=20)


def facts_at(site, moment, folder):
    folder.mkdir()
    gather(folder, site, moment)
    return Facts(folder, moment, site)


@pytest.fixture(scope="module")
def morning(trained_site, tmp_path_factory):
    """A store with the queue of T, and the tables of a day later, with a word that was said at nine."""
    site = copied_site(trained_site, tmp_path_factory.mktemp("evening") / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", no_tracking)
        score(site, T)
    tables = company_tables(days_on=1)
    word = {"order_id": None, "customer_id": None, "product_id": None, "action": "pin", "quantity": None}
    said = {"who": "Ada", "why": "the truck was half empty", "until_on": T + timedelta(days=9)}
    against = against_the_advice(queue_of(site), tables)[0]
    word |= {"order_line_id": against, "made_at": T + timedelta(hours=4)} | said
    tables["overrides"] = pd.DataFrame([word]).astype(
        dict.fromkeys(("order_line_id", "order_id", "customer_id", "product_id"), "str") | {"quantity": "float64"}
    )
    return site_of(Path(site.data).parent, tables), tables, against


def shipped_that_day(tables):
    """Units of each line that were shipped on the day of T, as the tables say."""
    shipments = tables["shipments"]
    on_the_day = pd.to_datetime(shipments["shipped_at"]).dt.normalize() == pd.Timestamp(T).normalize()
    return shipments[on_the_day].groupby("order_line_id")["quantity"].sum()


def against_the_advice(queue, tables):
    """Lines that were shipped although they should wait."""
    waits = queue.loc[queue["ship_now_quantity"] == 0, "order_line_id"]
    return sorted(set(waits) & set(shipped_that_day(tables).index))


@pytest.fixture(scope="module")
def reviewed(morning, tmp_path_factory):
    site, *_ = morning
    facts = facts_at(site, EVENING, tmp_path_factory.mktemp("facts") / "facts")
    return review(reopen(Path(site.store)), facts)


def test_what_left_is_what_the_tables_say_was_shipped_that_day(morning, reviewed):
    site, tables, _ = morning
    shipped = shipped_that_day(tables)
    table = reviewed.table.set_index("order_line_id")
    assert sorted(table.index) == sorted(queue_of(site)["order_line_id"])
    want = shipped.reindex(table.index).fillna(0.0)
    assert (table["shipped_quantity"] == want).all()
    assert (want > 0).sum() > 5
    verdicts = table["verdict"].value_counts()
    assert {"as advised", "less than advised", "against the advice"} <= set(verdicts.index)
    assert sorted(table.index[table["verdict"] == "against the advice"]) == against_the_advice(queue_of(site), tables)


def test_totals_are_those_of_the_queue_and_of_the_tables(morning, reviewed):
    site, tables, _ = morning
    queue, shipped = queue_of(site).set_index("order_line_id"), shipped_that_day(tables)
    per_unit = queue["loss_if_waits"] / queue["open_quantity"]
    left = shipped.reindex(queue.index).fillna(0.0)
    said = reviewed.facts
    assert said["advised"]["units"] == queue["ship_now_quantity"].sum()
    assert said["advised"]["money"] == pytest.approx((per_unit * queue["ship_now_quantity"]).sum())
    assert said["advised_and_done"]["units"] == left.clip(upper=queue["ship_now_quantity"]).sum()
    assert said["done_against_advice"]["units"] == (left - queue["ship_now_quantity"]).clip(lower=0).sum()
    parts = [said[name]["money"] for name in ("advised_and_done", "advised_not_done", "advised_withdrawn")]
    assert sum(parts) == pytest.approx(said["advised"]["money"])
    assert said["money"] == pytest.approx(said["done_against_advice"]["money"] - said["advised_not_done"]["money"])
    of_product = tables["order_lines"].drop_duplicates("order_line_id").set_index("order_line_id")["product_id"]
    others = shipped[~shipped.index.isin(queue.index)]
    others = others[of_product.reindex(others.index).isin(queue["product_id"])]
    assert said["shipped_to_other_lines"] == {"lines": len(others), "units": others.sum()}


def test_the_planners_word_of_the_day_is_the_reason_of_its_line_alone(morning, reviewed):
    table = reviewed.table.set_index("order_line_id")
    assert table["why"].dropna().to_dict() == {morning[2]: "the truck was half empty"}
    assert reviewed.facts["deviations_with_reason"] == 1


def test_the_files_hold_the_table_and_what_it_comes_to_and_the_text_says_it(reviewed, tmp_path):
    out = write_evening(reviewed, tmp_path / "out")
    with (out / TABLE).open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == reviewed.table.columns.tolist()
    assert [row[0] for row in rows] == reviewed.table["order_line_id"].tolist()
    assert json.loads((out / FACTS).read_text()) == dict(reviewed.facts)
    text = evening_text(reviewed)
    assert f"{reviewed.facts['advised_not_done']['money']:,.2f} EUR" in text
    assert f"{'less' if reviewed.facts['money'] < 0 else 'more'} than the advice; a reason was given for 1 of" in text
    assert len(text.splitlines()) == 12 + min(10, reviewed.facts["deviations"])


def received_that_day(tables, products):
    """Units received after T by product, as the tables say."""
    of_line = tables["purchase_orders"].drop_duplicates("po_line_id")[["po_line_id", "product_id"]]
    receipts = tables["receipts"].merge(of_line)
    receipts = receipts[
        (pd.to_datetime(receipts["received_at"]) > pd.Timestamp(T)) & receipts["product_id"].isin(products)
    ]
    return receipts.groupby("product_id")["quantity"].sum()


def test_goods_received_that_day_are_no_deviation_by_the_pools_rank_and_are_out_of_turn_past_it(
    morning, reviewed, tmp_path
):
    site, tables, _ = morning
    queue = queue_of(site)
    came = received_that_day(tables, queue["product_id"])
    assert reviewed.facts["goods"]["came"] == came.sum() > 0
    (product,) = came.index
    pool = queue[queue["product_id"] == product].sort_values("pool_rank")
    assert (pool["available_now"] == 0).all()
    fit = pool.loc[pool["open_quantity"] <= came[product], "order_line_id"].tolist()
    passed = pool["pool_rank"] < pool.loc[pool["order_line_id"] == fit[0], "pool_rank"].item()
    whole = tables["order_lines"].drop_duplicates("order_line_id").set_index("order_line_id")["may_split"].eq(False)
    assert whole.reindex(pool.loc[passed, "order_line_id"]).all(), "no earlier line could have had a part of them"

    def after_shipping(line, name):
        units = pool.loc[pool["order_line_id"] == line, "open_quantity"].item()
        row = {"order_line_id": line, "shipped_at": T + timedelta(hours=9), "quantity": units, "event_id": "by hand"}
        shipments = pd.concat([tables["shipments"], pd.DataFrame([row])], ignore_index=True)
        shipments["shipped_at"] = pd.to_datetime(shipments["shipped_at"], utc=True).dt.tz_localize(None)
        store = Path(site.store)
        then = site_of(tmp_path / name, tables | {"shipments": shipments})
        found = review(reopen(store), facts_at(then, EVENING, tmp_path / f"{name} facts"))
        return found.facts, found.table.set_index("order_line_id")

    facts, table = after_shipping(fit[0], "in turn")
    assert table.loc[fit[0], "verdict"] == "in its turn"
    assert (facts["money"], facts["deviations"]) == (reviewed.facts["money"], reviewed.facts["deviations"])
    facts, table = after_shipping(fit[-1], "past it")
    assert table.loc[fit[-1], "verdict"] == "out of turn"
    assert table.loc[fit[0], "verdict"] == "passed over"
    lost = table.loc[table["verdict"] == "passed over", "money"].sum()
    assert facts["money"] == pytest.approx(reviewed.facts["money"] + table.loc[fit[-1], "money"] + lost)


def test_tables_of_another_company_are_refused(morning, tmp_path):
    site, tables, _ = morning
    lines = tables["order_lines"]
    moved = lines.assign(product_id=lines["product_id"].map({"P0000": "P0001"}).fillna("P0000"))
    other = site_of(tmp_path / "other", tables | {"order_lines": moved})
    with pytest.raises(ValueError, match=r"lines of the queue as of 2024-10-27 .* later tables of the same company"):
        review(reopen(Path(site.store)), facts_at(other, EVENING, tmp_path / "facts"))


def test_an_evening_before_its_morning_or_on_a_day_that_is_not_over_is_refused(morning, tmp_path):
    site, tables, _ = morning
    reopened = reopen(Path(site.store))
    with pytest.raises(ValueError, match="does not come after the morning"):
        review(reopened, facts_at(site, T, tmp_path / "same"))
    assert review(reopened, facts_at(site, T + timedelta(hours=12), tmp_path / "noon")).facts["run_id"]
    shipments = tables["shipments"]
    by_day = shipments.assign(shipped_at=pd.to_datetime(shipments["shipped_at"]).dt.normalize())
    days = site_of(tmp_path / "days", tables | {"shipments": by_day})
    with pytest.raises(ValueError, match="shipments carry days and no times, so those of 2024-10-27 are known only"):
        review(reopened, facts_at(days, T + timedelta(hours=12), tmp_path / "day"))
