from collections.abc import Iterator

import pytest

from tests.postgres_server import PostgresServer, postgres_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of minutes first: begun last, they would keep one of two processes waiting for the other."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server of this test process; tests take databases of their own."""
    with postgres_server() as server:
        yield server
