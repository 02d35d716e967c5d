"""The segment primitives in plain Python: dicts, loops and exact sums; slow, and easy to believe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def _groups(ids: Iterable[int], n: int, where: Sequence[bool] | None = None) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(n)]
    for row, j in enumerate(ids):
        if j >= 0 and (where is None or where[row]):
            groups[j].append(row)
    return groups


def segment_sum(x: Any, ids: Any, n: int, *, where: Any = None) -> np.ndarray:
    return np.array([math.fsum(x[r] for r in rows) for rows in _groups(ids, n, where)])


def segment_count(x: Any, ids: Any, n: int, *, where: Any = None) -> np.ndarray:
    return np.array([len(rows) for rows in _groups(ids, n, where)], np.int64)


def segment_min(x: Any, ids: Any, n: int, *, where: Any = None) -> np.ndarray:
    return np.array([min((float(x[r]) for r in rows), default=math.inf) for rows in _groups(ids, n, where)])


def segment_max(x: Any, ids: Any, n: int, *, where: Any = None) -> np.ndarray:
    return np.array([max((float(x[r]) for r in rows), default=-math.inf) for rows in _groups(ids, n, where)])


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Return the first value and the mean difference to it: their sum is the mean, without loss at any magnitude."""
    if not values:
        return 0.0, 0.0
    return values[0], math.fsum(v - values[0] for v in values) / len(values)


def _variance(values: Sequence[float], ddof: int) -> float:
    if len(values) <= ddof:
        return 0.0
    first, rest = _mean(values)
    return math.fsum(((v - first) - rest) ** 2 for v in values) / (len(values) - ddof)


def segment_mean(x: Any, ids: Any, n: int, *, where: Any = None) -> np.ndarray:
    return np.array([sum(_mean([float(x[r]) for r in rows])) for rows in _groups(ids, n, where)])


def segment_std(x: Any, ids: Any, n: int, *, ddof: int = 1, where: Any = None) -> np.ndarray:
    return np.array([math.sqrt(_variance([float(x[r]) for r in rows], ddof)) for rows in _groups(ids, n, where)])


def segment_rank(x: Any, ids: Any, n: int) -> np.ndarray:
    rank = np.full(len(ids), -1, np.int64)
    for rows in _groups(ids, n):
        for place, row in enumerate(sorted(rows, key=lambda r: (x[r], r))):
            rank[row] = place
    return rank


def segment_normalise(
    x: Any,
    ids: Any,
    n: int,
    *,
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    eps_inside: float = 0.0,
    variance_floor: float = 0.0,
    singleton: str = "zero",
    where: Any = None,
) -> np.ndarray:
    y = np.zeros(len(ids))
    groups = _groups(ids, n, where)
    for row, j in enumerate(ids):
        if j < 0 or not groups[j]:
            continue
        values = [float(x[r]) for r in groups[j]]
        first, rest = _mean(values)
        below = math.sqrt(max(_variance(values, ddof), variance_floor) + eps_inside) + eps
        if len(values) == 1:
            first, rest, below = (first if singleton == "zero" else 0.0), 0.0, 1.0 + eps
        centred = (float(x[row]) - first) - rest
        y[row] = centred if not scale else centred / below if below > 0 else 0.0
    return y


def factorize(*keys: Any) -> tuple[np.ndarray, int]:
    table: dict[tuple[int, ...], int] = {}
    ids = [table.setdefault(tuple(int(v) for v in row), len(table)) for row in zip(*keys, strict=True)]
    return np.array(ids, np.int64), len(table)


def _row(decay: Any, row: int) -> float:
    return float(decay) if np.ndim(decay) == 0 else float(decay[row])


def reverse_scan(x: Any, decay: Any, offsets: Any) -> np.ndarray:
    """The O(T^2) definition: y_t = sum over u >= t of x_u times the decays of t..u-1."""
    y = np.zeros(len(x))
    for begin, end in pairwise(offsets):
        for t in range(begin, end):
            y[t] = math.fsum(x[u] * math.prod(_row(decay, k) for k in range(t, u)) for u in range(t, end))
    return y


def scan(x: Any, decay: Any, offsets: Any) -> np.ndarray:
    y = np.zeros(len(x))
    for begin, end in pairwise(offsets):
        for t in range(begin, end):
            y[t] = math.fsum(x[u] * math.prod(_row(decay, k) for k in range(u + 1, t + 1)) for u in range(begin, t + 1))
    return y


def backup(x: Any, previous: Any, how: str, decay: Any = 1.0) -> np.ndarray:
    combine = {"mean": lambda v: math.fsum(v) / len(v), "sum": math.fsum, "max": max, "min": min}[how]
    children: dict[int, list[int]] = {}
    for row, before in enumerate(previous):
        children.setdefault(int(before), []).append(row)

    def value(row: int) -> float:
        below = [value(child) for child in children.get(row, [])]
        return float(x[row]) + _row(decay, row) * combine(below) if below else float(x[row])

    return np.array([value(row) for row in range(len(x))])


def shift(x: Any, offsets: Any, by: int, fill: Any) -> np.ndarray:
    y = np.array([fill] * len(x), np.asarray(x).dtype)
    for begin, end in pairwise(offsets):
        for t in range(begin, end):
            if begin <= t - by < end:
                y[t] = x[t - by]
    return y


def sum_rows(x: Any, offsets: Any) -> np.ndarray:
    return np.array([sum(x[offsets[i] : offsets[i + 1]], 0.0) for i in range(len(offsets) - 1)], float)


def repeat_to_rows(x: Any, offsets: Any) -> np.ndarray:
    rows = [x[i] for i in range(len(offsets) - 1) for _ in range(offsets[i], offsets[i + 1])]
    return np.array(rows, np.asarray(x).dtype).reshape(-1, *np.shape(x)[1:])


def windows(observation: Any, previous: Any, k: int) -> list[tuple[int, ...]]:
    """The last k+1 observations of each row, oldest first, shorter at the start of an episode."""
    out = []
    for row in range(len(observation)):
        window, at = [], row
        while at >= 0 and len(window) <= k:
            window.append(int(observation[at]))
            at = int(previous[at])
        out.append(tuple(reversed(window)))
    return out
