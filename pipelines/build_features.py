"""Flow: The feature tables as of T: read, judged, built."""

from prefect import flow

from pipelines.jobs import build
from pipelines.schedule import morning_of


@flow(name="build-features", persist_result=False)
def build_features(
    settings: str | None = None,
    as_of: str | None = None,
    data: str | None = None,
    store: str | None = None,
    out: str | None = None,
) -> str:
    """The feature tables as of T: read, judged, built."""
    return str(build(*morning_of(settings, as_of, data, store, out)))
