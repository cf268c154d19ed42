"""What the store collects of sources that overwrite and delete, and what a run sees of it as of any T."""

import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from erp import collected
from erp.collected import collect, collect_for_run, finish_collections
from erp.contract import ContractError
from erp.known import Facts, check, gather
from erp.settings import Site
from erp.source import collected_folder, collections, moment_name, open_source
from tests.erp.small_company import T, ask, back_orders, rows, small_tables, write_tables
from tests.erp.test_extract import as_sqlite

DAY = timedelta(days=1)


@pytest.fixture
def mornings(tmp_path):
    """Collect each morning's tables; afterwards the facts known then or at any other time."""
    number = iter(range(1000))

    def site(**settings):
        given = {"max_lag_hours": 1e6, "tolerated_share": 0.9} | settings
        return Site(data=str(tmp_path / "data"), store=str(tmp_path / "store"), **given)

    def taken(tables, as_of, extract_json=None, **settings):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        write_tables(tables, tmp_path / "data")
        if extract_json:
            (tmp_path / "data" / "extract.json").write_text(extract_json, encoding="utf-8")
        return collect(site(**settings), as_of, as_of)

    def facts(as_of, data=None, **settings):
        folder = tmp_path / f"facts-{next(number)}"
        folder.mkdir()
        of = replace(site(**settings), data=str(data or collected_folder(tmp_path / "store")))
        gather(folder, of, as_of)
        return Facts(folder, as_of, of)

    taken.facts, taken.site, taken.folder = facts, site, tmp_path
    return taken


def few_tables():
    """What most tests need: the required tables, and goods on order."""
    names = ("customers", "products", "order_lines", "shipments", "cancellations", "stock", "purchase_orders")
    return {name: frame for name, frame in small_tables().items() if name in names}


def counts(collection, *names):
    return {
        name: (found["new"], found["changed"], found["vanished"])
        for name, found in collection.found.items()
        if found["new"] or found["changed"] or found["vanished"] or name in names
    }


def files_of(store):
    return {path: path.read_bytes() for path in collected_folder(store).rglob("*.parquet")}


def test_the_first_extract_says_what_the_folder_itself_says(mornings):
    first = mornings(small_tables(), T)
    assert first.is_first
    assert mornings.facts(T).fingerprint == mornings.facts(T, mornings.site().data).fingerprint
    assert mornings.facts(T - 5 * DAY).fingerprint == mornings.facts(T - 5 * DAY, mornings.site().data).fingerprint


def test_the_same_extract_on_the_next_morning_keeps_nothing(mornings):
    mornings(few_tables(), T)
    before = files_of(mornings.site().store)
    again = mornings(few_tables(), T + DAY)
    assert counts(again) == {}
    assert files_of(mornings.site().store) == before
    assert collections(mornings.site().store) == [T, T + DAY]


def test_a_t_that_was_collected_is_answered_without_reading_and_an_earlier_one_is_refused(mornings):
    first = mornings(few_tables(), T)
    shutil.rmtree(mornings.site().data)
    assert collect(mornings.site(), T, T) == first
    with pytest.raises(ContractError, match="was collected as of 2024-03-15 05:00:00 already"):
        collect(mornings.site(), T - DAY, T)


def test_what_is_overwritten_counts_from_the_morning_that_told_it_and_not_before(mornings):
    tables = few_tables()
    mornings(tables, T)
    tables["customers"].loc[0, "credit_hold"] = True
    tables["purchase_orders"].loc[0, "expected_on"] = datetime(2024, 4, 1).date()
    assert counts(mornings(tables, T + DAY)) == {"customers": (0, 1, 0), "purchase_orders": (0, 1, 0)}
    held = "select credit_hold from known_customers where customer_id = 'C1'"
    told = "select expected_on from known_expected_dates where po_line_id = 'B1' order by told_at"
    after, before = mornings.facts(T + DAY), mornings.facts(T)
    assert (ask(after, held), ask(before, held)) == ([(True,)], [(False,)])
    assert [day.isoformat() for (day,) in ask(after, told)] == ["2024-03-10", "2024-04-01"]
    assert [day.isoformat() for (day,) in ask(before, told)] == ["2024-03-10"]


def test_a_line_that_is_deleted_is_a_cancellation_on_the_morning_that_missed_it(mornings):
    tables = few_tables()
    mornings(tables, T)
    tables["order_lines"] = tables["order_lines"][tables["order_lines"]["order_line_id"] != "L6"]
    tables["purchase_orders"]["for_order_line_id"] = None
    assert counts(mornings(tables, T + DAY, tolerated_loss_share=0.2))["order_lines"] == (0, 0, 1)
    gone = "select order_line_id, quantity, reason, cancelled_on from known_cancellations where order_line_id = 'L6'"
    assert ask(mornings.facts(T), gone) == []
    assert ask(mornings.facts(T + DAY), gone) == [("L6", 7.0, "vanished", (T + DAY).date())]
    assert "L6" in back_orders(mornings.facts(T))
    assert "L6" not in back_orders(mornings.facts(T + DAY))


def test_a_line_that_is_archived_with_its_shipments_is_no_cancellation(mornings):
    tables = few_tables()
    mornings(tables, T)
    for name in ("order_lines", "shipments"):
        tables[name] = tables[name][tables[name]["order_line_id"] != "L7"]
    found = counts(mornings(tables, T + DAY), "shipments")
    assert found["order_lines"] == (0, 0, 1)
    assert found["shipments"] == (0, 0, 0), "the shipment left with its line: it happened all the same"
    cancelled = "select count(*) from known_cancellations where order_line_id = 'L7'"
    assert ask(mornings.facts(T + DAY), cancelled) == [(0,)]


def test_a_shipment_that_is_booked_back_leaves_the_line_open_again(mornings):
    tables = few_tables()
    mornings(tables, T, tolerated_loss_share=0.5)
    tables["shipments"] = tables["shipments"][tables["shipments"]["event_id"] != "S1"]
    mornings(tables, T + DAY, tolerated_loss_share=0.5)

    assert back_orders(mornings.facts(T))["L1"] == 6.0
    assert back_orders(mornings.facts(T + DAY))["L1"] == 10.0


def test_a_row_that_comes_back_counts_again(mornings):
    tables = few_tables()
    without = {**tables, "customers": tables["customers"].iloc[:2]}
    without["order_lines"] = tables["order_lines"][tables["order_lines"]["customer_id"] != "C3"]
    without["purchase_orders"] = tables["purchase_orders"].assign(for_order_line_id=None)
    allowed = {"tolerated_loss_share": 0.5}
    mornings(tables, T, **allowed)
    assert counts(mornings(without, T + DAY, **allowed))["order_lines"] == (0, 0, 2)
    assert counts(mornings(tables, T + 2 * DAY, **allowed))["order_lines"] == (2, 0, 0)
    waiting = [back_orders(mornings.facts(T + day * DAY)) for day in range(3)]
    assert ["L6" in lines for lines in waiting] == [True, False, True]


def test_a_source_that_keeps_only_todays_count_has_a_history_of_counts(mornings):
    tables = few_tables()
    tables["stock"]["snapshot_at"] = T - timedelta(hours=1)
    mornings(tables, T)
    tables["stock"] = tables["stock"].assign(snapshot_at=T + DAY - timedelta(hours=1), on_hand=[1.0, 2.0, 3.0])
    assert counts(mornings(tables, T + DAY))["stock"] == (3, 0, 0)
    stock = "select on_hand from known_stock where product_id = 'P1'"
    assert ask(mornings.facts(T + DAY), stock) == [(1.0,)]
    assert ask(mornings.facts(T), stock) == [(9.0,)]


def test_what_lies_before_covers_from_did_not_vanish(mornings):
    tables = few_tables()
    mornings(tables, T)
    recent = tables["shipments"][tables["shipments"]["shipped_at"] >= "2024-03-01"]
    covers = '{"tables": {"shipments": {"covers_from": "2024-03-01", "complete_to": "2024-03-16T05:00:00Z"}}}'
    assert counts(mornings({**tables, "shipments": recent}, T + DAY, covers)) == {}
    nothing = tables["shipments"].iloc[:0]
    with pytest.raises(ContractError, match=r"shipments lost 2 of 2 rows \(100%\)"):
        mornings({**tables, "shipments": nothing}, T + 2 * DAY, covers)


def test_an_empty_export_is_refused_before_anything_is_kept(mornings):
    tables = few_tables()
    mornings(tables, T)
    before = files_of(mornings.site().store)
    emptied = {**tables, "order_lines": tables["order_lines"].iloc[:0], "stock": tables["stock"].iloc[:0]}
    with pytest.raises(ContractError) as refused:
        mornings(emptied, T + DAY)
    assert "order_lines lost 7 of 7 rows (100%)" in str(refused.value)
    assert "stock lost 3 of 3 products and warehouses counted (100%)" in str(refused.value)
    assert files_of(mornings.site().store) == before
    assert collections(mornings.site().store) == [T]
    assert sorted(path.name for path in collected_folder(mornings.site().store).glob(".*")) == []


def test_a_table_or_column_that_is_no_longer_there_stands_as_it_was(mornings):
    tables = few_tables()
    mornings(tables, T)
    less = {name: frame for name, frame in tables.items() if name != "purchase_orders"}
    less["products"] = tables["products"].drop(columns="unit_cost")
    later = mornings(less, T + DAY)
    assert later.not_told == ("purchase_orders",)
    assert "purchase_orders" not in later.found
    assert counts(later) == {}
    cost = "select unit_cost from known_products where product_id = 'P1'"
    assert ask(mornings.facts(T + DAY), cost) == [(6.0,)]
    assert ask(mornings.facts(T + DAY), "select count(*) from known_purchase_orders") == [(2,)]


def test_the_times_that_a_source_records_itself_hold_unless_they_were_to_change_an_earlier_morning(mornings):
    tables = few_tables()
    tables["customers"]["recorded_at"] = pd.Timestamp("2024-02-01 10:00")
    mornings(tables, T)
    tables["customers"].loc[0, ["segment", "recorded_at"]] = ["vip", pd.Timestamp(T + timedelta(hours=3))]
    tables["customers"].loc[1, ["segment", "recorded_at"]] = ["vip", pd.Timestamp(T - timedelta(hours=3))]
    assert counts(mornings(tables, T + DAY)) == {"customers": (0, 2, 0)}
    segment = "select segment from known_customers where customer_id = '{}'"
    facts = mornings.facts(T + DAY)
    assert ask(facts, segment.format("C1"), T + timedelta(hours=2)) == [("trade",)]
    assert ask(facts, segment.format("C1"), T + timedelta(hours=4)) == [("vip",)]
    assert ask(facts, segment.format("C2"), T) == [("trade",)], "it was not told that morning, whatever it says"
    assert ask(facts, segment.format("C2"), T + DAY) == [("vip",)]


def test_days_of_recording_stay_days_beside_the_moments_of_collections(mornings):
    tables = few_tables()
    tables["customers"]["recorded_at"] = pd.Timestamp("2024-03-10")  # known at the end of that day
    mornings(tables, T)
    tables["customers"].loc[0, ["segment", "recorded_at"]] = ["vip", pd.NaT]
    mornings(tables, T + DAY)
    facts = mornings.facts(T + DAY)
    n_known = "select count(*) from known_customers where customer_id = 'C2'"
    assert ask(facts, n_known, datetime(2024, 3, 10, 23)) == [(0,)]
    assert ask(facts, n_known, datetime(2024, 3, 11)) == [(1,)]


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin"])
def test_collections_at_midnight_count_from_midnight_and_not_from_the_day_after(mornings, timezone):
    midnight = datetime(2024, 3, 16) if timezone == "UTC" else datetime(2024, 3, 15, 23)
    tables = few_tables()
    mornings(tables, midnight - DAY, timezone=timezone)
    tables["customers"].loc[0, "segment"] = "vip"
    mornings(tables, midnight, timezone=timezone)
    segment = "select segment from known_customers where customer_id = 'C1'"
    assert ask(mornings.facts(midnight, timezone=timezone), segment) == [("vip",)]
    assert ask(mornings.facts(midnight - timedelta(hours=1), timezone=timezone), segment) == [("trade",)]


def test_a_fact_that_is_only_a_day_is_known_at_the_end_of_it_as_in_a_folder(mornings):
    tables = few_tables()
    tables["shipments"]["shipped_at"] = tables["shipments"]["shipped_at"].dt.normalize()
    mornings(tables, T)
    today = rows("order_line_id shipped_at quantity event_id", ("L1", "2024-03-16", 1.0, "S9"))
    tables["shipments"] = pd.concat([tables["shipments"], today], ignore_index=True)
    mornings(tables, T + DAY)
    n = "select count(*) from known_shipments where order_line_id = 'L1'"
    for moment in (T + DAY, datetime(2024, 3, 16, 23, 59), datetime(2024, 3, 17)):
        own = ask(mornings.facts(moment, mornings.site().data), n)
        assert ask(mornings.facts(moment), n) == own
    today["quantity"] = 2.0
    tables["shipments"] = pd.concat([tables["shipments"].iloc[:-1], today], ignore_index=True)
    mornings(tables, T + DAY + timedelta(hours=9))
    assert ask(mornings.facts(datetime(2024, 3, 17)), "select sum(quantity) from known_shipments") == [(13.0,)]


def test_events_without_ids_are_the_same_event_while_nothing_of_them_changes(mornings):
    tables = few_tables()
    for name in ("shipments", "cancellations"):
        tables[name] = tables[name].drop(columns="event_id")
    mornings(tables, T)
    tables["shipments"].loc[0, "quantity"] = 3.0
    assert counts(mornings(tables, T + DAY, tolerated_loss_share=0.5)) == {"shipments": (1, 0, 1)}
    shipped = "select sum(quantity) from known_shipments where order_line_id = 'L1'"
    assert ask(mornings.facts(T), shipped) == [(4.0,)]
    assert ask(mornings.facts(T + DAY), shipped) == [(3.0,)]


def test_a_cell_that_cannot_be_read_is_rejected_each_morning_until_it_is_corrected(mornings):
    tables = few_tables()
    wrong = tables["shipments"].astype({"quantity": "str"})
    wrong.loc[0, "quantity"] = "four"
    mornings({**tables, "shipments": wrong}, T)
    of_the_folder = check(mornings.site(tolerated_share=0.9), T).rejected.drop(columns=["file", "row"])
    site = replace(mornings.site(tolerated_share=0.9), data=str(collected_folder(mornings.site().store)))
    assert check(site, T).rejected.drop(columns=["file", "row"]).to_dict() == of_the_folder.to_dict()
    assert check(site, T).not_ranked["order_line_id"].tolist() == ["L1"]
    mornings(tables, T + DAY)
    assert check(site, T + DAY).not_ranked.empty, "the correction is the row that holds"
    assert check(site, T).not_ranked["order_line_id"].tolist() == ["L1"]


def test_two_rows_under_one_key_break_the_law_until_the_source_keeps_one(mornings):
    tables = few_tables()
    twice = pd.concat([tables["products"], tables["products"].iloc[:1].assign(list_price=11.0)], ignore_index=True)
    mornings({**tables, "products": twice}, T)
    site = replace(mornings.site(tolerated_share=0.9), data=str(collected_folder(mornings.site().store)))
    assert "key is unique" in set(check(site, T).rejected["rule"])
    assert counts(mornings(tables, T + DAY)) == {"products": (0, 1, 0)}
    price = "select list_price from known_products where product_id = 'P1'"
    assert ask(mornings.facts(T + DAY), price) == [(10.0,)]


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_a_collection_that_is_killed_is_as_if_it_had_not_begun_or_as_if_it_had_ended(
    mornings, monkeypatch, killed_after
):
    tables = few_tables()
    mornings(tables, T)
    before = files_of(mornings.site().store)
    tables["customers"].loc[0, "segment"] = "vip"
    tables["order_lines"].loc[0, "unit_price"] = 8.0
    steps = iter(range(100))

    def killed(real):
        def step(*values, **named):
            if next(steps) >= killed_after:
                raise KeyboardInterrupt  # as a kill: nothing more is done
            return real(*values, **named)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(collected, "write_kept", killed(collected.write_kept))
        patch.setattr(collected.os, "replace", killed(collected.os.replace))
        patch.setattr(collected.Path, "rename", killed(collected.Path.rename))
        patch.setattr(collected.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            mornings(tables, T + DAY)
    finish_collections(mornings.site().store)
    after = files_of(mornings.site().store)
    assert {path: after[path] for path in before} == before
    new = sorted(path.parent.name for path in set(after) - set(before))
    is_whole = collections(mornings.site().store) == [T, T + DAY]
    assert new == (["customers", "order_lines"] if is_whole else [])
    assert list(collected_folder(mornings.site().store).glob(".*")) == []
    assert finish_collections(mornings.site().store) == []
    mornings(tables, T + DAY)
    assert sorted(p.parent.name for p in set(files_of(mornings.site().store)) - set(before)) == [
        "customers",
        "order_lines",
    ]


@pytest.mark.slow
def test_killed_processes_leave_whole_collections_or_none(mornings):
    tables = few_tables()
    mornings(tables, T)
    moments = np.random.default_rng(901).uniform(0.02, 1.2, size=8)
    for day, seconds in enumerate(moments, start=1):
        tables["customers"]["segment"] = f"segment {day}"
        tables["order_lines"]["unit_price"] = float(day)
        write_tables(tables, mornings.folder / "data")
        child = os.fork()
        if not child:
            with suppress(BaseException):
                collect(mornings.site(), T + day * DAY, T + day * DAY)
            os._exit(0)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        finish_collections(mornings.site().store)
        done, told = collections(mornings.site().store), collected_folder(mornings.site().store)
        for name in ("customers", "order_lines"):
            assert sorted(path.stem for path in (told / name).glob("*")) == [moment_name(moment) for moment in done]
        assert list(told.glob(".*")) == []
    last = mornings(tables, T + 9 * DAY).as_of
    price = "select distinct unit_price from known_order_lines"
    assert ask(mornings.facts(last), price) == [(8.0,)]


def test_a_run_collects_for_its_own_t_and_answers_past_mornings_from_what_was_collected(mornings, caplog):
    write_tables(few_tables(), mornings.folder / "data")
    site = mornings.site(max_lag_hours=30.0)
    assert collect_for_run(site, T, T) is None, "a folder is read as it is"
    live = replace(site, data=str(as_sqlite(few_tables(), mornings.folder / "erp.sqlite")))
    with pytest.raises(ContractError, match="nothing was collected by then"):
        collect_for_run(live, T, T + timedelta(minutes=61))
    assert collect_for_run(live, T, T + timedelta(minutes=59)).is_first
    assert collect_for_run(live, T, T + timedelta(minutes=59)) is None, "it was collected"
    assert collect_for_run(live, T - 9 * DAY, T) is None
    with caplog.at_level("WARNING", "backorder"):
        assert collect_for_run(live, T + DAY, T + 9 * DAY) is None
    assert "reading what was collected as of 2024-03-15 05:00:00, 24.0 hours before" in caplog.text
    with pytest.raises(ContractError, match=r"48 hours before, more than max_lag_hours = 30: what shipped since"):
        collect_for_run(live, T + 2 * DAY, T + 9 * DAY)
    assert collections(site.store) == [T]


def test_what_is_collected_later_is_not_among_the_files_of_an_earlier_morning(mornings):
    tables = few_tables()
    mornings(tables, T)
    tables["customers"].loc[0, "segment"] = "vip"
    mornings(tables, T + DAY)
    live = replace(mornings.site(), data=str(as_sqlite(tables, mornings.folder / "erp.sqlite")))
    assert len(open_source(live, T).files["customers"]) == 1
    assert len(open_source(live, T + DAY).files["customers"]) == 2
    assert len(open_source(live, T - DAY).files["customers"]) == 1, "what the first extract told of its own past"
    empty = replace(live, store=str(mornings.folder / "other"))
    with pytest.raises(ContractError, match="nothing was collected"):
        open_source(empty, T)
