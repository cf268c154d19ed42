"""Which morning a scheduled run is for."""

from datetime import UTC, datetime
from pathlib import Path

from erp.settings import Site, open_site, utc_moment
from pipelines.flow_repair import tell_store


def morning_of(
    settings: str | None, as_of: str | None, data: str | None, store: str | None, out: str | None
) -> tuple[Site, datetime]:
    """The site and T of a flow run; without `as_of` T is the scheduled start, however late the run begins."""
    site = open_site(settings, data=data, store=store, out=out)
    tell_store(Path(site.store))
    return site, _scheduled_start() if as_of is None else utc_moment(as_of)


def _scheduled_start() -> datetime:
    from prefect.runtime import flow_run

    return flow_run.scheduled_start_time.astimezone(UTC).replace(tzinfo=None)
