"""The exceptions of a decided morning, found in its facts and in the last published queue."""

import pandas as pd

from decisions.exceptions import Morning, exceptions
from decisions.fulfilment_queue import RunFacts
from decisions.lost_goods import SinceLast
from decisions.morning import Decision
from erp.known import Facts
from features.left_since import left_since


def found_exceptions(facts: Facts, previous: pd.DataFrame | None, decision: Decision, ran: RunFacts) -> pd.DataFrame:
    """What to look at before trusting the queue.

    Parameters
    ----------
    previous : the last published queue of an earlier as_of; None, or without lines, if there is nothing to compare with
    """
    morning = Morning(
        queue=decision.queue,
        lines=decision.given_to.lines,
        since=_since(facts, previous),
        rejected=facts.rejected,
        not_ranked=facts.not_ranked,
        overrides=decision.overrides,
        stability=decision.steady.facts,
    )
    return exceptions(morning, ran, decision.given_to.policy)


def _since(facts: Facts, previous: pd.DataFrame | None) -> SinceLast | None:
    if previous is None or previous.empty:
        return None
    return SinceLast(previous, left_since(facts, pd.Timestamp(previous["as_of"].iloc[0]).to_pydatetime()))
