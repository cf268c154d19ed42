"""Ways of serving lines from goods that lie elsewhere: who could take how much of which pool, and what that saves."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.pool_programme import QUANTITY_TOLERANCE, in_steps

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ways:
    """Pairs of a line and a pool that could serve it; arrays of (n_ways,), by line.

    Parameters
    ----------
    line : rising
    pool : row of `spare`
    wanted : units that the line wants
    step : a line that may be cut takes multiples of it, or all it wants
    is_whole : takes all it wants or nothing
    worth : money saved per unit
    fixed_cost : money paid once if anything is taken
    """

    line: Codes
    pool: Codes
    wanted: Floats
    step: Floats
    is_whole: Flags
    worth: Floats
    fixed_cost: Floats

    def only(self, these: Flags | Codes) -> "Ways":
        """Keep these ways."""
        return Ways(*(getattr(self, name)[these] for name in self.__dataclass_fields__))

    def takes(self, left: Floats) -> Floats:
        """Units that each way takes at most if so many are left for it."""
        all_of_it = self.wanted <= left + QUANTITY_TOLERANCE
        part = np.where(self.is_whole, 0.0, np.maximum(in_steps(left, self.step), 0.0))
        return np.where(all_of_it, self.wanted, part)

    def money(self, units: Floats) -> Floats:
        """Money that each way saves with so many units."""
        return np.where(units > 0, self.worth * units - self.fixed_cost, 0.0)
