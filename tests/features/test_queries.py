import tomllib
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
import sqlglot
from sqlglot import exp

from features.feature_tables import QUERIES, build, query
from tests.erp.small_company import Company
from tests.features.grown_company import T, grown_tables

# What DuckDB and Spark read alike, by the table of measured differences; a new function is measured first.
ALLOWED = set(
    "Avg Count Max Min Sum StddevSamp ArgMax ArgMin Filter Lag RowNumber Coalesce Nullif Greatest Least DateDiff"
    " Extract Case If Cast And Or".split()
)


def trees():
    return {name: sqlglot.parse_one(query(name), read="duckdb") for name in QUERIES}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    facts = Company(tmp_path_factory.mktemp("queries")).facts(grown_tables(seed=3), T)
    with facts.connect() as connection:
        return {name: build(connection, facts, T, name) for name in QUERIES}


@pytest.fixture(scope="module")
def dictionary():
    return tomllib.loads(files("features").joinpath("dictionary.toml").read_text(encoding="utf-8"))


def test_every_query_file_is_built_and_named():
    assert {Path(str(path)).stem for path in files("features").iterdir() if str(path).endswith(".sql")} == set(QUERIES)


@pytest.mark.parametrize("name", QUERIES)
def test_the_first_line_says_the_grain(name):
    assert query(name).startswith("-- One row per ")


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_only_known_facts_and_queries_before_it(name):
    tree = trees()[name]
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    read = {table.name for table in tree.find_all(exp.Table)} - own
    earlier = set(QUERIES[: QUERIES.index(name)])
    assert {table for table in read if not table.startswith("known_")} <= earlier
    assert not any(table.db for table in tree.find_all(exp.Table))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_uses_only_functions_that_both_engines_read_alike(name):
    used = {type(function).__name__ for function in trees()[name].find_all(exp.Func)}
    assert used <= ALLOWED
    assert not list(trees()[name].find_all(exp.Anonymous))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_speaks_sparks_language_too(name):
    spark = sqlglot.transpile(query(name), read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)
    assert len(spark) == 1
    assert sqlglot.parse_one(spark[0], read="spark").find(exp.Select)


@pytest.mark.parametrize("name", QUERIES)
def test_every_column_is_in_the_dictionary_in_its_kind_and_range(name, built, dictionary):
    for column, values in built[name].items():
        kinds = [kind for kind, columns in dictionary.items() if column in columns]
        assert len(kinds) == 1, f"{name}.{column} is in {kinds}"
        check_kind(kinds[0], values)
        if kinds == ["numbers"]:
            check_range(f"{name}.{column}", values, *dictionary["numbers"][column][2:])


def check_kind(kind, values):
    is_kind = {
        "ids": pd.api.types.is_string_dtype,
        "flags": lambda dtype: pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_object_dtype(dtype),
        "times": pd.api.types.is_datetime64_any_dtype,
        "numbers": pd.api.types.is_numeric_dtype,
    }[kind]
    assert is_kind(values.dtype), f"{values.name} is {values.dtype}, not of {kind}"


def check_range(name, values, least, greatest):
    assert least == "" or values.min() >= least or values.isna().all(), f"{name} falls to {values.min()}"
    assert greatest == "" or values.max() <= greatest or values.isna().all(), f"{name} rises to {values.max()}"


def test_the_dictionary_names_no_column_that_is_not_there(built, dictionary):
    there = {column for table in built.values() for column in table.columns}
    assert {column for columns in dictionary.values() for column in columns} - there == set()


def test_every_number_of_the_grown_company_varies(built):
    # A column that is constant in the test company would pass any test of its range.
    # None of its open lines is due later than T; tests/features/test_feature_tables.py has such groups.
    by_chance = {"group_waits_elsewhere"}
    for name in ("backorder_lines", "accounts"):
        constant = {c for c, values in built[name].items() if values.nunique(dropna=False) < 2}
        assert constant <= {"cutoff_on", "customer_reference", "contact_allowed", "kind"} | by_chance
