"""The models that answer together each morning, and what they say about its open lines."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from models import (
    account_report,
    arrival,
    arrival_report,
    cancellation,
    cancellation_report,
    lifetime_value,
    next_order,
)
from models.arrival import InboundForecast
from models.report import Report

REFUSED_FILE = "refused.json"  # in a version's folder


@dataclass(frozen=True)
class Question:
    """One model: how it learns from its training rows and how it is judged on later ones."""

    answer: str  # what it answers, as the planner reads it
    training: str  # "lines": past open lines; "accounts": past accounts; "inbound": dates told for inbound goods
    fit: Callable[[pd.DataFrame, pd.Timestamp], Any]
    evaluate: Callable[[pd.DataFrame, pd.Timestamp], Report]
    load: Callable[[Path], Any]


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "cancellation-risk": Question(
            "cancellation risk",
            "lines",
            lambda rows, today: cancellation.fit(rows),
            lambda rows, today: cancellation_report.evaluate(rows),
            cancellation.CancellationModel.load,
        ),
        "lifetime-value": Question(
            "lifetime value",
            "accounts",
            lambda rows, today: lifetime_value.fit(rows),
            lambda rows, today: account_report.evaluate_value(rows),
            lifetime_value.LifetimeValueModel.load,
        ),
        "next-order": Question(
            "next order",
            "accounts",
            lambda rows, today: next_order.fit(rows),
            lambda rows, today: account_report.evaluate_next_order(rows),
            next_order.NextOrderModel.load,
        ),
        "arrival": Question("wait", "inbound", arrival.fit, arrival_report.evaluate, arrival.ArrivalModel.load),
    }
)


@dataclass(frozen=True)
class Predictions:
    """What the models say about the open lines of one morning, in the order of those lines.

    `survival` (n_lines, n_days + 1): chance that a line is still wanted u days on if nobody ships it.
    `arrival` (n_lines, n_days + 2): chance that its next goods come in day u; the last column is later or never.
    `receipts`: next_inbound_po_line_id and wait_source. `inbound`: when the goods of each inbound line come, and those
    not ordered yet. `values`: lifetime_value (money over 365 days, 0 for anonymous customers), its 90 % interval _low
    and _high, and p_no_order_365d, both null for them. `joint_cancel_share`: chance that another waiting line of an
    order is cancelled with the first. `few_waited`: lines whose like hardly ever waited so long, so that the hazard of
    all lines answers for them. `assumed`: answers that were not measured for any line, in plain words.
    """

    survival: np.ndarray
    arrival: np.ndarray
    receipts: pd.DataFrame
    inbound: InboundForecast
    values: pd.DataFrame
    joint_cancel_share: float
    few_waited: np.ndarray
    assumed: tuple[str, ...]


def save(model: Any, folder: Path, refused: Sequence[str] = ()) -> None:
    """Write the model's files and, where its report refuses it, why: that belongs to the version wherever it serves."""
    model.save(folder)
    if refused:
        (folder / REFUSED_FILE).write_text(json.dumps(list(refused), indent=1) + "\n", encoding="utf-8")


def refused_in(folder: Path) -> tuple[str, ...]:
    """Why the report of the version in this folder refused it; empty if it did not."""
    path = folder / REFUSED_FILE
    return tuple(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else ()


def load(folders: Mapping[str, Path]) -> dict[str, Any]:
    """The models in these folders, by name."""
    return {name: question.load(folders[name]) for name, question in QUESTIONS.items()}


def predict(
    models: Mapping[str, Any],
    features: Mapping[str, pd.DataFrame],
    n_days: int,
    default_wait_days: int,
    refused: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Predictions:
    """Answer every question for the open lines in `features["lines"]`.

    Parameters
    ----------
    refused : why the reports of these models refused them, by name; they answer, and every answer says so
    """
    lines, accounts, today = features["lines"], features["accounts"], day_of(features)
    inbound = arrival.foresee(models["arrival"], lines, features["inbound_dates"], today, n_days, default_wait_days)
    arrives, receipts = arrival.next_receipt(inbound, lines)
    asked = accounts[accounts["account_id"].isin(lines["account_id"])].reset_index(drop=True)
    low, high = lifetime_value.predict_interval(models["lifetime-value"], asked)
    values = pd.DataFrame(
        {
            "account_id": asked["account_id"],
            "lifetime_value": lifetime_value.predict(models["lifetime-value"], asked),
            "lifetime_value_low": low,
            "lifetime_value_high": high,
            "p_no_order_365d": next_order.predict(models["next-order"], asked),
        }
    )
    values = lines[["account_id"]].merge(values, on="account_id", how="left").drop(columns="account_id")
    risk = models["cancellation-risk"]
    return Predictions(
        survival=cancellation.survival(risk, lines, n_days),
        arrival=arrives,
        receipts=receipts,
        inbound=inbound,
        values=values.assign(lifetime_value=values["lifetime_value"].fillna(0.0)),
        joint_cancel_share=risk.joint_share,
        few_waited=risk.few_waited(lines) & (risk.kind != "assumed"),  # then every line is marked as it is
        assumed=_assumed(models, refused),
    )


def day_of(features: Mapping[str, pd.DataFrame]) -> pd.Timestamp:
    """Day of T in the site's zone: that of the open lines or, where none waits, of the accounts."""
    days = (features[name]["cutoff_on"] for name in ("lines", "accounts") if len(features[name]))
    # Without a single order ever there is no day, and nobody waits for anything.
    return next((pd.Timestamp(of_rows.iloc[0]) for of_rows in days), pd.Timestamp(0))


def _assumed(models: Mapping[str, Any], refused: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Answers that no data or no passed report stand behind, in plain words."""
    is_assumed = {
        "cancellation-risk": models["cancellation-risk"].kind == "assumed",
        "lifetime-value": models["lifetime-value"].is_assumed,
        "next-order": models["next-order"].is_assumed,
    }
    said = []
    for name, question in QUESTIONS.items():
        if is_assumed.get(name):
            said.append(question.answer)
        elif refused.get(name):
            said.append(f"{question.answer} ({', '.join(refused[name])})")
    return tuple(said)
