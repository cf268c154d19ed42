"""What every open line may take of its pool's goods, in the order in which the goods are offered."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.pool_programme import Claims
from decisions.ranking import due_order, is_pinned
from decisions.ship_groups import pinned_groups

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PINNED, LOSES_BY_WAITING, COSTS_MORE_TO_SERVE = 0, 1, 2


@dataclass(frozen=True)
class Wishes:
    """All claims, pool by pool, in turn and best first; arrays of (n_claims,)."""

    line: Codes  # row of the line
    pool: Codes  # row of the pool
    turn: Codes  # PINNED, LOSES_BY_WAITING or COSTS_MORE_TO_SERVE
    claims: Claims

    def only(self, these: Flags | slice | npt.NDArray[np.intp]) -> "Wishes":
        """Keep these claims."""
        parts = self.claims
        claims = Claims(parts.quantity[these], parts.step[these], parts.is_whole[these], parts.worth[these])
        return Wishes(self.line[these], self.pool[these], self.turn[these], claims)


def wishes_of(lines: pd.DataFrame, pool: Codes, may_have: Flags) -> Wishes:
    """List the claims of the lines that may have goods.

    A pin with a quantity claims that much in the first turn; what the line wants beyond it stands in its usual place.
    """
    wanted = lines["open_quantity"].to_numpy(np.float64)
    worth = lines["loss_if_waits"].to_numpy(np.float64) / wanted
    is_whole = ~lines["may_split"].to_numpy(np.bool_) | lines["ship_group"].notna().to_numpy(np.bool_)
    step = lines["quantity_step"].to_numpy(np.float64)
    pinned = np.where(pinned_groups(lines, is_pinned(lines)), _pinned_quantity(lines, is_whole, step), 0)
    usual_turn = np.where(worth < 0, COSTS_MORE_TO_SERVE, LOSES_BY_WAITING)
    line = np.tile(np.arange(len(lines)), 2)
    quantity = np.concatenate((pinned, wanted - pinned))
    turn = np.concatenate((np.full(len(lines), PINNED), usual_turn))
    everything = Wishes(line, pool[line], turn, Claims(quantity, step[line], is_whole[line], worth[line]))
    wishes = everything.only(may_have[line] & (quantity > 0))
    return wishes.only(np.lexsort((due_order(lines)[wishes.line], -wishes.claims.worth, wishes.turn, wishes.pool)))


def _pinned_quantity(lines: pd.DataFrame, is_whole: Flags, step: Floats) -> Floats:
    """Units a pin claims: override_quantity in whole steps; all of a line that may not be split."""
    wanted = lines["open_quantity"].to_numpy(np.float64)
    asked = lines["override_quantity"].to_numpy(np.float64, na_value=np.nan)
    in_steps = np.floor(asked / step + 1e-9) * step
    return np.where(is_whole | np.isnan(asked) | (asked >= wanted), wanted, np.maximum(in_steps, 0))
