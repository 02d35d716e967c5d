"""CPU moments and normalisation: one pass over the rows for the moments, one to write.

Moments are of the differences to each segment's first member, d = x - first. Equal members give d = 0, hence exactly
zero at any magnitude. Members a few ulp apart give exact differences (Sterbenz), so they are normalised by the formula
like any others: 1e8 and its neighbour, 1.5e-8 apart, give -+0.7e-8 / (1.05e-8 + eps), small through eps alone.

Subtracting sum(d)^2 / count from sum(d^2) loses digits only where the first member lies far from the rest of a large
segment; segments that lose more than three digits are summed once more about their mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.segments.cpu_inputs import checked_ids, floats, members
from creditsim.segments.cpu_reduce import refuse_id

__all__ = ["segment_mean", "segment_normalise", "segment_std"]

# Columns of the table of segments: one row is half a cache line.
COUNT, FIRST, MEAN, SPREAD = 0, 1, 2, 3
_CANCELLED = 1e-3
_NO_DENOMINATOR = 1e-300


@kernel
def _moments(x: np.ndarray, ids: np.ndarray, table: np.ndarray) -> int:
    """Fill (n, 4): count, first member, mean of d, sum of squared deviations; return a row with a bad id or -1."""
    n = table.shape[0]
    last = -1
    count = first = total = square = 0.0
    for i in range(ids.size):
        j = ids[i]
        if j != last:
            if j >= n:
                return i
            if last >= 0:
                table[last, COUNT] = count
                table[last, FIRST] = first
                table[last, MEAN] = total
                table[last, SPREAD] = square
            last = j
            if j >= 0:
                count = table[j, COUNT]
                first = x[i] if count == 0.0 else table[j, FIRST]
                total = table[j, MEAN]
                square = table[j, SPREAD]
        d = x[i] - first
        count += 1.0
        total += d
        square += d * d
    if last >= 0:
        table[last, COUNT] = count
        table[last, FIRST] = first
        table[last, MEAN] = total
        table[last, SPREAD] = square
    again = False
    for j in range(n):
        count = table[j, COUNT]
        if count > 0.0:
            mean = table[j, MEAN] / count
            left = table[j, SPREAD] - table[j, MEAN] * mean
            again |= left < _CANCELLED * table[j, SPREAD]
            table[j, MEAN] = mean
            table[j, SPREAD] = max(left, 0.0) if left == left else left
    if again:
        _about_mean(x, ids, table)
    return -1


@kernel
def _about_mean(x: np.ndarray, ids: np.ndarray, table: np.ndarray) -> None:
    table[:, SPREAD] = 0.0
    for i in range(ids.size):
        j = ids[i]
        if j >= 0:
            d = (x[i] - table[j, FIRST]) - table[j, MEAN]
            table[j, SPREAD] += d * d


@kernel
def _factors(
    table: np.ndarray, scale: bool, ddof: float, eps: float, eps_inside: float, variance_floor: float, raw: bool
) -> int:
    """Turn SPREAD into the factor of each segment; return a segment without finite statistics or -1.

    A factor of 0 marks segments that give 0: without members, or with nothing to divide by.
    """
    for j in range(table.shape[0]):
        count = table[j, COUNT]
        factor = 0.0
        if count == 1.0:
            factor = 1.0 / (1.0 + eps) if scale else 1.0
            if raw:
                table[j, FIRST] = 0.0
        elif count > 1.0:
            if not np.isfinite(table[j, MEAN]):
                return j
            factor = 1.0
            if scale:
                if not np.isfinite(table[j, SPREAD]):
                    return j
                variance = table[j, SPREAD] / (count - ddof) if count > ddof else 0.0
                below = np.sqrt(max(variance, variance_floor) + eps_inside) + eps
                factor = 1.0 / below if below > _NO_DENOMINATOR else 0.0
        table[j, SPREAD] = factor
    return -1


@kernel
def _write(x: np.ndarray, ids: np.ndarray, table: np.ndarray, y: np.ndarray) -> int:
    n = table.shape[0]
    for i in range(ids.size):
        j = ids[i]
        if j >= n:
            return i
        if j < 0:
            y[i] = 0.0
            continue
        segment = np.uint64(j)
        factor = table[segment, SPREAD]
        y[i] = ((x[i] - table[segment, FIRST]) - table[segment, MEAN]) * factor if factor != 0.0 else 0.0
    return -1


def _table(x: np.ndarray, ids: np.ndarray, n: int, where: Any) -> np.ndarray:
    table = np.zeros((n, 4))
    refuse_id(ids, _moments(x, members(ids, where), table), n)
    return table


def segment_mean(x: Any, ids: Any, n: int, where: Any = None) -> np.ndarray:
    """Mean (n,) of each segment, first member plus mean difference; 0 for empty ones."""
    x = floats(x)
    table = _table(x, checked_ids(ids, x.shape[0]), n, where)
    return table[:, FIRST] + table[:, MEAN]


def segment_std(x: Any, ids: Any, n: int, ddof: int = 1, where: Any = None) -> np.ndarray:
    """Standard deviation (n,) of each segment; 0 where all members are equal or count <= ddof."""
    x = floats(x)
    table = _table(x, checked_ids(ids, x.shape[0]), n, where)
    free = table[:, COUNT] - ddof
    return np.sqrt(np.where(free > 0, table[:, SPREAD] / np.maximum(free, 1.0), 0.0))


def segment_normalise(
    x: Any,
    ids: Any,
    n: int,
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    eps_inside: float = 0.0,
    variance_floor: float = 0.0,
    singleton_raw: bool = False,
    where: Any = None,
) -> np.ndarray:
    """Centre (M,) by segment means and divide by standard deviations; see `creditsim.segments.segment_normalise`."""
    x = floats(x)
    ids = checked_ids(ids, x.shape[0])
    table = _table(x, ids, n, where)
    bad = _factors(
        table, bool(scale), float(ddof), float(eps), float(eps_inside), float(variance_floor), bool(singleton_raw)
    )
    if bad >= 0:
        raise InputError(
            "x", f"NaN, infinity or a spread above 1e154 in segment {bad}", "finite numbers closer together"
        )
    y = np.empty(x.shape[0])
    refuse_id(ids, _write(x, ids, table, y), n)
    return y
