"""Opening a PostgreSQL database by its address: postgresql://user@host:port/database?schema=name.

The query may also hold libpq's own settings, such as sslmode. The password comes from elsewhere (`erp.credentials`).
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from erp.addresses import shown
from erp.credentials import without_secrets
from erp.settings import SettingsError, refuse_password_in

if TYPE_CHECKING:
    from psycopg import Connection

# Names of schemas, tables and columns that need no quotes.
PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SCHEMES = ("postgresql", "postgres")
INSTALL = 'psycopg is missing; install it with: pip install "backorder[postgres]"'


class PostgresError(Exception):
    """The database cannot be opened; the message says why, without the password."""


def is_postgres(address: str) -> bool:
    """Whether an address is one of PostgreSQL.

    >>> is_postgres("postgresql://reader@erp/sales"), is_postgres("tryton+https://reader@erp/sales")
    (True, False)
    """
    return address.split("://", 1)[0] in SCHEMES and "://" in address


def schema_of(address: str, default: str = "public") -> str:
    """The schema that an address names.

    >>> schema_of("postgresql://reader@erp/sales?schema=backorder&sslmode=require")
    'backorder'
    """
    return dict(parse_qsl(urlsplit(address).query)).get("schema", default)


def open_postgres(address: str, password: str | None, seconds: int = 10) -> "Connection":
    """Connect to the database that an address names, with times in UTC and texts in UTF-8.

    Parameters
    ----------
    password : of its user; None leaves it to libpq: a passfile, or a server that trusts
    seconds : to wait for an answer

    Raises
    ------
    SettingsError
        If the address carries a password or psycopg is not installed.
    PostgresError
        If no connection comes about.
    """
    refuse_password_in(address)
    try:
        import psycopg
    except ImportError:
        raise SettingsError(f"{shown(address)}: {INSTALL}") from None
    options = "-c TimeZone=UTC -c DateStyle=ISO,YMD -c client_min_messages=error"
    try:
        # The program's name is what an administrator finds in the server's list of connections.
        return psycopg.connect(
            _without_schema(address),
            password=password,
            connect_timeout=seconds,
            client_encoding="UTF8",
            options=options,
            application_name="backorder",
        )
    except (psycopg.Error, UnicodeError) as error:
        why = " ".join(without_secrets(error, password).split())
        raise PostgresError(f"{shown(address)} cannot be opened: {why or type(error).__name__}") from None


def _without_schema(address: str) -> str:
    """The address as libpq reads it: it knows no schema."""
    parts = urlsplit(address)
    kept = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "schema"]
    return urlunsplit(parts._replace(query=urlencode(kept, quote_via=quote)))
