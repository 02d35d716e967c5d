"""Kernels between rows and tables: read a table at each row, and add rows up into a table, in the order of rows.

The batch is that of the row's trajectory: an id per row would be one more column to write and to read.
"""

from __future__ import annotations

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.rollouts import Rollouts

__all__ = ["add_to_cells", "read_cells"]


def read_cells(table: np.ndarray, rollouts: Rollouts, state: np.ndarray) -> np.ndarray:
    """(M,) table[batch, state, action] for a table (R, S, A) and state (M,); InputError for ids outside it."""
    out, ids = np.empty(rollouts.n_rows), _ids(rollouts, state)
    _refuse(_read(np.ascontiguousarray(table), *ids, out), table.shape, rollouts, state)
    return out


def add_to_cells(shape: tuple[int, int, int], rollouts: Rollouts, state: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(R, S, A) sum of weight (M,) over the rows of each batch, state (M,), action; InputError for ids outside."""
    out, ids = np.zeros(shape), _ids(rollouts, state)
    _refuse(_add(out, *ids, np.ascontiguousarray(weight, np.float64)), shape, rollouts, state)
    return out


def _ids(rollouts: Rollouts, state: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(x, np.int64) for x in (rollouts.offsets, rollouts.batch, state, rollouts.action)]


def _refuse(row: int, shape: tuple[int, ...], rollouts: Rollouts, state: np.ndarray) -> None:
    if row >= 0:
        got = tuple(int(each[row]) for each in (rollouts.batch_rows, state, rollouts.action))
        raise InputError("batch, state, action", f"{got} at row {row}", f"ids below {tuple(shape)}")


@kernel(inline=True)
def _cell(shape, b, s, a):
    # As unsigned numbers negative ids are large ones: a single comparison each, and no look-up from the end.
    b, s, a = np.uint64(b), np.uint64(s), np.uint64(a)
    inside = b < np.uint64(shape[0]) and s < np.uint64(shape[1]) and a < np.uint64(shape[2])
    return inside, (b * np.uint64(shape[1]) + s) * np.uint64(shape[2]) + a


@kernel
def _read(table, offsets, batch, state, action, out):
    flat = table.reshape(-1)
    for t in range(batch.size):
        for i in range(offsets[t], offsets[t + 1]):
            inside, cell = _cell(table.shape, batch[t], state[i], action[i])
            if not inside:
                return i
            out[i] = flat[cell]
    return -1


@kernel
def _add(out, offsets, batch, state, action, weight):
    flat = out.reshape(-1)
    for t in range(batch.size):
        for i in range(offsets[t], offsets[t + 1]):
            inside, cell = _cell(out.shape, batch[t], state[i], action[i])
            if not inside:
                return i
            flat[cell] += weight[i]
    return -1
