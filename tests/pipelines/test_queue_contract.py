"""Published files against the contract of the queue, judged by `queue_validator` and by the company's own tables."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from pipelines import steps
from pipelines.jobs import score
from tests.pipelines.queue_validator import COLUMNS, inbound_of, merge_violations, violations
from tests.pipelines.small_company import (
    T,
    company_tables,
    goods_at,
    known,
    queue_of,
    site_of,
    waiting_lines,
    with_planners_work,
)

TOMORROW = T + timedelta(days=1)


@pytest.fixture(scope="module")
def tables():
    return with_planners_work(company_tables(days_on=1))


@pytest.fixture(scope="module")
def site(trained_site, tables, tmp_path_factory):
    """A morning with planners' words, holds, a ship group, reservations and odd names, published once."""
    folder = tmp_path_factory.mktemp("contract")
    shutil.copytree(trained_site.store, folder / "store")
    site = site_of(folder, tables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", lambda *_: None)
        score(site, T)
    return site


@pytest.fixture(scope="module")
def queue(site):
    return queue_of(site)


def test_the_published_files_keep_the_contract(site):
    assert violations(Path(site.out), T) == []


def test_every_open_line_is_in_the_queue_exactly_once_and_no_shipped_one(queue, tables):
    want = waiting_lines(tables, T).set_index("order_line_id")
    got = queue.set_index("order_line_id")
    assert sorted(got.index) == sorted(want.index)
    want = want.reindex(got.index)
    assert np.allclose(got["open_quantity"], want["open_quantity"])
    assert np.allclose(got["line_value"], want["open_quantity"] * want["unit_price"])
    assert (got["waited_days"] == (pd.Timestamp(T).normalize() - want["due_on"]).dt.days).all()
    assert (got["ordered_at"] == want["ordered_at"]).all()


def test_goods_in_the_pool_are_the_count_and_what_came_and_went_since(queue, tables):
    goods = goods_at(tables, T)
    assert np.allclose(queue["available_now"], queue["product_id"].map(goods).fillna(0.0))
    assert (queue["ship_now_quantity"] > 0).sum() > 3


def test_rank_follows_from_the_pools_lists_by_the_merge_rule(queue, tables):
    ended = tables["products"].set_index("product_id")["discontinued_on"] <= pd.Timestamp(T)
    due = waiting_lines(tables, T).set_index("order_line_id")["due_on"]
    discontinued = set(ended[ended].index)
    assert discontinued & set(queue["product_id"])
    assert merge_violations(queue, due, discontinued) == []
    wrong = queue.iloc[[1, 0, *range(2, len(queue))]]
    assert merge_violations(wrong, due, discontinued) != []


def test_lines_that_may_not_be_split_ship_whole_and_others_in_steps(queue, tables):
    lines = tables["order_lines"].set_index("order_line_id").reindex(queue["order_line_id"])
    whole = ~lines["may_split"].fillna(False).astype(bool).to_numpy() | lines["ship_group"].notna().to_numpy()
    part = (queue["ship_now_quantity"] > 0) & (queue["ship_now_quantity"] < queue["open_quantity"])
    assert not (part & whole).any()


def test_no_goods_stay_while_a_line_that_may_have_them_fits(queue, tables):
    lines = tables["order_lines"].set_index("order_line_id")
    for _, pool in queue.groupby(["product_id", "warehouse_id"]):
        left = pool["available_now"].iloc[0] - pool["ship_now_quantity"].sum()
        for line in pool[(pool["action"] == "wait")].itertuples():
            row = lines.loc[line.order_line_id]
            if pd.isna(row["ship_group"]):
                assert left < (1 if row["may_split"] else line.open_quantity), line.order_line_id


def test_the_ship_group_leaves_together_or_not_at_all(queue, tables):
    group = tables["order_lines"].query("ship_group == 'together'")["order_line_id"]
    given = queue[queue["order_line_id"].isin(group)]
    assert len(given) == 2
    assert given["action"].isin(["ship"]).nunique() == 1


def test_what_the_manifest_says_was_saved_is_what_the_queue_gives(site, queue):
    said = json.loads((Path(site.out) / "manifest.json").read_text())["allocation"]
    saved = (queue["loss_if_waits"] * queue["ship_now_quantity"] / queue["open_quantity"]).sum()
    assert saved == pytest.approx(said["value"], rel=1e-9)
    assert said["gap"] >= -1e-9
    assert said["bound"] >= saved - 1e-9


def test_planners_words_are_applied_and_shown_and_expire(queue, tables):
    ids = waiting_lines(tables, T)["order_line_id"].tolist()
    pinned, held, excluded, expired = (queue.set_index("order_line_id").loc[ids[i]] for i in range(4))
    assert (pinned["override"], pinned["pool_rank"] <= 2) == ("pin", True)  # two lines of a pool may be pinned
    assert (held["override"], held["action"]) == ("hold", "hold")  # until_on is today: it holds today
    assert (excluded["override"], excluded["action"]) == ("exclude", "hold")
    assert pd.isna(expired["override"])
    assert "Ada" in held["reason"]
    assert "agreed with the customer" in held["reason"]


def test_customers_on_credit_hold_get_nothing_and_stand_last(queue, tables):
    blocked = tables["customers"].query("credit_hold")["customer_id"]
    lines = queue[queue["customer_id"].isin(blocked)]
    assert len(lines) >= 2
    assert (lines["action"] == "hold").all()
    assert lines.loc[lines["override"].isna(), "reason"].str.contains("credit hold").all()
    for line in lines.itertuples():
        pool = queue[queue["product_id"] == line.product_id]
        assert line.pool_rank > pool.loc[pool["action"] != "hold", "pool_rank"].max()


def test_a_discontinued_products_lines_stand_after_all_others_but_still_get_its_goods(queue, tables):
    ended = tables["products"].query("discontinued_on <= '2024-10-27'")["product_id"]
    last = queue["product_id"].isin(ended) & (queue["override"] != "pin")
    others = ~last & (queue["action"] != "hold")
    assert last.any()
    assert queue.loc[last, "rank"].min() > queue.loc[others, "rank"].max()


def test_nobody_knows_the_value_of_an_anonymous_customer(queue):
    nobody = queue[queue["customer_id"].isna()]
    assert len(nobody) > 0
    assert nobody["p_no_order_365d"].isna().all()
    assert (nobody["loss_future_orders"] == 0).all()
    assert nobody["customer_name"].isna().all()


def test_text_that_looks_like_a_formula_sleeps_in_the_csv_and_stays_itself_in_the_parquet(site, queue):
    text = (Path(site.out) / "queue.csv").read_text(encoding="utf-8-sig")
    assert """"'=HYPERLINK(""x""), ""y\"""" in text
    assert '"\'+49 170"' in text
    assert '"Müller; ""Söhne"",\nBonn"' in text
    assert {'=HYPERLINK("x"), "y"', "+49 170"} <= set(queue["customer_reference"])


def test_the_workbook_shows_the_same_lines_with_ids_as_text(site, queue):
    sheet = openpyxl.load_workbook(Path(site.out) / "queue.xlsx")["queue"]
    header, *rows = list(sheet.iter_rows(values_only=True))
    shown = pd.DataFrame(rows, columns=header)
    assert set(header) == COLUMNS
    assert shown["rank"].tolist() == queue["rank"].tolist()
    assert shown["order_line_id"].tolist() == queue["order_line_id"].tolist()
    assert all(isinstance(text, str) for text in shown["product_id"])
    assert np.allclose(shown["loss_if_waits"].astype(float), queue["loss_if_waits"], rtol=1e-12)


def test_the_second_morning_says_what_changed_since_the_first(trained, tables):
    site = trained(tables)
    score(site, T)
    first = queue_of(site)
    assert first["previous_rank"].isna().all()
    assert first["changed_because"].isna().all()
    score(site, TOMORROW)
    second = queue_of(site)
    assert violations(Path(site.out), TOMORROW) == []
    before = second["order_line_id"].map(first.set_index("order_line_id")["rank"])
    assert second["previous_rank"].astype("Float64").fillna(-1).tolist() == before.fillna(-1).tolist()
    moved = second["previous_rank"].isna() | (second["previous_rank"] != second["rank"])
    assert (second["changed_because"].notna() == moved).all()
    assert (second.loc[before.isna(), "changed_because"] == "new line").all()
    assert second["run_id"].iloc[0] != first["run_id"].iloc[0]
    score(site, T)
    assert queue_of(site).equals(first), "the first morning has no later history"


BREACHES = {
    "rank is dense from 1 and the file's order": lambda q: q.assign(rank=q["rank"] + 1),
    "each line once": lambda q: q.assign(order_line_id=q["order_line_id"].iloc[0]),
    "terms sum to loss_if_waits": lambda q: q.assign(loss_service=1e-6),
    "given is within the goods": lambda q: q.assign(available_now=0.0),
    "given is neither negative nor above the open quantity": lambda q: q.assign(open_quantity=q["open_quantity"] / 9),
    "stock_price": lambda q: q.assign(stock_price=q["stock_price"] + 0.01),
    "actions": lambda q: q.assign(action="ship"),
    "days late count from the promise": lambda q: q.assign(days_late=q["days_late"] + 1),
    "one run, one moment, one currency": lambda q: q.assign(currency="USD"),
    "pool_size": lambda q: q.assign(pool_size=1),
    "types": lambda q: q.assign(loss_if_waits=np.nan),
    "a reason is one plain sentence": lambda q: q.assign(reason="Waits nan days."),
    "columns: advice": lambda q: q.drop(columns="advice"),
    "csv repeats the parquet": lambda q: q.assign(line_value=q["line_value"] + 0.01),
    "manifest's sha256": lambda q: q,
}


@pytest.mark.parametrize("rule", BREACHES)
def test_the_validator_sees_every_breach(site, queue, tmp_path, rule):
    out = shutil.copytree(site.out, tmp_path / "out")
    BREACHES[rule](queue).to_parquet(out / "queue.parquet", compression="gzip")
    assert rule in violations(out, T)


def test_every_inbound_line_that_owes_goods_is_listed_exactly_once(site, tables):
    told = known(tables["purchase_orders"], "recorded_at", T).sort_values("recorded_at").groupby("po_line_id")
    came = known(tables["receipts"], "received_at", T).groupby("po_line_id")["quantity"].sum()
    owed = (told["quantity"].last() - came.reindex(list(told.groups)).fillna(0.0)).loc[lambda left: left > 0]
    listed = inbound_of(Path(site.out)).set_index("po_line_id")
    assert sorted(listed.index) == sorted(owed.index)
    assert len(listed) > 5
    assert np.allclose(listed["open_quantity"], owed.reindex(listed.index))
    dates = told["expected_on"].agg(["first", "last", "nunique", "size"]).reindex(listed.index)
    assert (listed["first_expected_on"] == dates["first"]).all()
    assert (listed["expected_on"] == dates["last"]).all()
    assert (dates["nunique"] == dates["size"]).all(), "each version tells another date"
    assert listed["n_slips"].tolist() == (dates["size"] - 1).tolist()
    assert listed["n_slips"].max() > 1


def test_money_waits_on_goods_that_are_on_order(site, queue):
    listed = inbound_of(Path(site.out))
    assert (listed["loss_waiting"] > 0).sum() > 3
    waits = queue[queue["product_id"].isin(listed["product_id"])]
    assert 0 < listed["loss_waiting"].sum() <= waits["loss_if_waits"].clip(lower=0).sum()


INBOUND_BREACHES = {
    "each inbound line once": lambda i: i.assign(po_line_id=i["po_line_id"].iloc[0]),
    "overdue first, then the most money": lambda i: i.iloc[::-1],
    "days overdue count from the date told": lambda i: i.assign(days_overdue=i["days_overdue"].astype(float) + 1),
    "an inbound line owes goods, and no more are waited for": lambda i: i.assign(open_quantity="0.5"),
    "nobody's money waits where nobody waits": lambda i: i.assign(n_lines_waiting="0"),
    "arrivals are after today and in order": lambda i: i.assign(arrives_on="2024-10-27"),
    "inbound chances": lambda i: i.assign(p_late="0.5", expected_on="2024-10-01"),
    "goods that wait are the pools'": lambda i: i.iloc[1:],
    "the manifest counts the inbound lines": lambda i: i.iloc[1:],
    "inbound lines are of the same run": lambda i: i.assign(run_id="another"),
    "who delivers is disrupted or not": lambda i: i.assign(is_disrupted=""),
    "inbound columns: p_late": lambda i: i.drop(columns="p_late"),
}


@pytest.mark.parametrize("rule", INBOUND_BREACHES)
def test_the_validator_sees_every_breach_of_the_inbound_list(site, tmp_path, rule):
    out = shutil.copytree(site.out, tmp_path / "out")
    listed = pd.read_csv(out / "inbound.csv", dtype="str", encoding="utf-8-sig", keep_default_na=False)
    INBOUND_BREACHES[rule](listed).to_csv(out / "inbound.csv", index=False, encoding="utf-8-sig")
    assert rule in violations(out, T)
