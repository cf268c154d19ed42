"""What a delivery would change: wishes of a queue against what its destination says now, and the limits of doing so."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import isclose
from typing import Any

from erp.destination import Held, Item, Values
from erp.outbox import Kind
from erp.settings import Site

GOODS = "ship_now_quantity"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What one apply or undo of a run would write, and what it leaves alone."""

    run_id: str
    destination: str
    kind: Kind
    changes: tuple[Item, ...]  # their sequence is 0 until they are noted
    n_same: int
    left_alone: Mapping[str, str]  # lines that may not change there, and why
    n_moved: int = 0  # lines whose goods change
    n_slipped: int = 0  # lines whose date is put off
    slip_days: int = 0  # the most that a line's date is put off
    money: float = 0.0  # loss_if_waits of the lines whose goods change

    @property
    def code(self) -> str:
        """Six digits that stand for exactly these changes: who approves them names it."""
        said = [[item.order_line_id, _dict(item.values), _dict(item.previous)] for item in self.changes]
        content = json.dumps([self.run_id, self.destination, self.kind, said], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:6]

    def beyond(self, site: Site) -> list[str]:
        """Limits of the site that these changes exceed, one sentence each."""
        judged = (
            (self.n_moved, site.apply_max_lines, "the goods of {} lines change, apply_max_lines is {}"),
            (self.slip_days, site.apply_max_slip_days, "a date is put off by {} days, apply_max_slip_days is {}"),
            (round(self.money, 2), site.apply_max_money, "{:.2f} of loss_if_waits move, apply_max_money is {:g}"),
        )
        beyond = [said.format(value, limit) for value, limit, said in judged if value > limit]
        n_out = sum(item.values is None for item in self.changes)
        n_held = self.n_same + len(self.left_alone) + sum(item.previous is not None for item in self.changes)
        # Lines leave the queue every day; that most of them do at once is rather a mistake in the tables.
        if n_out > max(site.apply_max_lines, n_held / 2):
            beyond.append(f"{n_out} of {n_held} lines are taken out, more than apply_max_lines and more than half")
        return beyond


def plan_apply(
    run_id: str,
    destination: str,
    date_column: str | None,
    rows: Sequence[Row],
    wishes: Mapping[str, Values],
    held: Mapping[str, Held],
    anyway: Collection[str] = (),
) -> Plan:
    """Compare what each line shall say with what is held.

    Parameters
    ----------
    rows : of the queue, for `order_line_id` and `loss_if_waits`
    wishes : by order line, in the order in which goods are to be given out
    held : by order line; lines that have no wish are taken out
    anyway : lines that are written even if they say it already
    """
    wanted: dict[str, Values | None] = {
        **wishes,
        **{line: None for line in [*held, *sorted(anyway)] if line not in wishes},
    }
    changes, left_alone = [], {}
    for place, (line, values) in enumerate(wanted.items(), start=1):
        there = held.get(line)
        if line not in anyway and there is not None and says(there.values, values):
            continue
        if there is not None and not there.may_change:
            left_alone[line] = there.why_not
            continue
        previous, version = (None, None) if there is None else (there.values, there.version)
        changes.append(Item(run_id, line, 0, place, values, previous, version))
    n_same = len(wanted) - len(changes) - len(left_alone)
    return _judged(
        Plan(run_id, destination, "apply", tuple(changes), n_same, left_alone, 0, 0, 0, 0.0), date_column, rows
    )


def plan_undo(
    run_id: str,
    destination: str,
    date_column: str | None,
    rows: Sequence[Row],
    written: Sequence[Item],
    held: Mapping[str, Held],
    anyway: Collection[str] = (),
) -> Plan:
    """What restores what each line said before the run's deliveries.

    Parameters
    ----------
    written : items that were accepted, oldest first; a line may have several
    anyway : lines that are written even if they say it already
    """
    first: dict[str, Item] = {}
    last: dict[str, Item] = {}
    for item in written:
        line = item.order_line_id
        # What somebody said there between two deliveries of the run is what it said before, not what we found first.
        if line not in last or not _same(item.previous, last[line].values):
            first[line] = item
        last[line] = item
    changes, left_alone, n_same = [], {}, 0
    for line in [*first, *sorted(set(anyway) - set(first))]:
        there = held.get(line)
        now = None if there is None else there.values
        before, place = (first[line].previous, first[line].place) if line in first else (now, 0)
        if line not in anyway and _same(now, before):
            n_same += 1
        elif line in last and not _same(now, before) and not _same(now, last[line].values):
            left_alone[line] = "it was changed since; what it says now stays"
        elif there is not None and not there.may_change:
            left_alone[line] = there.why_not
        else:
            changes.append(Item(run_id, line, 0, place, before, now, None if there is None else there.version))
    changes.sort(key=lambda item: item.place)
    return _judged(
        Plan(run_id, destination, "undo", tuple(changes), n_same, left_alone, 0, 0, 0, 0.0), date_column, rows
    )


def says(held: Values, wish: Values | None) -> bool:
    """Whether a line says all that it shall; it may say more.

    >>> says({"rank": 1, "note": "x"}, {"rank": 1.0}), says({"rank": 1}, {"rank": 2}), says({"rank": 1}, None)
    (True, False, False)
    """
    return wish is not None and all(name in held and _is(held[name], value) for name, value in wish.items())


def _is(there: object, value: object) -> bool:
    """Whether a value is the same: 0.1 + 0.2 is the 0.3 of whoever keeps decimals; ranks may have nine of them."""
    if isinstance(there, float) and isinstance(value, float):
        return isclose(there, value, rel_tol=1e-14, abs_tol=1e-10)
    return there == value


def holds(held: Held | None, wish: Values | None) -> bool:
    """Whether a line says what it shall: nothing where it is to be taken out."""
    return _same(None if held is None else held.values, wish)


def _same(held: Values | None, wish: Values | None) -> bool:
    return held is None if wish is None else held is not None and says(held, wish)


def _judged(plan: Plan, date_column: str | None, rows: Sequence[Row]) -> Plan:
    """The plan with what the limits are about."""
    money = {str(row["order_line_id"]): float(row["loss_if_waits"] or 0.0) for row in rows}
    # A line that is taken out has no goods to move: whatever left, left.
    moved = [i for i in plan.changes if i.values is not None and _goods(i.values) != _goods(i.previous)]
    slips = [days for item in plan.changes if (days := _slip(item, date_column)) > 0]
    lost = sum(money.get(item.order_line_id, 0.0) for item in moved)
    return replace(plan, n_moved=len(moved), n_slipped=len(slips), slip_days=max(slips, default=0), money=lost)


def _goods(values: Values | None) -> float:
    """Goods that a line is given; what somebody typed there that is no number counts as none."""
    said = (values or {}).get(GOODS)
    return float(said) if isinstance(said, int | float) else 0.0


def _slip(item: Item, date_column: str | None) -> int:
    """Days by which the line's date is put off; 0 where it had none, or has none."""
    if date_column is None or item.values is None or item.previous is None:
        return 0
    now, before = (_day(values.get(date_column)) for values in (item.values, item.previous))
    return (now - before).days if now and before else 0


def _day(value: object) -> date | None:
    """The day that is said; None for what somebody typed there that is none."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


def _dict(values: Values | None) -> dict[str, Any] | None:
    return None if values is None else dict(values)
