"""Rows sorted by segment on a device, and reductions of sorted rows in one fixed order.

Every function takes its array module from its arguments: CuPy on a device, NumPy in Numba's CUDA simulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError
from creditsim.ragged import rows_of
from creditsim.segments import gpu_kernels as kernels

__all__ = ["Sorted", "floats", "integers", "reduce_sorted", "sort_rows"]

CHUNK = 256
"""Rows that one thread adds up; partial sums are added up the same way until one is left for each segment."""


@dataclass(frozen=True)
class Sorted:
    """Members of n segments: rows `order` (K,), segment j's at `starts[j]:starts[j+1]`, and `segment` (K,) of each."""

    order: Array
    segment: Array
    starts: Array

    @property
    def count(self) -> Array:
        """(n,) members of each segment."""
        return self.starts[1:] - self.starts[:-1]


def _plain(x: Array, field: str, kinds: str, allowed: str, dtype: Any) -> Array:
    xp = namespace(x)
    x = xp.asarray(x)
    if x.ndim != 1:
        raise InputError(field, f"shape {tuple(x.shape)}", "(M,), one value per row")
    if x.dtype.kind not in kinds:
        raise InputError(field, f"values of type {x.dtype}", allowed)
    return xp.ascontiguousarray(x.astype(dtype, copy=False))


def floats(x: Array, field: str = "x") -> Array:
    """Return `x` (M,) as contiguous float64."""
    return _plain(x, field, "fiub", "numbers", "float64")


def integers(x: Array, field: str) -> Array:
    """Return `x` (M,) as contiguous int64."""
    return _plain(x, field, "iub", "integers", "int64")


def sort_rows(x: Array, ids: Array, n: int, where: Array | None = None) -> tuple[Sorted, Array]:
    """Sort rows by segment, rows of one segment in row order; return them and the checked ids (M,)."""
    xp = namespace(x)
    ids = integers(ids, "ids")
    if ids.shape != x.shape[:1]:
        raise InputError("ids", f"{ids.shape[0]} entries", f"{x.shape[0]}, one per row of x")
    if ids.shape[0] and int(ids.max()) >= n:
        row = int(ids.argmax())
        raise InputError("ids", f"{int(ids[row])} at row {row}", f"ids below n = {n} (negative: in no segment)")
    key = xp.where(ids >= 0, ids, n)
    if where is not None:
        flags = xp.asarray(where)
        if flags.shape != ids.shape or flags.dtype.kind not in "biu":
            raise InputError("where", f"shape {tuple(flags.shape)} of {flags.dtype}", f"{tuple(ids.shape)} of bool")
        key = xp.where(flags.astype(bool), key, n)
    order = xp.argsort(key, kind="stable")
    starts = xp.searchsorted(key[order], xp.arange(n + 1))
    order = order[: int(starts[-1])]
    return Sorted(order, key[order], starts), ids


def reduce_sorted(values: Array, starts: Array, how: int) -> Array:
    """Reduce `values[starts[j]:starts[j+1]]` for every j; empty segments get 0 or the infinity that loses."""
    xp = namespace(values)
    neutral = {kernels.SUM: 0.0, kernels.MIN: float("inf"), kernels.MAX: float("-inf")}[how]
    while True:
        chunks = (starts[1:] - starts[:-1] + CHUNK - 1) // CHUNK
        if chunks.shape[0] == 0 or int(chunks.max()) <= 1:
            begin, end = starts[:-1], starts[1:]
            out = xp.full(begin.shape[0], neutral)
            kernels.launch(kernels.reduce_chunks, out.shape[0], values, begin, end, how, out)
            return out
        upper = xp.zeros(starts.shape[0], "int64")
        upper[1:] = xp.cumsum(chunks)
        total = int(upper[-1])
        segment = rows_of(upper, total)
        begin = starts[:-1][segment] + (xp.arange(total) - upper[:-1][segment]) * CHUNK
        end = xp.minimum(begin + CHUNK, starts[1:][segment])
        partial = xp.full(total, neutral)
        kernels.launch(kernels.reduce_chunks, total, values, begin, end, how, partial)
        values, starts = partial, upper
