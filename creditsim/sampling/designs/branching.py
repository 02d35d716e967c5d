"""Trees: trajectories that fork after chosen steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.base import ExtendingSampler, State, design

__all__ = ["branching", "step_ends"]


def step_ends(rollouts: Rollouts) -> np.ndarray:
    """(M,) bool: the last decision of each step, in a trajectory that does not stop inside it."""
    ends = np.ones(rollouts.n_rows, bool)
    same = rollouts.trajectory[1:] == rollouts.trajectory[:-1]
    ends[:-1] = ~same | (rollouts.step[1:] != rollouts.step[:-1])
    return ends


@design("branching", paper="arXiv:2505.23564", evidence="inferred")
def branching(
    sampler: ExtendingSampler,
    policy: Any,
    state: State,
    *,
    group_size: int = 1,
    branches: int = 2,
    after_steps: Sequence[int] = (1, 2),
) -> tuple[Rollouts, State]:
    """Draw `group_size` trajectories per group and fork each, after every number of steps named, into `branches`.

    After step k every trajectory that still goes on gets branches - 1 siblings, which run to the end and fork in turn
    at later k; so group_size * branches^len(after_steps) leaves where no episode ends early. Forks stand between steps.
    A form of tree sampling as in SPO-tree (arXiv:2505.23564); its segment cuts are not reproduced (evidence: inferred).
    Returns a tree: estimators not written for trees want its `paths()`. Errors: InputError for steps below 1 or not
    rising, and for fewer than one branch.
    """
    if branches < 1:
        raise InputError("branches", branches, "at least 1")
    if any(k < 1 for k in after_steps) or list(after_steps) != sorted(set(after_steps)):
        raise InputError("after_steps", tuple(after_steps), "rising numbers >= 1")
    rollouts = sampler.extend(copies=group_size, policy=policy)
    for k in after_steps:
        forks = np.flatnonzero((rollouts.step == k - 1) & step_ends(rollouts) & sampler.continues(rollouts))
        rollouts = sampler.extend(rollouts, after=forks, copies=branches - 1, policy=policy)
    return rollouts, state
