"""Hand-made rollouts and policies for the tests of update rules."""

from __future__ import annotations

import numpy as np

from creditsim.mdp import SoftmaxPolicy, make
from creditsim.mdp.rows import TablePolicy
from creditsim.rollouts import Rollouts


def learner(replicates: int = 2, spread: float = 1.0, seed: int = 0) -> TablePolicy:
    """Softmax policies with random logits on the tiny chain (3 states and the goal, 2 actions)."""
    mdp = make("chain@tiny")
    theta = spread * np.random.default_rng(seed).normal(size=(replicates, mdp.n_contexts * mdp.n_actions))
    return TablePolicy(SoftmaxPolicy(theta, mdp.n_actions), mdp)


def rollouts(policy: TablePolicy, per_batch: int = 5, seed: int = 1, weight: np.ndarray | None = None) -> Rollouts:
    """Trajectories of 1 to 4 rows in arbitrary states, `per_batch` of them in each replicate's batch."""
    rng = np.random.default_rng(seed)
    n = per_batch * policy.theta.shape[0]
    length = rng.integers(1, 5, n)
    offsets = np.concatenate([[0], np.cumsum(length)])
    m = int(offsets[-1])
    state = rng.integers(0, 3, m)
    columns = {"state": state} if weight is None else {"state": state, "weight": weight[:m]}
    plain = Rollouts.flat(
        offsets=offsets,
        group=np.arange(n),
        batch=np.repeat(np.arange(n // per_batch), per_batch),
        reward=rng.normal(size=m),
        observation=state,
        action=rng.integers(0, 2, m),
        columns=columns,
    )
    return plain.with_columns(log_prob=policy.log_prob(plain))


def numeric_gradient(function, theta: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of a function of theta (R, P) that returns (R,), each replicate's own parameters only."""
    out = np.empty_like(theta)
    for p in range(theta.shape[1]):
        ahead, behind = theta.copy(), theta.copy()
        ahead[:, p] += step
        behind[:, p] -= step
        out[:, p] = (function(ahead) - function(behind)) / (2 * step)
    return out
