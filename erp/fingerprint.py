"""Fingerprints: the sha256 by which a run knows that a value, a frame, a file or the code is the one it saw before."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

PACKAGES = ("erp", "features", "models", "decisions", "pipelines")


def fingerprint(value: object) -> str:
    """Give the sha256 of what a value says, whatever object happens to hold it.

    Equal for a list and a tuple, for a dict in any order, for one moment written in two zones, for a frame under
    another index and for a file under another name. Different for 1, 1.0, "1" and True, and for another order of rows
    or columns.

    Parameters
    ----------
    value : None, text, number, bytes, date, time, list, tuple, dict, frozen dataclass, pandas frame, NumPy array,
        path to a file or folder, or anything whose attribute `fingerprint` is a text; nested as deep as needed.

    Returns
    -------
    64 hexadecimal digits.

    Raises
    ------
    TypeError
        If the value, or something inside it, is of another kind.

    >>> fingerprint({"days": (1, 2)}) == fingerprint({"days": [1, 2]})
    True
    >>> fingerprint(1) == fingerprint("1")
    False
    """
    return _sha256(json.dumps(_form(value), separators=(",", ":")).encode())


def file_sha256(path: Path) -> str:
    """Give the sha256 of a file's bytes, the one `sha256sum` prints."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_version() -> str:
    """Give the sha256 of all .py and .sql files of the five packages, the same in a checkout and an installed wheel."""
    return _code_version_below(Path(__file__).resolve().parents[1])


def _code_version_below(root: Path) -> str:
    # The five lie side by side in the checkout and in site-packages alike, so names below that folder travel.
    paths = [path for name in PACKAGES for path in (root / name).rglob("*") if path.suffix in {".py", ".sql"}]
    return fingerprint({path.relative_to(root).as_posix(): path for path in paths})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _form(value: object) -> Any:
    """Find a JSON form in which no two different values look alike: plain scalars as they are, the rest [kind, ...]."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    own = getattr(value, "fingerprint", None)
    if isinstance(own, str):
        return ["own", own]
    for kind, form in _FORMS:
        if isinstance(value, kind):
            return form(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and cast(Any, value).__dataclass_params__.frozen:
        return _dataclass_form(value)
    raise TypeError(
        f"no fingerprint for {type(value).__module__}.{type(value).__qualname__}: pass text, numbers, dates, lists,"
        " dicts, frozen dataclasses, frames, arrays or paths, or give it a text attribute `fingerprint`"
    )


def _moment_form(moment: Any) -> list[str]:
    if moment is pd.NaT:
        return ["missing"]
    return ["datetime", (moment if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()]


def _dict_form(mapping: dict[Any, Any]) -> list[Any]:
    pairs = [[_form(key), _form(value)] for key, value in mapping.items()]
    return ["dict", *sorted(pairs, key=lambda pair: json.dumps(pair[0]))]


def _dataclass_form(value: Any) -> list[Any]:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return ["dataclass", type(value).__qualname__, _form(fields)]


def _path_form(path: Path) -> list[Any]:
    if not path.is_dir():
        return ["file", file_sha256(path)]
    files = sorted((each.relative_to(path).as_posix(), each) for each in path.rglob("*") if each.is_file())
    return ["folder", *([name, file_sha256(each)] for name, each in files)]


def _array_form(array: np.ndarray) -> list[Any]:
    if array.dtype.hasobject:
        return ["array", "object", list(array.shape), _sequence_form(array.ravel().tolist())]
    return ["array", array.dtype.str, list(array.shape), _sha256(np.ascontiguousarray(array).tobytes())]


def _frame_form(frame: pd.DataFrame) -> list[Any]:
    columns = [[_form(name), _column_form(frame.iloc[:, i])] for i, name in enumerate(frame.columns)]
    return ["frame", len(frame), *columns]


def _column_form(column: "pd.Series[Any]") -> list[Any]:
    """Tell kind, which cells are missing, and the rest; the bytes below a missing cell are chance and never count."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = column.cat.categories.to_series()
        return ["category", dtype.ordered, _column_form(categories), _array_form(column.cat.codes.to_numpy(np.int64))]
    missing = column.isna().to_numpy(dtype=bool)
    return [str(dtype), _array_form(missing), _present_form(column, missing)]


def _present_form(column: "pd.Series[Any]", missing: np.ndarray) -> list[Any]:
    dtype = column.dtype
    present = column[~missing]
    if isinstance(dtype, pd.DatetimeTZDtype):
        present = present.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(dtype, pd.StringDtype):
        return _text_form(present)
    if isinstance(dtype, pd.ArrowDtype) or dtype == np.dtype(object):
        return _sequence_form(present.tolist())
    return _array_form(present.to_numpy())


def _text_form(texts: "pd.Series[str]") -> list[Any]:
    # Lengths and bytes apart: "ab", "c" and "a", "bc" join to the same bytes.
    joined = pa.array(texts.to_numpy(dtype=object), type=pa.large_string())
    lengths = np.diff(np.frombuffer(joined.buffers()[1], dtype=np.int64)[: len(joined) + 1])
    content = joined.buffers()[2]
    return ["texts", _array_form(lengths), _sha256(content.to_pybytes()[: int(lengths.sum())] if content else b"")]


def _sequence_form(values: Any) -> list[Any]:
    return ["list", *(_form(value) for value in values)]


# The first kind that fits counts: a datetime is a date too, and pandas' Timestamp is a datetime.
_FORMS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (type(pd.NA), lambda _: ["missing"]),
    ((np.datetime64, np.timedelta64), lambda value: ["numpy", str(value.dtype), str(value)]),
    (np.generic, lambda value: _form(value.item())),
    (datetime, _moment_form),
    (date, lambda value: ["date", value.isoformat()]),
    (time, lambda value: ["time", value.isoformat()]),
    (timedelta, lambda value: ["timedelta", value.days, value.seconds, value.microseconds]),
    (Decimal, lambda value: ["decimal", str(value)]),
    (bytes, lambda value: ["bytes", _sha256(value)]),
    ((list, tuple), _sequence_form),
    (dict, _dict_form),
    (Path, _path_form),
    (np.ndarray, _array_form),
    (pd.DataFrame, _frame_form),
    (pd.Series, lambda column: ["column", _column_form(column)]),
)
