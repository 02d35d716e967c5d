"""Auxiliary rollouts from every state of a trajectory: VinePPO's Monte Carlo values."""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.base import ExtendingSampler, State, design
from creditsim.sampling.designs.branching import step_ends

__all__ = ["vine"]


@design("vine", paper="arXiv:2410.01679", evidence="code", makes=("weight",))
def vine(
    sampler: ExtendingSampler, policy: Any, state: State, *, group_size: int = 1, copies: int = 9
) -> tuple[Rollouts, State]:
    """Draw trajectories, then `copies` auxiliary ones from every state they pass through at the beginning of a step.

    The mean return of the auxiliary trajectories after a row estimates the value of its next state; those from the
    start (`parent` -1, `weight` 0) the value of the group's start state, once per group. They have `weight` 0: they
    enter no loss, and the main trajectory is not one of them (counting it would shrink the advantage by 1 - 1/copies).
    Order: group_size main trajectories per group, then those from the start, then those after each row in row order.
    States visited twice are valued twice; the official code values equal states once. Errors: InputError for sizes
    below 1.
    """
    rollouts = sampler.extend(copies=group_size, policy=policy)
    rows = np.flatnonzero(step_ends(rollouts) & sampler.continues(rollouts))
    rollouts = sampler.extend(rollouts, copies=copies, policy=policy, weight=0.0)
    return sampler.extend(rollouts, after=rows, copies=copies, policy=policy, weight=0.0), state
