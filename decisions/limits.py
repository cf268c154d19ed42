"""What a site's rules allow each open line to have today: whose turn it is, how much, and of whose goods."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_SEGMENT = -1


@dataclass(frozen=True)
class Limits:
    """Rules of the site in the order of the open lines and of the table of pools.

    Pins stand before every turn. Within a turn lines that cost more to serve than to pass over come last.

    Parameters
    ----------
    turn : (n_lines,) lines of a lower turn are served before those of a higher one
    sort_key : (n_lines,) within a turn the least is served first; NaN: by W / q, after those with a key
    least : (n_lines,) units that are served right after pins, before any turn (what a line keeps); 0: none
    most : (n_lines,) units a line may have now; inf: no limit
    segment : (n_lines,) row of `protected`; -1: none
    protected : (n_segments, n_pools) units of the pool, sorted by product_id and warehouse_id, that only this segment
        may take; where a pool has less, the segments' shares shrink in proportion
    is_kept : (n_segments,) what the segment leaves of its units stays on the shelf for demand yet to come; False: it
        goes back to all

    Raises
    ------
    ValueError
        If the arrays do not fit together or hold what is no usable number.

    >>> Limits.none(n_lines=2, n_pools=1).most.tolist()
    [inf, inf]
    """

    turn: Codes
    sort_key: Floats
    least: Floats
    most: Floats
    segment: Codes
    protected: Floats
    is_kept: Flags

    def __post_init__(self) -> None:
        """Check once, so that nothing behind this door has to."""
        n_lines, n_segments = len(self.turn), len(self.is_kept)
        per_line = ("turn", "sort_key", "least", "most", "segment")
        problems = [f"{name} is not ({n_lines},)" for name in per_line if getattr(self, name).shape != (n_lines,)]
        if self.protected.ndim != 2 or len(self.protected) != n_segments:
            problems.append(f"protected is not ({n_segments}, n_pools)")
        if not problems:
            problems = self._bad_numbers()
        if problems:
            raise ValueError(f"limits: {'; '.join(problems)}; mend the rules they come from")

    def _bad_numbers(self) -> list[str]:
        """Say which arrays hold numbers that cannot be used, and how many."""
        n_segments = len(self.is_kept)
        bad = {
            "sort_key is infinite": np.isinf(self.sort_key),
            "least is not a number >= 0": ~(np.isfinite(self.least) & (self.least >= 0)),
            "most is not >= 0": ~(self.most >= 0),
            "least is above most": self.least > self.most,
            f"segment is not -1 .. {n_segments - 1}": (self.segment < NO_SEGMENT) | (self.segment >= n_segments),
            "protected is not a number >= 0": ~(np.isfinite(self.protected) & (self.protected >= 0)),
        }
        return [f"{what} in {int(flags.sum())} of {flags.size}" for what, flags in bad.items() if flags.any()]

    @classmethod
    def none(cls, n_lines: int, n_pools: int) -> "Limits":
        """State that no rule binds."""
        return cls(
            turn=np.zeros(n_lines, dtype=np.int64),
            sort_key=np.full(n_lines, np.nan),
            least=np.zeros(n_lines),
            most=np.full(n_lines, np.inf),
            segment=np.full(n_lines, NO_SEGMENT, dtype=np.int64),
            protected=np.zeros((0, n_pools)),
            is_kept=np.zeros(0, dtype=np.bool_),
        )

    def binds(self) -> bool:
        """Whether any rule says anything at all."""
        free = type(self).none(len(self.turn), self.protected.shape[1])
        same = [np.array_equal(getattr(self, f.name), getattr(free, f.name), equal_nan=True) for f in fields(self)[:4]]
        return not (all(same) and not self.protected.any())
