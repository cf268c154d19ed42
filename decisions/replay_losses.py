"""What one more day of waiting costs in a replay, and a ledger of which customers it has lost so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from decisions.cost_of_waiting import WaitOutcome, never_served, served_after, terms_of
from decisions.customer_loss import Ties, future_share
from decisions.outlooks import day_number
from decisions.policy import Policy
from decisions.replay_past import Past, Today

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MONEY = ["money_lost", "loss_cancel", "loss_future_orders", "loss_service"]
ALL_TOGETHER = 1.0  # rho of lines that are tied by the event they go with in this draw


@dataclass(eq=False)
class Ledger:
    """Chance that each line has lost its customer so far, and the money booked by pool.

    A line that was cancelled has lost its customer with chance kappa; one that waits, or was served after waiting, with
    G(w) - G(w at its first morning). `future_share` makes of all lines of an account what part of it is lost once, so
    a day costs what the expected chances of the evening lose more than those of the morning.
    """

    past: Past
    policy: Policy
    event: Codes  # (n_lines,) what each line goes with
    ties: Ties  # of all lines of the replay
    p_lost: Floats  # (n_lines,)
    by_pool: Floats  # (4, n_pools), in the order of MONEY

    @classmethod
    def opened(cls, past: Past, event: Codes, policy: Policy) -> Ledger:
        """A ledger of a morning on which nobody has lost anything yet."""
        ties = Ties.of(past.lines.assign(root_order_id=event), ALL_TOGETHER)
        return cls(past, policy, event, ties, np.zeros(len(event)), np.zeros((len(MONEY), len(past.pools))))

    def wait_a_day(self, rows: Codes, units: Floats, today: Today, gone_on: Codes) -> dict[str, float]:
        """Book what lines left waiting are expected to lose until the next morning, then who has gone by then.

        Parameters
        ----------
        rows : (n_waiting,), where they stand in the past's lines
        units : (n_waiting,), open of them
        gone_on : (n_lines,), number of the morning before which each line is cancelled
        """
        lines, hazard = self._waiting(rows, units, today.on, today.lifetime_value), today.hazard[rows]
        stays = _served_tomorrow(lines, self.policy)
        outcome = WaitOutcome(
            hazard,
            hazard * self.policy.cancel_lost_share + (1 - hazard) * (self.p_lost[rows] + stays.p_lost),
            (1 - hazard) * stays.penalty_days,
        )
        expected = self.p_lost.copy()
        expected[rows] = outcome.p_lost
        lost = self._future(expected, today.lifetime_value) - self._future(self.p_lost, today.lifetime_value)
        now = terms_of(lines, outcome, np.zeros(len(rows)), Ties.of(lines, ALL_TOGETHER), self.policy)
        goes = gone_on[rows] == today.day + 1
        self.p_lost[rows] = np.where(goes, self.policy.cancel_lost_share, self.p_lost[rows] + stays.p_lost)
        return self._book(now[:, 0], lost, now[:, 2], rows)

    def if_never_served(self, open_units: Floats, gone_on: Codes) -> float:
        """What the lines that still wait after the last morning lose if no goods ever come to them."""
        past, policy = self.past, self.policy
        rows = np.flatnonzero((open_units > 0) & (gone_on > past.n_days))
        on = past.first_on + pd.Timedelta(days=past.n_days)
        outlook = past.yardstick.in_force(past.lines["order_line_id"], on)
        value = past.yardstick.rows["lifetime_value"].to_numpy(np.float64)[outlook]
        lines = self._waiting(rows, open_units[rows], on, value)
        never = never_served(lines, past.yardstick.wanted_from(outlook[rows], on, policy.horizon_days), policy)
        now = terms_of(lines, never, np.zeros(len(rows)), Ties.of(lines, ALL_TOGETHER), policy)
        after = self.p_lost.copy()
        after[rows] = policy.cancel_lost_share
        return float(now.sum() + (self._future(after, value) - self._future(self.p_lost, value)).sum())

    def _waiting(self, rows: Codes, units: Floats, on: pd.Timestamp, lifetime_value: Floats) -> pd.DataFrame:
        """Lines left waiting, as `decisions.cost_of_waiting` takes them; who goes together stands for their order."""
        figures, day = self.past.figures, day_number(on)
        share = units / figures["open_quantity"][rows]
        return pd.DataFrame(
            {
                "account_id": figures["account"][rows],
                "root_order_id": self.event[rows],
                "root_id": figures["root"][rows],
                "open_quantity": units,
                "line_margin": figures["line_margin"][rows] * share,
                "line_value": figures["line_value"][rows] * share,
                "paid_share": figures["paid_share"][rows],
                "lifetime_value": lifetime_value[rows],
                "waited_days": day - figures["due_day"][rows],
                "days_late": day - figures["promised_day"][rows],
            }
        )

    def _future(self, p_lost: Floats, lifetime_value: Floats) -> Floats:
        """Money of later orders that each line bears if it loses its customer with these chances."""
        return np.asarray(lifetime_value * p_lost * future_share(p_lost, self.ties))

    def _book(self, cancel: Floats, future: Floats, service: Floats, rows: Codes) -> dict[str, float]:
        pool, n_pools = self.past.pool, len(self.past.pools)
        parts = [
            np.bincount(pool[rows], cancel, minlength=n_pools),
            np.bincount(pool, future, minlength=n_pools),
            np.bincount(pool[rows], service, minlength=n_pools),
        ]
        booked = np.stack([parts[0] + parts[1] + parts[2], *parts])
        self.by_pool = self.by_pool + booked
        return dict(zip(MONEY, booked.sum(axis=1).tolist(), strict=True))


def _served_tomorrow(lines: pd.DataFrame, policy: Policy) -> WaitOutcome:
    """Outcome of being served tomorrow and not today, for lines that are then still wanted.

    After 5 days a sixth day loses .06 x (exp(-5 / 10) - exp(-6 / 10)) of the customers, if G's bound is .06:

    >>> lines = pd.DataFrame({"waited_days": [5], "days_late": [np.nan]})
    >>> _served_tomorrow(lines, Policy(late_lost_share=0.06, late_lost_scale_days=10)).p_lost.round(6).tolist()
    [0.003463]
    """
    surely, tomorrow = np.ones((len(lines), 2)), np.zeros((len(lines), 3))
    tomorrow[:, 1] = 1
    return served_after(lines, surely, tomorrow, policy)
