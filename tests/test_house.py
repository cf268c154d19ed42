"""The walls of the house: who imports whom, what the wheel holds, what stands at the top level."""

import ast
import inspect
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("erp", "features", "models", "decisions", "pipelines")
MODULES = [path for room in ROOMS for path in sorted((ROOT / room).glob("*.py"))]


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Full names that a module imports, and whether at its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in top) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            yield from ((f"{node.module}.{alias.name}", node in top) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_room_imports_only_from_rooms_before_it(path: Path) -> None:
    later = ROOMS[ROOMS.index(path.parent.name) + 1 :]
    assert [name for name, _ in imported(path) if name.split(".")[0] in later] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_only_pipelines_knows_prefect_and_mlflow(path: Path) -> None:
    if path.parent.name != "pipelines":
        assert {name.split(".")[0] for name, _ in imported(path)}.isdisjoint({"prefect", "mlflow"})


def test_mlflow_is_nowhere_imported_before_it_is_needed() -> None:
    at_top = {path.stem for path in MODULES for name, is_top in imported(path) if is_top and name.startswith("mlflow")}
    assert at_top == set()


def test_prefect_is_imported_by_the_flow_modules_alone() -> None:
    at_top = {path.stem for path in MODULES for name, is_top in imported(path) if is_top and name.startswith("prefect")}
    assert at_top == {"build_features", "train_models", "score_queue", "daily"}


def test_a_newcomer_finds_every_module_of_erp_on_its_first_page() -> None:
    named = re.findall(r"[a-z_]+\*?", import_module("erp").__doc__ or "")
    modules = [path.stem for path in MODULES if path.parent.name == "erp" and path.stem != "__init__"]
    assert [name for name in modules if not any(fnmatchcase(name, pattern) for pattern in named)] == []


FORBIDDEN_MODULES = {"os", "time", "socket", "urllib", "requests", "httpx", "random", "secrets", "uuid", "subprocess"}
FORBIDDEN_CALLS = {"now", "today", "utcnow", "getenv", "default_rng()"}  # a generator without a seed


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parent.name in {"features", "models", "decisions"}], ids=lambda p: p.stem
)
def test_predictions_and_decisions_ask_no_clock_environment_or_network(path: Path) -> None:
    assert {name.split(".")[0] for name, _ in imported(path)}.isdisjoint(FORBIDDEN_MODULES)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            assert owner != "np.random" or node.func.attr == "default_rng", f"{path.name}:{node.lineno} has no seed"
            called = node.func.attr + ("()" if node.func.attr == "default_rng" and not node.args else "")
            assert called not in FORBIDDEN_CALLS, f"{path.name}:{node.lineno} calls {called}"


def test_no_flow_file_bears_the_name_of_a_standard_module() -> None:
    assert {path.stem for path in (ROOT / "pipelines").glob("*.py")}.isdisjoint(sys.stdlib_module_names)


def test_the_top_level_holds_only_what_the_design_names() -> None:
    named = {"README.md", "CHANGELOG.md", "pyproject.toml", "requirements.lock", "Makefile", "docs", "tests"}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {name.split("/")[0] for name in tracked}
    assert {name for name in top if not name.startswith(".")} <= named | set(ROOMS)


def test_the_wheel_holds_the_five_packages_and_their_sql(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    held = {name for wheel in tmp_path.glob("*.whl") for name in zipfile.ZipFile(wheel).namelist()}
    inside = {name for name in held if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in inside} == set(ROOMS)
    written = {p.relative_to(ROOT).as_posix() for room in ROOMS for p in (ROOT / room).glob("*") if p.is_file()}
    assert {name for name in written if name.endswith((".py", ".sql", ".toml"))} <= inside
    entry_points = next(name for name in held if name.endswith("entry_points.txt"))
    wheel = next(tmp_path.glob("*.whl"))
    assert "backorder = pipelines.command:main" in zipfile.ZipFile(wheel).read(entry_points).decode()


# "name : meaning (default: value)" or "... default value" in a docstring's parameters.
DOCUMENTED = re.compile(r"^\s+(?P<name>\w+) : .*?\bdefault:? (?P<value>[\w.'\"-]+)", re.MULTILINE)


def documented_defaults() -> list[tuple[str, str, str, object]]:
    found = []
    for path in MODULES:
        module = import_module(f"{path.parent.name}.{path.stem}")
        for name, member in inspect.getmembers(module, inspect.isroutine):
            if member.__module__ != module.__name__ or not member.__doc__:
                continue
            parameters = inspect.signature(member).parameters
            for match in DOCUMENTED.finditer(member.__doc__):
                if match["name"] in parameters:
                    found.append((name, match["name"], match["value"], parameters[match["name"]].default))
    return found


def test_documented_defaults_equal_signatures() -> None:
    assert [row for row in documented_defaults() if str(row[3]).strip("'\"") != row[2].strip("'\".")] == []
