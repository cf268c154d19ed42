import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of minutes first: begun last, they would keep one of two processes waiting for the other."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
