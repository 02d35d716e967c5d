"""Device bodies of the recursions along trajectories and up trees, and of what moves values between rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError
from creditsim.ragged import rows_of
from creditsim.segments import gpu_kernels as kernels
from creditsim.segments.gpu_sorted import floats, integers

__all__ = ["backup", "checked_offsets", "repeat_to_rows", "reverse_scan", "scan", "shift"]


def checked_offsets(xp: Any, offsets: Array, m: int) -> Array:
    """Return offsets (N+1,) as integers that rise from 0 to m."""
    offsets = integers(xp.asarray(offsets), "offsets")
    if not offsets.shape[0]:
        raise InputError("offsets", "no entries", f"a rise from 0 to {m}, the number of rows")
    if int(offsets[0]) != 0 or int(offsets[-1]) != m or bool((offsets[1:] < offsets[:-1]).any()):
        ends = f"from {int(offsets[0])} to {int(offsets[-1])}"
        raise InputError("offsets", ends, f"a rise from 0 to {m}, the number of rows")
    return offsets


def _decays(xp: Any, decay: Any, m: int) -> tuple[Array, int]:
    array = xp.asarray(decay)
    if array.ndim == 0:
        return floats(array.reshape(1), "decay"), 0
    array = floats(array, "decay")
    if array.shape[0] != m:
        raise InputError("decay", f"{array.shape[0]} entries", f"one number or {m}, one per row")
    return array, 1


def _scanned(x: Array, decay: Any, offsets: Array, back: bool) -> Array:
    xp = namespace(x)
    x = floats(x)
    offsets = checked_offsets(xp, offsets, x.shape[0])
    decay, stride = _decays(xp, decay, x.shape[0])
    y = xp.empty(x.shape[0])
    kernels.launch(kernels.scan_trajectories, offsets.shape[0] - 1, x, decay, stride, offsets, back, y)
    return y


def scan(x: Array, decay: Any, offsets: Array) -> Array:
    """y_t = x_t + decay_t y_{t-1} in each trajectory."""
    return _scanned(x, decay, offsets, False)


def reverse_scan(x: Array, decay: Any, offsets: Array) -> Array:
    """y_t = x_t + decay_t y_{t+1} in each trajectory."""
    return _scanned(x, decay, offsets, True)


def _depths(xp: Any, previous: Array) -> Array:
    # Pointer doubling: after k rounds `ahead` is 2^k rows back, so a forest is done in log2(M) + 1 rounds.
    m = previous.shape[0]
    depth = (previous >= 0).astype("int64")
    ahead = previous
    for _ in range(m.bit_length() + 1):
        if not bool((ahead >= 0).any()):
            return depth
        inside = ahead >= 0
        there = xp.maximum(ahead, 0)
        depth = depth + xp.where(inside, depth[there], 0)
        ahead = xp.where(inside, ahead[there], -1)
    raise InputError("previous", "rows that follow each other in a circle", "a forest")


def backup(x: Array, previous: Array, how: str, decay: Any = 1.0) -> Array:
    """y_r = x_r + decay_r * aggregate of y over the rows right after r, one launch for each depth."""
    xp = namespace(x)
    x = floats(x)
    m = x.shape[0]
    previous = integers(previous, "previous")
    if previous.shape[0] != m:
        raise InputError("previous", f"{previous.shape[0]} entries", f"{m}, one per row of x")
    decay, stride = _decays(xp, decay, m)
    if m == 0:
        return xp.empty(0)
    if int(previous.max()) >= m:
        row = int(previous.argmax())
        raise InputError("previous", f"{int(previous[row])} at row {row}", f"rows below {m} (negative: a start)")
    depth = _depths(xp, previous)
    key = xp.where(previous >= 0, previous, m)
    children = xp.argsort(key, kind="stable")
    starts = xp.searchsorted(key[children], xp.arange(m + 1))
    by_depth = xp.argsort(depth, kind="stable")
    levels = xp.searchsorted(depth[by_depth], xp.arange(int(depth.max()) + 2)).tolist()
    code = {"mean": kernels.MEAN, "sum": kernels.SUM, "max": kernels.MAX, "min": kernels.MIN}[how]
    y = xp.empty(m)
    for begin, end in reversed(list(pairwise(levels))):
        rows = by_depth[begin:end]
        kernels.launch(kernels.backup_level, end - begin, rows, x, children, starts, code, decay, stride, y)
    return y


def shift(x: Array, offsets: Array, by: int, fill: Any) -> Array:
    """y_t = x_{t-by} inside each trajectory, `fill` where that lies outside; the type of x is kept."""
    xp = namespace(x)
    m = x.shape[0]
    offsets = checked_offsets(xp, offsets, m)
    if m == 0:
        return x.copy()
    which = rows_of(offsets, m)
    source = xp.arange(m) - by
    inside = (source >= offsets[:-1][which]) & (source < offsets[1:][which])
    inside = inside.reshape(-1, *(1,) * (x.ndim - 1))
    return xp.where(inside, x[xp.clip(source, 0, m - 1)], xp.asarray(fill).astype(x.dtype))


def repeat_to_rows(x: Array, offsets: Array) -> Array:
    """Repeat (N, ...) a value per trajectory to (M, ...) its rows; the type of x is kept."""
    xp = namespace(x)
    m = int(offsets[-1]) if offsets.shape[0] else 0
    offsets = checked_offsets(xp, offsets, m)
    if x.shape[0] != offsets.shape[0] - 1:
        raise InputError("x", f"{x.shape[0]} entries", f"{offsets.shape[0] - 1}, one per trajectory")
    return x[rows_of(offsets, m)]
