"""What a training loop counts of each replicate's rows, in one pass over them."""

from __future__ import annotations

import numpy as np

from creditsim.jit import kernel

__all__ = ["mark_met", "silent_share"]


def silent_share(batch: np.ndarray, weight: np.ndarray, advantage: np.ndarray, replicates: int) -> np.ndarray:
    """(R,) share of the rows (M,) with weight whose advantage is 0; 1 where there is no such row."""
    rows, quiet = np.zeros((2, replicates))
    _count_silent(batch, weight, np.ascontiguousarray(advantage, np.float64), rows, quiet)
    return np.where(rows > 0, quiet / np.maximum(rows, 1.0), 1.0)


def mark_met(seen: np.ndarray, batch: np.ndarray, state: np.ndarray) -> None:
    """Set seen (R, S) bool at each row's batch and state (M,)."""
    _mark(seen, batch, np.ascontiguousarray(state, np.int64))


@kernel
def _count_silent(batch, weight, advantage, rows, quiet):
    for i in range(batch.size):
        if weight[i] > 0:
            rows[batch[i]] += 1.0
            if advantage[i] == 0:
                quiet[batch[i]] += 1.0


@kernel
def _mark(seen, batch, state):
    for i in range(batch.size):
        seen[batch[i], state[i]] = True
