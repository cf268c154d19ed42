"""Flow: The scheduled morning: as of its scheduled start, however late it runs."""

from prefect import flow

from pipelines.jobs import morning
from pipelines.schedule import morning_of


@flow(name="daily", persist_result=False)
def daily(
    settings: str | None = None,
    as_of: str | None = None,
    data: str | None = None,
    store: str | None = None,
    out: str | None = None,
) -> str:
    """The scheduled morning: as of its scheduled start, however late it runs."""
    return str(morning(*morning_of(settings, as_of, data, store, out)))
