"""Every trajectory of a policy with its score: what exact gradients of hand-written credits are summed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.segments import reverse_scan

__all__ = ["ScoredLaw", "bandit", "policy_of", "row_scores"]


def bandit(rewards: Sequence[float]) -> TabularMDP:
    """One decision, as many arms as rewards, each arm paying its reward for certain."""
    pay = np.zeros((2, len(rewards), 1))
    pay[0, :, 0] = rewards
    return TabularMDP.build(
        successor=np.ones(pay.shape, np.int64),
        probability=np.ones(pay.shape),
        reward=pay,
        terminal=np.array([False, True]),
        horizon=1,
        name=f"bandit({len(rewards)} arms)",
    )


def policy_of(mdp: TabularMDP, rows: Sequence[Sequence[float]]) -> SoftmaxPolicy:
    """Softmax policy with these probabilities in the first contexts, even ones in the rest."""
    table = np.full((mdp.n_contexts, mdp.n_actions), 1.0 / mdp.n_actions)
    table[: len(rows)] = rows
    return SoftmaxPolicy.from_probabilities(mdp, table)


def row_scores(mdp: TabularMDP, policy: Policy, rollouts: Rollouts) -> np.ndarray:
    """(M,P) score d log pi(a|context)/dtheta of each row, from its columns `state` and `action`."""
    n = mdp.n_states * mdp.n_actions
    table = policy.pullback(mdp, np.eye(n).reshape(n, mdp.n_states, mdp.n_actions))
    return table[rollouts.columns["state"] * mdp.n_actions + rollouts.action]


@dataclass(frozen=True, eq=False)
class ScoredLaw:
    """All T trajectories of a policy with what policy gradients are made of; R rows in total, P parameters.

    `chance` (T,) their probabilities, start state included; `score` (R,P) of the rows, `whole` (T,P) its sum over a
    trajectory; `to_go` (R,) the undiscounted return from a row on, `total` (T,) of the whole trajectory.
    """

    rollouts: Rollouts
    chance: np.ndarray
    score: np.ndarray

    @classmethod
    def of(cls, mdp: TabularMDP, policy: Policy) -> ScoredLaw:
        """Enumerate the trajectories of a policy without replicates."""
        law = enumerate_trajectories(mdp, policy.probabilities(mdp))
        return cls(law.rollouts, law.joint, row_scores(mdp, policy, law.rollouts))

    @cached_property
    def row_chance(self) -> np.ndarray:
        """(R,) probability of each row's trajectory."""
        return self.chance[self.rollouts.trajectory]

    @cached_property
    def whole(self) -> np.ndarray:
        """(T,P) score of each trajectory."""
        return self.sum_rows(self.score)

    @cached_property
    def to_go(self) -> np.ndarray:
        """(R,) undiscounted return from each row on."""
        return reverse_scan(self.rollouts.reward, 1.0, self.rollouts.offsets)

    @cached_property
    def total(self) -> np.ndarray:
        """(T,) undiscounted return."""
        return self.sum_rows(self.rollouts.reward)

    def sum_rows(self, rows: np.ndarray) -> np.ndarray:
        """Sum of rows (R,...) over each trajectory, (T,...)."""
        return np.add.reduceat(rows, self.rollouts.offsets[:-1], axis=0)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Expectation of a value per trajectory (T,...)."""
        return np.tensordot(self.chance, values, axes=1)

    def gradient(self, credit: np.ndarray) -> tuple[np.ndarray, float]:
        """Mean (P,) and trace of the covariance of sum over rows of credit (R,) times score, for one trajectory."""
        each = self.sum_rows(credit[:, None] * self.score)
        mean = self.mean(each)
        return mean, float(self.mean(np.square(each - mean).sum(axis=1)))
