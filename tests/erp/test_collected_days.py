"""Collected history at its edges: rows dated by the day or ahead, mornings to come, exports without the open lines."""

import shutil
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from erp.collected import collect, collect_for_run
from erp.contract import ContractError
from erp.known import Facts, gather
from erp.settings import Site
from erp.source import collected_folder, collections
from tests.erp.small_company import T, add, back_orders, small_tables, write_tables
from tests.erp.test_extract import as_sqlite

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEW = {"order_line_id": "L9", "order_id": "O9", "customer_id": "C1", "product_id": "P1", "promised_on": None}
AHEAD = "2024-03-20"  # five days after T


@pytest.fixture
def told(tmp_path):
    """Collect what a source tells at a moment; `told.waits(moment)` says what of line L9 is open by then."""

    def taken(tables, as_of):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        write_tables(tables, tmp_path / "data")
        return collect(Site(data=str(tmp_path / "data"), store=str(tmp_path / "store")), as_of, as_of)

    def waits(as_of):
        folder = tmp_path / f"facts {as_of:%d}"
        folder.mkdir()
        site = Site(data=str(collected_folder(tmp_path / "store")), store=str(tmp_path), max_lag_hours=1e6)
        gather(folder, site, as_of)
        return back_orders(Facts(folder, as_of, site)).get("L9")

    taken.waits = waits
    return taken


def tables_with(quantity, ordered_on):
    """The company with its orders dated by the day, and line L9 of this quantity; None: without it."""
    tables = small_tables()
    if quantity is not None:
        add(tables, "order_lines", **NEW, ordered_at=ordered_on, quantity=quantity, unit_price=9.0, requested_on=None)
    tables["order_lines"]["ordered_at"] = pd.to_datetime(tables["order_lines"]["ordered_at"]).dt.normalize()
    return tables


@pytest.mark.parametrize(
    ("ordered_on", "is_in_first", "quantities", "open_later"),
    [
        (f"{T:%Y-%m-%d}", True, (2.0, None), None),
        (AHEAD, True, (2.0, 5.0), 5.0),
        (f"{T:%Y-%m-%d}", False, (2.0, None, 2.0), 2.0),
        (AHEAD, True, (2.0, None, 2.0, None), None),
    ],
    ids=["gone", "changed", "gone and back", "gone, back and gone"],
)
def test_what_is_told_last_of_a_day_that_is_not_over_holds_from_its_end_on(
    told, ordered_on, is_in_first, quantities, open_later
):
    if not is_in_first:
        told(tables_with(None, ordered_on), T - DAY)
    for place, quantity in enumerate(quantities):
        told(tables_with(quantity, ordered_on), T + place * 3 * HOUR)
    assert told.waits(pd.Timestamp(ordered_on).to_pydatetime() + DAY + HOUR) == open_later
    told(tables_with(quantities[-1], ordered_on), T + 20 * DAY)
    assert told.waits(T + 20 * DAY) == open_later


def test_a_morning_still_to_come_is_refused_or_every_later_one_would_read_what_it_told(tmp_path):
    site = Site(data=str(as_sqlite(small_tables(), tmp_path / "erp.sqlite")), store=str(tmp_path / "store"))
    for source in (site, replace(site, data=str(write_tables(small_tables(), tmp_path / "data")))):
        with pytest.raises(
            ContractError, match=r"it is 2024-03-15 05:00:00 UTC, and 2025-03-15 05:00:00 is still to come"
        ):
            collect(source, T + 365 * DAY, T)
    assert collections(site.store) == []
    assert collect_for_run(site, T + timedelta(minutes=4), T).is_first  # clocks differ


def test_a_morning_between_two_collections_is_answered_only_if_the_earlier_one_is_not_too_old(tmp_path, caplog):
    site = Site(data=str(as_sqlite(small_tables(), tmp_path / "erp.sqlite")), store=str(tmp_path / "store"))
    for as_of in (T, T + 4 * DAY):
        collect(site, as_of, as_of)
    with caplog.at_level("WARNING", "backorder"):
        assert collect_for_run(site, T + DAY, T + 4 * DAY) is None
    assert "reading what was collected as of 2024-03-15 05:00:00, 24.0 hours before" in caplog.text
    with pytest.raises(ContractError, match=r"lies before 2024-03-19 05:00:00, which was collected already.* 95 hours"):
        collect_for_run(site, T + 4 * DAY - HOUR, T + 4 * DAY)
    assert collect_for_run(site, T + 4 * DAY, T + 9 * DAY) is None
    assert collections(site.store) == [T, T + 4 * DAY]


def test_an_export_of_finished_lines_alone_is_refused_though_they_are_most_of_all_lines(tmp_path):
    tables = small_tables()
    finished, shipped = tables["order_lines"].iloc[[6]], tables["shipments"].iloc[[2]]
    waiting = [finished.assign(order_line_id=f"W{n}", order_id=f"WO{n}") for n in range(40)]
    done = [finished.assign(order_line_id=f"D{n}", order_id=f"DO{n}") for n in range(400)]
    ended = [shipped.assign(order_line_id=f"D{n}", event_id=f"DS{n}") for n in range(400)]
    tables["order_lines"] = pd.concat([tables["order_lines"], *waiting, *done], ignore_index=True)
    tables["shipments"] = pd.concat([tables["shipments"], *ended], ignore_index=True)
    site = Site(data=str(write_tables(tables, tmp_path / "data")), store=str(tmp_path / "store"))
    collect(site, T, T)
    lines, left = tables["order_lines"], tables["order_lines"]["order_line_id"]
    write_tables({"order_lines": lines[~left.str.startswith("W")]}, tmp_path / "data")
    # 43 lines are neither shipped nor cancelled: those 40, L4, L5 and L6.
    with pytest.raises(
        ContractError, match=r"order_lines lost 40 of 43 lines that nobody shipped or cancelled \(93%\)"
    ):
        collect(site, T + DAY, T + DAY)
    archived = {"order_lines": lines[~left.isin([f"D{n}" for n in range(80)])], "shipments": tables["shipments"][80:]}
    write_tables(archived, tmp_path / "data")
    assert collect(site, T + DAY, T + DAY).found["order_lines"]["vanished"] == 80, "those were shipped"


def test_an_extract_that_says_it_was_taken_days_after_t_is_refused(tmp_path):
    site = Site(data=str(tmp_path / "data"), store=str(tmp_path / "store"))
    write_tables(small_tables(), tmp_path / "data")
    extract = tmp_path / "data" / "extract.json"
    extract.write_text(f'{{"taken_at": "{(T + 3 * DAY).isoformat()}Z", "tables": {{"order_lines": {{}}}}}}')
    with pytest.raises(ContractError, match=r"more than late_extract_minutes = 60 after 2024-03-15"):
        collect(site, T, T + 3 * DAY)
    assert collections(site.store) == []
    extract.write_text(f'{{"taken_at": "{(T + HOUR).isoformat()}Z", "tables": {{"order_lines": {{}}}}}}')
    assert collect(site, T, T + 3 * DAY).is_first
