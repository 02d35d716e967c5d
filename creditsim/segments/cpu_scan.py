"""CPU recursions along trajectories and up trees, and what moves values between rows and trajectories."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.segments.cpu_inputs import decays, floats, integers

__all__ = ["backup", "repeat_to_rows", "reverse_scan", "scan", "shift", "sum_rows"]

_PARALLEL_ROWS = 2_000_000
"""Rows from which a scan takes more than a few milliseconds, so that waking other threads pays."""


@kernel
def _offsets_fault(offsets: np.ndarray, m: int) -> bool:
    if offsets.size == 0 or offsets[0] != 0 or offsets[-1] != m:
        return True
    for i in range(offsets.size - 1):
        if offsets[i + 1] < offsets[i]:
            return True
    return False


@kernel
def _scan(
    x: np.ndarray, decay: np.ndarray, stride: int, offsets: np.ndarray, first: int, last: int, back: bool, y: np.ndarray
) -> None:
    for i in range(first, last):
        carried = 0.0
        if back:
            for r in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
                carried = x[r] + decay[r * stride] * carried
                y[r] = carried
        else:
            for r in range(offsets[i], offsets[i + 1]):
                carried = x[r] + decay[r * stride] * carried
                y[r] = carried


@kernel(parallel=True)
def _scan_parallel(
    x: np.ndarray, decay: np.ndarray, stride: int, offsets: np.ndarray, parts: int, back: bool, y: np.ndarray
) -> None:
    # Every trajectory is computed by itself, so how they are dealt out cannot change a bit.
    n = offsets.size - 1
    for part in numba.prange(parts):
        _scan(x, decay, stride, offsets, n * part // parts, n * (part + 1) // parts, back, y)


def _checked_offsets(offsets: Any, m: int) -> np.ndarray:
    offsets = integers(offsets, "offsets")
    if _offsets_fault(offsets, m):
        ends = f"from {offsets[0]} to {offsets[-1]}" if offsets.size else "no entries"
        raise InputError("offsets", ends, f"a rise from 0 to {m}, the number of rows")
    return offsets


def _scanned(x: Any, decay: Any, offsets: Any, back: bool) -> np.ndarray:
    x = floats(x)
    m = x.shape[0]
    offsets = _checked_offsets(offsets, m)
    decay, stride = decays(decay, m)
    y = np.empty(m)
    n = offsets.shape[0] - 1
    if m >= _PARALLEL_ROWS:
        _scan_parallel(x, decay, stride, offsets, min(n, 256), back, y)
    else:
        _scan(x, decay, stride, offsets, 0, n, back, y)
    return y


def scan(x: Any, decay: Any, offsets: Any) -> np.ndarray:
    """y_t = x_t + decay_t y_{t-1} in each trajectory, y before the first row 0."""
    return _scanned(x, decay, offsets, False)


def reverse_scan(x: Any, decay: Any, offsets: Any) -> np.ndarray:
    """y_t = x_t + decay_t y_{t+1} in each trajectory, y after the last row 0."""
    return _scanned(x, decay, offsets, True)


@kernel
def _backup(
    x: np.ndarray, previous: np.ndarray, how: int, decay: np.ndarray, stride: int, work: np.ndarray, y: np.ndarray
) -> int:
    """Work from the leaves up; return how many rows were reached (fewer than M: a circle), or -1 - a bad row.

    `work` (3, M): children, children still to come, and the first child's value, about which means are taken so that
    equal children give it exactly. `y` holds the aggregate of a row's children until the row itself is reached.
    """
    m = x.size
    for r in range(m):
        p = previous[r]
        if p >= m:
            return -1 - r
        if p >= 0:
            work[0, p] += 1.0
            work[1, p] += 1.0
    reached = 0
    for leaf in range(m - 1, -1, -1):
        if work[0, leaf] > 0.0:
            continue
        r = leaf
        while True:
            children = work[0, r]
            below = y[r]
            if children > 0.0 and how == 0:
                below = work[2, r] + below / children
            y[r] = x[r] + decay[r * stride] * below if children > 0.0 else x[r]
            reached += 1
            p = previous[r]
            if p < 0:
                break
            if work[1, p] == work[0, p]:
                work[2, p] = y[r]
                y[p] = 0.0 if how == 0 else y[r]
            elif how == 0:
                y[p] += y[r] - work[2, p]
            elif how == 1:
                y[p] += y[r]
            elif how == 2:
                y[p] = max(y[p], y[r])
            else:
                y[p] = min(y[p], y[r])
            work[1, p] -= 1.0
            if work[1, p] > 0.0:
                break
            r = p
    return reached


def backup(x: Any, previous: Any, how: str, decay: Any = 1.0) -> np.ndarray:
    """y_r = x_r + decay_r * (mean, sum, max or min of y over the rows right after r); leaves keep x."""
    x = floats(x)
    m = x.shape[0]
    previous = integers(previous, "previous")
    if previous.shape[0] != m:
        raise InputError("previous", f"{previous.shape[0]} entries", f"{m}, one per row of x")
    decay, stride = decays(decay, m)
    y = np.empty(m)
    reached = _backup(x, previous, ("mean", "sum", "max", "min").index(how), decay, stride, np.zeros((3, m)), y)
    if reached < 0:
        row = -1 - reached
        raise InputError("previous", f"{previous[row]} at row {row}", f"rows below {m} (negative: a start)")
    if reached < m:
        raise InputError("previous", "rows that follow each other in a circle", "a forest")
    return y


def shift(x: Any, offsets: Any, by: int, fill: Any) -> np.ndarray:
    """y_t = x_{t-by} inside each trajectory, `fill` where that lies outside; the type of x is kept."""
    x = np.asarray(x)
    m = x.shape[0]
    offsets = _checked_offsets(offsets, m)
    out = np.full_like(x, fill, subok=False)
    if by == 0 or abs(by) >= m:
        return x.copy() if by == 0 else out
    # Shift all rows as one, then put `fill` back where the shift crossed into another trajectory.
    starts, stops = offsets[:-1], offsets[1:]
    if by > 0:
        out[by:] = x[:-by]
        edge, length = starts, np.minimum(by, stops - starts)
    else:
        out[:by] = x[-by:]
        length = np.minimum(-by, stops - starts)
        edge = stops - length
    for k in range(int(length.max(initial=0))):
        out[edge[length > k] + k] = fill
    return out


def repeat_to_rows(x: Any, offsets: Any) -> np.ndarray:
    """Repeat (N, ...) a value per trajectory to (M, ...) its rows; the type of x is kept."""
    x = np.asarray(x)
    offsets = _checked_offsets(offsets, int(offsets[-1]) if len(offsets) else 0)
    if x.shape[0] != offsets.shape[0] - 1:
        raise InputError("x", f"{x.shape[0]} entries", f"{offsets.shape[0] - 1}, one per trajectory")
    return np.repeat(x, offsets[1:] - offsets[:-1], axis=0)


@kernel
def _add_up(x: np.ndarray, offsets: np.ndarray, out: np.ndarray) -> None:
    for i in range(out.size):
        total = 0.0
        for r in range(offsets[i], offsets[i + 1]):
            total += x[r]
        out[i] = total


def sum_rows(x: Any, offsets: Any) -> np.ndarray:
    """Sum (N,) of each trajectory's rows, added in order."""
    x = floats(x)
    offsets = _checked_offsets(offsets, x.shape[0])
    out = np.empty(offsets.shape[0] - 1)
    _add_up(x, offsets, out)
    return out
