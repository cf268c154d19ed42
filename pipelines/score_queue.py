"""Flow: The ranked queue as of T with the models that serve T."""

from prefect import flow

from pipelines.jobs import score
from pipelines.schedule import morning_of


@flow(name="score-queue", persist_result=False)
def score_queue(
    settings: str | None = None,
    as_of: str | None = None,
    data: str | None = None,
    store: str | None = None,
    out: str | None = None,
) -> str:
    """The ranked queue as of T with the models that serve T."""
    return str(score(*morning_of(settings, as_of, data, store, out)))
