"""The command: which models serve which morning, what explain says, and how fast help answers."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from erp.ledger import Ledger
from pipelines.command import main
from pipelines.jobs import morning, score
from pipelines.queue_report import _explained, published_text
from pipelines.steps import champions
from tests.pipelines.queue_validator import inbound_of
from tests.pipelines.small_company import TINY_T, WEEK, T, company_tables, queue_of, site_of, tiny_tables

HELP = """
import sys
from pipelines.command import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
heavy = {"pandas", "numpy", "prefect", "mlflow", "lightgbm", "duckdb", "pandera", "pyarrow", "scipy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


@pytest.fixture
def command(tmp_path, capsys):
    """Run the command on the site below tmp_path: exit code, what it printed, what it said."""
    site = site_of(tmp_path)

    def ran(job, *more, as_of=TINY_T):
        given = ["--store", site.store, "--quiet"]
        if job != "explain":
            given += ["--data", site.data, "--as-of", f"{as_of}Z"]
        code = main([job, *given, *(["--out", site.out] if job in ("run", "score") else []), *more])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    ran.site = site
    return ran


def test_the_champion_serves_later_mornings_and_no_earlier_one(trained):
    site = trained(company_tables(days_on=7))
    ledger = Ledger(Path(site.store))
    before = ledger.models()
    morning(site, T + WEEK)
    assert ledger.models() == before, "what serves T serves a week later: nothing is trained"
    late = queue_of(site)
    morning(site, T - WEEK)
    trained_now = ledger.models()[len(before) :]
    assert {each.trained_as_of.replace(tzinfo=None) for each in trained_now} == {T - WEEK}
    assert len(trained_now) == len(before)
    assert sorted(champions(ledger, T).values(), key=lambda v: v.name) == sorted(before, key=lambda v: v.name)
    assert (queue_of(site)["ordered_at"] < T - WEEK).all()
    assert queue_of(site)["previous_rank"].isna().all(), "no history from a later morning"
    score(site, T + WEEK)
    assert late["loss_if_waits"].tolist() == queue_of(site)["loss_if_waits"].tolist()


def test_train_says_what_it_trained_and_score_then_serves(command):
    site_of(Path(command.site.data).parent, tiny_tables())
    code, printed, _ = command("train")
    assert code == 0
    for version in Ledger(Path(command.site.store)).models():
        assert version.version_hash in printed
        assert version.name in printed
    assert not Path(command.site.out).exists()
    code, printed, said = command("score", as_of=TINY_T + timedelta(hours=2))
    assert (code, said) == (0, "")
    assert "open back-ordered lines ranked as of 2024-05-30T07:00:00Z" in printed


def test_explain_says_the_terms_the_place_and_who_gets_the_goods(trained, capsys):
    site = trained()
    score(site, T)
    queue = queue_of(site)
    capsys.readouterr()
    for line in queue.sample(20, random_state=0).to_dict("records"):
        assert main(["explain", line["order_line_id"], "--store", site.store]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"{line['order_line_id']}: {line['action']}, rank {line['rank']} of {len(queue)}")
        assert line["reason"] in printed
        assert f"{line['loss_if_waits']:,.2f} EUR" in printed
        assert "nan" not in printed.lower().split()
        pool = queue[(queue["product_id"] == line["product_id"]) & (queue["ship_now_quantity"] > 0)]
        says = "also ships:" if line["ship_now_quantity"] > 0 else "goods go to"
        for other in set(pool["order_line_id"]) - {line["order_line_id"]}:
            assert f"  {says} {other}: " in printed
        assert ("do not promise it" in printed) <= ("no inbound" in str(line["assumed"]))


def small_queue(**changed):
    """Three lines that wait on 9 March for one pool's single unit; the first one's cells as given."""
    lines = pd.DataFrame(
        {
            "order_line_id": ["a", "b", "c"],
            "product_id": "p",
            "warehouse_id": "w",
            "action": ["wait", "ship", "ship_part"],
            "rank": [1, 2, 3],
            "pool_rank": [3, 1, 2],
            "pool_size": 3,
            "reason": "Because.",
            "currency": "EUR",
            "as_of": pd.Timestamp("2026-03-08 23:30"),  # 9 March in Berlin
            "promised_on": pd.to_datetime(["2026-03-01", "2026-03-12", None]),
            "days_late": pd.array([8, -3, None], dtype="Int64"),
            "expected_on": pd.to_datetime(["2026-03-20", "2026-03-09", "2026-03-23"]),
            "expected_latest_on": pd.to_datetime(["2026-04-02", "2026-03-09", None]),
            "promise_on": pd.to_datetime(["2026-04-02", "2026-03-12", None]),
            "promise_chance": [0.92, 1.0, np.nan],
            "promise_changed_because": ["2026-03-01, the date told, has passed", None, None],
            "waited_days": [1, 9, 9],
            "open_quantity": [1.0, 1.0, 2.5],
            "ship_now_quantity": [0.0, 1.0, 0.5],
            "available_now": 1.0,
            "stock_price": 1234.5,
            "p_cancel_14d": 0.125,
            "lifetime_value": 80.0,
            "lifetime_value_low": 0.0,
            "lifetime_value_high": 250.0,
            "assumed": pd.Series([None, None, "wait (no inbound line)"], dtype="str"),
            **dict.fromkeys(["loss_cancel", "loss_future_orders", "loss_service", "loss_later_goods"], 1.0),
            "loss_if_waits": 4.0,
        }
    )
    for name, value in changed.items():
        lines.loc[0, name] = value
    return lines


def explained(queue, place):
    return [text.strip() for text in _explained(queue.iloc[place], queue)]


def test_explain_says_of_a_line_that_waits_when_it_was_promised_when_it_comes_and_who_gets_the_goods():
    said = explained(small_queue(), 0)
    assert said[0] == "a: wait, rank 1 of 3"
    assert said[-9:] == [
        "waited 1 day since the requested day or the order day",
        "promised 2026-03-01, 8 days late",
        "expected 2026-03-20, at the latest (promise quantile) 2026-04-02",
        "date to tell 2026-04-02, met with a chance of 92% (2026-03-01, the date told, has passed)",
        "gets 0 of 1 unit",
        "pool: rank 3 of 3, 1 unit here; one more unit here would save 1,234.50 EUR",
        "assumed: nothing",
        "goods go to b: 1 unit",
        "goods go to c: 0.5 units",
    ]


def test_explain_says_of_a_line_that_ships_what_else_ships_and_of_an_assumed_wait_that_it_is_no_date():
    ships, partly = explained(small_queue(), 1), explained(small_queue(), 2)
    assert ships[-7:-3] == [
        "promised 2026-03-12, 3 days before it",
        "expected 2026-03-09: it ships now",
        "date to tell 2026-03-12, met with a chance of 100%",
        "gets 1 of 1 unit",
    ]
    assert ships[-1] == "also ships: c: 0.5 units"
    assert partly[-7:] == [
        "no date promised",
        "no date known; 14 days assumed: do not promise it",
        "no date can be told",
        "gets 0.5 of 2.5 units",
        "pool: rank 2 of 3, 1 unit here; one more unit here would save 1,234.50 EUR",
        "assumed: wait (no inbound line)",
        "also ships: b: 1 unit",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"days_late": 1}, "promised 2026-03-01, 1 day late"),
        ({"days_late": -1}, "promised 2026-03-01, 1 day before it"),
        ({"days_late": 0}, "promised 2026-03-01, which is today"),
        ({"expected_latest_on": pd.NaT}, "expected 2026-03-20, at the latest (promise quantile) beyond the horizon"),
        ({"expected_on": pd.NaT}, "no date known: more likely than not nothing comes within the horizon"),
        ({"expected_on": pd.NaT, "action": "hold"}, "no date expected: the line is held"),
        (
            {"promise_chance": np.nan, "promise_changed_because": None},
            "date to tell 2026-04-02, told before; its chance is not known",
        ),
        ({"open_quantity": 1_234_567.0}, "gets 0 of 1,234,567 units"),
    ],
)
def test_explain_at_the_edges_of_what_is_known(changed, words):
    assert words in explained(small_queue(**changed), 0)


def test_explain_counts_an_assumed_wait_from_the_day_of_a_queue_that_knows_no_promise():
    queue = small_queue().tail(1).assign(as_of=pd.Timestamp("2026-03-09 05:00"))
    assert "no date known; 14 days assumed: do not promise it" in explained(queue, 0)


def test_explain_refuses_a_line_that_is_not_in_the_queue_and_a_store_without_one(trained, tmp_path, capsys):
    assert main(["explain", "x", "--store", str(tmp_path / "none")]) == 1
    assert "nothing was published from the store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    site = trained()
    score(site, T)
    capsys.readouterr()
    assert main(["explain", "nobody's", "--store", site.store]) == 1
    said = capsys.readouterr().err
    assert f'line "nobody\'s" is not among the {len(queue_of(site))} lines of the queue as of 2024-10-27' in said
    assert "not_ranked.csv" in said


def test_the_first_lines_are_shown_with_their_reasons_and_nobody_is_called_nan(trained):
    site = trained()
    score(site, T)
    text, queue = published_text(site.out), queue_of(site)
    assert text.startswith(f"{len(queue)} open back-ordered lines ranked as of 2024-10-27T05:00:00Z in {site.out}/")
    for line in queue.head(10).to_dict("records"):
        assert f"{line['rank']}. {line['order_line_id']}" in text
        assert line["reason"] in text
    assert "nan" not in text.lower().split()
    (order,) = [
        line for line in text.splitlines() if line.startswith("in rank order: by loss per unit within a product")
    ]
    assert order.endswith("sort by loss_if_waits for the biggest amounts")


def test_what_is_late_of_the_goods_on_order_is_said_with_the_money_that_waits_on_it(trained):
    site = trained()
    score(site, T)
    listed = inbound_of(Path(site.out))
    late = listed[listed["expected_on"] < pd.Timestamp(T).normalize()]
    assert len(late) > 1
    assert (
        f"{len(late)} of {len(listed)} inbound lines are overdue (inbound.csv);"
        f" {late['loss_waiting'].sum():,.2f} EUR wait on them, "
    ) in published_text(site.out)


def test_settings_come_from_file_then_environment_then_options(command, tmp_path, monkeypatch):
    site = site_of(tmp_path, tiny_tables())
    (tmp_path / "site.toml").write_text('currency = "CHF"\nout = "elsewhere"\n[policy]\ncancel_handling_cost = 5.0\n')
    monkeypatch.setenv("BACKORDER_CURRENCY", "NOK")
    code, printed, _ = command("run", "--settings", str(tmp_path / "site.toml"))
    assert code == 0
    assert set(queue_of(site)["currency"]) == {"NOK"}
    assert "NOK" in printed
    dear = queue_of(site)
    (tmp_path / "if.toml").write_text("cancel_handling_cost = 0.0\n")
    what_if = ["run", "--settings", str(tmp_path / "site.toml"), "--policy", str(tmp_path / "if.toml")]
    command(*what_if, "--out", str(tmp_path / "if"))
    cheap = pd.read_parquet(tmp_path / "if" / "queue.parquet").set_index("order_line_id")["loss_if_waits"]
    assert (dear["loss_if_waits"].to_numpy() >= cheap.reindex(dear["order_line_id"]).to_numpy()).all()
    assert dear["loss_if_waits"].sum() > cheap.sum()
    assert not Path("elsewhere").exists()


def test_sensitivity_says_what_each_assumption_moves_and_publishes_nothing(command, tmp_path):
    site = site_of(tmp_path, tiny_tables())
    assert command("run")[0] == 0
    published = Ledger(Path(site.store)).last_published(TINY_T + WEEK)
    code, said, _ = command("sensitivity", "--out", str(tmp_path / "weighed"))
    table = pd.read_csv(tmp_path / "weighed" / "sensitivity.csv")
    assert code == 0
    assert all(f"{name} " in said for name in table["field"])
    dearer = table.set_index("field").loc[["cancel_lost_share", "cancel_handling_cost"]]
    assert (dearer["lost_high"] > dearer["lost_base"]).all()
    assert {path.name for path in (tmp_path / "weighed").iterdir()} == {"sensitivity.csv", "tornado.csv"}
    assert Ledger(Path(site.store)).last_published(TINY_T + WEEK) == published


def test_a_what_if_is_no_queue_of_the_day(command, tmp_path):
    site = site_of(tmp_path, tiny_tables())
    assert command("run")[0] == 0
    published = Ledger(Path(site.store)).last_published(TINY_T + WEEK)
    (tmp_path / "if.toml").write_text("cancel_handling_cost = 3.0\n")
    assert command("run", "--policy", str(tmp_path / "if.toml"), "--out", str(tmp_path / "if"))[0] == 0
    assert (tmp_path / "if" / "manifest.json").exists()
    assert Ledger(Path(site.store)).last_published(TINY_T + WEEK) == published


def test_help_answers_at_once_without_any_heavy_module():
    surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, env=surroundings)
        seconds.append(time.perf_counter() - started)
        assert (done.returncode, done.stderr) == (0, "")
    assert "backorder run --data" in done.stdout
    assert min(seconds) < 0.5


@pytest.mark.parametrize("argv", [[], ["dance"], ["explain"], ["run", "--speed", "9"]])
def test_a_command_that_is_none_ends_with_the_usage(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage: backorder" in capsys.readouterr().err
