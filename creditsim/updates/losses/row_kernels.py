"""Losses on NumPy arrays: what would be many passes of array arithmetic over the rows, in one each.

`terms.clipped_arrays` and `base.Rows` hold the same arithmetic for arrays of any library.
"""

from __future__ import annotations

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel

__all__ = ["clip_slope", "spread"]


def spread(weight: np.ndarray | None, slope: np.ndarray, offsets: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """(M,) weight / divisor * slope, with one divisor (n,) for each range of rows; weight None: 1."""
    _check_ranges(offsets, slope.size)
    _check_size("divisor", divisor, offsets.size - 1)
    weights, stride = _per_row("weight", weight, 1.0, slope.size)
    out = np.empty(slope.size)
    _spread(weights, stride, _floats(slope), offsets, _floats(divisor), out)
    return out


def clip_slope(
    advantage: np.ndarray,
    log_prob: np.ndarray,
    old_log_prob: np.ndarray | None,
    bottom: float,
    top: float,
    low: np.ndarray | float,
    high: np.ndarray | float,
    dual_clip: float | None,
) -> np.ndarray:
    """(M,) the slope of `terms.clipped_arrays`, log-ratios being log_prob - old_log_prob, None: 0.

    `low` and `high` are numbers, or (M,).
    """
    m, dual = advantage.size, np.inf if dual_clip is None else float(dual_clip)
    _check_size("log_prob", log_prob, m)
    old, old_stride = _per_row("old_log_prob", old_log_prob, 0.0, m)
    lows, low_stride = _per_row("clip_low", low, 0.0, m)
    highs, high_stride = _per_row("clip_high", high, 0.0, m)
    strides, out = (old_stride, low_stride, high_stride), np.empty(m)
    given = (_floats(advantage), _floats(log_prob), old, float(bottom), float(top), lows, highs)
    _clip_slope(*given, strides, dual, out)
    return out


def _per_row(field: str, x: np.ndarray | float | None, nothing: float, m: int) -> tuple[np.ndarray, int]:
    """An array and its stride: 1 for one value per row, 0 for one value for all."""
    if isinstance(x, np.ndarray):
        _check_size(field, x, m)
        return _floats(x), 1
    return np.full(1, nothing if x is None else x, np.float64), 0


def _floats(x: np.ndarray | float) -> np.ndarray:
    # Of one type, so that each kernel is compiled once: a read-only array would have a type of its own.
    return np.require(x, np.float64, ["C", "A", "W"])


def _check_ranges(offsets: np.ndarray, m: int) -> None:
    whole = offsets.dtype == np.int64 and offsets.size and offsets[0] == 0 and offsets[-1] == m
    if not whole or (offsets[1:] < offsets[:-1]).any():
        raise InputError("offsets", f"{offsets.size} entries", f"a rise from 0 to {m}, the number of rows")


def _check_size(field: str, x: np.ndarray, size: int) -> None:
    if x.size != size:
        raise InputError(field, f"{x.size} entries", f"{size}")


@kernel
def _spread(weight, stride, slope, offsets, divisor, out):
    for u in range(divisor.size):
        below = divisor[u]
        for i in range(offsets[u], offsets[u + 1]):
            out[i] = weight[i * stride] / below * slope[i]


@kernel
def _clip_slope(advantage, log_prob, old, bottom, top, low, high, strides, dual_clip, out):
    old_stride, low_stride, high_stride = strides
    for i in range(advantage.size):
        a, x = advantage[i], log_prob[i] - old[i * old_stride]
        passes = bottom <= x <= top
        # On policy all ratios are 1: no exponential need be taken to know that.
        ratio = 1.0 if x == 0.0 or not passes else np.exp(x)
        held = -a * min(max(ratio, 1.0 - low[i * low_stride]), 1.0 + high[i * high_stride])
        plain = -a * ratio
        dual = a < 0.0 and plain > -a * dual_clip
        out[i] = plain if passes and not (held > plain or dual) else 0.0
