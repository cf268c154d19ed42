"""Settings of one site: where its tables and state lie, its clock, its tolerances."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from erp.addresses import has_password, shown

PREFIX = "BACKORDER_"
# Settings that do not decide what the facts are.
_NO_READING = frozenset(
    {"data", "store", "out", "memory_limit", "policy", "ledger", "late_extract_minutes", "destination", "apply"}
    | {"apply_max_lines", "apply_max_slip_days", "apply_max_money"}
    | {"data_password_file", "destination_password_file", "ledger_password_file"}
)
_TABLES = frozenset({"policy", "destination"})  # in the file only
CAUSES = ("customer", "seller", "change")  # who a cancellation can come from; a change is no loss


class SettingsError(ValueError):
    """A setting is unknown or has a value that cannot be used."""


@dataclass(frozen=True)
class Site:
    """What holds for one company's site, from `backorder.toml` and `BACKORDER_*`.

    `policy` stays a plain table here: `decisions.policy.Policy` gives it meaning.
    """

    data: str = "data"  # the contract's tables: a folder, a DuckDB or SQLite file, postgresql:// or tryton+https://
    store: str = "backorder-store"  # ledger, runs, models, MLflow's database and artifacts
    out: str = "queue"  # where the queue's files are published
    timezone: str = "UTC"  # the day of any time is the day here
    currency: str = "EUR"  # of all money in the tables
    default_warehouse: str = "main"  # of lines, stock and inbound lines that name none
    handling_days: int = 0  # working days between the due day and the first day that counts as late
    working_days: tuple[int, ...] = (0, 1, 2, 3, 4)  # 0 = Monday
    holidays: tuple[date, ...] = ()  # days without work besides the weekend
    max_lag_hours: float = 36.0  # how far a table may trail order_lines beyond its own usual gap
    max_stock_age_days: int = 3  # older stock counts are said
    tolerated_share: float = 0.01  # of a table's rows that may break a law before the run stops
    tolerated_loss_share: float = 0.2  # of a table's rows that may vanish between two runs
    assumed_margin_share: float = 0.3  # of the list price, where a product has no unit_cost; assumed
    reorder_days: int = 7  # cancelled and ordered again so soon is a change; 0: nothing is taken for one
    cancel_reasons: Mapping[str, str] = field(default_factory=dict)  # cause of each reason code, see below
    memory_limit: str = "1500MB"  # of the feature engine
    policy: Mapping[str, Any] = field(default_factory=dict)
    ledger: str = ""  # postgresql://user@host/db?schema=name; empty: SQLite in the store
    late_extract_minutes: int = 60  # a source read so long after T still tells T: reading an ERP takes minutes
    destination: Mapping[str, Any] = field(default_factory=dict)  # where `apply` writes: `kind` and what it needs
    apply: str = "ask"  # or auto: written at once where the limits below hold
    apply_max_lines: int = 50  # lines whose goods one apply may change without asking
    apply_max_slip_days: int = 7  # days that one apply may put off a line's date without asking
    apply_max_money: float = 10000.0  # loss_if_waits of the lines whose goods one apply may change without asking
    data_password_file: str = ""  # of the source's user; or BACKORDER_DATA_PASSWORD in the environment
    destination_password_file: str = ""  # or BACKORDER_DESTINATION_PASSWORD
    ledger_password_file: str = ""  # or BACKORDER_LEDGER_PASSWORD

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SettingsError(f"timezone {self.timezone!r} is unknown; use a name such as Europe/Berlin") from error
        if not 0 <= self.tolerated_share < 1 or not 0 <= self.tolerated_loss_share <= 1:
            raise SettingsError("tolerated_share and tolerated_loss_share are shares between 0 and 1")
        if not 0 <= self.assumed_margin_share <= 1:
            raise SettingsError(f"assumed_margin_share is {self.assumed_margin_share}; it is a share between 0 and 1")
        if min(self.handling_days, self.max_lag_hours, self.max_stock_age_days, self.reorder_days) < 0:
            raise SettingsError("handling_days, max_lag_hours, max_stock_age_days and reorder_days cannot be negative")
        if bad := {reason: cause for reason, cause in self.cancel_reasons.items() if cause not in CAUSES}:
            raise SettingsError(f"cancel_reasons maps {bad}; a reason is one of {', '.join(CAUSES)}")
        if self.apply not in ("ask", "auto"):
            raise SettingsError(f"apply is {self.apply!r}; it is ask or auto")
        if min(self.apply_max_lines, self.apply_max_slip_days, self.apply_max_money, self.late_extract_minutes) < 0:
            raise SettingsError("apply_max_lines, _slip_days, _money and late_extract_minutes cannot be negative")
        self._refuse_passwords()
        if not set(self.working_days) <= set(range(7)) or not self.working_days:
            raise SettingsError(f"working_days is {self.working_days}; it lists days from 0 (Monday) to 6 (Sunday)")

    def _refuse_passwords(self) -> None:
        for name, address in {"data": self.data, "ledger": self.ledger, **self.destination}.items():
            if isinstance(address, str):
                refuse_password_in(address, name)

    def reading(self) -> dict[str, Any]:
        """The settings that decide what the facts are: everything but places, memory, policy and delivery."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_READING}


def refuse_password_in(address: str, setting: str = "the address") -> None:
    """Refuse an address that carries a password: it would stand in shells' histories, process lists and ledgers.

    Parameters
    ----------
    setting : what the message calls it, such as "--data"

    Raises
    ------
    SettingsError
        Without the password.

    >>> refuse_password_in("postgresql://reader@erp/sales")
    """
    if has_password(address):
        raise SettingsError(
            f"{setting} {shown(address)} carries a password; take it out and put it into the environment"
            f" ({PREFIX}DATA_PASSWORD, {PREFIX}DESTINATION_PASSWORD, {PREFIX}LEDGER_PASSWORD)"
            " or into the file that data_password_file, destination_password_file or ledger_password_file names"
        )


def open_site(settings: str | Path | None = None, **given: Any) -> Site:
    """Read a site's settings: file, then `BACKORDER_*`, then what was given; later ones win.

    Parameters
    ----------
    settings : a TOML file; None reads `backorder.toml` of the working folder where there is one
    given : fields of `Site`; None means not given

    Raises
    ------
    SettingsError
        If the file is named and missing, is no TOML, or sets an unknown field or an unusable value.

    >>> open_site(None, currency="GBP", timezone="Europe/London").currency
    'GBP'
    """
    table = _read_file(settings)
    known = {f.name: f for f in fields(Site)}
    for name, text in os.environ.items():
        key = name.removeprefix(PREFIX).lower()
        if name.startswith(PREFIX) and key in known and key not in _TABLES:
            table[key] = text
    table |= {key: value for key, value in given.items() if value is not None}
    if unknown := sorted(set(table) - set(known)):
        raise SettingsError(f"unknown settings {unknown}; known are {sorted(known)}")
    return replace(Site(), **{key: _typed(key, value, getattr(Site(), key)) for key, value in table.items()})


def _read_file(settings: str | Path | None) -> dict[str, Any]:
    path = Path(settings or "backorder.toml")
    if not path.exists():
        if settings is not None:
            raise SettingsError(f"no settings file at {path}; write one or leave --settings out")
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def _typed(key: str, value: Any, example: Any) -> Any:
    """The value in the type of the field's default; text comes from the environment."""
    try:
        if key in _TABLES:
            return dict(value)
        if key == "cancel_reasons":
            return _reasons(value)
        if key == "working_days":
            return tuple(int(day) for day in _parts(value))
        if key == "holidays":
            return tuple(day if isinstance(day, date) else date.fromisoformat(day) for day in _parts(value))
        if isinstance(example, str):
            return str(value)
        return type(example)(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{key} is {value!r}; expected a value like {example!r}") from error


def _reasons(value: Any) -> dict[str, str]:
    """Reason codes and their causes; text as in "C07=seller,MOVED=change", where a code may hold an equals sign."""
    if isinstance(value, str):
        split = [part.rpartition("=") for part in _parts(value)]
        value = {code.strip(): cause.strip() for code, _, cause in split}
    if "" in value:
        raise ValueError("a cause without a reason code")
    return {str(code): str(cause) for code, cause in sorted(value.items())}


def _parts(value: Any) -> list[Any]:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)


def utc_moment(text: str | datetime) -> datetime:
    """The moment as a naive UTC datetime; a day alone means its first instant in UTC.

    Raises
    ------
    SettingsError
        If the text is no ISO timestamp.

    >>> utc_moment("2024-03-01T06:00:00+01:00")
    datetime.datetime(2024, 3, 1, 5, 0)
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"as-of is {text!r}; write a UTC timestamp such as 2024-03-01T05:00:00Z") from error
