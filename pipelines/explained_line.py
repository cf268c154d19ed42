"""Why a line of a queue ships or waits, as facts: money, risk, value, goods, dates, and what would change it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from decisions.cost_of_waiting import P_CANCEL_DAYS
from decisions.levers import levers_of
from decisions.reasons import TERMS
from decisions.served_instead import served_instead
from decisions.trial import Trial
from decisions.why_dates_moved import date_moves
from decisions.would_ship import would_ship
from erp.ledger import LedgerError
from models import cancellation, lifetime_value
from models.contributions import RISK_GROUPS, VALUE_GROUPS, Contributions, contributions, others_like
from pipelines.own_values import risk_values, worth_values
from pipelines.reopened import LAST, Reopened, reopen

TIMES = ("as_of", "ordered_at")  # all other moments are days
DATES = (
    "ordered_at", "requested_on", "promised_on", "promise_told_on", "promise_on", "expected_on", "expected_latest_on",
    "next_inbound_on",
)  # fmt: skip
IDS = (
    "order_line_id", "order_id", "customer_id", "product_id", "warehouse_id", "customer_name", "product_name", "owner",
    "segment",
)  # fmt: skip
PLACE = (
    "action", "rank", "pool_rank", "pool_size", "reason", "advice", "override", "previous_rank", "changed_because",
    "assumed",
)  # fmt: skip


def explained(store: Path, order_line_id: str, which: str = LAST) -> dict[str, Any]:
    """Everything that a planner may ask of one line: raw numbers, ISO dates, None where nothing is known.

    The keys are those of `pipelines.explained_keys`.

    Parameters
    ----------
    which : the queue, as `pipelines.reopened.reopen` takes it

    Raises
    ------
    LedgerError
        If there is no such queue, or the line is not in it.
    """
    morning = reopen(store, which)
    found = morning.queue[morning.queue["order_line_id"] == order_line_id]
    if found.empty:
        raise LedgerError(
            f"line {order_line_id!r} is not among the {len(morning.queue)} lines of the queue as of"
            f" {morning.as_of:%Y-%m-%d}; it is shipped, cancelled, not due yet, or set aside (not_ranked.csv)"
        )
    line, lines = found.iloc[0], morning.features["lines"]
    feature = lines[lines["order_line_id"] == order_line_id]
    trial = Trial.of(morning.given_to, order_line_id)
    levers = levers_of(morning.queue, morning.given_to, order_line_id, morning.models["cancellation-risk"].joint_share)
    facts = {
        "run_id": morning.run_id,
        "as_of": morning.as_of,
        "n_lines": len(morning.queue),
        "currency": line["currency"],
        "line": {name: line[name] for name in IDS},
        "place": {name: line[name] for name in PLACE},
        "loss": _loss(line, trial),
        "risk": _risk(morning, line, feature),
        "value": _value(morning, line, feature),
        "goods": _goods(line, trial),
        "dates": _dates(morning, line, pd.Timestamp(feature["cutoff_on"].iloc[0])),
        "would_ship": _would_ship(morning, trial, levers),
    }
    return dict(_plain(facts))


def _loss(line: pd.Series, trial: Trial) -> dict[str, Any]:
    """W and its terms, and the later chance that they are reckoned to."""
    return {
        "loss_if_waits": line["loss_if_waits"],
        "per_unit": line["loss_if_waits"] / line["open_quantity"],
        **{name: line[name] for name in TERMS},
        "waits_for_receipt": int(trial.lines["later_chance"].iloc[trial.row]),
    }


def _risk(morning: Reopened, line: pd.Series, feature: pd.DataFrame) -> dict[str, Any]:
    """The chance to cancel, and what moved it away from the usual one of this morning."""
    risk = morning.models["cancellation-risk"]
    lines = morning.features["lines"]
    answers = lines["order_line_id"].map(morning.queue.set_index("order_line_id")["p_cancel_14d"])
    is_other = (lines["order_line_id"] != line["order_line_id"]).to_numpy()
    others = others_like(lines[is_other], answers[is_other].to_numpy(float), "order_line_id")

    def answer(rows: pd.DataFrame) -> np.ndarray:
        return cancellation.p_cancel(cancellation.survival(risk, rows, P_CANCEL_DAYS), P_CANCEL_DAYS)

    moved = contributions(answer, feature, others, RISK_GROUPS) if len(others) else None
    own = risk_values(feature.iloc[0].to_dict())
    return {"p_cancel_14d": line["p_cancel_14d"], "model": risk.why, **_moved(moved, own)}


def _value(morning: Reopened, line: pd.Series, feature: pd.DataFrame) -> dict[str, Any]:
    """The customer's lifetime value, and what moved it away from that of the customers who wait this morning."""
    accounts, lines = morning.features["accounts"], morning.features["lines"]
    asked = accounts[accounts["account_id"].isin(lines["account_id"])].reset_index(drop=True)
    model = lifetime_value.settled(morning.models["lifetime-value"], asked)
    is_own = (asked["account_id"] == feature["account_id"].iloc[0]).to_numpy()
    own, moved = {}, None
    if is_own.any():
        account, rest = asked[is_own], asked[~is_own]
        others = others_like(rest, lifetime_value.predict(model, rest), "account_id")
        own = worth_values(account.iloc[0].to_dict())
        if len(others):
            moved = contributions(lambda rows: lifetime_value.predict(model, rows), account, others, VALUE_GROUPS)
    said = ("lifetime_value", "lifetime_value_low", "lifetime_value_high", "p_no_order_365d")
    return {**{name: line[name] for name in said}, "model": model.why, **_moved(moved, own)}


def _moved(moved: Contributions | None, own: Mapping[str, str]) -> dict[str, Any]:
    """Contributions beside the line's own values, the largest first."""
    if moved is None:
        return {"usual": None, "n_others": 0, "moved_by": []}
    rows = [{"inputs": name, "adds": added, "own": own[name]} for name, added in moved.largest_first()]
    return {"usual": moved.usual, "n_others": moved.n_others, "moved_by": rows}


def _goods(line: pd.Series, trial: Trial) -> dict[str, Any]:
    """What is here, who has it, and at what price."""
    served = served_instead(trial)
    by_worth = [each.loss_per_unit for each in served if each.because != "pin"]
    return {
        "open_quantity": line["open_quantity"],
        "ship_now_quantity": line["ship_now_quantity"],
        "available_now": line["available_now"],
        "stock_price": line["stock_price"],
        "last_served_loss_per_unit": min(by_worth, default=None),
        "served": [asdict(each) for each in served],
    }


def _dates(morning: Reopened, line: pd.Series, today: pd.Timestamp) -> dict[str, Any]:
    """The line's dates, and how they moved since the last queue."""
    previous, moves = morning.previous, []
    is_known = previous is not None and (previous["order_line_id"] == line["order_line_id"]).any()
    if previous is not None and is_known:
        before = previous[previous["order_line_id"] == line["order_line_id"]].iloc[0]
        model_changed = bool(morning.manifest["made_with"]["model_changed"])
        moves = [asdict(move) for move in date_moves(line, before, model_changed)]
    return {
        "today": today,
        **{name: line[name] for name in DATES},
        "waited_days": line["waited_days"],
        "days_late": line["days_late"],
        "next_inbound_po_line_id": line["next_inbound_po_line_id"],
        "promise_chance": line["promise_chance"],
        "promise_changed_because": line["promise_changed_because"],
        "is_in_last_queue": bool(is_known),
        "moved": moves,
    }


def _would_ship(morning: Reopened, trial: Trial, levers: tuple[Any, ...]) -> dict[str, Any]:
    found = asdict(would_ship(trial, levers))
    if found["pin"]:
        names = morning.queue.set_index("order_line_id")["customer_id"]
        for each in found["pin"]["displaced"]:
            each["customer_id"] = names[each["order_line_id"]]
    for least in found["levers"]:
        is_loss = least["name"] == "loss_if_waits"
        least["per_unit"] = least["least"] / found["wanted"] if is_loss and least["least"] is not None else None
    return found


def _plain(value: Any, name: str = "") -> Any:
    """Text, numbers, lists and dicts alone; days and UTC times in ISO form; None where nothing is known."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, name) for each in value]
    if value is None or pd.isna(value):
        return None
    if isinstance(value, datetime):  # a Timestamp, too
        return f"{value:%Y-%m-%dT%H:%M:%SZ}" if name in TIMES else f"{value:%Y-%m-%d}"
    return value.item() if isinstance(value, np.generic) else value
