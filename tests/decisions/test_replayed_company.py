"""A replay judged by a simulated company that lives on in many worlds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from decisions.policy import Policy
from decisions.replay import replay
from decisions.replay_rules import by_line_value, by_loss_if_waits, first_come_first_served
from decisions.replay_verdict import saved_against
from erp import simulated_losses, simulated_rules, simulator
from erp.simulated_chance import Stream
from erp.simulated_oracle import roll_forward_knowing
from erp.simulator import CompanyShape, roll_forward, simulate
from tests.decisions.simulated_past import recorded


class OtherMinds:
    """The simulator's streams, but for draws of who cancels and who leaves: another world with the same deliveries."""

    def __init__(self, number):
        self.CANCEL, self.LEAVE = 1000 + number, 2000 + number

    def __getattr__(self, name):
        return getattr(Stream, name)


@pytest.mark.parametrize("seed", [902, 904])
def test_the_replay_of_a_simulated_past_agrees_with_the_company_lived_on_in_many_worlds(monkeypatch, seed):
    # The first date told stays the last, or the hazards would move with dates told after a line came to wait.
    monkeypatch.setattr(simulator, "_tell_again", lambda company, moved: None)
    shape = CompanyShape(
        n_customers=1500,
        n_products=40,
        n_days=240,
        seed=seed,
        late_lost_share=0,
        partial_cancel_share=0,
        joint_cancel_share=0,
    )
    company = simulate(shape, simulated_rules.first_come_first_served)
    alike = np.ones_like(company.customers.fragility)  # the policy has one kappa for all
    company.customers = replace(company.customers, fragility=alike)
    n_days, n_worlds, n_draws = 10, 16, 4
    past, knows = recorded(company, simulated_rules.first_come_first_served, n_days)
    policy = Policy(cancel_lost_share=shape.cancel_lost_share, late_lost_share=0)
    rules = {"first come": first_come_first_served, "value": by_line_value, "W": by_loss_if_waits(knows, 0.0, policy)}
    replayed = replay(past, rules, policy, n_draws).draws.pivot(index="scenario", columns="rule", values="money_lost")
    worlds = []
    for world in range(n_worlds):
        for module in (simulator, simulated_losses):
            monkeypatch.setattr(module, "Stream", OtherMinds(world))
        lived = {
            "first come": roll_forward(company, simulated_rules.first_come_first_served, n_days),
            "value": roll_forward(company, simulated_rules.by_line_value, n_days),
            "W": roll_forward_knowing(company, n_days),
        }
        worlds.append({name: days[["cancel_margin", "cancel_future"]].to_numpy().sum() for name, days in lived.items()})
    lived_on = pd.DataFrame(worlds)
    for name in ("value", "W"):
        true, found = lived_on["first come"] - lived_on[name], replayed["first come"] - replayed[name]
        # Two means of independent worlds drawn by one law differ by four standard errors once in 16,000 times.
        error = np.sqrt(true.var() / n_worlds + true.var() / n_draws)
        assert np.sign(found.mean()) == np.sign(true.mean()), name
        assert abs(found.mean() - true.mean()) < 4 * error, name
        assert abs(true.mean()) > 4 * np.sqrt(true.var() / n_worlds), "too small a difference to tell"
    level = np.sqrt(lived_on["value"].var() * (1 / n_worlds + 1 / n_draws))
    assert abs(replayed["value"].mean() - lived_on["value"].mean()) < 4 * level


def test_a_past_of_planners_habits_tells_better_rules_from_worse_though_the_yardstick_is_rough():
    # Here customers differ in kappa, dates told slip, orders go together, and goods that planners overlooked were sold
    # over the counter: only the verdict must hold.
    company = simulate(CompanyShape(n_customers=1500, n_products=40, n_days=240, seed=906))
    n_days = 15
    past, knows = recorded(company, simulator.planner_habits, n_days)
    shape = company.shape
    policy = Policy(
        cancel_lost_share=shape.cancel_lost_share, late_lost_share=shape.late_lost_share, late_lost_scale_days=12
    )
    past = replace(past, joint_cancel_share=shape.joint_cancel_share)
    rules = {"first come": first_come_first_served, "value": by_line_value, "W": by_loss_if_waits(knows, 0.35, policy)}
    verdicts = saved_against(replay(past, rules, policy, 2), "first come").set_index("rule")
    lived = {
        "first come": roll_forward(company, simulated_rules.first_come_first_served, n_days),
        "value": roll_forward(company, simulated_rules.by_line_value, n_days),
        "W": roll_forward_knowing(company, n_days),
    }
    lost = {
        name: days[["cancel_margin", "cancel_future", "late_future"]].to_numpy().sum() for name, days in lived.items()
    }
    assert verdicts.loc["value", "saved"] < 0 < verdicts.loc["W", "saved"]
    assert lost["W"] < lost["first come"] < lost["value"]
