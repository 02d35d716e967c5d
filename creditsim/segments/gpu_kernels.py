"""CUDA kernels of the segment primitives, and how they are launched.

They compile with `numba.cuda` on a device and run as they are in Numba's CUDA simulator, where NumPy arrays stand for
device arrays. No kernel uses atomics: one thread owns one output, so sums come in one order.
"""

from __future__ import annotations

import warnings
from typing import Any

from numba import cuda
from numba.core.errors import NumbaPerformanceWarning

__all__ = ["MAX", "MEAN", "MIN", "SUM", "backup_level", "launch", "reduce_chunks", "scan_trajectories"]

MEAN, SUM, MAX, MIN = 0, 1, 2, 3
_THREADS = 128


def launch(kernel: Any, size: int, *arguments: Any) -> None:
    """Run `kernel` with one thread for each of `size` outputs."""
    if size == 0:
        return
    with warnings.catch_warnings():
        # A small batch fills no device; that is no fault of the caller's.
        warnings.simplefilter("ignore", NumbaPerformanceWarning)
        kernel[(size + _THREADS - 1) // _THREADS, _THREADS](*arguments)


@cuda.jit
def reduce_chunks(values: Any, begin: Any, end: Any, how: int, out: Any) -> None:
    """Reduce rows begin_i .. end_i - 1 to out_i by sum, min or max, in row order; `out` holds the neutral value."""
    i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
    if i < out.size:
        total = out[i]
        for r in range(begin[i], end[i]):
            value = values[r]
            if how == SUM:
                total += value
            elif how == MIN:
                total = total if total <= value or total != total else value
            else:
                total = total if total >= value or total != total else value
        out[i] = total


@cuda.jit
def scan_trajectories(x: Any, decay: Any, stride: int, offsets: Any, back: bool, y: Any) -> None:
    """y_t = x_t + decay_t * (y_{t+1} with `back`, else y_{t-1}); one thread per trajectory."""
    i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
    if i < offsets.size - 1:
        carried = 0.0
        length = offsets[i + 1] - offsets[i]
        for k in range(length):
            r = offsets[i + 1] - 1 - k if back else offsets[i] + k
            carried = x[r] + decay[r * stride] * carried
            y[r] = carried


@cuda.jit
def backup_level(rows: Any, x: Any, children: Any, starts: Any, how: int, decay: Any, stride: int, y: Any) -> None:
    """Give each of `rows`, all of one depth, its value from its children, whose values are there already."""
    i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
    if i < rows.size:
        r = rows[i]
        begin = starts[r]
        count = starts[r + 1] - begin
        y[r] = x[r]
        if count > 0:
            first = y[children[begin]]
            below = 0.0 if how == MEAN else first
            for c in range(begin + 1, begin + count):
                value = y[children[c]]
                if how == MEAN:
                    below += value - first
                elif how == SUM:
                    below += value
                elif how == MAX:
                    below = max(below, value)
                else:
                    below = min(below, value)
            if how == MEAN:
                below = first + below / count
            y[r] = x[r] + decay[r * stride] * below
