"""Files that hold a step's output so that a resumed run reads exactly what the first run went on with."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_DTYPES = b"backorder_dtypes"


def write_kept(stem: Path, value: object) -> Path:
    """Write a frame to `stem`.parquet, a dict to `stem`.json or an array to `stem`.npy, whole or not at all.

    Frames are kept by their columns: an unnamed index is dropped, text of dtype object comes back as dtype str.

    Raises
    ------
    TypeError
        If the value is of another kind, or a dict holds what JSON cannot say.
    ValueError
        If a frame's index bears a name: what it says would be lost.
    """
    for kind, suffix, write in _WRITERS:
        if isinstance(value, kind):
            path = stem.with_name(stem.name + suffix)
            _replace(path, partial(write, value))
            return path
    raise TypeError(f"{stem.name}: a step returns a frame, a dict or an array, not {type(value).__qualname__}")


def read_kept(path: Path) -> Any:
    """Read what `write_kept` wrote into this file."""
    return _READERS[path.suffix](path)


def fill_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Have `fill` write into a new folder beside this one, then put that in its place; a failure changes nothing."""
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    part.mkdir(parents=True)
    fill(part)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    _replace(path, lambda part: part.write_text(text, encoding="utf-8"))


def arrow_table(frame: pd.DataFrame) -> pa.Table:
    """Turn a frame into an Arrow table by its columns alone; times with a zone keep it."""
    zoned = {name: dtype.tz for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.DatetimeTZDtype)}
    # pyarrow<26 reads such columns through Series.values, which pandas 3.1 warns will change: pass them without zone.
    naive = frame.assign(**{str(name): frame[name].dt.tz_convert("UTC").dt.tz_localize(None) for name in zoned})
    table = pa.Table.from_pandas(naive, preserve_index=False)
    for name, zone in zoned.items():
        place, times = table.schema.get_field_index(name), table.column(name)
        table = table.set_column(
            place, name, times.cast(pa.timestamp(times.type.unit, tz=pa.lib.tzinfo_to_string(zone)))
        )
    return table


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    write(part)
    os.replace(part, path)


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    if any(name is not None for name in frame.index.names):
        raise ValueError(f"the index {list(frame.index.names)} would be lost; call reset_index() first")
    table = arrow_table(frame)
    # Parquet knows no seconds: datetime64[s] would come back in milliseconds.
    dtypes = json.dumps({str(name): str(dtype) for name, dtype in frame.dtypes.items()})
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _DTYPES: dtypes})
    pq.write_table(table, path, compression="zstd")


def _read_frame(path: Path) -> pd.DataFrame:
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    dtypes = json.loads(table.schema.metadata[_DTYPES])
    times = {name: dtype for name, dtype in dtypes.items() if dtype.startswith(("datetime64", "timedelta64"))}
    return frame.astype(times)


def _write_json(value: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _write_array(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


_WRITERS: tuple[tuple[type, str, Callable[[Any, Path], None]], ...] = (
    (pd.DataFrame, ".parquet", _write_frame),
    (dict, ".json", _write_json),
    (np.ndarray, ".npy", _write_array),
)
_READERS: dict[str, Callable[[Path], Any]] = {
    ".parquet": _read_frame,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".npy": lambda path: np.load(path, allow_pickle=False),
}
