"""A tabular policy together with its MDP, seen row by row: what update rules ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from creditsim.mdp.policy import Policy
from creditsim.mdp.row_kernels import add_to_cells, read_cells
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts

__all__ = ["TablePolicy"]

_SMALLEST = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class TablePolicy:
    """Policies of R replicates (theta (R, P)) on one MDP; rows are matched by their columns `state` and by batch."""

    policy: Policy
    mdp: TabularMDP

    @property
    def theta(self) -> np.ndarray:
        """(R, P) parameters."""
        return self.policy.theta

    @cached_property
    def table(self) -> np.ndarray:
        """(R, S, A) action probabilities."""
        return self.policy.probabilities(self.mdp)

    @cached_property
    def _log_table(self) -> np.ndarray:
        # A probability that underflows must not turn a finite loss into 0 times infinity.
        return np.log(np.maximum(self.table, _SMALLEST))

    @cached_property
    def _entropy_table(self) -> np.ndarray:
        return -(self.table * self._log_table).sum(axis=-1)

    def log_prob(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) log-probability of each row's action."""
        return read_cells(self._log_table, rollouts, rollouts.column("state", "a tabular policy"))

    def entropy(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) entropy in nats of the policy in each row's state."""
        return self._entropy_table[rollouts.batch_rows, rollouts.column("state", "a tabular policy")]

    def pullback(self, rollouts: Rollouts, weight: np.ndarray) -> np.ndarray:
        """(R, P) sum over the rows of each batch of weight_i d log pi(a_i | s_i) / d theta."""
        r, s, a = self.table.shape
        per_cell = add_to_cells((r, s, a), rollouts, rollouts.column("state", "a tabular policy"), weight)
        return self.policy.pullback(self.mdp, per_cell)

    def entropy_pullback(self, rollouts: Rollouts, weight: np.ndarray) -> np.ndarray:
        """(R, P) sum over rows of weight_i dH/dtheta, where dH = -sum_a pi(a) log pi(a) d log pi(a)."""
        r, s, _ = self.table.shape
        cell = rollouts.batch_rows * s + rollouts.column("state", "a tabular policy")
        per_state = np.bincount(cell, weights=weight, minlength=r * s).reshape(r, s)
        return self.policy.pullback(self.mdp, -per_state[:, :, None] * self.table * self._log_table)

    def with_theta(self, theta: np.ndarray) -> TablePolicy:
        """The same MDP and policy class with other parameters."""
        return replace(self, policy=self.policy.with_theta(theta))
