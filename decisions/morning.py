"""One morning's decision: from open lines, goods and predictions to the ranked queue."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from decisions.allocation import Certificate, give_out
from decisions.chances import chances_of
from decisions.cost_of_waiting import cost_of_waiting
from decisions.fulfilment_queue import RunFacts, fulfilment_queue, wait_days
from decisions.inbound_list import inbound_list
from decisions.joined_words import joined_words
from decisions.overrides import apply_overrides
from decisions.policy import Policy
from decisions.promises import when_lines_ship
from decisions.ranking import rank_lines
from models.arrival import places_in
from models.champions import Predictions, day_of
from models.disruption import disrupted

FEW_WAITED = "cancellation risk (few such lines ever waited so long)"


@dataclass(frozen=True)
class Decision:
    """The queue in rank order, the pools it gave out, how far that is from the best possible, and the inbound lines."""

    queue: pd.DataFrame
    pools: pd.DataFrame
    certificate: Certificate
    inbound: pd.DataFrame


def decide(
    features: Mapping[str, pd.DataFrame],
    predictions: Predictions,
    previous: pd.DataFrame | None,
    run: RunFacts,
    policy: Policy,
) -> Decision:
    """Price the wait of every open line, give out the goods that are here, rank and explain.

    Parameters
    ----------
    features : lines, pools, overrides, kept_share, inbound_dates of `features.feature_tables`; accounts if none waits
    predictions : in the order of `features["lines"]`
    previous : the last published queue of an earlier morning, None if there is none
    """
    lines = _priced_lines(features, predictions)
    costs = cost_of_waiting(lines, predictions.survival, predictions.arrival, predictions.joint_cancel_share, policy)
    allocation = give_out(lines.assign(loss_if_waits=costs["loss_if_waits"]), features["pools"], policy)
    lines = lines.join(rank_lines(lines.assign(loss_if_waits=costs["loss_if_waits"])))
    given = lines.assign(loss_if_waits=costs["loss_if_waits"], ship_now_quantity=allocation.ship_now_quantity)
    chances = chances_of(predictions.inbound, _still_wanted(given, predictions.inbound.pools))
    ships = when_lines_ship(given, predictions.survival, chances, features["pools"], run.calendar, policy)
    waits = predictions.receipts.assign(wait_days=wait_days(predictions.arrival)).join(ships)
    queue = fulfilment_queue(lines, costs, allocation, waits, previous, run, policy)
    told, today = features["inbound_dates"], day_of(features)
    inbound = inbound_list(predictions.inbound, told, disrupted(told, today), queue, run, policy, today)
    return Decision(queue, allocation.pools, allocation.certificate, inbound)


def _still_wanted(lines: pd.DataFrame, pools: pd.DataFrame) -> np.ndarray:
    """Units that the lines of each pool wait for after today's goods are given out."""
    missing = (lines["open_quantity"] - lines["ship_now_quantity"]).to_numpy(np.float64)
    return np.bincount(places_in(pools, lines), missing, minlength=len(pools))


def _priced_lines(features: Mapping[str, pd.DataFrame], predictions: Predictions) -> pd.DataFrame:
    kept_share = features["kept_share"]["kept_share"].fillna(1.0).clip(0.0, 1.0)
    lines = apply_overrides(features["lines"], features["overrides"]).join(predictions.values)
    return lines.assign(
        paid_share=float(kept_share.iloc[0]) if len(kept_share) else 1.0,
        assumed=_assumed_inputs(lines, predictions),
    )


def _assumed_inputs(lines: pd.DataFrame, predictions: Predictions) -> pd.Series:
    """What was not measured for a line, joined by "; "; null where everything was."""
    said = {"unit cost": lines["unit_cost_is_assumed"].to_numpy(bool)}
    said |= {answer: np.ones(len(lines), dtype=bool) for answer in predictions.assumed}
    said[FEW_WAITED] = predictions.few_waited
    text = joined_words(said, lines.index)
    return text.where(text != "")
