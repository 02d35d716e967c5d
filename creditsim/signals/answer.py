"""What a trajectory answered, as a label: its last action, or where it ended."""

from __future__ import annotations

from typing import Literal

import numpy as np

from creditsim.errors import choose
from creditsim.rollouts import Rollouts
from creditsim.signals.base import State, signal

__all__ = ["answer"]

Kind = Literal["action", "state"]


@signal("answer", paper="COPO, arXiv:2508.04138", evidence="inferred", needs=("next_state",), makes=("answer",))
def answer(rollouts: Rollouts, state: State, *, kind: Kind = "action") -> tuple[dict[str, np.ndarray], State]:
    """`answer` (M,) int64, the same for all rows of a trajectory: the label by which answers agree or differ.

    answer_i = b_i by `kind`, on tables in place of the text of the final answer:
    action  the last action (single-step answers, and tasks whose last decision is the answer)
    state   the hidden state that the last row led to (several ways to one answer)
    Rows inside the trajectory say nothing. Errors: InputError for an unknown kind.
    """
    rows = rollouts.action if choose("signal answer kind", kind, ("action", "state")) == "action" else None
    rows = rollouts.column("next_state", "answer") if rows is None else rows
    last = rollouts.offsets[1:][rollouts.trajectory] - 1
    return {"answer": np.asarray(rows[last], np.int64)}, state
