"""Buyers who live by the stories that BG/NBD and Pareto/NBD tell, and the buyers of CDNOW."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from models.beta_geometric import BetaGeometric
from models.order_histories import Histories
from models.pareto import ParetoNBD


def cdnow(name: str) -> np.ndarray:
    """A table of the 2,357 customers that the papers' published parameters rest on; weeks."""
    found = find_spec("lifetimes")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the CDNOW sample ships with lifetimes (extra `bench`)")
    # Read beside the package: importing it would import its plots too.
    path = Path(found.submodule_search_locations[0]) / "datasets" / name
    return np.genfromtxt(path, delimiter=",", names=True)


def watched(model: BetaGeometric | ParetoNBD, ages: np.ndarray, days: float, seed: int) -> tuple[Histories, np.ndarray]:
    """Histories of accounts that live by the model, and their orders in the `days` after.

    Parameters
    ----------
    ages : age of each account on the day of the question
    """
    rng = np.random.default_rng(seed)
    n = len(ages)
    rate = rng.gamma(model.r, 1 / model.alpha, n)
    if isinstance(model, ParetoNBD):
        life = rng.exponential(1 / rng.gamma(model.s, 1 / model.beta, n))
        leaves = np.zeros(n)
    else:
        life = np.full(n, np.inf)
        leaves = rng.beta(model.a, model.b, n)
    repeats, last, later, clock = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    active = np.arange(n)
    while len(active):
        clock[active] += rng.exponential(1 / np.maximum(rate[active], 1e-300))
        active = active[clock[active] <= np.minimum(life, ages + days)[active]]
        before = active[clock[active] <= ages[active]]
        repeats[before] += 1
        last[before] = clock[before]
        later[active[clock[active] > ages[active]]] += 1
        active = active[rng.random(len(active)) >= leaves[active]]
    return Histories.of(repeats, last, ages), later
