"""Choices behind one observation, and what leave-one-out means over nested context groups estimate there, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.exact.compositions import compositions
from creditsim.exact.dp import solve
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make, memory_product
from creditsim.rollouts import Rollouts
from creditsim.segments import context_ids, factorize, reverse_scan, segment_count, segment_sum

__all__ = [
    "GroupLaw",
    "Task",
    "Windows",
    "aliased_task",
    "context_values",
    "gap_task",
    "group_law",
    "level_weights",
    "spread_task",
    "window_ids",
]

Windows = Callable[[Rollouts, int], np.ndarray]
"""Rollouts and k -> id of each row's group at level k (M,); -1 for rows without one."""


@dataclass(frozen=True, eq=False)
class Task:
    """An aliased choice: the MDP with a policy that remembers, and its H choice states, one per history of cues."""

    mdp: TabularMDP
    policy: SoftmaxPolicy

    @cached_property
    def choice(self) -> np.ndarray:
        """(H,) states in which there is something to choose."""
        return np.flatnonzero(self.mdp.mask.all(axis=1) & ~self.mdp.terminal)

    @property
    def logit(self) -> np.ndarray:
        """(H,) position in theta of the first logit of each choice (the second has minus its gradient)."""
        return self.mdp.context[self.choice] * self.mdp.n_actions

    @cached_property
    def value(self) -> np.ndarray:
        """(H,) exact value of the policy at each choice, the last step of the episode."""
        return solve(self.mdp, self.policy.probabilities(self.mdp)).value[1, self.choice]

    @cached_property
    def mass(self) -> np.ndarray:
        """(H,) probability of each choice."""
        return solve(self.mdp, self.policy.probabilities(self.mdp)).occupancy.sum(axis=0)[self.choice]


def aliased_task(
    payoff: Sequence[Sequence[float]],
    right: Sequence[float] | np.ndarray,
    *,
    delay: int = 1,
    memory: int | None = None,
    noise: float = 0.0,
    cue: float = 0.5,
) -> Task:
    """Two cues in each of `delay` steps, then one of two actions; all histories of cues end in one observation.

    `payoff` (H, 2), H = 2**delay, oldest cue first; `right` (H,) probability of action 1. The policy sees the last
    `memory` + 1 observations (default `delay`, so all that matters); where it cannot tell histories apart, the first of
    them gives its probabilities. `cue` is the chance of cue 0.
    """
    rows = tuple(tuple(map(float, row)) for row in payoff)
    base = make("aliased", cues=2, delay=delay, payoff=rows, noise=noise)
    base.probability[~base.mask.all(axis=1) & (base.probability[:, 0] == 0.5).all(axis=1), 0] = cue, 1.0 - cue
    product = memory_product(base, delay if memory is None else memory)
    mdp = product.mdp
    table = np.full((mdp.n_contexts, 2), 0.5)
    histories = np.flatnonzero(base.mask.all(axis=1) & ~base.terminal)
    for h in reversed(range(histories.size)):
        table[mdp.context[product.state == histories[h]]] = 1.0 - right[h], right[h]
    return Task(mdp, SoftmaxPolicy.from_probabilities(mdp, table))


def gap_task(gap: float, noise: float = 0.0, cue: float = 0.5) -> Task:
    """Two contexts behind one observation whose values differ by `gap`; the better action is another one in each.

    Policy 0.3/0.7 with returns 0/1 (value 0.7), and 0.8/0.2 with returns g + 1/g, g = gap - 0.1 (value 0.7 + gap).
    """
    g = gap - 0.1
    return aliased_task(((0.0, 1.0), (g + 1.0, g)), (0.7, 0.2), noise=noise, cue=cue)


def spread_task(spread: float, noise: float = 0.0) -> Task:
    """Four histories of two cues behind one observation; their values have standard deviation `spread`.

    V(o, r) = spread (o + r)/sqrt(2), o and r being +-1, so that either cue explains half of the variance. One action is
    worth 1 more than the other: action 1 after an old cue -1, action 0 after +1; the policy is that of `gap_task`.
    """
    right = np.array([0.7, 0.7, 0.2, 0.2])
    effect = np.array([1.0, 1.0, -1.0, -1.0])
    value = spread * np.array([-2.0, 0.0, 0.0, 2.0]) / np.sqrt(2.0)
    return aliased_task(
        np.stack([value - right * effect, value + (1 - right) * effect], 1).tolist(), right, delay=2, noise=noise
    )


def context_values(task: Task, k: int) -> np.ndarray:
    """(H,) V(c_k) = E[V(s) | last k+1 observations] at each choice, under the visits of the policy."""
    product = memory_product(task.mdp, k)
    window = {int(s): m for s, m in zip(product.state, product.memory, strict=True)}
    seen: dict[object, int] = {}
    label = np.array([seen.setdefault(window[int(s)], len(seen)) for s in task.choice])
    total = np.bincount(label, task.mass * task.value) / np.bincount(label, task.mass)
    return total[label]


def window_ids(rollouts: Rollouts, k: int) -> np.ndarray:
    """HGPO's groups: rows of a task group that share their last k+1 observations, where the episode has so many."""
    ids, _ = factorize(rollouts.group_rows, context_ids(rollouts, k)[0])
    place = np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory]
    return np.where(place >= k, ids, -1)


def level_weights(depth: int, alpha: float, weights: str) -> np.ndarray:
    """(K+1,) weights of the levels k = 0..K before they are normalised: (k+2)^alpha (code) or (k+1)^alpha (paper)."""
    return (np.arange(depth + 1) + (2.0 if weights == "code" else 1.0)) ** alpha


@dataclass(frozen=True, eq=False)
class GroupLaw:
    """All rows at given states of all group compositions; R rows, K+1 levels.

    `place` (R,) index of the row's state, `chance` (R,) probability of its composition, `to_go` (R,) return from it on,
    `exact` (R,) its exact advantage, `value` (R,) its exact value, `size` (K+1,R) members of its groups, itself
    included (0: no group), `others` (K+1,R) mean return of the other members (0: none).
    """

    place: np.ndarray
    chance: np.ndarray
    to_go: np.ndarray
    exact: np.ndarray
    value: np.ndarray
    size: np.ndarray
    others: np.ndarray

    def mixed(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Baseline (R,) = weighted mean of `others` over the levels that have any, and where there is one."""
        live = np.where(self.size >= 2, np.asarray(weights)[:, None], 0.0)
        total = live.sum(axis=0)
        return (live * self.others).sum(axis=0) / np.where(total > 0, total, 1.0), total > 0

    def raw(self, weights: np.ndarray) -> np.ndarray:
        """Advantage (R,) without leave-one-out: weighted mean of G - (mean with the row itself), 0 without company."""
        live = np.where(self.size >= 2, np.asarray(weights)[:, None], 0.0)
        own = (self.to_go - self.others) * (1.0 - 1.0 / np.maximum(self.size, 1))
        total = live.sum(axis=0)
        return (live * own).sum(axis=0) / np.where(total > 0, total, 1.0)

    def mean(self, x: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """E[x | row at the state, where] of each state."""
        weight = self.chance if where is None else self.chance * where
        return np.bincount(self.place, weight * x) / np.bincount(self.place, weight)

    def pooled(self, x: np.ndarray, where: np.ndarray | None = None) -> float:
        """E[x] over all rows, where."""
        weight = self.chance if where is None else self.chance * where
        return float(weight @ x / weight.sum())

    def sizes(self, k: int) -> np.ndarray:
        """P(group of m members at level k), m = 0, 1, ..., seen from a row."""
        return np.bincount(self.size[k], self.chance) / self.chance.sum()


def group_law(
    mdp: TabularMDP, policy: SoftmaxPolicy, states: np.ndarray, n: int, depth: int, windows: Windows = window_ids
) -> GroupLaw:
    """Enumerate groups of `n` trajectories and keep the rows at `states`, with their groups at levels 0..`depth`."""
    pi = policy.probabilities(mdp)
    solution = solve(mdp, pi)
    law = enumerate_trajectories(mdp, pi)
    at = np.full(mdp.n_states, -1)
    at[states] = np.arange(len(states))
    parts = []
    for index, probability in compositions(law, group_size=n):
        r = law.compose(index)
        place = at[r.columns["state"]]
        keep = place >= 0
        to_go = reverse_scan(r.reward, mdp.gamma, r.offsets)
        size, others = np.zeros((depth + 1, r.n_rows), np.int64), np.zeros((depth + 1, r.n_rows))
        for k in range(depth + 1):
            ids = windows(r, k)
            groups = int(ids.max()) + 1
            size[k] = np.where(ids >= 0, segment_count(to_go, ids, groups)[ids], 0)
            total = segment_sum(to_go, ids, groups)[ids]
            others[k] = np.where(size[k] >= 2, (total - to_go) / np.maximum(size[k] - 1, 1), 0.0)
        exact, value = solution.row_advantage(r)[keep], solution.row_value(r)[keep]
        parts.append(
            (place[keep], probability[r.batch_rows][keep], to_go[keep], exact, value, size[:, keep], others[:, keep])
        )
    return GroupLaw(*(np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)))
