"""What kernels may be given: contiguous, writable, native arrays of one type; everything else is converted or refused.

Floating input becomes float64 and integer input int64, whatever its width, byte order or strides, so each kernel is
compiled once. Read-only arrays are copied for the same reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.errors import InputError

__all__ = ["checked_ids", "decays", "floats", "integers", "members"]

_FLOAT, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)


def _ready(x: Any, dtype: np.dtype) -> bool:
    # A NumPy subclass (a memory map, a masked array) takes the slow way and loses its class there.
    return type(x) is np.ndarray and x.dtype == dtype and x.ndim == 1 and x.flags.carray


def floats(x: Any, field: str = "x") -> np.ndarray:
    """Return `x` (M,) as float64; error: anything that is not a real number per row."""
    if _ready(x, _FLOAT):
        return x
    array = _one_per_row(x, field)
    if array.dtype.kind not in "fiub":
        raise InputError(field, f"values of type {array.dtype}", "numbers")
    return _fresh(array, _FLOAT)


def integers(x: Any, field: str) -> np.ndarray:
    """Return `x` (M,) as int64; unsigned values above 2^63 keep their bits, hence their equality."""
    if _ready(x, _INTEGER):
        return x
    array = _one_per_row(x, field)
    if array.size == 0 and array.dtype.kind == "f":
        return np.zeros(0, np.int64)  # an empty list has no type of its own
    if array.dtype.kind not in "iub":
        raise InputError(field, f"values of type {array.dtype}", "integers")
    return _fresh(array, _INTEGER)


def _one_per_row(x: Any, field: str) -> np.ndarray:
    array = np.asarray(x)
    if array.ndim != 1:
        raise InputError(field, f"shape {array.shape}", "(M,), one value per row")
    return array


def _fresh(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.require(array.astype(dtype, copy=False), dtype, ["C", "A", "W"])


def checked_ids(ids: Any, m: int) -> np.ndarray:
    """Return segment ids (m,) as int64; the kernels check that they lie below n while they read them."""
    array = integers(ids, "ids")
    if array.shape[0] != m:
        raise InputError("ids", f"{array.shape[0]} entries", f"{m}, one per row of x")
    return array


def members(ids: np.ndarray, where: Any) -> np.ndarray:
    """Return `ids` with -1 for rows that `where` keeps out of the statistics."""
    if where is None:
        return ids
    flags = np.asarray(where)
    if flags.shape != ids.shape or flags.dtype.kind not in "biu":
        raise InputError("where", f"shape {flags.shape} of {flags.dtype}", f"{ids.shape} of bool")
    return np.where(flags if flags.dtype.kind == "b" else flags != 0, ids, -1)


def decays(decay: Any, m: int) -> tuple[np.ndarray, int]:
    """Return the decay as an array and its stride: 1 for one value per row, 0 for one value for all."""
    if isinstance(decay, (float, int)):
        return np.array([decay], np.float64), 0
    array = np.asarray(decay)
    if array.ndim == 0:
        return floats(array.reshape(1), "decay"), 0
    array = floats(array, "decay")
    if array.shape[0] != m:
        raise InputError("decay", f"{array.shape[0]} entries", f"one number or {m}, one per row")
    return array, 1
