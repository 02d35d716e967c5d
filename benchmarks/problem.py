"""The two problems that lines share: a table to roll out on, and one ragged batch of an LLM agent's size."""

from __future__ import annotations

from functools import cache

import numpy as np

from creditsim.mdp import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts

__all__ = ["EPISODES", "batch", "policy", "table"]

EPISODES = 32_768
_STATES, _ACTIONS, _BRANCHES, _HORIZON = 50, 4, 4, 30
_PROMPTS, _PER_PROMPT, _OBSERVATIONS = 256, 8, 48


@cache
def table() -> TabularMDP:
    """50 states, 4 actions, 4 successors, horizon 30; reward 1 on entering a goal that few episodes find, else 0."""
    rng = np.random.default_rng(0)
    shape = (_STATES, _ACTIONS, _BRANCHES)
    goal = _STATES - 1
    successor = np.stack([rng.permutation(goal)[:_BRANCHES] for _ in range(_STATES * _ACTIONS)]).reshape(shape)
    successor[7, 2, 1] = goal
    return TabularMDP.build(
        successor=successor,
        probability=rng.dirichlet(np.ones(_BRANCHES), shape[:2]),
        reward=(successor == goal).astype(float),
        terminal=np.arange(_STATES) == goal,
        horizon=_HORIZON,
        name="benchmark",
    )


def policy() -> SoftmaxPolicy:
    """A softmax policy with normal logits."""
    return SoftmaxPolicy.random(table(), seed=1)


@cache
def batch() -> Rollouts:
    """256 prompts x 8 trajectories x 10..90 steps (about 102,400 rows), a 0/1 reward at the end, integer ids.

    Each prompt has 48 observations of its own, so that rows meet in step groups of about eight.
    """
    rng = np.random.default_rng(0)
    n = _PROMPTS * _PER_PROMPT
    length = rng.integers(10, 91, n)
    offsets = np.concatenate([[0], np.cumsum(length)])
    rows = int(offsets[-1])
    group = np.repeat(np.arange(_PROMPTS), _PER_PROMPT)
    reward = np.zeros(rows)
    reward[offsets[1:] - 1] = rng.integers(0, 2, n)
    return Rollouts.flat(
        offsets=offsets,
        group=group,
        reward=reward,
        observation=_OBSERVATIONS * np.repeat(group, length) + rng.integers(0, _OBSERVATIONS, rows),
        action=rng.integers(0, 4, rows),
        columns={"value": rng.normal(0.5, 0.2, rows)},
    )
