"""Whatever is recorded after T changes no byte of the queue of T."""

import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from erp.contract import TABLES
from pipelines import steps
from pipelines.jobs import morning, score
from tests.pipelines.small_company import (
    OWN_TIMES,
    TINY_T,
    T,
    Tables,
    company_tables,
    known,
    queue_of,
    site_of,
    tiny_tables,
    with_planners_work,
)


def queue_bytes(site):
    with open(f"{site.out}/queue.parquet", "rb") as file:
        return file.read()


def all_tables() -> Tables:
    """The company a week after T, with every table of the contract: those it lacks hold a few lawful rows."""
    tables = with_planners_work(company_tables(days_on=7))
    lines, product = tables["order_lines"], tables["products"]["product_id"].iloc[0]
    early = lines["order_line_id"].iloc[:2].tolist()
    told = pd.Timestamp("2024-06-01 08:00")
    tables["offers"] = pd.DataFrame(
        {"order_line_id": early, "offered_at": told, "kind": "free shipment", "cost": [5.0, 6.0]}
    )
    days = {"starts_on": pd.Timestamp("2024-11-01"), "ends_on": pd.Timestamp("2024-11-08")}
    tables["promotions"] = pd.DataFrame({"product_id": [product], **days, "announced_at": told})
    assert set(tables) == set(TABLES)
    return tables


def before(tables: Tables, moment=T) -> Tables:
    """Only what was known at the moment."""
    return {n: known(f, OWN_TIMES[n], moment) if n in OWN_TIMES else f for n, f in tables.items()}


@pytest.fixture(scope="module")
def truth(trained_site, tmp_path_factory):
    """The queue's bytes from the facts known at T alone."""
    folder = tmp_path_factory.mktemp("truth")
    shutil.copytree(trained_site.store, folder / "store")
    site = site_of(folder, before(all_tables()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "track_scoring", lambda *_: None)
        score(site, T)
    assert queue_of(site)["override"].notna().sum() > 3
    return queue_bytes(site)


def later(draw, n, moment=T):
    """Random moments after T: a minute later, the same day, years later."""
    seconds = np.exp(draw.uniform(0, np.log(3e8), n)).astype("int64")
    return pd.Timestamp(moment).as_unit("s") + pd.to_timedelta(seconds + 1, unit="s").as_unit("s")


def disturb_the_future(tables: Tables, draw, moment=T) -> Tables:
    """Facts after T: some dropped, some scrambled, bad ones and versions of old rows added."""
    return {name: _disturbed(name, frame.reset_index(drop=True), draw, moment) for name, frame in tables.items()}


def _disturbed(name, frame, draw, moment):
    time = OWN_TIMES.get(name)
    past = known(frame, time, moment) if time else frame
    future = frame.drop(index=past.index).sample(frac=draw.uniform(), random_state=int(draw.integers(1e9)))
    parts = [past, _scrambled(name, future, draw)]
    if time:
        fresh = _scrambled(name, past.sample(min(len(past), 8), random_state=int(draw.integers(1e9))), draw)
        parts.append(fresh.assign(**{time: later(draw, len(fresh), moment)}))
    versions = past.sample(min(len(past), 8), random_state=int(draw.integers(1e9)))
    versions = _scrambled(name, versions, draw, keep=TABLES[name].key)
    recorded = later(draw, len(versions), moment)
    parts.append(versions.assign(recorded_at=recorded, is_deleted=draw.random(len(versions)) < 0.5))
    whole = pd.concat(parts, ignore_index=True).sample(frac=1, random_state=int(draw.integers(1e9)))
    return whole.assign(an_extra_column=draw.random(len(whole)))


def _scrambled(name, rows, draw, keep=()):
    """Numbers replaced, negative ones among them; references to nobody; cells emptied."""
    rows = rows.copy()
    for column in [c for c in rows.columns if c not in keep and c != OWN_TIMES.get(name)]:
        kind, hit = TABLES[name].kind(column), draw.random(len(rows)) < 0.5
        if kind in ("amount", "count"):
            rows[column] = np.where(hit, draw.normal(0, 100, len(rows)), rows[column].astype(float))
        elif kind == "id":
            rows[column] = rows[column].astype("str").mask(hit, "nobody")
        elif kind in ("time", "day"):
            rows[column] = pd.to_datetime(rows[column]).mask(hit)
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_adding_changing_and_deleting_facts_after_t_changes_no_byte(trained, truth, seed):
    site = trained(disturb_the_future(all_tables(), np.random.default_rng(seed)))
    score(site, T)
    assert queue_bytes(site) == truth


def test_the_week_that_followed_changes_no_byte(trained, truth):
    site = trained(all_tables())
    score(site, T)
    assert queue_bytes(site) == truth


def test_the_models_learn_nothing_from_the_future_either(tmp_path):
    tables = tiny_tables()
    cut = TINY_T - timedelta(days=5)
    alone = site_of(tmp_path / "alone", before(tables, cut))
    beside = site_of(tmp_path / "beside", disturb_the_future(tables, np.random.default_rng(0), cut))
    for site in (alone, beside):
        morning(site, cut)
    assert len(queue_of(alone)) > 5
    assert queue_bytes(alone) == queue_bytes(beside)


def test_a_fact_before_t_that_was_recorded_after_it_is_not_seen(trained, truth):
    tables = before(all_tables())
    shipped = tables["order_lines"]["order_line_id"].iloc[-40:]
    late = pd.DataFrame(
        {"order_line_id": shipped, "quantity": 1.0, "recorded_at": pd.Timestamp(T + timedelta(hours=1))}
    )
    for name in ("shipments", "cancellations"):
        time = OWN_TIMES[name]
        early = late.assign(**{time: tables["order_lines"]["ordered_at"].iloc[-40:] + pd.Timedelta(minutes=1)})
        tables[name] = pd.concat([tables[name], early], ignore_index=True)
    site = trained(tables)
    score(site, T)
    assert queue_bytes(site) == truth


def test_a_fact_in_the_second_of_t_is_seen(trained, truth):
    """The test above would pass if nothing were read: at T itself a fact counts."""
    tables = before(all_tables())
    line = tables["stock"].iloc[-1:]
    tables["stock"] = pd.concat([tables["stock"], line.assign(snapshot_at=pd.Timestamp(T), on_hand=999.0)])
    site = trained(tables)
    score(site, T)
    assert queue_bytes(site) != truth
    assert (queue_of(site)["available_now"] == 999).any()
