"""Addresses of systems, such as postgresql://user@host/db: told from paths, and never with a password in them."""

import re
from urllib.parse import parse_qsl

# What a driver or a web service would take from a query as the password.
_SECRET_KEYS = frozenset({"password", "passwd", "pwd", "sslpassword", "passfile", "secret", "token", "access_token"})
_SECRET_KEYS |= {"apikey", "api_key", "client_secret"}


def is_address(text: str) -> bool:
    """Whether a text names a system on a network and no path.

    >>> is_address("postgresql://reader@erp/sales"), is_address("C:/data")
    (True, False)
    """
    return "://" in text


def has_password(text: str) -> bool:
    """Whether an address carries a password, before its host or in its query.

    >>> has_password("postgresql://reader:hunter2@erp/sales"), has_password("postgresql://reader@erp/sales?schema=a")
    (True, False)
    """
    if not is_address(text):
        return False
    rest = text.split("://", 1)[1]
    # A password may itself hold / ? #, quoted or not: all before the last @ is looked at.
    before_host, _, _ = rest.rpartition("@")
    keys = {key.lower() for key, _ in parse_qsl(rest.partition("?")[2], keep_blank_values=True)}
    return ":" in before_host or bool(keys & _SECRET_KEYS)


def shown(text: str) -> str:
    """The address for messages: without its query and whatever could be a password; a path as it is.

    >>> shown("postgresql://reader:hunter2@erp:5432/sales?password=hunter2")
    'postgresql://reader@erp:5432/sales'
    """
    if not is_address(text):
        return text
    scheme, rest = text.split("://", 1)
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(place) :]:  # perhaps the end of a password that holds a slash
        return f"{scheme}://..."
    user, at, host = place.rpartition("@")
    return f"{scheme}://{user.split(':')[0]}{at}{host}{re.split('[?#]', rest[len(place) :])[0]}"
