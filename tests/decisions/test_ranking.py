"""The order of lines, against a merge by hand with a heap."""

import heapq

import numpy as np
import pandas as pd

from decisions.ranking import rank_lines
from tests.decisions.open_lines import open_lines


def random_lines(seed, n_lines=60):
    rng = np.random.default_rng(seed)
    return open_lines(
        n_lines,
        product_id=rng.choice(["p", "q", "r"], n_lines),
        warehouse_id=rng.choice(["w", "v"], n_lines),
        open_quantity=rng.integers(1, 4, n_lines).astype(float),
        loss_if_waits=rng.integers(-1, 5, n_lines).astype(float),
        due_on=np.datetime64("2026-01-01", "s") + rng.integers(0, 3, n_lines).astype("timedelta64[D]"),
        override=pd.Series(rng.choice([None, None, None, "pin", "hold", "exclude"], n_lines), dtype="str"),
        credit_hold=rng.random(n_lines) < 0.1,
        is_discontinued=rng.random(n_lines) < 0.1,
    )


def merged_by_hand(lines):
    """Order_line_ids as the contract words it: pool by pool, then always the head with the greatest loss."""
    order = []
    for last in (False, True):
        lists = {}
        for line in lines.itertuples():
            held = line.credit_hold or line.override in ("hold", "exclude")
            pinned = line.override == "pin" and not held
            if (held or (line.is_discontinued and not pinned)) is last:
                key = (not pinned or last, -line.loss_if_waits / line.open_quantity, line.due_on, line.order_line_id)
                lists.setdefault((line.product_id, line.warehouse_id), []).append((key, line))
        heads = []
        for pool in lists.values():
            pool.sort(key=lambda entry: entry[0], reverse=True)
            _push(heads, pool)
        while heads:
            *_, order_line_id, pool = heapq.heappop(heads)
            order.append(order_line_id)
            _push(heads, pool)
    return order


def _push(heads, pool):
    if pool:
        _, line = pool.pop()
        heapq.heappush(heads, (-line.loss_if_waits, line.due_on, line.order_line_id, pool))


def test_ranks_are_those_of_the_merge_worded_in_the_contract():
    for seed in range(40):
        lines = random_lines(seed)
        ranked = lines.assign(**rank_lines(lines)).sort_values("rank")
        assert ranked["order_line_id"].tolist() == merged_by_hand(lines), seed


def test_ranks_are_dense_and_agree_with_the_places_in_the_pools():
    lines = random_lines(99, n_lines=200)
    ranked = lines.assign(**rank_lines(lines)).sort_values("rank")
    assert ranked["rank"].tolist() == list(range(1, 201))
    for _, pool in ranked.groupby(["product_id", "warehouse_id"]):
        assert pool["pool_rank"].tolist() == list(range(1, len(pool) + 1))
        assert (pool["pool_size"] == len(pool)).all()


def test_row_order_does_not_matter():
    lines = random_lines(7)
    shuffled = lines.iloc[np.random.default_rng(0).permutation(len(lines))]
    pd.testing.assert_frame_equal(rank_lines(lines), rank_lines(shuffled).sort_index())


def test_held_lines_stand_after_all_others_of_every_pool():
    lines = open_lines(
        4,
        product_id=["p", "p", "q", "q"],
        loss_if_waits=[900.0, 2.0, 1.0, -4.0],
        override=["hold", None, None, None],
    )
    assert rank_lines(lines)["rank"].tolist() == [4, 1, 2, 3]


def test_a_pinned_line_leads_its_pool_but_its_pool_does_not_jump_the_others():
    lines = open_lines(3, product_id=["p", "p", "q"], loss_if_waits=[1.0, 50.0, 20.0], override=["pin", None, None])
    assert rank_lines(lines)["rank"].tolist() == [2, 3, 1]


def test_no_lines_have_no_ranks():
    assert rank_lines(open_lines(0)).shape == (0, 3)
