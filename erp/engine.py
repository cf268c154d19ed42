"""The feature engine: DuckDB in memory, within the site's limit, in UTC."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import duckdb

from erp.settings import Site

# One thread: sums of floats then add up in one order, and equal facts give equal bytes.
_OPTIONS: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "preserve_insertion_order": True}


@contextmanager
def engine(site: Site) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database for as long as this lasts; what exceeds `memory_limit` goes to a temporary folder."""
    with TemporaryDirectory(prefix="backorder-") as spill:
        options = _OPTIONS | {"memory_limit": site.memory_limit, "temp_directory": spill}
        with duckdb.connect(config=options) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.execute("set enable_progress_bar = false")  # it would write between the lines of an answer
            yield connection
