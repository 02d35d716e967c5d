"""Dynamic sampling: groups whose returns are all equal are drawn again (DAPO)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.base import ExtendingSampler, State, design

__all__ = ["filtered"]


@design(
    "filtered",
    paper="arXiv:2503.14476",
    evidence="paper",
    makes=("generated", "generated_rows"),
    presets={"paper": {"last_try": "mask"}, "verl-agent": {"last_try": "keep"}},
)
def filtered(
    sampler: ExtendingSampler,
    policy: Any,
    state: State,
    *,
    group_size: int = 8,
    tries: int = 10,
    tasks: Literal["new", "same"] = "new",
    last_try: Literal["keep", "mask"] = "keep",
) -> tuple[Rollouts, State]:
    """Draw groups again until their trajectories do not all have the same return, at most `tries` times.

    Kept groups follow the law of a group given that its returns differ: with success probability p and n members the
    success rate of kept groups is (p - p^n) / (1 - p^n - (1-p)^n), and 1 / (1 - p^n - (1-p)^n) groups are drawn for
    each, were tries unlimited.
    Returns are undiscounted sums of rewards, before any penalty (DAPO; verl-agent, evidence: code via notes).
    `tasks`: "new" draws another task each time (DAPO), "same" stays with the start state. `last_try`: what happens to a
    group that is still all equal in its last try: "keep" leaves it in (verl-agent), "mask" gives its rows `weight` 0.
    Each place in the batch is redrawn alone, where the libraries draw whole batches of prompts and cut the surplus:
    kept groups have the same law, fewer are generated.
    Keeps the last try of every group: N = batches * groups * group_size trajectories, ordered by group; the rows of
    earlier tries are dropped. Makes trajectory columns `generated` and `generated_rows` (N,): trajectories and rows
    generated for the trajectory's group over all tries, dropped ones included.
    Errors: InputError for a group size below 2 or no try.
    """
    choose("tasks", tasks, ("new", "same"))
    choose("last_try", last_try, ("keep", "mask"))
    if group_size < 2:
        raise InputError("group_size", group_size, "at least 2; one trajectory is always equal to itself")
    if tries < 1:
        raise InputError("tries", tries, "at least 1")
    n_groups = sampler.batches * sampler.groups
    rollouts = sampler.extend(copies=group_size, policy=policy)
    last = np.arange(n_groups * group_size).reshape(n_groups, group_size)
    equal = _all_equal(rollouts, last)
    for _ in range(tries - 1):
        if not equal.any():
            break
        sampler = sampler.fresh() if tasks == "new" else sampler
        before = rollouts.n_trajectories
        rollouts = sampler.extend(rollouts, copies=np.where(equal, group_size, 0), policy=policy)
        last[equal] = np.arange(before, rollouts.n_trajectories).reshape(-1, group_size)
        equal[equal] = _all_equal(rollouts, last[equal])
    generated = np.bincount(rollouts.group, minlength=n_groups)
    generated_rows = np.bincount(rollouts.group, rollouts.length, n_groups).astype(np.int64)
    kept = rollouts.take(last.reshape(-1))
    if last_try == "mask":
        kept = kept.with_columns(weight=np.where(equal[kept.group_rows], 0.0, 1.0))
    return kept.with_trajectory_columns(
        generated=generated[kept.group], generated_rows=generated_rows[kept.group]
    ), state


def _all_equal(rollouts: Rollouts, members: np.ndarray) -> np.ndarray:
    total = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)[members]
    return total.max(axis=1) == total.min(axis=1)
