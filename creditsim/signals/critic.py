"""A tabular critic learnt by regression on returns."""

from __future__ import annotations

from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.segments import reverse_scan
from creditsim.signals.base import State, return_to_go, signal, state_table

__all__ = ["critic"]


@signal(
    "critic",
    paper="PPO, arXiv:1707.06347",
    evidence="inferred",
    needs=("context", "next_state"),
    makes=("value", "next_value"),
    tables=("context_of_state",),
)
def critic(
    rollouts: Rollouts,
    state: State,
    *,
    learning_rate: float = 0.5,
    gamma: float = 1.0,
    initial: float = 0.0,
    bootstrap: bool = False,
    learns: Literal["rows", "steps"] = "rows",
    discount: Literal["step", "row"] = "step",
) -> tuple[dict[str, np.ndarray], State]:
    """Value V(c) of each row's context from a table per replicate that follows the mean return seen there.

    V_b(c) <- V_b(c) + lr (mean of G_i over the rows i of batch b with context c - V_b(c)),  G the return to go.

    This is full-batch regression of returns on the table with each context's error scaled by its visits. Columns are
    predicted before the table learns, so a row's own return is in no baseline of its own batch. `value` (M,) is V of
    the row's context, `next_value` (M,) V of the next row's context in the trajectory. After the last row it is 0, or
    with `bootstrap` and a trajectory that was cut, V of the context it was cut in (`next_state`, looked up in the
    loop's table `context_of_state` (S,)). State: `critic_value` (R, C), new contexts starting at `initial`. Rows with
    weight 0 are predicted and learnt from like any other.

    `learns`: "rows" from every decision, "steps" from the first of each step alone, as StepPO's critic does, which then
    says nothing of the decisions inside. `discount`: "step" lets gamma count environment steps, "row" decisions, which
    is the return that a value over tokens predicts.
    """
    choose("learns", learns, ("rows", "steps"))
    choose("discount", discount, ("step", "row"))
    if not 0.0 < learning_rate <= 1.0:
        raise InputError("signal critic learning_rate", learning_rate, "0 < learning_rate <= 1")
    if rollouts.is_tree:
        raise InputError("signal critic", "a tree of rollouts", "rollouts without forks; unroll them with paths()")
    context_of_state = state_table(state, "context_of_state", "critic")
    context = rollouts.column("context", "critic")
    after = context_of_state[rollouts.column("next_state", "critic")]
    shape = (state_table(state, "replicate", "critic").shape[0], int(context_of_state.max()) + 1)
    table = state.get("critic_value", np.full(shape, float(initial)))
    batch = rollouts.batch_rows
    value = table[batch, context]
    next_value = np.zeros(rollouts.n_rows)
    next_value[:-1] = value[1:]
    ends = rollouts.offsets[1:] - 1
    keep = (rollouts.length > 0) & ~rollouts.terminated & bootstrap
    next_value[ends[rollouts.length > 0]] = 0.0
    next_value[ends[keep]] = table[batch[ends[keep]], after[ends[keep]]]
    by_row = discount == "row"
    target = reverse_scan(rollouts.reward, gamma, rollouts.offsets) if by_row else return_to_go(rollouts, gamma)
    used = _step_begins(rollouts) if learns == "steps" else slice(None)
    learnt = _regressed(table, batch[used], context[used], target[used], learning_rate)
    return {"value": value, "next_value": next_value}, {**state, "critic_value": learnt}


def _step_begins(rollouts: Rollouts) -> np.ndarray:
    """(M,) bool: the first decision of each step."""
    begins = rollouts.first_row.copy()
    begins[1:] |= rollouts.step[1:] != rollouts.step[:-1]
    return begins


def _regressed(
    table: np.ndarray, batch: np.ndarray, context: np.ndarray, target: np.ndarray, learning_rate: float
) -> np.ndarray:
    cell = batch * table.shape[1] + context
    visits = np.bincount(cell, minlength=table.size).reshape(table.shape)
    total = np.bincount(cell, weights=target, minlength=table.size).reshape(table.shape)
    seen = visits > 0
    mean = np.divide(total, visits, out=table.copy(), where=seen)
    return table + learning_rate * (mean - table)
