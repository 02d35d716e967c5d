"""CPU reductions: sum, count, smallest and largest member of each segment, and ranks inside segments.

All loops run over the rows in order on one thread: a pass over 10^5 rows takes a tenth of a millisecond, less than
waking a second thread, and the order of summation is the order of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.segments.cpu_inputs import checked_ids, floats, members

__all__ = ["refuse_id", "segment_count", "segment_max", "segment_min", "segment_rank", "segment_sum"]


def refuse_id(ids: np.ndarray, row: int, n: int) -> None:
    """Raise the error for the id that a kernel stopped at; `row` is -1 where it found none."""
    if row >= 0:
        raise InputError("ids", f"{ids[row]} at row {row}", f"ids below n = {n} (negative: in no segment)")


@kernel
def _sum(x: np.ndarray, ids: np.ndarray, out: np.ndarray) -> int:
    # Rows of one segment often follow each other: their sum stays in a register and is stored when the id changes.
    n = out.size
    last = -1
    total = 0.0
    for i in range(ids.size):
        j = ids[i]
        if j != last:
            if j >= n:
                return i
            if last >= 0:
                out[last] = total
            last = j
            total = out[j] if j >= 0 else 0.0
        total += x[i]
    if last >= 0:
        out[last] = total
    return -1


@kernel
def _count(ids: np.ndarray, out: np.ndarray) -> int:
    n = out.size
    for i in range(ids.size):
        j = ids[i]
        if j >= n:
            return i
        if j >= 0:
            out[j] += 1
    return -1


@kernel
def _extreme(x: np.ndarray, ids: np.ndarray, sign: float, out: np.ndarray) -> int:
    # `out` starts at inf and takes the smallest sign * x; a NaN, once met, stays.
    n = out.size
    last = -1
    best = np.inf
    for i in range(ids.size):
        j = ids[i]
        if j != last:
            if j >= n:
                return i
            if last >= 0:
                out[last] = best
            last = j
            best = out[j] if j >= 0 else np.inf
        here = sign * x[i]
        best = best if best <= here or best != best else here
    if last >= 0:
        out[last] = best
    return -1


@kernel
def _number(order: np.ndarray, ids: np.ndarray, seen: np.ndarray, rank: np.ndarray) -> int:
    n = seen.size
    for k in range(order.size):
        i = order[k]
        j = ids[i]
        if j >= n:
            return i
        if j < 0:
            rank[i] = -1
        else:
            rank[i] = seen[j]
            seen[j] += 1
    return -1


def segment_sum(x: Any, ids: Any, n: int, where: Any = None) -> np.ndarray:
    """Sum of each segment (n,) float64, added in row order."""
    x = floats(x)
    ids = checked_ids(ids, x.shape[0])
    out = np.zeros(n)
    refuse_id(ids, _sum(x, members(ids, where), out), n)
    return out


def segment_count(x: Any, ids: Any, n: int, where: Any = None) -> np.ndarray:
    """Members of each segment (n,) int64."""
    ids = checked_ids(ids, np.shape(x)[0])
    out = np.zeros(n, np.int64)
    refuse_id(ids, _count(members(ids, where), out), n)
    return out


def _extremes(x: Any, ids: Any, n: int, where: Any, sign: float) -> np.ndarray:
    x = floats(x)
    ids = checked_ids(ids, x.shape[0])
    out = np.full(n, np.inf)
    refuse_id(ids, _extreme(x, members(ids, where), sign, out), n)
    return out if sign > 0 else -out


def segment_min(x: Any, ids: Any, n: int, where: Any = None) -> np.ndarray:
    """Smallest member of each segment (n,), +inf where there is none, NaN where a member is NaN."""
    return _extremes(x, ids, n, where, 1.0)


def segment_max(x: Any, ids: Any, n: int, where: Any = None) -> np.ndarray:
    """Largest member of each segment (n,), -inf where there is none, NaN where a member is NaN."""
    return _extremes(x, ids, n, where, -1.0)


def segment_rank(x: Any, ids: Any, n: int) -> np.ndarray:
    """Rank (M,) of each row in its segment: one stable sort of all rows, then one count per segment."""
    x = floats(x)
    ids = checked_ids(ids, x.shape[0])
    rank = np.empty(x.shape[0], np.int64)
    refuse_id(ids, _number(np.argsort(x, kind="stable"), ids, np.zeros(n, np.int64), rank), n)
    return rank
