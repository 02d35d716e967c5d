"""Expected gradients of one-decision tasks for any policy from one enumeration: what learning does without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from creditsim.exact import enumerate_trajectories
from creditsim.exact.compositions import compositions
from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rollouts import Rollouts

__all__ = ["OneDecision", "Push"]

Credit = Callable[[Rollouts], np.ndarray]


@dataclass(frozen=True, eq=False)
class Push:
    """What a credit rule does to groups of each composition: (B, A) credit per arm over n, and (B,) its total."""

    per_arm: np.ndarray
    total: np.ndarray


@dataclass(frozen=True, eq=False)
class OneDecision:
    """All compositions of a group of n in a task with one prompt and one decision; T kinds of trajectory, B groups.

    A kind is an arm with an outcome: `arm` (T,), `chance` (T,) of the outcome given the arm, `rewards` (T, K). `count`
    (B, T) says how many of each kind a group has, `ways` (B,) in how many orders. Credit depends on the composition
    alone, so it is computed once and weighed anew for each policy.
    """

    rollouts: Rollouts
    arm: np.ndarray
    chance: np.ndarray
    rewards: np.ndarray
    count: np.ndarray
    ways: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, mdp: TabularMDP, n: int, *, symmetric: bool = True) -> OneDecision:
        """Enumerate; `symmetric` False lists ordered groups, for rules that look at the order."""
        pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
        law = enumerate_trajectories(mdp, pi)
        parts = list(compositions(law, group_size=n, symmetric=symmetric))
        index = np.concatenate([part for part, _ in parts])
        count = np.zeros((len(index), law.size), np.int64)
        np.add.at(count, (np.arange(len(index))[:, None], index), 1)
        arm = law.rollouts.action
        rewards = law.rollouts.trajectory_columns.get("rewards_K", law.rollouts.reward[:, None])
        log_chance = count @ np.log(law.joint)
        ways = np.exp(np.log(np.concatenate([chance for _, chance in parts])) - log_chance)
        return cls(law.compose(index), arm, law.joint * mdp.n_actions, rewards, count, ways, index)

    def push(self, credit: Credit) -> Push:
        """Run a credit rule on every group."""
        arms = int(self.arm.max()) + 1
        groups, n = self.index.shape
        values = credit(self.rollouts).reshape(groups, n) / n
        place = np.arange(groups)[:, None] * arms + self.arm[self.index]
        return Push(np.bincount(place.ravel(), values.ravel(), groups * arms).reshape(groups, arms), values.sum(axis=1))

    def law(self, pi: np.ndarray, chance: np.ndarray | None = None) -> np.ndarray:
        """(B,) probability of each composition under arm probabilities `pi` (A,), and other outcome chances (T,)."""
        p = pi[self.arm] * (self.chance if chance is None else chance)
        with np.errstate(divide="ignore"):
            log_p = np.where(p > 0, np.log(p), -1e4)
        return self.ways * np.exp(self.count @ log_p)

    def gradient(self, push: Push, pi: np.ndarray, chance: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """E[g] (A,) by logits and E|g|^2 of g = (1/n) sum_i A_i d log pi(a_i)."""
        law = self.law(pi, chance)
        each = push.per_arm - push.total[:, None] * pi
        return law @ each, float(law @ np.square(each).sum(axis=1))

    def returns(self, pi: np.ndarray, chance: np.ndarray | None = None) -> np.ndarray:
        """(K,) expected rewards."""
        return (pi[self.arm] * (self.chance if chance is None else chance)) @ self.rewards

    def exact(self, pi: np.ndarray, weights: np.ndarray, chance: np.ndarray | None = None) -> np.ndarray:
        """(A,) gradient of the weighted return by logits."""
        paid = (self.chance if chance is None else chance) * (self.rewards @ weights)
        by_arm = np.bincount(self.arm, paid, pi.size)
        return pi * (by_arm - pi @ by_arm)
