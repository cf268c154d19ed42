"""A customer is lost once, however many lines wait: which lines go together, and what part of the loss each carries."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ties:
    """Roots within orders within accounts, each numbered from 0; arrays of (n_lines,).

    A root is a line with all that was split off from it. Its order is that of the line it began as, so that splitting
    an order ties its parts no less.
    """

    account: Codes
    is_anonymous: Flags
    order: Codes
    root: Codes
    root_share: Floats  # of the root's open quantity
    joint_cancel_share: float  # chance that the roots of an order go together, not each by itself [rho]

    @classmethod
    def of(cls, lines: pd.DataFrame, joint_cancel_share: float) -> "Ties":
        """Tie lines by account_id (null: anonymous), root_order_id and root_id."""
        account = _numbers_within(np.zeros(len(lines), dtype=np.int64), lines["account_id"])
        order = _numbers_within(account, lines["root_order_id"])
        root = _numbers_within(order, lines["root_id"])
        quantity = lines["open_quantity"].to_numpy(np.float64)
        of_root = np.bincount(root, weights=quantity)[root] if len(root) else quantity
        is_anonymous = lines["account_id"].isna().to_numpy(np.bool_)
        return cls(account, is_anonymous, order, root, quantity / of_root, joint_cancel_share)

    def event_share(self) -> Floats:
        """Part of a whole cancellation that a line is: what one costs once is spread over those that go together.

        A line that is a quarter of its root, one of two of its order, with rho .5: 1/4 x (.5 + .5 / 2) = .1875.
        """
        n_roots = np.bincount(_outer(self.root, self.order))[self.order] if len(self.root) else np.ones(0)
        together = self.joint_cancel_share
        return self.root_share * (1 - together + together / n_roots)


def future_share(p_lost: Floats, ties: Ties) -> Floats:
    """Part f of R p that each line carries, so that the parts of an account add up to losing its customer once.

    Roots are combined first, as one event with their quantity-weighted mean p. The roots of an order then are one
    event in the share rho, and independent in the rest: p_order = rho max(p_root) + (1 - rho) (1 - prod(1 - p_root)).
    The greatest p, because events that happen together as often as they can happen at all as often as the likeliest
    (Frechet's bound): a second, harmless line must not make its customer safer. With P = 1 - prod(1 - p_order) over the
    account's orders and e = root's share x (1 - rho + rho max(p_root) / sum(p_root)), f = e P / sum(e p): a line of an
    order that goes together carries less than one that stands alone. Anonymous lines have no customer in common: their
    f is e.

    Parameters
    ----------
    p_lost : chance that each line loses its customer [p], 0 to 1, shape (n_lines,)

    Two lines of one order with p .2 and .4, always together, lose the customer with chance .4: f is 2/3 for both.
    Never together it is 1 - .8 x .6 = .52 of .6.

    >>> lines = pd.DataFrame({"account_id": "a", "root_order_id": "o", "root_id": ["x", "y"], "open_quantity": 1.0})
    >>> p_lost = np.array([0.2, 0.4])
    >>> [future_share(p_lost, Ties.of(lines, rho)).round(3).tolist() for rho in (1, 0)]
    [[0.667, 0.667], [0.867, 0.867]]
    """
    if not len(p_lost):
        return p_lost
    together = ties.joint_cancel_share
    p_root = np.minimum(np.bincount(ties.root, weights=p_lost * ties.root_share), 1.0)
    order_of_root = _outer(ties.root, ties.order)
    likeliest = _greatest(p_root, order_of_root)
    p_order = np.minimum(together * likeliest + (1 - together) * _any(p_root, order_of_root), 1.0)
    p_account = _any(p_order, _outer(ties.order, ties.account))
    p_sum = np.bincount(order_of_root, weights=p_root)
    once = np.divide(likeliest, p_sum, out=np.ones_like(p_sum), where=p_sum > 0)
    event_share = ties.root_share * (1 - together + together * once[ties.order])
    carried = np.bincount(ties.account, weights=p_lost * event_share)
    scale = np.divide(p_account, carried, out=np.ones_like(carried), where=carried > 0)
    return np.where(ties.is_anonymous, event_share, event_share * scale[ties.account])


def _greatest(p: Floats, group: Codes) -> Floats:
    greatest = np.zeros(group.max(initial=-1) + 1)
    np.maximum.at(greatest, group, p)
    return greatest


def _any(p: Floats, group: Codes) -> Floats:
    """Chance that any of a group's independent events happens."""
    with np.errstate(divide="ignore"):  # p = 1 happens for sure: log(0) = -inf is the right answer
        log_none = np.bincount(group, weights=np.log1p(-p)).astype(np.float64)
    happens: Floats = -np.expm1(log_none)
    return happens


def _numbers_within(outer: Codes, ids: pd.Series) -> Codes:
    """Number the pairs of an outer number and an id; rows without an id are alike."""
    inner = pd.factorize(ids)[0].astype(np.int64) + 1
    return np.unique(outer * (inner.max(initial=0) + 1) + inner, return_inverse=True)[1].astype(np.int64)


def _outer(inner: Codes, outer: Codes) -> Codes:
    """For each inner number the outer one it lies in."""
    found = np.zeros(inner.max(initial=-1) + 1, dtype=np.int64)
    found[inner] = outer
    return found
