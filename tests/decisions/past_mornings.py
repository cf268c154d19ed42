"""Small pasts to replay, made by hand or at random."""

from typing import Any

import numpy as np
import pandas as pd

from decisions.outlooks import Outlooks
from decisions.replay import PastMorning
from decisions.replay_past import Past

FIRST = pd.Timestamp("2026-01-15")
DRAWS = 60


def past_of(
    n_lines: int,
    survival: np.ndarray,
    goods: list[tuple[str, int, float]],
    n_days: int = 12,
    joint_cancel_share: float = 0.0,
    holds: list[tuple[str, int, int]] | None = None,
    **columns: Any,
) -> Past:
    """Lines L0, L1, ... of pool p that wait from the first morning on, and goods (product, morning, units)."""
    ids = [f"L{i}" for i in range(n_lines)]
    usual = {
        "order_line_id": ids,
        "root_id": ids,
        "root_order_id": ids,
        "account_id": ids,
        "product_id": "p",
        "warehouse_id": "w",
        "ordered_at": FIRST - pd.Timedelta(days=10),
        "due_on": FIRST - pd.Timedelta(days=5),
        "promised_on": pd.NaT,
        "enters_on": FIRST,
        "open_quantity": 1.0,
        "line_value": 100.0,
        "line_margin": 40.0,
        "paid_share": 1.0,
        "quantity_step": 1.0,
        "may_split": False,
        "ship_group": None,
        "priority_class": 1.0,
        "lifetime_value": 0.0,
    }
    lines = pd.DataFrame(usual | columns, index=range(n_lines)).astype({"ship_group": "str", "account_id": "str"})
    lines["promised_on"] = pd.to_datetime(lines["promised_on"])
    said = lines[["order_line_id", "lifetime_value"]].assign(made_on=lines["enters_on"])
    came = pd.DataFrame(goods, columns=["product_id", "comes_on", "quantity"]).assign(warehouse_id="w")
    held = pd.DataFrame(holds or [], columns=["order_line_id", "from_on", "until_on"])
    for frame, names in ((came, ["comes_on"]), (held, ["from_on", "until_on"])):
        for name in names:
            frame[name] = FIRST + pd.to_timedelta(frame[name].astype(int), unit="D")
    lines = lines.drop(columns="lifetime_value")
    return Past(
        FIRST, n_days, lines, came.astype({"quantity": float}), Outlooks(said, survival), joint_cancel_share, held
    )


def at_daily_hazard(*hazards: float, n_days: int = 30) -> np.ndarray:
    """Survival curves with a constant chance of cancelling each day."""
    return (1 - np.array(hazards))[:, None] ** np.arange(n_days + 1)


def curves_that_draws_meet(rng: np.random.Generator, n_lines: int, n_days: int) -> np.ndarray:
    """Random curves in steps of one draw: the share of draws that a line survives then equals its chance exactly."""
    left = DRAWS - np.sort(rng.integers(0, DRAWS - 5, (n_lines, n_days)), axis=1)
    return np.concatenate([np.ones((n_lines, 1)), left / DRAWS], axis=1)


def random_past(seed: int, n_lines: int = 40, n_days: int = 8) -> Past:
    """Lines that come to wait day after day in three pools that are short of goods; some in parts, some in groups."""
    rng = np.random.default_rng(seed)
    enters = rng.integers(0, n_days, n_lines)
    product = rng.choice(["p", "q", "r"], n_lines)
    quantity = rng.integers(1, 9, n_lines).astype(float)
    goods = [(name, day, float(rng.integers(0, 6))) for name in ("p", "q", "r") for day in range(n_days)]
    return past_of(
        n_lines,
        at_daily_hazard(*rng.uniform(0, 0.1, n_lines)),
        goods,
        n_days,
        0.4,
        [("L1", 0, 2), ("L2", 1, n_days)],
        enters_on=FIRST + pd.to_timedelta(enters, unit="D"),
        due_on=FIRST + pd.to_timedelta(enters - rng.integers(1, 9, n_lines), unit="D"),
        promised_on=pd.Series(FIRST + pd.to_timedelta(rng.integers(-4, 9, n_lines), unit="D")).where(
            rng.random(n_lines) < 0.8
        ),
        product_id=product,
        open_quantity=quantity,
        line_value=100 * quantity,
        line_margin=rng.uniform(5, 50, n_lines) * quantity,
        paid_share=rng.uniform(0.8, 1, n_lines),
        may_split=rng.random(n_lines) < 0.5,
        ship_group=np.where(rng.random(n_lines) < 0.3, rng.choice(["g", "h"], n_lines), None),
        account_id=rng.choice([None, "a", "b", "c", "d"], n_lines),
        root_order_id=rng.choice([f"O{i}" for i in range(20)], n_lines),
        priority_class=rng.choice([1.0, 2.0, np.nan], n_lines),
        lifetime_value=rng.uniform(0, 900, n_lines),
    )


def nothing(morning: PastMorning) -> np.ndarray:
    """Ship nothing."""
    return np.zeros(len(morning.lines))


def served_in(*ids: str):
    """Rule that gives whole lines their goods in this order, and nobody else."""

    def rule(morning: PastMorning) -> np.ndarray:
        left = dict(zip(morning.pools["product_id"], morning.pools["available_now"], strict=True))
        units = pd.Series(0.0, index=morning.lines["order_line_id"])
        rows = morning.lines.set_index("order_line_id")
        for name in ids:
            if name in rows.index and rows.loc[name, "open_quantity"] <= left[rows.loc[name, "product_id"]]:
                units[name] = rows.loc[name, "open_quantity"]
                left[rows.loc[name, "product_id"]] -= units[name]
        return units.to_numpy()

    return rule


def two_lines(n_days=11, **columns):
    """The two lines of the design: one unit now, one in ten days."""
    said = {"line_margin": [40.0, 90.0], "lifetime_value": [300.0, 0.0]} | columns
    return past_of(2, at_daily_hazard(0.03, 0.01), [("p", 0, 1), ("p", 10, 1)], n_days, **said)


class Watched:
    """A rule, and every morning that it has seen."""

    def __init__(self, rule):
        self.rule, self.mornings, self.units = rule, [], []

    def __call__(self, morning):
        self.mornings.append(morning)
        self.units.append(self.rule(morning))
        return self.units[-1]
