"""Ways between warehouses as a site names them: what is accepted, what is refused and how it is said."""

import numpy as np
import pandas as pd
import pytest

from decisions.policy import Policy
from decisions.transfers import Transfer, routes, transfers_from
from erp.fingerprint import fingerprint

WAY = {"from_warehouse_id": "north", "to_warehouse_id": "main", "days": 2}


def test_the_settings_tables_become_transfers():
    policy = Policy.from_table({"transfers": [WAY, {**WAY, "to_warehouse_id": "south", "cost_per_unit": 0.5}]})
    assert policy.transfers == (Transfer("north", "main", 2), Transfer("north", "south", 2, 0.5))


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ({"from": "north"}, "is no list of tables; write each under"),
        ([{**WAY, "day": 3}], r"'day' \(did you mean 'days'\?\) is unknown"),
        ([{"from_warehouse_id": "north"}], "it names no to_warehouse_id and no days"),
        ([{**WAY, "days": 1.5}], "days = 1.5 is no whole number"),
        ([{**WAY, "days": True}], "days = True is no whole number"),
        ([{**WAY, "cost_per_unit": -1}], "cost_per_unit = -1 is no money of 0 or more"),
        ([{**WAY, "cost_per_line": float("inf")}], "cost_per_line = inf is no money"),
        ([{**WAY, "to_warehouse_id": "north"}], "it leads from a warehouse to itself"),
        ([{**WAY, "to_warehouse_id": 7}], "to_warehouse_id = 7 is no text"),
        ([WAY, {**WAY, "days": 5}], r"\('north', 'main'\)\] stand more than once"),
    ],
)
def test_a_way_that_cannot_be_used_is_refused(tables, text):
    with pytest.raises(ValueError, match=text):
        transfers_from(tables)
    with pytest.raises(ValueError, match=r"policy: .*correct it under \[\[policy.transfers\]\]"):
        Policy.from_table({"transfers": tables})


def test_every_word_of_a_way_counts_for_the_fingerprint_of_a_run():
    changed = ({}, {"from_warehouse_id": "east"}, {"to_warehouse_id": "east"}, {"days": 3})
    changed += ({"cost_per_unit": 1.0}, {"cost_per_line": 1.0})
    seen = {fingerprint(Policy.from_table({"transfers": [WAY | each]})) for each in changed}
    assert len(seen | {fingerprint(Policy())}) == 7


def test_without_ways_all_are_alike():
    found = routes(pd.Series(["a", "b"]), pd.Series(["b", "a"]), (), usual=(3, 0.5, 2))
    assert {name: values.tolist() for name, values in found.items()} == {
        "days": [3, 3],
        "cost_per_unit": [0.5, 0.5],
        "cost_per_line": [2, 2],
    }


def test_each_pair_finds_its_own_way_in_its_own_direction():
    stated = (Transfer("1", "01", 4, 0.25, 1.5), Transfer("01", "1", 9))
    found = routes(pd.Series(["01", "1", "1"]), pd.Series(["1", "01", "2"]), stated, usual=(3, 0, 0))
    np.testing.assert_array_equal(found["days"], [9, 4, np.nan])
    np.testing.assert_array_equal(found["cost_per_unit"], [0, 0.25, np.nan])
    np.testing.assert_array_equal(found["cost_per_line"], [0, 1.5, np.nan])
