"""What the bridge's tests share: bare prompts, tables told in words, and samplers of both kinds side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rollouts import Rollouts
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.envs.base import Observation
from llm_bridge.envs.fleet import Fleet
from llm_bridge.envs.table import TableTasks, table
from llm_bridge.policies.base import Prompt
from llm_bridge.prompts import Turn

ALPHA = 1e-6
DESIGNS: dict[str, dict[str, Any]] = {
    "independent": {"group_size": 4},
    "independent_with_greedy": {"group_size": 3},
    "branching": {"group_size": 2, "branches": 3, "after_steps": (1, 3)},
    "vine": {"group_size": 2, "copies": 3},
    "filtered": {"group_size": 3, "tries": 2},
    "dfs": {"group_size": 3},
}


def bare(seen: Observation, turns: Sequence[Turn]) -> Prompt:
    """The observation alone is the prompt, so that a table of laws by observation is a policy."""
    return Prompt(seen.text, seen.admissible)


def told(family: str = "chain@tiny", **settings: Any) -> TableTasks:
    return table(family=family, settings=settings)


def text_sampler(tasks: TableTasks, *, slots: int = 16, workers: int = 0, **options: Any) -> TextSampler:
    """A sampler whose ids are the MDP's own."""
    fleet = options.pop("fleet", None) or Fleet(tasks, slots, workers=workers)
    return TextSampler(fleet, bare, interner=Interner(tasks.vocabulary()), **options)


def fixed_policy(mdp: TabularMDP, seed: int = 0) -> SoftmaxPolicy:
    """One allowed action per observation, with probability 1: nothing is left to chance."""
    rng = np.random.default_rng(seed)
    table = np.zeros((mdp.n_contexts, mdp.n_actions))
    for context in range(mdp.n_contexts):
        allowed = np.flatnonzero(mdp.mask[mdp.context == context].all(axis=0))
        table[context, rng.choice(allowed)] = 1.0
    return SoftmaxPolicy.from_probabilities(mdp, table)


def returns(rollouts: Rollouts) -> np.ndarray:
    return np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)


def same(a: Rollouts, b: Rollouts, names: Sequence[str]) -> None:
    """Both have the same bits and types in what is named."""
    for name in names:
        x, y = np.asarray(a.column(name)), np.asarray(b.column(name))
        assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes(), name
