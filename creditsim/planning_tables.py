"""Tables of an environment whose policy sees the step: what a planner keeps counts on, and a safe first policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.exact.dp import optimal, solve
from creditsim.mdp.checks import fraction
from creditsim.mdp.table import TabularMDP

__all__ = ["half_optimal", "planning_tables", "steps_left"]


def planning_tables(mdp: TabularMDP) -> dict[str, Callable[[], Any]]:
    """How to make each table, by name.

    `successor`, `branch_reward` (S,A,B), `allowed_action` (S,A), `steps_left` (S,), `start` (S,), `discount`: see
    `creditsim.updates.planning.Model`. `baseline` (S,A): `half_optimal`; `baseline_value`: its exact return.
    """
    return {
        "successor": lambda: mdp.successor,
        "branch_reward": lambda: mdp.scalar_reward,
        "allowed_action": lambda: mdp.mask,
        "steps_left": lambda: steps_left(mdp),
        "start": lambda: mdp.start,
        "discount": lambda: mdp.gamma,
        "baseline": lambda: half_optimal(mdp),
        "baseline_value": lambda: solve(mdp, half_optimal(mdp)).j,
    }


def steps_left(mdp: TabularMDP) -> np.ndarray:
    """(S,) steps left in each state, H - t in those met at step t, 0 where nobody acts (terminal, cut, never met).

    Errors: InputError for a state that is met at two different steps (see `creditsim.mdp.with_time`), and for states
    that begin no step.
    """
    if not mdp.tick[~mdp.terminal].all():
        raise InputError("environment", f"{mdp.name}, with several decisions in a step", "one decision in each step")
    left = np.zeros(mdp.n_states)
    here = mdp.start > 0
    for n in range(mdp.horizon, 0, -1):
        here &= ~mdp.terminal
        if (left[here] > 0).any():
            raise InputError("environment", f"{mdp.name}, where a state recurs", "states that tell the step: with_time")
        left[here] = n
        moves = (mdp.probability[here] > 0) & mdp.mask[here][:, :, None]
        following = np.zeros_like(here)
        following[mdp.successor[here][moves]] = True
        here = following
    return left


def half_optimal(mdp: TabularMDP, share: float = 0.5) -> np.ndarray:
    """(S,A) a policy that is safe but not best: the optimal action with probability `share`, else any allowed one.

    The optimal action is that of the step in which the state is met. Errors as in `steps_left`.
    """
    left = steps_left(mdp)
    best = optimal(mdp).pi
    step = np.where(left > 0, mdp.horizon - left, 0).astype(np.int64)
    allowed = mdp.mask | mdp.terminal[:, None]
    even = allowed / allowed.sum(axis=1, keepdims=True)
    return fraction("share", share) * best[step, np.arange(mdp.n_states)] + (1.0 - share) * even
