"""Independent groups with the return of a greedy rollout as baseline: ReMax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.base import ExtendingSampler, State, design

__all__ = ["Greedy", "independent_with_greedy"]


@dataclass(frozen=True, eq=False)
class Greedy:
    """The policy that always takes the likeliest allowed action of another one (the first of equals)."""

    policy: Any

    @property
    def theta(self) -> np.ndarray:
        """The other policy's parameters."""
        return self.policy.theta

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) ones and zeros."""
        pi = np.where(mdp.mask | mdp.terminal[:, None], self.policy.probabilities(mdp), -1.0)
        return (np.arange(mdp.n_actions) == pi.argmax(axis=-1)[..., None]).astype(np.float64)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """Zero: a greedy choice does not move with the parameters."""
        return np.zeros(self.policy.theta.shape)

    def with_theta(self, theta: np.ndarray) -> Greedy:
        """Greedy in the other policy with parameters `theta`."""
        return Greedy(self.policy.with_theta(theta))


@design("independent_with_greedy", paper="arXiv:2310.10505", evidence="paper", makes=("greedy_score",))
def independent_with_greedy(
    sampler: ExtendingSampler, policy: Any, state: State, *, group_size: int = 1
) -> tuple[Rollouts, State]:
    """Draw independent groups, and one greedy trajectory per group whose return becomes their baseline.

    b(group) = sum over steps of the reward of a rollout that takes argmax_a pi(a|s), from the group's start state
    (ReMax, arXiv:2310.10505; undiscounted as in the response-level reward of the paper). Makes the trajectory column
    `greedy_score` (N,). The greedy trajectories are drawn but not kept: they are no samples of the policy.
    Errors: InputError for a group size below 1.
    """
    rollouts = sampler.extend(copies=group_size, policy=policy)
    greedy = sampler.extend(policy=Greedy(policy))
    baseline = np.zeros(greedy.n_groups)
    np.add.at(baseline, greedy.group_rows, greedy.reward)
    return rollouts.with_trajectory_columns(greedy_score=baseline[rollouts.group]), state
