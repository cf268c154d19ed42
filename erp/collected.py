"""The store's own history of a source that overwrites and deletes: what each extract told anew, and when.

STORE/collected is a folder of the contract's tables: NAME/T.parquet holds the rows that the extract as of T told for
the first time, differently or no more (`is_deleted`), with `recorded_at`; collections/T.json says what was found. A run
as of T reads what was collected by T, so what is collected later changes no earlier morning.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from erp.addresses import shown
from erp.collected_rows import NEVER_VANISH, Difference, Look, compare, forget, load, write_kept
from erp.contract import TABLES, ContractError
from erp.engine import engine
from erp.extract import is_live, kind_of, read_source
from erp.freshness import MAY_SHRINK, read_extract
from erp.kept_files import write_text
from erp.settings import Site
from erp.source import RECORDS, collected_folder, collections, moment_name, open_folder, stage

_log = logging.getLogger("backorder")
# Folders of a collection under way: the extract, what is being written, what is whole and only to be put in its place.
_EXTRACT, _PART, _READY = ".extract-", ".part-", ".ready-"
_CLOCKS_DIFFER = timedelta(minutes=5)
_RECORD = "record.json"
_COUNTED = ("told", "new", "changed", "vanished")
# What events belong to: whether it left too is asked when they are compared.
_PARENTS = {parent for table in TABLES.values() if table.is_event for parent in table.parents.values()}
_MAY_LOSE = NEVER_VANISH | set(MAY_SHRINK)
_ENDS = ("shipments", "cancellations")
_MANY_LINES = 20  # open lines that vanish in one night; of fewer, a large share may be a day's cancellations


@dataclass(frozen=True)
class Collection:
    """What a collection found."""

    as_of: datetime
    is_first: bool
    found: Mapping[str, Mapping[str, int]]  # per table that the extract has: keys told, new, changed and vanished
    not_told: tuple[str, ...]  # tables that it has no more: they stand as they were


def collect_for_run(site: Site, as_of: datetime, now: datetime) -> Collection | None:
    """Collect what a run as of T needs; a source that is a folder is read as it is.

    Reading takes minutes: a source read up to `late_extract_minutes` after T tells T. Later, T is a past morning, and
    what was collected by then answers it.

    Returns
    -------
    None where nothing had to be collected.

    Raises
    ------
    ContractError
        If T is a past morning of which too little was collected, or the source cannot be used.
    """
    finish_collections(site.store)
    if kind_of(site.data) == "folder":
        return None
    earlier = collections(site.store)
    if as_of in earlier or (earlier and as_of < earlier[0]):
        return None
    is_now = now - as_of <= timedelta(minutes=site.late_extract_minutes)
    if is_now and not (earlier and as_of < earlier[-1]):
        return collect(site, as_of, now)
    _check_past_morning(site, as_of, earlier)
    return None


def _check_past_morning(site: Site, as_of: datetime, earlier: list[datetime]) -> None:
    late = f"{as_of} UTC is more than late_extract_minutes = {site.late_extract_minutes} ago"
    if earlier and as_of < earlier[-1]:
        late = f"{as_of} UTC lies before {earlier[-1]}, which was collected already"
    late += f", so {shown(site.data)} tells it no more"
    earlier = [moment for moment in earlier if moment < as_of]
    if not earlier:
        raise ContractError(
            f"{late}, and nothing was collected by then; choose a later --as-of, or none for now. A file that was"
            f" written then can be collected first: backorder collect --data FILE --as-of {as_of.isoformat()}Z"
        )
    hours = (as_of - earlier[-1]).total_seconds() / 3600
    if hours > site.max_lag_hours:
        raise ContractError(
            f"{late}, and the last collection by then is of {earlier[-1]}, {hours:.0f} hours before, more than"
            f" max_lag_hours = {site.max_lag_hours:g}: what shipped since would look open; choose a later --as-of"
        )
    _log.warning("%s: reading what was collected as of %s, %.1f hours before", late, earlier[-1], hours)


def collect(site: Site, as_of: datetime, now: datetime) -> Collection:
    """Keep what the source tells anew as of T; within `with lock_store(store)`. All tables' rows are kept, or none.

    A T that was collected already is answered without reading anything.

    Raises
    ------
    ContractError
        If the source cannot be read, told more by T already, or lost more rows than `tolerated_loss_share`.
    """
    finish_collections(site.store)
    home, earlier = collected_folder(site.store), collections(site.store)
    if earlier and as_of == earlier[-1]:
        return _collection(_read_record(site.store, as_of))
    _check_moment(site, as_of, now, earlier)
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home, prefix=_EXTRACT) as extract:
        folder = read_source(site, Path(extract), as_of)
        part = home / f"{_PART}{moment_name(as_of)}"
        part.mkdir()
        try:
            collection = _write_difference(site, as_of, folder, part)
        except BaseException:
            shutil.rmtree(part)
            raise
    part.rename(home / f"{_READY}{moment_name(as_of)}")  # from here on it counts, whatever happens
    finish_collections(site.store)
    return collection


def _check_moment(site: Site, as_of: datetime, now: datetime, earlier: list[datetime]) -> None:
    if earlier and as_of < earlier[-1]:
        raise ContractError(
            f"{collected_folder(site.store)} was collected as of {earlier[-1]} already, and {as_of} lies before;"
            " history is only added to: choose a later --as-of, or another --store"
        )
    if as_of - now > _CLOCKS_DIFFER:
        raise ContractError(f"it is {now} UTC, and {as_of} is still to come; leave --as-of out")
    if not is_live(site.data):
        return
    if now - as_of > timedelta(minutes=site.late_extract_minutes):
        raise ContractError(
            f"{shown(site.data)} tells only how things are now, {now} UTC, and {as_of} is more than"
            f" late_extract_minutes = {site.late_extract_minutes} ago; leave --as-of out"
        )


def _write_difference(site: Site, as_of: datetime, folder: Path, part: Path) -> Collection:
    """Write what the extract tells anew into `part`: NAME.parquet of each table with such rows, and record.json."""
    earlier = collections(site.store)
    before = earlier[-1] if earlier else None
    said = read_extract(folder / "extract.json")
    _refuse_later(site, as_of, said)
    with engine(site) as connection:
        present = stage(connection, open_folder(folder))
        n_pools = _count_pools(connection)
        looks = {
            name: _look(site, as_of, before, name, columns, said.get(name, {}).get("covers_from"))
            for name, columns in present.items()
        }
        found, n_open_lost, n_open = _compare_all(connection, looks, part)
    n_before = int(_read_record(site.store, before)["pools"]) if before else 0
    lost = {"stock": (n_before - n_pools, n_before, "products and warehouses counted")}
    if n_open_lost >= _MANY_LINES:
        lost["order_lines"] = (n_open_lost, n_open, "lines that nobody shipped or cancelled")
    _refuse_lost(site, found, lost)
    counts = {name: {kind: getattr(each, kind) for kind in _COUNTED} for name, each in found.items()}
    missing = sorted(name for name, look in looks.items() if look.files and not look.columns)
    record = {"as_of": as_of.isoformat(), "is_first": before is None, "pools": n_pools, "found": counts}
    complete = {name: times["complete_to"].isoformat() for name, times in said.items() if "complete_to" in times}
    record |= {"not_told": missing, "tables": {name: {"complete_to": to} for name, to in complete.items()}}
    write_text(part / _RECORD, json.dumps(record, indent=1, sort_keys=True))
    return _collection(record)


def _refuse_later(site: Site, as_of: datetime, said: Mapping[str, Mapping[str, datetime]]) -> None:
    """Refuse an extract that says that it was taken well after T: T would learn what came later."""
    taken = max((times["complete_to"] for times in said.values() if "complete_to" in times), default=as_of)
    if taken - as_of > timedelta(minutes=site.late_extract_minutes):
        raise ContractError(
            f"extract.json says that it tells of times up to {taken}, more than late_extract_minutes ="
            f" {site.late_extract_minutes} after {as_of}; collect it as of then: --as-of {taken.isoformat()}Z"
        )


def _look(
    site: Site, as_of: datetime, before: datetime | None, name: str, columns: set[str], covers_from: datetime | None
) -> Look:
    files = sorted((collected_folder(site.store) / name).glob("*.parquet"))
    return Look(TABLES[name], frozenset(columns), files, as_of, before, covers_from, site.timezone)


def _count_pools(connection: duckdb.DuckDBPyConnection) -> int:
    query = "select count(*) from (select distinct product_id, warehouse_id from staged_stock)"
    return int(connection.execute(query).fetchall()[0][0])


def _compare_all(
    connection: duckdb.DuckDBPyConnection, looks: Mapping[str, Look], part: Path
) -> tuple[dict[str, Difference], int, int]:
    """Compare every table that the extract has, events after what they belong to.

    Returns
    -------
    By table what came of it; lines that vanished though nobody shipped or cancelled any of them, and of how many.
    """
    found, n_open_lost, n_open = {}, 0, 0
    for name, look in looks.items():
        if look.columns or name in _PARENTS:
            load(connection, look)
        connection.execute(f"drop table staged_{name}")  # memory: from here on its cells are text
        if look.columns:
            found[name] = compare(connection, look)
            if name == "order_lines":
                n_open_lost, n_open = _count_open(connection, [file for end in _ENDS for file in looks[end].files])
            if found[name].is_news or not look.files:  # a table without rows is there all the same
                write_kept(connection, look, part / f"{name}.parquet")
        forget(connection, name, is_needed=name in _PARENTS)
    return found, n_open_lost, n_open


def _count_open(connection: duckdb.DuckDBPyConnection, ended_before: list[Path]) -> tuple[int, int]:
    """Of the lines that stand and that nobody ever shipped or cancelled: how many vanish now, and how many there are.

    Parameters
    ----------
    ended_before : files of what was collected of shipments and cancellations
    """
    ended = " union all ".join(f"select order_line_id from staged_{name}" for name in _ENDS)
    if ended_before:
        ended += " union all select order_line_id from read_parquet($files, union_by_name = true)"
    given = {"files": [str(file) for file in ended_before]} if ended_before else {}
    counted = f"""select count(distinct row_key) from {{}}
        where order_line_id not in (select order_line_id from ({ended}) where order_line_id is not null)"""
    queries = (counted.format("kept_order_lines") + " and is_vanished", counted.format("held_order_lines"))
    lost, standing = (int(connection.execute(query, given).fetchall()[0][0]) for query in queries)
    return lost, standing


def _refuse_lost(site: Site, found: Mapping[str, Difference], others: Mapping[str, tuple[int, int, str]]) -> None:
    """Refuse an extract that lost too much of a table: an export that failed would cancel every order.

    Parameters
    ----------
    others : lost besides, of how many, and what that is, by table: the open lines are a small part of all lines
    """
    lost = [(name, each.lost, each.standing, "rows") for name, each in found.items() if name not in _MAY_LOSE]
    lost += [(name, *each) for name, each in others.items()]
    words = [
        f"{name} lost {n} of {of} {what} ({n / of:.0%})"
        for name, n, of, what in lost
        if of and n / of > site.tolerated_loss_share
    ]
    if words:
        raise ContractError(
            f"{shown(site.data)} holds too little, so nothing of it was kept: {'; '.join(words)} since the last"
            f" collection; tolerated_loss_share is {site.tolerated_loss_share:.0%}. Extract it again; if the rows are"
            " rightly gone, raise tolerated_loss_share for this one collection"
        )


def _collection(record: Mapping[str, Any]) -> Collection:
    as_of = datetime.fromisoformat(record["as_of"])
    return Collection(as_of, record["is_first"], record["found"], tuple(record["not_told"]))


def _read_record(store: str, as_of: datetime) -> dict[str, Any]:
    file = collected_folder(store) / RECORDS / f"{moment_name(as_of)}.json"
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def finish_collections(store: str) -> list[str]:
    """Put a collection that was written whole into its place, and throw away one that was not; says what was done.

    Within `with lock_store(store)`. A collection that was killed is as if it had never begun, or as if it had ended.
    """
    home, done = collected_folder(store), []
    for ready in sorted(home.glob(f"{_READY}*")):
        _put_in_place(home, ready)
        done.append(f"the collection as of {ready.name.removeprefix(_READY)} was written and is in its place now")
    for half in sorted([*home.glob(f"{_PART}*"), *home.glob(f"{_EXTRACT}*")]):
        shutil.rmtree(half)
        if half.name.startswith(_PART):
            done.append(f"the collection as of {half.name.removeprefix(_PART)} was not written whole; collect it again")
    return done


def _put_in_place(home: Path, ready: Path) -> None:
    """Move a collection's files; its record comes last and makes it one of `collections`."""
    moment = ready.name.removeprefix(_READY)
    for file in sorted(ready.glob("*.parquet")):
        (home / file.stem).mkdir(exist_ok=True)
        os.replace(file, home / file.stem / f"{moment}.parquet")
    record = ready / _RECORD
    if record.exists():
        write_text(home / "extract.json", record.read_text(encoding="utf-8"))  # for whoever reads the folder as it is
        (home / RECORDS).mkdir(exist_ok=True)
        os.replace(record, home / RECORDS / f"{moment}.json")
    shutil.rmtree(ready)
