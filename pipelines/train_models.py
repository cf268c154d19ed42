"""Flow: Every model trained on the facts known at T, and champion from T on if it passes."""

from prefect import flow

from pipelines.jobs import train
from pipelines.schedule import morning_of


@flow(name="train-models", persist_result=False)
def train_models(
    settings: str | None = None,
    as_of: str | None = None,
    data: str | None = None,
    store: str | None = None,
    out: str | None = None,
) -> str:
    """Every model trained on the facts known at T, and champion from T on if it passes."""
    return str(train(*morning_of(settings, as_of, data, store, out)))
