"""README's blocks, run as a reader would run them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
RETAIL = Path(os.environ.get("ONLINE_RETAIL_II", ROOT.parent / "shared" / "data" / "online_retail_ii"))


def blocks_with(text: str) -> list[str]:
    return [block for _, block in BLOCKS if text in block]


def run_in(folder: Path, block: str) -> str:
    """Run a block's lines in a shell that finds this environment's commands; returns what they printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "ONLINE_RETAIL_II": str(RETAIL)}
    done = subprocess.run(["bash", "-euc", block], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader has run the blocks on their own tables."""
    folder = tmp_path_factory.mktemp("reader")
    for block in blocks_with("--data extract"):
        run_in(folder, block)
    return folder


def test_readme_opens_with_the_two_commands() -> None:
    first = [shlex.split(line, comments=True) for line in BLOCKS[0][1].splitlines()]
    assert first == [["make", "demo"], ["make", "test"]]


@pytest.mark.slow
def test_the_python_block_reads_the_queue_that_the_commands_made(folder: Path) -> None:
    (block,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "loss_if_waits" in done.stdout


@pytest.mark.slow
def test_explain_explains_a_line_of_that_queue(folder: Path) -> None:
    (block,) = blocks_with("backorder explain")
    line = pd.read_parquet(folder / "queue" / "queue.parquet")["order_line_id"].iloc[0]
    assert line in run_in(folder, block.replace("LINE", shlex.quote(line)))


@pytest.mark.slow
@pytest.mark.parametrize("page", ["how-it-ranks.md", "planners-day.md"])
def test_the_blocks_of_a_page_run_on_that_queue_and_say_what_the_page_shows(folder: Path, page: str) -> None:
    text, said = (ROOT / "docs" / page).read_text(encoding="utf-8"), ""
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind == "text":
            assert not missing_from(said, block), said
            said = ""
        else:
            said += run_in(folder, block if kind == "sh" else f"python - <<'END'\n{block}END")


def missing_from(said: str, shown: str) -> list[str]:
    """Shown lines that do not stand in what was said, in their order; another processor may end in other digits."""
    found = iter([plain(line) for line in said.splitlines()])
    return [line for line in shown.splitlines() if line != "..." and not any(plain(line) in other for other in found)]


def plain(line: str) -> str:
    """A line without its numbers and the width of its columns."""
    return " ".join(re.sub(r"[-+]?(?<![A-Z])\b\d[\d.,]*\b", "#", line).split())


def test_the_worked_line_of_the_pages_is_exact() -> None:
    text = (ROOT / "docs" / "how-it-ranks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = [(block, then) for (kind, block), (_, then) in zip(blocks, blocks[1:], strict=False) if kind == "python"]
    assert len(shown) == 2
    for block, then in shown:
        assert run_in(ROOT, f"python - <<'END'\n{block}END") == then


def test_every_block_is_run_by_a_test() -> None:
    run = [*blocks_with("make demo"), *blocks_with("--data extract"), *blocks_with("backorder explain")]
    run += [block for kind, block in BLOCKS if kind == "python"] + blocks_with("erp.online_retail")
    assert [block for kind, block in BLOCKS if kind != "text" and block not in run] == []


@pytest.mark.slow
@pytest.mark.skipif(not RETAIL.exists(), reason=f"needs Online Retail II at {RETAIL} or $ONLINE_RETAIL_II")
def test_the_queue_of_online_retail_ii_is_the_one_shown(tmp_path: Path) -> None:
    (block,) = blocks_with("erp.online_retail")
    (shown,) = [block for kind, block in BLOCKS if kind == "text"]
    # Another processor rounds the last digits of a sum otherwise, and a close split of a tree may fall the other way:
    # lines and sentences may then differ at the edge, not as a whole.
    told, found = top_lines(shown), top_lines(run_in(tmp_path, block))
    assert len(told) == len(found) == 10
    assert len(set(told) & set(found)) >= 8


def top_lines(text: str) -> list[str]:
    """Ids of the lines shown, in their order."""
    return re.findall(r"^ *\d+\. (\S+)  ", text, re.MULTILINE)
