"""Passwords: from the environment or from a file that the settings name, and from nowhere else.

No password stands in a setting, an address, a log, an error, the ledger or a file of the store. What an outside
library says of a failure may repeat what it was given: it goes through `without_secrets` before anybody reads it,
and is raised `from None`, since a traceback shows the original beside it.
"""

import base64
import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote, quote_plus

from erp.settings import PREFIX, SettingsError, Site

Purpose = Literal["data", "destination", "ledger"]


def password(purpose: Purpose, site: Site) -> str | None:
    """Password of the source's, the destination's or the ledger's user; None where neither place holds one.

    `BACKORDER_DATA_PASSWORD` (DESTINATION, LEDGER) wins over the file that `data_password_file` names; a variable
    that is set but empty counts as not set. A file's last line end is no part of the password.

    Raises
    ------
    SettingsError
        If the file named is missing, unreadable, empty or no UTF-8.
    """
    if given := os.environ.get(f"{PREFIX}{purpose.upper()}_PASSWORD"):
        return given
    setting = f"{purpose}_password_file"
    file = getattr(site, setting)
    return _read(setting, Path(file)) if file else None


def _read(setting: str, file: Path) -> str:
    try:
        held = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:  # the error repeats the bytes
        raise SettingsError(f"{setting} names {file}, which is not UTF-8; write the password there as text") from None
    except OSError as error:
        raise SettingsError(f"{setting} names {file}, which cannot be read ({error.strerror}); put it there") from None
    if not held:
        raise SettingsError(f"{setting} names {file}, which is empty; write the password there, in one line")
    return held


def without_secrets(text: object, *secrets: str | None) -> str:
    """What an outside library said, with every form of the secrets struck out: plain, quoted for URLs, base64.

    Parameters
    ----------
    text : an error or its text
    secrets : None and empty ones hide nothing; of Basic authentication pass "user:password" beside the password

    >>> without_secrets("no pg_hba entry for reader:p%40ss@erp", "p@ss")
    'no pg_hba entry for reader:***@erp'
    """
    said = str(text)
    for form in sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True):
        said = said.replace(form, "***")
    return said


def _forms(secret: str) -> set[str]:
    as_bytes = secret.encode()
    plain = {
        secret,
        repr(secret)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        repr(as_bytes)[2:-1],
    }
    return plain | {coded.decode() for coded in (base64.b64encode(as_bytes), base64.urlsafe_b64encode(as_bytes))}
