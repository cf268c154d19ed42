"""Counter-based draws for the simulated company: the same question always gets the same answer.

A draw is a hash of (seed, stream, ids, day). It does not depend on how many draws were made before, so two rules that
give goods out differently still meet the same orders, the same deliveries and the same changes of mind.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]


class Stream(IntEnum):
    """What a draw is for. Streams never share a draw."""

    CUSTOMER = 1
    PRODUCT = 2
    SUPPLIER = 3
    GAP = 4
    ORDER = 5
    LINE = 6
    PURCHASE = 7
    SLIP = 8
    CANCEL = 9
    LEAVE = 10
    RETURN = 11
    CLOCK = 12
    HABIT = 13
    PROMISE = 14


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # The finaliser of splitmix64 (Steele, Lea & Flood 2014); uint64 arrays wrap around, which is what it wants.
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


def uniform(seed: int, stream: Stream, *ids: NDArray[Any] | int) -> Floats:
    """Draws in (0, 1), one per element of the broadcast `ids`.

    Law: an element's draw depends on its own ids only, so a subset of the ids gets the same numbers.

    >>> both = uniform(7, Stream.CANCEL, np.array([10, 11]), 3)
    >>> float(uniform(7, Stream.CANCEL, np.array([11]), 3)[0]) == float(both[1])
    True
    """
    state = _mix(np.array([seed * 64 + int(stream)], dtype=np.uint64))
    for part in ids:
        state = _mix(state ^ np.atleast_1d(np.asarray(part, dtype=np.int64)).astype(np.uint64))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def normal(seed: int, stream: Stream, *ids: NDArray[Any] | int) -> Floats:
    """Draw standard normal numbers (Box & Muller 1958) from two uniforms of the same ids."""
    radius = np.sqrt(-2.0 * np.log(uniform(seed, stream, *ids, -1)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(seed, stream, *ids, -2)), dtype=np.float64)


def geometric(share: Floats, mean: Floats | float) -> Ints:
    """Whole numbers 0, 1, 2, ... with the given mean, from uniforms `share`.

    Mean 1 halves the chance with each step: a share of .6 lies in the second half, so it gives 0.

    >>> geometric(np.array([0.6, 0.4, 0.2]), 1.0).tolist()
    [0, 1, 2]
    """
    ratio = np.log(np.asarray(mean) / (1.0 + np.asarray(mean)))
    return np.floor(np.log(share) / ratio).astype(np.int64)


def take(columns: Columns, which: NDArray[Any]) -> Columns:
    """Return the chosen rows of every column."""
    return {name: values[which] for name, values in columns.items()}


def stack(parts: list[Columns]) -> Columns:
    """Rows of `parts` one after the other; all have the same columns."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
