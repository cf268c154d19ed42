"""Where a store's ledger is: in the store, or in PostgreSQL. The store remembers it, and bears a name for ever."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from secrets import token_hex

from erp.addresses import shown
from erp.credentials import password
from erp.kept_files import write_text
from erp.ledger_database import LedgerDatabase, LedgerError, SqliteDatabase
from erp.ledger_postgres import PostgresDatabase, ledger_schema
from erp.postgres_address import is_postgres
from erp.settings import SettingsError, Site

_FILE = "ledger.json"


@dataclass(frozen=True)
class LedgerPlace:
    """What the store remembers of its ledger; no password."""

    store_id: str  # names the store in places that several stores share
    ledger: str = ""  # as `Site.ledger`
    password_file: str = ""  # absolute, or empty


def place_of(store: Path) -> LedgerPlace | None:
    """What the store remembers; None if nobody held it yet.

    Raises
    ------
    LedgerError
        If what it remembers cannot be read.
    """
    try:
        return LedgerPlace(**json.loads((store / _FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return LedgerPlace("") if _sqlite(store).is_made() else None
    except (ValueError, TypeError):
        raise LedgerError(
            f"{_FILE} in the store {store.name} is damaged; restore it from a copy of the store"
        ) from None


def settle_place(store: Path, site: Site | None) -> LedgerPlace:
    """Agree with the settings on where the ledger is, and remember it; whoever calls holds the store.

    Parameters
    ----------
    site : None: wherever the store has it, else in the store

    Raises
    ------
    LedgerError
        If the store keeps it elsewhere than the settings say.
    SettingsError
        If the settings name no place that a ledger can be in.
    """
    before = place_of(store)
    place = before or LedgerPlace("", _checked(site.ledger) if site else "")
    if site is not None:
        _refuse_elsewhere(store, place, site)
        place = replace(place, password_file=str(Path(site.ledger_password_file).resolve()) if _has_file(site) else "")
    if not place.store_id:
        place = replace(place, store_id=token_hex(8))
    if place != before:
        write_text(store / _FILE, json.dumps(asdict(place), indent=1))
    return place


def forget_place(store: Path) -> None:
    """Forget where the ledger is: nothing was made there."""
    (store / _FILE).unlink(missing_ok=True)


def open_database(store: Path, place: LedgerPlace, was_there: bool = False) -> LedgerDatabase:
    """The database at this place, not connected yet; `was_there`: a server that is gone now is waited for."""
    if not place.ledger:
        return _sqlite(store)
    secret = password("ledger", Site(ledger_password_file=place.password_file))
    return PostgresDatabase(place.ledger, secret, place.store_id, was_there)


def _sqlite(store: Path) -> SqliteDatabase:
    return SqliteDatabase(store / "ledger.sqlite")


def _has_file(site: Site) -> bool:
    return bool(site.ledger and site.ledger_password_file)


def _checked(ledger: str) -> str:
    if ledger and not is_postgres(ledger):
        raise SettingsError(
            f"ledger is {shown(ledger)}; it is an address such as postgresql://user@host/database?schema=backorder, or"
            " empty: a file in the store"
        )
    if ledger:
        ledger_schema(ledger)
    return ledger


def _refuse_elsewhere(store: Path, place: LedgerPlace, site: Site) -> None:
    if place.ledger != _checked(site.ledger):
        raise LedgerError(
            f"the store {store.name} keeps its ledger {_words(place.ledger)}, the settings say {_words(site.ledger)};"
            f" set `ledger` to what the store says, or take another --store. If the database itself has moved, write"
            f" its new address into {_FILE} of the store"
        )


def _words(ledger: str) -> str:
    if not ledger:
        return "in a file of its own folder (ledger empty)"
    return f"in schema {ledger_schema(ledger)} of {shown(ledger)}"
