"""The rows that every benchmark prints and writes: a figure, its interval, its goal, and a peer of the same run."""

import argparse
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from threadpoolctl import threadpool_limits

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its goal and a peer measured in the same run.

    Parameters
    ----------
    value, low, high : the figure and its interval; an interval nobody can give is NaN
    goal : what `value` must reach, from above or below as `better` says; NaN if the figure is for orientation only
    peer, peer_value : who else was measured, and what they reached
    must_hold : "value" if the goal is for the figure, "interval" if its whole interval must reach it
    """

    figure: str
    value: float
    low: float = math.nan
    high: float = math.nan
    goal: float = math.nan
    better: Better = "higher"
    peer: str = ""
    peer_value: float = math.nan
    must_hold: Literal["value", "interval"] = "value"

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal.

        >>> Figure("saved", value=0.1, low=-0.01, high=0.2, goal=0.0, must_hold="interval").met
        False
        >>> Figure("seconds", value=3, goal=5, better="lower").met
        True
        """
        if math.isnan(self.goal):
            return None
        is_higher = self.better == "higher"
        worst = self.value if self.must_hold == "value" else self.low if is_higher else self.high
        return bool(worst >= self.goal if is_higher else worst <= self.goal)

    def row(self) -> dict[str, object]:
        """Figure, value, low, high, goal, better, peer, peer_value, met; what is unknown is None."""
        fields = {name: cell for name, cell in asdict(self).items() if name != "must_hold"}
        return {name: _known(cell) for name, cell in fields.items()} | {"met": self.met}


def options(what: str) -> argparse.Namespace:
    """The two options that every benchmark has: quick, and json (a path or None)."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="a first look: fewer and smaller cases, goals not meant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    return parser.parse_args()


def measure(what: str, quick: Callable[[], Iterable[Figure]], full: Callable[[], Iterable[Figure]]) -> None:
    """Measure, print, write, as `options` ask; one thread, so that CPU seconds compare."""
    asked = options(what.splitlines()[0])
    with threadpool_limits(1):
        figures = list(quick() if asked.quick else full())
    show(figures, asked.json)


def show(figures: list[Figure], json_file: Path | None) -> None:
    """Print the rows as a table, and write them as JSON if a file is given."""
    header = ("figure", "value", "interval", "goal", "peer", "met")
    table = [header, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[place]) for row in table) for place in range(len(header))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if json_file is not None:
        json_file.write_text(json.dumps([f.row() for f in figures], indent=1) + "\n", encoding="utf-8")


def _cells(figure: Figure) -> tuple[str, ...]:
    interval = "" if math.isnan(figure.low) else f"{_number(figure.low)} .. {_number(figure.high)}"
    sign = ">=" if figure.better == "higher" else "<="
    goal = "" if math.isnan(figure.goal) else f"{sign} {_number(figure.goal)}"
    peer = f"{figure.peer} {_number(figure.peer_value)}".strip() if figure.peer else ""
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    return figure.figure, _number(figure.value), interval, goal, peer, met


def _number(value: float) -> str:
    """Four figures for small numbers, whole ones from a thousand on; nothing for NaN.

    >>> _number(0.12341), _number(123456.7), _number(float("nan"))
    ('0.1234', '123,457', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _known(cell: object) -> object:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
