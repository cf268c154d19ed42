"""The economics' one settings class: every assumption with its unit, its source and whether it was measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

BHAN_ANDERSON = "Bhan & Anderson, Marketing Science 2023: 6.1 % of next year's orders beyond ten days, 2.1 % on average"
NINE_TO_ONE = "only their ratio counts: nine to one is a date that is met nine times in ten"
SITE_SAYS = "the site's own figure; without one it costs nothing"


def _assumed(default: float, unit: str, source: str, low: float, high: float = math.inf) -> Any:
    """Declare one assumption; `Any` because a dataclass field stands in for its value."""
    return field(default=default, metadata={"unit": unit, "source": source, "basis": "assumed", "range": (low, high)})


@dataclass(frozen=True)
class Policy:
    """What waiting costs and how goods are given out, as far as the data do not say it.

    Each field's metadata holds its unit, source, basis ("assumed" or "measured") and allowed range. The paper symbols
    are those of the programme: cancel_lost_share [kappa], late_lost_share and late_lost_scale_days [G],
    cancel_handling_cost [a], late_penalty_share_per_day [s].

    Raises
    ------
    ValueError
        If a value is no number, not whole where it counts something, or outside its range.

    >>> round(Policy(late_lost_share=0.061, late_lost_scale_days=10).late_lost_by(10), 4)
    0.0386
    """

    horizon_days: int = _assumed(180, "days", "how far arrivals and cancellations are followed", 14, 730)
    default_wait_days: int = _assumed(14, "days", "wait taken where no purchase data exist at all", 1, 730)
    # A total effect: the same share is lost whether the customer cancels or is served late, so kappa = G's bound.
    cancel_lost_share: float = _assumed(0.061, "share of lifetime_value", BHAN_ANDERSON, 0, 1)
    late_lost_share: float = _assumed(0.061, "share of lifetime_value", BHAN_ANDERSON, 0, 1)
    late_lost_scale_days: float = _assumed(10, "days", BHAN_ANDERSON, 1e-6)
    cancel_handling_cost: float = _assumed(0, "money per cancellation", SITE_SAYS, 0)
    late_penalty_share_per_day: float = _assumed(0, "share of line value per day past the promise", SITE_SAYS, 0, 1)
    won_back_share: float = _assumed(0, "share of a cancelled line's margin", "none is taken as won back", 0, 1)
    late_promise_cost_per_day: float = _assumed(
        9, "money per line and day shipped after its promise", NINE_TO_ONE, 1e-6
    )
    long_promise_cost_per_day: float = _assumed(
        1, "money per line and day shipped before its promise", NINE_TO_ONE, 1e-6
    )
    promise_move_days: float = _assumed(7, "days", "a date told moves if the promise quantile is further off", 0)
    promise_floor: float = _assumed(0.5, "probability", "a date told moves if it is met with less", 0, 1)
    receiving_days: int = _assumed(1, "days", "goods received on one day are given out on the next morning", 0, 30)
    counted_cancel_share: float = _assumed(
        1, "share of the expected cancellations", "they free later goods for others; 0 keeps goods for lines gone", 0, 1
    )
    # 1 million cells are some 5 ms: pools that large are rare, and past them greedy with its bound serves.
    exact_pool_cells: int = _assumed(1_000_000, "table cells", "largest pool solved exactly", 0)

    def __post_init__(self) -> None:
        """Check every field once, so that nothing behind this door has to."""
        problems = [text for item in fields(self) if (text := _problem(item, getattr(self, item.name)))]
        if problems:
            raise ValueError(
                f"policy: {len(problems)} of {len(fields(self))} values cannot be used: {'; '.join(problems)};"
                " correct them in the settings' table policy"
            )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Policy":
        """Build a policy from the settings' plain table `policy`; what it does not name keeps its default.

        Raises
        ------
        ValueError
            If a key is unknown (the message names the nearest one) or a value cannot be used.
        """
        names = [item.name for item in fields(cls)]
        unknown = sorted(set(table) - set(names))
        if unknown:
            hints = [f"{name!r}{_nearest(name, names)}" for name in unknown]
            raise ValueError(
                f"policy: {len(unknown)} of {len(table)} settings are unknown: {', '.join(hints)};"
                f" remove them or use one of {', '.join(names)}"
            )
        return cls(**table)

    @property
    def promise_quantile(self) -> float:
        """Chance of being met at which a day too early and a day too late cost the same in expectation."""
        return self.late_promise_cost_per_day / (self.late_promise_cost_per_day + self.long_promise_cost_per_day)

    def late_lost_by(self, waited_days: float) -> float:
        """Cumulative share of lifetime value lost by a wait, for customers who are served in the end [G(w)]."""
        return float(-self.late_lost_share * math.expm1(-waited_days / self.late_lost_scale_days))


def _nearest(name: str, names: list[str]) -> str:
    match = get_close_matches(name, names, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _problem(item: Any, value: object) -> str | None:
    """Say why `value` cannot stand in field `item`, or None if it can."""
    low, high = item.metadata["range"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{item.name} = {value!r} is no finite number"
    if item.type is int and not isinstance(value, int):
        return f"{item.name} = {value!r} is no whole number of {item.metadata['unit']}"
    if not low <= value <= high:
        return f"{item.name} = {value!r} is outside {low:g} to {high:g} ({item.metadata['unit']})"
    return None
