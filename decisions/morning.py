"""One morning's decision: from open lines, goods and predictions to the ranked queue."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from decisions.allocation import Certificate, give_out
from decisions.cost_of_waiting import cost_of_waiting
from decisions.fulfilment_queue import RunFacts, fulfilment_queue, wait_days
from decisions.joined_words import joined_words
from decisions.overrides import apply_overrides
from decisions.policy import Policy
from models.champions import Predictions

FEW_WAITED = "cancellation risk (few such lines ever waited so long)"


@dataclass(frozen=True)
class Decision:
    """The queue in rank order, the pools it gave out, and how far that is from the best possible."""

    queue: pd.DataFrame
    pools: pd.DataFrame
    certificate: Certificate


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
    features : lines, pools, overrides, kept_share of `features.feature_tables`
    predictions : in the order of `features["lines"]`
    previous : the last published queue of an earlier morning, None if there is none
    """
    lines = _priced_lines(features, predictions)
    costs = cost_of_waiting(lines, predictions.survival, predictions.arrival, predictions.joint_cancel_share, policy)
    allocation = give_out(lines.assign(loss_if_waits=costs["loss_if_waits"]), features["pools"], policy)
    waits = wait_days(predictions.arrival, policy).join(predictions.receipts)
    queue = fulfilment_queue(lines, costs, allocation, waits, previous, run, policy)
    return Decision(queue, allocation.pools, allocation.certificate)


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
