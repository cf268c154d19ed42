"""Reading a table of the settings into the frozen class that gives it meaning."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from erp.settings import SettingsError

Settings = TypeVar("Settings")


def refuse_unknown(table: Mapping[str, object], known: Iterable[str], setting: str) -> None:
    """Refuse keys that nobody reads, by name.

    Raises
    ------
    SettingsError
        If there are any; it says which are known.
    """
    names = sorted(known)
    if unknown := sorted(set(table) - set(names)):
        raise SettingsError(f"{setting}: unknown {', '.join(unknown)}; known are {', '.join(names)}")


def read_settings(kind: type[Settings], table: Mapping[str, object], setting: str) -> Settings:
    """Make a settings class of a table whose values are of the types that the class's defaults have.

    A field without default is required text.

    Parameters
    ----------
    setting : what messages call the table, such as "destination"

    Raises
    ------
    SettingsError
        If a key is unknown, a required one is missing or a value is of another type.
    """
    declared = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    refuse_unknown(table, declared, setting)
    required = [name for name, field in declared.items() if _example(field) is None]
    if missing := [name for name in required if name not in table]:
        raise SettingsError(f"{setting}: {', '.join(missing)} must be given")
    return kind(**{name: _typed(value, _example(declared[name]), f"{setting}.{name}") for name, value in table.items()})


def _example(field: "Field[Any]") -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _typed(value: object, example: object, setting: str) -> object:
    wanted = str if example is None else type(example)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is wanted or wanted not in (str, int, float, bool):
        return value
    kinds = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    raise SettingsError(f"{setting} is {value!r}; it is {kinds[wanted]}")
