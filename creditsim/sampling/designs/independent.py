"""Independent groups: what GRPO and its relatives sample."""

from __future__ import annotations

from typing import Any

from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.base import ExtendingSampler, State, design

__all__ = ["independent"]


@design("independent", paper="arXiv:2402.03300", evidence="paper")
def independent(sampler: ExtendingSampler, policy: Any, state: State, *, group_size: int = 8) -> tuple[Rollouts, State]:
    """Draw `group_size` independent trajectories per group, all from the group's start state.

    Returns N = batches * groups * group_size trajectories, ordered by group. Remembers nothing.
    Errors: InputError for a group size below 1.
    """
    return sampler.extend(copies=group_size, policy=policy), state
