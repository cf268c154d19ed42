"""The command: which models serve which morning, what explain says, and how fast help answers."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from erp.ledger import Ledger
from pipelines.command import main
from pipelines.jobs import morning, score
from pipelines.queue_report import published_text
from pipelines.steps import champions
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
        for other in set(pool["order_line_id"]) - {line["order_line_id"]}:
            assert f"goods go to {other}: " in printed


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
    command("run", "--settings", str(tmp_path / "site.toml"), "--policy", str(tmp_path / "if.toml"))
    cheap = queue_of(site).set_index("order_line_id")["loss_if_waits"]
    assert (dear["loss_if_waits"].to_numpy() >= cheap.reindex(dear["order_line_id"]).to_numpy()).all()
    assert dear["loss_if_waits"].sum() > cheap.sum()
    assert not Path("elsewhere").exists()


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
