"""Which replayed rule loses less: the bootstrap against sums worked by hand and against the normal law."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from decisions.policy import Policy
from decisions.replay import replay
from decisions.replay_verdict import saved_against
from tests.decisions.past_mornings import (
    at_daily_hazard,
    nothing,
    past_of,
    served_in,
    two_lines,
)

KAPPA_ONLY = Policy(cancel_lost_share=0.1, late_lost_share=0)


def test_the_bootstrap_of_two_pools_finds_their_four_sums():
    past = past_of(2, at_daily_hazard(0.1, 0.1), [("p", 0, 1), ("q", 0, 1)], 3, product_id=["p", "q"])
    made = replay(past, {"nothing": nothing, "one": served_in("L0")}, KAPPA_ONLY, 5)
    (row,) = saved_against(made, "nothing").to_dict("records")
    of_p = made.pools.set_index(["rule", "product_id"])["money_lost"]
    saved = of_p["nothing", "p"] - of_p["one", "p"]
    assert row["saved"] == pytest.approx(saved)
    assert [row["saved_low"], row["saved_high"]] == pytest.approx([0, 2 * saved])
    assert [row["n_pools"], row["n_pools_differing"], row["is_better"]] == [2, 1, False]
    (back,) = saved_against(made, "one").to_dict("records")
    assert back["saved"] == -row["saved"]
    with pytest.raises(ValueError, match="rule 'x' was not replayed; the base is one of nothing, one"):
        saved_against(made, "x")


def test_the_interval_of_a_mean_of_many_pools_is_that_of_the_normal_law():
    rng = np.random.default_rng(3)
    pools = pd.DataFrame({"product_id": [f"p{i:03d}" for i in range(200)], "warehouse_id": "w"})
    saved = rng.normal(1.0, 5.0, 200)
    both = [pools.assign(rule="base", money_lost=100.0), pools.assign(rule="new", money_lost=100.0 - saved)]
    made = replay(two_lines(), {"base": nothing, "new": nothing}, KAPPA_ONLY, 1)
    (row,) = saved_against(replace(made, pools=pd.concat(both)), "base").to_dict("records")
    half = 1.96 * saved.std() * np.sqrt(200)
    assert row["saved_high"] - row["saved_low"] == pytest.approx(2 * half, rel=0.08)
