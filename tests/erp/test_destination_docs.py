"""The pages about destinations say what the code does."""

import inspect
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from erp.postgres_queue import PostgresSettings
from erp.queue_fields import ALLOWED, REQUIRED
from erp.rank_encoding import ENCODINGS, RankEncoding
from erp.rest_settings import RestSettings
from erp.settings_table import read_settings

DOCS = Path(__file__).parents[2] / "docs"
KINDS = {"rest": RestSettings, "postgresql": PostgresSettings}


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def tables_in(text):
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]


def rows_of(text, heading):
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| ")
    ][1:]


@pytest.mark.parametrize("name", ["rest.md", "erp-fields.md", "delivery.md"])
def test_the_settings_shown_can_be_used(name):
    shown = [table["destination"] for table in tables_in(page(name)) if "destination" in table]
    known = [table for table in shown if table.get("kind") in KINDS]
    assert known
    for table in known:
        kind = KINDS[table.pop("kind")]
        assert read_settings(kind, table, "destination").queue_fields.names


def test_every_setting_of_a_rest_receiver_stands_on_its_page():
    comments = dict(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(RestSettings), re.MULTILINE))
    declared = []
    for field in fields(RestSettings):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        shown = "required" if default is MISSING else repr(default)
        declared.append([f"`{field.name}`", f"`{shown}`", comments[field.name]])
    assert rows_of(page("rest.md"), "Settings") == declared


def test_the_columns_that_may_be_sent_stand_on_the_page():
    paragraph = page("rest.md").split("Other columns that may be sent:")[1].split("Names of customers")[0]
    assert set(re.findall(r"`(\w+)`", paragraph)) == set(ALLOWED) - set(REQUIRED)


def test_every_encoding_stands_on_the_page_with_what_it_needs():
    rows = {row[0].strip("`"): row for row in rows_of(page("erp-fields.md"), "The forms")}
    assert rows.keys() == ENCODINGS.keys()
    for name, (needed, besides) in ENCODINGS.items():
        assert set(re.findall(r"`(\w+)`", rows[name][2])) == needed
        assert set(re.findall(r"`(\w+)`", rows[name][3])) == besides
    assert [name for name, row in rows.items() if "tie" in row[4]] == ["classes", "date", "star"]


def test_the_default_of_decimals_is_as_said():
    assert f"`decimals` ({RankEncoding().decimals})" in page("erp-fields.md")
    assert f"`reconnect_seconds` ({PostgresSettings('postgresql://a').reconnect_seconds:g})" in page("delivery.md")
    assert f"`lock_seconds` ({PostgresSettings('postgresql://a').lock_seconds:g})" in page("delivery.md")


def test_every_field_of_a_system_that_no_test_reaches_is_said_to_be_untested():
    rows = rows_of(page("erp-fields.md"), "The fields")
    tested = [row[0] for row in rows if row[4] != "untested here"]
    assert tested == ["Tryton 8.2", "a PostgreSQL table", "a REST receiver"]
    assert all(row[3] for row in rows)


def test_every_source_is_named_and_used():
    text = page("erp-fields.md")
    fields_part, sources = text.split("## Sources")
    used = {int(number) for number in re.findall(r"\[(\d+)\]", fields_part)}
    assert used == {int(number) for number in re.findall(r"^(\d+)\. ", sources, re.MULTILINE)}
