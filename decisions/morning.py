"""One morning's decision: from open lines, goods and predictions to the ranked queue."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.allocation import Allocation, Certificate, give_out
from decisions.alternatives import Alternatives, Waits, advice_columns, alternatives
from decisions.chances import Chances, chances_of
from decisions.cost_by_chance import cost_by_chance
from decisions.fulfilment_queue import RunFacts, fulfilment_queue, wait_days
from decisions.inbound_list import inbound_list
from decisions.joined_words import joined_words
from decisions.last_given import last_given
from decisions.later_goods import later_goods
from decisions.limits import Limits
from decisions.loss_of_choice import LossOfChoice
from decisions.override_costs import WordCosts, cost_of_words
from decisions.override_list import override_facts, override_list
from decisions.overrides import NO_WORD, apply_overrides, in_order
from decisions.policy import Policy
from decisions.price_of_rules import fairness_table, price_of_rules
from decisions.promises import when_lines_ship
from decisions.ranking import is_held, rank_lines
from decisions.rule_words import rule_words
from decisions.rules import keeping, limits_of
from decisions.stability import Steady, hold_steady
from decisions.stability_words import stability_words
from decisions.waiting_programme import Judgement, PricedWaits, judged, priced_waits
from models.arrival import places_in
from models.champions import Predictions, day_of
from models.disruption import disrupted

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

FEW_WAITED = "cancellation risk (few such lines ever waited so long)"


@dataclass(frozen=True, eq=False)
class GivenTo:
    """The open lines with their W and kept_quantity, the pools, and the policy that goods were given out by.

    With `limits_of` these, `give_out` repeats the choice: lines keep what they keep of the last queue's plan. `loss`
    says what any other choice would lose.
    """

    lines: pd.DataFrame
    pools: pd.DataFrame
    policy: Policy
    loss: LossOfChoice


@dataclass(frozen=True)
class Decision:
    """The queue in rank order, the pools it gave out, how far that is from the best possible, and the inbound lines.

    `certificate` judges today's choice at the prices W, `judgement` that choice as part of the whole programme, and
    `elsewhere` (money, counts) the advice to use goods of other pools; `given_to` is what the goods were given out by,
    `steady` who keeps goods that the last queue gave, and what that costs.
    """

    queue: pd.DataFrame
    pools: pd.DataFrame
    certificate: Certificate
    judgement: Judgement
    elsewhere: Mapping[str, float]
    inbound: pd.DataFrame
    given_to: GivenTo
    steady: Steady
    overrides: pd.DataFrame  # one row per planner's word
    override_facts: Mapping[str, object]

    @cached_property
    def rules(self) -> pd.DataFrame:
        """What each rule of the site costs; giving out again without it takes time, so only when it is asked for."""
        return price_of_rules(self.given_to.lines, self.given_to.pools, self.given_to.policy)

    @cached_property
    def fairness(self) -> pd.DataFrame:
        """What it would cost to protect each segment's fair share."""
        return fairness_table(self.given_to.lines, self.given_to.pools, self.given_to.policy)


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
    features : lines, pools, alternative_goods, overrides, kept_share, inbound_dates of `features.feature_tables`;
        accounts if none waits
    predictions : in the order of `features["lines"]`
    previous : the last published queue of an earlier morning, None if there is none
    """
    features, predictions = _by_id(features, predictions)
    words = in_order(features["overrides"])
    lines, pools = _valued_lines(features["lines"], words, features["kept_share"], predictions), features["pools"]
    pool = places_in(predictions.inbound.pools, lines)
    goods = pools["available_now"].to_numpy(np.float64)[places_in(pools, predictions.inbound.pools)]
    chances = chances_of(predictions.inbound, _still_wanted(lines, pool, goods))
    limits = limits_of(lines, pools, policy)
    waits = _waits(lines, predictions, chances, goods, pool, limits, policy)
    lines = lines.assign(loss_if_waits=waits.costs["loss_if_waits"]).join(waits.planned)
    lines = lines.assign(last_given_quantity=last_given(lines, previous))
    steady = hold_steady(lines, pools, policy)
    lines = lines.assign(kept_quantity=steady.kept_quantity)
    allocation = give_out(lines, pools, policy, keeping(limits, lines))
    word_costs = cost_of_words(lines, pools, policy, words, allocation.ship_now_quantity, waits.loss)
    lines = lines.join(rank_lines(lines)).assign(ship_now_quantity=allocation.ship_now_quantity)
    lines = lines.assign(**_cost_of_its_word(word_costs))
    elsewhere = _elsewhere(lines, features["alternative_goods"], predictions, waits, allocation, limits, policy)
    lines = lines.join(advice_columns(lines, elsewhere.advice, run.currency, policy))
    said_by_rules = rule_words(lines, limits, allocation, policy)
    lines = lines.assign(rule=stability_words(lines, steady, limits, policy).fillna(said_by_rules))
    ships = when_lines_ship(lines, predictions.survival, chances, pools, run.calendar, policy)
    receipts = predictions.receipts.assign(wait_days=wait_days(predictions.arrival)).join(ships)
    queue = fulfilment_queue(lines, waits.costs, allocation, receipts, previous, run, policy)
    told, today = features["inbound_dates"], day_of(features)
    inbound = inbound_list(predictions.inbound, told, disrupted(told, today), queue, run, policy, today)
    said = override_list(lines, words, word_costs, pools, run, today)
    return Decision(
        queue=queue,
        pools=allocation.pools,
        certificate=allocation.certificate,
        judgement=judged(waits, lines),
        elsewhere=elsewhere.facts,
        inbound=inbound,
        given_to=GivenTo(lines, pools, policy, waits.loss),
        steady=steady,
        overrides=said,
        override_facts=override_facts(said, word_costs),
    )


def _by_id(
    features: Mapping[str, pd.DataFrame], predictions: Predictions
) -> tuple[Mapping[str, pd.DataFrame], Predictions]:
    """Put lines and pools in the order of their ids: sums in another order end in other digits."""
    lines, keys = features["lines"], ["product_id", "warehouse_id"]
    pools = features["pools"].sort_values(keys, kind="stable", ignore_index=True)
    if lines["order_line_id"].is_monotonic_increasing:
        return {**features, "pools": pools}, predictions
    order = np.argsort(lines["order_line_id"].to_numpy(dtype=object), kind="stable")
    frames = {name: getattr(predictions, name).iloc[order].reset_index(drop=True) for name in ("receipts", "values")}
    arrays = {name: getattr(predictions, name)[order] for name in ("survival", "arrival", "few_waited")}
    lines = lines.iloc[order].reset_index(drop=True)
    return {**features, "lines": lines, "pools": pools}, replace(predictions, **frames, **arrays)


def _elsewhere(
    lines: pd.DataFrame,
    goods: pd.DataFrame,
    predictions: Predictions,
    waits: PricedWaits,
    allocation: Allocation,
    limits: Limits,
    policy: Policy,
) -> Alternatives:
    """What lines that still wait could have of other pools' goods."""
    carried = waits.costs["future_share"].to_numpy(np.float64)
    made_of = Waits(predictions.survival, carried, predictions.joint_cancel_share)
    pools = allocation.pools.assign(protected=limits.protected[limits.is_kept].sum(axis=0))
    return alternatives(lines, made_of, goods, pools, predictions.inbound, policy)


def _waits(
    lines: pd.DataFrame,
    predictions: Predictions,
    chances: Chances,
    goods: Floats,
    pool: Codes,
    limits: Limits,
    policy: Policy,
) -> PricedWaits:
    """Price every line's wait by the plan of its pool's goods now and later."""
    survival, arrival = predictions.survival, predictions.arrival
    units = _units_by_pool(lines["open_quantity"].to_numpy(np.float64), pool, goods)
    later = later_goods(chances, units, policy.horizon_days)
    has_own = lines["order_line_id"].isin(predictions.inbound.lines["for_order_line_id"].dropna()).to_numpy(np.bool_)
    joint = predictions.joint_cancel_share
    costs = cost_by_chance(lines, survival, arrival, later, pool, has_own, joint, policy)
    return priced_waits(lines, costs, later, goods, pool, limits, policy.counted_cancel_share)


def _still_wanted(lines: pd.DataFrame, pool: Codes, goods: Floats) -> Floats:
    """Units that the lines of each pool will wait for once the goods here are given out."""
    wanted = lines["open_quantity"].to_numpy(np.float64)
    may_have = _units_by_pool(np.where(is_held(lines), 0.0, wanted), pool, goods)
    return _units_by_pool(wanted, pool, goods) - np.minimum(goods, may_have)


def _units_by_pool(units: Floats, pool: Codes, goods: Floats) -> Floats:
    return np.bincount(pool, units, minlength=len(goods)).astype(np.float64)


def _cost_of_its_word(costs: WordCosts) -> dict[str, Floats | Codes]:
    """What the word that rules each line costs, NaN without one, and how many lines it rules; (n_lines,)."""
    is_ruled = costs.ruling != NO_WORD
    n_lines = np.bincount(costs.ruling[is_ruled], minlength=1)
    cost = np.append(costs.cost, np.nan)[costs.ruling]  # NO_WORD reads the last place
    return {"override_cost": cost, "override_n_lines": np.where(is_ruled, n_lines[np.maximum(costs.ruling, 0)], 0)}


def _valued_lines(
    lines: pd.DataFrame, words: pd.DataFrame, kept_share: pd.DataFrame, predictions: Predictions
) -> pd.DataFrame:
    kept = kept_share["kept_share"].fillna(1.0).clip(0.0, 1.0)
    lines = apply_overrides(lines, words).join(predictions.values)
    return lines.assign(
        paid_share=float(kept.iloc[0]) if len(kept) else 1.0,
        assumed=_assumed_inputs(lines, predictions),
    )


def _assumed_inputs(lines: pd.DataFrame, predictions: Predictions) -> pd.Series:
    """What was not measured for a line, joined by "; "; null where everything was."""
    said = {"unit cost": lines["unit_cost_is_assumed"].to_numpy(bool)}
    said |= {answer: np.ones(len(lines), dtype=bool) for answer in predictions.assumed}
    said[FEW_WAITED] = predictions.few_waited
    text = joined_words(said, lines.index)
    return text.where(text != "")
