"""What a training loop counts of each replicate's rows, in one pass over them."""

from __future__ import annotations

import numpy as np

from creditsim.jit import kernel
from creditsim.rollouts import Rollouts

__all__ = ["mark_met", "silent_share"]


def silent_share(rollouts: Rollouts, advantage: np.ndarray, replicates: int) -> np.ndarray:
    """(R,) share of the rows with weight whose advantage (M,) is 0; 1 where there is no such row."""
    rows, quiet = np.zeros((2, replicates), np.int64)
    weight = np.asarray(rollouts.columns.get("weight", np.zeros(0)), np.float64)
    advantage = np.ascontiguousarray(advantage, np.float64)
    _count_silent(rollouts.offsets, rollouts.batch, weight, advantage, rows, quiet)
    return np.where(rows > 0, quiet / np.maximum(rows, 1), 1.0)


def mark_met(seen: np.ndarray, rollouts: Rollouts) -> None:
    """Set seen (R, S) bool at each row's batch and `state`, and at the `next_state` of each trajectory's last row.

    The next state of any other row is the state of the row after it.
    """
    state, after = (np.ascontiguousarray(rollouts.columns[name], np.int64) for name in ("state", "next_state"))
    _mark(seen, rollouts.offsets, rollouts.batch, state, after)


@kernel
def _count_silent(offsets, batch, weight, advantage, rows, quiet):
    for t in range(batch.size):
        begin, end = offsets[t], offsets[t + 1]
        live = zero = 0
        if weight.size == 0:
            live = end - begin
            for i in range(begin, end):
                zero += advantage[i] == 0
        else:
            for i in range(begin, end):
                live += weight[i] > 0
                zero += (weight[i] > 0) & (advantage[i] == 0)
        rows[batch[t]] += live
        quiet[batch[t]] += zero


@kernel
def _mark(seen, offsets, batch, state, after):
    for t in range(batch.size):
        mine = seen[batch[t]]
        for i in range(offsets[t], offsets[t + 1]):
            mine[np.uint64(state[i])] = True
        if offsets[t + 1] > offsets[t]:
            mine[np.uint64(after[offsets[t + 1] - 1])] = True
