"""Exact noise of gradients on one scale: what a batch adds beside its signal, per rollout spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import exact_moments
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_sum
from theory.laws import ScoredLaw, policy_of

__all__ = ["ESTIMATORS", "TASKS", "Credit", "Noise", "best_constant", "best_noise", "noise", "noise_of", "pair_noise"]

Credit = Callable[[Rollouts], np.ndarray]

TASKS: Mapping[str, int] = {
    "one answer, p = 0.5": 1,
    "one answer, p = 0.1": 1,
    "two tasks, chance decides": 2,
    "two tasks, own choice decides": 2,
    "tree": 1,
    "stop or go on": 1,
    "loop, one exit pays": 1,
    "loop, both exits pay": 1,
    "chain": 1,
}
"""Settings with a terminal reward, and the groups in a batch: one per task."""

ESTIMATORS = ("reinforce", "reinforce_plus_plus@paper", "dr_grpo@paper", "rloo@paper", "grpo@paper", "opo@paper")


@cache
def task(name: str) -> tuple[TabularMDP, SoftmaxPolicy]:
    """The environment and the policy of a setting: uniform, but for the tasks whose names say a chance."""
    if name.startswith("one answer"):
        p = float(name.rpartition(" ")[2])
        mdp = make("answers", p=((0.0, 1.0),))
        return mdp, policy_of(mdp, [(1.0 - p, p)])
    if name == "two tasks, own choice decides":
        mdp = make("answers", p=((0.0, 1.0), (0.0, 1.0)))
        return mdp, policy_of(mdp, [(0.8, 0.2), (0.2, 0.8)])
    mdp = {
        "two tasks, chance decides": lambda: make("answers", p=((0.1, 0.3), (0.7, 0.9))),
        "tree": lambda: make("tree@tiny"),
        "stop or go on": lambda: make("stopping", turns=3, stop=0.6, go=0.0, last=0.5),
        "loop, one exit pays": lambda: make("loop@tiny"),
        "loop, both exits pay": lambda: make("loop@tiny", bad_reward=0.5),
        "chain": lambda: make("chain", length=2, horizon=3),
    }[name]()
    return mdp, SoftmaxPolicy.uniform(mdp)


@dataclass(frozen=True)
class Noise:
    """Of the gradient of a batch of N trajectories: N tr Cov g, and N tr Cov g / (E[g] . u)^2, u along dJ/dtheta.

    The second is what remains after each estimator is scaled to the same signal. `cosine` is that of E[g] with u.
    """

    raw: float
    relative: float
    cosine: float


@cache
def noise(name: str, estimator: str, n: int) -> Noise:
    """Noise of a registered estimator in a setting, groups of n."""
    return noise_of(name, lambda rollouts: advantage(rollouts, estimator), n)


def noise_of(name: str, credit: Credit, n: int) -> Noise:
    """Noise of any credit in a setting, by enumerating the batches of one group of n for each task."""
    mdp, policy = task(name)
    groups = TASKS[name]
    law = exact_moments(credit, mdp, policy, group_size=n, groups=groups, covariance=False).gradient
    signal = float(law.mean @ law.exact) / float(np.linalg.norm(law.exact))
    return Noise(n * groups * law.trace, n * groups * law.trace / signal**2, law.cosine)


@cache
def best_constant(name: str) -> np.ndarray:
    """(S,) the constant of each task with the least variance, E[|score|^2 R] / E[|score|^2], by its start state."""
    mdp, policy = task(name)
    law = ScoredLaw.of(mdp, policy)
    start = law.rollouts.columns["state"][law.rollouts.offsets[:-1]]
    weight = law.chance * np.square(law.whole).sum(axis=1)
    total, mass = (np.bincount(start, w, mdp.n_states) for w in (weight * law.total, weight))
    return np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)


@cache
def best_noise(name: str) -> Noise:
    """Noise of the return less the best constant of its task: the optimal baseline, which no sample tells.

    Trajectories are independent of each other then, so that noise per rollout is that of one trajectory per task.
    """
    constant = best_constant(name)

    def credit(rollouts: Rollouts) -> np.ndarray:
        score = segment_sum(rollouts.reward, rollouts.trajectory, rollouts.n_trajectories)
        start = rollouts.columns["state"][rollouts.offsets[:-1]]
        return (score - constant[start])[rollouts.trajectory]

    return noise_of(name, credit, 1)


def pair_noise(name: str) -> tuple[float, float]:
    """(c, d) such that leave-one-out in groups of n has relative noise c + d / (n - 1) per rollout, for one task.

    Its gradient is a U-statistic: the mean over pairs of h = (R_i - R_j)(s_i - s_j) / 2, s the score of a trajectory.
    So n tr Cov g = 4 tr z1 + (2 tr z2 - 4 tr z1) / (n - 1), z1 = Cov E[h|i], z2 = Cov h. Sums over pairs of
    trajectories, no groups. (inferred)
    """
    mdp, policy = task(name)
    law = ScoredLaw.of(mdp, policy)
    h = 0.5 * (law.total[:, None] - law.total)[..., None] * (law.whole[:, None] - law.whole)
    one = np.tensordot(law.chance, h, axes=(0, 1))
    exact = law.mean(one)
    z1 = law.chance @ np.square(one - exact).sum(axis=1)
    z2 = law.chance @ np.square(h - exact).sum(axis=2) @ law.chance
    signal = float(exact @ exact)
    return float(4.0 * z1) / signal, float(2.0 * z2 - 4.0 * z1) / signal
