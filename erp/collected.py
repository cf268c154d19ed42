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
    if earlier and as_of <= earlier[-1]:
        return None
    if now - as_of <= timedelta(minutes=site.late_extract_minutes):
        return collect(site, as_of, now)
    _check_past_morning(site, as_of, earlier)
    return None


def _check_past_morning(site: Site, as_of: datetime, earlier: list[datetime]) -> None:
    late = f"{as_of} UTC is more than late_extract_minutes = {site.late_extract_minutes} ago"
    late += f", so {shown(site.data)} tells it no more"
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
    if not is_live(site.data):
        return
    if now - as_of > timedelta(minutes=site.late_extract_minutes):
        raise ContractError(
            f"{shown(site.data)} tells only how things are now, {now} UTC, and {as_of} is more than"
            f" late_extract_minutes = {site.late_extract_minutes} ago; leave --as-of out"
        )
    if as_of - now > _CLOCKS_DIFFER:
        raise ContractError(f"it is {now} UTC, and {as_of} is still to come; leave --as-of out")


def _write_difference(site: Site, as_of: datetime, folder: Path, part: Path) -> Collection:
    """Write what the extract tells anew into `part`: NAME.parquet of each table with such rows, and record.json."""
    earlier = collections(site.store)
    before = earlier[-1] if earlier else None
    said = read_extract(folder / "extract.json")
    with engine(site) as connection:
        present = stage(connection, open_folder(folder))
        n_pools = _count_pools(connection)
        looks = {
            name: _look(site, as_of, before, name, columns, said.get(name, {}).get("covers_from"))
            for name, columns in present.items()
        }
        found = _compare_all(connection, looks, part)
    n_pools_before = int(_read_record(site.store, before)["pools"]) if before else 0
    _refuse_lost(site, found, n_pools_before - n_pools, n_pools_before)
    counts = {name: {kind: getattr(each, kind) for kind in _COUNTED} for name, each in found.items()}
    missing = sorted(name for name, look in looks.items() if look.files and not look.columns)
    record = {"as_of": as_of.isoformat(), "is_first": before is None, "pools": n_pools, "found": counts}
    complete = {name: times["complete_to"].isoformat() for name, times in said.items() if "complete_to" in times}
    record |= {"not_told": missing, "tables": {name: {"complete_to": to} for name, to in complete.items()}}
    write_text(part / _RECORD, json.dumps(record, indent=1, sort_keys=True))
    return _collection(record)


def _look(
    site: Site, as_of: datetime, before: datetime | None, name: str, columns: set[str], covers_from: datetime | None
) -> Look:
    files = sorted((collected_folder(site.store) / name).glob("*.parquet"))
    return Look(TABLES[name], frozenset(columns), files, as_of, before, covers_from, site.timezone)


def _count_pools(connection: duckdb.DuckDBPyConnection) -> int:
    query = "select count(*) from (select distinct product_id, warehouse_id from staged_stock)"
    return int(connection.execute(query).fetchall()[0][0])


def _compare_all(connection: duckdb.DuckDBPyConnection, looks: Mapping[str, Look], part: Path) -> dict[str, Difference]:
    """Compare every table that the extract has, events after what they belong to."""
    found = {}
    for name, look in looks.items():
        if look.columns or name in _PARENTS:
            load(connection, look)
        connection.execute(f"drop table staged_{name}")  # memory: from here on its cells are text
        if look.columns:
            found[name] = compare(connection, look)
            if found[name].is_news or not look.files:  # a table without rows is there all the same
                write_kept(connection, look, part / f"{name}.parquet")
        forget(connection, name, is_needed=name in _PARENTS)
    return found


def _refuse_lost(site: Site, found: Mapping[str, Difference], pools_lost: int, pools: int) -> None:
    """Refuse an extract that lost too much of a table: an export that failed would cancel every order."""
    lost = {name: (each.lost, each.standing, "rows") for name, each in found.items() if name not in _MAY_LOSE}
    lost["stock"] = (pools_lost, pools, "products and warehouses counted")
    words = [
        f"{name} lost {n} of {of} {what} ({n / of:.0%})"
        for name, (n, of, what) in lost.items()
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
