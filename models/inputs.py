"""From a frame to the numbers a booster reads: inputs found by name, text coded by a list kept with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """The columns a model reads and how each becomes a number.

    Parameters
    ----------
    usual : per numeric column the training median if it was never missing there, else None
    codes : per text column its values in training, sorted; a value's place counts from 1
    """

    usual: dict[str, float | None]
    codes: dict[str, tuple[str, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every input in the booster's order."""
        return (*self.usual, *self.codes)

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Numbers of shape (n_rows, n_inputs), float32, in the order of `columns`; unseen text is NaN.

        Raises
        ------
        ValueError
            If a column is missing.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(self.columns)} inputs of the model are not in the frame, e.g. {missing[:3]};"
                " build the frame with the features the model was trained on, or train again"
            )
        values = np.empty((len(frame), len(self.columns)), dtype=np.float32)
        for place, (name, usual) in enumerate(self.usual.items()):
            numbers = as_numbers(frame[name])
            # LightGBM reads a missing value as 0 where training had none; the median says "nothing special".
            values[:, place] = numbers if usual is None else np.where(np.isnan(numbers), usual, numbers)
        for place, (name, known) in enumerate(self.codes.items(), start=len(self.usual)):
            values[:, place] = _coded(frame[name], known)
        return values

    def to_json(self) -> dict[str, Any]:
        """Plain lists, order kept."""
        return {
            "numeric": [[name, usual] for name, usual in self.usual.items()],
            "text": [[name, list(known)] for name, known in self.codes.items()],
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Inputs:
        """Undo `to_json`."""
        return cls(dict(saved["numeric"]), {name: tuple(known) for name, known in saved["text"]})


def learn_inputs(frame: pd.DataFrame, numeric: Sequence[str], text: Sequence[str]) -> Inputs:
    """Medians and code lists of the training rows.

    >>> frame = pd.DataFrame({"n_orders": [1.0, 3.0], "segment": ["b", "a"]})
    >>> learn_inputs(frame, ["n_orders"], ["segment"]).matrix(frame).tolist()
    [[1.0, 2.0], [3.0, 1.0]]
    """
    usual: dict[str, float | None] = {}
    for name in numeric:
        numbers = as_numbers(frame[name])
        usual[name] = float(np.median(numbers)) if len(numbers) and not np.isnan(numbers).any() else None
    codes = {name: tuple(sorted({str(value) for value in frame[name].dropna().unique()})) for name in text}
    return Inputs(usual, codes)


def as_numbers(column: pd.Series) -> np.ndarray:
    """Floats, NaN where unknown; true and false become 1 and 0."""
    return np.asarray(pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan))


def _coded(column: pd.Series, known: tuple[str, ...]) -> np.ndarray:
    # Codes start at 1: where training had no missing value LightGBM reads NaN as category 0, which must be nobody.
    place = {value: float(code) for code, value in enumerate(known, start=1)}
    row, values = pd.factorize(column)  # -1, the last code, where there is none
    codes = [place.get(str(value), np.nan) for value in values]
    return np.array([*codes, np.nan], dtype=np.float32)[row]
