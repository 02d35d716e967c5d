"""What a planner knows: the counts of what it saw, and the shape of the table it plans on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts

__all__ = ["TABLES", "Model", "tally"]

TABLES = ("successor", "branch_reward", "allowed_action", "steps_left", "start", "discount")
"""Tables that the loop must put into the state."""


@dataclass(frozen=True, eq=False)
class Model:
    """The table that counts are kept on: S places (a state at its step), A actions, B branches.

    `successor`, `branch_reward` (S,A,B), `allowed_action` (S,A) bool, `steps_left` (S,) with 0 where nobody acts,
    `start` (S,), `discount`. They say where an observed outcome is counted and what it paid; an outcome never seen has
    count 0, and a planner reads nothing of it. What it does know beforehand: the start distribution, which actions are
    allowed, that rewards lie in [0, 1] and that a move has at most B outcomes.
    """

    successor: np.ndarray
    branch_reward: np.ndarray
    allowed_action: np.ndarray
    steps_left: np.ndarray
    start: np.ndarray
    discount: float

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Model:
        """Take the tables out of the loop's state. Errors: InputError for a missing one and rewards outside [0, 1]."""
        for name in TABLES:
            if name not in state:
                raise InputError("update optimistic_planning", f"a state without {name!r}", "a loop that provides it")
        model = cls(**{name: state[name] for name in TABLES})
        paid = model.branch_reward[model.allowed_action & (model.steps_left > 0)[:, None]]
        if paid.size and not (paid.min() >= 0.0 and paid.max() <= 1.0):
            raise InputError("rewards", f"{paid.min():g} to {paid.max():g}", "rewards in [0, 1] for planning by bounds")
        return model

    @property
    def shape(self) -> tuple[int, ...]:
        """(S, A, B)."""
        return self.successor.shape

    @cached_property
    def order(self) -> np.ndarray:
        """(S,) places with the fewest steps left first."""
        return np.argsort(self.steps_left, kind="stable")

    @cached_property
    def cells(self) -> int:
        """Number of places and actions about which something is to be learnt."""
        return int((self.allowed_action & (self.steps_left > 0)[:, None]).sum())

    def levels(self, delta: float) -> tuple[float, float]:
        """Constants (level, spread) of the deviation n KL(counts/n, p) <= level + spread (1 + ln(1 + n/spread)).

        It holds for every n of every cell at once with probability >= 1 - delta, with level = ln(cells/delta) and
        spread = B - 1 (at least 1): mixing the likelihood ratio over all p evenly gives a martingale, and
        binom(n + B - 1, B - 1) <= (e (1 + n/(B-1)))^(B-1). Source: notes (Jonsson et al. 2020), derived here.
        """
        if not 0.0 < delta < 1.0:
            raise InputError("delta", delta, "0 < delta < 1")
        return float(np.log(self.cells / delta)), float(max(self.shape[2] - 1, 1))


def tally(model: Model, rollouts: Rollouts, replicates: int) -> np.ndarray:
    """(R,S,A,B) how often each outcome was seen; equal outcomes (place reached and reward) count as the first of them.

    Needs columns `state` and `next_state` of the table the model stands for.
    """
    from creditsim.updates.planning.kernels import count

    counts = np.zeros((replicates, *model.shape), np.int64)
    state, reached = (rollouts.column(name, "planning") for name in ("state", "next_state"))
    strange = count(
        rollouts.batch_rows, state, rollouts.action, reached, rollouts.reward, model.successor, model.branch_reward,
        counts,
    )  # fmt: skip
    if strange >= 0:
        raise InputError("rollouts", f"in row {strange} an outcome that the tables do not have", "rollouts as drawn")
    return counts
