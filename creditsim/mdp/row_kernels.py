"""Kernels between rows and tables: read a table at each row, and add rows up into a table, in the order of rows."""

from __future__ import annotations

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel

__all__ = ["add_to_cells", "read_cells"]


def read_cells(table: np.ndarray, batch: np.ndarray, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """(M,) table[batch, state, action] for a table (R, S, A); InputError for ids outside it."""
    out = np.empty(batch.size)
    _refuse(_read(table, batch, state, action, out), table.shape, batch, state, action)
    return out


def add_to_cells(
    shape: tuple[int, int, int], batch: np.ndarray, state: np.ndarray, action: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """(R, S, A) sum of weight (M,) over the rows of each cell; InputError for ids outside the shape."""
    out = np.zeros(shape)
    _refuse(_add(out, batch, state, action, weight), shape, batch, state, action)
    return out


def _refuse(row: int, shape: tuple[int, ...], *ids: np.ndarray) -> None:
    if row >= 0:
        got = tuple(int(each[row]) for each in ids)
        raise InputError("batch, state, action", f"{got} at row {row}", f"ids below {tuple(shape)}")


@kernel
def _inside(table, b, s, a):
    return 0 <= b < table.shape[0] and 0 <= s < table.shape[1] and 0 <= a < table.shape[2]


@kernel
def _read(table, batch, state, action, out):
    for i in range(batch.size):
        b, s, a = batch[i], state[i], action[i]
        if not _inside(table, b, s, a):
            return i
        out[i] = table[b, s, a]
    return -1


@kernel
def _add(out, batch, state, action, weight):
    for i in range(batch.size):
        b, s, a = batch[i], state[i], action[i]
        if not _inside(out, b, s, a):
            return i
        out[b, s, a] += weight[i]
    return -1
