"""Compensated weighted sums over enumerated batches: what exact moments are made of.

Every sum runs in row order and carries its compensation (Neumaier) from one chunk to the next, so that results do not
depend on how the enumeration was cut into chunks.
"""

from __future__ import annotations

import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.rollouts import Rollouts

__all__ = ["GradientSums", "GroupSums", "RowSums"]

_EQUAL = 1e-12
"""Returns of a group count as equal when they differ by less than this share of the largest."""


class RowSums:
    """Per key: expected rows, advantage, exact target, and squared distances of the advantage."""

    def __init__(self, n: int) -> None:
        self.sums, self.lost = np.zeros((5, n)), np.zeros((5, n))
        self.shift, self.seen = np.zeros(n), np.zeros(n, bool)

    def add(self, key: np.ndarray, value: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        """Add rows (M,): `weight` is the probability of the row's batch times the row's own weight."""
        n = self.shift.size
        if key.size and not (0 <= key.min() and key.max() < n):
            raise InputError("by", f"keys {key.min()} .. {key.max()}", f"0 .. {n - 1}")
        _add_rows(key, value, target, weight, self.sums, self.lost, self.shift, self.seen)

    def result(self) -> tuple[np.ndarray, ...]:
        """Keys met (K,), then per key: rows, mean, variance, mean target, mean squared error."""
        rows, first, second, target, error = self.sums + self.lost
        met = np.flatnonzero(rows > 0)
        rows, first, second, target, error = (x[met] for x in (rows, first, second, target, error))
        mean = first / rows
        return met, rows, self.shift[met] + mean, np.maximum(second / rows - mean**2, 0.0), target / rows, error / rows


class GradientSums:
    """Mean and covariance of g = (1/N) sum over rows of weight * advantage * score, one g per batch."""

    def __init__(self, score: np.ndarray, covariance: bool) -> None:
        p = score.shape[1]
        self.score = np.ascontiguousarray(score)
        self.full = covariance
        self.first, self.first_lost = np.zeros(p), np.zeros(p)
        shape = (p, p) if covariance else (1, p)
        self.second, self.second_lost = np.zeros(shape), np.zeros(shape)
        self.origin: np.ndarray | None = None

    def add(self, rollouts: Rollouts, entry: np.ndarray, value: np.ndarray, probability: np.ndarray) -> None:
        """Add batches: `entry` (M,) row of `score` (S*A, P), `value` (M,) weighted advantage, `probability` (B,)."""
        batch = rollouts.batch_rows
        order = np.arange(batch.size) if _sorted(batch) else np.argsort(batch, kind="stable")
        ends = np.searchsorted(batch[order], np.arange(rollouts.n_batches + 1))
        scale = 1.0 / np.maximum(_counted(rollouts), 1)
        if self.origin is None:
            rows = order[: ends[1]]
            self.origin = scale[0] * (value[rows] @ self.score[entry[rows]])
        _add_gradients(
            order, ends, entry, value, scale, probability, self.score, self.origin, self.full,
            self.first, self.first_lost, self.second, self.second_lost,
        )  # fmt: skip

    def result(self) -> tuple[np.ndarray, float, np.ndarray | None]:
        """Mean (P,), trace of the covariance, and the covariance (P,P) where it was asked for."""
        origin = np.zeros(self.score.shape[1]) if self.origin is None else self.origin
        first, second = self.first + self.first_lost, self.second + self.second_lost
        if not self.full:
            return origin + first, float(np.maximum(second[0] - first**2, 0.0).sum()), None
        lower = np.tril(second)
        covariance = lower + np.tril(lower, -1).T - np.outer(first, first)
        return origin + first, float(np.maximum(covariance.diagonal(), 0.0).sum()), covariance


class GroupSums:
    """Probability-weighted counts: batches, groups, degenerate groups, anchor groups, singleton anchor groups."""

    def __init__(self, n_observations: int) -> None:
        self.sums, self.lost = np.zeros(5), np.zeros(5)
        self.members = np.zeros(n_observations, np.int64)

    def add(self, rollouts: Rollouts, probability: np.ndarray) -> None:
        """Add batches with their probability (B,)."""
        leaves = rollouts.paths()[0] if rollouts.is_tree else rollouts
        returns = np.bincount(leaves.trajectory, leaves.reward, leaves.n_trajectories)
        low, high = np.full(rollouts.n_groups, np.inf), np.full(rollouts.n_groups, -np.inf)
        np.minimum.at(low, leaves.group, returns)
        np.maximum.at(high, leaves.group, returns)
        degenerate = high - low <= _EQUAL * np.maximum(np.abs(low), np.abs(high))
        group = rollouts.group_rows
        order = np.arange(group.size) if _sorted(group) else np.argsort(group, kind="stable")
        ends = np.searchsorted(group[order], np.arange(rollouts.n_groups + 1))
        batch = np.zeros(rollouts.n_groups, np.int64)
        batch[rollouts.group] = rollouts.batch
        observation = rollouts.observation
        top = int(observation.max()) + 1 if observation.size else 0
        if top > self.members.size:
            self.members = np.zeros(top, np.int64)
        _add_groups(order, ends, observation, degenerate, batch, probability, self.members, self.sums, self.lost)

    def result(self) -> tuple[float, float, float]:
        """Total probability, share of degenerate groups, share of singletons among anchor groups."""
        total, groups, degenerate, anchors, singletons = self.sums + self.lost
        return float(total), float(degenerate / groups), float(singletons / anchors)


def _sorted(ids: Array) -> bool:
    return bool((ids[1:] >= ids[:-1]).all())


def _counted(rollouts: Rollouts) -> np.ndarray:
    """(B,) trajectories of each batch that are in the loss: those with any row of positive weight."""
    weight = rollouts.columns.get("weight")
    if weight is None:
        return np.bincount(rollouts.batch, minlength=rollouts.n_batches)
    inside = np.bincount(rollouts.trajectory, weight > 0, rollouts.n_trajectories) > 0
    return np.bincount(rollouts.batch, inside, rollouts.n_batches)


@kernel
def _add_one(total: np.ndarray, lost: np.ndarray, i: int, x: float) -> None:
    s = total[i] + x
    if abs(total[i]) >= abs(x):
        lost[i] += (total[i] - s) + x
    else:
        lost[i] += (x - s) + total[i]
    total[i] = s


@kernel
def _add_rows(
    key: np.ndarray, value: np.ndarray, target: np.ndarray, weight: np.ndarray,
    sums: np.ndarray, lost: np.ndarray, shift: np.ndarray, seen: np.ndarray,
) -> None:  # fmt: skip
    for row in range(key.size):
        w, k = weight[row], key[row]
        if w == 0.0:
            continue
        if not seen[k]:
            # Squares are taken about the first value met, so that a constant has variance exactly zero.
            seen[k], shift[k] = True, value[row]
        away, error = value[row] - shift[k], value[row] - target[row]
        _add_one(sums[0], lost[0], k, w)
        _add_one(sums[1], lost[1], k, w * away)
        _add_one(sums[2], lost[2], k, w * away * away)
        _add_one(sums[3], lost[3], k, w * target[row])
        _add_one(sums[4], lost[4], k, w * error * error)


@kernel
def _add_gradients(
    order: np.ndarray, ends: np.ndarray, entry: np.ndarray, value: np.ndarray, scale: np.ndarray,
    probability: np.ndarray, score: np.ndarray, origin: np.ndarray, full: bool,
    first: np.ndarray, first_lost: np.ndarray, second: np.ndarray, second_lost: np.ndarray,
) -> None:  # fmt: skip
    p = origin.size
    g = np.empty(p)
    for b in range(probability.size):
        w = probability[b]
        if w == 0.0:
            continue
        for i in range(p):
            g[i] = -origin[i]
        for at in range(ends[b], ends[b + 1]):
            row = order[at]
            push = scale[b] * value[row]
            for i in range(p):
                g[i] += push * score[entry[row], i]
        for i in range(p):
            if g[i] == 0.0:
                continue
            _add_one(first, first_lost, i, w * g[i])
            if full:
                for j in range(i + 1):
                    _add_one(second[i], second_lost[i], j, w * g[i] * g[j])
            else:
                _add_one(second[0], second_lost[0], i, w * g[i] * g[i])


@kernel
def _add_groups(
    order: np.ndarray, ends: np.ndarray, observation: np.ndarray, degenerate: np.ndarray, batch: np.ndarray,
    probability: np.ndarray, members: np.ndarray, sums: np.ndarray, lost: np.ndarray,
) -> None:  # fmt: skip
    for b in range(probability.size):
        _add_one(sums, lost, 0, probability[b])
    for g in range(batch.size):
        anchors = 0
        singletons = 0
        for at in range(ends[g], ends[g + 1]):
            o = observation[order[at]]
            members[o] += 1
            if members[o] == 1:
                anchors += 1
                singletons += 1
            elif members[o] == 2:
                singletons -= 1
        for at in range(ends[g], ends[g + 1]):
            members[observation[order[at]]] = 0
        w = probability[batch[g]]
        _add_one(sums, lost, 1, w)
        _add_one(sums, lost, 2, w * degenerate[g])
        _add_one(sums, lost, 3, w * anchors)
        _add_one(sums, lost, 4, w * singletons)
