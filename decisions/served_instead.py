"""Who of a line's pool has the goods, how many, what each would lose per unit, and why it goes before."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.passed_over import MEANING
from decisions.pool_programme import QUANTITY_TOLERANCE
from decisions.ranking import POOL_IDS, due_order, is_held, is_pinned
from decisions.trial import Trial

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Served:
    """A line of the pool that gets goods.

    Parameters
    ----------
    because : pin, rule, held (the line asked about may have none), more, as_much or less (loses so per unit)
    said : the same in plain words
    """

    order_line_id: str
    customer_id: str | None
    units: float
    loss_per_unit: float
    because: str
    said: str


def served_instead(trial: Trial) -> tuple[Served, ...]:
    """The other lines of the pool that get goods: pinned ones first, then by falling loss per unit.

    Parameters
    ----------
    trial : its lines have `rule`, the clause that says what a rule of the site did to each, null where none did
    """
    lines, row = trial.lines, trial.row
    same_pool = (lines[POOL_IDS] == lines[POOL_IDS].iloc[row]).all(axis=1).to_numpy(np.bool_)
    others = np.flatnonzero(same_pool & (trial.given > QUANTITY_TOLERANCE) & (np.arange(len(lines)) != row))
    pinned, due = is_pinned(lines), due_order(lines)
    order = others[np.lexsort((due[others], -trial.loss_per_unit[others], ~pinned[others]))]
    return tuple(_served(trial, place, bool(pinned[place])) for place in order.tolist())


def _served(trial: Trial, place: int, is_pinned_line: bool) -> Served:
    line, price = trial.lines.iloc[place].to_dict(), float(trial.loss_per_unit[place])
    because, said = _why(trial, place, is_pinned_line)
    customer = line["customer_id"] if pd.notna(line["customer_id"]) else None
    return Served(str(line["order_line_id"]), customer, float(trial.given[place]), price, because, said)


def _why(trial: Trial, place: int, is_pinned_line: bool) -> tuple[str, str]:
    """Why the line at `place` has goods, seen from the line asked about."""
    own, its = float(trial.loss_per_unit[trial.row]), float(trial.loss_per_unit[place])
    if is_pinned_line:
        return "pin", "pinned by a planner"
    rule = trial.lines["rule"].iloc[place]
    if pd.notna(rule):
        return "rule", str(rule)
    if is_held(trial.lines)[trial.row]:
        return "held", "the line asked about may have no goods today"
    if abs(its - own) <= 1e-9 * max(abs(own), 1.0):
        return "as_much", "loses as much per unit"
    if its > own:
        return "more", "loses more per unit"
    return "less", f"loses less per unit; {_why_passed_over(trial)}"


def _why_passed_over(trial: Trial) -> str:
    """What keeps the line asked about from goods that go to one that loses less per unit."""
    said, passed = trial.lines["rule"].iloc[trial.row], trial.allocation.passed_over.iloc[trial.row]
    if pd.notna(said):
        return str(said)
    if pd.notna(passed):
        return f"why not the line asked about: {MEANING[str(passed)]}"
    if trial.units > QUANTITY_TOLERANCE:
        return "there is enough for both"
    return "the line asked about may have no goods today: another line of its ship group may not"
