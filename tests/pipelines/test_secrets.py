"""A password and a customer's name go through a morning, into the ERP and through refusals, and are looked for."""

import logging
from datetime import timedelta

import duckdb
import pandas as pd
import pytest
from sqlalchemy import create_engine

from pipelines import command
from tests.pipelines.small_company import TINY_T as T
from tests.pipelines.small_company import tiny_tables
from tests.postgres_server import PASSWORD

NAME = "Canary Konditorei Zwoelf"
# Where names belong: the tables as they were read, what is made of them, and the queue for people.
_MAY_NAME = ("facts", "features", "line_samples.parquet", "queue", "decided", "collected")


def fill_database(url):
    tables = tiny_tables()
    tables["customers"]["name"] = NAME + " " + tables["customers"]["customer_id"]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), connect_args={"password": PASSWORD})
    with engine.begin() as connection:
        for name, frame in tables.items():
            frame.to_sql(name, connection, index=False)
    engine.dispose()


def settings_file(folder, source, target, ledger, **more):
    text = [f'data = "{source}"', f'store = "{folder / "store"}"', f'out = "{folder / "out"}"', f'ledger = "{ledger}"']
    text += [f"{name} = {value!r}" for name, value in more.items()]
    text += ["[destination]", 'kind = "postgresql"', f'url = "{target}"']
    path = folder / "backorder.toml"
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def texts_of_database(connection):
    """Every cell of every table of a PostgreSQL database."""
    names = connection.execute(
        "select table_schema, table_name from information_schema.tables"
        " where table_schema not in ('pg_catalog', 'information_schema')"
    ).fetchall()
    for schema, name in names:
        for row in connection.execute(f'select t::text from "{schema}"."{name}" t').fetchall():
            yield f"{schema}.{name}", row[0].encode()


def texts_below(folder):
    """Every file's bytes; a Parquet file's cells, which lie compressed in it."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        yield path.relative_to(folder).as_posix(), path.read_bytes()
        if path.suffix == ".parquet":
            rows = duckdb.execute("select * from read_parquet($file)", {"file": str(path)}).df()
            yield path.relative_to(folder).as_posix(), rows.to_csv().encode()


@pytest.fixture(scope="module")
def places_of_a_morning(postgres, tmp_path_factory):
    """A folder and three databases: the company's tables, the queue's destination, the ledger."""
    folder = tmp_path_factory.mktemp("secrets")
    source, target, ledger = (postgres.new_database() for _ in range(3))
    fill_database(source)
    return folder, source, target, ledger


@pytest.mark.slow
def test_neither_password_nor_names_appear_anywhere_else(
    places_of_a_morning, postgres, tracked, capfd, caplog, monkeypatch
):
    folder, source, target, ledger = places_of_a_morning
    caplog.set_level(logging.DEBUG)
    for purpose in ("DATA", "DESTINATION", "LEDGER"):
        monkeypatch.setenv(f"BACKORDER_{purpose}_PASSWORD", PASSWORD)
    settings = settings_file(folder, source, target, ledger)
    common = ["--settings", str(settings)]
    as_of = ["--as-of", f"{T.isoformat()}Z"]
    monkeypatch.setenv("BACKORDER_LATE_EXTRACT_MINUTES", "99999999")  # the company's morning lies years back
    monkeypatch.setenv("BACKORDER_MAX_STOCK_AGE_DAYS", "9")
    assert command.main(["check", *common, *as_of]) == 0
    assert command.main(["run", *common, *as_of]) == 0
    assert command.main(["apply", *common]) == 4
    monkeypatch.setenv("BACKORDER_APPLY", "auto")
    monkeypatch.setenv("BACKORDER_APPLY_MAX_LINES", "9999")
    monkeypatch.setenv("BACKORDER_APPLY_MAX_MONEY", "1e9")
    assert command.main(["apply", *common]) == 0
    assert command.main(["undo", *common]) == 0
    assert command.main(["apply", *common]) == 0
    assert command.main(["reconcile", *common]) == 0
    told = capfd.readouterr()

    # Refusals: a wrong password, one in an address, servers that are gone, a broken table.
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", f"wrong-{PASSWORD}")
    assert command.main(["check", *common, *as_of]) == 1
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", PASSWORD)
    with_password = source.replace("@", f":{PASSWORD}@")
    assert command.main(["check", "--data", with_password, *as_of]) == 1
    for purpose in ("DATA", "LEDGER"):
        monkeypatch.setenv(f"BACKORDER_{purpose}", with_password)
        assert command.main(["check", *common, *as_of]) == 1
        monkeypatch.delenv(f"BACKORDER_{purpose}")
    monkeypatch.setenv("BACKORDER_DESTINATION_PASSWORD", f"wrong-{PASSWORD}")
    assert command.main(["apply", *common]) == 1
    with postgres.connect(source) as connection:
        connection.execute("update shipments set quantity = -1")
        connection.execute(f"update order_lines set quantity = -1, customer_reference = '{NAME}'")
    assert command.main(["run", *common, "--as-of", f"{(T + timedelta(hours=1)).isoformat()}Z"]) == 1
    refused = capfd.readouterr()
    said = [told.out, told.err, refused.out, refused.err, caplog.text]
    assert all(PASSWORD not in text for text in said)
    assert all(NAME not in text for text in [told.err, refused.out, refused.err, caplog.text])

    places = [*texts_below(folder)]
    for url in (target, ledger):
        with postgres.connect(url) as connection:
            places += texts_of_database(connection)
    assert len(places) > 100
    assert [place for place, content in places if PASSWORD.encode() in content] == []
    held = {place for place, content in places if NAME.encode() in content}
    assert {"out/queue.csv", "out/queue.parquet"} <= held  # looking does find it
    elsewhere = [
        place for place in sorted(held) if not place.startswith("out/") and not set(_MAY_NAME) & set(place.split("/"))
    ]
    assert elsewhere == []
    with postgres.connect(target) as connection:
        kept = pd.DataFrame(connection.execute("select order_line_id from backorder_queue_current").fetchall())
    assert len(kept) == len(pd.read_parquet(folder / "out" / "queue.parquet"))
