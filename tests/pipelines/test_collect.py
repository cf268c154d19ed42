"""The command `collect`, and runs whose source is a file or a database: what they see is what a folder would say."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.collected import collect
from erp.known import Facts, gather
from erp.settings import Site
from erp.simulator import close, simulate, step, write_tables
from erp.source import collected_folder
from features.feature_tables import build
from pipelines.command import main
from pipelines.jobs import collect_now, score
from tests.pipelines.small_company import TINY, TINY_T, T, different_files, site_of, tiny_tables, waiting_lines
from tests.postgres_server import PASSWORD

N_MORNINGS = 4


def as_sqlite(tables, path: Path) -> Path:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for name, frame in tables.items():
            frame.to_sql(name, connection, index=False)
        connection.commit()
    return path


def run(capsys, *arguments):
    code = main([*map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_run_on_a_file_publishes_the_queue_that_a_run_on_the_folder_publishes(trained, tmp_path):
    of_folder, of_file = trained(), trained(name="file")
    score(of_folder, T)
    tables = {path.stem: pd.read_parquet(path) for path in Path(of_file.data).glob("*.parquet")}
    of_file = replace(of_file, data=str(as_sqlite(tables, tmp_path / "erp.sqlite")))
    collect_now(of_file, T)
    score(of_file, T)
    assert different_files(of_folder, of_file) == []
    of_collected = replace(of_file, data=str(collected_folder(of_file.store)), out=str(tmp_path / "again"))
    score(of_collected, T)
    assert different_files(of_folder, of_collected) == []


def overwriting_mornings() -> list[tuple[datetime, dict[str, pd.DataFrame]]]:
    """Mornings of an ERP that keeps no history: one date per line, one stock count, cancelled lines deleted."""
    company, mornings = simulate(TINY), []
    for day in range(N_MORNINGS):
        tables = {name: frame.copy() for name, frame in close(company).items()}
        lines, promises = tables["order_lines"], tables.pop("promises")
        told = promises.sort_values("told_at").groupby("order_line_id")["promised_on"].last()
        lines["promised_on"] = lines["order_line_id"].map(told).fillna(lines["promised_on"])
        untouched = ~lines["order_line_id"].isin(tables["shipments"]["order_line_id"])
        gone = lines[untouched & lines["order_line_id"].isin(tables["cancellations"]["order_line_id"])]["order_line_id"]
        for name in ("order_lines", "cancellations", "returns"):
            tables[name] = tables[name][~tables[name]["order_line_id"].isin(gone)].reset_index(drop=True)
        stock = tables["stock"]
        tables["stock"] = stock[stock["snapshot_at"] == stock["snapshot_at"].max()].reset_index(drop=True)
        mornings.append((TINY_T + timedelta(days=day), tables))
        step(company)
    return mornings


def facts_of(site: Site, as_of: datetime, folder: Path) -> Facts:
    folder.mkdir()
    gather(folder, site, as_of)
    return Facts(folder, as_of, site)


def test_a_past_morning_has_the_facts_that_the_run_of_that_morning_had(tmp_path):
    mornings = overwriting_mornings()
    seen, site = {}, Site(data=str(tmp_path / "erp.sqlite"), store=str(tmp_path / "store"), max_lag_hours=1e6)
    for as_of, tables in mornings:
        as_sqlite(tables, tmp_path / "erp.sqlite")
        collect(site, as_of, as_of)
        seen[as_of] = facts_of(site, as_of, tmp_path / f"then {as_of.day}")
    history = replace(site, data=str(collected_folder(site.store)))
    n_vanished = 0
    for as_of, tables in mornings:
        again = facts_of(history, as_of, tmp_path / f"later {as_of.day}")
        assert again.fingerprint == seen[as_of].fingerprint
        with again.connect() as connection:
            known = build(connection, again, as_of, "backorder_lines").set_index("order_line_id")
            vanished = "select count(*) from known_cancellations where reason = 'vanished'"
            n_vanished = connection.execute(vanished).fetchall()[0][0]
        waiting = waiting_lines(tables, as_of).set_index("order_line_id")
        assert known["open_quantity"].to_dict() == waiting["open_quantity"].to_dict()
    assert n_vanished > 0, "some lines were deleted, or this says nothing about deletions"
    slips = "select count(*) from known_told_dates"
    with seen[mornings[-1][0]].connect() as connection:
        assert connection.execute(slips).fetchall()[0][0] > 0, "dates were overwritten, or this says nothing about them"


def test_collect_says_what_is_new_changed_and_vanished(tmp_path, capsys):
    tables = tiny_tables()
    site = site_of(tmp_path, tables)
    given = ("collect", "--data", site.data, "--store", site.store, "--quiet")
    code, out, _ = run(capsys, *given, "--as-of", f"{TINY_T}Z")
    assert code == 0
    assert "the first extract" in out
    tables["customers"].loc[0, "segment"] = "else"
    tables["order_lines"] = tables["order_lines"].iloc[1:]
    write_tables(tables, Path(site.data))
    code, out, _ = run(capsys, *given, "--as-of", f"{TINY_T + timedelta(days=1)}Z", "--json")
    assert code == 0
    found = json.loads(out)["tables"]
    assert found["customers"] == {"told": 60, "new": 0, "changed": 1, "vanished": 0}
    assert found["order_lines"]["vanished"] == 1
    code, out, _ = run(capsys, *given, "--as-of", f"{TINY_T + timedelta(days=2)}Z")
    assert out == f"collected as of {TINY_T + timedelta(days=2)} UTC: no news in 12 tables\n"
    code, _, err = run(capsys, *given, "--as-of", f"{TINY_T}Z")
    assert code == 1
    assert "history is only added to" in err


def test_check_reads_a_file_as_it_reads_a_folder(tmp_path, capsys):
    site = site_of(tmp_path, tiny_tables())
    file = as_sqlite(tiny_tables(), tmp_path / "erp.sqlite")
    of_folder = run(capsys, "check", "--data", site.data, "--as-of", f"{TINY_T}Z", "--quiet")
    of_file = run(capsys, "check", "--data", file, "--as-of", f"{TINY_T}Z", "--quiet")
    assert of_file == of_folder
    assert of_file[0] == 0


@pytest.mark.parametrize("way", ["option", "environment", "settings"])
@pytest.mark.parametrize("job", ["collect", "check", "run"])
def test_a_password_in_an_address_is_refused_and_repeated_nowhere(tmp_path, capsys, monkeypatch, job, way):
    address = "postgresql://reader:canary-4711@127.0.0.1:9/sales"
    given = ["--settings", tmp_path / "backorder.toml"]
    (tmp_path / "backorder.toml").write_text(f'store = "{tmp_path}/store"\n', encoding="utf-8")
    if way == "option":
        given += ["--data", address]
    elif way == "environment":
        monkeypatch.setenv("BACKORDER_DATA", address)
    else:
        (tmp_path / "backorder.toml").write_text(f'data = "{address}"\n', encoding="utf-8")
    code, out, err = run(capsys, job, *given)
    assert code == 1
    assert "carries a password; take it out" in err
    assert "4711" not in out + err
    assert not (tmp_path / "store").exists()


def test_neither_password_nor_customers_leave_the_tables_of_a_live_source(postgres, tmp_path, capsys, monkeypatch):
    tables, customer = tiny_tables(), "Kanarienvogel GmbH"
    tables["customers"]["name"] = customer
    url = postgres.new_database()
    with postgres.connect(url) as connection:
        for name, frame in tables.items():
            connection.execute(f"create table {name} ({', '.join(f'{column} text' for column in frame)})")
            with connection.cursor().copy(f"copy {name} from stdin (format csv)") as rows:
                rows.write(frame.to_csv(index=False, header=False))
    (tmp_path / "word").write_text(f"{PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD_FILE", str(tmp_path / "word"))
    given = ("--data", url, "--store", tmp_path / "store")
    said = [
        run(capsys, "collect", *given),
        run(capsys, "check", "--data", url),
        run(capsys, "collect", *given, "--json"),
    ]
    assert [code for code, _, _ in said] == [0, 0, 0]
    assert "the first extract" in said[0][1]
    (tmp_path / "word").write_text("wrong-canary-4712", encoding="utf-8")
    said.append(run(capsys, "collect", *given, "--as-of", "2026-01-01T05:00:00Z"))
    said.append(run(capsys, "check", "--data", url))
    assert [code for code, _, _ in said[3:]] == [1, 1]
    texts = "".join(out + err for _, out, err in said)
    assert not any(secret in texts for secret in (PASSWORD, "wrong-canary", customer))
    kept = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert not any(secret.encode() in held for held in kept.values() for secret in (PASSWORD, "wrong-canary"))
    assert [path for path, held in kept.items() if customer.encode() in held and path.parent.name != "customers"] == []
    assert customer in set(pd.read_parquet(tmp_path / "store" / "collected" / "customers")["name"])
