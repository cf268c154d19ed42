"""What a collection found, for programs and for people."""

from collections.abc import Mapping
from typing import Any

from erp.collected import Collection
from pipelines.queue_report import counted

_NEWS = ("new", "changed", "vanished")


def collected_facts(collection: Collection) -> dict[str, Any]:
    """What was told anew, per table."""
    return {
        "as_of": f"{collection.as_of.isoformat()}Z",
        "is_first": collection.is_first,
        "tables": {name: dict(found) for name, found in collection.found.items()},
        "not_told": list(collection.not_told),
    }


def collected_text(collection: Collection) -> str:
    """One line per table with news, and what that means for later runs."""
    news = {name: found for name, found in collection.found.items() if any(found[kind] for kind in _NEWS)}
    head = f"collected as of {collection.as_of} UTC: "
    if collection.is_first:
        n = sum(found["told"] for found in news.values())
        head += f"the first extract, {counted(n, 'row')} of {counted(len(news), 'table')}; from here on history is kept"
    elif news:
        head += f"news in {len(news)} of {counted(len(collection.found), 'table')}"
    else:
        head += f"no news in {counted(len(collection.found), 'table')}"
    rows = [f"  {name:<18} {_row(found)}" for name, found in news.items()]
    if collection.not_told:
        rows.append(f"no longer there, so they stand as they were: {', '.join(collection.not_told)}")
    return "\n".join([head, *rows])


def _row(found: Mapping[str, int]) -> str:
    parts = [f"{found[kind]:,} {kind}" for kind in _NEWS if found[kind]]
    return f"{found['told']:>9,} told: {', '.join(parts)}"
