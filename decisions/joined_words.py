"""Several short remarks on a line as one text."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd


def joined_words(holds: Mapping[str, npt.NDArray[np.bool_]], index: pd.Index) -> pd.Series:
    """Join by "; " the words that hold for each row, in the order given; '' where none does.

    Parameters
    ----------
    holds : for each remark the rows it holds for, (n_rows,)

    >>> joined_words({"old": np.array([True, True]), "big": np.array([False, True])}, pd.RangeIndex(2)).tolist()
    ['old', 'old; big']
    """
    text = pd.Series("", index=index, dtype="str")
    for words, of_row in holds.items():
        text = text.where(~of_row, (text + "; " + words).str.removeprefix("; "))
    return text
