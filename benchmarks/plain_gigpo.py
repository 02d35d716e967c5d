"""GiGPO as one writes it without a library: dictionaries of lists and loops over rows.

It is the reference that the speed of `creditsim` is stated against, and a second opinion on its numbers: statistics per
trajectory in a task group, per row in a (group, observation) step group, divisor n - 1, groups of one give 0.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

__all__ = ["gigpo_arrays", "gigpo_lists"]

_EPS = 1e-6


def gigpo_arrays(
    reward: np.ndarray, observation: np.ndarray, offsets: np.ndarray, group: np.ndarray, gamma: float
) -> np.ndarray:
    """Advantage (M,) from NumPy arrays, row by row, NumPy's mean and std per group: the shape of the published code."""
    returns = np.zeros(len(reward))
    scores = defaultdict(list)
    steps = defaultdict(list)
    for i in range(len(group)):
        running = 0.0
        for row in reversed(range(offsets[i], offsets[i + 1])):
            running = reward[row] + gamma * running
            returns[row] = running
        scores[group[i]].append(reward[offsets[i] : offsets[i + 1]].sum())
        for row in range(offsets[i], offsets[i + 1]):
            steps[group[i], observation[row]].append(returns[row])
    episode_statistics = {key: _array_moments(values) for key, values in scores.items()}
    step_statistics = {key: _array_moments(values) for key, values in steps.items()}
    advantage = np.zeros(len(reward))
    for i in range(len(group)):
        mean, std = episode_statistics[group[i]]
        episode = (reward[offsets[i] : offsets[i + 1]].sum() - mean) / (std + _EPS)
        for row in range(offsets[i], offsets[i + 1]):
            mean, std = step_statistics[group[i], observation[row]]
            advantage[row] = episode + (returns[row] - mean) / (std + _EPS)
    return advantage


def _array_moments(values: list[float]) -> tuple[float, float]:
    if len(values) == 1:
        return float(values[0]), 1.0
    return float(np.mean(values)), float(np.std(values, ddof=1))


def gigpo_lists(
    reward: Sequence[float], observation: Sequence[int], offsets: Sequence[int], group: Sequence[int], gamma: float
) -> list[float]:
    """The same from Python lists with sums written out: about as fast as plain Python gets."""
    returns = [0.0] * len(reward)
    scores: dict[int, list[float]] = {}
    steps: dict[tuple[int, int], list[float]] = {}
    score_of = []
    for i, task in enumerate(group):
        begin, end = offsets[i], offsets[i + 1]
        running = 0.0
        for row in range(end - 1, begin - 1, -1):
            running = reward[row] + gamma * running
            returns[row] = running
        score = sum(reward[begin:end])
        score_of.append(score)
        scores.setdefault(task, []).append(score)
        for row in range(begin, end):
            steps.setdefault((task, observation[row]), []).append(returns[row])
    episode_statistics = {key: _list_moments(values) for key, values in scores.items()}
    step_statistics = {key: _list_moments(values) for key, values in steps.items()}
    advantage = []
    for i, task in enumerate(group):
        mean, factor = episode_statistics[task]
        episode = (score_of[i] - mean) * factor
        for row in range(offsets[i], offsets[i + 1]):
            mean, factor = step_statistics[task, observation[row]]
            advantage.append(episode + (returns[row] - mean) * factor)
    return advantage


def _list_moments(values: list[float]) -> tuple[float, float]:
    """Mean and 1 / (std + eps)."""
    n = len(values)
    mean = sum(values) / n
    if n == 1:
        return mean, 1.0
    std = math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1))
    return mean, 1.0 / (std + _EPS)
