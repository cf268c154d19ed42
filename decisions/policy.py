"""The economics' one settings class: every assumption with its unit, its source and whether it was measured."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from decisions.segments import Segment, nearest, segments_from
from decisions.transfers import Transfer, transfers_from

BHAN_ANDERSON = "Bhan & Anderson, Marketing Science 2023: 6.1 % of next year's orders beyond ten days, 2.1 % on average"
NINE_TO_ONE = "only their ratio counts: nine to one is a date that is met nine times in ten"
GRUEN = "Gruen, Corsten & Bharadwaj 2002, Retail Out-of-Stocks: 45 % of shoppers take another product at the shelf"
SITE_SAYS = "the site's own figure; without one it costs nothing"

# Settings that are lists of tables, and what builds their rows.
LISTS: Mapping[str, Callable[[object], tuple[Any, ...]]] = {"segments": segments_from, "transfers": transfers_from}


def _assumed(default: float, unit: str, source: str, low: float, high: float = math.inf) -> Any:
    """Declare one assumption; `Any` because a dataclass field stands in for its value."""
    return field(default=default, metadata={"unit": unit, "source": source, "basis": "assumed", "range": (low, high)})


def _stated(default: Any, unit: str, source: str, between: tuple[float, float] | None) -> Any:
    """Declare one rule of the site; a number has a range."""
    return field(default=default, metadata={"unit": unit, "source": source, "basis": "stated", "range": between})


@dataclass(frozen=True)
class Policy:
    """What waiting costs and how goods are given out, as far as the data do not say it.

    Each field's metadata holds its unit, source and basis ("assumed" or "measured"; "stated": a rule of the site), and
    the allowed range of a number. The paper symbols are those of the programme: cancel_lost_share [kappa],
    late_lost_share and late_lost_scale_days [G], cancel_handling_cost [a], late_penalty_share_per_day [s].

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
    shipment_cost: float = _assumed(0, "money per extra shipment", SITE_SAYS, 0)
    large_loss: float = _stated(
        1000, "money per line", "a line that loses this much by waiting is an exception", (0, math.inf)
    )
    expiry_notice_days: int = _stated(2, "days", "a planner's word that ends so soon is an exception", (0, 365))
    longest_wait_days: int = _stated(
        0, "days", "lines that waited longer go before others; 0: none does", (0, math.inf)
    )
    max_moves: int = _stated(
        -1, "lines", "whose goods may change from what the last queue gave; -1: any number", (-1, math.inf)
    )
    move_worth: float = _stated(
        1000, "money", "lines move whatever max_moves says where an exchange of goods saves more", (0, math.inf)
    )
    transfer_days: int = _assumed(3, "days", "goods moved to another warehouse; taken, not measured anywhere", 0, 730)
    transfer_cost_per_unit: float = _assumed(0, "money per unit moved", SITE_SAYS, 0)
    transfer_cost_per_line: float = _assumed(0, "money per order line whose goods are moved", SITE_SAYS, 0)
    kept_goods_cover: float = _assumed(
        0.9, "probability", "what a pool keeps covers its new demand until its next goods; as for promises", 0.5, 0.999
    )
    substitute_accept_share: float = _assumed(0.45, "share of customers", GRUEN, 0, 1)
    # 1 million cells are some 5 ms: pools that large are rare, and past them greedy with its bound serves.
    exact_pool_cells: int = _assumed(1_000_000, "table cells", "largest pool solved exactly", 0)
    segments: tuple[Segment, ...] = _stated((), "rules", "lines treated alike, and how: docs/rules.md", None)
    transfers: tuple[Transfer, ...] = _stated(
        (),
        "ways",
        "between warehouses, with days and costs of their own; where any is named, there are no others",
        None,
    )

    def __post_init__(self) -> None:
        """Check every field once, so that nothing behind this door has to."""
        numbers = [item for item in fields(self) if item.metadata["range"]]
        problems = [text for item in numbers if (text := _problem(item, getattr(self, item.name)))]
        if problems:
            raise ValueError(
                f"policy: {len(problems)} of {len(numbers)} values cannot be used: {'; '.join(problems)};"
                " correct them in the settings' table policy"
            )
        for name in LISTS:
            _checked(name, getattr(self, name))

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
            hints = [f"{name!r}{nearest(name, names)}" for name in unknown]
            raise ValueError(
                f"policy: {len(unknown)} of {len(table)} settings are unknown: {', '.join(hints)};"
                f" remove them or use one of {', '.join(names)}"
            )
        return cls(**{**table, **{name: _checked(name, table.get(name, ())) for name in LISTS}})

    @property
    def promise_quantile(self) -> float:
        """Chance of being met at which a day too early and a day too late cost the same in expectation."""
        return self.late_promise_cost_per_day / (self.late_promise_cost_per_day + self.long_promise_cost_per_day)

    def late_lost_by(self, waited_days: float) -> float:
        """Cumulative share of lifetime value lost by a wait, for customers who are served in the end [G(w)]."""
        return float(-self.late_lost_share * math.expm1(-waited_days / self.late_lost_scale_days))


def _checked(name: str, tables: object) -> tuple[Any, ...]:
    try:
        return LISTS[name](tables)
    except ValueError as error:
        raise ValueError(f"policy: {error}; correct it under [[policy.{name}]] in the settings") from error


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
