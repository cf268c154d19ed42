"""Tables and settings that cannot be used: exit code 1, and a message that says what, how many, which, what to do."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from erp.ledger import Ledger
from pipelines.command import main
from tests.pipelines.small_company import TINY_T, copied_site, queue_of, site_of, tiny_tables

AS_OF = f"{TINY_T.isoformat()}Z"
HOLD_THE_STORE = """
import sys, time
from pathlib import Path
from erp.ledger import lock_store
with lock_store(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Run `backorder run` (or another job) on tables and give exit code and what it said on stderr."""

    def ran(tables=None, *more, job="run", as_of=AS_OF):
        site = site_of(tmp_path, tables)
        given = ["--data", site.data, "--store", site.store, "--out", site.out, "--as-of", as_of, "--quiet"]
        code = main([job, *given, *more])
        return code, capsys.readouterr().err

    return ran


@pytest.fixture
def served(tiny_morning, tmp_path):
    """Let the site below tmp_path hold the tiny company's tables, and a store whose models serve its morning."""
    return copied_site(tiny_morning, tmp_path)


def broken(name, change):
    tables = tiny_tables()
    tables[name] = change(tables[name].copy())
    return tables


def with_cells(column, value, share=0.05):
    """Every 20th cell of a column replaced."""

    def change(frame):
        every = int(1 / share)
        frame[column] = frame[column].astype(object)
        frame.loc[frame.index % every == 0, column] = value
        texts = isinstance(value, str)
        return frame.astype({column: "str"}) if texts else frame.infer_objects()

    return change


def doubled_with_other_content(frame):
    return pd.concat([frame, frame.iloc[::20].assign(quantity=frame["quantity"].iloc[::20] + 1)])


def without_the_newest(column, days):
    def change(frame):
        at = pd.to_datetime(frame[column])
        return frame[at < at.max() - pd.Timedelta(days=days)]

    return change


REFUSED = {
    "a column is missing": (
        "order_lines",
        lambda f: f.drop(columns="unit_price"),
        ["order_lines.parquet", "required columns are missing: unit_price", "found", "order_id"],
    ),
    "numbers are words": (
        "order_lines",
        with_cells("quantity", "many"),
        ["order_lines: ", " of ", "quantity: is a number fails", "'many'", "tolerated_share"],
    ),
    "times are words": ("shipments", with_cells("shipped_at", "soon"), ["shipments: ", "shipped_at", "'soon'"]),
    "a key is twice": (
        "order_lines",
        doubled_with_other_content,
        ["order_lines: ", "order_line_id: key is unique fails", "correct the extract"],
    ),
    "a quantity is negative": (
        "shipments",
        with_cells("quantity", -3.0),
        ["shipments: ", "quantity: is greater than 0 fails", "-3"],
    ),
    "goods left before they were ordered": (
        "shipments",
        with_cells("shipped_at", pd.Timestamp("2023-01-01 10:00")),
        ["shipments: ", "shipped_at is not before ordered_at fails", "2023-01-01"],
    ),
    "shipments of lines that nobody ordered": (
        "shipments",
        with_cells("order_line_id", "nobody's"),
        ["shipments: ", "order_line_id: references exist fails", "nobody's"],
    ),
    "shipments end twenty days ago": (
        "shipments",
        without_the_newest("shipped_at", 20),
        ["the newest row of shipments is from", "hours before the newest order line", "extract it again"],
    ),
    "stock was counted last a month ago": (
        "stock",
        without_the_newest("snapshot_at", 40),
        ["the newest row of stock is from", "extract it again"],
    ),
    "no shipment at all": (
        "shipments",
        lambda f: f.iloc[:0],
        ["shipments is empty while", "neither shipped nor cancelled", "extract.json"],
    ),
    "no product at all": ("products", lambda f: f.iloc[:0], ["order_lines: ", "product_id: references exist"]),
    "no customer at all": ("customers", lambda f: f.iloc[:0], ["order_lines: ", "customer_id: references exist"]),
    "a planner's word is none of three": (
        "overrides",
        lambda f: f,
        ["overrides: 1 of 1 rows", "is pin, hold or exclude fails 1 times, e.g. 'praise'"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_with_a_table_is_said_and_nothing_is_published(run, tmp_path, case):
    name, change, words = REFUSED[case]
    tables = tiny_tables()
    praise = {"order_line_id": ["x"], "action": "praise", "who": "A", "why": "", "made_at": pd.Timestamp("2024-05-01")}
    overrides = pd.DataFrame(praise | {"until_on": pd.Timestamp("2024-12-31")})
    overrides["order_line_id"] = tables["order_lines"]["order_line_id"].iloc[:1].tolist()
    tables[name] = change((tables | {"overrides": overrides})[name].copy())
    code, said = run(tables)
    assert code == 1
    for word in words:
        assert word in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["customers", "products", "order_lines", "shipments", "cancellations", "stock"])
def test_a_missing_table_is_named(run, name):
    tables = tiny_tables()
    del tables[name]
    code, said = run(tables)
    assert code == 1
    assert "1 required tables are missing in" in said
    assert f": {name}; export each as NAME.parquet" in said


def test_a_table_that_is_there_twice_is_refused(run, tmp_path):
    site_of(tmp_path, tiny_tables())
    tiny_tables()["stock"].to_csv(tmp_path / "data" / "stock.csv", index=False)
    code, said = run()
    assert code == 1
    assert "stock is there 2 times (stock.parquet, stock.csv)" in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("stock.parquet", b"PAR1 not really", ["stock.parquet cannot be read as Parquet", "write it again"]),
        ("stock.csv", b"", ["stock.csv is empty", "header line"]),
        ("stock.csv", b"snapshot_at,product_id,on_hand\n\xff\xfe,a,1\n", ["stock.csv", "UTF-8"]),
        ("stock.csv", b"a;b\n1;2\n", ["stock.csv: required columns are missing: snapshot_at", "found a;b", "by ';'"]),
        ("stock.csv", b'snapshot_at,product_id,on_hand\n"2024-01-01,a\n', ["stock.csv cannot be read as csv"]),
        ("extract.json", b"{", ["extract.json cannot be read"]),
    ],
)
def test_a_damaged_file_is_named(run, tmp_path, name, content, words):
    site_of(tmp_path, tiny_tables())
    if name.startswith("stock"):
        (tmp_path / "data" / "stock.parquet").unlink()
    (tmp_path / "data" / name).write_bytes(content)
    code, said = run()
    assert code == 1
    for word in words:
        assert word in said
    assert "Traceback" not in said


def test_a_truncated_parquet_file_is_named(run, tmp_path):
    site_of(tmp_path, tiny_tables())
    path = tmp_path / "data" / "order_lines.parquet"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:2000] + bytes(2000) + whole[4000:]):
        path.write_bytes(damaged)
        code, said = run()
        assert code == 1
        assert "order_lines" in said
        assert "Traceback" not in said


@pytest.mark.usefixtures("served")
def test_a_table_that_lost_half_its_rows_since_the_last_run_stops_the_second(run, tmp_path):
    assert run()[0] == 0
    first = queue_of(site_of(tmp_path))
    code, said = run(broken("shipments", lambda f: f.iloc[::2]))
    assert code == 1
    assert "shipments lost" in said
    assert "tolerated 20%" in said
    assert queue_of(site_of(tmp_path)).equals(first), "the last queue stays"


@pytest.mark.parametrize("as_of", ["2023-12-31T05:00:00Z", "1999-01-01", "0001-01-01T00:00:00Z"])
def test_a_moment_before_the_first_fact_is_refused(run, as_of):
    code, said = run(tiny_tables(), as_of=as_of)
    assert code == 1
    assert "no order line is known at" in said
    assert "choose a later --as-of" in said


@pytest.mark.parametrize("as_of", ["yesterday", "2024-13-01", "", "2024-05-30T25:00", "0001-01-01T00:00:00+05:00"])
def test_a_moment_that_is_none_is_refused(run, as_of):
    code, said = run(tiny_tables(), as_of=as_of)
    assert code == 1
    assert "write a UTC timestamp such as" in said


SETTINGS = {
    "colour = 1": ["unknown settings ['colour']", "known are"],
    "policy = 3": ["policy is 3"],
    "[policy]\nkappa = 1": ["'kappa'", "use one of"],
    "[policy]\ncancel_lost_shares = 0.1": ["did you mean 'cancel_lost_share'?"],
    "[policy]\ncancel_lost_share = 7": ["cancel_lost_share = 7 is outside 0 to 1"],
    '[policy]\nhorizon_days = "long"': ["horizon_days = 'long' is no finite number"],
    'timezone = "Mars/Base"': ["timezone 'Mars/Base' is unknown", "Europe/Berlin"],
    "tolerated_share = 5": ["share"],
    'handling_days = "two"': ["handling_days is 'two'"],
    "not toml": ["is not TOML"],
}


@pytest.mark.parametrize("text", SETTINGS)
def test_a_setting_that_cannot_be_used_is_named(run, tmp_path, text):
    (tmp_path / "site.toml").write_text(text)
    code, said = run(tiny_tables(), "--settings", str(tmp_path / "site.toml"))
    assert code == 1
    for word in SETTINGS[text]:
        assert word in said
    assert "Traceback" not in said


@pytest.mark.parametrize("text", ["policy = 3", "x", "kappa = 1", None])
def test_a_what_if_policy_that_cannot_be_read_is_named(run, tmp_path, text):
    if text is not None:
        (tmp_path / "if.toml").write_text(text)
    code, said = run(tiny_tables(), "--policy", str(tmp_path / "if.toml"))
    assert code == 1
    assert "policy" in said
    assert ";" in said, "what to do"


def test_settings_and_data_that_are_not_there_are_named(run, tmp_path):
    assert "no settings file at" in run(tiny_tables(), "--settings", str(tmp_path / "none.toml"))[1]
    code, said = run(None, "--data", str(tmp_path / "nowhere"))
    assert (code, "no folder" in said) == (1, True)


def test_a_place_where_nothing_can_be_written_is_met_before_the_work(run, tmp_path):
    (tmp_path / "out").write_text("a file")
    started = time.perf_counter()
    code, said = run(tiny_tables())
    assert code == 1
    assert "the queue cannot be written to" in said
    assert "is no folder; choose another --out" in said
    assert time.perf_counter() - started < 2
    assert Ledger(tmp_path / "store").runs() == []


def test_a_store_that_is_a_file_or_has_a_damaged_ledger_is_refused(run, tmp_path):
    (tmp_path / "store").write_text("a file")
    code, said = run(tiny_tables())
    assert (code, "store" in said) == (1, True)
    (tmp_path / "store").unlink()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "ledger.sqlite").write_text("no database" * 100)
    code, said = run()
    assert code == 1
    assert "the store's ledger cannot be used" in said


def test_score_without_models_refuses(run):
    code, said = run(tiny_tables(), job="score")
    assert code == 1
    assert "no models serve 2024-05-30 05:00:00; train some with `backorder train`" in said


@pytest.mark.usefixtures("served")
def test_a_second_process_on_a_busy_store_is_told_so_with_exit_code_3(run, tmp_path):
    root = str(Path(__file__).parents[2])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_STORE, str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        assert holder.stdout.readline() == "held\n"
        started = time.perf_counter()
        code, said = run()
        assert time.perf_counter() - started < 1
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert code == 3
    assert f"held by process {holder.pid}" in said
    assert run()[0] == 0, "a killed holder leaves no lock"


@pytest.mark.usefixtures("served")
def test_a_few_breaches_are_set_aside_with_their_whole_lines_and_the_run_goes_on(run, tmp_path):
    tables = tiny_tables()
    shipped = tables["shipments"].index[5]
    line = tables["shipments"].loc[shipped, "order_line_id"]
    tables["shipments"]["quantity"] = tables["shipments"]["quantity"].astype(float)
    tables["shipments"].loc[shipped, "quantity"] = -1.0
    assert run(tables)[0] == 0
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected[["file", "row", "column", "rule", "value"]].to_numpy().tolist() == [
        ["shipments.parquet", shipped + 1, "quantity", "is greater than 0", -1.0]
    ]
    assert '"-1.0"' in (tmp_path / "out" / "rejected.csv").read_text(encoding="utf-8-sig")
    assert pd.read_csv(tmp_path / "out" / "not_ranked.csv")["order_line_id"].tolist() == [line]
    assert line not in set(queue_of(site_of(tmp_path))["order_line_id"])


def test_check_says_what_the_tables_hold_and_what_is_switched_off(run, tmp_path, capsys):
    tables = tiny_tables()
    del tables["purchase_orders"], tables["receipts"]
    tables["stock"] = pd.concat([tables["stock"], tables["stock"].iloc[:3]])
    site = site_of(tmp_path, tables)
    assert main(["check", "--data", site.data, "--as-of", AS_OF, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "Facts known at 2024-05-30 05:00:00 UTC" in said
    n_stock = len(tables["stock"].drop_duplicates())
    assert any(row.split()[:3] == ["stock", f"{n_stock:,}", "3"] for row in said.splitlines())
    assert "purchase_orders is missing: arrival of goods is assumed" in said
    assert "  copies: identical rows, counted once\n" in said
    assert "orders go back 149 days" in said
    assert said.endswith("Verdict:\n  nothing stops a run\n")
    assert not Path(site.store).exists()


def test_check_counts_one_thing_as_one_and_speaks_of_copies_only_where_there_are_any(tmp_path, capsys):
    tables = tiny_tables()
    shipped = tables["shipments"].index[5]
    tables["shipments"]["quantity"] = tables["shipments"]["quantity"].astype(float)
    tables["shipments"].loc[shipped, "quantity"] = -1.0
    site = site_of(tmp_path, tables)
    assert main(["check", "--data", site.data, "--as-of", AS_OF, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "Set aside: 1 cell breaks a law" in said
    assert "is greater than 0 fails 1 time, e.g. '-1.0'" in said
    assert "1 order line is neither ranked nor trained on" in said
    assert "copies:" not in said


def test_a_verdict_on_an_extract_that_ends_long_before_t_says_so(tmp_path, capsys):
    site = site_of(tmp_path, tiny_tables())
    assert main(["check", "--data", site.data, "--as-of", "2024-06-30T05:00:00Z", "--quiet"]) == 0
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict.startswith("  nothing stops a run, but the newest order line is from 2024-05-")
    assert verdict.endswith(" days before T")


def test_check_says_what_would_stop_a_run_and_refuses(tmp_path, capsys):
    site = site_of(tmp_path, broken("shipments", with_cells("quantity", -3.0)))
    assert main(["check", "--data", site.data, "--as-of", AS_OF, "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "A run would stop because:\n  shipments: " in said
    assert "shipments.quantity: is greater than 0 fails" in said


@pytest.mark.usefixtures("few_looks")
def test_an_extract_that_says_it_is_complete_is_believed_and_one_that_says_it_lags_is_not(run, tmp_path):
    site = site_of(tmp_path, broken("shipments", lambda f: f.iloc[:0]))
    extract = Path(site.data) / "extract.json"
    extract.write_text(json.dumps({"taken_at": AS_OF, "shipments": {"complete_to": AS_OF}}))
    assert run() == (0, "")
    extract.write_text(json.dumps({"taken_at": AS_OF, "tables": {"stock": {"complete_to": "2024-05-20"}}}))
    code, said = run()
    assert (code, "stock is complete only to 2024-05-20 00:00 (extract.json)" in said) == (1, True)
    assert np.isfinite(queue_of(site)["loss_if_waits"]).all()
