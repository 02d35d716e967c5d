"""Planning on counts in plain Python, and small tables to plan on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from creditsim.mdp import FixedPolicy, SoftmaxPolicy, TabularMDP, make, with_time
from creditsim.mdp.rows import TablePolicy
from creditsim.planning_tables import planning_tables
from creditsim.rollouts import Rollouts
from creditsim.sampling.table import TableSampler
from creditsim.updates.planning.model import TABLES, Model

REPLICATES = 3


def table(**params: Any) -> TabularMDP:
    return with_time(make("layered@tiny", **{"paying": 0.5, "seed": 3, **params}))


def state_of(mdp: TabularMDP) -> dict[str, Any]:
    tables = planning_tables(mdp)
    return {name: tables[name]() for name in (*TABLES, "baseline", "baseline_value")}


def learner_of(mdp: TabularMDP, replicates: int = REPLICATES) -> TablePolicy:
    return TablePolicy(SoftmaxPolicy.uniform(mdp, replicates), mdp)


def drawn(mdp: TabularMDP, episodes: int, seed: int = 0, replicates: int = REPLICATES) -> Rollouts:
    uniform = learner_of(mdp, replicates).table
    sampler = TableSampler(mdp, seed=seed, batches=replicates, groups=episodes)
    return sampler.extend(policy=FixedPolicy(uniform))


def slow_bound(
    model: Model, counts: np.ndarray, s: int, a: int, value: dict[int, float], sign: float, delta: float, scale: float
) -> float:
    n = int(counts[s, a].sum())
    left = float(model.steps_left[s])
    if n == 0:
        return left if sign > 0 else 0.0
    outcomes = []
    for b, times in enumerate(counts[s, a]):
        x = model.branch_reward[s, a, b] + model.discount * value[int(model.successor[s, a, b])]
        outcomes += [x] * int(times)
    mean = math.fsum(outcomes) / n
    variance = math.fsum((x - mean) ** 2 for x in outcomes) / n
    cells = sum(bool(model.allowed_action[i, j]) for i in range(model.shape[0]) if model.steps_left[i] > 0
                for j in range(model.shape[1]))  # fmt: skip
    spread = max(model.shape[2] - 1, 1)
    k = (math.log(cells / delta) + spread * math.log(math.e * (1 + n / spread))) / n
    radius = scale * (math.sqrt(2 * variance * k) + 7 / 3 * left * k)
    return min(max(mean + sign * radius, 0.0), left)


def slow_best(
    model: Model, counts: np.ndarray, sign: float, delta: float = 0.1, scale: float = 1.0
) -> tuple[dict[int, float], dict[int, int]]:
    """Values and choices of one replicate, by recursion on the steps left."""
    value: dict[int, float] = {s: 0.0 for s in range(model.shape[0])}
    choice: dict[int, int] = {s: 0 for s in range(model.shape[0])}
    for left in range(1, int(model.steps_left.max()) + 1):
        for s in np.flatnonzero(model.steps_left == left):
            allowed = np.flatnonzero(model.allowed_action[s])
            q = {int(a): slow_bound(model, counts, int(s), int(a), value, sign, delta, scale) for a in allowed}
            top = max(q.values())
            choice[int(s)] = min(a for a, x in q.items() if x == top)
            value[int(s)] = top
    return value, choice


def slow_lower(model: Model, counts: np.ndarray, pi: np.ndarray, delta: float = 0.1, scale: float = 1.0) -> float:
    """Lower bound at the start of one replicate's policy pi (S, A)."""
    value: dict[int, float] = {s: 0.0 for s in range(model.shape[0])}
    for left in range(1, int(model.steps_left.max()) + 1):
        for s in np.flatnonzero(model.steps_left == left):
            value[int(s)] = math.fsum(
                pi[s, a] * slow_bound(model, counts, int(s), a, value, -1.0, delta, scale)
                for a in range(model.shape[1]) if pi[s, a] > 0
            )  # fmt: skip
    return math.fsum(p * value[s] for s, p in enumerate(model.start))
