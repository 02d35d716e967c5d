"""Tables of an environment whose policy sees the step: what a planner keeps counts on, and a safe first policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.exact.dp import optimal, solve
from creditsim.mdp.checks import fraction
from creditsim.mdp.table import TabularMDP

__all__ = ["half_optimal", "planning_tables", "policy_values", "steps_left", "turn_of_state"]


def planning_tables(mdp: TabularMDP) -> dict[str, Callable[[], Any]]:
    """How to make each table, by name.

    `successor`, `branch_reward` (S,A,B), `allowed_action` (S,A), `steps_left` (S,), `start` (S,), `discount`: see
    `creditsim.updates.planning.Model`. `baseline` (S,A): `half_optimal`; `baseline_value`: its exact return.
    `turn_of_state` (S,): see `turn_of_state`. `policy_values`: a function, see `policy_values`.
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
        "turn_of_state": lambda: turn_of_state(mdp),
        "policy_values": lambda: partial(policy_values, mdp),
    }


def turn_of_state(mdp: TabularMDP) -> np.ndarray:
    """(S,) the step at which each state is met by some policy; -1 where nobody acts, -2 where at several steps."""
    turn = np.full(mdp.n_states, -1)
    here = mdp.start > 0
    for step in range(mdp.horizon):
        inside = here.copy()
        while here.any():  # decisions of one step lead to each other before the next step begins
            following = _led_to(mdp, here)
            here = following & ~mdp.tick & ~inside
            inside |= here
        inside &= ~mdp.terminal
        turn[inside] = np.where(turn[inside] == -1, step, -2)
        here = _led_to(mdp, inside) & mdp.tick & ~mdp.terminal
    return turn


def _led_to(mdp: TabularMDP, states: np.ndarray) -> np.ndarray:
    """(S,) bool: what some allowed action in `states` may lead to."""
    possible = (mdp.probability > 0) & mdp.mask[:, :, None] & (states & ~mdp.terminal)[:, None, None]
    following = np.zeros(mdp.n_states, bool)
    following[mdp.successor[possible]] = True
    return following


def policy_values(mdp: TabularMDP, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact values of policies (R,S,A): Q (R,S,A), averaged over the steps at which a state is met, and mass (R,S).

    The mass of a state is the expected sum of gamma^t over the steps t at which it is met, its weight in the gradient
    of J. States that are not met have Q = 0 and mass 0.
    """
    q, mass = np.zeros(pi.shape), np.zeros(pi.shape[:2])
    for r, table in enumerate(pi):
        solution = solve(mdp, table)
        met = mdp.gamma ** np.arange(mdp.horizon)[:, None] * np.where(mdp.terminal, 0.0, solution.occupancy)
        mass[r] = met.sum(axis=0)
        total = np.einsum("ts,tsa->sa", met, solution.q[:0:-1])
        q[r] = total / np.where(mass[r] > 0, mass[r], 1.0)[:, None]
    return q, mass


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
