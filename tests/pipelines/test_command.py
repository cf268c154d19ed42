"""The command: which models serve which morning, what explain says, and how fast help answers."""

import json
import os
import shlex
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from erp.ledger import Ledger
from erp.simulator import write_tables
from pipelines.command import main, parser
from pipelines.command_table import COMMANDS
from pipelines.jobs import morning, score
from pipelines.queue_report import published_text
from pipelines.steps import champions
from tests.pipelines.queue_validator import inbound_of
from tests.pipelines.small_company import TINY_T, WEEK, T, copied_site, queue_of, site_of, tiny_tables

HELP = """
import sys
from pipelines.command import main, parser
from pipelines.command_table import COMMANDS
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


@pytest.fixture
def served(tiny_morning, tmp_path):
    """Let the site below tmp_path hold the tiny company's tables, and a store whose models serve its morning."""
    return copied_site(tiny_morning, tmp_path)


@pytest.mark.usefixtures("few_looks")
def test_the_champion_serves_later_mornings_and_no_earlier_one(tiny_morning, tmp_path):
    site = copied_site(tiny_morning, tmp_path)
    write_tables(tiny_tables(days_on=7), Path(site.data))
    ledger = Ledger(Path(site.store))
    before = ledger.models()
    morning(site, TINY_T + WEEK)
    assert ledger.models() == before, "what serves T serves a week later: nothing is trained"
    late = queue_of(site)
    morning(site, TINY_T - WEEK)
    trained_now = ledger.models()[len(before) :]
    assert {each.trained_as_of.replace(tzinfo=None) for each in trained_now} == {TINY_T - WEEK}
    assert len(trained_now) == len(before)
    assert sorted(champions(ledger, TINY_T).values(), key=lambda v: v.name) == sorted(before, key=lambda v: v.name)
    assert (queue_of(site)["ordered_at"] < TINY_T - WEEK).all()
    assert queue_of(site)["previous_rank"].isna().all(), "no history from a later morning"
    score(site, TINY_T + WEEK)
    assert late["loss_if_waits"].tolist() == queue_of(site)["loss_if_waits"].tolist()


@pytest.mark.usefixtures("few_looks")
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


def test_explain_says_the_place_the_reason_and_the_money_in_words_and_as_json(trained, capsys):
    site = trained()
    score(site, T)
    queue = queue_of(site)
    capsys.readouterr()
    for line in queue.sample(6, random_state=0).to_dict("records"):
        assert main(["explain", line["order_line_id"], "--store", site.store]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"{line['order_line_id']}: {line['action']}, rank {line['rank']} of {len(queue)}")
        assert line["reason"] in printed
        assert f"{line['loss_if_waits']:,.2f} EUR" in printed
        assert "nan" not in printed.lower().split()
        assert ("do not promise it" in printed) <= ("no inbound" in str(line["assumed"]))
        assert main(["explain", line["order_line_id"], "--store", site.store, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["line"]["order_line_id"] == line["order_line_id"]


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


def test_settings_come_from_file_then_environment_then_options(command, served, tmp_path, monkeypatch):
    site = served
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


def test_sensitivity_says_what_each_assumption_moves_and_publishes_nothing(command, served, tmp_path):
    site = served
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


def test_a_what_if_is_no_queue_of_the_day(command, served, tmp_path):
    site = served
    assert command("run")[0] == 0
    published = Ledger(Path(site.store)).last_published(TINY_T + WEEK)
    (tmp_path / "if.toml").write_text("cancel_handling_cost = 3.0\n")
    assert command("run", "--policy", str(tmp_path / "if.toml"), "--out", str(tmp_path / "if"))[0] == 0
    assert (tmp_path / "if" / "manifest.json").exists()
    assert Ledger(Path(site.store)).last_published(TINY_T + WEEK) == published


def test_a_planner_corrects_the_queue_sees_what_it_costs_and_takes_it_back(trained, tmp_path, capsys):
    site = trained()
    given = ["--data", site.data, "--store", site.store, "--out", site.out, "--quiet"]
    at = [f"{T + timedelta(hours=hours)}Z" for hours in range(5)]
    assert main(["score", *given, "--as-of", at[0]]) == 0
    queue = queue_of(site)
    line = queue[(queue["action"] == "wait") & (queue["available_now"] > 0) & (queue["stock_price"] > 0)].iloc[-1]
    said = ["--line", line["order_line_id"], "--who", "Ada", "--why", "their machine stands", "--store", site.store]
    assert main(["override", "pin", *said, "--until", "2024-11-30", "--at", at[1]]) == 0
    capsys.readouterr()
    assert main(["score", *given, "--as-of", at[2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overrides"]["n"] == 1
    pinned = queue_of(site).set_index("order_line_id").loc[line["order_line_id"]]
    assert (pinned["override"], pinned["override_who"], pinned["pool_rank"]) == ("pin", "Ada", 1)
    assert pinned["override_cost"] >= 0
    changes = ["diff", at[0], at[2], "--store", site.store, "--json", "--out", str(tmp_path / "changes")]
    assert main(changes) == 0
    assert line["order_line_id"] in (tmp_path / "changes" / "diff.csv").read_text()
    assert main(["override", "lift", *said, "--at", at[3]]) == 0
    assert main(["score", *given, "--as-of", at[4]]) == 0
    assert queue_of(site)["ship_now_quantity"].tolist() == queue["ship_now_quantity"].tolist()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["pin", "--until", "2024-06-30", "--who", "A", "--why", "b"], "names one of --line, --order"),
        (["pin", "--line", "x", "--until", "2024-06-30", "--why", "b"], "override pin needs --who"),
        (["lift", "--line", "x", "--who", "A"], "override lift needs --why"),
        (["pin", "--line", "x", "--who", "A", "--why", "b", "--until", "friday"], "--until friday is no day"),
    ],
)
def test_a_word_that_is_not_whole_is_refused_with_what_it_lacks(given, says, tmp_path, capsys):
    assert main(["override", *given, "--store", str(tmp_path)]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.usefixtures("served")
def test_answers_as_json_say_what_the_texts_say(command):
    code, printed, said = command("run", "--json")
    told = json.loads(printed)
    assert (code, said) == (0, "")
    assert told["out"] == command.site.out
    assert told["files"]["queue.parquet"]["rows"] == len(queue_of(command.site))
    code = main(["check", "--data", command.site.data, "--as-of", f"{TINY_T}Z", "--json", "--quiet"])
    assert code == 0


def test_every_command_teaches_by_examples_that_its_own_parser_reads(capsys):
    for command in COMMANDS:
        assert command.examples
        for arguments, _ in command.examples:
            assert vars(parser().parse_args(shlex.split(arguments)))["command"] == command.name
        with pytest.raises(SystemExit):
            main([command.name, "--help"])
        assert command.examples[0][0] in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_no_error(command, tmp_path):
    site_of(tmp_path, tiny_tables())
    read_one = f"{sys.executable} -m pipelines.command check --data {command.site.data} --as-of {TINY_T:%FT%TZ} --quiet"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{read_one} | true"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


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
