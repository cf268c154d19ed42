"""The page of sources: its commands run and say what it shows, its views are read, its rows name what there is."""

import re
from pathlib import Path

import pandas as pd
import pytest

from erp.extract import kind_of, read_source
from erp.settings import Site, refuse_password_in
from tests.erp.small_company import T, small_tables
from tests.erp.test_extract import WRITERS
from tests.postgres_server import PASSWORD
from tests.test_readme import missing_from, run_in

PAGE = (Path(__file__).parents[1] / "docs" / "sources.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_commands_of_the_page_say_what_it_shows(tmp_path: Path) -> None:
    (commands,) = [block for kind, block in BLOCKS if kind == "sh"]
    (shown,) = [block for kind, block in BLOCKS if kind == "text"]
    said = run_in(tmp_path, commands)
    assert not missing_from(said, shown), said


def test_the_views_of_the_page_are_read(postgres, monkeypatch, tmp_path: Path) -> None:
    (views,) = [block for kind, block in BLOCKS if kind == "sql"]
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", PASSWORD)
    url = postgres.new_database()
    with postgres.connect(url) as connection:
        connection.execute("create table accounts (id int, opened timestamptz, company text)")
        connection.execute("create table orders (id int, account_id int, entered timestamptz)")
        connection.execute(
            "create table positions (id int, order_id int, article_id int, ordered numeric, net_price numeric)"
        )
        connection.execute("insert into accounts values (7, '2024-01-02 10:00+01', 'Ash')")
        connection.execute("insert into orders values (5, 7, '2024-03-01 10:00+00')")
        connection.execute("insert into positions values (51, 5, 3, 2.5, 9.90)")
        connection.execute(views)
        for name in ("products", "shipments", "cancellations", "stock"):
            columns = ", ".join(f"{column} text" for column in small_tables()[name])
            connection.execute(f"create table backorder.{name} ({columns})")
    read_source(Site(data=f"{url}?schema=backorder"), tmp_path / "read", T)
    line = pd.read_parquet(tmp_path / "read" / "order_lines.parquet").iloc[0].to_dict()
    assert line == {
        "order_line_id": "51",
        "order_id": "5",
        "customer_id": "7",
        "product_id": "3",
        "ordered_at": "2024-03-01 10:00:00+00",
        "quantity": "2.5",
        "unit_price": "9.90",
    }


def test_each_kind_of_source_that_the_page_lists_is_told_apart(tmp_path: Path) -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)[1:]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    kinds = {}
    for name in named:
        refuse_password_in(name)
        path = tmp_path / name.split("://")[0]
        if name.startswith("erp."):
            WRITERS[path.suffix[1:]](small_tables(), path)
        kinds[name.split("?")[0]] = kind_of(name if "://" in name else str(path))
    assert list(kinds.values()) == ["folder", "duckdb", "sqlite", "postgresql", "tryton"]


@pytest.mark.parametrize("setting", ["late_extract_minutes", "max_lag_hours", "tolerated_loss_share"])
def test_settings_that_the_page_names_are_there(setting: str) -> None:
    assert setting in PAGE
    assert hasattr(Site(), setting)
