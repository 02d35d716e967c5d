"""The plain policy-gradient step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.updates.base import RowPolicy, State, row_weight, update
from creditsim.updates.optimiser import ascend

__all__ = ["policy_gradient_estimate", "reinforce"]


@update("reinforce", paper="Williams 1992, doi:10.1007/BF00992696", evidence="paper", needs=("advantage",))
def reinforce(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    learning_rate: float = 1.0,
    optimiser: str = "sgd",
) -> tuple[RowPolicy, State]:
    """One step up the score-function gradient, for each replicate on its own batch.

    g_b = (1/N_b) sum over rows i of batch b of w_i A_i d log pi(a_i|s_i) / d theta,  theta_b <- theta_b + lr g_b (sgd).

    N_b counts the batch's trajectories that have a row with w > 0, so auxiliary trajectories (weight 0) do not dilute
    the step. With A the return to go, no discount and independent trajectories, E[g_b] is the exact gradient of J.
    `optimiser`: sgd | adam. Degenerate: a batch without weighted rows, or with all advantages 0, does not move (sgd).
    """
    gradient = policy_gradient_estimate(policy, rollouts, credit["advantage"])
    theta, state = ascend(policy.theta, gradient, state, learning_rate=learning_rate, optimiser=optimiser)
    return policy.with_theta(theta), state


def policy_gradient_estimate(policy: RowPolicy, rollouts: Rollouts, advantage: np.ndarray) -> np.ndarray:
    """(R, P) the gradient g_b of `reinforce`, for advantage (M,)."""
    weight = row_weight(rollouts)
    counted = np.zeros(rollouts.n_trajectories, bool)
    counted[rollouts.trajectory[weight > 0]] = True
    number = np.bincount(rollouts.batch[counted], minlength=policy.theta.shape[0])
    total = policy.pullback(rollouts, weight * advantage)
    return total / np.maximum(number, 1)[:, None]
