"""The exact value function, with errors of a known size where a study wants them."""

from __future__ import annotations

import numpy as np

from creditsim.errors import InputError
from creditsim.rng import Purpose, normals
from creditsim.rollouts import Rollouts
from creditsim.signals.base import State, next_steps, signal, state_table

__all__ = ["oracle_value"]


@signal(
    "oracle_value",
    paper="none: exact values from backward induction",
    evidence="inferred",
    needs=("state", "next_state"),
    makes=("value", "next_value"),
    tables=("oracle_value",),
)
def oracle_value(
    rollouts: Rollouts, state: State, *, noise: float = 0.0, noise_seed: int = 0
) -> tuple[dict[str, np.ndarray], State]:
    """Exact V of each row's hidden state and of the state after it, plus a fixed error per state.

    value_i = V_{h_i}(s_i) + e(s_i),  next_value_i = V_{h'_i}(s'_i) + e(s'_i),  e(s) = noise z(s), z standard normal.

    h counts the steps left, so values know the time limit; both columns are (M,). Where no step is left, or the
    trajectory terminated, the next value is exactly 0, without error. The table V (R, H+1, S) of the policy that drew
    the rollouts is `state["oracle_value"]`, put there by the loop. The errors are one draw by `noise_seed`, the same
    for all replicates and updates: a critic that is wrong in a fixed way. `noise` is in units of return.
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError("signal oracle_value noise", noise, "a finite number >= 0")
    table = state_table(state, "oracle_value", "oracle_value")
    horizon, n_states = table.shape[1] - 1, table.shape[2]
    error = noise * normals(noise_seed, 0, Purpose.NOISE, n_states)
    batch = rollouts.batch_rows
    here, after = rollouts.column("state", "oracle_value"), rollouts.column("next_state", "oracle_value")
    left = horizon - rollouts.step
    left_after = np.maximum(horizon - next_steps(rollouts), 0)
    value = table[batch, left, here] + error[here]
    next_value = table[batch, left_after, after] + error[after]
    over = left_after == 0
    ends = rollouts.offsets[1:][rollouts.terminated & (rollouts.length > 0)] - 1
    over[ends] = True
    return {"value": value, "next_value": np.where(over, 0.0, next_value)}, state
