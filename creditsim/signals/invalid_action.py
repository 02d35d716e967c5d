"""Which actions did nothing: the flag behind invalid-action penalties."""

from __future__ import annotations

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.signals.base import State, signal, state_table

__all__ = ["invalid_action"]


@signal(
    "invalid_action",
    paper="GiGPO, arXiv:2505.10978",
    evidence="inferred",
    needs=("state",),
    makes=("valid",),
    tables=("valid_action",),
)
def invalid_action(rollouts: Rollouts, state: State) -> tuple[dict[str, np.ndarray], State]:
    """`valid` (M,) bool: whether the row's action was one that the environment acts on in the row's hidden state.

    valid_i = table[s_i, a_i], the table (S, A) bool being `state["valid_action"]`, put there by the loop. Tables have
    no unparsable text; train takes as invalid an action that surely leaves the state as it is and pays nothing, the
    tabular form of "nothing happens".
    """
    table = state_table(state, "valid_action", "invalid_action")
    return {"valid": table[rollouts.column("state", "invalid_action"), rollouts.action]}, state
