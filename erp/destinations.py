"""Opening the destination that a site's settings name."""

from erp.destination import Destination
from erp.settings import SettingsError, Site

KINDS = ("postgresql", "rest", "tryton")


def open_destination(site: Site) -> Destination:
    """The destination of the settings' table `destination`, not connected yet.

    Raises
    ------
    SettingsError
        If there is none, its kind is unknown, or its settings cannot be used.
    """
    table = dict(site.destination)
    if not table:
        raise SettingsError(
            'no destination is set; name one in the table [destination] of the settings, such as kind = "postgresql"'
            ' and url = "postgresql://backorder@host/erp"'
        )
    kind = table.pop("kind", None)
    if kind == "postgresql":
        from erp.postgres_queue import PostgresQueue

        return PostgresQueue.from_table(table, site)
    if kind == "rest":
        from erp.rest_queue import RestQueue

        return RestQueue.from_table(table, site)
    if kind == "tryton":
        from erp.tryton_queue import TrytonQueue

        return TrytonQueue.from_table(table, site)
    raise SettingsError(f"destination.kind is {kind!r}; it is one of {', '.join(KINDS)}")
