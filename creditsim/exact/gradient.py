"""The exact policy gradient of the policy that sees only its context."""

from __future__ import annotations

from typing import Literal

import numpy as np

from creditsim.errors import choose
from creditsim.exact.dp import Solution, solve
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP

__all__ = ["gradient_weight", "policy_gradient", "score_norm"]

Occupancy = Literal["discounted", "undiscounted"]


def gradient_weight(solution: Solution, occupancy: Occupancy = "discounted") -> np.ndarray:
    """(S,A) weight of each d log pi(a|s) in the gradient: sum_t gamma^t d_t(s) pi_t(a|s) A_{H-t}(s,a).

    `occupancy="undiscounted"` leaves out gamma^t, as most implementations do; the result is then no gradient of J.
    """
    choose("occupancy", occupancy, ("discounted", "undiscounted"))
    horizon = solution.mdp.horizon
    power = solution.gamma ** np.arange(horizon) if occupancy == "discounted" else np.ones(horizon)
    mass = power[:, None] * solution.occupancy
    by_step = solution.advantage[:0:-1] * np.where(solution.mdp.terminal[:, None], 0.0, solution.pi)
    return np.einsum("ts,tsa->sa", mass, by_step)


def policy_gradient(
    mdp: TabularMDP, policy: Policy, gamma: float | None = None, *, occupancy: Occupancy = "discounted"
) -> np.ndarray:
    """Return dJ/dtheta (..., P), exactly, for a policy with parameters (..., P); leading axes are replicates.

    dJ/dtheta = sum_t gamma^t sum_s d_t(s) sum_a pi(a|s) A_{H-t}(s,a) d log pi(a|context(s))/dtheta: values are those of
    the hidden state, scores those of what the policy sees, so parameters shared by aliased states get the sum. Source:
    the policy gradient theorem at a finite horizon. Errors as in `solve`.
    """
    pi = policy.probabilities(mdp)
    tables = pi.reshape(-1, *pi.shape[-2:])
    weight = np.stack([gradient_weight(solve(mdp, table, gamma), occupancy) for table in tables])
    return policy.pullback(mdp, weight.reshape(pi.shape))


def score_norm(mdp: TabularMDP, policy: Policy) -> np.ndarray:
    """Return |d log pi(a|s)/dtheta|^2 as (S,A), 0 where nobody acts; for a softmax table 1 - 2 pi_a + sum_a' pi_a'^2.

    One pullback per state: meant for small MDPs and a policy without replicates.
    """
    norm = np.zeros((mdp.n_states, mdp.n_actions))
    for s in np.flatnonzero(~mdp.terminal):
        one = np.zeros((mdp.n_actions, mdp.n_states, mdp.n_actions))
        one[:, s, :] = np.diag(mdp.mask[s].astype(np.float64))
        norm[s] = np.square(policy.pullback(mdp, one)).sum(axis=-1)
    return norm
